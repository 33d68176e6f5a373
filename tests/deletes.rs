//! What tells that a record is gone, and everything that keeps a wrong answer from deleting rows.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const MODEL: &str =
    "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, size: { path: $.size, type: integer } }";

/// A sync with pages by cursor and these words about deletes.
fn sync(deletes: &str) -> String {
    format!(
        "request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         pagination: {{ cursor: {{ from: $.next, query: page }} }}\ndeletes: {deletes}"
    )
}

fn records(ids: impl IntoIterator<Item = u64>) -> Vec<Value> {
    ids.into_iter().map(|id| json!({ "id": id, "name": format!("item {id}"), "size": 1 })).collect()
}

/// Pages of two of these records; a page can be made to fail.
fn pages(records: Vec<Value>, failing: Option<usize>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let page = request.number("page", 0);
        if failing == Some(page) {
            return Reply::status(500, "{}");
        }
        let next = if (page + 1) * 2 < records.len() { json!(page + 1) } else { Value::Null };
        Reply::json(&json!({ "items": records.iter().skip(page * 2).take(2).collect::<Vec<_>>(), "next": next }))
    }
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by id")
}

fn everything(project: &Project) -> Vec<Value> {
    project.rows("select rowid, * from api.items order by id")
}

/// A project whose first run has brought these records.
fn loaded(deletes: &str, first: Vec<Value>) -> (Api, Project) {
    let api = Api::start(pages(first, None));
    let project = Project::simple(&api.url(), &sync(deletes), MODEL);
    project.run();
    api.asked();
    (api, project)
}

#[test]
fn what_a_complete_scan_does_not_return_is_deleted() {
    let (api, project) = loaded("{ absence: {} }", records(1..=5));
    api.becomes(pages(records([2, 3, 5]), None));
    let report = project.run();
    assert_eq!(
        (&report["deleted"], &report["unchanged"], &report["deletes_skipped"]),
        (&json!(2), &json!(3), &Value::Null)
    );
    assert_eq!(live(&project), [2, 3, 5]);
    let gone = project.rows(
        "select id, name, _last_action as action, _deleted_at is not null as at, _deleted_at = _last_modified_at as same, \
         _first_seen_at < _deleted_at as after from api.items where _deleted_at is not null order by id",
    );
    let with_values = |id: u64| json!({ "id": id, "name": format!("item {id}"), "action": "DELETED", "at": true, "same": true, "after": true });
    assert_eq!(gone, [with_values(1), with_values(4)]);
}

#[test]
fn without_deletes_nothing_is_deleted() {
    let api = Api::start(pages(records(1..=5), None));
    let project = Project::simple(&api.url(), sync("").trim_end_matches("deletes: "), MODEL);
    project.run();
    api.becomes(pages(records([1]), None));
    assert_eq!(project.run()["deleted"], 0);
    assert_eq!(live(&project).len(), 5);
}

#[test]
fn a_failed_scan_deletes_nothing_and_the_scan_that_goes_on_deletes_right() {
    let (api, project) = loaded("{ absence: {} }", records(1..=7));
    let before = everything(&project);
    // 2 and 6 have gone: one on a page before the failure, one behind it
    let now = records([1, 3, 4, 5, 7]);
    api.becomes(pages(now.clone(), Some(2)));
    assert_eq!(project.run_fails(3)["deleted"], 0);
    assert_eq!(everything(&project), before);
    // a second failure at once, which sees nothing at all
    assert_eq!(project.run_fails(3)["deleted"], 0);
    assert_eq!(everything(&project), before);
    api.becomes(pages(now, None));
    api.asked();
    let report = project.run();
    assert_eq!(api.asked(), ["GET /items?page=2"]);
    assert_eq!(
        (&report["resumed"], &report["deleted"], &report["deletes_skipped"]),
        (&json!(true), &json!(2), &Value::Null)
    );
    assert_eq!(live(&project), [1, 3, 4, 5, 7]);
    assert_eq!(project.column("select count(*) from headwater.\"seen_api.items\""), [0], "the seen keys are forgotten");
}

#[test]
fn a_scan_begun_anew_forgets_what_the_one_before_has_seen() {
    let (api, project) = loaded("{ absence: {} }", records(1..=4));
    api.becomes(pages(records(1..=4), Some(1)));
    project.run_fails(3);
    // 1 was seen by the half scan, and is gone when the list is read from its beginning
    api.becomes(pages(records(2..=4), None));
    let output = project.headwater(&["run", "--full", "--json"]);
    assert_eq!(output.report()[0]["deleted"], 1);
    assert_eq!(live(&project), [2, 3, 4]);
}

