//! Records of the quarantine mapped again: those that fit become rows and leave it, the others stay with the reason as it is now.
//!
//! What is in quarantine is newer than its row, for a row that arrives takes its key's record out. That is not known of a record whose key
//! is another one than when it came, or could not be read then: such a record makes a new row and changes none.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::children;
use super::error::Error;
use super::layout::own;
use super::ledger::OF_SYNC;
use super::merge::{self, spanned};
use super::outbox::{self, ModelChanges};
use super::sql::{ident, joined, list};
use super::stage::{self, KEYS, Staged};
use super::tables::{key_names, table_of};
use super::writer::Store;
use crate::plan::{ModelPlan, SyncId, limits};
use crate::record::{Batch, Quarantined};

/// The temporary table of the records that fit: `_ord`, `seen_at` in microseconds, `newest`.
const FITTING: &str = "temp.main.headwater_retried";
/// The temporary table of what is found of the others: `target`, `column_name`, `code`, `reason`; without a code they stay as they are.
const FOUND: &str = "temp.main.headwater_found";

/// Records taken at once; few in tests, so that these go through several groups.
const RECORDS_AT_ONCE: usize = if cfg!(test) { 3 } else { limits::RETRY_RECORDS_AT_ONCE };

/// What became of some records of the quarantine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// records taken
    pub records: u64,
    /// rows that are new, or back
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows whose record says that they are deleted
    pub deleted: u64,
    /// records whose row has these values already
    pub unchanged: u64,
    /// records that `where` turns away now
    pub filtered: u64,
    /// records that are older than what became of their row: they left, and changed nothing
    pub outdated: u64,
    /// records that still do not fit
    pub unfit: u64,
    /// records that are not kept whole, because they are too long or hold a secret: they leave when they arrive again
    pub cut: u64,
    /// the first change number given out
    pub change_from: Option<i64>,
    /// the last change number given out
    pub change_to: Option<i64>,
}

impl Retried {
    /// Adds what became of the next records.
    pub fn add(&mut self, next: &Self) {
        let Self {
            records,
            added,
            updated,
            deleted,
            unchanged,
            filtered,
            outdated,
            unfit,
            cut,
            change_from,
            change_to,
        } = next;
        self.records += records;
        self.added += added;
        self.updated += updated;
        self.deleted += deleted;
        self.unchanged += unchanged;
        self.filtered += filtered;
        self.outdated += outdated;
        self.unfit += unfit;
        self.cut += cut;
        self.change_from = self.change_from.or(*change_from);
        self.change_to = change_to.or(self.change_to);
    }
}

/// Whose records are mapped again.
#[derive(Debug, Clone, Copy)]
pub struct Retry<'a> {
    /// which sync
    pub id: &'a SyncId,
    /// whose rows they become
    pub model: &'a ModelPlan,
    /// names the command: what it has seen is not taken again
    pub run_id: &'a str,
    /// the time of the commit
    pub now: DateTime<Utc>,
}

/// A record in quarantine.
struct Entry {
    target: i64,
    record: String,
    row_key: Option<i128>,
    record_hash: Option<u64>,
    seen_at: i64,
}

/// What becomes of a record.
enum Verdict {
    /// it is the row of this batch
    Fits(usize),
    /// it leaves
    Leaves,
    /// it stays, and this is why
    Stays(Option<Quarantined>),
}

impl Store {
    /// Takes the next records of a sync's quarantine and maps them with `map`, which gives one record's rows, or nothing for text that is no
    /// record. All of it is one transaction. There are no more when none was taken.
    ///
    /// # Errors
    /// Nothing is committed then; the store can be used on.
    pub fn retry(&mut self, retry: Retry<'_>, mut map: impl FnMut(&str) -> Option<Batch>) -> Result<Retried, Error> {
        let told = Arc::clone(&self.told);
        let done = self.transaction("commit the records", |db| {
            let entries = read(db, retry)?;
            let mut done = Retried { records: entries.len() as u64, ..Retried::default() };
            if !entries.is_empty() {
                let (batches, verdicts) = judge(&entries, &mut map, &mut done);
                settle(db, retry, &entries, batches, verdicts, &mut done)?;
                let mut of_model = ModelChanges::default();
                of_model.add(done.added, done.updated, done.deleted, done.change_from.zip(done.change_to));
                outbox::note_changes(db, &told, retry.id, (retry.run_id, &retry.model.name), &of_model)?;
            }
            Ok(done)
        });
        let dropped = [KEYS, FITTING, FOUND].map(|table| stage::drop(self.connection(), table));
        let done = done?;
        dropped.into_iter().collect::<Result<(), _>>()?;
        Ok(done)
    }
}

