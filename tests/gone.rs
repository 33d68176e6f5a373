//! Lists of what was deleted, and lists of all ids.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, at: $.at }";
const PAGES: &str = "pagination: { cursor: { from: $.next, query: page } }";

/// A sync that asks for changes, with these words about deletes.
fn sync(deletes: &str) -> String {
    format!(
        "request: {{ get: /items, query: {{ since: \"{{{{ watermark }}}}\" }} }}\nresponse: {{ records: \"$.items[*]\" }}\n{PAGES}\n\
         incremental: {{ field: $.at }}\ndeletes: {deletes}"
    )
}

/// With a list of deletions; `field` = it has times.
fn feed(field: bool) -> String {
    let (query, field) =
        if field { (", query: { since: \"{{ watermark }}\" }", ", field: $.at") } else { Default::default() };
    sync(&format!(
        "{{ feed: {{ request: {{ get: /gone{query} }}, response: {{ records: \"$.items[*]\", where: \"$[?@.kind != 'other']\" }}, \
         {PAGES}, key: {{ id: $.ref }}{field} }} }}"
    ))
}

/// With a list of all ids.
fn sweep(more: &str) -> String {
    sync(&format!(
        "{{ sweep: {{ request: {{ get: /ids }}, response: {{ records: \"$.items[*]\" }}, {PAGES}, key: {{ id: $ }}{more} }} }}"
    ))
}

fn minute(minute: u64) -> String {
    format!("2024-05-01T10:{minute:02}:00Z")
}

/// Records that changed in the minutes of their ids.
fn records(ids: impl IntoIterator<Item = u64>) -> Vec<Value> {
    ids.into_iter().map(|id| json!({ "id": id, "name": "one", "at": minute(id) })).collect()
}

/// Entries: this id is gone since that minute.
fn gone(entries: &[(u64, u64)]) -> Vec<Value> {
    entries.iter().map(|(id, at)| json!({ "ref": id, "at": minute(*at) })).collect()
}

/// `/items`, and the list at any other path; pages of two, of what is not older than `since`.
fn lists(items: Vec<Value>, others: Vec<Value>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let since = request.param("since").unwrap_or_default();
        let list = if request.path == "/items" { &items } else { &others };
        let found: Vec<&Value> = list.iter().filter(|it| it["at"].as_str().is_none_or(|at| at >= since)).collect();
        let page = request.number("page", 0);
        let next = if (page + 1) * 2 < found.len() { json!(page + 1) } else { Value::Null };
        Reply::json(&json!({ "items": found.iter().skip(page * 2).take(2).collect::<Vec<_>>(), "next": next }))
    }
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by id")
}

/// A project whose first run has brought 1 to 5.
fn loaded(words: &str, others: Vec<Value>) -> (Api, Project) {
    let api = Api::start(lists(records(1..=5), others));
    let project = Project::simple(&api.url(), words, MODEL);
    assert_eq!(project.done_at("2024-06-01")["added"], 5);
    api.asked();
    (api, project)
}

#[test]
fn what_a_list_of_deletions_names_is_deleted_since_then() {
    let (api, project) = loaded(&feed(true), vec![]);
    // 77 was never here, and of another kind nothing is meant
    let mut entries = gone(&[(2, 20), (77, 21), (4, 22)]);
    entries.push(json!({ "ref": 1, "kind": "other", "at": minute(23) }));
    api.becomes(lists(records(1..=5), entries));
    let report = project.done_at("2024-06-02");
    assert_eq!(api.asked(), ["GET /gone", "GET /gone?page=1", "GET /items?since=2024-05-01T10%3A05%3A00Z"]);
    assert_eq!((&report["deleted"], &report["unreadable"]), (&json!(2), &json!(0)));
    assert_eq!(live(&project), [1, 3, 5]);
    let rows = "select id, name, _last_action as it, strftime(_deleted_at at time zone 'UTC', '%H:%M') as at, \
                _change between 6 and 7 as changed, _deleted_at < _last_modified_at as earlier from api.items where id in (2, 4) order by id";
    let row = |id, at| json!({ "id": id, "name": "one", "it": "DELETED", "at": at, "changed": true, "earlier": true });
    assert_eq!(project.rows(rows), [row(2, "10:20"), row(4, "10:22")]);
    assert_eq!((&report["change_from"], &report["change_to"]), (&json!(6), &json!(7)));

    let report = project.done_at("2024-06-03");
    assert_eq!(
        api.asked()[0],
        "GET /gone?since=2024-05-01T10%3A22%3A00Z",
        "where the kind is another, nothing is read"
    );
    assert_eq!((&report["deleted"], &report["change_from"]), (&json!(0), &Value::Null));
}

