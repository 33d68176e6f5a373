//! Bytes to JSON, and what to say when they are something else.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use super::{Json, excerpt};
use crate::plan::limits::JSON_DEPTH_MAX;

/// The UTF-8 byte order mark.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";
/// Members of an object up to which repeated names are looked for one by one.
pub(super) const LINEAR_MEMBERS_MAX: usize = 24;
/// Bytes of a page in which its title is looked for.
const TITLE_BYTES_MAX: usize = 64 << 10;

/// Why a body is not in its format: one line for people, with what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// what it is instead
    pub kind: DecodeErrorKind,
    /// the line at fault, from 1
    pub line: usize,
    /// the byte in the line, from 1
    pub column: usize,
    /// the byte in the body, from 0
    pub offset: usize,
    message: String,
}

/// What a body is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// nothing but white space
    Empty,
    /// a web page
    Html,
    /// XML
    Xml,
    /// JSON that ends too early
    Truncated,
    /// bytes that are no UTF-8
    InvalidUtf8,
    /// deeper than `limits::JSON_DEPTH_MAX`
    TooDeep,
    /// an archive that cannot be read
    Archive,
    /// rows that are none
    Rows,
    /// elements that are none
    Elements,
    /// anything else
    Syntax,
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty body",
            Self::Html => "HTML",
            Self::Xml => "XML",
            Self::Truncated => "truncated JSON",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::TooDeep => "JSON nested too deeply",
            Self::Archive => "broken archive",
            Self::Rows => "invalid rows",
            Self::Elements => "invalid XML",
            Self::Syntax => "invalid JSON",
        })
    }
}

impl DecodeError {
    /// An error at a line and column (from 1) and a byte of the body (from 0).
    pub(super) fn of(kind: DecodeErrorKind, (line, column, offset): (usize, usize, usize), message: String) -> Self {
        Self { kind, line, column, offset, message }
    }

    /// The same of one line of a body, which begins at this byte.
    pub(super) fn in_line(self, line: usize, starts_at: usize) -> Self {
        let message = format!("line {line}: {}", self.message);
        Self { line, offset: starts_at + self.offset, message, ..self }
    }
}

/// Reads one JSON text (RFC 8259), which may follow a UTF-8 byte order mark. Text without escapes and all numbers are borrowed from
/// `bytes`. Of members with the same name the last one counts.
///
/// # Errors
/// Anything that is no JSON, also `NaN` and `Infinity`, anything behind the value, and more than `limits::JSON_DEPTH_MAX` levels.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, DecodeError> {
    let body = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let text = std::str::from_utf8(body).map_err(|error| invalid_utf8(bytes, body, error.valid_up_to()))?;
    let mut reader = Reader { text, jiter: Jiter::new(body), items: Vec::new(), members: Vec::new() };
    reader.whole().map_err(|fault| explain(bytes, body, &fault))
}

enum Fault {
    Jiter(JiterError),
    TooDeep(usize),
}

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Self {
        Self::Jiter(error)
    }
}

struct Reader<'a> {
    text: &'a str,
    jiter: Jiter<'a>,
    /// the items of all arrays that are open, so that each array is made once and in its size
    items: Vec<Json<'a>>,
    /// the members of all objects that are open
    members: Vec<Member<'a>>,
}

type Member<'a> = (Cow<'a, str>, Json<'a>);

