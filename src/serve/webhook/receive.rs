//! The route that APIs send events to. The signature is the key: who has none learns nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::Webhooks;
use crate::engine::{Delivery, Received, Refusal};
use crate::plan::{ConnectionPlan, limits};
use crate::serve::Listening;
use crate::store::NewDelivery;

/// The routes.
pub(in crate::serve) fn routes() -> Router<Arc<Listening>> {
    Router::new()
        .route("/webhooks/{provider}", post(of_provider))
        .route("/webhooks/{provider}/{connection}", post(of_connection))
}

async fn of_provider(
    State(listening): State<Arc<Listening>>,
    UrlPath(provider): UrlPath<String>,
    RawQuery(query): RawQuery,
    sent: (Method, HeaderMap),
    body: Body,
) -> Answer {
    let is_for = |connection: &&Arc<ConnectionPlan>| {
        connection.provider == provider && connection.webhooks.as_ref().is_some_and(|plan| plan.matches.is_some())
    };
    let for_whom = listening.webhooks.receivers().connections.iter().filter(is_for).cloned().collect();
    let path = format!("/webhooks/{provider}");
    receive(&listening.webhooks, for_whom, (path, query), sent, body).await
}

async fn of_connection(
    State(listening): State<Arc<Listening>>,
    UrlPath((provider, name)): UrlPath<(String, String)>,
    RawQuery(query): RawQuery,
    sent: (Method, HeaderMap),
    body: Body,
) -> Answer {
    let is_for = |connection: &&Arc<ConnectionPlan>| {
        connection.provider == provider
            && connection.name == name
            && connection.webhooks.as_ref().is_some_and(|plan| plan.matches.is_none())
    };
    let for_whom = listening.webhooks.receivers().connections.iter().filter(is_for).cloned().collect();
    let path = format!("/webhooks/{provider}/{name}");
    receive(&listening.webhooks, for_whom, (path, query), sent, body).await
}

/// What is answered.
#[derive(Debug, PartialEq)]
enum Answer {
    /// it is there
    Taken,
    /// what the API asked
    Told(u16, Option<String>, &'static str),
    /// nobody receives here
    Unknown,
    /// it does not come from the API
    Unproven,
    /// it is not what can be received
    Unfit(StatusCode, &'static str),
    /// later
    Later,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Taken => (StatusCode::OK, "ok\n").into_response(),
            Self::Told(status, body, kind) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                match body {
                    Some(body) => (status, [(header::CONTENT_TYPE, kind)], body).into_response(),
                    None => status.into_response(),
                }
            }
            Self::Unknown => StatusCode::NOT_FOUND.into_response(),
            Self::Unproven => StatusCode::UNAUTHORIZED.into_response(),
            Self::Unfit(status, why) => (status, why).into_response(),
            Self::Later => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")]).into_response(),
        }
    }
}

async fn receive(
    webhooks: &Arc<Webhooks>,
    for_whom: Vec<Arc<ConnectionPlan>>,
    address: (String, Option<String>),
    (method, headers): (Method, HeaderMap),
    body: Body,
) -> Answer {
    if for_whom.is_empty() {
        return Answer::Unknown;
    }
    let received = async {
        let Ok(_room) = webhooks.room.acquire().await else { return Answer::Later };
        let Ok(body) = axum::body::to_bytes(body, limits::WEBHOOK_BODY_BYTES_MAX).await else {
            return Answer::Unfit(StatusCode::PAYLOAD_TOO_LARGE, "it is too large, or did not come whole\n");
        };
        let delivery = delivery(&method, address, &headers, body);
        let at_work = Arc::clone(webhooks);
        // what has begun to be written is written, whether anybody waits for it or not
        let work = tokio::spawn(async move {
            let checking = Arc::clone(&at_work);
            let checked = tokio::task::spawn_blocking(move || checking.examine(&for_whom, &delivery)).await;
            match checked {
                Ok(Ok(Received::Events(delivery))) => write(&at_work, delivery).await,
                Ok(Ok(Received::Told { status, body, kind })) => Answer::Told(status, body, kind),
                Ok(Err(Refusal::Unknown)) => Answer::Unknown,
                Ok(Err(Refusal::Unproven)) => Answer::Unproven,
                Ok(Err(Refusal::Unreadable)) => Answer::Unfit(StatusCode::BAD_REQUEST, "it is not what was expected\n"),
                Ok(Err(Refusal::TooMany)) => Answer::Unfit(StatusCode::PAYLOAD_TOO_LARGE, "it has too many events\n"),
                Ok(Err(Refusal::Untold)) | Err(_) => Answer::Later,
            }
        });
        work.await.unwrap_or(Answer::Later)
    };
    tokio::time::timeout(limits::WEBHOOK_WAIT_MAX, received).await.unwrap_or(Answer::Later)
}

/// The delivery as it is checked and described.
fn delivery(
    method: &Method,
    (path, query): (String, Option<String>),
    headers: &HeaderMap,
    body: axum::body::Bytes,
) -> Delivery {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push_str(", ");
                before.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()) {
        parameters.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    // APIs send over TLS, which ends before this process
    let of = |name: &str| all.get(name).map(|value| value.split(',').next().unwrap_or_default().trim());
    let scheme = of("x-forwarded-proto").unwrap_or("https");
    let host = of("x-forwarded-host").or_else(|| of("host")).unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{scheme}://{host}{path}{query}");
    Delivery { method: method.as_str().to_owned(), url, headers: all, query: parameters, body }
}

async fn write(webhooks: &Webhooks, delivery: NewDelivery) -> Answer {
    if delivery.events.is_empty() {
        return Answer::Taken;
    }
    let whose = delivery.provider.clone();
    let written = async { webhooks.door.session().await?.call(move |store| store.receive(&delivery)).await };
    match written.await {
        Ok(arrived) => {
            if arrived.written > 0 {
                webhooks.arrived.notify_one();
            }
            Answer::Taken
        }
        Err(error) => {
            webhooks.tell(&whose, format!("a delivery could not be written: {error}"));
            Answer::Later
        }
    }
}
