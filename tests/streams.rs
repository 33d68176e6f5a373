//! Answers that are read while they come: memory, breaks, kills, and what moves only at their end.

use std::io::{Cursor, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

/// Rows of one answer in the tests that break it: some pieces of it.
const RECORDS: usize = 6_000;

fn project(api: &Api, words: &str) -> Project {
    Project::simple(&api.url(), &format!("request: {{ get: /export }}\n{words}"), MODEL)
}

fn line(id: usize) -> String {
    format!("{{\"id\":{id},\"name\":\"item {id}\",\"at\":{id}}}\n")
}

fn lines(ids: std::ops::Range<usize>) -> String {
    ids.map(line).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("in memory");
    packer.finish().expect("in memory")
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut packer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        packer.start_file(*name, zip::write::SimpleFileOptions::default()).expect("in memory");
        packer.write_all(bytes).expect("in memory");
    }
    packer.finish().expect("in memory").into_inner()
}

/// The most memory that a run has had, in MiB, and its report. It is looked at until it ends.
#[cfg(target_os = "linux")]
pub fn peak(project: &Project) -> (u64, Value) {
    let mut child = project.spawn_piped(&["run", "--json"]);
    let status = format!("/proc/{}/status", child.id());
    let (_open, never) = mpsc::channel::<()>();
    let mut peak = 0;
    let code = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let told = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(told.unwrap_or(0_u64));
        if let Some(code) = child.try_wait().expect("a child") {
            break code;
        }
        // a moment passes; nobody ever sends
        assert!(never.recv_timeout(Duration::from_millis(5)).is_err());
    };
    let output = child.wait_with_output().expect("its output");
    let last = String::from_utf8(output.stdout).expect("UTF-8").lines().last().expect("a report").to_owned();
    let report: Value = serde_json::from_str(&last).expect("JSON");
    assert!(code.success(), "{report}");
    (peak >> 10, report["report"]["syncs"][0].clone())
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_an_answer() {
    // most of a record is what no column takes, so that the table stays small
    const COUNT: usize = 16_000;
    let padding = "x".repeat(13 << 10);
    let write = move |count: usize, to: &mut dyn Write| {
        (0..count).try_for_each(|id| {
            to.write_all(format!("{{\"id\":{id},\"name\":\"item\",\"of\":\"{padding}\"}}\n").as_bytes())
        })
    };
    let write = Arc::new(write);
    let reply = |count: usize, packed: bool| {
        let write = Arc::clone(&write);
        Reply::written("application/x-ndjson", move |to| match packed {
            false => write(count, to),
            true => {
                let mut packer = flate2::write::GzEncoder::new(to, flate2::Compression::fast());
                write(count, &mut packer)?;
                packer.finish().map(drop)
            }
        })
    };
    for packed in [false, true] {
        let small = reply(COUNT / 16, packed);
        let api = Api::start(move |_| small.clone());
        let project = project(&api, "response: { format: ndjson }\ndeletes: { absence: {} }");
        let (before, report) = peak(&project);
        assert_eq!(report["added"], COUNT / 16);
        let large = reply(COUNT, packed);
        api.becomes(move |_| large.clone());
        let (after, report) = peak(&project);
        assert_eq!((&report["added"], &report["unchanged"]), (&json!(COUNT - COUNT / 16), &json!(COUNT / 16)));
        eprintln!("peak: {before} MiB of 13 MiB, {after} MiB of 208 MiB");
        assert!(after < before + 48, "208 MiB took {after} MiB, and 13 MiB {before} MiB (packed: {packed})");
    }
}

#[test]
fn a_zip_is_read_file_by_file_and_each_says_its_names() {
    let body = zip(&[
        ("one.csv", b"id,name\n1,Ann\n2,Bea\n"),
        ("two.csv", b"name,id\nCem,3\n"),
        ("more/three.csv.gz", &gzip(b"id,name\n4,Dee\n")),
    ]);
    let api = Api::start(move |_| Reply::bytes("application/zip", &body));
    let csv = project(&api, "response: { format: csv }");
    assert_eq!(csv.run()["added"], 4);
    let expected: Vec<Value> =
        ["Ann", "Bea", "Cem", "Dee"].iter().zip(1..).map(|(name, id)| json!({ "id": id, "name": name })).collect();
    assert_eq!(csv.rows("SELECT id, name FROM api.items ORDER BY id"), expected);
    let left = std::fs::read_dir(csv.path()).expect("a folder").map(|file| file.expect("a file").file_name());
    assert!(
        left.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp")),
        "the archive is gone from the disk"
    );

    let body = zip(&[("one.ndjson.gz", &gzip(lines(1..3).as_bytes())), ("two.ndjson", lines(3..5).as_bytes())]);
    let api = Api::start(move |_| Reply::bytes("application/zip", &body));
    let ndjson = project(&api, "response: { format: ndjson }");
    assert_eq!(ndjson.run()["added"], 4);
}

