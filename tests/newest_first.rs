//! Lists that are read only as far as the watermark, and lists that move while they are read.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, at: $.at }";

fn records(ids: impl IntoIterator<Item = u64>) -> Vec<Value> {
    ids.into_iter().map(|id| json!({ "id": id, "at": format!("2024-05-01T10:{id:02}:00Z") })).collect()
}

/// Pages of two.
fn page_of(records: &[Value], request: &Request) -> Reply {
    let page = request.number("page", 0);
    let items: Vec<&Value> = records.iter().skip(page * 2).take(2).collect();
    if (page + 1) * 2 < records.len() {
        return Reply::json(&json!({ "items": items, "next": page + 1 }));
    }
    Reply::json(&json!({ "items": items }))
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by id")
}

fn watermark(project: &Project) -> Value {
    project.column("select watermark from headwater.partitions").remove(0)
}

/// A list that is paged by number or cursor; more about the incremental field.
fn listed(pagination: &str, incremental: &str) -> String {
    format!(
        "request: {{ get: /items, query: {{ since: \"{{{{ watermark }}}}\" }} }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         pagination: {pagination}\nincremental: {{ field: $.at, {incremental} }}"
    )
    .replace(if incremental.contains("stop_at") { ", query: { since: \"{{ watermark }}\" }" } else { "\0" }, "")
}

const CURSOR: &str = "{ cursor: { from: $.next, query: page } }";

fn newest_first(mut records: Vec<Value>) -> impl Fn(&Request) -> Reply {
    records.sort_by_key(|record| std::cmp::Reverse(record["at"].as_str().expect("a time").to_owned()));
    move |request| page_of(&records, request)
}

#[test]
fn a_list_that_is_newest_first_is_read_down_to_the_watermark() {
    let api = Api::start(newest_first(records(1..=7)));
    let project = Project::simple(&api.url(), &listed(CURSOR, "order: descending, stop_at_watermark: true"), MODEL);
    assert_eq!(project.run()["added"], 7, "the first run reads everything");
    assert_eq!(watermark(&project), "2024-05-01T10:07:00Z");
    api.asked();
    // three more at the very border, one of them on the page before the older ones
    let same = |id: u64| json!({ "id": id, "at": "2024-05-01T10:07:00Z" });
    let all = [records([1, 2, 3, 4, 5, 6, 7, 9]), vec![same(10), same(11), same(12)]].concat();
    api.becomes(newest_first(all.clone()));
    assert_eq!(project.run()["added"], 4);
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=1", "GET /items?page=2"]);

    // an old record that is pinned to the top does not end it, and neither does one without a time
    let pinned = [records([1]), records([21, 20, 19, 18, 17]), vec![json!({ "id": 99 })], all].concat();
    api.becomes(move |request| page_of(&pinned, request));
    assert_eq!(project.run()["added"], 6);
    assert_eq!(watermark(&project), "2024-05-01T10:21:00Z");
}

#[test]
fn a_stop_in_the_middle_keeps_where_the_list_is_to_end() {
    let api = Api::start(newest_first(records(1..=3)));
    let project = Project::simple(&api.url(), &listed(CURSOR, "order: descending, stop_at_watermark: true"), MODEL);
    project.run();
    api.becomes(newest_first(records(1..=9)));
    api.asked();
    assert_eq!(project.run_at("2024-06-01", Run::requests(1))["state"], "paused");
    assert_eq!(watermark(&project), "2024-05-01T10:03:00Z");
    project.run();
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=1", "GET /items?page=2", "GET /items?page=3"]);
    assert_eq!((live(&project).len(), watermark(&project)), (9, json!("2024-05-01T10:09:00Z")));
}

