//! The daemon: runs syncs when they are due.

mod scheduler;

pub use scheduler::{Command, Options, Refused, Scheduler, SlotState, SlotStatus, Watcher};
