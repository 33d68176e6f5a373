//! What APIs and people send that is wrong: a clear error or a record in quarantine, never a panic, nothing lost and nothing half.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
                    pagination: { cursor: { from: $.next, query: after } }\ndeletes: { absence: {} }";
const MODEL: &str = "key: [id]\ncolumns:\n  id: { path: $.id, type: bigint }\n  name: $.name\n  \
                     small: { path: $.small, type: integer }\n  big: { path: $.big, type: hugeint }\n  \
                     price: { path: $.price, type: double }";

/// Page `after` of an API with six records on three pages.
fn good(request: &Request) -> Reply {
    let after = request.number("after", 0);
    let items: Vec<Value> =
        (after + 1..=after + 2).map(|id| json!({ "id": id, "name": format!("item {id}") })).collect();
    let next = if after < 4 { json!(after + 2) } else { Value::Null };
    Reply::json(&json!({ "items": items, "next": next }))
}

fn is_second(request: &Request) -> bool {
    request.param("after") == Some("2")
}

/// An API whose second page is bad.
fn second_page_is(bad: impl Fn() -> Reply + Send + Sync + 'static) -> Api {
    Api::start(move |request| if is_second(request) { bad() } else { good(request) })
}

fn items(records: Value) -> Reply {
    Reply::json(&json!({ "items": records, "next": 4 }))
}

fn ids(project: &Project) -> Vec<Value> {
    project.column("select id from api.items order by id")
}

/// How a bad second page must end a run.
struct Refusal {
    exit: i32,
    code: &'static str,
    /// how often the page is asked for
    attempts: usize,
    says: &'static [&'static str],
}

impl Default for Refusal {
    fn default() -> Self {
        Self { exit: 4, code: "not_decodable", attempts: 1, says: &[] }
    }
}

impl Refusal {
    /// The first page stays, the bad one leaves nothing, and the next run, with the API mended, ends complete. Gives the error.
    fn of(self, bad: impl Fn() -> Reply + Send + Sync + 'static) -> Value {
        self.with_model(MODEL, bad)
    }

    fn with_model(self, model: &str, bad: impl Fn() -> Reply + Send + Sync + 'static) -> Value {
        let Self { exit, code, attempts, says } = self;
        let api = second_page_is(bad);
        let project = Project::simple(&api.url(), SYNC, model);
        let report = project.run_fails(exit);
        let error = report["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        let message = error["message"].as_str().expect("a message");
        for word in says {
            assert!(message.contains(word), "`{word}` in: {message}");
        }
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "a next step: {error}");
        // pages behind a record that does not fit may have been asked for already
        assert_eq!(api.asked().iter().filter(|line| line.ends_with(PAGE)).count(), attempts);
        assert_eq!((&report["pages"], &report["added"], &report["quarantined"]), (&json!(1), &json!(2), &json!(0)));
        assert_eq!(ids(&project), [1, 2]);
        assert_eq!(project.column("select count(*) from headwater.quarantine"), [0]);
        assert_eq!(project.column("select error_code from headwater.runs"), [code]);

        api.becomes(good);
        let report = project.run();
        assert_eq!(api.asked(), ["GET /items?after=2", "GET /items?after=4"]);
        assert_eq!((&report["added"], &report["deletes_skipped"]), (&json!(4), &Value::Null));
        assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6]);
        error
    }
}

/// The request that a message must name.
const PAGE: &str = "/items?after=2";

