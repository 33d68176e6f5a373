//! Tests that can be run: their connection, their syncs, and what is expected. `test.rs` has told what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Map, Value};
use url::Url;

use super::compile::{Documents, Drafts, Typed, parents, sync_plan};
use super::place::{Document, Place, Sink};
use super::{
    AnswerPlan, ConnectionPlan, ExchangePlan, ExpectPlan, GivenBody, Method, SyncId, SyncPlan, TestPlan, TestRunPlan,
    columns_from, connection, words,
};
use crate::spec::{
    CountsSpec, ExchangeOrderSpec, ExchangeSpec, ExpectSpec, ExpectedRequestSpec, GivenResponseSpec, TestRunSpec,
    TestSpec,
};

/// The name of the connection of a test.
const CONNECTION: &str = "test";

/// A test of a sync of `provider`; `None` where it is one of an action, or a mistake was found.
pub(super) fn rehearsal(
    sink: &mut Sink,
    typed: &Typed<TestSpec>,
    provider: &str,
    documents: &Documents,
    drafts: &Drafts<'_>,
) -> Option<TestPlan> {
    let Typed { document, spec, builtin } = typed;
    let TestSpec { test: name, description, sync, action, connection: given, exchange, order, runs } = spec;
    let (Some(sync), None) = (sync, action) else { return None };
    let place = Place::top(document);
    let draft = drafts.providers.get(provider)?;
    let provider_document = documents.providers.get(provider)?;
    let names = with_parents(documents, provider, sync);
    let own = || names.iter().filter_map(|name| drafts.syncs.get(&(provider, *name)));
    let asked: Vec<_> = own().flat_map(|draft| draft.requests()).collect();
    let connection::OfTest { plan: connection, credentials, token } = connection::of_test(
        sink,
        &place.key("connection"),
        (CONNECTION, provider, given),
        &provider_document.spec,
        draft,
        &asked,
    )?;
    let connection = Arc::new(connection);
    let at = place.key("connection").key("input");
    let (mut plans, mut made) = (Vec::new(), columns_from::Made::new());
    for name in &names {
        let draft = drafts.syncs.get(&(provider, *name))?;
        let is_known = |key: &str| draft.input.as_ref().is_some_and(|schema| schema["properties"].get(key).is_some());
        // the syncs over whose rows it goes take of the input what they have a word for
        let input: Map<String, Value> =
            given.input.clone().into_iter().filter(|(key, _)| *name == sync || is_known(key)).collect();
        let id = SyncId {
            connection: CONNECTION.to_owned(),
            provider: provider.to_owned(),
            sync: (*name).to_owned(),
            variant: String::new(),
        };
        let plan =
            sync_plan(sink, (&at, &place.key("connection")), (id, draft, &connection), &input, documents, &mut made);
        plans.push(Arc::new(plan?));
    }
    columns_from::share(sink, &at, &mut plans, &made);
    let common = exchanges(sink, &place.key("exchange"), exchange, &connection)?;
    let mut made_runs = Vec::with_capacity(runs.len());
    for (index, TestRunSpec { at, exchange, expect }) in runs.iter().enumerate() {
        let own = exchanges(sink, &place.key("runs").index(index).key("exchange"), exchange, &connection)?;
        made_runs.push(TestRunPlan {
            at: words::optional(at.as_ref(), |at| DateTime::parse_from_rfc3339(at).ok().map(|at| at.to_utc()))?,
            exchange: common.iter().cloned().chain(own).collect(),
            expect: expectation(expect),
        });
    }
    Some(TestPlan {
        provider: provider.to_owned(),
        name: name.clone(),
        description: description.clone(),
        file: document.source.name.clone(),
        builtin: *builtin,
        uses: uses(documents, provider, document, &plans),
        syncs: plans,
        credentials,
        token,
        ordered: *order == ExchangeOrderSpec::Strict,
        runs: made_runs,
    })
}

/// A sync behind those over whose rows it goes.
fn with_parents<'d>(documents: &'d Documents, provider: &str, sync: &'d str) -> Vec<&'d str> {
    let mut names = vec![sync];
    let mut next = parents(documents, provider, sync);
    while let Some(parent) = next.pop() {
        // a parent of two comes before both
        if let Some(at) = names.iter().position(|name| *name == parent) {
            if parent == sync {
                continue;
            }
            names.remove(at);
        }
        names.push(parent);
        if names.len() > documents.syncs.len() {
            break;
        }
        next.extend(parents(documents, provider, parent));
    }
    names.reverse();
    names
}

