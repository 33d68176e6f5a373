use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use url::Url;

use crate::plan::{ActionPlan, Budget, Method, SyncPlan};

/// A test of a sync or an action, ready to run.
#[derive(Debug, Clone)]
pub struct TestPlan {
    /// the provider's name
    pub provider: String,
    /// the test's name
    pub name: String,
    /// what it shows
    pub description: Option<String>,
    /// the file it stands in, relative to the project
    pub file: String,
    /// from the built-in catalogue
    pub builtin: bool,
    /// the files whose words it runs, its own too
    pub uses: BTreeSet<String>,
    /// made-up secrets by name: all that the connection could be asked for
    pub credentials: BTreeMap<String, String>,
    /// the made-up token by the names of credentials; empty where the way in makes none
    pub token: BTreeMap<String, String>,
    /// whether requests must come in the order in which they are written
    pub ordered: bool,
    /// at least one
    pub runs: Vec<TestRunPlan>,
}

impl TestPlan {
    /// `provider/test`, which names it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.provider, self.name)
    }
}

/// One run of a test.
#[derive(Debug, Clone)]
pub struct TestRunPlan {
    /// what the clock says at its start; none = a day after the run before
    pub at: Option<DateTime<Utc>>,
    /// what it does
    pub work: TestWork,
    /// where it stops
    pub budget: Budget,
    /// the requests of every run, then those of this one
    pub exchange: Vec<Arc<ExchangePlan>>,
    /// what must be true after it
    pub expect: ExpectPlan,
}

/// What a run of a test does.
#[derive(Debug, Clone)]
pub enum TestWork {
    /// runs a sync, the last, behind those over whose rows it goes
    Run(Vec<Arc<SyncPlan>>),
    /// calls an action
    Call {
        /// which
        action: Arc<ActionPlan>,
        /// what a caller gives
        input: Value,
        /// the page
        cursor: Option<Value>,
    },
}

/// A request that is expected, and its answer. What is none may be anything.
#[derive(Debug, Clone)]
pub struct ExchangePlan {
    /// the method
    pub method: Method,
    /// where to, without query
    pub url: Url,
    /// all parameters, each with its values in order
    pub query: Option<Vec<(String, Vec<String>)>>,
    /// headers among others
    pub headers: Vec<(String, String)>,
    /// the body
    pub body: Option<Value>,
    /// what is answered
    pub answer: AnswerPlan,
}

/// An answer that is given.
#[derive(Debug, Clone)]
pub struct AnswerPlan {
    /// HTTP status
    pub status: u16,
    /// headers
    pub headers: Vec<(String, String)>,
    /// the body
    pub body: GivenBody,
}

/// The body of an answer that is given.
#[derive(Debug, Clone)]
pub enum GivenBody {
    /// none
    Empty,
    /// JSON
    Json(Value),
    /// text
    Text(String),
    /// what a file beside the test holds, by its path from there
    File(String),
}

/// Rows by table, as far as their columns are written.
pub type ExpectedRows = IndexMap<String, Vec<Map<String, Value>>>;

/// What an action must answer. What is none may be anything.
#[derive(Debug, Clone)]
pub struct ExpectedOutput {
    /// the records in their order, as far as their columns are written
    pub records: Option<Vec<Value>>,
    /// whether the table has told them, and not the API
    pub of_table: Option<bool>,
    /// what the next call gives as cursor; null behind the last page
    pub next_cursor: Option<Value>,
}

/// What must be true after a run. What is none may be anything.
#[derive(Debug, Clone)]
pub struct ExpectPlan {
    /// the living rows, in the order of the key
    pub rows: Option<ExpectedRows>,
    /// the rows that the run changed, in the order of the changes
    pub changes: Option<ExpectedRows>,
    /// how many records were what, by the names of the report
    pub counts: Vec<(&'static str, u64)>,
    /// the watermark, as text or number
    pub watermark: Option<Value>,
    /// partitions and pages that were left out
    pub skipped: Option<u64>,
    /// what an action answers
    pub output: Option<ExpectedOutput>,
    /// the stable name of the error it ends with, or a part of its message
    pub error: Option<String>,
}
