//! Pages gathered into groups and committed in order, with the checkpoint that becomes true by it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::answer::{Mapped, PageRows};
use super::fetch::Fetcher;
use super::filling::Filling;
use super::lane::{Page, is_read_again, needs_finish, tells_gone, unexplained};
use super::report::SyncReport;
use super::stream::Piece;
use super::sync::Task;
use super::webhook::newest;
use super::{Error, Event};
use crate::plan::{ColumnType, DeletePlan, ModelPlan, Order, Scope, SyncPlan, limits};
use crate::record::Keys;
use crate::scan::{Checkpoint, Lane, ListsRead, Mark, Node, OpenWindow, Position, ScanState, all_at_once, seen_by};
use crate::store::{
    Absence, AbsenceEnd, Ends, Filled, Gone, Group, PartitionEnd, Partitions, ScanEnd, Seen, Stretch, Walked,
};

/// What the reading side tells the writing side, in order.
pub(super) enum Message {
    /// a page
    Page(Box<Page>),
    /// a window is begun
    Open(Box<OpenWindow>),
    /// a window is given up: it is a gap again
    GiveUp(u64),
    /// a lane is read from its first page again, by this scan
    BeginAgain(Lane, Box<ScanState>),
    /// where the scan of a lane is, to be committed at once
    Hold { lane: Lane, scan: Box<ScanState>, reply: oneshot::Sender<()> },
    /// all pages of a lane are sent; what is gone may be found out
    Finish { lane: Lane, reply: oneshot::Sender<Result<Next, Error>> },
    /// a partition begins; keys that it had seen were noted by this scan
    Begin(Box<Checkpoint>, Option<u64>),
    /// all lists of a partition are read
    End,
    /// a partition could not be read to its end
    Skip(Box<Error>),
    /// a list of items could not
    SkipItems(Box<Error>),
    /// to which places of a walk has led what was sent before?
    Found { reply: oneshot::Sender<Found> },
    /// what was sent before is to be committed
    Flush { reply: oneshot::Sender<()> },
    /// all partitions have had their turn
    EndPass { came: PassEnd, reply: oneshot::Sender<Result<(), Error>> },
}

/// What came of a pass over all partitions.
#[derive(Debug, Default)]
pub(super) struct PassEnd {
    /// items that there are
    pub(super) listed: u64,
    /// items and lists of items that could not be read to their end
    pub(super) unread: u64,
    /// partitions of earlier passes that no item stands for any more; none where that is not certain
    pub(super) gone: Vec<Arc<str>>,
    /// of a pass over lists below rows: which of them are read
    pub(super) lists: Option<ListsRead>,
    /// why there may be items that nobody has seen
    pub(super) doubt: Option<String>,
}

/// Places of a walk that were found since that was asked last.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// they stand in pages that are committed before anything that is sent from now on
    pub(super) nodes: Vec<Node>,
    /// there are too many: they are in the database
    pub(super) more: bool,
}

impl Found {
    /// Adds places, as long as they are few.
    fn extend(&mut self, nodes: &[Node]) {
        self.more |= self.nodes.len() + nodes.len() > limits::PARTITIONS_AT_ONCE;
        if self.more {
            self.nodes.clear();
        } else {
            self.nodes.extend_from_slice(nodes);
        }
    }
}

/// What follows the end of a lane.
pub(super) enum Next {
    /// nothing: it is closed
    Closed,
    /// the same list once more, by this scan
    Again(Box<ScanState>),
}

/// The writing side of a sync: the commit group that is being filled, and the checkpoint behind it.
pub(super) struct Commits<'t> {
    pub(super) task: &'t Task,
    fetcher: &'t Fetcher,
    /// of what is being read, by partition
    parts: HashMap<Arc<str>, Checkpoint>,
    /// parts whose checkpoints become true with the next commit
    touched: BTreeSet<Arc<str>>,
    /// parts that are read
    ended: Vec<Arc<str>>,
    /// ends of scans of partitions, which tell what is gone with the next commit
    pub(super) ends: Vec<PartitionEnd>,
    /// what is known of pages of which more comes, by part and list: what their rows say becomes true with the last of them
    begun: Vec<(Arc<str>, Lane, ScanState)>,
    /// parts of which a page was left out
    short: HashSet<Arc<str>>,
    /// those that lead deeper than the walk goes
    too_deep: HashSet<Arc<str>>,
    filling: Filling,
    /// places that a walk has found, of which the reading side does not know yet
    to_tell: Found,
    deadline: Option<tokio::time::Instant>,
    /// rows are new, as far as is known: the table has none that they would have to be compared with
    loads: bool,
}

