//! A person's agreement, with servers that do it their own way.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{form, member, page};
use crate::connect::{KEY, browse, connect};
use crate::support::{Api, CLIENT_SECRET, Output, Project, Reply, Request};

/// What a token endpoint makes of a grant and a form.
type Grants = dyn Fn(&str, &[(String, String)]) -> Reply + Send + Sync;

/// A server whose person agrees to everything, and takes `access-<uses>`-like tokens as `takes` says.
fn server(
    takes: impl Fn(&str) -> bool + Send + Sync + 'static,
    grants: impl Fn(&str, &[(String, String)]) -> Reply + Send + Sync + 'static,
) -> Api {
    let grants: Arc<Grants> = Arc::new(grants);
    Api::start(move |request| match request.path.as_str() {
        "/authorize" => {
            let back = format!(
                "{}?code=c0de&state={}",
                request.param("redirect_uri").unwrap(),
                request.param("state").unwrap()
            );
            Reply::status(302, "").with("location", &back)
        }
        "/token" | "/refresh" => {
            let form = form(&request.body);
            grants(member(&form, "grant_type").unwrap_or_default(), &form)
        }
        _ if super::bearer(request).is_some_and(|token| takes(&token)) => page(request, 3),
        _ => Reply::status(401, "{\"error\":\"invalid_token\"}"),
    })
}

/// A project whose one way in is a person's agreement, with more words of it, of its token and of the provider.
fn project(api: &Api, words: &str, token: &str, more: &str) -> Project {
    let url = api.url();
    let auth = format!(
        "authorization_code: {{ authorize_url: {url}/authorize, {words} token: {{ url: {url}/token, {token} }} }}"
    );
    let project = super::project(&url, &auth, more, &[]);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  crm: { provider: api, credentials: { client_id: app-1 }, allow: { W081: an id } }\n",
    );
    project
}

fn headwater(project: &Project, arguments: &[&str]) -> Output {
    let output = project
        .headwater_with(arguments, &[("HEADWATER_KEY", KEY), ("HEADWATER_CREDENTIAL_CLIENT_SECRET", CLIENT_SECRET)]);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    output
}

fn run(project: &Project) -> (i32, Value) {
    let output = headwater(project, &["run", "--full", "--json"]);
    (output.code, output.report().remove(0))
}

fn state(project: &Project) -> Value {
    headwater(project, &["connections", "--json"]).json().remove(0)["state"].clone()
}

/// The token requests so far, as forms, with their paths.
fn asked(api: &Api) -> Vec<(String, Vec<(String, String)>)> {
    let is_token = |request: &Request| matches!(request.path.as_str(), "/token" | "/refresh");
    api.requests().into_iter().filter(is_token).map(|request| (request.path.clone(), form(&request.body))).collect()
}

#[test]
fn a_token_that_nobody_says_the_end_of_is_used_until_it_is_refused() {
    let is_good = Arc::new(Mutex::new(true));
    let good = Arc::clone(&is_good);
    let api = server(
        move |token| token == "access-1" && *good.lock().unwrap(),
        |_, _| Reply::json(&json!({ "access_token": "access-1" })),
    );
    let project = project(&api, "", "", "");
    assert_eq!(connect(&project, &[]).code, 0);
    for _ in 0..2 {
        let (code, report) = run(&project);
        assert_eq!((code, &report["records"]), (0, &json!(3)), "{report}");
    }
    *is_good.lock().unwrap() = false;
    let (code, report) = run(&project);
    assert_eq!((code, &report["error"]["code"]), (2, &json!("needs_reconnect")), "{report}");
    assert_eq!(asked(&api).len(), 1, "there was nothing to refresh with");
    assert_eq!(state(&project), "needs reconnect");
    let requests = api.requests().len();
    assert_eq!(run(&project).1["error"]["code"], "needs_reconnect");
    assert_eq!(api.requests().len(), requests, "nobody is asked before a person has been there");
    *is_good.lock().unwrap() = true;
    assert_eq!(connect(&project, &[]).code, 0, "the person has been there");
    assert_eq!(run(&project).0, 0);
    assert_eq!(asked(&api).len(), 2);
    let listed = headwater(&project, &["connections", "--json"]).json().remove(0);
    assert_eq!((&listed["renewable"], &listed["expires_at"]), (&json!(false), &Value::Null), "{listed}");
}

