//! What a scan did not see is gone, within the guard.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::{Bench, at, bad_batch, batch, customers, ended, gone, live, mark, open, sync_of};
use crate::plan::Guard;
use crate::record::Batch;
use crate::scan::{Checkpoint, ScanState};
use crate::store::{Absence, ScanEnd, Seen};

fn page(bench: &Bench, ids: impl IntoIterator<Item = i64>) -> Batch {
    batch(&bench.model, &ids.into_iter().map(|id| live(json!([id, "x"]))).collect::<Vec<_>>())
}

fn deleted(bench: &mut Bench) -> Vec<Value> {
    bench.rows("SELECT id FROM shop.customers WHERE _last_action = 'DELETED' ORDER BY id")
}

/// What a sync of one part remembers.
fn kept(minutes: i64) -> (Arc<str>, Checkpoint) {
    ("".into(), mark(minutes))
}

fn seen(bench: &mut Bench) -> Value {
    bench.value("SELECT count(*) FROM headwater.\"seen_shop.customers\"")
}

#[test]
fn rows_a_scan_over_several_groups_did_not_see_are_deleted() {
    let mut bench = Bench::new(customers());
    let first = page(&bench, 0..10);
    bench.scan(1, 1, vec![first]);
    assert_eq!(bench.finish(2, ended(1, 10)), Absence::Deleted { rows: 0, changes: None });
    for (minutes, ids) in [(3, 0..3), (4, 5..8)] {
        let next = page(&bench, ids);
        bench.scan(minutes, 2, vec![next]);
    }
    // a deleted record that was returned was seen
    let tombstone = batch(&bench.model, &[gone(json!([8, "x"]))]);
    bench.scan(5, 2, vec![tombstone]);
    let before = bench.rows("SELECT * FROM shop.customers WHERE id IN (0, 5, 8) ORDER BY id");
    assert_eq!(bench.finish(6, ended(2, 7)), Absence::Deleted { rows: 3, changes: Some((12, 14)) });
    assert_eq!(deleted(&mut bench), [json!([3]), json!([4]), json!([8]), json!([9])]);
    assert_eq!(bench.rows("SELECT * FROM shop.customers WHERE id IN (0, 5, 8) ORDER BY id"), before);
    let row = bench.rows(
        "SELECT name, _deleted_at = _last_modified_at, (epoch_us(_deleted_at) - 1700000000123456) // 60000000, \
         (epoch_us(_first_seen_at) - 1700000000123456) // 60000000 FROM shop.customers WHERE id = 9",
    );
    assert_eq!(row, [json!(["x", true, 6, 1])]);
    assert_eq!(seen(&mut bench), 0);
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(mark(6)));
    let counts = bench.rows("SELECT change_counter, (SELECT max(_change) FROM shop.customers) FROM headwater.meta");
    assert_eq!(counts, [json!([14, 14])]);
    // what is deleted already is not deleted again
    let rest = page(&bench, [0, 1, 2, 5, 6, 7]);
    bench.scan(7, 3, vec![rest]);
    assert_eq!(bench.finish(8, ended(3, 6)), Absence::Deleted { rows: 0, changes: None });
}

#[test]
fn a_scan_goes_on_in_another_process() {
    let mut bench = Bench::new(customers());
    let first = page(&bench, 0..4);
    bench.scan(1, 1, vec![first]);
    bench.finish(1, ended(1, 4));
    let resumed = page(&bench, [0]);
    bench.scan(2, 2, vec![resumed]);
    let path = bench.path();
    let Bench { store, folder, model, id } = bench;
    drop(store);
    let mut bench = Bench { store: open(&path), folder, model, id };
    let rest = page(&bench, [2]);
    bench.scan(3, 2, vec![rest]);
    assert_eq!(bench.finish(4, ended(2, 2)), Absence::Deleted { rows: 2, changes: Some((5, 6)) });
    assert_eq!(deleted(&mut bench), [json!([1]), json!([3])]);
}

