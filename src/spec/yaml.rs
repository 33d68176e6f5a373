//! The only door to `serde_yaml`: text to a JSON value, with the place of every mistake, and the place of any node.

use std::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::diagnostic::{Position, Segment};

/// Bytes of one YAML document.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// Nested maps and lists in one YAML document.
pub const DOCUMENT_DEPTH_MAX: usize = 64;

/// Why a text is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// `E001` for syntax, `E002` for a key that stands twice, `E003` for too much of anything
    pub code: &'static str,
    /// a lowercase fragment
    pub message: String,
    /// where, if the parser says
    pub position: Option<Position>,
    /// the likely fix
    pub hint: Option<String>,
}

const TWICE: &str = "stands twice in this map";
const DEEP: &str = "is nested too deeply";

/// Reads one YAML document as a JSON value.
///
/// # Errors
/// A syntax error, a key that stands twice, a key that is no text, a value JSON cannot hold, more than
/// [`DOCUMENT_BYTES_MAX`] bytes or [`DOCUMENT_DEPTH_MAX`] levels, aliases that multiply.
pub fn parse(text: &str) -> Result<Value, Error> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(Error {
            code: "E003",
            message: format!("the file has {} bytes; {DOCUMENT_BYTES_MAX} is the most", text.len()),
            position: None,
            hint: None,
        });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Node { depth: 0 }.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| explain(&error))
}

fn explain(error: &serde_yaml::Error) -> Error {
    let position = error.location().map(|at| Position { line: at.line(), column: at.column() });
    let full = error.to_string();
    // the place is told apart from the message, and paths into serde's data model mean nothing to a reader
    let message = full.split(" at line ").next().unwrap_or(&full).trim_end_matches(',').to_owned();
    let (code, hint) = if message.ends_with(TWICE) {
        ("E002", Some("keep one of the two".to_owned()))
    } else if message.contains(DEEP) || message.contains("repetition limit") || message.contains("recursion limit") {
        ("E003", None)
    } else if message.contains("tab") {
        ("E001", Some("indent with spaces; YAML forbids tabs".to_owned()))
    } else if message.contains("did not find expected ',' or") {
        ("E001", Some("inside `{ … }` and `[ … ]`, text with brackets, braces or commas needs quotes: \"$.items[*]\"".to_owned()))
    } else {
        ("E001", None)
    };
    Error { code, message, position, hint }
}

/// The place of the node at `path`, or of its key.
pub fn locate(text: &str, path: &[Segment], what: Part) -> Option<Position> {
    let error = Find { path, what }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|at| Position { line: at.line(), column: at.column() })
}

/// What [`locate`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// the key of the last segment
    Key,
    /// the value
    Value,
}

struct Node {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Node {
    fn inner<E: de::Error>(&self) -> Result<Node, E> {
        if self.depth >= DOCUMENT_DEPTH_MAX {
            return Err(E::custom(format!("the document {DEEP} (more than {DOCUMENT_DEPTH_MAX} levels)")));
        }
        Ok(Node { depth: self.depth + 1 })
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without YAML tags")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom("a number must be finite; quote it if it is text"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key_seed(NewKey { map: &map })? {
            let value = members.next_value_seed(self.inner()?)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
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
            return Err(E::custom(format!("`{key}` {TWICE}")));
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
}
