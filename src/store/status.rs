//! How the syncs are, and how their runs went.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use duckdb::{Connection, Row};
use serde::Serialize;

use super::error::Error;
use super::feed;
use super::layout::own;
use super::ledger::{moment, stamp, sync_of};
use super::sql::{Table, joined};
use super::writer::Store;
use crate::plan::SyncId;

/// How one sync is.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncStatus {
    /// which sync
    pub id: SyncId,
    /// its last run, if it ever ran
    pub last_run: Option<RunSummary>,
    /// `schema.table` it fills, once it has committed something
    pub table: Option<String>,
    /// `scanning`, `complete`, `failed` (of a partition) or `reset`, once it has committed something
    pub state: Option<String>,
    /// everything up to here is in the table; none where each partition has its own
    pub watermark: Option<String>,
    /// when it last came to the end of a scan
    pub last_completed_at: Option<DateTime<Utc>>,
    /// rows that live, of its connection and variant
    pub rows_live: u64,
    /// rows that are deleted, of its connection and variant
    pub rows_deleted: u64,
    /// its records in quarantine
    pub quarantined: u64,
    /// items of `for_each` that it remembers
    pub partitions: u64,
    /// of which so many could not be read to their end
    pub partitions_failed: u64,
}

/// One run of a sync.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// names the run
    pub run_id: String,
    /// running, completed, paused, partial, failed or interrupted
    pub state: String,
    /// when it began
    pub started_at: DateTime<Utc>,
    /// when it ended; none while it runs, and when the process was killed
    pub ended_at: Option<DateTime<Utc>>,
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
    /// records that went into quarantine
    pub quarantined: u64,
    /// stable code of what stopped it
    pub error_code: Option<String>,
    /// what stopped it
    pub error: Option<String>,
}

/// Every sync that ever ran here, by connection and name.
///
/// # Errors
/// The database cannot be read.
pub fn all(db: &Connection) -> Result<Vec<SyncStatus>, Error> {
    let mut rows = HashMap::new();
    let mut all = Vec::new();
    for (mut status, table) in syncs(db).map_err(Error::database("read the syncs"))? {
        if let Some(table) = table {
            if !rows.contains_key(&table) {
                rows.insert(table.clone(), count_rows(db, &table).map_err(Error::database("count the rows"))?);
            }
            let whose = (status.id.connection.clone(), status.id.variant.clone());
            (status.rows_live, status.rows_deleted) = rows[&table].get(&whose).copied().unwrap_or_default();
        }
        all.push(status);
    }
    Ok(all)
}

/// Which runs are meant; of those, the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunsOf {
    /// of this connection
    pub connection: Option<String>,
    /// of syncs of this name
    pub sync: Option<String>,
    /// of this variant
    pub variant: Option<String>,
    /// of this name
    pub run_id: Option<String>,
    /// that are in this state
    pub state: Option<String>,
    /// that began before this
    pub before: Option<DateTime<Utc>>,
    /// so many at most
    pub limit: usize,
}

/// One run of a sync, and what it gave to the change feed.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRun {
    /// which sync
    pub id: SyncId,
    /// the run
    pub run: RunSummary,
    /// the first change number that it gave out
    pub change_from: Option<i64>,
    /// the last
    pub change_to: Option<i64>,
}

/// The last runs, the latest first.
///
/// # Errors
/// The database cannot be read.
pub fn runs(db: &Connection, of: &RunsOf) -> Result<Vec<PastRun>, Error> {
    let RunsOf { connection, sync, variant, run_id, state, before, limit } = of;
    let before = before.map(stamp);
    let given = [
        ("connection = ?", connection),
        ("sync = ?", sync),
        ("variant = ?", variant),
        ("run_id = ?", run_id),
        ("state = ?", state),
        ("started_at < CAST(? AS TIMESTAMPTZ)", &before),
    ];
    let given = || given.iter().filter_map(|(condition, value)| value.as_ref().map(|value| (*condition, value)));
    let conditions = joined(std::iter::once("true").chain(given().map(|(condition, _)| condition)), " AND ");
    let select = format!(
        "SELECT *, epoch_us(started_at) AS started, epoch_us(ended_at) AS ended FROM {} WHERE {conditions} \
         ORDER BY started_at DESC, rowid DESC LIMIT {limit}",
        own("runs")
    );
    let read = || -> duckdb::Result<Vec<Option<PastRun>>> {
        let values = duckdb::params_from_iter(given().map(|(_, value)| value));
        db.prepare(&select)?.query_map(values, read_past)?.collect()
    };
    let runs = read().map_err(Error::database("read the runs"))?;
    Ok(runs.into_iter().flatten().collect())
}

/// A row of `headwater.runs` with `started` and `ended` in microseconds.
pub(super) fn read_past(row: &Row<'_>) -> duckdb::Result<Option<PastRun>> {
    let id = sync_of(row, ["connection", "provider", "sync", "variant"])?;
    let run = read_run(row)?;
    let (change_from, change_to) = (row.get("change_from")?, row.get("change_to")?);
    Ok(run.map(|run| PastRun { id, run, change_from, change_to }))
}