impl<'t> Commits<'t> {
    pub(super) fn new(task: &'t Task, fetcher: &'t Fetcher, checkpoint: Checkpoint) -> Self {
        Self {
            task,
            fetcher,
            // the pass is known before what is read in it
            touched: checkpoint.pass.iter().map(|_| "".into()).collect(),
            loads: checkpoint.main.completed_at.is_none(),
            parts: HashMap::from([("".into(), checkpoint)]),
            ended: Vec::new(),
            ends: Vec::new(),
            begun: Vec::new(),
            short: HashSet::new(),
            too_deep: HashSet::new(),
            filling: Filling::of(task.plan.models().count()),
            to_tell: Found::default(),
            deadline: None,
        }
    }

    /// Commits what comes until nobody sends any more.
    pub(super) async fn write(
        &mut self,
        mut queue: mpsc::Receiver<(Arc<str>, Message)>,
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        loop {
            let message = match self.deadline {
                Some(deadline) => tokio::select! {
                    message = queue.recv() => message,
                    () = tokio::time::sleep_until(deadline) => {
                        self.commit(report).await?;
                        continue;
                    }
                },
                None => queue.recv().await,
            };
            match message {
                None => return self.commit(report).await,
                Some((partition, message)) => self.take(partition, message, report).await?,
            }
        }
    }

    async fn take(&mut self, partition: Arc<str>, message: Message, report: &mut SyncReport) -> Result<(), Error> {
        match message {
            Message::Page(page) => return self.page(&partition, *page, report).await,
            // these become true with the next page of theirs; until then nothing is lost without them
            Message::Open(window) => self.part(&partition)?.windows.open(*window),
            Message::GiveUp(id) => self.part(&partition)?.windows.give_up(id),
            Message::Begin(checkpoint, before) => {
                self.parts.insert(Arc::clone(&partition), *checkpoint);
                self.forget_seen(&partition, before).await?;
            }
            Message::BeginAgain(lane, scan) => {
                self.commit(report).await?;
                let plan = Arc::clone(&self.task.plan);
                let before = seen_by(&plan, self.part(&partition)?);
                self.part(&partition)?.after_page(lane, *scan, Order::None, plan.zone());
                self.forget_seen(&partition, before).await?;
            }
            Message::Hold { lane, scan, reply } => {
                self.commit(report).await?;
                self.hold(&partition, lane, *scan).await?;
                // whoever waits may have gone
                let _ = reply.send(());
            }
            Message::Finish { lane, reply } => match self.finish(&partition, lane, report).await {
                Err(error @ (Error::Guarded { .. } | Error::Restless { .. })) => drop(reply.send(Err(error))),
                Err(error) => return Err(error),
                Ok(next) => drop(reply.send(Ok(next))),
            },
            Message::End => {
                // one that lacks a page is not read, though it has had its turn
                let complete = !self.short.remove(&partition);
                if let Some(turn) = &mut self.part(&partition)?.turn {
                    turn.complete = complete;
                }
                self.touch(&partition);
                self.ended.push(partition);
            }
            Message::Skip(error) => {
                report.skip(&partition, &error);
                self.commit(report).await?;
                self.note_failed(&partition, &error).await?;
                self.parts.remove(&partition);
                self.begun.retain(|(of, _, _)| *of != partition);
            }
            Message::SkipItems(error) => report.skip(&partition, &error),
            Message::Found { reply } => {
                let found = std::mem::take(&mut self.to_tell);
                if found.more {
                    self.commit(report).await?;
                }
                // whoever waits may have gone
                let _ = reply.send(found);
            }
            Message::Flush { reply } => {
                self.commit(report).await?;
                // whoever waits may have gone
                let _ = reply.send(());
            }
            Message::EndPass { came, reply } => match self.end_pass(came, report).await {
                Err(error @ Error::Guarded { .. }) => drop(reply.send(Err(error))),
                Err(error) => return Err(error),
                Ok(()) => drop(reply.send(Ok(()))),
            },
        }
        Ok(())
    }

