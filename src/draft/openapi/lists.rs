//! Operations that list records, as syncs.

use std::collections::HashSet;

use serde_json::Value;

use super::document::Document;
use super::schema::Flat;
use crate::draft::facts::{Fact, Holds, LISTS, List, Param, key_rank};
use crate::draft::name::{bare, column_name, file_name, member, sentence, unique};
use crate::draft::parts::{ColumnDraft, Guess, ModelDraft, Paging, Setting, Source, SyncDraft};
use crate::draft::paths::with_inputs;
use crate::draft::sample::changes;
use crate::draft::{model_name, parts::IncrementalDraft};
use crate::plan::{ColumnType, Path, limits};

/// Levels of an answer in which its list is looked for.
const DEPTH_MAX: usize = 2;

/// An operation of the document.
pub(super) struct Operation<'d> {
    pub path: &'d str,
    pub item: &'d Value,
    pub operation: &'d Value,
}

/// The names that are taken.
#[derive(Default)]
pub(super) struct Taken {
    pub names: HashSet<String>,
    pub models: HashSet<String>,
}

/// A list in an answer.
struct Found<'d> {
    path: String,
    record: Flat<'d>,
    facts: Vec<Fact>,
    is_usual: bool,
}

impl<'d> Operation<'d> {
    pub(super) fn parameters(&self, document: &Document<'d>) -> Vec<&'d Value> {
        let of = |place: &'d Value| place.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let mut found: Vec<&'d Value> = Vec::new();
        for parameter in of(self.operation).chain(of(self.item)).map(|parameter| document.resolve(parameter)) {
            let same = |known: &&Value| known["name"] == parameter["name"] && known["in"] == parameter["in"];
            if parameter["name"].is_string() && !found.iter().any(same) {
                found.push(parameter);
            }
        }
        found
    }

    pub(super) fn docs(&self) -> Option<String> {
        let url = self.operation.pointer("/externalDocs/url")?.as_str()?;
        is_link(url).then(|| url.to_owned())
    }

    pub(super) fn description(&self) -> Option<String> {
        ["summary", "description"].iter().find_map(|key| sentence(self.operation.get(key)?.as_str()?))
    }

    pub(super) fn scopes(&self) -> Vec<String> {
        let needs = self.operation.get("security").and_then(Value::as_array).into_iter().flatten();
        let lists = needs.filter_map(Value::as_object).flat_map(|need| need.values()).filter_map(Value::as_array);
        let mut scopes: Vec<String> = Vec::new();
        for scope in lists.flatten().filter_map(Value::as_str) {
            if scope.chars().all(|c| c.is_ascii_graphic())
                && !scope.is_empty()
                && !scopes.iter().any(|known| known == scope)
                && scopes.len() < 20
            {
                scopes.push(scope.to_owned());
            }
        }
        scopes
    }

    /// Settings for what stands in the path, with the types that the document says.
    pub(super) fn settings(&self, document: &Document<'d>) -> Option<(String, Vec<(String, Setting)>)> {
        let mut settings = Vec::new();
        let path = with_inputs(self.path, &mut settings)?;
        for parameter in self.parameters(document).into_iter().filter(|parameter| parameter["in"] == "path") {
            let found = settings.iter_mut().find(|(name, _)| parameter["name"] == *name.as_str());
            if let Some((name, setting)) = found {
                let flat = Flat::of(document, document.member(parameter, "schema"));
                let mut schema = flat.input();
                if !matches!(schema["type"].as_str(), Some("string" | "integer")) {
                    schema = serde_json::json!({ "type": "string" });
                } else {
                    setting.example = flat.example(document, name, 0);
                }
                if let Some(text) = parameter["description"].as_str().and_then(sentence) {
                    schema["description"] = text.into();
                }
                // a value that is no segment of a path would be refused
                if setting
                    .example
                    .as_str()
                    .is_some_and(|text| text.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_'))
                {
                    schema.as_object_mut()?.remove("enum");
                    setting.example = format!("some-{}", setting.name).into();
                }
                setting.schema = schema;
            }
        }
        Some((path, settings))
    }
}

pub(super) fn is_link(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// The sync of an operation, if it lists records; else why not.
pub(super) fn sync<'d>(
    document: &Document<'d>,
    asked: &Operation<'d>,
    taken: &mut Taken,
) -> Result<(SyncDraft, ModelDraft), &'static str> {
    let (schema, has_link) = document.answer(asked.operation);
    let schema = schema.ok_or("it answers with no JSON")?;
    let parameters = asked.parameters(document);
    let params: Vec<Param> =
        parameters.iter().filter(|one| one["in"] == "query").map(|one| param(document, one)).collect();
    let found = list_of(document, schema).ok_or("it answers with no list of objects")?;
    let (path, settings) = asked.settings(document).ok_or("its path is none that a request can have")?;
    let mut notes = Vec::new();
    let columns = columns(document, &found.record, &mut notes);
    let key = key(&columns, &found.record).ok_or("its records have no member that could be a key")?;
    let key_path =
        columns.iter().find(|column| column.name == key.value[0]).and_then(ColumnDraft::path).map(str::to_owned);
    let list = List { facts: &found.facts, params: Some(&params), has_link, key: key_path.as_deref() };
    let paging = list.paging();
    let is_paged = !matches!(paging.value, Paging::None);
    if !found.is_usual && !is_paged {
        return Err("its list looks like a part of one record");
    }
    let mut settings = settings;
    let since = list.since();
    let since_name = since.map(|param| param.name.clone());
    let mut query = required(document, &parameters, &mut settings, (&paging.value, since_name.as_deref()), &mut notes);
    if matches!(paging.value, Paging::Link | Paging::NextUrl { .. } | Paging::Cursor { .. }) {
        let size = list.page_size().filter(|(name, _)| !query.iter().any(|(known, _)| known == name));
        query.extend(size.map(|(name, size)| {
            (name, Guess::guessed(Value::from(size), "the largest page that the document allows, or 100"))
        }));
    }
    let (incremental, deletes) = changes(&columns, since_name.as_deref(), &mut notes);
    number_for_a_time(&incremental, &columns, since, &mut notes);
    let name = name_of(asked.path, taken);
    let model = unique(&model_name(&name), |model| taken.models.contains(&model.to_lowercase()));
    taken.models.insert(model.to_lowercase());
    let description = found.record.description.and_then(sentence);
    let model = ModelDraft { name: model, table: column_name(&name), description, key, columns, notes: Vec::new() };
    let sync = SyncDraft {
        name,
        description: asked.description(),
        docs: asked.docs(),
        scopes: asked.scopes(),
        path,
        query,
        input: settings.into_iter().map(|(_, setting)| setting).collect(),
        records: Guess::guessed(found.path, "the list of objects in the schema of the answer"),
        paging,
        incremental,
        deletes,
        notes,
    };
    Ok((sync, model))
}

fn number_for_a_time(
    incremental: &Option<Guess<IncrementalDraft>>,
    columns: &[ColumnDraft],
    since: Option<&Param>,
    notes: &mut Vec<String>,
) {
    let (Some(incremental), Some(since)) = (incremental, since) else { return };
    let column = columns.iter().find(|column| column.name == incremental.value.column);
    if since.is_number && column.is_some_and(|column| column.format.is_none()) {
        notes.push(format!("`{}` takes a number: perhaps `{{{{ watermark | epoch }}}}`", since.name));
    }
}

fn param<'d>(document: &Document<'d>, parameter: &'d Value) -> Param {
    let flat = Flat::of(document, document.member(parameter, "schema"));
    Param {
        name: parameter["name"].as_str().unwrap_or_default().to_owned(),
        is_number: flat.types.first().is_some_and(|kind| matches!(*kind, "integer" | "number")),
        max: flat.maximum,
        default: flat.default.and_then(Value::as_u64),
    }
}

