//! The passes: files → documents → drafts → a plan, with every mistake of every file on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::connection::{self, ProviderDraft};
use super::place::{Document, Place, Sink};
use super::sync::{self, SyncDraft};
use super::{ConnectionPlan, DeletePlan, ModelPlan, Plan, PublishPlan, SyncId, SyncPlan, request, table, words};
use crate::diagnostic::{Diagnostic, Severity, Source, suggest};
use crate::spec::schema::{self, Kind};
use crate::spec::{
    ConnectionSpec, ConnectionSyncSpec, ModelSpec, ProjectSpec, ProviderSpec, PublishSpec, SyncSpec, VariantSpec, yaml,
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
    /// from the built-in catalogue: a project's own file of the same name wins, and it is compiled only where it is used
    pub builtin: bool,
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

struct Typed<T> {
    document: Document,
    spec: T,
    builtin: bool,
}

#[derive(Default)]
struct Documents {
    projects: Vec<Typed<ProjectSpec>>,
    providers: BTreeMap<String, Typed<ProviderSpec>>,
    syncs: BTreeMap<(String, String), Typed<SyncSpec>>,
    models: BTreeMap<(String, String), Typed<ModelSpec>>,
    /// kind, integration and name of files that are there and cannot be read: nothing that names them is wrong for it
    broken: BTreeSet<(Kind, String, String)>,
}

impl Documents {
    fn is_broken(&self, kind: Kind, integration: &str, name: &str) -> bool {
        self.broken.contains(&(kind, integration.to_owned(), name.to_owned()))
    }

    fn note_broken(&mut self, input: &Input, value: Option<&Value>) {
        let stem = std::path::Path::new(&input.source.name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let named = value.and_then(|value| value.get(input.kind.name())).and_then(Value::as_str).map(str::to_owned);
        let integration = input.integration.clone().unwrap_or_default();
        for name in [stem, named].into_iter().flatten() {
            self.broken.insert((input.kind, integration.clone(), name));
        }
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
    let providers: HashMap<&str, ProviderDraft> = documents
        .providers
        .iter()
        .filter(|(name, typed)| !typed.builtin || used.contains(name.as_str()))
        .filter_map(|(name, typed)| {
            let draft = connection::provider(&mut sink, &Place::top(&typed.document), &typed.spec)?;
            Some((name.as_str(), draft))
        })
        .collect();
    let syncs = drafts(&mut sink, &documents, &used);
    let plan = match documents.projects.first() {
        Some(project) => Some(assemble(&mut sink, &documents, project, &providers, &syncs, folder)),
        None => None,
    };
    let plan = plan.filter(|_| !sink.has_errors());
    Compiled { plan, diagnostics: sink.into_sorted() }
}

fn read(sink: &mut Sink, inputs: &[Input]) -> Documents {
    let mut documents = Documents::default();
    for input in inputs {
        let Input { source, kind, integration, builtin } = input;
        let value = match yaml::parse(&source.text) {
            Ok(value) => value,
            Err(error) => {
                sink.unreadable(source, error);
                documents.note_broken(input, None);
                continue;
            }
        };
        let document = Document { source: Arc::clone(source), value };
        let findings = schema::check(*kind, &document.value);
        let good = findings.is_empty();
        sink.findings(&Place::top(&document), findings);
        if !good {
            documents.note_broken(input, Some(&document.value));
            continue;
        }
        match kind {
            Kind::Project => documents.projects.extend(typed(sink, document, *builtin)),
            Kind::Provider => {
                if let Some(typed) = typed::<ProviderSpec>(sink, document, *builtin) {
                    let name = typed.spec.provider.clone();
                    keep(sink, &mut documents.providers, name, typed, "provider", |spec| &spec.provider);
                }
            }
            Kind::Sync => {
                if let Some(typed) = typed::<SyncSpec>(sink, document, *builtin) {
                    let name = (integration.clone().unwrap_or_default(), typed.spec.sync.clone());
                    keep(sink, &mut documents.syncs, name, typed, "sync", |spec| &spec.sync);
                }
            }
            Kind::Model => {
                if let Some(typed) = typed::<ModelSpec>(sink, document, *builtin) {
                    let name = (integration.clone().unwrap_or_default(), typed.spec.model.clone());
                    keep(sink, &mut documents.models, name, typed, "model", |spec| &spec.model);
                }
            }
        }
    }
    documents
}

fn typed<T: DeserializeOwned>(sink: &mut Sink, document: Document, builtin: bool) -> Option<Typed<T>> {
    match serde_json::from_value(document.value.clone()) {
        Ok(spec) => Some(Typed { document, spec, builtin }),
        Err(error) => {
            // the schema is made from the same types, so this is a disagreement between the two
            sink.error("E015", &Place::top(&document), error.to_string(), None);
            None
        }
    }
}

fn keep<K: Ord, T>(
    sink: &mut Sink,
    map: &mut BTreeMap<K, Typed<T>>,
    key: K,
    typed: Typed<T>,
    kind: &str,
    name: impl Fn(&T) -> &String,
) {
    match map.get(&key) {
        Some(first) if typed.builtin => debug_assert!(!first.builtin, "the catalogue has each name once"),
        Some(first) => {
            let message = format!("the {kind} `{}` is defined twice", name(&typed.spec));
            let hint = format!("the other one is in {}", first.document.source.name);
            sink.error("E024", &Place::top(&typed.document).key(kind), message, Some(hint));
        }
        None => drop(map.insert(key, typed)),
    }
}

/// Compiles every sync (and every model) of the project and those of the catalogue that are used.
fn drafts<'d>(
    sink: &mut Sink,
    documents: &'d Documents,
    used: &BTreeSet<&str>,
) -> HashMap<(&'d str, &'d str), SyncDraft> {
    let mut models: HashMap<(&str, &str), Arc<ModelPlan>> = HashMap::new();
    let mut tables: HashMap<(&str, String), &str> = HashMap::new();
    for ((provider, name), typed) in &documents.models {
        if typed.builtin && !used.contains(provider.as_str()) {
            continue;
        }
        let place = Place::top(&typed.document);
        if let Some(first) = tables.insert((provider, typed.spec.table.clone()), name) {
            let message = format!("the table `{}` belongs to the model `{first}` already", typed.spec.table);
            sink.error("E024", &place.key("table"), message, Some("give it a table of its own".into()));
        }
        if let Some(plan) = table::model(sink, &place, &typed.spec, provider) {
            models.insert((provider, name), Arc::new(plan));
        }
    }
    let mut drafts = HashMap::new();
    for ((provider, name), typed) in &documents.syncs {
        if typed.builtin && !used.contains(provider.as_str()) {
            continue;
        }
        let place = Place::top(&typed.document);
        let Some(provider_document) = documents.providers.get(provider) else {
            if documents.is_broken(Kind::Provider, "", provider) {
                continue;
            }
            let hint = suggest(provider, documents.providers.keys().map(String::as_str));
            sink.error("E020", &place.key("sync"), format!("there is no provider `{provider}`, in whose folder this sync stands"), hint);
            continue;
        };
        let model_name = &typed.spec.model;
        let model = models.get(&(provider.as_str(), model_name.as_str())).cloned();
        if !documents.models.contains_key(&(provider.clone(), model_name.clone()))
            && !documents.is_broken(Kind::Model, provider, model_name)
        {
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

/// Two syncs that fill one table, one of which deletes what it does not see: each would delete the other's rows.
fn absence_owns_its_table(sink: &mut Sink, documents: &Documents, drafts: &HashMap<(&str, &str), SyncDraft>) {
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
    providers: &HashMap<&str, ProviderDraft>,
    syncs: &HashMap<(&str, &str), SyncDraft>,
    folder: &std::path::Path,
) -> Plan {
    let ProjectSpec { database, providers: _, integrations: _, connections, publish } = &project.spec;
    let place = Place::top(&project.document);
    let mut plans = Vec::new();
    for (name, spec) in connections {
        let place = place.key("connections").key(name);
        words::name(sink, &place, name, true);
        let Some(provider_document) = documents.providers.get(&spec.provider) else {
            if documents.is_broken(Kind::Provider, "", &spec.provider) {
                continue;
            }
            let hint = suggest(&spec.provider, documents.providers.keys().map(String::as_str))
                .unwrap_or_else(|| format!("write providers/{}.yaml", spec.provider));
            sink.error("E020", &place.key("provider"), format!("there is no provider `{}`", spec.provider), Some(hint));
            continue;
        };
        let Some(draft) = providers.get(spec.provider.as_str()) else { continue };
        let connection = connection::connection(sink, &place, name, spec, &provider_document.spec, draft).map(Arc::new);
        plans.extend(connection_syncs(sink, &place, spec, documents, connection.as_ref(), syncs));
    }
    let publish = publish.as_ref().and_then(|spec| publish_plan(sink, &place.key("publish"), spec, folder));
    Plan { database: resolve(folder, database), publish, syncs: plans }
}

fn resolve(folder: &std::path::Path, path: &str) -> PathBuf {
    folder.join(path)
}

fn publish_plan(sink: &mut Sink, place: &Place<'_>, spec: &PublishSpec, folder: &std::path::Path) -> Option<PublishPlan> {
    let PublishSpec { path, every } = spec;
    let every = match every.as_deref() {
        None | Some("run") => None,
        Some(text) => Some(words::duration(sink, &place.key("every"), text)?),
    };
    Some(PublishPlan { path: resolve(folder, path), every })
}

fn connection_syncs(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ConnectionSpec,
    documents: &Documents,
    connection: Option<&Arc<ConnectionPlan>>,
    drafts: &HashMap<(&str, &str), SyncDraft>,
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
        sink.warning("W082", place, format!("the connection has nothing to sync: `{provider}` has no syncs"), Some(hint));
    }
    let mut plans = Vec::new();
    for (name, sync_spec) in all {
        let place = if spec.syncs.is_some() { place.key("syncs").key(name) } else { place.clone() };
        if documents.is_broken(Kind::Sync, provider, name) {
            continue;
        }
        if !available.contains(&name) {
            sink.key_error("E021", &place, format!("`{provider}` has no sync `{name}`"), suggest(name, available.iter().copied()));
            continue;
        }
        let (Some(draft), Some(connection)) = (drafts.get(&(provider, name)), connection) else { continue };
        for credential in request::credentials(&draft.request) {
            connection::credential_is_given(sink, &place, credential, &connection.credentials);
        }
        let ConnectionSyncSpec { input, variants } = &sync_spec;
        let variants: Vec<(String, Place<'_>, Map<String, Value>)> = match variants {
            None => vec![(String::new(), place.key("input"), input.clone())],
            Some(variants) => variants
                .iter()
                .map(|(variant, VariantSpec { input: own })| {
                    let mut merged = input.clone();
                    merged.extend(own.clone());
                    (variant.clone(), place.key("variants").key(variant).key("input"), merged)
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
    let SyncDraft { description, model, request, response, pagination, incremental, deletes, input: _, essence } = draft;
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
