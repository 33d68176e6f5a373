//! What an answer says about the next one.

use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::Error;
use super::answer::Reader;
use crate::plan::{CursorSource, Fact, MoreSign, PageKind, Path, limits};
use crate::record::first;
use crate::record::json::Json;
use crate::remote::{Request, Response};
use crate::scan::{Mark, PageFacts};

/// What is remembered of the records of an answer, however many they are.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) records: u64,
    /// the cursor that the last one bears
    cursor: Option<serde_json::Value>,
    /// the time of the last one that bears any
    oldest: Option<Mark>,
    /// the first and the last as texts, where it is asked whether the same ones come again
    texts: Option<(String, String)>,
}

impl Tail {
    /// The records come behind those before.
    pub(super) fn add(&mut self, reader: &Reader, records: &[&Json<'_>]) {
        let (Some(front), Some(back)) = (records.first(), records.last()) else { return };
        self.records += records.len() as u64;
        let kind = &reader.list.pagination.kind;
        if let PageKind::Cursor { from: CursorSource::LastRecord(path), .. } = kind {
            self.cursor = first(path, back).map(Json::to_serde);
        }
        if let Some((marks, _)) = &reader.stop_below {
            self.oldest = records.iter().rev().find_map(|record| marks.peek(record)).or(self.oldest.take());
        }
        if matches!(kind, PageKind::Page { .. } | PageKind::Offset { .. }) {
            let text = |record: &Json<'_>| {
                let mut text = String::new();
                record.write_text(&mut text, limits::RECORD_BYTES_MAX);
                text
            };
            match &mut self.texts {
                Some((_, last)) => *last = text(back),
                None => self.texts = Some((text(front), text(back))),
            }
        }
    }

    /// A hash of what stands on the page: of how many records, the first and the last.
    fn content(&self) -> Option<u64> {
        let (first, last) = self.texts.as_ref()?;
        Some(xxh3_64(format!("{}{first}{last}", self.records).as_bytes()))
    }
}

impl Reader {
    /// What an answer says about the next one, whose records are remembered in `tail`.
    pub(super) fn facts(
        &self,
        request: &Request,
        response: &Response,
        body: &Json<'_>,
        tail: &Tail,
    ) -> Result<PageFacts, Error> {
        let at = |path: &Path| first(path, body);
        let more = |sign: &Option<MoreSign>| {
            let MoreSign { path, last } = sign.as_ref()?;
            at(path).and_then(truth).map(|found| found != *last)
        };
        let count = |path: &Option<Path>| path.as_ref().and_then(at).and_then(whole);
        let fact = |fact: &Fact| match fact {
            Fact::Body(path) => at(path).map(Json::to_serde),
            Fact::Header(name) => response.header(name).map(Into::into),
        };
        let mut facts = PageFacts { records: tail.records, ..PageFacts::default() };
        match &self.list.pagination.kind {
            PageKind::None => {}
            PageKind::Link { rel, more_param } => {
                facts.next = link(response, rel, more_param.as_deref())
                    .map(|text| self.url(request, response, &text))
                    .transpose()?;
            }
            PageKind::NextUrl { from } => {
                facts.next = match fact(from) {
                    None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => None,
                    Some(serde_json::Value::String(text)) if text.trim().is_empty() => None,
                    Some(serde_json::Value::String(text)) => Some(self.url(request, response, &text)?),
                    Some(other) => return Err(self.no_url(request, &other.to_string())),
                };
            }
            PageKind::Cursor { from, has_more, .. } => {
                facts.has_more = more(has_more);
                facts.next = match from {
                    CursorSource::Fact(from) => fact(from),
                    CursorSource::LastRecord(_) => tail.cursor.clone(),
                };
            }
            PageKind::Offset { total, has_more, .. } => {
                facts.total = count(total);
                facts.has_more = more(has_more);
            }
            PageKind::Page { total_pages, total, has_more, .. } => {
                facts.total = count(total);
                facts.total_pages = count(total_pages);
                facts.has_more = more(has_more);
            }
            PageKind::Relay { page_info, .. } => {
                let info = at(page_info);
                facts.has_more = info.and_then(|info| info.member("hasNextPage")).and_then(truth);
                facts.next = info.and_then(|info| info.member("endCursor")).map(Json::to_serde);
            }
        }
        if let Some(when) = &self.list.pagination.stop_when {
            facts.stop = self.holds("pagination stop.when", when, response, Some(body))?;
        }
        if self.in_window
            && let Some(when) = self.split_when()
        {
            facts.split = self.holds("incremental.window.split.when", when, response, Some(body))?;
        }
        if let Some(from) = &self.token {
            facts.token = at(from).map(Json::to_serde).and_then(|token| self.token(request, token));
        }
        if let Some((_, below)) = &self.stop_below {
            facts.reached = tail.oldest.as_ref().is_some_and(|oldest| oldest < below);
        }
        facts.content = tail.content();
        Ok(facts)
    }

