//! Who looks at the page: sessions, and what a form must prove.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use chrono::{DateTime, Utc};
use governor::clock::{Clock, MonotonicClock};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::plan::{ApiScope, hex, limits};
use crate::serve::access::{Limiter, limiter};
use crate::serve::answer::Denied;

/// The sessions of this process; a restart ends them.
pub(super) struct Sessions {
    /// by a digest of the cookie: what is in memory opens nothing
    open: Mutex<HashMap<Digest, Session>>,
    /// makes the tokens of forms out of the digests
    forms: hmac::Key,
    random: SystemRandom,
    guesses: Limiter,
    refused_until: Mutex<Option<DateTime<Utc>>>,
}

type Digest = [u8; 32];

struct Session {
    scopes: Vec<ApiScope>,
    ends_at: DateTime<Utc>,
    limiter: Limiter,
    /// what is told on the next page
    said: Option<String>,
}

/// Who asks for a page.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    digest: Digest,
    scopes: Vec<ApiScope>,
    /// the token of its forms
    pub csrf: String,
    /// what came of the form before
    pub said: Option<String>,
}

/// The name of the cookie. Behind TLS browsers promise that only this host, over TLS, has set one with such a prefix.
fn cookie(is_tls: bool) -> &'static str {
    if is_tls { "__Host-headwater" } else { "headwater" }
}

/// Whether the browser reached a proxy over TLS. Whoever says so in vain locks out nobody but himself.
fn is_tls(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

impl Sessions {
    /// None yet.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        let random = SystemRandom::new();
        let forms = hmac::Key::generate(hmac::HMAC_SHA256, &random)?;
        let (open, refused_until) = (Mutex::default(), Mutex::default());
        let guesses = limiter(limits::PAGE_GUESSES_PER_SECOND, limits::PAGE_GUESSES_BURST);
        Ok(Self { open, forms, random, guesses, refused_until })
    }

    /// Begins a session; gives the header that sets its cookie.
    pub(super) fn begin(
        &self,
        scopes: &[ApiScope],
        headers: &HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<String, ring::error::Unspecified> {
        let mut bytes = [0; 32];
        self.random.fill(&mut bytes)?;
        let token = hex(bytes);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.ends_at > now);
        if open.len() >= limits::PAGE_SESSIONS_MAX {
            let oldest = open.iter().min_by_key(|(_, session)| session.ends_at).map(|(digest, _)| *digest);
            oldest.map(|oldest| open.remove(&oldest));
        }
        let limiter = limiter(limits::API_REQUESTS_PER_SECOND, limits::API_REQUESTS_BURST);
        let ends_at = now + limits::PAGE_SESSION_LASTS;
        open.insert(digest_of(token.as_bytes()), Session { scopes: scopes.to_vec(), ends_at, limiter, said: None });
        let seconds = limits::PAGE_SESSION_LASTS.num_seconds();
        Ok(set_cookie(headers, &token, seconds))
    }

    /// Ends a session; gives the header that takes its cookie away.
    pub(super) fn end(&self, visitor: &Visitor, headers: &HeaderMap) -> String {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&visitor.digest);
        set_cookie(headers, "", 0)
    }

    /// Who asks. What is told on the next page is told to `page`s alone, once.
    pub(super) fn find(
        &self,
        headers: &HeaderMap,
        is_page: bool,
        now: DateTime<Utc>,
    ) -> Result<Option<Visitor>, Denied> {
        let Some(token) = token(headers) else { return Ok(None) };
        let digest = digest_of(token);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = open.get_mut(&digest).filter(|session| session.ends_at > now) else { return Ok(None) };
        if session.limiter.check().is_err() {
            let message = format!("more than {} requests a second", limits::API_REQUESTS_PER_SECOND);
            return Err(Denied::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message).later(1));
        }
        let said = if is_page { session.said.take() } else { None };
        let csrf = hex(hmac::sign(&self.forms, &digest));
        Ok(Some(Visitor { digest, scopes: session.scopes.clone(), csrf, said }))
    }

    /// Tells something on the visitor's next page.
    pub(super) fn say(&self, visitor: &Visitor, text: String) {
        if let Some(session) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&visitor.digest) {
            session.said = Some(text);
        }
    }

    /// Checks the token of a form, in constant time.
    pub(super) fn is_form_of(&self, visitor: &Visitor, given: &str) -> bool {
        let tag: Option<Vec<u8>> = (0..given.len())
            .step_by(2)
            .map(|at| given.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        tag.is_some_and(|tag| hmac::verify(&self.forms, &visitor.digest, &tag).is_ok())
    }

    /// Whether keys are looked at: after many wrong ones none is for a while, right or not. That bounds guessing; who is in stays in.
    ///
    /// # Errors
    /// Gives the seconds after which they are.
    pub(super) fn may_guess(&self, now: DateTime<Utc>) -> Result<(), u64> {
        let until = *self.refused_until.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Some(until) if until > now => Err((until - now).num_seconds().unsigned_abs() + 1),
            _ => Ok(()),
        }
    }

    /// Counts a wrong key.
    pub(super) fn guessed_wrong(&self, now: DateTime<Utc>) {
        if let Err(until) = self.guesses.check() {
            let wait = until.wait_time_from(MonotonicClock.now());
            let until = now + chrono::TimeDelta::from_std(wait).unwrap_or_default();
            *self.refused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
    }
}

