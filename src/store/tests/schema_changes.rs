//! What a changed model does to a table that has rows: what a run may do, what it may do with a person's word, and what is planned of it.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{
    Bench, at, bad_batch, batch, customers, ended, gone, killed, live, mark, model, open, reader, sync_of,
};
use crate::plan::limits::ROW_GROUP_ROWS;
use crate::plan::{ColumnType, ModelPlan};
use crate::store::sql::{CATALOG, literal};
use crate::store::{Error, PlannedChange, SchemaChange, TablePlan, plan_without_database, tables};

fn prepare(bench: &mut Bench, model: &ModelPlan, destroys: bool) -> Result<Vec<SchemaChange>, Error> {
    bench.model = Arc::new(model.clone());
    bench.store.prepare(&[Arc::clone(&bench.model)], destroys, "r2", at(9))
}

fn told(changes: &[SchemaChange]) -> Vec<(&str, &str)> {
    changes.iter().map(|change| (change.change, change.detail.as_str())).collect()
}

fn planned(bench: &mut Bench, model: &ModelPlan) -> TablePlan {
    bench.store.release().expect("released");
    let mut tables = reader(&bench.path()).plan(&[Arc::new(model.clone())]).expect("planned");
    tables.pop().expect("one").expect("no conflict")
}

/// Action and detail; destructive ones behind a `!`, those that a run refuses behind two.
fn shown(plan: &TablePlan) -> Vec<String> {
    let one = |PlannedChange { action, detail, destructive, refused, .. }: &PlannedChange| {
        format!("{}{action} {detail}", "!".repeat(usize::from(*destructive) + usize::from(*refused)))
    };
    plan.changes.iter().map(one).collect()
}

fn pair(second: (&str, &str)) -> ModelPlan {
    model(&[("id", "bigint"), second], &["id"])
}

const COLUMNS: &str = "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE schema_name = 'shop' \
                       AND table_name = 'customers' ORDER BY column_index";

#[test]
fn a_removed_column_goes_from_table_and_view_and_nothing_else_does() {
    let wide = model(&[("id", "bigint"), ("old", "varchar"), ("name", "varchar")], &["id"]);
    let narrow = model(&[("id", "bigint"), ("name", "varchar")], &["id"]);
    let mut bench = Bench::new(wide.into());
    bench.commit(1, &[live(json!([1, "x", "a"])), live(json!([2, null, "b"])), gone(json!([3, "z", "c"]))]);
    bench.commit(2, &[gone(json!([2, null, "b"])), live(json!([4, "x", "d"]))]);
    let rest = "SELECT * EXCLUDE (_hash) FROM (SELECT * FROM shop.customers ORDER BY id)";
    let before = bench.rows(&rest.replace("EXCLUDE (_hash)", "EXCLUDE (_hash, old)"));
    let nullable = bench.rows(COLUMNS);
    // a run alone keeps it, and so does the plan's word for it
    assert_eq!(shown(&planned(&mut bench, &narrow)), ["!drop column old"]);
    assert_eq!(told(&prepare(&mut bench, &narrow, false).expect("kept")), [("column_dropped", "old")]);
    assert_eq!(prepare(&mut bench, &narrow, false).expect("kept"), []);
    assert_eq!(shown(&planned(&mut bench, &narrow)), ["!drop column old"]);
    let changes = prepare(&mut bench, &narrow, true).expect("removed");
    assert_eq!(told(&changes), [("column_removed", "old")]);
    assert_eq!(shown(&planned(&mut bench, &narrow)), [""; 0]);
    assert_eq!(bench.rows(rest), before);
    let kept: Vec<Value> = nullable.into_iter().filter(|column| column[0] != "old").collect();
    assert_eq!(bench.rows(COLUMNS), kept);
    assert_eq!(bench.rows("FROM shop.customers_live ORDER BY id"), [json!([1, "a"]), json!([4, "d"])]);
    assert_eq!(
        bench.rows("SELECT run_id, change, detail FROM headwater.schema_changes ORDER BY rowid"),
        [
            json!(["r0", "table_created", "id, old, name"]),
            json!(["r2", "column_dropped", "old"]),
            json!(["r2", "column_removed", "old"]),
        ]
    );
    // nothing has to be read again, and the numbers go on
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(mark(2)));
    let done = bench.commit(3, &[live(json!([5, "e"]))]);
    assert_eq!((done.added, done.change_from), (1, Some(6)));
}

