//! Redirects, sizes, broken answers, timeouts, and the shared budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::sample::{self, Reply, Server, get, ok, plain, redirect};
use crate::plan::{AuthPlan, ConnectionPlan, Method, Quota, RatePlan, Template, limits};
use crate::remote::{Client, Credentials, Error, Request, Sockets, TlsFault, TransportFault};

fn client(plan: ConnectionPlan) -> Client {
    Client::new(Arc::new(plan), sample::access(Credentials::default())).expect("a client")
}

async fn error_from(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Error {
    let server = Server::start(move |_| reply()).await;
    client(sample::connection(&server.url)).send(&get(&server.url)).await.expect_err("must fail")
}

fn fault_of(error: &Error) -> TransportFault {
    match error {
        Error::Transport { fault, .. } => *fault,
        other => panic!("not a transport error: {other:?}"),
    }
}

#[tokio::test]
async fn connections_with_the_same_settings_share_their_sockets_and_nothing_else() {
    let server = Server::start(|_| Reply::Bytes(ok("{}"))).await;
    let mut sockets = Sockets::default();
    let mut share = |name: &str, timeout: Duration| {
        let plan =
            ConnectionPlan { name: name.to_owned(), timeout_request: timeout, ..sample::connection(&server.url) };
        let client =
            Client::sharing(Arc::new(plan), sample::access(Credentials::default()), &mut sockets).expect("a client");
        (client, sockets.len())
    };
    let minute = Duration::from_secs(60);
    let (first, _) = share("first", minute);
    let (second, sets) = share("second", minute);
    assert_eq!(sets, 1);
    assert_eq!(share("third", minute * 2).1, 2);
    first.hold(limits::RETRY_AFTER_MAX);
    let answer = second.send(&get(&server.url)).await.expect("the other's pause is none of its own");
    assert_eq!((answer.status, second.connection().name.as_str()), (200, "second"));
}

#[tokio::test]
async fn any_status_is_an_answer() {
    for status in [200_u16, 204, 304, 400, 404, 429, 500, 503] {
        let reply = format!(
            "HTTP/1.1 {status} Some Reason\r\nX-One: 1\r\nRetry-After: 7\r\nX-One: \u{e9}\r\nConnection: close\r\n\r\n"
        );
        let server = Server::start(move |_| Reply::Bytes(reply.clone().into_bytes())).await;
        let answer = client(sample::connection(&server.url)).send(&get(&server.url)).await.expect("an answer");
        assert_eq!((answer.status, answer.header("retry-after")), (status, Some("7")));
        let ones: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-one").map(|(_, v)| v.as_str()).collect();
        assert_eq!(ones, ["1", "é"]);
    }
}

#[tokio::test]
async fn bytes_stay_as_they_are() {
    let body = [0xff_u8, 0xfe, b'{', 0x00, b'}', 0xe9];
    let mut reply =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin1\r\nContent-Length: 6\r\n\r\n".to_vec();
    reply.extend_from_slice(&body);
    let server = Server::start(move |_| Reply::Bytes(reply.clone())).await;
    let answer = client(sample::connection(&server.url)).send(&get(&server.url)).await.expect("an answer");
    assert_eq!(answer.body.as_ref(), body);
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed_with_the_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start(move |received| match received.line.split(' ').nth(1) {
            Some("/old?a=1") => Reply::Bytes(redirect(status, "new/place?b=%20")),
            Some("/new/place?b=%20") => Reply::Bytes(redirect(status, "/last")),
            _ => Reply::Bytes(ok("{}")),
        })
        .await;
        let plan = ConnectionPlan {
            auth: AuthPlan::Bearer { token: Template::parse("t0ken").expect("parses") },
            ..sample::connection(&server.url)
        };
        let answer = client(plan).send(&get(&format!("{}/old?a=1", server.url))).await.expect("an answer");
        assert_eq!(answer.url.path(), "/last");
        assert_eq!(server.received().len(), 3);
        assert!(server.received().iter().all(|one| one.header("authorization").as_deref() == Some("Bearer t0ken")));
    }
}

