use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::scan::begin::tests::plan;
use crate::scan::{Lane, OpenWindow, Range, ScanState, seen_by};

const REPOS: &str = "for_each: [{ as: repo, from: { values: [a, b] } }]\nrequest: { get: \"/items/{{ parent.repo }}\", query: { from: \"{{ window.start }}\" } }";
const PLAIN: &str =
    "for_each: [{ as: repo, from: { values: [a, b] } }]\nrequest: { get: \"/items/{{ parent.repo }}\" }";

fn now() -> DateTime<Utc> {
    "2024-06-10T00:00:00Z".parse().expect("a time")
}

fn turn(plan: &SyncPlan, known: Option<Checkpoint>, pass: &Pass, change: Option<i64>) -> Option<Begin> {
    begin_partition(
        plan,
        known,
        (pass, change),
        (Wish::default(), Some(&Mark::Timestamp(now() - TimeDelta::days(9)))),
        5,
        now(),
    )
}

/// A partition after its turn in pass 1.
fn read(plan: &SyncPlan, change: Option<i64>) -> Checkpoint {
    let mut known = turn(plan, None, &Pass::begin(1, now(), false), change).expect("a turn").checkpoint;
    known.after_scan(Lane::Main, plan.order(), plan.zone());
    known.turn = Some(Turn { complete: true, ..known.turn.expect("a turn") });
    known
}

#[test]
fn a_partition_has_one_turn_in_each_pass() {
    let plan = plan(PLAIN);
    let known = read(&plan, None);
    assert_eq!(turn(&plan, Some(known.clone()), &Pass::begin(1, now(), false), None), None);
    let next = turn(&plan, Some(known), &Pass::begin(2, now(), false), None).expect("a turn");
    assert_eq!(next.checkpoint.turn, Some(Turn { pass: 2, complete: false, change: None }));
    assert_eq!(next.checkpoint.main.scan.expect("a scan").id, 5);
}

#[test]
fn an_item_that_is_as_it_was_has_no_turn_unless_all_is_read_anew() {
    let plan = plan(PLAIN);
    let (next, anew) = (Pass::begin(2, now(), false), Pass::begin(2, now(), true));
    let known = read(&plan, Some(7));
    assert_eq!(turn(&plan, Some(known.clone()), &next, Some(7)), None);
    assert!(turn(&plan, Some(known.clone()), &next, Some(8)).is_some());
    assert!(turn(&plan, Some(known.clone()), &anew, Some(7)).is_some());
    let other = Checkpoint { fingerprint: plan.fingerprint + 1, ..known.clone() };
    assert!(turn(&plan, Some(other), &next, Some(7)).is_some(), "what is asked has changed");
    let half = Checkpoint { turn: Some(Turn { pass: 1, complete: false, change: Some(7) }), ..known };
    assert!(turn(&plan, Some(half), &next, Some(7)).is_some(), "it was not read to its end");
}

#[test]
fn what_is_read_anew_begins_anew_once() {
    let plan = plan(PLAIN);
    let pass = Pass::begin(2, now(), true);
    let mut known = read(&plan, None);
    known.main.watermark = Some(Mark::Integer(1));
    let first = turn(&plan, Some(known), &pass, None).expect("a turn");
    assert_eq!((first.checkpoint.main.watermark.clone(), first.restarted.is_some()), (None, true));
    let again = turn(&plan, Some(first.checkpoint), &pass, None).expect("it goes on");
    assert_eq!((again.restarted, again.resumed), (None, true));
}

#[test]
fn a_scan_goes_on_in_another_pass_unless_the_pass_tells_what_is_gone() {
    for (deletes, goes_on) in [("{}", false), ("{ scope: partition }", true)] {
        let plan = plan(&format!("{PLAIN}\ndeletes: {{ absence: {deletes} }}"));
        let first = turn(&plan, None, &Pass::begin(1, now(), false), None).expect("a turn").checkpoint;
        assert_eq!(seen_by(&plan, &first), Some(if goes_on { 5 } else { 1 }));
        let mut half = first.clone();
        half.main.scan.as_mut().expect("a scan").pages = 3;
        let next = turn(&plan, Some(half.clone()), &Pass::begin(2, now(), false), None).expect("a turn");
        assert_eq!(next.checkpoint.main.scan.expect("a scan").pages, if goes_on { 3 } else { 0 }, "{deletes}");
        let same = turn(&plan, Some(half), &Pass::begin(1, now(), false), None).expect("a turn");
        assert_eq!(same.checkpoint.main.scan.expect("a scan").pages, 3);
    }
}

#[test]
fn windows_that_were_open_in_another_pass_are_gaps_again() {
    let mut plan =
        plan(&format!("{REPOS}\nincremental: {{ field: $.at, start: \"2024-06-01\", window: {{ size: 1d }} }}"));
    plan.deletes =
        DeletePlan::Absence { scope: Scope::All, gone_partitions: false, guard: crate::plan::Guard::DEFAULT };
    let mut known = turn(&plan, None, &Pass::begin(1, now(), false), None).expect("a turn").checkpoint;
    let day = |day: i64| Mark::Timestamp(now() - TimeDelta::days(day));
    let range = Range { from: day(9), to: day(8) };
    known.windows.open(OpenWindow { range: range.clone(), scan: ScanState::begin(6, now(), None) });
    let next = turn(&plan, Some(known), &Pass::begin(2, now(), false), None).expect("a turn");
    assert_eq!((next.checkpoint.windows.open.len(), &next.checkpoint.windows.gaps[0].from), (0, &range.from));
}
