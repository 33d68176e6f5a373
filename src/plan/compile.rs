//! The passes: files → documents → drafts → a plan, with every mistake of every file on the way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use minijinja::context;
use minijinja::value::Serde;
use serde_json::{Map, Value};
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::action::{self, ActionDraft};
use super::listing::ProviderEntry;
use super::place::{Base, Document, Place, Sink};
use super::provider::{self, ProviderDraft, ProviderWords};
use super::read::read;
use super::shown::ShownFile;
use super::sync::{self, Beside, SyncDraft};
use super::table::Filled;
use super::variants::{self, Given, Over};
use super::{
    ActionPlan, ConnectionPlan, DeletePlan, ErrorAction, IncrementalPlan, Known, ListPlan, ModelPlan, NotifyPlan,
    PageKind, Plan, PublishPlan, SyncId, SyncPlan, TestPlan, Zone, api, catalogue, columns_from, connection, hex, lint,
    listing, rehearsal, table, test, words,
};
use crate::diagnostic::{Diagnostic, Severity, Source, suggest};
use crate::spec::inherit::inherit;
use crate::spec::schema::Kind;
use crate::spec::{
    ActionSpec, ConnectionSpec, ErrorActionSpec, ForEachFromSpec, ModelRefSpec, ModelSpec, NotifyEventSpec, NotifySpec,
    OverlaySpec, ProjectSpec, ProviderSpec, PublishSpec, SyncSpec, TestSpec,
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
    /// the plan, if there is no error but of what this version cannot run yet; that is not to be run, only to be shown
    pub plan: Option<Plan>,
    /// the tests of syncs, by provider and name, if there is no error but of what this version cannot run yet
    pub tests: Vec<TestPlan>,
    /// all mistakes, in the order of files and lines
    pub diagnostics: Vec<Diagnostic>,
    /// what a connection is asked for, by provider; those of the catalogue only where they are used
    pub forms: BTreeMap<String, ProviderForm>,
    /// the files that were read, as they may be shown; those of the catalogue only where they are used
    pub files: Vec<ShownFile>,
    /// the providers, with all that they have; those of the catalogue only where they are used
    pub providers: Vec<ProviderEntry>,
}

/// What a connection of a provider is asked for beside its secrets.
#[derive(Debug, Clone)]
pub struct ProviderForm {
    /// JSON Schema of the settings
    pub config: Option<Value>,
    /// the names of the ways in
    pub auth: Vec<String>,
}

impl Compiled {
    /// Whether anything is wrong enough not to run.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// A document with its type.
pub(super) struct Typed<T> {
    pub(super) document: Arc<Document>,
    pub(super) spec: T,
    pub(super) builtin: bool,
}

/// All documents by name; those of an integration by provider and name.
#[derive(Default)]
pub(super) struct Documents {
    pub(super) projects: Vec<Typed<ProjectSpec>>,
    pub(super) overlays: Vec<Typed<OverlaySpec>>,
    pub(super) providers: BTreeMap<String, Typed<ProviderSpec>>,
    pub(super) syncs: BTreeMap<(String, String), Typed<SyncSpec>>,
    pub(super) models: BTreeMap<(String, String), Typed<ModelSpec>>,
    pub(super) actions: BTreeMap<(String, String), Typed<ActionSpec>>,
    pub(super) tests: BTreeMap<(String, String), Typed<TestSpec>>,
    /// the providers of the built-in catalogue, read or not
    pub(super) catalogue: BTreeSet<String>,
}

impl Documents {
    /// The provider that is named at `place`, or a mistake.
    fn provider(&self, sink: &mut Sink, place: &Place<'_>, name: &str) -> Option<&Typed<ProviderSpec>> {
        let found = self.providers.get(name);
        if found.is_none() {
            let hint = self.suggest_provider(name).unwrap_or_else(|| format!("write providers/{name}.yaml"));
            sink.error("E020", place, format!("there is no provider `{name}`"), Some(hint));
        }
        found
    }

