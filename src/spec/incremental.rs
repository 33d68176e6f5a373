use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expression::{DurationText, PathText, SpanText, TemplateText};
use super::{PaginationSpec, RequestSpec, ResponseSpec};

/// Only what changed since the last run. The request asks with `{{ watermark }}`, or with `{{ window.start }}` and `{{ window.end }}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncrementalSpec {
    /// A path to the field in the record: `$.updated_at`. Only a delta feed (`token`) does without it.
    #[schemars(with = "Option<PathText>")]
    pub field: Option<String>,
    /// What the field is.
    #[serde(rename = "type", default)]
    pub kind: MarkTypeSpec,
    /// How a time is written: `rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, or strftime directives.
    #[schemars(extend("default" = "rfc3339", "examples" = ["rfc3339", "epoch_s", "epoch_ms", "epoch_us", "%Y-%m-%d %H:%M:%S"]))]
    pub format: Option<String>,
    /// The zone of times that the API writes and takes without an offset, by its IANA name: `Europe/Berlin`. The times of the sync's requests
    /// print in it, and days, months and years begin by its clock.
    #[schemars(with = "Option<TemplateText>", extend("default" = "UTC"))]
    pub timezone: Option<String>,
    /// The order the API promises.
    #[serde(default)]
    pub order: OrderSpec,
    /// The watermark of the first run; without it the first run reads everything.
    #[schemars(with = "Option<TemplateText>")]
    pub start: Option<String>,
    /// How far behind the watermark is read again, for late writers: `10m`.
    #[schemars(with = "Option<DurationText>")]
    pub lookback: Option<String>,
    /// The range from the watermark to now is cut into windows; each is read to its end and then remembered.
    pub window: Option<WindowSpec>,
    /// A list that cannot be filtered is read only as far as the watermark. It needs `order: descending`.
    #[serde(default)]
    pub stop_at_watermark: bool,
    /// Records that are older than the watermark are dropped here: the API cannot filter.
    #[serde(default)]
    pub client_filter: bool,
    /// A delta feed: a token that the API gives is the watermark, and the request sends it as `{{ watermark }}`.
    pub token: Option<TokenFeedSpec>,
    /// Changes are told by another list than the records: `request` of the sync reads everything, once, and from then on this one is read,
    /// with `{{ watermark }}` (`{{ window.start }}`) in its request. A watermark that has expired reads everything again.
    pub changes: Option<ChangesSpec>,
    /// How long the API keeps changes; a watermark that is older starts over with everything.
    #[schemars(with = "Option<DurationText>")]
    pub max_age: Option<String>,
}

/// What an incremental field is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderSpec {
    /// Oldest first: the watermark moves with every committed page.
    Ascending,
    /// Newest first: the watermark moves when the scan is complete.
    Descending,
    /// No promise: the watermark moves when the scan is complete.
    #[default]
    None,
}

/// How the range from the watermark to now is cut. Windows never overlap and leave no gap: `{{ window.start }}` is the first moment of one,
/// `{{ window.end }}` the last.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// How long a window is: `1 month`, `7 days`, `6h`. Days, months and years are those of the calendar: such windows end at midnight.
    #[schemars(with = "SpanText")]
    pub size: String,
    /// How finely the API tells times apart: `{{ window.end }}` is this much before the next `{{ window.start }}`. For `type: date` it is a day.
    #[schemars(with = "Option<DurationText>", extend("default" = "1s"))]
    pub granularity: Option<String>,
    /// Nothing nearer to now is read, because it may not be there yet.
    #[schemars(with = "Option<DurationText>")]
    pub lag: Option<String>,
    /// A window that the API does not answer as a whole is halved.
    pub split: Option<SplitSpec>,
    /// Windows that are read at once.
    #[schemars(range(min = 1, max = 16), extend("default" = 1))]
    pub concurrency: Option<usize>,
}

/// When a window is halved.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    /// A template over `response`: `{{ response.body.total >= 10000 }}`.
    #[schemars(with = "TemplateText")]
    pub when: String,
    /// The shortest window; one that is this short and still too much fails the run.
    #[schemars(with = "Option<SpanText>", extend("default" = "1m"))]
    pub min: Option<String>,
}

/// A token that stands for everything up to it. The first run has none, and reads everything.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenFeedSpec {
    /// A path to the token in the answer of the last page: `$.next_sync_token`.
    #[schemars(with = "PathText")]
    pub from: String,
    /// A last page without a token says that nothing is new: the token that was asked with stays. Otherwise it fails the run.
    #[serde(default)]
    pub optional: bool,
    /// The first token is asked for, before everything is read: `from` then holds for the answers to a request with a token.
    pub start: Option<StartTokenSpec>,
    /// How the API says that it does not know a token any more; the sync then starts over with everything.
    pub expired: Option<ExpiredSpec>,
}

/// The request that gives the first token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartTokenSpec {
    /// It is sent before everything is read, so that what changes meanwhile is told behind the token.
    pub request: RequestSpec,
    /// A path to the token in its answer: `$.startPageToken`.
    #[schemars(with = "PathText")]
    pub from: String,
}

/// The list that tells what changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangesSpec {
    /// The request of each page.
    pub request: RequestSpec,
    /// Where the records stand in the answer.
    pub response: ResponseSpec,
    /// How the next page is asked for; the provider's `pagination` is the default.
    pub pagination: Option<PaginationSpec>,
}

/// How an API says that it does not know a token any more.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpiredSpec {
    /// The HTTP status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// A template over `response` that must hold too.
    #[schemars(with = "Option<TemplateText>")]
    pub when: Option<String>,
}
