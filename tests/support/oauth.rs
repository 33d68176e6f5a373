//! An OAuth 2.0 server as strict as they come: it ends the old refresh token once the new access token is used, and the old access token when
//! a new one is given. It knows no time: a token ends after so many uses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{Api, Reply, Request};

/// What the server has seen and given.
#[derive(Debug, Default)]
pub struct Seen {
    /// tokens that were given, and how many uses are left of the last one
    pub given: usize,
    uses_left: usize,
    refresh_token: String,
    /// the one before, which works until the new access token is used
    previous: Option<String>,
    codes: BTreeMap<String, (String, String)>,
    /// successful answers for a refresh token
    pub refreshed: usize,
    /// refresh tokens that came too late
    pub refused: usize,
    /// tokens that ended by use
    pub ended: usize,
    /// the scopes of the last authorization
    pub scope: String,
    /// everything is revoked
    pub revoked: bool,
    /// answers of the token endpoint that fail first: 503
    pub failing: usize,
    device_polls: usize,
    /// of each list, the pages that were given
    pub pages: BTreeMap<String, Vec<usize>>,
}

/// The server; clones share it.
#[derive(Clone)]
pub struct OAuth {
    pub api: Arc<Api>,
    seen: Arc<Mutex<Seen>>,
    at_first_use: Arc<Mutex<Option<Hook>>>,
}

/// What the test does when a new token is used for the first time, before that is answered.
type Hook = Box<dyn FnMut() + Send>;

pub const CLIENT_SECRET: &str = "cl1ent-s3cret-of-the-app";

impl OAuth {
    /// Each token is good for `uses` requests to the API, which has lists of `pages` pages of two records.
    pub fn start(uses: usize, pages: usize) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let at_first_use: Arc<Mutex<Option<Hook>>> = Arc::default();
        let (shared, hook) = (Arc::clone(&seen), Arc::clone(&at_first_use));
        let api = Api::start(move |request| answer((&shared, &hook), request, uses, pages));
        Self { api: Arc::new(api), seen, at_first_use }
    }

    /// From now on this is done when a new token is used for the first time, before that is answered.
    pub fn at_first_use(&self, hook: impl FnMut() + Send + 'static) {
        *self.at_first_use.lock().expect("not poisoned") = Some(Box::new(hook));
    }

    /// The token is good for nothing any more.
    pub fn end_token(&self) {
        let mut seen = self.seen();
        seen.uses_left = 0;
        seen.ended += 1;
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("not poisoned")
    }
}

fn answer((seen, hook): (&Mutex<Seen>, &Mutex<Option<Hook>>), request: &Request, uses: usize, pages: usize) -> Reply {
    let mut seen = seen.lock().expect("not poisoned");
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/authorize") => authorize(&mut seen, request),
        ("POST", "/device") => Reply::json(&json!({
            "device_code": "device-c0de-1", "user_code": "ABCD-EFGH", "verification_uri": "https://example.com/device", "interval": 0,
            "expires_in": 300,
        })),
        ("POST", "/token") => token(&mut seen, request, uses),
        ("GET", path) => {
            let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
            if seen.revoked || token != Some(&format!("access-t0ken-{}", seen.given)) {
                return Reply::status(401, "{\"error\":\"invalid_token\"}");
            }
            if seen.uses_left == 0 {
                return Reply::status(401, "{\"error\":\"token_expired\"}");
            }
            if seen.uses_left == uses
                && let Some(hook) = hook.lock().expect("not poisoned").as_mut()
            {
                hook();
            }
            seen.uses_left -= 1;
            if seen.uses_left == 0 {
                seen.ended += 1;
            }
            seen.previous = None;
            match path.strip_prefix("/lists/") {
                Some(list) => {
                    let page = request.number("page", 1);
                    seen.pages.entry(list.to_owned()).or_default().push(page);
                    let records: Vec<_> = (0..2).map(|nth| json!({ "id": page * 10 + nth, "list": list })).collect();
                    Reply::json(&json!({ "records": records, "pages": pages }))
                }
                None => Reply::json(&json!({ "id": "acc-77", "name": "Ann\u{1b}[2J" })),
            }
        }
        _ => Reply::status(404, "{}"),
    }
}

fn authorize(seen: &mut Seen, request: &Request) -> Reply {
    let param = |name: &str| request.param(name).unwrap_or_default().to_owned();
    assert_eq!((param("response_type").as_str(), param("client_id").as_str()), ("code", "app-1"));
    assert_eq!(param("code_challenge_method"), "S256");
    let code = format!("c0de-{}", seen.codes.len() + 1);
    seen.codes.insert(code.clone(), (param("code_challenge"), param("redirect_uri")));
    seen.scope = param("scope");
    Reply::status(302, "").with("location", &format!("{}?code={code}&state={}", param("redirect_uri"), param("state")))
}

fn token(seen: &mut Seen, request: &Request, uses: usize) -> Reply {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
    let member = |name: &str| form.get(name).cloned().unwrap_or_default();
    let invalid = |text: &str| Reply::status(400, &json!({ "error": text }).to_string());
    if seen.failing > 0 {
        seen.failing -= 1;
        return Reply::status(503, "<html>busy</html>");
    }
    if (member("client_id").as_str(), member("client_secret").as_str()) != ("app-1", CLIENT_SECRET) {
        return Reply::status(401, "{\"error\":\"invalid_client\"}");
    }
    match member("grant_type").as_str() {
        "authorization_code" => {
            let Some((challenge, redirect_uri)) = seen.codes.remove(&member("code")) else {
                return invalid("invalid_grant");
            };
            let digest = ring::digest::digest(&ring::digest::SHA256, member("code_verifier").as_bytes());
            if URL_SAFE_NO_PAD.encode(digest) != challenge || member("redirect_uri") != redirect_uri {
                return invalid("invalid_grant");
            }
            seen.revoked = false;
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            seen.device_polls += 1;
            if seen.device_polls < 2 {
                return invalid("authorization_pending");
            }
        }
        "refresh_token" => {
            let given = member("refresh_token");
            if seen.revoked || (given != seen.refresh_token && seen.previous.as_ref() != Some(&given)) {
                seen.refused += 1;
                seen.revoked = true;
                return invalid("invalid_grant");
            }
            seen.previous = Some(given);
            seen.refreshed += 1;
        }
        "client_credentials" => {}
        _ => return invalid("unsupported_grant_type"),
    }
    seen.given += 1;
    seen.uses_left = uses;
    seen.refresh_token = format!("refresh-t0ken-{}", seen.given);
    let mut answer =
        json!({ "access_token": format!("access-t0ken-{}", seen.given), "token_type": "Bearer", "team": "t-9" });
    if member("grant_type") != "client_credentials" {
        answer["refresh_token"] = seen.refresh_token.clone().into();
    }
    Reply::json(&answer)
}
