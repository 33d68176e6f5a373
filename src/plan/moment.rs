//! Times inside templates: a moment or a day that knows how its API writes it.

use std::fmt;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Offset, SecondsFormat, TimeDelta, Utc};
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::{TimeFormat, Zone, limits};

/// A point in time in a template, printed in the format its API wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// when
    pub at: DateTime<Utc>,
    /// how it prints
    pub format: TimeFormat,
    /// it is a whole day
    pub day: bool,
    /// whose clock it prints
    pub zone: Zone,
}

impl Moment {
    /// A time of UTC, printed as RFC 3339.
    pub fn utc(at: DateTime<Utc>) -> Self {
        Self { at, format: TimeFormat::Rfc3339, day: false, zone: Zone::UTC }
    }

    /// The moment moved by a span. A day stays a day if it is moved by whole days. `None` beyond the years 0 to 9999.
    pub fn plus(&self, span: Span) -> Option<Self> {
        let span = match span {
            Span::Exact(delta) if self.day && delta.num_seconds() % 86_400 == 0 => Span::Days(delta.num_days()),
            span => span,
        };
        let day = self.day && !matches!(span, Span::Exact(_));
        let moved = Self { at: span.after(self.at, self.zone)?, day, format: self.format.clone(), zone: self.zone };
        moved.is_in_range().then_some(moved)
    }

    /// RFC 3339 has four digits for the year.
    fn is_in_range(&self) -> bool {
        (0..=9999).contains(&self.at.year()) && (0..=9999).contains(&self.zone.local(self.at).year())
    }

    /// The moment as a template hands it on: a number for epoch formats, text otherwise.
    pub fn json(&self) -> serde_json::Value {
        match self.format {
            TimeFormat::EpochS => match self.at.timestamp_subsec_micros() {
                0 => self.at.timestamp().into(),
                _ => self.to_string().parse::<serde_json::Number>().map_or(serde_json::Value::Null, Into::into),
            },
            TimeFormat::EpochMs => self.at.timestamp_millis().into(),
            TimeFormat::EpochUs => self.at.timestamp_micros().into(),
            TimeFormat::Rfc3339 | TimeFormat::Custom(_) => self.to_string().into(),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.format {
            TimeFormat::Rfc3339 if self.day => write!(f, "{}", self.zone.local(self.at).date()),
            TimeFormat::Rfc3339 => f.write_str(&rfc3339(self.at, self.zone)),
            TimeFormat::EpochS => {
                let text = format!("{}.{:06}", self.at.timestamp(), self.at.timestamp_subsec_micros());
                f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
            }
            TimeFormat::EpochMs => write!(f, "{}", self.at.timestamp_millis()),
            TimeFormat::EpochUs => write!(f, "{}", self.at.timestamp_micros()),
            TimeFormat::Custom(format) => write!(f, "{}", self.zone.shown(self.at).format(format)),
        }
    }
}

/// RFC 3339 knows no seconds in an offset, as clocks had them before 1972 at the latest: such times are told in UTC.
fn rfc3339(at: DateTime<Utc>, zone: Zone) -> String {
    let shown = zone.shown(at);
    if shown.offset().fix().local_minus_utc() % 60 == 0 {
        shown.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    } else {
        at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
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
    Some(Moment::utc(at))
}

fn from_text(text: &str) -> Option<Moment> {
    let moment = |at, day| Some(Moment { day, ..Moment::utc(at) });
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
    /// calendar days, positive or negative: of 23 or 25 hours where the clock is put forward or back
    Days(i64),
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
        let days = |unit: i64| {
            let days = amount.checked_mul(unit)?;
            TimeDelta::try_days(days).map(|_| Self::Days(days))
        };
        match rest[digits..].trim() {
            "s" | "second" | "seconds" => exact(1),
            "m" | "minute" | "minutes" => exact(60),
            "h" | "hour" | "hours" => exact(3_600),
            "d" | "day" | "days" => days(1),
            "w" | "week" | "weeks" => days(7),
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
            Self::Days(days) => days > 0,
            Self::Months(months) => months > 0,
        }
    }

    /// The least it can last, wherever it starts: a month has 28 days, a day 24 hours by its clock. Zero for one that goes back.
    pub fn shortest(self) -> std::time::Duration {
        let delta = match self {
            Self::Exact(delta) => delta,
            Self::Days(days) => TimeDelta::try_days(days).unwrap_or_default(),
            Self::Months(months) => TimeDelta::days(28) * months,
        };
        delta.to_std().unwrap_or_default()
    }

    /// `at` moved by the span, days and months on the calendar and the clock of `zone`; a month keeps the day where it can and takes the
    /// month's last day where it cannot. A local time that the clock skips is the end of the gap.
    pub fn after(self, at: DateTime<Utc>, zone: Zone) -> Option<DateTime<Utc>> {
        match self {
            Self::Exact(delta) => at.checked_add_signed(delta),
            Self::Days(_) | Self::Months(_) => self.after_local(zone.local(at)).map(|local| zone.first(local)),
        }
    }

    /// A local time moved by the span, on its calendar and its clock.
    pub fn after_local(self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        match self {
            Self::Exact(delta) => local.checked_add_signed(delta),
            Self::Days(days) => local.checked_add_signed(TimeDelta::try_days(days)?),
            Self::Months(months) if months >= 0 => local.checked_add_months(Months::new(months.unsigned_abs())),
            Self::Months(months) => local.checked_sub_months(Months::new(months.unsigned_abs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str, span: &str) -> String {
        let at = moment(&Value::from(text)).expect("a time").at;
        Span::parse(span)
            .and_then(|span| span.after(at, Zone::UTC))
            .expect("a span")
            .to_rfc3339_opts(SecondsFormat::AutoSi, true)
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

    #[test]
    fn a_moment_of_a_zone_prints_and_moves_by_its_clock() {
        let zone = Zone::parse("Europe/Berlin").expect("a zone");
        let print = |at: &str, span: &str, format: TimeFormat, day: bool| {
            let at = moment(&Value::from(at)).expect("a time").at;
            let of = Moment { at, format, day, zone };
            of.plus(Span::parse(span).expect("a span")).expect("in range").to_string()
        };
        let custom = || TimeFormat::Custom("%d.%m.%Y %H:%M %Z".to_owned());
        // the clock is put forward on 29 March and back on 25 October
        assert_eq!(print("2026-03-28T23:00:00Z", "0s", TimeFormat::Rfc3339, false), "2026-03-29T00:00:00+01:00");
        assert_eq!(print("2026-03-28T23:00:00Z", "1d", TimeFormat::Rfc3339, false), "2026-03-30T00:00:00+02:00");
        assert_eq!(print("2026-03-28T23:00:00Z", "24h", custom(), false), "30.03.2026 01:00 CEST");
        assert_eq!(print("2026-03-28T01:30:00Z", "1d", custom(), false), "29.03.2026 03:00 CEST", "02:30 is skipped");
        assert_eq!(print("2026-10-24T22:00:00Z", "1d", TimeFormat::Rfc3339, true), "2026-10-26");
        assert_eq!(print("2026-03-29T22:00:00Z", "-24h", TimeFormat::Rfc3339, true), "2026-03-29");
        assert_eq!(print("2026-03-29T22:00:00Z", "-1d", TimeFormat::EpochS, true), "1774738800");
        assert_eq!(print("2026-10-31T23:00:00Z", "-1 month", TimeFormat::Rfc3339, true), "2026-10-01");
        assert_eq!(print("1800-01-01T00:00:00Z", "0s", TimeFormat::Rfc3339, false), "1800-01-01T00:00:00Z");
    }
}