#[test]
fn a_removed_column_that_comes_back_is_a_new_one_and_is_filled() {
    let wide = model(&[("id", "bigint"), ("old", "varchar"), ("older", "varchar")], &["id"]);
    let mut bench = Bench::new(wide.clone().into());
    let record = || live(json!([1, "x", "y"]));
    bench.commit(1, &[record(), live(json!([2, null, null]))]);
    for gone in ["old", "older"] {
        let narrow = model(&[("id", "bigint"), (if gone == "old" { "older" } else { "old" }, "varchar")], &["id"]);
        assert_eq!(told(&prepare(&mut bench, &narrow, true).expect("removed")).pop(), Some(("column_removed", gone)));
    }
    assert_eq!(told(&prepare(&mut bench, &wide, false).expect("added")), [("column_added", "older VARCHAR")]);
    assert_eq!(bench.rows("FROM shop.customers_live ORDER BY id"), [json!([1, null, null]), json!([2, null, null])]);
    // the record is as it always was, and so would be its hash
    let done = bench.commit(2, &[record(), live(json!([2, null, null]))]);
    assert_eq!((done.updated, done.unchanged), (1, 1));
    assert_eq!(bench.rows("FROM shop.customers_live WHERE id = 1"), [json!([1, "x", "y"])]);
}

#[test]
fn a_type_changes_with_a_word_and_keeps_what_is_the_same_in_it() {
    let cases: [(&str, &str, Value, Value); 14] = [
        ("bigint", "integer", json!([5, 1_i64 << 40, null]), json!([5, null, null])),
        ("bigint", "double", json!([5, (1_i64 << 53) + 1, null]), json!([5.0, null, null])),
        ("double", "bigint", json!([5.0, 0.5, 1e300]), json!([5, null, null])),
        ("decimal(6,2)", "decimal(6,3)", json!(["1.25", "1234.50", null]), json!(["1.250", null, null])),
        ("decimal(6,2)", "integer", json!(["3.00", "3.50", null]), json!([3, null, null])),
        ("bigint", "varchar", json!([5, -7, null]), json!(["5", "-7", null])),
        ("varchar", "bigint", json!(["5", " 5", "05"]), json!([5, null, null])),
        ("varchar", "boolean", json!(["true", "yes", "False"]), json!([true, null, null])),
        ("varchar", "date", json!(["2024-02-29", "2024-02-30", "1/2/24"]), json!(["2024-02-29", null, null])),
        // what has no one meaning begins as null
        ("timestamp", "timestamptz", json!(["2024-01-01T00:00:00", null, null]), json!([null, null, null])),
        ("varchar", "json", json!(["1", "x", null]), json!([null, null, null])),
        ("json", "varchar", json!([{ "a": 1 }, "x", null]), json!([null, null, null])),
        ("varchar", "varchar[]", json!(["x", "[]", null]), json!([null, null, null])),
        ("integer[]", "bigint[]", json!([[1], [], null]), json!([null, null, null])),
    ];
    for (from, to, values, kept) in cases {
        let name = format!("{from} to {to}");
        let mut bench = Bench::new(pair(("v", from)).into());
        let records: Vec<_> = (0..3).map(|at| live(json!([at, values[at]]))).collect();
        bench.commit(1, &records);
        let other = pair(("v", to));
        let plan = planned(&mut bench, &other);
        assert_eq!((plan.changes.len(), plan.rereads), (1, vec![bench.id.clone()]), "{name}");
        assert!(plan.changes[0].refused && plan.changes[0].action == "change type", "{name}");
        let before = bench.fingerprint();
        let error = prepare(&mut bench, &other, false).expect_err("refused");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("headwater plan") && hint.contains("--allow-destructive"), "{hint}");
        assert_eq!(bench.fingerprint(), before, "{name}");
        let changes = prepare(&mut bench, &other, true).expect("changed");
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].change, "column_retyped");
        assert_eq!(shown(&planned(&mut bench, &other)), [""; 0], "{name}");
        let rows: Vec<Value> =
            bench.rows("SELECT v FROM shop.customers ORDER BY id").into_iter().map(|r| r[0].clone()).collect();
        assert_eq!(Value::from(rows), kept, "{name}");
        assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), None, "{name}");
        assert_eq!(bench.rows("FROM headwater.partitions"), [Value::Null; 0], "{name}");
        assert_eq!(
            bench.rows("SELECT _change, _last_action FROM shop.customers ORDER BY id"),
            [1, 2, 3].map(|at| json!([at, "ADDED"]))
        );
    }
}

