//! Drafts as YAML files with comments.

use serde_json::{Map, Value, json};

use super::around::header_value;
use super::parts::{
    ActionDraft, BodyKind, BodyMember, ColumnDraft, DeletesDraft, DraftFile, FlagKind, Guess, IdList, ModelDraft,
    Paging, ProviderDraft, Setting, Source, Surroundings, SyncDraft, TokenFrom, Way,
};
use super::rehearse;
use super::runs::own;
use super::texts::{Block, one};
use crate::plan::ColumnType;

/// The line by which an editor knows what a file is; `up` folders lead to the top of the project.
fn head(kind: &str, up: usize, says: &str) -> Block {
    let mut block = Block::default();
    block.comment(&format!("yaml-language-server: $schema={}schemas/{kind}.json", "../".repeat(up)));
    block.comment(says);
    block.blank();
    block
}

fn file(path: String, block: &Block) -> DraftFile {
    DraftFile { path, text: block.text() }
}

fn documented(block: &mut Block, docs: Option<&String>, of: &str) {
    match docs {
        Some(docs) => block.value("docs", docs.as_str()),
        None => block.comment(&format!("docs: the page of the API's documentation about {of}")),
    }
}

fn notes(block: &mut Block, notes: &[String]) {
    for note in notes {
        block.comment(&format!("look: {note}"));
    }
}

/// Whether a type holds times.
pub(super) fn is_time(kind: &ColumnType) -> bool {
    matches!(kind, ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::Timestamptz)
}

/// The file of a provider.
pub fn files_of_provider(provider: &ProviderDraft) -> Vec<DraftFile> {
    let ProviderDraft { name, title, docs, base_url, config, auth, quotas, verify, notes: to_look_at } = provider;
    let mut block = head("provider", 1, "Everything that is true of the API whatever is synced from it.");
    block.value("provider", name.as_str());
    block.value("title", title.as_deref().unwrap_or(name));
    documented(&mut block, docs.as_ref(), "the API as a whole");
    block.guessed("base_url", base_url.value.as_str(), base_url.why.as_deref());
    if !config.is_empty() {
        block.blank();
        block.comment("What a connection says besides its secrets.");
        block.value("config", schema_of(config));
    }
    block.blank();
    if auth.is_empty() {
        block.comment("auth: nothing is known of how a request proves who asks; ways are api_key, bearer, basic, authorization_code and client_credentials, among others");
    } else {
        let mut ways = Block::default();
        for (name, way) in auth {
            let (value, secret) = written_way(&way.value);
            match &way.why {
                Some(_) => ways.guessed(name, value, way.why.as_deref()),
                None => ways.noted(name, value, secret),
            }
        }
        block.block("auth", ways);
    }
    block.blank();
    if quotas.is_empty() {
        block.comment("How many requests may be sent, as the API documents it. `Retry-After` and 429 are heeded without a word here.");
        block.comment("rate_limit: { quotas: [\"100 per 10s\"], concurrency: 4 }");
    } else {
        block.value("rate_limit", json!({ "quotas": quotas }));
    }
    block.blank();
    match verify {
        Some(path) => {
            block.noted("verify", one("get", path.as_str()), Some("succeeds if a connection's credentials work"));
        }
        None => {
            block.comment("A request that every connection may send and whose answer is small; it shows whether its credentials work.");
            block.comment("verify: { get: /me }");
        }
    }
    if !to_look_at.is_empty() {
        block.blank();
        notes(&mut block, to_look_at);
    }
    vec![file(format!("providers/{name}.yaml"), &block)]
}

fn written_way(way: &Way) -> (Value, Option<&'static str>) {
    const KEY: Option<&str> = Some("the secret is `credentials.api_key`");
    const HEADER: &str =
        "the secret is `credentials.api_key`; with a word before it: value: \"Key {{ credentials.api_key }}\"";
    match way {
        Way::None => (json!({ "none": {} }), None),
        Way::Header { name, prefix: None } => (json!({ "api_key": { "header": name } }), Some(HEADER)),
        Way::Header { name, prefix: Some(prefix) } => {
            (json!({ "api_key": { "header": name, "value": header_value(prefix) } }), KEY)
        }
        Way::Query(name) => (json!({ "api_key": { "query": name } }), KEY),
        Way::Cookie(name) => (json!({ "api_key": { "cookie": name } }), KEY),
        Way::Basic => {
            (json!({ "basic": {} }), Some("the secrets are `credentials.username` and `credentials.password`"))
        }
        Way::Bearer => (json!({ "bearer": {} }), Some("the secret is `credentials.token`")),
        Way::AuthorizationCode { authorize_url, token_url, scopes } => {
            let mut way = json!({ "authorize_url": authorize_url, "token": { "url": token_url } });
            if !scopes.is_empty() {
                way["scopes"] = scopes.as_slice().into();
            }
            (json!({ "authorization_code": way }), Some("`headwater connect` asks a person in the browser"))
        }
        Way::ClientCredentials { token_url, scopes } => {
            let mut way = json!({ "token": { "url": token_url } });
            if !scopes.is_empty() {
                way["scopes"] = scopes.as_slice().into();
            }
            let secrets = "the secrets are `credentials.client_id` and `credentials.client_secret`";
            (json!({ "client_credentials": way }), Some(secrets))
        }
    }
}

