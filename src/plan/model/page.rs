use crate::plan::{Path, Template};

/// How the next page is asked for, and what ends the scan.
#[derive(Debug, Clone)]
pub struct PagePlan {
    /// the way
    pub kind: PageKind,
    /// whether what leads to the next page counts pages or records; none = what a URL looks like tells
    pub by_position: Option<bool>,
    /// a template over `response` that ends the scan
    pub stop_when: Option<Template>,
    /// pages of one scan at most; reaching it fails the run
    pub pages_max: u64,
}

impl PagePlan {
    /// One request holds everything.
    pub fn one() -> Self {
        Self { kind: PageKind::None, by_position: None, stop_when: None, pages_max: 1 }
    }
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
        /// the parameter of the link that is `false` where there is nothing behind it
        more_param: Option<String>,
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
        /// where it goes; none = the request names `page.cursor`
        to: Option<Target>,
        /// the cursor must be the only parameter
        replaces_params: bool,
        /// whether there is another page
        has_more: Option<MoreSign>,
    },
    /// skip `offset` records
    Offset {
        /// where the offset goes; none = the request names `page.offset`
        offset: Option<Target>,
        /// where the limit goes, if it is sent
        limit_to: Option<Target>,
        /// records asked for per page
        limit: u64,
        /// the first offset
        start: u64,
        /// how many there are in all
        total: Option<Path>,
        /// whether there is another page
        has_more: Option<MoreSign>,
    },
    /// page numbers
    Page {
        /// where the number goes; none = the request names `page.number`
        page: Option<Target>,
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
        /// whether there is another page
        has_more: Option<MoreSign>,
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

/// Where an answer says whether there is another page.
#[derive(Debug, Clone, PartialEq)]
pub struct MoreSign {
    /// a path to true or false
    pub path: Path,
    /// the value that the last page has there
    pub last: bool,
}