/// The values of all integer types hash alike, so the record that comes again has the hash that the row had.
#[test]
fn a_value_that_was_lost_with_its_type_is_filled_again() {
    let mut bench = Bench::new(pair(("v", "hugeint")).into());
    bench.commit(1, &[live(json!([1, 7])), live(json!([2, null]))]);
    bench.store.release().expect("released");
    let lose = "UPDATE shop.customers SET v = 1e30::HUGEINT WHERE id = 1";
    duckdb::Connection::open(bench.path()).expect("opened").execute_batch(lose).expect("updated");
    prepare(&mut bench, &pair(("v", "bigint")), true).expect("changed");
    assert_eq!(bench.rows("SELECT v FROM shop.customers ORDER BY id"), [json!([null]), json!([null])]);
    let done = bench.commit(2, &[live(json!([1, 7])), live(json!([2, null]))]);
    assert_eq!((done.updated, done.unchanged), (1, 1));
    assert_eq!(bench.rows("SELECT v, _change FROM shop.customers ORDER BY id"), [json!([7, 3]), json!([null, 2])]);
}

/// Two connections fill the table, another sync another one.
fn shared() -> (Bench, ModelPlan) {
    let mut bench = Bench::new(customers());
    let mut other = (*customers()).clone();
    (other.name, other.table) = ("Other".into(), "others".into());
    bench.store.prepare(&[other.clone().into()], false, "r0", at(0)).expect("prepared");
    for (connection, variant) in [("main", ""), ("main", "b"), ("second", "")] {
        bench.id = sync_of(connection, variant);
        let page = batch(&bench.model, &[live(json!([1, "a"])), live(json!([2, "b"]))]);
        let bad = bad_batch(&bench.model, &[(Some(json!([3])), "no")]);
        bench.scan(1, 1, vec![page, bad]);
    }
    let mine = std::mem::replace(&mut bench.model, other.clone().into());
    bench.id = crate::plan::SyncId { sync: "others".into(), ..sync_of("main", "") };
    bench.commit(2, &[live(json!([1, "a"]))]);
    (bench.model, bench.id) = (mine, sync_of("main", ""));
    (bench, other)
}

#[test]
fn another_key_begins_the_table_anew_and_all_its_syncs_with_it() {
    let (mut bench, other) = shared();
    let mut keyed = (*customers()).clone();
    keyed.key = vec![1, 0];
    assert_eq!(shown(&planned(&mut bench, &keyed)), ["!!change key (id) to (name, id)"]);
    let before = bench.fingerprint();
    let error = prepare(&mut bench, &keyed, false).expect_err("refused");
    assert_eq!(error.to_string(), "table `shop.customers`: its key was (id) and is now (name, id)");
    assert_eq!(bench.fingerprint(), before);
    let whose: Vec<_> = [("main", ""), ("main", "b"), ("second", "")].map(|(c, v)| sync_of(c, v)).into();
    assert_eq!(planned(&mut bench, &keyed).rereads, whose);
    assert_eq!(told(&prepare(&mut bench, &keyed, true).expect("changed")), [("key_changed", "(id) to (name, id)")]);
    assert_eq!(shown(&planned(&mut bench, &keyed)), [""; 0]);
    assert_eq!(planned(&mut bench, &keyed).rereads, []);
    assert_eq!(bench.rows("FROM shop.customers"), [Value::Null; 0]);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.quarantine"), 0);
    assert_eq!(bench.rows("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'seen_%'"), [Value::Null; 0]);
    assert_eq!(bench.rows("SELECT sync FROM headwater.checkpoints"), [json!(["others"])]);
    assert_eq!(bench.rows("SELECT sync FROM headwater.partitions"), [json!(["others"])]);
    for id in whose {
        assert_eq!(bench.store.checkpoint(&id).expect("read"), None);
    }
    assert_eq!(bench.value("SELECT count(*) FROM shop.others"), 1);
    assert_eq!(planned(&mut bench, &other).changes, []);
    // change numbers are not given out twice, and both halves of the key count
    let done = bench.commit(3, &[live(json!([1, "a"])), live(json!([1, "b"]))]);
    assert_eq!((done.added, done.change_from, done.change_to), (2, Some(8), Some(9)));
    let page = batch(&bench.model, &[live(json!([1, "a"]))]);
    bench.scan(4, 2, vec![page]);
    let end = ended(2, 1);
    assert!(matches!(bench.finish(5, end), crate::store::Absence::Deleted { rows: 1, .. }));
}

