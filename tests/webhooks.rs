//! Events that APIs send to the daemon: a real process, real deliveries, and the tables behind them.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::{Api, Daemon, Project, Reply, until};

const SECRET: &str = "It's a Secret to Everybody";
const MODEL: &str = "model: Item\ntable: items\nkey: [id]\ncolumns:\n  id: { path: $.id, type: bigint }\n  name: { path: $.name }\n  \
                     updated_at: { path: $.updated_at, type: timestamptz }\n";
const GITHUB: &str = "webhooks:\n  verify: { hmac: { header: X-Hub-Signature-256, prefix: \"sha256=\" } }\n  \
                      type: \"{{ request.headers['x-github-event'] }}\"\n  id: \"{{ request.headers['x-github-delivery'] }}\"\n";

fn listen(project: &Project) -> Daemon {
    Daemon::listen(project, &[("HOOK_SECRET", SECRET)])
}

/// Sends what GitHub would; gives the status of the answer.
fn github(daemon: &Daemon, path: &str, kind: &str, id: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let signature = format!("sha256={}", hex(&signed(&body)));
    let headers = [("X-Hub-Signature-256", &*signature), ("X-GitHub-Event", kind), ("X-GitHub-Delivery", id)];
    daemon.send("POST", path, &headers, &body).status
}

