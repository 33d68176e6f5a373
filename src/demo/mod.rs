//! The sample shop that `headwater demo` syncs: a small API with made-up data that changes between calls.
//!
//! It stands alone: it knows nothing of the engine, so what is learned by syncing it can be held against what it says.

mod changes;
mod data;
mod evolve;
mod random;
mod routes;
mod server;
mod throttle;
mod words;

#[cfg(test)]
mod tests;

pub use changes::{Changes, Counts};
pub use server::{API_KEY, Options, Server};