#[test]
fn what_is_older_than_the_watermark_is_dropped_here() {
    let api = Api::start(newest_first(records(1..=5)));
    let project = Project::simple(&api.url(), &listed(CURSOR, "client_filter: true, lookback: 1m"), MODEL);
    assert_eq!(project.run()["added"], 5);
    let late = [records(1..=6), vec![json!({ "id": 7, "at": null }), json!({ "id": 8, "at": "2024-05-01T10:03:59Z" })]]
        .concat();
    api.becomes(move |request| page_of(&late, request));
    let report = project.run();
    assert_eq!((&report["added"], &report["unchanged"], &report["filtered"]), (&json!(2), &json!(2), &json!(4)));
    assert_eq!(live(&project), [1, 2, 3, 4, 5, 6, 7], "8 is a second too old");
}

/// Oldest first, pages of two by number, from `since` on. After so many requests in all, these records take another time.
fn moving(
    records: Vec<Value>,
    after: usize,
    moved: Vec<(u64, &'static str)>,
    total: bool,
) -> impl Fn(&Request) -> Reply {
    let asked = AtomicUsize::new(0);
    move |request| {
        let nth = asked.fetch_add(1, Ordering::Relaxed);
        let mut records = records.clone();
        for (id, at) in moved.iter().filter(|_| nth >= after) {
            records.iter_mut().filter(|record| record["id"] == *id).for_each(|record| record["at"] = json!(at));
        }
        let since = request.param("since").unwrap_or_default();
        records.retain(|record| record["at"].as_str().is_some_and(|at| at >= since));
        records.sort_by_key(|record| record["at"].as_str().expect("a time").to_owned());
        let page = request.number("page", 1) - 1;
        let items: Vec<&Value> = records.iter().skip(page * 2).take(2).collect();
        let all = if total { json!(records.len()) } else { Value::Null };
        Reply::json(&json!({ "items": items, "total": all, "more": (page + 1) * 2 < records.len() }))
    }
}

const NUMBERED: &str = "{ page: { query: page, size: 2, total: $.total } }";

#[test]
fn a_record_that_slips_past_the_reader_is_there_after_the_next_run() {
    for (order, total) in [("ascending", false), ("ascending", true), ("none", false)] {
        // 1 is changed when the first page has been read, so that 3 moves to that page
        let api = Api::start(moving(records(1..=6), 1, vec![(1, "2024-05-01T11:00:00Z")], total));
        let project = Project::simple(&api.url(), &listed(NUMBERED, &format!("order: {order}")), MODEL);
        project.done_at("2024-06-01");
        assert_eq!(live(&project), [1, 2, 4, 5, 6], "{order} {total}");
        if total {
            // the API counts six and returned six: nothing tells that one came twice but its time, which is past
            continue;
        }
        assert_eq!(watermark(&project), Value::Null);
        assert!(project.headwater(&["explain"]).stdout.contains("once more, because the list may have moved"));
        project.done_at("2024-06-02");
        assert_eq!(live(&project), [1, 2, 3, 4, 5, 6]);
        assert_eq!(watermark(&project), "2024-05-01T11:00:00Z");
        api.asked();
        project.done_at("2024-06-03");
        assert_eq!(api.asked()[0], "GET /items?since=2024-05-01T11%3A00%3A00Z&page=1");
    }
}

#[test]
fn a_list_of_one_page_and_one_that_is_counted_are_read_once() {
    let api = Api::start(moving(records(1..=2), 9, vec![], false));
    let says_more = "{ page: { query: page, has_more: $.more } }";
    let project = Project::simple(&api.url(), &listed(says_more, "order: ascending"), MODEL);
    project.done_at("2024-06-01");
    assert_eq!(watermark(&project), "2024-05-01T10:02:00Z");
    let api = Api::start(moving(records(1..=5), 9, vec![], true));
    let project = Project::simple(&api.url(), &listed(NUMBERED, "order: ascending"), MODEL);
    project.done_at("2024-06-01");
    assert_eq!(watermark(&project), "2024-05-01T10:05:00Z");
    // one that is newer than the scan may have moved while it was read
    let api = Api::start(moving(records(1..=5), 9, vec![], true));
    let project = Project::simple(&api.url(), &listed(NUMBERED, "order: ascending"), MODEL);
    project.done_at("2024-05-01T10:04:00Z");
    assert_eq!(watermark(&project), Value::Null);
}
