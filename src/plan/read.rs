//! The first pass: texts to typed documents by name, with every mistake of form. A document that has some is mended, so that
//! the passes after this one find the other mistakes in the same go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::compile::{Documents, Input, Typed};
use super::place::{Base, Document, Place, Sink};
use crate::diagnostic::{Segment, Source, suggest};
use crate::spec::inherit::inherit;
use crate::spec::mend::mend;
use crate::spec::schema::Kind;
use crate::spec::{ActionSpec, ModelSpec, ProviderSpec, SyncSpec, TestSpec, finding, secret, yaml};

pub(super) fn read(sink: &mut Sink, inputs: &[Input]) -> Documents {
    let mut documents = Documents::default();
    let (projects, others): (Vec<&Input>, Vec<&Input>) = inputs.iter().partition(|input| input.kind == Kind::Project);
    for input in projects {
        let parsed = parsed(sink, input);
        if let Some(document) = document(sink, input, parsed) {
            sort_in(sink, &mut documents, input, document);
        }
    }
    let connections = documents.projects.iter().flat_map(|project| project.spec.connections.values());
    let connected = connections.map(|connection| connection.provider.clone());
    let own = others.iter().filter(|input| !input.builtin).filter_map(|input| input.integration.clone());
    let used: BTreeSet<String> = connected.chain(own).collect();
    let (providers, others): (Vec<&Input>, Vec<&Input>) =
        others.into_iter().partition(|input| input.kind == Kind::Provider);
    documents.catalogue =
        providers.iter().filter(|input| input.builtin).map(|input| stem(&input.source).to_owned()).collect();
    let bases = Bases::read(sink, providers, &used, &documents.catalogue);
    for (input, document) in bases.inherited(sink) {
        sort_in(sink, &mut documents, input, document);
    }
    // a provider that only has the name of one of the catalogue is another one: what the catalogue syncs from its own is not for it
    let is_another = |name: &str| {
        let own = documents.providers.get(name).filter(|typed| !typed.builtin);
        own.is_some_and(|typed| typed.spec.extends.as_deref() != Some(name))
    };
    let another: BTreeSet<String> = used.iter().filter(|name| is_another(name)).cloned().collect();
    for input in others {
        let provider = input.integration.as_deref().unwrap_or_default();
        if !input.builtin || used.contains(provider) && !another.contains(provider) {
            let parsed = parsed(sink, input);
            if let Some(document) = document(sink, input, parsed) {
                sort_in(sink, &mut documents, input, document);
            }
        }
    }
    documents
}

/// A text as a value, and the source of which only that may be shown that is no secret.
struct Parsed {
    shown: Arc<Source>,
    /// none where it is no YAML, which was told
    value: Option<Value>,
    base: Option<Base>,
    /// what it extends could not be read, so that nobody knows what it lacks
    incomplete: bool,
}

fn parsed(sink: &mut Sink, input: &Input) -> Parsed {
    let Input { source, kind, builtin: _, integration: _, stray } = input;
    let shown = match kind {
        // the text is only for showing and for finding places from here on
        Kind::Project => Arc::new(Source { text: secret::masked(&source.text), ..Source::clone(source) }),
        Kind::Provider | Kind::Sync | Kind::Model | Kind::Action | Kind::Test | Kind::Overlay => Arc::clone(source),
    };
    let value = match well_formed(source, &shown.text) {
        Ok(value) => Some(value),
        Err(_) if *stray => Some(Value::Null),
        Err(error) => {
            sink.unreadable(&shown, error);
            None
        }
    };
    Parsed { shown, value, base: None, incomplete: false }
}

/// The provider files that are used, and those they are made of.
struct Bases<'i> {
    texts: Vec<(&'i Input, Parsed)>,
    /// all that can be named, read or not
    names: BTreeSet<String>,
}

impl<'i> Bases<'i> {
    /// Reads the project's own, those that are used, and then what these extend.
    fn read(sink: &mut Sink, inputs: Vec<&'i Input>, used: &BTreeSet<String>, catalogue: &BTreeSet<String>) -> Self {
        let mut wanted = used.clone();
        let own = inputs.iter().filter(|input| !input.stray).map(|input| stem(&input.source).to_owned());
        let names = catalogue.iter().cloned().chain(own).collect();
        let mut left = inputs;
        let mut texts: Vec<(&Input, Parsed)> = Vec::new();
        loop {
            let (now, later): (Vec<&Input>, Vec<&Input>) =
                left.into_iter().partition(|input| !input.builtin || wanted.contains(stem(&input.source)));
            if now.is_empty() {
                return Self { texts, names };
            }
            for input in now {
                let parsed = parsed(sink, input);
                wanted.extend(parsed.value.as_ref().and_then(|value| Some(value.get("extends")?.as_str()?.to_owned())));
                texts.push((input, parsed));
            }
            left = later;
        }
    }

