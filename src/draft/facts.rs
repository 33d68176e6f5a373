//! What names tell: of the next page, of the time of the last change, of deletes. Names are compared without case and separators.

use super::columns::is_identifier;
use super::name::bare;
use super::parts::{ColumnDraft, Ends, FlagKind, Guess, Paging, TokenFrom};
use crate::plan::ColumnType;

/// A value of an answer that is no part of its records.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    /// a path to it
    pub path: String,
    /// the names on the way to it, as they are compared; its own is the last
    pub names: Vec<String>,
    pub holds: Holds,
}

/// What a value is, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Url,
    Text,
    Number(Option<u64>),
    Bool,
    Unknown,
}

/// A query parameter that a list takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Param {
    pub name: String,
    pub is_number: bool,
    /// the largest value that it takes
    pub max: Option<u64>,
    pub default: Option<u64>,
}

/// What is known of a list.
pub(super) struct List<'f> {
    pub facts: &'f [Fact],
    /// its parameters; none where nobody knows them
    pub params: Option<&'f [Param]>,
    /// the answer has a `Link` header
    pub has_link: bool,
    /// a path to what tells records apart
    pub key: Option<&'f str>,
}

const NEXT_URLS: [&str; 10] = [
    "next",
    "nexturl",
    "nextpageurl",
    "nextpageuri",
    "nextlink",
    "odatanextlink",
    "nexthref",
    "nextpage",
    "nexturi",
    "nextrecordsurl",
];
const TOKENS: [&str; 20] = [
    "nextcursor",
    "nextpagetoken",
    "nexttoken",
    "endcursor",
    "continuationtoken",
    "nextmarker",
    "cursor",
    "after",
    "marker",
    "pagetoken",
    "continuation",
    "nextpagecursor",
    "cursornext",
    "nextcontinuationtoken",
    "scrollid",
    "nextpage",
    "next",
    "offset",
    "nextoffset",
    "resumetoken",
];
const TOKEN_PARAMS: [&str; 22] = [
    "cursor",
    "pagetoken",
    "after",
    "nexttoken",
    "continuationtoken",
    "marker",
    "pagecursor",
    "pageafter",
    "startcursor",
    "nextcursor",
    "nextpagetoken",
    "scrollid",
    "continuation",
    "startingafter",
    "cursornext",
    "aftercursor",
    "offset",
    "nextpage",
    "pagenext",
    "resumetoken",
    "starttoken",
    "next",
];
const LAST_PARAMS: [&str; 6] = ["startingafter", "after", "sinceid", "afterid", "lastid", "startafter"];
const HAS_MORE: [&str; 8] =
    ["hasmore", "hasnext", "hasnextpage", "more", "moreitemsincollection", "morepages", "hasmoreitems", "moreresults"];
const TOTALS: [&str; 10] = [
    "total",
    "totalcount",
    "totalresults",
    "totalsize",
    "totalitems",
    "totalrecords",
    "totalelements",
    "totalentries",
    "resultcount",
    "nbhits",
];
const TOTAL_PAGES: [&str; 7] = ["totalpages", "pagecount", "pages", "lastpage", "numpages", "pagestotal", "nbpages"];
const PAGES: [&str; 7] = ["page", "pagenumber", "pageno", "currentpage", "pagenum", "pageindex", "p"];
const OFFSETS: [&str; 7] = ["offset", "skip", "start", "startat", "startindex", "pageoffset", "from"];
const SIZES: [&str; 12] = [
    "perpage",
    "pagesize",
    "limit",
    "size",
    "count",
    "maxresults",
    "maxpagesize",
    "pagelimit",
    "resultsperpage",
    "top",
    "maxitems",
    "first",
];
/// Records of a page where nothing says how many there may be.
pub(super) const SIZE: u64 = 100;
/// Records of a page that are asked for at most, though an API takes more.
const SIZE_MAX: u64 = 1_000;

