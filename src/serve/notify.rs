//! Sends what applications are told. Nothing is kept here: what is to be sent and what became of it stands in the database, so whoever is
//! killed sends it again, under the same name.
//!
//! Each endpoint has a loop of its own that looks into the database when that has changed, and when something is to be tried again.

use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use super::{Door, Watcher};
use crate::engine::{Error, Event, Outlet, Receipt};
use crate::plan::{NotifyPlan, limits};
use crate::scan::retry::Failure;
use crate::scan::{Fate, fate};
use crate::store::{Delivery, DeliveryEnd, DeliveryState, EndpointState};

/// Who is told, and how.
pub struct Notifier {
    door: Arc<Door>,
    watcher: Watcher,
    endpoints: Vec<(String, Outlet)>,
}

impl Notifier {
    /// A sender to these endpoints; their secrets are read.
    ///
    /// # Errors
    /// A secret is not to be had: which, in words.
    pub fn new(plans: &[NotifyPlan], door: Arc<Door>, watcher: Watcher) -> Result<Self, String> {
        let endpoint = |plan: &NotifyPlan| {
            let outlet = Outlet::new(plan).map_err(|why| format!("`notify` of {}: {why}", plan.name))?;
            Ok((plan.name.clone(), outlet))
        };
        let endpoints = plans.iter().map(endpoint).collect::<Result<_, String>>()?;
        Ok(Self { door, watcher, endpoints })
    }

    /// Sends until it is to stop; with `once` what can be sent now.
    pub async fn run(self, once: bool, stop: watch::Receiver<bool>) {
        let permits = Arc::new(Semaphore::new(limits::NOTIFY_ENDPOINTS_AT_ONCE));
        let mut sending = JoinSet::new();
        for (name, outlet) in self.endpoints {
            let (door, watcher, permits) = (Arc::clone(&self.door), Arc::clone(&self.watcher), Arc::clone(&permits));
            let sender = Sender { name, outlet, door, watcher, permits, stop: stop.clone() };
            sending.spawn(sender.run(once));
        }
        while sending.join_next().await.is_some() {}
    }
}

/// What sends to one endpoint.
struct Sender {
    name: String,
    outlet: Outlet,
    door: Arc<Door>,
    watcher: Watcher,
    permits: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// What one look into the database came to.
struct Looked {
    /// something was sent, so there may be more
    sent: bool,
    /// when there is more, if nothing happens
    next_at: Option<DateTime<Utc>>,
}

impl Sender {
    async fn run(mut self, once: bool) {
        let mut known: Option<Option<SystemTime>> = None;
        let mut next_at = None;
        while !self.is_stopped() {
            let (now, changed_at) = (self.now(), self.door.host().database_changed_at());
            if known != Some(changed_at) || next_at.is_some_and(|at| at <= now) {
                match self.look(now).await {
                    Ok(looked) => {
                        (known, next_at) = (Some(changed_at), looked.next_at);
                        if looked.sent {
                            known = None;
                            continue;
                        }
                    }
                    Err(error) if error.is_taken() => {}
                    Err(error) => {
                        self.report(error.to_string());
                        // the next change of the database may have helped
                        (known, next_at) = (Some(changed_at), Some(now + limits::DATABASE_KNOWN_FOR));
                    }
                }
                if once {
                    return;
                }
            }
            let wait = next_at.and_then(|at| (at - self.now()).to_std().ok()).unwrap_or(limits::DATABASE_LOOKED_AT);
            tokio::select! {
                () = tokio::time::sleep(wait.min(limits::DATABASE_LOOKED_AT)) => {}
                // whoever could stop it has gone: so it ends
                stopped = self.stop.changed() => if stopped.is_err() { return },
            }
        }
    }

    /// Sends what is to be sent now, and notes what became of it.
    async fn look(&self, now: DateTime<Utc>) -> Result<Looked, Error> {
        let name = self.name.clone();
        let session = self.door.session().await?;
        let due = session.call(move |store| store.deliveries_due(&name, now, limits::NOTIFY_AT_ONCE)).await?;
        // others may have the database while it is sent
        drop(session);
        if due.deliveries.is_empty() {
            return Ok(Looked { sent: false, next_at: due.next_at });
        }
        let mut state = due.endpoint;
        let mut ends = Vec::new();
        {
            // nobody closes it
            let _permit = self.permits.acquire().await;
            for delivery in due.deliveries {
                let end = self.send(delivery, &mut state).await;
                let goes_on = matches!(end.state, DeliveryState::Delivered | DeliveryState::GivenUp);
                ends.push(end);
                let is_long = (self.now() - now).to_std().is_ok_and(|took| took > limits::NOTIFY_CONNECT_MAX);
                if !goes_on || is_long || state.paused.is_some() || self.is_stopped() {
                    break;
                }
            }
        }
        // what has arrived is not to arrive again because somebody else has taken the database meanwhile
        let mut noted = self.note(&ends, &state).await;
        while noted.as_ref().is_err_and(Error::is_taken) && !self.is_stopped() {
            tokio::time::sleep(limits::BUSY_WAIT).await;
            noted = self.note(&ends, &state).await;
        }
        noted.map(|()| Looked { sent: true, next_at: None })
    }