    /// The likely fix for a provider that is not there.
    fn suggest_provider(&self, wrong: &str) -> Option<String> {
        suggest(wrong, self.providers.keys().chain(&self.catalogue).map(String::as_str).collect::<BTreeSet<_>>())
    }
}

/// Compiles a project. `folder` is where its relative paths start. Without a project file among the inputs only the
/// providers, syncs and models are checked, and there is no plan.
///
/// `known` is what the credential store has of its connections.
pub fn compile(inputs: &[Input], folder: &std::path::Path, known: &Known) -> Compiled {
    let mut sink = Sink::default();
    let mut documents = read(&mut sink, inputs);
    inherit_pagination(&mut documents);
    let used: BTreeSet<&str> = documents
        .projects
        .iter()
        .flat_map(|project| project.spec.connections.values().map(|connection| connection.provider.as_str()))
        .collect();
    let extended: BTreeSet<&str> =
        documents.providers.values().filter_map(|typed| typed.spec.extends.as_deref()).collect();
    let mut drafts = Drafts::default();
    for (name, typed) in
        documents.providers.iter().filter(|(name, typed)| !typed.builtin || used.contains(name.as_str()))
    {
        let words = ProviderWords::new(Place::top(&typed.document), &typed.spec);
        if let Some(draft) = provider::provider(&mut sink, &words, extended.contains(name.as_str())) {
            drafts.providers.insert(name, draft);
        }
    }
    integrations(&mut sink, &documents, &used, &mut drafts);
    let first = documents.projects.first();
    let plan = first.map(|project| assemble(&mut sink, &documents, project, &drafts, (folder, known)));
    let plan = plan.filter(|_| !sink.has_errors());
    let providers = listing::entries(&documents, &drafts);
    let tests = if sink.has_errors() { Vec::new() } else { drafts.tests };
    let form = |spec: &ProviderSpec| ProviderForm {
        config: spec.config.clone(),
        auth: spec.auth.iter().flat_map(|ways| ways.keys().cloned()).collect(),
    };
    let forms = documents.providers.iter().map(|(name, typed)| (name.clone(), form(&typed.spec))).collect();
    let files = documents.shown(&sink, &used);
    Compiled { plan, tests, diagnostics: sink.into_sorted(), forms, files, providers }
}

/// What does not depend on a connection, by provider and name; what has a mistake is not there.
#[derive(Default)]
pub(super) struct Drafts<'d> {
    pub(super) providers: BTreeMap<&'d str, ProviderDraft>,
    pub(super) syncs: BTreeMap<(&'d str, &'d str), SyncDraft>,
    pub(super) actions: BTreeMap<(&'d str, &'d str), ActionDraft>,
    tests: Vec<TestPlan>,
}

/// The pagination of a sync with that of its provider under it.
fn inherit_pagination(documents: &mut Documents) {
    const KEY: &str = "pagination";
    for ((provider, _), typed) in &mut documents.syncs {
        let Some(below) = documents.providers.get(provider) else { continue };
        let (Some(own), Some(inherited)) = (typed.document.value.get(KEY), below.document.value.get(KEY)) else {
            continue;
        };
        let merged = inherit(Kind::Sync, &[crate::diagnostic::Segment::Key(KEY.to_owned())], inherited, own);
        if merged == *own {
            continue;
        }
        if let Ok(pagination) = serde_json::from_value(merged.clone()) {
            typed.spec.pagination = Some(pagination);
            let document = Arc::make_mut(&mut typed.document);
            document.base = Some(Base { document: Arc::clone(&below.document), own: document.value.clone() });
            document.value[KEY] = merged;
        }
    }
}

