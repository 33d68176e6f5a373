//! What a sync does with an event: its record becomes a row, or the row is marked as deleted.
//!
//! Runs of the same sync write the same table through the same thread. Where the model has the column of `incremental.field`, whichever of
//! a list and an event is newer wins (`store::Newest`). Where it has none, and for deletions, an event waits for the end of a run that began
//! before it came ([`waits_for_runs`]): what that has read may be older. A run that begins later reads what the event tells, or newer.

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::Serde;

use super::answer::{Reader, Rows, Share, says_error};
use super::commit::changed_column;
use super::fetch::{Fetched, Fetcher, Noted};
use super::host::{Session, run_id};
use super::lane::unexplained;
use super::render::Variables;
use super::{Error, Observer};
use crate::plan::{
    ListPlan, ModelPlan, OnWebhook, PagePlan, Path, RequestPlan, ResponsePlan, SyncPlan, Template, WebhookAction,
};
use crate::record::{Batch, KeyReader, Mapper, parse, select};
use crate::remote::Draft;
use crate::scan::Mark;
use crate::store::{Filled, Gone, Group, InboxEvent, Newest};

/// An event on its way into a table.
#[derive(Clone)]
pub struct Arrival {
    /// the event, as JSON
    pub event: String,
    /// what templates may name besides the sync's own: `request`, `body`, `event`
    pub variables: Vec<(&'static str, Value)>,
}

/// What says that the table has something newer than what comes: where events or actions fill it too, what a list has told may be older than
/// what they have brought meanwhile.
pub(super) fn newest(plan: &SyncPlan, model: &ModelPlan, of_events: bool) -> Option<Newest> {
    let writes = |on: &OnWebhook| matches!(on.then, WebhookAction::Upsert(_) | WebhookAction::Fetch(_));
    let is_filled_twice = plan.saved || plan.on_webhook.iter().any(writes);
    let column = plan.age_column(model).filter(|_| is_filled_twice)?;
    Some(Newest { column, of_events })
}

/// Whether an event is done only behind the end of a run that began before it came.
pub fn waits_for_runs(plan: &SyncPlan, action: &WebhookAction) -> bool {
    match action {
        WebhookAction::Run => false,
        WebhookAction::Delete(_) => true,
        WebhookAction::Upsert(_) | WebhookAction::Fetch(_) => newest(plan, &plan.model, true).is_none(),
    }
}

impl Arrival {
    /// An event of the inbox.
    ///
    /// # Errors
    /// [`Error::Event`]: what is written there cannot be read.
    pub fn new(event: &InboxEvent) -> Result<Self, Error> {
        let wrong = |error: &dyn std::fmt::Display| Error::Event { problem: format!("it cannot be read: {error}") };
        let text = event.event.as_deref().or(event.body.as_deref()).unwrap_or("null");
        let value = parse(text.as_bytes()).map_err(|error| wrong(&error))?.to_value();
        let request: serde_json::Value = serde_json::from_str(&event.request).map_err(|error| wrong(&error))?;
        let mut members: Vec<(String, Value)> = Vec::new();
        for (name, value) in request.as_object().into_iter().flatten() {
            members.push((name.clone(), Value::from(Serde(value))));
        }
        members.extend(event.body.as_deref().map(|body| ("body".to_owned(), Value::from(body))));
        let body = match (&event.body, &event.event) {
            (Some(body), Some(_)) => parse(body.as_bytes()).map(|body| body.to_value()).unwrap_or(value.clone()),
            _ => value.clone(),
        };
        let variables = vec![("request", Value::from_pairs(members)), ("body", body), ("event", value)];
        Ok(Self { event: text.to_owned(), variables })
    }

    /// Whether a condition of the sync on the event holds.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn fits(&self, plan: &SyncPlan, when: &Template, session: &Session) -> Result<bool, Error> {
        let variables = self.of(plan, session).value();
        when.is_true(&variables).map_err(|error| Error::Template { place: "on_webhook.when", error })
    }

    fn of(&self, plan: &SyncPlan, session: &Session) -> Variables {
        let own = Variables::new(plan, session.host.now());
        self.variables.iter().fold(own, |variables, (name, value)| variables.and((name, value.clone())))
    }
}

impl Session {
    /// Does what a sync's words say about an event, but running it.
    ///
    /// # Errors
    /// Nothing was written: the API or the database cannot be had, or the event has not what is looked for in it. A record that does not fit
    /// its model is no error: it is in quarantine.
    pub async fn take_in(
        &self,
        plan: &Arc<SyncPlan>,
        action: &WebhookAction,
        arrival: &Arrival,
        observer: Observer,
    ) -> Result<(), Error> {
        match action {
            WebhookAction::Run => Ok(()),
            WebhookAction::Upsert(path) => {
                let (of, path, event) = (Arc::clone(plan), path.clone(), arrival.event.clone());
                let context = Variables::new(plan, self.host.now()).value();
                let mapped = tokio::task::spawn_blocking(move || upserted(&of, &path, &event, &context)).await;
                let batch = mapped.map_err(|error| Error::Bug(error.to_string()))??;
                self.write(plan, Some(batch), None).await
            }
            WebhookAction::Delete(path) => {
                let gone = deleted(plan, path, &arrival.event)?;
                self.write(plan, None, Some(gone)).await
            }
            WebhookAction::Fetch(request) => match self.ask(plan, request, arrival, observer).await? {
                Some(batch) => self.write(plan, Some(batch), None).await,
                None => Ok(()),
            },
        }
    }

