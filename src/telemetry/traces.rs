//! A trace for each run of a sync, made of what whoever watches is told: the run, and below it its requests, waits and commits.
//!
//! Spans go into a bounded queue, and what finds no place there is dropped: a collector that is away costs a run nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use url::Url;

use super::Settings;
use crate::engine::{Event, SyncReport};
use crate::plan::{SyncId, limits};
use crate::remote::{Collector, CollectorObserver};
use crate::store::RequestRecord;

/// Makes spans and sends them.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// the runs under way; there are as many as run at once
    runs: Mutex<HashMap<(String, SyncId), Context>>,
}

impl Traces {
    /// Traces that go to the collector of the environment; to be made within the runtime that sends them. `told` hears when it is away.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: &Settings, told: CollectorObserver) -> Result<Self, String> {
        let collector = Collector::new(settings.timeout, settings.is_local, told)?;
        let exporter = SpanExporter::builder().with_http().with_http_client(collector).build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_attribute(version);
        let resource = if settings.is_named { resource } else { resource.with_service_name("headwater") };
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        let tracer = provider.tracer("headwater");
        Ok(Self { provider, tracer, runs: Mutex::default() })
    }

    /// Takes what happened in a run at a moment.
    pub fn watch(&self, at: DateTime<Utc>, run_id: Option<&str>, sync: Option<&SyncId>, event: &Event) {
        let (Some(run_id), Some(id)) = (run_id, sync) else { return };
        let key = (run_id.to_owned(), id.clone());
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Finished(report) = event {
            let run = runs.remove(&key).unwrap_or_else(|| self.begin(at, &key));
            end(&run, at, report);
            return;
        }
        let run = runs.entry(key).or_insert_with_key(|key| self.begin(at, key));
        match event {
            Event::Request(request) => self.request(run, request),
            Event::Committed { rows, took } => {
                let rows = KeyValue::new("headwater.rows", number(*rows));
                self.child(run, "commit", (before(at, *took), at), rows);
            }
            Event::Waiting { reason, wait } => {
                let until = at + TimeDelta::from_std(*wait).unwrap_or_default();
                let reason = KeyValue::new("headwater.reason", reason.clone());
                self.child(run, "wait", (at, until), reason);
            }
            Event::Started { resumed, .. } => {
                run.span().set_attribute(KeyValue::new("headwater.resumed", *resumed));
            }
            Event::Page { .. }
            | Event::Token { .. }
            | Event::Locked { .. }
            | Event::Webhook { .. }
            | Event::NotPublished { .. }
            | Event::NotTold { .. }
            | Event::Finished(_) => {}
        }
    }

    fn begin(&self, at: DateTime<Utc>, (run_id, id): &(String, SyncId)) -> Context {
        let SyncId { connection, provider, sync, variant } = id;
        let mut attributes = vec![
            KeyValue::new("headwater.run_id", run_id.clone()),
            KeyValue::new("headwater.connection", connection.clone()),
            KeyValue::new("headwater.provider", provider.clone()),
            KeyValue::new("headwater.sync", sync.clone()),
        ];
        if !variant.is_empty() {
            attributes.push(KeyValue::new("headwater.variant", variant.clone()));
        }
        let builder = SpanBuilder::from_name(format!("sync {provider}/{sync}"));
        let builder = builder.with_kind(SpanKind::Internal).with_start_time(SystemTime::from(at));
        let root = self.tracer.build_with_context(builder.with_attributes(attributes), &Context::new());
        Context::new().with_span(root)
    }

    fn child(
        &self,
        run: &Context,
        name: &'static str,
        (from, until): (DateTime<Utc>, DateTime<Utc>),
        attribute: KeyValue,
    ) {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Internal);
        let builder = builder.with_start_time(SystemTime::from(from)).with_attributes([attribute]);
        self.tracer.build_with_context(builder, run).end_with_timestamp(until.into());
    }

    /// As the semantic conventions for clients of HTTP have it. The URL is masked, and there are no headers.
    fn request(&self, run: &Context, request: &RequestRecord) {
        let RequestRecord { at, method, url, status, duration_ms, bytes, attempt, error, waited_ms, .. } = request;
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.clone()),
            KeyValue::new("url.full", url.clone()),
            KeyValue::new("headwater.bytes", number(*bytes)),
            KeyValue::new("headwater.waited_ms", number(*waited_ms)),
        ];
        if let Ok(url) = Url::parse(url) {
            attributes.extend(url.host_str().map(|host| KeyValue::new("server.address", host.to_owned())));
            let port = url.port_or_known_default().map(i64::from);
            attributes.extend(port.map(|port| KeyValue::new("server.port", port)));
        }
        if *attempt > 1 {
            attributes.push(KeyValue::new("http.request.resend_count", i64::from(attempt - 1)));
        }
        attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
        let failed = match (status, error) {
            (_, Some(error)) => Some(("no_answer".to_owned(), error.clone())),
            (Some(status @ 400..), None) => Some((status.to_string(), String::new())),
            _ => None,
        };
        let builder = SpanBuilder::from_name(method.clone()).with_kind(SpanKind::Client);
        let builder = builder.with_start_time(SystemTime::from(*at)).with_attributes(attributes);
        let mut span = self.tracer.build_with_context(builder, run);
        if let Some((kind, message)) = failed {
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(message));
        }
        let took = TimeDelta::milliseconds(i64::try_from(*duration_ms).unwrap_or_default());
        span.end_with_timestamp((*at + took).into());
    }

    /// Sends what is still here, for a short time. Blocks.
    pub fn close(&self) {
        // whoever is not heard by then is told of already
        drop(self.provider.shutdown_with_timeout(limits::COLLECTOR_FLUSH_MAX));
    }
}

fn end(run: &Context, at: DateTime<Utc>, report: &SyncReport) {
    let SyncReport { state, requests, records, added, updated, deleted, quarantined, error, .. } = report;
    let span = run.span();
    span.set_attribute(KeyValue::new("headwater.state", *state));
    let counts = [
        ("headwater.requests", requests),
        ("headwater.records", records),
        ("headwater.added", added),
        ("headwater.updated", updated),
        ("headwater.deleted", deleted),
        ("headwater.quarantined", quarantined),
    ];
    for (name, count) in counts {
        span.set_attribute(KeyValue::new(name, number(*count)));
    }
    if let Some(error) = error {
        span.set_attribute(KeyValue::new("error.type", error.code));
        span.set_status(Status::error(error.message.clone()));
    }
    span.end_with_timestamp(at.into());
}

fn before(at: DateTime<Utc>, took: Duration) -> DateTime<Utc> {
    at - TimeDelta::from_std(took).unwrap_or_default()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
