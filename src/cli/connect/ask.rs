//! Asks a person, or takes what was given beforehand.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::cli::given;
use crate::cli::output::{DIM, Failure, plain};
use crate::spec::finding::check_against;

/// Whether there is a person to ask.
pub(in crate::cli) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The secrets that were given beforehand: in the environment as `HEADWATER_CREDENTIAL_<NAME>`, and in a JSON file (`-` is standard input),
/// which wins.
pub(super) fn given(file: Option<&PathBuf>) -> Result<BTreeMap<String, SecretString>, Failure> {
    let mut given = from_environment();
    let Some(file) = file else { return Ok(given) };
    let text = given::text(file)?;
    let wrong = |what: &str| {
        let hint = "a file with credentials is a JSON object of texts: `{\"api_key\": \"…\"}`".to_owned();
        Failure::user(format!("`{}` {what}", file.display()), Some(hint))
    };
    // the parser's own message would quote what it stumbled over
    let Ok(Value::Object(members)) = serde_json::from_str(&text) else { return Err(wrong("is no JSON object")) };
    for (name, value) in members {
        let Value::String(text) = value else {
            return Err(wrong(&format!("has something else than a text for `{name}`")));
        };
        given.insert(name, text.into());
    }
    Ok(given)
}

const PREFIX: &str = "HEADWATER_CREDENTIAL_";

#[expect(clippy::disallowed_methods, reason = "credentials may be given in the environment")]
fn from_environment() -> BTreeMap<String, SecretString> {
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let own =
        all.filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_lowercase(), SecretString::from(value))));
    own.collect()
}

/// A secret from the person, unseen; one of several lines (a private key) with `\n` in it, or from a file.
///
/// # Errors
/// Nobody is there, or nothing was typed.
pub(super) fn secret(name: &str) -> Result<SecretString, Failure> {
    if !is_interactive() {
        let hint = format!(
            "set `{PREFIX}{}`, or name a file with `--credentials FILE` (`-` is standard input)",
            name.to_uppercase()
        );
        return Err(Failure::user(
            format!("the credential `{name}` is missing, and nobody is there to ask"),
            Some(hint),
        ));
    }
    let typed = rpassword::prompt_password(format!("{name} (not shown; `@file` reads a file): "))?;
    let typed = match typed.trim().strip_prefix('@') {
        Some(file) => given::text(Path::new(file))?,
        None => typed.trim().replace("\\n", "\n"),
    };
    if typed.is_empty() {
        return Err(Failure::user(format!("nothing was given for `{name}`"), None));
    }
    Ok(typed.into())
}

/// A line from the person.
pub(in crate::cli) fn line(prompt: &str) -> Result<String, Failure> {
    if !is_interactive() {
        return Err(Failure::user("nobody is there to ask", Some("run it in a terminal".to_owned())));
    }
    anstream::eprint!("{prompt}: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// One of several names.
pub(super) fn choice(what: &str, names: &[String]) -> Result<String, Failure> {
    loop {
        let typed = line(&format!("{what} ({})", names.join(" | ")))?;
        if names.contains(&typed) {
            return Ok(typed);
        }
    }
}

/// The settings of a new connection: those of the command line, and the person's answers for what `schema` asks for besides.
pub(super) fn settings(schema: Option<&Value>, given: &[String]) -> Result<Map<String, Value>, Failure> {
    let empty = Map::new();
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object()).unwrap_or(&empty);
    let mut settings = Map::new();
    for pair in given {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(Failure::user(format!("`{pair}` is no `NAME=VALUE`"), None));
        };
        settings.insert(name.to_owned(), typed(properties.get(name), text));
    }
    let required: Vec<&str> = schema
        .and_then(|schema| schema.get("required")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in properties {
        if settings.contains_key(name) {
            continue;
        }
        let (needed, default) = (required.contains(&name.as_str()), property.get("default"));
        if !is_interactive() {
            if needed && default.is_none() {
                let hint = Some(format!("give it with `--set {name}=…`"));
                return Err(Failure::user(
                    format!("the setting `{name}` is missing, and nobody is there to ask"),
                    hint,
                ));
            }
            continue;
        }
        if let Some(value) = answer(name, property, needed, default)? {
            settings.insert(name.clone(), value);
        }
    }
    Ok(settings)
}

/// Asks for one setting until what is typed is one.
fn answer(name: &str, property: &Value, needed: bool, default: Option<&Value>) -> Result<Option<Value>, Failure> {
    if let Some(text) = property.get("description").and_then(Value::as_str) {
        anstream::eprintln!("{DIM}{text}{DIM:#}");
    }
    let mut notes: Vec<String> = Vec::new();
    if let Some(choices) = property.get("enum").and_then(Value::as_array) {
        notes.push(choices.iter().map(plain).collect::<Vec<_>>().join(" | "));
    }
    match (default, needed) {
        (Some(default), _) => notes.push(format!("default {}", plain(default))),
        (None, false) => notes.push("may stay empty".to_owned()),
        (None, true) => {}
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    loop {
        let text = line(&format!("{name}{notes}"))?;
        if text.is_empty() {
            if !needed || default.is_some() {
                return Ok(None);
            }
            continue;
        }
        let value = typed(Some(property), &text);
        match check_against(property, &value) {
            Ok(findings) if !findings.is_empty() => {
                for finding in findings {
                    anstream::eprintln!("  {}", finding.message);
                }
            }
            Ok(_) | Err(_) => return Ok(Some(value)),
        }
    }
}

/// What was typed, as the type that the schema wants.
fn typed(property: Option<&Value>, text: &str) -> Value {
    let wants_text = property.and_then(|property| property.get("type")).and_then(Value::as_str) == Some("string");
    if wants_text { text.into() } else { serde_json::from_str(text).unwrap_or_else(|_| text.into()) }
}
