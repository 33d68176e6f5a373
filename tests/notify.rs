//! What applications are told: a real daemon, and a receiver that looks at every signature.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::{Api, Daemon, Project, Reply, Request, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HOOK_PATH: &str = "/hooks/T0K3N-in-the-path";

const ITEM: &str =
    "model: Item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }\n";
const SEEN: &str = "model: Seen\ntable: seen\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }\n";

/// Runs beside the daemon, as soon as that lets go of the database.
fn run(project: &Project) {
    until("it runs", || match project.headwater(&["run", "acme/items"]).code {
        5 => false,
        code => code == 0 || panic!("{code}"),
    });
}

fn project(api: &Api, receiver: &Api, on: &str, syncs: &[(&str, &str)]) -> Project {
    let project = Project::empty();
    project.write(
        "headwater.yaml",
        format!(
            "database: test.duckdb\nconnections:\n  acme: {{ provider: api }}\n\
             notify: [{{ url: \"{}{HOOK_PATH}\", secret: \"${{HOOK_SECRET}}\"{on} }}]\n",
            receiver.url()
        ),
    );
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {}\nretry: {{ attempts: 1 }}\n", api.url()));
    project.write("integrations/api/models/Item.yaml", ITEM);
    project.write("integrations/api/models/Seen.yaml", SEEN);
    for (name, words) in syncs {
        let model = if words.contains("outputs:") { "" } else { "model: Item\n" };
        let words = format!("sync: {name}\n{model}response: {{ records: \"$.items[*]\" }}\n{words}\n");
        project.write(&format!("integrations/api/syncs/{name}.yaml"), words);
    }
    project
}

fn items(count: usize) -> Reply {
    let items: Vec<Value> = (0..count).map(|id| json!({ "id": id, "name": "a" })).collect();
    Reply::json(&json!({ "items": items }))
}

/// Looks at the signature; gives the body.
fn verified(request: &Request) -> Value {
    let header = |name: &str| request.header(name).expect("a header").to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    assert!(id.starts_with("evt_") && !id.contains('.'), "{id}");
    let now = chrono::Utc::now().timestamp();
    assert!((now - timestamp.parse::<i64>().expect("seconds")).abs() < 60, "{timestamp}");
    let signature = header("webhook-signature");
    let signature = STANDARD.decode(signature.strip_prefix("v1,").expect("a version")).expect("base64");
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = format!("{id}.{timestamp}.{}", request.body);
    hmac::verify(&key, signed.as_bytes(), &signature).expect("signed with the secret");
    assert_eq!(
        (request.method.as_str(), request.path.as_str(), header("content-type").as_str()),
        ("POST", HOOK_PATH, "application/json")
    );
    serde_json::from_str(&request.body).expect("JSON")
}

fn told(receiver: &Api) -> Vec<Value> {
    receiver.requests().iter().map(verified).collect()
}

/// Type, model, and counts of what was told.
fn brief(told: &Value) -> String {
    let data = &told["data"];
    let number = |name: &str| data[name].as_i64().unwrap_or(-1);
    let counts = format!("{} {} {}", number("added"), number("updated"), number("deleted"));
    let of = [&told["type"], &data["sync"], &data["model"]].map(|text| text.as_str().unwrap_or("-").to_owned());
    format!("{} {counts}", of.join(" "))
}

fn ok(_: &Request) -> Reply {
    Reply::status(204, "")
}

