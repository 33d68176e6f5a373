//! Records of the quarantine that are mapped again.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::{Bench, Record, at, bad_batch, batch, customers, gone, live};
use crate::record::{Batch, Fate};
use crate::store::{Retried, Retry};

/// Puts records into quarantine: id and name, with a readable key or without.
fn quarantine(bench: &mut Bench, minutes: i64, records: &[(i64, &str, bool)]) {
    let mut page = batch(&bench.model, &[]);
    for (id, name, keyed) in records {
        let key = keyed.then(|| json!([id]));
        let mut one = bad_batch(&bench.model, &[(key, "it did not fit")]).quarantined.remove(0);
        one.record = json!({ "id": id, "name": name }).to_string();
        one.record_hash = Some(xxhash_rust::xxh3::xxh3_64(one.record.as_bytes()));
        page.quarantined.push(one);
    }
    let group = bench.group(vec![page], minutes);
    bench.store.commit(group).expect("committed");
}

/// A name tells what becomes of a record: `bad…` does not fit, `filtered…` is turned away, `gone…` is deleted.
fn map(model: &crate::plan::ModelPlan, text: &str) -> Option<Batch> {
    let record: Value = serde_json::from_str(text).ok()?;
    let name = record["name"].as_str()?.to_owned();
    let values = vec![record["id"].clone(), json!(name)];
    Some(match name.as_str() {
        name if name.starts_with("bad") => bad_batch(model, &[(Some(json!([record["id"]])), "it still does not fit")]),
        name if name.starts_with("filtered") => Batch { filtered: 1, ..batch(model, &[]) },
        name if name.starts_with("gone") => batch(model, &[Record(values, Fate::Deleted(None), 0)]),
        _ => batch(model, &[Record(values, Fate::Live, 0)]),
    })
}

/// Retries until nothing is left to take; gives what was done together.
fn retry(bench: &mut Bench, minutes: i64) -> Retried {
    let mut all = Retried::default();
    let run_id = format!("t{minutes}");
    let model = Arc::clone(&bench.model);
    for _ in 0..20 {
        let retry = Retry { id: &bench.id, model: &model, run_id: &run_id, now: at(minutes) };
        let done = bench.store.retry(retry, |text| map(&model, text)).expect("retried");
        if done.records == 0 {
            return all;
        }
        all.add(&done);
    }
    panic!("it does not end");
}

const LEFT: &str = "SELECT record ->> '$.name', code, reason, run_id, (epoch_us(last_seen_at) - 1700000000123456) // 60000000 \
                    FROM headwater.quarantine ORDER BY 1";
const ROWS: &str = "SELECT id, name, _last_action, _change FROM shop.customers ORDER BY id";

#[test]
fn what_fits_becomes_a_row_and_the_rest_stays_with_its_reason() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"])), live(json!([3, "c"])), live(json!([4, "d"]))]);
    let records = [
        (2, "B", true),
        (3, "c", true),
        (4, "gone", true),
        (5, "e", true),
        (6, "bad", true),
        (7, "filtered", true),
        (8, "bad 2", false),
    ];
    quarantine(&mut bench, 2, &records);
    let checkpoint = bench.store.checkpoint(&bench.id).expect("read");
    let done = retry(&mut bench, 5);
    let expected = Retried {
        records: 7,
        added: 1,
        updated: 1,
        deleted: 1,
        unchanged: 1,
        filtered: 1,
        unfit: 2,
        change_from: Some(5),
        change_to: Some(7),
        ..Retried::default()
    };
    assert_eq!(done, expected);
    assert_eq!(
        bench.rows(ROWS),
        [
            json!([1, "a", "ADDED", 1]),
            json!([2, "B", "UPDATED", 5]),
            json!([3, "c", "ADDED", 3]),
            json!([4, "d", "DELETED", 6]),
            json!([5, "e", "ADDED", 7]),
        ]
    );
    let reason = "it still does not fit";
    assert_eq!(
        bench.rows(LEFT),
        [json!(["bad", "type_mismatch", reason, "t5", 2]), json!(["bad 2", "type_mismatch", reason, "t5", 2])]
    );
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), checkpoint);
    assert_eq!(retry(&mut bench, 6), Retried { records: 2, unfit: 2, ..Retried::default() });
}

