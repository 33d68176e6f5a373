use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anstyle::AnsiColor;
use tokio::sync::watch;

use super::output::{self, DIM, bold, count, exit_code, json_line, print_error};
use super::progress::{self, Style};
use super::{Done, project, traces};
use crate::engine::{self, ErrorKind, HostOptions, Options, Report, SyncReport};
use crate::plan::{Budget, Plan, SyncPlan, limits};
use crate::scan::Wish;
use crate::store::SchemaChange;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to sync: a provider, a connection, either with `/sync` (and `@variant`). Without any: everything.
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// Read everything again, whatever was read before. Rows that did not change stay untouched.
    #[arg(long)]
    full: bool,
    /// Let this run delete more rows than the guards allow.
    #[arg(long)]
    accept_deletes: bool,
    /// Stop after this long, between two pages; the next run goes on there.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_runtime: Option<Duration>,
    /// Stop each sync after so many requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_requests: Option<u64>,
    /// Stop each sync after so many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_records: Option<u64>,
    /// Let tables lose what their models have no place for: dropped columns, values of another type, rows of another key. `headwater plan`
    /// shows them.
    #[arg(long)]
    allow_destructive: bool,
    /// Keep every request in `headwater.requests`: time, URL with secrets masked, status, duration.
    #[arg(long)]
    log_requests: bool,
    /// One JSON object per event, and the report as the last line.
    #[arg(long)]
    json: bool,
    /// Commit at least this often.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2s")]
    commit_every: Duration,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let syncs = plan.select(&arguments.selectors)?;
    let style = if arguments.json { Style::Json } else { Style::of_terminal() };
    let report = run_plan(&plan, &syncs, arguments, style)?;
    if arguments.json {
        json_line(&serde_json::json!({ "event": "report", "report": report }))?;
    } else {
        print_report(&report);
    }
    Ok(code(&report))
}

/// Threads that requests are sent on and small answers are read on. One list waits for one answer at a time: with more threads than syncs each
/// answer would wake one that finds nothing to do. What is large is read on others.
fn workers(syncs: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    syncs.min(limits::SYNCS_AT_ONCE).clamp(1, cores)
}

/// Runs syncs of a plan until they end or a signal stops them between two commits.
fn run_plan(
    plan: &Plan,
    syncs: &[Arc<SyncPlan>],
    arguments: &Arguments,
    style: Style,
) -> Result<Report, output::Failure> {
    let (clock, traced) = (engine::system_clock(), traces::settings()?);
    let run_id = engine::run_id(clock());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers(syncs.len())).enable_all().build()?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        tokio::task::spawn(stop_on_signal(stop));
        let (observer, bars) = progress::observer(style, syncs);
        let (observer, traces) = traces::observing(traced.as_ref(), observer, Arc::clone(&clock), run_id.clone())?;
        let options = Options {
            host: HostOptions {
                log_requests: arguments.log_requests,
                group_age_max: arguments.commit_every.max(Duration::from_millis(1)),
                tell_requests: traced.is_some(),
                observer: Arc::clone(&observer),
                ..HostOptions::of(plan, clock)
            },
            wish: Wish { full: arguments.full, accept_deletes: arguments.accept_deletes },
            allow_destructive: arguments.allow_destructive,
            budget: Budget {
                runtime: arguments.max_runtime,
                requests: arguments.max_requests,
                records: arguments.max_records,
            },
            observer,
            stop: stopped,
        };
        let report = engine::run_as(run_id, syncs, options).await;
        bars.end();
        traces.flush().await;
        Ok(report?)
    })
}

/// The first signal stops between two commits; a second ends the program at once, which loses nothing that is committed.
pub(super) async fn stop_on_signal(stop: watch::Sender<bool>) {
    if interrupted().await {
        anstream::eprintln!("stopping after the next commit; once more ends at once");
        stop.send_replace(true);
        if interrupted().await {
            #[expect(clippy::disallowed_methods, reason = "the person asked twice")]
            std::process::exit(i32::from(output::STOPPED));
        }
    }
}

#[cfg(unix)]
async fn interrupted() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return false };
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt.is_ok(),
        terminated = terminate.recv() => terminated.is_some(),
    }
}

#[cfg(not(unix))]
async fn interrupted() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}

/// The exit code of a run: the worst of all syncs decides.
pub(super) fn code(report: &Report) -> u8 {
    match code_of(&report.syncs) {
        0 | output::STOPPED if report.publish_error.is_some() => exit_code(ErrorKind::Store),
        code => code,
    }
}

/// The same of the syncs alone.
pub(super) fn code_of(syncs: &[SyncReport]) -> u8 {
    let kind =
        |sync: &SyncReport| sync.error.as_ref().map(|error| error.kind).or(sync.skipped_kind.map(|(_, kind)| kind));
    let kinds: Vec<ErrorKind> = syncs.iter().filter_map(kind).collect();
    if let Some(kind) = worst(&kinds) {
        return exit_code(kind);
    }
    // a budget that is used up is what was asked for
    let stopped = |sync: &SyncReport| sync.state == "paused" && sync.paused_by.is_none();
    if syncs.iter().any(stopped) { output::STOPPED } else { 0 }
}