#[test]
fn a_refresh_token_that_no_new_one_follows_stays() {
    // each token is good for two requests
    let uses = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let given = Mutex::new(0);
    let api = server(
        move |token| {
            let mut uses = uses.lock().unwrap();
            let uses = uses.entry(token.to_owned()).or_default();
            *uses += 1;
            *uses <= 2
        },
        move |grant, form| {
            let mut given = given.lock().unwrap();
            *given += 1;
            let token = format!("access-{given}");
            match (grant, member(form, "refresh_token")) {
                ("authorization_code", _) => {
                    Reply::json(&json!({ "access_token": token, "refresh_token": "r3fresh-for-ever" }))
                }
                ("refresh_token", Some("r3fresh-for-ever")) => Reply::json(&json!({ "access_token": token })),
                _ => Reply::status(400, "{\"error\":\"invalid_grant\"}"),
            }
        },
    );
    let project = project(&api, "", &format!("refresh_url: {}/refresh", api.url()), "");
    assert_eq!(connect(&project, &[]).code, 0);
    for _ in 0..3 {
        let (code, report) = run(&project);
        assert_eq!((code, &report["records"]), (0, &json!(3)), "{report}");
    }
    let paths: Vec<_> = asked(&api).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/token", "/refresh", "/refresh", "/refresh", "/refresh"], "nine pages, two for a token");
}

