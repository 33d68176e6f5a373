//! The sockets of a run: which connections share them, and which of them a request goes through.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT as USER_AGENT_HEADER};
use url::Url;

use super::certificates::Certificates;
use super::network::{Network, PublicOnly, Refusal};
use super::outgoing::is_loopback;
use super::script::{Asked, Script};
use super::tap::{self, Heard, Tap};
use crate::plan::{ConnectionPlan, Method, limits};

/// Says who asks; a request's own `User-Agent` header wins.
pub(super) const USER_AGENT: &str = concat!("headwater/", env!("CARGO_PKG_VERSION"));

/// The sockets of a run: connections with the same settings share them, because the certificates that this machine trusts are read and
/// kept for each set. What tells connections apart (credentials, quotas) is no part of it; those with a client certificate share none.
#[derive(Debug, Default)]
pub struct Sockets {
    sets: HashMap<Settings, Arc<Sets>>,
    /// answers in place of all of them
    script: Option<Arc<Script>>,
    /// is told of what goes through them
    tap: Option<Arc<Tap>>,
}

impl Sockets {
    /// Sockets that somebody listens to.
    pub fn tapped(tap: Arc<Tap>) -> Self {
        Self { tap: Some(tap), ..Self::default() }
    }

    /// No sockets at all: every request is answered by the script, whatever its host is, and nothing is looked up.
    pub fn scripted(script: Arc<Script>) -> Self {
        Self { script: Some(script), ..Self::default() }
    }

    /// The way to a URL that a person wrote out, for messages to an application.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn to(url: &Url) -> reqwest::Result<Routes> {
        let settings = Settings {
            connect: limits::NOTIFY_CONNECT_MAX,
            request: limits::NOTIFY_ANSWER_MAX,
            idle: 1,
            direct: is_loopback(url),
        };
        let plain = Arc::new(Sets::new(settings, None)?);
        let proxies = (!settings.direct).then(|| Box::new(Matcher::from_system()));
        Ok(Routes { network: Network::to(url), way: Way::Sockets { proxies, plain, certified: None }, tap: None })
    }

    /// Whether a script answers.
    pub(super) fn is_scripted(&self) -> bool {
        self.script.is_some()
    }

    /// Sets of sockets that were made.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// The ways of a connection.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn routes(
        &mut self,
        connection: &ConnectionPlan,
        certificates: Option<Certificates>,
    ) -> reqwest::Result<Routes> {
        let network = Network::new(connection);
        if let Some(script) = &self.script {
            return Ok(Routes { network, way: Way::Script(Arc::clone(script)), tap: None });
        }
        let settings = Settings {
            connect: connection.timeout_connect,
            request: connection.timeout_request,
            idle: connection.rate_limit.concurrency.max(1),
            direct: is_loopback(&connection.base_url),
        };
        let certified = certificates.map(|certificates| Sets::new(settings, Some(certificates))).transpose()?;
        let plain = match self.sets.get(&settings) {
            Some(sets) => Arc::clone(sets),
            None => {
                let sets = Arc::new(Sets::new(settings, None)?);
                self.sets.insert(settings, Arc::clone(&sets));
                sets
            }
        };
        let proxies = (!settings.direct).then(|| Box::new(Matcher::from_system()));
        Ok(Routes { network, way: Way::Sockets { proxies, plain, certified }, tap: self.tap.clone() })
    }
}

/// What sets of sockets are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Settings {
    /// the longest time to connect
    connect: Duration,
    /// the longest time to answer
    request: Duration,
    /// how many stay open
    idle: usize,
    /// whether the system's proxies do not count
    direct: bool,
}

/// Two sets of sockets: one that goes anywhere, and one that connects to public addresses alone.
#[derive(Debug)]
struct Sets {
    settings: Settings,
    certificates: Option<Certificates>,
    open: reqwest::Client,
    /// made when it is needed: most connections never leave their origin
    guarded: OnceLock<reqwest::Client>,
}

impl Sets {
    fn new(settings: Settings, certificates: Option<Certificates>) -> reqwest::Result<Self> {
        let open = builder(settings, certificates.as_ref()).build()?;
        Ok(Self { settings, certificates, open, guarded: OnceLock::new() })
    }

    fn guarded(&self) -> reqwest::Result<&reqwest::Client> {
        if let Some(made) = self.guarded.get() {
            return Ok(made);
        }
        // its requests are those that no proxy takes: a proxy would be looked up by the same resolver
        let builder = builder(self.settings, self.certificates.as_ref()).no_proxy().dns_resolver(PublicOnly);
        let made = builder.build()?;
        Ok(self.guarded.get_or_init(|| made))
    }
}