/// Parameters that must be there: those with a value of their own, and others as inputs.
fn required<'d>(
    document: &Document<'d>,
    parameters: &[&'d Value],
    settings: &mut Vec<(String, Setting)>,
    (paging, since): (&Paging, Option<&str>),
    notes: &mut Vec<String>,
) -> Vec<(String, Guess<Value>)> {
    let of_paging = |name: &str| match paging {
        Paging::Cursor { query, .. } => query == name,
        Paging::Offset { query, limit_param, .. } => query == name || limit_param.as_deref() == Some(name),
        Paging::Page { query, size_param, .. } => query == name || size_param.as_deref() == Some(name),
        Paging::OfProvider(_) | Paging::None | Paging::Link | Paging::NextUrl { .. } => false,
    };
    let mut query = Vec::new();
    for parameter in parameters.iter().filter(|parameter| parameter["required"] == true) {
        let name = parameter["name"].as_str().unwrap_or_default();
        match parameter["in"].as_str() {
            Some("query") if !of_paging(name) && since != Some(name) => {
                let flat = Flat::of(document, document.member(parameter, "schema"));
                let own = unique(&column_name(name), |own| settings.iter().any(|(_, setting)| setting.name == own));
                let example = flat.example(document, name, 0);
                settings.push((
                    format!("query:{name}"),
                    Setting { name: own.clone(), schema: flat.input(), required: true, example },
                ));
                query.push((name.to_owned(), Guess::said(format!("{{{{ input.{own} }}}}").into())));
            }
            Some("header") => {
                let name: String = name.chars().filter(char::is_ascii_graphic).take(60).collect();
                notes.push(format!("the header `{name}` must be sent: name it under `headers` of the provider"));
            }
            _ => {}
        }
    }
    query
}

