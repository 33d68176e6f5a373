//! The only door to `serde_yaml`: text to a JSON value, with the place of every mistake, and the place of any node.

mod amend;
mod print;
mod spans;

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, EnumAccess, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::syntax::{self, Complaint};
use crate::diagnostic::{Position, Segment};

pub use amend::{Unfaithful, amended};
pub use print::document;

/// Bytes of one YAML document.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Nested maps and lists in one YAML document.
pub const DOCUMENT_DEPTH_MAX: usize = 64;
/// Brackets open at once. The parser's work grows with their number times the document, so they are counted before it starts.
const BRACKETS_MAX: usize = 256;
/// A document weighs the bytes of its texts, and this for each node.
const NODE_WEIGHT: usize = 32;
/// What a document may weigh for each of its bytes: more than any without aliases does, and a few times what those of people do. So a
/// file of some kilobytes cannot become millions of nodes, each of which may be a template.
const WEIGHT_PER_BYTE_MAX: usize = 40;
/// What any document may weigh, however short it is.
const WEIGHT_MIN: usize = 256 << 10;
/// What a number must be below: 2^127.
const FLOAT_MAX: f64 = (1_u128 << 127) as f64;

/// Why a text is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// `E001` for syntax, `E002` for a key that stands twice, `E003` for too much of anything
    pub code: &'static str,
    /// a lowercase fragment
    pub message: String,
    /// where, if it is one place
    pub position: Option<Position>,
    /// the likely fix
    pub hint: Option<String>,
}

/// Begins the messages of this file, which the parser puts a path in front of and a place behind.
const OWN: char = '\u{1}';
const TWICE: &str = "stands twice in this map";
const TOO_DEEP: &str = "maps and lists are nested too deeply";
const TOO_HEAVY: &str = "aliases make the document too large";
const FLATTER: &str = "is a bracket left open?";
const NO_ALIASES: &str = "write out what the aliases (`*name`) stand for";

fn too_much(message: String, position: Option<Position>, hint: &str) -> Error {
    Error { code: "E003", message, position, hint: Some(hint.to_owned()) }
}

/// Reads one YAML document as a JSON value.
///
/// # Errors
/// A syntax error, a key that stands twice, a key that is no text, a value JSON cannot hold, more than
/// [`DOCUMENT_BYTES_MAX`] bytes or [`DOCUMENT_DEPTH_MAX`] levels, aliases that multiply.
pub fn parse(text: &str) -> Result<Value, Error> {
    parse_showing(text, text)
}

/// As [`parse`]; messages quote from `shown`, which differs from the text in characters that nobody may see.
///
/// # Errors
/// As [`parse`].
pub fn parse_showing(text: &str, shown: &str) -> Result<Value, Error> {
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the file has more than {} KiB", DOCUMENT_BYTES_MAX >> 10);
        let start = Position { line: 1, column: 1 };
        return Err(too_much(message, Some(start), "divide it into several documents"));
    }
    if let Some(at) = bracket_too_many(text) {
        return Err(too_much(format!("{TOO_DEEP} (more than {DOCUMENT_DEPTH_MAX} levels)"), Some(at), FLATTER));
    }
    let left = Cell::new(WEIGHT_MIN + text.len() * WEIGHT_PER_BYTE_MAX);
    let explain = |error| explain(text, shown, &error);
    let value = Node { depth: 0, left: &left }.deserialize(reader(text)).map_err(explain)?;
    if has_fraction(&value) {
        Digits(&value).deserialize(reader(text)).map_err(explain)?;
    }
    Ok(value)
}

/// A value as a YAML document.
pub fn write(value: &Value) -> String {
    serde_yaml::to_string(value).expect("JSON is YAML")
}

#[expect(clippy::disallowed_methods, reason = "this is the door to serde_yaml")]
pub(super) fn reader(text: &str) -> serde_yaml::Deserializer<'_> {
    serde_yaml::Deserializer::from_str(text)
}

fn bracket_too_many(text: &str) -> Option<Position> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' | '{' => open += 1,
            ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > BRACKETS_MAX {
            return Some(Position::of(text, at));
        }
    }
    None
}

