use schemars::JsonSchema;
use serde::Deserialize;

use super::expression::{PathText, TemplateText};

/// How the next page is asked for: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PaginationSpec {
    /// One request holds everything.
    None {},
    /// The `Link` header (RFC 8288) says where the next page is.
    Link(LinkSpec),
    /// The answer says the URL of the next page.
    NextUrl(NextUrlSpec),
    /// The answer gives a token, or the last record is the token.
    Cursor(CursorSpec),
    /// The next page is so many records further on.
    Offset(OffsetSpec),
    /// The next page has the next number.
    Page(PageSpec),
    /// The next page of a GraphQL Relay connection is behind its `endCursor`.
    Relay(RelaySpec),
}

impl PaginationSpec {
    /// The member of `page` that tells the request where in the list its page is, if it does.
    pub fn position(&self) -> Option<&'static str> {
        match self {
            Self::Cursor(_) => Some("cursor"),
            Self::Offset(_) => Some("offset"),
            Self::Page(_) => Some("number"),
            Self::None {} | Self::Link(_) | Self::NextUrl(_) | Self::Relay(_) => None,
        }
    }
}

/// The URL of the next page stands in the `Link` header (RFC 8288).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// The relation of the link that leads to it.
    #[schemars(extend("default" = "next"))]
    pub rel: Option<String>,
    /// The parameter of the link that is `false` behind the last page: `results`.
    pub has_more_param: Option<String>,
    /// Whether it counts pages or records, so that a list which moved is read again before anything is deleted; without it the parameters of the
    /// URL tell.
    pub position: Option<bool>,
    /// Ends the scan early.
    pub stop: Option<StopSpec>,
    /// Pages of one scan at most; more fails the run, and the next one goes on from there.
    #[schemars(range(min = 1), extend("default" = 1_000_000))]
    pub max_pages: Option<u64>,
}

/// The URL of the next page stands in the answer: name exactly one of `from` and `header`. It is taken as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["from", "header"]]))]
pub struct NextUrlSpec {
    /// The URL stands at this path in the body: `$.next`.
    #[schemars(with = "Option<PathText>")]
    pub from: Option<String>,
    /// The URL stands in this response header.
    pub header: Option<String>,
    /// Whether it counts pages or records, so that a list which moved is read again before anything is deleted; without it the parameters of the
    /// URL tell.
    pub position: Option<bool>,
    /// Ends the scan early.
    pub stop: Option<StopSpec>,
    /// Pages of one scan at most; more fails the run, and the next one goes on from there.
    #[schemars(range(min = 1), extend("default" = 1_000_000))]
    pub max_pages: Option<u64>,
}

/// A token: name where it comes from (`from`, `from_header` or `last_record`) and where it goes (`query`, `header` or `body`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["from", "from_header", "last_record"], ["query", "header", "body"], ["has_more", "last_page"]]))]
pub struct CursorSpec {
    /// The token stands at this path in the body: `$.paging.next`.
    #[schemars(with = "Option<PathText>")]
    pub from: Option<String>,
    /// The token stands in this response header.
    pub from_header: Option<String>,
    /// The token stands at this path in the last record of the page: `$.id`.
    #[schemars(with = "Option<PathText>")]
    pub last_record: Option<String>,
    /// The token goes into this query parameter.
    pub query: Option<String>,
    /// The token goes into this header.
    pub header: Option<String>,
    /// The token goes into this member of the body, dotted: `page.after`.
    pub body: Option<String>,
    /// The token must be the only query parameter: the others are left out beside it.
    #[serde(default)]
    pub replaces_params: bool,
    /// A path that is false on the last page: `$.has_more`.
    #[schemars(with = "Option<PathText>")]
    pub has_more: Option<String>,
    /// A path that is true on the last page, instead of `has_more`: `$.isLast`.
    #[schemars(with = "Option<PathText>")]
    pub last_page: Option<String>,
    /// The cursor counts pages or records, so that a list which moved is read again before anything is deleted.
    #[serde(default)]
    pub position: bool,
    /// Ends the scan early.
    pub stop: Option<StopSpec>,
    /// Pages of one scan at most; more fails the run, and the next one goes on from there.
    #[schemars(range(min = 1), extend("default" = 1_000_000))]
    pub max_pages: Option<u64>,
}

