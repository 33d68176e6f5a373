//! Token requests (RFC 6749, section 4), whole and with their secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use minijinja::Value as Variables;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use super::super::sign::{fitting_algorithm, jwt, timed};
use crate::plan::{ClientAuth, ClientPlan, Template, TokenBody, TokenPlan, is_secret_name, limits, percent_encoded};

/// A POST to a token endpoint. It has secrets everywhere, even in its URL, and so is not printable.
pub(crate) struct TokenRequest {
    /// the token endpoint, with the parameters where they are sent as a query
    pub url: Url,
    /// headers, without `Content-Type`; no name stands twice
    pub headers: Vec<(String, SecretString)>,
    /// of the body; none where the parameters are in the query
    pub content_type: Option<&'static str>,
    /// empty where the parameters are in the query
    pub body: SecretString,
    /// what of it is secret by its part in the protocol, whatever the credentials are
    pub secrets: Vec<SecretString>,
}

/// Who the application is. Not printable.
pub(crate) struct ClientParts {
    /// its id
    pub id: String,
    /// its secret; empty for an application that has none
    pub secret: SecretString,
}

impl ClientParts {
    /// Renders the words of a plan. The secret is looked at only where `client_auth` sends it.
    ///
    /// # Errors
    /// There is no id, or a template fails. The text may quote a secret: redact it.
    pub fn new(plan: &ClientPlan, client_auth: ClientAuth, variables: &Variables) -> Result<Self, String> {
        let id = text(&plan.id, variables)?.filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| format!("`client_id`: `{}` has no value", plan.id.text()))?;
        let secret = match client_auth {
            ClientAuth::Body | ClientAuth::Basic => text(&plan.secret, variables)?.unwrap_or_default(),
            ClientAuth::PrivateKeyJwt | ClientAuth::None => String::new(),
        };
        Ok(Self { id, secret: secret.into() })
    }
}

/// What a token is asked for with. Not printable.
pub(crate) enum Grant {
    /// RFC 6749, 4.4.2
    ClientCredentials {
        /// joined as the API wants them; may be empty
        scopes: String,
    },
    /// RFC 6749, 6
    RefreshToken {
        /// the refresh token
        refresh_token: SecretString,
    },
    /// RFC 6749, 4.1.3
    AuthorizationCode {
        /// what the person brought
        code: SecretString,
        /// where the person was sent back to
        redirect_uri: String,
        /// RFC 7636, 4.5
        verifier: Option<SecretString>,
    },
    /// RFC 7523, 2.1
    JwtBearer {
        /// the signed assertion
        assertion: SecretString,
    },
    /// RFC 8628, 3.4
    DeviceCode {
        /// the code of the device
        device_code: SecretString,
    },
}

impl Grant {
    fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::ClientCredentials { .. } => Vec::new(),
            Self::RefreshToken { refresh_token } => vec![refresh_token.clone()],
            Self::AuthorizationCode { code, verifier, .. } => std::iter::once(code).chain(verifier).cloned().collect(),
            Self::JwtBearer { assertion } => vec![assertion.clone()],
            Self::DeviceCode { device_code } => vec![device_code.clone()],
        }
    }
}

/// What an assertion of the application is made with, where `client_auth` is `private_key_jwt`.
pub(crate) struct Signing<'a> {
    /// the time
    pub now: DateTime<Utc>,
    /// a text that no other assertion has
    pub jti: &'a str,
}

