//! Nested lists as tables of their own: their rows come and go with the row that they stand in.

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::error::Error;
use super::gone;
use super::merge::{self, spanned};
use super::sql::{ident, joined, list};
use super::stage::{self, KEYS, OTHER_KEYS, Staged};
use super::tables::{key_names, table_of};
use super::{history, quarantine};
use crate::plan::{ChildPlan, ModelPlan, SyncId};
use crate::record::{Batch, Children};

/// The temporary table of the keys of the rows whose nested lists have come, `k0`, `k1`, …, and `lives`: the row is there.
const PARENTS: &str = "temp.main.headwater_parents";

/// The first and last change number given out.
pub type Changes = Option<(i64, i64)>;

/// Replaces the items of the rows that are staged and merged: those that have come are merged, those that have not are deleted, and so are
/// those of rows that are gone. Items in quarantine stay as they were. Nothing that is staged is left; runs inside the caller's transaction.
///
/// # Errors
/// [`Error::Rows`] when the items do not have the shape of their tables; DuckDB refuses.
pub fn replace(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    (staged, batches): (&Staged, &mut [Batch]),
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<Changes, Error> {
    if model.children.is_empty() || staged.rows == 0 {
        return Ok(None);
    }
    stage_parents(db, model, id, staged)?;
    let mut changes = None;
    for (at, child) in model.children.iter().enumerate() {
        let mut items = Vec::with_capacity(batches.len());
        for (position, batch) in batches.iter_mut().enumerate() {
            let Some(list) = batch.children.get_mut(at).and_then(Option::take) else { continue };
            let Children { batch, owners } = list;
            // those of a row that a later one replaced are not its items any more
            let keep: Vec<bool> = owners.iter().map(|owner| staged.ord(position, *owner).is_some()).collect();
            items.push(batch.only(&keep));
        }
        changes = spanned(changes, replace_items(db, child, id, &mut items, run_id, now)?);
    }
    stage::drop(db, PARENTS)?;
    Ok(changes)
}

/// Deletes the items of rows that a commit has deleted. `changes` are the numbers that it gave out in the table of `model`.
///
/// # Errors
/// DuckDB refuses.
pub fn follow(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    changes: Changes,
    now: DateTime<Utc>,
) -> Result<Changes, Error> {
    let Some((first, last)) = changes else { return Ok(None) };
    let mut all = None;
    for child in &model.children {
        let find = format!(
            "SELECT t.rowid AS target, p._deleted_at AS gone_at FROM {} t JOIN {} p ON {} \
             AND p._connection = t._connection AND p._variant = t._variant \
             WHERE p._change BETWEEN {first} AND {last} AND p._deleted_at IS NOT NULL \
             AND t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL",
            table_of(&child.model),
            table_of(model),
            joined(same_row(child, model, "p"), " AND "),
        );
        let marked = gone::mark_found(db, &child.model, &find, params![id.connection, id.variant], now)?;
        history::follow(db, &child.model, id, marked.changes, now)?;
        all = spanned(all, marked.changes);
    }
    Ok(all)
}

/// Conditions that the item `t` stands in the row of this alias.
fn same_row<'c>(child: &'c ChildPlan, model: &'c ModelPlan, row: &'c str) -> impl Iterator<Item = String> + 'c {
    child
        .parent_key()
        .map(move |(column, at)| format!("t.{} = {row}.{}", ident(&column.name), ident(&model.columns[at].name)))
}

fn stage_parents(db: &Connection, model: &ModelPlan, id: &SyncId, staged: &Staged) -> Result<(), Error> {
    let names = key_names(model);
    let keys = staged.key.iter().enumerate().map(|(at, value)| format!("{value} AS k{at}"));
    let same = names.iter().zip(&staged.key).map(|(name, value)| format!("t.{} = {value}", ident(name)));
    let create = format!(
        "CREATE OR REPLACE TEMP TABLE {PARENTS} AS SELECT {}, EXISTS (SELECT 1 FROM {} t WHERE {} AND t._connection = ? \
         AND t._variant = ? AND t._deleted_at IS NULL) AS _lives FROM {KEYS} s",
        list(keys),
        table_of(model),
        joined(same, " AND "),
    );
    db.execute(&create, params![id.connection, id.variant])
        .map_err(Error::database("stage the rows of nested lists"))?;
    Ok(())
}

fn replace_items(
    db: &Connection,
    child: &ChildPlan,
    id: &SyncId,
    items: &mut [Batch],
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<Changes, Error> {
    let model = &child.model;
    let staged = stage::stage_keys(db, model, items)?;
    let merged = merge::merge(db, model, id, items, &staged, now)?;
    quarantine::update(db, model, id, &staged, items, run_id, now)?;
    let names = key_names(model);
    let has_come = |values: &[String], table: &str| {
        let same = names.iter().zip(values).map(|(name, value)| format!("t.{} = {value}", ident(name)));
        format!(" AND NOT EXISTS (SELECT 1 FROM {table} s WHERE {})", joined(same, " AND "))
    };
    let mut missing = "true".to_owned();
    if staged.rows > 0 {
        missing += &has_come(&staged.key, KEYS);
    }
    let held = items.iter().map(|batch| &batch.quarantined_keys).filter(|keys| keys.num_rows() > 0);
    let held = stage::stage_other_keys(db, model, &held.collect::<Vec<_>>())?;
    if !held.is_empty() {
        missing += &has_come(&held, OTHER_KEYS);
    }
    let same = child.parent_key().enumerate().map(|(at, (column, _))| format!("t.{} = p.k{at}", ident(&column.name)));
    let find = format!(
        "SELECT t.rowid AS target, CAST(NULL AS TIMESTAMPTZ) AS gone_at FROM {} t JOIN {PARENTS} p ON {} \
         WHERE t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL AND (NOT p._lives OR {missing})",
        table_of(model),
        joined(same, " AND "),
    );
    let marked = gone::mark_found(db, model, &find, params![id.connection, id.variant], now)?;
    history::follow(db, model, id, marked.changes, now)?;
    stage::drop(db, OTHER_KEYS)?;
    Ok(spanned(merged.changes, marked.changes))
}
