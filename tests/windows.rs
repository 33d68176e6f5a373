//! The range from the watermark to now, window by window: what is asked, what a failure costs, what is deleted.

mod deletes;
mod zones;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, at: { path: $.at, type: timestamptz }, size: { path: $.size, type: integer } }";
const PAGING: &str = "{ cursor: { from: $.next, query: page } }";
const NOW: &str = "2026-03-01T12:00:00Z";
const LATER: &str = "2026-03-01T13:00:00Z";

/// What a run at this time covers: clocks differ by minutes.
fn covered(now: &str) -> String {
    let now = chrono::DateTime::parse_from_rfc3339(now).expect("a time").to_utc();
    (now - chrono::TimeDelta::minutes(5)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// A sync with years as windows, this much more about them, and more about the sync.
fn sync(window: &str, more: &str) -> String {
    format!(
        "request: {{ get: /items, query: {{ from: \"{{{{ window.start }}}}\", to: \"{{{{ window.end }}}}\" }} }}\n\
         response: {{ records: \"$.items[*]\" }}\npagination: {PAGING}\n\
         incremental: {{ field: $.at, start: \"2023-01-01\", window: {{ size: 1 year{window} }} }}\n{more}"
    )
}

/// A record of each of these moments; its id is its place.
fn records(moments: &[&str]) -> Vec<Value> {
    moments.iter().zip(1..).map(|(at, id)| json!({ "id": id, "at": format!("{at}T10:00:00Z") })).collect()
}

/// Five of 2023, two of 2024, one of 2025, one of 2026.
fn nine() -> Vec<Value> {
    let years = ["2023-01-01", "2023-02-01", "2023-03-01", "2023-11-30", "2023-12-31", "2024-01-01", "2024-06-01"];
    records(&[&years[..], &["2025-05-05", "2026-02-03"]].concat())
}

/// Pages of two of the records between `from` and `to`, both included.
fn pages(records: Vec<Value>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let found = between(&records, request);
        let page = request.number("page", 0);
        let next = if (page + 1) * 2 < found.len() { json!(page + 1) } else { Value::Null };
        let items: Vec<&Value> = found.iter().skip(page * 2).take(2).copied().collect();
        Reply::json(&json!({ "items": items, "next": next, "total": found.len() }))
    }
}

fn between<'r>(records: &'r [Value], request: &Request) -> Vec<&'r Value> {
    let (from, to) = (request.param("from").expect("from"), request.param("to").expect("to"));
    let fits = |record: &&Value| record["at"].as_str().is_some_and(|at| from <= at && at <= to);
    records.iter().filter(fits).collect()
}

/// The same, but for the window that begins so, which is answered with this.
fn failing(records: Vec<Value>, from: &'static str, status: u16) -> impl Fn(&Request) -> Reply {
    let pages = pages(records);
    move |request| {
        if request.param("from").is_some_and(|start| start.starts_with(from)) {
            return Reply::status(status, "{}");
        }
        pages(request)
    }
}

/// The windows that were asked for since this was asked last, as `from..to`, midnights and ends of days left out; `#1` is a second page.
fn asked(api: &Api) -> Vec<String> {
    let requests = api.requests();
    api.asked();
    let short = |text: &str| text.replace("T00:00:00Z", "").replace("T23:59:59Z", "");
    let line = |request: &Request| {
        let page = request.param("page").map(|page| format!("#{page}")).unwrap_or_default();
        format!("{}..{}{page}", short(request.param("from").expect("from")), short(request.param("to").expect("to")))
    };
    requests.iter().map(line).collect()
}

fn watermark(project: &Project) -> Value {
    project.column("select watermark from headwater.partitions").remove(0)
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by id")
}

const YEARS: [&str; 7] = [
    "2023-01-01..2023-12-31",
    "2023-01-01..2023-12-31#1",
    "2023-01-01..2023-12-31#2",
    "2024-01-01..2024-12-31",
    "2025-01-01..2025-12-31",
    "2026-01-01..2026-03-01T12:00:00Z",
    "2026-03-01T11:55:00Z..2026-03-02",
];

