//! `/metrics`: the numbers, for who may see them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;

use super::answer::{Answer, Denied};
use super::api;
use super::http::Listening;
use crate::plan::ApiScope;

/// The way to the numbers. They name providers and syncs: with `open`, whoever reaches it may read them where the project has no keys.
pub(super) fn routes(open: bool) -> Router<Arc<Listening>> {
    let answer = move |State(listening): State<Arc<Listening>>, headers: HeaderMap| async move {
        admit(&listening, &headers, open)?;
        metrics(&listening).await
    };
    Router::new().route("/metrics", get(answer))
}

fn admit(listening: &Listening, headers: &HeaderMap, open: bool) -> Result<(), Denied> {
    if open && listening.keys.is_empty() {
        return Ok(());
    }
    let scopes = api::key(&listening.keys, headers)
        .map_err(|denied| match denied.code {
            "unauthorized" => denied.hint("Prometheus sends a key with `authorization: { credentials_file: … }`"),
            _ => denied,
        })?
        .scopes();
    if scopes.contains(&ApiScope::Syncs) { Ok(()) } else { Err(Denied::lacks(ApiScope::Syncs)) }
}

async fn metrics(listening: &Listening) -> Answer {
    let internal = |why: &str| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why);
    let Some(syncs) = listening.status().await else {
        let why = "the scheduler does not answer";
        return Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why).later(1));
    };
    let (now, queues) = (listening.door.host().now(), listening.door.queues().await?);
    let text = listening.metrics.text(&syncs, &queues, now).map_err(|_| internal("the numbers cannot be written"))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
