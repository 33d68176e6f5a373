//! Staged rows into their table: what is new, changed, gone, back or as it was.
//!
//! **Narrow first.** The group's keys and hashes are staged and joined with the key, `_hash`, `_deleted_at`, `_first_seen_at` and row
//! number of the target. Only what that finds to be new or changed is staged in full. So a record which is as it was costs no more: it is
//! not written, and nothing of it moves. That holds for volatile columns too: they are stored when something else of the row changes, so a
//! volatile value may be older than the last run.
//!
//! **A group of new rows** goes straight into the table ([`super::append`]); only where some have a row already are they staged.
//!
//! **Changed rows are deleted and inserted**, deleted ones get their metadata updated. Measured with DuckDB 1.5.5 into 1,000,000 rows of
//! 12 columns, write + commit + checkpoint: 1,000 changed rows took 96 ms this way, 668 ms with `UPDATE … FROM` by row number and 559 ms
//! with `MERGE`, which rewrite every touched column segment; 10,000 rows 258 against 1,130 and 1,079 ms. The file grows more in between (up
//! to 100 MB instead of 14 MB over 60 commits of 10,000 rows into 173 MB) until DuckDB merges the row groups that became sparse. As a
//! benefit the changed rows stand together at the end, where `_change > n` finds them by their zone maps. A deletion keeps the row's values:
//! updating four columns took 83 ms for 1,000 rows, copying whole rows 338 ms.
//!
//! **The record as it came** (`raw`), as its list had it, and the partition that gave it are no part of "has it changed". Where one is another and the row is as
//! it was, the row is written again with it and with all else as it was, its change number too.

use std::collections::HashSet;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::append::append_new;
use super::error::Error;
use super::history;
use super::ledger::{Counts, change_counter, set_change_counter, stamp};
use super::sql::{ident, joined, list};
use super::stage::{self, KEYS, ROWS, Staged};
use super::tables::{added_columns, beside, key_names, table_of};
use crate::plan::{ModelPlan, SyncId};
use crate::record::Batch;

/// The temporary table of what changes: `_ord`, `_hash`, `_gone_at`, what [`beside`] says, `target`, `first_seen_at`, `what`, `change`.
const DELTA: &str = "temp.main.headwater_delta";

/// What a merge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// new rows, and deleted ones that came back
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows that are gone, and rows that arrived already deleted
    pub deleted: u64,
    /// rows that are as they were
    pub unchanged: u64,
    /// the first and last change number given out
    pub changes: Option<(i64, i64)>,
}

/// Merges a group whose keys are staged into the model's table, for one connection and variant. Runs inside the caller's transaction.
/// The batches keep everything but their rows.
pub fn merge(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    batches: &mut [Batch],
    staged: &Staged,
    now: DateTime<Utc>,
) -> Result<Merged, Error> {
    if staged.rows == 0 {
        return Ok(Merged::default());
    }
    let counter = change_counter(db)?;
    let into = Into { db, model, id, staged, counter, now: stamp(now), at: now, kept: false };
    if model.partitioned && batches.iter().any(|batch| batch.partition.is_none() && batch.rows.num_rows() > 0) {
        into.keep_partitions()?;
    }
    let merged = if into.has_rows()? { into.merge_into_existing(batches)?.0 } else { into.insert_all(batches)? };
    finish(&into, merged, now)
}

/// Merges rows whose records stand in the table itself (`raw`): a row that lives and still has the record gets the values that were mapped
/// from it. No row comes, goes, or comes back. Gives also how many of the staged rows were found so.
pub fn remap(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    batches: &mut [Batch],
    staged: &Staged,
    now: DateTime<Utc>,
) -> Result<(Merged, u64), Error> {
    if staged.rows == 0 {
        return Ok((Merged::default(), 0));
    }
    let counter = change_counter(db)?;
    let into = Into { db, model, id, staged, counter, now: stamp(now), at: now, kept: true };
    let (merged, found) = into.merge_into_existing(batches)?;
    Ok((finish(&into, merged, now)?, found))
}