    /// The provider that `name` means in the file at `from`: a file that extends its own name means the one of the catalogue.
    fn named(&self, name: &str, from: usize) -> Option<usize> {
        let is = |(_, (input, Parsed { value, .. })): &(usize, &(&Input, Parsed))| {
            let told = value.as_ref().and_then(|value| value.get("provider")?.as_str());
            !input.stray && told.unwrap_or_else(|| stem(&input.source)) == name
        };
        let mut found = self.texts.iter().enumerate().filter(is).map(|(at, _)| at).filter(|at| *at != from);
        found.next()
    }

    /// Each document with what it has from the one it extends.
    fn inherited(mut self, sink: &mut Sink) -> Vec<(&'i Input, Document)> {
        let mut chains = Vec::with_capacity(self.texts.len());
        for at in 0..self.texts.len() {
            chains.push(self.chain(sink, at));
        }
        // a base is whole before those that extend it
        let mut order: Vec<usize> = (0..self.texts.len()).collect();
        order.sort_by_key(|at| chains[*at].len());
        for at in order {
            let Some(base) = chains[at].first().copied() else {
                // it leads nowhere, which was told
                let value = self.texts[at].1.value.as_ref();
                self.texts[at].1.incomplete = value.is_some_and(|value| value["extends"].is_string());
                continue;
            };
            let (below, kind) = (&self.texts[base].1, Kind::Provider);
            let incomplete = below.incomplete || below.value.is_none();
            let Some(own) = &self.texts[at].1.value else { continue };
            let Some(inherited) = below.value.as_ref().filter(|_| !incomplete) else {
                self.texts[at].1.incomplete = true;
                continue;
            };
            let mut merged = inherit(kind, &[], inherited, own);
            // what is allowed there is not allowed here
            if let Value::Object(members) = &mut merged {
                match own.get("allow") {
                    Some(allow) => members.insert("allow".to_owned(), allow.clone()),
                    None => members.shift_remove("allow"),
                };
            }
            let mut document = Document::new(Arc::clone(&below.shown), kind, inherited.clone());
            document.base.clone_from(&below.base);
            let base = Base { document: Arc::new(document), own: own.clone() };
            self.texts[at].1 = Parsed {
                shown: Arc::clone(&self.texts[at].1.shown),
                value: Some(merged),
                base: Some(base),
                incomplete: false,
            };
        }
        let documents = self.texts.into_iter().map(|(input, parsed)| (input, document(sink, input, parsed)));
        documents.filter_map(|(input, document)| Some((input, document?))).collect()
    }

    /// The files that the one at `at` extends, the nearest first; nothing where that leads nowhere or back.
    fn chain(&self, sink: &mut Sink, at: usize) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut from = at;
        loop {
            let Parsed { shown, value, .. } = &self.texts[from].1;
            let Some(name) = value.as_ref().and_then(|value| value.get("extends")?.as_str()) else { return chain };
            let tell = |sink: &mut Sink, message: String, hint: Option<String>| {
                let document =
                    Arc::new(Document::new(Arc::clone(shown), Kind::Provider, value.clone().unwrap_or_default()));
                sink.error("E027", &Place::top(&document).key("extends"), message, hint);
            };
            match self.named(name, from) {
                None => {
                    let own = value.as_ref().and_then(|value| value.get("provider")?.as_str());
                    let names = self.names.iter().map(String::as_str).filter(|name| Some(*name) != own);
                    let (message, hint) = if own == Some(name) {
                        let hint = "take the line out, or name another provider".to_owned();
                        (format!("`{name}` extends itself, and the catalogue has no provider of that name"), Some(hint))
                    } else {
                        let hint = suggest(name, names).unwrap_or_else(|| format!("write providers/{name}.yaml"));
                        (format!("there is no provider `{name}` to extend"), Some(hint))
                    };
                    tell(sink, message, hint);
                    return Vec::new();
                }
                Some(next) if next == at || chain.contains(&next) => {
                    let hint = "a provider can extend one that does not lead back to it".to_owned();
                    tell(sink, format!("`{name}` extends this provider in turn"), Some(hint));
                    return Vec::new();
                }
                Some(next) => {
                    chain.push(next);
                    from = next;
                }
            }
        }
    }
}

