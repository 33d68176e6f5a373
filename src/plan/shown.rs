//! The files of a project as people may see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::{Documents, Typed};
use super::place::Sink;
use crate::diagnostic::{Segment, Source, span_of};
use crate::spec::schema::Kind;
use crate::spec::yaml::{self, Part};
use crate::spec::{ProjectSpec, gloss, secret};

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

/// The project file without the addresses of `notify`: often whoever knows one may write there.
fn without_addresses(source: &Source, notify: usize) -> Source {
    let mut lines: Vec<String> = source.text.split_inclusive('\n').map(str::to_owned).collect();
    for index in 0..notify {
        let path = [Segment::Key("notify".to_owned()), Segment::Index(index), Segment::Key("url".to_owned())];
        let at = yaml::locate(&source.text, &path, Part::Value);
        let line = at.and_then(|at| Some((lines.get_mut(at.line.checked_sub(1)?)?, at.column)));
        // of an address that is written over several lines nothing is known of its end
        let Some(masked) = line.and_then(|(line, column)| Some((without_word(line, column)?, line))) else {
            return Source { text: secret::without_anything(&source.text), ..source.clone() };
        };
        *masked.1 = masked.0;
    }
    Source { text: lines.concat(), ..source.clone() }
}

/// A line without the text that begins at a column, if it ends there.
fn without_word(line: &str, column: usize) -> Option<String> {
    let span = span_of(line.trim_end(), column);
    let word =
        line.get(span.clone()).filter(|word| !word.starts_with(['|', '>', '&', '*', '!']) && !word.is_empty())?;
    let dots: String = word.chars().map(|c| if "\"'".contains(c) { c } else { '•' }).collect();
    Some(format!("{}{dots}{}", &line[..span.start], &line[span.end..]))
}

impl Documents {
    /// All of them as they may be shown, in the order in which people look for them; of the catalogue those of the providers in use.
    pub(super) fn shown(&self, sink: &Sink, used: &BTreeSet<&str>) -> Vec<ShownFile> {
        fn file<T>(sink: &Sink, typed: &Typed<T>, provider: Option<&String>) -> ShownFile {
            let (source, kind) = (sink.shown(&typed.document.source), typed.document.kind);
            ShownFile { source, kind, provider: provider.cloned(), builtin: typed.builtin }
        }
        let project = |typed: &Typed<ProjectSpec>| {
            let shown = file(sink, typed, None);
            ShownFile { source: Arc::new(without_addresses(&shown.source, typed.spec.notify.len())), ..shown }
        };
        let mut files: Vec<_> = self.projects.iter().map(project).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Input, Known, compile};

    fn input(name: &str, kind: Kind, text: &str) -> Input {
        Input { source: Arc::new(Source::new(name, text)), kind, integration: None, builtin: false, stray: false }
    }

    #[test]
    fn no_secret_of_a_file_is_shown() {
        let project = "database: a.duckdb\nconnections: { one: { provider: api, credentials: { token: t0ken-1 } } }\nnotify:\n  \
                       - url: https://hooks.example/T0/p4th\n    secret: s3cret-1\n    on: [failed]\n  - { url: \"https://b.example/p5th\" }\n";
        let provider = "provider: api\nbase_url: https://a.example\nheaders: { X-Api-Key: k3y-1 }\n";
        let twice = "provider: b\nbase_url: https://b.example\nheaders: { X-Api-Key: k3y-2 } # not k3y-2 any more\n";
        let inputs = [
            input("headwater.yaml", Kind::Project, project),
            input("providers/api.yaml", Kind::Provider, provider),
            input("providers/b.yaml", Kind::Provider, twice),
        ];
        let compiled = compile(&inputs, std::path::Path::new("/"), &Known::default());
        let text = |name: &str| {
            let file = compiled.files.iter().find(|file| file.source.name == name).expect("it is there");
            file.source.text.as_str()
        };
        let shown = text("headwater.yaml");
        for secret in ["t0ken", "p4th", "s3cret", "p5th"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(shown.contains("database: a.duckdb") && shown.contains("on: [failed]"), "{shown}");
        assert_eq!(text("providers/api.yaml"), provider.replace("k3y-1", "•••••"));
        assert!(!text("providers/b.yaml").contains(char::is_alphanumeric), "{}", text("providers/b.yaml"));
        let words = compiled.files[0].words();
        assert!(words.iter().any(|(line, word, _)| (*line, word.as_str()) == (3, "notify")), "{words:?}");
    }
}
