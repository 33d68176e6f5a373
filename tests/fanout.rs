//! `for_each`: partitions, each with its own place; passes over them; what is gone from them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [repo, id]\ncolumns: { repo: { value: \"{{ parent.repo }}\" }, id: { path: $.id, type: bigint }, name: $.name, at: $.at }";

/// A sync over `input.repos`, with these words.
fn sync(words: &str) -> String {
    format!(
        "request: {{ get: \"/repos/{{{{ parent.repo }}}}/issues\" }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         pagination: {{ cursor: {{ from: $.next, query: page }} }}\n\
         for_each: [{{ as: repo, from: {{ values: \"{{{{ input.repos }}}}\" }} }}]\n{words}"
    )
}

fn project(api: &Api, words: &str) -> Project {
    let project = Project::simple(&api.url(), words, MODEL);
    repos(&project, &["a", "b", "c"]);
    project
}

fn repos(project: &Project, names: &[&str]) {
    let connection = json!({ "provider": "api", "syncs": { "items": { "input": { "repos": names } } } });
    let yaml = json!({ "database": "test.duckdb", "connections": { "acme": connection } });
    project.write("headwater.yaml", yaml.to_string());
}

/// Ids by repository; pages of two; a repository that is not there is answered 404.
fn issues(of: &[(&str, &[u64])]) -> impl Fn(&Request) -> Reply + use<> {
    let of: BTreeMap<String, Vec<u64>> = of.iter().map(|(repo, ids)| ((*repo).to_owned(), ids.to_vec())).collect();
    move |request| {
        let repo = request.path.split('/').nth(2).unwrap_or_default();
        let Some(ids) = of.get(repo) else { return Reply::status(404, "{}") };
        let since = request.param("since").unwrap_or_default().to_owned();
        let record = |id: &u64| json!({ "id": id, "name": "one", "at": format!("2024-05-01T10:{id:02}:00Z") });
        let found: Vec<Value> = ids.iter().map(record).filter(|record| record["at"].as_str() >= Some(&since)).collect();
        let page = request.number("page", 0);
        let next = if (page + 1) * 2 < found.len() { json!(page + 1) } else { Value::Null };
        Reply::json(&json!({ "items": found.iter().skip(page * 2).take(2).collect::<Vec<_>>(), "next": next }))
    }
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select repo || id from api.items_live order by all")
}

fn sorted(mut asked: Vec<String>) -> Vec<String> {
    asked.sort();
    asked
}

const THREE: [(&str, &[u64]); 3] = [("a", &[1, 2, 3]), ("b", &[4]), ("c", &[])];

#[test]
fn each_item_is_a_partition_with_its_own_place() {
    let api = Api::start(issues(&THREE));
    let words =
        sync("incremental: { field: $.at }").replace("/issues\"", "/issues\", query: { since: \"{{ watermark }}\" }");
    let project = project(&api, &words);
    let report = project.done_at("2024-06-01");
    assert_eq!((&report["added"], &report["pages"]), (&json!(4), &json!(4)));
    assert_eq!(live(&project), ["a1", "a2", "a3", "b4"]);
    let partitions = "select partition, state, watermark from headwater.partitions order by all";
    let row = |partition, watermark: Option<&str>| json!({ "partition": partition, "state": "complete", "watermark": watermark });
    let watermarks =
        [row("", None), row("a", Some("2024-05-01T10:03:00Z")), row("b", Some("2024-05-01T10:04:00Z")), row("c", None)];
    assert_eq!(project.rows(partitions), watermarks);
    assert_eq!(project.column("select distinct _partition from api.items order by all"), ["a", "b"]);
    api.asked();
    // one that is new gets its whole history, the others go on, and one more item begins nothing anew
    repos(&project, &["a", "b", "d"]);
    api.becomes(issues(&[("a", &[1, 2, 3]), ("b", &[4, 5]), ("d", &[1])]));
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["added"], &report["unchanged"]), (&json!(2), &json!(2)));
    let since = |repo: &str, minute: &str| format!("GET /repos/{repo}/issues?since=2024-05-01T10%3A{minute}%3A00Z");
    assert_eq!(sorted(api.asked()), [since("a", "03"), since("b", "04"), "GET /repos/d/issues".to_owned()]);
    assert_eq!(project.column("select partition from headwater.partitions order by all"), ["", "a", "b", "c", "d"]);
}

/// Delta feeds by repository: all that it has, or what changed since its token `<repo><n>`; older tokens have expired.
fn deltas(of: &[(&str, u64, &[u64], &[u64])]) -> impl Fn(&Request) -> Reply + use<> {
    let of: BTreeMap<String, (u64, Vec<u64>, Vec<u64>)> =
        of.iter().map(|(repo, at, all, new)| ((*repo).to_owned(), (*at, all.to_vec(), new.to_vec()))).collect();
    move |request| {
        let repo = request.path.split('/').nth(2).unwrap_or_default();
        let (at, all, new) = &of[repo];
        let items =
            match request.param("since").map(|token| token.strip_prefix(repo).and_then(|at| at.parse::<u64>().ok())) {
                None => all.clone(),
                Some(Some(since)) if since == *at => Vec::new(),
                Some(Some(since)) if since + 1 == *at => new.clone(),
                // one of another partition, too
                Some(_) => return Reply::status(410, "{}"),
            };
        let page = request.number("page", 0);
        let found: Vec<Value> =
            items.iter().skip(page * 2).take(2).map(|id| json!({ "id": id, "name": "one" })).collect();
        let next = if (page + 1) * 2 < items.len() { json!(page + 1) } else { Value::Null };
        let token = if next.is_null() { json!(format!("{repo}{at}")) } else { Value::Null };
        Reply::json(&json!({ "items": found, "next": next, "token": token }))
    }
}

