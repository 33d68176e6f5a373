//! Reading again: `run --full`, and `reset` with and without `--purge`.

use std::io::{BufRead, BufReader};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use serde_json::{Value, json};

use crate::support::{Api, Output, Project, Reply, Request};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, at: $.at }";

const SYNC: &str = "request: { get: /items, query: { since: \"{{ watermark }}\" } }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: page } }
incremental: { field: $.at }";

const ABSENCE: &str = "request: { get: /items }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: page } }
deletes: { absence: { guard: { max_fraction: 0.3, min_rows: 1 } } }";

fn record(id: usize) -> Value {
    json!({ "id": id, "name": format!("item {id}"), "at": format!("2024-05-01T10:{id:02}:00Z") })
}

fn records(ids: impl IntoIterator<Item = usize>) -> Vec<Value> {
    ids.into_iter().map(record).collect()
}

/// Pages of two of the records that are not older than `since`; a page can be made to fail.
fn pages(records: Vec<Value>, failing: Option<usize>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let page = request.number("page", 0);
        if failing == Some(page) {
            return Reply::status(500, "{}");
        }
        let since = request.param("since").unwrap_or_default();
        let new: Vec<&Value> = records.iter().filter(|record| record["at"].as_str() >= Some(since)).collect();
        let next = if (page + 1) * 2 < new.len() { json!(page + 1) } else { Value::Null };
        Reply::json(&json!({ "items": new.iter().skip(page * 2).take(2).collect::<Vec<_>>(), "next": next }))
    }
}

fn says(output: &Output, code: i32, words: &[&str]) {
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, code, "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` in: {said}");
    }
}

/// A project with this sync, after one run over five records.
fn loaded(sync: &str) -> (Api, Project) {
    let api = Api::start(pages(records(1..=5), None));
    let project = Project::simple(&api.url(), sync, MODEL);
    assert_eq!(project.run()["added"], 5);
    api.asked();
    (api, project)
}

fn everything(project: &Project) -> Vec<Value> {
    project.rows("select rowid, * from api.items order by id")
}

fn counter(project: &Project) -> Vec<Value> {
    project.column("select change_counter from headwater.meta")
}

const WHOLE: [&str; 3] = ["GET /items", "GET /items?page=1", "GET /items?page=2"];

#[test]
fn full_gives_out_numbers_for_real_differences_alone() {
    let (api, project) = loaded(SYNC);
    let before = everything(&project);
    // a change that the API does not date, a new record that is older than the watermark, and one that is gone
    let mut changed = records([1, 2, 3, 5]);
    changed[1]["name"] = json!("renamed");
    changed.push(json!({ "id": 6, "name": "late", "at": "2024-05-01T10:00:00Z" }));
    api.becomes(pages(changed, None));
    assert_eq!(project.run()["updated"], 0, "an incremental run cannot see them");
    assert_eq!(everything(&project), before);
    let untouched = |project: &Project| project.rows("select * from api.items where id in (1, 3, 4, 5) order by id");
    let known = untouched(&project);
    api.asked();
    let report = project.headwater(&["run", "--full", "--json"]).report().remove(0);
    assert_eq!(api.asked(), WHOLE);
    let did =
        ["records", "added", "updated", "deleted", "unchanged"].map(|what| report[what].as_u64().expect("a count"));
    assert_eq!(did, [5, 1, 1, 0, 3]);
    assert_eq!((&report["change_from"], &report["change_to"]), (&json!(6), &json!(7)));
    assert_eq!(untouched(&project), known, "the others stay, with all that is known of them");
    let moved = project.rows("select id, _last_action as action from api.items where _change > 5 order by id");
    assert_eq!(moved, [json!({ "id": 2, "action": "UPDATED" }), json!({ "id": 6, "action": "ADDED" })]);
}

#[test]
fn a_full_run_that_fails_goes_on_where_it_was() {
    let (api, project) = loaded(SYNC);
    api.becomes(pages(records(1..=7), Some(2)));
    assert_eq!(project.headwater(&["run", "--full"]).code, 3);
    api.asked();
    api.becomes(pages(records(1..=7), None));
    let report = project.run();
    assert_eq!(api.asked(), ["GET /items?page=2", "GET /items?page=3"], "without a watermark, as it began");
    assert_eq!((&report["resumed"], &report["added"], &report["unchanged"]), (&json!(true), &json!(2), &json!(1)));
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A07%3A00Z"]);
}

