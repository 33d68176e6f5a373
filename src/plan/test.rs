//! Test files: whether what they expect can be there at all.

use chrono::{DateTime, FixedOffset};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::connection::settings;
use super::place::{Place, Sink};
use super::sync::Beside;
use super::table::HISTORY_COLUMNS;
use super::{ColumnPlan, ModelPlan, words};
use crate::diagnostic::suggest;
use crate::spec::{
    ActionOutputSpec, ActionSpec, ExchangeSpec, ExpectSpec, ExpectedRequestSpec, GivenResponseSpec, SyncSpec,
    TestConnectionSpec, TestRunSpec, TestSpec,
};

/// Columns that every table has.
const OWN_COLUMNS: [&str; 8] = [
    "_connection",
    "_variant",
    "_first_seen_at",
    "_last_modified_at",
    "_last_action",
    "_deleted_at",
    "_change",
    "_hash",
];

/// Checks a test. `syncs` and `actions` are those of its provider.
pub(super) fn test(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &TestSpec,
    beside: &Beside<'_>,
    syncs: &[&SyncSpec],
    actions: &[&ActionSpec],
) {
    let TestSpec { test: name, description: _, sync, action, connection, exchange, order: _, runs } = spec;
    words::name(sink, &place.key("test"), name, true);
    let known = Known { beside, syncs };
    let about = match (sync, action) {
        (Some(sync), None) => known.sync(sink, &place.key("sync"), sync),
        (None, Some(action)) => match actions.iter().find(|known| known.action == *action) {
            Some(known) => {
                About { input: Some(known.input.as_ref()), tables: models_of_action(known, beside), is_sync: false }
            }
            None => {
                let names = actions.iter().map(|known| known.action.as_str());
                words::one_of(sink, &place.key("action"), ("E028", "action"), action, names);
                About::default()
            }
        },
        (named, _) => {
            let message = "a test is about one `sync` or one `action`";
            let hint = if named.is_some() { "keep one of them" } else { "name it: `sync: contacts`" }.to_owned();
            if !place.key("sync").is_hole() && !place.key("action").is_hole() {
                sink.key_error("E115", &place.key("test"), message, Some(hint));
            }
            About { is_sync: named.is_some(), ..About::default() }
        }
    };
    let TestConnectionSpec { auth, config, input: given } = connection;
    let at = place.key("connection");
    if let Some(auth) = auth {
        let names = beside.provider.spec.auth.iter().flat_map(IndexMap::keys).map(String::as_str);
        if !names.clone().any(|name| name == auth) {
            words::one_of(sink, &at.key("auth"), ("E023", "auth"), auth, names);
        }
    }
    settings(sink, &at.key("config"), config, beside.provider.spec.config.as_ref(), "E045");
    let is_whole = runs.iter().any(|run| run.sync.is_none() && run.input.is_empty());
    if let Some(schema) = about.input.filter(|_| is_whole) {
        settings(sink, &at.key("input"), given, schema, "E048");
    }
    exchanges(sink, &place.key("exchange"), exchange);
    let mut clock = None;
    for (index, run) in runs.iter().enumerate() {
        let place = place.key("runs").index(index);
        let own = run.sync.as_ref().map(|other| known.sync(sink, &place.key("sync"), other));
        run_is_possible(sink, &place, run, own.as_ref().unwrap_or(&about), given);
        if let Some(text) = &run.at {
            follows(sink, &place.key("at"), text, &mut clock);
        }
    }
}

/// What a run of a test is about, as far as it is known.
#[derive(Default)]
struct About<'b> {
    /// its parameters: a JSON Schema, or that it takes any
    input: Option<Option<&'b Value>>,
    /// the models whose tables it reads or writes
    tables: Vec<&'b ModelPlan>,
    is_sync: bool,
}

/// What a test may name.
struct Known<'b> {
    beside: &'b Beside<'b>,
    syncs: &'b [&'b SyncSpec],
}

