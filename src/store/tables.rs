//! The tables of models: made once, changed only in ways that keep the data and that DuckDB can replay after a crash.
//!
//! DuckDB 1.5 cannot reopen a file whose write-ahead log holds `ADD COLUMN … DEFAULT <expression>`, `SET DATA TYPE … USING` or a changed
//! STRUCT. Only plain `ADD COLUMN` and `SET DATA TYPE` are used here.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use duckdb::{Connection, OptionalExt, params};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::layout::{self, own};
use super::ledger::stamp;
use super::seen;
use super::sql::{CATALOG, Table, ident, list, literal};
use crate::plan::{ColumnType, ModelPlan};

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

/// A change to a table, as `headwater.schema_changes` keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// `schema.table`
    pub table: String,
    /// `table_created`, `column_added`, `column_widened`, `column_dropped`, `column_restored`, `history_ended`, `history_resumed`
    pub change: &'static str,
    /// the columns or types concerned
    pub detail: String,
}

/// The table of a model.
pub fn table_of(model: &ModelPlan) -> Table {
    Table::new(&model.schema, &model.table)
}

/// The view of a model's living rows, without metadata.
pub fn live_view_of(model: &ModelPlan) -> Table {
    Table::new(&model.schema, &format!("{}_live", model.table))
}

/// Brings the table and view of `model` in line with it. Writes nothing when they are.
///
/// Runs inside the caller's transaction; gives what it changed, and whether it wrote at all.
///
/// # Errors
/// [`Error::SchemaConflict`] when the model cannot have this table.
pub fn prepare(
    db: &Connection,
    model: &ModelPlan,
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<(Vec<SchemaChange>, bool), Error> {
    check_names(model)?;
    let found = Found::read(db, model)?;
    let wanted = Memory::of(model);
    let plan = match (&found.columns, &found.memory) {
        (columns, None) if columns.is_empty() => create(model),
        (_, None) => {
            return Err(conflict(
                model,
                "it exists and headwater did not make it".into(),
                "name another `table` in the model, or rename or drop the existing one",
            ));
        }
        (columns, Some(_)) if columns.is_empty() => create(model),
        (columns, Some(memory)) => change(db, model, columns, memory)?,
    };
    let current = plan.is_empty() && found.has_view && found.memory.as_ref() == Some(&wanted);
    if current {
        return Ok((Vec::new(), false));
    }
    let failed = || Error::database("change the table");
    for statement in &plan.statements {
        db.execute_batch(statement).map_err(failed())?;
    }
    describe(db, model).map_err(failed())?;
    wanted.write(db, model).map_err(failed())?;
    keep(db, model, &model.table, &plan.changes, run_id, now)?;
    Ok((plan.changes, true))
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

/// What is done to a table, and how it is told.
#[derive(Default)]
struct TablePlan {
    statements: Vec<String>,
    changes: Vec<SchemaChange>,
}

impl TablePlan {
    fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.changes.is_empty()
    }

    fn note(&mut self, model: &ModelPlan, change: &'static str, detail: String) {
        self.changes.push(SchemaChange { table: table_of(model).plain(), change, detail });
    }
}

/// A model as `headwater.models` remembers it.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    model: String,
    key: Vec<String>,
    columns: Vec<ColumnMemory>,
    description: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ColumnMemory {
    name: String,
    #[serde(rename = "type")]
    column_type: String,
    volatile: bool,
    description: Option<String>,
}

impl Memory {
    fn of(model: &ModelPlan) -> Self {
        Self {
            model: model.name.clone(),
            key: key_names(model),
            columns: model
                .columns
                .iter()
                .map(|column| ColumnMemory {
                    name: column.name.clone(),
                    column_type: column.column_type.to_string(),
                    volatile: column.volatile,
                    description: column.description.clone(),
                })
                .collect(),
            description: model.description.clone(),
        }
    }

    fn read(db: &Connection, model: &ModelPlan) -> Result<Option<Self>, Error> {
        let select = format!(
            "SELECT model, CAST(\"key\" AS VARCHAR), CAST(\"columns\" AS VARCHAR), description FROM {} \
             WHERE lower(table_schema) = lower(?) AND lower(table_name) = lower(?)",
            own("models")
        );
        let row = db
            .query_row(&select, [&model.schema, &model.table], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get(3)?))
            })
            .optional()
            .map_err(Error::database("read `headwater.models`"))?;
        let Some((name, key, columns, description)) = row else { return Ok(None) };
        let unreadable = |error: serde_json::Error| {
            conflict(
                model,
                format!("its row in `headwater.models` is not readable: {error}"),
                "restore a backup of the database",
            )
        };
        Ok(Some(Self {
            model: name,
            key: serde_json::from_str(&key).map_err(unreadable)?,
            columns: serde_json::from_str(&columns).map_err(unreadable)?,
            description,
        }))
    }

    fn write(&self, db: &Connection, model: &ModelPlan) -> duckdb::Result<()> {
        let json = "plain data with text keys";
        let (key, columns) =
            (serde_json::to_string(&self.key).expect(json), serde_json::to_string(&self.columns).expect(json));
        let models = own("models");
        let which = [&model.schema, &model.table];
        db.execute(
            &format!("DELETE FROM {models} WHERE lower(table_schema) = lower(?) AND lower(table_name) = lower(?)"),
            which,
        )?;
        db.execute(
            &format!("INSERT INTO {models} VALUES (?, ?, ?, ?, CAST(? AS JSON), CAST(? AS JSON), ?)"),
            params![model.schema, self.model, model.schema, model.table, key, columns, self.description],
        )?;
        Ok(())
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known.name.eq_ignore_ascii_case(column))
    }
}

