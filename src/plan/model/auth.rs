use std::time::Duration;

use crate::plan::{Path, RequestPlan, Template, ValuePlan};

/// How a request proves who asks. The templates may name `credentials`.
#[derive(Debug, Clone)]
pub enum AuthPlan {
    /// nothing to prove
    None,
    /// a key in one place of the request
    ApiKey {
        /// header, query parameter or cookie
        place: KeyPlace,
        /// its value
        value: Template,
    },
    /// RFC 7617
    Basic {
        /// the user name
        username: Template,
        /// the password, may be empty
        password: Template,
    },
    /// RFC 6750
    Bearer {
        /// the token
        token: Template,
    },
    /// a proof that is made first, or anew for each request
    Made(Box<MadeAuth>),
}

impl AuthPlan {
    /// The proof that is made.
    pub fn made(&self) -> Option<&MadeAuth> {
        match self {
            Self::Made(made) => Some(made),
            Self::None | Self::ApiKey { .. } | Self::Basic { .. } | Self::Bearer { .. } => None,
        }
    }

    /// Whether a person must agree in the browser before there is a token.
    pub fn needs_a_person(&self) -> bool {
        matches!(self.made(), Some(MadeAuth::AuthorizationCode { .. }))
    }
}

/// Where an API key goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// a header of this name
    Header(String),
    /// a query parameter of this name
    Query(String),
    /// a cookie of this name
    Cookie(String),
}

/// A proof that is made first, or anew for each request.
#[derive(Debug, Clone)]
pub enum MadeAuth {
    /// OAuth 2.0, RFC 6749 section 4.1
    AuthorizationCode {
        /// where the person is sent
        authorize_url: Template,
        /// more parameters of that URL
        authorize_params: Vec<(String, Template)>,
        /// where a code for another device is asked for (RFC 8628)
        device_url: Option<Template>,
        /// RFC 7636
        pkce: Pkce,
        /// who the application is
        client: ClientPlan,
        /// where the token comes from
        token: TokenPlan,
        /// where it goes
        send: SendPlan,
    },
    /// OAuth 2.0, RFC 6749 section 4.4
    ClientCredentials {
        /// who the application is
        client: ClientPlan,
        /// where the token comes from
        token: TokenPlan,
        /// where it goes
        send: SendPlan,
    },
    /// RFC 7523
    JwtBearer {
        /// the assertion
        assertion: JwtPlan,
        /// where it is exchanged
        token: TokenPlan,
        /// where the token goes
        send: SendPlan,
    },
    /// RFC 7519
    Jwt {
        /// the token
        jwt: JwtPlan,
        /// where it goes
        send: SendPlan,
    },
    /// an installation of a GitHub App
    GithubApp {
        /// the app's id
        app_id: Template,
        /// the installation's id
        installation_id: Template,
        /// the app's private key
        private_key: Template,
        /// where the token goes
        send: SendPlan,
    },
    /// requests that log in
    TokenRequest {
        /// one after the other, with what is kept as `credentials.<name>`
        requests: Vec<(RequestPlan, Vec<(String, Path)>)>,
        /// how long what they give lasts; none = until a 401
        expires_in: Option<Duration>,
        /// where the token goes
        send: SendPlan,
    },
    /// RFC 5849
    Oauth1 {
        /// the application's key
        consumer_key: Template,
        /// the application's secret
        consumer_secret: Template,
        /// the account's token
        token: Template,
        /// the account's token secret
        token_secret: Template,
        /// how requests are signed
        signature: Signature,
        /// the `realm` of the header
        realm: Option<Template>,
    },
    /// AWS Signature Version 4
    Sigv4 {
        /// the access key's id
        access_key_id: Template,
        /// the secret access key
        secret_access_key: Template,
        /// for temporary credentials
        session_token: Option<Template>,
        /// the region
        region: Template,
        /// the service
        service: String,
    },
}

