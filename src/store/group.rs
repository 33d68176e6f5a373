//! What one commit takes, and what it did.

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use super::absence::{HeldBack, PartitionEnd};
use super::gone::Gone;
use super::ledger::Counts;
use super::merge::Newest;
use crate::plan::{Guard, ModelPlan, SyncId};
use crate::record::Batch;
use crate::scan::{Checkpoint, Node};

/// Pages that become true together: rows, change numbers, checkpoint, counters, quarantine and seen keys are one transaction.
#[derive(Debug)]
pub struct Group {
    /// which sync
    pub id: SyncId,
    /// which run
    pub run_id: String,
    /// where the rows go, and the rows; what else is here is about the first
    pub filled: Vec<Filled>,
    /// rows that a list of deletions names
    pub gone: Vec<Gone>,
    /// keys of rows that a list of ids names, with the scan that notes them: they count as seen
    pub seen: Vec<(u64, RecordBatch)>,
    /// keys of rows that are as they were and of which nothing else came, with the partition whose list has them now
    pub listed: Vec<(Arc<str>, RecordBatch)>,
    /// ends of scans of partitions, which tell what is gone from them
    pub ends: Option<Ends>,
    /// how far a walk has come by them
    pub walked: Option<Walked>,
    /// what the sync remembers once these pages are committed, by partition; that of a sync of one part is empty
    pub checkpoints: Vec<(Arc<str>, Checkpoint)>,
    /// records that are stored as they are, and of which nothing else came
    pub known: u64,
    /// pages in the group
    pub pages: u64,
    /// the time of the commit
    pub now: DateTime<Utc>,
}

impl Group {
    /// A group that fills these tables, and does nothing else.
    pub fn of(id: SyncId, run_id: String, filled: Vec<Filled>, now: DateTime<Utc>) -> Self {
        Self {
            id,
            run_id,
            filled,
            gone: Vec::new(),
            seen: Vec::new(),
            listed: Vec::new(),
            ends: None,
            walked: None,
            checkpoints: Vec::new(),
            known: 0,
            pages: 0,
            now,
        }
    }
}

/// Ends of scans of partitions. Where the guard holds one back, the partition's checkpoint of the group is not written, but the one beside
/// the end.
#[derive(Debug)]
pub struct Ends {
    /// one for each partition
    pub partitions: Vec<PartitionEnd>,
    /// what keeps a wrong answer from emptying a partition
    pub guard: Guard,
    /// a person said yes: the guard does not count
    pub accept: bool,
}

/// How far a walk has come.
#[derive(Debug)]
pub struct Walked {
    /// in which pass
    pub pass: u64,
    /// places that were found, in their order
    pub found: Vec<Node>,
    /// partitions of places that were read to their end
    pub read: Vec<Arc<str>>,
}

/// Rows for one table.
#[derive(Debug)]
pub struct Filled {
    /// where they go
    pub model: Arc<ModelPlan>,
    /// those of each page, in the order they came; empty ones are fine
    pub batches: Vec<Batch>,
    /// what comes stays out where the table has something newer
    pub newest: Option<Newest>,
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Committed {
    /// rows seen for the first time, or again after a deletion
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows that are gone, and rows that arrived already deleted
    pub deleted: u64,
    /// rows that arrived as they were, and were not written
    pub unchanged: u64,
    /// rows that a later one of the same key replaced within the group
    pub duplicates: u64,
    /// records that are no rows
    pub quarantined: u64,
    /// the first change number given out
    pub change_from: Option<i64>,
    /// the last change number given out
    pub change_to: Option<i64>,
    /// partitions of which the guard has held back the deletes
    pub held: Vec<HeldBack>,
}

impl Committed {
    /// What a commit did that is counted so, gave out change numbers from the first of `changes` to the second, and held these back.
    pub(super) fn new(counts: Counts, changes: Option<(i64, i64)>, held: Vec<HeldBack>) -> Self {
        let Counts { added, updated, deleted, unchanged, duplicates, quarantined, .. } = counts;
        let (change_from, change_to) = changes.unzip();
        Self { added, updated, deleted, unchanged, duplicates, quarantined, change_from, change_to, held }
    }

    /// Whether it found no row in the table that was there before.
    pub fn only_added(&self) -> bool {
        self.updated + self.unchanged + self.deleted == 0
    }
}
