//! Bytes → JSON → paths → rows: whatever an API answers and wherever a model looks in it, each record is a row, or in
//! quarantine with a reason, or turned away and counted, and nothing panics.
//!
//! ```sh
//! ./dev fuzz map                            # as `check.rs` says
//! ```
//!
//! The input is lines of words with tabs between them, an empty line, and the body; without an empty line it is the body alone.
//! `records`, `where`, `flag`, `mark`, `key` and `invalid` begin lines like those of a sync and a model, any other line is a
//! column: `<type> <path or template> [<format>]`. The type `every` makes a column of each type. `fuzz/seeds/map/` shows some.
//! What is found stands in `fuzz/artifacts/map/`.

#![no_main]
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "a fuzz target is the outer world")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use headwater::files::read_project;
use headwater::plan::{
    ColumnPlan, ColumnSource, ColumnType, DeletePlan, IncrementalPlan, Known, MarkKind, ModelPlan, OnInvalid, Path,
    PathForm, Predicate, ResponsePlan, SyncPlan, Template, TimeFormat, compile, limits,
};
use headwater::record::map::read_start;
use headwater::record::{Batch, Json, MapError, Mapper, first, matches, parse, select, surrogate};
use libfuzzer_sys::fuzz_target;
use minijinja::Value;

/// Lines that are heeded; the mapping of one record costs as many steps.
const LINES_MAX: usize = 24;
/// Records that are mapped; those behind them are like them.
const RECORDS_MAX: usize = 64;
/// `..` of one path. The values that `n` of them lead to are as many as the ways to choose `n` levels of the body.
const DESCENTS_MAX: usize = 2;

/// A plan to change: what this target does not change is as in `tests/language/base/`.
static BASE: LazyLock<Arc<SyncPlan>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/language/base");
    let plan = compile(&read_project(&folder).expect("the files are read"), &folder, &Known::default())
        .plan
        .expect("it has no mistake");
    Arc::clone(&plan.syncs[0])
});

static TYPES: LazyLock<Vec<ColumnType>> = LazyLock::new(|| {
    let scalar = |name: &str| ColumnType::parse(name).or_else(|| ColumnType::parse(&format!("{name}(18,4)")));
    let scalars = ColumnType::NAMES.into_iter().map(|name| scalar(name).expect("a type"));
    scalars.flat_map(|scalar| [ColumnType::List(Box::new(scalar.clone())), scalar]).collect()
});

/// What the lines before the body say.
struct Lines {
    records: Path,
    filter: Option<Predicate>,
    deletes: DeletePlan,
    incremental: Option<IncrementalPlan>,
    on_invalid: OnInvalid,
    keys: usize,
    columns: Vec<ColumnPlan>,
    /// every path of them
    paths: Vec<Path>,
}

fn path(text: &str) -> Option<Path> {
    if text.matches("..").count() > DESCENTS_MAX { None } else { Path::parse(text).ok() }
}

fn predicate(text: &str) -> Option<Predicate> {
    match text.starts_with('$') {
        true => path(text).map(Predicate::Path),
        false => Template::parse(text).ok().map(Predicate::Template),
    }
}

fn format(text: Option<&&str>) -> TimeFormat {
    match text {
        None => TimeFormat::Rfc3339,
        Some(&"epoch_s") => TimeFormat::EpochS,
        Some(&"epoch_ms") => TimeFormat::EpochMs,
        Some(&"epoch_us") => TimeFormat::EpochUs,
        Some(text) => TimeFormat::Custom((*text).to_owned()),
    }
}

impl Lines {
    fn read(text: &str) -> Self {
        let mut lines = Self {
            records: Path::parse("$[*]").expect("a path"),
            filter: None,
            deletes: DeletePlan::None,
            incremental: None,
            on_invalid: OnInvalid::Quarantine,
            keys: 1,
            columns: Vec::new(),
            paths: Vec::new(),
        };
        for line in text.lines().take(LINES_MAX) {
            lines.line(&line.split('\t').collect::<Vec<_>>());
        }
        if lines.columns.is_empty() {
            lines.column("bigint", "$.id", None);
            lines.column("every", "$.v", None);
        }
        lines
    }

