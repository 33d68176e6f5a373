//! Actions: called for an application, as `headwater call` does.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Denied, ok};
use super::control::{Body, read};
use super::http::Listening;
use super::records::{Parameters, each};
use crate::diagnostic::suggest;
use crate::engine::{self, Call, CallPlace, Error, ErrorKind, Observer};
use crate::plan::{ActionPlan, limits};

/// The header by which a caller says that a call is the same once more (draft-ietf-httpapi-idempotency-key-header).
const KEY_HEADER: &str = "idempotency-key";

/// `GET /v1/actions`
pub(super) async fn actions(State(listening): State<Arc<Listening>>, Query(parameters): Parameters) -> Answer {
    let mut of = None;
    each(&parameters, &["connection"], |_, value| {
        of = Some(value.to_owned());
        Ok(())
    })?;
    let plan = listening.plan();
    let wanted = plan.actions.iter().filter(|action| of.as_ref().is_none_or(|of| *of == action.connection.name));
    let one = |action: &Arc<ActionPlan>| {
        json!({
            "connection": action.connection.name, "provider": action.connection.provider, "action": action.name,
            "description": action.description, "input": action.input, "paged": action.pagination.is_some(),
            "takes_idempotency_key": action.idempotency_key.is_some(),
        })
    };
    ok(&json!({ "actions": wanted.map(one).collect::<Vec<_>>() }))
}

/// What a caller gives.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Given {
    input: Map<String, Value>,
    cursor: Option<Value>,
    variant: Option<String>,
}

/// `POST /v1/actions/{connection}/{action}`
pub(super) async fn call(
    State(listening): State<Arc<Listening>>,
    Path((connection, action)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let Given { input, cursor, variant } = read(body)?;
    let plan = chosen(&listening, &connection, &action)?;
    let input = plan.accept(&input).map_err(|mistakes| refused(&mistakes))?;
    let key = headers.get(KEY_HEADER).map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    let Ok(permit) = Arc::clone(&listening.calls).try_acquire_owned() else {
        let message = format!("{} actions are being called", limits::API_ACTIONS_AT_ONCE);
        return Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).hint("try it again").later(1));
    };
    // beside runs there is one way to the database
    let place = if plan.save.is_some() || plan.synced_first.is_some() {
        CallPlace::Session(listening.door.session().await?)
    } else {
        CallPlace::Host(Arc::clone(listening.door.host()))
    };
    let watcher = Arc::clone(&listening.watcher);
    let observer: Observer = Arc::new(move |sync, event| watcher(None, sync, event));
    let call = Call { input, cursor, variant, idempotency_key: key };
    // what was begun at the API is saved, though its caller has gone
    let called = tokio::spawn(async move {
        let _held = permit;
        engine::call(&plan, call, place, observer).await
    });
    let called = called.await.map_err(|error| Error::Bug(error.to_string()))?;
    ok(&json!(called.map_err(|error| failed(error, listening.door.host().now()))?))
}

fn chosen(listening: &Listening, connection: &str, name: &str) -> Result<Arc<ActionPlan>, Denied> {
    let plan = listening.plan();
    let actions = &plan.actions;
    let is_meant = |action: &&Arc<ActionPlan>| action.connection.name == connection && action.name == name;
    actions.iter().find(is_meant).cloned().ok_or_else(|| {
        let known: Vec<String> =
            actions.iter().map(|action| format!("{}/{}", action.connection.name, action.name)).collect();
        let wanted = format!("{connection}/{name}");
        let hint = suggest(&wanted, known.iter().map(String::as_str));
        Denied {
            hint,
            ..Denied::new(StatusCode::NOT_FOUND, "unknown_action", format!("there is no action `{wanted}`"))
        }
    })
}

/// What a caller has given that the action does not take.
fn refused(mistakes: &[(String, Option<String>)]) -> Denied {
    let (message, hint) = ActionPlan::refusal(mistakes);
    Denied::bad(message, hint.unwrap_or_else(|| "`GET /v1/actions` says what an action takes".to_owned()))
}

/// Why an action was not done, with the code that a run would have.
fn failed(error: Error, now: DateTime<Utc>) -> Denied {
    if error.is_taken() {
        return error.into();
    }
    let wait = match &error {
        Error::Parked { at, .. } => Some(u64::try_from((*at - now).num_seconds()).unwrap_or(0).max(1)),
        _ => None,
    };
    let status = match (&error, error.kind()) {
        (Error::Parked { .. }, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Error::Call { .. } | Error::Template { .. } | Error::Url { .. }, _) => StatusCode::BAD_REQUEST,
        // the connection has to be mended before anybody can call
        (_, ErrorKind::User) => StatusCode::CONFLICT,
        (_, ErrorKind::Remote | ErrorKind::Data) => StatusCode::BAD_GATEWAY,
        (_, ErrorKind::Store | ErrorKind::Bug) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Denied { hint: error.hint(), retry_after: wait, ..Denied::new(status, error.code(), error.to_string()) }
}
