//! The passes: files → documents → drafts → a plan, with every mistake of every file on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::connection::{self, ProviderDraft};
use super::place::{Document, Place, Sink};
use super::read::read;
use super::sync::{self, SyncDraft};
use super::{ConnectionPlan, DeletePlan, ModelPlan, Plan, PublishPlan, SyncId, SyncPlan, request, table, words};
use crate::diagnostic::{Diagnostic, Severity, Source, suggest};
use crate::spec::schema::Kind;
use crate::spec::{
    ConnectionSpec, ConnectionSyncSpec, ModelSpec, ProjectSpec, ProviderSpec, PublishSpec, SyncSpec, VariantSpec,
};

/// One YAML file to compile.
#[derive(Debug, Clone)]
pub struct Input {
    /// its text and name
    pub source: Arc<Source>,
    /// what it should be
    pub kind: Kind,
    /// the provider whose folder it stands in (syncs and models)
    pub integration: Option<String>,
    /// from the built-in catalogue: a project's own document of the same name wins, and it is read only where it is used. The file
    /// of a provider has the provider's name.
    pub builtin: bool,
    /// it stands in no folder that is read: it is only told of
    pub stray: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Compiled {
    /// the plan, if there is no error
    pub plan: Option<Plan>,
    /// all mistakes, in the order of files and lines
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    /// Whether anything is wrong enough not to run.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// A document with its type.
pub(super) struct Typed<T> {
    pub(super) document: Document,
    pub(super) spec: T,
    pub(super) builtin: bool,
}

/// All documents by name; those of an integration by provider and name.
#[derive(Default)]
pub(super) struct Documents {
    pub(super) projects: Vec<Typed<ProjectSpec>>,
    pub(super) providers: BTreeMap<String, Typed<ProviderSpec>>,
    pub(super) syncs: BTreeMap<(String, String), Typed<SyncSpec>>,
    pub(super) models: BTreeMap<(String, String), Typed<ModelSpec>>,
    /// the providers of the built-in catalogue, read or not
    pub(super) catalogue: BTreeSet<String>,
}

impl Documents {
    /// The likely fix for a provider that is not there.
    fn suggest_provider(&self, wrong: &str) -> Option<String> {
        suggest(wrong, self.providers.keys().chain(&self.catalogue).map(String::as_str).collect::<BTreeSet<_>>())
    }
}

/// Compiles a project. `folder` is where its relative paths start. Without a project file among the inputs only the
/// providers, syncs and models are checked, and there is no plan.
pub fn compile(inputs: &[Input], folder: &std::path::Path) -> Compiled {
    let mut sink = Sink::default();
    let documents = read(&mut sink, inputs);
    let used: BTreeSet<&str> = documents
        .projects
        .iter()
        .flat_map(|project| project.spec.connections.values().map(|connection| connection.provider.as_str()))
        .collect();
    let providers: BTreeMap<&str, ProviderDraft> = documents
        .providers
        .iter()
        .filter(|(name, typed)| !typed.builtin || used.contains(name.as_str()))
        .filter_map(|(name, typed)| {
            let draft = connection::provider(&mut sink, &Place::top(&typed.document), &typed.spec)?;
            Some((name.as_str(), draft))
        })
        .collect();
    let syncs = drafts(&mut sink, &documents, &used);
    let first = documents.projects.first();
    let plan = first.map(|project| assemble(&mut sink, &documents, project, &providers, &syncs, folder));
    let plan = plan.filter(|_| !sink.has_errors());
    Compiled { plan, diagnostics: sink.into_sorted() }
}

/// Compiles every sync (and every model) of the project and those of the catalogue that are used.
fn drafts<'d>(
    sink: &mut Sink,
    documents: &'d Documents,
    used: &BTreeSet<&str>,
) -> BTreeMap<(&'d str, &'d str), SyncDraft> {
    let models = models(sink, documents, used);
    let mut drafts = BTreeMap::new();
    for ((provider, name), typed) in &documents.syncs {
        if typed.builtin && !used.contains(provider.as_str()) {
            continue;
        }
        let place = Place::top(&typed.document);
        let Some(provider_document) = documents.providers.get(provider) else {
            let message = format!("there is no provider `{provider}`, in whose folder this sync stands");
            let hint =
                documents.suggest_provider(provider).unwrap_or_else(|| format!("write providers/{provider}.yaml"));
            sink.error("E020", &place.key("sync"), message, Some(hint));
            continue;
        };
        let model_name = &typed.spec.model;
        let model = models.get(&(provider.as_str(), model_name.as_str())).cloned();
        if !documents.models.contains_key(&(provider.clone(), model_name.clone())) {
            let names = documents.models.keys().filter(|(of, _)| of == provider).map(|(_, name)| name.as_str());
            let hint = suggest(model_name, names)
                .unwrap_or_else(|| format!("write integrations/{provider}/models/{model_name}.yaml"));
            sink.error("E022", &place.key("model"), format!("`{provider}` has no model `{model_name}`"), Some(hint));
        }
        let provider_words = (&Place::top(&provider_document.document), &provider_document.spec);
        let draft = sync::sync(sink, &place, &typed.spec, &typed.document.value, provider_words, model);
        if let Some(draft) = draft {
            drafts.insert((provider.as_str(), name.as_str()), draft);
        }
    }
    absence_owns_its_table(sink, documents, &drafts);
    drafts
}

fn models<'d>(
    sink: &mut Sink,
    documents: &'d Documents,
    used: &BTreeSet<&str>,
) -> BTreeMap<(&'d str, &'d str), Arc<ModelPlan>> {
    let mut models = BTreeMap::new();
    let mut tables: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let all =
        documents.models.iter().filter(|((provider, _), typed)| !typed.builtin || used.contains(provider.as_str()));
    for ((provider, name), typed) in all.clone() {
        let place = Place::top(&typed.document);
        if let Some(first) = tables.insert((provider, &typed.spec.table), name) {
            let message = format!("the table `{}` belongs to the model `{first}` already", typed.spec.table);
            sink.error("E024", &place.key("table"), message, Some("give it a table of its own".into()));
        }
        let config = documents.providers.get(provider).and_then(|typed| typed.spec.config.as_ref());
        if let Some(plan) = table::model(sink, &place, &typed.spec, provider, config) {
            models.insert((provider.as_str(), name.as_str()), Arc::new(plan));
        }
    }
    for ((provider, _), typed) in all {
        if let Some(live) = typed.spec.table.strip_suffix("_live")
            && let Some(rival) = tables.get(&(provider.as_str(), live))
        {
            let message = format!("`{}` is the name of the view on the table of the model `{rival}`", typed.spec.table);
            let hint = "give the table another name".to_owned();
            sink.error("E024", &Place::top(&typed.document).key("table"), message, Some(hint));
        }
    }
    models
}