/// The list in the schema of an answer.
fn list_of<'d>(document: &Document<'d>, schema: &'d Value) -> Option<Found<'d>> {
    let root = Flat::of(document, schema);
    if let Some(items) = root.items.filter(|_| root.members.is_empty()) {
        let record = Flat::of(document, items);
        return record.is_record().then(|| Found {
            path: "$[*]".to_owned(),
            record,
            facts: Vec::new(),
            is_usual: true,
        });
    }
    let members = root.members.len();
    let mut level: Vec<(String, Vec<String>, Flat<'d>)> = vec![("$".to_owned(), Vec::new(), root)];
    for depth in 0..=DEPTH_MAX {
        let mut lists: Vec<(String, String, Flat<'d>)> = Vec::new();
        let mut next = Vec::new();
        for (path, names, flat) in &level {
            for (name, inner) in &flat.members {
                let path = member(path, name);
                if Path::parse(&path).is_err() {
                    continue;
                }
                let inner = Flat::of(document, inner);
                if let Some(items) = inner.items.filter(|_| inner.members.is_empty()) {
                    let record = Flat::of(document, items);
                    if record.is_record() {
                        lists.push((format!("{path}[*]"), bare(name), record));
                    }
                } else if inner.is_record() && depth < DEPTH_MAX {
                    next.push((path, names.iter().cloned().chain([bare(name)]).collect(), inner));
                }
            }
        }
        let only = lists.len() == 1;
        let rank = |name: &str| LISTS.iter().position(|known| *known == name).unwrap_or(LISTS.len());
        if let Some((path, name, record)) = lists.into_iter().min_by_key(|(_, name, _)| rank(name)) {
            let is_usual = rank(&name) < LISTS.len() || (only && members <= 8 && depth == 0);
            let facts = facts(document, schema, &path);
            return Some(Found { path, record, facts, is_usual });
        }
        level = next;
    }
    None
}

/// The scalars of an answer outside of its list.
fn facts<'d>(document: &Document<'d>, schema: &'d Value, list: &str) -> Vec<Fact> {
    let mut found = Vec::new();
    let mut level: Vec<(String, Vec<String>, Flat<'d>)> =
        vec![("$".to_owned(), Vec::new(), Flat::of(document, schema))];
    for _ in 0..=DEPTH_MAX {
        let mut next = Vec::new();
        for (path, names, flat) in &level {
            for (name, inner) in &flat.members {
                let path = member(path, name);
                let names: Vec<String> = names.iter().cloned().chain([bare(name)]).collect();
                let inner = Flat::of(document, inner);
                let holds = match inner.types.as_slice() {
                    _ if list.starts_with(&format!("{path}[")) || Path::parse(&path).is_err() => continue,
                    ["string"] if matches!(inner.format, Some("uri" | "url" | "uri-reference")) => Holds::Url,
                    ["string"] => Holds::Text,
                    ["integer" | "number"] => Holds::Number(None),
                    ["boolean"] => Holds::Bool,
                    ["object"] => {
                        next.push((path, names, inner));
                        continue;
                    }
                    _ => continue,
                };
                found.push(Fact { path, names, holds });
            }
        }
        level = next;
    }
    found
}

/// Members that only hold a record's own.
const WRAPPERS: [&str; 2] = ["properties", "attributes"];

fn columns<'d>(document: &Document<'d>, record: &Flat<'d>, notes: &mut Vec<String>) -> Vec<ColumnDraft> {
    let mut columns: Vec<ColumnDraft> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut add = |name: &str, path: String, flat: &Flat<'d>| {
        if columns.len() >= limits::DRAFT_COLUMNS_MAX || flat.write_only || Path::parse(&path).is_err() {
            return;
        }
        let (column_type, format, why) = flat.column(document, name);
        let own = unique(&column_name(name), |own| seen.contains(own));
        seen.insert(own.clone());
        columns.push(ColumnDraft {
            name: own,
            source: Source::Path(path),
            column_type,
            format: format.map(str::to_owned),
            description: flat.description.and_then(sentence),
            why: why.map(str::to_owned),
        });
    };
    for (name, inner) in &record.members {
        let flat = Flat::of(document, inner);
        let path = member("$", name);
        if WRAPPERS.contains(&bare(name).as_str()) && flat.is_record() {
            for (inner_name, inner) in &flat.members {
                add(inner_name, member(&path, inner_name), &Flat::of(document, inner));
            }
        } else {
            add(name, path.clone(), &flat);
            // the id of what is nested is what others join by
            if let Some(id) = flat.members.get("id").filter(|_| flat.is_record()) {
                let id = Flat::of(document, id);
                if id.is("string") || id.is("integer") {
                    add(&format!("{name}_id"), member(&path, "id"), &id);
                }
            }
        }
    }
    if columns.len() >= limits::DRAFT_COLUMNS_MAX {
        notes.push(format!("only the first {} columns are here", limits::DRAFT_COLUMNS_MAX));
    }
    columns
}

