//! In and out, by one of the keys of `api`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;

use super::html::{Problem, Shown, page};
use super::routes::Page;
use super::session::{Fields, Visitor, same_origin};
use crate::serve::answer::Denied;
use crate::serve::records::Parameters;

/// `GET /login`
pub(super) async fn form(State(state): State<Arc<Page>>, Query(parameters): Parameters) -> Shown {
    let next = parameters.iter().find(|(name, _)| name == "next").map_or("/", |(_, next)| next);
    shown(&state, next, None)
}

fn shown(state: &Page, next: &str, wrong: Option<&str>) -> Shown {
    let has_keys = !state.listening.keys.is_empty();
    let told = json!({ "title": "Log in", "nav": "", "next": own(next), "wrong": wrong, "has_keys": has_keys });
    page("login.html", None, &told)
}

/// `POST /login`
pub(super) async fn enter(State(state): State<Arc<Page>>, headers: HeaderMap, body: Bytes) -> Shown {
    same_origin(&headers)?;
    let (fields, now) = (Fields::of(&body), state.listening.door.host().now());
    let next = fields.get("next");
    if let Err(seconds) = state.sessions.may_guess(now) {
        let denied = Denied::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "too many wrong keys were tried");
        return Err(denied.hint(format!("try again in {seconds} seconds")).later(seconds).into());
    }
    let Some(key) = state.listening.keys.find(fields.get("key").trim().as_bytes()) else {
        state.sessions.guessed_wrong(now);
        let mut response = shown(&state, next, Some("There is no such key."))?;
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let internal = |_| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the system gives no random numbers");
    let cookie = state.sessions.begin(key.scopes(), &headers, now).map_err(internal)?;
    with_cookie(Redirect::to(own(next)), &cookie)
}

/// `POST /logout`
pub(super) async fn leave(State(state): State<Arc<Page>>, visitor: Visitor, headers: HeaderMap, body: Bytes) -> Shown {
    state.must_be_own(&visitor, Fields::of(&body).get("csrf"))?;
    let cookie = state.sessions.end(&visitor, &headers);
    with_cookie(Redirect::to("/login"), &cookie)
}

fn with_cookie(redirect: Redirect, cookie: &str) -> Result<Response, Problem> {
    let mut response = redirect.into_response();
    let internal = |_| Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no cookie");
    response.headers_mut().insert(header::SET_COOKIE, HeaderValue::from_str(cookie).map_err(internal)?);
    Ok(response)
}

/// Where to go then: a page of the daemon, or the first one.
fn own(next: &str) -> &str {
    let is_own = next.starts_with('/')
        && !next[1..].starts_with(['/', '\\'])
        && next.bytes().all(|byte| byte.is_ascii_graphic())
        && !next.starts_with("/login");
    if is_own { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(own("/syncs/a/b?c=%20d"), "/syncs/a/b?c=%20d");
        for wrong in ["", "//evil", "/\\evil", "https://evil", "/a\r\nb", "/ü", "/login?next=/a", "javascript:0"] {
            assert_eq!(own(wrong), "/", "{wrong}");
        }
    }
}