#[test]
fn each_partition_of_a_delta_feed_has_a_token_and_loses_its_own_alone() {
    let api = Api::start(deltas(&[("a", 1, &[1, 2, 3], &[]), ("b", 1, &[4, 5], &[]), ("c", 1, &[], &[])]));
    let words = sync(
        "incremental: { token: { from: $.token, expired: { status: 410 } } }\n\
         deletes: { flag: { when: \"$[?@.gone == true]\" } }",
    );
    let project = project(&api, &words.replace("/issues\"", "/issues\", query: { since: \"{{ watermark }}\" }"));
    assert_eq!(project.done_at("2024-06-01")["added"], 5);
    let tokens =
        "select partition, state->>'token' as token from headwater.checkpoints where partition <> '' order by all";
    let kept = |a: &str, b: &str, c: &str| {
        [("a", a), ("b", b), ("c", c)].map(|(partition, token)| json!({ "partition": partition, "token": token }))
    };
    assert_eq!(project.rows(tokens), kept("a1", "b1", "c1"));
    api.asked();
    // a has one more, b has lost its token and one row, c has nothing new
    api.becomes(deltas(&[("a", 2, &[1, 9], &[9]), ("b", 7, &[5, 6], &[]), ("c", 1, &[], &[])]));
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["added"], &report["deleted"]), (&json!(2), &json!(1)), "{report}");
    assert_eq!(live(&project), ["a1", "a2", "a3", "a9", "b5", "b6"], "4 of b is gone; of a nothing that was not told");
    let asked = |repo: &str, more: &str| format!("GET /repos/{repo}/issues{more}");
    let expected = [asked("a", "?since=a1"), asked("b", ""), asked("b", "?since=b1"), asked("c", "?since=c1")];
    assert_eq!(sorted(api.asked()), sorted(expected.to_vec()));
    assert_eq!(project.rows(tokens), kept("a2", "b7", "c1"));
    assert_eq!(project.number("select count(*) from headwater.\"seen_api.items\""), 0);
    // and then each goes on from its own
    assert_eq!(project.done_at("2024-06-03")["deleted"], 0);
    assert_eq!(sorted(api.asked()), [asked("a", "?since=a2"), asked("b", "?since=b7"), asked("c", "?since=c1")]);
    assert_eq!(live(&project), ["a1", "a2", "a3", "a9", "b5", "b6"]);
}

#[test]
fn what_a_partition_does_not_return_is_deleted_there_alone() {
    let api = Api::start(issues(&THREE));
    let project = project(&api, &sync("deletes: { absence: { scope: partition, guard: { min_rows: 9 } } }"));
    assert_eq!(project.done_at("2024-06-01")["added"], 4);
    // b cannot be read: the run is told of as partial, and what is gone elsewhere is deleted all the same
    api.becomes(issues(&[("a", &[1, 3]), ("c", &[7])]));
    let report = project.run_at("2024-06-02", Run::default());
    assert_eq!((&report["state"], &report["deleted"], &report["added"]), (&json!("partial"), &json!(1), &json!(1)));
    assert_eq!(report["skipped"], 1);
    let reason = report["skipped_reason"].as_str().expect("a reason");
    assert!(reason.starts_with("`b`: GET ") && reason.contains("404"), "{reason}");
    assert_eq!(live(&project), ["a1", "a3", "b4", "c7"]);
    let failed = "select partition, error is not null as told from headwater.partitions where state = 'failed'";
    assert_eq!(project.rows(failed), [json!({ "partition": "b", "told": true })]);
    assert_eq!(project.column("select state from headwater.runs order by started_at"), ["completed", "partial"]);
    // read again, it is as any other
    api.becomes(issues(&[("a", &[1, 3]), ("b", &[]), ("c", &[7])]));
    let report = project.run_at("2024-06-03", Run::default());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("partial"), &json!(0)), "all of b would go: {report}");
    assert!(report["skipped_reason"].as_str().expect("a reason").contains("1 rows would be deleted"), "{report}");
    let report = project.run_at("2024-06-04", Run::accepting());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(1)));
    assert_eq!(live(&project), ["a1", "a3", "c7"]);
    assert_eq!(project.number("select count(*) from headwater.partitions where state <> 'complete'"), 0);
    assert_eq!(project.number("select count(*) from headwater.\"seen_api.items\""), 0);
}

