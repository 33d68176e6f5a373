//! `outputs`: several models out of one scan.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply};

const PROVIDER_MODELS: &str = "outputs:\n  \
    - { model: { model: Deal, table: deals, key: [id], columns: { id: { path: $.id, type: bigint }, name: $.name } }, records: \"$.deals[*]\" }\n  \
    - { model: { model: Note, table: notes, key: [id], columns: { id: { path: $.id, type: bigint } } }, records: \"$.notes[*]\", where: \"$[?@.draft != true]\" }\n";

fn project(api: &Api, outputs: &str, response: &str) -> Project {
    let project = Project::simple(
        &api.url(),
        "request: { get: /x }\nresponse: { records: $ }",
        "key: [id]\ncolumns: { id: $.id }",
    );
    let words = "pagination: { cursor: { from: $.next, query: page } }\ndeletes: { absence: {} }";
    let sync = format!("sync: items\nrequest: {{ get: /all }}\nresponse: {response}\n{words}\n{outputs}");
    project.write("integrations/api/syncs/items.yaml", sync);
    project
}

fn page(deals: Value, notes: Value, next: Value) -> Reply {
    Reply::json(&json!({ "deals": deals, "notes": notes, "next": next }))
}

#[test]
fn one_scan_fills_them_all_and_tells_what_is_gone_of_each() {
    let api = Api::start(|request| match request.param("page") {
        None => page(json!([{ "id": 1, "name": "a" }]), json!([{ "id": 7 }, { "id": 8, "draft": true }]), json!("2")),
        Some(_) => page(json!([{ "id": 2, "name": "b" }]), json!([{ "id": 9 }]), Value::Null),
    });
    let project = project(&api, PROVIDER_MODELS, "{}");
    let report = project.run();
    assert_eq!((&report["added"], &report["pages"], &report["filtered"]), (&json!(4), &json!(2), &json!(0)));
    assert_eq!(project.column("select id from api.deals_live order by id"), [json!(1), json!(2)]);
    assert_eq!(project.column("select id from api.notes_live order by id"), [json!(7), json!(9)]);

    api.becomes(|_| {
        page(json!([{ "id": 1, "name": "A" }, { "id": 2, "name": "b" }]), json!([{ "id": 9 }]), Value::Null)
    });
    let report = project.run();
    let counts = (&report["updated"], &report["deleted"], &report["unchanged"]);
    assert_eq!(counts, (&json!(1), &json!(1), &json!(2)), "{report}");
    assert_eq!(project.column("select id from api.notes_live"), [json!(9)]);

    // reset finds the tables of all of them
    let gone = project.headwater(&["reset", "acme/items", "--purge", "--yes"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    assert_eq!(project.number("select count(*) from api.deals") + project.number("select count(*) from api.notes"), 0);
}

#[test]
fn a_guard_that_holds_one_table_holds_them_all() {
    let many = |count: i64| (1..=count).map(|id| json!({ "id": id, "name": "x" })).collect::<Value>();
    let api = Api::start(move |_| page(many(120), many(3), Value::Null));
    let project = project(&api, PROVIDER_MODELS, "{}");
    project.run();
    api.becomes(move |_| page(many(10), many(2), Value::Null));
    let report = project.run_fails(4);
    assert_eq!(report["error"]["code"], "deletes_guarded", "{report}");
    assert_eq!(project.number("select count(*) from api.deals_live"), 120);
    assert_eq!(project.number("select count(*) from api.notes_live"), 3, "nothing is deleted of the other either");
    let accepted = project.headwater(&["run", "--accept-deletes", "--json"]).report();
    assert_eq!(accepted[0]["deleted"], 111);
}

#[test]
fn outputs_share_the_records_of_one_list_by_what_they_are() {
    let records =
        json!([{ "id": 1, "kind": "deal", "name": "a" }, { "id": 2, "kind": "note" }, { "id": 3, "kind": "spam" }]);
    let api = Api::start(move |_| Reply::json(&json!({ "all": records })));
    let outputs = "outputs:\n  \
        - { model: { model: Deal, table: deals, key: [id], columns: { id: { path: $.id, type: bigint } } }, where: \"$[?@.kind == 'deal']\" }\n  \
        - { model: { model: Note, table: notes, key: [id], columns: { id: { path: $.id, type: bigint } } }, where: \"$[?@.kind == 'note']\" }\n";
    let project = project(&api, outputs, "{ records: \"$.all[*]\", where: \"$[?@.kind != 'spam']\" }");
    let report = project.run();
    assert_eq!((&report["added"], &report["filtered"]), (&json!(2), &json!(1)), "{report}");
    assert_eq!(
        project.column("select id from api.deals_live union all select id from api.notes_live"),
        [json!(1), json!(2)]
    );
}

#[test]
fn pages_hold_the_records_of_the_response_whatever_outputs_make_of_them() {
    let entry = |id: u64| json!({ "id": id, "deal": { "id": id * 10, "name": "d" } });
    let api = Api::start(move |request| {
        let from = request.param("from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let entries: Vec<_> = (from..(from + 2).min(4)).map(entry).collect();
        // what it counts as all is what it has on a page: whether there is more is said beside it
        Reply::json(&json!({ "log": entries, "total": 2, "more": from + 2 < 4 }))
    });
    let outputs = "outputs:\n  \
        - { model: { model: Entry, table: entries, key: [id], columns: { id: { path: $.id, type: bigint } } } }\n  \
        - { model: { model: Deal, table: deals, key: [id], columns: { id: { path: $.id, type: bigint } } }, records: \"$.log[*].deal\" }\n";
    let words = format!(
        "request: {{ get: /log }}\nresponse: {{ records: \"$.log[*]\" }}\n\
         pagination: {{ offset: {{ query: from, limit: 2, total: $.total, has_more: $.more }} }}\n\
         deletes: {{ absence: {{}} }}\n{outputs}"
    );
    let project = project(&api, PROVIDER_MODELS, "{}");
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\n{words}"));
    let report = project.run();
    assert_eq!((&report["added"], &report["pages"]), (&json!(8), &json!(2)), "{report}");
    assert_eq!(project.column("select id from api.entries_live order by id"), [json!(0), json!(1), json!(2), json!(3)]);
}
