//! What applications have done through the API of the daemon: actions, queries, pruning.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{KEY, ask, get, ids, listen, numbered, post, project, sync_of};
use crate::support::{Api, Project, Reply, Request, until};

const CREATE: &str = "action: create\ndescription: Makes an item.\nidempotency_key: { header: X-Once }\n\
    input: { type: object, required: [name], properties: { name: { type: string } } }\n\
    request: { post: /items, body: { json: { name: \"{{ input.name }}\" } } }\n\
    response: { records: $.item }\noutput: { model: Item }\nsave: true\n";
const FIND: &str = "action: find\ninput: { type: object, properties: { id: { type: integer } } }\n\
    request: { get: \"/items/{{ input.id }}\" }\nresponse: { records: $.item }\noutput: { model: Item }\n\
    synced_first: { model: Item, where: { id: \"{{ input.id }}\" } }\n";

fn with_actions(project: &Project) {
    project.write("integrations/api/actions/create.yaml", CREATE);
    project.write("integrations/api/actions/find.yaml", FIND);
}

#[test]
fn actions_are_called_and_what_they_make_is_in_the_table() {
    let api = Api::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("POST", _) if request.body.contains("taken") => Reply::status(409, "{\"message\": \"there is one\"}"),
        ("POST", _) => Reply::status(201, "{ \"item\": { \"id\": 7, \"name\": \"new\" } }"),
        ("GET", "/items") => numbered([]),
        _ => Reply::status(404, "{}"),
    });
    let project = project(&api.url(), "  acme: { provider: api }\n", &[("items", "request: { get: /items }")]);
    with_actions(&project);
    let daemon = listen(&project);
    let listed = get(&daemon, "/v1/actions?connection=acme");
    let names: Vec<&Value> = listed["actions"].as_array().expect("actions").iter().map(|one| &one["action"]).collect();
    assert_eq!(names, ["create", "find"]);
    assert_eq!(listed["actions"][0]["takes_idempotency_key"], true);

    let call = |body: &str| ask(&daemon, "POST", "/v1/actions/acme/create", body);
    let made = call("{ \"input\": { \"name\": \"new\" } }");
    assert_eq!((made.status, &made.body["saved"]["added"]), (200, &json!(1)), "{}", made.body);
    assert_eq!(made.body["records"], json!([{ "id": 7, "name": "new" }]));
    assert_eq!(ids(&get(&daemon, "/v1/records/api/items")), [7]);
    // what is there is not asked for
    let asked = api.requests().len();
    let found = post(&daemon, "/v1/actions/acme/find", "{ \"input\": { \"id\": 7 } }");
    assert_eq!((&found.body["source"], api.requests().len()), (&json!("table"), asked), "{}", found.body);

    for (body, status, code, says) in [
        ("{}", 400, "bad_request", "name"),
        ("{ \"input\": { \"name\": \"a\" }, \"cursor\": 3 }", 400, "bad_call", "gives no pages"),
        ("{ \"inputs\": {} }", 400, "bad_request", "unknown field `inputs`"),
        ("{ \"input\": { \"name\": \"taken\" } }", 502, "http_status", "there is one"),
    ] {
        let denied = call(body);
        assert_eq!((denied.status, &denied.body["error"]["code"]), (status, &json!(code)), "{body}: {}", denied.body);
        assert!(denied.body["error"]["message"].as_str().expect("a text").contains(says), "{body}: {}", denied.body);
    }
    let unknown = post(&daemon, "/v1/actions/acme/creat", "{}");
    assert_eq!((unknown.status, &unknown.body["error"]["hint"]), (404, &json!("did you mean `acme/create`?")));

    // the caller's key goes to the API, and nowhere else
    let key = format!("Bearer {KEY}");
    let headers = [("authorization", &*key), ("idempotency-key", "order-17")];
    let answer = daemon.send("POST", "/v1/actions/acme/create", &headers, "{ \"input\": { \"name\": \"b\" } }");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(api.requests().last().and_then(|request| request.header("x-once")), Some("order-17"));
    let answer = daemon.send("POST", "/v1/actions/acme/find", &headers, "{ \"input\": { \"id\": 9 } }");
    assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!("bad_call")), "{}", answer.body);
    daemon.stop();
}

