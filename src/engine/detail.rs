//! More requests for the records of a page: what only another answer says of them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use minijinja::Value;
use minijinja::value::Serde;
use serde_json::Value as Json;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use super::Error;
use super::answer::{Known, PageRows, Reader, Rows};
use super::fetch::{Fetched, Fetcher};
use super::lane::unexplained;
use super::writer::Writer;
use crate::plan::{BatchPlan, DetailPlan, DetailShape, ListPlan, OnMissing, Path, limits};
use crate::record::{self, KeyReader, Presence, first, matches};
use crate::remote::{Draft, Request};
use crate::scan::Node;

/// The records of a page before details are added to them.
pub(super) struct Bare {
    /// each with whether it says that it is deleted: then nothing more is asked
    pub(super) records: Vec<(Json, bool)>,
    /// records that were turned away
    pub(super) filtered: u64,
    /// places of a walk that they lead to
    pub(super) nodes: Vec<Node>,
    pub(super) too_deep: bool,
}

/// A record that gets its details.
struct Piece {
    record: Json,
    /// hash of the record as the list had it
    listed: u64,
    presence: Presence,
    /// nothing is asked for it
    is_done: bool,
    /// how many of the details it has been through
    stage: usize,
    /// bytes of the answers that it holds
    bytes: usize,
}

/// What became of the request for a detail.
enum Found {
    Detail(Json),
    /// there is none
    Missing,
    /// a rule of `errors` says that there is nothing
    Nothing,
}

/// What came of a request for details.
enum Told {
    /// what was found for each record, and the bytes of the answer
    All(Vec<Found>, usize),
    /// there is nothing at the place of all of them, which proves nothing of a single one
    NotTogether,
}

/// Where it is known which records are stored as they are.
pub(super) struct Stored<'s> {
    pub(super) writer: &'s Writer,
    /// what was stored in another one is not known any more
    pub(super) epoch: u64,
}

/// The records of a page on their way to rows: details are added to them, to so many at once as there is room for.
pub(super) struct Completing<'f> {
    fetcher: &'f Arc<Fetcher>,
    reader: &'f Arc<Reader>,
    /// those that are left
    pieces: Vec<Piece>,
    /// what else there is on the page
    filtered: u64,
    nodes: Vec<Node>,
    too_deep: bool,
    known: Option<Known>,
}

impl<'f> Completing<'f> {
    /// Takes out what is stored as it is; without `stored` all are asked for.
    pub(super) async fn of(
        fetcher: &'f Arc<Fetcher>,
        reader: &'f Arc<Reader>,
        bare: Bare,
        stored: Option<Stored<'_>>,
    ) -> Result<Self, Error> {
        let Bare { records, filtered, nodes, too_deep } = bare;
        let epoch = stored.as_ref().map_or(0, |stored| stored.epoch);
        // other words may ask for other details
        let seed = xxh3_64(format!("{}/{epoch}", reader.plan.fingerprint).as_bytes());
        let piece = |(record, is_done): (Json, bool)| {
            let listed = xxh3_64_with_seed(record.to_string().as_bytes(), seed);
            Piece { record, listed, presence: Presence::Whole, is_done, stage: 0, bytes: 0 }
        };
        let mut pieces: Vec<Piece> = records.into_iter().map(piece).collect();
        let known = match stored.filter(|_| reader.plan.details.iter().all(|detail| detail.only_changed)) {
            Some(Stored { writer, .. }) => take_known(reader, &mut pieces, writer).await?,
            None => None,
        };
        Ok(Self { fetcher, reader, pieces, filtered, nodes, too_deep, known })
    }