/// The kind of error that decides the exit code.
pub(super) fn worst(kinds: &[ErrorKind]) -> Option<ErrorKind> {
    let order = [ErrorKind::Bug, ErrorKind::Store, ErrorKind::User, ErrorKind::Data, ErrorKind::Remote];
    order.into_iter().find(|kind| kinds.contains(kind))
}

/// The table of what was done, and what went wrong.
pub(super) fn print_report(report: &Report) {
    let headings = ["sync", "state", "records", "added", "updated", "deleted", "unchanged", "quarantined", "requests"];
    let rows: Vec<Vec<String>> = report.syncs.iter().map(row).collect();
    anstream::println!("{}", output::table(&headings, &rows, &[2, 3, 4, 5, 6, 7, 8]));
    if report.syncs.len() > limits::LISTED_MAX {
        anstream::println!("{}", tally(report));
    }
    for sync in &report.syncs {
        notes(sync);
    }
    if let Some(error) = &report.publish_error {
        print_error(&format!("the copy was not made: {error}"), None);
    }
}

/// `150 syncs: 149 completed, 1 failed`, for a table that is longer than the screen.
fn tally(report: &Report) -> String {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for sync in &report.syncs {
        *states.entry(sync.state).or_default() += 1;
    }
    let states: Vec<String> = states.into_iter().map(|(state, syncs)| format!("{} {state}", count(syncs))).collect();
    format!("{} syncs: {}", count(report.syncs.len() as u64), states.join(", "))
}

fn row(sync: &SyncReport) -> Vec<String> {
    let mut row = vec![sync.sync.to_string(), sync.state.to_owned()];
    let counts =
        [sync.records, sync.added, sync.updated, sync.deleted, sync.unchanged, sync.quarantined, sync.requests];
    row.extend(counts.map(count));
    row
}

fn notes(sync: &SyncReport) {
    let yellow = bold(AnsiColor::Yellow);
    let id = &sync.sync;
    if let Some(error) = &sync.error {
        print_error(&format!("{id}: {}", error.message), error.hint.as_deref());
    }
    for SchemaChange { table, change, detail, note } in &sync.schema_changes {
        if let Some(means) = note {
            anstream::println!("{yellow}note{yellow:#}: {id}: {table}: {} {detail}: {means}", change.replace('_', " "));
        }
    }
    if sync.quarantined > 0 {
        anstream::println!(
            "{yellow}note{yellow:#}: {id}: {} {DIM}headwater query \"from headwater.quarantine where sync = '{}'\"{DIM:#}",
            records_in_quarantine(sync.quarantined),
            id.sync
        );
    }
    if let Some(why) = &sync.skipped_reason {
        let partitions =
            if sync.skipped == 1 { "1 partition".to_owned() } else { format!("{} partitions", count(sync.skipped)) };
        let more = if sync.skipped == 1 { ": " } else { "; the first: " };
        print_error(
            &format!("{id}: {partitions} could not be read{more}{why}"),
            Some("the next run goes on with them; `headwater.partitions` says why each failed"),
        );
    }
    if let Some(why) = &sync.pages_skipped_reason {
        let pages = match sync.pages_skipped {
            0 | 1 => "a page was left out: ".to_owned(),
            pages => format!("{} pages were left out; the first: ", count(pages)),
        };
        print_error(
            &format!("{id}: {pages}{why}"),
            Some(
                "the next run reads the same stretch again; nothing is deleted by absence before a run reads it whole",
            ),
        );
    }
    if let Some(why) = &sync.paused_reason {
        anstream::println!("{yellow}note{yellow:#}: {id}: {why}; the next run goes on here");
    } else if let Some(budget) = sync.paused_by {
        anstream::println!("{yellow}note{yellow:#}: {id}: `{budget}` is used up; the next run goes on here");
    }
    if sync.unreadable > 0 {
        let why = sync.unreadable_reason.as_deref().unwrap_or_default();
        anstream::println!(
            "{yellow}note{yellow:#}: {id}: {} entries of the list of ids cannot be read: {why}",
            count(sync.unreadable)
        );
    }
    if sync.read_twice {
        anstream::println!(
            "{yellow}note{yellow:#}: {id}: rows were missing, and the list can have moved while it was read: it was read twice"
        );
    }
    if let Some(why) = &sync.deletes_skipped {
        anstream::println!("{yellow}note{yellow:#}: {id}: nothing was deleted, because the scan proves nothing: {why}");
    }
    if sync.duplicates > 0 {
        anstream::println!(
            "{yellow}note{yellow:#}: {id}: {} records had a key that came again; the last one counts",
            count(sync.duplicates)
        );
    }
    if sync.nulled > 0 {
        anstream::println!("{yellow}note{yellow:#}: {id}: {} values that did not fit became null", count(sync.nulled));
    }
}

fn records_in_quarantine(number: u64) -> String {
    if number == 1 {
        "1 record is in quarantine:".into()
    } else {
        format!("{} records are in quarantine:", count(number))
    }
}

const _: () = assert!(limits::GROUP_AGE_MAX.as_secs() == 2, "the default of --commit-every says the same");
