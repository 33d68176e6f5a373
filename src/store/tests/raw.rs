//! Records that are kept beside their rows, and rows that are mapped again from them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::{Bench, Record, at, batch, customers, gone, live, model};
use crate::plan::ModelPlan;
use crate::record::parse;
use crate::store::{KeptRows, RemapGroup, Remapped};

fn with_raw() -> Arc<ModelPlan> {
    let mut model = model(&[("id", "bigint"), ("name", "varchar")], &["id"]);
    model.raw = true;
    model.into()
}

/// A record with another member that no column takes.
fn also(record: Record, unmapped: u8) -> Record {
    Record(record.0, record.1, unmapped)
}

const ROWS: &str = "SELECT id, name, _raw ->> '$.unmapped', _last_action, _change FROM shop.customers ORDER BY id";

/// Everything but the records: what moves only when a row changes.
const METADATA: &str = "SELECT id, name, _connection, _variant, _first_seen_at, _last_modified_at, _last_action, _deleted_at, _change, \
                        _hash FROM shop.customers ORDER BY id";

#[test]
fn the_record_stands_behind_the_models_columns() {
    let mut bench = Bench::new(with_raw());
    bench.commit(1, &[live(json!([1, "a"]))]);
    let names =
        bench.rows("SELECT column_name FROM duckdb_columns() WHERE table_name = 'customers' ORDER BY column_index");
    let expected = [
        "id",
        "name",
        "_raw",
        "_connection",
        "_variant",
        "_first_seen_at",
        "_last_modified_at",
        "_last_action",
        "_deleted_at",
        "_change",
        "_hash",
        "_raw_hash",
    ];
    assert_eq!(names, expected.map(|name| json!([name])));
    assert_eq!(bench.rows("FROM shop.customers_live"), [json!([1, "a"])]);
    assert_eq!(
        bench.rows("SELECT CAST(_raw AS VARCHAR) FROM shop.customers"),
        [json!([r#"{"values":[1,"a"],"unmapped":0}"#])]
    );
    let uncommented = "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'customers' AND column_name LIKE '\\_%' ESCAPE '\\' AND comment IS NULL";
    assert_eq!(bench.value(uncommented), 0);
}

#[test]
fn another_record_with_the_same_values_moves_nothing_but_itself() {
    let mut bench = Bench::new(with_raw());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"])), live(json!([3, "c"])), gone(json!([4, "d"]))]);
    let before = bench.rows(METADATA);
    let page = [
        also(live(json!([1, "a"])), 7),
        live(json!([2, "b"])),
        also(live(json!([3, "c"])), 8),
        also(gone(json!([4, "d"])), 9),
    ];
    let done = bench.commit(2, &page);
    assert_eq!((done.unchanged, done.change_from), (4, None));
    assert_eq!(bench.rows(METADATA), before);
    // a deleted row keeps the record that its values are from
    assert_eq!(
        bench.rows("SELECT _raw ->> '$.unmapped' FROM shop.customers ORDER BY id"),
        [json!(["7"]), json!(["0"]), json!(["8"]), json!(["0"])]
    );
    let fingerprint = bench.fingerprint();
    assert_eq!(bench.commit(3, &page).unchanged, 4);
    assert_eq!(bench.fingerprint(), fingerprint);
}

#[test]
fn numbers_are_given_to_what_changes_alone() {
    let mut bench = Bench::new(with_raw());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"])), live(json!([3, "c"])), live(json!([4, "d"]))]);
    let done = bench.commit(
        2,
        &[
            also(live(json!([1, "a"])), 1),
            live(json!([2, "B"])),
            also(live(json!([3, "c"])), 3),
            gone(json!([4, "d"])),
            live(json!([5, "e"])),
        ],
    );
    assert_eq!((done.added, done.updated, done.deleted, done.unchanged), (1, 1, 1, 2));
    assert_eq!((done.change_from, done.change_to), (Some(5), Some(7)));
    assert_eq!(
        bench.rows(ROWS),
        [
            json!([1, "a", "1", "ADDED", 1]),
            json!([2, "B", "0", "UPDATED", 5]),
            json!([3, "c", "3", "ADDED", 3]),
            json!([4, "d", "0", "DELETED", 6]),
            json!([5, "e", "0", "ADDED", 7]),
        ]
    );
}

#[test]
fn turned_on_later_it_fills_rows_as_their_records_come() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"]))]);
    bench.model = with_raw();
    let changes = bench.store.prepare(&[Arc::clone(&bench.model)], false, "r2", at(2)).expect("prepared");
    let told: Vec<_> = changes.iter().map(|change| (change.change, change.detail.as_str())).collect();
    assert_eq!(told, [("column_added", "_raw JSON"), ("column_added", "_raw_hash UBIGINT")]);
    assert_eq!(bench.store.prepare(&[Arc::clone(&bench.model)], false, "r3", at(2)).expect("prepared"), []);
    assert_eq!(kept(&mut bench), KeptRows { rows: 0, without: 2, parts: vec![] });
    assert_eq!(bench.commit(3, &[live(json!([1, "a"]))]).unchanged, 1);
    assert_eq!(bench.rows(ROWS), [json!([1, "a", "0", "ADDED", 1]), json!([2, "b", null, "ADDED", 2])]);
    assert_eq!(kept(&mut bench), KeptRows { rows: 1, without: 1, parts: vec![(1, 1)] });
    // and turned off again, rows written since have none
    bench.model = customers();
    assert_eq!(bench.store.prepare(&[Arc::clone(&bench.model)], false, "r4", at(4)).expect("prepared"), []);
    bench.commit(5, &[live(json!([1, "A"]))]);
    assert_eq!(bench.rows(ROWS), [json!([1, "A", null, "UPDATED", 3]), json!([2, "b", null, "ADDED", 2])]);
}

#[test]
fn any_json_is_kept_to_the_letter() {
    let mut bench = Bench::new(with_raw());
    let mut page = batch(&bench.model, &[live(json!([1, "a"]))]);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let text =
        format!(r#"{{"z":1.50,"a":1E400,"z2":-0.0,"n":123456789012345678901234567890,"t":"\u0000'\"é","d":{deep}}}"#);
    let mut raw = crate::record::Raw::default();
    raw.push(&parse(text.as_bytes()).expect("JSON"));
    page.raw = Some(raw);
    let group = bench.group(vec![page], 1);
    bench.store.commit(group).expect("committed");
    assert_eq!(bench.rows("SELECT CAST(_raw AS VARCHAR) FROM shop.customers"), [json!([text])]);
}

fn kept(bench: &mut Bench) -> KeptRows {
    bench.store.kept_rows(&bench.id, &bench.model).expect("found")
}

/// Maps all records again, part for part: `name` becomes the name and `suffix`. Without a name a record does not fit.
fn remap(bench: &mut Bench, minutes: i64, suffix: &str) -> Vec<Remapped> {
    let mut all = Vec::new();
    for part in kept(bench).parts {
        let records = bench.store.kept_records(&bench.id, &bench.model, part).expect("read");
        let values = records.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        let (good, bad): (Vec<Value>, Vec<Value>) = values.partition(|record| record["values"][1] != "bad");
        let rows = good.iter().map(|record| {
            let name = format!("{}{suffix}", record["values"][1].as_str().expect("a name"));
            let unmapped = u8::try_from(record["unmapped"].as_u64().expect("a number")).expect("small");
            (also(live(json!([record["values"][0], name])), unmapped), record.to_string())
        });
        let (rows, texts): (Vec<Record>, Vec<String>) = rows.unzip();
        let mut page = batch(&bench.model, &rows);
        let mut raw = crate::record::Raw::default();
        for text in &texts {
            raw.push(&parse(text.as_bytes()).expect("JSON"));
        }
        page.raw = Some(raw);
        for record in bad {
            let one = super::support::bad_batch(&bench.model, &[(Some(json!([record["values"][0]])), "bad")]);
            page.quarantined.extend(one.quarantined);
        }
        let (id, model) = (bench.id.clone(), Arc::clone(&bench.model));
        let group = RemapGroup { id, run_id: format!("m{minutes}"), model, batch: page, now: at(minutes) };
        all.push(bench.store.remap(group).expect("remapped"));
    }
    all
}

#[test]
fn a_remap_updates_what_it_changes_and_again_nothing() {
    let mut bench = Bench::new(with_raw());
    let names = ["a", "bad", "c", "d", "e", "f", "g"];
    let page: Vec<Record> = (1..).zip(names).map(|(id, name)| live(json!([id, name]))).collect();
    bench.commit(1, &page);
    bench.commit(2, &[gone(json!([4, "x"])), gone(json!([9, "x"]))]);
    let before = bench.rows("SELECT * FROM shop.customers WHERE id IN (2, 4, 9) ORDER BY id");
    let checkpoint = bench.store.checkpoint(&bench.id).expect("read");
    let parts = kept(&mut bench);
    assert_eq!((parts.rows, parts.without), (6, 0));
    assert!(parts.parts.len() > 1, "{parts:?}");
    let done = remap(&mut bench, 3, "!");
    let total = |one: fn(&Remapped) -> u64| done.iter().map(one).sum::<u64>();
    assert_eq!(
        (total(|d| d.updated), total(|d| d.unchanged), total(|d| d.quarantined), total(|d| d.left)),
        (5, 0, 1, 0)
    );
    assert_eq!((done[0].change_from, done.last().and_then(|last| last.change_to)), (Some(10), Some(14)));
    assert_eq!(bench.rows("SELECT * FROM shop.customers WHERE id IN (2, 4, 9) ORDER BY id"), before);
    let names =
        bench.rows("SELECT id, name, _last_action, _change FROM shop.customers WHERE id IN (1, 3, 7) ORDER BY id");
    assert_eq!(
        names,
        [json!([1, "a!", "UPDATED", 10]), json!([3, "c!", "UPDATED", 11]), json!([7, "g!", "UPDATED", 14])]
    );
    assert_eq!(bench.rows("SELECT key, code FROM headwater.quarantine"), [json!(["[2]", "type_mismatch"])]);
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), checkpoint);
    let after = bench.fingerprint();
    let again = remap(&mut bench, 4, "!");
    assert_eq!(again.iter().map(|done| done.unchanged).sum::<u64>(), 5);
    assert_eq!(bench.fingerprint(), after);
    // what a run brings then is what the remap has made of it
    let next: Vec<Record> = [(1, "a!"), (3, "c!")].map(|(id, name)| live(json!([id, name]))).to_vec();
    assert_eq!(bench.commit(5, &next).unchanged, 2);
}

#[test]
fn a_record_that_now_has_another_key_changes_no_row() {
    let mut bench = Bench::new(with_raw());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"]))]);
    let before = bench.fingerprint();
    let mut page = batch(&bench.model, &[live(json!([2, "a"])), live(json!([7, "b"]))]);
    page.raw = batch(&bench.model, &[live(json!([1, "a"])), live(json!([2, "b"]))]).raw;
    let (id, model) = (bench.id.clone(), Arc::clone(&bench.model));
    let group = RemapGroup { id, run_id: "m".into(), model, batch: page, now: at(2) };
    let done = bench.store.remap(group).expect("remapped");
    assert_eq!(done, Remapped { left: 2, ..Remapped::default() });
    assert_eq!(bench.fingerprint(), before);
}

#[test]
fn quarantine_keeps_what_is_newer_than_the_row() {
    let mut bench = Bench::new(with_raw());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "bad"]))]);
    let newer = super::support::bad_batch(&bench.model, &[(Some(json!([1])), "newer")]);
    let group = bench.group(vec![newer], 2);
    bench.store.commit(group).expect("committed");
    remap(&mut bench, 3, "!");
    let reasons = "SELECT key, reason FROM headwater.quarantine ORDER BY key";
    assert_eq!(bench.rows(reasons), [json!(["[1]", "newer"]), json!(["[2]", "bad"])]);
    // the row's own record leaves when it fits again
    let text = json!({ "values": [2, "bad"], "unmapped": 0 }).to_string();
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    let mut own = super::support::bad_batch(&bench.model, &[(Some(json!([2])), "bad")]);
    own.quarantined[0].record_hash = Some(hash);
    let group = bench.group(vec![own], 4);
    bench.store.commit(group).expect("committed");
    let page = batch(&bench.model, &[live(json!([1, "a"])), live(json!([2, "bad"]))]);
    let (id, model) = (bench.id.clone(), Arc::clone(&bench.model));
    bench.store.remap(RemapGroup { id, run_id: "m".into(), model, batch: page, now: at(5) }).expect("remapped");
    assert_eq!(bench.rows(reasons), [json!(["[1]", "newer"])]);
}

#[test]
fn parts_hold_few_rows_and_few_bytes_and_all_of_them() {
    let mut bench = Bench::new(with_raw());
    for (minutes, ids) in [(1, 0..4), (2, 20..22), (3, 90..91)] {
        let page: Vec<Record> = ids.map(|id| live(json!([id, "x".repeat(if id == 20 { 500 } else { 40 })]))).collect();
        bench.commit(minutes, &page);
        // numbers that other tables have
        bench.id.connection = "other".into();
        bench.commit(minutes, &(0..13).map(|id| live(json!([100 * minutes + id, "y"]))).collect::<Vec<_>>());
        bench.id.connection = "main".into();
    }
    let parts = kept(&mut bench);
    assert_eq!((parts.rows, parts.without), (7, 0));
    let mut ids = Vec::new();
    for part in parts.parts {
        let records = bench.store.kept_records(&bench.id, &bench.model, part).expect("read");
        let bytes: usize = records.iter().map(String::len).sum();
        assert!((1..=3).contains(&records.len()) && (records.len() == 1 || bytes <= 200), "{records:?}");
        ids.extend(records.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON")["values"][0].clone()));
    }
    assert_eq!(ids, [0, 1, 2, 3, 20, 21, 90].map(Value::from));
}
