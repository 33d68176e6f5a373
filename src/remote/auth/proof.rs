//! What goes into a request to prove who asks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::Value;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::super::redact::MASK;
use super::signer::Signer;
use crate::plan::{AuthPlan, KeyPlace, MadeAuth, SendPlan, Template};

/// The proof, ready to be put into a request.
#[derive(Debug)]
pub(in crate::remote) enum Proof {
    /// nothing to prove
    None,
    /// a whole header; its value is marked sensitive
    Header(HeaderName, HeaderValue),
    /// a query parameter
    Query(String, SecretString),
    /// one cookie
    Cookie(String, SecretString),
    /// a signature over the request itself
    Signed(Box<Signer>),
}

impl Proof {
    /// Renders the templates of `plan`. Basic follows RFC 7617 with UTF-8, bearer RFC 6750, 2.1.
    ///
    /// # Errors
    /// A template without a value, or a value that its place cannot hold; above all one with control characters, which could
    /// start another header. The text may quote a secret: redact it.
    pub fn new(plan: &AuthPlan, variables: &Value) -> Result<Self, String> {
        match plan {
            AuthPlan::None => Ok(Self::None),
            AuthPlan::ApiKey { place, value } => Self::in_place("api_key", place, value, variables),
            AuthPlan::Basic { username, password } => {
                let username = render("basic", username, variables)?;
                let password = render("basic", password, variables)?;
                if username.contains(':') {
                    return Err("auth `basic`: a user name cannot hold `:` (RFC 7617)".to_owned());
                }
                for (what, text) in [("user name", &username), ("password", &password)] {
                    if let Some(fault) = control_character(text) {
                        return Err(format!("auth `basic`: the {what} {fault}"));
                    }
                }
                let pair = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
                Ok(Self::Header(AUTHORIZATION, secret_value("authorization", &pair)?))
            }
            AuthPlan::Bearer { token } => {
                let token = render("bearer", token, variables)?;
                if token.is_empty() {
                    return Err("auth `bearer`: the token is empty".to_owned());
                }
                if let Some(fault) = control_character(&token) {
                    return Err(format!("auth `bearer`: the token {fault}"));
                }
                if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(
                        "auth `bearer`: a token has neither spaces nor letters outside ASCII; give it without the \
                                word `Bearer`"
                            .to_owned(),
                    );
                }
                Ok(Self::Header(AUTHORIZATION, secret_value("authorization", &format!("Bearer {token}"))?))
            }
            AuthPlan::Made(made) => match made.send() {
                Some(SendPlan { place, value }) => Self::in_place("send", place, value, variables),
                None => Ok(Self::Signed(Box::new(Signer::new(made, variables)?))),
            },
        }
    }

    fn in_place(kind: &str, place: &KeyPlace, value: &Template, variables: &Value) -> Result<Self, String> {
        let key = render(kind, value, variables)?;
        if key.is_empty() {
            return Err(format!("auth `{kind}`: the key is empty"));
        }
        match place {
            KeyPlace::Header(name) => Ok(Self::Header(header_name(name)?, secret_value(name, &key)?)),
            KeyPlace::Query(name) => Ok(Self::Query(name.clone(), key.into())),
            KeyPlace::Cookie(name) => cookie(name, key),
        }
    }

    /// The proof that a token will be put into, before there is one: its place is known, and nothing of it is ever sent.
    pub fn to_come(made: &MadeAuth) -> Self {
        match made.send().map(|send| &send.place) {
            None => Self::None,
            Some(KeyPlace::Header(name)) => {
                header_name(name).map_or(Self::None, |name| Self::Header(name, HeaderValue::from_static(MASK)))
            }
            Some(KeyPlace::Query(name)) => Self::Query(name.clone(), MASK.into()),
            Some(KeyPlace::Cookie(name)) => Self::Cookie(name.clone(), MASK.into()),
        }
    }

    /// The query parameter that carries the proof.
    pub fn query(&self) -> Option<(&str, &SecretString)> {
        match self {
            Self::Query(name, key) => Some((name, key)),
            Self::None | Self::Header(..) | Self::Cookie(..) | Self::Signed(_) => None,
        }
    }

    /// Puts the proof into the headers, in place of what the request says itself; a cookie joins the request's own.
    pub fn apply(&self, headers: &mut HeaderMap) -> Result<(), String> {
        match self {
            Self::None | Self::Query(..) | Self::Signed(_) => {}
            Self::Header(name, value) => {
                headers.insert(name.clone(), value.clone());
            }
            Self::Cookie(name, key) => {
                let mut cookies = format!("{name}={}", key.expose_secret()).into_bytes();
                if let Some(own) = headers.get(COOKIE) {
                    cookies.extend_from_slice(b"; ");
                    cookies.extend_from_slice(own.as_bytes());
                }
                let mut value = HeaderValue::from_bytes(&cookies).map_err(|_| unfit("cookie"))?;
                value.set_sensitive(true);
                headers.insert(COOKIE, value);
            }
        }
        Ok(())
    }

    /// The header of the proof with its secret masked, for people.
    pub fn masked_header(&self) -> Option<(String, String)> {
        match self {
            Self::None | Self::Query(..) => None,
            Self::Header(name, _) => Some((name.as_str().to_owned(), MASK.to_owned())),
            Self::Signed(_) => Some(("authorization".to_owned(), MASK.to_owned())),
            Self::Cookie(name, _) => Some(("cookie".to_owned(), format!("{name}={MASK}"))),
        }
    }

    /// What must not be printed: the whole value, behind a scheme (`Basic …`) its second word, the password in that, and the keys of a
    /// signature.
    pub fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::None => Vec::new(),
            Self::Signed(signer) => signer.secrets(),
            Self::Header(_, value) => {
                let whole = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
                let second = whole.split_once(' ').map(|(_, secret)| secret);
                let pair = whole.strip_prefix("Basic ").and_then(|pair| STANDARD.decode(pair).ok());
                let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
                let password = pair.as_ref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
                std::iter::once(whole).chain(second).chain(password).map(SecretString::from).collect()
            }
            Self::Query(_, key) | Self::Cookie(_, key) => vec![key.clone()],
        }
    }
}