impl List<'_> {
    fn fact(&self, names: &[&str], fits: impl Fn(&Fact) -> bool) -> Option<&Fact> {
        names.iter().find_map(|name| {
            self.facts.iter().find(|fact| fact.names.last().is_some_and(|last| last == name) && fits(fact))
        })
    }

    fn param(&self, names: &[&str], fits: impl Fn(&Param) -> bool) -> Option<&Param> {
        let params = self.params?;
        names.iter().find_map(|name| params.iter().find(|param| bare(&param.name) == *name && fits(param)))
    }

    fn path(&self, names: &[&str], fits: impl Fn(&Fact) -> bool) -> Option<String> {
        self.fact(names, fits).map(|fact| fact.path.clone())
    }

    pub(super) fn ends(&self) -> Ends {
        let is_number = |fact: &Fact| matches!(fact.holds, Holds::Number(_) | Holds::Unknown);
        Ends {
            has_more: self.has_more(),
            total: self.path(&TOTALS, is_number),
            total_pages: self.path(&TOTAL_PAGES, is_number),
        }
    }

    fn has_more(&self) -> Option<String> {
        self.path(&HAS_MORE, |fact| matches!(fact.holds, Holds::Bool | Holds::Unknown))
    }

    /// How many records a page has, and the parameter that says it.
    fn size(&self) -> (u64, Option<String>) {
        match self.param(&SIZES, |param| param.is_number) {
            Some(param) => {
                let size = param.max.map_or(SIZE.max(param.default.unwrap_or(0)), |max| max);
                (size.clamp(1, SIZE_MAX), Some(param.name.clone()))
            }
            None => {
                let told = self.fact(&SIZES, |fact| matches!(fact.holds, Holds::Number(Some(1..))));
                match told.map(|fact| (fact.holds, fact.names.last())) {
                    Some((Holds::Number(Some(size)), Some(_))) => (size.min(SIZE_MAX), None),
                    _ => (SIZE, None),
                }
            }
        }
    }

    /// How the next page is asked for, as far as names tell it.
    pub(super) fn paging(&self) -> Guess<Paging> {
        self.by_url()
            .or_else(|| self.by_token())
            .or_else(|| self.by_last())
            .or_else(|| self.by_number())
            .unwrap_or_else(|| {
                let param = self.param(&TOKEN_PARAMS, |_| true).map(|param| param.name.as_str());
                let why = match (param, self.params.is_some()) {
                    (Some(name), _) => {
                        format!("nothing tells where the value of `{name}` for the next page comes from")
                    }
                    (None, true) => "no parameter looks like one for the next page".to_owned(),
                    (None, false) => "nothing in the answer tells of a next page".to_owned(),
                };
                Guess::guessed(Paging::None, why)
            })
    }

    fn by_url(&self) -> Option<Guess<Paging>> {
        if self.has_link {
            return Some(Guess::guessed(Paging::Link, "the answer has a `Link` header"));
        }
        let is_url = |fact: &Fact| fact.holds == Holds::Url;
        let is_below_links = |fact: &Fact| fact.names.iter().rev().skip(1).any(|name| name.ends_with("links"));
        let sure = self.fact(&NEXT_URLS, is_url).or_else(|| {
            self.facts.iter().find(|fact| {
                is_url(fact)
                    && fact.names.last().is_some_and(|name| name == "href")
                    && fact.names.iter().any(|name| name == "next")
            })
        });
        let found = sure.or_else(|| {
            self.fact(&NEXT_URLS, |fact| {
                let named = fact
                    .names
                    .last()
                    .is_some_and(|name| name.ends_with("url") || name.ends_with("link") || name.ends_with("uri"));
                let is_open = matches!(fact.holds, Holds::Unknown | Holds::Text);
                is_open && (named || is_below_links(fact))
            })
        })?;
        let why = format!("`{}` is the URL of the next page by its name", found.path);
        Some(Guess::guessed(Paging::NextUrl { from: found.path.clone() }, why))
    }

    fn by_token(&self) -> Option<Guess<Paging>> {
        let is_token = |fact: &Fact| match fact.names.as_slice() {
            // a number there is a page or an offset, which is counted
            [.., last] if matches!(last.as_str(), "nextpage" | "next" | "offset" | "nextoffset") => {
                fact.holds == Holds::Text || (fact.holds == Holds::Unknown && last != "offset")
            }
            _ => matches!(fact.holds, Holds::Text | Holds::Unknown | Holds::Number(_)),
        };
        let fact = self.fact(&TOKENS, is_token)?;
        let from = TokenFrom::Answer(fact.path.clone());
        let has_more = self.has_more();
        let name = fact.names.last()?;
        match self.params {
            Some(_) => {
                let own = self.param(&[name.as_str()], |_| true);
                let param = own.or_else(|| self.param(&TOKEN_PARAMS, |param| !param.is_number))?;
                let why = format!("`{}` is the token for `{}` by their names", fact.path, param.name);
                Some(Guess::guessed(Paging::Cursor { from, query: param.name.clone(), has_more }, why))
            }
            None => {
                let query = match name.as_str() {
                    "after" => "after",
                    "nextpagetoken" | "pagetoken" => "page_token",
                    "endcursor" => "after",
                    "offset" | "nextoffset" => "offset",
                    "continuationtoken" | "nextcontinuationtoken" => "continuation_token",
                    "nextmarker" | "marker" => "marker",
                    _ => "cursor",
                };
                let why =
                    format!("`{}` looks like a token; see in the documentation which parameter takes it", fact.path);
                Some(Guess::guessed(Paging::Cursor { from, query: query.to_owned(), has_more }, why))
            }
        }
    }

    fn by_last(&self) -> Option<Guess<Paging>> {
        let param = self.param(&LAST_PARAMS, |_| true)?;
        let key = self.key?;
        let cursor = Paging::Cursor {
            from: TokenFrom::LastRecord(key.to_owned()),
            query: param.name.clone(),
            has_more: self.has_more(),
        };
        Some(Guess::guessed(cursor, format!("`{}` asks for what is behind the last record", param.name)))
    }

    fn by_number(&self) -> Option<Guess<Paging>> {
        let (size, size_param) = self.size();
        let ends = self.ends();
        let page = self.param(&PAGES, |param| param.is_number).map(|param| param.name.clone());
        let offset = self.param(&OFFSETS, |param| param.is_number).map(|param| param.name.clone());
        let is_counted = |fact: &Fact| matches!(fact.holds, Holds::Number(_));
        let (page, offset) = match self.params {
            Some(_) => (page, offset),
            None => {
                let offset = self.fact(&OFFSETS, is_counted).map(|_| "offset".to_owned());
                let has_page = self.fact(&PAGES, is_counted).is_some() || ends.total_pages.is_some();
                (has_page.then(|| "page".to_owned()), offset)
            }
        };
        let why = |param: &str| match self.params {
            Some(_) => format!("by the name of the parameter `{param}`"),
            None => format!("the answer counts; see in the documentation whether the parameter is called `{param}`"),
        };
        match (page, offset) {
            (Some(query), _) => {
                let why = why(&query);
                let start = self.param(&PAGES, |param| param.is_number).and_then(|param| param.default);
                let start = start.filter(|start| *start <= 1).unwrap_or(1);
                Some(Guess::guessed(Paging::Page { query, start, size: Some(size), size_param, ends }, why))
            }
            (None, Some(query)) => {
                let why = why(&query);
                Some(Guess::guessed(Paging::Offset { query, limit: size, limit_param: size_param, ends }, why))
            }
            (None, None) => None,
        }
    }

    /// The parameter that asks for what has changed since.
    pub(super) fn since(&self) -> Option<&Param> {
        const CHANGED: [&str; 5] = ["updated", "modified", "changed", "lastupdate", "lastmod"];
        const SINCE: [&str; 8] = ["since", "after", "gte", "gt", "from", "min", "start", "greaterthan"];
        let asks = |param: &&Param| {
            let bare = bare(&param.name);
            let about = CHANGED.iter().any(|word| bare.contains(word));
            bare == "since" || (about && SINCE.iter().any(|word| bare.ends_with(word) || bare.contains("since")))
        };
        self.params?.iter().find(asks)
    }

    /// The parameter that says how many records a page has, with how many are asked for.
    pub(super) fn page_size(&self) -> Option<(String, u64)> {
        let (size, param) = self.size();
        Some((param?, size))
    }
}

