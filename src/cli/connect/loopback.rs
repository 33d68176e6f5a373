//! The redirect of an authorization request, received on this machine (RFC 8252, 7.3).

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
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

/// The page that the browser ends at: a heading and what follows it.
fn page(title: &str, text: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{title} - headwater</title><style>\
         :root{{color-scheme:light dark}}\
         body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto 2rem;padding:0 1.5rem;color:#222;background:#fff}}\
         h1{{font-size:1.7rem;line-height:1.2;margin:0 0 .6rem}}p{{margin:0}}\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}}}\
         </style><h1>{title}</h1><p>{text}</p></html>"
    )
}

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
    let mut url = shared.base.clone();
    url.set_query(uri.query());
    // browsers ask ahead and again: only what is an answer counts, and the first one of these
    let has = |wanted: &str| url.query_pairs().any(|(name, _)| name == wanted);
    // a page that the browser asks for by itself, or somebody else's POST, is no answer of the API
    let is_here = method == Method::GET && uri.path() == shared.base.path();
    let (agreed, refused) = (is_here && has("code"), is_here && has("error"));
    if (agreed || refused)
        && let Some(tell) = shared.tell.lock().unwrap_or_else(PoisonError::into_inner).take()
    {
        // whoever waited may have gone
        drop(tell.send(url));
    }
    // nothing of the query is shown: anybody can have written it
    let (status, page) = match (agreed, refused) {
        (_, true) => (StatusCode::OK, page("Not connected", "The API did not agree. The terminal says why.")),
        (true, false) => {
            let text = "The terminal goes on from here, and says whether it worked. You can close this window.";
            (StatusCode::OK, page("Back to the terminal", text))
        }
        (false, false) if !is_here => {
            (StatusCode::NOT_FOUND, page("Nothing to see here", "headwater waits for an API's answer elsewhere."))
        }
        (false, false) => {
            let text = "This address waits for an API's answer, and this is none. headwater goes on waiting.";
            (StatusCode::BAD_REQUEST, page("Nothing to see here", text))
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ];
    (status, headers, page)
}
