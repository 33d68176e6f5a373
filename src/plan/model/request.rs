use std::time::Duration;

use crate::plan::{PagePlan, Path, Template};

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

    /// Whether a request of a sync may be sent again though the API may have got it: those are reads, however they are spelled. A PATCH is
    /// no read anywhere, and the one method that is not idempotent besides POST (RFC 9110, 9.2.2; RFC 5789).
    pub fn repeats_as_read(self) -> bool {
        match self {
            Self::Get | Self::Post | Self::Put | Self::Delete => true,
            Self::Patch => false,
        }
    }
}

impl Method {
    /// Whether it changes nothing (RFC 9110, 9.2.1).
    pub fn is_read(self) -> bool {
        self == Self::Get
    }

    /// Whether it does the same when it comes twice (RFC 9110, 9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Put | Self::Delete)
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

impl RequestPlan {
    /// A request for a file whose URL an answer gave: it has nothing of the provider's but what says who asks.
    pub fn of_file(like: &Self) -> Self {
        let is_agent = |(name, _): &&(String, Template)| name.eq_ignore_ascii_case("user-agent");
        let path = Template::parse("/").expect("it is a template");
        let headers = like.headers.iter().filter(is_agent).cloned().collect();
        Self { method: Method::Get, path, query: Vec::new(), headers, body: BodyPlan::None }
    }
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
    /// `multipart/form-data`
    Multipart(Vec<(String, Template)>),
}

/// Where the records stand in an answer.
#[derive(Debug, Clone)]
pub struct ResponsePlan {
    /// how it is written
    pub format: Format,
    /// union of these, in order
    pub records: Vec<Path>,
    /// an answer without them is an empty page, not an error
    pub optional: bool,
    /// records that do not match are not records (counted as filtered)
    pub filter: Option<Predicate>,
}

impl ResponsePlan {
    /// JSON that is one record as a whole.
    pub fn whole() -> Self {
        let whole = Path::parse("$").expect("it is a path");
        Self { format: Format::Json, records: vec![whole], optional: true, filter: None }
    }
}

/// A yes or no about one record.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// `$[?…]`: the record matches when the query over the list of it selects it
    Path(Path),
    /// a template over `record`; none, false, empty and 0 mean no
    Template(Template),
}

/// How an answer is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// one JSON value
    Json,
    /// one JSON value a line
    Ndjson,
    /// rows of separated values
    Csv {
        /// what stands between two values
        delimiter: u8,
        /// the names; none = the first row says them
        columns: Option<Vec<String>>,
        /// rows before the first one that counts
        skip: u32,
        /// a label of the Encoding Standard
        encoding: String,
    },
    /// elements, read as JSON
    Xml {
        /// elements that are always lists
        lists: Vec<String>,
    },
    /// the whole text, as one record
    Text,
}

/// What one kind of answer means.
#[derive(Debug, Clone)]
pub struct ErrorRule {
    /// the HTTP status; none = any
    pub status: Option<u16>,
    /// a template over `response` that must hold too
    pub when: Option<Template>,
    /// what follows
    pub then: ErrorAction,
    /// a template over `response` that gives the seconds to wait; only where it is tried again
    pub wait: Option<Template>,
    /// from this time on that the same request is answered so
    pub after: u32,
    /// what people are told
    pub message: Option<String>,
}

/// What follows an answer that is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorAction {
    /// it is tried again
    Retry,
    /// it is a success, and read as one
    Accept,
    /// the sync fails
    Fail,
    /// it counts as a page without records, and as the end of the list
    Empty,
    /// the page is left out
    SkipPage,
    /// the partition is left out
    SkipPartition,
    /// the token is renewed, and the request sent once more
    RefreshAuth,
    /// the sync starts over
    Reset,
    /// a person must connect again
    Reconnect,
}

/// A list that the API is asked for beside the records: the items of a fan-out, deleted ids.
#[derive(Debug, Clone)]
pub struct ListPlan {
    /// the request of each page
    pub request: RequestPlan,
    /// where the entries stand
    pub response: ResponsePlan,
    /// how the next page is asked for
    pub pagination: PagePlan,
}

/// An export that the API makes ready before it can be read.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// where its id stands in the answer of the request that starts it
    pub id: Path,
    /// the request that asks for its state
    pub poll: RequestPlan,
    /// between two of them
    pub every: Duration,
    /// in all
    pub timeout: Duration,
    /// where the state stands
    pub status: Path,
    /// the states in which the result is there
    pub done: Vec<String>,
    /// the states in which there will be none
    pub failed: Vec<String>,
    /// where the result is
    pub download: DownloadPlan,
    /// the request that says that nobody wants it any more
    pub cancel: Option<RequestPlan>,
}

/// Where the result of a job is.
#[derive(Debug, Clone)]
pub enum DownloadPlan {
    /// a request gives it
    Request(RequestPlan),
    /// its URL stands in the last answer
    Url(Path),
    /// the URLs of its parts stand in the last answer
    Parts(Path),
    /// a request gives each of its parts
    Each {
        /// where they stand in the last answer
        of: Path,
        /// the request, which names one of them
        request: RequestPlan,
    },
}
