//! From a request without secrets to what goes over the wire, and back to what may be shown of it.

use std::borrow::Cow;
use std::sync::Arc;

use minijinja::context;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Origin, Url, form_urlencoded};

use super::access::Access;
use super::auth::{Keys, Proof, Session, header_name, plain_value, secret_value};
use super::error::Error;
use super::redact::{MASK, Redactor};
use super::request::{HeaderValue, Request, Secret};
use super::sockets::Routes;
use crate::plan::ConnectionPlan;

/// What a connection adds to its requests, and whom it trusts with it.
pub(super) struct Identity {
    connection: String,
    /// base URL first
    trusted: Vec<Url>,
    session: Session,
}

/// One request with everything in it. Not printable.
pub(super) struct Outgoing {
    pub url: Url,
    pub headers: HeaderMap,
    /// knows the secrets of this request too
    pub redactor: Redactor,
}

impl Identity {
    /// What `connection` adds, with what it needs to get in; `routes` are what tokens are asked for over.
    ///
    /// # Errors
    /// [`Error::Connection`] when the auth templates yield nothing that can be sent, or the URLs are no HTTP URLs.
    pub fn new(connection: &Arc<ConnectionPlan>, access: Access, routes: Arc<Routes>) -> Result<Self, Error> {
        let redactor = Redactor::new(access.credentials.values());
        let fail = |reason: &str, hint: Option<&str>, redactor: &Redactor| Error::Connection {
            connection: connection.name.clone(),
            reason: redactor.redact(reason).into_owned(),
            hint: hint.map(str::to_owned),
        };
        let mut trusted = vec![connection.base_url.clone()];
        for text in &connection.trusted_origins {
            let origin = Url::parse(text).map_err(|error| {
                fail(
                    &format!("`{text}` in `trusted_origins` is no URL: {error}"),
                    Some("write it like `https://files.example.com`"),
                    &redactor,
                )
            })?;
            trusted.push(origin);
        }
        for url in &trusted {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(fail(&format!("`{}:` is neither `http:` nor `https:`", url.scheme()), None, &redactor));
            }
            if !url.username().is_empty() || url.password().is_some() {
                let hint = Some("take it out of the URL and use `auth: { basic: … }`");
                return Err(fail("a URL holds a user name or password", hint, &redactor));
            }
        }
        let session = Session::new(Arc::clone(connection), access, routes)?;
        Ok(Self { connection: connection.name.clone(), trusted, session })
    }

    /// Where the keys come from.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Text without any of the secrets.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.session.redact(text)
    }

    /// Whether this origin may see credentials.
    pub fn trusts(&self, url: &Url) -> bool {
        self.trusted.iter().any(|trusted| is_same_origin(trusted, url))
    }

    /// Whether there are secrets that go to a server without TLS which is not on this machine.
    pub fn sends_secrets_in_clear(&self) -> bool {
        let keys = self.session.current();
        let has_secrets = !matches!(keys.proof, Proof::None) || !keys.credentials.is_empty();
        has_secrets && self.trusted.iter().any(|url| url.scheme() == "http" && !is_loopback(url))
    }

    /// Fills in the secrets for a request to `url` (the request's own, or where it was redirected).
    pub fn fill_in(&self, request: &Request, url: &Url, keys: &Keys) -> Result<Outgoing, Error> {
        let fail = |reason: String, redactor: &Redactor| Error::Request {
            request: self.masked(request, url),
            reason: redactor.redact(&reason).into_owned(),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fail(format!("`{}:` is neither `http:` nor `https:`", url.scheme()), &keys.redactor));
        }
        let is_trusted = self.trusts(url);
        let mut redactor = Cow::Borrowed(&keys.redactor);
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let parsed = header_name(name).map_err(|reason| fail(reason, &redactor))?;
            if !is_trusted && is_credential(name, value) {
                continue;
            }
            let value = match value {
                HeaderValue::Plain(text) => {
                    if is_credential(name, value) {
                        self.session.learn(text);
                        redactor.to_mut().add(text);
                    }
                    Some(plain_value(name, text))
                }
                HeaderValue::Secret(secret) => self
                    .render(name, secret, keys, &mut redactor)
                    .map_err(|reason| fail(reason, &redactor))?
                    .map(|text| secret_value(name, text.expose_secret())),
            };
            if let Some(value) = value {
                headers.insert(parsed, value.map_err(|reason| fail(reason, &redactor))?);
            }
        }
        if let Some((content_type, _)) = &request.body
            && !headers.contains_key(CONTENT_TYPE)
        {
            headers.insert(
                CONTENT_TYPE,
                plain_value("content-type", content_type).map_err(|reason| fail(reason, &redactor))?,
            );
        }
        let mut url = without_userinfo(url);
        if is_trusted {
            keys.proof.apply(&mut headers).map_err(|reason| fail(reason, &redactor))?;
            for (name, secret) in &request.secret_query {
                if let Some(text) =
                    self.render(name, secret, keys, &mut redactor).map_err(|reason| fail(reason, &redactor))?
                {
                    set_query(&mut url, name, text.expose_secret());
                }
            }
            if let Some((name, key)) = keys.proof.query() {
                set_query(&mut url, name, key.expose_secret());
            }
            if let Proof::Signed(signer) = &keys.proof {
                let body = request.body.as_ref().map_or(&[][..], |(_, body)| body);
                let signed = signer.sign(request.method.as_str(), &mut url, &mut headers, body, self.session.now());
                signed.map_err(|reason| fail(reason, &redactor))?;
            }
        }
        Ok(Outgoing { url, headers, redactor: redactor.into_owned() })
    }

    /// `GET https://…?a=1&key=***`, as it would be sent to `url`.
    pub fn masked(&self, request: &Request, url: &Url) -> String {
        let mut url = without_userinfo(url);
        url.set_fragment(None);
        if self.trusts(&url) {
            for name in self.secret_names(request) {
                set_query(&mut url, &name, MASK);
            }
        }
        self.redact(&format!("{} {url}", request.method.as_str())).into_owned()
    }

    /// The headers as they would be sent, secrets masked.
    pub fn masked_headers(&self, request: &Request) -> Vec<(String, String)> {
        let is_trusted = self.trusts(&request.url);
        let own = self.session.current().proof.masked_header().filter(|_| is_trusted);
        let is_replaced = |name: &str| own.as_ref().is_some_and(|(proof, _)| proof.eq_ignore_ascii_case(name));
        let mut shown = Vec::with_capacity(request.headers.len() + 2);
        for (name, value) in &request.headers {
            let is_secret = is_credential(name, value);
            if is_replaced(name) || (is_secret && !is_trusted) {
                continue;
            }
            let text = match value {
                HeaderValue::Plain(text) if !is_secret => self.redact(text).into_owned(),
                HeaderValue::Plain(_) | HeaderValue::Secret(_) => MASK.to_owned(),
            };
            shown.push((name.to_ascii_lowercase(), text));
        }
        if let Some((content_type, _)) = &request.body
            && !shown.iter().any(|(name, _)| name == "content-type")
        {
            shown.push(("content-type".to_owned(), content_type.clone()));
        }
        shown.extend(own);
        shown
    }

    /// The URL without the query parameters that carry secrets.
    pub fn without_secret_parameters(&self, request: &Request, url: &Url) -> Url {
        let mut clean = without_userinfo(url);
        for name in self.secret_names(request) {
            if clean.query_pairs().any(|(known, _)| *known == name) {
                remove_query(&mut clean, &name);
            }
        }
        clean
    }

    /// The same, and without any secret elsewhere in it.
    pub fn without_secrets(&self, request: &Request, url: &Url) -> Url {
        let mut clean = self.without_secret_parameters(request, url);
        if let Cow::Owned(redacted) = self.redact(clean.as_str()) {
            clean = Url::parse(&redacted).unwrap_or_else(|_| {
                clean.set_query(None);
                clean.set_path("/");
                clean
            });
        }
        clean
    }

    fn secret_names(&self, request: &Request) -> Vec<String> {
        let own = self.session.current().proof.query().map(|(name, _)| name.to_owned());
        request.secret_query.iter().map(|(name, _)| name.clone()).chain(own).collect()
    }

    fn render(
        &self,
        name: &str,
        secret: &Secret,
        keys: &Keys,
        redactor: &mut Cow<'_, Redactor>,
    ) -> Result<Option<SecretString>, String> {
        let named = secret.template.variables().iter().filter_map(|name| name.strip_prefix("credentials."));
        for credential in named {
            if !keys.credentials.has(credential) {
                return Err(format!("`{}`: there is no credential `{credential}`", name.escape_default()));
            }
        }
        let variables = context! { credentials => keys.credentials.variable(), ..secret.variables.clone() };
        let text =
            secret.template.render(&variables).map_err(|error| format!("`{}`: {error}", name.escape_default()))?;
        if let Some(text) = &text {
            self.session.learn(text);
            redactor.to_mut().add(text);
        }
        Ok(text.map(SecretString::from))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.connection)
    }
}

