//! The rarer words of a sync, as `explain` says them.

use std::time::Duration;

use super::explain::{pages, predicate, text_of};
use crate::plan::{
    ActionOutput, ActionPlan, Algorithm, AuthPlan, BatchPlan, ClientPlan, ConnectionPlan, DeletePlan, DetailPlan,
    DownloadPlan, Encoding, ErrorAction, ErrorRule, Format, Guard, Hash, IdempotencyKey, IncrementalPlan, JobPlan,
    KeyPlace, LevelSource, ListPlan, MadeAuth, ModelPlan, NetworkPlan, OnMissing, OnWebhook, PartitionPlan, Path,
    Predicate, RequestPlan, Schedule, Scope, SendPlan, Signature, SourceFrom, Span, StartToken, SyncPlan, SyncedFirst,
    Template, TlsPlan, TokenFeed, TokenPlan, WalkPlan, WebhookAction, WebhookVerify, WebhooksPlan,
};

/// What follows the usual facts: name and text, in the order in which a sync does it.
pub(super) fn facts(sync: &SyncPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if sync.schedule != Schedule::Manual {
        facts.push(("schedule", schedule(&sync.schedule)));
    }
    facts.extend(sync.job.iter().map(|plan| ("job", job(plan))));
    if sync.list.response.format != Format::Json {
        facts.push(("format", format(&sync.list.response.format)));
    }
    facts.extend(sync.partitions.iter().flat_map(partitions).map(|text| ("for each", text)));
    facts.extend(sync.walk.iter().map(|plan| ("walk", walk(plan, sync.partitions.as_ref()))));
    facts.extend(sync.details.iter().map(|plan| ("detail", detail(plan))));
    facts.extend(sync.incremental.iter().flat_map(stretches));
    facts.extend(sync.token.iter().map(|plan| ("token", token(plan))));
    facts.extend(sync.changes.iter().map(|plan| ("changes", changes(plan))));
    let age = sync.incremental.as_ref().and_then(|plan| plan.max_age);
    let age = age.or(sync.token.as_ref().and_then(|plan| plan.max_age));
    facts.extend(age.map(|age| ("starts over", format!("where the watermark is older than {}", time(age)))));
    facts.extend(outputs(sync).into_iter().map(|text| ("output", text)));
    facts.extend(sync.on_webhook.iter().map(|plan| ("event", on_webhook(plan))));
    facts.extend(sync.errors.iter().chain(&sync.connection.errors).map(|rule| ("error", error(rule))));
    facts.extend(budget(sync).map(|text| ("stops", text)));
    facts.extend(table(sync));
    facts.extend(connection(&sync.connection));
    facts
}

/// A duration as people write it: `2h 30m`, `7 days`.
pub(super) fn time(duration: Duration) -> String {
    let text = humantime::format_duration(duration).to_string();
    let part = |part: &str| match part.find(|c: char| c.is_alphabetic()) {
        Some(at) if part.len() - at > 2 => format!("{} {}", &part[..at], &part[at..]),
        _ => part.to_owned(),
    };
    text.split(' ').map(part).collect::<Vec<_>>().join(" ")
}

fn span(span: Span) -> String {
    match span {
        Span::Exact(_) | Span::Days(_) => time(span.shortest()),
        Span::Months(1) => "1 month".to_owned(),
        Span::Months(months) => format!("{months} months"),
    }
}

