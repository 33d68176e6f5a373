//! What a reset takes away, and what it must leave.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::{Bench, at, bad_batch, batch, customers, ended, live, model, sync_of};
use crate::plan::SyncId;
use crate::record::Batch;
use crate::scan::ScanState;
use crate::store::{Error, Forgotten, Reset};

fn reset(syncs: &[SyncId], purge: bool) -> Reset {
    Reset { syncs: syncs.to_vec(), partition: None, purge }
}

/// A statement of another program.
fn elsewhere(bench: &mut Bench, sql: &str) {
    bench.store.release().expect("released");
    duckdb::Connection::open(bench.path()).expect("opened").execute_batch(sql).expect("executed");
}

/// Two rows, one record in quarantine and a scan under way, for each of these syncs.
fn filled(ids: &[SyncId]) -> Bench {
    let mut bench = Bench::new(customers());
    for (minutes, id) in (1..).zip(ids) {
        bench.id = id.clone();
        let run = bench.begin("r1", minutes);
        assert_eq!(run.id, *id);
        let pages = vec![
            batch(&bench.model, &[live(json!([1, "a"])), live(json!([2, "b"]))]),
            bad_batch(&bench.model, &[(Some(json!([3])), "bad")]),
        ];
        let pages = pages.into_iter().map(|page| Batch { seen_by: Some(9), ..page });
        let mut group = bench.group(pages.collect(), minutes);
        group.checkpoints[0].1.main.scan = Some(ScanState::begin(9, at(minutes), None));
        bench.store.commit(group).expect("committed");
    }
    bench
}

/// Who has how many rows, seen keys, quarantined records, and who remembers something.
fn all(bench: &mut Bench) -> Value {
    json!({
        "rows": bench.rows("SELECT _connection, _variant, count(*) FROM shop.customers GROUP BY ALL ORDER BY ALL"),
        "seen": bench.rows("SELECT connection, sync, variant, count(*) FROM headwater.\"seen_shop.customers\" GROUP BY ALL ORDER BY ALL"),
        "quarantine": bench.rows("SELECT connection, sync, variant FROM headwater.quarantine ORDER BY ALL"),
        "checkpoints": bench.rows("SELECT connection, sync, variant FROM headwater.checkpoints ORDER BY ALL"),
    })
}

const PARTITIONS: &str = "SELECT connection, sync, variant, partition, table_schema, table_name, state, watermark, \
                          last_completed_at IS NULL FROM headwater.partitions ORDER BY ALL";

#[test]
fn without_purge_the_place_is_forgotten_and_the_rows_stay() {
    let (one, other) = (sync_of("a", ""), sync_of("a", "big"));
    let mut bench = filled(&[one.clone(), other.clone()]);
    let before = bench.fingerprint();
    let chosen = reset(std::slice::from_ref(&one), false);
    let would = bench.store.would_forget(&chosen).expect("counted");
    assert_eq!(would.removed, []);
    let [remembered] = would.syncs.as_slice() else { panic!("{:?}", would.syncs) };
    assert_eq!(
        (&remembered.id, remembered.parts, remembered.watermark.as_deref(), remembered.scanning),
        (&one, 1, Some("1"), true)
    );
    assert_eq!(bench.store.forget(&chosen, at(9)).expect("forgotten"), would, "it does what it said");
    assert_eq!(bench.fingerprint(), before, "no row moves");
    assert_eq!(
        all(&mut bench),
        json!({
            "rows": [["a", "", 2], ["a", "big", 2]],
            "seen": [["a", "customers", "big", 3]],
            "quarantine": [["a", "customers", ""], ["a", "customers", "big"]],
            "checkpoints": [["a", "customers", "big"]],
        })
    );
    assert_eq!(bench.store.checkpoint(&one).expect("read"), None);
    assert!(bench.store.checkpoint(&other).expect("read").is_some());
    // it stays known which table the sync fills
    assert_eq!(
        bench.rows(PARTITIONS),
        [
            json!(["a", "customers", "", "", "shop", "customers", "reset", null, true]),
            json!(["a", "customers", "big", "", "shop", "customers", "scanning", "2", true])
        ]
    );
    assert_eq!(bench.store.forget(&chosen, at(9)).expect("again"), Forgotten::default());
    assert_eq!(bench.rows("SELECT count(*) FROM headwater.partitions"), [json!([2])]);
    // the next commit goes on with the same row
    bench.id = one;
    bench.commit(20, &[live(json!([1, "a"]))]);
    assert_eq!(
        bench.rows("SELECT state FROM headwater.partitions ORDER BY variant"),
        [json!(["complete"]), json!(["scanning"])]
    );
}

