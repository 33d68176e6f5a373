//! What every request of a connection goes through: a place among those in flight, and a turn of the budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use governor::clock::{Clock, MonotonicClock};
use tokio::sync::{Mutex, Notify};

use super::super::script::Script;
use super::budget::{Budget, Cause, Wait};
use super::places::{Places, Seat};
use super::told::{Told, told};
use crate::plan::{RateHeaders, RatePlan};

/// The shared budget of a connection.
pub(in crate::remote) struct Rate {
    budget: Budget<Ticks>,
    ticks: Ticks,
    places: Places,
    /// first come, first served: only one request at a time waits for the budget, the others wait for it
    gate: Mutex<()>,
    /// what the budget said may be otherwise now
    changed: Notify,
    headers: Option<RateHeaders>,
    wait_max: Duration,
}

/// What the budget goes by: time as it passes or, where a script answers, as its clock does.
#[derive(Debug, Clone)]
struct Ticks {
    script: Option<(Arc<Script>, Instant)>,
}

impl Clock for Ticks {
    type Instant = Instant;

    fn now(&self) -> Instant {
        match &self.script {
            None => MonotonicClock.now(),
            Some((script, began)) => *began + script.waited(),
        }
    }
}

/// A request's place among those in flight, until it is dropped.
pub(in crate::remote) struct Place<'r> {
    rate: &'r Rate,
    seat: Seat<'r>,
    /// the number of the request, once it was sent
    sent: Option<u64>,
}

/// The budget is used up for longer than a run waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::remote) struct Parked {
    /// until there is some again
    pub wait: Duration,
    /// why
    pub cause: Cause,
}

impl Rate {
    /// Where a script answers, waits take no time: its clock moves on instead.
    pub fn new(plan: &RatePlan, script: Option<Arc<Script>>) -> Self {
        let ticks = Ticks { script: script.map(|script| (script, MonotonicClock.now())) };
        Self {
            budget: Budget::new(&plan.quotas, &ticks),
            ticks,
            places: Places::new(plan.concurrency),
            gate: Mutex::new(()),
            changed: Notify::new(),
            headers: plan.headers.clone(),
            wait_max: plan.wait_max,
        }
    }

    /// A place among the requests in flight.
    pub async fn enter(&self) -> Place<'_> {
        Place { rate: self, seat: self.places.enter().await, sent: None }
    }

    /// Waits until the request may be sent, and counts it as sent.
    ///
    /// # Errors
    /// [`Parked`] when that would take longer than a run waits: nothing is to be sent.
    pub async fn ready(&self, place: &mut Place<'_>) -> Result<(), Parked> {
        let _turn = self.gate.lock().await;
        loop {
            match self.budget.take(&mut place.sent) {
                Ok(()) => {
                    place.seat.begin();
                    return Ok(());
                }
                Err(Wait::For(wait, cause)) if wait > self.wait_max => return Err(Parked { wait, cause }),
                // what an answer says meanwhile can make it shorter or longer
                Err(Wait::For(wait, _)) => match &self.ticks.script {
                    Some((script, _)) => script.rest(wait),
                    None => drop(tokio::time::timeout(wait, self.changed.notified()).await),
                },
                Err(Wait::ForAnswer) => self.changed.notified().await,
            }
        }
    }

    /// Learns from the head of an answer, whatever its status. The request is in flight until its place is dropped.
    pub fn answered<'a>(&self, place: &Place<'_>, status: u16, header: impl Fn(&str) -> Option<&'a str>) {
        let is_refused = status == 429 || status == 503 && header("retry-after").is_some();
        if is_refused {
            place.seat.refused();
        } else {
            place.seat.succeeded();
        }
        if let (Some(headers), Some(sent)) = (&self.headers, place.sent) {
            self.budget.told(sent, &told(headers, header, self.wall_clock()));
        }
    }

    /// How long an answer's headers say that there is nothing left; none where something is, or they do not say.
    pub fn used_up_for<'a>(&self, header: impl Fn(&str) -> Option<&'a str>, now: DateTime<Utc>) -> Option<Duration> {
        let Told { remaining, reset, .. } = told(self.headers.as_ref()?, header, now);
        reset.filter(|_| remaining == Some(0))
    }

    fn wall_clock(&self) -> DateTime<Utc> {
        self.ticks.script.as_ref().map_or_else(wall_clock, |(script, _)| script.now())
    }

    /// Lets no request go for this long. A longer pause already asked for stays.
    pub fn hold(&self, wait: Duration) {
        self.budget.hold(wait);
        self.changed.notify_one();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.sent.is_some() {
            self.rate.budget.landed();
            self.rate.changed.notify_one();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server that tells the end of its stretch by the clock, and not what its clock says"
)]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}
