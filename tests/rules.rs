//! The rules of `errors`: what an answer means that is not what was asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str =
    "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, at: { path: $.at, type: timestamptz } }";

/// Pages of two by number, with more words.
fn counted(more: &str) -> String {
    format!(
        "request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         pagination: {{ page: {{ query: page, size: 2 }} }}\n{more}"
    )
}

fn one_page(more: &str) -> String {
    format!("request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\ndeletes: {{ absence: {{}} }}\n{more}")
}

fn record(id: usize) -> Value {
    json!({ "id": id, "name": format!("n{id}"), "at": format!("2024-01-{id:02}T00:00:00Z") })
}

/// A page of a list of so many, or what `instead` says.
fn pages(count: usize, instead: impl Fn(&Request) -> Option<Reply>) -> impl Fn(&Request) -> Reply {
    move |request| {
        instead(request).unwrap_or_else(|| {
            let skip = request.number("skip", (request.number("page", 1) - 1) * 2);
            let items: Vec<Value> = (1..=count).skip(skip).take(2).map(record).collect();
            Reply::json(&json!({ "items": items }))
        })
    }
}

/// Always the same two records.
fn two(_: &Request) -> Reply {
    Reply::json(&json!({ "items": [record(1), record(2)] }))
}

/// So many times another answer than `two`.
fn first(times: usize, other: impl Fn() -> Reply + Send + Sync + 'static) -> Api {
    let count = AtomicUsize::new(0);
    Api::start(move |request| if count.fetch_add(1, Ordering::Relaxed) < times { other() } else { two(request) })
}

fn run(project: &Project) -> (i32, Value) {
    let output = project.headwater(&["run", "--json"]);
    (output.code, output.report().remove(0))
}

fn ids(project: &Project) -> Vec<Value> {
    project.rows("select id from api.items_live order by id").iter().map(|row| row["id"].clone()).collect()
}

/// Code and message of the last run.
fn told(project: &Project) -> (Value, String) {
    let row =
        project.rows("select state, error_code, error from headwater.runs order by started_at desc limit 1").remove(0);
    (row["error_code"].clone(), row["error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn retry_sends_any_answer_again() {
    for (rule, answer) in [
        ("{ status: 404, then: retry }", Reply::status(404, "{}")),
        ("{ when: \"{{ response.body.error == 'busy' }}\", then: retry }", Reply::json(&json!({ "error": "busy" }))),
        ("{ status: 200, when: \"{{ response.body == 'wait' }}\", then: retry }", Reply::text("text/plain", "wait")),
        (
            "{ when: \"{{ response.headers['x-busy'] == 'yes' }}\", then: retry }",
            Reply::status(400, "").with("X-Busy", "yes"),
        ),
    ] {
        let api = first(2, move || answer.clone());
        let project = Project::simple(&api.url(), &one_page(&format!("errors: [{rule}]")), MODEL);
        let (code, report) = run(&project);
        assert_eq!(
            (code, &report["state"], &report["requests"]),
            (0, &json!("completed"), &json!(3)),
            "{rule} {report}"
        );
        assert_eq!(ids(&project), [1, 2]);
    }
}

#[test]
fn retry_ends_after_the_attempts_of_the_plan() {
    let api = Api::start(|_| Reply::json(&json!({ "error": "busy" })));
    let rule = "errors: [{ when: \"{{ response.body.error == 'busy' }}\", then: retry }]";
    let project = Project::simple(&api.url(), &one_page(rule), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["requests"]), (3, &json!(3)));
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("answered 200 OK; still failing after 3 attempts: {\"error\":\"busy\"}"), "{message}");
}

const COSTS: &str = "errors:\n  - status: 200\n    when: \"{{ response.body.errors and response.body.errors[0].extensions.code == 'THROTTLED' }}\"\n    \
    then: retry\n    wait: \"{{ (response.body.extensions.cost.requestedQueryCost - response.body.extensions.cost.throttleStatus.currentlyAvailable) \
    / response.body.extensions.cost.throttleStatus.restoreRate }}\"\n";

