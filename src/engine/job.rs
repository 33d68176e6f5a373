//! Exports: a job is started, its end is waited for, its result is read. Its id is part of what the scan remembers, so that another run asks
//! for the same job.

use std::pin::pin;
use std::sync::Arc;

use chrono::TimeDelta;
use minijinja::Value;
use minijinja::value::Serde;
use serde_json::Value as Json;
use tokio::sync::oneshot;

use super::answer::{Reader, answer_value};
use super::commit::Message;
use super::fetch::{Fetched, Verdict};
use super::lane::{Asked, Ended, Lanes, unexplained};
use super::{Error, RuleEnd};
use crate::plan::{DownloadPlan, JobPlan, ListPlan, PagePlan, RequestPlan, limits};
use crate::remote::{Draft, Request, Response};
use crate::scan::{Job, Lane, Position, Range, ScanState};

/// Statuses that say that there is no such job, or none yet.
const UNKNOWN: [u16; 2] = [404, 410];

/// What a look at a job has found.
enum Look {
    /// its result is there
    Done(Response),
    /// not yet
    Waits,
    /// the API does not know it
    Unknown,
    /// its window holds too much
    TooMuch,
}

/// What came of a request about a job.
enum Heard {
    Answer(Response),
    /// the API does not know what it is about
    Unknown,
    /// the window holds too much
    TooMuch,
}

/// A job that is done.
struct Done {
    /// what asks about it
    base: Reader,
    id: Json,
    /// the answer that says so
    answer: Response,
}

/// The parts of a result.
struct Parts<'p> {
    /// what the answer says of each: its URL, or what its request names
    items: Vec<Json>,
    /// that request
    request: Option<&'p RequestPlan>,
    id: Json,
    /// the answer that tells of them, also as templates get it
    answer: Response,
    told: Value,
}

impl Lanes {
    /// Reads the result of the job of a scan, which is started if there is none.
    pub(super) async fn read_job(
        &mut self,
        (lane, job): (Lane, &JobPlan),
        scan: &mut ScanState,
        range: Option<&Range>,
    ) -> Result<Ended, Error> {
        let Done { base, id, answer } = match self.wait_for(lane, job, scan, range).await? {
            Ok(done) => done,
            Err(ended) => return Ok(ended),
        };
        let told = answer_value(&answer, None);
        let (path, request) = match &job.download {
            DownloadPlan::Request(request) => {
                let list = ListPlan { request: request.clone(), ..ListPlan::clone(&base.list) };
                let reader = Arc::new(base.of_job(&id, &told, &[]).reading(list));
                return self.read_list(lane, scan, &reader, true).await;
            }
            DownloadPlan::Url(path) | DownloadPlan::Parts(path) => (path, None),
            DownloadPlan::Each { of, request } => (of, Some(request)),
        };
        let items = base.values_at(&answer, path)?;
        if items.len() > limits::PARTS_MAX {
            return Err(Error::TooManyParts { path: path.text().to_owned(), max: limits::PARTS_MAX });
        }
        self.read_parts(lane, scan, &base, Parts { items, request, id, answer, told }).await
    }

    async fn read_parts(
        &self,
        lane: Lane,
        scan: &mut ScanState,
        base: &Reader,
        parts: Parts<'_>,
    ) -> Result<Ended, Error> {
        let list = ListPlan { pagination: PagePlan::one(), ..ListPlan::clone(&base.list) };
        let reader = &Arc::new(base.of_job(&parts.id, &parts.told, &[]).reading(list));
        let count = parts.items.len();
        scan.count_parts(count as u64);
        let first = match scan.position {
            Position::Part(at) => usize::try_from(at).unwrap_or(usize::MAX),
            _ => 0,
        };
        if count == 0 {
            // an export of nothing has no part; its end is committed all the same
            let asked = Asked::nothing(reader, scan);
            self.send(Message::Page(Box::new(self.page(lane, scan, reader, asked).await?))).await?;
        }
        for at in first..count {
            // a look at the job may have used up what a run is allowed, and each run must come further
            if at > first && self.is_stopped() {
                return Ok(Ended::Stopped);
            }
            // what is secret in its URL is known while it is asked for, and the next one's is not needed yet
            let request = base.part_request(&parts, at)?;
            let part = async {
                let outlet = self.outlet(lane, scan, reader);
                let part = ((at, count), outlet.as_ref());
                match Asked::part(&self.fetcher, reader, &request, scan, part).await? {
                    Some(asked) => self.page(lane, scan, reader, asked).await.map(Some),
                    None => Ok(None),
                }
            };
            let Some(page) = self.unless_stopped(part).await else { return Ok(Ended::Stopped) };
            let Some(page) = page? else { return Ok(Ended::Split) };
            self.send(Message::Page(Box::new(page))).await?;
        }
        Ok(Ended::Complete)
    }