#[test]
fn a_row_deleted_since_does_not_come_back_and_one_deleted_before_does() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"]))]);
    bench.commit(2, &[gone(json!([2, "b"]))]);
    quarantine(&mut bench, 3, &[(1, "A", true), (2, "B", true)]);
    // by another way than the record, which would have taken it out of quarantine
    bench.scan(4, 9, vec![]);
    bench
        .store
        .transaction("delete", |db| {
            db.execute_batch(
                "UPDATE headwater_db.shop.customers SET _deleted_at = CAST('2100-01-01T00:00:00Z' AS TIMESTAMPTZ), \
                          _last_modified_at = CAST('2100-01-01T00:00:00Z' AS TIMESTAMPTZ) WHERE id = 1",
            )
            .expect("deleted");
            Ok(())
        })
        .expect("deleted");
    let done = retry(&mut bench, 5);
    assert_eq!((done.records, done.added, done.outdated), (2, 1, 1));
    assert_eq!(bench.rows("SELECT id, name FROM shop.customers_live"), [json!([2, "B"])]);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.quarantine"), 0);
}

#[test]
fn a_record_whose_key_was_not_known_makes_a_row_and_changes_none() {
    let mut bench = Bench::new(customers());
    quarantine(&mut bench, 1, &[(1, "old", false), (2, "only", false)]);
    bench.commit(2, &[live(json!([1, "new"]))]);
    let done = retry(&mut bench, 3);
    assert_eq!((done.added, done.updated, done.unfit), (1, 0, 1));
    assert_eq!(bench.rows("SELECT id, name FROM shop.customers ORDER BY id"), [json!([1, "new"]), json!([2, "only"])]);
    let left = bench.rows("SELECT record ->> '$.name', code FROM headwater.quarantine");
    assert_eq!(left, [json!(["old", "row_exists"])]);
}

#[test]
fn a_record_that_is_not_kept_whole_stays_as_it_is() {
    let mut bench = Bench::new(customers());
    let mut page = bad_batch(&bench.model, &[(Some(json!([1])), "cut"), (Some(json!([2])), "masked")]);
    page.quarantined[0].record_hash = None;
    page.quarantined[1].record = r#"{"id":2,"name":"***"}"#.into();
    let group = bench.group(vec![page], 1);
    bench.store.commit(group).expect("committed");
    assert_eq!(retry(&mut bench, 2), Retried { records: 2, cut: 2, ..Retried::default() });
    let reasons = bench.rows("SELECT reason FROM headwater.quarantine ORDER BY reason");
    assert_eq!(reasons, [json!(["cut"]), json!(["masked"])]);
}

#[test]
fn of_two_records_with_one_key_the_later_counts() {
    let mut bench = Bench::new(customers());
    quarantine(&mut bench, 1, &[(1, "first", false)]);
    quarantine(&mut bench, 2, &[(1, "second", false)]);
    let done = retry(&mut bench, 3);
    assert_eq!((done.records, done.added, done.outdated), (2, 1, 1));
    assert_eq!(bench.rows("SELECT name FROM shop.customers"), [json!(["second"])]);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.quarantine"), 0);
}

#[test]
fn a_failing_retry_leaves_everything_as_it_was() {
    let mut bench = Bench::new(customers());
    quarantine(&mut bench, 1, &[(1, "a", true)]);
    let before = bench.rows("FROM headwater.quarantine");
    let model = Arc::clone(&bench.model);
    let retry = Retry { id: &bench.id, model: &model, run_id: "t", now: at(2) };
    // a key that is null breaks the table's NOT NULL in the middle of the transaction
    let error = bench.store.retry(retry, |_| Some(batch(&model, &[live(json!([null, "x"]))]))).expect_err("a null key");
    assert!(error.to_string().contains("NOT NULL"), "{error}");
    assert_eq!(bench.rows("FROM headwater.quarantine"), before);
}
