//! Time zones: what a clock on the wall shows, and which instant it means.
//!
//! A clock that is put forward skips times (a *gap*), one that is put back shows some twice (a *doubled* stretch). Of the instants that a
//! local time can mean the earlier one counts wherever a value is read: a watermark that is too early reads again, one that is too late loses.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// Where nothing is said.
    pub const UTC: Self = Self(Tz::UTC);

    /// The zone of this IANA name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// Its IANA name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What its clock shows.
    pub fn local(self, at: DateTime<Utc>) -> NaiveDateTime {
        let naive = at.naive_utc();
        naive.checked_add_offset(self.0.offset_from_utc_datetime(&naive).fix()).unwrap_or(naive)
    }

    /// With its clock, to be printed.
    pub(super) fn shown(self, at: DateTime<Utc>) -> DateTime<Tz> {
        at.with_timezone(&self.0)
    }

    /// The earliest instant that a local time can mean. One of a doubled stretch is the first of its two; one that the clock skips has the
    /// offset of after the gap, so that it is earlier than with the one of before, and earlier than the gap.
    pub fn earliest(self, local: NaiveDateTime) -> DateTime<Utc> {
        match self.0.from_local_datetime(&local).earliest() {
            Some(at) => at.to_utc(),
            None => match self.after_gap(local) {
                Some(end) => {
                    let offset = self.0.offset_from_utc_datetime(&end.naive_utc()).fix();
                    local.checked_sub_offset(offset).unwrap_or(local).and_utc()
                }
                None => local.and_utc(),
            },
        }
    }

    /// The first instant at which the clock shows this or more: one that it skips is the end of the gap.
    pub fn first(self, local: NaiveDateTime) -> DateTime<Utc> {
        let exact = self.0.from_local_datetime(&local).earliest().map(|at| at.to_utc());
        exact.or_else(|| self.after_gap(local)).unwrap_or_else(|| local.and_utc())
    }

    /// The last instant before `end` at which the clock shows this.
    pub fn last_before(self, end: DateTime<Utc>, local: NaiveDateTime) -> DateTime<Utc> {
        let last = self.0.from_local_datetime(&local).latest().map(|at| at.to_utc());
        last.filter(|last| *last < end).unwrap_or_else(|| self.first(local))
    }

    /// The first instant of a day.
    pub fn midnight(self, day: NaiveDate) -> DateTime<Utc> {
        self.first(day.and_time(NaiveTime::MIN))
    }

    /// The instant, or the beginning of the doubled stretch that it lies in: later times can still be shown as any of that stretch.
    pub fn before_doubled(self, at: DateTime<Utc>) -> DateTime<Utc> {
        self.doubled(at).map_or(at, |(begin, _)| begin)
    }

    /// The instant, or the end of the doubled stretch that it lies in.
    pub fn after_doubled(self, at: DateTime<Utc>) -> DateTime<Utc> {
        self.doubled(at).map_or(at, |(_, end)| end)
    }

    /// The day that the clock shows, or the earlier one that it shows again because it is put back over midnight.
    pub fn today(self, now: DateTime<Utc>) -> NaiveDate {
        self.local(self.before_doubled(now)).date()
    }

    /// The stretch around `at` whose local times are all shown twice, both times of each in it.
    fn doubled(self, at: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let chrono::LocalResult::Ambiguous(first, second) = self.0.from_local_datetime(&self.local(at)) else {
            return None;
        };
        let length = second.to_utc() - first.to_utc();
        let offset = |second: i64| {
            let at = DateTime::from_timestamp(second, 0).unwrap_or_default();
            self.0.offset_from_utc_datetime(&at.naive_utc()).fix()
        };
        // the clock is put back on a whole second between the two
        let (mut before, mut after) = (first.timestamp(), second.timestamp());
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if offset(middle) == first.offset().fix() { before = middle } else { after = middle }
        }
        let put_back = DateTime::from_timestamp(after, 0)?;
        Some((put_back - length, put_back + length))
    }

    fn after_gap(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        GapInfo::new(&local, &self.0)?.end.map(|end| end.to_utc())
    }
}

#[cfg(test)]
#[path = "zone_tests.rs"]
pub(super) mod tests;
