//! Every version of every row (`history: true`), in `<table>_history`.
//!
//! A version is valid from the commit that wrote it to the commit that wrote the next one or deleted the row: half-open, without overlap,
//! and without a gap while the row lives. The open version, whose `valid_to` is null, is the row as it is now. While a model has
//! `history`, there is one for each living row and for no other; so a table with living rows and no open version is one whose history
//! was turned off.

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::catalog;
use super::error::Error;
use super::layout::own;
use super::ledger::stamp;
use super::sql::{Table, ident, joined, list, literal};
use super::stage;
use super::tables::change::{parse_type, widens};
use super::tables::{self, SchemaChange, key_names, table_of};
use crate::plan::{ColumnPlan, ModelPlan, SyncId};

/// The columns behind the model's: name, type, explanation.
const COLUMNS: [(&str, &str, &str); 6] = [
    (
        "_connection",
        "VARCHAR NOT NULL",
        "The connection whose row it is; with _variant and the key the row's identity.",
    ),
    ("_variant", "VARCHAR NOT NULL", "The variant of the sync whose row it is; empty for the only one."),
    ("valid_from", "TIMESTAMPTZ NOT NULL", "When the row became so: the time of the commit."),
    (
        "valid_to",
        "TIMESTAMPTZ",
        "When the next version began or the row was deleted, not included; null for what is so now.",
    ),
    ("_change", "BIGINT NOT NULL", "The change number that the row got with this version."),
    ("_action", "VARCHAR NOT NULL", "ADDED or UPDATED: what made this version."),
];

/// The temporary table of the versions that end: `target`, `until` and the key as `k0`, `k1`, ….
const ENDED: &str = "temp.main.headwater_ended";

/// The table of a model's versions.
fn history_of(model: &ModelPlan) -> Table {
    Table::new(&model.schema, &format!("{}_history", model.table))
}

/// Ends the versions of rows that a commit changed or deleted, and begins those of the rows that live. `changes` are the numbers that the
/// commit gave out in this table. Runs inside the caller's transaction, behind what wrote the rows.
pub fn follow(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    changes: Option<(i64, i64)>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let Some((first, last)) = changes.filter(|_| model.history) else { return Ok(()) };
    let failed = || Error::database("write the history");
    let (history, table, now) = (history_of(model), table_of(model), stamp(now));
    let keys = key_names(model);
    let as_parts = keys.iter().enumerate().map(|(at, name)| format!("h.{} AS k{at}", ident(name)));
    let same = keys.iter().map(|name| format!("h.{0} = t.{0}", ident(name)));
    // a row that was added has no open version: it is new, or its last one ended when it was deleted
    let end = format!(
        "CREATE OR REPLACE TEMP TABLE {ENDED} AS \
         SELECT h.rowid AS target, greatest(h.valid_from, CAST(? AS TIMESTAMPTZ)) AS until, {} \
         FROM {history} h JOIN {table} t ON {} AND h._connection = t._connection AND h._variant = t._variant \
         WHERE t._change BETWEEN ? AND ? AND t._connection = ? AND t._variant = ? AND t._last_action <> 'ADDED' AND h.valid_to IS NULL",
        list(as_parts),
        joined(same, " AND "),
    );
    db.execute(&end, params![now, first, last, id.connection, id.variant]).map_err(failed())?;
    let close = format!("UPDATE {history} AS h SET valid_to = e.until FROM {ENDED} e WHERE h.rowid = e.target");
    db.execute(&close, []).map_err(failed())?;
    let ended = keys.iter().enumerate().map(|(at, name)| format!("e.k{at} = t.{}", ident(name)));
    let begin = format!(
        "INSERT INTO {history} ({}) SELECT {}, t._connection, t._variant, coalesce(e.until, CAST(? AS TIMESTAMPTZ)), NULL, \
         t._change, t._last_action FROM {table} t LEFT JOIN {ENDED} e ON {} \
         WHERE t._change BETWEEN ? AND ? AND t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL ORDER BY t._change",
        all_columns(model),
        own_columns(model, "t"),
        joined(ended, " AND "),
    );
    db.execute(&begin, params![now, first, last, id.connection, id.variant]).map_err(failed())?;
    stage::drop(db, ENDED)
}

