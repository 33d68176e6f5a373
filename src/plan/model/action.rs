use std::sync::Arc;

use crate::plan::{
    ColumnPlan, ConnectionPlan, ErrorRule, ModelPlan, PagePlan, RequestPlan, ResponsePlan, SyncId, SyncPlan, Template,
    ValuePlan,
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
    /// the syncs of the connection that fill the model which is saved, or else the one that is asked first
    pub fillers: Vec<SyncId>,
    /// the column of the saved model that says which of two records is the newer one
    pub age_column: Option<usize>,
}

impl ActionPlan {
    /// Takes the models as the syncs of the connection have them, which know of more columns than the words of a model do, and notes which
    /// syncs these are.
    pub fn meet(&mut self, syncs: &[Arc<SyncPlan>]) {
        let own: Vec<_> = syncs.iter().filter(|sync| sync.id.connection == self.connection.name).collect();
        let known = |model: &Arc<ModelPlan>| {
            let mut same = own.iter().flat_map(|sync| sync.models()).filter(|known| known.name == model.name);
            Arc::clone(same.next().unwrap_or(model))
        };
        if let ActionOutput::Model(model) = &mut self.output {
            *model = known(model);
        }
        self.save = self.save.as_ref().map(known);
        if let Some(first) = &mut self.synced_first {
            first.model = known(&first.model);
        }
        let Some(model) = self.save.as_ref().or(self.synced_first.as_ref().map(|first| &first.model)) else { return };
        let fill = |sync: &&&Arc<SyncPlan>| sync.models().any(|known| known.name == model.name);
        self.fillers = own.iter().filter(fill).map(|sync| sync.id.clone()).collect();
        self.age_column = own.iter().find(fill).and_then(|sync| sync.age_column(model));
    }
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
