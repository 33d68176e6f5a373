//! `children`: nested lists as tables of their own, whose rows come and go with the row that they stand in.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: { guard: { min_rows: 1000 } } }";
const MODEL: &str = "key: [id]\nhistory: true\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }\nchildren:\n  \
                     - { table: phones, each: \"$.phones[*]\", key: [parent.id, number], columns: { number: $.number, kind: $.kind } }\n  \
                     - { table: tags, each: \"$.tags[*]\", key: [parent.id, tag], columns: { tag: $ } }";

fn serves(api: &Api, items: Value) {
    api.becomes(move |_| Reply::json(&json!({ "items": items })));
}

fn start(items: Value, model: &str) -> (Api, Project) {
    let api = Api::start(|_| Reply::status(500, "{}"));
    serves(&api, items);
    let project = Project::simple(&api.url(), SYNC, model);
    (api, project)
}

fn phones(project: &Project) -> Vec<Value> {
    project.column("select parent_id || ':' || number || coalesce(kind, '') from api.phones_live order by all")
}

fn actions(project: &Project) -> Vec<Value> {
    project.column("select parent_id || ':' || number || ' ' || _last_action from api.phones order by all")
}

#[test]
fn items_follow_the_changes_and_the_deletes_of_their_row() {
    let ann = json!({ "id": 1, "name": "Ann", "phones": [{ "number": "11", "kind": "w" }, { "number": "12" }], "tags": ["x", "y"] });
    let bob = json!({ "id": 2, "name": "Bob", "phones": [{ "number": "21" }] });
    let (api, project) = start(json!([ann, bob]), MODEL);
    let report = project.run();
    assert_eq!((&report["added"], &report["change_from"], &report["change_to"]), (&json!(2), &json!(1), &json!(7)));
    assert_eq!(phones(&project), ["1:11w", "1:12", "2:21"]);
    assert_eq!(project.column("select parent_id || tag from api.tags_live order by all"), ["1x", "1y"]);

    // nothing has changed, and nothing moves
    assert_eq!(project.run()["change_from"], Value::Null);

    // the row is as it was, and its items are not: one is gone, one is new, one has changed
    let ann = json!({ "id": 1, "name": "Ann", "phones": [{ "number": "11", "kind": "h" }, { "number": "13" }], "tags": ["y"] });
    serves(&api, json!([ann, bob]));
    let report = project.run();
    assert_eq!(
        (&report["unchanged"], &report["change_from"], &report["change_to"]),
        (&json!(2), &json!(8), &json!(11))
    );
    assert_eq!(phones(&project), ["1:11h", "1:13", "2:21"]);
    assert_eq!(actions(&project), ["1:11 UPDATED", "1:12 DELETED", "1:13 ADDED", "2:21 ADDED"]);

    // the row goes, and so do its items; it comes back, and so do they
    serves(&api, json!([bob]));
    assert_eq!(project.run()["deleted"], 1);
    assert_eq!(phones(&project), ["2:21"]);
    assert_eq!(project.column("select parent_id || tag from api.tags_live order by all"), [] as [Value; 0]);
    serves(&api, json!([ann, bob]));
    project.run();
    assert_eq!(phones(&project), ["1:11h", "1:13", "2:21"]);
    assert_eq!(actions(&project), ["1:11 ADDED", "1:12 DELETED", "1:13 ADDED", "2:21 ADDED"]);
    // each version has an end where the next begins, or where it was deleted
    let versions = "select parent_id || ':' || number || coalesce(kind, '') || case when valid_to is null then '' else '†' end \
                    from api.phones_history order by _change";
    assert_eq!(project.column(versions), ["1:11w†", "1:12†", "2:21", "1:11h†", "1:13†", "1:11h", "1:13"]);

    let gone = project.headwater(&["reset", "acme/items", "--purge", "--yes"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    assert_eq!(project.number("select count(*) from api.phones") + project.number("select count(*) from api.tags"), 0);
}

#[test]
fn a_row_that_comes_twice_has_the_items_of_the_last() {
    let twice = json!([
        { "id": 1, "name": "a", "phones": [{ "number": "1" }, { "number": "2" }] },
        { "id": 1, "name": "b", "phones": [{ "number": "2", "kind": "x" }] },
    ]);
    let (_api, project) = start(twice, MODEL);
    project.run();
    assert_eq!(phones(&project), ["1:2x"]);
}

#[test]
fn an_item_that_does_not_fit_is_in_quarantine_and_deletes_nothing() {
    let with = |size: Value| json!([{ "id": 1, "name": "a", "phones": [{ "number": "1", "size": size }, { "number": "2", "size": 2 }] }]);
    let model = MODEL.replace("kind: $.kind", "kind: $.kind, size: { path: $.size, type: integer }");
    let (api, project) = start(with(json!(1)), &model);
    project.run();
    serves(&api, with(json!("large")));
    project.run();
    assert_eq!(phones(&project), ["1:1", "1:2"], "what does not fit stays as it was");
    let held = project.rows("select model, key, column_name from headwater.quarantine");
    assert_eq!(held, [json!({ "model": "Item.phones", "key": "[1,\"1\"]", "column_name": "size" })]);
    serves(&api, with(json!(3)));
    project.run();
    assert_eq!(project.number("select count(*) from headwater.quarantine"), 0);
    assert_eq!(project.column("select size from api.phones_live order by number"), [json!(3), json!(2)]);
}

#[test]
fn a_remap_fills_the_table_of_items_that_is_new() {
    let bare = "raw: true\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }";
    let items = json!([{ "id": 1, "phones": [{ "number": "1" }] }, { "id": 2, "phones": [] }]);
    let (_api, project) = start(items, bare);
    project.run();
    let children = "children: [{ table: phones, each: \"$.phones[*]\", key: [parent.id, number], columns: { number: $.number, kind: $.kind } }]";
    project.write("integrations/api/models/Item.yaml", format!("model: Item\ntable: items\n{bare}\n{children}\n"));
    let output = project.headwater(&["remap"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(phones(&project), ["1:1"]);
}