#[test]
fn what_has_come_back_stays_although_its_entry_is_read_again() {
    let (api, project) = loaded(&feed(true), gone(&[(2, 20)]));
    assert_eq!(project.done_at("2024-06-02")["deleted"], 0, "it was read before the records came");
    api.becomes(lists(records(1..=5), gone(&[(2, 21)])));
    assert_eq!(project.done_at("2024-06-02T01:00:00Z")["deleted"], 1);
    let mut back = records(1..=5);
    back[1] = json!({ "id": 2, "name": "back", "at": minute(30) });
    api.becomes(lists(back.clone(), gone(&[(2, 21)])));
    let report = project.done_at("2024-06-03");
    assert_eq!((&report["added"], &report["deleted"]), (&json!(1), &json!(0)));
    // the entry is read for the third time; beside it another one of the same minute, and one of 2 that is new
    api.becomes(lists(back.clone(), gone(&[(2, 21), (3, 21)])));
    assert_eq!(project.done_at("2024-06-04")["deleted"], 1);
    assert_eq!(live(&project), [1, 2, 4, 5]);
    // a place further on and a full run change nothing of that
    let report = project.run_at("2024-06-05", Run::full());
    assert_eq!(
        (&report["added"], &report["deleted"]),
        (&json!(1), &json!(0)),
        "3 is listed, and nothing new tells that it is gone"
    );
    api.asked();
    back.remove(1);
    api.becomes(lists(back, gone(&[(2, 21), (3, 21), (2, 31)])));
    assert_eq!(project.done_at("2024-06-06")["deleted"], 1);
    assert_eq!(live(&project), [1, 3, 4, 5]);
    assert_eq!(api.asked()[0], "GET /gone?since=2024-05-01T10%3A21%3A00Z", "`--full` has not put it back");
}

#[test]
fn more_entries_of_one_time_than_are_remembered_do_not_hide_later_ones() {
    let (api, project) = loaded(&feed(true), vec![]);
    let all = |items: Vec<Value>, entries: Vec<Value>| {
        move |request: &Request| match request.path.as_str() {
            "/gone" => Reply::json(&json!({ "items": entries })),
            _ => lists(items.clone(), vec![])(request),
        }
    };
    let many: Vec<(u64, u64)> = (1_000..6_000).map(|id| (id, 20)).chain([(2, 20)]).collect();
    api.becomes(all(records(1..=5), gone(&many)));
    assert_eq!(project.done_at("2024-06-02")["deleted"], 1);
    // 2 comes back, and 6 comes
    let back = |minutes: u64| json!({ "id": 2, "name": "back", "at": minute(minutes) });
    api.becomes(all([records([1]), vec![back(30)], records(3..=6)].concat(), gone(&many)));
    assert_eq!(project.done_at("2024-06-03")["added"], 2);
    // 6 goes again, and the news of it stands behind the many that are read again
    api.becomes(all([records([1]), vec![back(30)], records(3..=5)].concat(), gone(&[many, vec![(6, 40)]].concat())));
    assert_eq!(project.done_at("2024-06-04")["deleted"], 1);
    assert_eq!(live(&project), [1, 2, 3, 4, 5], "2 has come back");
}

#[test]
fn entries_without_times_mean_that_the_row_is_gone_now() {
    let (api, project) = loaded(&feed(false), vec![]);
    api.becomes(lists(records(1..=5), vec![json!({ "ref": 3 }), json!({ "ref": 9 })]));
    assert_eq!(project.done_at("2024-06-02")["deleted"], 1);
    assert_eq!(api.asked()[0], "GET /gone");
    let at = project.column("select epoch(_deleted_at)::bigint from api.items where id = 3");
    assert_eq!(at, [1_717_286_400]);
    assert_eq!(project.done_at("2024-06-03")["deleted"], 0);
    assert_eq!(api.asked()[0], "GET /gone");
}

