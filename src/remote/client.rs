//! Sends requests and reads answers, within every bound: one attempt each, nothing of what an answer means.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::credentials::Credentials;
use super::error::Error;
use super::outgoing::{Identity, Outgoing, is_loopback, is_same_origin};
use super::rate::{Parked, Rate};
use super::request::{Request, Response};
use super::transport;
use crate::plan::{ConnectionPlan, Method, limits};

/// Says who asks; a request's own `User-Agent` header wins.
const USER_AGENT: &str = concat!("headwater/", env!("CARGO_PKG_VERSION"));

/// The way to the API of one connection. Clones share the connections, the rate budget and the pauses.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

/// The sockets of a run: connections with the same settings share them, because the certificates that this machine trusts are read and
/// kept for each set. What tells connections apart (credentials, quotas) is no part of it.
#[derive(Debug, Default)]
pub struct Sockets(HashMap<SocketSettings, reqwest::Client>);

/// What a set of sockets is made with: the longest time to connect and to answer, how many stay open, and whether the system's proxies
/// count.
type SocketSettings = (Duration, Duration, usize, bool);

impl Sockets {
    /// Sets of sockets that were made.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.len()
    }

    fn of(&mut self, connection: &ConnectionPlan) -> reqwest::Result<reqwest::Client> {
        let (connect, request) = (connection.timeout_connect, connection.timeout_request);
        let idle = connection.rate_limit.concurrency.max(1);
        let direct = is_loopback(&connection.base_url);
        if let Some(http) = self.0.get(&(connect, request, idle, direct)) {
            return Ok(http.clone());
        }
        // an error says that a provider is there already, which is all that is needed
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(connect)
            .timeout(request)
            .pool_max_idle_per_host(idle);
        if direct {
            builder = builder.no_proxy();
        }
        let http = builder.build()?;
        self.0.insert((connect, request, idle, direct), http.clone());
        Ok(http)
    }
}

struct Inner {
    connection: Arc<ConnectionPlan>,
    identity: Identity,
    rate: Rate,
    http: reqwest::Client,
}

impl Client {
    /// A client for a connection. Nothing is sent yet.
    ///
    /// TLS is rustls with the certificates this machine trusts; proxies are those of the system, never for loopback addresses.
    ///
    /// # Errors
    /// [`Error::Connection`] when the auth templates yield nothing that can be sent, or the URLs are no HTTP URLs.
    pub fn new(connection: Arc<ConnectionPlan>, credentials: Credentials) -> Result<Self, Error> {
        Self::sharing(connection, credentials, &mut Sockets::default())
    }

