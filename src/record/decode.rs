//! Bytes to JSON, and what to say when they are something else.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;
use jiter::JsonErrorType;

use super::json::{List, Member};
use super::tokens::{self, Tokens};
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
    let mut reader = Reader { tokens: Tokens::new(text), arena, items: Vec::new() };
    let value = reader.value(0, Like::Nothing)?;
    reader.tokens.finish()?;
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
    let mut reader = Reader { tokens: Tokens::new(text), arena, items: Vec::new() };
    let value = reader.along((names, 0), each)?;
    reader.tokens.finish().ok()?;
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
    Json(tokens::Fault),
    TooDeep(usize),
}

impl From<tokens::Fault> for Fault {
    fn from(fault: tokens::Fault) -> Self {
        Self::Json(fault)
    }
}

struct Reader<'a> {
    tokens: Tokens<'a>,
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
    fn value(&mut self, depth: usize, like: Like<'a>) -> Result<Json<'a>, Fault> {
        let mut value = Json::Null;
        self.read(&mut value, depth, like)?;
        Ok(value)
    }

    /// The next value, made where it is to stand: one that is moved there costs as much again.
    #[inline]
    fn read(&mut self, place: &mut Json<'a>, depth: usize, like: Like<'a>) -> Result<(), Fault> {
        let value = match self.tokens.value()? {
            b'"' => Json::String(Cow::Borrowed(self.tokens.string(self.arena)?)),
            b'{' | b'[' if depth == JSON_DEPTH_MAX => return Err(Fault::TooDeep(self.tokens.at())),
            b'{' => Json::Object(self.members(depth + 1, like)?),
            b'[' => Json::Array(self.items(depth + 1, like)?),
            b'n' => {
                self.tokens.word("null")?;
                Json::Null
            }
            b't' => {
                self.tokens.word("true")?;
                Json::Bool(true)
            }
            b'f' => {
                self.tokens.word("false")?;
                Json::Bool(false)
            }
            _ => Json::Number(Cow::Borrowed(self.tokens.number()?)),
        };
        *place = value;
        Ok(())
    }

    fn items(&mut self, depth: usize, like: Like<'a>) -> Result<List<'a, Json<'a>>, Fault> {
        let (start, from) = (self.items.len(), self.tokens);
        let mut before = match like {
            Like::Items([first, ..]) => Like::of(first),
            _ => Like::Nothing,
        };
        let mut is_there = self.tokens.first_item()?;
        while is_there {
            let item = self.value(depth, before)?;
            before = Like::of(&item);
            self.items.push(item);
            is_there = self.tokens.next_item()?;
        }
        let items = self.arena.alloc_slice_fill_iter(self.items.drain(start..));
        Ok(List::Read { items, text: self.tokens.since(&from), is_compact: self.tokens.is_compact_since(&from) })
    }

    fn members(&mut self, depth: usize, like: Like<'a>) -> Result<List<'a, Member<'a>>, Fault> {
        let from = self.tokens;
        let known = if let Like::Members(members) = like { members } else { &[] };
        let mut members = ArenaVec::with_capacity_in(known.len(), self.arena);
        let mut is_there = self.tokens.first_member()?;
        let mut is_alike = true;
        while is_there {
            let expected = if is_alike { known.get(members.len()) } else { None };
            let (name, like) = self.name(expected)?;
            is_alike &= like.is_some();
            // names of an object are there once
            let is_new = is_alike || members.len() > LINEAR_MEMBERS_MAX;
            let seen = if is_new { None } else { members.iter().position(|(member, _): &Member<'_>| member == name) };
            let at = seen.unwrap_or(members.len());
            match seen {
                Some(_) => self.tokens.loosen(),
                None => members.push((Cow::Borrowed(name), Json::Null)),
            }
            self.read(&mut members[at].1, depth, like.unwrap_or(Like::Nothing))?;
            is_there = self.tokens.next_member()?;
        }
        if members.len() > LINEAR_MEMBERS_MAX && !is_alike && keep_last(&mut members) {
            self.tokens.loosen();
        }
        let is_compact = self.tokens.is_compact_since(&from);
        Ok(List::Read { items: members.into_bump_slice(), text: self.tokens.since(&from), is_compact })
    }

    /// The next name; where it is the expected one, with what stands there.
    fn name(&mut self, expected: Option<&'a Member<'a>>) -> Result<(&'a str, Option<Like<'a>>), Fault> {
        let Some((known, value)) = expected else { return Ok((self.tokens.name(self.arena)?, None)) };
        // one that had escapes is none that the text can have as it is
        if self.tokens.holds(known) && self.tokens.takes_name(known) {
            return Ok((known, Some(Like::of(value))));
        }
        let name = self.tokens.name(self.arena)?;
        Ok((name, (known == name).then(|| Like::of(value))))
    }

    /// See [`parse_each`].
    fn along(&mut self, (names, depth): (&[String], usize), each: &mut EachOf<'_>) -> Option<Json<'a>> {
        let begins = self.tokens.value().ok()?;
        let Some((own, below)) = names.split_first() else {
            (begins == b'[' && depth < JSON_DEPTH_MAX).then_some(())?;
            self.records(depth + 1, each)?;
            return Some(Json::Array(Vec::new().into()));
        };
        (begins == b'{' && depth < JSON_DEPTH_MAX).then_some(())?;
        let mut members: Vec<Member<'a>> = Vec::new();
        let mut is_there = self.tokens.first_member().ok()?;
        let mut is_found = false;
        while is_there {
            let name = self.tokens.name(self.arena).ok()?;
            let is_known = members.len() >= LINEAR_MEMBERS_MAX || members.iter().any(|(member, _)| member == name);
            (!is_known).then_some(())?;
            let value = if name == *own {
                is_found = true;
                self.along((below, depth + 1), each)?
            } else {
                self.value(depth + 1, Like::Nothing).ok()?
            };
            members.push((Cow::Borrowed(name), value));
            is_there = self.tokens.next_member().ok()?;
        }
        is_found.then(|| Json::Object(members.into()))
    }

    fn records(&mut self, depth: usize, each: &mut EachOf<'_>) -> Option<()> {
        let mut arena = Bump::new();
        let mut is_there = self.tokens.first_item().ok()?;
        let mut is_wanted = true;
        while is_there && is_wanted {
            let mut some = Reader { tokens: self.tokens, arena: &arena, items: Vec::with_capacity(RECORDS_AT_ONCE) };
            let mut before = Like::Nothing;
            while is_there && some.items.len() < RECORDS_AT_ONCE {
                let record = some.value(depth, before).ok()?;
                before = Like::of(&record);
                some.items.push(record);
                is_there = some.tokens.next_item().ok()?;
            }
            is_wanted = each(&some.items, some.tokens.part());
            self.tokens.go_to(some.tokens.at());
            drop(some);
            arena.reset();
        }
        is_wanted.then_some(())
    }
}

/// The part of a text that another one is, if it stands there.
fn within<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    text.get(start..start.checked_add(part.len())?)
}

/// Of members with the same name the last one counts. Whether there were any.
fn keep_last(members: &mut ArenaVec<'_, Member<'_>>) -> bool {
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
        return false;
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
    true
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
        Fault::Json((kind, at)) => (*at, kind.clone()),
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
