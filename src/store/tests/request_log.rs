//! The request log.

use chrono::TimeDelta;
use serde_json::json;

use super::support::{Bench, at, customers};
use crate::plan::limits;
use crate::store::{RequestRecord, RunEnd, RunState};

fn request(minutes: i64, status: Option<u16>, error: Option<&str>) -> RequestRecord {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    RequestRecord {
        at: at(minutes),
        method: "GET".into(),
        url: "https://api.example/x?key=***".into(),
        status,
        duration_ms: 12,
        bytes: 34,
        attempt: 2,
        error: error.map(str::to_owned),
        waited_ms: 56,
        request_headers: vec![header("authorization", "***"), header("accept", "it's \"quoted\"")],
        response_headers: vec![header("link", "<a>"), header("link", "<b>"), header("link", "<c>")],
    }
}

#[test]
fn it_keeps_what_it_is_given() {
    let mut bench = Bench::new(customers());
    let id = bench.id.clone();
    let requests = [request(1, Some(200), None), request(2, None, Some("timed out"))];
    bench.store.log_requests(("r1", &id), &requests, at(3)).expect("logged");
    let columns = "run_id, connection, sync, method, url, status, duration_ms, bytes, attempt, error, waited_ms, \
                   request_headers::VARCHAR, response_headers::VARCHAR, epoch_ms(requested_at)";
    let headers = [r#"{"authorization":"***","accept":"it's \"quoted\""}"#, r#"{"link":["<a>","<b>","<c>"]}"#];
    let row = |status: Option<u16>, error: Option<&str>, minutes| {
        let millis = at(minutes).timestamp_millis();
        let url = "https://api.example/x?key=***";
        json!(["r1", "main", "customers", "GET", url, status, 12, 34, 2, error, 56, headers[0], headers[1], millis])
    };
    let rows = bench.rows(&format!("SELECT {columns} FROM headwater.requests ORDER BY requested_at"));
    assert_eq!(rows, [row(Some(200), None, 1), row(None, Some("timed out"), 2)]);
}

#[test]
fn it_forgets_what_is_old_and_has_room_for_so_many() {
    let mut bench = Bench::new(customers());
    let id = bench.id.clone();
    let count = |bench: &mut Bench| bench.rows("SELECT count(*) FROM headwater.requests")[0][0].clone();
    bench.store.log_requests(("r1", &id), &[request(1, Some(200), None)], at(1)).expect("logged");
    let kept = TimeDelta::from_std(limits::REQUESTS_KEPT).expect("a time");
    bench.store.log_requests(("r2", &id), &[request(2, Some(200), None)], at(1) + kept).expect("logged");
    assert_eq!(count(&mut bench), json!(2), "it is as old as it may be");
    // a run that logs nothing clears up too
    let run = bench.begin("r3", 3);
    let end = RunEnd { state: RunState::Completed, ended_at: at(2) + kept, requests: 0, error: None };
    bench.store.end_run(&run, &end).expect("ended");
    assert_eq!(bench.rows("SELECT run_id FROM headwater.requests"), [json!(["r2"])]);

    let more = limits::REQUESTS_KEPT_ROWS;
    let path = bench.path();
    bench.store.release().expect("released");
    let other = duckdb::Connection::open(&path).expect("opened");
    let fill = format!(
        "INSERT INTO headwater.requests (run_id, requested_at) SELECT 'many', TIMESTAMPTZ '2023-11-14 00:00:00Z' + to_microseconds(i) FROM range({more}) t(i)"
    );
    other.execute_batch(&fill).expect("filled");
    drop(other);
    let now = at(2);
    bench.store.log_requests(("r4", &id), &[request(5, Some(200), None)], now).expect("logged");
    assert_eq!(count(&mut bench), json!(more / 10 * 9), "those that came last");
    assert_eq!(bench.rows("SELECT count(*) FROM headwater.requests WHERE run_id IN ('r2', 'r4')"), [json!([2])]);
}
