//! Watermarks: what a run asks for, where the mark stands after it, and what a failure in the middle does to it.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, at: $.at }";

/// A sync that sends its watermark as `since`, pages by number, and has these incremental words.
fn sync(incremental: &str) -> String {
    format!(
        "request: {{ get: /items, query: {{ since: \"{{{{ watermark }}}}\" }} }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         pagination: {{ cursor: {{ from: $.next, query: page }} }}\nincremental: {{ field: $.at{incremental} }}"
    )
}

fn watermark(project: &Project) -> Value {
    let marks = project.column("select watermark from headwater.partitions");
    marks.first().cloned().unwrap_or(Value::Null)
}

fn ids(project: &Project) -> Vec<Value> {
    project.column("select id from api.items order by id")
}

/// Pages of two of these records; a page can be made to fail.
fn pages(records: Vec<Value>, failing: Option<usize>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let page = request.number("page", 0);
        if failing == Some(page) {
            return Reply::status(500, "{}");
        }
        let since = request.param("since").unwrap_or_default();
        let fits = |record: &&Value| record["at"].as_str().is_none_or(|at| at >= since);
        let found: Vec<&Value> = records.iter().filter(fits).collect();
        let next = if (page + 1) * 2 < found.len() { json!(page + 1) } else { Value::Null };
        Reply::json(&json!({ "items": found.iter().skip(page * 2).take(2).collect::<Vec<_>>(), "next": next }))
    }
}

/// Records 1, 2, 3 … changed in these minutes of one hour.
fn changed_at(minutes: &[u64]) -> Vec<Value> {
    minutes
        .iter()
        .zip(1..)
        .map(|(minute, id)| json!({ "id": id, "at": format!("2024-05-01T10:{minute:02}:00Z") }))
        .collect()
}

#[test]
fn the_second_run_asks_for_what_changed_since_the_first() {
    let mut records = changed_at(&[1, 3, 2]);
    let api = Api::start(pages(records.clone(), None));
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    project.run();
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=1"]);
    assert_eq!(watermark(&project), "2024-05-01T10:03:00Z");

    // one that changed, one that is new at the very border
    records[0]["at"] = json!("2024-05-01T10:07:30.5Z");
    records.push(json!({ "id": 4, "at": "2024-05-01T10:03:00Z" }));
    api.becomes(pages(records, None));
    let report = project.run();
    assert_eq!(api.asked()[0], "GET /items?since=2024-05-01T10%3A03%3A00Z");
    let did = ["added", "updated", "unchanged"].map(|what| report[what].as_u64().expect("a count"));
    assert_eq!(did, [1, 1, 1]);
    assert_eq!(watermark(&project), "2024-05-01T10:07:30.500Z");

    project.run();
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A07%3A30.500Z"]);
    assert_eq!(project.headwater(&["status", "--json"]).json()[0]["watermark"], "2024-05-01T10:07:30.500Z");
}

#[test]
fn a_mark_is_sent_as_the_api_writes_it() {
    let formats = [
        ("", json!("2024-05-01T12:00:00+02:00"), "2024-05-01T10%3A00%3A00Z"),
        (", format: epoch_s", json!(1_714_557_600), "1714557600"),
        (", format: epoch_s", json!("1714557600"), "1714557600"),
        (", format: epoch_ms", json!(1_714_557_600_123_u64), "1714557600123"),
        (", format: \"%d/%m/%Y %H:%M\"", json!("01/05/2024 10:00"), "01%2F05%2F2024+10%3A00"),
        (", type: date", json!("2024-05-01"), "2024-05-01"),
        (", type: date, format: \"%Y%m%d\"", json!("20240501"), "20240501"),
        (", type: integer", json!(9_007_199_254_740_993_u64), "9007199254740993"),
        (", type: text", json!("0000a&b"), "0000a%26b"),
    ];
    for (words, mark, sent) in formats {
        let shown = mark.clone();
        let api = Api::start(move |_| Reply::json(&json!({ "items": [{ "id": 1, "at": mark }] })));
        let project = Project::simple(&api.url(), &sync(words), MODEL);
        assert_eq!(project.run()["added"], 1);
        let second = project.run();
        assert_eq!(api.asked(), ["GET /items".to_owned(), format!("GET /items?since={sent}")], "{words} of {shown}");
        assert_eq!(second["unchanged"], 1);
    }
}

