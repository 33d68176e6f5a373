//! An answer read while it comes: unpacked, cut into pieces, and each piece decoded, in memory that does not grow with the answer.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom, Write};

use ::csv::StringRecord;
use bumpalo::Bump;

use super::archive::Archive;
use super::chunks::{Chunks, Cut};
use super::decode::{DecodeError, DecodeErrorKind, parse_into};
use super::elements::Elements;
use super::json::Json;
use super::select::{picks, picks_items};
use super::separated::{Form, Separated, row};
use super::unpack::{broken, is_gzip, is_zip};
use crate::plan::{Format, Path, PathForm, Step, limits};

/// Bytes of the body before and behind a fault that are kept beside it.
const NEAR_BYTES: usize = 128 << 10;

/// A place on disk for what must be there whole: an archive whose list of files stands at its end.
pub trait Scratch: Read + Write + Seek {}

impl<F: Read + Write + Seek> Scratch for F {}

/// Makes a place on disk.
pub type NewScratch<'s> = dyn Fn() -> io::Result<Box<dyn Scratch>> + 's;

/// Why the records of a stream were not read to their end.
#[derive(Debug, Clone)]
pub enum StreamError {
    /// the stream broke, which whoever made it knows more of
    Broken,
    /// the receiver of the records has had enough
    Ended,
    /// there is no room on disk for what must be there whole, and why
    Scratch(String),
    /// it is not what its format says
    Decode {
        /// what it is instead
        error: DecodeError,
        /// what stands there, of which the error may quote something
        near: Vec<u8>,
    },
    /// a text is not in its encoding
    Encoding,
}

/// What a reader of bytes says through the readers around it.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Stop {
    #[error("the stream broke")]
    Wire,
    #[error("{0}")]
    Scratch(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("a text is not in its encoding")]
    Encoding,
}

impl StreamError {
    /// What a reader met.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Stop::Wire) => Self::Broken,
            Some(Stop::Scratch(reason)) => Self::Scratch(reason.clone()),
            Some(Stop::TooLarge(reason)) => Self::decode(DecodeErrorKind::Archive, reason.clone(), &[]),
            Some(Stop::Encoding) => Self::Encoding,
            None => Self::Decode { error: broken(&error.to_string()), near: Vec::new() },
        }
    }

    pub(super) fn decode(kind: DecodeErrorKind, text: String, near: &[u8]) -> Self {
        Self::decode_at(kind, (1, 0), text, near)
    }

    /// At a line, from 1, and a byte of the file.
    pub(super) fn decode_at(kind: DecodeErrorKind, at: (u64, usize), text: String, near: &[u8]) -> Self {
        let line = usize::try_from(at.0).unwrap_or(usize::MAX);
        let near = near.get(..2 * NEAR_BYTES).unwrap_or(near).to_vec();
        Self::Decode { error: DecodeError::of(kind, (line, 1, at.1), text), near }
    }
}

/// How the records of answers are found while they come.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// the paths that lead to them
    paths: Vec<Path>,
    /// of XML, for each path the names of the elements down to a record's
    elements: Vec<Vec<String>>,
}

impl Way {
    /// Where records stand at these paths of answers in this format; none where only the whole answer tells.
    pub fn of(format: &Format, records: &[Path]) -> Option<Self> {
        let mut paths: Vec<Path> = Vec::with_capacity(records.len());
        for path in records {
            if !paths.iter().any(|known| known.text() == path.text()) {
                paths.push(path.clone());
            }
        }
        let elements = match format {
            Format::Ndjson | Format::Csv { .. } => paths.iter().all(picks_items).then(Vec::new)?,
            Format::Xml { lists } => paths.iter().map(|path| names(path, lists)).collect::<Option<Vec<_>>>()?,
            Format::Json | Format::Text => return None,
        };
        // what stands in a record is none
        let stands_in = |one: &Vec<String>| elements.iter().filter(|other| other.starts_with(one)).count() > 1;
        (!paths.is_empty() && !elements.iter().any(stands_in)).then_some(Self { paths, elements })
    }

    /// Where records stand in the one list of an answer in JSON, which names lead to.
    pub fn of_list(path: &Path) -> Option<Self> {
        let PathForm::Plain { steps, each: true } = path.form() else { return None };
        let name = |step: &Step| match step {
            Step::Member(name) => Some(name.clone()),
            Step::Index(_) => None,
        };
        let names: Vec<String> = steps.iter().map(name).collect::<Option<_>>()?;
        (!names.is_empty()).then(|| Self { paths: vec![path.clone()], elements: vec![names] })
    }