/// `1st`, `2nd`, `11th`
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// `a`, `a and b`, `a, b and c`
fn and(parts: &[String]) -> String {
    match parts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn at_once(number: usize) -> String {
    if number == 1 { "one after the other".to_owned() } else { format!("{number} at once") }
}

fn only_where(condition: Option<&Predicate>) -> String {
    condition.map(|condition| format!(" where {}", predicate(condition))).unwrap_or_default()
}

fn schedule(plan: &Schedule) -> String {
    match plan {
        Schedule::Manual => "manual".to_owned(),
        Schedule::Every(every) => {
            let every = time(*every);
            format!("every {}", every.strip_prefix("1 ").unwrap_or(&every))
        }
        Schedule::Cron(calendar) => calendar.to_string(),
    }
}

fn request(plan: &RequestPlan) -> String {
    format!("{} {}", plan.method.as_str(), plan.path.text())
}

fn paths(paths: &[Path]) -> String {
    and(&paths.iter().map(|path| path.text().to_owned()).collect::<Vec<_>>())
}

fn list(plan: &ListPlan) -> String {
    let filter = only_where(plan.response.filter.as_ref());
    format!("{} of {}{filter}", paths(&plan.response.records), request(&plan.request))
}

fn job(plan: &JobPlan) -> String {
    let JobPlan { id, poll, every, timeout, status, done, failed, download, cancel } = plan;
    let failed = if failed.is_empty() { String::new() } else { format!(", failed as {}", failed.join(" or ")) };
    let result = match download {
        DownloadPlan::Request(asked) => request(asked),
        DownloadPlan::Url(path) => format!("the URL in {}", path.text()),
        DownloadPlan::Parts(path) => format!("the URLs in {}", path.text()),
        DownloadPlan::Each { of, request: asked } => format!("{} for each of {}", request(asked), of.text()),
    };
    let cancel =
        cancel.as_ref().map(|asked| format!("; one that is given up is told {}", request(asked))).unwrap_or_default();
    format!(
        "its id is {}; {} every {} for up to {}; done when {} is {}{failed}; then {result}{cancel}",
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
            let names = match columns {
                None => "the first row names the columns".to_owned(),
                Some(names) => format!("the columns are {}", and(names)),
            };
            let skipped = match skip {
                0 => String::new(),
                1 => "; the first row is skipped".to_owned(),
                many => format!("; the first {many} rows are skipped"),
            };
            format!("CSV with {:?}, {encoding}; {names}{skipped}", char::from(*delimiter))
        }
        Format::Xml { lists } if lists.is_empty() => "XML".to_owned(),
        Format::Xml { lists } => format!("XML; {} are always lists", and(lists)),
        Format::Text => "text, as one record".to_owned(),
    }
}

fn partitions(plan: &PartitionPlan) -> Vec<String> {
    let level = |(at, level): (usize, &crate::plan::LevelPlan)| {
        let from = match &level.from {
            LevelSource::Values(values) => text_of(values),
            LevelSource::Rows { sync, model: _, filter, changed_only } => {
                let rows = if *changed_only { "changed rows" } else { "rows" };
                format!("the {rows} of {sync}{}", only_where(filter.as_ref()))
            }
            LevelSource::List { list: asked, key } => format!("{}, by {}", list(asked), key.text()),
        };
        let how = if at + 1 < plan.levels.len() { String::new() } else { how_read(plan) };
        format!("{} in {from}{how}", level.name)
    };
    plan.levels.iter().enumerate().map(level).collect()
}

fn how_read(plan: &PartitionPlan) -> String {
    let error = if plan.fail_on_error { "fails the run" } else { "is skipped" };
    format!("; {}; one that cannot be read {error}", at_once(plan.concurrency))
}

fn walk(plan: &WalkPlan, partitions: Option<&PartitionPlan>) -> String {
    let WalkPlan { into, bind, start, depth_max } = plan;
    let bind: Vec<String> = bind.iter().map(|(name, path)| format!("{name} = {}", path.text())).collect();
    let start = start.as_ref().map(|start| format!(", from {}", text_of(start))).unwrap_or_default();
    let how = partitions.filter(|partitions| partitions.levels.is_empty()).map(how_read).unwrap_or_default();
    format!("into {} by {}{start}, up to {depth_max} levels deep{how}", predicate(into), bind.join(", "))
}

