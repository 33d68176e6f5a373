//! A run: the chosen syncs, a few at once, one writer for all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::host::{Host, HostOptions, Offline, RunOptions, run_id, waiting};
use super::report::{Report, SyncReport};
use super::{Error, Observer};
use crate::plan::{Budget, LevelSource, SyncId, SyncPlan};
use crate::scan::Wish;

/// How to run.
pub struct Options {
    /// where
    pub host: HostOptions,
    /// read everything again, delete past the guards
    pub wish: Wish,
    /// let tables lose what their models have no place for: dropped columns, values of another type, rows of another key
    pub allow_destructive: bool,
    /// where each sync stops, whatever its own words allow
    pub budget: Budget,
    /// who watches
    pub observer: Observer,
    /// becomes true when the run should stop between two commits
    pub stop: watch::Receiver<bool>,
}

/// Runs `syncs`. Each ends for itself: the report says how.
///
/// # Errors
/// Only what concerns all of them: the database cannot be opened.
pub async fn run(syncs: &[Arc<SyncPlan>], options: Options) -> Result<Report, Error> {
    start(syncs, options, None, None).await
}

/// The same under a name that [`run_id`] gave: whoever watches may want to know it before anything happens.
///
/// # Errors
/// As [`run`].
pub async fn run_as(run_id: String, syncs: &[Arc<SyncPlan>], options: Options) -> Result<Report, Error> {
    start(syncs, options, None, Some(run_id)).await
}

/// Runs `syncs` of one connection as [`run`] does, and sends nothing.
///
/// # Errors
/// As [`run`].
pub async fn rehearse(syncs: &[Arc<SyncPlan>], options: Options, offline: Offline) -> Result<Report, Error> {
    start(syncs, options, Some(offline), None).await
}

async fn start(
    syncs: &[Arc<SyncPlan>],
    options: Options,
    offline: Option<Offline>,
    name: Option<String>,
) -> Result<Report, Error> {
    let Options { host, wish, allow_destructive, budget, observer, stop } = options;
    let every = host.publish.as_ref().and_then(|publish| publish.every).unwrap_or(Duration::MAX);
    let host = Host::new(host, offline);
    let started_at = host.now();
    let run_id = name.unwrap_or_else(|| run_id(started_at));
    let session = host.open(waiting(&observer)).await?;
    let mut running = JoinSet::new();
    let mut reports: Vec<Option<SyncReport>> = vec![None; syncs.len()];
    for ((position, plan), queued) in syncs.iter().enumerate().zip(queue(syncs)) {
        let wanted = RunOptions {
            run_id: run_id.clone(),
            started_at,
            wish,
            allow_destructive,
            budget,
            observer: Arc::clone(&observer),
            stop: stop.clone(),
        };
        let run = session.run(plan, wanted);
        running.spawn(async move {
            let _held = queued.come().await;
            (position, run.await)
        });
    }
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
            () = tokio::time::sleep(every) => drop(session.publish().await),
        }
    }
    let publish_error = session.close().await?;
    Ok(Report { run_id, syncs: reports.into_iter().flatten().collect(), publish_error })
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
    let waits = |parents: Vec<usize>| parents.into_iter().map(|at| ends[at].subscribe()).collect();
    let all: Vec<Vec<_>> = parents(syncs).into_iter().map(waits).collect();
    all.into_iter().zip(ends).map(|(parents, end)| Queued { parents, end }).collect()
}

/// For each of `syncs` the places of those over whose rows it fans out.
pub fn parents(syncs: &[Arc<SyncPlan>]) -> Vec<Vec<usize>> {
    let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (at, SyncId { connection, sync, .. }) in syncs.iter().map(|sync| &sync.id).enumerate() {
        places.entry((connection, sync)).or_default().push(at);
    }
    let of = |plan: &Arc<SyncPlan>| {
        let levels = plan.partitions.iter().flat_map(|partitions| &partitions.levels);
        let named = levels.filter_map(|level| match &level.from {
            LevelSource::Rows { sync, .. } => places.get(&(plan.id.connection.as_str(), sync.as_str())),
            _ => None,
        });
        named.flatten().copied().collect()
    };
    syncs.iter().map(of).collect()
}
