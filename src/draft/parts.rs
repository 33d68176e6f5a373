//! What a draft consists of, before it is YAML. Names are ours already; all else may be any text.

use serde_json::{Map, Value};

use crate::plan::ColumnType;

/// Something that is not known for sure has the reason why it is taken to be so.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess<T> {
    /// what
    pub value: T,
    /// why; none for what somebody has said
    pub why: Option<String>,
}

impl<T> Guess<T> {
    /// What somebody has said.
    pub fn said(value: T) -> Self {
        Self { value, why: None }
    }

    /// What is only likely.
    pub fn guessed(value: T, why: impl Into<String>) -> Self {
        Self { value, why: Some(why.into()) }
    }
}

/// A provider.
#[derive(Debug, Clone)]
pub struct ProviderDraft {
    /// its name
    pub name: String,
    /// the API's name for people
    pub title: Option<String>,
    /// where it is documented
    pub docs: Option<String>,
    /// a template over `config`
    pub base_url: Guess<String>,
    /// what `base_url` needs of `config`
    pub config: Vec<Setting>,
    /// the ways in, by name
    pub auth: Vec<(String, Guess<Way>)>,
    /// a quota as the language writes it
    pub quotas: Vec<String>,
    /// the path of a request that succeeds if credentials work
    pub verify: Option<String>,
    /// what a person has to look at
    pub notes: Vec<String>,
}

/// A value that a connection or a caller gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// its name, as templates say it
    pub name: String,
    /// its JSON Schema
    pub schema: Value,
    /// whether it must be given
    pub required: bool,
    /// a value that it could have, for tests
    pub example: Value,
}

/// A way to prove who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// nothing to prove
    None,
    /// a key in a header
    Header {
        /// which
        name: String,
        /// the word before the key, if there is one: `SSWS`
        prefix: Option<String>,
    },
    /// a key in a query parameter
    Query(String),
    /// a key in a cookie
    Cookie(String),
    /// user name and password
    Basic,
    /// a token that a person made
    Bearer,
    /// a person agrees in the browser
    AuthorizationCode {
        /// where
        authorize_url: String,
        /// where the code becomes a token
        token_url: String,
        /// what is asked for
        scopes: Vec<String>,
    },
    /// the application itself gets a token
    ClientCredentials {
        /// where
        token_url: String,
        /// what is asked for
        scopes: Vec<String>,
    },
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDraft {
    /// its name
    pub name: String,
    /// a path into the record, or a template over it
    pub source: Source,
    /// its type
    pub column_type: ColumnType,
    /// how a time is written, where that is not RFC 3339
    pub format: Option<String>,
    /// one sentence
    pub description: Option<String>,
    /// why it is of this type, if that is a guess
    pub why: Option<String>,
}

/// Where the value of a column comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// a path into the record
    Path(String),
    /// a template over `record`
    Template(String),
}

impl ColumnDraft {
    /// The path, if it has one.
    pub fn path(&self) -> Option<&str> {
        match &self.source {
            Source::Path(path) => Some(path),
            Source::Template(_) => None,
        }
    }
}

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDraft {
    /// its name
    pub name: String,
    /// its table
    pub table: String,
    /// one sentence
    pub description: Option<String>,
    /// its key columns
    pub key: Guess<Vec<String>>,
    /// in the order of the table
    pub columns: Vec<ColumnDraft>,
    /// what a person has to look at
    pub notes: Vec<String>,
}

impl ModelDraft {
    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&ColumnDraft> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Where the token of the next page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFrom {
    /// a path into the answer
    Answer(String),
    /// a path into the last record
    LastRecord(String),
}

/// What an answer says of the end of its list, each as a path into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// false on the last page
    pub has_more: Option<String>,
    /// the number of all records
    pub total: Option<String>,
    /// the number of pages
    pub total_pages: Option<String>,
}