#[tokio::test]
async fn redirects_to_another_origin_end_there() {
    let foreign = Server::fine().await;
    let location = format!("{}/x", foreign.url);
    let home = Server::start(move |_| Reply::Bytes(redirect(302, &location))).await;

    let error = client(sample::connection(&home.url)).send(&get(&home.url)).await.expect_err("must be refused");
    assert_eq!(error.code(), "redirected");
    assert!(error.to_string().contains(&format!("redirected to another origin: `{}/x`", foreign.url)), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("trusted_origins")) && !error.is_temporary());
    assert!(foreign.received().is_empty());

    let trusting = ConnectionPlan { trusted_origins: vec![foreign.url.clone()], ..sample::connection(&home.url) };
    assert_eq!(client(trusting).send(&get(&home.url)).await.expect("an answer").status, 200);
    assert_eq!(foreign.received().len(), 1);

    // an untrusted server must not aim headwater, with its credentials, at the API
    let back = format!("{}/delete-all", foreign.url);
    let stranger = Server::start(move |_| Reply::Bytes(redirect(302, &back))).await;
    let plan = ConnectionPlan { network: sample::ANYWHERE, ..sample::connection(&foreign.url) };
    let error = client(plan).send(&get(&stranger.url)).await.expect_err("must be refused");
    assert_eq!(error.code(), "redirected");
    assert_eq!(foreign.received().len(), 1);
}

#[test]
fn no_redirect_leaves_tls_or_hides_its_host() {
    let plan = ConnectionPlan {
        trusted_origins: vec!["http://api.example.com".to_owned(), "https://eu.example.com:444".to_owned()],
        ..sample::connection("https://api.example.com")
    };
    let client = client(plan);
    let request = get("https://api.example.com/a/b?c=1");
    let outgoing = client
        .0
        .identity
        .fill_in(&request, &request.url, &client.0.identity.session().current())
        .expect("nothing to fill in");
    let follow = |location: &str| {
        client.follow(&request, &request.url, &outgoing, request.url.join(location).map_err(|_| location.to_owned()))
    };
    for (location, expected) in [
        ("d?e=2", "https://api.example.com/a/d?e=2"),
        ("https://api.example.com:443/x", "https://api.example.com/x"),
        ("//API.example.com/x", "https://api.example.com/x"),
        ("https://eu.example.com:444/x", "https://eu.example.com:444/x"),
    ] {
        assert_eq!(follow(location).expect("may be followed").as_str(), expected);
    }
    for location in [
        "http://api.example.com/x",
        "//evil.example.com/x",
        "/\\evil.example.com/x",
        "https://api.example.com:8443/x",
        "https://api.example.com@evil.example.com/x",
        "https://eu.example.com/x",
        "https://api.example.com./x",
        "data:application/json,{}",
        "file:///etc/passwd",
    ] {
        let error = follow(location).expect_err(location);
        assert_eq!(error.code(), "redirected", "{location}");
    }
}

#[tokio::test]
async fn only_a_few_redirects_of_only_a_get_are_followed() {
    let server = Server::start(|_| Reply::Bytes(redirect(302, "/again"))).await;
    let client = client(sample::connection(&server.url));
    let error = client.send(&get(&server.url)).await.expect_err("a loop");
    assert!(error.to_string().contains("more than 5 times"), "{error}");
    assert_eq!(server.received().len(), limits::REDIRECTS_MAX + 1);

    let post = Request { method: Method::Post, ..get(&server.url) };
    let error = client.send(&post).await.expect_err("not a GET");
    assert!(error.to_string().contains("only a GET"), "{error}");
    assert_eq!(server.received().len(), limits::REDIRECTS_MAX + 2);
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_large_is_not_read() {
    let length = limits::RESPONSE_BYTES_MAX + 1;
    let error =
        error_from(move || Reply::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into())).await;
    assert_eq!((error.code(), error.is_temporary()), ("response_too_large", false));
    assert!(error.to_string().contains("response_too_large") && error.to_string().contains("64 MiB"), "{error}");
}

