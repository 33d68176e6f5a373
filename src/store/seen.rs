//! The keys a scan has seen: what tells, at the end of a proven complete scan, which rows are gone.
//!
//! Each model with `deletes: absence` has a narrow table `headwater."seen_<schema>.<table>"`, filled in the commits of the scan and
//! emptied when the scan ends. A key that is seen twice is in it twice: it is only asked whether a key is there.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use duckdb::{Connection, params};

use super::catalog;
use super::error::Error;
use super::layout;
use super::sql::{Table, ident, list, literal};
use super::stage::{self, Staged};
use super::tables::key_names;
use crate::plan::{ColumnType, ModelPlan, SyncId, limits};

/// The table of a model's seen keys.
pub fn table_of(model: &ModelPlan) -> Table {
    Table::new(layout::SCHEMA, &format!("seen_{}.{}", model.schema, model.table))
}

/// The column that holds the key column `name`.
pub fn column(name: &str) -> String {
    ident(&format!("key_{name}"))
}

/// The where clause that names one scan; its parameters are connection, sync, variant and scan id.
pub const OF_SCAN: &str = "connection = ? AND sync = ? AND variant = ? AND scan_id = ?";

/// Makes the table if it is not there.
pub fn ensure(db: &Connection, model: &ModelPlan) -> Result<(), Error> {
    let table = table_of(model);
    if exists(db, &table)? {
        return Ok(());
    }
    let key = model.key.iter().map(|&at| {
        let key = &model.columns[at];
        format!("{} {}", column(&key.name), key.column_type)
    });
    db.execute_batch(&format!(
        "CREATE TABLE {table} (connection VARCHAR, sync VARCHAR, variant VARCHAR, scan_id UBIGINT, {}); {}",
        list(key),
        comment(model)
    ))
    .map_err(Error::database("create the table of seen keys"))
}

/// Notes the keys of a group that a scan notes: of its rows, and the others that count as seen, with their scan: of quarantined records, and
/// those of a list of ids.
pub fn note<'a>(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    staged: &Staged,
    others: impl Iterator<Item = (u64, &'a RecordBatch)>,
) -> Result<(), Error> {
    let mut of_scans: BTreeMap<u64, Vec<&RecordBatch>> = BTreeMap::new();
    for (scan, keys) in others.filter(|(_, keys)| keys.num_rows() > 0) {
        of_scans.entry(scan).or_default().push(keys);
    }
    if staged.noted == 0 && of_scans.is_empty() {
        return Ok(());
    }
    ensure(db, model)?;
    let columns = list(key_names(model).iter().map(|name| column(name)));
    let insert = |scan: &str, values: &str, from: &str| {
        let into = table_of(model);
        let insert = format!(
            "INSERT INTO {into} (connection, sync, variant, scan_id, {columns}) SELECT ?, ?, ?, {scan}, {values} FROM {from} s \
             WHERE {scan} IS NOT NULL"
        );
        db.execute(&insert, params![id.connection, id.sync, id.variant]).map_err(Error::database("note the seen keys"))
    };
    if staged.noted > 0 {
        insert("s._scan", &list(&staged.key), stage::KEYS)?;
    }
    for (scan, keys) in of_scans {
        let values = stage::stage_other_keys(db, model, &keys)?;
        insert(&format!("CAST({scan} AS UBIGINT)"), &list(values), stage::OTHER_KEYS)?;
        stage::drop(db, stage::OTHER_KEYS)?;
    }
    Ok(())
}

/// Keys deleted at once; few in tests, so that these go the other way.
const KEYS_AT_ONCE: usize = if cfg!(test) { 3 } else { limits::SEEN_KEYS_DELETED_AT_ONCE };

/// Which scans' keys are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// those of all scans of the sync but this one
    AllBut(Option<u64>),
    /// those of one scan
    Of(u64),
}

/// Forgets keys of a sync's scans; gives how many. Nothing is written when there are none.
///
/// Deleting takes 8 bytes of memory a row until the transaction ends, which cannot be spilled. So of many keys those that stay are copied,
/// and the table is dropped.
pub fn forget(db: &Connection, model: &ModelPlan, id: &SyncId, seen: Seen) -> Result<usize, Error> {
    let table = table_of(model);
    if !exists(db, &table)? {
        return Ok(0);
    }
    let failed = || Error::database("forget the seen keys");
    let (is, scan) = match seen {
        Seen::AllBut(keep) => ("IS DISTINCT FROM", keep),
        Seen::Of(scan) => ("=", Some(scan)),
    };
    let own = format!("connection = ? AND sync = ? AND variant = ? AND scan_id {is} CAST(? AS UBIGINT)");
    let whose = params![id.connection, id.sync, id.variant, scan];
    let count = format!("SELECT count(*) FROM {table} WHERE {own}");
    let keys: usize = db.query_row(&count, whose, |row| row.get(0)).map_err(failed())?;
    if keys == 0 {
        return Ok(0);
    }
    if keys <= KEYS_AT_ONCE {
        return db.execute(&format!("DELETE FROM {table} WHERE {own}"), whose).map_err(failed());
    }
    let fresh = Table::new(layout::SCHEMA, &format!("new_{}", table.name));
    db.execute(&format!("CREATE TABLE {fresh} AS SELECT * FROM {table} WHERE NOT ({own})"), whose).map_err(failed())?;
    let swap = format!("DROP TABLE {table}; ALTER TABLE {fresh} RENAME TO {};", ident(&table.name));
    db.execute_batch(&(swap + &comment(model))).map_err(failed())?;
    Ok(keys)
}

/// The statement that says what the table is.
fn comment(model: &ModelPlan) -> String {
    let text = format!("Keys of {}.{} that scans under way have seen.", model.schema, model.table);
    format!("COMMENT ON TABLE {} IS {};", table_of(model), literal(&text))
}

/// The statement that widens a key column here too, if the table is there and has it.
pub fn widening(db: &Connection, model: &ModelPlan, name: &str, to: &ColumnType) -> Result<Option<String>, Error> {
    let table = table_of(model);
    let is_key = key_names(model).iter().any(|key| key.eq_ignore_ascii_case(name));
    Ok((is_key && exists(db, &table)?)
        .then(|| format!("ALTER TABLE {table} ALTER COLUMN {} SET DATA TYPE {to}", column(name))))
}

fn exists(db: &Connection, table: &Table) -> Result<bool, Error> {
    catalog::has(db, table).map_err(Error::database("look for the table of seen keys"))
}