    /// Takes a line that says something, and leaves any other.
    fn line(&mut self, words: &[&str]) -> Option<()> {
        match words {
            ["records", text] => self.records = self.path(text)?,
            ["where", text] => {
                self.filter = Some(predicate(text)?);
                self.path(text)?;
            }
            ["flag", when, at @ ..] => {
                let at = at.first().and_then(|at| self.path(at));
                self.deletes = DeletePlan::Flag { when: predicate(when)?, at };
                self.path(when)?;
            }
            ["mark", kind, text, rest @ ..] => {
                let kind = match *kind {
                    "integer" => MarkKind::Integer,
                    "date" => MarkKind::Date,
                    "text" => MarkKind::Text,
                    _ => MarkKind::Timestamp,
                };
                let (field, format) = (self.path(text)?, format(rest.first()));
                let base = BASE.incremental.clone()?;
                self.incremental = Some(IncrementalPlan { field, kind, format, ..base });
            }
            ["invalid", what] => {
                self.on_invalid = if *what == "fail" { OnInvalid::Fail } else { OnInvalid::SetNull };
            }
            ["key", many] => self.keys = many.parse().ok()?,
            [column_type, source, rest @ ..] => self.column(column_type, source, rest.first()),
            _ => {}
        }
        Some(())
    }

    fn path(&mut self, text: &str) -> Option<Path> {
        let path = path(text)?;
        self.paths.push(path.clone());
        Some(path)
    }

    fn column(&mut self, column_type: &str, source: &str, written: Option<&&str>) {
        let source = match self.path(source) {
            Some(path) => ColumnSource::Path(path),
            None => match Template::parse(source) {
                Ok(template) => ColumnSource::Template(template),
                Err(_) => return,
            },
        };
        let one = ColumnType::parse(column_type).map(|one| vec![one]);
        let types = if column_type == "every" { TYPES.clone() } else { one.unwrap_or_default() };
        for column_type in types {
            let at = self.columns.len();
            self.columns.push(ColumnPlan {
                name: format!("c{at}"),
                column_type,
                source: source.clone(),
                format: format(written),
                required: at % 7 == 3,
                volatile: at % 5 == 4,
                ..BASE.model.columns[0].clone()
            });
        }
    }

    fn plan(&self) -> SyncPlan {
        let mut columns = self.columns.clone();
        let keys = self.keys.clamp(1, columns.len());
        columns[..keys].iter_mut().for_each(|column| {
            column.required = true;
            column.volatile = false;
        });
        let key = (0..keys).rev().collect();
        let model = ModelPlan { columns, key, on_invalid: self.on_invalid, ..ModelPlan::clone(&BASE.model) };
        SyncPlan {
            model: Arc::new(model),
            response: ResponsePlan { filter: self.filter.clone(), ..BASE.response.clone() },
            incremental: self.incremental.clone(),
            deletes: self.deletes.clone(),
            ..SyncPlan::clone(&BASE)
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let cut = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) = cut.map_or((&data[..0], data), |at| (&data[..at], &data[at + 2..]));
    let lines = Lines::read(&String::from_utf8_lossy(head));
    let mended;
    let json = match parse(body) {
        Ok(json) => json,
        Err(error) => {
            assert!(error.offset <= body.len() && error.line >= 1 && error.column >= 1, "{error:?}");
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
            let refused = serde_json::from_slice::<serde_json::Value>(body).is_err();
            assert!(refused || text.contains("4300 digits"), "what others read is refused: {error}");
            let Some(bytes) = surrogate::mend(body) else { return };
            assert_eq!(surrogate::mend(&bytes), None, "what is mended needs no mending");
            mended = bytes;
            let Ok(json) = parse(&mended) else { return };
            json
        }
    };
    texts(&json);
    let mut records = select(&lines.records, &json);
    records.truncate(RECORDS_MAX);
    for path in &lines.paths {
        records.iter().for_each(|record| paths(path, record));
        paths(path, &json);
    }
    map(&lines.plan(), &records);
});

