//! An action: answered by the table, or by its requests one after the other.
//!
//! A request of an action is sent and read as that of a sync of one page, but for one thing: what changes something is not sent again
//! unless it is safe to repeat. The database is taken before anything is sent, so that what was done can be saved.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::Value;
use serde::Serialize;
use serde_json::Value as Json;

use super::answer::{Reader, Rows, Share, answer_value, says_error};
use super::facts::Tail;
use super::fetch::{Fetched, Fetcher, Noted};
use super::host::{Host, Session, run_id, waiting};
use super::lane::unexplained;
use super::render::{self, Variables};
use super::{Error, Observer};
use crate::plan::{
    ActionOutput, ActionPlan, ConnectionPlan, ListPlan, ModelPlan, PageKind, PagePlan, ResponsePlan, RetryPlan, SyncId,
    SyncPlan, SyncedFirst, TemplateError, limits,
};
use crate::record::{Batch, MapError, Mapper};
use crate::remote::{self, Client, Draft, HeaderValue, Request, Response};
use crate::scan::{PageFacts, Position, ScanState, Step};
use crate::store::{self, Filled, Group, Lookup, Newest, ReadStore};

/// What an action is called with.
#[derive(Debug, Clone)]
pub struct Call {
    /// what [`ActionPlan::accept`] gives
    pub input: Json,
    /// the page, as `next_cursor` of the call before says
    pub cursor: Option<Json>,
    /// whose rows are asked or written, where several variants of a sync fill the table
    pub variant: Option<String>,
    /// what tells the API that it is the same call once more, in place of what the action's `idempotency_key` says
    pub idempotency_key: Option<String>,
}

/// Where an action is called.
pub enum CallPlace {
    /// a process of its own: the database is taken for the call if the action needs it, and let go of
    Host(Arc<Host>),
    /// beside runs, through the database that they have
    Session(Arc<Session>),
}

/// What an action answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// as the action's `output` says
    pub records: Vec<Json>,
    /// who has told them
    pub source: Source,
    /// what the next call gives as `cursor`; none behind the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Json>,
    /// requests made, repeated ones included
    pub requests: u64,
    /// what was written into the table
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<Saved>,
}

/// Who has told the records of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// the API
    Api,
    /// the table, as far as it was synced
    Table,
}

/// What was written into the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// `schema.table`
    pub table: String,
    /// new rows
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows that were so already
    pub unchanged: u64,
    /// the first change number
    pub change_from: Option<i64>,
    /// the last
    pub change_to: Option<i64>,
}

/// Calls an action; `observer` watches.
///
/// # Errors
/// As a sync's; [`Error::AfterDone`] where something was changed at the API before it failed.
pub async fn call(plan: &ActionPlan, call: Call, place: CallPlace, observer: Observer) -> Result<Answer, Error> {
    let host = match &place {
        CallPlace::Host(host) => Arc::clone(host),
        CallPlace::Session(session) => Arc::clone(&session.host),
    };
    check_key(plan, call.idempotency_key.as_deref())?;
    let at = host.now();
    let saver = whose(plan, call.variant.as_deref())?;
    let asked = Arc::new(as_sync(plan, call.input));
    let variables = Variables::new(&asked, at);
    if let Some(first) = plan.synced_first.as_ref().filter(|_| call.cursor.is_none()) {
        let found = match lookup(first, plan, call.variant, &variables)? {
            Some(lookup) => find(lookup, &place, &observer).await?,
            None => Vec::new(),
        };
        if !found.is_empty() {
            return Ok(Answer { records: found, source: Source::Table, next_cursor: None, requests: 0, saved: None });
        }
    }
    let saving = match &plan.save {
        Some(model) => {
            Some(Saving::begin((model, plan.age_column), saver, Held::of(&place, &observer).await?, at).await?)
        }
        None => None,
    };
    let (client, clock) = host.client(&asked);
    let fetcher =
        Fetcher::new(Arc::clone(&asked), observer, clock, Noted::default()).of_action(plan.idempotency_key.is_some());
    let mut asking = Asking { plan, asked, fetcher, idempotency_key: call.idempotency_key, done: None };
    let told = match client {
        Ok(client) => asking.ask(client, variables, call.cursor, at).await,
        Err(error) => Err(error.into()),
    };
    host.settled().await;
    let requests = asking.fetcher.requests();
    let ended = match told {
        Ok(told) => match saving {
            Some(saving) => saving.end(told, at).await,
            None => Ok((told, None)),
        },
        Err(error) => {
            // whoever has begun lets go of the file
            if let Some(saving) = saving {
                // nothing was asked of it that could fail
                drop(saving.held.release().await);
            }
            Err(error)
        }
    };
    let (told, saved) = ended.map_err(|error| asking.after_done(error))?;
    Ok(Answer { records: told.records, source: Source::Api, next_cursor: told.next_cursor, requests, saved })
}

