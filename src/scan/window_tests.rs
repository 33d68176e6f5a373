use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::{Order, Path, TimeFormat, zones};

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    DateTime::parse_from_rfc3339(&text).expect("a time").to_utc()
}

fn time(text: &str) -> Mark {
    Mark::Timestamp(at(text))
}

fn day(text: &str) -> Mark {
    Mark::Date(text.parse().expect("a day"))
}

fn plan(kind: MarkKind, size: &str, lookback_s: u64) -> (IncrementalPlan, WindowPlan) {
    let window = WindowPlan {
        size: Span::parse(size).expect("a span"),
        granularity: Duration::from_secs(1),
        lag: Duration::ZERO,
        split: None,
        concurrency: 1,
    };
    let incremental = IncrementalPlan {
        field: Path::parse("$.at").expect("a path"),
        kind,
        format: TimeFormat::Rfc3339,
        zone: None,
        order: Order::None,
        start: None,
        lookback: Duration::from_secs(lookback_s),
        window: Some(window.clone()),
        stop_at_watermark: false,
        client_filter: false,
        max_age: None,
    };
    (incremental, window)
}

/// All windows that are cut, as text, each closed at once.
fn cut(windows: &mut Windows, (plan, window): &(IncrementalPlan, WindowPlan)) -> Vec<String> {
    let mut cut = Vec::new();
    for id in 0.. {
        let Some(next) = windows.next(plan, window, id, DateTime::UNIX_EPOCH) else { break };
        cut.push(format!("{} .. {}", next.range.from, next.range.last(plan, window)));
        windows.close(id);
    }
    cut
}

#[test]
fn months_end_at_the_turn_of_a_month() {
    let plan = plan(MarkKind::Timestamp, "1 month", 0);
    let mut windows = Windows::default();
    windows.extend(&plan.0, &plan.1, &time("2024-01-31"), at("2024-03-02T12:00:00Z"), 1);
    assert_eq!(
        cut(&mut windows, &plan),
        [
            "2024-01-31T00:00:00Z .. 2024-01-31T23:59:59Z",
            "2024-02-01T00:00:00Z .. 2024-02-29T23:59:59Z",
            "2024-03-01T00:00:00Z .. 2024-03-02T12:00:00Z",
        ]
    );
    // what a clock that is behind may still write is read and not covered
    assert_eq!(windows.covered(), Some(time("2024-03-02T11:55:00Z")));
    windows.extend(&plan.0, &plan.1, &time("2024-01-31"), at("2024-03-02T12:00:05.5Z"), 2);
    assert_eq!(cut(&mut windows, &plan), ["2024-03-02T11:55:00Z .. 2024-03-02T12:00:05Z"]);

    let quarters = self::plan(MarkKind::Date, "3 months", 0);
    let mut windows = Windows::default();
    windows.extend(&quarters.0, &quarters.1, &day("2023-11-15"), at("2024-05-01T12:00:00Z"), 1);
    assert_eq!(
        cut(&mut windows, &quarters),
        ["2023-11-15 .. 2023-12-31", "2024-01-01 .. 2024-03-31", "2024-04-01 .. 2024-05-01"]
    );
    assert_eq!(windows.covered(), Some(day("2024-05-01")), "today is read, and not covered");
}

#[test]
fn only_what_failed_is_read_again_and_the_watermark_waits_for_it() {
    let plan = plan(MarkKind::Timestamp, "1d", 0);
    let mut windows = Windows::default();
    windows.extend(&plan.0, &plan.1, &time("2024-01-01"), at("2024-01-04T12:00:00Z"), 1);
    for id in 0..4 {
        windows.next(&plan.0, &plan.1, id, DateTime::UNIX_EPOCH).expect("a window");
    }
    assert!(windows.gaps.is_empty());
    for done in [0, 1, 3] {
        windows.close(done);
    }
    windows.give_up(2);
    assert_eq!(windows.covered(), Some(time("2024-01-03")));
    windows.extend(&plan.0, &plan.1, &time("2024-01-01"), at("2024-01-04T13:00:00Z"), 2);
    assert_eq!(windows.pass, 1, "the pass goes on");
    assert_eq!(
        cut(&mut windows, &plan),
        ["2024-01-03T00:00:00Z .. 2024-01-03T23:59:59Z", "2024-01-04T11:55:00Z .. 2024-01-04T13:00:00Z"]
    );
    assert!(windows.is_complete());
}