#[test]
fn a_template_can_write_the_mark_in_another_way() {
    let api = Api::start(pages(changed_at(&[5]), None));
    let words = sync("").replace("{{ watermark }}", "{{ watermark | add('-1h') | date('%H:%M') }}");
    let project = Project::simple(&api.url(), &words, MODEL);
    project.run();
    project.run();
    assert_eq!(api.asked(), ["GET /items", "GET /items?since=09%3A05"]);
}

#[test]
fn start_is_the_mark_of_the_first_run() {
    let api = Api::start(pages(changed_at(&[1, 2]), None));
    let project = Project::simple(&api.url(), &sync(", start: \"{{ config.since | default('2020-02-01') }}\""), MODEL);
    project.run();
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=2020-02-01T00%3A00%3A00Z", "GET /items?since=2024-05-01T10%3A02%3A00Z"]);

    let project = Project::simple(&api.url(), &sync(", type: integer, start: \"{{ 5 }}\""), MODEL);
    api.becomes(|_| Reply::json(&json!({ "items": [] })));
    project.run();
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=5"; 2], "nothing came, so the start stays");

    let project = Project::simple(&api.url(), &sync(", start: \"{{ config.since | default('someday') }}\""), MODEL);
    let report = project.run_fails(2);
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("incremental.start") && message.contains("`someday`"), "{message}");
    assert!(api.asked().is_empty());
}

#[test]
fn lookback_reads_behind_the_mark_again() {
    let api = Api::start(pages(changed_at(&[50, 55]), None));
    let project = Project::simple(&api.url(), &sync(", lookback: 10m"), MODEL);
    project.run();
    let report = project.run();
    assert_eq!(api.asked(), ["GET /items", "GET /items?since=2024-05-01T10%3A45%3A00Z"]);
    assert_eq!((&report["unchanged"], watermark(&project)), (&json!(2), json!("2024-05-01T10:55:00Z")));
}

/// Runs with a failing third page; gives the watermark after it, and what the next run asks.
fn fails_at_the_third_page(order: &str) -> (Value, Vec<String>, Project, Api) {
    let records = changed_at(&[1, 2, 3, 3, 4, 5, 6]);
    let api = Api::start(pages(records.clone(), Some(2)));
    let project = Project::simple(&api.url(), &sync(&format!(", order: {order}")), MODEL);
    let report = project.run_fails(3);
    assert_eq!((&report["pages"], &report["added"]), (&json!(2), &json!(4)));
    let stands = watermark(&project);
    api.asked();
    api.becomes(pages(records, None));
    let report = project.run();
    assert_eq!((&report["resumed"], &report["added"]), (&json!(true), &json!(3)));
    assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(watermark(&project), "2024-05-01T10:06:00Z");
    let asked = api.asked();
    (stands, asked, project, api)
}

#[test]
fn the_mark_moves_with_the_pages_where_the_oldest_come_first() {
    let (stands, asked, ..) = fails_at_the_third_page("ascending");
    assert_eq!(stands, "2024-05-01T10:03:00Z");
    assert_eq!(asked, ["GET /items?page=2", "GET /items?page=3"], "the pages go on as they began");
}

#[test]
fn the_mark_stays_until_the_scan_is_complete_where_no_order_is_promised() {
    for order in ["none", "descending"] {
        let (stands, asked, ..) = fails_at_the_third_page(order);
        assert_eq!(stands, Value::Null);
        assert_eq!(asked, ["GET /items?page=2", "GET /items?page=3"]);
    }
}