#[test]
fn elements_have_namespaces_and_come_again() {
    let entries: String = (0..2_500)
        .map(|id| format!("<a:entry a:no=\"{id}\"><id>{id}</id><name>item</name><tag>x</tag><tag>y</tag></a:entry>"))
        .collect();
    let body = format!("<?xml version=\"1.0\"?>\n<a:feed xmlns:a=\"urn:a\"><title>All</title>{entries}<end/></a:feed>");
    let api = Api::start(move |_| Reply::text("application/xml", &body));
    let project = Project::simple(
        &api.url(),
        "request: { get: /export }\nresponse: { format: xml, records: \"$['a:feed']['a:entry'][*]\" }\ndeletes: { absence: {} }",
        "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, no: { path: \"$['@a:no']\", type: bigint }, tags: { path: \"$.tag[*]\", type: 'varchar[]' } }",
    );
    assert_eq!(project.run()["added"], 2_500);
    assert_eq!(
        project.rows("SELECT count(*) AS n, sum(no) AS nos, min(tags)::VARCHAR AS tags FROM api.items"),
        [json!({ "n": 2_500, "nos": 2_500 * 2_499 / 2, "tags": "[x, y]" })]
    );
    let one = "<a:feed xmlns:a='urn:a'><a:entry a:no='1'><id>1</id></a:entry></a:feed>";
    api.becomes(move |_| Reply::text("application/xml", one));
    // as where the answer is read whole: a name that comes once is no list unless `lists` says so
    assert_eq!(project.run()["quarantined"], 2);
    api.becomes(|_| Reply::text("application/xml", "<a:feed xmlns:a='urn:a'><error>no</error></a:feed>"));
    assert_eq!(project.run_fails(4)["error"]["code"], "no_records");
    api.becomes(|_| Reply::text("application/xml", "<error>no</error>"));
    assert_eq!(project.run_fails(3)["error"]["code"], "error_in_body");
}

