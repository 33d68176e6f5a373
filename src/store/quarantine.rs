//! Records that are no rows, kept with the reason until they arrive again and fit.
//!
//! A record is the same as an earlier one of its sync when it has the same key: the typed one (`row_key`) where that can be read, else the
//! key as it came; without a key, the same text. A record leaves when a row with its typed key arrives, whichever sync of the model brings
//! it: so what is left of a key is newer than its row.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};
use indexmap::IndexMap;

use super::error::Error;
use super::layout::own;
use super::ledger::{OF_SYNC, stamp};
use super::stage::{self, Staged};
use crate::plan::{ModelPlan, SyncId};
use crate::record::{Batch, Quarantined};

/// The temporary table of a group's quarantined records.
const RECORDS: &str = "temp.main.headwater_quarantine";
/// The temporary table of the keys of a group's rows.
const FITTING: &str = "temp.main.headwater_fitting";

/// The where clause that names the rows of a model in quarantine, whichever sync brought them.
const OF_ROWS: &str = "connection = ? AND provider = ? AND variant = ? AND model = ?";

/// Takes records out that fit now (their key is among the staged rows), then puts the group's new ones in. Of a record that is there
/// already only what was found of it and `last_seen_at` change.
pub fn update(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    staged: &Staged,
    batches: &[Batch],
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let known = release_fitting(db, model, id, staged, batches, Known::Replaced)?;
    put(db, model, id, batches, run_id, now, known)
}

/// The same for records that stand in the table itself. A record in quarantine that came later stays as it is; one that is the row's own
/// leaves when it fits again.
pub fn update_kept(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    staged: &Staged,
    batches: &[Batch],
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let known = release_fitting(db, model, id, staged, batches, Known::Stay)?;
    put(db, model, id, batches, run_id, now, known)
}

/// Forgets the records of a sync that came last before `since`: a proven complete scan that began then did not return them. Gives how many.
///
/// # Errors
/// DuckDB refuses.
pub fn forget_unseen(db: &Connection, id: &SyncId, model: &ModelPlan, since: DateTime<Utc>) -> Result<u64, Error> {
    let delete = format!(
        "DELETE FROM {} WHERE {OF_SYNC} AND model = ? AND last_seen_at < CAST(? AS TIMESTAMPTZ)",
        own("quarantine")
    );
    let SyncId { connection, provider, sync, variant } = id;
    let gone = db
        .execute(&delete, params![connection, provider, sync, variant, model.name, stamp(since)])
        .map_err(Error::database("take records out of quarantine"))?;
    Ok(gone as u64)
}

/// Those of these typed keys under which a record is in quarantine, whichever sync of the model brought it.
///
/// # Errors
/// DuckDB refuses.
pub fn held(db: &Connection, model: &ModelPlan, id: &SyncId, keys: &[u128]) -> Result<HashSet<u128>, Error> {
    if keys.is_empty() || count(db, model, id)? == 0 {
        return Ok(HashSet::new());
    }
    stage_keys(db, keys.iter().map(|key| (*key, None)))?;
    let select = format!(
        "SELECT DISTINCT q.row_key FROM {} q JOIN {FITTING} f USING (row_key) WHERE {OF_ROWS}",
        own("quarantine")
    );
    let read = || -> duckdb::Result<HashSet<u128>> {
        let mut statement = db.prepare(&select)?;
        let of = params![id.connection, id.provider, id.variant, model.name];
        statement.query_map(of, |row| row.get::<_, i128>(0).map(i128::cast_unsigned))?.collect()
    };
    let held = read().map_err(Error::database("look into the quarantine"))?;
    stage::drop(db, FITTING)?;
    Ok(held)
}

fn identity(record: &Quarantined) -> (Option<u128>, bool, &str) {
    match (record.key_hash, &record.key) {
        (Some(hash), _) => (Some(hash), true, ""),
        (None, Some(key)) => (None, true, key),
        (None, None) => (None, false, &record.record),
    }
}

fn count(db: &Connection, model: &ModelPlan, id: &SyncId) -> Result<i64, Error> {
    let count = format!("SELECT count(*) FROM {} WHERE {OF_ROWS}", own("quarantine"));
    db.query_row(&count, params![id.connection, id.provider, id.variant, model.name], |row| row.get(0))
        .map_err(Error::database("look into the quarantine"))
}

/// Takes records out whose key is among the staged rows; where the others stay, only a row's own. Gives what becomes of those that are left,
/// which is nothing where there were none.
fn release_fitting(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    staged: &Staged,
    batches: &[Batch],
    others: Known,
) -> Result<Known, Error> {
    if count(db, model, id)? == 0 {
        return Ok(Known::None);
    }
    let also = if others == Known::Stay { "q.record_hash = f.record_hash" } else { "TRUE" };
    if staged.rows > 0 {
        release(db, model, id, staged.fitting(batches), also)?;
    }
    Ok(others)
}