fn read(db: &Connection, retry: Retry<'_>) -> Result<Vec<Entry>, Error> {
    let failed = || Error::database("read the quarantine");
    let select = format!(
        "SELECT rowid, record, row_key, record_hash, epoch_us(last_seen_at) FROM {} \
         WHERE {OF_SYNC} AND model = ? AND run_id IS DISTINCT FROM ? ORDER BY last_seen_at, rowid LIMIT {RECORDS_AT_ONCE}",
        own("quarantine")
    );
    let SyncId { connection, provider, sync, variant } = retry.id;
    let mut statement = db.prepare(&select).map_err(failed())?;
    statement
        .query_map(params![connection, provider, sync, variant, retry.model.name, retry.run_id], |row| {
            let (target, record, row_key) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Entry { target, record, row_key, record_hash: row.get(3)?, seen_at: row.get(4)? })
        })
        .and_then(Iterator::collect)
        .map_err(failed())
}

/// Maps each record by itself: the batches that have a row, and a verdict for each entry.
fn judge(
    entries: &[Entry],
    map: &mut impl FnMut(&str) -> Option<Batch>,
    done: &mut Retried,
) -> (Vec<Batch>, Vec<Verdict>) {
    let mut batches = Vec::new();
    let verdicts = entries.iter().map(|entry| {
        let is_whole = entry.record_hash == Some(xxh3_64(entry.record.as_bytes()));
        let Some(mut batch) = is_whole.then(|| map(&entry.record)).flatten() else {
            done.cut += 1;
            return Verdict::Stays(None);
        };
        if batch.filtered > 0 {
            done.filtered += 1;
            return Verdict::Leaves;
        }
        match batch.quarantined.pop() {
            Some(found) => {
                done.unfit += 1;
                Verdict::Stays(Some(found))
            }
            None => {
                batches.push(batch);
                Verdict::Fits(batches.len() - 1)
            }
        }
    });
    let verdicts = verdicts.collect();
    (batches, verdicts)
}

/// Merges the rows and moves the quarantine.
fn settle(
    db: &Connection,
    retry: Retry<'_>,
    entries: &[Entry],
    mut batches: Vec<Batch>,
    mut verdicts: Vec<Verdict>,
    done: &mut Retried,
) -> Result<(), Error> {
    let mut staged = stage::stage_keys(db, retry.model, &batches)?;
    // of two records with one key the later one counts
    done.outdated += staged.duplicates;
    if staged.rows > 0 {
        let barred = barred(db, retry, entries, &batches, &verdicts, &staged)?;
        for verdict in &mut verdicts {
            let Verdict::Fits(at) = verdict else { continue };
            let Some(is_older) = staged.ord(*at, 0).and_then(|ord| barred.get(&ord)) else { continue };
            *verdict = if *is_older {
                done.outdated += 1;
                Verdict::Leaves
            } else {
                done.unfit += 1;
                Verdict::Stays(Some(may_be_newer()))
            };
        }
        staged.leave_out(db, &batches, &barred.into_keys().collect())?;
    }
    let Retry { id, model, run_id, now } = retry;
    let merged = merge::merge(db, model, id, &mut batches, &staged, now)?;
    let of_items = children::replace(db, model, id, (&staged, &mut batches), run_id, now)?;
    (done.added, done.updated, done.deleted) = (merged.added, merged.updated, merged.deleted);
    done.unchanged = merged.unchanged;
    (done.change_from, done.change_to) = spanned(merged.changes, of_items).unzip();
    write_verdicts(db, retry, entries, &verdicts)
}

