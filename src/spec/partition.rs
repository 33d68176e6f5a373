use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expression::{PathText, PredicateText, TemplatedValue};
use super::{PaginationSpec, RequestSpec, ResponseSpec};

/// One level of fan-out: the request is sent once for each item. Templates name the item as `parent.<as>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForEachSpec {
    /// The item's name: lowercase letters, digits and `_`.
    #[serde(rename = "as")]
    pub name: String,
    /// Where the items come from.
    pub from: ForEachFromSpec,
}

/// Where the items of a fan-out come from: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ForEachFromSpec {
    /// A list: `{{ input.repos }}`, or written out. An item is text or a number, which is also its key, or a map that has `key`.
    #[schemars(with = "TemplatedValue")]
    Values(Value),
    /// The rows of the table that another sync of this connection fills.
    Rows(RowsSpec),
    /// The API is asked for them.
    List(Box<ListSpec>),
}

/// The rows of the table that another sync fills. An item has the table's columns: `parent.machine.id`. The key of the model is its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowsSpec {
    /// The other sync.
    pub sync: String,
    /// Only rows for which it holds: `{{ record.comments > 0 }}`.
    #[serde(rename = "where")]
    #[schemars(with = "Option<PredicateText>")]
    pub filter: Option<String>,
    /// Only rows that changed since this sync has read their partition, and the lists of items below them.
    #[serde(default)]
    pub changed_only: bool,
}

/// A list that the API is asked for at the start of each scan.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListSpec {
    /// The request of each page.
    pub request: RequestSpec,
    /// Where the items stand in the answer.
    pub response: ResponseSpec,
    /// How the next page is asked for; the provider's `pagination` is the default.
    pub pagination: Option<PaginationSpec>,
    /// A path to what tells one item from another: `$.id`. The state of a partition hangs on it.
    #[schemars(with = "PathText")]
    pub key: String,
}

/// What follows when a partition cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnErrorSpec {
    /// It is left out, told of, and read again in the next run; the run ends `partial`.
    #[default]
    Skip,
    /// The run fails.
    Fail,
}

/// Lists in lists, such as folders in folders: the request is sent again for each record that `into` selects, with what `bind` takes of it
/// as `walk.<name>`. What was asked for once is not asked for again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WalkSpec {
    /// The records that lead further down: `$[?@.type == 'folder']`, or a template over `record`.
    #[schemars(with = "PredicateText")]
    pub into: String,
    /// What the next request needs of such a record, by name: `{ folder_id: $.id }`.
    #[schemars(with = "IndexMap<String, PathText>", extend("minProperties" = 1))]
    pub bind: IndexMap<String, String>,
    /// What the first requests get: a list with an item for each of them, which is a value where `bind` has one name, else a map by name.
    /// Without it one request gets nothing.
    #[schemars(with = "Option<TemplatedValue>")]
    pub start: Option<Value>,
    /// Levels below the first one.
    #[schemars(range(min = 1, max = 256), extend("default" = 32))]
    pub max_depth: Option<u32>,
}

/// One more request for each record, or for each batch of records.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["as", "replace"]]))]
pub struct DetailSpec {
    /// The request; it names the record as `record`, or with `batch` the records as `records`.
    pub request: RequestSpec,
    /// Where the details stand in the answer; without it the whole answer is the one detail. A path that can lead to several gives a list of
    /// them.
    pub response: Option<ResponseSpec>,
    /// The detail becomes this member of the record.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// The detail takes the place of the record.
    #[serde(default)]
    pub replace: bool,
    /// So many records share a request.
    #[schemars(range(min = 2, max = 10_000))]
    pub batch: Option<usize>,
    /// How a detail of a batch finds its record: the same value at this path in both, or at a path of each.
    #[schemars(extend("default" = "$.id"))]
    pub key: Option<DetailKeySpec>,
    /// A record of a batch may have several details: they become a list.
    #[serde(default)]
    pub list: bool,
    /// Requests at once.
    #[schemars(range(min = 1, max = 64), extend("default" = 4))]
    pub concurrency: Option<usize>,
    /// Only for records for which it holds.
    #[schemars(with = "Option<PredicateText>")]
    pub when: Option<String>,
    /// Only for records that changed since they were stored.
    #[serde(default)]
    pub only_changed: bool,
    /// What a 404 means.
    #[serde(default)]
    pub on_404: OnMissingSpec,
}

/// How a detail of a batch finds its record: a path that leads to the same value in both, or a path for each.
#[derive(Debug, Clone)]
pub struct DetailKeySpec {
    /// into the record
    pub record: String,
    /// into the detail
    pub detail: String,
}

/// Paths to the same value in a record and in its detail.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DetailKeyLongSpec {
    /// A path into the record.
    #[schemars(with = "PathText")]
    record: String,
    /// A path into the detail.
    #[schemars(with = "PathText")]
    detail: String,
}

impl<'de> Deserialize<'de> for DetailKeySpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = DetailKeySpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path, or a map of two")
            }

            fn visit_str<E>(self, path: &str) -> Result<DetailKeySpec, E> {
                Ok(DetailKeySpec { record: path.to_owned(), detail: path.to_owned() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<DetailKeySpec, A::Error> {
                let DetailKeyLongSpec { record, detail } =
                    DetailKeyLongSpec::deserialize(de::value::MapAccessDeserializer::new(members))?;
                Ok(DetailKeySpec { record, detail })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for DetailKeySpec {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DetailKeySpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<DetailKeyLongSpec>();
        json_schema!({ "anyOf": [generator.subschema_for::<PathText>(), long] })
    }
}

/// The details of a record: one, or several that are asked for one after the other, each seeing what those before it gave.
#[derive(Debug, Clone)]
pub struct DetailsSpec(pub Vec<DetailSpec>);

impl<'de> Deserialize<'de> for DetailsSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = DetailsSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a detail, or a list of details")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<DetailsSpec, A::Error> {
                let one = DetailSpec::deserialize(de::value::MapAccessDeserializer::new(members))?;
                Ok(DetailsSpec(vec![one]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<DetailsSpec, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(DetailsSpec)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for DetailsSpec {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DetailsSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<DetailSpec>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 8 }] })
    }
}

/// What it means that the request for a detail is answered with 404.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissingSpec {
    /// The run fails.
    #[default]
    Fail,
    /// The record is kept without it.
    Skip,
    /// The record was deleted in the meantime.
    Delete,
}