#[test]
fn records_in_quarantine_were_seen() {
    let mut bench = Bench::new(customers());
    let first = page(&bench, 0..3);
    bench.scan(1, 1, vec![first]);
    let pages = vec![page(&bench, [0]), bad_batch(&bench.model, &[(Some(json!([1])), "bad"), (None, "keyless")])];
    bench.scan(2, 2, pages);
    assert_eq!(bench.finish(3, ended(2, 3)), Absence::Deleted { rows: 1, changes: Some((4, 4)) });
    assert_eq!(deleted(&mut bench), [json!([2])]);
}

#[test]
fn the_guard_keeps_everything_until_a_person_accepts() {
    let mut bench = Bench::new(customers());
    let first = page(&bench, 0..10);
    bench.scan(1, 1, vec![first]);
    bench.finish(1, ended(1, 10));
    let some = page(&bench, 0..6);
    bench.scan(2, 2, vec![some]);
    let before = bench.fingerprint();
    let guard = Guard { max_fraction: 0.3, min_rows: 10, allow_empty: false };
    let guarded = bench.finish(3, ScanEnd { guard, ..ended(2, 6) });
    assert_eq!(guarded, Absence::Guarded { would_delete: 4, live: 10, fraction: 0.4, returned: 6 });
    assert_eq!(bench.fingerprint(), before);
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(mark(2)));
    assert_eq!(seen(&mut bench), 6);
    let accepted = bench.finish(4, ScanEnd { guard, accept: true, ..ended(2, 6) });
    assert_eq!(accepted, Absence::Deleted { rows: 4, changes: Some((11, 14)) });
    assert_eq!(seen(&mut bench), 0);
}

#[test]
fn the_guard_lets_through_what_is_within_it() {
    for (guard, passes) in [
        (Guard { max_fraction: 0.4, min_rows: 0, allow_empty: false }, true),
        (Guard { max_fraction: 0.39, min_rows: 11, allow_empty: false }, true),
        (Guard { max_fraction: 0.39, min_rows: 10, allow_empty: false }, false),
    ] {
        let mut bench = Bench::new(customers());
        let first = page(&bench, 0..10);
        bench.scan(1, 1, vec![first]);
        bench.finish(1, ended(1, 10));
        let some = page(&bench, 0..6);
        bench.scan(2, 2, vec![some]);
        let absence = bench.finish(3, ScanEnd { guard, ..ended(2, 6) });
        assert_eq!(matches!(absence, Absence::Deleted { rows: 4, .. }), passes, "{guard:?}");
    }
}

#[test]
fn a_scan_that_returned_nothing_deletes_only_when_it_may() {
    let mut bench = Bench::new(customers());
    let few = page(&bench, 0..2);
    bench.scan(1, 1, vec![few]);
    bench.finish(1, ended(1, 2));
    let strict = Guard { max_fraction: 1.0, min_rows: 100, allow_empty: false };
    let guarded = bench.finish(2, ScanEnd { guard: strict, ..ended(2, 0) });
    assert_eq!(guarded, Absence::Guarded { would_delete: 2, live: 2, fraction: 1.0, returned: 0 });
    let loose = Guard { allow_empty: true, ..strict };
    assert_eq!(
        bench.finish(3, ScanEnd { guard: loose, ..ended(2, 0) }),
        Absence::Deleted { rows: 2, changes: Some((3, 4)) }
    );
    // nothing lives any more: an empty scan is no surprise
    assert_eq!(bench.finish(4, ScanEnd { guard: strict, ..ended(3, 0) }), Absence::Deleted { rows: 0, changes: None });
}

#[test]
fn only_rows_of_the_same_connection_and_variant_are_deleted() {
    let mut bench = Bench::new(customers());
    for (minutes, id) in (1..).zip([sync_of("a", ""), sync_of("b", ""), sync_of("a", "big")]) {
        bench.id = id;
        let both = page(&bench, 0..2);
        bench.scan(minutes, 1, vec![both]);
    }
    bench.id = sync_of("a", "");
    bench
        .store
        .discard_scans(&bench.id, std::slice::from_ref(&bench.model), Seen::AllBut(None), (&kept(1), false), at(9))
        .expect("discarded");
    let one = page(&bench, [0]);
    bench.scan(5, 2, vec![one]);
    assert_eq!(bench.finish(6, ended(2, 1)), Absence::Deleted { rows: 1, changes: Some((7, 7)) });
    let who = bench.rows("SELECT _connection, _variant, id FROM shop.customers WHERE _last_action = 'DELETED'");
    assert_eq!(who, [json!(["a", "", 1])]);
    // the others' seen keys are still there
    assert_eq!(seen(&mut bench), 4);
}

