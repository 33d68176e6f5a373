//! YAML that others wrote for other programs: keys of any kind are texts, and what JSON cannot hold is a text too.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_json::{Map, Value};

use super::yaml::reader;

/// Bytes of a document.
pub const FOREIGN_BYTES_MAX: usize = 32 << 20;
/// Nested maps and lists in it.
const DEPTH_MAX: usize = 128;
/// Nodes of it, aliases counted as often as they stand.
const NODES_MAX: usize = 8_000_000;

/// Reads a document as a JSON value.
///
/// # Errors
/// What the parser does not understand, in its words; or too much of anything.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.len() > FOREIGN_BYTES_MAX {
        return Err(format!("it has more than {} MiB", FOREIGN_BYTES_MAX >> 20));
    }
    if text.trim_start().starts_with('{') {
        match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            // what begins so can be YAML too
            Err(error) if text.contains("\": ") || text.contains("\":") => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    let left = Cell::new(NODES_MAX);
    Node { depth: 0, left: &left }.deserialize(reader(text)).map_err(|error| error.to_string())
}

#[derive(Clone, Copy)]
struct Node<'l> {
    depth: usize,
    left: &'l Cell<usize>,
}

impl Node<'_> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("it has too many values"))?;
        self.left.set(left);
        if self.depth >= DEPTH_MAX {
            return Err(E::custom("maps and lists are nested too deeply"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
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

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        // a value with a tag is the value
        let (_, variant) = data.variant_seed(Key)?;
        variant.newtype_variant_seed(self.inner()?)
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
        while let Some(key) = members.next_key_seed(Key)? {
            let value = members.next_value_seed(self.inner()?)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A key, as it is written.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn what_others_write_is_read() {
        let text = "openapi: 3.0.0\nresponses:\n  200: { x: .nan }\n  default: !custom a\nday: 2024-01-01\ntrue: 1\n";
        let read = parse(text).expect("YAML");
        assert_eq!(read["responses"]["200"]["x"], json!("NaN"));
        assert_eq!(
            (&read["day"], &read["true"], &read["responses"]["default"]),
            (&json!("2024-01-01"), &json!(1), &json!("a"))
        );
        assert_eq!(parse(" {\"a\": [1]}").expect("JSON"), json!({ "a": [1] }));
        assert!(parse("{\"a\": [1}").is_err());
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&format!("{}1{}", "[".repeat(500), "]".repeat(500))).is_err());
    }
}