#[test]
fn of_all_partitions_nothing_is_deleted_before_the_last_is_read() {
    let api = Api::start(issues(&THREE));
    let project = project(&api, &sync("deletes: { absence: {} }"));
    assert_eq!(project.done_at("2024-06-01")["added"], 4);
    api.becomes(issues(&[("a", &[1, 3]), ("c", &[])]));
    let report = project.run_at("2024-06-02", Run::default());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("partial"), &json!(0)));
    assert_eq!(report["deletes_skipped"], "a partition could not be read to its end");
    assert_eq!(project.number("select count(*) from headwater.\"seen_api.items\""), 0);
    api.becomes(issues(&[("a", &[1, 3]), ("b", &[4]), ("c", &[])]));
    assert_eq!(project.done_at("2024-06-03")["deleted"], 1);
    assert_eq!(live(&project), ["a1", "a3", "b4"]);
    // a partition that is gone keeps its rows, unless it is said that they go
    repos(&project, &["a", "c"]);
    assert_eq!(project.done_at("2024-06-04")["deleted"], 0);
    assert_eq!(live(&project), ["a1", "a3", "b4"]);
}

#[test]
fn the_rows_of_partitions_that_are_gone_go_where_that_is_said() {
    for scope in ["all", "partition"] {
        let api = Api::start(issues(&THREE));
        let words = sync(&format!("deletes: {{ absence: {{ scope: {scope}, gone_partitions: delete }} }}"));
        let project = project(&api, &words);
        assert_eq!(project.done_at("2024-06-01")["added"], 4);
        repos(&project, &["b", "c"]);
        assert_eq!(project.done_at("2024-06-02")["deleted"], 3, "{scope}");
        assert_eq!(live(&project), ["b4"]);
        assert_eq!(project.column("select partition from headwater.checkpoints order by all"), ["", "b", "c"]);
        // it comes back as a new one
        repos(&project, &["a", "b", "c"]);
        assert_eq!(project.done_at("2024-06-03")["added"], 3, "{scope}");
        assert_eq!(live(&project), ["a1", "a2", "a3", "b4"]);
    }
}

#[test]
fn a_run_that_stopped_goes_on_with_the_partitions_that_are_left() {
    let api = Api::start(issues(&THREE));
    for deletes in ["{}", "{ scope: partition }"] {
        let project = project(&api, &sync(&format!("deletes: {{ absence: {deletes} }}")));
        let mut asked = Vec::new();
        for run in 1.. {
            let report = project.run_at("2024-06-01", Run::requests(1));
            asked.extend(api.asked());
            if report["state"] == "completed" {
                assert_eq!(run, 5, "one request a run, and one run to see that nothing is left");
                break;
            }
            assert_eq!(
                (&report["state"], &report["paused_by"]),
                (&json!("paused"), &json!("max_requests")),
                "{report}"
            );
        }
        let once = ["GET /repos/a/issues", "GET /repos/a/issues?page=1", "GET /repos/b/issues", "GET /repos/c/issues"];
        assert_eq!(asked, once);
        assert_eq!(live(&project), ["a1", "a2", "a3", "b4"]);
        // a full run that is stopped stays one, for those that have not had their turn
        assert_eq!(
            project.run_at("2024-06-02", Run { budget: Run::requests(2).budget, ..Run::full() })["state"],
            "paused"
        );
        assert_eq!(api.asked(), once[..2]);
        assert_eq!(project.done_at("2024-06-03")["unchanged"], 1);
        assert_eq!(api.asked(), once[2..]);
    }
}