/// A GraphQL query for all records, with more words.
fn graphql(more: &str) -> String {
    format!(
        "request: {{ post: /graphql, body: {{ graphql: {{ query: \"query {{ items }}\" }} }} }}\n\
         response: {{ records: \"$.data.items[*]\" }}\ndeletes: {{ absence: {{}} }}\n{more}"
    )
}

/// The answer of Shopify's GraphQL to a query that costs more than is left.
fn throttled(cost: &Value, left: &Value, per_second: &Value) -> Reply {
    let status = json!({ "maximumAvailable": 1000.0, "currentlyAvailable": left, "restoreRate": per_second });
    Reply::json(&json!({
        "errors": [{ "message": "Throttled", "extensions": { "code": "THROTTLED" } }],
        "extensions": { "cost": { "requestedQueryCost": cost, "actualQueryCost": null, "throttleStatus": status } },
    }))
}

#[test]
fn an_answer_can_tell_in_its_body_how_long_to_wait() {
    let (count, asked) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
    let times = Arc::clone(&asked);
    let api = Api::start(move |_| {
        times.lock().expect("times").push(Instant::now());
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => throttled(&json!(70), &json!(66), &json!(20)),
            _ => Reply::json(&json!({ "data": { "items": [record(1), record(2)] } })),
        }
    });
    let project = Project::simple(&api.url(), &graphql(COSTS), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["requests"], &report["added"]), (0, &json!(2), &json!(2)), "{report}");
    let asked = asked.lock().expect("times");
    // the backoff of the project is 5 ms at most
    assert!(asked[1] - asked[0] >= Duration::from_millis(200), "4 points at 20 a second: {:?}", asked[1] - asked[0]);
    let explained = project.headwater(&["explain"]).stdout;
    assert!(explained.contains("is tried again after {{ (response.body.extensions.cost"), "{explained}");
}

