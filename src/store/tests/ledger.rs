//! Runs and checkpoints.

use serde_json::json;

use super::support::{Bench, at, bad_batch, batch, customers, gone, live, mark, open};
use crate::scan::checkpoint::{ScanState, Tortoise};
use crate::scan::{Checkpoint, Feed, Mark, OpenWindow, Position, Range, Track, Windows};
use crate::store::{Error, Reset, RunEnd, RunState};

#[test]
fn a_run_counts_what_its_commits_did() {
    let mut bench = Bench::new(customers());
    let run = bench.begin("r1", 0);
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"])), live(json!([3, "c"]))]);
    let mut page = batch(
        &bench.model,
        &[live(json!([1, "z"])), gone(json!([2, "b"])), live(json!([3, "c"])), live(json!([3, "c"]))],
    );
    (page.filtered, page.nulled) = (7, 8);
    let bad = bad_batch(&bench.model, &[(None, "x")]);
    let group = bench.group(vec![page, bad], 2);
    bench.store.commit(group).expect("committed");
    let counters = "SELECT state, pages, records, added, updated, deleted, unchanged, duplicates, quarantined, filtered, nulled, \
                    change_from, change_to, requests, error_code, error, ended_at FROM headwater.runs";
    assert_eq!(bench.rows(counters), [json!(["running", 3, 8, 3, 1, 1, 1, 1, 1, 7, 8, 1, 5, 0, null, null, null])]);
    let end = RunEnd {
        state: RunState::Failed,
        ended_at: at(3),
        requests: 4,
        error: Some(("remote".into(), "it's gone".into())),
    };
    bench.store.end_run(&run, &end).expect("ended");
    assert_eq!(
        bench.rows(counters),
        [json!([
            "failed",
            3,
            8,
            3,
            1,
            1,
            1,
            1,
            1,
            7,
            8,
            1,
            5,
            4,
            "remote",
            "it's gone",
            "2023-11-14T22:16:20.123456Z"
        ])]
    );
}

#[test]
fn a_run_that_was_killed_is_noted_when_the_next_begins() {
    let mut bench = Bench::new(customers());
    bench.begin("killed", 0);
    bench.id.sync = "other".into();
    // a sync of the same process that begins later does not end the first
    bench.begin("beside", 1);
    let states = "SELECT run_id, state FROM headwater.runs ORDER BY started_at";
    assert_eq!(bench.rows(states), [json!(["killed", "running"]), json!(["beside", "running"])]);
    let path = bench.path();
    let Bench { store, folder, model, id } = bench;
    drop(store);
    let mut bench = Bench { store: open(&path), folder, model, id };
    bench.begin("next", 2);
    assert_eq!(
        bench.rows(states),
        [json!(["killed", "interrupted"]), json!(["beside", "interrupted"]), json!(["next", "running"])]
    );
}

/// A scan of which nothing is as it is at its beginning.
fn everything() -> ScanState {
    ScanState {
        since_token: Some(json!("then")),
        token: Some(json!({ "next": 7 })),
        high: Some(Mark::Date(at(5).date_naive())),
        unsorted: true,
        position: Position::Cursor(json!({"a": [1, "x"]})),
        pages: 3,
        records: 4,
        empty_pages: 5,
        size_honoured: true,
        by_position: true,
        rounds: 1,
        digest: 7,
        previous: Some((3, 9)),
        unproven: Some("because".into()),
        cut_short: true,
        total: Some(6),
        moved: true,
        guarded: true,
        content: Some((u64::MAX, 2)),
        tortoise: Some(Tortoise { token: u64::MAX, steps: 1, power: 2 }),
        ..ScanState::begin(u64::MAX - 1, at(1), Some(Mark::Text("o'\u{0}é".into())))
    }
}

#[test]
fn a_checkpoint_comes_back_as_it_was_written() {
    let mut bench = Bench::new(customers());
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), None);
    for checkpoint in [
        mark(1),
        Checkpoint {
            fingerprint: u64::MAX,
            token: Some(json!(["t", 1])),
            token_ahead: Some(json!(2)),
            main: Track {
                watermark: Some(Mark::Timestamp(at(0))),
                ahead: Some(Mark::Timestamp(at(1))),
                completed_at: Some(at(2)),
                scan: Some(everything()),
            },
            windows: Windows {
                until: Some(Mark::Timestamp(at(9))),
                gaps: vec![Range { from: Mark::Timestamp(at(3)), to: Mark::Timestamp(at(4)) }],
                open: vec![OpenWindow {
                    range: Range { from: Mark::Timestamp(at(4)), to: Mark::Timestamp(at(5)) },
                    scan: everything(),
                }],
                pass: u64::MAX,
            },
            feed: Feed {
                track: Track { scan: Some(everything()), ..Track::default() },
                applied: vec![u64::MAX],
                forgot_at: Some(at(3)),
                forgot_up_to: None,
                reading: vec![(1, Mark::Timestamp(at(1)))],
                dropped: Some(Mark::Timestamp(at(2))),
            },
            sweep: Track { scan: Some(everything()), ..Track::default() },
            ..mark(1)
        },
    ] {
        let mut group = bench.group(vec![], 1);
        group.checkpoints = vec![("".into(), checkpoint.clone())];
        bench.store.commit(group).expect("committed");
        assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(checkpoint));
    }
    let parts = bench.rows(
        "SELECT table_schema, table_name, state, watermark, last_completed_at, (SELECT count(*) FROM headwater.checkpoints) \
         FROM headwater.partitions",
    );
    let expected =
        json!(["shop", "customers", "scanning", "2023-11-14T22:13:20.123456Z", "2023-11-14T22:14:20.123456Z", 1]);
    assert_eq!(parts, [expected]);
}

#[test]
fn a_checkpoint_that_cannot_be_used_is_never_begun_anew_in_silence() {
    for (state, detail) in [
        ("{\"version\": 3}", "it has version 3, this program knows version 2"),
        ("{}", "it is not readable: missing field `version` at line 1 column 2"),
        ("{\"version\": 1}", "it is not readable: missing field `fingerprint` at line 1 column 14"),
    ] {
        let mut bench = Bench::new(customers());
        bench.commit(1, &[]);
        let path = bench.path();
        bench.store.release().expect("released");
        let other = duckdb::Connection::open(&path).expect("opened");
        other.execute("UPDATE headwater.checkpoints SET state = ?::JSON", [state]).expect("tampered");
        drop(other);
        let error = bench.store.checkpoint(&bench.id).expect_err("not usable");
        assert_eq!(error.to_string(), format!("the checkpoint of `main/customers` cannot be used: {detail}"));
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
        assert!(error.hint().expect("a hint").contains("`headwater reset main/customers`"));
        // the way out that the hint names is one
        let reset = Reset { syncs: vec![bench.id.clone()], partition: None, purge: false };
        bench.store.forget(&reset, at(2)).expect("forgotten");
        assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), None);
    }
}
