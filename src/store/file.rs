//! The warehouse file: opened for a commit, let go when nothing is waiting, never harmed when it is not ours.
//!
//! An in-memory database is the main one; the file is attached to it. A DuckDB file that is open for writing cannot be opened by
//! anybody else, not even to read, so it is attached for a commit and detached when the writer has nothing more to write.
//! DuckDB locks with `fcntl`: the lock is per process and goes when *any* handle of the file is closed in that process. So nothing
//! else in a process may open the file while it is attached.
//!
//! DuckDB makes no checkpoint of its own accord: each goes through [`Warehouse::fold`], which saves what it may tear (see
//! [`super::journal`]).

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use duckdb::{Config, Connection};

use super::error::{Error, first_line};
use super::sql::{CATALOG, literal};
use super::{journal, layout};
use crate::plan::limits;

/// Called once per wait, after about a second, with what is waited for.
pub type WaitObserver = Box<dyn FnMut(&str) + Send>;

/// What the file is attached for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// to commit
    Write,
    /// to look
    Read,
}

/// An in-memory DuckDB that attaches the warehouse file when it is needed.
pub struct Warehouse {
    connection: Connection,
    path: PathBuf,
    attached: Option<Access>,
    /// DuckDB's memory limit, in bytes
    memory: u64,
    /// the same while the log is folded in
    pub(super) folding: u64,
    wait_max: Duration,
    waiting: WaitObserver,
    // closing it ends DuckDB's lock, so it stays open while the file is attached
    handle: Option<File>,
    // dropped after the connection, when DuckDB has let go of the folder
    _spill: SpillFolder,
}

impl Warehouse {
    /// Starts DuckDB; the file is not touched.
    ///
    /// # Errors
    /// The path is not UTF-8, or DuckDB does not start.
    pub fn start(path: &Path, wait_max: Duration, waiting: WaitObserver) -> Result<Self, Error> {
        let spill = with_suffix(path, ".tmp");
        let spill_text = text(&spill)?;
        let settings = || {
            Config::default()
                .max_memory(&format!("{}B", limits::DUCKDB_MEMORY))?
                // with two, a first load of 2,000,000 rows took 1.4 times the CPU time and 85 MB more, and was no faster on 2 cores
                .threads(1)?
                .with("temp_directory", spill_text)?
                .with("autoinstall_known_extensions", "false")?
                .with("autoload_known_extensions", "false")?
                .with("checkpoint_threshold", "1000TB")
        };
        let connection = settings()
            .and_then(Connection::open_in_memory_with_flags)
            .and_then(|connection| {
                connection.execute_batch("PRAGMA disable_checkpoint_on_shutdown")?;
                Ok(connection)
            })
            .map_err(Error::database("start DuckDB"))?;
        let spill = SpillFolder(spill);
        Ok(Self {
            connection,
            path: path.into(),
            attached: None,
            memory: limits::DUCKDB_MEMORY,
            folding: limits::DUCKDB_MEMORY_FOLDING_LEAST,
            wait_max,
            waiting,
            handle: None,
            _spill: spill,
        })
    }

