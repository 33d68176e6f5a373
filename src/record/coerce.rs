//! JSON values to typed values: strict, with a reason where a value does not fit. Nothing changes its meaning in silence.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};

use super::number::{Misfit, Number};
use super::time::{Format, Misread};
use super::{Json, excerpt};
use crate::plan::{ColumnType, TimeFormat, Zone};

/// A typed value. Text and JSON are borrowed from the record.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'j> {
    /// no value
    Null,
    /// of a `boolean`
    Boolean(bool),
    /// of an `integer`, `bigint` or `hugeint`, in its range
    Integer(i128),
    /// of a `double`: finite, never -0
    Double(f64),
    /// of a `decimal`: the number times ten to the power of its scale
    Decimal(i128),
    /// of a `varchar`
    Text(Cow<'j, str>),
    /// of a `date`: days since 1970-01-01
    Date(i32),
    /// of a `time`: microseconds since midnight
    Time(i64),
    /// of a `timestamp`: microseconds since 1970-01-01T00:00:00 of the same clock
    Timestamp(i64),
    /// of a `timestamptz`: microseconds since 1970 UTC
    Timestamptz(i64),
    /// of a `uuid`
    Uuid(u128),
    /// of a `json`
    Json(&'j Json<'j>),
    /// of a `blob`
    Blob(Vec<u8>),
    /// of a list
    List(Vec<Cell<'j>>),
}

impl Cell<'_> {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Bytes that it takes in a batch, roughly.
    pub fn size(&self) -> usize {
        self.sized(&|json| json.size())
    }

    /// No less than [`Cell::size`]; see [`Json::size_at_most`].
    pub fn size_at_most(&self) -> usize {
        self.sized(&|json| json.size_at_most())
    }

    fn sized(&self, json_size: &impl Fn(&Json<'_>) -> usize) -> usize {
        match self {
            Self::Text(text) => text.len() + 4,
            Self::Json(json) => json_size(json) + 4,
            Self::Blob(bytes) => bytes.len() + 4,
            Self::Uuid(_) => 40,
            Self::List(items) => items.iter().map(|item| item.sized(json_size)).sum::<usize>() + 4,
            _ => 16,
        }
    }
}

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `type_mismatch` or `out_of_range`, as in [`super::Quarantined::code`]
    pub code: &'static str,
    /// in words, with the type and the value
    pub text: String,
}

/// How values become the values of one column.
#[derive(Debug, Clone)]
pub struct Coercion {
    column_type: ColumnType,
    format: Format,
    zone: Option<Zone>,
}

/// What is wrong with a value, before it is named.
enum Fault {
    Mismatch(Cow<'static, str>),
    OutOfRange(Cow<'static, str>),
}

impl Coercion {
    /// For a column of this type; `format` says how times are written.
    pub fn new(column_type: &ColumnType, format: &TimeFormat) -> Self {
        Self { column_type: column_type.clone(), format: Format::from(format), zone: None }
    }

    /// With the zone of times that have no offset, if it is known.
    #[must_use]
    pub fn in_zone(self, zone: Option<Zone>) -> Self {
        Self { zone, ..self }
    }

    /// The typed value of one JSON value; null stays null.
    ///
    /// # Errors
    /// When the value does not fit the type without changing its meaning.
    pub fn cell<'j>(&self, value: &'j Json<'j>) -> Result<Cell<'j>, Reason> {
        if value.is_null() {
            return Ok(Cell::Null);
        }
        match &self.column_type {
            ColumnType::List(item) => match value {
                Json::Array(items) => self.list(item, items.iter()),
                other => {
                    let why = format!("it is {}, not a list", other.kind());
                    Err(reason(&self.column_type, other, Fault::Mismatch(why.into())))
                }
            },
            scalar => self.scalar(scalar, value).map_err(|fault| reason(scalar, value, fault)),
        }
    }

    /// The type of its column.
    pub(super) fn column_type(&self) -> &ColumnType {
        &self.column_type
    }

    /// The typed value of all that a path leads to: a list column takes all the values as its items, any other column at most one.
    /// No values give null.
    ///
    /// # Errors
    /// As [`Coercion::cell`]; also more than one value for a column that is no list.
    pub fn gather<'j>(&self, values: &[&'j Json<'j>]) -> Result<Cell<'j>, Reason> {
        match (&self.column_type, values) {
            (_, []) => Ok(Cell::Null),
            (ColumnType::List(item), values) => self.list(item, values.iter().copied()),
            (_, [value]) => self.cell(value),
            (scalar, [first, ..]) => {
                let why = format!("its path leads to {} values, this is the first; use `{scalar}[]`", values.len());
                Err(reason(scalar, first, Fault::Mismatch(why.into())))
            }
        }
    }

    fn list<'j>(
        &self,
        item: &ColumnType,
        values: impl ExactSizeIterator<Item = &'j Json<'j>>,
    ) -> Result<Cell<'j>, Reason> {
        // collected as results they would be counted only as they come
        let mut cells = Vec::with_capacity(values.len());
        for (at, value) in values.enumerate() {
            cells.push(match value {
                Json::Null => Cell::Null,
                value => self.scalar(item, value).map_err(|fault| {
                    let Reason { code, text } = reason(item, value, fault);
                    Reason { code, text: format!("item {}: {text}", at + 1) }
                })?,
            });
        }
        Ok(Cell::List(cells))
    }

