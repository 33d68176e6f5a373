//! The range from the watermark to now, cut into half-open windows, each fetched to its end and then remembered.
//!
//! ```text
//!            covered                gap: failed     covered        open        gap: not begun
//! start ├──────────────────────────┼───────────┼──────────────┼───────────┼──────────────────────┤ until
//!                                  ▲ the watermark
//! ```

use chrono::{DateTime, Datelike, Months, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Mark, ScanState};
use crate::plan::{IncrementalPlan, MarkKind, Span, WindowPlan, Zone, limits};

/// How far the windows of a sync are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// everything before is covered, or in a gap or an open window
    pub until: Option<Mark>,
    /// what is still to be read, in order
    pub gaps: Vec<Range>,
    /// windows that are begun
    pub open: Vec<OpenWindow>,
    /// names the pass over all gaps, for the keys it has seen
    pub pass: u64,
}

/// A stretch, half open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// the first mark
    pub from: Mark,
    /// the first mark behind it
    pub to: Mark,
}

/// A window that is begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenWindow {
    /// its stretch
    pub range: Range,
    /// its scan
    pub scan: ScanState,
}

impl Windows {
    /// Whether no window was ever planned.
    pub fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Whether everything that was planned is covered.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty() && self.open.is_empty()
    }

    /// Everything before this is covered.
    pub fn covered(&self) -> Option<Mark> {
        let left = self.gaps.iter().chain(self.open.iter().map(|window| &window.range)).map(|range| &range.from);
        left.chain(&self.until).min().cloned()
    }

    /// Plans what has come since: from the end of what was planned, or from `start`, less the lookback, up to now less the lag.
    ///
    /// The moment that is under way (the day, for days) is read too, and is not covered by that; neither is what could still be written by
    /// a clock that is behind. While the API's clock shows times that it shows twice, all of them are read, and none is covered: what is
    /// written later can bear an earlier one.
    pub fn extend(&mut self, plan: &IncrementalPlan, window: &WindowPlan, start: &Mark, now: DateTime<Utc>, pass: u64) {
        if self.is_complete() {
            self.pass = pass;
        }
        let clock = Clock::new(plan, window);
        let lag = delta(window.lag);
        let before = |back: TimeDelta| now.checked_sub_signed(back);
        let (Some(whole), Some(sure)) = (before(lag), before(lag.max(limits::CLOCK_SKEW_MAX))) else { return };
        // the last moment that is read
        let whole = match clock.zone.after_doubled(whole) {
            end if end > whole => clock.zone.local(end) - TimeDelta::microseconds(1),
            _ => clock.zone.local(whole),
        };
        let sure = clock.floor(clock.zone.local(clock.zone.before_doubled(sure)));
        let from = match &self.until {
            Some(until) => until.asked_from(plan).max(start.clone().min(until.clone())).before_doubled(clock.zone),
            None => clock.mark(clock.floor(clock.local(start))),
        };
        // the unit under way is read too, unless that would be nearer to now than `lag` says
        let ahead =
            if lag >= clock.unit && clock.unit > TimeDelta::seconds(1) { TimeDelta::zero() } else { clock.unit };
        let to = clock.mark(clock.floor(whole) + ahead);
        let until = clock.mark(sure);
        if from < to {
            self.add(Range { from: from.clone(), to });
        }
        self.until = self.until.take().max(Some(until.max(from)));
    }

    /// Takes the next window out of the gaps, where it stays open until it is closed.
    pub fn next(
        &mut self,
        plan: &IncrementalPlan,
        window: &WindowPlan,
        id: u64,
        now: DateTime<Utc>,
    ) -> Option<OpenWindow> {
        let gap = self.gaps.first()?;
        let clock = Clock::new(plan, window);
        let end = boundary(window.size, clock.local(&gap.from)).map(|end| clock.mark(clock.floor(end)));
        let end = end.filter(|end| *end > gap.from).map_or(gap.to.clone(), |end| end.min(gap.to.clone()));
        let range = Range { from: gap.from.clone(), to: end };
        let next = OpenWindow { range, scan: ScanState::begin(id, now, None) };
        self.open(next.clone());
        Some(next)
    }

    /// Begins a window: its stretch is no gap any more.
    pub fn open(&mut self, window: OpenWindow) {
        if self.open.iter().any(|open| open.scan.id == window.scan.id) {
            return;
        }
        let OpenWindow { range, .. } = &window;
        self.gaps = self
            .gaps
            .drain(..)
            .flat_map(|gap| {
                let before = Range { from: gap.from.clone(), to: gap.to.clone().min(range.from.clone()) };
                let after = Range { from: gap.from.max(range.to.clone()), to: gap.to };
                [before, after]
            })
            .filter(|gap| gap.from < gap.to)
            .collect();
        self.open.push(window);
    }

    /// The window is read to its end; gives when its scan began.
    pub fn close(&mut self, id: u64) -> Option<DateTime<Utc>> {
        let at = self.open.iter().position(|window| window.scan.id == id)?;
        Some(self.open.remove(at).scan.started_at)
    }

    /// The window is given up: its stretch is a gap again.
    pub fn give_up(&mut self, id: u64) {
        if let Some(at) = self.open.iter().position(|window| window.scan.id == id) {
            let OpenWindow { range, .. } = self.open.remove(at);
            self.add(range);
        }
    }

    /// Adds a gap; those that touch become one.
    fn add(&mut self, range: Range) {
        let mut gaps: Vec<Range> = Vec::with_capacity(self.gaps.len() + 1);
        self.gaps.push(range);
        self.gaps.sort_by(|a, b| a.from.cmp(&b.from));
        for gap in self.gaps.drain(..) {
            match gaps.last_mut() {
                Some(last) if last.to >= gap.from => last.to = last.to.clone().max(gap.to),
                _ => gaps.push(gap),
            }
        }
        self.gaps = gaps;
    }
}

