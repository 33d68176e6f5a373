use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expression::{DurationText, PathText, PredicateText};
use super::{PaginationSpec, RequestSpec, ResponseSpec};

/// What tells that a record is gone: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DeletesSpec {
    /// A row that a proven complete scan did not return is deleted. Nothing is deleted after a partial, failed or interrupted scan.
    Absence(AbsenceSpec),
    /// The record says so itself.
    Flag(FlagSpec),
    /// An endpoint lists what was deleted.
    Feed(FeedSpec),
    /// A cheap list of all ids is read now and then; a row that is not in it is deleted.
    Sweep(SweepSpec),
    /// Only events tell it (`on_webhook`).
    Webhook {},
}

/// A row that a complete scan did not return is deleted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbsenceSpec {
    /// Among which rows a scan finds out what is gone.
    #[serde(default)]
    pub scope: ScopeSpec,
    /// What becomes of the rows of a partition that is gone.
    #[serde(default)]
    pub gone_partitions: GonePartitionsSpec,
    /// What keeps a wrong answer from emptying a table.
    pub guard: Option<GuardSpec>,
}

/// Among which rows a scan finds out what is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeSpec {
    /// All rows, once everything was read.
    #[default]
    All,
    /// The rows whose incremental field lies in the window, once the window was read.
    Window,
    /// The rows of the partition, once the partition was read.
    Partition,
}

/// What becomes of the rows of a partition of `for_each` or `walk` that is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GonePartitionsSpec {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted, once the list of partitions was read to its end.
    Delete,
}

impl GonePartitionsSpec {
    /// Whether they are deleted.
    pub fn deletes(self) -> bool {
        self == Self::Delete
    }
}

/// A scan that would delete more than this stops before it and fails the run; `run --accept-deletes` lets it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardSpec {
    /// The greatest part of the live rows.
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.3))]
    pub max_fraction: Option<f64>,
    /// Tables with fewer live rows are not guarded by the fraction.
    #[schemars(extend("default" = 100))]
    pub min_rows: Option<u64>,
    /// A scan that returned no record at all may delete everything.
    #[serde(default)]
    pub allow_empty: bool,
}

/// Records that say themselves that they are deleted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagSpec {
    /// The condition: `$[?@.archived == true]`.
    #[schemars(with = "PredicateText")]
    pub when: String,
    /// A path to the time of the deletion: `$.archived_at`.
    #[schemars(with = "Option<PathText>")]
    pub at: Option<String>,
    /// What becomes of the rows of a partition that is gone.
    #[serde(default)]
    pub gone_partitions: GonePartitionsSpec,
    /// What keeps a wrong answer from emptying a table where the sync starts over and finds out what is gone by reading everything.
    pub guard: Option<GuardSpec>,
}

/// An endpoint that lists what was deleted. It has a watermark of its own: `{{ watermark }}` in its request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedSpec {
    /// The request of each page.
    pub request: RequestSpec,
    /// Where the entries stand in the answer.
    pub response: ResponseSpec,
    /// How the next page is asked for; the provider's `pagination` is the default.
    pub pagination: Option<PaginationSpec>,
    /// Which row an entry means, by the key columns of the model: `{ id: $.id }`.
    pub key: RowKeySpec,
    /// A path to the time of the deletion in the entry; it is the feed's watermark.
    #[schemars(with = "Option<PathText>")]
    pub field: Option<String>,
    /// How that time is written: `rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, or strftime directives.
    #[schemars(extend("default" = "rfc3339"))]
    pub format: Option<String>,
    /// What becomes of the rows of a partition that is gone.
    #[serde(default)]
    pub gone_partitions: GonePartitionsSpec,
    /// What keeps a wrong answer from emptying a table where the sync starts over and finds out what is gone by reading everything.
    pub guard: Option<GuardSpec>,
}

/// A list of all ids, read now and then. A row that is not in it is deleted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepSpec {
    /// The request of each page.
    pub request: RequestSpec,
    /// Where the entries stand in the answer.
    pub response: ResponseSpec,
    /// How the next page is asked for; the provider's `pagination` is the default.
    pub pagination: Option<PaginationSpec>,
    /// Which row an entry means, by the key columns of the model: `{ id: $.id }`.
    pub key: RowKeySpec,
    /// How often it is read at most.
    #[schemars(with = "Option<DurationText>", extend("default" = "1d"))]
    pub every: Option<String>,
    /// What becomes of the rows of a partition that is gone.
    #[serde(default)]
    pub gone_partitions: GonePartitionsSpec,
    /// What keeps a wrong answer from emptying a table.
    pub guard: Option<GuardSpec>,
}

/// Which row an entry means, by the key columns of the model: `{ id: $.id }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "IndexMap<String, PathText>", extend("minProperties" = 1))]
pub struct RowKeySpec(pub IndexMap<String, String>);