#[test]
fn a_run_is_parked_where_an_answer_tells_to_wait_for_longer_than_it_may() {
    let api = Api::start(|_| throttled(&json!(100), &json!(0), &json!("0.01")));
    let rule = COSTS.replace("throttleStatus.restoreRate", "throttleStatus.restoreRate | float");
    let project = Project::simple(&api.url(), &graphql(&rule), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"], &report["requests"]), (0, &json!("paused"), &json!(1)), "{report}");
}

#[test]
fn what_cannot_be_waited_for_is_tried_again_as_ever() {
    let (nothing, zero) = (Value::Null, json!(0));
    for (cost, left, per_second) in [
        (&json!(10), &json!(20), &json!(1)),
        (&json!(10), &json!(10), &json!(1)),
        (&json!(10), &zero, &zero),
        (&json!("a lot"), &zero, &json!(1)),
        (&nothing, &nothing, &nothing),
        (&json!([1]), &zero, &json!(1)),
        (&json!(1e18), &zero, &json!(1)),
        (&json!(1e300), &zero, &json!(1e-300)),
    ] {
        let api = first(2, {
            let reply = throttled(cost, left, per_second);
            move || reply.clone()
        });
        let list = one_page(COSTS);
        let project = Project::simple(&api.url(), &list, MODEL);
        let (code, report) = run(&project);
        assert_eq!((code, &report["requests"]), (0, &json!(3)), "{cost} {left} {per_second}: {report}");
    }
    for (told, code, state) in
        [("abc", 0, "completed"), (" 0.001 ", 0, "completed"), ("1000000", 0, "paused"), ("nan", 0, "completed")]
    {
        let api = first(1, move || Reply::status(400, &json!({ "seconds": told }).to_string()));
        let rule = "errors: [{ status: 400, then: retry, wait: \"{{ response.body.seconds }}\" }]";
        let project = Project::simple(&api.url(), &one_page(rule), MODEL);
        let (found, report) = run(&project);
        assert_eq!((found, &report["state"]), (code, &json!(state)), "{told}: {report}");
    }
}

#[test]
fn an_answer_with_errors_beside_its_data_can_be_accepted() {
    let partly = |items: Value| {
        let errors = json!([{ "message": "no access to `secret`", "path": ["items", 0, "secret"] }]);
        Reply::json(&json!({ "data": { "items": items }, "errors": errors }))
    };
    let rule = "errors: [{ when: \"{{ response.body.errors and response.body.data }}\", then: accept }]";
    let api = Api::start(move |_| partly(json!([record(1), record(2)])));
    let project = Project::simple(&api.url(), &graphql(""), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"]), (3, &json!("failed")), "without a rule it fails: {report}");
    let project = Project::simple(&api.url(), &graphql(rule), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"], &report["added"]), (0, &json!("completed"), &json!(2)), "{report}");
    // a list that is empty is one; one that the error took away proves nothing
    api.becomes(move |_| partly(Value::Null));
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"]), (3, &json!("failed")), "{report}");
    assert_eq!(ids(&project), [1, 2]);
    api.becomes(|_| Reply::json(&json!({ "data": null, "errors": [{ "message": "broken" }] })));
    assert_eq!(run(&project).0, 3, "nothing of it is data");
    api.becomes(move |_| partly(json!([])));
    assert_eq!(run(&project).1["error"]["code"], "deletes_guarded", "read to its end");

    let api = Api::start(|_| Reply::status(409, &json!({ "error": "stale", "items": [record(1)] }).to_string()));
    let project = Project::simple(&api.url(), &one_page("errors: [{ status: 409, then: accept }]"), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["requests"]), (0, &json!(1)), "whatever the status: {report}");
    assert_eq!(ids(&project), [1]);
}

#[test]
fn fail_tells_the_message_and_the_answer_without_secrets() {
    let api = Api::start(|request| {
        let key = request.header("x-key").unwrap_or_default();
        Reply::json(&json!({ "error": "plan too small", "you": key }))
    });
    let project = Project::simple(&api.url(), &one_page(""), MODEL);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { api_key: \"${KEY}\" } }\n",
    );
    project.write(
        "providers/api.yaml",
        format!(
            "provider: api\nbase_url: {}\nauth: {{ key: {{ api_key: {{ header: X-Key }} }} }}\nerrors:\n  \
             - {{ when: \"{{{{ response.body.error == 'plan too small' }}}}\", then: fail, message: the API needs the plan Pro }}\n",
            api.url()
        ),
    );
    let output = project.headwater_with(&["run", "--json"], &[("KEY", "s3cr3t-key")]);
    let report = output.report().remove(0);
    assert_eq!((output.code, &report["error"]["code"], &report["requests"]), (3, &json!("error_rule"), &json!(1)));
    let message = report["error"]["message"].as_str().expect("a message").to_owned();
    assert!(
        message.contains("answered 200 OK: the API needs the plan Pro; a rule of `errors` says `fail`"),
        "{message}"
    );
    assert!(message.ends_with("{\"error\":\"plan too small\",\"you\":\"***\"}"), "{message}");
    assert_eq!(told(&project), (json!("error_rule"), message));
}

#[test]
fn empty_is_the_proven_end_of_the_list() {
    let api = Api::start(two);
    let rule = "errors: [{ status: 404, when: \"{{ response.body.code == 'NO_DATA' }}\", then: empty }]";
    let project = Project::simple(&api.url(), &one_page(rule), MODEL);
    assert_eq!(run(&project).0, 0);
    api.becomes(|_| Reply::status(404, "{\"code\":\"NO_DATA\"}"));
    let output = project.headwater(&["run", "--json", "--accept-deletes"]);
    let report = output.report().remove(0);
    assert_eq!(
        (&report["state"], &report["deleted"], &report["deletes_skipped"]),
        (&json!("completed"), &json!(2), &Value::Null),
        "{report}"
    );
    api.becomes(|_| Reply::status(404, "{\"code\":\"NO_LIST\"}"));
    assert_eq!(run(&project).0, 3, "the rule is about another answer");
}

#[test]
fn the_first_rule_that_fits_decides_and_those_of_the_sync_come_first() {
    let api = Api::start(|_| Reply::status(404, "{}"));
    let rules = "errors:\n  - { status: 404, when: \"{{ response.body.x }}\", then: fail }\n  - { status: 404, then: empty }\n  - { status: 404, then: fail }";
    let project = Project::simple(&api.url(), &one_page(rules), MODEL);
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {}\nerrors: [{{ status: 404, then: fail }}]\n", api.url()),
    );
    assert_eq!(run(&project).1["state"], "completed");
}

#[test]
fn a_rule_with_after_holds_from_that_time_on() {
    let rule = "errors: [{ status: 404, then: empty, after: 3 }]";
    let api = Api::start(|_| Reply::status(404, "{}"));
    let project = Project::simple(&api.url(), &one_page(rule), MODEL);
    let (_, report) = run(&project);
    assert_eq!(
        (&report["state"], &report["requests"], &report["records"]),
        (&json!("completed"), &json!(3), &json!(0))
    );
    let api = first(2, || Reply::status(404, "{}"));
    let project = Project::simple(&api.url(), &one_page(rule), MODEL);
    assert_eq!(run(&project).1["records"], 2);
}

#[test]
fn a_page_that_is_skipped_is_told_and_nothing_is_concluded_from_its_scan() {
    let broken = |request: &Request| {
        let second = request.param("page") == Some("2") || request.param("skip") == Some("2");
        second.then(|| Reply::status(500, "{\"error\":\"row 3 is broken\"}"))
    };
    for (paging, second) in
        [("page: { query: page, size: 2 }", "page=2"), ("offset: { query: skip, limit: 2 }", "skip=2")]
    {
        let words = format!(
            "request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\npagination: {{ {paging} }}\ndeletes: {{ absence: {{}} }}\n\
             errors: [{{ status: 500, then: skip_page, message: known to happen }}]"
        );
        let api = Api::start(pages(6, |_| None));
        let project = Project::simple(&api.url(), &words, MODEL);
        assert_eq!(run(&project).1["state"], "completed");
        api.becomes(pages(5, broken));
        let (code, report) = run(&project);
        assert_eq!((code, &report["state"], &report["pages_skipped"]), (3, &json!("partial"), &json!(1)), "{report}");
        assert_eq!((&report["deleted"], &report["deletes_skipped"]), (&json!(0), &json!("a page was left out")));
        let why = report["pages_skipped_reason"].as_str().expect("why");
        assert!(why.contains(second) && why.contains("answered 500 Internal Server Error: known to happen; the page is left out: {\"error\":\"row 3 is broken\"}"), "{why}");
        assert_eq!(told(&project), (json!("error_rule"), why.to_owned()));
        assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6]);
        api.becomes(pages(5, |_| None));
        assert_eq!(run(&project).1["deleted"], 1, "the next whole scan finds out");
    }
}