#[test]
fn years_are_read_in_order_and_then_only_what_is_new() {
    let api = Api::start(pages(nine()));
    let project = Project::simple(&api.url(), &sync("", ""), MODEL);
    let shown = project.headwater(&["dry-run"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.contains("from=2023-01-01T00%3A00%3A00Z&to=2023-12-31T23%3A59%3A59Z"), "{}", shown.stdout);
    asked(&api);

    let report = project.done_at(NOW);
    assert_eq!((&report["added"], &report["unchanged"]), (&json!(9), &json!(0)));
    assert_eq!(asked(&api), YEARS[..6]);
    assert_eq!(watermark(&project), covered(NOW));
    project.done_at("2026-03-02T23:59:59Z");
    assert_eq!(asked(&api), YEARS[6..]);
    assert_eq!(watermark(&project), covered("2026-03-02T23:59:59Z"));
    // a clock that goes back asks for nothing
    project.done_at("2026-02-01");
    assert_eq!(asked(&api), Vec::<String>::new());
    assert_eq!(watermark(&project), covered("2026-03-02T23:59:59Z"));

    let report = project.run_at(NOW, Run::full());
    assert_eq!((&report["unchanged"], asked(&api)), (&json!(9), YEARS[..6].iter().map(ToString::to_string).collect()));
    assert_eq!(watermark(&project), covered(NOW));
}

#[test]
fn only_a_window_that_failed_is_read_again_and_the_watermark_waits_for_it() {
    for (status, times) in [(500, 3), (400, 1)] {
        let api = Api::start(failing(nine(), "2024", status));
        let project = Project::simple(&api.url(), &sync("", ""), MODEL);
        project.fails_at(NOW, "http_status");
        assert_eq!(live(&project), [1, 2, 3, 4, 5, 8, 9]);
        assert_eq!(asked(&api).iter().filter(|line| line.starts_with("2024")).count(), times);
        assert_eq!(watermark(&project), "2024-01-01T00:00:00Z");
        assert_eq!(project.headwater(&["status", "--json"]).json()[0]["watermark"], "2024-01-01T00:00:00Z");
        let explained = project.headwater(&["explain"]).stdout;
        let left = "still to read: 2024-01-01T00:00:00Z to 2025-01-01T00:00:00Z";
        assert!(explained.contains(left) && !explained.contains("others"), "{explained}");

        // it fails once more, while what is new is read
        project.fails_at(LATER, "http_status");
        assert!(asked(&api).contains(&"2026-03-01T11:55:00Z..2026-03-01T13:00:00Z".to_owned()));
        assert_eq!(watermark(&project), "2024-01-01T00:00:00Z");
        api.becomes(pages(nine()));
        let report = project.done_at("2026-03-01T14:00:00Z");
        assert_eq!((&report["added"], &report["resumed"]), (&json!(2), &json!(true)));
        let read = ["2026-03-01T12:55:00Z..2026-03-01T14:00:00Z", "2024-01-01..2024-12-31"];
        assert_eq!(asked(&api), read);
        assert_eq!(watermark(&project), covered("2026-03-01T14:00:00Z"));
        assert!(project.headwater(&["explain"]).stdout.contains("the last scan was complete"));
    }
}

#[test]
fn what_concerns_every_window_ends_the_run_at_once() {
    let api = Api::start(|_| Reply::status(401, "{}"));
    let project = Project::simple(&api.url(), &sync("", ""), MODEL);
    project.fails_at(NOW, "http_status");
    assert_eq!(asked(&api), YEARS[..1]);
    api.becomes(|_| Reply::status(400, "{}"));
    project.fails_at(NOW, "http_status");
    assert_eq!(asked(&api).len(), 3, "three failures are enough");
}

#[test]
fn a_run_that_stops_in_a_window_goes_on_at_its_page() {
    let api = Api::start(pages(nine()));
    let project = Project::simple(&api.url(), &sync("", "").replace("$.at,", "$.at, order: ascending,"), MODEL);
    let report = project.run_at(NOW, Run::requests(2));
    assert_eq!((&report["state"], &report["added"]), (&json!("paused"), &json!(4)));
    assert_eq!(watermark(&project), Value::Null, "it does not move with the pages of a window");
    let report = project.run_at("2026-04-01", Run::requests(2));
    assert_eq!((&report["state"], &report["resumed"]), (&json!("paused"), &json!(true)));
    assert_eq!(watermark(&project), "2025-01-01T00:00:00Z");
    // the last window ends now, and not when the first run began
    project.done_at("2026-05-01");
    let again = [&YEARS[..5], &["2026-01-01..2026-05-01"]].concat();
    let asked = asked(&api);
    assert_eq!(asked[..5], again[..5]);
    assert_eq!(live(&project).len(), 9);
    assert_eq!(watermark(&project), covered("2026-05-01T00:00:00Z"));
}

/// What each answer says of too much, and how the sync knows it.
fn split(when: &str, min: &str) -> String {
    sync(&format!(", split: {{ when: \"{{{{ {when} }}}}\", min: {min} }}"), "")
}

#[test]
fn a_window_that_holds_too_much_is_halved() {
    let by_status = |request: &Request| {
        let found = nine();
        let found = between(&found, request);
        if found.len() > 2 { Reply::status(422, "{\"why\":\"too much\"}") } else { pages(nine())(request) }
    };
    let by_text = |request: &Request| {
        let found = nine();
        if between(&found, request).len() > 2 { Reply::status(500, "too much") } else { pages(nine())(request) }
    };
    for which in 0..3 {
        let (api, when) = match which {
            0 => (Api::start(pages(nine())), "response.body.total > 2"),
            1 => (Api::start(by_status), "response.status == 422 and response.body.why == 'too much'"),
            _ => (Api::start(by_text), "response.body is string and 'too much' in response.body"),
        };
        let project = Project::simple(&api.url(), &split(when, "1d"), MODEL);
        let report = project.done_at(NOW);
        assert_eq!(report["added"], 9, "{when}");
        let asked = asked(&api);
        let read = ["2023-01-01..2023-12-31", "2023-01-01..2023-07-02T11:59:59Z", "2023-01-01..2023-04-02T05:59:59Z"];
        assert_eq!(asked[..3], read, "{when}: {asked:?}");
        assert_eq!(asked.iter().filter(|line| line.starts_with("2024")).count(), 1, "{asked:?}");
        assert_eq!(watermark(&project), covered(NOW));
        assert!(project.headwater(&["explain"]).stdout.contains("the last scan was complete"));
    }
}

/// An answer that is no success has no list whose length could be looked at.
#[test]
fn a_refusal_that_split_cannot_judge_is_what_its_status_says() {
    let turned_away = AtomicBool::new(false);
    let api = Api::start(move |request| {
        if turned_away.swap(true, Ordering::Relaxed) {
            pages(nine())(request)
        } else {
            Reply::status(429, "{\"detail\":\"slower\"}").with("Retry-After", "0")
        }
    });
    let project = Project::simple(&api.url(), &split("response.body.items | length > 1000", "1d"), MODEL);
    assert_eq!(project.done_at(NOW)["added"], 9);
}

#[test]
fn a_window_that_cannot_be_halved_any_more_is_an_error() {
    let api = Api::start(pages(nine()));
    let project = Project::simple(&api.url(), &split("response.body.total > 2", "200d"), MODEL);
    let report = project.fails_at(NOW, "window_too_full");
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("2023-01-01T00:00:00Z to 2024-01-01T00:00:00Z"), "{message}");
    assert!(report["error"]["hint"].as_str().expect("a hint").contains("incremental.window.split.min"));
    assert_eq!(live(&project), [6, 7, 8, 9], "the others are read");
    assert_eq!(watermark(&project), "2023-01-01T00:00:00Z");
    // with the words mended the sync starts over
    project.write(
        "integrations/api/syncs/items.yaml",
        format!("sync: items\nmodel: Item\n{}\n", split("response.body.total > 2", "1h")),
    );
    assert_eq!(project.done_at(NOW)["added"], 5);
}

