//! Every version of a row, by the real program.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
const MODEL: &str = "history: true\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

fn serves(names: &[(i64, &str)]) -> impl Fn(&Request) -> Reply + use<> {
    let records: Value = names.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect();
    move |_| Reply::json(&json!({ "items": records }))
}

/// The rows as they were at the end of each run, by what the history says.
fn as_of_each_run(project: &Project) -> Vec<String> {
    let select = "select string_agg(h.id || h.name, ' ' order by h.id) as then from headwater.runs r join api.items_history h \
                  on h.valid_from <= r.ended_at and (h.valid_to is null or r.ended_at < h.valid_to) group by r.run_id, r.started_at \
                  order by r.started_at";
    project.column(select).iter().map(|value| value.as_str().expect("text").to_owned()).collect()
}

#[test]
fn the_table_as_it_was_at_any_time() {
    let api = Api::start(serves(&[(1, "a"), (2, "b"), (3, "c")]));
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.run();
    let days: [&[(i64, &str)]; 4] = [
        &[(1, "a"), (2, "B"), (3, "c")],
        &[(1, "a"), (3, "c"), (4, "d")],
        &[(1, "a"), (3, "c"), (4, "d")],
        &[(2, "b"), (3, "c"), (4, "d")],
    ];
    for day in days {
        api.becomes(serves(day));
        project.headwater(&["run", "--accept-deletes"]);
    }
    assert_eq!(as_of_each_run(&project), ["1a 2b 3c", "1a 2B 3c", "1a 3c 4d", "1a 3c 4d", "2b 3c 4d"]);
    // a version begins with the commit that the row says
    let other = "select count(*) as n from api.items t join api.items_history h using (id, _change) \
                 where t._deleted_at is null and (h.valid_from <> t._last_modified_at or h.valid_to is not null or h.name <> t.name)";
    assert_eq!(project.number(other), 0);
    assert_eq!(project.number("select count(*) as n from api.items_history"), 6);
}

#[test]
fn a_remap_makes_versions_too() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 1, "name": "a" }, { "id": 2, "name": 2 }] })));
    let model = MODEL
        .replace("history: true", "history: true\nraw: true")
        .replace("name: $.name", "name: { path: $.name, type: uuid }");
    let project = Project::simple(&api.url(), SYNC, &model.replace("type: uuid", "type: json"));
    project.run();
    project.write(
        "integrations/api/models/Item.yaml",
        format!(
            "model: Item\ntable: items\n{}\n",
            MODEL
                .replace("history: true", "history: true\nraw: true")
                .replace("name: $.name", "title: { value: \"{{ record.name }}!\" }")
        ),
    );
    assert_eq!(project.headwater(&["remap"]).code, 0);
    let versions =
        "select id || coalesce(title, '-') || (valid_to is null) from api.items_history order by id, _change";
    assert_eq!(project.column(versions), ["1-false", "1a!true", "2-false", "22!true"].map(Value::from));
}

#[test]
fn columns_of_the_history_cannot_be_columns_of_its_model() {
    let project = Project::simple("http://127.0.0.1:9", SYNC, &MODEL.replace("name: $.name", "Valid_From: $.name"));
    let output = project.headwater(&["check"]);
    assert_eq!(output.code, 2, "{}{}", output.stdout, output.stderr);
    assert!(
        format!("{}{}", output.stdout, output.stderr)
            .contains("`Valid_From` is a column of the table that `history` makes")
    );
}
