//! Records kept beside their rows, and a mapping that changes without asking the API again: `raw`, `remap`, `retry`.

use serde_json::{Value, json};

use crate::support::{Api, Output, Project, Reply, Request};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
const NARROW: &str = "raw: true\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";
const WIDE: &str = "raw: true\nkey: [id]\ncolumns:\n  id: { path: $.id, type: bigint }\n  name: { value: \"{{ record.name | upper }}\" }\n  price: { path: $.price, type: \"decimal(10,2)\" }";

fn serves(records: Value) -> impl Fn(&Request) -> Reply {
    move |_| Reply::json(&json!({ "items": records }))
}

fn becomes(project: &Project, model: &str) {
    project.write("integrations/api/models/Item.yaml", format!("model: Item\ntable: items\n{model}\n"));
}

/// The report of the one sync.
fn report(output: &Output) -> Value {
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.report().remove(0)
}

fn items() -> Value {
    json!([{ "id": 1, "name": "a", "price": "1.50" }, { "id": 2, "name": "b", "price": 2 }, { "id": 3, "name": "c" }])
}

const ROWS: &str = "select * exclude (_first_seen_at, _last_modified_at, _deleted_at) from api.items order by id";

#[test]
fn a_remap_gives_what_reading_everything_again_gives() {
    let api = Api::start(serves(items()));
    let (remapped, read) = (Project::simple(&api.url(), SYNC, NARROW), Project::simple(&api.url(), SYNC, NARROW));
    for project in [&remapped, &read] {
        assert_eq!(project.run()["added"], 3);
        becomes(project, WIDE);
    }
    api.asked();
    let done = report(&remapped.headwater(&["remap", "--json"]));
    assert_eq!(api.asked(), Vec::<String>::new());
    assert_eq!(
        ["rows", "updated", "unchanged", "left"].map(|name| done[name].as_u64()),
        [Some(3), Some(3), Some(0), Some(0)]
    );
    assert_eq!((&done["change_from"], &done["change_to"]), (&json!(4), &json!(6)));
    read.headwater(&["run", "--full", "--json"]);
    assert_eq!(remapped.rows(ROWS), read.rows(ROWS));
    assert_eq!(remapped.column("select price from api.items_live order by id"), [json!(1.5), json!(2.0), Value::Null]);

    // again there is nothing to do, and a run has nothing to add: it does not even start over
    let before = remapped.rows("select rowid, * from api.items order by id");
    assert_eq!(report(&remapped.headwater(&["remap", "--json", "acme/items"]))["unchanged"], 3);
    let next = remapped.headwater(&["run", "--json"]);
    assert_eq!(report(&next)["unchanged"], 3);
    assert!(next.json().iter().all(|event| event["restarted"].is_null()), "{}", next.stdout);
    assert_eq!(remapped.rows("select rowid, * from api.items order by id"), before);
}

#[test]
fn a_model_written_in_its_sync_does_not_make_it_start_over_for_a_column() {
    let api = Api::start(serves(items()));
    let project = Project::simple(&api.url(), SYNC, NARROW);
    let written = |columns: &str| {
        let model = format!(
            "model:\n  model: Own\n  table: own\n  raw: true\n  key: [id]\n  columns: {{ id: $.id{columns} }}\n"
        );
        project.write("integrations/api/syncs/items.yaml", format!("sync: items\n{model}{SYNC}\n"));
    };
    written("");
    assert_eq!(project.run()["added"], 3);
    written(", name: $.name");
    assert_eq!(report(&project.headwater(&["remap", "--json"]))["updated"], 3);
    let next = project.headwater(&["run", "--json"]);
    assert_eq!(report(&next)["unchanged"], 3);
    assert!(next.json().iter().all(|event| event["restarted"].is_null()), "{}", next.stdout);
}

#[test]
fn what_no_column_takes_is_kept_up_to_date() {
    let api = Api::start(serves(items()));
    let project = Project::simple(&api.url(), SYNC, NARROW);
    project.run();
    let before = project.rows("select * exclude (_raw, _raw_hash) from api.items order by id");
    api.becomes(serves(json!([{ "id": 1, "name": "a", "price": "9.99" }, { "id": 2, "name": "b", "price": 2 }, { "id": 3, "name": "c" }])));
    assert_eq!(project.run()["unchanged"], 3);
    assert_eq!(project.rows("select * exclude (_raw, _raw_hash) from api.items order by id"), before);
    becomes(&project, WIDE);
    report(&project.headwater(&["remap", "--json"]));
    assert_eq!(project.column("select price from api.items where id = 1"), [json!(9.99)]);
}

#[test]
fn a_remap_needs_no_network_and_no_credentials() {
    let api = Api::start(serves(items()));
    let project = Project::simple(&api.url(), SYNC, NARROW);
    project.run();
    drop(api);
    becomes(&project, WIDE);
    project.write("headwater.yaml", "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { api_key: \"${NOT_SET_HERE}\" } }\n");
    let path = "integrations/api/syncs/items.yaml";
    project.write(
        path,
        format!(
            "sync: items\nmodel: Item\n{}",
            SYNC.replace("/items }", "/items, headers: { X-Key: \"{{ credentials.api_key }}\" } }")
        ),
    );
    assert_eq!(report(&project.headwater(&["remap", "--json"]))["updated"], 3);
    assert_eq!(report(&project.headwater(&["retry", "--json"]))["records"], 0);
}

