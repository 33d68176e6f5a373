//! DuckDB's values as JSON.
//!
//! Whole numbers beyond 64 bits and decimals become text, exact; times RFC 3339 (without an offset where the type has no zone); bytes
//! base64 (RFC 4648, 4); lists arrays; structs objects; maps arrays of `{"key", "value"}`; NaN and infinities text.

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveTime, SecondsFormat};
use duckdb::core::{LogicalTypeHandle, LogicalTypeId};
use serde_json::{Map, Value, json};

use crate::plan::{ColumnType, ModelPlan};

/// What Arrow does not say about a column: which DuckDB type its arrays stand for.
#[derive(Debug, Clone)]
pub enum Kind {
    /// JSON text, given as the value it holds
    Json,
    /// a whole number of 128 bits, which Arrow calls a decimal
    Huge,
    /// the same without a sign
    UnsignedHuge,
    /// the same as text
    Digits,
    /// a list of these
    List(Box<Kind>),
    /// named members
    Struct(Vec<Kind>),
    /// keys and values
    Map(Box<Kind>, Box<Kind>),
    /// Arrow says it all
    Plain,
}

/// A column's kind and its type in DuckDB's spelling.
pub fn kind_of(logical: &LogicalTypeHandle) -> (Kind, String) {
    let children = |count: usize| (0..count).map(|at| kind_of(&logical.child(at)));
    if logical.get_alias().as_deref() == Some("JSON") {
        return (Kind::Json, "JSON".into());
    }
    match logical.id() {
        LogicalTypeId::Hugeint => (Kind::Huge, "HUGEINT".into()),
        LogicalTypeId::UHugeint => (Kind::UnsignedHuge, "UHUGEINT".into()),
        LogicalTypeId::Decimal => {
            (Kind::Plain, format!("DECIMAL({},{})", logical.decimal_width(), logical.decimal_scale()))
        }
        LogicalTypeId::TimestampTZ => (Kind::Plain, "TIMESTAMPTZ".into()),
        LogicalTypeId::List | LogicalTypeId::Array => {
            let (kind, name) = kind_of(&logical.child(0));
            (Kind::List(Box::new(kind)), format!("{name}[]"))
        }
        LogicalTypeId::Struct => {
            let (kinds, names): (Vec<_>, Vec<_>) = children(logical.num_children()).unzip();
            let members = names.iter().enumerate().map(|(at, name)| format!("{} {name}", logical.child_name(at)));
            (Kind::Struct(kinds), format!("STRUCT({})", super::sql::list(members)))
        }
        LogicalTypeId::Map => {
            let ((key, key_name), (value, value_name)) = (kind_of(&logical.child(0)), kind_of(&logical.child(1)));
            (Kind::Map(Box::new(key), Box::new(value)), format!("MAP({key_name}, {value_name})"))
        }
        other => (Kind::Plain, format!("{other:?}").to_uppercase()),
    }
}

/// Mapped rows of a model as objects of its columns.
pub fn row_values(model: &ModelPlan, rows: &RecordBatch) -> Vec<Map<String, Value>> {
    let kinds: Vec<Kind> = model.columns.iter().map(|column| kind_of_column(&column.column_type)).collect();
    let row = |at: usize| {
        let cells = model.columns.iter().zip(rows.columns()).zip(&kinds);
        cells.map(|((column, values), kind)| (column.name.clone(), value(values, at, kind))).collect()
    };
    (0..rows.num_rows()).map(row).collect()
}

fn kind_of_column(column_type: &ColumnType) -> Kind {
    match column_type {
        ColumnType::Json => Kind::Json,
        ColumnType::Hugeint => Kind::Digits,
        ColumnType::List(of) => Kind::List(Box::new(kind_of_column(of))),
        _ => Kind::Plain,
    }
}

