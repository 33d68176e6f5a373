//! The credential store: what a connection was given and what it has earned (tokens), sealed in one file beside the project.

mod command;
mod document;
mod entry;
mod error;
mod file;
mod key;
mod lock;
mod seal;
mod source;
mod store;

#[cfg(test)]
mod tests;

pub use entry::{Entry, Secrets};
pub use error::StoreError;
pub use key::Key;
pub use lock::RefreshLock;
pub use source::Environment;
pub use store::{CredentialStore, Rotated, Status, Written};
