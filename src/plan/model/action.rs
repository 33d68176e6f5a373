use std::sync::Arc;

use crate::plan::{
    ColumnPlan, ConnectionPlan, ErrorRule, ModelPlan, PagePlan, RequestPlan, ResponsePlan, Template, ValuePlan,
};

/// One action of one connection, ready to be called.
#[derive(Debug, Clone)]
pub struct ActionPlan {
    /// the action's name
    pub name: String,
    /// one sentence for people
    pub description: Option<String>,
    /// where it goes
    pub connection: Arc<ConnectionPlan>,
    /// JSON Schema of what a caller gives
    pub input: Option<serde_json::Value>,
    /// the requests, one after the other, at least one
    pub steps: Vec<StepPlan>,
    /// where the records stand in the last answer; none = the whole answer is the one record
    pub response: Option<ResponsePlan>,
    /// attempts of a request that is safe to repeat
    pub attempts: u32,
    /// what tells the API that it is the same request once more
    pub idempotency_key: Option<IdempotencyKey>,
    /// what an answer means that is no success; the provider's rules come behind these
    pub errors: Vec<ErrorRule>,
    /// what the caller gets
    pub output: ActionOutput,
    /// one page a call
    pub pagination: Option<PagePlan>,
    /// the model in whose table the record is written as well
    pub save: Option<Arc<ModelPlan>>,
    /// the table that is asked before the API
    pub synced_first: Option<SyncedFirst>,
}

/// What tells the API that it is the same request once more.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// the header that takes it
    pub header: String,
    /// what it is; none = a random one for each call
    pub value: Option<Template>,
}

/// An answer out of the table.
#[derive(Debug, Clone)]
pub struct SyncedFirst {
    /// whose table
    pub model: Arc<ModelPlan>,
    /// columns and the values they must have
    pub filter: Vec<(String, ValuePlan)>,
}

/// One request of an action.
#[derive(Debug, Clone)]
pub struct StepPlan {
    /// later steps name its answer as `steps.<name>.body`; empty for the only one
    pub name: String,
    /// only if it holds
    pub when: Option<Template>,
    /// the request
    pub request: RequestPlan,
}

/// What the caller of an action gets.
#[derive(Debug, Clone)]
pub enum ActionOutput {
    /// the record as it came
    Record,
    /// the columns of a model
    Model(Arc<ModelPlan>),
    /// these columns
    Columns(Vec<ColumnPlan>),
}
