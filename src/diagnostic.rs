//! What is wrong with a YAML file, where, and what to do: collected, never thrown, so that all mistakes are reported in one go.

use std::fmt::Write as _;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// the project cannot run
    Error,
    /// it runs, and probably not as meant
    Warning,
}

/// One YAML file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// the path as people know it, relative to the project where it can be
    pub name: String,
    /// its text
    pub text: String,
}

/// One step from the top of a YAML document down to a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// the value of this key
    Key(String),
    /// this item of a list
    Index(usize),
}

/// A place in a file: 1-based line and column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// from 1
    pub line: usize,
    /// from 1
    pub column: usize,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// stable, such as `E010`
    pub code: &'static str,
    /// error or warning
    pub severity: Severity,
    /// where
    pub source: Arc<Source>,
    /// where in it; none = the file as a whole
    pub position: Option<Position>,
    /// a lowercase fragment with literals in backticks
    pub message: String,
    /// the likely fix
    pub hint: Option<String>,
}

/// The wire form of a diagnostic (`check --json`).
#[derive(Debug, Serialize)]
struct Wire<'a> {
    code: &'a str,
    severity: Severity,
    file: &'a str,
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    hint: Option<&'a str>,
}

impl Diagnostic {
    /// The text for people: code, message, file:line:column, the line with the place marked, the hint.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level.primary_title(self.message.as_str()).id(self.code).elements(Vec::<annotate_snippets::Element<'_>>::new());
        let span = self.position.map(|position| span_of(&self.source.text, position));
        if let Some(span) = span {
            let snippet = Snippet::source(self.source.text.as_str())
                .path(self.source.name.as_str())
                .annotation(AnnotationKind::Primary.span(span));
            group = group.element(snippet);
        } else {
            group = group.element(annotate_snippets::Origin::path(self.source.name.as_str()));
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }

    /// One JSON object: `code, severity, file, line, column, message, hint`.
    pub fn to_json(&self) -> serde_json::Value {
        let wire = Wire {
            code: self.code,
            severity: self.severity,
            file: &self.source.name,
            line: self.position.map(|position| position.line),
            column: self.position.map(|position| position.column),
            message: &self.message,
            hint: self.hint.as_deref(),
        };
        serde_json::to_value(wire).expect("a diagnostic is plain data")
    }
}

/// The bytes to underline: from the place to the end of the word, or of the line where it is one value.
fn span_of(text: &str, position: Position) -> std::ops::Range<usize> {
    let line_start = match position.line {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(at, _)| at + 1),
    };
    let line = text[line_start..].lines().next().unwrap_or_default();
    let start = line.char_indices().nth(position.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let rest = &line[start..];
    let key_end = rest.find(": ").or_else(|| rest.ends_with(':').then(|| rest.len() - 1));
    let comment = rest.find(" #").unwrap_or(rest.len());
    let end = key_end.unwrap_or(rest.len()).min(comment);
    let end = rest[..end].trim_end().len().max(usize::from(!rest.is_empty()));
    let end = if rest.is_char_boundary(end) { end } else { rest.len() };
    line_start + start..line_start + start + end
}

/// The name among `names` that was probably meant.
pub fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min()
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or the whole list where it is short, or nothing.
pub fn suggest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().collect();
    if let Some(name) = did_you_mean(wrong, names.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    match names.as_slice() {
        [] => None,
        [only] => Some(format!("the only one is `{only}`")),
        many if many.len() <= 24 => {
            let mut text = "there are ".to_owned();
            for (at, name) in many.iter().enumerate() {
                let separator = if at == 0 { "" } else if at + 1 == many.len() { " and " } else { ", " };
                write!(text, "{separator}`{name}`").expect("writing to a string");
            }
            Some(text)
        }
        _ => None,
    }
}