/// Two syncs that fill one table, one of which deletes what it does not see: each would delete the other's rows.
fn absence_owns_its_table(sink: &mut Sink, documents: &Documents, drafts: &BTreeMap<(&str, &str), SyncDraft>) {
    for ((provider, name), draft) in drafts {
        let rival = drafts.iter().find(|((other_provider, other), other_draft)| {
            other_provider == provider && other != name && other_draft.model.name == draft.model.name
        });
        if let (DeletePlan::Absence { .. }, Some(((_, rival), _))) = (&draft.deletes, rival)
            && let Some(typed) = documents.syncs.get(&((*provider).to_owned(), (*name).to_owned()))
        {
            let message = format!("`absence` would delete the rows that the sync `{rival}` writes into the same table");
            let hint = "give one of the two a model of its own".to_owned();
            sink.key_error("E071", &Place::top(&typed.document).key("deletes"), message, Some(hint));
        }
    }
}

fn assemble(
    sink: &mut Sink,
    documents: &Documents,
    project: &Typed<ProjectSpec>,
    providers: &BTreeMap<&str, ProviderDraft>,
    syncs: &BTreeMap<(&str, &str), SyncDraft>,
    folder: &std::path::Path,
) -> Plan {
    let ProjectSpec { database, providers: _, integrations: _, connections, publish } = &project.spec;
    let place = Place::top(&project.document);
    let mut plans = Vec::new();
    if connections.is_empty() {
        let hint = "name an account under `connections:`".to_owned();
        sink.warning(
            "W085",
            &place.key("database"),
            "the project has no connections, so there is nothing to sync",
            Some(hint),
        );
    }
    for (name, spec) in connections {
        let place = place.key("connections").key(name);
        words::key_name(sink, &place, name);
        let Some(provider_document) = documents.providers.get(&spec.provider) else {
            let hint = documents
                .suggest_provider(&spec.provider)
                .unwrap_or_else(|| format!("write providers/{}.yaml", spec.provider));
            sink.error("E020", &place.key("provider"), format!("there is no provider `{}`", spec.provider), Some(hint));
            continue;
        };
        let credentials = connection::credential_sources(sink, &place.key("credentials"), &spec.credentials);
        let whole = !Place::top(&provider_document.document).is_broken();
        let draft = providers.get(spec.provider.as_str()).filter(|_| whole);
        let connection = draft.and_then(|draft| {
            let provider = &provider_document.spec;
            connection::connection(sink, &place, name, spec, provider, draft, credentials).map(Arc::new)
        });
        plans.extend(connection_syncs(sink, &place, spec, documents, connection.as_ref(), syncs));
    }
    let publish = publish.as_ref().and_then(|spec| publish_plan(sink, &place.key("publish"), spec, folder));
    if publish.as_ref().is_some_and(|plan| plan.path == resolve(folder, database)) {
        let hint = "give the copy a path of its own".to_owned();
        sink.error("E049", &place.key("publish").key("path"), "the copy would replace the database", Some(hint));
    }
    Plan { database: resolve(folder, database), publish, syncs: plans }
}