/// Brings the history of `model` in line with it, once the model's table is: makes it and begins it with the rows that live, widens it, or
/// ends it where the model has none any more. Writes nothing when there is nothing to do. `described` says that the model's descriptions
/// may have changed, `anew` that the table has begun without rows, so that all versions end, and `destroys` that a column whose type
/// cannot become another may lose its values.
///
/// Runs inside the caller's transaction; gives what it changed, and whether it wrote at all.
///
/// # Errors
/// [`Error::SchemaConflict`] when there is another table of that name, or one that cannot take the model's types.
pub fn prepare(
    db: &Connection,
    model: &ModelPlan,
    (described, anew, destroys): (bool, bool, bool),
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<(Vec<SchemaChange>, bool), Error> {
    let (changes, wrote) = bring_in_line(db, model, (described, anew, destroys), now)?;
    tables::keep(db, model, &history_of(model).name, &changes, run_id, now)?;
    Ok((changes, wrote))
}

fn bring_in_line(
    db: &Connection,
    model: &ModelPlan,
    (described, anew, destroys): (bool, bool, bool),
    now: DateTime<Utc>,
) -> Result<(Vec<SchemaChange>, bool), Error> {
    let found = catalog::columns(db, &history_of(model)).map_err(Error::database("read the history's columns"))?;
    let is_history = ["valid_from", "valid_to", "_change", "_action"].iter().all(|name| has(&found, name));
    let failed = || Error::database("change the history");
    let mut changes = Vec::new();
    if (!model.history || anew) && is_history && !is_a_models(db, model)? && has_open(db, model)? {
        let close = format!(
            "UPDATE {} SET valid_to = greatest(valid_from, CAST(? AS TIMESTAMPTZ)) WHERE valid_to IS NULL",
            history_of(model)
        );
        db.execute(&close, [stamp(now)]).map_err(failed())?;
        note(model, &mut changes, "history_ended", String::new());
    }
    if !model.history {
        let wrote = !changes.is_empty();
        return Ok((changes, wrote));
    }
    if found.is_empty() {
        let own = model.columns.iter().map(|column| format!("{} {}", ident(&column.name), column.column_type));
        let added = COLUMNS.iter().map(|(name, definition, _)| format!("{name} {definition}"));
        let create = format!("CREATE TABLE {} ({})", history_of(model), list(own.chain(added)));
        db.execute_batch(&create).map_err(failed())?;
        begin(db, model, "_last_modified_at")?;
        note(model, &mut changes, "table_created", list(model.columns.iter().map(|column| &column.name)));
    } else if !is_history || is_a_models(db, model)? {
        let hint = "rename or drop that table, or take `history` out of the model";
        return Err(conflict(model, "it exists and is no history that headwater made".into(), hint));
    } else {
        for column in &model.columns {
            if let Some((statement, change, detail)) = change_of(model, column, &found, destroys)? {
                db.execute_batch(&statement).map_err(failed())?;
                note(model, &mut changes, change, detail);
            }
        }
        if !has_open(db, model)? && begin(db, model, &format!("CAST({} AS TIMESTAMPTZ)", literal(&stamp(now))))? > 0 {
            note(model, &mut changes, "history_resumed", String::new());
        }
    }
    let wrote = !changes.is_empty() || described;
    if wrote {
        describe(db, model).map_err(failed())?;
    }
    Ok((changes, wrote))
}

/// What a column of the model needs of the history: the statement, and how it is told.
fn change_of(
    model: &ModelPlan,
    column: &ColumnPlan,
    found: &[(String, String)],
    destroys: bool,
) -> Result<Option<(String, &'static str, String)>, Error> {
    let (history, ColumnPlan { name, column_type, .. }) = (history_of(model), column);
    let Some((_, data_type)) = found.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
        let statement = format!("ALTER TABLE {history} ADD COLUMN {} {column_type}", ident(name));
        return Ok(Some((statement, "column_added", format!("{name} {column_type}"))));
    };
    let current = parse_type(data_type);
    if current.as_ref() == Some(column_type) {
        return Ok(None);
    }
    let fits = current.is_some_and(|current| widens(&current, column_type));
    if !fits && destroys {
        let name_in_sql = ident(name);
        let statement = format!(
            "ALTER TABLE {history} DROP COLUMN {name_in_sql}; ALTER TABLE {history} ADD COLUMN {name_in_sql} {column_type}"
        );
        return Ok(Some((statement, "column_retyped", format!("{name} {data_type} to {column_type}"))));
    }
    if !fits {
        let detail = format!("column `{name}` is {data_type} and cannot become {column_type} in place");
        return Err(conflict(
            model,
            detail,
            "rename or drop the table of the history: a new one begins with the rows of today",
        ));
    }
    let statement = format!("ALTER TABLE {history} ALTER COLUMN {} SET DATA TYPE {column_type}", ident(name));
    Ok(Some((statement, "column_widened", format!("{name} {data_type} to {column_type}"))))
}

