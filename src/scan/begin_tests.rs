use std::path::Path;
use std::sync::Arc;

use super::super::{Lane, OpenWindow, Range};
use super::*;
use crate::diagnostic::Source;
use crate::plan::{Input, Known, compile};
use crate::spec::schema::Kind;

const LIST: &str = "{ request: { get: /other }, response: { records: \"$.items[*]\" }, key: { id: $.id }";
const WINDOWS: &str = "incremental: { field: $.at, start: \"2024-01-01\", window: { size: 1d } }\nrequest: { get: /items, query: { from: \"{{ window.start }}\" } }";

/// A sync with these words.
pub fn plan(words: &str) -> SyncPlan {
    let file = |kind, text: &str| Input {
        source: Arc::new(Source::new(format!("{kind:?}.yaml"), text)),
        kind,
        integration: (kind != Kind::Project && kind != Kind::Provider).then(|| "api".to_owned()),
        builtin: false,
        stray: false,
    };
    let request = if words.contains("get: /items") || words.contains("get: \"/items") {
        ""
    } else {
        "request: { get: /items }\n"
    };
    let files = [
        file(Kind::Project, "database: x.duckdb\nconnections:\n  acme: { provider: api }\n"),
        file(Kind::Provider, "provider: api\nbase_url: \"https://api.example\"\n"),
        file(
            Kind::Sync,
            &format!("sync: items\nmodel: Item\nresponse: {{ records: \"$.items[*]\" }}\n{request}{words}\n"),
        ),
        file(
            Kind::Model,
            "model: Item\ntable: items\nkey: [id]\ncolumns: { id: $.id, at: { path: $.at, type: timestamptz } }\n",
        ),
    ];
    let compiled = compile(&files, Path::new("/project"), &Known::default());
    let plan = compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    SyncPlan::clone(&plan.syncs[0])
}

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    DateTime::parse_from_rfc3339(&text).expect("a time").to_utc()
}

fn time(text: &str) -> Mark {
    Mark::Timestamp(at(text))
}

const FULL: Wish = Wish { full: true, accept_deletes: false };
const ACCEPT: Wish = Wish { full: false, accept_deletes: true };

/// A run on the 10th of June, whose scans are called 7.
fn run(plan: &SyncPlan, known: Option<&Checkpoint>, wish: Wish) -> Begin {
    begin(plan, known.cloned(), Part::Whole, wish, Some(&time("2024-01-01")), 7, at("2024-06-10"))
}

/// What a complete scan up to the 1st of June, begun then, left behind, with a token.
fn complete(plan: &SyncPlan) -> Checkpoint {
    let mut known = Checkpoint::new(plan.fingerprint);
    known.main.watermark = Some(time("2024-06-01"));
    known.main.completed_at = Some(at("2024-06-01"));
    known.token = Some("t1".into());
    known
}

/// A scan in the middle, called 3.
fn scan(position: Position) -> ScanState {
    ScanState { position, pages: 4, ..ScanState::begin(3, at("2024-06-09"), Some(time("2024-05-01"))) }
}

fn main_of(begin: &Begin) -> &ScanState {
    begin.checkpoint.main.scan.as_ref().expect("a scan")
}

#[test]
fn a_first_run_reads_from_the_start_and_a_later_one_from_the_watermark() {
    let plan = plan("incremental: { field: $.at, start: \"2024-01-01\" }");
    let first = run(&plan, None, Wish::default());
    assert_eq!((first.resumed, &first.restarted, first.sweeps, first.seen), (false, &None, false, None));
    assert_eq!(main_of(&first), &ScanState::begin(7, at("2024-06-10"), Some(time("2024-01-01"))));
    let later = run(&plan, Some(&complete(&plan)), Wish::default());
    assert_eq!(
        (main_of(&later).since.clone(), main_of(&later).since_token.clone()),
        (Some(time("2024-06-01")), Some("t1".into()))
    );
    assert_eq!(later.checkpoint.main.watermark, Some(time("2024-06-01")));
}

#[test]
fn a_scan_under_way_goes_on_as_it_began() {
    let plan = plan("incremental: { field: $.at }");
    let mut known = complete(&plan);
    let tortoise = super::super::checkpoint::Tortoise { token: 1, steps: 2, power: 4 };
    let stuck =
        ScanState { tortoise: Some(tortoise), content: Some((1, 2)), empty_pages: 99, ..scan(Position::Page(5)) };
    known.main.scan = Some(stuck);
    let begun = run(&plan, Some(&known), Wish::default());
    assert!(begun.resumed && begun.records_resumed && begun.restarted.is_none());
    assert_eq!(main_of(&begun), &scan(Position::Page(5)), "what made it stuck is forgotten, and nothing else");
}