    async fn write(&self, plan: &Arc<SyncPlan>, batch: Option<Batch>, gone: Option<Gone>) -> Result<(), Error> {
        let (plan, now) = (Arc::clone(plan), self.host.now());
        let run_id = run_id(now);
        let write = self.call(move |store| {
            let tables = plan.tables();
            store.prepare(&tables, false, &run_id, now)?;
            store.note_tables(&plan.id, &tables)?;
            let newest = newest(&plan, &plan.model, true);
            let filled = vec![Filled { model: Arc::clone(&plan.model), batches: batch.into_iter().collect(), newest }];
            let group = Group::of(plan.id.clone(), run_id, filled, now);
            store.commit(Group { gone: gone.into_iter().collect(), ..group })
        });
        write.await.map(drop)
    }

    /// Asks the API for the record; none where it is not there any more.
    async fn ask(
        &self,
        plan: &Arc<SyncPlan>,
        request: &RequestPlan,
        arrival: &Arrival,
        observer: Observer,
    ) -> Result<Option<Batch>, Error> {
        let (client, clock) = self.host.client(plan);
        let variables = arrival.of(plan, self);
        let (request, response) = (request.clone(), ResponsePlan::whole());
        let list = Arc::new(ListPlan { request, response, pagination: PagePlan::one() });
        let mapper = Mapper::new(plan).never_failing();
        let asked = Arc::new(SyncPlan { list: Arc::clone(&list), details: Vec::new(), ..SyncPlan::clone(plan) });
        let rows = Rows::Models(vec![Share { records: Vec::new(), mapper: mapper.clone() }]);
        let reader = Arc::new(Reader::of(Arc::clone(&asked), list, rows, client?, variables));
        let request = Draft::new(&plan.connection.base_url, &reader.list.request, &reader.shared)?.finish(None);
        let fetcher = Fetcher::new(asked, observer, clock, Noted::default());
        let (response, accepted) = match fetcher.fetch(&reader, &request, (&[404, 410], false), None).await? {
            Fetched::Answer { response, accepted } => (response, accepted),
            // it was deleted meanwhile: another event tells
            Fetched::NoSuchPage | Fetched::Empty => return Ok(None),
            Fetched::LeftOut(why) => return Err(why),
            Fetched::Verdict(_) | Fetched::Streamed { .. } => return Err(unexplained()),
        };
        if response.status == 204 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            reader.with_body(&response, |parsed| {
                let body = parsed.map_err(|error| reader.not_decodable_in(&request, &response, &error))?;
                if says_error(&body) && !accepted {
                    return Err(reader.failed_body(&request, &response));
                }
                reader.mapped(mapper.map(&[&body], &reader.shared)).map(Some)
            })
        });
        read.await.map_err(|error| Error::Bug(error.to_string()))?
    }
}

/// The row of the record in an event.
fn upserted(plan: &SyncPlan, path: &Path, event: &str, context: &Value) -> Result<Batch, Error> {
    let event = parse(event.as_bytes()).map_err(|error| Error::Event { problem: error.to_string() })?;
    let records = select(path, &event);
    if records.is_empty() {
        return Err(nothing_at(path));
    }
    Ok(Mapper::new(plan).never_failing().map(&records, context)?)
}

/// The key of the record in an event.
fn deleted(plan: &SyncPlan, path: &Path, event: &str) -> Result<Gone, Error> {
    let event = parse(event.as_bytes()).map_err(|error| Error::Event { problem: error.to_string() })?;
    let records = select(path, &event);
    if records.is_empty() {
        return Err(nothing_at(path));
    }
    let reader = KeyReader::of_records(plan).ok_or_else(unexplained)?;
    let keys = reader.read(&records);
    if keys.unreadable > 0 {
        let why = keys.unreadable_reason.unwrap_or_default();
        return Err(Error::Event { problem: format!("the key of the record in the event cannot be read: {why}") });
    }
    // a row that has changed since has come back
    let since = |mark: &Option<Mark>| match mark {
        Some(Mark::Timestamp(at)) => Some(at.timestamp_micros()),
        _ => None,
    };
    Ok(Gone { keys: keys.keys, at: keys.marks.iter().map(since).collect(), before: None, mark: changed_column(plan) })
}

fn nothing_at(path: &Path) -> Error {
    Error::Event { problem: format!("there is nothing at `{}` in the event", path.text()) }
}
