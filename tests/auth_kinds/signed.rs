//! Requests that are signed one by one: the server computes each signature anew, in its own few lines.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::{digest, hmac};
use serde_json::json;

use super::{fails, page, project, runs};
use crate::support::{Api, Reply, Request};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// All parameters of a request, encoded and in order, with more of them.
fn sorted(request: &Request, more: impl Iterator<Item = (String, String)>) -> String {
    let all = request.query.clone().into_iter().chain(more);
    let mut all: Vec<String> = all.map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value))).collect();
    all.sort();
    all.join("&")
}

/// The sync with words in it that a signature trips over.
fn with_query(project: &crate::support::Project) {
    let sync = "sync: items\nmodel: item\nrequest: { get: /items, query: { q: \"a b+c&d=é*~\", empty: \"\", list: [z, a] } }\n\
                response: { records: \"$.records[*]\" }\npagination: { page: { query: page, total_pages: $.pages } }\n\
                deletes: { absence: {} }\n";
    project.write("integrations/api/syncs/items.yaml", sync);
}

const OAUTH1: [(&str, &str); 4] = [
    ("consumer_key", "c-key"),
    ("consumer_secret", "c0nsumer secret&"),
    ("token", "t0ken-1"),
    ("token_secret", "t0ken+secret"),
];

fn oauth1(request: &Request, used: &std::sync::Mutex<Vec<String>>) -> Option<()> {
    let header = request.header("authorization")?.strip_prefix("OAuth ")?;
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for pair in header.split(", ") {
        let (name, value) = pair.split_once('=')?;
        said.insert(name.to_owned(), percent_decode_str(value.trim_matches('"')).decode_utf8().ok()?.into_owned());
    }
    let (signature, realm) = (said.remove("oauth_signature")?, said.remove("realm")?);
    let mut used = used.lock().expect("not poisoned");
    let nonce = said["oauth_nonce"].clone();
    let known = said["oauth_consumer_key"] == "c-key" && said["oauth_token"] == "t0ken-1" && realm == "the realm";
    if used.contains(&nonce) || !known || said["oauth_signature_method"] != "HMAC-SHA1" {
        return None;
    }
    used.push(nonce);
    let target = format!("http://{}{}", request.header("host")?, request.path);
    let base = format!("{}&{}&{}", request.method, encoded(&target), encoded(&sorted(request, said.into_iter())));
    let key = format!("{}&{}", encoded(OAUTH1[1].1), encoded(OAUTH1[3].1));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    hmac::verify(&key, base.as_bytes(), &STANDARD.decode(signature).ok()?).ok()
}

#[test]
fn requests_with_oauth1_are_signed_each_by_itself() {
    let used = std::sync::Mutex::new(Vec::new());
    let api = Api::start(move |request| match oauth1(request, &used) {
        Some(()) => page(request, 4),
        None => Reply::status(401, "{}"),
    });
    let names = OAUTH1.map(|(name, _)| name);
    let project = project(&api.url(), "oauth1: { signature: hmac_sha1, realm: the realm }", "", &names);
    with_query(&project);
    runs(&project, &OAUTH1, 4);
    api.asked();
    // nothing can be made anew: a refusal is one
    let mut other = OAUTH1;
    other[3].1 = "an0ther-secret";
    let error = fails(&project, &other, 3);
    assert_eq!((&error["code"], api.requests().len()), (&json!("http_status"), 1), "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("answered 401")), "{error}");
}

const AWS: [(&str, &str); 3] = [
    ("access_key_id", "AKIDEXAMPLE"),
    ("secret_access_key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    ("session_token", "s3ssion-token=="),
];

fn sigv4(request: &Request) -> Option<()> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let said = request.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")?;
    let (scope, rest) = said.split_once(", SignedHeaders=")?;
    let (names, signature) = rest.split_once(", Signature=")?;
    let at = request.header("x-amz-date")?;
    assert_eq!(scope, format!("{}/eu-central-1/execute-api/aws4_request", &at[..8]));
    if !["host", "x-amz-date", "x-amz-security-token"].iter().all(|name| names.split(';').any(|known| known == *name)) {
        return None;
    }
    let lines: Option<Vec<String>> =
        names.split(';').map(|name| Some(format!("{name}:{}\n", request.header(name)?.trim()))).collect();
    let body = hex(digest::digest(&digest::SHA256, request.body.as_bytes()).as_ref());
    // the query as it was sent: `+` would be a plus sign
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    assert!(!query.contains('+'), "{query}");
    let path = request.path.split('/').map(encoded).collect::<Vec<_>>().join("/");
    let query = sorted(request, std::iter::empty());
    let whole = format!("{}\n{path}\n{query}\n{}\n{names}\n{body}", request.method, lines?.concat());
    let text =
        format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(digest::digest(&digest::SHA256, whole.as_bytes()).as_ref()));
    let mut key = mac(format!("AWS4{}", AWS[1].1).as_bytes(), &at[..8]);
    for part in ["eu-central-1", "execute-api", "aws4_request"] {
        key = mac(key.as_ref(), part);
    }
    (hex(mac(key.as_ref(), &text).as_ref()) == signature).then_some(())
}

#[test]
fn requests_to_aws_are_signed_as_they_are_sent() {
    let api = Api::start(|request| match sigv4(request) {
        Some(()) => page(request, 3),
        None => Reply::status(403, "{\"message\":\"The request signature we calculated does not match\"}"),
    });
    let auth = "sigv4: { region: \"{{ config.region }}\", service: execute-api, session_token: \"{{ credentials.session_token }}\" }";
    let more = "config: { type: object, properties: { region: { type: string, default: eu-central-1 } } }\n";
    let project = project(&api.url(), auth, more, &AWS.map(|(name, _)| name));
    with_query(&project);
    runs(&project, &AWS, 3);
    api.asked();
    let mut other = AWS;
    other[1].1 = "an0ther-secret";
    let error = fails(&project, &other, 3);
    assert_eq!((&error["code"], api.requests().len()), (&json!("http_status"), 1), "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("answered 403")), "{error}");
}
