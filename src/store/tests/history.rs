//! Every version of a row.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::{Bench, at, batch, ended, gone, live, model};
use crate::plan::ModelPlan;
use crate::store::{Error, ScanEnd};

fn with_history(columns: &[(&str, &str)]) -> Arc<ModelPlan> {
    Arc::new(ModelPlan { history: true, ..model(columns, &["id"]) })
}

fn customers() -> Arc<ModelPlan> {
    with_history(&[("id", "bigint"), ("name", "varchar")])
}

const MINUTE: &str = "- 1700000000123456) // 60000000";

/// id, name, from and to in minutes since the beginning, change, action.
fn versions(bench: &mut Bench) -> Vec<Value> {
    bench.rows(&format!(
        "SELECT id, name, (epoch_us(valid_from) {MINUTE}, (epoch_us(valid_to) {MINUTE}, _change, _action \
         FROM shop.customers_history ORDER BY id, _change"
    ))
}

fn prepare(bench: &mut Bench, model: Arc<ModelPlan>, minutes: i64) -> Result<Vec<(&'static str, String)>, Error> {
    let changes = bench.store.prepare(&[Arc::clone(&model)], false, "r2", at(minutes))?;
    bench.model = model;
    Ok(changes.into_iter().map(|change| (change.change, format!("{} {}", change.table, change.detail))).collect())
}

#[test]
fn a_row_has_a_version_for_each_of_its_states() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"])), gone(json!([3, "c"]))]);
    bench.commit(2, &[live(json!([1, "A"])), live(json!([2, "b"]))]);
    bench.commit(3, &[gone(json!([1, "A"]))]);
    bench.commit(4, &[gone(json!([1, "A"])), live(json!([4, "d"]))]);
    bench.commit(5, &[live(json!([1, "A"])), live(json!([3, "c"]))]);
    let page = batch(&bench.model, &[live(json!([2, "b"])), live(json!([3, "c"])), live(json!([4, "D"]))]);
    bench.scan(6, 1, vec![page]);
    bench.finish(7, ScanEnd { began: at(6), ..ended(1, 3) });
    assert_eq!(
        versions(&mut bench),
        [
            json!([1, "a", 1, 2, 1, "ADDED"]),
            json!([1, "A", 2, 3, 4, "UPDATED"]),
            json!([1, "A", 5, 7, 7, "ADDED"]),
            json!([2, "b", 1, null, 2, "ADDED"]),
            json!([3, "c", 5, null, 8, "ADDED"]),
            json!([4, "d", 4, 6, 6, "ADDED"]),
            json!([4, "D", 6, null, 9, "UPDATED"]),
        ]
    );
    let uncommented = "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'customers_history' AND comment IS NULL \
                       AND column_name NOT IN ('id', 'name')";
    assert_eq!(bench.value(uncommented), 0);
    assert_eq!(
        bench.value("SELECT comment FROM duckdb_tables() WHERE table_name = 'customers_history'"),
        "Every version of the rows of shop.customers."
    );
}

#[test]
fn only_volatile_values_make_no_version() {
    let mut model = (*with_history(&[("id", "bigint"), ("name", "varchar"), ("polled", "bigint")])).clone();
    model.columns[2].volatile = true;
    let mut bench = Bench::new(model.into());
    bench.commit(1, &[live(json!([1, "a", 1]))]);
    bench.commit(2, &[live(json!([1, "a", 2]))]);
    bench.commit(3, &[live(json!([1, "b", 3]))]);
    assert_eq!(
        bench.rows("SELECT name, polled FROM shop.customers_history ORDER BY _change"),
        [json!(["a", 1]), json!(["b", 3])]
    );
}

