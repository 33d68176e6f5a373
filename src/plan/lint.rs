//! What is allowed and probably not meant. Each warning can be allowed in place, with a reason.

use std::time::Duration;

use jsonpath_rust::query::js_path_process;
use serde_json::Value;

use super::place::{Place, Sink};
use super::sync::SyncDraft;
use super::{
    BodyPlan, ColumnSource, DeletePlan, IncrementalPlan, MarkKind, ModelPlan, Order, PageKind, Path, PathForm,
    RequestPlan, Step, TimeFormat, request,
};
use crate::spec::{SyncSpec, TestSpec};

/// The warnings about one sync.
pub(super) fn sync(sink: &mut Sink, place: &Place<'_>, spec: &SyncSpec, draft: &SyncDraft) {
    deletes(sink, place, draft);
    records(sink, place, draft);
    pages(sink, place, spec, draft);
    if let Some(incremental) = &draft.incremental {
        let at = place.key("incremental");
        watermark(sink, &at, incremental, draft);
        created(sink, &at, &incremental.field);
        order(sink, &at, incremental, draft, place);
        granularity(sink, &at, incremental);
    } else if draft.token.is_some() && !request::request_names(for_changes(draft), "watermark") {
        never_asked(sink, &place.key("incremental"), draft);
    }
}

/// The request that asks for what changed.
fn for_changes(draft: &SyncDraft) -> &RequestPlan {
    draft.changes.as_ref().map_or(&draft.request, |list| &list.request)
}

fn deletes(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    let full = draft.incremental.is_none() && draft.token.is_none();
    if full && matches!(draft.deletes, DeletePlan::None) {
        let hint = "add `deletes: { absence: {} }` if the list is complete, or `flag` if records say it themselves";
        let message = "a full sync without `deletes`: rows that vanish from the API stay for ever";
        sink.warning("W080", &place.key("sync"), message, Some(hint.to_owned()));
    }
}

fn records(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    if let [records] = draft.response.records.as_slice()
        && records.is_singular()
        && !matches!(draft.pagination.kind, PageKind::None)
    {
        let message = format!("`{}` leads to one value, so each page would be one record", records.text());
        let hint = format!("for each item of a list write `{}[*]`", records.text());
        sink.warning("W084", &place.key("response").key("records"), message, Some(hint));
    }
}

/// Page numbers that nothing ends but an empty page: some APIs repeat the last page for ever, others answer 404 behind it.
fn pages(sink: &mut Sink, place: &Place<'_>, spec: &SyncSpec, draft: &SyncDraft) {
    let PageKind::Page { size: None, total_pages: None, total: None, has_more: None, .. } = &draft.pagination.kind
    else {
        return;
    };
    if draft.pagination.stop_when.is_none() && draft.pagination.pages_max == super::limits::PAGES_MAX {
        let at = if spec.pagination.is_some() { place.key("pagination") } else { place.key("sync") };
        let hint = "name what the answer says: `total_pages: $.pages`, `total` or `has_more`; or the `size` of a page";
        let message = "nothing but an empty page ends these pages";
        sink.warning("W095", &at, message, Some(hint.to_owned()));
    }
}

fn watermark(sink: &mut Sink, at: &Place<'_>, incremental: &IncrementalPlan, draft: &SyncDraft) {
    let asked = for_changes(draft);
    let names = |variable: &str| request::request_names(asked, variable);
    if incremental.window.is_some() {
        let sides = ["window.start", "window.end"].map(|side| {
            request::request_templates(asked).into_iter().any(|template| template.variables().contains(side))
        });
        if names("window") && sides.iter().filter(|side| **side).count() == 1 {
            let missing = if sides[0] { "window.end" } else { "window.start" };
            let message = format!("the request does not name `{missing}`: windows overlap and are read more than once");
            let hint = format!("send it too: `\"{{{{ {missing} }}}}\"`");
            sink.warning("W094", &at.key("window"), message, Some(hint));
        }
    } else if !names("watermark") && !incremental.stop_at_watermark && !incremental.client_filter {
        never_asked(sink, at, draft);
    }
}

fn never_asked(sink: &mut Sink, at: &Place<'_>, draft: &SyncDraft) {
    let hint = "send it: `query: { updated_since: \"{{ watermark }}\" }`".to_owned();
    let at = if draft.changes.is_some() { &at.key("changes") } else { at };
    sink.warning("W083", at, "nothing in the request names `watermark`: every run reads everything", Some(hint));
}

