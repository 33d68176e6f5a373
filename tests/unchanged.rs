//! What stays as it was is not touched, and what changes is seen: row metadata and change numbers over several runs.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

const WIDE: &str = r#"
key: [id]
columns:
  id: { path: $.id, type: bigint }
  name: $.name
  whole: { path: $.whole, type: integer }
  price: { path: $.price, type: "decimal(10,2)" }
  ratio: { path: $.ratio, type: double }
  open: { path: $.open, type: boolean }
  at: { path: $.at, type: timestamptz }
  day: { path: $.day, type: date }
  tags: { path: "$.tags[*]", type: "varchar[]" }
  sizes: { path: $.sizes, type: "integer[]" }
  address: { path: $.address, type: json }
  uid: { path: $.uid, type: uuid }
  label: { value: "{{ record.name | upper }}!" }
"#;

/// Two records, and the same two as another server would write them.
const SPELLINGS: [&str; 2] = [
    r#"{"items": [
        {"id": 1, "name": "café", "whole": 1, "price": 12.5, "ratio": 100, "open": true, "at": "2024-03-01T10:00:00Z",
         "day": "2024-03-01", "tags": ["a", "b"], "sizes": [1, 2], "address": {"city": "Bonn", "zip": 53111, "geo": {"x": 1, "y": 2}},
         "uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
        {"id": 2, "name": "null and nothing", "whole": null, "price": 0, "ratio": 0, "open": false, "address": null}]}"#,
    r#"{"items":[
        {"uid":"6BA7B810-9DAD-11D1-80B4-00C04FD430C8","address":{"geo":{"y":2.0,"x":1e0},"zip":53111.0,"city":"Bonn"},
         "sizes":[1.0,2e0],"tags":["a","b"],"day":"2024-03-01","at":"2024-03-01T11:00:00.000+01:00","open":true,"ratio":1e2,
         "price":12.50,"whole":1.0,"name":"caf\u00e9","id":1.0,"new":"a member that no column names"},
        {"open":false,"ratio":-0.0,"price":0.00,"name":"null and nothing","id":2}]}"#,
];

fn everything(project: &Project) -> Vec<Value> {
    project.rows("select rowid, * from api.items order by id")
}

fn counter(project: &Project) -> Vec<Value> {
    project.column("select change_counter from headwater.meta")
}

/// Added, updated, deleted, unchanged.
fn did(report: &Value) -> [u64; 4] {
    ["added", "updated", "deleted", "unchanged"].map(|what| report[what].as_u64().expect("a count"))
}

/// An API with one page of these records.
fn serves(records: Value) -> impl Fn(&Request) -> Reply {
    move |_| Reply::json(&json!({ "items": records }))
}

#[test]
fn a_second_run_on_unchanged_data_writes_no_row() {
    let api = Api::start(|_| Reply::text("application/json", SPELLINGS[0]));
    let project = Project::simple(&api.url(), SYNC, WIDE);
    assert_eq!(did(&project.run()), [2, 0, 0, 0]);
    let (rows, changes) = (everything(&project), counter(&project));
    assert_eq!(rows[0]["label"], "CAFÉ!");
    assert_eq!(changes, [2]);

    let same = |report: Value| {
        assert_eq!(did(&report), [0, 0, 0, 2]);
        assert_eq!((&report["change_from"], &report["change_to"]), (&Value::Null, &Value::Null));
        assert_eq!(everything(&project), rows);
        assert_eq!(counter(&project), changes);
    };
    same(project.run());
    api.becomes(|_| Reply::text("application/json", SPELLINGS[1]));
    same(project.run());
    let full = project.headwater(&["run", "--full", "--json"]);
    same(full.report().remove(0));
}

#[test]
fn each_kind_of_change_is_seen_and_only_its_row_is_written() {
    let first: Value = serde_json::from_str(SPELLINGS[0]).expect("JSON");
    let api = Api::start(serves(first["items"].clone()));
    let project = Project::simple(&api.url(), SYNC, WIDE);
    project.run();
    let mut record = first["items"].clone();
    let mut last_change = 2;
    for (member, value) in [
        ("name", json!("cafe")),
        ("whole", Value::Null),
        ("price", json!(12.51)),
        ("open", json!(false)),
        ("at", json!("2024-03-01T10:00:00.001Z")),
        ("tags", json!(["b", "a"])),
        ("address", json!({ "city": "Bonn", "zip": "53111" })),
        ("sizes", json!([])),
        ("sizes", Value::Null),
    ] {
        let before = everything(&project);
        record[0][member] = value.clone();
        api.becomes(serves(record.clone()));
        assert_eq!(did(&project.run()), [0, 1, 0, 1], "{member} becomes {value}");
        let after = everything(&project);
        last_change += 1;
        assert_eq!((&after[0]["_change"], &after[0]["_last_action"]), (&json!(last_change), &json!("UPDATED")));
        assert_eq!(after[0]["_first_seen_at"], before[0]["_first_seen_at"]);
        assert!(after[0]["_last_modified_at"].as_str() > before[0]["_last_modified_at"].as_str());
        let without_rowid = |row: &Value| {
            row.as_object().map(|row| row.iter().skip(1).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>())
        };
        assert_eq!(without_rowid(&after[1]), without_rowid(&before[1]), "the other row");
    }
    assert_eq!(counter(&project), [last_change]);
}

