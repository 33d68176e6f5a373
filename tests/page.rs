//! The page of the daemon, as answers over HTTP: who may see and do what, and what they read. `browser.rs` looks at it with a browser.

use serde_json::json;

use crate::support::{Answer, Api, Daemon, Project, Reply, Request, until};

pub const KEY: &str = "page-0123456789abcdef012345678";
const VIEWER: &str = "viewer-0123456789abcdef0123456";
const READER: &str = "reader-0123456789abcdef0123456";
/// A secret that stands in the project file itself.
const LITERAL: &str = "a-literal-secret-of-the-project";
/// One that stands in the file of the provider.
const WRITTEN: &str = "a-key-in-the-provider-file";
pub const ENVIRONMENT: [(&str, &str); 3] = [("PAGE_KEY", KEY), ("VIEWER_KEY", VIEWER), ("READER_KEY", READER)];

const PROJECT: &str = "database: test.duckdb
api:
  keys:
    page: { key: \"${PAGE_KEY}\", scopes: [records, syncs, control] }
    viewer: { key: \"${VIEWER_KEY}\", scopes: [syncs] }
    reader: { key: \"${READER_KEY}\", scopes: [records] }
connections:
  acme: { provider: api, credentials: { token: a-literal-secret-of-the-project } }
  other: { provider: api, credentials: { token: \"${READER_KEY}\" } }
";
/// What nobody may take for a part of the page.
const HOSTILE: &str = "<script>alert('x')</script>";

/// An API that is slow, broken, and gives what does not fit.
pub fn answer(request: &Request) -> Reply {
    match request.path.as_str() {
        "/slow" => {
            std::thread::sleep(std::time::Duration::from_millis(400));
            let at = request.number("page", 0);
            Reply::json(&json!({ "items": [{ "id": at, "name": "slow" }], "total": 41 }))
        }
        "/broken" => Reply::status(500, &json!({ "error": HOSTILE }).to_string()),
        "/odd" => Reply::json(&json!({ "items": [
            { "id": 1, "name": HOSTILE },
            { "id": HOSTILE, "name": "no number" },
            { "id": 2, "name": format!("{}{HOSTILE}", "long ".repeat(40)) },
        ] })),
        _ => Reply::json(&json!({ "items": [{ "id": 1, "name": "one" }, { "id": 2, "name": "two" }] })),
    }
}

/// A project with syncs that work, fail, take long and have records in quarantine.
pub fn project(url: &str) -> Project {
    let project = Project::empty();
    project.write("headwater.yaml", PROJECT);
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {url}\nretry: {{ attempts: 1 }}\nheaders: {{ X-Api-Key: {WRITTEN} }}\nauth: {{ token: {{ bearer: {{ token: \"{{{{ credentials.token }}}}\" }} }} }}\n"),
    );
    // a secret that stands in its file once more is not known by its place
    let spare = format!(
        "provider: spare\nbase_url: https://spare.example\nheaders: {{ X-Api-Key: {WRITTEN} }} # was {WRITTEN}\n"
    );
    project.write("providers/spare.yaml", spare);
    for name in ["items", "slow", "broken", "odd"] {
        let model = format!(
            "model: {name}\ntable: {name}\nkey: [id]\ncolumns:\n  id: {{ path: $.id, type: bigint }}\n  name: {{ path: $.name, type: varchar, description: \"{HOSTILE}\" }}\n"
        );
        project.write(&format!("integrations/api/models/{name}.yaml"), model);
        let paging = if name == "slow" {
            "pagination: { page: { query: page, start: 0, size: 1, size_param: size, total: $.total } }\n"
        } else {
            ""
        };
        let sync = format!(
            "sync: {name}\ndescription: \"{HOSTILE}\"\nmodel: {name}\nrequest: {{ get: /{name} }}\nresponse: {{ records: \"$.items[*]\" }}\n{paging}"
        );
        project.write(&format!("integrations/api/syncs/{name}.yaml"), sync);
    }
    project
}

/// Somebody who is logged in.
struct Guest<'d> {
    daemon: &'d Daemon,
    cookie: String,
}

impl<'d> Guest<'d> {
    fn enter(daemon: &'d Daemon, key: &str) -> Self {
        let answer = daemon.send("POST", "/login", &[], &format!("key={key}&next=%2F"));
        assert_eq!((answer.status, answer.headers["location"].as_str()), (303, "/"), "{answer:?}");
        let cookie = answer.headers["set-cookie"].split(';').next().expect("a cookie").to_owned();
        Self { daemon, cookie }
    }

    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("cookie", self.cookie.as_str())];
        all.extend(headers);
        self.daemon.send(method, target, &all, body)
    }

    fn read(&self, target: &str) -> String {
        let answer = self.ask("GET", target, &[], "");
        assert_eq!(answer.status, 200, "{target}: {}", text(&answer));
        text(&answer)
    }

    /// The token that the forms of its pages have.
    fn token(&self) -> String {
        let page = self.read("/");
        let behind = page.split_once("name=\"csrf\" value=\"").expect("a form").1;
        behind.split('"').next().expect("a value").to_owned()
    }

    fn post(&self, target: &str, body: &str) -> Answer {
        self.ask("POST", target, &[], body)
    }
}

fn text(answer: &Answer) -> String {
    answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned)
}

#[test]
fn only_a_key_lets_in_and_the_page_shows_what_it_is_good_for() {
    let api = Api::start(answer);
    let project = project(&api.url());
    let daemon = Daemon::listen(&project, &ENVIRONMENT);
    for target in ["/", "/syncs/acme/items", "/connections", "/records", "/logs", "/files"] {
        let answer = daemon.send("GET", target, &[], "");
        assert_eq!(answer.status, 303, "{target}");
        assert!(answer.headers["location"].starts_with("/login"), "{answer:?}");
    }
    let asked = daemon.send("GET", "/syncs/acme/items?a=b", &[], "");
    assert_eq!(asked.headers["location"], "/login?next=%2Fsyncs%2Facme%2Fitems%3Fa%3Db");
    assert!(text(&daemon.send("GET", "/login", &[], "")).contains("type=\"password\""));
    let wrong = daemon.send("POST", "/login", &[], "key=wrong");
    assert_eq!((wrong.status, wrong.headers.contains_key("set-cookie")), (401, false), "{wrong:?}");
    // whoever has a key goes to where he wanted, and nowhere else
    let elsewhere = daemon.send("POST", "/login", &[], &format!("key={KEY}&next=%2F%2Fevil.example"));
    assert_eq!(elsewhere.headers["location"], "/");
    let cookie = &elsewhere.headers["set-cookie"];
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && cookie.starts_with("headwater="), "{cookie}");
    let over_tls = daemon.send("POST", "/login", &[("x-forwarded-proto", "https")], &format!("key={KEY}"));
    let cookie = &over_tls.headers["set-cookie"];
    assert!(cookie.contains("; Secure") && cookie.starts_with("__Host-headwater="), "{cookie}");

    let (all, viewer, reader) =
        (Guest::enter(&daemon, KEY), Guest::enter(&daemon, VIEWER), Guest::enter(&daemon, READER));
    assert!(all.read("/syncs/acme/items").contains(">Run</button>"));
    let page = viewer.read("/syncs/acme/items");
    assert!(!page.contains(">Run</button>") && page.contains("<code>control</code>"), "{page}");
    assert!(reader.read("/").contains("<code>syncs</code>"));
    for (guest, target, status) in [
        (&reader, "/syncs/acme/items", 403),
        (&reader, "/live", 403),
        (&viewer, "/syncs/acme/items/reset", 403),
        (&all, "/syncs/acme/nothing", 404),
        (&all, "/syncs/acme/items/nothing", 404),
    ] {
        let answer = guest.ask("GET", target, &[], "");
        assert_eq!(answer.status, status, "{target}: {}", text(&answer));
        // it leads on
        assert!(text(&answer).contains("<h1>") && text(&answer).contains("<nav"), "{}", text(&answer));
    }
    // a form of somebody who may not steer does nothing
    let refused = viewer.post("/syncs/acme/items/run", &format!("csrf={}", viewer.token()));
    assert_eq!(refused.status, 403, "{}", text(&refused));
    // out is out
    let left = all.post("/logout", &format!("csrf={}", all.token()));
    assert_eq!((left.status, left.headers["location"].as_str()), (303, "/login"));
    assert_eq!(all.ask("GET", "/", &[], "").status, 303);
    assert!(api.requests().is_empty(), "nothing ran");
    daemon.stop();
}

#[test]
fn many_wrong_keys_are_refused_for_a_while_and_who_is_in_stays_in() {
    let api = Api::start(answer);
    let project = project(&api.url());
    let daemon = Daemon::listen(&project, &ENVIRONMENT);
    let guest = Guest::enter(&daemon, KEY);
    let wrong: Vec<u16> = (0..40).map(|_| daemon.send("POST", "/login", &[], "key=wrong").status).collect();
    assert!(wrong.contains(&401) && wrong.contains(&429), "{wrong:?}");
    guest.read("/");
    until("keys are looked at again", || daemon.send("POST", "/login", &[], &format!("key={KEY}")).status == 303);
    daemon.stop();
}

#[test]
fn a_form_from_elsewhere_does_nothing() {
    let api = Api::start(answer);
    let project = project(&api.url());
    let daemon = Daemon::listen(&project, &ENVIRONMENT);
    let (guest, other) = (Guest::enter(&daemon, KEY), Guest::enter(&daemon, KEY));
    let (own, others, target) = (guest.token(), other.token(), "/syncs/acme/items/run");
    for (headers, body) in [
        (vec![], String::new()),
        (vec![], "csrf=".to_owned()),
        (vec![], format!("csrf={others}")),
        (vec![("sec-fetch-site", "cross-site")], format!("csrf={own}")),
        (vec![("sec-fetch-site", "same-site")], format!("csrf={own}")),
        (vec![("origin", "http://evil.example")], format!("csrf={own}")),
        (vec![("origin", "null")], format!("csrf={own}")),
    ] {
        let answer = guest.ask("POST", target, &headers, &body);
        assert_eq!(answer.status, 403, "{headers:?} {body}: {}", text(&answer));
    }
    assert_eq!(guest.ask("POST", "/logout", &[], "").status, 403);
    assert_eq!(daemon.send("POST", "/login", &[("sec-fetch-site", "cross-site")], &format!("key={KEY}")).status, 403);
    // reading does nothing either
    assert_eq!(guest.ask("GET", target, &[], "").status, 404);
    assert!(api.requests().is_empty(), "nothing ran");
    let own_origin = format!("http://{}", daemon.address());
    let headers = [("sec-fetch-site", "same-origin"), ("origin", own_origin.as_str())];
    let run = guest.ask("POST", target, &headers, &format!("csrf={own}"));
    assert_eq!((run.status, run.headers["location"].as_str()), (303, "/syncs/acme/items"));
    assert!(guest.read("/syncs/acme/items").contains("acme&#x2f;items is run."));
    assert!(!guest.read("/syncs/acme/items").contains("is run."), "it is told once");
    until("it ran", || !api.requests().is_empty());
    daemon.stop();
}

#[test]
fn every_answer_keeps_the_browser_in_bounds() {
    let api = Api::start(answer);
    let project = project(&api.url());
    let daemon = Daemon::listen(&project, &ENVIRONMENT);
    let guest = Guest::enter(&daemon, KEY);
    let page = guest.read("/");
    for target in ["/", "/login", "/syncs/acme/items", "/syncs/acme/nothing", "/live", "/assets/0/none", "/nothing"] {
        let headers = guest.ask("GET", target, &[], "").headers;
        let policy = &headers["content-security-policy"];
        for word in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(word), "{target}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let all = ["x-content-type-options", "referrer-policy", "cache-control", "cross-origin-opener-policy"];
        let all: Vec<_> = all.iter().map(|name| headers[*name].as_str()).collect();
        assert_eq!(all, ["nosniff", "same-origin", "no-store", "same-origin"], "{target}");
    }
    // what is kept for ever has an address of its own, and is there
    let page = page.replace("&#x2f;", "/");
    let mut assets: Vec<&str> = page.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assets.dedup();
    assert!(assets.len() >= 3, "{assets:?}");
    for asset in assets {
        let answer = daemon.send("GET", asset, &[], "");
        assert_eq!(answer.status, 200, "{asset}");
        assert!(answer.headers["cache-control"].contains("immutable"), "{answer:?}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    for forbidden in ["<style", " style=", " onclick=", "javascript:", "http://", "https://"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    daemon.stop();
}

#[test]
fn a_project_without_keys_says_how_to_make_one() {
    let api = Api::start(answer);
    let project = Project::simple(
        &api.url(),
        "request: { get: /items }\nresponse: { records: \"$.items[*]\" }",
        "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }",
    );
    let daemon = Daemon::listen(&project, &[]);
    assert_eq!(daemon.send("GET", "/", &[], "").headers["location"], "/login");
    let page = text(&daemon.send("GET", "/login", &[], ""));
    assert!(page.contains("openssl rand -hex 24") && page.contains("scopes: [syncs, records, control]"), "{page}");
    assert_eq!(daemon.send("POST", "/login", &[], "key=").status, 401);
    daemon.stop();
}

#[test]
fn what_apis_and_files_say_is_text_and_no_secret_is_shown() {
    let api = Api::start(answer);
    let project = project(&api.url());
    let daemon = Daemon::listen(&project, &ENVIRONMENT);
    let guest = Guest::enter(&daemon, KEY);
    let token = guest.token();
    for sync in ["odd", "broken", "items"] {
        let run = guest.post(&format!("/syncs/acme/{sync}/run"), &format!("csrf={token}"));
        assert_eq!(run.status, 303, "{}", text(&run));
    }
    until("they ran", || {
        let page = guest.read("/");
        page.matches("is-failed").count() >= 2 && page.matches("is-completed").count() >= 4
    });
    let files = guest.read("/files").replace("&#x2f;", "/");
    let files: Vec<&str> = files.split('"').filter(|text| text.starts_with("/files?name=")).collect();
    assert_eq!(files.len(), 11, "{files:?}");
    let runs = guest.read("/logs?connection=acme&sync=broken&state=failed").replace("&#x2f;", "/");
    let run = runs.split('"').find(|text| text.starts_with("/runs/")).expect("a run");
    let mut targets =
        vec!["/", "/syncs/acme/odd", "/syncs/acme/broken", "/syncs/acme/items", "/connections", "/records", run];
    targets.extend([
        "/records/api/odd",
        "/records/api/odd?connection=acme&action=added&ids=1,2&after=",
        "/logs",
        "/files",
    ]);
    targets.extend([
        "/records/api/slow",
        "/records/api/broken",
        "/?q=acme&only=failing",
        "/syncs/acme/odd/reset",
        "/login",
    ]);
    for target in targets.into_iter().chain(files) {
        let page = guest.read(target);
        assert!(!page.contains("<script>alert"), "{target}: {page}");
        for secret in [LITERAL, READER, WRITTEN, KEY] {
            assert!(!page.contains(secret), "{target}: {page}");
        }
    }
    let page = guest.read("/files?name=headwater.yaml");
    assert!(page.contains("${READER_KEY}") && page.contains("token: ••••"), "{page}");
    let page = guest.read("/files?name=providers/api.yaml");
    assert!(page.contains("X-Api-Key: ••••") && page.contains("{{ credentials.token }}"), "{page}");
    let page = guest.read("/files?name=providers/spare.yaml");
    assert!(page.contains("••••") && !page.contains("spare.example"), "{page}");
    let page = guest.read("/records/api/odd?action=added&connection=acme");
    assert!(page.contains("class=\"of\">#") && page.contains("<details>"), "{page}");
    assert!(guest.read("/records/api/odd?action=deleted").contains("No row is like that"));
    for (target, status) in [
        ("/records/api/nothing", 404),
        ("/records/api/odd?after=x", 400),
        ("/records/api/odd?afer=1", 400),
        ("/logs?before=yesterday", 400),
        ("/runs/nothing", 404),
        ("/files?name=..%2Fsecret", 404),
    ] {
        assert_eq!(guest.ask("GET", target, &[], "").status, status, "{target}");
    }
    let page = guest.read("/syncs/acme/odd");
    assert!(page.contains("&lt;script&gt;") && page.contains("missing_key"), "{page}");
    assert!(page.contains("no number"), "the record is there: {page}");
    // a key that is not good for records shows neither them nor what quotes them
    let page = Guest::enter(&daemon, VIEWER).read("/syncs/acme/odd");
    assert!(!page.contains("no number") && page.contains("<code>records</code>"), "{page}");
    daemon.stop();
}
