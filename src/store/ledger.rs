//! What headwater remembers about its own work: runs, checkpoints, partitions, the change counter.
//! Each function is one or two statements inside the caller's transaction.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use duckdb::{Connection, Row, RowIndex, params, params_from_iter};

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

/// The code of a run that somebody stopped.
pub const RUN_STOPPED: &str = "stopped";

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

impl Counts {
    /// Adds what was done besides.
    pub fn add(&mut self, more: &Self) {
        let Self { pages, records, added, updated, deleted, unchanged, duplicates, quarantined, filtered, nulled } =
            more;
        self.pages += pages;
        self.records += records;
        self.added += added;
        self.updated += updated;
        self.deleted += deleted;
        self.unchanged += unchanged;
        self.duplicates += duplicates;
        self.quarantined += quarantined;
        self.filtered += filtered;
        self.nulled += nulled;
    }
}

/// The where clause that names one sync; its parameters are the fields of [`SyncId`] in their order.
pub const OF_SYNC: &str = "connection = ? AND provider = ? AND sync = ? AND variant = ?";

/// The sync whose connection, provider, name and variant stand in these columns.
pub fn sync_of<I: RowIndex>(row: &Row<'_>, [connection, provider, sync, variant]: [I; 4]) -> duckdb::Result<SyncId> {
    Ok(SyncId {
        connection: row.get(connection)?,
        provider: row.get(provider)?,
        sync: row.get(sync)?,
        variant: row.get(variant)?,
    })
}

/// A time that was selected with `epoch_us`.
pub fn moment(row: &Row<'_>, column: impl RowIndex) -> duckdb::Result<Option<DateTime<Utc>>> {
    let micros: Option<i64> = row.get(column)?;
    Ok(micros.and_then(DateTime::from_timestamp_micros))
}

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

