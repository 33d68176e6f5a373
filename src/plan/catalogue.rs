//! What the catalogue asks of a provider that says with `category` that it belongs there: what a reviewer would look for first.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::Value;

use super::place::{Place, Sink};
use crate::spec::{ActionSpec, ColumnSpec, ModelSpec, ProviderSpec, SyncSpec, TestSpec};

/// Looks at the provider's own words.
pub(super) fn provider(sink: &mut Sink, place: &Place<'_>, spec: &ProviderSpec) {
    missing(sink, place, "provider", &["title", "docs", "auth", "rate_limit", "verify"]);
    if let Some(config) = &spec.config {
        explained(sink, &place.key("config"), config);
    }
}

/// Looks at a sync and the tests that run it. `paged` says whether its list has several pages.
pub(super) fn sync(sink: &mut Sink, place: &Place<'_>, spec: &SyncSpec, paged: bool, tests: &[&TestSpec]) {
    missing(sink, place, "sync", &["description", "docs", "scopes"]);
    if let Some(input) = &spec.input {
        explained(sink, &place.key("input"), input);
    }
    let Shown { pages, runs, failures, updated, deleted } = Shown::by(tests);
    let wanted = [
        (runs < 2, "a second run"),
        (!pages && paged, "a run of two requests at least, for two pages"),
        (!updated, "a row that is updated"),
        (!deleted && (spec.deletes.is_some()), "a row that is deleted"),
        (!failures, "an answer that is an error"),
    ];
    proven(sink, &place.key("sync"), ("sync", &spec.sync), tests, &wanted);
}

/// Looks at an action and the tests that call it.
pub(super) fn action(sink: &mut Sink, place: &Place<'_>, spec: &ActionSpec, tests: &[&TestSpec]) {
    missing(sink, place, "action", &["description", "docs", "scopes"]);
    if let Some(input) = &spec.input {
        explained(sink, &place.key("input"), input);
    }
    let Shown { runs, failures, .. } = Shown::by(tests);
    let wanted = [(runs < 2 || !failures, "a call that the API refuses, beside one that it does not")];
    proven(sink, &place.key("action"), ("action", &spec.action), tests, &wanted);
}

/// Looks at a model.
pub(super) fn model(sink: &mut Sink, place: &Place<'_>, spec: &ModelSpec) {
    missing(sink, place, "model", &["description"]);
    columns(sink, place, &spec.columns);
    for (index, child) in spec.children.iter().enumerate() {
        columns(sink, &place.key("children").index(index), &child.columns);
    }
}

/// Tells of the words that a document of the catalogue has, and this one does not.
fn missing(sink: &mut Sink, place: &Place<'_>, kind: &str, words: &[&str]) {
    for word in words.iter().filter(|word| place.key(word).node().is_none()) {
        let hint = match *word {
            "title" => "write what people call it: `title: Acme CRM`",
            "docs" => "write the page that documents it: `docs: https://developer.acme.com/…`",
            "description" => "write one sentence for people who have not seen the API",
            "scopes" => {
                "write what the credentials must be allowed to do, `scopes: []` if nothing of that kind is known"
            }
            "auth" => "write each way to prove who asks, `none: {}` if nobody needs to",
            "rate_limit" => "write what the API documents: `rate_limit: { quotas: [\"100 per minute\"] }`",
            _ => "write a request that succeeds if the credentials work: `verify: { get: /me }`",
        };
        let message = format!("this {kind} belongs to the catalogue and has no `{word}`");
        sink.warning("W100", &place.key(kind), message, Some(hint.to_owned()));
    }
}

/// Tells of the properties of a JSON Schema that nothing explains.
fn explained(sink: &mut Sink, place: &Place<'_>, schema: &Value) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        if property.get("description").is_none() {
            let at = place.key("properties").key(name);
            let hint = "say what it is and where people find it: `description: Shown in Settings › Account`";
            sink.warning("W101", &at, format!("nothing explains `{name}`"), Some(hint.to_owned()));
        }
    }
}