fn explain(text: &str, shown: &str, error: &serde_yaml::Error) -> Error {
    let full = error.to_string();
    // the errors of the parser's reader have their offset in the text alone
    let offset = full.rsplit_once(" at position ").and_then(|(_, offset)| offset.parse::<usize>().ok());
    let position = offset.map(|offset| Position::of(text, offset)).or_else(|| position_of(text, error));
    let at = position.unwrap_or(Position { line: 1, column: 1 });
    if let Some((_, own)) = full.rsplit_once(OWN) {
        let message = own.rsplit_once(" at line ").map_or(own, |(message, _)| message).to_owned();
        // the parser stands somewhere in what the aliases refer to
        let position = if message == TOO_HEAVY { first_alias(text).or(position) } else { position };
        let (code, hint) = if message.ends_with(TWICE) {
            ("E002", Some("keep one of the two".to_owned()))
        } else if message.starts_with(TOO_DEEP) {
            ("E003", Some(FLATTER.to_owned()))
        } else if message.starts_with(TOO_HEAVY) {
            ("E003", Some(NO_ALIASES.to_owned()))
        } else {
            ("E001", Some("put the value in quotes if it is text".to_owned()))
        };
        return Error { code, message, position, hint };
    }
    if full.contains("repetition limit") || full.contains("recursion limit") {
        return too_much(TOO_HEAVY.to_owned(), first_alias(text), NO_ALIASES);
    }
    if full.contains("invalid type: ") {
        return syntax::key_is_no_text(shown, at);
    }
    let (message, position, hint) = if full.contains("more than one document") {
        let hint = "each document has a file of its own";
        ("the file holds more than one document".to_owned(), Some(syntax::second_document(text)), hint)
    } else if full.contains("unknown anchor") {
        let hint = "a value that begins with `*` needs quotes";
        ("an alias (`*name`) refers to no anchor (`&name`)".to_owned(), position, hint)
    } else if full.contains(", while scanning an alias") || full.contains(", while scanning an anchor") {
        let hint = "put the value in quotes; `*name` and `&name` have a meaning of their own in YAML";
        ("a value cannot begin with `*` or `&`".to_owned(), position.map(before), hint)
    } else if full.contains("control characters are not allowed") {
        let c = offset.and_then(|offset| text.get(offset..)?.chars().next()).unwrap_or_default();
        let hint = "take it out, or write it as an escape in double quotes";
        (format!("a control character (U+{:04X}) stands in the text", u32::from(c)), position, hint)
    } else if full.contains("invalid value: ") || full.contains("empty YAML tag") {
        (TAGGED.to_owned(), position, "put the value in quotes if it is text")
    } else {
        return syntax::explain(shown, Complaint::read(&full, at, text));
    };
    Error { code: "E001", message, position, hint: Some(hint.to_owned()) }
}

/// One character to the left: the mark behind which the parser found no name.
fn before(at: Position) -> Position {
    Position { column: at.column.saturating_sub(1).max(1), ..at }
}

/// The place of the byte that the parser counted to; its own lines end with other characters than a line feed too.
fn position_of(text: &str, error: &serde_yaml::Error) -> Option<Position> {
    error.location().map(|at| Position::of(text, at.index()))
}

fn first_alias(text: &str) -> Option<Position> {
    let behind = |c: char| c.is_whitespace() || matches!(c, '[' | ',' | ':');
    let is_name = |text: &str| text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let mut stars = text.match_indices('*');
    let alias = stars.find(|(at, _)| text[..*at].ends_with(behind) && is_name(&text[at + 1..]));
    alias.map(|(at, _)| Position::of(text, at))
}

/// The place of the node at `path`, or of its key.
pub fn locate(text: &str, path: &[Segment], what: Part) -> Option<Position> {
    let error = Find { path, what }.deserialize(reader(text)).err()?;
    position_of(text, &error)
}

/// What [`locate`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// the key of the last segment
    Key,
    /// the value
    Value,
}

#[derive(Clone, Copy)]
struct Node<'w> {
    depth: usize,
    /// what the rest of the document may weigh
    left: &'w Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Node<'_> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= DOCUMENT_DEPTH_MAX {
            return Err(own(format_args!("{TOO_DEEP} (more than {DOCUMENT_DEPTH_MAX} levels)")));
        }
        Ok(Node { depth: self.depth + 1, ..self })
    }

    fn weigh<E: de::Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(NODE_WEIGHT + bytes).ok_or_else(|| own(TOO_HEAVY))?;
        self.left.set(left);
        Ok(())
    }
}

fn own<E: de::Error>(message: impl fmt::Display) -> E {
    E::custom(format_args!("{OWN}{message}"))
}

