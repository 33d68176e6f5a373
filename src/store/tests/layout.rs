//! Tables are made once and change with their models.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::{Bench, at, customers, live, model, open};
use crate::plan::ModelPlan;
use crate::store::{Error, SchemaChange};

fn prepare(bench: &mut Bench, model: ModelPlan, run_id: &str) -> Result<Vec<SchemaChange>, Error> {
    let model = Arc::new(model);
    let changes = bench.store.prepare(&[Arc::clone(&model), Arc::clone(&model)], false, run_id, at(1))?;
    bench.model = model;
    Ok(changes)
}

fn told(changes: &[SchemaChange]) -> Vec<(&str, &str)> {
    changes.iter().map(|change| (change.change, change.detail.as_str())).collect()
}

fn columns(bench: &mut Bench, table: &str) -> Vec<Value> {
    bench.rows(&format!(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'shop' AND table_name = '{table}' \
         AND column_name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY column_index"
    ))
}

#[test]
fn preparing_what_is_prepared_does_not_touch_the_file() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    bench.store.release().expect("released");
    let before =
        (std::fs::read(bench.path()).expect("read"), std::fs::metadata(bench.path()).and_then(|f| f.modified()).ok());
    let Bench { store, folder, model, id } = bench;
    drop(store);
    let path = folder.path().join("w.duckdb");
    let mut bench = Bench { store: open(&path), folder, model, id };
    assert_eq!(bench.store.prepare(&[Arc::clone(&bench.model)], false, "r2", at(9)).expect("prepared"), []);
    assert_eq!(bench.store.checkpoint(&bench.id).expect("read"), Some(super::support::mark(1)));
    bench
        .store
        .discard_scans(
            &bench.id,
            std::slice::from_ref(&bench.model),
            crate::store::Seen::AllBut(None),
            (&("".into(), super::support::mark(1)), false),
            at(1),
        )
        .expect("nothing to forget");
    bench.store.release().expect("released");
    let after = (std::fs::read(&path).expect("read"), std::fs::metadata(&path).and_then(|f| f.modified()).ok());
    assert!(before == after);
    let files: Vec<_> =
        std::fs::read_dir(bench.folder.path()).expect("listed").flatten().map(|f| f.file_name()).collect();
    assert_eq!(files.len(), 2, "only the database and its lock: {files:?}");
}

#[test]
fn a_model_is_compared_again_when_others_had_the_file() {
    let mut bench = Bench::new(customers());
    let views = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'shop'";
    bench.store.release().expect("released");
    let drop_view = |bench: &mut Bench| {
        let db = bench.store.attached().expect("attached");
        db.execute_batch("DROP VIEW headwater_db.shop.customers_live").expect("dropped");
    };
    drop_view(&mut bench);
    prepare(&mut bench, (*customers()).clone(), "r1").expect("prepared");
    assert_eq!(bench.rows(views).len(), 1);
    prepare(&mut bench, (*customers()).clone(), "r2").expect("prepared");
    drop_view(&mut bench);
    prepare(&mut bench, (*customers()).clone(), "r2").expect("prepared");
    assert_eq!(bench.rows(views), [] as [Value; 0], "it was not looked at twice while nobody else had the file");
    prepare(&mut bench, (*customers()).clone(), "r3").expect("prepared");
    assert_eq!(bench.rows(views).len(), 1);
}

#[test]
fn descriptions_become_comments() {
    let mut described = model(&[("id", "bigint"), ("name", "varchar")], &["id"]);
    described.description = Some("Who buys.".into());
    described.columns[1].description = Some("What they're called.".into());
    let mut bench = Bench::new(described.clone().into());
    let comments = "SELECT comment FROM (SELECT table_name AS name, '' AS part, comment FROM duckdb_tables() \
                    UNION ALL SELECT view_name, '', comment FROM duckdb_views() \
                    UNION ALL SELECT table_name, column_name, comment FROM duckdb_columns()) \
                    WHERE name IN ('customers', 'customers_live') AND part IN ('', 'id', 'name') ORDER BY name, part";
    let expected = |who: &str| {
        let living = format!("{who} (only rows that live, without metadata)");
        [who, "-", "What they're called.", &living, "-", "What they're called."]
            .map(|text| json!([if text == "-" { Value::Null } else { text.into() }]))
    };
    assert_eq!(bench.rows(comments), expected("Who buys."));
    assert_eq!(
        bench.value("SELECT count(*) FROM duckdb_columns() WHERE table_name = 'customers' AND column_name LIKE '\\_%' ESCAPE '\\' AND comment IS NULL"),
        0
    );
    assert_eq!(
        bench.value("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'headwater' AND comment IS NULL"),
        0
    );
    described.description = Some("Who bought.".into());
    assert_eq!(prepare(&mut bench, described, "r2").expect("prepared"), []);
    assert_eq!(bench.rows(comments), expected("Who bought."));
}

