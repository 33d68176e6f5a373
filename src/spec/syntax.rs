//! What a YAML syntax error means to the person who wrote the line: the parser's problem in the words of the domain, at the
//! place where the mistake was made, which is often not the place where the parser noticed.

use super::yaml::Error;
use crate::diagnostic::Position;

/// What the parser says: its problem, where it noticed, and what it was at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Complaint<'a> {
    pub(super) problem: &'a str,
    pub(super) at: Position,
    pub(super) context: Option<(&'a str, Position)>,
}

impl<'a> Complaint<'a> {
    /// Takes the parser's text apart: `<problem> at line 3 column 2, while parsing a flow mapping at line 1 column 4`.
    pub(super) fn read(told: &'a str, at: Position, text: &str) -> Self {
        let (problem, context) = match told.split_once(", while ") {
            Some((problem, context)) => (problem, Some(context)),
            None => (told, None),
        };
        let context = context.map(|context| match context.split_once(" at line ") {
            Some((what, place)) => (what, read_place(place, text).unwrap_or(at)),
            None => (context, at),
        });
        let problem = problem.split(" at line ").next().unwrap_or(problem);
        Self { problem: problem.split(" at position ").next().unwrap_or(problem), at, context }
    }
}

/// `3 column 2` of a text whose lines end with all that YAML 1.1 takes for a line end.
fn read_place(place: &str, text: &str) -> Option<Position> {
    let (line, column) = place.split_once(" column ")?;
    let (mut lines, columns): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
    let mut chars = text.char_indices().peekable();
    while lines > 1 {
        let (_, c) = chars.next()?;
        if c == '\r' && chars.peek().is_some_and(|(_, next)| *next == '\n') {
            chars.next();
        }
        lines -= usize::from(matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'));
    }
    let at = chars.nth(columns.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    Some(Position::of(text, at))
}

struct Meaning {
    at: Position,
    message: String,
    hint: String,
}

fn meaning(at: Position, message: impl Into<String>, hint: &str) -> Meaning {
    Meaning { at, message: message.into(), hint: hint.to_owned() }
}

/// The error for people.
pub(super) fn explain(text: &str, complaint: Complaint<'_>) -> Error {
    let line = text.split('\n').nth(complaint.at.line - 1).unwrap_or_default();
    let Meaning { at, message, hint } = mean(text, line, complaint);
    Error { code: "E001", message, position: Some(at), hint: Some(hint) }
}

const QUOTE_TEMPLATE: &str = "a value with `{{` in it needs quotes: `since: \"{{ watermark }}\"`";

fn mean(text: &str, line: &str, Complaint { problem, at, context }: Complaint<'_>) -> Meaning {
    if let Some(tab) = tab_in_indentation(line) {
        let at = Position { line: at.line, column: tab };
        return meaning(at, "a tab stands where spaces are needed", "indent with spaces; YAML forbids tabs");
    }
    if let Some((column, c)) = unseen_in_indentation(line) {
        let message = format!("a character that nobody sees (U+{:04X}) stands before the first word", u32::from(c));
        return meaning(Position { line: at.line, column }, message, "take it out; lines are indented with spaces");
    }
    let (before, rest) = split(line, at.column);
    match problem {
        "found character that cannot start any token" => {
            let begins = match first_of(rest).as_str() {
                "`" => "a backtick".to_owned(),
                other => format!("`{other}`"),
            };
            meaning(at, format!("a value cannot begin with {begins}"), "put the value in quotes")
        }
        "did not find expected ',' or '}'" | "did not find expected ',' or ']'" => {
            flow(text, problem, at, context, (before, rest))
        }
        "did not find expected node content" if rest.trim().is_empty() => unclosed(text, at),
        "did not find expected node content" => {
            meaning(at, format!("a value cannot begin with `{}`", first_of(rest)), "put the value in quotes")
        }
        "found unexpected end of stream" => {
            let at = context.map_or(at, |(_, place)| place);
            meaning(at, "the quote is never closed", "close it, or write a quote inside single quotes twice: `'it''s'`")
        }
        "mapping values are not allowed in this context" => colon(text, line, at, before),
        "did not find expected key" => no_key(at, before, rest),
        "did not find expected '-' indicator" => {
            let hint = "the items of one list begin with `-` in the same column, and the keys of one item too";
            meaning(at, "this line belongs to no item of the list above", hint)
        }
        "could not find expected ':'" => {
            let at = context.map_or(at, |(_, place)| place);
            no_pair(at, text.split('\n').nth(at.line - 1).unwrap_or_default())
        }
        "found unknown escape character" => {
            let hint = "in double quotes a backslash is written twice; in single quotes it stands for itself";
            meaning(at, "the text has a backslash that means nothing", hint)
        }
        "block sequence entries are not allowed in this context" => {
            let hint = "begin it on the next line, or write `[ … ]`";
            meaning(at, "a list with `-` cannot begin on the line of its key", hint)
        }
        other => {
            let hint = "look at the line above too; a value with characters that mean something to YAML needs quotes";
            meaning(at, format!("this is no YAML: {other}"), hint)
        }
    }
}

/// The column of a tab before the first word of a line.
fn tab_in_indentation(line: &str) -> Option<usize> {
    let indentation = line.len() - line.trim_start().len();
    line[..indentation].chars().position(|c| c == '\t').map(|at| at + 1)
}

/// The column of what looks like a space or like nothing before the first word of a line, as text from web pages and byte order
/// marks of files that were joined leave it.
fn unseen_in_indentation(line: &str) -> Option<(usize, char)> {
    let unseen = |c: char| matches!(c, '\u{a0}' | '\u{2000}'..='\u{200f}' | '\u{202f}' | '\u{205f}'..='\u{2064}' | '\u{3000}' | '\u{feff}');
    let (index, c) = line.chars().enumerate().find(|(_, c)| *c != ' ')?;
    unseen(c).then_some((index + 1, c))
}

/// A `{` or `[` that is not closed where the parser expects it.
fn flow(
    text: &str,
    problem: &str,
    at: Position,
    context: Option<(&str, Position)>,
    (before, rest): (&str, &str),
) -> Meaning {
    let close = if problem.contains('}') { '}' } else { ']' };
    let open = if close == '}' { '{' } else { '[' };
    if let Some((_, opened)) = context
        && opened.line < at.line
    {
        return never_closed(text, opened, open);
    }
    if rest.starts_with("{{") {
        return meaning(at, "a template is not quoted", QUOTE_TEMPLATE);
    }
    if let Some(meaning) = behind_a_quote(at, before) {
        return meaning;
    }
    if rest.starts_with(['[', '{']) {
        let message = format!("inside `{open} {close}` a value with `{}` in it needs quotes", first_of(rest));
        return meaning(at, message, "put the whole value in quotes: `{ records: \"$.items[*]\" }`");
    }
    if rest.trim().is_empty() {
        return unclosed(text, at);
    }
    meaning(
        at,
        format!("expected `,` or `{close}` here"),
        "quote the value before this place, or put a `,` between the two",
    )
}

fn never_closed(text: &str, at: Position, open: char) -> Meaning {
    let close = if open == '{' { '}' } else { ']' };
    let line = text.split('\n').nth(at.line - 1).unwrap_or_default();
    let hint = match line.split_once(" #") {
        Some((_, comment)) if comment.contains(close) => {
            format!("`#` begins a comment, and the `{close}` is in it; put the value in quotes")
        }
        _ => format!("close it with `{close}`"),
    };
    meaning(at, format!("the `{open}` is never closed"), &hint)
}

/// The file ends inside brackets: the innermost one that is open.
fn unclosed(text: &str, at: Position) -> Meaning {
    let mut open = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => open.push((at, c)),
            '}' | ']' => drop(open.pop()),
            _ => {}
        }
    }
    match open.pop() {
        Some((index, c)) => never_closed(text, Position::of(text, index), c),
        None => meaning(at, "the file ends too early", "write the value"),
    }
}