const TAGGED: &str = "YAML tags (`!name`) are not part of the language";

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.weigh(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.weigh(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.weigh(0)?;
        Ok(value.into())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Err(own(format_args!("the number `{value}` is too large")))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        Err(own(format_args!("the number `{value}` is too large")))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.weigh(0)?;
        // the parser makes one of a whole number with more than 128 bits too, which would lose digits without a word
        if value.is_finite() && value.abs() >= FLOAT_MAX {
            return Err(own(format_args!("the number `{value:e}` is too large")));
        }
        let number = serde_json::Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| own("a number must be finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.weigh(value.len())?;
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(own(TAGGED))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            self.weigh(0)?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key_seed(NewKey { map: &map })? {
            self.weigh(key.len())?;
            let value = members.next_value_seed(self.inner()?)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Goes through a document again, beside the value that it gave, and compares each number with its text: the parser rounds to 64 bits
/// without a word.
struct Digits<'v>(&'v Value);

impl<'de> DeserializeSeed<'de> for Digits<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Value::Number(number) if number.is_f64() => deserializer.deserialize_str(self),
            Value::Array(_) | Value::Object(_) => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ()),
        }
    }
}

impl<'de> Visitor<'de> for Digits<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what it was before")
    }

    fn visit_str<E: de::Error>(self, written: &str) -> Result<(), E> {
        let kept = self.0.to_string();
        if significant(written) == significant(&kept) {
            return Ok(());
        }
        let written = syntax::shorten(written);
        Err(own(format_args!(
            "the number `{written}` has more digits than a number can keep: it would become `{kept}`"
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for item in self.0.as_array().into_iter().flatten() {
            items.next_element_seed(Digits(item))?;
        }
        // the parser wants to be asked for the end too
        items.next_element::<IgnoredAny>().map(|_| ())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<String>()? {
            members.next_value_seed(Digits(&self.0[key.as_str()]))?;
        }
        Ok(())
    }
}

/// The digits of a decimal number without zeros around them, and the power of ten of the last one.
fn significant(number: &str) -> (String, i64) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches(['+', '-']));
    let kept = digits.trim_end_matches('0');
    // an exponent with more digits than these makes no finite number but 0
    let exponent: i64 = exponent.parse().unwrap_or(i64::from(i32::MIN));
    let length = |text: &str| i64::try_from(text.len()).expect("a document is small");
    let dropped = length(&digits) - length(kept) - length(fraction);
    match kept.trim_start_matches('0') {
        "" => (String::new(), 0),
        digits => (digits.to_owned(), exponent.saturating_add(dropped)),
    }
}

/// A key that is not in the map yet; the mistake is raised inside the key, so that it is the key that is marked.
struct NewKey<'a> {
    map: &'a Map<String, Value>,
}

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = String;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        if self.map.contains_key(key) {
            return Err(own(format_args!("`{}` {TWICE}", syntax::shorten(key))));
        }
        Ok(key.to_owned())
    }
}

/// Walks to one node and fails there on purpose: `serde_yaml` tells places only in its errors.
struct Find<'p> {
    path: &'p [Segment],
    what: Part,
}

const HERE: &str = "here";

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! found_or_passed {
    ($($method:ident: $type:ty),*) => { $(
        fn $method<E: de::Error>(self, _: $type) -> Result<(), E> {
            if self.path.is_empty() { Err(E::custom(HERE)) } else { Ok(()) }
        }
    )* };
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HERE)
    }

    found_or_passed!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        if self.path.is_empty() { Err(E::custom(HERE)) } else { Ok(()) }
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some(Segment::Index(wanted)) = self.path.first() else { return Err(de::Error::custom(HERE)) };
        for _ in 0..*wanted {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Find { path: &self.path[1..], what: self.what })?;
        Err(de::Error::custom(HERE))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Some(Segment::Key(wanted)) = self.path.first() else { return Err(de::Error::custom(HERE)) };
        let mark_key = self.what == Part::Key && self.path.len() == 1;
        while let Some(hit) = members.next_key_seed(FindKey { wanted, mark_key })? {
            if hit {
                return members.next_value_seed(Find { path: &self.path[1..], what: self.what });
            }
            members.next_value::<IgnoredAny>()?;
        }
        Err(de::Error::custom(HERE))
    }
}

struct FindKey<'p> {
    wanted: &'p str,
    mark_key: bool,
}

