//! A row's values as JSON, for its JSON Schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta};
use serde_json::Value;

use super::coerce::Cell;
use super::columns::write_text;
use crate::plan::ColumnType;

/// The value of a column of this type: numbers as numbers (those that 64 bits do not hold, and decimals, as the nearest double), times as
/// RFC 3339 writes them, bytes in base64 (RFC 4648, 4).
pub(super) fn value(cell: &Cell<'_>, column_type: &ColumnType) -> Value {
    match (cell, column_type) {
        (Cell::Null, _) => Value::Null,
        (Cell::Boolean(value), _) => (*value).into(),
        (Cell::Integer(number), _) => i64::try_from(*number)
            .map_or_else(|_| number.to_string().parse::<f64>().unwrap_or_default().into(), Value::from),
        (Cell::Double(number), _) => (*number).into(),
        (Cell::Decimal(number), ColumnType::Decimal { scale, .. }) => {
            format!("{number}e-{scale}").parse::<f64>().unwrap_or_default().into()
        }
        (Cell::Decimal(number), _) => number.to_string().into(),
        (Cell::Text(text), _) => text.as_ref().into(),
        (Cell::Date(days), _) => NaiveDate::from_epoch_days(*days).map(|day| day.to_string()).into(),
        (Cell::Time(us), _) => (NaiveTime::MIN + TimeDelta::microseconds(*us)).format("%H:%M:%S%.f").to_string().into(),
        (Cell::Timestamp(us), _) => {
            let at = DateTime::from_timestamp_micros(*us);
            at.map(|at| at.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string()).into()
        }
        (Cell::Timestamptz(us), _) => {
            DateTime::from_timestamp_micros(*us).map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).into()
        }
        (Cell::Uuid(_), _) => {
            let mut text = String::new();
            write_text(cell, &mut text);
            text.into()
        }
        (Cell::Json(json), _) => json.to_serde(),
        (Cell::Blob(bytes), _) => STANDARD.encode(bytes).into(),
        (Cell::List(items), ColumnType::List(of)) => items.iter().map(|item| value(item, of)).collect(),
        (Cell::List(items), other) => items.iter().map(|item| value(item, other)).collect(),
    }
}
