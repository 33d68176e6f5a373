//! Mapped rows on their way into a table, in temporary tables of the in-memory database: the keys of a group first, and then only those
//! rows that will be written.
//!
//! Columns are named by their position in the model there (`c0`, `c1`, …) and have the types of their Arrow arrays. What has another type
//! in the model (hugeint, uuid and json travel as text) is cast when it is read.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use arrow::error::ArrowError;
use duckdb::Connection;

use super::error::Error;
use super::sql::list;
use super::tables::table_of;
use crate::plan::ModelPlan;
use crate::record::{Batch, Fate};

/// The temporary table of a group's keys: `_ord`, `_hash`, `_gone`, `_gone_at`, `_scan` (that notes the key, where one does), what
/// [`super::tables::beside`] says, where rows may be older than the table's `_mark`, and the key's columns; one row per key.
pub const KEYS: &str = "temp.main.headwater_keys";
/// The temporary table of the rows to write: `_ord`, with `raw` `_raw` as text, and all columns.
pub const ROWS: &str = "temp.main.headwater_rows";
/// The temporary table of keys of quarantined records: the key's columns.
pub const OTHER_KEYS: &str = "temp.main.headwater_other_keys";

/// The column of [`KEYS`] that says when a record changed.
const MARK: &str = "_mark";

/// A group's rows, one per key, of which the keys are staged.
#[derive(Debug, Default)]
pub struct Staged {
    /// rows, one per key
    pub rows: u64,
    /// of which say that they are deleted
    pub gone: u64,
    /// rows that a later one of the same key replaced
    pub duplicates: u64,
    /// rows whose keys a scan notes
    pub noted: u64,
    /// in key order, the expression over a row `s` of [`KEYS`] that gives the key's value
    pub key: Vec<String>,
    /// the expression over such a row that says when its record changed, if that is staged
    pub mark: Option<String>,
    /// per batch and row, its `_ord`; none when a later row of the same key replaced it
    ords: Vec<Vec<Option<i64>>>,
}

impl Staged {
    /// The `_ord` of a row of a batch; none when a later row of the same key replaced it, or it was left out.
    pub fn ord(&self, batch: usize, row: usize) -> Option<i64> {
        self.ords.get(batch)?.get(row).copied().flatten()
    }

    /// Of each row of a batch its `_ord`, as [`Staged::ord`] gives it.
    pub fn ords(&self, batch: usize) -> &[Option<i64>] {
        self.ords.get(batch).map_or(&[], Vec::as_slice)
    }

    /// Takes rows out of the group, given by their `_ord`.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn leave_out(&mut self, db: &Connection, batches: &[Batch], left_out: &HashSet<i64>) -> Result<(), Error> {
        if left_out.is_empty() {
            return Ok(());
        }
        for (batch, ords) in batches.iter().zip(&mut self.ords) {
            for (ord, fate) in ords.iter_mut().zip(&batch.fates) {
                if ord.is_some_and(|ord| left_out.contains(&ord)) {
                    *ord = None;
                    self.rows -= 1;
                    self.gone -= u64::from(*fate != Fate::Live);
                }
            }
        }
        let delete = format!("DELETE FROM {KEYS} WHERE _ord IN ({})", list(left_out.iter().map(i64::to_string)));
        db.execute(&delete, []).map_err(Error::database("leave rows out"))?;
        Ok(())
    }

    /// The typed key of each staged row, and with `raw` the hash of its record, while `batches` still have the records.
    pub fn fitting<'a>(&'a self, batches: &'a [Batch]) -> impl Iterator<Item = (u128, Option<u64>)> + 'a {
        batches.iter().zip(&self.ords).flat_map(|(batch, ords)| {
            let kept = ords.iter().enumerate().filter(|(_, ord)| ord.is_some());
            kept.map(|(at, _)| (batch.key_hashes[at], batch.raw.as_ref().and_then(|raw| raw.hashes().get(at).copied())))
        })
    }
}

/// Stages the keys of a group, the last row of each key.
///
/// # Errors
/// [`Error::Rows`] when a batch does not have the shape of the model.
pub fn stage_keys(db: &Connection, model: &ModelPlan, batches: &[Batch]) -> Result<Staged, Error> {
    stage_marked_keys(db, model, batches, None)
}

