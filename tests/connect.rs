//! Getting in and staying in: `connect`, the tokens of a run, and what a kill may not lose.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{CLIENT_SECRET, OAuth, Output, Project};

/// A key for the store: 32 bytes in base64.
pub const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A project whose one connection a person must agree to, with as many syncs as there are names.
fn project(server: &OAuth, syncs: &[&str]) -> Project {
    let project = Project::empty();
    let url = server.api.url();
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  crm:\n    provider: api\n    credentials: { client_id: app-1 }\n    allow: { W081: an id is no secret }\n",
    );
    project.write(
        "providers/api.yaml",
        format!(
            "provider: api\nbase_url: {url}\nretry: {{ attempts: 6, backoff: {{ base: 1ms, max: 5ms }} }}\n\
             auth:\n  oauth:\n    authorization_code:\n      authorize_url: {url}/authorize\n      device_url: {url}/device\n      \
             scopes: [base]\n      token: {{ url: {url}/token, save: {{ team: $.team }} }}\n\
             verify: {{ get: /me }}\non_connect:\n  - {{ request: {{ get: /me }}, save: {{ account: $.id }} }}\n\
             rate_limit: {{ concurrency: 16 }}\nheaders: {{ X-Team: \"{{{{ config.team }}}}\" }}\n"
        ),
    );
    for sync in syncs {
        project.write(
            &format!("integrations/api/syncs/{sync}.yaml"),
            format!(
                "sync: {sync}\nmodel: {sync}\nscopes: [{sync}.read]\nrequest: {{ get: /lists/{sync} }}\n\
                 response: {{ records: \"$.records[*]\" }}\npagination: {{ page: {{ query: page, total_pages: $.pages }} }}\n\
                 deletes: {{ absence: {{}} }}\n"
            ),
        );
        project.write(
            &format!("integrations/api/models/{sync}.yaml"),
            format!("model: {sync}\ntable: {sync}\nkey: [id]\ncolumns: {{ id: {{ path: $.id, type: bigint }}, list: $.list }}\n"),
        );
    }
    project
}

fn headwater(project: &Project, arguments: &[&str]) -> Output {
    project.headwater_with(arguments, &[("HEADWATER_KEY", KEY), ("HEADWATER_CREDENTIAL_CLIENT_SECRET", CLIENT_SECRET)])
}

/// Connects as a person does whose browser follows where it is sent.
pub fn connect(project: &Project, more: &[&str]) -> Output {
    let mut command = project.command(&[&["connect", "crm", "--no-browser"], more].concat());
    command.env("HEADWATER_KEY", KEY).env("HEADWATER_CREDENTIAL_CLIENT_SECRET", CLIENT_SECRET);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    let url = loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended: {said}");
        if line.starts_with("http://") {
            break line.trim().to_owned();
        }
        said += &line;
    };
    browse(&url);
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("text");
    let output = child.wait_with_output().expect("it ends");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: said,
    }
}

/// Opens an address and follows where it leads; gives the last page.
pub fn browse(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.get(url).send().await.expect("an answer").text().await.expect("text")
    })
}

