//! What went wrong on the wire, in words for people.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use chrono::DateTime;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};
use url::Url;

use super::error::{TlsFault, TransportFault};
use crate::plan::limits;

/// Sorts an error of the HTTP client by what a person could do about it.
pub(super) fn fault(error: &reqwest::Error) -> TransportFault {
    if error.is_dns() || chain(error).any(|cause| cause.to_string() == "dns error") {
        // the resolver's verdict is only in its text: «not known» is final, anything else may pass
        let is_final = chain(error).any(|cause| cause.to_string().contains("not known"));
        return if is_final { TransportFault::UnknownHost } else { TransportFault::Dns };
    }
    if let Some(tls) = tls_error(error) {
        return TransportFault::Tls(tls_fault(tls));
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
        // else the wire was fine, and what came over it was not
        let is_of_wire = chain(error).any(|cause| cause.to_string() == "error reading a body from connection");
        return if is_cut || has(io::ErrorKind::UnexpectedEof) || has(io::ErrorKind::ConnectionReset) {
            TransportFault::Truncated
        } else if error.is_decode() && !is_of_wire && !kinds.is_empty() {
            TransportFault::BadEncoding
        } else {
            TransportFault::Broken
        };
    }
    if chain(error).any(|cause| cause.to_string().contains("message head is too large")) {
        return TransportFault::HeadTooLarge;
    }
    TransportFault::Broken
}

fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
            CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
            // a certificate of an authority that the server shows as its own, which webpki alone has a name for
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                TlsFault::UnknownIssuer
            }
            _ => TlsFault::BadCertificate,
        },
        rustls::Error::InvalidMessage(_) => TlsFault::NotSpoken,
        rustls::Error::PeerIncompatible(_) => TlsFault::NothingInCommon,
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => TlsFault::NothingInCommon,
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => TlsFault::ClientCertificate,
            _ => TlsFault::Other,
        },
        _ => TlsFault::Other,
    }
}

/// Why there is no TLS, in words behind the name of the host.
fn tls_reason(fault: TlsFault, error: &reqwest::Error) -> String {
    let certificate = match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(certificate)) => Some(certificate),
        _ => None,
    };
    match (fault, certificate) {
        (TlsFault::Expired, Some(CertificateError::ExpiredContext { not_after, .. })) => {
            format!("its certificate expired on {}", day(*not_after))
        }
        (TlsFault::Expired, _) => "its certificate has expired".to_owned(),
        (TlsFault::NotYetValid, Some(CertificateError::NotValidYetContext { not_before, .. })) => {
            format!("its certificate is not valid before {}", day(*not_before))
        }
        (TlsFault::NotYetValid, _) => "its certificate is not valid yet".to_owned(),
        (TlsFault::WrongName, Some(CertificateError::NotValidForNameContext { presented, .. })) => {
            format!("its certificate is for {}", names(presented))
        }
        (TlsFault::WrongName, _) => "its certificate is for another name".to_owned(),
        (TlsFault::UnknownIssuer, _) => {
            "nobody vouches for its certificate whom this machine trusts (it is self-signed, or of an unknown authority)"
                .to_owned()
        }
        (TlsFault::BadCertificate, _) => format!("its certificate cannot be trusted: {}", root(error)),
        (TlsFault::NotSpoken, _) => "what answers there does not speak TLS".to_owned(),
        (TlsFault::NothingInCommon, _) => {
            format!("there is no version or cipher of TLS that both sides speak: {}", root(error))
        }
        (TlsFault::ClientCertificate, _) => {
            format!("the server did not accept who asks by certificate: {}", root(error))
        }
        (TlsFault::Other, _) => root(error),
    }
}

fn day(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.map_or_else(|| "a day that no calendar has".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// The names that a certificate is for, as rustls writes them: `DnsName("a.example")`. They are whatever the server likes.
fn names(presented: &[String]) -> String {
    let shown: Vec<String> = presented
        .iter()
        .take(limits::LISTED_MAX)
        .map(|name| {
            let bare = name.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")"));
            let bare: String = bare.unwrap_or(name).chars().take(limits::QUOTED_CHARS_MAX).collect();
            format!("`{}`", bare.escape_debug())
        })
        .collect();
    match presented.len() - shown.len() {
        _ if shown.is_empty() => "no name at all".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The fault in one fragment; the times are those to connect, and for the whole answer. It may quote what the server said: redact it.
pub(super) fn reason(
    fault: TransportFault,
    error: &reqwest::Error,
    url: &Url,
    (connect, answer): (Duration, Duration),
) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    match fault {
        TransportFault::UnknownHost => format!("there is no host `{host}`"),
        TransportFault::Dns => format!("the host `{host}` could not be looked up: {}", root(error)),
        TransportFault::ConnectionRefused => format!("nothing listens on `{host}`, port {port}"),
        TransportFault::Connect => format!("no connection to `{host}`, port {port}: {}", root(error)),
        TransportFault::ConnectTimeout => {
            format!("no connection to `{host}`, port {port}, within {connect:?}")
        }
        TransportFault::Tls(fault) => format!("no TLS with `{host}`, port {port}: {}", tls_reason(fault, error)),
        TransportFault::Timeout => format!("no whole answer within {answer:?}"),
        TransportFault::HeadTooLarge => format!(
            "the head of the answer is too large: at most {} headers, over HTTP/2 of {} KiB in all",
            limits::RESPONSE_HEADERS_MAX,
            limits::RESPONSE_HEADER_BYTES_MAX >> 10
        ),
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
pub(super) fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let next = |cause: &&'a (dyn StdError + 'static)| -> Option<&'a (dyn StdError + 'static)> {
        // the `source` of an `io::Error` skips the error it is wrapped around
        match (*cause).downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => (*cause).source(),
        }
    };
    std::iter::successors(Some(error), next).take(32)
}