impl Visitor {
    fn can(&self, scope: ApiScope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether syncs, runs, connections and files are shown.
    pub(super) fn sees(&self) -> bool {
        self.can(ApiScope::Syncs)
    }

    /// Whether records are shown.
    pub(super) fn reads(&self) -> bool {
        self.can(ApiScope::Records)
    }

    /// Whether there are buttons.
    pub(super) fn steers(&self) -> bool {
        self.can(ApiScope::Control)
    }

    /// Nothing where the key is not good for it.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn must(&self, scope: ApiScope) -> Result<(), Denied> {
        if self.can(scope) { Ok(()) } else { Err(Denied::lacks(scope)) }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // `routes.rs` lets nobody in without
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn digest_of(token: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token).as_ref());
    bytes
}

fn set_cookie(headers: &HeaderMap, token: &str, seconds: i64) -> String {
    let is_tls = is_tls(headers);
    let secure = if is_tls { "; Secure" } else { "" };
    format!("{}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", cookie(is_tls))
}

fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let name = cookie(is_tls(headers));
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, token)| token.as_bytes()).next()
}

/// Refuses what another site, or another port of this host, has made a browser send. Browsers say so in `Sec-Fetch-Site`, older ones in `Origin`;
/// what says neither is no browser, or an old one, and has the token of the form alone.
///
/// # Errors
/// It comes from elsewhere.
pub(super) fn same_origin(headers: &HeaderMap) -> Result<(), Denied> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_near = site.is_none_or(|site| site == b"same-origin" || site == b"none");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_same = |origin: &str| origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
    let is_own = headers.get(header::ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(is_same));
    if is_near && is_own {
        return Ok(());
    }
    let denied = Denied::new(StatusCode::FORBIDDEN, "cross_origin", "this request was made by another page");
    Err(denied.hint("a proxy before the daemon has to hand on `Host` as it came"))
}

/// The fields of a form.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Out of a body.
    pub(super) fn of(body: &Bytes) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    /// The value of a field; nothing where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn begin(sessions: &Sessions, now: DateTime<Utc>) -> String {
        let set = sessions.begin(&[ApiScope::Syncs], &HeaderMap::new(), now).expect("random numbers");
        set.split(';').next().expect("a cookie").to_owned()
    }

    #[test]
    fn a_session_ends_by_itself_and_the_oldest_makes_room() {
        let (sessions, now) = (Sessions::new().expect("random numbers"), DateTime::<Utc>::UNIX_EPOCH);
        let first = begin(&sessions, now);
        let known = |cookie: &str, at| sessions.find(&headers(&[("cookie", cookie)]), true, at).expect("few").is_some();
        assert!(known(&first, now + limits::PAGE_SESSION_LASTS - TimeDelta::seconds(1)));
        assert!(!known(&first, now + limits::PAGE_SESSION_LASTS));
        assert!(!known(&format!("{first}0"), now) && !known("headwater=", now));
        // over TLS it is another cookie
        let over_tls = headers(&[("cookie", &first), ("x-forwarded-proto", "https")]);
        assert!(sessions.find(&over_tls, true, now).expect("few").is_none());
        let later = now + TimeDelta::seconds(1);
        let last = (0..limits::PAGE_SESSIONS_MAX).map(|_| begin(&sessions, later)).last().expect("some");
        assert!(!known(&first, later) && known(&last, later));
        assert_eq!(sessions.open.lock().expect("not poisoned").len(), limits::PAGE_SESSIONS_MAX);
    }

    #[test]
    fn a_form_is_of_one_session() {
        let (sessions, now) = (Sessions::new().expect("random numbers"), DateTime::<Utc>::UNIX_EPOCH);
        let visitor =
            |cookie: &str| sessions.find(&headers(&[("cookie", cookie)]), true, now).expect("few").expect("a session");
        let (one, other) = (visitor(&begin(&sessions, now)), visitor(&begin(&sessions, now)));
        assert!(sessions.is_form_of(&one, &one.csrf));
        for wrong in [other.csrf.as_str(), "", "0", "zz", "ü0", &one.csrf[2..]] {
            assert!(!sessions.is_form_of(&one, wrong), "{wrong}");
        }
    }

    #[test]
    fn after_many_wrong_keys_none_is_looked_at_for_a_while() {
        let (sessions, now) = (Sessions::new().expect("random numbers"), DateTime::<Utc>::UNIX_EPOCH);
        for _ in 0..limits::PAGE_GUESSES_BURST * 3 {
            sessions.guessed_wrong(now);
        }
        let wait = sessions.may_guess(now).expect_err("refused");
        assert!((1..=2).contains(&wait), "{wait}");
        assert_eq!(sessions.may_guess(now + TimeDelta::seconds(2)), Ok(()));
    }

    #[test]
    fn what_comes_from_elsewhere_is_refused() {
        let own = [
            headers(&[("host", "a:1"), ("sec-fetch-site", "same-origin"), ("origin", "http://a:1")]),
            headers(&[("host", "a:1"), ("origin", "https://A:1")]),
            headers(&[("host", "a:1"), ("sec-fetch-site", "none")]),
            headers(&[("host", "a:1")]),
        ];
        assert!(own.iter().all(|headers| same_origin(headers).is_ok()));
        let others = [
            headers(&[("host", "a:1"), ("sec-fetch-site", "same-site")]),
            headers(&[("host", "a:1"), ("sec-fetch-site", "cross-site"), ("origin", "http://a:1")]),
            headers(&[("host", "a:1"), ("origin", "http://a:2")]),
            headers(&[("host", "a:1"), ("origin", "null")]),
            headers(&[("host", "a:1"), ("sec-fetch-site", "same-origin"), ("origin", "http://b")]),
        ];
        assert!(others.iter().all(|headers| same_origin(headers).is_err()));
    }
}
