//! The tables of models: made once, changed as their models change, only in ways that DuckDB can replay after a crash.
//!
//! What keeps all data is done by every run; what loses some needs a person's word. [`plan`] tells both without doing anything.
//!
//! DuckDB 1.5 cannot reopen a file whose write-ahead log holds `ADD COLUMN … DEFAULT <expression>`, `SET DATA TYPE … USING` or a changed
//! STRUCT. Only plain `ADD COLUMN` and `SET DATA TYPE` are used here; what goes beyond writes the table anew.

pub(super) mod change;
mod fillers;
mod found;
mod rebuild;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};
use serde::Serialize;

use super::error::Error;
use super::layout::{self, own};
use super::ledger::stamp;
use super::seen;
use super::sql::{CATALOG, Table, ident, list, literal};
use crate::plan::{ModelPlan, SyncId};
use change::Change;
use found::{Found, Memory};

/// The columns headwater adds to every table: name, type, explanation.
pub const METADATA: [(&str, &str, &str); 8] = [
    (
        "_connection",
        "VARCHAR NOT NULL",
        "The connection whose row it is; with _variant and the key the row's identity.",
    ),
    ("_variant", "VARCHAR NOT NULL", "The variant of the sync whose row it is; empty for the only one."),
    (
        "_first_seen_at",
        "TIMESTAMPTZ NOT NULL",
        "When the row was first seen; again when it came back after a deletion.",
    ),
    (
        "_last_modified_at",
        "TIMESTAMPTZ NOT NULL",
        "When a value, or being deleted, last changed. An unchanged record does not move it.",
    ),
    ("_last_action", "VARCHAR NOT NULL", "ADDED, UPDATED or DELETED."),
    (
        "_deleted_at",
        "TIMESTAMPTZ",
        "When the row was deleted; null while it lives. A deleted row keeps its last values.",
    ),
    (
        "_change",
        "BIGINT NOT NULL",
        "Change number: strictly rising over the database in commit order. Rows with a higher number than the \
      last one you read are what changed since.",
    ),
    ("_hash", "UBIGINT NOT NULL", "Hash of the row's values without volatile columns."),
];

/// The columns headwater adds to the tables of models with `raw`: name, type, explanation. The first stands after the model's columns,
/// the other after [`METADATA`]; in a table that had none before, both stand at the end.
pub const RAW: [(&str, &str, &str); 2] = [
    ("_raw", "JSON", "The record as it came; null in rows written while the model had no `raw`."),
    ("_raw_hash", "UBIGINT", "Hash of the record as it came."),
];

/// The column that headwater adds to the tables of models that a sync with `for_each` fills: it stands at the end.
pub const PARTITION: (&str, &str, &str) = (
    "_partition",
    "VARCHAR",
    "The item of `for_each` that gave the row last: its key, or a JSON array of the keys of all levels.",
);

/// The column that headwater adds to the tables of models that a sync with `detail: { only_changed: true }` fills: it stands at the end.
pub const LISTED: (&str, &str, &str) =
    ("_listed", "UBIGINT", "Hash of the record as its list had it: while it is that, its details are not asked for.");

/// A change to a table, as `headwater.schema_changes` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaChange {
    /// `schema.table`
    pub table: String,
    /// `table_created`, `column_added`, …: the comment of `headwater.schema_changes` names all
    pub change: &'static str,
    /// the columns or types concerned
    pub detail: String,
    /// what it means for the rows, where that is not plain
    pub note: Option<String>,
}

/// What a run would do to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// `schema.table`
    pub table: String,
    /// in the order of the model's columns; none when the table is as the model says
    pub changes: Vec<PlannedChange>,
    /// the syncs that would read everything again
    pub rereads: Vec<SyncId>,
}

/// One change that a run would make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChange {
    /// `create table`, `add column`, `widen`, `restore column`, `drop column`, `change type` or `change key`
    pub action: &'static str,
    /// the columns or types concerned
    pub detail: String,
    /// values or rows would go, so it is made only if a person allows it
    pub destructive: bool,
    /// a run that is not allowed to make it fails
    pub refused: bool,
    /// what it means for the rows
    pub meaning: String,
}

