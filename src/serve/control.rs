//! How syncs, runs and connections are; and what is done with syncs.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::answer::{Answer, Denied, ok, written};
use super::http::Listening;
use super::records::{Parameters, each, number};
use super::scheduler::ask;
use super::{Command, Refused, SlotState, SlotStatus};
use crate::plan::{SyncId, limits};
use crate::remote::{CredentialStore, Health, HealthState};
use crate::store::{Forgotten, PastRequest, PastRun, RequestsOf, RunsOf, SyncStatus};

/// `GET /v1/syncs`
pub(super) async fn syncs(State(listening): State<Arc<Listening>>, Query(parameters): Parameters) -> Answer {
    let mut of = None;
    each(&parameters, &["connection"], |_, value| {
        of = Some(value.to_owned());
        Ok(())
    })?;
    let slots = asked(&listening, Command::Status).await?;
    let known = listening.door.session().await?.call(crate::store::Store::status).await?;
    let known: HashMap<&SyncId, &SyncStatus> = known.iter().map(|known| (&known.id, known)).collect();
    let wanted = slots.iter().filter(|slot| of.as_ref().is_none_or(|of| *of == slot.id.connection));
    let sync = |slot: &SlotStatus| sync(slot, known.get(&slot.id).copied());
    ok(&json!({ "syncs": wanted.map(sync).collect::<Vec<_>>() }))
}

fn sync(slot: &SlotStatus, known: Option<&SyncStatus>) -> Value {
    let SlotStatus { id, state, paused, due_at, runs: _ } = slot;
    let state = match state {
        SlotState::Idle => "idle",
        SlotState::Waiting => "waiting",
        SlotState::Running => "running",
    };
    let mut value = named(id);
    value["state"] = json!(state);
    value["paused"] = json!(paused);
    value["next_run_at"] = json!(due_at);
    value["last_run"] = known.and_then(|known| known.last_run.as_ref()).map_or(Value::Null, |run| json!(run));
    value["table"] = json!(known.and_then(|known| known.table.as_ref()));
    value["watermark"] = json!(known.and_then(|known| known.watermark.as_ref()));
    value["last_completed_at"] = json!(known.and_then(|known| known.last_completed_at));
    let count = |of: fn(&SyncStatus) -> u64| json!(known.map_or(0, of));
    value["rows"] = count(|known| known.rows_live);
    value["rows_deleted"] = count(|known| known.rows_deleted);
    value["quarantined"] = count(|known| known.quarantined);
    value["partitions"] = count(|known| known.partitions);
    value["partitions_failed"] = count(|known| known.partitions_failed);
    value
}

/// Which sync, whole and in its parts.
fn named(id: &SyncId) -> Value {
    let SyncId { connection, provider, sync, variant } = id;
    json!({ "id": id.to_string(), "connection": connection, "provider": provider, "sync": sync, "variant": variant })
}

/// `GET /v1/runs`
pub(super) async fn runs(State(listening): State<Arc<Listening>>, Query(parameters): Parameters) -> Answer {
    let mut of = RunsOf { limit: limits::API_RUNS, ..RunsOf::default() };
    each(&parameters, &["connection", "sync", "variant", "limit"], |name, value| {
        match name {
            "connection" => of.connection = Some(value.to_owned()),
            "sync" => of.sync = Some(value.to_owned()),
            "variant" => of.variant = Some(value.to_owned()),
            _ => of.limit = number(name, value, limits::API_RUNS_MAX)?,
        }
        Ok(())
    })?;
    let known = listening.door.session().await?.call(move |store| store.runs(&of)).await?;
    let run = |past: &PastRun| {
        let mut value = json!(past.run);
        value["change_from"] = json!(past.change_from);
        value["change_to"] = json!(past.change_to);
        value["of"] = named(&past.id);
        value
    };
    ok(&json!({ "runs": known.iter().map(run).collect::<Vec<_>>() }))
}

