use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

use crate::plan::{ActionPlan, AuthPlan, ErrorRule, Path, RequestPlan, SyncPlan, Template, WebhooksPlan, limits};

/// A whole project, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// where the project's files are
    pub folder: PathBuf,
    /// the DuckDB file
    pub database: PathBuf,
    /// the copy for tools that want a file that never blocks
    pub publish: Option<PublishPlan>,
    /// the accounts, in the order of the files
    pub connections: Vec<Arc<ConnectionPlan>>,
    /// every sync of every connection, in the order of the files
    pub syncs: Vec<Arc<SyncPlan>>,
    /// every action of every connection
    pub actions: Vec<Arc<ActionPlan>>,
    /// what each sync of each connection takes as input, those too that have no variant
    pub inputs: Vec<InputPlan>,
    /// who is told what happened
    pub notify: Arc<[NotifyPlan]>,
    /// who may ask the daemon over HTTP
    pub api_keys: Vec<ApiKeyPlan>,
}

/// What a sync of a connection takes as input.
#[derive(Debug, Clone)]
pub struct InputPlan {
    /// the connection's name
    pub connection: String,
    /// the provider's
    pub provider: String,
    /// the sync's
    pub sync: String,
    /// JSON Schema of the input
    pub schema: Option<serde_json::Value>,
}

/// `publish:` of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPlan {
    /// where the copy goes
    pub path: PathBuf,
    /// how often at most during a run; `None` = after each run
    pub every: Option<Duration>,
}

/// One account at one API.
#[derive(Debug, Clone)]
pub struct ConnectionPlan {
    /// its name in `headwater.yaml`
    pub name: String,
    /// the provider's name
    pub provider: String,
    /// where the API is, without a trailing slash
    pub base_url: Url,
    /// origins besides the base URL's that may get credentials (`https://files.example.com`)
    pub trusted_origins: Vec<String>,
    /// which of the provider's ways in, by its name there; none = the provider has none
    pub auth_name: Option<String>,
    /// whether a person wrote scheme, host and port of the base URL: then that origin may be asked wherever it is
    pub base_url_is_literal: bool,
    /// where other requests may go
    pub network: NetworkPlan,
    /// how a request proves who asks
    pub auth: AuthPlan,
    /// what is asked for when a person agrees: the scopes of the way in, and those of the syncs that run
    pub scopes: Vec<String>,
    /// secret name to where its value comes from
    pub credentials: BTreeMap<String, CredentialSource>,
    /// the connection's settings, and the facts that the API told when it was connected
    pub config: serde_json::Value,
    /// the facts among them that the API has not told yet: nothing can run before
    pub unknown: Vec<String>,
    /// the API's budget
    pub rate_limit: RatePlan,
    /// what is tried again, and how
    pub retry: RetryPlan,
    /// time to connect
    pub timeout_connect: Duration,
    /// time for one request, body included
    pub timeout_request: Duration,
    /// what an answer means that is not what was asked for; the first that fits decides
    pub errors: Vec<ErrorRule>,
    /// a request that proves that the credentials work
    pub verify: Option<RequestPlan>,
    /// what is asked right after connecting
    pub on_connect: Vec<LearnPlan>,
    /// how notifications are received
    pub webhooks: Option<WebhooksPlan>,
    /// mutual TLS
    pub tls: Option<TlsPlan>,
}

/// Where requests may go whose origin no person wrote out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkPlan {
    /// without TLS
    pub allow_http: bool,
    /// to addresses that are not public
    pub allow_private: bool,
    /// a GET follows redirects to other origins, without credentials
    pub follow_redirects: bool,
}

/// Where one credential comes from. Its value is read by `remote`, never by the plan.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// `${NAME}`: an environment variable
    Environment(String),
    /// written into the YAML (`check` warns)
    Literal(secrecy::SecretString),
    /// kept in the credential store by `headwater connect`
    Kept,
}

/// What `headwater connect` has kept of the connections, by their names, as far as it is no secret.
#[derive(Debug, Clone, Default)]
pub struct Known(pub BTreeMap<String, KnownConnection>);

