//! What must be true after a run, against its report and the database.

use std::path::Path;

use serde_json::{Map, Value};

use super::diff::{self, Line, Sign};
use super::run::{Came, Failure};
use super::value::{is_same, is_same_text, plain};
use crate::engine::{self, Answer, Report, Saved, Source, SyncReport};
use crate::plan::{ActionPlan, ColumnType, ExpectPlan, ExpectedOutput, ExpectedRows, ModelPlan, SyncPlan, limits};
use crate::store::{Error, ReadStore};

/// How a run or a call came out that its test has to say something about.
pub(super) struct Outcome<'r> {
    /// the stable name of what went wrong
    pub code: Option<&'r str>,
    pub message: &'r str,
    hint: Option<&'r str>,
}

/// What the run ended with that is no success; none where it came to its end.
pub(super) fn outcome(report: &SyncReport) -> Option<Outcome<'_>> {
    if let Some(error) = &report.error {
        return Some(Outcome { code: Some(error.code), message: &error.message, hint: error.hint.as_deref() });
    }
    // a budget of the sync's own is what its words ask for
    let reason = report.paused_reason.as_deref().filter(|_| report.state == "paused")?;
    let hint = Some("in a run the next one goes on; `wait_max` of the provider's `rate_limit` says how long one waits");
    Some(Outcome { code: Some("rate_limited"), message: reason, hint })
}

/// What is not as expected. `after` is the last change number before the run.
pub(super) fn check(expect: &ExpectPlan, came: &Came, database: &Path, after: i64) -> Vec<Failure> {
    match came {
        Came::Report(syncs, report) => match syncs.last() {
            Some(sync) => of_sync(expect, (sync, report), database, after),
            None => Vec::new(),
        },
        Came::Answer(action, answer) => of_action(expect, (action, answer), database, after),
    }
}

/// What is not as expected of a run of a sync.
fn of_sync(expect: &ExpectPlan, (sync, report): (&SyncPlan, &Report), database: &Path, after: i64) -> Vec<Failure> {
    let ExpectPlan { rows: _, changes: _, counts, watermark, skipped, output: _, error } = expect;
    let mut failures = Vec::new();
    for report in report.syncs.iter().filter(|report| report.sync != sync.id) {
        if let Some(Outcome { message, hint, .. }) = outcome(report) {
            let what =
                format!("the sync `{}`, over whose rows the test's sync goes, failed: {message}", report.sync.sync);
            failures.push(Failure::new(what, hinted(hint)));
        }
    }
    let Some(own) = report.syncs.iter().find(|report| report.sync == sync.id) else { return failures };
    failures.extend(ending(outcome(own).as_ref(), own.state, error.as_deref()));
    failures.extend(left_out(own, *skipped, error.is_some()));
    if !failures.is_empty() {
        return failures;
    }
    failures.extend(tally(|name| counted(own, name), counts));
    let tables = tables_of_sync(sync);
    failures.extend(look(expect, (&tables, database, after), |store| marks(store, sync, watermark.as_ref())));
    // what explains the rest
    if let Some(last) = failures.last_mut() {
        last.lines.extend(notes(own).into_iter().map(|note| Line::new(Sign::Same, note)));
    }
    failures
}

/// What is not as expected of a call of an action.
fn of_action(
    expect: &ExpectPlan,
    (action, answer): (&ActionPlan, &Result<Answer, engine::Error>),
    database: &Path,
    after: i64,
) -> Vec<Failure> {
    let ExpectPlan { rows: _, changes: _, counts, watermark: _, skipped: _, output, error } = expect;
    let told = answer.as_ref().err().map(|error| (error.code(), error.to_string(), error.hint()));
    let outcome =
        told.as_ref().map(|(code, message, hint)| Outcome { code: Some(code), message, hint: hint.as_deref() });
    let mut failures: Vec<Failure> = ending(outcome.as_ref(), "answered", error.as_deref()).into_iter().collect();
    if !failures.is_empty() {
        return failures;
    }
    if let (Ok(answer), Some(expected)) = (answer, output) {
        failures.extend(answered(expected, answer));
    }
    let saved = answer.as_ref().ok().and_then(|answer| answer.saved.as_ref());
    failures.extend(tally(|name| counted_by(saved, name), counts));
    let tables = tables_of_action(action);
    failures.extend(look(expect, (&tables, database, after), |_| Ok(None)));
    failures
}

/// How many records of a run were this.
pub(super) fn counted(report: &SyncReport, name: &str) -> u64 {
    match name {
        "added" => report.added,
        "updated" => report.updated,
        "deleted" => report.deleted,
        "unchanged" => report.unchanged,
        "filtered" => report.filtered,
        _ => report.quarantined,
    }
}

/// The same of what an action has saved.
pub(super) fn counted_by(saved: Option<&Saved>, name: &str) -> u64 {
    match (saved, name) {
        (Some(saved), "added") => saved.added,
        (Some(saved), "updated") => saved.updated,
        (Some(saved), "unchanged") => saved.unchanged,
        _ => 0,
    }
}