#[test]
fn a_person_agrees_in_the_browser_and_what_the_api_tells_is_kept() {
    let server = OAuth::start(1_000, 2);
    let project = project(&server, &["people"]);
    let before = headwater(&project, &["check"]);
    assert!(
        before.stderr.contains("warning[W099]: the connection cannot run: nobody has agreed to it yet"),
        "{}",
        before.stderr
    );
    let refused = headwater(&project, &["run"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stdout.contains("headwater connect crm") || refused.stderr.contains("headwater connect crm"),
        "{refused:?}"
    );
    assert!(server.api.requests().is_empty(), "nothing is asked before");

    let output = connect(&project, &[]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("connected `crm`, and its API accepts it"), "{}", output.stdout);
    assert!(output.stdout.contains("account = acc-77") && output.stdout.contains("team = t-9"), "{}", output.stdout);
    assert_eq!(server.seen().scope, "people.read base", "the scopes of the syncs that run, and those of the way in");

    let check = headwater(&project, &["check", "--strict"]);
    assert_eq!(check.code, 0, "{}", check.stderr);
    let run = headwater(&project, &["run", "--json"]);
    assert_eq!((run.code, &run.report()[0]["added"]), (0, &json!(4)), "{run:?}");
    let asked = server.api.requests().pop().expect("requests");
    assert_eq!(asked.header("x-team"), Some("t-9"), "a fact is a setting");

    let kept = std::fs::read_to_string(project.path().join(".headwater/credentials.json")).expect("the store");
    for secret in [CLIENT_SECRET, "access-t0ken", "refresh-t0ken"] {
        assert!(!kept.contains(secret), "{secret} stands in the store");
    }
    let listed = headwater(&project, &["connections", "--json"]).json().remove(0);
    assert_eq!((&listed["state"], &listed["facts"]), (&json!("ok"), &json!({ "team": "t-9", "account": "acc-77" })));
    assert_eq!(headwater(&project, &["disconnect", "crm"]).code, 0);
    let listed = headwater(&project, &["connections", "--json"]).json().remove(0);
    assert_eq!(listed["state"], "not connected");
    assert_eq!(headwater(&project, &["disconnect", "crm"]).code, 2, "there is nothing any more");
}

#[test]
fn what_the_api_tells_does_not_reach_the_terminal_as_it_is() {
    let server = OAuth::start(1_000, 2);
    let project = project(&server, &["people"]);
    let provider = std::fs::read_to_string(project.path().join("providers/api.yaml")).expect("the provider");
    project.write("providers/api.yaml", provider.replace("account: $.id }", "account: $.id, owner: $.name }"));
    let output = connect(&project, &[]);
    assert!(output.stdout.contains("owner = Ann·[2J") && !output.stdout.contains('\u{1b}'), "{output:?}");
    let listed = headwater(&project, &["connections", "--json"]).json().remove(0);
    assert_eq!(listed["facts"]["owner"], "Ann\u{1b}[2J", "and is kept as it is");
}

#[test]
fn a_redirect_that_answers_something_else_is_refused() {
    let server = OAuth::start(1_000, 2);
    let project = project(&server, &["people"]);
    let mut command = project.command(&["connect", "crm", "--no-browser"]);
    command.env("HEADWATER_KEY", KEY).env("HEADWATER_CREDENTIAL_CLIENT_SECRET", CLIENT_SECRET);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let url = loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).expect("text") > 0);
        if line.starts_with("http://") {
            break url::Url::parse(line.trim()).expect("a URL");
        }
    };
    let back = url.query_pairs().find(|(name, _)| name == "redirect_uri").expect("it").1.into_owned();
    let stray = browse(&format!("{back}?nothing=of-interest"));
    assert!(stray.contains("this is none") && !stray.contains("of-interest"), "{stray}");
    let answered = browse(&format!("{back}?code=stolen&state=somebody-elses"));
    assert!(answered.contains("Back to the terminal") && !answered.contains("stolen"), "{answered}");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(3), "{said}");
    assert!(said.contains("`state` differs"), "{said}");
    assert_eq!(server.seen().given, 0);
}

