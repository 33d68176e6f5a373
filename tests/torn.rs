//! A kill in the middle of any write: the file opens, and one more run makes it what it would have been.
//!
//! Linux ends a killed process in the middle of a long write. That happens too seldom to wait for it (`kill.rs`), so a library that is
//! preloaded into the real program (`torn/tear.c`) does it at each of its writes in turn.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const RECORDS: usize = 60;
const PAGE: usize = 20;
/// Of the calls for the write-ahead log, which are most and alike, every so manieth is torn; of the others each.
const LOG_STEP: usize = 5;
const TRIES: usize = 5;

const SYNC: &str = "request: { get: /items }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: cursor } }
deletes: { absence: {} }";

const MODEL: &str = "key: [id]
columns:
  id: { path: $.id, type: bigint }
  name: { path: $.name, required: true }";

/// The change of the table is a checkpoint before the first page.
const MODEL_WITH_MORE: &str = "key: [id]
columns:
  id: { path: $.id, type: bigint }
  name: { path: $.name, required: true }
  tags: { path: '$.tags[*]', type: 'varchar[]' }";

const RUN: [&str; 3] = ["run", "--commit-every", "1ms"];

fn answer(generation: &AtomicUsize, request: &Request) -> Reply {
    let generation = generation.load(Ordering::Relaxed);
    let all: Vec<Value> = (0..RECORDS + generation)
        .filter(|id| generation == 0 || !id.is_multiple_of(11))
        .map(|id| json!({ "id": id, "name": format!("item {id} of {}", generation * (id % 2)), "tags": ["a"] }))
        .collect();
    let start = request.number("cursor", 0);
    let end = (start + PAGE).min(all.len());
    let next = if end < all.len() { json!(end.to_string()) } else { Value::Null };
    Reply::json(&json!({ "items": all[start..end], "next": next }))
}

/// The preloaded library.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("tear.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torn/tear.c");
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(status.expect("cc, which links Rust as well, can be started").success());
    library
}

/// Runs the program with the library, to be killed in its `at`-th call.
fn headwater(project: &Project, library: &Path, arguments: &[&str], at: usize) -> std::process::Output {
    let database = project.path().canonicalize().expect("a folder").join("test.duckdb");
    let mut command = project.command(arguments);
    command.env("LD_PRELOAD", library).env("TEAR_DATABASE", database).env("TEAR_KEEP", "4096");
    command.env("TEAR_AT", at.to_string()).env("TEAR_LOG", project.path().join("calls"));
    command.output().expect("the program runs")
}

/// Runs it; whether it was killed. It fails for nothing else.
fn killed(project: &Project, library: &Path, arguments: &[&str], at: usize) -> bool {
    let output = headwater(project, library, arguments, at);
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "call {at}: {}", String::from_utf8_lossy(&output.stderr));
    killed
}

/// A project whose run was killed in its `at`-th call, if it could be: in `call`. One run lets go of the file more often than another on a
/// busy machine, so it is tried some times before another call will do.
fn killed_in(fresh: &impl Fn() -> Project, library: &Path, at: usize, call: &str) -> Option<Project> {
    let mut found = None;
    for _ in 0..TRIES {
        let project = fresh();
        if killed(&project, library, &RUN, at) {
            let calls = std::fs::read_to_string(project.path().join("calls")).expect("a log");
            let is_meant = calls.lines().last() == Some(call);
            found = Some(project);
            if is_meant {
                break;
            }
        }
    }
    found
}

fn outcome(project: &Project) -> Vec<Value> {
    let mut rows =
        project.rows("SELECT * EXCLUDE (_first_seen_at, _last_modified_at, _deleted_at) FROM api.items ORDER BY id");
    rows.extend(project.rows("SELECT change_counter FROM headwater.meta"));
    rows
}

