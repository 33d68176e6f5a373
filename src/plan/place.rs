//! Places in documents, and the sink their mistakes go into.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::limits;
use crate::diagnostic::{Diagnostic, Position, Segment, Severity, Source, did_you_mean};
use crate::spec::finding::Finding;
use crate::spec::schema::Kind;
use crate::spec::secret;
use crate::spec::yaml::{self, Part};

/// A document as it was read, before it is anything else.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// its name and what of its text may be shown
    pub(super) source: Arc<Source>,
    /// what it is
    pub(super) kind: Kind,
    /// its content, with what it has from `base`
    pub(super) value: Value,
    /// the document whose words hold where it has none of its own, and its own content without them
    pub(super) base: Option<Base>,
    /// where the content is not what was written, because that had mistakes
    pub(super) holes: Vec<Vec<Segment>>,
}

/// Where a document has words from.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// the other document
    pub(super) document: Arc<Document>,
    /// what was written in this one
    pub(super) own: Value,
}

impl Document {
    /// A document that has no base.
    pub(super) fn new(source: Arc<Source>, kind: Kind, value: Value) -> Self {
        Self { source, kind, value, base: None, holes: Vec::new() }
    }

    /// The document that the node at `path` is written in.
    fn owner<'d>(self: &'d Arc<Self>, path: &[Segment]) -> &'d Arc<Self> {
        let mut owner = self;
        while let Some(Base { document, own }) = &owner.base
            && node(own, path).is_none()
            && node(&document.value, path).is_some()
        {
            owner = document;
        }
        owner
    }
}

fn node<'v>(value: &'v Value, path: &[Segment]) -> Option<&'v Value> {
    path.iter().try_fold(value, |node, segment| match segment {
        Segment::Key(key) => node.get(key),
        Segment::Index(index) => node.get(index),
    })
}

/// A node of a document.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    document: &'a Arc<Document>,
    path: Vec<Segment>,
}

impl<'a> Place<'a> {
    /// The key that it stands under.
    pub(super) fn name(&self) -> Option<&str> {
        match self.path.last()? {
            Segment::Key(name) => Some(name),
            Segment::Index(_) => None,
        }
    }

    pub(super) fn top(document: &'a Arc<Document>) -> Self {
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
        node(&self.document.value, &self.path)
    }

    /// Whether the document has mistakes of form, so that what it lacks may be what was misspelt.
    pub(super) fn is_broken(&self) -> bool {
        !self.document.holes.is_empty()
    }

    /// Whether a mistake here is only the consequence of one of form: the node or something just below it was taken out, or is there
    /// under a misspelt name.
    pub(super) fn is_hole(&self) -> bool {
        let holes = &self.document.holes;
        let taken_out = holes.iter().any(|hole| {
            self.path.starts_with(hole)
                || hole.split_last().is_some_and(|(_, parent)| !parent.is_empty() && parent == self.path)
        });
        let Some((Segment::Key(name), parent)) = self.path.split_last() else { return taken_out };
        let misspelt = |hole: &Vec<Segment>| match hole.split_last() {
            Some((Segment::Key(wrong), beside)) => beside == parent && did_you_mean(wrong, [name.as_str()]).is_some(),
            _ => false,
        };
        taken_out || (self.node().is_none() && holes.iter().any(misspelt))
    }

    fn is_secret(&self) -> bool {
        let is_key = |segment: Option<&Segment>, name: &str| matches!(segment, Some(Segment::Key(key)) if key == name);
        let of_api = is_key(self.path.first(), "api") && is_key(self.path.get(3), "key");
        self.document.kind == Kind::Project && (of_api || self.path.contains(&Segment::Key("credentials".to_owned())))
    }
}