fn detail(plan: &DetailPlan) -> String {
    let DetailPlan { list: asked, shape: _, member, batch, concurrency, when, only_changed, on_missing } = plan;
    let records = if *only_changed { "changed record" } else { "record" };
    let filter = only_where(when.as_ref());
    let each = match batch {
        Some(BatchPlan { size, record_key, detail_key, list: _ }) => {
            let same = record_key.text() == detail_key.text();
            let other = if same { String::new() } else { format!(" = {}", detail_key.text()) };
            format!("once for {size} {records}s{filter}, joined by {}{other}", record_key.text())
        }
        None => format!("once for each {records}{filter}"),
    };
    let into = member
        .as_ref()
        .map_or_else(|| "it replaces the record".to_owned(), |name| format!("it becomes `{name}` of the record"));
    let missing = match on_missing {
        OnMissing::Fail => "fails the run",
        OnMissing::Skip => "keeps the record as it is",
        OnMissing::Delete => "deletes the record",
    };
    format!("{} {each}, {}; {into}; a 404 {missing}", request(&asked.request), at_once(*concurrency))
}

/// How the way from the watermark to now is gone.
fn stretches(plan: &IncrementalPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(window) = &plan.window {
        let lag = if window.lag.is_zero() { String::new() } else { format!(" up to {} ago", time(window.lag)) };
        let split = window
            .split
            .as_ref()
            .map(|(when, min)| format!("; one with {} is halved, down to {}", when.text(), span(*min)));
        facts.push((
            "windows",
            format!(
                "of {}{lag}, {} between two, {}{}",
                span(window.size),
                time(window.granularity),
                at_once(window.concurrency),
                split.unwrap_or_default()
            ),
        ));
    }
    if plan.stop_at_watermark {
        facts.push(("reads", "newest first, down to the watermark".to_owned()));
    }
    if plan.client_filter {
        facts.push(("reads", "everything, and drops what is older than the watermark".to_owned()));
    }
    facts
}

fn token(plan: &TokenFeed) -> String {
    let TokenFeed { from, optional, start, expired, max_age: _ } = plan;
    let first = start.as_ref().map(|StartToken { request: asked, from }| {
        format!("; the first one is {} of {}, before everything is read", from.text(), request(asked))
    });
    let expired = match expired {
        Some((status, when)) => {
            let when = when.as_ref().map(|when| format!(" with {}", when.text())).unwrap_or_default();
            format!("; a {status}{when} says that it has expired, and the sync starts over")
        }
        None => String::new(),
    };
    let lacks = if *optional { "; without one, the one before stays" } else { "" };
    format!("{} of the last page is the watermark{lacks}{}{expired}", from.text(), first.unwrap_or_default())
}

fn changes(plan: &ListPlan) -> String {
    format!("{}, {}; read from the second run on, after everything", list(plan), pages(&plan.pagination))
}

fn outputs(sync: &SyncPlan) -> Vec<String> {
    let output = |(at, output): (usize, &crate::plan::OutputPlan)| {
        let records = if output.records.is_empty() { "the records".to_owned() } else { paths(&output.records) };
        let model = &output.model;
        let names: Vec<String> = model.columns.iter().map(|column| column.name.clone()).collect();
        // the columns of the first one are shown below
        let columns = if at == 0 { String::new() } else { format!(": {}", names.join(", ")) };
        format!("{}.{} from {records}{}{columns}", model.schema, model.table, only_where(output.filter.as_ref()))
    };
    sync.outputs.iter().enumerate().map(output).collect()
}

fn on_webhook(plan: &OnWebhook) -> String {
    let kind = plan.kind.as_deref().unwrap_or("any");
    let when = plan.when.as_ref().map(|when| format!(" where {}", when.text())).unwrap_or_default();
    let then = match &plan.then {
        WebhookAction::Upsert(path) => format!("{} is written", path.text()),
        WebhookAction::Delete(path) => format!("{} is deleted", path.text()),
        WebhookAction::Run => "the sync runs".to_owned(),
        WebhookAction::Fetch(asked) => format!("{}, and the answer is written", request(asked)),
    };
    format!("{kind}{when}: {then}")
}

