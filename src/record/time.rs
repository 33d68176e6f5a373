//! Dates and times as APIs write them: ISO 8601 and RFC 3339, epoch numbers, and formats of their own.

use chrono::format::{Item, ParseErrorKind, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDate, NaiveTime, Timelike};

use super::excerpt::quoted;
use super::number::Number;
use crate::plan::{TimeFormat, Zone};

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;
/// 0000-01-01T00:00:00Z in microseconds since 1970.
const MIN_US: i64 = -62_167_219_200_000_000;
/// 9999-12-31T23:59:59.999999Z.
const MAX_US: i64 = 253_402_300_799_999_999;

/// How times of one column are written, parsed once.
#[derive(Debug, Clone)]
pub(super) enum Format {
    /// RFC 3339, also with a space between day and time
    Iso,
    /// a number since 1970 UTC; the power of ten that makes it microseconds
    Epoch { scale: u8 },
    /// strftime directives; `None` where they do not parse
    Custom { text: String, items: Option<Vec<Item<'static>>> },
}

impl From<&TimeFormat> for Format {
    fn from(format: &TimeFormat) -> Self {
        match format {
            TimeFormat::Rfc3339 => Self::Iso,
            TimeFormat::EpochS => Self::Epoch { scale: 6 },
            TimeFormat::EpochMs => Self::Epoch { scale: 3 },
            TimeFormat::EpochUs => Self::Epoch { scale: 0 },
            TimeFormat::Custom(text) => {
                Self::Custom { text: text.clone(), items: StrftimeItems::new(text).parse_to_owned().ok() }
            }
        }
    }
}

/// Why a text is not the time that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Misread {
    /// it does not fit, and why
    Mismatch(String),
    /// the time is beyond the years 0 to 9999
    OutOfRange,
}

impl From<&str> for Misread {
    fn from(why: &str) -> Self {
        Self::Mismatch(why.to_owned())
    }
}

/// What a text says about a time. A text may leave parts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Written {
    /// days since 1970-01-01
    day: Option<i32>,
    /// microseconds since midnight; a leap second counts into the next minute
    clock: Option<i64>,
    /// seconds east of UTC
    offset: Option<i32>,
    /// the clock says `:60`
    leap: bool,
}

impl Format {
    /// A moment in microseconds since 1970 UTC. Fractions finer than a microsecond are cut off. What a custom format does not say is
    /// midnight, and UTC or `zone`; with a zone RFC 3339 may leave the offset out too. Of the instants that a local time can mean it is the
    /// earliest.
    pub(super) fn moment(&self, text: &str, is_number: bool, zone: Option<Zone>) -> Result<i64, Misread> {
        if let Self::Epoch { scale } = self {
            return epoch(text, *scale);
        }
        let mut written = self.written(text, is_number)?;
        if let Self::Custom { .. } = self {
            written.clock = written.clock.or(Some(0));
        }
        let (day, clock) = written.day_and_clock()?;
        if let (Some(zone), None) = (zone, written.offset) {
            let local = in_range(i64::from(day) * DAY_US + clock)?;
            let local = DateTime::from_timestamp_micros(local).ok_or(Misread::OutOfRange)?.naive_utc();
            return in_range(zone.earliest(local).timestamp_micros());
        }
        let utc = matches!(self, Self::Custom { .. }).then_some(0);
        let offset =
            written.offset.or(utc).ok_or("it has no offset from UTC; use the type `timestamp`, or a `format`")?;
        in_range(i64::from(day) * DAY_US + clock - i64::from(offset) * 1_000_000)
    }

    /// A local day and time, in microseconds since 1970-01-01T00:00:00 of the same clock. Epoch numbers give the clock of UTC.
    pub(super) fn local(&self, text: &str, is_number: bool) -> Result<i64, Misread> {
        if let Self::Epoch { scale } = self {
            return epoch(text, *scale);
        }
        let mut written = self.written(text, is_number)?;
        if let Self::Custom { .. } = self {
            written.clock = written.clock.or(Some(0));
        }
        let (day, clock) = written.day_and_clock()?;
        if written.offset.is_some() {
            return Err("it has an offset from UTC; use the type `timestamptz`".into());
        }
        written.no_leap_second()?;
        in_range(i64::from(day) * DAY_US + clock)
    }

    /// A day, in days since 1970-01-01. A day with a time is that day if the time is midnight. An epoch number is the beginning of a day in
    /// `zone`, or UTC.
    pub(super) fn day(&self, text: &str, is_number: bool, zone: Option<Zone>) -> Result<i32, Misread> {
        const NOT_MIDNIGHT: &str = "it has a time of day; use the type `timestamptz` or `timestamp`";
        if let Self::Epoch { scale } = self {
            let zone = zone.unwrap_or(Zone::UTC);
            let moment = DateTime::from_timestamp_micros(epoch(text, *scale)?).ok_or(Misread::OutOfRange)?;
            let day = zone.local(moment).date();
            if zone.midnight(day) != moment {
                return Err(NOT_MIDNIGHT.into());
            }
            return Ok(day.to_epoch_days());
        }
        let written = self.written(text, is_number)?;
        let day = written.day.ok_or("it has no day")?;
        if written.clock.is_some_and(|clock| clock != 0) {
            return Err(NOT_MIDNIGHT.into());
        }
        in_range(i64::from(day) * DAY_US)?;
        Ok(day)
    }

