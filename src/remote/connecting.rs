//! Getting in for the first time: a token that a person agrees to, or one that the credentials are enough for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::access::Access;
use super::auth::{Fault, Made, Maker};
use super::client::routes;
use super::error::Error;
use super::random;
use super::redact::Redactor;
use super::sockets::{Routes, Sockets};
use super::token::{self, Authorize, ClientParts, Grant, Signing};
use crate::plan::{ConnectionPlan, MadeAuth, Pkce, limits};

/// A connection that is being connected.
pub struct Connecting {
    connection: Arc<ConnectionPlan>,
    access: Access,
    routes: Routes,
}

/// What a person is sent to the API with, and what the answer is checked against. Not printable: the verifier is a secret.
pub struct Authorization {
    /// where the person agrees
    pub url: Url,
    state: String,
    verifier: Option<SecretString>,
    redirect_uri: String,
}

/// What a person enters on another device (RFC 8628, 3.2).
pub struct Device {
    /// where
    pub url: String,
    /// what
    pub user_code: String,
    /// the same with the code in it, if the API gives it
    pub complete_url: Option<String>,
    device_code: SecretString,
    every: Duration,
    ends_at: DateTime<Utc>,
}

/// A token as it is to be kept.
pub struct NewToken {
    /// by the names of credentials
    pub token: BTreeMap<String, SecretString>,
    /// when it ends
    pub expires_at: Option<DateTime<Utc>>,
    /// settings that the API told with it
    pub facts: Vec<(String, Value)>,
    /// the scopes that were granted, if the API says it
    pub scopes: Option<Vec<String>>,
}

impl From<Made> for NewToken {
    fn from(Made { token, expires_at, save, scope }: Made) -> Self {
        let scopes =
            scope.map(|scope| scope.split([' ', ',']).filter(|one| !one.is_empty()).map(str::to_owned).collect());
        Self { token, expires_at, facts: save, scopes }
    }
}

impl Connecting {
    /// A connection with what it needs to get in. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Connection`] when TLS cannot be set up.
    pub fn new(connection: Arc<ConnectionPlan>, access: Access) -> Result<Self, Error> {
        let routes = routes(&connection, &access.credentials, &mut Sockets::default())?;
        Ok(Self { connection, access, routes })
    }

    /// The token of a way in that needs no person; none where there is no token to keep, or where what comes with it is all that counts.
    ///
    /// # Errors
    /// The API gives none.
    pub async fn token(&self) -> Result<Option<NewToken>, Error> {
        match self.connection.auth.made().filter(|made| made.has_token()) {
            None | Some(MadeAuth::AuthorizationCode { .. }) => Ok(None),
            Some(made) => Ok(Some(self.maker().make(made).await.map_err(|fault| self.error(fault))?.into())),
        }
    }

    /// Whether a person must agree.
    pub fn needs_a_person(&self) -> bool {
        self.connection.auth.needs_a_person()
    }

    /// Whether a person can agree on another device.
    pub fn has_device_code(&self) -> bool {
        matches!(self.connection.auth.made(), Some(MadeAuth::AuthorizationCode { device_url: Some(_), .. }))
    }

    /// Where a person is sent to agree, who then comes back to `redirect_uri` (RFC 6749, 4.1.1; RFC 7636).
    ///
    /// # Errors
    /// The way in has no such place, or a template of it has no value.
    pub fn authorize(&self, redirect_uri: &str) -> Result<Authorization, Error> {
        let Some(MadeAuth::AuthorizationCode { authorize_url, authorize_params, pkce, client, token, .. }) =
            self.connection.auth.made()
        else {
            return Err(self.no_person());
        };
        let variables = self.access.credentials.with_settings(&self.connection);
        let parts = ClientParts::new(client, token.client_auth, &variables);
        let parts = parts.map_err(|reason| self.error(Fault::Refused(reason)))?;
        // 43 characters, the least that RFC 7636 (4.1) takes: 256 random bits
        let (state, verifier) = (random::text::<32>(), random::text::<32>());
        let ask = Authorize {
            client_id: &parts.id,
            redirect_uri,
            scope: &self.connection.scopes.join(&client.scope_separator),
            state: &state,
            pkce: *pkce,
            verifier: &verifier,
        };
        let url = token::authorize_url(authorize_url, authorize_params, &ask, &variables);
        let url = url.map_err(|reason| self.error(Fault::Refused(reason)))?;
        let verifier = (*pkce != Pkce::None).then(|| SecretString::from(verifier));
        Ok(Authorization { url, state, verifier, redirect_uri: redirect_uri.to_owned() })
    }

