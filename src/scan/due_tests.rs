use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::plan::Calendar;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn cron(text: &str, zone: &str) -> Schedule {
    Schedule::Cron(Calendar::of(text, zone).expect("a calendar").into())
}

fn began(text: &str) -> Runs {
    Runs { began_at: Some(at(text)), ended_at: Some(at(text)), ..Runs::default() }
}

const SINCE: &str = "2026-01-01T00:00:00Z";

#[test]
fn what_has_no_schedule_is_never_due() {
    assert_eq!(due(&Schedule::Manual, &Runs { failures: 3, ..began(SINCE) }, 7, at(SINCE)), None);
}

#[test]
fn what_never_ran_is_due_at_once_but_by_the_calendar_when_that_says() {
    let every = Schedule::Every(Duration::from_secs(900));
    assert_eq!(due(&every, &Runs::default(), 7, at(SINCE)), Some(at(SINCE)));
    let due = due(&cron("0 6 * * 1-5", "UTC"), &Runs::default(), 7, at(SINCE));
    assert_eq!(due, Some(at("2026-01-01T06:00:00Z")));
}

#[test]
fn the_calendar_is_that_of_its_zone_and_each_day_has_its_moment_once() {
    // Berlin: 02:00 to 03:00 is skipped on 2026-03-29, and comes twice on 2026-10-25
    let half_past_two = cron("30 2 * * *", "Europe/Berlin");
    let days = |first: &str, number: usize| {
        let mut at = at(first);
        let next = |_| {
            at = due(&half_past_two, &Runs { began_at: Some(at), ..Runs::default() }, 0, at).expect("a moment");
            at.format("%m-%dT%H:%M").to_string()
        };
        (0..number).map(next).collect::<Vec<_>>()
    };
    assert_eq!(days("2026-03-27T12:00:00Z", 3), ["03-28T01:30", "03-29T01:00", "03-30T00:30"]);
    assert_eq!(days("2026-10-23T12:00:00Z", 3), ["10-24T00:30", "10-25T00:30", "10-26T01:30"]);
}

#[test]
fn missed_moments_are_one_run() {
    let hourly = cron("0 * * * *", "UTC");
    let late = due(&hourly, &began("2026-01-01T03:00:10Z"), 0, at(SINCE)).expect("due");
    assert_eq!(late, at("2026-01-01T04:00:00Z"));
    // it runs at noon, having been off since three: the next is at one
    assert_eq!(due(&hourly, &began("2026-01-01T12:00:00Z"), 0, at(SINCE)), Some(at("2026-01-01T13:00:00Z")));
}

#[test]
fn failures_are_tried_again_after_ever_longer_waits_and_never_later_than_the_schedule_says() {
    let daily = Schedule::Every(Duration::from_secs(86_400));
    let wait = |failures| {
        let runs = Runs { failures, ..began("2026-01-01T00:00:00Z") };
        (due(&daily, &runs, 0, at(SINCE)).expect("due") - at(SINCE)).num_seconds()
    };
    assert_eq!([1, 2, 3, 6, 7, 8, 4_000_000_000].map(wait), [60, 120, 240, 1920, 3600, 3600, 3600]);
    let soon = Schedule::Every(Duration::from_secs(10));
    let runs = Runs { failures: 9, ..began(SINCE) };
    assert!(due(&soon, &runs, 0, at(SINCE)).expect("due") <= at("2026-01-01T00:00:15Z"));
}

#[test]
fn what_was_stopped_goes_on_at_once() {
    let runs = Runs { stopped: true, ..began("2025-12-31T12:00:00Z") };
    assert_eq!(due(&cron("0 6 1 * *", "UTC"), &runs, 0, at(SINCE)), Some(at(SINCE)));
}

#[test]
fn a_budget_of_the_api_is_waited_for() {
    let until = at("2026-01-01T05:00:00Z");
    let runs = Runs { parked_until: Some(until), failures: 1, ..began(SINCE) };
    assert_eq!(due(&Schedule::Every(Duration::from_secs(60)), &runs, 0, at(SINCE)), Some(until));
}

proptest! {
    #[test]
    fn an_interval_is_kept_on_average_and_each_sync_has_its_own_place_in_it(
        seconds in 1_i64..=315_576_000, began in 0_i64..4_000_000_000_000, spread: u64,
    ) {
        let schedule = Schedule::Every(Duration::from_secs(seconds.unsigned_abs()));
        let every = seconds * 1000;
        let next = |began: DateTime<Utc>| {
            due(&schedule, &Runs { began_at: Some(began), ..Runs::default() }, spread, began).expect("due")
        };
        let began = DateTime::from_timestamp_millis(began).expect("a time");
        let first = next(began);
        prop_assert!(first - began >= TimeDelta::milliseconds(every / 2));
        prop_assert!(first - began <= TimeDelta::milliseconds(every / 2 + every));
        prop_assert_eq!(first.timestamp_millis().rem_euclid(every).unsigned_abs(), spread % every.unsigned_abs());
        prop_assert_eq!(next(first) - first, TimeDelta::milliseconds(every));
    }

    #[test]
    fn no_runs_are_too_odd(
        seconds in 1_u64..=315_576_000, failures: u32, spread: u64,
        // any time that there is, the first and the last among them
        began in proptest::option::of(prop_oneof![
            (DateTime::<Utc>::MIN_UTC.timestamp_millis()..=DateTime::<Utc>::MAX_UTC.timestamp_millis()),
            Just(DateTime::<Utc>::MIN_UTC.timestamp_millis()),
            Just(DateTime::<Utc>::MAX_UTC.timestamp_millis()),
        ]),
    ) {
        let began_at = began.and_then(DateTime::from_timestamp_millis);
        let runs = Runs { began_at, ended_at: began_at, failures, ..Runs::default() };
        for schedule in [Schedule::Every(Duration::from_secs(seconds)), cron("0 6 29 2 *", "America/New_York"), cron("0 6 * * *", "Asia/Tokyo")] {
            prop_assert!(due(&schedule, &runs, spread, at(SINCE)).is_some());
        }
    }
}
