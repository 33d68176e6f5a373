//! A rollback journal for DuckDB's checkpoints.
//!
//! A checkpoint of DuckDB 1.5 writes data into free blocks and then switches to a new header, so that a process that is killed leaves the old
//! state. Its metadata is the exception: blocks of it that still have room are written again in their places while the old header needs
//! them. A kill (or a power cut, or a full disk) in the middle of such a write leaves a block whose checksum is wrong, and a file that does
//! not open.
//!
//! So those blocks, and the headers, are saved beside the database before each checkpoint: to `<database>.headwater-journal`, which is
//! removed when the checkpoint is done. Where it is still there and the file has no newer header, blocks and headers that are torn are put
//! back. A block that is whole is left alone: what the old header needs of it is the same before and after.
//!
//! The journal is: a first line, the number of blocks, the three headers, the blocks, each after its number, and the xxh3-64 of all that.
//! Numbers have 8 bytes, little-endian. Without a right hash it was never finished, and then the checkpoint never began.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Error as IoError, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::error::Error;
use super::file::{folder_of, sync_folder, with_suffix};

const FIRST_LINE: &[u8; 32] = b"headwater checkpoint journal 01\n";
/// DuckDB's main header and its two database headers, of which the one with the higher iteration holds.
const HEADER: usize = 4096;
const HEADERS: usize = 3 * HEADER;
/// The checksum that each header and block begins with.
const CHECKSUM: usize = 8;
/// Block sizes that DuckDB allows.
const BLOCK_SIZES: std::ops::RangeInclusive<usize> = 16_384..=262_144;

/// Where the journal of a database is.
pub fn path_of(database: &Path) -> PathBuf {
    with_suffix(database, ".headwater-journal")
}

/// Saves the headers and `blocks` of a database, durably. `file` is a handle of it; the caller has the database attached for writing.
///
/// # Errors
/// There is a journal already: a checkpoint has failed, and what it left must not be taken for the old state. A block is torn. The journal
/// cannot be written.
#[expect(clippy::disallowed_methods, reason = "the store owns the database's journal")]
pub fn save(database: &Path, file: &File, blocks: &[u64]) -> Result<(), Error> {
    let path = path_of(database);
    let headers = Headers::read(file).map_err(Error::file("read", database))?;
    let size = headers
        .active()
        .and_then(|active| headers.block_size(active))
        .ok_or_else(|| damaged(database, "it has no valid header"))?;
    let journal = OpenOptions::new().write(true).create_new(true).open(&path).map_err(Error::file("begin", &path))?;
    let mut journal = Hashed::new(BufWriter::new(journal));
    let written = (|| {
        journal.write_all(FIRST_LINE)?;
        journal.write_all(&(blocks.len() as u64).to_le_bytes())?;
        journal.write_all(headers.0.as_slice())?;
        let mut block = vec![0; size];
        for number in blocks {
            read_at(file, place_of(*number, size), &mut block)?;
            if !is_whole(&block) {
                return Err(IoError::new(ErrorKind::InvalidData, format!("block {number} of the database is damaged")));
            }
            journal.write_all(&number.to_le_bytes())?;
            journal.write_all(&block)?;
        }
        let hash = journal.hash.digest();
        journal.inner.write_all(&hash.to_le_bytes())?;
        journal.inner.flush()?;
        journal.inner.get_ref().sync_all()
    })();
    if let Err(source) = written {
        // the checkpoint has not begun, so nothing needs it; the disk may be full
        drop(std::fs::remove_file(&path));
        return Err(Error::File { doing: "write", path, source });
    }
    sync_folder(&folder_of(&path))
}

/// Removes the journal, if there is one: its checkpoint is done.
///
/// # Errors
/// The operating system refuses.
#[expect(clippy::disallowed_methods, reason = "the store owns the database's journal")]
pub fn discard(database: &Path) -> Result<(), Error> {
    let path = path_of(database);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::File { doing: "remove", path, source }),
        _ => Ok(()),
    }
}

/// Whether a checkpoint may have been stopped.
pub fn exists(database: &Path) -> bool {
    path_of(database).exists()
}

/// Puts back what a stopped checkpoint has torn, and removes the journal; whether something was put back. `file` is a handle of the
/// database. Nobody may be writing the database meanwhile.
///
/// # Errors
/// The journal cannot be read, or the database not be written. What was put back until then is right, and can be put back again.
#[expect(clippy::disallowed_methods, reason = "the store owns the database's journal")]
pub fn settle(database: &Path, file: &File) -> Result<bool, Error> {
    let path = path_of(database);
    let mut journal = match File::open(&path) {
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(Error::file("open", &path))?,
    };
    let saved = Saved::read(&mut journal).map_err(Error::file("read", &path))?;
    let now = Headers::read(file).map_err(Error::file("read", database))?;
    let put_back = match saved {
        Some(saved) if saved.is_of(&now) => saved
            .put_back(&mut journal, file, &now)
            .map_err(Error::file("put back what a kill has torn in", database))?,
        _ => false,
    };
    discard(database)?;
    Ok(put_back)
}

/// The headers of a DuckDB file.
struct Headers(Box<[u8; HEADERS]>);

