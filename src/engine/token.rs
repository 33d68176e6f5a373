//! The first token of a delta feed that is asked for before everything is read. It is part of what the scan remembers, so that another run
//! goes on with it.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Error;
use super::fetch::Fetched;
use super::lane::{Lanes, unexplained};
use crate::plan::StartToken;
use crate::scan::{Lane, Position, Range, ScanState};

impl Lanes {
    /// Asks for the token behind which changes are read, if the scan needs one and has none, and commits it before a page is asked for. Whether
    /// the scan may go on; else the run is to stop.
    pub(super) async fn has_start_token(
        &self,
        lane: Lane,
        scan: &mut ScanState,
        range: Option<&Range>,
    ) -> Result<bool, Error> {
        let plan = Arc::clone(&self.task.plan);
        let Some(start) = plan.token.as_ref().and_then(|token| token.start.as_ref()) else { return Ok(true) };
        let is_first = scan.since_token.is_none() && scan.start_token.is_none() && scan.position == Position::Start;
        if !is_first || lane != Lane::Main {
            return Ok(true);
        }
        if self.is_stopped() {
            return Ok(false);
        }
        let Some(token) = self.unless_stopped(self.start_token(lane, start, scan, range)).await else {
            return Ok(false);
        };
        scan.start_token = Some(token?);
        self.hold(lane, scan).await?;
        Ok(true)
    }

    async fn start_token(
        &self,
        lane: Lane,
        start: &StartToken,
        scan: &ScanState,
        range: Option<&Range>,
    ) -> Result<Json, Error> {
        let reader = Arc::new(self.reader(lane, scan, range)?);
        let request = reader.request(&start.request)?;
        let missing = |excerpt| Error::StartTokenMissing {
            request: reader.client.masked(&request),
            path: start.from.text().to_owned(),
            excerpt,
        };
        match self.fetcher.fetch(&reader, &request, (&[], false), None).await? {
            Fetched::Answer { response, .. } => {
                let found = reader.values_at(&response, &start.from)?.into_iter().next();
                let token = found.and_then(|token| reader.token(&request, token));
                token.ok_or_else(|| missing(reader.client.excerpt(&response)))
            }
            Fetched::Empty | Fetched::NoSuchPage => Err(missing(String::new())),
            Fetched::LeftOut(why) => Err(why),
            Fetched::Verdict(_) | Fetched::Streamed { .. } => Err(unexplained()),
        }
    }
}
