//! The daemon: runs syncs when they are due, and answers applications meanwhile.

mod access;
mod actions;
mod answer;
mod api;
mod control;
mod door;
mod http;
mod inputs;
mod metrics;
mod notify;
mod openapi;
mod page;
mod plans;
mod query;
mod records;
mod scheduler;
mod scrape;
mod webhook;

use std::sync::Arc;

pub use access::{KeyError, Keys};
pub use door::Door;
pub use http::{Listening, listen};
pub use metrics::Metrics;
pub use notify::Notifier;
pub use page::Progress;
pub use plans::{Plans, Sources};
pub use scheduler::{Command, Options, Refused, Scheduler, SlotState, SlotStatus};
pub use webhook::{Inbox, Webhooks};

use crate::engine::Event;
use crate::plan::SyncId;

/// Takes what happens in runs: the name of the run, none of what concerns no single one, the sync, and the event.
pub type Watcher = Arc<dyn Fn(Option<&str>, Option<&SyncId>, Event) + Send + Sync>;
