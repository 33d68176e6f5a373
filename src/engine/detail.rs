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
use crate::plan::{DetailPlan, DetailShape, ListPlan, OnMissing};
use crate::record::{self, KeyReader, Presence, first, matches};
use crate::remote::Draft;
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
    let mut wanted = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let is_wanted = match &detail.when {
            _ if piece.is_done || piece.presence == Presence::Gone => false,
            Some(when) => {
                let record = record::Json::from(piece.record.clone());
                matches(when, &record, &reader.shared).map_err(|error| reader.template("detail.when", &error))?
            }
            None => true,
        };
        wanted.extend(is_wanted.then_some(at));
    }
    let size = detail.batch.as_ref().map_or(1, |(size, _)| *size);
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
        let Some(asked) = asking.join_next().await else { return Ok(()) };
        let (share, found) = asked.map_err(|error| Error::Bug(error.to_string()))?;
        for (at, found) in share.into_iter().zip(found?) {
            put(detail, &mut pieces[at], found);
        }
    }
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
    let (shape, key) = (detail.shape, detail.batch.as_ref().map(|(_, key)| key.clone()));
    let read = tokio::task::spawn_blocking(move || own.read_detail(&request, (&response, accepted), shape));
    let mut found = read.await.map_err(|error| Error::Bug(error.to_string()))??;
    let Some(key) = key else {
        return Ok(vec![match shape {
            DetailShape::List => Found::Detail(Json::Array(found)),
            _ if found.is_empty() => Found::Missing,
            _ => Found::Detail(found.swap_remove(0)),
        }]);
    };
    let key_of = |value: &Json| {
        let value = record::Json::from(value.clone());
        first(&key, &value).map(record::Json::to_serde).filter(|key| !key.is_null()).map(|key| match key {
            // an id is the same as text and as a number
            Json::String(text) => text,
            other => other.to_string(),
        })
    };
    let mut by_key: HashMap<String, Json> =
        found.into_iter().filter_map(|detail| Some((key_of(&detail)?, detail))).collect();
    let of = |record: &Json| key_of(record).and_then(|key| by_key.remove(&key));
    let found = records.iter().map(of).map(|detail| detail.map_or(Found::Missing, Found::Detail)).collect::<Vec<_>>();
    let lacks = found.iter().filter(|found| matches!(found, Found::Missing)).count();
    if lacks > 0 && detail.on_missing == OnMissing::Fail {
        let request = reader.client.masked(&asked);
        return Err(Error::DetailMissing { request, lacks, of: records.len() });
    }
    Ok(found)
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
            node: None,
        }
    }
}