/// The staged rows that must not be merged, and whether their record is the older one for sure: the row was deleted after it came.
fn barred(
    db: &Connection,
    retry: Retry<'_>,
    entries: &[Entry],
    batches: &[Batch],
    verdicts: &[Verdict],
    staged: &Staged,
) -> Result<HashMap<i64, bool>, Error> {
    let failed = || Error::database("compare the records with the table");
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {FITTING} (_ord BIGINT, seen_at BIGINT, newest BOOLEAN)"))
        .map_err(failed())?;
    let mut appender = db.appender_to_catalog_and_db("headwater_retried", "temp", "main").map_err(failed())?;
    for (entry, verdict) in entries.iter().zip(verdicts) {
        let Verdict::Fits(at) = verdict else { continue };
        let Some(ord) = staged.ord(*at, 0) else { continue };
        let newest = entry.row_key.map(i128::cast_unsigned) == batches[*at].key_hashes.first().copied();
        appender.append_row(params![ord, entry.seen_at, newest]).map_err(failed())?;
    }
    appender.flush().map_err(failed())?;
    let same = key_names(retry.model).into_iter().zip(&staged.key);
    let same = same.map(|(name, value)| format!("t.{} = {value}", ident(&name)));
    let select = format!(
        "SELECT _ord, t._deleted_at IS NOT NULL FROM {KEYS} s JOIN {FITTING} f USING (_ord) \
         JOIN {} t ON {} AND t._connection = ? AND t._variant = ? \
         WHERE CASE WHEN t._deleted_at IS NULL THEN NOT f.newest ELSE epoch_us(t._last_modified_at) >= f.seen_at END",
        table_of(retry.model),
        joined(same, " AND ")
    );
    let mut statement = db.prepare(&select).map_err(failed())?;
    statement
        .query_map(params![retry.id.connection, retry.id.variant], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(failed())
}

fn may_be_newer() -> Quarantined {
    Quarantined {
        key: None,
        key_hash: None,
        column: None,
        code: "row_exists",
        reason: "it fits, and has another key than when it came: a row with this key is there, which may be newer"
            .into(),
        record: String::new(),
        record_hash: None,
    }
}

/// Takes out what leaves, and notes of the others why they stay and who has looked.
fn write_verdicts(db: &Connection, retry: Retry<'_>, entries: &[Entry], verdicts: &[Verdict]) -> Result<(), Error> {
    let failed = || Error::database("move the quarantine");
    let columns = "target BIGINT, column_name VARCHAR, code VARCHAR, reason VARCHAR";
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {FOUND} ({columns})")).map_err(failed())?;
    let mut appender = db.appender_to_catalog_and_db("headwater_found", "temp", "main").map_err(failed())?;
    let mut leaving = Vec::new();
    for (Entry { target, .. }, verdict) in entries.iter().zip(verdicts) {
        match verdict {
            Verdict::Fits(_) | Verdict::Leaves => leaving.push(target.to_string()),
            Verdict::Stays(Some(Quarantined { column, code, reason, .. })) => {
                appender.append_row(params![target, column, code, reason]).map_err(failed())?;
            }
            Verdict::Stays(None) => {
                appender
                    .append_row(params![target, None::<String>, None::<String>, None::<String>])
                    .map_err(failed())?;
            }
        }
    }
    appender.flush().map_err(failed())?;
    let quarantine = own("quarantine");
    let update = format!(
        "UPDATE {quarantine} AS q SET run_id = ?, reason = coalesce(f.reason, q.reason), code = coalesce(f.code, q.code), \
         column_name = CASE WHEN f.code IS NULL THEN q.column_name ELSE f.column_name END FROM {FOUND} f WHERE q.rowid = f.target"
    );
    db.execute(&update, [retry.run_id]).map_err(failed())?;
    if !leaving.is_empty() {
        let delete = format!("DELETE FROM {quarantine} WHERE rowid IN ({})", list(leaving));
        db.execute(&delete, []).map_err(failed())?;
    }
    Ok(())
}
