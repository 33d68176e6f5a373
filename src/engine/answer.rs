//! An answer read: its records, what it says about the next page, and the rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use minijinja::Value;
use tokio::sync::oneshot;

use super::Error;
use super::detail::Bare;
use super::facts::Tail;
use super::fetch::Verdict;
use super::lane::unexplained;
use super::render::Variables;
use crate::plan::{
    BodyPlan, DetailShape, Format, ListPlan, PageKind, Path, PathForm, SyncPlan, Template, TemplateError, limits,
};
use crate::record::json::Json;
use crate::record::{
    Batch, DecodeError, DecodeErrorKind, KeyReader, Keys, MapError, Mapper, MarkReader, Presence, Quarantined,
    Standing, decode_with, first, matches, parse, select, surrogate, unpack,
};
use crate::remote::{Client, Request, Response};
use crate::scan::{Mark, Node, PageFacts, ScanState, Step, Stuck};

/// What reading needs beside the answer.
pub(super) struct Reader {
    pub(super) plan: Arc<SyncPlan>,
    pub(super) list: Arc<ListPlan>,
    pub(super) rows: Rows,
    pub(super) client: Client,
    pub(super) variables: Variables,
    /// the same, as templates get them
    pub(super) shared: Value,
    /// the list ends where its last record is older
    pub(super) stop_below: Option<(MarkReader, Mark)>,
    /// the list is that of a window, which can be halved
    pub(super) in_window: bool,
    /// where the token of a delta feed stands in the answer, if one is wanted
    pub(super) token: Option<Path>,
    /// the place of a walk whose list it is
    pub(super) node: Option<Arc<Node>>,
}

/// What is made of the records of a list.
#[derive(Clone)]
pub(super) enum Rows {
    /// rows of each of the sync's models
    Models(Vec<Share>),
    /// keys of rows: what is gone, or still there
    Keys(KeyReader),
    /// items of a fan-out, which this path tells apart
    Items(Path),
    /// details of records
    Details,
}

/// The records that become rows of one model.
#[derive(Clone)]
pub(super) struct Share {
    /// where they stand in the answer; empty = where those of the list do
    pub(super) records: Vec<Path>,
    pub(super) mapper: Mapper,
}

/// What became of the records of a page.
pub(super) enum Mapped {
    /// rows
    Rows(PageRows),
    /// keys of rows
    Keys(Keys),
    /// items of a fan-out, with their keys
    Items(Vec<(String, serde_json::Value)>),
    /// records to which details are to be added
    Bare(Bare),
}

impl Mapped {
    /// Takes the first `count` rows out, as [`Batch::first`] does. None, and nothing is taken, where they are of more than one model.
    pub(super) fn first(&mut self, count: usize) -> Option<Self> {
        let Self::Rows(rows) = self else { return None };
        let [batch] = rows.batches.as_mut_slice() else { return None };
        Some(Self::Rows(PageRows { batches: vec![batch.first(count)?], ..PageRows::default() }))
    }
}

/// What became of the records of a sync.
#[derive(Default)]
pub(super) struct PageRows {
    /// rows of each of the sync's models
    pub(super) batches: Vec<Batch>,
    /// places of a walk that they lead to
    pub(super) nodes: Vec<Node>,
    /// they lead to places that are deeper than the walk goes
    pub(super) too_deep: bool,
    /// records that are stored as they are
    pub(super) known: Option<Known>,
}

/// Records that are stored as they are, by their keys.
pub(super) struct Known {
    /// the model's key columns, in key order
    pub(super) keys: RecordBatch,
    pub(super) key_hashes: Vec<u128>,
    /// the highest incremental mark
    pub(super) high: Option<Mark>,
}

impl PageRows {
    pub(super) fn with_walk(self, nodes: Vec<Node>, too_deep: bool) -> Self {
        Self { nodes, too_deep, ..self }
    }

    pub(super) fn with_known(self, known: Option<Known>) -> Self {
        Self { known, ..self }
    }
}

impl Reader {
    /// What reads answers that are all there is: outside of windows, walks and delta feeds.
    pub(super) fn of(
        plan: Arc<SyncPlan>,
        list: Arc<ListPlan>,
        rows: Rows,
        client: Client,
        variables: Variables,
    ) -> Self {
        let shared = variables.value();
        Self {
            plan,
            list,
            rows,
            client,
            variables,
            shared,
            token: None,
            stop_below: None,
            in_window: false,
            node: None,
        }
    }