/// The request says how many records to skip: name exactly one of `query` and `body`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["query", "body"], ["has_more", "last_page"]]))]
pub struct OffsetSpec {
    /// The query parameter of the offset. Without `query` and `body`, the request names it as `page.offset`.
    pub query: Option<String>,
    /// The body member of the offset, dotted.
    pub body: Option<String>,
    /// Records asked for per page.
    #[schemars(range(min = 1))]
    pub limit: u64,
    /// Where the limit goes, beside the offset; not sent when it is not named.
    pub limit_param: Option<String>,
    /// The first offset.
    #[serde(default)]
    pub start: u64,
    /// A path to the number of all records: `$.total`.
    #[schemars(with = "Option<PathText>")]
    pub total: Option<String>,
    /// A path that is false on the last page.
    #[schemars(with = "Option<PathText>")]
    pub has_more: Option<String>,
    /// A path that is true on the last page, instead of `has_more`: `$.isLast`.
    #[schemars(with = "Option<PathText>")]
    pub last_page: Option<String>,
    /// Ends the scan early.
    pub stop: Option<StopSpec>,
    /// Pages of one scan at most; more fails the run, and the next one goes on from there.
    #[schemars(range(min = 1), extend("default" = 1_000_000))]
    pub max_pages: Option<u64>,
}

/// The request says the number of the page: name exactly one of `query` and `body`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["query", "body"], ["has_more", "last_page"]]))]
pub struct PageSpec {
    /// The query parameter of the page number. Without `query` and `body`, the request names it as `page.number`.
    pub query: Option<String>,
    /// The body member of the page number, dotted.
    pub body: Option<String>,
    /// The first page's number.
    #[schemars(extend("default" = 1))]
    pub start: Option<u64>,
    /// Records asked for per page.
    #[schemars(range(min = 1))]
    pub size: Option<u64>,
    /// Where the size goes, beside the page number; not sent when it is not named.
    pub size_param: Option<String>,
    /// A path to the number of pages: `$.pages`.
    #[schemars(with = "Option<PathText>")]
    pub total_pages: Option<String>,
    /// A path to the number of all records.
    #[schemars(with = "Option<PathText>")]
    pub total: Option<String>,
    /// A path that is false on the last page.
    #[schemars(with = "Option<PathText>")]
    pub has_more: Option<String>,
    /// A path that is true on the last page, instead of `has_more`: `$.isLast`.
    #[schemars(with = "Option<PathText>")]
    pub last_page: Option<String>,
    /// Ends the scan early.
    pub stop: Option<StopSpec>,
    /// Pages of one scan at most; more fails the run, and the next one goes on from there.
    #[schemars(range(min = 1), extend("default" = 1_000_000))]
    pub max_pages: Option<u64>,
}

/// A GraphQL Relay connection, which tells by `pageInfo` whether there is more and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelaySpec {
    /// A path to `pageInfo`: `$.data.issues.pageInfo`.
    #[schemars(with = "PathText")]
    pub page_info: String,
    /// The variable that takes the cursor.
    #[schemars(extend("default" = "after"))]
    pub after: Option<String>,
    /// The variable that takes the page size.
    pub first: Option<String>,
    /// The page size.
    #[schemars(range(min = 1), extend("default" = 100))]
    pub size: Option<u64>,
    /// The cursor counts pages or records, so that a list which moved is read again before anything is deleted.
    #[serde(default)]
    pub position: bool,
    /// Ends the scan early.
    pub stop: Option<StopSpec>,
    /// Pages of one scan at most; more fails the run, and the next one goes on from there.
    #[schemars(range(min = 1), extend("default" = 1_000_000))]
    pub max_pages: Option<u64>,
}

/// Ends a scan early. What such a scan did not return is not taken for deleted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopSpec {
    /// A template over `response`: `{{ response.body.done }}`.
    #[schemars(with = "TemplateText")]
    pub when: String,
}