/// The text of a value is read back as the same value.
fn texts(json: &Json<'_>) {
    let text = json.to_text();
    assert!(json.size() <= text.len(), "{} for {text}", json.size());
    assert!(parse(text.as_bytes()).expect("JSON") == *json, "{text}");
    let (mut canonical, mut again) = (String::new(), String::new());
    json.canonical(&mut canonical);
    let read = parse(canonical.as_bytes()).expect("JSON");
    assert!(read == *json, "{text}: {canonical}");
    read.canonical(&mut again);
    assert_eq!(canonical, again);
    drop((json.to_serde(), json.to_value()));
}

/// Two ways to the same values agree: a plain path and a query, a test of a record and a search in a list of it.
fn paths(path: &Path, root: &Json<'_>) {
    let found = select(path, root);
    assert!(first(path, root) == found.first().copied(), "{}", path.text());
    let one = Json::Array(vec![root.clone()]);
    if let PathForm::Plain { .. } = path.form()
        && let Ok(query) = Path::parse(&format!("$[0,0]{}", &path.text()[1..]))
    {
        let twice = select(&query, &one);
        assert!(twice == [found.as_slice(), &found].concat(), "{}: {found:?} and {twice:?}", path.text());
    }
    if path.is_filter() {
        let holds = matches(&Predicate::Path(path.clone()), root, &Value::UNDEFINED);
        assert_eq!(holds, Ok(!select(path, &one).is_empty()), "{}", path.text());
    }
}

fn map(plan: &SyncPlan, records: &[&Json<'_>]) {
    let context = Value::from(BTreeMap::<String, Value>::new());
    let mapper = Mapper::new(plan);
    let page = match mapper.map(records, &context) {
        Ok(page) => page,
        Err(MapError::TooLarge) => return,
        Err(error @ MapError::Invalid(_)) => {
            assert_eq!(plan.model.on_invalid, OnInvalid::Fail, "{error}");
            return;
        }
    };
    whole(&page, records.len());
    // the same again, record by record: what stands before a record changes nothing
    let alone: Vec<Batch> = records.iter().map(|record| mapper.map(&[*record], &context).expect("as before")).collect();
    let hashes: Vec<u64> = alone.iter().flat_map(|batch| batch.row_hashes.iter().copied()).collect();
    let keys: Vec<u128> = alone.iter().flat_map(|batch| batch.key_hashes.iter().copied()).collect();
    assert_eq!((&page.row_hashes, &page.key_hashes), (&hashes, &keys));
    assert!(page.fates.iter().eq(alone.iter().flat_map(|batch| &batch.fates)));
    assert!(page.quarantined.iter().eq(alone.iter().flat_map(|batch| &batch.quarantined)));
    assert_eq!(page.high, alone.iter().filter_map(|batch| batch.high.clone()).max());
    let counted = |batch: &Batch| [batch.keyless, batch.filtered, batch.nulled];
    let sum = alone.iter().map(counted).fold([0; 3], |sum, one| std::array::from_fn(|at| sum[at] + one[at]));
    assert_eq!(counted(&page), sum);
    if let Some(plan) = &plan.incremental {
        records.iter().for_each(|record| drop(read_start(plan, record)));
    }
}

fn whole(page: &Batch, records: usize) {
    let rows = page.rows.num_rows();
    let filtered = usize::try_from(page.filtered).expect("small");
    assert_eq!(rows + page.quarantined.len() + filtered, records, "nothing is dropped in silence");
    assert_eq!((page.key_hashes.len(), page.row_hashes.len(), page.fates.len()), (rows, rows, rows));
    let keyless = usize::try_from(page.keyless).expect("small");
    assert_eq!(page.quarantined_keys.num_rows() + keyless, page.quarantined.len());
    for record in &page.quarantined {
        assert!(!record.code.is_empty() && !record.reason.is_empty(), "{record:?}");
        assert!(!record.reason.contains(char::is_control), "{:?}", record.reason);
        assert!(record.record.len() <= limits::QUARANTINE_BYTES_MAX, "{}", record.record.len());
        assert!(record.key.as_ref().is_none_or(|key| parse(key.as_bytes()).is_ok()), "{:?}", record.key);
    }
}
