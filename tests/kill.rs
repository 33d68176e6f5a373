//! `kill -9` at any moment loses nothing and repeats nothing: after one more run the table, the change history and the counts are those of
//! a run that nobody disturbed.

use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const RECORDS: usize = 240;
const PAGE: usize = 20;
/// For each kind of sync.
const KILLS: usize = 60;

const SYNC: &str = "request: { get: /items, query: { limit: 20 } }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: cursor } }
deletes: { absence: {} }";

const WINDOWS: &str = "request: { get: /items, query: { from: \"{{ window.start }}\", to: \"{{ window.end }}\" } }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: cursor } }
incremental: { field: $.day, type: date, start: 2020-01-01, lookback: 3650d, window: { size: 1 year, concurrency: 2 } }
deletes: { absence: { scope: window } }";

const FAN_OUT: &str = "for_each: [{ as: year, from: { values: [2020, 2021, 2022, 2023, 2024] } }]
concurrency: 2
request: { get: /items, query: { from: \"{{ parent.year }}-01-01\", to: \"{{ parent.year }}-12-31\" } }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: cursor } }";

const WALK: &str = "walk: { into: \"$[?@.kind == 'folder']\", bind: { year: $.year } }
concurrency: 2
request: { get: /tree, query: { year: \"{{ walk.year }}\" } }
response: { records: '$.items[*]', where: \"$[?@.kind != 'folder']\" }
pagination: { cursor: { from: $.next, query: cursor } }
detail: { request: { get: \"/details/{{ record.id }}\" }, as: detail, only_changed: true, concurrency: 8 }
deletes: { absence: {} }";

const TAGS: &str = "
children: [{ table: tags, each: '$.tags[*]', key: [parent.id, tag], columns: { tag: $ } }]
history: true";

const MODEL: &str = "key: [id]
columns:
  id: { path: $.id, type: bigint }
  day: { path: $.day, type: date }
  name: { path: $.name, required: true }
  tags: { path: '$.tags[*]', type: 'varchar[]' }";

/// Generation 1 against 0: every 7th is changed, every 11th gone, ten are new, one does not fit.
fn records(generation: usize) -> Vec<Value> {
    let item = |id: usize| {
        let day = format!("{}-{:02}-01", 2020 + id % 5, 1 + id % 12);
        let record = |name: String, tags: &[&str]| json!({ "id": id, "day": day, "name": name, "tags": tags });
        match generation {
            0 => Some(record(format!("item {id}"), &["a"])),
            _ if id.is_multiple_of(11) => None,
            _ if id == 50 => Some(json!({ "id": id, "day": day, "tags": [] })),
            _ if id.is_multiple_of(7) => Some(record(format!("item {id}, changed"), &["a", "b"])),
            _ => Some(record(format!("item {id}"), &["a"])),
        }
    };
    (0..RECORDS + 10 * generation).filter_map(item).collect()
}

fn answer(generation: &AtomicUsize, request: &Request) -> Reply {
    if request.path.starts_with("/details/") {
        return Reply::json(&json!({ "of": request.path }));
    }
    let mut all = records(generation.load(Ordering::Relaxed));
    match request.param("year") {
        Some(year) => all.retain(|record| record["day"].as_str().is_some_and(|day| day.starts_with(year))),
        None if request.path == "/tree" => {
            all = (2020..2025).map(|year| json!({ "kind": "folder", "year": year.to_string() })).collect();
        }
        None => {}
    }
    if let (Some(from), Some(to)) = (request.param("from"), request.param("to")) {
        all.retain(|record| (from..=to).contains(&record["day"].as_str().expect("a day")));
    }
    let start = request.number("cursor", 0);
    let end = (start + PAGE).min(all.len());
    let next = if end < all.len() { json!(end.to_string()) } else { Value::Null };
    Reply::json(&json!({ "items": all[start.min(end)..end], "next": next }))
}

/// What must be equal: every row with what is known of its history, the change numbers given out, and what was counted over all runs.
/// Windows that are read at once are committed in any order: then the place of a row in the change history is not compared.
fn outcome(project: &Project, in_order: bool) -> Vec<String> {
    let change = if in_order { "_change" } else { "0" };
    let database = duckdb::Connection::open(project.database()).expect("the database");
    let mut lines = Vec::new();
    for query in [
        format!(
            "select id, name, tags::varchar, _last_action, {change}, _hash::varchar, _deleted_at is null, \
             _first_seen_at = _last_modified_at from api.items order by id"
        ),
        "select change_counter, (select count(distinct _change) - count(*) from api.items) from headwater.meta".to_owned(),
        "select sum(added)::bigint, sum(updated)::bigint, sum(deleted)::bigint, sum(quarantined) > 0 from headwater.runs"
            .to_owned(),
        "select parent_id, tag, _last_action, _deleted_at is null from api.tags order by all".to_owned(),
        "select id, name, valid_to is null from api.items_history order by all".to_owned(),
    ] {
        // not every kind of sync has these
        let Ok(mut statement) = database.prepare(&query) else { continue };
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let width = row.as_ref().column_count();
            let values: Vec<String> =
                (0..width).map(|at| format!("{:?}", row.get::<_, duckdb::types::Value>(at).expect("a value"))).collect();
            lines.push(values.join(" "));
        }
    }
    lines
}

/// splitmix64: the moments are random and the same in every run of the test.
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const RUN: [&str; 3] = ["run", "--commit-every", "1ms"];

#[test]
fn kills_at_random_moments_change_nothing() {
    kills(SYNC, true);
}

#[test]
fn kills_in_a_walk_with_details_and_nested_lists_change_nothing() {
    kills_of(WALK, &format!("{MODEL}{TAGS}"), false);
}

#[test]
fn kills_between_windows_change_nothing() {
    kills(WINDOWS, false);
}

#[test]
fn kills_between_partitions_change_nothing() {
    kills(&format!("{FAN_OUT}\ndeletes: {{ absence: {{ scope: partition }} }}"), false);
}

#[test]
fn kills_in_a_pass_over_partitions_change_nothing() {
    kills(&format!("{FAN_OUT}\ndeletes: {{ absence: {{}} }}"), false);
}

fn kills(sync: &str, in_order: bool) {
    kills_of(sync, MODEL, in_order);
}

fn kills_of(sync: &str, model: &str, in_order: bool) {
    let generation = Arc::new(AtomicUsize::new(0));
    let served = Arc::clone(&generation);
    let api = Api::start(move |request| answer(&served, request));

    // the undisturbed run, whose first half is where most of the others start
    let reference = Project::simple(&api.url(), sync, model);
    let first = reference.headwater(&RUN);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let loaded = std::fs::read(reference.database()).expect("the database");
    generation.store(1, Ordering::Relaxed);
    let started = Instant::now();
    reference.run();
    let whole = started.elapsed();
    let expected = outcome(&reference, in_order);
    assert!(expected.len() > RECORDS, "{}", expected.len());

    let next = AtomicUsize::new(0);
    let killed_in_time = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= KILLS {
                        return;
                    }
                    let project = Project::simple(&api.url(), sync, model);
                    // every fifth is killed in its very first load
                    let fresh = at.is_multiple_of(5);
                    if !fresh {
                        std::fs::write(project.database(), &loaded).expect("a copy");
                    }
                    let moment = whole.mul_f64((random(at as u64) >> 11) as f64 / (1_u64 << 53) as f64);
                    if kill_after(&project, moment) {
                        *killed_in_time.lock().expect("not poisoned") += 1;
                    }
                    let output = project.headwater(&RUN);
                    assert_eq!(output.code, 0, "kill {at} after {moment:?}: {}", output.stderr);
                    let found = outcome(&project, in_order);
                    if fresh {
                        let live = live(1);
                        assert!(found.iter().take(live).all(|row| row.contains("ADDED")), "kill {at}: {found:?}");
                        if model == MODEL {
                            assert_eq!(found.len(), live + 2, "kill {at}: {found:?}");
                            assert_eq!(found[live], format!("BigInt({live}) BigInt(0)"), "kill {at}");
                        }
                        assert!(found[live + 1].starts_with(&format!("BigInt({live}) ")), "kill {at}: {found:?}");
                    } else {
                        assert_eq!(found, expected, "kill {at} after {moment:?}");
                    }
                }
            });
        }
    });
    let killed = *killed_in_time.lock().expect("not poisoned");
    assert!(killed > KILLS / 2, "only {killed} of {KILLS} runs were still going when they were killed");
}