#[test]
fn a_key_of_another_type_is_another_key() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    let text = model(&[("id", "varchar"), ("name", "varchar")], &["id"]);
    assert_eq!(shown(&planned(&mut bench, &text)), ["!!change key id BIGINT to id VARCHAR"]);
    prepare(&mut bench, &text, false).expect_err("refused");
    assert_eq!(told(&prepare(&mut bench, &text, true).expect("changed")), [("key_changed", "id BIGINT to id VARCHAR")]);
    assert_eq!(bench.commit(2, &[live(json!(["1", "a"]))]).added, 1);
    // a wider one is not
    let wide = model(&[("id", "hugeint"), ("name", "varchar")], &["id"]);
    let mut bench = Bench::new(customers());
    assert_eq!(shown(&planned(&mut bench, &wide)), ["widen id BIGINT to HUGEINT"]);
    prepare(&mut bench, &wide, false).expect("widened");
}

#[test]
fn a_table_that_begins_without_rows_is_not_filled_from_a_watermark() {
    // dropped by hand
    let (mut bench, _) = shared();
    bench.store.release().expect("released");
    duckdb::Connection::open(bench.path())
        .expect("opened")
        .execute_batch("DROP TABLE shop.customers")
        .expect("dropped");
    let same = (*bench.model).clone();
    assert_eq!(planned(&mut bench, &same).rereads.len(), 3);
    prepare(&mut bench, &same, false).expect("made");
    assert_eq!(bench.rows("SELECT sync FROM headwater.checkpoints"), [json!(["others"])]);
    // the model has another table now
    let (mut bench, _) = shared();
    let mut renamed = (*bench.model).clone();
    renamed.table = "clients".into();
    assert_eq!(shown(&planned(&mut bench, &renamed)), ["create table id, name"]);
    assert_eq!(planned(&mut bench, &renamed).rereads.len(), 3);
    prepare(&mut bench, &renamed, false).expect("made");
    assert_eq!(bench.rows("SELECT sync FROM headwater.checkpoints"), [json!(["others"])]);
    assert_eq!(bench.value("SELECT count(*) FROM shop.customers"), 6);
}

#[test]
fn a_column_somebody_else_added_stays() {
    let mut bench = Bench::new(pair(("name", "varchar")).into());
    bench.commit(1, &[live(json!([1, "a"]))]);
    bench.store.release().expect("released");
    let add = "ALTER TABLE shop.customers ADD COLUMN mine INTEGER[]; UPDATE shop.customers SET mine = [7]";
    duckdb::Connection::open(bench.path()).expect("opened").execute_batch(add).expect("added");
    let other = pair(("other", "varchar"));
    let changes = prepare(&mut bench, &other, true).expect("changed");
    assert_eq!(told(&changes), [("column_added", "other VARCHAR"), ("column_removed", "name")]);
    assert_eq!(bench.rows("SELECT id, mine, other FROM shop.customers"), [json!([1, [7], null])]);
}

#[test]
fn everything_at_once_is_one_new_table() {
    let before =
        [("id", "integer"), ("wide", "integer"), ("gone", "varchar"), ("other", "varchar"), ("same", "varchar")];
    let after = [("id", "bigint"), ("new", "varchar"), ("other", "bigint"), ("wide", "hugeint"), ("same", "varchar")];
    let mut described = model(&after, &["id"]);
    described.columns[4].description = Some("As it was.".into());
    let mut bench = Bench::new(model(&before, &["id"]).into());
    bench.commit(1, &[live(json!([1, 2, "x", "3", "s"])), live(json!([2, 3, null, null, null]))]);
    let changes = prepare(&mut bench, &described, true).expect("changed");
    assert_eq!(
        told(&changes),
        [
            ("column_widened", "id INTEGER to BIGINT"),
            ("column_added", "new VARCHAR"),
            ("column_retyped", "other VARCHAR to BIGINT"),
            ("column_widened", "wide INTEGER to HUGEINT"),
            ("column_removed", "gone"),
        ]
    );
    assert_eq!(
        bench.rows("SELECT * EXCLUDE (_hash, _first_seen_at, _last_modified_at) FROM shop.customers ORDER BY id"),
        [
            json!([1, 2, 3, "s", "main", "", "ADDED", null, 1, null]),
            json!([2, 3, null, null, "main", "", "ADDED", null, 2, null]),
        ]
    );
    assert_eq!(
        bench.rows("SELECT comment FROM duckdb_columns() WHERE table_name = 'customers' AND column_name IN ('same', '_variant') ORDER BY ALL"),
        [json!(["As it was."]), json!(["The variant of the sync whose row it is; empty for the only one."])]
    );
    let done = bench.commit(2, &[live(json!([1, "n", 3, 2, "s"])), live(json!([2, null, null, 3, null]))]);
    assert_eq!((done.updated, done.change_from), (2, Some(3)));
}

