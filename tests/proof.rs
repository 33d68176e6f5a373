//! Deletes that lacked their proof, or lost it: over partitions, walks, sweeps and several models.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

fn list(items: &[Value]) -> Reply {
    Reply::json(&json!({ "items": items }))
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<Value> {
    ids.into_iter().map(|id| json!({ "id": id, "name": "n" })).collect()
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by all")
}

/// `input.<name>` of the sync is this.
fn input(project: &Project, name: &str, value: Value) {
    let connection = json!({ "provider": "api", "syncs": { "items": { "input": { name: value } } } });
    let yaml = json!({ "database": "test.duckdb", "connections": { "acme": connection } });
    project.write("headwater.yaml", yaml.to_string());
}

/// A sync over the repositories that the API lists.
fn over_listed(deletes: &str, paging: &str) -> String {
    format!(
        "request: {{ get: \"/r/{{{{ parent.repo.id }}}}\" }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         for_each: [{{ as: repo, from: {{ list: {{ request: {{ get: /repos }}, response: {{ records: \"$.items[*]\" }}{paging}, key: $.id }} }} }}]\n\
         deletes: {{ absence: {deletes} }}"
    )
}

/// The repositories as each look at them gives them, the last one for ever; `a` has 1 and 2, `b` has 11 and 12. A look without any is an error.
fn looks(of: &'static [&'static [&'static str]]) -> impl Fn(&Request) -> Reply {
    let look = AtomicUsize::new(0);
    move |request| match request.path.as_str() {
        "/repos" if request.number("from", 0) > 0 => Reply::json(&json!({ "items": [], "total": 2 })),
        "/repos" => match of[look.fetch_add(1, Ordering::SeqCst).min(of.len() - 1)] {
            [] => Reply::status(418, "{}"),
            repos => {
                let items: Vec<Value> = repos.iter().map(|id| json!({ "id": id })).collect();
                Reply::json(&json!({ "items": items, "total": 2 }))
            }
        },
        "/r/a" => list(&ids(1..=2)),
        "/r/b" => list(&ids(11..=12)),
        _ => list(&ids(21..=22)),
    }
}

#[test]
fn an_item_that_slipped_past_the_first_look_is_read() {
    for deletes in ["{ scope: all }", "{ scope: all, gone_partitions: delete }", "{ gone_partitions: delete }"] {
        let api = Api::start(looks(&[&["a", "b"]]));
        let project = Project::simple(&api.url(), &over_listed(deletes, ""), MODEL);
        project.done_at("2024-06-01");
        assert_eq!(live(&project), [1, 2, 11, 12]);
        api.asked();
        api.becomes(looks(&[&["a"], &["a", "b", "c"]]));
        let report = project.done_at("2024-06-02");
        assert_eq!((&report["deleted"], &report["added"]), (&json!(0), &json!(2)), "{deletes}: {report}");
        assert_eq!(live(&project), [1, 2, 11, 12, 21, 22]);
        let mut asked = api.asked();
        asked[3..].sort();
        assert_eq!(asked, ["GET /repos", "GET /r/a", "GET /repos", "GET /r/b", "GET /r/c"], "each once");
    }
}

/// The first look finds `a`, and another fails.
const NO_SECOND: &[&[&str]] = &[&["a"], &[]];

#[test]
fn a_look_at_the_items_that_fails_or_comes_short_proves_nothing() {
    let counted = ", pagination: { offset: { query: from, limit: 2, total: $.total } }";
    for (deletes, paging, looked, why) in [
        ("{ scope: all }", "", NO_SECOND, "could not be read"),
        ("{ scope: all, gone_partitions: delete }", "", NO_SECOND, "could not be read"),
        ("{ scope: all, gone_partitions: delete }", counted, &[&["a"]], "there are 2 records and returned 1"),
        ("{ scope: all }", counted, &[&["a"]], "there are 2 records and returned 1"),
        ("{ scope: partition, gone_partitions: delete }", counted, &[&["a"]], "2 records"),
    ] {
        let api = Api::start(looks(&[&["a", "b"]]));
        let project = Project::simple(&api.url(), &over_listed(deletes, paging), MODEL);
        project.done_at("2024-06-01");
        api.becomes(looks(looked));
        let report = project.run_at("2024-06-02", Run::accepting());
        assert_eq!(report["deleted"], 0, "{deletes}: {report}");
        assert!(report["deletes_skipped"].to_string().contains(why), "{report}");
        assert_eq!(live(&project), [1, 2, 11, 12], "{deletes}");
        // and when the list is there again, all is as ever
        api.becomes(looks(&[&["a", "b"]]));
        assert_eq!(project.done_at("2024-06-03")["deleted"], 0);
    }
}

#[test]
fn the_end_of_a_partition_keeps_what_its_sweep_has_seen() {
    let words = "request: { get: \"/r/{{ parent.repo }}\", query: { since: \"{{ watermark }}\" } }\nresponse: { records: \"$.items[*]\" }\n\
        for_each: [{ as: repo, from: { values: [a] } }]\nincremental: { token: { from: $.token } }\n\
        deletes: { sweep: { request: { get: \"/ids/{{ parent.repo }}\" }, response: { records: \"$.items[*]\" }, key: { id: $.id } } }";
    let api = Api::start(|request| {
        let known = request.param("since").is_some();
        let items = if known { Vec::new() } else { ids(1..=3) };
        Reply::json(&json!({ "items": items, "token": "t1" }))
    });
    let project = Project::simple(&api.url(), words, MODEL);
    project.done_at("2024-06-01");
    let report = project.run_at("2024-06-03", Run::full());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(0)), "{report}");
    assert_eq!(live(&project), [1, 2, 3]);
    assert_eq!(project.number("select count(*) from headwater.\"seen_api.items\""), 0);
}

