//! The integration tests: one binary, real processes, real files, a loopback server for an API.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests are the outer world"
)]

mod support;

mod bad_input;
mod cli;
mod deletes;
mod incremental;
mod kill;
mod pages;
mod security;
mod shop;
mod unchanged;