/// What a name ends with that says too little: which values, which unit?
const VAGUE: [&str; 15] = [
    "status", "state", "type", "kind", "role", "priority", "level", "reason", "category", "amount", "total", "balance",
    "duration", "code", "mode",
];

fn columns(sink: &mut Sink, place: &Place<'_>, columns: &IndexMap<String, ColumnSpec>) {
    for (name, column) in columns.iter().filter(|(name, column)| !is_plain(name, column)) {
        let last = name.rsplit('_').next().unwrap_or(name);
        let hint = match last {
            "amount" | "total" | "balance" | "duration" => "say the unit: `description: In cents`",
            last if VAGUE.contains(&last) => "say which values there are: `description: open or closed`",
            _ if column.column_type.as_deref() == Some("json") => "say what is in it",
            _ => "say what it is, or name it as the API does",
        };
        let message = format!("nothing explains the column `{name}`");
        sink.warning("W101", &place.key("columns").key(name), message, Some(hint.to_owned()));
    }
}

/// Whether a column needs no description, or has one: it is plain if it has the API's own name for a thing of a plain type.
fn is_plain(name: &str, column: &ColumnSpec) -> bool {
    if column.description.is_some() {
        return true;
    }
    let is_vague = name.rsplit('_').next().is_some_and(|last| VAGUE.contains(&last));
    let is_json = column.column_type.as_deref().is_some_and(|of| of.starts_with("json"));
    let squashed = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_ascii_lowercase();
    let named = column.path.as_deref().is_some_and(|path| squashed(path).ends_with(&squashed(name)));
    !is_vague && !is_json && named
}

/// What tests show of a sync or an action, all together.
#[derive(Debug, Default)]
struct Shown {
    /// some run has two requests or more that are answered well
    pages: bool,
    /// the most runs that a test has
    runs: usize,
    /// some answer or some run is an error
    failures: bool,
    updated: bool,
    deleted: bool,
}

impl Shown {
    fn by(tests: &[&TestSpec]) -> Self {
        const FIRST_ERROR: u16 = 400;
        let mut shown = Self::default();
        for test in tests {
            shown.runs = shown.runs.max(test.runs.len());
            for run in &test.runs {
                let answers = test.exchange.iter().chain(&run.exchange).map(|exchange| exchange.response.status);
                let is_error = |status: &Option<u16>| status.is_some_and(|status| status >= FIRST_ERROR);
                let (bad, good): (Vec<_>, Vec<_>) = answers.partition(is_error);
                shown.pages |= good.len() > 1;
                shown.failures |= !bad.is_empty() || run.expect.error.is_some();
                let changes = run.expect.changes.iter().flat_map(IndexMap::values).flatten();
                let told: BTreeSet<&str> =
                    changes.filter_map(|row| row.get("_last_action").and_then(Value::as_str)).collect();
                let counts = run.expect.counts.as_ref();
                let counted =
                    |of: fn(&crate::spec::CountsSpec) -> Option<u64>| counts.and_then(of).is_some_and(|n| n > 0);
                shown.updated |= told.contains("UPDATED") || counted(|counts| counts.updated);
                shown.deleted |= told.contains("DELETED") || counted(|counts| counts.deleted);
            }
        }
        shown
    }
}

/// Tells what no test of this sync or action shows.
fn proven(
    sink: &mut Sink,
    place: &Place<'_>,
    (kind, name): (&str, &str),
    tests: &[&TestSpec],
    wanted: &[(bool, &str)],
) {
    if tests.is_empty() {
        let hint = format!("write one beside it, `tests/{name}.yaml`: `{kind}: {name}`, with the API's own answers");
        sink.warning("W102", place, format!("no test shows what this {kind} does"), Some(hint));
        return;
    }
    for (_, what) in wanted.iter().filter(|(is_missing, _)| *is_missing) {
        let hint = "add it to a test; if the API has no such thing, `allow: { W102: why }`".to_owned();
        sink.warning("W102", place, format!("no test of this {kind} shows {what}"), Some(hint));
    }
}
