//! The store against real files.

mod absence;
mod catalog;
mod file;
mod history;
mod journal;
mod law;
mod layout;
mod ledger;
mod look;
mod merge;
mod outbox;
mod quarantine;
mod queues;
mod raw;
mod read;
mod request_log;
mod reset;
mod retry;
mod schema_changes;
mod support;
mod types;
