use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::expression::{EmbeddedSchema, TemplateText, TemplatedValue};
use super::{AllowSpec, ColumnSpec, ErrorRuleSpec, PaginationSpec, RequestSpec, ResponseSpec};

/// # Action
/// What an application asks the API to do: `integrations/<provider>/actions/<name>.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["request", "steps"]]))]
pub struct ActionSpec {
    /// The action's name: lowercase letters, digits, `-` and `_`.
    pub action: String,
    /// One sentence for people.
    pub description: Option<String>,
    /// Where the endpoint is documented.
    pub docs: Option<String>,
    /// What the credentials must be allowed to do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// JSON Schema of what a caller gives.
    #[schemars(with = "Option<EmbeddedSchema>")]
    pub input: Option<Value>,
    /// The request.
    pub request: Option<RequestSpec>,
    /// Several requests, one after the other, instead of `request`.
    #[schemars(length(min = 1, max = 16))]
    pub steps: Option<Vec<StepSpec>>,
    /// Where the records stand in the answer, of several steps in the last one's; without it the whole answer is the one record.
    pub response: Option<ResponseSpec>,
    /// How many attempts a request has that is safe to repeat; an `idempotency_key` makes any request so.
    pub retry: Option<ActionRetrySpec>,
    /// Makes a request that changes something safe to repeat.
    pub idempotency_key: Option<IdempotencyKeySpec>,
    /// What an answer means that is not what was asked for; these rules come before the provider's.
    #[serde(default)]
    pub errors: Vec<ErrorRuleSpec>,
    /// What the caller gets; without it the record as it came.
    pub output: Option<ActionOutputSpec>,
    /// One page a call; the answer then has `next_cursor`, which the next call gives as `cursor`.
    pub pagination: Option<PaginationSpec>,
    /// Whether the record is written into the table of its model as well. It needs `output: { model: … }`.
    #[serde(default)]
    pub save: bool,
    /// The table is asked first, and the API only where the table has nothing.
    pub synced_first: Option<SyncedFirstSpec>,
    /// Warnings that are meant to be so, each with the reason: `{ W080: the API never deletes }`. It holds here and in all below.
    #[serde(default)]
    pub allow: AllowSpec,
}

/// One of several requests of an action.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// The step's name: later ones name its answer as `steps.<name>.body`.
    #[serde(rename = "as")]
    pub name: String,
    /// The step is taken only if it holds: a template over `input` and the `steps` before.
    #[schemars(with = "Option<TemplateText>")]
    pub when: Option<String>,
    /// The request.
    pub request: RequestSpec,
}

/// How many attempts a request has.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRetrySpec {
    /// Attempts in all.
    #[schemars(range(min = 1, max = 100), extend("default" = 3))]
    pub attempts: Option<u32>,
}

/// A key that tells the API that it is the same request once more.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdempotencyKeySpec {
    /// The header that takes it.
    #[schemars(extend("default" = "Idempotency-Key"))]
    pub header: Option<String>,
    /// What it is; without it a random one for each call.
    #[schemars(with = "Option<TemplateText>")]
    pub value: Option<String>,
}

/// What the caller of an action gets: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ActionOutputSpec {
    /// The columns of a model of the same provider.
    Model(String),
    /// These columns.
    #[schemars(extend("minProperties" = 1))]
    Columns(IndexMap<String, ColumnSpec>),
}

/// An answer out of the table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncedFirstSpec {
    /// The model whose table is asked.
    pub model: String,
    /// The columns that must have these values: `{ email: "{{ input.email }}" }`.
    #[serde(rename = "where")]
    #[schemars(with = "IndexMap<String, TemplatedValue>", extend("minProperties" = 1))]
    pub filter: IndexMap<String, Value>,
}