    /// DuckDB, whatever is attached.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file if there is none (or an empty one), with headwater's own tables in it. A killed process leaves no half a file:
    /// it is made beside its place and renamed.
    ///
    /// # Errors
    /// The folder is missing or not writable.
    #[expect(clippy::disallowed_methods, reason = "the store owns the database file")]
    pub fn create_if_missing(&mut self) -> Result<(), Error> {
        if holds_something(&self.path) {
            return Ok(());
        }
        let fresh = with_suffix(&self.path, ".new");
        // a write-ahead log or a journal without its database belongs to nothing
        let journal = journal::path_of(&self.path);
        for leftover in [with_suffix(&self.path, ".wal"), journal, with_suffix(&fresh, ".wal"), fresh.clone()] {
            if leftover.exists() {
                std::fs::remove_file(&leftover).map_err(Error::file("remove", &leftover))?;
            }
        }
        let folder = folder_of(&self.path);
        if !folder.is_dir() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such folder");
            return Err(Error::File { doing: "create the database in", path: folder, source });
        }
        self.execute(
            &format!("ATTACH {} AS {CATALOG} ({})", literal(text(&anchored(&fresh))?), options(Access::Write)),
            "create the database",
        )?;
        // nobody needs the new file before it has its name, so its checkpoint needs no journal
        let made = layout::create(&self.connection).and_then(|()| self.checkpoint());
        self.execute(&format!("DETACH {CATALOG}"), "close the new database")?;
        made?;
        std::fs::rename(&fresh, &self.path).map_err(Error::file("put in place", &self.path))?;
        sync_folder(&folder)
    }

    /// Attaches the file, waiting while another process has it. What a stopped checkpoint has torn is put back first. Nothing happens
    /// when it is attached already.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Locked`], [`Error::NotADatabase`], [`Error::Damaged`], [`Error::Unfinished`].
    pub fn attach(&mut self, access: Access) -> Result<(), Error> {
        if self.attached == Some(access) {
            return Ok(());
        }
        self.detach()?;
        if !holds_something(&self.path) {
            return Err(Error::Missing { path: self.path.clone() });
        }
        let statement = format!("ATTACH {} AS {CATALOG} ({})", literal(text(&anchored(&self.path))?), options(access));
        let has_log = access == Access::Write && holds_something(&with_suffix(&self.path, ".wal"));
        let mut wait = Wait::new(self.wait_max);
        while let Err(error) = self.connection.execute_batch(&statement) {
            if lacks_memory(&error) && self.memory < limits::DUCKDB_MEMORY_MAX {
                // the log holds rows of a wide table, or deletes all over a long one
                self.memory = limits::DUCKDB_MEMORY_MAX.min(2 * self.memory);
                self.give_back()?;
                continue;
            }
            let holder = match holder(error, &self.path) {
                Err(damaged @ Error::Damaged { .. }) if journal::exists(&self.path) => match self.settle(access)? {
                    Settled::PutBack => continue,
                    Settled::Nothing => return Err(damaged),
                    Settled::ByAnother => "another `headwater run` is putting right what a kill has left".to_owned(),
                },
                holder => holder?,
            };
            wait.pause(&self.path, &holder, &mut self.waiting)?;
        }
        self.attached = Some(access);
        // DuckDB reads some blocks only when it needs them, so that a torn one may not have been seen yet
        if journal::exists(&self.path)
            && let Err(error) = self.settle_attached(access)
        {
            self.let_go()?;
            return Err(error);
        }
        if access == Access::Read {
            return Ok(());
        }
        self.fit()?;
        // a table that got a column in it may have row groups of more rows than one gets here, and DuckDB 1.5.5 fails to add to those
        if has_log { self.fold() } else { Ok(()) }
    }

    /// Gives DuckDB the memory that the widest table needs, and the rows of all of them.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn fit(&mut self) -> Result<(), Error> {
        // a list is two columns: the values, and where each begins
        let sizes = "SELECT (SELECT coalesce(max(n), 0) FROM (SELECT count(*) + count(*) FILTER (suffix(data_type, '[]')) AS n \
                     FROM duckdb_columns() WHERE database_name = $1 GROUP BY table_oid)), \
                     (SELECT CAST(coalesce(sum(estimated_size), 0) AS UBIGINT) FROM duckdb_tables() WHERE database_name = $1)";
        let (columns, rows): (u64, u64) = self
            .connection
            .query_row(sizes, [CATALOG], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(Error::database("look how large the tables are"))?;
        let for_columns = columns.saturating_mul(limits::DUCKDB_MEMORY_PER_COLUMN);
        let for_tables = rows.saturating_mul(limits::DUCKDB_MEMORY_PER_ROW).saturating_add(for_columns);
        let with = |least: u64| least.saturating_add(for_tables).min(limits::DUCKDB_MEMORY_MAX);
        self.folding = self.folding.max(with(limits::DUCKDB_MEMORY_FOLDING_LEAST));
        let memory = with(limits::DUCKDB_MEMORY_LEAST);
        if memory <= self.memory {
            return Ok(());
        }
        self.memory = memory;
        self.give_back()
    }

    /// Gives memory back to the system that nothing uses: what DuckDB's allocator and that of the program hold for the next time. DuckDB does
    /// so whenever its limit is set (`BufferPool::SetLimit` of 1.5.5), also to what it is.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn give_back(&self) -> Result<(), Error> {
        self.limit(self.memory)
    }

    /// Gives back the same, and what DuckDB keeps of the file in memory for whoever reads it next.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn give_all_back(&self) -> Result<(), Error> {
        // less than is in use is refused, after all that is not has been let go of
        drop(self.connection.execute_batch("SET memory_limit = '1B'"));
        self.give_back()
    }

    fn limit(&self, bytes: u64) -> Result<(), Error> {
        self.execute(&format!("SET memory_limit = '{bytes}B'"), "give DuckDB memory")
    }

    /// Puts back what a stopped checkpoint has torn, while the file is not attached. DuckDB has just refused it, so no other program is
    /// writing it; that no other headwater is, the run lock says.
    fn settle(&mut self, access: Access) -> Result<Settled, Error> {
        let _lock = match access {
            Access::Write => None,
            Access::Read => match RunLock::take(&self.path) {
                Err(Error::Busy { .. }) => return Ok(Settled::ByAnother),
                lock => Some(lock.map_err(|error| self.unfinished(error))?),
            },
        };
        let settled = self.settle_attached(access);
        self.handle = None;
        Ok(if settled? { Settled::PutBack } else { Settled::Nothing })
    }

    /// The same while it is attached: then nobody else can have it for writing.
    fn settle_attached(&mut self, access: Access) -> Result<bool, Error> {
        let path = self.path.clone();
        self.handle().and_then(|handle| journal::settle(&path, handle)).map_err(|error| match access {
            Access::Write => error,
            Access::Read => self.unfinished(error),
        })
    }

    fn unfinished(&self, error: Error) -> Error {
        match error {
            Error::File { source, .. } => Error::Unfinished { path: self.path.clone(), source },
            other => other,
        }
    }

    /// Folds DuckDB's write-ahead log into the file that is attached for writing, so that a kill at any moment leaves a file that opens.
    ///
    /// # Errors
    /// What may be torn cannot be saved, or DuckDB cannot write the file. Nothing that is committed is lost.
    pub fn fold(&mut self) -> Result<(), Error> {
        let log = "SELECT wal_size = '0 bytes' FROM pragma_database_size() WHERE database_name = ?";
        let empty = self.connection.query_row(log, [CATALOG], |row| row.get(0));
        if empty.map_err(Error::database("look at the log"))? {
            return Ok(());
        }
        let blocks = self
            .connection
            .prepare("SELECT CAST(block_id AS UBIGINT) FROM pragma_metadata_info(?) WHERE free_blocks > 0")
            .and_then(|mut statement| {
                statement.query_map([CATALOG], |row| row.get(0))?.collect::<Result<Vec<u64>, _>>()
            })
            .map_err(Error::database("list the blocks of the database"))?;
        let path = self.path.clone();
        journal::save(&path, self.handle()?, &blocks)?;
        self.limit(self.folding)?;
        let folded = self.checkpoint();
        self.limit(self.memory)?;
        match folded {
            Err(Error::Database { source, .. })
                if lacks_memory(&source) && self.folding < limits::DUCKDB_MEMORY_MAX =>
            {
                // DuckDB lets nobody use the database as it is; with the log, which is whole, it is taken again and folded
                self.folding = limits::DUCKDB_MEMORY_MAX.min(2 * self.folding);
                self.let_go()?;
                self.attach(Access::Write)
            }
            folded => folded.and_then(|()| journal::discard(&path)),
        }
    }

    /// As [`Warehouse::fold`], if the log has grown long.
    ///
    /// # Errors
    /// As [`Warehouse::fold`].
    pub fn fold_if_long(&mut self) -> Result<(), Error> {
        let length = std::fs::metadata(with_suffix(&self.path, ".wal")).map_or(0, |log| log.len());
        if length < limits::LOG_LENGTH_MAX { Ok(()) } else { self.fold() }
    }

    /// Lets go of the file, after its write-ahead log has been folded into it.
    ///
    /// # Errors
    /// DuckDB cannot write the file. It is let go of all the same, and what is committed is in the log.
    pub fn detach(&mut self) -> Result<(), Error> {
        let folded = match self.attached {
            None | Some(Access::Read) => Ok(()),
            Some(Access::Write) => self.fold(),
        };
        self.let_go().and(folded)
    }

    /// As [`Warehouse::detach`], within a run that has more to commit: row groups that could be one stay as they are until the next
    /// `detach`. DuckDB holds all rows of the up to three that it makes of some in memory (`VacuumTask` of 1.5.5).
    ///
    /// # Errors
    /// As [`Warehouse::detach`].
    pub fn detach_briefly(&mut self) -> Result<(), Error> {
        self.execute("SET max_vacuum_tasks = 0", "leave row groups as they are")?;
        let detached = self.detach();
        self.execute("RESET max_vacuum_tasks", "let row groups become one")?;
        detached
    }

    fn let_go(&mut self) -> Result<(), Error> {
        if self.attached.take().is_none() {
            return Ok(());
        }
        self.execute(&format!("DETACH {CATALOG}"), "close the database")?;
        self.handle = None;
        Ok(())
    }

    fn checkpoint(&self) -> Result<(), Error> {
        self.execute(&format!("CHECKPOINT {CATALOG}"), "fold the log into the database")
    }

    /// A handle of the file beside DuckDB's own.
    #[expect(clippy::disallowed_methods, reason = "the store owns the database file")]
    fn handle(&mut self) -> Result<&File, Error> {
        let handle = match self.handle.take() {
            Some(handle) => handle,
            None => {
                OpenOptions::new().read(true).write(true).open(&self.path).map_err(Error::file("open", &self.path))?
            }
        };
        Ok(self.handle.insert(handle))
    }

    fn execute(&self, statement: &str, doing: &'static str) -> Result<(), Error> {
        self.connection.execute_batch(statement).map_err(Error::database(doing))
    }
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        // nobody is left to be told, and nothing is lost: what is committed is in the log
        drop(self.detach());
    }
}

