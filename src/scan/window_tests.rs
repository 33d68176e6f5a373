use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::{Order, Path, TimeFormat};

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

/// What can happen to windows.
#[derive(Debug, Clone)]
enum Event {
    Run { minutes: i64 },
    Next,
    Close(usize),
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

proptest! {
    /// Whatever fails, is cut or stops: what is below the watermark was read in closed windows, and when all is closed, everything was.
    #[test]
    fn every_second_is_covered_by_a_closed_window(
        events in proptest::collection::vec(event(), 1..60),
        size in prop_oneof![Just("45m"), Just("1d"), Just("1 month"), Just("1y")],
        lookback in prop_oneof![Just(0_u64), Just(600), Just(90_000)],
    ) {
        let plan = plan(MarkKind::Timestamp, size, lookback);
        let (incremental, window) = &plan;
        let start = at("2024-02-28T23:10:00Z");
        let mut now = start;
        let (mut windows, mut closed, mut id) = (Windows::default(), Vec::<Range>::new(), 0);
        let mut watermark = None;
        for event in events {
            match event {
                Event::Run { minutes } => {
                    now += TimeDelta::minutes(minutes);
                    windows.extend(incremental, window, &Mark::Timestamp(start), now, id);
                }
                Event::Next => {
                    id += 1;
                    windows.next(incremental, window, id, now);
                }
                Event::Close(nth) => {
                    if let Some(OpenWindow { range, scan }) = windows.open.get(nth).cloned() {
                        closed.push(range);
                        windows.close(scan.id);
                    }
                }
                Event::GiveUp(nth) => {
                    if let Some(id) = windows.open.get(nth).map(|window| window.scan.id) {
                        windows.give_up(id);
                    }
                }
                Event::Split(nth) => {
                    if let Some(OpenWindow { range, scan }) = windows.open.get(nth).cloned()
                        && let Some((a, b)) = range.halves(incremental, window, Span::MINUTE)
                    {
                        windows.give_up(scan.id);
                        for range in [a, b] {
                            id += 1;
                            windows.open(OpenWindow { range, scan: ScanState::begin(id, now, None) });
                        }
                    }
                }
            }
            let next = windows.covered();
            prop_assert!(next >= watermark || lookback > 0, "the watermark went back from {watermark:?} to {next:?}");
            watermark = watermark.max(next);
            if let Some(watermark) = &watermark {
                prop_assert!(covers(&closed, &Mark::Timestamp(start), watermark), "{watermark} {closed:?}");
            }
            for pair in windows.gaps.windows(2) {
                prop_assert!(pair[0].to < pair[1].from, "{:?}", windows.gaps);
            }
            prop_assert!(windows.gaps.iter().all(|gap| gap.from < gap.to));
        }
    }
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