/// Compiles the models, syncs, actions and tests of the project and those of the catalogue that are used.
fn integrations<'d>(sink: &mut Sink, documents: &'d Documents, used: &BTreeSet<&str>, drafts: &mut Drafts<'d>) {
    let models = models(sink, documents, used);
    let mut orphans = Orphans { documents, told: BTreeSet::new() };
    let providers: BTreeSet<&str> = documents
        .syncs
        .keys()
        .chain(documents.actions.keys())
        .chain(documents.tests.keys())
        .map(|(provider, _)| provider.as_str())
        .collect();
    for provider in providers {
        let syncs = of(&documents.syncs, provider, used);
        let actions = of(&documents.actions, provider, used);
        let tests = of(&documents.tests, provider, used);
        let Some(typed) = documents.providers.get(provider) else {
            let tops = syncs.iter().map(|(_, typed)| (&typed.document, "sync"));
            let tops = tops.chain(actions.iter().map(|(_, typed)| (&typed.document, "action")));
            let tops = tops.chain(tests.iter().map(|(_, typed)| (&typed.document, "test")));
            tops.for_each(|(document, kind)| orphans.tell(sink, document, kind, provider));
            continue;
        };
        let words = ProviderWords::new(Place::top(&typed.document), &typed.spec);
        let own = models.iter().filter(|((of, _), _)| *of == provider);
        let beside = Beside {
            provider: &words,
            syncs: syncs.iter().map(|(name, typed)| (*name, models_of(&typed.spec).next())).collect(),
            models: own.clone().map(|((_, name), (_, model))| (*name, model.clone())).collect(),
        };
        for (name, typed) in &syncs {
            let draft = sync::sync(sink, &Place::top(&typed.document), &typed.spec, &typed.document.value, &beside);
            drafts.syncs.extend(draft.map(|draft| ((provider, *name), draft)));
        }
        for (name, typed) in &actions {
            let draft = action::action(sink, &Place::top(&typed.document), &typed.spec, &beside);
            drafts.actions.extend(draft.map(|draft| ((provider, *name), draft)));
        }
        let sync_specs: Vec<&SyncSpec> = syncs.iter().map(|(_, typed)| &typed.spec).collect();
        let action_specs: Vec<&ActionSpec> = actions.iter().map(|(_, typed)| &typed.spec).collect();
        for (place, model) in own.filter_map(|(_, (place, model))| Some((place, model.as_ref()?))) {
            let filling = drafts.syncs.iter().filter(|((of, _), draft)| *of == provider && fills(draft, &model.name));
            let filling: Vec<_> = filling.map(|((_, name), draft)| (draft, tests_of(&tests, name))).collect();
            lint::recorded(sink, place, model, &filling);
        }
        for (_, typed) in &tests {
            test::test(sink, &Place::top(&typed.document), &typed.spec, &beside, &sync_specs, &action_specs);
            let plan = rehearsal::rehearsal(sink, typed, provider, documents, drafts);
            drafts.tests.extend(plan);
        }
        if typed.spec.category.is_some() {
            for_the_catalogue(sink, &words, (&syncs, &actions, &tests), (documents, drafts));
        }
    }
    absence_owns_its_table(sink, documents, &drafts.syncs);
    rows_come_from_elsewhere(sink, documents);
}

/// Documents of one provider by their own names.
type Named<'d, T> = [(&'d str, &'d Typed<T>)];

/// Looks at the documents of a provider that belongs to the catalogue.
fn for_the_catalogue(
    sink: &mut Sink,
    provider: &ProviderWords<'_>,
    (syncs, actions, tests): (&Named<'_, SyncSpec>, &Named<'_, ActionSpec>, &Named<'_, TestSpec>),
    (documents, drafts): (&Documents, &Drafts<'_>),
) {
    catalogue::provider(sink, &provider.place, provider.spec);
    for (name, typed) in syncs {
        let place = Place::top(&typed.document);
        let draft = drafts.syncs.get(&(provider.spec.provider.as_str(), *name));
        let paged = draft.is_some_and(|draft| !matches!(draft.pagination.kind, PageKind::None));
        catalogue::sync(sink, &place, &typed.spec, paged, &tests_of(tests, name));
        if let Some(ModelRefSpec::Inline(model)) = &typed.spec.model {
            catalogue::model(sink, &place.key("model"), model);
        }
    }
    for (name, typed) in actions {
        let calling = tests.iter().map(|(_, typed)| &typed.spec).filter(|test| test.action.as_deref() == Some(*name));
        catalogue::action(sink, &Place::top(&typed.document), &typed.spec, &calling.collect::<Vec<_>>());
    }
    for (_, typed) in documents.models.iter().filter(|((of, _), _)| *of == provider.spec.provider) {
        catalogue::model(sink, &Place::top(&typed.document), &typed.spec);
    }
}

/// The tests of one sync.
fn tests_of<'d>(tests: &[(&str, &'d Typed<TestSpec>)], sync: &str) -> Vec<&'d TestSpec> {
    tests.iter().map(|(_, typed)| &typed.spec).filter(|test| test.sync.as_deref() == Some(sync)).collect()
}