/// Collects mistakes. Each is kept once, however many syncs meet it, and of one file no more than can be read.
#[derive(Debug, Default)]
pub(super) struct Sink {
    diagnostics: Vec<Diagnostic>,
    seen: HashSet<(usize, Vec<Segment>, &'static str, String)>,
    files: HashMap<usize, Tally>,
    warnings: Vec<Warning>,
    /// with the document, and whether there was such a warning
    allowed: HashMap<Allowance, (Arc<Document>, bool)>,
    hidden: HashMap<usize, Hidden>,
    errors: bool,
    unready: bool,
}

/// A warning that something may allow.
#[derive(Debug)]
struct Warning {
    code: &'static str,
    document: Arc<Document>,
    path: Vec<Segment>,
    message: String,
    hint: Option<String>,
}

/// One line of an `allow`: the file, the map that it holds for, and the code.
type Allowance = (String, Vec<Segment>, String);

/// The secrets that stand in one file.
#[derive(Debug)]
struct Hidden {
    source: Arc<Source>,
    /// where they are; none = there are so many, or one that cannot be found, that nothing of the file is shown
    positions: Option<Vec<Position>>,
    /// what they are
    texts: Vec<SecretString>,
}

impl Hidden {
    /// What of the file may be shown. A secret that stands in it once more, as in a comment, is not known by its place.
    fn shown(&self) -> Arc<Source> {
        let Self { source, positions, texts } = self;
        let masked = positions.as_ref().map(|positions| {
            positions.iter().fold(source.text.clone(), |text, position| secret::without_value(&text, *position))
        });
        let is_known = |secret: &&SecretString| secret.expose_secret().chars().count() >= limits::SECRET_CHARS_MIN;
        let secrets = || texts.iter().filter(is_known);
        let is_whole = |text: &String| !secrets().any(|secret| text.contains(secret.expose_secret()));
        let text = masked.filter(is_whole).unwrap_or_else(|| secret::without_anything(&source.text));
        Arc::new(Source { text, ..Source::clone(source) })
    }
}

/// Places that are looked for in one file: each costs one reading of it.
fn located_at_most(source: &Source) -> usize {
    (limits::LOCATE_BYTES_MAX / source.text.len().max(1)).clamp(1, limits::MISTAKES_PER_FILE_MAX)
}

/// The code of what the language has and this version cannot run.
pub const NOT_YET: &str = "E090";

#[derive(Debug)]
struct Tally {
    source: Arc<Source>,
    told: usize,
    untold: usize,
}

impl Sink {
    pub(super) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.settle_warnings();
        self.hide_secrets();
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

    /// Whether there is a mistake, so that there cannot be a plan.
    pub(super) fn has_errors(&self) -> bool {
        self.errors
    }

    /// A word that is read and checked, and that this version cannot run. It stops a run, as an error does; the plan is made.
    pub(super) fn not_yet(&mut self, place: &Place<'_>, what: &str) {
        if place.is_hole() {
            return;
        }
        let hint = "this version reads and checks it, and cannot run it: take it out to run the rest".to_owned();
        let errors = self.errors;
        let message = format!("{what} cannot be run yet");
        self.add(NOT_YET, Severity::Error, (place.document, &place.path), Part::Key, message, Some(hint));
        self.errors = errors;
        self.unready = true;
    }

    /// The value at `place` is a secret: no line that is shown has it.
    pub(super) fn hide(&mut self, place: &Place<'_>) {
        let source = &place.document.owner(&place.path).source;
        let file = Arc::as_ptr(source).addr();
        let Hidden { positions, texts, .. } = self.hidden.entry(file).or_insert_with(|| Hidden {
            source: Arc::clone(source),
            positions: Some(Vec::new()),
            texts: Vec::new(),
        });
        texts.extend(place.node().and_then(Value::as_str).map(|text| SecretString::from(text.trim())));
        if let Some(places) = positions {
            let few = places.len() < located_at_most(source);
            match few.then(|| yaml::locate(&source.text, &place.path, Part::Value)).flatten() {
                Some(at) => places.push(at),
                None => *positions = None,
            }
        }
    }

    /// What of a file may be shown.
    pub(super) fn shown(&self, source: &Arc<Source>) -> Arc<Source> {
        self.hidden.get(&Arc::as_ptr(source).addr()).map_or_else(|| Arc::clone(source), Hidden::shown)
    }

