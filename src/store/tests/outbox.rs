//! What applications are told.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::support::{Bench, at, batch, customers, gone, live, open};
use crate::plan::{NotifyPlan, limits};
use crate::store::{DeliveryEnd, DeliveryState, Due, EndpointState, RunEnd, RunState};

fn endpoint(name: &str, changed: bool) -> NotifyPlan {
    let url = "https://app.example.com/hooks".parse().expect("a URL");
    NotifyPlan { name: name.into(), url, secret: None, changed, failed: true, needs_reconnect: true }
}

fn bench(endpoints: &[(&str, bool)]) -> Bench {
    let mut bench = Bench::new(customers());
    tell(&mut bench, endpoints, 0);
    bench
}

fn tell(bench: &mut Bench, endpoints: &[(&str, bool)], minutes: i64) {
    let endpoints: Arc<[NotifyPlan]> = endpoints.iter().map(|(name, changed)| endpoint(name, *changed)).collect();
    bench.store.tell(endpoints, at(minutes)).expect("told");
}

fn end(state: RunState, minutes: i64, error: Option<&str>) -> RunEnd {
    let error = error.map(|code| (code.to_owned(), "it's gone".to_owned()));
    RunEnd { state, ended_at: at(minutes), requests: 1, error }
}

/// A run that changes one row.
fn run(bench: &mut Bench, run_id: &str, minutes: i64) {
    let run = bench.begin(run_id, minutes);
    let mut group = bench.group(vec![batch(&bench.model, &[live(json!([1, run_id]))])], minutes);
    run_id.clone_into(&mut group.run_id);
    bench.store.commit(group).expect("committed");
    bench.store.end_run(&run, &end(RunState::Completed, minutes, None)).expect("ended");
}

fn due(bench: &mut Bench, endpoint: &str, now: DateTime<Utc>) -> Due {
    bench.store.deliveries_due(endpoint, now, 16).expect("read")
}

fn ids(due: &Due) -> Vec<i64> {
    due.deliveries.iter().map(|delivery| delivery.id).collect()
}

fn note(bench: &mut Bench, endpoint: &str, id: i64, now: DateTime<Utc>, state: DeliveryState) {
    let end = DeliveryEnd { id, at: now, status: Some(500), error: Some("no".into()), state };
    bench.store.note_deliveries(endpoint, &[end], &EndpointState::default(), now).expect("noted");
}

#[test]
fn commits_of_a_run_are_told_as_one_and_only_to_who_wants_it() {
    let mut bench = bench(&[("a", true), ("b", false)]);
    let run = bench.begin("r1", 0);
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"]))]);
    bench.commit(2, &[live(json!([1, "z"])), gone(json!([2, "b"]))]);
    bench.commit(3, &[live(json!([1, "z"]))]);
    assert!(ids(&due(&mut bench, "a", at(4))).is_empty(), "the run goes on");
    bench.store.end_run(&run, &end(RunState::Failed, 4, Some("needs_reconnect"))).expect("ended");
    let due_a = due(&mut bench, "a", at(4));
    assert_eq!((ids(&due_a), ids(&due(&mut bench, "b", at(4)))), (vec![1, 2, 3], vec![2, 3]));
    let bodies: Vec<Value> =
        due_a.deliveries.iter().map(|delivery| serde_json::from_str(&delivery.body).expect("JSON")).collect();
    let data = &bodies[0]["data"];
    assert_eq!(
        (&bodies[0]["type"], &bodies[0]["timestamp"]),
        (&json!("sync.changed"), &json!("2023-11-14T22:17:20.123Z"))
    );
    let counts = ["added", "updated", "deleted", "change_from", "change_to"].map(|name| data[name].clone());
    assert_eq!(counts, [2, 1, 1, 1, 4]);
    assert_eq!(bodies[1]["data"]["message"], "it's gone");
    assert_eq!(bodies[2]["type"], "connection.needs_reconnect");
    // again and again it fails, and it was said
    let again = bench.begin("r2", 5);
    bench.store.end_run(&again, &end(RunState::Failed, 6, Some("needs_reconnect"))).expect("ended");
    assert_eq!(ids(&due(&mut bench, "b", at(7))), [2, 3, 4]);
    // it has worked in between
    let good = bench.begin("r3", 8);
    bench.store.end_run(&good, &end(RunState::Completed, 9, None)).expect("ended");
    let bad = bench.begin("r4", 10);
    bench.store.end_run(&bad, &end(RunState::Failed, 11, Some("needs_reconnect"))).expect("ended");
    assert_eq!(ids(&due(&mut bench, "b", at(12))), [2, 3, 4, 5, 6]);
}

