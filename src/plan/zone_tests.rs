use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> Zone {
    Zone::parse(name).expect("a zone")
}

fn local(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("a local time")
}

fn utc(text: &str) -> DateTime<Utc> {
    local(text).and_utc()
}

#[test]
fn a_local_time_means_the_earlier_instant() {
    let berlin = zone("Europe/Berlin");
    assert_eq!(berlin.earliest(local("2026-07-01 12:00")), utc("2026-07-01 10:00"));
    // 02:00 to 03:00 comes twice
    assert_eq!(berlin.earliest(local("2026-10-25 02:30")), utc("2026-10-25 00:30"));
    assert_eq!(berlin.first(local("2026-10-25 02:30")), utc("2026-10-25 00:30"));
    assert_eq!(berlin.earliest(local("2026-10-25 03:00")), utc("2026-10-25 02:00"));
    // 02:00 to 03:00 does not come
    assert_eq!(berlin.earliest(local("2026-03-29 02:30")), utc("2026-03-29 00:30"), "shown as 01:30: not after it");
    assert_eq!(berlin.first(local("2026-03-29 02:30")), utc("2026-03-29 01:00"), "the end of the gap");
    assert_eq!(Zone::UTC.earliest(local("2026-03-29 02:30")), utc("2026-03-29 02:30"));
}

#[test]
fn days_begin_when_the_clock_first_shows_them() {
    let day = |text: &str| NaiveDate::parse_from_str(text, "%F").expect("a day");
    let begins = |name: &str, text: &str| zone(name).midnight(day(text));
    assert_eq!(begins("America/Sao_Paulo", "2018-11-04"), utc("2018-11-04 03:00"), "at 01:00: midnight is skipped");
    assert_eq!(begins("America/Havana", "2025-11-02"), utc("2025-11-02 04:00"), "the first of two midnights");
    assert_eq!(begins("Asia/Kathmandu", "2026-01-01"), utc("2025-12-31 18:15"));
    // Samoa went over the date line: there was no 30 December
    assert_eq!(begins("Pacific/Apia", "2011-12-30"), utc("2011-12-30 10:00"));
    assert_eq!(begins("Pacific/Apia", "2011-12-31"), utc("2011-12-30 10:00"));
    // the clock was put back at 00:01, so that the day before came once more
    let newfoundland = zone("America/St_Johns");
    assert_eq!(newfoundland.today(utc("2010-11-07 02:30") + TimeDelta::seconds(30)), day("2010-11-06"));
    assert_eq!(newfoundland.today(utc("2010-11-07 03:31")), day("2010-11-07"));
}

#[test]
fn a_doubled_stretch_has_a_beginning_and_an_end() {
    for (name, inside, begin, end) in [
        ("Europe/Berlin", "2026-10-25 00:01", "2026-10-25 00:00", "2026-10-25 02:00"),
        ("Europe/Berlin", "2026-10-25 01:00", "2026-10-25 00:00", "2026-10-25 02:00"),
        ("Europe/Berlin", "2026-10-25 01:59", "2026-10-25 00:00", "2026-10-25 02:00"),
        ("Europe/Dublin", "2026-10-25 00:30", "2026-10-25 00:00", "2026-10-25 02:00"),
        ("Australia/Lord_Howe", "2026-04-04 14:45", "2026-04-04 14:30", "2026-04-04 15:30"),
        ("America/Sao_Paulo", "2018-02-18 02:30", "2018-02-18 01:00", "2018-02-18 03:00"),
    ] {
        let zone = zone(name);
        assert_eq!(zone.before_doubled(utc(inside)), utc(begin), "{name}");
        assert_eq!(zone.after_doubled(utc(inside)), utc(end), "{name}");
        let before = utc(begin) - TimeDelta::microseconds(1);
        assert_eq!((zone.before_doubled(before), zone.before_doubled(utc(end))), (before, utc(end)), "{name}");
    }
}

#[test]
fn the_last_instant_of_a_local_time_is_before_an_end() {
    let berlin = zone("Europe/Berlin");
    let at = local("2026-10-25 02:14");
    assert_eq!(berlin.last_before(utc("2026-10-25 02:00"), at), utc("2026-10-25 01:14"));
    assert_eq!(berlin.last_before(utc("2026-10-25 00:15"), at), utc("2026-10-25 00:14"));
}

/// Zones whose clocks do what clocks can do.
pub(crate) fn zones() -> impl Strategy<Value = Zone> {
    prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "Europe/Dublin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/Havana",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Antarctica/Troll",
    ])
    .prop_map(zone)
}

proptest! {
    /// What is read of a local time is never later than when it was written, is told back as the same time or an earlier one, and is in the
    /// order of the local times, but for those that do not exist.
    #[test]
    fn reading_a_local_time_is_never_too_late(zone in zones(), minutes in 17_500_000_i64..35_000_000, later in 0_i64..3_000) {
        let at = DateTime::from_timestamp(minutes * 60, 0).expect("in range");
        let shown = zone.local(at);
        let read = zone.earliest(shown);
        prop_assert!(read <= at);
        prop_assert_eq!(zone.local(read), shown);
        prop_assert_eq!(zone.first(shown), read);
        let begin = zone.before_doubled(at);
        prop_assert!(begin <= read && read <= at && at <= zone.after_doubled(at));
        // no later time is shown as one before it
        let later = at + TimeDelta::minutes(later);
        prop_assert!(zone.local(later) >= zone.local(begin));
        prop_assert!(zone.before_doubled(later) >= begin && zone.after_doubled(later) >= zone.after_doubled(at));
        prop_assert!(zone.first(zone.local(later)) >= begin);
        // a time that may be skipped
        let odd = at.naive_utc();
        prop_assert!(zone.earliest(odd) <= zone.first(odd));
        prop_assert!(zone.local(zone.earliest(odd)) <= odd && odd <= zone.local(zone.first(odd)));
    }
}
