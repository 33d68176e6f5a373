//! The daemon: a real process that runs syncs when they are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Api, Daemon, Project, Reply, Request, until};

const MODEL: &str = "model: Item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }\n";

/// A project of one provider with these syncs and connections.
fn project(url: &str, connections: &str, syncs: &[(&str, &str)]) -> Project {
    let project = Project::empty();
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n{connections}"));
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {url}\nretry: {{ attempts: 1 }}\n"));
    project.write("integrations/api/models/Item.yaml", MODEL);
    for (name, words) in syncs {
        let words = format!("sync: {name}\nmodel: Item\nresponse: {{ records: \"$.items[*]\" }}\n{words}\n");
        project.write(&format!("integrations/api/syncs/{name}.yaml"), words);
    }
    project
}

fn one(_: &Request) -> Reply {
    Reply::json(&json!({ "items": [{ "id": 1 }] }))
}

fn runs(project: &Project, sync: &str) -> Vec<Value> {
    project.column(&format!("select state from headwater.runs where sync = '{sync}' order by started_at"))
}

#[test]
fn syncs_run_when_they_are_due_and_one_never_twice_at_once() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let api = Api::start(|request| {
        if request.path == "/slow" {
            MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1500));
            NOW.fetch_sub(1, Ordering::SeqCst);
        }
        one(request)
    });
    let syncs = [
        ("slow", "request: { get: /slow }\nschedule: every 1s"),
        ("fast", "request: { get: /fast }\nschedule: every 1s"),
        ("daily", "request: { get: /daily }\nschedule: every day"),
        ("manual", "request: { get: /manual }"),
        ("yearly", "request: { get: /yearly }\nschedule: { cron: \"0 0 29 2 *\" }"),
    ];
    let project = project(&api.url(), "  acme: { provider: api }\n", &syncs);
    let daemon = Daemon::start(&project, &[]);
    let asked = |path: &str| api.requests().iter().filter(|request| request.path == path).count();
    until("several runs", || asked("/slow") >= 3 && asked("/fast") >= 4);
    daemon.stop();
    assert_eq!(MOST.load(Ordering::SeqCst), 1, "a run is over before the next one of its sync");
    assert_eq!((asked("/daily"), asked("/manual"), asked("/yearly")), (1, 0, 0));
    // what it began has a row, and none was left behind
    assert_eq!(runs(&project, "daily"), ["completed"]);
    assert!(runs(&project, "fast").iter().all(|state| state == "completed"));
    assert_eq!(runs(&project, "slow").len(), asked("/slow"));
}

#[test]
fn others_use_the_database_between_runs_and_what_they_pause_is_left_alone() {
    let api = Api::start(one);
    let project = project(
        &api.url(),
        "  acme: { provider: api }\n",
        &[("items", "request: { get: /items }\nschedule: every 2s")],
    );
    let daemon = Daemon::start(&project, &[]);
    until("a run", || !api.requests().is_empty());
    let paused = project.headwater(&["pause", "acme/items"]);
    assert_eq!((paused.code, paused.stdout.as_str()), (0, "paused acme/items\n"), "{}", paused.stderr);
    // one may be under way
    std::thread::sleep(Duration::from_millis(300));
    let asked = api.requests().len();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(api.requests().len(), asked, "it is paused");
    let status = &project.headwater(&["status", "--json"]).json()[0];
    assert_eq!((&status["paused"], &status["next_run_at"]), (&json!(true), &Value::Null), "{status}");
    // a person may run it all the same
    assert_eq!(project.headwater(&["run"]).code, 0);
    assert_eq!(api.requests().len(), asked + 1);
    assert_eq!(project.headwater(&["resume", "acme"]).code, 0);
    until("it goes on", || api.requests().len() > asked + 2);
    daemon.stop();
    assert_eq!(project.headwater(&["pause", "acme/itens"]).code, 2);
}

#[test]
fn a_daemon_that_is_stopped_lets_runs_commit_and_the_next_goes_on_there() {
    let api = Api::start(|request| {
        std::thread::sleep(Duration::from_millis(100));
        let start = request.number("cursor", 0);
        let next = if start < 60 { json!((start + 1).to_string()) } else { Value::Null };
        Reply::json(&json!({ "items": [{ "id": start }], "next": next }))
    });
    let words =
        "request: { get: /items }\nschedule: every day\npagination: { cursor: { from: $.next, query: cursor } }";
    let project = project(&api.url(), "  acme: { provider: api }\n", &[("items", words)]);
    let daemon = Daemon::start(&project, &[]);
    until("some pages", || api.requests().len() > 5);
    daemon.stop();
    assert_eq!(runs(&project, "items"), ["paused"]);
    // the next one goes on there at once, though a day has not passed; so it does after a kill
    let daemon = Daemon::start(&project, &[]);
    let pages = api.requests().len();
    until("some pages more", || api.requests().len() > pages + 5);
    drop(daemon);
    let once = project.headwater(&["serve", "--once"]);
    assert_eq!(once.code, 0, "{}", once.stderr);
    assert_eq!(project.number("select count(*) from api.items_live"), 61);
    assert_eq!(runs(&project, "items"), ["paused", "interrupted", "completed"]);
    // a page that was asked for and not committed is asked for again
    let asked = api.asked().len();
    assert!(asked <= 61 + 20, "{asked} pages");
    let again = project.headwater(&["serve", "--once"]);
    assert_eq!((again.code, api.asked().len()), (0, 0), "{}", again.stderr);
}

