use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RequestSpec;
use super::expression::{DurationText, PathText, TemplateText, TemplatedValue};

/// How a request proves who asks: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthSpec {
    /// Nothing to prove.
    None {},
    /// A key in a header, a query parameter or a cookie.
    ApiKey(ApiKeySpec),
    /// User name and password (RFC 7617).
    Basic(BasicSpec),
    /// A token in `Authorization: Bearer …` (RFC 6750).
    Bearer(BearerSpec),
    /// A person agrees in the browser (OAuth 2.0, RFC 6749 section 4.1), with state and PKCE.
    AuthorizationCode(AuthorizationCodeSpec),
    /// The application itself gets a token (OAuth 2.0, RFC 6749 section 4.4).
    ClientCredentials(ClientCredentialsSpec),
    /// A signed assertion is exchanged for a token (RFC 7523), as service accounts do.
    JwtBearer(JwtBearerSpec),
    /// Each request carries a token that is signed here (RFC 7519).
    Jwt(JwtSpec),
    /// An installation of a GitHub App.
    GithubApp(GithubAppSpec),
    /// One or more requests log in, and what they answer is kept.
    TokenRequest(TokenRequestSpec),
    /// Signed requests (OAuth 1.0a, RFC 5849).
    Oauth1(Oauth1Spec),
    /// AWS Signature Version 4.
    Sigv4(Sigv4Spec),
}

/// A key in one place of the request: name exactly one of `header`, `query` and `cookie`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["header", "query", "cookie"]]))]
pub struct ApiKeySpec {
    /// The header's name.
    pub header: Option<String>,
    /// The query parameter's name.
    pub query: Option<String>,
    /// The cookie's name.
    pub cookie: Option<String>,
    /// What is sent. Where it stands under `send`, it is `{{ credentials.access_token }}` by default.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.api_key }}"))]
    pub value: Option<String>,
}

/// User name and password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicSpec {
    /// The user name.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.username }}"))]
    pub username: Option<String>,
    /// The password; may be empty.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.password }}"))]
    pub password: Option<String>,
}

/// A bearer token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BearerSpec {
    /// The token.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.token }}"))]
    pub token: Option<String>,
}

/// A person agrees in the browser. The token is refreshed before it ends; a refresh token that the API replaces is kept before it is used.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationCodeSpec {
    /// Where the person is sent to agree.
    #[schemars(with = "TemplateText")]
    pub authorize_url: String,
    /// More query parameters of that URL: `{ access_type: offline }`.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplateText>")]
    pub authorize_params: IndexMap<String, String>,
    /// The scopes that are asked for besides those of the syncs that run.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What stands between two scopes.
    #[schemars(extend("default" = " "))]
    pub scope_separator: Option<String>,
    /// How the code is bound to who asked for it (RFC 7636).
    #[serde(default)]
    pub pkce: PkceSpec,
    /// The application's id.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.client_id }}"))]
    pub client_id: Option<String>,
    /// The application's secret.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.client_secret }}"))]
    pub client_secret: Option<String>,
    /// Where the code is exchanged for a token, and where a token is refreshed.
    pub token: TokenSpec,
    /// Where the token goes.
    #[schemars(extend("default" = {"header": "Authorization", "value": "Bearer {{ credentials.access_token }}"}))]
    pub send: Option<ApiKeySpec>,
}

/// How an authorization code is bound to who asked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PkceSpec {
    /// By the SHA-256 of a random text.
    #[default]
    S256,
    /// By the random text itself.
    Plain,
    /// Not at all: the API does not know PKCE.
    None,
}

/// The application itself gets a token, and a new one before it ends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentialsSpec {
    /// The scopes that are asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What stands between two scopes.
    #[schemars(extend("default" = " "))]
    pub scope_separator: Option<String>,
    /// The application's id.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.client_id }}"))]
    pub client_id: Option<String>,
    /// The application's secret.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.client_secret }}"))]
    pub client_secret: Option<String>,
    /// Where the token comes from.
    pub token: TokenSpec,
    /// Where the token goes.
    #[schemars(extend("default" = {"header": "Authorization", "value": "Bearer {{ credentials.access_token }}"}))]
    pub send: Option<ApiKeySpec>,
}

