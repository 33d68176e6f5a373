//! What a test's document must say so that it expects what its runs have found.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::expect::{self, Table};
use super::run::{self, Came, Failure, Made, Stage, TestReport};
use super::value::{is_same, is_same_text, plain};
use crate::engine::{Answer, Clock, Report, Source};
use crate::plan::{ColumnType, ExpectPlan, ExpectedRows, SyncPlan, TestPlan};
use crate::spec::yaml::{self, Unfaithful};
use crate::store::{Error, ReadStore};

/// What came of a test that may be brought up to date.
#[derive(Debug)]
pub struct Found {
    /// how it is; failed, if something is not as expected that is not to be written into the test
    pub report: TestReport,
    /// what is written into its document: each run, from one, and what was not as expected there; empty where nothing needs to be
    pub changes: Vec<(usize, Vec<Failure>)>,
    /// the document with all of it
    pub document: Value,
}

/// Makes the runs of tests as [`run`](super::run) does, on and on though they are not as expected: what they found belongs into the documents
/// `texts`, by file. `each` gets what came of them in their order.
///
/// What a run asks for is never taken over, nor that it fails where it should not, or does not where it should.
pub async fn find(
    tests: Vec<TestPlan>,
    texts: &BTreeMap<String, String>,
    folder: &Path,
    clock: Clock,
    mut each: impl FnMut(Found),
) {
    let documents: BTreeMap<String, Value> =
        texts.iter().map(|(file, text)| (file.clone(), yaml::parse(text).unwrap_or_default())).collect();
    let work = |test: TestPlan, folder: std::path::PathBuf| {
        let document = documents.get(&test.file).cloned().unwrap_or_default();
        async move { of_test(&test, &folder, document).await }
    };
    run::at_once(tests, folder, &clock, work, |(id, file, description), took, came| {
        let (failed, changes, document) =
            came.unwrap_or_else(|broken| (Some((1, vec![broken])), Vec::new(), Value::Null));
        each(Found { report: TestReport { id, file, description, took, failed }, changes, document });
    })
    .await;
}

/// The text of a test that becomes `document`.
///
/// # Errors
/// It cannot be changed in place.
pub fn rewritten(text: &str, document: &Value) -> Result<String, Unfaithful> {
    yaml::amended(text, document)
}

type Failed = Option<(usize, Vec<Failure>)>;

async fn of_test(test: &TestPlan, folder: &Path, mut document: Value) -> (Failed, Vec<(usize, Vec<Failure>)>, Value) {
    let mut changes = Vec::new();
    let mut stage = match Stage::new(folder) {
        Ok(stage) => stage,
        Err(broken) => return (Some((1, vec![broken])), changes, document),
    };
    for (index, run) in test.runs.iter().enumerate() {
        let Made { came, failures, before } = stage.one(test, run, index == 0).await;
        let known =
            document["runs"].get(index).and_then(|run| run.get("expect")).filter(|known| !known.is_null()).cloned();
        let (expect, database) = (run.expect.clone(), stage.database());
        let judged = tokio::task::spawn_blocking(move || {
            let came = came?;
            Some(judge(known.as_ref(), &expect, &came, (&database, before)))
        });
        let judged = match judged.await {
            Ok(judged) => judged,
            Err(error) => return (Some((index + 1, vec![run::broken(&error)])), changes, document),
        };
        match judged {
            _ if !failures.is_empty() => return (Some((index + 1, failures)), changes, document),
            Some(Judged::Failed(failures)) => return (Some((index + 1, failures)), changes, document),
            Some(Judged::Other(value, failures)) => {
                document["runs"][index]["expect"] = value;
                changes.push((index + 1, failures));
            }
            Some(Judged::Same) | None => {}
        }
    }
    (None, changes, document)
}

enum Judged {
    /// all is as expected
    Same,
    /// the run should be expected to be this; with what was not as expected
    Other(Value, Vec<Failure>),
    /// nobody should expect this
    Failed(Vec<Failure>),
}