fn resolve(folder: &std::path::Path, path: &str) -> PathBuf {
    folder.join(path)
}

fn publish_plan(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &PublishSpec,
    folder: &std::path::Path,
) -> Option<PublishPlan> {
    let PublishSpec { path, every } = spec;
    let every = match every.as_deref() {
        None | Some("run") => None,
        Some(text) => Some(words::some_duration(sink, &place.key("every"), text)?),
    };
    Some(PublishPlan { path: resolve(folder, path), every })
}

fn connection_syncs(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ConnectionSpec,
    documents: &Documents,
    connection: Option<&Arc<ConnectionPlan>>,
    drafts: &BTreeMap<(&str, &str), SyncDraft>,
) -> Vec<Arc<SyncPlan>> {
    let provider = spec.provider.as_str();
    let available: Vec<&str> =
        documents.syncs.keys().filter(|(of, _)| of == provider).map(|(_, name)| name.as_str()).collect();
    let all: Vec<(&str, ConnectionSyncSpec)> = match &spec.syncs {
        Some(chosen) => chosen.iter().map(|(name, spec)| (name.as_str(), spec.clone())).collect(),
        None => available.iter().map(|name| (*name, ConnectionSyncSpec::default())).collect(),
    };
    if all.is_empty() {
        let hint = format!("write integrations/{provider}/syncs/<name>.yaml");
        sink.warning(
            "W082",
            place,
            format!("the connection has nothing to sync: `{provider}` has no syncs"),
            Some(hint),
        );
    }
    let mut plans = Vec::new();
    for (name, sync_spec) in all {
        let connection_place = place;
        let place = if spec.syncs.is_some() { place.key("syncs").key(name) } else { place.clone() };
        if !available.contains(&name) {
            sink.key_error(
                "E021",
                &place,
                format!("`{provider}` has no sync `{name}`"),
                suggest(name, available.iter().copied()),
            );
            continue;
        }
        let (Some(draft), Some(connection)) = (drafts.get(&(provider, name)), connection) else { continue };
        for credential in request::credentials(&draft.request) {
            connection::credential_is_given(sink, connection_place, &credential, &connection.credentials);
        }
        let ConnectionSyncSpec { input, variants } = &sync_spec;
        let variants: Vec<(String, Place<'_>, Map<String, Value>)> = match variants {
            None => vec![(String::new(), place.key("input"), input.clone())],
            Some(variants) => variants
                .iter()
                .map(|(variant, VariantSpec { input: own })| {
                    let place = place.key("variants").key(variant);
                    words::key_name(sink, &place, variant);
                    let mut merged = input.clone();
                    merged.extend(own.clone());
                    (variant.clone(), place.key("input"), merged)
                })
                .collect(),
        };
        for (variant, place, input) in variants {
            if let Some(input) = connection::settings(sink, &place, &input, draft.input.as_ref(), "E048") {
                let id = SyncId {
                    connection: connection.name.clone(),
                    provider: provider.to_owned(),
                    sync: name.to_owned(),
                    variant,
                };
                plans.push(Arc::new(instance(id, draft, connection, input)));
            }
        }
    }
    plans
}

fn instance(id: SyncId, draft: &SyncDraft, connection: &Arc<ConnectionPlan>, input: Value) -> SyncPlan {
    let SyncDraft { description, model, request, response, pagination, incremental, deletes, input: _, essence } =
        draft;
    let identity = serde_json::json!([essence, connection.base_url.as_str(), connection.config, input]);
    SyncPlan {
        id,
        description: description.clone(),
        connection: Arc::clone(connection),
        model: Arc::clone(model),
        request: request.clone(),
        response: response.clone(),
        pagination: pagination.clone(),
        incremental: incremental.clone(),
        deletes: deletes.clone(),
        input,
        fingerprint: xxh3_64(identity.to_string().as_bytes()),
    }
}
