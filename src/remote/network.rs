//! Where requests may go. Origins that a person wrote out may be anywhere; all others need TLS and a public address, unless the provider
//! says otherwise: who can put a URL into an answer or a setting must not reach what only this machine can reach.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::outgoing::is_same_origin;
use super::transport::chain;
use crate::plan::{AuthPlan, ConnectionPlan, MadeAuth, NetworkPlan, Template};

/// What a connection's requests may reach.
#[derive(Debug)]
pub(super) struct Network {
    /// base URL first
    written_out: Vec<Url>,
    base_url: Url,
    plan: NetworkPlan,
}

impl Network {
    pub fn new(connection: &ConnectionPlan) -> Self {
        let base_url = connection.base_url.clone();
        let trusted = connection.trusted_origins.iter().filter_map(|origin| Url::parse(origin).ok());
        let own = connection.base_url_is_literal.then(|| base_url.clone());
        let written_out = own.into_iter().chain(trusted).chain(token_origins(&connection.auth)).collect();
        Self { written_out, base_url, plan: connection.network }
    }

    /// What may be reached of a URL that a person wrote out: its origin.
    pub fn to(url: &Url) -> Self {
        Self { written_out: vec![url.clone()], base_url: url.clone(), plan: NetworkPlan::default() }
    }

    /// Whether the addresses of this URL's host must be looked at before they are connected to.
    ///
    /// # Errors
    /// What is forbidden whatever the host's addresses are: no TLS, and addresses that stand in the URL itself.
    pub fn must_be_guarded(&self, url: &Url) -> Result<bool, Refusal> {
        if self.written_out.iter().any(|origin| is_same_origin(origin, url)) {
            return Ok(false);
        }
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" && !self.plan.allow_http {
            return Err(Refusal::NoTls { host: host.to_owned() });
        }
        if self.plan.allow_private {
            return Ok(false);
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let is_here = name == "localhost" || name.ends_with(".localhost");
                is_here.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            None => None,
        };
        match address.and_then(|address| Some((address, AddressKind::of(address)?))) {
            Some((address, kind)) => Err(Refusal::Address { host: host.to_owned(), address, kind }),
            None => Ok(true),
        }
    }

    /// Whether this is the origin of the base URL, so that the settings are what leads there.
    pub fn is_base(&self, url: &Url) -> bool {
        is_same_origin(&self.base_url, url)
    }

    /// What to do about a refusal.
    pub fn hint(&self, refusal: &Refusal, url: &Url) -> String {
        let word = match refusal {
            Refusal::NoTls { .. } => "allow_http",
            Refusal::Address { .. } => "allow_private",
        };
        let allow = format!("the provider says `network: {{ {word}: true }}`");
        if self.is_base(url) {
            format!("write the whole URL as `base_url` of the connection; or {allow}")
        } else {
            format!("a template, a link or a redirect leads there and no one wrote it out; if it is meant, {allow}")
        }
    }
}

/// Where tokens come from, as far as scheme, host and port are written out in the provider file.
fn token_origins(auth: &AuthPlan) -> Vec<Url> {
    let token = auth.made().and_then(MadeAuth::token);
    let device_url = match auth.made() {
        Some(MadeAuth::AuthorizationCode { device_url, .. }) => device_url.as_ref(),
        Some(_) | None => None,
    };
    let urls = token.into_iter().flat_map(|token| [&token.url, &token.refresh_url]).chain(device_url);
    urls.filter_map(Template::written_origin).collect()
}

/// Why a URL is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// it has no TLS
    NoTls {
        /// the URL's host
        host: String,
    },
    /// its host is, or resolves to, an address that is not public
    Address {
        /// the URL's host
        host: String,
        /// what it is or resolves to
        address: IpAddr,
        /// why that is not public
        kind: AddressKind,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTls { host } => write!(f, "not asked: `{host}` would be asked without TLS"),
            Self::Address { host, address, kind } => {
                let kind = kind.as_str();
                if host.trim_matches(['[', ']']) == address.to_string() {
                    write!(f, "not asked: `{address}` is {kind}")
                } else {
                    write!(f, "not asked: `{host}` leads to `{address}`, which is {kind}")
                }
            }
        }
    }
}

