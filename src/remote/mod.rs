//! The way to an API: HTTP, credentials, rate limits, response limits. It knows nothing of what an answer means.

pub mod request;

mod auth;
mod client;
mod credentials;
mod error;
mod outgoing;
mod rate;
mod redact;
pub(crate) mod sign;
pub(crate) mod token;
mod transport;

pub use client::{Client, Sockets};
pub use credentials::Credentials;
pub use error::{Error, MissingCredential, TransportFault};
pub use redact::Redactor;
pub use request::{HeaderValue, Request, Response, Secret};
