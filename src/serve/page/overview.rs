//! All syncs at a glance; and whether anything has changed since.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::chart;
use super::html::{Shown, page};
use super::routes::Page;
use super::session::Visitor;
use super::words::{asking, count, cut, moment, of_sync, span, sync_name};
use crate::plan::{ApiScope, Schedule, SyncId, SyncPlan, limits};
use crate::serve::records::Parameters;
use crate::serve::{SlotState, SlotStatus};
use crate::store::{PastRun, RunSummary, SyncStatus};

/// What is known of the syncs.
struct Known {
    status: HashMap<SyncId, SyncStatus>,
    runs: HashMap<SyncId, Vec<PastRun>>,
}

/// `GET /`
pub(super) async fn overview(State(state): State<Arc<Page>>, visitor: Visitor, Query(parameters): Parameters) -> Shown {
    let now = state.listening.door.host().now();
    if !visitor.sees() {
        let told = json!({ "title": "Overview", "nav": "overview", "rows": [], "lacks": true });
        return page("overview.html", Some(&visitor), &told);
    }
    let given = |name: &str| parameters.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
    let (wanted, only) = (given("q").trim().to_lowercase(), given("only"));
    let slots = state.slots().await?;
    let known = read(&state).await?;
    let is_meant = |slot: &&SlotStatus| {
        let is_failing = || known.status.get(&slot.id).and_then(|known| known.last_run.as_ref()).is_some_and(failed);
        slot.id.to_string().to_lowercase().contains(&wanted)
            && match only {
                "running" => slot.state != SlotState::Idle,
                "failing" => is_failing(),
                "paused" => slot.paused,
                "quarantine" => known.status.get(&slot.id).is_some_and(|known| known.quarantined > 0),
                _ => true,
            }
    };
    let meant: Vec<_> = slots.iter().filter(is_meant).collect();
    let first = given("from").parse::<usize>().unwrap_or_default().min(meant.len());
    let plan = state.listening.plan();
    let plans: HashMap<&SyncId, &SyncPlan> = plan.syncs.iter().map(|plan| (&plan.id, &**plan)).collect();
    let shown = meant.iter().skip(first).take(limits::PAGE_SYNCS);
    let rows: Vec<_> = shown.map(|slot| row(&state, slot, plans.get(&slot.id).copied(), &known, now)).collect();
    let to = |from: usize| asking("/", &[("q", given("q")), ("only", only), ("from", &from.to_string())]);
    let next = (first + rows.len() < meant.len()).then(|| to(first + limits::PAGE_SYNCS));
    let earlier = (first > 0).then(|| to(first.saturating_sub(limits::PAGE_SYNCS)));
    let told = json!({
        "title": "Overview", "nav": "overview", "rows": rows, "summary": summary(&slots, &known, given("q")), "q": given("q"), "only": only,
        "meant": count(meant.len() as u64), "next": next, "earlier": earlier, "lacks": false,
    });
    page("overview.html", Some(&visitor), &told)
}

async fn read(state: &Page) -> Result<Known, crate::engine::Error> {
    let session = state.listening.door.session().await?;
    let read = |store: &mut crate::store::Store| Ok((store.status()?, store.recent_runs(limits::PAGE_RUNS_DRAWN)?));
    let (status, recent) = session.call(read).await?;
    let mut runs: HashMap<SyncId, Vec<PastRun>> = HashMap::new();
    for past in recent {
        runs.entry(past.id.clone()).or_default().push(past);
    }
    Ok(Known { status: status.into_iter().map(|status| (status.id.clone(), status)).collect(), runs })
}

fn failed(run: &RunSummary) -> bool {
    matches!(run.state.as_str(), "failed" | "interrupted")
}

fn row(state: &Page, slot: &SlotStatus, plan: Option<&SyncPlan>, known: &Known, now: DateTime<Utc>) -> Value {
    let id = &slot.id;
    let status = known.status.get(id);
    let runs = known.runs.get(id).map_or(&[][..], Vec::as_slice);
    let number = |of: fn(&SyncStatus) -> u64| count(status.map_or(0, of));
    json!({
        "connection": id.connection, "sync": sync_name(id), "at": of_sync(id), "id": id.to_string(),
        "state": activity(slot), "paused": slot.paused, "doing": doing(state, id, now),
        "last": status.and_then(|status| status.last_run.as_ref()).map(|run| last(run, now)),
        "fresh": fresh(status, plan, now), "next": slot.due_at.filter(|_| slot.state == SlotState::Idle).map(|at| moment(at, now)),
        "rows": number(|status| status.rows_live), "quarantined": status.map_or(0, |status| status.quarantined),
        "partitions_failed": status.map_or(0, |status| status.partitions_failed), "strip": chart::strip(runs.iter(), now),
    })
}