/// The documents of one provider that are compiled.
fn of<'d, T>(
    documents: &'d BTreeMap<(String, String), Typed<T>>,
    provider: &str,
    used: &BTreeSet<&str>,
) -> Vec<(&'d str, &'d Typed<T>)> {
    let own = documents.iter().filter(|((of, _), typed)| of == provider && (!typed.builtin || used.contains(provider)));
    own.map(|((_, name), typed)| (name.as_str(), typed)).collect()
}

/// Documents in the folder of a provider that is not there.
struct Orphans<'d> {
    documents: &'d Documents,
    told: BTreeSet<String>,
}

impl Orphans<'_> {
    fn tell(&mut self, sink: &mut Sink, document: &Arc<Document>, kind: &str, provider: &str) {
        if !self.told.insert(document.source.name.clone()) {
            return;
        }
        let message = format!("there is no provider `{provider}`, in whose folder this {kind} stands");
        let hint =
            self.documents.suggest_provider(provider).unwrap_or_else(|| format!("write providers/{provider}.yaml"));
        sink.error("E020", &Place::top(document).key(kind), message, Some(hint));
    }
}

/// The compiled models by provider and name, those written inside a sync too, with their places; none for one with a mistake of its
/// own.
type Models<'d> = BTreeMap<(&'d str, &'d str), (Place<'d>, Option<Arc<ModelPlan>>)>;

fn models<'d>(sink: &mut Sink, documents: &'d Documents, used: &BTreeSet<&str>) -> Models<'d> {
    let is_used = |provider: &str, builtin: bool| !builtin || used.contains(provider);
    let mut all: Vec<(&str, Place<'_>, &ModelSpec)> = Vec::new();
    for ((provider, _), typed) in documents.models.iter().filter(|((of, _), typed)| is_used(of, typed.builtin)) {
        all.push((provider, Place::top(&typed.document), &typed.spec));
    }
    for ((provider, _), typed) in documents.syncs.iter().filter(|((of, _), typed)| is_used(of, typed.builtin)) {
        let top = Place::top(&typed.document);
        if let Some(ModelRefSpec::Inline(model)) = &typed.spec.model {
            all.push((provider, top.key("model"), model));
        }
        for (index, output) in typed.spec.outputs.iter().flatten().enumerate() {
            if let ModelRefSpec::Inline(model) = &output.model {
                all.push((provider, top.key("outputs").index(index).key("model"), model));
            }
        }
    }
    let mut models = Models::new();
    let mut tables: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut derived: Vec<(&str, String, Place<'_>, &str)> = Vec::new();
    for (provider, place, spec) in &all {
        if models.contains_key(&(*provider, spec.model.as_str())) {
            let message = format!("the model `{}` is defined twice", spec.model);
            let hint = "give one of the two another name".to_owned();
            sink.error("E024", &place.key("model"), message, Some(hint));
            continue;
        }
        let children = spec.children.iter().enumerate();
        let children = children.map(|(index, child)| (place.key("children").index(index), &child.table));
        for (place, table) in std::iter::once((place.clone(), &spec.table)).chain(children) {
            if let Some(first) = tables.insert((provider, table), &spec.model) {
                let message = format!("the table `{table}` belongs to the model `{first}` already");
                sink.error("E024", &place.key("table"), message, Some("give it a table of its own".into()));
            }
            for (suffix, what) in [("_live", "the view on"), ("_history", "the history of")] {
                if let Some(of) = table.strip_suffix(suffix) {
                    derived.push((provider, of.to_owned(), place.key("table"), what));
                }
            }
        }
        let config = documents.providers.get(*provider).and_then(|typed| typed.spec.config.as_ref());
        let plan = table::model(sink, place, spec, provider, config, &filled_by(documents, provider, &spec.model));
        models.insert((provider, spec.model.as_str()), (place.clone(), plan.map(Arc::new)));
    }
    for (provider, of, place, what) in derived {
        if let Some(rival) = tables.get(&(provider, of.as_str())) {
            let name = place.node().and_then(Value::as_str).unwrap_or_default();
            let message = format!("`{name}` is the name of {what} the table of the model `{rival}`");
            sink.error("E024", &place, message, Some("give the table another name".to_owned()));
        }
    }
    models
}

/// What the syncs of a provider that fill a model are to its columns.
fn filled_by<'d>(documents: &'d Documents, provider: &str, model: &str) -> Filled<'d> {
    let fills = |spec: &SyncSpec| models_of(spec).any(|name| name == model);
    let syncs = documents.syncs.iter().filter(|((of, _), typed)| of == provider && fills(&typed.spec));
    let levels = syncs.map(|(_, typed)| typed.spec.for_each.iter().flatten().map(|level| level.name.as_str()));
    let levels: Vec<Vec<&str>> = levels.map(Iterator::collect).collect();
    let any = |is: fn(&SyncSpec) -> bool| {
        documents.syncs.iter().any(|((of, _), typed)| of == provider && fills(&typed.spec) && is(&typed.spec))
    };
    let walks = any(|spec| spec.walk.is_some());
    let shared = |name: &&str| levels.iter().all(|others| others.contains(name));
    Filled {
        partitioned: walks || levels.iter().any(|levels| !levels.is_empty()),
        listed: any(|spec| spec.detail.iter().flat_map(|details| &details.0).any(|detail| detail.only_changed)),
        levels: levels.first().into_iter().flatten().copied().filter(shared).collect(),
    }
}