const CHANGED_AT: [&str; 26] = [
    "updatedat",
    "updated",
    "modifiedat",
    "lastmodified",
    "lastmodifiedat",
    "lastmodifieddate",
    "lastmodifieddatetime",
    "lastmodifiedtime",
    "modified",
    "modifiedon",
    "updatedon",
    "dateupdated",
    "datemodified",
    "lastupdated",
    "lastupdatedat",
    "lastupdatedtime",
    "updatetime",
    "updatedtime",
    "modifieddate",
    "modifiedtime",
    "updateddate",
    "systemmodstamp",
    "changedat",
    "changed",
    "mtime",
    "hslastmodifieddate",
];

/// The column that tells when a record was changed last.
pub(super) fn changed_at(columns: &[ColumnDraft]) -> Option<&ColumnDraft> {
    let is_time = |column: &&ColumnDraft| {
        matches!(column.column_type, ColumnType::Timestamptz | ColumnType::Timestamp | ColumnType::Date)
            && column.path().is_some()
    };
    CHANGED_AT.iter().find_map(|name| columns.iter().filter(is_time).find(|column| bare(&column.name) == *name))
}

const FLAGS: [&str; 10] = [
    "deleted",
    "isdeleted",
    "archived",
    "isarchived",
    "deletedat",
    "archivedat",
    "deletedon",
    "datedeleted",
    "trashed",
    "deletedtime",
];

