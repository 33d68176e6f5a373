//! Mapped rows on their way into a table: appended to a temporary table of the in-memory database, one row per key.
//!
//! Columns have positions instead of names there (`c0`, `c1`, …) and the types of their Arrow arrays. What has another type in the model
//! (hugeint, uuid and json travel as text) is cast when it is read.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use duckdb::Connection;

use super::error::Error;
use super::sql::list;
use super::tables::table_of;
use crate::plan::{ColumnType, ModelPlan};
use crate::record::{Batch, Fate};

/// The temporary table of staged rows: `_ord`, `_hash`, `_gone`, `_gone_at`, `c0`, `c1`, …
pub const ROWS: &str = "temp.main.headwater_rows";
/// The temporary table of staged keys: `c0`, `c1`, …
pub const KEYS: &str = "temp.main.headwater_keys";

/// What was staged.
#[derive(Debug, Default)]
pub struct Staged {
    /// rows, one per key
    pub rows: u64,
    /// of which say that they are deleted
    pub gone: u64,
    /// rows that a later one of the same key replaced
    pub duplicates: u64,
    /// per model column, the expression over `s` that gives its value
    pub values: Vec<String>,
}

impl Staged {
    /// The expressions of the key columns, in key order.
    pub fn key(&self, model: &ModelPlan) -> Vec<String> {
        model.key.iter().map(|&at| self.values[at].clone()).collect()
    }
}

/// Stages the rows of a group. The batches keep everything but their rows.
///
/// # Errors
/// [`Error::Rows`] when a batch does not have the shape of the model.
pub fn stage(db: &Connection, model: &ModelPlan, batches: &mut [Batch]) -> Result<Staged, Error> {
    let total: usize = batches.iter().map(|batch| batch.key_hashes.len()).sum();
    let mut staged = Staged::default();
    let Some(first) = batches.iter().find(|batch| !batch.key_hashes.is_empty()) else { return Ok(staged) };
    let shape = first.rows.schema();
    let columns = staged_columns(model, shape.fields(), model.columns.iter().map(|column| &column.column_type))?;
    let definitions = columns.iter().enumerate().map(|(at, column)| format!("c{at} {}", column.sql));
    create(
        db,
        ROWS,
        &format!("_ord BIGINT, _hash UBIGINT, _gone BOOLEAN, _gone_at TIMESTAMPTZ, {}", list(definitions)),
    )?;
    staged.values = columns.into_iter().map(|column| column.value).collect();

    let keep = last_of_each_key(batches, total);
    let mut appender = appender(db, ROWS)?;
    for (batch, keep) in batches.iter_mut().zip(keep) {
        check(model, batch, &shape)?;
        let next = i64::try_from(staged.rows).expect("a group's rows are counted in memory");
        let rows = with_fates(batch, keep.as_ref(), next).map_err(|error| misfit(model, &error))?;
        let kept = rows.num_rows() as u64;
        staged.duplicates += batch.key_hashes.len() as u64 - kept;
        staged.rows += kept;
        staged.gone += gone_among(batch, keep.as_ref());
        batch.rows = RecordBatch::new_empty(batch.rows.schema());
        append(&mut appender, rows)?;
    }
    appender.flush().map_err(Error::database("stage the rows"))?;
    Ok(staged)
}

/// Stages keys (the model's key columns in key order); gives the expressions over `s` of their values.
///
/// # Errors
/// [`Error::Rows`] when the columns are not the model's key.
pub fn stage_keys(db: &Connection, model: &ModelPlan, keys: &[&RecordBatch]) -> Result<Vec<String>, Error> {
    let Some(first) = keys.first() else { return Ok(Vec::new()) };
    let types = model.key.iter().map(|&at| &model.columns[at].column_type);
    let columns = staged_columns(model, first.schema().fields(), types)?;
    create(db, KEYS, &list(columns.iter().enumerate().map(|(at, column)| format!("c{at} {}", column.sql))))?;
    let mut appender = appender(db, KEYS)?;
    for keys in keys {
        append(&mut appender, (*keys).clone())?;
    }
    appender.flush().map_err(Error::database("stage the seen keys"))?;
    Ok(columns.into_iter().map(|column| column.value).collect())
}

/// Drops a temporary table, so that its memory is free.
pub fn drop(db: &Connection, table: &str) -> Result<(), Error> {
    db.execute_batch(&format!("DROP TABLE IF EXISTS {table}")).map_err(Error::database("drop a temporary table"))
}

fn create(db: &Connection, table: &str, columns: &str) -> Result<(), Error> {
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {table} ({columns})"))
        .map_err(Error::database("create a temporary table"))
}

fn appender<'db>(db: &'db Connection, table: &str) -> Result<duckdb::Appender<'db>, Error> {
    let name = table.rsplit('.').next().unwrap_or(table);
    db.appender_to_catalog_and_db(name, "temp", "main").map_err(Error::database("stage the rows"))
}

