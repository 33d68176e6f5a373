//! The file: made whole, waited for, let go, and left alone when it is not ours.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::support::{Bench, at, customers, killed, live, model, open, query, reader};
use crate::store::file::{Access, Warehouse};
use crate::store::layout::VERSION;
use crate::store::sql::CATALOG;
use crate::store::{Error, ReadStore, Store};

fn opening(path: &Path) -> Error {
    Store::open_for_run(path, Box::new(|_| {})).err().expect("not opened")
}

fn reading(path: &Path) -> Error {
    ReadStore::open(path, Box::new(|_| {})).err().expect("not opened")
}

#[test]
fn a_second_run_is_told_who_works() {
    let mut bench = Bench::new(customers());
    bench.store.release().expect("released");
    match opening(&bench.path()) {
        Error::Busy { pid, .. } => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other}"),
    }
    let Bench { store, folder, .. } = bench;
    drop(store);
    drop(open(&folder.path().join("w.duckdb")));
}

#[test]
fn files_that_are_not_ours_are_left_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    let damaged = {
        drop(open(&path));
        let mut bytes = std::fs::read(&path).expect("read");
        std::fs::remove_file(&path).expect("removed");
        for byte in &mut bytes[4096..] {
            *byte ^= 0x5a;
        }
        bytes
    };
    for (bytes, words) in [
        (b"a,b\n1,2\n".to_vec(), "is not a DuckDB database"),
        ([b"SQLite format 3\0".to_vec(), vec![0; 5_000]].concat(), "is not a DuckDB database"),
        (damaged[..6_000].to_vec(), "cannot be read as a DuckDB database: IO Error: Could not read enough bytes"),
        (damaged, "cannot be read as a DuckDB database: IO Error: Corrupt database file"),
    ] {
        std::fs::write(&path, &bytes).expect("written");
        for error in [opening(&path), reading(&path)] {
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.hint().is_some());
        }
        assert!(std::fs::read(&path).expect("read") == bytes);
    }
}

/// Making one of them takes as much memory as what the run holds besides.
#[test]
fn small_row_groups_become_one_when_nothing_more_comes() {
    let mut bench = Bench::new(customers());
    let groups = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('shop.customers')";
    let rows = |from: i64| -> Vec<_> { (from..from + 3_000).map(|id| live(json!([id, "a name"]))).collect() };
    for minute in 1..=3 {
        bench.commit(minute, &rows(minute * 3_000));
        bench.store.release_briefly().expect("released");
    }
    assert_eq!(bench.value(groups), 3);
    bench.commit(4, &rows(12_000));
    assert_eq!(bench.value(groups), 1);
}

#[test]
fn a_newer_layout_is_left_as_it_is() {
    let mut bench = Bench::new(customers());
    bench.store.release().expect("released");
    let path = bench.path();
    let Bench { store, folder: _folder, .. } = bench;
    drop(store);
    duckdb::Connection::open(&path)
        .expect("opened")
        .execute_batch(&format!("UPDATE headwater.meta SET version = {}", VERSION + 1))
        .expect("set");
    let before = std::fs::read(&path).expect("read");
    for error in [opening(&path), reading(&path)] {
        assert!(matches!(error, Error::NewerLayout { found, known: VERSION, .. } if found > VERSION), "{error}");
    }
    assert!(std::fs::read(&path).expect("read") == before);
}

#[test]
fn an_older_layout_is_brought_up_to_date() {
    let mut bench = Bench::new(customers());
    let page = super::support::bad_batch(&bench.model, &[(Some(serde_json::json!([1])), "a")]);
    let group = bench.group(vec![page], 1);
    bench.store.commit(group).expect("committed");
    bench.store.release().expect("released");
    let path = bench.path();
    let Bench { store, folder: _folder, model, id } = bench;
    drop(store);
    duckdb::Connection::open(&path)
        .expect("opened")
        .execute_batch(
            "ALTER TABLE headwater.quarantine DROP COLUMN row_key; ALTER TABLE headwater.quarantine DROP COLUMN record_hash; \
             DROP TABLE headwater.outbox; UPDATE headwater.meta SET version = 1",
        )
        .expect("as it was");
    assert_eq!(query(&path, "SELECT reason FROM headwater.quarantine").expect("an older layout can be read").len(), 1);
    let mut bench = Bench { store: open(&path), folder: _folder, model, id };
    let page = super::support::bad_batch(&bench.model, &[(Some(serde_json::json!([2])), "b")]);
    let group = bench.group(vec![page], 2);
    bench.store.commit(group).expect("committed");
    let found = bench.rows("SELECT reason, row_key IS NULL FROM headwater.quarantine ORDER BY reason");
    assert_eq!(found, [serde_json::json!(["a", true]), serde_json::json!(["b", false])]);
    assert_eq!(bench.value("SELECT version FROM headwater.meta"), VERSION);
    assert_eq!(bench.value("SELECT count(*) FROM headwater.outbox"), 0);
}

