//! Whether a value that was expected is the one that is there: by what it means, not by how it is written.

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;

use crate::plan::ColumnType;

/// Whether `found` is what was expected of a column of this type; without a type, of a value in JSON.
pub(super) fn is_same(of: Option<&ColumnType>, expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Array(expected), Value::Array(found)) => {
            let of = if let Some(ColumnType::List(of)) = of { Some(of.as_ref()) } else { None };
            expected.len() == found.len() && expected.iter().zip(found).all(|(one, other)| is_same(of, one, other))
        }
        (Value::Object(expected), Value::Object(found)) => {
            let same = |(name, value)| found.get(name).is_some_and(|found| is_same(None, value, found));
            expected.len() == found.len() && expected.iter().all(same)
        }
        (Value::Number(expected), Value::Number(found)) => is_same_number(&expected.to_string(), &found.to_string()),
        (Value::Number(_) | Value::String(_), Value::Number(_) | Value::String(_)) => {
            let (one, other) = (plain(expected), plain(found));
            (one == other && expected.is_string() == found.is_string())
                || (of.is_some_and(is_number) && is_same_number(&one, &other))
                || (of.is_some_and(is_moment) && is_same_moment(&one, &other))
        }
        (expected, found) => expected == found,
    }
}

/// Whether two texts are the same number, or the same moment, or the same.
pub(super) fn is_same_text(one: &str, other: &str) -> bool {
    one == other || is_same_number(one, other) || is_same_moment(one, other)
}

/// A value as people write it: a text without its quotes, all else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_number(of: &ColumnType) -> bool {
    matches!(
        of,
        ColumnType::Integer
            | ColumnType::Bigint
            | ColumnType::Hugeint
            | ColumnType::Double
            | ColumnType::Decimal { precision: _, scale: _ }
    )
}

fn is_moment(of: &ColumnType) -> bool {
    matches!(of, ColumnType::Timestamptz | ColumnType::Timestamp)
}

fn is_same_moment(one: &str, other: &str) -> bool {
    let instant = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    let local = |text: &str| {
        let text = text.replacen(' ', "T", 1);
        NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()
    };
    match (instant(one), instant(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => local(one).is_some_and(|one| local(other) == Some(one)),
        _ => false,
    }
}

fn is_same_number(one: &str, other: &str) -> bool {
    digits(one).is_some_and(|one| digits(other) == Some(one))
}

/// Sign, digits and power of ten of a number as JSON writes it, so that equal numbers are the same.
fn digits(text: &str) -> Option<(bool, String, i64)> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (text, power) = match text.split_once(['e', 'E']) {
        Some((text, power)) => (text, power.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let all = format!("{whole}{part}");
    if whole.is_empty() || all.chars().any(|c| !c.is_ascii_digit()) {
        return None;
    }
    let power = power.checked_sub(i64::try_from(part.len()).ok()?)?;
    let shorter = all.trim_end_matches('0');
    let power = power.checked_add(i64::try_from(all.len() - shorter.len()).ok()?)?;
    let shorter = shorter.trim_start_matches('0').to_owned();
    Some(if shorter.is_empty() { (false, shorter, 0) } else { (is_negative, shorter, power) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_the_same_by_value() {
        for (one, other) in [("1", "1.0"), ("12.10", "12.1"), ("-0", "0.00"), ("1e3", "1000"), ("1.5e-3", "0.0015")] {
            assert!(is_same_number(one, other), "{one} {other}");
        }
        for (one, other) in [("1", "10"), ("1", "-1"), ("", "0"), ("x", "x"), ("1.", "2")] {
            assert!(!is_same_number(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_column_says_how_a_value_is_meant() {
        let decimal = ColumnType::Decimal { precision: 18, scale: 2 };
        assert!(is_same(Some(&decimal), &json!(12.1), &json!("12.10")));
        assert!(is_same(Some(&decimal), &json!("12.1"), &json!("12.10")));
        assert!(is_same(Some(&ColumnType::Hugeint), &json!("18446744073709551616"), &json!("18446744073709551616")));
        assert!(!is_same(Some(&ColumnType::Varchar), &json!("1.0"), &json!("1")));
        assert!(!is_same(Some(&ColumnType::Varchar), &json!(1), &json!("1")));
        let zoned = Some(&ColumnType::Timestamptz);
        assert!(is_same(zoned, &json!("2024-01-01T01:00:00+01:00"), &json!("2024-01-01T00:00:00Z")));
        assert!(is_same(Some(&ColumnType::Timestamp), &json!("2024-01-01 00:00:00"), &json!("2024-01-01T00:00:00")));
        assert!(is_same(Some(&ColumnType::Json), &json!({ "a": [1.0] }), &json!({ "a": [1] })));
        assert!(!is_same(Some(&ColumnType::Json), &json!({ "a": 1 }), &json!({ "a": 1, "b": 2 })));
    }
}