/// The JSON Schema of settings.
fn schema_of(settings: &[Setting]) -> Value {
    let mut schema = json!({ "type": "object" });
    let required: Vec<&str> =
        settings.iter().filter(|setting| setting.required).map(|setting| setting.name.as_str()).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema["properties"] =
        Value::Object(settings.iter().map(|setting| (setting.name.clone(), setting.schema.clone())).collect());
    schema
}

/// The files of a sync: itself, its model, and a test where one can be made up.
pub fn files_of_sync(sync: &SyncDraft, model: &ModelDraft, around: &Surroundings) -> Vec<DraftFile> {
    let folder = format!("integrations/{}", around.provider);
    let mut files = vec![
        file(format!("{folder}/syncs/{}.yaml", sync.name), &written_sync(sync, model)),
        file(format!("{folder}/models/{}.yaml", model.name), &written_model(model)),
    ];
    if let Some(test) = rehearse::of_sync(sync, model, around) {
        let says = "Made up, and runs as it stands: `headwater test`. Put answers of the API in its place, with other names in them.";
        let mut block = head("test", 3, says);
        block.append(test);
        files.push(file(format!("{folder}/tests/{}.yaml", sync.name), &block));
    }
    files
}

fn written_sync(sync: &SyncDraft, model: &ModelDraft) -> Block {
    let mut block = head("sync", 3, "One list of the API, and how it is kept.");
    block.value("sync", sync.name.as_str());
    if let Some(description) = &sync.description {
        block.value("description", description.as_str());
    }
    documented(&mut block, sync.docs.as_ref(), "this list");
    if !sync.scopes.is_empty() {
        block.value("scopes", sync.scopes.as_slice());
    }
    block.noted("model", model.name.as_str(), Some(&format!("../models/{}.yaml", model.name)));
    if !sync.input.is_empty() {
        block.blank();
        block.comment(
            "What a connection says under `syncs`. To ask for all of them, go over another sync with `for_each`.",
        );
        block.value("auto_start", false);
        block.value("input", schema_of(&sync.input));
    }
    block.blank();
    let mut request = Block::default();
    request.value("get", sync.path.as_str());
    let mut query = Block::default();
    for (name, value) in &sync.query {
        query.guessed(name, value.value.clone(), value.why.as_deref());
    }
    let since = sync.incremental.as_ref().and_then(|incremental| incremental.value.since.as_deref());
    if let Some(since) = since {
        query.noted(since, "{{ watermark }}", Some("left out on the first run"));
    }
    if !query.is_empty() {
        request.block("query", query);
    }
    block.block("request", request);
    block.blank();
    let mut response = Block::default();
    response.guessed("records", sync.records.value.as_str(), sync.records.why.as_deref());
    block.block("response", response);
    block.blank();
    pagination(&mut block, &sync.paging);
    incremental(&mut block, sync, model);
    deletes(&mut block, sync, model);
    if !sync.notes.is_empty() {
        block.blank();
        notes(&mut block, &sync.notes);
    }
    block
}

fn pagination(block: &mut Block, paging: &Guess<Paging>) {
    match &paging.value {
        Paging::OfProvider(_) => block.comment("pagination: as the provider says"),
        Paging::None if paging.why.is_some() => {
            block.comment("Ways are link, next_url, cursor, page, offset and relay. With `none` only this one answer is ever read.");
            block.guessed("pagination", one("none", json!({})), paging.why.as_deref());
        }
        other => block.guessed("pagination", written_paging(other), paging.why.as_deref()),
    }
}

