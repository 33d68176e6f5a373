//! The redirect of an authorization request, received on this machine (RFC 8252, 7.3).

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use url::Url;

use super::RedirectUri;
use crate::cli::output::Failure;

/// A listener for one redirect.
pub(super) struct Loopback {
    /// where the API sends the person back to
    pub(super) redirect_uri: String,
    arrives: oneshot::Receiver<Url>,
}

struct Shared {
    base: Url,
    tell: Mutex<Option<oneshot::Sender<Url>>>,
}

const PAGE: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>headwater</title>\
    <style>body{font:1.1rem/1.6 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1.5rem;color:#222;background:#fff}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}</style>\
    <h1>Back to the terminal</h1><p>headwater has what it was waiting for. You can close this window.";

/// What is said to whoever asks for something else.
const NOTHING: &str = "<!doctype html><meta charset=utf-8><title>headwater</title><p>headwater waits for the answer of an API here, \
    and this is none.";

const HEADERS: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::REFERRER_POLICY, "no-referrer")];

impl Loopback {
    /// Listens on this machine only; `redirect_uri` is what the API knows, or else `http://127.0.0.1:<port>/callback` with a port that is
    /// free.
    ///
    /// # Errors
    /// The port is taken.
    pub(super) async fn listen(port: u16, redirect_uri: Option<&RedirectUri>) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
            let hint = "name another with `--port`, or use `--paste`, which needs none".to_owned();
            Failure::user(format!("port {port} of this machine cannot be listened on: {error}"), Some(hint))
        })?;
        let port = listener.local_addr()?.port();
        let own = Url::parse(&format!("http://127.0.0.1:{port}/callback")).expect("it is a URL");
        let (redirect_uri, base) = match redirect_uri {
            Some(RedirectUri { text, url }) => (text.clone(), url.clone()),
            None => (own.as_str().to_owned(), own),
        };
        let (tell, arrives) = oneshot::channel();
        let shared = Arc::new(Shared { base, tell: Mutex::new(Some(tell)) });
        // a path may have what a route takes for a pattern
        let routes = Router::new().fallback(arrived).with_state(shared);
        tokio::task::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { redirect_uri, arrives })
    }

    /// Waits for the person to come back.
    pub(super) async fn arrives(self) -> Result<Url, Failure> {
        self.arrives.await.map_err(|_| Failure::user("the listener for the redirect ended", None))
    }
}

async fn arrived(State(shared): State<Arc<Shared>>, method: Method, uri: Uri) -> impl IntoResponse {
    if method != Method::GET || uri.path() != shared.base.path() {
        return (StatusCode::NOT_FOUND, HEADERS, NOTHING);
    }
    let mut url = shared.base.clone();
    url.set_query(uri.query());
    // browsers ask ahead and again: only what is an answer counts, and the first one of these
    let is_answer = url.query_pairs().any(|(name, _)| name == "code" || name == "error");
    if !is_answer {
        return (StatusCode::BAD_REQUEST, HEADERS, NOTHING);
    }
    if let Some(tell) = shared.tell.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // whoever waited may have gone
        drop(tell.send(url));
    }
    (StatusCode::OK, HEADERS, PAGE)
}
