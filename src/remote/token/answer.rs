//! The answer of a token endpoint (RFC 6749, section 5), as servers really give it.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::super::redact::Redactor;
use super::authorize::shown;
use super::path::first;
use crate::plan::{TokenPlan, limits};

/// A token and what belongs to it.
#[derive(Debug)]
pub(crate) struct Granted {
    /// what is sent with requests
    pub access_token: SecretString,
    /// with which the next one is got; none where the one so far stays
    pub refresh_token: Option<SecretString>,
    /// when the token ends; none where nobody says it
    pub expires_at: Option<DateTime<Utc>>,
    /// what was granted, where the answer tells it
    pub scope: Option<String>,
    /// values that become settings, by name; what the answer does not have is left out
    pub save: Vec<(String, Value)>,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// what can be done about it
    pub kind: RefusedKind,
    /// the code of the error, as the server has it
    pub error: Option<String>,
    /// for people, masked
    pub text: String,
}

/// What can be done about a token that was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusedKind {
    /// the grant is gone or was never good: a person must agree anew
    Revoked,
    /// the request or the application is wrong: asking again does not help
    Misconfigured,
    /// ask again later
    Transient,
    /// the person has not agreed yet: ask again (RFC 8628, 3.5)
    Pending,
    /// the answer is not understood
    Unreadable,
}

/// Reads an answer in JSON or, as GitHub gives it, as a form. A token in an answer of success counts, whatever else stands there.
///
/// `redactor` knows the secrets of the request, which servers like to quote.
///
/// When the token ends is what `expires_at` leads to, else `expires_in`, else what the plan says; times that are over and lengths that
/// are not positive count as not said (some APIs have 0 for "never").
///
/// # Errors
/// Why there is no token, and what can be done. A token or a value to save that is too long, or has a control character, which would
/// break a header, is refused.
pub(crate) fn read(
    plan: &TokenPlan,
    status: u16,
    body: &[u8],
    now: DateTime<Utc>,
    redactor: &Redactor,
) -> Result<Granted, Refused> {
    if body.len() > limits::TOKEN_ANSWER_BYTES_MAX {
        let text = format!("it has more than {} bytes", limits::TOKEN_ANSWER_BYTES_MAX);
        return Err(refused(
            if is_temporary(status) { RefusedKind::Transient } else { RefusedKind::Unreadable },
            None,
            status,
            &text,
        ));
    }
    let answer = parsed(plan, body);
    if (200..300).contains(&status)
        && let Some(answer) = &answer
        && let Some(token) = first(&plan.access_token, answer).and_then(text_of).filter(|token| !token.is_empty())
    {
        return granted(plan, answer, token, now).map_err(|text| refused(RefusedKind::Unreadable, None, status, &text));
    }
    Err(match answer {
        Some(answer) => no_token(plan, status, &answer, redactor),
        None => not_read(status, body, redactor),
    })
}

fn granted(plan: &TokenPlan, answer: &Value, token: String, now: DateTime<Utc>) -> Result<Granted, String> {
    let refresh_token = first(&plan.refresh_token, answer).and_then(text_of).filter(|token| !token.is_empty());
    check("access token", &token)?;
    if let Some(token) = &refresh_token {
        check("refresh token", token)?;
    }
    let mut save = Vec::new();
    for (name, path) in &plan.save {
        if let Some(value) = first(path, answer) {
            if value.to_string().len() > limits::TOKEN_BYTES_MAX {
                return Err(format!("the value to save as `{name}` has more than {} bytes", limits::TOKEN_BYTES_MAX));
            }
            save.push((name.clone(), value.clone()));
        }
    }
    Ok(Granted {
        access_token: token.into(),
        refresh_token: refresh_token.map(SecretString::from),
        expires_at: ends(plan, answer, now),
        scope: scope(answer),
        save,
    })
}

fn check(what: &str, token: &str) -> Result<(), String> {
    if token.len() > limits::TOKEN_BYTES_MAX {
        Err(format!("the {what} has more than {} bytes", limits::TOKEN_BYTES_MAX))
    } else if token.chars().any(char::is_control) {
        Err(format!("the {what} has a control character in it, which cannot be sent"))
    } else {
        Ok(())
    }
}

