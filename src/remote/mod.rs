//! The way to an API: HTTP, credentials, rate limits, response limits. It knows nothing of what an answer means.

pub mod request;

mod auth;
mod certificates;
mod client;
mod credentials;
mod error;
mod network;
mod outgoing;
mod rate;
mod redact;
mod sockets;
mod transport;

pub use client::Client;
pub use credentials::Credentials;
pub use error::{Error, MissingCredential, TlsFault, TransportFault};
pub use redact::Redactor;
pub use request::{HeaderValue, Request, Response, Secret};
pub use sockets::Sockets;
