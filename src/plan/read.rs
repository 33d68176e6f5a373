//! The first pass: texts to typed documents by name, with every mistake of form. A document that has some is mended, so that
//! the passes after this one find the other mistakes in the same go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::compile::{Documents, Input, Typed};
use super::place::{Document, Place, Sink};
use crate::diagnostic::Source;
use crate::spec::mend::mend;
use crate::spec::schema::Kind;
use crate::spec::{ModelSpec, ProviderSpec, SyncSpec, finding, secret, yaml};

pub(super) fn read(sink: &mut Sink, inputs: &[Input]) -> Documents {
    let mut documents = Documents::default();
    let mut add = |documents: &mut Documents, input: &Input| {
        if let Some(document) = document(sink, input) {
            sort_in(sink, documents, input, document);
        }
    };
    let (projects, others): (Vec<&Input>, Vec<&Input>) = inputs.iter().partition(|input| input.kind == Kind::Project);
    projects.into_iter().for_each(|input| add(&mut documents, input));
    let connections = documents.projects.iter().flat_map(|project| project.spec.connections.values());
    let connected = connections.map(|connection| connection.provider.clone());
    let own = others.iter().filter(|input| !input.builtin).filter_map(|input| input.integration.clone());
    let used: BTreeSet<String> = connected.chain(own).collect();
    for input in others {
        let provider = input.integration.as_deref().unwrap_or_else(|| stem(&input.source));
        if input.builtin && input.kind == Kind::Provider {
            documents.catalogue.insert(provider.to_owned());
        }
        if !input.builtin || used.contains(provider) {
            add(&mut documents, input);
        }
    }
    documents
}

/// The document, whole or mended.
fn document(sink: &mut Sink, input: &Input) -> Option<Document> {
    let Input { source, kind, builtin: _, integration: _, stray } = input;
    let shown = match kind {
        // the text is only for showing and for finding places from here on
        Kind::Project => Arc::new(Source { text: secret::masked(&source.text), ..Source::clone(source) }),
        Kind::Provider | Kind::Sync | Kind::Model => Arc::clone(source),
    };
    let value = match well_formed(source, &shown.text) {
        Ok(value) => value,
        Err(_) if *stray => Value::Null,
        Err(error) => {
            sink.unreadable(&shown, error);
            return unread(source, shown, *kind);
        }
    };
    let mut document = Document { source: shown, kind: *kind, value, holes: Vec::new() };
    let guess = Kind::guess(&document.value);
    if *stray {
        let folder = guess.map_or("one of the folders of a project", Kind::folder);
        let message = match guess {
            Some(guess) => format!("this file is not read: a {guess} stands in {folder}"),
            None => "this file is not read".to_owned(),
        };
        let hint = "move it: providers stand in `providers/`, syncs in `integrations/<provider>/syncs/`, models in `integrations/<provider>/models/`";
        sink.warning("W086", &Place::top(&document), message, Some(hint.to_owned()));
        return None;
    }
    if let Some(guess) = guess.filter(|guess| guess != kind && !finding::check(*kind, &document.value).is_empty()) {
        let message = format!("this is a {guess}, in a folder of {kind}s");
        sink.error("E026", &Place::top(&document), message, Some(format!("a {guess} stands in {}", guess.folder())));
        document.kind = guess;
    }
    let findings = finding::check(document.kind, &document.value);
    if findings.is_empty() {
        return Some(document);
    }
    if document.value.is_null() {
        let first = if *kind == Kind::Project { "database" } else { kind.name() };
        let hint = format!("a {kind} begins with `{first}: …`");
        sink.error("E011", &Place::top(&document), "the file is empty", Some(hint));
    } else {
        sink.findings(&Place::top(&document), finding::causes(findings));
    }
    match mend(document.kind, &document.value) {
        Some(mended) => {
            document.value = mended.value;
            document.holes = mended.holes;
            let name = document.kind.name();
            if Place::top(&document).key(name).is_hole() && document.kind != Kind::Project {
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
    if kind != Kind::Project {
        named.insert(kind.name().to_owned(), name.unwrap_or(stem(source)).into());
    }
    let value = mend(kind, &Value::Object(named))?.value;
    Some(Document { source: shown, kind, value, holes: vec![Vec::new()] })
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
    }
}

fn typed<T: DeserializeOwned>(sink: &mut Sink, document: Document, builtin: bool) -> Option<Typed<T>> {
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