#[test]
fn a_quarantined_record_counts_as_seen() {
    let (api, project) = loaded("{ absence: {} }", records(1..=3));
    let mut now = records([1, 2]);
    now[1]["size"] = json!("huge");
    api.becomes(pages(now, None));
    let report = project.run();
    assert_eq!((&report["quarantined"], &report["deleted"]), (&json!(1), &json!(1)));
    assert_eq!(live(&project), [1, 2], "2 is there, although it cannot be read");
}

#[test]
fn a_record_without_a_key_stops_the_deletes() {
    let (api, project) = loaded("{ absence: {} }", records(1..=3));
    for keyless in [json!({ "name": "who?" }), json!("no object")] {
        api.becomes(pages(vec![records([1])[0].clone(), keyless], None));
        let report = project.run();
        assert_eq!(
            (&report["state"], &report["deleted"], &report["quarantined"]),
            (&json!("completed"), &json!(0), &json!(1))
        );
        assert!(report["deletes_skipped"].as_str().expect("a reason").contains("without a readable key"), "{report}");
        assert_eq!(live(&project), [1, 2, 3]);
    }
    let output = project.headwater(&["run"]);
    assert!(output.stdout.contains("nothing was deleted, because"), "{}", output.stdout);
    api.becomes(pages(records([1]), None));
    assert_eq!(project.run()["deleted"], 2);
}

#[test]
fn a_record_without_a_key_stops_the_deletes_of_a_scan_that_goes_on_too() {
    let (api, project) = loaded("{ absence: {} }", records(1..=5));
    let now = [records([1]), vec![json!({ "name": "who?" })], records([3, 4])].concat();
    api.becomes(pages(now.clone(), Some(1)));
    project.run_fails(3);
    api.becomes(pages(now, None));
    let report = project.run();
    assert_eq!((&report["resumed"], &report["deleted"]), (&json!(true), &json!(0)));
    assert!(report["deletes_skipped"].as_str().expect("a reason").contains("without a readable key"), "{report}");
    assert_eq!(live(&project).len(), 5);
}

#[test]
fn records_that_where_turns_away_are_gone() {
    let words = sync("{ absence: {} }").replace("\"$.items[*]\" }", "\"$.items[*]\", where: \"$[?@.size > 0]\" }");
    let api = Api::start(pages(records(1..=3), None));
    let project = Project::simple(&api.url(), &words, MODEL);
    project.run();
    let mut now = records(1..=3);
    now[1]["size"] = json!(0);
    api.becomes(pages(now, None));
    let report = project.run();
    assert_eq!((&report["filtered"], &report["deleted"]), (&json!(1), &json!(1)));
    assert_eq!(live(&project), [1, 3]);
}

/// Offset pages of two that say how many there are, which can be a lie.
fn counted(records: Vec<Value>, total: impl Fn(usize) -> u64 + Send + Sync + 'static) -> impl Fn(&Request) -> Reply {
    move |request| {
        let skip = request.number("skip", 0);
        let page: Vec<&Value> = records.iter().skip(skip).take(2).collect();
        Reply::json(&json!({ "items": page, "total": total(skip) }))
    }
}

#[test]
fn a_total_that_does_not_agree_stops_the_deletes() {
    let words = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
                 pagination: { offset: { query: skip, limit: 2, total: $.total } }\ndeletes: { absence: {} }";
    let api = Api::start(counted(records(1..=5), |_| 5));
    let project = Project::simple(&api.url(), words, MODEL);
    project.run();
    // fewer than it says
    api.becomes(counted(records([1, 2, 3]), |_| 4));
    let report = project.run();
    assert_eq!(report["deleted"], 0);
    assert_eq!(report["deletes_skipped"], "the API says there are 4 records and returned 3");
    assert_eq!(live(&project).len(), 5);
    api.becomes(counted(records([1, 2, 3]), |_| 3));
    assert_eq!(project.run()["deleted"], 2);
}

/// Offset pages of two. While they are read, the record at the border slips from the page to come to the page that was read, because one
/// before it has gone.
fn shifting(all: Vec<Value>, from: usize) -> impl Fn(&Request) -> Reply {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    move |request| {
        let nth = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let skip = request.number("skip", 0);
        let left = &all[if nth < from { 0 } else { 1 }..];
        let page: Vec<&Value> = left.iter().skip(skip).take(2).collect();
        Reply::json(&json!({ "items": page }))
    }
}

