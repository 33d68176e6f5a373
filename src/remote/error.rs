//! What can go wrong on the way to an API. No text in here holds a secret: it went through the connection's `Redactor`.

use std::sync::Arc;
use std::time::Duration;

use super::credential_store::StoreError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// secrets are missing in the environment
    #[error("connection `{connection}`: {}", joined(missing))]
    Credentials {
        /// the connection's name
        connection: String,
        /// all that are missing
        missing: Vec<MissingCredential>,
    },
    /// what only `headwater connect` can bring is not there
    #[error("connection `{connection}` is not connected: {reason}")]
    NotConnected {
        /// the connection's name
        connection: String,
        /// what is missing
        reason: String,
    },
    /// the API takes neither the token nor anything that a new one could be made of
    #[error("connection `{connection}` needs a person to connect again: {reason}")]
    NeedsReconnect {
        /// the connection's name
        connection: String,
        /// what the API said
        reason: String,
    },
    /// no token could be made
    #[error("connection `{connection}`: no token: {reason}")]
    Token {
        /// the connection's name
        connection: String,
        /// why not
        reason: String,
        /// it may work later
        temporary: bool,
    },
    /// the credential store cannot be used
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// the connection cannot be used as it is written
    #[error("connection `{connection}`: {reason}")]
    Connection {
        /// the connection's name
        connection: String,
        /// why not
        reason: String,
        /// what to do
        hint: Option<String>,
    },
    /// the request cannot be sent as it is; nothing was sent
    #[error("{request}: {reason}")]
    Request {
        /// the request, masked
        request: String,
        /// why not
        reason: String,
    },
    /// the server redirects to where headwater does not go
    #[error("{request}: {reason}")]
    Redirect {
        /// the request, masked
        request: String,
        /// where it was sent, and why that is not followed
        reason: String,
        /// what to do
        hint: String,
    },
    /// the request would go to where it must not go; nothing was sent
    #[error("{request}: {reason}")]
    Network {
        /// the request, masked
        request: String,
        /// which host, and why it is not asked
        reason: String,
        /// what to do
        hint: String,
        /// whether the connection's settings lead there, and no answer of a server
        by_settings: bool,
    },
    /// the body is larger than headwater takes in
    #[error("{request}: response_too_large: the answer is larger than {} MiB", most >> 20)]
    ResponseTooLarge {
        /// the request, masked
        request: String,
        /// the bytes that it may have
        most: u64,
    },
    /// the connection's budget is used up for longer than a run waits; the request was not sent
    #[error("{request} is not sent: {cause}")]
    Parked {
        /// the request, masked
        request: String,
        /// why
        cause: String,
        /// until there is some again
        wait: Duration,
    },
    /// a script answers in place of the network, and has no answer for this request
    #[error("{request}: nobody expected this request")]
    Unanswered {
        /// the request, masked
        request: String,
    },
    /// no connection, or one that broke
    #[error("{request}: {reason}")]
    Transport {
        /// the request, masked
        request: String,
        /// what went wrong
        fault: TransportFault,
        /// the same in words
        reason: String,
    },
}

/// A credential whose environment variable has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingCredential {
    /// the credential's name
    pub credential: String,
    /// the variable it is read from
    pub variable: String,
    /// `is not set`, `is empty`, `is not UTF-8`
    pub problem: &'static str,
}

/// How a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportFault {
    /// there is no host of this name
    UnknownHost,
    /// the host's name could not be looked up for now
    Dns,
    /// nothing listens there
    ConnectionRefused,
    /// the connection could not be made
    Connect,
    /// no connection within the time to connect
    ConnectTimeout,
    /// no trust or no common ground for TLS
    Tls(TlsFault),
    /// no whole answer within the time for a request
    Timeout,
    /// the head of the answer is larger than headwater takes in
    HeadTooLarge,
    /// the answer ended before its end
    Truncated,
    /// the body is not what its `Content-Encoding` says
    BadEncoding,
    /// anything else on the wire
    Broken,
}