#[test]
fn wrong_json() {
    let refusal = Refusal { says: &["GET http://127.0.0.1:", PAGE, "no JSON", "line 1"], ..Refusal::default() };
    refusal.of(|| Reply::text("application/json", r#"{"items": [{"id": 3}, {"id": oops}]}"#));
}

#[test]
fn json_that_ends_too_early() {
    let refusal = Refusal { says: &[PAGE, "ends in the middle of"], ..Refusal::default() };
    refusal.of(|| Reply::text("application/json", r#"{"items": [{"id": 3}, {"id": 4"#));
}

#[test]
fn html_instead_of_json() {
    let refusal = Refusal { says: &[PAGE, "HTML", "titled `Sign in`"], ..Refusal::default() };
    refusal.of(|| {
        Reply::text("text/html", "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>hello</body></html>")
    });
}

#[test]
fn a_truncated_body_is_asked_for_again_and_then_an_error() {
    let refusal = Refusal { exit: 3, code: "truncated", attempts: 3, says: &[PAGE, "the answer ended before its end"] };
    // what came of it would be whole JSON: it must not count
    refusal.of(|| Reply::text("application/json", "{\"items\": [{\"id\": 3}], \"next\": null}          ").cut_at(38));
}

#[test]
fn an_error_object_with_status_200() {
    let refusal = Refusal {
        exit: 3,
        code: "error_in_body",
        says: &[PAGE, "error in the body", "quota is used up"],
        ..Refusal::default()
    };
    refusal.of(|| Reply::json(&json!({ "error": { "code": 7, "message": "quota is used up" } })));
}

#[test]
fn an_error_object_beside_an_empty_list_with_status_200() {
    let refusal = Refusal { exit: 3, code: "error_in_body", says: &[PAGE, "not_authed"], ..Refusal::default() };
    refusal.of(|| Reply::json(&json!({ "items": [], "errors": ["not_authed"], "next": null })));
}

#[test]
fn ok_false_with_status_200() {
    let refusal = Refusal { exit: 3, code: "error_in_body", says: &[PAGE, "\"ok\":false"], ..Refusal::default() };
    refusal.of(|| Reply::json(&json!({ "ok": false })));
}

#[test]
fn invalid_utf8() {
    let refusal = Refusal { says: &[PAGE, "no UTF-8", r"\xff"], ..Refusal::default() };
    refusal.of(|| Reply::bytes("application/json", b"{\"items\": [{\"id\": 3, \"name\": \"caf\xff\"}]}"));
}

#[test]
fn half_a_character() {
    // what servers send that cut text by UTF-16 units
    let api = second_page_is(|| {
        Reply::text("application/json", r#"{"items": [{"id": 3, "name": "cut \ud83d"}], "next": 4}"#)
    });
    let project = Project::simple(&api.url(), SYNC, MODEL);
    assert_eq!(project.run()["added"], 5);
    assert_eq!(project.column("select name from api.items where id = 3"), ["cut \u{fffd}"]);
}

#[test]
fn an_empty_body() {
    let refusal = Refusal { says: &[PAGE, "empty"], ..Refusal::default() };
    refusal.of(|| Reply::text("application/json", " \n"));
}

#[test]
fn deep_nesting() {
    let refusal = Refusal { says: &[PAGE, "nests more than 128"], ..Refusal::default() };
    refusal.of(|| {
        let (open, close) = (r#"{"a":["#.repeat(500_000), "]}".repeat(500_000));
        Reply::text("application/json", &format!(r#"{{"items": [{{"id": 3, "name": {open}{close}}}]}}"#))
    });
}

#[test]
fn no_records_where_they_should_be() {
    let refusal =
        Refusal { code: "no_records", says: &[PAGE, "nothing at `$.items[*]`", "{\"data\":[]}"], ..Refusal::default() };
    refusal.of(|| Reply::json(&json!({ "data": [] })));
}

#[test]
fn a_scalar_where_the_records_should_be() {
    let refusal =
        Refusal { code: "no_records", says: &[PAGE, "`$.items[*]`", "text", "maintenance"], ..Refusal::default() };
    refusal.of(|| Reply::json(&json!({ "items": "maintenance" })));
}

#[test]
fn a_list_where_an_object_should_be() {
    let refusal = Refusal { code: "no_records", says: &[PAGE, "nothing at `$.items[*]`"], ..Refusal::default() };
    refusal.of(|| Reply::json(&json!([1, 2, 3])));
}

#[test]
fn a_path_to_the_list_instead_of_its_items() {
    let api = Api::start(good);
    let project = Project::simple(&api.url(), &SYNC.replace("$.items[*]", "$.items"), MODEL);
    let report = project.run_fails(4);
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("`$.items` is a list; its items are `$.items[*]`"), "{message}");
}

#[test]
fn a_null_list_is_an_empty_page() {
    let api = second_page_is(|| items(Value::Null));
    let report = Project::simple(&api.url(), SYNC, MODEL).run();
    assert_eq!((&report["pages"], &report["added"]), (&json!(3), &json!(4)));
}

#[test]
fn no_content_is_the_empty_last_page() {
    let api = second_page_is(|| Reply::status(204, ""));
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let report = project.run();
    assert_eq!((&report["pages"], &report["records"]), (&json!(2), &json!(2)));
    assert_eq!(ids(&project), [1, 2]);
}

#[test]
fn unauthorized() {
    let refusal = Refusal {
        exit: 3,
        code: "http_status",
        says: &[PAGE, "401 Unauthorized", "token expired"],
        ..Refusal::default()
    };
    let error = refusal.of(|| Reply::status(401, r#"{"message":"token expired"}"#));
    assert!(error["hint"].as_str().expect("a hint").contains("credentials"));
}

#[test]
fn not_found() {
    let refusal = Refusal { exit: 3, code: "http_status", says: &[PAGE, "404 Not Found"], ..Refusal::default() };
    let error = refusal.of(|| Reply::status(404, "{}"));
    assert!(error["hint"].as_str().expect("a hint").contains("base_url"));
}

#[test]
fn too_many_requests_without_end() {
    let says = &[PAGE, "429 Too Many Requests", "3 attempts"];
    Refusal { exit: 3, code: "http_status", attempts: 3, says }
        .of(|| Reply::status(429, "{}").with("retry-after", "0"));
}

#[test]
fn a_server_that_fails_without_end() {
    let says = &[PAGE, "500 Internal Server Error", "3 attempts"];
    // a body that no terminal should obey
    Refusal { exit: 3, code: "http_status", attempts: 3, says }.of(|| Reply::status(500, "\u{1b}[2J\u{7}oops"));
}

#[test]
fn a_response_that_says_it_is_too_large() {
    let says = &[PAGE, "larger than 64 MiB"];
    let refusal = Refusal { exit: 3, code: "response_too_large", attempts: 1, says };
    refusal.of(|| Reply::bytes("application/json", &vec![b' '; (64 << 20) + 1]).cut_at(0));
}

#[test]
fn a_response_that_grows_too_large() {
    let says = &[PAGE, "larger than 64 MiB"];
    let refusal = Refusal { exit: 3, code: "response_too_large", attempts: 1, says };
    refusal.of(|| Reply::bytes("application/json", &vec![b' '; 1 << 20]).in_chunks(65));
}

#[test]
fn an_invalid_record_where_the_model_says_fail() {
    let says = &["`[3]`", "column `small`", "`\"many\"` does not fit `INTEGER`"];
    let refusal = Refusal { code: "invalid_record", says, ..Refusal::default() };
    refusal.with_model(&format!("{MODEL}\non_invalid: fail"), || {
        items(json!([{ "id": 4 }, { "id": 3, "small": "many" }]))
    });
}

#[test]
fn a_failure_does_not_wait_for_a_page_that_is_asked_for() {
    // the third page is never answered while the run lasts
    let (done, ended) = sync_channel::<()>(1);
    let ended = Mutex::new(ended);
    let api = Api::start(move |request| match request.number("after", 0) {
        2 => items(json!([{ "id": 3, "small": "many" }])),
        4 => {
            ended.lock().expect("not poisoned").recv().expect("the run has ended");
            Reply::status(500, "{}")
        }
        _ => good(request),
    });
    let project = Project::simple(&api.url(), SYNC, &format!("{MODEL}\non_invalid: fail"));
    // a run that waits sees the request time out, and makes it again
    let provider = "provider: api\nretry: { attempts: 2, backoff: { base: 1ms } }\ntimeout: { request: 5s }";
    project.write("providers/api.yaml", &format!("{provider}\nbase_url: {}\n", api.url()));
    assert_eq!(project.run_fails(4)["error"]["code"], "invalid_record");
    done.send(()).expect("there is room");
    let third = api.asked().iter().filter(|line| line.ends_with("after=4")).count();
    assert!(third <= 1, "the third page was asked for {third} times");
    assert_eq!(ids(&project), [1, 2]);
}

#[test]
fn an_invalid_value_where_the_model_says_set_null() {
    let api =
        second_page_is(|| items(json!([{ "id": 3, "name": "kept", "small": "many", "price": true }, { "small": 1 }])));
    let project = Project::simple(&api.url(), SYNC, &format!("{MODEL}\non_invalid: set_null"));
    let report = project.run();
    assert_eq!((&report["added"], &report["nulled"], &report["quarantined"]), (&json!(5), &json!(2), &json!(1)));
    assert_eq!(
        project.rows("select name, small, price from api.items where id = 3"),
        [json!({ "name": "kept", "small": null, "price": null })]
    );
    assert_eq!(project.column("select code from headwater.quarantine"), ["missing_key"]);
}

#[test]
fn nothing_listens() {
    let gone = Api::start(good).url();
    let project = Project::simple(&gone, SYNC, MODEL);
    let report = project.run_fails(3);
    let error = &report["error"];
    assert_eq!(error["code"], "connection_refused");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(&format!("GET {gone}/items: nothing listens")), "{message}");
    assert!(error["hint"].as_str().expect("a hint").contains("port"));
    assert_eq!(report["requests"], 3, "it is tried again");
    let api = Api::start(good);
    project.write("providers/api.yaml", &format!("provider: api\nbase_url: {}\n", api.url()));
    assert_eq!(project.run()["added"], 6);
}

/// Runs with a second page that is accepted, and gives the report, and id, name, small, big and price of its rows.
fn accepted(page: Value) -> (Value, Vec<Value>, Vec<Value>) {
    let api = second_page_is(move || items(page.clone()));
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let report = project.run();
    assert_eq!((&report["pages"], &report["state"]), (&json!(3), &json!("completed")));
    let rows = project.rows("select id, name, small, big, price from api.items where id in (3, 4) order by id");
    let quarantine =
        project.rows("select key, column_name, code, reason, record from headwater.quarantine order by all");

    api.becomes(good);
    let healed = project.run();
    assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6], "a mended record is a row: {healed}");
    let left = project.column("select count(*) from headwater.quarantine where key in ('[3]', '[4]')");
    assert_eq!(left, [0], "a mended record leaves the quarantine");
    (report, rows, quarantine)
}

#[test]
fn a_key_that_stands_twice_on_a_page() {
    let (report, rows, quarantine) =
        accepted(json!([{ "id": 3, "name": "first" }, { "id": 4, "name": "other" }, { "id": 3, "name": "last" }]));
    assert_eq!((&report["duplicates"], &report["added"], &report["records"]), (&json!(1), &json!(6), &json!(7)));
    assert_eq!(rows[0]["name"], "last");
    assert_eq!((rows.len(), quarantine.len()), (2, 0));
}

#[test]
fn a_key_that_stands_on_two_pages() {
    let api = second_page_is(|| items(json!([{ "id": 1, "name": "again" }])));
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let report = project.run();
    // one commit group or two: the last one wins
    assert_eq!(report["records"], 5);
    assert_eq!(project.column("select name from api.items where id = 1"), ["again"]);
    assert_eq!(project.column("select count(*) from api.items"), [4]);
}

#[test]
fn a_member_that_stands_twice_in_an_object() {
    let api = second_page_is(|| {
        Reply::text(
            "application/json",
            r#"{"items": [], "items": [{"id": 9, "name": "a", "id": 3, "name": "b"}], "next": 4}"#,
        )
    });
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.run();
    assert_eq!(project.rows("select id, name from api.items where id in (3, 9)"), [json!({ "id": 3, "name": "b" })]);
}

#[test]
fn a_record_without_its_key() {
    let (report, rows, quarantine) = accepted(json!([{ "id": 3 }, { "name": "who?" }, { "id": null }, { "id": "" }]));
    assert_eq!((&report["quarantined"], &report["added"]), (&json!(3), &json!(5)));
    assert_eq!(rows.len(), 1);
    for record in &quarantine {
        assert_eq!((&record["code"], &record["column_name"]), (&json!("missing_key"), &json!("id")));
    }
    assert!(quarantine.iter().any(|record| record["record"] == r#"{"name":"who?"}"#), "{quarantine:?}");
}

#[test]
fn a_number_too_large_for_its_column() {
    let (report, rows, quarantine) =
        accepted(json!([{ "id": 3, "small": 2_147_483_648_i64 }, { "id": 4, "small": 2_147_483_647 }]));
    assert_eq!((&report["quarantined"], rows.len()), (&json!(1), 1));
    assert_eq!(rows[0]["small"], 2_147_483_647);
    assert_eq!(
        (&quarantine[0]["key"], &quarantine[0]["column_name"], &quarantine[0]["code"]),
        (&json!("[3]"), &json!("small"), &json!("out_of_range"))
    );
    assert_eq!(
        quarantine[0]["reason"],
        "`2147483648` does not fit `INTEGER`: it is not within -2147483648 to 2147483647"
    );
    assert_eq!(quarantine[0]["record"], r#"{"id":3,"small":2147483648}"#);
}

#[test]
fn numbers_too_large_for_anything() {
    let huge = "9".repeat(400);
    let body = format!(
        r#"{{"items": [{{"id": 3, "big": {huge}}}, {{"id": 4, "price": 1e999}}, {{"id": 5e30}}, {{"id": 8, "price": 1e-999, "big": 1e2}}], "next": 4}}"#
    );
    let api = second_page_is(move || Reply::text("application/json", &body));
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let report = project.run();
    assert_eq!((&report["quarantined"], &report["added"]), (&json!(3), &json!(5)));
    assert_eq!(
        project.rows("select price, big::integer as big from api.items where id = 8"),
        [json!({ "price": 0.0, "big": 100 })]
    );
    let found = project.rows("select key, code from headwater.quarantine order by key");
    let found: Vec<_> = found.iter().map(|row| (row["key"].as_str().unwrap(), row["code"].as_str().unwrap())).collect();
    assert_eq!(found, [("[3]", "out_of_range"), ("[4]", "out_of_range"), ("[5e30]", "missing_key")]);
}

#[test]
fn a_number_of_a_million_digits() {
    let refusal = Refusal { says: &[PAGE, "4300 digits"], ..Refusal::default() };
    refusal.of(|| {
        Reply::text("application/json", &format!(r#"{{"items": [{{"id": 3, "big": {}}}]}}"#, "9".repeat(1_000_000)))
    });
}

#[test]
fn records_that_are_no_objects() {
    let (report, rows, quarantine) = accepted(json!([{ "id": 3 }, 17, "text", null, ["list"], true]));
    assert_eq!((&report["quarantined"], rows.len()), (&json!(5), 1));
    let mut records: Vec<_> = quarantine.iter().map(|record| record["record"].as_str().unwrap()).collect();
    records.sort_unstable();
    assert_eq!(records, ["\"text\"", "17", "[\"list\"]", "null", "true"]);
    let code = |record: &Value| record["code"].as_str().unwrap().to_owned();
    assert!(
        quarantine.iter().all(
            |record| code(record) == if record["record"] == "[\"list\"]" { "missing_key" } else { "not_an_object" }
        )
    );
}

#[test]
fn ten_megabytes_of_text_in_one_record() {
    let (report, rows, quarantine) =
        accepted(json!([{ "id": 3, "name": "é".repeat(5 << 20) }, { "id": 4, "name": "x".repeat(7 << 20) }]));
    assert_eq!((&report["quarantined"], &report["added"]), (&json!(1), &json!(5)));
    assert_eq!(rows[0]["name"].as_str().map(str::len), Some(7 << 20), "what fits is a row");
    let record = &quarantine[0];
    assert_eq!((&record["key"], &record["code"]), (&json!("[3]"), &json!("record_too_large")));
    let reason = record["reason"].as_str().expect("a reason");
    assert!(reason.contains("more than 8388608") && reason.contains("only the first 65536 bytes"), "{reason}");
    assert!(record["record"].as_str().is_some_and(|text| text.len() <= 64 << 10 && text.starts_with("{\"id\":3,")));
}

#[test]
#[cfg(target_os = "linux")]
fn many_huge_records_do_not_fill_the_memory() {
    // twelve pages of 20 MB: the last request looks at what the program has taken at most
    let (pid, peak) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(String::new())));
    let (child, seen) = (Arc::clone(&pid), Arc::clone(&peak));
    let api = Api::start(move |request| {
        let page = request.number("after", 0);
        if page == 11 {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", child.load(Ordering::SeqCst))).expect("a process");
            *seen.lock().unwrap() = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak").to_owned();
        }
        let records = json!([{ "id": page * 2, "name": "x".repeat(10 << 20) }, { "id": page * 2 + 1, "name": "y".repeat(10 << 20) }]);
        let next = if page < 11 { json!(page + 1) } else { Value::Null };
        Reply::json(&json!({ "items": records, "next": next }))
    });
    let project = Project::simple(&api.url(), SYNC, MODEL);
    // the first request waits for the process id by this lock
    let mut running = project.spawn(&["run"]);
    pid.store(running.id(), Ordering::SeqCst);
    assert!(running.wait().expect("it ends").success());
    let kilobytes: u64 = peak.lock().unwrap().split_whitespace().nth(1).expect("a number").parse().expect("a number");
    assert!(kilobytes < 300 << 10, "{kilobytes} kB at most, for pages of 20 MB");
    assert_eq!(project.column("select count(*) from headwater.quarantine where code = 'record_too_large'"), [24]);
}

/// A run that must find that the pages never end: gives the error and how many requests it took.
fn endless(words: &str, answer: impl Fn(usize) -> Value + Send + Sync + 'static) -> (Project, Api, Value, usize) {
    let api = Api::start(move |request| Reply::json(&answer(request.number("after", 0))));
    let sync = format!(
        "request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\ndeletes: {{ absence: {{}} }}\n\
         pagination: {{ cursor: {{ from: $.next, query: after{words} }} }}"
    );
    let project = Project::simple(&api.url(), &sync, MODEL);
    let report = project.run_fails(4);
    assert!(report["error"]["hint"].is_string());
    let requests = api.asked().len();
    (project, api, report["error"].clone(), requests)
}

fn page(after: usize, next: impl Into<Value>) -> Value {
    json!({ "items": [{ "id": after + 1 }], "next": next.into() })
}

#[test]
fn a_cursor_that_stays_the_same() {
    let (project, api, error, requests) = endless("", |after| page(after, 1));
    assert_eq!((&error["code"], requests), (&json!("cursor_cycle"), 2));
    assert!(error["message"].as_str().expect("a message").contains("`1` a second time"), "{error}");
    api.becomes(|request| match request.number("after", 0) {
        after if after < 3 => Reply::json(&page(after, after + 1)),
        after => Reply::json(&page(after, Value::Null)),
    });
    project.run();
    assert_eq!(api.asked(), ["GET /items?after=1", "GET /items?after=2", "GET /items?after=3"]);
    assert_eq!(ids(&project), [1, 2, 3, 4]);
}

#[test]
fn cursors_that_go_in_a_circle() {
    let (project, api, error, requests) = endless("", |after| page(after, if after == 4 { 2 } else { after + 1 }));
    assert_eq!(error["code"], "cursor_cycle");
    assert!(requests <= 12, "{requests} requests to find a circle of three");
    api.becomes(|request| match request.number("after", 0) {
        after if after < 5 => Reply::json(&page(after, after + 1)),
        after => Reply::json(&page(after, Value::Null)),
    });
    project.run();
    assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn cursors_that_are_always_new() {
    let (project, api, error, requests) = endless(", max_pages: 20", |after| page(after, after + 1));
    assert_eq!((&error["code"], requests), (&json!("pages_max"), 20));
    assert!(error["message"].as_str().expect("a message").contains("20 pages"), "{error}");
    assert_eq!(ids(&project).len(), 19, "the page that is one too many writes nothing");
    // the list really is that long
    api.becomes(|request| match request.number("after", 0) {
        after if after < 24 => Reply::json(&page(after, after + 1)),
        after => Reply::json(&page(after, Value::Null)),
    });
    let sync = std::fs::read_to_string(project.path().join("integrations/api/syncs/items.yaml")).expect("a file");
    project.write("integrations/api/syncs/items.yaml", &sync.replace("max_pages: 20", "max_pages: 50"));
    project.run();
    assert_eq!(api.asked()[0], "GET /items?after=19", "it goes on where it stopped");
    assert_eq!(ids(&project).len(), 25);
}

#[test]
fn empty_pages_without_end() {
    let (project, api, error, requests) = endless("", |after| match after {
        0 => page(0, 1),
        after => json!({ "items": [], "next": after + 1 }),
    });
    assert_eq!((&error["code"], requests), (&json!("empty_pages"), 101));
    assert_eq!(ids(&project), [1]);
    api.becomes(|request| Reply::json(&page(request.number("after", 0), Value::Null)));
    project.run();
    assert_eq!(ids(&project).len(), 2);
}

#[test]
fn a_next_url_that_leads_to_itself() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 1 }], "next": "/items?page=2" })));
    let sync =
        "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { next_url: { from: $.next } }";
    let report = Project::simple(&api.url(), sync, MODEL).run_fails(4);
    assert_eq!((&report["error"]["code"], api.asked().len()), (&json!("cursor_cycle"), 2));
}

#[test]
fn a_next_url_that_is_none_is_not_the_end() {
    let sync = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { next_url: { from: $.next } }\ndeletes: { absence: {} }";
    for next in [json!("http://[half"), json!({ "href": "/items?after=2" })] {
        let api = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 1 }, { "id": 2 }], "next": Value::Null })));
        let project = Project::simple(&api.url(), sync, MODEL);
        project.run();
        let shown = next.clone();
        api.becomes(move |_| Reply::json(&json!({ "items": [{ "id": 1 }], "next": next })));
        let error = project.run_fails(4)["error"].clone();
        assert_eq!(error["code"], "bad_next_url");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("/items names `") && message.contains("which is not a URL"), "{shown}: {message}");
        assert_eq!(project.column("select id from api.items_live order by id"), [1, 2], "nothing is taken for deleted");
    }
}

