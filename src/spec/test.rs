use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// # Test
/// What a sync or an action must do with these answers of the API: `integrations/<provider>/tests/<name>.yaml`. Nothing is sent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["sync", "action"]]))]
pub struct TestSpec {
    /// The test's name.
    pub test: String,
    /// What it shows.
    pub description: Option<String>,
    /// The sync that runs.
    pub sync: Option<String>,
    /// The action that is called.
    pub action: Option<String>,
    /// The connection it runs for.
    #[serde(default)]
    pub connection: TestConnectionSpec,
    /// The requests that are expected in every run, before those of the run itself, with the answers that are given.
    #[serde(default)]
    pub exchange: Vec<ExchangeSpec>,
    /// Whether the requests of a run must come in the order of `exchange`.
    #[serde(default)]
    pub order: ExchangeOrderSpec,
    /// The runs, one after the other.
    #[schemars(length(min = 1))]
    pub runs: Vec<TestRunSpec>,
}

/// The connection a test runs for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestConnectionSpec {
    /// Which of the provider's ways in, by its name there. Needed where the provider has several.
    pub auth: Option<String>,
    /// The settings the provider's `config` asks for, and what the API would tell when an account is connected. What it would tell and
    /// is not written is `test-<name>`, as secrets are.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// The parameters the `input` of the sync or action asks for.
    #[serde(default)]
    pub input: Map<String, Value>,
}

/// Whether requests must come in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeOrderSpec {
    /// In the order they are written, each once.
    #[default]
    Strict,
    /// In any order, each once.
    Any,
}

/// A request that is expected, and its answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSpec {
    /// The request.
    pub request: ExpectedRequestSpec,
    /// The answer.
    pub response: GivenResponseSpec,
}

/// A request as it is expected: exactly one method with its path. What is not named may be anything.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["get", "post", "put", "patch", "delete"]]))]
pub struct ExpectedRequestSpec {
    /// GET this path.
    pub get: Option<String>,
    /// POST this path.
    pub post: Option<String>,
    /// PUT this path.
    pub put: Option<String>,
    /// PATCH this path.
    pub patch: Option<String>,
    /// DELETE this path.
    pub delete: Option<String>,
    /// All query parameters that must be there, and no others; a list is a parameter that comes several times. Those that prove who asks
    /// need not be written.
    pub query: Option<IndexMap<String, Value>>,
    /// Headers that must be there among others.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// The body, as JSON or text.
    pub body: Option<Value>,
}

/// An answer: at most one of `body`, `text` and `file`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["body", "text", "file"]]))]
pub struct GivenResponseSpec {
    /// The HTTP status.
    #[schemars(range(min = 100, max = 599), extend("default" = 200))]
    pub status: Option<u16>,
    /// Its headers.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// A JSON body.
    pub body: Option<Value>,
    /// A body of text.
    pub text: Option<String>,
    /// A file beside the test that holds the body, packed or not.
    pub file: Option<String>,
}

/// One run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRunSpec {
    /// What the clock says at its start (RFC 3339). Without it the first run is at the beginning of 2030, each other one a day after the
    /// one before.
    pub at: Option<String>,
    /// Another sync of the provider, which runs in place of what the test is about.
    pub sync: Option<String>,
    /// Parameters of this run in place of those of the connection, name by name.
    #[serde(default)]
    pub input: Map<String, Value>,
    /// The run stops after so many requests of the sync, between two pages, as with `headwater run --max-requests`: the next one goes on
    /// there.
    #[schemars(range(min = 1))]
    pub max_requests: Option<u64>,
    /// The same for so many records.
    #[schemars(range(min = 1))]
    pub max_records: Option<u64>,
    /// The page that an action is called for: what the call before gave as `next_cursor`.
    pub cursor: Option<Value>,
    /// The requests that are expected in this run alone.
    #[serde(default)]
    pub exchange: Vec<ExchangeSpec>,
    /// What must be true after it.
    #[serde(default)]
    pub expect: ExpectSpec,
}

/// What must be true after a run. What is not named may be anything.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectSpec {
    /// The live rows by table: those columns that are written, in the order of the key.
    pub rows: Option<IndexMap<String, Vec<Map<String, Value>>>>,
    /// The rows of this run's changes, by table; `_last_action` says which.
    pub changes: Option<IndexMap<String, Vec<Map<String, Value>>>>,
    /// How many records were what.
    pub counts: Option<CountsSpec>,
    /// The watermark.
    pub watermark: Option<Value>,
    /// How many partitions of `for_each` and pages the run leaves out, because they fail or a rule of `errors` says so. Without this word
    /// a run must leave out none.
    pub skipped: Option<u64>,
    /// What an action answers.
    pub output: Option<ExpectedOutputSpec>,
    /// The error the run must end with, by its stable name or a part of its message. Without this word a run must not fail.
    pub error: Option<String>,
}

/// What an action answers. What is not named may be anything.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedOutputSpec {
    /// The records: those columns that are written, in their order.
    pub records: Option<Vec<Value>>,
    /// Who has told them.
    pub source: Option<ExpectedSourceSpec>,
    /// What the next call gives as `cursor`; null behind the last page.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Value")]
    pub next_cursor: Option<Value>,
}

/// A value that is written, though it be null.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Who has told what an action answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedSourceSpec {
    /// The API.
    Api,
    /// The table, as far as it was synced.
    Table,
}

/// How many records were what.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountsSpec {
    /// New rows.
    pub added: Option<u64>,
    /// Changed rows.
    pub updated: Option<u64>,
    /// Rows that are gone.
    pub deleted: Option<u64>,
    /// Rows that are as they were.
    pub unchanged: Option<u64>,
    /// Records that `where` turned away.
    pub filtered: Option<u64>,
    /// Records that did not fit.
    pub quarantined: Option<u64>,
}
