//! `columns_from`: columns that the input of a connection names.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply};

fn api() -> Api {
    Api::start(|request| {
        let mut records = vec![
            json!({ "id": 1, "properties": { "score": 5, "o'brien": "x", "a.b": true, "tier": "gold" } }),
            json!({ "id": 2, "properties": { "score": null } }),
        ];
        // the API gives what is asked for
        let wanted = request.param("fields").unwrap_or_default().to_owned();
        for record in &mut records {
            let properties = record["properties"].as_object_mut().expect("a map");
            properties.retain(|name, _| wanted.split(',').any(|one| one == name));
        }
        Reply::json(&Value::from(records))
    })
}

fn project(api: &Api, connections: &str) -> Project {
    let project = Project::simple(
        &api.url(),
        "input: { type: object, properties: { fields: { type: array } } }\n\
         request: { get: /items, query: { fields: \"{{ input.fields | map(attribute='name') | join(',') }}\" } }\n\
         response: { records: \"$[*]\" }\ndeletes: { absence: {} }",
        "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }\nhistory: true\ncolumns_from:\n  each: \"{{ input.fields }}\"\n  \
         name: \"{{ item.name | slug | replace('-', '_') }}\"\n  path: \"$.properties['{{ item.name }}']\"\n  type: \"{{ item.type | default('varchar') }}\"",
    );
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n{connections}"));
    project
}

fn rows(project: &Project, connection: &str) -> Vec<Value> {
    project.rows(&format!("SELECT * EXCLUDE (_connection) FROM (SELECT COLUMNS('^[^_]|_connection') FROM api.items WHERE _connection = '{connection}' ORDER BY id)"))
}

#[test]
fn each_connection_names_its_columns_and_the_table_has_them_all() {
    let api = api();
    let one = "  one: { provider: api, syncs: { items: { input: { fields: [{ name: score, type: integer }, { name: \"o'brien\" }] } } } }\n";
    let two = |fields: &str| {
        format!("  two: {{ provider: api, syncs: {{ items: {{ input: {{ fields: [{fields}] }} }} }} }}\n")
    };
    let project = project(&api, &format!("{one}{}", two("{ name: a.b, type: boolean }")));
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 0, "{output:?}");
    let mut first = rows(&project, "one");
    assert_eq!(first.remove(0), json!({ "id": 1, "a_b": null, "o_brien": "x", "score": 5 }));
    assert_eq!(rows(&project, "two")[0], json!({ "id": 1, "a_b": true, "o_brien": null, "score": null }));

    let again = project.headwater(&["run", "--json"]);
    assert!(again.report().iter().all(|sync| sync["unchanged"] == 2), "{}", again.stdout);

    // one field more for the second: its rows are read again, the others are as they were
    let before = project.column("SELECT max(_change) FROM api.items WHERE _connection = 'one'");
    project.write(
        "headwater.yaml",
        format!("database: test.duckdb\nconnections:\n{one}{}", two("{ name: a.b, type: boolean }, { name: tier }")),
    );
    let output = project.headwater(&["run", "--json"]);
    let report = output.report();
    assert_eq!((&report[0]["unchanged"], &report[1]["updated"]), (&json!(2), &json!(1)), "{}", output.stdout);
    assert_eq!(
        rows(&project, "two")[0],
        json!({ "id": 1, "a_b": true, "o_brien": null, "score": null, "tier": "gold" })
    );
    assert_eq!(project.column("SELECT max(_change) FROM api.items WHERE _connection = 'one'"), before);
    assert_eq!(project.column("SELECT count(*) FROM api.items_history"), [json!(5)], "the version before is kept");
}

#[test]
fn a_value_of_another_type_is_quarantined_as_everywhere() {
    let api = api();
    let project = project(
        &api,
        "  one: { provider: api, syncs: { items: { input: { fields: [{ name: tier, type: bigint }] } } } }\n",
    );
    let report = project.run();
    assert_eq!((&report["added"], &report["quarantined"]), (&json!(1), &json!(1)));
    let reasons = project.column("SELECT column_name FROM headwater.quarantine");
    assert_eq!(reasons, [json!("tier")]);
}

#[test]
fn a_column_can_be_a_place_in_a_list() {
    let api = Api::start(|_| Reply::json(&json!([[1, "Ann", 7], [2, "Bob", 9]])));
    let project = Project::simple(
        &api.url(),
        "input: { type: object, properties: { columns: { type: array } } }\nrequest: { get: /rows }\nresponse: { records: \"$[*]\" }\n\
         deletes: { absence: {} }",
        "key: [id]\ncolumns: { id: { path: \"$[0]\", type: bigint } }\ncolumns_from:\n  each: \"{{ input.columns }}\"\n  name: \"{{ item.name }}\"\n  \
         path: \"$[{{ item.at }}]\"\n  type: \"{{ item.type }}\"",
    );
    let input = "{ columns: [{ name: who, at: 1, type: varchar }, { name: points, at: 2, type: integer }] }";
    let connection = format!("  one: {{ provider: api, syncs: {{ items: {{ input: {input} }} }} }}\n");
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n{connection}"));
    project.run();
    let rows = project.rows("SELECT id, who, points FROM api.items_live ORDER BY id");
    assert_eq!(rows, [json!({ "id": 1, "who": "Ann", "points": 7 }), json!({ "id": 2, "who": "Bob", "points": 9 })]);
}

#[test]
fn a_column_can_be_made_of_the_record_and_the_item() {
    let api = Api::start(|_| {
        Reply::json(
            &json!([{ "id": 1, "Owner": { "Name": "Ada" }, "Name": "Deal" }, { "id": 2, "Owner": null, "Name": "Other" }]),
        )
    });
    let project = project(&api, "");
    let model = "model: Item\ntable: items\nkey: [id]\nhistory: true\ncolumns: { id: { path: $.id, type: bigint } }\ncolumns_from:\n  \
        each: \"{{ input.fields }}\"\n  name: \"{{ item | slug | replace('-', '_') }}\"\n  \
        value: \"{{ (record[(item | split('.'))[0]] | default({}))[(item | split('.'))[1]] if '.' in item else record[item] }}\"\n";
    project.write("integrations/api/models/Item.yaml", model);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  one: { provider: api, syncs: { items: { input: { fields: [Owner.Name, Name] } } } }\n",
    );
    let sync = "sync: items\nmodel: Item\ninput: { type: object, properties: { fields: { type: array } } }\nrequest: { get: /items }\n\
        response: { records: \"$[*]\" }\ndeletes: { absence: {} }\n";
    project.write("integrations/api/syncs/items.yaml", sync);
    assert_eq!(project.run()["added"], 2);
    assert_eq!(
        rows(&project, "one"),
        [
            json!({ "id": 1, "owner_name": "Ada", "name": "Deal" }),
            json!({ "id": 2, "owner_name": null, "name": "Other" })
        ]
    );
    assert_eq!(project.run()["unchanged"], 2);

    project.write("integrations/api/models/Item.yaml", format!("{model}  path: \"$['{{{{ item }}}}']\"\n"));
    let output = project.headwater(&["check"]);
    assert!(output.code == 2 && output.stderr.contains("E052"), "{output:?}");
}