/// The names of the models that a sync fills.
fn models_of(spec: &SyncSpec) -> impl Iterator<Item = &str> {
    let outputs = spec.outputs.iter().flatten().map(|output| &output.model);
    spec.model.iter().chain(outputs).map(ModelRefSpec::name)
}

/// A sync that fans out over rows that come, in the end, from its own.
fn rows_come_from_elsewhere(sink: &mut Sink, documents: &Documents) {
    for ((provider, name), typed) in &documents.syncs {
        let mut above = BTreeSet::new();
        let mut next = parents(documents, provider, name);
        while let Some(parent) = next.pop() {
            if above.insert(parent) {
                next.extend(parents(documents, provider, parent));
            }
        }
        // over its own rows is another mistake
        if above.contains(name.as_str()) && !parents(documents, provider, name).contains(&name.as_str()) {
            let message = "the rows that it fans out over come, in the end, from its own";
            let hint = "let one of the syncs get its items in another way: `from: { list: … }`".to_owned();
            sink.error("E110", &Place::top(&typed.document).key("for_each"), message, Some(hint));
        }
    }
}

/// The syncs over whose rows a sync fans out.
pub(super) fn parents<'d>(documents: &'d Documents, provider: &str, sync: &str) -> Vec<&'d str> {
    let typed = documents.syncs.get(&(provider.to_owned(), sync.to_owned()));
    let levels = typed.into_iter().flat_map(|typed| typed.spec.for_each.iter().flatten());
    let rows = levels.filter_map(|level| match &level.from {
        ForEachFromSpec::Rows(rows) => Some(rows.sync.as_str()),
        ForEachFromSpec::Values(_) | ForEachFromSpec::List(_) => None,
    });
    rows.collect()
}

fn fills(draft: &SyncDraft, model: &str) -> bool {
    draft.model.name == model || draft.outputs.iter().any(|output| output.model.name == model)
}

