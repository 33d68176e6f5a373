use std::collections::HashMap;

use proptest::prelude::*;

use super::fixture::{any_json, column, column_type, json};
use crate::plan::ColumnPlan;
use crate::record::Json;
use crate::record::coerce::Cell;
use crate::record::hash::{self, RowHasher, Scratch};

fn row(columns: &[ColumnPlan], cells: &[Cell<'_>]) -> u64 {
    RowHasher::new(columns).row(cells, &mut Scratch::default())
}

fn key(values: &[(&str, Cell<'_>)]) -> u128 {
    let types: Vec<_> = values.iter().map(|(name, _)| column_type(name)).collect();
    hash::key(types.iter().zip(values.iter().map(|(_, cell)| cell)), &mut Scratch::default())
}

fn text(text: &str) -> Cell<'static> {
    Cell::Text(text.to_owned().into())
}

fn columns(named: &[(&str, &str)]) -> Vec<ColumnPlan> {
    named.iter().map(|(name, type_text)| column(name, type_text, "$.x")).collect()
}

/// `_hash` is stored: if this fails, every row of every database looks updated once. Say so in the changelog, or find another way.
#[test]
fn stored_hashes_stay_what_they_are() {
    let json = json(r#"{"b":[1.0,"é"],"a":null}"#);
    let columns = columns(&[
        ("id", "bigint"),
        ("name", "varchar"),
        ("amount", "decimal(18,2)"),
        ("ok", "boolean"),
        ("ratio", "double"),
        ("day", "date"),
        ("clock", "time"),
        ("at", "timestamptz"),
        ("uid", "uuid"),
        ("raw", "json"),
        ("bytes", "blob"),
        ("tags", "varchar[]"),
    ]);
    let cells = [
        Cell::Integer(42),
        text("Ä"),
        Cell::Decimal(1_250),
        Cell::Boolean(true),
        Cell::Double(1.5),
        Cell::Date(-1),
        Cell::Time(1),
        Cell::Timestamptz(1_709_208_000_000_000),
        Cell::Uuid(7),
        Cell::Json(&json),
        Cell::Blob(vec![1, 2]),
        Cell::List(vec![text("a"), Cell::Null]),
    ];
    assert_eq!(row(&columns, &cells), 5_928_579_420_832_208_044, "the row's hash");
    assert_eq!(
        key(&[("bigint", Cell::Integer(42)), ("varchar", text("Ä"))]),
        59_294_661_159_377_230_190_965_457_126_717_888_049,
        "the key's hash"
    );
    assert_eq!(row(&columns, &columns.iter().map(|_| Cell::Null).collect::<Vec<_>>()), 0x2d06_8005_38d3_94c2);
}

#[test]
fn a_new_column_without_values_and_another_order_change_nothing() {
    let before = columns(&[("a", "bigint"), ("b", "varchar")]);
    let hash = row(&before, &[Cell::Integer(1), text("x")]);
    let added = columns(&[("a", "bigint"), ("aa", "varchar"), ("b", "varchar"), ("c", "json")]);
    assert_eq!(row(&added, &[Cell::Integer(1), Cell::Null, text("x"), Cell::Null]), hash);
    assert_ne!(row(&added, &[Cell::Integer(1), text(""), text("x"), Cell::Null]), hash, "empty text is a value");
    let turned = columns(&[("b", "varchar"), ("a", "bigint")]);
    assert_eq!(row(&turned, &[text("x"), Cell::Integer(1)]), hash);
    let swapped = columns(&[("b", "bigint"), ("a", "varchar")]);
    assert_ne!(row(&swapped, &[Cell::Integer(1), text("x")]), hash, "names count");
}

#[test]
fn volatile_columns_do_not_count() {
    let mut with = columns(&[("a", "bigint"), ("seen", "timestamptz")]);
    with[1].volatile = true;
    let first = row(&with, &[Cell::Integer(1), Cell::Timestamptz(1)]);
    assert_eq!(row(&with, &[Cell::Integer(1), Cell::Timestamptz(2)]), first);
    assert_ne!(row(&with, &[Cell::Integer(2), Cell::Timestamptz(1)]), first);
}

#[test]
fn a_wider_type_or_another_scale_changes_nothing() {
    let hash_as = |type_text: &str, cell: Cell<'_>| row(&columns(&[("a", type_text)]), &[cell]);
    assert_eq!(hash_as("integer", Cell::Integer(5)), hash_as("hugeint", Cell::Integer(5)));
    assert_eq!(hash_as("decimal(18,2)", Cell::Decimal(150)), hash_as("decimal(38,6)", Cell::Decimal(1_500_000)));
    assert_ne!(hash_as("decimal(18,2)", Cell::Decimal(150)), hash_as("decimal(18,2)", Cell::Decimal(151)));
    assert_eq!(hash_as("decimal(18,2)", Cell::Decimal(0)), hash_as("decimal(18,0)", Cell::Decimal(0)));
    assert_ne!(hash_as("decimal(18,0)", Cell::Decimal(10)), hash_as("decimal(18,0)", Cell::Decimal(1)));
    let (left, right) = (json(r#"{"a":1,"b":[2.0]}"#), json(r#"{"b":[2],"a":1.0}"#));
    assert_eq!(hash_as("json", Cell::Json(&left)), hash_as("json", Cell::Json(&right)));
}

#[test]
fn values_of_different_types_do_not_collide() {
    let one = json("1");
    let list = |cells: Vec<Cell<'static>>| Cell::List(cells);
    let cells: Vec<(&str, Cell<'_>)> = vec![
        ("boolean", Cell::Boolean(true)),
        ("bigint", Cell::Integer(1)),
        ("double", Cell::Double(1.0)),
        ("decimal(9,0)", Cell::Decimal(1)),
        ("varchar", text("1")),
        ("date", Cell::Date(1)),
        ("time", Cell::Time(1)),
        ("timestamp", Cell::Timestamp(1)),
        ("timestamptz", Cell::Timestamptz(1)),
        ("uuid", Cell::Uuid(1)),
        ("json", Cell::Json(&one)),
        ("blob", Cell::Blob(vec![b'1'])),
        ("bigint[]", list(vec![Cell::Integer(1)])),
        ("varchar[]", list(vec![text("1")])),
        ("varchar[]", list(vec![])),
        ("varchar[]", list(vec![Cell::Null])),
        ("varchar[]", list(vec![text("")])),
        ("varchar[]", list(vec![text("a"), text("b")])),
        ("varchar[]", list(vec![text("ab")])),
        ("varchar[]", list(vec![text("a"), text("b"), Cell::Null])),
        ("varchar[]", list(vec![text("a,b")])),
    ];
    let mut seen = HashMap::new();
    for value in cells {
        assert_eq!(seen.insert(key(std::slice::from_ref(&value)), value.clone()), None, "{value:?}");
    }
}

#[test]
fn the_parts_of_a_key_do_not_run_together() {
    let pair = |left: &str, right: &str| key(&[("varchar", text(left)), ("varchar", text(right))]);
    let all = [pair("ab", "c"), pair("a", "bc"), pair("abc", ""), pair("", "abc"), pair("c", "ab")];
    for (at, left) in all.iter().enumerate() {
        assert!(!all[..at].contains(left), "{at}");
    }
    assert_eq!(key(&[("integer", Cell::Integer(7))]), key(&[("bigint", Cell::Integer(7))]));
}

/// Few values of each type, so that equal rows come up.
fn cell(type_text: &'static str) -> BoxedStrategy<Cell<'static>> {
    let value = match type_text {
        "bigint" => (-1_i128..2).prop_map(Cell::Integer).boxed(),
        "decimal(9,2)" => (-1_i128..2).prop_map(|number| Cell::Decimal(number * 10)).boxed(),
        "double" => prop_oneof![Just(0.0), Just(1.0), Just(-1.0)].prop_map(Cell::Double).boxed(),
        "varchar" => "[ab]{0,1}".prop_map(|text| Cell::Text(text.into())).boxed(),
        "timestamptz" => (-1_i64..2).prop_map(Cell::Timestamptz).boxed(),
        "blob" => prop::collection::vec(0_u8..2, 0..2).prop_map(Cell::Blob).boxed(),
        "varchar[]" => prop::collection::vec(cell("varchar"), 0..2).prop_map(Cell::List).boxed(),
        _ => any::<bool>().prop_map(Cell::Boolean).boxed(),
    };
    prop_oneof![1 => Just(Cell::Null), 3 => value].boxed()
}

const TYPES: [&str; 8] = ["bigint", "decimal(9,2)", "double", "varchar", "timestamptz", "blob", "varchar[]", "boolean"];

fn generated_row() -> impl Strategy<Value = Vec<Cell<'static>>> {
    TYPES.map(cell).to_vec()
}

proptest! {
    #[test]
    fn hashes_are_equal_when_rows_are(rows in prop::collection::vec(generated_row(), 2..40), twin: prop::sample::Index, cut: prop::sample::Index) {
        let names: Vec<String> = TYPES.iter().enumerate().map(|(at, _)| format!("c{at}")).collect();
        let columns: Vec<_> = TYPES.iter().zip(&names).map(|(type_text, name)| column(name, type_text, "$.x")).collect();
        let mut rows = rows;
        let mut twin = twin.get(&rows).clone();
        rows.push(twin.clone());
        let cut = cut.index(twin.len());
        twin[cut] = Cell::Null;
        rows.push(twin);
        for left in &rows {
            for right in &rows {
                prop_assert_eq!(left == right, row(&columns, left) == row(&columns, right), "{:?} {:?}", left, right);
                let keyed = |cells: &[Cell<'static>]| key(&TYPES.iter().copied().zip(cells.iter().cloned()).collect::<Vec<_>>());
                prop_assert_eq!(left == right, keyed(left) == keyed(right));
            }
        }
    }

    #[test]
    fn json_hashes_are_equal_when_values_are(left in any_json(), right in any_json()) {
        let columns = columns(&[("raw", "json")]);
        let shuffled = match &left {
            Json::Object(members) => Json::Object(members.iter().rev().cloned().collect()),
            other => other.clone(),
        };
        prop_assert_eq!(row(&columns, &[Cell::Json(&left)]), row(&columns, &[Cell::Json(&shuffled)]));
        prop_assert_eq!(left == right, row(&columns, &[Cell::Json(&left)]) == row(&columns, &[Cell::Json(&right)]));
    }
}
