//! The way to an API: HTTP, credentials, rate limits, response limits. It knows nothing of what an answer means.

pub mod credential_store;
pub mod request;

pub(crate) mod sign;
pub(crate) mod token;

mod access;
mod auth;
mod body;
mod certificates;
mod client;
mod collector;
mod connecting;
mod credentials;
mod draft;
mod error;
mod headers;
mod health;
mod network;
mod outgoing;
mod outlet;
#[cfg(test)]
mod printing;
mod random;
mod rate;
mod redact;
mod script;
mod sockets;
mod spelling;
mod tap;
mod transport;
mod verify;

pub use access::{Access, Clock, TokenObserver, TokenOutcome};
pub use body::Body;
pub use client::{Answered, Client};
pub use collector::{Collector, CollectorObserver};
pub use connecting::{Authorization, Connecting, Device, NewToken};
pub use credential_store::{CredentialStore, Entry, Secrets, StoreError};
pub use credentials::{Credentials, secret};
pub use draft::{Draft, DraftError, render};
pub use error::{Error, MissingCredential, TlsFault, TransportFault};
pub use health::{Health, HealthState};
pub use outgoing::is_loopback;
pub use outlet::{Outlet, Receipt};
pub use random::{random_bytes, random_key};
pub use redact::Redactor;
pub use request::{HeaderValue, Request, Response, Secret};
pub use script::{Answer, Asked, Script};
pub use sockets::Sockets;
pub use tap::{Heard, Tap};
pub use verify::{Delivery, Doubt, Keys};
