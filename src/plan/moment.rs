//! Times inside templates: a moment or a day that knows how its API writes it.

use std::fmt;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::{TimeFormat, limits};

/// A point in time in a template, printed in the format its API wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// when, UTC
    pub at: DateTime<Utc>,
    /// how it prints
    pub format: TimeFormat,
    /// it is a whole day
    pub day: bool,
}

impl Moment {
    /// The moment moved by a span. A day stays a day if it is moved by whole days. `None` beyond the years 0 to 9999.
    pub fn plus(&self, span: Span) -> Option<Self> {
        let whole_days = match span {
            Span::Months(_) => true,
            Span::Exact(delta) => delta.num_seconds() % 86_400 == 0,
        };
        let moved = Self { at: span.after(self.at)?, day: self.day && whole_days, format: self.format.clone() };
        moved.is_in_range().then_some(moved)
    }

    /// RFC 3339 has four digits for the year.
    fn is_in_range(&self) -> bool {
        (0..=9999).contains(&self.at.year())
    }

    /// The moment as a template hands it on: a number for epoch formats, text otherwise.
    pub fn json(&self) -> serde_json::Value {
        match self.format {
            TimeFormat::EpochS => self.at.timestamp().into(),
            TimeFormat::EpochMs => self.at.timestamp_millis().into(),
            TimeFormat::EpochUs => self.at.timestamp_micros().into(),
            TimeFormat::Rfc3339 | TimeFormat::Custom(_) => self.to_string().into(),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.format {
            TimeFormat::Rfc3339 if self.day => write!(f, "{}", self.at.date_naive()),
            TimeFormat::Rfc3339 => f.write_str(&self.at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            TimeFormat::EpochS => write!(f, "{}", self.at.timestamp()),
            TimeFormat::EpochMs => write!(f, "{}", self.at.timestamp_millis()),
            TimeFormat::EpochUs => write!(f, "{}", self.at.timestamp_micros()),
            TimeFormat::Custom(format) => write!(f, "{}", self.at.format(format)),
        }
    }
}

impl Object for Moment {
    fn repr(self: &std::sync::Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &std::sync::Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_ref(), f)
    }
}

/// Epoch seconds from here on are refused: they would be in the year 5138, and are surely milliseconds.
const EPOCH_SECONDS_END: f64 = 1e11;

/// Reads a template value as a point in time: a [`Moment`], an RFC 3339 text, a time without an offset (it is UTC), a day, or epoch
/// seconds, which may have a fraction.
///
/// # Errors
/// When it is none of these, is beyond the years 0 to 9999, or is a number of seconds that can only be milliseconds.
pub fn moment(value: &Value) -> Result<Moment, Error> {
    let bad = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        return Ok(moment.clone());
    }
    // whole or not at all: a piece of a secret would not be known for one when messages are masked
    let shown = || match value.kind() {
        ValueKind::String | ValueKind::Number => match value.to_string() {
            text if text.len() > limits::QUOTED_CHARS_MAX => format!("a text of {} bytes", text.len()),
            text => format!("`{text}`"),
        },
        kind => format!("a {kind}"),
    };
    let read = match value.as_str() {
        Some(text) => from_text(text),
        None if value.kind() != ValueKind::Number => None,
        None => match f64::try_from(value.clone()) {
            Ok(seconds) if seconds.abs() >= EPOCH_SECONDS_END => {
                let hint = format!("{} is not epoch seconds; divide milliseconds by 1000: `(value / 1000)`", shown());
                return Err(bad(hint));
            }
            _ => from_number(value),
        },
    };
    match read {
        Some(moment) if moment.is_in_range() => Ok(moment),
        Some(_) => Err(bad(format!("{} is beyond the years 0 to 9999", shown()))),
        None => Err(bad(format!("{} is not a time (RFC 3339, a day, or epoch seconds)", shown()))),
    }
}

