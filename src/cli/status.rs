use std::path::Path;

use serde_json::json;

use super::output::{DIM, count, json_line, moment, print_error, table};
use super::{Done, project};
use crate::store::{ReadStore, RunState, SyncStatus};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One JSON object per sync, as lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let known = match open(&plan.database) {
        Ok(store) => store.status()?,
        // before the first run there is nothing to tell, which is no mistake
        Err(crate::store::Error::Missing { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut rows = Vec::new();
    for sync in &plan.syncs {
        let status = known.iter().find(|status| status.id == sync.id);
        if arguments.json {
            json_line(&wire(&sync.id.to_string(), status))?;
        } else {
            rows.push(row(&sync.id.to_string(), status));
        }
    }
    if arguments.json {
        return Ok(0);
    }
    let headings = ["sync", "last run", "state", "watermark", "rows", "deleted", "quarantined"];
    anstream::println!("{}", table(&headings, &rows, &[4, 5, 6]));
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

fn row(name: &str, status: Option<&SyncStatus>) -> Vec<String> {
    let Some(status) = status else {
        return vec![
            name.into(),
            "never".into(),
            String::new(),
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

fn wire(name: &str, status: Option<&SyncStatus>) -> serde_json::Value {
    let run = status.and_then(|status| status.last_run.as_ref()).map(|run| {
        json!({
            "run_id": run.run_id, "state": run.state, "started_at": run.started_at, "ended_at": run.ended_at,
            "records": run.records, "added": run.added, "error_code": run.error_code, "error": run.error,
        })
    });
    json!({
        "sync": name,
        "last_run": run,
        "table": status.and_then(|status| status.table.clone()),
        "watermark": status.and_then(|status| status.watermark.clone()),
        "rows_live": status.map(|status| status.rows_live),
        "rows_deleted": status.map(|status| status.rows_deleted),
        "quarantined": status.map(|status| status.quarantined),
        "partitions": status.map(|status| status.partitions),
        "partitions_failed": status.map(|status| status.partitions_failed),
    })
}
