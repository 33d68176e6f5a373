//! Operations that change something, as actions.

use serde_json::{Value, json};

use super::document::Document;
use super::lists::{Operation, Taken};
use super::schema::Flat;
use crate::draft::name::{column_name, file_name, unique};
use crate::draft::parts::{ActionDraft, BodyKind, BodyMember, Setting, Verb};

/// Members of a body that are taken over.
const MEMBERS_MAX: usize = 100;

/// The action of an operation; else why there is none.
pub(super) fn action<'d>(
    document: &Document<'d>,
    asked: &Operation<'d>,
    verb: Verb,
    taken: &mut Taken,
) -> Result<ActionDraft, &'static str> {
    let (path, mut settings) = asked.settings(document).ok_or("its path is none that a request can have")?;
    let mut query = Vec::new();
    for parameter in
        asked.parameters(document).into_iter().filter(|parameter| parameter["in"] == "query").take(MEMBERS_MAX)
    {
        let name = parameter["name"].as_str().unwrap_or_default();
        let flat = Flat::of(document, document.member(parameter, "schema"));
        let input = add(document, &mut settings, ("query", name), &flat, parameter["required"] == true);
        query.push((name.to_owned(), input));
    }
    let body = body(document, asked, &mut settings)?;
    let answer =
        document.answer(asked.operation).0.map(|schema| Flat::of(document, schema).example(document, "value", 0));
    // what looks like an error would be one
    let answer = answer.map(|mut answer| {
        if let Some(members) = answer.as_object_mut() {
            members.retain(|name, _| !matches!(name.as_str(), "error" | "errors" | "ok" | "success"));
        }
        answer
    });
    let answer = answer.filter(|answer| answer.is_object() && *answer != json!({}));
    let wanted = match asked.operation.get("operationId").and_then(Value::as_str) {
        Some(id) => file_name(id),
        None => file_name(&format!("{}_{}", verb.word(), asked.path)),
    };
    let name = unique(&wanted, |name| taken.names.contains(name));
    taken.names.insert(name.clone());
    Ok(ActionDraft {
        name,
        description: asked.description(),
        docs: asked.docs(),
        scopes: asked.scopes(),
        verb,
        path,
        input: settings.into_iter().map(|(_, setting)| setting).collect(),
        query,
        body,
        answer,
        notes: Vec::new(),
    })
}

fn body<'d>(
    document: &Document<'d>,
    asked: &Operation<'d>,
    settings: &mut Vec<(String, Setting)>,
) -> Result<Option<(BodyKind, Vec<BodyMember>)>, &'static str> {
    let body = document.member(asked.operation, "requestBody");
    let Some(content) = body.get("content") else { return Ok(None) };
    let form = content.get("application/x-www-form-urlencoded").and_then(|media| media.get("schema"));
    let (kind, schema) = match (document.json_of(content), form) {
        (Some(schema), _) => (BodyKind::Json, schema),
        (None, Some(schema)) => (BodyKind::Form, schema),
        (None, None) if content.as_object().is_some_and(serde_json::Map::is_empty) => return Ok(None),
        (None, None) => return Err("its body is neither JSON nor a form"),
    };
    let flat = Flat::of(document, schema);
    if flat.members.is_empty() {
        if body["required"] == true && !flat.is("object") {
            return Err("its body is no object with known members");
        }
        return Ok(None);
    }
    let mut members = Vec::new();
    for (name, inner) in flat.members.iter().take(MEMBERS_MAX) {
        let inner = Flat::of(document, inner);
        if inner.read_only {
            continue;
        }
        // a form has texts and lists of them
        let is_flat = !(inner.types.contains(&"object") || inner.is_mixed);
        let is_list_of_objects = inner.items.is_some_and(|items| !Flat::of(document, items).members.is_empty());
        if kind == BodyKind::Form && (!is_flat || is_list_of_objects) {
            continue;
        }
        let input = add(document, settings, ("body", name), &inner, flat.required.contains(name));
        members.push((vec![(*name).to_owned()], input));
    }
    Ok(if members.is_empty() { None } else { Some((kind, members)) })
}

/// Adds a setting for something of the request; gives its name.
fn add<'d>(
    document: &Document<'d>,
    settings: &mut Vec<(String, Setting)>,
    (place, name): (&str, &str),
    flat: &Flat<'d>,
    required: bool,
) -> String {
    let own = unique(&column_name(name), |own| settings.iter().any(|(_, setting)| setting.name == own));
    let example = flat.example(document, name, 0);
    let example = if example.is_null() { "test".into() } else { example };
    settings.push((format!("{place}:{name}"), Setting { name: own.clone(), schema: flat.input(), required, example }));
    own
}