/// The same, and of each row the column at position `mark`, which says when its record changed.
///
/// # Errors
/// As [`stage_keys`].
pub fn stage_marked_keys(
    db: &Connection,
    model: &ModelPlan,
    batches: &[Batch],
    mark: Option<usize>,
) -> Result<Staged, Error> {
    let Some(first) = batches.iter().find(|batch| batch.rows.num_rows() > 0) else { return Ok(Staged::default()) };
    let shape = first.rows.schema();
    for batch in batches {
        check(model, batch, &shape)?;
    }
    let columns = staged_columns(model, model.key.iter().map(|&at| (at, &shape.fields()[at])))?;
    let notes = batches.iter().any(|batch| batch.seen_by.is_some());
    let facts = ["_ord BIGINT", "_hash UBIGINT", "_gone BOOLEAN", "_gone_at TIMESTAMPTZ"];
    // as `keys_of` has them
    let facts = facts.into_iter().chain(model.partitioned.then_some("_partition VARCHAR"));
    let facts = facts.chain(notes.then_some("_scan UBIGINT")).chain(model.listed.then_some("_listed UBIGINT"));
    let marks = staged_columns(model, mark.map(|at| (at, &shape.fields()[at])))?;
    let mark_column = marks.first().map(|column| format!("{MARK} {}", column.sql));
    let facts = facts.chain(model.raw.then_some("_raw_hash UBIGINT")).map(str::to_owned).chain(mark_column);
    create(db, KEYS, facts.chain(columns.iter().map(StagedColumn::definition)))?;
    let mut staged = Staged { ords: number_last_of_each_key(batches), ..Staged::default() };
    let mut appender = appender(db, KEYS)?;
    for (batch, ords) in batches.iter().zip(&staged.ords).filter(|(_, ords)| !ords.is_empty()) {
        let rows = keys_of(model, (batch, mark), ords, notes).map_err(|error| misfit(model, &error))?;
        let kept = rows.num_rows() as u64;
        staged.rows += kept;
        staged.noted += batch.seen_by.map_or(0, |_| kept);
        staged.duplicates += ords.len() as u64 - kept;
        let gone = batch.fates.iter().zip(ords).filter(|(fate, ord)| **fate != Fate::Live && ord.is_some());
        staged.gone += gone.count() as u64;
        append(&mut appender, rows)?;
    }
    appender.flush().map_err(Error::database("stage the keys"))?;
    staged.key = columns.iter().map(|column| column.value("s")).collect();
    staged.mark = marks.first().map(|column| column.named("s", MARK));
    Ok(staged)
}

/// Stages the rows of a group whose `_ord` is `wanted`, and takes all rows out of the batches. Gives, per model column, the expression
/// over a row `r` of [`ROWS`] that gives its value.
///
/// # Errors
/// DuckDB refuses.
pub fn stage_rows(
    db: &Connection,
    model: &ModelPlan,
    batches: &mut [Batch],
    staged: &Staged,
    wanted: impl Fn(i64) -> bool,
) -> Result<Vec<String>, Error> {
    let Some(first) = batches.iter().find(|batch| batch.rows.num_rows() > 0) else { return Ok(Vec::new()) };
    let columns = staged_columns(model, first.rows.schema().fields().iter().enumerate())?;
    let beside = ["_ord BIGINT"].into_iter().chain(model.raw.then_some("_raw VARCHAR")).map(str::to_owned);
    create(db, ROWS, beside.chain(columns.iter().map(StagedColumn::definition)))?;
    let mut appender = appender(db, ROWS)?;
    for (batch, ords) in batches.iter_mut().zip(&staged.ords).filter(|(_, ords)| !ords.is_empty()) {
        let empty = RecordBatch::new_empty(batch.rows.schema());
        let rows = std::mem::replace(&mut batch.rows, empty);
        let keep: BooleanArray = ords.iter().map(|ord| Some(ord.is_some_and(&wanted))).collect();
        let ord: ArrayRef = Arc::new(ords.iter().copied().collect::<Int64Array>());
        let mut beside = vec![(Field::new("_ord", DataType::Int64, true), ord)];
        // taken out as the rows are: both can be large
        let raw = batch.raw.take().map(|raw| -> ArrayRef { Arc::new(raw.texts()) });
        beside.extend(raw.map(|raw| (Field::new("_raw", DataType::Utf8, true), raw)));
        let rows =
            with_columns(beside, &rows).and_then(|rows| kept(rows, &keep)).map_err(|error| misfit(model, &error))?;
        append(&mut appender, rows)?;
    }
    appender.flush().map_err(Error::database("stage the rows"))?;
    Ok(columns.iter().map(|column| column.value("r")).collect())
}

