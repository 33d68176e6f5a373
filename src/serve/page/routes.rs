//! Which pages there are, and what all of them have in common.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, oneshot};

use super::html::{Problem, Shown, framed};
use super::session::{Sessions, Visitor, same_origin};
use super::words::asking;
use super::{assets, connections, files, login, logs, overview, records, steer, sync};
use crate::plan::limits;
use crate::serve::answer::Denied;
use crate::serve::scheduler::ask;
use crate::serve::{Command, Listening, SlotStatus};

/// What pages are made of.
pub(super) struct Page {
    pub listening: Arc<Listening>,
    pub sessions: Sessions,
    places: Semaphore,
}

/// What each answer says: nothing is loaded or run but what the binary has, nothing is kept, and nobody frames it.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The pages.
pub(in crate::serve) fn routes(listening: &Arc<Listening>) -> std::io::Result<Router<Arc<Listening>>> {
    let sessions = Sessions::new().map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
    let places = Semaphore::new(limits::PAGE_AT_ONCE);
    let page = Arc::new(Page { listening: Arc::clone(listening), sessions, places });
    let known = Router::new()
        .route("/", get(overview::overview))
        .route("/live", get(overview::live))
        .route("/logout", post(login::leave))
        .route("/syncs/{connection}/{sync}", get(sync::sync))
        .route("/syncs/{connection}/{sync}/{what}", get(steer::confirm).post(steer::steer))
        .route("/connections", get(connections::connections))
        .route("/records", get(records::tables))
        .route("/records/{provider}/{table}", get(records::records))
        .route("/files", get(files::files))
        .route("/logs", get(logs::logs))
        .route("/runs/{run_id}", get(logs::one))
        .route_layer(from_fn_with_state(Arc::clone(&page), known));
    let router = Router::new()
        .route("/login", get(login::form).post(login::enter))
        .route("/assets/{digest}/{name}", get(assets::asset))
        .merge(known)
        .fallback(|| async { Problem::from(steer::no_page()) })
        .layer(from_fn(headed))
        .with_state(page);
    Ok(router)
}

async fn headed(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Lets in who has a session; others are asked for a key. A form has to come from one of these pages, too.
async fn known(State(page): State<Arc<Page>>, mut request: Request, next: Next) -> Shown {
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers());
    let is_read = method == Method::GET || method == Method::HEAD;
    if !is_read {
        same_origin(headers)?;
    }
    // the script looks again without being seen
    let is_page = !headers.contains_key("x-headwater-live");
    let Some(visitor) = page.sessions.find(headers, is_page && is_read, page.listening.door.host().now())? else {
        return Ok(knock(&uri, is_page, is_read));
    };
    request.extensions_mut().insert(visitor.clone());
    let made = async {
        let _place = page.places.acquire().await;
        framed(next.run(request).await, &visitor)
    };
    tokio::time::timeout(limits::API_WAIT_MAX, made).await.map_err(|_| {
        let message = format!("no page within {} seconds", limits::API_WAIT_MAX.as_secs());
        Denied::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).later(1).into()
    })
}

fn knock(uri: &Uri, is_page: bool, is_read: bool) -> Response {
    if !is_page {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let next = uri.path_and_query().map_or("/", |path| path.as_str());
    let next = if is_read && next != "/" { next } else { "" };
    Redirect::to(&asking("/login", &[("next", next)])).into_response()
}

impl Page {
    /// How the syncs are.
    ///
    /// # Errors
    /// The scheduler does not say.
    pub(super) async fn slots(&self) -> Result<Vec<SlotStatus>, Denied> {
        let gone =
            || Denied::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the scheduler does not answer").later(5);
        self.listening.status().await.ok_or_else(gone)
    }

    /// Commands the scheduler.
    ///
    /// # Errors
    /// It has gone.
    pub(super) async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Denied> {
        let gone = || Denied::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping").later(5);
        ask(&self.listening.commands, command).await.ok_or_else(gone)
    }

    /// A form's token has to be that of the session.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn must_be_own(&self, visitor: &Visitor, csrf: &str) -> Result<(), Denied> {
        if self.sessions.is_form_of(visitor, csrf) {
            return Ok(());
        }
        let denied = Denied::new(StatusCode::FORBIDDEN, "csrf", "this form is of another session");
        Err(denied.hint("go back, load the page again, and send the form once more"))
    }
}
