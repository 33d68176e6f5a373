//! An answer whose records are mapped and handed on while it comes.
//!
//! It is one page of the scan in several messages: rows go into commit groups as they come, and the scan moves with the last of them. So a
//! run that ends in the middle reads the answer from its beginning again, and finds its rows as they were.

use std::io::{self, Read};
use std::path::Path as Folder;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Error;
use super::answer::{Mapped, Reader, Records, Rows, Share};
use super::facts::Tail;
use super::lane::{Lanes, unexplained};
use crate::plan::{CursorSource, Fact, MoreSign, PageKind, Path, Template, limits};
use crate::record::stream::{Scratch, Way, spooled};
use crate::record::{Json, StreamError, stream};
use crate::remote::{self, Body, Request, Response};
use crate::scan::{Lane, PageFacts, ScanState};
use crate::store;

/// Which piece of a page of the scan a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// nothing of the page came before
    pub(super) begins: bool,
    /// nothing more comes of it
    pub(super) ends: bool,
}

impl Piece {
    pub(super) const WHOLE: Self = Self { begins: true, ends: true };
}

/// Takes the records of an answer while it comes.
pub(super) struct Outlet<'l> {
    to: To<'l>,
    /// the folder for what must be on disk meanwhile
    folder: Arc<Folder>,
    /// something of the answer was handed on
    begun: AtomicBool,
}

enum To<'l> {
    /// the writing side, which knows the scan as it is before the page
    Lane { lanes: &'l Lanes, lane: Lane, before: Box<ScanState> },
    /// whoever wants to see the first of them
    Sample(Mutex<Option<(Mapped, u64)>>),
}

/// Why the records of an answer did not come to their end.
pub(super) enum Broken {
    /// the way to the API
    Wire(remote::Error),
    /// what came over it, or the run itself
    Other(Error),
    /// nothing: there is enough for a sample
    Enough,
}

/// Some of the records, mapped, and how many they are.
type Part = (Mapped, u64);

impl<'l> Outlet<'l> {
    pub(super) fn of_lane(lanes: &'l Lanes, lane: Lane, before: &ScanState) -> Self {
        let to = To::Lane { lanes, lane, before: Box::new(before.clone()) };
        Self { to, folder: Arc::clone(&lanes.task.folder), begun: AtomicBool::new(false) }
    }

    /// One that takes the first records and no more.
    pub(super) fn sample(folder: &Folder) -> Self {
        Self { to: To::Sample(Mutex::default()), folder: folder.into(), begun: AtomicBool::new(false) }
    }

    /// The records of a sample, mapped, and how many there are.
    pub(super) fn sampled(&self) -> Option<Part> {
        match &self.to {
            To::Lane { .. } => None,
            To::Sample(first) => first.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }

    /// The piece that is left of the page, when its records were read.
    pub(super) fn last(&self) -> Piece {
        Piece { begins: !self.begun.load(Ordering::Relaxed), ends: true }
    }

    async fn take(&self, reader: &Arc<Reader>, (mapped, records): Part) -> Result<(), Broken> {
        let begins = !self.begun.swap(true, Ordering::Relaxed);
        match &self.to {
            To::Lane { lanes, lane, before } => {
                let (mapped, begun) = match mapped {
                    Mapped::Bare(bare) => {
                        let completed = lanes.completed((*lane, before), reader, bare, begins).await;
                        completed.map(|(rows, begun)| (Mapped::Rows(rows), begun)).map_err(Broken::Other)?
                    }
                    mapped => (mapped, false),
                };
                lanes.send_piece((*lane, before), mapped, begins && !begun).await.map_err(Broken::Other)
            }
            To::Sample(_) if !begins => Err(Broken::Enough),
            To::Sample(first) => {
                *first.lock().unwrap_or_else(PoisonError::into_inner) = Some((mapped, records));
                Ok(())
            }
        }
    }

    /// Reads an answer to its end, from its beginning. Gives what it says about the next page.
    pub(super) async fn read(
        &self,
        reader: &Arc<Reader>,
        request: &Request,
        (response, accepted): (&Response, bool),
        body: &mut Body<'_>,
    ) -> Result<PageFacts, Broken> {
        self.begun.store(false, Ordering::Relaxed);
        let (pieces, come) = mpsc::channel(limits::STREAM_PIECES_IN_FLIGHT);
        let (hand, mut parts) = mpsc::channel(1);
        let (own, request, response) = (Arc::clone(reader), request.clone(), response.clone());
        let (folder, come) = (Arc::clone(&self.folder), Come { from: come, now: Bytes::new(), ended: false });
        // details take their time, and places among the requests in flight: the answer is let go before the first of them is asked for
        let keeps =
            matches!((&self.to, &reader.rows), (To::Lane { .. }, Rows::Models(_))) && !reader.plan.details.is_empty();
        let to = (folder, keeps, hand);
        let reading = tokio::task::spawn_blocking(move || own.read_stream(&request, (&response, accepted), come, &to));
        let mut pump = pin!(async move {
            while let Some(piece) = body.next().await? {
                if pieces.send(Some(piece)).await.is_err() {
                    return Ok(());
                }
            }
            // whoever reads no more says why
            let _ = pieces.send(None).await;
            Ok(())
        });
        let mut pumped = false;
        loop {
            tokio::select! {
                biased;
                part = parts.recv() => match part {
                    Some(part) => self.take(reader, part).await?,
                    // it is read, or cannot be read
                    None => break,
                },
                came = &mut pump, if !pumped => match came {
                    Ok(()) => pumped = true,
                    Err(error) => return Err(Broken::Wire(error)),
                },
            }
        }
        let read = reading.await.map_err(|error| Broken::Other(Error::Bug(error.to_string())))?;
        read.map_err(Broken::Other)
    }
}

impl Reader {
    /// How the records are found while an answer comes; none where only the whole answer tells what there is to know.
    pub(super) fn way(&self) -> Option<Way> {
        let listed = &self.list.response.records;
        let shares: &[Share] = match &self.rows {
            Rows::Models(shares) => shares,
            Rows::Keys(_) => &[],
            Rows::Items(_) | Rows::Details => return None,
        };
        let of_shares = || shares.iter().map(|share| &share.records);
        let way = Way::of(
            &self.list.response.format,
            &listed.iter().chain(of_shares().flatten()).cloned().collect::<Vec<_>>(),
        )?;
        // of several lists the last record is that of the last of them, wherever that stands
        let is_one = listed.len() + of_shares().map(Vec::len).sum::<usize>() <= 1;
        self.tells(&way, is_one).then_some(way)
    }

