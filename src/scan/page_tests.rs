use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::plan::{CursorSource, Fact, Path, Target};

fn plan(kind: PageKind) -> PagePlan {
    PagePlan { kind, by_position: None, stop_when: None, pages_max: 10_000 }
}

fn begin() -> ScanState {
    ScanState::begin(1, chrono::DateTime::UNIX_EPOCH, None)
}

fn cursor() -> PageKind {
    PageKind::Cursor {
        from: CursorSource::Fact(Fact::Body(Path::parse("$.next").expect("a path"))),
        to: Some(Target::Query("cursor".into())),
        replaces_params: false,
        has_more: None,
    }
}

fn page(size: Option<u64>) -> PageKind {
    let query = || Target::Query("p".into());
    PageKind::Page {
        page: Some(query()),
        start: 1,
        size,
        size_to: None,
        total_pages: None,
        total: None,
        has_more: None,
    }
}

fn offset(limit: u64) -> PageKind {
    let query = || Target::Query("o".into());
    PageKind::Offset { offset: Some(query()), limit_to: None, limit, start: 0, total: None, has_more: None }
}

/// Reads a list of `n` items from a server that caps pages at `cap`; gives how often each item was seen.
fn read_all(kind: PageKind, n: u64, cap: u64, tells: fn(&mut PageFacts, u64, u64)) -> (Vec<u32>, ScanState) {
    let plan = plan(kind);
    let mut state = begin();
    let mut seen = vec![0_u32; n as usize];
    for _ in 0..10_000 {
        let first = match &state.position {
            Position::Start => 0,
            Position::Cursor(value) => value.as_u64().expect("our own cursor"),
            Position::Page(number) => (number - 1) * cap,
            Position::Offset(offset) => *offset,
            Position::Url(_) | Position::Part(_) | Position::End => unreachable!("not these kinds"),
        };
        let last = (first + cap).min(n);
        for item in first..last.max(first) {
            seen[item as usize] += 1;
        }
        let mut facts = PageFacts { records: last.saturating_sub(first), ..PageFacts::default() };
        if last < n {
            facts.next = Some(json!(last));
        }
        tells(&mut facts, n, cap);
        if state.advance(&plan, &facts).expect("not stuck") == Step::Done {
            return (seen, state);
        }
    }
    panic!("the scan never ended");
}

proptest! {
    #[test]
    fn every_way_of_paging_reads_each_record_once(n in 0_u64..300, cap in 1_u64..40, size in 1_u64..60) {
        let quiet: fn(&mut PageFacts, u64, u64) = |_, _, _| {};
        let totals: fn(&mut PageFacts, u64, u64) = |facts, n, _| facts.total = Some(n);
        let pages: fn(&mut PageFacts, u64, u64) = |facts, n, cap| facts.total_pages = Some(n.div_ceil(cap));
        // a server that honours the asked size, or caps it without a word
        let served = cap.min(size);
        for (kind, tells) in [
            (cursor(), quiet), (page(Some(size)), quiet), (page(None), quiet), (offset(size), quiet),
            (page(Some(size)), totals), (page(Some(size)), pages), (offset(size), totals),
        ] {
            let (seen, state) = read_all(kind, n, served, tells);
            prop_assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
            prop_assert_eq!(state.unproven, None);
            prop_assert_eq!(state.records, n);
        }
    }

    #[test]
    fn any_cycle_of_tokens_is_found(lead in 0_usize..50, length in 1_usize..50) {
        let plan = plan(cursor());
        let mut state = begin();
        let mut at = 0;
        let stuck = (0..1_000).find_map(|_| {
            let token = if at < lead { at } else { lead + (at - lead) % length };
            at += 1;
            let facts = PageFacts { records: 1, next: Some(json!(format!("t{token}"))), ..PageFacts::default() };
            state.advance(&plan, &facts).err()
        });
        prop_assert!(matches!(stuck, Some(Stuck::Cycle { .. })), "{stuck:?}");
        prop_assert!(at <= 4 * (lead + length) + 4, "found only after {at} pages");
    }
}