/// A pagination as the language writes it.
fn written_paging(paging: &Paging) -> Value {
    let said = |pairs: Vec<(&str, Option<Value>)>| -> Value {
        Value::Object(pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    match own(paging) {
        Paging::OfProvider(_) | Paging::None => json!({ "none": {} }),
        Paging::Link => json!({ "link": {} }),
        Paging::NextUrl { from } => json!({ "next_url": { "from": from } }),
        Paging::Cursor { from, query, has_more } => {
            let (name, path) = match from {
                TokenFrom::Answer(path) => ("from", path),
                TokenFrom::LastRecord(path) => ("last_record", path),
            };
            let words = vec![
                (name, Some(path.as_str().into())),
                ("query", Some(query.as_str().into())),
                ("has_more", text(has_more)),
            ];
            one("cursor", said(words))
        }
        Paging::Offset { query, limit, limit_param, ends } => {
            let words = vec![
                ("query", Some(query.as_str().into())),
                ("limit", Some((*limit).into())),
                ("limit_param", text(limit_param)),
                ("total", text(&ends.total)),
                ("has_more", text(&ends.has_more)),
            ];
            one("offset", said(words))
        }
        Paging::Page { query, start, size, size_param, ends } => {
            let words = vec![
                ("query", Some(query.as_str().into())),
                ("start", (*start != 1).then(|| (*start).into())),
                ("size", size.map(Value::from)),
                ("size_param", text(size_param)),
                ("total_pages", text(&ends.total_pages)),
                ("total", text(&ends.total)),
                ("has_more", text(&ends.has_more)),
            ];
            one("page", said(words))
        }
    }
}

fn incremental(block: &mut Block, sync: &SyncDraft, model: &ModelDraft) {
    let Some(Guess { value, why }) = &sync.incremental else { return };
    let Some(column) = model.column(&value.column) else { return };
    let mut words = Map::new();
    words.insert("field".to_owned(), column.path().unwrap_or_default().into());
    let kind = match column.column_type {
        ColumnType::Date => Some("date"),
        _ if is_time(&column.column_type) => None,
        ColumnType::Varchar => Some("text"),
        _ => Some("integer"),
    };
    words.extend(kind.map(|kind| ("type".to_owned(), kind.into())));
    words.extend(column.format.as_deref().map(|format| ("format".to_owned(), format.into())));
    if column.column_type == ColumnType::Timestamp {
        words.insert("timezone".to_owned(), "UTC".into());
    }
    if value.since.is_none() {
        words.insert("client_filter".to_owned(), true.into());
    }
    block.blank();
    if column.column_type == ColumnType::Timestamp {
        block.comment("guess: times without an offset are those of UTC");
    }
    if value.since.is_none() {
        block.comment("guess: the API cannot ask for what changed, so older records are dropped here; else name its parameter in `query`");
    }
    block.guessed("incremental", words, why.as_deref());
}

fn deletes(block: &mut Block, sync: &SyncDraft, model: &ModelDraft) {
    let Guess { value, why } = &sync.deletes;
    block.blank();
    let key = |name: &String| Some((name.clone(), model.column(name)?.path()?.into()));
    let keys: Map<String, Value> = model.key.value.iter().filter_map(key).collect();
    let list = |list: &IdList| {
        json!({
            "request": { "get": list.path },
            "response": { "records": list.records },
            "pagination": written_paging(&list.paging),
            "key": keys,
        })
    };
    match value {
        DeletesDraft::None(reason) => {
            block.comment("deletes: what is gone from the API stays in the table; ways to learn of it are absence, flag, feed and sweep");
            let is_full = sync.incremental.is_none();
            let reason = reason.as_deref().unwrap_or("nobody has said yet how the API tells what is gone");
            if is_full {
                block.value("allow", one("W080", reason));
            }
        }
        DeletesDraft::Absence => block.guessed("deletes", json!({ "absence": {} }), why.as_deref()),
        DeletesDraft::Flag { path, holds } => {
            let inner = path.strip_prefix('$').unwrap_or(path);
            let flag = match holds {
                FlagKind::True => json!({ "when": format!("$[?@{inner} == true]") }),
                FlagKind::Text(text) => {
                    let quoted = super::name::member("", text);
                    let quoted = quoted.trim_start_matches("['").trim_end_matches("']").trim_start_matches('.');
                    json!({ "when": format!("$[?@{inner} == '{quoted}']") })
                }
                // a member that is not there is not null either, so both are asked
                FlagKind::Time => match deleted_at(model, path) {
                    true => json!({ "when": format!("$[?@{inner} && @{inner} != null]"), "at": path }),
                    false => json!({ "when": format!("$[?@{inner} && @{inner} != null]") }),
                },
            };
            block.guessed("deletes", one("flag", flag), why.as_deref());
        }
        DeletesDraft::Feed(feed) => block.guessed("deletes", one("feed", list(feed)), why.as_deref()),
        DeletesDraft::Sweep(sweep) => {
            let mut words = list(sweep);
            words["every"] = "1d".into();
            block.guessed("deletes", one("sweep", words), why.as_deref());
        }
    }
}

/// Whether a member holds a time that is written as times of deletion are read.
fn deleted_at(model: &ModelDraft, path: &str) -> bool {
    let column = model.columns.iter().find(|column| column.path() == Some(path));
    column.is_none_or(|column| column.column_type == ColumnType::Timestamptz && column.format.is_none())
}

fn written_model(model: &ModelDraft) -> Block {
    let mut block = head("model", 3, "A table, and how a record becomes its row.");
    block.value("model", model.name.as_str());
    block.value("table", model.table.as_str());
    if let Some(description) = &model.description {
        block.value("description", description.as_str());
    }
    block.guessed("key", model.key.value.as_slice(), model.key.why.as_deref());
    block.blank();
    let mut columns = Block::default();
    for column in &model.columns {
        columns.guessed(&column.name, written_column(column), column.why.as_deref());
    }
    block.block("columns", columns);
    if !model.notes.is_empty() {
        block.blank();
        notes(&mut block, &model.notes);
    }
    block
}

fn written_column(column: &ColumnDraft) -> Value {
    let ColumnDraft { name: _, source, column_type, format, description, why: _ } = column;
    if let (Source::Path(path), ColumnType::Varchar, None, None) = (source, column_type, format, description) {
        return path.as_str().into();
    }
    let mut words = Map::new();
    match source {
        Source::Path(path) => words.insert("path".to_owned(), path.as_str().into()),
        Source::Template(template) => words.insert("value".to_owned(), template.as_str().into()),
    };
    if *column_type != ColumnType::Varchar {
        words.insert("type".to_owned(), column_type.to_string().to_lowercase().into());
    }
    words.extend(format.as_deref().map(|format| ("format".to_owned(), format.into())));
    words.extend(description.as_deref().map(|text| ("description".to_owned(), text.into())));
    words.into()
}

/// The files of an action: itself, and a test.
pub fn files_of_action(action: &ActionDraft, around: &Surroundings) -> Vec<DraftFile> {
    let folder = format!("integrations/{}", around.provider);
    let mut block = head("action", 3, "What an application may ask the API to do.");
    block.value("action", action.name.as_str());
    if let Some(description) = &action.description {
        block.value("description", description.as_str());
    }
    documented(&mut block, action.docs.as_ref(), "this request");
    if !action.scopes.is_empty() {
        block.value("scopes", action.scopes.as_slice());
    }
    if !action.input.is_empty() {
        block.blank();
        block.comment("What a caller gives; what is not given is left out of the request.");
        block.value("input", schema_of(&action.input));
    }
    block.blank();
    let template = |name: &String| Value::from(format!("{{{{ input.{name} }}}}"));
    let mut request = Block::default();
    request.value(action.verb.word(), action.path.as_str());
    if !action.query.is_empty() {
        let query: Map<String, Value> =
            action.query.iter().map(|(name, input)| (name.clone(), template(input))).collect();
        request.value("query", query);
    }
    if let Some((kind, members)) = &action.body {
        let members = nested(members, |input| Some(template(input)));
        let word = match kind {
            BodyKind::Json => "json",
            BodyKind::Form => "form",
        };
        request.value("body", one(word, members));
    }
    block.block("request", request);
    block.blank();
    block.comment(
        "A POST or PATCH is only tried again where the API has surely not done it. If the API takes a key that",
    );
    block.comment("makes a repetition harmless: idempotency_key: { header: Idempotency-Key }");
    if !action.notes.is_empty() {
        block.blank();
        notes(&mut block, &action.notes);
    }
    let mut files = vec![file(format!("{folder}/actions/{}.yaml", action.name), &block)];
    let says = "Made up, and runs as it stands: `headwater test`. Put answers of the API in its place, with other names in them.";
    let mut test = head("test", 3, says);
    test.append(test_of_action(action, around));
    files.push(file(format!("{folder}/tests/{}.yaml", action.name), &test));
    files
}

/// The members of a body, each below the names that lead to it.
fn nested(members: &[BodyMember], value: impl Fn(&String) -> Option<Value>) -> Map<String, Value> {
    let mut body = json!({});
    for (names, input) in members {
        let Some(value) = value(input) else { continue };
        let at = names.iter().fold(&mut body, |at, name| &mut at[name.as_str()]);
        *at = value;
    }
    if let Value::Object(body) = body { body } else { Map::new() }
}

fn test_of_action(action: &ActionDraft, around: &Surroundings) -> Block {
    let mut test = Block::default();
    test.value("test", action.name.as_str());
    test.value("description", "A call with all that may be given, then an API that refuses.");
    test.value("action", action.name.as_str());
    let connection = rehearse::connection(around, &action.input);
    if !connection.is_empty() {
        test.value("connection", connection);
    }
    let path = rehearse::filled(&action.path, &action.input);
    let example = |input: &String| {
        let setting = action.input.iter().find(|setting| setting.name == *input);
        setting.map(|setting| setting.example.clone())
    };
    let mut request = one(action.verb.word(), path.as_str());
    if !around.adds_query {
        let pair = |(name, input): &(String, String)| Some((name.clone(), rehearse::in_query(example(input)?)));
        request["query"] = action.query.iter().filter_map(pair).collect::<Map<_, _>>().into();
    }
    if let Some((kind, members)) = &action.body {
        let one = |input: &String| {
            if *kind == BodyKind::Form { example(input).map(rehearse::in_query) } else { example(input) }
        };
        request["body"] = nested(members, one).into();
    }
    if let Some((name, value)) = &around.proof {
        request["headers"] = one(name, value.as_str());
    }
    let (response, output) = match &action.answer {
        Some(answer) => (json!({ "body": answer }), json!({ "records": [answer], "source": "api" })),
        None => (json!({ "status": 204 }), json!({ "records": [], "source": "api" })),
    };
    let mut good = Block::default();
    good.value("exchange", json!([{ "request": request, "response": response }]));
    good.value("expect", one("output", output));
    let mut bad = Block::default();
    let refused =
        json!({ "request": { action.verb.word(): path }, "response": { "status": 400, "text": "no such thing" } });
    bad.value("exchange", json!([refused]));
    bad.value("expect", json!({ "error": "no such thing" }));
    test.list("runs", vec![good, bad]);
    test
}

/// The project file of a first project, with one connection of a provider.
pub fn files_of_project(provider: &ProviderDraft) -> Vec<DraftFile> {
    let mut block = head("project", 0, "The project: which accounts are synced, and into which DuckDB file.");
    block.value("database", "warehouse.duckdb");
    block.blank();
    let mut connection = Block::default();
    connection.value("provider", provider.name.as_str());
    if let (Some((name, _)), true) = (provider.auth.first(), provider.auth.len() > 1) {
        let names: Vec<&str> = provider.auth.iter().map(|(name, _)| name.as_str()).collect();
        connection.noted("auth", name.as_str(), Some(&format!("one of {}", names.join(", "))));
    }
    let needed: Map<String, Value> = provider
        .config
        .iter()
        .filter(|setting| setting.required)
        .map(|setting| (setting.name.clone(), setting.example.clone()))
        .collect();
    if !needed.is_empty() {
        connection.guessed("config", needed, Some("write those of your account"));
    }
    let prefix = provider.name.to_uppercase().replace('-', "_");
    let secret = |name: &&str| ((*name).to_owned(), format!("${{{prefix}_{}}}", name.to_uppercase()).into());
    let names: &[&str] = match provider.auth.first().map(|(_, way)| &way.value) {
        Some(Way::Header { .. } | Way::Query(_) | Way::Cookie(_)) => &["api_key"],
        Some(Way::Basic) => &["username", "password"],
        Some(Way::Bearer) => &["token"],
        Some(Way::AuthorizationCode { .. } | Way::ClientCredentials { .. }) => &["client_id", "client_secret"],
        Some(Way::None) | None => &[],
    };
    if !names.is_empty() {
        let credentials: Map<String, Value> = names.iter().map(secret).collect();
        connection.noted("credentials", credentials, Some("read from the environment when a run starts"));
    }
    let mut connections = Block::default();
    connections.comment("your name for the account; every row says which connection it came from");
    connections.block(&provider.name, connection);
    block.block("connections", connections);
    let ignored = "*.duckdb\n*.duckdb.*\n".to_owned();
    vec![file("headwater.yaml".to_owned(), &block), DraftFile { path: ".gitignore".to_owned(), text: ignored }]
}