impl Headers {
    fn read(file: &File) -> std::io::Result<Self> {
        let mut bytes = Box::new([0; HEADERS]);
        read_at(file, 0, bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// 0 is the main header, 1 and 2 are the database headers.
    fn slot(&self, slot: usize) -> &[u8] {
        &self.0[slot * HEADER..(slot + 1) * HEADER]
    }

    fn number(&self, slot: usize, at: usize) -> u64 {
        number(&self.slot(slot)[CHECKSUM + at..])
    }

    fn iteration(&self, slot: usize) -> u64 {
        self.number(slot, 0)
    }

    /// The database header that holds; none if one is torn.
    fn active(&self) -> Option<usize> {
        let whole = (0..3).all(|slot| is_whole(self.slot(slot)));
        whole.then(|| if self.iteration(1) > self.iteration(2) { 1 } else { 2 })
    }

    fn block_size(&self, slot: usize) -> Option<usize> {
        // files of old versions say nothing
        let size = match self.number(slot, 32) {
            0 => *BLOCK_SIZES.end(),
            size => usize::try_from(size).ok()?,
        };
        (BLOCK_SIZES.contains(&size) && size.is_power_of_two()).then_some(size)
    }
}

/// A journal that is whole.
struct Saved {
    headers: Headers,
    active: usize,
    block_size: usize,
    blocks: u64,
}

impl Saved {
    /// None if it was never finished.
    fn read(journal: &mut File) -> std::io::Result<Option<Self>> {
        let Some(hashed) = journal.metadata()?.len().checked_sub(CHECKSUM as u64) else { return Ok(None) };
        let (mut hash, mut left) = (Hashed::new(BufReader::new(&*journal)), hashed);
        let mut piece = vec![0; *BLOCK_SIZES.end()];
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            hash.read_exact(&mut piece[..length])?;
            left -= length as u64;
        }
        let expected = hash.hash.digest();
        let mut found = [0; CHECKSUM];
        hash.inner.read_exact(&mut found)?;
        if u64::from_le_bytes(found) != expected {
            return Ok(None);
        }
        journal.seek(SeekFrom::Start(0))?;
        let mut first = [0; FIRST_LINE.len() + 8];
        let mut headers = Headers(Box::new([0; HEADERS]));
        journal.read_exact(&mut first)?;
        journal.read_exact(headers.0.as_mut_slice())?;
        let (line, blocks) = first.split_at(FIRST_LINE.len());
        let active = headers.active().and_then(|active| Some((active, headers.block_size(active)?)));
        let Some((active, block_size)) = active.filter(|_| line == FIRST_LINE) else {
            return Err(IoError::new(ErrorKind::InvalidData, "another version of headwater wrote it"));
        };
        Ok(Some(Self { headers, active, block_size, blocks: number(blocks) }))
    }

    /// Whether the file is as its headers were, and the checkpoint has not come to its end.
    fn is_of(&self, now: &Headers) -> bool {
        let same = |slot: usize| self.headers.slot(slot) == now.slot(slot);
        let other = self.other();
        let finished = is_whole(now.slot(other)) && now.iteration(other) > self.headers.iteration(self.active);
        same(0) && same(self.active) && !finished
    }

    /// The database header that the checkpoint writes.
    fn other(&self) -> usize {
        3 - self.active
    }

    /// Reads on in the journal, behind the headers.
    fn put_back(&self, journal: &mut File, file: &File, now: &Headers) -> std::io::Result<bool> {
        let mut journal = BufReader::new(journal);
        let (mut saved, mut found) = (vec![0; self.block_size], vec![0; self.block_size]);
        let mut torn = false;
        for _ in 0..self.blocks {
            let mut number = [0; 8];
            journal.read_exact(&mut number)?;
            journal.read_exact(&mut saved)?;
            let place = place_of(u64::from_le_bytes(number), self.block_size);
            if read_at(file, place, &mut found).is_err() || !is_whole(&found) {
                write_at(file, place, &saved)?;
                torn = true;
            }
        }
        if !is_whole(now.slot(self.other())) {
            write_at(file, (self.other() * HEADER) as u64, self.headers.slot(self.other()))?;
            torn = true;
        }
        if torn {
            file.sync_all()?;
        }
        Ok(torn)
    }
}

/// Reads or writes, and hashes what goes through.
struct Hashed<T> {
    inner: T,
    hash: Xxh3,
}

impl<T> Hashed<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Xxh3::new() }
    }
}

impl<T: Write> Hashed<T> {
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<T: Read> Hashed<T> {
    fn read_exact(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }
}

/// DuckDB's checksum (`src/common/checksum.cpp`) of a header or block, which it begins with.
fn is_whole(bytes: &[u8]) -> bool {
    let (stored, content) = bytes.split_at(CHECKSUM);
    let words = content.chunks_exact(8).map(number);
    number(stored) == words.fold(5381, |sum, word| sum ^ word.wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

/// The first 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn place_of(block: u64, size: usize) -> u64 {
    HEADERS as u64 + block * size as u64
}

fn read_at(mut file: &File, place: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(bytes)
}

fn write_at(mut file: &File, place: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(place))?;
    file.write_all(bytes)
}

fn damaged(database: &Path, detail: &str) -> Error {
    Error::Damaged { path: database.into(), detail: detail.into() }
}