/// What is kept of one connection.
#[derive(Debug, Clone, Default)]
pub struct KnownConnection {
    /// the provider it was made for
    pub provider: String,
    /// what the API told, by the names of settings
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// the names of the secrets that are kept
    pub credentials: BTreeSet<String>,
}

/// The API's budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatePlan {
    /// all hold at once
    pub quotas: Vec<Quota>,
    /// requests in flight at once, 1 or more
    pub concurrency: usize,
    /// where the API tells what is left
    pub headers: Option<RateHeaders>,
    /// the longest that a run waits for it, or because the server asks
    pub wait_max: Duration,
}

impl RatePlan {
    /// The budget of a provider that says nothing of one.
    pub const DEFAULT: Self =
        Self { quotas: Vec::new(), concurrency: 4, headers: None, wait_max: limits::RETRY_AFTER_MAX };
}

/// At most `requests` in any stretch of `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// 1 or more
    pub requests: u32,
    /// more than zero
    pub per: Duration,
}

/// What is tried again, and how. Only requests that are safe to repeat are (GET, HEAD and the reads of a sync).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPlan {
    /// attempts in all, 1 or more
    pub attempts: u32,
    /// HTTP statuses that are tried again
    pub statuses: Vec<u16>,
    /// the first wait is up to this long
    pub backoff_base: Duration,
    /// no wait is longer, unless `Retry-After` says so
    pub backoff_max: Duration,
}

/// Headers in which an API tells what is left of its budget, by their lowercase names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateHeaders {
    /// requests that are left
    pub remaining: Option<String>,
    /// requests of the whole stretch
    pub limit: Option<String>,
    /// when the stretch ends
    pub reset: Option<(String, ResetKind)>,
}

/// What a reset header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetKind {
    /// seconds since 1970
    EpochS,
    /// milliseconds since 1970
    EpochMs,
    /// seconds from now
    Seconds,
    /// milliseconds from now
    Milliseconds,
    /// RFC 3339
    Rfc3339,
    /// RFC 9110, 5.6.7
    HttpDate,
}

/// A request right after connecting, and what is kept of its answer as settings.
#[derive(Debug, Clone)]
pub struct LearnPlan {
    /// the request
    pub request: RequestPlan,
    /// name in `config`, and where the value stands in the answer
    pub save: Vec<(String, Path)>,
}

/// Mutual TLS. The templates may name `credentials`.
#[derive(Debug, Clone)]
pub struct TlsPlan {
    /// the client's certificate, PEM
    pub client_certificate: Template,
    /// its private key, PEM; none = it stands beside the certificate
    pub client_key: Option<Template>,
    /// a certificate authority to trust besides the usual ones, PEM
    pub authority: Option<Template>,
}

/// Who is told what happened.
#[derive(Debug, Clone)]
pub struct NotifyPlan {
    /// its name in tables and messages: the host and a hash, because a path or a query can be a secret
    pub name: String,
    /// where the message is sent
    pub url: Url,
    /// what messages are signed with
    pub secret: Option<CredentialSource>,
    /// rows were changed
    pub changed: bool,
    /// a run failed
    pub failed: bool,
    /// a person must connect again
    pub needs_reconnect: bool,
}

/// Who may ask the daemon over HTTP.
#[derive(Debug, Clone)]
pub struct ApiKeyPlan {
    /// its name in `headwater.yaml`
    pub name: String,
    /// the key itself
    pub key: CredentialSource,
    /// what may be done with it
    pub scopes: Vec<ApiScope>,
}

/// What may be done with a key of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiScope {
    /// read rows
    Records,
    /// see how syncs, runs and connections are
    Syncs,
    /// run, pause, resume, cancel and reset syncs, prune tables
    Control,
    /// call actions
    Actions,
    /// ask the database in SQL
    Query,
}

impl ApiScope {
    /// The word of the language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Syncs => "syncs",
            Self::Control => "control",
            Self::Actions => "actions",
            Self::Query => "query",
        }
    }
}