/// How the next page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paging {
    /// as the provider says, which has this
    OfProvider(Box<Paging>),
    /// one request holds everything
    None,
    /// the `Link` header says it
    Link,
    /// the answer says the URL
    NextUrl {
        /// a path to it
        from: String,
    },
    /// the answer gives a token
    Cursor {
        /// where it comes from
        from: TokenFrom,
        /// the query parameter it goes to
        query: String,
        /// a path that is false on the last page
        has_more: Option<String>,
    },
    /// so many records further on
    Offset {
        /// the query parameter of the offset
        query: String,
        /// records of a page
        limit: u64,
        /// the query parameter of that
        limit_param: Option<String>,
        /// the signs of the end
        ends: Ends,
    },
    /// the next number
    Page {
        /// the query parameter of the number
        query: String,
        /// the number of the first page
        start: u64,
        /// records of a page
        size: Option<u64>,
        /// the query parameter of that
        size_param: Option<String>,
        /// the signs of the end
        ends: Ends,
    },
}

/// How only what changed is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementalDraft {
    /// the column of the field
    pub column: String,
    /// the query parameter that takes the watermark; without it records are filtered here
    pub since: Option<String>,
}

/// What tells that a record is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletesDraft {
    /// nothing; with the reason, if somebody said it
    None(Option<String>),
    /// a complete scan did not return it
    Absence,
    /// this member of the record is true, or has a value
    Flag {
        /// a path to it
        path: String,
        /// what it holds
        holds: FlagKind,
    },
    /// an endpoint lists what was deleted
    Feed(IdList),
    /// a list of all ids is read now and then
    Sweep(IdList),
}

/// What a member holds that tells of a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagKind {
    /// true
    True,
    /// the time of the deletion
    Time,
    /// this text
    Text(String),
}

/// A list of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdList {
    /// the path of its request
    pub path: String,
    /// where its entries stand
    pub records: String,
    /// how its next page is asked for
    pub paging: Paging,
}

/// A sync.
#[derive(Debug, Clone)]
pub struct SyncDraft {
    /// its name
    pub name: String,
    /// one sentence
    pub description: Option<String>,
    /// where the endpoint is documented
    pub docs: Option<String>,
    /// what credentials must be allowed to do
    pub scopes: Vec<String>,
    /// the path under the base URL, a template
    pub path: String,
    /// query parameters that do not change
    pub query: Vec<(String, Guess<Value>)>,
    /// what a connection gives
    pub input: Vec<Setting>,
    /// where the records stand
    pub records: Guess<String>,
    /// how the next page is asked for
    pub paging: Guess<Paging>,
    /// only what changed
    pub incremental: Option<Guess<IncrementalDraft>>,
    /// what tells that a record is gone
    pub deletes: Guess<DeletesDraft>,
    /// what a person has to look at
    pub notes: Vec<String>,
}

/// How the members of an action's input are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyKind {
    /// as JSON
    Json,
    /// as the fields of a form
    Form,
}

/// A member of a body: the names that lead to it, and the name of the input that it takes.
pub type BodyMember = (Vec<String>, String);

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
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

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As the language writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// An action.
#[derive(Debug, Clone)]
pub struct ActionDraft {
    /// its name
    pub name: String,
    /// one sentence
    pub description: Option<String>,
    /// where the endpoint is documented
    pub docs: Option<String>,
    /// what credentials must be allowed to do
    pub scopes: Vec<String>,
    /// the method
    pub verb: Verb,
    /// the path, a template over `input`
    pub path: String,
    /// what a caller gives
    pub input: Vec<Setting>,
    /// query parameters, each with the name of the input that it takes
    pub query: Vec<(String, String)>,
    /// members of the body
    pub body: Option<(BodyKind, Vec<BodyMember>)>,
    /// what the API could answer; none for an answer without a body
    pub answer: Option<Value>,
    /// what a person has to look at
    pub notes: Vec<String>,
}

/// What a test needs to know of its provider.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// the provider's name
    pub provider: String,
    /// which way in the test takes, where there are several
    pub auth: Option<String>,
    /// the header that proves who asks, as a test sees it
    pub proof: Option<(String, String)>,
    /// the settings
    pub config: Map<String, Value>,
    /// the provider adds parameters of its own, so that what a request has is not known here
    pub adds_query: bool,
}

/// A file of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftFile {
    /// where it stands in a project
    pub path: String,
    /// what is in it
    pub text: String,
}