#[test]
fn a_pasted_address_and_a_device_code_do_as_well() {
    let server = OAuth::start(1_000, 2);
    let project = project(&server, &["people"]);
    let output = headwater(&project, &["connect", "crm", "--device"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("open https://example.com/device and enter ABCD-EFGH"), "{}", output.stderr);
    // nobody is there to paste
    let output = headwater(&project, &["connect", "crm", "--paste"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("nobody is there to ask"), "{}", output.stderr);
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_run_is_followed_by_one_other() {
    let server = OAuth::start(7, 6);
    let names = ["a", "b", "c", "d", "e", "f"];
    let project = project(&server, &names);
    assert_eq!(connect(&project, &[]).code, 0);
    for _ in 0..3 {
        let run = headwater(&project, &["run", "--json"]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.report().iter().all(|sync| sync["state"] == "completed"), "{}", run.stdout);
    }
    let seen = server.seen();
    assert_eq!(seen.refused, 0);
    assert!(seen.ended >= 15, "108 pages, 7 for a token: {}", seen.ended);
    assert!(seen.refreshed == seen.ended || seen.refreshed + 1 == seen.ended, "one refresh for each end: {seen:?}");
}

/// A process that somebody else may kill.
type Victim = Arc<Mutex<Option<Child>>>;

fn spawn(project: &Project, arguments: &[&str]) -> Child {
    let mut command = project.command(arguments);
    command.env("HEADWATER_KEY", KEY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs")
}

#[test]
fn processes_that_find_the_token_ended_refresh_it_once() {
    let server = OAuth::start(1_000, 2);
    let project = project(&server, &["people"]);
    assert_eq!(connect(&project, &[]).code, 0);
    for round in 1..=12 {
        server.end_token();
        let all = [["connections", "verify"].as_slice(); 4].map(|arguments| spawn(&project, arguments));
        for mut one in all {
            assert!(one.wait().expect("it ends").success(), "round {round}");
        }
        let seen = server.seen();
        assert_eq!((seen.refreshed, seen.refused), (round, 0));
    }
}

#[test]
fn a_kill_at_the_first_use_of_a_new_token_loses_nothing() {
    let server = OAuth::start(5, 8);
    let project = project(&server, &["a", "b", "c", "d"]);
    assert_eq!(connect(&project, &[]).code, 0);
    let victim: Victim = Arc::default();
    let target = Arc::clone(&victim);
    // the server is paid to be evil: from here on it knows the new token, and will take the old one no more
    server.at_first_use(move || {
        if let Some(child) = target.lock().expect("not poisoned").as_mut() {
            child.kill().expect("killed");
        }
    });
    let mut kills = 0;
    for round in 0..25 {
        *victim.lock().expect("not poisoned") = Some(spawn(&project, &["run", "--full"]));
        let ended = loop {
            let mut held = victim.lock().expect("not poisoned");
            if let Some(status) = held.as_mut().and_then(|child| child.try_wait().expect("a child")) {
                *held = None;
                break status;
            }
            drop(held);
            std::thread::yield_now();
        };
        kills += usize::from(!ended.success());
        assert_eq!(server.seen().refused, 0, "round {round}: the new refresh token was lost");
    }
    assert!(kills >= 10, "{kills} kills");
    server.at_first_use(|| {});
    let run = headwater(&project, &["run", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!server.seen().revoked);
}

#[test]
fn a_kill_anywhere_leaves_a_token_that_works() {
    let server = OAuth::start(5, 8);
    let project = project(&server, &["a", "b", "c", "d"]);
    assert_eq!(connect(&project, &[]).code, 0);
    let mut kills = 0;
    for round in 0..30 {
        let mut child = spawn(&project, &["run", "--full"]);
        let mut other = spawn(&project, &["connections", "verify"]);
        // after a number of requests that grows, wherever these are
        let (from, until) = (server.api.requests().len(), 1 + (round * 7) % 23);
        while server.api.requests().len() < from + until && child.try_wait().expect("a child").is_none() {
            std::thread::yield_now();
        }
        if round % 3 != 2 && child.kill().is_ok() {
            kills += 1;
        }
        child.wait().expect("it ends");
        other.wait().expect("it ends");
        assert_eq!(server.seen().refused, 0, "round {round}: a refresh token was lost");
    }
    let run = headwater(&project, &["run", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let seen = server.seen();
    assert!(!seen.revoked && kills >= 10, "{kills} kills, {seen:?}");
    // a kill between the answer and the disk makes the next process ask once more with the token it has
    assert!(seen.refreshed <= seen.ended + kills, "{seen:?}");
}

#[test]
fn what_is_revoked_waits_for_a_person_and_asks_nobody_meanwhile() {
    let server = OAuth::start(3, 4);
    let project = project(&server, &["people"]);
    assert_eq!(connect(&project, &[]).code, 0);
    server.seen().revoked = true;
    let run = headwater(&project, &["run", "--json"]);
    assert_eq!(run.code, 2, "{run:?}");
    let error = &run.report()[0]["error"];
    assert_eq!(error["code"], "needs_reconnect", "{error}");
    let asked = server.api.requests().len();
    let again = headwater(&project, &["run", "--json"]);
    assert_eq!((&again.report()[0]["error"]["code"], again.code), (&json!("needs_reconnect"), 2));
    assert_eq!(server.api.requests().len(), asked, "nobody is asked before a person has been there");
    let listed = headwater(&project, &["connections", "--json"]).json().remove(0);
    assert_eq!(
        (&listed["state"], &listed["last_error"]),
        (&json!("needs reconnect"), &json!("needs_reconnect")),
        "{listed}"
    );

    let verified = headwater(&project, &["connections", "verify", "--json"]);
    assert_eq!((&verified.json().remove(0)["state"], verified.code), (&json!("needs reconnect"), 2), "{verified:?}");

    assert_eq!(connect(&project, &[]).code, 0, "the person has been there");
    assert_eq!(headwater(&project, &["run"]).code, 0);
}

#[test]
fn a_token_endpoint_that_is_away_for_a_while_is_asked_again() {
    let server = OAuth::start(3, 4);
    let project = project(&server, &["people"]);
    assert_eq!(connect(&project, &[]).code, 0);
    server.seen().failing = 3;
    let run = headwater(&project, &["run", "--json"]);
    assert_eq!((run.code, &run.report()[0]["added"]), (0, &json!(8)), "{run:?}");
    server.seen().failing = 1_000;
    let run = headwater(&project, &["run", "--full", "--json"]);
    let error = &run.report()[0]["error"];
    assert_eq!((run.code, &error["code"]), (3, &json!("no_token")), "{error}");
    server.seen().failing = 0;
    assert_eq!(headwater(&project, &["run"]).code, 0, "a transient failure needs no person");
}

#[test]
fn refused_credentials_of_an_application_wait_for_no_person() {
    let api = crate::support::Api::start(|_| crate::support::Reply::status(400, r#"{"error":"invalid_grant"}"#));
    let project = Project::simple(
        &api.url(),
        "request: { get: /items }\nresponse: { records: $ }",
        "key: [id]\ncolumns: { id: $.id }",
    );
    let token = format!("token: {{ url: {}/token }}", api.url());
    for way in [
        format!("jwt_bearer: {{ algorithm: HS256, key: not-the-key, claims: {{ iss: me }}, {token} }}"),
        format!("client_credentials: {{ client_id: me, client_secret: not-the-secret, {token} }}"),
    ] {
        project.write(
            "providers/api.yaml",
            format!("provider: api\nbase_url: {}\nauth: {{ own: {{ {way} }} }}\n", api.url()),
        );
        let run = headwater(&project, &["run", "--json"]);
        let error = &run.report()[0]["error"];
        assert_eq!((run.code, &error["code"]), (3, &json!("no_token")), "nobody has agreed to anything: {run:?}");
        assert!(error["message"].as_str().expect("text").contains("`invalid_grant`"), "{error}");
    }
    assert_eq!(api.requests().len(), 2);
}

#[test]
fn a_new_connection_is_added_to_the_project_and_a_refused_key_is_not_kept() {
    let api = crate::support::Api::start(|request| match request.header("x-api-key") {
        Some("the-r1ght-key") => crate::support::Reply::json(&json!({ "id": 7 })),
        _ => crate::support::Reply::status(401, "{\"error\":\"who are you\"}"),
    });
    let project = Project::empty();
    project.write("headwater.yaml", "database: test.duckdb # kept\n");
    project.write(
        "providers/shop.yaml",
        format!(
            "provider: shop\nbase_url: {}\nauth: {{ key: {{ api_key: {{ header: X-Api-Key }} }} }}\nverify: {{ get: /me }}\n\
             config: {{ type: object, required: [region], properties: {{ region: {{ type: string, enum: [eu, us] }} }} }}\n",
            api.url()
        ),
    );
    let run = |key: &str, arguments: &[&str]| {
        project.headwater_with(arguments, &[("HEADWATER_KEY", KEY), ("HEADWATER_CREDENTIAL_API_KEY", key)])
    };
    let output = project.headwater_with(&["connect", "shop", "--name", "shop-eu"], &[("HEADWATER_KEY", KEY)]);
    assert!(output.code == 2 && output.stderr.contains("the setting `region` is missing"), "{output:?}");
    let output = run("the-wr0ng-key", &["connect", "shop", "--name", "shop-eu", "--set", "region=eu"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("nothing new was kept"), "{output:?}");
    assert!(!output.stderr.contains("the-wr0ng-key"));
    let text = std::fs::read_to_string(project.path().join("headwater.yaml")).expect("the project file");
    assert_eq!(
        text,
        "database: test.duckdb # kept\n\nconnections:\n  shop-eu:\n    provider: shop\n    config:\n      region: \"eu\"\n"
    );
    let listed = run("", &["connections", "--json"]).json().remove(0);
    assert_eq!(listed["state"], "not connected", "{listed}");
    assert_eq!(run("the-r1ght-key", &["connect", "shop-eu"]).code, 0);
    let verified = run("", &["connections", "verify", "--json"]).json().remove(0);
    assert_eq!(verified, json!({ "connection": "shop-eu", "state": "ok", "detail": "" }));

    // a file with secrets instead of the environment
    let mut child = project.command(&["connect", "shop-eu", "--replace", "--credentials", "-", "--json"]);
    let mut child =
        child.env("HEADWATER_KEY", KEY).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program runs");
    child.stdin.take().expect("piped").write_all(b"{\"api_key\":\"the-r1ght-key\"}").expect("written");
    let output = child.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["verified"], &report["credentials"]), (&json!(true), &json!(["api_key"])), "{report}");
}

#[test]
fn what_comes_with_the_token_of_another_way_in_is_not_waited_for() {
    let server = OAuth::start(1_000, 2);
    let project = project(&server, &["people"]);
    let provider = std::fs::read_to_string(project.path().join("providers/api.yaml")).expect("the provider");
    let provider = provider
        .replace("auth:\n  oauth:\n", "auth:\n  token: { bearer: {} }\n  oauth:\n")
        .replace("on_connect:\n  - { request: { get: /me }, save: { account: $.id } }\n", "");
    project.write("providers/api.yaml", provider);
    let connection = |auth: &str| {
        project.write(
            "headwater.yaml",
            format!(
                "database: test.duckdb\nconnections:\n  crm:\n    provider: api\n    auth: {auth}\n    \
                 credentials: {{ client_id: \"${{A}}\", client_secret: \"${{B}}\", token: \"${{C}}\" }}\n"
            ),
        );
        headwater(&project, &["check"]).stderr
    };
    let told = connection("oauth");
    assert!(told.contains("warning[W099]: the connection cannot run"), "`team` comes with this token: {told}");
    assert!(!connection("token").contains("W099"), "{}", connection("token"));
}
