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

    // and a full run asks for everything, once
    let report = project.run_at("2024-06-04", Run::full());
    assert_eq!((&report["unchanged"], details(&api).len()), (&json!(4), 4), "{report}");
    project.done_at("2024-06-05");
    assert_eq!(details(&api).len(), 0);
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

#[test]
fn what_is_stored_as_it_is_is_asked_for_again_where_the_sync_starts_over() {
    let (api, project, world) = start(&[(1, "a"), (2, "b"), (3, "c")], ONE, MODEL);
    project.done_at("2024-06-01");

    // a new column is filled by a full run, over all the runs that it takes
    let wider = MODEL.replace("body: $.detail.body", "body: $.detail.body, no: { path: $.detail.id, type: bigint }");
    project.write("integrations/api/models/Item.yaml", format!("model: Item\ntable: items\n{wider}\n"));
    let of = |full: bool| Run { budget: Run::requests(3).budget, ..if full { Run::full() } else { Run::default() } };
    assert_eq!(project.run_at("2024-06-02", of(true))["state"], "paused");
    project.done_at("2024-06-03");
    assert_eq!(project.column("select no from api.items_live order by id"), [1, 2, 3]);

    // other words for the details
    api.asked();
    let words = ONE.replace("{{ record.id }}", "{{ record.id }}/lines");
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{}\n", sync(&words)));
    project.done_at("2024-06-04");
    assert_eq!(details(&api), ["GET /items/1/lines", "GET /items/2/lines", "GET /items/3/lines"]);
    project.done_at("2024-06-05");
    assert_eq!(details(&api).len(), 0);

    // what it remembers is forgotten
    assert_eq!(project.headwater(&["reset", "acme/items", "--yes"]).code, 0);
    project.done_at("2024-06-06");
    assert_eq!(details(&api).len(), 3);
    drop(world);
}

#[test]
fn a_record_in_quarantine_is_none_that_is_stored_as_it_is() {
    let (items, detail) = (Arc::new(Mutex::new("v1")), Arc::new(Mutex::new(json!(1))));
    let (own_items, own_detail) = (Arc::clone(&items), Arc::clone(&detail));
    let api = Api::start(move |request| match request.path.as_str() {
        "/items" => Reply::json(&json!({ "items": [{ "id": 1, "x": *own_items.lock().expect("a text") }] })),
        _ => {
            let phones = json!([{ "n": 1, "k": 1 }, { "n": 2, "k": "bad" }]);
            Reply::json(&json!({ "v": *own_detail.lock().expect("a value"), "phones": phones }))
        }
    });
    let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, v: { path: $.detail.v, type: bigint, required: true } }";
    let phones = "children: [{ table: phones, each: \"$.detail.phones[*]\", key: [parent.id, n], \
                  columns: { n: { path: $.n, type: bigint }, k: { path: $.k, type: bigint, required: true } } }]";
    let quarantined =
        |project: &Project| project.column("select model || ' ' || reason from headwater.quarantine order by 1");

    // a record that did not fit, and is again as it was
    let project = Project::simple(&api.url(), &sync(ONE), model);
    project.done_at("2024-06-01");
    (*items.lock().expect("a text"), *detail.lock().expect("a value")) = ("v2", json!("bad"));
    project.done_at("2024-06-02");
    assert_eq!(quarantined(&project).len(), 1);
    (*items.lock().expect("a text"), *detail.lock().expect("a value")) = ("v1", json!(1));
    project.done_at("2024-06-03");
    assert_eq!(quarantined(&project).len(), 0, "what is in quarantine is newer than the row");
    assert_eq!(project.column("select v from api.items_live"), [1]);

    // an item that does not fit stays where it is
    let project = Project::simple(&api.url(), &sync(ONE), &format!("{model}\n{phones}"));
    project.done_at("2024-06-01");
    let first = quarantined(&project);
    assert_eq!(first.len(), 1, "{first:?}");
    project.done_at("2024-06-02");
    assert_eq!(quarantined(&project), first);
    assert_eq!(project.column("select n from api.phones_live"), [1]);
}