#[test]
fn there_is_nothing_to_read_before_the_first_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = reading(&folder.path().join("none.duckdb"));
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert_eq!(error.hint().as_deref(), Some("`headwater run` makes it"));
    let error = opening(&folder.path().join("no/such/folder/w.duckdb"));
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[test]
fn what_a_killed_creation_leaves_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    for name in ["w.duckdb", "w.duckdb.new", "w.duckdb.new.wal", "w.duckdb.wal"] {
        std::fs::write(folder.path().join(name), if name == "w.duckdb" { "" } else { "half" }).expect("written");
    }
    assert!(matches!(reading(&path), Error::Missing { .. }));
    let mut store = open(&path);
    store.prepare(&[customers()], false, "r0", at(0)).expect("prepared");
    drop(store);
    assert_eq!(query(&path, "FROM shop.customers").expect("rows").len(), 0);
    assert!(!folder.path().join("w.duckdb.new").exists());
}

#[test]
fn a_database_of_somebody_else_is_moved_into_beside_their_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    duckdb::Connection::open(&path).expect("opened").execute_batch("CREATE TABLE mine AS SELECT 1 AS a").expect("made");
    let mut store = open(&path);
    store.prepare(&[customers()], false, "r0", at(0)).expect("prepared");
    drop(store);
    assert_eq!(query(&path, "FROM mine").expect("rows"), [json!([1])]);
}

#[test]
fn between_commits_anybody_can_open_the_file() {
    let mut bench = Bench::new(customers());
    bench.commit(1, &[live(json!([1, "a"]))]);
    bench.store.release().expect("released");
    let other = Other::holding(&bench.path());
    assert_eq!(other.let_go(), "1");
    bench.commit(2, &[live(json!([1, "b"]))]);
    assert_eq!(bench.value("SELECT name FROM shop.customers"), "b");
    // ending without letting go leaves nothing beside the database either
    bench.commit(3, &[live(json!([2, "c"]))]);
    let Bench { store, folder, .. } = bench;
    drop(store);
    assert!(!folder.path().join("w.duckdb.wal").exists());
    assert!(!folder.path().join("w.duckdb.tmp").exists());
}

#[test]
fn a_commit_waits_for_another_process_and_says_so() {
    if let Some(path) = Other::asked_for() {
        return Other::hold(&path);
    }
    let bench = Bench::new(customers());
    let path = bench.path();
    let Bench { store, folder: _folder, model, id } = bench;
    drop(store);
    let told = Arc::new(Mutex::new(Vec::new()));
    let other = Arc::new(Mutex::new(None));
    let waiting = {
        let (told, other) = (Arc::clone(&told), Arc::clone(&other));
        Box::new(move |message: &str| {
            told.lock().expect("one thread").push(message.to_owned());
            // the other program lets go as soon as we complain
            let other: Option<Other> = other.lock().expect("one thread").take();
            other.expect("once").let_go();
        })
    };
    let mut store = Store::open_for_run(&path, waiting).expect("opened");
    store.release().expect("released");
    let process = Other::holding(&path);
    let pid = process.child.id();
    *other.lock().expect("one thread") = Some(process);
    assert_eq!(store.checkpoint(&id).expect("read after waiting"), None);
    store.prepare(&[model], false, "r1", at(1)).expect("prepared");
    let told = told.lock().expect("one thread");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&format!("(PID {pid})")), "{told:?}");
}

#[test]
fn waiting_has_an_end() {
    let bench = Bench::new(customers());
    let path = bench.path();
    let Bench { store, folder: _folder, .. } = bench;
    drop(store);
    let mut store = Store::open_within(&path, Duration::from_millis(50), Box::new(|_| {})).expect("opened");
    store.release().expect("released");
    let other = Other::holding(&path);
    let error = store.checkpoint(&super::support::id()).expect_err("held");
    assert!(matches!(&error, Error::Locked { waited, .. } if *waited == Duration::from_millis(50)), "{error}");
    assert!(error.to_string().contains(&format!("(PID {})", other.child.id())), "{error}");
    other.let_go();
    assert_eq!(store.checkpoint(&super::support::id()).expect("read"), None);
}

