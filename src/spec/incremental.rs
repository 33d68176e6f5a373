use schemars::JsonSchema;
use serde::Deserialize;

/// Only what changed since the last run. The request asks with `{{ watermark }}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncrementalSpec {
    /// A path to the field in the record: `$.updated_at`.
    pub field: String,
    /// What the field is.
    #[serde(rename = "type", default)]
    pub kind: MarkTypeSpec,
    /// How a time is written: `rfc3339` (default), `epoch_s`, `epoch_ms`, `epoch_us`, or strftime directives.
    pub format: Option<String>,
    /// The order the API promises; `none` when it promises nothing (default).
    #[serde(default)]
    pub order: OrderSpec,
    /// The watermark of the first run, a template; without it the first run reads everything.
    pub start: Option<String>,
    /// Re-read this far behind the watermark, for late writers: `10m`.
    pub lookback: Option<String>,
}

/// What an incremental field is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkTypeSpec {
    /// A moment.
    #[default]
    Timestamp,
    /// A day.
    Date,
    /// A whole number.
    Integer,
    /// Text that sorts.
    Text,
}

/// The order of a list by its incremental field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderSpec {
    /// Oldest first: the watermark moves with every committed page.
    Ascending,
    /// Newest first.
    Descending,
    /// No promise: the watermark moves when the scan is complete.
    #[default]
    None,
}