    /// A time of day, in microseconds since midnight.
    pub(super) fn clock(&self, text: &str, is_number: bool) -> Result<i64, Misread> {
        if let Self::Epoch { .. } = self {
            return Err("a time of day cannot have an epoch format".into());
        }
        let written = self.written(text, is_number)?;
        if written.day.is_some() {
            return Err("it has a day; use the type `timestamptz` or `timestamp`".into());
        }
        if written.offset.is_some() {
            return Err("it has an offset from UTC, which the type cannot keep".into());
        }
        written.no_leap_second()?;
        written.clock.ok_or_else(|| "it has no time of day".into())
    }

    fn written(&self, text: &str, is_number: bool) -> Result<Written, Misread> {
        match self {
            Self::Iso | Self::Epoch { .. } if is_number => {
                Err("a number needs `format: epoch_s`, `epoch_ms` or `epoch_us`".into())
            }
            Self::Iso | Self::Epoch { .. } => {
                iso(text).ok_or_else(|| "it is not written like `2024-05-31T18:30:00Z` (RFC 3339)".into())
            }
            Self::Custom { text: format, items } => custom(text, items.as_deref())
                .ok_or_else(|| Misread::Mismatch(format!("it is not written like the format `{}`", quoted(format)))),
        }
    }
}

impl Written {
    fn day_and_clock(&self) -> Result<(i32, i64), Misread> {
        match (self.day, self.clock) {
            (Some(day), Some(clock)) => Ok((day, clock)),
            (Some(_), None) => Err("it has no time of day; use the type `date`".into()),
            (None, _) => Err("it has no day; use the type `time`".into()),
        }
    }

    fn no_leap_second(&self) -> Result<(), Misread> {
        // only a moment can count it into the next minute without saying something else
        if self.leap { Err("it has a leap second, which the type cannot keep".into()) } else { Ok(()) }
    }
}

fn in_range(us: i64) -> Result<i64, Misread> {
    if (MIN_US..=MAX_US).contains(&us) { Ok(us) } else { Err(Misread::OutOfRange) }
}

fn epoch(text: &str, scale: u8) -> Result<i64, Misread> {
    let number = Number::parse(text).ok_or("it is not a number, as its epoch format says")?;
    let us = number.floor_scaled(scale).and_then(|us| i64::try_from(us).ok()).ok_or(Misread::OutOfRange)?;
    in_range(us)
}

/// Reads `2024-05-31`, `18:30[:00[.123]]` or both, with `T` or a space between, and perhaps an offset from UTC.
fn iso(text: &str) -> Option<Written> {
    let bytes = text.as_bytes();
    let Some((day, rest)) = bytes.split_at_checked(10).filter(|(day, _)| day[4] == b'-') else {
        return clock_and_offset(bytes, Written::default());
    };
    if day[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&day[..4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(&day[5..7])?, digits(&day[8..])?)?;
    let written = Written { day: Some(date.to_epoch_days()), ..Written::default() };
    match rest {
        [] => Some(written),
        [b'T' | b't' | b' ', clock @ ..] => clock_and_offset(clock, written),
        _ => None,
    }
}

fn clock_and_offset(bytes: &[u8], written: Written) -> Option<Written> {
    let [h1, h2, b':', m1, m2, rest @ ..] = bytes else { return None };
    let mut rest = rest;
    let (hour, minute) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
    let (mut second, mut micros) = (0, 0);
    if let [b':', s1, s2, tail @ ..] = rest {
        second = digits(&[*s1, *s2])?;
        rest = tail;
        if let [b'.', tail @ ..] = rest {
            let length = tail.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(tail.len());
            if length == 0 {
                return None;
            }
            micros = (0..6).fold(0, |sum, at| sum * 10 + if at < length { u32::from(tail[at] - b'0') } else { 0 });
            rest = &tail[length..];
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let clock = i64::from((hour * 60 + minute) * 60 + second) * 1_000_000 + i64::from(micros);
    let offset = if rest.is_empty() { None } else { Some(offset(rest)?) };
    Some(Written { clock: Some(clock), offset, leap: second == 60, ..written })
}

/// Seconds east of UTC from `Z`, `+02:00`, `+0200` or `+02`.
fn offset(bytes: &[u8]) -> Option<i32> {
    let (sign, digits_of) = match bytes {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match digits_of {
        [h1, h2] => (digits(&[*h1, *h2])?, 0),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * i32::try_from(hours * 3_600 + minutes * 60).ok()?)
}

fn custom(text: &str, items: Option<&[Item<'static>]>) -> Option<Written> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, items?.iter()).ok()?;
    if parsed.timestamp().is_some() {
        let at = parsed.to_naive_datetime_with_offset(0).ok()?;
        let clock = clock(at.time());
        return Some(Written {
            day: Some(at.date().to_epoch_days()),
            clock: Some(clock),
            offset: Some(0),
            leap: false,
        });
    }
    // a part that is not written is fine, a part that makes no sense (32 May, a Friday that was a Monday) is not
    let optional = |kind| kind == ParseErrorKind::NotEnough;
    let day = match parsed.to_naive_date() {
        Ok(date) => Some(date.to_epoch_days()),
        Err(error) if optional(error.kind()) => None,
        Err(_) => return None,
    };
    let time = match parsed.to_naive_time() {
        Ok(time) => Some(time),
        Err(error) if optional(error.kind()) => None,
        Err(_) => return None,
    };
    let leap = time.is_some_and(|time| time.nanosecond() >= 1_000_000_000);
    Some(Written { day, clock: time.map(clock), offset: parsed.offset(), leap })
}

fn clock(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}
