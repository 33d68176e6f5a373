//! The one writer of the database.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use duckdb::{Connection, DropBehavior};

use super::absence::{self, Absence, HeldBack, Partitions, ScanEnd};
use super::error::Error;
use super::feed::{self, FeedPage, Wanted};
use super::file::{self, Access, RunLock, WaitObserver, Warehouse, holds_something};
use super::gone;
use super::group::{Committed, Ends, Filled, Group, Walked};
use super::items::{self, FoundNode, ItemRow, NodePartition, NodesOf};
use super::layout;
use super::ledger::{self, Counts, RunEnd, RunRecord};
use super::merge::spanned;
use super::outbox::{self, ModelChanges};
use super::reset::{self, Forgotten, Reset};
use super::schedule::{self, Scheduled};
use super::seen::{self, Seen};
use super::status::{self, PastRun, RunsOf, SyncStatus};
use super::tables::{self, SchemaChange, table_of};
use super::{children, history, merge, publish, quarantine, request_log, stage};
use crate::plan::{ModelPlan, NotifyPlan, SyncId, limits};
use crate::record::Batch;
use crate::scan::Checkpoint;

/// The writer: one per database in the whole machine, used from one thread.
///
/// It takes the file for a commit and keeps it until [`Store::release`] says that nothing is waiting.
pub struct Store {
    warehouse: Warehouse,
    interrupted_noted: bool,
    /// something was written since it was opened and since the last copy
    wrote: bool,
    /// when the file had been changed last before that
    found: Option<SystemTime>,
    /// the last commit found no row that was there before
    only_added: bool,
    /// models whose tables were found or made as they say, destructively or not, since the file was taken
    prepared: Vec<(Arc<ModelPlan>, bool)>,
    /// who is told what happens
    pub(super) told: Arc<[NotifyPlan]>,
    // let go of last, when the file is closed
    _lock: RunLock,
}

/// The end of a scan with `deletes: absence`, as [`Store::finish_absence`] takes it.
#[derive(Debug)]
pub struct AbsenceEnd<'a> {
    /// which sync
    pub id: &'a SyncId,
    /// which run
    pub run_id: &'a str,
    /// whose rows: with several, all or none are deleted
    pub models: &'a [Arc<ModelPlan>],
    /// which scan, and what it may delete
    pub scan: ScanEnd,
    /// what the part of the sync remembers once the deletes are committed
    pub checkpoint: &'a (Arc<str>, Checkpoint),
    /// the time of the commit
    pub now: DateTime<Utc>,
}

impl Store {
    /// Takes the database for a run, making the file if there is none. `waiting` is told once per wait when another process has the
    /// file.
    ///
    /// # Errors
    /// [`Error::Busy`] when another run works on it; [`Error::Locked`], [`Error::NotADatabase`], [`Error::Damaged`],
    /// [`Error::NewerLayout`] and [`Error::File`] leave the file as it is.
    pub fn open_for_run(path: &Path, waiting: WaitObserver) -> Result<Self, Error> {
        Self::open_within(path, limits::LOCK_WAIT_MAX, waiting)
    }

    /// Takes a database that is there for a command that changes it; else as [`Store::open_for_run`].
    ///
    /// # Errors
    /// [`Error::Missing`]; else as [`Store::open_for_run`].
    pub fn open_existing(path: &Path, waiting: WaitObserver) -> Result<Self, Error> {
        if !holds_something(path) {
            return Err(Error::Missing { path: path.into() });
        }
        Self::open_for_run(path, waiting)
    }

    /// The same, but a process that works on the database is waited for, as long as others wait for the file; `waiting` is told.
    ///
    /// # Errors
    /// As [`Store::open_for_run`].
    #[expect(clippy::disallowed_methods, reason = "a command that waits for another process has nothing else to do")]
    pub fn open_patiently(path: &Path, waiting: fn(&str)) -> Result<Self, Error> {
        let mut told = false;
        let pauses = limits::LOCK_WAIT_MAX.as_millis() / limits::BUSY_WAIT.as_millis().max(1);
        for _ in 0..pauses {
            match Self::open_for_run(path, Box::new(waiting)) {
                Err(busy @ Error::Busy { .. }) => {
                    if !std::mem::replace(&mut told, true) {
                        waiting(&format!("{busy}: waiting"));
                    }
                    std::thread::sleep(limits::BUSY_WAIT);
                }
                opened => return opened,
            }
        }
        Self::open_for_run(path, Box::new(waiting))
    }