/// The request that asks for a token. `variables` are `config`, `connection` and `credentials`; `client` is none for a way in that
/// has no application.
///
/// Parameters and headers of the plan come along with every grant. One that the request has itself must be the same; only `Accept`
/// is the plan's.
///
/// # Errors
/// A template without a value or one that fails, a URL that is none, a key that cannot sign, or a parameter given twice. The text may
/// quote a secret: redact it.
pub(crate) fn token_request(
    plan: &TokenPlan,
    client: Option<&ClientParts>,
    grant: &Grant,
    variables: &Variables,
    at: &Signing<'_>,
) -> Result<TokenRequest, String> {
    let mut url = endpoint(plan, grant, variables)?;
    let mut parameters = Vec::new();
    let mut own = |name: &str, value: &str| parameters.push((name.to_owned(), Value::from(value)));
    grant_parameters(grant, &mut own);
    let mut secrets = grant.secrets();
    let mut headers: Vec<(String, SecretString)> = vec![("Accept".to_owned(), "application/json".into())];
    if let Some(client) = client {
        prove((plan.client_auth, client), &url, variables, at, &mut own, (&mut headers, &mut secrets))?;
    }
    for (name, template) in &plan.params {
        let value = match plan.body {
            TokenBody::Json => template.value(variables).map_err(|error| format!("`{name}`: {error}"))?,
            TokenBody::Form | TokenBody::Query => {
                template.render(variables).map_err(|error| format!("`{name}`: {error}"))?.map(Value::from)
            }
        };
        if let Some(value) = value {
            secrets.extend(value.as_str().filter(|_| is_secret_name(name)).map(SecretString::from));
            add(&mut parameters, name, value)?;
        }
    }
    for (name, template) in &plan.headers {
        if let Some(value) = text(template, variables)? {
            add_header(&mut headers, name, value.into())?;
        }
    }
    let (content_type, body) = match plan.body {
        TokenBody::Form => (Some("application/x-www-form-urlencoded"), form(&parameters)),
        TokenBody::Json => {
            let members: Map<String, Value> = parameters.into_iter().collect();
            (Some("application/json"), Value::Object(members).to_string())
        }
        TokenBody::Query => {
            let query = [url.query().unwrap_or_default(), &form(&parameters)].join("&");
            url.set_query(Some(query.trim_start_matches('&')));
            (None, String::new())
        }
    };
    Ok(TokenRequest { url, headers, content_type, body: body.into(), secrets })
}

/// The request that asks for the code of a device (RFC 8628, 3.1), at `url`. The application proves who it is as at the token endpoint.
///
/// # Errors
/// A template without a value or one that fails, a URL that is none, or a key that cannot sign. The text may quote a secret: redact it.
pub(crate) fn device_request(
    plan: &TokenPlan,
    url: &Template,
    client: &ClientParts,
    scope: &str,
    variables: &Variables,
    at: &Signing<'_>,
) -> Result<TokenRequest, String> {
    let mut parameters = Vec::new();
    let mut own = |name: &str, value: &str| parameters.push((name.to_owned(), Value::from(value)));
    let mut headers = vec![("Accept".to_owned(), SecretString::from("application/json"))];
    // an assertion is for the token endpoint, wherever it is shown (RFC 7523, 3)
    let token_url = web_address(&plan.url, variables)?;
    let mut secrets = Vec::new();
    prove((plan.client_auth, client), &token_url, variables, at, &mut own, (&mut headers, &mut secrets))?;
    if plan.client_auth == ClientAuth::Basic {
        // many want it here, even where the header has it too
        own("client_id", &client.id);
    }
    if !scope.is_empty() {
        own("scope", scope);
    }
    let url = web_address(url, variables).map_err(|error| format!("`device_url`: {error}"))?;
    let (content_type, body) = (Some("application/x-www-form-urlencoded"), form(&parameters).into());
    Ok(TokenRequest { url, headers, content_type, body, secrets })
}