#[test]
fn a_batch_that_is_not_there_says_nothing_of_one_record() {
    let words = |on_404: &str| {
        format!(
            "detail: {{ request: {{ get: /items/many, query: {{ ids: \"{{{{ records | map(attribute='id') | join(',') }}}}\" }} }},\n  \
             response: {{ records: \"$.found[*]\" }}, batch: 8, as: detail, on_404: {on_404} }}\ndeletes: {{ absence: {{}} }}"
        )
    };
    // the API answers 404 to a request that names an id it does not know
    let api = Api::start(|request| match request.path.as_str() {
        "/items" => Reply::json(&json!({ "items": (1..=8).map(|id| json!({ "id": id })).collect::<Vec<_>>() })),
        _ => {
            let ids: Vec<u64> =
                request.param("ids").expect("ids").split(',').filter_map(|id| id.parse().ok()).collect();
            let found: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "body": format!("body of {id}") })).collect();
            if ids.contains(&3) { Reply::status(404, "{}") } else { Reply::json(&json!({ "found": found })) }
        }
    });
    let project = Project::simple(&api.url(), &sync(&words("skip")), MODEL);
    let report = project.done_at("2024-06-01");
    assert_eq!((&report["added"], &report["requests"]), (&json!(8), &json!(1 + 7)), "{report}");
    let bodies = project.column("select coalesce(body, '-') from api.items_live order by id");
    assert_eq!((bodies[2].as_str(), bodies.iter().filter(|body| **body == "-").count()), (Some("-"), 1), "{bodies:?}");
    project
        .write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{}\n", sync(&words("delete"))));
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(1), &json!(7)), "{report}");
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{}\n", sync(&words("fail"))));
    project.fails_at("2024-06-03", "http_status");
}

#[test]
fn details_of_which_none_is_there_delete_nothing() {
    let words = "detail: { request: { get: \"/items/{{ record.id }}\" }, as: detail, on_404: delete }\ndeletes: { absence: {} }";
    let list = || json!({ "items": (1..=120).map(|id| json!({ "id": id })).collect::<Vec<_>>() });
    let api = Api::start(move |request| match request.path.as_str() {
        "/items" => Reply::json(&list()),
        _ => Reply::json(&json!({ "body": "b" })),
    });
    let project = Project::simple(&api.url(), &sync(words), MODEL);
    project.done_at("2024-06-01");
    // the details have moved
    api.becomes(move |request| match request.path.as_str() {
        "/items" => Reply::json(&list()),
        _ => Reply::status(404, "{}"),
    });
    let report = project.fails_at("2024-06-02", "deletes_guarded");
    assert_eq!(report["deleted"], 0, "{report}");
    assert_eq!(project.number("select count(*) from api.items_live"), 120);
    let report = project.run_at("2024-06-03", Run::accepting());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(120)), "{report}");
}

#[test]
fn details_that_are_much_come_into_the_table_bit_by_bit() {
    // 40 of a MiB are more than what is held at once
    let broken = Arc::new(Mutex::new(true));
    let own = Arc::clone(&broken);
    let api = Api::start(move |request| match request.path.as_str() {
        "/items" => Reply::json(&json!({ "items": (1..=40).map(|id| json!({ "id": id })).collect::<Vec<_>>() })),
        "/items/40" if *own.lock().expect("a flag") => Reply::status(418, "{}"),
        path => {
            let of = "x".repeat(1 << 20);
            Reply::json(&json!({ "id": path.rsplit('/').next(), "body": format!("body of {path}"), "of": of }))
        }
    });
    let project = Project::simple(&api.url(), &sync(ONE), MODEL);
    project.fails_at("2024-06-01", "http_status");
    let before = live(&project).len();
    assert!(before > 0 && before < 40, "{before}");
    *broken.lock().expect("a flag") = false;
    api.asked();
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["unchanged"], &report["added"]), (&json!(before), &json!(40 - before)), "{report}");
    assert_eq!(details(&api).len(), 40 - before, "what is there is not asked for again");
    assert_eq!((&report["pages"], &report["records"]), (&json!(1), &json!(40)), "{report}");
}
