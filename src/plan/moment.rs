//! Times inside templates: a moment or a day that knows how its API writes it.

use std::fmt;

use chrono::{DateTime, Months, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};

use super::TimeFormat;

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

/// Reads a template value as a point in time: a [`Moment`], an RFC 3339 text, a day, or epoch seconds.
///
/// # Errors
/// When it is none of these.
pub fn moment(value: &Value) -> Result<Moment, Error> {
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        return Ok(moment.clone());
    }
    if let Some(seconds) = value.as_i64()
        && let Some(at) = DateTime::from_timestamp(seconds, 0)
    {
        return Ok(Moment { at, format: TimeFormat::Rfc3339, day: false });
    }
    if let Some(text) = value.as_str() {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Moment { at: at.to_utc(), format: TimeFormat::Rfc3339, day: false });
        }
        if let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f") {
            return Ok(Moment { at: local.and_utc(), format: TimeFormat::Rfc3339, day: false });
        }
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d")
            && let Some(midnight) = day.and_hms_opt(0, 0, 0)
        {
            return Ok(Moment { at: midnight.and_utc(), format: TimeFormat::Rfc3339, day: true });
        }
    }
    Err(Error::new(ErrorKind::InvalidOperation, format!("`{value}` is not a time (RFC 3339, a day, or epoch seconds)")))
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