    /// Waits for the end of the job of a scan, which is started if there is none. An end when there will be nothing to read.
    async fn wait_for(
        &mut self,
        lane: Lane,
        plan: &JobPlan,
        scan: &mut ScanState,
        range: Option<&Range>,
    ) -> Result<Result<Done, Ended>, Error> {
        let mut may_begin_again = scan.job.is_some();
        let mut base = self.reader(lane, scan, range)?;
        loop {
            if self.is_stopped() {
                return Ok(Err(Ended::Stopped));
            }
            let job = match &scan.job {
                Some(job) => job.clone(),
                None => {
                    let Some(job) = self.unless_long_stopped(self.start(plan, &base)).await else {
                        return Ok(Err(Ended::Stopped));
                    };
                    let Some(job) = job? else { return Ok(Err(Ended::Split)) };
                    scan.job = Some(job.clone());
                    self.hold(lane, scan).await?;
                    job
                }
            };
            let Some(looked) = self.unless_stopped(self.look(plan, &job, &base)).await else {
                return Ok(Err(Ended::Stopped));
            };
            match looked {
                Ok(Look::Done(answer)) => return Ok(Ok(Done { base, id: job.id, answer })),
                Ok(Look::TooMuch) => return Ok(Err(Ended::Split)),
                Ok(Look::Waits) => {}
                // one that was just started may not be known everywhere yet
                Ok(Look::Unknown) if !may_begin_again => {}
                Ok(Look::Unknown) => {
                    may_begin_again = false;
                    self.begin_job_again(lane, scan).await?;
                    base = self.reader(lane, scan, range)?;
                    continue;
                }
                Err(error) if ends_job(&error) => {
                    self.begin_job_again(lane, scan).await?;
                    self.hold(lane, scan).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
            let waited = (self.task.clock)() - job.started_at;
            if TimeDelta::from_std(plan.timeout).is_ok_and(|timeout| waited >= timeout) {
                self.begin_job_again(lane, scan).await?;
                self.hold(lane, scan).await?;
                self.cancel(plan, &job, &base).await;
                return Err(Error::JobTimeout { job: base.client.redact(&text_of(&job.id)), timeout: plan.timeout });
            }
            if self.unless_stopped(base.client.rest(plan.every)).await.is_none() {
                return Ok(Err(Ended::Stopped));
            }
        }
    }

    /// What follows is another export: nothing that was read of this one counts for it.
    async fn begin_job_again(&mut self, lane: Lane, scan: &mut ScanState) -> Result<(), Error> {
        let token = scan.since_token.clone();
        self.begin_again(lane, scan, token).await
    }

    /// What the work gives. Once the run is to stop, it has as long as an answer may take: the API has perhaps begun what nobody would know of.
    async fn unless_long_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        match self.unless_stopped(&mut work).await {
            Some(done) => Some(done),
            None => tokio::time::timeout(self.task.plan.connection.timeout_request, work).await.ok(),
        }
    }

    /// Starts a job; none where the window holds too much for one.
    async fn start(&self, plan: &JobPlan, base: &Reader) -> Result<Option<Job>, Error> {
        let request = base.request(&base.list.request)?;
        let answer = match self.answered(base, &request).await? {
            Heard::Answer(answer) => answer,
            Heard::TooMuch => return Ok(None),
            Heard::Unknown => return Err(unexplained()),
        };
        let id = base.values_at(&answer, &plan.id)?.into_iter().find(|id| !id.is_null());
        let id = id.ok_or_else(|| Error::NoJob {
            request: base.client.masked(&request),
            path: plan.id.text().to_owned(),
            excerpt: base.client.excerpt(&answer),
        })?;
        Ok(Some(Job { id, started_at: (self.task.clock)(), parts: None }))
    }

    async fn look(&self, plan: &JobPlan, job: &Job, base: &Reader) -> Result<Look, Error> {
        let asking = base.with([("job", job_value(&job.id, &[]))]);
        let request = asking.request(&plan.poll)?;
        let answer = match self.answered(&asking, &request).await? {
            Heard::Answer(answer) => answer,
            Heard::Unknown => return Ok(Look::Unknown),
            Heard::TooMuch => return Ok(Look::TooMuch),
        };
        // RFC 9110, 15.3.3: it has been accepted, and is not completed
        if answer.status == 202 {
            return Ok(Look::Waits);
        }
        let state = base.values_at(&answer, &plan.status)?.first().map(text_of).unwrap_or_default();
        if plan.done.contains(&state) {
            return Ok(Look::Done(answer));
        }
        if plan.failed.contains(&state) {
            let (request, excerpt) = (base.client.masked(&request), base.client.excerpt(&answer));
            return Err(Error::JobFailed { request, state: base.client.redact(&state), excerpt });
        }
        Ok(Look::Waits)
    }

    async fn answered(&self, reader: &Reader, request: &Request) -> Result<Heard, Error> {
        let reader = Arc::new(reader.with([]));
        match self.fetcher.fetch(&reader, request, (&UNKNOWN, false), None).await? {
            Fetched::Answer { response, .. } => Ok(Heard::Answer(response)),
            Fetched::NoSuchPage | Fetched::Empty => Ok(Heard::Unknown),
            Fetched::Verdict(Verdict::Split) => Ok(Heard::TooMuch),
            Fetched::LeftOut(why) => Err(why),
            Fetched::Verdict(_) | Fetched::Streamed { .. } => Err(unexplained()),
        }
    }

    /// Tells the API of jobs whose results nobody wants any more: a scan that starts over has left them behind, or a window was too full.
    pub(super) async fn cancel_left(&self, left: Vec<Job>) -> Result<(), Error> {
        let Some(plan) = self.task.plan.job.clone().filter(|plan| plan.cancel.is_some() && !left.is_empty()) else {
            return Ok(());
        };
        let scan = ScanState::begin(0, (self.task.clock)(), None);
        let base = self.reader(Lane::Main, &scan, None)?;
        for job in left {
            self.cancel(&plan, &job, &base).await;
        }
        Ok(())
    }

    /// Tells the API that nobody wants the result of a job any more, where it has a request for that. What comes of it changes nothing.
    async fn cancel(&self, plan: &JobPlan, job: &Job, base: &Reader) {
        let Some(cancel) = &plan.cancel else { return };
        let asking = base.with([("job", job_value(&job.id, &[]))]);
        if let Ok(request) = asking.request(cancel) {
            drop(self.answered(&asking, &request).await);
        }
    }

    /// Commits where a scan is, before anything else is done.
    pub(super) async fn hold(&self, lane: Lane, scan: &ScanState) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Hold { lane, scan: Box::new(scan.clone()), reply }).await?;
        answer.await.map_err(|_| unexplained())
    }
}

