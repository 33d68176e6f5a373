//! What the tests stand on: a scripted API on a loopback port, a project in a temporary folder, the real program.

mod api;
mod daemon;
mod engine;
mod marks;
mod oauth;
mod parrot;
mod project;
mod tls;
mod webdriver;

pub use api::{Api, Reply, Request};
pub use daemon::{Answer, Daemon, send, until};
pub use engine::Run;
pub use marks::{Written, mark};
pub use oauth::{CLIENT_SECRET, OAuth};
pub use parrot::{LISTS, MOODS, Mood, Parrot};
pub use project::{Output, Project};
pub use tls::{Asks, Authority, Certified, TlsApi};
pub use webdriver::{Browser, ENTER, TAB};
