//! A server that repeats every secret that it knows, wherever it can: an API, a token endpoint and an authorization server in one.
//! The first segment of a path is the connection, the last one what is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;

use super::marks::{mark, spelled};
use super::{Api, Reply, Request};

/// How the token endpoint is today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// gives tokens
    #[default]
    Good,
    /// RFC 6749, 5.2, with everything it was sent in `error_description`
    Quotes,
    /// the same behind so much else that a message is cut in the middle of it
    QuotesLate,
    /// a page of a gateway
    Page,
    /// the token as plain text
    Bare,
    /// the token under another name, beside words about it
    Renames,
}

pub const MOODS: [Mood; 5] = [Mood::Quotes, Mood::QuotesLate, Mood::Page, Mood::Bare, Mood::Renames];

#[derive(Default)]
pub struct Said {
    pub mood: Mood,
    /// whether it takes who asks for `/me`
    pub refuses: bool,
    /// of each connection, what it was given, and the refresh token
    known: BTreeMap<String, Vec<String>>,
    refresh: BTreeMap<String, String>,
    /// every secret there is
    pub secrets: BTreeSet<String>,
    /// answers with secrets in them
    pub repeated: usize,
    given: usize,
    elsewhere: String,
}

#[derive(Clone)]
pub struct Parrot {
    pub api: Arc<Api>,
    said: Arc<Mutex<Said>>,
}

impl Parrot {
    /// `elsewhere` is the URL of another origin, where it sends whoever follows.
    pub fn start(elsewhere: &str) -> Self {
        let said = Arc::new(Mutex::new(Said { elsewhere: elsewhere.to_owned(), ..Said::default() }));
        let shared = Arc::clone(&said);
        let api = Api::start(move |request| answer(&mut shared.lock().expect("not poisoned"), request));
        Self { api: Arc::new(api), said }
    }

    pub fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("not poisoned")
    }
}

impl Said {
    /// From now on it repeats this secret to this connection.
    pub fn knows(&mut self, connection: &str, secret: &str) {
        self.secrets.insert(secret.to_owned());
        self.known.entry(connection.to_owned()).or_default().push(secret.to_owned());
    }

    pub fn known(&self, connection: &str) -> &[String] {
        self.known.get(connection).map_or(&[], Vec::as_slice)
    }

    /// A new secret of the server's own. It is repeated to those who send it.
    fn gives(&mut self, connection: &str, what: &str) -> String {
        self.given += 1;
        let secret = mark(&format!("{connection}-{what}-{}", self.given));
        self.secrets.insert(secret.clone());
        secret
    }

    /// What a request proves itself with, which is secret even where it was made for it.
    fn hears(&mut self, connection: &str, request: &Request) -> Vec<String> {
        let mut heard = Vec::new();
        if let Some((scheme, secret)) = request.header("authorization").and_then(|header| header.split_once(' '))
            && ["Bearer", "Basic"].contains(&scheme)
        {
            heard.push(secret.to_owned());
        }
        let form = url::form_urlencoded::parse(request.body.as_bytes()).into_owned();
        let names =
            ["client_secret", "client_assertion", "assertion", "code", "code_verifier", "refresh_token", "device_code"];
        heard.extend(form.filter(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value));
        self.secrets.extend(heard.iter().cloned());
        heard.extend(self.known.get(connection).into_iter().flatten().cloned());
        heard.extend(self.refresh.get(connection).cloned());
        heard
    }
}

fn answer(said: &mut Said, request: &Request) -> Reply {
    let path = request.path.trim_start_matches('/');
    let (connection, rest) = path.split_once('/').unwrap_or((path, ""));
    let (connection, what) = (connection.to_owned(), rest.rsplit('/').next().unwrap_or_default().to_owned());
    let heard = said.hears(&connection, request);
    // each connection and list has ways of writing of its own, and each request another
    said.repeated += 1;
    let way = what.len() + connection.len() * 3 + said.repeated;
    let all = heard.iter().enumerate().map(|(nth, text)| spelled(way + nth, text)).collect::<Vec<_>>().join(" , ");
    let plain = heard.join(" , ");
    match what.as_str() {
        "token" | "login" | "session" | "access_tokens" => token(said, &connection, &what, &heard, &all),
        "authorize" => authorize(said, &connection, request),
        "device" => {
            let code = said.gives(&connection, "device-code");
            Reply::json(&json!({
                "device_code": code, "user_code": "ABCD-EFGH", "verification_uri": format!("https://example.com/?you={plain}\u{1b}[2J"),
                "verification_uri_complete": format!("https://example.com/?code={code}"), "interval": 0, "expires_in": 300,
            }))
        }
        "me" if said.refuses => Reply::status(401, &json!({ "message": format!("you said {all}") }).to_string()),
        "me" => Reply::json(&json!({ "id": format!("acc-77 {plain}"), "name": "Ann" })),
        list => {
            let one = heard.first().cloned().unwrap_or_default();
            let encoded: String = url::form_urlencoded::byte_serialize(one.as_bytes()).collect();
            let sent = if one.bytes().all(|byte| byte.is_ascii_graphic()) { &one } else { &encoded };
            // headers that a log would like to have
            data(said, request, list, &heard, &all)
                .with("x-request-id", sent)
                .with("server", &spelled(way, sent))
                .with("link", &format!("<https://example.com/?you={encoded}>; rel=\"next\""))
                .with("set-cookie", &format!("sid={encoded}"))
        }
    }
}