impl<'de> DeserializeSeed<'de> for FindKey<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FindKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        if key == self.wanted && self.mark_key { Err(E::custom(HERE)) } else { Ok(key == self.wanted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\nlist:\n  - x: 1\n    y: [p, q]\n  - z:\n      deep: here\n";

    fn place(path: &[Segment], what: Part) -> Option<(usize, usize)> {
        locate(TEXT, path, what).map(|at| (at.line, at.column))
    }

    #[test]
    fn places_are_found() {
        let key = |name: &str| Segment::Key(name.into());
        assert_eq!(place(&[key("a")], Part::Value), Some((1, 4)));
        assert_eq!(place(&[key("list")], Part::Key), Some((2, 1)));
        assert_eq!(place(&[key("list"), Segment::Index(0), key("y"), Segment::Index(1)], Part::Value), Some((4, 12)));
        assert_eq!(place(&[key("list"), Segment::Index(1), key("z"), key("deep")], Part::Key), Some((6, 7)));
    }

    #[test]
    fn mistakes_have_a_code_and_a_place() {
        let error = parse("a: 1\nb: 2\na: 3\n").expect_err("twice");
        assert_eq!((error.code, error.position), ("E002", Some(Position { line: 3, column: 1 })));
        let error = parse("a: [1\nb: 2").expect_err("syntax");
        assert_eq!(error.code, "E001");
        assert!(error.position.is_some());
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(parse(&deep).expect_err("deep").code, "E003");
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert_eq!(parse(bomb).expect_err("bomb").code, "E003");
    }

    #[test]
    fn numbers_keep_what_is_written_or_are_mistakes() {
        for (text, kept) in [
            ("0.1", "0.1"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("+1.5", "1.5"),
            ("1e3", "1000.0"),
            ("12.5E-1", "1.25"),
            ("0.00e5", "0.0"),
            ("1e22", "1e+22"),
            ("2.2250738585072014e-308", "2.2250738585072014e-308"),
            ("0.1000000000000000000000000000", "0.1"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            // no numbers to YAML 1.2: text that is kept as it is
            ("1_000", "\"1_000\""),
            ("017", "\"017\""),
            ("1e999", "\"1e999\""),
        ] {
            let read =
                parse(&format!("[{{ a: {text} }}, &x {text}, *x]")).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(read.to_string(), format!("[{{\"a\":{kept}}},{kept},{kept}]"), "{text}");
        }
        let long = "9".repeat(400);
        assert_eq!(parse(&long).expect("text"), Value::String(long.clone()), "every digit stays, as text");
        for text in [
            "0.12345678901234567890123",
            "9007199254740993.0",
            "123456789012345678.5",
            "1e-400",
            "1e-99999999999999999999",
            "18446744073709551616",
            "-9223372036854775809",
            "12345678901234567890123",
            "0xFFFFFFFFFFFFFFFFF",
            ".inf",
            "-.INF",
            ".nan",
            &format!("0.{long}"),
            &format!("1.{long}"),
            &"9".repeat(60),
        ] {
            let error = parse(&format!("a: 1.5\nb: [x, {{ c: {text} }}]")).expect_err(text);
            assert_eq!((error.code, error.position.map(|at| at.line)), ("E001", Some(2)), "{text}: {error:?}");
            assert!(error.message.len() < 300, "{error:?}");
            assert_eq!(parse(&format!("\"{text}\"")).expect("in quotes it is text"), Value::String(text.to_owned()));
        }
    }

    #[test]
    fn only_aliases_make_a_document_too_heavy() {
        for piece in ["x,", "[],", "{},", "\"\",", "a: ,", "{a},", "1,", "~,", "[[[[]]]],"] {
            let text = format!("[{}]", piece.repeat((DOCUMENT_BYTES_MAX - 2) / piece.len()));
            assert!(parse(&text).is_ok(), "{piece}");
        }
        for piece in ["- \n", "-\n", "- a\n", "- - -\n", "- a:\n"] {
            assert!(parse(&piece.repeat(DOCUMENT_BYTES_MAX / piece.len())).is_ok(), "{piece:?}");
        }
        // a use of aliases that people have
        let columns: String = (0..500).map(|n| format!("c{n}: *column\n")).collect();
        assert!(parse(&format!("base: &column {{ path: $.a, type: bigint, required: true }}\n{columns}")).is_ok());
        let lists: String = (0..500).map(|n| format!("c{n}: *list\n")).collect();
        assert_eq!(parse(&format!("base: &list [{}]\n{lists}", "x, ".repeat(500))).expect_err("heavy").code, "E003");
    }
}
