//! The journal of a checkpoint: what is put back, and what is left alone.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::support::{Bench, at, customers, id, live, open, query};
use crate::store::file::{Access, RunLock, Warehouse};
use crate::store::{Error, ReadStore, RunRecord, Store, journal};

const BLOCK: usize = 262_144;
const HEADERS: usize = 3 * 4096;

/// A database that nobody has open.
struct Fixture {
    _folder: TempDir,
    path: PathBuf,
    /// its metadata
    blocks: Vec<u64>,
}

impl Fixture {
    fn new() -> Self {
        let mut bench = Bench::new(customers());
        bench.commit(1, &[live(json!([1, "a"]))]);
        bench.store.release().expect("released");
        let path = bench.path();
        let Bench { store, folder, .. } = bench;
        drop(store);
        let db = duckdb::Connection::open(&path).expect("opened");
        let mut statement =
            db.prepare("SELECT CAST(block_id AS UBIGINT) FROM pragma_metadata_info()").expect("prepared");
        let blocks =
            statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("blocks");
        Self { _folder: folder, path, blocks }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("read")
    }

    fn handle(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).expect("opened")
    }

    fn save(&self) {
        assert!(!self.blocks.is_empty());
        journal::save(&self.path, &self.handle(), &self.blocks).expect("saved");
    }

    fn settle(&self) -> bool {
        let put_back = journal::settle(&self.path, &self.handle()).expect("settled");
        assert!(!journal::exists(&self.path));
        put_back
    }

    /// As a kill in the middle of a write leaves the file: what is written begins with another checksum.
    fn tear(&self, place: usize) -> Vec<u8> {
        let mut bytes = self.bytes();
        for byte in &mut bytes[place..place + 16] {
            *byte ^= 0x5a;
        }
        std::fs::write(&self.path, &bytes).expect("written");
        bytes
    }

    fn tear_block(&self) -> Vec<u8> {
        let block = usize::try_from(self.blocks[0]).expect("few");
        self.tear(HEADERS + block * BLOCK)
    }

    /// The database header that the next checkpoint writes.
    fn other_header(&self) -> usize {
        let bytes = self.bytes();
        let iteration = |place: usize| u64::from_le_bytes(bytes[place + 8..place + 16].try_into().expect("eight"));
        if iteration(4096) > iteration(8192) { 8192 } else { 4096 }
    }
}

fn reading(path: &Path) -> Error {
    ReadStore::open(path, Box::new(|_| {})).err().expect("not opened")
}

#[test]
fn what_is_torn_is_put_back() {
    let database = Fixture::new();
    let whole = database.bytes();
    for header in [false, true] {
        database.save();
        database.tear_block();
        if header {
            database.tear(database.other_header());
        }
        assert!(database.settle());
        assert!(database.bytes() == whole);
    }
}

#[test]
fn whoever_opens_the_database_first_puts_it_right() {
    let database = Fixture::new();
    for reader in [true, false] {
        database.save();
        database.tear_block();
        if !reader {
            drop(open(&database.path));
        }
        assert_eq!(query(&database.path, "SELECT name FROM shop.customers").expect("rows"), [json!(["a"])]);
        assert!(!journal::exists(&database.path));
    }
}

#[test]
fn a_file_that_is_whole_is_left_as_it_is() {
    let database = Fixture::new();
    let whole = database.bytes();
    database.save();
    assert!(!database.settle());
    assert!(database.bytes() == whole);
    assert!(!database.settle(), "there is no journal");
}

#[test]
fn the_journal_of_an_earlier_checkpoint_puts_nothing_back() {
    let database = Fixture::new();
    database.save();
    let kept = std::fs::read(journal::path_of(&database.path)).expect("a journal");
    let mut store = open(&database.path);
    let run = RunRecord { run_id: "r2".into(), id: id(), started_at: at(2) };
    store.begin_run(&run).expect("begun");
    drop(store);
    std::fs::write(journal::path_of(&database.path), kept).expect("written");
    let torn = database.tear_block();
    assert!(!database.settle());
    assert!(database.bytes() == torn);
    assert!(matches!(reading(&database.path), Error::Damaged { .. }));
}

#[test]
fn a_journal_that_was_not_finished_puts_nothing_back() {
    let database = Fixture::new();
    database.save();
    let journal = journal::path_of(&database.path);
    let whole = std::fs::read(&journal).expect("a journal");
    let torn = database.tear_block();
    let mut flipped = whole.clone();
    flipped[HEADERS + 1_000] ^= 1;
    let cuts = [0, 7, 8, 40, HEADERS, whole.len() / 2, whole.len() - 1];
    for unfinished in cuts.iter().map(|cut| &whole[..*cut]).chain([flipped.as_slice()]) {
        std::fs::write(&journal, unfinished).expect("written");
        assert!(!database.settle());
        assert!(database.bytes() == torn);
    }
}

#[test]
fn what_a_failed_checkpoint_left_is_not_taken_for_the_old_state() {
    let database = Fixture::new();
    database.save();
    let kept = std::fs::read(journal::path_of(&database.path)).expect("a journal");
    database.tear_block();
    let again = journal::save(&database.path, &database.handle(), &database.blocks).expect_err("there is one");
    assert!(matches!(again, Error::File { doing: "begin", .. }), "{again}");
    assert!(std::fs::read(journal::path_of(&database.path)).expect("a journal") == kept);
    journal::discard(&database.path).expect("removed");
    let torn = journal::save(&database.path, &database.handle(), &database.blocks).expect_err("torn");
    assert!(torn.to_string().contains("is damaged"), "{torn}");
    assert!(!journal::exists(&database.path));
}

#[test]
fn a_reader_leaves_it_to_a_run_that_is_at_work() {
    let database = Fixture::new();
    database.save();
    let torn = database.tear_block();
    let _run = RunLock::take(&database.path).expect("free");
    let mut reader = Warehouse::start(&database.path, Duration::from_millis(20), Box::new(|_| {})).expect("started");
    let error = reader.attach(Access::Read).expect_err("torn");
    assert!(matches!(&error, Error::Locked { holder, .. } if holder.contains("putting right")), "{error}");
    assert!(database.bytes() == torn);
    assert!(journal::exists(&database.path));
}

#[test]
fn a_journal_that_cannot_be_read_is_told_and_kept() {
    let database = Fixture::new();
    for torn in [false, true] {
        if torn {
            database.tear_block();
        }
        std::fs::create_dir_all(journal::path_of(&database.path)).expect("in its place");
        let error = reading(&database.path);
        assert!(matches!(error, Error::Unfinished { .. }), "{error}");
        assert!(error.hint().expect("a hint").contains("headwater run"));
        assert!(matches!(Store::open_for_run(&database.path, Box::new(|_| {})), Err(Error::File { .. })));
    }
}