/// A request for a token and how its answer is read (RFC 6749 section 5.1).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    /// The token endpoint.
    #[schemars(with = "TemplateText")]
    pub url: String,
    /// Where a token is refreshed, if that is another endpoint.
    #[schemars(with = "Option<TemplateText>")]
    pub refresh_url: Option<String>,
    /// More parameters of the request: `{ audience: https://api.example.com }`.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplateText>")]
    pub params: IndexMap<String, String>,
    /// More headers of the request.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplateText>")]
    pub headers: IndexMap<String, String>,
    /// How the parameters are sent.
    #[serde(default)]
    pub body: TokenBodySpec,
    /// How the application proves who it is.
    #[serde(default)]
    pub client_auth: ClientAuthSpec,
    /// Where the answer has the token and what belongs to it.
    #[serde(default)]
    pub paths: TokenPathsSpec,
    /// How long a token lasts where the answer does not say it.
    #[schemars(with = "Option<DurationText>")]
    pub expires_in: Option<String>,
    /// Values of the answer that are kept as settings: `{ instance_url: $.instance_url }` is `config.instance_url` from then on.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, PathText>")]
    pub save: IndexMap<String, String>,
}

/// How the parameters of a token request are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenBodySpec {
    /// `application/x-www-form-urlencoded`.
    #[default]
    Form,
    /// `application/json`.
    Json,
    /// As query parameters.
    Query,
}

/// How an application proves who it is at a token endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthSpec {
    /// `client_id` and `client_secret` among the parameters.
    #[default]
    Body,
    /// `client_id` and `client_secret` in the `Authorization` header (RFC 7617).
    Basic,
    /// By an assertion signed with `credentials.private_key` (RFC 7523 section 2.2).
    PrivateKeyJwt,
    /// Not at all: it has no secret and says only its `client_id` (a public client, RFC 6749 section 2.1).
    None,
}

/// Where the answer of a token endpoint has the token and what belongs to it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPathsSpec {
    /// The token.
    #[schemars(with = "Option<PathText>", extend("default" = "$.access_token"))]
    pub access_token: Option<String>,
    /// The refresh token, with which a new token is got. Not every API gives one.
    #[schemars(with = "Option<PathText>", extend("default" = "$.refresh_token"))]
    pub refresh_token: Option<String>,
    /// In how many seconds the token ends.
    #[schemars(with = "Option<PathText>", extend("default" = "$.expires_in"))]
    pub expires_in: Option<String>,
    /// When the token ends: RFC 3339, or seconds or milliseconds since 1970.
    #[schemars(with = "Option<PathText>")]
    pub expires_at: Option<String>,
}

/// A signature algorithm (RFC 7518).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum AlgorithmSpec {
    /// RSA with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// HMAC with SHA-256.
    HS256,
}

/// A signed assertion is exchanged for a token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtBearerSpec {
    /// The signature algorithm.
    pub algorithm: AlgorithmSpec,
    /// The key in PEM, or the secret for HS256.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.private_key }}"))]
    pub key: Option<String>,
    /// More members of the header: `{ kid: "{{ credentials.key_id }}" }`.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplateText>")]
    pub header: IndexMap<String, String>,
    /// The claims of the assertion; `iat`, `exp` and `jti` are added.
    #[schemars(with = "IndexMap<String, TemplatedValue>")]
    pub claims: IndexMap<String, Value>,
    /// How long an assertion lasts.
    #[schemars(with = "Option<DurationText>", extend("default" = "5m"))]
    pub lifetime: Option<String>,
    /// Where the assertion is exchanged.
    pub token: TokenSpec,
    /// Where the token goes.
    #[schemars(extend("default" = {"header": "Authorization", "value": "Bearer {{ credentials.access_token }}"}))]
    pub send: Option<ApiKeySpec>,
}

