//! Budgets of APIs: what their headers say is left, runs that are parked and go on, and servers that have too many requests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }";
const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
                    pagination: { cursor: { from: $.next, query: page } }\ndeletes: { absence: {} }";
/// What the server's clock says: it is years behind, so a time that is read against another clock is far off.
const DATE: &str = "Mon, 10 Jun 2024 06:13:20 GMT";

/// Three pages of one record.
fn page(request: &Request) -> Reply {
    let page = request.number("page", 1);
    let next = if page < 3 { json!(page + 1) } else { Value::Null };
    Reply::json(&json!({ "items": [{ "id": page }], "next": next }))
}

fn project(api: &Api, provider: &str) -> Project {
    let project = Project::simple(&api.url(), SYNC, MODEL);
    with_provider(&project, api, provider);
    project
}

fn with_provider(project: &Project, api: &Api, words: &str) {
    let retry = "retry: { attempts: 3, backoff: { base: 1ms, max: 5ms } }";
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {}\n{retry}\n{words}\n", api.url()));
}

/// A run by the program: exit code and report.
fn run(project: &Project) -> (i32, Value) {
    let output = project.headwater(&["run", "--json"]);
    (output.code, output.report().remove(0))
}

fn ids(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by id")
}

fn until(report: &Value) -> DateTime<Utc> {
    report["paused_until"].as_str().expect("a time").parse().expect("RFC 3339")
}