/// The tables that a sync fills.
pub(super) fn tables_of_sync(sync: &SyncPlan) -> Vec<Table<'_>> {
    let models = std::iter::once(&sync.model).chain(sync.outputs.iter().map(|output| &output.model));
    models.flat_map(|model| of_model(model)).collect()
}

/// The tables that an action writes or reads.
pub(super) fn tables_of_action(action: &ActionPlan) -> Vec<Table<'_>> {
    let models = action.save.iter().chain(action.synced_first.iter().map(|first| &first.model));
    models.flat_map(|model| of_model(model)).collect()
}

/// What an action has answered.
fn answered(expected: &ExpectedOutput, answer: &Answer) -> Vec<Failure> {
    let ExpectedOutput { records, of_table, next_cursor } = expected;
    let mut failures = Vec::new();
    if let Some(expected) = records {
        // what is no object is a row of one value
        let row = |value: &Value| match value {
            Value::Object(members) => members.clone(),
            other => Map::from_iter([("record".to_owned(), other.clone())]),
        };
        let (expected, found): (Vec<_>, Vec<_>) =
            (expected.iter().map(row).collect(), answer.records.iter().map(row).collect());
        let lines = diff::rows(&expected, &found, &[], |_, one, other| is_same(None, one, other));
        failures.extend(lines.map(|lines| Failure::new("the records of the answer are other ones:".to_owned(), lines)));
    }
    let other = |what: &str, expected: String, found: String| {
        let lines = || vec![Line::new(Sign::Missing, expected.clone()), Line::new(Sign::Extra, found.clone())];
        (expected != found).then(|| Failure::new(format!("the {what} is another one:"), lines()))
    };
    if let Some(of_table) = of_table {
        let name = |of_table| if of_table { "table" } else { "api" }.to_owned();
        failures.extend(other("source", name(*of_table), name(answer.source == Source::Table)));
    }
    if let Some(expected) = next_cursor {
        let found = answer.next_cursor.as_ref().map_or_else(|| "null".to_owned(), plain);
        failures.extend(other("next cursor", plain(expected), found));
    }
    failures
}

/// What of the database is not as expected; `more` looks at what else there is.
fn look(
    expect: &ExpectPlan,
    (tables, database, after): (&[Table<'_>], &Path, i64),
    more: impl FnOnce(&ReadStore) -> Result<Option<Failure>, Error>,
) -> Vec<Failure> {
    let ExpectPlan { rows, changes, watermark, .. } = expect;
    // an action need not have any
    if rows.is_none() && changes.is_none() && watermark.is_none() {
        return Vec::new();
    }
    let looked = ReadStore::open(database, Box::new(|_| {})).and_then(|store| {
        let mut found = Vec::new();
        for (what, expected, after) in [("rows", rows, None), ("changes", changes, Some(after))] {
            found.extend(of_tables(&store, tables, what, expected.as_ref(), after)?);
        }
        found.extend(more(&store)?);
        Ok(found)
    });
    looked.unwrap_or_else(|error| vec![unreadable(&error)])
}

pub(super) fn unreadable(error: &Error) -> Failure {
    Failure::new(format!("the database of the test cannot be read: {error}"), Vec::new())
}

fn hinted(hint: Option<&str>) -> Vec<Line> {
    hint.map(|hint| Line::new(Sign::Same, format!("hint: {hint}"))).into_iter().collect()
}

/// How the run ended.
fn ending(outcome: Option<&Outcome<'_>>, state: &str, expected: Option<&str>) -> Option<Failure> {
    match (outcome, expected) {
        (None, None) => None,
        (None, Some(_)) if state == "partial" => None,
        (None, Some(expected)) => Some(Failure::new(
            format!("the run should have failed, and is `{state}`"),
            vec![Line::new(Sign::Missing, expected)],
        )),
        (Some(Outcome { message, hint, .. }), None) => {
            Some(Failure::new(format!("the run failed: {message}"), hinted(*hint)))
        }
        (Some(Outcome { code, message, .. }), Some(expected)) => {
            let fits = *code == Some(expected) || message.contains(expected);
            let found = format!("{}: {message}", code.unwrap_or_default());
            let lines = || vec![Line::new(Sign::Missing, expected), Line::new(Sign::Extra, found)];
            (!fits).then(|| Failure::new("the run failed with another error:".to_owned(), lines()))
        }
    }
}

/// What the run left out.
fn left_out(report: &SyncReport, expected: Option<u64>, by_error: bool) -> Option<Failure> {
    let found = report.skipped + report.pages_skipped;
    let why = report.skipped_reason.as_ref().or(report.pages_skipped_reason.as_ref());
    let is_short = found > 0 || why.is_some();
    match expected {
        Some(expected) if expected == found => None,
        None if !is_short || by_error => None,
        _ => {
            let mut lines = vec![Line::new(Sign::Missing, expected.unwrap_or(0).to_string())];
            lines.push(Line::new(Sign::Extra, found.to_string()));
            lines.extend(why.map(|why| Line::new(Sign::Same, why)));
            Some(Failure::new("partitions and pages that were left out (`skipped`):".to_owned(), lines))
        }
    }
}

fn tally(found: impl Fn(&str) -> u64, expected: &[(&'static str, u64)]) -> Option<Failure> {
    let other = expected.iter().filter(|(name, number)| found(name) != *number);
    let lines = other.flat_map(|(name, number)| {
        [
            Line::new(Sign::Missing, format!("{name}: {number}")),
            Line::new(Sign::Extra, format!("{name}: {}", found(name))),
        ]
    });
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| Failure::new("the counts are other ones:".to_owned(), lines))
}

/// A table that a test may expect rows of.
pub(super) struct Table<'p> {
    pub name: String,
    schema: &'p str,
    pub key: Vec<String>,
    columns: Vec<(&'p str, &'p ColumnType)>,
    /// it keeps what the rows of another one were
    pub is_history: bool,
}

impl Table<'_> {
    /// Its living rows, or those that have changed `after`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows(&self, store: &ReadStore, after: Option<i64>) -> Result<Vec<Map<String, Value>>, Error> {
        let key: Vec<&str> = self.key.iter().map(String::as_str).collect();
        store.rows((self.schema, &self.name), &key, after, limits::TEST_ROWS_MAX)
    }

    /// The type of a column.
    pub fn column(&self, name: &str) -> Option<&ColumnType> {
        let is_time = ["_first_seen_at", "_last_modified_at", "_deleted_at", "valid_from", "valid_to"].contains(&name);
        let own = self.columns.iter().find(|(known, _)| *known == name).map(|(_, of)| *of);
        own.or_else(|| is_time.then_some(&ColumnType::Timestamptz))
    }
}