#[test]
fn a_full_run_that_is_killed_goes_on_where_it_was() {
    let (api, project) = loaded(SYNC);
    let (tell, asked) = sync_channel(8);
    let (_go, leave) = sync_channel::<()>(0);
    let leave = Mutex::new(leave);
    let answer = pages(records(1..=7), None);
    api.becomes(move |request| {
        if request.number("page", 0) == 2 {
            tell.send(()).ok();
            // the answer never comes
            leave.lock().expect("not poisoned").recv().ok();
        }
        answer(request)
    });
    let mut run = project.spawn_piped(&["run", "--full", "--json", "--commit-every", "1ms"]);
    let lines = BufReader::new(run.stdout.take().expect("piped")).lines();
    let mut committed = 0;
    for line in lines {
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        if event["event"] == "committed" {
            committed += event["rows"].as_u64().expect("a count");
        }
        if committed == 4 {
            break;
        }
    }
    asked.recv().expect("the third page is asked for");
    run.kill().expect("killed");
    run.wait().expect("reaped");
    api.becomes(pages(records(1..=7), None));
    api.asked();
    let report = project.run();
    assert_eq!(api.asked(), ["GET /items?page=2", "GET /items?page=3"]);
    assert_eq!((&report["resumed"], &report["added"], &report["unchanged"]), (&json!(true), &json!(2), &json!(1)));
    assert_eq!(counter(&project), [7]);
}

#[test]
fn a_scan_begun_anew_takes_nothing_from_the_one_the_guard_holds() {
    let (api, project) = loaded(ABSENCE);
    api.becomes(pages(records(1..=2), None));
    assert_eq!(project.run_fails(4)["error"]["code"], "deletes_guarded");
    // the next run begins anew, and never comes to a commit
    api.becomes(pages(records(1..=5), Some(0)));
    project.run_fails(3);
    api.asked();
    api.becomes(pages(records(1..=5), None));
    let output = project.headwater(&["run", "--accept-deletes", "--json"]);
    assert_eq!((output.code, &output.report()[0]["deleted"]), (0, &json!(0)), "{}", output.stdout);
    assert_eq!(project.column("select count(*) from api.items_live"), [5]);
    assert_eq!(api.asked(), WHOLE, "the guarded scan cannot be accepted any more: its keys are gone");
}

#[test]
fn reset_forgets_the_place_and_keeps_the_rows() {
    let (api, project) = loaded(SYNC);
    let before = everything(&project);
    says(
        &project.headwater(&["reset"]),
        2,
        &[
            "1 sync will read everything again at the next run:\n  acme/items  read up to 2024-05-01T10:05:00Z\nall rows stay",
            "error: nobody is there to be asked, so nothing was changed",
            "hint: `--yes` does it without asking",
        ],
    );
    assert_eq!(project.column("select watermark from headwater.partitions"), ["2024-05-01T10:05:00Z"]);
    says(&project.headwater(&["reset", "--yes"]), 0, &["1 sync forgot where it stood; all rows stayed"]);
    assert_eq!(everything(&project), before);
    assert_eq!(project.headwater(&["status", "--json"]).json()[0]["watermark"], Value::Null);
    assert_eq!(project.headwater(&["status", "--json"]).json()[0]["rows_live"], 5);
    says(&project.headwater(&["reset", "--yes"]), 0, &["there is nothing to forget"]);
    let report = project.run();
    assert_eq!((&report["unchanged"], &report["added"]), (&json!(5), &json!(0)));
    assert_eq!(api.asked(), WHOLE);
    assert_eq!(everything(&project), before);
    assert_eq!(counter(&project), [5]);
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A05%3A00Z"]);
}