#[tokio::test]
async fn the_bound_is_exact() {
    for (over, expected) in [(0, None), (1, Some("response_too_large"))] {
        let server = Server::start(move |_| {
            let mut reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            reply.resize(reply.len() + limits::RESPONSE_BYTES_MAX + over, b' ');
            Reply::Bytes(reply)
        })
        .await;
        let answer = client(sample::connection(&server.url)).send(&get(&server.url)).await;
        assert_eq!(answer.as_ref().err().map(Error::code), expected);
        assert!(answer.map_or(0, |answer| answer.body.len()) == limits::RESPONSE_BYTES_MAX * (1 - over));
    }
}

/// Zeros without end, packed a thousandfold: DEFLATE (RFC 1951) with the fixed code, one literal 0 and then only matches of length 258 and
/// distance 1 (`10100011` for length 285 read from the low bit, `00000` for the distance: 13 bits). Eight of them are 13 bytes.
fn bomb() -> (Vec<u8>, Vec<u8>) {
    let mut bits = vec![1_u8, 1, 0]; // last block, fixed code
    bits.extend([0, 0, 1, 1, 0, 0, 0, 0]); // literal 0
    let of = |bits: &[u8]| {
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | bit)).collect::<Vec<u8>>()
    };
    let one = [1_u8, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    // 11 bits are there; with five matches (65 bits) they are 76, and with four more bits the last byte is whole
    let endless: Vec<u8> = one.iter().copied().cycle().take(13 * 5 + 13 * 8 * 500).collect();
    bits.extend(&endless);
    let whole = bits.len() / 8 * 8;
    // from a byte edge on, the pattern repeats every 13 bytes, at the phase where the head left off
    let phase = (whole - 11) % 13;
    let repeated: Vec<u8> = one.iter().copied().cycle().skip(phase).take(13 * 8 * 500).collect();
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n".to_vec();
    head.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    head.extend(of(&bits[..whole]));
    (head, of(&repeated))
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_at_the_bound() {
    // the server never stops: a client that did not stop at the bound would not end
    let error = error_from(|| {
        let (head, part) = bomb();
        Reply::Endless(head, part)
    });
    assert_eq!(error.await.code(), "response_too_large");
    let endless =
        error_from(|| Reply::Endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), vec![b' '; 65_536]));
    assert_eq!(endless.await.code(), "response_too_large");
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_a_temporary_error() {
    let (bomb_head, _) = bomb();
    let table: [(&str, Vec<u8>); 4] = [
        ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\": [".to_vec()),
        ("chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"data\"".to_vec()),
        ("no last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"data\"\r\n".to_vec()),
        ("gzip", bomb_head),
    ];
    for (name, reply) in table {
        let error = error_from(move || Reply::Bytes(reply.clone())).await;
        assert_eq!(fault_of(&error), TransportFault::Truncated, "{name}: {error:?}");
        assert!(error.is_temporary() && error.to_string().contains("ended before its end"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_wrongly_packed_is_an_error() {
    for junk in ["", "SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let error = error_from(move || Reply::Bytes(junk.as_bytes().to_vec())).await;
        assert_eq!(fault_of(&error), TransportFault::Broken, "{junk}: {error:?}");
        assert!(error.is_temporary());
    }
    for coding in ["gzip", "br", "zstd"] {
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 20\r\n\r\n{{\"not\": \"compressed\""
        );
        let error = error_from(move || Reply::Bytes(reply.clone().into_bytes())).await;
        assert_eq!(fault_of(&error), TransportFault::BadEncoding, "{coding}: {error:?}");
        assert!(!error.is_temporary() && error.to_string().contains("Content-Encoding"), "{error}");
    }
}

#[tokio::test]
async fn a_silent_server_is_a_timeout() {
    for stalled in [None, Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")] {
        let server = Server::start(move |_| Reply::Stall(stalled.unwrap_or_default().into())).await;
        let plan = ConnectionPlan { timeout_request: Duration::from_millis(50), ..sample::connection(&server.url) };
        let error = client(plan).send(&get(&format!("{}/?q=1", server.url))).await.expect_err("must end");
        assert_eq!((fault_of(&error), error.is_temporary()), (TransportFault::Timeout, true));
        assert_eq!(error.to_string(), format!("GET {}/?q=1: no whole answer within 50ms", server.url));
        assert!(error.hint().is_some_and(|hint| hint.contains("timeout.request")));
    }
}

#[tokio::test]
async fn nobody_there_is_told_in_words_for_people() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let client = client(sample::connection(&format!("http://{free}")));
    let error = client.send(&get(&format!("http://{free}/items"))).await.expect_err("nobody listens");
    assert_eq!((fault_of(&error), error.is_temporary()), (TransportFault::ConnectionRefused, true));
    assert_eq!(
        error.to_string(),
        format!("GET http://{free}/items: nothing listens on `127.0.0.1`, port {}", free.port())
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("is the server running")));
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = Server::fine().await;
    let url = server.url.replace("http://", "https://");
    let error = client(sample::connection(&url)).send(&get(&url)).await.expect_err("no TLS there");
    assert_eq!(
        (fault_of(&error), error.is_temporary()),
        (TransportFault::Tls(TlsFault::NotSpoken), false),
        "{error:?}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("http://")));
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_the_plan_allows() {
    const ALLOWED: usize = 3;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(tokio::sync::Barrier::new(ALLOWED));
    let app = {
        let (now, most, gate) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&gate));
        axum::Router::new().fallback(move || {
            let (now, most, gate) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&gate));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // passes only when as many as allowed are here at once
                gate.wait().await;
                now.fetch_sub(1, Ordering::SeqCst);
                "{}"
            }
        })
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let plan = ConnectionPlan {
        rate_limit: RatePlan { concurrency: ALLOWED, ..RatePlan::DEFAULT },
        ..sample::connection(&url)
    };
    let client = client(plan);
    let requests = (0..ALLOWED * 4).map(|_| {
        let (client, request) = (client.clone(), get(&url));
        tokio::spawn(async move { client.send(&request).await.map(|answer| answer.status) })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.expect("no panic").expect("an answer"), 200);
    }
    assert_eq!(most.load(Ordering::SeqCst), ALLOWED);
}