/// Whether DuckDB alone cannot open the file.
fn is_torn(project: &Project) -> bool {
    let copy = project.path().join("copy.duckdb");
    std::fs::copy(project.database(), &copy).expect("a copy");
    let settings = duckdb::Config::default().access_mode(duckdb::AccessMode::ReadOnly).expect("a setting");
    let opened = duckdb::Connection::open_with_flags(&copy, settings);
    let torn = opened.err().is_some_and(|error| error.to_string().contains("does not match stored checksum"));
    std::fs::remove_file(copy).expect("removed");
    torn
}

fn journal(project: &Project) -> PathBuf {
    project.path().join("test.duckdb.headwater-journal")
}

/// Tears the calls of a run over `loaded` (nothing: a first load); gives the number of calls torn, and how often the file was torn.
fn walk(url: &str, model: &str, loaded: Option<&[u8]>, library: &Path) -> (usize, usize) {
    let fresh = || {
        let project = Project::simple(url, SYNC, model);
        if let Some(loaded) = loaded {
            std::fs::write(project.database(), loaded).expect("a copy");
        }
        project
    };
    let reference = fresh();
    assert!(!killed(&reference, library, &RUN, 0));
    let calls = std::fs::read_to_string(reference.path().join("calls")).expect("a log");
    let expected = outcome(&reference);
    no_block_is_written_without_a_journal(&calls);

    let is_chosen = |(at, call): &(usize, &str)| !call.ends_with(".wal") || (at - 1).is_multiple_of(LOG_STEP);
    let points: Vec<(usize, &str)> = (1..).zip(calls.lines()).filter(is_chosen).collect();
    let (next, torn) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((at, call)) = points.get(next.fetch_add(1, Ordering::Relaxed)).copied() else { return };
                    let Some(project) = killed_in(&fresh, library, at, call) else { continue };
                    let began = journal(&project).exists();
                    if began && is_torn(&project) {
                        torn.fetch_add(1, Ordering::Relaxed);
                    }
                    match at % 3 {
                        // whoever comes first puts it right
                        0 if project.database().exists() => {
                            assert!(!killed(&project, library, &["query", "SELECT 1"], 0));
                            assert!(!journal(&project).exists(), "call {at}");
                        }
                        // a kill while it is put right
                        1 if began => assert!(killed(&project, library, &RUN, 1 + at / 3 % 3), "call {at}"),
                        _ => {}
                    }
                    assert!(!killed(&project, library, &RUN, 0));
                    assert_eq!(outcome(&project), expected, "call {at}");
                    assert!(!journal(&project).exists(), "call {at}");
                }
            });
        }
    });
    (points.len(), torn.into_inner())
}

/// DuckDB writes the file in checkpoints alone, and each of them has its journal.
fn no_block_is_written_without_a_journal(calls: &str) {
    let mut saved = false;
    for call in calls.lines() {
        match call.trim_end() {
            "sync .headwater-journal" => saved = true,
            "remove .headwater-journal" => saved = false,
            call => assert!(saved || call != "pwrite", "a write outside a journal:\n{calls}"),
        }
    }
    assert!(!saved, "a journal is left:\n{calls}");
}

#[test]
fn a_kill_in_the_middle_of_any_write_leaves_a_file_that_opens() {
    let generation = std::sync::Arc::new(AtomicUsize::new(0));
    let served = std::sync::Arc::clone(&generation);
    let api = Api::start(move |request| answer(&served, request));
    let folder = tempfile::tempdir().expect("a folder");
    let library = library(folder.path());

    let (calls, torn) = walk(&api.url(), MODEL, None, &library);
    assert!(calls > 30 && torn > 0, "{torn} of {calls} calls of a first load tore the file");

    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.run();
    let loaded = std::fs::read(project.database()).expect("the database");
    generation.store(1, Ordering::Relaxed);
    let (calls, torn) = walk(&api.url(), MODEL_WITH_MORE, Some(&loaded), &library);
    assert!(calls > 30 && torn > 0, "{torn} of {calls} calls of a second run tore the file");
}
