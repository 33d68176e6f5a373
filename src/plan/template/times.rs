//! Filters over times.

use chrono::format::{Item, StrftimeItems};
use minijinja::value::Value;
use minijinja::{Error, State};

use super::text::bad;
use crate::plan::moment::moment;
use crate::plan::{Moment, Span, TimeFormat, limits};

/// Whether chrono can write a time by these strftime directives, and in bounds.
pub(super) fn is_format(text: &str) -> bool {
    text.len() <= limits::EXPRESSION_BYTES_MAX && StrftimeItems::new(text).all(|item| item != Item::Error)
}

pub(super) fn rfc3339(_: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Result<Value, Error> {
    with_format(value, TimeFormat::Rfc3339)
}

pub(super) fn date(_: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Result<Value, Error> {
    with_format(value, TimeFormat::Custom(argument_text(arguments, 0)))
}

fn with_format(value: &Value, format: TimeFormat) -> Result<Value, Error> {
    Ok(Value::from_object(Moment { format, day: false, ..moment(value)? }))
}

pub(super) fn epoch(_: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Result<Value, Error> {
    Ok(moment(value)?.at.timestamp().into())
}

pub(super) fn epoch_ms(_: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Result<Value, Error> {
    Ok(moment(value)?.at.timestamp_millis().into())
}

pub(super) fn add(_: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Result<Value, Error> {
    let span = argument_text(arguments, 0);
    let by = Span::parse(&span).ok_or_else(|| bad(format!("`{span}` is not a span such as `-5m`")))?;
    let from = moment(value)?;
    let moved = from.plus(by).ok_or_else(|| bad(format!("`{from}` plus `{span}` is beyond the years 0 to 9999")))?;
    Ok(Value::from_object(moved))
}

/// The text of an argument that has been checked to be one.
pub(super) fn argument_text(arguments: &[Option<Value>], at: usize) -> String {
    arguments.get(at).and_then(Option::as_ref).and_then(Value::as_str).unwrap_or_default().to_owned()
}