    async fn note_failed(&self, partition: &Arc<str>, error: &Error) -> Result<(), Error> {
        let (plan, now) = (Arc::clone(&self.task.plan), (self.task.clock)());
        let (text, of) = (error.to_string(), Arc::clone(partition));
        self.task.writer.call(move |store| store.note_failed(&plan.id, &plan.model, &of, &text, now)).await
    }

    /// Whether a partition was read to its end, with all of its pages.
    fn is_read(&self, partition: &str) -> bool {
        self.parts.get(partition).is_some_and(|part| part.turn.is_some_and(|turn| turn.complete))
    }

    pub(super) fn part(&mut self, partition: &str) -> Result<&mut Checkpoint, Error> {
        self.parts.get_mut(partition).ok_or_else(|| Error::Bug("a part of the sync that nobody began".into()))
    }

    /// The part's checkpoint becomes true with the next commit.
    pub(super) fn touch(&mut self, partition: &Arc<str>) {
        self.touched.insert(Arc::clone(partition));
        let age_max = self.task.group_age_max;
        self.deadline.get_or_insert_with(|| deadline(age_max));
    }

    async fn page(&mut self, partition: &Arc<str>, page: Page, report: &mut SyncReport) -> Result<(), Error> {
        let Page { lane, mapped, after, done, left_out, mut piece } = page;
        let mut mapped = match mapped.rows().await {
            Ok(mapped) => mapped,
            Err(error) => {
                self.commit(report).await?;
                return Err(error);
            }
        };
        if let Some(why) = left_out {
            report.skip_page(&why);
        }
        if after.left_out > 0 {
            self.short.insert(Arc::clone(partition));
            if done {
                report.was_short();
            }
        }
        let begun = self.begun.iter().position(|(of, read, _)| of == partition && *read == lane);
        let before = begun.map(|at| self.begun.swap_remove(at).2);
        if piece.begins && before.is_some() {
            // it broke, and comes from its beginning again: one group knows each row once
            self.commit(report).await?;
        }
        let mut before = before.filter(|_| !piece.begins);
        // a row group that lacks a few rows goes through the write-ahead log, and a few more are one of their own
        let lacks = limits::ROW_GROUP_ROWS.checked_sub(self.filling.rows).filter(|_| self.loads);
        if let Some(first) = lacks.and_then(|rows| mapped.first(rows)) {
            let fills = Piece { ends: false, ..piece };
            self.push(partition, (lane, fills), first, (before, after.clone()), false, report)?;
            self.commit(report).await?;
            before = self.begun.pop().map(|(_, _, scan)| scan);
            piece.begins = false;
        }
        self.push(partition, (lane, piece), mapped, (before, after), done, report)?;
        // the end of a partition waits for its neighbours
        let ends = done && partition.is_empty();
        if !self.make_room().await? || ends || self.touched.len() >= limits::GROUP_PARTITIONS_MAX {
            self.commit(report).await?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        partition: &Arc<str>,
        (lane, piece): (Lane, Piece),
        mapped: Mapped,
        (before, after): (Option<ScanState>, ScanState),
        done: bool,
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        let plan = Arc::clone(&self.task.plan);
        let checkpoint = self.part(partition)?;
        let known = before.as_ref().or_else(|| checkpoint.scan(lane)).filter(|known| known.id == after.id);
        let mut scan = after;
        if let Some(known) = known {
            scan.high.clone_from(&known.high);
            scan.unsorted = known.unsorted;
            scan.unproven = known.unproven.clone().or(scan.unproven);
            scan.digest = known.digest;
            scan.of_models.clone_from(&known.of_models);
        }
        let order = plan.order();
        let seen_by = seen_by(&plan, checkpoint);
        match mapped {
            Mapped::Rows(rows) => {
                self.push_rows(partition, rows, &mut scan, seen_by, report);
                self.filling.pages += u64::from(piece.ends);
            }
            Mapped::Keys(keys) => {
                self.filling.rows += keys.keys.num_rows();
                self.filling.bytes += keys.keys.get_array_memory_size();
                report.unreadable += keys.unreadable;
                if let Some(reason) = &keys.unreadable_reason {
                    report.unreadable_reason.get_or_insert_with(|| reason.clone());
                    scan.doubt("an entry without a readable key could mean any of the rows");
                }
                scan.digest = keys.hashes.iter().fold(scan.digest, |digest, hash| digest.wrapping_add(*hash));
                if lane == Lane::Sweep {
                    self.filling.seen.extend(seen_by.map(|scan| (scan, keys.keys)));
                } else {
                    let highest = keys.marks.iter().flatten().max().cloned();
                    scan.high =
                        scan.high.take().max(highest.map(|mark| mark.not_after((self.task.clock)(), plan.zone())));
                    let mark = changed_column(&plan);
                    let gone = gone(self.part(partition)?, &keys, mark);
                    self.filling.gone.extend(gone);
                }
            }
            Mapped::Items(_) | Mapped::Bare(_) => return Err(unexplained()),
        }
        if !piece.ends {
            // the rows may be committed; the scan is where it was
            self.begun.push((Arc::clone(partition), lane, scan));
            self.touch(partition);
            return Ok(());
        }
        let closes = done && !needs_finish(&plan, partition, lane, &scan);
        let ended = closes.then(|| scan.clone());
        let checkpoint = self.part(partition)?;
        checkpoint.after_page(lane, scan, order, plan.zone());
        if let Some(scan) = ended {
            checkpoint.after_scan(lane, order, plan.zone());
            self.count_in_pass(partition, &scan);
        }
        self.touch(partition);
        Ok(())
    }

    /// Takes the rows of a page into the group.
    fn push_rows(
        &mut self,
        partition: &Arc<str>,
        rows: PageRows,
        scan: &mut ScanState,
        seen_by: Option<u64>,
        report: &mut SyncReport,
    ) {
        let PageRows { batches, nodes, too_deep, known } = rows;
        let (plan, now) = (Arc::clone(&self.task.plan), (self.task.clock)());
        // places of one page are below the same items
        let parent = nodes.first().and_then(|node| node.parent.as_ref()).map_or(0, |parent| parent.to_string().len());
        self.filling.bytes += nodes.iter().map(Node::bytes).sum::<usize>() + parent;
        self.to_tell.extend(&nodes);
        self.filling.found.extend(nodes);
        if let (true, Some(walk)) = (too_deep, &plan.walk) {
            // each of its pages can say so
            if self.too_deep.insert(Arc::clone(partition)) {
                report.skip(partition, &Error::TooDeep { max: walk.depth_max });
            }
            scan.doubt("the walk did not go to its end");
        }
        let up_to_now = |mark: Option<Mark>| mark.map(|mark| mark.not_after(now, plan.zone()));
        if !plan.outputs.is_empty() {
            scan.of_models.resize(plan.outputs.len(), 0);
        }
        for (at, (mut batch, own)) in batches.into_iter().zip(&mut self.filling.batches).enumerate() {
            if let Some(returned) = scan.of_models.get_mut(at) {
                *returned += (batch.rows.num_rows() + batch.quarantined.len()) as u64;
            }
            self.filling.rows += batch.rows.num_rows();
            self.filling.bytes += batch.bytes;
            scan.unsorted |= batch.unsorted || batch.low.is_some() && batch.low < scan.high;
            scan.digest = batch.key_hashes.iter().map(low_half).fold(scan.digest, u64::wrapping_add);
            scan.high = scan.high.take().max(up_to_now(batch.high.clone()));
            if batch.keyless > 0 {
                scan.doubt("a record without a readable key could be any of the rows");
            }
            batch.partition = (!partition.is_empty()).then(|| Arc::clone(partition));
            batch.seen_by = seen_by;
            own.push(batch);
        }
        if let Some(known) = known {
            self.filling.rows += known.keys.num_rows();
            self.filling.known += known.keys.num_rows() as u64;
            scan.digest = known.key_hashes.iter().map(low_half).fold(scan.digest, u64::wrapping_add);
            scan.high = scan.high.take().max(up_to_now(known.high));
            if let Some(first) = scan.of_models.first_mut() {
                *first += known.keys.num_rows() as u64;
            }
            if !partition.is_empty() {
                self.filling.listed.push((Arc::clone(partition), known.keys.clone()));
            }
            self.filling.seen.extend(seen_by.map(|scan| (scan, known.keys)));
        }
    }

    /// What the end of a partition's scan means for the pass.
    fn count_in_pass(&mut self, partition: &str, scan: &ScanState) {
        let plan = &self.task.plan;
        if !partition.is_empty() && (all_at_once(plan) || plan.walk.is_some()) {
            if let Some(pass) = self.parts.get_mut("").and_then(|shared| shared.pass.as_mut()) {
                pass.count(scan);
            }
            self.touched.insert("".into());
        }
    }

    /// Takes rows out of a group of many bytes that the table has as they are: they need no commit. False where it takes no more, for it
    /// has as much as may wait.
    async fn make_room(&mut self) -> Result<bool, Error> {
        let (rows_max, bytes_max) = match self.loads {
            true => (limits::ROW_GROUP_ROWS, limits::GROUP_BYTES_MAX),
            false => (limits::GROUP_ROWS_MAX, self.task.compare_every),
        };
        let (has_rows, has_bytes) = (self.filling.rows >= rows_max, self.filling.bytes >= bytes_max);
        if has_rows || self.loads || !has_bytes {
            return Ok(!has_rows && !has_bytes);
        }
        let plan = Arc::clone(&self.task.plan);
        let model = Arc::clone(&plan.model);
        if let Some(batches) = self.filling.take_uncompared(&model) {
            let compared = self.task.writer.call(move |store| {
                let as_stored = store.as_stored(&plan.model, &plan.id, &batches)?;
                Ok((batches, as_stored))
            });
            let (batches, as_stored) = compared.await?;
            self.filling.put_compared(&model, batches, &as_stored);
        }
        // with less room the next comparison would be one of a few rows
        Ok(self.filling.bytes < limits::COMPARED_BYTES_MAX / 2)
    }

    pub(super) async fn commit(&mut self, report: &mut SyncReport) -> Result<(), Error> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let touched = std::mem::take(&mut self.touched);
        let empty = Filling::of(self.task.plan.models().count());
        let Filling { batches, found, gone, seen, listed, known, pages, .. } =
            std::mem::replace(&mut self.filling, empty);
        let newest = |model: &ModelPlan| newest(&self.task.plan, model, false);
        let filled = self.task.plan.models().zip(batches);
        let filled = filled.map(|(model, batches)| Filled { newest: newest(model), model: Arc::clone(model), batches });
        let filled: Vec<Filled> = filled.collect();
        let pass = self.parts.get("").and_then(|shared| shared.pass.as_ref()).filter(|_| self.task.plan.walk.is_some());
        let read: Vec<_> = self.ended.iter().filter(|ended| self.is_read(ended)).cloned().collect();
        let pass = pass.map(|pass| pass.id);
        let walked = pass.map(|pass| Walked { pass, found, read });
        let parts = touched.into_iter().filter_map(|partition| self.parts.get_key_value(&partition));
        let ends = std::mem::take(&mut self.ends);
        let guard = self.task.plan.deletes.guard();
        let accept = self.task.wish.accept_deletes;
        let group = Group {
            filled,
            ends: (!ends.is_empty()).then_some(Ends { partitions: ends, guard, accept }),
            walked,
            checkpoints: parts.map(|(partition, checkpoint)| (Arc::clone(partition), self.kept(checkpoint))).collect(),
            gone,
            seen,
            listed,
            pages,
            known,
            ..self.group()
        };
        for ended in self.ended.drain(..) {
            self.parts.remove(&ended);
            self.too_deep.remove(&ended);
        }
        let batches = || group.filled.iter().flat_map(|filled| &filled.batches);
        let (filtered, nulled): (u64, u64) =
            batches().fold((0, 0), |(filtered, nulled), batch| (filtered + batch.filtered, nulled + batch.nulled));
        let rows = batches().map(|batch| batch.rows.num_rows() as u64).sum::<u64>() + group.known;
        self.deadline = None;
        let began = (self.task.clock)();
        let committed = self.task.writer.call(move |store| store.commit(group)).await?;
        for held in &committed.held {
            let error = self.guarded(held.would_delete, held.live, held.returned);
            report.skip(&held.partition, &error);
            self.note_failed(&held.partition, &error).await?;
            if let Some(part) = self.parts.get_mut(&held.partition) {
                // its end is still to come, and is none
                *part = held.checkpoint.clone();
                self.short.insert(Arc::clone(&held.partition));
            }
        }
        report.add(&committed, pages, filtered, nulled, rows);
        if rows > 0 {
            self.loads = committed.only_added();
            let took = ((self.task.clock)() - began).to_std().unwrap_or_default();
            (self.task.observer)(Some(&self.task.plan.id), Event::Committed { rows, took });
        }
        self.task.keep_log(self.fetcher).await
    }

