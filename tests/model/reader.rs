//! Looks into the database file between two runs, without headwater.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::Path;

use super::laws::{Row, Table};

/// A DuckDB in memory, to which the file is attached while it is looked into.
pub struct Reader(duckdb::Connection);

impl Reader {
    pub fn new() -> Self {
        Self(duckdb::Connection::open_in_memory().expect("DuckDB"))
    }

    /// After a crash the store's thread still ends its job: until then the lock is held.
    pub fn wait(database: &Path) {
        let mut lock = OsString::from(database);
        lock.push(".lock");
        // a crash before anything was begun left no file
        if let Ok(file) = OpenOptions::new().write(true).open(lock) {
            file.lock().expect("the lock");
        }
    }

    fn rows<T>(&self, sql: &str, read: impl Fn(&duckdb::Row<'_>) -> duckdb::Result<T>) -> Vec<T> {
        let mut statement = self.0.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| read(row)).expect("rows");
        rows.collect::<Result<_, _>>().expect("a row")
    }

    /// Makes an empty database in blocks of the smallest size: DuckDB fills a block for each column that gets a row or is written anew, which
    /// at the size that it takes otherwise is much of the time of a commit of few rows.
    pub fn create(&self, database: &Path) {
        let path = database.to_str().expect("UTF-8");
        let create = format!("ATTACH '{path}' AS model (BLOCK_SIZE 16384); DETACH model");
        self.0.execute_batch(&create).expect("a database");
    }

    /// The rows of each connection, and the pages committed by all runs of its sync.
    pub fn look(&self, database: &Path, connections: &[&str]) -> (HashMap<String, Table>, HashMap<String, i64>) {
        let path = database.to_str().expect("UTF-8");
        if !database.exists() {
            return Default::default();
        }
        self.0.execute_batch(&format!("ATTACH '{path}' AS model (READ_ONLY)")).expect("attached");
        let names = connections.iter().map(|connection| format!("'{connection}'")).collect::<Vec<_>>().join(", ");
        let seen = (self.tables(&names), self.pages(&names));
        self.0.execute_batch("DETACH model").expect("detached");
        seen
    }

    fn has(&self, table: &str) -> bool {
        self.0.prepare(&format!("SELECT 1 FROM model.{table}")).is_ok()
    }

    fn tables(&self, names: &str) -> HashMap<String, Table> {
        let mut tables: HashMap<String, Table> = HashMap::new();
        if !self.has("api.items") {
            return tables;
        }
        let sql = format!(
            "SELECT _connection, id, value, epoch_us(_first_seen_at), epoch_us(_last_modified_at), _last_action, \
             _deleted_at IS NULL, _change FROM model.api.items WHERE _connection IN ({names})"
        );
        let rows = self.rows(&sql, |row| {
            let (connection, id): (String, i64) = (row.get(0)?, row.get(1)?);
            Ok((
                connection,
                id,
                Row {
                    value: row.get(2)?,
                    first_seen_at: row.get(3)?,
                    last_modified_at: row.get(4)?,
                    action: row.get(5)?,
                    is_live: row.get(6)?,
                    change: row.get(7)?,
                },
            ))
        });
        for (connection, id, row) in rows {
            let other = tables.entry(connection.clone()).or_default().insert(id, row);
            assert!(other.is_none(), "{connection} has two rows of {id}");
        }
        tables
    }

    fn pages(&self, names: &str) -> HashMap<String, i64> {
        if !self.has("headwater.runs") {
            return HashMap::new();
        }
        let sql = format!(
            "SELECT connection, CAST(sum(pages) AS BIGINT) FROM model.headwater.runs WHERE connection IN ({names}) GROUP BY 1"
        );
        self.rows(&sql, |row| Ok((row.get(0)?, row.get(1)?))).into_iter().collect()
    }
}
