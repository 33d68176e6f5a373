//! Traces: a collector on this machine that reads what arrives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};

use crate::support::{Api, Daemon, Project, Reply, Request, until};

const SECRET: &str = "the-s3cret-key-of-acme";

/// A project whose one connection proves itself with a secret in the URL, and one in a header.
fn project(url: &str, words: &str) -> Project {
    let project = Project::empty();
    let connections = format!("connections:\n  acme: {{ provider: api, credentials: {{ api_key: {SECRET} }} }}\n");
    project.write("headwater.yaml", format!("database: test.duckdb\n{connections}"));
    let auth = "auth: { a: { api_key: { query: key } } }\nheaders: { X-Other: \"{{ credentials.api_key }}\" }\n";
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {url}\nretry: {{ attempts: 2 }}\n{auth}"));
    let model = "model: Item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }\n";
    project.write("integrations/api/models/Item.yaml", model);
    let sync = format!(
        "sync: items\nmodel: Item\nrequest: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\nschedule: every day\n{words}\n"
    );
    project.write("integrations/api/syncs/items.yaml", sync);
    project
}

fn items(_: &Request) -> Reply {
    Reply::json(&json!({ "items": [{ "id": 1 }] }))
}

fn taken(_: &Request) -> Reply {
    Reply::bytes("application/x-protobuf", &[])
}

/// What a span or a resource says of itself.
fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::BoolValue(is)) => json!(is),
        other => panic!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

/// All spans that arrived, with what the resources say.
fn arrived(collector: &Api) -> (Vec<Span>, BTreeMap<String, Value>) {
    let (mut spans, mut resource) = (Vec::new(), BTreeMap::new());
    for request in collector.requests() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        for part in ExportTraceServiceRequest::decode(request.bytes.as_slice()).expect("OTLP").resource_spans {
            resource.extend(attributes(&part.resource.expect("a resource").attributes));
            spans.extend(part.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    (spans, resource)
}

#[test]
fn a_run_is_a_trace_of_its_requests_waits_and_commits() {
    let asked = AtomicUsize::new(0);
    let api = Api::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::json(&json!({ "items": [{ "id": 1 }], "next": "2" })),
        1 => Reply::status(503, "{}").with("retry-after", "1"),
        _ => Reply::json(&json!({ "items": [{ "id": 2 }] })),
    });
    let collector = Api::start(taken);
    let project = project(&api.url(), "pagination: { cursor: { from: $.next, query: cursor } }");
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=for-the-collector".to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test".to_owned()),
    ];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let once = project.headwater_with(&["serve", "--once", "--json"], &environment);
    assert_eq!(once.code, 0, "{}", once.stderr);
    let (spans, resource) = arrived(&collector);
    assert_eq!(collector.requests()[0].header("x-collector-key"), Some("for-the-collector"));
    assert_eq!(
        (&resource["service.name"], &resource["deployment.environment.name"]),
        (&json!("headwater"), &json!("test"))
    );

    let (roots, children): (Vec<&Span>, Vec<&Span>) = spans.iter().partition(|span| span.parent_span_id.is_empty());
    let [root] = roots[..] else { panic!("{roots:?}") };
    let of = attributes(&root.attributes);
    let run = project.column("select run_id from headwater.runs").remove(0);
    assert_eq!((root.name.as_str(), &of["headwater.run_id"]), ("sync api/items", &run));
    assert_eq!((&of["headwater.connection"], &of["headwater.sync"]), (&json!("acme"), &json!("items")));
    assert_eq!(
        (&of["headwater.state"], &of["headwater.requests"], &of["headwater.added"]),
        (&json!("completed"), &json!(3), &json!(2))
    );
    for child in &children {
        assert_eq!((&child.trace_id, &child.parent_span_id), (&root.trace_id, &root.span_id), "{child:?}");
        assert!(child.start_time_unix_nano <= child.end_time_unix_nano, "{child:?}");
        assert!(root.start_time_unix_nano <= child.start_time_unix_nano, "{child:?} {root:?}");
        assert!(child.end_time_unix_nano <= root.end_time_unix_nano, "{child:?} {root:?}");
    }
    let named = |name: &str| children.iter().filter(|span| span.name == name).copied().collect::<Vec<_>>();
    let mut requests = named("GET");
    requests.sort_by_key(|span| span.start_time_unix_nano);
    let said: Vec<_> = requests.iter().map(|span| attributes(&span.attributes)).collect();
    let statuses: Vec<_> = said.iter().map(|said| said["http.response.status_code"].clone()).collect();
    assert_eq!(statuses, [200, 503, 200]);
    let port = api.url().rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    for (span, said) in requests.iter().zip(&said) {
        assert_eq!((&said["http.request.method"], &said["server.address"]), (&json!("GET"), &json!("127.0.0.1")));
        assert_eq!((span.kind, &said["server.port"]), (3, &json!(port)));
        assert!(said["url.full"].as_str().is_some_and(|url| url.contains("key=***")), "{said:?}");
    }
    assert_eq!(
        (said[1]["error.type"].as_str(), requests[1].status.as_ref().map(|status| status.code)),
        (Some("503"), Some(2))
    );
    assert_eq!(
        (said[1].get("http.request.resend_count"), said[2].get("http.request.resend_count")),
        (None, Some(&json!(1)))
    );
    let waits = named("wait");
    assert_eq!(waits.len(), 1);
    assert!(waits[0].end_time_unix_nano - waits[0].start_time_unix_nano >= 900_000_000, "{waits:?}");
    let rows: i64 =
        named("commit").iter().filter_map(|span| attributes(&span.attributes)["headwater.rows"].as_i64()).sum();
    assert_eq!((rows, children.len()), (2, 4 + named("commit").len()), "{children:?}");
    // the log of the same run: each line has what every line has
    for line in once.json() {
        let of_all = ["at", "level", "event", "run_id", "connection", "sync"];
        assert!(of_all.iter().all(|key| line[key].is_string()), "{line}");
        assert_eq!((&line["run_id"], &line["sync"]), (&run, &json!("acme/items")));
    }
    // a run by hand is one too, under its own name
    let before = collector.requests().len();
    assert_eq!(project.headwater_with(&["run"], &environment).code, 0);
    let by_hand = ExportTraceServiceRequest::decode(collector.requests()[before].bytes.as_slice()).expect("OTLP");
    let spans = by_hand.resource_spans.into_iter().flat_map(|part| part.scope_spans).flat_map(|scope| scope.spans);
    let root = spans.into_iter().find(|span| span.parent_span_id.is_empty()).expect("the run");
    let last = project.column("select run_id from headwater.runs order by started_at desc limit 1").remove(0);
    assert_eq!(attributes(&root.attributes)["headwater.run_id"], last);
    // neither the secret of the API nor that of the collector is in what was sent, or told
    for request in collector.requests() {
        assert!(!request.body.contains(SECRET) && !request.body.contains("for-the-collector"));
    }
    assert!(!once.stdout.contains(SECRET) && !once.stdout.contains("\"request\""), "{}", once.stdout);
    assert!(api.requests().iter().all(|request| request.param("key") == Some(SECRET)), "it was sent");
}

