//! Questions in SQL.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Denied, written};
use super::control::{Body, read};
use super::http::Listening;
use crate::plan::limits;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Question {
    sql: String,
    limit: Option<usize>,
}

/// `POST /v1/query`
pub(super) async fn query(State(listening): State<Arc<Listening>>, body: Body) -> Answer {
    let Question { sql, limit } = read(body)?;
    let max = limits::API_RECORDS_MAX;
    let limit = limit.unwrap_or(limits::API_RECORDS);
    if !(1..=max).contains(&limit) {
        return Err(Denied::bad(format!("`limit` is {limit}"), format!("a number from 1 to {max}")));
    }
    let session = listening.door.session().await?;
    let asked = session.call(move |store| {
        let (mut rows, mut bytes, mut more) = (Vec::new(), 0, false);
        let columns = store.query(&sql, limits::API_QUERY_WAIT_MAX, |_, values| {
            let row = Value::Array(values).to_string();
            if rows.len() == limit || bytes + row.len() > limits::API_PAGE_BYTES_MAX {
                more = true;
                return ControlFlow::Break(());
            }
            bytes += row.len();
            rows.push(row);
            ControlFlow::Continue(())
        })?;
        Ok((columns, rows, more))
    });
    let (columns, rows, more) = asked.await?;
    let columns: Vec<Value> =
        columns.iter().map(|column| json!({ "name": column.name, "type": column.type_name })).collect();
    let columns = Value::Array(columns);
    let body = format!(r#"{{"columns":{columns},"rows":[{}],"more":{more}}}"#, rows.join(","));
    Ok(written(StatusCode::OK, body))
}
