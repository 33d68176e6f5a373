//! Bytes to JSON, and what to say when they are something else.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;
use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use super::json::{List, Member};
use super::{Json, excerpt};
use crate::plan::limits::JSON_DEPTH_MAX;

/// The UTF-8 byte order mark.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";
/// Members of an object up to which repeated names are looked for one by one.
pub(super) const LINEAR_MEMBERS_MAX: usize = 24;
/// Records that are read before they are handed out: what they take stays in the nearest caches.
const RECORDS_AT_ONCE: usize = 32;
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
    let arena = Bump::new();
    let value = parse_into(&arena, bytes)?;
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    Ok(owned(text, &value))
}

/// The same, with all lists, objects and text with escapes in an arena: none of them is made or let go of by itself.
///
/// # Errors
/// As [`parse`].
pub fn parse_into<'a>(arena: &'a Bump, bytes: &'a [u8]) -> Result<Json<'a>, DecodeError> {
    let body = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let text = std::str::from_utf8(body).map_err(|error| invalid_utf8(bytes, body, error.valid_up_to()))?;
    whole(arena, text).map_err(|fault| explain(bytes, body, &fault))
}

fn whole<'a>(arena: &'a Bump, text: &'a str) -> Result<Json<'a>, Fault> {
    let (mut jiter, mut reader) = (Jiter::new(text.as_bytes()), Reader { text, arena, items: Vec::new() });
    let peek = jiter.peek()?;
    let value = reader.value(&mut jiter, peek, 0, Like::Nothing)?;
    jiter.finish()?;
    Ok(value)
}

/// What takes some records, and the part of the text that is read; false from it ends the reading.
pub type EachOf<'e> = dyn FnMut(&[Json<'_>], f64) -> bool + 'e;

/// Hands out the items of the list that stands below these names, some at a time: read, taken and let go of while they are near, they cost
/// less than all of them at once. Gives the value around them, with an empty list in their place.
///
/// None where anything else stands there, or what is not understood: then the text is to be read as a whole, which says what is wrong.
pub fn parse_each<'a>(arena: &'a Bump, bytes: &'a [u8], names: &[String], each: &mut EachOf<'_>) -> Option<Json<'a>> {
    let text = std::str::from_utf8(bytes.strip_prefix(BOM).unwrap_or(bytes)).ok()?;
    let (mut jiter, mut reader) = (Jiter::new(text.as_bytes()), Reader { text, arena, items: Vec::new() });
    let peek = jiter.peek().ok()?;
    let value = reader.along(&mut jiter, peek, (names, 0), each)?;
    jiter.finish().ok()?;
    Some(value)
}

/// A value that needs no arena.
fn owned<'a>(text: &'a str, value: &Json<'_>) -> Json<'a> {
    let own = |part: &str| within(text, part).map_or_else(|| Cow::Owned(part.to_owned()), Cow::Borrowed);
    match value {
        Json::Null => Json::Null,
        Json::Bool(value) => Json::Bool(*value),
        Json::Number(number) => Json::Number(own(number)),
        Json::String(part) => Json::String(own(part)),
        Json::Array(items) => Json::Array(items.iter().map(|item| owned(text, item)).collect()),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(name, value)| (own(name), owned(text, value))).collect())
        }
    }
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
    arena: &'a Bump,
    /// the items of all arrays that are open, so that each array is made once and in its size
    items: Vec<Json<'a>>,
}

/// What stands in the same place of the item before: items of a list mostly have the same members in the same order.
#[derive(Clone, Copy)]
enum Like<'a> {
    Nothing,
    Items(&'a [Json<'a>]),
    Members(&'a [Member<'a>]),
}

impl<'a> Like<'a> {
    fn of(value: &Json<'a>) -> Self {
        match value {
            Json::Array(List::Read { items, .. }) => Self::Items(items),
            Json::Object(List::Read { items, .. }) => Self::Members(items),
            _ => Self::Nothing,
        }
    }
}

