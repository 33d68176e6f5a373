//! The rarer words of a sync, as `explain` says them.

use std::time::Duration;

use super::explain::{predicate, text_of};
use crate::plan::{
    ActionOutput, ActionPlan, AuthPlan, ConnectionPlan, DeletePlan, DetailPlan, DownloadPlan, ErrorAction, ErrorRule,
    Format, Guard, IdempotencyKey, IncrementalPlan, JobPlan, KeyPlace, LevelSource, ListPlan, MadeAuth, OnMissing,
    OnWebhook, PartitionPlan, Path, RequestPlan, Schedule, Scope, SendPlan, Span, SyncPlan, SyncedFirst, Template,
    TokenFeed, TokenPlan, WalkPlan, WebhookAction, WebhookVerify,
};

/// What follows the usual facts: name and text, in the order in which a sync does it.
pub(super) fn facts(sync: &SyncPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if sync.schedule != Schedule::Manual {
        facts.push(("schedule", schedule(&sync.schedule)));
    }
    facts.extend(sync.job.iter().map(|plan| ("job", job(plan))));
    if sync.response.format != Format::Json {
        facts.push(("format", format(&sync.response.format)));
    }
    facts.extend(sync.partitions.iter().flat_map(partitions).map(|text| ("for each", text)));
    facts.extend(sync.walk.iter().map(|plan| ("walk", walk(plan))));
    facts.extend(sync.detail.iter().map(|plan| ("detail", detail(plan))));
    if let Some(incremental) = &sync.incremental {
        facts.extend(windows(incremental).map(|text| ("windows", text)));
    }
    facts.extend(sync.token.iter().map(|plan| ("token", token(plan))));
    facts.extend(outputs(sync).into_iter().map(|text| ("output", text)));
    facts.extend(sync.on_webhook.iter().map(|plan| ("event", on_webhook(plan))));
    facts.extend(sync.errors.iter().chain(&sync.connection.errors).map(|rule| ("error", error(rule))));
    facts.extend(budget(sync).map(|text| ("stops", text)));
    facts.extend(table(sync));
    facts.extend(connection(&sync.connection));
    facts
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn span(span: Span) -> String {
    match span {
        Span::Exact(delta) => time(delta.to_std().unwrap_or_default()),
        Span::Months(1) => "1 month".to_owned(),
        Span::Months(months) => format!("{months} months"),
    }
}

fn schedule(plan: &Schedule) -> String {
    match plan {
        Schedule::Manual => "manual".to_owned(),
        Schedule::Every(every) => format!("every {}", time(*every)),
        Schedule::Cron { pattern, timezone } => format!("{pattern} ({timezone})"),
    }
}

fn request(plan: &RequestPlan) -> String {
    format!("{} {}", plan.method.as_str(), plan.path.text())
}

fn list(plan: &ListPlan) -> String {
    let records: Vec<&str> = plan.response.records.iter().map(Path::text).collect();
    format!("{} of {}", records.join(" and "), request(&plan.request))
}

fn job(plan: &JobPlan) -> String {
    let JobPlan { id, poll, every, timeout, status, done, failed, download } = plan;
    let failed = if failed.is_empty() { String::new() } else { format!(", fails with {}", failed.join(", ")) };
    let result = match download {
        DownloadPlan::Request(asked) => request(asked),
        DownloadPlan::Url(path) => format!("the URL in {}", path.text()),
        DownloadPlan::Parts(path) => format!("the URLs in {}", path.text()),
    };
    format!(
        "its id is {}; {} every {}, for {} at most, until {} is {}{failed}; then {result}",
        id.text(),
        request(poll),
        time(*every),
        time(*timeout),
        status.text(),
        done.join(" or "),
    )
}

fn format(plan: &Format) -> String {
    match plan {
        Format::Json => "one JSON value".to_owned(),
        Format::Ndjson => "one JSON value a line".to_owned(),
        Format::Csv { delimiter, columns, skip, encoding } => {
            let names = columns.as_ref().map_or_else(|| "named by the first row".to_owned(), |names| names.join(", "));
            let skipped = if *skip == 0 { String::new() } else { format!(", behind {skip} others") };
            format!("rows separated by {:?} in {encoding}, {names}{skipped}", char::from(*delimiter))
        }
        Format::Xml { lists } if lists.is_empty() => "XML".to_owned(),
        Format::Xml { lists } => format!("XML; always lists: {}", lists.join(", ")),
        Format::Text => "text".to_owned(),
    }
}

fn partitions(plan: &PartitionPlan) -> Vec<String> {
    let last = plan.levels.len() - 1;
    let level = |(at, level): (usize, &crate::plan::LevelPlan)| {
        let from = match &level.from {
            LevelSource::Values(values) => text_of(values),
            LevelSource::Rows { sync, filter, changed_only } => {
                let rows = if *changed_only { "changed rows" } else { "rows" };
                let filter = filter.as_ref().map(|filter| format!(" with {}", predicate(filter))).unwrap_or_default();
                format!("the {rows} of {sync}{filter}")
            }
            LevelSource::List { list: asked, key } => format!("{}, by {}", list(asked), key.text()),
        };
        let how = if at < last {
            String::new()
        } else {
            let error = if plan.fail_on_error { "the run fails" } else { "it is skipped" };
            format!("; {} at once; where one cannot be read {error}", plan.concurrency)
        };
        format!("{} in {from}{how}", level.name)
    };
    plan.levels.iter().enumerate().map(level).collect()
}

fn walk(plan: &WalkPlan) -> String {
    let WalkPlan { into, bind, start, depth_max } = plan;
    let bind: Vec<String> = bind.iter().map(|(name, path)| format!("{name} = {}", path.text())).collect();
    let start = start.as_ref().map(|start| format!(", from {}", text_of(start))).unwrap_or_default();
    format!("into {} with {}{start}, {depth_max} levels at most", predicate(into), bind.join(", "))
}

fn detail(plan: &DetailPlan) -> String {
    let DetailPlan { request: asked, response: _, member, batch, concurrency, when, only_changed, on_missing } = plan;
    let each = match batch {
        Some((size, key)) => format!("{size} records a request, joined by {}", key.text()),
        None => "one request a record".to_owned(),
    };
    let into = member.as_ref().map_or_else(|| "replaces it".to_owned(), |name| format!("becomes its {name}"));
    let when = when.as_ref().map(|when| format!(", only with {}", predicate(when))).unwrap_or_default();
    let changed = if *only_changed { ", only where it changed" } else { "" };
    let missing = match on_missing {
        OnMissing::Fail => "fails the run",
        OnMissing::Skip => "keeps the record as it is",
        OnMissing::Delete => "deletes the record",
    };
    format!("{}: {each}, {concurrency} at once, {into}{when}{changed}; a 404 {missing}", request(asked))
}

fn windows(plan: &IncrementalPlan) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(window) = &plan.window {
        parts.push(format!("{} each, {} apart", span(window.size), time(window.granularity)));
        if !window.lag.is_zero() {
            parts.push(format!("not nearer to now than {}", time(window.lag)));
        }
        if let Some((when, min)) = &window.split {
            parts.push(format!("halved down to {} while {}", span(*min), when.text()));
        }
        parts.push(format!("{} at once", window.concurrency));
    }
    if plan.stop_at_watermark {
        parts.push("read down to the watermark".to_owned());
    }
    if plan.client_filter {
        parts.push("older records are dropped here".to_owned());
    }
    if let Some(age) = plan.max_age {
        parts.push(format!("starts over where the watermark is older than {}", time(age)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn token(plan: &TokenFeed) -> String {
    let TokenFeed { from, expired, max_age } = plan;
    let age = max_age.map(|age| format!(", or is older than {}", time(age))).unwrap_or_default();
    let expired = match expired {
        Some((status, when)) => {
            let when = when.as_ref().map(|when| format!(" with {}", when.text())).unwrap_or_default();
            format!("; starts over where it has expired ({status}{when}){age}")
        }
        None => String::new(),
    };
    format!("{} is the watermark{expired}", from.text())
}

fn outputs(sync: &SyncPlan) -> Vec<String> {
    let output = |output: &crate::plan::OutputPlan| {
        let records: Vec<&str> = output.records.iter().map(Path::text).collect();
        let records = if records.is_empty() { "the records".to_owned() } else { records.join(" and ") };
        let filter = output.filter.as_ref().map(|filter| format!(" with {}", predicate(filter))).unwrap_or_default();
        format!("{records}{filter} to {}.{}", output.model.schema, output.model.table)
    };
    sync.outputs.iter().map(output).collect()
}

fn on_webhook(plan: &OnWebhook) -> String {
    let kind = plan.kind.as_deref().unwrap_or("any");
    let when = plan.when.as_ref().map(|when| format!(" with {}", when.text())).unwrap_or_default();
    let then = match &plan.then {
        WebhookAction::Upsert(path) => format!("{} is written", path.text()),
        WebhookAction::Delete(path) => format!("{} is deleted", path.text()),
        WebhookAction::Run => "the sync runs".to_owned(),
        WebhookAction::Fetch(asked) => request(asked),
    };
    format!("{kind}{when}: {then}")
}

fn error(rule: &ErrorRule) -> String {
    let ErrorRule { status, when, then, after, message } = rule;
    let status = status.map_or_else(|| "any status".to_owned(), |status| status.to_string());
    let when = when.as_ref().map(|when| format!(" with {}", when.text())).unwrap_or_default();
    let then = match then {
        ErrorAction::Retry => "try again",
        ErrorAction::Fail => "fail",
        ErrorAction::Empty => "no records",
        ErrorAction::SkipPartition => "leave the partition out",
        ErrorAction::Reconnect => "a person must connect again",
    };
    let after = if *after == 1 { String::new() } else { format!(" from the {after}. time on") };
    let message = message.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
    format!("{status}{when}: {then}{after}{message}")
}

fn budget(sync: &SyncPlan) -> Option<String> {
    let budget = sync.budget;
    let parts = [
        budget.runtime.map(|runtime| format!("after {}", time(runtime))),
        budget.requests.map(|requests| format!("after {requests} requests")),
        budget.records.map(|records| format!("after {records} records")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{}; the next run goes on from there", parts.join(" or ")))
}

fn table(sync: &SyncPlan) -> Vec<(&'static str, String)> {
    let model = &sync.model;
    let mut facts = Vec::new();
    if model.raw {
        facts.push(("raw", "the whole record in _raw".to_owned()));
    }
    if model.history {
        facts.push(("history", format!("every version in {}.{}_history", model.schema, model.table)));
    }
    if model.validate.is_some() {
        facts.push(("validate", "rows must fit a JSON Schema".to_owned()));
    }
    if let Some(columns) = &model.columns_from {
        let text = format!("one for each item of {}: {}", columns.each.text(), columns.path.text());
        facts.push(("columns", text));
    }
    for child in &model.children {
        let names: Vec<&str> = child.columns.iter().map(|column| column.name.as_str()).collect();
        let text = format!("{}.{} for each of {}: {}", model.schema, child.table, child.each.text(), names.join(", "));
        facts.push(("child", text));
    }
    facts
}

fn connection(plan: &ConnectionPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(plan.verify.iter().map(|asked| ("verify", request(asked))));
    for learn in &plan.on_connect {
        let names: Vec<&str> = learn.save.iter().map(|(name, _)| name.as_str()).collect();
        facts.push(("on connect", format!("{} for {}", request(&learn.request), names.join(", "))));
    }
    if let Some(headers) = &plan.rate_limit.headers {
        let reset = headers.reset.as_ref().map(|(name, _)| name);
        let names = [headers.remaining.as_ref(), headers.limit.as_ref(), reset];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        facts.push(("told", format!("what is left: {}", names.join(", "))));
    }
    if let Some(webhooks) = &plan.webhooks {
        let verify = match &webhooks.verify {
            WebhookVerify::None => "nothing proves them".to_owned(),
            WebhookVerify::Hmac { header, .. } => format!("signed in {header}"),
            WebhookVerify::Token { name, .. } => format!("a secret in {name}"),
            WebhookVerify::Jwt { header, .. } => format!("a signed token in {header}"),
        };
        facts.push(("webhooks", verify));
    }
    if plan.tls.is_some() {
        facts.push(("tls", "with a client certificate".to_owned()));
    }
    facts
}

/// An action in words, without secrets.
pub(super) fn action(plan: &ActionPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for step in &plan.steps {
        let when = step.when.as_ref().map(|when| format!(", with {}", when.text())).unwrap_or_default();
        let name = if step.name.is_empty() { String::new() } else { format!("{}: ", step.name) };
        facts.push(("request", format!("{name}{}{when}", request(&step.request))));
    }
    if let Some(SyncedFirst { model, filter }) = &plan.synced_first {
        let values: Vec<String> = filter.iter().map(|(name, value)| format!("{name} = {}", text_of(value))).collect();
        facts.push(("first", format!("{}.{} with {}", model.schema, model.table, values.join(", "))));
    }
    let records = plan.response.iter().flat_map(|response| &response.records).map(Path::text);
    facts.extend(records.map(|path| ("record", path.to_owned())));
    facts.push((
        "gives",
        match &plan.output {
            ActionOutput::Record => "the record as it came".to_owned(),
            ActionOutput::Model(model) => format!("the columns of {}", model.name),
            ActionOutput::Columns(columns) => {
                columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
            }
        },
    ));
    facts.extend(plan.save.iter().map(|model| ("saved", format!("in {}.{}", model.schema, model.table))));
    if plan.pagination.is_some() {
        facts.push(("pages", "one a call".to_owned()));
    }
    let repeats = match &plan.idempotency_key {
        Some(IdempotencyKey { header, .. }) => format!("{} attempts, told by {header}", plan.attempts),
        None => format!("{} attempts where it is safe to repeat", plan.attempts),
    };
    facts.push(("retry", repeats));
    facts.extend(plan.errors.iter().chain(&plan.connection.errors).map(|rule| ("error", error(rule))));
    facts
}

/// How a request proves who asks, where that is made first.
pub(super) fn made(plan: &MadeAuth) -> String {
    match plan {
        MadeAuth::AuthorizationCode { authorize_url, token, send, .. } => {
            format!("a person agrees at {}; {}; {}", authorize_url.text(), endpoint(token), sent(send))
        }
        MadeAuth::ClientCredentials { token, send, .. } => format!("{}; {}", endpoint(token), sent(send)),
        MadeAuth::JwtBearer { assertion, token, send } => {
            format!("an assertion ({:?}); {}; {}", assertion.algorithm, endpoint(token), sent(send))
        }
        MadeAuth::Jwt { jwt, send } => {
            format!("a token signed here ({:?}, {}); {}", jwt.algorithm, time(jwt.lifetime), sent(send))
        }
        MadeAuth::GithubApp { app_id, .. } => format!("an installation of the GitHub App {}", app_id.text()),
        MadeAuth::TokenRequest { requests, expires_in, send } => {
            let asked: Vec<String> = requests.iter().map(|(asked, _)| request(asked)).collect();
            let lasts = expires_in.map(|lasts| format!(", for {}", time(lasts))).unwrap_or_default();
            format!("{}{lasts}; {}", asked.join(", then "), sent(send))
        }
        MadeAuth::Oauth1 { signature, .. } => format!("requests signed by OAuth 1.0a ({signature:?})"),
        MadeAuth::Sigv4 { region, service, .. } => format!("requests signed for {service} in {}", region.text()),
    }
}

fn endpoint(plan: &TokenPlan) -> String {
    format!("a token from {}", plan.url.text())
}

fn sent(plan: &SendPlan) -> String {
    auth_key(&plan.place, &plan.value)
}

/// A template that yields a secret: one that is written out is not shown.
pub(super) fn secret(template: &Template) -> &str {
    if template.is_fixed() && !template.text().is_empty() { "***" } else { template.text() }
}

/// A key in its place.
pub(super) fn auth_key(place: &KeyPlace, value: &Template) -> String {
    match place {
        KeyPlace::Header(name) => format!("header {name}: {}", secret(value)),
        KeyPlace::Query(name) => format!("query {name} = {}", secret(value)),
        KeyPlace::Cookie(name) => format!("cookie {name} = {}", secret(value)),
    }
}

/// How a request proves who asks.
pub(super) fn auth(plan: &AuthPlan) -> String {
    match plan {
        AuthPlan::None => "none".into(),
        AuthPlan::ApiKey { place, value } => auth_key(place, value),
        AuthPlan::Basic { username, password } => format!("basic {} : {}", username.text(), secret(password)),
        AuthPlan::Bearer { token } => format!("bearer {}", secret(token)),
        AuthPlan::Made(plan) => made(plan),
    }
}

/// What tells that a record is gone.
pub(super) fn deletes(plan: &DeletePlan) -> String {
    match plan {
        DeletePlan::None => "none: rows that vanish from the API stay".into(),
        DeletePlan::Absence { scope, gone_partitions, guard } => {
            let scan = match scope {
                Scope::All => "what a complete scan does not return",
                Scope::Window => "what a complete window does not return",
                Scope::Partition => "what a complete partition does not return",
            };
            let gone = if *gone_partitions { ", and the rows of partitions that are gone" } else { "" };
            format!("{scan}{gone}; {}", guarded(guard))
        }
        DeletePlan::Flag { when, at } => {
            let at = at.as_ref().map(|path| format!(", since {}", path.text())).unwrap_or_default();
            format!("records with {}{at}", predicate(when))
        }
        DeletePlan::Feed(feed) => {
            let mark = feed.field.as_ref().map(|(path, _)| format!(", by {}", path.text())).unwrap_or_default();
            format!("{}{mark}", list(&feed.list))
        }
        DeletePlan::Sweep(sweep) => {
            format!(
                "what is not in {}, every {} at most; {}",
                list(&sweep.list),
                time(sweep.every),
                guarded(&sweep.guard)
            )
        }
        DeletePlan::Webhook => "what events tell".into(),
    }
}

fn guarded(guard: &Guard) -> String {
    format!(
        "refused above {} % of a table with {} rows or more{}",
        guard.max_fraction * 100.0,
        guard.min_rows,
        if guard.allow_empty { "" } else { ", and where nothing is returned" }
    )
}