/// A group of new rows that fills a row group of DuckDB takes another way into the file than a small one.
#[test]
fn kills_while_row_groups_are_written_change_nothing() {
    const ROWS: usize = 260_000;
    let page = |request: &Request| {
        let start = request.number("cursor", 0);
        let end = (start + 10_000).min(ROWS);
        let items: Vec<String> =
            (start..end).map(|id| format!("{{\"id\":{id},\"day\":\"2026-01-01\",\"name\":\"item {id}\"}}")).collect();
        let next = if end < ROWS { format!("\"{end}\"") } else { "null".to_owned() };
        Reply::text("application/json", &format!("{{\"items\":[{}],\"next\":{next}}}", items.join(",")))
    };
    let api = Api::start(page);
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let started = Instant::now();
    project.run();
    let whole = started.elapsed();
    let (mut killed, mut loads) = (0, 0);
    // others slow a machine down: if they did while `whole` was measured, runs end before their moments, and there are more loads; if they do
    // now, none comes as far as a commit, and the moments come later
    while loads < 3 || killed < 4 {
        let project = Project::simple(&api.url(), SYNC, MODEL);
        let mut runs = 0;
        let moment = |runs: u32| {
            let part = (random(u64::from(100 * loads + runs)) >> 11) as f64 / (1_u64 << 53) as f64;
            whole.mul_f64(part * f64::from(1 + runs / 8))
        };
        while kill_while(project.spawn(&["run"]), moment(runs)) {
            runs += 1;
            assert!(runs < 60, "runs that go on where the one before was killed come to an end");
        }
        killed += runs;
        loads += 1;
        assert!(loads < 20, "only {killed} runs were still going when they were killed");
        let rows = i64::try_from(ROWS).expect("a number of rows");
        assert_eq!(project.number("select count(*) from api.items"), rows);
        assert_eq!(project.number("select count(distinct id) from api.items where name = 'item ' || id"), rows);
        assert_eq!(
            project.number("select count(distinct _change) from api.items where _change between 1 and 260000"),
            rows
        );
        assert_eq!(project.number("select sum(added)::bigint from headwater.runs"), rows);
    }
}

