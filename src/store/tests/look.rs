//! What people look at.

use serde_json::json;

use super::support::{Bench, at, bad_batch, customers, id, sync_of};
use crate::plan::SyncId;
use crate::store::{PastRequest, RequestRecord, RequestsOf, RunsOf};

fn request(minutes: i64, url: &str) -> RequestRecord {
    RequestRecord {
        at: at(minutes),
        method: "GET".into(),
        url: url.into(),
        status: Some(200),
        duration_ms: 12,
        bytes: 34,
        attempt: 1,
        error: None,
        waited_ms: 5,
        request_headers: vec![("accept".into(), "*/*".into())],
        response_headers: vec![("link".into(), "a".into()), ("link".into(), "b".into())],
    }
}

#[test]
fn requests_are_those_of_a_run_or_of_the_runs_of_a_sync_the_latest_first() {
    let mut bench = Bench::new(customers());
    bench.begin("r1", 0);
    bench.begin("r2", 1);
    let other = SyncId { sync: "orders".into(), ..id() };
    let mut log = |run: &str, id: &SyncId, requests: &[RequestRecord]| {
        bench.store.log_requests((run, id), requests, at(9)).expect("logged");
    };
    log("r1", &id(), &[request(0, "https://a/1"), request(1, "https://a/2")]);
    log("r2", &id(), &[request(2, "https://a/3")]);
    log("r2", &other, &[request(3, "https://a/4")]);
    let last = bench.store.requests(&RequestsOf { limit: 1, ..RequestsOf::default() }).expect("read").remove(0);
    assert_eq!((last.id, last.request), (other, request(3, "https://a/4")));
    let mut urls = |of: RequestsOf| -> Vec<String> {
        let found = bench.store.requests(&of).expect("read");
        found.into_iter().map(|PastRequest { run_id, request, .. }| format!("{run_id} {}", request.url)).collect()
    };
    let all = RequestsOf { limit: 10, ..RequestsOf::default() };
    assert_eq!(urls(all.clone()), ["r2 https://a/4", "r2 https://a/3", "r1 https://a/2", "r1 https://a/1"]);
    assert_eq!(urls(RequestsOf { limit: 1, ..all.clone() }), ["r2 https://a/4"]);
    assert_eq!(urls(RequestsOf { run_id: Some("r1".into()), ..all.clone() }), ["r1 https://a/2", "r1 https://a/1"]);
    let of_sync = RequestsOf { connection: Some(id().connection), sync: Some(id().sync), ..all.clone() };
    assert_eq!(urls(of_sync.clone()).len(), 3);
    assert_eq!(urls(RequestsOf { sync: Some("other".into()), ..of_sync }), [""; 0]);
}

#[test]
fn the_last_runs_of_each_sync() {
    let mut bench = Bench::new(customers());
    for minutes in 0..4 {
        bench.begin(&format!("r{minutes}"), minutes);
    }
    let mut other = bench.begin("o1", 9);
    other.id = sync_of("other", "");
    other.run_id = "o2".into();
    bench.store.begin_run(&other).expect("begun");
    let recent = bench.store.recent_runs(2).expect("read");
    let names: Vec<_> = recent.iter().map(|past| past.run.run_id.as_str()).collect();
    assert_eq!(names, ["o1", "r3", "o2"]);
    let of = RunsOf { before: Some(at(3)), limit: 10, ..RunsOf::default() };
    let earlier = bench.store.runs(&of).expect("read");
    assert_eq!(earlier.iter().map(|past| past.run.run_id.as_str()).collect::<Vec<_>>(), ["r2", "r1", "r0"]);
    let of = RunsOf { run_id: Some("r1".into()), state: Some("failed".into()), limit: 10, ..RunsOf::default() };
    assert_eq!(bench.store.runs(&of).expect("read"), []);
}

#[test]
fn what_is_in_quarantine_the_latest_first_and_cut() {
    let mut bench = Bench::new(customers());
    bench.begin("r1", 0);
    for (minutes, key, text) in [(1, 7, "an old one"), (2, 8, "the newest")] {
        let bad = bad_batch(&bench.model, &[(Some(json!([key])), text)]);
        let group = bench.group(vec![bad], minutes);
        bench.store.commit(group).expect("committed");
    }
    let all = bench.store.in_quarantine(&id(), 10, 7).expect("read");
    let seen: Vec<_> = all.iter().map(|held| (held.reason.as_str(), held.record.as_str(), held.last_seen_at)).collect();
    assert_eq!(seen, [("the newest", "{\"raw\":", at(2)), ("an old one", "{\"raw\":", at(1))]);
    assert!(all.iter().all(|held| held.is_cut && held.column.as_deref() == Some("name")), "{all:?}");
    let whole = bench.store.in_quarantine(&id(), 1, 100).expect("read");
    assert_eq!((whole.len(), whole[0].record.as_str(), whole[0].is_cut), (1, "{\"raw\":[8]}", false));
    assert_eq!(bench.store.in_quarantine(&sync_of("other", ""), 10, 7).expect("read"), []);
}
