//! When a sync runs by itself next.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use xxhash_rust::xxh3::xxh3_64;

use crate::plan::{Schedule, SyncId, limits};

/// What is known of the runs of a sync, of whoever began them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// when the last one began
    pub began_at: Option<DateTime<Utc>>,
    /// when the last one ended; none if it was killed
    pub ended_at: Option<DateTime<Utc>>,
    /// runs in a row, up to the last, that failed for what may pass by itself
    pub failures: u32,
    /// the last one did not come to its end because its process was stopped, or was killed once
    pub stopped: bool,
    /// the API has nothing to give before this
    pub parked_until: Option<DateTime<Utc>>,
}

/// A number of a sync's own, which is the same in every process.
pub fn spread(id: &SyncId) -> u64 {
    xxh3_64(id.to_string().as_bytes())
}

/// When a sync is due that is scheduled since `since`; in the past if it is late, and then it runs once, however often it was missed. None
/// if it does not run by itself.
///
/// `spread` is a number of the sync's own: those of one interval are spread over it, however many begin together.
pub fn due(schedule: &Schedule, runs: &Runs, spread: u64, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let regular = match (schedule, runs.began_at) {
        (Schedule::Manual, _) => return None,
        (Schedule::Every(_), None) => since,
        (Schedule::Every(every), Some(began)) => next_of(*every, began, spread),
        // the calendar ends before what a wrong clock can say
        (Schedule::Cron(calendar), began) => calendar.after(began.unwrap_or(since)).unwrap_or(DateTime::<Utc>::MAX_UTC),
    };
    let due = match (runs.stopped, runs.failures) {
        (true, _) => regular.min(since),
        (false, 0) => regular,
        (false, _) => regular.min(retry(runs, spread)),
    };
    Some(runs.parked_until.map_or(due, |until| due.max(until)))
}

/// The moment of a sync's own on the grid of its interval: at least half an interval after the run before, so that one that was late is not
/// followed by another at once.
fn next_of(every: Duration, began: DateTime<Utc>, spread: u64) -> DateTime<Utc> {
    let every = millis(every).max(1);
    let own = i64::try_from(spread % every.unsigned_abs()).unwrap_or(0);
    let earliest = began.timestamp_millis().saturating_add(every / 2);
    let steps = (earliest - own).div_euclid(every) + i64::from((earliest - own).rem_euclid(every) > 0);
    DateTime::from_timestamp_millis(steps.saturating_mul(every).saturating_add(own)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// After failures: a minute after the end, then two, four, …; spread by up to a quarter.
fn retry(runs: &Runs, spread: u64) -> DateTime<Utc> {
    let doubled = 2_i64.saturating_pow(runs.failures.saturating_sub(1).min(20));
    let wait = millis(limits::RUN_RETRY_WAIT).saturating_mul(doubled).min(millis(limits::RUN_RETRY_WAIT_MAX));
    let more = i64::try_from(spread % 256).unwrap_or(0) * wait / 1024;
    let ended = runs.ended_at.or(runs.began_at).unwrap_or(DateTime::<Utc>::MAX_UTC);
    ended.checked_add_signed(TimeDelta::milliseconds(wait + more)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "due_tests.rs"]
mod tests;
