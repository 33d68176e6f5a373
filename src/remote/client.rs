//! Sends requests and reads answers, within every bound: one attempt each, nothing of what an answer means.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::access::Access;
use super::body::Body;
use super::certificates::Certificates;
use super::credentials::Credentials;
use super::error::Error;
use super::network;
use super::outgoing::{Identity, Outgoing, is_same_origin};
use super::rate::{Parked, Rate};
use super::redact::Redactor;
use super::request::{Request, Response};
use super::sockets::{Leaving, NoRoute, Routes, Sockets, USER_AGENT};
use super::transport;
use crate::plan::{ConnectionPlan, Method, limits};

/// Bytes of a body for which room is made when its length is told; what is told need not come.
const ROOM_BYTES_MAX: usize = 1 << 20;

/// The way to the API of one connection. Clones share the connections, the rate budget and the pauses.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    connection: Arc<ConnectionPlan>,
    identity: Identity,
    rate: Rate,
    routes: Arc<Routes>,
}

/// What a request was answered with.
#[derive(Debug)]
pub struct Answered<'c> {
    /// without a body where that is still open
    pub response: Response,
    /// the body, where it is still open
    pub body: Option<Body<'c>>,
}

impl Client {
    /// A client for a connection. Nothing is sent yet.
    ///
    /// TLS is rustls with the certificates this machine trusts; proxies are those of the system, never for loopback addresses.
    ///
    /// # Errors
    /// [`Error::Connection`] when the auth templates yield nothing that can be sent, or the URLs are no HTTP URLs.
    pub fn new(connection: Arc<ConnectionPlan>, access: Access) -> Result<Self, Error> {
        Self::sharing(connection, access, &mut Sockets::default())
    }