/// Why there is no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// the certificate's time is over
    Expired,
    /// the certificate's time has not come
    NotYetValid,
    /// the certificate is for other names
    WrongName,
    /// nobody vouches for the certificate who is trusted here
    UnknownIssuer,
    /// the certificate cannot be trusted for another reason
    BadCertificate,
    /// what answers does not speak TLS
    NotSpoken,
    /// both sides have no version or cipher in common
    NothingInCommon,
    /// the server wants a certificate of the client, or another one
    ClientCertificate,
    /// anything else
    Other,
}

impl TlsFault {
    fn hint(self) -> &'static str {
        match self {
            Self::Expired => "whoever runs the server must renew it; is the clock of this machine right?",
            Self::NotYetValid => "is the clock of this machine right?",
            Self::WrongName => "is the host in `base_url` spelled as the API documents it?",
            Self::UnknownIssuer => {
                "if it is the certificate of an authority of your own, on Linux `SSL_CERT_FILE` names a file with the certificates to trust \
                 (so does `tls: { authority: … }` of the provider, where there is a client certificate); behind a proxy that reads \
                 along, that authority is the proxy's"
            }
            Self::BadCertificate => "whoever runs the server must give it another certificate",
            Self::NotSpoken => {
                "is the port right? a server without TLS needs `http://` in a `base_url` that is written out"
            }
            Self::NothingInCommon => {
                "headwater speaks TLS 1.2 and 1.3, and the server must too; some servers say so little when they want a client \
                 certificate (`tls` of the provider)"
            }
            Self::ClientCertificate => {
                "the server wants a client certificate that it trusts: `tls` of the provider names it"
            }
            Self::Other => "it may work when run again; if it does not, does the API document what its TLS needs?",
        }
    }
}

