//! Filters over single values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State, filters as builtin};
use ring::{digest, hmac};

use super::budget::Budget;
use super::encoding::{hex, percent_encoded};
use super::text::{bad, is_nothing, json_of, text_of};
use super::times::argument_text;

pub(super) type Made = Result<Value, Error>;

/// Base64 with padding (RFC 4648, 4).
pub(super) fn base64(state: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    let text = value.as_str().unwrap_or_default();
    Budget::of(state).take(text.len() / 3 * 4 + 4)?;
    Ok(STANDARD.encode(text).into())
}

/// SHA-256 (FIPS 180-4) of the UTF-8 text.
pub(super) fn sha256(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    let text = value.as_str().unwrap_or_default();
    Budget::of(state).take(text.len())?;
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    Ok(encoded(digest.as_ref(), &argument_text(arguments, 0)).into())
}

/// HMAC (RFC 2104) with SHA-256 of the UTF-8 text; the key is text too.
pub(super) fn hmac_sha256(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    let (text, key) = (value.as_str().unwrap_or_default(), argument_text(arguments, 0));
    Budget::of(state).take(text.len() + key.len())?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    Ok(encoded(tag.as_ref(), &argument_text(arguments, 1)).into())
}

fn encoded(bytes: &[u8], encoding: &str) -> String {
    if encoding == "base64" { STANDARD.encode(bytes) } else { hex(bytes) }
}

pub(super) fn json(state: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    let text = json_of(value, Budget::of(state))?.to_string();
    Budget::of(state).take(text.len())?;
    Ok(text.into())
}

pub(super) fn slug(_: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    let text = value.as_str().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    Ok(out.trim_end_matches('-').into())
}

/// Percent-encodes all but the unreserved characters of RFC 3986: the slash too. Of a map it makes `name=value&…`.
pub(super) fn urlencode(state: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    if value.kind() != ValueKind::Map {
        let text = percent_encoded(text_of(value)?);
        Budget::of(state).take(text.len())?;
        return Ok(text.into());
    }
    let mut pairs = String::new();
    for name in value.try_iter()? {
        let member = value.get_item(&name)?;
        if is_nothing(&member) {
            continue;
        }
        let separator = if pairs.is_empty() { "" } else { "&" };
        let pair = format!("{separator}{}={}", percent_encoded(text_of(&name)?), percent_encoded(text_of(&member)?));
        Budget::of(state).take(pair.len())?;
        pairs.push_str(&pair);
    }
    Ok(pairs.into())
}

pub(super) fn string(_: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    Ok(value.clone())
}

/// The value, or another where it is nothing: undefined or none, which an API writes as `null`.
pub(super) fn default(_: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    let argument = |at: usize| arguments.get(at).and_then(Option::as_ref);
    let empty_too = argument(1).is_some_and(Value::is_true);
    if is_nothing(value) || (empty_too && !value.is_true()) {
        return Ok(argument(0).cloned().unwrap_or_else(|| "".into()));
    }
    Ok(value.clone())
}

pub(super) fn replace(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    let (value, old, new) =
        (value.as_str().unwrap_or_default(), argument_text(arguments, 0), argument_text(arguments, 1));
    let made = value.matches(old.as_str()).count().saturating_mul(new.len()).saturating_add(value.len());
    Budget::of(state).take(made)?;
    Ok(value.replace(&old, &new).into())
}

/// A whole number; nothing stays nothing unless a default is given.
pub(super) fn int(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    number(state, value, arguments, &Value::from_function(builtin::int))
}

/// A number with a fraction; nothing stays nothing unless a default is given.
pub(super) fn float(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    number(state, value, arguments, &Value::from_function(builtin::float))
}

fn number(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>], code: &Value) -> Made {
    let default = arguments.first().cloned().flatten();
    if is_nothing(value) {
        return Ok(default.unwrap_or_else(|| value.clone()));
    }
    let mut values = vec![value.clone()];
    if let Some(base) = arguments.get(1).cloned().flatten() {
        values.extend([Value::from(()), base]);
    }
    // minijinja reads `nan` and what is beyond 128 bits too, and makes some number of it
    let spelled = value.as_str().and_then(|text| text.parse::<f64>().ok());
    let is_beyond = spelled.is_some_and(|number| !number.is_finite() || number.abs() >= 1e38);
    match (code.call(state, &values), default) {
        (Ok(number), _) if !is_beyond => Ok(number),
        (_, Some(default)) => Ok(default),
        _ => Err(bad(format!("{} is not a number", super::table::shown(value)))),
    }
}

/// The operands of `~` as one text.
pub(super) fn concat(state: &mut State<'_, '_>, values: &[Value]) -> Made {
    let mut out = String::new();
    for value in values {
        let text =
            text_of(value).map_err(|error| bad(format!("a part of `~`: {}", error.detail().unwrap_or_default())))?;
        Budget::of(state).take(text.len())?;
        out.push_str(&text);
    }
    Ok(out.into())
}