#[test]
fn a_record_that_moved_unchanged_is_of_its_new_partition_also_without_a_request() {
    let words = "request: { get: \"/r/{{ parent.repo }}\" }\nresponse: { records: \"$.items[*]\" }\n\
        for_each: [{ as: repo, from: { values: \"{{ input.repos }}\" } }]\n\
        detail: { request: { get: \"/d/{{ record.id }}\" }, as: d, only_changed: true }\n\
        input: { type: object, properties: { repos: { type: array, items: { type: string } } } }\n";
    for deletes in ["{ scope: partition, gone_partitions: delete }", "{ scope: all }"] {
        let repos = |a: &[u64], b: &[u64]| {
            let (a, b) = (ids(a.iter().copied()), ids(b.iter().copied()));
            move |request: &Request| match request.path.as_str() {
                "/r/a" => list(&a),
                "/r/b" => list(&b),
                _ => Reply::json(&json!({ "name": "n" })),
            }
        };
        let api = Api::start(repos(&[1, 2], &[3]));
        let words = format!("{words}deletes: {{ absence: {deletes} }}");
        let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.d.name }";
        let project = Project::simple(&api.url(), &words, model);
        input(&project, "repos", json!(["a", "b"]));
        project.done_at("2024-06-01");
        api.asked();
        api.becomes(repos(&[], &[1, 2, 3]));
        input(&project, "repos", json!(["b"]));
        let report = project.run_at("2024-06-02", Run::accepting());
        assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(0), &json!(3)), "{deletes}: {report}");
        assert_eq!(api.asked(), ["GET /r/b"], "its list has it as it was");
        assert_eq!(project.column("select distinct _partition from api.items"), ["b"]);
        assert_eq!(report["change_from"], Value::Null, "it is no change");
        // and where the list that has them now does not return them any more, they are gone
        api.becomes(repos(&[], &[3]));
        let report = project.run_at("2024-06-03", Run::accepting());
        assert_eq!((&report["deleted"], live(&project)), (&json!(2), vec![json!(3)]), "{deletes}: {report}");
        // a partition that is reset forgets how its list had them
        api.asked();
        assert_eq!(project.headwater(&["reset", "--partition", "b", "--yes"]).code, 0);
        project.done_at("2024-06-04");
        assert_eq!(api.asked(), ["GET /r/b", "GET /d/3"], "{deletes}");
        project.done_at("2024-06-05");
        assert_eq!(api.asked(), ["GET /r/b"], "{deletes}");
    }
}

