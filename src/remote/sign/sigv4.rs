//! AWS Signature Version 4: the headers that prove who asks
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use ring::{digest, hmac};
use url::{Position, Url};

use crate::plan::{hex, percent_encoded};

/// Who signs, and for whom. Not printable.
pub(crate) struct Sigv4Keys<'a> {
    /// the access key's id
    pub access_key_id: &'a str,
    /// the secret access key
    pub secret_access_key: &'a str,
    /// for temporary credentials
    pub session_token: Option<&'a str>,
    /// the region
    pub region: &'a str,
    /// the service
    pub service: &'a str,
}

/// The headers to add to a request: `x-amz-date`, with a session token `x-amz-security-token`, for S3 `x-amz-content-sha256`, and
/// `authorization`. All of `headers` are signed, but those that proxies change; `host` is signed as it stands in the URL. The
/// request must go to `url` as [`with_query_as_signed`] writes it.
pub(crate) fn headers(
    keys: &Sigv4Keys<'_>,
    method: &str,
    url: &Url,
    headers: &[(String, String)],
    body: &[u8],
    at: DateTime<Utc>,
) -> Vec<(&'static str, String)> {
    let is_s3 = is_s3(keys.service);
    let path = if is_s3 { Paths::AsTheyAre } else { Paths::NormalizedAndTwice };
    let signing = Signing { keys, at, path, signs_body: is_s3 };
    signing.headers(method, url, headers, body)
}

/// The URL with its query spelled as it is signed: everything but letters, digits, `-`, `.`, `_` and `~` as `%XX`. Servers that take
/// the query as it stands and servers that decode and encode it then see the same; some read `+` as a plus sign.
pub(crate) fn with_query_as_signed(url: &Url) -> Url {
    let mut url = url.clone();
    if let Some(query) = url.query() {
        let pairs = encoded_pairs(query);
        let query: Vec<String> = pairs
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name,
            })
            .collect();
        url.set_query(Some(&query.join("&")));
    }
    url
}

/// The services that sign as S3 does.
fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3-outposts" | "s3-object-lambda" | "s3express")
}

/// How the path of a URL is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paths {
    /// for S3: encoded once, dots and empty segments are part of a key's name
    AsTheyAre,
    /// without dots and empty segments, and encoded once more than it is sent
    NormalizedAndTwice,
}

/// What belongs to the request before these are made anew.
const OWN: [&str; 5] = ["authorization", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];
/// What proxies and HTTP libraries change or add on the way.
const NOT_SIGNED: [&str; 7] = [
    "accept-encoding",
    "connection",
    "expect",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
    "x-forwarded-for",
];

struct Signing<'a> {
    keys: &'a Sigv4Keys<'a>,
    at: DateTime<Utc>,
    path: Paths,
    /// whether the hash of the body is a header
    signs_body: bool,
}

impl Signing<'_> {
    fn headers(&self, method: &str, url: &Url, given: &[(String, String)], body: &[u8]) -> Vec<(&'static str, String)> {
        let Sigv4Keys { access_key_id, secret_access_key, session_token, region, service } = self.keys;
        let at = self.at.format("%Y%m%dT%H%M%SZ").to_string();
        let hash = hex(digest::digest(&digest::SHA256, body));
        let mut added = vec![("x-amz-date", at.clone())];
        added.extend(session_token.map(|token| ("x-amz-security-token", token.to_owned())));
        added.extend(self.signs_body.then(|| ("x-amz-content-sha256", hash.clone())));

        let (names, lines) = canonical_headers(url, given, &added);
        let (path, query) = (self.canonical_path(url.path()), canonical_query(url.query().unwrap_or_default()));
        let request = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{hash}", method.to_ascii_uppercase());

        let day = &at[..8];
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let request = hex(digest::digest(&digest::SHA256, request.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{request}");
        let mut key = mac(format!("AWS4{secret_access_key}").as_bytes(), day);
        for part in [region, service, "aws4_request"] {
            key = mac(key.as_ref(), part);
        }
        let signature = hex(mac(key.as_ref(), &text));
        let proof = format!(
            "AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        added.push(("authorization", proof));
        added
    }

    fn canonical_path(&self, path: &str) -> String {
        match self.path {
            Paths::AsTheyAre => {
                let decoded = percent_decode_str(path).decode_utf8_lossy();
                encoded_segments(&decoded)
            }
            Paths::NormalizedAndTwice => encoded_segments(&normalized(path)),
        }
    }
}

/// The names of the signed headers, and their lines (each ends in a line break), sorted by name; values of one name in their order.
fn canonical_headers(url: &Url, given: &[(String, String)], added: &[(&'static str, String)]) -> (String, String) {
    let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
    let mut all: Vec<(&str, String)> = vec![("host", host)];
    all.extend(added.iter().map(|(name, value)| (*name, one_line(value))));
    for (name, value) in given {
        if !OWN.contains(&name.as_str()) && !NOT_SIGNED.contains(&name.as_str()) {
            match all.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => {
                    known.push(',');
                    known.push_str(&one_line(value));
                }
                None => all.push((name, one_line(value))),
            }
        }
    }
    all.sort_unstable_by_key(|(name, _)| *name);
    let lines = all.iter().fold(String::new(), |lines, (name, value)| lines + name + ":" + value + "\n");
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    (names.join(";"), lines)
}

/// Trimmed, with one space for each run of them.
fn one_line(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Parameters sorted by encoded name, then value.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> =
        encoded_pairs(query).map(|(name, value)| (name, value.unwrap_or_default())).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The parameters of a query, in their order, encoded anew; a name without `=` has no value.
fn encoded_pairs(query: &str) -> impl Iterator<Item = (String, Option<String>)> {
    let anew = |text: &str| {
        let spaces = text.replace('+', " ");
        let bytes: Vec<u8> = percent_decode_str(&spaces).collect();
        percent_encoded(bytes)
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| match pair.split_once('=') {
        Some((name, value)) => (anew(name), Some(anew(value))),
        None => (anew(pair), None),
    })
}

fn encoded_segments(path: &str) -> String {
    path.split('/').map(percent_encoded).collect::<Vec<_>>().join("/")
}

/// The path without empty segments and `.`, and without `..` and what it takes away (RFC 3986, 6.2.2.3). A slash at the end stays.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    for segment in segments {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    let ends_in_folder = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let end = if ends_in_folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
