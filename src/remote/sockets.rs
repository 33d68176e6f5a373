//! The sockets of a run: which connections share them, and which of them a request goes through.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use super::certificates::Certificates;
use super::network::{Network, PublicOnly, Refusal};
use super::outgoing::is_loopback;
use crate::plan::{ConnectionPlan, limits};

/// Says who asks; a request's own `User-Agent` header wins.
pub(super) const USER_AGENT: &str = concat!("headwater/", env!("CARGO_PKG_VERSION"));

/// The sockets of a run: connections with the same settings share them, because the certificates that this machine trusts are read and
/// kept for each set. What tells connections apart (credentials, quotas) is no part of it; those with a client certificate share none.
#[derive(Debug, Default)]
pub struct Sockets(HashMap<Settings, Arc<Sets>>);

impl Sockets {
    /// Sets of sockets that were made.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
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
        let settings = Settings {
            connect: connection.timeout_connect,
            request: connection.timeout_request,
            idle: connection.rate_limit.concurrency.max(1),
            direct: is_loopback(&connection.base_url),
        };
        let certified = certificates.map(|certificates| Sets::new(settings, Some(certificates))).transpose()?;
        let plain = match self.0.get(&settings) {
            Some(sets) => Arc::clone(sets),
            None => {
                let sets = Arc::new(Sets::new(settings, None)?);
                self.0.insert(settings, Arc::clone(&sets));
                sets
            }
        };
        let proxies = (!settings.direct).then(Matcher::from_system);
        Ok(Routes { network: Network::new(connection), proxies, plain, certified })
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
    /// the system's; none where the base URL is on this machine
    proxies: Option<Matcher>,
    plain: Arc<Sets>,
    /// with the client certificate
    certified: Option<Sets>,
}

/// Why a request has no way.
#[derive(Debug)]
pub(super) enum NoRoute {
    /// it must not go there
    Refused(Refusal),
    /// TLS cannot be set up
    Broken(reqwest::Error),
}

impl Routes {
    /// The sockets for a request to this URL; those that get credentials get the client certificate too.
    ///
    /// Where a proxy of the system takes the request, the proxy resolves the name, and only what stands in the URL is checked.
    pub fn to(&self, url: &Url, gets_credentials: bool) -> Result<&reqwest::Client, NoRoute> {
        let guarded = self.network.must_be_guarded(url).map_err(NoRoute::Refused)?;
        let sets = self.certified.as_ref().filter(|_| gets_credentials).unwrap_or(&self.plain);
        if guarded && !self.is_proxied(url) { sets.guarded().map_err(NoRoute::Broken) } else { Ok(&sets.open) }
    }

    fn is_proxied(&self, url: &Url) -> bool {
        let intercept = |proxies: &Matcher| proxies.intercept(&url.as_str().parse().ok()?);
        self.proxies.as_ref().and_then(intercept).is_some()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("network", &self.network).finish_non_exhaustive()
    }
}
