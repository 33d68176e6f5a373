//! What is deleted window by window, and windows that move while they are read.

use super::*;

#[test]
fn what_is_gone_from_a_window_is_deleted_and_other_windows_are_left_alone() {
    let deletes = "deletes: { absence: { scope: window } }";
    let api = Api::start(pages(nine()));
    let words = sync("", deletes).replace("start:", "lookback: 500d, start:");
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at(NOW);
    // 7, 8 and 5 are gone; 5 is in a window that is not read again, and 6 cannot be read
    let mut now: Vec<Value> =
        nine().into_iter().filter(|record| ![5, 7, 8].contains(&record["id"].as_i64().expect("an id"))).collect();
    now[4]["size"] = json!("huge");
    api.becomes(pages(now.clone()));
    now.retain(|record| record["id"] != 9);
    now[4]["at"] = json!("2024-12-24T10:00:00Z");
    api.becomes(pages(now.clone()));
    asked(&api);
    // the window of 2025 is empty now, and so is that of 2026: an answer without anything is not believed
    let report = project.run_at(LATER, Run::default());
    assert_eq!(report["error"]["code"], "deletes_guarded", "{report}");
    assert_eq!(
        report["error"]["message"],
        "the API returned no record at all, and 1 rows would be deleted; nothing was"
    );
    assert_eq!(
        asked(&api),
        ["2024-10-17T11:55:00Z..2024-12-31", "2025-01-01..2025-12-31", "2026-01-01..2026-03-01T13:00:00Z"]
    );
    assert_eq!(live(&project), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(watermark(&project), covered(NOW), "what was covered once stays so");
    assert!(project.headwater(&["explain"]).stdout.contains("waits for `run --accept-deletes`"));
    let report = project.run_at(LATER, Run::accepting());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(2)), "{report}");
    assert_eq!(live(&project), [1, 2, 3, 4, 5, 6, 7], "5 and 7 are in windows that were not read");
    assert_eq!(project.column("select count(*) from headwater.\"seen_api.items\""), [0]);

    let report = project.run_at(LATER, Run::full());
    assert_eq!(
        (&report["state"], &report["deleted"], &report["quarantined"]),
        (&json!("completed"), &json!(2), &json!(1))
    );
    assert_eq!(live(&project), [1, 2, 3, 4, 6], "6 counts as seen");
}

#[test]
fn the_guard_of_a_window_holds_that_window_alone() {
    let deletes = "deletes: { absence: { scope: window, guard: { max_fraction: 0.5, min_rows: 1 } } }";
    let api = Api::start(pages(nine()));
    let project = Project::simple(&api.url(), &sync("", deletes), MODEL);
    project.done_at(NOW);
    // of 2023 four of five are gone, of 2024 one of two
    let now: Vec<Value> =
        nine().into_iter().filter(|record| ![2, 3, 4, 5, 7].contains(&record["id"].as_i64().expect("an id"))).collect();
    api.becomes(pages(now));
    let report = project.run_at(LATER, Run::full());
    assert_eq!(report["error"]["message"], "4 of 5 rows would be deleted, more than the guard allows; nothing was");
    assert_eq!((&report["deleted"], live(&project).len()), (&json!(1), 8));
    assert_eq!(watermark(&project), "2023-01-01T00:00:00Z");
    asked(&api);
    // a run without the word reads that window again and nothing else that is old
    let report = project.run_at(LATER, Run::default());
    assert_eq!((&report["error"]["code"], asked(&api).len()), (&json!("deletes_guarded"), 2), "{report}");
    let report = project.run_at(LATER, Run::accepting());
    assert_eq!((&report["deleted"], asked(&api).len()), (&json!(4), 1), "{report}");
    assert_eq!(
        (live(&project), watermark(&project)),
        (vec![json!(1), json!(6), json!(8), json!(9)], json!(covered(LATER)))
    );
}