#[test]
fn changes_are_told_once_per_run_and_model_and_failures_too() {
    let api = Api::start(|request| match request.path.as_str() {
        "/broken" => Reply::status(500, "{}"),
        // two pages are one run
        "/items" => match request.param("page") {
            None => Reply::json(&json!({ "items": [{ "id": 1, "name": "a" }, { "id": 2, "name": "b" }], "next": "2" })),
            Some(_) => Reply::json(&json!({ "items": [{ "id": 3, "name": "c" }] })),
        },
        _ => items(0),
    });
    let receiver = Api::start(ok);
    let paged = "request: { get: /items }\nschedule: every day\npagination: { cursor: { from: $.next, query: page } }\n\
                 outputs: [{ model: Item }, { model: Seen, where: \"$[?@.id > 1]\" }]";
    let syncs = [
        ("items", paged),
        ("broken", "request: { get: /broken }\nschedule: every day"),
        ("nothing", "request: { get: /nothing }\nschedule: every day"),
    ];
    let project = project(&api, &receiver, "", &syncs);
    let daemon = Daemon::start(&project, &[("HOOK_SECRET", SECRET)]);
    until("three are told", || receiver.requests().len() == 3);
    let mut all = told(&receiver);
    all.sort_by_key(brief);
    let briefs: Vec<String> = all.iter().map(brief).collect();
    assert_eq!(
        briefs,
        ["sync.changed items Item 3 0 0", "sync.changed items Seen 2 0 0", "sync.failed broken - -1 -1 -1"]
    );
    for (event, table) in all.iter().zip(["items", "seen"]) {
        let data = &event["data"];
        let range = project.query(&format!("select min(_change) as a, max(_change) as b from api.{table}")).remove(0);
        assert_eq!([&range["a"], &range["b"]], [&data["change_from"], &data["change_to"]]);
        let run = project.column("select run_id from headwater.runs where sync = 'items'");
        assert_eq!(
            (&data["connection"], &data["provider"], &data["variant"]),
            (&json!("acme"), &json!("api"), &json!(""))
        );
        assert_eq!(run, [data["run_id"].clone()]);
    }
    assert_eq!(all[2]["data"]["code"], "http_status");
    assert!(all[2]["data"]["message"].as_str().is_some_and(|text| text.contains("/broken")), "{}", all[2]);
    // what another process does meanwhile is told too, and what changes nothing is not
    api.becomes(|_| Reply::json(&json!({ "items": [{ "id": 1, "name": "z" }, { "id": 2, "name": "b" }] })));
    run(&project);
    until("a fourth", || receiver.requests().len() == 4);
    assert_eq!(brief(&told(&receiver)[3]), "sync.changed items Item 0 1 0");
    run(&project);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(receiver.requests().len(), 4, "{:?}", told(&receiver));
    let list = project.headwater(&["notifications", "--json"]).json();
    assert!(list.len() == 4 && list.iter().all(|line| line["state"] == "delivered"), "{list:?}");
    let said = daemon.stop();
    // neither the secret nor the URL, whose path can be one, is anywhere
    let shown = [
        said,
        project.headwater(&["notifications"]).stdout,
        format!("{:?}", project.rows("select * from headwater.outbox")),
        format!("{:?}", project.rows("select * from headwater.deliveries")),
    ];
    assert!(!shown.iter().any(|text| text.contains("T0K3N") || text.contains("MfKQ9r8")), "{shown:?}");
}

#[test]
fn what_was_not_taken_is_sent_again_in_its_order() {
    let api = Api::start(|_| items(2));
    let fails = Arc::new(AtomicUsize::new(0));
    let (failing, receiver) = (Arc::clone(&fails), Api::start(ok));
    receiver.becomes(move |_| {
        if failing.fetch_add(1, Ordering::SeqCst) == 0 { Reply::status(500, "") } else { Reply::status(200, "") }
    });
    let project = project(&api, &receiver, ", on: [changed]", &[("items", "request: { get: /items }")]);
    // nobody sends meanwhile
    project.run();
    api.becomes(|_| items(3));
    project.run();
    assert!(receiver.requests().is_empty());
    let daemon = Daemon::start(&project, &[("HOOK_SECRET", SECRET)]);
    until("both arrive", || receiver.requests().len() == 3);
    let said = daemon.stop();
    let requests = receiver.requests();
    let id = |at: usize| requests[at].header("webhook-id").expect("an id").to_owned();
    assert!(id(0) == id(1) && id(1) != id(2));
    assert_eq!(requests[0].body, requests[1].body);
    let briefs: Vec<String> = told(&receiver).iter().map(brief).collect();
    assert_eq!(briefs[1..], ["sync.changed items Item 2 0 0", "sync.changed items Item 1 0 0"]);
    assert!(said.contains("it answered 500; it is tried again"), "{said}");
    let states =
        project.column("select concat_ws(' ', state, attempts, last_status) from headwater.deliveries order by id");
    assert_eq!(states, ["delivered 2 200", "delivered 1 200"]);
    // without a daemon, on a machine that has a scheduler of its own
    api.becomes(|_| items(4));
    project.run();
    let once = project.headwater_with(&["serve", "--once"], &[("HOOK_SECRET", SECRET)]);
    assert_eq!((once.code, receiver.requests().len()), (0, 4), "{}", once.stderr);
    // what is missing is said before anything runs
    let none = project.headwater(&["serve", "--once"]);
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("the environment variable `HOOK_SECRET` is not set"), "{}", none.stderr);
}