#[test]
fn once_runs_what_is_due_in_the_order_of_what_goes_over_what() {
    let order = Arc::new(AtomicUsize::new(0));
    let api = Api::start(|request| {
        if request.path == "/parents" {
            std::thread::sleep(Duration::from_millis(500));
        }
        one(request)
    });
    let model = "model: Child\ntable: children\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }\n";
    let syncs = [
        (
            "a-children",
            "request: { get: \"/children/{{ parent.item.id }}\" }\nschedule: every day\nfor_each: [{ as: item, from: { rows: { sync: parents } } }]",
        ),
        ("parents", "request: { get: /parents }\nschedule: every day"),
        ("broken", "request: { get: /broken }\nschedule: every day"),
    ];
    let project = project(&api.url(), "  acme: { provider: api }\n", &syncs);
    project.write("integrations/api/models/Child.yaml", model);
    let child = "integrations/api/syncs/a-children.yaml";
    let text = std::fs::read_to_string(project.path().join(child)).expect("a file");
    project.write(child, text.replace("model: Item", "model: Child"));
    let works = Arc::clone(&order);
    api.becomes(move |request| match request.path.as_str() {
        "/broken" if works.load(Ordering::SeqCst) == 0 => Reply::status(500, "{}"),
        _ => one(request),
    });
    let once = project.headwater(&["serve", "--once", "--json"]);
    // what failed says so, and keeps nothing else from running
    assert_eq!(once.code, 3, "{}", once.stderr);
    let asked: Vec<String> = api.asked().into_iter().filter(|line| !line.contains("broken")).collect();
    assert_eq!(asked, ["GET /parents", "GET /children/1"]);
    let ended: Vec<Value> = once.json().into_iter().filter(|line| line["event"] == "finished").collect();
    assert_eq!(ended.len(), 3, "{ended:?}");
    assert!(ended.iter().all(|line| line["run_id"].is_string() && line["report"]["requests"] == 1), "{ended:?}");
    // nothing is due: a day has not passed, nor the minute after a failure
    order.store(1, Ordering::SeqCst);
    let again = project.headwater(&["serve", "--once"]);
    assert_eq!((again.code, api.asked().len()), (0, 0), "{}", again.stderr);
    // unless there is something new
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api }\n  other: { provider: api }\n",
    );
    assert_eq!(project.headwater(&["serve", "--once", "other"]).code, 0);
    assert_eq!(api.asked().len(), 3);
}

