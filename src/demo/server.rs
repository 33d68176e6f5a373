//! The shop's server: starting it, moving its data on, asking what it would say.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::changes::Changes;
use super::data::{Shop, Size};
use super::routes;
use super::throttle::Throttle;

/// The one key the shop knows. It opens made-up data on the loopback interface and is no secret.
pub const API_KEY: &str = "shop-demo-key";

/// The most records of one kind that the first generation may have.
const RECORDS_MAX: u32 = 1_000_000;

/// What the shop is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// the same seed gives the same data
    pub seed: u64,
    /// customers of the first generation
    pub customers: u32,
    /// orders of the first generation, each with one to five lines; they need a customer
    pub orders: u32,
    /// records on one page at most; who asks for more gets this many
    pub page_max: usize,
    /// every n-th request is answered with 429; none and 0 mean never
    pub throttle_every: Option<u64>,
    /// the port on 127.0.0.1; 0 lets the operating system choose
    pub port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, customers: 250, orders: 1_200, page_max: 100, throttle_every: Some(9), port: 0 }
    }
}

/// A running shop. Dropping it closes the port; answers on the way are finished first.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    // dropped with the server, which is the signal to stop
    _stop: oneshot::Sender<()>,
}

/// What the server and its request handlers share.
#[derive(Debug)]
pub(super) struct Shared {
    shop: RwLock<Arc<Shop>>,
    pub(super) page_max: usize,
    pub(super) throttle: Mutex<Throttle>,
    pub(super) requests: AtomicU64,
    pub(super) throttled: AtomicU64,
}

impl Server {
    /// Opens the port and serves generation 0 in a task of the current tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be opened, or the options ask for orders without customers, for pages of no record, or
    /// for more than a million records of a kind.
    pub async fn start(options: Options) -> io::Result<Self> {
        let Options { seed, customers, orders, page_max, throttle_every, port } = options;
        if customers > RECORDS_MAX || orders > RECORDS_MAX {
            return Err(invalid(format!("the sample shop holds at most {RECORDS_MAX} customers and as many orders")));
        }
        if orders > 0 && customers == 0 {
            return Err(invalid("the sample shop needs a customer who places its orders".to_owned()));
        }
        if page_max == 0 {
            return Err(invalid("a page of the sample shop holds at least one record".to_owned()));
        }
        let shared = Arc::new(Shared {
            shop: RwLock::new(Arc::new(Shop::first(seed, Size { customers, orders }))),
            page_max,
            throttle: Mutex::new(Throttle::new(throttle_every)),
            requests: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = routes::routes(Arc::clone(&shared));
        tokio::spawn(async move {
            let stopped = async {
                // nothing is ever sent: the sender's end is the signal
                let _ = stopped.await;
            };
            axum::serve(listener, routes).with_graceful_shutdown(stopped).await
        });
        Ok(Self { address, shared, _stop: stop })
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the header `X-Api-Key` must say.
    pub fn api_key(&self) -> &str {
        API_KEY
    }

    /// Moves the data one generation on and gives its number: some customers change, some are new, some close their
    /// account, the malformed one is repaired (generation 1); some orders change, some are new, some vanish; lines
    /// follow their orders.
    pub fn advance(&self) -> u64 {
        self.shared.advance()
    }

    /// The number of the data's generation, 0 at the start.
    pub fn generation(&self) -> u64 {
        self.shared.shop().generation
    }

    /// Requests answered so far, whatever the answer was.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests answered with 429 so far.
    pub fn throttled(&self) -> u64 {
        self.shared.throttled.load(Ordering::Relaxed)
    }

    /// All the customers there are now, closed accounts and the malformed record too, in the order of the list.
    pub fn customers(&self) -> Vec<Value> {
        values(&self.shared.shop().customers)
    }

    /// All the orders there are now, in the order of the list.
    pub fn orders(&self) -> Vec<Value> {
        values(&self.shared.shop().orders)
    }

    /// All the order lines there are now, in the order of the list.
    pub fn order_lines(&self) -> Vec<Value> {
        values(&self.shared.shop().lines)
    }

    /// What tables that were as of `generation` have to learn to be as of now; none stands for empty tables. A
    /// generation that is yet to come counts as now.
    pub fn changes_since(&self, generation: Option<u64>) -> Changes {
        let now = self.shared.shop();
        let before = generation.map(|generation| Shop::at(now.seed, now.size, generation.min(now.generation)));
        Changes::between(before.as_ref(), &now)
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// The shop as it is now. A request that holds on to it sees one generation throughout.
    pub(super) fn shop(&self) -> Arc<Shop> {
        Arc::clone(&self.shop.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn advance(&self) -> u64 {
        let mut shop = self.shop.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Shop::clone(&shop);
        next.advance();
        let generation = next.generation;
        *shop = Arc::new(next);
        generation
    }
}

fn values<T: Serialize>(records: &[T]) -> Vec<Value> {
    records.iter().map(|record| serde_json::to_value(record).expect("a record has only text keys")).collect()
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