    /// Whether all records have become rows.
    pub(super) fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The next of them, from the first: as many as there is room for the details of.
    pub(super) async fn next(&mut self) -> Result<PageRows, Error> {
        let mut upto = self.pieces.len();
        for (nth, detail) in self.reader.plan.details.iter().enumerate() {
            let held = self.pieces.iter().map(|piece| piece.bytes).sum();
            let some = self.pieces.get_mut(..upto).unwrap_or_default();
            add(self.fetcher, self.reader, (nth, detail), some, held).await?;
            upto = some.iter().position(|piece| piece.stage <= nth).unwrap_or(upto);
        }
        let pieces = self.pieces.drain(..upto);
        let pieces = pieces.map(|piece| (piece.record, piece.listed, piece.presence)).collect();
        let (reader, filtered) = (Arc::clone(self.reader), std::mem::take(&mut self.filtered));
        let (nodes, too_deep) = (std::mem::take(&mut self.nodes), std::mem::take(&mut self.too_deep));
        let known = self.known.take();
        let mapped = tokio::task::spawn_blocking(move || {
            reader.map_detailed(pieces, filtered).map(|rows| rows.with_walk(nodes, too_deep).with_known(known))
        });
        mapped.await.map_err(|error| Error::Bug(error.to_string()))?
    }
}

/// Takes out the records that are stored as they are: nothing more is asked about them. What is in quarantine is newer than its row.
async fn take_known(reader: &Arc<Reader>, pieces: &mut Vec<Piece>, writer: &Writer) -> Result<Option<Known>, Error> {
    let Some(keys) = KeyReader::of_records(&reader.plan) else { return Ok(None) };
    let entries: Vec<_> = pieces.iter().map(|piece| record::Json::from(piece.record.clone())).collect();
    let readable: Vec<usize> =
        (0..entries.len()).filter(|at| !pieces[*at].is_done && keys.reads(&entries[*at])).collect();
    let read = keys.read(&readable.iter().map(|at| &entries[*at]).collect::<Vec<_>>());
    let hashes: Vec<u64> = readable.iter().map(|at| pieces[*at].listed).collect();
    let (plan, wanted, key_hashes) = (Arc::clone(&reader.plan), read.keys.clone(), read.key_hashes.clone());
    let is_known = writer.call(move |store| {
        let mut are = store.are_listed(&plan.model, &plan.id, &wanted, &hashes)?;
        let held = store.quarantined(&plan.model, &plan.id, &key_hashes)?;
        are.iter_mut().zip(&key_hashes).for_each(|(is, key)| *is &= !held.contains(key));
        Ok(are)
    });
    let is_known: Vec<bool> = is_known.await?;
    if !is_known.contains(&true) {
        return Ok(None);
    }
    let known: HashSet<usize> = readable.iter().zip(&is_known).filter(|(_, is)| **is).map(|(at, _)| *at).collect();
    let mut at = 0;
    pieces.retain(|_| {
        at += 1;
        !known.contains(&(at - 1))
    });
    let keep: BooleanArray = is_known.iter().copied().map(Some).collect();
    let keys: RecordBatch = filter_record_batch(&read.keys, &keep).expect("a yes or no for each key");
    let of_known = |at: &usize| is_known[*at];
    let key_hashes = (0..is_known.len()).filter(of_known).map(|at| read.key_hashes[at]).collect();
    let high = (0..is_known.len()).filter(of_known).filter_map(|at| read.marks[at].clone()).max();
    Ok(Some(Known { keys, key_hashes, high }))
}