/// Names that APIs have for the time a record was made, without case, `_` and `-`.
const CREATED: [&str; 14] = [
    "created",
    "createdat",
    "createdon",
    "createdtime",
    "createdate",
    "createddate",
    "creationdate",
    "creationtime",
    "datecreated",
    "timecreated",
    "insertedat",
    "addedat",
    "dateadded",
    "createdatetime",
];

/// A watermark on the time of creation: a record that changes later is not read again.
fn created(sink: &mut Sink, at: &Place<'_>, field: &Path) {
    let PathForm::Plain { steps, each: false } = field.form() else { return };
    let Some(Step::Member(name)) = steps.last() else { return };
    if CREATED.contains(&name.to_ascii_lowercase().replace(['_', '-'], "").as_str()) {
        let message = format!("`{name}` is when a record was made: one that changes later is not read again");
        let hint = "use the time of the last change if the API has it; if records never change, allow this".to_owned();
        sink.warning("W091", &at.key("field"), message, Some(hint));
    }
}

/// `order: ascending` moves the watermark with every page, so a list that is not sorted would lose records.
fn order(sink: &mut Sink, at: &Place<'_>, incremental: &IncrementalPlan, draft: &SyncDraft, place: &Place<'_>) {
    let stops = incremental.stop_at_watermark; // told of already: such a list is newest first
    if incremental.order != Order::Ascending || incremental.window.is_some() || stops {
        return;
    }
    let asks = |text: &str| {
        let text = text.to_ascii_lowercase();
        ["sort", "order", "asc", "direction"].iter().any(|word| text.contains(word))
    };
    let request = for_changes(draft);
    let in_query = request.query.iter().any(|(name, _)| asks(name));
    let in_body = match &request.body {
        BodyPlan::Graphql { query, variables: _ } => asks(query),
        BodyPlan::None | BodyPlan::Json(_) | BodyPlan::Form(_) | BodyPlan::Text(_) | BodyPlan::Multipart(_) => {
            let asks_in = match &draft.job {
                _ if draft.changes.is_some() => at.key("changes").key("request"),
                Some(_) => place.key("job").key("create"),
                None => place.key("request"),
            };
            let body = asks_in.key("body");
            body.node().is_some_and(|body: &Value| asks(&body.to_string()))
        }
    };
    if !in_query && !in_body && !asks(request.path.text()) {
        let message =
            "`order: ascending` moves the watermark with every page, and nothing in the request asks for an order";
        let hint = "ask for it: `query: { sort: updated_at }`; allow this if the API always sorts so".to_owned();
        sink.warning("W092", &at.key("order"), message, Some(hint));
    }
}

/// Windows end one `granularity` before the next one starts: times that are told more finely can lie between them.
fn granularity(sink: &mut Sink, at: &Place<'_>, incremental: &IncrementalPlan) {
    let Some(window) = &incremental.window else { return };
    let second = Duration::from_secs(1);
    let finest = match (incremental.kind, &incremental.format) {
        (MarkKind::Date, _) => Duration::from_secs(86_400),
        (_, TimeFormat::Rfc3339 | TimeFormat::EpochS) => second,
        (_, TimeFormat::EpochMs) => Duration::from_millis(1),
        (_, TimeFormat::EpochUs) => Duration::from_micros(1),
        (_, TimeFormat::Custom(format)) => custom_resolution(format),
    };
    if window.granularity > finest {
        let message = format!(
            "windows leave {} between them, and the field tells times to {}",
            humantime::format_duration(window.granularity),
            humantime::format_duration(finest)
        );
        let hint = format!("write `granularity: {}`", humantime::format_duration(finest));
        let window = at.key("window");
        let written = window.key("granularity").node().is_some();
        sink.warning("W093", &if written { window.key("granularity") } else { window }, message, Some(hint));
    }
}

/// The least step between two times that are written so.
fn custom_resolution(format: &str) -> Duration {
    let has = |directives: &[&str]| directives.iter().any(|directive| format.contains(directive));
    if has(&["%f", "%.f", "%3f", "%.3f"]) {
        Duration::from_millis(1)
    } else if has(&["%S", "%T", "%s", "%c", "%X", "%r"]) {
        Duration::from_secs(1)
    } else if has(&["%M", "%R"]) {
        Duration::from_secs(60)
    } else if has(&["%H", "%I"]) {
        Duration::from_secs(3_600)
    } else {
        Duration::from_secs(86_400)
    }
}

