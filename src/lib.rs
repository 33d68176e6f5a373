//! headwater: a sync engine whose integrations are written in YAML, never in code.
//!
//! ```text
//! YAML ─spec─▶ what a person wrote ─plan─▶ what the engine will do
//!                                              │
//!    scan: which request next? ──▶ remote: fetch ──▶ record: decode, map, hash ──▶ store: merge, checkpoint, change numbers
//! ```
//!
//! `ARCHITECTURE.md` says what each room may do and must never do.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests are the outer world"
    )
)]

pub mod diagnostic;

pub mod spec;

pub mod plan;

pub mod scan;

pub mod record;

pub mod draft;

pub mod remote;

pub mod store;

pub mod engine;

pub mod files;

pub mod offline;

pub mod telemetry;

pub mod demo;

pub mod serve;

pub mod site;

pub mod cli;