fn error(rule: &ErrorRule) -> String {
    let ErrorRule { status, when, then, wait, after, message } = rule;
    let status = status.map_or_else(|| "any answer".to_owned(), |status| status.to_string());
    let when = when.as_ref().map(|when| format!(" where {}", when.text())).unwrap_or_default();
    let then = match then {
        ErrorAction::Retry => "is tried again",
        ErrorAction::Accept => "is a success",
        ErrorAction::Fail => "fails the run",
        ErrorAction::Empty => "means no records",
        ErrorAction::SkipPage => "skips the page",
        ErrorAction::SkipPartition => "skips the partition",
        ErrorAction::RefreshAuth => "renews the token",
        ErrorAction::Reset => "starts over",
        ErrorAction::Reconnect => "wants a person to connect again",
    };
    let after = if *after == 1 { String::new() } else { format!(", from the {} time on,", ordinal(*after)) };
    let message = message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    let wait = wait.as_ref().map(|wait| format!(" after {} seconds", wait.text())).unwrap_or_default();
    format!("{status}{when}{after} {then}{wait}{message}")
}

fn budget(sync: &SyncPlan) -> Option<String> {
    let budget = sync.budget;
    let parts = [
        budget.runtime.map(time),
        budget.requests.map(|requests| format!("{requests} requests")),
        budget.records.map(|records| format!("{records} records")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("after {}; the next run goes on from there", parts.join(" or ")))
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
        let (SourceFrom::Path(source) | SourceFrom::Value(source)) = &columns.source;
        let [each, name, path, of] = [&columns.each, &columns.name, source, &columns.column_type].map(Template::text);
        facts.push(("columns", format!("{name} ({of}) from {path}, for each item of {each}")));
    }
    for child in &model.children {
        let ModelPlan { table, columns, key, .. } = &*child.model;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let key: Vec<String> = key.iter().map(|at| columns[*at].name.clone()).collect();
        let (names, key) = (names.join(", "), and(&key));
        let text = format!("{}.{table} from {}: {names}; key {key}", model.schema, child.each.text());
        facts.push(("child", text));
    }
    facts
}

