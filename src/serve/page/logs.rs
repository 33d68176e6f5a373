//! Runs with filters; and one run with its requests.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::html::{Shown, page};
use super::routes::Page;
use super::session::Visitor;
use super::sync::run;
use super::words::{asking, count, moment, of_sync};
use crate::plan::{ApiScope, limits};
use crate::serve::answer::Denied;
use crate::serve::records::Parameters;
use crate::store::{PastRequest, PastRun, RequestsOf, RunsOf};

/// The states of runs.
const STATES: [&str; 6] = ["running", "completed", "partial", "paused", "failed", "interrupted"];

/// `GET /logs`
pub(super) async fn logs(State(state): State<Arc<Page>>, visitor: Visitor, Query(parameters): Parameters) -> Shown {
    visitor.must(ApiScope::Syncs)?;
    let now = state.listening.door.host().now();
    let given = |name: &str| {
        let value = parameters.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim());
        (!value.is_empty()).then(|| value.to_owned())
    };
    let before = given("before").map(|text| time(&text)).transpose()?;
    let of = RunsOf {
        connection: given("connection"),
        sync: given("sync"),
        variant: given("variant"),
        state: given("state"),
        before,
        limit: limits::PAGE_RUNS_LISTED,
        ..RunsOf::default()
    };
    let text = |name: &str| given(name).unwrap_or_default();
    let runs = state.listening.door.session().await?.call(move |store| store.runs(&of)).await?;
    let earlier = runs.last().filter(|_| runs.len() >= limits::PAGE_RUNS_LISTED).map(|last| {
        let before = last.run.started_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let parameters = ["connection", "sync", "variant", "state"].map(|name| (name, text(name)));
        let mut parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        parameters.push(("before", &before));
        asking("/logs", &parameters)
    });
    let plan = state.listening.plan();
    let mut syncs: Vec<&str> = plan.syncs.iter().map(|sync| sync.id.sync.as_str()).collect();
    syncs.sort_unstable();
    syncs.dedup();
    let told = json!({
        "title": "Logs", "nav": "logs", "runs": runs.iter().map(|past| run(past, now)).collect::<Vec<_>>(), "earlier": earlier,
        "connection": text("connection"), "sync": text("sync"), "state": text("state"), "variant": text("variant"),
        "before": before.map(|at| at.format("%Y-%m-%dT%H:%M").to_string()), "states": STATES, "syncs": syncs,
        "connections": plan.connections.iter().map(|connection| &connection.name).collect::<Vec<_>>(),
    });
    page("logs.html", Some(&visitor), &told)
}

/// What a field for a time gives, which is UTC; or a moment.
fn time(text: &str) -> Result<DateTime<Utc>, Denied> {
    let moment = text.parse::<DateTime<Utc>>().ok();
    let field = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").ok().map(|at| at.and_utc());
    let wrong = || Denied::bad(format!("`{text}` is no time"), "write it as `2026-11-22T16:40`");
    moment.or_else(field).ok_or_else(wrong)
}

/// `GET /runs/{run_id}`
pub(super) async fn one(State(state): State<Arc<Page>>, visitor: Visitor, Path(run_id): Path<String>) -> Shown {
    visitor.must(ApiScope::Syncs)?;
    let now = state.listening.door.host().now();
    let of = RunsOf { run_id: Some(run_id.clone()), limit: limits::PAGE_RUNS_LISTED, ..RunsOf::default() };
    let requests =
        RequestsOf { run_id: Some(run_id.clone()), limit: limits::PAGE_REQUESTS_LISTED, ..RequestsOf::default() };
    let session = state.listening.door.session().await?;
    let (runs, requests) = session.call(move |store| Ok((store.runs(&of)?, store.requests(&requests)?))).await?;
    drop(session);
    if runs.is_empty() {
        return Err(Denied::new(StatusCode::NOT_FOUND, "unknown_run", format!("there is no run `{run_id}`")).into());
    }
    let told = json!({
        "title": format!("Run {run_id}"), "nav": "logs", "runs": runs.iter().map(|past| run(past, now)).collect::<Vec<_>>(),
        "changes": runs.iter().filter_map(changes).collect::<Vec<_>>(),
        "requests": requests.iter().map(|past| request(past, now)).collect::<Vec<_>>(),
        "all": requests.len() < limits::PAGE_REQUESTS_LISTED, "most": limits::PAGE_REQUESTS_LISTED,
    });
    page("run.html", Some(&visitor), &told)
}

fn changes(past: &PastRun) -> Option<Value> {
    let (from, to) = (past.change_from?, past.change_to?);
    Some(json!({ "sync": past.id.to_string(), "from": from, "to": to, "at": of_sync(&past.id) }))
}

fn request(past: &PastRequest, now: DateTime<Utc>) -> Value {
    let request = &past.request;
    let lines = |headers: &[(String, String)]| {
        headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
    };
    let headers = format!("{}\n\n{}", lines(&request.request_headers), lines(&request.response_headers));
    json!({
        "sync": past.id.to_string(), "waited": format!("{} ms", count(request.waited_ms)), "headers": headers.trim(),
        "at": moment(request.at, now), "method": request.method, "url": request.url, "status": request.status,
        "took": format!("{} ms", count(request.duration_ms)), "bytes": count(request.bytes), "attempt": request.attempt,
        "error": request.error, "bad": request.status.is_none_or(|status| status >= 400),
    })
}
