//! The budgets of a sync: where it stops between two pages, to be continued by the next run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Budget;

/// Counts what a sync uses of its budgets: its own, whose time runs from its beginning, and the run's, whose time runs from the run's.
pub(super) struct Meter {
    requests_max: Option<u64>,
    records_max: Option<u64>,
    runtime: Option<Duration>,
    /// when the run's time is up
    until: Option<Instant>,
    records: AtomicU64,
}

impl Meter {
    /// For a sync with these words, in a run that began just now with this budget.
    pub(super) fn new(own: Budget, of_run: Budget) -> Self {
        Self {
            requests_max: least(own.requests, of_run.requests),
            records_max: least(own.records, of_run.records),
            runtime: own.runtime,
            until: of_run.runtime.and_then(|runtime| now().checked_add(runtime)),
            records: AtomicU64::new(0),
        }
    }

    /// The sync begins: its own time runs from now on.
    pub(super) fn begin(&mut self) {
        let own = self.runtime.and_then(|runtime| now().checked_add(runtime));
        self.until = least(self.until, own);
    }

    /// Whether anything bounds the sync.
    pub(super) fn is_bounded(&self) -> bool {
        self.requests_max.is_some() || self.records_max.is_some() || self.until.is_some()
    }

    /// Notes records that have come.
    pub(super) fn add(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// The bound that is reached, if one is, after so many requests.
    pub(super) fn spent(&self, requests: u64) -> Option<&'static str> {
        if self.until.is_some_and(|until| now() >= until) {
            Some("max_runtime")
        } else if self.requests_max.is_some_and(|max| requests >= max) {
            Some("max_requests")
        } else if self.records_max.is_some_and(|max| self.records.load(Ordering::Relaxed) >= max) {
            Some("max_records")
        } else {
            None
        }
    }

    /// Waits until the time is up; for ever where there is no bound.
    pub(super) async fn time_is_up(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a run takes is measured by the engine")]
fn now() -> Instant {
    Instant::now()
}