#[test]
fn a_conflict_behind_undoes_what_was_done_before_it() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    bench.store.release().expect("released");
    let theirs = "CREATE TABLE shop.theirs (id BIGINT)";
    duckdb::Connection::open(bench.path()).expect("opened").execute_batch(theirs).expect("made");
    let before = (bench.fingerprint(), bench.rows(COLUMNS), bench.rows("FROM headwater.schema_changes"));
    let mut second = (*customers()).clone();
    second.table = "theirs".into();
    for first in [model(&[("id", "bigint"), ("name", "varchar")], &["name"]), pair(("name", "bigint"))] {
        let models = [Arc::new(first), Arc::new(second.clone())];
        let error = bench.store.prepare(&models, true, "r2", at(2)).expect_err("a conflict");
        assert_eq!(error.to_string(), "table `shop.theirs`: it exists and headwater did not make it");
        assert_eq!((bench.fingerprint(), bench.rows(COLUMNS), bench.rows("FROM headwater.schema_changes")), before);
        assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(mark(1)));
    }
    // the plan tells of both
    bench.store.release().expect("released");
    let plans = reader(&bench.path()).plan(&[customers(), second.into()]).expect("planned");
    assert!(plans[0].is_ok() && plans[1].is_err());
}

#[test]
fn a_kill_leaves_the_table_as_it_was_or_as_it_will_be() {
    let wide = [("id", "bigint"), ("old", "varchar"), ("n", "bigint"), ("name", "varchar")];
    let narrow = [("id", "bigint"), ("n", "varchar"), ("name", "varchar"), ("new", "date")];
    for key in [&["id"][..], &["id", "name"]] {
        let mut bench = Bench::new(model(&wide, &["id"]).into());
        let records: Vec<_> = (0..5_000).map(|id| live(json!([id, "x", id, format!("name {id}")]))).collect();
        bench.commit(1, &records);
        let before = bench.fingerprint();
        let (id, after) = (bench.id.clone(), model(&narrow, key));
        bench.store.release().expect("released");

        let db = duckdb::Connection::open_in_memory().expect("DuckDB");
        let attach = format!(
            "SET checkpoint_threshold = '1GB'; ATTACH {} AS {CATALOG}; BEGIN",
            literal(bench.path().to_str().expect("UTF-8"))
        );
        db.execute_batch(&attach).expect("attached");
        tables::prepare(&db, &after, true, "r2", at(2)).expect("prepared");
        let during = killed(&bench.path());
        db.execute_batch("COMMIT").expect("committed");
        let behind = killed(&bench.path());
        assert!(behind.path().join("w.duckdb.wal").metadata().expect("a log").len() > 0, "the log was not replayed");

        let reopened = |folder: tempfile::TempDir| {
            let path = folder.path().join("w.duckdb");
            let store = open(&path);
            Bench { folder, store, model: Arc::clone(&bench.model), id: id.clone() }
        };
        let mut old = reopened(during);
        assert_eq!(old.fingerprint(), before);
        assert_eq!(old.store.checkpoint(&id).expect("read"), Some(mark(1)));
        assert_eq!(old.value("SELECT count(*) FROM headwater.schema_changes"), 1);

        let mut new = reopened(behind);
        assert_eq!(new.store.checkpoint(&id).expect("read"), None);
        assert_eq!(new.store.prepare(&[after.clone().into()], false, "r3", at(3)).expect("prepared"), []);
        let rows = if key.len() == 1 { 5_000 } else { 0 };
        assert_eq!(new.value("SELECT count(*) FROM shop.customers_live"), rows);
        assert_eq!(new.value("SELECT count(n) FROM shop.customers"), rows);
        assert_eq!(planned(&mut new, &after).changes, []);
        new.model = after.into();
        let done = new.commit(4, &[live(json!([1, "1", "name 1", "2024-01-01"]))]);
        assert_eq!((done.change_from, done.added), (Some(5_001), u64::from(rows == 0)));
    }
}