/// The `_ord` of staged rows that [`merge`] would write now. Reads, and writes nothing.
pub fn to_write(db: &Connection, model: &ModelPlan, id: &SyncId, staged: &Staged) -> Result<HashSet<i64>, Error> {
    let failed = || Error::database("compare the rows with the table");
    let select = format!(
        "SELECT s._ord FROM {KEYS} s LEFT JOIN {} t ON {} AND t._connection = ? AND t._variant = ? WHERE {}",
        table_of(model),
        same_key(model, staged),
        changes(model),
    );
    let mut select = db.prepare(&select).map_err(failed())?;
    let found = select.query_arrow(params![id.connection, id.variant]).map_err(failed())?;
    Ok(found.flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect())
}

/// Takes staged rows out whose records are older than the table's; gives how many.
pub fn leave_out_older(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    (batches, staged): (&[Batch], &mut Staged),
    newest: Option<Newest>,
) -> Result<u64, Error> {
    let came = staged.rows;
    if let Some(newest) = newest {
        let older = older(db, model, id, staged, newest)?;
        staged.leave_out(db, batches, &older)?;
    }
    Ok(came - staged.rows)
}

/// The `_ord` of staged rows whose records are older than the table's. A row that is deleted counts where `of_events`: what an event brings
/// of it is news only if it is newer than what was deleted, while a list has the record again, whatever its age.
fn older(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    staged: &Staged,
    Newest { column, of_events }: Newest,
) -> Result<HashSet<i64>, Error> {
    let Some(mark) = staged.mark.as_ref().filter(|_| staged.rows > 0) else { return Ok(HashSet::new()) };
    let own = format!("t.{}", ident(&model.columns[column].name));
    let dead = if of_events { format!("OR t._deleted_at IS NOT NULL AND {own} >= {mark}") } else { String::new() };
    let select = format!(
        "SELECT s._ord FROM {KEYS} s JOIN {} t ON {} WHERE t._connection = ? AND t._variant = ? \
         AND (t._deleted_at IS NULL AND {own} > {mark} {dead})",
        table_of(model),
        same_key(model, staged),
    );
    let read = || -> duckdb::Result<HashSet<i64>> {
        db.prepare(&select)?.query_map(params![id.connection, id.variant], |row| row.get(0))?.collect()
    };
    read().map_err(Error::database("look for newer rows"))
}

/// What says that a row of the table is newer than one that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// the position of the column that says when the record changed
    pub column: usize,
    /// the rows come from events
    pub of_events: bool,
}

fn finish(into: &Into<'_>, merged: Merged, now: DateTime<Utc>) -> Result<Merged, Error> {
    stage::drop(into.db, ROWS)?;
    if let Some((_, last)) = merged.changes {
        set_change_counter(into.db, last)?;
    }
    history::follow(into.db, into.model, into.id, merged.changes, now)?;
    Ok(merged)
}

/// One merge: where the rows go, and what all of them get.
struct Into<'a> {
    db: &'a Connection,
    model: &'a ModelPlan,
    id: &'a SyncId,
    staged: &'a Staged,
    /// the last change number given out before
    counter: i64,
    /// the time of the commit, as SQL reads it
    now: String,
    /// the time of the commit
    at: DateTime<Utc>,
    /// the records come from the table itself
    kept: bool,
}