#[test]
fn rows_of_a_partition_that_goes_in_the_pass_that_brought_them_are_gone_too() {
    let words = "request: { get: \"/r/{{ parent.repo }}\" }\nresponse: { records: \"$.items[*]\" }\nconcurrency: 1\n\
        for_each: [{ as: repo, from: { values: \"{{ input.repos }}\" } }]\n\
        input: { type: object, properties: { repos: { type: array, items: { type: integer } } } }\n\
        deletes: { absence: { scope: partition, gone_partitions: delete } }";
    let api =
        Api::start(|request| list(&ids([request.path.rsplit('/').next().expect("a part").parse().expect("a number")])));
    let project = Project::simple(&api.url(), words, MODEL);
    input(&project, "repos", json!([1, 2, 3]));
    assert_eq!(project.run_at("2024-06-01", Run::requests(1))["state"], "paused");
    assert_eq!(live(&project), [1]);
    input(&project, "repos", json!([2, 3]));
    let report = project.run_at("2024-06-02", Run::accepting());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(1)), "{report}");
    assert_eq!(live(&project), [2, 3]);
}

/// Two models from an answer of two lists.
const OUTPUTS: &str = "outputs:\n  - { model: { model: One, table: ones, key: [id], columns: { id: $.id } }, records: \"$.ones[*]\" }\n  \
    - { model: { model: Two, table: twos, key: [id], columns: { id: $.id } }, records: \"$.twos[*]\" }\n";

/// A sync of two models with these words.
fn of_two(api: &Api, words: &str) -> Project {
    let project = Project::simple(&api.url(), "request: { get: /x }\nresponse: { records: $ }", MODEL);
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nresponse: {{}}\n{OUTPUTS}{words}\n"));
    project
}

/// That many of each; no list at all where there are none.
fn many(ones: u64, twos: u64) -> impl Fn(&Request) -> Reply {
    move |_| {
        let mut answer = json!({ "next": null });
        for (name, count) in [("ones", ones), ("twos", twos)] {
            if count > 0 {
                answer[name] = ids(1..=count).into();
            }
        }
        Reply::json(&answer)
    }
}

#[test]
fn an_answer_without_one_of_its_lists_does_not_empty_that_table() {
    let fan = "request: { get: \"/r/{{ parent.repo }}\" }\nfor_each: [{ as: repo, from: { values: [a] } }]\n";
    for (words, state) in [
        ("request: { get: /all }\ndeletes: { absence: {} }".to_owned(), "failed"),
        (format!("{fan}deletes: {{ absence: {{ scope: all }} }}"), "failed"),
        (format!("{fan}deletes: {{ absence: {{ scope: partition }} }}"), "partial"),
    ] {
        let api = Api::start(many(1, 90));
        let project = of_two(&api, &words);
        project.done_at("2024-06-01");
        api.becomes(many(2, 0));
        let report = project.run_at("2024-06-02", Run::default());
        assert_eq!((&report["state"], &report["deleted"]), (&json!(state), &json!(0)), "{words}: {report}");
        assert_eq!(project.number("select count(*) from api.twos_live"), 90);
        let text = report.to_string();
        assert!(
            text.contains("returned no record") || text.contains("returned 0") || text.contains("nothing"),
            "{text}"
        );
        let report = project.run_at("2024-06-03", Run::accepting());
        assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(90)), "{words}: {report}");
        assert_eq!(project.number("select count(*) from api.ones_live"), 2);
    }
}

