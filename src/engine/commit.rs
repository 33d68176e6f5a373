//! Pages gathered into groups and committed in order, with the checkpoint that becomes true by it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::answer::Mapped;
use super::fetch::Fetcher;
use super::lane::{Page, needs_finish, tells_gone, unexplained};
use super::report::SyncReport;
use super::sync::Task;
use super::{Error, Event};
use crate::plan::{ColumnType, DeletePlan, Guard, Order, Scope, SyncPlan, limits};
use crate::record::{Batch, Keys};
use crate::scan::{Checkpoint, Lane, Mark, OpenWindow, Position, ScanState, seen_by};
use crate::store::{Absence, AbsenceEnd, Gone, Group, ScanEnd, Stretch};

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
    /// all pages of a lane are sent; what is gone may be found out
    Finish { lane: Lane, reply: oneshot::Sender<Result<Next, Error>> },
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
    task: &'t Task,
    fetcher: &'t Fetcher,
    checkpoint: Checkpoint,
    batches: Vec<Batch>,
    gone: Vec<Gone>,
    seen: Vec<arrow::array::RecordBatch>,
    rows: usize,
    bytes: usize,
    pages: u64,
    deadline: Option<tokio::time::Instant>,
    committed: bool,
}

impl<'t> Commits<'t> {
    pub(super) fn new(task: &'t Task, fetcher: &'t Fetcher, checkpoint: Checkpoint) -> Self {
        Self {
            task,
            fetcher,
            checkpoint,
            batches: Vec::new(),
            gone: Vec::new(),
            seen: Vec::new(),
            rows: 0,
            bytes: 0,
            pages: 0,
            deadline: None,
            committed: true,
        }
    }