/// Stages keys of quarantined records (the model's key columns in key order); gives the expressions over `s` of their values.
///
/// # Errors
/// [`Error::Rows`] when the columns are not the model's key.
pub fn stage_other_keys(db: &Connection, model: &ModelPlan, keys: &[&RecordBatch]) -> Result<Vec<String>, Error> {
    let Some(first) = keys.first() else { return Ok(Vec::new()) };
    if first.num_columns() != model.key.len() {
        return Err(misfit(model, &format!("{} key columns instead of {}", first.num_columns(), model.key.len())));
    }
    let columns = staged_columns(model, model.key.iter().copied().zip(first.schema().fields()))?;
    create(db, OTHER_KEYS, columns.iter().map(StagedColumn::definition))?;
    let mut appender = appender(db, OTHER_KEYS)?;
    for keys in keys {
        append(&mut appender, (*keys).clone())?;
    }
    appender.flush().map_err(Error::database("stage the keys of quarantined records"))?;
    Ok(columns.iter().map(|column| column.value("s")).collect())
}

/// Stages keys of rows that are gone, and since when (the column behind the keys); gives the expressions over `s` of the key's values, and
/// of the time.
///
/// # Errors
/// [`Error::Rows`] when the columns are not the model's key.
pub fn stage_gone(db: &Connection, model: &ModelPlan, rows: &RecordBatch) -> Result<(Vec<String>, String), Error> {
    let schema = rows.schema();
    let columns = staged_columns(model, model.key.iter().copied().zip(schema.fields()))?;
    if rows.num_columns() != columns.len() + 1 {
        return Err(misfit(model, &format!("{} key columns instead of {}", rows.num_columns(), columns.len() + 1)));
    }
    let time = "_gone_at TIMESTAMPTZ".to_owned();
    create(db, OTHER_KEYS, columns.iter().map(StagedColumn::definition).chain([time]))?;
    let mut appender = appender(db, OTHER_KEYS)?;
    append(&mut appender, rows.clone())?;
    appender.flush().map_err(Error::database("stage the keys of rows that are gone"))?;
    Ok((columns.iter().map(|column| column.value("s")).collect(), "s._gone_at".to_owned()))
}

/// Stages keys of rows with their numbers and the hashes of their records in their list (`_ord`, `_listed`); gives the expressions over `s`
/// of the keys' values.
///
/// # Errors
/// [`Error::Rows`] when the columns are not the model's key.
pub fn stage_listed(
    db: &Connection,
    model: &ModelPlan,
    keys: &RecordBatch,
    hashes: &[u64],
) -> Result<Vec<String>, Error> {
    if keys.num_columns() != model.key.len() || keys.num_rows() != hashes.len() {
        return Err(misfit(model, &"the keys are not those of the records"));
    }
    let schema = keys.schema();
    let columns = staged_columns(model, model.key.iter().copied().zip(schema.fields()))?;
    let beside = ["_ord BIGINT", "_listed UBIGINT"].map(str::to_owned);
    create(db, OTHER_KEYS, beside.into_iter().chain(columns.iter().map(StagedColumn::definition)))?;
    let facts: Vec<(Field, ArrayRef)> = vec![
        (Field::new("_ord", DataType::Int64, true), Arc::new((0i64..).take(hashes.len()).collect::<Int64Array>())),
        (Field::new("_listed", DataType::UInt64, true), Arc::new(UInt64Array::from(hashes.to_vec()))),
    ];
    let mut appender = appender(db, OTHER_KEYS)?;
    append(&mut appender, with_columns(facts, keys).map_err(|error| misfit(model, &error))?)?;
    appender.flush().map_err(Error::database("stage the keys of records"))?;
    Ok(columns.iter().map(|column| column.value("s")).collect())
}

