//! How much of a quota is used, and how often a server that enforces it strictly has to refuse.
//!
//! `./dev bench --bench quota` sends requests through one connection as fast as it lets them go, to a server on a loopback port that logs
//! the time of each request that it lets in and answers 429 to one that would be one too many in any stretch (a sliding window log, the
//! strictest that there is). For each set of quotas and number of requests in flight it prints what was let in, which share of the quota
//! that is, and the refusals. No bound is checked: a machine with much else to do is no fault of the program.

#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for people at a terminal, outside of headwater"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use headwater::engine::system_clock;
use headwater::plan::{AuthPlan, ConnectionPlan, Method, NetworkPlan, Quota, RatePlan, RetryPlan};
use headwater::remote::{Access, Client, Credentials, Request};
use url::Url;

fn main() {
    let seconds = |seconds| Duration::from_secs(seconds);
    let quota = |requests, per| Quota { requests, per: Duration::from_secs(per) };
    let runs = [
        (vec![quota(50, 1)], seconds(10)),
        (vec![quota(200, 2)], seconds(10)),
        (vec![quota(20, 1)], seconds(10)),
        (vec![quota(20, 1), quota(300, 20)], seconds(40)),
    ];
    println!("| quotas | in flight | let in | used | refused |\n|---|---|---|---|---|");
    for (quotas, time) in &runs {
        for places in [1, 4, 16] {
            let server = Server::start(quotas.clone());
            let (let_in, refused) = measure(&server.url, quotas, places, *time);
            let most = quotas.iter().map(|quota| share(quota, *time)).fold(f64::INFINITY, f64::min);
            let names: Vec<String> =
                quotas.iter().map(|quota| format!("{} per {:?}", quota.requests, quota.per)).collect();
            println!(
                "| {} | {places} | {let_in} | {:.1} % | {refused} |",
                names.join(", "),
                f64::from(let_in) / most * 100.0
            );
        }
    }
}

/// Requests that a quota allows in so long.
fn share(quota: &Quota, time: Duration) -> f64 {
    f64::from(quota.requests) * time.as_secs_f64() / quota.per.as_secs_f64()
}

/// Sends for so long; gives how many requests were let in, and how many refused.
fn measure(url: &str, quotas: &[Quota], places: usize, time: Duration) -> (u32, u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(async {
        let connection = Arc::new(connection(url, quotas, places));
        let access = Access::with(Credentials::default(), system_clock());
        let client = Client::new(connection, access).expect("a client");
        let until = tokio::time::Instant::now() + time;
        let mut sending = tokio::task::JoinSet::new();
        for _ in 0..places {
            let (client, request) = (client.clone(), get(url));
            sending.spawn(async move {
                let (mut let_in, mut refused) = (0, 0);
                while let Ok(answer) = tokio::time::timeout_at(until, client.send(&request)).await {
                    match answer.expect("an answer").status {
                        200 => let_in += 1,
                        _ => refused += 1,
                    }
                }
                (let_in, refused)
            });
        }
        let all = sending.join_all().await;
        all.into_iter().fold((0, 0), |(a, b), (let_in, refused)| (a + let_in, b + refused))
    })
}

fn connection(url: &str, quotas: &[Quota], places: usize) -> ConnectionPlan {
    ConnectionPlan {
        name: "bench".to_owned(),
        provider: "bench".to_owned(),
        base_url: Url::parse(url).expect("a URL"),
        trusted_origins: Vec::new(),
        base_url_is_literal: true,
        network: NetworkPlan::default(),
        auth_name: None,
        auth: AuthPlan::None,
        scopes: Vec::new(),
        unknown: Vec::new(),
        credentials: BTreeMap::new(),
        config: serde_json::json!({}),
        rate_limit: RatePlan { quotas: quotas.to_vec(), concurrency: places, ..RatePlan::DEFAULT },
        retry: RetryPlan {
            attempts: 1,
            statuses: Vec::new(),
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

fn get(url: &str) -> Request {
    Request {
        method: Method::Get,
        url: Url::parse(url).expect("a URL"),
        secret_query: Vec::new(),
        headers: Vec::new(),
        body: None,
    }
}

/// A server that lets in what its quotas allow; its threads end with the program.
struct Server {
    url: String,
}

impl Server {
    fn start(quotas: Vec<Quota>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let quotas = Arc::new(quotas);
        let log: Arc<Mutex<VecDeque<Instant>>> = Arc::default();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (quotas, log) = (Arc::clone(&quotas), Arc::clone(&log));
                // a client that goes away is no failure
                thread::spawn(move || serve(&stream, &quotas, &log).ok());
            }
        });
        Self { url }
    }
}

fn serve(mut stream: &TcpStream, quotas: &[Quota], log: &Mutex<VecDeque<Instant>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    loop {
        loop {
            line.clear();
            match lines.read_line(&mut line)? {
                0 => return Ok(()),
                2 => break,
                _ => {}
            }
        }
        let status = if is_let_in(quotas, &mut log.lock().expect("not poisoned")) { 200 } else { 429 };
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}")?;
    }
}

/// Whether a request that comes now is not one too many in any stretch that ends now.
fn is_let_in(quotas: &[Quota], log: &mut VecDeque<Instant>) -> bool {
    let now = Instant::now();
    let longest = quotas.iter().map(|quota| quota.per).max().unwrap_or_default();
    while log.front().is_some_and(|at| now.duration_since(*at) >= longest) {
        log.pop_front();
    }
    let fits = quotas.iter().all(|quota| {
        let within = log.iter().rev().take_while(|at| now.duration_since(**at) < quota.per).count();
        within < quota.requests as usize
    });
    if fits {
        log.push_back(now);
    }
    fits
}
