//! Places in documents, and the sink their mistakes go into.

use std::sync::Arc;

use serde_json::Value;

use super::Template;
use crate::diagnostic::{Diagnostic, Segment, Severity, Source, suggest};
use crate::spec::schema::Finding;
use crate::spec::yaml::{self, Part};

/// A document as it was read, before it is anything else.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// its text and name
    pub(super) source: Arc<Source>,
    /// its content
    pub(super) value: Value,
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
        let mut path = self.path.clone();
        path.push(segment);
        Self { document: self.document, path }
    }
}

/// Collects mistakes. Each is kept once, however many syncs meet it.
#[derive(Debug, Default)]
pub(super) struct Sink {
    diagnostics: Vec<Diagnostic>,
}

impl Sink {
    pub(super) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by(|a, b| {
            (&a.source.name, a.position, a.severity, a.code).cmp(&(&b.source.name, b.position, b.severity, b.code))
        });
        self.diagnostics
    }

    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// A mistake in the value at `place`.
    pub(super) fn error(&mut self, code: &'static str, place: &Place<'_>, message: impl Into<String>, hint: Option<String>) {
        self.add(code, Severity::Error, place, Part::Value, message.into(), hint);
    }

    /// A mistake in the key at `place`.
    pub(super) fn key_error(&mut self, code: &'static str, place: &Place<'_>, message: impl Into<String>, hint: Option<String>) {
        self.add(code, Severity::Error, place, Part::Key, message.into(), hint);
    }

    /// Something that is probably not meant.
    pub(super) fn warning(&mut self, code: &'static str, place: &Place<'_>, message: impl Into<String>, hint: Option<String>) {
        self.add(code, Severity::Warning, place, Part::Key, message.into(), hint);
    }

    /// A mistake in a text that is no document at all.
    pub(super) fn unreadable(&mut self, source: &Arc<Source>, error: yaml::Error) {
        let yaml::Error { code, message, position, hint } = error;
        self.keep(Diagnostic { code, severity: Severity::Error, source: Arc::clone(source), position, message, hint });
    }

    /// What a schema found below `place`.
    pub(super) fn findings(&mut self, place: &Place<'_>, findings: Vec<Finding>) {
        for Finding { code, path, part, message, hint } in findings {
            let mut at = place.clone();
            at.path.extend(path);
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
        let source = &place.document.source;
        let position = if place.path.is_empty() { None } else { yaml::locate(&source.text, &place.path, part) };
        self.keep(Diagnostic { code, severity, source: Arc::clone(source), position, message, hint });
    }

    fn keep(&mut self, diagnostic: Diagnostic) {
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// The variables a template may name at one kind of place, and the members of those whose members are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variables<'a> {
    /// names of variables
    pub(super) names: &'a [&'a str],
    /// the `config` schema of the provider
    pub(super) config: Option<&'a Value>,
    /// the `input` schema of the sync
    pub(super) input: Option<&'a Value>,
}

impl<'a> Variables<'a> {
    pub(super) fn with(self, names: &'a [&'a str]) -> Self {
        Self { names, ..self }
    }
}

/// Every variable of the language, to tell "not here" from "nowhere".
const ALL_VARIABLES: [&str; 10] =
    ["config", "input", "variant", "connection", "watermark", "page", "run", "record", "response", "credentials"];

/// Parses a template and checks that what it names is known at this place.
pub(super) fn template(sink: &mut Sink, place: &Place<'_>, text: &str, variables: Variables<'_>) -> Option<Template> {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            let hint = filter_hint(&error.0);
            sink.error("E031", place, format!("the template does not parse: {error}"), hint);
            return None;
        }
    };
    let mut good = true;
    for name in template.variables() {
        let root = name.split('.').next().unwrap_or(name);
        if !variables.names.contains(&root) {
            good = false;
            if root == "credentials" {
                let hint = "secrets can be named only in `auth`, `headers` and `query`".to_owned();
                sink.error("E033", place, "`credentials` cannot be used here", Some(hint));
            } else if ALL_VARIABLES.contains(&root) {
                let message = format!("the variable `{root}` has no value here");
                sink.error("E032", place, message, suggest("", variables.names.iter().copied()));
            } else {
                let hint = suggest(root, variables.names.iter().copied());
                sink.error("E032", place, format!("there is no variable `{root}`"), hint);
            }
            continue;
        }
        let schema = match root {
            "config" => variables.config,
            "input" => variables.input,
            _ => None,
        };
        good &= member_is_known(sink, place, name, schema);
    }
    good.then_some(template)
}

fn member_is_known(sink: &mut Sink, place: &Place<'_>, name: &str, schema: Option<&Value>) -> bool {
    let (Some(schema), Some(member)) = (schema, name.split('.').nth(1)) else { return true };
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return true };
    if properties.contains_key(member) || schema.get("additionalProperties").is_some_and(|more| more != &Value::Bool(false)) {
        return true;
    }
    let root = name.split('.').next().unwrap_or_default();
    let hint = suggest(member, properties.keys().map(String::as_str));
    sink.error("E032", place, format!("`{root}` has no member `{member}`"), hint);
    false
}

fn filter_hint(message: &str) -> Option<String> {
    const FILTERS: [&str; 20] = [
        "rfc3339", "epoch", "epoch_ms", "date", "add", "base64", "json", "slug", "urlencode", "default", "lower", "upper",
        "trim", "replace", "join", "first", "last", "length", "int", "string",
    ];
    let wrong = message.split("no filter `").nth(1)?.trim_end_matches('`');
    crate::diagnostic::did_you_mean(wrong, FILTERS).map(|name| format!("did you mean `{name}`?"))
}
