//! `dry-run`: real requests, mapped rows, nothing written.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::answer::Reader;
use super::clock::system_clock;
use super::fetch::{Fetched, Fetcher};
use super::render::{self, Variables};
use super::{Error, Observer};
use crate::plan::SyncPlan;
use crate::record::{Batch, Mapper};
use crate::remote::{Client, Credentials};
use crate::scan::{ScanState, Step};

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

/// Makes the requests of the first `pages_max` pages of a sync that has never run, and maps what comes.
///
/// # Errors
/// As a run.
pub async fn preview(plan: &Arc<SyncPlan>, pages_max: u64, observer: &Observer) -> Result<Preview, Error> {
    let client = Client::new(Arc::clone(&plan.connection), Credentials::resolve(&plan.connection)?)?;
    let clock = system_clock();
    let at = clock();
    let since = super::sync::first_mark(plan, at)?;
    let mut scan = ScanState::begin(0, at, since);
    let variables = Variables::new(plan, at, scan.since.as_ref());
    let shared = variables.value();
    let reader =
        Arc::new(Reader { plan: Arc::clone(plan), mapper: Mapper::new(plan), client: client.clone(), variables });
    let fetcher = Fetcher::new(Arc::clone(plan), client.clone(), Arc::clone(observer), clock, false);
    let mut preview = Preview { requests: Vec::new(), batches: Vec::new(), more: true };
    while preview.more && scan.pages < pages_max {
        let request = render::request(plan, &shared, &scan)?;
        let Fetched::Answer(response) = fetcher.fetch(&request, false).await? else { break };
        let mut shown = PreviewRequest {
            line: client.masked(&request),
            headers: client.masked_headers(&request),
            body: request.body.as_ref().map(|(_, body)| client.redact(&String::from_utf8_lossy(body))),
            status: response.status,
            bytes: response.body.len(),
            records: 0,
        };
        let (tell, told) = oneshot::channel();
        let reading = Arc::clone(&reader);
        let batch = tokio::task::spawn_blocking(move || reading.read(&request, &response, tell));
        let facts = told.await.map_err(|_| Error::Bug("a page was neither read nor refused".into()))??;
        shown.records = facts.records;
        preview.requests.push(shown);
        preview.more = reader.advance(&mut scan, &facts)? == Step::More;
        if let Some(batch) = batch.await.map_err(|error| Error::Bug(error.to_string()))? {
            preview.batches.push(batch?);
        }
    }
    Ok(preview)
}