impl<'a> Reader<'a> {
    fn whole(&mut self) -> Result<Json<'a>, Fault> {
        let peek = self.jiter.peek()?;
        let value = self.value(peek, 0)?;
        self.jiter.finish()?;
        Ok(value)
    }

    fn value(&mut self, peek: Peek, depth: usize) -> Result<Json<'a>, Fault> {
        Ok(match peek {
            Peek::Null => {
                self.jiter.known_null()?;
                Json::Null
            }
            Peek::True | Peek::False => Json::Bool(self.jiter.known_bool(peek)?),
            Peek::String => Json::String(borrowed(self.text, self.jiter.known_str()?)),
            Peek::Array | Peek::Object if depth == JSON_DEPTH_MAX => {
                return Err(Fault::TooDeep(self.jiter.current_index()));
            }
            Peek::Array => Json::Array(self.items(depth + 1)?),
            Peek::Object => Json::Object(self.members(depth + 1)?),
            _ => {
                let start = self.jiter.current_index();
                self.jiter.known_number_bytes(peek)?;
                Json::Number(Cow::Borrowed(&self.text[start..self.jiter.current_index()]))
            }
        })
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Json<'a>>, Fault> {
        let start = self.items.len();
        let mut next = self.jiter.known_array()?;
        while let Some(peek) = next {
            let item = self.value(peek, depth)?;
            self.items.push(item);
            next = self.jiter.array_step()?;
        }
        Ok(self.items.drain(start..).collect())
    }

    fn members(&mut self, depth: usize) -> Result<Vec<Member<'a>>, Fault> {
        let start = self.members.len();
        // the item before it mostly has the same names in the same order, each of them once
        let before = self.items.len().checked_sub(1);
        let mut is_alike = true;
        let mut next = self.jiter.known_object()?.map(|name| borrowed(self.text, name));
        while let Some(name) = next {
            let peek = self.jiter.peek()?;
            let value = self.value(peek, depth)?;
            let at = self.members.len() - start;
            is_alike = is_alike
                && match before.and_then(|before| self.items.get(before)) {
                    Some(Json::Object(members)) => members.get(at).is_some_and(|(member, _)| *member == name),
                    _ => false,
                };
            let seen = match at {
                _ if is_alike => None,
                ..=LINEAR_MEMBERS_MAX => self.members[start..].iter_mut().find(|(member, _)| *member == name),
                _ => None,
            };
            match seen {
                Some(member) => member.1 = value,
                None => self.members.push((name, value)),
            }
            next = self.jiter.next_key()?.map(|name| borrowed(self.text, name));
        }
        let mut members: Vec<Member<'a>> = self.members.drain(start..).collect();
        if members.len() > LINEAR_MEMBERS_MAX && !is_alike {
            keep_last(&mut members);
        }
        Ok(members)
    }
}

/// jiter hands out text that lives as long as itself. Where it points into the body, the body's own slice lives longer.
fn borrowed<'a>(text: &'a str, decoded: &str) -> Cow<'a, str> {
    let start = (decoded.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    match start.checked_add(decoded.len()).and_then(|end| text.get(start..end)) {
        Some(same) => Cow::Borrowed(same),
        None => Cow::Owned(decoded.to_owned()),
    }
}

fn keep_last(members: &mut Vec<Member<'_>>) {
    let mut first = HashMap::with_capacity(members.len());
    let mut repeated = Vec::new();
    for (at, (name, _)) in members.iter().enumerate() {
        match first.entry(name.as_ref()) {
            Entry::Vacant(entry) => {
                entry.insert(at);
            }
            Entry::Occupied(entry) => repeated.push((*entry.get(), at)),
        }
    }
    if repeated.is_empty() {
        return;
    }
    for &(first, last) in &repeated {
        let value = std::mem::take(&mut members[last].1);
        members[first].1 = value;
    }
    let mut gone = repeated.into_iter().map(|(_, at)| at).peekable();
    let mut at = 0;
    members.retain(|_| {
        let keep = gone.next_if_eq(&at).is_none();
        at += 1;
        keep
    });
}

fn invalid_utf8(bytes: &[u8], body: &[u8], at: usize) -> DecodeError {
    if let Some(error) = markup(bytes, body) {
        return error;
    }
    let hint = match body {
        [0x1f, 0x8b, ..] => "; it looks like gzip that no `Content-Encoding` header announced",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "; it looks like UTF-16",
        _ => "",
    };
    let text = format!("the body is no UTF-8: `{}`{hint}", excerpt::around(body, at));
    error(DecodeErrorKind::InvalidUtf8, bytes, body, at, &text)
}