    /// The same over sockets that it may share with other connections.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn sharing(
        connection: Arc<ConnectionPlan>,
        credentials: Credentials,
        sockets: &mut Sockets,
    ) -> Result<Self, Error> {
        let identity = Identity::new(&connection, credentials)?;
        let http = sockets.of(&connection).map_err(|error| Error::Connection {
            connection: connection.name.clone(),
            reason: identity.redactor().redact(&transport::in_words(&error.without_url())).into_owned(),
            hint: None,
        })?;
        let rate = Rate::new(&connection.rate_limit);
        Ok(Self(Arc::new(Inner { connection, identity, rate, http })))
    }

    /// The connection it was made for.
    pub fn connection(&self) -> &ConnectionPlan {
        &self.0.connection
    }

    /// Sends a request once and reads the whole answer, whatever its status. Waits for the connection's rate budget first; that wait is
    /// outside the request's timeout.
    ///
    /// Credentials go only to the origin of the base URL and to trusted origins. A GET follows up to [`limits::REDIRECTS_MAX`] redirects,
    /// each within its origin or from one trusted origin to another, never from `https` to `http`. Dropping the future abandons the
    /// request.
    ///
    /// # Errors
    /// See [`Error`]; `is_temporary` says whether another attempt makes sense.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        let mut place = self.0.rate.enter().await;
        let mut url = request.url.clone();
        for _ in 0..=limits::REDIRECTS_MAX {
            let outgoing = self.0.identity.fill_in(request, &url)?;
            self.0.rate.ready(&mut place).await.map_err(|parked| self.parked(request, &parked))?;
            let answer = self.open(request, &url, &outgoing).await?;
            match redirect_target(&answer, &url) {
                Some(target) => url = self.follow(request, &url, &outgoing, target)?,
                None => {
                    let response = self.read(request, &url, &outgoing, answer).await?;
                    self.0.rate.landed(place, response.status, |name| response.header(name));
                    return Ok(response);
                }
            }
        }
        let reason = format!("redirected more than {} times", limits::REDIRECTS_MAX);
        Err(Error::Redirect { request: self.masked(request), reason, hint: "is the URL right?".to_owned() })
    }

    /// Lets no request of this connection go for this long. Where that is longer than a run waits, [`Client::send`] fails with
    /// [`Error::Parked`] until then.
    pub fn hold(&self, wait: Duration) {
        self.0.rate.hold(wait);
    }

    /// How long an answer's headers (`rate_limit.headers`) say that nothing is left of the budget; none where something is.
    pub fn used_up_for(&self, response: &Response, now: DateTime<Utc>) -> Option<Duration> {
        self.0.rate.used_up_for(|name| response.header(name), now)
    }

    /// Whether the connection has a token that can be renewed.
    pub fn can_renew(&self) -> bool {
        false
    }

    /// Renews the token that an answer says is not good any more; what another request has renewed meanwhile is not renewed again.
    ///
    /// # Errors
    /// See [`Error`].
    #[expect(clippy::unused_async, reason = "the lead's: a token is asked for")]
    pub async fn renew(&self, _refused: &Response) -> Result<(), Error> {
        Ok(())
    }

    /// A person must connect again; why, without secrets.
    pub fn needs_reconnect(&self, _reason: &str) {}

    fn parked(&self, request: &Request, parked: &Parked) -> Error {
        Error::Parked { request: self.masked(request), cause: parked.cause.to_string(), wait: parked.wait }
    }

    /// The request in one line, secrets masked: `GET https://api.example.com/v1/items?limit=100&key=***`.
    pub fn masked(&self, request: &Request) -> String {
        self.0.identity.masked(request, &request.url)
    }

    /// The request's headers as they will be sent, those with secrets as `***`. Names are lowercase.
    pub fn masked_headers(&self, request: &Request) -> Vec<(String, String)> {
        let mut headers = self.0.identity.masked_headers(request);
        if !headers.iter().any(|(name, _)| name == "user-agent") {
            headers.insert(0, ("user-agent".to_owned(), USER_AGENT.to_owned()));
        }
        headers
    }

    /// Text from the server or about it, without any of the connection's secrets.
    pub fn redact(&self, text: &str) -> String {
        self.redacted(text).into_owned()
    }

    /// The same; text without secrets is given as it is.
    pub fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.identity.redactor().redact(text)
    }

    /// The start of an answer's body for a message: about [`limits::ERROR_BODY_BYTES_MAX`] bytes at most, without secrets, in one line.
    pub fn excerpt(&self, response: &Response) -> String {
        let redactor = self.0.identity.redactor();
        let margin = redactor.longest();
        // a secret that the cut parts is in the margin, which is dropped again
        let cut = limits::ERROR_BODY_BYTES_MAX.saturating_add(margin).min(response.body.len());
        let mut text =
            redactor.redact(&String::from_utf8_lossy(response.body.get(..cut).unwrap_or_default())).into_owned();
        if cut < response.body.len() {
            text.truncate(text.floor_char_boundary(text.len().saturating_sub(margin)));
            text.push('…');
        }
        // what a terminal would obey is not for it
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ")
    }

    /// A URL from an answer (a next link, say) without the secrets that the server may have copied into it, fit to be kept. They are
    /// filled in again when a request is sent there.
    pub fn without_secrets(&self, request: &Request, url: &Url) -> Url {
        self.0.identity.without_secrets(request, url)
    }

    /// A URL from an answer as it is asked next: without the parameters that are filled in when it is sent and, where credentials do not go,
    /// without any secret. Elsewhere it may hold one that the server has put there (the account's id in the path, say): not fit to be kept.
    pub fn next_url(&self, request: &Request, url: &Url) -> Url {
        let identity = &self.0.identity;
        if identity.trusts(url) {
            identity.without_secret_parameters(request, url)
        } else {
            identity.without_secrets(request, url)
        }
    }

    /// Whether credentials go over a network without TLS. Worth a warning.
    pub fn sends_secrets_in_clear(&self) -> bool {
        self.0.identity.sends_secrets_in_clear()
    }

    /// Sends one request and reads the head of its answer.
    async fn open(&self, request: &Request, url: &Url, outgoing: &Outgoing) -> Result<reqwest::Response, Error> {
        let mut builder =
            self.0.http.request(method(request.method), outgoing.url.clone()).headers(outgoing.headers.clone());
        if let Some((_, body)) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| self.transport_error(request, url, outgoing, error))
    }

    async fn read(
        &self,
        request: &Request,
        url: &Url,
        outgoing: &Outgoing,
        mut answer: reqwest::Response,
    ) -> Result<Response, Error> {
        let too_large = || Error::ResponseTooLarge { request: self.0.identity.masked(request, url) };
        if answer.content_length().is_some_and(|length| length > limits::RESPONSE_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let status = answer.status().as_u16();
        let headers = lossy(answer.headers());
        let mut body = BytesMut::new();
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| self.transport_error(request, url, outgoing, error))?
        {
            if body.len() + chunk.len() > limits::RESPONSE_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let url = self.0.identity.without_secrets(request, url);
        Ok(Response { status, headers, body: Bytes::from(body), url })
    }

    /// The next URL of a redirect that may be followed.
    fn follow(
        &self,
        request: &Request,
        from: &Url,
        outgoing: &Outgoing,
        target: Result<Url, String>,
    ) -> Result<Url, Error> {
        let identity = &self.0.identity;
        let fail = |reason: String, hint: &str| Error::Redirect {
            request: identity.masked(request, from),
            reason: outgoing.redactor.redact(&reason).into_owned(),
            hint: hint.to_owned(),
        };
        let target = match target {
            Ok(target) => identity.without_secret_parameters(request, &target),
            Err(location) => {
                let reason = format!("redirected to `{}`", location.escape_debug());
                return Err(fail(reason, "the server sent a `Location` that is no URL"));
            }
        };
        if request.method != Method::Get {
            let reason = format!("redirected to `{target}`, but only a GET is sent again elsewhere");
            return Err(fail(reason, "write the new URL into the request"));
        }
        if from.scheme() == "https" && target.scheme() != "https" {
            let reason = format!("redirected from `https` to `{target}`");
            return Err(fail(reason, "headwater does not leave TLS; is `base_url` right?"));
        }
        let is_allowed = is_same_origin(from, &target) || (identity.trusts(from) && identity.trusts(&target));
        if !is_allowed {
            let hint = "if the API is there, make that the `base_url`, or list its origin in `trusted_origins` if it may get the \
                        credentials";
            return Err(fail(format!("redirected to another origin: `{target}`"), hint));
        }
        Ok(target)
    }

    fn transport_error(&self, request: &Request, url: &Url, outgoing: &Outgoing, error: reqwest::Error) -> Error {
        let error = error.without_url();
        let fault = transport::fault(&error);
        let reason = transport::reason(fault, &error, &outgoing.url, &self.0.connection);
        Error::Transport {
            request: self.0.identity.masked(request, url),
            fault,
            reason: outgoing.redactor.redact(&reason).into_owned(),
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("connection", &self.connection.name).finish_non_exhaustive()
    }
}

/// Where an answer redirects to; the text of `Location` when it is no URL. `None` when it is no redirect.
fn redirect_target(answer: &reqwest::Response, from: &Url) -> Option<Result<Url, String>> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = String::from_utf8_lossy(answer.headers().get(LOCATION)?.as_bytes()).into_owned();
    Some(from.join(&location).map_err(|_| location))
}

fn lossy(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;