/// The files whose words a test runs.
fn uses(documents: &Documents, provider: &str, own: &Arc<Document>, plans: &[Arc<SyncPlan>]) -> BTreeSet<String> {
    let mut used: Vec<&Arc<Document>> = vec![own];
    used.extend(documents.providers.get(provider).map(|typed| &typed.document));
    for plan in plans {
        let of = |name: &str| (provider.to_owned(), name.to_owned());
        used.extend(documents.syncs.get(&of(&plan.id.sync)).map(|typed| &typed.document));
        let models = std::iter::once(&plan.model).chain(plan.outputs.iter().map(|output| &output.model));
        used.extend(models.filter_map(|model| Some(&documents.models.get(&of(&model.name))?.document)));
    }
    let mut files = BTreeSet::new();
    for document in used {
        let mut next = Some(document);
        while let Some(document) = next {
            files.insert(document.source.name.clone());
            next = document.base.as_ref().map(|base| &base.document);
        }
    }
    files
}

fn exchanges(
    sink: &mut Sink,
    place: &Place<'_>,
    specs: &[ExchangeSpec],
    connection: &ConnectionPlan,
) -> Option<Vec<Arc<ExchangePlan>>> {
    let plans = specs.iter().enumerate().map(|(index, ExchangeSpec { request, response })| {
        let place = place.index(index);
        let ExpectedRequestSpec { get, post, put, patch, delete, query, headers, body } = request;
        let methods = [
            ("get", Method::Get, get),
            ("post", Method::Post, post),
            ("put", Method::Put, put),
            ("patch", Method::Patch, patch),
            ("delete", Method::Delete, delete),
        ];
        let (key, method, path) =
            methods.into_iter().find_map(|(key, method, path)| Some((key, method, path.as_ref()?)))?;
        let base = connection.base_url.as_str().trim_end_matches('/');
        let text = if path.starts_with('/') { format!("{base}{path}") } else { path.clone() };
        let Ok(url) = Url::parse(&text) else {
            // what is neither is told of already
            if !path.starts_with('/') && path.contains("://") {
                let hint = "write the whole URL: `https://files.example.com/part-2`".to_owned();
                let message = format!("`{}` is not a URL", words::shorten(path));
                sink.error("E040", &place.key("request").key(key), message, Some(hint));
            }
            return None;
        };
        let pairs = |all: &indexmap::IndexMap<String, String>| {
            all.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        let GivenResponseSpec { status, headers: answered, body: json, text, file } = response;
        let body_given = match (json, text, file) {
            (Some(json), ..) => GivenBody::Json(json.clone()),
            (None, Some(text), _) => GivenBody::Text(text.clone()),
            (None, None, Some(file)) => GivenBody::File(file.clone()),
            (None, None, None) => GivenBody::Empty,
        };
        let query =
            query.as_ref().map(|query| query.iter().map(|(name, value)| (name.clone(), values(value))).collect());
        let answer = AnswerPlan { status: status.unwrap_or(200), headers: pairs(answered), body: body_given };
        Some(Arc::new(ExchangePlan { method, url, query, headers: pairs(headers), body: body.clone(), answer }))
    });
    let plans: Vec<_> = plans.collect();
    plans.into_iter().collect()
}

/// The texts of a query parameter; none for one that must not be there.
fn values(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(values).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![value.to_string()],
    }
}

fn expectation(spec: &ExpectSpec) -> ExpectPlan {
    let ExpectSpec { rows, changes, counts, watermark, output: _, skipped, error } = spec;
    let CountsSpec { added, updated, deleted, unchanged, filtered, quarantined } = counts.clone().unwrap_or_default();
    let counts = [
        ("added", added),
        ("updated", updated),
        ("deleted", deleted),
        ("unchanged", unchanged),
        ("filtered", filtered),
        ("quarantined", quarantined),
    ];
    ExpectPlan {
        rows: rows.clone(),
        changes: changes.clone(),
        counts: counts.into_iter().filter_map(|(name, count)| Some((name, count?))).collect(),
        watermark: watermark.clone(),
        skipped: *skipped,
        error: error.clone(),
    }
}

/// Made-up values of secrets, or of what an API tells: `test-<name>`.
pub(super) fn made_up<'n>(names: impl IntoIterator<Item = &'n String>) -> BTreeMap<String, String> {
    names.into_iter().map(|name| (name.clone(), format!("test-{name}"))).collect()
}
