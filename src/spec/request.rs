use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::Value;

/// A request: exactly one method with its path, and what goes with it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSpec {
    /// GET this path (under `base_url`, starts with `/`) or absolute URL. A template: each value is one path segment.
    pub get: Option<String>,
    /// POST this path or URL.
    pub post: Option<String>,
    /// PUT this path or URL.
    pub put: Option<String>,
    /// PATCH this path or URL.
    pub patch: Option<String>,
    /// DELETE this path or URL.
    pub delete: Option<String>,
    /// Query parameters. A template that yields none leaves its parameter out.
    #[serde(default)]
    pub query: IndexMap<String, Value>,
    /// Headers. A template that yields none leaves its header out.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// What is sent.
    pub body: Option<BodySpec>,
}

/// What is sent: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BodySpec {
    /// `application/json`. Templates anywhere inside; members whose template yields none are left out.
    Json(Value),
    /// `application/x-www-form-urlencoded`.
    Form(IndexMap<String, Value>),
    /// Text as it stands, a template.
    Text(String),
    /// A GraphQL query with its variables.
    Graphql(GraphqlSpec),
}

/// A GraphQL request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphqlSpec {
    /// The document, sent as it stands: values belong into `variables`.
    pub query: String,
    /// The variables. Templates; one that yields none is left out.
    #[serde(default)]
    pub variables: IndexMap<String, Value>,
}

/// One text, or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(OneOrMany)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for OneOrMany {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] })
    }
}