#[test]
fn a_later_scan_that_fails_keeps_its_own_mark() {
    let (.., project, api) = fails_at_the_third_page("none");
    let mut records = changed_at(&[1, 2, 3, 3, 4, 5, 6]);
    records
        .extend([json!({ "id": 8, "at": "2024-05-01T11:00:00Z" }), json!({ "id": 9, "at": "2024-05-01T12:00:00Z" })]);
    api.becomes(pages(records.clone(), Some(1)));
    project.run_fails(3);
    assert_eq!(watermark(&project), "2024-05-01T10:06:00Z", "8 is in the table, and the mark has not moved past 9");
    api.becomes(pages(records, None));
    api.asked();
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A06%3A00Z&page=1"], "the same scan goes on");
    assert_eq!((ids(&project).len(), watermark(&project)), (9, json!("2024-05-01T12:00:00Z")));
}

#[test]
fn records_with_the_same_time_on_two_pages_all_come() {
    // five records of one second, cut by the page borders, and a failure between them
    let records = changed_at(&[7, 7, 7, 7, 7]);
    let api = Api::start(pages(records.clone(), Some(1)));
    let project = Project::simple(&api.url(), &sync(", order: ascending"), MODEL);
    project.run_fails(3);
    assert_eq!(watermark(&project), "2024-05-01T10:07:00Z");
    api.becomes(pages(records.clone(), None));
    project.run();
    assert_eq!(ids(&project), [1, 2, 3, 4, 5]);
    // and one that is written into that second later
    let late = [records, vec![json!({ "id": 6, "at": "2024-05-01T10:07:00Z" })]].concat();
    api.becomes(pages(late, None));
    let report = project.run();
    assert_eq!((&report["added"], &report["unchanged"]), (&json!(1), &json!(5)));
}

#[test]
fn records_without_a_mark_are_rows_and_move_nothing() {
    let records = json!([{ "id": 1, "at": null }, { "id": 2 }]);
    let served = records.clone();
    let api = Api::start(move |_| Reply::json(&json!({ "items": served })));
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    assert_eq!(project.run()["added"], 2);
    assert_eq!(watermark(&project), Value::Null);
    project.run();
    assert_eq!(api.asked(), ["GET /items"; 2]);
    let mixed = [records.as_array().unwrap().clone(), changed_at(&[9])].concat();
    api.becomes(move |_| Reply::json(&json!({ "items": mixed })));
    project.run();
    assert_eq!(watermark(&project), "2024-05-01T10:09:00Z");
}

#[test]
fn a_mark_that_cannot_be_read_sends_its_record_to_quarantine() {
    let api = Api::start(|_| {
        Reply::json(&json!({ "items": [{ "id": 1, "at": "yesterday" }, { "id": 2, "at": "2024-05-01T10:09:00Z" }] }))
    });
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    let report = project.run();
    assert_eq!((&report["added"], &report["quarantined"]), (&json!(1), &json!(1)));
    let reason = project.column("select reason from headwater.quarantine");
    assert!(reason[0].as_str().expect("a reason").contains("incremental field `$.at`"), "{reason:?}");
    assert_eq!(watermark(&project), "2024-05-01T10:09:00Z");
}

#[test]
fn a_record_from_the_future_does_not_move_the_mark_past_now() {
    let records =
        vec![json!({ "id": 1, "at": "2024-05-01T10:09:00Z" }), json!({ "id": 2, "at": "2999-01-01T00:00:00Z" })];
    let api = Api::start(pages(records, None));
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    project.run();
    let mark = watermark(&project);
    let mark = mark.as_str().expect("a mark");
    assert!(("2024-05-01T10:09:00Z".."2999").contains(&mark), "{mark}");
}

