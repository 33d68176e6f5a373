//! The integration tests: one binary, real processes, real files, a loopback server for an API.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::needless_borrows_for_generic_args,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "tests are the outer world, and brief"
)]

mod streams;
mod support;

mod action;
mod api;
mod auth_kinds;
mod bad_input;
mod browser;
mod budgets;
mod calls;
mod catalogue;
mod children;
mod cli;
mod columns_from;
mod connect;
mod deletes;
mod delta;
mod detail;
mod draft;
mod editor;
mod errors;
mod explain;
mod fanout;
mod feeds;
mod formats;
mod gone;
mod guides;
mod history;
mod hostile;
mod incremental;
mod inheritance;
mod inputs;
mod job;
mod key;
mod kill;
mod language;
mod leaks;
mod metrics;
mod model;
mod new;
mod newest_first;
mod notify;
mod offline;
mod outputs;
mod page;
mod pages;
mod paths;
mod positions;
mod proof;
mod rate_limits;
mod raw;
mod recording;
mod reference;
mod reset;
mod rules;
mod sarif;
mod schema_changes;
mod schemas;
mod security;
mod serve;
mod shop;
mod soak;
mod telemetry;
mod templates;
mod tidy;
mod tls;
#[cfg(target_os = "linux")]
mod torn;
mod unchanged;
mod updates;
mod variants;
mod walk;
mod webhooks;
mod windows;