fn from_number(value: &Value) -> Option<Moment> {
    let at = match i64::try_from(value.clone()) {
        Ok(seconds) if value.is_integer() => DateTime::from_timestamp(seconds, 0)?,
        _ => {
            let micros = (f64::try_from(value.clone()).ok()? * 1e6).round();
            #[expect(clippy::cast_possible_truncation, reason = "below 1e17, and whole")]
            let micros = micros as i64;
            DateTime::from_timestamp_micros(micros)?
        }
    };
    Some(Moment { at, format: TimeFormat::Rfc3339, day: false })
}

fn from_text(text: &str) -> Option<Moment> {
    let moment = |at, day| Some(Moment { at, format: TimeFormat::Rfc3339, day });
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return moment(at.to_utc(), false);
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(local) = NaiveDateTime::parse_from_str(text, format) {
            return moment(local.and_utc(), false);
        }
    }
    let midnight = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?;
    moment(midnight.and_utc(), true)
}

/// A span of time as people write it: `-5m`, `2h`, `1 month`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// an exact length
    Exact(TimeDelta),
    /// calendar months, positive or negative
    Months(i32),
}

impl Span {
    /// Reads a number and a unit (s, m, h, d, w, month, y). `None` when it is no span.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let amount: i64 = rest[..digits].parse().ok()?;
        let amount = if negative { -amount } else { amount };
        let exact = |unit_s: i64| TimeDelta::try_seconds(amount.checked_mul(unit_s)?).map(Self::Exact);
        match rest[digits..].trim() {
            "s" | "second" | "seconds" => exact(1),
            "m" | "minute" | "minutes" => exact(60),
            "h" | "hour" | "hours" => exact(3_600),
            "d" | "day" | "days" => exact(86_400),
            "w" | "week" | "weeks" => exact(604_800),
            "month" | "months" => i32::try_from(amount).ok().map(Self::Months),
            "y" | "year" | "years" => i32::try_from(amount.checked_mul(12)?).ok().map(Self::Months),
            _ => None,
        }
    }

    /// One minute.
    pub const MINUTE: Self = Self::Exact(TimeDelta::minutes(1));

    /// Whether it goes forward.
    pub fn is_positive(self) -> bool {
        match self {
            Self::Exact(delta) => delta > TimeDelta::zero(),
            Self::Months(months) => months > 0,
        }
    }

    /// The least it can last, wherever it starts: a month has 28 days. Zero for one that goes back.
    pub fn shortest(self) -> std::time::Duration {
        let delta = match self {
            Self::Exact(delta) => delta,
            Self::Months(months) => TimeDelta::days(28) * months,
        };
        delta.to_std().unwrap_or_default()
    }

    /// `at` moved by the span; a month keeps the day where it can and takes the month's last day where it cannot.
    pub fn after(self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Exact(delta) => at.checked_add_signed(delta),
            Self::Months(months) if months >= 0 => at.checked_add_months(Months::new(months.unsigned_abs())),
            Self::Months(months) => at.checked_sub_months(Months::new(months.unsigned_abs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str, span: &str) -> String {
        let at = moment(&Value::from(text)).expect("a time").at;
        Span::parse(span).and_then(|span| span.after(at)).expect("a span").to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }

    #[test]
    fn spans_move_times_by_the_calendar() {
        assert_eq!(add("2024-03-01T00:00:00Z", "-5m"), "2024-02-29T23:55:00Z");
        assert_eq!(add("2024-01-31T12:00:00Z", "1 month"), "2024-02-29T12:00:00Z");
        assert_eq!(add("2024-02-29T00:00:00Z", "-1y"), "2023-02-28T00:00:00Z");
        assert_eq!(add("2024-05-01T02:00:00+02:00", "2h"), "2024-05-01T02:00:00Z");
        assert_eq!(Span::parse("five minutes"), None);
        assert_eq!(Span::parse("99999999999999999999d"), None);
    }
}