fn explain(bytes: &[u8], body: &[u8], fault: &Fault) -> DecodeError {
    if let Some(error) = markup(bytes, body) {
        return error;
    }
    let (at, kind) = match fault {
        Fault::TooDeep(at) => {
            let text = format!("the body nests more than {JSON_DEPTH_MAX} arrays and objects");
            return error(DecodeErrorKind::TooDeep, bytes, body, *at, &text);
        }
        Fault::Jiter(JiterError { error_type: JiterErrorType::JsonError(kind), index }) => (*index, kind.clone()),
        Fault::Jiter(JiterError { index, .. }) => (*index, JsonErrorType::ExpectedSomeValue),
    };
    if body.trim_ascii().is_empty() {
        return error(DecodeErrorKind::Empty, bytes, body, at, "the body is empty, expected JSON");
    }
    let inside = match kind {
        JsonErrorType::EofWhileParsingList => "an array",
        JsonErrorType::EofWhileParsingObject => "an object",
        JsonErrorType::EofWhileParsingString => "text",
        JsonErrorType::EofWhileParsingValue => "a value",
        kind => return syntax(bytes, body, at, &kind),
    };
    let text = format!(
        "the body ends in the middle of {inside} after {} bytes: `{}`",
        bytes.len(),
        excerpt::around(body, body.len())
    );
    error(DecodeErrorKind::Truncated, bytes, body, at, &text)
}

fn syntax(bytes: &[u8], body: &[u8], at: usize, kind: &JsonErrorType) -> DecodeError {
    let value_start =
        body[..at.min(body.len())].iter().rposition(|byte| b" \t\r\n,:[".contains(byte)).map_or(0, |at| at + 1);
    let literal =
        ["NaN", "Infinity", "-Infinity"].into_iter().find(|name| body[value_start..].starts_with(name.as_bytes()));
    let what = match (kind, literal) {
        (_, Some(literal)) => format!("`{literal}` is no JSON number"),
        (JsonErrorType::ExpectedSomeIdent, None) => "expected `true`, `false` or `null`".to_owned(),
        (JsonErrorType::ExpectedSomeValue, None) => "expected a value".to_owned(),
        (JsonErrorType::TrailingCharacters, None) => "something follows the end of the JSON".to_owned(),
        (JsonErrorType::NumberOutOfRange, None) => "a number has more than 4300 digits".to_owned(),
        (kind, None) => kind.to_string(),
    };
    let text = format!("the body is no JSON: {what} at `{}`", excerpt::around(body, at));
    error(DecodeErrorKind::Syntax, bytes, body, at, &text)
}

/// The error for a body that is HTML or XML.
fn markup(bytes: &[u8], body: &[u8]) -> Option<DecodeError> {
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let head = &body[start..body.len().min(start + TITLE_BYTES_MAX)];
    if head.first() != Some(&b'<') {
        return None;
    }
    let lower = head.to_ascii_lowercase();
    let find = |text: &[u8]| lower.windows(text.len()).position(|window| window == text);
    if lower.starts_with(b"<!doctype html") || find(b"<html").is_some() {
        let title = find(b"<title").and_then(|open| {
            let open = open + lower[open..].iter().position(|byte| *byte == b'>')? + 1;
            let length = lower[open..].windows(2).position(|window| window == b"</")?;
            let title = String::from_utf8_lossy(&head[open..open + length]);
            Some(excerpt::quoted(title.trim())).filter(|title| !title.is_empty())
        });
        let text = match title {
            Some(title) => format!("the body is a web page (HTML) titled `{title}`, expected JSON"),
            None => format!("the body is a web page (HTML), expected JSON: `{}`", excerpt::around(head, 0)),
        };
        return Some(error(DecodeErrorKind::Html, bytes, body, start, &text));
    }
    let text = format!("the body is XML, expected JSON: `{}`", excerpt::around(head, 0));
    Some(error(DecodeErrorKind::Xml, bytes, body, start, &text))
}

fn error(kind: DecodeErrorKind, bytes: &[u8], body: &[u8], at: usize, text: &str) -> DecodeError {
    let at = at.min(body.len());
    let before = &body[..at];
    let line = before.split(|byte| *byte == b'\n').count();
    let column = at - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1) + 1;
    let message = match kind {
        DecodeErrorKind::Empty | DecodeErrorKind::Html | DecodeErrorKind::Xml => text.to_owned(),
        _ => format!("{text} (line {line}, column {column})"),
    };
    DecodeError { kind, line, column, offset: at + (bytes.len() - body.len()), message }
}