impl Into<'_> {
    /// Whether the table has rows of the connection and variant.
    fn has_rows(&self) -> Result<bool, Error> {
        let exists =
            format!("SELECT EXISTS (SELECT 1 FROM {} WHERE _connection = ? AND _variant = ?)", table_of(self.model));
        self.db
            .query_row(&exists, params![self.id.connection, self.id.variant], |row| row.get(0))
            .map_err(Error::database("look for rows of the connection"))
    }

    /// Rows that do not say of which partition they are stay in theirs.
    fn keep_partitions(&self) -> Result<(), Error> {
        let update = format!(
            "UPDATE {KEYS} AS s SET _partition = t._partition FROM {} t \
             WHERE s._partition IS NULL AND {} AND t._connection = ? AND t._variant = ?",
            table_of(self.model),
            same_key(self.model, self.staged),
        );
        self.db
            .execute(&update, params![self.id.connection, self.id.variant])
            .map_err(Error::database("find the partitions of the rows"))?;
        Ok(())
    }

    /// The table has none of the rows.
    fn insert_all(&self, batches: &mut [Batch]) -> Result<Merged, Error> {
        append_new(self.db, self.model, self.id, (batches, self.staged), self.counter, self.at)?;
        Ok(Merged {
            added: self.staged.rows - self.staged.gone,
            deleted: self.staged.gone,
            changes: span(self.counter, self.staged.rows),
            ..Merged::default()
        })
    }

    /// What was done, and how many staged rows have a row in the table.
    fn merge_into_existing(&self, batches: &mut [Batch]) -> Result<(Merged, u64), Error> {
        self.classify()?;
        let tally = Tally::read(self.db)?;
        let written = tally.new + tally.buried + tally.back + tally.changed;
        let changed = written + tally.gone;
        if tally.new + tally.buried == self.staged.rows {
            stage::drop(self.db, DELTA)?;
            return Ok((self.insert_all(batches)?, 0));
        }
        if tally.gone > 0 {
            self.mark_gone()?;
        }
        if written + tally.raw > 0 {
            let wanted =
                (written + tally.raw < self.staged.rows).then(|| tally.written.iter().copied().collect::<HashSet<_>>());
            let values = stage::stage_rows(self.db, self.model, batches, self.staged, |ord| {
                wanted.as_ref().is_none_or(|wanted| wanted.contains(&ord))
            })?;
            if tally.raw > 0 {
                self.insert_refreshed()?;
            }
            if tally.back + tally.changed + tally.raw > 0 {
                let delete = format!(
                    "DELETE FROM {} WHERE rowid IN (SELECT target FROM {DELTA} WHERE what IN ('back', 'changed', 'raw'))",
                    table_of(self.model)
                );
                self.db.execute(&delete, []).map_err(Error::database("replace the changed rows"))?;
            }
            if written > 0 {
                self.insert_written(values)?;
            }
        }
        stage::drop(self.db, DELTA)?;
        let merged = Merged {
            added: tally.new + tally.back,
            updated: tally.changed,
            deleted: tally.gone + tally.buried,
            unchanged: if self.kept { tally.same } else { self.staged.rows - changed },
            changes: span(self.counter, changed),
        };
        Ok((merged, tally.changed + tally.same))
    }

    /// Finds what changes, and gives it change numbers in staged order. What stays as it was is only found where it is counted.
    fn classify(&self) -> Result<(), Error> {
        let refreshes = self.refreshes();
        let (join, kept) = if self.kept {
            ("JOIN", " AND t._deleted_at IS NULL AND t._raw_hash = s._raw_hash")
        } else {
            ("LEFT JOIN", "")
        };
        let same = "t.rowid IS NOT NULL AND t._deleted_at IS NULL AND NOT s._gone AND t._hash = s._hash";
        let (as_it_was, numbered) = match (self.kept, refreshes) {
            (true, _) => (format!("WHEN {same} THEN 'same' "), format!("PARTITION BY {same} ")),
            (false, true) => (format!("WHEN {same} THEN 'raw' "), format!("PARTITION BY {same} ")),
            (false, false) => Default::default(),
        };
        let changes = if self.kept { String::new() } else { format!("WHERE {}", changes(self.model)) };
        // rows that are mapped again are of the same record, which came from where it did
        let beside = self.beside_of(if self.kept { "t" } else { "s" });
        let classify = format!(
            "CREATE OR REPLACE TEMP TABLE {DELTA} AS \
             SELECT s._ord, s._hash, s._gone_at{beside}, t.rowid AS target, t._first_seen_at AS first_seen_at, \
               CASE {as_it_was}WHEN t.rowid IS NULL THEN CASE WHEN s._gone THEN 'buried' ELSE 'new' END \
                    WHEN t._deleted_at IS NOT NULL THEN 'back' \
                    WHEN s._gone THEN 'gone' ELSE 'changed' END AS what, \
               CAST(? AS BIGINT) + row_number() OVER ({numbered}ORDER BY s._ord) AS change \
             FROM {KEYS} s {join} {} t ON {} AND t._connection = ? AND t._variant = ?{kept} {changes}",
            table_of(self.model),
            same_key(self.model, self.staged),
        );
        self.db
            .execute(&classify, params![self.counter, self.id.connection, self.id.variant])
            .map_err(Error::database("compare the rows with the table"))?;
        Ok(())
    }

    /// Living rows whose record says that they are deleted: they keep their values.
    fn mark_gone(&self) -> Result<(), Error> {
        let update = format!(
            "UPDATE {} AS t SET _deleted_at = coalesce(x._gone_at, x.now), _last_modified_at = x.now, \
             _last_action = 'DELETED', _change = x.change \
             FROM (SELECT target, change, _gone_at, CAST(? AS TIMESTAMPTZ) AS now FROM {DELTA} WHERE what = 'gone') x \
             WHERE t.rowid = x.target",
            table_of(self.model)
        );
        self.db.execute(&update, [&self.now]).map_err(Error::database("mark the deleted rows"))?;
        Ok(())
    }

    /// Rows that are as they were, with another record.
    fn insert_refreshed(&self) -> Result<(), Error> {
        let table = table_of(self.model);
        let record = self.model.raw.then(|| "CAST(r._raw AS JSON) AS _raw".to_owned());
        let beside = beside(self.model).map(|name| format!("d.{name} AS {name}"));
        let insert = format!(
            "INSERT INTO {table} SELECT t.* REPLACE ({}) \
             FROM {DELTA} d JOIN {table} t ON t.rowid = d.target JOIN {ROWS} r ON r._ord = d._ord WHERE d.what = 'raw'",
            list(record.into_iter().chain(beside))
        );
        self.db.execute(&insert, []).map_err(Error::database("refresh the records of rows"))?;
        Ok(())
    }

    /// New rows, and the new state of changed ones.
    fn insert_written(&self, values: Vec<String>) -> Result<(), Error> {
        let insert = format!(
            "INSERT INTO {} ({}) SELECT {}, ?, ?, CASE WHEN d.what = 'changed' THEN d.first_seen_at ELSE n.now END, n.now, \
             CASE d.what WHEN 'changed' THEN 'UPDATED' WHEN 'buried' THEN 'DELETED' ELSE 'ADDED' END, \
             CASE WHEN d.what = 'buried' THEN coalesce(d._gone_at, n.now) END, d.change, d._hash{} \
             FROM {ROWS} r JOIN {DELTA} d USING (_ord), (SELECT CAST(? AS TIMESTAMPTZ) AS now) n WHERE d.what <> 'raw'",
            table_of(self.model),
            all_columns(self.model),
            self.values(values),
            self.beside_of("d"),
        );
        self.db
            .execute(&insert, params![self.id.connection, self.id.variant, self.now])
            .map_err(Error::database("write the new and changed rows"))?;
        Ok(())
    }

    /// The values of the model's columns, and with `raw` the record.
    fn values(&self, columns: Vec<String>) -> String {
        list(columns.into_iter().chain(self.model.raw.then(|| "CAST(r._raw AS JSON)".to_owned())))
    }

    /// Whether a row that is as it was is written again where its record or its partition is another.
    fn refreshes(&self) -> bool {
        beside(self.model).next().is_some() && !self.kept
    }

    /// What stands behind the metadata in a row of this alias, each behind a comma.
    fn beside_of(&self, alias: &str) -> String {
        beside(self.model).map(|name| format!(", {alias}.{name}")).collect()
    }
}