impl TransportFault {
    /// Whether the same request may work later.
    pub fn is_temporary(self) -> bool {
        match self {
            Self::UnknownHost | Self::Tls(_) | Self::HeadTooLarge | Self::BadEncoding => false,
            Self::Dns
            | Self::ConnectionRefused
            | Self::Connect
            | Self::ConnectTimeout
            | Self::Timeout
            | Self::Truncated
            | Self::Broken => true,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl Error {
    /// Whether the same request may work later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Transport { fault, .. } => fault.is_temporary(),
            Self::Token { temporary, .. } => *temporary,
            Self::Credentials { .. }
            | Self::NotConnected { .. }
            | Self::NeedsReconnect { .. }
            | Self::Store(_)
            | Self::Connection { .. }
            | Self::Request { .. }
            | Self::Redirect { .. }
            | Self::Network { .. }
            | Self::ResponseTooLarge { .. }
            | Self::Unanswered { .. }
            | Self::Parked { .. } => false,
        }
    }

    /// Whether the server surely never got the request.
    pub fn was_never_sent(&self) -> bool {
        match self {
            Self::Transport { fault, .. } => match fault {
                TransportFault::UnknownHost
                | TransportFault::Dns
                | TransportFault::ConnectionRefused
                | TransportFault::Connect
                | TransportFault::ConnectTimeout => true,
                // a connection that was made can break with it too
                TransportFault::Tls(_)
                | TransportFault::HeadTooLarge
                | TransportFault::Timeout
                | TransportFault::Truncated
                | TransportFault::BadEncoding
                | TransportFault::Broken => false,
            },
            Self::Credentials { .. }
            | Self::NotConnected { .. }
            | Self::NeedsReconnect { .. }
            | Self::Token { .. }
            | Self::Store(_)
            | Self::Connection { .. }
            | Self::Request { .. }
            | Self::Network { .. }
            | Self::Unanswered { .. }
            | Self::Parked { .. } => true,
            Self::Redirect { .. } | Self::ResponseTooLarge { .. } => false,
        }
    }

    /// Whether the cause is in the project or its environment, and no server was asked.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Credentials { .. }
            | Self::NotConnected { .. }
            | Self::NeedsReconnect { .. }
            | Self::Store(_)
            | Self::Connection { .. }
            | Self::Unanswered { .. }
            | Self::Request { .. } => true,
            Self::Network { by_settings, .. } => *by_settings,
            Self::Token { .. }
            | Self::Redirect { .. }
            | Self::ResponseTooLarge { .. }
            | Self::Parked { .. }
            | Self::Transport { .. } => false,
        }
    }

    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Credentials { .. } => "missing_credential",
            Self::NotConnected { .. } => "not_connected",
            Self::NeedsReconnect { .. } => "needs_reconnect",
            Self::Token { .. } => "no_token",
            Self::Store(error) => error.code(),
            Self::Connection { .. } => "bad_connection",
            Self::Request { .. } => "bad_request",
            Self::Redirect { .. } => "redirected",
            Self::Network { .. } => "network_refused",
            Self::ResponseTooLarge { .. } => "response_too_large",
            Self::Parked { .. } => "rate_limited",
            Self::Unanswered { .. } => "unanswered",
            Self::Transport { fault, .. } => match fault {
                TransportFault::UnknownHost => "unknown_host",
                TransportFault::Dns => "dns",
                TransportFault::ConnectionRefused => "connection_refused",
                TransportFault::Connect => "connect",
                TransportFault::ConnectTimeout => "connect_timeout",
                TransportFault::Tls(_) => "tls",
                TransportFault::Timeout => "timeout",
                TransportFault::HeadTooLarge => "head_too_large",
                TransportFault::Truncated => "truncated",
                TransportFault::BadEncoding => "bad_encoding",
                TransportFault::Broken => "broken_connection",
            },
        }
    }

    /// What to do next, for people.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Credentials { missing, .. } => {
                let exports: Vec<_> = missing.iter().map(|one| format!("`export {}=…`", one.variable)).collect();
                return Some(format!("set it before the run: {}", exports.join(", ")));
            }
            Self::NotConnected { connection, .. } | Self::NeedsReconnect { connection, .. } => {
                return Some(format!("run `headwater connect {connection}`"));
            }
            Self::Token { temporary: true, .. } => "it may work when run again",
            Self::Token { connection, temporary: false, .. } => {
                return Some(format!("`headwater connections verify {connection}` tries it again once it is mended"));
            }
            Self::Store(error) => return error.hint(),
            Self::Connection { hint, .. } => return hint.clone(),
            Self::Redirect { hint, .. } | Self::Network { hint, .. } => return Some(hint.clone()),
            Self::Request { .. } | Self::Unanswered { .. } => return None,
            Self::Parked { .. } => "`rate_limit.wait_max` of the provider says how long a run waits",
            Self::ResponseTooLarge { .. } => "ask for smaller pages (a `limit` or page size in the request)",
            Self::Transport { fault, .. } => match fault {
                TransportFault::UnknownHost => "is the host in `base_url` spelled right?",
                TransportFault::Dns => "is this machine online, and its name server reachable?",
                TransportFault::ConnectionRefused => "is the server running, and is the port in `base_url` right?",
                TransportFault::Connect => "is the server reachable from here (network, firewall, proxy)?",
                TransportFault::ConnectTimeout => {
                    "is the server reachable from here (network, firewall, proxy)? `timeout.connect` says how long is waited"
                }
                TransportFault::Tls(fault) => fault.hint(),
                TransportFault::HeadTooLarge => "no API needs so many headers: is `base_url` right?",
                TransportFault::Timeout => "ask for smaller pages, or raise `timeout.request`",
                TransportFault::Truncated | TransportFault::Broken => "it may work when run again",
                TransportFault::BadEncoding => "the server or a proxy before it labels its answers wrongly",
            },
        };
        Some(text.to_owned())
    }
}

fn joined(missing: &[MissingCredential]) -> String {
    let each = missing.iter().map(|one| {
        let MissingCredential { credential, variable, problem } = one;
        format!("credential `{credential}` needs the environment variable `{variable}`, which {problem}")
    });
    each.collect::<Vec<_>>().join("; ")
}
