//! The files of a zip (APPNOTE.TXT of PKWARE, 4.3), one after the other, in bounded memory.
//!
//! The list at the end of the archive says which files there are, so that what is left over of older versions is not read. It is read here,
//! and not by a crate, because a list is what a server says: its length is checked before there is room made for it, and of two files with one
//! name none is lost.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::plan::limits;

/// Bytes of the record that ends an archive, without its comment.
const END_BYTES: usize = 22;
/// Bytes of the longest comment.
const COMMENT_BYTES_MAX: usize = 0xffff;
/// Bytes of the place of the 64-bit record, which stands before the other.
const LOCATOR_BYTES: usize = 20;
/// Bytes of the 64-bit record.
const END64_BYTES: usize = 56;
/// Bytes of the entry of a file in the list, without its name and what follows that.
const ENTRY_BYTES: usize = 46;
/// Bytes of what stands before a file.
const LOCAL_BYTES: usize = 30;

/// A zip whose list of files is read.
pub(super) struct Archive<R> {
    from: R,
    entries: std::vec::IntoIter<Entry>,
}

struct Entry {
    /// bit 0: it is encrypted
    flags: u16,
    /// 0: as it is, 8: deflated
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    /// where it begins
    at: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the list of files.
    ///
    /// # Errors
    /// There is none, it is broken, or too long.
    pub(super) fn open(mut from: R) -> io::Result<Self> {
        let (count, bytes, at) = end(&mut from)?;
        if count > limits::ARCHIVE_FILES_MAX as u64 {
            return Err(broken(&format!("it has more than {} files", limits::ARCHIVE_FILES_MAX)));
        }
        if bytes > limits::RESPONSE_BYTES_MAX as u64 {
            return Err(broken("its list of files is too long"));
        }
        from.seek(SeekFrom::Start(at))?;
        let mut list = Vec::new();
        from.by_ref().take(bytes).read_to_end(&mut list)?;
        let (mut entries, mut rest) = (Vec::new(), list.as_slice());
        for _ in 0..count {
            let (entry, behind) = entry(rest).ok_or_else(|| broken("its list of files is broken"))?;
            entries.extend(entry);
            rest = behind;
        }
        Ok(Self { from, entries: entries.into_iter() })
    }

    /// The next file, to be read to its end.
    ///
    /// # Errors
    /// It is not there, encrypted, or packed in another way than by deflate.
    pub(super) fn next_file(&mut self) -> io::Result<Option<File<'_, R>>> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        if entry.flags & 1 == 1 {
            return Err(broken("a file in it is encrypted"));
        }
        self.from.seek(SeekFrom::Start(entry.at))?;
        let mut local = [0; LOCAL_BYTES];
        self.from.read_exact(&mut local)?;
        let behind = number(&local, 26, 2).zip(number(&local, 28, 2)).map(|(name, extra)| name + extra);
        let Some(behind) = behind.filter(|_| local.starts_with(b"PK\x03\x04")) else {
            return Err(broken("a file is not where its list says"));
        };
        self.from.seek(SeekFrom::Current(i64::try_from(behind).unwrap_or(0)))?;
        let packed = self.from.by_ref().take(entry.packed);
        let from = match entry.method {
            0 => Packed::Stored(packed),
            8 => Packed::Deflated(Box::new(DeflateDecoder::new(packed))),
            method => {
                return Err(broken(&format!("a file in it is packed by method {method}, and only deflate is known")));
            }
        };
        Ok(Some(File { from, crc: Crc::new(), read: 0, entry }))
    }
}

/// One file, whose length and check sum are compared at its end.
pub(super) struct File<'r, R> {
    from: Packed<'r, R>,
    crc: Crc,
    read: u64,
    entry: Entry,
}

enum Packed<'r, R> {
    Stored(io::Take<&'r mut R>),
    Deflated(Box<DeflateDecoder<io::Take<&'r mut R>>>),
}

impl<R: Read> Read for File<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.from {
            Packed::Stored(from) => from.read(into)?,
            Packed::Deflated(from) => from.read(into)?,
        };
        self.crc.update(into.get(..read).unwrap_or_default());
        self.read += read as u64;
        if read == 0 && !into.is_empty() && (self.read, self.crc.sum()) != (self.entry.size, self.entry.crc) {
            return Err(broken("a file in it is not what its check sum says"));
        }
        Ok(read)
    }
}

