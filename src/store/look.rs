//! What people look at beside the state of the syncs: how the last runs of each went, and what is in quarantine.

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::error::Error;
use super::layout::own;
use super::ledger::{OF_SYNC, moment};
use super::status::{PastRun, read_past};
use super::writer::Store;
use crate::plan::SyncId;

/// A record that is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InQuarantine {
    /// whose row it would be
    pub model: String,
    /// its key as it came, a JSON array
    pub key: Option<String>,
    /// the column that it does not fit
    pub column: Option<String>,
    /// stable name of what is wrong
    pub code: String,
    /// what is wrong
    pub reason: String,
    /// the record as it came; the first bytes of a long one
    pub record: String,
    /// there is more of it
    pub is_cut: bool,
    /// the run that brought it last
    pub run_id: String,
    /// when it came first
    pub first_seen_at: DateTime<Utc>,
    /// when it came last
    pub last_seen_at: DateTime<Utc>,
}

impl Store {
    /// The last runs of each sync, at most so many of each; in the order of the syncs, the latest first.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn recent_runs(&mut self, of_each: usize) -> Result<Vec<PastRun>, Error> {
        recent_runs(self.attached()?, of_each)
    }

    /// What came last of a sync's quarantine, at most `limit` records; of each at most `characters`.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn in_quarantine(&mut self, id: &SyncId, limit: usize, characters: usize) -> Result<Vec<InQuarantine>, Error> {
        in_quarantine(self.attached()?, id, limit, characters)
    }
}

fn recent_runs(db: &Connection, of_each: usize) -> Result<Vec<PastRun>, Error> {
    let select = format!(
        "SELECT *, epoch_us(started_at) AS started, epoch_us(ended_at) AS ended FROM {} \
         QUALIFY row_number() OVER (PARTITION BY connection, provider, sync, variant ORDER BY started_at DESC, rowid DESC) <= {of_each} \
         ORDER BY connection, provider, sync, variant, started_at DESC, rowid DESC",
        own("runs")
    );
    let read = || -> duckdb::Result<Vec<Option<PastRun>>> { db.prepare(&select)?.query_map([], read_past)?.collect() };
    Ok(read().map_err(Error::database("read the runs"))?.into_iter().flatten().collect())
}

fn in_quarantine(db: &Connection, id: &SyncId, limit: usize, characters: usize) -> Result<Vec<InQuarantine>, Error> {
    let select = format!(
        "SELECT model, key, column_name, code, reason, left(record, {characters}), length(record) > {characters}, run_id, \
                epoch_us(first_seen_at), epoch_us(last_seen_at) \
         FROM {} WHERE {OF_SYNC} ORDER BY last_seen_at DESC, rowid DESC LIMIT {limit}",
        own("quarantine")
    );
    let SyncId { connection, provider, sync, variant } = id;
    let row = |row: &duckdb::Row<'_>| {
        Ok(InQuarantine {
            model: row.get(0)?,
            key: row.get(1)?,
            column: row.get(2)?,
            code: row.get(3)?,
            reason: row.get(4)?,
            record: row.get(5)?,
            is_cut: row.get(6)?,
            run_id: row.get(7)?,
            first_seen_at: moment(row, 8)?.unwrap_or_default(),
            last_seen_at: moment(row, 9)?.unwrap_or_default(),
        })
    };
    let read = || -> duckdb::Result<Vec<InQuarantine>> {
        db.prepare(&select)?.query_map(params![connection, provider, sync, variant], row)?.collect()
    };
    read().map_err(Error::database("read the quarantine"))
}