impl StdError for Refusal {}

/// The refusal of the resolver among the causes of an error.
pub(super) fn refusal<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Refusal> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// Why an address is not public: the registries of IANA for special purposes (RFC 6890) and multicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressKind {
    /// RFC 1122, RFC 4291
    Loopback,
    /// RFC 1918, RFC 4193, and the site-local addresses that RFC 3879 gave up
    Private,
    /// RFC 3927, RFC 4291
    LinkLocal,
    /// RFC 6598
    Shared,
    /// RFC 1112, RFC 4291
    Multicast,
    /// all zeros, and the rest of its network (RFC 1122)
    Unspecified,
    /// for documentation, benchmarks, protocols, or for later
    Reserved,
}

impl AddressKind {
    /// What kind of address this is; `None` for a public one. An IPv6 address that stands for an IPv4 address is what that one is.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        match address.octets() {
            [0, ..] => Some(Self::Unspecified),
            [127, ..] => Some(Self::Loopback),
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(Self::Private),
            [169, 254, ..] => Some(Self::LinkLocal),
            [100, 64..=127, ..] => Some(Self::Shared),
            [224..=239, ..] => Some(Self::Multicast),
            // protocols (RFC 6890), documentation (RFC 5737), relays of 6to4 (RFC 7526), benchmarks (RFC 2544), later use (RFC 1112)
            [192, 0, 0 | 2, _]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [240..=255, ..] => Some(Self::Reserved),
            _ => None,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        let segments = address.segments();
        let v4 = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Ipv4Addr::new(a, b, c, d)
        };
        match segments {
            [0, 0, 0, 0, 0, 0, 0, 0] => Some(Self::Unspecified),
            [0, 0, 0, 0, 0, 0, 0, 1] => Some(Self::Loopback),
            // mapped (RFC 4291), compatible (given up by the same), translated by NAT64 (RFC 6052) or SIIT (RFC 2765)
            [0, 0, 0, 0, 0, 0xffff | 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low] => Self::of_v4(v4(high, low)),
            // 6to4 (RFC 3056)
            [0x2002, high, low, ..] => Self::of_v4(v4(high, low)),
            // NAT64 of one's own network (RFC 8215)
            [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some(Self::Private),
            [0xfe80..=0xfebf, ..] => Some(Self::LinkLocal),
            [0xff00..=0xffff, ..] => Some(Self::Multicast),
            // protocols, Teredo among them (RFC 2928, RFC 4380); documentation (RFC 3849, RFC 9637)
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Self::Reserved),
            // what is given out to be public (RFC 4291, 2.4)
            [0x2000..=0x3fff, ..] => None,
            _ => Some(Self::Reserved),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "an address of this machine",
            Self::Private => "an address of a private network",
            Self::LinkLocal => "a link-local address, where clouds keep the credentials of machines",
            Self::Shared => "an address that a network shares among its customers",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "no address of a host",
            Self::Reserved => "a reserved address",
        }
    }
}

/// A resolver that gives public addresses alone. What it gives is what is connected to, so a name that answers differently the next time
/// gains nothing.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(public_alone(&host, addresses)?)
        })
    }
}

fn public_alone(host: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Addrs, Refusal> {
    let mut refused = None;
    let mut public = Vec::new();
    for address in addresses {
        match AddressKind::of(address.ip()) {
            None => public.push(address),
            Some(kind) => refused = Some(Refusal::Address { host: host.to_owned(), address: address.ip(), kind }),
        }
    }
    match refused {
        Some(refusal) if public.is_empty() => Err(refusal),
        _ => Ok(Box::new(public.into_iter())),
    }
}

#[cfg(test)]
mod tests;
