//! Watermarks: values of the incremental field, comparable and durable.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

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
                let days = delta.num_seconds().div_euclid(86_400) + i64::from(delta.num_seconds().rem_euclid(86_400) > 0);
                Self::Date(day.checked_sub_signed(TimeDelta::days(days)).unwrap_or(NaiveDate::MIN))
            }
            other => other.clone(),
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
