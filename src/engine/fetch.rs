//! One request until it succeeds or has failed for good.

use std::hash::{BuildHasher, RandomState};

use chrono::{DateTime, Utc};

use super::{Error, Event, Observer};
use crate::plan::SyncPlan;
use crate::remote::{Client, Request, Response};
use crate::scan::retry::{Decision, Failure, GiveUpReason, decide};

/// What came of a request.
pub(super) enum Fetched {
    /// an answer with a status below 300
    Answer(Response),
    /// 404, where the caller said that it may be the end of a counted list
    NoSuchPage,
}

/// Sends a request, waits and sends it again as the plan allows. Gives the answer and the number of attempts.
pub(super) async fn fetch(
    plan: &SyncPlan,
    client: &Client,
    request: &Request,
    may_be_past_end: bool,
    observer: &Observer,
) -> (Result<Fetched, Error>, u64) {
    let mut attempt = 1;
    loop {
        let sent = client.send(request).await;
        let failure = match &sent {
            Ok(response) if response.status < 300 => None,
            Ok(response) if response.status == 404 && may_be_past_end => {
                return (Ok(Fetched::NoSuchPage), u64::from(attempt));
            }
            Ok(response) => Some(Failure::from_answer(response.status, |name| response.header(name))),
            Err(error) => Some(Failure::Transport { temporary: error.is_temporary() }),
        };
        let Some(failure) = failure else {
            return (sent.map(Fetched::Answer).map_err(Error::from), u64::from(attempt));
        };
        let now = now();
        match decide(&plan.connection.retry, attempt, &failure, now, RandomState::new().hash_one(attempt)) {
            Decision::GiveUp(reason) => return (Err(failed(client, request, sent, reason)), u64::from(attempt)),
            Decision::Wait(wait) => {
                let why = match &sent {
                    Ok(response) => format!("{} answered {}", client.masked(request), response.status),
                    Err(error) => error.to_string(),
                };
                observer(Some(&plan.id), Event::Waiting { reason: why, wait });
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

fn failed(client: &Client, request: &Request, sent: Result<Response, crate::remote::Error>, reason: GiveUpReason) -> Error {
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

/// The engine's clock.
#[expect(clippy::disallowed_methods, reason = "the engine hands the time to the rooms that must not know it")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}
