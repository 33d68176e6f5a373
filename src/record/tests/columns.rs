use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use duckdb::Connection;

use super::fixture::{column_type, json};
use crate::plan::{ColumnType, TimeFormat};
use crate::record::Json;
use crate::record::coerce::Coercion;
use crate::record::columns::{ColumnBuilder, arrow_type};

/// Each type with a value and what DuckDB says of it.
const VALUES: [(&str, &str, &str); 26] = [
    ("boolean", "true", "true"),
    ("integer", "-2147483648", "-2147483648"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("hugeint", "170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
    ("hugeint", "-170141183460469231731687303715884105727", "-170141183460469231731687303715884105727"),
    ("double", "-1.5e300", "-1.5e+300"),
    ("decimal(4,1)", "-999.9", "-999.9"),
    ("decimal(9,2)", "1234567.89", "1234567.89"),
    ("decimal(18,2)", "12.5", "12.50"),
    ("decimal(38,10)", "1234567890123456789012345678.0123456789", "1234567890123456789012345678.0123456789"),
    ("varchar", "\"täxt\\u0000 '\\\"\"", "täxt\0 '\""),
    ("date", "\"0001-02-03\"", "0001-02-03"),
    ("time", "\"23:59:59.999999\"", "23:59:59.999999"),
    ("timestamp", "\"1969-12-31T23:59:59.000001\"", "1969-12-31 23:59:59.000001"),
    ("timestamptz", "\"2024-05-01T05:00:00.25+02:00\"", "2024-05-01 03:00:00.25+00"),
    ("uuid", "\"{01234567-89AB-cdef-0123-456789ABCDEF}\"", "01234567-89ab-cdef-0123-456789abcdef"),
    ("json", "{\"b\": [1.0, \"é\"], \"a\": null}", "{\"b\":[1.0,\"é\"],\"a\":null}"),
    ("blob", "\"AP8=\"", "\\x00\\xFF"),
    ("bigint[]", "[1,null,-3]", "[1, NULL, -3]"),
    ("hugeint[]", "[170141183460469231731687303715884105727]", "[170141183460469231731687303715884105727]"),
    ("decimal(9,2)[]", "[1.5]", "[1.50]"),
    ("varchar[]", "[]", "[]"),
    ("timestamptz[]", "[\"2024-05-01T05:00:00+02:00\",null]", "['2024-05-01 03:00:00+00', NULL]"),
    ("uuid[]", "[\"01234567-89AB-cdef-0123-456789ABCDEF\"]", "[01234567-89ab-cdef-0123-456789abcdef]"),
    ("json[]", "[{\"a\":1},[2]]", "[{\"a\":1}, [2]]"),
    ("blob[]", "[\"AP8=\"]", "[\\x00\\xFF]"),
];

fn filled(column_type: &ColumnType, values: &[Json<'_>]) -> arrow::array::ArrayRef {
    let coercion = Coercion::new(column_type, &TimeFormat::Rfc3339);
    let mut builder = ColumnBuilder::new(column_type, values.len());
    for value in values {
        builder.append(&coercion.cell(value).expect("fits"));
    }
    builder.finish()
}

/// How DuckDB spells the type in which a column travels.
fn travelling(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Hugeint | ColumnType::Uuid | ColumnType::Json => "VARCHAR".into(),
        ColumnType::List(item) => format!("{}[]", travelling(item)),
        other => other.to_string(),
    }
}

#[test]
fn the_arrow_type_is_what_the_builder_makes() {
    for (type_text, value, _) in VALUES {
        let column_type = column_type(type_text);
        let array = filled(&column_type, &[json(value), Json::Null]);
        assert_eq!(array.data_type(), &arrow_type(&column_type), "{type_text}");
        assert_eq!((array.len(), array.null_count()), (2, 1), "{type_text}");
        assert_eq!(filled(&column_type, &[]).data_type(), &arrow_type(&column_type), "{type_text}");
    }
}

#[test]
fn every_type_arrives_in_duckdb() {
    let connection = Connection::open_in_memory().expect("opens");
    connection.execute_batch("SET TimeZone = 'UTC'").expect("sets");
    let types: Vec<ColumnType> = VALUES.iter().map(|(type_text, _, _)| column_type(type_text)).collect();
    let list = |text: &dyn Fn(usize, &ColumnType) -> String| {
        types.iter().enumerate().map(|(at, column_type)| text(at, column_type)).collect::<Vec<_>>().join(", ")
    };
    let staged = list(&|at, column_type| format!("c{at} {}", travelling(column_type)));
    let wanted = list(&|at, column_type| format!("c{at} {column_type}"));
    let casts = list(&|at, column_type| format!("CAST(c{at} AS {column_type})"));
    connection
        .execute_batch(&format!("CREATE TABLE staged ({staged}); CREATE TABLE typed ({wanted})"))
        .expect("creates");

    // more rows than one of DuckDB's vectors holds, every third of them null
    let rows = 5_000;
    let arrays: Vec<_> = VALUES
        .iter()
        .zip(&types)
        .map(|((_, value, _), column_type)| {
            let values: Vec<_> = (0..rows).map(|row| if row % 3 == 1 { Json::Null } else { json(value) }).collect();
            filled(column_type, &values)
        })
        .collect();
    let fields: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(at, column_type)| Field::new(format!("c{at}"), arrow_type(column_type), true))
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
    let mut appender = connection.appender("staged").expect("an appender");
    appender.append_record_batch(batch).expect("appends");
    appender.flush().expect("flushes");
    drop(appender);
    connection.execute_batch(&format!("INSERT INTO typed SELECT {casts} FROM staged")).expect("casts");

    for (at, (type_text, value, expected)) in VALUES.iter().enumerate() {
        let query = format!(
            "SELECT count(*), count(c{at}), count(DISTINCT c{at}::VARCHAR), max(c{at}::VARCHAR), typeof(any_value(c{at})) FROM typed"
        );
        let found = connection
            .query_row(&query, [], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, String>(4)?,
                ))
            })
            .expect("queries");
        let name = types[at].to_string().replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE");
        assert_eq!(found, (rows, 3_333, 1, (*expected).to_owned(), name), "{type_text} {value}");
    }
}

#[test]
fn lists_of_many_items_arrive_in_duckdb() {
    let connection = Connection::open_in_memory().expect("opens");
    connection.execute_batch("CREATE TABLE t (n BIGINT, items VARCHAR[])").expect("creates");
    let rows = 3_000_usize;
    let lists: Vec<Json<'_>> = (0..rows)
        .map(|row| Json::Array((0..row % 7).map(|item| Json::from(format!("{row}.{item}"))).collect()))
        .collect();
    let numbers: Vec<Json<'_>> = (0..rows).map(|row| Json::Number(row.to_string().into())).collect();
    let types = [column_type("bigint"), column_type("varchar[]")];
    let fields = vec![Field::new("n", arrow_type(&types[0]), true), Field::new("items", arrow_type(&types[1]), true)];
    let arrays = vec![filled(&types[0], &numbers), filled(&types[1], &lists)];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
    let mut appender = connection.appender("t").expect("an appender");
    appender.append_record_batch(batch).expect("appends");
    appender.flush().expect("flushes");
    drop(appender);
    let wrong: i64 = connection
        .query_row(
            "SELECT count(*) FROM t WHERE items <> list_transform(range(n % 7), i -> n || '.' || i)",
            [],
            |row| row.get(0),
        )
        .expect("queries");
    let right: i64 = connection.query_row("SELECT count(items) FROM t", [], |row| row.get(0)).expect("queries");
    assert_eq!((wrong, right), (0, 3_000));
}