/// What came of putting things back.
enum Settled {
    /// the file is as it was before the checkpoint
    PutBack,
    /// nothing was torn
    Nothing,
    /// a run is doing it
    ByAnother,
}

/// Waits between two attempts to open the file: 10 ms, doubling, within a bound; shorter than a busy writer leaves it free.
struct Wait {
    pause: Duration,
    waited: Duration,
    max: Duration,
    told: bool,
}

const _: () = assert!(Wait::LONGEST.as_millis() < limits::FILE_FREE_MIN.as_millis(), "else the reader misses it");

impl Wait {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(80);
    const TELL_AFTER: Duration = Duration::from_secs(1);

    fn new(max: Duration) -> Self {
        Self { pause: Self::FIRST, waited: Duration::ZERO, max, told: false }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the writer's own thread waits for the file; there is nothing to cancel"
    )]
    fn pause(&mut self, path: &Path, holder: &str, waiting: &mut WaitObserver) -> Result<(), Error> {
        if self.waited >= self.max {
            return Err(Error::Locked { path: path.into(), waited: self.waited, holder: holder.into() });
        }
        if self.waited >= Self::TELL_AFTER && !self.told {
            self.told = true;
            waiting(&format!("waiting for `{}`: {holder}", path.display()));
        }
        let pause = self.pause.min(self.max - self.waited);
        std::thread::sleep(pause);
        self.waited += pause;
        self.pause = (self.pause * 2).min(Self::LONGEST);
        Ok(())
    }
}