#[test]
fn windows_overlap_and_may_end_in_any_order() {
    let state = Arc::new((Mutex::new((0_usize, Vec::<String>::new())), Condvar::new()));
    let (most, shared) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&state));
    let (highest, inner) = (Arc::clone(&most), pages(nine()));
    let api = Api::start(move |request| {
        let (lock, changed) = &*shared;
        let mut inside = lock.lock().expect("not poisoned");
        inside.0 += 1;
        inside.1.push(request.param("from").expect("from")[..4].to_owned());
        highest.fetch_max(inside.0, Ordering::Relaxed);
        changed.notify_all();
        // the first window is not answered before the third is asked for, nor the second before the first
        let awaited = match inside.1.last().map(String::as_str) {
            Some("2023") => "2025",
            _ => "2023",
        };
        let waits = |inside: &mut (usize, Vec<String>)| !inside.1.iter().any(|year| year == awaited);
        inside = changed.wait_timeout_while(inside, Duration::from_secs(20), waits).expect("not poisoned").0;
        inside.0 -= 1;
        inner(request)
    });
    let project = Project::simple(&api.url(), &sync(", concurrency: 2", ""), MODEL);
    let report = project.done_at(NOW);
    assert_eq!((&report["added"], most.load(Ordering::Relaxed)), (&json!(9), 2));
    assert_eq!(state.0.lock().expect("not poisoned").1[..3].iter().filter(|year| *year == "2023").count(), 1);
    assert_eq!((live(&project).len(), watermark(&project)), (9, json!(covered(NOW))));
}