fn signed(text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A project of one provider, whose connections have the secret.
fn project(url: &str, webhooks: &str, connections: &str, syncs: &[(&str, &str)]) -> Project {
    let project = Project::empty();
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n{connections}"));
    let config = "config: { type: object, properties: { team_id: { type: string } } }\n";
    let provider = format!("provider: api\nbase_url: {url}\nretry: {{ attempts: 1 }}\n{config}{webhooks}");
    project.write("providers/api.yaml", provider);
    project.write("integrations/api/models/Item.yaml", MODEL);
    for (name, words) in syncs {
        let since = if words.contains("incremental") { ", query: { since: \"{{ watermark }}\" }" } else { "" };
        let words = format!(
            "sync: {name}\nmodel: Item\nrequest: {{ get: /{name}{since} }}\nresponse: {{ records: \"$.items[*]\" }}\n{words}\n"
        );
        project.write(&format!("integrations/api/syncs/{name}.yaml"), words);
    }
    project
}

const ACME: &str = "  acme: { provider: api, credentials: { webhook_secret: \"${HOOK_SECRET}\" } }\n";
const FIELD: &str = "incremental: { field: $.updated_at }\n";
const WRITES: &str = "on_webhook:\n  - { type: items, when: \"{{ event.action != 'deleted' }}\", upsert: $.item }\n  \
                      - { type: items, when: \"{{ event.action == 'deleted' }}\", delete: $.item }\n";

fn no_items() -> Api {
    Api::start(|_| Reply::json(&json!({ "items": [] })))
}

/// Whether nothing waits in the inbox.
fn is_done(project: &Project) -> bool {
    project.number("select count(*) from headwater.inbox where state in ('waiting', 'started')") == 0
}

fn names(project: &Project) -> Vec<Value> {
    project.column("select id || ' ' || name from api.items_live order by id")
}

fn item(id: i64, name: &str, day: u32) -> Value {
    json!({ "id": id, "name": name, "updated_at": format!("2024-05-{day:02}T00:00:00Z") })
}

#[test]
fn an_event_is_proven_written_down_answered_and_done() {
    let api = no_items();
    let project = project(&api.url(), GITHUB, ACME, &[("items", WRITES)]);
    let daemon = listen(&project);
    let path = "/webhooks/api/acme";
    assert_eq!(github(&daemon, path, "items", "1", &json!({ "action": "opened", "item": item(1, "a", 1) })), 200);
    assert_eq!(github(&daemon, path, "items", "2", &json!({ "action": "edited", "item": item(1, "b", 2) })), 200);
    assert_eq!(github(&daemon, path, "items", "3", &json!({ "action": "opened", "item": item(2, "c", 2) })), 200);
    until("the rows", || is_done(&project));
    assert_eq!(names(&project), ["1 b", "2 c"]);
    // what was seen is acknowledged and dropped; what no sync knows is kept and ignored
    assert_eq!(github(&daemon, path, "items", "2", &json!({ "action": "edited", "item": item(1, "again", 3) })), 200);
    assert_eq!(github(&daemon, path, "ping", "4", &json!({ "zen": "…" })), 200);
    assert_eq!(github(&daemon, path, "items", "5", &json!({ "action": "deleted", "item": { "id": 2 } })), 200);
    until("the rest", || is_done(&project));
    assert_eq!(names(&project), ["1 b"]);
    assert_eq!(
        project.column("select event_id || ' ' || state from headwater.inbox order by id"),
        ["1 done", "2 done", "3 done", "4 ignored", "5 done"]
    );
    // what proves nothing is refused without a word, and is nowhere
    let body = json!({ "action": "opened", "item": item(9, "evil", 9) }).to_string();
    let right = format!("sha256={}", hex(&signed(&body)));
    for (headers, sent) in [
        (vec![], body.clone()),
        (vec![("X-Hub-Signature-256", "sha256=00")], body.clone()),
        (vec![("X-Hub-Signature-256", &*right)], body.replace("evil", "eviI")),
    ] {
        let answer = daemon.send("POST", path, &headers, &sent);
        assert_eq!((answer.status, answer.body), (401, json!("")));
    }
    // nobody receives there
    for path in ["/webhooks/api/other", "/webhooks/other/acme", "/webhooks/api"] {
        assert_eq!(github(&daemon, path, "items", "9", &json!({})), 404, "{path}");
    }
    let broken = "{\"a\":";
    let signature = format!("sha256={}", hex(&signed(broken)));
    assert_eq!(daemon.send("POST", path, &[("X-Hub-Signature-256", &signature)], broken).status, 400);
    daemon.stop();
    assert_eq!(project.number("select count(*) from headwater.inbox"), 5);
    let kept = project.column("select request || body from headwater.inbox where request is not null");
    assert!(kept.iter().all(|text| !text.to_string().contains("sha256=")), "the proof is not kept: {kept:?}");
}

#[test]
fn deliveries_of_several_events_find_their_connections_and_questions_are_answered() {
    let api = no_items();
    let words = "webhooks:\n  verify:\n    hmac:\n      header: X-Slack-Signature\n      prefix: v0=\n      \
                 signed: \"v0:{{ request.timestamp }}:{{ request.body }}\"\n      timestamp: { header: X-Slack-Request-Timestamp }\n  \
                 handshake: { when: \"{{ body.type == 'url_verification' }}\", respond: { json: { challenge: \"{{ body.challenge }}\" } } }\n  \
                 events: \"$.events[*]\"\n  type: \"{{ event.type }}\"\n  id: \"{{ event.id }}\"\n  \
                 connection: { match: { team_id: $.team } }\n";
    let connection = |name: &str, team: &str| {
        format!(
            "  {name}: {{ provider: api, config: {{ team_id: {team} }}, credentials: {{ webhook_secret: \"${{HOOK_SECRET}}\" }} }}\n"
        )
    };
    let connections = connection("one", "T1") + &connection("two", "T2");
    let project =
        project(&api.url(), words, &connections, &[("items", "on_webhook: [{ type: item, upsert: $.item }]")]);
    let daemon = listen(&project);
    let post = |at: i64, body: &Value| {
        let (at, body) = (at.to_string(), body.to_string());
        let signature = format!("v0={}", hex(&signed(&format!("v0:{at}:{body}"))));
        daemon.send(
            "POST",
            "/webhooks/api",
            &[("X-Slack-Signature", &signature), ("X-Slack-Request-Timestamp", &at)],
            &body,
        )
    };
    let now = chrono::Utc::now().timestamp();
    let asked =
        json!({ "type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" });
    let answer = post(now, &asked);
    assert_eq!((answer.status, answer.body), (200, json!({ "challenge": asked["challenge"] })));
    assert_eq!(post(now - 600, &asked).status, 401, "it is old");
    let event = |team: &str, id: i64| json!({ "type": "item", "team": team, "id": id, "item": item(id, team, 1) });
    let several = json!({ "events": [event("T1", 1), event("T2", 2), event("T9", 3), event("T1", 4)] });
    assert_eq!(post(now, &several).status, 200);
    until("the rows", || is_done(&project));
    let rows = project
        .column("select _connection || ' ' || id || ' ' || name from api.items where _deleted_at is null order by id");
    assert_eq!(rows, ["one 1 T1", "two 2 T2", "one 4 T1"]);
    assert_eq!(post(now, &json!({ "events": [event("T9", 5)] })).status, 404, "it is for nobody");
    assert_eq!(post(now, &json!({ "events": [] })).status, 200);
    daemon.stop();
}

#[test]
fn a_burst_of_events_that_run_a_sync_is_few_runs() {
    let api = Api::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        Reply::json(&json!({ "items": [item(1, "a", 1)] }))
    });
    let project = project(&api.url(), GITHUB, ACME, &[("items", "on_webhook: [{ type: push, run: {} }]")]);
    let daemon = listen(&project);
    for nth in 0..20 {
        assert_eq!(github(&daemon, "/webhooks/api/acme", "push", &nth.to_string(), &json!({})), 200);
    }
    until("they are done", || is_done(&project));
    assert_eq!(names(&project), ["1 a"]);
    let asked = api.requests().len();
    assert!((1..=4).contains(&asked), "{asked} runs");
    // a sync that is paused does not run by itself
    assert_eq!(project.headwater(&["pause", "acme/items"]).code, 0);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(github(&daemon, "/webhooks/api/acme", "push", "paused", &json!({})), 200);
    until("it is done", || is_done(&project));
    assert_eq!(api.requests().len(), asked);
    daemon.stop();
}

