//! Statements written by people: one at a time, reading only, their rows streamed.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use arrow::array::Array;
use duckdb::{Connection, Params};
use serde_json::Value;

use super::error::Error;
use super::sql::CATALOG;
use super::values::{Kind, kind_of, value};
use super::writer::Store;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// its name
    pub name: String,
    /// its type in DuckDB's spelling
    pub type_name: String,
}

/// Table functions that look at nothing outside the database. All others are refused: some read files, some change how DuckDB logs, and one
/// that only opens the warehouse file again would end this process's lock on it.
const TABLE_FUNCTIONS: [&str; 32] = [
    "duckdb_columns",
    "duckdb_constraints",
    "duckdb_databases",
    "duckdb_dependencies",
    "duckdb_extensions",
    "duckdb_functions",
    "duckdb_indexes",
    "duckdb_keywords",
    "duckdb_memory",
    "duckdb_optimizers",
    "duckdb_schemas",
    "duckdb_sequences",
    "duckdb_settings",
    "duckdb_tables",
    "duckdb_temporary_files",
    "duckdb_types",
    "duckdb_variables",
    "duckdb_views",
    "generate_series",
    "json_each",
    "json_tree",
    "pragma_database_size",
    "pragma_show",
    "pragma_storage_info",
    "pragma_table_info",
    "pragma_version",
    "range",
    "repeat",
    "repeat_row",
    "summary",
    "unnest",
    "generate_subscripts",
];

impl Store {
    /// The rows of one statement that only reads, until `each` breaks; gives the columns. Nothing else is done with the database meanwhile.
    ///
    /// # Errors
    /// [`Error::NotARead`] when it is anything else, [`Error::Query`] when DuckDB refuses it or it takes longer than `wait_max`.
    pub fn query(
        &mut self,
        sql: &str,
        wait_max: Duration,
        each: impl FnMut(&[ResultColumn], Vec<Value>) -> ControlFlow<()>,
    ) -> Result<Vec<ResultColumn>, Error> {
        let db = self.attached()?;
        check(db, sql)?;
        // tables go by `schema.table`
        db.execute_batch(&format!("USE {CATALOG}; BEGIN TRANSACTION READ ONLY"))
            .map_err(Error::database("begin to read"))?;
        let (interrupt, (ended, is_ended)) = (db.interrupt_handle(), mpsc::sync_channel::<()>(0));
        let watch = std::thread::spawn(move || {
            let is_late = is_ended.recv_timeout(wait_max) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                interrupt.interrupt();
            }
            is_late
        });
        let read = stream(db, sql, [], each);
        drop(ended);
        let is_late = watch.join().unwrap_or(false);
        // what is used cannot be let go of
        let closed = db.execute_batch("ROLLBACK; USE memory").map_err(Error::database("end reading"));
        if is_late && read.is_err() {
            return Err(Error::Query { message: format!("it was stopped after {} seconds", wait_max.as_secs()) });
        }
        closed.and(read)
    }
}

/// Refuses what is not one statement that only reads, by DuckDB's own parse of it.
///
/// # Errors
/// [`Error::NotARead`], or [`Error::Query`] when DuckDB cannot parse it.
pub fn check(db: &Connection, sql: &str) -> Result<(), Error> {
    let parsed: String = db
        .query_row("SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [sql], |row| row.get(0))
        .map_err(|error| Error::Query { message: error.to_string() })?;
    let refuse = |reason: &str| Err(Error::NotARead { reason: reason.into() });
    let Ok(parsed) = serde_json::from_str::<Value>(&parsed) else {
        return refuse("the statement is nested too deeply to be checked");
    };
    if parsed["error"] == Value::Bool(true) {
        let message = parsed["error_message"].as_str().unwrap_or_default();
        return match parsed["error_type"].as_str() {
            Some("not implemented") => refuse("this is not a statement that only reads"),
            _ => Err(Error::Query { message: message.to_owned() }),
        };
    }
    match parsed["statements"].as_array().map_or(0, Vec::len) {
        0 => return refuse("there is no statement"),
        1 => {}
        _ => return refuse("there is more than one statement"),
    }
    if let Some(outside) = reaches_outside(&parsed["statements"]) {
        return refuse(&format!("`{outside}` is not a table of this database"));
    }
    Ok(())
}

/// The first table function or file name in a parsed statement that reaches beyond the database.
fn reaches_outside(parsed: &Value) -> Option<String> {
    match parsed {
        Value::Object(node) => {
            let text = |member: &str| node.get(member).and_then(Value::as_str).unwrap_or_default();
            let outside = match text("type") {
                "TABLE_FUNCTION" => {
                    let name = node.get("function").and_then(|function| function["function_name"].as_str());
                    let name = name.unwrap_or_default();
                    (!TABLE_FUNCTIONS.contains(&name.to_lowercase().as_str())).then(|| name.to_owned())
                }
                // DuckDB reads a name that is no table as a file, and the database's own file is always readable
                "BASE_TABLE" if text("schema_name").is_empty() => {
                    let name = text("table_name");
                    name.contains(['.', '/', '\\', ':']).then(|| name.to_owned())
                }
                _ => None,
            };
            outside.or_else(|| node.values().find_map(reaches_outside))
        }
        Value::Array(items) => items.iter().find_map(reaches_outside),
        _ => None,
    }
}

/// Runs a statement and hands on its rows as they come, until `each` breaks.
///
/// # Errors
/// [`Error::Query`] with DuckDB's words.
pub fn stream<P: Params>(
    db: &Connection,
    sql: &str,
    parameters: P,
    mut each: impl FnMut(&[ResultColumn], Vec<Value>) -> ControlFlow<()>,
) -> Result<Vec<ResultColumn>, Error> {
    let failed = |error: duckdb::Error| Error::Query { message: error.to_string() };
    let mut statement = db.prepare(sql).map_err(failed)?;
    // the iterator itself panics where `step` gives an error
    drop(statement.stream_arrow(parameters).map_err(failed)?);
    let (columns, kinds): (Vec<ResultColumn>, Vec<Kind>) = statement
        .column_names()
        .into_iter()
        .enumerate()
        .map(|(at, name)| {
            let (kind, type_name) = kind_of(&statement.column_logical_type(at));
            (ResultColumn { name, type_name }, kind)
        })
        .unzip();
    while let Some(rows) = statement.step().map_err(failed)? {
        for row in 0..rows.len() {
            let values = rows.columns().iter().zip(&kinds).map(|(column, kind)| value(column, row, kind)).collect();
            if each(&columns, values).is_break() {
                return Ok(columns);
            }
        }
    }
    Ok(columns)
}
