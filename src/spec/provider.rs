use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expression::{DurationText, EmbeddedSchema, PathText, QuotaText, TemplateText, TemplatedValue};
use super::{AllowSpec, AuthSpec, PaginationSpec, RequestSpec, WebhooksSpec};

/// # Provider
/// Everything that is true of an API whatever is synced from it: `providers/<name>.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSpec {
    /// The provider's name: lowercase letters, digits, `-` and `_`. It is also the DuckDB schema of its tables.
    pub provider: String,
    /// Another provider, whose words hold here too as far as this file has none of its own. Its syncs and models do not come along.
    pub extends: Option<String>,
    /// The API's name for people.
    pub title: Option<String>,
    /// Where the API is documented.
    pub docs: Option<String>,
    /// Where the catalogue lists it. With it, `check` also asks for all that a provider of the catalogue needs.
    pub category: Option<CategorySpec>,
    /// Where the API is, as a template over `config`: `https://{{ config.region }}.api.example.com/v2`. Only a provider that others extend does without it.
    #[schemars(with = "Option<TemplateText>")]
    pub base_url: Option<String>,
    /// JSON Schema of the settings a connection gives besides its secrets. A template that names another one is a mistake.
    #[schemars(with = "Option<EmbeddedSchema>")]
    pub config: Option<Value>,
    /// The ways to prove who asks, by name. A connection picks one; a single one is the default.
    pub auth: Option<IndexMap<String, AuthSpec>>,
    /// Headers of every request; may name `credentials`.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplateText>")]
    pub headers: IndexMap<String, String>,
    /// Query parameters of every request; may name `credentials`.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplatedValue>")]
    pub query: IndexMap<String, Value>,
    /// The API's budget: one per connection, shared by all its syncs.
    pub rate_limit: Option<RateLimitSpec>,
    /// What is tried again, and how.
    pub retry: Option<RetrySpec>,
    /// What an answer means that is not what was asked for; the first rule that fits decides.
    #[serde(default)]
    pub errors: Vec<ErrorRuleSpec>,
    /// How long to wait.
    pub timeout: Option<TimeoutSpec>,
    /// How its syncs ask for the next page, where they say nothing else.
    #[schemars(extend("default" = {"none": {}}))]
    pub pagination: Option<PaginationSpec>,
    /// Origins besides that of `base_url` that may get credentials: `https://files.example.com`.
    #[serde(default)]
    pub trusted_origins: Vec<String>,
    /// Where requests may go besides what is written out: without TLS, and into private networks.
    pub network: Option<NetworkSpec>,
    /// A request that succeeds if a connection's credentials work.
    pub verify: Option<RequestSpec>,
    /// Requests right after connecting, whose answers are kept as settings.
    #[serde(default)]
    pub on_connect: Vec<LearnSpec>,
    /// How the API's notifications are received.
    pub webhooks: Option<WebhooksSpec>,
    /// The certificates by which the connection itself proves who asks (mutual TLS).
    pub tls: Option<TlsSpec>,
    /// Warnings that are meant to be so, each with the reason: `{ W080: the API never deletes }`. It holds here and in all below.
    #[serde(default)]
    pub allow: AllowSpec,
}

/// What an API is for, as the catalogue lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CategorySpec {
    /// Money between a company and its books: ledgers, invoices, bills.
    Accounting,
    /// What people do on sites and in products.
    Analytics,
    /// What customers pay: subscriptions, charges.
    Billing,
    /// Calendars and bookings.
    Calendar,
    /// Messages between people who work together.
    Chat,
    /// Repositories and what is done with them.
    Code,
    /// Customers and what is sold to them.
    Crm,
    /// Tables that people make.
    Databases,
    /// Pages that people write.
    Documents,
    /// Agreements that are signed.
    ESignature,
    /// Files and folders.
    Files,
    /// Forms and their answers.
    Forms,
    /// People who work for a company, and who apply.
    Hr,
    /// Mail.
    Mail,
    /// Audiences and what is sent to them.
    Marketing,
    /// Video calls.
    Meetings,
    /// Errors, alerts and who is called.
    Monitoring,
    /// Tasks and issues.
    Projects,
    /// Shops, their orders and products.
    Shops,
    /// Questions of customers.
    Support,
    /// Calls and text messages.
    Telephony,
}