/// A column that no record of the recorded answers fills: its path is probably misspelt. `model` stands at `place`; `syncs` are all
/// that fill it, with their tests.
pub(super) fn recorded(sink: &mut Sink, place: &Place<'_>, model: &ModelPlan, syncs: &[(&SyncDraft, Vec<&TestSpec>)]) {
    let recorded: Vec<Vec<&Value>> = syncs.iter().map(|(draft, tests)| records_of(model, draft, tests)).collect();
    // what nothing is recorded of may be what fills the column
    if recorded.is_empty() || recorded.iter().any(Vec::is_empty) {
        return;
    }
    let records = recorded.concat();
    for column in &model.columns {
        if let ColumnSource::Path(path) = &column.source
            && !records.iter().any(|record| !values(path, record).is_empty())
        {
            let message = match records.len() {
                1 => format!("the recorded record has no `{}`", path.text()),
                many => format!("none of the {many} recorded records has `{}`", path.text()),
            };
            let hint =
                "compare the path with the answers of the test; if the API seldom sends it, allow this".to_owned();
            let at = place.key("columns").key(&column.name);
            sink.warning("W096", &at, message, Some(hint));
        }
    }
}

/// The records of a sync that become rows of `model`, in the answers that its tests give.
fn records_of<'t>(model: &ModelPlan, draft: &SyncDraft, tests: &[&'t TestSpec]) -> Vec<&'t Value> {
    // a record that is put together from several answers stands in none of them
    if !draft.details.is_empty() || draft.job.is_some() {
        return Vec::new();
    }
    let own = draft.outputs.iter().find(|output| output.model.name == model.name).map(|output| &output.records);
    let own = own.filter(|paths| !paths.is_empty());
    let of_changes = draft.changes.iter().flat_map(|list| &list.response.records);
    let paths: Vec<&Path> =
        own.map_or_else(|| draft.response.records.iter().chain(of_changes).collect(), |own| own.iter().collect());
    let exchanges =
        tests.iter().flat_map(|test| test.exchange.iter().chain(test.runs.iter().flat_map(|run| &run.exchange)));
    let good =
        exchanges.map(|exchange| &exchange.response).filter(|answer| answer.status.is_none_or(|status| status < 300));
    let bodies = good.filter_map(|answer| answer.body.as_ref());
    bodies.flat_map(|body| paths.iter().flat_map(|path| values(path, body)).collect::<Vec<_>>()).collect()
}

/// What a path leads to in a document of JSON.
fn values<'v>(path: &Path, root: &'v Value) -> Vec<&'v Value> {
    match path.form() {
        PathForm::Query(query) => {
            // a query of the grammar always ends in nodes, never in a value, and so cannot fail
            let found = js_path_process(query, root).unwrap_or_default();
            found.into_iter().map(jsonpath_rust::query::QueryRef::val).collect()
        }
        PathForm::Plain { steps, each } => {
            let end = steps.iter().try_fold(root, |value, step| match step {
                Step::Member(name) => value.get(name),
                Step::Index(index) => {
                    let items = value.as_array()?;
                    let distance = usize::try_from(index.unsigned_abs()).ok()?;
                    items.get(if *index < 0 { items.len().checked_sub(distance)? } else { distance })
                }
            });
            match (end, each) {
                (Some(Value::Array(items)), true) => items.iter().collect(),
                (Some(Value::Object(members)), true) => members.values().collect(),
                (Some(value), false) => vec![value],
                (Some(_), true) | (None, _) => Vec::new(),
            }
        }
    }
}

/// DuckDB calls a database by its file's name, so that a schema of the same name could mean two things.
pub(super) fn database(sink: &mut Sink, place: &Place<'_>, path: &str, providers: &[&str]) {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    if providers.contains(&stem) {
        let message = format!(
            "the database is called `{stem}`, as a provider is: to DuckDB `{stem}.orders` could mean two things"
        );
        let hint = "give the file another name: `warehouse.duckdb`".to_owned();
        sink.warning("W097", &place.key("database"), message, Some(hint));
    }
}
