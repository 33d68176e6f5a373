//! What becomes of a row when its record arrives again, changed, deleted, or twice.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use serde_json::{Value, json};

use super::support::{Bench, Record, at, bad_batch, batch, customers, gone, live, model, sync_of};
use crate::record::{Batch, Fate};
use crate::store::Committed;

/// id, name, action, deleted at, first seen at, modified at, change; times in minutes since the beginning.
const STORY: &str = "SELECT id, name, _last_action, (epoch_us(_deleted_at) - 1700000000123456) // 60000000, \
                     (epoch_us(_first_seen_at) - 1700000000123456) // 60000000, \
                     (epoch_us(_last_modified_at) - 1700000000123456) // 60000000, _change FROM shop.customers ORDER BY id";

#[test]
fn the_first_load_adds_everything_in_order() {
    let mut bench = Bench::new(customers());
    let done = bench.commit(1, &[live(json!([3, "c"])), live(json!([1, "a"])), gone(json!([2, "b"]))]);
    let expected = Committed { added: 2, deleted: 1, change_from: Some(1), change_to: Some(3), ..Committed::default() };
    assert_eq!(done, expected);
    assert_eq!(
        bench.rows(STORY),
        [
            json!([1, "a", "ADDED", null, 1, 1, 2]),
            json!([2, "b", "DELETED", 1, 1, 1, 3]),
            json!([3, "c", "ADDED", null, 1, 1, 1]),
        ]
    );
    assert_eq!(bench.rows("FROM shop.customers_live ORDER BY id"), [json!([1, "a"]), json!([3, "c"])]);
    let row = bench.rows("SELECT _connection, _variant, _hash > 0 FROM shop.customers WHERE id = 1");
    assert_eq!(row, [json!(["main", "", true])]);
}

#[test]
fn the_same_records_again_move_nothing() {
    let mut bench = Bench::new(customers());
    let page = [live(json!([1, "a"])), live(json!([2, "b"])), gone(json!([3, "c"]))];
    bench.commit(1, &page);
    let before = bench.fingerprint();
    let done = bench.commit(2, &page);
    assert_eq!(done, Committed { unchanged: 3, ..Committed::default() });
    assert_eq!(bench.fingerprint(), before);
    assert!(bench.changes(3).is_empty());
}

#[test]
fn a_row_lives_through_every_state() {
    let mut bench = Bench::new(customers());
    let mut story = |minutes: i64, record: Record| {
        let done = bench.commit(minutes, &[record]);
        (bench.rows(STORY).remove(0), done.added, done.updated, done.deleted, done.unchanged)
    };
    assert_eq!(story(1, live(json!([1, "a"]))), (json!([1, "a", "ADDED", null, 1, 1, 1]), 1, 0, 0, 0));
    assert_eq!(story(2, live(json!([1, "b"]))), (json!([1, "b", "UPDATED", null, 1, 2, 2]), 0, 1, 0, 0));
    assert_eq!(story(3, live(json!([1, "b"]))), (json!([1, "b", "UPDATED", null, 1, 2, 2]), 0, 0, 0, 1));
    // a deletion keeps the last living values, whatever the record still says
    assert_eq!(story(4, gone(json!([1, "z"]))), (json!([1, "b", "DELETED", 4, 1, 4, 3]), 0, 0, 1, 0));
    assert_eq!(story(5, gone(json!([1, "y"]))), (json!([1, "b", "DELETED", 4, 1, 4, 3]), 0, 0, 0, 1));
    assert_eq!(story(6, live(json!([1, "b"]))), (json!([1, "b", "ADDED", null, 6, 6, 4]), 1, 0, 0, 0));
    assert_eq!(story(7, live(json!([1, "c"]))), (json!([1, "c", "UPDATED", null, 6, 7, 5]), 0, 1, 0, 0));
}

#[test]
fn a_record_says_since_when_it_is_deleted() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    let since = Fate::Deleted(Some(at(-60).timestamp_micros()));
    bench.commit(2, &[Record(vec![json!(1), json!("a")], since, 0), Record(vec![json!(2), json!("b")], since, 0)]);
    assert_eq!(bench.rows(STORY), [json!([1, "a", "DELETED", -60, 1, 2, 2]), json!([2, "b", "DELETED", -60, 2, 2, 3])]);
}

