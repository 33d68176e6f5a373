//! A run: the chosen syncs, a few at once, one writer for all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::meter::Meter;
use super::report::{Report, SyncReport};
use super::sync::Task;
use super::writer::Writer;
use super::{Clock, Error, Event, Observer};
use crate::plan::{Budget, LevelPlan, LevelSource, PublishPlan, SyncId, SyncPlan, limits};
use crate::remote::{Access, Client, CredentialStore, Script, Sockets};
use crate::scan::Wish;
use crate::store;

/// How to run.
pub struct Options {
    /// the DuckDB file
    pub database: PathBuf,
    /// keeps the credentials of connections
    pub credential_store: CredentialStore,
    /// the copy to make afterwards
    pub publish: Option<PublishPlan>,
    /// read everything again, delete past the guards
    pub wish: Wish,
    /// let tables lose what their models have no place for: dropped columns, values of another type, rows of another key
    pub allow_destructive: bool,
    /// where each sync stops, whatever its own words allow
    pub budget: Budget,
    /// keep method, URL (masked), status and duration of each request in `headwater.requests`
    pub log_requests: bool,
    /// what tells the time
    pub clock: Clock,
    /// who watches
    pub observer: Observer,
    /// becomes true when the run should stop between two commits
    pub stop: watch::Receiver<bool>,
    /// the oldest a fetched page may get before it is committed
    pub group_age_max: Duration,
}

/// What a run has in place of the network and of the credential store.
pub struct Offline {
    /// answers its requests; [`Options::clock`] is its clock
    pub script: Arc<Script>,
    /// what its one connection gets in with
    pub access: Access,
}

/// Runs `syncs`. Each ends for itself: the report says how.
///
/// # Errors
/// Only what concerns all of them: the database cannot be opened.
pub async fn run(syncs: &[Arc<SyncPlan>], options: Options) -> Result<Report, Error> {
    start(syncs, options, None).await
}

/// Runs `syncs` of one connection as [`run`] does, and sends nothing.
///
/// # Errors
/// As [`run`].
pub async fn rehearse(syncs: &[Arc<SyncPlan>], options: Options, offline: Offline) -> Result<Report, Error> {
    start(syncs, options, Some(offline)).await
}

