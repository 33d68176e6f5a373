//! Pagination: what was written to what will run.

use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{
    BodyPlan, CursorSource, Fact, MoreSign, PageKind, PagePlan, Path, RequestPlan, Target, Template, limits, request,
    words,
};
use crate::spec::{CursorSpec, LinkSpec, NextUrlSpec, OffsetSpec, PageSpec, PaginationSpec, RelaySpec, StopSpec};

/// What a `stop` may name.
const STOP_VARIABLES: [&str; 5] = ["response", "config", "input", "variant", "connection"];

/// Compiles pagination; `None` where a mistake was found. `place` is the node that holds the choice.
pub(super) fn pagination(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &PaginationSpec,
    variables: Variables<'_>,
) -> Option<PagePlan> {
    let ctx = &mut Context { sink, variables };
    match spec {
        PaginationSpec::None {} => Some(PagePlan::one()),
        PaginationSpec::Link(LinkSpec { rel, has_more_param, position, stop, max_pages }) => {
            let rel = rel.clone().unwrap_or_else(|| "next".to_owned());
            let kind = PageKind::Link { rel, more_param: has_more_param.clone() };
            let plan = ctx.plan(&place.key("link"), stop.as_ref(), *max_pages, Some(kind))?;
            Some(PagePlan { by_position: *position, ..plan })
        }
        PaginationSpec::NextUrl(NextUrlSpec { from, header, position, stop, max_pages }) => {
            let place = place.key("next_url");
            let from = ctx.fact(&place, from.as_ref(), header.as_ref(), "header");
            let plan = ctx.plan(&place, stop.as_ref(), *max_pages, from.map(|from| PageKind::NextUrl { from }))?;
            Some(PagePlan { by_position: *position, ..plan })
        }
        PaginationSpec::Cursor(spec) => ctx.cursor(&place.key("cursor"), spec),
        PaginationSpec::Offset(spec) => ctx.offset(&place.key("offset"), spec),
        PaginationSpec::Page(spec) => ctx.page(&place.key("page"), spec),
        PaginationSpec::Relay(spec) => ctx.relay(&place.key("relay"), spec),
    }
}

struct Context<'s, 'v> {
    sink: &'s mut Sink,
    variables: Variables<'v>,
}

impl Context<'_, '_> {
    fn plan(
        &mut self,
        place: &Place<'_>,
        stop: Option<&StopSpec>,
        max_pages: Option<u64>,
        kind: Option<PageKind>,
    ) -> Option<PagePlan> {
        let stop_when: Option<Option<Template>> = match stop {
            None => Some(None),
            Some(StopSpec { when }) => {
                let place = place.key("stop").key("when");
                template(self.sink, &place, when, self.variables.with(&STOP_VARIABLES)).map(Some)
            }
        };
        let pages_max = max_pages.unwrap_or(limits::PAGES_MAX);
        Some(PagePlan { kind: kind?, by_position: None, stop_when: stop_when?, pages_max })
    }

    fn fact(
        &mut self,
        place: &Place<'_>,
        from: Option<&String>,
        header: Option<&String>,
        header_key: &str,
    ) -> Option<Fact> {
        match (from, header) {
            (Some(from), None) => words::path(self.sink, &place.key("from"), from).map(Fact::Body),
            (None, Some(header)) => {
                let name = words::header_name(self.sink, &place.key(header_key), header)?;
                Some(Fact::Header(name.to_lowercase()))
            }
            (Some(_), Some(_)) => {
                let message = format!("the next page comes from one place only: `from` or `{header_key}`");
                self.sink.key_error("E062", place, message, Some("keep one of them".to_owned()));
                None
            }
            (None, None) => {
                let message = format!("it is not said where the next page comes from: `from` or `{header_key}`");
                let hint = "name the path to it in the answer: `from: $.next`".to_owned();
                self.sink.key_error("E062", place, message, Some(hint));
                None
            }
        }
    }

    fn target(
        &mut self,
        place: &Place<'_>,
        (what, example): (&str, &str),
        query: Option<&String>,
        header: Option<&String>,
        body: Option<&String>,
    ) -> Option<Target> {
        match (query, header, body) {
            (Some(name), None, None) => Some(Target::Query(name.clone())),
            (None, Some(name), None) => words::header_name(self.sink, &place.key("header"), name).map(Target::Header),
            (None, None, Some(name)) => Some(Target::Body(name.clone())),
            (None, None, None) => {
                let message = format!("it is not said where the {what} goes: `query`, `header` or `body`");
                let hint = format!("name the parameter that takes it: `query: {example}`");
                self.sink.key_error("E062", place, message, Some(hint));
                None
            }
            _ => {
                let message = format!("the {what} goes to one place only: `query`, `header` or `body`");
                self.sink.key_error("E062", place, message, Some("keep one of them".to_owned()));
                None
            }
        }
    }