/// What the database has of a model.
struct Found {
    /// name and DuckDB type, empty when there is no table
    columns: Vec<(String, String)>,
    has_view: bool,
    memory: Option<Memory>,
}

impl Found {
    fn read(db: &Connection, model: &ModelPlan) -> Result<Self, Error> {
        let failed = || Error::database("read the table's columns");
        let select = "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ? \
                      AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) ORDER BY column_index";
        let mut statement = db.prepare(select).map_err(failed())?;
        let columns = statement
            .query_map([CATALOG, &model.schema, &model.table], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(failed())?;
        let view = live_view_of(model);
        let count = "SELECT count(*) FROM duckdb_views() WHERE database_name = ? AND lower(schema_name) = lower(?) \
                     AND lower(view_name) = lower(?)";
        let views: i64 = db.query_row(count, [CATALOG, &view.schema, &view.name], |row| row.get(0)).map_err(failed())?;
        Ok(Self { columns, has_view: views > 0, memory: Memory::read(db, model)? })
    }
}

fn create(model: &ModelPlan) -> TablePlan {
    let key: HashSet<usize> = model.key.iter().copied().collect();
    let columns = model.columns.iter().enumerate().map(|(at, column)| {
        let required = if key.contains(&at) { " NOT NULL" } else { "" };
        format!("{} {}{required}", ident(&column.name), column.column_type)
    });
    let column = |(name, definition, _): &(&str, &str, &str)| format!("{name} {definition}");
    let raw = raw_columns(model);
    let metadata = raw.iter().take(1).chain(&METADATA).chain(raw.iter().skip(1)).map(column);
    let mut plan = TablePlan::default();
    plan.statements.push(format!("CREATE SCHEMA IF NOT EXISTS {CATALOG}.{}", ident(&model.schema)));
    plan.statements.push(format!("CREATE TABLE {} ({})", table_of(model), list(columns.chain(metadata))));
    plan.note(model, "table_created", list(model.columns.iter().map(|column| &column.name)));
    plan
}

fn change(db: &Connection, model: &ModelPlan, found: &[(String, String)], memory: &Memory) -> Result<TablePlan, Error> {
    let same = |a: &[String], b: &[String]| {
        a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| a.eq_ignore_ascii_case(b)))
    };
    let key = key_names(model);
    if !same(&key, &memory.key) {
        return Err(conflict(
            model,
            format!("its key was ({}) and is now ({})", list(&memory.key), list(&key)),
            "give the model a new `table`, or drop the table and its checkpoint to load it again",
        ));
    }
    let mut plan = TablePlan::default();
    let table = table_of(model);
    for column in &model.columns {
        let name = ident(&column.name);
        let Some((_, data_type)) = found.iter().find(|(found, _)| found.eq_ignore_ascii_case(&column.name)) else {
            plan.statements.push(format!("ALTER TABLE {table} ADD COLUMN {name} {}", column.column_type));
            plan.note(model, "column_added", format!("{} {}", column.name, column.column_type));
            continue;
        };
        if !memory.has(&column.name) {
            plan.note(model, "column_restored", column.name.clone());
        }
        let current = parse_type(data_type);
        if current.as_ref() == Some(&column.column_type) {
            continue;
        }
        if !current.is_some_and(|current| widens(&current, &column.column_type)) {
            return Err(conflict(
                model,
                format!("column `{}` is {data_type} and cannot become {} in place", column.name, column.column_type),
                "keep the type, or add a column of another name; or drop the table and its checkpoint to load it again",
            ));
        }
        plan.statements.push(format!("ALTER TABLE {table} ALTER COLUMN {name} SET DATA TYPE {}", column.column_type));
        plan.statements.extend(seen::widening(db, model, &column.name, &column.column_type)?);
        plan.note(model, "column_widened", format!("{} {data_type} to {}", column.name, column.column_type));
    }
    for (name, definition, _) in raw_columns(model) {
        if !found.iter().any(|(found, _)| found == name) {
            plan.statements.push(format!("ALTER TABLE {table} ADD COLUMN {name} {definition}"));
            plan.note(model, "column_added", format!("{name} {definition}"));
        }
    }
    for column in &memory.columns {
        if !model.columns.iter().any(|kept| kept.name.eq_ignore_ascii_case(&column.name)) {
            plan.note(model, "column_dropped", column.name.clone());
        }
    }
    Ok(plan)
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
    for (name, _, explanation) in METADATA.iter().chain(raw_columns(model)) {
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

/// The columns that `raw` adds, if the model has it.
pub fn raw_columns(model: &ModelPlan) -> &'static [(&'static str, &'static str, &'static str)] {
    if model.raw { &RAW } else { &[] }
}

/// The key's column names in key order.
pub fn key_names(model: &ModelPlan) -> Vec<String> {
    model.key.iter().map(|&at| model.columns[at].name.clone()).collect()
}

fn conflict(model: &ModelPlan, detail: String, hint: &str) -> Error {
    Error::SchemaConflict { table: table_of(model).plain(), detail, hint: hint.into() }
}

/// Reads DuckDB's spelling of a type.
pub fn parse_type(data_type: &str) -> Option<ColumnType> {
    ColumnType::parse(&data_type.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"))
}

/// Whether every value of `from` is the same value in `to`.
pub fn widens(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Bigint, Decimal, Double, Hugeint, Integer};
    match (from, to) {
        (Integer, Bigint | Hugeint | Double) | (Bigint, Hugeint) => true,
        (Decimal { precision, scale }, Decimal { precision: wider, scale: finer }) => {
            finer >= scale && wider - finer >= precision - scale
        }
        _ => false,
    }
}
