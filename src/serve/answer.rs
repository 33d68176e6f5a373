//! What the API answers, and how it says no.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Refused;
use crate::engine::{Error, ErrorKind};
use crate::plan::ApiScope;
use crate::store;

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Denied {
    pub status: StatusCode,
    /// stable
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
    /// seconds after which it may be done
    pub retry_after: Option<u64>,
    /// what a client has to prove
    pub challenge: Option<String>,
}

pub(super) type Answer = Result<Response, Denied>;

impl Denied {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None, retry_after: None, challenge: None }
    }

    pub(super) fn bad(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message).hint(hint)
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn later(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Nobody is let in without a key, and a wrong one is none.
    pub(super) fn unknown(given: bool) -> Self {
        let message = if given { "there is no such key" } else { "a key is needed" };
        let challenge =
            if given { r#"Bearer realm="headwater", error="invalid_token""# } else { r#"Bearer realm="headwater""# };
        let denied = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        Self { challenge: Some(challenge.to_owned()), ..denied.hint("send `Authorization: Bearer <key>`") }
    }

    /// The scheduler has ended.
    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping").later(5)
    }

    pub(super) fn lacks(scope: ApiScope) -> Self {
        let scope = scope.as_str();
        let denied = Self::new(StatusCode::FORBIDDEN, "forbidden", format!("this key has not the scope `{scope}`"));
        let challenge = format!(r#"Bearer realm="headwater", error="insufficient_scope", scope="{scope}""#);
        Self { challenge: Some(challenge), ..denied.hint("give it that in `api: { keys: … }` of headwater.yaml") }
    }
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        let (status, code, wait) = match &error {
            Error::Store(store::Error::UnknownTable { .. }) => (StatusCode::NOT_FOUND, "unknown_table", None),
            Error::Store(store::Error::FeedEnded { .. }) => (StatusCode::GONE, "feed_ended", None),
            Error::Store(store::Error::SharedTable { .. }) => (StatusCode::CONFLICT, "shared_table", None),
            error if error.is_taken() => (StatusCode::SERVICE_UNAVAILABLE, "database_busy", Some(1)),
            error if error.kind() == ErrorKind::User => (StatusCode::BAD_REQUEST, "bad_request", None),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
        };
        let denied = Self::new(status, code, error.to_string());
        Self { hint: error.hint(), retry_after: wait, ..denied }
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Failed(error) => error.into(),
            Refused::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "unknown_sync", refused.to_string()),
            Refused::Running(_) => Self::new(StatusCode::CONFLICT, "running", refused.to_string())
                .hint("cancel it, and wait until it is idle")
                .later(1),
            Refused::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_busy", refused.to_string()).later(1),
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let Self { status, code, message, hint, retry_after, challenge } = self;
        let body = json!({ "error": { "code": code, "message": message, "hint": hint } }).to_string();
        let mut response = written(status, body);
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// An answer whose JSON is written already.
pub(super) fn written(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) fn ok(value: &Value) -> Answer {
    Ok(written(StatusCode::OK, value.to_string()))
}