    fn hide_secrets(&mut self) {
        for hidden in std::mem::take(&mut self.hidden).into_values() {
            let shown = hidden.shown();
            for diagnostic in self.diagnostics.iter_mut().filter(|known| Arc::ptr_eq(&known.source, &hidden.source)) {
                diagnostic.source = Arc::clone(&shown);
            }
        }
    }

    /// Warnings of `code` in the map at `within` are meant to be so.
    pub(super) fn allow(&mut self, within: &Place<'_>, code: &str) {
        let Place { document, path } = within.clone();
        let line = (document.source.name.clone(), path, code.to_owned());
        self.allowed.insert(line, (Arc::clone(document), false));
    }

    /// Tells the warnings that nothing allows, and what is allowed for nothing.
    fn settle_warnings(&mut self) {
        for Warning { code, document, path, message, hint } in std::mem::take(&mut self.warnings) {
            let owner = document.owner(&path).source.name.clone();
            let mut allowed = false;
            for file in [&document.source.name, &owner] {
                for end in 0..=path.len() {
                    let line = (file.clone(), path[..end].to_vec(), code.to_owned());
                    if let Some((_, used)) = self.allowed.get_mut(&line) {
                        *used = true;
                        allowed = true;
                    }
                }
            }
            if !allowed {
                self.add(code, Severity::Warning, (&document, &path), Part::Key, message, hint);
            }
        }
        for ((_, mut within, code), (document, used)) in std::mem::take(&mut self.allowed) {
            within.extend([Segment::Key("allow".to_owned()), Segment::Key(code.clone())]);
            // what would have been warned of may be what could not be read
            if !used && !self.errors && document.holes.is_empty() {
                let message = format!("there is no `{code}` here to allow");
                let hint = Some("take the line out".to_owned());
                self.add("W087", Severity::Warning, (&document, &within), Part::Key, message, hint);
            }
        }
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
            self.add(code, Severity::Error, (place.document, &place.path), Part::Value, message.into(), hint);
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
            self.add(code, Severity::Error, (place.document, &place.path), Part::Key, message.into(), hint);
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
            let Place { document, path } = place.clone();
            self.warnings.push(Warning { code, document: Arc::clone(document), path, message: message.into(), hint });
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
            self.add(code, Severity::Error, (at.document, &at.path), part, message, hint);
        }
    }

    fn add(
        &mut self,
        code: &'static str,
        severity: Severity,
        (document, path): (&Arc<Document>, &[Segment]),
        part: Part,
        message: String,
        hint: Option<String>,
    ) {
        let owner = document.owner(path);
        let source = &owner.source;
        let file = Arc::as_ptr(source).addr();
        if !self.seen.insert((file, path.to_vec(), code, message.clone())) {
            return;
        }
        self.errors |= severity == Severity::Error;
        let tally = self.files.entry(file).or_insert_with(|| Tally { source: Arc::clone(source), told: 0, untold: 0 });
        if tally.told >= located_at_most(source) {
            tally.untold += 1;
            return;
        }
        tally.told += 1;
        let position = yaml::locate(&source.text, path, part);
        let place = Place { document: owner, path: path.to_vec() };
        let plain = message.starts_with("expected text") && hint.as_ref().is_none_or(|hint| hint.starts_with("put it"));
        let of_line = position.filter(|_| code == "E012").and_then(|at| hint_of_line(source, at, &place, plain));
        let hint = of_line.or(hint);
        self.diagnostics.push(Diagnostic { code, severity, source: Arc::clone(source), position, message, hint });
    }
}

/// What only the line as it was written tells: a comment where a value was meant, the digits of a number that wants quotes. `plain`
/// says that nothing better is known of it.
fn hint_of_line(source: &Source, at: Position, place: &Place<'_>, plain: bool) -> Option<String> {
    if place.is_secret() {
        return None;
    }
    let line = source.line(at.line);
    match place.node() {
        Some(Value::Null) if line.contains(" #") => {
            Some("`#` begins a comment; a value that begins with it needs quotes".to_owned())
        }
        Some(Value::Number(_) | Value::Bool(_)) if plain => {
            let written = source.word(at);
            Some(format!("put it in quotes: `\"{written}\"`"))
        }
        _ => None,
    }
}