/// The table of a model.
pub fn table_of(model: &ModelPlan) -> Table {
    Table::new(&model.schema, &model.table)
}

/// The view of a model's living rows, without metadata.
pub fn live_view_of(model: &ModelPlan) -> Table {
    Table::new(&model.schema, &format!("{}_live", model.table))
}

/// What [`prepare`] would do to the tables of `models`: nothing is written, and without a database everything is to be made. With
/// `laid_out` false, headwater has not been in the database.
///
/// # Errors
/// As [`distinct`]; in place of a table's plan: as [`prepare`], but for what a person can allow, which is planned.
pub fn plan(db: Option<&Connection>, laid_out: bool, models: &[Arc<ModelPlan>]) -> Result<Planned, Error> {
    Ok(distinct(models)?.into_iter().map(|model| plan_table(db, laid_out, model)).collect())
}

/// The plan of each table, or why it cannot be as the model says.
pub type Planned = Vec<Result<TablePlan, Error>>;

fn plan_table(db: Option<&Connection>, laid_out: bool, model: &ModelPlan) -> Result<TablePlan, Error> {
    check_names(model)?;
    let found = db.map_or_else(|| Ok(Found::default()), |db| Found::read(db, model, laid_out))?;
    let changes = change::compare(model, &found)?;
    let rereads = match db {
        Some(db) if laid_out && changes.iter().any(Change::needs_all_rows) => fillers::fillers(db, model)?,
        _ => Vec::new(),
    };
    let planned = |change: &Change| PlannedChange {
        action: change.action(),
        detail: change.detail(model),
        destructive: change.is_destructive(),
        refused: change.stops_a_run(),
        meaning: change.meaning(model),
    };
    Ok(TablePlan { table: table_of(model).plain(), changes: changes.iter().map(planned).collect(), rereads })
}