fn connection(plan: &ConnectionPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(plan.verify.iter().map(|asked| ("verify", request(asked))));
    for learn in &plan.on_connect {
        let names: Vec<String> = learn.save.iter().map(|(name, _)| format!("config.{name}")).collect();
        facts.push(("on connect", format!("{} gives {}", request(&learn.request), and(&names))));
    }
    if let Some(headers) = &plan.rate_limit.headers {
        let reset = headers.reset.as_ref().map(|(name, _)| name);
        let names = [headers.remaining.as_ref(), headers.limit.as_ref(), reset];
        let names: Vec<String> = names.into_iter().flatten().cloned().collect();
        facts.push(("rate limit", format!("what is left is told in {}", and(&names))));
    }
    facts.extend(plan.webhooks.iter().map(|plan| ("webhooks", webhooks(plan))));
    if let Some(TlsPlan { client_certificate: _, client_key: _, authority }) = &plan.tls {
        let trusted = if authority.is_some() { ", and an authority of its own" } else { "" };
        facts.push(("tls", format!("with a client certificate{trusted}")));
    }
    let NetworkPlan { allow_http, allow_private, follow_redirects } = plan.network;
    let allowed = [
        (allow_http, "without TLS"),
        (allow_private, "in private networks"),
        (follow_redirects, "where a redirect leads"),
    ];
    let allowed: Vec<String> = allowed.iter().filter(|(is, _)| *is).map(|(_, what)| (*what).to_owned()).collect();
    if !allowed.is_empty() {
        facts.push(("network", format!("hosts that are not written out may be asked {}", and(&allowed))));
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

fn webhooks(plan: &WebhooksPlan) -> String {
    let WebhooksPlan { verify, handshake: _, events, kind, id: _, matches } = plan;
    let verify = match verify {
        WebhookVerify::None => "nothing proves them".to_owned(),
        WebhookVerify::Hmac { hash, header, encoding, .. } => {
            let hash = match hash {
                Hash::Sha256 => "SHA-256",
                Hash::Sha1 => "SHA-1",
                Hash::Sha512 => "SHA-512",
            };
            let encoding = match encoding {
                Encoding::Hex => "hex",
                Encoding::Base64 => "base64",
            };
            format!("proven by an HMAC ({hash}, {encoding}) in header {header}")
        }
        WebhookVerify::Token { in_header, name, .. } => {
            format!("proven by a secret in {} {name}", if *in_header { "header" } else { "query" })
        }
        WebhookVerify::Jwt { header, algorithm, .. } => {
            format!("proven by a token signed with {} in header {header}", algorithm_name(*algorithm))
        }
    };
    let events = events.as_ref().map(|path| format!("; events in {}", path.text())).unwrap_or_default();
    let kind = kind.as_ref().map(|kind| format!("; their type is {}", kind.text())).unwrap_or_default();
    let matches = matches.as_ref().map(|matches| {
        let settings = matches.iter().map(|(name, path)| format!("config.{name} is {}", path.text()));
        format!("; for the connection whose {}", and(&settings.collect::<Vec<_>>()))
    });
    format!("{verify}{events}{kind}{}", matches.unwrap_or_default())
}

fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Rs256 => "RS256",
        Algorithm::Es256 => "ES256",
        Algorithm::Hs256 => "HS256",
    }
}

/// How a request proves who asks, where that is made first.
pub(super) fn made(plan: &MadeAuth) -> String {
    match plan {
        MadeAuth::AuthorizationCode { authorize_url, device_url, token, send, .. } => {
            let device =
                device_url.as_ref().map(|url| format!(", or enters a code of {}", url.text())).unwrap_or_default();
            format!("a person agrees at {}{device}; {}; {}", authorize_url.text(), endpoint(token), sent(send))
        }
        MadeAuth::ClientCredentials { client, token, send } => {
            format!("{}{}; {}", endpoint(token), scopes(client), sent(send))
        }
        MadeAuth::JwtBearer { assertion, token, send } => {
            let algorithm = algorithm_name(assertion.algorithm);
            format!("{} for an assertion signed with {algorithm}; {}", endpoint(token), sent(send))
        }
        MadeAuth::Jwt { jwt, send } => {
            let algorithm = algorithm_name(jwt.algorithm);
            format!("a token signed here with {algorithm}, good for {}; {}", time(jwt.lifetime), sent(send))
        }
        MadeAuth::GithubApp { app_id, installation_id, .. } => {
            format!("a token of installation {} of the GitHub App {}", installation_id.text(), app_id.text())
        }
        MadeAuth::TokenRequest { requests, expires_in, send } => {
            let asked: Vec<String> = requests.iter().map(|(asked, _)| request(asked)).collect();
            let lasts = expires_in.map(|lasts| format!(", good for {}", time(lasts))).unwrap_or_default();
            format!("{}{lasts}; {}", asked.join(", then "), sent(send))
        }
        MadeAuth::Oauth1 { signature, .. } => {
            let signature = match signature {
                Signature::HmacSha256 => "HMAC-SHA256",
                Signature::HmacSha1 => "HMAC-SHA1",
                Signature::Plaintext => "PLAINTEXT",
            };
            format!("each request signed by OAuth 1.0a ({signature})")
        }
        MadeAuth::Sigv4 { region, service, .. } => {
            format!("each request signed for {service} in {} (AWS Signature Version 4)", region.text())
        }
    }
}

fn scopes(client: &ClientPlan) -> String {
    if client.scopes.is_empty() { String::new() } else { format!(" for {}", and(&client.scopes)) }
}

