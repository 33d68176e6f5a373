//! One request until it succeeds or has failed for good.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::answer::Reader;
use super::rules::{Rules, Ruling};
use super::stream::{Broken, Outlet};
use super::{Clock, Error, Event, Observer};
use crate::plan::{SyncPlan, limits};
use crate::remote::{self, Answered, Body, Client, Request, Response};
use crate::scan::PageFacts;
use crate::scan::retry::{Attempt, Decision, Failure, GiveUpReason, after, decide};
use crate::store::RequestRecord;

/// What came of a request.
pub(super) enum Fetched {
    /// an answer with a status below 300, or one that a rule of `errors` takes for a success
    Answer {
        /// what came
        response: Response,
        /// whether such a rule does
        accepted: bool,
    },
    /// a success whose records were handed on while it came
    Streamed {
        /// what it says about the next page; none where a sample was enough
        facts: Option<PageFacts>,
        /// HTTP status
        status: u16,
        /// bytes that came
        bytes: u64,
    },
    /// there is no such page: 404, where the caller said that it may be the end of a counted list; or no such detail
    NoSuchPage,
    /// an answer that the sync's own words explain
    Verdict(Verdict),
    /// an answer that a rule of `errors` takes for the end of the list
    Empty,
    /// an answer that a rule of `errors` leaves out, and why
    LeftOut(Error),
}

/// What follows an attempt.
enum Next {
    /// it is what was asked for; whether a rule of `errors` says so
    Answered { accepted: bool },
    /// it is something else, and no failure
    Done(Fetched),
    /// at once once more: the token is another one
    Renewed,
    /// it has failed, and is perhaps tried again; whether a rule of `errors` says so
    Failed(Failure, bool),
}

/// What the words of a sync make of an answer, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// the API does not know the token any more
    Expired,
    /// the window holds more than the API gives
    Split,
}

/// Sends the requests of one sync, counts them, and keeps a log of them if it is wanted.
pub(super) struct Fetcher {
    plan: Arc<SyncPlan>,
    observer: Observer,
    clock: Clock,
    requests: AtomicU64,
    noted: Noted,
    log: Mutex<VecDeque<RequestRecord>>,
    repeats: Repeats,
    /// details that were found
    details_found: AtomicU64,
    /// records that have none and count as deleted
    details_gone: AtomicU64,
}

/// What becomes of requests when they are over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// they are kept in the log
    pub kept: bool,
    /// whoever watches is told
    pub told: bool,
}

/// One attempt.
struct Tried {
    /// 1 is the first
    number: u32,
    /// since when it was to be sent
    since: DateTime<Utc>,
    /// when it left; never where it could not
    left: OnceLock<DateTime<Utc>>,
}

/// Which requests may be sent again though the API may have got them.
#[derive(Debug, Clone, Copy)]
enum Repeats {
    /// reads, however they are spelled
    Reads,
    /// those that do the same when they come twice
    Idempotent,
    /// all: a key tells the API that it is the same one
    Keyed,
}