/// `GET /v1/requests`
pub(super) async fn requests(State(listening): State<Arc<Listening>>, Query(parameters): Parameters) -> Answer {
    let mut of = RequestsOf { limit: limits::API_RECORDS, ..RequestsOf::default() };
    each(&parameters, &["run_id", "connection", "sync", "limit"], |name, value| {
        match name {
            "run_id" => of.run_id = Some(value.to_owned()),
            "connection" => of.connection = Some(value.to_owned()),
            "sync" => of.sync = Some(value.to_owned()),
            _ => of.limit = number(name, value, limits::API_RUNS_MAX)?,
        }
        Ok(())
    })?;
    let known = listening.door.session().await?.call(move |store| store.requests(&of)).await?;
    ok(&json!({ "requests": known.iter().map(request).collect::<Vec<_>>() }))
}

fn request(PastRequest { run_id, id, request }: &PastRequest) -> Value {
    let headers = |pairs: &[(String, String)]| {
        let pairs = pairs.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        Value::Array(pairs.collect())
    };
    json!({
        "run_id": run_id, "of": named(id), "requested_at": request.at, "method": request.method, "url": request.url,
        "status": request.status, "duration_ms": request.duration_ms, "waited_ms": request.waited_ms, "bytes": request.bytes,
        "attempt": request.attempt, "error": request.error, "request_headers": headers(&request.request_headers),
        "response_headers": headers(&request.response_headers),
    })
}

/// `GET /v1/connections`
pub(super) async fn connections(State(listening): State<Arc<Listening>>, Query(parameters): Parameters) -> Answer {
    each(&parameters, &[], |_, _| Ok(()))?;
    ok(&json!({ "connections": health(&listening).await? }))
}

/// How the connections are.
pub(super) async fn health(listening: &Listening) -> Result<Vec<Value>, Denied> {
    let (plan, now) = (listening.plan(), listening.door.host().now());
    // the credential store is a file
    let looked = tokio::task::spawn_blocking(move || {
        let store = CredentialStore::of_project(&plan.folder);
        let entries = store.entries().map_err(|error| error.to_string())?;
        let one = |connection: &Arc<crate::plan::ConnectionPlan>| {
            let entry = entries.get(&connection.name).filter(|entry| entry.provider == connection.provider);
            let Health { state, reason, ends_at } = Health::of(connection, &store, entry, now);
            json!({
                "connection": connection.name, "provider": connection.provider, "auth": connection.auth_name,
                "state": word(state), "reason": reason, "ends_at": ends_at,
                "connected_at": entry.map(|entry| entry.connected_at),
            })
        };
        Ok::<_, String>(plan.connections.iter().map(one).collect())
    });
    let internal = |message: String| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message);
    looked.await.map_err(|error| internal(error.to_string()))?.map_err(internal)
}

fn word(state: HealthState) -> &'static str {
    match state {
        HealthState::Ok => "ok",
        HealthState::Expires => "expires",
        HealthState::NeedsReconnect => "needs_reconnect",
        HealthState::NotConnected => "not_connected",
        HealthState::NotUsable => "not_usable",
    }
}

