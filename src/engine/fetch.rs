//! One request until it succeeds or has failed for good.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Clock, Error, Event, Observer};
use crate::plan::SyncPlan;
use crate::remote::{self, Client, Request, Response};
use crate::scan::retry::{Decision, Failure, GiveUpReason, decide};
use crate::store::RequestRecord;

/// What came of a request.
pub(super) enum Fetched {
    /// an answer with a status below 300
    Answer(Response),
    /// 404, where the caller said that it may be the end of a counted list
    NoSuchPage,
    /// an answer that the sync's own words explain
    Verdict(Verdict),
}

/// What the words of a sync make of an answer, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// the API does not know the token any more
    Expired,
    /// the window holds more than the API gives
    Split,
}

/// Gives a verdict on an answer, or leaves it to its status.
pub(super) type Judge<'j> = dyn Fn(&Response) -> Result<Option<Verdict>, Error> + Sync + 'j;

/// Sends the requests of one sync, counts them, and keeps a log of them if it is wanted.
pub(super) struct Fetcher {
    plan: Arc<SyncPlan>,
    observer: Observer,
    clock: Clock,
    requests: AtomicU64,
    log: Option<Mutex<Vec<RequestRecord>>>,
}

impl Fetcher {
    pub(super) fn new(plan: Arc<SyncPlan>, observer: Observer, clock: Clock, keeps_log: bool) -> Self {
        let log = keeps_log.then(|| Mutex::new(Vec::new()));
        Self { plan, observer, clock, requests: AtomicU64::new(0), log }
    }

    /// Requests sent so far, repeated ones included.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Takes what was logged since the last time.
    pub(super) fn take_log(&self) -> Vec<RequestRecord> {
        let log = self.log.as_ref().map(|log| log.lock().unwrap_or_else(PoisonError::into_inner));
        log.map(|mut log| std::mem::take(&mut *log)).unwrap_or_default()
    }

    /// Sends a request, waits and sends it again as the plan allows.
    pub(super) async fn fetch(
        &self,
        client: &Client,
        request: &Request,
        may_be_past_end: bool,
        judge: &Judge<'_>,
    ) -> Result<Fetched, Error> {
        let mut attempt = 1;
        loop {
            let sent = self.send(client, request, attempt).await;
            if let Ok(response) = &sent
                && let Some(verdict) = judge(response)?
            {
                return Ok(Fetched::Verdict(verdict));
            }
            let failure = match &sent {
                Ok(response) if response.status < 300 => return Ok(Fetched::Answer(sent?)),
                Ok(response) if response.status == 404 && may_be_past_end => return Ok(Fetched::NoSuchPage),
                Ok(response) => Failure::from_answer(response.status, |name| response.header(name)),
                Err(error) => Failure::Transport { temporary: error.is_temporary() },
            };
            let now = (self.clock)();
            match decide(&self.plan.connection.retry, attempt, &failure, now, RandomState::new().hash_one(attempt)) {
                Decision::GiveUp(reason) => return Err(failed(client, request, sent, reason)),
                Decision::Wait(wait) => {
                    let reason = match &sent {
                        Ok(response) => format!("{} answered {}", client.masked(request), response.status),
                        Err(error) => error.to_string(),
                    };
                    (self.observer)(Some(&self.plan.id), Event::Waiting { reason, wait });
                    if failure.wait_asked(now).is_some() {
                        // the server speaks of the account, so every request of the connection waits, this one too
                        client.hold(wait);
                    } else {
                        tokio::time::sleep(wait).await;
                    }
                    attempt += 1;
                }
            }
        }
    }

    async fn send(&self, client: &Client, request: &Request, attempt: u32) -> Result<Response, remote::Error> {
        let at = (self.clock)();
        let sent = client.send(request).await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(log) = &self.log {
            let record = RequestRecord {
                at,
                method: request.method.as_str().to_owned(),
                url: client.masked(request).split_once(' ').map(|(_, url)| url.to_owned()).unwrap_or_default(),
                status: sent.as_ref().ok().map(|response| response.status),
                duration_ms: ((self.clock)() - at).num_milliseconds().try_into().unwrap_or(0),
                bytes: sent.as_ref().map_or(0, |response| response.body.len() as u64),
                attempt,
                error: sent.as_ref().err().map(ToString::to_string),
            };
            log.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        }
        sent
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
