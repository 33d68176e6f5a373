//! The end of a proven complete scan: rows whose key it did not see are gone.

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::error::Error;
use super::ledger::{change_counter, set_change_counter, stamp};
use super::merge::span;
use super::seen;
use super::sql::{ident, joined};
use super::stage;
use super::tables::{key_names, table_of};
use crate::plan::{Guard, ModelPlan, SyncId};

/// The temporary table of rows that are gone: `target`, `nth`.
const GONE: &str = "temp.main.headwater_gone";

/// What the end of a scan did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absence {
    /// the rows that were not seen are deleted, the seen keys forgotten, the checkpoint written
    Deleted {
        /// rows deleted
        rows: u64,
        /// the first and last change number given out
        changes: Option<(i64, i64)>,
    },
    /// the guard held it back: nothing was written, and the seen keys are kept so that a person can accept
    Guarded {
        /// rows that would be deleted
        would_delete: u64,
        /// rows that live
        live: u64,
        /// of which the first are this part
        fraction: f64,
    },
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScanEnd {
    /// which scan
    pub scan_id: u64,
    /// records it returned, valid or not
    pub records_seen: u64,
    /// what keeps a wrong answer from emptying the table
    pub guard: Guard,
    /// a person said yes: the guard does not count
    pub accept: bool,
}

/// Deletes the rows of one connection and variant that live and were not seen. Runs inside the caller's transaction.
pub fn delete_unseen(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    end: &ScanEnd,
    now: DateTime<Utc>,
) -> Result<Absence, Error> {
    seen::ensure(db, model)?;
    let live = count_live(db, model, id)?;
    let would_delete = find_unseen(db, model, id, end.scan_id)?;
    #[expect(clippy::cast_precision_loss, reason = "a fraction of rows")]
    let fraction = if live == 0 { 0.0 } else { would_delete as f64 / live as f64 };
    let guard = &end.guard;
    let too_many = live >= guard.min_rows && fraction > guard.max_fraction;
    let empty = end.records_seen == 0 && live > 0 && !guard.allow_empty;
    if !end.accept && would_delete > 0 && (too_many || empty) {
        stage::drop(db, GONE)?;
        return Ok(Absence::Guarded { would_delete, live, fraction });
    }
    let mut changes = None;
    if would_delete > 0 {
        let counter = change_counter(db)?;
        let update = format!(
            "UPDATE {} AS t SET _deleted_at = x.now, _last_modified_at = x.now, _last_action = 'DELETED', _change = x.change \
             FROM (SELECT target, nth + CAST(? AS BIGINT) AS change, CAST(? AS TIMESTAMPTZ) AS now FROM {GONE}) x \
             WHERE t.rowid = x.target",
            table_of(model)
        );
        db.execute(&update, params![counter, stamp(now)]).map_err(Error::database("mark the rows that are gone"))?;
        changes = span(counter, would_delete);
        if let Some((_, last)) = changes {
            set_change_counter(db, last)?;
        }
    }
    stage::drop(db, GONE)?;
    seen::forget(db, model, id, None)?;
    Ok(Absence::Deleted { rows: would_delete, changes })
}

fn count_live(db: &Connection, model: &ModelPlan, id: &SyncId) -> Result<u64, Error> {
    let count =
        format!("SELECT count(*) FROM {} WHERE _connection = ? AND _variant = ? AND _deleted_at IS NULL", table_of(model));
    db.query_row(&count, params![id.connection, id.variant], |row| row.get(0))
        .map_err(Error::database("count the living rows"))
}

fn find_unseen(db: &Connection, model: &ModelPlan, id: &SyncId, scan_id: u64) -> Result<u64, Error> {
    let failed = || Error::database("compare the table with the seen keys");
    let same = key_names(model).into_iter().map(|name| format!("k.{} = t.{}", seen::column(&name), ident(&name)));
    let find = format!(
        "CREATE OR REPLACE TEMP TABLE {GONE} AS SELECT t.rowid AS target, row_number() OVER () AS nth FROM {} t \
         WHERE t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM {} k WHERE {} AND {})",
        table_of(model),
        seen::table_of(model),
        seen::OF_SCAN,
        joined(same, " AND ")
    );
    db.execute(&find, params![id.connection, id.variant, id.connection, id.sync, id.variant, scan_id]).map_err(failed())?;
    db.query_row(&format!("SELECT count(*) FROM {GONE}"), [], |row| row.get(0)).map_err(failed())
}