/// A line that should be a key with a value.
fn no_pair(at: Position, line: &str) -> Meaning {
    let hint = if line.contains(':') { "a space belongs after the `:`" } else { "write `key: value`" };
    meaning(at, format!("`{}` is no key with a value", shorten(line.trim())), hint)
}

/// A second `:` in a line, or a key below a value, or the line above is no key.
fn colon(text: &str, line: &str, at: Position, before: &str) -> Meaning {
    if let Some(colon) = before.find(": ") {
        let column = line[..colon].chars().count() + 3;
        let hint = "put the value in quotes; if it is a map, put it on the next line or in `{ }`";
        return meaning(Position { line: at.line, column }, "a value with `: ` in it needs quotes", hint);
    }
    let column = before.chars().take_while(|c| *c == ' ').count() + 1;
    let mut above = text.split('\n').enumerate().take(at.line - 1).collect::<Vec<_>>().into_iter().rev();
    let above = above.find(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    if let Some((index, above)) = above {
        let indentation = above.chars().take_while(|c| *c == ' ').count() + 1;
        if indentation == column && !above.contains(": ") && !above.trim_end().ends_with(':') {
            return no_pair(Position { line: index + 1, column }, above);
        }
    }
    let hint =
        "begin it in the column of the keys that it belongs to; a key above that has a value takes no keys below it";
    meaning(Position { line: at.line, column }, "this key is indented below something that is no map", hint)
}

/// Something else stands where the next key of a map should.
fn no_key(at: Position, before: &str, rest: &str) -> Meaning {
    if let Some(meaning) = behind_a_quote(at, before) {
        return meaning;
    }
    match before.trim_end().chars().last() {
        Some(bracket @ ('}' | ']')) => {
            let hint = "put the whole value in quotes, or take out what is too much";
            meaning(at, format!("text stands behind the closing `{bracket}`"), hint)
        }
        _ if rest.starts_with("- ") => meaning(
            at,
            "a list item stands among the keys of a map",
            "indent it below its key, in the column of the other items",
        ),
        _ if rest.starts_with(": ") || rest.trim_end() == ":" => {
            meaning(at, "a value stands here without its key", "write the key before the `:`")
        }
        _ => {
            let hint = "the keys of one map begin in the same column";
            meaning(at, "the indentation of this line fits no line above it", hint)
        }
    }
}

fn behind_a_quote(at: Position, before: &str) -> Option<Meaning> {
    let hint = match before.trim_end().chars().last()? {
        '"' => "put the whole value in one pair of quotes; inside double quotes a quote is written `\\\"`",
        '\'' => "put the whole value in one pair of quotes; inside single quotes a quote is written twice: `'it''s'`",
        _ => return None,
    };
    Some(meaning(at, "text stands behind the closing quote", hint))
}

/// A key that is a map or a list: nearly always a template without quotes.
pub(super) fn key_is_no_text(text: &str, at: Position) -> Error {
    let line = text.split('\n').nth(at.line - 1).unwrap_or_default();
    let (before, rest) = split(line, at.column);
    let (message, hint, column) = if before.ends_with('{') && rest.starts_with('{') {
        ("a template is not quoted", QUOTE_TEMPLATE, at.column - 1)
    } else if rest.starts_with("{{") {
        ("a template is not quoted", QUOTE_TEMPLATE, at.column)
    } else {
        ("a key is text, never a map or a list", "put it in quotes", at.column)
    };
    let position = Some(Position { line: at.line, column });
    Error { code: "E001", message: message.into(), position, hint: Some(hint.into()) }
}

/// The place where a second document begins; the beginning of the file where no line says so.
pub(super) fn second_document(text: &str) -> Position {
    let is_mark = |line: &str, mark: &str| {
        line.strip_prefix(mark).is_some_and(|rest| rest.trim_start().len() < rest.len() || rest.is_empty())
    };
    let (mut begun, mut content) = (false, false);
    for (index, line) in text.split('\n').enumerate() {
        let begins = is_mark(line, "---");
        let ends = is_mark(line, "...") || line.starts_with('%');
        if (begins && begun) || (ends && content) {
            return Position { line: index + 1, column: 1 };
        }
        let rest = if begins { &line[3..] } else { line }.trim();
        content |= !(rest.is_empty() || rest.starts_with('#') || ends);
        begun |= begins || content;
    }
    Position { line: 1, column: 1 }
}

fn split(line: &str, column: usize) -> (&str, &str) {
    let at = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    line.split_at(at)
}

fn first_of(text: &str) -> String {
    text.chars().next().map(String::from).unwrap_or_default()
}

/// At most 60 characters.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
