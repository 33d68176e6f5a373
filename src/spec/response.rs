use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::OneOrMany;
use super::expression::{PathText, PredicateText};

/// Where the records stand in an answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseSpec {
    /// How the answer is written. Compression (gzip, brotli, zstd, zip) is found without being told.
    #[serde(default)]
    pub format: FormatSpec,
    /// A JSONPath to the records, or several whose results are joined: `$.results[*]`. Of `ndjson`, `csv` and `text` each line, row or text
    /// is a record without it.
    pub records: Option<OneOrMany<PathText>>,
    /// The API leaves the list out where there is nothing; otherwise an answer without it is an error.
    #[serde(default)]
    pub optional: bool,
    /// Keeps only the records for which it holds: `$[?@.type == 'person']`, or a template over `record`.
    #[serde(rename = "where")]
    #[schemars(with = "Option<PredicateText>")]
    pub filter: Option<String>,
}

/// How an answer is written: a name alone, or a map with exactly one key that says more.
#[derive(Debug, Clone, Default)]
pub enum FormatSpec {
    /// one JSON value
    #[default]
    Json,
    /// one JSON value a line
    Ndjson,
    /// rows of separated values
    Csv(CsvSpec),
    /// elements, read as JSON
    Xml(XmlSpec),
    /// the whole text, as one record `{ "text": … }`
    Text,
}

/// Rows of separated values (RFC 4180). Each row is a record whose members are named by the columns.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvSpec {
    /// What stands between two values: one character.
    #[schemars(length(min = 1, max = 1), extend("default" = ","))]
    pub delimiter: Option<String>,
    /// The names of the columns, where the first row does not say them.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Rows to pass over before the first one that counts.
    #[serde(default)]
    pub skip: u32,
    /// The text encoding, as the Encoding Standard names it.
    #[schemars(extend("default" = "utf-8"))]
    pub encoding: Option<String>,
}

/// Elements, read as JSON: an element is a map of its children, its attributes begin with `@`, its own text is `#text`; one with text alone is that text.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XmlSpec {
    /// The names of elements that are lists even where there is one of them alone.
    #[serde(default)]
    pub lists: Vec<String>,
}

/// A name alone is short for a map without words: `csv` for `{ csv: {} }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum FormatLongSpec {
    /// One JSON value.
    Json {},
    /// One JSON value a line.
    Ndjson {},
    /// Rows of separated values.
    Csv(CsvSpec),
    /// Elements, read as JSON.
    Xml(XmlSpec),
    /// The whole text, as one record: `$.text`.
    Text {},
}

const FORMATS: [(&str, &str); 5] = [
    ("json", "One JSON value."),
    ("ndjson", "One JSON value a line."),
    ("csv", "Rows of separated values, comma and quotes, the first row says the names."),
    ("xml", "Elements, read as JSON."),
    ("text", "The whole text, as one record: `$.text`."),
];

impl<'de> Deserialize<'de> for FormatSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FormatSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a format, or a map with exactly one key")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FormatSpec, E> {
                Ok(match name {
                    "json" => FormatSpec::Json,
                    "ndjson" => FormatSpec::Ndjson,
                    "csv" => FormatSpec::Csv(CsvSpec::default()),
                    "xml" => FormatSpec::Xml(XmlSpec::default()),
                    "text" => FormatSpec::Text,
                    other => return Err(E::custom(format_args!("there is no format `{other}`"))),
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<FormatSpec, A::Error> {
                let long = FormatLongSpec::deserialize(de::value::MapAccessDeserializer::new(members))?;
                Ok(match long {
                    FormatLongSpec::Json {} => FormatSpec::Json,
                    FormatLongSpec::Ndjson {} => FormatSpec::Ndjson,
                    FormatLongSpec::Csv(csv) => FormatSpec::Csv(csv),
                    FormatLongSpec::Xml(xml) => FormatSpec::Xml(xml),
                    FormatLongSpec::Text {} => FormatSpec::Text,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for FormatSpec {
    fn schema_name() -> Cow<'static, str> {
        "FormatSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (names, meanings): (Vec<&str>, Vec<&str>) = FORMATS.into_iter().unzip();
        let long = generator.subschema_for::<FormatLongSpec>();
        json_schema!({
            "description": "How an answer is written: a name alone, or a map with exactly one key that says more.",
            "anyOf": [{ "type": "string", "enum": names, "markdownEnumDescriptions": meanings }, long],
            "default": "json",
        })
    }
}