    /// Deletes what a proven complete scan did not return, and closes the scan. A list that may have moved is read once more before that.
    async fn finish(&mut self, partition: &Arc<str>, lane: Lane, report: &mut SyncReport) -> Result<Next, Error> {
        let plan = Arc::clone(&self.task.plan);
        let Some(scan) = self.part(partition)?.scan(lane).cloned() else {
            return Err(Error::Bug("the end of a scan that nobody made".into()));
        };
        let may_lack = is_read_again(&plan, partition, lane, &scan);
        if may_lack && !scan.is_settled(plan.order(), plan.zone()) && !scan.agrees() {
            self.commit(report).await?;
            if scan.is_restless() {
                let rounds = scan.rounds + 1;
                self.hold(partition, lane, ScanState { rounds: 0, ..scan.again() }).await?;
                return Err(Error::Restless { rounds });
            }
            return Ok(Next::Again(Box::new(self.hold(partition, lane, scan.again()).await?)));
        }
        let mut after = self.part(partition)?.clone();
        after.after_scan(lane, plan.order(), plan.zone());
        let tells = tells_gone(&plan, partition, lane, &scan);
        if !tells || scan.unproven.is_some() {
            report.deletes_skipped = scan.unproven.clone().filter(|_| tells).or(report.deletes_skipped.take());
            self.close(partition, &scan, after, report).await?;
            return Ok(Next::Closed);
        }
        if self.gathers(partition, lane, &scan) {
            self.gather(partition, &scan, after)?;
            return Ok(Next::Closed);
        }
        self.commit(report).await?;
        let absence = self.delete_unseen(partition, lane, &scan, &after).await?;
        let held = match absence {
            Absence::Deleted { rows, changes } => {
                report.deleted += rows;
                report.changed(changes.map(|(from, _)| from), changes.map(|(_, to)| to));
                *self.part(partition)? = after;
                return Ok(Next::Closed);
            }
            Absence::Unconfirmed { .. } if scan.is_restless() => {
                report.deletes_skipped = Some("the list changed each time while it was read".to_owned());
                self.close(partition, &scan, after, report).await?;
                return Ok(Next::Closed);
            }
            Absence::Unconfirmed { .. } => {
                report.read_twice = true;
                scan.again()
            }
            Absence::Guarded { .. } => ScanState { guarded: true, ..scan.clone() },
        };
        let held = self.hold(partition, lane, held).await?;
        match absence {
            Absence::Guarded { would_delete, live, returned, .. } => Err(self.guarded(would_delete, live, returned)),
            _ => Ok(Next::Again(Box::new(held))),
        }
    }