    /// Whether all that is asked of an answer can be told without its records, or of the last of them if they are in one list.
    pub(super) fn tells(&self, way: &Way, is_one: bool) -> bool {
        let plan = &self.plan;
        let told = |path: &Option<Path>| path.as_ref().is_none_or(|path| way.tells(path));
        let told_more = |sign: &Option<MoreSign>| sign.as_ref().is_none_or(|sign| way.tells(&sign.path));
        let fact = |fact: &Fact| match fact {
            Fact::Header(_) => true,
            Fact::Body(path) => way.tells(path),
        };
        let tells = match &self.list.pagination.kind {
            PageKind::None | PageKind::Link { .. } => true,
            PageKind::NextUrl { from } => fact(from),
            PageKind::Cursor { from, has_more, .. } => {
                told_more(has_more)
                    && match from {
                        CursorSource::Fact(from) => fact(from),
                        CursorSource::LastRecord(_) => is_one,
                    }
            }
            PageKind::Offset { total, has_more, .. } => told(total) && told_more(has_more),
            PageKind::Page { total_pages, total, has_more, .. } => {
                told(total_pages) && told(total) && told_more(has_more)
            }
            PageKind::Relay { .. } => false,
        };
        let expired = plan.token.as_ref().and_then(|token| token.expired.as_ref());
        let has_token = told(&self.token) && expired.is_none_or(|(status, _)| *status >= 300);
        let split = plan.windows().and_then(|(_, window)| window.split.as_ref()).map(|(when, _)| when);
        let mut conditions = self.list.pagination.stop_when.iter().chain(split);
        let rules = plan.errors.iter().chain(&plan.connection.errors);
        let mut rules = rules.filter(|rule| rule.status.is_none_or(|status| status < 300));
        tells
            && has_token
            && (self.stop_below.is_none() || is_one)
            && !conditions.any(names_body)
            && !rules
                .any(|rule| rule.when.as_ref().is_none_or(names_body) || rule.wait.as_ref().is_some_and(names_body))
    }