fn judge(known: Option<&Value>, expect: &ExpectPlan, came: &Came, (database, after): (&Path, i64)) -> Judged {
    let failures = expect::check(expect, came, database, after);
    let Some(known) = known else {
        if !failures.is_empty() {
            return Judged::Failed(failures);
        }
        return match first(came, database, after) {
            Ok(value) => Judged::Other(value, Vec::new()),
            Err(error) => Judged::Failed(vec![expect::unreadable(&error)]),
        };
    };
    if failures.is_empty() {
        return Judged::Same;
    }
    match mended(known, expect, came, (database, after)) {
        Ok(Some(value)) if value != *known => Judged::Other(value, failures),
        Ok(_) => Judged::Failed(failures),
        Err(error) => Judged::Failed(vec![expect::unreadable(&error)]),
    }
}

const COUNTS: [&str; 6] = ["added", "updated", "deleted", "unchanged", "filtered", "quarantined"];

/// What a run is expected to be of which nothing was said.
fn first(came: &Came, database: &Path, after: i64) -> Result<Value, Error> {
    let (tables, own) = match came {
        Came::Report(syncs, report) => {
            let Some((sync, own)) = own(syncs, report) else { return Ok(json!({})) };
            (expect::tables_of_sync(sync), own)
        }
        Came::Answer(_, answer) => {
            let Ok(answer) = answer else { return Ok(json!({})) };
            let mut value = json!({ "output": { "records": answer.records, "source": source(answer) } });
            let Some(saved) = &answer.saved else { return Ok(value) };
            value["counts"] = counts(|name| expect::counted_by(Some(saved), name));
            return Ok(value);
        }
    };
    let store = ReadStore::open(database, Box::new(|_| {}))?;
    let mut changes = Map::new();
    // the children come before the table that a test is about
    for (nth, table) in tables.iter().rev().filter(|table| !table.is_history).enumerate() {
        let found = table.rows(&store, Some(after))?;
        if nth == 0 || !found.is_empty() {
            let rows = found.iter().map(|row| Value::Object(shown(row, true)));
            changes.insert(table.name.clone(), rows.collect());
        }
    }
    Ok(json!({ "changes": changes, "counts": counts(|name| expect::counted(own, name)) }))
}

/// The counts that are not zero; `added` where all are.
fn counts(counted: impl Fn(&str) -> u64) -> Value {
    let all: Map<String, Value> =
        COUNTS.iter().filter(|name| counted(name) > 0).map(|name| ((*name).to_owned(), counted(name).into())).collect();
    if all.is_empty() { json!({ "added": 0 }) } else { Value::Object(all) }
}

fn source(answer: &Answer) -> &'static str {
    if answer.source == Source::Table { "table" } else { "api" }
}