#[test]
fn levels_nest_and_a_list_is_asked_for_from_the_api() {
    let api = Api::start(|request| match request.path.as_str() {
        "/owners" => Reply::json(&json!({ "items": [{ "id": 7 }, { "id": 8 }, { "id": 9 }] })),
        "/owners/7/repos" => Reply::json(&json!({ "items": [{ "name": "x" }, { "name": "y" }] })),
        "/owners/8/repos" => Reply::json(&json!({ "items": [{ "name": "x" }, { "name": "x" }] })),
        "/owners/9/repos" => Reply::status(403, "{}"),
        "/owners/7/repos/x" => Reply::json(&json!({ "items": [{ "id": 1 }] })),
        path if path.starts_with("/owners/") => Reply::json(&json!({ "items": [{ "id": 2 }] })),
        _ => Reply::status(404, "{}"),
    });
    let list = |get: &str, key: &str| {
        format!("{{ list: {{ request: {{ get: \"{get}\" }}, response: {{ records: \"$.items[*]\" }}, key: {key} }} }}")
    };
    let words = format!(
        "request: {{ get: \"/owners/{{{{ parent.owner.id }}}}/repos/{{{{ parent.repo.name }}}}\" }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         for_each:\n  - {{ as: owner, from: {} }}\n  - {{ as: repo, from: {} }}\nconcurrency: 3\n\
         deletes: {{ absence: {{ gone_partitions: delete }} }}",
        list("/owners", "$.id"),
        list("/owners/{{ parent.owner.id }}/repos", "$.name")
    );
    let model = "key: [owner, repo, id]\ncolumns: { owner: { value: \"{{ parent.owner.id }}\" }, \
                 repo: { value: \"{{ parent.repo.name }}\" }, id: { path: $.id, type: bigint } }";
    let project = Project::simple(&api.url(), &words, model);
    let report = project.run_at("2024-06-01", Run::default());
    assert_eq!((&report["state"], &report["added"], &report["skipped"]), (&json!("partial"), &json!(3), &json!(1)));
    assert!(report["skipped_reason"].as_str().expect("a reason").starts_with("`9`: "), "{report}");
    let keys = ["[\"7\",\"x\"]", "[\"7\",\"y\"]", "[\"8\",\"x\"]"];
    assert_eq!(project.column("select distinct _partition from api.items order by all"), keys);
    // with a list that could not be read, nothing is gone
    api.becomes(|request| match request.path.as_str() {
        "/owners" => Reply::json(&json!({ "items": [{ "id": 7 }, { "id": 8 }] })),
        "/owners/7/repos" => Reply::json(&json!({ "items": [{ "name": "x" }] })),
        "/owners/8/repos" => Reply::status(404, "{}"),
        _ => Reply::json(&json!({ "items": [{ "id": 1 }] })),
    });
    let report = project.run_at("2024-06-02", Run::default());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("partial"), &json!(0)), "{report}");
    // read to its end, and once more because something is missing: [7, y] is gone, and [8, x] is back
    api.becomes(|request| match request.path.as_str() {
        "/owners" => Reply::json(&json!({ "items": [{ "id": 7 }, { "id": 8 }] })),
        path if path.ends_with("/repos") => Reply::json(&json!({ "items": [{ "name": "x" }] })),
        _ => Reply::json(&json!({ "items": [{ "id": 1 }] })),
    });
    api.asked();
    let report = project.done_at("2024-06-03");
    assert_eq!((&report["deleted"], &report["added"]), (&json!(2), &json!(1)), "{report}");
    let asked = api.asked();
    assert_eq!(asked.iter().filter(|line| line.ends_with("/owners")).count(), 2, "{asked:?}");
    assert_eq!(project.column("select partition from headwater.partitions order by all"), ["", keys[0], keys[2]]);
}

/// Boxes with their sizes, and the things in each: one for each unit of size.
fn boxes(sizes: &[(u64, u64)]) -> impl Fn(&Request) -> Reply + use<> {
    let sizes: BTreeMap<u64, u64> = sizes.iter().copied().collect();
    move |request| {
        let items: Vec<Value> = match request.path.split('/').nth(2) {
            None => sizes.iter().map(|(id, size)| json!({ "id": id, "size": size })).collect(),
            Some(of) => (1..=sizes[&of.parse().expect("an id")]).map(|id| json!({ "id": id })).collect(),
        };
        Reply::json(&json!({ "items": items }))
    }
}

/// A sync of boxes, and one of the things in those boxes that are not empty, with these words.
fn boxes_project(api: &Api, words: &str) -> Project {
    let project = Project::simple(
        &api.url(),
        &format!(
            "request: {{ get: \"/boxes/{{{{ parent.box.id }}}}\" }}\nresponse: {{ records: \"$.items[*]\" }}\n\
             for_each: [{{ as: box, from: {{ rows: {{ sync: boxes, where: \"{{{{ record.size > 0 }}}}\"{words} }} }} }}]\n\
             deletes: {{ absence: {{ scope: partition, gone_partitions: delete, guard: {{ max_fraction: 1 }} }} }}"
        ),
        "key: [box, id]\ncolumns: { box: { value: \"{{ parent.box.id }}\", type: bigint }, id: { path: $.id, type: bigint } }",
    );
    project.write(
        "integrations/api/syncs/boxes.yaml",
        "sync: boxes\nrequest: { get: /boxes }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: { guard: { max_fraction: 1 } } }\n\
         model: { model: Box, table: boxes, key: [id], columns: { id: { path: $.id, type: bigint }, size: { path: $.size, type: bigint } } }\n",
    );
    project
}

/// Runs all syncs; gives the reports of the boxes and of the things.
fn both(project: &Project) -> (Value, Value) {
    let output = project.headwater(&["run", "--json"]);
    assert!(output.code == 0 || output.stdout.contains("partial"), "{}{}", output.stdout, output.stderr);
    let of = |name: &str| {
        let syncs = output.report();
        syncs.into_iter().find(|one| one["sync"] == format!("acme/{name}")).expect("the sync")
    };
    (of("boxes"), of("items"))
}

fn things(project: &Project) -> Vec<Value> {
    project.column("select box * 10 + id from api.items_live order by all")
}

#[test]
fn a_sync_over_the_rows_of_another_comes_after_it() {
    let api = Api::start(boxes(&[(1, 2), (2, 0), (3, 1)]));
    let project = boxes_project(&api, "");
    let (_, items) = both(&project);
    assert_eq!((&items["state"], &items["added"]), (&json!("completed"), &json!(3)), "{items}");
    assert_eq!(things(&project), [11, 12, 31]);
    assert_eq!(api.asked(), ["GET /boxes", "GET /boxes/1", "GET /boxes/3"]);
    // 1 is deleted, 2 is no item and becomes one, 3 lost what is in it and is none any more
    api.becomes(boxes(&[(2, 1), (3, 0)]));
    let (parents, items) = both(&project);
    assert_eq!((&parents["deleted"], &items["deleted"], &items["added"]), (&json!(1), &json!(3), &json!(1)));
    assert_eq!(things(&project), [21]);
    let partitions = "select partition from headwater.checkpoints where sync = 'items' order by all";
    assert_eq!(project.column(partitions), ["", "2"]);
}