#[test]
fn a_daemon_that_is_killed_before_it_was_heard_tells_it_again() {
    let api = Api::start(|_| items(2));
    let receiver = Api::start(|_| {
        std::thread::sleep(Duration::from_secs(20));
        Reply::status(200, "")
    });
    let words = "request: { get: /items }\nschedule: every day";
    let project = project(&api, &receiver, "", &[("items", words)]);
    let daemon = Daemon::start(&project, &[("HOOK_SECRET", SECRET)]);
    until("it is sent", || receiver.requests().len() == 1);
    // SIGKILL
    drop(daemon);
    receiver.becomes(ok);
    let daemon = Daemon::start(&project, &[("HOOK_SECRET", SECRET)]);
    until("it is sent again", || receiver.requests().len() == 2);
    daemon.stop();
    let requests = receiver.requests();
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(brief(&verified(&requests[1])), "sync.changed items Item 2 0 0");
    assert_eq!(api.requests().len(), 1);
    assert_eq!(project.column("select state from headwater.deliveries"), ["delivered"]);
}

#[test]
fn what_a_killed_run_has_committed_is_told() {
    let goes_on = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&goes_on);
    let api = Api::start(move |request| match request.number("page", 0) {
        0 => {
            let items: Vec<Value> = (0..50).map(|id| json!({ "id": id, "name": "a" })).collect();
            Reply::json(&json!({ "items": items, "next": "1" }))
        }
        _ => {
            while !waits.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Reply::json(&json!({ "items": [{ "id": 50, "name": "a" }] }))
        }
    });
    let receiver = Api::start(ok);
    let words = "request: { get: /items }\npagination: { cursor: { from: $.next, query: page } }";
    let project = project(&api, &receiver, "", &[("items", words)]);
    let mut killed = project.spawn(&["run"]);
    until("the second page is asked for", || api.requests().len() == 2);
    let counted = "select count(*) from headwater.outbox where id is null";
    until("the first is committed", || {
        let found = project.headwater(&["query", counted]);
        found.code == 0 && found.stdout.contains('1')
    });
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    goes_on.store(true, Ordering::SeqCst);
    let daemon = Daemon::start(&project, &[("HOOK_SECRET", SECRET)]);
    until("it is told", || receiver.requests().len() == 1);
    // and the rest by the run that goes on
    run(&project);
    until("the rest is told", || receiver.requests().len() == 2);
    daemon.stop();
    let all = told(&receiver);
    let briefs: Vec<String> = all.iter().map(brief).collect();
    assert_eq!(briefs, ["sync.changed items Item 50 0 0", "sync.changed items Item 1 0 0"]);
    let ranges: Vec<Value> =
        all.iter().map(|told| json!([told["data"]["change_from"], told["data"]["change_to"]])).collect();
    assert_eq!(ranges, [json!([1, 50]), json!([51, 51])]);
}

#[test]
fn an_endpoint_that_is_gone_is_left_alone_until_somebody_resumes_it() {
    let api = Api::start(|_| items(1));
    let receiver = Api::start(|_| Reply::status(410, ""));
    let words = "request: { get: /items }\nschedule: every day";
    let project = project(&api, &receiver, "", &[("items", words)]);
    let daemon = Daemon::start(&project, &[("HOOK_SECRET", SECRET)]);
    until("it is sent", || receiver.requests().len() == 1);
    api.becomes(|_| items(2));
    run(&project);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(receiver.requests().len(), 1, "it is gone");
    assert!(daemon.said().contains("it answered 410 Gone; nothing is sent there until"), "{}", daemon.said());
    let list = project.headwater(&["notifications"]).stdout;
    assert!(list.contains("is paused: it answered 410 Gone"), "{list}");
    receiver.becomes(ok);
    let resumed = project.headwater(&["notifications", "resume"]);
    assert!(resumed.code == 0 && resumed.stdout.starts_with("resumed 127.0.0.1#"), "{resumed:?}");
    until("both arrive", || receiver.requests().len() == 3);
    let requests = receiver.requests();
    let id = |at: usize| requests[at].header("webhook-id").expect("an id").to_owned();
    assert!(id(0) == id(1) && id(1) != id(2));
    // once more, on demand
    until("it is noted", || project.headwater(&["notifications", "--waiting", "--json"]).json().is_empty());
    let replayed = project.headwater(&["notifications", "replay", &id(2)]);
    assert_eq!((replayed.code, replayed.stdout), (0, format!("{} will be sent to 1 endpoint\n", id(2))));
    until("it is sent once more", || receiver.requests().len() == 4);
    assert_eq!(receiver.requests()[3].header("webhook-id"), Some(id(2).as_str()));
    assert_eq!(project.headwater(&["notifications", "replay", "evt_none"]).code, 2);
    daemon.stop();
}