#[test]
fn days_have_windows_and_today_is_not_covered() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 1, "at": "2026-03-02" }] })));
    let words =
        sync("", "").replace("1 year", "1 month").replace("start: \"2023-01-01\"", "type: date, start: \"2026-01-15\"");
    let project = Project::simple(&api.url(), &words, &MODEL.replace("timestamptz", "date"));
    project.done_at("2026-03-02T12:00:00Z");
    assert_eq!(asked(&api), ["2026-01-15..2026-01-31", "2026-02-01..2026-02-28", "2026-03-01..2026-03-02"]);
    assert_eq!(watermark(&project), "2026-03-02");
    project.done_at("2026-03-02T23:59:59Z");
    project.done_at("2026-03-03T00:00:00Z");
    assert_eq!(asked(&api), ["2026-03-02..2026-03-02", "2026-03-02..2026-03-03"]);
    assert_eq!(watermark(&project), "2026-03-02", "a clock that is behind may still write yesterday's");
    project.done_at("2026-03-03T00:05:00Z");
    assert_eq!(watermark(&project), "2026-03-03");
}

#[test]
fn lookback_and_lag_move_the_ends() {
    let api = Api::start(pages(vec![]));
    let words = sync(", lag: 2h", "").replace("start: \"2023-01-01\"", "lookback: 1h, start: \"2026-01-01T00:00:00Z\"");
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2026-01-01T12:00:00.7Z");
    project.done_at("2026-01-01T13:00:00Z");
    assert_eq!(asked(&api), ["2026-01-01..2026-01-01T10:00:00Z", "2026-01-01T09:00:00Z..2026-01-01T11:00:00Z"]);
    assert_eq!(watermark(&project), "2026-01-01T11:00:00Z");
}

#[test]
fn windows_are_written_as_the_api_writes_times() {
    let formats = [
        ("format: epoch_s, ", "", "1767225600..1767229200"),
        ("format: epoch_ms, ", ", granularity: 1ms", "1767225600000..1767229200000"),
        ("format: \"%d/%m/%Y %H:%M\", ", ", granularity: 1m", "01/01/2026 00:00..01/01/2026 01:00"),
    ];
    for (format, window, expected) in formats {
        let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
        let start = format!("{format}start: \"2026-01-01\"");
        let project = Project::simple(&api.url(), &sync(window, "").replace("start: \"2023-01-01\"", &start), MODEL);
        project.done_at("2026-01-01T01:00:00Z");
        assert_eq!(asked(&api), [expected], "{format}");
    }
}
