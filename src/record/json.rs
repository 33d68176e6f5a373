//! A JSON value that borrows from the body it was read from. Numbers keep their spelling, so that no digit is lost.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Deref;

use smallvec::SmallVec;

use super::number::{self, Number};
use super::tokens::plain;

/// Members of an object that are put in order without memory of their own.
const SORTED_NEAR: usize = 16;

/// A JSON value (RFC 8259).
///
/// Two values are equal when they mean the same: `1 == 1.0`, and the order of an object's members does not matter.
#[derive(Debug, Clone, Default)]
pub enum Json<'a> {
    /// null
    #[default]
    Null,
    /// true or false
    Bool(bool),
    /// a number as it was spelled
    Number(Cow<'a, str>),
    /// text
    String(Cow<'a, str>),
    /// a list
    Array(List<'a, Json<'a>>),
    /// members in the order they came; each name once
    Object(List<'a, Member<'a>>),
}

/// A member of an object: its name and its value.
pub type Member<'a> = (Cow<'a, str>, Json<'a>);

/// The items of a list or the members of an object.
#[derive(Debug, Clone)]
pub enum List<'a, T> {
    /// made one by one
    Own(Vec<T>),
    /// read from a body, into an arena that is let go as a whole
    Read {
        /// the items
        items: &'a [T],
        /// their text in the body, with its brackets
        text: &'a str,
        /// the text is what [`Json::write_text`] writes: without white space between the parts, escapes, and names that are there twice
        is_compact: bool,
    },
}

impl<T: Clone> List<'_, T> {
    /// The items as a list that can grow.
    pub fn own(&mut self) -> &mut Vec<T> {
        if let Self::Read { items, .. } = self {
            *self = Self::Own(items.to_vec());
        }
        match self {
            Self::Own(items) => items,
            Self::Read { .. } => unreachable!("it was made its own"),
        }
    }
}

impl<T> Deref for List<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(items) => items,
            Self::Read { items, .. } => items,
        }
    }
}

impl<T> From<Vec<T>> for List<'_, T> {
    fn from(items: Vec<T>) -> Self {
        Self::Own(items)
    }
}

impl<T> FromIterator<T> for List<'_, T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::Own(items.into_iter().collect())
    }
}

impl<'l, T> IntoIterator for &'l List<'_, T> {
    type Item = &'l T;
    type IntoIter = std::slice::Iter<'l, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> Json<'a> {
    /// The member of this name; `None` when there is none or this is no object.
    pub fn member(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Self::Object(members) => members.iter().find(|(member, _)| member == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What it is, in a word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "text",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Compact JSON text, numbers as they came.
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(self.size());
        self.write_text(&mut out, usize::MAX);
        out
    }

    /// Appends compact JSON text and stops soon after `out` has grown beyond `stop_at` bytes: the start of the text, for quotes.
    pub fn write_text(&self, out: &mut String, stop_at: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => write_string(text, out, stop_at),
            Self::Array(List::Read { text, is_compact: true, .. })
            | Self::Object(List::Read { text, is_compact: true, .. })
                if text.len() <= stop_at.saturating_sub(out.len()) =>
            {
                out.push_str(text);
            }
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if out.len() > stop_at {
                        return;
                    }
                    if at > 0 {
                        out.push(',');
                    }
                    item.write_text(out, stop_at);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if out.len() > stop_at {
                        return;
                    }
                    if at > 0 {
                        out.push(',');
                    }
                    write_string(name, out, stop_at);
                    out.push(':');
                    value.write_text(out, stop_at);
                }
                out.push('}');
            }
        }
    }

    /// Appends the one text that all equal values share: members sorted by code point, numbers spelled by value.
    pub fn canonical(&self, out: &mut String) {
        match self {
            Self::Null | Self::Bool(_) | Self::String(_) => self.write_text(out, usize::MAX),
            Self::Number(text) => match Number::parse(text) {
                Some(number) => number.write_canonical(out),
                None => out.push_str(text),
            },
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.canonical(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in sorted(members).enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_string(name, out, usize::MAX);
                    out.push(':');
                    value.canonical(out);
                }
                out.push('}');
            }
        }
    }

    /// Bytes of its compact JSON text, an escaped character counted as the character itself. Costs one step a value, not a byte.
    pub fn size(&self) -> usize {
        match self {
            Self::Null => 4,
            Self::Bool(value) => 5 - usize::from(*value),
            Self::Number(text) => text.len(),
            Self::String(text) => text.len() + 2,
            Self::Array(items) => items.iter().map(|item| item.size() + 1).sum::<usize>().max(1) + 1,
            Self::Object(members) => {
                members.iter().map(|(name, value)| name.len() + value.size() + 4).sum::<usize>().max(1) + 1
            }
        }
    }

    /// No less than [`Json::size`], and without a step for each value where it was read from a body.
    pub fn size_at_most(&self) -> usize {
        match self {
            Self::Array(List::Read { text, .. }) | Self::Object(List::Read { text, .. }) => text.len(),
            _ => self.size(),
        }
    }

    /// The value as a template sees it: whole numbers as integers up to 128 bits, all others as doubles.
    pub fn to_value(&self) -> minijinja::Value {
        use minijinja::Value;
        match self {
            Self::Null => Value::from(()),
            Self::Bool(value) => Value::from(*value),
            Self::Number(text) => template_number(text),
            Self::String(text) => Value::from(text.as_ref()),
            Self::Array(items) => Value::from_object(items.iter().map(Self::to_value).collect::<Vec<Value>>()),
            Self::Object(members) => {
                Value::from_pairs(members.iter().map(|(name, value)| (name.as_ref(), value.to_value())))
            }
        }
    }

    /// The value as `serde_json` holds it: whole numbers beyond 64 bits become text, fractions doubles.
    pub fn to_serde(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(text) => {
                let whole = text.parse::<i64>().map(Into::into).or_else(|_| text.parse::<u64>().map(Into::into));
                whole.unwrap_or_else(|_| {
                    let fraction = is_spelled_whole(text).then_some(f64::NAN).or_else(|| text.parse().ok());
                    // text where a double cannot hold it: too many digits, or too large
                    fraction.and_then(serde_json::Number::from_f64).map_or_else(|| text.as_ref().into(), Into::into)
                })
            }
            Self::String(text) => text.as_ref().into(),
            Self::Array(items) => items.iter().map(Self::to_serde).collect(),
            Self::Object(members) => {
                members.iter().map(|(name, value)| (name.clone().into_owned(), value.to_serde())).collect()
            }
        }
    }
}