    /// Closes a scan whose end deletes nothing.
    async fn close(
        &mut self,
        partition: &Arc<str>,
        scan: &ScanState,
        after: Checkpoint,
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        let before = seen_by(&self.task.plan, self.part(partition)?);
        *self.part(partition)? = after;
        self.count_in_pass(partition, scan);
        self.touch(partition);
        self.commit(report).await?;
        self.forget_seen(partition, before).await
    }

    pub(super) fn guarded(&self, would_delete: u64, live: u64, returned: u64) -> Error {
        let plan = &self.task.plan;
        let bound = match &plan.deletes {
            DeletePlan::Absence { .. } => Some("deletes.absence.guard"),
            DeletePlan::Flag { .. } => Some("deletes.flag.guard"),
            DeletePlan::Feed(_) => Some("deletes.feed.guard"),
            DeletePlan::Sweep(_) => Some("deletes.sweep.guard"),
            DeletePlan::None | DeletePlan::Webhook => None,
        };
        Error::Guarded { would_delete, live, returned, sync: plan.id.to_string(), bound }
    }

    /// Keeps a scan that has come to its end and is not closed.
    async fn hold(&mut self, partition: &Arc<str>, lane: Lane, scan: ScanState) -> Result<ScanState, Error> {
        let zone = self.task.plan.zone();
        self.part(partition)?.after_page(lane, scan.clone(), Order::None, zone);
        let held = self.part(partition)?.clone();
        let kept = Group { checkpoints: vec![(Arc::clone(partition), self.kept(&held))], ..self.group() };
        self.task.writer.call(move |store| store.commit(kept)).await?;
        Ok(scan)
    }

