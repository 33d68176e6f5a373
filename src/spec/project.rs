use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// # Project
/// Which connections are synced into which file: `headwater.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSpec {
    /// The DuckDB file, relative to this one.
    pub database: String,
    /// Folders with provider files, searched before the built-in catalogue (default `providers`).
    pub providers: Option<Vec<String>>,
    /// Folders with integrations, searched before the built-in catalogue (default `integrations`).
    pub integrations: Option<Vec<String>>,
    /// The accounts that are synced, by name.
    #[serde(default)]
    pub connections: IndexMap<String, ConnectionSpec>,
    /// A consistent copy of the database for tools that want a file that never blocks.
    pub publish: Option<PublishSpec>,
}

/// One account at one API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// The provider's name.
    pub provider: String,
    /// Which of the provider's ways in; not needed where there is one.
    pub auth: Option<String>,
    /// Instead of the provider's base URL.
    pub base_url: Option<String>,
    /// The secrets by name, each as `${ENVIRONMENT_VARIABLE}`.
    #[serde(default)]
    pub credentials: IndexMap<String, String>,
    /// The settings the provider's `config` asks for.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// The syncs that run; without it all of the provider's.
    pub syncs: Option<IndexMap<String, ConnectionSyncSpec>>,
}

/// A sync as this connection wants it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSyncSpec {
    /// The parameters the sync's `input` asks for.
    #[serde(default)]
    pub input: Map<String, Value>,
    /// The same sync several times with different input, by name; each has its own rows and state.
    pub variants: Option<IndexMap<String, VariantSpec>>,
}

/// One variant of a sync.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantSpec {
    /// Over the sync's own `input`, key by key.
    #[serde(default)]
    pub input: Map<String, Value>,
}

/// A copy of the database beside the live file, put into place whole.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishSpec {
    /// Where the copy goes, relative to this file.
    pub path: String,
    /// `run` (default: after each run), or a duration: during a run too, at most this often.
    pub every: Option<String>,
}
