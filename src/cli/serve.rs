use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use tokio::sync::{Semaphore, mpsc, watch};

use super::output::{Failure, count, json_line};
use super::{Done, log, progress, project, run, traces};
use crate::engine::{self, Clock, Event, Host, HostOptions, SyncReport};
use crate::plan::{Plan, Schedule, SyncId, SyncPlan, limits};
use crate::serve::{
    self, Door, Inbox, Keys, Listening, Metrics, Notifier, Plans, Progress, Scheduler, Watcher, Webhooks,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which syncs: a provider, a connection, either with `/sync` (and `@variant`). Without any: everything.
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// Run what is due now, and end: for a machine that has a scheduler of its own.
    #[arg(long)]
    once: bool,
    /// Answer over HTTP here.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "once")]
    listen: Option<SocketAddr>,
    /// How many syncs run at once.
    #[arg(long, value_name = "N", default_value_t = limits::SERVED_AT_ONCE, value_parser = at_once)]
    at_once: usize,
    /// Keep every request in `headwater.requests`: time, URL with secrets masked, status, duration.
    #[arg(long)]
    log_requests: bool,
    /// One JSON object per event.
    #[arg(long)]
    json: bool,
}

fn at_once(text: &str) -> Result<usize, String> {
    let most = limits::SERVED_AT_ONCE_MAX;
    text.parse()
        .ok()
        .filter(|at_once| (1..=most).contains(at_once))
        .ok_or_else(|| format!("it is a number from 1 to {most}"))
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let (plan, sources, files) = project::served(folder)?;
    let syncs = plan.select(&arguments.selectors)?;
    let clock = engine::system_clock();
    let watcher = watcher(arguments.json, Arc::clone(&clock));
    if !arguments.json && !arguments.once {
        anstream::eprintln!("{}", told(&syncs));
    }
    let traced = traces::settings()?;
    let progress = Progress::new(Arc::clone(&clock));
    let publish = plan.publish.as_ref().map(|publish| publish.every.unwrap_or(limits::PUBLISH_WAIT_MAX));
    let keys = keys(&plan, arguments.listen)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        tokio::task::spawn(run::stop_on_signal(stop));
        let (commands, commanded) = mpsc::channel(limits::COMMANDS_WAITING);
        let metrics = Metrics::default();
        let (watcher, traces) = traces::watching(traced.as_ref(), watcher, Arc::clone(&clock))?;
        let watcher = progress.watching(metrics.watching(watcher));
        let host = host(&plan, arguments, (clock, traced.is_some()), Arc::clone(&watcher));
        let door = Door::new(Host::new(host, None), Arc::clone(&watcher));
        let watching = Arc::clone(&watcher);
        let notifier = notifier(&plan, &door, &watcher)?;
        let webhooks = Webhooks::new(&syncs, Arc::clone(&door), Arc::clone(&watcher));
        let options =
            serve::Options { watcher, metrics: metrics.clone(), publish, once: arguments.once, stop: stopped.clone() };
        let scheduler = Scheduler::new(&syncs, Arc::clone(&door), options).run(commanded);
        let scheduler = telling(scheduler, notifier, arguments.once);
        let ended = match arguments.listen {
            None => scheduler.await.map_err(Failure::from),
            Some(address) => {
                let door = Arc::clone(&door);
                let plans = Plans::new(plan, sources, &arguments.selectors, commands.clone(), Arc::clone(&webhooks))?;
                let calls = Arc::new(Semaphore::new(limits::API_ACTIONS_AT_ONCE));
                let watcher = watching;
                let listening =
                    Listening { plans, files, door, commands, watcher, metrics, keys, webhooks, progress, calls };
                answering(address, listening, scheduler, stopped).await
            }
        };
        let closed = door.close().await;
        traces.flush().await;
        let reports = ended?;
        closed?;
        Ok(run::code_of(&reports))
    })
}

/// Runs syncs, and answers on `address` meanwhile.
async fn answering(
    address: SocketAddr,
    listening: Listening,
    scheduler: impl Future<Output = Result<Vec<SyncReport>, engine::Error>>,
    stopped: watch::Receiver<bool>,
) -> Result<Vec<SyncReport>, Failure> {
    let inbox = Inbox::new(Arc::clone(&listening.webhooks), listening.commands.clone(), stopped.clone());
    let inbox = tokio::spawn(inbox.run());
    let told = |address| anstream::eprintln!("answers at http://{address}");
    let mut answering = tokio::spawn(serve::listen(address, listening, told, stopped.clone()));
    let mut running = std::pin::pin!(scheduler);
    let ended = tokio::select! {
        ended = &mut running => ended.map_err(Failure::from),
        // it answers until it is stopped, unless it cannot
        answered = &mut answering => match answered {
            Ok(Err(error)) => Err(Failure::user(format!("{address} cannot be listened on: {error}"), None)),
            _ => running.await.map_err(Failure::from),
        }
    };
    // who still has the database ends too; a scheduler that has ended by itself stops nobody
    if *stopped.borrow() {
        drop(inbox.await);
    }
    ended
}

