//! The way to a collector of OpenTelemetry: what the exporter sends goes over the HTTP client that is here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use super::sockets::USER_AGENT;
use super::transport;
use crate::plan::limits;

/// Takes why nothing arrives at a collector, once each time that begins.
pub type CollectorObserver = Arc<dyn Fn(String) + Send + Sync>;

/// Sends to a collector. What it was told to send is not repeated anywhere: its headers may hold a key.
pub struct Collector {
    http: reqwest::Client,
    /// the exporter has a thread of its own, and the sockets live here
    runtime: Handle,
    told: CollectorObserver,
    fails: AtomicBool,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    /// A way that gives up after `timeout`; to be made within the runtime that it is to use. `direct`: the system's proxies do not count.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(timeout: Duration, direct: bool, told: CollectorObserver) -> Result<Self, String> {
        // an error says that a provider is there already, which is all that is needed
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout);
        let builder = if direct { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| transport::in_words(&error.without_url()))?;
        Ok(Self { http, runtime: Handle::current(), told, fails: AtomicBool::new(false) })
    }

    /// Tells the first failure after a success.
    fn note(&self, failed: Option<String>) {
        let failed_before = self.fails.swap(failed.is_some(), Ordering::Relaxed);
        if let Some(why) = failed.filter(|_| !failed_before) {
            (self.told)(why);
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let sending = self.http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let sent = self.runtime.spawn(async move {
            let mut answer = sending.send().await?;
            let mut body = BytesMut::new();
            // nothing of it is looked at but what was not taken
            while let Some(piece) = answer.chunk().await? {
                if body.len() + piece.len() <= limits::COLLECTOR_ANSWER_BYTES_MAX {
                    body.extend_from_slice(&piece);
                }
            }
            Ok::<_, reqwest::Error>((answer.status(), answer.headers().clone(), body.freeze()))
        });
        match sent.await? {
            Ok((status, headers, body)) => {
                self.note((!status.is_success()).then(|| format!("it answered {status}")));
                let mut response = Response::new(body);
                (*response.status_mut(), *response.headers_mut()) = (status, headers);
                Ok(response)
            }
            Err(error) => {
                let error = error.without_url();
                self.note(Some(transport::in_words(&error)));
                Err(error.into())
            }
        }
    }
}