/// The document, whole or mended.
fn document(sink: &mut Sink, input: &Input, parsed: Parsed) -> Option<Document> {
    let Input { source, kind, builtin: _, integration: _, stray } = input;
    let Parsed { shown, value, base, incomplete } = parsed;
    let Some(value) = value else { return unread(source, shown, *kind) };
    let mut document = Document { base, ..Document::new(shown, *kind, value) };
    if incomplete {
        document.holes.push(vec![Segment::Key("extends".to_owned())]);
    }
    // what headwater writes is nothing else
    let guess = Kind::guess(&document.value).filter(|_| *kind != Kind::Overlay);
    if *stray {
        let folder = guess.map_or("one of the folders of a project", Kind::folder);
        let message = match guess {
            Some(guess) => format!("this file is not read: {} {guess} stands in {folder}", guess.article()),
            None => "this file is not read".to_owned(),
        };
        let hint = "move it: providers stand in `providers/`, all else in the folders of `integrations/<provider>/`: `syncs`, `models`, `actions`, `tests`";
        sink.warning("W086", &Place::top(&Arc::new(document)), message, Some(hint.to_owned()));
        return None;
    }
    let findings = finding::check(*kind, &document.value);
    if let Some(guess) = guess.filter(|guess| guess != kind && !findings.is_empty()) {
        let message = format!("this is {} {guess}, in a folder of {kind}s", guess.article());
        let hint = format!("{} {guess} stands in {}", guess.article(), guess.folder());
        sink.error("E026", &Place::top(&Arc::new(document.clone())), message, Some(hint));
        document.kind = guess;
    }
    let findings = if document.kind == *kind { findings } else { finding::check(document.kind, &document.value) };
    if findings.is_empty() {
        return Some(document);
    }
    if document.value.is_null() {
        let first = match kind {
            Kind::Project => "database",
            Kind::Overlay => "connections",
            kind => kind.name(),
        };
        let hint = format!("{} {kind} begins with `{first}: …`", kind.article());
        sink.error("E011", &Place::top(&Arc::new(document.clone())), "the file is empty", Some(hint));
    } else {
        sink.findings(&Place::top(&Arc::new(document.clone())), finding::causes(findings));
    }
    match mend(document.kind, &document.value) {
        Some(mended) => {
            document.value = mended.value;
            document.holes.extend(mended.holes);
            let name = document.kind.name();
            let named = Arc::new(document.clone());
            if Place::top(&named).key(name).is_hole() && document.kind.is_named() {
                document.value[name] = stem(source).into();
            }
            Some(document)
        }
        None => unread(source, document.source, document.kind),
    }
}

fn well_formed(source: &Source, shown: &str) -> Result<Value, yaml::Error> {
    if let Some(position) = source.not_utf8 {
        let hint = Some("save the file as UTF-8".to_owned());
        return Err(yaml::Error {
            code: "E004",
            message: "the file is not UTF-8".into(),
            position: Some(position),
            hint,
        });
    }
    yaml::parse_showing(&source.text, shown)
}

/// What stands for a file that could not be read, so that those who name it are not told that it is not there.
fn unread(source: &Source, shown: Arc<Source>, kind: Kind) -> Option<Document> {
    let told = source.text.lines().find_map(|line| line.strip_prefix(kind.name())?.strip_prefix(':'));
    let name = told.map(|name| name.trim().trim_matches(['"', '\''])).filter(|name| !name.is_empty());
    let mut named = Map::new();
    if kind.is_named() {
        named.insert(kind.name().to_owned(), name.unwrap_or(stem(source)).into());
    }
    let value = mend(kind, &Value::Object(named))?.value;
    Some(Document { holes: vec![Vec::new()], ..Document::new(shown, kind, value) })
}

/// The name of the file, which usually is the name of what it holds.
fn stem(source: &Source) -> &str {
    let name = source.name.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn sort_in(sink: &mut Sink, documents: &mut Documents, input: &Input, document: Document) {
    let builtin = input.builtin;
    let integration = || input.integration.clone().unwrap_or_default();
    match document.kind {
        Kind::Project => documents.projects.extend(typed(sink, document, builtin)),
        Kind::Overlay => documents.overlays.extend(typed(sink, document, builtin)),
        Kind::Provider => {
            let Some(typed) = typed::<ProviderSpec>(sink, document, builtin) else { return };
            let name = typed.spec.provider.clone();
            keep(sink, &mut documents.providers, name, typed, "provider", |spec| &spec.provider);
        }
        Kind::Sync => {
            let Some(typed) = typed::<SyncSpec>(sink, document, builtin) else { return };
            let name = (integration(), typed.spec.sync.clone());
            keep(sink, &mut documents.syncs, name, typed, "sync", |spec| &spec.sync);
        }
        Kind::Model => {
            let Some(typed) = typed::<ModelSpec>(sink, document, builtin) else { return };
            let name = (integration(), typed.spec.model.clone());
            keep(sink, &mut documents.models, name, typed, "model", |spec| &spec.model);
        }
        Kind::Action => {
            let Some(typed) = typed::<ActionSpec>(sink, document, builtin) else { return };
            let name = (integration(), typed.spec.action.clone());
            keep(sink, &mut documents.actions, name, typed, "action", |spec| &spec.action);
        }
        Kind::Test => {
            let Some(typed) = typed::<TestSpec>(sink, document, builtin) else { return };
            let name = (integration(), typed.spec.test.clone());
            keep(sink, &mut documents.tests, name, typed, "test", |spec| &spec.test);
        }
    }
}

fn typed<T: DeserializeOwned>(sink: &mut Sink, document: Document, builtin: bool) -> Option<Typed<T>> {
    let document = Arc::new(document);
    match serde_json::from_value(document.value.clone()) {
        Ok(spec) => Some(Typed { document, spec, builtin }),
        Err(error) => {
            // the schema is made from the same types: only numbers can still be too large for theirs
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
            let hint = format!("the other one is in `{}`", first.document.source.name);
            sink.error("E024", &Place::top(&typed.document).key(kind), message, Some(hint));
        }
        None => drop(map.insert(key, typed)),
    }
}