/// Wrong files, the code that says so, the place, and a word of the message or hint.
const MISTAKES: [(&str, &str, &str, Option<(u64, u64)>, &str); 14] = [
    ("headwater.yaml", "database: [test.duckdb", "E001", Some((1, 11)), "`[` is never closed"),
    ("headwater.yaml", "database: test.duckdb\ndatabase: other.duckdb", "E002", Some((2, 1)), "stands twice"),
    ("headwater.yaml", "database: test.duckdb\nconections: {}", "E010", Some((2, 1)), "did you mean `connections`?"),
    ("headwater.yaml", "- a list", "E012", None, "a map"),
    ("headwater.yaml", "database: 17", "E012", Some((1, 11)), "put it in quotes"),
    (
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: apis }",
        "E020",
        Some((3, 21)),
        "did you mean `api`?",
    ),
    ("providers/api.yaml", "provider: api\nbase_url: not a url", "E040", None, "is not a base URL"),
    ("providers/api.yaml", "\tprovider: api", "E001", Some((1, 1)), "spaces"),
    (
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: Item\nrequest: { get: /items, query: { since: \"{{ watermrk }}\" } }\nresponse: { records: \"$[*]\" }",
        "E032",
        Some((3, 41)),
        "`watermrk`",
    ),
    (
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: Item\nrequest: { get: /items }\nresponse: { records: \"$.items[\" }",
        "E030",
        Some((4, 22)),
        "does not parse",
    ),
    (
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: Itm\nrequest: { get: /items }\nresponse: { records: \"$[*]\" }",
        "E022",
        Some((2, 8)),
        "did you mean `Item`?",
    ),
    (
        "integrations/api/models/Item.yaml",
        "model: Item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigin } }",
        "E043",
        Some((4, 36)),
        "did you mean `bigint`?",
    ),
    (
        "integrations/api/models/Item.yaml",
        "model: Item\ntable: items\nkey: [ident]\ncolumns: { id: $.id }",
        "E050",
        Some((3, 7)),
        "there is no column `ident`",
    ),
    (
        "integrations/api/models/Item.yaml",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "E003",
        None,
        "nested too deeply",
    ),
];

#[test]
fn wrong_yaml() {
    for (file, text, code, place, says) in MISTAKES {
        let project = Project::simple("http://127.0.0.1:9", SYNC, MODEL);
        project.write(file, text);
        let output = project.headwater(&["check", "--json"]);
        assert_eq!(output.code, 2, "{text}");
        let found = output.json();
        let mistake =
            found.iter().find(|mistake| mistake["code"] == code).unwrap_or_else(|| panic!("{code} in {found:?}"));
        assert_eq!(mistake["file"], file);
        if let Some((line, column)) = place {
            assert_eq!((mistake["line"].as_u64(), mistake["column"].as_u64()), (Some(line), Some(column)), "{mistake}");
        }
        assert!(format!("{} {}", mistake["message"], mistake["hint"]).contains(says), "{mistake}");
    }
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once_and_nothing_runs() {
    let api = Api::start(good);
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let mended =
        [("integrations/api/syncs/items.yaml", "modle: Item"), ("integrations/api/models/Item.yaml", "kye: [id]")];
    for (file, extra) in mended {
        let text = std::fs::read_to_string(project.path().join(file)).expect("a file");
        project.write(file, &format!("{text}\n{extra}\n"));
    }
    let output = project.headwater(&["run"]);
    assert_eq!(output.code, 2);
    for word in ["did you mean `model`?", "did you mean `key`?", "items.yaml:8:1", "Item.yaml:11:1", "2 mistakes"] {
        assert!(output.stderr.contains(word), "`{word}` in {}", output.stderr);
    }
    assert!(api.asked().is_empty() && !project.database().exists());
    for (file, extra) in mended {
        let text = std::fs::read_to_string(project.path().join(file)).expect("a file");
        project.write(file, &text.replace(extra, ""));
    }
    assert_eq!(project.run()["added"], 6);
}

#[test]
fn yaml_that_is_no_text() {
    let project = Project::simple("http://127.0.0.1:9", SYNC, MODEL);
    std::fs::write(project.path().join("providers/api.yaml"), b"provider: api\xff").expect("a file");
    let output = project.headwater(&["run"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("providers/api.yaml"), "{}", output.stderr);
}

#[test]
fn a_table_may_have_the_name_of_a_kind_of_file() {
    let api = Api::start(|_| Reply::json(&json!([{ "id": 1 }, { "id": 2 }])));
    for name in ["json", "csv", "parquet"] {
        let project = Project::simple(
            &api.url(),
            "request: { get: /items }\nresponse: { records: \"$[*]\" }\ndeletes: { absence: {} }",
            "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }\nhistory: true",
        );
        let model =
            format!("model: Item\ntable: {name}\nkey: [id]\ncolumns: {{ id: {{ path: $.id, type: bigint }} }}\n");
        project.write("integrations/api/models/Item.yaml", model);
        assert_eq!(project.run()["added"], 2, "{name}");
        assert_eq!(project.run()["unchanged"], 2, "{name}");
    }
}
