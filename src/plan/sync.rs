//! Sync files: everything that does not depend on the connection, compiled once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{
    BodyPlan, DeletePlan, Guard, IncrementalPlan, MarkKind, ModelPlan, Order, PageKind, PagePlan, RequestPlan,
    ResponsePlan, Target, TimeFormat, paging, request, table, words,
};
use crate::spec::{
    AbsenceSpec, CursorSpec, DeletesSpec, FlagSpec, GuardSpec, IncrementalSpec, LinkSpec, MarkTypeSpec, NextUrlSpec,
    OffsetSpec, OrderSpec, PageSpec, PaginationSpec, ProviderSpec, RelaySpec, ResponseSpec, SyncSpec,
};

/// A sync before it has a connection.
#[derive(Debug, Clone)]
pub(super) struct SyncDraft {
    pub(super) description: Option<String>,
    pub(super) model: Arc<ModelPlan>,
    pub(super) request: RequestPlan,
    pub(super) response: ResponsePlan,
    pub(super) pagination: PagePlan,
    pub(super) incremental: Option<IncrementalPlan>,
    pub(super) deletes: DeletePlan,
    pub(super) input: Option<Value>,
    /// the words that decide what is asked and how it is paged: a change makes old state useless
    pub(super) essence: Value,
}

pub(super) const OPEN: [&str; 6] = ["config", "input", "variant", "connection", "run", "watermark"];
pub(super) const SECRET: [&str; 7] = ["config", "input", "variant", "connection", "run", "watermark", "credentials"];