    /// Forgets the seen keys that the part does not go on with; `before` is the scan that noted keys for it.
    pub(super) async fn forget_seen(&mut self, partition: &Arc<str>, before: Option<u64>) -> Result<(), Error> {
        let keep = seen_by(&self.task.plan, self.part(partition)?);
        let instead = self.part(partition)?.clone();
        let instead = (Arc::clone(partition), self.kept(&instead));
        match unwanted(&self.task.plan, before, keep) {
            Some(seen) => self.task.forget_seen(seen, instead, false).await,
            None => Ok(()),
        }
    }

    async fn delete_unseen(
        &mut self,
        partition: &Arc<str>,
        lane: Lane,
        scan: &ScanState,
        after: &Checkpoint,
    ) -> Result<Absence, Error> {
        let plan = Arc::clone(&self.task.plan);
        let stretch = match &plan.deletes {
            DeletePlan::Absence { scope: Scope::Window, .. } => self.stretch(partition, lane)?,
            _ => None,
        };
        let scan_id = seen_by(&plan, self.part(partition)?).unwrap_or(scan.id);
        let keep = seen_by(&plan, after);
        let end = ScanEnd {
            scan_id,
            began: scan.started_at,
            records_seen: scan.records,
            of_models: scan.of_models.clone(),
            of_ids: lane == Lane::Sweep,
            stretch,
            partitions: match &**partition {
                "" => Partitions::All,
                _ => Partitions::Of(Arc::clone(partition)),
            },
            guard: plan.deletes.guard(),
            accept: self.task.wish.accept_deletes,
            // a record can have slipped past the reader: what is missing is looked for once more
            confirm: scan.by_position && !scan.agrees(),
            forget: unwanted(&plan, Some(scan_id), keep),
        };
        self.end_absence((Arc::clone(partition), self.kept(after)), end).await
    }