/// How many rows change, by what happens to them.
#[derive(Default)]
struct Tally {
    /// not known before
    new: u64,
    /// not known before, and already deleted
    buried: u64,
    /// deleted, and alive again
    back: u64,
    /// alive, with another value
    changed: u64,
    /// alive, and now deleted
    gone: u64,
    /// alive and as it was, with another record
    raw: u64,
    /// alive and as it was; not told where all of these are left alone
    same: u64,
    /// the `_ord` of those that are written in full
    written: Vec<i64>,
}

impl Tally {
    fn read(db: &Connection) -> Result<Self, Error> {
        let failed = || Error::database("count the changes");
        let mut select = db.prepare(&format!("SELECT what, _ord FROM {DELTA}")).map_err(failed())?;
        let mut tally = Self::default();
        for rows in select.query_arrow([]).map_err(failed())? {
            let (whats, ords) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Int64Type>());
            for (what, ord) in whats.iter().zip(ords.values()) {
                let count = match what {
                    Some("new") => &mut tally.new,
                    Some("buried") => &mut tally.buried,
                    Some("back") => &mut tally.back,
                    Some("changed") => &mut tally.changed,
                    Some("gone") => &mut tally.gone,
                    Some("raw") => &mut tally.raw,
                    _ => &mut tally.same,
                };
                *count += 1;
                if !matches!(what, Some("gone" | "same")) {
                    tally.written.push(*ord);
                }
            }
        }
        Ok(tally)
    }
}