#[test]
fn what_a_daemon_has_not_sent_when_it_is_stopped_is_sent_then() {
    let (api, collector) = (Api::start(items), Api::start(taken));
    api.becomes(|_| Reply::status(404, "{}"));
    let project = project(&api.url(), "");
    let endpoint = format!("{}/own/path", collector.url());
    let daemon =
        Daemon::start(&project, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint), ("OTEL_SERVICE_NAME", "mine")]);
    until("it has failed", || daemon.said().contains("acme/items: failed"));
    daemon.stop();
    let requests = collector.requests();
    assert_eq!(requests.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["/own/path"]);
    let sent = ExportTraceServiceRequest::decode(requests[0].bytes.as_slice()).expect("OTLP").resource_spans.remove(0);
    assert_eq!(attributes(&sent.resource.expect("a resource").attributes)["service.name"], "mine");
    let root = sent.scope_spans[0].spans.iter().find(|span| span.parent_span_id.is_empty()).expect("the run");
    let status = root.status.as_ref().expect("a status");
    assert_eq!((status.code, &attributes(&root.attributes)["error.type"]), (2, &json!("http_status")));
    assert!(status.message.contains("answered 404") && !status.message.contains(SECRET), "{status:?}");
}

#[test]
fn a_collector_that_is_away_or_hangs_costs_a_run_nothing_and_is_told_of() {
    let api = Api::start(items);
    let hangs = Api::start(|_| {
        std::thread::sleep(Duration::from_secs(30));
        Reply::status(200, "")
    });
    let refuses = Api::start(|_| Reply::status(400, "you said what?"));
    for (endpoint, told) in
        [(hangs.url(), "timed out"), ("http://127.0.0.1:9".to_owned(), "refused"), (refuses.url(), "it answered 400")]
    {
        let project = project(&api.url(), "");
        let began = Instant::now();
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
        let once = project.headwater_with(&["serve", "--once"], &environment);
        // what waits for the collector waits three seconds; the rest is a busy machine
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(once.code, 0, "{}", once.stderr);
        assert_eq!(project.column("select state from headwater.runs"), ["completed"]);
        let line = once.stderr.lines().find(|line| line.contains("the collector of OpenTelemetry"));
        assert!(line.is_some_and(|line| line.contains(told)), "{told}: {}", once.stderr);
    }
}

#[test]
fn what_cannot_be_done_is_said_before_anything_runs_and_nothing_is_sent_unasked() {
    let (api, collector) = (Api::start(items), Api::start(taken));
    let project = project(&api.url(), "");
    let url = collector.url();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let grpc = project.headwater_with(&["serve", "--once"], &[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert_eq!(grpc.code, 2);
    assert!(
        grpc.stderr.contains("`OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`") && grpc.stderr.contains("4318"),
        "{}",
        grpc.stderr
    );
    assert!(api.requests().is_empty());
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert_eq!(project.headwater_with(&["serve", "--once"], &[endpoint, off]).code, 0);
    }
    assert!(collector.requests().is_empty() && !api.requests().is_empty());
}