#[test]
fn another_plan_and_full_start_over_and_keep_the_list_of_deletions() {
    let plan = plan(&format!("incremental: {{ field: $.at }}\ndeletes: {{ feed: {LIST}, field: $.at }} }}"));
    let mut known = complete(&plan);
    known.main.scan = Some(scan(Position::Page(5)));
    known.feed.track.watermark = Some(time("2024-05-05"));
    known.feed.applied = vec![1, 2];
    known.feed.track.scan = Some(scan(Position::Page(2)));
    let full = run(&plan, Some(&known), FULL);
    assert_eq!(full.restarted.as_deref(), Some("`--full`"));
    assert_eq!(main_of(&full), &ScanState::begin(7, at("2024-06-10"), Some(time("2024-01-01"))));
    assert_eq!((full.checkpoint.main.watermark.clone(), full.checkpoint.token.clone()), (None, None));
    assert_eq!(full.checkpoint.feed, known.feed, "it goes on where it is");

    known.fingerprint += 1;
    let changed = run(&plan, Some(&known), Wish::default());
    assert!(changed.restarted.as_deref().is_some_and(|why| why.contains("have changed")));
    assert_eq!(changed.checkpoint.fingerprint, plan.fingerprint);
    let feed = &changed.checkpoint.feed;
    assert_eq!((&feed.track.watermark, &feed.applied[..]), (&Some(time("2024-05-05")), &[1, 2][..]));
    assert_eq!(
        feed.track.scan,
        Some(ScanState::begin(7, at("2024-06-10"), Some(time("2024-05-05")))),
        "a place of another list"
    );
}

#[test]
fn a_budget_spares_the_list_of_deletions_only_while_the_records_are_half_read() {
    let plan = plan(&format!("deletes: {{ feed: {LIST} }} }}"));
    let spared = |known: &Checkpoint| {
        let mut begun = run(&plan, Some(known), Wish::default());
        begun.spare();
        begun.checkpoint.feed.track.scan
    };
    let mut known = complete(&plan);
    assert!(spared(&known).is_some(), "a new scan of the records");
    known.main.scan = Some(scan(Position::Start));
    assert_eq!(spared(&known), None);
    known.feed.track.scan = Some(scan(Position::Page(2)));
    assert_eq!(spared(&known), Some(scan(Position::Page(2))), "what is begun is ended");
    known.main.scan = None;
    known.windows.gaps = vec![Range { from: time("2024-01-01"), to: time("2024-02-01") }];
    known.feed.track.scan = None;
    assert_eq!(spared(&known), None, "windows are half read too");
}

#[test]
fn a_scan_that_is_too_old_starts_over() {
    for words in ["incremental: { field: $.at, max_age: 9d }", "incremental: { token: { from: $.t }, max_age: 9d }"] {
        let plan = plan(words);
        let mut known = complete(&plan);
        assert_eq!(run(&plan, Some(&known), Wish::default()).restarted, None, "nine days and no more");
        known.main.completed_at = Some(at("2024-05-31T23:59:59Z"));
        let begun = run(&plan, Some(&known), Wish::default());
        assert!(
            begun.restarted.as_deref().is_some_and(|why| why.contains("longer ago than `max_age`, 9days")),
            "{begun:?}"
        );
        assert_eq!((&begun.checkpoint.token, &main_of(&begun).since_token), (&None, &None));
        // a first scan that takes longer than that is not begun again and again
        known.main.completed_at = None;
        known.main.scan = Some(ScanState { started_at: at("2024-01-01"), ..scan(Position::Page(5)) });
        assert!(run(&plan, Some(&known), Wish::default()).resumed);
    }
}

#[test]
fn a_guarded_scan_is_made_again_unless_it_is_accepted() {
    let guarded = ScanState { guarded: true, ..scan(Position::End) };
    let absence = plan("deletes: { absence: {} }");
    let mut known = complete(&absence);
    known.main.scan = Some(guarded.clone());
    let again = run(&absence, Some(&known), Wish::default());
    assert!(again.restarted.as_deref().is_some_and(|why| why.contains("the guard")) && !again.resumed);
    assert_eq!((main_of(&again).id, again.seen), (7, Some(7)), "what the old one has seen is forgotten");
    let accepted = run(&absence, Some(&known), ACCEPT);
    assert_eq!((main_of(&accepted), accepted.seen), (&guarded, Some(3)));

    let sweep = plan(&format!("deletes: {{ sweep: {LIST} }} }}"));
    let mut known = complete(&sweep);
    known.sweep.scan = Some(guarded.clone());
    known.sweep.completed_at = Some(at("2024-06-01"));
    let again = run(&sweep, Some(&known), Wish::default());
    assert_eq!((again.sweeps, again.seen), (true, Some(7)));
    assert_eq!(run(&sweep, Some(&known), ACCEPT).seen, Some(3));

    let windows = plan(&format!("{WINDOWS}\ndeletes: {{ absence: {{ scope: window }} }}"));
    let mut known = complete(&windows);
    let range = Range { from: time("2024-03-01"), to: time("2024-03-02") };
    known.windows.until = Some(time("2024-06-09"));
    known.windows.pass = 5;
    known.windows.open = vec![OpenWindow { range: range.clone(), scan: guarded.clone() }];
    let again = run(&windows, Some(&known), Wish::default());
    assert!(again.restarted.is_some() && again.checkpoint.windows.open.is_empty());
    assert_eq!((&again.checkpoint.windows.gaps[0], again.seen), (&range, Some(5)));
    let accepted = run(&windows, Some(&known), ACCEPT);
    assert_eq!(
        (accepted.checkpoint.windows.open.len(), accepted.checkpoint.scan(Lane::Window(3))),
        (1, Some(&guarded))
    );
}