impl CategorySpec {
    /// Its name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounting => "accounting",
            Self::Analytics => "analytics",
            Self::Billing => "billing",
            Self::Calendar => "calendar",
            Self::Chat => "chat",
            Self::Code => "code",
            Self::Crm => "crm",
            Self::Databases => "databases",
            Self::Documents => "documents",
            Self::ESignature => "e-signature",
            Self::Files => "files",
            Self::Forms => "forms",
            Self::Hr => "hr",
            Self::Mail => "mail",
            Self::Marketing => "marketing",
            Self::Meetings => "meetings",
            Self::Monitoring => "monitoring",
            Self::Projects => "projects",
            Self::Shops => "shops",
            Self::Support => "support",
            Self::Telephony => "telephony",
        }
    }
}

/// The API's budget.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimitSpec {
    /// Each as `<requests> per <duration>`: `100 per 10s`, `25000 per day`. All hold at once.
    #[serde(default)]
    #[schemars(with = "Vec<QuotaText>")]
    pub quotas: Vec<String>,
    /// Requests in flight at once.
    #[schemars(range(min = 1, max = 64), extend("default" = 4))]
    pub concurrency: Option<usize>,
    /// Headers in which the API tells what is left.
    pub headers: Option<RateHeadersSpec>,
    /// The longest that a run waits for the budget, or because the server asks for it. Where more is needed the run ends as `paused`, and the next one goes on.
    #[schemars(with = "Option<DurationText>", extend("default" = "15m"))]
    pub wait_max: Option<String>,
}

/// Headers in which an API tells what is left of its budget.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateHeadersSpec {
    /// The header with the number of requests that are left.
    pub remaining: Option<String>,
    /// The header with the number of requests that a stretch of time has in all.
    pub limit: Option<String>,
    /// The header that tells when the stretch ends.
    pub reset: Option<ResetSpec>,
}

/// The header that tells when a stretch ends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetSpec {
    /// The header's name.
    pub name: String,
    /// What it holds.
    #[serde(rename = "as", default)]
    pub kind: ResetKindSpec,
}

/// What a reset header holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetKindSpec {
    /// Seconds since 1970: `1718000000`.
    #[default]
    EpochS,
    /// Milliseconds since 1970: `1718000000000`.
    EpochMs,
    /// Seconds from now: `30`.
    Seconds,
    /// Milliseconds from now: `30000`.
    Milliseconds,
    /// RFC 3339: `2024-06-10T06:13:20Z`.
    Rfc3339,
    /// A date of HTTP: `Mon, 10 Jun 2024 06:13:20 GMT`.
    HttpDate,
}

/// What is tried again, and how. `Retry-After` always wins.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// Attempts in all.
    #[schemars(range(min = 1, max = 100), extend("default" = 10))]
    pub attempts: Option<u32>,
    /// HTTP statuses that are tried again.
    #[schemars(inner(range(min = 300, max = 599)), extend("default" = [408, 425, 429, 500, 502, 503, 504]))]
    pub statuses: Option<Vec<u16>>,
    /// How the waits grow; each is drawn at random below the bound (full jitter).
    pub backoff: Option<BackoffSpec>,
}

/// How waits grow.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackoffSpec {
    /// The bound of the first wait; it doubles each time.
    #[schemars(with = "Option<DurationText>", extend("default" = "1s"))]
    pub base: Option<String>,
    /// The bound of all waits.
    #[schemars(with = "Option<DurationText>", extend("default" = "5m"))]
    pub max: Option<String>,
}

