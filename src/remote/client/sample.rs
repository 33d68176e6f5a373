//! A connection and a loopback server for tests: the server says byte for byte what it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::plan::{AuthPlan, ConnectionPlan, Method, NetworkPlan, RatePlan, RetryPlan};
use crate::remote::{Access, Credentials, HeaderValue, Request};

/// A connection without auth, credentials and quotas.
pub fn connection(base_url: &str) -> ConnectionPlan {
    ConnectionPlan {
        name: "sample".to_owned(),
        provider: "sample".to_owned(),
        base_url: Url::parse(base_url).expect("a URL"),
        trusted_origins: Vec::new(),
        base_url_is_literal: true,
        network: NetworkPlan::default(),
        auth_name: None,
        auth: AuthPlan::None,
        scopes: Vec::new(),
        unknown: Vec::new(),
        credentials: BTreeMap::new(),
        config: serde_json::json!({ "region": "eu" }),
        rate_limit: RatePlan::DEFAULT,
        retry: RetryPlan {
            attempts: 1,
            statuses: vec![429],
            backoff_base: Duration::ZERO,
            backoff_max: Duration::ZERO,
        },
        timeout_connect: Duration::from_secs(10),
        timeout_request: Duration::from_secs(60),
        errors: Vec::new(),
        verify: None,
        on_connect: Vec::new(),
        webhooks: None,
        tls: None,
    }
}

/// Lets a connection go anywhere: all servers of tests are on this machine and have no TLS.
pub const ANYWHERE: NetworkPlan = NetworkPlan { allow_http: true, allow_private: true, follow_redirects: false };

/// What a connection with these credentials gets in with, at a time that stands still.
pub fn access(credentials: Credentials) -> Access {
    let at = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
    Access::with(credentials, Arc::new(move || at))
}

/// A GET without anything else.
pub fn get(url: &str) -> Request {
    Request {
        method: Method::Get,
        url: Url::parse(url).expect("a URL"),
        secret_query: Vec::new(),
        headers: Vec::new(),
        body: None,
    }
}

pub fn plain(name: &str, value: &str) -> (String, HeaderValue) {
    (name.to_owned(), HeaderValue::Plain(value.to_owned()))
}

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Received {
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// All the values of a header (lowercase name), joined by `|`.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.iter().filter(|(known, _)| known == name).map(|(_, v)| v.clone()).collect();
        (!values.is_empty()).then(|| values.join("|"))
    }
}

/// What a server does with a connection after it has read a request.
pub enum Reply {
    /// writes these bytes and closes
    Bytes(Vec<u8>),
    /// writes the first bytes, then the second over and over until the other side has enough
    Endless(Vec<u8>, Vec<u8>),
    /// writes the first bytes, then the second again and again, each a moment after the last, and never ends
    Drip(Vec<u8>, Vec<u8>),
    /// writes these bytes, then nothing more, and keeps the connection open
    Stall(Vec<u8>),
}

/// A server on a loopback port that stops with the test's runtime.
pub struct Server {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// A server that answers each request with what `reply` makes of it.
    pub async fn start(reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&received), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                tokio::spawn(async move {
                    let _ = serve(stream, &log, &*reply).await;
                });
            }
        });
        Self { url, received }
    }

    /// A server that always answers 200 with a small JSON body.
    pub async fn fine() -> Self {
        Self::start(|_| Reply::Bytes(ok("{}"))).await
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    /// The only request so far.
    pub fn only(&self) -> Received {
        let all = self.received();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }
}

/// A whole answer with status 200.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// A whole answer that redirects.
pub fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Received>>,
    reply: &(impl Fn(&Received) -> Reply + Sync),
) -> std::io::Result<()> {
    let request = receive(&mut stream).await?;
    log.lock().expect("not poisoned").push(request.clone());
    match reply(&request) {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
        Reply::Endless(head, part) => {
            stream.write_all(&head).await?;
            loop {
                stream.write_all(&part).await?;
            }
        }
        Reply::Drip(head, part) => {
            stream.write_all(&head).await?;
            let mut moments = tokio::time::interval(Duration::from_millis(5));
            loop {
                moments.tick().await;
                stream.write_all(&part).await?;
                stream.flush().await?;
            }
        }
        Reply::Stall(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending::<()>().await;
        }
    }
    stream.shutdown().await
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<Received> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if !bytes[0].is_ascii_alphabetic() {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await?;
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = bytes.split_off(head + 4);
    while body.len() < length.unwrap_or(0) {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Received { line, headers, body })
}
