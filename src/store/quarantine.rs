//! Records that are no rows, kept with the reason until they arrive again and fit.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::error::Error;
use super::layout::own;
use super::ledger::{OF_SYNC, stamp};
use super::sql::{joined, literal};
use super::stage::{self, KEYS, Staged};
use crate::plan::{ModelPlan, SyncId};
use crate::record::{Batch, Quarantined};

/// The temporary table of a group's quarantined records.
const RECORDS: &str = "temp.main.headwater_quarantine";

/// Takes records out that fit now (their key is among the staged rows), then puts the group's new ones in.
///
/// A record is the same as an earlier one of its sync when it has the same key or, without a key, the same text; then only its reason and
/// `last_seen_at` change. Whether a key fits now is decided by casting its text to the column's type; a key column with a custom time format
/// does not cast, and its records stay until they are removed by hand.
pub fn update(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    staged: &Staged,
    batches: &[Batch],
    run_id: &str,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let known = count(db, id)?;
    if known > 0 && staged.rows > 0 {
        release(db, model, id, staged)?;
    }
    let records = batches.iter().flat_map(|batch| &batch.quarantined);
    let mut total = 0;
    let mut latest: HashMap<(bool, &str), &Quarantined> = HashMap::new();
    for record in records {
        total += 1;
        latest.insert(identity(record), record);
    }
    if latest.is_empty() {
        return Ok(total);
    }
    stage_records(db, latest.into_values())?;
    put(db, model, id, run_id, now, known > 0)?;
    stage::drop(db, RECORDS)?;
    Ok(total)
}

fn identity(record: &Quarantined) -> (bool, &str) {
    match &record.key {
        Some(key) => (true, key),
        None => (false, &record.record),
    }
}

fn count(db: &Connection, id: &SyncId) -> Result<i64, Error> {
    let count = format!("SELECT count(*) FROM {} WHERE {OF_SYNC}", own("quarantine"));
    db.query_row(&count, params![id.connection, id.provider, id.sync, id.variant], |row| row.get(0))
        .map_err(Error::database("look into the quarantine"))
}

fn release(db: &Connection, model: &ModelPlan, id: &SyncId, staged: &Staged) -> Result<(), Error> {
    let same = staged.key.iter().zip(&model.key).enumerate().map(|(place, (value, &at))| {
        let path = literal(&format!("$[{place}]"));
        let column_type = &model.columns[at].column_type;
        format!("TRY_CAST(json_extract_string(q.key, {path}) AS {column_type}) = {value}")
    });
    let delete = format!(
        "DELETE FROM {} q WHERE {OF_SYNC} AND model = ? AND json_valid(q.key) \
         AND EXISTS (SELECT 1 FROM {KEYS} s WHERE {})",
        own("quarantine"),
        joined(same, " AND ")
    );
    db.execute(&delete, params![id.connection, id.provider, id.sync, id.variant, model.name])
        .map_err(Error::database("take records out of quarantine"))?;
    Ok(())
}

fn stage_records<'a>(db: &Connection, records: impl Iterator<Item = &'a Quarantined>) -> Result<(), Error> {
    let failed = || Error::database("stage the quarantined records");
    let columns = "key VARCHAR, column_name VARCHAR, code VARCHAR, reason VARCHAR, record VARCHAR";
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {RECORDS} ({columns})")).map_err(failed())?;
    let mut appender = db.appender_to_catalog_and_db("headwater_quarantine", "temp", "main").map_err(failed())?;
    for Quarantined { key, column, code, reason, record } in records {
        appender.append_row(params![key, column, code, reason, record]).map_err(failed())?;
    }
    appender.flush().map_err(failed())
}

fn put(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    run_id: &str,
    now: DateTime<Utc>,
    some_known: bool,
) -> Result<(), Error> {
    let failed = || Error::database("put records into quarantine");
    let (quarantine, now) = (own("quarantine"), stamp(now));
    let of_sync = format!("{OF_SYNC} AND model = ?");
    let same = "coalesce(q.key, q.record) = coalesce(r.key, r.record) AND (q.key IS NULL) = (r.key IS NULL)";
    if some_known {
        let update = format!(
            "UPDATE {quarantine} AS q SET column_name = r.column_name, code = r.code, reason = r.reason, record = r.record, run_id = ?, \
             last_seen_at = CAST(? AS TIMESTAMPTZ) FROM {RECORDS} r WHERE {same} AND {of_sync}"
        );
        db.execute(&update, params![run_id, now, id.connection, id.provider, id.sync, id.variant, model.name])
            .map_err(failed())?;
    }
    let insert = format!(
        "INSERT INTO {quarantine} SELECT ?, ?, ?, ?, ?, r.key, r.column_name, r.code, r.reason, r.record, ?, \
         CAST(? AS TIMESTAMPTZ), CAST(? AS TIMESTAMPTZ) FROM {RECORDS} r \
         WHERE NOT EXISTS (SELECT 1 FROM {quarantine} q WHERE {same} AND {of_sync})"
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