#[test]
fn a_server_that_asks_for_more_than_a_run_waits_parks_it() {
    let api = Api::start(|request| match request.param("page") {
        Some("2") => Reply::status(429, "{\"error\":\"daily limit\"}").with("retry-after", "86400"),
        _ => page(request),
    });
    let project = project(&api, "");
    let before = Utc::now();
    let output = project.headwater(&["run"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(
        output.stdout.contains("answered 429: {\"error\":\"daily limit\"}; nothing more is sent before 20"),
        "{}",
        output.stdout
    );
    assert_eq!(ids(&project), [1], "what was read before stays");
    let row = project.rows("select state, error_code, error, pages from headwater.runs").remove(0);
    assert_eq!(
        (&row["state"], &row["error_code"], &row["pages"]),
        (&json!("paused"), &json!("rate_limited"), &json!(1))
    );
    let status = project.headwater(&["status"]);
    assert!(status.stdout.contains("nothing more is sent before 20") && status.stderr.is_empty(), "{status:?}");

    let report = run(&project).1;
    assert_eq!(
        (&report["state"], &report["paused_by"], &report["error"]),
        (&json!("paused"), &json!("rate_limit"), &Value::Null)
    );
    let wait = until(&report) - before;
    assert!((86_400..86_500).contains(&wait.num_seconds()), "{wait}");
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=2", "GET /items?page=2"]);

    api.becomes(page);
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"], &report["resumed"]), (0, &json!("completed"), &json!(true)));
    assert_eq!(api.asked(), ["GET /items?page=2", "GET /items?page=3"]);
    assert_eq!(ids(&project), [1, 2, 3]);
}

#[test]
fn each_kind_of_reset_holds_the_next_request() {
    // an hour after `DATE`
    for (kind, text) in [
        ("epoch_s", "1718003600"),
        ("epoch_ms", "1718003600000"),
        ("seconds", "3600"),
        ("seconds", "3600.0, 3600;w=3600"),
        ("milliseconds", "3600000"),
        ("rfc3339", "2024-06-10T07:13:20Z"),
        ("http_date", "Mon, 10 Jun 2024 07:13:20 GMT"),
    ] {
        let api = Api::start(move |request| page(request).with("X-Left", "0").with("X-Reset", text).with("Date", DATE));
        let words =
            format!("rate_limit: {{ headers: {{ remaining: X-Left, reset: {{ name: X-Reset, as: {kind} }} }} }}");
        let project = project(&api, &words);
        let report = project.run_at("2025-01-01", Run::default());
        assert_eq!((&report["state"], &report["requests"]), (&json!("paused"), &json!(2)), "{kind} {report}");
        // a bit is over already, and the time at which it is told is another clock's
        let wait = until(&report) - "2025-01-01T00:00:00Z".parse::<DateTime<Utc>>().expect("a time");
        assert!((3_590..=3_600).contains(&wait.num_seconds()), "{kind} {wait}");
        assert_eq!(api.asked().len(), 1, "{kind}");
        let reason = report["paused_reason"].as_str().expect("a reason");
        assert!(reason.contains("is not sent: the server lets no more requests come for now"), "{reason}");
    }
}

#[test]
fn a_short_reset_is_waited_for_and_the_server_never_has_to_refuse() {
    let last = Mutex::new(None::<Instant>);
    let api = Api::start(move |request| {
        let mut last = last.lock().expect("not poisoned");
        if last.replace(Instant::now()).is_some_and(|last| last.elapsed() < Duration::from_millis(150)) {
            return Reply::status(500, "too early");
        }
        page(request).with("X-Left", "0").with("X-Limit", "1").with("X-Reset", "150")
    });
    let words =
        "rate_limit: { headers: { remaining: X-Left, limit: X-Limit, reset: { name: X-Reset, as: milliseconds } } }";
    let (code, report) = run(&project(&api, words));
    assert_eq!((code, &report["state"], &report["requests"]), (0, &json!("completed"), &json!(3)));
}

#[test]
fn what_is_absurd_in_the_headers_does_no_harm() {
    for (left, reset) in [
        ("-1", "-1"),
        ("many", "soon"),
        ("", ""),
        ("5", "1e99"),
        ("0", "-3600"),
        ("0", ""),
        ("99999999999999999999", "1.5"),
    ] {
        let api = Api::start(move |request| page(request).with("X-Left", left).with("X-Reset", reset));
        let words =
            "rate_limit: { headers: { remaining: X-Left, limit: X-Left, reset: { name: X-Reset, as: seconds } } }";
        let report = run(&project(&api, words)).1;
        assert_eq!((&report["state"], &report["requests"]), (&json!("completed"), &json!(3)), "{left} {reset}");
    }
}

#[test]
fn a_quota_of_the_provider_s_own_parks_too_and_the_next_run_goes_on() {
    let api = Api::start(page);
    let project = project(&api, "rate_limit: { quotas: [\"1 per 1h\"] }");
    for pages in 1..3 {
        let (code, report) = run(&project);
        assert_eq!((code, &report["state"], &report["pages"]), (0, &json!("paused"), &json!(1)), "{report}");
        let reason = report["paused_reason"].as_str().expect("a reason");
        assert!(reason.contains("the quota of 1 per 1h is used up; nothing more is sent before"), "{reason}");
        assert_eq!(ids(&project).len(), pages);
    }
    assert_eq!(run(&project).1["state"], "completed");
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=2", "GET /items?page=3"]);
}

#[test]
fn wait_max_says_how_long_a_run_waits() {
    let busy = AtomicUsize::new(0);
    let answer = move |request: &Request| {
        let is_first = busy.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { Reply::status(429, "{}").with("retry-after", "1") } else { page(request) }
    };
    let api = Api::start(answer);
    let project = project(&api, "rate_limit: { wait_max: 500ms }");
    assert_eq!(run(&project).1["state"], "paused");
    let report = run(&project).1;
    assert_eq!((&report["state"], &report["requests"]), (&json!("completed"), &json!(3)));
}

const BOXES: &str = "for_each: [{ as: box, from: { values: [a, b, c, d] } }]\nrequest: { get: \"/items/{{ parent.box }}\" }\n\
                     response: { records: \"$.items[*]\" }\n";

fn of_box(request: &Request) -> Reply {
    let id = request.path.bytes().last().map(|letter| letter - b'a');
    Reply::json(&json!({ "items": [{ "id": id }] }))
}

#[test]
fn a_parked_partition_is_not_skipped_and_the_others_are_not_asked_for() {
    let api = Api::start(|request| match request.path.as_str() {
        "/items/b" => Reply::status(503, "{}").with("retry-after", "7200"),
        _ => of_box(request),
    });
    let project = Project::simple(&api.url(), &format!("{BOXES}concurrency: 1"), MODEL);
    let (code, report) = run(&project);
    assert_eq!(
        (code, &report["state"], &report["skipped"], &report["error"]),
        (0, &json!("paused"), &json!(0), &Value::Null),
        "{report}"
    );
    assert_eq!(api.asked(), ["GET /items/a", "GET /items/b"]);
    api.becomes(of_box);
    assert_eq!(run(&project).1["state"], "completed");
    assert_eq!(api.asked(), ["GET /items/b", "GET /items/c", "GET /items/d"]);
    assert_eq!(ids(&project), [0, 1, 2, 3]);
}

#[test]
fn what_parks_one_sync_parks_the_others_of_its_connection() {
    let api = Api::start(|request| match request.param("page") {
        Some(_) => Reply::status(429, "{}").with("retry-after", "7200"),
        None => page(request),
    });
    let project = Project::simple(&api.url(), SYNC, MODEL);
    // it goes over the rows of the first, so it comes after it; and there is one row
    project.write(
        "integrations/api/syncs/others.yaml",
        "sync: others\nmodel: { model: Other, table: others, key: [id], columns: { id: $.id } }\n\
         for_each: [{ as: row, from: { rows: { sync: items } } }]\n\
         request: { get: \"/others/{{ parent.row.id }}\" }\nresponse: { records: \"$.items[*]\" }\n",
    );
    let output = project.headwater(&["run", "--json"]);
    let states: Vec<Value> = output.report().iter().map(|report| report["state"].clone()).collect();
    assert_eq!((output.code, states), (0, vec![json!("paused"), json!("paused")]), "{}", output.stdout);
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=2"]);
    // another run asks again
    api.becomes(|request| if request.path == "/items" { page(request) } else { Reply::json(&json!({ "items": [] })) });
    assert_eq!(project.headwater(&["run"]).code, 0);
    assert_eq!(api.asked().len(), 5);
}

#[test]
fn a_server_with_too_many_requests_gets_fewer_at_once_until_it_has_room() {
    let (inside, refused) = (AtomicUsize::new(0), std::sync::Arc::new(AtomicUsize::new(0)));
    let count = std::sync::Arc::clone(&refused);
    let api = Api::start(move |request| {
        let others = inside.fetch_add(1, Ordering::SeqCst);
        // No test waits for this: it is the time that an answer takes to make. Without it requests do not meet in the server, however many
        // are sent at once, so it would refuse none.
        std::thread::sleep(Duration::from_millis(4));
        inside.fetch_sub(1, Ordering::SeqCst);
        if others >= 2 {
            count.fetch_add(1, Ordering::SeqCst);
            return Reply::status(429, "{}");
        }
        let id = request.path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok());
        Reply::json(&json!({ "items": [{ "id": id }] }))
    });
    let values: Vec<String> = (0..120).map(|id| id.to_string()).collect();
    let words = format!(
        "for_each: [{{ as: box, from: {{ values: [{}] }} }}]\nrequest: {{ get: \"/items/{{{{ parent.box }}}}\" }}\n\
         response: {{ records: \"$.items[*]\" }}\nconcurrency: 16",
        values.join(", ")
    );
    let project = Project::simple(&api.url(), &words, MODEL);
    with_provider(&project, &api, "rate_limit: { concurrency: 16 }");
    project.write("providers/api.yaml", format!(
        "provider: api\nbase_url: {}\nretry: {{ attempts: 30, backoff: {{ base: 1ms, max: 5ms }} }}\nrate_limit: {{ concurrency: 16 }}\n",
        api.url()
    ));
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"], &report["added"]), (0, &json!("completed"), &json!(120)), "{report}");
    let refused = refused.load(Ordering::SeqCst);
    // with sixteen at once all the time, most are refused again and again
    assert!((1..120).contains(&refused), "{refused} refused");
}