/// The value at `row`.
pub fn value(array: &dyn Array, row: usize, kind: &Kind) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => number(array.as_primitive::<Decimal128Type>().value(row), *scale, kind),
        DataType::Utf8 => text(array.as_string::<i32>().value(row), kind),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row), kind),
        DataType::Utf8View => text(array.as_string_view().value(row), kind),
        DataType::Binary => STANDARD.encode(array.as_binary::<i32>().value(row)).into(),
        DataType::LargeBinary => STANDARD.encode(array.as_binary::<i64>().value(row)).into(),
        DataType::BinaryView => STANDARD.encode(array.as_binary_view().value(row)).into(),
        DataType::List(_) => items(array.as_list::<i32>().value(row).as_ref(), kind),
        DataType::LargeList(_) => items(array.as_list::<i64>().value(row).as_ref(), kind),
        DataType::FixedSizeList(..) => items(array.as_fixed_size_list().value(row).as_ref(), kind),
        DataType::Struct(_) => members(array.as_struct(), row, kind),
        DataType::Map(..) => entries(&array.as_map().value(row), kind),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_) => time(array, row),
        _ => shown(array, row),
    }
}

fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

fn number(digits: i128, scale: i8, kind: &Kind) -> Value {
    match kind {
        Kind::Huge => i64::try_from(digits).map_or_else(|_| digits.to_string().into(), Value::from),
        Kind::UnsignedHuge => {
            let digits = digits.cast_unsigned();
            u64::try_from(digits).map_or_else(|_| digits.to_string().into(), Value::from)
        }
        _ => decimal(digits, usize::try_from(scale).unwrap_or(0)).into(),
    }
}

fn decimal(digits: i128, scale: usize) -> String {
    if scale == 0 {
        return digits.to_string();
    }
    let sign = if digits < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{part}")
}

fn text(text: &str, kind: &Kind) -> Value {
    match kind {
        Kind::Json => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        Kind::Digits => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    }
}

fn items(items: &dyn Array, kind: &Kind) -> Value {
    let kind = if let Kind::List(kind) = kind { kind } else { &Kind::Plain };
    (0..items.len()).map(|at| value(items, at, kind)).collect()
}

fn members(array: &StructArray, row: usize, kind: &Kind) -> Value {
    let kind_at = |at: usize| if let Kind::Struct(kinds) = kind { kinds.get(at) } else { None }.unwrap_or(&Kind::Plain);
    let member = |(at, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        (field.name().clone(), value(array.column(at), row, kind_at(at)))
    };
    Value::Object(array.fields().iter().enumerate().map(member).collect::<Map<_, _>>())
}

fn entries(entries: &StructArray, kind: &Kind) -> Value {
    let plain = (&Kind::Plain, &Kind::Plain);
    let (key, held) = if let Kind::Map(key, held) = kind { (key.as_ref(), held.as_ref()) } else { plain };
    (0..entries.len())
        .map(|at| json!({ "key": value(entries.column(0), at, key), "value": value(entries.column(1), at, held) }))
        .collect()
}

fn time(array: &dyn Array, row: usize) -> Value {
    let shown = || shown(array, row);
    match array.data_type() {
        DataType::Date32 => {
            array.as_primitive::<Date32Type>().value_as_date(row).map_or_else(shown, |day| day.to_string().into())
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let micros = array.as_primitive::<Time64MicrosecondType>().value(row);
            let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok();
            let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
            seconds
                .and_then(|seconds| NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos))
                .map_or_else(shown, |time| time.to_string().into())
        }
        DataType::Timestamp(unit, zone) => instant(array, row, *unit).map_or_else(shown, |at| match zone {
            Some(_) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into(),
            None => at.to_rfc3339_opts(SecondsFormat::AutoSi, true).trim_end_matches('Z').into(),
        }),
        _ => shown(),
    }
}

fn instant(array: &dyn Array, row: usize, unit: TimeUnit) -> Option<DateTime<chrono::Utc>> {
    use arrow::datatypes::{
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    };
    match unit {
        TimeUnit::Second => DateTime::from_timestamp(array.as_primitive::<TimestampSecondType>().value(row), 0),
        TimeUnit::Millisecond => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        TimeUnit::Microsecond => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        TimeUnit::Nanosecond => {
            Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(row)))
        }
    }
}

/// Arrow's own text, for types that no column of headwater has.
fn shown(array: &dyn Array, row: usize) -> Value {
    ArrayFormatter::try_new(array, &FormatOptions::default())
        .map_or(Value::Null, |formatter| formatter.value(row).try_to_string().map_or(Value::Null, Value::String))
}