#[test]
fn only_items_whose_rows_changed_are_read_again() {
    let api = Api::start(boxes(&[(1, 2), (2, 3), (3, 1)]));
    let project = boxes_project(&api, ", changed_only: true");
    both(&project);
    api.asked();
    api.becomes(boxes(&[(1, 2), (2, 1), (3, 1)]));
    let (_, items) = both(&project);
    assert_eq!((&items["deleted"], &items["requests"]), (&json!(2), &json!(1)), "{items}");
    assert_eq!(api.asked(), ["GET /boxes", "GET /boxes/2"]);
    assert_eq!(things(&project), [11, 12, 21, 31]);
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
    // one that failed is read again although its row is as it was
    api.becomes(|request| match request.path.as_str() {
        "/boxes" => boxes(&[(1, 1), (2, 1), (3, 1)])(request),
        _ => Reply::status(404, "{}"),
    });
    assert_eq!(both(&project).1["state"], "partial");
    api.asked();
    api.becomes(boxes(&[(1, 1), (2, 1), (3, 1)]));
    assert_eq!(both(&project).1["deleted"], 1);
    assert_eq!(api.asked(), ["GET /boxes", "GET /boxes/1"]);
    // and a full run reads all of them
    assert_eq!(project.headwater(&["run", "--full"]).code, 0);
    assert_eq!(api.asked().len(), 4);
}

/// Boxes with the number of things in each, and how many things are in each of their shelves, which a list of its own has.
fn shelves(of: &[(u64, u64, &[u64])]) -> impl Fn(&Request) -> Reply + use<> {
    let of: Vec<(u64, u64, Vec<u64>)> = of.iter().map(|(id, mark, shelves)| (*id, *mark, shelves.to_vec())).collect();
    move |request| {
        let path: Vec<&str> = request.path[1..].split('/').collect();
        let wanted = path.get(1).map(|id| id.parse::<u64>().expect("an id"));
        let found = of.iter().find(|(id, _, _)| Some(*id) == wanted);
        Reply::json(&match (path.len(), found) {
            (1, _) => {
                json!({ "items": of.iter().map(|(id, mark, _)| json!({ "id": id, "size": mark })).collect::<Vec<_>>() })
            }
            (3, Some((_, _, shelves))) => {
                json!({ "shelves": (1..=shelves.len()).map(|id| json!({ "id": id })).collect::<Vec<_>>() })
            }
            (4, Some((_, _, shelves))) => {
                let shelf = path[3].parse::<u64>().expect("a shelf");
                let things = shelves.get(shelf as usize - 1).copied().unwrap_or(0);
                json!({ "items": (1..=things).map(|nth| json!({ "id": shelf * 10 + nth })).collect::<Vec<_>>() })
            }
            _ => return Reply::status(404, "{}"),
        })
    }
}

fn shelves_project(api: &Api, rows: &str) -> Project {
    let project = boxes_project(api, "");
    project.write(
        "integrations/api/syncs/items.yaml",
        format!(
            "sync: items\nmodel: Item\nfor_each:\n  - {{ as: box, from: {{ rows: {{ sync: boxes, changed_only: true{rows} }} }} }}\n  \
             - as: shelf\n    from:\n      list:\n        request: {{ get: \"/boxes/{{{{ parent.box.id }}}}/shelves\" }}\n        \
             response: {{ records: \"$.shelves[*]\" }}\n        key: $.id\n\
             request: {{ get: \"/boxes/{{{{ parent.box.id }}}}/shelves/{{{{ parent.shelf.id }}}}\" }}\n\
             response: {{ records: \"$.items[*]\" }}\ndeletes: {{ absence: {{ scope: partition, gone_partitions: delete, guard: {{ max_fraction: 1 }} }} }}\n"
        ),
    );
    project
}

/// Box, shelf and thing.
fn on_shelves(project: &Project) -> Vec<Value> {
    project.column("select box * 100 + id from api.items_live order by all")
}

