//! Sync files: everything that does not depend on the connection, compiled once.

use std::sync::Arc;

use serde_json::Value;

use super::incremental::Changes;
use super::place::{Place, Sink};
use super::provider::ProviderWords;
use super::variables::Variables;
use super::{
    Budget, ColumnPlan, ColumnSource, ColumnType, CursorSource, DeletePlan, DetailPlan, DownloadPlan, ErrorAction,
    ErrorRule, IncrementalPlan, JobPlan, LevelSource, ListPlan, MarkKind, ModelPlan, OnWebhook, OutputPlan, PageKind,
    PagePlan, PartitionPlan, Predicate, RequestPlan, ResponsePlan, Schedule, Scope, Template, TokenFeed, ValuePlan,
    WalkPlan, WebhookAction, deletes, incremental, lint, paging, partition, provider, request, schedule, webhook,
    words,
};
use crate::spec::{
    CursorSpec, JobSpec, LinkSpec, ModelRefSpec, NextUrlSpec, OffsetSpec, OutputSpec, PageSpec, PaginationSpec,
    ProviderSpec, RelaySpec, RequestSpec, SyncSpec,
};

/// A sync before it has a connection.
#[derive(Debug, Clone)]
pub(super) struct SyncDraft {
    pub(super) description: Option<String>,
    pub(super) schedule: Schedule,
    pub(super) auto_start: bool,
    pub(super) model: Arc<ModelPlan>,
    pub(super) outputs: Vec<OutputPlan>,
    pub(super) request: RequestPlan,
    pub(super) job: Option<JobPlan>,
    pub(super) response: ResponsePlan,
    pub(super) pagination: PagePlan,
    pub(super) errors: Vec<ErrorRule>,
    pub(super) incremental: Option<IncrementalPlan>,
    /// the zone of `incremental`, where only a connection tells it
    pub(super) timezone: Option<Template>,
    pub(super) token: Option<TokenFeed>,
    /// the list that tells what changed, where it is not that of the records
    pub(super) changes: Option<ListPlan>,
    pub(super) deletes: DeletePlan,
    pub(super) partitions: Option<PartitionPlan>,
    pub(super) walk: Option<WalkPlan>,
    pub(super) details: Vec<DetailPlan>,
    pub(super) on_webhook: Vec<OnWebhook>,
    pub(super) budget: Budget,
    pub(super) input: Option<Value>,
    /// the words that decide what is asked and how it is paged: a change makes old state useless
    pub(super) essence: Value,
}

impl SyncDraft {
    /// Every request that the sync can send.
    pub(super) fn requests(&self) -> Vec<&RequestPlan> {
        let mut requests = vec![&self.request];
        if let Some(JobPlan { poll, download, cancel, .. }) = &self.job {
            requests.push(poll);
            if let DownloadPlan::Request(asked) | DownloadPlan::Each { request: asked, .. } = download {
                requests.push(asked);
            }
            requests.extend(cancel);
        }
        requests.extend(self.changes.iter().map(|list| &list.request));
        requests.extend(self.token.iter().filter_map(|token| token.start.as_ref()).map(|start| &start.request));
        for level in self.partitions.iter().flat_map(|partitions| &partitions.levels) {
            if let LevelSource::List { list, .. } = &level.from {
                requests.push(&list.request);
            }
        }
        match &self.deletes {
            DeletePlan::Feed(feed) => requests.push(&feed.list.request),
            DeletePlan::Sweep(sweep) => requests.push(&sweep.list.request),
            DeletePlan::None | DeletePlan::Absence { .. } | DeletePlan::Flag { .. } | DeletePlan::Webhook => {}
        }
        requests.extend(self.details.iter().map(|detail| &detail.list.request));
        for on in &self.on_webhook {
            if let WebhookAction::Fetch(asked) = &on.then {
                requests.push(asked);
            }
        }
        requests
    }

