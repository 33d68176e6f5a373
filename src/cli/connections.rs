use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::output::{DIM, Failure, json_line, moment, table};
use super::{Done, connect, project, status};
use crate::engine;
use crate::plan::{ConnectionPlan, Plan, limits};
use crate::remote::{self, CredentialStore, Entry, HealthState};
use crate::store::{RunSummary, SyncStatus};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// One JSON object per connection, as lines.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show each connection: whether it can run, when its token ends, its last run. Asks no API.
    List,
    /// Send each connection's `verify` request; a connection that is accepted waits for nobody any more.
    Verify {
        /// The connections; without any all.
        connections: Vec<String>,
    },
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan_to_show(folder)?;
    let store = CredentialStore::of_project(folder);
    match &arguments.command {
        None | Some(Command::List) => list(&plan, &store, arguments.json),
        Some(Command::Verify { connections }) => verify(&plan, &store, connections, arguments.json),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct DisconnectArguments {
    /// The connection, as `headwater.yaml` names it.
    connection: String,
}

/// Forgets what is kept of a connection. Its rows and its words in the project file stay.
pub(super) fn disconnect(folder: &Path, arguments: &DisconnectArguments) -> Done {
    let name = &arguments.connection;
    let store = CredentialStore::of_project(folder);
    // who refreshes its token just now would keep it again
    let is_kept = store.entries()?.contains_key(name);
    let _lock = is_kept.then(|| store.lock(name, limits::REFRESH_LOCK_WAIT_MAX)).transpose()?;
    if !store.remove(name)? {
        return Err(Failure::user(
            format!("nothing is kept of a connection `{name}`"),
            Some("`headwater connections` lists what there is".to_owned()),
        ));
    }
    anstream::println!("disconnected `{name}`: its secrets are gone from here");
    anstream::eprintln!(
        "{DIM}the API still knows them: revoke them there too; rows and headwater.yaml are as they were{DIM:#}"
    );
    Ok(0)
}

const NEEDS_RECONNECT: &str = "needs reconnect";
const NOT_CONNECTED: &str = "not connected";

/// How a connection is.
struct Health {
    /// `ok`, `expires`, `needs reconnect`, `not connected`, `not usable`
    state: &'static str,
    /// why, or until when
    detail: String,
}

/// What is known without asking the API.
fn health(connection: &ConnectionPlan, store: &CredentialStore, entry: Option<&Entry>, now: DateTime<Utc>) -> Health {
    let remote::Health { state, reason, ends_at } = remote::Health::of(connection, store, entry, now);
    let at = ends_at.map(moment);
    let detail = match (state, at) {
        (HealthState::NeedsReconnect, Some(at)) => format!("its token ended at {at}"),
        (_, at) => reason.or(at).unwrap_or_default(),
    };
    let state = match state {
        HealthState::Ok => "ok",
        HealthState::Expires => "expires",
        HealthState::NeedsReconnect => NEEDS_RECONNECT,
        HealthState::NotConnected => NOT_CONNECTED,
        HealthState::NotUsable => "not usable",
    };
    Health { state, detail }
}

fn list(plan: &Plan, store: &CredentialStore, as_json: bool) -> Done {
    let entries = store.entries()?;
    let known = match status::open(&plan.database) {
        Ok(database) => database.status()?,
        Err(crate::store::Error::Missing { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let now = (engine::system_clock())();
    let (mut rows, mut waiting) = (Vec::new(), Vec::new());
    for connection in &plan.connections {
        let entry = entries.get(&connection.name).filter(|entry| entry.provider == connection.provider);
        let Health { state, detail } = health(connection, store, entry, now);
        let last = last_run(&known, &connection.name);
        let error = last_error(&known, &connection.name);
        if as_json {
            json_line(&json!({
                "connection": connection.name, "provider": connection.provider, "auth": connection.auth_name,
                "state": state, "detail": detail, "credentials": entry.map(|entry| &entry.credentials),
                "facts": entry.map(|entry| &entry.facts), "scopes": entry.map(|entry| &entry.scopes),
                "connected_at": entry.map(|entry| entry.connected_at), "expires_at": entry.and_then(|entry| entry.expires_at),
                "renewable": entry.map(|entry| entry.renewable), "last_run_at": last, "last_error": error,
            }))?;
            continue;
        }
        let auth = connection.auth_name.clone().unwrap_or_default();
        let last = last.map(moment).unwrap_or_default();
        if state == NOT_CONNECTED || state == NEEDS_RECONNECT {
            waiting.push(connection.name.as_str());
        }
        let row = [&connection.name, &connection.provider, &auth, &state.to_owned(), &last, &error, &detail];
        rows.push(row.map(Clone::clone).to_vec());
    }
    if !as_json {
        let headings = ["connection", "provider", "auth", "state", "last run", "last error", "detail"];
        anstream::println!("{}", table(&headings, &rows, &[]));
        if let Some(first) = waiting.first() {
            let others = if waiting.len() > 1 { ", and so on" } else { "" };
            anstream::eprintln!("{DIM}to connect: headwater connect {first}{others}{DIM:#}");
        }
        let orphans: Vec<_> =
            entries.keys().filter(|name| !plan.connections.iter().any(|one| one.name == **name)).collect();
        for name in orphans {
            anstream::eprintln!(
                "note: secrets of `{name}` are kept, and headwater.yaml has no such connection; {DIM}headwater disconnect {name}{DIM:#} \
                 forgets them"
            );
        }
    }
    Ok(0)
}

fn of<'s>(known: &'s [SyncStatus], connection: &'s str) -> impl Iterator<Item = &'s RunSummary> {
    known.iter().filter(move |status| status.id.connection == connection).filter_map(|status| status.last_run.as_ref())
}

fn last_run(known: &[SyncStatus], connection: &str) -> Option<DateTime<Utc>> {
    of(known, connection).map(|run| run.started_at).max()
}

fn last_error(known: &[SyncStatus], connection: &str) -> String {
    let failed = of(known, connection).filter(|run| run.error.is_some()).max_by_key(|run| run.started_at);
    failed.and_then(|run| run.error_code.clone()).unwrap_or_default()
}

fn verify(plan: &Plan, store: &CredentialStore, wanted: &[String], as_json: bool) -> Done {
    let known: BTreeMap<&str, &Arc<ConnectionPlan>> =
        plan.connections.iter().map(|connection| (connection.name.as_str(), connection)).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains_key(name.as_str())) {
        let hint = crate::diagnostic::suggest(unknown, known.keys().copied());
        return Err(Failure::user(format!("there is no connection `{unknown}`"), hint));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let clock = engine::system_clock();
    let (mut worst, mut rows) = (0, Vec::new());
    for connection in plan.connections.iter().filter(|one| wanted.is_empty() || wanted.contains(&one.name)) {
        let proved = runtime.block_on(connect::prove(Arc::clone(connection), store, &clock));
        let entry = store.entries()?.remove(&connection.name);
        let (state, detail) = match proved {
            Ok(true) => ("ok", String::new()),
            Ok(false) => ("not asked", "the provider has no `verify`".to_owned()),
            Err(failure) => {
                worst = worst.max(failure.code);
                match health(connection, store, entry.as_ref(), clock()) {
                    Health { state, detail } if state == NOT_CONNECTED || state == NEEDS_RECONNECT => (state, detail),
                    Health { .. } => ("failed", failure.message),
                }
            }
        };
        let waits = entry.is_some_and(|entry| entry.needs_reconnect.is_some());
        if state == "ok" && waits {
            store.mark(&connection.name, |entry| entry.needs_reconnect = None)?;
        }
        if as_json {
            json_line(&json!({ "connection": connection.name, "state": state, "detail": detail }))?;
        } else {
            rows.push(vec![connection.name.clone(), connection.provider.clone(), state.to_owned(), detail]);
        }
    }
    if !as_json {
        anstream::println!("{}", table(&["connection", "provider", "state", "detail"], &rows, &[]));
    }
    Ok(worst)
}