/// Drops a temporary table, so that its memory is free.
pub fn drop(db: &Connection, table: &str) -> Result<(), Error> {
    db.execute_batch(&format!("DROP TABLE IF EXISTS {table}")).map_err(Error::database("drop a temporary table"))
}

fn create(db: &Connection, table: &str, columns: impl IntoIterator<Item = String>) -> Result<(), Error> {
    db.execute_batch(&format!("CREATE OR REPLACE TEMP TABLE {table} ({})", list(columns)))
        .map_err(Error::database("create a temporary table"))
}

fn appender<'db>(db: &'db Connection, table: &str) -> Result<duckdb::Appender<'db>, Error> {
    let name = table.rsplit('.').next().unwrap_or(table);
    db.appender_to_catalog_and_db(name, "temp", "main").map_err(Error::database("stage the rows"))
}

fn append(appender: &mut duckdb::Appender<'_>, rows: RecordBatch) -> Result<(), Error> {
    appender.append_record_batch(rows).map_err(Error::database("stage the rows"))
}

/// Spreads keys that are hashes already.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only hashes of keys are spread")
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = u64::try_from(hash & u128::from(u64::MAX)).expect("64 bits");
    }
}

/// Numbers the last row of each key in the order in which they came.
fn number_last_of_each_key(batches: &[Batch]) -> Vec<Vec<Option<i64>>> {
    let rows = batches.iter().map(|batch| batch.key_hashes.len()).sum();
    let mut seen = HashSet::with_capacity_and_hasher(rows, BuildHasherDefault::<Spread>::default());
    let is_last = |batch: &Batch| batch.key_hashes.iter().rev().map(|key| seen.insert(*key)).collect::<Vec<_>>();
    let last: Vec<Vec<bool>> = batches.iter().rev().map(is_last).collect();
    let mut ord = -1;
    let mut number = |last: bool| {
        last.then(|| {
            ord += 1;
            ord
        })
    };
    last.into_iter().rev().map(|last| last.into_iter().rev().map(&mut number).collect()).collect()
}

/// The batch's keys with what is known of their rows, without those that were replaced.
fn keys_of(
    model: &ModelPlan,
    (batch, mark): (&Batch, Option<usize>),
    ords: &[Option<i64>],
    notes: bool,
) -> Result<RecordBatch, ArrowError> {
    let gone_at = |fate: &Fate| match fate {
        Fate::Deleted(at) => *at,
        Fate::Live => None,
    };
    let gone_at: TimestampMicrosecondArray = batch.fates.iter().map(gone_at).collect();
    let gone: BooleanArray = batch.fates.iter().map(|fate| Some(*fate != Fate::Live)).collect();
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut facts: Vec<(Field, ArrayRef)> = vec![
        (Field::new("_ord", DataType::Int64, true), Arc::new(ords.iter().copied().collect::<Int64Array>())),
        (Field::new("_hash", DataType::UInt64, false), Arc::new(UInt64Array::from(batch.row_hashes.clone()))),
        (Field::new("_gone", DataType::Boolean, true), Arc::new(gone)),
        (Field::new("_gone_at", moment, true), Arc::new(gone_at.with_timezone("UTC"))),
    ];
    let rows = batch.rows.num_rows();
    if model.partitioned {
        let partition: StringArray = std::iter::repeat_n(batch.partition.as_deref(), rows).collect();
        facts.push((Field::new("_partition", DataType::Utf8, true), Arc::new(partition)));
    }
    if notes {
        let scan: UInt64Array = std::iter::repeat_n(batch.seen_by, rows).collect();
        facts.push((Field::new("_scan", DataType::UInt64, true), Arc::new(scan)));
    }
    if model.listed {
        let listed = batch.listed.as_ref().map(|listed| listed.iter().copied().collect());
        let listed: UInt64Array = listed.unwrap_or_else(|| UInt64Array::new_null(rows));
        facts.push((Field::new("_listed", DataType::UInt64, true), Arc::new(listed)));
    }
    if let Some(raw) = &batch.raw {
        let hashes = UInt64Array::from(raw.hashes().to_vec());
        facts.push((Field::new("_raw_hash", DataType::UInt64, true), Arc::new(hashes)));
    }
    if let Some(at) = mark {
        let field = batch.rows.schema().field(at).clone().with_name(MARK);
        facts.push((field, Arc::clone(batch.rows.column(at))));
    }
    let keep: BooleanArray = ords.iter().map(|ord| Some(ord.is_some())).collect();
    kept(with_columns(facts, &batch.rows.project(&model.key)?)?, &keep)
}

