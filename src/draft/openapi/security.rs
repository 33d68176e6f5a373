//! Where an API is, and how a request proves who asks.

use serde_json::{Value, json};
use url::Url;

use super::document::Document;
use crate::draft::name::{column_name, file_name, sentence, unique};
use crate::draft::parts::{Guess, Setting, Way};

/// Ways in that are taken over.
const WAYS_MAX: usize = 8;
/// Scopes of one way in that are taken over.
const SCOPES_MAX: usize = 40;

/// The base URL with its settings. `own` is what a person has said.
pub(super) fn base_url(document: &Document<'_>, own: Option<&str>) -> (Guess<String>, Vec<Setting>) {
    if let Some(own) = own {
        return (Guess::said(own.trim_end_matches('/').to_owned()), Vec::new());
    }
    let servers = document.root.get("servers").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(server) = servers.first() else {
        return (Guess::guessed(NOWHERE.to_owned(), "the document does not say where the API is"), Vec::new());
    };
    let url = server["url"].as_str().unwrap_or_default().trim().trim_end_matches('/');
    let (template, settings) = templated(url, &server["variables"]);
    let plain = settings.iter().fold(template.clone(), |url, setting| {
        let value = setting.example.as_str().unwrap_or("x");
        url.replace(&format!("{{{{ config.{} }}}}", setting.name), value)
    });
    let is_url = Url::parse(&plain).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if is_url && !plain.contains(['{', '}', '?', '#']) {
        let why = (servers.len() > 1).then(|| format!("the first of {} servers of the document", servers.len()));
        return (Guess { value: template, why }, settings);
    }
    let path =
        url.starts_with('/') && url.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'));
    let value = if path { format!("{NOWHERE}{url}") } else { NOWHERE.to_owned() };
    (
        Guess::guessed(value, "the document does not say the host; write it, or draft again with `--base-url`"),
        Vec::new(),
    )
}

const NOWHERE: &str = "https://api.example.com";

fn templated(url: &str, variables: &Value) -> (String, Vec<Setting>) {
    let (mut out, mut rest, mut settings) = (String::new(), url, Vec::<Setting>::new());
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else { break };
        let own = column_name(name);
        out.push_str(before);
        out.push_str(&format!("{{{{ config.{own} }}}}"));
        if !settings.iter().any(|setting| setting.name == own) {
            let variable = &variables[name];
            let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let default = text(&variable["default"]);
            let mut schema = json!({ "type": "string" });
            let choices: Vec<String> = variable["enum"].as_array().into_iter().flatten().filter_map(text).collect();
            if !choices.is_empty() && default.as_ref().is_none_or(|default| choices.contains(default)) {
                schema["enum"] = choices.into();
            }
            if let Some(description) = variable["description"].as_str().and_then(sentence) {
                schema["description"] = description.into();
            }
            if let Some(default) = &default {
                schema["default"] = default.as_str().into();
            }
            let example = default.clone().unwrap_or_else(|| format!("some-{own}"));
            settings.push(Setting { name: own, schema, required: default.is_none(), example: example.into() });
        }
        rest = behind;
    }
    out.push_str(rest);
    (out, settings)
}

/// The ways in, and what cannot be taken over.
pub(super) fn ways(document: &Document<'_>, notes: &mut Vec<String>) -> Vec<(String, Guess<Way>)> {
    let schemes = document.root.pointer("/components/securitySchemes").and_then(Value::as_object);
    let mut ways: Vec<(String, Guess<Way>)> = Vec::new();
    for (name, scheme) in schemes.into_iter().flatten() {
        let scheme = document.resolve(scheme);
        let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
        let found: Vec<Way> = match (text("type"), text("in"), text("scheme").to_ascii_lowercase().as_str()) {
            ("apiKey", place, _) => key(place, text("name")).into_iter().collect(),
            ("http", _, "basic") => vec![Way::Basic],
            ("http", _, "bearer") => vec![Way::Bearer],
            ("oauth2", _, _) => flows(&scheme["flows"]),
            _ => Vec::new(),
        };
        if found.is_empty() {
            notes.push(format!("the way in `{}` is one that the draft does not know", file_name(name)));
        }
        for way in found {
            if ways.len() < WAYS_MAX && !ways.iter().any(|(_, known)| known.value == way) {
                let own = unique(&file_name(name), |own| ways.iter().any(|(known, _)| known == own));
                ways.push((own, Guess::said(way)));
            }
        }
    }
    ways
}

/// A key whose place has a name that HTTP takes.
fn key(place: &str, name: &str) -> Option<Way> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let is_name = !name.is_empty() && name.len() < 100 && name.chars().all(is_token);
    match place {
        // `Authorization` as a key is what the documentation says to put there: a token mostly
        "header" if is_name => Some(Way::Header { name: name.to_owned(), prefix: None }),
        "query" if !name.is_empty() && !name.contains(char::is_control) => Some(Way::Query(name.to_owned())),
        "cookie" if is_name => Some(Way::Cookie(name.to_owned())),
        _ => None,
    }
}

fn flows(flows: &Value) -> Vec<Way> {
    let url = |flow: &Value, key: &str| {
        let url = Url::parse(flow[key].as_str()?).ok()?;
        (matches!(url.scheme(), "http" | "https") && !flow[key].as_str()?.contains(['{', '}'])).then(|| url.to_string())
    };
    let scopes = |flow: &Value| -> Vec<String> {
        let known = flow["scopes"].as_object().map(serde_json::Map::len).unwrap_or_default();
        // all scopes of a large API are more than anybody should ask for
        let few = if known <= SCOPES_MAX { flow["scopes"].as_object() } else { None };
        let is_scope = |scope: &&String| !scope.is_empty() && scope.chars().all(|c| c.is_ascii_graphic());
        few.into_iter().flatten().map(|(name, _)| name).filter(is_scope).cloned().collect()
    };
    let mut ways = Vec::new();
    let code = &flows["authorizationCode"];
    if let (Some(authorize_url), Some(token_url)) = (url(code, "authorizationUrl"), url(code, "tokenUrl")) {
        ways.push(Way::AuthorizationCode { authorize_url, token_url, scopes: scopes(code) });
    }
    let own = &flows["clientCredentials"];
    if let Some(token_url) = url(own, "tokenUrl") {
        ways.push(Way::ClientCredentials { token_url, scopes: scopes(own) });
    }
    ways
}
