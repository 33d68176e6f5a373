//! What headwater remembers about its own work: runs, checkpoints, partitions, the change counter, the request log.
//! Each function is one or two statements inside the caller's transaction.

use chrono::{DateTime, SecondsFormat, Utc};
use duckdb::{Connection, OptionalExt, params};

use super::error::Error;
use super::layout::own;
use super::sql::{Table, list};
use crate::plan::SyncId;
use crate::scan::{Checkpoint, checkpoint};

/// One run of one sync, as it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// names the run; the syncs of one `headwater run` may share it
    pub run_id: String,
    /// which sync
    pub id: SyncId,
    /// when it began
    pub started_at: DateTime<Utc>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// to the end
    Completed,
    /// a budget stopped it between two commits
    Paused,
    /// to the end, but something was skipped
    Partial,
    /// an error stopped it
    Failed,
    /// somebody stopped it
    Interrupted,
}

impl RunState {
    /// The state as `headwater.runs` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Paused => "paused",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// how
    pub state: RunState,
    /// when
    pub ended_at: DateTime<Utc>,
    /// requests made, repeated ones included
    pub requests: u64,
    /// stable code and message of what stopped it
    pub error: Option<(String, String)>,
}

/// One request of the optional log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// when it was sent
    pub at: DateTime<Utc>,
    /// GET, POST, …
    pub method: String,
    /// with its secrets masked
    pub url: String,
    /// HTTP status; none when there was no answer
    pub status: Option<u16>,
    /// until the body was there
    pub duration_ms: u64,
    /// of the body, decompressed
    pub bytes: u64,
    /// 1 is the first
    pub attempt: u32,
    /// what failed
    pub error: Option<String>,
}

/// What one commit did, for the counters of its run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// pages
    pub pages: u64,
    /// records, valid or not
    pub records: u64,
    /// rows seen for the first time, or again after a deletion
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows that are gone
    pub deleted: u64,
    /// rows that arrived as they were
    pub unchanged: u64,
    /// rows that a later one of the same key replaced within its commit
    pub duplicates: u64,
    /// records that are no rows
    pub quarantined: u64,
    /// records that `where` turned away
    pub filtered: u64,
    /// values that `on_invalid: set_null` made null
    pub nulled: u64,
}

/// The where clause that names one sync; its parameters are the fields of [`SyncId`] in their order.
pub const OF_SYNC: &str = "connection = ? AND provider = ? AND sync = ? AND variant = ?";

/// A moment as a parameter for `CAST(? AS TIMESTAMPTZ)`, which needs no ICU.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A count as DuckDB's BIGINT.
pub fn big(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Notes that a run has begun.
pub fn begin_run(db: &Connection, run: &RunRecord) -> Result<(), Error> {
    let SyncId { connection, provider, sync, variant } = &run.id;
    let statement = format!(
        "INSERT INTO {} VALUES (?, ?, ?, ?, ?, 'running', CAST(? AS TIMESTAMPTZ), NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
         NULL, NULL, NULL, NULL)",
        own("runs")
    );
    db.execute(&statement, params![run.run_id, connection, provider, sync, variant, stamp(run.started_at)])
        .map_err(Error::database("note the beginning of the run"))?;
    Ok(())
}

/// Notes that runs which a killed process left behind are over. Right only while no other process runs.
pub fn interrupt_leftovers(db: &Connection) -> Result<(), Error> {
    db.execute(&format!("UPDATE {} SET state = 'interrupted' WHERE state = 'running'", own("runs")), [])
        .map_err(Error::database("note interrupted runs"))?;
    Ok(())
}

/// Adds to the counters of a run.
pub fn count(
    db: &Connection,
    id: &SyncId,
    run_id: &str,
    counts: &Counts,
    changes: Option<(i64, i64)>,
) -> Result<(), Error> {
    let Counts { pages, records, added, updated, deleted, unchanged, duplicates, quarantined, filtered, nulled } =
        *counts;
    let counters = [
        ("pages", pages),
        ("records", records),
        ("added", added),
        ("updated", updated),
        ("deleted", deleted),
        ("unchanged", unchanged),
        ("duplicates", duplicates),
        ("quarantined", quarantined),
        ("filtered", filtered),
        ("nulled", nulled),
    ];
    // most are none in most commits, and planning a column takes longer than writing it
    let counted = counters.into_iter().filter(|(_, more)| *more > 0);
    let counted = counted.map(|(name, more)| format!("{name} = {name} + {}", big(more)));
    let numbers = changes.map(|(from, to)| format!("change_from = coalesce(change_from, {from}), change_to = {to}"));
    let set = list(counted.chain(numbers));
    if set.is_empty() {
        return Ok(());
    }
    let statement = format!("UPDATE {} SET {set} WHERE run_id = ? AND {OF_SYNC}", own("runs"));
    db.execute(&statement, params![run_id, id.connection, id.provider, id.sync, id.variant])
        .map_err(Error::database("count the commit"))?;
    Ok(())
}

