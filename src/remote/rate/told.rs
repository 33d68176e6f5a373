//! What the headers of an answer say about the budget. Pure: the time is an argument.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::plan::{RateHeaders, ResetKind, limits};

/// What one answer says. What is missing or unreadable is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// requests that are left
    pub remaining: Option<u64>,
    /// requests of the whole stretch
    pub limit: Option<u64>,
    /// from now until the stretch ends, at most [`limits::DURATION_MAX`]; zero where it has ended
    pub reset: Option<Duration>,
    /// the server said it as a time from now, which is as late as its answer
    pub relative: bool,
}

/// Reads the headers of an answer, by a look-up of lowercase names. The server's times are read against its `Date` (RFC 9110, 6.6.1), where
/// there is one. Of a list (`100, 100;w=60`) the first item counts. A number below zero says nothing: some mean "no limit" by it.
pub(super) fn told<'a>(headers: &RateHeaders, header: impl Fn(&str) -> Option<&'a str>, now: DateTime<Utc>) -> Told {
    let number = |name: &Option<String>| {
        let text = header(name.as_deref()?)?;
        decimal(first(text), 1).and_then(|number| u64::try_from(number).ok())
    };
    let server_now = header("date").and_then(http_date).unwrap_or(now);
    let (reset, relative) = match &headers.reset {
        None => (None, false),
        Some((name, kind)) => {
            let relative = matches!(kind, ResetKind::Seconds | ResetKind::Milliseconds);
            (header(name).and_then(|text| until_reset(text.trim(), *kind, server_now)), relative)
        }
    };
    Told { remaining: number(&headers.remaining), limit: number(&headers.limit), reset, relative }
}