/// Of a row that nobody has chosen columns of: those of the model that have a value, and what was done with it.
fn shown(row: &Map<String, Value>, is_change: bool) -> Map<String, Value> {
    let is_shown = |name: &str, value: &Value| match name.strip_prefix('_') {
        Some(own) => is_change && own == "last_action",
        None => !value.is_null(),
    };
    row.iter()
        .filter(|(name, value)| is_shown(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn own<'c>(
    syncs: &'c [std::sync::Arc<SyncPlan>],
    report: &'c Report,
) -> Option<(&'c SyncPlan, &'c crate::engine::SyncReport)> {
    let sync = syncs.last()?;
    Some((sync, report.syncs.iter().find(|report| report.sync == sync.id)?))
}

/// What a run is expected to be, with the words that it has; none where nobody should expect that.
fn mended(
    known: &Value,
    expect: &ExpectPlan,
    came: &Came,
    (database, after): (&Path, i64),
) -> Result<Option<Value>, Error> {
    let ExpectPlan { rows, changes, counts: _, watermark, skipped, output: _, error } = expect;
    let mut value = known.clone();
    let (tables, sync) = match came {
        Came::Report(syncs, report) => {
            let Some((sync, own)) = own(syncs, report) else { return Ok(None) };
            let fails = report.syncs.iter().any(|of| of.sync != sync.id && expect::outcome(of).is_some());
            let outcome = expect::outcome(own);
            if fails || !ends_alike(&mut value, error.as_deref(), outcome.as_ref().map(|it| (it.code, it.message))) {
                return Ok(None);
            }
            count_anew(&mut value, |name| expect::counted(own, name));
            if skipped.is_some() {
                value["skipped"] = (own.skipped + own.pages_skipped).into();
            }
            (expect::tables_of_sync(sync), Some(sync))
        }
        Came::Answer(action, answer) => {
            let told = answer.as_ref().err().map(|error| (error.code(), error.to_string()));
            let outcome = told.as_ref().map(|(code, message)| (Some(*code), message.as_str()));
            if !ends_alike(&mut value, error.as_deref(), outcome) {
                return Ok(None);
            }
            let saved = answer.as_ref().ok().and_then(|answer| answer.saved.as_ref());
            count_anew(&mut value, |name| expect::counted_by(saved, name));
            if let Ok(answer) = answer {
                answer_anew(&mut value, answer);
            }
            (expect::tables_of_action(action), None)
        }
    };
    if rows.is_none() && changes.is_none() && watermark.is_none() {
        return Ok(Some(value));
    }
    let store = ReadStore::open(database, Box::new(|_| {}))?;
    for (word, expected, after) in [("rows", rows, None), ("changes", changes, Some(after))] {
        rows_anew(&mut value[word], expected.as_ref(), &tables, (&store, after))?;
    }
    if let (Some(expected), Some(sync)) = (watermark, sync) {
        match expect::watermark(&store, sync)? {
            Some(found) if is_same_text(&plain(expected), &found) => {}
            Some(found) => value["watermark"] = in_style(expected, &Value::String(found)),
            None => return Ok(None),
        }
    }
    if let Value::Object(members) = &mut value {
        // what was only looked for
        members.retain(|name, value| !value.is_null() || known.get(name).is_some());
    }
    Ok(Some(value))
}

/// Takes over with which error a run ends; whether it ends with one is not taken over.
fn ends_alike(value: &mut Value, expected: Option<&str>, outcome: Option<(Option<&str>, &str)>) -> bool {
    match (expected, outcome) {
        (None, None) => true,
        (Some(expected), Some((code, message))) => {
            if code != Some(expected) && !message.contains(expected) {
                value["error"] = code.unwrap_or(message).into();
            }
            true
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn count_anew(value: &mut Value, counted: impl Fn(&str) -> u64) {
    if let Some(Value::Object(counts)) = value.get_mut("counts") {
        for (name, number) in counts.iter_mut().filter(|(_, number)| !number.is_null()) {
            *number = counted(name).into();
        }
    }
}

fn answer_anew(value: &mut Value, answer: &Answer) {
    let Some(Value::Object(output)) = value.get_mut("output") else { return };
    if let Some(Value::Array(known)) = output.get_mut("records") {
        let record = |(at, found): (usize, &Value)| match (known.get(at), found) {
            (Some(Value::Object(known)), Value::Object(found)) => {
                let columns: Vec<&String> = known.keys().collect();
                Value::Object(with_columns(&columns, Some(known), found, |_| None, |_| None))
            }
            (Some(known), found) if is_same(None, known, found) => known.clone(),
            (_, found) => found.clone(),
        };
        let records: Vec<Value> = answer.records.iter().enumerate().map(record).collect();
        *known = records;
    }
    if let Some(word) = output.get_mut("source") {
        *word = source(answer).into();
    }
    if let Some(next) = output.get_mut("next_cursor") {
        let found = answer.next_cursor.clone().unwrap_or_default();
        if plain(next) != plain(&found) {
            *next = found;
        }
    }
}

/// Puts the rows that were found in place of those that were expected.
fn rows_anew(
    value: &mut Value,
    expected: Option<&ExpectedRows>,
    tables: &[Table<'_>],
    (store, after): (&ReadStore, Option<i64>),
) -> Result<(), Error> {
    let none = IndexMap::new();
    for (name, expected) in expected.unwrap_or(&none) {
        let Some(table) = tables.iter().find(|table| table.name == *name) else { continue };
        let found = table.rows(store, after)?;
        value[name] = Value::Array(aligned(expected, &found, table, after.is_some()));
    }
    Ok(())
}

/// The rows that were found, with the columns that are written, and as they are written where they are as expected.
fn aligned<'t>(
    expected: &'t [Map<String, Value>],
    found: &[Map<String, Value>],
    table: &'t Table<'_>,
    is_change: bool,
) -> Vec<Value> {
    let key = &table.key;
    let has_key = !key.is_empty() && expected.iter().all(|row| key.iter().all(|name| row.contains_key(name)));
    let mut columns: Vec<&String> = Vec::new();
    for name in expected.iter().flat_map(Map::keys) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let row = |(at, row): (usize, &Map<String, Value>)| {
        let is_own = |known: &&Map<String, Value>| {
            key.iter().all(|name| row.get(name).is_some_and(|value| is_same(table.column(name), &known[name], value)))
        };
        let known = if has_key { expected.iter().find(is_own) } else { expected.get(at) };
        if columns.is_empty() {
            return Value::Object(shown(row, is_change));
        }
        let own: Vec<&String> = known.map_or_else(|| columns.clone(), |known| known.keys().collect());
        let style = |name: &str| expected.iter().find_map(|row| row.get(name));
        Value::Object(with_columns(&own, known, row, |name| table.column(name), style))
    };
    found.iter().enumerate().map(row).collect()
}

/// A row that was found with these columns; `style` is how a column is written elsewhere.
fn with_columns<'t>(
    columns: &[&String],
    known: Option<&Map<String, Value>>,
    found: &Map<String, Value>,
    column: impl Fn(&str) -> Option<&'t ColumnType>,
    style: impl Fn(&str) -> Option<&'t Value>,
) -> Map<String, Value> {
    let cell = |name: &&String| {
        let found = found.get(*name)?;
        let value = match known.and_then(|known| known.get(*name)) {
            Some(known) if is_same(column(name), known, found) => known.clone(),
            Some(known) => in_style(known, found),
            None => style(name).map_or_else(|| found.clone(), |style| in_style(style, found)),
        };
        Some(((*name).clone(), value))
    };
    columns.iter().filter_map(cell).collect()
}

/// Digits of a number that a document keeps.
const DIGITS_MAX: usize = 15;

/// A value as a number, where the one before it was written as one and nothing is lost.
fn in_style(known: &Value, found: &Value) -> Value {
    let Value::String(text) = found else { return found.clone() };
    let is_short = text.chars().filter(char::is_ascii_digit).count() <= DIGITS_MAX;
    match serde_json::from_str::<Value>(text) {
        Ok(number) if known.is_number() && number.is_number() && is_short => number,
        _ => found.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_one_where_nothing_is_lost() {
        assert_eq!(in_style(&json!(1.5), &json!("2.00")), json!(2.0));
        assert_eq!(in_style(&json!("1.5"), &json!("2.00")), json!("2.00"));
        assert_eq!(in_style(&json!(1), &json!("12345678901234567890")), json!("12345678901234567890"));
        assert_eq!(in_style(&json!(1), &json!("2024-01-01")), json!("2024-01-01"));
    }

    #[test]
    fn whether_a_run_fails_is_not_taken_over() {
        let mut value = json!({ "error": "http_status" });
        assert!(!ends_alike(&mut value, Some("http_status"), None));
        assert!(!ends_alike(&mut value, None, Some((Some("http_status"), "answered 400"))));
        assert!(ends_alike(&mut value, Some("not_decodable"), Some((Some("http_status"), "answered 400"))));
        assert_eq!(value, json!({ "error": "http_status" }));
    }
}