fn builder(settings: Settings, certificates: Option<&Certificates>) -> reqwest::ClientBuilder {
    // an error says that a provider is there already, which is all that is needed
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(settings.connect)
        .timeout(settings.request)
        .http1_max_headers(limits::RESPONSE_HEADERS_MAX)
        .http2_max_header_list_size(limits::RESPONSE_HEADER_BYTES_MAX)
        .pool_max_idle_per_host(settings.idle);
    if let Some(certificates) = certificates {
        builder = certificates.put_into(builder);
    }
    if settings.direct { builder.no_proxy() } else { builder }
}

/// The ways of one connection.
pub(super) struct Routes {
    pub network: Network,
    way: Way,
    tap: Option<Arc<Tap>>,
}

/// Where requests go.
enum Way {
    Sockets {
        /// the system's; none where the base URL is on this machine
        proxies: Option<Box<Matcher>>,
        plain: Arc<Sets>,
        /// with the client certificate
        certified: Option<Sets>,
    },
    /// nowhere: this answers
    Script(Arc<Script>),
}

/// A request with everything in it.
pub(super) struct Leaving<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub headers: HeaderMap,
    pub body: Option<bytes::Bytes>,
    /// whether it asks for a token, and for nothing else
    pub for_token: bool,
    /// the time for the answer, where it is not that of every request
    pub lasts: Option<Duration>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum NoRoute {
    /// it must not go there
    Refused(Refusal),
    /// TLS cannot be set up
    Broken(reqwest::Error),
    /// it went, and did not arrive
    Failed(reqwest::Error),
    /// the script has no answer for it
    Unanswered,
}

impl Routes {
    /// What answers in place of the network, if something does.
    pub fn script(&self) -> Option<&Arc<Script>> {
        match &self.way {
            Way::Script(script) => Some(script),
            Way::Sockets { .. } => None,
        }
    }

    /// Sends a request, the only place where one leaves, and reads the head of its answer.
    pub async fn send(&self, leaving: Leaving<'_>, gets_credentials: bool) -> Result<reqwest::Response, NoRoute> {
        let guarded = self.network.must_be_guarded(leaving.url).map_err(NoRoute::Refused)?;
        let Leaving { method, url, mut headers, body, for_token, lasts } = leaving;
        match &self.way {
            Way::Script(script) => {
                headers.entry(USER_AGENT_HEADER).or_insert(HeaderValue::from_static(USER_AGENT));
                let answer = script.answer(&Asked { method, url, headers: &headers, body: body.as_deref() });
                answer.map(reqwest::Response::from).ok_or(NoRoute::Unanswered)
            }
            Way::Sockets { .. } => {
                let http = self.sockets(url, guarded, gets_credentials)?;
                let asked = self.tap.as_ref().map(|tap| (tap, tap::texts(&headers), body.clone()));
                let mut builder = http.request(verb(method), url.clone()).headers(headers);
                if let Some(body) = body {
                    builder = builder.body(body);
                }
                if let Some(lasts) = lasts {
                    builder = builder.timeout(lasts);
                }
                let answer = builder.send().await.map_err(NoRoute::Failed)?;
                let Some((tap, headers, body)) = asked else { return Ok(answer) };
                let (status, answer_headers) = (answer.status().as_u16(), tap::texts(answer.headers()));
                let (heard, answer) = tap.read(answer).await.map_err(NoRoute::Failed)?;
                let (url, body) = (url.clone(), body.map(|body| body.to_vec()));
                tap.tell(Heard { method, url, for_token, headers, body, status, answer_headers, answer: heard });
                Ok(answer)
            }
        }
    }

    /// The sockets for a request to this URL; those that get credentials get the client certificate too.
    ///
    /// Where a proxy of the system takes the request, the proxy resolves the name, and only what stands in the URL is checked.
    pub(super) fn sockets(
        &self,
        url: &Url,
        guarded: bool,
        gets_credentials: bool,
    ) -> Result<&reqwest::Client, NoRoute> {
        let Way::Sockets { proxies, plain, certified } = &self.way else { return Err(NoRoute::Unanswered) };
        let sets = certified.as_ref().filter(|_| gets_credentials).unwrap_or(plain);
        let intercept = |proxies: &Matcher| proxies.intercept(&url.as_str().parse().ok()?);
        let is_proxied = || proxies.as_deref().and_then(intercept).is_some();
        if guarded && !is_proxied() { sets.guarded().map_err(NoRoute::Broken) } else { Ok(&sets.open) }
    }
}

fn verb(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("network", &self.network).finish_non_exhaustive()
    }
}