#[tokio::test]
async fn a_hold_and_a_used_up_quota_stop_all_clones() {
    let server = Server::fine().await;
    let request = get(&server.url);
    let is_waiting = |client: &Client| {
        let (client, request) = (client.clone(), request.clone());
        async move { tokio::time::timeout(Duration::from_millis(1), client.send(&request)).await.is_err() }
    };
    let held = client(sample::connection(&server.url));
    let clone = held.clone();
    held.hold(Duration::from_mins(10));
    assert!(is_waiting(&held).await && is_waiting(&clone).await);
    assert!(server.received().is_empty());

    let hourly = Quota { requests: 1, per: Duration::from_hours(1) };
    let limited = client(ConnectionPlan {
        rate_limit: RatePlan { quotas: vec![hourly], wait_max: Duration::from_hours(2), ..RatePlan::DEFAULT },
        ..sample::connection(&server.url)
    });
    limited.send(&request).await.expect("the first one goes");
    assert!(is_waiting(&limited).await && is_waiting(&limited.clone()).await);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_told_at_once_and_nothing_is_sent() {
    let server = Server::fine().await;
    let request = get(&server.url);
    let hourly = Quota { requests: 1, per: Duration::from_hours(1) };
    let limited = client(ConnectionPlan {
        rate_limit: RatePlan { quotas: vec![hourly], ..RatePlan::DEFAULT },
        ..sample::connection(&server.url)
    });
    limited.send(&request).await.expect("the first one goes");
    let error = limited.send(&request).await.expect_err("the next one in an hour");
    assert!(matches!(error, Error::Parked { wait, .. } if wait > Duration::from_mins(59)), "{error:?}");
    assert!(error.to_string().ends_with("is not sent: the quota of 1 per 1h is used up"), "{error}");

    let held = client(sample::connection(&server.url));
    held.hold(Duration::from_mins(16));
    let error = held.clone().send(&request).await.expect_err("the server said so");
    assert!(error.to_string().ends_with("the server lets no more requests come for now"), "{error}");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let app = axum::Router::new().fallback(|info: axum::extract::Request| async move {
        info.headers().get("x-n").and_then(|n| n.to_str().ok()).unwrap_or("").to_owned()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = client(sample::connection(&url));
    for n in 0..20 {
        let request = Request { headers: vec![plain("X-N", &n.to_string())], ..get(&url) };
        assert_eq!(client.send(&request).await.expect("an answer").body, n.to_string());
    }
}