#[test]
fn a_window_that_may_have_moved_is_read_once_more_in_the_same_run() {
    // the first record of 2023 leaves the window once its first page is read, so that the third is on no page
    let paged = |slips: bool, total: bool| {
        let asked = AtomicUsize::new(0);
        move |request: &Request| {
            let all = nine();
            let mut found = between(&all, request);
            let first = request.param("from").is_some_and(|from| from.starts_with("2023"));
            if first && asked.fetch_add(1, Ordering::Relaxed) > 0 && slips {
                found.remove(0);
            }
            let items: Vec<&Value> = found.iter().skip(request.number("page", 1) * 2 - 2).take(2).copied().collect();
            let total = if total { json!(found.len()) } else { Value::Null };
            Reply::json(&json!({ "items": items, "total": total }))
        }
    };
    let by_number = "{ page: { query: page, size: 2, total: $.total } }";
    for deletes in ["", "deletes: { absence: { scope: window } }"] {
        for total in [true, false] {
            let api = Api::start(paged(true, total));
            let project = Project::simple(&api.url(), &sync("", deletes).replace(PAGING, by_number), MODEL);
            let report = project.done_at(NOW);
            assert_eq!((&report["added"], &report["deleted"]), (&json!(9), &json!(0)), "{deletes} {total}");
            assert_eq!(watermark(&project), covered(NOW));
            let read = asked(&api);
            let times = |year: &str| read.iter().filter(|line| line.starts_with(year) && line.ends_with("#1")).count();
            // without a total only a reading that returns the same once more tells that nothing moved
            assert_eq!((times("2023"), times("2024")), if total { (2, 1) } else { (3, 2) }, "{read:?}");
            assert!(project.headwater(&["explain"]).stdout.contains("the last scan was complete"));

            // 1 is gone for good: no round returns it
            let report = project.run_at(LATER, Run::full());
            assert_eq!(report["deleted"], u64::from(!deletes.is_empty()));
        }
    }
}

/// A window of 2023 with 2 and 3, in pages of one. In front of them stands the record that `first` gives for each reading, and leaves as soon
/// as the first page is read, so that 2 slips there.
fn slipping(first: impl Fn(u64) -> Option<u64> + Send + Sync) -> impl Fn(&Request) -> Reply {
    let readings = AtomicUsize::new(0);
    move |request| {
        let at = |id: u64| json!({ "id": id, "at": "2023-05-01T10:00:00Z" });
        let page = request.number("page", 1);
        let reading = if page == 1 { readings.fetch_add(1, Ordering::Relaxed) as u64 + 1 } else { 0 };
        let front = if page == 1 { first(reading) } else { None };
        let list: Vec<Value> = front.into_iter().chain([2, 3]).map(at).collect();
        let is_here = request.param("from").is_some_and(|from| from.starts_with("2023"));
        let items: Vec<&Value> = list.iter().skip(page - 1).take(usize::from(is_here)).collect();
        Reply::json(&json!({ "items": items }))
    }
}

#[test]
fn a_window_is_read_until_it_returns_the_same_twice() {
    let by_number = "{ page: { query: page, size: 1 } }";
    for deletes in ["", "deletes: { absence: { scope: window } }"] {
        // the same record slips in the first reading and in the second
        let api =
            Api::start(slipping(|reading| [Some(1), Some(9), None, None].get(reading as usize - 1).copied().flatten()));
        let project = Project::simple(&api.url(), &sync("", deletes).replace(PAGING, by_number), MODEL);
        assert_eq!(project.done_at("2023-12-01")["added"], 4);
        assert!(live(&project).contains(&json!(2)));
        // one that moves each time is not covered, and the next run reads it again
        let api = Api::start(slipping(|reading| Some(100 + reading)));
        let project = Project::simple(&api.url(), &sync("", deletes).replace(PAGING, by_number), MODEL);
        let report = project.fails_at("2023-12-01", "list_kept_changing");
        assert!(report["error"]["message"].as_str().expect("a message").contains("each of the 5 times"), "{report}");
        assert_eq!(watermark(&project), Value::Null);
        assert!(!live(&project).contains(&json!(2)));
        api.becomes(slipping(|_| None));
        project.done_at("2023-12-01T01:00:00Z");
        assert!(live(&project).contains(&json!(2)));
        assert_eq!(watermark(&project), covered("2023-12-01T01:00:00Z"));
    }
}

#[test]
fn a_run_that_stops_between_both_rounds_goes_on_with_the_second() {
    let api = Api::start(|request| {
        let all = nine();
        let found = between(&all, request);
        let items: Vec<&Value> = found.iter().skip(request.number("page", 1) * 2 - 2).take(2).copied().collect();
        Reply::json(&json!({ "items": items }))
    });
    let words = sync("", "").replace(PAGING, "{ page: { query: page, size: 2 } }");
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at(NOW);
    let all = asked(&api);
    let project = Project::simple(&api.url(), &words, MODEL);
    let states: Vec<Value> = all.iter().map(|_| project.run_at(NOW, Run::requests(1))["state"].clone()).collect();
    let (last, before) = states.split_last().expect("some");
    assert!(before.iter().all(|state| state == "paused") && last == "completed", "{states:?}");
    assert_eq!((asked(&api), live(&project).len()), (all, 9));
}