#[test]
fn lookback_and_lag_move_the_ends() {
    let (mut incremental, mut window) = plan(MarkKind::Timestamp, "1d", 3_600);
    window.lag = Duration::from_secs(120);
    let mut windows = Windows::default();
    windows.extend(&incremental, &window, &time("2024-01-01"), at("2024-01-01T10:00:00Z"), 1);
    let plan = (incremental.clone(), window.clone());
    assert_eq!(cut(&mut windows, &plan), ["2024-01-01T00:00:00Z .. 2024-01-01T09:58:00Z"]);
    windows.extend(&incremental, &window, &time("2024-01-01"), at("2024-01-01T11:00:00Z"), 2);
    assert_eq!(cut(&mut windows, &plan), ["2024-01-01T08:55:00Z .. 2024-01-01T10:58:00Z"]);
    incremental.lookback = Duration::from_secs(86_400);
    windows.extend(&incremental, &window, &time("2024-01-01"), at("2024-01-01T12:00:00Z"), 3);
    assert_eq!(cut(&mut windows, &plan), ["2024-01-01T00:00:00Z .. 2024-01-01T11:58:00Z"], "never before the start");
    let mut early = Windows::default();
    early.extend(&incremental, &window, &time("2030-01-01"), at("2024-01-01T12:00:00Z"), 3);
    assert!(early.is_complete() && early.covered() == Some(time("2030-01-01")), "nothing to read yet");
}

#[test]
fn a_window_is_halved_down_to_the_least_length() {
    let (incremental, window) = plan(MarkKind::Timestamp, "1d", 0);
    let range = |from: &str, to: &str| Range { from: time(from), to: time(to) };
    let least = Span::parse("6h").expect("a span");
    let (a, b) = range("2024-01-01", "2024-01-02").halves(&incremental, &window, least).expect("halves");
    assert_eq!((a.to.clone(), b.from), (time("2024-01-01T12:00:00Z"), a.to.clone()));
    let (a, _) = a.halves(&incremental, &window, least).expect("halves");
    assert_eq!(a, range("2024-01-01", "2024-01-01T06:00:00Z"));
    assert_eq!(a.halves(&incremental, &window, least), None);
    let (days, window) = plan(MarkKind::Date, "2d", 0);
    let two = Range { from: day("2024-01-01"), to: day("2024-01-03") };
    let (first, _) = two.halves(&days, &window, Span::MINUTE).expect("halves");
    assert_eq!(first, Range { from: day("2024-01-01"), to: day("2024-01-02") });
    assert_eq!(first.halves(&days, &window, Span::MINUTE), None, "a day has no half");
}

#[test]
fn windows_end_and_are_halved_where_the_clock_shows_it_first() {
    let (mut incremental, window) = plan(MarkKind::Timestamp, "1d", 0);
    let range = |from: &str, to: &str| Range { from: time(from), to: time(to) };
    // midnight, after an hour from 23:00 that came twice: the last second is of the second time
    incremental.zone = Zone::parse("America/Sao_Paulo");
    let day = range("2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z");
    assert_eq!(day.last(&incremental, &window), time("2018-02-18T02:59:59Z"));
    // 03:00, after an hour that did not come
    incremental.zone = Zone::parse("Europe/Berlin");
    assert_eq!(
        range("2026-03-28T23:00:00Z", "2026-03-29T01:00:00Z").last(&incremental, &window),
        time("2026-03-29T00:59:59Z")
    );
    // from 02:00 to 03:00 and again: the first 02:30, for there is nothing between it and the second that another clock could tell
    let hour = range("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z");
    let (first, second) = hour.halves(&incremental, &window, Span::MINUTE).expect("halves");
    assert_eq!((first.to.clone(), second.from), (time("2026-10-25T00:30:00Z"), time("2026-10-25T00:30:00Z")));
    assert_eq!(first.last(&incremental, &window), time("2026-10-25T00:29:59Z"));
    // what does not come has no half
    let gap = range("2026-03-29T00:59:00Z", "2026-03-29T01:01:00Z");
    let halves = gap.halves(&incremental, &window, Span::MINUTE).expect("halves");
    assert_eq!((halves.0.to, halves.1.to), (time("2026-03-29T01:00:00Z"), gap.to));
}