    /// Reads one answer: sends the facts as soon as the body is parsed, then maps the records. Runs on a blocking thread if the answer is not
    /// small. `accepted`: a rule of `errors` takes the answer for a success, whatever it says.
    pub(super) fn read(
        &self,
        request: &Request,
        (response, accepted): (&Response, bool),
        facts: oneshot::Sender<Result<PageFacts, Error>>,
    ) -> Option<Result<Mapped, Error>> {
        if response.status == 204 {
            facts.send(Ok(PageFacts::default())).ok()?;
            return Some(self.nothing());
        }
        if let Some(read) = self.read_in_one_pass(request, (response, accepted)) {
            return match read {
                Err(error) => {
                    drop(facts.send(Err(error)));
                    None
                }
                Ok((found, rows)) => {
                    facts.send(Ok(found)).ok()?;
                    Some(rows)
                }
            };
        }
        self.with_body(response, |parsed| {
            let body = match parsed {
                Ok(body) => body,
                Err(error) => {
                    // whoever waits for the facts reports it
                    drop(facts.send(Err(self.not_decodable_in(request, response, &error))));
                    return None;
                }
            };
            let read = self.records(request, (response, accepted), (&body, false)).and_then(|records| {
                let mut tail = Tail::default();
                tail.add(self, &records.all);
                Ok((records, self.facts(request, response, &body, &tail)?))
            });
            match read {
                Err(error) => {
                    drop(facts.send(Err(error)));
                    None
                }
                Ok((records, found)) => {
                    facts.send(Ok(found)).ok()?;
                    Some(self.rows(&records))
                }
            }
        })
    }

    /// The details in an answer. Runs on a blocking thread.
    pub(super) fn read_detail(
        &self,
        request: &Request,
        (response, accepted): (&Response, bool),
        shape: DetailShape,
    ) -> Result<Vec<serde_json::Value>, Error> {
        self.with_body(response, |parsed| {
            let body = parsed.map_err(|error| self.not_decodable_in(request, response, &error))?;
            let records = self.records(request, (response, accepted), (&body, false))?;
            if shape == DetailShape::Whole {
                return Ok(vec![body.to_serde()]);
            }
            Ok(self.wanted(&records.all)?.into_iter().map(Json::to_serde).collect())
        })
    }

    /// Whether its pages are counted, so that one may be asked for without the one before it.
    pub(super) fn counts(&self) -> bool {
        matches!(self.list.pagination.kind, PageKind::Offset { .. } | PageKind::Page { .. })
    }

    /// What stands at a path of an answer in JSON, as far as it is no more than an export may have parts, and one more.
    pub(super) fn values_at(&self, response: &Response, path: &Path) -> Result<Vec<serde_json::Value>, Error> {
        let body = parse(&response.body).map_err(|error| {
            let (request, problem) = (response.url.to_string(), error.to_string());
            Error::Decode { request: self.client.redact(&request), problem }
        })?;
        Ok(select(path, &body).into_iter().take(limits::PARTS_MAX + 1).map(Json::to_serde).collect())
    }