#[test]
fn a_record_that_slips_past_the_reader_is_not_deleted() {
    let words = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
                 pagination: { offset: { query: skip, limit: 2 } }\ndeletes: { absence: {} }";
    let api = Api::start(shifting(records(1..=5), 9));
    let project = Project::simple(&api.url(), words, MODEL);
    project.run();
    // 1 goes when the first page has been read, so that 3 is on no page of the first round
    api.becomes(shifting(records(1..=5), 1));
    let report = project.run();
    assert_eq!((&report["deleted"], &report["read_twice"]), (&json!(0), &json!(true)));
    assert_eq!(live(&project), [1, 2, 3, 4, 5], "1 was seen by this scan; 3 by its second round");
    let report = project.run();
    assert_eq!((&report["deleted"], &report["read_twice"]), (&json!(1), &json!(true)));
    assert_eq!(live(&project), [2, 3, 4, 5]);
    assert_eq!(project.run()["read_twice"], false, "nothing is missing, so that one round is enough");
}

const GUARDED: &str = "{ absence: { guard: { max_fraction: 0.3, min_rows: 10 } } }";

#[test]
fn the_guard_refuses_and_a_person_can_accept_without_asking_the_api_again() {
    let (api, project) = loaded(GUARDED, records(1..=10));
    let before = everything(&project);
    api.becomes(pages(records(1..=6), None));
    let report = project.run_fails(4);
    let error = &report["error"];
    assert_eq!((&error["code"], &error["kind"]), (&json!("deletes_guarded"), &json!("data")));
    assert_eq!(error["message"], "4 of 10 rows would be deleted, more than the guard allows; nothing was");
    assert!(error["hint"].as_str().expect("a hint").contains("headwater run acme/items --accept-deletes"), "{error}");
    assert_eq!(everything(&project), before);
    assert_eq!(api.asked().len(), 3);
    let explained = project.headwater(&["explain"]);
    assert!(explained.stdout.contains("waits for `run --accept-deletes`"), "{}", explained.stdout);

    let output = project.headwater(&["run", "acme/items", "--accept-deletes", "--json"]);
    assert_eq!(output.code, 0, "{}", output.stdout);
    assert_eq!((&output.report()[0]["deleted"], &output.report()[0]["requests"]), (&json!(4), &json!(0)));
    assert!(api.asked().is_empty());
    assert_eq!(live(&project).len(), 6);
}

#[test]
fn what_is_accepted_once_is_not_accepted_for_ever() {
    let (api, project) = loaded("{ absence: { guard: { max_fraction: 0.3, min_rows: 1 } } }", records(1..=4));
    api.becomes(pages(records(1..=2), None));
    let output = project.headwater(&["run", "--accept-deletes", "--json"]);
    assert_eq!(output.report()[0]["deleted"], 2, "accepted before the guard has spoken");
    api.becomes(pages(records(1..=1), None));
    assert_eq!(
        project.run_fails(4)["error"]["message"],
        "1 of 2 rows would be deleted, more than the guard allows; nothing was"
    );
}

#[test]
fn a_plain_run_after_the_guard_reads_the_list_again() {
    let (api, project) = loaded(GUARDED, records(1..=10));
    api.becomes(pages(records(1..=6), None));
    project.run_fails(4);
    api.asked();
    // it was a mistake of the API: now the list is whole again but for one
    api.becomes(pages(records(1..=9), None));
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 0, "{}", output.stdout);
    assert!(output.json()[0]["restarted"].as_str().expect("a reason").contains("the guard"), "{}", output.stdout);
    assert_eq!(api.asked().len(), 5);
    assert_eq!(output.report()[0]["deleted"], 1);
    // and a run that is refused again can be accepted
    api.becomes(pages(records(1..=3), None));
    project.write(
        "integrations/api/syncs/items.yaml",
        &format!("sync: items\nmodel: Item\n{}\n", sync("{ absence: { guard: { max_fraction: 0, min_rows: 1 } } }")),
    );
    let report = project.run_fails(4);
    assert_eq!(report["error"]["message"], "6 of 9 rows would be deleted, more than the guard allows; nothing was");
}

#[test]
fn a_small_table_is_not_guarded_by_the_fraction() {
    let (api, project) = loaded(GUARDED, records(1..=9));
    api.becomes(pages(records([1]), None));
    assert_eq!(project.run()["deleted"], 8);
}