#[test]
fn lists_below_rows_that_did_not_change_are_not_asked_for() {
    let sorted = |api: &Api| {
        let mut asked = api.asked();
        asked.sort();
        asked
    };
    let api = Api::start(shelves(&[(1, 1, &[1, 2]), (2, 1, &[1]), (3, 1, &[])]));
    let project = shelves_project(&api, "");
    both(&project);
    assert_eq!(on_shelves(&project), [111, 121, 122, 211]);
    assert_eq!(sorted(&api).len(), 7, "the boxes, three lists of shelves, three shelves");
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
    assert_eq!(on_shelves(&project), [111, 121, 122, 211], "what was not asked for is not gone");
    // one changed: its list and all below it; of the others nothing
    api.becomes(shelves(&[(1, 2, &[3]), (2, 1, &[9]), (3, 1, &[])]));
    both(&project);
    assert_eq!(sorted(&api), ["GET /boxes", "GET /boxes/1/shelves", "GET /boxes/1/shelves", "GET /boxes/1/shelves/1"]);
    assert_eq!(on_shelves(&project), [111, 112, 113, 211], "a shelf is gone, for which its list was asked twice");
    // a list that fails is asked for again, though its row is as it was then; so is one below which a shelf failed
    let next = || shelves(&[(1, 3, &[3]), (2, 3, &[2, 1]), (3, 1, &[])]);
    let works = next();
    api.becomes(move |request| match request.path.as_str() {
        "/boxes/1/shelves" | "/boxes/2/shelves/2" => Reply::status(404, "{}"),
        _ => works(request),
    });
    assert_eq!(both(&project).1["state"], "partial");
    sorted(&api);
    api.becomes(next());
    assert_eq!(both(&project).1["state"], "completed");
    let asked = [
        "GET /boxes",
        "GET /boxes/1/shelves",
        "GET /boxes/1/shelves/1",
        "GET /boxes/2/shelves",
        "GET /boxes/2/shelves/2",
    ];
    assert_eq!(sorted(&api), asked);
    assert_eq!(on_shelves(&project), [111, 112, 113, 211, 212, 221]);
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
    // a box that is gone takes its shelves along, whatever is not asked for
    api.becomes(shelves(&[(2, 3, &[2, 1]), (3, 1, &[])]));
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
    assert_eq!(on_shelves(&project), [211, 212, 221]);
    // and a full run asks for everything
    assert_eq!(project.headwater(&["run", "--full"]).code, 0);
    assert_eq!(sorted(&api).len(), 5);
}

#[test]
fn what_is_gone_while_another_list_fails_goes_with_the_next_run() {
    let api = Api::start(shelves(&[(1, 1, &[1, 1]), (2, 1, &[1])]));
    let project = shelves_project(&api, "");
    both(&project);
    let next = || shelves(&[(1, 2, &[1]), (2, 2, &[1])]);
    let works = next();
    api.becomes(move |request| match request.path.as_str() {
        "/boxes/2/shelves" => Reply::status(404, "{}"),
        _ => works(request),
    });
    assert_eq!(both(&project).1["state"], "partial");
    assert_eq!(on_shelves(&project), [111, 121, 211], "nothing is certain yet");
    api.becomes(next());
    both(&project);
    assert_eq!(on_shelves(&project), [111, 211]);
    api.asked();
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
}

#[test]
fn items_that_slip_past_a_list_while_it_moves_are_read_by_the_look_that_finds_them() {
    // so many first answers of the list of shelves are these
    let moves = |works: Box<dyn Fn(&Request) -> Reply + Send + Sync>, times: usize, ids: &[u64]| {
        let (asked, ids) = (AtomicUsize::new(0), ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>());
        move |request: &Request| match request.path.as_str() {
            "/boxes/1/shelves" if asked.fetch_add(1, Ordering::Relaxed) < times => {
                Reply::json(&json!({ "shelves": ids }))
            }
            _ => works(request),
        }
    };
    let api = Api::start(moves(Box::new(shelves(&[(1, 1, &[1, 1])])), 1, &[1, 2, 9]));
    let project = shelves_project(&api, "");
    both(&project);
    // the first answer lacks a shelf that is known
    api.becomes(moves(Box::new(shelves(&[(1, 2, &[1, 2])])), 1, &[1, 9]));
    both(&project);
    assert_eq!(on_shelves(&project), [111, 121, 122]);
    // it lacks one that is new, which is seen because another one is gone
    let then = moves(Box::new(shelves(&[(1, 3, &[1, 2, 1])])), usize::MAX, &[1, 3]);
    api.becomes(moves(Box::new(then), 1, &[1]));
    both(&project);
    assert_eq!(on_shelves(&project), [111, 131]);
    api.asked();
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
}

