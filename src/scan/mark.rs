//! Watermarks: values of the incremental field, comparable and durable.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::plan::{IncrementalPlan, Zone};

/// A value of an incremental field. Marks of one sync are all of one variant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// a moment, to the microsecond
    Timestamp(DateTime<Utc>),
    /// a day
    Date(NaiveDate),
    /// a whole number
    Integer(i64),
    /// text in byte order
    Text(String),
}

impl Mark {
    /// The mark `lookback` earlier; numbers and text do not move.
    #[must_use]
    pub fn minus(&self, lookback: std::time::Duration) -> Self {
        let delta = TimeDelta::from_std(lookback).unwrap_or(TimeDelta::MAX);
        match self {
            Self::Timestamp(at) => Self::Timestamp(at.checked_sub_signed(delta).unwrap_or(DateTime::<Utc>::MIN_UTC)),
            Self::Date(day) => {
                // a part of a day re-reads the whole day
                let days =
                    delta.num_seconds().div_euclid(86_400) + i64::from(delta.num_seconds().rem_euclid(86_400) > 0);
                Self::Date(day.checked_sub_signed(TimeDelta::days(days)).unwrap_or(NaiveDate::MIN))
            }
            other => other.clone(),
        }
    }
}

impl Mark {
    /// From where a request asks, whose watermark this is: the lookback earlier, and at the beginning of a stretch that the clock of the API
    /// shows twice. What is written in such a stretch later can bear an earlier local time.
    #[must_use]
    pub fn asked_from(&self, incremental: &IncrementalPlan) -> Self {
        self.minus(incremental.lookback).before_doubled(incremental.clock())
    }

    /// The mark, or the beginning of the stretch around it that the clock of this zone shows twice.
    #[must_use]
    pub fn before_doubled(self, zone: Zone) -> Self {
        match self {
            Self::Timestamp(at) => Self::Timestamp(zone.before_doubled(at)),
            other => other,
        }
    }

    /// The mark, or `now` if it lies in the future: a record with a wrong date must not move a watermark past what is still to come. Today is
    /// what the clock of this zone says.
    #[must_use]
    pub fn not_after(self, now: DateTime<Utc>, zone: Zone) -> Self {
        match self {
            Self::Timestamp(at) => Self::Timestamp(at.min(now)),
            Self::Date(day) => Self::Date(day.min(zone.today(now))),
            other => other,
        }
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timestamp(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Date(day) => write!(f, "{day}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lookback_and_the_future() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
        let day = |text: &str| Mark::Date(text.parse().expect("a day"));
        let hour = Duration::from_secs(3_600);
        assert_eq!(
            Mark::Timestamp(at("2024-03-01T00:30:00Z")).minus(hour),
            Mark::Timestamp(at("2024-02-29T23:30:00Z"))
        );
        assert_eq!(day("2024-03-01").minus(hour), day("2024-02-29"));
        assert_eq!(day("2024-03-01").minus(Duration::ZERO), day("2024-03-01"));
        assert_eq!(Mark::Integer(5).minus(hour), Mark::Integer(5));
        let now = at("2026-01-01T00:00:00Z");
        assert_eq!(Mark::Timestamp(at("9999-12-31T00:00:00Z")).not_after(now, Zone::UTC), Mark::Timestamp(now));
        assert_eq!(day("2025-12-31").not_after(now, Zone::UTC), day("2025-12-31"));
        let zone = |name: &str| Zone::parse(name).expect("a zone");
        assert_eq!(day("2026-01-01").not_after(now, zone("America/New_York")), day("2025-12-31"), "there it is 19:00");
        assert_eq!(day("2026-01-01").not_after(at("2025-12-31T16:00:00Z"), zone("Asia/Tokyo")), day("2026-01-01"));
    }
}