#[test]
fn deleted_rows_and_rows_that_fit_no_more_stay_as_they_were() {
    let api = Api::start(serves(items()));
    let project = Project::simple(&api.url(), SYNC, NARROW);
    project.run();
    let two = json!([{ "id": 1, "name": "a", "price": "cheap" }, { "id": 2, "name": "b", "price": 2 }]);
    api.becomes(serves(two));
    assert_eq!(project.run()["deleted"], 1);
    let before = project
        .rows("select * exclude price from (select *, null as price from api.items) where id in (1, 3) order by id");
    becomes(&project, WIDE);
    let output = project.headwater(&["remap"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("1 rows stay as they were: their record no longer fits"), "{}", output.stdout);
    assert_eq!(project.rows("select * exclude price from api.items where id in (1, 3) order by id"), before);
    assert_eq!(project.column("select name from api.items order by id"), ["a", "B", "c"].map(Value::from));
    assert_eq!(
        project.column("select concat_ws(' ', column_name, code, key) from headwater.quarantine"),
        ["price type_mismatch [1]"].map(Value::from)
    );

    // a model that takes it again lets the row follow and the record leave
    becomes(&project, &WIDE.replace("type: \"decimal(10,2)\"", "type: varchar").replace("price:", "cost:"));
    assert_eq!(report(&project.headwater(&["remap", "--json"]))["updated"], 2);
    assert_eq!(project.number("select count(*) as n from headwater.quarantine"), 0);
    assert_eq!(project.column("select cost from api.items order by id"), [json!("cheap"), json!("2"), Value::Null]);
}

#[test]
fn rows_from_before_are_told_and_filled_by_a_full_run() {
    let api = Api::start(serves(items()));
    let project = Project::simple(&api.url(), SYNC, &NARROW.replace("raw: true\n", ""));
    project.run();
    let none = project.headwater(&["remap"]);
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("raw: true"), "{}", none.stderr);
    becomes(&project, NARROW);
    let output = project.headwater(&["remap"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("3 rows have no record yet: headwater run acme/items --full"), "{}", output.stdout);
    let full = report(&project.headwater(&["run", "--full", "--json"]));
    assert_eq!((&full["unchanged"], &full["change_from"]), (&json!(3), &Value::Null));
    assert_eq!(project.number("select count(_raw) as n from api.items"), 3);
}

#[test]
fn there_is_nothing_to_amend_before_the_first_run() {
    let project = Project::simple("http://127.0.0.1:9", SYNC, NARROW);
    for command in ["remap", "retry"] {
        let output = project.headwater(&[command]);
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains("headwater run"), "{}", output.stderr);
        assert!(!project.database().exists());
    }
}