    /// Exchanges what the person came back with for a token (RFC 6749, 4.1.3).
    ///
    /// # Errors
    /// It is not the answer to `authorization`, the person said no, or the API gives no token.
    pub async fn exchange(&self, authorization: Authorization, redirected: &Url) -> Result<NewToken, Error> {
        let Authorization { url: _, state, verifier, redirect_uri } = authorization;
        let mut redactor = Redactor::new(self.access.credentials.values());
        for (_, code) in redirected.query_pairs().filter(|(name, _)| name == "code") {
            redactor.add(&code);
        }
        let code = token::redirected(redirected, &state, &redactor);
        let code = code.map_err(|reason| self.error(Fault::Refused(reason)))?;
        self.grant(&Grant::AuthorizationCode { code, redirect_uri, verifier }).await.map_err(|fault| self.error(fault))
    }

    /// Asks for a code that the person enters on another device (RFC 8628, 3.1).
    ///
    /// # Errors
    /// The provider names no `device_url`, or the API gives no code.
    pub async fn device(&self) -> Result<Device, Error> {
        let Some(MadeAuth::AuthorizationCode { device_url: Some(url), client, token, .. }) =
            self.connection.auth.made()
        else {
            return Err(self.no_person());
        };
        let asked = async {
            let variables = self.access.credentials.with_settings(&self.connection);
            let parts = ClientParts::new(client, token.client_auth, &variables).map_err(Fault::Refused)?;
            let scope = self.connection.scopes.join(&client.scope_separator);
            let signing = Signing { now: (self.access.clock)(), jti: &random::text::<16>() };
            let request = token::device_request(token, url, &parts, &scope, &variables, &signing);
            let answered = self.maker().send(request.map_err(Fault::Refused)?.into()).await?;
            let answer = answered.json()?;
            let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
            let seconds = |name: &str, default| answer.get(name).and_then(Value::as_u64).unwrap_or(default);
            let lacks = |name: &str| Fault::Refused(format!("the answer has no `{name}`"));
            let device_code = text("device_code").ok_or_else(|| lacks("device_code"))?;
            let mut redactor = answered.redactor;
            redactor.add(&device_code);
            let told = |name: &str| text(name).map(|text| token::shown(&redactor, &text));
            let ends = Duration::from_secs(seconds("expires_in", 600)).min(limits::CONNECT_WAIT_MAX);
            Ok(Device {
                url: told("verification_uri")
                    .or_else(|| told("verification_url"))
                    .ok_or_else(|| lacks("verification_uri"))?,
                user_code: told("user_code").ok_or_else(|| lacks("user_code"))?,
                complete_url: told("verification_uri_complete"),
                device_code: device_code.into(),
                every: Duration::from_secs(seconds("interval", 5).clamp(1, 60)),
                ends_at: (self.access.clock)() + ends,
            })
        };
        asked.await.map_err(|fault| self.error(fault))
    }

    /// Asks until the person has agreed on the other device, or the code has ended (RFC 8628, 3.4 and 3.5).
    ///
    /// # Errors
    /// The person said no or took too long, or the API gives no token.
    pub async fn agreed(&self, device: Device) -> Result<NewToken, Error> {
        let mut every = device.every;
        loop {
            tokio::time::sleep(every).await;
            let grant = Grant::DeviceCode { device_code: device.device_code.clone() };
            match self.grant(&grant).await {
                Ok(token) => return Ok(token),
                Err(Fault::Pending(slower)) => every += Duration::from_secs(if slower { 5 } else { 0 }),
                // RFC 8628, 3.5: after a time-out, more slowly
                Err(Fault::Transient(_)) => every = (every * 2).min(Duration::from_secs(60)),
                Err(fault) => return Err(self.error(fault)),
            }
            if (self.access.clock)() >= device.ends_at {
                return Err(self.error(Fault::Refused("the code has ended before anybody agreed".to_owned())));
            }
        }
    }

    async fn grant(&self, grant: &Grant) -> Result<NewToken, Fault> {
        let Some(MadeAuth::AuthorizationCode { token, client, .. }) = self.connection.auth.made() else {
            return Err(Fault::Refused(NO_PERSON.to_owned()));
        };
        Ok(self.maker().grant(token, Some(client), grant).await?.into())
    }

    fn maker(&self) -> Maker<'_> {
        let Access { credentials, clock, .. } = &self.access;
        Maker { connection: &self.connection, routes: &self.routes, credentials, now: clock() }
    }

    fn no_person(&self) -> Error {
        self.error(Fault::Refused(NO_PERSON.to_owned()))
    }

    fn error(&self, fault: Fault) -> Error {
        let redactor = Redactor::new(self.access.credentials.values());
        let (reason, temporary) = match fault {
            Fault::Revoked(reason) | Fault::Refused(reason) => (reason, false),
            Fault::Transient(reason) => (reason, true),
            Fault::Pending(_) => ("nobody has agreed to it yet".to_owned(), true),
        };
        let reason = redactor.redact(&reason).into_owned();
        Error::Token { connection: self.connection.name.clone(), reason, temporary }
    }
}

const NO_PERSON: &str = "this way in asks no person";