fn append(appender: &mut duckdb::Appender<'_>, rows: RecordBatch) -> Result<(), Error> {
    appender.append_record_batch(rows).map_err(Error::database("stage the rows"))
}

/// Per batch, which rows stay: the last of each key in the whole group. `None` when all do.
fn last_of_each_key(batches: &[Batch], total: usize) -> Vec<Option<BooleanArray>> {
    let mut seen = HashSet::with_capacity(total);
    let mut keep: Vec<_> = batches
        .iter()
        .rev()
        .map(|batch| {
            let mut last: Vec<bool> = batch.key_hashes.iter().rev().map(|key| seen.insert(*key)).collect();
            last.reverse();
            last.contains(&false).then(|| BooleanArray::from(last))
        })
        .collect();
    keep.reverse();
    keep
}

/// The batch's rows with `_ord`, `_hash`, `_gone` and `_gone_at` before them, without those that do not stay.
fn with_fates(
    batch: &Batch,
    keep: Option<&BooleanArray>,
    first_ord: i64,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = batch.rows.num_rows();
    let hashes = UInt64Array::from(batch.row_hashes.clone());
    let gone: BooleanArray = batch.fates.iter().map(|fate| Some(*fate != Fate::Live)).collect();
    let gone_at: TimestampMicrosecondArray = batch
        .fates
        .iter()
        .map(|fate| match fate {
            Fate::Deleted(at) => *at,
            Fate::Live => None,
        })
        .collect();
    let fields = [
        Field::new("_hash", DataType::UInt64, false),
        Field::new("_gone", DataType::Boolean, false),
        Field::new("_gone_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ];
    let columns: [ArrayRef; 3] = [Arc::new(hashes), Arc::new(gone), Arc::new(gone_at.with_timezone("UTC"))];
    let schema = batch.rows.schema();
    let fields = fields.into_iter().map(Arc::new).chain(schema.fields().iter().cloned());
    let columns = columns.into_iter().chain(batch.rows.columns().iter().cloned()).collect();
    let mut all = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?;
    if let Some(keep) = keep {
        all = filter_record_batch(&all, keep)?;
    }
    debug_assert!(all.num_rows() <= rows);
    let count = i64::try_from(all.num_rows()).expect("rows in memory");
    let ord: ArrayRef = Arc::new(Int64Array::from_iter_values(first_ord..first_ord + count));
    let fields = std::iter::once(Arc::new(Field::new("_ord", DataType::Int64, false)))
        .chain(all.schema().fields().iter().cloned())
        .collect::<Vec<_>>();
    let columns = std::iter::once(ord).chain(all.columns().iter().cloned()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn gone_among(batch: &Batch, keep: Option<&BooleanArray>) -> u64 {
    let kept = |at: usize| keep.is_none_or(|keep| keep.value(at));
    batch.fates.iter().enumerate().filter(|(at, fate)| **fate != Fate::Live && kept(*at)).count() as u64
}

fn check(model: &ModelPlan, batch: &Batch, shape: &Arc<Schema>) -> Result<(), Error> {
    let rows = batch.rows.num_rows();
    let lengths = [batch.key_hashes.len(), batch.row_hashes.len(), batch.fates.len()];
    if lengths.iter().any(|length| *length != rows) {
        return Err(misfit(model, &format!("{rows} rows have {lengths:?} key hashes, row hashes and fates")));
    }
    if rows > 0 && batch.rows.schema() != *shape {
        return Err(misfit(model, &"the pages of one group have different columns"));
    }
    Ok(())
}

/// A column of a temporary table.
struct StagedColumn {
    sql: String,
    value: String,
}

fn staged_columns<'a>(
    model: &ModelPlan,
    fields: &[FieldRef],
    types: impl ExactSizeIterator<Item = &'a ColumnType>,
) -> Result<Vec<StagedColumn>, Error> {
    if fields.len() != types.len() {
        return Err(misfit(model, &format!("{} columns instead of {}", fields.len(), types.len())));
    }
    let column = |(at, (field, wanted)): (usize, (&FieldRef, &ColumnType))| {
        let sql = sql_type(field).ok_or_else(|| misfit(model, &format!("Arrow type {}", field.data_type())))?;
        let wanted = wanted.to_string();
        let value = if sql == wanted { format!("s.c{at}") } else { format!("CAST(s.c{at} AS {wanted})") };
        Ok(StagedColumn { sql, value })
    };
    fields.iter().zip(types).enumerate().map(column).collect()
}

/// DuckDB's type for an Arrow array, in the spelling of [`ColumnType`].
fn sql_type(field: &Field) -> Option<String> {
    if field.extension_type_name() == Some("arrow.uuid") {
        return Some("UUID".into());
    }
    Some(match field.data_type() {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Time64(TimeUnit::Microsecond) => "TIME".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMPTZ".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BLOB".into(),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", sql_type(item)?),
        _ => return None,
    })
}

fn misfit(model: &ModelPlan, detail: &dyn std::fmt::Display) -> Error {
    Error::Rows { table: table_of(model).plain(), detail: detail.to_string() }
}
