//! What went wrong on the wire, in words for people.

use std::error::Error as StdError;
use std::io;

use url::Url;

use super::error::TransportFault;
use crate::plan::ConnectionPlan;

/// Sorts an error of the HTTP client by what a person could do about it.
pub(super) fn fault(error: &reqwest::Error) -> TransportFault {
    if error.is_dns() || chain(error).any(|cause| cause.to_string() == "dns error") {
        // the resolver's verdict is only in its text: «not known» is final, anything else may pass
        let is_final = chain(error).any(|cause| cause.to_string().contains("not known"));
        return if is_final { TransportFault::UnknownHost } else { TransportFault::Dns };
    }
    if chain(error).any(<dyn std::error::Error>::is::<rustls::Error>) {
        return TransportFault::Tls;
    }
    if error.is_timeout() {
        return if error.is_connect() { TransportFault::ConnectTimeout } else { TransportFault::Timeout };
    }
    let kinds: Vec<_> = chain(error).filter_map(|cause| cause.downcast_ref()).map(io::Error::kind).collect();
    let has = |kind| kinds.contains(&kind);
    if error.is_connect() {
        return if has(io::ErrorKind::ConnectionRefused) {
            TransportFault::ConnectionRefused
        } else {
            TransportFault::Connect
        };
    }
    if error.is_body() || error.is_decode() {
        let is_cut = chain(error).any(|cause| {
            let text = cause.to_string();
            text.contains("end of file before message length") || text.contains("unexpected EOF during chunk")
        });
        return if is_cut || has(io::ErrorKind::UnexpectedEof) || has(io::ErrorKind::ConnectionReset) {
            TransportFault::Truncated
        } else if error.is_decode() && !kinds.is_empty() {
            TransportFault::BadEncoding
        } else {
            TransportFault::Broken
        };
    }
    TransportFault::Broken
}

/// The fault in one fragment. It may quote what the server said: redact it.
pub(super) fn reason(fault: TransportFault, error: &reqwest::Error, url: &Url, connection: &ConnectionPlan) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    match fault {
        TransportFault::UnknownHost => format!("there is no host `{host}`"),
        TransportFault::Dns => format!("the host `{host}` could not be looked up: {}", root(error)),
        TransportFault::ConnectionRefused => format!("nothing listens on `{host}`, port {port}"),
        TransportFault::Connect => format!("no connection to `{host}`, port {port}: {}", root(error)),
        TransportFault::ConnectTimeout => {
            format!("no connection to `{host}`, port {port}, within {:?}", connection.timeout_connect)
        }
        TransportFault::Tls => format!("no TLS with `{host}`, port {port}: {}", root(error)),
        TransportFault::Timeout => format!("no whole answer within {:?}", connection.timeout_request),
        TransportFault::Truncated => "the answer ended before its end".to_owned(),
        TransportFault::BadEncoding => format!("the body is not what its `Content-Encoding` says: {}", root(error)),
        TransportFault::Broken => format!("the connection broke: {}", root(error)),
    }
}

/// An error with all its causes, each text once.
pub(super) fn in_words(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in chain(error) {
        let text = cause.to_string();
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}

fn root(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The error and its causes, outermost first. Bounded: an error chain that long is a loop.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let next = |cause: &&'a (dyn StdError + 'static)| -> Option<&'a (dyn StdError + 'static)> {
        // the `source` of an `io::Error` skips the error it is wrapped around
        match (*cause).downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => (*cause).source(),
        }
    };
    std::iter::successors(Some(error), next).take(32)
}