#[test]
fn a_database_that_somebody_works_on_is_waited_for() {
    let api = Api::start(|request| {
        if request.path == "/long" {
            std::thread::sleep(Duration::from_secs(3));
        }
        one(request)
    });
    let syncs = [("long", "request: { get: /long }"), ("items", "request: { get: /items }\nschedule: every 1s")];
    let project = project(&api.url(), "  acme: { provider: api }\n", &syncs);
    let mut run = project.spawn(&["run", "acme/long"]);
    until("it runs", || api.requests().len() == 1);
    assert_eq!(project.headwater(&["serve", "--once"]).code, 5, "with --once somebody else will come back");
    let daemon = Daemon::start(&project, &[]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(api.requests().len(), 1, "nothing runs beside it");
    assert!(run.wait().expect("it ends").success());
    until("its turn", || api.requests().len() > 2);
    daemon.stop();
}

#[test]
fn a_reader_gets_the_file_while_commits_follow_each_other() {
    let api = Api::start(one);
    let connections: String = (0..60).map(|at| format!("  c{at}: {{ provider: api }}\n")).collect();
    let project = project(&api.url(), &connections, &[("items", "request: { get: /items }\nschedule: every 1s")]);
    let daemon = Daemon::start(&project, &[]);
    until("it is busy", || api.requests().len() > 60);
    for _ in 0..3 {
        let began = Instant::now();
        let read = project.headwater(&["query", "--json", "select count(*) as number from api.items"]);
        assert_eq!(read.code, 0, "{}", read.stderr);
        // on a busy machine; without a pause between commits it is half a minute and more
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    }
    daemon.stop();
}

#[test]
fn numbers_are_told_and_it_says_that_it_is_well() {
    let api = Api::start(one);
    let project = project(
        &api.url(),
        "  acme: { provider: api }\n  other: { provider: api }\n",
        &[("items", "request: { get: /items }\nschedule: every day"), ("manual", "request: { get: /manual }")],
    );
    let daemon = Daemon::listen(&project, &[]);
    let get = |path: &str| daemon.send("GET", path, &[], "");
    assert_eq!(get("/healthz").status, 200);
    assert_eq!(get("/readyz").body, "ok\n");
    let metrics = || get("/metrics").body.as_str().expect("a text").to_owned();
    until("both ran", || {
        metrics().contains(r#"headwater_runs_total{provider="api",sync="items",state="completed"} 2"#)
    });
    let metrics = metrics();
    for line in [
        r#"headwater_requests_total{provider="api",sync="items"} 2"#,
        r#"headwater_rows_total{provider="api",sync="items",action="added"} 2"#,
        r#"headwater_syncs{state="idle"} 4"#,
        "headwater_run_lag_seconds_count 2",
        "headwater_behind_seconds 0.0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    daemon.stop();
    let taken = project.headwater(&["serve", "--listen", "256.0.0.1:1"]);
    assert_eq!(taken.code, 2, "{}", taken.stderr);
}

#[test]
fn a_connection_that_gets_its_secret_while_the_daemon_runs_works_from_then_on() {
    let api = Api::start(|request| match request.header("x-api-key") {
        Some("the-r1ght-key") => one(request),
        _ => Reply::status(401, "{}"),
    });
    let words = [("items", "request: { get: /items }\nschedule: every 1s")];
    let project = project(&api.url(), "  acme: { provider: api }\n", &words);
    let auth = "auth: { key: { api_key: { header: X-Api-Key } } }\nverify: { get: /items }\n";
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {}\nretry: {{ attempts: 1 }}\n{auth}", api.url()),
    );
    let key = ("HEADWATER_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let daemon = Daemon::start(&project, &[key]);
    until("a run that has no secret", || daemon.said().contains("acme/items: failed"));
    let secret = ("HEADWATER_CREDENTIAL_API_KEY", "the-r1ght-key");
    let connected = project.headwater_with(&["connect", "acme"], &[key, secret]);
    assert_eq!(connected.code, 0, "{}", connected.stderr);
    until("a run that has it", || daemon.said().contains("acme/items: completed"));
    let said = daemon.stop();
    assert!(!said.contains("the-r1ght-key"), "{said}");
}

#[test]
fn the_request_log_says_what_was_asked_how_often_and_what_it_waited_for() {
    let api = Api::start(|request| match request.param("cursor") {
        None => Reply::json(&json!({ "items": [{ "id": 1 }], "next": "2" })).with("x-ratelimit-remaining", "7"),
        Some(_) => Reply::status(503, "{}").with("retry-after", "1").with("x-internal", "nobody's business"),
    });
    let words = "request: { get: /items, headers: { Accept: application/json } }\nschedule: every day\n\
                 pagination: { cursor: { from: $.next, query: cursor } }";
    let project = project(&api.url(), "  acme: { provider: api }\n  other: { provider: api }\n", &[("items", words)]);
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {}\nretry: {{ attempts: 2 }}\n", api.url()));
    let once = project.headwater(&["serve", "--once", "--log-requests"]);
    assert_eq!(once.code, 3, "{}", once.stderr);
    let log = project.rows("select * from headwater.requests where connection = 'acme' order by requested_at");
    let column = |name: &str| log.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("status"), [200, 503, 503]);
    assert_eq!(column("attempt"), [1, 1, 2]);
    assert_eq!(column("sync"), ["items", "items", "items"]);
    assert_eq!(column("bytes"), [31, 2, 2]);
    let waited: Vec<i64> = column("waited_ms").iter().map(|wait| wait.as_i64().expect("a number")).collect();
    assert!(waited[0] < 900 && waited[1] < 900 && waited[2] >= 900, "{waited:?}");
    let headers: Vec<String> = column("response_headers").iter().map(Value::to_string).collect();
    assert!(headers[0].contains("x-ratelimit-remaining") && headers[1].contains("retry-after"), "{headers:?}");
    assert!(!headers[2].contains("x-internal"), "{headers:?}");
    let sent = column("request_headers")[0].to_string();
    assert!(sent.contains("accept") && sent.contains("user-agent"), "{sent}");
    // each run has its own
    let runs = project.column(
        "select count(distinct r.run_id) from headwater.requests r join headwater.runs using (run_id, connection)",
    );
    assert_eq!(runs, [2]);
}
