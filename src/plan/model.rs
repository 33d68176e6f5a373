//! What a run compiles to: the plan types. All of it is resolved, parsed and bounded; nothing is checked again later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{ColumnType, Path, Template};

/// A whole project, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// the DuckDB file
    pub database: PathBuf,
    /// the copy for tools that want a file that never blocks
    pub publish: Option<PublishPlan>,
    /// every sync of every connection, in the order of the files
    pub syncs: Vec<Arc<SyncPlan>>,
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
}

/// Where one credential comes from. Its value is read by `remote`, never by the plan.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// `${NAME}`: an environment variable
    Environment(String),
    /// written into the YAML (`check` warns)
    Literal(secrecy::SecretString),
}

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

/// The API's budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatePlan {
    /// all hold at once
    pub quotas: Vec<Quota>,
    /// requests in flight at once, 1 or more
    pub concurrency: usize,
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

/// Who a sync is: the identity of its state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyncId {
    /// the connection's name
    pub connection: String,
    /// the provider's name; also the DuckDB schema of its tables
    pub provider: String,
    /// the sync's name
    pub sync: String,
    /// the variant's name, empty for the only one
    pub variant: String,
}

impl std::fmt::Display for SyncId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.connection, self.sync)?;
        if !self.variant.is_empty() {
            write!(f, "@{}", self.variant)?;
        }
        Ok(())
    }
}

/// One sync of one connection, ready to run.
#[derive(Debug, Clone)]
pub struct SyncPlan {
    /// who it is
    pub id: SyncId,
    /// one sentence for people
    pub description: Option<String>,
    /// where it goes
    pub connection: Arc<ConnectionPlan>,
    /// what it fills
    pub model: Arc<ModelPlan>,
    /// the request of each page
    pub request: RequestPlan,
    /// where the records stand in the answer
    pub response: ResponsePlan,
    /// how the next page is asked for
    pub pagination: PagePlan,
    /// only what changed since
    pub incremental: Option<IncrementalPlan>,
    /// what tells that a record is gone
    pub deletes: DeletePlan,
    /// the sync's parameters for this connection
    pub input: serde_json::Value,
    /// changes when the request, paging or incremental words change: state of another fingerprint is not resumed
    pub fingerprint: u64,
}

/// HTTP methods a sync may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl Method {
    /// The method's name in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request with its templates. Provider defaults are merged in, the sync's own words win.
#[derive(Debug, Clone)]
pub struct RequestPlan {
    /// the method
    pub method: Method,
    /// a path under the base URL (starts with `/`) or an absolute URL; values are percent-encoded as one segment
    pub path: Template,
    /// left out when the template yields none
    pub query: Vec<(String, ValuePlan)>,
    /// left out when the template yields none
    pub headers: Vec<(String, Template)>,
    /// what is sent
    pub body: BodyPlan,
}

/// A value in a query or body: fixed, templated, or made of such.
#[derive(Debug, Clone)]
pub enum ValuePlan {
    /// as it stands
    Fixed(serde_json::Value),
    /// rendered for each request
    Template(Template),
    /// each item rendered, items that yield none left out
    List(Vec<ValuePlan>),
    /// each member rendered, members that yield none left out
    Map(Vec<(String, ValuePlan)>),
}

/// A request body.
#[derive(Debug, Clone)]
pub enum BodyPlan {
    /// no body
    None,
    /// `application/json`, built as a value
    Json(ValuePlan),
    /// `application/x-www-form-urlencoded`
    Form(Vec<(String, ValuePlan)>),
    /// `text/plain`, or what a header says
    Text(Template),
    /// `{"query": …, "variables": …}`
    Graphql {
        /// the document, sent as it stands
        query: String,
        /// its variables
        variables: Vec<(String, ValuePlan)>,
    },
}

/// Where the records stand in an answer.
#[derive(Debug, Clone)]
pub struct ResponsePlan {
    /// union of these, in order
    pub records: Vec<Path>,
    /// an answer without them is an empty page, not an error
    pub optional: bool,
    /// records that do not match are not records (counted as filtered)
    pub filter: Option<Predicate>,
}

/// A yes or no about one record.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// `$[?…]`: the record matches when the query over the list of it selects it
    Path(Path),
    /// a template over `record`; none, false, empty and 0 mean no
    Template(Template),
}

/// How the next page is asked for, and what ends the scan.
#[derive(Debug, Clone)]
pub struct PagePlan {
    /// the way
    pub kind: PageKind,
    /// a template over `response` that ends the scan
    pub stop_when: Option<Template>,
    /// pages of one scan at most; reaching it fails the run
    pub pages_max: u64,
}

/// Where a fact about the next page stands in an answer.
#[derive(Debug, Clone)]
pub enum Fact {
    /// in the body
    Body(Path),
    /// in a header of this name
    Header(String),
}

/// Where a value goes in the next request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// a query parameter
    Query(String),
    /// a header
    Header(String),
    /// a body member, dotted
    Body(String),
}