#[test]
fn an_empty_page_with_a_next_token_goes_on_but_not_for_ever() {
    let plan = plan(cursor());
    let mut state = begin();
    for at in 0..limits::EMPTY_PAGES_MAX - 1 {
        let facts = PageFacts { next: Some(json!(at)), ..PageFacts::default() };
        assert_eq!(state.advance(&plan, &facts), Ok(Step::More));
    }
    let facts = PageFacts { next: Some(json!("last")), ..PageFacts::default() };
    assert!(matches!(state.advance(&plan, &facts), Err(Stuck::EmptyPages { .. })));
}

#[test]
fn the_end_proves_nothing_when_anything_was_in_doubt() {
    let mut short = begin();
    let facts = PageFacts { records: 3, total: Some(5), has_more: Some(false), ..PageFacts::default() };
    assert_eq!(short.advance(&plan(offset(10)), &facts), Ok(Step::Done));
    assert!(short.unproven.is_some_and(|why| why.contains("5 records and returned 3")));

    let mut stopped = begin();
    let facts = PageFacts { records: 2, stop: true, next: Some(json!("x")), ..PageFacts::default() };
    assert_eq!(stopped.advance(&plan(cursor()), &facts), Ok(Step::Done));
    assert!(stopped.unproven.is_some());
}

#[test]
fn a_promise_without_a_token_and_too_many_pages_are_errors() {
    let mut state = begin();
    let facts = PageFacts { records: 2, has_more: Some(true), ..PageFacts::default() };
    assert_eq!(state.advance(&plan(cursor()), &facts), Err(Stuck::NoToken));
    assert_eq!(state, begin(), "an error leaves the state as it was");

    let mut plan = plan(cursor());
    plan.pages_max = 2;
    let facts = |token: u64| PageFacts { records: 1, next: Some(json!(token)), ..PageFacts::default() };
    assert_eq!(state.advance(&plan, &facts(1)), Ok(Step::More));
    assert_eq!(state.advance(&plan, &facts(2)), Err(Stuck::PagesMax { pages: 2 }));
}

#[test]
fn what_an_answer_says_of_the_next_page_counts_for_more_than_its_total() {
    let told = |records, more| PageFacts { records, has_more: Some(more), total: Some(2), ..PageFacts::default() };
    for kind in [offset(2), page(Some(2)), page(None)] {
        let mut state = begin();
        assert_eq!(state.advance(&plan(kind.clone()), &told(2, true)), Ok(Step::More), "{kind:?}");
        assert_eq!(state.clone().advance(&plan(kind.clone()), &told(0, true)), Ok(Step::Done), "it was sloppy");
        assert_eq!(state.advance(&plan(kind), &told(1, false)), Ok(Step::Done));
    }
}

#[test]
fn an_empty_page_does_not_end_a_list_of_which_the_answer_says_there_is_more() {
    let more = PageFacts { has_more: Some(true), ..PageFacts::default() };
    let mut state = begin();
    assert_eq!(state.advance(&plan(offset(2)), &more), Err(Stuck::NoStep));
    assert_eq!(state.advance(&plan(page(Some(2))), &more), Ok(Step::More));
    assert_eq!(state.position, Position::Page(2));
    let short = PageFacts { total: Some(5), ..more };
    assert_eq!(begin().advance(&plan(offset(2)), &short), Err(Stuck::NoStep));
}

/// What the API says of its list while it is read by position.
fn read(pages: &[(u64, u64)], high: Option<chrono::DateTime<chrono::Utc>>) -> ScanState {
    let mut state = begin();
    for (records, total) in pages {
        let facts = PageFacts { records: *records, total: Some(*total), ..PageFacts::default() };
        state.advance(&plan(offset(2)), &facts).expect("not stuck");
    }
    ScanState { high: high.map(Mark::Timestamp), started_at: at("2024-01-02T00:00:00Z"), ..state }
}

fn at(text: &str) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