/// Brings the table and view of `model` in line with it. Writes nothing when they are. With `destroys`, values and rows go where the model
/// leaves no place for them; without, a column that the model no longer has is kept.
///
/// Where all rows have to be read again, the syncs that fill the table forget what they have read: in the same transaction, which is the
/// caller's. Gives what it changed, and whether it wrote at all.
///
/// # Errors
/// [`Error::SchemaConflict`] when the model cannot have this table.
pub fn prepare(
    db: &Connection,
    model: &ModelPlan,
    destroys: bool,
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<(Vec<SchemaChange>, bool), Error> {
    check_names(model)?;
    let found = Found::read(db, model, true)?;
    let changes = change::compare(model, &found)?;
    if let Some(refusal) = changes.iter().filter(|_| !destroys).find_map(|change| change.refusal(model)) {
        return Err(refusal);
    }
    let wanted = Memory::of(model, found.memory.as_ref(), &kept(&changes, destroys));
    let recorded: Vec<SchemaChange> = changes.iter().filter_map(|change| record(model, change, destroys)).collect();
    if recorded.is_empty() && found.has_view && found.memory.as_ref() == Some(&wanted) {
        return Ok((Vec::new(), false));
    }
    let failed = || Error::database("change the table");
    for statement in statements(db, model, &found, &changes, destroys)? {
        db.execute_batch(&statement).map_err(failed())?;
    }
    if changes.iter().any(Change::needs_all_rows) {
        fillers::forget(db, &fillers::fillers(db, model)?, changes.iter().any(Change::begins_anew))?;
    }
    describe(db, model).map_err(failed())?;
    wanted.write(db, model).map_err(failed())?;
    keep(db, model, &model.table, &recorded, run_id, now)?;
    Ok((recorded, true))
}

/// Notes changes to a table of `model` in `headwater.schema_changes`.
pub fn keep(
    db: &Connection,
    model: &ModelPlan,
    table: &str,
    changes: &[SchemaChange],
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    for SchemaChange { change, detail, .. } in changes {
        let insert = format!("INSERT INTO {} VALUES (CAST(? AS TIMESTAMPTZ), ?, ?, ?, ?, ?)", own("schema_changes"));
        db.execute(&insert, params![stamp(now), run_id, model.schema, table, change, detail])
            .map_err(Error::database("note the change of the table"))?;
    }
    Ok(())
}

/// The columns that the model no longer has and that stay in the table.
fn kept(changes: &[Change], destroys: bool) -> Vec<&str> {
    let dropped = changes.iter().filter(|_| !destroys).filter_map(|change| match change {
        Change::DropColumn { name, .. } => Some(name.as_str()),
        _ => None,
    });
    dropped.collect()
}

fn record(model: &ModelPlan, change: &Change, destroys: bool) -> Option<SchemaChange> {
    let table = table_of(model).plain();
    let recorded = change.recorded_as(destroys)?;
    Some(SchemaChange { table, change: recorded, detail: change.detail(model), note: change.note(model, destroys) })
}

/// The statements that make the changes to the table.
fn statements(
    db: &Connection,
    model: &ModelPlan,
    found: &Found,
    changes: &[Change],
    destroys: bool,
) -> Result<Vec<String>, Error> {
    let table = table_of(model);
    let mut statements = Vec::new();
    if changes.iter().any(Change::needs_all_rows) {
        // scans under way have seen keys of rows that are read again
        statements.push(format!("DROP TABLE IF EXISTS {}", seen::table_of(model)));
    }
    if changes.iter().any(Change::begins_anew) {
        statements.push(format!("DROP TABLE IF EXISTS {table}"));
        statements.extend(create(model));
        return Ok(statements);
    }
    if destroys && changes.iter().any(Change::is_destructive) {
        statements.extend(rebuild::statements(model, &table, found, changes));
    } else {
        statements.extend(changes.iter().filter_map(|change| alter(&table, change)));
    }
    for change in changes {
        if let Change::Widen { name, to, .. } = change {
            statements.extend(seen::widening(db, model, name, to)?);
        }
    }
    Ok(statements)
}

/// The statement that makes a change in place.
fn alter(table: &Table, change: &Change) -> Option<String> {
    match change {
        Change::AddColumn { name, column_type, .. } => {
            Some(format!("ALTER TABLE {table} ADD COLUMN {} {column_type}", ident(name)))
        }
        Change::Widen { name, to, .. } => {
            Some(format!("ALTER TABLE {table} ALTER COLUMN {} SET DATA TYPE {to}", ident(name)))
        }
        _ => None,
    }
}

/// The models without repetition.
///
/// # Errors
/// [`Error::SchemaConflict`] when two that differ make one table.
pub fn distinct(models: &[Arc<ModelPlan>]) -> Result<Vec<&ModelPlan>, Error> {
    let mut distinct: Vec<&ModelPlan> = Vec::new();
    for model in models {
        let name = |model: &ModelPlan| table_of(model).plain().to_lowercase();
        match distinct.iter().find(|known| name(known) == name(model)) {
            None => distinct.push(model),
            Some(known) if **known == **model => {}
            Some(known) => {
                return Err(conflict(
                    model,
                    format!("the models `{}` and `{}` both make it, and they differ", known.name, model.name),
                    "give one of them another `table`",
                ));
            }
        }
    }
    Ok(distinct)
}

fn create(model: &ModelPlan) -> [String; 2] {
    let columns = (0..model.columns.len()).map(|at| definition(model, at));
    let column = |(name, definition, _): &(&str, &str, &str)| format!("{name} {definition}");
    let metadata = added_columns(model).map(column);
    [
        format!("CREATE SCHEMA IF NOT EXISTS {CATALOG}.{}", ident(&model.schema)),
        format!("CREATE TABLE {} ({})", table_of(model), list(columns.chain(metadata))),
    ]
}

/// The model's column at a position, as `CREATE TABLE` takes it.
fn definition(model: &ModelPlan, at: usize) -> String {
    let column = &model.columns[at];
    let required = if model.key.contains(&at) { " NOT NULL" } else { "" };
    format!("{} {}{required}", ident(&column.name), column.column_type)
}

/// Makes the view and all comments.
fn describe(db: &Connection, model: &ModelPlan) -> duckdb::Result<()> {
    let (table, view) = (table_of(model), live_view_of(model));
    // the view names its table without the catalog: the file has another name for whoever opens it
    let mut statements = format!(
        "CREATE OR REPLACE VIEW {view} AS SELECT {} FROM {}.{} WHERE _deleted_at IS NULL;",
        list(model.columns.iter().map(|column| ident(&column.name))),
        ident(&model.schema),
        ident(&model.table),
    );
    let comment = |text: &Option<String>| text.as_deref().map_or("NULL".to_owned(), literal);
    statements += &format!("COMMENT ON TABLE {table} IS {};", comment(&model.description));
    let living = match &model.description {
        Some(description) => format!("{description} (only rows that live, without metadata)"),
        None => format!("The living rows of {}, without metadata.", table.plain()),
    };
    statements += &format!("COMMENT ON VIEW {view} IS {};", literal(&living));
    for column in &model.columns {
        for owner in [&table, &view] {
            statements +=
                &format!("COMMENT ON COLUMN {owner}.{} IS {};", ident(&column.name), comment(&column.description));
        }
    }
    for (name, _, explanation) in added_columns(model) {
        statements += &format!("COMMENT ON COLUMN {table}.{name} IS {};", literal(explanation));
    }
    db.execute_batch(&statements)
}

/// Names that would make the table ambiguous or hide DuckDB's row number.
fn check_names(model: &ModelPlan) -> Result<(), Error> {
    if model.schema.eq_ignore_ascii_case(layout::SCHEMA) {
        let hint = "name the provider differently";
        return Err(conflict(model, format!("the schema `{}` is headwater's own", layout::SCHEMA), hint));
    }
    let mut taken: HashSet<String> = METADATA.iter().map(|(name, ..)| (*name).to_owned()).collect();
    taken.insert("rowid".into());
    for column in &model.columns {
        if !taken.insert(column.name.to_lowercase()) {
            return Err(conflict(
                model,
                format!("the column name `{}` is taken", column.name),
                "DuckDB ignores case in names, and headwater's own columns and `rowid` are reserved: choose another name",
            ));
        }
    }
    Ok(())
}

/// A column that headwater adds: name, type, explanation.
pub type AddedColumn = &'static (&'static str, &'static str, &'static str);