/// Answers of which the first ones break in the middle.
fn breaking(times: usize) -> Api {
    let asked = AtomicUsize::new(0);
    Api::start(move |_| {
        let breaks = asked.fetch_add(1, Ordering::Relaxed) < times;
        Reply::written("application/x-ndjson", move |to| {
            to.write_all(lines(0..RECORDS / 2).as_bytes())?;
            if breaks {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            to.write_all(lines(RECORDS / 2..RECORDS).as_bytes())
        })
    })
}

#[test]
fn an_answer_that_breaks_is_asked_for_again_as_a_whole() {
    let api = breaking(2);
    let project = project(&api, "response: { format: ndjson }\ndeletes: { absence: {} }");
    let report = project.run();
    assert_eq!(report["added"], RECORDS);
    assert_eq!((&report["duplicates"], &report["updated"]), (&json!(0), &json!(0)), "{report}");
    assert_eq!(api.requests().len(), 3);
    assert_eq!(
        project.rows("SELECT count(*) AS n, max(_change) AS last FROM api.items"),
        [json!({ "n": RECORDS, "last": RECORDS })]
    );
    assert_eq!(project.run()["unchanged"], RECORDS);

    let api = breaking(usize::MAX);
    let project = self::project(&api, "response: { format: ndjson }\ndeletes: { absence: {} }");
    let report = project.run_fails(3);
    assert_eq!(report["error"]["code"], "truncated", "{report}");
    assert_eq!(api.requests().len(), 3, "as many attempts as for any answer");
    assert_eq!(report["deleted"], 0);
}

#[test]
fn a_kill_in_the_middle_reads_the_answer_again_and_finds_its_rows() {
    let (reached, is_there) = mpsc::channel();
    let reached = Mutex::new(reached);
    let waits = Arc::new(AtomicUsize::new(1));
    let held = Arc::clone(&waits);
    let (_open, never) = mpsc::channel::<()>();
    let never = Arc::new(Mutex::new(never));
    let reached = Arc::new(reached);
    let api = Api::start(move |_| {
        let (held, reached, never) = (Arc::clone(&held), Arc::clone(&reached), Arc::clone(&never));
        Reply::written("application/x-ndjson", move |to| {
            to.write_all(lines(0..RECORDS / 2).as_bytes())?;
            if held.swap(0, Ordering::Relaxed) == 1 {
                reached.lock().expect("not poisoned").send(()).expect("a test");
                // until the connection is gone with the killed process
                let _ = never.lock().expect("not poisoned").recv_timeout(Duration::from_secs(20));
            }
            to.write_all(lines(RECORDS / 2..RECORDS).as_bytes())
        })
    });
    let sync = "request: { get: /export, query: { since: \"{{ watermark }}\" } }\nresponse: { format: ndjson }\n\
                incremental: { field: $.at, type: integer, order: ascending }";
    let project = Project::simple(&api.url(), sync, MODEL);
    let mut child = project.spawn(&["run", "--commit-every", "1ms"]);
    is_there.recv_timeout(Duration::from_secs(30)).expect("half of it is sent");
    // rows are committed while the answer is open
    let (_open, never) = mpsc::channel::<()>();
    let committed = (0..2_000).any(|_| {
        let count = project.headwater(&["query", "--json", "SELECT count(*) AS n FROM api.items"]);
        assert!(never.recv_timeout(Duration::from_millis(10)).is_err());
        count.code == 0 && count.json().first().is_some_and(|row| row["n"].as_i64().is_some_and(|n| n > 0))
    });
    assert!(committed, "nothing was committed before the end");
    child.kill().expect("a running child");
    child.wait().expect("reaped");
    let before = project.rows("SELECT count(*) AS n, max(_change) AS last FROM api.items");
    let rows = before[0]["n"].as_u64().expect("a number");
    assert!(rows > 0 && rows < RECORDS as u64, "{before:?}");
    let checkpoint = project.column("SELECT state FROM headwater.checkpoints").remove(0);
    let scan = &checkpoint["scan"];
    assert!(checkpoint["watermark"].is_null() && scan["high"].is_null(), "{checkpoint}");
    assert_eq!((&scan["position"], &scan["pages"], &scan["records"]), (&json!("start"), &json!(0), &json!(0)));

    let report = project.run();
    assert_eq!((&report["added"], &report["unchanged"]), (&json!(RECORDS as u64 - rows), &json!(rows)));
    assert_eq!(
        project.rows("SELECT count(*) AS n, max(_change) AS last, count(*) FILTER (_last_action = 'ADDED') AS added FROM api.items"),
        [json!({ "n": RECORDS, "last": RECORDS, "added": RECORDS })]
    );
    let checkpoint = project.column("SELECT state FROM headwater.checkpoints").remove(0);
    assert!(checkpoint["watermark"].to_string().contains(&(RECORDS - 1).to_string()), "{checkpoint}");
    assert!(api.requests().iter().take(2).all(|request| request.param("since").is_none()), "{:?}", api.requests());
}

#[test]
fn what_does_not_fit_is_kept_and_what_is_gone_goes() {
    let bad = |id: usize| format!("{{\"id\":\"no number {id}\",\"name\":\"x\"}}\n");
    let body = format!("{}{}{}", lines(0..2_500), bad(1), lines(2_500..5_000));
    let api = Api::start(move |_| Reply::text("application/x-ndjson", &body));
    let words = "response: { format: ndjson, where: \"{{ record.at is not defined or record.at < 4000 }}\" }\ndeletes: { absence: { guard: { max_fraction: 0.9 } } }";
    let project = project(&api, words);
    let report = project.run();
    assert_eq!(
        (&report["added"], &report["quarantined"], &report["filtered"]),
        (&json!(4_000), &json!(1), &json!(1_000)),
        "{report}"
    );
    let body = lines(0..3_000);
    api.becomes(move |_| Reply::text("application/x-ndjson", &body));
    let report = project.run();
    assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(1_000), &json!(3_000)), "{report}");
}