/// Whether the API takes a key of the caller's.
fn check_key(plan: &ActionPlan, key: Option<&str>) -> Result<(), Error> {
    let Some(key) = key else { return Ok(()) };
    let wrong = |problem: String, hint: &str| Err(Error::Call { problem, hint: hint.to_owned() });
    if plan.idempotency_key.is_none() {
        let hint = "leave it out; the action says with `idempotency_key` which header takes it";
        return wrong("the API of this action takes no idempotency key".to_owned(), hint);
    }
    let max = limits::IDEMPOTENCY_KEY_BYTES_MAX;
    if key.is_empty() || key.len() > max || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(format!("the idempotency key is not 1 to {max} visible characters"), "a UUID is one");
    }
    Ok(())
}

/// The database of a call.
enum Held {
    Own(Session),
    Shared(Arc<Session>),
}

impl Held {
    async fn of(place: &CallPlace, observer: &Observer) -> Result<Self, Error> {
        Ok(match place {
            CallPlace::Host(host) => Self::Own(host.open(waiting(observer)).await?),
            CallPlace::Session(session) => Self::Shared(Arc::clone(session)),
        })
    }

    fn session(&self) -> &Session {
        match self {
            Self::Own(session) => session,
            Self::Shared(session) => session,
        }
    }

    /// Lets go of it. The file is whole, and free for others, when that has ended.
    async fn release(self) -> Result<(), Error> {
        match self {
            Self::Own(session) => session.close().await.map(drop),
            Self::Shared(_) => Ok(()),
        }
    }
}

/// The sync whose rows are written: that of the variant, where several fill the table.
fn whose(plan: &ActionPlan, variant: Option<&str>) -> Result<SyncId, Error> {
    let variants: BTreeSet<&str> = plan.fillers.iter().map(|id| id.variant.as_str()).collect();
    let named = |names: BTreeSet<&str>| {
        names.iter().map(|name| if name.is_empty() { "''".to_owned() } else { format!("`{name}`") }).collect::<Vec<_>>()
    };
    let wrong = |problem: String| Error::Call {
        problem,
        hint: format!("say which variant's rows are meant: {}", named(variants.clone()).join(", ")),
    };
    let variant = match variant {
        Some(given) if !variants.is_empty() && !variants.contains(given) => {
            return Err(wrong(format!("there is no variant `{given}` of the table that the action is about")));
        }
        Some(given) => given,
        None if variants.len() > 1 && plan.save.is_some() => {
            return Err(wrong("several variants of a sync fill the table that the action writes into".to_owned()));
        }
        None => variants.first().copied().unwrap_or_default(),
    };
    let own = plan.fillers.iter().find(|id| id.variant == variant).cloned();
    Ok(own.unwrap_or_else(|| SyncId { variant: variant.to_owned(), ..id_of(plan) }))
}

fn id_of(plan: &ActionPlan) -> SyncId {
    SyncId {
        connection: plan.connection.name.clone(),
        provider: plan.connection.provider.clone(),
        sync: plan.name.clone(),
        variant: String::new(),
    }
}

/// The last request of an action as a sync of one page.
fn as_sync(plan: &ActionPlan, input: Json) -> SyncPlan {
    let retry = RetryPlan { attempts: plan.attempts, ..plan.connection.retry.clone() };
    let connection = ConnectionPlan { retry, ..ConnectionPlan::clone(&plan.connection) };
    let made_up = |columns| ModelPlan::of_columns(&plan.name, (&plan.connection.provider, ""), columns).into();
    let model = match &plan.output {
        ActionOutput::Record => made_up(Vec::new()),
        ActionOutput::Columns(columns) => made_up(columns.clone()),
        ActionOutput::Model(model) => Arc::clone(model),
    };
    let last = plan.steps.last().expect("an action has a request");
    let list = ListPlan {
        request: last.request.clone(),
        response: plan.response.clone().unwrap_or_else(ResponsePlan::whole),
        pagination: plan.pagination.clone().unwrap_or_else(PagePlan::one),
    };
    let errors = plan.errors.clone();
    SyncPlan { errors, input, ..SyncPlan::of_list(id_of(plan), Arc::new(connection), model, list) }
}

