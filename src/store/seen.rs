//! The keys a scan has seen: what tells, at the end of a proven complete scan, which rows are gone.
//!
//! Each model with `deletes: absence` has a narrow table `headwater."seen_<schema>.<table>"`, filled in the commits of the scan and
//! emptied when the scan ends. A key that is seen twice is in it twice: it is only asked whether a key is there.

use arrow::array::RecordBatch;
use duckdb::{Connection, params};

use super::error::Error;
use super::layout;
use super::sql::{CATALOG, Table, ident, list, literal};
use super::stage::{self, Staged};
use super::tables::key_names;
use crate::plan::{ColumnType, ModelPlan, SyncId};

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
    let comment = format!("Keys of {}.{} that scans under way have seen.", model.schema, model.table);
    db.execute_batch(&format!(
        "CREATE TABLE {table} (connection VARCHAR, sync VARCHAR, variant VARCHAR, scan_id UBIGINT, {}); \
         COMMENT ON TABLE {table} IS {};",
        list(key),
        literal(&comment)
    ))
    .map_err(Error::database("create the table of seen keys"))
}

/// Notes the keys of a group: of its rows, and the others that count as seen: of quarantined records, and those of a list of ids.
pub fn note<'a>(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    scan_id: u64,
    staged: &Staged,
    others: impl Iterator<Item = &'a RecordBatch>,
) -> Result<(), Error> {
    ensure(db, model)?;
    let columns = list(key_names(model).iter().map(|name| column(name)));
    let insert = |values: &str, from: &str| {
        let into = table_of(model);
        db.execute(
            &format!("INSERT INTO {into} (connection, sync, variant, scan_id, {columns}) SELECT ?, ?, ?, ?, {values} FROM {from} s"),
            params![id.connection, id.sync, id.variant, scan_id],
        )
        .map_err(Error::database("note the seen keys"))
    };
    if staged.rows > 0 {
        insert(&list(&staged.key), stage::KEYS)?;
    }
    let keys: Vec<_> = others.filter(|keys| keys.num_rows() > 0).collect();
    if !keys.is_empty() {
        let values = stage::stage_other_keys(db, model, &keys)?;
        insert(&list(values), stage::OTHER_KEYS)?;
        stage::drop(db, stage::OTHER_KEYS)?;
    }
    Ok(())
}

/// Forgets the keys of a sync's scans, all but those of `keep`; gives how many. Nothing is written when there are none.
pub fn forget(db: &Connection, model: &ModelPlan, id: &SyncId, keep: Option<u64>) -> Result<usize, Error> {
    let table = table_of(model);
    if !exists(db, &table)? {
        return Ok(0);
    }
    db.execute(
        &format!(
            "DELETE FROM {table} WHERE connection = ? AND sync = ? AND variant = ? \
             AND scan_id IS DISTINCT FROM CAST(? AS UBIGINT)"
        ),
        params![id.connection, id.sync, id.variant, keep],
    )
    .map_err(Error::database("forget the seen keys"))
}

/// The statement that widens a key column here too, if the table is there and has it.
pub fn widening(db: &Connection, model: &ModelPlan, name: &str, to: &ColumnType) -> Result<Option<String>, Error> {
    let table = table_of(model);
    let is_key = key_names(model).iter().any(|key| key.eq_ignore_ascii_case(name));
    Ok((is_key && exists(db, &table)?)
        .then(|| format!("ALTER TABLE {table} ALTER COLUMN {} SET DATA TYPE {to}", column(name))))
}

fn exists(db: &Connection, table: &Table) -> Result<bool, Error> {
    let count = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND lower(table_name) = lower(?)";
    let tables: i64 = db
        .query_row(count, [CATALOG, &table.schema, &table.name], |row| row.get(0))
        .map_err(Error::database("look for the table of seen keys"))?;
    Ok(tables > 0)
}