fn until_reset(text: &str, kind: ResetKind, now: DateTime<Utc>) -> Option<Duration> {
    let (second, millisecond) = (1_000_000_000, 1_000_000);
    let since_1970 = |unit| decimal(first(text), unit).map(|at| at.saturating_sub(nanos(now)));
    let wait = match kind {
        ResetKind::Seconds => decimal(first(text), second),
        ResetKind::Milliseconds => decimal(first(text), millisecond),
        ResetKind::EpochS => since_1970(second),
        ResetKind::EpochMs => since_1970(millisecond),
        ResetKind::Rfc3339 => {
            DateTime::parse_from_rfc3339(text).ok().map(|at| nanos(at.to_utc()).saturating_sub(nanos(now)))
        }
        ResetKind::HttpDate => http_date(text).map(|at| nanos(at).saturating_sub(nanos(now))),
    };
    let wait = wait?.min(limits::DURATION_MAX.as_nanos());
    Some(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
}

/// Nanoseconds since 1970; 0 before.
fn nanos(at: DateTime<Utc>) -> u128 {
    let seconds = u128::try_from(at.timestamp()).unwrap_or(0);
    seconds * 1_000_000_000 + u128::from(at.timestamp_subsec_nanos())
}

/// The first item of a list, without its parameters.
fn first(text: &str) -> &str {
    text.split([',', ';']).next().unwrap_or_default().trim()
}

/// A decimal number of units, each so many of the least, rounded down. One that is too large to tell is the largest.
fn decimal(text: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().unwrap_or(u64::MAX));
    let nine_digits: u128 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(whole.saturating_mul(unit).saturating_add(nine_digits * unit / 1_000_000_000))
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text.trim()).ok().map(DateTime::<Utc>::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 10 June 2024, 06:13:20 UTC
    const NOW: i64 = 1_718_000_000;

    fn read(kind: ResetKind, pairs: &[(&str, &str)]) -> Told {
        let headers = RateHeaders {
            remaining: Some("left".to_owned()),
            limit: Some("limit".to_owned()),
            reset: Some(("reset".to_owned(), kind)),
        };
        let now = DateTime::from_timestamp(NOW, 0).expect("a time");
        told(&headers, |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value), now)
    }

    #[test]
    fn each_kind_of_reset_is_read() {
        let day = 86_400_000;
        let table: &[(ResetKind, &str, Option<u64>)] = &[
            (ResetKind::EpochS, "1718000030", Some(30_000)),
            (ResetKind::EpochS, "1718000030.5", Some(30_500)),
            (ResetKind::EpochS, "1717999999", Some(0)),
            (ResetKind::EpochS, "30", Some(0)),
            (ResetKind::EpochMs, "1718000030250", Some(30_250)),
            (ResetKind::Seconds, "30", Some(30_000)),
            (ResetKind::Seconds, "1.5", Some(1_500)),
            (ResetKind::Seconds, "12.0", Some(12_000)),
            (ResetKind::Seconds, "0", Some(0)),
            (ResetKind::Seconds, " 30 ", Some(30_000)),
            (ResetKind::Seconds, "30, 3600;w=3600", Some(30_000)),
            (ResetKind::Seconds, "-5", None),
            (ResetKind::Seconds, "", None),
            (ResetKind::Seconds, "soon", None),
            (ResetKind::Seconds, "1e3", None),
            (ResetKind::Seconds, ".5", None),
            (ResetKind::Milliseconds, "30000", Some(30_000)),
            (ResetKind::Milliseconds, "250", Some(250)),
            (ResetKind::Rfc3339, "2024-06-10T06:13:50Z", Some(30_000)),
            (ResetKind::Rfc3339, "2024-06-10T08:13:50+02:00", Some(30_000)),
            (ResetKind::Rfc3339, "2024-06-11T06:13:20Z", Some(day)),
            (ResetKind::Rfc3339, "2024-06-10", None),
            (ResetKind::HttpDate, "Mon, 10 Jun 2024 06:13:50 GMT", Some(30_000)),
            (ResetKind::HttpDate, "Mon, 10 Jun 2024 06:00:00 GMT", Some(0)),
            (ResetKind::HttpDate, "1718000030", None),
        ];
        for (kind, text, millis) in table {
            let told = read(*kind, &[("reset", text)]);
            assert_eq!(told.reset, millis.map(Duration::from_millis), "{kind:?} {text:?}");
        }
    }

    #[test]
    fn a_number_may_be_a_list_or_a_fraction_and_nothing_else() {
        let table = [
            ("100", Some(100)),
            ("100, 100;w=60", Some(100)),
            ("100;w=60", Some(100)),
            ("12.9", Some(12)),
            ("0", Some(0)),
            ("-1", None),
            ("unlimited", None),
            ("", None),
            ("99999999999999999999999999", Some(u64::MAX)),
        ];
        for (text, number) in table {
            let told = read(ResetKind::Seconds, &[("left", text), ("limit", text)]);
            assert_eq!((told.remaining, told.limit, told.reset), (number, number, None), "{text:?}");
        }
    }

    #[test]
    fn a_time_is_read_against_the_clock_of_the_server() {
        // it is an hour behind
        let date = ("date", "Mon, 10 Jun 2024 05:13:20 GMT");
        for (kind, text) in [
            (ResetKind::EpochS, "1717996430"),
            (ResetKind::EpochMs, "1717996430000"),
            (ResetKind::Rfc3339, "2024-06-10T05:13:50Z"),
            (ResetKind::HttpDate, "Mon, 10 Jun 2024 05:13:50 GMT"),
            (ResetKind::Seconds, "30"),
        ] {
            assert_eq!(read(kind, &[date, ("reset", text)]).reset, Some(Duration::from_secs(30)), "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_server_says_is_more_than_ten_years_or_a_panic(text in "\\PC{0,40}|[0-9.,;-]{0,60}|[0-9]{1,60}") {
            for kind in [
                ResetKind::EpochS, ResetKind::EpochMs, ResetKind::Seconds, ResetKind::Milliseconds, ResetKind::Rfc3339, ResetKind::HttpDate,
            ] {
                let told = read(kind, &[("left", &text), ("limit", &text), ("reset", &text), ("date", &text)]);
                prop_assert!(told.reset.is_none_or(|reset| reset <= limits::DURATION_MAX));
            }
        }
    }
}
