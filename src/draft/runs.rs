//! The pages of a list as an API would give them: the requests of a scan, and their answers.

use serde_json::{Map, Value, json};

use super::aside::{answer, put};
use super::example::Examples;
use super::parts::{Ends, Paging, TokenFrom};
use super::texts::one;

/// A request that a test expects, and the answer that it gives.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// all parameters, if they are known
    pub query: Option<Map<String, Value>>,
    pub headers: Map<String, Value>,
    pub answer: Value,
}

/// A list that is read.
pub(super) struct ListOf<'d> {
    pub paging: &'d Paging,
    /// where the records stand
    pub records: &'d str,
    /// the parameters of each page's request, but those that say which page; none where they are not known
    pub query: Option<Map<String, Value>>,
    pub examples: &'d Examples<'d>,
}

/// A record of a list, with its number.
pub(super) type Numbered = (u32, Value);

impl ListOf<'_> {
    /// The exchange of a scan that finds these pages; none where an answer cannot be made up.
    pub(super) fn scan(&self, pages: &[Vec<Numbered>]) -> Option<Vec<Exchange>> {
        let mut pages: Vec<&[Numbered]> = pages.iter().map(Vec::as_slice).collect();
        if self.ends_with_an_empty_page() {
            pages.push(&[]);
        }
        let all: usize = pages.iter().map(|page| page.len()).sum();
        let mut before = 0;
        let mut exchanges = Vec::with_capacity(pages.len());
        for (at, page) in pages.iter().enumerate() {
            let last_before = at.checked_sub(1).and_then(|at| pages[at].last());
            let query = self.query_of(at, before, last_before)?;
            let is_last = at + 1 == pages.len();
            let count = (pages.len() - usize::from(self.ends_with_an_empty_page()), all);
            let (body, headers) = self.answer_of(page, (at, is_last), count)?;
            exchanges.push(Exchange { query, headers: Map::new(), answer: response(body, headers) });
            before += page.len();
        }
        Some(exchanges)
    }

    /// Whether nothing but a page without records ends it.
    fn ends_with_an_empty_page(&self) -> bool {
        let told = |ends: &Ends| ends.has_more.is_some() || ends.total.is_some() || ends.total_pages.is_some();
        match own(self.paging) {
            Paging::Offset { ends, .. } => ends.has_more.is_none() && ends.total.is_none(),
            Paging::Page { ends, .. } => !told(ends),
            Paging::Cursor { from: TokenFrom::LastRecord(_), has_more, .. } => has_more.is_none(),
            Paging::OfProvider(_) | Paging::None | Paging::Link | Paging::NextUrl { .. } | Paging::Cursor { .. } => {
                false
            }
        }
    }

    fn query_of(&self, at: usize, before: usize, last: Option<&Numbered>) -> Option<Option<Map<String, Value>>> {
        let Some(base) = &self.query else { return Some(None) };
        let mut query = base.clone();
        let mut size = |param: Option<&String>, size: u64| {
            query.extend(param.map(|param| (param.clone(), size.into())));
        };
        match own(self.paging) {
            Paging::Link | Paging::NextUrl { .. } if at > 0 => return Some(Some(Map::from_iter([next_page(at)]))),
            Paging::OfProvider(_) | Paging::None | Paging::Link | Paging::NextUrl { .. } => {}
            Paging::Cursor { from, query: param, .. } => {
                if let Some((number, _)) = last {
                    let token = match from {
                        TokenFrom::Answer(_) => token(at),
                        TokenFrom::LastRecord(path) => self.examples.at(path, *number)?,
                    };
                    query.insert(param.clone(), token);
                }
            }
            Paging::Offset { query: param, limit, limit_param, .. } => {
                size(limit_param.as_ref(), *limit);
                query.insert(param.clone(), before.into());
            }
            Paging::Page { query: param, start, size: of_page, size_param, .. } => {
                size(size_param.as_ref(), of_page.unwrap_or_default());
                query.insert(param.clone(), (start + at as u64).into());
            }
        }
        Some(Some(query))
    }

    fn answer_of(
        &self,
        page: &[Numbered],
        (at, is_last): (usize, bool),
        (pages, all): (usize, usize),
    ) -> Option<(Value, Map<String, Value>)> {
        let records: Vec<Value> = page.iter().map(|(_, record)| record.clone()).collect();
        let mut body = answer(self.records, &records)?;
        let mut headers = Map::new();
        let mut tell = |path: Option<&String>, value: Value| path.is_none_or(|path| put(&mut body, path, value));
        let told = match own(self.paging) {
            Paging::OfProvider(_) | Paging::None => true,
            Paging::Link => {
                let (name, value) = next_page(at + 1);
                let link = format!("<?{name}={}>; rel=\"next\"", value.as_str().unwrap_or_default());
                headers.extend((!is_last).then(|| ("Link".to_owned(), link.into())));
                true
            }
            Paging::NextUrl { from } => {
                let (name, value) = next_page(at + 1);
                let url = format!("?{name}={}", value.as_str().unwrap_or_default());
                tell(Some(from), if is_last { Value::Null } else { url.into() })
            }
            Paging::Cursor { from, has_more, .. } => {
                let token = match from {
                    TokenFrom::Answer(path) => tell(Some(path), if is_last { Value::Null } else { token(at + 1) }),
                    TokenFrom::LastRecord(_) => true,
                };
                token && tell(has_more.as_ref(), (!is_last).into())
            }
            Paging::Offset { ends, .. } | Paging::Page { ends, .. } => {
                tell(ends.has_more.as_ref(), (!is_last).into())
                    && tell(ends.total.as_ref(), all.into())
                    && tell(ends.total_pages.as_ref(), pages.into())
            }
        };
        told.then_some((body, headers))
    }
}

