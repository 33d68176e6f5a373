//! The end of a proven complete scan: rows whose key it did not see are gone.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use duckdb::{Connection, params, params_from_iter};

use super::error::Error;
use super::items::texts;
use super::ledger::{big, change_counter, set_change_counter, stamp};
use super::merge::{span, spanned};
use super::seen::{self, Seen};
use super::sql::{ident, joined, list, literal};
use super::stage;
use super::tables::{key_names, table_of};
use super::{children, gone, history};
use crate::plan::{ColumnPlan, Guard, ModelPlan, SyncId, limits};
use crate::scan::{Checkpoint, Mark, Range};

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
        /// records that the scan returned for the table
        returned: u64,
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
    /// of which so many were for each of several models, in their order
    pub of_models: Vec<u64>,
    /// it is the end of a list of ids: it says nothing of other models than the first, or of records in quarantine
    pub of_ids: bool,
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
    /// position of the column in each model, a time or a day
    pub columns: Vec<usize>,
    /// its values
    pub range: Range,
}

impl ScanEnd {
    /// What it says of the model at this place.
    #[must_use]
    pub fn of_model(&self, at: usize) -> Self {
        let column = |stretch: &Stretch| stretch.columns.get(at).copied().into_iter().collect();
        Self {
            records_seen: returned_of(at, &self.of_models, self.records_seen),
            stretch: self.stretch.as_ref().map(|all| Stretch { columns: column(all), range: all.range.clone() }),
            ..self.clone()
        }
    }
}