#[test]
fn a_partition_that_is_reset_is_read_again_though_its_row_is_as_it_was() {
    let api = Api::start(shelves(&[(1, 1, &[1, 1]), (2, 1, &[1])]));
    let project = shelves_project(&api, "");
    both(&project);
    let (code, text) = printed(&project, &["reset", "--partition", r#"["1","2"]"#, "--purge", "--yes"]);
    assert!(code == 0 && text.contains("removed 1 row"), "{text}");
    assert_eq!(on_shelves(&project), [111, 211]);
    both(&project);
    assert_eq!(on_shelves(&project), [111, 121, 211]);
    api.asked();
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
}

#[test]
fn rows_that_may_become_items_without_a_change_have_their_lists_asked_for() {
    let api = Api::start(shelves(&[(1, 1, &[1])]));
    let project = shelves_project(&api, ", where: \"{{ run.started_at | date('%Y') != '1999' }}\"");
    both(&project);
    api.asked();
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes", "GET /boxes/1/shelves"]);
}

#[test]
fn a_run_that_stops_asks_again_for_the_lists_that_it_came_to() {
    let api = Api::start(shelves(&[(1, 1, &[1, 1]), (2, 1, &[1])]));
    let project = shelves_project(&api, "");
    for _ in 0..12 {
        // the boxes, a list and a shelf are read in three requests
        let output = project.headwater(&["run", "--json", "--max-requests", "3"]);
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    }
    assert_eq!(on_shelves(&project), [111, 121, 211]);
    api.asked();
    both(&project);
    both(&project);
    assert_eq!(api.asked().last().expect("a request"), "GET /boxes");
}

#[test]
fn a_run_that_stops_below_a_row_asks_for_its_list_again() {
    let api = Api::start(shelves(&[(1, 1, &[1])]));
    let project = shelves_project(&api, "");
    let works = shelves(&[(1, 1, &[1])]);
    api.becomes(move |request| match request.path.as_str() {
        "/boxes/1/shelves/1" => Reply::status(404, "{}"),
        _ => works(request),
    });
    assert_eq!(both(&project).1["state"], "partial");
    // its row is as it was; the shelf that failed is read, and the run stops before one that is new
    api.becomes(shelves(&[(1, 1, &[1, 1])]));
    let output = project.headwater(&["run", "--json", "--max-requests", "2"]);
    assert_eq!((output.code, on_shelves(&project)), (0, vec![json!(111)]), "{}{}", output.stdout, output.stderr);
    both(&project);
    assert_eq!(on_shelves(&project), [111, 121]);
    api.asked();
    both(&project);
    assert_eq!(api.asked(), ["GET /boxes"]);
}

#[test]
fn rows_that_are_not_there_yet_are_told_of() {
    let api = Api::start(boxes(&[(1, 2)]));
    let project = boxes_project(&api, "");
    let output = project.headwater(&["run", "acme/items"]);
    let text = output.stderr + &output.stdout;
    assert_eq!(output.code, 2, "{text}");
    assert!(text.contains("`for_each` goes over the rows of `api.boxes`, and there is no such table yet"), "{text}");
    assert!(text.contains("headwater run acme/boxes"), "{text}");
}

/// What a command prints, with its exit code.
fn printed(project: &Project, arguments: &[&str]) -> (i32, String) {
    let output = project.headwater(arguments);
    (output.code, output.stdout + &output.stderr)
}

#[test]
fn people_are_told_what_was_left_out() {
    let api = Api::start(issues(&[("a", &[1]), ("c", &[2])]));
    let project = project(&api, &sync("deletes: { absence: { scope: partition } }"));
    let (code, text) = printed(&project, &["run"]);
    assert_eq!(code, 3, "{text}");
    for words in
        ["partial", "acme/items: 1 partition could not be read: `b`: GET http", "the next run goes on with them"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (code, text) = printed(&project, &["status"]);
    assert_eq!(code, 0);
    for words in ["3 partitions, 1 failed", "where sync = 'items' and error is not null"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_dry_run_reads_the_first_item() {
    let api = Api::start(issues(&THREE));
    let project = project(&api, &sync("deletes: { absence: {} }"));
    let (code, text) = printed(&project, &["dry-run"]);
    assert!(code == 0 && text.contains("/repos/a/issues"), "{text}");
    assert_eq!(api.asked(), ["GET /repos/a/issues"]);
    let boxed = Api::start(boxes(&[(5, 1)]));
    let project = boxes_project(&boxed, "");
    let (code, text) = printed(&project, &["dry-run", "acme/items"]);
    assert!(code == 2 && text.contains("headwater run acme/boxes"), "{text}");
    assert_eq!(project.headwater(&["run", "acme/boxes"]).code, 0);
    let (code, text) = printed(&project, &["dry-run", "acme/items"]);
    assert!(code == 0 && text.contains("/boxes/5"), "{text}");
}

#[test]
fn a_partition_is_purged_alone_with_its_history() {
    let api = Api::start(issues(&THREE));
    let project = Project::simple(
        &api.url(),
        &sync("deletes: { absence: { scope: partition } }"),
        &format!("history: true\n{MODEL}"),
    );
    repos(&project, &["a", "b", "c"]);
    project.done_at("2024-06-01");
    let (code, text) = printed(&project, &["reset", "--partition", "a", "--purge", "--yes"]);
    assert!(code == 0 && text.contains("removed 6 rows"), "{text}");
    assert_eq!(live(&project), ["b4"]);
    assert_eq!(project.column("select id from api.items_history"), [4]);
    assert_eq!(project.column("select partition from headwater.checkpoints order by all"), ["", "b", "c"]);
    assert_eq!(project.done_at("2024-06-02")["added"], 3);
    assert_eq!(live(&project), ["a1", "a2", "a3", "b4"]);
}

#[test]
fn a_row_is_of_the_partition_that_returned_it_last() {
    // the same records in two lists, told apart by their ids alone
    let api = Api::start(issues(&[("a", &[1, 2]), ("b", &[2]), ("c", &[])]));
    let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";
    let project = Project::simple(
        &api.url(),
        &sync("deletes: { absence: { scope: partition, guard: { max_fraction: 1, allow_empty: true } } }"),
        model,
    );
    repos(&project, &["a", "b", "c"]);
    let partitions = "select _partition || id from api.items_live join api.items using (id) order by all";
    project.done_at("2024-06-01");
    assert_eq!(project.column(partitions), ["a1", "b2"]);
    // it moves with the same values: no change, and the partition that has lost it deletes nothing
    repos(&project, &["c", "b", "a"]);
    api.becomes(issues(&[("a", &[1]), ("b", &[]), ("c", &[2])]));
    let report = project.done_at("2024-06-02");
    assert_eq!(
        (&report["unchanged"], &report["deleted"], &report["change_from"]),
        (&json!(2), &json!(0), &Value::Null)
    );
    assert_eq!(project.column(partitions), ["a1", "c2"]);
}

#[test]
fn an_item_without_a_key_is_told_of() {
    let api = Api::start(issues(&THREE));
    let project = project(&api, &sync("deletes: { absence: {} }"));
    let connection =
        json!({ "provider": "api", "syncs": { "items": { "input": { "repos": ["a", { "name": "b" }] } } } });
    project.write(
        "headwater.yaml",
        json!({ "database": "test.duckdb", "connections": { "acme": connection } }).to_string(),
    );
    let message =
        project.fails_at("2024-06-01", "bad_items")["error"]["message"].as_str().expect("a message").to_owned();
    assert_eq!(message, "`for_each` level `repo`: nothing tells item 2 from another");
}

#[test]
fn rows_that_are_mapped_again_stay_in_their_partition() {
    let api = Api::start(issues(&THREE));
    let model =
        |name: &str| format!("key: [id]\nraw: true\ncolumns: {{ id: {{ path: $.id, type: bigint }}, name: {name} }}");
    let project = Project::simple(&api.url(), &sync("deletes: { absence: { scope: partition } }"), &model("$.name"));
    repos(&project, &["a", "b", "c"]);
    project.done_at("2024-06-01");
    project.write("integrations/api/models/Item.yaml", format!("model: Item\ntable: items\n{}\n", model("$.at")));
    assert_eq!(printed(&project, &["remap"]).0, 0);
    let rows = "select _partition || id from api.items where name like '2024%' order by all";
    assert_eq!(project.column(rows), ["a1", "a2", "a3", "b4"]);
    // what names the item cannot be made of the record alone
    let named = model("{ value: \"{{ parent.repo }}\" }");
    project.write("integrations/api/models/Item.yaml", format!("model: Item\ntable: items\n{named}\n"));
    let (code, text) = printed(&project, &["remap"]);
    assert!(code == 2 && text.contains("headwater run acme/items --full"), "{text}");
    // and a sync that is no fan-out any more has no partitions
    let whole = "request: { get: /repos/a/issues }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: { guard: { min_rows: 9 } } }";
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{whole}\n"));
    project.write("integrations/api/models/Item.yaml", format!("model: Item\ntable: items\n{}\n", model("$.at")));
    project.write("headwater.yaml", "database: test.duckdb\nconnections: { acme: { provider: api } }\n");
    assert_eq!(project.done_at("2024-06-02")["deleted"], 2);
    assert_eq!(project.column("select partition from headwater.checkpoints"), [""]);
}

#[test]
fn beside_a_flag_the_rows_of_a_partition_that_is_gone_can_go_too() {
    let api = Api::start(issues(&THREE));
    let project =
        project(&api, &sync("deletes: { flag: { when: \"$[?@.name == 'gone']\", gone_partitions: delete } }"));
    project.done_at("2024-06-01");
    assert_eq!(live(&project), ["a1", "a2", "a3", "b4"]);
    repos(&project, &["a", "c"]);
    let report = project.run_at("2024-06-02", Run::accepting());
    assert_eq!(report["deleted"], 1, "{report}");
    assert_eq!(live(&project), ["a1", "a2", "a3"]);
}

#[test]
fn many_partitions_end_together_and_the_guard_holds_one_of_them() {
    let many: Vec<u64> = (0..120).collect();
    let api = Api::start(issues(&[("a", &many), ("b", &[1, 2]), ("c", &[3])]));
    let project = project(&api, &sync("deletes: { absence: { scope: partition } }"));
    project.done_at("2024-06-01");
    assert_eq!(project.number("select count(*) from headwater.\"seen_api.items\""), 0);
    api.becomes(issues(&[("a", &[1]), ("b", &[2]), ("c", &[3])]));
    let report = project.run_at("2024-06-02", Run::default());
    assert_eq!(
        (&report["state"], &report["deleted"], &report["skipped"]),
        (&json!("partial"), &json!(1), &json!(1)),
        "{report}"
    );
    assert_eq!(
        project.column("select count(*) from api.items_live group by repo order by repo"),
        [json!(120), json!(1), json!(1)]
    );
    let states = project.column("select state from headwater.partitions where partition <> '' order by partition");
    assert_eq!(states, ["failed", "complete", "complete"]);
    let report = project.run_at("2024-06-03", Run::accepting());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(119)), "{report}");
}
