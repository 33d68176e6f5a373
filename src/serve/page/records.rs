//! Records: the tables, and the change feed of each, a page at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::html::{Shown, page};
use super::routes::Page;
use super::session::Visitor;
use super::words::{address, asking, cut, moment};
use crate::engine::Error;
use crate::plan::{ApiScope, ModelPlan, limits};
use crate::serve::records::{Parameters, cursor, is_planned, wanted};
use crate::store::{self, FeedPage, Place};

/// What headwater adds to a row that the page shows elsewhere, or not at all.
const OWN: [&str; 10] = [
    "_change",
    "_connection",
    "_variant",
    "_last_action",
    "_last_modified_at",
    "_first_seen_at",
    "_deleted_at",
    "_hash",
    "_raw_hash",
    "_listed",
];

/// `GET /records`
pub(super) async fn tables(State(state): State<Arc<Page>>, visitor: Visitor) -> Shown {
    visitor.must(ApiScope::Records)?;
    let mut tables: BTreeMap<(String, String), (Arc<ModelPlan>, Vec<String>)> = BTreeMap::new();
    for sync in &state.listening.plan().syncs {
        for model in sync.tables() {
            let (_, filled_by) = tables
                .entry((model.schema.clone(), model.table.clone()))
                .or_insert_with(|| (Arc::clone(&model), Vec::new()));
            if !filled_by.contains(&sync.id.sync) {
                filled_by.push(sync.id.sync.clone());
            }
        }
    }
    let rows = tables.values().map(|(model, syncs)| {
        let ModelPlan { schema, table, description, columns, .. } = &**model;
        json!({
            "name": format!("{schema}.{table}"), "at": address(&["records", schema, table]), "description": description,
            "columns": columns.len(), "syncs": syncs.join(", "), "key": key_of(model).join(", "),
        })
    });
    let rows: Vec<_> = rows.collect();
    page("tables.html", Some(&visitor), &json!({ "title": "Records", "nav": "records", "rows": rows }))
}

/// `GET /records/{provider}/{table}`
pub(super) async fn records(
    State(state): State<Arc<Page>>,
    visitor: Visitor,
    Path((provider, table)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Shown {
    visitor.must(ApiScope::Records)?;
    let now = state.listening.door.host().now();
    // an empty field of a form is none
    let given: Vec<_> = parameters.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
    let mut wanted = wanted(format!("{provider}.{table}"), &given)?;
    (wanted.rows_max, wanted.bytes_max) = (limits::PAGE_RECORDS, limits::PAGE_RECORDS_BYTES);
    let after = wanted.after;
    let session = state.listening.door.session().await?;
    let read = match session.call(move |store| store.feed(&wanted)).await {
        Err(Error::Store(store::Error::UnknownTable { .. }))
            if after.change == 0 && is_planned(&state.listening, &provider, &table) =>
        {
            FeedPage { rows: Vec::new(), next: Place { change: 0, generation: Some(0) }, more: false }
        }
        read => read?,
    };
    drop(session);
    let model = model_of(&state, &provider, &table);
    let key = model.as_ref().map(|model| key_of(model)).unwrap_or_default();
    let rows: Vec<Map<String, Value>> = read.rows.iter().filter_map(|row| serde_json::from_str(row).ok()).collect();
    let columns: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
    let columns: Vec<&String> =
        columns.into_iter().filter(|name| !OWN.contains(&name.as_str()) && !key.contains(name)).collect();
    let described = |name: &&String| {
        let column = model.as_ref()?.columns.iter().find(|column| column.name == **name)?;
        column.description.clone()
    };
    let is_number = |name: &&String| rows.iter().any(|row| row.get(*name).is_some_and(Value::is_number));
    let head = |name: &&String| json!({ "name": name, "description": described(name), "number": is_number(name) });
    let heads: Vec<_> = columns.iter().map(head).collect();
    let shown: Vec<_> = rows.iter().map(|row| shown(row, &key, &columns, now)).collect();
    let at = address(&["records", &provider, &table]);
    let value = |name: &str| given.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    let filters = ["connection", "variant", "action", "ids"].map(|name| (name, value(name)));
    let next = cursor(&read.next);
    let further = [&filters[..], &[("after", next.as_str())]].concat();
    let told = json!({
        "title": format!("{provider}.{table}"), "nav": "records", "description": model.as_ref().and_then(|model| model.description.as_ref()),
        "key": key, "heads": heads, "rows": shown, "more": read.more, "at": at, "change": read.next.change,
        "next": asking(&at, &further), "first": asking(&at, &filters), "after": value("after"), "connection": value("connection"),
        "action": value("action"), "ids": value("ids"), "variant": value("variant"), "connections": connections_of(&state, &provider),
    });
    page("records.html", Some(&visitor), &told)
}

fn model_of(state: &Page, schema: &str, table: &str) -> Option<Arc<ModelPlan>> {
    let plan = state.listening.plan();
    let mut tables = plan.syncs.iter().flat_map(|sync| sync.tables());
    tables.find(|model| model.schema.eq_ignore_ascii_case(schema) && model.table.eq_ignore_ascii_case(table))
}

fn key_of(model: &ModelPlan) -> Vec<String> {
    model.key.iter().filter_map(|at| model.columns.get(*at)).map(|column| column.name.clone()).collect()
}

fn connections_of(state: &Page, provider: &str) -> Vec<String> {
    let plan = state.listening.plan();
    let all = plan.connections.iter();
    all.filter(|connection| connection.provider == provider).map(|connection| connection.name.clone()).collect()
}

fn shown(row: &Map<String, Value>, key: &[String], columns: &[&String], now: DateTime<Utc>) -> Value {
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let at = |name: &str| text(name).parse::<DateTime<Utc>>().ok().map(|at| moment(at, now));
    let keys: Vec<_> = key.iter().filter_map(|name| row.get(name)).map(value).collect();
    let values: Vec<_> = columns.iter().map(|name| row.get(*name).map_or(Value::Null, value)).collect();
    json!({
        "change": row.get("_change"), "key": keys, "values": values, "action": text("_last_action").to_lowercase(),
        "connection": text("_connection"), "variant": text("_variant"), "modified": at("_last_modified_at"),
        "deleted": row.get("_deleted_at").is_some_and(|at| !at.is_null()),
    })
}

/// A value as text: a long one has its beginning, and behind that as much as is shown at all.
fn value(value: &Value) -> Value {
    let text = match value {
        Value::Null => return json!({ "text": "null", "is": "none", "whole": null }),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let is = if value.is_number() { "number" } else { "" };
    let short = cut(&text, limits::PAGE_VALUE_CHARS);
    let whole = (short != text).then(|| cut(&text, limits::PAGE_QUARANTINE_CHARS));
    json!({ "text": short, "is": is, "whole": whole })
}
