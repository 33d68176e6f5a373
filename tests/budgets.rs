//! Budgets: a run stops where it was told to, and the next ones come to the same end as one that nobody stopped.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use headwater::plan::Budget;
use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, at: $.at }";

/// A sync with pages of two by cursor, and more words.
fn sync(more: &str) -> String {
    format!(
        "request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         pagination: {{ cursor: {{ from: $.next, query: page }} }}\n{more}"
    )
}

fn records(ids: impl IntoIterator<Item = u64>, name: &str) -> Vec<Value> {
    let at = |id: u64| format!("2024-0{}-01T10:00:00Z", 1 + id % 6);
    ids.into_iter().map(|id| json!({ "id": id, "name": name, "at": at(id) })).collect()
}

fn pages(records: Vec<Value>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let (from, to) = (request.param("from").unwrap_or("0"), request.param("to").unwrap_or("9"));
        let fits = |record: &&Value| record["at"].as_str().is_some_and(|at| from <= at && at <= to);
        let found: Vec<&Value> = records.iter().filter(fits).collect();
        let page = request.number("page", 0);
        let next = if (page + 1) * 2 < found.len() { json!(page + 1) } else { Value::Null };
        Reply::json(&json!({ "items": found.iter().skip(page * 2).take(2).collect::<Vec<_>>(), "next": next }))
    }
}

/// Every row with its place in the change history.
fn outcome(project: &Project) -> Vec<Value> {
    project.rows("select id, name, _last_action, _change, _deleted_at is null as lives from api.items order by _change")
}

/// Runs until it completes; gives how often it was paused, and asserts that nothing was deleted before.
fn runs_to_the_end(project: &Project, at: &str, run: &Run) -> usize {
    for paused in 0..40 {
        let report = project.run_at(at, run.clone());
        if report["state"] == "completed" {
            assert_eq!(report["paused_by"], Value::Null);
            return paused;
        }
        assert_eq!((&report["state"], &report["error"]), (&json!("paused"), &Value::Null), "{report}");
        assert_eq!(report["deleted"], 0, "nothing is deleted before the end");
    }
    panic!("it never ends");
}

#[test]
fn many_paused_runs_come_to_the_end_of_one_that_nobody_stopped() {
    let words = sync("deletes: { absence: { guard: { max_fraction: 1.0 } } }");
    let api = Api::start(pages(records(1..=10, "one")));
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2024-07-01");
    let now = [records(1..=4, "two"), records(7..=11, "one")].concat();
    api.becomes(pages(now.clone()));
    project.done_at("2024-07-02");
    let (asked, expected) = (api.asked(), outcome(&project));
    assert_eq!(expected.len(), 11);

    for (run, paused) in [(Run::requests(1), 8), (Run::requests(2), 4), (Run::records(3), 4), (Run::records(1), 8)] {
        api.becomes(pages(records(1..=10, "one")));
        let project = Project::simple(&api.url(), &words, MODEL);
        let mut times = runs_to_the_end(&project, "2024-07-01", &run);
        api.becomes(pages(now.clone()));
        times += runs_to_the_end(&project, "2024-07-02", &run);
        assert_eq!(times, paused);
        assert_eq!(api.asked(), asked, "nothing is asked twice");
        assert_eq!(outcome(&project), expected);
    }
}

#[test]
fn a_window_is_left_and_gone_on_with_like_a_list() {
    let words = sync("incremental: { field: $.at, start: \"2024-01-01\", window: { size: 1 month, concurrency: 2 } }")
        .replace("/items", "/items, query: { from: \"{{ window.start }}\", to: \"{{ window.end }}\" }");
    let api = Api::start(pages(records(1..=16, "one")));
    let undisturbed = Project::simple(&api.url(), &words, MODEL);
    undisturbed.done_at("2024-07-01");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        // the second that is under way is not covered by the run that reads it
        while lines[lines.len() - 2..][0] == lines[lines.len() - 1] {
            assert!(lines.pop().is_some_and(|line| line.contains("from=2024-07-01")));
        }
        lines
    };
    let asked = sorted(api.asked());
    let rows = "select id, name, _last_action from api.items order by id";
    for run in [Run::requests(1), Run::requests(3), Run::records(3)] {
        let project = Project::simple(&api.url(), &words, MODEL);
        assert!(runs_to_the_end(&project, "2024-07-01", &run) > 1);
        assert_eq!(sorted(api.asked()), asked, "nothing is asked twice");
        assert_eq!(project.rows(rows), undisturbed.rows(rows));
        assert_eq!(project.column("select watermark from headwater.partitions"), ["2024-06-30T23:55:00Z"]);
    }
}

