//! The store against real files.

mod absence;
mod file;
mod law;
mod layout;
mod ledger;
mod merge;
mod quarantine;
mod read;
mod reset;
mod support;
mod types;
