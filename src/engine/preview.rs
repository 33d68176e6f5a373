//! `dry-run`: real requests, mapped rows, nothing written.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::answer::{Mapped, PageRows, Reader};
use super::clock::system_clock;
use super::detail::{Bare, Completing};
use super::fetch::{Fetched, Fetcher, Noted};
use super::items::{Items, Origin, RowsOf};
use super::lane::{Partition, reader, unexplained};
use super::render;
use super::stream::Outlet;
use super::sync::first_mark;
use super::{Error, Observer};
use crate::plan::SyncPlan;
use crate::record::Batch;
use crate::remote::{Access, Client, CredentialStore, Request};
use crate::scan::{Lane, OpenWindow, PageFacts, Part, ScanState, Step, Wish, begin};
use crate::store;

/// What a sync would ask and keep.
#[derive(Debug)]
pub struct Preview {
    /// the requests made, secrets masked
    pub requests: Vec<PreviewRequest>,
    /// the rows of each page
    pub batches: Vec<Batch>,
    /// whether there is more behind the last page
    pub more: bool,
}

/// One request as it was sent.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PreviewRequest {
    /// method and URL, secrets masked
    pub line: String,
    /// headers, secrets masked
    pub headers: Vec<(String, String)>,
    /// what was sent
    pub body: Option<String>,
    /// HTTP status
    pub status: u16,
    /// bytes of the answer
    pub bytes: usize,
    /// records on the page
    pub records: u64,
}

/// Makes the requests of the first `pages_max` pages of a sync that has never run, and maps what comes. Of a fan-out the first item is
/// read, for which `database` may be looked at. `store` keeps the credentials.
///
/// # Errors
/// As a run.
pub async fn preview(
    plan: &Arc<SyncPlan>,
    pages_max: u64,
    (database, store): (&Path, &CredentialStore),
    observer: &Observer,
) -> Result<Preview, Error> {
    let clock = system_clock();
    let access = Access::of(&plan.connection, store, Arc::clone(&clock))?;
    let client = Client::new(Arc::clone(&plan.connection), access)?;
    let at = clock();
    let fetcher = Arc::new(Fetcher::new(Arc::clone(plan), Arc::clone(observer), clock, Noted::default()));
    let partition = match plan.partitions {
        None => Partition::whole(),
        Some(_) => {
            let mut items = Items::new(Origin {
                plan: Arc::clone(plan),
                client: Ok(client.clone()),
                fetcher: Arc::clone(&fetcher),
                rows: RowsOf::File(database.into()),
                at,
                nodes: None,
                gate: None,
            });
            let Some(item) = items.next().await? else {
                return Ok(Preview { requests: Vec::new(), batches: Vec::new(), more: false });
            };
            item.partition
        }
    };
    let start = first_mark(plan, partition.parent.as_ref(), at)?;
    let mut begin = begin(plan, None, Part::Whole, Wish::default(), start.as_ref(), 0, at);
    let window =
        plan.windows().and_then(|(incremental, window)| begin.checkpoint.windows.next(incremental, window, 0, at));
    let (lane, mut scan, range) = match window {
        Some(OpenWindow { range, scan }) => (Lane::Window(scan.id), scan, Some(range)),
        None => (Lane::Main, begin.checkpoint.main.scan.unwrap_or_else(|| ScanState::begin(0, at, None)), None),
    };
    let reader = Arc::new(reader(plan, client.clone(), lane, &scan, (range.as_ref(), &partition)));
    let mut preview = Preview { requests: Vec::new(), batches: Vec::new(), more: true };
    let mut is_whole = true;
    while preview.more && is_whole && scan.pages < pages_max {
        let request = render::request(plan, &reader.list, &reader.shared, &scan)?;
        let outlet = reader.way().map(|_| Outlet::sample(&store::folder_of(database)));
        let fetched = fetcher.fetch(&reader, &request, (&[], false), outlet.as_ref()).await?;
        let Some(came) = came(&reader, &request, fetched, outlet.as_ref()).await? else { break };
        let Came { facts, mapped, records, status, bytes } = came;
        preview.requests.push(PreviewRequest {
            line: client.masked(&request),
            headers: client.masked_headers(&request),
            body: request.body.as_ref().map(|(_, body)| client.redact(&String::from_utf8_lossy(body))),
            status,
            bytes,
            records,
        });
        is_whole = facts.is_some();
        preview.more = match &facts {
            Some(facts) => reader.advance(&mut scan, facts)? == Step::More,
            None => true,
        };
        if let Some(mapped) = mapped {
            // the rows of the first of several models
            match mapped {
                Mapped::Rows(rows) => preview.batches.extend(rows.batches.into_iter().next()),
                Mapped::Bare(bare) => {
                    let rows = with_details(&fetcher, &reader, bare).await?;
                    preview.batches.extend(rows.into_iter().filter_map(|rows| rows.batches.into_iter().next()));
                }
                Mapped::Keys(_) | Mapped::Items(_) => return Err(unexplained()),
            }
        }
    }
    Ok(preview)
}

async fn with_details(fetcher: &Arc<Fetcher>, reader: &Arc<Reader>, bare: Bare) -> Result<Vec<PageRows>, Error> {
    let mut completing = Completing::of(fetcher, reader, bare, None).await?;
    let mut all = vec![completing.next().await?];
    while !completing.is_done() {
        all.push(completing.next().await?);
    }
    Ok(all)
}

/// What came of a request.
struct Came {
    /// what it says about the next page; none where there is more of it than is shown
    facts: Option<PageFacts>,
    mapped: Option<Mapped>,
    records: u64,
    status: u16,
    bytes: usize,
}

/// An answer, mapped; none where there is none to show.
async fn came(
    reader: &Arc<Reader>,
    request: &Request,
    fetched: Fetched,
    outlet: Option<&Outlet<'_>>,
) -> Result<Option<Came>, Error> {
    Ok(Some(match fetched {
        Fetched::Answer { response, accepted } => {
            let (status, bytes) = (response.status, response.body.len());
            let (tell, told) = oneshot::channel();
            let (reading, request) = (Arc::clone(reader), request.clone());
            let mapped = tokio::task::spawn_blocking(move || reading.read(&request, (&response, accepted), tell));
            let facts = told.await.map_err(|_| unexplained())??;
            let mapped = mapped.await.map_err(|error| Error::Bug(error.to_string()))?.transpose()?;
            Came { records: facts.records, facts: Some(facts), mapped, status, bytes }
        }
        Fetched::Streamed { facts, status, bytes } => {
            let (mapped, sampled) = outlet.and_then(Outlet::sampled).unzip();
            let records = facts.as_ref().map_or(sampled.unwrap_or(0), |facts| facts.records);
            Came { facts, mapped, records, status, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
        }
        Fetched::NoSuchPage | Fetched::Verdict(_) | Fetched::Empty | Fetched::LeftOut(_) => return Ok(None),
    }))
}