    pub(super) async fn end_absence(&self, after: (Arc<str>, Checkpoint), end: ScanEnd) -> Result<Absence, Error> {
        let (run_id, now, plan) = (self.task.run_id.clone(), (self.task.clock)(), Arc::clone(&self.task.plan));
        self.task
            .writer
            .call(move |store| {
                let (id, models) = (&plan.id, plan.models().cloned().collect::<Vec<_>>());
                store.finish_absence(&AbsenceEnd {
                    id,
                    run_id: &run_id,
                    models: &models,
                    scan: end,
                    checkpoint: &after,
                    now,
                })
            })
            .await
    }

    /// The rows of a window: those whose column of the incremental field lies in it, in each model.
    fn stretch(&mut self, partition: &str, lane: Lane) -> Result<Option<Stretch>, Error> {
        let plan = Arc::clone(&self.task.plan);
        let windows = &self.part(partition)?.windows;
        let range = match lane {
            Lane::Window(id) => windows.open.iter().find(|window| window.scan.id == id),
            Lane::Main | Lane::Feed | Lane::Sweep => None,
        };
        let field = plan.incremental.as_ref().map(|incremental| &incremental.field);
        let columns: Option<Vec<usize>> = plan.models().map(|model| model.column_of(field?)).collect();
        match (range, columns) {
            (Some(window), Some(columns)) => Ok(Some(Stretch { columns, range: window.range.clone() })),
            _ => Err(Error::Bug("a window whose rows are not known".into())),
        }
    }

    /// A group with nothing in it.
    fn group(&self) -> Group {
        let plan = &self.task.plan;
        let filled = vec![Filled { model: Arc::clone(&plan.model), batches: Vec::new(), newest: None }];
        Group::of(plan.id.clone(), self.task.run_id.clone(), filled, (self.task.clock)())
    }

