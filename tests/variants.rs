//! One sync in many variants: each with its own input, rows, checkpoint and line in the report.

use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const VARIANTS: usize = 150;

const SYNC: &str = "input: { type: object, required: [list], properties: { list: { type: string } } }
request: { get: \"/lists/{{ input.list }}/items\", query: { since: \"{{ watermark }}\" } }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: page } }
incremental: { field: $.at, type: integer, order: ascending }";

const MODEL: &str =
    "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, list: $.list, at: { path: $.at, type: bigint } }";

fn name(number: usize) -> String {
    format!("list-{number:03}")
}

/// A project whose one sync has a variant for each list.
fn project(api: &Api) -> Project {
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let variants: String = (0..VARIANTS)
        .map(|number| format!("          {}: {{ input: {{ list: L{number} }} }}\n", name(number)))
        .collect();
    project.write(
        "headwater.yaml",
        format!("database: test.duckdb\nconnections:\n  acme:\n    provider: api\n    syncs:\n      items:\n        variants:\n{variants}"),
    );
    project
}

fn list_of(request: &Request) -> usize {
    request.path.split('/').nth(2).and_then(|list| list.strip_prefix('L')?.parse().ok()).expect("a list")
}

/// Two pages of three records in all; the lists have the same ids. List `n` is at `n`.
fn answer(request: &Request) -> Reply {
    let (list, page) = (list_of(request), request.number("page", 0));
    let item = |id: usize| json!({ "id": id, "list": format!("L{list}"), "at": 1_000 * list + id });
    let since = request.number("since", 0);
    let new: Vec<Value> = (0..3).map(item).filter(|item| item["at"].as_u64() >= Some(since as u64)).collect();
    let next = if (page + 1) * 2 < new.len() { json!(page + 1) } else { Value::Null };
    Reply::json(&json!({ "items": new.iter().skip(page * 2).take(2).collect::<Vec<_>>(), "next": next }))
}

fn counts(project: &Project, sql: &str) -> Vec<Value> {
    project.rows(sql)
}

#[test]
fn a_hundred_and_fifty_variants_each_stand_for_themselves() {
    let broken = VARIANTS / 2;
    let api =
        Api::start(move |request| if list_of(request) == broken { Reply::status(404, "{}") } else { answer(request) });
    let project = project(&api);
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 3, "{}", output.stderr);
    let report = output.report();
    let lines: Vec<String> =
        report.iter().map(|sync| format!("{} {} {}", sync["sync"], sync["state"], sync["added"])).collect();
    let expected = |number: usize| {
        let (state, added) = if number == broken { ("failed", 0) } else { ("completed", 3) };
        format!("\"acme/items@{}\" \"{state}\" {added}", name(number))
    };
    assert_eq!(lines, (0..VARIANTS).map(expected).collect::<Vec<_>>(), "in the order of the YAML, one line each");

    // rows, with the same ids in each
    let rows = counts(
        &project,
        "select count(*) as rows, count(distinct id) as ids, count(distinct _variant) as variants from api.items",
    );
    assert_eq!(rows, [json!({ "rows": 3 * (VARIANTS - 1), "ids": 3, "variants": VARIANTS - 1 })]);
    let strays = "select * from api.items where 'L' || cast(right(_variant, 3) as integer) <> list";
    assert_eq!(counts(&project, strays), [] as [Value; 0], "a variant has the rows of its input");
    // checkpoints
    let marks = counts(&project, "select variant, watermark from headwater.partitions order by variant");
    let mark = |number: usize| json!({ "variant": name(number), "watermark": (1_000 * number + 2).to_string() });
    assert_eq!(marks, (0..VARIANTS).filter(|number| *number != broken).map(mark).collect::<Vec<_>>());
    assert_eq!(project.column("select count(*) from headwater.runs"), [VARIANTS]);

    // the second run goes on from each one's own mark; what was broken begins
    api.asked();
    api.becomes(answer);
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let added: Vec<u64> = output.report().iter().map(|sync| sync["added"].as_u64().expect("a count")).collect();
    assert_eq!((added[broken], added.iter().sum::<u64>()), (3, 3));
    let mut asked = api.asked();
    asked.sort();
    let mut expected: Vec<String> = (0..VARIANTS)
        .filter(|number| *number != broken)
        .map(|number| format!("GET /lists/L{number}/items?since={}", 1_000 * number + 2))
        .chain([format!("GET /lists/L{broken}/items"), format!("GET /lists/L{broken}/items?page=1")])
        .collect();
    expected.sort();
    assert_eq!(asked, expected);

    // what a person sees is no longer than it must be
    let explained = project.headwater(&["explain"]).stdout;
    assert!(explained.contains("as acme/items@list-000, but\n  input        {\"list\":\"L20\"}\n"), "{explained}");
    assert!(explained.contains("… and 129 more; `headwater explain acme/items@VARIANT` shows one"), "{explained}");
    assert!(explained.lines().count() < 100, "{explained}");
    assert!(project.headwater(&["run"]).stdout.contains("\n150 syncs: 150 completed\n"));
    let status = project.headwater(&["status"]).stdout;
    assert_eq!(status.lines().filter(|line| line.contains("completed")).count(), VARIANTS, "{status}");
    assert!(project.headwater(&["check"]).stdout.contains("ok: 150 syncs of 1 connection"));
    let reset = project.headwater(&["reset", "--purge"]).stdout;
    assert!(reset.starts_with("150 syncs will read everything again") && reset.contains("… and 130 more"), "{reset}");
    api.asked();

    // one alone
    let one = format!("acme/items@{}", name(7));
    let output = project.headwater(&["run", &one, "--full", "--json"]);
    assert_eq!((output.code, output.report().len()), (0, 1));
    assert_eq!(output.report()[0]["unchanged"], 3);
    assert_eq!(api.asked(), ["GET /lists/L7/items", "GET /lists/L7/items?page=1"]);
}

