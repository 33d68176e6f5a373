//! The API for applications, under `/v1`: which ways there are, and who may go them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use indexmap::IndexMap;
use tokio::sync::Semaphore;

use super::access::{Key, Keys};
use super::answer::{Answer, Denied, ok};
use super::http::Listening;
use super::{actions, control, inputs, openapi, query, records};
use crate::plan::{ApiScope, limits};

/// One way to ask.
pub(super) struct Route {
    pub path: &'static str,
    /// in small letters, as OpenAPI has it
    pub method: &'static str,
    /// what a key must be good for; none = any key
    pub scope: Option<ApiScope>,
    pub answers: MethodRouter<Arc<Listening>>,
}

/// All of them.
pub(super) fn all() -> Vec<Route> {
    let get_of = |path, scope, answers| Route { path, method: "get", scope, answers };
    let steer = |path, answers| Route { path, method: "post", scope: Some(ApiScope::Control), answers };
    let (reads, sees, calls) = (Some(ApiScope::Records), Some(ApiScope::Syncs), Some(ApiScope::Actions));
    vec![
        get_of("/v1/openapi.json", None, get(|| async { ok(&openapi::document()) })),
        get_of("/v1/records/{provider}/{table}", reads, get(records::records)),
        get_of("/v1/syncs", sees, get(control::syncs)),
        get_of("/v1/runs", sees, get(control::runs)),
        get_of("/v1/requests", sees, get(control::requests)),
        get_of("/v1/connections", sees, get(control::connections)),
        steer("/v1/syncs/{connection}/{sync}/run", post(control::run_now)),
        steer("/v1/syncs/{connection}/{sync}/pause", post(control::pause)),
        steer("/v1/syncs/{connection}/{sync}/resume", post(control::resume)),
        steer("/v1/syncs/{connection}/{sync}/cancel", post(control::cancel)),
        steer("/v1/syncs/{connection}/{sync}/reset", post(control::reset)),
        get_of("/v1/actions", calls, get(actions::actions)),
        Route { path: "/v1/actions/{connection}/{action}", method: "post", scope: calls, answers: post(actions::call) },
        Route { path: "/v1/query", method: "post", scope: Some(ApiScope::Query), answers: post(query::query) },
        get_of("/v1/records/{provider}/{table}/counts", reads, get(records::counts)),
        steer("/v1/records/{provider}/{table}/prune", post(records::prune)),
    ]
    .into_iter()
    .chain(inputs::routes())
    .collect()
}

/// The routes under `/v1`.
pub(super) fn routes(listening: &Arc<Listening>) -> Router<Arc<Listening>> {
    let mut paths: IndexMap<&str, (Vec<&str>, MethodRouter<Arc<Listening>>)> = IndexMap::new();
    for Route { path, method, scope, answers } in all() {
        let answers = match scope {
            None => answers,
            Some(scope) => answers.route_layer(from_fn(move |request, next| in_scope(scope, request, next))),
        };
        let (methods, known) = paths.entry(path).or_default();
        methods.push(method);
        *known = std::mem::take(known).merge(answers);
    }
    let router = paths.into_iter().fold(Router::new(), |router, (path, (methods, answers))| {
        router.route(path, answers.fallback(move |uri: Uri| std::future::ready(other_method(&uri, &methods))))
    });
    let admitted =
        Admission { listening: Arc::clone(listening), places: Arc::new(Semaphore::new(limits::API_REQUESTS_AT_ONCE)) };
    router.route("/v1/{*rest}", any(nothing_there)).layer(from_fn_with_state(admitted, admit))
}

/// What decides who comes in.
#[derive(Clone)]
struct Admission {
    listening: Arc<Listening>,
    places: Arc<Semaphore>,
}

/// The scopes of the key that a request came with.
#[derive(Clone)]
struct Admitted(Vec<ApiScope>);

/// Lets a request in that has a key, if its key has not asked too often and there is room.
async fn admit(State(Admission { listening, places }): State<Admission>, mut request: Request, next: Next) -> Answer {
    let key = key(&listening.keys, request.headers())?;
    let Ok(_held) = places.try_acquire() else {
        let message = format!("{} requests are being answered", limits::API_REQUESTS_AT_ONCE);
        return Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).hint("try it again").later(1));
    };
    request.extensions_mut().insert(Admitted(key.scopes().to_vec()));
    tokio::time::timeout(limits::API_WAIT_MAX, next.run(request)).await.map_err(|_| {
        let message = format!("no answer within {} seconds", limits::API_WAIT_MAX.as_secs());
        Denied::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).later(1)
    })
}

/// The key that a request comes with, which has not asked too often.
pub(super) fn key<'k>(keys: &'k Keys, headers: &HeaderMap) -> Result<&'k Key, Denied> {
    if keys.is_empty() {
        let hint = "give it `api: { keys: { app: { key: \"${APP_KEY}\", scopes: [records] } } }` in headwater.yaml";
        return Err(Denied::new(StatusCode::UNAUTHORIZED, "no_keys", "the project has no keys for this API").hint(hint));
    }
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = given.and_then(bearer);
    let Some(key) = token.and_then(|token| keys.find(token)) else { return Err(Denied::unknown(given.is_some())) };
    if let Err(seconds) = key.count() {
        let message = format!("more than {} requests a second with this key", limits::API_REQUESTS_PER_SECOND);
        let denied = Denied::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        return Err(denied.hint("wait as long as `Retry-After` says, or ask for larger pages").later(seconds));
    }
    Ok(key)
}

/// The token of `Authorization: Bearer <token>` (RFC 6750).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

async fn in_scope(scope: ApiScope, request: Request, next: Next) -> Result<Response, Denied> {
    if !request.extensions().get::<Admitted>().is_some_and(|Admitted(scopes)| scopes.contains(&scope)) {
        return Err(Denied::lacks(scope));
    }
    Ok(next.run(request).await)
}

async fn nothing_there(uri: Uri) -> Denied {
    let denied = Denied::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at `{}`", uri.path()));
    denied.hint("`GET /v1/openapi.json` says what there is")
}

fn other_method(uri: &Uri, methods: &[&str]) -> Denied {
    let message = format!("`{}` is asked for with {}", uri.path(), methods.join(", ").to_uppercase());
    Denied::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
