//! A run: the chosen syncs, a few at once, one writer for all.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::fetch::now;
use super::sync::{Outcome, Task};
use super::writer::Writer;
use super::{Error, ErrorKind, Event, Observer};
use crate::plan::{ConnectionPlan, PublishPlan, SyncId, SyncPlan, limits};
use crate::remote::{Client, Credentials};
use crate::store::{Committed, RunEnd, RunState};

/// How to run.
pub struct Options {
    /// the DuckDB file
    pub database: PathBuf,
    /// the copy to make afterwards
    pub publish: Option<PublishPlan>,
    /// let scans delete more than their guards allow
    pub accept_deletes: bool,
    /// forget watermarks and half-done scans, and read everything again
    pub full: bool,
    /// keep method, URL (masked), status and duration of each request in `headwater.requests`
    pub log_requests: bool,
    /// who watches
    pub observer: Observer,
    /// becomes true when the run should stop between two commits
    pub stop: watch::Receiver<bool>,
    /// the oldest a fetched page may get before it is committed
    pub group_age_max: Duration,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// names the run in `headwater.runs`
    pub run_id: String,
    /// one for each sync, in the order of the plan
    pub syncs: Vec<SyncReport>,
    /// why the copy could not be made
    pub publish_error: Option<String>,
}

/// What one sync did.
#[derive(Debug, Clone, Serialize)]
pub struct SyncReport {
    /// who
    #[serde(serialize_with = "as_text")]
    pub sync: SyncId,
    /// `completed`, `paused` or `failed`
    pub state: &'static str,
    /// it went on where a run before it had stopped
    pub resumed: bool,
    /// requests made, repeated ones included
    pub requests: u64,
    /// pages committed
    pub pages: u64,
    /// records on them, valid or not
    pub records: u64,
    /// rows seen for the first time, or again after a deletion
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows that are gone
    pub deleted: u64,
    /// rows that came as they were
    pub unchanged: u64,
    /// rows replaced by a later one of the same key in one commit group
    pub duplicates: u64,
    /// records that are no rows: `headwater.quarantine`
    pub quarantined: u64,
    /// records that `where` turned away
    pub filtered: u64,
    /// values that `on_invalid: null` made null
    pub nulled: u64,
    /// the first change number it wrote
    pub change_from: Option<i64>,
    /// the last
    pub change_to: Option<i64>,
    /// why nothing was deleted although the scan came to its end
    pub deletes_skipped: Option<String>,
    /// why it failed
    pub error: Option<Failed>,
}

/// Why a sync failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// stable name
    pub code: &'static str,
    /// who can do something about it
    pub kind: ErrorKind,
    /// what happened and where
    pub message: String,
    /// what to do next
    pub hint: Option<String>,
}

