//! Makes tokens: one attempt each, nothing kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value as Json};
use url::Url;

use super::super::credentials::Credentials;
use super::super::draft::{Draft, render};
use super::super::network;
use super::super::random;
use super::super::redact::Redactor;
use super::super::request::HeaderValue;
use super::super::sign::{jwt, timed};
use super::super::sockets::{Leaving, NoRoute, Routes};
use super::super::token::{self, ClientParts, Grant, Granted, RefusedKind, Signing, TokenRequest};
use super::super::transport;
use super::proof;
use crate::plan::{
    Algorithm, ClientPlan, ConnectionPlan, JwtPlan, MadeAuth, Method, Path, RequestPlan, Template, TokenPlan,
    is_secret_name, limits,
};

/// A token that was made, by the names of credentials, and what came with it.
pub(in crate::remote) struct Made {
    pub token: BTreeMap<String, SecretString>,
    pub expires_at: Option<DateTime<Utc>>,
    /// settings that the API told
    pub save: Vec<(String, Json)>,
    /// the scopes that were granted, if the API says it
    pub scope: Option<String>,
}

/// Why there is no token. What servers say is masked in the texts; the error of a template may still quote a credential: redact it.
#[derive(Debug, Clone)]
pub(in crate::remote) enum Fault {
    /// only a person can help: the API has taken back what a token could be made of
    Revoked(String),
    /// it would fail the same way
    Refused(String),
    /// it may work later
    Transient(String),
    /// the person has not agreed yet (RFC 8628, 3.5); true = ask more slowly
    Pending(bool),
}

impl Fault {
    /// Where nobody has agreed to anything, nothing was taken back: what is refused are the credentials (RFC 7521, 4.1.1 has
    /// `invalid_grant` for an assertion too).
    fn of_credentials(self) -> Self {
        match self {
            Self::Revoked(reason) => Self::Refused(reason),
            Self::Refused(_) | Self::Transient(_) | Self::Pending(_) => self,
        }
    }

    /// The same without the secrets of the request that it answers.
    fn masked(self, redactor: &Redactor) -> Self {
        let masked = |reason: String| redactor.redact(&reason).into_owned();
        match self {
            Self::Revoked(reason) => Self::Revoked(masked(reason)),
            Self::Refused(reason) => Self::Refused(masked(reason)),
            Self::Transient(reason) => Self::Transient(masked(reason)),
            Self::Pending(_) => self,
        }
    }
}

/// What tokens are made with.
pub(in crate::remote) struct Maker<'a> {
    pub connection: &'a ConnectionPlan,
    pub routes: &'a Routes,
    pub credentials: &'a Credentials,
    pub now: DateTime<Utc>,
}

/// How long the token lasts that a GitHub App signs for itself; ten minutes are the most that GitHub takes.
const APP_TOKEN_LIFETIME: std::time::Duration = std::time::Duration::from_mins(9);