#[test]
fn a_record_is_asked_for_and_what_fails_blocks_nobody() {
    let api = Api::start(|request| match request.path.as_str() {
        "/items/1" => Reply::json(&item(1, "fetched", 1)),
        "/items/2" => Reply::status(500, "{}"),
        "/items/3" => Reply::status(404, "{}"),
        _ => Reply::json(&json!({ "items": [] })),
    });
    let words = "on_webhook:\n  - { type: changed, fetch: { get: \"/items/{{ event.id }}\" } }\n  - { type: whole, upsert: $.item }\n";
    let project = project(&api.url(), GITHUB, &(ACME.to_owned() + &ACME.replace("acme", "other")), &[("items", words)]);
    let daemon = listen(&project);
    let send = |connection: &str, kind: &str, id: &str, body: &Value| {
        assert_eq!(github(&daemon, &format!("/webhooks/api/{connection}"), kind, id, body), 200);
    };
    send("acme", "changed", "bad", &json!({ "id": 2 }));
    send("acme", "whole", "odd", &json!({ "no": "item" }));
    send("acme", "whole", "misfit", &json!({ "item": { "id": "x" } }));
    send("acme", "changed", "gone", &json!({ "id": 3 }));
    send("acme", "changed", "good", &json!({ "id": 1 }));
    let began = Instant::now();
    send("other", "whole", "theirs", &json!({ "item": item(7, "theirs", 1) }));
    until("the other one's", || {
        project.number("select count(*) from headwater.inbox where event_id = 'theirs' and state = 'done'") == 1
    });
    assert!(began.elapsed() < Duration::from_secs(10), "it waits for nobody");
    until("they are done", || is_done(&project));
    assert_eq!(names(&project), ["1 fetched", "7 theirs"]);
    let states = project.column("select event_id || ' ' || state || ' ' || attempts from headwater.inbox order by id");
    assert_eq!(
        states,
        ["bad failed 4", "odd failed 1", "misfit done 1", "gone done 1", "good done 1", "theirs done 1"]
    );
    let error = project.column("select error from headwater.inbox where event_id = 'odd'");
    assert_eq!(error, ["there is nothing at `$.item` in the event"]);
    assert_eq!(project.number("select count(*) from headwater.quarantine"), 1);
    daemon.stop();
}