/// Each request carries a token that is signed here.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtSpec {
    /// The signature algorithm.
    pub algorithm: AlgorithmSpec,
    /// The key in PEM, or the secret for HS256.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.private_key }}"))]
    pub key: Option<String>,
    /// More members of the header: `{ kid: "{{ credentials.key_id }}" }`.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplateText>")]
    pub header: IndexMap<String, String>,
    /// The claims of the token; `iat` and `exp` are added.
    #[schemars(with = "IndexMap<String, TemplatedValue>")]
    pub claims: IndexMap<String, Value>,
    /// How long a token lasts.
    #[schemars(with = "Option<DurationText>", extend("default" = "5m"))]
    pub lifetime: Option<String>,
    /// Where the token goes.
    #[schemars(extend("default" = {"header": "Authorization", "value": "Bearer {{ credentials.access_token }}"}))]
    pub send: Option<ApiKeySpec>,
}

/// An installation of a GitHub App: the app signs a token of its own, gets that of the installation for it, and sends this one as
/// `Authorization: Bearer …`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GithubAppSpec {
    /// The app's id.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.app_id }}"))]
    pub app_id: Option<String>,
    /// The installation's id.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.installation_id }}"))]
    pub installation_id: Option<String>,
    /// The app's private key, PEM.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.private_key }}"))]
    pub private_key: Option<String>,
}

/// One or more requests log in, one after the other; what they answer is sent along with every other request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequestSpec {
    /// The requests. What one saves, the next ones and `send` name as `credentials.<name>`.
    #[schemars(length(min = 1))]
    pub requests: Vec<LoginSpec>,
    /// How long a login lasts; without it until the API answers 401.
    #[schemars(with = "Option<DurationText>")]
    pub expires_in: Option<String>,
    /// Where the token goes.
    #[schemars(extend("default" = {"header": "Authorization", "value": "Bearer {{ credentials.access_token }}"}))]
    pub send: Option<ApiKeySpec>,
}

/// A request that logs in, and what is kept of its answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginSpec {
    /// The request; may name `credentials` everywhere.
    pub request: RequestSpec,
    /// What is kept as a secret, by name: `{ access_token: $.session.token }`.
    #[schemars(with = "IndexMap<String, PathText>", extend("minProperties" = 1))]
    pub save: IndexMap<String, String>,
}

/// Each request is signed (OAuth 1.0a, RFC 5849).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth1Spec {
    /// The application's key.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.consumer_key }}"))]
    pub consumer_key: Option<String>,
    /// The application's secret.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.consumer_secret }}"))]
    pub consumer_secret: Option<String>,
    /// The account's token.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.token }}"))]
    pub token: Option<String>,
    /// The account's token secret.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.token_secret }}"))]
    pub token_secret: Option<String>,
    /// How requests are signed.
    #[serde(default)]
    pub signature: SignatureSpec,
    /// The `realm` in the `Authorization` header.
    #[schemars(with = "Option<TemplateText>")]
    pub realm: Option<String>,
}

/// How requests of OAuth 1.0a are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureSpec {
    /// HMAC-SHA256.
    #[default]
    HmacSha256,
    /// HMAC-SHA1.
    HmacSha1,
    /// The secrets themselves, over TLS.
    Plaintext,
}

/// Each request is signed as AWS asks for it (Signature Version 4).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sigv4Spec {
    /// The access key's id.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.access_key_id }}"))]
    pub access_key_id: Option<String>,
    /// The secret access key.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.secret_access_key }}"))]
    pub secret_access_key: Option<String>,
    /// The token of the session, for credentials that are temporary: `{{ credentials.session_token }}`.
    #[schemars(with = "Option<TemplateText>")]
    pub session_token: Option<String>,
    /// The region: `eu-central-1`.
    #[schemars(with = "TemplateText")]
    pub region: String,
    /// The service: `execute-api`.
    pub service: String,
}