/// How the file is attached. What other programs have written into it has row groups of another size, which is fine.
fn options(access: Access) -> String {
    match access {
        Access::Read => "TYPE duckdb, READ_ONLY".to_owned(),
        Access::Write => format!("TYPE duckdb, ROW_GROUP_SIZE {}", limits::ROW_GROUP_ROWS),
    }
}

fn lacks_memory(error: &duckdb::Error) -> bool {
    let message = error.to_string();
    ["Out of Memory", "could not allocate block", "failed to pin block"].iter().any(|words| message.contains(words))
}

/// Who holds the file, when that is why DuckDB did not open it.
///
/// # Errors
/// Any other reason.
fn holder(error: duckdb::Error, path: &Path) -> Result<String, Error> {
    let message = first_line(&error);
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["Could not set lock on file", "being used by another process", "File is already open"]) {
        let detail = message.split_once("\": ").map_or(message.as_str(), |(_, detail)| detail);
        let detail = detail.split(". See also").next().unwrap_or(detail);
        return Ok(detail
            .strip_prefix("Conflicting lock is held in ")
            .map_or_else(|| detail.to_owned(), |who| format!("it is open in {}", who.trim_end_matches('.'))));
    }
    let path = path.to_owned();
    Err(if says(&["not a valid DuckDB database file"]) {
        Error::NotADatabase { path }
    } else if says(&[
        "Corrupt",
        "Could not read enough bytes",
        "version number",
        "Serialization Error",
        "INTERNAL",
        "ncrypted",
    ]) {
        Error::Damaged { path, detail: message }
    } else {
        Error::Database { doing: "open the database", source: error }
    })
}