    /// The part of a connection's input that decides how the sync reads: without lists of which it makes nothing but the items of its
    /// fan-out, so that one more item does not begin the others anew.
    pub(super) fn identity_of(&self, input: &Value) -> Value {
        let levels = self.partitions.iter().flat_map(|partitions| &partitions.levels);
        let lists = levels.filter_map(|level| match &level.from {
            LevelSource::Values(values) => Some(values),
            _ => None,
        });
        let starts = self.walk.iter().filter_map(|walk| walk.start.as_ref());
        let lists = lists.chain(starts).filter_map(|list| match list {
            ValuePlan::Template(template) => Some(template),
            _ => None,
        });
        let mut elsewhere: Vec<&Template> = self.requests().into_iter().flat_map(request::request_templates).collect();
        let of_changes = self.changes.iter().map(|list| &list.response);
        for response in of_changes.chain([&self.response]) {
            if let Some(Predicate::Template(filter)) = &response.filter {
                elsewhere.push(filter);
            }
        }
        let is_elsewhere = |name: &str| {
            elsewhere.iter().map(|template| template.variables()).any(|own| own.contains(name) || own.contains("input"))
        };
        let mut identity = input.clone();
        for name in lists.flat_map(Template::variables).filter(|name| !is_elsewhere(name)) {
            if let (Some(member), Some(members)) = (name.strip_prefix("input."), identity.as_object_mut()) {
                members.remove(member);
            }
        }
        identity
    }
}

/// What a sync is compiled beside.
pub(super) struct Beside<'a> {
    pub(super) provider: &'a ProviderWords<'a>,
    /// the syncs of the provider, with the model that each fills first
    pub(super) syncs: Vec<(&'a str, Option<&'a str>)>,
    /// the models of the provider; none for one with a mistake of its own
    pub(super) models: Vec<(&'a str, Option<Arc<ModelPlan>>)>,
}

impl Beside<'_> {
    /// The model of this name, which stands at `place`; a name that no model has is a mistake.
    pub(super) fn model(&self, sink: &mut Sink, place: &Place<'_>, name: &str) -> Option<Arc<ModelPlan>> {
        if let Some((_, model)) = self.models.iter().find(|(known, _)| *known == name) {
            return model.clone();
        }
        let provider = &self.provider.spec.provider;
        let hint = crate::diagnostic::suggest(name, self.models.iter().map(|(known, _)| *known))
            .unwrap_or_else(|| format!("write integrations/{provider}/models/{name}.yaml"));
        sink.error("E022", place, format!("`{provider}` has no model `{name}`"), Some(hint));
        None
    }
}

/// What templates may name wherever a request of a sync is written; which of them have a value depends on the sync.
pub(super) const ANYWHERE: [&str; 10] =
    ["config", "input", "variant", "connection", "run", "watermark", "window", "page", "parent", "walk"];

/// The variables that have a value in the requests of this sync.
fn names_of(spec: &SyncSpec, pagination: Option<&PaginationSpec>, broken: bool) -> Vec<&'static str> {
    let incremental = spec.incremental.as_ref();
    let has = |name: &&'static str| match *name {
        // a misspelt `incremental` is mistake enough
        "watermark" => incremental.is_some() || broken,
        "window" => incremental.is_some_and(|incremental| incremental.window.is_some()) || broken,
        "page" => pagination.and_then(PaginationSpec::position).is_some(),
        "parent" => spec.for_each.is_some() || broken,
        "walk" => spec.walk.is_some() || broken,
        _ => true,
    };
    ANYWHERE.into_iter().filter(has).collect()
}

