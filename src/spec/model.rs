use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AllowSpec;
use super::expression::{EmbeddedSchema, PathText, TemplateText};

/// # Model
/// A table and how a record becomes its row: `integrations/<provider>/models/<Name>.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The model's name, as syncs name it: `Contact`.
    pub model: String,
    /// The table's name: lowercase letters, digits and `_`; lands as `<provider>.<table>`.
    pub table: String,
    /// One sentence for people; becomes the table's comment.
    pub description: Option<String>,
    /// The columns that tell one record from another.
    #[schemars(length(min = 1))]
    pub key: Vec<String>,
    /// The columns, in the order of the table.
    #[schemars(extend("minProperties" = 1))]
    pub columns: IndexMap<String, ColumnSpec>,
    /// Columns that are kept but are not part of "has it changed".
    #[serde(default)]
    pub volatile: Vec<String>,
    /// JSON Schema of the row, an object of the columns that have a value; a record whose row breaks it does not fit.
    #[schemars(with = "Option<EmbeddedSchema>")]
    pub validate: Option<Value>,
    /// What becomes of a record that does not fit.
    #[serde(default)]
    pub on_invalid: OnInvalidSpec,
    /// Whether the whole record is kept as JSON in `_raw`: columns can then change without fetching again.
    #[serde(default)]
    pub raw: bool,
    /// Whether `<table>_history` keeps a row for each version, from `valid_from` to `valid_to`.
    #[serde(default)]
    pub history: bool,
    /// Columns that only the `config` or `input` of a connection tells.
    pub columns_from: Option<ColumnsFromSpec>,
    /// Nested lists as tables of their own.
    #[serde(default)]
    pub children: Vec<ChildSpec>,
    /// Warnings that are meant to be so, each with the reason: `{ W080: the API never deletes }`. It holds here and in all below.
    #[serde(default)]
    pub allow: AllowSpec,
}

/// A column for each item of a list. Templates name the item as `item`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["path", "value"]]))]
pub struct ColumnsFromSpec {
    /// The list: `{{ input.fields }}`.
    #[schemars(with = "TemplateText")]
    pub each: String,
    /// The column's name.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ item }}"))]
    pub name: Option<String>,
    /// A path into the record; each value in it is one member's name: `$.properties['{{ item }}']`.
    #[schemars(with = "Option<TemplateText>", extend("default" = "$['{{ item }}']"))]
    pub path: Option<String>,
    /// A template over the record, instead of `path`: `{{ record[item.of][item.name] }}`.
    #[schemars(with = "Option<TemplateText>")]
    pub value: Option<String>,
    /// The column's type, as under `columns`.
    #[serde(rename = "type")]
    #[schemars(with = "Option<TemplateText>", extend("default" = "varchar"))]
    pub column_type: Option<String>,
}

/// A nested list as a table of its own. Its rows come and go with the row they stand in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChildSpec {
    /// The table's name.
    pub table: String,
    /// One sentence for people; becomes the table's comment.
    pub description: Option<String>,
    /// A path to the items in the record: `$.phones[*]`.
    #[schemars(with = "PathText")]
    pub each: String,
    /// The columns that tell one item from another: those of the child, and key columns of the parent as `parent.<column>`.
    #[schemars(length(min = 1))]
    pub key: Vec<String>,
    /// The columns; paths lead into the item.
    #[schemars(extend("minProperties" = 1))]
    pub columns: IndexMap<String, ColumnSpec>,
    /// Columns that are kept but are not part of "has it changed".
    #[serde(default)]
    pub volatile: Vec<String>,
}

/// What becomes of a record that does not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalidSpec {
    /// It is kept in `headwater.quarantine` with the reason; the run goes on.
    #[default]
    Quarantine,
    /// The run fails.
    Fail,
    /// The value becomes null; a record without its key still goes to quarantine.
    SetNull,
}

/// A column: a path alone (type varchar), or a map that says more.
#[derive(Debug, Clone, Default)]
pub struct ColumnSpec {
    /// a path into the record
    pub path: Option<String>,
    /// a template over `record`
    pub value: Option<String>,
    /// the type, default varchar
    pub column_type: Option<String>,
    /// how a time is written
    pub format: Option<String>,
    /// a record without it does not fit
    pub required: bool,
    /// one sentence for people
    pub description: Option<String>,
}

/// The long form of a column: name exactly one of `path` and `value`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["path", "value"]]))]
struct ColumnLongSpec {
    /// A path into the record: `$.properties.email`.
    #[schemars(with = "Option<PathText>")]
    path: Option<String>,
    /// A template over `record`: `{{ record.first }} {{ record.last }}`.
    #[schemars(with = "Option<TemplateText>")]
    value: Option<String>,
    /// The column's type: `boolean`, `integer`, `bigint`, `hugeint`, `double`, `decimal(p,s)`, `varchar`, `date`, `time`, `timestamp`,
    /// `timestamptz`, `uuid`, `json`, `blob`, or a list of one: `varchar[]`.
    #[serde(rename = "type")]
    #[schemars(extend("default" = "varchar", "examples" = ["varchar", "bigint", "timestamptz", "boolean", "decimal(18,2)", "date", "double", "integer", "json", "uuid", "varchar[]", "hugeint", "time", "timestamp", "blob"]))]
    column_type: Option<String>,
    /// How a time is written: `rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, or strftime directives.
    #[schemars(extend("default" = "rfc3339", "examples" = ["rfc3339", "epoch_s", "epoch_ms", "epoch_us", "%Y-%m-%d %H:%M:%S"]))]
    format: Option<String>,
    /// A record without it does not fit. Key columns always are required.
    #[serde(default)]
    required: bool,
    /// One sentence for people; becomes the column's comment.
    description: Option<String>,
}

impl<'de> Deserialize<'de> for ColumnSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ColumnSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path or a map")
            }

            fn visit_str<E>(self, path: &str) -> Result<ColumnSpec, E> {
                Ok(ColumnSpec { path: Some(path.to_owned()), ..ColumnSpec::default() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<ColumnSpec, A::Error> {
                let ColumnLongSpec { path, value, column_type, format, required, description } =
                    ColumnLongSpec::deserialize(de::value::MapAccessDeserializer::new(members))?;
                Ok(ColumnSpec { path, value, column_type, format, required, description })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for ColumnSpec {
    fn schema_name() -> Cow<'static, str> {
        "ColumnSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<ColumnLongSpec>();
        json_schema!({
            "description": "A path alone (type varchar), or a map that says more.",
            "anyOf": [generator.subschema_for::<PathText>(), long],
        })
    }
}
