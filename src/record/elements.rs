//! XML as JSON: a tree of elements, or the records out of it while it is read.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::decode::{DecodeErrorKind, LINEAR_MEMBERS_MAX};
use super::json::Json;
use super::stream::{Stop, StreamError};
use crate::plan::limits;

/// Bytes that are asked of a file at once.
const READ_BYTES: usize = 64 << 10;

/// An element as JSON: a map of attributes (`@name`), children and text (`#text`); one with text alone is that text, one without anything null.
#[derive(Default)]
struct Element {
    name: String,
    members: Vec<(Cow<'static, str>, Json<'static>)>,
    /// where the member of a name is, kept once they are too many to look for one by one
    places: HashMap<String, usize>,
    text: String,
}

impl Element {
    fn put(&mut self, name: String, value: Json<'static>, lists: &[String]) {
        match self.place(&name).and_then(|at| self.members.get_mut(at)) {
            Some((_, Json::Array(items))) => items.own().push(value),
            Some((_, first)) => *first = Json::Array(vec![std::mem::take(first), value].into()),
            None if lists.contains(&name) => self.add(name, Json::Array(vec![value].into())),
            None => self.add(name, value),
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        match self.places.is_empty() {
            true => self.members.iter().position(|(known, _)| known == name),
            false => self.places.get(name).copied(),
        }
    }

    /// Adds a member whose name none has yet.
    fn add(&mut self, name: String, value: Json<'static>) {
        self.members.push((Cow::Owned(name), value));
        if self.members.len() > LINEAR_MEMBERS_MAX {
            let known = self.places.len();
            let new = self.members.iter().enumerate().skip(known).map(|(at, (name, _))| (name.to_string(), at));
            self.places.extend(new);
        }
    }

    fn value(mut self) -> Json<'static> {
        let text = self.text.trim();
        match (self.members.is_empty(), text.is_empty()) {
            (true, true) => Json::Null,
            (true, false) => Json::String(Cow::Owned(text.to_owned())),
            (false, true) => Json::Object(self.members.into()),
            (false, false) => {
                let text = Json::String(Cow::Owned(text.to_owned()));
                self.members.push(("#text".into(), text));
                Json::Object(self.members.into())
            }
        }
    }
}

/// A way to records, and how far it is gone.
struct Track<'f> {
    /// names of the elements from the outermost down to a record's
    names: &'f [String],
    /// how many of the open elements are the first of these
    open: usize,
    /// the first record, until it is known that it does not stand alone
    held: Option<Json<'static>>,
    records: usize,
}

/// Records, and for each the number of the way to it.
type Found = (Vec<Json<'static>>, Vec<usize>);

/// The elements of one file.
pub(super) struct Elements<'f, R> {
    reader: Reader<Feed<R>>,
    /// those that are open, around them one without a name
    open: Vec<Element>,
    /// names that are always lists
    lists: &'f [String],
    /// the ways to the records; without any there are none
    ways: Vec<Track<'f>>,
    /// how many of the open elements stand on a way
    on_way: usize,
    /// a record is open
    inside: bool,
    /// those on the ways that have come, without those of records
    came: HashSet<Vec<String>>,
    /// bytes around the records
    around: usize,
    ended: bool,
}

impl<'f, R: Read> Elements<'f, R> {
    /// Of a file in which the records are the elements at the ends of `ways`, of which none leads through the end of another.
    pub(super) fn new(file: R, lists: &'f [String], ways: &'f [Vec<String>]) -> Self {
        let way = |names: &'f Vec<String>| Track { names, open: 0, held: None, records: 0 };
        Self {
            reader: Reader::from_reader(Feed::new(file)),
            open: vec![Element::default()],
            lists,
            ways: ways.iter().map(way).collect(),
            on_way: 0,
            inside: false,
            came: HashSet::new(),
            around: 0,
            ended: false,
        }
    }