/// Who is told what happens.
fn notifier(plan: &Plan, door: &Arc<Door>, watcher: &Watcher) -> Result<Notifier, Failure> {
    let hint = || Some("set it before the daemon starts, or take `secret` away".to_owned());
    let notifier = Notifier::new(&plan.notify, Arc::clone(door), Arc::clone(watcher));
    notifier.map_err(|why| Failure::user(why, hint()))
}

/// Where the runs happen; what is no single run's is told like all else.
fn host(plan: &Plan, arguments: &Arguments, (clock, tell_requests): (Clock, bool), watcher: Watcher) -> HostOptions {
    let (log_requests, at_once) = (arguments.log_requests, arguments.at_once);
    let observer = Arc::new(move |sync: Option<&SyncId>, event| watcher(None, sync, event));
    HostOptions { log_requests, tell_requests, at_once, observer, ..HostOptions::of(plan, clock) }
}

/// Who may ask over HTTP. Where others than this machine could, somebody must have a key.
fn keys(plan: &Plan, listen: Option<SocketAddr>) -> Result<Keys, Failure> {
    let Some(address) = listen else { return Ok(Keys::default()) };
    let keys = Keys::of(&plan.api_keys).map_err(|error| {
        let hint = error.hint();
        Failure::user(error.to_string(), Some(hint))
    })?;
    if keys.is_empty() && !address.ip().is_loopback() {
        let message = format!("{address} can be reached from other machines, and the project has no keys");
        let hint =
            "give it `api: { keys: { app: { key: \"${APP_KEY}\", scopes: [records] } } }`, or listen on 127.0.0.1";
        return Err(Failure::user(message, Some(hint.to_owned())));
    }
    Ok(keys)
}

/// Runs syncs, and tells applications meanwhile what happened; with `once` afterwards.
async fn telling(
    scheduler: impl Future<Output = Result<Vec<SyncReport>, engine::Error>>,
    notifier: Notifier,
    once: bool,
) -> Result<Vec<SyncReport>, engine::Error> {
    let (over, is_over) = watch::channel(false);
    if once {
        let ended = scheduler.await;
        notifier.run(true, is_over).await;
        return ended;
    }
    let sending = tokio::spawn(notifier.run(false, is_over));
    let ended = scheduler.await;
    over.send_replace(true);
    sending.await.map_err(|error| engine::Error::Bug(error.to_string()))?;
    ended
}

/// `3 syncs, of which 2 run by themselves`
fn told(all: &[Arc<SyncPlan>]) -> String {
    let scheduled = all.iter().filter(|sync| sync.schedule != Schedule::Manual).count();
    let syncs = all.len();
    let syncs = if syncs == 1 { "1 sync".to_owned() } else { format!("{} syncs", count(syncs as u64)) };
    match scheduled {
        0 => format!("{syncs}, of which none runs by itself: give them a `schedule`"),
        1 => format!("{syncs}, of which 1 runs by itself"),
        many => format!("{syncs}, of which {} run by themselves", count(many as u64)),
    }
}

/// What prints events: a line each for people, with the time; or all that is known for machines.
fn watcher(json: bool, clock: Clock) -> Watcher {
    Arc::new(move |run_id, sync, event| {
        let at = clock();
        if json {
            // a reader that has gone does not end the syncs
            drop(log::record(at, run_id, sync, &event).map(|line| json_line(&line)));
        } else if let Some(line) = line(sync, &event) {
            anstream::eprintln!("{}  {line}", at.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Secs, true));
        }
    })
}

/// What is worth a line for as long as it serves.
fn line(sync: Option<&SyncId>, event: &Event) -> Option<String> {
    match (sync, event) {
        (_, Event::Started { resumed: false, restarted: None } | Event::Committed { .. }) => None,
        (Some(sync), Event::Finished(report)) => Some(format!("{sync}: {}", outcome(report))),
        _ => progress::line(sync, event),
    }
}

/// `completed: 120 records, 3 added, 1 updated`
fn outcome(report: &SyncReport) -> String {
    let SyncReport { state, records, added, updated, deleted, quarantined, .. } = report;
    let counts = [(*added, "added"), (*updated, "updated"), (*deleted, "deleted"), (*quarantined, "quarantined")];
    let counts = counts.into_iter().filter(|(number, _)| *number > 0);
    let mut text = match records {
        1 => format!("{state}: 1 record"),
        records => format!("{state}: {} records", count(*records)),
    };
    for (number, what) in counts {
        text += &format!(", {} {what}", count(number));
    }
    let why = report.error.as_ref().map(|error| error.message.as_str());
    let why = why.or(report.skipped_reason.as_deref()).or(report.paused_reason.as_deref());
    why.map_or(text.clone(), |why| format!("{text}: {why}"))
}
