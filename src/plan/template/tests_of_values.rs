//! Tests (`x is …`) that minijinja's own would make too large, or panic at.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State, tests};

use super::table::shown;
use super::text::{bad, is_nothing, text_of};

/// Whether `container` has `value` in it: a text another, a list an item, a map a key. Nothing is in none.
///
/// # Errors
/// A container that is none of these.
pub(super) fn is_in(state: &State<'_, '_>, value: &Value, container: &Value) -> Result<bool, Error> {
    match container.as_str() {
        Some(text) => Ok(text_of(value).is_ok_and(|part| text.contains(&part))),
        None if matches!(container.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) => {
            tests::is_in(state, value, container)
        }
        None if is_nothing(container) => Ok(false),
        None => Err(bad(format!("`in` takes a text, a list or a map, not {}", shown(container)))),
    }
}

/// What has no value is none, whether somebody wrote so or it is not there.
pub(super) fn is_none(value: &Value) -> bool {
    is_nothing(value)
}

pub(super) fn starts_with(value: &Value, start: &Value) -> bool {
    matches!((value.as_str(), start.as_str()), (Some(text), Some(start)) if text.starts_with(start))
}

pub(super) fn ends_with(value: &Value, end: &Value) -> bool {
    matches!((value.as_str(), end.as_str()), (Some(text), Some(end)) if text.ends_with(end))
}

/// Nothing is divisible by zero.
pub(super) fn is_divisible_by(value: &Value, by: &Value) -> bool {
    match (i128::try_from(value.clone()), i128::try_from(by.clone())) {
        (Ok(value), Ok(by)) => value.checked_rem(by) == Some(0),
        _ => false,
    }
}