#[test]
fn a_guard_is_told_from_another_by_what_each_model_got_over_all_runs() {
    // the records of the second come on the first page, in a run of their own
    let api = Api::start(many(1, 2));
    let project = of_two(
        &api,
        "request: { get: /all }\npagination: { cursor: { from: $.next, query: page } }\ndeletes: { absence: {} }",
    );
    project.done_at("2024-06-01");
    api.becomes(|request| match request.param("page") {
        None => Reply::json(&json!({ "twos": [{ "id": 1 }], "next": "2" })),
        Some(_) => Reply::json(&json!({ "ones": [{ "id": 1 }], "next": null })),
    });
    assert_eq!(project.run_at("2024-06-02", Run::requests(1))["state"], "paused");
    let report = project.done_at("2024-06-02");
    assert_eq!(report["deleted"], 1, "{report}");
}

#[test]
fn a_sweep_is_about_the_first_model_alone() {
    let api = Api::start(|request| match (request.path.as_str(), request.param("since")) {
        ("/ids", _) => Reply::json(&json!({ "items": [{ "id": "1" }] })),
        (_, None) => Reply::json(&json!({
            "ones": [{ "id": 1, "at": "2024-05-01T00:00:00Z" }, { "id": 2, "at": "2024-05-01T00:00:00Z" }],
            "twos": [{ "id": 1, "at": "2024-05-01T00:00:00Z" }, { "id": 2, "at": "2024-05-01T00:00:00Z" }],
        })),
        _ => Reply::json(&json!({ "ones": [], "twos": [] })),
    });
    let project = of_two(
        &api,
        "request: { get: /all, query: { since: \"{{ watermark }}\" } }\nincremental: { field: $.at }\n\
         deletes: { sweep: { request: { get: /ids }, response: { records: \"$.items[*]\" }, key: { id: $.id } } }",
    );
    project.done_at("2024-06-01");
    assert_eq!(project.number("select count(*) from api.twos_live"), 2, "of the first run");
    let report = project.done_at("2024-06-03");
    assert_eq!(report["deleted"], 1, "{report}");
    assert_eq!(project.column("select id from api.ones_live"), ["1"]);
    assert_eq!(project.number("select count(*) from api.twos_live"), 2);
}

#[test]
fn the_rows_of_a_window_are_told_by_the_column_of_each_model() {
    let record =
        |id: u64, at: &str| json!({ "id": id, "at": format!("{at}T10:00:00Z"), "until": "2023-05-05T00:00:00Z" });
    let answer = move |gone: bool| {
        move |request: &Request| {
            let from = request.param("from").expect("from").to_owned();
            let of = |ids: &[(u64, &str)]| -> Vec<Value> {
                let year = |at: &&(u64, &str)| at.1[..4] == from[..4];
                ids.iter().filter(year).map(|(id, at)| record(*id, at)).collect()
            };
            let twos: &[(u64, &str)] = if gone {
                &[(1, "2023-02-02"), (4, "2024-03-03")]
            } else {
                &[(1, "2023-02-02"), (2, "2024-02-02"), (4, "2024-03-03")]
            };
            Reply::json(&json!({ "ones": of(&[(1, "2023-01-01"), (2, "2024-01-01")]), "twos": of(twos) }))
        }
    };
    let api = Api::start(answer(false));
    let project = Project::simple(&api.url(), "request: { get: /x }\nresponse: { records: $ }", MODEL);
    let model = |name: &str, table: &str, columns: &str| {
        format!("{{ model: {name}, table: {table}, key: [id], columns: {{ {columns} }} }}")
    };
    let at = "at: { path: $.at, type: timestamptz }";
    let (one, two) = (
        model("One", "ones", &format!("id: $.id, {at}")),
        model("Two", "twos", &format!("id: $.id, until: {{ path: $.until, type: timestamptz }}, {at}")),
    );
    project.write(
        "integrations/api/syncs/items.yaml",
        format!(
            "sync: items\nresponse: {{}}\nrequest: {{ get: /all, query: {{ from: \"{{{{ window.start }}}}\", to: \"{{{{ window.end }}}}\" }} }}\n\
             outputs:\n  - {{ model: {one}, records: \"$.ones[*]\" }}\n  - {{ model: {two}, records: \"$.twos[*]\" }}\n\
             incremental: {{ field: $.at, start: \"2023-01-01\", window: {{ size: 1 year }} }}\ndeletes: {{ absence: {{ scope: window }} }}\n"
        ),
    );
    project.done_at("2025-03-01");
    assert_eq!(project.column("select id from api.twos_live order by id"), ["1", "2", "4"]);
    api.becomes(answer(true));
    let report = project.run_at("2025-03-02", Run::full());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(1)), "{report}");
    assert_eq!(project.column("select id from api.twos_live order by id"), ["1", "4"]);
}

