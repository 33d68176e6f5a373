//! DuckDB: the tables of the models with the metadata of change, and headwater's own tables. The only place with SQL.
//!
//! [`Store`] writes (one per database), [`ReadStore`] looks.

mod absence;
mod append;
mod catalog;
mod children;
mod error;
mod feed;
mod file;
mod gone;
mod group;
mod history;
mod inbox;
mod items;
mod journal;
mod layout;
mod ledger;
mod look;
mod lookup;
mod merge;
mod outbox;
mod prune;
mod publish;
mod quarantine;
mod query;
mod queues;
mod read;
mod remap;
mod request_log;
mod reset;
mod retry;
mod schedule;
mod scratch;
mod seen;
mod sql;
mod stage;
mod status;
mod tables;
mod values;
mod writer;

#[cfg(test)]
mod tests;

pub use absence::{Absence, HeldBack, PartitionEnd, Partitions, ScanEnd, Stretch};
pub use error::Error;
pub use feed::{FeedPage, Place, Wanted};
pub use file::{WaitObserver, changed_at, folder_of};
pub use gone::Gone;
pub use group::{Committed, Ends, Filled, Group, Walked};
pub use inbox::{Arrived, Backlog, InboxEvent, NewDelivery, NewEvent, Settled};
pub use items::{FoundNode, ItemRow, NodesOf};
pub use ledger::{RUN_STOPPED, RunEnd, RunRecord, RunState};
pub use look::InQuarantine;
pub use lookup::Lookup;
pub use merge::Newest;
pub use outbox::{Delivery, DeliveryEnd, DeliveryState, Due, EndpointState, Notification};
pub use prune::{Prune, Pruned};
pub use query::ResultColumn;
pub use queues::Queues;
pub use read::{ReadStore, plan_without_database};
pub use remap::{KeptRows, RemapGroup, Remapped};
pub use request_log::{PastRequest, RequestRecord, RequestsOf};
pub use reset::{Forgotten, Remembered, Reset};
pub use retry::{Retried, Retry};
pub use schedule::Scheduled;
pub use scratch::scratch;
pub use seen::Seen;
pub use status::{PastRun, RowCount, RunSummary, RunsOf, SyncStatus};
pub use tables::{Planned, PlannedChange, SchemaChange, TablePlan};
pub use values::row_values;
pub use writer::{AbsenceEnd, Store};