    pub(super) fn open_within(
        path: &Path,
        wait_max: std::time::Duration,
        waiting: WaitObserver,
    ) -> Result<Self, Error> {
        let lock = RunLock::take(path)?;
        let found = file::changed_at(path);
        let warehouse = Warehouse::start(path, wait_max, waiting)?;
        let mut store = Self {
            warehouse,
            interrupted_noted: false,
            only_added: false,
            wrote: false,
            found,
            prepared: Vec::new(),
            told: Arc::default(),
            _lock: lock,
        };
        store.warehouse.create_if_missing()?;
        store.warehouse.attach(Access::Write)?;
        match layout::version(store.warehouse.connection(), path)? {
            None => layout::create(store.warehouse.connection())?,
            Some(layout::VERSION) => {}
            Some(_) => {
                layout::upgrade(store.warehouse.connection())?;
                // replaying schema changes is where DuckDB had most bugs, so the write-ahead log never holds one for long
                store.warehouse.fold()?;
            }
        }
        Ok(store)
    }

    /// Lets go of the file, so that others can open it. The next call takes it again.
    ///
    /// # Errors
    /// DuckDB cannot write the file.
    pub fn release(&mut self) -> Result<(), Error> {
        // whoever has the file meanwhile may change its tables
        self.prepared.clear();
        self.warehouse.detach()
    }

    /// The same for a moment, between commits that follow each other: tidying up in the file is left to the next [`Store::release`].
    ///
    /// # Errors
    /// DuckDB cannot write the file.
    pub fn release_briefly(&mut self) -> Result<(), Error> {
        self.prepared.clear();
        self.warehouse.detach_briefly()
    }

    /// Brings the tables in line with the models. A model that is as it was writes nothing.
    ///
    /// With `allow_destructive`, columns that a model no longer has go, and a changed type or key is no error. Where rows have to be read
    /// again, the syncs that fill the table have no checkpoint afterwards: read it after this.
    ///
    /// # Errors
    /// [`Error::SchemaConflict`] says what does not fit and what to do; then no model's table is changed.
    pub fn prepare(
        &mut self,
        models: &[Arc<ModelPlan>],
        allow_destructive: bool,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<SchemaChange>, Error> {
        let known = |model: &Arc<ModelPlan>| self.prepared.contains(&(Arc::clone(model), allow_destructive));
        if models.iter().all(known) {
            return Ok(Vec::new());
        }
        let given = models;
        let models = tables::distinct(models)?;
        let (changes, wrote) = self.transaction("prepare the tables", |db| {
            let mut all = (Vec::new(), false);
            for model in models {
                let (changes, wrote) = tables::prepare(db, model, allow_destructive, run_id, now)?;
                let anew = changes.iter().any(|change| change.change == "key_changed");
                let (of_history, wrote_history) =
                    history::prepare(db, model, (wrote, anew, allow_destructive), run_id, now)?;
                all.0.extend(changes.into_iter().chain(of_history));
                all.1 |= wrote | wrote_history;
            }
            Ok(all)
        })?;
        if wrote {
            self.prepared.clear();
            self.warehouse.fit()?;
            // the write-ahead log never holds a schema change for long: replaying them is where DuckDB had most bugs
            self.warehouse.fold()?;
        }
        self.prepared.extend(given.iter().map(|model| (Arc::clone(model), allow_destructive)));
        Ok(changes)
    }

    /// Notes the tables that a sync fills, so that who forgets its rows finds them all. Where that is known nothing is written.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn note_tables(&mut self, id: &SyncId, models: &[Arc<ModelPlan>]) -> Result<(), Error> {
        let filled: Vec<_> = models.iter().map(|model| table_of(model)).collect();
        self.transaction("note the tables", |db| ledger::note_tables(db, id, &filled))
    }

    /// What a sync of one part remembers, or what the partitions of a fan-out share.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] names the sync and the way out.
    pub fn checkpoint(&mut self, id: &SyncId) -> Result<Option<Checkpoint>, Error> {
        Ok(self.checkpoints(id, &["".into()])?.remove(""))
    }

    /// What these partitions of a sync remember, as many as remember anything.
    ///
    /// # Errors
    /// As [`Store::checkpoint`].
    pub fn checkpoints(
        &mut self,
        id: &SyncId,
        partitions: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Checkpoint>, Error> {
        ledger::read_checkpoints(self.attached()?, id, partitions)
    }

    /// The living rows of a table as items of a fan-out, behind the key `after`, in key order, at most `count`; none when there is no such
    /// table.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn item_rows(
        &mut self,
        model: &ModelPlan,
        id: &SyncId,
        after: Option<&[String]>,
        count: usize,
    ) -> Result<Option<Vec<ItemRow>>, Error> {
        items::rows(self.attached()?, model, id, after, count)
    }