#[test]
fn pages_of_a_stream_follow_each_other() {
    let api = Api::start(|request| {
        let page = request.number("page", 1);
        let ids = (page - 1) * 1_500..page * 1_500;
        let ids = if page > 3 { 0..0 } else { ids };
        Reply::text("text/csv", &format!("id,name\n{}", ids.map(|id| format!("{id},item\n")).collect::<String>()))
    });
    let csv =
        project(&api, "response: { format: csv }\npagination: { page: { query: page } }\ndeletes: { absence: {} }");
    assert_eq!(csv.run()["added"], 4_500);
    assert_eq!(api.asked().len(), 4);

    let api = Api::start(|request| {
        let after = request.number("after", 0);
        Reply::text("application/x-ndjson", &lines(after + 1..(after + 1_501).min(4_001)))
    });
    let ndjson =
        project(&api, "response: { format: ndjson }\npagination: { cursor: { last_record: $.id, query: after } }");
    assert_eq!(ndjson.run()["added"], 4_000);
    assert_eq!(api.asked().pop(), Some("GET /export?after=4000".to_owned()));

    let api = Api::start(|request| {
        let page = request.number("page", 1);
        let reply = Reply::text("application/x-ndjson", &lines(page * 10..page * 10 + 10));
        if page < 3 { reply.with("link", &format!("</export?page={}>; rel=next", page + 1)) } else { reply }
    });
    let linked = project(&api, "response: { format: ndjson }\npagination: { link: {} }");
    assert_eq!(linked.run()["added"], 30);
}

