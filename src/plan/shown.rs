//! The files of a project as people may see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::{Documents, Typed};
use super::place::Sink;
use crate::diagnostic::Source;
use crate::spec::gloss;
use crate::spec::schema::Kind;

/// A file, without the secrets that stand in it.
#[derive(Debug, Clone)]
pub struct ShownFile {
    /// its name, and its text with dots in the places of secrets
    pub source: Arc<Source>,
    /// what it is
    pub kind: Kind,
    /// of the provider whose folder it stands in, or that it describes
    pub provider: Option<String>,
    /// from the built-in catalogue
    pub builtin: bool,
}

impl ShownFile {
    /// The words of the file, in its order, each once, with what they mean: the line, the word and the text.
    pub fn words(&self) -> Vec<(usize, String, String)> {
        gloss::words(self.kind, &self.source.text)
    }
}

impl Documents {
    /// All of them as they may be shown, in the order in which people look for them; of the catalogue those of the providers in use.
    pub(super) fn shown(&self, sink: &Sink, used: &BTreeSet<&str>) -> Vec<ShownFile> {
        fn file<T>(sink: &Sink, typed: &Typed<T>, provider: Option<&String>) -> ShownFile {
            let (source, kind) = (sink.shown(&typed.document.source), typed.document.kind);
            ShownFile { source, kind, provider: provider.cloned(), builtin: typed.builtin }
        }
        let mut files: Vec<_> = self.projects.iter().map(|typed| file(sink, typed, None)).collect();
        for (provider, typed) in &self.providers {
            files.push(file(sink, typed, Some(provider)));
            let of = |name: &str| name == provider.as_str();
            files.extend(
                self.models
                    .iter()
                    .filter(|((name, _), _)| of(name))
                    .map(|(_, typed)| file(sink, typed, Some(provider))),
            );
            files.extend(
                self.syncs.iter().filter(|((name, _), _)| of(name)).map(|(_, typed)| file(sink, typed, Some(provider))),
            );
            files.extend(
                self.actions
                    .iter()
                    .filter(|((name, _), _)| of(name))
                    .map(|(_, typed)| file(sink, typed, Some(provider))),
            );
        }
        files.retain(|file| !file.builtin || file.provider.as_deref().is_some_and(|name| used.contains(name)));
        files
    }
}
