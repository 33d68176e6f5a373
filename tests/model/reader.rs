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

    fn attached<T>(&self, database: &Path, look: impl FnOnce() -> T) -> Option<T> {
        let path = database.to_str().expect("UTF-8");
        if !database.exists() {
            return None;
        }
        self.0.execute_batch(&format!("ATTACH '{path}' AS model (READ_ONLY)")).expect("attached");
        let seen = look();
        self.0.execute_batch("DETACH model").expect("detached");
        Some(seen)
    }

    /// The rows of each connection.
    pub fn tables(&self, database: &Path, connections: &[&str]) -> HashMap<String, Table> {
        let sql = format!(
            "SELECT _connection, id, value, epoch_us(_first_seen_at), epoch_us(_last_modified_at), _last_action, \
             _deleted_at IS NULL, _change FROM model.api.items WHERE _connection IN ({})",
            names(connections)
        );
        let has = "SELECT 1 FROM model.headwater.models";
        let mut tables: HashMap<String, Table> = HashMap::new();
        let rows = self.attached(database, || {
            if self.rows(has, |_| Ok(())).is_empty() {
                return Vec::new();
            }
            self.rows(&sql, |row| {
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
            })
        });
        for (connection, id, row) in rows.unwrap_or_default() {
            let other = tables.entry(connection.clone()).or_default().insert(id, row);
            assert!(other.is_none(), "{connection} has two rows of {id}");
        }
        tables
    }

    /// Pages committed by all runs of a sync.
    pub fn pages(&self, database: &Path, connections: &[&str]) -> HashMap<String, i64> {
        let sql = format!(
            "SELECT connection, CAST(sum(pages) AS BIGINT) FROM model.headwater.runs WHERE connection IN ({}) GROUP BY 1",
            names(connections)
        );
        let rows = self.attached(database, || self.rows(&sql, |row| Ok((row.get(0)?, row.get(1)?))));
        rows.unwrap_or_default().into_iter().collect()
    }
}

fn names(connections: &[&str]) -> String {
    connections.iter().map(|connection| format!("'{connection}'")).collect::<Vec<_>>().join(", ")
}
