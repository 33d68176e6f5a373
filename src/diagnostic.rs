//! What is wrong with a YAML file, where, and what to do: collected, never thrown, so that all mistakes are reported in one go.

pub mod page;
pub mod sarif;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;
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
    /// its text, without a byte order mark
    pub text: String,
    /// the first place whose bytes are not UTF-8; in the text stands U+FFFD there
    pub not_utf8: Option<Position>,
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl Source {
    /// A file from its bytes, or from its text.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let mut bytes = bytes.into();
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let (text, not_utf8) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let position = Position::of(&text, good);
                (text, Some(position))
            }
        };
        Self { name: name.into(), text, not_utf8 }
    }

    /// Line `number` of the text, from 1, without its end; empty where there is no such line.
    pub fn line(&self, number: usize) -> &str {
        self.text.split('\n').nth(number.saturating_sub(1)).unwrap_or_default().trim_end_matches('\r')
    }

    /// The key or value that begins at a place, as it is written, up to the end of its line.
    pub fn word(&self, at: Position) -> &str {
        let line = self.line(at.line);
        &line[span_of(line, at.column)]
    }
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

impl Position {
    /// The place of the byte `offset` of a text. Lines end with a line feed.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
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
        let (message, hint) = (self.short_message(), self.short_hint());
        let (message, hint) = (printable(&message), hint.as_deref().map(printable));
        let file = printable(&self.source.name).replace('\n', "\\n");
        let no_elements = Vec::<annotate_snippets::Element<'_>>::new();
        let mut group = level.primary_title(message.as_ref()).id(self.code).elements(no_elements);
        if let Some(position) = self.position {
            // the renderer shows the other control characters as pictures
            let line = self.source.line(position.line).replace(|c| ('\u{7f}'..'\u{a0}').contains(&c), "\u{fffd}");
            let span = span_of(&line, position.column);
            let snippet = Snippet::source(line)
                .line_start(position.line)
                .path(file.as_str())
                .annotation(AnnotationKind::Primary.span(span));
            group = group.element(snippet);
        } else {
            group = group.element(annotate_snippets::Origin::path(file.as_str()));
        }
        if let Some(hint) = &hint {
            group = group.element(Level::HELP.message(hint.as_ref()));
        }
        renderer.render(&[group])
    }

    fn short_message(&self) -> Cow<'_, str> {
        shortened(&self.message)
    }

    fn short_hint(&self) -> Option<Cow<'_, str>> {
        self.hint.as_deref().map(shortened)
    }

    /// One JSON object: `code, severity, file, line, column, message, hint`.
    pub fn to_json(&self) -> serde_json::Value {
        let (message, hint) = (self.short_message(), self.short_hint());
        let wire = Wire {
            code: self.code,
            severity: self.severity,
            file: &self.source.name,
            line: self.position.map(|position| position.line),
            column: self.position.map(|position| position.column),
            message: &message,
            hint: hint.as_deref(),
        };
        serde_json::to_value(wire).expect("a diagnostic is plain data")
    }
}

/// Characters of a message or hint that are shown: what it quotes can be as long as a file.
const SHOWN_CHARS_MAX: usize = 1_000;

fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// What a terminal would take for a command, turns the writing direction or cannot be seen is shown as an escape: messages quote
/// what files hold.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

fn is_harmful(c: char) -> bool {
    let unseen = '\u{a0}' == c || c == '\u{200b}' || c == '\u{feff}';
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    (c.is_control() && c != '\n') || unseen || turns
}

/// The bytes of a line to underline: from the column (from 1, in characters) to the end of the key or value there.
pub(crate) fn span_of(line: &str, column: usize) -> Range<usize> {
    let start = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let (before, rest) = line.split_at(start);
    let end = match rest.chars().next() {
        None => 0,
        Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |at| at + 2),
        Some('{' | '[') => end_of_flow(rest),
        Some(first) => {
            let in_flow = before.matches(['{', '[']).count() > before.matches(['}', ']']).count();
            let separator = if in_flow { rest.find([',', '}', ']']) } else { None };
            let ends = [separator, rest.find(": "), rest.strip_suffix(':').map(str::len), rest.find(" #")];
            let end = ends.into_iter().flatten().min().unwrap_or(rest.len());
            rest[..end].trim_end().len().max(first.len_utf8())
        }
    };
    start..start + end
}

/// Where the bracket that a text begins with is closed again, or the text's end.
fn end_of_flow(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.trim_end().len()
}

/// A longer name is no misspelt one.
const NAME_BYTES_MAX: usize = 100;

/// The name among `names` that was probably meant.
pub fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.is_empty() || wrong.len() > NAME_BYTES_MAX {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| {
        // an abbreviation is as good as a slip of one letter
        if wrong.len() > 2 && name.starts_with(&wrong) {
            1
        } else {
            strsim::damerau_levenshtein(&wrong, &name.to_lowercase())
        }
    };
    names
        .into_iter()
        .map(|name| (distance(name), name))
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
        many if many.len() <= 32 => {
            let mut text = "there are ".to_owned();
            for (at, name) in many.iter().enumerate() {
                let separator = if at == 0 {
                    ""
                } else if at + 1 == many.len() {
                    " and "
                } else {
                    ", "
                };
                write!(text, "{separator}`{name}`").expect("writing to a string");
            }
            Some(text)
        }
        _ => None,
    }
}
