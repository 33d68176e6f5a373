use schemars::JsonSchema;
use serde::Deserialize;

/// What tells that a record is gone: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DeletesSpec {
    /// A row that a proven complete scan did not return is deleted. Nothing is deleted after a partial, failed or interrupted scan.
    Absence(AbsenceSpec),
    /// The record says so itself.
    Flag(FlagSpec),
}

/// Deletes what a complete scan did not return.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbsenceSpec {
    /// What keeps a wrong answer from emptying a table.
    pub guard: Option<GuardSpec>,
}

/// A scan that would delete more than this stops before it and fails the run; `run --accept-deletes` lets it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardSpec {
    /// Of the live rows (default 0.3).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_fraction: Option<f64>,
    /// Tables with fewer live rows are not guarded by the fraction (default 100).
    pub min_rows: Option<u64>,
    /// A scan that returned no record at all may delete everything (default false).
    #[serde(default)]
    pub allow_empty: bool,
}

/// Records that say themselves that they are deleted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagSpec {
    /// A filter path such as `$[?@.archived == true]`, or a template over `record`.
    pub when: String,
    /// A path to the time of the deletion: `$.archived_at`.
    pub at: Option<String>,
}