#[test]
fn a_list_that_is_empty_at_once_deletes_nothing_unless_it_may() {
    let (api, project) = loaded("{ absence: {} }", records(1..=3));
    api.becomes(|_| Reply::json(&json!({ "items": [], "next": null })));
    let report = project.run_fails(4);
    assert_eq!(
        report["error"]["message"],
        "the API returned no record at all, and 3 rows would be deleted; nothing was"
    );
    assert_eq!(live(&project), [1, 2, 3]);
    api.becomes(|_| Reply::status(204, ""));
    assert_eq!(project.run_fails(4)["error"]["code"], "deletes_guarded");
    assert_eq!(live(&project), [1, 2, 3]);

    let allowed = sync("{ absence: { guard: { allow_empty: true } } }");
    project.write("integrations/api/syncs/items.yaml", &format!("sync: items\nmodel: Item\n{allowed}\n"));
    assert_eq!(project.run()["deleted"], 3);
    assert_eq!(project.run()["deleted"], 0, "an empty table stays one");
}

#[test]
fn a_flag_says_that_a_record_is_gone_and_since_when() {
    for when in ["$[?@.archived == true]", "{{ record.archived and record.id > 0 }}"] {
        let (api, project) = loaded(&format!("{{ flag: {{ when: \"{when}\", at: $.archived_at }} }}"), records(1..=3));
        let mut now = records(1..=3);
        now[0]["archived"] = json!(true);
        now[0]["archived_at"] = json!("2024-02-03T04:05:06+01:00");
        // what stands beside the flag is not taken over: a deleted row keeps its last values
        now[0]["name"] = json!("emptied");
        now[1]["archived"] = json!(false);
        api.becomes(pages(now.clone(), None));
        assert_eq!(project.run()["deleted"], 1);
        let gone = "select id, name, epoch(_deleted_at)::bigint as at, _last_action as it, _deleted_at < _last_modified_at as earlier \
                    from api.items where _deleted_at is not null";
        assert_eq!(
            project.rows(gone),
            [json!({ "id": 1, "name": "item 1", "at": 1_706_929_506, "it": "DELETED", "earlier": true })]
        );
        let before = everything(&project);
        let report = project.run();
        assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(0), &json!(3)), "it is gone already");
        assert_eq!(everything(&project), before);
        // back to life
        now[0]["archived"] = json!(false);
        api.becomes(pages(now, None));
        assert_eq!(project.run()["added"], 1);
        assert_eq!(live(&project), [1, 2, 3]);
    }
}

#[test]
fn records_that_are_not_returned_stay_where_a_flag_tells() {
    let (api, project) = loaded("{ flag: { when: \"$[?@.archived == true]\" } }", records(1..=3));
    api.becomes(pages(records([1]), None));
    assert_eq!(project.run()["deleted"], 0);
    assert_eq!(live(&project), [1, 2, 3]);
}

#[test]
fn a_tombstone_with_only_its_key_keeps_the_last_values() {
    let (api, project) = loaded("{ flag: { when: \"$[?@.deleted]\", at: $.deleted } }", records(1..=2));
    // 2 is gone since an epoch, 9 was never seen
    api.becomes(pages(
        vec![json!({ "id": 2, "deleted": 1_706_929_506 }), json!({ "id": 9, "deleted": "no time" })],
        None,
    ));
    let report = project.run();
    assert_eq!((&report["deleted"], &report["added"], &report["quarantined"]), (&json!(2), &json!(0), &json!(0)));
    assert_eq!(live(&project), [1]);
    assert_eq!(
        project.rows("select id, name, size, _last_action as it, epoch(_deleted_at)::bigint = 1706929506 as at from api.items where id > 1 order by id"),
        [
            json!({ "id": 2, "name": "item 2", "size": 1, "it": "DELETED", "at": true }),
            json!({ "id": 9, "name": null, "size": null, "it": "DELETED", "at": false }),
        ]
    );
    let before = everything(&project);
    assert_eq!(project.run()["deleted"], 0);
    assert_eq!(everything(&project), before);
}

#[test]
fn a_flag_that_cannot_be_read_sends_the_record_to_quarantine() {
    let (api, project) = loaded("{ flag: { when: \"{{ record.kind | length > 2 }}\" } }", vec![]);
    api.becomes(pages(
        vec![json!({ "id": 1, "kind": 5 }), json!({ "id": 2, "kind": "gone" }), json!({ "id": 3, "kind": "" })],
        None,
    ));
    let report = project.run();
    assert_eq!((&report["quarantined"], &report["deleted"], &report["added"]), (&json!(1), &json!(1), &json!(1)));
    let found = project.rows("select key, code, reason from headwater.quarantine");
    assert_eq!((&found[0]["key"], &found[0]["code"]), (&json!("[1]"), &json!("bad_template")));
    assert!(found[0]["reason"].as_str().expect("a reason").contains("deletes.flag.when"), "{found:?}");
}