#[test]
fn there_is_no_index_and_no_key() {
    let mut bench = Bench::new(customers());
    let page = super::support::batch(&bench.model, &[live(json!([1, "x"]))]);
    bench.scan(1, 1, vec![page]);
    let kinds = bench.rows("SELECT DISTINCT constraint_type FROM duckdb_constraints()");
    assert_eq!(kinds, [json!(["NOT NULL"])]);
    assert_eq!(bench.value("SELECT count(*) FROM duckdb_indexes()"), 0);
}

#[test]
fn a_new_column_is_added_and_old_rows_lack_it() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    let wider = model(&[("id", "bigint"), ("tags", "varchar[]"), ("name", "varchar")], &["id"]);
    let changes = prepare(&mut bench, wider.clone(), "r2").expect("prepared");
    assert_eq!(told(&changes), [("column_added", "tags VARCHAR[]")]);
    assert_eq!(prepare(&mut bench, wider, "r3").expect("prepared"), []);
    assert_eq!(bench.rows("FROM shop.customers_live"), [json!([1, null, "a"])]);
    assert_eq!(bench.commit(2, &[live(json!([1, ["x"], "a"])), live(json!([2, [], "b"]))]).updated, 1);
    assert_eq!(bench.rows("FROM shop.customers_live ORDER BY id"), [json!([1, ["x"], "a"]), json!([2, [], "b"])]);
    let log = bench
        .rows("SELECT run_id, table_schema, table_name, change, detail FROM headwater.schema_changes ORDER BY rowid");
    assert_eq!(
        log,
        [
            json!(["r0", "shop", "customers", "table_created", "id, name"]),
            json!(["r2", "shop", "customers", "column_added", "tags VARCHAR[]"]),
        ]
    );
}

#[test]
fn types_widen_where_no_value_can_change() {
    let narrow = [("id", "integer"), ("a", "integer"), ("b", "integer"), ("c", "bigint"), ("d", "decimal(6,2)")];
    let wide = [("id", "bigint"), ("a", "hugeint"), ("b", "double"), ("c", "hugeint"), ("d", "decimal(10,4)")];
    let mut bench = Bench::new(model(&narrow, &["id"]).into());
    let page = super::support::batch(&bench.model, &[live(json!([1, -2, 3, 4, "1234.56"]))]);
    bench.scan(1, 1, vec![page]);
    let changes = prepare(&mut bench, model(&wide, &["id"]), "r2").expect("prepared");
    assert_eq!(
        told(&changes),
        [
            ("column_widened", "id INTEGER to BIGINT"),
            ("column_widened", "a INTEGER to HUGEINT"),
            ("column_widened", "b INTEGER to DOUBLE"),
            ("column_widened", "c BIGINT to HUGEINT"),
            ("column_widened", "d DECIMAL(6,2) to DECIMAL(10,4)"),
        ]
    );
    assert_eq!(prepare(&mut bench, model(&wide, &["id"]), "r3").expect("prepared"), []);
    assert_eq!(bench.rows("FROM shop.customers_live"), [json!([1, -2, 3.0, 4, "1234.5600"])]);
    // the seen keys of a scan under way widen too
    let page = super::support::batch(&bench.model, &[live(json!([1_i64 << 40, 0, 0.5, 0, "0.0000"]))]);
    bench.scan(2, 1, vec![page]);
    let end = super::support::ended(1, 2);
    assert_eq!(bench.finish(3, end), crate::store::Absence::Deleted { rows: 0, changes: None });
}

#[test]
fn other_type_changes_are_refused_and_nothing_is_changed() {
    for (from, to) in [
        ("bigint", "integer"),
        ("bigint", "double"),
        ("bigint", "varchar"),
        ("decimal(6,2)", "decimal(7,3)" /* fewer whole digits? no */),
        ("decimal(6,2)", "decimal(6,3)"),
        ("decimal(6,2)", "decimal(8,1)"),
        ("timestamp", "timestamptz"),
        ("varchar", "json"),
        ("integer[]", "bigint[]"),
        ("varchar", "varchar[]"),
    ] {
        let widens = (from, to) == ("decimal(6,2)", "decimal(7,3)");
        let mut bench = Bench::new(model(&[("id", "bigint"), ("v", from)], &["id"]).into());
        let columns_before = columns(&mut bench, "customers");
        let changed = model(&[("id", "bigint"), ("new", "bigint"), ("v", to)], &["id"]);
        let outcome = prepare(&mut bench, changed, "r2");
        assert_eq!(outcome.is_ok(), widens, "{from} to {to}");
        if let Err(error) = outcome {
            assert!(matches!(error, Error::SchemaConflict { .. }), "{error}");
            assert!(error.hint().is_some());
            assert_eq!(columns(&mut bench, "customers"), columns_before, "{from} to {to}");
        }
    }
}

