//! Looking into the database: how the syncs are, what changed, and any question in SQL.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use duckdb::{Connection, Row};
use serde_json::{Map, Value};

use super::catalog;
use super::error::Error;
use super::file::{Access, WaitObserver, Warehouse};
use super::items::{self, ItemRow};
use super::layout::{self, own};
use super::ledger;
use super::outbox::{self, Notification};
use super::query::{self, ResultColumn};
use super::schedule::{self, Scheduled};
use super::sql::{CATALOG, Table, ident, joined, list};
use super::tables::{self, Planned};
use crate::plan::{ModelPlan, SyncId, limits};
use crate::scan::Checkpoint;

/// A reader of the database. While it lives, no process can write: be brief, or read the published copy.
///
/// DuckDB can do nothing but read here: the file is attached read-only, no other file can be opened, and no setting can be changed.
pub struct ReadStore {
    warehouse: Warehouse,
    /// headwater has been here
    laid_out: bool,
}

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
#[derive(Debug, Clone, PartialEq)]
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

impl ReadStore {
    /// Opens the database for reading. `waiting` is told once when another process is writing.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Locked`], [`Error::NotADatabase`], [`Error::Damaged`], [`Error::NewerLayout`].
    pub fn open(path: &Path, waiting: WaitObserver) -> Result<Self, Error> {
        let mut warehouse = Warehouse::start(path, limits::LOCK_WAIT_MAX, waiting)?;
        warehouse.attach(Access::Read)?;
        let db = warehouse.connection();
        let laid_out = layout::version(db, path)?.is_some();
        // times print as UTC where DuckDB has time zones at all, which depends on how it was built
        drop(db.execute_batch("SET TimeZone = 'UTC'"));
        db.execute_batch(&format!(
            "USE {CATALOG}; SET threads = 2; SET arrow_large_buffer_size = true; SET enable_external_access = false; SET lock_configuration = true;"
        ))
        .map_err(Error::database("close the reader's doors"))?;
        Ok(Self { warehouse, laid_out })
    }

    /// What a sync remembers; `None` when it has never committed.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it cannot be used.
    pub fn checkpoint(&self, id: &SyncId) -> Result<Option<Checkpoint>, Error> {
        if !self.laid_out {
            return Ok(None);
        }
        Ok(ledger::read_checkpoints(self.warehouse.connection(), id, &["".into()])?.remove(""))
    }

    /// As [`super::Store::item_rows`].
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn item_rows(
        &self,
        model: &ModelPlan,
        id: &SyncId,
        after: Option<&[String]>,
        count: usize,
    ) -> Result<Option<Vec<ItemRow>>, Error> {
        items::rows(self.warehouse.connection(), model, id, after, count)
    }

    /// What a run would do to the tables of `models`.
    ///
    /// # Errors
    /// [`Error::SchemaConflict`]: of all where two models make one table, else in place of a table's plan where that cannot be as its model
    /// says.
    pub fn plan(&self, models: &[Arc<ModelPlan>]) -> Result<Planned, Error> {
        tables::plan(Some(self.warehouse.connection()), self.laid_out, models)
    }

    /// What applications were told, newest first, at most `count`, with `waiting` what has not arrived alone; and which endpoints are paused,
    /// and why.
    ///
    /// # Errors
    /// The database cannot be read.
    #[expect(clippy::type_complexity, reason = "a name and a reason")]
    pub fn notifications(
        &self,
        waiting: bool,
        count: usize,
    ) -> Result<(Vec<Notification>, Vec<(String, String)>), Error> {
        let db = self.warehouse.connection();
        // an older layout tells nobody
        if !self.laid_out || !catalog::has(db, &own("deliveries")).map_err(Error::database("look for deliveries"))? {
            return Ok((Vec::new(), Vec::new()));
        }
        Ok((outbox::listed(db, waiting, count)?, outbox::paused(db)?))
    }