#[test]
fn a_volatile_column_alone_is_no_change() {
    let api = Api::start(serves(json!([{ "id": 1, "name": "a", "polled": 1 }])));
    let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, polled: { path: $.polled, type: bigint } }\n\
                 volatile: [polled]";
    let project = Project::simple(&api.url(), SYNC, model);
    project.run();
    let before = everything(&project);
    api.becomes(serves(json!([{ "id": 1, "name": "a", "polled": 2 }])));
    assert_eq!(did(&project.run()), [0, 0, 0, 1]);
    assert_eq!(everything(&project), before);
    api.becomes(serves(json!([{ "id": 1, "name": "b", "polled": 3 }])));
    assert_eq!(did(&project.run()), [0, 1, 0, 0]);
    assert_eq!(project.rows("select name, polled from api.items"), [json!({ "name": "b", "polled": 3 })]);
}

#[test]
fn a_record_that_comes_back_is_added_again() {
    let both = json!([{ "id": 1, "name": "a" }, { "id": 2, "name": "b" }]);
    let api = Api::start(serves(both.clone()));
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.run();
    let first = everything(&project);
    api.becomes(serves(json!([{ "id": 1, "name": "a" }])));
    assert_eq!(did(&project.run()), [0, 0, 1, 1]);
    let gone = &everything(&project)[1];
    assert_eq!((&gone["name"], &gone["_last_action"], &gone["_change"]), (&json!("b"), &json!("DELETED"), &json!(3)));
    assert_eq!(
        (&gone["_first_seen_at"], &gone["_last_modified_at"]),
        (&first[1]["_first_seen_at"], &gone["_deleted_at"])
    );
    assert_eq!(project.column("select id from api.items_live"), [1]);

    // it stays deleted, untouched, while it is gone
    assert_eq!(did(&project.run()), [0, 0, 0, 1]);
    assert_eq!(&everything(&project)[1], gone);

    api.becomes(serves(both));
    assert_eq!(did(&project.run()), [1, 0, 0, 1], "with the very values it had");
    let back = &everything(&project)[1];
    assert_eq!(
        (&back["_last_action"], &back["_deleted_at"], &back["_change"]),
        (&json!("ADDED"), &Value::Null, &json!(4))
    );
    assert!(back["_first_seen_at"].as_str() > gone["_deleted_at"].as_str());
    assert_eq!(project.column("select id from api.items_live order by id"), [1, 2]);
    assert_eq!(everything(&project)[0], first[0], "the other row");
}

#[test]
fn a_reader_that_remembers_a_change_number_sees_each_later_change() {
    let name = |id: u64, name: &str| json!({ "id": id, "name": name });
    let states = [
        json!([name(1, "a"), name(2, "b"), name(3, "c")]),
        json!([name(2, "b2"), name(3, "c"), name(4, "d")]),
        json!([name(2, "b2"), name(3, "c")]),
        json!([name(1, "a"), name(2, "b3"), name(3, "c"), name(4, "d")]),
    ];
    let seen = [
        vec![(1, "ADDED"), (2, "ADDED"), (3, "ADDED")],
        vec![(2, "UPDATED"), (4, "ADDED"), (1, "DELETED")],
        vec![(4, "DELETED")],
        vec![(1, "ADDED"), (2, "UPDATED"), (4, "ADDED")],
    ];
    let api = Api::start(serves(Value::Null));
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let mut last = 0;
    for (state, expected) in states.into_iter().zip(seen) {
        api.becomes(serves(state));
        let report = project.run();
        let changed = project
            .rows(&format!("select id, _last_action, _change from api.items where _change > {last} order by _change"));
        let mut found: Vec<(u64, &str)> = changed
            .iter()
            .map(|row| (row["id"].as_u64().expect("an id"), row["_last_action"].as_str().expect("an action")))
            .collect();
        let numbers: Vec<u64> = changed.iter().map(|row| row["_change"].as_u64().expect("a number")).collect();
        assert_eq!(
            numbers,
            (last + 1..=last + expected.len() as u64).collect::<Vec<_>>(),
            "one number for each change, without a gap"
        );
        assert_eq!(
            (report["change_from"].as_u64(), report["change_to"].as_u64()),
            (Some(last + 1), numbers.last().copied())
        );
        found.sort_unstable_by_key(|(id, _)| *id);
        let mut expected = expected;
        expected.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(found, expected);
        last = *numbers.last().expect("a change");
    }
}