#[test]
fn a_dropped_column_stays_and_is_noted_once() {
    let mut bench = Bench::new(model(&[("id", "bigint"), ("old", "varchar"), ("name", "varchar")], &["id"]).into());
    bench.commit(1, &[live(json!([1, "x", "a"])), live(json!([2, "x", "b"]))]);
    let changes =
        prepare(&mut bench, model(&[("id", "bigint"), ("name", "varchar")], &["id"]), "r2").expect("prepared");
    assert_eq!(told(&changes), [("column_dropped", "old")]);
    bench.commit(2, &[live(json!([1, "z"]))]);
    assert_eq!(
        bench.rows("SELECT id, old, name FROM shop.customers ORDER BY id"),
        [json!([1, null, "z"]), json!([2, "x", "b"])]
    );
    assert_eq!(columns(&mut bench, "customers_live"), [json!(["id", "BIGINT"]), json!(["name", "VARCHAR"])]);
    let narrow = (*bench.model).clone();
    assert_eq!(prepare(&mut bench, narrow, "r3").expect("prepared"), []);
    let restored = model(&[("id", "bigint"), ("old", "varchar"), ("name", "varchar")], &["id"]);
    assert_eq!(told(&prepare(&mut bench, restored, "r4").expect("prepared")), [("column_restored", "old")]);
    assert_eq!(columns(&mut bench, "customers_live").len(), 3);
}

#[test]
fn another_key_is_refused() {
    let mut bench = Bench::new(customers());
    let error = prepare(&mut bench, model(&[("id", "bigint"), ("name", "varchar")], &["id", "name"]), "r2")
        .expect_err("refused");
    assert_eq!(error.to_string(), "table `shop.customers`: its key was (id) and is now (id, name)");
}

#[test]
fn names_that_clash_are_refused() {
    let store = |model: ModelPlan| {
        let folder = tempfile::tempdir().expect("a folder");
        open(&folder.path().join("w.duckdb"))
            .prepare(&[model.into()], false, "r0", at(0))
            .map_err(|error| error.to_string())
    };
    for name in ["ID", "_change", "_Deleted_at", "rowid", "RowId"] {
        let refused = store(model(&[("id", "bigint"), (name, "varchar")], &["id"]));
        assert_eq!(refused, Err(format!("table `shop.customers`: the column name `{name}` is taken")));
    }
    let mut own = model(&[("id", "bigint")], &["id"]);
    own.schema = "Headwater".into();
    assert!(store(own).is_err());
}

#[test]
fn two_models_cannot_make_one_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder.path().join("w.duckdb"));
    let mut other = model(&[("id", "bigint")], &["id"]);
    (other.name, other.table) = ("Other".into(), "CUSTOMERS".into());
    let error = store.prepare(&[customers(), other.into()], false, "r0", at(0)).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "table `shop.CUSTOMERS`: the models `Customer` and `Other` both make it, and they differ"
    );
}

#[test]
fn a_table_somebody_else_made_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let theirs = duckdb::Connection::open(&path).expect("opened");
    theirs
        .execute_batch(
            "CREATE SCHEMA shop; CREATE TABLE shop.customers (id BIGINT); INSERT INTO shop.customers VALUES (7)",
        )
        .expect("made");
    drop(theirs);
    let mut store = open(&path);
    let error = store.prepare(&[customers()], false, "r0", at(0)).expect_err("refused");
    assert_eq!(error.to_string(), "table `shop.customers`: it exists and headwater did not make it");
    store.release().expect("released");
    assert_eq!(super::support::query(&path, "FROM shop.customers").expect("rows"), [json!([7])]);
}

#[test]
fn a_table_or_view_that_was_dropped_by_hand_is_made_again() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    for (drop, rows) in [("DROP VIEW shop.customers_live", 1), ("DROP TABLE shop.customers", 0)] {
        bench.store.release().expect("released");
        duckdb::Connection::open(bench.path()).expect("opened").execute_batch(drop).expect("dropped");
        bench.store.prepare(&[Arc::clone(&bench.model)], false, "r2", at(2)).expect("prepared");
        assert_eq!(bench.rows("FROM shop.customers_live").len(), rows);
    }
}
