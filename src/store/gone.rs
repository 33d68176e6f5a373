//! Rows that a list of deletions names.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono::{DateTime, Utc};
use duckdb::{Connection, Params, params};

use super::error::Error;
use super::ledger::{change_counter, set_change_counter, stamp};
use super::merge::{span, spanned};
use super::sql::{ident, joined};
use super::stage;
use super::tables::{key_names, table_of};
use crate::plan::{ModelPlan, SyncId};

/// Entries of one page of a list of deletions.
#[derive(Debug)]
pub struct Gone {
    /// the model's key columns, in key order
    pub keys: RecordBatch,
    /// per entry, since when the row is gone, in microseconds since 1970 UTC; none = since the commit
    pub at: Vec<Option<i64>>,
    /// only rows that were first seen before: later ones have come back after an entry that is read again
    pub before: Option<DateTime<Utc>>,
    /// position of the column that says when the record changed last: a row that changed after its entry has come back
    pub mark: Option<usize>,
}

/// What was marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marked {
    /// rows
    pub rows: u64,
    /// the first and last change number given out
    pub changes: Option<(i64, i64)>,
}

/// The temporary table of rows to mark: `target`, `gone_at`, `change`.
const TARGETS: &str = "temp.main.headwater_gone_targets";

/// Marks living rows as deleted. A key without a row, and one of a row that is deleted already, mean nothing. Runs inside the caller's
/// transaction.
pub fn mark(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    gone: &[Gone],
    now: DateTime<Utc>,
) -> Result<Marked, Error> {
    let mut marked = Marked::default();
    for page in gone.iter().filter(|page| page.keys.num_rows() > 0) {
        let of_page = mark_page(db, model, id, page, now)?;
        marked.rows += of_page.rows;
        marked.changes = spanned(marked.changes, of_page.changes);
    }
    Ok(marked)
}

fn mark_page(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    page: &Gone,
    now: DateTime<Utc>,
) -> Result<Marked, Error> {
    let (keys, gone_at) = stage::stage_gone(db, model, &timed(page))?;
    let names = key_names(model);
    let same = names.iter().zip(&keys).map(|(name, value)| format!("t.{} = {value}", ident(name)));
    let before = page.before.map(stamp);
    let newer = page.mark.map_or(String::new(), |at| {
        let mark = ident(&model.columns[at].name);
        format!("AND coalesce(t.{mark} <= {gone_at}, true)")
    });
    let find = format!(
        "SELECT t.rowid AS target, max({gone_at}) AS gone_at FROM {} t JOIN {} s ON {} \
         WHERE t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL \
         AND t._first_seen_at < coalesce(CAST(? AS TIMESTAMPTZ), 'infinity') {newer} GROUP BY t.rowid",
        table_of(model),
        stage::OTHER_KEYS,
        joined(same, " AND "),
    );
    let marked = mark_found(db, model, &find, params![id.connection, id.variant, before], now)?;
    stage::drop(db, stage::OTHER_KEYS)?;
    Ok(marked)
}

/// Marks the living rows as deleted that a `SELECT` finds: `target` is the row's number, `gone_at` since when it is gone, null for now.
/// Runs inside the caller's transaction.
///
/// # Errors
/// DuckDB refuses.
pub fn mark_found(
    db: &Connection,
    model: &ModelPlan,
    find: &str,
    values: impl Params,
    now: DateTime<Utc>,
) -> Result<Marked, Error> {
    let failed = || Error::database("mark rows as deleted");
    let counter = change_counter(db)?;
    let create = format!(
        "CREATE OR REPLACE TEMP TABLE {TARGETS} AS \
         SELECT target, gone_at, {counter} + row_number() OVER (ORDER BY target) AS change FROM ({find})"
    );
    db.execute(&create, values).map_err(failed())?;
    let update = format!(
        "UPDATE {} AS t SET _deleted_at = coalesce(x.gone_at, x.now), _last_modified_at = x.now, \
         _last_action = 'DELETED', _change = x.change \
         FROM (SELECT target, gone_at, change, CAST(? AS TIMESTAMPTZ) AS now FROM {TARGETS}) x WHERE t.rowid = x.target",
        table_of(model)
    );
    let rows = db.execute(&update, params![stamp(now)]).map_err(failed())? as u64;
    stage::drop(db, TARGETS)?;
    let changes = span(counter, rows);
    if let Some((_, last)) = changes {
        set_change_counter(db, last)?;
    }
    Ok(Marked { rows, changes })
}

/// The keys with one column more, the time.
fn timed(page: &Gone) -> RecordBatch {
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let at: TimestampMicrosecondArray = page.at.iter().copied().collect();
    let mut fields: Vec<_> = page.keys.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_gone_at", moment, true)));
    let mut arrays: Vec<ArrayRef> = page.keys.columns().to_vec();
    arrays.push(Arc::new(at.with_timezone("UTC")));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a time for each key")
}
