//! Decisions over time, as pure functions: which request next, what ends a scan, what may be deleted, when to try again.
//! No clock, no network, no database: `now` is an argument.

pub mod checkpoint;
pub mod retry;

mod mark;
mod page;

pub use checkpoint::{Checkpoint, Position, ScanState};
pub use mark::Mark;
pub use page::{PageFacts, Step, Stuck};