/// Two syncs that fill one table, one of which deletes what it does not see: each would delete the other's rows.
fn absence_owns_its_table(sink: &mut Sink, documents: &Documents, drafts: &BTreeMap<(&str, &str), SyncDraft>) {
    for ((provider, name), draft) in drafts {
        let errors = |provider: &str| documents.providers.get(provider).map_or(&[][..], |typed| &typed.spec.errors);
        let rival = drafts.iter().find(|((other_provider, other), other_draft)| {
            let own = std::iter::once(&draft.model).chain(draft.outputs.iter().map(|output| &output.model));
            other_provider == provider && other != name && own.into_iter().any(|model| fills(other_draft, &model.name))
        });
        let what = match &draft.deletes {
            DeletePlan::Absence { .. } => "`absence`",
            DeletePlan::None => continue,
            DeletePlan::Sweep(_) => "`sweep`",
            // what the whole list does not return is gone
            _ if draft.token.is_some() || draft.changes.is_some() => "a scan without a watermark",
            _ if draft.incremental.as_ref().is_some_and(|incremental| incremental.max_age.is_some()) => {
                "the scan that starts over behind `max_age`"
            }
            _ if draft.errors.iter().any(|rule| rule.then == ErrorAction::Reset)
                || errors(provider).iter().any(|rule| rule.then == ErrorActionSpec::Reset) =>
            {
                "the scan that starts over where an error says `reset`"
            }
            _ => continue,
        };
        if let Some(((_, rival), _)) = rival
            && let Some(typed) = documents.syncs.get(&((*provider).to_owned(), (*name).to_owned()))
        {
            let message = format!("{what} would delete the rows that the sync `{rival}` writes into the same table");
            let hint = "give one of the two a model of its own".to_owned();
            sink.key_error("E071", &Place::top(&typed.document).key("deletes"), message, Some(hint));
        }
    }
}

fn assemble(
    sink: &mut Sink,
    documents: &Documents,
    project: &Typed<ProjectSpec>,
    drafts: &Drafts<'_>,
    (folder, known): (&std::path::Path, &Known),
) -> Plan {
    let ProjectSpec { database, providers: _, integrations: _, connections, publish, notify, api, allow } =
        &project.spec;
    let place = Place::top(&project.document);
    words::allow(sink, &place, allow);
    let used: Vec<&str> = connections.values().map(|connection| connection.provider.as_str()).collect();
    lint::database(sink, &place, database, &used);
    let notify = notify_plans(sink, &place.key("notify"), notify);
    let api_keys = api.as_ref().map(|spec| api::keys(sink, &place.key("api"), spec)).unwrap_or_default();
    let (mut all, mut plans, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut inputs, mut made) = (Vec::new(), columns_from::Made::new());
    let overlay = documents.overlays.first();
    variants::of_nobody(sink, overlay, connections);
    if connections.is_empty() {
        let hint = "name an account under `connections:`".to_owned();
        let message = "the project has no connections, so there is nothing to sync";
        sink.warning("W085", &place.key("database"), message, Some(hint));
    }
    for (name, spec) in connections {
        let place = place.key("connections").key(name);
        words::key_name(sink, &place, name, true);
        words::allow(sink, &place, &spec.allow);
        let Some(provider_document) = documents.provider(sink, &place.key("provider"), &spec.provider) else {
            continue;
        };
        let whole = !Place::top(&provider_document.document).is_broken();
        let draft = drafts.providers.get(spec.provider.as_str()).filter(|_| whole);
        let connection = draft.and_then(|draft| {
            let provider = &provider_document.spec;
            let known = known.0.get(name).filter(|known| known.provider == spec.provider);
            named_actions(sink, &place, documents, spec);
            let scopes = scopes(documents, spec);
            connection::connection(sink, &place, name, spec, provider, draft, (known, &scopes)).map(Arc::new)
        });
        all.extend(connection.clone());
        let given = Given { place: &place, name, spec, over: Over::of(overlay, name) };
        let syncs = variants::syncs(sink, &given, documents, connection.as_ref(), (&drafts.syncs, &mut made));
        plans.extend(syncs.plans);
        inputs.extend(syncs.inputs);
        actions.extend(connection_actions(sink, &place, spec, connection.as_ref(), &drafts.actions));
    }
    columns_from::share(sink, &place.key("connections"), &mut plans, &made);
    let actions = actions.into_iter().map(|mut action: ActionPlan| {
        action.meet(&plans);
        Arc::new(action)
    });
    let actions: Vec<Arc<ActionPlan>> = actions.collect();
    let saved: HashSet<&SyncId> =
        actions.iter().filter(|action| action.save.is_some()).flat_map(|action| &action.fillers).collect();
    for plan in &mut plans {
        if saved.contains(&plan.id) {
            Arc::make_mut(plan).saved = true;
        }
    }
    let publish = publish.as_ref().and_then(|spec| publish_plan(sink, &place.key("publish"), spec, folder));
    if publish.as_ref().is_some_and(|plan| plan.path == resolve(folder, database)) {
        let hint = "give the copy a path of its own".to_owned();
        sink.error("E049", &place.key("publish").key("path"), "the copy would replace the database", Some(hint));
    }
    Plan {
        folder: folder.to_owned(),
        database: resolve(folder, database),
        publish,
        connections: all,
        syncs: plans,
        actions,
        inputs,
        notify,
        api_keys,
    }
}

