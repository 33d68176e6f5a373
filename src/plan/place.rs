//! Places in documents, and the sink their mistakes go into.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::limits;
use crate::diagnostic::{Diagnostic, Position, Segment, Severity, Source};
use crate::spec::finding::Finding;
use crate::spec::schema::Kind;
use crate::spec::yaml::{self, Part};

/// A document as it was read, before it is anything else.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// its name and what of its text may be shown
    pub(super) source: Arc<Source>,
    /// what it is
    pub(super) kind: Kind,
    /// its content
    pub(super) value: Value,
    /// where the content is not what was written, because that had mistakes
    pub(super) holes: Vec<Vec<Segment>>,
}

/// A node of a document.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    document: &'a Document,
    path: Vec<Segment>,
}

impl<'a> Place<'a> {
    pub(super) fn top(document: &'a Document) -> Self {
        Self { document, path: Vec::new() }
    }

    pub(super) fn key(&self, key: &str) -> Self {
        self.push(Segment::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.push(Segment::Index(index))
    }

    fn push(&self, segment: Segment) -> Self {
        self.below([segment])
    }

    pub(super) fn below(&self, segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut path = self.path.clone();
        path.extend(segments);
        Self { document: self.document, path }
    }

    /// What stands there, if anything.
    pub(super) fn node(&self) -> Option<&'a Value> {
        self.path.iter().try_fold(&self.document.value, |node, segment| match segment {
            Segment::Key(key) => node.get(key),
            Segment::Index(index) => node.get(index),
        })
    }

    /// Whether the document has mistakes of form, so that what it lacks may be what was misspelt.
    pub(super) fn is_broken(&self) -> bool {
        !self.document.holes.is_empty()
    }

    /// Whether a mistake here is only the consequence of one of form: the node or something just below it was taken out.
    pub(super) fn is_hole(&self) -> bool {
        self.document.holes.iter().any(|hole| {
            self.path.starts_with(hole)
                || hole.split_last().is_some_and(|(_, parent)| !parent.is_empty() && parent == self.path)
        })
    }

    fn is_secret(&self) -> bool {
        self.document.kind == Kind::Project && self.path.contains(&Segment::Key("credentials".to_owned()))
    }
}

/// Collects mistakes. Each is kept once, however many syncs meet it, and of one file no more than can be read.
#[derive(Debug, Default)]
pub(super) struct Sink {
    diagnostics: Vec<Diagnostic>,
    seen: HashSet<(usize, Vec<Segment>, &'static str, String)>,
    files: HashMap<usize, Tally>,
    errors: bool,
}

#[derive(Debug)]
struct Tally {
    source: Arc<Source>,
    told: usize,
    untold: usize,
}

impl Sink {
    pub(super) fn into_sorted(mut self) -> Vec<Diagnostic> {
        for Tally { source, untold, .. } in self.files.into_values().filter(|tally| tally.untold > 0) {
            self.diagnostics.push(Diagnostic {
                code: "E005",
                severity: Severity::Error,
                source,
                position: None,
                message: format!("this file has {untold} more mistakes"),
                hint: Some("they are told when those above are gone".to_owned()),
            });
        }
        self.diagnostics.sort_by(|a, b| {
            let order = |diagnostic: &Diagnostic| (diagnostic.code == "E005", diagnostic.position, diagnostic.severity);
            (&a.source.name, order(a), a.code).cmp(&(&b.source.name, order(b), b.code))
        });
        self.diagnostics
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors
    }

    /// A mistake in the value at `place`.
    pub(super) fn error(
        &mut self,
        code: &'static str,
        place: &Place<'_>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if !place.is_hole() {
            self.add(code, Severity::Error, place, Part::Value, message.into(), hint);
        }
    }

    /// A mistake in the key at `place`.
    pub(super) fn key_error(
        &mut self,
        code: &'static str,
        place: &Place<'_>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if !place.is_hole() {
            self.add(code, Severity::Error, place, Part::Key, message.into(), hint);
        }
    }

    /// Something that is probably not meant. A document with mistakes of form gets none: they may be the reason.
    pub(super) fn warning(
        &mut self,
        code: &'static str,
        place: &Place<'_>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if !place.is_broken() {
            self.add(code, Severity::Warning, place, Part::Key, message.into(), hint);
        }
    }

    /// A mistake in a text that is no document at all.
    pub(super) fn unreadable(&mut self, source: &Arc<Source>, error: yaml::Error) {
        let yaml::Error { code, message, position, hint } = error;
        self.errors = true;
        let source = Arc::clone(source);
        self.diagnostics.push(Diagnostic { code, severity: Severity::Error, source, position, message, hint });
    }

    /// What a schema found below `place`.
    pub(super) fn findings(&mut self, place: &Place<'_>, findings: Vec<Finding>) {
        for Finding { code, path, part, missing: _, mut message, mut hint } in findings {
            let at = place.below(path);
            if at.is_hole() {
                continue;
            }
            if at.is_secret() && code == "E012" {
                message = message.split(", found").next().unwrap_or_default().to_owned();
                hint = Some("name an environment variable that holds it: `api_key: \"${API_KEY}\"`".to_owned());
            }
            self.add(code, Severity::Error, &at, part, message, hint);
        }
    }

    fn add(
        &mut self,
        code: &'static str,
        severity: Severity,
        place: &Place<'_>,
        part: Part,
        message: String,
        hint: Option<String>,
    ) {
        let Document { source, .. } = place.document;
        let file = Arc::as_ptr(source).addr();
        if !self.seen.insert((file, place.path.clone(), code, message.clone())) {
            return;
        }
        self.errors |= severity == Severity::Error;
        let tally = self.files.entry(file).or_insert_with(|| Tally { source: Arc::clone(source), told: 0, untold: 0 });
        let most = (limits::LOCATE_BYTES_MAX / source.text.len().max(1)).clamp(1, limits::MISTAKES_PER_FILE_MAX);
        if tally.told >= most {
            tally.untold += 1;
            return;
        }
        tally.told += 1;
        let position = yaml::locate(&source.text, &place.path, part);
        let hint = position.and_then(|at| hint_of_line(source, at, code, place)).or(hint);
        self.diagnostics.push(Diagnostic { code, severity, source: Arc::clone(source), position, message, hint });
    }
}

/// What only the line as it was written tells: a comment where a value was meant, the digits of a number that wants quotes.
fn hint_of_line(source: &Source, at: Position, code: &str, place: &Place<'_>) -> Option<String> {
    if code != "E012" || place.is_secret() {
        return None;
    }
    let line = source.line(at.line);
    match place.node() {
        Some(Value::Null) if line.contains(" #") => {
            Some("`#` begins a comment; a value that begins with it needs quotes".to_owned())
        }
        Some(Value::Number(_) | Value::Bool(_)) => {
            let written = source.word(at);
            Some(format!("put it in quotes: `\"{written}\"`"))
        }
        _ => None,
    }
}
