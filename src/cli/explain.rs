use std::path::Path;

use serde_json::{Value, json};

use super::output::{DIM, Failure, bold, json_line, table};
use super::{Done, describe, project, status};
use crate::diagnostic::did_you_mean;
use crate::diagnostic::page::{self, Page};
use crate::plan::{
    BodyPlan, ColumnSource, CursorSource, Fact, IncrementalPlan, MarkKind, MoreSign, OnInvalid, Order, PageKind,
    PagePlan, Path as JsonPath, Predicate, RatePlan, SyncId, SyncPlan, Target, TimeFormat, ValuePlan, is_secret_name,
    limits,
};
use crate::scan::{Checkpoint, ScanState};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to explain: syncs, as for `run`, or mistakes by their codes, such as `E010`.
    #[arg(value_name = "SELECTOR|CODE")]
    selectors: Vec<String>,
    /// One JSON object per sync or code, as lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let (codes, selectors): (Vec<String>, Vec<String>) =
        arguments.selectors.iter().cloned().partition(|name| page::is_code(name));
    for code in &codes {
        mistake(code, arguments.json)?;
    }
    if selectors.is_empty() && !codes.is_empty() {
        return Ok(0);
    }
    let plan = project::plan_to_show(folder)?;
    let actions = plan.select_actions(&selectors);
    let names_action = |selector: &String| {
        let one = std::slice::from_ref(selector);
        plan.select(one).is_err() && !plan.select_actions(one).is_empty()
    };
    let (of_actions, of_syncs): (Vec<String>, Vec<String>) = selectors.into_iter().partition(names_action);
    let syncs = if of_syncs.is_empty() && !of_actions.is_empty() { Vec::new() } else { plan.select(&of_syncs)? };
    let store = status::open(&plan.database).ok();
    let mut shown = Shown::default();
    for sync in &syncs {
        let checkpoint = match &store {
            Some(store) => store.checkpoint(&sync.id)?,
            None => None,
        };
        let facts = facts(sync, checkpoint.as_ref());
        if arguments.json {
            json_line(&wire(sync, &facts))?;
        } else {
            shown.print(sync, facts);
        }
    }
    if !arguments.json {
        shown.end();
    }
    for action in &actions {
        let name = format!("{}/{}", action.connection.name, action.name);
        let facts = describe::action(action);
        if arguments.json {
            let facts: Vec<Value> = facts.iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
            json_line(&json!({ "action": name, "description": action.description, "plan": facts }))?;
        } else {
            let description = action.description.as_ref().map(|text| format!("  {text}")).unwrap_or_default();
            print_facts(&format!("{name} (action)"), &description, &facts);
            anstream::println!();
        }
    }
    Ok(0)
}

/// The page of a code, which needs no project.
fn mistake(code: &str, json: bool) -> Result<(), Failure> {
    let Some(Page { code, title, text }) = page::page(code) else {
        let known = page::pages();
        let hint = match did_you_mean(code, known.iter().map(|page| page.code)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a code stands in front of each mistake that `headwater check` prints: `error[E010]`".to_owned(),
        };
        return Err(Failure::user(format!("there is no code `{code}`"), Some(hint)));
    };
    if json {
        return json_line(&json!({ "code": code, "title": title, "text": text }));
    }
    anstream::println!("{text}");
    Ok(())
}

