//! The API of the daemon: keys, records, control. What is answered is held against the document that the daemon gives of itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{self, Answer, Api, Daemon, Project, Reply, Request, until};

pub const KEY: &str = "app-0123456789abcdef0123456789";
const OPERATOR: &str = "operator-0123456789abcdef0123";
pub const READER: &str = "reader-0123456789abcdef012345";
const KEYS: &str = "api:\n  keys:\n    app: { key: \"${APP_KEY}\", scopes: [records, syncs, control, actions, query] }\n    reader: { key: \"${READER_KEY}\", scopes: [records] }\n";
const MODEL: &str = "model: Item\ntable: items\nkey: [id]\ncolumns:\n  id: { path: $.id, type: bigint }\n  name: { path: $.name, type: varchar }\n";

/// A project of one provider with these connections and syncs, and the keys.
pub fn project(url: &str, connections: &str, syncs: &[(&str, &str)]) -> Project {
    let project = Project::empty();
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n{connections}{KEYS}"));
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {url}\nretry: {{ attempts: 1 }}\n"));
    project.write("integrations/api/models/Item.yaml", MODEL);
    for (name, words) in syncs {
        let words = format!("sync: {name}\nmodel: Item\nresponse: {{ records: \"$.items[*]\" }}\n{words}\n");
        project.write(&format!("integrations/api/syncs/{name}.yaml"), words);
    }
    project
}

const KNOWN: [(&str, &str); 3] = [("APP_KEY", KEY), ("READER_KEY", READER), ("OPERATOR_KEY", OPERATOR)];

/// A daemon that answers.
pub fn listen(project: &Project) -> Daemon {
    Daemon::listen(project, &KNOWN)
}

/// Asks with a key, or without.
pub fn send(address: SocketAddr, method: &str, target: &str, key: Option<&str>, body: &str) -> std::io::Result<Answer> {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers = bearer.as_deref().map(|bearer| ("authorization", bearer));
    support::send(address, method, target, headers.as_slice(), body)
}

/// The answer to one that has a good key, which is as the document says.
pub fn ask(daemon: &Daemon, method: &str, target: &str, body: &str) -> Answer {
    let answer = send(daemon.address(), method, target, Some(KEY), body).expect("an answer");
    let document = send(daemon.address(), "GET", "/v1/openapi.json", Some(KEY), "").expect("the document").body;
    conforms(&document, method, target, &answer);
    answer
}

pub fn get(daemon: &Daemon, target: &str) -> Value {
    let answer = ask(daemon, "GET", target, "");
    assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    answer.body
}

pub fn post(daemon: &Daemon, target: &str, body: &str) -> Answer {
    ask(daemon, "POST", target, body)
}

/// What a sync is doing.
pub fn sync_of(daemon: &Daemon, id: &str) -> Value {
    let syncs = get(daemon, "/v1/syncs");
    syncs["syncs"].as_array().expect("syncs").iter().find(|sync| sync["id"] == id).expect("the sync").clone()
}