#[test]
fn it_begins_with_the_rows_of_today_ends_and_goes_on() {
    let plain = Arc::new(model(&[("id", "bigint"), ("name", "varchar")], &["id"]));
    let mut bench = Bench::new(Arc::clone(&plain));
    bench.commit(1, &[live(json!([1, "a"])), live(json!([2, "b"])), live(json!([3, "c"]))]);
    bench.commit(2, &[live(json!([2, "B"])), gone(json!([3, "c"]))]);
    let made = prepare(&mut bench, customers(), 3).expect("prepared");
    assert_eq!(made, [("table_created", "shop.customers_history id, name".to_owned())]);
    assert_eq!(prepare(&mut bench, customers(), 3).expect("prepared"), []);
    let begun = [json!([1, "a", 1, null, 1, "ADDED"]), json!([2, "B", 2, null, 4, "UPDATED"])];
    assert_eq!(versions(&mut bench), begun);
    // off: what is so now is known until then
    assert_eq!(
        prepare(&mut bench, Arc::clone(&plain), 5).expect("prepared"),
        [("history_ended", "shop.customers_history ".to_owned())]
    );
    assert_eq!(prepare(&mut bench, plain, 6).expect("prepared"), []);
    bench.commit(7, &[live(json!([1, "x"]))]);
    // on again: from now on, and nothing is said of the time between
    assert_eq!(
        prepare(&mut bench, customers(), 9).expect("prepared"),
        [("history_resumed", "shop.customers_history ".to_owned())]
    );
    bench.commit(10, &[live(json!([2, "y"]))]);
    assert_eq!(
        versions(&mut bench),
        [
            json!([1, "a", 1, 5, 1, "ADDED"]),
            json!([1, "x", 9, null, 6, "UPDATED"]),
            json!([2, "B", 2, 5, 4, "UPDATED"]),
            json!([2, "B", 9, 10, 4, "UPDATED"]),
            json!([2, "y", 10, null, 7, "UPDATED"]),
        ]
    );
    let told = bench.rows("SELECT table_name, change FROM headwater.schema_changes ORDER BY rowid");
    let of = |change: &str| json!(["customers_history", change]);
    assert_eq!(told[1..], [of("table_created"), of("history_ended"), of("history_resumed")]);
}

#[test]
fn it_changes_with_its_model() {
    let mut bench = Bench::new(with_history(&[("id", "bigint"), ("n", "integer"), ("old", "varchar")]));
    bench.commit(1, &[live(json!([1, 5, "x"]))]);
    let wider = (*with_history(&[("id", "hugeint"), ("n", "bigint"), ("new", "varchar[]")])).clone();
    let changed = prepare(&mut bench, Arc::new(wider.clone()), 2).expect("prepared");
    let of_history: Vec<_> = changed
        .iter()
        .filter(|(_, what)| what.starts_with("shop.customers_history"))
        .map(|(change, _)| *change)
        .collect();
    assert_eq!(of_history, ["column_widened", "column_widened", "column_added"]);
    bench.commit(3, &[live(json!([1, 6, ["y"]]))]);
    assert_eq!(
        bench.rows("SELECT id, n, old, new FROM shop.customers_history ORDER BY _change"),
        [json!([1, 5, "x", null]), json!([1, 6, null, ["y"]])]
    );
    let mut described = wider;
    described.columns[1].description = Some("How many.".into());
    assert_eq!(prepare(&mut bench, described.into(), 4).expect("prepared"), []);
    assert_eq!(
        bench
            .value("SELECT comment FROM duckdb_columns() WHERE table_name = 'customers_history' AND column_name = 'n'"),
        "How many."
    );
}

#[test]
fn another_table_of_its_name_is_left_alone() {
    let mut other = model(&[("id", "bigint")], &["id"]);
    other.table = "customers_history".into();
    let mut bench = Bench::new(other.into());
    let error = prepare(&mut bench, customers(), 2).expect_err("the name is taken").to_string();
    assert_eq!(error, "table `shop.customers_history`: it exists and is no history that headwater made");
    assert_eq!(bench.value("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'customers'"), 0);
}

#[test]
fn a_clock_that_goes_back_makes_no_overlap() {
    let mut bench = Bench::new(customers());
    bench.commit(5, &[live(json!([1, "a"]))]);
    bench.commit(2, &[live(json!([1, "b"]))]);
    bench.commit(7, &[live(json!([1, "c"]))]);
    assert_eq!(
        versions(&mut bench),
        [
            json!([1, "a", 5, 5, 1, "ADDED"]),
            json!([1, "b", 5, 7, 2, "UPDATED"]),
            json!([1, "c", 7, null, 3, "UPDATED"])
        ]
    );
}

#[test]
fn connections_and_variants_have_versions_of_their_own() {
    let mut bench = Bench::new(customers());
    for (minutes, connection, variant) in [(1, "a", ""), (2, "b", ""), (3, "a", "big")] {
        bench.id = super::support::sync_of(connection, variant);
        bench.commit(minutes, &[live(json!([1, "x"]))]);
    }
    bench.commit(4, &[live(json!([1, "y"]))]);
    let open = bench
        .rows("SELECT _connection, _variant, name FROM shop.customers_history WHERE valid_to IS NULL ORDER BY ALL");
    assert_eq!(open, [json!(["a", "", "x"]), json!(["a", "big", "y"]), json!(["b", "", "x"])]);
}