type Facts = Vec<(&'static str, String)>;

/// What was shown: of the variants of one sync the first in full, of others what is not the same.
#[derive(Default)]
struct Shown {
    first: Option<(SyncId, Facts)>,
    /// variants since the first
    others: usize,
}

impl Shown {
    fn print(&mut self, sync: &SyncPlan, facts: Facts) {
        let same = |id: &SyncId| id.connection == sync.id.connection && id.sync == sync.id.sync;
        let Some((first, known)) = self.first.as_ref().filter(|(id, _)| same(id)) else {
            self.end();
            print(sync, &facts);
            self.first = Some((sync.id.clone(), facts));
            return;
        };
        self.others += 1;
        if self.others > limits::LISTED_MAX {
            return;
        }
        let mut other: Facts = facts.iter().filter(|fact| !known.contains(fact)).cloned().collect();
        let lacks = known.iter().filter(|(name, _)| !facts.iter().any(|(known, _)| known == name));
        other.extend(lacks.map(|(name, _)| (*name, "none".to_owned())));
        print_facts(&sync.id.to_string(), &format!("  {DIM}as {first}, but{DIM:#}"), &other);
    }

    /// Ends the list of variants.
    fn end(&mut self) {
        if let Some((first, _)) = self.first.take().filter(|_| self.others > 0) {
            let more = self.others.saturating_sub(limits::LISTED_MAX);
            if more > 0 {
                let SyncId { connection, sync, .. } = first;
                anstream::println!("… and {more} more; `headwater explain {connection}/{sync}@VARIANT` shows one");
            }
            anstream::println!();
        }
        self.others = 0;
    }
}

fn print(sync: &SyncPlan, facts: &[(&'static str, String)]) {
    let description = sync.description.as_ref().map(|text| format!("  {text}")).unwrap_or_default();
    print_facts(&sync.id.to_string(), &description, facts);
    let rows = columns(sync);
    anstream::println!("{}\n", table(&["column", "type", "from", ""], &rows, &[]));
}

fn print_facts(name: &str, description: &str, facts: &[(&'static str, String)]) {
    let title = bold(anstyle::AnsiColor::Cyan);
    anstream::println!("{title}{name}{title:#}{description}");
    for (name, text) in facts {
        anstream::println!("  {DIM}{name:<12}{DIM:#} {text}");
    }
}

fn columns(sync: &SyncPlan) -> Vec<Vec<String>> {
    let model = &sync.model;
    let row = |(at, column): (usize, &crate::plan::ColumnPlan)| {
        let source = match &column.source {
            ColumnSource::Path(path) => path.text().to_owned(),
            ColumnSource::Template(template) | ColumnSource::OfItem(template, _) => template.text().to_owned(),
            ColumnSource::Parent(at) => model.columns[*at].name.clone(),
        };
        let how = format_of(&column.format).map(|format| format!(" ({format})")).unwrap_or_default();
        let marks = [
            (model.key.contains(&at), "key"),
            (column.required && !model.key.contains(&at), "required"),
            (column.volatile, "volatile"),
        ];
        let marks: Vec<&str> = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
        vec![column.name.clone(), format!("{}{how}", column.column_type), source, marks.join(", ")]
    };
    model.columns.iter().enumerate().map(row).collect()
}

/// The plan in words, without secrets: templates are shown, never their values.
fn facts(sync: &SyncPlan, checkpoint: Option<&Checkpoint>) -> Vec<(&'static str, String)> {
    let connection = &sync.connection;
    let path = sync.list.request.path.text();
    let url = if path.starts_with('/') && !connection.knows_its_address() {
        format!("{path}, at an address that the API tells when it is connected")
    } else if path.starts_with('/') {
        format!("{}{path}", connection.base_url.as_str().trim_end_matches('/'))
    } else {
        path.to_owned()
    };
    let mut facts = vec![("request", format!("{} {url}", sync.list.request.method.as_str()))];
    if sync.input.as_object().is_some_and(|input| !input.is_empty()) {
        facts.push(("input", sync.input.to_string()));
    }
    for (name, value) in &sync.list.request.query {
        let text = match value {
            ValuePlan::Template(template) => describe::secret(template).to_owned(),
            value => text_of(value),
        };
        facts.push(("query", format!("{name} = {text}")));
    }
    for (name, template) in &sync.list.request.headers {
        let text = if is_secret_name(name) { describe::secret(template) } else { template.text() };
        facts.push(("header", format!("{name}: {text}")));
    }
    match &sync.list.request.body {
        BodyPlan::None => {}
        BodyPlan::Json(value) => facts.push(("body", text_of(value))),
        BodyPlan::Form(members) => facts.push(("body", text_of(&ValuePlan::Map(members.clone())))),
        BodyPlan::Text(template) => facts.push(("body", template.text().to_owned())),
        BodyPlan::Graphql { query, variables } => {
            facts.push(("graphql", query.split_whitespace().collect::<Vec<_>>().join(" ")));
            facts.push(("variables", text_of(&ValuePlan::Map(variables.clone()))));
        }
        BodyPlan::Multipart(fields) => {
            facts.extend(fields.iter().map(|(name, template)| ("multipart", format!("{name} = {}", template.text()))));
        }
    }
    facts.push(("auth", describe::auth(&connection.auth)));
    facts.extend(describe::session(connection));
    let records: Vec<&str> = sync.list.response.records.iter().map(JsonPath::text).collect();
    let optional = if sync.list.response.optional { ", where there are any" } else { "" };
    facts.push(("records", records.join(" and ") + optional));
    if let Some(filter) = &sync.list.response.filter {
        facts.push(("where", predicate(filter)));
    }
    facts.push(("pages", pages(&sync.list.pagination)));
    if let Some(stop) = &sync.list.pagination.stop_when {
        facts.push(("stop", stop.text().to_owned()));
    }
    if let Some(incremental) = &sync.incremental {
        let moves = match incremental.order {
            _ if incremental.window.is_some() => "with every complete window",
            Order::Ascending => "with every committed page (oldest first)",
            Order::Descending | Order::None => "when a scan is complete",
        };
        facts.push(("incremental", format!("by {}; the watermark moves {moves}", mark(incremental))));
    }
    facts.push(("deletes", describe::deletes(sync)));
    facts.extend(describe::facts(sync));
    facts.push(("limits", budget(sync)));
    let misfits = match sync.model.on_invalid {
        OnInvalid::Quarantine => "go to quarantine",
        OnInvalid::Fail => "fail the run",
        OnInvalid::SetNull => "lose the values that do not",
    };
    facts.push(("table", format!("{}.{}; records that do not fit {misfits}", sync.model.schema, sync.model.table)));
    facts.push(("state", state(checkpoint, sync.fingerprint)));
    facts
}

/// The incremental field with all that is said of it.
fn mark(incremental: &IncrementalPlan) -> String {
    let kind = match incremental.kind {
        MarkKind::Timestamp => "timestamp",
        MarkKind::Date => "date",
        MarkKind::Integer => "integer",
        MarkKind::Text => "text",
    };
    let mut text = format!("{}, {kind}", incremental.field.text());
    if let Some(format) = format_of(&incremental.format) {
        text += &format!(" ({format})");
    }
    if let Some(zone) = incremental.zone {
        text += &format!(", times of {}", zone.name());
    }
    if let Some(start) = &incremental.start {
        text += &format!(", from {}", start.text());
    }
    if !incremental.lookback.is_zero() {
        text += &format!(", {} read again", describe::time(incremental.lookback));
    }
    text
}

/// How a time is written, where it is not as usual.
fn format_of(format: &TimeFormat) -> Option<&str> {
    match format {
        TimeFormat::Rfc3339 => None,
        TimeFormat::EpochS => Some("epoch_s"),
        TimeFormat::EpochMs => Some("epoch_ms"),
        TimeFormat::EpochUs => Some("epoch_us"),
        TimeFormat::Custom(format) => Some(format),
    }
}

fn state(checkpoint: Option<&Checkpoint>, fingerprint: u64) -> String {
    let Some(checkpoint) = checkpoint else { return "has not run; the first run reads everything".into() };
    if checkpoint.fingerprint != fingerprint {
        return "the request, its paging or its settings have changed: the next run starts over".into();
    }
    let mut parts = vec![match (&checkpoint.main.watermark, &checkpoint.token) {
        (_, Some(_)) => "has a token".to_owned(),
        (Some(mark), None) => format!("watermark {mark}"),
        (None, None) => "no watermark".into(),
    }];
    let windows = &checkpoint.windows;
    let guarded = |scan: &ScanState| scan.guarded;
    let scans = [&checkpoint.main.scan, &checkpoint.sweep.scan].into_iter().flatten();
    if scans.chain(windows.open.iter().map(|window| &window.scan)).any(guarded) {
        parts.push("waits for `run --accept-deletes`".into());
    } else if let Some(scan) = &checkpoint.main.scan {
        parts.push(format!("a scan is at page {}, {} records so far", scan.pages, scan.records));
    }
    let left = windows.gaps.iter().chain(windows.open.iter().map(|window| &window.range));
    let left: Vec<String> = left.map(ToString::to_string).collect();
    if let Some((first, others)) = left.split_first() {
        let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
        parts.push(format!("still to read: {first}{others}"));
    }
    if let Some(ahead) = &checkpoint.main.ahead {
        parts.push(format!("reads up to {ahead} once more, because the list may have moved while it was read"));
    }
    if checkpoint.is_complete() {
        parts.push("the last scan was complete".into());
    }
    parts.join("; ")
}

pub(super) fn pages(plan: &PagePlan) -> String {
    let up_to =
        |path: &Option<JsonPath>| path.as_ref().map(|path| format!(", up to {}", path.text())).unwrap_or_default();
    let more = |sign: &Option<MoreSign>| match sign {
        None => String::new(),
        Some(MoreSign { path, last: false }) => format!(", while {}", path.text()),
        Some(MoreSign { path, last: true }) => format!(", until {}", path.text()),
    };
    let sent = |to: &Option<Target>| to.as_ref().map(|to| format!(" ({})", target(to))).unwrap_or_default();
    let text = match &plan.kind {
        PageKind::None => return "one request".into(),
        PageKind::Link { rel, more_param } => {
            let more = more_param.as_ref().map(|name| format!(", while its {name} is not false")).unwrap_or_default();
            format!("Link header, rel={rel}{more}")
        }
        PageKind::NextUrl { from } => format!("the URL in {}", fact(from)),
        PageKind::Cursor { from, to, replaces_params, has_more } => {
            let from = match from {
                CursorSource::Fact(from) => fact(from),
                CursorSource::LastRecord(path) => format!("{} of the last record", path.text()),
            };
            let to = to.as_ref().map_or_else(|| "page.cursor".to_owned(), target);
            let alone = if *replaces_params { ", instead of all parameters" } else { "" };
            format!("cursor from {from} to {to}{alone}{}", more(has_more))
        }
        PageKind::Offset { offset, limit_to, limit, start, total, has_more } => format!(
            "{limit} at a time{}, offset in {} from {start}{}{}",
            sent(limit_to),
            offset.as_ref().map_or("the request, as `page.offset`".to_owned(), target),
            up_to(total),
            more(has_more)
        ),
        PageKind::Page { page, size_to, size, start, total_pages, total, has_more } => {
            let size = size.map(|size| format!("{size} at a time{}, ", sent(size_to))).unwrap_or_default();
            let end = up_to(if total_pages.is_some() { total_pages } else { total });
            format!(
                "{size}page number in {} from {start}{end}{}",
                page.as_ref().map_or("the request, as `page.number`".to_owned(), target),
                more(has_more)
            )
        }
        PageKind::Relay { page_info, after, first } => {
            let size = first.as_ref().map(|(name, size)| format!(", {size} at a time (${name})")).unwrap_or_default();
            format!("relay, {} to ${after}{size}", page_info.text())
        }
    };
    let text = match (&plan.kind, plan.by_position) {
        (_, Some(true)) => format!("{text}, by position"),
        (PageKind::Link { .. } | PageKind::NextUrl { .. }, Some(false)) => format!("{text}, by token"),
        _ => text,
    };
    if plan.pages_max == limits::PAGES_MAX { text } else { format!("{text}; {} pages at most", plan.pages_max) }
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Body(path) => path.text().to_owned(),
        Fact::Header(name) => format!("header {name}"),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Query(name) => format!("query {name}"),
        Target::Header(name) => format!("header {name}"),
        Target::Body(name) => format!("body {name}"),
    }
}

pub(super) fn predicate(predicate: &Predicate) -> String {
    match predicate {
        Predicate::Path(path) => path.text().to_owned(),
        Predicate::Template(template) => template.text().to_owned(),
    }
}

fn budget(sync: &SyncPlan) -> String {
    let rate = &sync.connection.rate_limit;
    let mut parts: Vec<String> = rate
        .quotas
        .iter()
        .map(|quota| format!("{} requests per {}", quota.requests, describe::time(quota.per)))
        .collect();
    if rate.headers.is_some() {
        parts.push("what its headers say is left".to_owned());
    }
    parts.push(format!("{} at once", rate.concurrency));
    if rate.wait_max != RatePlan::DEFAULT.wait_max {
        parts.push(format!("waits of {} at most", describe::time(rate.wait_max)));
    }
    parts.push(format!("{} attempts", sync.connection.retry.attempts));
    parts.join(", ")
}

pub(super) fn text_of(value: &ValuePlan) -> String {
    match value {
        ValuePlan::Fixed(Value::String(text)) => text.clone(),
        ValuePlan::Fixed(value) => value.to_string(),
        ValuePlan::Template(template) => template.text().to_owned(),
        ValuePlan::List(items) => format!("[{}]", items.iter().map(text_of).collect::<Vec<_>>().join(", ")),
        ValuePlan::Map(members) if members.is_empty() => "{}".to_owned(),
        ValuePlan::Map(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}: {}", text_of(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
    }
}

fn wire(sync: &SyncPlan, facts: &[(&'static str, String)]) -> Value {
    let facts: Vec<Value> = facts.iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
    let columns: Vec<Value> = columns(sync)
        .into_iter()
        .map(|row| json!({ "name": row[0], "type": row[1], "from": row[2], "marks": row[3] }))
        .collect();
    json!({ "sync": sync.id.to_string(), "description": sync.description, "plan": facts, "columns": columns })
}
