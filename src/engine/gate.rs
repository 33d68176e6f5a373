//! Rows whose lists of items need not be asked for: with `changed_only`, what is below a row that is as it was has been read. Up to which
//! change of the rows that is so, and for which of them not, is known from the end of one pass to the end of the next: a pass that takes
//! several runs asks in each of them for all that it has to.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;
use super::items::hash;
use super::lane::Lanes;
use crate::plan::{LevelSource, Predicate, SyncPlan, limits};
use crate::scan::{ListsRead, Pass, partition_key};

/// What tells such rows, in one pass.
pub(super) struct Gate {
    /// rows with a higher change number have changed since the lists below them were read; none = nothing was
    known: Option<ListsRead>,
    /// the last change number before the rows of this pass are read
    now: i64,
    /// columns of the rows' key
    width: usize,
    seen: Mutex<Seen>,
}

/// What was seen of the rows.
#[derive(Default)]
struct Seen {
    /// hashes of the keys of those that were passed by
    passed: HashSet<u64>,
    /// hashes of the partitions that have their turn in this pass
    listed: HashSet<u64>,
    /// those below which not everything was read
    unread: BTreeSet<String>,
}

/// The number of key columns of the rows, where only a change of a row can bring items below it: the outermost level is rows that changed,
/// and those below it are lists. What decides which rows are items must not change by itself.
fn width(plan: &SyncPlan) -> Option<usize> {
    let (first, below) = plan.partitions.as_ref()?.levels.split_first()?;
    let LevelSource::Rows { model, filter, changed_only: true, .. } = &first.from else { return None };
    let are_lists = below.iter().all(|level| matches!(level.from, LevelSource::List { .. }));
    let names_run = |filter: &Predicate| match filter {
        Predicate::Template(filter) => filter.variables().iter().any(|name| name.split('.').next() == Some("run")),
        Predicate::Path(_) => false,
    };
    let moves = filter.as_ref().is_some_and(|filter| names_run(filter) || model.columns.iter().any(|it| it.volatile));
    (!below.is_empty() && are_lists && plan.walk.is_none() && !moves).then_some(model.key.len())
}

impl Lanes {
    /// What tells the rows below which nothing is to be read in this pass, if any can be told.
    pub(super) async fn gate(&self, pass: &Pass) -> Result<Option<Arc<Gate>>, Error> {
        let Some(width) = width(&self.task.plan) else { return Ok(None) };
        let id = self.task.plan.id.clone();
        let read = self.task.writer.call(move |store| Ok((store.checkpoint(&id)?, store.last_change()?)));
        let (shared, now) = read.await?;
        let known = shared.and_then(|shared| shared.lists).filter(|_| !pass.anew);
        Ok(Some(Arc::new(Gate { known, now, width, seen: Mutex::default() })))
    }

    /// What the next pass goes by, when these partitions are gone; none where too much of this one could not be read. Rows are asked about
    /// again that have a partition which was not read to its end, or which may be gone or not.
    pub(super) async fn lists_read(&self, gone: &[Arc<str>]) -> Result<Option<ListsRead>, Error> {
        let Some(gate) = &self.gate else { return Ok(None) };
        self.flush().await?;
        let id = self.task.plan.id.clone();
        let read =
            self.task.writer.call(move |store| Ok((store.known_partitions(&id)?, store.unread_partitions(&id)?)));
        let (known, unread) = read.await?;
        let gone: HashSet<&str> = gone.iter().map(|partition| &**partition).collect();
        let doubtful = known.iter().filter(|it| !gate.is_listed(it) && !gate.covers(it) && !gone.contains(&***it));
        let unread = unread.iter().filter(|it| gate.is_listed(it));
        doubtful.chain(unread).for_each(|partition| gate.note_unread_of(partition));
        let unread = gate.seen().unread.clone();
        Ok((unread.len() <= limits::LISTS_UNREAD_MAX).then_some(ListsRead { up_to: gate.now, unread }))
    }
}

impl Gate {
    /// Whether nothing is to be asked below the row with this key and change number.
    pub(super) fn passes(&self, key: &[String], change: Option<i64>) -> bool {
        let (Some(known), Some(change)) = (&self.known, change) else { return false };
        let key = partition_key(key.to_vec());
        let passes = change <= known.up_to && !known.unread.contains(&key);
        if passes {
            self.seen().passed.insert(hash(&key));
        }
        passes
    }

    /// How many rows were passed by.
    pub(super) fn passed(&self) -> u64 {
        self.seen().passed.len() as u64
    }

    /// Whether a partition is below a row that was passed by.
    pub(super) fn covers(&self, partition: &str) -> bool {
        row_of(partition, self.width).is_some_and(|row| self.seen().passed.contains(&hash(&row)))
    }

    /// A list below the row with this key could not be read.
    pub(super) fn note_unread(&self, key: &[String]) {
        self.seen().unread.insert(partition_key(key.to_vec()));
    }

    /// A partition has its turn in this pass.
    pub(super) fn note_listed(&self, partition: &str) {
        self.seen().listed.insert(hash(partition));
    }

    fn note_unread_of(&self, partition: &str) {
        self.seen().unread.extend(row_of(partition, self.width));
    }

    fn is_listed(&self, partition: &str) -> bool {
        self.seen().listed.contains(&hash(partition))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The row that a partition is below: what its key begins with.
fn row_of(partition: &str, width: usize) -> Option<String> {
    let keys: Vec<String> = serde_json::from_str(partition).ok()?;
    (keys.len() > width).then(|| partition_key(keys.into_iter().take(width).collect()))
}
