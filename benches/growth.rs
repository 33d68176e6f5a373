//! What a second run costs as the table grows: the same changes into 100,000, 1,000,000 and 10,000,000 rows.
//!
//! `./dev bench --bench growth` measures the two smaller tables; `GROWTH_ROWS=10000000 ./dev bench --bench growth` the large one, which
//! takes minutes. Rows of 8 columns and about 150 bytes go through [`Store`] into a real file, in groups as a run commits them; no HTTP. Changes are spread evenly over the table, in the worst order there is for a file of columns: ids are random text. Each line is
//! a process of its own (this program again) on the same file, so that its peak of resident memory is its own; memory comes from Linux's
//! `/proc`. `commit` is the time in [`Store::commit`], `release` that of letting go of the file, which folds the log in.
//! `docs/performance.md` has figures and what they mean.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for people at a terminal, outside of headwater"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use chrono::{DateTime, Utc};
use headwater::plan::limits::{GROUP_ROWS_MAX, ROW_GROUP_ROWS};
use headwater::plan::{ColumnPlan, ColumnSource, ColumnType, Guard, ModelPlan, SyncId, TimeFormat};
use headwater::record::{Batch, Fate, arrow_type};
use headwater::scan::Checkpoint;
use headwater::store::{Absence, AbsenceEnd, Filled, Group, Partitions, ScanEnd, Seen, Store};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const PAGE: usize = 1_000;
const SIZES: [u64; 2] = [100_000, 1_000_000];

