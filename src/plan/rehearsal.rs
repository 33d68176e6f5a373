//! Tests that can be run: their connection, their syncs, and what is expected. `test.rs` has told what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Map, Value};
use url::Url;

use super::action::ActionDraft;
use super::compile::{Documents, Drafts, Typed, parents, sync_plan};
use super::place::{Document, Place, Sink};
use super::{
    AnswerPlan, Budget, ConnectionPlan, ExchangePlan, ExpectPlan, ExpectedOutput, GivenBody, Method, SyncId, SyncPlan,
    TestPlan, TestRunPlan, TestWork, columns_from, connection, test, words,
};
use crate::spec::{
    CountsSpec, ExchangeOrderSpec, ExchangeSpec, ExpectSpec, ExpectedOutputSpec, ExpectedRequestSpec,
    ExpectedSourceSpec, GivenResponseSpec, TestRunSpec, TestSpec,
};

/// The name of the connection of a test.
const CONNECTION: &str = "test";

/// A test of `provider`; `None` where a mistake was found.
pub(super) fn rehearsal(
    sink: &mut Sink,
    typed: &Typed<TestSpec>,
    provider: &str,
    documents: &Documents,
    drafts: &Drafts<'_>,
) -> Option<TestPlan> {
    let Typed { document, spec, builtin } = typed;
    let TestSpec { test: name, description, sync, action, connection: given, exchange, order, runs } = spec;
    let place = Place::top(document);
    let draft = drafts.providers.get(provider)?;
    let provider_document = documents.providers.get(provider)?;
    let about = match (sync, action) {
        (Some(sync), None) => About::Sync(sync),
        (None, Some(action)) => About::Action(drafts.actions.get(&(provider, action.as_str()))?),
        _ => return None,
    };
    let others = runs.iter().filter_map(|run| run.sync.as_deref());
    let mut names = BTreeSet::new();
    for name in others.chain(sync.as_deref()) {
        names.extend(with_parents(documents, provider, name));
    }
    let own = names.iter().filter_map(|name| drafts.syncs.get(&(provider, *name)));
    let steps = if let About::Action(draft) = about { draft.steps.as_slice() } else { &[] };
    let asked: Vec<_> = own.flat_map(|draft| draft.requests()).chain(steps.iter().map(|step| &step.request)).collect();
    let connection::OfTest { plan: connection, credentials, token } = connection::of_test(
        sink,
        &place.key("connection"),
        (CONNECTION, provider, given),
        &provider_document.spec,
        draft,
        &asked,
    )?;
    let mut stage = Stage {
        provider,
        documents,
        drafts,
        spec,
        about,
        input: (place.key("connection").key("input"), &given.input),
        connection: Arc::new(connection),
        known: Vec::new(),
    };
    let common = exchanges(sink, &place.key("exchange"), exchange, &stage.connection)?;
    let mut made_runs = Vec::with_capacity(runs.len());
    for (index, run) in runs.iter().enumerate() {
        let here = place.key("runs").index(index);
        let work = stage.work(sink, &here, run)?;
        let own = exchanges(sink, &here.key("exchange"), &run.exchange, &stage.connection)?;
        let at = |at: &String| DateTime::parse_from_rfc3339(at).ok().map(|at| at.to_utc());
        made_runs.push(TestRunPlan {
            at: words::optional(run.at.as_ref(), at)?,
            work,
            budget: Budget { runtime: None, requests: run.max_requests, records: run.max_records },
            exchange: common.iter().cloned().chain(own).collect(),
            expect: expectation(&run.expect),
        });
    }
    Some(TestPlan {
        provider: provider.to_owned(),
        name: name.clone(),
        description: description.clone(),
        file: document.source.name.clone(),
        builtin: *builtin,
        uses: uses(documents, provider, document, &stage.plans().cloned().collect::<Vec<_>>(), action.as_deref()),
        credentials,
        token,
        ordered: *order == ExchangeOrderSpec::Strict,
        runs: made_runs,
    })
}

/// What a test is about.
#[derive(Clone, Copy)]
enum About<'d> {
    Sync(&'d str),
    Action(&'d ActionDraft),
}

/// What the runs of a test are made of.
struct Stage<'d> {
    provider: &'d str,
    documents: &'d Documents,
    drafts: &'d Drafts<'d>,
    spec: &'d TestSpec,
    about: About<'d>,
    /// the parameters of the connection, with their place
    input: (Place<'d>, &'d Map<String, Value>),
    connection: Arc<ConnectionPlan>,
    /// what is run again as it was is the same plan
    known: Vec<Ready<'d>>,
}