#[test]
fn entries_that_cannot_be_read_are_counted_and_told() {
    let (api, project) = loaded(&feed(true), vec![]);
    let entries = [
        gone(&[(1, 20)]),
        vec![json!({ "ref": "x", "at": minute(21) }), json!({ "at": minute(22) }), json!({ "ref": 2, "at": "soon" })],
    ];
    api.becomes(lists(records(1..=5), entries.concat()));
    let output = project.headwater(&["run"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("3 entries of the list of ids cannot be read: "), "{}", output.stdout);
    assert_eq!(live(&project), [2, 3, 4, 5]);
}

#[test]
fn a_list_of_deletions_that_fails_comes_before_the_records() {
    let (api, project) = loaded(&feed(true), vec![]);
    let works = lists(records(1..=9), gone(&[(1, 20), (2, 21), (3, 22)]));
    api.becomes(move |request| if request.number("page", 0) == 1 { Reply::status(400, "") } else { works(request) });
    project.fails_at("2024-06-02", "http_status");
    assert_eq!(live(&project), [3, 4, 5]);
    assert_eq!(api.asked(), ["GET /gone", "GET /gone?page=1"], "the records are not asked for");
    // what was read is not read again
    api.becomes(lists(records(1..=9), gone(&[(1, 20), (2, 21), (3, 22)])));
    assert_eq!(project.run_at("2024-06-03", Run::requests(1))["state"], "paused");
    assert_eq!(api.asked(), ["GET /gone?page=1"]);
    let report = project.done_at("2024-06-03");
    assert_eq!((&report["added"], live(&project)), (&json!(4), [4, 5, 6, 7, 8, 9].map(Value::from).to_vec()));
}

#[test]
fn a_changed_sync_keeps_what_it_has_read_of_the_list_and_not_its_place_in_it() {
    let (api, project) = loaded(&feed(true), vec![]);
    api.becomes(lists(records(1..=5), gone(&[(2, 20)])));
    project.done_at("2024-06-02");
    api.becomes(lists(records(1..=5), gone(&[(2, 20), (1, 21), (3, 22), (4, 23)])));
    assert_eq!(project.run_at("2024-06-03", Run::requests(1))["state"], "paused");
    let words = feed(true).replace("get: /gone", "get: /gone/v2");
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{words}\n"));
    api.asked();
    project.done_at("2024-06-04");
    assert_eq!(
        api.asked()[..2],
        ["GET /gone/v2?since=2024-05-01T10%3A20%3A00Z", "GET /gone/v2?since=2024-05-01T10%3A20%3A00Z&page=1"]
    );
}

#[test]
fn one_request_a_run_comes_to_the_end_of_both_lists() {
    let api = Api::start(lists(records(1..=5), gone(&[(1, 20), (2, 21), (3, 22)])));
    for words in [feed(true), feed(false)] {
        let project = Project::simple(&api.url(), &words, MODEL);
        let states: Vec<Value> =
            (1..=5).map(|day| project.run_at(&format!("2024-06-0{day}"), Run::requests(1))["state"].clone()).collect();
        assert_eq!(states, ["paused", "paused", "paused", "paused", "completed"]);
        let places: Vec<String> = api.asked().iter().map(|line| line.replace("GET /", "")).collect();
        assert_eq!(places, ["gone", "gone?page=1", "items", "items?page=1", "items?page=2"]);
        assert_eq!(live(&project).len(), 5, "they are listed, whatever was said of them before");
    }
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<Value> {
    ids.into_iter().map(Value::from).collect()
}

#[test]
fn a_list_of_all_ids_is_read_when_it_is_due_and_what_is_not_in_it_is_deleted() {
    let (api, project) = loaded(&sweep(", every: 7d"), ids(1..=5));
    api.becomes(lists(records(1..=5), ids([1, 3, 5])));
    assert_eq!(project.done_at("2024-06-07T23:59:59Z")["deleted"], 0);
    assert_eq!(api.asked().len(), 1, "it is not due");
    assert_eq!(project.done_at("2024-06-08")["deleted"], 2);
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A05%3A00Z", "GET /ids", "GET /ids?page=1"]);
    assert_eq!(live(&project), [1, 3, 5]);
    assert_eq!(project.column("select count(*) from headwater.\"seen_api.items\""), [0]);
    project.done_at("2024-06-14");
    assert_eq!(api.asked().len(), 1);
    // `--full` reads all there is
    project.run_at("2024-06-14", Run::full());
    assert_eq!(api.asked().len(), 5);
    assert_eq!(live(&project), [1, 2, 3, 4, 5], "2 and 4 were told of in the same run");
    assert_eq!(project.done_at("2024-06-21")["deleted"], 2, "and now they are not");
}

#[test]
fn what_comes_while_the_ids_are_read_stays() {
    let (api, project) = loaded(&sweep(""), ids(1..=5));
    // 6 is told by the records, and the ids are those of a moment before
    api.becomes(lists(records(1..=6), ids([1, 2, 3, 5])));
    assert_eq!(project.run_at("2024-06-02", Run::requests(2))["state"], "paused");
    api.asked();
    // 7 is told of between two runs of the sweep, and so is 4, which changed
    let mut now = records(1..=7);
    now[3]["at"] = json!(minute(8));
    api.becomes(lists(now, ids([1, 2, 3, 5])));
    let report = project.done_at("2024-06-03");
    assert_eq!(api.asked().last().map(String::as_str), Some("GET /ids?page=1"), "it goes on at its page");
    assert_eq!((&report["deleted"], live(&project).len()), (&json!(0), 7));
    // the next one finds that 6 and 7 are not there; 4 is still told of
    assert_eq!(project.done_at("2024-06-04")["deleted"], 2);
    assert_eq!(live(&project), [1, 2, 3, 4, 5]);
}

#[test]
fn a_sweep_has_a_guard_of_its_own() {
    let (api, project) = loaded(&sweep(", guard: { max_fraction: 0.3, min_rows: 1 }"), ids(1..=5));
    api.becomes(lists(records(1..=5), ids([1, 2])));
    let report = project.fails_at("2024-06-02", "deletes_guarded");
    assert_eq!(
        report["error"]["message"], "2 of 5 rows would be deleted, more than the guard allows; nothing was",
        "5 is told of"
    );
    assert!(
        report["error"]["hint"].as_str().expect("a hint").ends_with("the bound is `deletes.sweep.guard`"),
        "{report}"
    );
    assert_eq!(live(&project).len(), 5);
    // without the word the ids are read again
    api.asked();
    project.fails_at("2024-06-02T01:00:00Z", "deletes_guarded");
    assert_eq!(api.asked().len(), 2);
    let report = project.run_at("2024-06-02T02:00:00Z", Run::accepting());
    assert_eq!((&report["deleted"], live(&project)), (&json!(2), [1, 2, 5].map(Value::from).to_vec()));
    assert_eq!(api.asked(), ["GET /items?since=2024-05-01T10%3A05%3A00Z"], "the ids are not");
    api.becomes(lists(records([]), vec![]));
    let report = project.fails_at("2024-06-04", "deletes_guarded");
    assert!(report["error"]["message"].as_str().expect("a message").contains("no record at all"), "{report}");
}

#[test]
fn a_sweep_with_an_entry_that_cannot_be_read_proves_nothing() {
    let (api, project) = loaded(&sweep(""), ids(1..=5));
    api.becomes(lists(records(1..=5), vec![json!(1), json!("?")]));
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["deleted"], &report["unreadable"]), (&json!(0), &json!(1)));
    assert!(report["deletes_skipped"].as_str().expect("a reason").contains("without a readable key"), "{report}");
    api.becomes(lists(records(1..=5), ids([1, 5])));
    assert_eq!(project.done_at("2024-06-03")["deleted"], 3);
}

