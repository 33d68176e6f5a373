//! One sync from its checkpoint to its end: fetch → read and map → commit, each ahead of the next by a few pages.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use minijinja::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::Reader;
use super::fetch::{Fetched, Fetcher, now};
use super::render::{self, Variables};
use super::report::{Outcome, SyncReport};
use super::writer::Writer;
use super::{Error, Event, Observer};
use crate::plan::{DeletePlan, Order, PageKind, SyncPlan, TemplateError, limits};
use crate::record::json::Json;
use crate::record::map::read_start;
use crate::record::{Batch, Mapper};
use crate::remote::{self, Client};
use crate::scan::{Checkpoint, Mark, PageFacts, Position, ScanState, Step};
use crate::store::{Absence, AbsenceEnd, Group, RunRecord, ScanEnd};

/// What a sync runs with.
pub(super) struct Task {
    pub(super) plan: Arc<SyncPlan>,
    /// the way to the API, or why there is none
    pub(super) client: Result<Client, Arc<remote::Error>>,
    pub(super) writer: Writer,
    pub(super) run_id: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) accept_deletes: bool,
    pub(super) full: bool,
    pub(super) log_requests: bool,
    pub(super) observer: Observer,
    /// true once the run should stop between two commits
    pub(super) stop: watch::Receiver<bool>,
    pub(super) group_age_max: Duration,
}

/// A page on its way to the store.
struct Page {
    batch: JoinHandle<Option<Result<Batch, Error>>>,
    /// the scan behind it; `high` and doubts of the mapping are added when it is committed
    after: ScanState,
    done: bool,
}

impl Task {
    /// Runs the sync; what it did is in the report even if it failed.
    pub(super) async fn run(self) -> SyncReport {
        let mut report = SyncReport::new(self.plan.id.clone());
        let started = self.begin(&mut report).await;
        let result = match started {
            Ok(checkpoint) => self.scan(checkpoint, &mut report).await,
            Err(error) => Err(error),
        };
        report.end(result);
        let (record, end) = (self.record(), report.run_end(now()));
        if let Err(error) = self.writer.call(move |store| store.end_run(&record, &end)).await {
            report.end(Err(error));
        }
        (self.observer)(Some(&self.plan.id), Event::Finished(Box::new(report.clone())));
        report
    }

    /// Reads the checkpoint and decides where to go on.
    async fn begin(&self, report: &mut SyncReport) -> Result<Checkpoint, Error> {
        let (plan, at) = (Arc::clone(&self.plan), now());
        let record = self.record();
        let known = self
            .writer
            .call(move |store| {
                store.begin_run(&record)?;
                store.prepare(&[Arc::clone(&plan.model)], &record.run_id, at)?;
                store.checkpoint(&plan.id)
            })
            .await?;
        let mut restarted = None;
        let mut checkpoint = match known {
            None => Checkpoint::new(self.plan.fingerprint),
            Some(known) if known.fingerprint != self.plan.fingerprint => {
                restarted = Some("the request, its paging or its settings have changed".to_owned());
                Checkpoint::new(self.plan.fingerprint)
            }
            Some(known) if self.full => {
                restarted = Some("`--full`".to_owned());
                Checkpoint { watermark: None, scan: None, ..known }
            }
            Some(known) => known,
        };
        if checkpoint.scan.as_ref().is_some_and(|scan| scan.guarded && !self.accept_deletes) {
            restarted =
                Some("the last scan would have deleted more than the guard allows, so it is made again".to_owned());
            checkpoint.scan = None;
        }
        let resumed = checkpoint.scan.is_some();
        checkpoint.scan = checkpoint.scan.map(ScanState::resumed);
        if checkpoint.scan.is_none() {
            checkpoint = self.fresh_scan(checkpoint).await?;
        }
        report.resumed = resumed;
        (self.observer)(Some(&self.plan.id), Event::Started { resumed, restarted });
        Ok(checkpoint)
    }

    /// The checkpoint with a scan at its first page; what scans before it had seen is forgotten.
    async fn fresh_scan(&self, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
        let at = now();
        let since = match checkpoint.watermark.clone() {
            Some(mark) => Some(mark),
            None => first_mark(&self.plan, at)?,
        };
        let id = xxh3_64(format!("{}{}{}", self.run_id, self.plan.id, at).as_bytes());
        if matches!(self.plan.deletes, DeletePlan::Absence { .. }) {
            let plan = Arc::clone(&self.plan);
            self.writer.call(move |store| store.discard_scans(&plan.id, &plan.model, None)).await?;
        }
        Ok(Checkpoint { scan: Some(ScanState::begin(id, at, since)), ..checkpoint })
    }