/// Begins a version of each row that lives, valid from the time that the expression gives; gives how many.
fn begin(db: &Connection, model: &ModelPlan, from: &str) -> Result<usize, Error> {
    let insert = format!(
        "INSERT INTO {} ({}) SELECT {}, t._connection, t._variant, {from}, NULL, t._change, t._last_action FROM {} t \
         WHERE t._deleted_at IS NULL ORDER BY t._change",
        history_of(model),
        all_columns(model),
        own_columns(model, "t"),
        table_of(model),
    );
    db.execute(&insert, []).map_err(Error::database("begin the history"))
}

fn own_columns(model: &ModelPlan, alias: &str) -> String {
    list(model.columns.iter().map(|column| format!("{alias}.{}", ident(&column.name))))
}

fn all_columns(model: &ModelPlan) -> String {
    let own = model.columns.iter().map(|column| ident(&column.name));
    list(own.chain(COLUMNS.iter().map(|(name, ..)| (*name).to_owned())))
}

fn has(found: &[(String, String)], name: &str) -> bool {
    found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Whether a model of its own has the table of that name.
fn is_a_models(db: &Connection, model: &ModelPlan) -> Result<bool, Error> {
    let select = format!(
        "SELECT count(*) FROM {} WHERE lower(table_schema) = lower(?) AND lower(table_name) = lower(?)",
        own("models")
    );
    let history = history_of(model);
    let models: i64 = db
        .query_row(&select, [history.schema, history.name], |row| row.get(0))
        .map_err(Error::database("read `headwater.models`"))?;
    Ok(models > 0)
}

fn has_open(db: &Connection, model: &ModelPlan) -> Result<bool, Error> {
    let select = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE valid_to IS NULL)", history_of(model));
    db.query_row(&select, [], |row| row.get(0)).map_err(Error::database("look into the history"))
}

/// What the comment of the table says.
fn about(model: &ModelPlan) -> String {
    let table = table_of(model).plain();
    match &model.description {
        Some(description) => format!("{description} (every version of the rows of {table})"),
        None => format!("Every version of the rows of {table}."),
    }
}

fn describe(db: &Connection, model: &ModelPlan) -> duckdb::Result<()> {
    let history = history_of(model);
    let mut statements = format!("COMMENT ON TABLE {history} IS {};", literal(&about(model)));
    for ColumnPlan { name, description, .. } in &model.columns {
        let text = description.as_deref().map_or("NULL".to_owned(), literal);
        statements += &format!("COMMENT ON COLUMN {history}.{} IS {text};", ident(name));
    }
    for (name, _, explanation) in COLUMNS {
        statements += &format!("COMMENT ON COLUMN {history}.{name} IS {};", literal(explanation));
    }
    db.execute_batch(&statements)
}

fn note(model: &ModelPlan, changes: &mut Vec<SchemaChange>, change: &'static str, detail: String) {
    changes.push(SchemaChange { table: history_of(model).plain(), change, detail, note: None });
}

fn conflict(model: &ModelPlan, detail: String, hint: &str) -> Error {
    Error::SchemaConflict { table: history_of(model).plain(), detail, hint: hint.into() }
}
