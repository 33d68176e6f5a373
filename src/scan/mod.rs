//! Decisions over time, as pure functions: which request next, what ends a scan, what may be deleted, when to try again.
//! No clock, no network, no database: `now` is an argument.

pub mod checkpoint;
pub mod retry;

mod begin;
mod delivery;
mod due;
mod mark;
mod page;
mod pass;
mod window;

#[cfg(test)]
pub(crate) use begin::tests::plan as plan_of;
pub use begin::{Begin, Part, Wish, begin, begins_changes, first_scan, is_whole_feed, seen_by};
pub use checkpoint::{Checkpoint, Feed, Job, Lane, Position, ScanState, Track};
pub use delivery::{Fate, fate};
pub use due::{Runs, due, spread};
pub use mark::Mark;
pub use page::{PageFacts, Step, Stuck};
pub use pass::{ListsRead, Node, Pass, Turn, all_at_once, begin_partition, partition_key};
pub use window::{OpenWindow, Range, Windows};