    /// Scans; a scan whose saved place the API refuses begins again at its first page, once.
    async fn scan(&self, checkpoint: Checkpoint, report: &mut SyncReport) -> Result<Outcome, Error> {
        let pages_before = report.pages;
        match self.scan_once(checkpoint.clone(), report).await {
            Err(Error::Status { status: 400 | 404 | 410 | 422, .. })
                if report.resumed && report.pages == pages_before =>
            {
                report.resumed = false;
                let restarted = Some("the API no longer knows the page to go on from".to_owned());
                (self.observer)(Some(&self.plan.id), Event::Started { resumed: false, restarted });
                let fresh = self.fresh_scan(checkpoint).await?;
                self.scan_once(fresh, report).await
            }
            outcome => outcome,
        }
    }

    async fn scan_once(&self, checkpoint: Checkpoint, report: &mut SyncReport) -> Result<Outcome, Error> {
        let Some(scan) = checkpoint.scan.clone() else { return Err(Error::Bug("a scan without a state".into())) };
        let mut checkpoint = checkpoint;
        let mut stopped = false;
        if scan.position != Position::End {
            let client = self.client.clone()?;
            let (pages, queue) = mpsc::channel(limits::PAGES_IN_FLIGHT);
            let fetcher =
                Fetcher::new(Arc::clone(&self.plan), client.clone(), Arc::clone(&self.observer), self.log_requests);
            let (read, written) = {
                let mut reading = pin!(self.fetch_pages(scan, client, pages, &fetcher));
                let mut writing = pin!(self.write_pages(checkpoint, queue, &fetcher, report));
                tokio::select! {
                    // nothing that is still asked for can be kept after an error, so it is not waited for
                    Err(error) = &mut writing => (Ok(false), Err(error)),
                    read = &mut reading => (read, writing.await),
                }
            };
            report.requests += fetcher.requests();
            self.keep_log(&fetcher).await?;
            // an error behind in the pipeline comes first: it stopped what is ahead
            checkpoint = written?;
            stopped = !read?;
        }
        if stopped {
            return Ok(Outcome::Paused);
        }
        self.finish(checkpoint, report).await
    }

