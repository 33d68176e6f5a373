//! Models, batches and a database to try them on.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::plan::{ColumnPlan, ColumnSource, ColumnType, Guard, ModelPlan, Path, SyncId, TimeFormat};
use crate::record::{Batch, Fate, Quarantined, Raw, arrow_type};
use crate::scan::{Checkpoint, Mark, Track};
use crate::store::{
    Absence, AbsenceEnd, Committed, Error, Filled, Group, Partitions, ReadStore, RunRecord, ScanEnd, Seen, Store,
};

/// `minutes` after the beginning of the tests' time.
pub fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 123_456_000).expect("a time") + TimeDelta::minutes(minutes)
}

pub fn id() -> SyncId {
    sync_of("main", "")
}

pub fn sync_of(connection: &str, variant: &str) -> SyncId {
    SyncId { connection: connection.into(), provider: "shop".into(), sync: "customers".into(), variant: variant.into() }
}

/// A model `shop.customers`; columns are `(name, type)`.
pub fn model(columns: &[(&str, &str)], key: &[&str]) -> ModelPlan {
    let column = |(name, column_type): &(&str, &str)| ColumnPlan {
        name: (*name).into(),
        column_type: ColumnType::parse(column_type).expect("a type"),
        source: ColumnSource::Path(Path::parse("$.x").expect("a path")),
        format: TimeFormat::Rfc3339,
        required: key.contains(name),
        volatile: false,
        description: None,
    };
    let position = |key: &&str| columns.iter().position(|(name, _)| name == key).expect("a column");
    ModelPlan {
        key: key.iter().map(position).collect(),
        ..ModelPlan::of_columns("Customer", ("shop", "customers"), columns.iter().map(column).collect())
    }
}

/// The model most tests use: `id` is the key, `name` a value.
pub fn customers() -> Arc<ModelPlan> {
    Arc::new(model(&[("id", "bigint"), ("name", "varchar")], &["id"]))
}

/// A record: its values in the model's order, its fate, and a member that no column takes.
#[derive(Debug, Clone)]
pub struct Record(pub Vec<Value>, pub Fate, pub u8);

pub fn live(values: Value) -> Record {
    Record(listed(values), Fate::Live, 0)
}

pub fn gone(values: Value) -> Record {
    Record(listed(values), Fate::Deleted(None), 0)
}

fn listed(values: Value) -> Vec<Value> {
    match values {
        Value::Array(values) => values,
        other => panic!("{other} is no list of values"),
    }
}

pub fn batch(model: &ModelPlan, records: &[Record]) -> Batch {
    let key = |record: &Record| Value::Array(model.key.iter().map(|&at| record.0[at].clone()).collect());
    let hashed = |record: &Record| -> Value {
        record
            .0
            .iter()
            .zip(&model.columns)
            .filter(|(_, column)| !column.volatile)
            .map(|(value, _)| value.clone())
            .collect()
    };
    Batch {
        rows: rows(&model.columns.iter().collect::<Vec<_>>(), &records.iter().map(|r| r.0.clone()).collect::<Vec<_>>()),
        key_hashes: records.iter().map(|record| xxh3_128(key(record).to_string().as_bytes())).collect(),
        row_hashes: records.iter().map(|record| xxh3_64(hashed(record).to_string().as_bytes())).collect(),
        fates: records.iter().map(|record| record.1).collect(),
        raw: model.raw.then(|| raw_of(records)),
        listed: None,
        quarantined: Vec::new(),
        quarantined_keys: rows(&model.key.iter().map(|&at| &model.columns[at]).collect::<Vec<_>>(), &[]),
        keyless: 0,
        filtered: 0,
        nulled: 0,
        high: None,
        low: None,
        unsorted: false,
        bytes: 0,
        partition: None,
        seen_by: None,
        children: Vec::new(),
    }
}

/// The records as they came: their values, and what no column takes.
fn raw_of(records: &[Record]) -> Raw {
    let mut raw = Raw::default();
    for record in records {
        let text = json!({ "values": record.0, "unmapped": record.2 }).to_string();
        raw.push(&crate::record::parse(text.as_bytes()).expect("JSON"));
    }
    raw
}