#[test]
fn whichever_of_a_list_and_an_event_is_newer_wins() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let api = Api::start(move |_| {
        // the list is made when it is asked for, and comes late
        until("the gate", || gate.load(Ordering::SeqCst));
        Reply::json(&json!({ "items": [item(1, "listed", 5), item(2, "listed", 5), item(3, "listed", 5)] }))
    });
    let words = format!("{FIELD}{WRITES}schedule: every day");
    let project = project(&api.url(), GITHUB, ACME, &[("items", &words)]);
    let daemon = listen(&project);
    let send = |id: &str, action: &str, item: Value| {
        assert_eq!(github(&daemon, "/webhooks/api/acme", "items", id, &json!({ "action": action, "item": item })), 200);
    };
    until("the run", || !api.requests().is_empty());
    // while the list is on its way: one is changed, one tells something old, one is deleted
    send("1", "edited", item(1, "event", 6));
    send("2", "edited", item(2, "old", 4));
    until("what waits for no run", || project.number("select count(*) from headwater.inbox where state = 'done'") == 2);
    assert_eq!(names(&project), ["1 event", "2 old"]);
    send("3", "deleted", item(3, "listed", 5));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        project.number("select count(*) from headwater.inbox where state = 'waiting'"),
        1,
        "the list may have it"
    );
    open.store(true, Ordering::SeqCst);
    until("they are done", || is_done(&project));
    assert_eq!(names(&project), ["1 event", "2 listed"]);
    // events that come in another order
    send("4", "edited", item(1, "newest", 8));
    send("5", "edited", item(1, "late", 7));
    send("6", "edited", item(3, "late", 5));
    send("7", "edited", item(2, "again", 5));
    until("they are done", || is_done(&project));
    assert_eq!(names(&project), ["1 newest", "2 again"], "what was deleted stays so");
    send("8", "opened", item(3, "back", 9));
    until("they are done", || is_done(&project));
    assert_eq!(names(&project), ["1 newest", "2 again", "3 back"]);
    daemon.stop();
}

#[test]
fn without_a_field_an_event_waits_for_the_list_that_was_asked_for_before_it() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let api = Api::start(move |_| {
        until("the gate", || gate.load(Ordering::SeqCst));
        Reply::json(&json!({ "items": [item(1, "listed", 5)] }))
    });
    let words = format!("{WRITES}schedule: every day\ndeletes: {{ absence: {{}} }}");
    let project = project(&api.url(), GITHUB, ACME, &[("items", &words)]);
    let daemon = listen(&project);
    until("the run", || !api.requests().is_empty());
    let edited = json!({ "action": "edited", "item": item(1, "event", 6) });
    assert_eq!(github(&daemon, "/webhooks/api/acme", "items", "1", &edited), 200);
    std::thread::sleep(Duration::from_secs(1));
    open.store(true, Ordering::SeqCst);
    until("they are done", || is_done(&project));
    assert_eq!(names(&project), ["1 event"]);
    daemon.stop();
}

#[test]
fn what_was_answered_is_done_though_the_daemon_is_killed() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let api = Api::start(move |request| {
        if !gate.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(3));
            return Reply::status(500, "{}");
        }
        match request.path.strip_prefix("/items/") {
            Some(id) => Reply::json(&item(id.parse().expect("a number"), "fetched", 1)),
            None => Reply::json(&json!({ "items": [item(9, "listed", 1)] })),
        }
    });
    let words =
        "on_webhook:\n  - { type: changed, fetch: { get: \"/items/{{ event.id }}\" } }\n  - { type: push, run: {} }\n";
    let project = project(&api.url(), GITHUB, ACME, &[("items", words)]);
    let daemon = listen(&project);
    for id in 1..=5 {
        assert_eq!(github(&daemon, "/webhooks/api/acme", "changed", &id.to_string(), &json!({ "id": id })), 200);
    }
    assert_eq!(github(&daemon, "/webhooks/api/acme", "push", "run", &json!({})), 200);
    drop(daemon);
    open.store(true, Ordering::SeqCst);
    let daemon = listen(&project);
    until("they are done", || is_done(&project));
    assert_eq!(names(&project), ["1 fetched", "2 fetched", "3 fetched", "4 fetched", "5 fetched", "9 listed"]);
    // and are known
    assert_eq!(github(&daemon, "/webhooks/api/acme", "changed", "5", &json!({ "id": 6 })), 200);
    daemon.stop();
    assert_eq!(project.number("select count(*) from headwater.inbox"), 6);
}

