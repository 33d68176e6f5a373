use std::path::Path;

use serde_json::json;

use super::output::json_line;
use super::{Done, project};
use crate::engine;
use crate::plan::SyncId;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which syncs: a provider, a connection, either with `/sync` (and `@variant`).
    #[arg(value_name = "SELECTOR", required = true)]
    selectors: Vec<String>,
    /// One JSON object that names the syncs.
    #[arg(long)]
    json: bool,
}

/// Notes that `headwater serve` leaves syncs alone, or that it does not any more.
pub(super) fn run(folder: &Path, arguments: &Arguments, paused: bool) -> Done {
    let plan = project::plan(folder)?;
    let ids: Vec<SyncId> = plan.select(&arguments.selectors)?.iter().map(|sync| sync.id.clone()).collect();
    let mut store = Store::open_patiently(&plan.database, |holder| anstream::eprintln!("{holder}"))?;
    store.pause(&ids, paused, engine::system_clock()())?;
    store.release()?;
    let (word, names) =
        (if paused { "paused" } else { "resumed" }, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    if arguments.json {
        json_line(&json!({ word: names }))?;
    } else {
        for name in names {
            anstream::println!("{word} {name}");
        }
    }
    Ok(0)
}
