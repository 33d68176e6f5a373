//! Rows of separated values out of a stream.

use std::collections::HashSet;
use std::io::{self, Read};

use ::csv::{Position, ReaderBuilder, StringRecord};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use super::chunks::{Chunks, Cut, Place};
use super::decode::DecodeErrorKind;
use super::excerpt;
use super::json::Json;
use super::stream::{Stop, StreamError};

/// Bytes that are decoded at once.
const DECODED_BYTES: usize = 32 << 10;

/// How rows are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form<'f> {
    /// what stands between two values
    pub delimiter: u8,
    /// the names; none = the first row says them
    pub columns: Option<&'f [String]>,
    /// rows before the first one that counts
    pub skip: u32,
    /// a label of the Encoding Standard
    pub encoding: &'f str,
}

/// The rows of one file.
pub(super) struct Separated<'f, R> {
    chunks: Chunks<Decoded<R>>,
    form: Form<'f>,
    names: Option<Vec<String>>,
    passed: u32,
    /// lines before the piece at hand
    lines: u64,
}

impl<'f, R: Read> Separated<'f, R> {
    pub(super) fn new(file: R, form: Form<'f>) -> Self {
        let known = Encoding::for_label(form.encoding.as_bytes()).unwrap_or(UTF_8);
        let file =
            Decoded { from: file, decoder: known.new_decoder(), input: Vec::new(), at: 0, ended: false, done: false };
        let cut = Cut::Rows { delimiter: form.delimiter, place: Place::Start };
        let names = form.columns.map(<[String]>::to_vec);
        Self { chunks: Chunks::new(file, cut), form, names, passed: 0, lines: 0 }
    }

    /// Puts the next rows in place of those in `rows`; false behind the last. See [`row`] for what they are as records.
    ///
    /// # Errors
    /// They are none, or the stream breaks.
    pub(super) fn next(&mut self, rows: &mut Vec<StringRecord>) -> Result<bool, StreamError> {
        rows.clear();
        let Some(piece) = self.chunks.next().map_err(|error| in_encoding(error, self.form.encoding))? else {
            return Ok(false);
        };
        let before = self.lines;
        let fault = |line: u64, text: String| {
            let line = before + line.max(1);
            StreamError::decode_at(DecodeErrorKind::Rows, (line, 0), format!("{text} (line {line})"), piece)
        };
        // behind the line end, which is no row, nothing is taken for the byte order mark of a file
        let mut reader = ReaderBuilder::new()
            .delimiter(self.form.delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(b"\n".chain(piece));
        let is_ended = piece.ends_with(b"\n") || piece.ends_with(b"\r");
        let (mut row, mut last) = (StringRecord::new(), 0);
        while reader
            .read_record(&mut row)
            .map_err(|error| fault(error.position().map_or(1, line_of), excerpt::message(&error.to_string())))?
        {
            last = row.position().map_or(0, line_of);
            if self.passed < self.form.skip {
                self.passed += 1;
                continue;
            }
            let Some(names) = &self.names else {
                let twice = |name: String| fault(last, format!("the column `{}` stands twice", excerpt::quoted(&name)));
                self.names = Some(named(&row).map_err(twice)?);
                continue;
            };
            if row.len() > names.len() {
                let text = format!("a row has {} values, and there are {} columns", row.len(), names.len());
                return Err(fault(last, text));
            }
            rows.push(row.clone());
        }
        if let (false, Some(names), Some(cut)) = (is_ended, &self.names, rows.last())
            && cut.len() < names.len()
        {
            let text = format!("the last row ends in the middle: it has {} of {} values", cut.len(), names.len());
            return Err(fault(last, text));
        }
        self.lines += reader.position().line().saturating_sub(2);
        Ok(true)
    }

    /// The names of the columns.
    pub(super) fn names(&self) -> &[String] {
        self.names.as_deref().unwrap_or_default()
    }
}

/// A row as a record, a map by the names of the columns; an empty value is null.
pub(super) fn row<'r>(names: &'r [String], row: &'r StringRecord) -> Json<'r> {
    let value = |field: &'r str| if field.is_empty() { Json::Null } else { Json::String(field.into()) };
    Json::Object(names.iter().zip(row.iter()).map(|(name, field)| (name.as_str().into(), value(field))).collect())
}

/// The line of a place, without the one that was put before.
fn line_of(position: &Position) -> u64 {
    position.line().saturating_sub(1)
}

fn in_encoding(error: StreamError, encoding: &str) -> StreamError {
    match error {
        StreamError::Encoding => {
            let text = format!("the rows are not in the encoding `{encoding}`");
            StreamError::decode(DecodeErrorKind::Rows, text, &[])
        }
        other => other,
    }
}

/// The names that a row gives the columns; the one that stands twice.
fn named<'r>(row: &'r StringRecord) -> Result<Vec<String>, String> {
    let mut seen = HashSet::with_capacity(row.len());
    let name = |name: &'r str| {
        let name = name.trim();
        if seen.insert(name) { Ok(name.to_owned()) } else { Err(name.to_owned()) }
    };
    row.iter().map(name).collect()
}

/// A text as UTF-8, without its byte order mark, which says more of its encoding than a label does.
struct Decoded<R> {
    from: R,
    decoder: Decoder,
    input: Vec<u8>,
    /// bytes of `input` that are decoded
    at: usize,
    ended: bool,
    /// the last of it is handed out
    done: bool,
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.done {
            if self.at == self.input.len() && !self.ended {
                self.input.resize(DECODED_BYTES, 0);
                let read = self.from.read(&mut self.input);
                self.input.truncate(*read.as_ref().unwrap_or(&0));
                self.at = 0;
                self.ended = read? == 0;
            }
            let input = self.input.get(self.at..).unwrap_or_default();
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(input, into, self.ended);
            self.at += read;
            match result {
                DecoderResult::Malformed(..) => return Err(io::Error::other(Stop::Encoding)),
                DecoderResult::InputEmpty => self.done = self.ended,
                DecoderResult::OutputFull => {}
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}
