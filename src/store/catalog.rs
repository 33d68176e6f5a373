//! What the warehouse file has of one table, asked of that table alone.
//!
//! `duckdb_tables()` and `duckdb_columns()` look at all tables of the file whatever the condition is: with 100 tables of 20 columns they took
//! 1.3 and 3.8 ms, and what is here 0.04 and 0.2 ms, however many there are. A run asks several times for each of its syncs.

use duckdb::Connection;

use super::error::first_line;
use super::sql::Table;

/// Name and DuckDB type of the columns of a table or view; none when there is none of that name. DuckDB ignores case in names.
///
/// # Errors
/// DuckDB cannot read the file.
pub fn columns(db: &Connection, table: &Table) -> duckdb::Result<Vec<(String, String)>> {
    if !has(db, table)? {
        return Ok(Vec::new());
    }
    let mut statement = db.prepare(&format!("SELECT column_name, column_type FROM (DESCRIBE {table})"))?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Whether there is a table or view of that name. DuckDB ignores case in names.
///
/// # Errors
/// DuckDB cannot read the file.
pub fn has(db: &Connection, table: &Table) -> duckdb::Result<bool> {
    match db.prepare(&format!("SELECT 1 FROM {table}")) {
        Ok(_) => Ok(true),
        // nothing was executed, so a transaction goes on as if it had not been asked
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &duckdb::Error) -> bool {
    let message = first_line(error);
    message.starts_with("Catalog Error: Table with name") && message.contains(" does not exist")
}