#[test]
fn a_skipped_page_keeps_the_watermark_where_it_was() {
    for order in ["ascending", "none"] {
        let words = counted(&format!(
            "incremental: {{ field: $.at, order: {order}, start: 2024-01-01 }}\nerrors: [{{ status: 500, then: skip_page }}]"
        ).replace("order: none, ", ""))
            .replace("get: /items", "get: /items, query: { since: \"{{ watermark }}\" }");
        let api = Api::start(pages(5, |_| None));
        let project = Project::simple(&api.url(), &words, MODEL);
        project.done_at("2024-03-01");
        project.done_at("2024-03-02");
        let since = |api: &Api| api.requests().last().and_then(|request| request.param("since").map(str::to_owned));
        api.asked();
        project.done_at("2024-03-03");
        let mark = since(&api);
        assert!(mark.as_deref().is_some_and(|mark| mark.starts_with("2024-01-05")), "{mark:?}");
        api.becomes(pages(9, |request| (request.param("page") == Some("4")).then(|| Reply::status(500, ""))));
        // what two scans have seen counts as covered, unless they lack a page
        for day in ["2024-03-04", "2024-03-05"] {
            let report = project.run_at(day, Run::default());
            assert_eq!((&report["state"], &report["pages_skipped"]), (&json!("partial"), &json!(1)), "{report}");
        }
        api.becomes(pages(9, |_| None));
        api.asked();
        let report = project.run_at("2024-03-06", Run::default());
        assert_eq!((since(&api), &report["state"]), (mark, &json!("completed")), "{order}");
        assert_eq!(ids(&project).len(), 9);
    }
}