/// The seven ways APIs page.
#[derive(Debug, Clone)]
pub enum PageKind {
    /// one request
    None,
    /// RFC 8288 `Link: <…>; rel="next"`
    Link {
        /// the relation, usually `next`
        rel: String,
    },
    /// a whole URL in the answer
    NextUrl {
        /// where
        from: Fact,
    },
    /// a token in the answer, or a field of the last record
    Cursor {
        /// where the cursor comes from
        from: CursorSource,
        /// where it goes
        to: Target,
        /// the cursor must be the only parameter
        replaces_params: bool,
        /// false ends the scan
        has_more: Option<Path>,
    },
    /// skip `offset` records
    Offset {
        /// where the offset goes
        offset: Target,
        /// where the limit goes, if it is sent
        limit_to: Option<Target>,
        /// records asked for per page
        limit: u64,
        /// the first offset
        start: u64,
        /// how many there are in all
        total: Option<Path>,
        /// false ends the scan
        has_more: Option<Path>,
    },
    /// page numbers
    Page {
        /// where the number goes
        page: Target,
        /// the first number
        start: u64,
        /// records asked for per page
        size: Option<u64>,
        /// where the size goes, if it is sent
        size_to: Option<Target>,
        /// how many pages there are
        total_pages: Option<Path>,
        /// how many records there are
        total: Option<Path>,
        /// false ends the scan
        has_more: Option<Path>,
    },
    /// GraphQL Relay: `pageInfo { hasNextPage endCursor }`
    Relay {
        /// where `pageInfo` stands
        page_info: Path,
        /// the variable that takes the cursor
        after: String,
        /// the variable that takes the page size, with the size
        first: Option<(String, u64)>,
    },
}

/// Where a cursor comes from.
#[derive(Debug, Clone)]
pub enum CursorSource {
    /// body or header
    Fact(Fact),
    /// a path into the page's last record
    LastRecord(Path),
}

/// Only what changed since.
#[derive(Debug, Clone)]
pub struct IncrementalPlan {
    /// where it stands in the record
    pub field: Path,
    /// what it is
    pub kind: MarkKind,
    /// how a time is written
    pub format: TimeFormat,
    /// what the API promises
    pub order: Order,
    /// the first watermark, rendered at the start of the first run; none = from the beginning
    pub start: Option<Template>,
    /// re-read this far behind the watermark
    pub lookback: Duration,
}

/// What a watermark is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// a moment
    Timestamp,
    /// a day
    Date,
    /// a whole number
    Integer,
    /// text that sorts
    Text,
}

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 (and ISO 8601 with a space)
    Rfc3339,
    /// seconds since 1970-01-01T00:00:00Z
    EpochS,
    /// milliseconds
    EpochMs,
    /// microseconds
    EpochUs,
    /// strftime directives
    Custom(String),
}

/// The order in which an API lists records by the incremental field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// oldest first: the watermark moves with every committed page
    Ascending,
    /// newest first
    Descending,
    /// no promise
    None,
}

/// What tells that a record is gone.
#[derive(Debug, Clone)]
pub enum DeletePlan {
    /// nothing does
    None,
    /// a row that a proven complete scan did not return
    Absence {
        /// what keeps a wrong answer from emptying a table
        guard: Guard,
    },
    /// the record says so itself
    Flag {
        /// when it is deleted
        when: Predicate,
        /// since when; none = when it was seen
        at: Option<Path>,
    },
}

/// The bound on one scan's deletes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// of the live rows, 0 to 1
    pub max_fraction: f64,
    /// tables with fewer live rows are not guarded by the fraction
    pub min_rows: u64,
    /// a scan that returned no record at all may delete
    pub allow_empty: bool,
}

/// A table and how a record becomes its row.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPlan {
    /// the model's name
    pub name: String,
    /// the DuckDB schema: the provider's name
    pub schema: String,
    /// the table's name
    pub table: String,
    /// one sentence for people
    pub description: Option<String>,
    /// in the order of the YAML
    pub columns: Vec<ColumnPlan>,
    /// positions of the key in `columns`, at least one
    pub key: Vec<usize>,
    /// what becomes of a record that does not fit
    pub on_invalid: OnInvalid,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnPlan {
    /// its name in DuckDB
    pub name: String,
    /// its type
    pub column_type: ColumnType,
    /// where its value comes from
    pub source: ColumnSource,
    /// how a time is written, for date and time types
    pub format: TimeFormat,
    /// a record without it is invalid; true for key columns
    pub required: bool,
    /// not part of "has it changed"
    pub volatile: bool,
    /// one sentence for people
    pub description: Option<String>,
}

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnSource {
    /// a path into the record
    Path(Path),
    /// a template over `record`
    Template(Template),
}

/// What becomes of a record that does not fit its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    /// kept in `headwater.quarantine` with the reason
    Quarantine,
    /// the run fails
    Fail,
    /// the value becomes null; a bad key or a missing required column still goes to quarantine
    SetNull,
}