impl<'b> Known<'b> {
    fn sync(&self, sink: &mut Sink, place: &Place<'_>, name: &str) -> About<'b> {
        let Some(known) = self.syncs.iter().find(|known| known.sync == name) else {
            let names = self.syncs.iter().map(|known| known.sync.as_str());
            words::one_of(sink, place, ("E021", "sync"), name, names);
            return About { is_sync: true, ..About::default() };
        };
        About { input: Some(known.input.as_ref()), tables: models(known, self.beside), is_sync: true }
    }
}

/// Whether a run can be made at all. `common` are the parameters of the connection.
fn run_is_possible(
    sink: &mut Sink,
    place: &Place<'_>,
    run: &TestRunSpec,
    about: &About<'_>,
    common: &Map<String, Value>,
) {
    let TestRunSpec { at: _, sync: other, input: own, max_requests, max_records, cursor, exchange, expect } = run;
    if let Some(schema) = about.input.filter(|_| !own.is_empty()) {
        // another sync takes of the connection's what it has a word for
        let takes = |name: &String| other.is_none() || schema.is_some_and(|schema| has_property(schema, name));
        let common = common.clone().into_iter().filter(|(name, _)| takes(name));
        let whole: Map<String, Value> = common.chain(own.clone()).collect();
        settings(sink, &place.key("input"), &whole, schema, "E048");
    }
    if cursor.is_some() && about.is_sync {
        let hint = "take the line out, or test an `action`".to_owned();
        sink.key_error("E115", &place.key("cursor"), "a sync goes from page to page by itself", Some(hint));
    }
    for (key, bound) in [("max_requests", max_requests), ("max_records", max_records)] {
        if bound.is_some() && !about.is_sync {
            let hint = "take the line out, or test a `sync`".to_owned();
            sink.key_error("E115", &place.key(key), "an action is called for one page", Some(hint));
        }
    }
    exchanges(sink, &place.key("exchange"), exchange);
    expectations(sink, &place.key("expect"), expect, &about.tables, about.is_sync);
}

/// Whether a run is at a time, and not before the one above it.
fn follows(sink: &mut Sink, place: &Place<'_>, text: &str, clock: &mut Option<DateTime<FixedOffset>>) {
    match DateTime::parse_from_rfc3339(text) {
        Ok(now) if clock.is_some_and(|before| now < before) => {
            let hint = "the clock of a test never goes back".to_owned();
            sink.error("E115", place, "this run is before the one above it", Some(hint));
        }
        Ok(now) => *clock = Some(now),
        Err(_) => {
            let message = format!("`{}` is not a time", words::shorten(text));
            let hint = "write it as RFC 3339: `2024-01-31T12:00:00Z`".to_owned();
            sink.error("E115", place, message, Some(hint));
        }
    }
}

/// Whether a JSON Schema of parameters has a word for one.
pub(super) fn has_property(schema: &Value, name: &str) -> bool {
    schema["properties"].get(name).is_some()
}

/// The models whose tables an action reads or writes, as far as they have no mistake.
fn models_of_action<'b>(action: &ActionSpec, beside: &'b Beside<'_>) -> Vec<&'b ModelPlan> {
    let saved = match &action.output {
        Some(ActionOutputSpec::Model(name)) if action.save => Some(name),
        _ => None,
    };
    let asked = action.synced_first.as_ref().map(|first| &first.model);
    let mut models: Vec<&ModelPlan> = Vec::new();
    for name in saved.into_iter().chain(asked) {
        let known = beside.models.iter().find(|(known, _)| known == name).and_then(|(_, model)| model.as_deref());
        models.extend(known.filter(|model| !models.iter().any(|known| known.name == model.name)));
    }
    models
}

/// The models that a sync fills, as far as they have no mistake.
fn models<'b>(sync: &SyncSpec, beside: &'b Beside<'_>) -> Vec<&'b ModelPlan> {
    let several = sync.outputs.iter().flatten().map(|output| &output.model);
    let names = sync.model.iter().chain(several).map(crate::spec::ModelRefSpec::name);
    names.filter_map(|name| beside.models.iter().find(|(known, _)| *known == name)?.1.as_deref()).collect()
}

fn exchanges(sink: &mut Sink, place: &Place<'_>, specs: &[ExchangeSpec]) {
    for (index, ExchangeSpec { request, response }) in specs.iter().enumerate() {
        let at = place.index(index);
        let ExpectedRequestSpec { get, post, put, patch, delete, query: _, headers, body: _ } = request;
        let methods = [("get", get), ("post", post), ("put", put), ("patch", patch), ("delete", delete)];
        let given: Vec<(&str, &String)> =
            methods.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))).collect();
        let here = at.key("request");
        match given.as_slice() {
            [(key, path)] if !["/", "https://", "http://"].iter().any(|start| path.starts_with(start)) => {
                let message = format!("`{}` is neither a path nor a URL", words::shorten(path));
                let hint = format!("a path under `base_url` starts with `/`: `/{}`", words::shorten(path));
                sink.error("E040", &here.key(key), message, Some(hint));
            }
            [(key, path)] if path.contains('?') => {
                let hint = "write what stands behind `?` under `query:`".to_owned();
                sink.error("E115", &here.key(key), "a path has no query", Some(hint));
            }
            [_] => {}
            [] => {
                let message = "the request has no method: `get`, `post`, `put`, `patch` or `delete`";
                sink.key_error(
                    "E060",
                    &here,
                    message,
                    Some("write the method with its path: `get: /contacts`".to_owned()),
                );
            }
            [(first, _), (second, _), ..] => {
                let message = format!("a request has one method, and this one has `{first}` and `{second}`");
                sink.key_error("E060", &here.key(second), message, Some("keep one of them".to_owned()));
            }
        }
        for name in headers.keys() {
            words::header_key(sink, &here.key("headers").key(name), name);
        }
        let GivenResponseSpec { status: _, headers, body, text, file } = response;
        let here = at.key("response");
        for name in headers.keys() {
            words::header_key(sink, &here.key("headers").key(name), name);
        }
        if [body.is_some(), text.is_some(), file.is_some()].into_iter().filter(|given| *given).count() > 1 {
            let message = "an answer has one body: `body`, `text` or `file`";
            sink.key_error("E062", &here, message, Some("keep one of them".to_owned()));
        }
        if let Some(file) = file
            && (file.starts_with('/') || file.contains('\\') || file.split('/').any(|part| part == ".."))
        {
            let hint = "put the file beside the test: `file: responses/page-1.json`".to_owned();
            sink.error("E115", &here.key("file"), "a test reads only files of its own folder", Some(hint));
        }
    }
}

