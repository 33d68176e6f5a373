//! `detail`: more requests for the records of a list.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, title: $.title, body: $.detail.body }";

/// A list of two pages with these words beside it.
fn sync(words: &str) -> String {
    format!(
        "request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\npagination: {{ cursor: {{ from: $.next, query: page }} }}\n{words}"
    )
}

const ONE: &str = "detail: { request: { get: \"/items/{{ record.id }}\" }, as: detail, only_changed: true, on_404: delete }\ndeletes: { absence: {} }";

#[derive(Default)]
struct World {
    /// id and title
    items: Vec<(u64, &'static str)>,
    /// ids whose detail is not there
    missing: BTreeSet<u64>,
    /// ids whose detail cannot be had
    broken: BTreeSet<u64>,
}

type Shared = Arc<Mutex<World>>;

fn answer(world: &Shared, request: &Request) -> Reply {
    let world = world.lock().expect("a world");
    let detail =
        |id: u64| json!({ "id": id, "body": format!("body of {id}"), "lines": [{ "at": 2 * id }, { "at": 1 }] });
    match request.path.split('/').collect::<Vec<_>>()[..] {
        ["", "items"] => {
            let page = request.number("page", 0);
            let next = if (page + 1) * 2 < world.items.len() { json!(page + 1) } else { Value::Null };
            let items =
                world.items.iter().skip(page * 2).take(2).map(|(id, title)| json!({ "id": id, "title": title }));
            Reply::json(&json!({ "items": items.collect::<Vec<_>>(), "next": next }))
        }
        ["", "items", "many"] => {
            let ids = request.param("ids").unwrap_or_default().to_owned();
            let ids = ids.split(',').filter_map(|id| id.parse().ok()).filter(|id| !world.missing.contains(id));
            // as text, and in another order
            let mut found: Vec<Value> = ids.map(detail).collect();
            found.reverse();
            found.iter_mut().for_each(|detail| detail["id"] = detail["id"].to_string().into());
            Reply::json(&json!({ "found": found }))
        }
        ["", "items", id] | ["", "items", id, "lines"] => {
            let id = id.parse().unwrap_or_default();
            match (world.missing.contains(&id), world.broken.contains(&id)) {
                (true, _) => Reply::status(404, "{}"),
                (_, true) => Reply::status(418, "{}"),
                _ => Reply::json(&detail(id)),
            }
        }
        _ => Reply::status(404, "{}"),
    }
}

fn start(items: &[(u64, &'static str)], words: &str, model: &str) -> (Api, Project, Shared) {
    let world = Arc::new(Mutex::new(World { items: items.to_vec(), ..World::default() }));
    let own = Arc::clone(&world);
    let api = Api::start(move |request| answer(&own, request));
    let project = Project::simple(&api.url(), &sync(words), model);
    (api, project, world)
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id || coalesce(title, '') || ' ' || coalesce(body, '-') from api.items_live order by id")
}

fn details(api: &Api) -> Vec<String> {
    let mut asked: Vec<String> = api.asked().into_iter().filter(|line| line.contains("/items/")).collect();
    asked.sort();
    asked
}

#[test]
fn what_is_stored_as_it_is_gets_no_request_and_is_not_gone() {
    let (api, project, world) = start(&[(1, "a"), (2, "b"), (3, "c")], ONE, MODEL);
    let report = project.done_at("2024-06-01");
    assert_eq!((&report["added"], &report["requests"]), (&json!(3), &json!(5)), "{report}");
    assert_eq!(live(&project), ["1a body of 1", "2b body of 2", "3c body of 3"]);
    api.asked();

    // one has changed, one is new, one is gone
    world.lock().expect("a world").items = vec![(1, "a"), (2, "B"), (4, "d")];
    let report = project.run_at("2024-06-02", Run::accepting());
    let counts = (&report["unchanged"], &report["updated"], &report["added"], &report["deleted"], &report["records"]);
    assert_eq!(counts, (&json!(1), &json!(1), &json!(1), &json!(1), &json!(3)), "{report}");
    assert_eq!(details(&api), ["GET /items/2", "GET /items/4"]);
    assert_eq!(live(&project), ["1a body of 1", "2B body of 2", "4d body of 4"]);

    // what was deleted and comes back is asked for again, though the list has it as it was
    world.lock().expect("a world").items = vec![(1, "a"), (2, "B"), (3, "c"), (4, "d")];
    let report = project.done_at("2024-06-03");
    assert_eq!((&report["unchanged"], &report["added"]), (&json!(3), &json!(1)), "{report}");
    assert_eq!(details(&api), ["GET /items/3"]);

    // and a full run asks no more than it must
    let report = project.run_at("2024-06-04", Run::full());
    assert_eq!((&report["unchanged"], details(&api).len()), (&json!(4), 0), "{report}");
}

#[test]
fn a_record_without_its_detail_is_deleted_kept_or_an_error_as_it_is_said() {
    let (api, project, world) = start(&[(1, "a"), (2, "b")], ONE, MODEL);
    project.done_at("2024-06-01");
    world.lock().expect("a world").missing.insert(2);
    world.lock().expect("a world").items = vec![(1, "a"), (2, "B")];
    let report = project.run_at("2024-06-02", Run::accepting());
    assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(live(&project), ["1a body of 1"]);

    let words = |how: &str| ONE.replace("only_changed: true, on_404: delete", how);
    let (_api, project, world) = start(&[(1, "a"), (2, "b")], &words("on_404: skip"), MODEL);
    world.lock().expect("a world").missing.insert(2);
    project.done_at("2024-06-01");
    assert_eq!(live(&project), ["1a body of 1", "2b -"]);

    let (_api, project, world) = start(&[(1, "a"), (2, "b")], &words("on_404: fail"), MODEL);
    world.lock().expect("a world").missing.insert(2);
    let report = project.fails_at("2024-06-01", "http_status");
    assert!(report["error"]["message"].to_string().contains("/items/2"), "{report}");
    drop(api);
}

#[test]
fn a_page_whose_details_cannot_be_had_is_not_committed_and_is_read_again() {
    let (api, project, world) = start(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")], ONE, MODEL);
    world.lock().expect("a world").broken.insert(3);
    project.fails_at("2024-06-01", "http_status");
    assert_eq!(live(&project), ["1a body of 1", "2b body of 2"]);
    world.lock().expect("a world").broken.clear();
    api.asked();
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["resumed"], &report["added"], &report["unchanged"]), (&json!(true), &json!(2), &json!(0)));
    assert_eq!(api.asked().len(), 3, "the first page is not read again");
}

#[test]
fn a_batch_is_one_request_whose_details_find_their_records() {
    let words = "detail: { request: { get: /items/many, query: { ids: \"{{ records | map(attribute='id') | join(',') }}\" } },\n  \
                 response: { records: \"$.found[*]\" }, batch: 2, replace: true, on_404: delete }\ndeletes: { absence: {} }";
    let model = MODEL.replace("$.detail.body", "$.body").replace(" title: $.title,", " title: $.x,");
    let (api, project, world) = start(&[(1, "a"), (2, "b"), (3, "c")], words, &model);
    let report = project.done_at("2024-06-01");
    assert_eq!((&report["added"], &report["requests"]), (&json!(3), &json!(4)), "{report}");
    assert_eq!(live(&project), ["1 body of 1", "2 body of 2", "3 body of 3"]);
    assert_eq!(details(&api), ["GET /items/many?ids=1%2C2", "GET /items/many?ids=3"]);
    world.lock().expect("a world").missing.insert(2);
    let report = project.run_at("2024-06-02", Run::accepting());
    assert_eq!(report["deleted"], 1, "{report}");
    assert_eq!(live(&project), ["1 body of 1", "3 body of 3"]);

    let (_api, project, world) = start(&[(1, "a"), (2, "b")], &words.replace(", on_404: delete", ""), &model);
    world.lock().expect("a world").missing.insert(2);
    let report = project.fails_at("2024-06-01", "detail_missing");
    assert!(report["error"]["message"].to_string().contains("1 of the 2 records"), "{report}");
}

#[test]
fn several_details_see_each_other_and_a_list_is_a_list() {
    let words = "detail:\n  - { request: { get: \"/items/{{ record.id }}\" }, as: detail, when: \"{{ record.id < 3 }}\" }\n  \
                 - { request: { get: \"/items/{{ record.detail.id | default(record.id) }}/lines\" }, response: { records: \"$.lines[*]\" }, as: lines }\n\
                 deletes: { absence: {} }";
    let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, title: $.title, body: $.detail.body,\n  \
                 lines: { value: \"{{ record.lines | map(attribute='at') | sort | join(',') }}\" } }";
    let (api, project, _world) = start(&[(1, "a"), (2, "b"), (3, "c")], words, model);
    project.done_at("2024-06-01");
    assert_eq!(live(&project), ["1a body of 1", "2b body of 2", "3c -"]);
    assert_eq!(project.column("select lines from api.items_live order by id"), ["1,2", "1,4", "1,6"]);
    let asked = ["GET /items/1", "GET /items/1/lines", "GET /items/2", "GET /items/2/lines", "GET /items/3/lines"];
    assert_eq!(details(&api), asked);
}

#[test]
fn what_says_that_it_is_deleted_or_is_too_old_gets_no_request() {
    let items = json!([
        { "id": 1, "title": "a", "at": "2024-05-01T00:00:00Z" },
        { "id": 2, "title": "b", "at": "2024-05-03T00:00:00Z", "gone": true },
        { "id": 3, "title": "c", "at": "2024-05-04T00:00:00Z" },
    ]);
    let api = Api::start(move |request| match request.path.as_str() {
        "/items" => Reply::json(&json!({ "items": items })),
        _ => Reply::json(&json!({ "body": "x" })),
    });
    let words = "detail: { request: { get: \"/items/{{ record.id }}\" }, as: detail }\n\
                 incremental: { field: $.at, start: \"2024-05-02T00:00:00Z\", client_filter: true }\ndeletes: { flag: { when: \"$[?@.gone == true]\" } }";
    let project = Project::simple(&api.url(), &sync(words), MODEL);
    let report = project.done_at("2024-06-01");
    assert_eq!(
        (&report["filtered"], &report["added"], &report["deleted"]),
        (&json!(1), &json!(1), &json!(1)),
        "{report}"
    );
    assert_eq!(details(&api), ["GET /items/3"]);
}

#[test]
fn a_detail_that_fails_costs_its_partition_and_no_other() {
    let api = Api::start(|request| match request.path.as_str() {
        "/lists/a" | "/lists/b" => {
            Reply::json(&json!({ "items": [{ "id": if request.path.ends_with('a') { 1 } else { 2 } }] }))
        }
        "/items/1" => Reply::status(418, "{}"),
        _ => Reply::json(&json!({ "body": "x" })),
    });
    let words = sync("for_each: [{ as: list, from: { values: [a, b] } }]\ndetail: { request: { get: \"/items/{{ record.id }}\" }, as: detail }\ndeletes: { absence: {} }")
        .replace("get: /items }", "get: \"/lists/{{ parent.list }}\" }");
    let project = Project::simple(&api.url(), &words, MODEL);
    let report = project.run_at("2024-06-01", Run::default());
    assert_eq!(
        (&report["state"], &report["skipped"], &report["added"]),
        (&json!("partial"), &json!(1), &json!(1)),
        "{report}"
    );
}

#[test]
fn a_batch_may_bring_several_details_for_a_record_by_other_names() {
    let api = Api::start(|request| match request.path.as_str() {
        "/items" => Reply::json(&json!({ "items": [{ "id": 1 }, { "id": 2 }, { "id": 3 }] })),
        _ => Reply::json(
            &json!({ "lines": [{ "item": "1", "at": 5 }, { "item": "1", "at": 6 }, { "item": "3", "at": 7 }] }),
        ),
    });
    let words = |list: &str| {
        format!(
            "detail: {{ request: {{ get: /lines, query: {{ of: \"{{{{ records | map(attribute='id') | join(',') }}}}\" }} }}, \
             response: {{ records: \"$.lines[*]\" }}, batch: 50, key: {{ record: $.id, detail: $.item }}, as: lines{list} }}\ndeletes: {{ absence: {{}} }}"
        )
    };
    let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, lines: { path: \"$.lines[*].at\", type: \"integer[]\" } }";
    let project = Project::simple(&api.url(), &sync(&words(", list: true")), model);
    project.done_at("2024-06-01");
    assert_eq!(project.column("select len(lines) from api.items_live order by id"), [json!(2), Value::Null, json!(1)]);
    // where there is a place for one, two are an error and not a choice
    let project = Project::simple(&api.url(), &sync(&words(", on_404: skip")), model);
    project.fails_at("2024-06-01", "detail_twice");
}

#[test]
fn a_record_that_a_list_names_twice_is_asked_for_once() {
    let (api, project, _world) =
        start(&[(1, "a"), (1, "a"), (2, "b"), (1, "a")], &ONE.replace("only_changed: true, ", ""), MODEL);
    project.done_at("2024-06-01");
    assert_eq!(details(&api), ["GET /items/1", "GET /items/1", "GET /items/2"], "once for each page");
    assert_eq!(live(&project), ["1a body of 1", "2b body of 2"]);
}
