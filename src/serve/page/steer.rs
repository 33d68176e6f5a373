//! The buttons: what is done with a sync.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use serde_json::json;

use super::html::{Shown, page};
use super::routes::Page;
use super::session::{Fields, Visitor};
use super::words::{count, of_sync, sync_name};
use crate::plan::{ApiScope, SyncId};
use crate::serve::Command;
use crate::serve::answer::Denied;
use crate::store::Reset;

type Named = Path<(String, String, String)>;

/// `GET /syncs/{connection}/{sync}/reset`: asks whether it is meant.
pub(super) async fn confirm(
    State(state): State<Arc<Page>>,
    visitor: Visitor,
    Path((connection, sync, what)): Named,
) -> Shown {
    visitor.must(ApiScope::Control)?;
    let id = state.id(&connection, &sync)?;
    if what != "reset" {
        return Err(no_page().into());
    }
    let reset = Reset { syncs: vec![id.clone()], partition: None, purge: true };
    let would = state.listening.door.session().await?.call(move |store| store.would_forget(&reset)).await?;
    let purged: Vec<_> =
        would.removed.iter().map(|(table, rows)| json!({ "table": table, "rows": count(*rows) })).collect();
    let told = json!({
        "title": format!("Reset {id}"), "nav": "overview", "sync": id.to_string(), "at": of_sync(&id), "purged": purged,
    });
    page("reset.html", Some(&visitor), &told)
}

/// `POST /syncs/{connection}/{sync}/{what}`
pub(super) async fn steer(
    State(state): State<Arc<Page>>,
    visitor: Visitor,
    Path((connection, sync, what)): Named,
    body: Bytes,
) -> Shown {
    let fields = Fields::of(&body);
    state.must_be_own(&visitor, fields.get("csrf"))?;
    visitor.must(ApiScope::Control)?;
    let id = state.id(&connection, &sync)?;
    let ids = vec![id.clone()];
    let said = match what.as_str() {
        "run" | "full" => {
            let full = what == "full";
            state.command(|reply| Command::Run(ids, full, reply)).await??;
            if full { format!("{id} is run from the beginning.") } else { format!("{id} is run.") }
        }
        "pause" | "resume" => {
            let paused = what == "pause";
            state.command(|reply| Command::Pause(ids, paused, reply)).await??;
            if paused { format!("{id} is paused: it does not run by itself.") } else { format!("{id} is resumed.") }
        }
        "cancel" => {
            state.command(|reply| Command::Cancel(ids, reply)).await??;
            format!("{id} stops after what is being committed.")
        }
        "reset" => {
            let purge = fields.get("purge") == "yes";
            let forgotten = state.command(|reply| Command::Reset(ids, purge, reply)).await??;
            let rows: u64 = forgotten.removed.iter().map(|(_, rows)| rows).sum();
            let gone = if purge { format!(" Its rows are gone: {rows}.") } else { String::new() };
            format!("{id} has forgotten where it was: the next run reads everything.{gone}")
        }
        _ => return Err(no_page().into()),
    };
    state.sessions.say(&visitor, said);
    let back = if fields.get("back") == "overview" { "/".to_owned() } else { of_sync(&id) };
    Ok(Redirect::to(&back).into_response())
}

/// There is none.
pub(super) fn no_page() -> Denied {
    Denied::new(StatusCode::NOT_FOUND, "not_found", "there is no such page").hint("the first page is `/`")
}

impl Page {
    /// The sync that an address names.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn id(&self, connection: &str, sync: &str) -> Result<SyncId, Denied> {
        let is_it = |id: &&SyncId| id.connection == connection && sync_name(id) == sync;
        let plan = self.listening.plan();
        let found = plan.syncs.iter().map(|sync| &sync.id).find(is_it);
        let message = || format!("there is no sync `{connection}/{sync}`");
        found.cloned().ok_or_else(|| Denied::new(StatusCode::NOT_FOUND, "unknown_sync", message()))
    }
}
