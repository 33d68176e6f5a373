//! The rows of a table in the order of their changes.
//!
//! A reader goes on behind the last change number that it has seen. What it has read before is worth nothing where rows went without a
//! deletion, which `headwater.schema_changes` tells: so each table has a generation, which is another one then, and in another database.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use duckdb::{Connection, OptionalExt};
use serde_json::{Map, Value};

use super::error::Error;
use super::layout::own;
use super::ledger::{self, stamp};
use super::sql::{Table, ident, joined, list};
use super::{catalog, prune, query};

/// Changes of a table by which rows or values go without a change in the feed.
const LOSSES: [&str; 5] = ["table_created", "column_removed", "column_retyped", "key_changed", "rows_purged"];

/// Finds the table a person means by `table` or `schema.table`.
///
/// # Errors
/// [`Error::UnknownTable`], [`Error::AmbiguousTable`], or the database cannot be read.
pub fn find(db: &Connection, name: &str) -> Result<Table, Error> {
    let known = tables(db)?;
    let means = |table: &Table| table.plain().eq_ignore_ascii_case(name) || table.name.eq_ignore_ascii_case(name);
    let mut candidates: Vec<Table> = known.iter().filter(|table| means(table)).cloned().collect();
    if let Some(exact) = candidates.iter().position(|table| table.plain().eq_ignore_ascii_case(name)) {
        return Ok(candidates.swap_remove(exact));
    }
    match candidates.len() {
        0 => Err(Error::UnknownTable { name: name.into(), known: known.iter().map(Table::plain).collect() }),
        1 => Ok(candidates.swap_remove(0)),
        _ => {
            Err(Error::AmbiguousTable { name: name.into(), candidates: candidates.iter().map(Table::plain).collect() })
        }
    }
}

/// As [`find`] where there are no tables at all.
///
/// # Errors
/// [`Error::UnknownTable`].
pub fn unknown(name: &str) -> Result<Table, Error> {
    Err(Error::UnknownTable { name: name.into(), known: Vec::new() })
}

fn tables(db: &Connection) -> Result<Vec<Table>, Error> {
    let select = format!("SELECT table_schema, table_name FROM {} ORDER BY ALL", own("models"));
    let read = || -> duckdb::Result<Vec<Table>> {
        let mut statement = db.prepare(&select)?;
        statement.query_map([], |row| Ok(Table { schema: row.get(0)?, name: row.get(1)? }))?.collect()
    };
    read().map_err(Error::database("read `headwater.models`"))
}

/// The rows with a change number above `after`, in change order, at most `limit`, each as an object of its columns, until `each` breaks.
///
/// # Errors
/// The database cannot be read.
pub fn changes(
    db: &Connection,
    table: &Table,
    after: i64,
    limit: Option<u64>,
    each: impl FnMut(Map<String, Value>) -> ControlFlow<()>,
) -> Result<(), Error> {
    stream(db, table, (after, limit), &[], &[], each)
}

/// The same of the rows of which all conditions hold.
fn stream(
    db: &Connection,
    table: &Table,
    (after, limit): (i64, Option<u64>),
    conditions: &[String],
    values: &[String],
    mut each: impl FnMut(Map<String, Value>) -> ControlFlow<()>,
) -> Result<(), Error> {
    // no limit at all sorts on disk where a huge one would be kept in memory
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    let above = format!("_change > {after}");
    let all = joined(std::iter::once(&above).chain(conditions), " AND ");
    let select = format!("SELECT * FROM {table} WHERE {all} ORDER BY _change{limit}");
    query::stream(db, &select, duckdb::params_from_iter(values), |columns, values| {
        each(columns.iter().map(|column| column.name.clone()).zip(values).collect())
    })?;
    Ok(())
}

/// A place in the feed of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// the last change number that was seen
    pub change: i64,
    /// of which generation of the table; none where that is not known
    pub generation: Option<u64>,
}

/// What a reader wants of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// `schema.table`
    pub table: String,
    /// what is behind this
    pub after: Place,
    /// so many rows at most
    pub rows_max: usize,
    /// the row by which the page has so many bytes of JSON is its last
    pub bytes_max: usize,
    /// those whose last action is one of these: `ADDED`, `UPDATED`, `DELETED`; all without any
    pub actions: Vec<&'static str>,
    /// those of this connection
    pub connection: Option<String>,
    /// those of this variant
    pub variant: Option<String>,
    /// those that changed after this
    pub modified_after: Option<DateTime<Utc>>,
    /// those with these keys: the values in the order of the key's columns
    pub ids: Option<Vec<Vec<Value>>>,
}

/// A page of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// the rows, each as a JSON object
    pub rows: Vec<String>,
    /// where the next page begins
    pub next: Place,
    /// there is more already
    pub more: bool,
}