/// Compiles a sync; `None` where a mistake was found.
#[expect(clippy::too_many_lines, reason = "it names every word of a sync once")]
pub(super) fn sync(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &SyncSpec,
    document: &Value,
    beside: &Beside<'_>,
) -> Option<SyncDraft> {
    let SyncSpec {
        sync: name,
        description,
        docs: _,
        scopes: _,
        schedule: schedule_spec,
        auto_start,
        input,
        model: model_spec,
        outputs: outputs_spec,
        request: request_spec,
        job: job_spec,
        response: response_spec,
        pagination: pagination_spec,
        errors,
        incremental: incremental_spec,
        deletes: deletes_spec,
        for_each,
        concurrency: _,
        on_error: _,
        walk,
        detail,
        on_webhook,
        max_runtime: _,
        max_requests: _,
        max_records: _,
        allow,
    } = spec;
    let provider = beside.provider;
    words::name(sink, &place.key("sync"), name, true);
    words::allow(sink, place, allow);
    let input = input.as_ref().filter(|schema| words::json_schema(sink, &place.key("input"), "input", schema));
    let paged = pagination_spec.as_ref().or(provider.spec.pagination.as_ref());
    let names = names_of(spec, paged, place.is_broken());
    // what was misspelt may be what a template names
    let mut members: Vec<(&str, Vec<&str>)> = Vec::new();
    let levels = place.key("for_each");
    if !levels.is_hole() && !(0..for_each.as_ref().map_or(0, Vec::len)).any(|at| levels.index(at).is_hole()) {
        members.push(("parent", for_each.iter().flatten().map(|level| level.name.as_str()).collect()));
    }
    let bind = place.key("walk").key("bind");
    members.extend(
        walk.iter().filter(|_| !bind.is_hole()).map(|walk| ("walk", walk.bind.keys().map(String::as_str).collect())),
    );
    members.extend(paged.and_then(PaginationSpec::position).map(|position| ("page", vec![position])));
    let open = Variables { names: &names, config: provider.config.as_ref(), input, members: &members };
    let outputs = outputs(sink, place, (model_spec.as_ref(), outputs_spec.as_deref()), beside, open);
    // of two lists only that of the changes goes by what was read before
    let two_lists = incremental_spec.as_ref().is_some_and(|incremental| incremental.changes.is_some());
    let of_list = if two_lists { open.but(&["watermark", "window"]) } else { names.clone() };
    let asked = asked(sink, place, (request_spec.as_ref(), job_spec.as_ref()), provider, open.with(&of_list));
    let each_says = outputs_spec.as_ref().is_some_and(|outputs| outputs.iter().all(|output| output.records.is_some()));
    let response = request::response_or(sink, &place.key("response"), response_spec, open, each_says);
    let pagination = match paged {
        Some(spec) => {
            // what the provider says stands in its file
            let at = if pagination_spec.is_some() { place } else { &provider.place };
            paging::pagination(sink, &at.key("pagination"), spec, open.with(&of_list))
        }
        None => Some(PagePlan::one()),
    };
    let errors = provider::error_rules(sink, &place.key("errors"), errors, open);
    let incremental = words::optional(incremental_spec.as_ref(), |spec| {
        incremental::incremental(sink, &place.key("incremental"), spec, provider, open)
    });
    let first = outputs.as_ref().map(|(model, _)| model.as_ref());
    let deletes = words::optional(deletes_spec.as_ref(), |spec| {
        deletes::deletes(sink, &place.key("deletes"), spec, provider, first, open)
    });
    let partitions = partition::partitions(sink, place, spec, beside, open);
    let walk = words::optional(walk.as_ref(), |spec| partition::walk(sink, &place.key("walk"), spec, open));
    let details = partition::details(sink, &place.key("detail"), detail.as_ref(), provider, open);
    let on_webhook = webhook::on_webhook(sink, &place.key("on_webhook"), on_webhook, provider, open);
    let schedule = schedule::schedule(sink, &place.key("schedule"), schedule_spec.as_ref());
    let budget = budget(sink, place, spec);
    let ((request, job), (model, outputs)) = (asked?, outputs?);
    let Changes { by_field: incremental, token, list: changes, timezone } = incremental?.unwrap_or_default();
    let draft = SyncDraft {
        description: description.clone(),
        schedule: schedule?,
        auto_start: auto_start.unwrap_or(true),
        model,
        outputs,
        request,
        job,
        response: response?,
        pagination: pagination?,
        errors: errors?,
        incremental,
        timezone,
        token,
        changes,
        deletes: deletes?.unwrap_or(DeletePlan::None),
        partitions: partitions?,
        walk: walk?,
        details: details?,
        on_webhook: on_webhook?,
        budget: budget?,
        input: input.cloned(),
        essence: essence(document, paged, provider.spec),
    };
    cross_rules(sink, place, &draft);
    lint::sync(sink, place, spec, &draft);
    Some(draft)
}