    /// Asks for page after page; false = stopped on request before the end.
    async fn fetch_pages(
        &self,
        mut scan: ScanState,
        client: Client,
        pages: mpsc::Sender<Page>,
        fetcher: &Fetcher,
    ) -> Result<bool, Error> {
        let variables = Variables::new(&self.plan, scan.started_at, scan.since.as_ref());
        let shared = variables.value();
        let reader =
            Arc::new(Reader { plan: Arc::clone(&self.plan), mapper: Mapper::new(&self.plan), client, variables });
        let mut stop = self.stop.clone();
        loop {
            let page = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(false),
                page = self.fetch_page(&mut scan, &reader, &shared, fetcher) => page?,
            };
            let done = page.done;
            if pages.send(page).await.is_err() {
                // the writing side has failed and says why
                return Ok(false);
            }
            if done {
                return Ok(true);
            }
        }
    }

    async fn fetch_page(
        &self,
        scan: &mut ScanState,
        reader: &Arc<Reader>,
        variables: &Value,
        fetcher: &Fetcher,
    ) -> Result<Page, Error> {
        let request = render::request(&self.plan, variables, scan)?;
        let counted = matches!(self.plan.pagination.kind, PageKind::Offset { .. } | PageKind::Page { .. });
        let (facts, batch) = match fetcher.fetch(&request, counted && scan.pages > 0).await? {
            Fetched::NoSuchPage => {
                let reader = Arc::clone(reader);
                let batch = tokio::task::spawn_blocking(move || Some(reader.nothing()));
                (PageFacts { past_end: true, ..PageFacts::default() }, batch)
            }
            Fetched::Answer(response) => {
                let (tell, told) = oneshot::channel();
                let reader = Arc::clone(reader);
                let batch = tokio::task::spawn_blocking(move || reader.read(&request, &response, tell));
                match told.await {
                    Ok(facts) => (facts?, batch),
                    // nothing was told: reading panicked
                    Err(_) => {
                        return Err(batch.await.err().map_or_else(unexplained, |error| Error::Bug(error.to_string())));
                    }
                }
            }
        };
        let step = reader.advance(scan, &facts)?;
        (self.observer)(Some(&self.plan.id), Event::Page { records: facts.records, total: facts.total });
        Ok(Page { batch, after: scan.clone(), done: step == Step::Done })
    }

    /// Gathers pages into groups and commits them in order.
    async fn write_pages(
        &self,
        checkpoint: Checkpoint,
        mut queue: mpsc::Receiver<Page>,
        fetcher: &Fetcher,
        report: &mut SyncReport,
    ) -> Result<Checkpoint, Error> {
        let mut open = OpenGroup::new(self, fetcher, checkpoint);
        loop {
            let page = match open.deadline {
                Some(deadline) => tokio::select! {
                    page = queue.recv() => page,
                    () = tokio::time::sleep_until(deadline) => {
                        open.commit(report).await?;
                        continue;
                    }
                },
                None => queue.recv().await,
            };
            let Some(Page { batch, after, done }) = page else {
                open.commit(report).await?;
                return Ok(open.checkpoint);
            };
            let batch = match batch.await {
                Ok(Some(Ok(batch))) => batch,
                Ok(Some(Err(error))) => {
                    open.commit(report).await?;
                    return Err(error);
                }
                Ok(None) => return Err(unexplained()),
                Err(error) => return Err(Error::Bug(error.to_string())),
            };
            open.push(batch, after, done);
            if open.is_full() || done {
                open.commit(report).await?;
            }
        }
    }

    async fn keep_log(&self, fetcher: &Fetcher) -> Result<(), Error> {
        let (log, run_id) = (fetcher.take_log(), self.run_id.clone());
        if log.is_empty() {
            return Ok(());
        }
        self.writer.call(move |store| store.log_requests(&run_id, &log)).await
    }

    /// The checkpoint as it may be written down. A position that holds a secret (some APIs put the account's id or key into their next links)
    /// is not: another run begins the scan at its first page.
    fn kept(&self, checkpoint: &Checkpoint) -> Checkpoint {
        let mut kept = checkpoint.clone();
        let Some(scan) = &mut kept.scan else { return kept };
        let text = match &scan.position {
            Position::Url(url) => url.clone(),
            Position::Cursor(cursor) => cursor.to_string(),
            Position::Start | Position::Page(_) | Position::Offset(_) | Position::End => return kept,
        };
        if self.client.as_ref().is_ok_and(|client| client.redact(&text) != text) {
            *scan = ScanState { position: Position::Start, pages: 0, records: 0, total: None, ..scan.clone() };
        }
        kept
    }

    /// A group that moves the checkpoint and nothing else.
    fn checkpoint_only(&self, checkpoint: Checkpoint) -> Group {
        Group {
            id: self.plan.id.clone(),
            run_id: self.run_id.clone(),
            model: Arc::clone(&self.plan.model),
            batches: Vec::new(),
            checkpoint,
            track_seen: None,
            pages: 0,
            now: now(),
        }
    }

    fn record(&self) -> RunRecord {
        RunRecord { run_id: self.run_id.clone(), id: self.plan.id.clone(), started_at: self.started_at }
    }

    /// Deletes what a proven complete scan did not return, and closes the scan.
    async fn finish(&self, checkpoint: Checkpoint, report: &mut SyncReport) -> Result<Outcome, Error> {
        let DeletePlan::Absence { guard, .. } = &self.plan.deletes else { return Ok(Outcome::Complete) };
        let Some(scan) = checkpoint.scan.clone() else { return Ok(Outcome::Complete) };
        let after = checkpoint.after_scan();
        let plan = Arc::clone(&self.plan);
        if let Some(why) = scan.unproven.clone() {
            report.deletes_skipped = Some(why);
            let closed = self.checkpoint_only(after);
            self.writer
                .call(move |store| {
                    store.commit(closed)?;
                    store.discard_scans(&plan.id, &plan.model, None)
                })
                .await?;
            return Ok(Outcome::Complete);
        }
        let guarded = ScanState { guarded: true, ..scan.clone() };
        let guarded = self.checkpoint_only(Checkpoint { scan: Some(guarded), ..checkpoint });
        let (guard, accept, at, run_id) = (*guard, self.accept_deletes, now(), self.run_id.clone());
        let (returned, began_at) = (scan.records, scan.started_at);
        let absence = self
            .writer
            .call(move |store| {
                let scan = ScanEnd { scan_id: scan.id, records_seen: scan.records, guard, accept };
                let absence = store.finish_absence(&AbsenceEnd {
                    id: &plan.id,
                    run_id: &run_id,
                    model: &plan.model,
                    scan,
                    began_at,
                    checkpoint: &after,
                    now: at,
                })?;
                if let Absence::Guarded { .. } = absence {
                    store.commit(guarded)?;
                }
                Ok(absence)
            })
            .await?;
        match absence {
            Absence::Deleted { rows, changes } => {
                report.deleted += rows;
                report.changed(changes.map(|(from, _)| from), changes.map(|(_, to)| to));
                Ok(Outcome::Complete)
            }
            Absence::Guarded { would_delete, live, .. } => {
                Err(Error::Guarded { would_delete, live, returned, sync: self.plan.id.to_string() })
            }
        }
    }
}

