//! One sync: what it does, did and holds.

use std::sync::Arc;

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::html::{Shown, page};
use super::overview::{activity, doing, fresh, last};
use super::routes::Page;
use super::session::Visitor;
use super::words::{address, asking, count, moment, of_sync, span};
use super::{chart, facts};
use crate::plan::{ApiScope, SyncId, limits};
use crate::scan::Checkpoint;
use crate::store::{InQuarantine, PastRun, RunsOf, Store, SyncStatus};

/// What the database has of a sync.
struct Held {
    status: Option<SyncStatus>,
    runs: Vec<PastRun>,
    checkpoint: Option<Checkpoint>,
    quarantine: Vec<InQuarantine>,
}

/// `GET /syncs/{connection}/{sync}`
pub(super) async fn sync(
    State(state): State<Arc<Page>>,
    visitor: Visitor,
    Path((connection, sync)): Path<(String, String)>,
) -> Shown {
    visitor.must(ApiScope::Syncs)?;
    let id = state.id(&connection, &sync)?;
    let now = state.listening.door.host().now();
    let slots = state.slots().await?;
    let slot = slots.iter().find(|slot| slot.id == id);
    let project = state.listening.plan();
    let plan = project.syncs.iter().find(|plan| plan.id == id);
    let wanted = id.clone();
    let session = state.listening.door.session().await?;
    let Held { status, runs, checkpoint, quarantine } = session.call(move |store| read(store, &wanted)).await?;
    drop(session);
    let status = status.as_ref();
    let drawn = || runs.iter().take(limits::PAGE_RUNS_DRAWN);
    let told = json!({
        "title": id.to_string(), "nav": "overview", "at": of_sync(&id), "connection": id.connection, "provider": id.provider,
        "state": slot.map_or("not served", activity), "paused": slot.is_some_and(|slot| slot.paused), "served": slot.is_some(),
        "due": slot.and_then(|slot| slot.due_at).map(|at| moment(at, now)),
        "description": plan.and_then(|plan| plan.description.as_ref()), "doing": doing(&state, &id, now),
        "last": status.and_then(|status| status.last_run.as_ref()).map(|run| last(run, now)),
        "facts": plan.map(|plan| facts::of_sync(plan, status, &fresh(status, Some(plan), now))),
        "tables": plan.map(|plan| tables(plan, &id)),
        "checkpoint": checkpoint.as_ref().map(|checkpoint| facts::of_checkpoint(checkpoint, now)),
        "bars": chart::bars(drawn()), "drawn": drawn().map(|past| run(past, now)).collect::<Vec<_>>(),
        "shown": quarantine.len(), "held": status.map_or(0, |status| status.quarantined),
        "quarantined": count(status.map_or(0, |status| status.quarantined)),
        "quarantine": quarantine.iter().map(|held| in_quarantine(held, &visitor, now)).collect::<Vec<_>>(),
        "logs": asking("/logs", &[("connection", &id.connection), ("sync", &id.sync), ("variant", &id.variant)]),
    });
    page("sync.html", Some(&visitor), &told)
}

fn read(store: &mut Store, id: &SyncId) -> Result<Held, crate::store::Error> {
    let SyncId { connection, provider: _, sync, variant } = id.clone();
    let of = RunsOf {
        connection: Some(connection),
        sync: Some(sync),
        variant: Some(variant),
        limit: limits::PAGE_RUNS_DRAWN,
        ..RunsOf::default()
    };
    Ok(Held {
        status: store.status()?.into_iter().find(|status| status.id == *id),
        runs: store.runs(&of)?,
        checkpoint: store.checkpoint(id)?,
        quarantine: store.in_quarantine(id, limits::PAGE_QUARANTINE, limits::PAGE_QUARANTINE_CHARS)?,
    })
}

fn tables(plan: &crate::plan::SyncPlan, id: &SyncId) -> Vec<Value> {
    let table = |model: &Arc<crate::plan::ModelPlan>| {
        let at = address(&["records", &model.schema, &model.table]);
        let at = asking(&at, &[("connection", &id.connection), ("variant", &id.variant)]);
        json!({ "name": format!("{}.{}", model.schema, model.table), "at": at })
    };
    plan.tables().iter().map(table).collect()
}

/// A run as a row of a list.
pub(super) fn run(past: &PastRun, now: DateTime<Utc>) -> Value {
    let run = &past.run;
    let took = run.ended_at.and_then(|ended| (ended - run.started_at).to_std().ok());
    json!({
        "run_id": run.run_id, "at": address(&["runs", &run.run_id]), "state": run.state, "began": moment(run.started_at, now),
        "sync": past.id.to_string(), "of": of_sync(&past.id), "took": took.map(span), "pages": count(run.pages),
        "records": count(run.records), "added": count(run.added), "updated": count(run.updated), "deleted": count(run.deleted),
        "quarantined": count(run.quarantined), "error": run.error, "code": run.error_code,
    })
}

/// The reason is for whoever sees syncs, but it quotes values: so it goes with the record.
fn in_quarantine(held: &InQuarantine, visitor: &Visitor, now: DateTime<Utc>) -> Value {
    let reads = visitor.reads();
    json!({
        "model": held.model, "column": held.column, "code": held.code, "run": address(&["runs", &held.run_id]), "run_id": held.run_id,
        "first": moment(held.first_seen_at, now), "last": moment(held.last_seen_at, now), "is_cut": held.is_cut,
        "key": held.key.as_ref().filter(|_| reads), "reason": Some(&held.reason).filter(|_| reads),
        "record": reads.then(|| pretty(&held.record)),
    })
}

/// JSON over several lines, if it is some.
fn pretty(text: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    parsed.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}
