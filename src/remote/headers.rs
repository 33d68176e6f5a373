//! What is shown of headers: those of requests with their secrets masked, and of answers those that say something about the exchange.

use super::client::Client;
use super::redact::MASK;
use super::request::{Request, Response};
use crate::plan::limits;

/// Headers of answers that are shown. Others may hold what only the two sides are to know: a server is free in what it makes up.
const SHOWN: [&str; 33] = [
    "age",
    "allow",
    "cache-control",
    "cf-ray",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "deprecation",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "preference-applied",
    "request-id",
    "retry-after",
    "server",
    "server-timing",
    "sunset",
    "traceparent",
    "vary",
    "via",
    "warning",
    "x-amzn-requestid",
    "x-api-version",
    "x-correlation-id",
    "x-github-request-id",
    "x-request-id",
    "x-total-count",
    "x-trace-id",
];

/// How the names of headers begin that tell of budgets.
const BUDGETS: [&str; 6] =
    ["ratelimit", "x-ratelimit", "x-rate-limit", "x-hubspot-ratelimit", "x-shopify-shop-api-call-limit", "x-app-usage"];

/// Words in the names of headers that hold secrets, whoever wrote them into a file as if they were none.
const SECRET: [&str; 10] =
    ["auth", "cookie", "credential", "key", "passw", "secret", "session", "signature", "token", "jwt"];

impl Client {
    /// The headers of a request, for a log: as [`Client::masked_headers`], and what is secret by its name is masked too.
    pub fn logged_headers(&self, request: &Request) -> Vec<(String, String)> {
        let shown = self.masked_headers(request).into_iter().map(|(name, value)| {
            let value = if is_secret(&name) { MASK.to_owned() } else { cut(value) };
            (name, value)
        });
        shown.take(limits::HEADERS_LOGGED_MAX).collect()
    }

    /// The headers of an answer that say something about the exchange, for a log, without any of the connection's secrets.
    pub fn logged_answer(&self, response: &Response) -> Vec<(String, String)> {
        let is_shown =
            |name: &str| SHOWN.binary_search(&name).is_ok() || BUDGETS.iter().any(|begins| name.starts_with(begins));
        let shown = response.headers.iter().filter(|(name, _)| is_shown(name));
        let shown = shown.map(|(name, value)| (name.clone(), cut(self.redact(value))));
        shown.take(limits::HEADERS_LOGGED_MAX).collect()
    }
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|word| name.contains(word)) && name != "idempotency-key"
}

fn cut(mut value: String) -> String {
    if value.len() > limits::HEADER_CHARS_LOGGED_MAX {
        value.truncate(value.floor_char_boundary(limits::HEADER_CHARS_LOGGED_MAX));
        value.push('…');
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_shown_are_in_order_and_none_is_a_secret_one() {
        assert!(SHOWN.is_sorted());
        assert!(!SHOWN.iter().chain(&BUDGETS).any(|name| is_secret(name)));
        for name in ["x-api-key", "authorization", "set-cookie", "x-amz-security-token", "api-session-id"] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("idempotency-key") && !is_secret("accept"));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let cut = cut("é".repeat(limits::HEADER_CHARS_LOGGED_MAX));
        assert!(cut.ends_with("é…") && cut.len() <= limits::HEADER_CHARS_LOGGED_MAX + '…'.len_utf8());
    }
}