    /// The same, of a position that can stand in the request itself, as a member of `page`: that is seen where there is a request.
    fn own_target(
        &mut self,
        place: &Place<'_>,
        what: (&str, &str),
        query: Option<&String>,
        header: Option<&String>,
        body: Option<&String>,
    ) -> Option<Option<Target>> {
        if query.is_none() && header.is_none() && body.is_none() {
            return Some(None);
        }
        self.target(place, what, query, header, body).map(Some)
    }

    /// An optional path that must parse where it is written.
    fn sign(&mut self, place: &Place<'_>, key: &str, text: Option<&String>) -> Option<Option<Path>> {
        match text {
            None => Some(None),
            Some(_) => words::optional_path(self.sink, place, key, text).map(Some),
        }
    }

    /// The one of two words that says whether there is another page.
    fn more_sign(
        &mut self,
        place: &Place<'_>,
        has_more: Option<&String>,
        last_page: Option<&String>,
    ) -> Option<Option<MoreSign>> {
        if has_more.is_some() && last_page.is_some() {
            let message = "`has_more` and `last_page` say the same of a page: one of them is enough";
            self.sink.key_error("E062", &place.key("last_page"), message, Some("keep one of them".to_owned()));
            return None;
        }
        let has_more = self.sign(place, "has_more", has_more)?.map(|path| MoreSign { path, last: false });
        let last_page = self.sign(place, "last_page", last_page)?.map(|path| MoreSign { path, last: true });
        Some(has_more.or(last_page))
    }

    fn cursor(&mut self, place: &Place<'_>, spec: &CursorSpec) -> Option<PagePlan> {
        let CursorSpec {
            from,
            from_header,
            last_record,
            query,
            header,
            body,
            replaces_params,
            has_more,
            last_page,
            position,
            stop,
            max_pages,
        } = spec;
        let source = match (from, from_header, last_record) {
            (Some(_), None, None) | (None, Some(_), None) => {
                self.fact(place, from.as_ref(), from_header.as_ref(), "from_header").map(CursorSource::Fact)
            }
            (None, None, Some(path)) => {
                words::path(self.sink, &place.key("last_record"), path).map(CursorSource::LastRecord)
            }
            (None, None, None) => {
                let message = "it is not said where the cursor comes from: `from`, `from_header` or `last_record`";
                let hint = "name the path to it in the answer: `from: $.paging.next`".to_owned();
                self.sink.key_error("E062", place, message, Some(hint));
                None
            }
            _ => {
                let message = "the cursor comes from one place only: `from`, `from_header` or `last_record`";
                self.sink.key_error("E062", place, message, Some("keep one of them".to_owned()));
                None
            }
        };
        let to = self.own_target(place, ("cursor", "after"), query.as_ref(), header.as_ref(), body.as_ref());
        let has_more = self.more_sign(place, has_more.as_ref(), last_page.as_ref());
        let kind = (|| {
            Some(PageKind::Cursor { from: source?, to: to?, replaces_params: *replaces_params, has_more: has_more? })
        })();
        let plan = self.plan(place, stop.as_ref(), *max_pages, kind)?;
        Some(PagePlan { by_position: Some(*position), ..plan })
    }

    fn offset(&mut self, place: &Place<'_>, spec: &OffsetSpec) -> Option<PagePlan> {
        let OffsetSpec { query, body, limit, limit_param, start, total, has_more, last_page, stop, max_pages } = spec;
        let offset = self.own_target(place, ("offset", "offset"), query.as_ref(), None, body.as_ref());
        let total = self.sign(place, "total", total.as_ref());
        let has_more = self.more_sign(place, has_more.as_ref(), last_page.as_ref());
        let kind = (|| {
            let offset = offset?;
            Some(PageKind::Offset {
                limit_to: limit_param.clone().map(|name| beside(offset.as_ref(), name)),
                offset,
                limit: *limit,
                start: *start,
                total: total?,
                has_more: has_more?,
            })
        })();
        self.plan(place, stop.as_ref(), *max_pages, kind)
    }