/// A page that has only records which are no rows: `(typed key, raw key, reason)`.
pub fn bad_batch(model: &ModelPlan, records: &[(Option<Value>, &str)]) -> Batch {
    let mut page = batch(model, &[]);
    let keys: Vec<Vec<Value>> = records
        .iter()
        .filter_map(|(key, _)| key.as_ref())
        .map(|key| key.as_array().expect("key values").clone())
        .collect();
    page.quarantined_keys = rows(&model.key.iter().map(|&at| &model.columns[at]).collect::<Vec<_>>(), &keys);
    page.keyless = records.iter().filter(|(key, _)| key.is_none()).count() as u64;
    page.quarantined = records
        .iter()
        .map(|(key, reason)| Quarantined {
            key: key.as_ref().map(Value::to_string),
            key_hash: key.as_ref().map(|key| xxh3_128(key.to_string().as_bytes())),
            column: Some("name".into()),
            code: "type_mismatch",
            reason: (*reason).to_owned(),
            record: json!({ "raw": key }).to_string(),
            record_hash: Some(xxh3_64(json!({ "raw": key }).to_string().as_bytes())),
        })
        .collect();
    page
}

fn rows(columns: &[&ColumnPlan], rows: &[Vec<Value>]) -> RecordBatch {
    let fields = columns.iter().map(|c| Field::new(&c.name, arrow_type(&c.column_type), true)).collect::<Vec<_>>();
    let arrays = columns
        .iter()
        .enumerate()
        .map(|(at, column)| array(&column.column_type, &rows.iter().map(|row| &row[at]).collect::<Vec<_>>()))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

/// The values as the record room sends them: the texts are those in which [`ReadStore`] gives them back.
fn array(column_type: &ColumnType, values: &[&Value]) -> ArrayRef {
    let text = |value: &&Value| value.as_str().map(str::to_owned);
    match column_type {
        ColumnType::Boolean => Arc::new(values.iter().map(|v| v.as_bool()).collect::<BooleanArray>()),
        ColumnType::Integer => Arc::new(
            values.iter().map(|v| v.as_i64().map(|n| i32::try_from(n).expect("32 bits"))).collect::<Int32Array>(),
        ),
        ColumnType::Bigint => Arc::new(values.iter().map(|v| v.as_i64()).collect::<Int64Array>()),
        ColumnType::Double => Arc::new(values.iter().map(|v| v.as_f64()).collect::<Float64Array>()),
        ColumnType::Decimal { precision, scale } => Arc::new(
            values
                .iter()
                .map(|v| v.as_str().map(|text| text.replace('.', "").parse::<i128>().expect("digits")))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(*precision, scale.cast_signed())
                .expect("a decimal"),
        ),
        ColumnType::Varchar | ColumnType::Uuid => Arc::new(values.iter().map(text).collect::<StringArray>()),
        ColumnType::Hugeint => Arc::new(
            values
                .iter()
                .map(|v| (!v.is_null()).then(|| v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
                .collect::<StringArray>(),
        ),
        ColumnType::Json => {
            Arc::new(values.iter().map(|v| (!v.is_null()).then(|| v.to_string())).collect::<StringArray>())
        }
        ColumnType::Date => Arc::new(
            values.iter().map(|v| v.as_str().map(|t| days(t.parse().expect("a day")))).collect::<Date32Array>(),
        ),
        ColumnType::Time => Arc::new(
            values
                .iter()
                .map(|v| v.as_str().map(|t| micros(t.parse().expect("a time"))))
                .collect::<Time64MicrosecondArray>(),
        ),
        ColumnType::Timestamp => Arc::new(
            values
                .iter()
                .map(|v| {
                    v.as_str().map(|t| t.parse::<NaiveDateTime>().expect("a timestamp").and_utc().timestamp_micros())
                })
                .collect::<TimestampMicrosecondArray>(),
        ),
        ColumnType::Timestamptz => Arc::new(
            values
                .iter()
                .map(|v| v.as_str().map(|t| t.parse::<DateTime<Utc>>().expect("a moment").timestamp_micros()))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        ColumnType::Blob => Arc::new(BinaryArray::from_iter(
            values.iter().map(|v| v.as_str().map(|text| STANDARD.decode(text).expect("base64"))),
        )),
        ColumnType::List(item) => list(item, values),
    }
}

fn list(item: &ColumnType, values: &[&Value]) -> ArrayRef {
    let items: Vec<&Value> = values.iter().filter_map(|v| v.as_array()).flatten().collect();
    let DataType::List(field) = arrow_type(&ColumnType::List(Box::new(item.clone()))) else {
        panic!("a list is a list")
    };
    let lengths = OffsetBuffer::from_lengths(values.iter().map(|v| v.as_array().map_or(0, Vec::len)));
    let nulls = NullBuffer::from_iter(values.iter().map(|v| !v.is_null()));
    Arc::new(ListArray::new(field, lengths, array(item, &items), Some(nulls)))
}

fn days(day: NaiveDate) -> i32 {
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).expect("days")
}

fn micros(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000)
}

/// The end of a scan of all rows that missed nothing and is not guarded.
pub fn ended(scan_id: u64, records_seen: u64) -> ScanEnd {
    ScanEnd {
        scan_id,
        began: at(1_000_000),
        records_seen,
        of_models: Vec::new(),
        of_ids: false,
        stretch: None,
        guard: FREE,
        accept: false,
        confirm: false,
        partitions: Partitions::All,
        forget: Some(Seen::AllBut(None)),
    }
}

/// A checkpoint that is recognisable by its watermark.
pub fn mark(number: i64) -> Checkpoint {
    let main = Track { watermark: Some(Mark::Integer(number)), ..Track::default() };
    Checkpoint { main, ..Checkpoint::new(7) }
}

/// A database in a folder of its own, with one model.
pub struct Bench {
    pub folder: TempDir,
    pub store: Store,
    pub model: Arc<ModelPlan>,
    pub id: SyncId,
}

impl Bench {
    pub fn new(model: Arc<ModelPlan>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = open(&folder.path().join("w.duckdb"));
        store.prepare(&[Arc::clone(&model)], false, "r0", at(0)).expect("prepared");
        Self { folder, store, model, id: id() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("w.duckdb")
    }

    pub fn group(&self, batches: Vec<Batch>, minutes: i64) -> Group {
        let pages = batches.len() as u64;
        let filled = vec![Filled { model: Arc::clone(&self.model), batches, newest: None }];
        let group = Group::of(self.id.clone(), "r1".into(), filled, at(minutes));
        Group { pages, checkpoints: vec![("".into(), mark(minutes))], ..group }
    }

    /// Commits one page at a minute.
    pub fn commit(&mut self, minutes: i64, records: &[Record]) -> Committed {
        let group = self.group(vec![batch(&self.model, records)], minutes);
        self.store.commit(group).expect("committed")
    }

    /// Commits one page of a scan.
    pub fn scan(&mut self, minutes: i64, scan_id: u64, pages: Vec<Batch>) -> Committed {
        let pages = pages.into_iter().map(|page| Batch { seen_by: Some(scan_id), ..page });
        let group = self.group(pages.collect(), minutes);
        self.store.commit(group).expect("committed")
    }

    pub fn finish(&mut self, minutes: i64, scan: ScanEnd) -> Absence {
        let end = AbsenceEnd {
            id: &self.id,
            run_id: "r1",
            models: std::slice::from_ref(&self.model),
            scan,
            checkpoint: &("".into(), mark(minutes)),
            now: at(minutes),
        };
        self.store.finish_absence(&end).expect("finished")
    }

    pub fn begin(&mut self, run_id: &str, minutes: i64) -> RunRecord {
        let run = RunRecord { run_id: run_id.into(), id: self.id.clone(), started_at: at(minutes) };
        self.store.begin_run(&run).expect("begun");
        run
    }

    /// The rows of a statement.
    pub fn rows(&mut self, sql: &str) -> Vec<Value> {
        self.store.release().expect("released");
        query(&self.path(), sql).expect("rows")
    }

    /// The one value of a statement.
    pub fn value(&mut self, sql: &str) -> Value {
        self.rows(sql)[0][0].clone()
    }

    /// The change feed of the table after `after`.
    pub fn changes(&mut self, after: i64) -> Vec<Map<String, Value>> {
        self.store.release().expect("released");
        let mut all = Vec::new();
        let table = format!("{}.{}", self.model.schema, self.model.table);
        reader(&self.path())
            .changes(&table, after, None, |row| {
                all.push(row);
                ControlFlow::Continue(())
            })
            .expect("changes");
        all
    }

    /// Everything about the table that a rewrite would move.
    pub fn fingerprint(&mut self) -> Value {
        let table = format!("\"{}\".\"{}\"", self.model.schema, self.model.table);
        let counter = self.value("SELECT change_counter FROM headwater.meta");
        json!([counter, self.rows(&format!("SELECT rowid, * FROM {table} ORDER BY rowid"))])
    }
}

pub fn open(path: &std::path::Path) -> Store {
    Store::open_for_run(path, Box::new(|_| {})).expect("opened")
}

pub fn reader(path: &std::path::Path) -> ReadStore {
    ReadStore::open(path, Box::new(|_| {})).expect("opened")
}

pub fn query(path: &std::path::Path, sql: &str) -> Result<Vec<Value>, Error> {
    let mut rows = Vec::new();
    reader(path).query(sql, |_, values| {
        rows.push(Value::Array(values));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

pub const FREE: Guard = Guard { max_fraction: 1.0, min_rows: 0, allow_empty: true };

/// What a killed process leaves: the file and its log as they are at a moment.
pub fn killed(path: &std::path::Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["w.duckdb", "w.duckdb.wal"] {
        let from = path.with_file_name(name);
        if from.exists() {
            std::fs::copy(from, folder.path().join(name)).expect("copied");
        }
    }
    folder
}
