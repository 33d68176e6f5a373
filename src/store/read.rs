//! Looking into the database: how the syncs are, what changed, and any question in SQL.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use duckdb::Connection;
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
use super::sql::{CATALOG, Table, ident, list};
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

    /// DuckDB.
    pub(super) fn connection(&self) -> &Connection {
        self.warehouse.connection()
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
