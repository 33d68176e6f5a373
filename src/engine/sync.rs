//! One sync from its checkpoint to its end: fetch → read and map → commit, each ahead of the next by a few pages.
//!
//! A run reads the list of deletions first, if there is one, then the records, whole or window by window, then the list of all ids if it is
//! due. Deletions come first because a record that has come back must win over the news that it had gone.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use minijinja::Value;
use tokio::sync::{mpsc, watch};
use xxhash_rust::xxh3::xxh3_64;

use super::commit::Commits;
use super::fetch::{Fetcher, Noted};
use super::lane::{Ended, Lanes};
use super::meter::Meter;
use super::render::Variables;
use super::report::{Outcome, SyncReport};
use super::writer::Writer;
use super::{Clock, Error, Event, Observer, RuleEnd};
use crate::plan::{SyncPlan, TemplateError, limits};
use crate::record::json::Json;
use crate::record::map::read_start;
use crate::remote::{self, Client};
use crate::scan::{Begin, Checkpoint, Lane, Mark, Part, Wish, all_at_once, begin};
use crate::store::{RunRecord, Seen};

/// Why a sync starts over that a rule of `errors` resets.
pub(super) const RESET: &str = "a rule of `errors` says `reset`";

/// What a sync runs with.
pub(super) struct Task {
    pub(super) plan: Arc<SyncPlan>,
    /// the way to the API, or why there is none
    pub(super) client: Result<Client, Arc<remote::Error>>,
    pub(super) writer: Writer,
    pub(super) run_id: String,
    pub(super) started_at: DateTime<Utc>,
    pub(super) wish: Wish,
    pub(super) allow_destructive: bool,
    pub(super) noted: Noted,
    pub(super) observer: Observer,
    pub(super) clock: Clock,
    pub(super) meter: Meter,
    /// true once the run should stop between two commits
    pub(super) stop: watch::Receiver<bool>,
    pub(super) group_age_max: Duration,
    pub(super) compare_every: usize,
    /// the folder of the DuckDB file
    pub(super) folder: Arc<Path>,
}

impl Task {
    /// Runs the sync; what it did is in the report even if it failed.
    pub(super) async fn run(mut self) -> SyncReport {
        self.meter.begin();
        let task = Arc::new(self);
        let mut report = SyncReport::new(task.plan.id.clone());
        let result = task.read(&mut report).await;
        report.end(result);
        let (record, end) = (task.record(), report.run_end((task.clock)()));
        if let Err(error) = task.writer.call(move |store| store.end_run(&record, &end)).await {
            report.end(Err(error));
        }
        (task.observer)(Some(&task.plan.id), Event::Finished(Box::new(report.clone())));
        report
    }

    /// Reads what is to be read, from the beginning if a rule of `errors` says so.
    async fn read(self: &Arc<Self>, report: &mut SyncReport) -> Result<Outcome, Error> {
        let (plan, at) = (Arc::clone(&self.plan), (self.clock)());
        let (record, destructive) = (self.record(), self.allow_destructive);
        let prepared = self.writer.call(move |store| {
            store.begin_run(&record)?;
            let changes = store.prepare(&plan.tables(), destructive, &record.run_id, at)?;
            store.note_tables(&record.id, &plan.tables())?;
            Ok(changes)
        });
        report.schema_changes = prepared.await?;
        let begin = self.begin(report, false).await?;
        match self.read_all(begin, report).await {
            Err(error) if error.is_rule(RuleEnd::Reset) => {
                let begin = self.begin(report, true).await?;
                self.read_all(begin, report).await
            }
            ended => ended,
        }
    }

    /// Reads the checkpoint and decides where to go on; with `reset` what is remembered is forgotten.
    async fn begin(&self, report: &mut SyncReport, reset: bool) -> Result<Begin, Error> {
        let (id, at) = (self.plan.id.clone(), (self.clock)());
        let known = self.writer.call(move |store| store.checkpoint(&id)).await?;
        // scans have other names than those before
        let (wish, nth) = if reset { (Wish { full: true, ..self.wish }, u64::MAX) } else { (self.wish, 0) };
        let part = if self.plan.partitions.is_some() { Part::Shared } else { Part::Whole };
        let start = if part == Part::Whole { first_mark(&self.plan, None, at)? } else { None };
        let mut begin = begin(&self.plan, known, part, wish, start.as_ref(), self.new_id("", nth), at);
        if reset {
            begin.restarted = Some(RESET.to_owned());
        }
        if self.meter.is_bounded() {
            begin.spare();
        }
        let anew = begin.restarted.is_some();
        // a sync whose scans note no keys has none to forget; the partitions of a fan-out go on with theirs
        if anew || begin.seen.is_some() && (part == Part::Whole || all_at_once(&self.plan)) {
            self.forget_seen(Seen::AllBut(begin.seen), ("".into(), begin.checkpoint.clone()), anew).await?;
        }
        if anew && part == Part::Whole {
            // it may have been a fan-out before
            let id = self.plan.id.clone();
            let forget = self.writer.call(move |store| {
                let known = store.known_partitions(&id)?;
                store.forget_partitions(&id, &known)
            });
            forget.await?;
        }
        report.resumed = begin.resumed;
        let event = Event::Started { resumed: begin.resumed, restarted: begin.restarted.clone() };
        (self.observer)(Some(&self.plan.id), event);
        Ok(begin)
    }

