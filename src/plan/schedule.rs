//! When a sync runs by itself.

use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use serde_json::{Value, json};

use super::place::{Place, Sink};
use super::{Schedule, Zone, words};
use crate::spec::{CronSpec, ScheduleSpec};

/// Moments by the calendar: a cron pattern in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    text: String,
    pattern: croner::Cron,
    zone: Zone,
}

impl Calendar {
    /// The calendar of a pattern of five fields and the IANA name of a zone, if both are.
    #[cfg(test)]
    pub fn of(text: &str, zone: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), pattern: parser().parse(text).ok()?, zone: Zone::parse(zone)? })
    }

    /// The first of its moments after `at` and after 1970; none from the year 5000 on. What the clock of the zone skips comes when the gap
    /// ends; of what it shows twice the first counts, but for patterns that name every hour.
    pub fn after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // the first and the last days that there are have no local time in some zones, and croner would panic
        if at.year() >= croner::YEAR_UPPER_LIMIT {
            return None;
        }
        let at = self.zone.shown(at.max(DateTime::UNIX_EPOCH));
        self.pattern.find_next_occurrence(&at, false).ok().map(|next| next.to_utc())
    }
}

impl std::fmt::Display for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.zone.name())
    }
}

impl Schedule {
    /// As it is written in YAML, as JSON.
    pub fn words(&self) -> Value {
        match self {
            Self::Manual => json!("manual"),
            Self::Every(every) => json!(format!("every {}", humantime::format_duration(*every))),
            Self::Cron(calendar) => json!({ "cron": calendar.text, "timezone": calendar.zone.name() }),
        }
    }
}

/// The least time between two runs.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Compiles a schedule; `None` where a mistake was found.
pub(super) fn schedule(sink: &mut Sink, place: &Place<'_>, spec: Option<&ScheduleSpec>) -> Option<Schedule> {
    match spec {
        None => Some(Schedule::Manual),
        Some(ScheduleSpec::Text(text)) => every(sink, place, text),
        Some(ScheduleSpec::Cron(CronSpec { cron, timezone })) => {
            let pattern = pattern(sink, &place.key("cron"), cron);
            let timezone = match timezone {
                None => Some(Zone::UTC),
                Some(text) => words::timezone(sink, &place.key("timezone"), text).and_then(|name| Zone::parse(&name)),
            };
            let (pattern, zone) = (pattern?, timezone?);
            Some(Schedule::Cron(Box::new(Calendar { text: cron.trim().to_owned(), pattern, zone })))
        }
    }
}

/// How people say how often, in other tools.
const ADVERBS: [(&str, &str); 4] = [("hourly", "hour"), ("daily", "day"), ("weekly", "week"), ("monthly", "month")];

fn every(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Schedule> {
    let text = text.trim();
    if text == "manual" {
        return Some(Schedule::Manual);
    }
    let length = text.strip_prefix("every ").map(str::trim);
    // `every hour` is what people say
    let length = length.map(|length| {
        if length.starts_with(|c: char| c.is_ascii_digit()) { length.to_owned() } else { format!("1{length}") }
    });
    match length.as_deref().map(humantime::parse_duration) {
        Some(Ok(every)) if every >= EVERY_MIN && every <= super::limits::DURATION_MAX => Some(Schedule::Every(every)),
        parsed => {
            let is_pattern = text.split_whitespace().count() == 5 && text.starts_with(|c: char| !c.is_alphabetic());
            let adverb = ADVERBS.iter().find(|(adverb, _)| text.trim_start_matches('@') == *adverb);
            let hint = match adverb {
                Some((_, length)) => format!("write `every {length}`"),
                None if is_pattern => format!("a cron pattern stands in a map: `schedule: {{ cron: \"{text}\" }}`"),
                None if matches!(parsed, Some(Ok(_))) => {
                    "one second is the least, and ten years are the most".to_owned()
                }
                None if humantime::parse_duration(text).is_ok() => format!("write `every {text}`"),
                None => {
                    "write `every 15m`, `manual`, or `{ cron: \"0 6 * * 1-5\", timezone: Europe/Berlin }`".to_owned()
                }
            };
            sink.error("E105", place, format!("`{}` is not a schedule", words::shorten(text)), Some(hint));
            None
        }
    }
}

fn parser() -> croner::parser::CronParser {
    croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Disallowed)
        .year(croner::parser::Year::Disallowed)
        .build()
}

fn pattern(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<croner::Cron> {
    match parser().parse(text) {
        Ok(pattern) if pattern.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, false).is_ok() => Some(pattern),
        Ok(_) => {
            let message = format!("no day is one of `{}`", words::shorten(text));
            let hint = "the third field is the day of the month, the fourth the month: there is no 30th of February";
            sink.error("E105", place, message, Some(hint.to_owned()));
            None
        }
        Err(error) => {
            let reason = error.to_string().trim_end_matches('.').to_lowercase();
            let reason = reason.rsplit(": ").next().unwrap_or_default();
            let (reason, hint) = match text.split_whitespace().count() {
                5 => (reason.to_owned(), "minute, hour, day of the month, month, day of the week: `0 6 * * 1-5`"),
                many => (
                    format!("it has {many} fields"),
                    "a pattern has five fields: `0 6 * * 1-5` is 6:00 from Monday to Friday",
                ),
            };
            let (message, hint) =
                (format!("`{}` is not a cron pattern: {reason}", words::shorten(text)), hint.to_owned());
            sink.error("E105", place, message, Some(hint));
            None
        }
    }
}