#[test]
fn all_fates_in_one_group_get_numbers_in_staged_order() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"])), gone(json!([3, "c"])), live(json!([4, "d"]))]);
    let done = bench.commit(
        2,
        &[
            live(json!([9, "new"])),
            gone(json!([1, "a"])),
            live(json!([4, "d"])),
            live(json!([3, "back"])),
            gone(json!([8, "x"])),
            live(json!([2, "changed"])),
        ],
    );
    let expected = Committed {
        added: 2,
        updated: 1,
        deleted: 2,
        unchanged: 1,
        change_from: Some(5),
        change_to: Some(9),
        ..Committed::default()
    };
    assert_eq!(done, expected);
    let feed: Vec<Value> = bench
        .changes(4)
        .into_iter()
        .map(|row| json!([row["_change"], row["id"], row["name"], row["_last_action"]]))
        .collect();
    assert_eq!(
        feed,
        [
            json!([5, 9, "new", "ADDED"]),
            json!([6, 1, "a", "DELETED"]),
            json!([7, 3, "back", "ADDED"]),
            json!([8, 8, "x", "DELETED"]),
            json!([9, 2, "changed", "UPDATED"]),
        ]
    );
}

#[test]
fn the_last_of_a_group_with_the_same_key_wins() {
    let mut bench = Bench::new(customers());
    let pages = |bench: &Bench| {
        vec![
            batch(&bench.model, &[live(json!([1, "first"])), live(json!([2, "only"])), live(json!([1, "second"]))]),
            Batch { rows: RecordBatch::new_empty(Schema::empty().into()), ..batch(&bench.model, &[]) },
            batch(&bench.model, &[gone(json!([3, "x"])), live(json!([1, "third"])), live(json!([3, "last"]))]),
        ]
    };
    for (minutes, (added, unchanged)) in [(1, (3, 0)), (2, (0, 3))] {
        let group = bench.group(pages(&bench), minutes);
        let done = bench.store.commit(group).expect("committed");
        assert_eq!((done.duplicates, done.added, done.deleted, done.unchanged), (3, added, 0, unchanged));
    }
    let names = bench.rows("SELECT id, name, _change FROM shop.customers ORDER BY id");
    assert_eq!(names, [json!([1, "third", 2]), json!([2, "only", 1]), json!([3, "last", 3])]);
}

#[test]
fn connections_and_variants_do_not_touch_each_other() {
    let mut bench = Bench::new(customers());
    let who = [sync_of("a", ""), sync_of("b", ""), sync_of("a", "big")];
    for (minutes, id) in (1..).zip(&who) {
        bench.id = id.clone();
        let done = bench.commit(minutes, &[live(json!([1, id.to_string()]))]);
        assert_eq!((done.added, done.updated), (1, 0));
    }
    bench.id = who[1].clone();
    let done = bench.commit(9, &[gone(json!([1, ""]))]);
    assert_eq!(done.deleted, 1);
    assert_eq!(
        bench.rows("SELECT _connection, _variant, name, _last_action FROM shop.customers ORDER BY ALL"),
        [
            json!(["a", "", "a/customers", "ADDED"]),
            json!(["a", "big", "a/customers@big", "ADDED"]),
            json!(["b", "", "b/customers", "DELETED"]),
        ]
    );
}

#[test]
fn only_volatile_values_do_not_change_a_row() {
    let mut model = model(&[("id", "bigint"), ("name", "varchar"), ("polled", "bigint")], &["id"]);
    model.columns[2].volatile = true;
    let mut bench = Bench::new(model.into());
    bench.commit(1, &[live(json!([1, "a", 1]))]);
    let before = bench.fingerprint();
    assert_eq!(bench.commit(2, &[live(json!([1, "a", 2]))]).unchanged, 1);
    assert_eq!(bench.fingerprint(), before);
    assert_eq!(bench.commit(3, &[live(json!([1, "b", 3]))]).updated, 1);
    assert_eq!(bench.value("SELECT polled FROM shop.customers"), 3);
}

#[test]
fn an_empty_group_commits_its_checkpoint() {
    let mut bench = Bench::new(customers());
    let group = bench.group(vec![], 5);
    assert_eq!(bench.store.commit(group).expect("committed"), Committed::default());
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(super::support::mark(5)));
    assert_eq!(bench.value("SELECT change_counter FROM headwater.meta"), 0);
}