/// Two pages, the second of them when the flag says so; the record on it is older than what the action makes.
fn slow(goes_on: &Arc<AtomicBool>) -> impl Fn(&Request) -> Reply + Send + Sync + use<> {
    let goes_on = Arc::clone(goes_on);
    move |request| match (request.method.as_str(), request.param("page")) {
        ("POST", _) => {
            let item = json!({ "id": 7, "name": "new", "updated_at": "2026-03-03T00:00:00Z" });
            Reply::json(&json!({ "item": item }))
        }
        (_, None) => {
            let item = json!({ "id": 1, "name": "n1", "updated_at": "2026-01-01T00:00:00Z" });
            Reply::json(&json!({ "items": [item], "next": "2" }))
        }
        _ => {
            while !goes_on.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Reply::json(&json!({ "items": [{ "id": 7, "name": "old", "updated_at": "2026-01-01T00:00:00Z" }] }))
        }
    }
}

#[test]
fn an_action_beside_a_run_is_saved_and_what_the_run_has_read_before_is_older() {
    let goes_on = Arc::new(AtomicBool::new(false));
    let api = Api::start(slow(&goes_on));
    let words = "request: { get: /items, query: { since: \"{{ watermark }}\" } }\npagination: { cursor: { from: $.next, query: page } }\n\
                 incremental: { field: $.updated_at }";
    let project = project(&api.url(), "  acme: { provider: api }\n", &[("items", words)]);
    let model = "model: Item\ntable: items\nkey: [id]\ncolumns:\n  id: { path: $.id, type: bigint }\n  name: { path: $.name }\n  \
                 updated_at: { path: $.updated_at, type: timestamptz }\n";
    project.write("integrations/api/models/Item.yaml", model);
    with_actions(&project);
    let receiver = Api::start(|_| Reply::status(204, ""));
    let file = std::fs::read_to_string(project.path().join("headwater.yaml")).expect("the project file");
    project.write("headwater.yaml", format!("{file}notify: [{{ url: \"{}/hook\" }}]\n", receiver.url()));
    let daemon = listen(&project);
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/run", "").status, 202);
    until("the second page is asked for", || api.requests().len() == 2);
    let made = post(&daemon, "/v1/actions/acme/create", "{ \"input\": { \"name\": \"new\" } }");
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(sync_of(&daemon, "acme/items")["state"], "running");
    let name = || {
        let rows = get(&daemon, "/v1/records/api/items?ids=7");
        rows["records"][0]["name"].clone()
    };
    assert_eq!(name(), "new");
    // what it made is told at once, and what the run has done when that has ended
    until("it is told", || receiver.requests().len() == 1);
    goes_on.store(true, Ordering::SeqCst);
    until("it has run", || sync_of(&daemon, "acme/items")["last_run"]["state"] == "completed");
    assert_eq!(name(), "new");
    until("the run is told", || receiver.requests().len() == 2);
    let told: Vec<Value> =
        receiver.requests().iter().map(|told| serde_json::from_str(&told.body).expect("JSON")).collect();
    assert_eq!(told.iter().map(|told| &told["data"]["added"]).collect::<Vec<_>>(), [1, 1], "{told:?}");
    daemon.stop();
}

#[test]
fn what_a_caller_who_has_gone_has_begun_is_saved() {
    let goes_on = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&goes_on);
    let api = Api::start(move |request| {
        while request.method == "POST" && !waits.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Reply::json(&json!({ "item": { "id": 7, "name": "new" } }))
    });
    let project = project(&api.url(), "  acme: { provider: api }\n", &[("items", "request: { get: /items }")]);
    with_actions(&project);
    let daemon = listen(&project);
    let body = "{ \"input\": { \"name\": \"new\" } }";
    let mut caller = TcpStream::connect(daemon.address()).expect("it listens");
    let head = "POST /v1/actions/acme/create HTTP/1.1\r\nhost: localhost";
    write!(caller, "{head}\r\nauthorization: Bearer {KEY}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect("sent");
    until("it is asked for", || api.requests().len() == 1);
    drop(caller);
    std::thread::sleep(Duration::from_millis(200));
    goes_on.store(true, Ordering::SeqCst);
    until("it is saved", || ids(&get(&daemon, "/v1/records/api/items")) == [7]);
    daemon.stop();
}

