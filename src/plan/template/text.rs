//! Values as text and as JSON.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;

use super::budget::Budget;
use crate::plan::{Moment, limits};

/// What one value costs in JSON besides its text.
const NODE_BYTES: usize = 8;

pub(super) fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Whether it is none or undefined: the language tells them apart nowhere but in `is none` and `is defined`.
pub(super) fn is_nothing(value: &Value) -> bool {
    value.is_none() || value.is_undefined()
}

/// A single value as text: text as it is, the rest as JSON writes it (`true`, `1.0`, `1e20`), a time in its format.
///
/// # Errors
/// A value that has no such text: none, a list, a map, or what is no number in JSON.
pub(super) fn text_of(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Number => number_text(value),
        ValueKind::Undefined | ValueKind::None => Err(bad("it has no value")),
        ValueKind::Plain => match value.downcast_object_ref::<Moment>() {
            Some(moment) => Ok(moment.to_string()),
            None => Err(bad("it has no text")),
        },
        _ => Err(bad("it is a list or a map; use `| json` or `| join(',')`")),
    }
}

fn number_text(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    json_number(value).map(|number| number.to_string())
}

fn json_number(value: &Value) -> Result<serde_json::Number, Error> {
    if value.is_integer() {
        let signed = i64::try_from(value.clone()).map(Into::into);
        let whole = signed.or_else(|_| u64::try_from(value.clone()).map(Into::into));
        return whole.map_err(|_| bad(format!("`{value}` has more than 64 bits; `| string` makes it text")));
    }
    let number = f64::try_from(value.clone())?;
    serde_json::Number::from_f64(number).ok_or_else(|| bad("it is no number that JSON can write"))
}

/// A value as JSON, whatever is in it.
///
/// # Errors
/// A number that JSON cannot write, nesting beyond [`limits::JSON_DEPTH_MAX`], or more than the budget has left.
pub(super) fn json_of(value: &Value, budget: &mut Budget) -> Result<Json, Error> {
    nested(value, budget, limits::JSON_DEPTH_MAX)
}

fn nested(value: &Value, budget: &mut Budget, depth: usize) -> Result<Json, Error> {
    let deeper = || depth.checked_sub(1).ok_or_else(|| bad("it is nested too deeply"));
    budget.take(NODE_BYTES)?;
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(value.is_true().into()),
        ValueKind::Number => json_number(value).map(Json::Number),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            budget.take(text.len())?;
            Ok(text.into())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let depth = deeper()?;
            value.try_iter()?.map(|item| nested(&item, budget, depth)).collect()
        }
        ValueKind::Map => {
            let depth = deeper()?;
            let mut members = serde_json::Map::new();
            for key in value.try_iter()? {
                let name = text_of(&key)?;
                budget.take(name.len())?;
                members.insert(name, nested(&value.get_item(&key)?, budget, depth)?);
            }
            Ok(Json::Object(members))
        }
        _ => match value.downcast_object_ref::<Moment>() {
            Some(moment) => Ok(moment.json()),
            None => Err(bad("it is no value of JSON")),
        },
    }
}