impl MadeAuth {
    /// The token endpoint, where there is one.
    pub fn token(&self) -> Option<&TokenPlan> {
        match self {
            Self::AuthorizationCode { token, .. }
            | Self::ClientCredentials { token, .. }
            | Self::JwtBearer { token, .. } => Some(token),
            Self::Jwt { .. }
            | Self::GithubApp { .. }
            | Self::TokenRequest { .. }
            | Self::Oauth1 { .. }
            | Self::Sigv4 { .. } => None,
        }
    }

    /// Whether there is a token, and not a signature of each request.
    pub fn has_token(&self) -> bool {
        self.send().is_some()
    }

    /// Where the token goes, if there is one.
    pub fn send(&self) -> Option<&SendPlan> {
        match self {
            Self::AuthorizationCode { send, .. }
            | Self::ClientCredentials { send, .. }
            | Self::JwtBearer { send, .. }
            | Self::Jwt { send, .. }
            | Self::GithubApp { send, .. }
            | Self::TokenRequest { send, .. } => Some(send),
            Self::Oauth1 { .. } | Self::Sigv4 { .. } => None,
        }
    }
}

/// Who an application is, and what it asks for.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// its id
    pub id: Template,
    /// its secret
    pub secret: Template,
    /// what it asks for besides the scopes of the syncs
    pub scopes: Vec<String>,
    /// what stands between two scopes
    pub scope_separator: String,
}

/// RFC 7636.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pkce {
    /// by a hash
    S256,
    /// by the text itself
    Plain,
    /// not at all
    None,
}

/// A request for a token and how its answer is read.
#[derive(Debug, Clone)]
pub struct TokenPlan {
    /// the token endpoint
    pub url: Template,
    /// where a token is refreshed
    pub refresh_url: Template,
    /// more parameters
    pub params: Vec<(String, Template)>,
    /// more headers
    pub headers: Vec<(String, Template)>,
    /// how the parameters are sent
    pub body: TokenBody,
    /// how the application proves who it is
    pub client_auth: ClientAuth,
    /// where the token stands in the answer
    pub access_token: Path,
    /// where the refresh token stands
    pub refresh_token: Path,
    /// where the seconds until its end stand
    pub expires_in: Path,
    /// where the time of its end stands
    pub expires_at: Option<Path>,
    /// how long it lasts where the answer does not say it
    pub lasts: Option<Duration>,
    /// values that are kept as settings
    pub save: Vec<(String, Path)>,
}

/// How the parameters of a token request are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenBody {
    /// a form
    Form,
    /// JSON
    Json,
    /// query parameters
    Query,
}

/// How an application proves who it is at a token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// among the parameters
    Body,
    /// RFC 7617
    Basic,
    /// RFC 7523 section 2.2
    PrivateKeyJwt,
    /// not at all: a public client says its id
    None,
}

/// A token that is signed here.
#[derive(Debug, Clone)]
pub struct JwtPlan {
    /// how it is signed
    pub algorithm: Algorithm,
    /// the key in PEM, or the secret
    pub key: Template,
    /// more members of the header
    pub header: Vec<(String, Template)>,
    /// the claims
    pub claims: Vec<(String, ValuePlan)>,
    /// from `iat` to `exp`
    pub lifetime: Duration,
}

/// A signature algorithm (RFC 7518).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256
    Rs256,
    /// ECDSA on P-256 with SHA-256
    Es256,
    /// HMAC with SHA-256
    Hs256,
}

/// How requests of OAuth 1.0a are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// HMAC-SHA256
    HmacSha256,
    /// HMAC-SHA1
    HmacSha1,
    /// the secrets themselves
    Plaintext,
}

/// Where a token goes.
#[derive(Debug, Clone)]
pub struct SendPlan {
    /// the place
    pub place: KeyPlace,
    /// what is sent; names `credentials.access_token`
    pub value: Template,
}
