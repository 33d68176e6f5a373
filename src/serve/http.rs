//! The HTTP server of the daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Command, Door, Webhooks, webhook};
use crate::plan::{Plan, limits};

/// What answers are made of.
pub struct Listening {
    /// the project
    pub plan: Arc<Plan>,
    /// the database
    pub door: Arc<Door>,
    /// the scheduler
    pub commands: mpsc::Sender<Command>,
    /// events that APIs send
    pub webhooks: Arc<Webhooks>,
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
    told(listener.local_addr()?);
    let stopped = async move {
        // who could stop it has gone: so it ends
        drop(stop.wait_for(|stop| *stop).await);
    };
    axum::serve(listener, router(Arc::new(listening))).with_graceful_shutdown(stopped).await
}

fn router(listening: Arc<Listening>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(webhook::routes())
        .layer(DefaultBodyLimit::max(limits::API_BODY_BYTES_MAX))
        .with_state(listening)
}

/// Whether syncs run when they are due: the scheduler answers.
async fn ready(State(listening): State<Arc<Listening>>) -> (StatusCode, &'static str) {
    let (reply, answer) = oneshot::channel();
    let asked = listening.commands.send(Command::Status(reply)).await;
    let answered = async { asked.is_ok() && answer.await.is_ok() };
    match tokio::time::timeout(limits::READY_WAIT_MAX, answered).await {
        Ok(true) => (StatusCode::OK, "ok\n"),
        Ok(false) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the scheduler does not answer\n"),
    }
}
