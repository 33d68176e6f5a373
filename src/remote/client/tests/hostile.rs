//! Servers that mean harm: whatever they send, the request ends soon, within its bounds, and with an error that says why. (What they
//! redirect to is in `answers`, what they learn of secrets in `secrets`.)

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::sample::{self, Reply, Server, get, ok, plain};
use crate::plan::{ConnectionPlan, NetworkPlan, limits};
use crate::remote::{Client, Credentials, Error, Request, Response, TransportFault};

fn client(plan: ConnectionPlan) -> Client {
    Client::new(Arc::new(plan), sample::access(Credentials::default())).expect("a client")
}

async fn answer_to(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Result<Response, Error> {
    let server = Server::start(move |_| reply()).await;
    let plan = ConnectionPlan { timeout_request: Duration::from_secs(30), ..sample::connection(&server.url) };
    client(plan).send(&get(&server.url)).await
}

/// What comes of an answer that must not be taken: code, whether it is tried again, message.
async fn refused(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (&'static str, bool, String) {
    let error = answer_to(reply).await.expect_err("must be refused");
    (error.code(), error.is_temporary(), error.to_string())
}

fn head(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{lines}").into_bytes()
}

#[tokio::test]
async fn a_header_of_a_megabyte_is_refused() {
    let (code, again, message) =
        refused(|| Reply::Bytes(head(&format!("X-Long: {}\r\n\r\n{{}}", "a".repeat(1 << 20))))).await;
    assert_eq!((code, again), ("head_too_large", false), "{message}");
    assert!(message.contains("the head of the answer is too large"), "{message}");
}

#[tokio::test]
async fn ten_thousand_headers_are_refused() {
    let lines: String = (0..10_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let (code, again, message) = refused(move || Reply::Bytes(head(&format!("{lines}\r\n")))).await;
    assert_eq!((code, again), ("head_too_large", false), "{message}");
    assert!(message.contains("at most 100 headers"), "{message}");
}

#[tokio::test]
async fn the_bound_of_headers_is_exact() {
    for over in [0, 1] {
        let lines: String = (0..limits::RESPONSE_HEADERS_MAX - 1 + over).map(|n| format!("X-{n}: 1\r\n")).collect();
        let answer = answer_to(move || Reply::Bytes(head(&format!("{lines}Content-Length: 0\r\n\r\n")))).await;
        assert_eq!(answer.map_err(|error| error.code()).is_err(), over == 1);
    }
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    for part in [b"X-More: 1\r\n".repeat(100), vec![b'a'; 4_096]] {
        let (code, _, message) = refused(move || Reply::Endless(head("X-First: "), part.clone())).await;
        assert_eq!(code, "head_too_large", "{message}");
    }
}

#[tokio::test]
async fn answers_before_the_answer_are_not_read_without_end() {
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n".repeat(50);
    let server = Server::start(move |_| Reply::Endless(Vec::new(), early.clone())).await;
    let plan = ConnectionPlan { timeout_request: Duration::from_millis(300), ..sample::connection(&server.url) };
    let error = client(plan).send(&get(&server.url)).await.expect_err("must end");
    assert_eq!(error.code(), "timeout", "{error}");
}

/// Answers that come byte by byte and never end.
async fn drip(head_bytes: Vec<u8>, part: &'static [u8]) {
    let server = Server::start(move |_| Reply::Drip(head_bytes.clone(), part.to_vec())).await;
    let plan = ConnectionPlan { timeout_request: Duration::from_millis(200), ..sample::connection(&server.url) };
    let error = client(plan).send(&get(&server.url)).await.expect_err("must end");
    assert_eq!((error.code(), error.is_temporary()), ("timeout", true), "{error}");
    assert!(error.to_string().ends_with("no whole answer within 200ms"), "{error}");
}

#[tokio::test]
async fn a_body_that_drips_ends_with_the_time_for_a_request() {
    drip(head("Content-Length: 1000000\r\n\r\n"), b" ").await;
    drip(head("Transfer-Encoding: chunked\r\n\r\n"), b"1\r\n \r\n").await;
}

#[tokio::test]
async fn a_head_that_drips_ends_with_the_time_for_a_request() {
    drip(head("X-Slow: "), b"a").await;
    drip(Vec::new(), b"\r\n").await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_waited_for_no_longer_than_allowed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    for (scheme, code) in [("http", "timeout"), ("https", "connect_timeout")] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let plan = ConnectionPlan {
            timeout_connect: Duration::from_millis(100),
            timeout_request: Duration::from_millis(400),
            ..sample::connection(&url)
        };
        let error = client(plan).send(&get(&url)).await.expect_err("must end");
        assert_eq!((error.code(), error.is_temporary()), (code, true), "{error}");
    }
}

/// zstd (RFC 8878): a frame with a window of 128 KiB, then blocks without end that each say «this byte 131072 times» in four bytes.
fn zstd_bomb() -> Reply {
    let mut bytes = head("Content-Encoding: zstd\r\nConnection: close\r\n\r\n");
    bytes.extend([0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3]);
    let block = (131_072_u32 << 3 | 1 << 1).to_le_bytes();
    Reply::Endless(bytes, [block[0], block[1], block[2], b' '].repeat(1_000))
}

#[tokio::test]
async fn a_zstd_bomb_is_refused_at_the_bound() {
    let (code, again, message) = refused(zstd_bomb).await;
    assert_eq!((code, again), ("response_too_large", false), "{message}");
    assert!(message.contains("larger than 64 MiB"), "{message}");
}

/// 65 MiB of zeros in 119 bytes of brotli (RFC 7932).
const BROTLI_BOMB: &str = "y///P/gnAOKxQCD3/o///3/wTwDEYRGA7v0f////4J8AiMMCAN37P/7//8E/ARCHBQC693/8//+DfwIgDgsAdO//+P//B/8EQBwWAOje//H//w/+CYA4LADQvf/j//8f/BMAcVgAoHv/V///j38CIA4LAHTvHwA=";

#[tokio::test]
async fn a_brotli_bomb_is_refused_at_the_bound() {
    let mut bytes = head("Content-Encoding: br\r\nConnection: close\r\n\r\n");
    bytes.extend(STANDARD.decode(BROTLI_BOMB).expect("base64"));
    let (code, again, message) = refused(move || Reply::Bytes(bytes.clone())).await;
    assert_eq!((code, again), ("response_too_large", false), "{message}");
}

#[tokio::test]
async fn what_is_packed_twice_is_not_unpacked_without_end() {
    let mut bytes = head("Content-Encoding: gzip, zstd\r\nContent-Length: 4\r\nConnection: close\r\n\r\n");
    bytes.extend([0x1f, 0x8b, 8, 0]);
    // it is not unpacked at all: the body is what it is, and no JSON
    let body = answer_to(move || Reply::Bytes(bytes.clone())).await.map(|answer| answer.body);
    assert_eq!(body.map_err(|error| error.code()).map(|body| body.len()), Ok(4));
}

#[tokio::test]
async fn what_stands_behind_a_body_belongs_to_no_answer() {
    let stray = b"{}HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"bad\":1}";
    let server = Server::start(move |received| match received.header("x-n").as_deref() {
        Some("1") => {
            let mut bytes = head("Content-Length: 2\r\n\r\n");
            bytes.extend_from_slice(stray);
            Reply::Stall(bytes)
        }
        _ => Reply::Bytes(ok("[2]")),
    })
    .await;
    let client = client(sample::connection(&server.url));
    for (n, expected) in [("1", "{}"), ("2", "[2]")] {
        let request = Request { headers: vec![plain("X-N", n)], ..get(&server.url) };
        assert_eq!(client.send(&request).await.expect("an answer").body, expected);
    }
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_no_answer() {
    for lines in [
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: 2, 3\r\n\r\n{}",
        "Content-Length: -2\r\n\r\n{}",
        "Content-Length: 99999999999999999999999\r\n\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    ] {
        let (code, again, message) = refused(move || Reply::Bytes(head(lines))).await;
        assert!(matches!(code, "broken_connection" | "truncated"), "{lines:?}: {message}");
        assert!(again && message.starts_with("GET http://127.0.0.1:"), "{lines:?}: {message}");
    }
}

#[tokio::test]
async fn cookies_of_a_server_are_never_sent_anywhere() {
    let server = Server::start(|_| {
        Reply::Bytes(head("Set-Cookie: session=planted; Path=/; Domain=localhost\r\nContent-Length: 2\r\n\r\n{}"))
    })
    .await;
    let client = client(sample::connection(&server.url));
    for _ in 0..2 {
        client.send(&get(&server.url)).await.expect("an answer");
    }
    assert!(server.received().iter().all(|received| received.header("cookie").is_none()));
}

#[tokio::test]
async fn a_host_from_the_settings_is_not_asked_without_tls_or_on_this_machine() {
    let server = Server::fine().await;
    for (network, expected) in [
        ((false, false), Err("would be asked without TLS")),
        ((true, false), Err("`127.0.0.1` is an address of this machine")),
        ((false, true), Err("would be asked without TLS")),
        ((true, true), Ok(200)),
    ] {
        let plan = ConnectionPlan {
            base_url_is_literal: false,
            network: NetworkPlan { allow_http: network.0, allow_private: network.1, follow_redirects: false },
            ..sample::connection(&server.url)
        };
        let answer = client(plan).send(&get(&server.url)).await.map(|answer| answer.status);
        match (answer, expected) {
            (Ok(status), Ok(expected)) => assert_eq!(status, expected),
            (Err(error), Err(expected)) => {
                assert_eq!((error.code(), error.is_temporary(), error.is_local()), ("network_refused", false, true));
                assert!(error.to_string().contains(expected), "{error}");
                assert!(error.hint().is_some_and(|hint| hint.contains("`base_url` of the connection")), "{error:?}");
            }
            (answer, expected) => panic!("{answer:?}, expected {expected:?}"),
        }
    }
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_refused_when_it_is_resolved() {
    let server = Server::fine().await;
    let client = client(sample::connection("https://api.example.com"));
    // past the check of the URL, as a name is that the world's DNS points at this machine
    let url = url::Url::parse(&server.url.replace("127.0.0.1", "localhost")).expect("a URL");
    let elsewhere = url::Url::parse("https://files.example.com").expect("a URL");
    assert_eq!(client.0.routes.network.must_be_guarded(&elsewhere), Ok(true));
    let guarded = client.0.routes.sockets(&elsewhere, true, false);
    let sent = guarded.expect("a way").get(url.clone()).send().await.expect_err("must be refused");
    let request = get(url.as_str());
    let outgoing =
        client.0.identity.fill_in(&request, &url, &client.0.identity.session().current()).expect("nothing to fill in");
    let error = client.transport_error(&request, &url, &outgoing, sent);
    assert_eq!((error.code(), error.is_temporary(), error.is_local()), ("network_refused", false, false));
    assert!(
        error.to_string().contains("`localhost` leads to `") && error.to_string().contains("of this machine"),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("`network: { allow_private: true }`")), "{error:?}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_name_without_an_address_is_told_as_ever_where_addresses_are_looked_at() {
    // too long for any name server to be asked
    let url = format!("http://{}.example/", "a".repeat(64));
    let network = NetworkPlan { allow_http: true, allow_private: false, follow_redirects: false };
    let plan = ConnectionPlan { base_url_is_literal: false, network, ..sample::connection(&url) };
    let error = client(plan).send(&get(&url)).await.expect_err("there is no such host");
    let fault = match &error {
        Error::Transport { fault, .. } => *fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(fault, TransportFault::UnknownHost | TransportFault::Dns), "{error:?}");
}