/// The variables without `watermark` where there is no `incremental`.
fn scope<'n>(all: &'n [&'n str], incremental: bool) -> Vec<&'n str> {
    all.iter().copied().filter(|name| incremental || *name != "watermark").collect()
}

/// Compiles a sync; `None` where a mistake was found.
pub(super) fn sync(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &SyncSpec,
    document: &Value,
    provider: (&Place<'_>, &ProviderSpec),
    model: Option<Arc<ModelPlan>>,
) -> Option<SyncDraft> {
    let SyncSpec {
        sync: name,
        description,
        docs: _,
        scopes: _,
        input,
        model: _,
        request: request_spec,
        response: response_spec,
        pagination: pagination_spec,
        incremental: incremental_spec,
        deletes: deletes_spec,
    } = spec;
    words::name(sink, &place.key("sync"), name, true);
    let input = input.as_ref().filter(|schema| words::json_schema(sink, &place.key("input"), "input", schema));
    // a misspelt `incremental` is mistake enough
    let watermark = incremental_spec.is_some() || place.is_broken();
    let (open_names, secret_names) = (scope(&OPEN, watermark), scope(&SECRET, watermark));
    let open = Variables { names: &open_names, config: provider.1.config.as_ref(), input };
    let secret = open.with(&secret_names);
    let request = request::request(sink, &place.key("request"), request_spec, provider, open, secret);
    let response = response(sink, &place.key("response"), response_spec, open);
    let pagination = match (pagination_spec, &provider.1.pagination) {
        (Some(spec), _) => paging::pagination(sink, &place.key("pagination"), spec, open),
        (None, Some(spec)) => paging::pagination(sink, &provider.0.key("pagination"), spec, open),
        (None, None) => Some(PagePlan { kind: PageKind::None, stop_when: None, pages_max: 1 }),
    };
    let incremental = match incremental_spec {
        None => Some(None),
        Some(spec) => incremental(sink, &place.key("incremental"), spec, open).map(Some),
    };
    let deletes = match deletes_spec {
        None => Some(DeletePlan::None),
        Some(spec) => deletes(sink, &place.key("deletes"), spec, open),
    };
    let draft = SyncDraft {
        description: description.clone(),
        model: model?,
        request: request?,
        response: response?,
        pagination: pagination?,
        incremental: incremental?,
        deletes: deletes?,
        input: input.cloned(),
        essence: essence(document, pagination_spec.as_ref().or(provider.1.pagination.as_ref()), provider.1),
    };
    cross_rules(sink, place, &draft).then_some(draft)
}

fn essence(document: &Value, pagination: Option<&PaginationSpec>, provider: &ProviderSpec) -> Value {
    let part = |key: &str| document.get(key).cloned().unwrap_or_default();
    serde_json::json!([
        part("request"),
        part("response"),
        part("incremental"),
        part("deletes"),
        part("model"),
        format!("{:?}", pagination.cloned().map(without_bound)),
        format!("{:?}", provider.query),
        format!("{:?}", provider.headers),
    ])
}

/// Pagination without `max_pages`: a scan that reached the bound goes on once it is raised.
fn without_bound(mut spec: PaginationSpec) -> PaginationSpec {
    match &mut spec {
        PaginationSpec::None {} => {}
        PaginationSpec::Link(LinkSpec { max_pages, .. })
        | PaginationSpec::NextUrl(NextUrlSpec { max_pages, .. })
        | PaginationSpec::Cursor(CursorSpec { max_pages, .. })
        | PaginationSpec::Offset(OffsetSpec { max_pages, .. })
        | PaginationSpec::Page(PageSpec { max_pages, .. })
        | PaginationSpec::Relay(RelaySpec { max_pages, .. }) => *max_pages = None,
    }
    spec
}

/// Rules over several words of one sync.
fn cross_rules(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) -> bool {
    let mut good = true;
    if draft.incremental.is_some() && matches!(draft.deletes, DeletePlan::Absence { .. }) {
        let hint = "an incremental scan returns only what changed, so all the rest would count as gone; \
                    use `flag`, or drop `incremental`";
        sink.key_error("E070", &place.key("deletes"), "`absence` cannot go with `incremental`", Some(hint.to_owned()));
        good = false;
    }
    if draft.incremental.is_some() && !request::request_names(&draft.request, "watermark") {
        let hint = "send it: `query: { updated_since: \"{{ watermark }}\" }`".to_owned();
        sink.warning(
            "W083",
            &place.key("incremental"),
            "nothing in the request names `watermark`: every run reads everything",
            Some(hint),
        );
    }
    let to_body = match &draft.pagination.kind {
        PageKind::Cursor { to, .. } => matches!(to, Target::Body(_)),
        PageKind::Offset { offset, .. } => matches!(offset, Target::Body(_)),
        PageKind::Page { page, .. } => matches!(page, Target::Body(_)),
        PageKind::None | PageKind::Link { .. } | PageKind::NextUrl { .. } | PageKind::Relay { .. } => false,
    };
    if to_body && !place.is_broken() && !matches!(draft.request.body, BodyPlan::Json(_) | BodyPlan::Form(_)) {
        let hint = "add `body: { json: {…} }` to the request, or send the position in the `query`".to_owned();
        sink.key_error(
            "E063",
            &place.key("pagination"),
            "the page position goes into the body, and the request has no json or form body",
            Some(hint),
        );
        good = false;
    }
    if matches!(draft.pagination.kind, PageKind::Relay { .. })
        && !place.is_broken()
        && !matches!(draft.request.body, BodyPlan::Graphql { .. })
    {
        let hint = "add `body: { graphql: { query: …, variables: {} } }`".to_owned();
        sink.key_error("E063", &place.key("pagination"), "`relay` pages need a graphql body", Some(hint));
        good = false;
    }
    if let [records] = draft.response.records.as_slice()
        && records.is_singular()
        && !matches!(draft.pagination.kind, PageKind::None)
    {
        let message = format!("`{}` leads to one value, so each page would be one record", records.text());
        let hint = format!("for each item of a list write `{}[*]`", records.text());
        sink.warning("W084", &place.key("response").key("records"), message, Some(hint));
    }
    if draft.incremental.is_none() && matches!(draft.deletes, DeletePlan::None) {
        let hint =
            "add `deletes: { absence: {} }` if the list is complete, or `flag` if records say it themselves".to_owned();
        sink.warning(
            "W080",
            &place.key("sync"),
            "a full sync without `deletes`: rows that vanish from the API stay for ever",
            Some(hint),
        );
    }
    good
}

fn response(sink: &mut Sink, place: &Place<'_>, spec: &ResponseSpec, open: Variables<'_>) -> Option<ResponsePlan> {
    let ResponseSpec { records, optional, filter } = spec;
    let several = records.0.len() > 1;
    let parsed: Vec<_> = records
        .0
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let place = place.key("records");
            words::path(sink, &if several { place.index(index) } else { place }, text)
        })
        .collect();
    let filter = match filter {
        None => Some(None),
        Some(text) => words::predicate(sink, &place.key("where"), text, open.with(&table::RECORD_VARIABLES)).map(Some),
    };
    Some(ResponsePlan { records: parsed.into_iter().collect::<Option<_>>()?, optional: *optional, filter: filter? })
}