/// The paging itself, of whomever it is.
pub(super) fn own(paging: &Paging) -> &Paging {
    match paging {
        Paging::OfProvider(inner) => own(inner),
        other => other,
    }
}

/// Whether the second run asks for what the first has asked for: after several pages that are read by numbers, which move when a record goes,
/// where nothing tells how many there are; and after any several pages where the marks of records are no times (`of_time`).
pub(super) fn lags(paging: &Paging, of_time: bool) -> bool {
    match own(paging) {
        Paging::Offset { ends, .. } | Paging::Page { ends, .. } => ends.total.is_none() || !of_time,
        Paging::OfProvider(_) | Paging::None => false,
        Paging::Link | Paging::NextUrl { .. } | Paging::Cursor { .. } => !of_time,
    }
}

/// Whether a page holds what the request asks for at most, so that a test needs two.
pub(super) fn has_pages(paging: &Paging) -> bool {
    !matches!(own(paging), Paging::None)
}

fn token(page: usize) -> Value {
    format!("c{}", page + 1).into()
}

/// The parameter of the URL of a page behind the first.
fn next_page(page: usize) -> (String, Value) {
    ("cursor".to_owned(), token(page))
}

fn response(body: Value, headers: Map<String, Value>) -> Value {
    let mut response = Map::new();
    if !headers.is_empty() {
        response.insert("headers".to_owned(), headers.into());
    }
    response.insert("body".to_owned(), body);
    response.into()
}

impl Exchange {
    /// As a test writes it.
    pub(super) fn written(&self, verb: &str, path: &str) -> Value {
        let mut request = json!({ verb: path });
        if let Some(query) = &self.query {
            request["query"] = query.clone().into();
        }
        if !self.headers.is_empty() {
            request["headers"] = self.headers.clone().into();
        }
        json!({ "request": request, "response": self.answer })
    }

    /// A request that fails.
    pub(super) fn refused(status: u16, text: &str) -> Self {
        let answer = json!({ "status": status, "text": text });
        Self { query: None, headers: Map::new(), answer }
    }

    /// With a header that the request must have.
    pub(super) fn proving(mut self, proof: Option<&(String, String)>) -> Self {
        if let Some((name, value)) = proof {
            self.headers = one(name, value.as_str()).as_object().cloned().unwrap_or_default();
        }
        self
    }
}
