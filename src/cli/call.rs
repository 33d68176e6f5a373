use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::output::{DIM, Failure, exit_code, json_line, table, visible};
use super::progress::{self, Style};
use super::query::cell;
use super::{Done, given, project};
use crate::diagnostic::suggest;
use crate::engine::{self, Answer, Call, CallPlace, Error, Host, HostOptions, Saved, Source, system_clock};
use crate::plan::{ActionPlan, Plan};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The action: `provider/action`, or `connection/action`.
    #[arg(value_name = "ACTION")]
    action: String,
    /// For which connection, where the provider has several.
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// What the action's `input` asks for: a JSON object, `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// The page: what the call before gave as `next_cursor`.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Whose rows are meant, where several variants of a sync fill the table.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The same for each try of one call: the API does it once. For actions with an `idempotency_key`.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The answer as one JSON object; an error too, as `{"error": …}`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let action = choose(&plan, arguments)?;
    let input = action.accept(&input(&arguments.input)?).map_err(|mistakes| refused(&action, &mistakes))?;
    // a number is one, and any other text stands for itself
    let cursor = arguments.cursor.as_ref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
    let style = if arguments.json { Style::Quiet } else { Style::Lines };
    let (observer, _bars) = progress::observer(style, &[]);
    // the copy is made by runs
    let host = HostOptions { publish: None, ..HostOptions::of(&plan, system_clock()) };
    let place = CallPlace::Host(Host::new(host, None));
    let (variant, idempotency_key) = (arguments.variant.clone(), arguments.idempotency_key.clone());
    let call = Call { input, cursor, variant, idempotency_key };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(engine::call(&action, call, place, observer)) {
        Ok(answer) if arguments.json => json_line(&answer)?,
        Ok(answer) => print(&answer),
        Err(error) if arguments.json => {
            json_line(&wire(&error))?;
            return Ok(exit_code(error.kind()));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(0)
}

/// The one action that is meant.
fn choose(plan: &Plan, arguments: &Arguments) -> Result<Arc<ActionPlan>, Failure> {
    let Arguments { action: selector, connection, .. } = arguments;
    if !selector.contains('/') {
        let known: Vec<String> = ids(&plan.actions, |action| &action.connection.provider);
        let own = known.iter().find(|id| id.split_once('/').is_some_and(|(_, name)| name == selector));
        let hint =
            own.map(|id| format!("write `{id}`")).or_else(|| suggest(selector, known.iter().map(String::as_str)));
        let message = format!("`{}` names no action: it is `provider/action`", visible(selector));
        return Err(Failure::user(message, hint.or_else(|| Some(none()))));
    }
    let named = plan.select_actions(std::slice::from_ref(selector));
    if named.is_empty() {
        let known = ids(&plan.actions, |action| &action.connection.provider);
        let hint = suggest(selector, known.iter().map(String::as_str)).or_else(|| Some(none()));
        return Err(Failure::user(format!("there is no action `{}`", visible(selector)), hint));
    }
    let of = |action: &&Arc<ActionPlan>| connection.as_ref().is_none_or(|name| *name == action.connection.name);
    match named.iter().filter(of).collect::<Vec<_>>().as_slice() {
        [one] => Ok(Arc::clone(one)),
        [] => {
            let name = visible(connection.as_deref().unwrap_or_default());
            let names = named.iter().map(|action| action.connection.name.as_str());
            Err(Failure::user(format!("`{}` has no connection `{name}`", visible(selector)), suggest(&name, names)))
        }
        several => {
            let names: Vec<String> =
                several.iter().map(|action| format!("`--connection {}`", action.connection.name)).collect();
            let message = format!("`{}` can be called for {} connections", visible(selector), several.len());
            Err(Failure::user(message, Some(format!("say for which: {}", names.join(", ")))))
        }
    }
}

fn none() -> String {
    "an action stands in `integrations/<provider>/actions/<name>.yaml`; `headwater explain` shows those that there are"
        .to_owned()
}

fn ids(actions: &[Arc<ActionPlan>], owner: fn(&ActionPlan) -> &String) -> Vec<String> {
    let mut ids: Vec<String> = actions.iter().map(|action| format!("{}/{}", owner(action), action.name)).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// What is given, from where it stands.
fn input(text: &str) -> Result<Map<String, Value>, Failure> {
    let text = match text.strip_prefix('@') {
        Some(file) => given::text(Path::new(file))?,
        None if text == "-" => given::text(Path::new(text))?,
        None => text.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(given)) => Ok(given),
        Ok(_) => Err(Failure::user("the input is no JSON object", Some(HOW.to_owned()))),
        Err(error) => Err(Failure::user(format!("the input is no JSON: {error}"), Some(HOW.to_owned()))),
    }
}

const HOW: &str = "write it as `--input '{\"email\": \"ada@example.com\"}'`, `--input @FILE` or `--input -`";

/// What a caller has given that the action does not take.
fn refused(action: &ActionPlan, mistakes: &[(String, Option<String>)]) -> Failure {
    let (message, hint) = ActionPlan::refusal(mistakes);
    // what stands beside one mistake says little of the others
    let hint = hint.filter(|_| mistakes.len() == 1);
    let hint = hint.unwrap_or_else(|| {
        let (provider, name) = (&action.connection.provider, &action.name);
        format!("`headwater explain {provider}/{name}` shows what it takes")
    });
    Failure::user(visible(&message), Some(hint))
}

/// An error as applications read it.
fn wire(error: &Error) -> Value {
    let mut body = json!({ "code": error.code(), "message": error.to_string() });
    if let Some(status) = error.status() {
        body["status"] = status.into();
    }
    if let Some(hint) = error.hint() {
        body["hint"] = hint.into();
    }
    json!({ "error": body })
}

fn print(answer: &Answer) {
    let Answer { records, source, next_cursor, requests, saved } = answer;
    match records.as_slice() {
        [] => anstream::println!("no records"),
        [Value::Object(one)] => {
            let rows: Vec<_> = one.iter().map(|(name, value)| vec![visible(name), cell(value)]).collect();
            anstream::println!("{}", table(&["column", "value"], &rows, &[]));
        }
        several => {
            let mut names: Vec<&str> = Vec::new();
            for name in several.iter().filter_map(Value::as_object).flat_map(Map::keys) {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            let shown: Vec<String> = names.iter().map(|name| visible(name)).collect();
            let rows = several.iter().map(|record| match record {
                Value::Object(members) => {
                    names.iter().map(|name| members.get(*name).map(cell).unwrap_or_default()).collect()
                }
                other => vec![cell(other)],
            });
            let rows: Vec<Vec<String>> = rows.collect();
            let headings: Vec<&str> =
                if names.is_empty() { vec!["record"] } else { shown.iter().map(String::as_str).collect() };
            anstream::println!("{}", table(&headings, &rows, &[]));
        }
    }
    let records = if records.len() == 1 { "1 record".to_owned() } else { format!("{} records", records.len()) };
    let from = match (source, requests) {
        (Source::Table, _) => "the table, without a request".to_owned(),
        (Source::Api, 1) => "the API, 1 request".to_owned(),
        (Source::Api, requests) => format!("the API, {requests} requests"),
    };
    anstream::eprintln!("{DIM}{records} from {from}{DIM:#}");
    if let Some(Saved { table, added, updated, unchanged, .. }) = saved {
        let counts = [("added", added), ("updated", updated), ("as it was", unchanged)];
        let counts: Vec<String> =
            counts.iter().filter(|(_, count)| **count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        anstream::eprintln!("{DIM}saved in {table}: {}{DIM:#}", counts.join(", "));
    }
    if let Some(cursor) = next_cursor {
        // a text that reads as another value is written as JSON
        let text = match cursor {
            Value::String(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
            other => other.to_string(),
        };
        anstream::eprintln!("{DIM}there are more: --cursor '{}'{DIM:#}", visible(&text).replace('\'', "'\\''"));
    }
}