/// `scope`, as text or as a list.
fn scope(answer: &Value) -> Option<String> {
    let scope = match answer.get("scope")? {
        Value::String(text) => text.clone(),
        Value::Array(scopes) => scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return None,
    };
    (!scope.is_empty() && scope.len() <= limits::TOKEN_BYTES_MAX).then_some(scope)
}

fn ends(plan: &TokenPlan, answer: &Value, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let latest = now.checked_add_signed(chrono::TimeDelta::from_std(limits::DURATION_MAX).ok()?)?;
    let at = plan.expires_at.as_ref().and_then(|path| first(path, answer)).and_then(|value| instant(value, latest));
    if let Some(at) = at.filter(|at| *at > now) {
        return Some(at.min(latest));
    }
    let said = first(&plan.expires_in, answer).and_then(whole).and_then(|seconds| u64::try_from(seconds).ok());
    let lasts = said.filter(|seconds| *seconds > 0).map(Duration::from_secs).or(plan.lasts)?;
    now.checked_add_signed(chrono::TimeDelta::from_std(lasts.min(limits::DURATION_MAX)).ok()?)
}

/// Seconds or milliseconds since 1970, or RFC 3339. What is beyond all calendars is `latest`.
fn instant(value: &Value, latest: DateTime<Utc>) -> Option<DateTime<Utc>> {
    /// Of seconds this is the year 5138, of milliseconds 1973.
    const SECONDS_MAX: i64 = 100_000_000_000;
    match (whole(value), value) {
        (Some(seconds), _) if seconds < SECONDS_MAX => DateTime::from_timestamp(seconds, 0),
        (Some(millis), _) => Some(DateTime::from_timestamp_millis(millis).unwrap_or(latest)),
        (None, Value::String(text)) => DateTime::parse_from_rfc3339(text.trim()).ok().map(|at| at.to_utc()),
        (None, _) => None,
    }
}

/// A number or a text that is one, without its fraction; one of too many digits is the largest there is.
fn whole(value: &Value) -> Option<i64> {
    let text = match value {
        // it was too long for the parser too
        Value::Number(number) if number.as_f64().is_some_and(|number| number > 9e18) => return Some(i64::MAX),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole.strip_prefix('-').unwrap_or(whole)) || !is_digits(fraction) {
        return None;
    }
    whole.parse().ok().or_else(|| (!whole.starts_with('-')).then_some(i64::MAX))
}

/// A text, or a whole number as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// JSON, or a form that has a token or an error: anything else could be the token itself, with `=` at its end.
fn parsed(plan: &TokenPlan, body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}').trim();
    if text.starts_with(['{', '[']) {
        return serde_json::from_str(text).ok();
    }
    if text.contains(|c: char| c.is_whitespace() || c == '<') {
        return None;
    }
    let pairs = form_urlencoded::parse(text.as_bytes());
    let form = Value::Object(pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect());
    (first(&plan.access_token, &form).is_some() || form.get("error").is_some()).then_some(form)
}

/// An answer that could be read and has no token.
fn no_token(plan: &TokenPlan, status: u16, answer: &Value, redactor: &Redactor) -> Refused {
    let shown = |text: &str| shown(redactor, text);
    let (error, description) = said(answer);
    let kind = kind(status, error.as_deref(), description.as_deref());
    let text = match (&error, description) {
        (Some(error), Some(description)) => format!("`{}`: {}", shown(error), shown(&description)),
        (Some(error), None) => format!("`{}`", shown(error)),
        (None, Some(description)) => shown(&description),
        (None, None) => {
            // its values are not shown: the token can be under another name
            let names: BTreeSet<&str> =
                answer.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
            let names: Vec<String> =
                names.into_iter().take(limits::LISTED_MAX).map(|name| format!("`{}`", shown(name))).collect();
            let no = match status {
                200..300 => format!("the answer has no `{}`", plan.access_token.text()),
                _ => "no reason is given".to_owned(),
            };
            if names.is_empty() { no } else { format!("{no}; there is {}", names.join(", ")) }
        }
    };
    refused(kind, error.map(|error| shown(&error)), status, &text)
}