/// What can happen to windows.
#[derive(Debug, Clone)]
enum Event {
    Run { minutes: i64 },
    Next,
    Close(usize),
    CloseAll,
    GiveUp(usize),
    Split(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_i64..3_000).prop_map(|minutes| Event::Run { minutes }),
        Just(Event::Next),
        Just(Event::Next),
        (0_usize..4).prop_map(Event::Close),
        (0_usize..4).prop_map(Event::GiveUp),
        (0_usize..4).prop_map(Event::Split),
    ]
}

/// Windows that are planned, begun, closed, given up and halved.
struct World {
    plan: (IncrementalPlan, WindowPlan),
    start: Mark,
    now: DateTime<Utc>,
    windows: Windows,
    id: u64,
}

impl World {
    fn new(plan: (IncrementalPlan, WindowPlan), start: Mark, now: DateTime<Utc>) -> Self {
        Self { plan, start, now, windows: Windows::default(), id: 0 }
    }

    /// What happens; gives the windows that were closed by it.
    fn happens(&mut self, event: &Event) -> Vec<Range> {
        if let Event::CloseAll = event {
            let mut closed = Vec::new();
            while !self.windows.is_complete() {
                closed.extend(self.step(&Event::Next));
                closed.extend(self.step(&Event::Close(0)));
            }
            return closed;
        }
        self.step(event).into_iter().collect()
    }

    fn step(&mut self, event: &Event) -> Option<Range> {
        let (incremental, window) = &self.plan;
        let nth = |windows: &Windows, nth: usize| windows.open.get(nth).cloned();
        match *event {
            Event::Run { minutes } => {
                self.now += TimeDelta::minutes(minutes);
                self.windows.extend(incremental, window, &self.start, self.now, self.id);
            }
            Event::Next => {
                self.id += 1;
                self.windows.next(incremental, window, self.id, self.now);
            }
            Event::Close(at) => {
                let OpenWindow { range, scan } = nth(&self.windows, at)?;
                self.windows.close(scan.id);
                return Some(range);
            }
            Event::CloseAll => {}
            Event::GiveUp(at) => self.windows.give_up(nth(&self.windows, at)?.scan.id),
            Event::Split(at) => {
                let OpenWindow { range, scan } = nth(&self.windows, at)?;
                let (a, b) = range.halves(incremental, window, Span::MINUTE)?;
                self.windows.give_up(scan.id);
                for range in [a, b] {
                    self.id += 1;
                    self.windows.open(OpenWindow { range, scan: ScanState::begin(self.id, self.now, None) });
                }
            }
        }
        None
    }
}