#[test]
fn scans_that_were_given_up_are_forgotten() {
    let mut bench = Bench::new(customers());
    bench
        .store
        .discard_scans(&bench.id, std::slice::from_ref(&bench.model), Seen::AllBut(None), (&kept(1), false), at(9))
        .expect("nothing to forget");
    for scan_id in [1, 2, u64::MAX] {
        let some = page(&bench, 0..3);
        bench.scan(1, scan_id, vec![some]);
    }
    bench
        .store
        .discard_scans(
            &bench.id,
            std::slice::from_ref(&bench.model),
            Seen::AllBut(Some(u64::MAX)),
            (&kept(1), false),
            at(9),
        )
        .expect("forgotten");
    assert_eq!(bench.rows("SELECT DISTINCT scan_id FROM headwater.\"seen_shop.customers\""), [json!([u64::MAX])]);
    bench
        .store
        .discard_scans(&bench.id, std::slice::from_ref(&bench.model), Seen::AllBut(None), (&kept(1), false), at(9))
        .expect("forgotten");
    assert_eq!(seen(&mut bench), 0);
}

#[test]
fn forgetting_many_keys_leaves_those_of_others_and_the_table_as_it_was() {
    let mut bench = Bench::new(customers());
    for (minutes, id) in (1..).zip([sync_of("a", ""), sync_of("b", "")]) {
        bench.id = id;
        let many = page(&bench, 0..9);
        bench.scan(minutes, 1, vec![many]);
    }
    let table = "SELECT column_name, data_type, (SELECT comment FROM duckdb_tables() WHERE table_name LIKE 'seen%') \
                 FROM duckdb_columns() WHERE table_name LIKE '%seen%' ORDER BY column_index";
    let before = bench.rows(table);
    assert_eq!(before.len(), 5);
    bench
        .store
        .discard_scans(&bench.id, std::slice::from_ref(&bench.model), Seen::AllBut(None), (&kept(1), false), at(3))
        .expect("forgotten");
    let left = "SELECT connection, count(*) FROM headwater.\"seen_shop.customers\" GROUP BY ALL";
    assert_eq!((bench.rows(left), bench.rows(table)), (vec![json!(["a", 9])], before));
    let again = page(&bench, 0..1);
    bench.scan(5, 2, vec![again]);
    assert_eq!(seen(&mut bench), 10);
}

#[test]
fn a_scan_whose_seen_keys_are_forgotten_is_not_remembered() {
    let mut bench = Bench::new(customers());
    let remembers = |bench: &mut Bench| bench.store.checkpoint(&bench.id).expect("read").expect("a checkpoint");
    let mut group = bench.group(vec![page(&bench, 0..3)], 1);
    group.filled[0].batches[0].seen_by = Some(7);
    group.checkpoints[0].1.main.scan = Some(ScanState::begin(7, at(1), None));
    let before = group.checkpoints[0].1.clone();
    bench.store.commit(group).expect("committed");
    bench
        .store
        .discard_scans(&bench.id, std::slice::from_ref(&bench.model), Seen::AllBut(Some(7)), (&kept(2), false), at(2))
        .expect("nothing to forget");
    assert_eq!((remembers(&mut bench), seen(&mut bench)), (before, json!(3)));
    bench
        .store
        .discard_scans(&bench.id, std::slice::from_ref(&bench.model), Seen::AllBut(None), (&kept(2), false), at(2))
        .expect("forgotten");
    assert_eq!((remembers(&mut bench), seen(&mut bench)), (mark(2), json!(0)));
}