/// The body of a request.
pub(super) type Body = Result<Bytes, BytesRejection>;
type SyncPath = Path<(String, String)>;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Run {
    full: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Reset {
    purge: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `POST /v1/syncs/{connection}/{sync}/run`
pub(super) async fn run_now(State(listening): State<Arc<Listening>>, Path(path): SyncPath, body: Body) -> Answer {
    let Run { full } = read(body)?;
    steer(&listening, &path, |ids, reply| Command::Run(ids, full, reply)).await
}

/// `POST /v1/syncs/{connection}/{sync}/pause`
pub(super) async fn pause(State(listening): State<Arc<Listening>>, Path(path): SyncPath, body: Body) -> Answer {
    let Nothing {} = read(body)?;
    steer(&listening, &path, |ids, reply| Command::Pause(ids, true, reply)).await
}

/// `POST /v1/syncs/{connection}/{sync}/resume`
pub(super) async fn resume(State(listening): State<Arc<Listening>>, Path(path): SyncPath, body: Body) -> Answer {
    let Nothing {} = read(body)?;
    steer(&listening, &path, |ids, reply| Command::Pause(ids, false, reply)).await
}

/// `POST /v1/syncs/{connection}/{sync}/cancel`
pub(super) async fn cancel(State(listening): State<Arc<Listening>>, Path(path): SyncPath, body: Body) -> Answer {
    let Nothing {} = read(body)?;
    steer(&listening, &path, Command::Cancel).await
}

/// `POST /v1/syncs/{connection}/{sync}/reset`
pub(super) async fn reset(State(listening): State<Arc<Listening>>, Path(path): SyncPath, body: Body) -> Answer {
    let Reset { purge } = read(body)?;
    let ids = chosen(&listening, &path)?;
    let names: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let forgotten = asked(&listening, |reply| Command::Reset(ids, purge, reply)).await??;
    Ok(forgotten_of(&names, &forgotten))
}

/// What went.
pub(super) fn forgotten_of(names: &[String], forgotten: &Forgotten) -> Response {
    let removed: Vec<_> =
        forgotten.removed.iter().map(|(table, rows)| json!({ "table": table, "rows": rows })).collect();
    written(StatusCode::OK, json!({ "syncs": names, "removed": removed }).to_string())
}

/// Does something with the syncs that a path names; the answer is that it is under way.
async fn steer(
    listening: &Listening,
    path: &(String, String),
    command: impl FnOnce(Vec<SyncId>, oneshot::Sender<Result<(), Refused>>) -> Command,
) -> Answer {
    let ids = chosen(listening, path)?;
    let names: Vec<_> = ids.iter().map(ToString::to_string).collect();
    asked(listening, |reply| command(ids, reply)).await??;
    Ok(written(StatusCode::ACCEPTED, json!({ "syncs": names }).to_string()))
}

/// The sync of a connection: all its variants, or with `@variant` that one.
fn chosen(listening: &Listening, (connection, sync): &(String, String)) -> Result<Vec<SyncId>, Denied> {
    let selector = format!("{connection}/{sync}");
    let hint = match listening.plan().select(std::slice::from_ref(&selector)) {
        Ok(syncs) => {
            // a selector may name a provider too
            let ids = syncs.iter().map(|sync| &sync.id).filter(|id| id.connection == *connection);
            let ids: Vec<SyncId> = ids.cloned().collect();
            if !ids.is_empty() {
                return Ok(ids);
            }
            None
        }
        Err(unknown) => unknown.hint,
    };
    let denied = Denied::new(StatusCode::NOT_FOUND, "unknown_sync", format!("there is no sync `{selector}`"));
    Err(Denied { hint, ..denied })
}

/// Asks the scheduler.
async fn asked<T>(listening: &Listening, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Denied> {
    ask(&listening.commands, command).await.ok_or_else(Denied::stopping)
}

/// The JSON body of a request; nothing is an empty object.
pub(super) fn read<T: DeserializeOwned + Default>(body: Body) -> Result<T, Denied> {
    let body = body.map_err(|rejection| {
        let denied = Denied::new(rejection.status(), "bad_body", rejection.body_text());
        denied.hint(format!("a body has at most {} bytes", limits::API_BODY_BYTES_MAX))
    })?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    let wrong = |error: serde_json::Error| {
        let hint = "`GET /v1/openapi.json` says how it is";
        Denied::bad(format!("the body is not as it should be: {error}"), hint)
    };
    // a struct would take an array too
    let body: Map<String, Value> = serde_json::from_slice(&body).map_err(wrong)?;
    serde_json::from_value(Value::Object(body)).map_err(wrong)
}