#[test]
fn a_window_with_a_skipped_page_is_read_again() {
    let words = counted(
        "incremental: { field: $.at, start: 2024-01-01, window: { size: 1 month } }\nerrors: [{ status: 500, then: skip_page }]",
    )
    .replace("get: /items", "get: /items, query: { from: \"{{ window.start | date('%Y-%m') }}\" }");
    let january = |instead: fn(&Request) -> Option<Reply>| {
        let january = pages(6, instead);
        move |request: &Request| match request.param("from") {
            Some("2024-01") => january(request),
            _ => Reply::json(&json!({ "items": [] })),
        }
    };
    let api = Api::start(january(|request| (request.param("page") == Some("2")).then(|| Reply::status(500, ""))));
    let project = Project::simple(&api.url(), &words, MODEL);
    let report = project.run_at("2024-03-10", Run::default());
    assert_eq!((&report["state"], &report["pages_skipped"]), (&json!("partial"), &json!(1)), "{report}");
    assert_eq!(ids(&project), [1, 2, 5, 6]);
    api.becomes(january(|_| None));
    api.asked();
    project.done_at("2024-03-10");
    assert!(api.asked().iter().any(|line| line.contains("from=2024-01")), "January is a gap");
    assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6]);
    api.asked();
    project.done_at("2024-03-10");
    assert!(!api.asked().iter().any(|line| line.contains("from=2024-01")), "and is closed now");
}

#[test]
fn a_page_that_the_run_before_skipped_still_counts_at_the_end_of_its_scan() {
    let broken = |request: &Request| (request.param("page") == Some("1")).then(|| Reply::status(500, ""));
    let api = Api::start(pages(6, broken));
    let words = counted("deletes: { absence: {} }\nerrors: [{ status: 500, then: skip_page }]");
    let project = Project::simple(&api.url(), &words, MODEL);
    assert_eq!(project.run_at("2024-03-10", Run::requests(2))["state"], "paused");
    let report = project.run_at("2024-03-11", Run::default());
    assert_eq!(
        (&report["state"], &report["deletes_skipped"]),
        (&json!("partial"), &json!("a page was left out")),
        "{report}"
    );
    assert_eq!(report["pages_skipped_reason"], "a page was left out by the run before this one");
}

#[test]
fn a_list_of_items_without_a_page_lets_no_partition_go() {
    let all = |request: &Request| match request.path.as_str() {
        "/boxes" => {
            let page = request.number("page", 1);
            let boxes: Vec<Value> = (1..=6).skip((page - 1) * 2).take(2).map(|id| json!({ "id": id })).collect();
            Reply::json(&json!({ "items": boxes }))
        }
        path => {
            Reply::json(&json!({ "items": [{ "id": path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok()) }] }))
        }
    };
    let words = "for_each:\n  - as: box\n    from:\n      list:\n        request: { get: /boxes }\n        response: { records: \"$.items[*]\" }\n        \
                 pagination: { page: { query: page, size: 2 } }\n        key: $.id\n\
                 request: { get: \"/items/{{ parent.box.id }}\" }\nresponse: { records: \"$.items[*]\" }\n\
                 deletes: { absence: { scope: all, gone_partitions: delete, guard: { max_fraction: 1.0 } } }\nerrors: [{ status: 500, then: skip_page }]";
    let api = Api::start(all);
    let project = Project::simple(&api.url(), words, MODEL);
    assert_eq!(run(&project).1["state"], "completed");
    api.becomes(move |request| {
        let broken = request.path == "/boxes" && request.param("page") == Some("2");
        if broken { Reply::status(500, "{}") } else { all(request) }
    });
    let (code, report) = run(&project);
    assert_eq!(
        (code, &report["state"], &report["skipped"], &report["deleted"]),
        (3, &json!("partial"), &json!(1), &json!(0)),
        "{report}"
    );
    assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn skip_page_fails_where_only_the_answer_would_tell_the_next_page() {
    let api = Api::start(|request| match request.param("page") {
        None => Reply::json(&json!({ "items": [record(1)], "next": "b" })),
        Some(_) => Reply::status(500, "{}"),
    });
    let words = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { cursor: { from: $.next, query: page } }\n";
    let project = Project::simple(&api.url(), words, MODEL);
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {}\nerrors: [{{ status: 500, then: skip_page }}]\n", api.url()),
    );
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"], &report["records"]), (2, &json!("failed"), &json!(1)));
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("only this answer would tell the next page"), "{message}");
}