#[test]
fn ids_that_are_read_by_position_are_read_twice_before_anything_is_deleted() {
    let words = sweep("").replace(&format!("{PAGES}, key"), "pagination: { offset: { query: skip, limit: 2 } }, key");
    let numbered = |slips: bool| {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        move |request: &Request| {
            if request.path == "/items" {
                return lists(records(1..=5), vec![])(request);
            }
            let nth = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let left = ids(if slips && nth > 0 { 2..=5 } else { 1..=5 });
            Reply::json(&json!({ "items": left.iter().skip(request.number("skip", 0)).take(2).collect::<Vec<_>>() }))
        }
    };
    let api = Api::start(numbered(false));
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2024-06-01");
    api.becomes(numbered(true));
    let report = project.done_at("2024-06-03");
    assert_eq!((&report["read_twice"], &report["deleted"]), (&json!(true), &json!(0)), "1 was there when it began");
    let report = project.done_at("2024-06-05");
    assert_eq!((&report["read_twice"], &report["deleted"]), (&json!(true), &json!(1)));
    assert_eq!(live(&project), [2, 3, 4, 5]);
}

#[test]
fn rows_of_other_connections_and_variants_are_left_alone() {
    for words in [sweep(""), feed(true)] {
        let api = Api::start(lists(records(1..=3), ids(1..=3)));
        let words = words
            .replace("/ids }", "\"/ids/{{ connection.name }}{{ variant | default('x', true) }}\" }")
            .replace("/gone,", "\"/gone/{{ connection.name }}{{ variant | default('x', true) }}\",");
        let project = Project::simple(&api.url(), &words, MODEL);
        project.write(
            "headwater.yaml",
            "database: test.duckdb\nconnections:\n  acme: { provider: api, syncs: { items: { variants: { a: {}, b: {} } } } }\n  other: { provider: api }\n",
        );
        let run = || {
            let output = project.headwater(&["run", "--full", "--json"]);
            assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        };
        api.becomes(|request| match request.path.starts_with("/gone") {
            true => lists(vec![], vec![])(request),
            false => lists(records(1..=3), ids(1..=3))(request),
        });
        run();
        api.becomes(|request| match request.path.as_str() {
            "/ids/acmea" => lists(vec![], ids([3]))(request),
            "/gone/acmea" => lists(vec![], gone(&[(1, 9), (2, 9)]))(request),
            path if path.starts_with("/gone") => lists(vec![], vec![])(request),
            _ => lists(vec![], ids(1..=3))(request),
        });
        run();
        let left =
            "select _connection || _variant || id as row from api.items where _deleted_at is not null order by all";
        assert_eq!(project.column(left), ["acmea1", "acmea2"]);
    }
}