#[test]
fn a_kill_behind_a_new_column_does_no_harm_to_row_groups_of_another_size() {
    let mut bench = Bench::new(model(&[("id", "bigint"), ("name", "varchar")], &["id"]).into());
    let records: Vec<_> = (0..ROW_GROUP_ROWS + 10_000).map(|id| live(json!([id, format!("name {id}")]))).collect();
    bench.commit(1, &records);
    bench.store.release().expect("released");
    let db = duckdb::Connection::open_in_memory().expect("DuckDB");
    let path = bench.path();
    // as one row group, as any other program writes them
    let attach = format!(
        "SET checkpoint_threshold = '1GB'; ATTACH {} AS {CATALOG}; CREATE TEMP TABLE rows AS FROM shop.customers; \
         DELETE FROM shop.customers; CHECKPOINT {CATALOG}; INSERT INTO shop.customers FROM rows; CHECKPOINT {CATALOG}; BEGIN",
        literal(path.to_str().expect("UTF-8"))
    )
    .replace("shop.", &format!("{CATALOG}.shop."));
    db.execute_batch(&attach).expect("attached");
    let wide = model(&[("id", "bigint"), ("name", "varchar"), ("new", "date")], &["id"]);
    tables::prepare(&db, &wide, false, "r2", at(2)).expect("prepared");
    db.execute_batch("COMMIT").expect("committed");
    let folder = killed(&path);
    assert!(folder.path().join("w.duckdb.wal").metadata().expect("a log").len() > 0, "the log was not replayed");
    let counts =
        format!("SELECT max(count) FROM pragma_storage_info('{CATALOG}.shop.customers') WHERE column_name = 'id'");
    assert_eq!(db.query_row(&counts, [], |row| row.get::<_, i64>(0)), Ok(40_720));

    let store = open(&folder.path().join("w.duckdb"));
    let mut new = Bench { folder, store, model: Arc::new(wide), id: bench.id.clone() };
    let more: Vec<_> = (0..100).map(|id| live(json!([id + 100_000, "x", "2024-01-01"]))).collect();
    assert_eq!(new.commit(3, &more).added, 100);
    assert_eq!(new.value("SELECT count(DISTINCT id) FROM shop.customers_live"), 40_820);
    assert_eq!(new.value("SELECT count(new) FROM shop.customers"), 100);
}

#[test]
fn without_a_database_all_is_to_be_made() {
    let plans = plan_without_database(&[customers(), customers()]).expect("planned");
    assert_eq!(plans.len(), 1);
    let plan = plans[0].as_ref().expect("no conflict");
    assert_eq!((plan.table.as_str(), shown(plan)), ("shop.customers", vec!["create table id, name".to_owned()]));
    assert_eq!(plan.rereads, []);
    let mut other = (*customers()).clone();
    other.name = "Other".into();
    plan_without_database(&[customers(), other.into()]).expect_err("two models, one table");

    // a file that headwater has not been in
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    duckdb::Connection::open(&path).expect("opened").execute_batch("CREATE TABLE t (a INTEGER)").expect("made");
    let plans = reader(&path).plan(&[customers()]).expect("planned");
    assert_eq!(shown(plans[0].as_ref().expect("no conflict")), ["create table id, name"]);
}

#[test]
fn what_is_told_of_old_rows_fits_the_column() {
    let mut bench = Bench::new(customers());
    let mut wider = model(&[("id", "bigint"), ("name", "varchar"), ("a", "date"), ("b", "date")], &["id"]);
    wider.columns[3].volatile = true;
    let meanings = |plan: &TablePlan| plan.changes.iter().map(|change| change.meaning.clone()).collect::<Vec<_>>();
    let volatile = "old rows have null there until something else of the row changes, because it is volatile";
    assert_eq!(
        meanings(&planned(&mut bench, &wider)),
        ["old rows have null there until `headwater run --full`", volatile]
    );
    wider.raw = true;
    let both = "old rows have null there until `headwater run --full` or `headwater remap`";
    // the record itself cannot be mapped from the record
    let raw = "old rows have null there until `headwater run --full`";
    assert_eq!(meanings(&planned(&mut bench, &wider)), [both, volatile, raw, raw]);
}

