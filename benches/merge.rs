//! Merging: 10,000 staged rows of about 350 bytes and 8 columns into a table of 200,000.
//!
//! `cargo bench --bench merge` prints rows per second. The file stays attached: letting it go between commits costs a checkpoint more.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use chrono::{DateTime, Utc};
use divan::Bencher;
use divan::counter::ItemsCount;
use headwater::plan::{ColumnPlan, ColumnSource, ColumnType, ModelPlan, Path, SyncId, TimeFormat};
use headwater::record::{Batch, Fate, arrow_type};
use headwater::scan::Checkpoint;
use headwater::store::{Filled, Group, Store};
use tempfile::TempDir;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const TABLE: u64 = 200_000;
const STAGED: u64 = 10_000;
const PAGE: u64 = 1_000;

fn main() {
    divan::main();
}

/// None of the keys is known.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn all_new(bencher: Bencher<'_, '_>) {
    let mut next = TABLE;
    merge(bencher, move |_| {
        next += STAGED;
        Stretch { from: next - STAGED, step: 1, changed_every: 0 }
    });
}

/// Spread over the table, one row in a hundred has another value.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn one_percent_changed(bencher: Bencher<'_, '_>) {
    merge(bencher, |_| Stretch { from: 0, step: TABLE / STAGED, changed_every: 100 });
}

/// Spread over the table, every row has another value.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn all_changed(bencher: Bencher<'_, '_>) {
    merge(bencher, |_| Stretch { from: 0, step: TABLE / STAGED, changed_every: 1 });
}

/// Spread over the table, every row is as it was.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn nothing_changed(bencher: Bencher<'_, '_>) {
    merge(bencher, |_| Stretch { from: 0, step: TABLE / STAGED, changed_every: 0 });
}

/// Which rows are staged.
struct Stretch {
    from: u64,
    step: u64,
    /// every which row differs from all earlier rounds; 0 = none
    changed_every: u64,
}

fn merge(bencher: Bencher<'_, '_>, mut stretch: impl FnMut(u64) -> Stretch) {
    let mut table = Table::new();
    let mut round = 0;
    let model = Arc::clone(&table.model);
    bencher
        .counter(ItemsCount::new(STAGED))
        .with_inputs(|| {
            round += 1;
            group(&model, &stretch(round), round)
        })
        .bench_local_values(|group| table.store.commit(group).expect("committed"));
}

/// A database with a full table.
struct Table {
    store: Store,
    model: Arc<ModelPlan>,
    _folder: TempDir,
}

impl Table {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let model = Arc::new(model());
        let mut store = Store::open_for_run(&folder.path().join("bench.duckdb"), Box::new(|_| {})).expect("opened");
        store.prepare(&[Arc::clone(&model)], false, "run", now()).expect("prepared");
        for from in (0..TABLE).step_by(usize::try_from(STAGED).expect("small")) {
            store.commit(group(&model, &Stretch { from, step: 1, changed_every: 0 }, 0)).expect("committed");
        }
        store.release().expect("released");
        Self { store, model, _folder: folder }
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a time")
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
        ("address", "json"),
    ];
    let column = |(name, column_type): (&str, &str)| ColumnPlan {
        name: name.into(),
        column_type: ColumnType::parse(column_type).expect("a type"),
        source: ColumnSource::Path(Path::parse("$.x").expect("a path")),
        format: TimeFormat::Rfc3339,
        required: name == "id",
        volatile: false,
        description: None,
    };
    let columns = columns.map(column).into();
    ModelPlan { key: vec![0], ..ModelPlan::of_columns("Customer", ("shop", "customers"), columns) }
}

fn group(model: &Arc<ModelPlan>, stretch: &Stretch, round: u64) -> Group {
    let page = |nth: u64| {
        let rows: Vec<(u64, u64)> = (nth * PAGE..(nth + 1) * PAGE)
            .map(|at| {
                let number = stretch.from + at * stretch.step;
                let changed = stretch.changed_every > 0 && at % stretch.changed_every == 0;
                (number, if changed { round } else { 0 })
            })
            .collect();
        page(model, &rows)
    };
    let id =
        SyncId { connection: "main".into(), provider: "shop".into(), sync: "customers".into(), variant: String::new() };
    let batches = (0..STAGED / PAGE).map(page).collect();
    let filled = vec![Filled { model: Arc::clone(model), batches, newest: None }];
    let group = Group::of(id, "run".into(), filled, now());
    Group { pages: STAGED / PAGE, checkpoints: vec![("".into(), Checkpoint::new(0))], ..group }
}

/// Rows by number and by the round that changed them; the same of both gives the same row. Ids are in no order, as most APIs' are.
fn page(model: &ModelPlan, rows: &[(u64, u64)]) -> Batch {
    let random = |seed: String| format!("{:032x}", xxh3_128(seed.as_bytes()));
    let texts = |text: &dyn Fn(u64, u64) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|(number, round)| Some(text(*number, *round))).collect::<StringArray>())
    };
    let signed = |number: u64| i64::try_from(number).expect("small");
    let columns = vec![
        texts(&|number, _| random(number.to_string())),
        Arc::new(rows.iter().map(|(number, _)| Some(signed(*number))).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|(number, _)| Some(signed(*number) * 1_000_000))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new(rows.iter().map(|(number, _)| Some(number % 3 == 0)).collect::<BooleanArray>()),
        texts(&|number, round| format!("customer {number} of round {round}")),
        texts(&|number, _| format!("{}@example.com", random(format!("mail {number}")))),
        texts(&|number, _| (0..4).map(|part| random(format!("note {number} {part}"))).collect()),
        texts(&|number, _| format!("{{\"street\":\"{}\",\"no\":{number}}}", random(format!("street {number}")))),
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
        raw: None,
        listed: None,
        quarantined: Vec::new(),
        quarantined_keys: RecordBatch::new_empty(Arc::new(Schema::empty())),
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