/// How many files there are, how long their list is, and where it begins.
fn end(from: &mut (impl Read + Seek)) -> io::Result<(u64, u64, u64)> {
    let length = from.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub((END_BYTES + COMMENT_BYTES_MAX + LOCATOR_BYTES) as u64);
    from.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    from.by_ref().take(length - start).read_to_end(&mut tail)?;
    let last = tail.len().checked_sub(END_BYTES);
    let is_end = |at: &usize| {
        let end = tail.get(*at..).unwrap_or_default();
        let fits =
            number(end, 20, 2).is_some_and(|comment| *at as u64 + END_BYTES as u64 + comment <= tail.len() as u64);
        end.starts_with(b"PK\x05\x06") && fits
    };
    let found = last.and_then(|last| (0..=last).rev().find(is_end)).ok_or_else(|| broken("it ends before its end"))?;
    let end = tail.get(found..).unwrap_or_default();
    let short = number(end, 10, 2).zip(number(end, 12, 4)).zip(number(end, 16, 4));
    let ((count, bytes), at) = short.ok_or_else(|| broken("it ends before its end"))?;
    if count != 0xffff && bytes != 0xffff_ffff && at != 0xffff_ffff {
        return Ok((count, bytes, at));
    }
    let locator = found.checked_sub(LOCATOR_BYTES).and_then(|at| tail.get(at..found));
    let Some(place) = locator.filter(|it| it.starts_with(b"PK\x06\x07")).and_then(|it| number(it, 8, 8)) else {
        return Ok((count, bytes, at));
    };
    from.seek(SeekFrom::Start(place))?;
    let mut long = [0; END64_BYTES];
    from.read_exact(&mut long)?;
    let found = number(&long, 32, 8).zip(number(&long, 40, 8)).zip(number(&long, 48, 8));
    let found = found.filter(|_| long.starts_with(b"PK\x06\x06"));
    found.map(|((count, bytes), at)| (count, bytes, at)).ok_or_else(|| broken("its list of files is broken"))
}

/// The first entry of a list, unless it is none to be read, and what follows it.
fn entry(list: &[u8]) -> Option<(Option<Entry>, &[u8])> {
    if !list.starts_with(b"PK\x01\x02") {
        return None;
    }
    let length = |at| number(list, at, 2).and_then(|length| usize::try_from(length).ok());
    let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
    let behind_name = list.get(ENTRY_BYTES..)?;
    let (name, behind_extra) = behind_name.split_at_checked(name)?;
    let (extra, rest) = behind_extra.split_at_checked(extra)?;
    let rest = rest.get(comment..)?;
    let mut entry = Entry {
        flags: u16::try_from(number(list, 8, 2)?).ok()?,
        method: u16::try_from(number(list, 10, 2)?).ok()?,
        crc: u32::try_from(number(list, 16, 4)?).ok()?,
        packed: number(list, 20, 4)?,
        size: number(list, 24, 4)?,
        at: number(list, 42, 4)?,
    };
    // those that are too large for 32 bits, in this order
    let mut long = extended(extra).unwrap_or_default();
    for value in [&mut entry.size, &mut entry.packed, &mut entry.at] {
        if *value == 0xffff_ffff
            && let Some((first, others)) = long.split_at_checked(8)
        {
            *value = number(first, 0, 8)?;
            long = others;
        }
    }
    // folders, and what an Apple computer keeps beside each file
    let is_read = !name.ends_with(b"/") && !name.starts_with(b"__MACOSX/");
    Some((is_read.then_some(entry), rest))
}

/// What the extra field 1 says: numbers of 64 bits.
fn extended(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (kind, length) = (number(extra, 0, 2)?, usize::try_from(number(extra, 2, 2)?).ok()?);
        let field = extra.get(4..4 + length)?;
        if kind == 1 {
            return Some(field);
        }
        extra = extra.get(4 + length..)?;
    }
}

/// A number of so many bytes, the least first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    Some(bytes.get(at..at + length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn broken(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}