impl<'a> Reader<'a> {
    fn value(&mut self, jiter: &mut Jiter<'_>, peek: Peek, depth: usize, like: Like<'a>) -> Result<Json<'a>, Fault> {
        Ok(match peek {
            Peek::Null => {
                jiter.known_null()?;
                Json::Null
            }
            Peek::True | Peek::False => Json::Bool(jiter.known_bool(peek)?),
            Peek::String => Json::String(Cow::Borrowed(kept(self.text, self.arena, jiter.known_str()?))),
            Peek::Array | Peek::Object if depth == JSON_DEPTH_MAX => {
                return Err(Fault::TooDeep(jiter.current_index()));
            }
            Peek::Array => Json::Array(self.items(jiter, depth + 1, like)?),
            Peek::Object => Json::Object(self.members(jiter, depth + 1, like)?),
            _ => {
                let start = jiter.current_index();
                jiter.known_number_bytes(peek)?;
                Json::Number(Cow::Borrowed(&self.text[start..jiter.current_index()]))
            }
        })
    }

    fn items(&mut self, jiter: &mut Jiter<'_>, depth: usize, like: Like<'a>) -> Result<List<'a, Json<'a>>, Fault> {
        let (start, from) = (self.items.len(), jiter.current_index());
        let mut before = match like {
            Like::Items([first, ..]) => Like::of(first),
            _ => Like::Nothing,
        };
        let mut next = jiter.known_array()?;
        while let Some(peek) = next {
            let item = self.value(jiter, peek, depth, before)?;
            before = Like::of(&item);
            self.items.push(item);
            next = jiter.array_step()?;
        }
        let items = self.arena.alloc_slice_fill_iter(self.items.drain(start..));
        Ok(List::Read { items, span: span(from, jiter) })
    }

    fn members(&mut self, jiter: &mut Jiter<'_>, depth: usize, like: Like<'a>) -> Result<List<'a, Member<'a>>, Fault> {
        let (text, arena, from) = (self.text, self.arena, jiter.current_index());
        let known = if let Like::Members(members) = like { members } else { &[] };
        let mut members = ArenaVec::with_capacity_in(known.len(), arena);
        // the name where it is the next that is known, with the value that stands there
        let named = |name: &str, expected: Option<&'a Member<'a>>| match expected {
            Some((known, value)) if known == name => (known.as_ref(), Some(Like::of(value))),
            _ => (kept(text, arena, name), None),
        };
        let mut next = jiter.known_object()?.map(|name| named(name, known.first()));
        let mut is_alike = true;
        while let Some((name, like)) = next {
            is_alike &= like.is_some();
            let peek = jiter.peek()?;
            let value = self.value(jiter, peek, depth, like.unwrap_or(Like::Nothing))?;
            // names of an object are there once
            let is_new = is_alike || members.len() > LINEAR_MEMBERS_MAX;
            let seen =
                if is_new { None } else { members.iter_mut().find(|(member, _): &&mut Member<'_>| member == name) };
            match seen {
                Some(member) => member.1 = value,
                None => members.push((Cow::Borrowed(name), value)),
            }
            let expected = if is_alike { known.get(members.len()) } else { None };
            next = jiter.next_key()?.map(|name| named(name, expected));
        }
        if members.len() > LINEAR_MEMBERS_MAX && !is_alike {
            keep_last(&mut members);
        }
        Ok(List::Read { items: members.into_bump_slice(), span: span(from, jiter) })
    }

    /// See [`parse_each`].
    fn along(
        &mut self,
        jiter: &mut Jiter<'_>,
        peek: Peek,
        (names, depth): (&[String], usize),
        each: &mut EachOf<'_>,
    ) -> Option<Json<'a>> {
        let Some((own, below)) = names.split_first() else {
            (peek == Peek::Array && depth < JSON_DEPTH_MAX).then_some(())?;
            self.records(jiter, depth + 1, each)?;
            return Some(Json::Array(Vec::new().into()));
        };
        (peek == Peek::Object && depth < JSON_DEPTH_MAX).then_some(())?;
        let mut members: Vec<Member<'a>> = Vec::new();
        let mut is_there = false;
        let mut next = jiter.known_object().ok()?.map(|name| kept(self.text, self.arena, name));
        while let Some(name) = next {
            let is_known = members.len() >= LINEAR_MEMBERS_MAX || members.iter().any(|(member, _)| member == name);
            (!is_known).then_some(())?;
            let peek = jiter.peek().ok()?;
            let value = if name == *own {
                is_there = true;
                self.along(jiter, peek, (below, depth + 1), each)?
            } else {
                self.value(jiter, peek, depth + 1, Like::Nothing).ok()?
            };
            members.push((Cow::Borrowed(name), value));
            next = jiter.next_key().ok()?.map(|name| kept(self.text, self.arena, name));
        }
        is_there.then(|| Json::Object(members.into()))
    }

    fn records(&mut self, jiter: &mut Jiter<'_>, depth: usize, each: &mut EachOf<'_>) -> Option<()> {
        let mut arena = Bump::new();
        let mut next = jiter.known_array().ok()?;
        let mut is_wanted = true;
        while next.is_some() && is_wanted {
            let mut some = Reader { text: self.text, arena: &arena, items: Vec::with_capacity(RECORDS_AT_ONCE) };
            let mut before = Like::Nothing;
            while let (Some(peek), true) = (next, some.items.len() < RECORDS_AT_ONCE) {
                let record = some.value(jiter, peek, depth, before).ok()?;
                before = Like::of(&record);
                some.items.push(record);
                next = jiter.array_step().ok()?;
            }
            #[expect(clippy::cast_precision_loss, reason = "about how much is read")]
            let part = jiter.current_index() as f64 / self.text.len() as f64;
            is_wanted = each(&some.items, part);
            drop(some);
            arena.reset();
        }
        is_wanted.then_some(())
    }
}

/// Bytes that were read from a place on, as far as 32 bits tell.
fn span(from: usize, jiter: &Jiter<'_>) -> u32 {
    u32::try_from(jiter.current_index() - from).unwrap_or(u32::MAX)
}

/// jiter hands out text that lives as long as itself. Where it points into the body, the body's own slice lives longer.
fn kept<'a>(text: &'a str, arena: &'a Bump, decoded: &str) -> &'a str {
    within(text, decoded).unwrap_or_else(|| arena.alloc_str(decoded))
}

/// The part of a text that another one is, if it stands there.
fn within<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    text.get(start..start.checked_add(part.len())?)
}

fn keep_last(members: &mut ArenaVec<'_, Member<'_>>) {
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
