//! Every column type keeps its values, on the way in and on the way to JSON.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::{Bench, batch, live, model};

const TYPES: [&str; 15] = [
    "boolean",
    "integer",
    "bigint",
    "hugeint",
    "double",
    "decimal(38,0)",
    "decimal(18,2)",
    "varchar",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "json",
    "blob",
];

/// Values of each type, in the order of [`TYPES`], as they must come back.
fn samples() -> Vec<[Value; 3]> {
    vec![
        [json!(true), json!(false), Value::Null],
        [json!(i32::MIN), json!(i32::MAX), Value::Null],
        [json!(i64::MIN), json!(i64::MAX), Value::Null],
        [json!("170141183460469231731687303715884105727"), json!(-5), Value::Null],
        [json!(-0.1), json!(1.7e308), Value::Null],
        [json!("99999999999999999999999999999999999999"), json!("-1"), Value::Null],
        [json!("-0.05"), json!("9999999999999999.99"), Value::Null],
        [json!("héllo\n\u{0}\"🦆"), json!(""), Value::Null],
        [json!("0001-01-01"), json!("9999-12-31"), Value::Null],
        [json!("00:00:00"), json!("23:59:59.999999"), Value::Null],
        [json!("1969-12-31T23:59:59.999999"), json!("2024-02-29T12:00:00"), Value::Null],
        [json!("0001-01-01T00:00:00Z"), json!("2024-02-29T12:00:00.000001Z"), Value::Null],
        [json!("00000000-0000-0000-0000-000000000000"), json!("ffffffff-ffff-ffff-ffff-ffffffffffff"), Value::Null],
        [json!({"b": [1, null, {"c": "\u{1}"}], "a": 1.5}), json!("text"), Value::Null],
        [json!("AAH/"), json!(""), Value::Null],
    ]
}

fn columns() -> Vec<(String, String)> {
    let lists = TYPES.iter().map(|name| format!("{name}[]"));
    TYPES.iter().map(|name| (*name).to_owned()).chain(lists).enumerate().map(|(at, t)| (format!("c{at}"), t)).collect()
}

/// One record per sample, plus lists that are full, empty and null.
fn records() -> Vec<Vec<Value>> {
    let scalars = samples();
    (0..3)
        .map(|nth| {
            let lists = scalars.iter().map(|values| match nth {
                0 => json!([values[0], null, values[1]]),
                1 => json!([]),
                _ => Value::Null,
            });
            let row = scalars.iter().map(|values| values[nth].clone()).chain(lists);
            std::iter::once(json!(nth)).chain(row).collect()
        })
        .collect()
}

#[test]
fn all_types_come_back_as_they_went_in() {
    let columns = columns();
    let mut named: Vec<(&str, &str)> = vec![("id", "integer")];
    named.extend(columns.iter().map(|(name, column_type)| (name.as_str(), column_type.as_str())));
    let mut bench = Bench::new(model(&named, &["id"]).into());
    let expected = records();
    // twice: once into an empty table, once with every row changed
    for (minutes, shift) in [(1, 1), (2, 0)] {
        let mut rows = expected.clone();
        rows.rotate_left(shift);
        for (id, row) in rows.iter_mut().enumerate() {
            row[0] = json!(id);
        }
        bench.commit(minutes, &rows.iter().map(|row| live(json!(row))).collect::<Vec<_>>());
    }
    let found: Vec<Vec<Value>> = bench
        .changes(3)
        .into_iter()
        .map(|row| row.into_iter().take(expected[0].len()).map(|(_, value)| value).collect())
        .collect();
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip(&expected) {
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found, expected, "column {at}, {:?}", named[at]);
        }
    }
    let declared = bench.rows(
        "SELECT data_type FROM duckdb_columns() WHERE schema_name = 'shop' AND table_name = 'customers' AND column_name LIKE 'c%' \
         ORDER BY column_index",
    );
    let spelled = columns.iter().map(|(_, t)| t.to_uppercase().replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"));
    assert_eq!(declared, spelled.map(|name| json!([name])).collect::<Vec<_>>());
}

#[test]
fn keys_of_every_scalar_type_find_their_row() {
    for (name, values) in TYPES.into_iter().zip(samples()) {
        let mut bench =
            Bench::new(model(&[("id", name), ("part", "varchar"), ("name", "varchar")], &["part", "id"]).into());
        let page = |text: &str| values[..2].iter().map(|value| live(json!([value, "p", text]))).collect::<Vec<_>>();
        assert_eq!(bench.commit(1, &page("a")).added, 2, "{name}");
        assert_eq!(bench.commit(2, &page("a")).unchanged, 2, "{name}");
        assert_eq!(bench.commit(3, &page("b")).updated, 2, "{name}");
        let scan = bench.scan(4, 1, vec![batch(&Arc::clone(&bench.model), &page("b")[..1])]);
        assert_eq!(scan.unchanged, 1, "{name}");
        let end = super::support::ended(1, 1);
        assert!(matches!(bench.finish(5, end), crate::store::Absence::Deleted { rows: 1, .. }), "{name}");
    }
}