/// What is asked: a request, or a job with the request that starts it.
fn asked(
    sink: &mut Sink,
    place: &Place<'_>,
    (request, job): (Option<&RequestSpec>, Option<&JobSpec>),
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
) -> Option<(RequestPlan, Option<JobPlan>)> {
    match (request, job) {
        (Some(spec), None) => {
            request::request(sink, &place.key("request"), spec, provider, open).map(|request| (request, None))
        }
        (None, Some(spec)) => {
            request::job(sink, &place.key("job"), spec, provider, open).map(|(request, job)| (request, Some(job)))
        }
        (Some(_), Some(_)) => {
            let hint = "keep one of them; the request that starts a job stands in `job: { create: … }`".to_owned();
            sink.key_error(
                "E060",
                &place.key("job"),
                "a sync has a `request` or a `job`, and this one has both",
                Some(hint),
            );
            None
        }
        (None, None) => {
            let hint = "write what is asked: `request: { get: /contacts }`".to_owned();
            // it may be what was misspelt
            if !place.is_broken() {
                sink.error("E011", place, "the key `request` is missing", Some(hint));
            }
            None
        }
    }
}

/// The first model, and all of several.
fn outputs(
    sink: &mut Sink,
    place: &Place<'_>,
    (model, outputs): (Option<&ModelRefSpec>, Option<&[OutputSpec]>),
    beside: &Beside<'_>,
    open: Variables<'_>,
) -> Option<(Arc<ModelPlan>, Vec<OutputPlan>)> {
    match (model, outputs) {
        (Some(model), None) => beside.model(sink, &place.key("model"), model.name()).map(|model| (model, Vec::new())),
        (None, Some(specs)) => {
            let place = place.key("outputs");
            let names = request::record_names(open);
            let mut plans = Vec::with_capacity(specs.len());
            for (index, OutputSpec { model, records, filter }) in specs.iter().enumerate() {
                let at = place.index(index);
                if specs[..index].iter().any(|other| other.model.name() == model.name()) {
                    let hint = "join the two: `records` takes a list of paths".to_owned();
                    let message = format!("two outputs fill the model `{}`", words::shorten(model.name()));
                    sink.error("E113", &at.key("model"), message, Some(hint));
                }
                let model = beside.model(sink, &at.key("model"), model.name());
                let records = match records {
                    None => Some(Vec::new()),
                    Some(texts) => request::words_paths(sink, &at.key("records"), &texts.0),
                };
                let filter = words::optional_predicate(sink, &at.key("where"), filter.as_ref(), open.with(&names));
                plans.extend((|| Some(OutputPlan { model: model?, records: records?, filter: filter? }))());
            }
            let first = Arc::clone(&plans.first()?.model);
            (plans.len() == specs.len()).then_some((first, plans))
        }
        (Some(_), Some(_)) => {
            let hint = "put the model among the `outputs`".to_owned();
            sink.key_error(
                "E113",
                &place.key("outputs"),
                "a sync has a `model` or `outputs`, and this one has both",
                Some(hint),
            );
            None
        }
        (None, None) => {
            let hint = "`model`: the model the records become: `models/<Name>.yaml` of the same provider".to_owned();
            if !place.is_broken() {
                sink.error("E011", place, "the key `model` is missing", Some(hint));
            }
            None
        }
    }
}

fn budget(sink: &mut Sink, place: &Place<'_>, spec: &SyncSpec) -> Option<Budget> {
    let SyncSpec { max_runtime, max_requests, max_records, .. } = spec;
    let runtime = words::optional_duration(sink, &place.key("max_runtime"), max_runtime.as_ref())?;
    Some(Budget { runtime, requests: *max_requests, records: *max_records })
}

fn essence(document: &Value, pagination: Option<&PaginationSpec>, provider: &ProviderSpec) -> Value {
    let part = |key: &str| document.get(key).cloned().unwrap_or_default();
    serde_json::json!([
        part("request"),
        part("response"),
        incremental_essence(part("incremental"), provider),
        part("deletes"),
        model_essence(&part("model")),
        part("outputs"),
        part("job"),
        levels_essence(&part("for_each")),
        walk_essence(&part("walk")),
        part("detail"),
        format!("{:?}", pagination.cloned().map(without_bound)),
        format!("{:?}", provider.query),
        format!("{:?}", provider.headers),
    ])
}