/// An answer that is neither JSON nor a form.
fn not_read(status: u16, body: &[u8], redactor: &Redactor) -> Refused {
    let shown = |text: &str| shown(redactor, text);
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let what = if text.is_empty() {
        "the answer is empty".to_owned()
    } else if text.starts_with('<') {
        let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
        match title.map(|(title, _)| shown(title)).filter(|title| !title.is_empty()) {
            Some(title) => format!("the answer is a page and not JSON: {title}"),
            None => "the answer is a page and not JSON".to_owned(),
        }
    } else if (200..300).contains(&status) {
        // it is not shown: it can be the token itself
        "the answer is no JSON".to_owned()
    } else {
        shown(text)
    };
    refused(kind(status, None, None), None, status, &what)
}

fn refused(kind: RefusedKind, error: Option<String>, status: u16, text: &str) -> Refused {
    Refused { kind, error, text: format!("the token endpoint answered {status}: {text}") }
}

/// The code and the words of an error: those of RFC 6749, 5.2, and where large APIs have theirs.
fn said(answer: &Value) -> (Option<String>, Option<String>) {
    let text = |value: Option<&Value>| value.and_then(text_of).filter(|text| !text.trim().is_empty());
    let any = |value: &Value, names: &[&str]| names.iter().find_map(|name| text(value.get(name)));
    let inner = answer.get("error").filter(|error| error.is_object()).or_else(|| answer.get("errors")?.get(0));
    let is_word = |text: &String| text.contains(char::is_alphabetic);
    let code = any(answer, &["error", "errorCode", "error_code"])
        .or_else(|| {
            let inner = inner?;
            let mut codes = ["code", "type", "status"].iter().filter_map(|name| text(inner.get(name)));
            let first = codes.next()?;
            Some(if is_word(&first) { first } else { codes.find(is_word).unwrap_or(first) })
        })
        // a status in words is HubSpot's; the others repeat that of HTTP
        .or_else(|| any(answer, &["status", "code"]).filter(is_word));
    let words = any(answer, &["error_description", "errorSummary", "error_message", "message", "detail"])
        .or_else(|| inner.and_then(|inner| any(inner, &["message", "detail", "title"])));
    (code, words)
}

/// Whether a status says that the same request may be answered well later (RFC 9110, 15; RFC 8470, 5.2).
pub(crate) fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// What an error means: a status that passes first, then the code, then the status.
fn kind(status: u16, error: Option<&str>, description: Option<&str>) -> RefusedKind {
    let error = error.unwrap_or_default().to_ascii_lowercase();
    // GitHub and Slack tell errors with 200, RFC 8628 with 400
    match error.as_str() {
        "authorization_pending" => return RefusedKind::Pending,
        _ if is_temporary(status) => return RefusedKind::Transient,
        _ => {}
    }
    match error.as_str() {
        "slow_down" | "temporarily_unavailable" | "server_error" | "internal_failure" | "internal_error"
        | "service_unavailable" | "ratelimited" | "rate_limited" | "rate_limit_exceeded" | "too_many_requests" => {
            RefusedKind::Transient
        }
        // RFC 6749, 5.2; RFC 8628, 3.5; OpenID Connect Core, 3.1.2.6
        "invalid_grant" | "expired_token" | "access_denied" | "interaction_required" | "login_required"
        | "consent_required" | "account_selection_required"
        // GitHub, Slack, HubSpot
        | "bad_refresh_token" | "bad_verification_code" | "invalid_refresh_token" | "token_revoked"
        | "account_inactive" | "bad_auth_code" => RefusedKind::Revoked,
        // of the grant's kind or of the application; Atlassian has it for a refresh token that is over
        "unauthorized_client" => {
            let words = description.unwrap_or_default().to_ascii_lowercase().replace('_', " ");
            if words.contains("refresh token") { RefusedKind::Revoked } else { RefusedKind::Misconfigured }
        }
        "invalid_client" | "invalid_request" | "invalid_scope" | "unsupported_grant_type" | "invalid_target"
        | "incorrect_client_credentials" | "redirect_uri_mismatch" | "invalid_client_id" | "bad_client_secret"
        | "bad_redirect_uri" | "device_flow_disabled" => RefusedKind::Misconfigured,
        _ if (200..300).contains(&status) => RefusedKind::Unreadable,
        _ => RefusedKind::Misconfigured,
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