#[test]
fn two_connections_and_two_variants_in_one_table_leave_each_other_alone() {
    // the same ids everywhere; `/a` is one account, `/b` another
    let page = |request: &Request| {
        let whose = format!("{} {}", request.path, request.param("kind").unwrap_or("none"));
        Reply::json(&json!({ "items": [{ "id": 1, "name": whose }, { "id": 2, "name": whose }] }))
    };
    let api = Api::start(page);
    let project = Project::simple(
        &api.url(),
        &SYNC.replace("/items }", "/items, query: { kind: \"{{ input.kind }}\" } }"),
        MODEL,
    );
    project.write(
        "headwater.yaml",
        &format!(
            "database: test.duckdb\nconnections:\n  one: {{ provider: api, base_url: {0}/a }}\n  two:\n    provider: api\n    base_url: {0}/b\n    \
             syncs: {{ items: {{ variants: {{ red: {{ input: {{ kind: red }} }}, blue: {{ input: {{ kind: blue }} }} }} }} }}\n",
            api.url()
        ),
    );
    let run = |selectors: &[&str]| {
        let output = project.headwater(&[&["run", "--json"], selectors].concat());
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        output.report()
    };
    assert_eq!(run(&[]).iter().map(did).collect::<Vec<_>>(), [[2, 0, 0, 0]; 3]);
    let names = |what: &str| project.column(&format!("select name from api.items_live where {what} order by all"));
    let whose = "select _connection || '@' || _variant as whose, id, name, _last_action from api.items order by all";
    assert_eq!(
        project.column("select distinct name from api.items order by all"),
        ["/a/items none", "/b/items blue", "/b/items red"]
    );
    assert_eq!(names("id = 1").len(), 3);

    // in one variant a row vanishes and one changes
    api.becomes(move |request| {
        if request.param("kind") == Some("blue") {
            Reply::json(&json!({ "items": [{ "id": 2, "name": "new" }] }))
        } else {
            page(request)
        }
    });
    let before = project.rows(&format!("select * from ({whose}) where not whose = 'two@blue'"));
    let reports = run(&["two/items@blue"]);
    assert_eq!(reports.iter().map(did).collect::<Vec<_>>(), [[0, 1, 1, 0]]);
    assert_eq!(project.rows(&format!("select * from ({whose}) where not whose = 'two@blue'")), before);
    assert_eq!(run(&[]).iter().map(did).collect::<Vec<_>>(), [[0, 0, 0, 2], [0, 0, 0, 2], [0, 0, 0, 1]]);
    assert_eq!(
        project.rows(&format!("select id, _last_action as it from ({whose}) where whose = 'two@blue'")),
        [json!({ "id": 1, "it": "DELETED" }), json!({ "id": 2, "it": "UPDATED" })]
    );
}

#[test]
fn what_comes_after_a_change_of_its_row_is_no_row_that_is_as_it_was() {
    // as many bytes as wait for a comparison with the table, on each of two pages
    let many = |from: u64| (from..from + 14).map(|id| json!({ "id": id, "name": format!("{id}").repeat(400_000) }));
    let page = |name: &str, from: u64| -> Value {
        std::iter::once(json!({ "id": 1, "name": name })).chain(many(from)).collect()
    };
    let (before, between) = (page("before", 100), page("between", 100));
    let again = page("before", 200);
    let serves = |first: Value, second: Value| {
        move |request: &Request| {
            Reply::json(&match request.param("page") {
                Some(_) => json!({ "items": second }),
                None => json!({ "items": first, "next": "2" }),
            })
        }
    };
    let api = Api::start(serves(before.clone(), again.clone()));
    let sync = format!("{SYNC}\npagination: {{ cursor: {{ from: $.next, query: page }} }}");
    let project = Project::simple(&api.url(), &sync, MODEL);
    let run = || project.headwater(&["run", "--json", "--commit-every", "60s"]).report().remove(0);
    assert_eq!(did(&run()), [29, 0, 0, 0]);
    api.becomes(serves(between.clone(), again.clone()));
    let report = run();
    assert_eq!((did(&report), &report["duplicates"]), ([0, 0, 0, 29], &json!(1)));
    api.becomes(serves(before, page("between", 201)));
    // what was as it was when it was compared is counted so
    assert_eq!(did(&run()), [1, 1, 1, 28]);
    assert_eq!(project.column("select name from api.items where id = 1"), ["between"]);
}