#[test]
fn a_secret_that_the_server_copies_into_a_record_is_not_kept() {
    let secret = "s3cr3t+key 42";
    let answer = |request: &Request| {
        let key = request.header("x-key").unwrap_or_default().to_owned();
        Reply::json(
            &json!({ "items": [{ "id": 1, "name": "a", "echo": { key.clone(): [format!("key={key}")] } }, { "id": 2, "name": "b" }] }),
        )
    };
    let api = Api::start(answer);
    let project = Project::simple(&api.url(), SYNC, NARROW);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { key: \"${RAW_KEY}\" } }\n",
    );
    project.write(
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: Item\nrequest: { get: /items, headers: { X-Key: \"{{ credentials.key }}\" } }\nresponse: { records: \"$.items[*]\" }\n",
    );
    let output = project.headwater_with(&["run", "--json"], &[("RAW_KEY", secret)]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let kept = project.column("select cast(_raw as varchar) from api.items order by id");
    assert_eq!(kept, [r#"{"id":1,"name":"a","echo":{"***":["key=***"]}}"#, r#"{"id":2,"name":"b"}"#].map(Value::from));
    let bytes = std::fs::read(project.database()).expect("read");
    assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    // what is masked is not the record any more, so no row is made of it
    becomes(
        &project,
        &NARROW
            .replace("$.name", "$.echo")
            .replace("name: ", "name: { type: json, path: ")
            .replace("echo }", "echo } }"),
    );
    let again = project.headwater_with(&["run", "--full", "--json"], &[("RAW_KEY", secret)]);
    assert_ne!(again.code, 1, "{}{}", again.stdout, again.stderr);
}

#[test]
fn a_masked_record_is_not_mapped_again() {
    let answer = |request: &Request| {
        let key = request.header("x-key").unwrap_or_default().to_owned();
        Reply::json(
            &json!({ "items": [{ "id": 1, "name": "a", "echo": key }, { "id": 2, "name": "b", "echo": "none" }] }),
        )
    };
    let api = Api::start(answer);
    let project = Project::simple(&api.url(), SYNC, NARROW);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { key: very-secret-key } }\n",
    );
    project.write(
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: Item\nrequest: { get: /items, headers: { X-Key: \"{{ credentials.key }}\" } }\nresponse: { records: \"$.items[*]\" }\n",
    );
    assert_eq!(project.run()["added"], 2);
    becomes(&project, &NARROW.replace("$.name", "$.echo"));
    let done = report(&project.headwater(&["remap", "--json"]));
    assert_eq!((&done["updated"], &done["left"]), (&json!(1), &json!(1)));
    assert_eq!(project.column("select name from api.items order by id"), ["a", "none"].map(Value::from));
}

#[test]
fn a_remap_that_was_killed_goes_on_when_it_is_run_again() {
    let many: Vec<Value> = (0..60_000).map(|id| json!({ "id": id, "name": format!("n{id}"), "price": id })).collect();
    let api = Api::start(serves(Value::Array(many)));
    let project = Project::simple(&api.url(), SYNC, NARROW);
    assert_eq!(project.run()["added"], 60_000);
    becomes(&project, WIDE);
    let mut child = project.spawn_piped(&["remap", "--json"]);
    // the first group is committed: its page is told
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().expect("piped")), &mut first)
        .expect("a line");
    assert!(first.contains("page"), "{first}");
    child.kill().expect("killed");
    child.wait().expect("ended");
    let done = report(&project.headwater(&["remap", "--json"]));
    assert_eq!(done["rows"], 60_000);
    assert!(done["unchanged"].as_u64().expect("a count") >= 20_000, "{done}");
    assert_eq!(
        project.number(
            "select count(*) as n from api.items where name = 'N' || id and price = id and _last_action = 'UPDATED'"
        ),
        60_000
    );
    assert_eq!(project.number("select count(distinct _change) as n from api.items where _change > 60000"), 60_000);
    assert_eq!(project.number("select max(_change) as n from api.items"), 120_000);
}

const TYPED: &str =
    "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, price: { path: $.price, type: integer } }";

#[test]
fn a_retry_makes_rows_of_what_fits_the_corrected_model() {
    let records = json!([{ "id": 1, "name": "a", "price": 1 }, { "id": 2, "name": "b", "price": 2.5 }, { "id": 3, "name": "c", "price": "?" }]);
    let api = Api::start(serves(records));
    let project = Project::simple(&api.url(), SYNC, TYPED);
    let first = project.run();
    assert_eq!((&first["added"], &first["quarantined"]), (&json!(1), &json!(2)));
    let seen = project.column("select last_seen_at from headwater.quarantine where key = '[3]'");
    becomes(
        &project,
        &TYPED.replace("price: { path: $.price, type: integer }", "cost: { path: $.price, type: double }"),
    );
    api.asked();
    let done = report(&project.headwater(&["retry", "--json"]));
    assert_eq!(api.asked(), Vec::<String>::new());
    assert_eq!((&done["records"], &done["added"], &done["unfit"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(project.column("select cost from api.items_live order by id"), [Value::Null, json!(2.5)]);
    let left = project.rows("select key, column_name, reason ilike '%double%' as present from headwater.quarantine");
    assert_eq!(left, [json!({ "key": "[3]", "column_name": "cost", "present": true })]);
    assert_eq!(project.column("select last_seen_at from headwater.quarantine"), seen);
    // the scan sees the same: the row that the retry made is no other
    let next = project.run();
    assert_eq!((&next["unchanged"], &next["updated"], &next["added"]), (&json!(1), &json!(1), &json!(0)));
}

#[test]
fn a_record_that_is_gone_from_the_api_is_not_revived() {
    let records = |names: &[(i64, Value)]| -> Value {
        names.iter().map(|(id, price)| json!({ "id": id, "name": "x", "price": price })).collect()
    };
    let api = Api::start(serves(records(&[(1, json!(1)), (2, json!("?"))])));
    let project = Project::simple(&api.url(), SYNC, TYPED);
    assert_eq!(project.run()["quarantined"], 1);
    // a complete scan that does not return it proves that it is gone
    api.becomes(serves(records(&[(1, json!(1))])));
    project.run();
    assert_eq!(project.number("select count(*) as n from headwater.quarantine"), 0);
    becomes(&project, &TYPED.replace("price: { path: $.price, type: integer }", "cost: $.price"));
    assert_eq!(report(&project.headwater(&["retry", "--json"]))["records"], 0);
    assert_eq!(project.number("select count(*) as n from api.items"), 1);
}

#[test]
fn a_long_record_cannot_be_retried_and_that_is_told() {
    let long = "x".repeat(70_000);
    let api = Api::start(serves(json!([{ "id": 1, "name": long, "price": "?" }])));
    let project = Project::simple(&api.url(), SYNC, TYPED);
    project.run();
    becomes(&project, &TYPED.replace("price: { path: $.price, type: integer }", "cost: $.price"));
    let output = project.headwater(&["retry"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("1 records are not kept whole"), "{}", output.stdout);
    assert_eq!(project.number("select count(*) as n from headwater.quarantine"), 1);
}