/// Asks for one kind of detail, several at once, and adds what comes: from the first record on, as long as what is `held` is not too much. The
/// first one is asked for in any case.
async fn add(
    fetcher: &Arc<Fetcher>,
    reader: &Arc<Reader>,
    (nth, detail): (usize, &DetailPlan),
    pieces: &mut [Piece],
    mut held: usize,
) -> Result<(), Error> {
    let (wanted, again) = wanted(reader, (nth, detail), pieces)?;
    let size = detail.batch.as_ref().map_or(1, |batch| batch.size);
    // by the first record of each
    let shares = wanted.chunks(size).filter_map(|share| Some((*share.first()?, share.to_vec())));
    let mut waiting: BTreeMap<usize, Vec<usize>> = shares.collect();
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < detail.concurrency
            && let Some(next) = waiting.first_entry()
            && (held < limits::DETAIL_BYTES_AT_ONCE || wanted.first() == Some(next.key()))
        {
            let share = next.remove();
            let records: Vec<Json> = share.iter().map(|at| pieces[*at].record.clone()).collect();
            let (fetcher, reader, detail) = (Arc::clone(fetcher), Arc::clone(reader), detail.clone());
            asking.spawn(async move {
                let told = ask(&fetcher, &reader, &detail, records).await;
                (share, told)
            });
        }
        let Some(asked) = asking.join_next().await else { break };
        let (share, told) = asked.map_err(|error| Error::Bug(error.to_string()))?;
        match told? {
            Told::All(found, bytes) => {
                held += bytes;
                let each = bytes.div_ceil(share.len().max(1));
                for (at, found) in share.into_iter().zip(found) {
                    let piece = &mut pieces[at];
                    let is_missing = matches!(found, Found::Missing);
                    put(detail, piece, found);
                    if !is_missing || piece.presence == Presence::Gone {
                        fetcher.note_detail(!is_missing);
                    }
                    (piece.stage, piece.bytes) = (nth + 1, piece.bytes + each);
                }
            }
            Told::NotTogether => {
                let halves = share.split_at(share.len() / 2);
                let halves = [halves.0, halves.1].into_iter().filter_map(|half| Some((*half.first()?, half.to_vec())));
                waiting.extend(halves);
            }
        }
    }
    for (at, known) in again {
        if pieces[known].stage > nth {
            let Piece { record, presence, .. } = &pieces[known];
            (pieces[at].record, pieces[at].presence) = (record.clone(), *presence);
            pieces[at].stage = nth + 1;
        }
    }
    Ok(())
}

/// Numbers of records, and of those that are the same as one of them.
type Wanted = (Vec<usize>, Vec<(usize, usize)>);

/// The records that a detail is asked for, and those that are the same as one of them: a list can name a record several times.
fn wanted(reader: &Reader, (nth, detail): (usize, &DetailPlan), pieces: &mut [Piece]) -> Result<Wanted, Error> {
    let (mut wanted, mut again, mut first) = (Vec::new(), Vec::new(), HashMap::new());
    for (at, piece) in pieces.iter_mut().enumerate().filter(|(_, piece)| piece.stage <= nth) {
        let is_wanted = match &detail.when {
            _ if piece.is_done || piece.presence == Presence::Gone => false,
            Some(when) => {
                let record = record::Json::from(piece.record.clone());
                matches(when, &record, &reader.shared).map_err(|error| reader.template("detail.when", &error))?
            }
            None => true,
        };
        if !is_wanted {
            piece.stage = nth + 1;
            continue;
        }
        match first.entry(xxh3_128(piece.record.to_string().as_bytes())) {
            Entry::Occupied(known) => again.push((at, *known.get())),
            Entry::Vacant(free) => {
                free.insert(at);
                wanted.push(at);
            }
        }
    }
    Ok((wanted, again))
}

/// Puts a detail where it belongs.
fn put(detail: &DetailPlan, piece: &mut Piece, found: Found) {
    match (found, &detail.member) {
        (Found::Detail(found), Some(name)) => {
            if let Json::Object(members) = &mut piece.record {
                members.insert(name.clone(), found);
            }
        }
        (Found::Detail(found), None) => piece.record = found,
        (Found::Missing, _) if detail.on_missing == OnMissing::Delete => piece.presence = Presence::Gone,
        (Found::Missing | Found::Nothing, _) => piece.presence = Presence::Bare,
    }
}

