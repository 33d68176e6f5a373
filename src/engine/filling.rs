//! The commit group that is being filled.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::plan::ModelPlan;
use crate::record::Batch;
use crate::scan::Node;
use crate::store::Gone;

/// What has come since the last commit.
#[derive(Default)]
pub(super) struct Filling {
    /// rows of each of the sync's models
    pub(super) batches: Vec<Vec<Batch>>,
    /// places that a walk has found
    pub(super) found: Vec<Node>,
    /// rows that a list of deletions names
    pub(super) gone: Vec<Gone>,
    /// keys that count as seen, with the scan that notes them
    pub(super) seen: Vec<(u64, RecordBatch)>,
    /// keys of rows that are stored as they are, with the partition that lists them
    pub(super) listed: Vec<(Arc<str>, RecordBatch)>,
    /// rows, and keys of rows
    pub(super) rows: usize,
    /// of which are stored as they are
    pub(super) known: u64,
    /// what waits in memory, roughly
    pub(super) bytes: usize,
    /// pages that came whole
    pub(super) pages: u64,
    /// how many batches of the first model were compared with its table
    compared: usize,
    /// the keys of what they have left
    changed: HashSet<u128>,
}

impl Filling {
    /// A group of a sync of so many models.
    pub(super) fn of(models: usize) -> Self {
        Self { batches: (0..models).map(|_| Vec::new()).collect(), ..Self::default() }
    }

    /// Takes the batches out that were not compared yet. None where what is compared now would be another thing than what is compared when
    /// the group is committed: where something else in the group is about the same rows, or records stand beside the rows.
    pub(super) fn take_uncompared(&mut self, model: &ModelPlan) -> Option<Vec<Batch>> {
        let [batches] = self.batches.as_mut_slice() else { return None };
        let is_plain = !model.raw && !model.listed && model.children.is_empty();
        let others = !self.gone.is_empty() || batches.iter().any(|batch| !batch.quarantined.is_empty());
        (is_plain && !others).then(|| Batch::join_small(batches.split_off(self.compared)))
    }

    /// Puts batches back without the rows that the table has as they are, which `as_stored` tells of each. Rows whose key has changed in the
    /// group stay: the last of them counts.
    pub(super) fn put_compared(&mut self, model: &ModelPlan, batches: Vec<Batch>, as_stored: &[Vec<bool>]) {
        for (batch, as_stored) in batches.iter().zip(as_stored) {
            let other = batch.key_hashes.iter().zip(as_stored).filter(|(_, as_stored)| !**as_stored);
            self.changed.extend(other.map(|(key, _)| *key));
        }
        for (mut batch, as_stored) in batches.into_iter().zip(as_stored) {
            let leaves = |(key, as_stored): (&u128, &bool)| *as_stored && !self.changed.contains(key);
            let keep: Vec<bool> = batch.key_hashes.iter().zip(as_stored).map(|row| !leaves(row)).collect();
            let known = keep.iter().filter(|keep| !**keep).count();
            if let (Some(scan), 1..) = (batch.seen_by, known) {
                let known: BooleanArray = keep.iter().map(|keep| Some(!keep)).collect();
                let keys = batch.rows.project(&model.key).and_then(|keys| filter_record_batch(&keys, &known));
                let keys = keys.expect("a model has its key, and there is a yes or no for each row");
                self.bytes += keys.get_array_memory_size();
                self.seen.push((scan, keys));
            }
            self.bytes -= batch.bytes;
            batch = batch.only(&keep);
            self.bytes += batch.bytes;
            self.known += known as u64;
            if !batch.is_empty() {
                self.batches[0].push(batch);
            }
        }
        self.compared = self.batches[0].len();
    }
}