/// The tables that a model fills.
fn of_model(model: &ModelPlan) -> Vec<Table<'_>> {
    let schema = model.schema.as_str();
    let columns: Vec<_> = model.columns.iter().map(|column| (column.name.as_str(), &column.column_type)).collect();
    let key: Vec<String> = model.key.iter().map(|at| model.columns[*at].name.clone()).collect();
    let mut tables = Vec::new();
    if model.history {
        let key = key.iter().cloned().chain(["valid_from".to_owned()]).collect();
        let columns = columns.clone();
        tables.push(Table { name: format!("{}_history", model.table), schema, key, columns, is_history: true });
    }
    for child in &model.children {
        tables.extend(of_model(&child.model));
    }
    tables.push(Table { name: model.table.clone(), schema, key, columns, is_history: false });
    tables
}

fn of_tables(
    store: &ReadStore,
    tables: &[Table<'_>],
    what: &str,
    expected: Option<&ExpectedRows>,
    after: Option<i64>,
) -> Result<Vec<Failure>, Error> {
    let mut failures = Vec::new();
    for (name, expected) in expected.into_iter().flatten() {
        let Some(table) = tables.iter().find(|table| table.name == *name) else { continue };
        let found = table.rows(store, after)?;
        let same = |column: &str, one: &Value, other: &Value| is_same(table.column(column), one, other);
        if let Some(lines) = diff::rows(expected, &found, &table.key, same) {
            failures.push(Failure::new(format!("the {what} of `{name}` are other ones:"), lines));
        }
    }
    Ok(failures)
}

fn marks(store: &ReadStore, sync: &SyncPlan, expected: Option<&Value>) -> Result<Option<Failure>, Error> {
    let Some(expected) = expected else { return Ok(None) };
    let expected = plain(expected);
    let found = watermark(store, sync)?;
    if found.as_ref().is_some_and(|found| is_same_text(&expected, found)) {
        return Ok(None);
    }
    let found = found.unwrap_or_else(|| {
        let why = if sync.partitions.is_some() { "each partition has its own" } else { "there is none" };
        format!("({why})")
    });
    let lines = vec![Line::new(Sign::Missing, expected), Line::new(Sign::Extra, found)];
    Ok(Some(Failure::new("the watermark is another one:".to_owned(), lines)))
}

/// What the next run of a sync asks with, as text.
///
/// # Errors
/// The database cannot be read.
pub(super) fn watermark(store: &ReadStore, sync: &SyncPlan) -> Result<Option<String>, Error> {
    if sync.token.is_some() {
        return Ok(store.checkpoint(&sync.id)?.and_then(|checkpoint| checkpoint.token).as_ref().map(plain));
    }
    Ok(store.status()?.into_iter().find(|status| status.id == sync.id).and_then(|status| status.watermark))
}

/// What a run says of itself that may be why something is not as expected.
fn notes(report: &SyncReport) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(report.deletes_skipped.iter().map(|why| format!("note: nothing was deleted: {why}")));
    if report.quarantined > 0 {
        let records = if report.quarantined == 1 { "record" } else { "records" };
        notes.push(format!(
            "note: {} {records} did not fit and became no row (`counts: {{ quarantined: … }}`)",
            report.quarantined
        ));
    }
    if report.read_twice {
        notes.push("note: rows were missing, and the list can have moved: it was read again".to_owned());
    }
    notes.extend(
        report.paused_by.iter().map(|budget| format!("note: `{budget}` is used up, and the next run goes on here")),
    );
    notes
}