async fn start(syncs: &[Arc<SyncPlan>], options: Options, offline: Option<Offline>) -> Result<Report, Error> {
    let Options {
        database,
        credential_store,
        publish,
        wish,
        allow_destructive,
        budget,
        log_requests,
        clock,
        observer,
        stop,
        group_age_max,
    } = options;
    let started = clock();
    let run_id = run_id(started);
    let watcher = Arc::clone(&observer);
    let waiting = Box::new(move |holder: &str| watcher(None, Event::Locked { holder: holder.to_owned() }));
    let folder: Arc<Path> = store::folder_of(&database).into();
    let (writer, thread) = Writer::start(database, waiting).await?;
    let mut clients = Clients::new(offline);
    let permits = Arc::new(Semaphore::new(limits::SYNCS_AT_ONCE));
    let mut running = JoinSet::new();
    let mut reports: Vec<Option<SyncReport>> = vec![None; syncs.len()];
    for ((position, plan), queued) in syncs.iter().enumerate().zip(queue(syncs)) {
        let task = Task {
            plan: Arc::clone(plan),
            client: clients.client(plan, &credential_store, &clock),
            writer: writer.clone(),
            run_id: run_id.clone(),
            started_at: started,
            wish,
            allow_destructive,
            meter: Meter::new(plan.budget, budget),
            log_requests,
            observer: Arc::clone(&observer),
            clock: Arc::clone(&clock),
            stop: stop.clone(),
            group_age_max,
            folder: Arc::clone(&folder),
        };
        let permits = Arc::clone(&permits);
        running.spawn(async move {
            let _held = (queued.come().await, permits.acquire_owned().await);
            (position, task.run().await)
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
    settled(clients.made.values().flatten()).await;
    let publish_error = publish_now(&writer, publish.as_ref()).await.err().map(|error| error.to_string());
    drop(writer);
    if thread.join().is_err() {
        return Err(Error::Bug("the store's thread panicked".into()));
    }
    Ok(Report { run_id, syncs: reports.into_iter().flatten().collect(), publish_error })
}

/// The clients of a run: one for each connection, or why there is none.
pub(super) struct Clients {
    pub(super) made: HashMap<String, Result<Client, Arc<crate::remote::Error>>>,
    sockets: Sockets,
    /// what the one connection gets in with where nothing is sent
    access: Option<Access>,
}

impl Clients {
    pub(super) fn new(offline: Option<Offline>) -> Self {
        let (sockets, access) = match offline {
            Some(Offline { script, access }) => (Sockets::scripted(script), Some(access)),
            None => (Sockets::default(), None),
        };
        Self { made: HashMap::new(), sockets, access }
    }

    pub(super) fn client(
        &mut self,
        plan: &SyncPlan,
        store: &CredentialStore,
        clock: &Clock,
    ) -> Result<Client, Arc<crate::remote::Error>> {
        let Self { made, sockets, access } = self;
        let mut make = || {
            let access = access.clone().map_or_else(|| Access::of(&plan.connection, store, Arc::clone(clock)), Ok)?;
            Client::sharing(Arc::clone(&plan.connection), access, sockets)
        };
        made.entry(plan.id.connection.clone()).or_insert_with(|| make().map_err(Arc::new)).clone()
    }
}

/// Waits for the tokens that are being made: nobody may be left with half of one.
pub(super) async fn settled(clients: impl Iterator<Item = &Client>) {
    for client in clients {
        client.settled().await;
    }
}

/// When a sync of a run begins.
struct Queued {
    /// the syncs over whose rows it goes: they come first
    parents: Vec<watch::Receiver<()>>,
    /// dropped when the sync is done
    end: watch::Sender<()>,
}

impl Queued {
    /// Waits until the parents are done; gives what tells those that wait for this one.
    async fn come(self) -> watch::Sender<()> {
        for mut parent in self.parents {
            // nothing is ever sent: it ends with its sender
            drop(parent.changed().await);
        }
        self.end
    }
}

/// The syncs of a run in their order, each with those that it waits for.
fn queue(syncs: &[Arc<SyncPlan>]) -> Vec<Queued> {
    let ends: Vec<watch::Sender<()>> = syncs.iter().map(|_| watch::Sender::new(())).collect();
    let parents = |plan: &SyncPlan| {
        let parents = syncs.iter().zip(&ends).filter(|(other, _)| goes_over(plan, &other.id));
        parents.map(|(_, end)| end.subscribe()).collect::<Vec<_>>()
    };
    let all: Vec<_> = syncs.iter().map(|plan| parents(plan)).collect();
    all.into_iter().zip(ends).map(|(parents, end)| Queued { parents, end }).collect()
}

/// Whether a sync fans out over the rows of another one.
fn goes_over(plan: &SyncPlan, other: &SyncId) -> bool {
    let levels = plan.partitions.iter().flat_map(|partitions| &partitions.levels);
    let is = |level: &LevelPlan| matches!(&level.from, LevelSource::Rows { sync, .. } if *sync == other.sync);
    plan.id.connection == other.connection && levels.into_iter().any(is)
}

pub(super) async fn publish_now(writer: &Writer, publish: Option<&PublishPlan>) -> Result<(), Error> {
    let Some(publish) = publish.cloned() else { return Ok(()) };
    writer.call(move |store| store.publish(&publish.path)).await
}

/// Sorts by time and is unique on one machine.
pub(super) fn run_id(started: chrono::DateTime<chrono::Utc>) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let id = format!("{}-{}", started.format("%Y%m%dT%H%M%S%.3fZ"), std::process::id());
    match RUNS.fetch_add(1, Ordering::Relaxed) {
        0 => id,
        earlier => format!("{id}.{earlier}"),
    }
}