    /// An absolute URL for the next request, resolved against the page it stood on. A text that is no URL is an error: it must not pass for
    /// the end of the list.
    fn url(&self, request: &Request, response: &Response, text: &str) -> Result<serde_json::Value, Error> {
        let redirected = self.client.without_secrets(request, &request.url) != response.url;
        let base = if redirected { &response.url } else { &request.url };
        let url: Url = base.join(text.trim()).map_err(|_| self.no_url(request, text))?;
        Ok(self.client.next_url(request, &url).to_string().into())
    }

    /// The token of a delta feed; none where nothing is said. One that is a URL is kept without the secrets that are sent again anyway.
    pub(super) fn token(&self, request: &Request, token: serde_json::Value) -> Option<serde_json::Value> {
        match token {
            serde_json::Value::Null | serde_json::Value::Bool(false) => None,
            serde_json::Value::String(text) if text.is_empty() => None,
            serde_json::Value::String(text) if self.shows_secret(&text) => {
                Some(Url::parse(&text).map_or(text, |url| self.client.next_url(request, &url).to_string()).into())
            }
            token => Some(token),
        }
    }

    fn no_url(&self, request: &Request, text: &str) -> Error {
        let url = self
            .client
            .redact(text)
            .chars()
            .take(limits::QUOTED_CHARS_MAX)
            .collect::<String>()
            .escape_debug()
            .to_string();
        Error::NextUrl { request: self.client.masked(request), url }
    }
}

fn truth(value: &Json<'_>) -> Option<bool> {
    match value {
        Json::Bool(value) => Some(*value),
        Json::String(text) if text == "true" => Some(true),
        Json::String(text) if text == "false" => Some(false),
        _ => None,
    }
}

fn whole(value: &Json<'_>) -> Option<u64> {
    match value {
        Json::Number(text) | Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The target of the first link of this relation (RFC 8288, 3); none where its parameter says that there is nothing behind it.
fn link(response: &Response, rel: &str, more_param: Option<&str>) -> Option<String> {
    let mut headers = response.headers.iter().filter(|(name, _)| name == "link");
    let (target, own) = headers.find_map(|(_, value)| link_in(value, rel))?;
    let is_last = |(name, value): (&str, &str)| {
        more_param.is_some_and(|more| name.eq_ignore_ascii_case(more)) && value.eq_ignore_ascii_case("false")
    };
    (!parameters(own).any(is_last)).then(|| target.to_owned())
}

/// The target of the first link of this relation, and its parameters.
fn link_in<'h>(header: &'h str, rel: &str) -> Option<(&'h str, &'h str)> {
    let mut rest = header;
    while let Some(open) = rest.find('<') {
        let close = open + rest[open..].find('>')?;
        let target = &rest[open + 1..close];
        let after = &rest[close + 1..];
        let (own, behind) = after.split_at(end_of_parameters(after));
        if parameters(own).any(|(name, value)| {
            name.eq_ignore_ascii_case("rel") && value.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case(rel))
        }) {
            return Some((target, own));
        }
        rest = behind;
    }
    None
}

/// The comma that ends a link, quoted text passed over.
fn end_of_parameters(text: &str) -> usize {
    let mut in_quotes = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => return at,
            _ => {}
        }
    }
    text.len()
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

#[cfg(test)]
mod tests {
    use super::link_in;

    #[test]
    fn links_are_found_by_relation() {
        let header =
            r#"<https://a.example/x?page=1,2&b=<c>; rel="prev", </x?page=3>; title="a, b; c"; rel="next last""#;
        let target = |header, rel| link_in(header, rel).map(|(target, _)| target);
        assert_eq!(target(header, "next"), Some("/x?page=3"));
        assert_eq!(target(header, "first"), None);
        assert_eq!(target("<u>; REL=next", "next"), Some("u"));
        assert_eq!(target("garbage", "next"), None);
    }
}
