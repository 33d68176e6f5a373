//! OAuth 1.0a (RFC 5849): the `Authorization` header of a signed request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use url::{Position, Url, form_urlencoded};

use crate::plan::{Signature, percent_encoded};

/// Who signs, and how. Not printable.
pub(crate) struct Oauth1Keys<'a> {
    /// the application's key
    pub consumer_key: &'a str,
    /// its secret
    pub consumer_secret: &'a str,
    /// the account's token; empty where there is none
    pub token: &'a str,
    /// its secret
    pub token_secret: &'a str,
    /// how the request is signed
    pub signature: Signature,
    /// the `realm` of the header
    pub realm: Option<&'a str>,
}

/// The whole value of the `Authorization` header for a request (RFC 5849, 3.5.1). `form_body` is the body if and only if it is
/// `application/x-www-form-urlencoded`; `timestamp` are seconds since 1970; no two requests of one second have the same `nonce`.
pub(crate) fn authorization(
    keys: &Oauth1Keys<'_>,
    method: &str,
    url: &Url,
    form_body: Option<&[u8]>,
    timestamp: i64,
    nonce: &str,
) -> String {
    let timestamp = timestamp.to_string();
    let mut protocol = vec![("oauth_consumer_key", keys.consumer_key)];
    if !keys.token.is_empty() {
        protocol.push(("oauth_token", keys.token));
    }
    protocol.extend([
        ("oauth_signature_method", method_name(keys.signature)),
        ("oauth_timestamp", timestamp.as_str()),
        ("oauth_nonce", nonce),
        ("oauth_version", "1.0"),
    ]);
    let signature = sign(keys, &base_string(method, url, form_body, &protocol));
    protocol.push(("oauth_signature", &signature));
    let realm = keys.realm.map(|realm| format!("realm=\"{}\"", quoted(realm)));
    let pairs = protocol.iter().map(|(name, value)| format!("{name}=\"{}\"", percent_encoded(value)));
    format!("OAuth {}", realm.into_iter().chain(pairs).collect::<Vec<_>>().join(", "))
}

/// RFC 5849, 3.4.1: the method, the URL without its query, and all parameters, sorted.
fn base_string(method: &str, url: &Url, form_body: Option<&[u8]>, protocol: &[(&str, &str)]) -> String {
    let query = form_urlencoded::parse(url.query().unwrap_or_default().as_bytes());
    let form = form_urlencoded::parse(form_body.unwrap_or_default());
    let mut parameters: Vec<(String, String)> =
        query.chain(form).map(|(name, value)| (percent_encoded(&*name), percent_encoded(&*value))).collect();
    parameters.extend(protocol.iter().map(|(name, value)| (percent_encoded(name), percent_encoded(value))));
    parameters.sort_unstable();
    let parameters: Vec<String> = parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    // 3.4.1.2: lowercase scheme and host, and the port only where it is another than the scheme's: as `Url` writes them
    let origin = &url[..Position::BeforeUsername];
    let rest = &url[Position::BeforeHost..Position::AfterPath];
    let target = percent_encoded(format!("{origin}{rest}"));
    format!("{}&{target}&{}", method.to_ascii_uppercase(), percent_encoded(parameters.join("&")))
}

/// RFC 5849, 3.4.2 and 3.4.4.
fn sign(keys: &Oauth1Keys<'_>, text: &str) -> String {
    let key = format!("{}&{}", percent_encoded(keys.consumer_secret), percent_encoded(keys.token_secret));
    let algorithm = match keys.signature {
        Signature::HmacSha256 => hmac::HMAC_SHA256,
        Signature::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Signature::Plaintext => return key,
    };
    STANDARD.encode(hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), text.as_bytes()))
}

fn method_name(signature: Signature) -> &'static str {
    match signature {
        Signature::HmacSha256 => "HMAC-SHA256",
        Signature::HmacSha1 => "HMAC-SHA1",
        Signature::Plaintext => "PLAINTEXT",
    }
}

/// A `quoted-string` of a header (RFC 9110, 5.6.4).
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
#[path = "oauth1_tests.rs"]
mod tests;