#[test]
fn a_changed_request_starts_over_and_says_so() {
    let api = Api::start(pages(changed_at(&[1, 2, 3]), None));
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    project.run();
    let before = project.rows("select rowid, * from api.items order by id");
    project.write(
        "integrations/api/syncs/items.yaml",
        &format!(
            "sync: items\nmodel: Item\n{}\n",
            sync("").replace("get: /items, query: {", "get: /items, query: { with: more,")
        ),
    );
    api.asked();
    let explained = project.headwater(&["explain"]);
    assert!(explained.stdout.contains("the next run starts over"), "{}", explained.stdout);
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 0, "{}", output.stdout);
    assert_eq!(output.json()[0]["restarted"], "the request, its paging or its settings have changed");
    assert_eq!(api.asked()[0], "GET /items?with=more");
    assert_eq!(output.report()[0]["unchanged"], 3);
    assert_eq!(project.rows("select rowid, * from api.items order by id"), before);
    assert_eq!(watermark(&project), "2024-05-01T10:03:00Z");
}

#[test]
fn a_changed_description_or_bound_starts_nothing_over() {
    let api = Api::start(pages(changed_at(&[1, 2, 3]), None));
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    project.run();
    project.write(
        "integrations/api/syncs/items.yaml",
        &format!(
            "sync: items\nmodel: Item\ndescription: All items.\n{}\n",
            sync("").replace("query: page }", "query: page, max_pages: 9 }")
        ),
    );
    api.asked();
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A03%3A00Z"]);
}

#[test]
fn full_reads_everything_again_and_touches_nothing() {
    let api = Api::start(pages(changed_at(&[1, 2, 3]), None));
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    project.run();
    let before = project.rows("select rowid, * from api.items order by id");
    api.asked();
    let output = project.headwater(&["run", "--full", "--json"]);
    assert_eq!((output.code, &output.json()[0]["restarted"]), (0, &json!("`--full`")));
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=1"]);
    assert_eq!(project.rows("select rowid, * from api.items order by id"), before);
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A03%3A00Z"]);
}

#[test]
fn a_full_run_that_fails_at_once_stays_a_full_one() {
    let answer = |request: &Request| {
        let items = if request.param("since").is_some() {
            json!([])
        } else {
            json!([{ "id": 1, "at": "2024-01-01T00:00:00Z" }])
        };
        Reply::json(&json!({ "items": items }))
    };
    let api = Api::start(answer);
    let project = Project::simple(
        &api.url(),
        "request: { get: /items, query: { since: \"{{ watermark }}\" } }\nresponse: { records: \"$.items[*]\" }\n\
         incremental: { field: $.at }",
        "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, at: { path: $.at, type: timestamptz } }",
    );
    project.run();
    api.becomes(|_| Reply::status(400, "{}"));
    assert_eq!(project.headwater(&["run", "--full"]).code, 3);
    api.becomes(answer);
    api.asked();
    project.run();
    project.run();
    assert_eq!(api.asked(), ["GET /items", "GET /items?since=2024-01-01T00%3A00%3A00Z"]);
}

#[test]
fn what_was_deleted_while_the_api_forgot_its_changes_is_found_when_it_starts_over() {
    let record = |id: u64, gone: bool| json!({ "id": id, "at": "2024-05-01T00:00:00Z", "gone": gone });
    let api = Api::start(pages(vec![record(1, false), record(2, false), record(3, false)], None));
    let words = sync(", max_age: 30d") + "\ndeletes: { flag: { when: \"$[?@.gone == true]\" } }";
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2024-05-02");
    // the API tells of a deletion for some days, and forgets it
    api.becomes(pages(vec![record(1, false), record(3, false)], None));
    assert_eq!(project.done_at("2024-05-20")["deleted"], 0, "the list of changes names what is there");
    let report = project.done_at("2024-07-01");
    assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(1), &json!(2)), "{report}");
    assert_eq!(project.column("select id from api.items_live order by id"), [json!(1), json!(3)]);
}