fn as_text<S: serde::Serializer>(id: &SyncId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl SyncReport {
    pub(super) fn new(sync: SyncId) -> Self {
        Self {
            sync,
            state: "running",
            resumed: false,
            requests: 0,
            pages: 0,
            records: 0,
            added: 0,
            updated: 0,
            deleted: 0,
            unchanged: 0,
            duplicates: 0,
            quarantined: 0,
            filtered: 0,
            nulled: 0,
            change_from: None,
            change_to: None,
            deletes_skipped: None,
            error: None,
        }
    }

    pub(super) fn add(&mut self, committed: &Committed, pages: u64, filtered: u64, nulled: u64, rows: u64) {
        let Committed { added, updated, deleted, unchanged, duplicates, quarantined, change_from, change_to } = committed;
        self.pages += pages;
        self.records += rows + quarantined + filtered;
        self.added += added;
        self.updated += updated;
        self.deleted += deleted;
        self.unchanged += unchanged;
        self.duplicates += duplicates;
        self.quarantined += quarantined;
        self.filtered += filtered;
        self.nulled += nulled;
        self.changed(*change_from, *change_to);
    }

    pub(super) fn changed(&mut self, from: Option<i64>, to: Option<i64>) {
        self.change_from = self.change_from.or(from);
        self.change_to = to.or(self.change_to);
    }

    pub(super) fn end(&mut self, result: Result<Outcome, Error>) {
        self.state = match result {
            Ok(Outcome::Complete) => "completed",
            Ok(Outcome::Paused) => "paused",
            Err(error) => {
                self.error = Some(Failed {
                    code: error.code(),
                    kind: error.kind(),
                    message: error.to_string(),
                    hint: error.hint(),
                });
                "failed"
            }
        };
    }

    pub(super) fn run_end(&self) -> RunEnd {
        let state = match self.state {
            "completed" => RunState::Completed,
            "paused" => RunState::Paused,
            _ => RunState::Failed,
        };
        let error = self.error.as_ref().map(|error| (error.code.to_owned(), error.message.clone()));
        RunEnd { state, ended_at: now(), requests: self.requests, error }
    }
}

/// Runs `syncs`. Each ends for itself: the report says how.
///
/// # Errors
/// Only what concerns all of them: the database cannot be opened.
pub async fn run(syncs: &[Arc<SyncPlan>], options: Options) -> Result<Report, Error> {
    let Options { database, publish, accept_deletes, full, log_requests, observer, stop, group_age_max } = options;
    let started = now();
    let run_id = run_id(started);
    let watcher = Arc::clone(&observer);
    let waiting = Box::new(move |holder: &str| watcher(None, Event::Locked { holder: holder.to_owned() }));
    let (writer, thread) = Writer::start(database, waiting).await?;
    let mut clients: HashMap<String, Result<Client, Arc<crate::remote::Error>>> = HashMap::new();
    let permits = Arc::new(Semaphore::new(limits::SYNCS_AT_ONCE));
    let mut running = JoinSet::new();
    let mut reports: Vec<Option<SyncReport>> = vec![None; syncs.len()];
    for (position, plan) in syncs.iter().enumerate() {
        let client = clients.entry(plan.id.connection.clone()).or_insert_with(|| connect(&plan.connection).map_err(Arc::new));
        let client = match client {
            Ok(client) => client.clone(),
            Err(_) => {
                let mut report = SyncReport::new(plan.id.clone());
                // made again for its own words: errors are not cloned
                report.end(connect(&plan.connection).map(|_| Outcome::Complete).map_err(Error::from));
                observer(Some(&plan.id), Event::Finished(Box::new(report.clone())));
                reports[position] = Some(report);
                continue;
            }
        };
        let task = Task {
            plan: Arc::clone(plan),
            client,
            writer: writer.clone(),
            run_id: run_id.clone(),
            started_at: started,
            accept_deletes,
            full,
            log_requests,
            observer: Arc::clone(&observer),
            stop: stop.clone(),
            group_age_max,
        };
        let permits = Arc::clone(&permits);
        running.spawn(async move {
            let permit = permits.acquire_owned().await;
            let report = task.run().await;
            drop(permit);
            (position, report)
        });
    }
    let every = publish.as_ref().and_then(|publish| publish.every).unwrap_or(Duration::MAX);
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                None => break,
                Some(ended) => {
                    let (position, report) = ended.map_err(|error| Error::Bug(error.to_string()))?;
                    reports[position] = Some(report);
                }
            },
            // a copy that fails here is made again at the end, which says why if it fails too
            () = tokio::time::sleep(every) => drop(publish_now(&writer, publish.as_ref()).await),
        }
    }
    let publish_error = publish_now(&writer, publish.as_ref()).await.err().map(|error| error.to_string());
    drop(writer);
    if thread.join().is_err() {
        return Err(Error::Bug("the store's thread panicked".into()));
    }
    Ok(Report { run_id, syncs: reports.into_iter().flatten().collect(), publish_error })
}

fn connect(connection: &Arc<ConnectionPlan>) -> Result<Client, crate::remote::Error> {
    Client::new(Arc::clone(connection), Credentials::resolve(connection)?)
}

async fn publish_now(writer: &Writer, publish: Option<&PublishPlan>) -> Result<(), Error> {
    let Some(publish) = publish.cloned() else { return Ok(()) };
    writer.call(move |store| store.publish(&publish.path)).await
}

/// Sorts by time and is unique on one machine.
fn run_id(started: chrono::DateTime<chrono::Utc>) -> String {
    format!("{}-{}", started.format("%Y%m%dT%H%M%S%.3fZ"), std::process::id())
}
