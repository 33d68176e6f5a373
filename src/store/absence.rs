//! The end of a proven complete scan: rows whose key it did not see are gone.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::error::Error;
use super::items::texts;
use super::ledger::{big, change_counter, set_change_counter, stamp};
use super::merge::span;
use super::seen::{self, Seen};
use super::sql::{ident, joined, list, literal};
use super::stage;
use super::tables::{key_names, table_of};
use crate::plan::{ColumnPlan, Guard, ModelPlan, SyncId, limits};
use crate::scan::{Mark, Range};

/// The temporary table of rows that are gone: `target`, `nth`.
const GONE: &str = "temp.main.headwater_gone";

/// Keys compared at once; few in tests, so that these go through several parts.
const KEYS_AT_ONCE: u64 = if cfg!(test) { 3 } else { limits::ABSENCE_KEYS_AT_ONCE };

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
    /// some rows were not seen, and a scan that may have missed them is not enough: nothing was written, and the list is read once more
    Unconfirmed {
        /// rows that were not seen
        rows: u64,
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
#[derive(Debug, Clone, PartialEq)]
pub struct ScanEnd {
    /// the scan for which seen keys were noted
    pub scan_id: u64,
    /// when it began: rows that came since by another way were not to be seen by it
    pub began: DateTime<Utc>,
    /// records it returned, valid or not
    pub records_seen: u64,
    /// the rows it is about; none = all of the connection and variant
    pub stretch: Option<Stretch>,
    /// the partitions whose rows it is about
    pub partitions: Partitions,
    /// what keeps a wrong answer from emptying the table
    pub guard: Guard,
    /// a person said yes: the guard does not count
    pub accept: bool,
    /// rows that were not seen are looked for by another scan first
    pub confirm: bool,
    /// the seen keys that nobody wants afterwards
    pub forget: Option<Seen>,
}

/// Partitions of a fan-out, by their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitions {
    /// all, and rows that are of none
    All,
    /// all but these
    AllBut(Vec<Arc<str>>),
    /// the one that was read
    Of(Arc<str>),
    /// these, which are there no more: the guard compares with the rows of all
    Gone(Vec<Arc<str>>),
}

/// The rows of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// position of the column in the model, a time or a day
    pub column: usize,
    /// its values
    pub range: Range,
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
    let rows = Rows::of(model, end);
    let live = count_live(db, model, id, &rows)?;
    let would_delete = find_unseen(db, model, id, &rows, end, live)?;
    if would_delete > 0 && end.confirm {
        stage::drop(db, GONE)?;
        return Ok(Absence::Unconfirmed { rows: would_delete });
    }
    let live = match end.partitions {
        Partitions::Gone(_) => {
            count_live(db, model, id, &Rows::of(model, &ScanEnd { partitions: Partitions::All, ..end.clone() }))?
        }
        _ => live,
    };
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
    if let Some(forget) = end.forget {
        seen::forget(db, model, id, forget)?;
    }
    Ok(Absence::Deleted { rows: would_delete, changes })
}

/// The condition on a row `t` that a scan is about.
struct Rows(String);

impl Rows {
    fn of(model: &ModelPlan, end: &ScanEnd) -> Self {
        let mut condition = "t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL".to_owned();
        if let Some(Stretch { column, range }) = &end.stretch {
            let ColumnPlan { name, column_type, .. } = &model.columns[*column];
            let name = ident(name);
            // the marks are headwater's own spelling of times and days
            let value = |mark: &Mark| format!("CAST({} AS {column_type})", literal(&mark.to_string()));
            condition += &format!(" AND t.{name} >= {} AND t.{name} < {}", value(&range.from), value(&range.to));
        }
        match &end.partitions {
            Partitions::All => {}
            Partitions::AllBut(gone) if gone.is_empty() => {}
            Partitions::AllBut(gone) => {
                condition += &format!(" AND (t._partition IS NULL OR t._partition NOT IN {})", texts(gone));
            }
            Partitions::Of(partition) => condition += &format!(" AND t._partition = {}", literal(partition)),
            Partitions::Gone(gone) => condition += &format!(" AND t._partition IN {}", texts(gone)),
        }
        Self(condition)
    }
}

fn count_live(db: &Connection, model: &ModelPlan, id: &SyncId, Rows(rows): &Rows) -> Result<u64, Error> {
    let count = format!("SELECT count(*) FROM {} t WHERE {rows}", table_of(model));
    db.query_row(&count, params![id.connection, id.variant], |row| row.get(0))
        .map_err(Error::database("count the living rows"))
}

/// Finds the rows that live and were not seen; gives how many.
///
/// The keys are compared in parts, so that the memory for one join does not grow with the table: at 5,000,000 rows and 160 MB that
/// took half the time and two thirds of the memory of one join that spills.
fn find_unseen(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    Rows(rows): &Rows,
    end: &ScanEnd,
    live: u64,
) -> Result<u64, Error> {
    let failed = || Error::database("compare the table with the seen keys");
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {GONE} (target BIGINT, nth BIGINT)")).map_err(failed())?;
    let keys = key_names(model);
    let own: Vec<_> = keys.iter().map(|name| format!("t.{}", ident(name))).collect();
    let seen: Vec<_> = keys.iter().map(|name| format!("k.{}", seen::column(name))).collect();
    let same = own.iter().zip(&seen).map(|(own, seen)| format!("{own} = {seen}"));
    let parts = live.div_ceil(KEYS_AT_ONCE);
    let insert = format!(
        "INSERT INTO {GONE} SELECT t.rowid, row_number() OVER () + CAST(? AS BIGINT) FROM {} t \
         WHERE {rows} AND t._first_seen_at < CAST(? AS TIMESTAMPTZ) AND hash({}) % {parts} = ? \
         AND NOT EXISTS (SELECT 1 FROM {} k WHERE {} AND hash({}) % {parts} = ? AND {})",
        table_of(model),
        list(&own),
        seen::table_of(model),
        seen::OF_SCAN,
        list(&seen),
        joined(same, " AND ")
    );
    let mut found = 0;
    for part in 0..parts {
        let (began, scan_id) = (stamp(end.began), end.scan_id);
        let SyncId { connection, sync, variant, .. } = id;
        let values = params![big(found), connection, variant, began, part, connection, sync, variant, scan_id, part];
        found += db.execute(&insert, values).map_err(failed())? as u64;
    }
    Ok(found)
}