#[test]
fn a_published_copy_is_whole_and_replaces_the_earlier_one() {
    let mut bench = Bench::new(customers());
    let target = bench.folder.path().join("published.duckdb");
    for minutes in 1..3 {
        bench.commit(minutes, &[live(json!([minutes, "a"]))]);
        std::fs::write(bench.folder.path().join("published.duckdb.wal"), "stale").expect("written");
        bench.store.publish(&target).expect("published");
        let rows = query(&target, "SELECT count(*) FROM shop.customers").expect("rows");
        assert_eq!(rows, [json!([minutes])]);
    }
    let error = bench.store.publish(&bench.path()).expect_err("the database itself");
    assert!(error.to_string().contains("it is the database itself"), "{error}");
    assert!(bench.store.publish(&bench.folder.path().join("no/such/p.duckdb")).is_err());
    bench.commit(5, &[live(json!([9, "a"]))]);
    drop(reader(&target));
}

/// Another process (this test program again) that has the database open until it is told to let go.
struct Other {
    child: Child,
}

impl Other {
    const ASKED: &str = "HEADWATER_TEST_HOLD";

    fn holding(path: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["store::tests::file::a_commit_waits_for_another_process_and_says_so", "--exact", "--nocapture"])
            .env(Self::ASKED, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let output = BufReader::new(child.stdout.as_mut().expect("piped"));
        let held = output.lines().map_while(Result::ok).any(|line| line.contains("holding"));
        assert!(held, "the other process did not open the database");
        Self { child }
    }

    /// What the other process was asked to hold, when this is the other process.
    fn asked_for() -> Option<std::path::PathBuf> {
        std::env::var_os(Self::ASKED).map(Into::into)
    }

    /// The other process: opens the file for writing, says so, waits for a line, says how many tables it saw.
    fn hold(path: &Path) {
        let db = duckdb::Connection::open(path).expect("opened");
        let tables: i64 = db
            .query_row("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'shop'", [], |row| row.get(0))
            .expect("counted");
        println!("holding");
        std::io::stdin().read_line(&mut String::new()).expect("told to let go");
        drop(db);
        println!("tables {tables}");
    }

    fn let_go(mut self) -> String {
        writeln!(self.child.stdin.take().expect("piped"), "go").expect("told");
        let output = BufReader::new(self.child.stdout.take().expect("piped"));
        // read to the end: the other process still has its own test result to print
        let lines: Vec<String> = output.lines().map_while(Result::ok).collect();
        let said = lines.iter().find_map(|line| line.strip_prefix("tables ").map(str::to_owned));
        self.child.wait().expect("ended");
        said.expect("it said what it saw")
    }
}

#[test]
fn a_wide_table_has_the_memory_that_it_needs() {
    let names: Vec<String> = (0..500).map(|at| format!("c{at}")).collect();
    let columns: Vec<(&str, &str)> =
        std::iter::once(("id", "bigint")).chain(names.iter().map(|name| (name.as_str(), "varchar"))).collect();
    let mut bench = Bench::new(Arc::new(model(&columns, &["id"])));
    let row = |id: i64, word: &str| live(std::iter::once(json!(id)).chain(names.iter().map(|_| json!(word))).collect());
    for group in 0..8 {
        let rows: Vec<_> =
            (group * 40..group * 40 + 80).map(|id| row(id, &format!("group {group}, row {id}"))).collect();
        bench.commit(group, &rows);
    }
    // with all of it in the log
    let behind = killed(&bench.path());
    let count = "SELECT count(*)::INT AS rows, count(*) FILTER (c499 LIKE 'group 7%')::INT AS last FROM shop.customers";
    let path = behind.path().join("w.duckdb");
    assert_eq!(query(&path, count).expect("read"), [json!([360, 80])]);
    let mut store = open(&path);
    store.release().expect("folded into the file");
    assert_eq!(query(&path, count).expect("read"), [json!([360, 80])]);
}

fn limit(warehouse: &Warehouse) -> String {
    let limit = warehouse.connection().query_row("SELECT current_setting('memory_limit')", [], |row| row.get(0));
    limit.expect("a limit")
}

