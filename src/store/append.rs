//! New rows straight into their table, without a temporary one.
//!
//! DuckDB takes over row groups that are full as they are: a transaction that adds at least one (`limits::ROW_GROUP_ROWS`) compresses each as
//! soon as it is full, writes it into the file, and only its place into the write-ahead log.

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use duckdb::{Appender, Connection};

use super::error::Error;
use super::sql::CATALOG;
use super::stage::{Staged, kept, misfit};
use super::tables::{LISTED, PARTITION, RAW, table_of};
use crate::plan::{ModelPlan, SyncId};
use crate::record::{Batch, Fate};

/// Rows that DuckDB is handed at once, so that no copy of many waits in between.
const ROWS_AT_ONCE: usize = 4_096;

/// Adds the rows of a group, none of which the table has, with change numbers behind `counter`, and takes all rows out of the batches.
///
/// # Errors
/// DuckDB refuses.
pub fn append_new(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    (batches, staged): (&mut [Batch], &Staged),
    counter: i64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut added = Added { id, counter, now: now.timestamp_micros() };
    let mut appender: Option<Appender<'_>> = None;
    let mut waiting = 0;
    for (at, batch) in batches.iter_mut().enumerate().filter(|(_, batch)| batch.rows.num_rows() > 0) {
        let rows = added.rows(model, batch, staged.ords(at)).map_err(|error| misfit(model, &error))?;
        let open = match appender.take() {
            Some(open) => Ok(open),
            None => open(db, model, &rows),
        };
        let appender = appender.insert(open?);
        waiting += rows.num_rows();
        appender.append_record_batch(rows).map_err(refused())?;
        if waiting >= ROWS_AT_ONCE {
            waiting = 0;
            appender.flush().map_err(refused())?;
        }
    }
    // what an appender cannot write when it is dropped is not told
    appender.map_or(Ok(()), |mut appender| appender.flush().map_err(refused()))
}

/// An appender to the columns that these rows have; their order in the table is its own.
fn open<'db>(db: &'db Connection, model: &ModelPlan, rows: &RecordBatch) -> Result<Appender<'db>, Error> {
    let table = table_of(model);
    let schema = rows.schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    db.appender_with_columns_to_catalog_and_db(&table.name, CATALOG, &table.schema, &columns).map_err(refused())
}

fn refused() -> impl FnOnce(duckdb::Error) -> Error {
    Error::database("append the rows")
}

/// What all rows of a group have in common.
struct Added<'r> {
    id: &'r SyncId,
    /// the last change number given out
    counter: i64,
    /// in microseconds since 1970 UTC
    now: i64,
}

impl Added<'_> {
    /// The rows of a batch with all columns of their table, without those that a later one has replaced.
    fn rows(&mut self, model: &ModelPlan, batch: &mut Batch, ords: &[Option<i64>]) -> Result<RecordBatch, ArrowError> {
        let empty = RecordBatch::new_empty(batch.rows.schema());
        let rows = std::mem::replace(&mut batch.rows, empty);
        // taken out as the rows are: both can be large
        let raw = batch.raw.take();
        let schema = rows.schema();
        let of_model = schema.fields().iter().zip(&model.columns).zip(rows.columns());
        let named = of_model.map(|((field, column), array)| {
            (field.as_ref().clone().with_name(column.name.as_str()).with_nullable(true), Arc::clone(array))
        });
        let facts = self.facts(model, batch, ords).into_iter();
        let raw = raw.map(|raw| -> [(&str, ArrayRef); 2] {
            let hashes = UInt64Array::from(raw.hashes().to_vec());
            [(RAW[0].0, Arc::new(raw.texts())), (RAW[1].0, Arc::new(hashes))]
        });
        let facts = facts.chain(raw.into_iter().flatten());
        let facts = facts.map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array));
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = named.chain(facts).unzip();
        let keep: BooleanArray = ords.iter().map(|ord| Some(ord.is_some())).collect();
        kept(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?, &keep)
    }

    /// What headwater says of each row of a batch, by column.
    fn facts(&mut self, model: &ModelPlan, batch: &Batch, ords: &[Option<i64>]) -> Vec<(&'static str, ArrayRef)> {
        let rows = ords.len();
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(repeat_n(text, rows))) };
        let moments = |moments: TimestampMicrosecondArray| -> ArrayRef { Arc::new(moments.with_timezone("UTC")) };
        let now = self.now;
        let same = || moments(repeat_n(Some(now), rows).collect());
        let deleted_at = |fate: &Fate| match fate {
            Fate::Live => None,
            Fate::Deleted(at) => Some(at.unwrap_or(now)),
        };
        let action = |fate: &Fate| if *fate == Fate::Live { "ADDED" } else { "DELETED" };
        let mut next = |ord: &Option<i64>| {
            self.counter += i64::from(ord.is_some());
            Some(self.counter)
        };
        let change: Int64Array = ords.iter().map(&mut next).collect();
        let mut facts: Vec<(&str, ArrayRef)> = vec![
            ("_connection", text(&self.id.connection)),
            ("_variant", text(&self.id.variant)),
            ("_first_seen_at", same()),
            ("_last_modified_at", same()),
            ("_last_action", Arc::new(StringArray::from_iter_values(batch.fates.iter().map(action)))),
            ("_deleted_at", moments(batch.fates.iter().map(deleted_at).collect())),
            ("_change", Arc::new(change)),
            ("_hash", Arc::new(UInt64Array::from(batch.row_hashes.clone()))),
        ];
        if model.partitioned {
            let partition: StringArray = repeat_n(batch.partition.as_deref(), rows).collect();
            facts.push((PARTITION.0, Arc::new(partition)));
        }
        if model.listed {
            let listed = batch.listed.as_ref().map(|listed| listed.iter().copied().collect());
            facts.push((LISTED.0, Arc::new(listed.unwrap_or_else(|| UInt64Array::new_null(rows)))));
        }
        facts
    }
}