fn live(generation: usize) -> usize {
    records(generation).iter().filter(|record| record.get("name").is_some()).count()
}

/// Starts a run and kills it after a while; whether it was still running.
fn kill_after(project: &Project, moment: Duration) -> bool {
    kill_while(project.spawn(&RUN), moment)
}

fn kill_while(mut child: Child, moment: Duration) -> bool {
    let (_open, never) = mpsc::channel::<()>();
    // the moment passes; nobody ever sends
    assert!(never.recv_timeout(moment).is_err());
    let running = child.try_wait().expect("a child").is_none();
    child.kill().expect("killed or gone");
    child.wait().expect("reaped");
    running
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_stops_between_two_commits_and_goes_on_there() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let api = Api::start(move |request| {
        let start = request.number("cursor", 0);
        if start == 3 * PAGE {
            // the run is interrupted while it waits for the fourth page
            tell.lock().expect("not poisoned").send(()).ok();
            std::thread::park_timeout(Duration::from_secs(2));
        }
        let all = records(0);
        let end = (start + PAGE).min(all.len());
        let next = if end < all.len() { json!(end.to_string()) } else { Value::Null };
        Reply::json(&json!({ "items": all[start..end], "next": next }))
    });
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let mut child = project.spawn(&["run"]);
    told.recv_timeout(Duration::from_secs(30)).expect("the fourth page is asked for");
    let interrupt = std::process::Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(interrupt.expect("kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(project.number("select count(*) from api.items"), 3 * i64::try_from(PAGE).expect("few"));
    assert_eq!(project.query("select state from headwater.runs")[0]["state"], "paused");

    let report = project.run();
    assert_eq!((&report["resumed"], &report["added"]), (&json!(true), &json!(RECORDS - 3 * PAGE)));
    let firsts = api.requests().iter().filter(|request| request.param("cursor").is_none()).count();
    assert_eq!(firsts, 1, "the first page is not asked for again");
}
