use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{DeletesSpec, IncrementalSpec, OneOrMany, PaginationSpec, RequestSpec};

/// # Sync
/// What is fetched from one endpoint and how it is kept: `integrations/<provider>/syncs/<name>.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncSpec {
    /// The sync's name: lowercase letters, digits, `-` and `_`.
    pub sync: String,
    /// One sentence for people.
    pub description: Option<String>,
    /// Where the endpoint is documented.
    pub docs: Option<String>,
    /// What the credentials must be allowed to do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// JSON Schema of the parameters a connection gives for this sync.
    pub input: Option<Value>,
    /// The model the records become: `models/<Name>.yaml` of the same provider.
    pub model: String,
    /// The request of each page.
    pub request: RequestSpec,
    /// Where the records stand in the answer.
    pub response: ResponseSpec,
    /// How the next page is asked for; the provider's `pagination` is the default.
    pub pagination: Option<PaginationSpec>,
    /// Only what changed since the last run.
    pub incremental: Option<IncrementalSpec>,
    /// What tells that a record is gone; without it nothing is ever deleted.
    pub deletes: Option<DeletesSpec>,
}

/// Where the records stand in an answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseSpec {
    /// A JSONPath to the records, or several whose results are joined: `$.results[*]`.
    pub records: OneOrMany,
    /// The API leaves the list out where there is nothing (default false: an answer without it is an error).
    #[serde(default)]
    pub optional: bool,
    /// Keeps only the records it selects: a filter path such as `$[?@.type == 'person']`, or a template over `record`.
    #[serde(rename = "where")]
    pub filter: Option<String>,
}
