//! Rows that are deleted, and that nobody needs to hear of any more, are taken out of their tables.

use duckdb::{Connection, params, params_from_iter};

use super::error::Error;
use super::feed;
use super::layout::own;
use super::ledger;
use super::sql::{Table, joined};
use super::writer::Store;

/// What is pruned: deleted rows whose last change is not behind `up_to`.
#[derive(Debug, Clone)]
pub struct Prune {
    /// `schema.table`
    pub table: String,
    /// the change number up to which every reader has read
    pub up_to: i64,
    /// rows of this connection
    pub connection: Option<String>,
    /// rows of this variant
    pub variant: Option<String>,
    /// so many rows at most, the oldest changes first
    pub rows_max: usize,
}

/// What was pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// rows
    pub rows: u64,
    /// there are more
    pub more: bool,
}

impl Store {
    /// Prunes a table. A reader whose place lies before what has gone must begin again.
    ///
    /// # Errors
    /// [`Error::UnknownTable`]; [`Error::FeedEnded`] where the database has not given out that number; it cannot be written.
    pub fn prune(&mut self, prune: &Prune) -> Result<Pruned, Error> {
        self.transaction("prune the table", |db| rows(db, prune))
    }
}

fn rows(db: &Connection, prune: &Prune) -> Result<Pruned, Error> {
    let Prune { table, up_to, connection, variant, rows_max } = prune;
    let table = feed::find(db, table)?;
    if *up_to > ledger::change_counter(db)? {
        return Err(feed::not_given_out(&table));
    }
    let mut conditions = vec!["_deleted_at IS NOT NULL".to_owned(), format!("_change <= {up_to}")];
    let mut values = Vec::new();
    for (column, value) in [("_connection", connection), ("_variant", variant)] {
        if let Some(value) = value {
            conditions.push(format!("{column} = ?"));
            values.push(value.clone());
        }
    }
    let failed = || Error::database("prune the table");
    let select = format!(
        "SELECT max(_change), count(*) FROM (SELECT _change FROM {table} WHERE {} ORDER BY _change LIMIT {rows_max})",
        joined(&conditions, " AND "),
    );
    let counted = db.query_row(&select, params_from_iter(&values), |row| Ok((row.get(0)?, row.get(1)?)));
    let (last, rows): (Option<i64>, u64) = counted.map_err(failed())?;
    let Some(last) = last else { return Ok(Pruned { rows: 0, more: false }) };
    conditions[1] = format!("_change <= {last}");
    let conditions = joined(conditions, " AND ");
    note(db, &table, &conditions, &values).map_err(failed())?;
    db.execute(&format!("DELETE FROM {table} WHERE {conditions}"), params_from_iter(&values)).map_err(failed())?;
    Ok(Pruned { rows, more: rows == *rows_max as u64 })
}

/// Writes down up to where the rows go that fit `conditions`.
fn note(db: &Connection, table: &Table, conditions: &str, values: &[String]) -> duckdb::Result<()> {
    let (pruned, Table { schema, name }) = (own("pruned"), table);
    let merge = format!(
        "MERGE INTO {pruned} AS p USING (SELECT ? AS s, ? AS n, _connection, _variant, max(_change) AS up_to FROM {table} \
         WHERE {conditions} GROUP BY ALL) AS g ON p.table_schema = g.s AND p.table_name = g.n AND p.connection = g._connection \
         AND p.variant = g._variant WHEN MATCHED THEN UPDATE SET up_to = greatest(p.up_to, g.up_to) \
         WHEN NOT MATCHED THEN INSERT VALUES (g.s, g.n, g._connection, g._variant, g.up_to)"
    );
    let names = [schema, name];
    db.execute(&merge, params_from_iter(names.into_iter().chain(values))).map(drop)
}

/// The highest change number of what was pruned from a table, of the rows of a connection and a variant where these are given; 0 where
/// nothing was.
///
/// # Errors
/// DuckDB refuses.
pub fn pruned_to(
    db: &Connection,
    table: &Table,
    connection: Option<&str>,
    variant: Option<&str>,
) -> duckdb::Result<i64> {
    let select = format!(
        "SELECT coalesce(max(up_to), 0) FROM {} WHERE table_schema = ? AND table_name = ? \
         AND connection = coalesce(?, connection) AND variant = coalesce(?, variant)",
        own("pruned")
    );
    db.query_row(&select, params![table.schema, table.name, connection, variant], |row| row.get(0))
}