    fn scalar<'j>(&self, column_type: &ColumnType, value: &'j Json<'j>) -> Result<Cell<'j>, Fault> {
        let takes_empty_text = matches!(column_type, ColumnType::Varchar | ColumnType::Json | ColumnType::Blob);
        if !takes_empty_text && matches!(value, Json::String(text) if text.is_empty()) {
            return Err(mismatch("it is empty text, which is no value of the type and is not null either"));
        }
        match column_type {
            ColumnType::Boolean => boolean(value),
            ColumnType::Integer => integer(value, i32::MIN.into(), i32::MAX.into()),
            ColumnType::Bigint => integer(value, i64::MIN.into(), i64::MAX.into()),
            ColumnType::Hugeint => integer(value, i128::MIN, i128::MAX),
            ColumnType::Double => double(value),
            ColumnType::Decimal { precision, scale } => decimal(value, *precision, *scale),
            ColumnType::Varchar => text(value).map(Cell::Text),
            ColumnType::Date => {
                self.time(value, |format, text, is_number| format.day(text, is_number, self.zone)).map(Cell::Date)
            }
            ColumnType::Time => self.time(value, Format::clock).map(Cell::Time),
            ColumnType::Timestamp => self.time(value, Format::local).map(Cell::Timestamp),
            ColumnType::Timestamptz => {
                let read = |format: &Format, text: &str, is_number| format.moment(text, is_number, self.zone);
                self.time(value, read).map(Cell::Timestamptz)
            }
            ColumnType::Uuid => uuid(value),
            ColumnType::Json => Ok(Cell::Json(value)),
            ColumnType::Blob => blob(value),
            // `ColumnType::parse` makes no list of lists
            ColumnType::List(_) => Err(mismatch("a list of lists is no column type; use `json`")),
        }
    }

    fn time<T>(&self, value: &Json<'_>, read: impl Fn(&Format, &str, bool) -> Result<T, Misread>) -> Result<T, Fault> {
        let read = match value {
            Json::String(text) => read(&self.format, text, false),
            Json::Number(text) => read(&self.format, text, true),
            other => return Err(wrong_kind(other)),
        };
        read.map_err(|misread| match misread {
            Misread::Mismatch(why) => Fault::Mismatch(why.into()),
            Misread::OutOfRange => {
                Fault::OutOfRange("its year is not within 0 to 9999; is the `format` of the column right?".into())
            }
        })
    }
}

fn reason(column_type: &ColumnType, value: &Json<'_>, fault: Fault) -> Reason {
    let (code, why) = match fault {
        Fault::Mismatch(why) => ("type_mismatch", why),
        Fault::OutOfRange(why) => ("out_of_range", why),
    };
    Reason { code, text: format!("`{}` does not fit `{column_type}`: {why}", excerpt::value(value)) }
}

fn mismatch(why: &'static str) -> Fault {
    Fault::Mismatch(why.into())
}

fn wrong_kind(value: &Json<'_>) -> Fault {
    Fault::Mismatch(format!("it is {}", value.kind()).into())
}

fn boolean<'j>(value: &Json<'_>) -> Result<Cell<'j>, Fault> {
    let truth = match value {
        Json::Bool(truth) => Some(*truth),
        Json::String(text) => match text.as_ref() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
        Json::Number(text) => match Number::parse(text).map(|number| number.integer()) {
            Some(Ok(0)) => Some(false),
            Some(Ok(1)) => Some(true),
            _ => None,
        },
        other => return Err(wrong_kind(other)),
    };
    truth.map(Cell::Boolean).ok_or_else(|| mismatch("it is none of true, false, 0 and 1"))
}

