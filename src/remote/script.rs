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

#[cfg(test)]
mod tests {
    use super::super::client::sample;
    use super::super::{Client, Credentials, Error, Sockets};
    use super::*;
    use crate::plan::{ConnectionPlan, Quota, RatePlan};

    /// A client that a script answers, and the script.
    fn client(
        plan: ConnectionPlan,
        answer: impl Fn(&Asked<'_>) -> Option<http::Response<Vec<u8>>> + Send + Sync + 'static,
    ) -> (Client, Arc<Script>) {
        let script = Arc::new(Script::new(DateTime::from_timestamp(1_700_000_000, 0).expect("a time"), answer));
        let access = sample::access(Credentials::from_pairs([("key", "s3cr3t-value")]));
        let mut sockets = Sockets::scripted(Arc::clone(&script));
        (Client::sharing(Arc::new(plan), access, &mut sockets).expect("a client"), script)
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Option<http::Response<Vec<u8>>> {
        let mut builder = http::Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        Some(builder.body(body.as_bytes().to_vec()).expect("an answer"))
    }

    #[tokio::test]
    async fn any_host_is_answered_and_redirects_are_followed() {
        let (client, _) = client(sample::connection("https://api.nowhere.invalid"), |asked| {
            assert!(asked.headers.get("user-agent").is_some_and(|value| value.as_bytes().starts_with(b"headwater/")));
            match asked.url.path() {
                "/old" => answer(302, &[("location", "/new")], ""),
                "/new" => answer(200, &[("x-one", "1")], "here"),
                _ => None,
            }
        });
        let there = client.send(&sample::get("https://api.nowhere.invalid/old")).await.expect("an answer");
        assert_eq!((there.status, there.header("x-one"), there.body.as_ref()), (200, Some("1"), b"here".as_slice()));
        let error = client.send(&sample::get("https://api.nowhere.invalid/else")).await.expect_err("nothing fits");
        assert!(matches!(error, Error::Unanswered { .. }) && !error.is_temporary(), "{error}");
        // the rules of where requests may go are those of a run
        let error = client.send(&sample::get("http://10.0.0.1/")).await.expect_err("it is private");
        assert!(matches!(error, Error::Network { .. }), "{error}");
    }

    #[tokio::test]
    async fn no_wait_takes_time() {
        // by any other clock this would never end
        let hour = Duration::from_secs(3_600);
        let rate_limit =
            RatePlan { quotas: vec![Quota { requests: 1, per: hour }], wait_max: hour * 3, ..RatePlan::DEFAULT };
        let plan = ConnectionPlan { rate_limit, ..sample::connection("https://api.nowhere.invalid") };
        let (client, script) = client(plan, |_| answer(200, &[], ""));
        let first = script.now();
        let request = sample::get("https://api.nowhere.invalid/");
        for _ in 0..3 {
            client.send(&request).await.expect("an answer");
        }
        let waited = script.now() - first;
        assert!((2..=3).contains(&waited.num_hours()), "{waited}");
        client.rest(hour * 24).await;
        client.hold(hour * 2);
        client.send(&request).await.expect("an answer");
        assert!(script.now() - first >= waited + chrono::TimeDelta::hours(26));
        client.hold(hour * 4);
        assert!(matches!(client.send(&request).await, Err(Error::Parked { .. })), "longer than a run waits");
    }
}
