//! Drafts out of an OpenAPI 3 document (3.0 and 3.1). Nothing in it is believed but as a guess, and everything is bounded.

mod actions;
mod document;
mod lists;
mod schema;
mod security;
mod whole;

pub use whole::{Drafts, Error, draft};