#[test]
fn a_partition_is_skipped_by_a_rule_whatever_on_error_says() {
    let api = Api::start(|request| {
        if request.path == "/items/b" { Reply::status(404, "{\"error\":\"b is gone\"}") } else { two(request) }
    });
    let words = "for_each: [{ as: box, from: { values: [a, b, c] } }]\non_error: fail\nrequest: { get: \"/items/{{ parent.box }}\" }\n\
                 response: { records: \"$.items[*]\" }\nerrors: [{ status: 404, then: skip_partition, message: taken down }]";
    let project = Project::simple(&api.url(), words, MODEL);
    let (code, report) = run(&project);
    assert_eq!(
        (code, &report["state"], &report["skipped"], &report["records"]),
        (3, &json!("partial"), &json!(1), &json!(4)),
        "{report}"
    );
    let why = report["skipped_reason"].as_str().expect("why");
    assert!(
        why.starts_with("`b`: GET ")
            && why
                .ends_with("answered 404 Not Found: taken down; the partition is left out: {\"error\":\"b is gone\"}"),
        "{why}"
    );
    assert_eq!(told(&project), (json!("error_rule"), why.to_owned()));
    let noted = project.rows("select error from headwater.partitions where error is not null");
    assert!(noted[0]["error"].as_str().is_some_and(|text| text.contains("b is gone")), "{noted:?}");
}

#[test]
fn skip_partition_of_a_provider_fails_a_sync_without_partitions() {
    let api = Api::start(|_| Reply::status(404, "{}"));
    let project = Project::simple(&api.url(), &one_page(""), MODEL);
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {}\nerrors: [{{ status: 404, then: skip_partition }}]\n", api.url()),
    );
    let (code, report) = run(&project);
    assert_eq!((code, &report["state"]), (2, &json!("failed")));
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("`skip_partition` cannot leave out a partition, because this list belongs to none"),
        "{message}"
    );
}

#[test]
fn reset_forgets_what_is_remembered_once_in_a_run() {
    let words = counted(
        "incremental: { field: $.at, order: ascending, start: 2024-01-01 }\nerrors: [{ status: 410, then: reset }]",
    )
    .replace("get: /items", "get: /items, query: { since: \"{{ watermark }}\" }");
    let api = Api::start(pages(3, |_| None));
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2024-03-01");
    project.done_at("2024-03-02");
    api.becomes(pages(3, |request| {
        request.param("since").is_some_and(|since| !since.starts_with("2024-01-01")).then(|| Reply::status(410, "{}"))
    }));
    api.asked();
    let report = project.done_at("2024-03-03");
    assert_eq!((&report["records"], &report["unchanged"]), (&json!(3), &json!(3)));
    let asked = api.asked();
    assert!(
        asked[0].contains("since=2024-01-03") && asked[1..].iter().all(|line| line.contains("since=2024-01-01")),
        "{asked:?}"
    );

    api.becomes(|_| Reply::status(410, "{\"error\":\"no\"}"));
    let report = project.fails_at("2024-03-04", "error_rule");
    assert_eq!(report["requests"], 2);
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("it is so without anything that was remembered too: {\"error\":\"no\"}"), "{message}");
}