    /// The next records; none behind the last.
    ///
    /// # Errors
    /// It is no XML, it ends in the middle, it holds more than there is room for, or the stream breaks.
    pub(super) fn next(&mut self) -> Result<Option<Found>, StreamError> {
        if self.ended {
            return Ok(None);
        }
        let (mut found, mut event, begin) = (Found::default(), Vec::new(), self.reader.get_ref().offset);
        let full = |records: &[Json<'_>], at: usize| {
            records.len() >= limits::STREAM_RECORDS_AT_ONCE || at - begin >= limits::STREAM_BYTES_AT_ONCE
        };
        while !self.ended && !full(&found.0, self.reader.get_ref().offset) {
            let (before, line) = (self.reader.get_ref().offset, self.reader.get_ref().lines + 1);
            let outside = !self.inside;
            if outside {
                self.reader.get_mut().allowed = limits::RECORD_TEXT_BYTES_MAX;
            }
            event.clear();
            self.step(&mut event, &mut found).map_err(|fault| fault.told((line, before), &event))?;
            if outside {
                self.around += self.reader.get_ref().offset - before;
                if self.around > limits::RESPONSE_BYTES_MAX {
                    let most = limits::RESPONSE_BYTES_MAX >> 20;
                    return Err(
                        Fault::Xml(format!("more than {most} MiB of it are no records")).told((line, before), &[])
                    );
                }
            }
        }
        Ok(Some(found))
    }

    /// What the file is without the records, when all are read.
    ///
    /// # Errors
    /// It has no element.
    pub(super) fn rest(mut self) -> Result<Json<'static>, StreamError> {
        let Some(top) = self.open.pop().filter(|_| self.open.is_empty()) else {
            return Err(Fault::Xml("it ends in the middle".to_owned()).told((1, 0), &[]));
        };
        if top.members.is_empty() {
            let text = if top.text.trim().is_empty() { "it is empty" } else { "it has no element" };
            return Err(StreamError::decode(DecodeErrorKind::Elements, format!("the body is no XML: {text}"), &[]));
        }
        Ok(Json::Object(top.members.into()))
    }

    fn step(&mut self, event: &mut Vec<u8>, found: &mut Found) -> Result<(), Fault> {
        match self.reader.read_event_into(event)? {
            Event::Start(start) => {
                if self.open.len() > limits::JSON_DEPTH_MAX {
                    return Err(Fault::Xml(format!("it nests more than {} elements", limits::JSON_DEPTH_MAX)));
                }
                let element = element(&start)?;
                self.opened(element)?;
            }
            Event::Empty(start) => {
                let element = element(&start)?;
                self.opened(element)?;
                self.closed(found);
            }
            Event::End(_) => self.closed(found),
            Event::Text(text) => {
                let text = text.decode()?;
                self.open.last_mut().into_iter().for_each(|element| element.text.push_str(&text));
            }
            Event::CData(text) => {
                let text = text.decode()?;
                self.open.last_mut().into_iter().for_each(|element| element.text.push_str(&text));
            }
            Event::GeneralRef(name) => {
                // only those that XML itself has: a document's own entities can grow without bound
                let resolved = match name.resolve_char_ref()? {
                    Some(c) => c.to_string(),
                    None => {
                        let name = name.decode()?;
                        let known = quick_xml::escape::resolve_predefined_entity(&name);
                        known.ok_or_else(|| Fault::Xml(format!("`&{name};` is no entity of XML")))?.to_owned()
                    }
                };
                self.open.last_mut().into_iter().for_each(|element| element.text.push_str(&resolved));
            }
            Event::Eof => {
                if let Some(inner) = self.open.last().filter(|_| self.open.len() > 1) {
                    return Err(Fault::Cut(format!("it ends in the middle of `{}`", inner.name)));
                }
                self.ended = true;
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        Ok(())
    }

    fn opened(&mut self, element: Element) -> Result<(), Fault> {
        let depth = self.open.len() - 1;
        if depth == self.on_way {
            let is_on = |way: &Track<'_>| way.open == depth && way.names.get(depth) == Some(&element.name);
            let (mut goes_on, mut arrives) = (false, false);
            for way in self.ways.iter_mut().filter(|way| is_on(way)) {
                way.open += 1;
                goes_on = true;
                arrives |= way.open == way.names.len();
            }
            if goes_on {
                self.on_way += 1;
                self.inside = arrives;
            }
            if arrives {
                self.reader.get_mut().allowed = limits::RECORD_TEXT_BYTES_MAX;
            } else if goes_on {
                let names = self.open.iter().skip(1).chain([&element]).map(|element| element.name.clone());
                if !self.came.insert(names.collect()) {
                    let text = format!("`{}` stands twice, and the way to the records leads through it", element.name);
                    return Err(Fault::Xml(text));
                }
            }
        }
        self.open.push(element);
        Ok(())
    }

    fn closed(&mut self, found: &mut Found) {
        let Some(mut inner) = self.open.pop() else { return };
        let depth = self.open.len();
        let Some(outer) = self.open.last_mut() else { return };
        if depth != self.on_way {
            return outer.put(std::mem::take(&mut inner.name), inner.value(), self.lists);
        }
        self.on_way -= 1;
        let name = std::mem::take(&mut inner.name);
        let mut arrived = None;
        for (at, way) in self.ways.iter_mut().enumerate().filter(|(_, way)| way.open == depth) {
            way.open -= 1;
            if way.names.len() == depth {
                arrived = Some((at, way));
            } else if way.names.len() == depth + 1
                && let (Some(alone), Some(of)) = (way.held.take(), way.names.last())
            {
                // one record alone is no list, and stands where it would without a way to it
                inner.add(of.clone(), alone);
            }
        }
        let Some((at, way)) = arrived else { return outer.put(name, inner.value(), self.lists) };
        self.inside = false;
        way.records += 1;
        match way.records {
            1 if !self.lists.contains(&name) => return way.held = Some(inner.value()),
            1 => outer.add(name, Json::Array(Vec::new().into())),
            _ => {
                if let Some(first) = way.held.take() {
                    outer.add(name, Json::Array(Vec::new().into()));
                    found.0.push(first);
                    found.1.push(at);
                }
            }
        }
        found.0.push(inner.value());
        found.1.push(at);
    }
}

/// What is wrong with a file.
enum Fault {
    Xml(String),
    /// it ends too early
    Cut(String),
    Read(StreamError),
}

impl Fault {
    fn told(self, at: (u64, usize), near: &[u8]) -> StreamError {
        let (kind, line) = (DecodeErrorKind::Elements, at.0);
        match self {
            Self::Read(error) => error,
            Self::Xml(text) => {
                StreamError::decode_at(kind, at, format!("the body is no XML: {text} (line {line})"), near)
            }
            Self::Cut(text) => StreamError::decode_at(kind, at, format!("the body is no XML: {text}"), near),
        }
    }
}

impl From<quick_xml::Error> for Fault {
    fn from(error: quick_xml::Error) -> Self {
        match error {
            quick_xml::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(Stop::TooLarge(text)) => Self::Xml(text.clone()),
                _ => Self::Read(StreamError::of(&error)),
            },
            other => Self::Xml(other.to_string()),
        }
    }
}