#[test]
fn windows_take_the_place_of_a_scan() {
    let plan = plan(WINDOWS);
    let first = run(&plan, None, Wish::default());
    assert_eq!((&first.checkpoint.main.scan, first.resumed, first.records_resumed), (&None, false, false));
    let whole = |to: &str| vec![Range { from: time("2024-01-01"), to: time(to) }];
    assert_eq!(first.checkpoint.windows.gaps, whole("2024-06-10T00:00:01Z"));
    assert_eq!(first.checkpoint.windows.pass, 7);
    let again = begin(
        &plan,
        Some(first.checkpoint),
        Part::Whole,
        Wish::default(),
        Some(&time("2024-01-01")),
        8,
        at("2024-06-11"),
    );
    assert_eq!((again.checkpoint.windows.gaps, again.checkpoint.windows.pass), (whole("2024-06-11T00:00:01Z"), 7));
    assert!(again.records_resumed);
}

#[test]
fn a_sweep_is_due_when_its_time_is_over() {
    let plan = plan(&format!("deletes: {{ sweep: {LIST}, every: 5d }} }}"));
    let mut known = complete(&plan);
    let due = |known: &Checkpoint| {
        let begun = run(&plan, Some(known), Wish::default());
        assert_eq!(begun.sweeps, begun.checkpoint.sweep.scan.is_some());
        assert_eq!(begun.seen, begun.checkpoint.sweep.scan.map(|scan| scan.id));
        begun.sweeps
    };
    assert!(due(&known), "it was never made");
    known.sweep.completed_at = Some(at("2024-06-05T00:00:01Z"));
    assert!(!due(&known));
    known.sweep.completed_at = Some(at("2024-06-05"));
    assert!(due(&known));
    known.sweep.completed_at = Some(at("2024-06-09"));
    known.sweep.scan = Some(scan(Position::Page(2)));
    assert!(due(&known), "one under way goes on");
}

#[test]
fn keys_are_noted_for_the_scan_whose_end_tells_what_is_gone() {
    let token = "incremental: { token: { from: $.t } }";
    let sweep = format!("{token}\ndeletes: {{ sweep: {LIST}, every: 99d }} }}");
    let cases = [
        ("", None, None),
        ("deletes: { absence: {} }", Some(7), Some(7)),
        ("deletes: { flag: { when: \"$[?@.gone]\" } }", None, None),
        // a delta feed without a token returns everything, with one it does not
        (token, None, None),
        (&format!("{token}\ndeletes: {{ flag: {{ when: \"$[?@.gone]\" }} }}"), Some(7), None),
        (&sweep, Some(7), None),
    ];
    for (words, first, later) in cases {
        let plan = plan(words);
        let mut known = complete(&plan);
        known.sweep.completed_at = Some(at("2024-06-09"));
        assert_eq!(run(&plan, Some(&known), Wish::default()).seen, later, "{words}");
        known.token = None;
        assert_eq!(run(&plan, Some(&known), Wish::default()).seen, first, "{words}");
    }
    let both = plan(&sweep);
    let mut known = complete(&both);
    known.token = None;
    known.sweep.scan = Some(scan(Position::Page(2)));
    assert_eq!(run(&both, Some(&known), Wish::default()).seen, Some(3), "a sweep under way notes what both return");
}

#[test]
fn what_the_api_has_forgotten_is_still_to_be_found_when_all_is_read_for_another_reason() {
    let plan = plan("incremental: { field: $.at, max_age: 9d }\ndeletes: { flag: { when: \"$[?@.gone]\" } }");
    let begun = |known: &Checkpoint, wish| {
        let begun = begin(&plan, Some(known.clone()), Part::Whole, wish, None, 7, at("2024-06-10"));
        let scan = main_of(&begun);
        (scan.whole, scan.since.clone(), begun.seen)
    };
    let mut old = complete(&plan);
    old.main.completed_at = Some(at("2024-05-20"));
    let whole = (true, None, Some(7));
    assert_eq!(begun(&old, Wish::default()), whole);
    assert_eq!(begun(&old, FULL), whole);
    let changed = Checkpoint { fingerprint: plan.fingerprint + 1, ..old.clone() };
    assert_eq!(begun(&changed, Wish::default()), whole);
    // while the API still tells of them, nothing has to be found
    assert!(!begun(&complete(&plan), FULL).0);

    // a scan that is to find it is begun again: by a person, and because the guard held it back behind a watermark that has moved with its pages
    let mut known = Checkpoint::new(plan.fingerprint);
    known.main.watermark = Some(time("2024-06-05"));
    known.main.scan = Some(ScanState { whole: true, since: None, ..scan(Position::Page(3)) });
    assert_eq!(begun(&known, FULL), whole);
    known.main.scan.as_mut().expect("a scan").guarded = true;
    assert_eq!(begun(&known, Wish::default()), whole);
    assert_eq!(begun(&known, ACCEPT), (true, None, Some(3)));
}