/// The records that a scan returned for the model at this place, where it returned so many in all.
fn returned_of(at: usize, of_models: &[u64], all: u64) -> u64 {
    of_models.get(at).copied().unwrap_or(all)
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
    if !end.accept && holds_back(&end.guard, would_delete, live, end.records_seen) {
        stage::drop(db, GONE)?;
        let (fraction, returned) = (fraction_of(would_delete, live), end.records_seen);
        return Ok(Absence::Guarded { would_delete, live, fraction, returned });
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

/// The end of the scan of one partition of many.
#[derive(Debug)]
pub struct PartitionEnd {
    /// which
    pub partition: Arc<str>,
    /// the scan for which seen keys were noted
    pub scan_id: u64,
    /// nobody wants them afterwards: no other list of the partition goes on with them
    pub forget: bool,
    /// when it began: rows that came since by another way were not to be seen by it
    pub began: DateTime<Utc>,
    /// records it returned, valid or not
    pub records_seen: u64,
    /// of which so many were for each of several models, in their order
    pub of_models: Vec<u64>,
    /// what the partition remembers where the guard holds its deletes back
    pub held: Checkpoint,
}

/// What the guard has held back of a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBack {
    /// which
    pub partition: Arc<str>,
    /// rows that would be deleted
    pub would_delete: u64,
    /// rows that live
    pub live: u64,
    /// records that its scan returned
    pub returned: u64,
    /// what the partition remembers now
    pub checkpoint: Checkpoint,
}

/// What the ends of many partitions did.
#[derive(Debug, Default)]
pub struct EndedPartitions {
    /// of each model: rows deleted, and the first and last change number given out
    pub models: Vec<(u64, Option<(i64, i64)>)>,
    /// those that the guard has held back
    pub held: Vec<HeldBack>,
}

/// The temporary table of the ends of partitions: `partition`, `scan_id`, `forget`, `began`.
const ENDS: &str = "temp.main.headwater_ends";

/// Deletes, in each of these partitions, the rows that live and were not seen by its scan: as [`delete_unseen`] does for one. Of a partition
/// that the guard holds back in one table nothing is deleted in any. Runs inside the caller's transaction.
pub fn end_partitions(
    db: &Connection,
    models: &[Arc<ModelPlan>],
    id: &SyncId,
    (ends, guard, accept): (&[PartitionEnd], &Guard, bool),
    now: DateTime<Utc>,
) -> Result<EndedPartitions, Error> {
    let mut done = EndedPartitions::default();
    if ends.is_empty() {
        return Ok(done);
    }
    let failed = || Error::database("compare the partitions with the seen keys");
    let all = ends.iter().map(|end| {
        let PartitionEnd { partition, scan_id, forget, began, .. } = end;
        serde_json::json!({ "partition": &**partition, "scan_id": scan_id, "forget": forget, "began": stamp(*began) })
    });
    let all = serde_json::Value::from_iter(all).to_string();
    let create = format!(
        "CREATE OR REPLACE TEMP TABLE {ENDS} AS SELECT partition, scan_id, forget, CAST(began AS TIMESTAMPTZ) AS began FROM (SELECT unnest(from_json({}, \
         '[{{\"partition\": \"VARCHAR\", \"scan_id\": \"UBIGINT\", \"forget\": \"BOOLEAN\", \"began\": \"VARCHAR\"}}]'), recursive := true))",
        literal(&all)
    );
    db.execute_batch(&create).map_err(failed())?;
    for (at, model) in models.iter().enumerate() {
        seen::ensure(db, model)?;
        let held = guarded_partitions(db, (at, model), id, (ends, guard, accept))?;
        for held in held {
            let delete = format!("DELETE FROM {ENDS} WHERE partition = {}", literal(&held.partition));
            db.execute_batch(&delete).map_err(failed())?;
            done.held.push(held);
        }
    }
    for model in models {
        let find = format!("SELECT target, CAST(NULL AS TIMESTAMPTZ) AS gone_at FROM ({})", unseen_of(model));
        let marked = gone::mark_found(db, model, &find, of_sync(id), now)?;
        history::follow(db, model, id, marked.changes, now)?;
        let of_items = children::follow(db, model, id, marked.changes, now)?;
        done.models.push((marked.rows, spanned(marked.changes, of_items)));
        let forget = format!(
            "DELETE FROM {} WHERE connection = ? AND sync = ? AND variant = ? AND scan_id IN (SELECT scan_id FROM {ENDS} WHERE forget)",
            seen::table_of(model)
        );
        db.execute(&forget, params![id.connection, id.sync, id.variant]).map_err(failed())?;
    }
    stage::drop(db, ENDS)?;
    Ok(done)
}

/// The parameters of [`unseen_of`].
fn of_sync(id: &SyncId) -> impl duckdb::Params {
    let SyncId { connection, variant, sync, .. } = id;
    params_from_iter([connection, variant, connection, sync, variant].map(String::clone))
}

/// The rows of the partitions in [`ENDS`] that live and were not seen: `target`, `partition`.
fn unseen_of(model: &ModelPlan) -> String {
    let same = key_names(model).into_iter().map(|name| format!("t.{} = k.{}", ident(&name), seen::column(&name)));
    format!(
        "SELECT t.rowid AS target, e.partition FROM {} t JOIN {ENDS} e ON t._partition = e.partition \
         WHERE t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL AND t._first_seen_at < e.began \
         AND NOT EXISTS (SELECT 1 FROM {} k WHERE k.connection = ? AND k.sync = ? AND k.variant = ? AND k.scan_id = e.scan_id AND {})",
        table_of(model),
        seen::table_of(model),
        joined(same, " AND ")
    )
}

/// The partitions of which more would be deleted than the guard allows.
fn guarded_partitions(
    db: &Connection,
    (at, model): (usize, &ModelPlan),
    id: &SyncId,
    (ends, guard, accept): (&[PartitionEnd], &Guard, bool),
) -> Result<Vec<HeldBack>, Error> {
    if accept {
        return Ok(Vec::new());
    }
    let failed = || Error::database("count the rows that are gone");
    let select = format!(
        "SELECT u.partition, count(*), (SELECT count(*) FROM {} t WHERE t._partition = u.partition AND t._connection = ? \
         AND t._variant = ? AND t._deleted_at IS NULL) FROM ({}) u GROUP BY u.partition",
        table_of(model),
        unseen_of(model)
    );
    let SyncId { connection, variant, sync, .. } = id;
    let values = [connection, variant, connection, variant, connection, sync, variant];
    let mut statement = db.prepare(&select).map_err(failed())?;
    let counts: Vec<(String, u64, u64)> = statement
        .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .and_then(Iterator::collect)
        .map_err(failed())?;
    let held = counts.into_iter().filter_map(|(partition, would_delete, live)| {
        let end = ends.iter().find(|end| *end.partition == *partition)?;
        let returned = returned_of(at, &end.of_models, end.records_seen);
        holds_back(guard, would_delete, live, returned).then(|| HeldBack {
            partition: partition.into(),
            would_delete,
            live,
            returned,
            checkpoint: end.held.clone(),
        })
    });
    Ok(held.collect())
}

/// Whether the guard keeps so many of the living rows from being deleted by a scan that returned so many records.
fn holds_back(guard: &Guard, would_delete: u64, live: u64, returned: u64) -> bool {
    let too_many = live >= guard.min_rows && fraction_of(would_delete, live) > guard.max_fraction;
    let empty = returned == 0 && live > 0 && !guard.allow_empty;
    would_delete > 0 && (too_many || empty)
}

#[expect(clippy::cast_precision_loss, reason = "a fraction of rows")]
fn fraction_of(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// The condition on a row `t` that a scan is about.
struct Rows(String);

impl Rows {
    fn of(model: &ModelPlan, end: &ScanEnd) -> Self {
        let mut condition = "t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL".to_owned();
        // without its column, no row is known to be of it
        condition +=
            if end.stretch.as_ref().is_some_and(|stretch| stretch.columns.is_empty()) { " AND false" } else { "" };
        let column = end.stretch.as_ref().and_then(|stretch| Some((stretch.columns.first()?, &stretch.range)));
        if let Some((column, range)) = column {
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
