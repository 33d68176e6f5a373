//! The syncs that fill a table: what they remember is true of the table they have filled, and of no other.

use duckdb::{Connection, params};

use super::super::error::Error;
use super::super::layout::{filled, own};
use super::super::ledger::{OF_SYNC, sync_of};
use crate::plan::{ModelPlan, SyncId};

/// The syncs that have filled the table of `model`, or the table that the model had before it got another name.
///
/// # Errors
/// The database cannot be read.
pub fn fillers(db: &Connection, model: &ModelPlan) -> Result<Vec<SyncId>, Error> {
    let select = format!(
        "SELECT DISTINCT p.connection, p.provider, p.sync, p.variant FROM {} p \
         WHERE (lower(p.table_schema) = lower(?) AND lower(p.table_name) = lower(?)) OR EXISTS (SELECT 1 FROM {} m \
           WHERE lower(m.provider) = lower(?) AND m.model = ? AND lower(m.table_schema) = lower(p.table_schema) \
           AND lower(m.table_name) = lower(p.table_name)) \
         ORDER BY ALL",
        filled(),
        own("models"),
    );
    let read = || -> duckdb::Result<Vec<SyncId>> {
        let mut statement = db.prepare(&select)?;
        let rows = statement
            .query_map([&model.schema, &model.table, &model.schema, &model.name], |row| sync_of(row, [0, 1, 2, 3]))?;
        rows.collect()
    };
    read().map_err(Error::database("look for the syncs that fill the table"))
}

/// Forgets what `syncs` remember, so that their next scan reads everything; with `quarantine`, also their records that are no rows, whose
/// keys would not be found again under another key.
///
/// # Errors
/// The database cannot be written.
pub fn forget(db: &Connection, syncs: &[SyncId], quarantine: bool) -> Result<(), Error> {
    let tables =
        ["checkpoints", "partitions", "nodes", "node_items"].into_iter().chain(quarantine.then_some("quarantine"));
    for table in tables {
        let delete = format!("DELETE FROM {} WHERE {OF_SYNC}", own(table));
        for SyncId { connection, provider, sync, variant } in syncs {
            db.execute(&delete, params![connection, provider, sync, variant])
                .map_err(Error::database("forget what the table's syncs remember"))?;
        }
    }
    Ok(())
}
