//! What the daemon does, in numbers, in the [text format of OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).
//!
//! Labels are providers and syncs, never connections: of these there may be thousands.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{SlotState, SlotStatus, Watcher};
use crate::engine::{Event, SyncReport};
use crate::plan::SyncId;
use crate::store::Queues;

/// Upper bounds of durations, in seconds.
const SECONDS: [f64; 11] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSync {
    provider: String,
    sync: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRun {
    provider: String,
    sync: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRows {
    provider: String,
    sync: String,
    action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfToken {
    provider: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// The numbers. Clones count into the same.
#[derive(Clone)]
pub struct Metrics {
    runs: Family<OfRun, Counter>,
    requests: Family<OfSync, Counter>,
    records: Family<OfSync, Counter>,
    quarantined: Family<OfSync, Counter>,
    rows: Family<OfRows, Counter>,
    waited: Family<OfSync, Counter<f64, AtomicU64>>,
    durations: Histogram,
    lags: Histogram,
    syncs: Family<OfState, Gauge>,
    behind: Gauge<f64, AtomicU64>,
    tokens: Family<OfToken, Counter>,
    events: Family<OfState, Gauge>,
    deliveries: Family<OfState, Gauge>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("headwater");
        let histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            runs: Family::default(),
            requests: Family::default(),
            records: Family::default(),
            quarantined: Family::default(),
            rows: Family::default(),
            waited: Family::default(),
            durations: histogram(),
            lags: histogram(),
            syncs: Family::default(),
            behind: Gauge::default(),
            tokens: Family::default(),
            events: Family::default(),
            deliveries: Family::default(),
            registry: Arc::default(),
        };
        registry.register("runs", "Runs that have ended, by how", metrics.runs.clone());
        registry.register("requests", "Requests sent, repeated ones included", metrics.requests.clone());
        registry.register("records", "Records that have come, valid or not", metrics.records.clone());
        registry.register("quarantined", "Records that are no rows", metrics.quarantined.clone());
        registry.register("rows", "Rows that changed, by action", metrics.rows.clone());
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "request_wait",
            "Time spent waiting before a request is sent again",
            seconds(),
            metrics.waited.clone(),
        );
        registry.register_with_unit("run", "How long runs take", seconds(), metrics.durations.clone());
        registry.register_with_unit(
            "run_lag",
            "How long after they were due runs begin",
            seconds(),
            metrics.lags.clone(),
        );
        registry.register("syncs", "Syncs, by what they do now", metrics.syncs.clone());
        registry.register_with_unit(
            "behind",
            "How long the sync waits that was due first and has not begun",
            seconds(),
            metrics.behind.clone(),
        );
        registry.register("token_refreshes", "Tokens made, or tried to make, by outcome", metrics.tokens.clone());
        registry.register("inbox_events", "Events from APIs that are there, by state", metrics.events.clone());
        registry.register(
            "deliveries",
            "Notifications to applications that are there, by state",
            metrics.deliveries.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// A watcher that counts, and tells another one.
    pub fn watching(&self, next: Watcher) -> Watcher {
        let metrics = self.clone();
        Arc::new(move |run_id, sync, event| {
            match (sync, &event) {
                (Some(id), Event::Waiting { wait, .. }) => {
                    metrics.waited.get_or_create(&of(id)).inc_by(wait.as_secs_f64());
                }
                (_, Event::Token { provider, outcome, .. }) => {
                    let of = OfToken { provider: provider.clone(), outcome: outcome.as_str() };
                    metrics.tokens.get_or_create(&of).inc();
                }
                _ => {}
            }
            next(run_id, sync, event);
        })
    }

    /// A run begins so long after it was due.
    pub(super) fn begins(&self, lag: Duration) {
        self.lags.observe(lag.as_secs_f64());
    }

    /// A run has ended that took so long.
    pub(super) fn ended(&self, report: &SyncReport, took: Duration) {
        let OfSync { provider, sync } = of(&report.sync);
        let run = OfRun { provider: provider.clone(), sync: sync.clone(), state: report.state };
        self.runs.get_or_create(&run).inc();
        self.durations.observe(took.as_secs_f64());
        let id = of(&report.sync);
        self.requests.get_or_create(&id).inc_by(report.requests);
        self.records.get_or_create(&id).inc_by(report.records);
        self.quarantined.get_or_create(&id).inc_by(report.quarantined);
        let rows = [("added", report.added), ("updated", report.updated), ("deleted", report.deleted)];
        for (action, rows) in rows {
            let label = OfRows { provider: provider.clone(), sync: sync.clone(), action };
            self.rows.get_or_create(&label).inc_by(rows);
        }
    }

    /// All of them as text, with how the syncs are at `now` and what waits.
    ///
    /// # Errors
    /// None in practice: it is written into memory.
    pub fn text(
        &self,
        syncs: &[SlotStatus],
        queues: &Queues,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<String, std::fmt::Error> {
        let set = |family: &Family<OfState, Gauge>, state: &'static str, number: u64| {
            family.get_or_create(&OfState { state }).set(i64::try_from(number).unwrap_or(i64::MAX));
        };
        let count = |state: &'static str, is: &dyn Fn(&SlotStatus) -> bool| {
            set(&self.syncs, state, syncs.iter().filter(|sync| is(sync)).count() as u64);
        };
        let Queues { events_waiting, events_started, events_failed, deliveries_pending, deliveries_failed } = *queues;
        set(&self.events, "waiting", events_waiting);
        set(&self.events, "started", events_started);
        set(&self.events, "failed", events_failed);
        set(&self.deliveries, "pending", deliveries_pending);
        set(&self.deliveries, "failed", deliveries_failed);
        count("running", &|sync| sync.state == SlotState::Running);
        count("waiting", &|sync| sync.state == SlotState::Waiting);
        count("paused", &|sync| sync.state == SlotState::Idle && sync.paused);
        count("idle", &|sync| sync.state == SlotState::Idle && !sync.paused);
        let waiting = syncs.iter().filter(|sync| sync.state == SlotState::Waiting).filter_map(|sync| sync.due_at);
        let behind = waiting.min().and_then(|due| (now - due).to_std().ok()).unwrap_or_default();
        self.behind.set(behind.as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn of(id: &SyncId) -> OfSync {
    OfSync { provider: id.provider.clone(), sync: id.sync.clone() }
}