#[test]
fn repeated_requests_count_and_do_not_keep_a_run_from_getting_on() {
    let works = pages(records(1..=6, "one"));
    let asked = AtomicUsize::new(0);
    let api = Api::start(move |request| {
        // every page fails once
        if asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { Reply::status(503, "") } else { works(request) }
    });
    let project = Project::simple(&api.url(), &sync("deletes: { absence: {} }"), MODEL);
    for (requests, page) in [(1, 1), (2, 2)] {
        let report = project.run_at("2024-07-01", Run::requests(requests));
        assert_eq!((&report["state"], &report["requests"], &report["pages"]), (&json!("paused"), &json!(2), &json!(1)));
        assert_eq!(api.asked().len(), 2);
        assert_eq!(project.column("select count(*) from api.items"), [2 * page]);
    }
    assert_eq!(project.run_at("2024-07-01", Run::requests(2))["state"], "completed");
}

#[test]
fn a_budget_that_is_used_up_with_the_last_page_is_no_pause() {
    for run in [Run::requests(3), Run::records(6), Run::records(5)] {
        for deletes in ["", "deletes: { absence: {} }"] {
            let api = Api::start(pages(records(1..=6, "one")));
            let project = Project::simple(&api.url(), &sync(deletes), MODEL);
            let report = project.run_at("2024-07-01", run.clone());
            assert_eq!((&report["state"], &report["paused_by"]), (&json!("completed"), &Value::Null), "{deletes}");
        }
    }
}

#[test]
fn the_smaller_of_both_budgets_counts_and_the_run_says_which() {
    let api = Api::start(pages(records(1..=20, "one")));
    let cases: [(&str, &[&str], &str, u64); 6] = [
        ("max_requests: 2", &[], "max_requests", 2),
        ("max_requests: 2", &["--max-requests", "5"], "max_requests", 2),
        ("max_requests: 5", &["--max-requests", "1"], "max_requests", 1),
        ("max_requests: 5", &["--max-records", "3"], "max_records", 2),
        ("max_records: 3", &["--max-records", "7"], "max_records", 2),
        ("max_runtime: 1h", &["--max-runtime", "1ns"], "max_runtime", 0),
    ];
    for (words, arguments, by, pages) in cases {
        let project = Project::simple(&api.url(), &sync(words), MODEL);
        let output = project.headwater(&[&["run", "--json"], arguments].concat());
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        let report = output.report().remove(0);
        let said = ["state", "paused_by", "pages", "error"].map(|name| report[name].clone());
        assert_eq!(said, [json!("paused"), json!(by), json!(pages), Value::Null], "{words} {arguments:?}");
    }
    let project = Project::simple(&api.url(), &sync("max_records: 2"), MODEL);
    let output = project.headwater(&["run"]);
    assert!(output.stdout.contains("`max_records` is used up; the next run goes on here"), "{}", output.stdout);
    assert_eq!(project.column("select state from headwater.runs"), ["paused"]);
    assert!(project.headwater(&["explain"]).stdout.contains("a scan is at page 1, 2 records so far"));
    for none in ["--max-requests", "--max-records"] {
        assert_eq!(project.headwater(&["run", none, "0"]).code, 2, "a run that may do nothing");
    }
}

#[test]
fn a_run_whose_time_is_up_does_not_wait_for_an_answer() {
    let (release, held) = mpsc::channel::<()>();
    let (held, works) = (Mutex::new(held), pages(records(1..=6, "one")));
    let api = Api::start(move |request| {
        if request.number("page", 0) == 1 {
            // until the run has ended
            held.lock().expect("not poisoned").recv_timeout(Duration::from_secs(60)).ok();
        }
        works(request)
    });
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    let budget = Budget { runtime: Some(Duration::from_millis(400)), ..Budget::default() };
    let report = project.run_at("2024-07-01", Run { budget, ..Run::default() });
    assert_eq!((&report["state"], &report["paused_by"]), (&json!("paused"), &json!("max_runtime")));
    drop(release);
    project.done_at("2024-07-01");
    assert_eq!(outcome(&project).len(), 6);
    assert_eq!(project.column("select sum(added) from headwater.runs"), [6]);
}

#[cfg(unix)]
#[test]
fn the_signal_to_terminate_stops_between_two_commits_too() {
    let (tell, told) = mpsc::channel();
    let (tell, works) = (Mutex::new(tell), pages(records(1..=6, "one")));
    let api = Api::start(move |request| {
        if request.number("page", 0) == 1 && tell.lock().expect("not poisoned").send(()).is_ok() {
            std::thread::park_timeout(Duration::from_secs(2));
        }
        works(request)
    });
    let project = Project::simple(&api.url(), &sync(""), MODEL);
    let mut child = project.spawn(&["run", "--max-requests", "2"]);
    told.recv_timeout(Duration::from_secs(30)).expect("the second page is asked for");
    let signal = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(signal.expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(project.column("select state from headwater.runs"), ["paused"]);
    drop(told);
    project.done_at("2024-07-01");
    assert_eq!(outcome(&project).len(), 6);
}