/// Tells of the actions that a connection names and that are not there.
fn named_actions(sink: &mut Sink, place: &Place<'_>, documents: &Documents, spec: &ConnectionSpec) {
    let known = || of_provider(&documents.actions, &spec.provider).map(|(name, _)| name);
    for (index, name) in spec.actions.iter().enumerate().filter(|(_, name)| !known().any(|known| known == *name)) {
        words::one_of(sink, &place.key("actions").index(index), ("E028", "action"), name, known());
    }
}

/// The documents of one provider by their own names.
pub(super) fn of_provider<'d, T>(
    documents: &'d BTreeMap<(String, String), Typed<T>>,
    provider: &str,
) -> impl Iterator<Item = (&'d str, &'d Typed<T>)> {
    let own = documents.iter().filter(move |((of, _), _)| of == provider);
    own.map(|((_, name), typed)| (name.as_str(), typed))
}

/// The scopes of the syncs that run on a connection and of the actions that it names, each once.
fn scopes(documents: &Documents, spec: &ConnectionSpec) -> Vec<String> {
    let runs = |name: &str, sync: &SyncSpec| match &spec.syncs {
        Some(chosen) => chosen.contains_key(name),
        None => sync.auto_start.unwrap_or(true),
    };
    let syncs = of_provider(&documents.syncs, &spec.provider).filter(|(name, typed)| runs(name, &typed.spec));
    let actions = of_provider(&documents.actions, &spec.provider);
    let actions = actions.filter(|(name, _)| spec.actions.iter().any(|called| called == name));
    let scopes =
        syncs.flat_map(|(_, typed)| &typed.spec.scopes).chain(actions.flat_map(|(_, typed)| &typed.spec.scopes));
    scopes.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// Who is told what happened; as many as have no mistake.
fn notify_plans(sink: &mut Sink, place: &Place<'_>, specs: &[NotifySpec]) -> Arc<[NotifyPlan]> {
    let plans = specs.iter().enumerate().map(|(index, NotifySpec { url, secret, on })| {
        let place = place.index(index);
        let url = provider::notify_url(sink, &place.key("url"), url);
        let secret = match secret {
            None => Some(None),
            Some(text) => connection::credential_source(sink, &place.key("secret"), "secret", text).map(Some),
        };
        let tells = |event| on.as_ref().is_none_or(|events| events.contains(&event));
        let url = url?;
        let earlier = specs.iter().take(index).filter(|earlier| earlier.url == specs[index].url).count();
        Some(NotifyPlan {
            name: endpoint_name(&url, earlier),
            url,
            secret: secret?,
            changed: tells(NotifyEventSpec::Changed),
            failed: tells(NotifyEventSpec::Failed),
            needs_reconnect: tells(NotifyEventSpec::NeedsReconnect),
        })
    });
    let plans: Vec<_> = plans.collect();
    plans.into_iter().flatten().collect()
}

/// `app.example.com#5f2a9c1b`: the same as long as the URL is.
fn endpoint_name(url: &Url, earlier: usize) -> String {
    let hash = hex(xxh3_64(format!("{earlier} {url}").as_bytes()).to_be_bytes());
    format!("{}#{}", url.host_str().unwrap_or_default(), &hash[..8])
}

/// The actions of a connection: all that its provider has.
fn connection_actions(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ConnectionSpec,
    connection: Option<&Arc<ConnectionPlan>>,
    drafts: &BTreeMap<(&str, &str), ActionDraft>,
) -> Vec<ActionPlan> {
    let Some(connection) = connection else { return Vec::new() };
    let own = drafts.iter().filter(|((provider, _), _)| *provider == spec.provider);
    let plans = own.map(|((_, name), draft)| {
        for step in &draft.steps {
            connection::credentials_are_given(sink, place, &step.request, &connection.auth, &connection.credentials);
        }
        draft.of(name, connection)
    });
    plans.collect()
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

/// One sync of a connection with this input, which stands at `place`.
pub(super) fn sync_plan(
    sink: &mut Sink,
    (place, connection_place): (&Place<'_>, &Place<'_>),
    (id, draft, connection): (SyncId, &SyncDraft, &Arc<ConnectionPlan>),
    input: &Map<String, Value>,
    documents: &Documents,
    made: &mut columns_from::Made,
) -> Option<SyncPlan> {
    let input = connection::settings(sink, place, input, draft.input.as_ref(), "E048")?;
    let columns = columns_from::columns(sink, place, &draft.model, (&id, connection, &input));
    made.extend(columns.map(|columns| (id.clone(), columns)));
    let zone = zone_of(sink, connection_place, draft, (&id, connection, &input), documents)?;
    Some(instance(id, draft, connection, (input, zone)))
}

/// The zone of a sync's times where a connection tells it; `None` where it tells none that there is.
fn zone_of(
    sink: &mut Sink,
    place: &Place<'_>,
    draft: &SyncDraft,
    (id, connection, input): (&SyncId, &ConnectionPlan, &Value),
    documents: &Documents,
) -> Option<Option<Zone>> {
    let Some(template) = &draft.timezone else { return Some(None) };
    let variables = context! {
        config => minijinja::Value::from(Serde(&connection.config)),
        input => minijinja::Value::from(Serde(input)),
        variant => id.variant.as_str(),
        connection => context! { name => connection.name.as_str() },
    };
    // the API tells it when the connection is made; nothing runs before
    let mut named = template.variables().iter().filter_map(|name| name.strip_prefix("config."));
    let learned = documents.providers.get(&id.provider).map(|typed| &typed.spec);
    let is_learned = |name: &str| learned.is_some_and(|spec| provider::saved(spec).any(|saved| saved == name));
    if named.any(|name| connection.config.get(name).is_none() && is_learned(name)) {
        return Some(None);
    }
    let why = match template.render(&variables) {
        Ok(Some(name)) => match Zone::parse(&name) {
            Some(zone) => return Some(Some(zone)),
            None => format!("is `{}`, and there is no such time zone", words::shorten(&name)),
        },
        Ok(None) => "has no value".to_owned(),
        Err(error) => format!("has no value: {error}"),
    };
    let message = format!("`incremental.timezone` of the sync `{}` {why}", id.sync);
    let hint = "give its IANA name in the settings of the connection: `Europe/Berlin`".to_owned();
    sink.key_error("E105", place, message, Some(hint));
    None
}

fn instance(
    id: SyncId,
    draft: &SyncDraft,
    connection: &Arc<ConnectionPlan>,
    (input, zone): (Value, Option<Zone>),
) -> SyncPlan {
    let identity =
        serde_json::json!([draft.essence, connection.base_url.as_str(), connection.config, draft.identity_of(&input)]);
    let SyncDraft {
        description,
        schedule,
        auto_start: _,
        model,
        outputs,
        request,
        job,
        response,
        pagination,
        errors,
        incremental,
        timezone: _,
        token,
        changes,
        deletes,
        partitions,
        walk,
        details,
        on_webhook,
        budget,
        input: _,
        essence: _,
    } = draft.clone();
    let incremental = incremental.map(|incremental| IncrementalPlan { zone: incremental.zone.or(zone), ..incremental });
    SyncPlan {
        id,
        description,
        connection: Arc::clone(connection),
        schedule,
        model,
        outputs,
        list: Arc::new(ListPlan { request, response, pagination }),
        job,
        errors,
        incremental,
        token,
        changes: changes.map(Arc::new),
        deletes,
        partitions,
        walk,
        details,
        on_webhook,
        saved: false,
        budget,
        input,
        fingerprint: xxh3_64(identity.to_string().as_bytes()),
    }
}
