//! The connections: whether each can run, and what is to be done where it cannot.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::html::{Shown, page};
use super::routes::Page;
use super::session::Visitor;
use super::words::{asking, moment};
use crate::plan::ApiScope;
use crate::serve::control::health;

/// `GET /connections`
pub(super) async fn connections(State(state): State<Arc<Page>>, visitor: Visitor) -> Shown {
    visitor.must(ApiScope::Syncs)?;
    let now = state.listening.door.host().now();
    let plan = state.listening.plan();
    let mut rows = health(&state.listening).await?;
    for row in &mut rows {
        let name = row["connection"].as_str().unwrap_or_default().to_owned();
        let syncs = plan.syncs.iter().filter(|sync| sync.id.connection == name).count();
        for key in ["ends_at", "connected_at"] {
            let at = row[key].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
            row[key] = at.map_or(Value::Null, |at| moment(at, now));
        }
        let word = row["state"].as_str().unwrap_or_default().replace('_', " ");
        row["connect"] = json!(matches!(word.as_str(), "needs reconnect" | "not connected" | "expires"));
        row["state"] = json!(word);
        row["syncs"] = json!(syncs);
        row["at"] = json!(asking("/", &[("q", &format!("{name}/"))]));
    }
    page("connections.html", Some(&visitor), &json!({ "title": "Connections", "nav": "connections", "rows": rows }))
}