/// What makes a sync incremental, with the paging of a list of changes.
fn incremental_essence(mut incremental: Value, provider: &ProviderSpec) -> Value {
    let Some(changes) = incremental.get_mut("changes").and_then(Value::as_object_mut) else { return incremental };
    match changes.get_mut("pagination") {
        None => drop(changes.insert("pagination".to_owned(), format!("{:?}", provider.pagination).into())),
        // a scan that reached the bound goes on once it is raised
        Some(own) => own.as_object_mut().into_iter().flat_map(|kinds| kinds.values_mut()).for_each(|words| {
            words.as_object_mut().map(|words| words.remove("max_pages"));
        }),
    }
    incremental
}

/// What the items of a fan-out are. Which of them there are says nothing about how one is read.
fn levels_essence(levels: &Value) -> Value {
    let mut levels = levels.clone();
    for level in levels.as_array_mut().into_iter().flatten() {
        if let Some(values) = level.get_mut("from").and_then(|from| from.get_mut("values")) {
            *values = Value::Null;
        }
    }
    levels
}

/// How places lead to others. Where the walk starts says nothing about how a place is read.
fn walk_essence(walk: &Value) -> Value {
    let mut walk = walk.clone();
    if let Some(start) = walk.get_mut("start") {
        *start = Value::Null;
    }
    walk
}