impl Reader {
    /// The same with these variables besides, for other requests than those of its pages.
    fn with<const N: usize>(&self, given: [(&'static str, Value); N]) -> Self {
        let variables = given.into_iter().fold(self.variables.clone(), super::render::Variables::and);
        let shared = variables.value();
        Self {
            plan: Arc::clone(&self.plan),
            list: Arc::clone(&self.list),
            rows: self.rows.clone(),
            client: self.client.clone(),
            variables,
            shared,
            stop_below: self.stop_below.clone(),
            in_window: self.in_window,
            token: self.token.clone(),
            node: self.node.clone(),
        }
    }

    /// The same for another list.
    fn reading(self, list: ListPlan) -> Self {
        Self { list: Arc::new(list), ..self }
    }

    /// A request of the sync for something beside its pages.
    pub(super) fn request(&self, request: &RequestPlan) -> Result<Request, Error> {
        Ok(Draft::new(&self.plan.connection.base_url, request, &self.shared)?.finish(None))
    }

    /// The same for what is asked of a job that is done, whose last answer has `told` so.
    fn of_job(&self, id: &Json, told: &Value, more: &[(&str, Value)]) -> Self {
        self.with([("job", job_value(id, more)), ("response", told.clone())])
    }

    /// The request for a part.
    fn part_request(&self, parts: &Parts<'_>, at: usize) -> Result<Request, Error> {
        let Some(item) = parts.items.get(at) else { return Err(unexplained()) };
        if let Some(request) = parts.request {
            let more = [("part", Value::from(Serde(item))), ("index", Value::from(at))];
            return self.of_job(&parts.id, &parts.told, &more).request(request);
        }
        let text = text_of(item);
        let wrong = || {
            // what may be its signature is not known as a secret yet
            let shown = text.split(['?', '#']).next().unwrap_or_default();
            Error::Url { url: self.client.redact(shown) }
        };
        let url = parts.answer.url.join(text.trim()).map_err(|_| wrong())?;
        // it may be signed, and who has it has the file
        for (_, value) in url.query_pairs() {
            self.client.learn(&value);
        }
        let request = RequestPlan::of_file(&self.list.request);
        Ok(Draft::new(&self.plan.connection.base_url, &request, &self.shared)?.finish(Some(url)))
    }
}

/// A job as templates see it.
fn job_value(id: &Json, more: &[(&str, Value)]) -> Value {
    let own = [("id", Value::from(Serde(id)))];
    Value::from_pairs(own.into_iter().chain(more.iter().cloned()))
}

/// Whether nobody has to ask for the job again: it has failed, or the API refuses for good to tell of it.
fn ends_job(error: &Error) -> bool {
    match error {
        Error::JobFailed { .. } => true,
        Error::Status { status, .. } => matches!(status, 400..500) && !matches!(status, 401 | 403 | 408 | 425 | 429),
        Error::Rule { end, .. } => *end == RuleEnd::Fail,
        _ => false,
    }
}

fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