fn sorted<'m, 'a>(members: &'m [Member<'a>]) -> impl Iterator<Item = &'m Member<'a>> {
    let mut sorted: SmallVec<[_; SORTED_NEAR]> = members.iter().collect();
    sorted.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    sorted.into_iter()
}

fn template_number(text: &str) -> minijinja::Value {
    use minijinja::Value;
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    if is_spelled_whole(text) {
        if let Ok(number) = text.parse::<u64>() {
            return Value::from(number);
        }
        if let Ok(number) = text.parse::<i128>() {
            return Value::from(number);
        }
    }
    text.parse::<f64>().map_or_else(|_| Value::from(text), Value::from)
}

/// Without a point or an exponent.
fn is_spelled_whole(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

fn write_string(text: &str, out: &mut String, stop_at: usize) {
    let room = stop_at.saturating_sub(out.len());
    let text = if text.len() > room { &text[..text.ceil_char_boundary(room)] } else { text };
    out.push('"');
    let mut rest = text;
    loop {
        let (as_it_is, escaped) = rest.split_at(plain(rest.as_bytes()));
        out.push_str(as_it_is);
        match escaped.as_bytes().first() {
            None => break,
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(b'\n') => out.push_str("\\n"),
            Some(b'\r') => out.push_str("\\r"),
            Some(b'\t') => out.push_str("\\t"),
            Some(other) => {
                let _ = write!(out, "\\u{other:04x}");
            }
        }
        rest = &escaped[1..];
    }
    out.push('"');
}

impl PartialEq for Json<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Number(left), Self::Number(right)) => number::same(left, right),
            (Self::String(left), Self::String(right)) => left == right,
            (Self::Array(left), Self::Array(right)) => left[..] == right[..],
            (Self::Object(left), Self::Object(right)) => left.len() == right.len() && sorted(left).eq(sorted(right)),
            _ => false,
        }
    }
}

impl From<&str> for Json<'_> {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned().into())
    }
}

impl From<String> for Json<'_> {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<serde_json::Value> for Json<'_> {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number.to_string().into()),
            serde_json::Value::String(text) => Self::String(text.into()),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Into::into).collect()),
            serde_json::Value::Object(members) => {
                Self::Object(members.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
            }
        }
    }
}