impl From<quick_xml::encoding::EncodingError> for Fault {
    fn from(error: quick_xml::encoding::EncodingError) -> Self {
        Self::Xml(error.to_string())
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, Fault> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| wrong(&"a name is no UTF-8"));
    let mut element = Element { name: text(start.name().as_ref())?, ..Element::default() };
    // the reader's own check compares each name with all before it
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| wrong(&error))?;
        let name = format!("@{}", text(attribute.key.as_ref())?);
        if element.place(&name).is_some() {
            return Err(Fault::Xml(format!("the attribute `{}` stands twice", &name[1..])));
        }
        let value = attribute.unescape_value().map_err(|error| wrong(&error))?;
        element.add(name, Json::String(Cow::Owned(value.into_owned())));
    }
    Ok(element)
}

fn wrong(text: &dyn Display) -> Fault {
    Fault::Xml(text.to_string())
}

/// A file on its way to the reader: counts lines, and stops where one thing is too long.
struct Feed<R> {
    from: R,
    buffer: Vec<u8>,
    at: usize,
    /// bytes that were taken
    offset: usize,
    lines: u64,
    /// bytes that may be taken before something has come to its end
    allowed: usize,
}

impl<R: Read> Feed<R> {
    fn new(from: R) -> Self {
        let allowed = limits::RECORD_TEXT_BYTES_MAX;
        Self { from, buffer: Vec::new(), at: 0, offset: 0, lines: 0, allowed }
    }
}

impl<R: Read> Read for Feed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Feed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.buffer.resize(READ_BYTES, 0);
            let read = self.from.read(&mut self.buffer);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            read?;
        }
        if self.allowed == 0 && !self.buffer.is_empty() {
            let most = limits::RECORD_TEXT_BYTES_MAX >> 20;
            let text = format!("a record, or what stands between two, takes more than {most} MiB");
            return Err(io::Error::other(Stop::TooLarge(text)));
        }
        let end = self.buffer.len().min(self.at.saturating_add(self.allowed));
        Ok(self.buffer.get(self.at..end).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        let taken = self.buffer.get(self.at..self.at + bytes).unwrap_or_default();
        self.lines += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        (self.at, self.offset, self.allowed) =
            (self.at + bytes, self.offset + bytes, self.allowed.saturating_sub(bytes));
    }
}
