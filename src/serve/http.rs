//! The HTTP server of the daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use super::access::Keys;
use super::{
    Command, Door, Metrics, Plans, Progress, SlotStatus, Watcher, Webhooks, api, page, scheduler, scrape, webhook,
};
use crate::plan::{Plan, ShownFile, limits};

/// What answers are made of.
pub struct Listening {
    /// the project
    pub plans: Arc<Plans>,
    /// the database
    pub door: Arc<Door>,
    /// the scheduler
    pub commands: mpsc::Sender<Command>,
    /// who watches
    pub watcher: Watcher,
    /// what is counted
    pub metrics: Metrics,
    /// who may ask the API
    pub keys: Keys,
    /// events that APIs send
    pub webhooks: Arc<Webhooks>,
    /// places for actions that are called
    pub calls: Arc<Semaphore>,
    /// what runs have done so far
    pub progress: Progress,
    /// what the project is made of
    pub files: Vec<ShownFile>,
}

/// Answers on `address` until it is to stop; `told` gets the address, whose port is the one that was found where it was 0.
///
/// # Errors
/// The address cannot be had.
pub async fn listen(
    address: SocketAddr,
    listening: Listening,
    told: impl FnOnce(SocketAddr),
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    told(address);
    let is_local = address.ip().is_loopback();
    let stopped = async move {
        // who could stop it has gone: so it ends
        drop(stop.wait_for(|stop| *stop).await);
    };
    axum::serve(listener, router(Arc::new(listening), is_local)?).with_graceful_shutdown(stopped).await
}

fn router(listening: Arc<Listening>, is_local: bool) -> std::io::Result<Router> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(scrape::routes(is_local))
        .merge(api::routes(&listening))
        .merge(webhook::routes())
        .merge(page::routes(&listening)?)
        .layer(DefaultBodyLimit::max(limits::API_BODY_BYTES_MAX))
        .with_state(listening);
    Ok(router)
}

/// Whether syncs run when they are due: the scheduler answers.
async fn ready(State(listening): State<Arc<Listening>>) -> (StatusCode, &'static str) {
    match listening.status().await {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the scheduler does not answer\n"),
    }
}

impl Listening {
    /// The project as it stands.
    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plans.standing().plan)
    }

    /// How the syncs are, if the scheduler says so in time.
    pub(super) async fn status(&self) -> Option<Vec<SlotStatus>> {
        let asked = scheduler::ask(&self.commands, Command::Status);
        tokio::time::timeout(limits::READY_WAIT_MAX, asked).await.ok().flatten()
    }
}