fn started(path: &Path) -> Warehouse {
    Warehouse::start(path, Duration::ZERO, Box::new(|_| {})).expect("started")
}

/// DuckDB keeps 16 KiB for 2,048 rows of which one is deleted, and cannot spill them: of 20,000,000 rows that is more than its usual limit.
#[test]
fn memory_follows_the_rows_of_all_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    drop(open(&path));
    let long = |name: &str| format!("CREATE TABLE {name} AS SELECT 1::TINYINT AS a FROM range(10_000_000);");
    let db = duckdb::Connection::open(&path).expect("opened");
    db.execute_batch(&(long("one") + &long("other"))).expect("made");
    drop(db);
    let mut warehouse = started(&path);
    assert_eq!(limit(&warehouse), "152.5 MiB");
    warehouse.attach(Access::Write).expect("attached");
    // 64 MB, 1.3 MB for each of the 23 columns of `runs`, and 160 MB
    assert_eq!(limit(&warehouse), "242.3 MiB");
}

/// Deletes all over two tables, of which only one is written: folding the log in takes what DuckDB keeps of both.
#[test]
fn what_was_deleted_all_over_other_tables_is_no_lack_of_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    drop(open(&path));
    let db = duckdb::Connection::open(&path).expect("opened");
    for name in ["one", "other"] {
        db.execute_batch(&format!(
            "CREATE TABLE {name} AS SELECT range AS a, 1 AS b FROM range(12_000_000); CHECKPOINT; DELETE FROM {name} WHERE a % 2048 = 7"
        ))
        .expect("made");
    }
    drop(db);
    let mut warehouse = started(&path);
    warehouse.attach(Access::Write).expect("attached");
    warehouse.connection().execute_batch(&format!("INSERT INTO {CATALOG}.one VALUES (0, 0)")).expect("written");
    warehouse.detach().expect("folded in");
    assert!(!path.with_extension("duckdb.wal").exists());
}

/// A column of another program may take more than headwater counts for one: here 220 fields, of each of which DuckDB holds a block while small
/// row groups become one.
#[test]
fn the_log_is_folded_in_with_more_memory_if_need_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    drop(open(&path));
    let mut warehouse = started(&path);
    warehouse.attach(Access::Write).expect("attached");
    let fields: Vec<_> = (0..220).map(|at| format!("f{at} := hash(range + {at})")).collect();
    let rows = format!("SELECT struct_pack({}) AS wide FROM range(1_000)", fields.join(", "));
    warehouse.connection().execute_batch(&format!("CREATE TABLE {CATALOG}.other AS {rows}")).expect("made");
    for _ in 0..3 {
        warehouse.detach_briefly().expect("folded in");
        warehouse.attach(Access::Write).expect("attached");
        warehouse.connection().execute_batch(&format!("INSERT INTO {CATALOG}.other {rows}")).expect("written");
    }
    let folding = warehouse.folding;
    warehouse.detach().expect("folded in");
    assert!(warehouse.folding > folding, "{folding} bytes were enough");
    assert!(!path.with_extension("duckdb.wal").exists());
    warehouse.attach(Access::Read).expect("attached");
    let rows = format!("SELECT count(wide.f219) FROM {CATALOG}.other");
    assert_eq!(warehouse.connection().query_row(&rows, [], |row| row.get(0)), Ok(4_000));
}

/// DuckDB does not say so of its settings, and another version may do another thing.
#[test]
fn what_duckdb_keeps_of_the_file_is_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.duckdb");
    drop(open(&path));
    let mut warehouse = started(&path);
    warehouse.attach(Access::Write).expect("attached");
    let db = warehouse.connection();
    db.execute_batch("CREATE TABLE headwater_db.long AS SELECT hash(range) AS a FROM range(2_000_000); CHECKPOINT headwater_db; SELECT max(a) FROM headwater_db.long")
        .expect("made and read");
    let kept = || -> u64 {
        let kept = "SELECT CAST(sum(memory_usage_bytes) AS UBIGINT) FROM duckdb_memory()";
        db.query_row(kept, [], |row| row.get(0)).expect("a sum")
    };
    assert!(kept() > 10_000_000, "{}", kept());
    warehouse.give_all_back().expect("given back");
    assert!(kept() < 1_000_000, "{}", kept());
    assert_eq!(limit(&warehouse), "152.5 MiB");
}