proptest! {
    /// Whatever fails, is cut or stops: what is below the watermark was read in closed windows, and when all is closed, everything was.
    #[test]
    fn every_second_is_covered_by_a_closed_window(
        events in proptest::collection::vec(event(), 1..60),
        size in prop_oneof![Just("45m"), Just("1d"), Just("1 month"), Just("1y")],
        lookback in prop_oneof![Just(0_u64), Just(600), Just(90_000)],
        zone in zones(),
    ) {
        let mut plan = plan(MarkKind::Timestamp, size, lookback);
        plan.0.zone = Some(zone);
        let start = at("2024-02-28T23:10:00Z");
        let mut world = World::new(plan, Mark::Timestamp(start), start);
        let (mut closed, mut watermark) = (Vec::<Range>::new(), None);
        for event in events {
            closed.extend(world.happens(&event));
            let next = world.windows.covered();
            prop_assert!(next >= watermark || lookback > 0, "the watermark went back from {watermark:?} to {next:?}");
            watermark = watermark.max(next);
            if let Some(watermark) = &watermark {
                prop_assert!(covers(&closed, &Mark::Timestamp(start), watermark), "{watermark} {closed:?}");
            }
            for pair in world.windows.gaps.windows(2) {
                prop_assert!(pair[0].to < pair[1].from, "{:?}", world.windows.gaps);
            }
            prop_assert!(world.windows.gaps.iter().all(|gap| gap.from < gap.to));
        }
    }

    /// An API that knows nothing but the clock on its wall, while that is put forward and back: what is below the watermark was returned. So
    /// it was by one that tells offsets.
    #[test]
    fn an_api_that_takes_local_times_returns_everything(
        (zone, around) in prop::sample::select(&TURNS[..]),
        hours in 0_i64..8,
        events in proptest::collection::vec(by_the_hour(), 1..80),
        (size, granularity) in prop::sample::select(
            &[("45m", 1), ("6h", 1), ("6h", 3_600), ("1d", 1), ("1d", 86_400), ("3d", 86_400), ("1 month", 1)][..]
        ),
        lookback in prop_oneof![Just(0_u64), Just(600), Just(5_400)],
        (days, offsets) in any::<(bool, bool)>(),
    ) {
        let (days, offsets) = (days && granularity == 86_400, offsets && granularity == 1);
        let zone = Zone::parse(zone).expect("a zone");
        let mut plan = plan(if days { MarkKind::Date } else { MarkKind::Timestamp }, size, lookback);
        plan.0.zone = Some(zone);
        plan.1.granularity = Duration::from_secs(granularity);
        let begin = at(around) - TimeDelta::hours(hours);
        let mark = |at: DateTime<Utc>| match days {
            true => Mark::Date(zone.local(at).date()),
            false => Mark::Timestamp(at),
        };
        let mut world = World::new(plan, mark(zone.before_doubled(begin)), begin);
        let (clock, mut returned) = (Clock::new(&world.plan.0, &world.plan.1), std::collections::BTreeSet::new());
        // what the API tells of a time
        let told = |local: NaiveDateTime| clock.floor(local);
        let written = |until: DateTime<Utc>| {
            (0..).map(move |nth| begin + TimeDelta::minutes(10 * nth)).take_while(move |at| *at <= until)
        };
        for event in events {
            for range in world.happens(&event) {
                let last = range.last(&world.plan.0, &world.plan.1);
                let ends = [clock.local(&range.from), clock.local(&last)].map(told);
                let in_it = |at: &DateTime<Utc>| match offsets {
                    true => (range.from.clone()..=last.clone()).contains(&mark(*at)),
                    false => (ends[0]..=ends[1]).contains(&told(zone.local(*at))),
                };
                returned.extend(written(world.now).filter(in_it));
            }
            let Some(watermark) = world.windows.covered() else { continue };
            let lost = written(world.now).find(|at| mark(*at) < watermark && !returned.contains(at));
            prop_assert!(lost.is_none(), "{lost:?} is below {watermark}");
        }
    }
}

/// Clocks that are put forward or back, and about when.
const TURNS: [(&str, &str); 16] = [
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Dublin", "2026-10-25"),
    ("America/New_York", "2026-11-01T05:00:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/Havana", "2025-11-02T05:00:00Z"),
    ("America/Havana", "2025-03-09T05:00:00Z"),
    ("America/St_Johns", "2010-11-07T02:31:00Z"),
    ("America/St_Johns", "2010-03-14T03:31:00Z"),
    ("Asia/Kathmandu", "2026-01-01"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Antarctica/Troll", "2026-10-25"),
    ("UTC", "2026-01-01"),
];

/// The same as [`event`], with runs that are near to each other.
fn by_the_hour() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1_i64..150).prop_map(|minutes| Event::Run { minutes }),
        3 => Just(Event::Next),
        3 => Just(Event::Close(0)),
        1 => (0_usize..3).prop_map(Event::Close),
        2 => Just(Event::CloseAll),
        1 => (0_usize..3).prop_map(Event::GiveUp),
        1 => (0_usize..3).prop_map(Event::Split),
    ]
}

/// Whether the union of ranges has everything from `from` to `to`.
fn covers(ranges: &[Range], from: &Mark, to: &Mark) -> bool {
    let mut ranges: Vec<&Range> = ranges.iter().collect();
    ranges.sort_by(|a, b| a.from.cmp(&b.from));
    let mut reached = from.clone();
    for range in ranges {
        if range.from > reached {
            break;
        }
        reached = reached.max(range.to.clone());
    }
    reached >= *to
}
