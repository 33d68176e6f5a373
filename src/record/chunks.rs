//! A stream cut into pieces of whole records.

use std::io::{BufRead, Read};

use super::decode::{BOM, DecodeErrorKind};
use super::stream::StreamError;
use crate::plan::limits;

/// Bytes that are asked of a stream at once.
const READ_BYTES: usize = 64 << 10;
/// What a value of a row takes beside its text, roughly: pieces of rows that are nearly all delimiters are shorter.
const CELL_BYTES: usize = 64;

/// Where a record ends.
#[derive(Debug)]
pub(super) enum Cut {
    /// with the line
    Lines,
    /// with the row
    Rows {
        /// what stands between two values
        delimiter: u8,
        /// where in a row the last byte was
        place: Place,
    },
}

/// A place in a row, as the crate `csv` sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// a value begins
    Start,
    /// in a value without quotes
    Value,
    /// in quotes
    Quoted,
    /// behind a quote in quotes: the end, or the first of two that stand for one
    Quote,
    /// behind a carriage return, which ends the row, perhaps with the line feed that follows
    Return,
}

impl Place {
    fn behind(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Quoted, _) | (Self::Start | Self::Quote | Self::Return, b'"') => Self::Quoted,
            (_, b'\r') => Self::Return,
            (_, byte) if byte == delimiter || byte == b'\n' => Self::Start,
            _ => Self::Value,
        }
    }
}

/// Pieces of whole records out of a stream. Between two of them it holds what the stream gave beyond the last one.
pub(super) struct Chunks<R> {
    from: R,
    cut: Cut,
    buffer: Vec<u8>,
    /// bytes of the buffer that the caller has had
    handed: usize,
    /// bytes of the buffer that were looked at
    scanned: usize,
    /// the stream has ended
    ended: bool,
    is_first: bool,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(from: R, cut: Cut) -> Self {
        Self { from, cut, buffer: Vec::new(), handed: 0, scanned: 0, ended: false, is_first: true }
    }

    /// The next records, as they are written; none behind the last. A byte order mark before the first is not among them.
    ///
    /// # Errors
    /// The stream breaks, a record is longer than `limits::RECORD_TEXT_BYTES_MAX`, or the last one ends in the middle of quotes.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, StreamError> {
        self.buffer.drain(..self.handed);
        self.scanned -= self.handed;
        self.handed = 0;
        let (mut records, mut end, mut weight) = (0, 0, 0);
        loop {
            while records < limits::STREAM_RECORDS_AT_ONCE && weight < limits::STREAM_BYTES_AT_ONCE {
                let Some((behind, weighs)) = self.record_end() else { break };
                (records, end, weight) = (records + 1, behind, weight + weighs);
            }
            let full = records >= limits::STREAM_RECORDS_AT_ONCE || weight >= limits::STREAM_BYTES_AT_ONCE;
            if full || self.ended {
                self.handed = if full { end } else { self.whole()? };
                let bom =
                    if std::mem::take(&mut self.is_first) && self.buffer.starts_with(BOM) { BOM.len() } else { 0 };
                let piece = self.buffer.get(bom..self.handed).unwrap_or_default();
                return Ok(if self.handed == 0 { None } else { Some(piece) });
            }
            if self.buffer.len() - end > limits::RECORD_TEXT_BYTES_MAX {
                let most = limits::RECORD_TEXT_BYTES_MAX >> 20;
                let text = format!("a record takes more than {most} MiB of the body");
                return Err(StreamError::decode(self.kind(), text, self.buffer.get(end..).unwrap_or_default()));
            }
            self.read()?;
        }
    }

    fn kind(&self) -> DecodeErrorKind {
        match self.cut {
            Cut::Lines => DecodeErrorKind::Syntax,
            Cut::Rows { .. } => DecodeErrorKind::Rows,
        }
    }

    /// All that is left, unless the last record lacks its end.
    fn whole(&self) -> Result<usize, StreamError> {
        if matches!(self.cut, Cut::Rows { place: Place::Quoted, .. }) {
            let text = "the last row ends in the middle of a value in quotes".to_owned();
            let near = self.buffer.len().saturating_sub(READ_BYTES);
            return Err(StreamError::decode(self.kind(), text, self.buffer.get(near..).unwrap_or_default()));
        }
        Ok(self.buffer.len())
    }

    /// Behind the end of the next record, and what that weighs; none where it is not in the buffer.
    fn record_end(&mut self) -> Option<(usize, usize)> {
        let begin = self.scanned;
        let mut rest = self.buffer.get(begin..)?;
        match &mut self.cut {
            Cut::Lines => {
                // a slice does not fail to be read
                let line = rest.skip_until(b'\n').unwrap_or(0);
                self.scanned += line;
                (line > 0 && self.buffer.get(self.scanned - 1) == Some(&b'\n')).then_some((self.scanned, line))
            }
            Cut::Rows { delimiter, place } => {
                let mut cells = 1;
                for byte in rest {
                    let before = *place;
                    let is_behind = before == Place::Return && *byte != b'\n';
                    if is_behind {
                        *place = Place::Start;
                    } else {
                        *place = before.behind(*byte, *delimiter);
                        self.scanned += 1;
                        cells += usize::from(byte == delimiter);
                    }
                    if is_behind || before != Place::Quoted && *byte == b'\n' {
                        return Some((self.scanned, self.scanned - begin + cells * CELL_BYTES));
                    }
                }
                None
            }
        }
    }

    fn read(&mut self) -> Result<(), StreamError> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let read = loop {
            match self.from.read(self.buffer.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(filled + read.as_ref().map_or(0, |read| *read));
        self.ended = read.map_err(|error| StreamError::of(&error))? == 0;
        Ok(())
    }
}