    fn page(&mut self, place: &Place<'_>, spec: &PageSpec) -> Option<PagePlan> {
        let PageSpec { query, body, start, size, size_param, total_pages, total, has_more, last_page, stop, max_pages } =
            spec;
        let page = self.own_target(place, ("page number", "page"), query.as_ref(), None, body.as_ref());
        let total_pages = self.sign(place, "total_pages", total_pages.as_ref());
        let total = self.sign(place, "total", total.as_ref());
        let has_more = self.more_sign(place, has_more.as_ref(), last_page.as_ref());
        if size_param.is_some() && size.is_none() && !place.key("size").is_hole() {
            self.sink.key_error(
                "E062",
                &place.key("size_param"),
                "`size_param` needs `size`: how many to ask for",
                Some("add `size: 100`".to_owned()),
            );
        }
        let kind = (|| {
            let page = page?;
            Some(PageKind::Page {
                size_to: size_param.clone().map(|name| beside(page.as_ref(), name)),
                page,
                start: start.unwrap_or(1),
                size: *size,
                total_pages: total_pages?,
                total: total?,
                has_more: has_more?,
            })
        })();
        self.plan(place, stop.as_ref(), *max_pages, kind)
    }

    fn relay(&mut self, place: &Place<'_>, spec: &RelaySpec) -> Option<PagePlan> {
        let RelaySpec { page_info, after, first, size, position, stop, max_pages } = spec;
        let page_info = words::path(self.sink, &place.key("page_info"), page_info);
        let kind = page_info.map(|page_info| PageKind::Relay {
            page_info,
            after: after.clone().unwrap_or_else(|| "after".to_owned()),
            first: first.clone().map(|name| (name, size.unwrap_or(100))),
        });
        let plan = self.plan(place, stop.as_ref(), *max_pages, kind)?;
        Some(PagePlan { by_position: Some(*position), ..plan })
    }
}

/// Whether the position of a page has a place in the request. `place` is the pagination or, where that stands in the file of the
/// provider, the request; where its file has mistakes of form, the place may be what was misspelt.
pub(super) fn position_has_a_place(sink: &mut Sink, place: &Place<'_>, plan: &PagePlan, request: &RequestPlan) -> bool {
    let (to, kind, what, member) = match &plan.kind {
        PageKind::Cursor { to, .. } => (to.as_ref(), "cursor", "cursor", "after"),
        PageKind::Offset { offset, .. } => (offset.as_ref(), "offset", "offset", "offset"),
        PageKind::Page { page, .. } => (page.as_ref(), "page", "number", "page"),
        PageKind::None | PageKind::Link { .. } | PageKind::NextUrl { .. } | PageKind::Relay { .. } => {
            (None, "", "", "")
        }
    };
    if to.is_none() && !kind.is_empty() {
        if request::request_names(request, "page") {
            return true;
        }
        let message = format!("it is not said where the {what} goes: `query`, `header` or `body`");
        let hint = format!(
            "name the parameter that takes it: `query: {member}`; or put `{{{{ page.{what} }}}}` into the request"
        );
        let own = place.key(kind);
        let at = if own.node().is_some() { &own } else { place };
        sink.key_error("E062", at, message, Some(hint));
        return false;
    }
    if place.is_broken() {
        return true;
    }
    if matches!(to, Some(Target::Body(_))) && !matches!(request.body, BodyPlan::Json(_) | BodyPlan::Form(_)) {
        let hint = "add `body: { json: {…} }` to the request, or send the position in the `query`".to_owned();
        let message = "the page position goes into the body, and the request has no json or form body";
        sink.key_error("E063", place, message, Some(hint));
        return false;
    }
    if matches!(plan.kind, PageKind::Relay { .. }) && !matches!(request.body, BodyPlan::Graphql { .. }) {
        let hint = "add `body: { graphql: { query: …, variables: {} } }`".to_owned();
        sink.key_error("E063", place, "`relay` pages need a graphql body", Some(hint));
        return false;
    }
    true
}

/// The size goes where the position goes.
fn beside(position: Option<&Target>, name: String) -> Target {
    match position {
        Some(Target::Query(_)) | None => Target::Query(name),
        Some(Target::Header(_)) => Target::Header(name),
        Some(Target::Body(_)) => Target::Body(name),
    }
}