#[test]
fn a_list_that_may_have_moved_is_not_settled() {
    let old = Some(at("2024-01-01T00:00:00Z"));
    assert!(begin().is_settled(Order::None, Zone::UTC));
    assert!(read(&[(1, 1)], None).is_settled(Order::None, Zone::UTC), "one page cannot move under the reader");
    assert!(read(&[(2, 3), (1, 3)], old).is_settled(Order::None, Zone::UTC));
    assert!(
        !read(&[(2, 3), (1, 3)], None).is_settled(Order::None, Zone::UTC),
        "nothing tells whether they are newer than the scan"
    );
    assert!(read(&[(0, 0)], None).is_settled(Order::None, Zone::UTC));
    assert!(!read(&[(2, 4), (1, 3)], old).is_settled(Order::None, Zone::UTC), "a record went");
    assert!(
        !read(&[(2, 4), (2, 4)], Some(at("2024-01-01T23:58:00Z"))).is_settled(Order::None, Zone::UTC),
        "a record came while it was read"
    );
    assert!(!read(&[(2, 5), (2, 4), (0, 4)], old).is_settled(Order::None, Zone::UTC), "it moved on the way");
    let short = PagePlan { kind: offset(3), ..plan(offset(3)) };
    let mut moved = begin();
    for (records, total) in [(2, 3), (0, 2)] {
        let facts = PageFacts { records, total: Some(total), ..PageFacts::default() };
        moved.advance(&short, &facts).expect("not stuck");
    }
    assert!(
        moved.by_position,
        "a record slipped to a page that was read, for the server gives less than it is asked for"
    );
    let mut late = begin();
    for (records, token) in [(1, None), (0, Some("t2".into()))] {
        let facts = PageFacts { records, token, ..PageFacts::default() };
        late.advance(&plan(page(Some(2))), &facts).expect("not stuck");
    }
    assert!(
        !late.is_settled(Order::None, Zone::UTC),
        "the token may cover what came to the first page behind the reader"
    );
    let unknown = ScanState { by_position: true, ..begin() };
    assert!(!unknown.is_settled(Order::None, Zone::UTC), "nothing tells that it did not move");
}

#[test]
fn next_links_are_by_position_if_they_count() {
    for (url, counts) in [
        ("https://a.example/x?page=3", true),
        ("https://a.example/x?per_page=100&page=2", true),
        ("https://a.example/x?page[number]=2", true),
        ("https://a.example/x?$skip=200", true),
        ("https://a.example/x?startAt=50&maxResults=50", true),
        ("https://a.example/x?cursor=eyJpZCI6MX0", false),
        ("https://a.example/x?page_info=eyJsYXN0X2lkIjo", false),
        ("https://a.example/x?start=1700000000", false),
        ("https://a.example/x?page[after]=abc&page[size]=100", false),
        ("https://a.example/x?limit=100", false),
        ("https://a.example/x?PageSize=50&Page=1&PageToken=PASM1f", false),
        ("https://a.example/x?page=2&pageToken=", true),
        ("https://a.example/x?page=2&access_token=abc", true),
        ("https://a.example/x?page=2&cursor=0:100:0", true),
        ("https://a.example/x?cursor=0:100:0", false),
    ] {
        let link = plan(PageKind::Link { rel: "next".into(), more_param: None });
        let position = Position::Url(url.into());
        assert_eq!(is_by_position(&link, &position), counts, "{url}");
        for said in [true, false] {
            assert_eq!(is_by_position(&PagePlan { by_position: Some(said), ..link.clone() }, &position), said, "{url}");
        }
    }
    let token = Position::Cursor(json!("0:100:0"));
    assert!(!is_by_position(&plan(cursor()), &token));
    assert!(is_by_position(&PagePlan { by_position: Some(true), ..plan(cursor()) }, &token));
}

#[test]
fn a_page_that_comes_again_and_again_is_no_list() {
    let mut state = begin();
    let facts = |content| PageFacts { records: 2, content: Some(content), ..PageFacts::default() };
    for content in [1, 1, 2, 3, 3] {
        assert_eq!(state.advance(&plan(page(None)), &facts(content)), Ok(Step::More));
    }
    let stuck = state.advance(&plan(page(None)), &facts(3));
    assert_eq!(stuck, Err(Stuck::SamePage { times: 3 }));
    assert_eq!(state.resumed().advance(&plan(page(None)), &facts(3)), Ok(Step::More), "the next run looks anew");
}