/// The columns that a table has beside those of its model, in the order in which they stand behind them.
pub fn added_columns(model: &ModelPlan) -> impl Iterator<Item = AddedColumn> {
    let raw: &[_] = if model.raw { &RAW } else { &[] };
    raw.iter()
        .take(1)
        .chain(&METADATA)
        .chain(raw.iter().skip(1))
        .chain(model.partitioned.then_some(&PARTITION))
        .chain(model.listed.then_some(&LISTED))
}

/// Those of them that are no part of "has it changed" and are known of each record: they are staged with the keys.
pub fn beside(model: &ModelPlan) -> impl Iterator<Item = &'static str> {
    let raw = model.raw.then_some(RAW[1].0);
    raw.into_iter().chain(model.partitioned.then_some(PARTITION.0)).chain(model.listed.then_some(LISTED.0))
}

/// Those of them that not every table has.
pub fn optional_columns(model: &ModelPlan) -> impl Iterator<Item = AddedColumn> {
    added_columns(model).filter(|column| !METADATA.contains(column))
}

/// The key's column names in key order.
pub fn key_names(model: &ModelPlan) -> Vec<String> {
    model.key.iter().map(|&at| model.columns[at].name.clone()).collect()
}

fn conflict(model: &ModelPlan, detail: String, hint: &str) -> Error {
    Error::SchemaConflict { table: table_of(model).plain(), detail, hint: hint.into() }
}