#[test]
fn that_a_person_must_connect_again_is_told_once() {
    let api = Api::start(|_| Reply::status(401, "{}"));
    let receiver = Api::start(ok);
    let words = "request: { get: /items }\nerrors: [{ status: 401, then: reconnect }]";
    let project = project(&api, &receiver, "", &[("items", words)]);
    for _ in 0..2 {
        assert_ne!(project.headwater(&["run"]).code, 0);
    }
    let once = project.headwater_with(&["serve", "--once"], &[("HOOK_SECRET", SECRET)]);
    assert_eq!(once.code, 0, "{}", once.stderr);
    let types: Vec<Value> = told(&receiver).iter().map(|told| told["type"].clone()).collect();
    assert_eq!(types, ["sync.failed", "connection.needs_reconnect", "sync.failed"]);
    assert_eq!(told(&receiver)[1]["data"]["connection"], "acme");
}

#[test]
fn an_endpoint_that_asks_for_time_gets_it() {
    let api = Api::start(|_| items(1));
    let sent: Arc<std::sync::Mutex<Vec<Instant>>> = Arc::default();
    let (times, receiver) = (Arc::clone(&sent), Api::start(ok));
    receiver.becomes(move |_| {
        let mut times = times.lock().expect("unpoisoned");
        times.push(Instant::now());
        if times.len() == 1 { Reply::status(429, "").with("retry-after", "5") } else { Reply::status(200, "") }
    });
    let project = project(&api, &receiver, "", &[("items", "request: { get: /items }")]);
    project.run();
    let daemon = Daemon::start(&project, &[("HOOK_SECRET", SECRET)]);
    until("it is sent again", || sent.lock().expect("unpoisoned").len() == 2);
    daemon.stop();
    let times = sent.lock().expect("unpoisoned");
    assert!(times[1] - times[0] >= Duration::from_millis(4_900), "{times:?}");
}

#[test]
fn changes_that_no_run_makes_are_told_too() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 1 }, { "id": 2, "name": "b" }] })));
    let receiver = Api::start(ok);
    let project = project(&api, &receiver, "", &[("items", "request: { get: /items }")]);
    let model = |name: &str| ITEM.replace("name: $.name", name).replace("table:", "raw: true\ntable:");
    project.write("integrations/api/models/Item.yaml", model("name: { path: $.name, required: true }"));
    project.run();
    project.write("integrations/api/models/Item.yaml", model("name: { path: $.name }"));
    let retried = project.headwater(&["retry"]);
    assert_eq!(retried.code, 0, "{}{}", retried.stdout, retried.stderr);
    project.write("integrations/api/models/Item.yaml", model("name: { value: \"{{ record.name }}!\" }"));
    let remapped = project.headwater(&["remap"]);
    assert_eq!(remapped.code, 0, "{}{}", remapped.stdout, remapped.stderr);
    let once = project.headwater_with(&["serve", "--once"], &[("HOOK_SECRET", SECRET)]);
    assert_eq!(once.code, 0, "{}", once.stderr);
    let briefs: Vec<String> = told(&receiver).iter().map(brief).collect();
    let expected = ["sync.changed items Item 1 0 0", "sync.changed items Item 1 0 0", "sync.changed items Item 0 1 0"];
    assert_eq!(briefs, expected);
}