#[test]
fn a_preview_changes_nothing() {
    let id = sync_of("a", "");
    let mut bench = filled(std::slice::from_ref(&id));
    let before = (all(&mut bench), bench.rows(PARTITIONS), bench.fingerprint());
    let would = bench.store.would_forget(&reset(&[id], true)).expect("counted");
    assert_eq!(would.removed.first(), Some(&("shop.customers".to_owned(), 2)));
    assert_eq!((all(&mut bench), bench.rows(PARTITIONS), bench.fingerprint()), before);
}

#[test]
fn purge_takes_the_rows_of_the_chosen_and_of_no_one_else() {
    let ids = [sync_of("a", ""), sync_of("a", "big"), sync_of("b", "")];
    let mut bench = filled(&ids);
    let counter = bench.value("SELECT change_counter FROM headwater.meta");
    let forgotten = bench.store.forget(&reset(&ids[..1], true), at(9)).expect("forgotten");
    assert_eq!(forgotten.removed, [("shop.customers".to_owned(), 2), ("headwater.quarantine".to_owned(), 1)]);
    assert_eq!(
        all(&mut bench),
        json!({
            "rows": [["a", "big", 2], ["b", "", 2]],
            "seen": [["a", "customers", "big", 3], ["b", "customers", "", 3]],
            "quarantine": [["a", "customers", "big"], ["b", "customers", ""]],
            "checkpoints": [["a", "customers", "big"], ["b", "customers", ""]],
        })
    );
    assert_eq!(bench.rows("SELECT DISTINCT connection, variant FROM headwater.partitions ORDER BY ALL").len(), 2);
    // nobody is told: no row is marked, no number given out, and what ran stays on record
    assert_eq!(bench.value("SELECT change_counter FROM headwater.meta"), counter);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.runs"), 3);
    // what comes back is new, with new numbers
    bench.id = ids[0].clone();
    let back = bench.commit(20, &[live(json!([1, "a"]))]);
    assert_eq!((back.added, back.change_from), (1, Some(7)));
}

#[test]
fn a_purge_after_a_reset_still_finds_the_rows() {
    let id = sync_of("a", "");
    let mut bench = filled(std::slice::from_ref(&id));
    bench.store.forget(&reset(std::slice::from_ref(&id), false), at(8)).expect("forgotten");
    let purged = bench.store.forget(&reset(&[id], true), at(9)).expect("purged");
    assert_eq!(purged.removed, [("shop.customers".to_owned(), 2), ("headwater.quarantine".to_owned(), 1)]);
    assert_eq!(bench.value("SELECT count(*) FROM shop.customers"), 0);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.partitions"), 0);
}

