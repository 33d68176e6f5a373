//! Records that are no rows stay until they fit.

use serde_json::{Value, json};

use super::support::{Bench, FREE, at, bad_batch, batch, customers, ended, live, model};
use crate::record::Batch;
use crate::store::ScanEnd;

const ALL: &str = "SELECT key, reason, run_id, (epoch_us(first_seen_at) - 1700000000123456) // 60000000, \
                   (epoch_us(last_seen_at) - 1700000000123456) // 60000000 FROM headwater.quarantine ORDER BY ALL";

fn put(bench: &mut Bench, minutes: i64, pages: Vec<Batch>) -> u64 {
    let mut group = bench.group(pages, minutes);
    group.run_id = format!("r{minutes}");
    bench.store.commit(group).expect("committed").quarantined
}

fn bad(bench: &Bench, records: &[(Option<Value>, &str)]) -> Batch {
    bad_batch(&bench.model, records)
}

#[test]
fn the_same_record_again_is_one_row_with_the_latest_reason() {
    let mut bench = Bench::new(customers());
    let pages = vec![bad(&bench, &[(Some(json!([1])), "a"), (None, "no key"), (Some(json!([1])), "b")])];
    assert_eq!(put(&mut bench, 1, pages), 3);
    assert_eq!(bench.rows(ALL), [json!(["[1]", "b", "r1", 1, 1]), json!([null, "no key", "r1", 1, 1])]);
    let pages = vec![bad(&bench, &[(Some(json!([1])), "c"), (Some(json!([2])), "d"), (None, "still none")])];
    assert_eq!(put(&mut bench, 2, pages), 3);
    assert_eq!(
        bench.rows(ALL),
        [json!(["[1]", "c", "r2", 1, 2]), json!(["[2]", "d", "r2", 2, 2]), json!([null, "still none", "r2", 1, 2])]
    );
}

#[test]
fn a_record_that_fits_now_leaves() {
    let mut bench = Bench::new(model(&[("id", "bigint"), ("day", "date"), ("name", "varchar")], &["day", "id"]).into());
    let key = |id: Value, day: &str| Some(json!([day, id]));
    // typed keys of quarantined records come as the model's types, raw ones as the API wrote them
    let mut page = bad(&bench, &[(key(json!(1), "2024-01-01"), "x"), (key(json!(2), "2024-01-01"), "x")]);
    page.quarantined[0].key = Some(json!(["2024-01-01", "1"]).to_string());
    put(&mut bench, 1, vec![page]);
    let other_day = batch(&bench.model, &[live(json!([2, "2024-01-02", "a"]))]);
    put(&mut bench, 2, vec![other_day]);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.quarantine"), 2);
    let both = batch(&bench.model, &[live(json!([1, "2024-01-01", "a"])), live(json!([3, "2024-01-01", "a"]))]);
    put(&mut bench, 3, vec![both]);
    assert_eq!(bench.rows("SELECT key FROM headwater.quarantine"), [json!(["[\"2024-01-01\",2]"])]);
}

#[test]
fn syncs_do_not_empty_each_others_quarantine() {
    let mut bench = Bench::new(customers());
    let page = bad(&bench, &[(Some(json!([1])), "a"), (None, "b")]);
    put(&mut bench, 1, vec![page]);
    bench.id.connection = "other".into();
    let page = bad(&bench, &[(Some(json!([1])), "a"), (None, "b")]);
    put(&mut bench, 2, vec![page]);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.quarantine"), 4);
    let fits = batch(&bench.model, &[live(json!([1, "a"]))]);
    put(&mut bench, 3, vec![fits]);
    let left = bench.rows("SELECT connection, key FROM headwater.quarantine ORDER BY ALL");
    assert_eq!(left, [json!(["main", "[1]"]), json!(["main", null]), json!(["other", null])]);
}

#[test]
fn a_key_is_known_by_its_value_however_it_is_written() {
    let mut bench = Bench::new(customers());
    // a custom time format, say: only the typed key tells that it is the row's
    let mut page = bad(&bench, &[(Some(json!([1])), "a"), (Some(json!([2])), "b")]);
    page.quarantined[0].key = Some("[\"the first\"]".into());
    put(&mut bench, 1, vec![page]);
    let again = bad(&bench, &[(Some(json!([1])), "c")]);
    put(&mut bench, 2, vec![again]);
    assert_eq!(bench.rows(ALL), [json!(["[1]", "c", "r2", 1, 2]), json!(["[2]", "b", "r1", 1, 1])]);
    let fits = batch(&bench.model, &[live(json!([1, "a"]))]);
    put(&mut bench, 3, vec![fits]);
    assert_eq!(bench.rows("SELECT key FROM headwater.quarantine"), [json!(["[2]"])]);
}

#[test]
fn another_sync_of_the_same_rows_takes_a_record_out() {
    let mut bench = Bench::new(customers());
    let page = bad(&bench, &[(Some(json!([1])), "a")]);
    put(&mut bench, 1, vec![page]);
    bench.id.sync = "customers_of_today".into();
    let fits = batch(&bench.model, &[live(json!([1, "a"]))]);
    put(&mut bench, 2, vec![fits]);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.quarantine"), 0);
}

#[test]
fn what_a_complete_scan_did_not_return_is_forgotten() {
    let mut bench = Bench::new(customers());
    let page = bad(&bench, &[(Some(json!([1])), "a"), (Some(json!([2])), "b"), (None, "c")]);
    bench.scan(1, 1, vec![page]);
    bench.id.connection = "other".into();
    let page = bad(&bench, &[(Some(json!([1])), "other")]);
    put(&mut bench, 1, vec![page]);
    bench.id.connection = "main".into();
    // the scan begins a minute before it ends, and returns one of them
    let page = bad(&bench, &[(Some(json!([2])), "again")]);
    bench.scan(5, 2, vec![page]);
    let end = |guard| ScanEnd { guard, began: at(5), ..ended(2, 1) };
    bench.finish(6, end(FREE));
    assert_eq!(
        bench.rows("SELECT reason FROM headwater.quarantine ORDER BY reason"),
        [json!(["again"]), json!(["other"])]
    );
}