#[test]
fn a_group_that_fails_leaves_nothing_behind_and_the_store_goes_on() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    let before = bench.fingerprint();
    // a key that is null breaks the table's NOT NULL in the middle of the transaction
    let page = batch(&bench.model, &[live(json!([2, "b"])), live(json!([null, "c"]))]);
    let group = bench.group(vec![page], 2);
    let error = bench.store.commit(group).expect_err("a null key").to_string();
    assert!(error.contains("NOT NULL"), "{error}");
    assert_eq!(bench.fingerprint(), before);
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(super::support::mark(1)));
    assert_eq!(bench.commit(3, &[live(json!([2, "b"]))]).added, 1);
    assert_eq!(bench.value("SELECT max(_change) FROM shop.customers"), 2);
}

#[test]
fn rows_of_another_shape_are_refused() {
    let mut bench = Bench::new(customers());
    let other = model(&[("id", "bigint")], &["id"]);
    let group = bench.group(vec![batch(&other, &[live(json!([1]))])], 1);
    let error = bench.store.commit(group).expect_err("one column is missing");
    assert_eq!(error.to_string(), "the rows for table `shop.customers` do not fit its model: 1 columns instead of 2");
}

#[test]
fn changes_of_many_rows_keep_one_row_per_key() {
    let mut bench = Bench::new(customers());
    let page = |name: &str, ids: std::ops::Range<i64>| ids.map(|id| live(json!([id, name]))).collect::<Vec<_>>();
    bench.commit(1, &page("a", 0..5_000));
    let done = bench.commit(2, &page("b", 2_500..7_500));
    assert_eq!((done.added, done.updated), (2_500, 2_500));
    let counts = bench.rows(
        "SELECT count(*), count(DISTINCT id), count(DISTINCT _change), max(_change), count(*) FILTER (name = 'b') FROM shop.customers",
    );
    assert_eq!(counts, [json!([7_500, 7_500, 7_500, 10_000, 5_000])]);
}

#[test]
fn names_and_values_cannot_break_out() {
    let evil = "a\"; DROP TABLE headwater.meta; --";
    let mut model = model(&[("select", "varchar"), (evil, "varchar"), ("it's", "varchar[]")], &["select", evil]);
    model.schema = "we\"ird 'schema".into();
    model.table = "order by".into();
    model.description = Some("it's; -- \"quoted\"".into());
    model.columns[1].description = Some("'; DROP".into());
    let mut bench = Bench::new(model.into());
    bench.id = sync_of("o'connection\"", "v\\'");
    let page = [live(json!(["1", "'; --\u{0}", ["\"", null]]))];
    assert_eq!(bench.scan(1, 1, vec![batch(&Arc::clone(&bench.model), &page)]).added, 1);
    assert_eq!(bench.scan(2, 1, vec![batch(&Arc::clone(&bench.model), &page)]).unchanged, 1);
    let feed = bench.changes(0);
    assert_eq!(feed.len(), 1);
    assert_eq!((&feed[0][evil], &feed[0]["it's"]), (&json!("'; --\u{0}"), &json!(["\"", null])));
    assert_eq!(bench.value("SELECT count(*) FROM headwater.meta"), 1);
}

#[test]
fn a_row_of_which_a_record_is_in_quarantine_is_not_left_alone() {
    let mut bench = Bench::new(customers());
    let page = [live(json!([1, "a"])), live(json!([2, "b"])), gone(json!([3, "c"]))];
    bench.commit(1, &page);
    let as_stored = |bench: &mut Bench| {
        let pages = [batch(&bench.model, &page), batch(&bench.model, &[live(json!([4, "d"])), live(json!([2, "b"]))])];
        bench.store.as_stored(&bench.model, &bench.id, &pages).expect("compared")
    };
    assert_eq!(as_stored(&mut bench), [vec![true, false, true], vec![false, true]]);
    let bad = bad_batch(&bench.model, &[(Some(json!([1])), "it did not fit")]);
    let group = bench.group(vec![bad], 2);
    bench.store.commit(group).expect("committed");
    assert_eq!(as_stored(&mut bench), [vec![false, false, true], vec![false, true]]);
    assert_eq!(bench.store.as_stored(&bench.model, &bench.id, &[]).expect("compared"), Vec::<Vec<bool>>::new());
}