/// What is looked for in the table before the API is asked; none where a value that it must have is not there.
fn lookup(
    first: &SyncedFirst,
    plan: &ActionPlan,
    variant: Option<String>,
    variables: &Variables,
) -> Result<Option<Lookup>, Error> {
    let mut wanted = Vec::with_capacity(first.filter.len());
    let shared = variables.value();
    for (column, value) in &first.filter {
        match remote::render(value, &shared, "synced_first.where")? {
            Some(Json::Null) | None => return Ok(None),
            Some(value) => wanted.push((column.clone(), value)),
        }
    }
    let columns = match &plan.output {
        ActionOutput::Record => return Ok(None),
        ActionOutput::Columns(columns) => columns,
        ActionOutput::Model(model) => &model.columns,
    };
    let columns = columns.iter().map(|column| column.name.clone()).collect();
    let (model, connection) = (Arc::clone(&first.model), plan.connection.name.clone());
    Ok(Some(Lookup { model, connection, variant, columns, wanted, rows_max: limits::ACTION_ROWS_MAX }))
}

/// The records that the table has; empty where it has none, or more than an answer holds.
async fn find(lookup: Lookup, place: &CallPlace, observer: &Observer) -> Result<Vec<Json>, Error> {
    let rows = match place {
        CallPlace::Session(session) => session.call(move |store| store.find(&lookup)).await?,
        CallPlace::Host(host) => {
            let (database, waiting) = (host.database().to_owned(), waiting(observer));
            let looked = tokio::task::spawn_blocking(move || match ReadStore::open(&database, waiting) {
                Err(store::Error::Missing { .. }) => Ok(Vec::new()),
                opened => opened?.find(&lookup),
            });
            looked.await.map_err(|error| Error::Bug(error.to_string()))??
        }
    };
    Ok(rows.into_iter().map(Json::Object).collect())
}

/// The requests of an action on their way.
struct Asking<'p> {
    plan: &'p ActionPlan,
    asked: Arc<SyncPlan>,
    fetcher: Fetcher,
    idempotency_key: Option<String>,
    /// the last request that has changed something, masked
    done: Option<String>,
}

/// What the API has told.
#[derive(Default)]
struct Told {
    records: Vec<Json>,
    /// the same, as rows of the model
    batch: Option<Batch>,
    next_cursor: Option<Json>,
}

/// The answer of the last request that was made, and what reads it.
struct Last {
    reader: Arc<Reader>,
    request: Request,
    response: Response,
    accepted: bool,
}

