//! Answers in place of the network: for tests of integrations, which send nothing and wait for nothing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use url::Url;

use super::access::Clock;
use crate::plan::{Method, limits};

/// A request as it would go over the wire, with its secrets.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// the method
    pub method: Method,
    /// the whole URL
    pub url: &'a Url,
    /// all headers but those that HTTP itself adds (`Host`, `Content-Length`)
    pub headers: &'a HeaderMap,
    /// the body, if there is one
    pub body: Option<&'a [u8]>,
}

/// What answers a request; `None` where there is no answer for it.
pub type Answer = dyn Fn(&Asked<'_>) -> Option<http::Response<Vec<u8>>> + Send + Sync;

/// Answers requests in place of a server, and has a clock that stands still but for the waits, which take no time.
pub struct Script {
    began: DateTime<Utc>,
    waited: Mutex<Duration>,
    answer: Box<Answer>,
}

impl Script {
    /// A script whose clock says `began`. An answer has its body as it is behind `Content-Encoding`, which is not looked at.
    pub fn new(
        began: DateTime<Utc>,
        answer: impl Fn(&Asked<'_>) -> Option<http::Response<Vec<u8>>> + Send + Sync + 'static,
    ) -> Self {
        Self { began, waited: Mutex::default(), answer: Box::new(answer) }
    }

    /// The time by its clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.began + self.waited()
    }

    /// Its clock, for all that tells the time in a run.
    pub fn clock(self: &Arc<Self>) -> Clock {
        let script = Arc::clone(self);
        Arc::new(move || script.now())
    }

    /// All that was waited.
    pub(super) fn waited(&self) -> Duration {
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock, instead of waiting.
    pub(super) fn rest(&self, wait: Duration) {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        *waited = waited.saturating_add(wait).min(limits::DURATION_MAX);
    }

    pub(super) fn answer(&self, asked: &Asked<'_>) -> Option<http::Response<Vec<u8>>> {
        (self.answer)(asked)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("now", &self.now()).finish_non_exhaustive()
    }
}