    /// Reads the records of a body, maps some at once and hands them on. Gives what the answer says about the next page. Runs on a blocking
    /// thread.
    fn read_stream(
        &self,
        request: &Request,
        (response, accepted): (&Response, bool),
        mut body: Come,
        (folder, keeps, hand): &(Arc<Folder>, bool, mpsc::Sender<Part>),
    ) -> Result<PageFacts, Error> {
        let way = self.way().ok_or_else(unexplained)?;
        let (mut tail, mut failed, mut ends) = (Tail::default(), None, Ends::default());
        let scratch = || {
            let place: Box<dyn Scratch> = Box::new(store::scratch(folder)?);
            Ok(place)
        };
        let mut each = |records: &[Json<'_>], places: &[usize]| {
            if way.is_of_lines() {
                ends.see(records);
            }
            let records = self.picked(&way, records, places);
            tail.add(self, &records.all);
            let count = records.all.len() as u64;
            match self.rows(&records) {
                Ok(mapped) => hand.blocking_send((mapped, count)).is_ok(),
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        };
        let format = &self.list.response.format;
        let read = match keeps {
            false => stream((format, &way), &mut body, &scratch, &mut each),
            true => {
                spooled(&mut body, &scratch).and_then(|mut kept| stream((format, &way), &mut kept, &scratch, &mut each))
            }
        };
        if let Some(error) = failed {
            return Err(error);
        }
        let mut rests = match read {
            Ok(rests) => rests,
            Err(StreamError::Decode { error, near }) => return Err(self.not_decodable(request, &near, &error)),
            Err(StreamError::Scratch(reason)) => {
                let (doing, source) = ("keep an answer in", io::Error::other(reason));
                return Err(store::Error::File { doing, path: folder.to_path_buf(), source }.into());
            }
            // whoever gives the bytes or takes the records has gone, and says why
            Err(StreamError::Broken | StreamError::Ended | StreamError::Encoding) => return Err(unexplained()),
        };
        for rest in &rests {
            let came = tail.records > 0;
            let records = self.records(request, (response, accepted), (rest, came))?;
            if !records.is_empty() {
                tail.add(self, &records.all);
                let count = records.all.len() as u64;
                hand.blocking_send((self.rows(&records)?, count)).map_err(|_| unexplained())?;
            }
        }
        let body = match (way.is_of_lines(), rests.len()) {
            (true, _) => Json::Array(ends.0.into()),
            (false, 1) => rests.remove(0),
            (false, _) => Json::Array(rests.into()),
        };
        self.facts(request, response, &body, &tail)
    }

    /// Those of some records to which the paths of the list lead, or those of its shares, in the order of the answer.
    fn picked<'j, 'a>(&self, way: &Way, records: &'j [Json<'a>], places: &[usize]) -> Records<'j, 'a> {
        let listed = &self.list.response.records;
        let shares: &[Share] = if let Rows::Models(shares) = &self.rows { shares } else { &[] };
        let places = places.iter().copied().chain(std::iter::repeat(0));
        let placed: Vec<(&Json<'a>, usize)> = records.iter().zip(places).collect();
        let of = |paths: &[Path]| -> Vec<&'j Json<'a>> {
            let times = |(record, place): &(&'j Json<'a>, usize)| {
                let leads = paths.iter().filter(|path| way.leads(path, record, *place)).count();
                std::iter::repeat_n(*record, leads)
            };
            placed.iter().flat_map(times).collect()
        };
        let own: Vec<&[Path]> = shares.iter().map(|share| &share.records[..]).collect();
        // with a path for each model there need be none for all of them
        let all = if listed.is_empty() { of(&own.concat()) } else { of(listed) };
        Records::of(all, own.into_iter().map(|own| (!own.is_empty()).then(|| of(own))).collect())
    }
}

/// The first and the last line of a body: a fact can stand there.
#[derive(Default)]
struct Ends(Vec<Json<'static>>);

impl Ends {
    fn see(&mut self, records: &[Json<'_>]) {
        let own = |record: &Json<'_>| Json::from(record.to_serde());
        if self.0.is_empty() {
            self.0.extend(records.first().map(own));
            self.0.extend(records.get(1..).and_then(<[_]>::last).map(own));
        } else if let Some(last) = records.last() {
            self.0.truncate(1);
            self.0.push(own(last));
        }
    }
}

/// Whether a template names the body of an answer, or all of it.
fn names_body(template: &Template) -> bool {
    let mut names = template.variables().iter();
    names.any(|name| name == "response" || name == "response.body" || name.starts_with("response.body."))
}

/// What has come of a body, for whoever reads it.
struct Come {
    /// none is the end, without which there is none
    from: mpsc::Receiver<Option<Bytes>>,
    now: Bytes,
    ended: bool,
}

impl Read for Come {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() && !self.ended {
            match self.from.blocking_recv() {
                Some(Some(piece)) => self.now = piece,
                Some(None) => self.ended = true,
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        let read = self.now.len().min(into.len());
        into.get_mut(..read).unwrap_or_default().copy_from_slice(&self.now.split_to(read));
        Ok(read)
    }
}