/// The watermark of the first run: `incremental.start`.
pub(super) fn first_mark(plan: &SyncPlan, at: DateTime<Utc>) -> Result<Option<Mark>, Error> {
    let Some(incremental) = &plan.incremental else { return Ok(None) };
    let Some(start) = &incremental.start else { return Ok(None) };
    let place = "incremental.start";
    let variables = Variables::new(plan, at, None).value();
    let text = start.render(&variables).map_err(|error| Error::Template { place, error })?;
    let Some(text) = text else { return Ok(None) };
    let value = match text.parse::<i128>() {
        Ok(_) => Json::Number(text.as_str().into()),
        Err(_) => Json::String(text.as_str().into()),
    };
    read_start(incremental, &value)
        .map_err(|reason| Error::Template { place, error: TemplateError(format!("`{text}`: {reason}")) })
}

fn unexplained() -> Error {
    Error::Bug("a page was neither read nor refused".into())
}

/// The commit group that is being filled.
struct OpenGroup<'t> {
    task: &'t Task,
    fetcher: &'t Fetcher,
    checkpoint: Checkpoint,
    batches: Vec<Batch>,
    rows: usize,
    bytes: usize,
    pages: u64,
    high: Option<Mark>,
    deadline: Option<tokio::time::Instant>,
    committed: bool,
}

impl<'t> OpenGroup<'t> {
    fn new(task: &'t Task, fetcher: &'t Fetcher, checkpoint: Checkpoint) -> Self {
        let high = checkpoint.scan.as_ref().and_then(|scan| scan.high.clone());
        Self {
            task,
            fetcher,
            checkpoint,
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
            pages: 0,
            high,
            deadline: None,
            committed: true,
        }
    }

    fn push(&mut self, mut batch: Batch, after: ScanState, done: bool) {
        let plan = &self.task.plan;
        self.high = self.high.take().max(batch.high.take().map(|mark| mark.not_after(now())));
        let mut scan = ScanState { high: self.high.clone(), ..after };
        let doubted = self.checkpoint.scan.as_ref().and_then(|scan| scan.unproven.clone());
        scan.unproven = doubted.or(scan.unproven);
        if batch.keyless > 0 {
            scan.doubt("a record without a readable key could be any of the rows");
        }
        let ascending = plan.incremental.as_ref().is_some_and(|incremental| incremental.order == Order::Ascending);
        let behind = self.checkpoint.after_page(scan, ascending);
        let needs_finish = matches!(plan.deletes, DeletePlan::Absence { .. });
        self.checkpoint = if done && !needs_finish { behind.after_scan() } else { behind };
        self.rows += batch.rows.num_rows();
        self.bytes += batch.bytes;
        self.pages += 1;
        self.batches.push(batch);
        self.committed = false;
        let age_max = self.task.group_age_max;
        self.deadline.get_or_insert_with(|| deadline(age_max));
    }

    fn is_full(&self) -> bool {
        self.rows >= limits::GROUP_ROWS_MAX || self.bytes >= limits::GROUP_BYTES_MAX
    }

    async fn commit(&mut self, report: &mut SyncReport) -> Result<(), Error> {
        if self.committed {
            return Ok(());
        }
        let plan = &self.task.plan;
        let scan_id = self.checkpoint.scan.as_ref().map(|scan| scan.id);
        let batches = std::mem::take(&mut self.batches);
        let (filtered, nulled): (u64, u64) =
            batches.iter().fold((0, 0), |(filtered, nulled), batch| (filtered + batch.filtered, nulled + batch.nulled));
        let (rows, pages) = (self.rows as u64, self.pages);
        let group = Group {
            id: plan.id.clone(),
            run_id: self.task.run_id.clone(),
            model: Arc::clone(&plan.model),
            batches,
            checkpoint: self.task.kept(&self.checkpoint),
            track_seen: scan_id.filter(|_| matches!(plan.deletes, DeletePlan::Absence { .. })),
            pages,
            now: now(),
        };
        (self.rows, self.bytes, self.pages, self.deadline, self.committed) = (0, 0, 0, None, true);
        let committed = self.task.writer.call(move |store| store.commit(group)).await?;
        report.add(&committed, pages, filtered, nulled, rows);
        (self.task.observer)(Some(&plan.id), Event::Committed { rows });
        self.task.keep_log(self.fetcher).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the age of a commit group is measured by the engine")]
fn deadline(age_max: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + age_max
}