fn key(columns: &[ColumnDraft], record: &Flat<'_>) -> Option<Guess<Vec<String>>> {
    let can_be = |column: &&ColumnDraft| {
        matches!(column.column_type, ColumnType::Integer | ColumnType::Bigint | ColumnType::Varchar | ColumnType::Uuid)
            && column.why.is_none()
    };
    let is_required = |column: &ColumnDraft| {
        column.path().and_then(|path| path.strip_prefix("$.")).is_some_and(|name| record.required.contains(&name))
    };
    let best = columns.iter().enumerate().filter(|(_, column)| can_be(column));
    let (_, column) = best.min_by_key(|(at, column)| (key_rank(&column.name), !is_required(column), *at))?;
    let name = vec![column.name.clone()];
    Some(match key_rank(&column.name) {
        0 => Guess::said(name),
        _ => Guess::guessed(name, "by its name; is it another one in each record?"),
    })
}

/// The name of a sync by the path of its list: its last word, or more of them where that is taken.
fn name_of(path: &str, taken: &mut Taken) -> String {
    let words: Vec<&str> = path
        .split('/')
        .map(|part| part.strip_suffix(".json").unwrap_or(part))
        .filter(|part| !part.is_empty() && !part.contains(['{', '}']))
        .filter(|part| !(part.starts_with('v') && part[1..].chars().all(|c| c.is_ascii_digit() || c == '.')))
        .collect();
    let tries = (1..=words.len()).map(|count| file_name(&words[words.len() - count..].join("_")));
    let free = tries.into_iter().find(|name| !taken.names.contains(name));
    let name = free.unwrap_or_else(|| unique(&file_name(&words.join("_")), |name| taken.names.contains(name)));
    taken.names.insert(name.clone());
    name
}