#[test]
fn a_list_of_ids_takes_nothing_out_of_quarantine() {
    let api = Api::start(|request| {
        let items = match (request.path.as_str(), request.param("since")) {
            ("/ids", _) => json!([{ "id": 1 }, { "id": 2 }]),
            (_, None) => {
                json!([{ "id": 1, "size": 1, "at": "2024-05-01T00:00:00Z" }, { "id": 2, "size": "x", "at": "2024-05-01T00:00:00Z" }])
            }
            _ => json!([]),
        };
        Reply::json(&json!({ "items": items }))
    });
    let words = "request: { get: /items, query: { since: \"{{ watermark }}\" } }\nresponse: { records: \"$.items[*]\" }\n\
        incremental: { field: $.at }\n\
        deletes: { sweep: { request: { get: /ids }, response: { records: \"$.items[*]\" }, key: { id: $.id } } }";
    let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, size: { path: $.size, type: integer } }";
    let project = Project::simple(&api.url(), words, model);
    assert_eq!(project.done_at("2024-06-01")["quarantined"], 1);
    project.done_at("2024-06-03");
    assert_eq!(project.number("select count(*) from headwater.quarantine"), 1, "its record has not come again");
}

#[test]
fn items_read_by_position_are_looked_at_until_nothing_moves() {
    // each look finds another one behind the first; one that moves each time ends in a doubt
    let moving = |until: usize| {
        let look = AtomicUsize::new(0);
        move |request: &Request| match (request.path.as_str(), request.number("page", 0)) {
            ("/repos", 0) => {
                look.fetch_add(1, Ordering::SeqCst);
                Reply::json(&json!({ "items": [{ "id": "a" }], "more": true }))
            }
            ("/repos", _) => {
                let extra = look.load(Ordering::SeqCst).min(until);
                Reply::json(&json!({ "items": [{ "id": format!("x{extra}") }], "more": false }))
            }
            ("/r/a", _) => list(&ids([1])),
            (path, _) => list(&ids([path[4..].parse::<u64>().expect("a number") + 100])),
        }
    };
    let api = Api::start(moving(1));
    let paging = ", pagination: { page: { query: page, start: 0, has_more: $.more } }";
    let project = Project::simple(&api.url(), &over_listed("{ scope: all }", paging), MODEL);
    project.done_at("2024-06-01");
    let lists = |asked: Vec<String>| asked.iter().filter(|line| line.contains("/repos")).count();
    assert_eq!((lists(api.asked()), live(&project)), (4, vec![json!(1), json!(101)]), "two looks that agree");
    // two more come to light, one after the other
    api.becomes(moving(3));
    let report = project.run_at("2024-06-02", Run::accepting());
    assert_eq!((&report["added"], &report["deleted"]), (&json!(2), &json!(0)), "{report}");
    assert_eq!((lists(api.asked()), live(&project).len()), (8, 4));
    // and where no two looks agree, nothing is proven
    let others = moving(99);
    api.becomes(move |request| if request.path == "/r/a" { list(&[]) } else { others(request) });
    let report = project.run_at("2024-06-03", Run::accepting());
    assert_eq!(report["deleted"], 0, "{report}");
    assert!(report["deletes_skipped"].to_string().contains("changed each time"), "{report}");
    assert_eq!(lists(api.asked()), 10);
}