/// Reads a page. To be called where nothing is written meanwhile.
///
/// # Errors
/// [`Error::UnknownTable`]; [`Error::FeedEnded`] where the reader must begin again; [`Error::KeyShape`]; the database cannot be read.
pub fn page(db: &Connection, wanted: &Wanted) -> Result<FeedPage, Error> {
    let table = find(db, &wanted.table)?;
    let last = ledger::change_counter(db)?;
    let generation = generation(db, &table)?;
    let Place { change: after, generation: known } = wanted.after;
    let ended = |reason: &'static str| Err(Error::FeedEnded { table: table.plain(), reason });
    if after > 0 && known.is_some_and(|known| known != generation) {
        return ended("rows have gone from it without a deletion, or it was made anew");
    }
    if after > last {
        return Err(not_given_out(&table));
    }
    let pruned_to = prune::pruned_to(db, &table, wanted.connection.as_deref(), wanted.variant.as_deref())
        .map_err(Error::database("look at what was pruned"))?;
    if after > 0 && after < pruned_to {
        return ended("deleted rows behind that place were pruned before they were read");
    }
    let (conditions, values) = conditions(db, &table, wanted)?;
    let (mut rows, mut bytes, mut seen, mut more) = (Vec::new(), 0, after, false);
    let limit = wanted.rows_max.saturating_add(1) as u64;
    stream(db, &table, (after, Some(limit)), &conditions, &values, |row| {
        if rows.len() >= wanted.rows_max || bytes >= wanted.bytes_max {
            more = true;
            return ControlFlow::Break(());
        }
        seen = row.get("_change").and_then(Value::as_i64).unwrap_or(seen);
        let row = Value::Object(row).to_string();
        bytes += row.len();
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    // of what is not wanted nothing is left behind either
    let change = if more { seen } else { last };
    Ok(FeedPage { rows, next: Place { change, generation: Some(generation) }, more })
}

/// The error of a number that nobody was given.
pub fn not_given_out(table: &Table) -> Error {
    let reason = "the database has not given out that number: it is an older copy, or a new one";
    Error::FeedEnded { table: table.plain(), reason }
}

/// What becomes another number when rows or values of the table go without a change in the feed.
fn generation(db: &Connection, table: &Table) -> Result<u64, Error> {
    let select = format!(
        "SELECT count(*), coalesce(max(epoch_us(changed_at)), 0) FROM {} \
         WHERE lower(table_schema) = lower(?) AND lower(table_name) = lower(?) AND change IN ({})",
        own("schema_changes"),
        list(LOSSES.map(|change| format!("'{change}'")))
    );
    let (losses, at): (u64, u64) = db
        .query_row(&select, [&table.schema, &table.name], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(Error::database("read `headwater.schema_changes`"))?;
    // several may be of one moment
    Ok((at << 8) | (losses & 0xff))
}

/// The where clauses of what is wanted, and the values in them.
fn conditions(db: &Connection, table: &Table, wanted: &Wanted) -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    if !wanted.actions.is_empty() {
        conditions
            .push(format!("_last_action IN ({})", list(wanted.actions.iter().map(|action| format!("'{action}'")))));
    }
    for (column, value) in [("_connection", &wanted.connection), ("_variant", &wanted.variant)] {
        if let Some(value) = value {
            conditions.push(format!("{column} = ?"));
            values.push(value.clone());
        }
    }
    if let Some(at) = wanted.modified_after {
        conditions.push("_last_modified_at > CAST(? AS TIMESTAMPTZ)".to_owned());
        values.push(stamp(at));
    }
    if let Some(ids) = &wanted.ids {
        let key = key_of(db, table)?;
        if ids.iter().any(|id| id.len() != key.len()) {
            let key = key.into_iter().map(|(name, _)| name).collect();
            return Err(Error::KeyShape { table: table.plain(), key });
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        values.extend(ids.iter().flatten().map(text));
        let names = list(key.iter().map(|(name, _)| ident(name)));
        let of_id = format!("({})", list(key.iter().map(|(_, of)| format!("TRY_CAST(? AS {of})"))));
        conditions.push(match ids.len() {
            0 => "false".to_owned(),
            many => format!("({names}) IN ({})", list(std::iter::repeat_n(of_id, many))),
        });
    }
    Ok((conditions, values))
}

/// The columns of the key of a table, and their types.
fn key_of(db: &Connection, table: &Table) -> Result<Vec<(String, String)>, Error> {
    let select = format!(
        "SELECT CAST(\"key\" AS VARCHAR) FROM {} WHERE lower(table_schema) = lower(?) AND lower(table_name) = lower(?)",
        own("models")
    );
    let failed = || Error::database("read the key of the table");
    let key: Option<String> =
        db.query_row(&select, [&table.schema, &table.name], |row| row.get(0)).optional().map_err(failed())?;
    let names: Vec<String> = key.and_then(|key| serde_json::from_str(&key).ok()).unwrap_or_default();
    let columns = catalog::columns(db, table).map_err(failed())?;
    let of = |name: String| {
        let of = columns.iter().find(|(column, _)| column.eq_ignore_ascii_case(&name)).map(|(_, of)| of.clone());
        of.map(|of| (name, of))
    };
    Ok(names.into_iter().filter_map(of).collect())
}