    async fn note(&self, ends: &[DeliveryEnd], state: &EndpointState) -> Result<(), Error> {
        let (name, ends, state, now) = (self.name.clone(), ends.to_vec(), state.clone(), self.now());
        let session = self.door.session().await?;
        session.call(move |store| store.note_deliveries(&name, &ends, &state, now)).await
    }

    /// Sends one notification; notes in `state` what that says of the endpoint.
    async fn send(&self, delivery: Delivery, state: &mut EndpointState) -> DeliveryEnd {
        let Delivery { id, event_id, attempts, body } = delivery;
        let answered = self.outlet.send(&event_id, self.now(), body).await;
        let (at, attempt) = (self.now(), attempts.saturating_add(1));
        let asked = answered.as_ref().ok().and_then(|receipt| asked(receipt, at));
        let (status, error) = match answered {
            Ok(Receipt { status: status @ 200..=299, .. }) => (Some(status), None),
            Ok(Receipt { status, .. }) => (Some(status), Some(format!("it answered {status}"))),
            Err(why) => (None, Some(why)),
        };
        let random = xxh3_64(format!("{event_id} {attempt} {}", self.name).as_bytes());
        let fate = fate(attempt, status, asked, at, random);
        let why = error.as_deref().unwrap_or_default();
        let was_failing = state.failing_since.is_some();
        match fate {
            Fate::Delivered => *state = EndpointState::default(),
            Fate::Gone => state.paused = Some("it answered 410 Gone".to_owned()),
            Fate::Again(_) | Fate::GivenUp => {
                let since = *state.failing_since.get_or_insert(at);
                state.wait_until = asked.and_then(|asked| wait_until(at, asked));
                let for_long = (at - since).to_std().is_ok_and(|failing| failing >= limits::NOTIFY_FAILING_MAX);
                if for_long && attempt >= limits::NOTIFY_BLOCKS_FOR {
                    state.paused = Some(format!("nothing has arrived since {}: {why}", since.format("%Y-%m-%d %H:%M")));
                }
            }
        }
        if let Some(paused) = &state.paused {
            let hint = "nothing is sent there until `headwater notifications resume`";
            self.report(format!("{paused}; {hint}"));
        } else if fate == Fate::GivenUp {
            let hint = format!("`headwater notifications replay {event_id}` sends it again");
            self.report(format!("{event_id} was given up: {why}; {hint}"));
        } else if fate != Fate::Delivered && !was_failing {
            self.report(format!("{why}; it is tried again"));
        }
        let state = match fate {
            Fate::Delivered => DeliveryState::Delivered,
            Fate::Again(next_at) => DeliveryState::Pending(next_at),
            Fate::GivenUp => DeliveryState::GivenUp,
            Fate::Gone => DeliveryState::Pending(at),
        };
        DeliveryEnd { id, at, status, error, state }
    }

    fn report(&self, why: String) {
        (self.watcher)(None, None, Event::NotTold { endpoint: self.name.clone(), why });
    }

    fn now(&self) -> DateTime<Utc> {
        self.door.host().now()
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// How long an endpoint asks to be left alone.
fn asked(receipt: &Receipt, now: DateTime<Utc>) -> Option<std::time::Duration> {
    let Receipt { status, retry_after, date } = receipt;
    let header = |name: &str| match name {
        "retry-after" => retry_after.as_deref(),
        "date" => date.as_deref(),
        _ => None,
    };
    Failure::from_answer(*status, header).wait_asked(now).filter(|_| !(200..300).contains(status))
}

fn wait_until(at: DateTime<Utc>, asked: std::time::Duration) -> Option<DateTime<Utc>> {
    at.checked_add_signed(TimeDelta::from_std(asked.min(limits::NOTIFY_WAIT_MAX)).ok()?)
}