/// Notes how a run ended.
pub fn end_run(db: &Connection, id: &SyncId, run_id: &str, end: &RunEnd) -> Result<(), Error> {
    let (code, message) = end.error.clone().unzip();
    let statement = format!(
        "UPDATE {} SET state = ?, ended_at = CAST(? AS TIMESTAMPTZ), requests = ?, error_code = ?, error = ? \
         WHERE run_id = ? AND {OF_SYNC}",
        own("runs")
    );
    let state = end.state.as_str();
    db.execute(
        &statement,
        params![
            state,
            stamp(end.ended_at),
            big(end.requests),
            code,
            message,
            run_id,
            id.connection,
            id.provider,
            id.sync,
            id.variant
        ],
    )
    .map_err(Error::database("note the end of the run"))?;
    Ok(())
}

/// Reads what a sync remembers.
///
/// # Errors
/// [`Error::Checkpoint`] when it is of an unknown version or unreadable: it is never silently begun anew.
pub fn read_checkpoint(db: &Connection, id: &SyncId) -> Result<Option<Checkpoint>, Error> {
    let statement =
        format!("SELECT CAST(state AS VARCHAR) FROM {} WHERE {OF_SYNC} AND partition = ''", own("checkpoints"));
    let state: Option<Option<String>> = db
        .query_row(&statement, params![id.connection, id.provider, id.sync, id.variant], |row| row.get(0))
        .optional()
        .map_err(Error::database("read the checkpoint"))?;
    let Some(state) = state else { return Ok(None) };
    decode_checkpoint(state.as_deref().unwrap_or_default())
        .map(Some)
        .map_err(|detail| Error::Checkpoint { sync: id.to_string(), detail })
}

fn decode_checkpoint(state: &str) -> Result<Checkpoint, String> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_str(state).map_err(|error| format!("it is not readable: {error}"))?;
    if !(1..=checkpoint::VERSION).contains(&version) {
        return Err(format!("it has version {version}, this program knows version {}", checkpoint::VERSION));
    }
    serde_json::from_str(state).map_err(|error| format!("it is not readable: {error}"))
}

/// Writes what a sync remembers, and how far it is with the table it fills.
pub fn write_checkpoint(
    db: &Connection,
    id: &SyncId,
    filled: &Table,
    checkpoint: &Checkpoint,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let state = serde_json::to_string(checkpoint).expect("a checkpoint is plain data with text keys");
    let failed = || Error::database("write the checkpoint");
    let (table, now) = (own("checkpoints"), stamp(now));
    let update = format!(
        "UPDATE {table} SET state = CAST(? AS JSON), updated_at = CAST(? AS TIMESTAMPTZ) WHERE {OF_SYNC} AND partition = ''"
    );
    if db.execute(&update, params![state, now, connection, provider, sync, variant]).map_err(failed())? == 0 {
        let insert = format!("INSERT INTO {table} VALUES (?, ?, ?, ?, '', CAST(? AS JSON), CAST(? AS TIMESTAMPTZ))");
        db.execute(&insert, params![connection, provider, sync, variant, state, now]).map_err(failed())?;
    }
    let table = own("partitions");
    let watermark = checkpoint.main.watermark.as_ref().map(ToString::to_string);
    let (state, completed) =
        if checkpoint.is_complete() { ("complete", Some(now.clone())) } else { ("scanning", None) };
    let update = format!(
        "UPDATE {table} SET table_schema = ?, table_name = ?, state = ?, watermark = ?, updated_at = CAST(? AS TIMESTAMPTZ), \
         last_completed_at = coalesce(CAST(? AS TIMESTAMPTZ), last_completed_at) WHERE {OF_SYNC} AND partition = ''"
    );
    let values =
        params![filled.schema, filled.name, state, watermark, now, completed, connection, provider, sync, variant];
    if db.execute(&update, values).map_err(failed())? == 0 {
        let insert = format!(
            "INSERT INTO {table} VALUES (?, ?, ?, ?, '', ?, ?, ?, ?, CAST(? AS TIMESTAMPTZ), CAST(? AS TIMESTAMPTZ))"
        );
        let values =
            params![connection, provider, sync, variant, filled.schema, filled.name, state, watermark, completed, now];
        db.execute(&insert, values).map_err(failed())?;
    }
    Ok(())
}

/// The last change number given out.
pub fn change_counter(db: &Connection) -> Result<i64, Error> {
    db.query_row(&format!("SELECT change_counter FROM {}", own("meta")), [], |row| row.get(0))
        .map_err(Error::database("read the change counter"))
}

/// Notes the last change number given out.
pub fn set_change_counter(db: &Connection, last: i64) -> Result<(), Error> {
    db.execute(&format!("UPDATE {} SET change_counter = ?", own("meta")), [last])
        .map_err(Error::database("write the change counter"))?;
    Ok(())
}

/// Adds to the request log.
pub fn log_requests(db: &Connection, run_id: &str, requests: &[RequestRecord]) -> Result<(), Error> {
    let insert = format!("INSERT INTO {} VALUES (?, CAST(? AS TIMESTAMPTZ), ?, ?, ?, ?, ?, ?, ?)", own("requests"));
    let failed = || Error::database("log the requests");
    let mut statement = db.prepare(&insert).map_err(failed())?;
    for RequestRecord { at, method, url, status, duration_ms, bytes, attempt, error } in requests {
        statement
            .execute(params![run_id, stamp(*at), method, url, status, big(*duration_ms), big(*bytes), attempt, error])
            .map_err(failed())?;
    }
    Ok(())
}