/// An answer of an API, by the name of the list.
fn data(said: &Said, request: &Request, list: &str, heard: &[String], all: &str) -> Reply {
    let plain = heard.join(" , ");
    let one = heard.first().cloned().unwrap_or_default();
    let encoded: String = url::form_urlencoded::byte_serialize(one.as_bytes()).collect();
    let error = |status| Reply::status(status, &json!({ "message": format!("you said {all}") }).to_string());
    match list {
        "refused" => error(401).with("www-authenticate", &format!("Bearer realm=\"{encoded}\"")),
        "forbidden" => Reply { status: 403, ..Reply::text("text/html", &format!("<title>you said {all}</title>")) },
        "bad" => Reply::status(400, &format!("you said {plain}")),
        "late" => Reply::status(400, &format!("you said {} {plain}", "x".repeat(1_950))),
        "broken" => error(500),
        "limited" => error(429).with("retry-after", &encoded).with("x-left", &encoded),
        "cut" => Reply::text("application/json", &format!("{{\"items\": [], \"you said\": \"{plain}")),
        "missing" => Reply::json(&json!({ "you said": plain })),
        "redirect" => Reply::status(302, "").with("location", &format!("{}/?you={encoded}", said.elsewhere)),
        "round" => Reply::status(302, "").with("location", &format!("round?you={encoded}&{}", request.query.len())),
        "odd" => Reply::status(302, "").with("location", &format!("http://[{encoded}")),
        "next" if request.param("page").is_none() => Reply::json(
            &json!({ "items": [{ "id": 1 }], "next": format!("next?page=2&key={encoded}&signature={encoded}&you={encoded}") }),
        ),
        "next" => error(500),
        "leads" => Reply::json(
            &json!({ "items": [{ "id": 2 }], "next": format!("{}/?key={encoded}&signature={encoded}&you={encoded}", said.elsewhere) }),
        ),
        "circle" => Reply::json(&json!({ "items": [{ "id": 3 }], "next": one })),
        "names" => Reply::json(&json!({ "items": [{ "id": 4, one.clone(): 1, "x": { one: [1] } }] })),
        "invalid" => Reply::json(&json!({ "items": [{ "id": 5, "size": one, "beside": plain }, { "id": plain }] })),
        "mark" => Reply::json(&json!({ "items": [{ "id": 6, "at": one }] })),
        other => panic!("{other}"),
    }
}

pub const LISTS: [(&str, &str); 17] = [
    ("refused", ""),
    ("forbidden", ""),
    ("bad", ""),
    ("late", ""),
    ("broken", ""),
    ("limited", ""),
    ("cut", ""),
    ("missing", ""),
    ("redirect", ""),
    ("round", ""),
    ("odd", ""),
    ("next", "pagination: { next_url: { from: $.next } }"),
    ("leads", "pagination: { next_url: { from: $.next } }"),
    ("circle", "pagination: { cursor: { from: $.next, query: after, stop: { when: \"{{ 1 == 2 }}\" } } }"),
    ("names", ""),
    ("invalid", ""),
    ("mark", "incremental: { field: $.at }"),
];

fn authorize(said: &mut Said, connection: &str, request: &Request) -> Reply {
    let param = |name: &str| request.param(name).unwrap_or_default().to_owned();
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let code = said.gives(connection, "code");
    let (back, state, code) = (param("redirect_uri"), param("state"), encode(&code));
    let query = if said.refuses {
        format!("error=server_error&error_description=the+code+{code}&code={code}&state={state}")
    } else {
        format!("code={code}&state={state}")
    };
    Reply::status(302, "").with("location", &format!("{back}?{query}"))
}

fn token(said: &mut Said, connection: &str, what: &str, heard: &[String], all: &str) -> Reply {
    let plain = heard.join(" , ");
    let refusal =
        |words: &str| Reply::status(400, &json!({ "error": "invalid_grant", "error_description": words }).to_string());
    match said.mood {
        Mood::Good => {
            let token = said.gives(connection, "access");
            let refresh = said.gives(connection, "refresh");
            if connection == "consent" {
                said.refresh.insert(connection.to_owned(), refresh.clone());
            }
            match what {
                "login" => Reply::json(&json!({ "ticket": token })),
                "session" => Reply::json(&json!({ "session": { "id": token } })),
                "access_tokens" => Reply::json(&json!({ "token": token, "expires_at": "2099-01-01T00:00:00Z" })),
                _ => Reply::json(&json!({
                    "access_token": token, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 3600,
                    "scope": format!("base {refresh}"), "team": { "id": "t-9", "said": plain, token.clone(): [refresh] },
                })),
            }
        }
        Mood::Quotes => refusal(&format!("you said {all}")),
        Mood::QuotesLate => refusal(&format!("you said {} {plain}", "x".repeat(440))),
        Mood::Page => Reply { status: 500, ..Reply::text("text/html", &format!("<title>you said {all}</title>")) },
        Mood::Bare => Reply::text("text/plain", &said.gives(connection, "bare")),
        Mood::Renames => {
            let token = said.gives(connection, "renamed");
            Reply::json(&json!({ "AccessToken": token, "you said": plain }))
        }
    }
}
