//! Looking into the database: how the syncs are, what changed, and any question in SQL.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::catalog;
use super::error::Error;
use super::feed;
use super::file::{Access, WaitObserver, Warehouse};
use super::items::{self, ItemRow};
use super::layout::{self, own};
use super::ledger;
use super::outbox::{self, Notification};
use super::query::{self, ResultColumn};
use super::schedule::{self, Scheduled};
use super::sql::{CATALOG, Table, ident, joined, list};
use super::status::{self, SyncStatus};
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
        status::all(self.warehouse.connection())
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
        each: impl FnMut(Map<String, Value>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let table = if self.laid_out { feed::find(self.warehouse.connection(), table)? } else { feed::unknown(table)? };
        feed::changes(self.warehouse.connection(), &table, after, limit, each)
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
}

/// What a run would do to the tables of `models` where there is no database yet.
///
/// # Errors
/// As [`ReadStore::plan`].
pub fn plan_without_database(models: &[Arc<ModelPlan>]) -> Result<Planned, Error> {
    tables::plan(None, false, models)
}