impl Asking<'_> {
    /// Makes the requests, one after the other, and reads the answer of the last.
    async fn ask(
        &mut self,
        client: Client,
        variables: Variables,
        cursor: Option<Json>,
        at: DateTime<Utc>,
    ) -> Result<Told, Error> {
        let mut scan = ScanState::begin(0, at, None);
        scan.position = position(&self.asked.list.pagination.kind, cursor)?;
        let (mut steps, mut last): (Vec<(String, Value)>, Option<Last>) = (Vec::new(), None);
        for (number, step) in self.plan.steps.iter().enumerate() {
            let variables = variables.clone().and(("steps", Value::from_pairs(steps.iter().cloned())));
            let reader = Arc::new(self.reader(client.clone(), variables));
            if let Some(when) = &step.when
                && !when.is_true(&reader.shared).map_err(|TemplateError(error)| reader.template("when", &error))?
            {
                continue;
            }
            let mut request = if number + 1 == self.plan.steps.len() {
                render::request(&self.asked, &self.asked.list, &reader.shared, &scan)?
            } else {
                Draft::new(&self.asked.connection.base_url, &step.request, &reader.shared)?.finish(None)
            };
            self.sign(&mut request, &step.name, &reader)?;
            let (response, accepted) = match self.fetcher.fetch(&reader, &request, (&[], false), None).await? {
                Fetched::Answer { response, accepted } => (response, accepted),
                Fetched::Empty => return Ok(Told::default()),
                Fetched::LeftOut(why) => return Err(why),
                Fetched::NoSuchPage | Fetched::Verdict(_) | Fetched::Streamed { .. } => return Err(unexplained()),
            };
            if !step.request.method.is_read() {
                self.done = Some(client.masked(&request));
            }
            if !step.name.is_empty() {
                steps.push((step.name.clone(), answer_value(&response, None)));
            }
            last = Some(Last { reader, request, response, accepted });
        }
        let Some(Last { reader, request, response, accepted }) = last else { return Ok(Told::default()) };
        let whole = self.plan.response.is_none();
        let as_it_came = matches!(self.plan.output, ActionOutput::Record);
        let (reader_of_next, is_paged) = (Arc::clone(&reader), self.plan.pagination.is_some());
        let read = tokio::task::spawn_blocking(move || {
            reader.read_action(&request, (&response, accepted), (whole, as_it_came))
        });
        let (mut told, facts) = read.await.map_err(|error| Error::Bug(error.to_string()))??;
        if is_paged && reader_of_next.advance(&mut scan, &facts)? == Step::More {
            told.next_cursor = cursor_of(&scan.position);
        }
        Ok(told)
    }

    fn reader(&self, client: Client, variables: Variables) -> Reader {
        let share = Share { records: Vec::new(), mapper: Mapper::new(&self.asked).never_failing() };
        let list = Arc::clone(&self.asked.list);
        Reader::of(Arc::clone(&self.asked), list, Rows::Models(vec![share]), client, variables)
    }

    /// Tells the API by a key that a request is the same once more, if it is.
    fn sign(&self, request: &mut Request, step: &str, reader: &Reader) -> Result<(), Error> {
        let Some(key) = self.plan.idempotency_key.as_ref().filter(|_| !request.method.is_read()) else {
            return Ok(());
        };
        let given = match (&self.idempotency_key, &key.value) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(value)) => value
                .render(&reader.shared)
                .map_err(|TemplateError(error)| reader.template("idempotency_key.value", &error))?,
            (None, None) => None,
        };
        // APIs take one key for one request
        let value = match given {
            Some(given) if self.plan.steps.len() > 1 => format!("{given}-{step}"),
            Some(given) => given,
            None => remote::random_key(),
        };
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&key.header));
        request.headers.push((key.header.clone(), HeaderValue::Plain(value)));
        Ok(())
    }

    /// The error, where something was changed before it as what followed.
    fn after_done(&self, error: Error) -> Error {
        match &self.done {
            Some(done) => Error::AfterDone { done: done.clone(), why: Box::new(error) },
            None => error,
        }
    }
}