#[test]
fn reset_is_about_the_partition_where_there_are_some() {
    let words = "for_each: [{ as: box, from: { values: [a, b] } }]\nrequest: { get: \"/items/{{ parent.box }}\", query: { since: \"{{ watermark }}\" } }\n\
                 response: { records: \"$.items[*]\" }\nincremental: { field: $.at, start: 2024-01-01 }\nerrors: [{ status: 410, then: reset }]";
    let answer = |request: &Request| {
        let id = if request.path.ends_with('a') { 5 } else { 6 };
        Reply::json(&json!({ "items": [record(id)] }))
    };
    let api = Api::start(answer);
    let project = Project::simple(&api.url(), words, MODEL);
    project.done_at("2024-03-01");
    api.becomes(move |request| {
        let lost = request.path.ends_with('b') && request.param("since") != Some("2024-01-01T00:00:00Z");
        if lost { Reply::status(410, "{}") } else { answer(request) }
    });
    api.asked();
    project.done_at("2024-03-02");
    let mut asked = api.asked();
    asked.sort();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(
        asked[1].contains("/items/b?since=2024-01-01") && asked[2].contains("/items/b?since=2024-01-06"),
        "{asked:?}"
    );
}

#[test]
fn refresh_auth_sends_the_request_once_more_and_then_fails() {
    let rule = "errors: [{ status: 403, when: \"{{ response.body.code == 'TOKEN' }}\", then: refresh_auth }]";
    let api = first(1, || Reply::status(403, "{\"code\":\"TOKEN\"}"));
    let project = Project::simple(&api.url(), &one_page(rule), MODEL);
    assert_eq!(run(&project).1["state"], "completed");
    api.becomes(|_| Reply::status(403, "{\"code\":\"TOKEN\"}"));
    let (code, report) = run(&project);
    assert_eq!((code, &report["requests"]), (3, &json!(2)));
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("answered 403 Forbidden; it is so with a new token too"), "{message}");
}

#[test]
fn reconnect_asks_for_a_person() {
    let api = Api::start(|_| Reply::status(403, "{\"error\":\"grant revoked\"}"));
    let rule = "errors: [{ status: 403, then: reconnect, message: the access was taken back }]";
    let project = Project::simple(&api.url(), &one_page(rule), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["error"]["code"], &report["requests"]), (2, &json!("needs_reconnect"), &json!(1)));
}

#[test]
fn rules_hold_for_long_bodies_and_for_the_dry_run() {
    let long = "x".repeat(100_000);
    let seen = Mutex::new(0);
    let api = Api::start(move |request| {
        let mut seen = seen.lock().expect("not poisoned");
        *seen += 1;
        if *seen % 2 == 1 { Reply::json(&json!({ "fill": long, "error": "busy" })) } else { two(request) }
    });
    let rule = "errors: [{ when: \"{{ response.body.error == 'busy' }}\", then: retry }]";
    let project = Project::simple(&api.url(), &one_page(rule), MODEL);
    let (code, report) = run(&project);
    assert_eq!((code, &report["requests"]), (0, &json!(2)));
    let output = project.headwater(&["dry-run", "acme/items"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[test]
fn a_condition_about_what_an_answer_does_not_have_does_not_hold() {
    let api = Api::start(two);
    for when in [
        "'limit' in response.body.message",
        "response.body.error.code == 5",
        "response.headers['x-a'] == 'b'",
        "response.body.items[0].x.y",
    ] {
        let rule = format!("errors: [{{ when: \"{{{{ {when} }}}}\", then: fail }}]");
        let project = Project::simple(&api.url(), &one_page(&rule), MODEL);
        let (_, report) = run(&project);
        assert_eq!(report["state"], "completed", "{when}: {report}");
    }
}

#[test]
fn a_patch_is_not_sent_again_unless_it_was_refused() {
    let words = "request: { patch: /items, body: { json: { touch: true } } }\nresponse: { records: \"$.items[*]\" }\n";
    for (answer, requests) in [
        (Reply::status(500, "{}"), 1),
        (Reply::status(503, "{}"), 1),
        (Reply::status(503, "{}").with("retry-after", "0"), 2),
        (Reply::status(429, "{}"), 2),
        (Reply::text("application/json", "{\"items\": []}").cut_at(4), 1),
    ] {
        let api = first(1, move || answer.clone());
        let project = Project::simple(&api.url(), words, MODEL);
        let (_, report) = run(&project);
        assert_eq!(report["requests"], requests, "{report}");
    }
}