/// Proof that no other `headwater run` works on the database: an advisory lock on `<database>.lock`, which goes when the process does.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // closing is not enough: a process that is just being started has the file too, until it runs its own program
        drop(self.file.unlock());
    }
}

impl RunLock {
    /// Takes the lock and writes the process id into it.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process (or another store of this one) has it.
    #[expect(clippy::disallowed_methods, reason = "the store owns the lock file")]
    pub fn take(database: &Path) -> Result<Self, Error> {
        let path = with_suffix(database, ".lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(Error::file("open", &path))?;
        let mut locked = file.try_lock();
        for _ in 0..limits::RUN_LOCK_TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            // a process that was started while this one had the lock has it until it becomes another program
            std::thread::sleep(limits::RUN_LOCK_PAUSE);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {
                file.set_len(0)
                    .and_then(|()| write!(file, "{}", std::process::id()))
                    .map_err(Error::file("write", &path))?;
                Ok(Self { file })
            }
            Err(TryLockError::WouldBlock) => {
                // the id is a help for people: without it the error is still right
                let pid = std::fs::read_to_string(&path).ok().and_then(|pid| pid.trim().parse().ok());
                Err(Error::Busy { path: database.into(), pid })
            }
            Err(TryLockError::Error(source)) => Err(Error::File { doing: "lock", path, source }),
        }
    }
}

/// The folder DuckDB spills to; removed when nothing is left in it.
struct SpillFolder(PathBuf);

impl Drop for SpillFolder {
    fn drop(&mut self) {
        // it may not exist, or hold another process's files: both are fine
        drop(std::fs::remove_dir(&self.0));
    }
}

/// `path` with `suffix` behind its file name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The folder a file is in.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.into(),
        _ => ".".into(),
    }
}

/// When a file was changed last; none where there is none, or where it cannot be told.
pub fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|facts| facts.modified()).ok()
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The operating system refuses.
#[expect(clippy::disallowed_methods, reason = "the store owns the folder's entries of its files")]
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file("sync", folder))?;
    }
    Ok(())
}

/// Whether there is a file with at least one byte (DuckDB leaves an empty one when it is killed while making it).
pub(super) fn holds_something(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_dir() || facts.len() > 0)
}

/// A relative path with `./` before it, so that DuckDB reads no scheme (`md:`, `s3://`) into it.
fn anchored(path: &Path) -> PathBuf {
    if path.is_absolute() { path.into() } else { Path::new(".").join(path) }
}

fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::NotUtf8 { path: path.into() })
}