/// What a sync does, in a word.
pub(super) fn activity(slot: &SlotStatus) -> &'static str {
    match slot.state {
        SlotState::Running => "running",
        SlotState::Waiting => "waiting",
        SlotState::Idle if slot.paused => "paused",
        SlotState::Idle => "idle",
    }
}

/// What its run has done so far.
pub(super) fn doing(state: &Page, id: &SyncId, now: DateTime<Utc>) -> Value {
    let Some(doing) = state.listening.progress.of(id) else { return Value::Null };
    let waiting = doing.waiting.filter(|(_, until)| *until > now);
    json!({
        "run_id": doing.run_id, "resumed": doing.resumed, "restarted": doing.restarted, "pages": count(doing.pages),
        "records": count(doing.records), "total": doing.total.map(count), "done": doing.records, "of": doing.total,
        "rows": count(doing.rows), "waits": count(doing.waits),
        "waiting": waiting.map(|(reason, until)| json!({ "reason": reason, "until": moment(until, now) })),
    })
}

/// How a run went, in short.
pub(super) fn last(run: &RunSummary, now: DateTime<Utc>) -> Value {
    let short = run.error.as_deref().map(|error| cut(error, limits::PAGE_VALUE_CHARS));
    json!({
        "state": run.state, "at": moment(run.started_at, now), "error": run.error, "code": run.error_code,
        "short": short.filter(|_| run.state != "completed"),
    })
}

/// When all was read that there is; and whether that is longer ago than the schedule means.
pub(super) fn fresh(status: Option<&SyncStatus>, plan: Option<&SyncPlan>, now: DateTime<Utc>) -> Value {
    let Some(at) = status.and_then(|status| status.last_completed_at) else { return Value::Null };
    let age = (now - at).to_std().unwrap_or_default();
    let every = match plan.map(|plan| &plan.schedule) {
        Some(Schedule::Every(every)) => Some(*every),
        _ => None,
    };
    let stale = every.is_some_and(|every| age > every.saturating_mul(2));
    json!({ "at": moment(at, now), "age": span(age), "stale": stale, "every": every.map(span) })
}

fn summary(slots: &[SlotStatus], known: &Known, q: &str) -> Value {
    let of = |slot: &SlotStatus| known.status.get(&slot.id);
    let is_failing = |slot: &SlotStatus| of(slot).and_then(|known| known.last_run.as_ref()).is_some_and(failed);
    let one = |word: &str, only: &str, is: &dyn Fn(&SlotStatus) -> bool| {
        let number = count(slots.iter().filter(|slot| is(slot)).count() as u64);
        json!({ "word": word, "only": only, "number": number, "at": asking("/", &[("q", q), ("only", only)]) })
    };
    json!([
        one("all", "", &|_| true),
        one("at work", "running", &|slot| slot.state != SlotState::Idle),
        one("failing", "failing", &is_failing),
        one("paused", "paused", &|slot| slot.paused),
        one("with quarantine", "quarantine", &|slot| of(slot).is_some_and(|known| known.quarantined > 0)),
    ])
}

/// `GET /live`: a text that is another one when something has changed. It does not look into the database, so asking keeps nobody from it.
pub(super) async fn live(State(state): State<Arc<Page>>, visitor: Visitor) -> Shown {
    visitor.must(ApiScope::Syncs)?;
    let slots = state.slots().await?;
    let doing: Vec<_> = slots.iter().filter_map(|slot| state.listening.progress.of(&slot.id)).collect();
    let seen: Vec<_> = slots.iter().map(|slot| (activity(slot), slot.due_at, slot.runs)).collect();
    Ok(format!("{:x}\n", xxh3_64(format!("{seen:?}{doing:?}").as_bytes())).into_response())
}