/// What one kind of answer means: one with this `status` for which `when` holds. At least one of the two is needed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorRuleSpec {
    /// The HTTP status. Without it any status fits.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// A template over `response` that must hold too: `{{ 'rate limit' in response.body.message }}`.
    #[schemars(with = "Option<TemplateText>")]
    pub when: Option<String>,
    /// What follows.
    pub then: ErrorActionSpec,
    /// How many seconds to wait before the request is sent again, where the API tells it in the answer: a template over `response` that gives a number. It is waited for as for `Retry-After`; what is no such number is as if the word were not there. Only with `then: retry`.
    #[schemars(with = "Option<TemplateText>")]
    pub wait: Option<String>,
    /// The rule holds once the same request was answered so this many times; until then it is sent again.
    #[schemars(range(min = 1, max = 100), extend("default" = 1))]
    pub after: Option<u32>,
    /// What people are told about it.
    pub message: Option<String>,
}

/// What follows an answer that is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorActionSpec {
    /// The request is tried again, as `retry` says.
    Retry,
    /// The answer is a success, whatever its status and its errors: what it has of the list is read as usual.
    Accept,
    /// The sync fails, with the `message`.
    Fail,
    /// The answer counts as a page without records, and as the end of the list.
    Empty,
    /// The page is left out, and the list goes on with the next one, which only works where pages are counted (`page`, `offset`). The run ends `partial`, deletes nothing by absence, and does not move the watermark.
    SkipPage,
    /// The partition of `for_each` is left out; the run ends `partial`.
    SkipPartition,
    /// The connection gets a new token, and the request is sent once more.
    RefreshAuth,
    /// What the sync remembers is forgotten, and it starts over from the beginning, once in a run.
    Reset,
    /// The sync fails, and the connection waits for a person to connect again.
    Reconnect,
}

/// How long to wait for an answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutSpec {
    /// Until connected.
    #[schemars(with = "Option<DurationText>", extend("default" = "10s"))]
    pub connect: Option<String>,
    /// Until the whole answer is there. Waiting for the rate limit does not count.
    #[schemars(with = "Option<DurationText>", extend("default" = "120s"))]
    pub request: Option<String>,
}

/// Where requests may go. The origins of `trusted_origins` and of a base URL whose scheme, host and port are written out may be asked
/// anyway. A host that comes from a setting, a next link or an answer must have TLS and a public address, unless this says otherwise.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Whether such a host may be asked without TLS: `http://…`.
    #[serde(default)]
    pub allow_http: bool,
    /// Whether such a host may have an address of this machine, of a private network, or any other that is not public.
    #[serde(default)]
    pub allow_private: bool,
    /// A GET follows redirects to other origins, over TLS and without credentials, as to the storage where an API keeps its files.
    #[serde(default)]
    pub follow_redirects: bool,
}

/// A request right after connecting, and what is kept of its answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnSpec {
    /// The request.
    pub request: RequestSpec,
    /// What is kept of the answer, by name: `{ account_id: $.id }` is `config.account_id` from then on.
    #[schemars(with = "IndexMap<String, PathText>", extend("minProperties" = 1))]
    pub save: IndexMap<String, String>,
}

/// Mutual TLS: the connection itself proves who asks, with a certificate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSpec {
    /// The client's certificate, PEM; those that lead from it to its authority may follow it. Line ends may be written as `\n`, as
    /// environment variables often have them.
    #[schemars(with = "TemplateText")]
    pub client_certificate: String,
    /// The certificate's private key, PEM; without it the key stands in the same text as the certificate.
    #[schemars(with = "Option<TemplateText>")]
    pub client_key: Option<String>,
    /// A certificate authority to trust besides the usual ones, PEM: for the origins that get the certificate, and no others.
    #[schemars(with = "Option<TemplateText>")]
    pub authority: Option<String>,
}