/// An answer is one that the document names, and as its schema says.
fn conforms(document: &Value, method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().expect("a path");
    let fits = |pattern: &str| {
        let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
        pattern.len() == path.len()
            && pattern.iter().zip(&path).all(|(part, given)| part.starts_with('{') || part == given)
    };
    let paths = document["paths"].as_object().expect("paths");
    let Some((_, item)) = paths.iter().find(|(pattern, _)| fits(pattern)) else {
        assert_eq!(answer.status, 404, "{target}");
        return;
    };
    let operation = match item.get(method.to_lowercase()) {
        Some(operation) => operation,
        None => ["get", "post", "put"].into_iter().find_map(|method| item.get(method)).expect("a method"),
    };
    let schema = &operation["responses"][answer.status.to_string()]["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {target}: {} is not in the document", answer.status);
    let schema = json!({ "$ref": schema["$ref"], "components": document["components"] });
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    let wrong: Vec<String> =
        validator.iter_errors(&answer.body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{method} {target}: {wrong:?} in {}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json");
}

pub fn numbered(ids: impl IntoIterator<Item = usize>) -> Reply {
    let items: Vec<Value> = ids.into_iter().map(|id| json!({ "id": id, "name": format!("n{id}") })).collect();
    Reply::json(&json!({ "items": items }))
}

pub fn ids(page: &Value) -> Vec<i64> {
    page["records"].as_array().expect("records").iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

const MANUAL: &str = "request: { get: /items }";
const ACME: &str = "  acme: { provider: api }\n";

#[test]
fn nobody_is_answered_without_a_key_that_is_good_for_it() {
    let api = Api::start(|_| numbered(0..3));
    let project = project(&api.url(), ACME, &[("items", MANUAL)]);
    let daemon = listen(&project);
    let with = |method: &str, target: &str, key: Option<&str>| {
        send(daemon.address(), method, target, key, "").expect("an answer")
    };
    assert_eq!((with("GET", "/healthz", None).status, with("GET", "/readyz", None).status), (200, 200));
    for target in ["/v1/syncs", "/v1/records/api/items", "/v1/openapi.json", "/v1/nothing"] {
        let none = with("GET", target, None);
        assert_eq!(
            (none.status, none.headers["www-authenticate"].as_str()),
            (401, "Bearer realm=\"headwater\""),
            "{target}"
        );
        let wrong = with("GET", target, Some("app-0123456789abcdef0123456780"));
        assert_eq!((wrong.status, &wrong.body["error"]["code"]), (401, &json!("unauthorized")));
        assert!(wrong.headers["www-authenticate"].contains("invalid_token"));
    }
    // with the scope `records` alone
    assert_eq!(with("GET", "/v1/records/api/items", Some(READER)).status, 200);
    for (method, target, scope) in
        [("GET", "/v1/syncs", "syncs"), ("GET", "/v1/runs", "syncs"), ("POST", "/v1/syncs/acme/items/run", "control")]
    {
        let lacks = with(method, target, Some(READER));
        assert_eq!((lacks.status, &lacks.body["error"]["code"]), (403, &json!("forbidden")), "{target}");
        assert!(lacks.body["error"]["message"].as_str().expect("text").contains(&format!("`{scope}`")));
        assert!(lacks.headers["www-authenticate"].contains(&format!("scope=\"{scope}\"")));
    }
    assert_eq!(with("GET", "/v1/openapi.json", Some(READER)).status, 200);
    assert_eq!(ask(&daemon, "GET", "/v1/nothing", "").status, 404);
    assert_eq!(ask(&daemon, "GET", "/v1/syncs/acme/items/run", "").status, 405);
    let said = daemon.stop();
    assert!(!said.contains(KEY) && !said.contains(READER) && api.requests().is_empty(), "{said}");
}

#[test]
fn a_daemon_that_others_could_ask_needs_keys_that_are_there() {
    let api = Api::start(|_| numbered(0..3));
    let project = project(&api.url(), ACME, &[("items", MANUAL)]);
    let serve = |address: &str, keys: &[(&str, &str)]| project.headwater_with(&["serve", "--listen", address], keys);
    let refused = serve("127.0.0.1:0", &[("APP_KEY", KEY)]);
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stderr
            .contains("the key `reader` of `api` needs the environment variable `READER_KEY`, which is not set")
    );
    let refused = serve("127.0.0.1:0", &[("APP_KEY", KEY), ("READER_KEY", "secret-1")]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("fewer than 24 characters") && !refused.stderr.contains("secret-1"),
        "{}",
        refused.stderr
    );
    let refused = serve("127.0.0.1:0", &[("APP_KEY", KEY), ("READER_KEY", KEY)]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("are the same") && !refused.stderr.contains(KEY), "{}", refused.stderr);
    let file = project.path().join("headwater.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    project.write("headwater.yaml", text.replace(KEYS, ""));
    let refused = serve("0.0.0.0:0", &[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("can be reached from other machines"), "{}", refused.stderr);
    // on this machine it says how it is, and nothing else
    let daemon = listen(&project);
    let ask = |target: &str| send(daemon.address(), "GET", target, Some(KEY), "").expect("an answer");
    assert_eq!((ask("/healthz").status, ask("/v1/records/api/items").status), (200, 401));
    assert_eq!(ask("/v1/syncs").body["error"]["code"], "no_keys");
    daemon.stop();
}

#[test]
fn records_come_in_pages_and_by_what_is_wanted_of_them() {
    let round = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&round);
    let api = Api::start(move |_| {
        let round = now.load(Ordering::SeqCst);
        let item = |id: usize| json!({ "id": id, "name": if id < 3 { format!("r{round}") } else { format!("n{id}") } });
        let gone = if round > 0 { 9 } else { 10 };
        Reply::json(&json!({ "items": (0..gone).map(item).collect::<Vec<_>>() }))
    });
    let connections =
        "  acme: { provider: api }\n  other: { provider: api, syncs: { items: { variants: { red: {} } } } }\n";
    let words = format!("{MANUAL}\ndeletes: {{ absence: {{}} }}");
    let project = project(&api.url(), connections, &[("items", &words)]);
    let daemon = listen(&project);
    // what will be there has no rows yet
    let empty = get(&daemon, "/v1/records/api/items");
    assert_eq!((ids(&empty), &empty["more"]), (vec![], &json!(false)));
    let unknown = ask(&daemon, "GET", "/v1/records/api/itens", "");
    assert_eq!((unknown.status, &unknown.body["error"]["code"]), (404, &json!("unknown_table")));
    let run = |sync: &str| {
        let before = sync_of(&daemon, sync)["last_run"]["run_id"].clone();
        let name = sync.split('@').next().expect("a name");
        assert_eq!(post(&daemon, &format!("/v1/syncs/{name}/run"), "").status, 202);
        until("it has run", || {
            let now = sync_of(&daemon, sync);
            now["state"] == "idle" && now["last_run"]["run_id"] != before && now["last_run"]["state"] == "completed"
        });
    };
    run("acme/items");
    run("other/items@red");
    // from where nothing was yet, in pages that are short
    let (mut after, mut all) = (empty["next"].as_str().expect("a cursor").to_owned(), Vec::new());
    loop {
        let page = get(&daemon, &format!("/v1/records/api/items?after={after}&limit=7"));
        all.extend(page["records"].as_array().expect("records").clone());
        after = page["next"].as_str().expect("a cursor").to_owned();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(all.len(), 20);
    assert!(all.is_sorted_by_key(|row| row["_change"].as_i64()), "{all:?}");
    assert!(all.iter().all(|row| row["_last_action"] == "ADDED"));
    let nothing = get(&daemon, &format!("/v1/records/api/items?after={after}"));
    assert_eq!((ids(&nothing), nothing["next"].as_str()), (vec![], Some(after.as_str())));
    let between = all[19]["_last_modified_at"].as_str().expect("a time").to_owned();
    round.store(1, Ordering::SeqCst);
    run("acme/items");
    let of = |query: &str| ids(&get(&daemon, &format!("/v1/records/api/items?{query}")));
    assert_eq!(of(&format!("after={after}")), [0, 1, 2, 9]);
    assert_eq!(of(&format!("after={after}&action=updated")), [0, 1, 2]);
    assert_eq!(of(&format!("after={after}&action=deleted")), [9]);
    // any set of actions, which is where others go wrong
    assert_eq!(of(&format!("after={after}&action=deleted,updated")), [0, 1, 2, 9]);
    assert_eq!(of("action=added&connection=acme"), [3, 4, 5, 6, 7, 8]);
    assert_eq!(of("variant=red&connection=other").len(), 10);
    assert_eq!(of("variant=blue"), [0; 0]);
    assert_eq!(of(&format!("modified_after={between}")), [0, 1, 2, 9]);
    assert_eq!(of("ids=3,9,77,x&connection=acme"), [3, 9]);
    assert_eq!(of("ids=%5B4%2C%225%22%5D&connection=acme"), [4, 5]);
    // of what is not wanted nothing is looked at again
    let none = get(&daemon, "/v1/records/api/items?variant=blue");
    assert_eq!(none["next"], get(&daemon, "/v1/records/api/items")["next"]);
    // a number alone goes on too
    let last = all[18]["_change"].as_i64().expect("a number");
    assert_eq!(of(&format!("after={last}")).len(), 5);
    for wrong in [
        "after=x",
        "limit=0",
        "limit=10001",
        "action=gone",
        "modified_after=now",
        "ids=%5B1",
        "ids=%5B%5B1,2%5D%5D",
        "sort=id",
    ] {
        let denied = ask(&daemon, "GET", &format!("/v1/records/api/items?{wrong}"), "");
        assert_eq!((denied.status, &denied.body["error"]["code"]), (400, &json!("bad_request")), "{wrong}");
        assert!(denied.body["error"]["hint"].is_string(), "{wrong}: {}", denied.body);
    }
    assert_eq!(ask(&daemon, "GET", "/v1/records/api/items?after=999999", "").status, 410);
    // a purge is in no feed: who has a copy is told to begin again
    let purged = post(&daemon, "/v1/syncs/acme/items/reset", "{\"purge\": true}");
    assert_eq!((purged.status, &purged.body["removed"][0]), (200, &json!({ "table": "api.items", "rows": 10 })));
    let ended = ask(&daemon, "GET", &format!("/v1/records/api/items?after={after}"), "");
    assert_eq!((ended.status, &ended.body["error"]["code"]), (410, &json!("feed_ended")));
    assert_eq!(of("limit=100").len(), 10);
    daemon.stop();
}

#[test]
fn syncs_are_steered_and_told_of() {
    let slow = Arc::new(AtomicUsize::new(0));
    let is_slow = Arc::clone(&slow);
    let api = Api::start(move |request: &Request| {
        if is_slow.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        let start = request.number("cursor", 0);
        let last = if is_slow.load(Ordering::SeqCst) > 0 { 300 } else { 2 };
        let next = if start < last { json!((start + 1).to_string()) } else { Value::Null };
        Reply::json(&json!({ "items": [{ "id": start, "name": "x" }], "next": next }))
    });
    let words =
        "request: { get: /items }\npagination: { cursor: { from: $.next, query: cursor } }\nschedule: every day";
    let connections = "  acme: { provider: api }\n  beta: { provider: api, syncs: { items: { schedule: manual } } }\n";
    let project = project(&api.url(), connections, &[("items", words)]);
    let daemon = Daemon::listen_with(&project, &["--log-requests"], &KNOWN);
    until("its first run", || sync_of(&daemon, "acme/items")["last_run"]["state"] == "completed");
    let sync = sync_of(&daemon, "acme/items");
    assert_eq!(
        (&sync["rows"], &sync["paused"], &sync["table"]),
        (&json!(3), &json!(false), &json!("api.items")),
        "{sync}"
    );
    assert!(sync["next_run_at"].is_string());
    let asked = get(&daemon, "/v1/requests?connection=acme&sync=items&limit=2");
    let urls = asked["requests"].as_array().expect("requests").iter().map(|request| &request["url"]);
    assert_eq!(
        urls.collect::<Vec<_>>(),
        [&json!(format!("{}/items?cursor=2", api.url())), &json!(format!("{}/items?cursor=1", api.url()))]
    );
    assert_eq!(asked["requests"][0]["run_id"], sync["last_run"]["run_id"]);
    assert_eq!(get(&daemon, "/v1/requests?connection=beta"), json!({ "requests": [] }));
    let never = sync_of(&daemon, "beta/items");
    assert_eq!((&never["last_run"], &never["next_run_at"], &never["rows"]), (&Value::Null, &Value::Null, &json!(0)));
    assert_eq!(get(&daemon, "/v1/syncs?connection=beta")["syncs"].as_array().expect("syncs").len(), 1);
    // paused: in the database, so that everybody knows
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/pause", "{}").body["syncs"], json!(["acme/items"]));
    let paused = sync_of(&daemon, "acme/items");
    assert_eq!((&paused["paused"], &paused["next_run_at"]), (&json!(true), &Value::Null));
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/resume", "").status, 202);
    assert_eq!(sync_of(&daemon, "acme/items")["paused"], false);
    // run, cancelled between two commits; not to be reset meanwhile
    slow.store(1, Ordering::SeqCst);
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/run", "{\"full\": true}").status, 202);
    until("it runs", || sync_of(&daemon, "acme/items")["state"] == "running");
    let running = post(&daemon, "/v1/syncs/acme/items/reset", "");
    assert_eq!((running.status, &running.body["error"]["code"]), (409, &json!("running")));
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/cancel", "").status, 202);
    until("it is stopped", || sync_of(&daemon, "acme/items")["state"] == "idle");
    assert_eq!(sync_of(&daemon, "acme/items")["last_run"]["state"], "paused");
    let runs = get(&daemon, "/v1/runs?connection=acme&sync=items&limit=10");
    let states: Vec<_> = runs["runs"].as_array().expect("runs").iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states, ["paused", "completed"]);
    let first = &runs["runs"][1];
    assert_eq!(
        (&first["change_from"], &first["change_to"], &first["of"]["id"]),
        (&json!(1), &json!(3), &json!("acme/items"))
    );
    assert_eq!(get(&daemon, "/v1/runs?limit=1")["runs"].as_array().expect("runs").len(), 1);
    let reset = post(&daemon, "/v1/syncs/acme/items/reset", "");
    assert_eq!((reset.status, &reset.body), (200, &json!({ "syncs": ["acme/items"], "removed": [] })));
    let connections = get(&daemon, "/v1/connections");
    assert_eq!(connections["connections"][0]["connection"], "acme");
    assert_eq!(connections["connections"][1]["state"], "ok");
    // what is asked for in a wrong way
    let wrong = post(&daemon, "/v1/syncs/acme/itens/run", "");
    assert_eq!((wrong.status, &wrong.body["error"]["hint"]), (404, &json!("did you mean `acme/items`?")));
    assert_eq!(post(&daemon, "/v1/syncs/acme/items@red/run", "").status, 404);
    for body in ["{\"fulll\": true}", "[]", "{", "{\"full\": 1}"] {
        assert_eq!(post(&daemon, "/v1/syncs/acme/items/run", body).status, 400, "{body}");
    }
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/run", &" ".repeat(2 << 20)).status, 413);
    daemon.stop();
}

#[test]
fn one_key_cannot_ask_without_end() {
    let api = Api::start(|_| numbered(0..3));
    let project = project(&api.url(), ACME, &[("items", MANUAL)]);
    let daemon = listen(&project);
    let ask = |key| send(daemon.address(), "GET", "/v1/openapi.json", Some(key), "").expect("an answer");
    let refused = (0..2000).map(|_| ask(READER)).find(|answer| answer.status != 200).expect("an end");
    assert_eq!((refused.status, &refused.body["error"]["code"]), (429, &json!("too_many_requests")));
    assert_eq!(refused.headers["retry-after"], "1");
    // it is the key that has asked too often
    assert_eq!(ask(KEY).status, 200);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(ask(READER).status, 200);
    daemon.stop();
}

#[test]
fn somebody_else_has_the_database() {
    let api = Api::start(|_| {
        std::thread::sleep(Duration::from_secs(2));
        numbered(0..3)
    });
    let project = project(&api.url(), ACME, &[("items", MANUAL)]);
    let daemon = listen(&project);
    let mut run = project.spawn(&["run"]);
    until("it runs", || api.requests().len() == 1);
    let busy = ask(&daemon, "GET", "/v1/records/api/items", "");
    assert_eq!((busy.status, &busy.body["error"]["code"]), (503, &json!("database_busy")));
    assert_eq!(busy.headers["retry-after"], "1");
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/pause", "").status, 503);
    assert!(run.wait().expect("it ends").success());
    until("its turn", || ask(&daemon, "GET", "/v1/records/api/items", "").status == 200);
    assert_eq!(ids(&get(&daemon, "/v1/records/api/items")), [0, 1, 2]);
    daemon.stop();
}

/// An application that keeps a copy, and knows nothing but the API.
#[derive(Default)]
struct Copy {
    rows: BTreeMap<i64, Value>,
    after: Option<String>,
    again: usize,
    pages: usize,
}

impl Copy {
    /// Reads one page; whether there is more.
    fn read(&mut self, address: SocketAddr) -> bool {
        let after = self.after.as_ref().map(|after| format!("&after={after}")).unwrap_or_default();
        let target = format!("/v1/records/api/items?limit=37{after}");
        // whatever breaks, it asks again
        let Ok(answer) = send(address, "GET", &target, Some(READER), "") else { return true };
        match answer.status {
            200 => {}
            410 => {
                *self = Self { again: self.again + 1, ..Self::default() };
                return true;
            }
            503 => return true,
            status => panic!("{status}: {}", answer.body),
        }
        for row in answer.body["records"].as_array().expect("records") {
            let id = row["id"].as_i64().expect("an id");
            if row["_last_action"] == "DELETED" {
                self.rows.remove(&id);
            } else {
                self.rows.insert(id, row.clone());
            }
        }
        self.pages += 1;
        self.after = Some(answer.body["next"].as_str().expect("a cursor").to_owned());
        answer.body["more"] == true
    }
}

#[test]
fn who_reads_only_the_api_has_what_the_table_has_whatever_happens() {
    const ITEMS: usize = 400;
    let round = Arc::new(AtomicUsize::new(0));
    let served = Arc::clone(&round);
    let api = Api::start(move |request: &Request| {
        let start = request.number("cursor", 0);
        let round = if start == 0 { served.fetch_add(1, Ordering::SeqCst) } else { served.load(Ordering::SeqCst) };
        std::thread::sleep(Duration::from_millis(10));
        // some are gone, and come back; some change
        let lives = |id: &usize| !(id * 7 + round * 13).is_multiple_of(11);
        let item =
            |id: usize| json!({ "id": id, "name": format!("n{}", if id.is_multiple_of(5) { round } else { id }) });
        let items: Vec<Value> = (start..start + 20).filter(lives).map(item).collect();
        let next = if start + 20 < ITEMS { json!((start + 20).to_string()) } else { Value::Null };
        Reply::json(&json!({ "items": items, "next": next }))
    });
    let words = "request: { get: /items }\npagination: { cursor: { from: $.next, query: cursor } }\nschedule: every 1s\n\
                 deletes: { absence: {} }";
    let project = project(&api.url(), ACME, &[("items", words)]);
    let mut copy = Copy::default();
    let mut daemon = listen(&project);
    for life in 0..6_u64 {
        let end = Instant::now() + Duration::from_millis(1200 + life * 170);
        while Instant::now() < end {
            copy.read(daemon.address());
            std::thread::sleep(Duration::from_millis(20));
        }
        if life == 3 {
            let purged = || post(&daemon, "/v1/syncs/acme/items/reset", "{\"purge\": true}").status;
            let began = Instant::now();
            while purged() != 200 {
                assert!(began.elapsed() < Duration::from_secs(20), "it is idle now and then");
                std::thread::sleep(Duration::from_millis(30));
            }
        }
        // in the middle of a run; every other time without a word
        until("it runs", || {
            let syncs = send(daemon.address(), "GET", "/v1/syncs", Some(KEY), "");
            syncs.is_ok_and(|syncs| syncs.body["syncs"][0]["state"] == "running")
        });
        let code = daemon.signal(if life % 2 == 0 { "-KILL" } else { "-TERM" });
        assert_eq!(code, (life % 2 != 0).then_some(0));
        daemon = listen(&project);
    }
    let began = Instant::now();
    while post(&daemon, "/v1/syncs/acme/items/pause", "").status != 202 {
        assert!(began.elapsed() < Duration::from_secs(20), "it can be paused");
    }
    until("it is idle", || sync_of(&daemon, "acme/items")["state"] == "idle");
    while copy.read(daemon.address()) {}
    daemon.stop();
    let mut table = BTreeMap::new();
    for row in project.query("select * from api.items where _deleted_at is null") {
        table.insert(row["id"].as_i64().expect("an id"), Value::Object(row));
    }
    assert_eq!(copy.rows, table);
    assert!(
        table.len() > ITEMS / 2 && copy.pages > 30 && copy.again > 0,
        "{} {} {}",
        table.len(),
        copy.pages,
        copy.again
    );
    assert!(project.number("select count(*) from headwater.runs where state = 'interrupted'") > 0);
}

/// The page of the API: its YAML is a project, its requests are answered, and what it shows is what comes.
#[test]
fn the_page_of_the_api_is_true() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).expect("the page");
    let blocks = |kind: &str| -> Vec<String> {
        let fence = format!("```{kind}\n");
        let behind = page.split(&fence).skip(1);
        behind.map(|text| text.split("```").next().expect("a block").to_owned()).collect()
    };
    let api = Api::start(|_| {
        let order = |id: usize| json!({ "id": id, "status": "paid" });
        Reply::json(&json!({ "items": (1..4).map(order).collect::<Vec<_>>() }))
    });
    let project = Project::empty();
    project.write("headwater.yaml", &blocks("yaml")[0]);
    project.write("providers/shop.yaml", format!("provider: shop\nbase_url: {}\n", api.url()));
    let model = "model: Order\ntable: orders\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint }, status: { path: $.status, type: varchar } }\n";
    project.write("integrations/shop/models/Order.yaml", model);
    let sync = "sync: orders\nmodel: Order\nrequest: { get: /orders }\nresponse: { records: \"$.items[*]\" }\n";
    project.write("integrations/shop/syncs/orders.yaml", sync);
    let cancel = "action: cancel_order\ninput: { type: object, required: [id], properties: { id: { type: integer } } }\n\
                  request: { delete: \"/orders/{{ input.id }}\" }\n";
    project.write("integrations/shop/actions/cancel_order.yaml", cancel);
    project.run();
    let daemon = listen(&project);
    let mut answers = Vec::new();
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let words: Vec<&str> = line.split('\'').collect();
        let target = words[1].strip_prefix("http://127.0.0.1:8700").expect("a target");
        let method = line.split_once("-X ").map_or("GET", |(_, rest)| rest.split(' ').next().expect("a method"));
        let body = words.get(3).copied().unwrap_or_default();
        let key = if line.contains("$APP_KEY") { KEY } else { OPERATOR };
        let ask = || send(daemon.address(), method, target, Some(key), body).expect("an answer");
        let mut answer = ask();
        // a variant that is made runs at once
        until("nothing runs", || {
            if answer.status == 409 {
                answer = ask();
            }
            answer.status != 409
        });
        assert!([200, 202].contains(&answer.status), "{line}: {}", answer.body);
        answers.push(answer.body);
    }
    assert!(answers.len() > 9, "{}", answers.len());
    let names = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let json = |at: usize| serde_json::from_str::<Value>(&blocks("json")[at]).expect("JSON");
    let shown = json(0);
    assert_eq!((names(&shown), names(&shown["records"][0])), (names(&answers[0]), names(&answers[0]["records"][0])));
    assert_eq!(answers[0]["more"], true);
    assert_eq!(answers.last(), Some(&json(1)));
    let wrong = send(daemon.address(), "GET", "/v1/records/shop/order", Some(KEY), "").expect("an answer");
    assert_eq!(wrong.body, json(2));
    daemon.stop();
}