#[test]
fn a_no_that_comes_with_200_is_a_no() {
    let api = server(
        |token| token == "none",
        |grant, _| match grant {
            "authorization_code" => Reply::json(&json!({ "access_token": "access-1", "refresh_token": "r3fresh-1" })),
            _ => Reply::json(
                &json!({ "error": "bad_refresh_token", "error_description": "r3fresh-1 is incorrect or expired." }),
            ),
        },
    );
    let project = project(&api, "", "", "");
    assert_eq!(connect(&project, &[]).code, 0);
    let (code, report) = run(&project);
    let error = &report["error"];
    assert_eq!(
        (code, &error["code"], &error["hint"]),
        (2, &json!("needs_reconnect"), &json!("run `headwater connect crm`"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`bad_refresh_token`: *** is incorrect") && !message.contains("r3fresh"), "{message}");
    assert_eq!(state(&project), "needs reconnect");
    let before = api.requests().len();
    assert_eq!(run(&project).1["error"]["code"], "needs_reconnect");
    assert_eq!(api.requests().len(), before, "nobody is asked");
    // of all that a store's file shows
    let kept = std::fs::read_to_string(project.path().join(".headwater/credentials.json")).unwrap();
    assert!(kept.contains("bad_refresh_token") && !kept.contains("r3fresh-1"), "{kept}");
}

#[test]
fn a_code_is_bound_as_the_server_knows_it() {
    for (pkce, method) in [("", Some("S256")), ("pkce: plain,", Some("plain")), ("pkce: none,", None)] {
        let api = server(|_| true, |_, _| Reply::json(&json!({ "access_token": "access-1" })));
        let project =
            project(&api, &format!("{pkce} authorize_params: {{ access_type: offline }},"), "client_auth: basic", "");
        assert_eq!(connect(&project, &[]).code, 0);
        let sent = api.requests().remove(0);
        assert_eq!((sent.param("access_type"), sent.param("code_challenge_method")), (Some("offline"), method));
        let (_, token) = asked(&api).remove(0);
        let verifier = member(&token, "code_verifier");
        let expected = verifier.map(|verifier| match method {
            Some("S256") => URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes())),
            _ => verifier.to_owned(),
        });
        assert_eq!(sent.param("code_challenge").map(str::to_owned), expected);
        assert_eq!(verifier.is_some(), method.is_some());
        assert!(verifier.is_none_or(|verifier| (43..=128).contains(&verifier.len())), "RFC 7636, 4.1");
        assert_eq!((member(&token, "code"), member(&token, "client_secret")), (Some("c0de"), None));
        assert_eq!(member(&token, "redirect_uri"), sent.param("redirect_uri"));
    }
}

#[test]
fn a_token_endpoint_that_does_not_answer_is_waited_for_no_longer_than_for_any_request() {
    let (held, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let api = server(
        |token| token == "none",
        move |grant, _| {
            if grant == "refresh_token" {
                // until the test is over
                let _ = wait.lock().unwrap().recv();
            }
            Reply::json(&json!({ "access_token": "access-1", "refresh_token": "r3fresh-1" }))
        },
    );
    let project = project(&api, "", "", "timeout: { request: 100ms }\n");
    assert_eq!(connect(&project, &[]).code, 0);
    let (code, report) = run(&project);
    let error = &report["error"];
    assert_eq!((code, &error["code"]), (3, &json!("no_token")), "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("/token: ")), "{error}");
    assert_eq!(asked(&api).len(), 5, "the code, and the tries of `retry`");
    assert_eq!(state(&project), "ok", "it may work later");
    drop(held);
}

/// A port that is free, or was a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_browser_comes_back_to_where_the_api_knows_letter_by_letter() {
    let api = server(|_| true, |_, _| Reply::json(&json!({ "access_token": "access-1" })));
    let project = project(&api, "", "", "");
    for path in ["", "/", "/:back/*me"] {
        let uri = format!("http://localhost:{}{path}", port());
        let output = connect(&project, &["--redirect-uri", &uri]);
        assert_eq!(output.code, 0, "{uri}: {output:?}");
        let sent = api.requests().into_iter().rfind(|request| request.path == "/authorize").unwrap();
        assert_eq!(sent.param("redirect_uri"), Some(uri.as_str()));
        assert_eq!(member(&asked(&api).pop().unwrap().1, "redirect_uri"), Some(uri.as_str()));
    }
    // where nothing can be listened for, the address is pasted: nobody waits for a browser that cannot come
    for uri in [
        "https://localhost:8443/back",
        "https://app.example.com/back",
        "http://127.0.0.5:8085/back",
        "http://[::1]:8085/back",
    ] {
        let output = headwater(&project, &["connect", "crm", "--no-browser", "--redirect-uri", uri]);
        assert!(output.code == 2 && output.stderr.contains("nobody is there to ask"), "{uri}: {output:?}");
    }
    let output = headwater(&project, &["connect", "crm", "--redirect-uri", "nowhere"]);
    assert!(output.code == 2 && output.stderr.contains("--redirect-uri"), "{output:?}");
}

#[test]
fn the_page_in_the_browser_says_what_came() {
    let pages = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&pages);
    // the person's browser looks elsewhere first, as browsers do, and comes back with the answer then
    let api = server(|_| true, |_, _| Reply::json(&json!({ "access_token": "access-1" })));
    let url = api.url();
    api.becomes(move |request| match request.path.as_str() {
        "/authorize" => {
            let back = request.param("redirect_uri").unwrap().to_owned();
            let base = back.rsplit_once('/').unwrap().0.to_owned();
            for address in [format!("{base}/favicon.ico"), format!("{base}/elsewhere?code=x&state=y"), back.clone()] {
                seen.lock().unwrap().push(browse(&address));
            }
            let answer = format!(
                "{back}?error=access_denied&error_description=not+today&state={}",
                request.param("state").unwrap()
            );
            Reply::status(302, "").with("location", &answer)
        }
        _ => Reply::status(500, ""),
    });
    assert!(!url.is_empty());
    let project = project(&api, "", "", "");
    let output = connect(&project, &[]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(
        output.stderr.contains("access was denied in the browser: `access_denied`: not today"),
        "{}",
        output.stderr
    );
    let pages = pages.lock().unwrap();
    assert!(pages.len() == 3 && pages.iter().all(|page| page.contains("Nothing to see here")), "{pages:?}");
    assert!(asked(&api).is_empty());
}

#[test]
fn nobody_agrees_to_what_could_not_be_kept() {
    let api = server(|_| true, |_, _| Reply::json(&json!({ "access_token": "access-1" })));
    let project = project(&api, "", "", "");
    let environment = [("HEADWATER_KEY", "no-key-at-all"), ("HEADWATER_CREDENTIAL_CLIENT_SECRET", CLIENT_SECRET)];
    let output = project.headwater_with(&["connect", "crm", "--no-browser"], &environment);
    assert_ne!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("`HEADWATER_KEY`") && !output.stderr.contains("http://"), "{output:?}");
}

/// A project whose token is refreshed by a run, and what is done while the server has been asked and has not answered.
fn during_a_refresh(meanwhile: impl FnOnce(&Arc<Project>, &Api) + Send + 'static) -> (Arc<Project>, Arc<Api>) {
    type Hook = Box<dyn FnOnce() + Send>;
    let hook: Arc<Mutex<Option<Hook>>> = Arc::default();
    let at_refresh = Arc::clone(&hook);
    let codes = Mutex::new(0);
    let api = Arc::new(server(
        |token| token == "access-of-refresh" || token == "access-of-code-2",
        move |grant, _| {
            if grant == "refresh_token" {
                if let Some(hook) = at_refresh.lock().unwrap().take() {
                    hook();
                }
                return Reply::json(&json!({ "access_token": "access-of-refresh", "refresh_token": "r3fresh-again" }));
            }
            let mut codes = codes.lock().unwrap();
            *codes += 1;
            Reply::json(
                &json!({ "access_token": format!("access-of-code-{codes}"), "refresh_token": "r3fresh-of-code" }),
            )
        },
    ));
    let project = Arc::new(project(&api, "", "", ""));
    assert_eq!(connect(&project, &[]).code, 0);
    let (theirs, served) = (Arc::clone(&project), Arc::clone(&api));
    *hook.lock().unwrap() = Some(Box::new(move || meanwhile(&theirs, &served)));
    let (code, report) = run(&project);
    assert_eq!(code, 0, "{report}");
    (project, api)
}

/// As long as a command takes, or twice.
fn a_while(project: &Project) {
    for _ in 0..2 {
        assert_eq!(headwater(project, &["connections"]).code, 0);
    }
}

#[test]
fn what_is_disconnected_while_its_token_is_refreshed_stays_disconnected() {
    let child = Arc::new(Mutex::new(None));
    let started = Arc::clone(&child);
    let (project, _) = during_a_refresh(move |project, _| {
        let mut command = project.command(&["disconnect", "crm"]);
        *started.lock().unwrap() = Some(
            command
                .env("HEADWATER_KEY", KEY)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the program runs"),
        );
        a_while(project);
    });
    let mut child = child.lock().unwrap().take().expect("it was started");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(state(&project), "not connected", "a refresh that was under way has not kept it again");
}

#[test]
fn an_agreement_while_the_old_token_is_refreshed_is_the_one_that_counts() {
    let thread = Arc::new(Mutex::new(None));
    let started = Arc::clone(&thread);
    let (project, api) = during_a_refresh(move |project, api| {
        let theirs = Arc::clone(project);
        *started.lock().unwrap() = Some(std::thread::spawn(move || connect(&theirs, &[])));
        while asked(api).iter().filter(|(_, form)| member(form, "code").is_some()).count() < 2 {
            std::thread::yield_now();
        }
        a_while(project);
    });
    let output = thread.lock().unwrap().take().expect("it was started").join().expect("it ends");
    assert_eq!(output.code, 0, "{output:?}");
    api.asked();
    assert_eq!(run(&project).0, 0);
    let tokens: Vec<_> = api.requests().iter().map(super::bearer).collect();
    assert!(tokens.iter().all(|token| token.as_deref() == Some("access-of-code-2")), "{tokens:?}");
}