    /// The same over sockets that it may share with other connections.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn sharing(connection: Arc<ConnectionPlan>, access: Access, sockets: &mut Sockets) -> Result<Self, Error> {
        let routes = Arc::new(routes(&connection, &access.credentials, sockets)?);
        let identity = Identity::new(&connection, access, Arc::clone(&routes))?;
        let rate = Rate::new(&connection.rate_limit, routes.script().map(Arc::clone));
        Ok(Self(Arc::new(Inner { connection, identity, rate, routes })))
    }

    /// The connection it was made for.
    pub fn connection(&self) -> &ConnectionPlan {
        &self.0.connection
    }

    /// Sends a request once and reads the whole answer, whatever its status. Waits for the connection's rate budget first; that wait is
    /// outside the request's timeout.
    ///
    /// Credentials go only to the origin of the base URL and to trusted origins. A GET follows up to [`limits::REDIRECTS_MAX`] redirects,
    /// each within its origin or from one trusted origin to another, or, where the provider says so, over TLS to any other, which gets no
    /// credentials; never from `https` to `http`. Dropping the future abandons the request.
    ///
    /// # Errors
    /// See [`Error`]; `is_temporary` says whether another attempt makes sense.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        Ok(self.ask(request, false, &OnceLock::new()).await?.response)
    }

    /// The same, and the body of a success is still open: its time counts from one piece to the next, and it may have up to
    /// [`limits::STREAM_BYTES_MAX`] bytes. An answer that is no success is there whole.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn open<'c>(&'c self, request: &'c Request) -> Result<Answered<'c>, Error> {
        self.ask(request, true, &OnceLock::new()).await
    }

    /// The one or the other; `left` gets the moment at which it leaves: before that it has waited.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn ask<'c>(
        &'c self,
        request: &'c Request,
        streams: bool,
        left: &OnceLock<DateTime<Utc>>,
    ) -> Result<Answered<'c>, Error> {
        let mut place = self.0.rate.enter().await;
        // a connection without a token takes nothing of its budget
        self.0.identity.session().ready().await?;
        let mut url = request.url.clone();
        for _ in 0..=limits::REDIRECTS_MAX {
            self.0.rate.ready(&mut place).await.map_err(|parked| self.parked(request, &parked))?;
            // the wait may have been longer than a token or a signature is good for
            let keys = self.0.identity.session().ready().await?;
            let outgoing = self.0.identity.fill_in(request, &url, &keys)?;
            left.get_or_init(|| self.0.identity.session().now());
            let answer = self.reach(request, &url, &outgoing, streams).await?;
            if let Some(target) = redirect_target(&answer, &url) {
                url = self.follow(request, &url, &outgoing, target)?;
                continue;
            }
            let (status, headers) = (answer.status().as_u16(), lossy(answer.headers()));
            let kept = self.0.identity.without_secrets(request, &url);
            let mut response = Response { status, headers, body: Bytes::new(), url: kept, token: keys.generation };
            if streams && matches!(status, 200..300) && status != 204 {
                self.0.rate.answered(&place, status, |name| response.header(name));
                let body = Body::new((self, request), url, outgoing, answer, place);
                return Ok(Answered { response, body: Some(body) });
            }
            let wait = self.0.connection.timeout_request;
            let whole = self.read(request, &url, &outgoing, answer);
            response.body = match streams {
                // the timeout of the request itself is that of a stream
                true => match tokio::time::timeout(wait, whole).await {
                    Ok(body) => body?,
                    Err(_) => return Err(self.too_slow(request, &url, "no whole answer", wait)),
                },
                false => whole.await?,
            };
            self.0.rate.answered(&place, status, |name| response.header(name));
            return Ok(Answered { response, body: None });
        }
        let reason = format!("redirected more than {} times", limits::REDIRECTS_MAX);
        Err(Error::Redirect { request: self.masked(request), reason, hint: "is the URL right?".to_owned() })
    }

    /// Lets no request of this connection go for this long. Where that is longer than a run waits, [`Client::send`] fails with
    /// [`Error::Parked`] until then.
    pub fn hold(&self, wait: Duration) {
        self.0.rate.hold(wait);
    }

    /// Waits. Where a script answers, its clock moves on instead.
    pub async fn rest(&self, wait: Duration) {
        match self.0.routes.script() {
            Some(script) => script.rest(wait),
            None => tokio::time::sleep(wait).await,
        }
    }

    /// How long an answer's headers (`rate_limit.headers`) say that nothing is left of the budget; none where something is.
    pub fn used_up_for(&self, response: &Response, now: DateTime<Utc>) -> Option<Duration> {
        self.0.rate.used_up_for(|name| response.header(name), now)
    }

    fn parked(&self, request: &Request, parked: &Parked) -> Error {
        Error::Parked { request: self.masked(request), cause: parked.cause.to_string(), wait: parked.wait }
    }

    /// The request in one line, secrets masked: `GET https://api.example.com/v1/items?limit=100&key=***`.
    pub fn masked(&self, request: &Request) -> String {
        self.0.identity.masked(request, &request.url)
    }

    /// The same at this URL.
    pub(super) fn masked_at(&self, request: &Request, url: &Url) -> String {
        self.0.identity.masked(request, url)
    }

    /// The request's headers as they will be sent, those with secrets as `***`. Names are lowercase.
    pub fn masked_headers(&self, request: &Request) -> Vec<(String, String)> {
        let mut headers = self.0.identity.masked_headers(request);
        if !headers.iter().any(|(name, _)| name == "user-agent") {
            headers.insert(0, ("user-agent".to_owned(), USER_AGENT.to_owned()));
        }
        headers
    }

    /// Takes note of a text that is a secret, such as the signature in the URL of a file: it is masked from now on.
    pub fn learn(&self, text: &str) {
        if text.len() >= limits::SIGNATURE_CHARS_MIN {
            self.0.identity.session().learn_signature(text);
        }
    }

    /// Text from the server or about it, without any of the connection's secrets.
    pub fn redact(&self, text: &str) -> String {
        self.0.identity.redact(text).into_owned()
    }

    /// The same for data, of which there is much: only the common spellings are masked. Text without secrets is given as it is.
    pub fn redacted_data<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.identity.session().redact_data(text)
    }

    /// The start of an answer's body for a message: about [`limits::ERROR_BODY_BYTES_MAX`] bytes at most, without secrets, in one line.
    pub fn excerpt(&self, response: &Response) -> String {
        let margin = self.0.identity.session().longest_secret();
        // a secret that the cut parts is in the margin, which is dropped again
        let cut = limits::ERROR_BODY_BYTES_MAX.saturating_add(margin).min(response.body.len());
        let mut text = self.redact(&String::from_utf8_lossy(response.body.get(..cut).unwrap_or_default()));
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

    /// What an API tells, fit to be kept where everybody may read it: without what is surely secret.
    pub fn without_proof(&self, value: &serde_json::Value) -> serde_json::Value {
        self.0.identity.session().without_proof(value)
    }

    /// Whether a token that the API refuses can be followed by another.
    pub fn can_renew(&self) -> bool {
        self.0.identity.session().can_renew()
    }

    /// The API has taken the token with which `answered` was asked for: its answer is what was asked for.
    pub fn got_in(&self, answered: &Response) {
        self.0.identity.session().got_in(answered.token);
    }

    /// Whether a request has got in with the token with which `refused` was asked for.
    pub fn has_got_in(&self, refused: &Response) -> bool {
        self.0.identity.session().has_got_in(refused.token)
    }

    /// The API refuses the token with which `refused` was asked for: the next request is sent with a new one, unless there is one already.
    pub fn refuse_token(&self, refused: &Response) {
        self.0.identity.session().refused(refused.token);
    }

    /// Keeps that a person must connect again, and why, if the credential store has the connection.
    ///
    /// # Errors
    /// [`Error::Store`] if it cannot be kept.
    pub async fn needs_reconnect(&self, reason: &str) -> Result<(), Error> {
        self.0.identity.session().needs_reconnect(&self.redact(reason)).await
    }

    /// Whether an answer of 401 says that a person's agreement is over: its token has let nobody in, and no other can follow it.
    pub fn is_agreement_over(&self, refused: &Response) -> bool {
        let session = self.0.identity.session();
        session.is_agreed() && !session.can_renew() && refused.token > 0 && !session.has_got_in(refused.token)
    }

    /// Keeps that a person must connect again; gives the error that says so.
    pub async fn over(&self, reason: &str) -> Error {
        let reason = self.redact(reason);
        match self.0.identity.session().needs_reconnect(&reason).await {
            Ok(()) => Error::NeedsReconnect { connection: self.0.connection.name.clone(), reason },
            Err(error) => error,
        }
    }

    /// Returns when no token is being made: half of a refresh would lose the refresh token.
    pub async fn settled(&self) {
        self.0.identity.session().settled().await;
    }

    /// Whether credentials go over a network without TLS. Worth a warning.
    pub fn sends_secrets_in_clear(&self) -> bool {
        self.0.identity.sends_secrets_in_clear()
    }

    /// Sends one request and reads the head of its answer.
    async fn reach(
        &self,
        request: &Request,
        url: &Url,
        outgoing: &Outgoing,
        streams: bool,
    ) -> Result<reqwest::Response, Error> {
        let leaving = Leaving {
            method: request.method,
            url: &outgoing.url,
            headers: outgoing.headers.clone(),
            body: request.body.as_ref().map(|(_, body)| body.clone()),
            for_token: false,
            lasts: streams.then_some(limits::STREAM_TIME_MAX),
        };
        // with its parameters filled in a URL leads to the same origin
        let sending = self.0.routes.send(leaving, self.0.identity.trusts(url));
        let wait = self.0.connection.timeout_request;
        let sent = match streams {
            true => match tokio::time::timeout(wait, sending).await {
                Ok(sent) => sent,
                Err(_) => return Err(self.too_slow(request, url, "no answer", wait)),
            },
            false => sending.await,
        };
        sent.map_err(|why| match why {
            NoRoute::Refused(refusal) => self.refused(request, url, &refusal),
            NoRoute::Broken(error) | NoRoute::Failed(error) => self.transport_error(request, url, outgoing, error),
            NoRoute::Unanswered => Error::Unanswered { request: self.0.identity.masked(request, url) },
        })
    }

    /// The whole body of an answer.
    async fn read(
        &self,
        request: &Request,
        url: &Url,
        outgoing: &Outgoing,
        mut answer: reqwest::Response,
    ) -> Result<Bytes, Error> {
        let most = limits::RESPONSE_BYTES_MAX as u64;
        let too_large = || Error::ResponseTooLarge { request: self.0.identity.masked(request, url), most };
        let told = answer.content_length();
        if told.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let room = told.map_or(0, |length| usize::try_from(length).unwrap_or(0).min(ROOM_BYTES_MAX));
        let mut body = BytesMut::with_capacity(room);
        while let Some(chunk) =
            answer.chunk().await.map_err(|error| self.transport_error(request, url, outgoing, error))?
        {
            if body.len() + chunk.len() > limits::RESPONSE_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(body))
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
            reason: self.redact(&outgoing.redactor.redact(&reason)),
            hint: hint.to_owned(),
        };
        let target = match target {
            Ok(target) => identity.without_secret_parameters(request, &target),
            Err(location) => {
                // behind it a signature may stand
                let location = location.split(['?', '#']).next().unwrap_or_default();
                let reason = format!("redirected to `{}`", location.escape_debug());
                return Err(fail(reason, "the server sent a `Location` that is no URL"));
            }
        };
        if !is_same_origin(from, &target) && !identity.trusts(&target) {
            // who has it has the file, whether it is followed or not
            target.query_pairs().for_each(|(_, value)| self.learn(&value));
        }
        if request.method != Method::Get {
            let reason = format!("redirected to `{target}`, but only a GET is sent again elsewhere");
            return Err(fail(reason, "write the new URL into the request"));
        }
        if from.scheme() == "https" && target.scheme() != "https" {
            let reason = format!("redirected from `https` to `{target}`");
            return Err(fail(reason, "headwater does not leave TLS; is `base_url` right?"));
        }
        // files often lie elsewhere, at a signed URL: credentials do not go along, and the network's rules say whether anybody may go there
        let follows = self.0.connection.network.follow_redirects;
        let is_file = follows && target.scheme() == "https" && !identity.trusts(&target);
        let is_allowed =
            is_same_origin(from, &target) || (identity.trusts(from) && identity.trusts(&target)) || is_file;
        if !is_allowed {
            let hint = "if the API is there, make that the `base_url`, or list its origin in `trusted_origins` if it may get the \
                        credentials; if its files are, the provider can say `network: { follow_redirects: true }`";
            return Err(fail(format!("redirected to another origin: `{target}`"), hint));
        }
        Ok(target)
    }

    /// The request must not go to this URL.
    fn refused(&self, request: &Request, url: &Url, refusal: &network::Refusal) -> Error {
        let network = &self.0.routes.network;
        Error::Network {
            request: self.0.identity.masked(request, url),
            reason: self.redact(&refusal.to_string()),
            hint: network.hint(refusal, url),
            by_settings: network.is_base(url),
        }
    }

    pub(super) fn transport_error(
        &self,
        request: &Request,
        url: &Url,
        outgoing: &Outgoing,
        error: reqwest::Error,
    ) -> Error {
        let error = error.without_url();
        if let Some(refusal) = network::refusal(&error) {
            return self.refused(request, url, refusal);
        }
        let fault = transport::fault(&error);
        let waits = (self.0.connection.timeout_connect, self.0.connection.timeout_request);
        let reason = transport::reason(fault, &error, &outgoing.url, waits);
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

/// The ways of a connection, with its certificates.
///
/// # Errors
/// [`Error::Connection`] for certificates that are none, or when TLS cannot be set up.
pub(super) fn routes(
    connection: &ConnectionPlan,
    credentials: &Credentials,
    sockets: &mut Sockets,
) -> Result<Routes, Error> {
    let fail = |reason: &str| Error::Connection {
        connection: connection.name.clone(),
        reason: Redactor::new(credentials.values()).redact(reason).into_owned(),
        hint: None,
    };
    let variables = credentials.with_settings(connection);
    // where nothing is sent the made-up secrets are no certificates
    let tls = connection.tls.as_ref().filter(|_| !sockets.is_scripted());
    let certificates = tls.map(|tls| Certificates::new(tls, &variables)).transpose();
    sockets
        .routes(connection, certificates.map_err(|reason| fail(&reason))?)
        .map_err(|error| fail(&transport::in_words(&error.without_url())))
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

#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;
