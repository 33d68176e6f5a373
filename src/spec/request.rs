use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::expression::{TemplateText, TemplatedValue};

/// A request: exactly one method with its path, and what goes with it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["get", "post", "put", "patch", "delete"]]))]
pub struct RequestSpec {
    /// GET this path (under `base_url`, starts with `/`) or absolute URL. What a template puts into it is one segment of the path.
    #[schemars(with = "Option<TemplateText>")]
    pub get: Option<String>,
    /// POST this path or URL.
    #[schemars(with = "Option<TemplateText>")]
    pub post: Option<String>,
    /// PUT this path or URL.
    #[schemars(with = "Option<TemplateText>")]
    pub put: Option<String>,
    /// PATCH this path or URL.
    #[schemars(with = "Option<TemplateText>")]
    pub patch: Option<String>,
    /// DELETE this path or URL.
    #[schemars(with = "Option<TemplateText>")]
    pub delete: Option<String>,
    /// Query parameters. A template that yields none leaves its parameter out; a list repeats it.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplatedValue>")]
    pub query: IndexMap<String, Value>,
    /// Headers. A template that yields none leaves its header out.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplateText>")]
    pub headers: IndexMap<String, String>,
    /// What is sent.
    pub body: Option<BodySpec>,
}

/// What is sent: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BodySpec {
    /// `application/json`. Templates anywhere inside; members whose template yields none are left out.
    #[schemars(with = "TemplatedValue")]
    Json(Value),
    /// `application/x-www-form-urlencoded`. A list repeats its field.
    #[schemars(with = "IndexMap<String, TemplatedValue>")]
    Form(IndexMap<String, Value>),
    /// Text as it stands.
    #[schemars(with = "TemplateText")]
    Text(String),
    /// A GraphQL query with its variables.
    Graphql(GraphqlSpec),
    /// `multipart/form-data` (RFC 7578): the fields by name, each as text.
    #[schemars(with = "IndexMap<String, TemplateText>")]
    Multipart(IndexMap<String, String>),
}

/// A GraphQL request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphqlSpec {
    /// The document, sent as it stands: values belong into `variables`.
    pub query: String,
    /// The variables. One whose template yields none is left out.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplatedValue>")]
    pub variables: IndexMap<String, Value>,
}
