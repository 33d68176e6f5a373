use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

use crate::plan::{ActionPlan, AuthPlan, ErrorRule, Path, RequestPlan, SyncPlan, Template, WebhooksPlan, limits};

/// A whole project, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// the DuckDB file
    pub database: PathBuf,
    /// the copy for tools that want a file that never blocks
    pub publish: Option<PublishPlan>,
    /// every sync of every connection, in the order of the files
    pub syncs: Vec<Arc<SyncPlan>>,
    /// every action of every connection
    pub actions: Vec<Arc<ActionPlan>>,
    /// who is told what happened
    pub notify: Vec<NotifyPlan>,
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
    /// how a request proves who asks
    pub auth: AuthPlan,
    /// secret name to where its value comes from
    pub credentials: BTreeMap<String, CredentialSource>,
    /// the connection's settings
    pub config: serde_json::Value,
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

/// Where one credential comes from. Its value is read by `remote`, never by the plan.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// `${NAME}`: an environment variable
    Environment(String),
    /// written into the YAML (`check` warns)
    Literal(secrecy::SecretString),
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