fn expectations(sink: &mut Sink, place: &Place<'_>, spec: &ExpectSpec, tables: &[&ModelPlan], of_sync: bool) {
    let ExpectSpec { rows, changes, counts: _, watermark, skipped, output, error: _ } = spec;
    for (key, tables_given) in [("rows", rows), ("changes", changes)] {
        if let Some(given) = tables_given {
            rows_are_possible(sink, &place.key(key), given, tables);
        }
    }
    let foreign = [
        ("output", output.is_some() && of_sync, "a sync answers nothing", "take the line out, or test an `action`"),
        ("watermark", watermark.is_some() && !of_sync, "an action has no watermark", "take the line out"),
        ("skipped", skipped.is_some() && !of_sync, "an action leaves nothing out", "take the line out"),
    ];
    for (key, _, message, hint) in foreign.into_iter().filter(|(_, is, _, _)| *is) {
        sink.key_error("E115", &place.key(key), message, Some(hint.to_owned()));
    }
}

fn rows_are_possible(
    sink: &mut Sink,
    place: &Place<'_>,
    given: &IndexMap<String, Vec<Map<String, Value>>>,
    tables: &[&ModelPlan],
) {
    if tables.is_empty() {
        return;
    }
    let known: Vec<(String, Option<Vec<&str>>)> = tables.iter().flat_map(|model| filled(model)).collect();
    for (table, rows) in given {
        let at = place.key(table);
        let Some((_, columns)) = known.iter().find(|(name, _)| name == table) else {
            let message = format!("there is no table `{}` in what this run does", words::shorten(table));
            sink.key_error("E115", &at, message, suggest(table, known.iter().map(|(name, _)| name.as_str())));
            continue;
        };
        let Some(columns) = columns else { continue };
        for (index, row) in rows.iter().enumerate() {
            for name in row.keys().filter(|name| !columns.contains(&name.as_str())) {
                let message = format!("`{table}` has no column `{}`", words::shorten(name));
                let hint = suggest(name, columns.iter().copied());
                sink.key_error("E115", &at.index(index).key(name), message, hint);
            }
        }
    }
}

/// The tables that a model fills, with their columns as far as these are known before a run.
fn filled(model: &ModelPlan) -> Vec<(String, Option<Vec<&str>>)> {
    let mut columns = names(&model.columns);
    columns.extend(OWN_COLUMNS);
    columns.extend(model.raw.then_some("_raw"));
    let columns = model.columns_from.is_none().then_some(columns);
    let mut tables = vec![(model.table.clone(), columns.clone())];
    if model.history {
        let own = ["_connection", "_variant", "_change", "_action"].into_iter().chain(HISTORY_COLUMNS);
        let columns = model.columns_from.is_none().then(|| names(&model.columns).into_iter().chain(own).collect());
        tables.push((format!("{}_history", model.table), columns));
    }
    for child in &model.children {
        tables.extend(filled(&child.model));
    }
    tables
}

fn names(columns: &[ColumnPlan]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_str()).collect()
}
