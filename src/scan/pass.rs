//! The pass over the partitions of a fan-out: which of them are read, in this run or the next, and what its end says.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::begin::{Begin, Part, Wish, begin};
use super::{Checkpoint, Mark, ScanState, Windows};
use crate::plan::{DeletePlan, Scope, SyncPlan};

/// A pass over all partitions, from the first to the last, over all the runs it takes. It stands in what the partitions of a sync share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// names it
    pub id: u64,
    /// when it began
    pub started_at: DateTime<Utc>,
    /// every partition is read from its beginning
    #[serde(default)]
    pub anew: bool,
    /// the epoch of partitions that remember nothing: one for all, because a record can move from one to another; 0 = each has its own
    #[serde(default)]
    pub epoch: u64,
    /// records that have come, valid or not
    #[serde(default)]
    pub records: u64,
    /// of which so many were for each of several models
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_models: Vec<u64>,
    /// why its end would prove nothing about what is gone
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
    /// the guard refused what its end would delete; it waits for `--accept-deletes`
    #[serde(default)]
    pub guarded: bool,
}

impl Pass {
    /// A pass before its first partition.
    pub fn begin(id: u64, now: DateTime<Utc>, anew: bool) -> Self {
        Self { id, started_at: now, anew, epoch: 0, records: 0, of_models: Vec::new(), unproven: None, guarded: false }
    }

    /// Adds what the scan of a partition has returned, and its doubt.
    pub fn count(&mut self, scan: &ScanState) {
        self.records += scan.records;
        self.of_models.resize(self.of_models.len().max(scan.of_models.len()), 0);
        self.of_models.iter_mut().zip(&scan.of_models).for_each(|(all, own)| *all += own);
        self.unproven = self.unproven.take().or_else(|| scan.unproven.clone());
    }
}

/// A partition's place in a pass. It stands in its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// the pass in which it was begun last
    pub pass: u64,
    /// it was read to its end in it
    #[serde(default)]
    pub complete: bool,
    /// the change number that the item's row had then; none where the item is no row
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<i64>,
}

/// Up to where the lists of items below rows with `changed_only` are read. It stands in what the partitions of a sync share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListsRead {
    /// those of rows with a change number up to this one
    pub up_to: i64,
    /// but not of these, by their keys
    #[serde(default)]
    pub unread: BTreeSet<String>,
}

/// A place of a walk: what asking for it needs. It stands in `headwater.nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// the keys of the items of `for_each` that it is below
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
    /// those items, by the names of their levels; the places below them share it, and it stands once for all of them in
    /// `headwater.node_items`
    #[serde(default, skip_serializing, deserialize_with = "read_shared")]
    pub parent: Option<Arc<Value>>,
    /// what the request names as `walk.<name>`
    pub bind: Map<String, Value>,
    /// how many places are above it
    pub depth: u32,
}

impl Node {
    /// The name of the items that it is below.
    pub fn item(&self) -> String {
        Value::from(self.of.as_slice()).to_string()
    }

    /// The key of its partition.
    pub fn partition(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        partition_key(self.of.iter().cloned().chain(self.bind.values().map(text)).collect())
    }

    /// About how many bytes it takes, without the items that it shares.
    pub fn bytes(&self) -> usize {
        let of_value = |value: &Value| value.as_str().map_or_else(|| value.to_string().len(), str::len);
        let bound = self.bind.iter().map(|(name, value)| name.len() + of_value(value));
        size_of::<Self>() + self.of.iter().map(String::len).chain(bound).sum::<usize>()
    }
}

/// A row of an older layout has the items itself.
fn read_shared<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<Value>>, D::Error> {
    Ok(Option::<Value>::deserialize(from)?.map(Arc::new))
}

/// The key of a partition, by the keys of what it is of: the one, or a JSON array of several. It is never empty: that names what partitions
/// share.
pub fn partition_key(mut keys: Vec<String>) -> String {
    if keys.len() == 1 && !keys[0].is_empty() { keys.remove(0) } else { Value::from(keys).to_string() }
}

/// Where a partition goes on in a pass; none when it has been read to its end in it. `change` is the change number of the item's row,
/// `id` a fresh number.
pub fn begin_partition(
    plan: &SyncPlan,
    known: Option<Checkpoint>,
    (pass, change): (&Pass, Option<i64>),
    (wish, start): (Wish, Option<&Mark>),
    id: u64,
    now: DateTime<Utc>,
) -> Option<Begin> {
    let last = known.as_ref().and_then(|known| known.turn);
    let first = last.is_none_or(|turn| turn.pass != pass.id);
    let is_read = known
        .as_ref()
        .is_some_and(|known| known.turn.is_some_and(|turn| turn.complete) && known.fingerprint == plan.fingerprint);
    let as_it_was = change.is_some() && last.is_some_and(|turn| turn.change == change) && !pass.anew;
    if is_read && (!first || as_it_was) {
        return None;
    }
    // what a scan of another pass has seen is not remembered
    let is_dropped = first && all_at_once(plan);
    let jobs: Vec<super::Job> = known.iter().filter(|_| is_dropped).flat_map(Checkpoint::jobs).cloned().collect();
    let known = known.map(|known| if is_dropped { unread(known) } else { known });
    let wish = Wish { full: first && pass.anew, ..wish };
    let mut begin = begin(plan, known, Part::Partition, wish, start, id, now);
    if begin.checkpoint.epoch == id && pass.epoch > 0 {
        begin.checkpoint.epoch = pass.epoch;
    }
    begin.checkpoint.turn = Some(Turn { pass: pass.id, complete: false, change });
    begin.seen = super::seen_by(plan, &begin.checkpoint);
    begin.left.extend(jobs);
    Some(begin)
}

/// Whether what is gone is found out at the end of a pass, among the rows of all partitions.
pub fn all_at_once(plan: &SyncPlan) -> bool {
    plan.partitions.is_some() && matches!(plan.deletes, DeletePlan::Absence { scope: Scope::All, .. })
}

/// Without the scans under way.
fn unread(mut known: Checkpoint) -> Checkpoint {
    known.main.scan = None;
    let Windows { open, .. } = &known.windows;
    for id in open.iter().map(|window| window.scan.id).collect::<Vec<_>>() {
        known.windows.give_up(id);
    }
    known
}

#[cfg(test)]
#[path = "pass_tests.rs"]
mod tests;