    /// The checkpoint as it may be written down. A position that holds a secret (some APIs put the account's id or key into their next links)
    /// is not: another run begins the scan at its first page. Nor is a token that holds one: another run reads everything.
    pub(super) fn kept(&self, checkpoint: &Checkpoint) -> Checkpoint {
        let mut kept = checkpoint.clone();
        let Ok(client) = &self.task.client else { return kept };
        let has_secret = |value: &Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            client.redact(&text) != text
        };
        kept.token = kept.token.filter(|token| !has_secret(token));
        kept.token_ahead = kept.token_ahead.filter(|token| !has_secret(token));
        for scan in kept.scans_mut() {
            if scan.since_token.iter().chain(&scan.token).chain(&scan.start_token).any(has_secret) {
                let fresh = ScanState::begin(scan.id, scan.started_at, scan.since.clone());
                *scan = ScanState { unproven: scan.unproven.take(), ..fresh };
                continue;
            }
            let text = match &scan.position {
                Position::Url(url) => url.clone(),
                Position::Cursor(cursor) => cursor.to_string(),
                Position::Start | Position::Page(_) | Position::Offset(_) | Position::Part(_) | Position::End => {
                    continue;
                }
            };
            if client.redact(&text) != text {
                *scan = ScanState {
                    position: Position::Start,
                    pages: 0,
                    records: 0,
                    of_models: Vec::new(),
                    digest: 0,
                    total: None,
                    ..scan.clone()
                };
            }
        }
        kept
    }
}

fn low_half(hash: &u128) -> u64 {
    hash.to_le_bytes().first_chunk().map_or(0, |low| u64::from_le_bytes(*low))
}

/// The seen keys that are not wanted any more, where a part of the sync had them noted by `before` and goes on with those of `keep`. The other
/// parts of a fan-out go on with theirs.
pub(super) fn unwanted(plan: &SyncPlan, before: Option<u64>, keep: Option<u64>) -> Option<Seen> {
    match (&plan.partitions, before) {
        (None, _) => Some(Seen::AllBut(keep)),
        (Some(_), Some(before)) if keep != Some(before) => Some(Seen::Of(before)),
        (Some(_), _) => None,
    }
}

/// The column that holds when a record changed last, if the model has it as a moment.
pub(super) fn changed_column(plan: &SyncPlan) -> Option<usize> {
    let column = plan.mark_column()?;
    (plan.model.columns[column].column_type == ColumnType::Timestamptz).then_some(column)
}

/// The entries of a page of deletions that are news; apart from the others those that may be no news, because what was read is not all
/// remembered.
fn gone(checkpoint: &mut Checkpoint, keys: &Keys, mark_column: Option<usize>) -> [Gone; 2] {
    let feed = &mut checkpoint.feed;
    let is_doubtful = |mark: &Option<Mark>| mark.is_some() && *mark <= feed.forgot_up_to;
    let kinds: Vec<Option<bool>> = keys
        .hashes
        .iter()
        .zip(&keys.marks)
        .map(|(hash, mark)| (!feed.applied.contains(hash)).then(|| is_doubtful(mark)))
        .collect();
    for (hash, mark) in keys.hashes.iter().zip(&keys.marks) {
        if let Some(mark) = mark {
            feed.note(*hash, mark.clone());
        }
    }
    let at = |mark: &Option<Mark>| match mark {
        Some(Mark::Timestamp(at)) => Some(at.timestamp_micros()),
        _ => None,
    };
    let of_kind = |doubtful: bool, before: Option<DateTime<Utc>>| {
        let keep: arrow::array::BooleanArray = kinds.iter().map(|kind| Some(*kind == Some(doubtful))).collect();
        let at = keys.marks.iter().zip(&kinds).filter(|(_, kind)| **kind == Some(doubtful)).map(|(mark, _)| at(mark));
        let at = at.collect();
        let keys = arrow::compute::filter_record_batch(&keys.keys, &keep).expect("there is a yes or no for each entry");
        Gone { keys, at, before, mark: mark_column }
    };
    [of_kind(true, feed.forgot_at), of_kind(false, None)]
}

#[expect(clippy::disallowed_methods, reason = "the age of a commit group is measured by the engine")]
fn deadline(age_max: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + age_max
}