#[test]
fn a_dry_run_reads_no_more_than_it_shows() {
    let api = Api::start(|_| {
        Reply::written("application/x-ndjson", |to| (0..4_000_000).try_for_each(|id| to.write_all(line(id).as_bytes())))
    });
    let project = project(&api, "response: { format: ndjson }");
    let output = project.headwater(&["dry-run", "acme/items"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("item 1"), "{}", output.stdout);
}

#[test]
fn a_condition_over_the_body_is_asked_of_the_whole() {
    let api = Api::start(|_| Reply::text("application/x-ndjson", &lines(0..10)));
    let rule = "errors: [{ when: \"{{ response.body is string and 'item 9' in response.body }}\", then: fail }]";
    let project = project(&api, &format!("response: {{ format: ndjson }}\n{rule}"));
    assert_eq!(project.run_fails(3)["error"]["code"], "error_rule");
}

/// Lines of more than the bound of an answer that is read whole, of which most is in no column; some before and behind them.
#[cfg(target_os = "linux")]
fn long(count: usize, first: &'static str, last: &'static str) -> Reply {
    let padding = "x".repeat(13 << 10);
    Reply::written("application/x-ndjson", move |to| {
        to.write_all(first.as_bytes())?;
        (0..count).try_for_each(|id| {
            let kind = if id % 2 == 0 { "even" } else { "odd" };
            to.write_all(
                format!("{{\"id\":{id},\"name\":\"n\",\"kind\":\"{kind}\",\"of\":\"{padding}\"}}\n").as_bytes(),
            )
        })?;
        to.write_all(last.as_bytes())
    })
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_an_answer_whatever_becomes_of_its_records() {
    const COUNT: usize = 6_000;
    let details = |request: &crate::support::Request| {
        let ids = request.param("ids").expect("ids").split(',').map(str::to_owned);
        let found: Vec<Value> = ids.map(|id| json!({ "id": id, "phone": format!("p{id}") })).collect();
        Reply::json(&json!({ "found": found }))
    };
    let detail = "request: { get: /export }\nresponse: { format: ndjson }\n\
                  detail: { request: { get: /many, query: { ids: \"{{ records | map(attribute='id') | join(',') }}\" } }, \
                  response: { records: \"$.found[*]\" }, batch: 200, as: detail, only_changed: true }\ndeletes: { absence: {} }";
    let walk = "request: { get: \"/export/{{ walk.folder | default('all') }}\" }\nresponse: { format: ndjson, where: \"$[?@.kind != 'folder']\" }\n\
                walk: { into: \"$[?@.kind == 'folder']\", bind: { folder: $.id } }\ndeletes: { absence: {} }";
    let token = "request: { get: /export, query: { since: \"{{ watermark }}\" } }\nincremental: { token: { from: \"$[-1].token\" } }\n\
                 response: { format: ndjson, where: \"{{ record.token is not defined }}\" }\ndeletes: { flag: { when: \"$[?@.gone == true]\" } }";
    let outputs = "request: { get: /export }\nresponse: { format: ndjson }\noutputs:\n  - { model: Item, records: \"$[?@.kind == 'even']\" }\n  \
                   - { model: { model: Odd, table: odds, key: [id], columns: { id: { path: $.id, type: bigint } } }, records: \"$[?@.kind == 'odd']\" }\n\
                   deletes: { absence: {} }";
    let paths = "request: { get: /export }\nresponse: { format: ndjson, records: [\"$[?@.kind == 'even']\", \"$[?@.kind == 'odd']\"] }\ndeletes: { absence: {} }";
    for (what, words) in [("detail", detail), ("walk", walk), ("token", token), ("outputs", outputs), ("paths", paths)]
    {
        let answer = move |count: usize| {
            move |request: &crate::support::Request| match (what, request.path.as_str()) {
                (_, "/many") => details(request),
                ("walk", "/export/all") => long(count, "", "{\"id\":900000,\"kind\":\"folder\"}\n"),
                ("walk", "/export/900000") => Reply::text("application/x-ndjson", &line(900_001)),
                ("token", _) if request.param("since") == Some("t1") => {
                    Reply::text("application/x-ndjson", "{\"token\":\"t2\"}\n")
                }
                ("token", _) => long(count, "", "{\"token\":\"t1\"}\n"),
                _ => long(count, "", ""),
            }
        };
        let more = u64::from(what == "walk");
        let mut peaks = Vec::new();
        for count in [COUNT / 12, COUNT] {
            let api = Api::start(answer(count));
            let project = Project::simple(&api.url(), words, MODEL);
            let sync =
                std::fs::read_to_string(project.path().join("integrations/api/syncs/items.yaml")).expect("a sync");
            if what == "outputs" {
                project.write("integrations/api/syncs/items.yaml", sync.replace("model: Item\nrequest", "request"));
            }
            // one place among the requests in flight is enough
            let provider = format!("provider: api\nbase_url: {}\nrate_limit: {{ concurrency: 1 }}\n", api.url());
            project.write("providers/api.yaml", provider);
            let (most, report) = peak(&project);
            assert_eq!(report["added"], count as u64 + more, "{what}: {report}");
            peaks.push(most);
            if what == "token" {
                assert_eq!(project.run()["requests"], 1);
                assert_eq!(api.requests().last().and_then(|request| request.param("since")), Some("t1"));
            }
            if what == "detail" {
                let report = project.run();
                assert_eq!((&report["unchanged"], &report["requests"]), (&json!(count), &json!(1)), "{report}");
            }
        }
        eprintln!("{what}: {} MiB of 6 MiB, {} MiB of 76 MiB", peaks[0], peaks[1]);
        assert!(peaks[1] < peaks[0] + 48, "{what}: {peaks:?}");
    }
}

#[test]
fn details_are_asked_for_when_the_answer_is_there_and_once() {
    let broken = AtomicUsize::new(1);
    let api = Api::start(move |request| match request.path.as_str() {
        "/export" => {
            let breaks = broken.swap(0, Ordering::Relaxed) == 1;
            Reply::written("application/x-ndjson", move |to| {
                to.write_all(lines(0..1_500).as_bytes())?;
                if breaks {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                to.write_all(lines(1_500..RECORDS).as_bytes())
            })
        }
        _ => {
            let ids = request.param("ids").expect("ids").split(',').map(str::to_owned);
            let found: Vec<Value> = ids.map(|id| json!({ "id": id, "phone": format!("p{id}") })).collect();
            Reply::json(&json!({ "found": found }))
        }
    });
    let sync = "request: { get: /export }\nresponse: { format: ndjson }\n\
                detail: { request: { get: /many, query: { ids: \"{{ records | map(attribute='id') | join(',') }}\" } }, \
                response: { records: \"$.found[*]\" }, batch: 500, as: detail }\ndeletes: { absence: {} }";
    let model = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, phone: $.detail.phone }";
    let project = Project::simple(&api.url(), sync, model);
    let report = project.run();
    assert_eq!((&report["added"], &report["pages"], &report["records"]), (&json!(RECORDS), &json!(1), &json!(RECORDS)));
    assert_eq!(project.column("SELECT count(*) FROM api.items WHERE phone = 'p' || id"), [RECORDS]);
    let many = api.requests().iter().filter(|request| request.path == "/many").count();
    assert_eq!((many, api.requests().len()), (RECORDS / 500, 2 + RECORDS / 500));
    assert_eq!(api.requests()[1].path, "/export", "nothing is asked of an answer that breaks");
    let left = std::fs::read_dir(project.path()).expect("a folder").map(|file| file.expect("a file").file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp")));

    // a dry run shows some, and reads no further
    let api = Api::start(|request| match request.path.as_str() {
        "/export" => Reply::written("application/x-ndjson", |to| {
            (0..4_000_000).try_for_each(|id| to.write_all(line(id).as_bytes()))
        }),
        _ => Reply::json(&json!({ "found": [{ "id": 1, "phone": "p1" }] })),
    });
    let project = Project::simple(&api.url(), &sync.replace("as: detail }", "as: detail, on_404: skip }"), model);
    let output = project.headwater(&["dry-run", "acme/items"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("p1"), "{}", output.stdout);
}

#[test]
fn places_that_an_answer_names_are_read() {
    let list = |ids: std::ops::Range<usize>, folders: std::ops::Range<usize>| {
        let folders = folders.map(|id| format!("{{\"id\":{id},\"kind\":\"folder\"}}\n"));
        lines(ids) + &folders.collect::<String>()
    };
    let api = Api::start(move |request| {
        Reply::text(
            "application/x-ndjson",
            &match request.path.as_str() {
                "/in/0" => list(10_000..12_500, 1..4),
                // one record has no key, which is another reason for doubt
                "/in/1" => {
                    format!("{{\"name\":\"n\"}}\n{}{}", list(20_000..21_500, 3..4), list(21_500..23_000, 4..5))
                }
                path => list(path.len()..path.len() + 1, 5..5),
            },
        )
    });
    let sync = "request: { get: \"/in/{{ walk.folder | default(0) }}\" }\nresponse: { format: ndjson, where: \"$[?@.kind != 'folder']\" }\n\
                walk: { into: \"$[?@.kind == 'folder']\", bind: { folder: $.id }, max_depth: 1 }\ndeletes: { absence: {} }";
    let project = Project::simple(&api.url(), sync, MODEL);
    let output = project.headwater(&["run", "--json"]);
    let report = output.report().remove(0);
    // what is too deep is told of once, however many records say so
    assert_eq!((&report["state"], &report["skipped"]), (&json!("partial"), &json!(1)), "{report}");
    project.write(
        "integrations/api/syncs/items.yaml",
        format!("sync: items\nmodel: Item\n{}\n", sync.replace("max_depth: 1", "max_depth: 5")),
    );
    assert_eq!(project.run()["state"], "completed");
    assert_eq!(project.number("SELECT count(*) FROM api.items_live"), 2_500 + 3_000 + 1);
    assert_eq!(project.number("SELECT count(*) FROM headwater.nodes"), 4);
}

#[test]
fn what_stands_beside_the_records_is_known_at_the_end() {
    // the next page, the number of all, and the token stand around the elements
    let page = |from: usize, beside: &str| {
        let entries: String =
            (from..from + 1_200).map(|id| format!("<entry><id>{id}</id><name>n</name></entry>")).collect();
        format!("<feed><total>2400</total><entries>{entries}</entries>{beside}</feed>")
    };
    let api = Api::start(move |request| {
        let body = match (request.param("since"), request.param("after")) {
            (Some(_), _) => "<feed><total>0</total><entries/><token>t2</token></feed>".to_owned(),
            (_, None) => page(0, "<more>true</more><next>c1</next>"),
            _ => page(1_200, "<more>false</more><token>t1</token>"),
        };
        Reply::text("application/xml", &body)
    });
    let sync = "request: { get: /export, query: { since: \"{{ watermark }}\" } }\nincremental: { token: { from: $.feed.token } }\n\
                response: { format: xml, records: \"$.feed.entries.entry[*]\", optional: true }\n\
                pagination: { cursor: { from: $.feed.next, has_more: $.feed.more, query: after } }\ndeletes: { flag: { when: \"$[?@.gone == '1']\" } }";
    let project = Project::simple(&api.url(), sync, MODEL);
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.report()[0]["added"], 2_400, "{output:?}");
    assert_eq!(api.asked(), ["GET /export", "GET /export?after=c1"]);
    assert_eq!(project.run()["records"], 0);
    assert_eq!(api.asked(), ["GET /export?since=t1"]);

    // of lines: in the last of them, or the first
    let api = Api::start(|request| {
        let (from, next) = match request.param("after") {
            None => (0, "\"c1\""),
            _ => (1_500, "null"),
        };
        Reply::text("application/x-ndjson", &format!("{}{{\"next\":{next}}}\n", lines(from..from + 1_500)))
    });
    let sync = "request: { get: /export }\nresponse: { format: ndjson, where: \"$[?@.id]\" }\npagination: { cursor: { from: \"$[-1].next\", query: after } }";
    let project = Project::simple(&api.url(), sync, MODEL);
    assert_eq!(project.run()["added"], 3_000);
    assert_eq!(api.asked(), ["GET /export", "GET /export?after=c1"]);
}

#[test]
fn each_list_of_an_answer_fills_its_table() {
    let both = |people: usize, firms: usize| {
        let of = |name: &str, count: usize| {
            (0..count).map(|id| format!("<{name}><id>{id}</id></{name}>")).collect::<String>()
        };
        format!("<all><people>{}</people><firms>{}</firms></all>", of("person", people), of("firm", firms))
    };
    let body = both(1_500, 1_300);
    let api = Api::start(move |_| Reply::text("application/xml", &body));
    let sync = "sync: items\nrequest: { get: /export }\nresponse: { format: { xml: { lists: [person, firm] } } }\noutputs:\n  \
                - { model: Item, records: \"$.all.people.person[*]\" }\n  \
                - { model: { model: Firm, table: firms, key: [id], columns: { id: { path: $.id, type: bigint } } }, records: \"$.all.firms.firm[*]\" }\n\
                deletes: { absence: { guard: { max_fraction: 0.9 } } }\n";
    let project = Project::simple(&api.url(), "", MODEL);
    project.write("integrations/api/syncs/items.yaml", sync);
    assert_eq!(project.run()["added"], 2_800);
    let counts = |project: &Project| {
        (project.number("SELECT count(*) FROM api.items_live"), project.number("SELECT count(*) FROM api.firms_live"))
    };
    assert_eq!(counts(&project), (1_500, 1_300));
    let body = both(1_400, 1);
    api.becomes(move |_| Reply::text("application/xml", &body));
    assert_eq!(project.run_fails(4)["error"]["code"], "deletes_guarded");
    let body = both(1_400, 1_200);
    api.becomes(move |_| Reply::text("application/xml", &body));
    let report = project.run();
    assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(200), &json!(2_600)), "{report}");
}

#[test]
fn what_stands_alone_is_what_it_is_when_the_answer_is_read_whole() {
    // the one list is of all records, and the other of one model: what is left when the stream ends is only of that
    let others = "<person><id>1</id></person><person><id>2</id></person>";
    let body = format!("<all><people>{others}</people><firms><firm><id>3</id></firm></firms></all>");
    let api = Api::start(move |_| Reply::text("application/xml", &body));
    let sync = |more: &str| {
        format!(
            "sync: items\nrequest: {{ get: /export }}\nresponse: {{ format: xml, records: \"$.all.people.person[*]\" }}\n{more}outputs:\n  \
             - {{ model: Item }}\n  \
             - {{ model: {{ model: Firm, table: firms, key: [id], columns: {{ id: {{ path: $.id, type: bigint }} }} }}, records: \"$.all.firms.firm[*]\" }}\n"
        )
    };
    // a condition over the body has it read whole
    for more in ["", "pagination: { page: { query: page, stop: { when: \"{{ response.body.all }}\" } } }\n"] {
        let project = Project::simple(&api.url(), "", MODEL);
        project.write("integrations/api/syncs/items.yaml", sync(more));
        let report = project.headwater(&["run", "--json"]).report().remove(0);
        assert_eq!((&report["added"], &report["quarantined"]), (&json!(2), &json!(1)), "{report}");
    }
}