/// Adds what proves who the application is (RFC 6749, 2.3). `audience` is whom an assertion is for.
fn prove(
    (client_auth, client): (ClientAuth, &ClientParts),
    audience: &Url,
    variables: &Variables,
    at: &Signing<'_>,
    own: &mut impl FnMut(&str, &str),
    (headers, secrets): (&mut Vec<(String, SecretString)>, &mut Vec<SecretString>),
) -> Result<(), String> {
    secrets.push(client.secret.clone());
    match client_auth {
        ClientAuth::None => own("client_id", &client.id),
        ClientAuth::Body => {
            own("client_id", &client.id);
            // RFC 6749, 2.3.1: left out if it is empty
            if !client.secret.expose_secret().is_empty() {
                own("client_secret", client.secret.expose_secret());
            }
        }
        ClientAuth::Basic => headers.push(("Authorization".to_owned(), basic(client))),
        ClientAuth::PrivateKeyJwt => {
            own("client_id", &client.id);
            own("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            let assertion = assertion(client, audience, variables, at)?;
            own("client_assertion", assertion.expose_secret());
            secrets.push(assertion);
        }
    }
    Ok(())
}

fn endpoint(plan: &TokenPlan, grant: &Grant, variables: &Variables) -> Result<Url, String> {
    let template = match grant {
        Grant::RefreshToken { .. } => &plan.refresh_url,
        Grant::ClientCredentials { .. }
        | Grant::AuthorizationCode { .. }
        | Grant::JwtBearer { .. }
        | Grant::DeviceCode { .. } => &plan.url,
    };
    web_address(template, variables)
}

/// A rendered URL of the web, without its fragment (RFC 6749, 3.1 and 3.2).
///
/// # Errors
/// It has no value, is no URL of http or https, or holds a user name or password.
pub(super) fn web_address(template: &Template, variables: &Variables) -> Result<Url, String> {
    let text = text(template, variables)?.ok_or_else(|| format!("`{}` has no value", template.text()))?;
    let mut url = Url::parse(&text).map_err(|error| format!("`{}` gives no URL: {error}", template.text()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}:` is neither `http:` nor `https:`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL holds a user name or password".to_owned());
    }
    url.set_fragment(None);
    Ok(url)
}

fn grant_parameters(grant: &Grant, own: &mut impl FnMut(&str, &str)) {
    match grant {
        Grant::ClientCredentials { scopes } => {
            own("grant_type", "client_credentials");
            if !scopes.is_empty() {
                own("scope", scopes);
            }
        }
        Grant::RefreshToken { refresh_token } => {
            own("grant_type", "refresh_token");
            own("refresh_token", refresh_token.expose_secret());
        }
        Grant::AuthorizationCode { code, redirect_uri, verifier } => {
            own("grant_type", "authorization_code");
            own("code", code.expose_secret());
            own("redirect_uri", redirect_uri);
            if let Some(verifier) = verifier {
                own("code_verifier", verifier.expose_secret());
            }
        }
        Grant::JwtBearer { assertion } => {
            own("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
            own("assertion", assertion.expose_secret());
        }
        Grant::DeviceCode { device_code } => {
            own("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
            own("device_code", device_code.expose_secret());
        }
    }
}

/// RFC 6749, 2.3.1: both are form-encoded before they are joined. Nothing is encoded that need not be, for servers that do not
/// decode it.
fn basic(client: &ClientParts) -> SecretString {
    let pair = format!("{}:{}", percent_encoded(&client.id), percent_encoded(client.secret.expose_secret()));
    format!("Basic {}", STANDARD.encode(pair)).into()
}

/// RFC 7523, 2.2 and 3.
fn assertion(client: &ClientParts, url: &Url, variables: &Variables, at: &Signing<'_>) -> Result<SecretString, String> {
    let credentials = variables.get_attr("credentials").unwrap_or_default();
    let key = credentials.get_attr("private_key").unwrap_or_default();
    let key = key.as_str().ok_or("`client_auth: private_key_jwt` needs the credential `private_key`")?;
    let claims = json!({ "iss": client.id, "sub": client.id, "aud": url.as_str() });
    let Value::Object(claims) = claims else { return Err("the claims are no map".to_owned()) };
    let claims = timed(claims, at.now, limits::CLIENT_ASSERTION_LASTS, Some(at.jti));
    jwt(fitting_algorithm(key)?, key, &[], &claims).map_err(|error| format!("`private_key`: {error}"))
}

/// Adds a parameter of the plan.
///
/// # Errors
/// It is there with another value.
pub(super) fn add(parameters: &mut Vec<(String, Value)>, name: &str, value: Value) -> Result<(), String> {
    match parameters.iter().find(|(known, _)| known == name) {
        None => parameters.push((name.to_owned(), value)),
        Some((_, known)) if *known == value => {}
        Some(_) => return Err(format!("the parameter `{name}` is set by headwater itself, to something else")),
    }
    Ok(())
}

fn add_header(headers: &mut Vec<(String, SecretString)>, name: &str, value: SecretString) -> Result<(), String> {
    match headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        Some((known, accept)) if known == "Accept" => *accept = value,
        Some(_) => return Err(format!("the header `{name}` is set by headwater itself (`client_auth: basic`)")),
        None if name.eq_ignore_ascii_case("content-type") => {
            return Err(format!("the header `{name}` is set by headwater itself (`body`)"));
        }
        None => headers.push((name.to_owned(), value)),
    }
    Ok(())
}

pub(super) fn form(parameters: &[(String, Value)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        match value {
            Value::String(text) => form.append_pair(name, text),
            other => form.append_pair(name, &other.to_string()),
        };
    }
    form.finish()
}

pub(super) fn text(template: &Template, variables: &Variables) -> Result<Option<String>, String> {
    template.render(variables).map_err(|error| format!("`{}`: {error}", template.text()))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