fn incremental(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &IncrementalSpec,
    open: Variables<'_>,
) -> Option<IncrementalPlan> {
    let IncrementalSpec { field, kind, format, order, start, lookback } = spec;
    let kind = match kind {
        MarkTypeSpec::Timestamp => MarkKind::Timestamp,
        MarkTypeSpec::Date => MarkKind::Date,
        MarkTypeSpec::Integer => MarkKind::Integer,
        MarkTypeSpec::Text => MarkKind::Text,
    };
    let field = words::singular_path(sink, &place.key("field"), field);
    let format = match format {
        Some(_) if !matches!(kind, MarkKind::Timestamp | MarkKind::Date) => {
            sink.key_error(
                "E044",
                &place.key("format"),
                "only a timestamp or a date has a `format`",
                Some("take the line out".to_owned()),
            );
            None
        }
        Some(text) => words::time_format(sink, &place.key("format"), text),
        None => Some(TimeFormat::Rfc3339),
    };
    let start = match start {
        None => Some(None),
        Some(text) => {
            let names = ["config", "input", "variant", "connection", "run"];
            let template = template(sink, &place.key("start"), text, open.with(&names));
            if template.as_ref().is_some_and(|template| template.is_fixed() && !may_start(kind, text)) {
                let hint = match kind {
                    MarkKind::Integer => "write a whole number: `0`",
                    _ => "write a day or a time: `2020-01-01`, `2020-01-01T00:00:00Z`",
                };
                let message = format!("`{}` is nothing to start from", words::shorten(text));
                sink.error("E036", &place.key("start"), message, Some(hint.to_owned()));
                return None;
            }
            template.map(Some)
        }
    };
    let lookback = match lookback {
        None => Some(Duration::ZERO),
        Some(_) if matches!(kind, MarkKind::Integer | MarkKind::Text) => {
            sink.key_error(
                "E041",
                &place.key("lookback"),
                "only a timestamp or a date has a `lookback`",
                Some("take the line out".to_owned()),
            );
            None
        }
        Some(text) => words::duration(sink, &place.key("lookback"), text),
    };
    Some(IncrementalPlan {
        field: field?,
        kind,
        format: format?,
        order: match order {
            OrderSpec::Ascending => Order::Ascending,
            OrderSpec::Descending => Order::Descending,
            OrderSpec::None => Order::None,
        },
        start: start?,
        lookback: lookback?,
    })
}

/// Whether a fixed `start` can be a mark. Times have more forms than are judged here; what has none of their digits is none.
fn may_start(kind: MarkKind, text: &str) -> bool {
    match kind {
        MarkKind::Timestamp | MarkKind::Date => {
            text.trim().starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        }
        MarkKind::Integer => text.trim().parse::<i64>().is_ok(),
        MarkKind::Text => true,
    }
}

fn deletes(sink: &mut Sink, place: &Place<'_>, spec: &DeletesSpec, open: Variables<'_>) -> Option<DeletePlan> {
    match spec {
        DeletesSpec::Absence(AbsenceSpec { guard }) => {
            let (max_fraction, min_rows, allow_empty) = match guard {
                Some(GuardSpec { max_fraction, min_rows, allow_empty }) => {
                    (max_fraction.unwrap_or(0.3), min_rows.unwrap_or(100), *allow_empty)
                }
                None => (0.3, 100, false),
            };
            Some(DeletePlan::Absence { guard: Guard { max_fraction, min_rows, allow_empty } })
        }
        DeletesSpec::Flag(FlagSpec { when, at }) => {
            let place = place.key("flag");
            let when = words::predicate(sink, &place.key("when"), when, open.with(&table::RECORD_VARIABLES));
            let at = match at {
                None => Some(None),
                Some(_) => words::optional_path(sink, &place, "at", at.as_ref()).map(Some),
            };
            Some(DeletePlan::Flag { when: when?, at: at? })
        }
    }
}