impl Range {
    /// The two halves; none where one would be shorter than the least length.
    pub fn halves(&self, plan: &IncrementalPlan, window: &WindowPlan, least: Span) -> Option<(Self, Self)> {
        let clock = Clock::new(plan, window);
        let (from, to) = (clock.local(&self.from), clock.local(&self.to));
        let middle = clock.floor(from + (to - from) / 2);
        let long_enough = |from: NaiveDateTime, to| least.after_local(from).is_some_and(|end| end <= to);
        if middle <= from || !long_enough(from, middle) || !long_enough(middle, to) {
            return None;
        }
        let middle = clock.mark(middle);
        if middle <= self.from || middle >= self.to {
            return None;
        }
        Some((Self { from: self.from.clone(), to: middle.clone() }, Self { from: middle, to: self.to.clone() }))
    }

    /// The last mark in it, for APIs that mean both ends.
    pub fn last(&self, plan: &IncrementalPlan, window: &WindowPlan) -> Mark {
        let clock = Clock::new(plan, window);
        let just = TimeDelta::microseconds(1);
        let last = match &self.to {
            Mark::Timestamp(to) => {
                let last = clock.floor(clock.zone.local(*to - just));
                Mark::Timestamp(clock.zone.last_before(*to, last))
            }
            to => clock.mark(clock.floor(clock.local(to) - just)),
        };
        last.max(self.from.clone())
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// What the clock of the API shows, and which marks that are. Windows are cut by it, and so they are what the API takes them for: a boundary
/// is a local time, and the first instant at which the clock shows it.
struct Clock {
    zone: Zone,
    kind: MarkKind,
    /// the least that two times differ by
    unit: TimeDelta,
}

impl Clock {
    fn new(plan: &IncrementalPlan, window: &WindowPlan) -> Self {
        let least = if plan.kind == MarkKind::Date { TimeDelta::days(1) } else { TimeDelta::microseconds(1) };
        Self { zone: plan.clock(), kind: plan.kind, unit: delta(window.granularity).max(least) }
    }

    /// The local time of a mark: a day begins at midnight. Only times and days have windows.
    fn local(&self, mark: &Mark) -> NaiveDateTime {
        match mark {
            Mark::Timestamp(at) => self.zone.local(*at),
            Mark::Date(day) => day.and_time(NaiveTime::MIN),
            Mark::Integer(_) | Mark::Text(_) => DateTime::UNIX_EPOCH.naive_utc(),
        }
    }

    fn mark(&self, local: NaiveDateTime) -> Mark {
        match self.kind {
            MarkKind::Date => Mark::Date(local.date()),
            MarkKind::Timestamp | MarkKind::Integer | MarkKind::Text => Mark::Timestamp(self.zone.first(local)),
        }
    }

    /// The local time without what the API does not tell.
    fn floor(&self, local: NaiveDateTime) -> NaiveDateTime {
        let unit = self.unit.num_microseconds().unwrap_or(i64::MAX).max(1);
        let micros = local.and_utc().timestamp_micros();
        DateTime::from_timestamp_micros(micros - micros.rem_euclid(unit)).map_or(local, |at| at.naive_utc())
    }
}

/// The end of the window that starts at `from`. Windows of days end at midnight, and those of months at the turn of a month, so that they
/// are the same however often they are cut; those of twelve months at the turn of a year.
fn boundary(size: Span, from: NaiveDateTime) -> Option<NaiveDateTime> {
    match size {
        Span::Exact(length) => from.checked_add_signed(length),
        Span::Days(_) => Some(size.after_local(from)?.date().and_time(NaiveTime::MIN)),
        Span::Months(months) => {
            let months = i64::from(months.max(1));
            let month = i64::from(from.year()) * 12 + i64::from(from.month0());
            let ahead = u32::try_from(months - month.rem_euclid(months)).ok()?;
            Some(from.date().with_day(1)?.checked_add_months(Months::new(ahead))?.and_time(NaiveTime::MIN))
        }
    }
}

fn delta(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
