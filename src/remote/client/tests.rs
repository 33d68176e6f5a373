mod answers;
mod hostile;
mod secrets;
