//! What the tests stand on: a scripted API on a loopback port, a project in a temporary folder, the real program.

mod api;
mod engine;
mod oauth;
mod project;
mod tls;

pub use api::{Api, Reply, Request};
pub use engine::Run;
pub use oauth::{CLIENT_SECRET, OAuth};
pub use project::{Output, Project};
pub use tls::{Asks, Authority, Certified, TlsApi};