/// Which rows a model stands for. Its columns decide nothing about what is asked: for one that is written inside the sync as for any other, a
/// new column is filled by `remap` or `run --full`.
fn model_essence(model: &Value) -> Value {
    match model {
        Value::Object(inline) => Value::from_iter(
            ["model", "table", "key"].map(|word| (word, inline.get(word).cloned().unwrap_or_default())),
        ),
        name => name.clone(),
    }
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

/// Rules over several words of one sync. One that breaks them is a draft all the same, so that its other mistakes are told.
fn cross_rules(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    absence_is_provable(sink, place, draft);
    let paged = match &draft.job {
        None => Some(&draft.request),
        Some(JobPlan { download: DownloadPlan::Request(asked), .. }) => Some(asked),
        Some(_) => None,
    };
    if let Some(paged) = paged {
        let own = place.key("pagination");
        let asks =
            if draft.job.is_some() { place.key("job").key("download").key("request") } else { place.key("request") };
        let at = if own.node().is_some() { own } else { asks };
        paging::position_has_a_place(sink, &at, &draft.pagination, paged);
    }
    pages_hold_what_is_counted(sink, place, draft);
    words_have_what_they_need(sink, place, draft);
    events_have_whole_records(sink, place, draft);
    one_way_to_read_changes(sink, place, draft);
    repeats_differ(sink, place, draft);
}

/// Rows that are made of more than a record: an event has not all of it.
fn events_have_whole_records(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    let of_parent =
        |column: &ColumnPlan| matches!(&column.source, ColumnSource::Template(template) if template.names("parent"));
    let names_parent = draft.model.columns.iter().any(of_parent);
    let is_path = |at: &usize| matches!(draft.model.columns[*at].source, ColumnSource::Path(_));
    let by_path = draft.model.key.iter().all(is_path);
    for (index, on) in draft.on_webhook.iter().enumerate() {
        let (word, writes) = match on.then {
            WebhookAction::Run => continue,
            WebhookAction::Upsert(_) => ("upsert", true),
            WebhookAction::Fetch(_) => ("fetch", true),
            WebhookAction::Delete(_) => ("delete", false),
        };
        let place = place.key("on_webhook").index(index).key(word);
        if !draft.outputs.is_empty() {
            sink.not_yet(&place, "an event's record for `outputs`");
        } else if writes && !draft.details.is_empty() {
            sink.not_yet(&place, "an event's record for a sync with `detail`");
        } else if writes && names_parent {
            sink.not_yet(&place, "an event's record for columns that name `parent`");
        } else if !writes && !by_path {
            sink.not_yet(&place, "an event's `delete` for a key that a template makes");
        }
    }
}

/// Where each output has its own records, nothing says what a page holds: two paths may lead into one list, or to several of which each has as
/// many as were asked for. Who counts them all skips records, and who stops at a page without any may stop too early.
fn pages_hold_what_is_counted(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    if !draft.response.records.is_empty() || place.is_broken() {
        return;
    }
    let message = match &draft.pagination.kind {
        PageKind::Offset { .. } | PageKind::Page { .. } => "pages are counted by their records, and",
        PageKind::Cursor { from: CursorSource::LastRecord(_), .. } => "the cursor is in the last record of a page, and",
        PageKind::Cursor { .. }
        | PageKind::None
        | PageKind::Link { .. }
        | PageKind::NextUrl { .. }
        | PageKind::Relay { .. } => return,
    };
    let message = format!("{message} with outputs that each have their own it is not known which those are");
    let hint = "say what a page holds: `response: { records: \"$.items[*]\" }`; the outputs keep their own `records`";
    sink.key_error("E113", &place.key("outputs"), &message, Some(hint.to_owned()));
}

/// Words that do nothing without another one.
fn words_have_what_they_need(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    if place.is_broken() {
        return;
    }
    let events_delete = draft.on_webhook.iter().any(|on| !matches!(on.then, WebhookAction::Upsert(_)));
    if matches!(draft.deletes, DeletePlan::Webhook) && !events_delete {
        let hint = "say which events delete: `on_webhook: [{ type: contact.deleted, delete: $.contact }]`".to_owned();
        let at = place.key("deletes").key("webhook");
        sink.key_error("E112", &at, "only events would tell of deletes, and no event deletes", Some(hint));
    }
    if draft.partitions.is_none() {
        let skips = draft.errors.iter().enumerate().filter(|(_, rule)| rule.then == ErrorAction::SkipPartition);
        for (index, _) in skips {
            let hint = "add `for_each`, or say `then: empty` for an answer without records".to_owned();
            let at = place.key("errors").index(index).key("then");
            sink.error("E110", &at, "`skip_partition` is about the partitions of `for_each` or `walk`", Some(hint));
        }
    }
    if !has_counted_pages(draft) {
        let skips = draft.errors.iter().enumerate().filter(|(_, rule)| rule.then == ErrorAction::SkipPage);
        for (index, _) in skips {
            let hint = "say `then: fail`, or `empty` where the answer stands for the end of the list".to_owned();
            let at = place.key("errors").index(index).key("then");
            let message = "`skip_page` needs pages that are counted (`page`, `offset`): only the page itself would tell the next one";
            sink.error("E110", &at, message, Some(hint));
        }
    }
}

/// Whether the sync may ask for a page without the one before it: of its records, or of another of its lists.
fn has_counted_pages(draft: &SyncDraft) -> bool {
    let lists =
        draft.partitions.iter().flat_map(|partitions| &partitions.levels).filter_map(|level| match &level.from {
            LevelSource::List { list, .. } => Some(&list.pagination),
            LevelSource::Values(_) | LevelSource::Rows { .. } => None,
        });
    let of_deletes = match &draft.deletes {
        DeletePlan::Feed(feed) => Some(&feed.list.pagination),
        DeletePlan::Sweep(sweep) => Some(&sweep.list.pagination),
        DeletePlan::None | DeletePlan::Absence { .. } | DeletePlan::Flag { .. } | DeletePlan::Webhook => None,
    };
    let is_counted = |paging: &PagePlan| matches!(paging.kind, PageKind::Page { .. } | PageKind::Offset { .. });
    let of_changes = draft.changes.as_ref().map(|list| &list.pagination);
    lists.chain(of_deletes).chain(of_changes).chain([&draft.pagination]).any(is_counted)
}

/// Windows, tokens and lists that are read down to the watermark are three ways to do the same.
fn one_way_to_read_changes(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    let at = place.key("incremental");
    let Some(incremental) = draft.incremental.as_ref().filter(|_| !place.is_broken()) else { return };
    let ways = [
        ("window", incremental.window.is_some()),
        ("stop_at_watermark", incremental.stop_at_watermark),
        ("token", draft.token.is_some()),
    ];
    let mut taken = ways.into_iter().filter(|(_, is)| *is).map(|(way, _)| way);
    if let (Some(first), Some(second)) = (taken.next(), taken.next()) {
        let message = format!("`{second}` and `{first}` are two ways to read only what changed");
        sink.key_error("E107", &at.key(second), message, Some("keep one of them".to_owned()));
    }
}

/// What makes a request be sent many times must be named in it, or it would be the same request each time.
fn repeats_differ(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    let of_changes = draft.changes.as_ref().is_some_and(|list| request::request_names(&list.request, "window"));
    let window = draft.incremental.as_ref().is_some_and(|incremental| incremental.window.is_some()) && !of_changes;
    let repeats = [
        (
            window,
            "E107",
            place.key("incremental").key("window"),
            "nothing in the request names `window`: each window would read everything",
            "send it: `query: { since: \"{{ window.start }}\", until: \"{{ window.end }}\" }`",
            "window",
        ),
        (
            draft.partitions.as_ref().is_some_and(|partitions| !partitions.levels.is_empty()),
            "E110",
            place.key("for_each"),
            "nothing in the request names `parent`: it would be the same for each item",
            "name the item: `get: \"/repos/{{ parent.repo }}/issues\"`",
            "parent",
        ),
        (
            draft.walk.is_some(),
            "E110",
            place.key("walk"),
            "nothing in the request names `walk`: it would be the same on each level",
            "name what `bind` gives: `query: { folder: \"{{ walk.folder_id }}\" }`",
            "walk",
        ),
    ];
    // the requests for the records; those for items and for what is gone are others
    let mut asked = vec![&draft.request];
    if let Some(JobPlan { poll, download, .. }) = &draft.job {
        asked.push(poll);
        asked.extend(match download {
            DownloadPlan::Request(request) | DownloadPlan::Each { request, .. } => Some(request),
            DownloadPlan::Url(_) | DownloadPlan::Parts(_) => None,
        });
    }
    asked.extend(draft.details.iter().map(|detail| &detail.list.request));
    for (is, code, at, message, hint, variable) in repeats {
        if is && !place.is_broken() && !asked.iter().any(|asked| request::request_names(asked, variable)) {
            sink.key_error(code, &at, message, Some(hint.to_owned()));
        }
    }
    if !place.is_broken() {
        details_differ(sink, place, draft);
    }
}

/// Each detail must be another one, and the records that it is asked for those of the list.
fn details_differ(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    let at = place.key("detail");
    for (index, detail) in draft.details.iter().enumerate() {
        let at = partition::detail_place(&at, index);
        let variable = if detail.batch.is_some() { "records" } else { "record" };
        if !request::request_names(&detail.list.request, variable) {
            let message = format!("nothing in the request names `{variable}`: each detail would be the same");
            let hint = match detail.batch {
                Some(_) => "send the ids: `query: { ids: \"{{ records | map(attribute='id') | join(',') }}\" }`",
                None => "name the record: `get: \"/messages/{{ record.id }}\"`",
            };
            sink.key_error("E111", &at.key("request"), message, Some(hint.to_owned()));
        }
        let keyed = draft.model.key.iter().all(|at| matches!(draft.model.columns[*at].source, ColumnSource::Path(_)));
        if detail.only_changed && !keyed {
            let hint = "let the columns of the key have a `path`, or take the line out".to_owned();
            let message = "`only_changed` finds the stored row by its key, which here only a template gives";
            sink.key_error("E111", &at.key("only_changed"), message, Some(hint));
        }
    }
    let have_own = draft.outputs.iter().any(|output| !output.records.is_empty());
    if draft.changes.is_some() && have_own {
        let hint = "let the outputs share the records of `response`, each by its `where`".to_owned();
        let message = "the changes are another list than the records, and here outputs have records of their own";
        sink.key_error("E107", &place.key("incremental").key("changes"), message, Some(hint));
    }
    if !draft.details.is_empty() && have_own {
        let hint = "let the outputs share the records of `response`, each by its `where`".to_owned();
        let message = "a detail is asked for each record of `response`, and here outputs have records of their own";
        sink.key_error("E111", &at, message, Some(hint));
    }
}

/// `absence` takes what a scan did not return for deleted, so the scan must be one that returns all there is.
fn absence_is_provable(sink: &mut Sink, place: &Place<'_>, draft: &SyncDraft) {
    let at = place.key("deletes");
    if draft.deletes.gone_partitions() && draft.partitions.is_none() && !place.is_broken() {
        let kind = at.node().and_then(Value::as_object).and_then(|kinds| kinds.keys().next()).cloned();
        let word = at.key(&kind.unwrap_or_default()).key("gone_partitions");
        let hint = "add `for_each`, or take the line out".to_owned();
        sink.key_error("E070", &word, "`gone_partitions` needs partitions", Some(hint));
        return;
    }
    let DeletePlan::Absence { scope, gone_partitions: _, guard: _ } = &draft.deletes else { return };
    let inner = at.key("absence");
    let windows = draft.incremental.as_ref().is_some_and(|incremental| incremental.window.is_some());
    let only_changes = draft.changes.is_none() && (draft.incremental.is_some() || draft.token.is_some());
    let (wrong, message, hint) = if *scope == Scope::Window && draft.changes.is_some() {
        let hint = "take `scope` out: with `changes`, what is gone is found when everything was read";
        (inner.key("scope"), "`scope: window` is about the records of windows, and here windows have changes", hint)
    } else if *scope == Scope::All && draft.changes.is_some() && draft.partitions.is_some() {
        let hint = "say `absence: { scope: partition }`";
        (at, "with `changes` each partition is read as a whole at another time, so all of them never are", hint)
    } else if *scope == Scope::Window && !windows {
        (inner.key("scope"), "`scope: window` needs windows", "add `incremental: { window: { size: 1 month } }`")
    } else if *scope == Scope::Window && !has_window_column(draft) {
        let hint = "add a column of type `timestamptz` (`date` for `type: date`) with the path of `incremental.field`";
        let message = match draft.outputs.len() {
            0 => "no column of the model tells which rows are of a window",
            _ => "not each model has a column that tells which rows are of a window",
        };
        (inner.key("scope"), message, hint)
    } else if *scope == Scope::Partition && draft.partitions.is_none() {
        (inner.key("scope"), "`scope: partition` needs partitions", "add `for_each`, or take `scope` out")
    } else if *scope == Scope::All && leaves_items_out(draft) {
        let hint = "say `scope: partition`, or take `changed_only` out";
        (at, "with `changed_only` not all partitions are read, so nothing tells what of all rows is gone", hint)
    } else if only_changes && *scope != Scope::Window {
        let hint = "an incremental scan returns only what changed, so all the rest would count as gone; \
                    use `flag`, or drop `incremental`";
        (at, "`absence` cannot go with `incremental`", hint)
    } else {
        return;
    };
    if !place.is_broken() {
        sink.key_error("E070", &wrong, message, Some(hint.to_owned()));
    }
}

/// Whether a pass over the partitions reads only those whose rows changed.
fn leaves_items_out(draft: &SyncDraft) -> bool {
    let mut levels = draft.partitions.iter().flat_map(|partitions| &partitions.levels);
    levels.any(|level| matches!(level.from, LevelSource::Rows { changed_only: true, .. }))
}

/// Whether each table tells of each row in which window it lies.
fn has_window_column(draft: &SyncDraft) -> bool {
    let Some(incremental) = &draft.incremental else { return false };
    let wanted = match incremental.kind {
        MarkKind::Date => ColumnType::Date,
        MarkKind::Timestamp | MarkKind::Integer | MarkKind::Text => ColumnType::Timestamptz,
    };
    let is = |column: &ColumnPlan| matches!(&column.source, ColumnSource::Path(own) if own.text() == incremental.field.text());
    let has = |model: &ModelPlan| model.columns.iter().any(|column| is(column) && column.column_type == wanted);
    has(&draft.model) && draft.outputs.iter().all(|output| has(&output.model))
}
