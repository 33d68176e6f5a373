//! What can go wrong on the way to an API. No text in here holds a secret: it went through the connection's `Redactor`.

use std::time::Duration;

use crate::plan::limits;

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
    /// the body is larger than headwater takes in
    #[error("{request}: response_too_large: the answer is larger than {} MiB", limits::RESPONSE_BYTES_MAX >> 20)]
    ResponseTooLarge {
        /// the request, masked
        request: String,
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
    Tls,
    /// no whole answer within the time for a request
    Timeout,
    /// the answer ended before its end
    Truncated,
    /// the body is not what its `Content-Encoding` says
    BadEncoding,
    /// anything else on the wire
    Broken,
}

impl Error {
    /// Whether the same request may work later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Transport { fault, .. } => {
                !matches!(fault, TransportFault::UnknownHost | TransportFault::Tls | TransportFault::BadEncoding)
            }
            Self::Credentials { .. }
            | Self::Connection { .. }
            | Self::Request { .. }
            | Self::Redirect { .. }
            | Self::ResponseTooLarge { .. }
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
                TransportFault::Tls
                | TransportFault::Timeout
                | TransportFault::Truncated
                | TransportFault::BadEncoding
                | TransportFault::Broken => false,
            },
            Self::Credentials { .. } | Self::Connection { .. } | Self::Request { .. } | Self::Parked { .. } => true,
            Self::Redirect { .. } | Self::ResponseTooLarge { .. } => false,
        }
    }

    /// Whether the cause is in the project or its environment, and no server was asked.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Credentials { .. } | Self::Connection { .. } | Self::Request { .. })
    }

    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Credentials { .. } => "missing_credential",
            Self::Connection { .. } => "bad_connection",
            Self::Request { .. } => "bad_request",
            Self::Redirect { .. } => "redirected",
            Self::ResponseTooLarge { .. } => "response_too_large",
            Self::Parked { .. } => "rate_limited",
            Self::Transport { fault, .. } => match fault {
                TransportFault::UnknownHost => "unknown_host",
                TransportFault::Dns => "dns",
                TransportFault::ConnectionRefused => "connection_refused",
                TransportFault::Connect => "connect",
                TransportFault::ConnectTimeout => "connect_timeout",
                TransportFault::Tls => "tls",
                TransportFault::Timeout => "timeout",
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
            Self::Connection { hint, .. } => return hint.clone(),
            Self::Redirect { hint, .. } => return Some(hint.clone()),
            Self::Request { .. } => return None,
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
                TransportFault::Tls => {
                    "does the port speak TLS, and does this machine trust the certificate? a plain server needs `http://`; \
                     `SSL_CERT_FILE` names a file with further certificates to trust"
                }
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