/// What holds of a staged key `s` and its row `t`.
fn same_key(model: &ModelPlan, staged: &Staged) -> String {
    let names = key_names(model);
    joined(names.iter().zip(&staged.key).map(|(name, value)| format!("t.{} = {value}", ident(name))), " AND ")
}

/// What holds of a staged key `s` whose row is written: it has no row `t`, or another one. Else the row is as it was.
fn changes(model: &ModelPlan) -> String {
    let other_record: String = beside(model).map(|name| format!(" OR t.{name} IS DISTINCT FROM s.{name}")).collect();
    format!(
        "(t.rowid IS NULL OR CASE WHEN t._deleted_at IS NULL THEN s._gone OR t._hash <> s._hash{other_record} \
         ELSE NOT s._gone END)"
    )
}

fn all_columns(model: &ModelPlan) -> String {
    let own = model.columns.iter().map(|column| ident(&column.name));
    list(own.chain(added_columns(model).map(|(name, ..)| (*name).to_owned())))
}

/// The numbers given to `count` changes after `counter`.
pub fn span(counter: i64, count: u64) -> Option<(i64, i64)> {
    let count = i64::try_from(count).expect("rows in one database");
    (count > 0).then_some((counter + 1, counter + count))
}

/// The change numbers from the first of one stretch to the last of the next.
pub fn spanned(first: Option<(i64, i64)>, next: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (first, next) {
        (Some((from, _)), Some((_, to))) => Some((from, to)),
        (first, next) => first.or(next),
    }
}

/// What was done with the rows of a model.
pub fn counted(batches: &[Batch], staged: &Staged, merged: &Merged, (quarantined, older): (u64, u64)) -> Counts {
    Counts {
        pages: 0,
        records: older + staged.rows + staged.duplicates + quarantined,
        added: merged.added,
        updated: merged.updated,
        deleted: merged.deleted,
        unchanged: merged.unchanged + older,
        duplicates: staged.duplicates,
        quarantined,
        filtered: batches.iter().map(|batch| batch.filtered).sum(),
        nulled: batches.iter().map(|batch| batch.nulled).sum(),
    }
}