#[test]
fn what_a_killed_process_has_committed_is_told_by_the_next() {
    let mut bench = bench(&[("a", true)]);
    bench.begin("r1", 0);
    bench.commit(1, &[live(json!([1, "a"]))]);
    let path = bench.path();
    // nothing of it is told without one who wants to know it
    bench.store.tell(Arc::new([]), at(2)).expect("told");
    assert!(ids(&due(&mut bench, "a", at(2))).is_empty());
    drop(std::mem::replace(
        &mut bench.store,
        open(&tempfile::tempdir().expect("a folder").path().join("other.duckdb")),
    ));
    bench.store = open(&path);
    tell(&mut bench, &[("a", true)], 3);
    tell(&mut bench, &[("a", true)], 4);
    assert_eq!(ids(&due(&mut bench, "a", at(5))), [1]);
}

#[test]
fn later_ones_wait_for_one_that_fails_but_not_for_ever() {
    let mut bench = bench(&[("a", true), ("b", true)]);
    for (minute, name) in [(0, "r1"), (1, "r2"), (2, "r3")] {
        run(&mut bench, name, minute);
    }
    assert_eq!(ids(&due(&mut bench, "a", at(3))), [1, 2, 3]);
    for attempt in 1..limits::NOTIFY_BLOCKS_FOR {
        note(&mut bench, "a", 1, at(3), DeliveryState::Pending(at(10)));
        let found = due(&mut bench, "a", at(4));
        assert_eq!((ids(&found), found.next_at), (vec![], Some(at(10))), "{attempt}");
    }
    assert_eq!(ids(&due(&mut bench, "a", at(10))), [1, 2, 3], "its time has come");
    note(&mut bench, "a", 1, at(10), DeliveryState::Pending(at(20)));
    assert_eq!(ids(&due(&mut bench, "a", at(11))), [2, 3], "they pass it");
    note(&mut bench, "a", 2, at(11), DeliveryState::Delivered);
    note(&mut bench, "a", 3, at(11), DeliveryState::GivenUp);
    assert_eq!((ids(&due(&mut bench, "a", at(12))), ids(&due(&mut bench, "a", at(20)))), (vec![], vec![1]));
    assert_eq!(ids(&due(&mut bench, "b", at(12))), [1, 2, 3], "others are not concerned");
}

#[test]
fn an_endpoint_that_waits_or_is_paused_gets_nothing() {
    let mut bench = bench(&[("a", true)]);
    run(&mut bench, "r1", 0);
    let waits = EndpointState { wait_until: Some(at(10)), failing_since: Some(at(1)), ..EndpointState::default() };
    bench.store.note_deliveries("a", &[], &waits, at(1)).expect("noted");
    let found = due(&mut bench, "a", at(5));
    assert_eq!((ids(&found), found.next_at, found.endpoint), (vec![], Some(at(10)), waits));
    assert_eq!(ids(&due(&mut bench, "a", at(10))), [1]);
    let paused = EndpointState { paused: Some("gone".into()), ..EndpointState::default() };
    bench.store.note_deliveries("a", &[], &paused, at(11)).expect("noted");
    let found = due(&mut bench, "a", at(12));
    assert_eq!((ids(&found), found.next_at), (vec![], None));
    assert_eq!(bench.store.resume_endpoints().expect("resumed"), ["a"]);
    assert_eq!(ids(&due(&mut bench, "a", at(12))), [1]);
    assert!(bench.store.resume_endpoints().expect("resumed").is_empty());
}

#[test]
fn what_everybody_has_is_forgotten_and_no_number_comes_twice() {
    let mut bench = bench(&[("a", true)]);
    for (minute, name) in [(0, "r1"), (1, "r2"), (2, "r3")] {
        run(&mut bench, name, minute);
    }
    note(&mut bench, "a", 1, at(3), DeliveryState::Delivered);
    note(&mut bench, "a", 3, at(3), DeliveryState::Delivered);
    let later = |kept: std::time::Duration| at(5) + TimeDelta::from_std(kept).expect("days");
    let left = |bench: &mut Bench, now| {
        bench.store.tell_rest(now).expect("told");
        bench.rows("SELECT id FROM headwater.outbox ORDER BY id")
    };
    assert_eq!(left(&mut bench, at(4)), [json!([1]), json!([2]), json!([3])]);
    assert_eq!(left(&mut bench, later(limits::NOTIFIED_KEPT)), [json!([2]), json!([3])]);
    assert_eq!(left(&mut bench, later(limits::NOT_NOTIFIED_KEPT)), [json!([3])], "the last one stays");
    assert_eq!(bench.rows("SELECT id FROM headwater.deliveries"), [json!([3])]);
    run(&mut bench, "r4", 6);
    assert_eq!(ids(&due(&mut bench, "a", at(7))), [4]);
    // and the last one can be sent again
    let event_id = bench.value("SELECT event_id FROM headwater.outbox WHERE id = 3");
    assert_eq!(bench.store.replay(event_id.as_str().expect("a name")).expect("replayed"), 1);
    assert_eq!(ids(&due(&mut bench, "a", at(7))), [3, 4]);
    assert_eq!(bench.store.replay("evt_none").expect("nothing"), 0);
}