#[test]
fn a_table_that_others_fill_too_is_purged_with_all_of_them_or_not_at_all() {
    let one = sync_of("a", "");
    let other = SyncId { sync: "vips".into(), ..one.clone() };
    let elsewhere = SyncId { sync: "vips".into(), ..sync_of("b", "") };
    let mut bench = filled(&[one.clone(), other.clone(), elsewhere]);
    // also when the other has forgotten where it was
    for round in 0..2 {
        let before = (all(&mut bench), bench.rows(PARTITIONS));
        for refused in [
            bench.store.would_forget(&reset(std::slice::from_ref(&one), true)),
            bench.store.forget(&reset(std::slice::from_ref(&one), true), at(9)),
        ] {
            match refused {
                Err(error @ Error::SharedTable { .. }) => {
                    assert_eq!(
                        error.to_string(),
                        "`shop.customers` also holds rows of `a/vips`, and nothing tells them apart"
                    );
                    assert_eq!(error.hint().as_deref(), Some("to remove these too, add: a/vips"));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((all(&mut bench), bench.rows(PARTITIONS)), before, "round {round}");
        bench.store.forget(&reset(std::slice::from_ref(&other), false), at(8)).expect("forgotten");
    }
    bench.store.forget(&reset(&[one, other], true), at(9)).expect("purged");
    assert_eq!(bench.rows("SELECT DISTINCT _connection FROM shop.customers"), [json!(["b"])]);
}

#[test]
fn history_goes_with_its_rows_and_a_model_of_that_name_does_not() {
    let id = sync_of("a", "");
    let mut bench = filled(std::slice::from_ref(&id));
    let history = "CREATE TABLE shop.customers_history AS SELECT *, now() AS valid_from FROM shop.customers \
                   UNION ALL SELECT 5, 'c', 'b', '', now(), now(), 'ADDED', NULL, 1, 1, now()";
    elsewhere(&mut bench, history);
    let purged = bench.store.forget(&reset(std::slice::from_ref(&id), true), at(9)).expect("purged");
    assert_eq!(purged.removed[..2], [("shop.customers".to_owned(), 2), ("shop.customers_history".to_owned(), 2)]);
    assert_eq!(bench.rows("SELECT _connection FROM shop.customers_history"), [json!(["b"])]);

    let mut bench = filled(std::slice::from_ref(&id));
    let mut history = model(&[("id", "bigint"), ("name", "varchar")], &["id"]);
    history.table = "Customers_History".into();
    bench.store.prepare(&[Arc::new(history)], false, "r2", at(2)).expect("prepared");
    elsewhere(&mut bench, "INSERT INTO shop.customers_history SELECT * FROM shop.customers WHERE id = 1");
    bench.store.forget(&reset(&[id], true), at(9)).expect("purged");
    assert_eq!(bench.value("SELECT count(*) FROM shop.customers_history"), 1);
}

#[test]
fn one_partition_is_forgotten_alone() {
    let id = sync_of("a", "");
    let mut bench = filled(std::slice::from_ref(&id));
    for table in ["checkpoints", "partitions"] {
        elsewhere(
            &mut bench,
            &format!("INSERT INTO headwater.{table} SELECT * REPLACE ('2024-05' AS partition) FROM headwater.{table}"),
        );
    }
    // its scan is another one, and has seen a key
    elsewhere(
        &mut bench,
        "UPDATE headwater.checkpoints SET state = replace(state::varchar, '\"id\":9', '\"id\":8')::json WHERE partition <> ''; \
         INSERT INTO headwater.\"seen_shop.customers\" SELECT * REPLACE (8 AS scan_id) FROM headwater.\"seen_shop.customers\" LIMIT 1",
    );
    let part = |name: &str| Reset { partition: Some(name.into()), ..reset(std::slice::from_ref(&id), false) };
    match bench.store.would_forget(&part("2024-06")) {
        Err(error @ Error::UnknownPartition { .. }) => {
            assert_eq!(error.to_string(), "the chosen syncs have no partition `2024-06`");
            assert_eq!(error.hint().as_deref(), Some("did you mean `2024-05`?"));
        }
        other => panic!("{other:?}"),
    }
    let would = bench.store.would_forget(&reset(std::slice::from_ref(&id), false)).expect("counted");
    assert_eq!(
        (would.syncs[0].parts, &would.syncs[0].watermark),
        (2, &None),
        "of two parts there is not one watermark"
    );
    let forgotten = bench.store.forget(&part("2024-05"), at(9)).expect("forgotten");
    assert_eq!((forgotten.syncs[0].parts, forgotten.removed.len()), (1, 0));
    assert_eq!(
        all(&mut bench)["seen"],
        json!([["a", "customers", "", 3]]),
        "the keys that the other part has seen stay"
    );
    assert!(bench.store.checkpoint(&id).expect("read").is_some(), "the other part goes on");
    assert_eq!(bench.rows("SELECT partition, state FROM headwater.partitions"), [json!(["", "scanning"])]);
}

#[test]
fn a_sync_that_has_nothing_forgets_nothing() {
    let mut bench = filled(&[sync_of("a", "")]);
    let before = (all(&mut bench), bench.rows(PARTITIONS));
    for purge in [false, true] {
        let forgotten = bench.store.forget(&reset(&[sync_of("b", ""), sync_of("a", "x")], purge), at(9));
        assert_eq!(forgotten.expect("nothing"), Forgotten::default());
    }
    assert_eq!((all(&mut bench), bench.rows(PARTITIONS)), before);
    assert_eq!(bench.store.known_syncs().expect("known"), [sync_of("a", "")]);
}

#[test]
fn after_a_reset_a_whole_scan_deletes_right() {
    let id = sync_of("a", "");
    let mut bench = filled(std::slice::from_ref(&id));
    bench.store.forget(&reset(&[id], false), at(9)).expect("forgotten");
    let page = batch(&bench.model, &[live(json!([1, "a"]))]);
    bench.scan(10, 10, vec![page]);
    bench.finish(11, ended(10, 1));
    assert_eq!(bench.rows("SELECT id FROM shop.customers WHERE _deleted_at IS NULL"), [json!([1])]);
}
