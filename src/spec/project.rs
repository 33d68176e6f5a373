use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::expression::DurationText;
use super::{AllowSpec, ScheduleSpec};

/// # Project
/// Which connections are synced into which file: `headwater.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSpec {
    /// The DuckDB file, relative to this one.
    pub database: String,
    /// Folders with provider files, searched before the built-in catalogue.
    #[schemars(extend("default" = ["providers"]))]
    pub providers: Option<Vec<String>>,
    /// Folders with integrations, searched before the built-in catalogue.
    #[schemars(extend("default" = ["integrations"]))]
    pub integrations: Option<Vec<String>>,
    /// The accounts that are synced, by name.
    #[serde(default)]
    pub connections: IndexMap<String, ConnectionSpec>,
    /// A consistent copy of the database for tools that want a file that never blocks.
    pub publish: Option<PublishSpec>,
    /// Who is told what happened.
    #[serde(default)]
    pub notify: Vec<NotifySpec>,
    /// Who may ask `headwater serve` for records and steer its syncs over HTTP.
    pub api: Option<ApiSpec>,
    /// Warnings that are meant to be so, each with the reason: `{ W080: the API never deletes }`. It holds here and in all below.
    #[serde(default)]
    pub allow: AllowSpec,
}

/// Who may ask over HTTP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiSpec {
    /// The keys by name. Without any, nobody is answered.
    #[schemars(extend("minProperties" = 1))]
    pub keys: IndexMap<String, AccessKeySpec>,
}

/// A key, and what may be done with it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessKeySpec {
    /// The key, as `${ENVIRONMENT_VARIABLE}`: at least 24 characters.
    pub key: String,
    /// What may be done with it.
    #[schemars(length(min = 1))]
    pub scopes: Vec<ApiScopeSpec>,
}

/// What may be done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiScopeSpec {
    /// Read the rows of all tables.
    Records,
    /// See how syncs, runs and connections are.
    Syncs,
    /// Run, pause, resume, cancel and reset syncs; prune tables; set inputs, make variants.
    Control,
    /// Call actions.
    Actions,
    /// Read all that the database has, in SQL.
    Query,
}

/// Who is told what happened.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifySpec {
    /// Where the message is sent, as a POST.
    pub url: String,
    /// What messages are signed with, as `${ENVIRONMENT_VARIABLE}`.
    pub secret: Option<String>,
    /// What is told; without it everything.
    #[schemars(length(min = 1), extend("default" = ["changed", "failed", "needs_reconnect"]))]
    pub on: Option<Vec<NotifyEventSpec>>,
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEventSpec {
    /// A run changed rows.
    Changed,
    /// A run failed.
    Failed,
    /// A person must connect again.
    NeedsReconnect,
}

/// One account at one API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// The provider's name.
    pub provider: String,
    /// Which of the provider's ways in, by its name there. Needed where the provider has several.
    pub auth: Option<String>,
    /// The base URL of this account, instead of the provider's. It is no template.
    pub base_url: Option<String>,
    /// The secrets by name, each as `${ENVIRONMENT_VARIABLE}`.
    #[serde(default)]
    pub credentials: IndexMap<String, String>,
    /// The settings the provider's `config` asks for.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// The syncs that run, by name; without it all of the provider's that have not `auto_start: false`.
    pub syncs: Option<IndexMap<String, ConnectionSyncSpec>>,
    /// The actions that are called, by name: who agrees to the connection is asked for their `scopes` too.
    #[serde(default)]
    pub actions: Vec<String>,
    /// Warnings that are meant to be so, each with the reason: `{ W080: the API never deletes }`. It holds here and in all below.
    #[serde(default)]
    pub allow: AllowSpec,
}

/// A sync as this connection wants it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSyncSpec {
    /// The parameters the sync's `input` asks for.
    #[serde(default)]
    pub input: Map<String, Value>,
    /// When it runs by itself, instead of what the sync says.
    pub schedule: Option<ScheduleSpec>,
    /// The same sync several times with different input, by name; each has its own rows and state.
    pub variants: Option<IndexMap<String, VariantSpec>>,
}

/// One variant of a sync.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantSpec {
    /// Over the sync's own `input`, key by key.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input: Map<String, Value>,
    /// When it runs by itself, instead of what the sync and the connection say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,
}

/// A copy of the database beside the live file, put into place whole.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishSpec {
    /// Where the copy goes, relative to this file.
    pub path: String,
    /// `run`: after each run; a duration: during a run too, at most this often.
    #[schemars(with = "Option<DurationText>", extend("default" = "run"))]
    pub every: Option<String>,
}
