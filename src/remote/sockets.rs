//! The sockets of a run, and which connections share them.

use std::collections::HashMap;
use std::time::Duration;

use super::outgoing::is_loopback;
use crate::plan::ConnectionPlan;

/// Says who asks; a request's own `User-Agent` header wins.
pub(super) const USER_AGENT: &str = concat!("headwater/", env!("CARGO_PKG_VERSION"));

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
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn of(&mut self, connection: &ConnectionPlan) -> reqwest::Result<reqwest::Client> {
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
