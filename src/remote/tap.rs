//! Somebody who is told of each request and its whole answer, as they go over the wire: for recordings.

use std::fmt;

use reqwest::header::HeaderMap;
use url::Url;

use crate::plan::Method;

/// A request with its answer, secrets and all: nothing of it may be shown or kept as it is.
#[derive(Clone)]
pub struct Heard {
    /// the method
    pub method: Method,
    /// the whole URL
    pub url: Url,
    /// whether a token was asked for, and nothing else
    pub for_token: bool,
    /// the request's headers, names lowercase
    pub headers: Vec<(String, String)>,
    /// the request's body
    pub body: Option<Vec<u8>>,
    /// HTTP status
    pub status: u16,
    /// the answer's headers, names lowercase
    pub answer_headers: Vec<(String, String)>,
    /// the answer's body behind `Content-Encoding`
    pub answer: Vec<u8>,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("method", &self.method).field("status", &self.status).finish_non_exhaustive()
    }
}

/// Is told of what a connection asks and hears.
pub struct Tap {
    tell: Box<dyn Fn(Heard) + Send + Sync>,
    bytes_max: usize,
}

impl Tap {
    /// A tap that tells `tell`, and lets no answer of more than `bytes_max` bytes through.
    pub fn new(bytes_max: usize, tell: impl Fn(Heard) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell), bytes_max }
    }

    pub(super) fn tell(&self, heard: Heard) {
        (self.tell)(heard);
    }

    /// Reads an answer whole; gives it again, with its body. One that has too many bytes is cut there, so that whoever reads it sees that it
    /// is longer.
    pub(super) async fn read(&self, mut answer: reqwest::Response) -> reqwest::Result<(Vec<u8>, reqwest::Response)> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > self.bytes_max {
                break;
            }
        }
        let mut again = http::Response::new(body.clone());
        *again.status_mut() = answer.status();
        *again.headers_mut() = answer.headers().clone();
        Ok((body, again.into()))
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

/// Headers as text, names lowercase.
pub(super) fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