    /// When the syncs ran, and which are paused.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn scheduled(&self) -> Result<Vec<Scheduled>, Error> {
        let db = self.warehouse.connection();
        // an older layout knows no pauses
        if !self.laid_out || !catalog::has(db, &own("paused")).map_err(Error::database("look for pauses"))? {
            return Ok(Vec::new());
        }
        schedule::known(db)
    }

    /// Every sync that ever ran here, by connection and name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn status(&self) -> Result<Vec<SyncStatus>, Error> {
        if !self.laid_out {
            return Ok(Vec::new());
        }
        let db = self.warehouse.connection();
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

    /// The rows of a table with a change number above `after`, in change order, at most `limit`, each as an object of its columns, until
    /// `each` breaks. Each row comes once, in its latest state.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], [`Error::AmbiguousTable`], or the database cannot be read.
    pub fn changes(
        &self,
        table: &str,
        after: i64,
        limit: Option<u64>,
        mut each: impl FnMut(Map<String, Value>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let table = self.table(table)?;
        // no limit at all sorts on disk where a huge one would be kept in memory
        let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        let select = format!("SELECT * FROM {table} WHERE _change > ? ORDER BY _change{limit}");
        query::stream(self.warehouse.connection(), &select, [after], |columns, values| {
            each(columns.iter().map(|column| column.name.clone()).zip(values).collect())
        })?;
        Ok(())
    }

    /// The rows of a table that a model makes, at most `limit`, each as an object of its columns; none where there is no such table. Those
    /// with a change number above `after` in the order of the changes, or without it the living ones in the order of `key`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows(
        &self,
        (schema, name): (&str, &str),
        key: &[&str],
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let table = Table::new(schema, name);
        let db = self.warehouse.connection();
        let columns = catalog::columns(db, &table).map_err(Error::database("look at a table"))?;
        let has = |name: &str| columns.iter().any(|(column, _)| column == name);
        let order = match after {
            Some(_) => vec![ident("_change")],
            None => key.iter().copied().chain(["_change"]).filter(|name| has(name)).map(ident).collect(),
        };
        if order.is_empty() || columns.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = match after {
            Some(after) => format!("_change > {after}"),
            None if has("_deleted_at") => "_deleted_at IS NULL".to_owned(),
            None => "true".to_owned(),
        };
        let select = format!("SELECT * FROM {table} WHERE {wanted} ORDER BY {} LIMIT {limit}", list(order));
        let mut rows = Vec::new();
        query::stream(db, &select, [], |columns, values| {
            rows.push(columns.iter().map(|column| column.name.clone()).zip(values).collect());
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// The living rows of a model's table that have these values in these columns, each as an object of `columns`, in the order of the key;
    /// none where the table is not there, lacks one of the columns, or has more than `rows_max` such rows. Of a row that several variants
    /// have, the one that changed last.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn find(
        &self,
        model: &ModelPlan,
        (connection, variant): (&str, Option<&str>),
        columns: &[String],
        wanted: &[(String, Value)],
        rows_max: usize,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let (db, table) = (self.warehouse.connection(), tables::table_of(model));
        let known = catalog::columns(db, &table).map_err(Error::database("look at a table"))?;
        let type_of = |name: &str| known.iter().find(|(column, _)| column == name).map(|(_, of)| of.as_str());
        let key = tables::key_names(model);
        if columns.iter().chain(&key).any(|name| type_of(name).is_none()) {
            return Ok(Vec::new());
        }
        let mut conditions = vec!["_deleted_at IS NULL".to_owned(), "_connection = ?".to_owned()];
        let mut values = vec![connection.to_owned()];
        if let Some(variant) = variant {
            conditions.push("_variant = ?".to_owned());
            values.push(variant.to_owned());
        }
        for (name, value) in wanted {
            let Some(of) = type_of(name) else { return Ok(Vec::new()) };
            conditions.push(format!("{} = TRY_CAST(? AS {of})", ident(name)));
            values.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        let names = |names: &[String]| list(names.iter().map(|name| ident(name)));
        let select = format!(
            "SELECT {} FROM {table} WHERE {} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY _change DESC) = 1 \
             ORDER BY {key} LIMIT {}",
            names(columns),
            joined(conditions, " AND "),
            rows_max.saturating_add(1),
            key = names(&key),
        );
        let mut rows = Vec::new();
        query::stream(db, &select, duckdb::params_from_iter(values), |columns, values| {
            rows.push(columns.iter().map(|column| column.name.clone()).zip(values).collect());
            ControlFlow::Continue(())
        })?;
        Ok(if rows.len() > rows_max { Vec::new() } else { rows })
    }

    /// The rows of one statement that only reads, until `each` breaks; gives the columns. Tables go by `schema.table`.
    ///
    /// # Errors
    /// [`Error::NotARead`] when it is anything else, [`Error::Query`] when DuckDB refuses it.
    pub fn query(
        &self,
        sql: &str,
        each: impl FnMut(&[ResultColumn], Vec<Value>) -> ControlFlow<()>,
    ) -> Result<Vec<ResultColumn>, Error> {
        query::check(self.warehouse.connection(), sql)?;
        query::stream(self.warehouse.connection(), sql, [], each)
    }

    /// Finds the table a person means by `table` or `schema.table`.
    fn table(&self, name: &str) -> Result<Table, Error> {
        let known = if self.laid_out { self.tables()? } else { Vec::new() };
        let means = |table: &Table| table.plain().eq_ignore_ascii_case(name) || table.name.eq_ignore_ascii_case(name);
        let mut candidates: Vec<Table> = known.iter().filter(|table| means(table)).cloned().collect();
        if let Some(exact) = candidates.iter().position(|table| table.plain().eq_ignore_ascii_case(name)) {
            return Ok(candidates.swap_remove(exact));
        }
        match candidates.len() {
            0 => Err(Error::UnknownTable { name: name.into(), known: known.iter().map(Table::plain).collect() }),
            1 => Ok(candidates.swap_remove(0)),
            _ => Err(Error::AmbiguousTable {
                name: name.into(),
                candidates: candidates.iter().map(Table::plain).collect(),
            }),
        }
    }

    fn tables(&self) -> Result<Vec<Table>, Error> {
        let select = format!("SELECT table_schema, table_name FROM {} ORDER BY ALL", own("models"));
        let read = || -> duckdb::Result<Vec<Table>> {
            let mut statement = self.warehouse.connection().prepare(&select)?;
            statement.query_map([], |row| Ok(Table { schema: row.get(0)?, name: row.get(1)? }))?.collect()
        };
        read().map_err(Error::database("read `headwater.models`"))
    }
}

/// What a run would do to the tables of `models` where there is no database yet.
///
/// # Errors
/// As [`ReadStore::plan`].
pub fn plan_without_database(models: &[Arc<ModelPlan>]) -> Result<Planned, Error> {
    tables::plan(None, false, models)
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
        id: SyncId {
            connection: row.get("connection")?,
            provider: row.get("provider")?,
            sync: row.get("sync")?,
            variant: row.get("variant")?,
        },
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

fn moment(row: &Row<'_>, column: &str) -> duckdb::Result<Option<DateTime<Utc>>> {
    let micros: Option<i64> = row.get(column)?;
    Ok(micros.and_then(DateTime::from_timestamp_micros))
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