fn number<'v>(value: &'v Json<'_>) -> Result<Number<'v>, Fault> {
    match value {
        // an exponent of 19 digits is the only way for JSON's own spelling not to parse
        Json::Number(text) => Number::parse(text).ok_or_else(|| Fault::OutOfRange("its exponent is too large".into())),
        Json::String(text) => Number::parse(text).ok_or_else(|| mismatch("it is text that is not a number")),
        other => Err(wrong_kind(other)),
    }
}

fn integer<'j>(value: &Json<'_>, min: i128, max: i128) -> Result<Cell<'j>, Fault> {
    let spelled_plainly = match value {
        Json::Number(text) => text.parse::<i64>().ok(),
        _ => None,
    };
    let whole = match spelled_plainly {
        Some(whole) => Ok(i128::from(whole)),
        None => number(value)?.integer(),
    };
    match whole {
        Ok(whole) if (min..=max).contains(&whole) => Ok(Cell::Integer(whole)),
        Ok(_) | Err(Misfit::TooLarge) => Err(Fault::OutOfRange(format!("it is not within {min} to {max}").into())),
        Err(Misfit::Fraction) => Err(mismatch("it is not a whole number")),
    }
}

fn double<'j>(value: &Json<'_>) -> Result<Cell<'j>, Fault> {
    let text = match value {
        Json::Number(text) => text,
        Json::String(text) if Number::parse(text).is_some() => text,
        Json::String(_) => return Err(mismatch("it is text that is not a number")),
        other => return Err(wrong_kind(other)),
    };
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Cell::Double(if number == 0.0 { 0.0 } else { number })),
        _ => Err(Fault::OutOfRange("it is beyond what 64 bits of floating point can hold".into())),
    }
}

fn decimal<'j>(value: &Json<'_>, precision: u8, scale: u8) -> Result<Cell<'j>, Fault> {
    number(value)?.scaled(precision, scale).map(Cell::Decimal).map_err(|misfit| match misfit {
        Misfit::Fraction => {
            Fault::Mismatch(format!("it has non-zero digits beyond {scale} places behind the point").into())
        }
        Misfit::TooLarge => {
            Fault::OutOfRange(format!("it has more than {} digits before the point", precision - scale).into())
        }
    })
}

fn text<'j>(value: &'j Json<'j>) -> Result<Cow<'j, str>, Fault> {
    Ok(match value {
        Json::String(text) | Json::Number(text) => Cow::Borrowed(text),
        Json::Bool(true) => "true".into(),
        Json::Bool(false) => "false".into(),
        other => return Err(Fault::Mismatch(format!("it is {}; use `json`", other.kind()).into())),
    })
}

/// RFC 9562, with or without hyphens, also in braces; letters in any case.
fn uuid<'j>(value: &Json<'_>) -> Result<Cell<'j>, Fault> {
    let Json::String(text) = value else { return Err(wrong_kind(value)) };
    let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let hyphenated = bare.len() == 36;
    let mut digits = 0;
    let mut number = 0_u128;
    for (at, c) in bare.chars().enumerate() {
        if hyphenated && matches!(at, 8 | 13 | 18 | 23) {
            if c != '-' {
                return Err(mismatch("it is not a UUID"));
            }
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| mismatch("it is not a UUID"))?;
        digits += 1;
        number = number << 4 | u128::from(digit);
    }
    if digits == 32 { Ok(Cell::Uuid(number)) } else { Err(mismatch("it is not a UUID")) }
}

/// Base64 (RFC 4648, 4 and 5) with or without padding; line breaks in it are left out (RFC 2045, 6.8).
fn blob<'j>(value: &Json<'_>) -> Result<Cell<'j>, Fault> {
    let Json::String(text) = value else { return Err(wrong_kind(value)) };
    let mut bytes = Cow::Borrowed(text.as_bytes());
    if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        bytes.to_mut().retain(|byte| !matches!(byte, b'\r' | b'\n'));
    }
    let url_safe = bytes.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let decoded =
        if url_safe { URL_SAFE_PAD_INDIFFERENT.decode(&bytes) } else { STANDARD_PAD_INDIFFERENT.decode(&bytes) };
    decoded.map(Cell::Blob).map_err(|error| Fault::Mismatch(format!("it is not base64 ({error})").into()))
}