    /// Hands out the body of an answer, unpacked and decoded.
    pub(super) fn with_body<T>(&self, response: &Response, then: impl FnOnce(Result<Json<'_>, DecodeError>) -> T) -> T {
        let format = &self.list.response.format;
        let files = match unpack(&response.body) {
            Ok(files) => files,
            Err(error) => return then(Err(error)),
        };
        decode_with(format, &files, |parsed| {
            if let (Err(error), [file], Format::Json) = (&parsed, files.as_slice(), format)
                && error.kind == DecodeErrorKind::Syntax
                && let Some(mended) = surrogate::mend(file)
            {
                return then(parse(&mended));
            }
            then(parsed)
        })
    }

    pub(super) fn rows(&self, records: &Records<'_, '_>) -> Result<Mapped, Error> {
        let shares = match &self.rows {
            Rows::Models(shares) => shares,
            Rows::Items(path) => {
                let keyed = |item: &&Json<'_>| Some((item_key(&first(path, item)?.to_serde())?, item.to_serde()));
                let entries = self.wanted(&records.all)?;
                let items: Vec<_> = entries.iter().filter_map(keyed).collect();
                if items.len() < entries.len() {
                    return Err(Error::ItemKey { path: path.text().to_owned() });
                }
                return Ok(Mapped::Items(items));
            }
            Rows::Keys(reader) => {
                let entries = self.wanted(&records.all)?;
                let mut keys = reader.read(&entries);
                keys.unreadable_reason = keys.unreadable_reason.map(|reason| self.client.redact(&reason));
                return Ok(Mapped::Keys(keys));
            }
            Rows::Details => return Err(unexplained()),
        };
        if !self.plan.details.is_empty() {
            return self.bare(shares, &records.all).map(Mapped::Bare);
        }
        let batches = shares.iter().zip(&records.of_shares).map(|(share, own)| {
            let records = own.as_ref().unwrap_or(&records.all);
            self.mapped(share.mapper.map(records, &self.shared))
        });
        let mut batches: Vec<Batch> = batches.collect::<Result<_, _>>()?;
        // what the list turns away is turned away once, however many models take their share of it
        let others = batches.iter_mut().zip(&records.of_shares).skip(1).filter(|(_, own)| own.is_none());
        others.for_each(|(batch, _)| batch.filtered = 0);
        let (nodes, too_deep) = self.nodes(&records.all)?;
        Ok(Mapped::Rows(PageRows { batches, nodes, too_deep, known: None }))
    }

    /// The records to which details are to be added.
    fn bare(&self, shares: &[Share], records: &[&Json<'_>]) -> Result<Bare, Error> {
        let (nodes, too_deep) = self.nodes(records)?;
        let mut bare = Bare { records: Vec::with_capacity(records.len()), filtered: 0, nodes, too_deep };
        let Some(Share { mapper, .. }) = shares.first() else { return Ok(bare) };
        for record in records {
            match mapper.standing(record, &self.shared).map_err(|error| self.template("where", &error))? {
                Standing::Unwanted => bare.filtered += 1,
                standing => bare.records.push((record.to_serde(), standing == Standing::Deleted)),
            }
        }
        Ok(bare)
    }

    /// Maps records to which details were added, and of which so many were turned away before. Runs on a blocking thread.
    pub(super) fn map_detailed(
        &self,
        records: Vec<(serde_json::Value, u64, Presence)>,
        filtered: u64,
    ) -> Result<PageRows, Error> {
        let Rows::Models(shares) = &self.rows else { return Err(unexplained()) };
        let records: Vec<_> =
            records.into_iter().map(|(record, listed, presence)| (Json::from(record), listed, presence)).collect();
        let batch = |share: &Share| self.mapped(share.mapper.clone().accepted().map_detailed(&records, &self.shared));
        let mut batches: Vec<Batch> = shares.iter().map(batch).collect::<Result<_, _>>()?;
        if let Some(first) = batches.first_mut() {
            first.filtered += filtered;
        }
        Ok(PageRows { batches, ..PageRows::default() })
    }

    /// The places of a walk that these records lead to, and whether there are some that are deeper than it goes.
    fn nodes(&self, records: &[&Json<'_>]) -> Result<(Vec<Node>, bool), Error> {
        let (Some(walk), Some(here)) = (&self.plan.walk, &self.node) else { return Ok((Vec::new(), false)) };
        let mut nodes = Vec::new();
        for record in records {
            let leads_on =
                matches(&walk.into, record, &self.shared).map_err(|error| self.template("walk.into", &error))?;
            if !leads_on {
                continue;
            }
            if here.depth >= walk.depth_max {
                return Ok((nodes, true));
            }
            let mut bind = serde_json::Map::new();
            for (name, path) in &walk.bind {
                let value = first(path, record).map(Json::to_serde).filter(|value| !value.is_null());
                let value = value.ok_or_else(|| Error::WalkKey { name: name.clone(), path: path.text().to_owned() })?;
                bind.insert(name.clone(), value);
            }
            nodes.push(Node { bind, depth: here.depth + 1, ..Node::clone(here) });
        }
        Ok((nodes, false))
    }

    pub(super) fn template(&self, place: &'static str, error: &str) -> Error {
        Error::Template { place, error: TemplateError(self.client.redact(error)) }
    }

    /// A batch without secrets that the server has copied into its records.
    pub(super) fn mapped(&self, mapped: Result<Batch, MapError>) -> Result<Batch, Error> {
        match mapped {
            Ok(mut batch) => {
                self.hide_secrets_of(&mut batch);
                Ok(batch)
            }
            Err(MapError::Invalid(mut record)) => {
                self.hide_secrets(&mut record);
                Err(MapError::Invalid(record).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn hide_secrets_of(&self, batch: &mut Batch) {
        batch.quarantined.iter_mut().for_each(|record| self.hide_secrets(record));
        if let Some(raw) = &mut batch.raw {
            raw.hide_secrets(&|text: &str| self.client.redacted_data(text));
        }
        batch.children.iter_mut().flatten().for_each(|items| self.hide_secrets_of(&mut items.batch));
    }

    /// The entries of a list for which its `where` holds.
    pub(super) fn wanted<'j, 'a>(&self, records: &[&'j Json<'a>]) -> Result<Vec<&'j Json<'a>>, Error> {
        let listed = self.list.response.filter.as_ref();
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            let wanted = listed.map_or(Ok(true), |filter| matches(filter, record, &self.shared));
            let wanted = wanted.map_err(|error| self.template("where", &error))?;
            entries.extend(wanted.then_some(*record));
        }
        Ok(entries)
    }

    /// Moves the scan over a page. An error shows no secret that the server has made a page token of.
    pub(super) fn advance(&self, scan: &mut ScanState, facts: &PageFacts) -> Result<Step, Error> {
        scan.advance(&self.list.pagination, facts).map_err(|stuck| match (stuck, &facts.next) {
            // the token in the error is cut, and a secret in it perhaps too: the whole one tells
            (Stuck::Cycle { pages, .. }, Some(next)) if self.shows_secret(&next.to_string()) => {
                Stuck::Cycle { token: "***".to_owned(), pages }.into()
            }
            (stuck, _) => stuck.into(),
        })
    }

    pub(super) fn shows_secret(&self, text: &str) -> bool {
        self.client.redact(text) != text
    }

    pub(super) fn not_decodable_in(&self, request: &Request, response: &Response, error: &DecodeError) -> Error {
        let body = &response.body;
        let near = body.get(error.offset.saturating_sub(NEAR_BYTES)..).unwrap_or_default();
        self.not_decodable(request, near.get(..2 * NEAR_BYTES).unwrap_or(near), error)
    }

    /// The error for a body that is not in its format, and what stands near the fault. What it quotes is cut, so that a part of a secret could
    /// be left: near one, nothing is quoted.
    pub(super) fn not_decodable(&self, request: &Request, near: &[u8], error: &DecodeError) -> Error {
        let problem = if self.shows_secret(&String::from_utf8_lossy(near)) {
            format!(
                "the body is not what was expected: {} (line {}, column {}, where a secret stands)",
                error.kind, error.line, error.column
            )
        } else {
            error.to_string()
        };
        Error::Decode { request: self.client.masked(request), problem }
    }

    /// Takes secrets that the server has copied into a record out of what is kept and shown of it.
    fn hide_secrets(&self, record: &mut Quarantined) {
        let clean = self.client.redact(&record.record);
        if clean != record.record || self.shows_secret(&record.reason) {
            record.record = clean;
            record.key = record.key.take().map(|key| self.client.redact(&key));
            record.reason =
                "it does not fit; why is not shown, because the record holds a secret of the connection".to_owned();
        }
    }

    /// What becomes of a page without records.
    pub(super) fn nothing(&self) -> Result<Mapped, Error> {
        self.rows(&Records::default())
    }

    /// What the words of the sync make of an answer. `asked_by_token`: the request carried the token of a delta feed.
    pub(super) fn judge(&self, response: &Response, asked_by_token: bool) -> Result<Option<Verdict>, Error> {
        if asked_by_token
            && let Some((status, when)) = self.plan.token.as_ref().and_then(|token| token.expired.as_ref())
            && response.status == *status
            && when
                .as_ref()
                .map_or(Ok(true), |when| self.holds("incremental.token.expired.when", when, response, None))?
        {
            return Ok(Some(Verdict::Expired));
        }
        // an answer that is a success is judged when its body is read
        if self.in_window
            && response.status >= 300
            && let Some(when) = self.split_when()
            && self.holds("incremental.window.split.when", when, response, None)?
        {
            return Ok(Some(Verdict::Split));
        }
        Ok(None)
    }

    pub(super) fn split_when(&self) -> Option<&Template> {
        let (_, window) = self.plan.windows()?;
        window.split.as_ref().map(|(when, _)| when)
    }

    /// Whether a template over `response` holds. A body that is no JSON is a text.
    pub(super) fn holds(
        &self,
        place: &'static str,
        when: &Template,
        response: &Response,
        body: Option<&Json<'_>>,
    ) -> Result<bool, Error> {
        self.is_true(place, when, response, &self.with_response(response, body))
    }

    /// The first of these conditions that holds, by its number: one that there is none of always does. The body is read once for all.
    pub(super) fn first_that_holds(
        &self,
        place: &'static str,
        conditions: &[(usize, Option<&Template>)],
        response: &Response,
    ) -> Result<Option<usize>, Error> {
        let mut variables = None;
        for (number, when) in conditions {
            let Some(when) = when else { return Ok(Some(*number)) };
            let variables = variables.get_or_insert_with(|| self.with_response(response, None));
            if self.is_true(place, when, response, variables)? {
                return Ok(Some(*number));
            }
        }
        Ok(None)
    }

    /// How long a template over `response` says to wait; none where what it gives is no number of seconds that one would wait.
    pub(super) fn wait_told(&self, wait: &Template, response: &Response) -> Option<Duration> {
        let seconds = match wait.value(&self.with_response(response, None)).ok()?? {
            serde_json::Value::Number(number) => number.as_f64()?,
            serde_json::Value::String(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        Duration::try_from_secs_f64(seconds).ok().filter(|wait| *wait <= limits::WAIT_TOLD_MAX)
    }

    /// Whether a condition holds. One that cannot be told of an answer that is no success (the length of a list that it does not have) does
    /// not: what the status says must not be hidden behind it.
    fn is_true(
        &self,
        place: &'static str,
        when: &Template,
        response: &Response,
        variables: &Value,
    ) -> Result<bool, Error> {
        match when.is_true(variables) {
            Ok(holds) => Ok(holds),
            Err(_) if response.status >= 300 => Ok(false),
            Err(TemplateError(error)) => Err(self.template(place, &error)),
        }
    }

    /// The variables of the request, and its answer.
    fn with_response(&self, response: &Response, body: Option<&Json<'_>>) -> Value {
        self.variables.with("response", answer_value(response, body))
    }

    /// The error for a success that says it failed.
    pub(super) fn failed_body(&self, request: &Request, response: &Response) -> Error {
        Error::FailedBody { request: self.client.masked(request), excerpt: self.client.excerpt(response) }
    }

    /// The records in a body; of what is left of one, where others `came` before, those that are left.
    pub(super) fn records<'j, 'a>(
        &self,
        request: &Request,
        (response, accepted): (&Response, bool),
        (body, came): (&'j Json<'a>, bool),
    ) -> Result<Records<'j, 'a>, Error> {
        let excerpt = || self.client.excerpt(response);
        let is_graphql = matches!(self.list.request.body, BodyPlan::Graphql { .. });
        if is_graphql && !accepted && body.member("errors").is_some_and(is_something) {
            return Err(self.failed_body(request, response));
        }
        let listed = &self.list.response.records;
        let of_shares: Vec<&[Path]> = match &self.rows {
            Rows::Models(shares) => shares.iter().map(|share| &share.records[..]).collect(),
            Rows::Keys(_) | Rows::Items(_) | Rows::Details => Vec::new(),
        };
        // with a path for each model there need be none for all of them
        let each_says = listed.is_empty() && !of_shares.is_empty();
        let all = if each_says { of_shares.concat() } else { listed.clone() };
        let mut records = Vec::new();
        let (mut missing, mut is_there) = (None, false);
        for path in &all {
            let found = container(path, body);
            is_there |= matches!(found, Container::There);
            match found {
                Container::Missing if !self.list.response.optional => {
                    missing.get_or_insert_with(|| format!("there is nothing at `{}`", path.text()));
                }
                Container::Scalar(kind) => {
                    let problem = format!("there is {kind} where `{}` looks for records", path.text());
                    return Err(Error::NoRecords { request: self.client.masked(request), problem, excerpt: excerpt() });
                }
                Container::ListItself => {
                    let problem = format!("`{0}` is a list; its items are `{0}[*]`", path.text());
                    return Err(Error::NoRecords {
                        request: self.client.masked(request),
                        problem,
                        excerpt: String::new(),
                    });
                }
                Container::Missing | Container::Null | Container::There => records.extend(select(path, body)),
            }
        }
        // what is accepted has a list, which may be empty: `null` beside errors is none that could end here
        if records.is_empty() && !came && says_error(body) && !(accepted && is_there) {
            return Err(self.failed_body(request, response));
        }
        match missing {
            // of several lists the API may leave out those that are empty, if one of them is there
            Some(problem) if records.is_empty() && !is_there && !came => {
                Err(Error::NoRecords { request: self.client.masked(request), problem, excerpt: excerpt() })
            }
            _ => {
                let own = |paths: &&[Path]| {
                    let own = || paths.iter().flat_map(|path| select(path, body)).collect();
                    (!paths.is_empty()).then(own)
                };
                Ok(Records { of_shares: of_shares.iter().map(own).collect(), all: records })
            }
        }
    }
}

/// An answer as templates see it, as `response`. A body that is no JSON is a text.
pub(super) fn answer_value(response: &Response, body: Option<&Json<'_>>) -> Value {
    let body = match body {
        Some(body) => body.to_value(),
        None => match parse(&response.body) {
            Ok(body) => body.to_value(),
            Err(_) => Value::from(String::from_utf8_lossy(&response.body).into_owned()),
        },
    };
    let headers = Value::from_pairs(response.headers.iter().cloned());
    Value::from_pairs([("body", body), ("headers", headers), ("status", response.status.into())])
}

/// The records of a page.
#[derive(Default)]
pub(super) struct Records<'j, 'a> {
    pub(super) all: Vec<&'j Json<'a>>,
    /// of each share that does not have all of them, its own
    of_shares: Vec<Option<Vec<&'j Json<'a>>>>,
}

impl<'j, 'a> Records<'j, 'a> {
    /// Those of all, and of each share its own.
    pub(super) fn of(all: Vec<&'j Json<'a>>, of_shares: Vec<Option<Vec<&'j Json<'a>>>>) -> Self {
        Self { all, of_shares }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.of_shares.iter().flatten().all(Vec::is_empty)
    }
}

/// What tells an item of a fan-out from others, as a text; none where it is nothing that could.
pub(super) fn item_key(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Bytes around the fault in a body, and behind it, that an error may quote: the title of a web page can stand as far from its beginning.
const NEAR_BYTES: usize = 128 << 10;

enum Container {
    There,
    Null,
    Missing,
    Scalar(&'static str),
    ListItself,
}

/// Whether there is something where a path looks for records. A null list is an empty one.
fn container(path: &Path, body: &Json<'_>) -> Container {
    let PathForm::Plain { steps, each } = path.form() else { return Container::There };
    let parent = steps.iter().try_fold(body, |node, step| match (step, node) {
        (crate::plan::Step::Member(name), node) => node.member(name),
        (crate::plan::Step::Index(index), Json::Array(items)) => {
            let at = if *index < 0 {
                items.len().checked_add_signed(isize::try_from(*index).ok()?)?
            } else {
                usize::try_from(*index).ok()?
            };
            items.get(at)
        }
        _ => None,
    });
    match (parent, each) {
        (None, _) => Container::Missing,
        (Some(Json::Null), _) => Container::Null,
        (Some(Json::Object(_)), _) | (Some(Json::Array(_)), true) => Container::There,
        (Some(Json::Array(_)), false) => Container::ListItself,
        (Some(scalar), _) => Container::Scalar(scalar.kind()),
    }
}

fn is_something(value: &Json<'_>) -> bool {
    match value {
        Json::Null | Json::Bool(false) => false,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(members) => !members.is_empty(),
        Json::Bool(true) | Json::Number(_) => true,
    }
}

/// The ways in which APIs say "this failed" with status 200.
pub(super) fn says_error(body: &Json<'_>) -> bool {
    let no = |name: &str| matches!(body.member(name), Some(Json::Bool(false)));
    ["error", "errors"].iter().any(|name| body.member(name).is_some_and(is_something)) || no("ok") || no("success")
}
