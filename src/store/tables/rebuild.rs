//! A table written anew without what its model no longer has: made beside the old one, filled from it, put in its place.
//!
//! That is the way to lose values which DuckDB 1.5 can replay after a crash, and one pass over the rows however much changes.
//!
//! A row that loses a value gets another `_hash`. It would be left as it is otherwise when its record comes again: integers, for example,
//! hash alike in all their types, and a column that is removed and comes back would stay null where nothing else changed.

use super::super::sql::{Table, ident, joined, list};
use super::change::{Change, parse_type};
use super::found::Found;
use super::{METADATA, definition};
use crate::plan::{ColumnType, ModelPlan};

/// The statements that make all of `changes`, none of which begins the table anew, to `table`, which has the columns of `model` and perhaps
/// others.
pub fn statements(model: &ModelPlan, table: &Table, found: &Found, changes: &[Change]) -> Vec<String> {
    // no model's table can have that name
    let fresh = Table::new(&table.schema, &format!("{}.rebuilt", table.name));
    let mut definitions = Vec::new();
    let (mut names, mut values, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let is = |name: &str, column: &str| name.eq_ignore_ascii_case(column);
    for (column, data_type) in &found.columns {
        let quoted = ident(column);
        let change = changes.iter().find(|change| match change {
            Change::DropColumn { name, .. } | Change::Retype { name, .. } | Change::Widen { name, .. } => {
                is(name, column)
            }
            _ => false,
        });
        if change.is_some_and(Change::is_destructive) {
            lost.push(format!("{quoted} IS NOT NULL"));
        }
        let value = match change {
            Some(Change::DropColumn { .. }) => continue,
            Some(Change::Retype { from, to, .. }) => converted(&quoted, from, to),
            Some(Change::Widen { to, .. }) => format!("CAST({quoted} AS {to})"),
            _ => quoted.clone(),
        };
        let metadata = METADATA.iter().find(|(name, ..)| is(name, column));
        let own = model.columns.iter().position(|own| is(&own.name, column));
        definitions.push(match (metadata, own) {
            (Some((name, constrained, _)), _) => format!("{name} {constrained}"),
            (None, Some(at)) => definition(model, at),
            (None, None) => format!("{quoted} {data_type}"),
        });
        names.push(quoted);
        values.push(value);
    }
    // behind the loop, because it asks for all columns
    if let Some(at) = names.iter().position(|name| name == "\"_hash\"") {
        values[at] = format!("CASE WHEN {} THEN hash(_hash) ELSE _hash END", joined(&lost, " OR "));
    }
    definitions.extend(changes.iter().filter_map(|change| match change {
        Change::AddColumn { name, column_type, .. } => Some(format!("{} {column_type}", ident(name))),
        _ => None,
    }));
    vec![
        format!("CREATE TABLE {fresh} ({})", list(definitions)),
        format!("INSERT INTO {fresh} ({}) SELECT {} FROM {table}", list(names), list(values)),
        format!("DROP TABLE {table}"),
        format!("ALTER TABLE {fresh} RENAME TO {}", ident(&table.name)),
    ]
}

/// The value of a column in another type where it is the same value there, and null elsewhere.
fn converted(column: &str, from: &str, to: &ColumnType) -> String {
    if !parse_type(from).is_some_and(|from| converts(&from, to)) {
        return format!("CAST(NULL AS {to})");
    }
    let there = format!("TRY_CAST({column} AS {to})");
    format!("CASE WHEN TRY_CAST({there} AS {from}) IS NOT DISTINCT FROM {column} THEN {there} END")
}

/// Whether DuckDB's cast means what a reader would expect, needs no extension, and is undone by the cast back. Times with and without a
/// zone, JSON, lists and bytes are not among these.
fn converts(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Bigint, Boolean, Date, Decimal, Double, Hugeint, Integer, Uuid, Varchar};
    let number = |it: &ColumnType| matches!(it, Integer | Bigint | Hugeint | Double | Decimal { .. });
    let plain = |it: &ColumnType| number(it) || matches!(it, Boolean | Date | Uuid);
    match (from, to) {
        (Varchar, other) | (other, Varchar) => plain(other),
        (from, to) => number(from) && number(to),
    }
}
