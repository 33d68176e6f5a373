//! The body of an answer that is read while it comes.

use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::client::Client;
use super::error::{Error, TransportFault};
use super::outgoing::Outgoing;
use super::rate::Place;
use super::request::Request;
use crate::plan::limits;

/// The body of an answer, still open. It has its place among the requests in flight until it is read to its end, or dropped.
pub struct Body<'c> {
    client: &'c Client,
    request: &'c Request,
    /// where it comes from, with its secrets
    url: Url,
    outgoing: Outgoing,
    answer: reqwest::Response,
    place: Option<Place<'c>>,
    read: u64,
}

impl<'c> Body<'c> {
    pub(super) fn new(
        (client, request): (&'c Client, &'c Request),
        url: Url,
        outgoing: Outgoing,
        answer: reqwest::Response,
        place: Place<'c>,
    ) -> Self {
        Self { client, request, url, outgoing, answer, place: Some(place), read: 0 }
    }

    /// What came next, decompressed; none behind the last of it. The time of a request counts from one piece to the next.
    ///
    /// # Errors
    /// The connection breaks or is silent for too long; more than [`limits::STREAM_BYTES_MAX`] bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let wait = self.client.connection().timeout_request;
        let Ok(piece) = tokio::time::timeout(wait, self.answer.chunk()).await else {
            return Err(self.client.too_slow(self.request, &self.url, "nothing more of the answer", wait));
        };
        let piece = piece.map_err(|error| match error.is_timeout() {
            true => self.client.too_slow(self.request, &self.url, "no whole answer", limits::STREAM_TIME_MAX),
            false => self.client.transport_error(self.request, &self.url, &self.outgoing, error),
        })?;
        match &piece {
            None => self.place = None,
            Some(piece) => {
                self.read += piece.len() as u64;
                if self.read > limits::STREAM_BYTES_MAX {
                    let request = self.client.masked_at(self.request, &self.url);
                    return Err(Error::ResponseTooLarge { request, most: limits::STREAM_BYTES_MAX });
                }
            }
        }
        Ok(piece)
    }

    /// Bytes so far.
    pub fn read(&self) -> u64 {
        self.read
    }
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("read", &self.read).finish_non_exhaustive()
    }
}

impl Client {
    /// The error of a request that takes too long.
    pub(super) fn too_slow(&self, request: &Request, url: &Url, what: &str, wait: Duration) -> Error {
        let request = self.masked_at(request, url);
        Error::Transport { request, fault: TransportFault::Timeout, reason: format!("{what} within {wait:?}") }
    }
}
