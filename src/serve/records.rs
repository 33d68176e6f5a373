//! Records: the change feed of a table, a page at a time.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Denied, ok, written};
use super::control::{Body, read};
use super::http::Listening;
use crate::diagnostic::suggest;
use crate::engine::Error;
use crate::plan::{ModelPlan, limits};
use crate::store::{self, FeedPage, Place, Prune, Pruned, RowCount, Wanted};

/// What the query of a request says, in its order.
pub(super) type Parameters = Query<Vec<(String, String)>>;

const KNOWN: [&str; 7] = ["after", "limit", "action", "connection", "variant", "modified_after", "ids"];

/// `GET /v1/records/{provider}/{table}`
pub(super) async fn records(
    State(listening): State<Arc<Listening>>,
    Path((provider, table)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Answer {
    let wanted = wanted(format!("{provider}.{table}"), &parameters)?;
    let after = wanted.after;
    let session = listening.door.session().await?;
    let page = match session.call(move |store| store.feed(&wanted)).await {
        // what has not run yet has no rows
        Err(Error::Store(store::Error::UnknownTable { .. }))
            if after.change == 0 && is_planned(&listening, &provider, &table) =>
        {
            FeedPage { rows: Vec::new(), next: Place { change: 0, generation: Some(0) }, more: false }
        }
        page => page?,
    };
    Ok(answer(&page))
}

fn answer(page: &FeedPage) -> Response {
    let FeedPage { rows, next, more } = page;
    let (rows, next) = (rows.join(","), cursor(next));
    written(StatusCode::OK, format!(r#"{{"records":[{rows}],"next":"{next}","more":{more}}}"#))
}

/// `GET /v1/records/{provider}/{table}/counts`
pub(super) async fn counts(
    State(listening): State<Arc<Listening>>,
    Path((provider, table)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Answer {
    let (mut connection, mut variant) = (None, None);
    each(&parameters, &["connection", "variant"], |name, value| {
        let which = if name == "connection" { &mut connection } else { &mut variant };
        *which = Some(value.to_owned());
        Ok(())
    })?;
    let name = format!("{provider}.{table}");
    let session = listening.door.session().await?;
    let counted = match session.call(move |store| store.counts(&name)).await {
        Err(Error::Store(store::Error::UnknownTable { .. })) if is_planned(&listening, &provider, &table) => Vec::new(),
        counted => counted?,
    };
    let is_wanted = |wanted: &Option<String>, own: &String| wanted.as_ref().is_none_or(|wanted| wanted == own);
    let wanted = |count: &&RowCount| is_wanted(&connection, &count.connection) && is_wanted(&variant, &count.variant);
    let counted: Vec<&RowCount> = counted.iter().filter(wanted).collect();
    let sum = |of: fn(&RowCount) -> u64| counted.iter().map(|count| of(count)).sum::<u64>();
    ok(&json!({ "rows": sum(|count| count.rows), "deleted": sum(|count| count.deleted), "counts": counted }))
}

/// What is pruned.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Pruning {
    up_to: String,
    connection: Option<String>,
    variant: Option<String>,
}

/// `POST /v1/records/{provider}/{table}/prune`
pub(super) async fn prune(
    State(listening): State<Arc<Listening>>,
    Path((provider, table)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let Pruning { up_to, connection, variant } = read(body)?;
    let hint = "give the `next` up to which all your readers have read";
    let up_to = place(&up_to).ok_or_else(|| Denied::bad("`up_to` is no place in the feed", hint))?.change;
    let (table, rows_max) = (format!("{provider}.{table}"), limits::API_PRUNED_MAX);
    let session = listening.door.session().await?;
    let prune = Prune { table, up_to, connection, variant, rows_max };
    let Pruned { rows, more } = session.call(move |store| store.prune(&prune)).await?;
    ok(&json!({ "rows": rows, "more": more }))
}

/// Whether some sync will make the table.
pub(super) fn is_planned(listening: &Listening, schema: &str, table: &str) -> bool {
    let plan = listening.plan();
    let mut tables = plan.syncs.iter().flat_map(|sync| sync.models()).flat_map(ModelPlan::tables);
    tables.any(|model| model.schema.eq_ignore_ascii_case(schema) && model.table.eq_ignore_ascii_case(table))
}

/// `5161.65f3a2b1c0d00`: the change number, and the generation of the table.
pub(super) fn cursor(Place { change, generation }: &Place) -> String {
    match generation {
        Some(generation) => format!("{change}.{generation:x}"),
        None => change.to_string(),
    }
}

fn place(text: &str) -> Option<Place> {
    let (change, generation) = match text.split_once('.') {
        Some((change, generation)) => (change, Some(u64::from_str_radix(generation, 16).ok()?)),
        None => (text, None),
    };
    let change = change.parse().ok().filter(|change| *change >= 0)?;
    Some(Place { change, generation })
}

/// What the parameters ask for.
pub(super) fn wanted(table: String, parameters: &[(String, String)]) -> Result<Wanted, Denied> {
    let mut wanted = Wanted {
        table,
        after: Place { change: 0, generation: None },
        rows_max: limits::API_RECORDS,
        bytes_max: limits::API_PAGE_BYTES_MAX,
        actions: Vec::new(),
        connection: None,
        variant: None,
        modified_after: None,
        ids: None,
    };
    each(parameters, &KNOWN, |name, value| {
        match name {
            "after" => {
                let hint = "give what the last answer said in `next`, or the highest `_change` that you have";
                wanted.after = place(value)
                    .ok_or_else(|| Denied::bad(format!("`after={value}` is no place in the feed"), hint))?;
            }
            "limit" => wanted.rows_max = number(name, value, limits::API_RECORDS_MAX)?,
            "action" => wanted.actions = value.split(',').map(action).collect::<Result<_, _>>()?,
            "connection" => wanted.connection = Some(value.to_owned()),
            "variant" => wanted.variant = Some(value.to_owned()),
            "modified_after" => wanted.modified_after = Some(moment(value)?),
            _ => wanted.ids.get_or_insert_default().extend(ids(value)?),
        }
        Ok(())
    })?;
    if wanted.ids.as_ref().is_some_and(|ids| ids.len() > limits::API_IDS_MAX) {
        return Err(Denied::bad(format!("more than {} ids", limits::API_IDS_MAX), "ask for them in several requests"));
    }
    Ok(wanted)
}

/// Reads the parameters of a request.
pub(super) fn each(
    parameters: &[(String, String)],
    known: &[&str],
    mut read: impl FnMut(&str, &str) -> Result<(), Denied>,
) -> Result<(), Denied> {
    parameters.iter().try_for_each(|(name, value)| {
        if !known.contains(&name.as_str()) {
            let hint = suggest(name, known.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("there are `{}`", known.join("`, `")));
            return Err(Denied::bad(format!("there is no parameter `{name}`"), hint));
        }
        read(name, value)
    })
}

/// A number of things, at least one.
pub(super) fn number(name: &str, value: &str, max: usize) -> Result<usize, Denied> {
    let number = value.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| Denied::bad(format!("`{name}={value}` is no number from 1 to {max}"), "write it in digits"))
}

fn action(word: &str) -> Result<&'static str, Denied> {
    match word {
        "added" => Ok("ADDED"),
        "updated" => Ok("UPDATED"),
        "deleted" => Ok("DELETED"),
        other => {
            let hint = "actions are `added`, `updated` and `deleted`, several of them with commas";
            Err(Denied::bad(format!("there is no action `{other}`"), hint))
        }
    }
}

fn moment(value: &str) -> Result<DateTime<Utc>, Denied> {
    // a `+` that nobody has encoded arrives as a space
    let at = DateTime::parse_from_rfc3339(&value.replace(' ', "+"));
    let hint = "write it as RFC 3339: `2026-11-22T16:40:00Z`";
    at.map(|at| at.to_utc()).map_err(|_| Denied::bad(format!("`modified_after={value}` is no time"), hint))
}

/// `1,2,3`; or JSON, for keys that have commas in them or several columns.
fn ids(value: &str) -> Result<Vec<Vec<Value>>, Denied> {
    if !value.starts_with('[') {
        return Ok(value.split(',').map(|id| vec![Value::String(id.to_owned())]).collect());
    }
    let wrong = || Denied::bad("`ids` is no JSON array", "write `ids=1,2`, or `ids=[\"a\",\"b\"]`");
    let ids: Vec<Value> = serde_json::from_str(value).map_err(|_| wrong())?;
    let of = |id| match id {
        Value::Array(values) => values,
        single => vec![single],
    };
    Ok(ids.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_told() {
        for at in [Place { change: 0, generation: Some(0) }, Place { change: 5161, generation: Some(u64::MAX) }] {
            assert_eq!(place(&cursor(&at)), Some(at));
        }
        assert_eq!(place("17"), Some(Place { change: 17, generation: None }));
        for wrong in ["", "-1", "1.", "1.x", "a", "1.2.3", "99999999999999999999"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ids_are_texts_or_json() {
        assert_eq!(ids("1,b").expect("ids"), [["1"], ["b"]]);
        assert_eq!(ids("[\"a,b\", 2]").expect("ids"), [vec![Value::from("a,b")], vec![Value::from(2)]]);
        assert_eq!(ids("[[1,\"x\"]]").expect("ids"), [vec![Value::from(1), Value::from("x")]]);
        assert!(ids("[1").is_err());
    }
}
