//! More requests for the records of a page: what only another answer says of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use minijinja::Value;
use minijinja::value::Serde;
use serde_json::Value as Json;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use super::Error;
use super::answer::{Known, Mapped, Reader, Rows};
use super::fetch::{Fetched, Fetcher};
use super::lane::unexplained;
use super::writer::Writer;
use crate::plan::{BatchPlan, DetailPlan, DetailShape, ListPlan, OnMissing, Path};
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
}

/// What became of the request for a detail.
enum Found {
    Detail(Json),
    /// there is none
    Missing,
    /// a rule of `errors` says that there is nothing
    Nothing,
}

/// Adds the details to the records of a page, and maps them. `writer` knows which records are stored as they are; without it all are asked for.
pub(super) async fn complete(
    fetcher: &Arc<Fetcher>,
    reader: &Arc<Reader>,
    bare: Bare,
    writer: Option<&Writer>,
) -> Result<Mapped, Error> {
    let Bare { records, filtered, nodes, too_deep } = bare;
    let mut pieces: Vec<Piece> = records
        .into_iter()
        .map(|(record, is_done)| {
            let listed = xxh3_64(record.to_string().as_bytes());
            Piece { record, listed, presence: Presence::Whole, is_done }
        })
        .collect();
    let known = match writer.filter(|_| reader.plan.details.iter().all(|detail| detail.only_changed)) {
        Some(writer) => take_known(reader, &mut pieces, writer).await?,
        None => None,
    };
    for detail in &reader.plan.details {
        add(fetcher, reader, detail, &mut pieces).await?;
    }
    let reader = Arc::clone(reader);
    let mapped = tokio::task::spawn_blocking(move || {
        let pieces = pieces.into_iter().map(|piece| (piece.record, piece.listed, piece.presence)).collect();
        reader.map_detailed(pieces, filtered).map(|rows| rows.with_walk(nodes, too_deep).with_known(known))
    });
    mapped.await.map_err(|error| Error::Bug(error.to_string()))?.map(Mapped::Rows)
}

/// Takes out the records that are stored as they are: nothing more is asked about them.
async fn take_known(reader: &Arc<Reader>, pieces: &mut Vec<Piece>, writer: &Writer) -> Result<Option<Known>, Error> {
    let Some(keys) = KeyReader::of_records(&reader.plan) else { return Ok(None) };
    let entries: Vec<_> = pieces.iter().map(|piece| record::Json::from(piece.record.clone())).collect();
    let readable: Vec<usize> =
        (0..entries.len()).filter(|at| !pieces[*at].is_done && keys.reads(&entries[*at])).collect();
    let read = keys.read(&readable.iter().map(|at| &entries[*at]).collect::<Vec<_>>());
    let hashes: Vec<u64> = readable.iter().map(|at| pieces[*at].listed).collect();
    let (plan, wanted) = (Arc::clone(&reader.plan), read.keys.clone());
    let is_known: Vec<bool> =
        writer.call(move |store| store.are_listed(&plan.model, &plan.id, &wanted, &hashes)).await?;
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

/// Asks for one kind of detail, several at once, and adds what comes.
async fn add(
    fetcher: &Arc<Fetcher>,
    reader: &Arc<Reader>,
    detail: &DetailPlan,
    pieces: &mut [Piece],
) -> Result<(), Error> {
    let (mut wanted, mut again, mut first) = (Vec::new(), Vec::new(), HashMap::new());
    for (at, piece) in pieces.iter().enumerate() {
        let is_wanted = match &detail.when {
            _ if piece.is_done || piece.presence == Presence::Gone => false,
            Some(when) => {
                let record = record::Json::from(piece.record.clone());
                matches(when, &record, &reader.shared).map_err(|error| reader.template("detail.when", &error))?
            }
            None => true,
        };
        if !is_wanted {
            continue;
        }
        // a list can name the same record several times: it is asked for once
        match first.get(&piece.record.to_string()) {
            Some(known) => again.push((at, *known)),
            None => {
                first.insert(piece.record.to_string(), at);
                wanted.push(at);
            }
        }
    }
    let size = detail.batch.as_ref().map_or(1, |batch| batch.size);
    let mut waiting = wanted.chunks(size).map(<[usize]>::to_vec).collect::<Vec<_>>().into_iter();
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < detail.concurrency
            && let Some(share) = waiting.next()
        {
            let records: Vec<Json> = share.iter().map(|at| pieces[*at].record.clone()).collect();
            let (fetcher, reader, detail) = (Arc::clone(fetcher), Arc::clone(reader), detail.clone());
            asking.spawn(async move {
                let found = ask(&fetcher, &reader, &detail, records).await;
                (share, found)
            });
        }
        let Some(asked) = asking.join_next().await else { break };
        let (share, found) = asked.map_err(|error| Error::Bug(error.to_string()))?;
        for (at, found) in share.into_iter().zip(found?) {
            put(detail, &mut pieces[at], found);
        }
    }
    for (at, known) in again {
        (pieces[at].record, pieces[at].presence) = (pieces[known].record.clone(), pieces[known].presence);
    }
    Ok(())
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
async fn ask(fetcher: &Fetcher, reader: &Reader, detail: &DetailPlan, records: Vec<Json>) -> Result<Vec<Found>, Error> {
    let given = match (&detail.batch, records.first()) {
        (Some(_), _) => ("records", Value::from(Serde(&records))),
        (None, Some(record)) => ("record", Value::from(Serde(record))),
        (None, None) => return Ok(Vec::new()),
    };
    let own = Arc::new(reader.for_detail(&detail.list, given));
    let plan = &reader.plan;
    let request = Draft::new(&plan.connection.base_url, &detail.list.request, &own.shared)?.finish(None);
    let asked = request.clone();
    let missing: &[u16] = if detail.on_missing == OnMissing::Fail { &[] } else { &[404, 410] };
    let nothing = |found: fn() -> Found| records.iter().map(|_| found()).collect();
    let (response, accepted) = match fetcher.fetch(&own, &request, (missing, false), None).await? {
        Fetched::Answer { response, .. } if response.status == 204 => return Ok(nothing(|| Found::Nothing)),
        Fetched::Answer { response, accepted } => (response, accepted),
        Fetched::NoSuchPage => return Ok(nothing(|| Found::Missing)),
        Fetched::Empty => return Ok(nothing(|| Found::Nothing)),
        Fetched::LeftOut(why) => return Err(why),
        Fetched::Verdict(_) | Fetched::Streamed { .. } => return Err(unexplained()),
    };
    let shape = detail.shape;
    let read = tokio::task::spawn_blocking(move || own.read_detail(&request, (&response, accepted), shape));
    let mut found = read.await.map_err(|error| Error::Bug(error.to_string()))??;
    match (&detail.batch, shape) {
        (Some(batch), _) => of_batch(reader, &asked, (detail.on_missing, batch), &records, found),
        (None, DetailShape::List) => Ok(vec![Found::Detail(Json::Array(found))]),
        (None, _) if found.is_empty() => Ok(vec![Found::Missing]),
        (None, _) => Ok(vec![Found::Detail(found.swap_remove(0))]),
    }
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
        let variables = self.variables.clone().and(given);
        let shared = variables.value();
        Self {
            plan: Arc::clone(&self.plan),
            list: Arc::clone(list),
            rows: Rows::Details,
            client: self.client.clone(),
            variables,
            shared,
            stop_below: None,
            in_window: false,
            token: None,
            node: None,
        }
    }
}