/// What is measured, in this order: each leaves the table as large as it was.
const WORK: [(&str, &str); 6] = [
    ("fill", "first load, in groups"),
    ("same", "1,000 records as they were"),
    ("thousand", "1,000 records changed"),
    ("percent", "1 % of the records changed, in groups"),
    ("scan", "all records as they were, in groups, keys noted"),
    ("absence", "the end of that scan: 1 % are gone"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.as_slice() {
        [work, rows, path] => measure(work, rows.parse().expect("a number"), Path::new(path)),
        _ => all(),
    }
}

fn all() {
    let asked = std::env::var("GROWTH_ROWS").ok();
    let sizes: Vec<u64> = asked.map_or_else(
        || SIZES.to_vec(),
        |asked| asked.split(',').map(|size| size.trim().parse().expect("GROWTH_ROWS: numbers with commas")).collect(),
    );
    println!("{:>10}  {:48}  {:>10}  {:>10}  {:>8}", "rows", "", "commit ms", "release ms", "peak MB");
    for rows in sizes {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("growth.duckdb");
        for (work, title) in WORK {
            let program = std::env::current_exe().expect("this program");
            let output = Command::new(program).args([work, &rows.to_string()]).arg(&path).output().expect("it runs");
            assert!(output.status.success(), "{work}: {}", String::from_utf8_lossy(&output.stderr));
            print!("{rows:>10}  {title:48}  {}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// Does one kind of work, and prints what it took.
fn measure(work: &str, rows: u64, path: &Path) {
    let mut table = Table { store: open(path), model: Arc::new(model()), took: Duration::ZERO };
    table.store.prepare(&[Arc::clone(&table.model)], false, "run", now()).expect("prepared");
    table.store.release().expect("released");
    let thousandth = (rows / 1_000).max(1) as usize;
    match work {
        "fill" => table.commit((0..rows).map(|number| (number, 0)), (ROW_GROUP_ROWS, None)),
        "same" => table.commit((0..rows).step_by(thousandth).map(|number| (number, 0)), (GROUP_ROWS_MAX, None)),
        "thousand" => table.commit((1..rows).step_by(thousandth).map(|number| (number, 1)), (GROUP_ROWS_MAX, None)),
        "percent" => table.commit((2..rows).step_by(100).map(|number| (number, 2)), (GROUP_ROWS_MAX, None)),
        "scan" => {
            // as the changes before have left them
            let round = |number: u64| match number {
                _ if number % 100 == 2 => 2,
                _ if number % thousandth as u64 == 1 => 1,
                _ => 0,
            };
            let there = (0..rows).filter(|number| number % 100 != 50);
            table.commit(there.map(|number| (number, round(number))), (GROUP_ROWS_MAX, Some(1)));
        }
        "absence" => table.finish(rows),
        other => panic!("{other} is no work"),
    }
    let started = Instant::now();
    table.store.release().expect("released");
    println!("{:>10}  {:>10}  {:>8}", table.took.as_millis(), started.elapsed().as_millis(), peak_megabytes());
}

fn open(path: &Path) -> Store {
    Store::open_for_run(path, Box::new(|_| {})).expect("opened")
}

struct Table {
    store: Store,
    model: Arc<ModelPlan>,
    /// time in the store
    took: Duration,
}

impl Table {
    /// Commits rows by number and by the round that changed them, in groups of so many.
    fn commit(&mut self, rows: impl Iterator<Item = (u64, u64)>, (group, track_seen): (usize, Option<u64>)) {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let numbers: Vec<(u64, u64)> = rows.by_ref().take(group).collect();
            let page = |rows: &[_]| Batch { seen_by: track_seen, ..page(&self.model, rows) };
            let batches: Vec<Batch> = numbers.chunks(PAGE).map(page).collect();
            let pages = batches.len() as u64;
            let filled = vec![Filled { model: Arc::clone(&self.model), batches, newest: None }];
            let group = Group::of(id(), "run".into(), filled, now());
            let group = Group { pages, checkpoints: vec![("".into(), checkpoint())], ..group };
            let started = Instant::now();
            self.store.commit(group).expect("committed");
            self.took += started.elapsed();
        }
    }

    /// Deletes what the scan did not note.
    fn finish(&mut self, rows: u64) {
        let guard = Guard { max_fraction: 1.0, min_rows: 0, allow_empty: true };
        let end = AbsenceEnd {
            id: &id(),
            run_id: "run",
            models: std::slice::from_ref(&self.model),
            scan: ScanEnd {
                scan_id: 1,
                began: now() + chrono::TimeDelta::days(1),
                records_seen: rows,
                of_models: Vec::new(),
                of_ids: false,
                stretch: None,
                guard,
                accept: false,
                confirm: false,
                partitions: Partitions::All,
                forget: Some(Seen::AllBut(None)),
            },
            checkpoint: &("".into(), checkpoint()),
            now: now(),
        };
        let started = Instant::now();
        let absence = self.store.finish_absence(&end).expect("finished");
        self.took += started.elapsed();
        assert!(matches!(absence, Absence::Deleted { rows: gone, .. } if gone == rows / 100), "{absence:?}");
    }
}

fn id() -> SyncId {
    SyncId { connection: "main".into(), provider: "shop".into(), sync: "customers".into(), variant: String::new() }
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(0)
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a time")
}

/// The kernel's high-water mark of this process; 0 where there is none.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1_000
}

fn model() -> ModelPlan {
    let columns = [
        ("id", "varchar"),
        ("number", "bigint"),
        ("created_at", "timestamptz"),
        ("active", "boolean"),
        ("name", "varchar"),
        ("email", "varchar"),
        ("note", "varchar"),
        ("total", "bigint"),
    ];
    let column = |(name, column_type): (&str, &str)| ColumnPlan {
        name: name.into(),
        column_type: ColumnType::parse(column_type).expect("a type"),
        source: ColumnSource::Path(headwater::plan::Path::parse("$.x").expect("a path")),
        format: TimeFormat::Rfc3339,
        required: name == "id",
        volatile: false,
        description: None,
    };
    let columns = columns.map(column).into();
    ModelPlan { key: vec![0], ..ModelPlan::of_columns("Customer", ("shop", "customers"), columns) }
}

/// The same number and round give the same row.
fn page(model: &ModelPlan, rows: &[(u64, u64)]) -> Batch {
    let texts = |text: &dyn Fn(u64, u64) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|(number, round)| Some(text(*number, *round))).collect::<StringArray>())
    };
    let numbers = |number: &dyn Fn(u64, u64) -> u64| -> ArrayRef {
        Arc::new(rows.iter().map(|(at, round)| i64::try_from(number(*at, *round)).ok()).collect::<Int64Array>())
    };
    let columns = vec![
        // 24 characters in no order, as many APIs' ids are
        texts(&|number, _| format!("{:032x}", xxh3_128(&number.to_le_bytes()))[..24].to_owned()),
        numbers(&|number, _| number),
        Arc::new(
            rows.iter()
                .map(|(number, _)| i64::try_from(*number * 1_000_000).ok())
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new(rows.iter().map(|(number, _)| Some(number % 3 == 0)).collect::<BooleanArray>()),
        texts(&|number, round| format!("customer {number} of round {round}")),
        texts(&|number, _| format!("{:016x}@example.com", xxh3_64(&number.to_le_bytes()))),
        texts(&|number, _| format!("a note about customer {number} that is as long as such notes are")),
        numbers(&|number, round| number % 9_973 + round),
    ];
    let fields: Vec<Field> =
        model.columns.iter().map(|column| Field::new(&column.name, arrow_type(&column.column_type), true)).collect();
    Batch {
        rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length"),
        key_hashes: rows.iter().map(|(number, _)| xxh3_128(&number.to_le_bytes())).collect(),
        row_hashes: rows
            .iter()
            .map(|(number, round)| xxh3_64(&[number.to_le_bytes(), round.to_le_bytes()].concat()))
            .collect(),
        fates: vec![Fate::Live; rows.len()],
        quarantined: Vec::new(),
        quarantined_keys: RecordBatch::new_empty(Arc::new(Schema::empty())),
        keyless: 0,
        filtered: 0,
        nulled: 0,
        high: None,
        low: None,
        unsorted: false,
        raw: None,
        bytes: 0,
        partition: None,
        seen_by: None,
        children: Vec::new(),
        listed: None,
    }
}