/// Where a list goes on.
fn position(kind: &PageKind, cursor: Option<Json>) -> Result<Position, Error> {
    let wrong = |what: &str| Error::Call {
        problem: format!("the cursor is not {what}"),
        hint: "give the `next_cursor` of the call before as it is".to_owned(),
    };
    let number = |cursor: &Json| match cursor {
        Json::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    Ok(match (cursor, kind) {
        (None | Some(Json::Null), _) => Position::Start,
        (Some(_), PageKind::None) => {
            return Err(Error::Call {
                problem: "the action gives no pages".to_owned(),
                hint: "leave the cursor out".to_owned(),
            });
        }
        (Some(cursor), PageKind::Offset { .. }) => {
            Position::Offset(number(&cursor).ok_or_else(|| wrong("a whole number"))?)
        }
        (Some(cursor), PageKind::Page { .. }) => {
            Position::Page(number(&cursor).ok_or_else(|| wrong("a whole number"))?)
        }
        (Some(Json::String(url)), PageKind::Link { .. } | PageKind::NextUrl { .. }) => Position::Url(url),
        (Some(_), PageKind::Link { .. } | PageKind::NextUrl { .. }) => return Err(wrong("a URL")),
        (Some(cursor), PageKind::Cursor { .. } | PageKind::Relay { .. }) => Position::Cursor(cursor),
    })
}

fn cursor_of(position: &Position) -> Option<Json> {
    match position {
        Position::Cursor(cursor) => Some(cursor.clone()),
        Position::Offset(at) | Position::Page(at) => Some((*at).into()),
        Position::Url(url) => Some(url.as_str().into()),
        _ => None,
    }
}

impl Reader {
    /// The records in the answer of an action, and what it says about the next page. `whole`: the answer is the one record; `as_it_came`:
    /// the caller wants no columns. Runs on a blocking thread.
    fn read_action(
        &self,
        request: &Request,
        (response, accepted): (&Response, bool),
        (whole, as_it_came): (bool, bool),
    ) -> Result<(Told, PageFacts), Error> {
        if response.status == 204 || response.body.is_empty() {
            return Ok((Told::default(), PageFacts { ended: true, ..PageFacts::default() }));
        }
        self.with_body(response, |parsed| {
            let body = parsed.map_err(|error| self.not_decodable_in(request, response, &error))?;
            let (records, facts) = if whole {
                if says_error(&body) && !accepted {
                    return Err(self.failed_body(request, response));
                }
                (vec![&body], PageFacts::default())
            } else {
                let found = self.records(request, (response, accepted), (&body, false))?;
                let mut tail = Tail::default();
                tail.add(self, &found.all);
                let facts = self.facts(request, response, &body, &tail)?;
                (found.all, facts)
            };
            if as_it_came {
                let wanted = self.wanted(&records)?;
                let records = wanted.into_iter().map(|record| self.without_secrets(&record.to_serde())).collect();
                return Ok((Told { records, ..Told::default() }, facts));
            }
            let Rows::Models(shares) = &self.rows else { return Err(unexplained()) };
            let share = shares.first().ok_or_else(unexplained)?;
            let mut batch = self.mapped(share.mapper.map(&records, &self.shared))?;
            if !batch.quarantined.is_empty() {
                return Err(MapError::Invalid(Box::new(batch.quarantined.swap_remove(0))).into());
            }
            let rows = store::row_values(&self.plan.model, &batch.rows);
            let records = rows.into_iter().map(|row| self.without_secrets(&Json::Object(row))).collect();
            Ok((Told { records, batch: Some(batch), next_cursor: None }, facts))
        })
    }

    /// A value without the secrets that the server has copied into it.
    fn without_secrets(&self, value: &Json) -> Json {
        let text = value.to_string();
        match self.client.redacted_data(&text) {
            std::borrow::Cow::Borrowed(_) => value.clone(),
            std::borrow::Cow::Owned(clean) => serde_json::from_str(&clean).unwrap_or(Json::String(clean)),
        }
    }
}

/// The table is ready to take the records of an action.
struct Saving {
    model: Arc<ModelPlan>,
    newest: Option<Newest>,
    id: SyncId,
    run_id: String,
    held: Held,
}

impl Saving {
    /// Brings the table in line with the model.
    async fn begin(
        (model, age_column): (&Arc<ModelPlan>, Option<usize>),
        id: SyncId,
        held: Held,
        at: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let (tables, run_id) = (model.tables().cloned().collect::<Vec<_>>(), run_id(at));
        let of = run_id.clone();
        held.session().call(move |store| store.prepare(&tables, false, &of, at)).await?;
        // a row that was deleted has come back: the API has just told it
        let newest = age_column.map(|column| Newest { column, of_events: false });
        Ok(Self { model: Arc::clone(model), newest, id, run_id, held })
    }

    /// Writes the records.
    async fn end(self, mut told: Told, at: DateTime<Utc>) -> Result<(Told, Option<Saved>), Error> {
        let Self { model, newest, id, run_id, held } = self;
        let Some(batch) = told.batch.take() else {
            held.release().await?;
            return Ok((told, None));
        };
        let table = format!("{}.{}", model.schema, model.table);
        let group = Group::of(id, run_id, vec![Filled { model, batches: vec![batch], newest }], at);
        let committed = held.session().call(move |store| {
            let committed = store.commit(group)?;
            store.tell_rest(at)?;
            Ok(committed)
        });
        let committed = committed.await;
        let released = held.release().await;
        let committed = committed?;
        released?;
        let saved = Saved {
            table,
            added: committed.added,
            updated: committed.updated,
            unchanged: committed.unchanged,
            change_from: committed.change_from,
            change_to: committed.change_to,
        };
        Ok((told, Some(saved)))
    }
}
