use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{AuthSpec, PaginationSpec};

/// # Provider
/// Everything that is true of an API whatever is synced from it: `providers/<name>.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSpec {
    /// The provider's name: lowercase letters, digits, `-` and `_`. It is also the DuckDB schema of its tables.
    pub provider: String,
    /// The API's name for people.
    pub title: Option<String>,
    /// Where the API is documented.
    pub docs: Option<String>,
    /// Where the API is, as a template over `config`: `https://{{ config.region }}.api.example.com/v2`.
    pub base_url: String,
    /// JSON Schema of the settings a connection gives besides its secrets.
    pub config: Option<Value>,
    /// The ways to prove who asks, by name. A connection picks one; a single one is the default.
    pub auth: Option<IndexMap<String, AuthSpec>>,
    /// Headers of every request. Templates; may name `credentials`.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// Query parameters of every request. Templates; may name `credentials`.
    #[serde(default)]
    pub query: IndexMap<String, Value>,
    /// The API's budget: one per connection, shared by all its syncs.
    pub rate_limit: Option<RateLimitSpec>,
    /// What is tried again, and how.
    pub retry: Option<RetrySpec>,
    /// How long to wait.
    pub timeout: Option<TimeoutSpec>,
    /// The default pagination of its syncs.
    pub pagination: Option<PaginationSpec>,
    /// Origins besides that of `base_url` that may get credentials: `https://files.example.com`.
    #[serde(default)]
    pub trusted_origins: Vec<String>,
}

/// The API's budget.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimitSpec {
    /// Each as `<requests> per <duration>`: `100 per 10s`, `25000 per day`. All hold at once.
    #[serde(default)]
    pub quotas: Vec<String>,
    /// Requests in flight at once (default 4).
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<usize>,
}

/// What is tried again, and how. `Retry-After` always wins.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// Attempts in all (default 10).
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// HTTP statuses that are tried again (default 408, 425, 429, 500, 502, 503, 504).
    #[schemars(inner(range(min = 300, max = 599)))]
    pub statuses: Option<Vec<u16>>,
    /// How the waits grow; each is drawn at random below the bound (full jitter).
    pub backoff: Option<BackoffSpec>,
}

/// How waits grow.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackoffSpec {
    /// The bound of the first wait (default `1s`); it doubles each time.
    pub base: Option<String>,
    /// The bound of all waits (default `5m`).
    pub max: Option<String>,
}

/// How long to wait for an answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutSpec {
    /// Until connected (default `10s`).
    pub connect: Option<String>,
    /// Until the whole answer is there (default `120s`).
    pub request: Option<String>,
}