/// A header's value as bytes, marked sensitive. Text outside ASCII is sent as UTF-8.
///
/// # Errors
/// A control character (RFC 9110, 5.5). The text does not quote the value.
pub(in crate::remote) fn secret_value(name: &str, text: &str) -> Result<HeaderValue, String> {
    let mut value = plain_value(name, text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// As [`secret_value`], for a value that may be printed.
pub(in crate::remote) fn plain_value(name: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| match control_character(text) {
        Some(fault) => format!("the value of header `{}` {fault}", name.escape_default()),
        None => unfit(name),
    })
}

/// A header's name.
///
/// # Errors
/// It is no token (RFC 9110, 5.6.2), or a header that belongs to the connection and not to the request.
pub(in crate::remote) fn header_name(name: &str) -> Result<HeaderName, String> {
    let parsed: HeaderName =
        name.parse().map_err(|_| format!("`{}` is not the name of a header", name.escape_default()))?;
    match parsed.as_str() {
        "connection" | "content-length" | "host" | "te" | "trailer" | "transfer-encoding" | "upgrade" => {
            Err(format!("header `{parsed}` is set by headwater itself"))
        }
        _ => Ok(parsed),
    }
}

fn cookie(name: &str, key: String) -> Result<Proof, String> {
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"=;,\"".contains(&byte));
    if !is_token {
        return Err(format!("auth `api_key`: `{}` is not the name of a cookie", name.escape_default()));
    }
    if let Some(fault) = control_character(&key) {
        return Err(format!("auth `api_key`: the value of cookie `{name}` {fault}"));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
        return Err(format!("auth `api_key`: the value of cookie `{name}` has a space, `;` or a letter outside ASCII"));
    }
    Ok(Proof::Cookie(name.to_owned(), key.into()))
}

pub(super) fn render(kind: &str, template: &Template, variables: &Value) -> Result<String, String> {
    match template.render(variables) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!("auth `{kind}`: `{}` has no value", template.text())),
        Err(error) => Err(format!("auth `{kind}`: {error}")),
    }
}

fn control_character(text: &str) -> Option<&'static str> {
    if text.ends_with(['\r', '\n']) {
        Some("ends with a line break, which cannot be sent; was it read from a file?")
    } else if text.contains(['\r', '\n']) {
        Some("has a line break in it, which cannot be sent")
    } else if text.contains(|c: char| c.is_ascii_control()) {
        Some("has a control character in it, which cannot be sent")
    } else {
        None
    }
}

fn unfit(name: &str) -> String {
    format!("the value of header `{name}` cannot be sent")
}