#[test]
fn who_only_reads_makes_no_new_copy() {
    let api = Api::start(|_| numbered(0..3));
    let project = project(&api.url(), ACME, &[("items", MANUAL)]);
    let file = std::fs::read_to_string(project.path().join("headwater.yaml")).expect("a file");
    project.write("headwater.yaml", format!("publish: {{ path: copy.duckdb }}\n{file}"));
    let daemon = listen(&project);
    let copied = || std::fs::metadata(project.path().join("copy.duckdb")).and_then(|facts| facts.modified()).ok();
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/run", "").status, 202);
    until("it has run", || sync_of(&daemon, "acme/items")["last_run"]["state"] == "completed");
    until("it is published", || copied().is_some());
    // the daemon lets go of the database now and then
    std::thread::sleep(Duration::from_millis(1500));
    let before = copied();
    for _ in 0..3 {
        assert_eq!(ids(&get(&daemon, "/v1/records/api/items")), [0, 1, 2]);
        std::thread::sleep(Duration::from_millis(1200));
    }
    assert_eq!(copied(), before, "nothing was written");
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/pause", "").status, 202);
    until("what was written is published", || copied() != before);
    daemon.stop();
}

#[test]
fn what_others_have_done_is_seen_though_somebody_asks_without_end() {
    let api = Api::start(|_| numbered(0..3));
    let project = project(&api.url(), ACME, &[("items", "request: { get: /items }\nschedule: every day")]);
    let daemon = listen(&project);
    until("it has run", || sync_of(&daemon, "acme/items")["last_run"]["state"] == "completed");
    for (command, paused) in [("pause", true), ("resume", false)] {
        // the daemon has the database now and then
        until("it is noted", || project.headwater(&[command, "acme/items"]).code == 0);
        until("it is seen", || sync_of(&daemon, "acme/items")["paused"] == paused);
    }
    daemon.stop();
}