/// Sends one request, for one record or a batch of them; gives what was found for each.
async fn ask(fetcher: &Fetcher, reader: &Reader, detail: &DetailPlan, records: Vec<Json>) -> Result<Told, Error> {
    let given = match (&detail.batch, records.first()) {
        (Some(_), _) => ("records", Value::from(Serde(&records))),
        (None, Some(record)) => ("record", Value::from(Serde(record))),
        (None, None) => return Ok(Told::All(Vec::new(), 0)),
    };
    let own = Arc::new(reader.for_detail(&detail.list, given));
    let plan = &reader.plan;
    let request = Draft::new(&plan.connection.base_url, &detail.list.request, &own.shared)?.finish(None);
    let asked = request.clone();
    let missing: &[u16] = if detail.on_missing == OnMissing::Fail { &[] } else { &[404, 410] };
    let nothing = |found: fn() -> Found| Told::All(records.iter().map(|_| found()).collect(), 0);
    let (response, accepted) = match fetcher.fetch(&own, &request, (missing, false), None).await? {
        Fetched::Answer { response, .. } if response.status == 204 => return Ok(nothing(|| Found::Nothing)),
        Fetched::Answer { response, accepted } => (response, accepted),
        Fetched::NoSuchPage if records.len() > 1 => return Ok(Told::NotTogether),
        Fetched::NoSuchPage => return Ok(nothing(|| Found::Missing)),
        Fetched::Empty => return Ok(nothing(|| Found::Nothing)),
        Fetched::LeftOut(why) => return Err(why),
        Fetched::Verdict(_) | Fetched::Streamed { .. } => return Err(unexplained()),
    };
    let (shape, bytes) = (detail.shape, response.body.len());
    let read = tokio::task::spawn_blocking(move || own.read_detail(&request, (&response, accepted), shape));
    let mut found = read.await.map_err(|error| Error::Bug(error.to_string()))??;
    let found = match (&detail.batch, shape) {
        (Some(batch), _) => of_batch(reader, &asked, (detail.on_missing, batch), &records, found)?,
        (None, DetailShape::List) => vec![Found::Detail(Json::Array(found))],
        (None, _) if found.is_empty() => vec![Found::Missing],
        (None, _) => vec![Found::Detail(found.swap_remove(0))],
    };
    Ok(Told::All(found, bytes))
}

/// Which of the details of a batch belong to which record.
fn of_batch(
    reader: &Reader,
    asked: &Request,
    (on_missing, batch): (OnMissing, &BatchPlan),
    records: &[Json],
    found: Vec<Json>,
) -> Result<Vec<Found>, Error> {
    let BatchPlan { record_key, detail_key, list, size: _ } = batch;
    let mut by_key: HashMap<String, Vec<Json>> = HashMap::new();
    for detail in found {
        if let Some(key) = key_of(detail_key, &detail) {
            by_key.entry(key).or_default().push(detail);
        }
    }
    let error = |lacks| Error::DetailMissing { request: reader.client.masked(asked), lacks, of: records.len() };
    if let Some((key, _)) = by_key.iter().find(|(_, details)| details.len() > 1 && !list) {
        return Err(Error::DetailTwice { request: reader.client.masked(asked), key: reader.client.redact(key) });
    }
    let of = |record: &Json| match key_of(record_key, record).and_then(|key| by_key.get(&key)) {
        Some(details) if *list => Found::Detail(Json::Array(details.clone())),
        Some(details) => details.first().cloned().map_or(Found::Missing, Found::Detail),
        None if *list => Found::Detail(Json::Array(Vec::new())),
        None => Found::Missing,
    };
    let found: Vec<Found> = records.iter().map(of).collect();
    let lacks = found.iter().filter(|found| matches!(found, Found::Missing)).count();
    if lacks > 0 && on_missing == OnMissing::Fail { Err(error(lacks)) } else { Ok(found) }
}

/// What tells a record or a detail from others; an id is the same as text and as a number.
fn key_of(path: &Path, value: &Json) -> Option<String> {
    let value = record::Json::from(value.clone());
    match first(path, &value)?.to_serde() {
        Json::Null => None,
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

impl Reader {
    /// What reads the answer of a request for details, which names `given`.
    fn for_detail(&self, list: &Arc<ListPlan>, given: (&'static str, Value)) -> Self {
        let (plan, variables) = (Arc::clone(&self.plan), self.variables.clone().and(given));
        Self::of(plan, Arc::clone(list), Rows::Details, self.client.clone(), variables)
    }
}