fn endpoint(plan: &TokenPlan) -> String {
    format!("a token from {}", plan.url.text())
}

fn sent(plan: &SendPlan) -> String {
    format!("sent in {}", auth_key(&plan.place, &plan.value))
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

/// What belongs to how a request proves who asks: the scopes that a person is asked for, what becomes of a token, and what only the API can
/// tell.
pub(super) fn session(connection: &ConnectionPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if connection.auth.needs_a_person() && !connection.scopes.is_empty() {
        facts.push(("scopes", format!("{}: what the person is asked for", and(&connection.scopes))));
    }
    facts.extend(connection.auth.made().and_then(MadeAuth::token).into_iter().flat_map(kept));
    if !connection.unknown.is_empty() {
        let names: Vec<String> = connection.unknown.iter().map(|name| format!("config.{name}")).collect();
        facts.push(("not known", format!("{}, before `headwater connect {}`", and(&names), connection.name)));
    }
    facts
}

/// What the answer of a token endpoint is read for besides the token.
fn kept(plan: &TokenPlan) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(plan.lasts.map(|lasts| ("token lasts", format!("{}, where the answer does not say it", time(lasts)))));
    if !plan.save.is_empty() {
        let saved: Vec<String> =
            plan.save.iter().map(|(name, path)| format!("config.{name} from {}", path.text())).collect();
        facts.push(("token tells", and(&saved)));
    }
    facts
}

/// What tells that a record is gone.
pub(super) fn deletes(sync: &SyncPlan) -> String {
    let row = |key: &[(usize, Path)]| {
        let part = |(at, path): &(usize, Path)| format!("{} = {}", name_of(&sync.model, *at), path.text());
        and(&key.iter().map(part).collect::<Vec<_>>())
    };
    let gone = if sync.deletes.gone_partitions() { ", and the rows of partitions that are gone" } else { "" };
    match &sync.deletes {
        DeletePlan::None => "none: rows that vanish from the API stay".into(),
        DeletePlan::Absence { scope, gone_partitions: _, guard } => {
            let scan = match scope {
                Scope::All => "what a complete scan does not return",
                Scope::Window => "what a complete window does not return",
                Scope::Partition => "what a complete partition does not return",
            };
            format!("{scan}{gone}; {}", guarded(guard))
        }
        DeletePlan::Flag { when, at, gone_partitions: _, guard } => {
            let at = at.as_ref().map(|path| format!(", since {}", path.text())).unwrap_or_default();
            format!("records with {}{at}{gone}{}", predicate(when), guarded_anew(guard))
        }
        DeletePlan::Feed(feed) => {
            let mark = feed.field.as_ref().map(|(path, _)| format!("; its watermark is {}", path.text()));
            let (mark, guard) = (mark.unwrap_or_default(), guarded_anew(&feed.guard));
            format!("the rows with {} in {}{mark}{gone}{guard}", row(&feed.key), list(&feed.list))
        }
        DeletePlan::Sweep(sweep) => {
            format!(
                "the rows without {} in {}, every {} at most{gone}; {}",
                row(&sweep.key),
                list(&sweep.list),
                time(sweep.every),
                guarded(&sweep.guard)
            )
        }
        DeletePlan::Webhook => "what events tell".into(),
    }
}

fn name_of(model: &ModelPlan, at: usize) -> &str {
    &model.columns[at].name
}

fn guarded(guard: &Guard) -> String {
    format!(
        "refused above {} % of a table with {} rows or more{}",
        guard.max_fraction * 100.0,
        guard.min_rows,
        if guard.allow_empty { "" } else { ", and where nothing is returned" }
    )
}

/// The same, of what is gone only where the sync starts over.
fn guarded_anew(guard: &Guard) -> String {
    if *guard == Guard::DEFAULT { String::new() } else { format!("; starting over, {}", guarded(guard)) }
}
