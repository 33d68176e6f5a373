//! What the file has of one table.

use super::support::{Bench, customers};
use crate::store::catalog::{columns, has};
use crate::store::sql::Table;

#[test]
fn a_table_is_found_by_its_name_whatever_that_is() {
    let mut bench = Bench::new(customers());
    let db = bench.store.attached().expect("attached");
    let odd = Table::new("a.b \"x", "T.t \"y");
    let make = format!(
        "CREATE SCHEMA headwater_db.\"a.b \"\"x\"; CREATE TABLE {odd} (id BIGINT, d DECIMAL(10,2), made TIMESTAMPTZ, j JSON, l VARCHAR[]); \
         CREATE VIEW headwater_db.shop.seen AS SELECT id FROM shop.customers"
    );
    db.execute_batch(&make).expect("made");
    let of = |schema: &str, name: &str| columns(db, &Table::new(schema, name)).expect("read");
    let named = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    let all = [
        ("id", "BIGINT"),
        ("d", "DECIMAL(10,2)"),
        ("made", "TIMESTAMP WITH TIME ZONE"),
        ("j", "JSON"),
        ("l", "VARCHAR[]"),
    ];
    assert_eq!(of("a.b \"x", "T.t \"y"), named(&all));
    assert_eq!(of("A.B \"X", "t.T \"Y"), named(&all), "DuckDB ignores case");
    assert_eq!(of("shop", "seen"), named(&[("id", "BIGINT")]));
    assert_eq!(of("shop", "nothing"), []);
    assert_eq!(of("nowhere", "customers"), []);
}

#[test]
fn asking_for_what_is_not_there_does_not_end_a_transaction() {
    let mut bench = Bench::new(customers());
    let made = bench.store.transaction("test", |db| {
        db.execute_batch("CREATE TABLE headwater_db.shop.made (i INTEGER)").expect("made");
        assert!(!has(db, &Table::new("shop", "nothing")).expect("asked"));
        Ok(has(db, &Table::new("shop", "made")).expect("asked"))
    });
    assert!(made.expect("committed"));
    assert_eq!(bench.rows("SELECT count(*) FROM shop.made").len(), 1);
}

#[test]
fn a_database_that_is_not_attached_is_an_error() {
    let mut bench = Bench::new(customers());
    bench.store.release().expect("released");
    has(bench.store.connection(), &Table::new("shop", "customers")).expect_err("no database");
}