fn with_columns(before: Vec<(Field, ArrayRef)>, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (fields, arrays): (Vec<_>, Vec<_>) = before.into_iter().map(|(field, array)| (Arc::new(field), array)).unzip();
    let fields: Vec<FieldRef> = fields.into_iter().chain(rows.schema().fields().iter().cloned()).collect();
    let arrays = arrays.into_iter().chain(rows.columns().iter().cloned()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// Those rows for which `keep` has true.
pub fn kept(rows: RecordBatch, keep: &BooleanArray) -> Result<RecordBatch, ArrowError> {
    if keep.true_count() == keep.len() { Ok(rows) } else { filter_record_batch(&rows, keep) }
}

fn check(model: &ModelPlan, batch: &Batch, shape: &Arc<Schema>) -> Result<(), Error> {
    let rows = batch.rows.num_rows();
    let listed = batch.listed.as_ref().map_or(rows, Vec::len);
    let lengths = [batch.key_hashes.len(), batch.row_hashes.len(), batch.fates.len(), listed];
    if lengths.iter().any(|length| *length != rows) {
        return Err(misfit(
            model,
            &format!("{rows} rows have {lengths:?} key hashes, row hashes, fates and hashes of the list"),
        ));
    }
    if rows > 0 && batch.raw.as_ref().map(|raw| raw.hashes().len()) != model.raw.then_some(rows) {
        return Err(misfit(model, &"the records do not come as `raw` says"));
    }
    if shape.fields().len() != model.columns.len() {
        let (found, wanted) = (shape.fields().len(), model.columns.len());
        return Err(misfit(model, &format!("{found} columns instead of {wanted}")));
    }
    if rows > 0 && batch.rows.schema() != *shape {
        return Err(misfit(model, &"the pages of one group have different columns"));
    }
    Ok(())
}

/// A column of a temporary table.
struct StagedColumn {
    name: String,
    sql: String,
    /// the model's type, if it is another
    cast: Option<String>,
}

impl StagedColumn {
    fn definition(&self) -> String {
        format!("{} {}", self.name, self.sql)
    }

    /// The expression over `row` that gives the value in the model's type.
    fn value(&self, row: &str) -> String {
        self.named(row, &self.name)
    }

    /// The same where the column has another name.
    fn named(&self, row: &str, name: &str) -> String {
        match &self.cast {
            None => format!("{row}.{name}"),
            Some(wanted) => format!("CAST({row}.{name} AS {wanted})"),
        }
    }
}

/// The columns of a temporary table for model columns, given by their position and the field of their array.
fn staged_columns<'a>(
    model: &ModelPlan,
    fields: impl IntoIterator<Item = (usize, &'a FieldRef)>,
) -> Result<Vec<StagedColumn>, Error> {
    let column = |(place, field): (usize, &'a FieldRef)| {
        let wanted = model.columns[place].column_type.to_string();
        let sql = sql_type(field).ok_or_else(|| misfit(model, &format!("Arrow type {}", field.data_type())))?;
        Ok(StagedColumn { name: format!("c{place}"), cast: (sql != wanted).then_some(wanted), sql })
    };
    fields.into_iter().map(column).collect()
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

/// A group that does not have the shape of its model.
pub fn misfit(model: &ModelPlan, detail: &dyn std::fmt::Display) -> Error {
    Error::Rows { table: table_of(model).plain(), detail: detail.to_string() }
}
