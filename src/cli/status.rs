use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::output::{DIM, count, json_line, moment, print_error, table};
use super::{Done, project};
use crate::engine;
use crate::plan::{SyncId, SyncPlan};
use crate::scan::{due, spread};
use crate::store::{ReadStore, RunState, Scheduled, SyncStatus};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One JSON object per sync, as lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let (known, scheduled) = match open(&plan.database) {
        Ok(store) => (store.status()?, store.scheduled()?),
        // before the first run there is nothing to tell, which is no mistake
        Err(crate::store::Error::Missing { .. }) => (Vec::new(), Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let (mut rows, now) = (Vec::new(), engine::system_clock()());
    let statuses: HashMap<&SyncId, &SyncStatus> = known.iter().map(|status| (&status.id, status)).collect();
    let scheduled: HashMap<&SyncId, &Scheduled> = scheduled.iter().map(|known| (&known.id, known)).collect();
    for sync in &plan.syncs {
        let status = statuses.get(&sync.id).copied();
        let next = next(sync, scheduled.get(&sync.id).copied(), now);
        if arguments.json {
            json_line(&wire(&sync.id.to_string(), status, next))?;
        } else {
            rows.push(row(&sync.id.to_string(), status, next));
        }
    }
    if arguments.json {
        return Ok(0);
    }
    let mut headings = vec!["sync", "last run", "state", "next run", "watermark", "rows", "deleted", "quarantined"];
    let mut numbers = [5, 6, 7];
    if rows.iter().all(|row| row[NEXT_RUN].is_empty()) {
        headings.remove(NEXT_RUN);
        rows.iter_mut().for_each(|row| drop(row.remove(NEXT_RUN)));
        numbers = [4, 5, 6];
    }
    anstream::println!("{}", table(&headings, &rows, &numbers));
    for status in known.iter().filter(|status| status.partitions_failed > 0) {
        anstream::println!(
            "{}: some partitions could not be read: {DIM}headwater query \"select partition, error from headwater.partitions \
             where sync = '{}' and error is not null\"{DIM:#}",
            status.id,
            status.id.sync
        );
    }
    for status in &known {
        let Some((run, message)) = status.last_run.as_ref().and_then(|run| Some((run, run.error.as_ref()?))) else {
            continue;
        };
        if run.state == RunState::Failed.as_str() {
            print_error(&format!("{}: {message}", status.id), None);
        } else {
            anstream::println!("{}: {message}", status.id);
        }
    }
    Ok(0)
}

/// Opens the database to look, and says on standard error what it waits for.
pub(super) fn open(database: &Path) -> Result<ReadStore, crate::store::Error> {
    ReadStore::open(database, Box::new(|holder| anstream::eprintln!("{holder}")))
}

/// The column that is left out where nothing runs by itself.
const NEXT_RUN: usize = 3;

/// When `headwater serve` runs a sync next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// never by itself
    Manual,
    Paused,
    At(DateTime<Utc>),
}

fn next(sync: &SyncPlan, known: Option<&Scheduled>, now: DateTime<Utc>) -> Next {
    let runs = known.map(|known| known.runs).unwrap_or_default();
    match due(&sync.schedule, &runs, spread(&sync.id), now) {
        None => Next::Manual,
        Some(_) if known.is_some_and(|known| known.paused) => Next::Paused,
        Some(at) => Next::At(at.max(now)),
    }
}

fn row(name: &str, status: Option<&SyncStatus>, next: Next) -> Vec<String> {
    let next = match next {
        Next::Manual => String::new(),
        Next::Paused => "paused".to_owned(),
        Next::At(at) => moment(at),
    };
    let Some(status) = status else {
        return vec![
            name.into(),
            "never".into(),
            String::new(),
            next,
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ];
    };
    let (when, state) = match &status.last_run {
        Some(run) => (moment(run.started_at), run.state.clone()),
        None => ("never".to_owned(), String::new()),
    };
    vec![
        name.to_owned(),
        when,
        state,
        next,
        place(status),
        count(status.rows_live),
        count(status.rows_deleted),
        count(status.quarantined),
    ]
}

/// How far it is: the watermark, or its partitions.
fn place(status: &SyncStatus) -> String {
    let failed = match status.partitions_failed {
        0 => String::new(),
        failed => format!(", {} failed", count(failed)),
    };
    match status.partitions {
        0 => status.watermark.clone().unwrap_or_default(),
        1 => format!("1 partition{failed}"),
        partitions => format!("{} partitions{failed}", count(partitions)),
    }
}

fn wire(name: &str, status: Option<&SyncStatus>, next: Next) -> serde_json::Value {
    let run = status.and_then(|status| status.last_run.as_ref()).map(|run| {
        json!({
            "run_id": run.run_id, "state": run.state, "started_at": run.started_at, "ended_at": run.ended_at,
            "records": run.records, "added": run.added, "error_code": run.error_code, "error": run.error,
        })
    });
    json!({
        "sync": name,
        "last_run": run,
        "next_run_at": if let Next::At(at) = next { Some(at) } else { None },
        "paused": matches!(next, Next::Paused),
        "table": status.and_then(|status| status.table.clone()),
        "watermark": status.and_then(|status| status.watermark.clone()),
        "rows_live": status.map(|status| status.rows_live),
        "rows_deleted": status.map(|status| status.rows_deleted),
        "quarantined": status.map(|status| status.quarantined),
        "partitions": status.map(|status| status.partitions),
        "partitions_failed": status.map(|status| status.partitions_failed),
    })
}