    /// Which of these rows, given by their keys, live and have come from records that their list had with these hashes.
    ///
    /// # Errors
    /// [`Error::Rows`] when the columns are not the model's key; the file cannot be had or read.
    pub fn are_listed(
        &mut self,
        model: &ModelPlan,
        id: &SyncId,
        keys: &RecordBatch,
        hashes: &[u64],
    ) -> Result<Vec<bool>, Error> {
        items::are_listed(self.attached()?, model, id, keys, hashes)
    }

    /// Those of these keys, by their hashes, under which a record of the model is in quarantine.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn quarantined(&mut self, model: &ModelPlan, id: &SyncId, keys: &[u128]) -> Result<HashSet<u128>, Error> {
        quarantine::held(self.attached()?, model, id, keys)
    }

    /// Which rows of these batches a commit would leave alone now: the table has them as they are, and no record of theirs is in quarantine.
    /// Of rows of one key only the last can be one of them.
    ///
    /// # Errors
    /// [`Error::Rows`] when a batch does not have the shape of the model; the file cannot be had or read.
    pub fn as_stored(&mut self, model: &ModelPlan, id: &SyncId, batches: &[Batch]) -> Result<Vec<Vec<bool>>, Error> {
        let staged = stage::stage_keys(self.warehouse.connection(), model, batches)?;
        if staged.rows == 0 {
            return Ok(batches.iter().map(|_| Vec::new()).collect());
        }
        let db = self.attached()?;
        let to_write = merge::to_write(db, model, id, &staged);
        let dropped = stage::drop(db, stage::KEYS);
        let to_write = to_write?;
        dropped?;
        let keys: Vec<u128> = batches.iter().flat_map(|batch| &batch.key_hashes).copied().collect();
        let held = quarantine::held(db, model, id, &keys)?;
        let is_stored =
            |(ord, key): (&Option<i64>, &u128)| ord.is_some_and(|ord| !to_write.contains(&ord)) && !held.contains(key);
        let batches = batches.iter().enumerate();
        Ok(batches.map(|(at, batch)| staged.ords(at).iter().zip(&batch.key_hashes).map(is_stored).collect()).collect())
    }

    /// The partitions that a sync remembers.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn known_partitions(&mut self, id: &SyncId) -> Result<Vec<Arc<str>>, Error> {
        items::known_partitions(self.attached()?, id)
    }

    /// The partitions of a sync that were not read to their end when they were read last.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn unread_partitions(&mut self, id: &SyncId) -> Result<Vec<Arc<str>>, Error> {
        items::unread_partitions(self.attached()?, id)
    }

    /// The last change number given out.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn last_change(&mut self) -> Result<i64, Error> {
        ledger::change_counter(self.attached()?)
    }

    /// Places of a walk that were not read to their end in a pass, behind the number `after`, at most `count`.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn unread_nodes(
        &mut self,
        id: &SyncId,
        of: NodesOf,
        after: i64,
        count: usize,
    ) -> Result<Vec<FoundNode>, Error> {
        items::unread_nodes(self.attached()?, id, of, after, count)
    }

    /// The partitions of all places of a walk that were found.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn node_partitions(&mut self, id: &SyncId, of: NodesOf) -> Result<Vec<NodePartition>, Error> {
        items::node_partitions(self.attached()?, id, of)
    }

    /// Forgets the places of a walk that were not found.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn forget_nodes(&mut self, id: &SyncId, of: NodesOf) -> Result<(), Error> {
        self.transaction("forget places of the walk", |db| items::forget_nodes(db, id, of))
    }

    /// Forgets partitions of a sync. Their rows stay.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn forget_partitions(&mut self, id: &SyncId, partitions: &[Arc<str>]) -> Result<(), Error> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.transaction("forget partitions", |db| items::forget_partitions(db, id, partitions))
    }

    /// Notes that a partition could not be read to its end.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn note_failed(
        &mut self,
        id: &SyncId,
        model: &ModelPlan,
        partition: &str,
        error: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        self.transaction("note the partition that failed", |db| {
            items::note_failed(db, id, partition, model, error, now)
        })
    }

    /// When the syncs ran, and which are paused.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn scheduled(&mut self) -> Result<Vec<Scheduled>, Error> {
        schedule::known(self.attached()?)
    }

    /// Notes that syncs are paused, or that they are not.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn pause(&mut self, ids: &[SyncId], paused: bool, now: DateTime<Utc>) -> Result<(), Error> {
        self.transaction("note which syncs are paused", |db| schedule::pause(db, ids, paused, now))
    }

    /// Notes that a run has begun. The first call also notes that runs which a killed process left behind were interrupted.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn begin_run(&mut self, run: &RunRecord) -> Result<(), Error> {
        let first = !self.interrupted_noted;
        self.transaction("note the beginning of the run", |db| {
            if first {
                ledger::interrupt_leftovers(db)?;
            }
            ledger::begin_run(db, run)
        })?;
        self.interrupted_noted = true;
        Ok(())
    }

    /// Notes how a run ended, and what is told of it.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn end_run(&mut self, run: &RunRecord, end: &RunEnd) -> Result<(), Error> {
        let told = Arc::clone(&self.told);
        self.transaction("note the end of the run", |db| {
            outbox::tell_run(db, &told, run, end)?;
            request_log::prune(db, end.ended_at)?;
            ledger::end_run(db, &run.id, &run.run_id, end)
        })
    }

    /// The rows of a group in no more batches than need be. Before many rows, what the last commit left over of memory goes back.
    fn prepared_rows(&self, mut filled: Vec<Filled>) -> Result<Vec<Filled>, Error> {
        filled.iter_mut().for_each(|filled| filled.batches = Batch::join_small(std::mem::take(&mut filled.batches)));
        let bytes: usize = filled.iter().flat_map(|filled| &filled.batches).map(|batch| batch.bytes).sum();
        match self.only_added {
            _ if bytes < limits::GIVEN_BACK_BEFORE => {}
            // a load does not read what it has just written
            true => self.warehouse.give_all_back()?,
            false => self.warehouse.give_back()?,
        }
        Ok(filled)
    }

    /// Commits a group. A group without rows still commits its checkpoint.
    ///
    /// # Errors
    /// Nothing of the group is committed then; the store can be used on.
    pub fn commit(&mut self, mut group: Group) -> Result<Committed, Error> {
        let mut filled = self.prepared_rows(std::mem::take(&mut group.filled))?;
        let Some(Filled { model: first, batches, newest }) = filled.first() else {
            return Err(Error::Rows { table: String::new(), detail: "a group fills no table".into() });
        };
        let first = Arc::clone(first);
        // before the file is taken: others can read it meanwhile
        let mark = newest.map(|newest| newest.column);
        let mut staged = Some(stage::stage_marked_keys(self.warehouse.connection(), &first, batches, mark)?);
        let Group { id, run_id, filled: _, gone, seen: named, listed, ends, walked, checkpoints, known, pages, now } =
            &group;
        let told = Arc::clone(&self.told);
        let committed = self.transaction("commit the pages", |db| {
            let deleted = gone::mark(db, &first, id, gone, *now)?;
            history::follow(db, &first, id, deleted.changes, *now)?;
            let of_items = children::follow(db, &first, id, deleted.changes, *now)?;
            let mut changes = spanned(deleted.changes, of_items);
            let mut done = vec![ModelChanges::default(); filled.len()];
            done[0] = ModelChanges { deleted: deleted.rows, changes, ..ModelChanges::default() };
            let mut counts = Counts { pages: *pages, deleted: deleted.rows, ..Counts::default() };
            (counts.records, counts.unchanged) = (*known, *known);
            for (at, Filled { model, batches, newest }) in filled.iter_mut().enumerate() {
                let mut staged = match staged.take() {
                    Some(staged) => staged,
                    None => stage::stage_marked_keys(db, model, batches, newest.map(|newest| newest.column))?,
                };
                let quarantined = batches.iter().filter_map(|batch| Some((batch.seen_by?, &batch.quarantined_keys)));
                let named = named.iter().filter(|_| at == 0).map(|(scan, keys)| (*scan, keys));
                seen::note(db, model, id, &staged, quarantined.chain(named))?;
                let older = merge::leave_out_older(db, model, id, (batches, &mut staged), *newest)?;
                let merged = merge::merge(db, model, id, batches, &staged, *now)?;
                let quarantined = quarantine::update(db, model, id, &staged, batches, run_id, *now)?;
                let of_items = children::replace(db, model, id, (&staged, batches), run_id, *now)?;
                let of_model = spanned(merged.changes, of_items);
                changes = spanned(changes, of_model);
                done[at].add(merged.added, merged.updated, merged.deleted, of_model);
                counts.add(&merge::counted(batches, &staged, &merged, (quarantined, older)));
            }
            for (partition, keys) in listed {
                items::note_partition(db, &first, id, partition, keys)?;
            }
            let mut held = Vec::new();
            if let Some(Ends { partitions, guard, accept }) = ends {
                let models: Vec<_> = filled.iter().map(|filled| Arc::clone(&filled.model)).collect();
                let ended = absence::end_partitions(db, &models, id, (partitions, guard, *accept), *now)?;
                for (done, (rows, of_model)) in done.iter_mut().zip(ended.models) {
                    done.add(0, 0, rows, of_model);
                    counts.deleted += rows;
                    changes = spanned(changes, of_model);
                }
                held = ended.held;
            }
            let checkpoints = instead(checkpoints, &held);
            if let Some(Walked { pass, found, read }) = walked {
                items::note_nodes(db, id, *pass, found)?;
                items::note_read(db, id, *pass, read)?;
            }
            ledger::write_checkpoints(db, id, &table_of(&first), &checkpoints, *now)?;
            ledger::count(db, id, run_id, &counts, changes)?;
            for (Filled { model, .. }, done) in filled.iter().zip(&done) {
                outbox::note_changes(db, &told, id, (run_id, &model.name), done)?;
            }
            Ok((counts, changes, held))
        });
        let dropped = stage::drop(self.warehouse.connection(), stage::KEYS);
        let (counts, changes, held) = committed?;
        dropped?;
        let committed = Committed::new(counts, changes, held);
        self.only_added = committed.only_added();
        Ok(committed)
    }

    /// Deletes what a proven complete scan did not see, and writes the checkpoint, in one transaction. When the guard holds it back,
    /// nothing is written: the caller commits the checkpoint it wants.
    ///
    /// # Errors
    /// Nothing is committed then.
    pub fn finish_absence(&mut self, end: &AbsenceEnd<'_>) -> Result<Absence, Error> {
        let AbsenceEnd { id, run_id, models, ref scan, checkpoint, now } = *end;
        let Some(first) = models.first() else {
            return Err(Error::Rows { table: String::new(), detail: "a scan fills no table".into() });
        };
        let told = Arc::clone(&self.told);
        self.transaction_if("delete what is gone", |db| {
            let (mut all, mut changes) = (0, None);
            for (at, model) in models.iter().enumerate() {
                if scan.of_ids && at > 0 {
                    scan.forget.map_or(Ok(0), |forget| seen::forget(db, model, id, forget))?;
                    continue;
                }
                let (rows, of_model) = match absence::delete_unseen(db, model, id, &scan.of_model(at), now)? {
                    Absence::Deleted { rows, changes } => (rows, changes),
                    held => return Ok((held, false)),
                };
                history::follow(db, model, id, of_model, now)?;
                let of_items = children::follow(db, model, id, of_model, now)?;
                all += rows;
                let of_model = spanned(of_model, of_items);
                changes = spanned(changes, of_model);
                let done = ModelChanges { deleted: rows, changes: of_model, ..ModelChanges::default() };
                outbox::note_changes(db, &told, id, (run_id, &model.name), &done)?;
                // the scan of a window or a partition says nothing of what lies outside it
                if scan.stretch.is_none() && scan.partitions == Partitions::All && !scan.of_ids {
                    for table in model.tables() {
                        quarantine::forget_unseen(db, id, table, scan.began)?;
                    }
                }
            }
            ledger::write_checkpoints(db, id, &table_of(first), std::slice::from_ref(checkpoint), now)?;
            ledger::count(db, id, run_id, &Counts { deleted: all, ..Counts::default() }, changes)?;
            Ok((Absence::Deleted { rows: all, changes }, true))
        })
    }

    /// Forgets the keys that scans of a sync have seen with which nobody goes on. Where there were any, `instead` is what a part of the sync
    /// remembers from then on: a checkpoint never tells of a scan without its seen keys, which would delete what it had seen. With `anew` it
    /// does so in any case: what a person wants to be read again stays so, whatever stops the run.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn discard_scans(
        &mut self,
        id: &SyncId,
        models: &[Arc<ModelPlan>],
        seen: Seen,
        (instead, anew): (&(Arc<str>, Checkpoint), bool),
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        self.transaction("forget the seen keys", |db| {
            let mut any = anew;
            for model in models {
                any |= seen::forget(db, model, id, seen)? > 0;
            }
            match models.first().filter(|_| any) {
                Some(first) => ledger::write_checkpoints(db, id, &table_of(first), std::slice::from_ref(instead), now),
                None => Ok(()),
            }
        })
    }

    /// A page of the changes of a table.
    ///
    /// # Errors
    /// [`Error::UnknownTable`]; [`Error::FeedEnded`] where the reader must begin again; [`Error::KeyShape`]; the file cannot be had or read.
    pub fn feed(&mut self, wanted: &Wanted) -> Result<FeedPage, Error> {
        feed::page(self.attached()?, wanted)
    }

    /// Every sync that ever ran here, by connection and name.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn status(&mut self) -> Result<Vec<SyncStatus>, Error> {
        status::all(self.attached()?)
    }

    /// The last runs, the latest first.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn runs(&mut self, of: &RunsOf) -> Result<Vec<PastRun>, Error> {
        status::runs(self.attached()?, of)
    }

    /// Every sync that ever ran here or has something here, by connection and name.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn known_syncs(&mut self) -> Result<Vec<SyncId>, Error> {
        reset::known_syncs(self.attached()?)
    }

    /// What [`Store::forget`] would take away.
    ///
    /// # Errors
    /// As [`Store::forget`].
    pub fn would_forget(&mut self, reset: &Reset) -> Result<Forgotten, Error> {
        reset::preview(self.attached()?, reset)
    }

    /// Makes syncs forget where they are, so that their next run reads everything again; with `purge` their rows go too, without being
    /// marked as deleted first. Runs, schema changes and the request log stay.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], [`Error::SharedTable`]; nothing is changed then.
    pub fn forget(&mut self, reset: &Reset, now: DateTime<Utc>) -> Result<Forgotten, Error> {
        self.transaction("forget", |db| reset::forget(db, reset, now))
    }

    /// Puts a consistent copy of the database at `target`, replacing what is there in one step. The file is let go of afterwards.
    ///
    /// # Errors
    /// [`Error::File`] when the copy cannot be written; an earlier copy then stays as it was.
    pub fn publish(&mut self, target: &Path) -> Result<(), Error> {
        self.prepared.clear();
        publish::publish(&mut self.warehouse, target)?;
        (self.wrote, self.found) = (false, None);
        Ok(())
    }

    /// Whether a copy at `target` would be another than the one that is there, as far as this store knows.
    pub fn has_news(&self, target: &Path) -> bool {
        self.wrote || file::changed_at(target).is_none_or(|copied| self.found.is_some_and(|found| copied < found))
    }

    pub(super) fn attached(&mut self) -> Result<&Connection, Error> {
        self.warehouse.attach(Access::Write)?;
        Ok(self.warehouse.connection())
    }

    /// DuckDB, whether the file is attached or not.
    pub(super) fn connection(&self) -> &Connection {
        self.warehouse.connection()
    }

    /// Runs `work` in one transaction: committed when it succeeds, undone when it does not.
    pub(super) fn transaction<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transaction_if(doing, |db| Ok((work(db)?, true)))
    }

    /// The same, undone also when `work` says false.
    fn transaction_if<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<(T, bool), Error>,
    ) -> Result<T, Error> {
        let mut transaction = self.attached()?.unchecked_transaction().map_err(Error::database(doing))?;
        let (done, keep) = work(&transaction)?;
        if !keep {
            return Ok(done);
        }
        transaction.execute_batch("COMMIT").map_err(Error::database(doing))?;
        // its own `commit` rolls back behind each commit, which costs as much as beginning one
        transaction.set_drop_behavior(DropBehavior::Ignore);
        drop(transaction);
        self.wrote = true;
        self.warehouse.fold_if_long()?;
        Ok(done)
    }
}

/// The checkpoints of a group, those of partitions that the guard has held back as they are then.
fn instead<'g>(checkpoints: &'g [(Arc<str>, Checkpoint)], held: &[HeldBack]) -> Cow<'g, [(Arc<str>, Checkpoint)]> {
    if held.is_empty() {
        return Cow::Borrowed(checkpoints);
    }
    let is_held = |partition: &Arc<str>| held.iter().any(|held| held.partition == *partition);
    let others = checkpoints.iter().filter(|(partition, _)| !is_held(partition)).cloned();
    others.chain(held.iter().map(|held| (Arc::clone(&held.partition), held.checkpoint.clone()))).collect()
}