/// The last cannot be a key's.
const TYPES: &[&str] =
    &["integer", "bigint", "hugeint", "double", "decimal(6,2)", "decimal(9,3)", "varchar", "date", "varchar[]"];

/// Models over few names and types, so that two of them differ in every way.
fn models() -> impl Strategy<Value = ModelPlan> {
    let column = prop::option::weighted(0.7, prop::sample::select(TYPES));
    let rest = prop::collection::vec(column, 4);
    (prop::sample::select(&TYPES[..8]), rest, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(key, rest, reversed, two)| {
            let named = ["a", "b", "c", "d"].into_iter().zip(rest);
            let mut columns: Vec<(&str, &str)> = named.filter_map(|(name, is)| Some((name, is?))).collect();
            if reversed {
                columns.reverse();
            }
            columns.insert(columns.len() / 2, ("id", key));
            let second = columns.iter().find(|(name, is)| two && *name != "id" && !is.ends_with("[]"));
            let key: Vec<&str> = ["id"].into_iter().chain(second.map(|(name, _)| *name)).collect();
            model(&columns, &key)
        },
    )
}

/// Seven in a type.
fn seven(column_type: &ColumnType) -> Value {
    match column_type {
        ColumnType::Integer | ColumnType::Bigint | ColumnType::Hugeint => json!(7),
        ColumnType::Double => json!(7.0),
        ColumnType::Decimal { scale, .. } => json!(format!("7.{}", "0".repeat(usize::from(*scale)))),
        ColumnType::Date => json!("2024-01-07"),
        ColumnType::List(_) => json!(["7"]),
        _ => json!("7"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// A plan is what is done: afterwards it is empty, whatever the table was before; and the row that was there is found again by its
    /// record, unless the key is another one.
    #[test]
    fn what_is_planned_is_what_is_done(history in prop::collection::vec((models(), any::<bool>()), 2..5)) {
        let mut bench = Bench::new(history[0].0.clone().into());
        let mut held = 0;
        for (model, destroys) in history {
            let plan = planned(&mut bench, &model);
            let before = bench.rows("SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'shop' ORDER BY ALL");
            match prepare(&mut bench, &model, destroys) {
                Err(_) => {
                    prop_assert!(!destroys && plan.changes.iter().any(|change| change.refused));
                    let after = bench.rows("SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'shop' ORDER BY ALL");
                    prop_assert_eq!(before, after);
                    prop_assert_eq!(planned(&mut bench, &model), plan);
                    continue;
                }
                Ok(done) => {
                    prop_assert!(destroys || !plan.changes.iter().any(|change| change.refused));
                    let told: Vec<_> = done.iter().map(|change| &change.detail).collect();
                    let due: Vec<_> = plan.changes.iter().map(|change| &change.detail).collect();
                    prop_assert!(told.iter().all(|detail| due.contains(detail)), "{:?} of {:?}", told, due);
                    prop_assert!(!destroys || told == due, "{:?} of {:?}", told, due);
                }
            }
            let anew = plan.changes.iter().any(|change| change.action == "change key");
            let rows = bench.value("SELECT count(*) FROM shop.customers").as_u64().expect("a number");
            prop_assert_eq!(rows, if anew { 0 } else { held });
            let record: Value = model.columns.iter().map(|column| seven(&column.column_type)).collect();
            bench.commit(1, &[live(record.clone())]);
            prop_assert_eq!(bench.rows("FROM shop.customers_live"), [record]);
            held = 1;
            let left = planned(&mut bench, &model);
            let dropped = |change: &PlannedChange| !destroys && change.action == "drop column";
            prop_assert!(left.changes.iter().all(dropped), "{:?}", left);
            prop_assert_eq!(prepare(&mut bench, &model, destroys).expect("prepared"), []);
            let names = |text: &[Value]| text.iter().map(|row| row[0].as_str().expect("a name").to_owned()).collect::<Vec<_>>();
            let view = bench.rows("SELECT column_name FROM duckdb_columns() WHERE table_name = 'customers_live' ORDER BY column_index");
            prop_assert_eq!(names(&view), model.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>());
        }
    }
}