/// Reads what partitions of a sync remember, as many as remember anything; that of a sync of one part is empty.
///
/// # Errors
/// [`Error::Checkpoint`] when it is of an unknown version or unreadable: it is never silently begun anew.
pub fn read_checkpoints(
    db: &Connection,
    id: &SyncId,
    partitions: &[Arc<str>],
) -> Result<HashMap<Arc<str>, Checkpoint>, Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let select = format!(
        "SELECT partition, CAST(state AS VARCHAR) FROM {} WHERE {OF_SYNC} \
         AND partition IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))",
        own("checkpoints")
    );
    let wanted = serde_json::Value::from_iter(partitions.iter().map(|partition| &**partition)).to_string();
    let read = || -> duckdb::Result<Vec<(String, Option<String>)>> {
        let mut statement = db.prepare(&select)?;
        let rows = statement
            .query_map(params![connection, provider, sync, variant, wanted], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let found = read().map_err(Error::database("read the checkpoint"))?;
    let decode = |(partition, state): (String, Option<String>)| {
        let checkpoint = decode_checkpoint(state.as_deref().unwrap_or_default())
            .map_err(|detail| Error::Checkpoint { sync: id.to_string(), detail })?;
        Ok((partition.into(), checkpoint))
    };
    found.into_iter().map(decode).collect()
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

fn progress(checkpoint: &Checkpoint) -> &'static str {
    if checkpoint.is_complete() { "complete" } else { "scanning" }
}

/// As [`write_checkpoints`], for one: it takes less than half the time, which each commit takes twice.
fn write_checkpoint(
    db: &Connection,
    id: &SyncId,
    filled: &Table,
    (partition, checkpoint): (&str, &Checkpoint),
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let state = serde_json::to_string(checkpoint).expect("a checkpoint is plain data with text keys");
    let failed = || Error::database("write the checkpoint");
    let (table, now) = (own("checkpoints"), stamp(now));
    let update = format!(
        "UPDATE {table} SET state = CAST(? AS JSON), updated_at = CAST(? AS TIMESTAMPTZ) WHERE {OF_SYNC} AND partition = ?"
    );
    if db.execute(&update, params![state, now, connection, provider, sync, variant, partition]).map_err(failed())? == 0
    {
        let insert = format!("INSERT INTO {table} VALUES (?, ?, ?, ?, ?, CAST(? AS JSON), CAST(? AS TIMESTAMPTZ))");
        db.execute(&insert, params![connection, provider, sync, variant, partition, state, now]).map_err(failed())?;
    }
    let table = own("partitions");
    let watermark = checkpoint.main.watermark.as_ref().map(ToString::to_string);
    let (state, completed) = (progress(checkpoint), checkpoint.is_complete().then(|| now.clone()));
    let update = format!(
        "UPDATE {table} SET table_schema = ?, table_name = ?, state = ?, watermark = ?, updated_at = CAST(? AS TIMESTAMPTZ), error = NULL, \
         last_completed_at = coalesce(CAST(? AS TIMESTAMPTZ), last_completed_at) WHERE {OF_SYNC} AND partition = ?"
    );
    let (schema, name) = (&filled.schema, &filled.name);
    let values =
        params![schema, name, state, watermark, now, completed, connection, provider, sync, variant, partition];
    if db.execute(&update, values).map_err(failed())? == 0 {
        let insert = format!(
            "INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TIMESTAMPTZ), CAST(? AS TIMESTAMPTZ), NULL)"
        );
        let values =
            params![connection, provider, sync, variant, partition, schema, name, state, watermark, completed, now];
        db.execute(&insert, values).map_err(failed())?;
    }
    Ok(())
}

/// Writes what parts of a sync remember, and how far they are with the table they fill.
pub fn write_checkpoints(
    db: &Connection,
    id: &SyncId,
    filled: &Table,
    checkpoints: &[(Arc<str>, Checkpoint)],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if let [(partition, checkpoint)] = checkpoints {
        return write_checkpoint(db, id, filled, (partition, checkpoint), now);
    }
    let SyncId { connection, provider, sync, variant } = id;
    let failed = || Error::database("write the checkpoint");
    let parts = checkpoints.iter().map(|(partition, checkpoint)| {
        serde_json::json!({
            "partition": &**partition,
            "state": serde_json::to_string(checkpoint).expect("a checkpoint is plain data with text keys"),
            "is": progress(checkpoint),
            "watermark": checkpoint.main.watermark.as_ref().map(ToString::to_string),
        })
    });
    let parts = serde_json::Value::from_iter(parts).to_string();
    // numbered, because the parts of a statement are not read in the order in which they are written
    let fresh = "(SELECT unnest(from_json($5, '[{\"partition\": \"VARCHAR\", \"state\": \"VARCHAR\", \"is\": \"VARCHAR\", \
                 \"watermark\": \"VARCHAR\"}]'), recursive := true)) fresh";
    let same =
        "t.connection = $1 AND t.provider = $2 AND t.sync = $3 AND t.variant = $4 AND t.partition = fresh.partition";
    let now = stamp(now);
    let write = |update: &str, insert: &str, more: &[&str]| -> Result<(), Error> {
        let values = [connection, provider, sync, variant, &parts, &now].map(String::as_str);
        let values = || params_from_iter(values.iter().chain(more));
        if db.execute(update, values()).map_err(failed())? < checkpoints.len() {
            db.execute(insert, values()).map_err(failed())?;
        }
        Ok(())
    };
    let table = own("checkpoints");
    write(
        &format!(
            "UPDATE {table} t SET state = CAST(fresh.state AS JSON), updated_at = CAST($6 AS TIMESTAMPTZ) FROM {fresh} WHERE {same}"
        ),
        &format!(
            "INSERT INTO {table} SELECT $1, $2, $3, $4, fresh.partition, CAST(fresh.state AS JSON), CAST($6 AS TIMESTAMPTZ) \
             FROM {fresh} WHERE NOT EXISTS (FROM {table} t WHERE {same})"
        ),
        &[],
    )?;
    let table = own("partitions");
    let completed = "CASE WHEN fresh.is = 'complete' THEN CAST($6 AS TIMESTAMPTZ) END";
    write(
        &format!(
            "UPDATE {table} t SET table_schema = $7, table_name = $8, state = fresh.is, watermark = fresh.watermark, error = NULL, \
             updated_at = CAST($6 AS TIMESTAMPTZ), last_completed_at = coalesce({completed}, last_completed_at) \
             FROM {fresh} WHERE {same}"
        ),
        &format!(
            "INSERT INTO {table} SELECT $1, $2, $3, $4, fresh.partition, $7, $8, fresh.is, fresh.watermark, {completed}, \
             CAST($6 AS TIMESTAMPTZ), NULL FROM {fresh} WHERE NOT EXISTS (FROM {table} t WHERE {same})"
        ),
        &[&filled.schema, &filled.name],
    )
}

/// Notes the tables that a sync fills, of which `partitions` names the first. Writes nothing where that is known.
pub fn note_tables(db: &Connection, id: &SyncId, filled: &[Table]) -> Result<(), Error> {
    let failed = || Error::database("note which tables the sync fills");
    let SyncId { connection, provider, sync, variant } = id;
    let read = || -> duckdb::Result<Vec<(String, String)>> {
        let select = format!("SELECT table_schema, table_name FROM {} WHERE {OF_SYNC} ORDER BY rowid", own("tables"));
        let mut statement = db.prepare(&select)?;
        statement
            .query_map(params![connection, provider, sync, variant], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    let others: Vec<(String, String)> =
        filled.iter().skip(1).map(|table| (table.schema.clone(), table.name.clone())).collect();
    if read().map_err(failed())? == others {
        return Ok(());
    }
    let delete = format!("DELETE FROM {} WHERE {OF_SYNC}", own("tables"));
    db.execute(&delete, params![connection, provider, sync, variant]).map_err(failed())?;
    for (schema, name) in others {
        let insert = format!("INSERT INTO {} VALUES (?, ?, ?, ?, ?, ?)", own("tables"));
        db.execute(&insert, params![connection, provider, sync, variant, schema, name]).map_err(failed())?;
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
