//! What the scheduler has to know of earlier runs, and which syncs are paused.

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::error::Error;
use super::layout::own;
use super::ledger::{OF_SYNC, RUN_STOPPED, moment, stamp, sync_of};
use crate::plan::SyncId;
use crate::scan::Runs;

/// What is known of when a sync runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// which sync
    pub id: SyncId,
    /// its runs, of whoever began them
    pub runs: Runs,
    /// a person has paused it: it does not run by itself
    pub paused: bool,
}

/// All syncs that have run or are paused, in no order. Runs that are not over count as failed: to be asked by the one process that runs
/// syncs, of those that it does not run itself.
///
/// # Errors
/// DuckDB refuses.
pub fn known(db: &Connection) -> Result<Vec<Scheduled>, Error> {
    let who = "connection, provider, sync, variant";
    let select = format!(
        "WITH good AS (SELECT {who}, max(started_at) AS good_at FROM {runs} WHERE state IN ('completed', 'partial', 'paused') GROUP BY ALL), \
              failed AS (SELECT {who}, count(*) AS failures FROM {runs} LEFT JOIN good USING ({who}) \
                         WHERE good_at IS NULL OR started_at > good_at GROUP BY ALL), \
              last AS (SELECT {who}, started_at, ended_at, ended_at IS NULL AS killed, \
                       coalesce(state = 'paused' AND error_code = '{RUN_STOPPED}', false) AS stopped FROM {runs} \
                       QUALIFY row_number() OVER (PARTITION BY {who} ORDER BY started_at DESC, rowid DESC) = 1) \
         SELECT {who}, epoch_us(last.started_at), epoch_us(last.ended_at), coalesce(failures, 0), p.paused_at IS NOT NULL, \
                coalesce(stopped OR killed AND failures = 1, false) \
         FROM last LEFT JOIN failed USING ({who}) FULL JOIN {paused} p USING ({who})",
        runs = own("runs"),
        paused = own("paused"),
    );
    let row = |row: &duckdb::Row<'_>| {
        Ok(Scheduled {
            id: sync_of(row, [0, 1, 2, 3])?,
            runs: Runs {
                began_at: moment(row, 4)?,
                ended_at: moment(row, 5)?,
                failures: row.get(6)?,
                stopped: row.get(8)?,
                parked_until: None,
            },
            paused: row.get(7)?,
        })
    };
    let read = || -> duckdb::Result<Vec<Scheduled>> { db.prepare(&select)?.query_map([], row)?.collect() };
    read().map_err(Error::database("read when the syncs ran"))
}

/// Notes that syncs are paused, or that they are not.
///
/// # Errors
/// DuckDB refuses.
pub fn pause(db: &Connection, ids: &[SyncId], paused: bool, now: DateTime<Utc>) -> Result<(), Error> {
    let failed = || Error::database("note which syncs are paused");
    let (table, at) = (own("paused"), stamp(now));
    for SyncId { connection, provider, sync, variant } in ids {
        db.execute(&format!("DELETE FROM {table} WHERE {OF_SYNC}"), params![connection, provider, sync, variant])
            .map_err(failed())?;
        if paused {
            let insert = format!("INSERT INTO {table} VALUES (?, ?, ?, ?, CAST(? AS TIMESTAMPTZ))");
            db.execute(&insert, params![connection, provider, sync, variant, at]).map_err(failed())?;
        }
    }
    Ok(())
}