/// The member of a record that tells that it is gone.
pub(super) fn flag(columns: &[ColumnDraft]) -> Option<(&ColumnDraft, FlagKind)> {
    FLAGS.iter().find_map(|name| {
        let column = columns.iter().find(|column| bare(&column.name) == *name && column.path().is_some())?;
        let kind = match column.column_type {
            ColumnType::Boolean => FlagKind::True,
            ColumnType::Timestamptz | ColumnType::Timestamp | ColumnType::Date => FlagKind::Time,
            // only null was seen, as it is while a record lives
            ColumnType::Varchar if column.why.is_some() => FlagKind::Time,
            _ => return None,
        };
        Some((column, kind))
    })
}

/// How likely a member of this name tells records apart; less is likelier.
pub(super) fn key_rank(name: &str) -> usize {
    match bare(name).as_str() {
        "id" => 0,
        "uuid" | "guid" | "gid" | "uid" => 1,
        "sid" | "key" | "code" | "slug" => 2,
        _ if is_identifier(name) => 3,
        "name" | "email" | "login" | "username" => 4,
        _ => 5,
    }
}

/// Names that lists of records have, the likeliest first.
pub(super) const LISTS: [&str; 16] = [
    "data",
    "results",
    "items",
    "records",
    "value",
    "values",
    "entries",
    "rows",
    "list",
    "content",
    "objects",
    "elements",
    "members",
    "nodes",
    "edges",
    "resources",
];

#[cfg(test)]
mod tests {
    use super::{Fact, Holds, List, Param};
    use crate::draft::name::bare;
    use crate::draft::parts::{Ends, Paging, TokenFrom};

    fn fact(path: &str, holds: Holds) -> Fact {
        Fact { path: path.to_owned(), names: path.trim_start_matches("$.").split('.').map(bare).collect(), holds }
    }

    fn param(name: &str, is_number: bool) -> Param {
        Param { name: name.to_owned(), is_number, max: None, default: None }
    }

    fn paging(facts: &[Fact], params: Option<&[Param]>) -> Paging {
        List { facts, params, has_link: false, key: Some("$.id") }.paging().value
    }

    #[test]
    fn names_tell_how_pages_follow() {
        let next = Paging::NextUrl { from: "$.links.next".into() };
        assert_eq!(paging(&[fact("$.links.next", Holds::Url)], None), next);
        assert_eq!(paging(&[fact("$.links.next", Holds::Unknown)], None), next);
        let token = Paging::Cursor {
            from: TokenFrom::Answer("$.paging.next.after".into()),
            query: "after".into(),
            has_more: None,
        };
        assert_eq!(paging(&[fact("$.paging.next.after", Holds::Text)], None), token);
        let known = [param("limit", true), param("pageToken", false)];
        let token = Paging::Cursor {
            from: TokenFrom::Answer("$.nextPageToken".into()),
            query: "pageToken".into(),
            has_more: None,
        };
        assert_eq!(paging(&[fact("$.nextPageToken", Holds::Text)], Some(&known)), token);
        let last = Paging::Cursor {
            from: TokenFrom::LastRecord("$.id".into()),
            query: "starting_after".into(),
            has_more: Some("$.has_more".into()),
        };
        assert_eq!(paging(&[fact("$.has_more", Holds::Bool)], Some(&[param("starting_after", false)])), last);
        let ends = Ends { total: Some("$.total".into()), ..Ends::default() };
        let page = Paging::Page {
            query: "page".into(),
            start: 1,
            size: Some(100),
            size_param: Some("per_page".into()),
            ends: ends.clone(),
        };
        assert_eq!(
            paging(&[fact("$.total", Holds::Number(None))], Some(&[param("page", true), param("per_page", true)])),
            page
        );
        let offset = Paging::Offset { query: "offset".into(), limit: 25, limit_param: None, ends };
        let counted = [
            fact("$.offset", Holds::Number(Some(0))),
            fact("$.limit", Holds::Number(Some(25))),
            fact("$.total", Holds::Number(Some(60))),
        ];
        assert_eq!(paging(&counted, None), offset);
        assert_eq!(paging(&[], None), Paging::None);
        assert_eq!(paging(&[fact("$.nextPageToken", Holds::Text)], Some(&[param("q", false)])), Paging::None);
    }

    #[test]
    fn names_tell_what_asks_for_changes() {
        let params = ["created_after", "limit", "filter[updated_at][gte]", "updated"].map(|name| param(name, false));
        let list = List { facts: &[], params: Some(&params), has_link: false, key: None };
        assert_eq!(list.since().map(|param| param.name.as_str()), Some("filter[updated_at][gte]"));
    }
}