    /// Forgets seen keys with which nobody goes on; `instead` is what a part of the sync remembers that tells of none of them.
    pub(super) async fn forget_seen(
        &self,
        seen: Seen,
        instead: (Arc<str>, Checkpoint),
        anew: bool,
    ) -> Result<(), Error> {
        let (plan, now) = (Arc::clone(&self.plan), (self.clock)());
        self.writer
            .call(move |store| {
                let models: Vec<_> = plan.models().cloned().collect();
                store.discard_scans(&plan.id, &models, seen, (&instead, anew), now)
            })
            .await
    }

    /// A number that names a scan: the same for the same run, sync, partition and `nth`, and no other.
    pub(super) fn new_id(&self, partition: &str, nth: u64) -> u64 {
        xxh3_64(format!("{}{}{nth}/{partition}", self.run_id, self.plan.id).as_bytes())
    }

    /// Reads every list that this run has to read, and commits what comes.
    async fn read_all(self: &Arc<Self>, begin: Begin, report: &mut SyncReport) -> Result<Outcome, Error> {
        let fetcher = Arc::new(Fetcher::new(
            Arc::clone(&self.plan),
            Arc::clone(&self.observer),
            Arc::clone(&self.clock),
            self.noted,
        ));
        let (messages, queue) = mpsc::channel(limits::PAGES_IN_FLIGHT);
        let lanes = Lanes::new(Arc::clone(self), Arc::clone(&fetcher), messages);
        let (read, written) = {
            let mut commits = Commits::new(self, &fetcher, begin.checkpoint.clone());
            let is_shared = self.plan.partitions.is_some();
            let mut reading = pin!(async {
                if is_shared { self.read_shared(begin, lanes).await } else { self.read_lists(begin, lanes).await }
            });
            let mut writing = pin!(commits.write(queue, report));
            tokio::select! {
                // nothing that is still asked for can be kept after an error, so it is not waited for
                Err(error) = &mut writing => (Ok(Ended::Stopped), Err(error)),
                read = &mut reading => (read, writing.await),
            }
        };
        report.requests += fetcher.requests();
        self.keep_log(&fetcher).await?;
        // an error behind in the pipeline comes first: it stopped what is ahead
        written?;
        match read? {
            Ended::Complete => Ok(Outcome::Complete),
            Ended::Stopped | Ended::Split => {
                report.paused_by = self.meter.spent(fetcher.requests());
                Ok(Outcome::Paused)
            }
        }
    }

    /// Reads the lists of all partitions, and around them those that they share.
    async fn read_shared(&self, begin: Begin, mut lanes: Lanes) -> Result<Ended, Error> {
        let mut ended = self.read_feed(&begin, &mut lanes).await?;
        if let (Ended::Complete, Some(pass)) = (ended, &begin.checkpoint.pass) {
            ended = lanes.read_partitions(pass).await?;
        }
        if ended == Ended::Stopped { Ok(ended) } else { self.read_sweep(&begin, &mut lanes).await }
    }

    /// Reads the lists of a sync of one part, or of one partition.
    pub(super) async fn read_lists(&self, begin: Begin, mut lanes: Lanes) -> Result<Ended, Error> {
        lanes.epoch = begin.checkpoint.epoch;
        lanes.cancel_left(begin.left.clone()).await?;
        let mut ended = self.read_feed(&begin, &mut lanes).await?;
        let Checkpoint { main, windows, .. } = &begin.checkpoint;
        if ended == Ended::Complete {
            ended = match &main.scan {
                Some(scan) => lanes.read(Lane::Main, scan.clone(), None).await?,
                None if !begin.reads => Ended::Complete,
                None => lanes.read_windows(windows.clone()).await?,
            };
        }
        if ended == Ended::Stopped { Ok(ended) } else { self.read_sweep(&begin, &mut lanes).await }
    }

    async fn read_feed(&self, begin: &Begin, lanes: &mut Lanes) -> Result<Ended, Error> {
        match &begin.checkpoint.feed.track.scan {
            Some(scan) => lanes.read(Lane::Feed, scan.clone(), None).await,
            None => Ok(Ended::Complete),
        }
    }

    async fn read_sweep(&self, begin: &Begin, lanes: &mut Lanes) -> Result<Ended, Error> {
        match &begin.checkpoint.sweep.scan {
            Some(scan) if begin.sweeps => lanes.read(Lane::Sweep, scan.clone(), None).await,
            _ => Ok(Ended::Complete),
        }
    }

    pub(super) async fn keep_log(&self, fetcher: &Fetcher) -> Result<(), Error> {
        let (log, record, now) = (fetcher.take_log(), self.record(), (self.clock)());
        if log.is_empty() {
            return Ok(());
        }
        self.writer.call(move |store| store.log_requests((&record.run_id, &record.id), &log, now)).await
    }

    fn record(&self) -> RunRecord {
        RunRecord { run_id: self.run_id.clone(), id: self.plan.id.clone(), started_at: self.started_at }
    }
}

/// The watermark of the first run, of the whole sync or of an item of its fan-out: `incremental.start`.
pub(super) fn first_mark(plan: &SyncPlan, parent: Option<&Value>, at: DateTime<Utc>) -> Result<Option<Mark>, Error> {
    let Some(incremental) = &plan.incremental else { return Ok(None) };
    let Some(start) = &incremental.start else { return Ok(None) };
    let place = "incremental.start";
    let variables = Variables::new(plan, at).with_parent(parent).value();
    let text = start.render(&variables).map_err(|error| Error::Template { place, error })?;
    let Some(text) = text else { return Ok(None) };
    let value = match text.parse::<i128>() {
        Ok(_) => Json::Number(text.as_str().into()),
        Err(_) => Json::String(text.as_str().into()),
    };
    read_start(incremental, &value)
        .map_err(|reason| Error::Template { place, error: TemplateError(format!("`{text}`: {reason}")) })
}