/// Takes out the records `q` whose key is one of `fitting` (`f`: typed key and hash of the record) and for which `also` holds.
fn release(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    fitting: impl Iterator<Item = (u128, Option<u64>)>,
    also: &str,
) -> Result<(), Error> {
    let failed = || Error::database("take records out of quarantine");
    stage_keys(db, fitting)?;
    let delete = format!(
        "DELETE FROM {} q WHERE {OF_ROWS} AND EXISTS (SELECT 1 FROM {FITTING} f WHERE f.row_key = q.row_key AND {also})",
        own("quarantine"),
    );
    db.execute(&delete, params![id.connection, id.provider, id.variant, model.name]).map_err(failed())?;
    stage::drop(db, FITTING)
}

/// Stages typed keys, and hashes of records.
fn stage_keys(db: &Connection, keys: impl Iterator<Item = (u128, Option<u64>)>) -> Result<(), Error> {
    let failed = || Error::database("stage the keys of records");
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {FITTING} (row_key HUGEINT, record_hash UBIGINT)"))
        .map_err(failed())?;
    let mut appender = db.appender_to_catalog_and_db("headwater_fitting", "temp", "main").map_err(failed())?;
    for (key, record_hash) in keys {
        appender.append_row(params![key.cast_signed(), record_hash]).map_err(failed())?;
    }
    appender.flush().map_err(failed())
}

/// What becomes of a record that is in quarantine already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// there is none
    None,
    /// the one that comes takes its place
    Replaced,
    /// it stays
    Stay,
}

fn put(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    batches: &[Batch],
    run_id: &str,
    now: DateTime<Utc>,
    known: Known,
) -> Result<u64, Error> {
    let mut total = 0;
    let mut latest = IndexMap::new();
    for record in batches.iter().flat_map(|batch| &batch.quarantined) {
        total += 1;
        latest.insert(identity(record), record);
    }
    if latest.is_empty() {
        return Ok(total);
    }
    stage_records(db, latest.into_values())?;
    put_staged(db, model, id, run_id, now, known)?;
    stage::drop(db, RECORDS)?;
    Ok(total)
}

fn stage_records<'a>(db: &Connection, records: impl Iterator<Item = &'a Quarantined>) -> Result<(), Error> {
    let failed = || Error::database("stage the quarantined records");
    let columns = "key VARCHAR, column_name VARCHAR, code VARCHAR, reason VARCHAR, record VARCHAR, row_key HUGEINT, record_hash UBIGINT";
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {RECORDS} ({columns})")).map_err(failed())?;
    let mut appender = db.appender_to_catalog_and_db("headwater_quarantine", "temp", "main").map_err(failed())?;
    for Quarantined { key, key_hash, column, code, reason, record, record_hash } in records {
        let row_key = key_hash.map(u128::cast_signed);
        appender.append_row(params![key, column, code, reason, record, row_key, record_hash]).map_err(failed())?;
    }
    appender.flush().map_err(failed())
}

fn put_staged(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    run_id: &str,
    now: DateTime<Utc>,
    known: Known,
) -> Result<(), Error> {
    let failed = || Error::database("put records into quarantine");
    let (quarantine, now) = (own("quarantine"), stamp(now));
    let of_sync = format!("{OF_SYNC} AND model = ?");
    let same = "coalesce(CAST(q.row_key AS VARCHAR), q.key, q.record) = coalesce(CAST(r.row_key AS VARCHAR), r.key, r.record) \
                AND (q.row_key IS NULL) = (r.row_key IS NULL) AND (q.key IS NULL) = (r.key IS NULL)";
    if known == Known::Replaced {
        let update = format!(
            "UPDATE {quarantine} AS q SET key = r.key, column_name = r.column_name, code = r.code, reason = r.reason, record = r.record, \
             record_hash = r.record_hash, run_id = ?, last_seen_at = CAST(? AS TIMESTAMPTZ) FROM {RECORDS} r WHERE {same} AND {of_sync}"
        );
        db.execute(&update, params![run_id, now, id.connection, id.provider, id.sync, id.variant, model.name])
            .map_err(failed())?;
    }
    let insert = format!(
        "INSERT INTO {quarantine} SELECT ?, ?, ?, ?, ?, r.key, r.column_name, r.code, r.reason, r.record, ?, \
         CAST(? AS TIMESTAMPTZ), CAST(? AS TIMESTAMPTZ), r.row_key, r.record_hash FROM {RECORDS} r \
         WHERE NOT EXISTS (SELECT 1 FROM {quarantine} q WHERE {same} AND {of_sync}) ORDER BY r.rowid"
    );
    let SyncId { connection, provider, sync, variant } = id;
    db.execute(
        &insert,
        params![
            connection, provider, sync, variant, model.name, run_id, now, now, connection, provider, sync, variant,
            model.name
        ],
    )
    .map_err(failed())?;
    Ok(())
}
