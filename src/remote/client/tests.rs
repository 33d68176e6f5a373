mod answers;
mod secrets;