/// Scheme, host and port are the same (RFC 6454).
pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    matches!(one.origin(), Origin::Tuple(..)) && one.origin() == other.origin()
}

/// Whether the host is this machine, by its name or address.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Headers that prove who asks are secrets even where the YAML has them as plain text.
fn is_credential(name: &str, value: &HeaderValue) -> bool {
    matches!(value, HeaderValue::Secret(_))
        || ["authorization", "cookie", "proxy-authorization"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// A user name in a URL would turn into an `Authorization` header that nobody asked for.
fn without_userinfo(url: &Url) -> Url {
    let mut url = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // fails only for URLs that cannot have a user name, which then have none
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    url
}

/// Sets one parameter; the others keep their order and their spelling, byte for byte.
fn set_query(url: &mut Url, name: &str, value: &str) {
    remove_query(url, name);
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}={}", encode(name), encode(value));
    let query = match url.query() {
        Some(kept) if !kept.is_empty() => format!("{kept}&{pair}"),
        _ => pair,
    };
    url.set_query(Some(&query));
}

fn remove_query(url: &mut Url, name: &str) {
    let Some(query) = url.query() else { return };
    let is_other = |pair: &&str| form_urlencoded::parse(pair.as_bytes()).all(|(known, _)| known != name);
    let kept = query.split('&').filter(is_other).collect::<Vec<_>>().join("&");
    url.set_query(Some(&kept).filter(|kept| !kept.is_empty()).map(String::as_str));
}
