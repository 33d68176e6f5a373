//! From the document to all drafts.

use crate::plan::limits;
use serde_json::Value;

use super::actions::action;
use super::document::Document;
use super::lists::{Operation, Taken, is_link, sync};
use super::security::{base_url, ways};
use crate::draft::name::sentence;
use crate::draft::parts::{ActionDraft, ModelDraft, ProviderDraft, SyncDraft, Verb};

/// All that a document gives.
#[derive(Debug)]
pub struct Drafts {
    /// the provider
    pub provider: ProviderDraft,
    /// its lists
    pub syncs: Vec<(SyncDraft, ModelDraft)>,
    /// what changes something
    pub actions: Vec<ActionDraft>,
    /// operations that make neither, with the reason
    pub skipped: Vec<(String, &'static str)>,
}

/// Why a document gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// it says that it is something else
    #[error("this is no OpenAPI 3 document: {0}")]
    NoOpenApi(String),
}

/// Drafts from a document. Of its operations those are taken whose path or id has one of `only` in it, if there are any.
///
/// # Errors
/// It is none of OpenAPI 3.0 or later.
pub fn draft(root: &Value, name: &str, own_base_url: Option<&str>, only: &[String]) -> Result<Drafts, Error> {
    match (root["openapi"].as_str(), root["swagger"].as_str()) {
        (Some(version), _) if version.starts_with("3.") => {}
        (Some(version), _) => {
            return Err(Error::NoOpenApi(format!("it is of version `{}`", sentence(version).unwrap_or_default())));
        }
        (None, Some(_)) => {
            return Err(Error::NoOpenApi("it is Swagger 2.0, which converters make OpenAPI 3 of".to_owned()));
        }
        (None, None) => return Err(Error::NoOpenApi("it does not say `openapi: 3.…`".to_owned())),
    }
    let document = Document::of(root);
    let mut notes = Vec::new();
    let (base_url, config) = base_url(&document, own_base_url);
    let auth = ways(&document, &mut notes);
    if auth.len() > 1 {
        notes.push("a connection takes one of these ways in: `auth: …`".to_owned());
    }
    let text = |pointer: &str| root.pointer(pointer).and_then(Value::as_str);
    let provider = ProviderDraft {
        name: name.to_owned(),
        title: text("/info/title").and_then(sentence),
        docs: text("/externalDocs/url").filter(|url| is_link(url)).map(str::to_owned),
        base_url,
        config,
        auth,
        quotas: Vec::new(),
        verify: None,
        notes,
    };
    let mut drafts = Drafts { provider, syncs: Vec::new(), actions: Vec::new(), skipped: Vec::new() };
    let mut taken = Taken::default();
    let operations = operations(&document, only);
    // lists first: their names are the ones that people look for
    for (verb, asked) in operations.iter().filter(|(verb, _)| *verb == Verb::Get) {
        match sync(&document, asked, &mut taken) {
            Ok(found) => drafts.syncs.push(found),
            Err(why) => drafts.skipped.push((format!("{} {}", verb.word(), asked.path), why)),
        }
    }
    for (verb, asked) in operations.iter().filter(|(verb, _)| *verb != Verb::Get) {
        match action(&document, asked, *verb, &mut taken) {
            Ok(found) => drafts.actions.push(found),
            Err(why) => drafts.skipped.push((format!("{} {}", verb.word(), asked.path), why)),
        }
    }
    Ok(drafts)
}

fn operations<'d>(document: &Document<'d>, only: &[String]) -> Vec<(Verb, Operation<'d>)> {
    let mut found = Vec::new();
    for (path, item) in document.root.get("paths").and_then(Value::as_object).into_iter().flatten() {
        let item = document.resolve(item);
        for verb in Verb::ALL {
            let Some(operation) = item.get(verb.word()).filter(|operation| operation.is_object()) else { continue };
            let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
            let is_wanted =
                only.is_empty() || only.iter().any(|word| path.contains(word.as_str()) || id.contains(word.as_str()));
            if is_wanted && operation["deprecated"] != true && found.len() < limits::DRAFT_OPERATIONS_MAX {
                found.push((verb, Operation { path, item, operation }));
            }
        }
    }
    found
}