    /// The names that lead to the one list.
    pub fn names(&self) -> &[String] {
        self.elements.first().map_or(&[], Vec::as_slice)
    }

    /// Whether what stands at a path of the answer can be told without its records, or of the first or last of them.
    pub fn tells(&self, path: &Path) -> bool {
        let PathForm::Plain { steps, each: false } = path.form() else { return false };
        if self.elements.is_empty() {
            return matches!(steps.first(), Some(Step::Index(0 | -1)));
        }
        let goes = |step: &Step, name: &String| matches!(step, Step::Member(step) if step == name);
        let parts = |names: &Vec<String>| steps.iter().zip(names).any(|(step, name)| !goes(step, name));
        self.elements.iter().all(parts)
    }

    /// Whether records are told apart by what they are, and not by where they stand.
    pub fn is_of_lines(&self) -> bool {
        self.elements.is_empty()
    }

    /// Whether one of the paths leads to a record, of which it is known where it stands.
    pub fn leads(&self, path: &Path, record: &Json<'_>, place: usize) -> bool {
        match self.is_of_lines() {
            true => picks(path, record),
            false => self.paths.get(place).is_some_and(|of| of.text() == path.text()),
        }
    }
}

/// The names of the elements down to a record's.
fn names(path: &Path, lists: &[String]) -> Option<Vec<String>> {
    let PathForm::Plain { steps, each: true } = path.form() else { return None };
    let name = |step: &Step| match step {
        Step::Member(name) if !name.starts_with(['@', '#']) => Some(name.clone()),
        Step::Member(_) | Step::Index(_) => None,
    };
    let elements: Vec<String> = steps.iter().map(name).collect::<Option<_>>()?;
    let (_, above) = elements.split_last()?;
    // the outermost element alone is no list, and a list has no members
    (!above.is_empty() && !above.iter().any(|name| lists.contains(name))).then_some(elements)
}

/// What takes some records, each with the number of the path at which it stands (of lines there are no such numbers); false from it ends the
/// reading.
pub type Each<'e> = dyn FnMut(&[Json<'_>], &[usize]) -> bool + 'e;

/// Reads all records of a body, some at once, which `each` takes. Gives what each file is without its records: of XML what stands around them,
/// and the one record that stands alone under a name that is not always a list; of the other formats an empty list.
///
/// # Errors
/// See [`StreamError`].
pub fn stream(
    (format, way): (&Format, &Way),
    body: &mut dyn Read,
    scratch: &NewScratch<'_>,
    each: &mut Each<'_>,
) -> Result<Vec<Json<'static>>, StreamError> {
    let mut rests = Vec::new();
    let (left, files) = (Cell::new(limits::STREAM_BYTES_MAX), Cell::new(limits::ARCHIVE_FILES_MAX));
    let unpacking = Unpacking { scratch, left: &left, files: &files };
    unpacking.walk(&mut Wire(body), 0, &mut |file| {
        match format {
            Format::Csv { delimiter, columns, skip, encoding } => {
                let form = Form { delimiter: *delimiter, columns: columns.as_deref(), skip: *skip, encoding };
                rows(file, form, each)?;
            }
            Format::Xml { lists } => rests.push(elements(file, lists, way, each)?),
            Format::Ndjson | Format::Json | Format::Text => lines(file, each)?,
        }
        Ok(())
    })?;
    if rests.is_empty() {
        rests.push(Json::Array(Vec::new().into()));
    }
    Ok(rests)
}

fn lines(file: &mut dyn Read, each: &mut Each<'_>) -> Result<(), StreamError> {
    let mut chunks = Chunks::new(file, Cut::Lines);
    let (mut nth, mut offset) = (0, 0);
    let mut arena = Bump::new();
    while let Some(piece) = chunks.next()? {
        arena.reset();
        let mut records = Vec::new();
        // what stands behind the last line end is a line where there is none
        let piece = piece.strip_suffix(b"\n").unwrap_or(piece);
        for line in piece.split(|byte| *byte == b'\n') {
            nth += 1;
            if !line.trim_ascii().is_empty() {
                records.push(parse_into(&arena, line).map_err(|error| {
                    let near = line.get(error.offset.saturating_sub(NEAR_BYTES)..).unwrap_or_default();
                    let near = near.get(..2 * NEAR_BYTES).unwrap_or(near).to_vec();
                    StreamError::Decode { error: error.in_line(nth, offset), near }
                })?);
            }
            offset += line.len() + 1;
        }
        if !records.is_empty() && !each(&records, &[]) {
            return Err(StreamError::Ended);
        }
    }
    Ok(())
}

