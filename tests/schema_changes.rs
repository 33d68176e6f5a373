//! A model that changes under a table with rows: what `plan` tells, what `run` does by itself, and what it does with a person's word.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const SYNC: &str = "request: { get: /items, query: { since: '{{ watermark }}' } }
response: { records: '$.items[*]' }
incremental: { field: $.updated, type: integer, order: none }";

const BEFORE: &str = "key: [id]
columns:
  id: { path: $.id, type: bigint }
  name: $.name
  code: { path: $.code, type: integer }
  old: $.old
  updated: { path: $.updated, type: bigint }";

/// Three items; asked since a watermark, none of them is older.
fn items(request: &Request) -> Reply {
    let item = |id: usize| {
        let updated = 100 + id;
        json!({ "id": id, "name": format!("item {id}"), "code": format!("{id}0"), "old": "x", "tags": ["t"], "updated": updated })
    };
    let since = request.number("since", 0);
    Reply::json(&json!({ "items": (1..=3).filter(|id| 100 + id >= since).map(item).collect::<Vec<_>>() }))
}

fn loaded() -> (Api, Project) {
    let api = Api::start(items);
    let project = Project::simple(&api.url(), SYNC, BEFORE);
    (api, project)
}

fn model(project: &Project, text: &str) {
    project.write("integrations/api/models/Item.yaml", format!("model: Item\ntable: items\n{text}\n"));
}

/// What `plan` prints, which must change nothing.
fn plan(project: &Project, arguments: &[&str]) -> String {
    let before = files(project.path());
    let output = project.headwater(&[&["plan"], arguments].concat());
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(files(project.path()) == before, "`plan` wrote something");
    output.stdout
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .map(|entry| (entry.file_name().into_string().expect("UTF-8"), std::fs::read(entry.path()).expect("read")))
        .collect()
}

/// The number of rows and the highest change number, which only ever rises.
fn changes(project: &Project) -> (i64, Vec<Value>) {
    let counter = project.number("select change_counter from headwater.meta");
    (counter, project.column("select _change from api.items order by _change"))
}