#[test]
fn purge_removes_the_rows_without_a_mark() {
    let (api, project) = loaded(SYNC);
    api.becomes(|_| Reply::json(&json!({ "items": [{ "id": "six", "at": "2024-05-01T10:06:00Z" }] })));
    project.run();
    api.asked();
    let asked = project.headwater(&["reset", "--purge", "acme/items"]);
    says(&asked, 2, &["for good:", "│ api.items", "who", "`_change` is not told", "nothing was changed"]);
    assert_eq!(project.column("select count(*) from api.items"), [5]);
    let output = project.headwater(&["reset", "--purge", "--yes", "acme/items"]);
    says(&output, 0, &["1 sync forgot where it stood; removed 6 rows"]);
    insta::assert_snapshot!(output.stdout, @r"
    ┌─────────────────────────────┐
    │ table                  rows │
    ╞═════════════════════════════╡
    │ api.items                 5 │
    │ headwater.quarantine      1 │
    └─────────────────────────────┘
    1 sync forgot where it stood; removed 6 rows
    ");
    assert_eq!(project.column("select count(*) from api.items"), [0]);
    assert_eq!(project.column("select count(*) from headwater.quarantine"), [0]);
    assert_eq!(project.headwater(&["changes", "items", "--after", "0"]).stdout, "");
    assert_eq!(project.column("select count(*) from headwater.runs"), [2], "what ran stays on record");
    assert_eq!(counter(&project), [5]);
    says(&project.headwater(&["status"]), 0, &["acme/items", "completed"]);
    api.becomes(pages(records(1..=5), None));
    let report = project.run();
    assert_eq!((&report["added"], &report["change_from"]), (&json!(5), &json!(6)), "what comes back is new");
    assert_eq!(api.asked(), WHOLE);
}

/// Two connections, one with two variants, all into one table.
fn several(api: &Api) -> Project {
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api }\n  beta:\n    provider: api\n    syncs: { items: { variants: { red: {}, blue: {} } } }\n",
    );
    assert_eq!(project.headwater(&["run"]).code, 0);
    project
}

fn owners(project: &Project) -> Vec<String> {
    let owners = project.column("select distinct _connection || ' ' || _variant as o from api.items order by o");
    owners.iter().map(|owner| owner.as_str().expect("text").trim().to_owned()).collect()
}