/// The plans of a run of a sync with parameters of its own.
struct Ready<'d> {
    sync: &'d str,
    own: &'d Map<String, Value>,
    plans: Vec<Arc<SyncPlan>>,
}

impl<'d> Stage<'d> {
    /// All plans of syncs so far.
    fn plans(&self) -> impl Iterator<Item = &Arc<SyncPlan>> {
        self.known.iter().flat_map(|ready| &ready.plans)
    }

    /// What a run does.
    fn work(&mut self, sink: &mut Sink, here: &Place<'_>, run: &'d TestRunSpec) -> Option<TestWork> {
        let (common, own) = (self.input.1.clone(), &run.input);
        let whole: Map<String, Value> = common.into_iter().chain(own.clone()).collect();
        let sync = match (&run.sync, self.about) {
            (Some(other), _) => other.as_str(),
            (None, About::Sync(name)) => name,
            (None, About::Action(draft)) => {
                let mut action = draft.of(self.spec.action.as_deref()?, &self.connection);
                // told of already
                let input = action.accept(&whole).ok()?;
                action.meet(&self.plans().cloned().collect::<Vec<_>>());
                return Some(TestWork::Call { action: Arc::new(action), input, cursor: run.cursor.clone() });
            }
        };
        if let Some(ready) = self.known.iter().find(|ready| ready.sync == sync && ready.own == own) {
            return Some(TestWork::Run(ready.plans.clone()));
        }
        let place = if own.is_empty() { self.input.0.clone() } else { here.key("input") };
        let plans = self.syncs(sink, &place, sync, &whole)?;
        self.known.push(Ready { sync, own, plans: plans.clone() });
        Some(TestWork::Run(plans))
    }

    /// A sync behind those over whose rows it goes. Where it is not what the test is about, it takes of the input what it has a word for,
    /// as those do.
    fn syncs(
        &self,
        sink: &mut Sink,
        place: &Place<'_>,
        sync: &str,
        input: &Map<String, Value>,
    ) -> Option<Vec<Arc<SyncPlan>>> {
        let takes_all = self.spec.sync.as_deref() == Some(sync);
        let (mut plans, mut made) = (Vec::new(), columns_from::Made::new());
        for name in with_parents(self.documents, self.provider, sync) {
            let draft = self.drafts.syncs.get(&(self.provider, name))?;
            let is_known = |key: &str| draft.input.as_ref().is_some_and(|schema| test::has_property(schema, key));
            let takes = |key: &String| (takes_all && name == sync) || is_known(key);
            let input: Map<String, Value> = input.clone().into_iter().filter(|(key, _)| takes(key)).collect();
            let id = SyncId {
                connection: CONNECTION.to_owned(),
                provider: self.provider.to_owned(),
                sync: name.to_owned(),
                variant: String::new(),
            };
            let of = (id, draft, &self.connection);
            let plan = sync_plan(sink, (place, place), of, &input, self.documents, &mut made);
            plans.push(Arc::new(plan?));
        }
        columns_from::share(sink, place, &mut plans, &made);
        Some(plans)
    }
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
fn uses(
    documents: &Documents,
    provider: &str,
    own: &Arc<Document>,
    plans: &[Arc<SyncPlan>],
    action: Option<&str>,
) -> BTreeSet<String> {
    let mut used: Vec<&Arc<Document>> = vec![own];
    let of_action = action.and_then(|action| documents.actions.get(&(provider.to_owned(), action.to_owned())));
    used.extend(of_action.map(|typed| &typed.document));
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
    let ExpectSpec { rows, changes, counts, watermark, output, skipped, error } = spec;
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
        output: output.as_ref().map(expected_output),
        error: error.clone(),
    }
}

fn expected_output(spec: &ExpectedOutputSpec) -> ExpectedOutput {
    let ExpectedOutputSpec { records, source, next_cursor } = spec;
    ExpectedOutput {
        records: records.clone(),
        of_table: source.map(|source| source == ExpectedSourceSpec::Table),
        next_cursor: next_cursor.clone(),
    }
}

/// Made-up values of secrets, or of what an API tells: `test-<name>`.
pub(super) fn made_up<'n>(names: impl IntoIterator<Item = &'n String>) -> BTreeMap<String, String> {
    names.into_iter().map(|name| (name.clone(), format!("test-{name}"))).collect()
}