/// Every sync with the table it fills; its rows are not counted yet.
fn syncs(db: &Connection) -> duckdb::Result<Vec<(SyncStatus, Option<Table>)>> {
    let select = format!(
        "WITH syncs AS (SELECT connection, provider, sync, variant FROM {runs} \
                        UNION SELECT connection, provider, sync, variant FROM {partitions}), \
              last AS (SELECT * FROM {runs} QUALIFY row_number() OVER \
                       (PARTITION BY connection, provider, sync, variant ORDER BY started_at DESC, rowid DESC) = 1), \
              parts AS (SELECT connection, provider, sync, variant, max(table_schema) AS table_schema, max(table_name) AS table_name, \
                        CASE WHEN bool_or(state = 'failed') THEN 'failed' WHEN bool_or(state = 'scanning') THEN 'scanning' \
                             ELSE max(state) END AS state, \
                        CASE WHEN count(*) = 1 THEN max(watermark) END AS watermark, max(last_completed_at) AS last_completed_at, \
                        count(*) FILTER (partition <> '') AS partitions, count(*) FILTER (state = 'failed') AS failed \
                        FROM {partitions} GROUP BY ALL), \
              bad AS (SELECT connection, provider, sync, variant, count(*) AS records FROM {quarantine} GROUP BY ALL) \
         SELECT s.connection, s.provider, s.sync, s.variant, p.table_schema, p.table_name, p.state AS progress, p.watermark, \
                epoch_us(p.last_completed_at) AS completed, coalesce(b.records, 0) AS bad, \
                coalesce(p.partitions, 0) AS partitions, coalesce(p.failed, 0) AS failed, \
                l.run_id, l.state, epoch_us(l.started_at) AS started, epoch_us(l.ended_at) AS ended, l.pages, l.records, l.added, \
                l.updated, l.deleted, l.unchanged, l.quarantined, l.error_code, l.error \
         FROM syncs s LEFT JOIN parts p USING (connection, provider, sync, variant) \
              LEFT JOIN last l USING (connection, provider, sync, variant) \
              LEFT JOIN bad b USING (connection, provider, sync, variant) \
         ORDER BY s.connection, s.provider, s.sync, s.variant",
        runs = own("runs"),
        partitions = own("partitions"),
        quarantine = own("quarantine"),
    );
    db.prepare(&select)?.query_map([], read_status)?.collect()
}

fn read_status(row: &Row<'_>) -> duckdb::Result<(SyncStatus, Option<Table>)> {
    let (schema, name): (Option<String>, Option<String>) = (row.get("table_schema")?, row.get("table_name")?);
    let table = schema.zip(name).map(|(schema, name)| Table { schema, name });
    let status = SyncStatus {
        id: sync_of(row, ["connection", "provider", "sync", "variant"])?,
        last_run: read_run(row)?,
        table: table.as_ref().map(Table::plain),
        state: row.get("progress")?,
        watermark: row.get("watermark")?,
        last_completed_at: moment(row, "completed")?,
        rows_live: 0,
        rows_deleted: 0,
        quarantined: row.get("bad")?,
        partitions: row.get("partitions")?,
        partitions_failed: row.get("failed")?,
    };
    Ok((status, table))
}

fn read_run(row: &Row<'_>) -> duckdb::Result<Option<RunSummary>> {
    let (Some(run_id), Some(started_at)) = (row.get("run_id")?, moment(row, "started")?) else { return Ok(None) };
    Ok(Some(RunSummary {
        run_id,
        state: row.get("state")?,
        started_at,
        ended_at: moment(row, "ended")?,
        pages: row.get("pages")?,
        records: row.get("records")?,
        added: row.get("added")?,
        updated: row.get("updated")?,
        deleted: row.get("deleted")?,
        unchanged: row.get("unchanged")?,
        quarantined: row.get("quarantined")?,
        error_code: row.get("error_code")?,
        error: row.get("error")?,
    }))
}

/// Rows of a connection and variant in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowCount {
    /// the connection
    pub connection: String,
    /// the variant; empty without one
    pub variant: String,
    /// rows that live
    pub rows: u64,
    /// rows that are deleted
    pub deleted: u64,
}

impl Store {
    /// How many rows a table (`schema.table`) has of each connection and variant, by their names.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], or the database cannot be read.
    pub fn counts(&mut self, table: &str) -> Result<Vec<RowCount>, Error> {
        let db = self.attached()?;
        let table = feed::find(db, table)?;
        let counted = count_rows(db, &table).map_err(Error::database("count the rows"))?;
        let one = |((connection, variant), (rows, deleted))| RowCount { connection, variant, rows, deleted };
        let mut all: Vec<RowCount> = counted.into_iter().map(one).collect();
        all.sort_by(|a, b| (&a.connection, &a.variant).cmp(&(&b.connection, &b.variant)));
        Ok(all)
    }
}

/// Living and deleted rows by connection and variant.
fn count_rows(db: &Connection, table: &Table) -> duckdb::Result<HashMap<(String, String), (u64, u64)>> {
    let select = format!(
        "SELECT _connection, _variant, count(*) FILTER (_deleted_at IS NULL), count(*) FILTER (_deleted_at IS NOT NULL) \
         FROM {table} GROUP BY ALL"
    );
    let mut statement = db.prepare(&select)?;
    statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?))))?.collect()
}