#[test]
fn selectors_say_whose_rows_go() {
    let api = Api::start(pages(records(1..=5), None));
    for (selectors, left) in [
        (vec!["beta/items@red"], vec!["acme", "beta blue"]),
        (vec!["beta/items"], vec!["acme"]),
        (vec!["beta"], vec!["acme"]),
        (vec!["acme", "beta/items@blue"], vec!["beta red"]),
        (vec!["api/items"], vec![]),
        (vec![], vec![]),
    ] {
        let project = several(&api);
        let output = project.headwater(&[&["reset", "--purge", "--yes"], selectors.as_slice()].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(owners(&project), left, "{selectors:?}");
        assert_eq!(project.column("select count(*) from headwater.checkpoints"), [left.len()], "{selectors:?}");
    }
    let project = several(&api);
    says(
        &project.headwater(&["reset", "--yes", "acme", "beta/itms"]),
        2,
        &["`beta/itms` names no sync", "there are `acme/items`, `beta/items@blue`"],
    );
    assert_eq!(
        project.column("select count(*) from headwater.checkpoints"),
        [3],
        "nothing where one selector is wrong"
    );
}

#[test]
fn a_sync_that_is_no_longer_in_the_yaml_goes_by_its_name() {
    let api = Api::start(pages(records(1..=5), None));
    let project = several(&api);
    // the variants became one, and the other connection went
    project.write("headwater.yaml", "database: test.duckdb\nconnections:\n  beta: { provider: api }\n");
    says(&project.headwater(&["reset", "--purge", "--yes"]), 0, &["there is nothing to forget"]);
    says(
        &project.headwater(&["reset", "--purge", "--yes", "acme"]),
        2,
        &["`acme` names no sync", "did you mean `acme/items`?"],
    );
    says(&project.headwater(&["reset", "--purge", "--yes", "acme/items", "beta/items@red"]), 0, &["removed 10 rows"]);
    assert_eq!(owners(&project), ["beta blue"]);
    // a name means what the YAML says and what the database has of it
    assert_eq!(project.headwater(&["run"]).code, 0);
    assert_eq!(owners(&project), ["beta", "beta blue"]);
    says(&project.headwater(&["reset", "--purge", "--yes", "beta/items"]), 0, &["removed 5 rows"]);
    assert_eq!(owners(&project), ["beta blue"]);
}

#[test]
fn two_syncs_of_one_table_are_purged_together() {
    let (api, project) = loaded(SYNC);
    project.write(
        "integrations/api/syncs/vips.yaml",
        format!("sync: vips\nmodel: Item\n{}\n", SYNC.replace("/items", "/vips")),
    );
    api.becomes(pages(records(6..=7), None));
    assert_eq!(project.headwater(&["run", "acme/vips"]).code, 0);
    let before = everything(&project);
    says(
        &project.headwater(&["reset", "--purge", "--yes", "acme/items"]),
        2,
        &[
            "`api.items` also holds rows of `acme/vips`, and nothing tells them apart",
            "hint: to remove these too, add: acme/vips",
        ],
    );
    assert_eq!(everything(&project), before);
    says(&project.headwater(&["reset", "--yes", "acme/items"]), 0, &["1 sync forgot"]);
    says(
        &project.headwater(&["reset", "--purge", "--yes", "acme/items", "acme/vips"]),
        0,
        &["1 sync forgot where it stood; removed 7 rows"],
    );
    assert_eq!(project.column("select count(*) from api.items"), [0]);
}

#[test]
fn a_partition_is_forgotten_alone() {
    let (_api, project) = loaded(SYNC);
    says(&project.headwater(&["reset", "--partition", "x", "--yes"]), 2, &["the chosen syncs have no partition `x`"]);
    assert_eq!(project.column("select count(*) from headwater.checkpoints"), [1]);
    says(&project.headwater(&["reset", "--partition", "", "--yes"]), 0, &["1 sync forgot"]);
    assert_eq!(project.column("select count(*) from headwater.checkpoints"), [0]);
}

#[test]
fn reset_json_is_one_object() {
    let (_api, project) = loaded(SYNC);
    says(&project.headwater(&["reset", "--json"]), 2, &["`--json` does not ask"]);
    let output = project.headwater(&["reset", "--purge", "--yes", "--json"]);
    assert_eq!(
        output.json(),
        [json!({
            "purged": true,
            "partition": null,
            "syncs": [{ "sync": "acme/items", "watermark": "2024-05-01T10:05:00Z", "partitions": 1, "scanning": false }],
            "removed": [{ "table": "api.items", "rows": 5 }],
        })]
    );
    let nothing = project.headwater(&["reset", "--json"]);
    assert_eq!(
        (nothing.code, nothing.json()),
        (0, vec![json!({ "purged": false, "partition": null, "syncs": [], "removed": [] })])
    );
}

#[test]
fn where_nothing_ran_there_is_nothing_to_forget() {
    let project = Project::simple("http://127.0.0.1:9", SYNC, MODEL);
    says(&project.headwater(&["reset"]), 0, &["there is nothing to forget"]);
    says(&project.headwater(&["reset", "acme/itms"]), 2, &["did you mean `acme/items`?"]);
    assert!(!project.database().exists());
    assert!(!project.path().join("test.duckdb.lock").exists());
}

#[test]
fn a_run_at_work_is_left_alone() {
    let (tell, asked) = sync_channel(8);
    let (go, leave) = sync_channel::<()>(0);
    let leave = Mutex::new(leave);
    let api = Api::start(move |_| {
        tell.send(()).expect("somebody listens");
        leave.lock().expect("not poisoned").recv().expect("leave is given");
        Reply::json(&json!({ "items": [] }))
    });
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let mut run = project.spawn(&["run"]);
    asked.recv().expect("the page is asked for");
    says(
        &project.headwater(&["reset", "--yes"]),
        5,
        &[&format!("another `headwater run` (process {}) is working on", run.id()), "hint: wait for it to end"],
    );
    go.send(()).expect("it waits");
    assert!(run.wait().expect("it ends").success());
}