impl Fetcher {
    pub(super) fn new(plan: Arc<SyncPlan>, observer: Observer, clock: Clock, noted: Noted) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            plan,
            observer,
            clock,
            requests: zero(),
            noted,
            log: Mutex::default(),
            repeats: Repeats::Reads,
            details_found: zero(),
            details_gone: zero(),
        }
    }

    /// Notes whether a record has its detail, or counts as deleted because it has none.
    pub(super) fn note_detail(&self, found: bool) {
        let count = if found { &self.details_found } else { &self.details_gone };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// That one record has no detail says that it is deleted; that none of many has, more likely that details are not where they are looked
    /// for.
    ///
    /// # Errors
    /// [`Error::DetailsGone`].
    pub(super) fn check_details(&self) -> Result<(), Error> {
        let gone = self.details_gone.load(Ordering::Relaxed);
        let guard = self.plan.deletes.guard();
        if guard.allow_empty || gone < guard.min_rows.max(1) || self.details_found.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(Error::DetailsGone { gone, sync: self.plan.id.to_string() })
    }

    /// The same for the requests of an action, which may change something. `keyed`: they have a key that tells them from others.
    pub(super) fn of_action(self, keyed: bool) -> Self {
        Self { repeats: if keyed { Repeats::Keyed } else { Repeats::Idempotent }, ..self }
    }

    /// Requests sent so far, repeated ones included.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Takes what was logged since the last time.
    pub(super) fn take_log(&self) -> Vec<RequestRecord> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Sends a request, waits and sends it again as the plan allows. `missing` are the statuses that say that there is nothing at the place that
    /// is asked for; `by_token`: it carries the token of a delta feed. A success is handed to `outlet` while it comes, if there is one; if it
    /// breaks in the middle, it is asked for again as a whole.
    pub(super) async fn fetch(
        &self,
        reader: &Arc<Reader>,
        request: &Request,
        (missing, by_token): (&[u16], bool),
        outlet: Option<&Outlet<'_>>,
    ) -> Result<Fetched, Error> {
        let client = &reader.client;
        let mut rules = Rules::new(reader, request);
        let (mut number, mut since) = (1, (self.clock)());
        loop {
            let tried = Tried { number, since, left: OnceLock::new() };
            let (mut sent, mut open) = match self.send(client, request, outlet.is_some(), &tried.left).await {
                Ok(Answered { response, body }) => (Ok(response), body),
                Err(error) => (Err(error), None),
            };
            if open.is_none() {
                self.note(client, request, &tried, &sent, None);
            }
            let mut next = match &sent {
                Ok(response) => {
                    let verdict = reader.judge(response, by_token)?.map(Fetched::Verdict);
                    self.answered(&mut rules, response, (verdict, missing)).await?
                }
                Err(error @ remote::Error::Parked { wait, .. }) => return Err(self.parked(error.to_string(), *wait)),
                Err(error) => failure(error),
            };
            if let (Some(body), Some(outlet)) = (&mut open, outlet) {
                if let (Next::Answered { accepted }, Ok(response)) = (&next, &sent) {
                    let streamed = |facts, bytes| Fetched::Streamed { facts, status: response.status, bytes };
                    match outlet.read(reader, request, (response, *accepted), body).await {
                        Ok(facts) => next = Next::Done(streamed(Some(facts), body.read())),
                        Err(Broken::Enough) => next = Next::Done(streamed(None, body.read())),
                        Err(Broken::Other(error)) => return Err(error),
                        Err(Broken::Wire(error)) => (next, sent) = (failure(&error), Err(error)),
                    }
                }
                self.note(client, request, &tried, &sent, Some(&*body));
            }
            // its place is for the next request
            drop(open);
            since = (self.clock)();
            let (failure, wanted) = match next {
                Next::Answered { accepted } => return Ok(Fetched::Answer { response: sent?, accepted }),
                Next::Done(fetched) => return Ok(fetched),
                Next::Renewed => continue,
                Next::Failed(failure, wanted) => (failure, wanted),
            };
            let repeatable = match self.repeats {
                Repeats::Reads => request.method.repeats_as_read(),
                Repeats::Idempotent => request.method.is_idempotent(),
                Repeats::Keyed => true,
            };
            let attempt = Attempt { number, repeatable, wanted };
            let (plan, now) = (&self.plan.connection, (self.clock)());
            let random = RandomState::new().hash_one(number);
            match decide(&plan.retry, plan.rate_limit.wait_max, attempt, &failure, now, random) {
                Decision::GiveUp(reason) => return Err(failed(client, request, sent, reason)),
                Decision::Park(wait) => {
                    // every request of the connection stops, instead of being told the same
                    client.hold(wait);
                    return Err(self.parked(told(client, request, &sent), wait));
                }
                Decision::Wait(wait) => {
                    self.wait(client, request, &sent, (wait, failure.wait_asked(now).is_some())).await;
                    number += 1;
                }
            }
        }
    }

    /// What follows an answer: the words of the sync come first, then the rules of `errors`, then its status.
    async fn answered(
        &self,
        rules: &mut Rules<'_>,
        response: &Response,
        (verdict, missing): (Option<Fetched>, &[u16]),
    ) -> Result<Next, Error> {
        if let Some(verdict) = verdict {
            return Ok(Next::Done(verdict));
        }
        let client = rules.client();
        let failure = || {
            let failure = Failure::from_answer(response.status, |name| response.header(name));
            failure.limited(client.used_up_for(response, (self.clock)()))
        };
        match rules.rule(response).await? {
            Ruling::None => {}
            Ruling::Again(told) => return Ok(Next::Failed(failure().telling(told), true)),
            Ruling::Accept => {
                if response.status < 300 {
                    client.got_in(response);
                }
                return Ok(Next::Answered { accepted: true });
            }
            Ruling::Empty => return Ok(Next::Done(Fetched::Empty)),
            Ruling::LeftOut(why) => return Ok(Next::Done(Fetched::LeftOut(why))),
            Ruling::Renew => {
                client.refuse_token(response);
                return Ok(Next::Renewed);
            }
        }
        Ok(match response.status {
            ..300 => {
                client.got_in(response);
                Next::Answered { accepted: false }
            }
            status if missing.contains(&status) => Next::Done(Fetched::NoSuchPage),
            401 if client.can_renew() && rules.may_renew(response) => {
                client.refuse_token(response);
                Next::Renewed
            }
            401 if client.is_agreement_over(response) => {
                let reason = format!(
                    "the API answered 401 to its token, and nothing follows that: {}",
                    client.excerpt(response)
                );
                return Err(client.over(&reason).await.into());
            }
            _ => Next::Failed(failure(), false),
        })
    }

    /// Waits before the next attempt. `asked`: the server has said how long.
    async fn wait(
        &self,
        client: &Client,
        request: &Request,
        sent: &Result<Response, remote::Error>,
        (wait, asked): (Duration, bool),
    ) {
        let reason = match sent {
            Ok(response) => format!("{} answered {}", client.masked(request), response.status),
            Err(error) => error.to_string(),
        };
        (self.observer)(Some(&self.plan.id), Event::Waiting { reason, wait });
        if asked {
            // the server speaks of the account, so every request of the connection waits, this one too
            client.hold(wait);
        } else {
            client.rest(wait).await;
        }
    }

    fn parked(&self, what: String, wait: Duration) -> Error {
        Error::Parked { what, at: after(wait, (self.clock)()) }
    }

    async fn send<'c>(
        &self,
        client: &'c Client,
        request: &'c Request,
        streams: bool,
        left: &OnceLock<DateTime<Utc>>,
    ) -> Result<Answered<'c>, remote::Error> {
        let sent = client.ask(request, streams, left).await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        sent
    }

    /// Keeps what came of an attempt, and tells it, if that is wanted.
    fn note(
        &self,
        client: &Client,
        request: &Request,
        tried: &Tried,
        sent: &Result<Response, remote::Error>,
        body: Option<&Body<'_>>,
    ) {
        if self.noted == Noted::default() {
            return;
        }
        let Tried { number, since, left } = tried;
        let at = left.get().copied().unwrap_or(*since);
        let millis = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).num_milliseconds().try_into().unwrap_or(0);
        let whole = sent.as_ref().map_or(0, |response| response.body.len() as u64);
        let record = RequestRecord {
            at,
            method: request.method.as_str().to_owned(),
            url: client.masked(request).split_once(' ').map(|(_, url)| url.to_owned()).unwrap_or_default(),
            status: sent.as_ref().ok().map(|response| response.status),
            duration_ms: millis(at, (self.clock)()),
            bytes: body.map_or(whole, Body::read),
            attempt: *number,
            error: sent.as_ref().err().map(ToString::to_string),
            waited_ms: millis(*since, at),
            request_headers: client.logged_headers(request),
            response_headers: sent.as_ref().map(|response| client.logged_answer(response)).unwrap_or_default(),
        };
        let record = Arc::new(record);
        if self.noted.told {
            (self.observer)(Some(&self.plan.id), Event::Request(Arc::clone(&record)));
        }
        if self.noted.kept {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() >= limits::REQUESTS_LOGGED_AT_ONCE {
                log.pop_front();
            }
            log.push_back(Arc::unwrap_or_clone(record));
        }
    }
}

/// What follows where there is no answer.
fn failure(error: &remote::Error) -> Next {
    let (temporary, sent) = (error.is_temporary(), !error.was_never_sent());
    Next::Failed(Failure::Transport { temporary, sent }, false)
}

/// What was answered, for people.
fn told(client: &Client, request: &Request, sent: &Result<Response, remote::Error>) -> String {
    match sent {
        Ok(response) => {
            let excerpt = client.excerpt(response);
            let excerpt = if excerpt.is_empty() { excerpt } else { format!(": {excerpt}") };
            format!("{} answered {}{excerpt}", client.masked(request), response.status)
        }
        Err(error) => error.to_string(),
    }
}

fn failed(client: &Client, request: &Request, sent: Result<Response, remote::Error>, reason: GiveUpReason) -> Error {
    match sent {
        Ok(response) => Error::Status {
            request: client.masked(request),
            status: response.status,
            reason,
            excerpt: client.excerpt(&response),
        },
        Err(error) => error.into(),
    }
}