    /// Commits what comes until nobody sends any more.
    pub(super) async fn write(
        &mut self,
        mut queue: mpsc::Receiver<Message>,
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
                Some(Message::Page(page)) => self.page(*page, report).await?,
                // these become true with the next page of theirs; until then nothing is lost without them
                Some(Message::Open(window)) => self.checkpoint.windows.open(*window),
                Some(Message::GiveUp(id)) => self.checkpoint.windows.give_up(id),
                Some(Message::BeginAgain(lane, scan)) => {
                    self.commit(report).await?;
                    self.checkpoint.after_page(lane, *scan, Order::None, self.task.plan.zone());
                    let keep = seen_by(&self.task.plan, &self.checkpoint);
                    self.task.forget_seen(keep, self.kept(&self.checkpoint), false).await?;
                }
                Some(Message::Finish { lane, reply }) => match self.finish(lane, report).await {
                    Err(error @ Error::Guarded { .. }) => drop(reply.send(Err(error))),
                    Err(error) => return Err(error),
                    Ok(next) => drop(reply.send(Ok(next))),
                },
            }
        }
    }

    async fn page(&mut self, page: Page, report: &mut SyncReport) -> Result<(), Error> {
        let Page { lane, mapped, after, done } = page;
        let mapped = match mapped.await {
            Ok(Some(Ok(mapped))) => mapped,
            Ok(Some(Err(error))) => {
                self.commit(report).await?;
                return Err(error);
            }
            Ok(None) => return Err(unexplained()),
            Err(error) => return Err(Error::Bug(error.to_string())),
        };
        self.push(lane, mapped, after, done, report);
        if self.rows >= limits::GROUP_ROWS_MAX || self.bytes >= limits::GROUP_BYTES_MAX || done {
            self.commit(report).await?;
        }
        Ok(())
    }

    fn push(&mut self, lane: Lane, mapped: Mapped, after: ScanState, done: bool, report: &mut SyncReport) {
        let plan = &self.task.plan;
        let known = self.checkpoint.scan(lane).filter(|known| known.id == after.id);
        let mut scan = after;
        if let Some(known) = known {
            scan.high.clone_from(&known.high);
            scan.unsorted = known.unsorted;
            scan.unproven = known.unproven.clone().or(scan.unproven);
        }
        match mapped {
            Mapped::Rows(batch) => {
                self.rows += batch.rows.num_rows();
                self.bytes += batch.bytes;
                scan.unsorted |= batch.unsorted || batch.low.is_some() && batch.low < scan.high;
                let now = (self.task.clock)();
                scan.high = scan.high.take().max(batch.high.clone().map(|mark| mark.not_after(now, plan.zone())));
                if batch.keyless > 0 {
                    scan.doubt("a record without a readable key could be any of the rows");
                }
                self.batches.push(*batch);
                self.pages += 1;
            }
            Mapped::Keys(keys) => {
                self.rows += keys.keys.num_rows();
                self.bytes += keys.keys.get_array_memory_size();
                report.unreadable += keys.unreadable;
                if let Some(reason) = &keys.unreadable_reason {
                    report.unreadable_reason.get_or_insert_with(|| reason.clone());
                    scan.doubt("an entry without a readable key could mean any of the rows");
                }
                if lane == Lane::Sweep {
                    self.seen.push(keys.keys);
                } else {
                    let highest = keys.marks.iter().flatten().max().cloned();
                    scan.high =
                        scan.high.take().max(highest.map(|mark| mark.not_after((self.task.clock)(), plan.zone())));
                    let mark = changed_column(plan);
                    self.gone.extend(gone(&mut self.checkpoint, &keys, mark));
                }
            }
        }
        let order = plan.order();
        let closes = done && !needs_finish(plan, lane, &scan);
        self.checkpoint.after_page(lane, scan, order, plan.zone());
        if closes {
            self.checkpoint.after_scan(lane, order, plan.zone());
        }
        self.committed = false;
        let age_max = self.task.group_age_max;
        self.deadline.get_or_insert_with(|| deadline(age_max));
    }

    async fn commit(&mut self, report: &mut SyncReport) -> Result<(), Error> {
        if self.committed {
            return Ok(());
        }
        let group = Group {
            batches: std::mem::take(&mut self.batches),
            gone: std::mem::take(&mut self.gone),
            seen: std::mem::take(&mut self.seen),
            track_seen: seen_by(&self.task.plan, &self.checkpoint),
            pages: self.pages,
            ..self.checkpoint_only(&self.checkpoint)
        };
        let (filtered, nulled): (u64, u64) = group
            .batches
            .iter()
            .fold((0, 0), |(filtered, nulled), batch| (filtered + batch.filtered, nulled + batch.nulled));
        let rows = group.batches.iter().map(|batch| batch.rows.num_rows() as u64).sum();
        let pages = self.pages;
        (self.rows, self.bytes, self.pages, self.deadline, self.committed) = (0, 0, 0, None, true);
        let committed = self.task.writer.call(move |store| store.commit(group)).await?;
        report.add(&committed, pages, filtered, nulled, rows);
        (self.task.observer)(Some(&self.task.plan.id), Event::Committed { rows });
        self.task.keep_log(self.fetcher).await
    }

    /// Deletes what a proven complete scan did not return, and closes the scan. A window that may have moved is read once more before that.
    async fn finish(&mut self, lane: Lane, report: &mut SyncReport) -> Result<Next, Error> {
        self.commit(report).await?;
        let plan = Arc::clone(&self.task.plan);
        let Some(scan) = self.checkpoint.scan(lane).cloned() else {
            return Err(Error::Bug("the end of a scan that nobody made".into()));
        };
        if matches!(lane, Lane::Window(_)) && scan.rounds == 0 && !scan.is_settled(plan.order(), plan.zone()) {
            return Ok(Next::Again(Box::new(self.hold(lane, scan.again()).await?)));
        }
        let mut after = self.checkpoint.clone();
        after.after_scan(lane, plan.order(), plan.zone());
        let keep = seen_by(&plan, &after);
        let tells = tells_gone(&plan, lane, &scan);
        if !tells || scan.unproven.is_some() {
            report.deletes_skipped = scan.unproven.filter(|_| tells).or(report.deletes_skipped.take());
            let closed = self.checkpoint_only(&after);
            self.task.writer.call(move |store| store.commit(closed)).await?;
            self.task.forget_seen(keep, self.kept(&after), false).await?;
            self.checkpoint = after;
            return Ok(Next::Closed);
        }
        let absence = self.delete_unseen(lane, &scan, &after, keep).await?;
        let held = match absence {
            Absence::Deleted { rows, changes } => {
                report.deleted += rows;
                report.changed(changes.map(|(from, _)| from), changes.map(|(_, to)| to));
                self.checkpoint = after;
                return Ok(Next::Closed);
            }
            Absence::Unconfirmed { .. } => {
                report.read_twice = true;
                scan.again()
            }
            Absence::Guarded { .. } => ScanState { guarded: true, ..scan.clone() },
        };
        let held = self.hold(lane, held).await?;
        match absence {
            Absence::Guarded { would_delete, live, .. } => {
                let bound = match &plan.deletes {
                    DeletePlan::Absence { .. } => Some("deletes.absence.guard"),
                    DeletePlan::Sweep(_) => Some("deletes.sweep.guard"),
                    _ => None,
                };
                Err(Error::Guarded { would_delete, live, returned: scan.records, sync: plan.id.to_string(), bound })
            }
            _ => Ok(Next::Again(Box::new(held))),
        }
    }

    /// Keeps a scan that has come to its end and is not closed.
    async fn hold(&mut self, lane: Lane, scan: ScanState) -> Result<ScanState, Error> {
        self.checkpoint.after_page(lane, scan.clone(), Order::None, self.task.plan.zone());
        let kept = self.checkpoint_only(&self.checkpoint);
        self.task.writer.call(move |store| store.commit(kept)).await?;
        Ok(scan)
    }

    async fn delete_unseen(
        &self,
        lane: Lane,
        scan: &ScanState,
        after: &Checkpoint,
        keep: Option<u64>,
    ) -> Result<Absence, Error> {
        let plan = Arc::clone(&self.task.plan);
        let (guard, stretch) = match &plan.deletes {
            DeletePlan::Absence { guard, scope: Scope::Window, .. } => (*guard, self.stretch(lane)?),
            DeletePlan::Absence { guard, .. } => (*guard, None),
            DeletePlan::Sweep(sweep) => (sweep.guard, None),
            _ => (Guard::DEFAULT, None),
        };
        let end = ScanEnd {
            scan_id: seen_by(&plan, &self.checkpoint).unwrap_or(scan.id),
            began: scan.started_at,
            records_seen: scan.records,
            stretch,
            guard,
            accept: self.task.wish.accept_deletes,
            // a record can have slipped past the reader: what is missing is looked for once more
            confirm: scan.by_position && scan.rounds == 0,
            keep,
        };
        let (run_id, now, after) = (self.task.run_id.clone(), (self.task.clock)(), self.kept(after));
        self.task
            .writer
            .call(move |store| {
                let (id, model) = (&plan.id, &plan.model);
                store.finish_absence(&AbsenceEnd { id, run_id: &run_id, model, scan: end, checkpoint: &after, now })
            })
            .await
    }

    /// The rows of a window: those whose column of the incremental field lies in it.
    fn stretch(&self, lane: Lane) -> Result<Option<Stretch>, Error> {
        let plan = &self.task.plan;
        let range = match lane {
            Lane::Window(id) => self.checkpoint.windows.open.iter().find(|window| window.scan.id == id),
            Lane::Main | Lane::Feed | Lane::Sweep => None,
        };
        match (range, plan.mark_column()) {
            (Some(window), Some(column)) => Ok(Some(Stretch { column, range: window.range.clone() })),
            _ => Err(Error::Bug("a window whose rows are not known".into())),
        }
    }

    /// A group that moves the checkpoint and nothing else.
    fn checkpoint_only(&self, checkpoint: &Checkpoint) -> Group {
        Group {
            id: self.task.plan.id.clone(),
            run_id: self.task.run_id.clone(),
            model: Arc::clone(&self.task.plan.model),
            batches: Vec::new(),
            gone: Vec::new(),
            seen: Vec::new(),
            checkpoint: self.kept(checkpoint),
            track_seen: None,
            pages: 0,
            now: (self.task.clock)(),
        }
    }

    /// The checkpoint as it may be written down. A position that holds a secret (some APIs put the account's id or key into their next links)
    /// is not: another run begins the scan at its first page. Nor is a token that holds one: another run reads everything.
    fn kept(&self, checkpoint: &Checkpoint) -> Checkpoint {
        let mut kept = checkpoint.clone();
        let Ok(client) = &self.task.client else { return kept };
        let has_secret = |value: &Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            client.redact(&text) != text
        };
        kept.token = kept.token.filter(|token| !has_secret(token));
        kept.token_ahead = kept.token_ahead.filter(|token| !has_secret(token));
        for scan in kept.scans_mut() {
            if scan.since_token.iter().chain(&scan.token).any(has_secret) {
                let fresh = ScanState::begin(scan.id, scan.started_at, scan.since.clone());
                *scan = ScanState { unproven: scan.unproven.take(), ..fresh };
                continue;
            }
            let text = match &scan.position {
                Position::Url(url) => url.clone(),
                Position::Cursor(cursor) => cursor.to_string(),
                Position::Start | Position::Page(_) | Position::Offset(_) | Position::End => continue,
            };
            if client.redact(&text) != text {
                *scan = ScanState { position: Position::Start, pages: 0, records: 0, total: None, ..scan.clone() };
            }
        }
        kept
    }
}

/// The column that holds when a record changed last, if the model has it as a moment.
fn changed_column(plan: &SyncPlan) -> Option<usize> {
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