fn rows(file: &mut dyn Read, form: Form<'_>, each: &mut Each<'_>) -> Result<(), StreamError> {
    let (mut table, mut rows) = (Separated::new(file, form), Vec::<StringRecord>::new());
    while table.next(&mut rows)? {
        let records: Vec<Json<'_>> = rows.iter().map(|one| row(table.names(), one)).collect();
        if !records.is_empty() && !each(&records, &[]) {
            return Err(StreamError::Ended);
        }
    }
    Ok(())
}

fn elements(
    file: &mut dyn Read,
    lists: &[String],
    way: &Way,
    each: &mut Each<'_>,
) -> Result<Json<'static>, StreamError> {
    let mut elements = Elements::new(file, lists, &way.elements);
    loop {
        let Some((records, places)) = elements.next()? else { return elements.rest() };
        if !records.is_empty() && !each(&records, &places) {
            return Err(StreamError::Ended);
        }
    }
}

/// Goes through the files of a body: itself, what a gzip holds, the files of a zip in their order; again, if they are packed too.
struct Unpacking<'u> {
    scratch: &'u NewScratch<'u>,
    /// bytes that may still be unpacked
    left: &'u Cell<u64>,
    /// files that may still come
    files: &'u Cell<usize>,
}

impl Unpacking<'_> {
    fn walk(
        &self,
        from: &mut dyn Read,
        depth: usize,
        file: &mut dyn FnMut(&mut dyn Read) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        let mut head = Vec::with_capacity(4);
        from.take(4).read_to_end(&mut head).map_err(|error| StreamError::of(&error))?;
        let (gzip, zip) = (is_gzip(&head), is_zip(&head));
        let mut from = head.as_slice().chain(from);
        if (gzip || zip) && depth == limits::ARCHIVE_DEPTH_MAX {
            return Err(StreamError::of(&io::Error::other("archives stand in archives too often")));
        }
        if gzip {
            // several members in a row are one file (RFC 1952, 2.2)
            let unpacked = flate2::read::MultiGzDecoder::new(from);
            return self.walk(&mut Counted { from: unpacked, left: self.left }, depth + 1, file);
        }
        if !zip {
            return file(&mut from);
        }
        let fault = |error: io::Error| StreamError::of(&error);
        let mut archive =
            Archive::open(spool(&mut from, self.scratch, "the body is a zip").map_err(fault)?).map_err(fault)?;
        while let Some(one) = archive.next_file().map_err(fault)? {
            let left = self.files.get().checked_sub(1).ok_or_else(|| {
                StreamError::of(&io::Error::other(format!("it has more than {} files", limits::ARCHIVE_FILES_MAX)))
            })?;
            self.files.set(left);
            self.walk(&mut Counted { from: one, left: self.left }, depth + 1, file)?;
        }
        Ok(())
    }
}

/// A body on disk, from its beginning: who takes its records needs more time than it has to come.
///
/// # Errors
/// The stream breaks, there is no room, or it is more than [`limits::SPOOL_BYTES_MAX`].
pub fn spooled(body: &mut dyn Read, scratch: &NewScratch<'_>) -> Result<Box<dyn Scratch>, StreamError> {
    spool(&mut Wire(body), scratch, "the body is one").map_err(|error| StreamError::of(&error))
}

/// What comes, on disk.
fn spool(from: &mut dyn Read, scratch: &NewScratch<'_>, what: &str) -> io::Result<Box<dyn Scratch>> {
    let no_room = |error: io::Error| io::Error::other(Stop::Scratch(error.to_string()));
    let mut place = scratch().map_err(no_room)?;
    let mut piece = vec![0; 64 << 10];
    let mut kept = 0;
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            place.seek(SeekFrom::Start(0)).map_err(no_room)?;
            return Ok(place);
        }
        kept += read as u64;
        if kept > limits::SPOOL_BYTES_MAX {
            let text = format!("{what} of more than {} GiB", limits::SPOOL_BYTES_MAX >> 30);
            return Err(io::Error::other(Stop::TooLarge(text)));
        }
        place.write_all(piece.get(..read).unwrap_or_default()).map_err(no_room)?;
    }
}

/// The stream itself: what fails here is no fault of what came.
struct Wire<'r>(&'r mut dyn Read);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(Stop::Wire),
        })
    }
}

/// What is unpacked, as long as it is not too much.
struct Counted<'l, R> {
    from: R,
    left: &'l Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        let left = self.left.get().checked_sub(read as u64).ok_or_else(|| {
            let text = format!("the body is an archive that holds more than {} GiB", limits::STREAM_BYTES_MAX >> 30);
            io::Error::other(Stop::TooLarge(text))
        })?;
        self.left.set(left);
        Ok(read)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