impl Maker<'_> {
    /// Makes the token of a way in that needs no person.
    pub async fn make(&self, plan: &MadeAuth) -> Result<Made, Fault> {
        match plan {
            MadeAuth::ClientCredentials { client, token, .. } => {
                let scopes = client.scopes.join(&client.scope_separator);
                self.grant(token, Some(client), &Grant::ClientCredentials { scopes })
                    .await
                    .map_err(Fault::of_credentials)
            }
            MadeAuth::JwtBearer { assertion, token, .. } => {
                let (assertion, _) = self.signed(assertion, true)?;
                self.grant(token, None, &Grant::JwtBearer { assertion }).await.map_err(Fault::of_credentials)
            }
            MadeAuth::Jwt { jwt, .. } => {
                let (token, expires_at) = self.signed(jwt, false)?;
                let token = BTreeMap::from([("access_token".to_owned(), token)]);
                Ok(Made { token, expires_at, save: Vec::new(), scope: None })
            }
            MadeAuth::GithubApp { app_id, installation_id, private_key, .. } => {
                self.installation(app_id, installation_id, private_key).await
            }
            MadeAuth::TokenRequest { requests, expires_in, .. } => {
                let mut made = BTreeMap::new();
                for (request, save) in requests {
                    self.log_in(request, save, &mut made).await?;
                }
                let expires_at = expires_in.map(|lasts| self.now + lasts);
                Ok(Made { token: made, expires_at, save: Vec::new(), scope: None })
            }
            MadeAuth::AuthorizationCode { .. } => Err(Fault::Revoked("nobody has agreed to it yet".to_owned())),
            MadeAuth::Oauth1 { .. } | MadeAuth::Sigv4 { .. } => Err(Fault::Refused("it has no token".to_owned())),
        }
    }

    /// Exchanges a refresh token (RFC 6749, 6).
    pub async fn refresh(
        &self,
        token: &TokenPlan,
        client: &ClientPlan,
        refresh_token: SecretString,
    ) -> Result<Made, Fault> {
        self.grant(token, Some(client), &Grant::RefreshToken { refresh_token }).await
    }

    /// Asks a token endpoint.
    pub async fn grant(&self, plan: &TokenPlan, client: Option<&ClientPlan>, grant: &Grant) -> Result<Made, Fault> {
        let variables = self.credentials.with_settings(self.connection);
        let parts = client.map(|client| ClientParts::new(client, plan.client_auth, &variables));
        let parts = parts.transpose().map_err(Fault::Refused)?;
        let signing = Signing { now: self.now, jti: &random::text::<16>() };
        let request =
            token::token_request(plan, parts.as_ref(), grant, &variables, &signing).map_err(Fault::Refused)?;
        let Answered { status, body, own, redactor } = self.send(request.into()).await?;
        match token::read(plan, status, &body, self.now, &redactor) {
            Ok(Granted { access_token, refresh_token, expires_at, scope, save }) => {
                // these are kept where everybody may read them
                let mut own = own.and(&Redactor::new(self.credentials.surely_secret()));
                for token in std::iter::once(&access_token).chain(&refresh_token) {
                    own.add(token.expose_secret());
                }
                let save = save.into_iter().map(|(name, value)| (name, own.redact_value(&value))).collect();
                let scope = scope.map(|scope| own.redact(&scope).into_owned());
                let mut token = BTreeMap::from([("access_token".to_owned(), access_token)]);
                token.extend(refresh_token.map(|token| ("refresh_token".to_owned(), token)));
                Ok(Made { token, expires_at, save, scope })
            }
            Err(refused) => Err(match refused.kind {
                RefusedKind::Revoked => Fault::Revoked(refused.text),
                RefusedKind::Misconfigured | RefusedKind::Unreadable => Fault::Refused(refused.text),
                RefusedKind::Transient => Fault::Transient(refused.text),
                RefusedKind::Pending => Fault::Pending(refused.error.as_deref() == Some("slow_down")),
            }),
        }
    }

    /// A token that is signed here, and when it ends. `jti` tells an assertion from every other (RFC 7519, 4.1.7).
    fn signed(&self, plan: &JwtPlan, has_id: bool) -> Result<(SecretString, Option<DateTime<Utc>>), Fault> {
        let variables = self.credentials.with_settings(self.connection);
        let JwtPlan { algorithm, key, header, claims, lifetime } = plan;
        let key = proof::render("jwt", key, &variables).map_err(Fault::Refused)?;
        let mut members = Vec::with_capacity(header.len());
        for (name, template) in header {
            members.push((name.clone(), proof::render("jwt", template, &variables).map_err(Fault::Refused)?));
        }
        let mut filled = Map::new();
        for (name, value) in claims {
            let value = render(value, &variables, "claims").map_err(|error| Fault::Refused(error.to_string()))?;
            filled.extend(value.map(|value| (name.clone(), value)));
        }
        let id = has_id.then(random::text::<16>);
        let claims = timed(filled, self.now, *lifetime, id.as_deref());
        let ends = claims.get("exp").and_then(Json::as_i64).and_then(|at| DateTime::from_timestamp(at, 0));
        Ok((jwt(*algorithm, &key, &members, &claims).map_err(Fault::Refused)?, ends))
    }

    /// The token of an installation of a GitHub App
    /// (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app>).
    async fn installation(&self, app_id: &Template, installation: &Template, key: &Template) -> Result<Made, Fault> {
        let variables = self.credentials.with_settings(self.connection);
        let text = |template| proof::render("github_app", template, &variables).map_err(Fault::Refused);
        let claims = Map::from_iter([("iss".to_owned(), Json::from(text(app_id)?))]);
        let claims = timed(claims, self.now, APP_TOKEN_LIFETIME, None);
        let own = jwt(Algorithm::Rs256, &text(key)?, &[], &claims).map_err(Fault::Refused)?;
        let mut url = self.connection.base_url.clone();
        let installation = text(installation)?;
        match url.path_segments_mut() {
            Ok(mut path) => drop(path.pop_if_empty().extend(["app", "installations", &installation, "access_tokens"])),
            Err(()) => return Err(Fault::Refused("the base URL takes no path".to_owned())),
        }
        let bearer = SecretString::from(format!("Bearer {}", own.expose_secret()));
        let headers = vec![
            ("accept".to_owned(), SecretString::from("application/vnd.github+json")),
            ("authorization".to_owned(), bearer),
        ];
        let request = Sent { method: Method::Post, url, headers, body: None, secrets: vec![own] };
        let answer = self.send(request).await?.json()?;
        let (token, ends) = (answer.get("token").and_then(Json::as_str), answer.get("expires_at"));
        let Some(token) = token else { return Err(Fault::Refused("the answer has no `token`".to_owned())) };
        let ends = ends.and_then(Json::as_str).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        // by a clock that is wrong it may be over: then it is good until the API refuses it
        let ends = ends.map(|at| at.to_utc()).filter(|at| *at > self.now);
        let token = BTreeMap::from([("access_token".to_owned(), SecretString::from(token))]);
        Ok(Made { token, expires_at: ends, save: Vec::new(), scope: None })
    }

    /// Sends one request of a log-in, and keeps what it answers among the credentials that the next one may name.
    async fn log_in(
        &self,
        plan: &RequestPlan,
        save: &[(String, Path)],
        made: &mut BTreeMap<String, SecretString>,
    ) -> Result<(), Fault> {
        let known = self.credentials.and(made);
        let (variables, redactor) = (known.with_settings(self.connection), Redactor::new(known.values()));
        let refused = |error: String| Fault::Refused(redactor.redact(&error).into_owned());
        let draft =
            Draft::new(&self.connection.base_url, plan, &variables).map_err(|error| refused(error.to_string()))?;
        let request = draft.finish(None);
        let mut url = request.url;
        for (name, secret) in &request.secret_query {
            if let Some(text) = secret.template.render(&variables).map_err(|error| refused(error.to_string()))? {
                url.query_pairs_mut().append_pair(name, &text);
            }
        }
        let mut headers = Vec::with_capacity(request.headers.len() + 1);
        for (name, value) in &request.headers {
            let text = match value {
                HeaderValue::Plain(text) => Some(text.clone()),
                HeaderValue::Secret(secret) => {
                    secret.template.render(&variables).map_err(|error| refused(error.to_string()))?
                }
            };
            headers.extend(text.map(|text| (name.clone(), SecretString::from(text))));
        }
        if let Some((kind, _)) = &request.body
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("content-type".to_owned(), SecretString::from(kind.clone())));
        }
        let body = request.body.map(|(_, body)| body);
        let secrets = made.values().cloned().collect();
        let answer = self.send(Sent { method: request.method, url, headers, body, secrets }).await?.json()?;
        for (name, path) in save {
            let text = match token::first(path, &answer) {
                Some(Json::String(text)) => text.clone(),
                Some(Json::Number(number)) => number.to_string(),
                Some(_) | None => {
                    return Err(Fault::Refused(format!("the answer of the log-in has no text at `{}`", path.text())));
                }
            };
            if text.len() > limits::TOKEN_BYTES_MAX {
                return Err(Fault::Refused(format!("what stands at `{}` is too long for a token", path.text())));
            }
            made.insert(name.clone(), text.into());
        }
        Ok(())
    }

    /// Sends a request without redirects and reads its answer, which is small.
    pub async fn send(&self, sent: Sent) -> Result<Answered, Fault> {
        let own = sent.redactor();
        let redactor = own.and(&Redactor::new(self.credentials.values()));
        let (status, body) = self.exchange(sent).await.map_err(|fault| fault.masked(&redactor))?;
        Ok(Answered { status, body, own, redactor })
    }

    async fn exchange(&self, sent: Sent) -> Result<(u16, Vec<u8>), Fault> {
        let Sent { method, url, headers, body, secrets: _ } = sent;
        let shown = format!("{} {}", method.as_str(), without_query(&url));
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            if let Some(refusal) = network::refusal(&error) {
                return Fault::Refused(format!("{shown}: {refusal}"));
            }
            let fault = transport::fault(&error);
            let waits = (self.connection.timeout_connect, self.connection.timeout_request);
            let reason = format!("{shown}: {}", transport::reason(fault, &error, &url, waits));
            if fault.is_temporary() { Fault::Transient(reason) } else { Fault::Refused(reason) }
        };
        let mut map = reqwest::header::HeaderMap::new();
        for (name, value) in &headers {
            let parsed = proof::header_name(name).map_err(Fault::Refused)?;
            map.insert(parsed, proof::secret_value(name, value.expose_secret()).map_err(Fault::Refused)?);
        }
        // where credentials are asked for, the certificate may be too (RFC 8705)
        let leaving = Leaving { method, url: &url, headers: map, body, for_token: true, lasts: None };
        let mut answer = self.routes.send(leaving, true).await.map_err(|none| match none {
            NoRoute::Refused(refusal) => Fault::Refused(format!("{shown}: {refusal}")),
            NoRoute::Broken(error) => Fault::Refused(format!("{shown}: {}", transport::in_words(&error.without_url()))),
            NoRoute::Failed(error) => failed(error),
            NoRoute::Unanswered => Fault::Refused(format!("{shown}: the script has no answer for it")),
        })?;
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > limits::TOKEN_ANSWER_BYTES_MAX {
                return Err(Fault::Refused(format!("{shown}: the answer is too large for that of a token endpoint")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((status, bytes))
    }
}

/// A request with its secrets.
pub(in crate::remote) struct Sent {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(String, SecretString)>,
    pub body: Option<Bytes>,
    /// what of it is secret by its part in the protocol, whatever the credentials are
    pub secrets: Vec<SecretString>,
}

/// What was answered.
pub(in crate::remote) struct Answered {
    status: u16,
    body: Vec<u8>,
    /// knows what is secret by its part in the protocol
    own: Redactor,
    /// knows the credentials too
    pub redactor: Redactor,
}

impl Sent {
    fn redactor(&self) -> Redactor {
        let mut redactor = Redactor::new(self.secrets.iter().map(ExposeSecret::expose_secret));
        for (_, value) in self.headers.iter().filter(|(name, _)| is_secret_name(name)) {
            let whole = value.expose_secret();
            for secret in std::iter::once(whole).chain(whole.split_once(' ').map(|(_, secret)| secret)) {
                redactor.add(secret);
            }
        }
        redactor
    }
}

impl From<TokenRequest> for Sent {
    fn from(TokenRequest { url, mut headers, content_type, body, secrets }: TokenRequest) -> Self {
        headers.extend(content_type.map(|kind| ("Content-Type".to_owned(), SecretString::from(kind))));
        let body = content_type.map(|_| Bytes::from(body.expose_secret().to_owned()));
        Self { method: Method::Post, url, headers, body, secrets }
    }
}

impl Answered {
    /// The answer of a log-in as JSON.
    pub fn json(&self) -> Result<Json, Fault> {
        let said = || token::shown(&self.redactor, &String::from_utf8_lossy(&self.body));
        match self.status {
            // it is not shown: it can be the token itself
            200..=299 => {
                serde_json::from_slice(&self.body).map_err(|_| Fault::Refused("the answer is no JSON".to_owned()))
            }
            status if token::is_temporary(status) => {
                Err(Fault::Transient(format!("the API answered {status}: {}", said())))
            }
            status => Err(Fault::Refused(format!("the API answered {status}: {}", said()))),
        }
    }
}

fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}