#[test]
fn where_the_database_cannot_be_had_nothing_is_acknowledged() {
    let api = Api::start(|request| {
        if request.path == "/slow" {
            std::thread::sleep(Duration::from_secs(4));
        }
        Reply::json(&json!({ "items": [] }))
    });
    let project = project(&api.url(), GITHUB, ACME, &[("items", WRITES), ("slow", "")]);
    let mut run = project.command(&["run", "acme/slow"]);
    let mut run = run.env("HOOK_SECRET", SECRET).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
    until("it runs", || api.requests().len() == 1);
    let daemon = listen(&project);
    let event = json!({ "action": "opened", "item": item(1, "a", 1) });
    assert_eq!(github(&daemon, "/webhooks/api/acme", "items", "1", &event), 503);
    assert!(run.wait().expect("it ends").success());
    // so the API sends it again
    until("it is taken", || github(&daemon, "/webhooks/api/acme", "items", "1", &event) == 200);
    until("the row", || is_done(&project));
    assert_eq!(names(&project), ["1 a"]);
    daemon.stop();
}

#[test]
fn other_proofs_and_none() {
    let api = no_items();
    let words = |verify: &str| format!("webhooks: {{ verify: {verify} }}\nallow: {{ W098: \"it is a test\" }}\n");
    let sync = [("items", "on_webhook: [{ upsert: $ }]")];
    let hubspot = "{ hmac: { header: X-HubSpot-Signature-v3, encoding: base64, \
                   signed: \"{{ request.method }}{{ request.url }}{{ request.body }}{{ request.timestamp }}\", \
                   timestamp: { header: X-HubSpot-Request-Timestamp } } }";
    let body = item(1, "a", 1).to_string();
    let at = chrono::Utc::now().timestamp_millis().to_string();
    let text = format!("POSThttps://hooks.example.com/webhooks/api/acme?v=1{body}{at}");
    let of_hubspot = base64::engine::general_purpose::STANDARD.encode(signed(&text));
    let cases: [(&str, &str, Vec<(&str, &str)>, u16); 6] = [
        ("{ token: { query: key } }", "?key=It%27s+a+Secret+to+Everybody", vec![], 200),
        ("{ token: { query: key } }", "?key=it", vec![], 401),
        ("{ token: { header: X-Token } }", "", vec![("X-Token", SECRET)], 200),
        (hubspot, "?v=1", vec![("X-HubSpot-Signature-v3", &of_hubspot), ("X-HubSpot-Request-Timestamp", &at)], 200),
        (hubspot, "?v=2", vec![("X-HubSpot-Signature-v3", &of_hubspot), ("X-HubSpot-Request-Timestamp", &at)], 401),
        ("{ none: {} }", "", vec![], 200),
    ];
    for (verify, query, headers, status) in cases {
        let project = project(&api.url(), &words(verify), ACME, &sync);
        let daemon = listen(&project);
        let headers = [headers, vec![("Host", "hooks.example.com")]].concat();
        let answer = daemon.send("POST", &format!("/webhooks/api/acme{query}"), &headers, &body);
        assert_eq!(answer.status, status, "{verify} {query}");
        if status == 200 {
            until("the row", || is_done(&project));
            assert_eq!(names(&project), ["1 a"], "{verify}");
            let kept = project.column("select concat_ws(' ', request, body, event) from headwater.inbox");
            assert!(kept.iter().all(|text| !text.to_string().contains("Everybody")), "{kept:?}");
        }
        daemon.stop();
    }
}