#[test]
fn a_plan_is_told_and_done_step_by_step() {
    let (_api, project) = loaded();
    let mut printed = vec![("no database", plan(&project, &[]))];
    project.run();
    printed.push(("as the model says", plan(&project, &[])));

    // harmless: a new column, a wider type
    let harmless =
        BEFORE.replace("type: integer }", "type: bigint }") + "\n  tags: { path: '$.tags[*]', type: 'varchar[]' }";
    model(&project, &harmless);
    printed.push(("harmless", plan(&project, &[])));
    let output = project.headwater(&["run"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let note = "note: acme/items: api.items: column added tags VARCHAR[]: old rows have null there until `headwater run --full`";
    assert!(output.stdout.contains(note), "{}", output.stdout);
    assert_eq!(project.column("select tags from api.items order by id"), [json!(null), json!(null), json!(["t"])]);
    assert_eq!(project.headwater(&["run", "--full"]).code, 0);
    assert_eq!(project.number("select count(tags) from api.items"), 3);
    printed.push(("done", plan(&project, &[])));

    // a column that the model drops is kept
    let dropped = harmless.replace("  old: $.old\n", "");
    model(&project, &dropped);
    printed.push(("a dropped column", plan(&project, &[])));
    let report = project.run();
    assert_eq!(report["schema_changes"][0]["change"], "column_dropped");
    assert_eq!(project.number("select count(old) from api.items"), 2, "the row that came again lost it");
    assert_eq!(project.run()["schema_changes"], json!([]));

    // what does not fit is refused, and nothing of it is done
    let retyped = dropped.replace("name: $.name", "name: { path: $.id, type: integer }");
    model(&project, &retyped.replace("tags:", "labels:"));
    printed.push(("another type", plan(&project, &["acme/items"])));
    let before = changes(&project);
    let failed = project.run_fails(2);
    let hint = failed["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("`headwater plan`") && hint.contains("`headwater run --allow-destructive`"), "{hint}");
    assert_eq!(changes(&project), before);

    // with a word all is done, and the same run reads everything again
    let output = project.headwater(&["run", "acme/items", "--allow-destructive", "--json"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let report = output.report().remove(0);
    assert_eq!((&report["records"], &report["updated"]), (&json!(3), &json!(3)), "{report}");
    assert_eq!(
        project.column("describe api.items"),
        [
            "id",
            "name",
            "code",
            "updated",
            "_connection",
            "_variant",
            "_first_seen_at",
            "_last_modified_at",
            "_last_action",
            "_deleted_at",
            "_change",
            "_hash",
            "labels"
        ]
    );
    assert_eq!(
        project.rows("select id, name, code, labels from api.items_live order by id"),
        [1, 2, 3].map(|id| json!({ "id": id, "name": id, "code": id * 10, "labels": ["t"] }))
    );
    let after = changes(&project);
    assert_eq!(after, (before.0 + 3, [1, 2, 3].map(|nth| json!(before.0 + nth)).into()));
    printed.push(("done again", plan(&project, &[])));

    // another key
    let keyed = retyped.replace("tags:", "labels:").replace("key: [id]", "key: [code]");
    model(&project, &keyed);
    printed.push(("another key", plan(&project, &[])));
    assert!(
        project.run_fails(2)["error"]["message"].as_str().expect("text").contains("its key was (id) and is now (code)")
    );
    let lines = project.headwater(&["plan", "--json"]).json();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["reads_again"], json!(["acme/items"]));
    let change = &lines[0]["changes"][0];
    assert_eq!((&change["action"], &change["destructive"]), (&json!("change key"), &json!(true)));
    let report = project.headwater(&["run", "--allow-destructive", "--json"]).report().remove(0);
    assert_eq!((&report["state"], &report["added"]), (&json!("completed"), &json!(3)));
    assert_eq!(changes(&project).1, [1, 2, 3].map(|nth| json!(after.0 + nth)));
    let again = project.run();
    assert_eq!((&again["added"], &again["updated"]), (&json!(0), &json!(0)));

    assert_eq!(
        project.rows("select change, detail from headwater.schema_changes order by rowid"),
        [
            ("table_created", "id, name, code, old, updated"),
            ("column_widened", "code INTEGER to BIGINT"),
            ("column_added", "tags VARCHAR[]"),
            ("column_dropped", "old"),
            ("column_retyped", "name VARCHAR to INTEGER"),
            ("column_added", "labels VARCHAR[]"),
            ("column_removed", "tags"),
            ("column_removed", "old"),
            ("key_changed", "(id) to (code)"),
        ]
        .map(|(change, detail)| json!({ "change": change, "detail": detail }))
    );
    let text: String = printed.iter().map(|(when, text)| format!("== {when}\n{text}\n")).collect();
    insta::with_settings!({ snapshot_path => "schema_changes", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("plan", text);
    });
}

#[test]
fn a_table_of_somebody_else_is_told_beside_the_plans_of_the_others() {
    let (_api, project) = loaded();
    project.run();
    let theirs = "create schema other; create table other.items (id bigint)";
    duckdb::Connection::open(project.database()).expect("opened").execute_batch(theirs).expect("made");
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections: { acme: { provider: api }, b: { provider: other } }\n",
    );
    project.write("providers/other.yaml", "provider: other\nbase_url: http://127.0.0.1:9\n");
    project.write("integrations/other/syncs/items.yaml", format!("sync: items\nmodel: Item\n{SYNC}\n"));
    project.write("integrations/other/models/Item.yaml", format!("model: Item\ntable: items\n{BEFORE}\n"));
    model(&project, &BEFORE.replace("  old: $.old\n", ""));
    let output = project.headwater(&["plan"]);
    assert_eq!(output.code, 2);
    assert!(
        output.stderr.contains("table `other.items`: it exists and headwater did not make it"),
        "{}",
        output.stderr
    );
    assert!(output.stdout.contains("- drop column     destructive  old"), "{}", output.stdout);
    let none = project.headwater(&["plan", "nobody"]);
    assert_eq!(none.code, 2, "{}", none.stdout);
}

#[test]
fn a_kill_in_the_middle_of_a_word_is_gone_on_with() {
    let (api, project) = loaded();
    project.run();
    api.asked();
    model(&project, &BEFORE.replace("key: [id]", "key: [name]"));
    // the table is made anew, and the API does not answer: what follows is a run without the word
    project.write("providers/api.yaml", "provider: api\nbase_url: http://127.0.0.1:9\nretry: { attempts: 1 }\n");
    let failed = project.headwater(&["run", "--allow-destructive", "--json"]);
    assert_eq!(failed.code, 3, "{}{}", failed.stdout, failed.stderr);
    assert_eq!(project.number("select count(*) from api.items"), 0);
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {}\n", api.url()));
    assert_eq!(project.run()["added"], 3);
    assert_eq!(project.column("select _change from api.items order by id"), [4, 5, 6]);
}
