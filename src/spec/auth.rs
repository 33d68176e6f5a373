use schemars::JsonSchema;
use serde::Deserialize;

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
}

/// A key in one place of the request: name exactly one of `header`, `query` and `cookie`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySpec {
    /// The header's name.
    pub header: Option<String>,
    /// The query parameter's name.
    pub query: Option<String>,
    /// The cookie's name.
    pub cookie: Option<String>,
    /// What is sent (default `{{ credentials.api_key }}`).
    pub value: Option<String>,
}

/// User name and password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicSpec {
    /// Default `{{ credentials.username }}`.
    pub username: Option<String>,
    /// Default `{{ credentials.password }}`.
    pub password: Option<String>,
}

/// A bearer token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BearerSpec {
    /// Default `{{ credentials.token }}`.
    pub token: Option<String>,
}