#[test]
fn questions_in_sql_are_answered_and_nothing_else_is_done() {
    let api = Api::start(|_| numbered(0..5));
    let project = project(&api.url(), "  acme: { provider: api }\n", &[("items", "request: { get: /items }")]);
    project.write("secret.csv", "a,b\n1,2\n");
    project.run();
    let daemon = listen(&project);
    let ask = |sql: &str, limit: usize| post(&daemon, "/v1/query", &json!({ "sql": sql, "limit": limit }).to_string());
    let answer = ask("select id, name from api.items order by id", 3);
    assert_eq!(
        answer.body["columns"],
        json!([{ "name": "id", "type": "BIGINT" }, { "name": "name", "type": "VARCHAR" }])
    );
    assert_eq!((&answer.body["rows"], &answer.body["more"]), (&json!([[0, "n0"], [1, "n1"], [2, "n2"]]), &json!(true)));
    assert_eq!(ask("select count(*) from headwater.runs", 1).body["rows"], json!([[1]]));
    let file = project.path().join("secret.csv");
    for wrong in [
        "delete from api.items",
        "select 1; drop table api.items",
        &format!("select * from read_csv('{}')", file.display()),
        &format!("from '{}'", file.display()),
        "create table api.more as select 1",
        "set memory_limit = '10GB'",
        "selec 1",
        "",
    ] {
        let denied = ask(wrong, 10);
        assert_eq!(
            (denied.status, &denied.body["error"]["code"]),
            (400, &json!("bad_request")),
            "{wrong}: {}",
            denied.body
        );
    }
    assert_eq!(ask("select 1", 0).status, 400);
    // a failed one leaves nothing behind
    assert_eq!(ask("select error('no')", 1).status, 400);
    assert_eq!(post(&daemon, "/v1/syncs/acme/items/run", "").status, 202);
    until("it has run", || {
        ask("select count(*) from headwater.runs where state = 'completed'", 1).body["rows"] == json!([[2]])
    });
    daemon.stop();
}

#[test]
fn deleted_rows_are_pruned_and_who_has_not_heard_of_them_must_begin_again() {
    let shrinks = Arc::new(AtomicBool::new(false));
    let small = Arc::clone(&shrinks);
    let api = Api::start(move |_| if small.load(Ordering::SeqCst) { numbered(2..5) } else { numbered(0..5) });
    let connections = "  acme: { provider: api }\n  beta: { provider: api }\n";
    let words = "request: { get: /items }\ndeletes: { absence: {} }";
    let project = project(&api.url(), connections, &[("items", words)]);
    assert_eq!(project.headwater(&["run"]).code, 0);
    let daemon = listen(&project);
    let early = get(&daemon, "/v1/records/api/items?connection=acme")["next"].as_str().expect("a place").to_owned();
    let early_beta =
        get(&daemon, "/v1/records/api/items?connection=beta")["next"].as_str().expect("a place").to_owned();
    shrinks.store(true, Ordering::SeqCst);
    for connection in ["acme", "beta"] {
        assert_eq!(post(&daemon, &format!("/v1/syncs/{connection}/items/run"), "").status, 202);
        until("it has run", || {
            get(&daemon, &format!("/v1/records/api/items/counts?connection={connection}"))["deleted"] == 2
        });
    }
    let counts = get(&daemon, "/v1/records/api/items/counts");
    assert_eq!((&counts["rows"], &counts["deleted"]), (&json!(6), &json!(4)));
    assert_eq!(counts["counts"][0], json!({ "connection": "acme", "variant": "", "rows": 3, "deleted": 2 }));
    let heard = get(&daemon, &format!("/v1/records/api/items?connection=acme&after={early}"));
    assert_eq!(heard["records"].as_array().expect("rows").len(), 2);
    let late = heard["next"].as_str().expect("a place").to_owned();
    // what lies behind the place stays
    let prune = |up_to: &str| {
        let body = json!({ "up_to": up_to, "connection": "acme" }).to_string();
        post(&daemon, "/v1/records/api/items/prune", &body)
    };
    assert_eq!(prune(&early).body, json!({ "rows": 0, "more": false }));
    assert_eq!(prune(&late).body, json!({ "rows": 2, "more": false }));
    assert_eq!(prune("later").status, 400);
    assert_eq!(prune("99999").status, 410);
    assert_eq!(get(&daemon, "/v1/records/api/items/counts?connection=acme")["deleted"], 0);
    let of = |query: &str| ask(&daemon, "GET", &format!("/v1/records/api/items?{query}"), "").status;
    assert_eq!(of(&format!("connection=acme&after={early}")), 410);
    assert_eq!(of(&format!("connection=acme&after={late}")), 200);
    // who reads the other connection has missed nothing; who reads all has
    assert_eq!((of(&format!("connection=beta&after={early_beta}")), of(&format!("after={early}"))), (200, 410));
    assert_eq!(get(&daemon, "/v1/records/api/items?connection=acme")["records"].as_array().expect("rows").len(), 3);
    daemon.stop();
}