#[cfg(unix)]
#[test]
fn a_stop_in_the_middle_pauses_what_runs_and_leaves_the_rest() {
    let held = VARIANTS / 2;
    let (tell, told) = sync_channel(8);
    let tell = Mutex::new(tell);
    let api = Api::start(move |request| {
        if list_of(request) == held && request.number("page", 0) == 1 {
            tell.lock().expect("not poisoned").send(()).ok();
            std::thread::park_timeout(std::time::Duration::from_secs(2));
        }
        answer(request)
    });
    let project = project(&api);
    let mut child = project.spawn_piped(&["run", "--json"]);
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    let last = std::thread::spawn(move || lines.map(|line| line.expect("a line")).last().expect("a report"));
    told.recv_timeout(std::time::Duration::from_secs(60)).expect("the second page is asked for");
    let interrupt = std::process::Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(interrupt.expect("kill").success());
    let report: Value = serde_json::from_str(&last.join().expect("read")).expect("JSON");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let syncs = report["report"]["syncs"].as_array().expect("syncs");
    let states = |state: &str| syncs.iter().filter(|sync| sync["state"] == state).count();
    assert_eq!(states("completed") + states("paused"), VARIANTS, "{report}");
    assert!(states("completed") > 0 && states("paused") >= 1, "{report}");
    assert_eq!((&syncs[held]["state"], &syncs[held]["added"]), (&json!("paused"), &json!(2)));

    api.asked();
    api.becomes(answer);
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!((&output.report()[held]["resumed"], &output.report()[held]["added"]), (&json!(true), &json!(1)));
    let asked: Vec<String> = api.asked().into_iter().filter(|line| line.contains(&format!("/L{held}/"))).collect();
    assert_eq!(asked, [format!("GET /lists/L{held}/items?page=1")]);
    assert_eq!(project.column("select count(*) from api.items"), [3 * VARIANTS]);
    assert_eq!(project.column("select sum(added) from headwater.runs"), [3 * VARIANTS]);
}
