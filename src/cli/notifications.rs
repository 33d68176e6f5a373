use std::path::Path;

use serde_json::{Value, json};

use super::output::{Failure, count, json_line, moment, table};
use super::status::open;
use super::{Done, project};
use crate::plan::limits;
use crate::store::{Error, Notification, Store};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Those alone that have not arrived.
    #[arg(long)]
    waiting: bool,
    /// One JSON object per notification and endpoint.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Send a notification once more to all whom it went to.
    Replay {
        /// Its name, as the list and the header `webhook-id` have it.
        #[arg(value_name = "ID")]
        event_id: String,
    },
    /// Send to paused endpoints again.
    Resume,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let Some(action) = &arguments.action else {
        let (all, paused) = match open(&plan.database) {
            Ok(store) => store.notifications(arguments.waiting, limits::NOTIFICATIONS_LISTED_MAX)?,
            // before the first run there is nothing to tell, which is no mistake
            Err(Error::Missing { .. }) => (Vec::new(), Vec::new()),
            Err(error) => return Err(error.into()),
        };
        return list(&all, &paused, arguments.json);
    };
    let mut store = Store::open_patiently(&plan.database, |holder| anstream::eprintln!("{holder}"))?;
    match action {
        Action::Replay { event_id } => {
            let deliveries = store.replay(event_id)?;
            store.release()?;
            if deliveries == 0 {
                let hint = "`headwater notifications` lists them; old ones are forgotten".to_owned();
                return Err(Failure::user(format!("there is no notification `{event_id}`"), Some(hint)));
            }
            anstream::println!("{event_id} will be sent to {}", endpoints(deliveries));
        }
        Action::Resume => {
            let resumed = store.resume_endpoints()?;
            store.release()?;
            for endpoint in &resumed {
                anstream::println!("resumed {endpoint}");
            }
            if resumed.is_empty() {
                anstream::println!("no endpoint is paused");
            }
        }
    }
    Ok(0)
}

fn endpoints(number: usize) -> String {
    if number == 1 { "1 endpoint".to_owned() } else { format!("{} endpoints", count(number as u64)) }
}

fn list(all: &[Notification], paused: &[(String, String)], json: bool) -> Done {
    if json {
        for notification in all {
            json_line(&wire(notification, paused))?;
        }
        return Ok(0);
    }
    let headings = ["id", "written", "what", "of", "to", "state", "attempts", "next", "last"];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    anstream::println!("{}", table(&headings, &rows, &[6]));
    for (endpoint, why) in paused {
        anstream::println!("{endpoint} is paused: {why}; `headwater notifications resume` sends there again");
    }
    Ok(0)
}

fn row(notification: &Notification) -> Vec<String> {
    let Notification { event_id, kind, id, model, created_at, endpoint, state, attempts, next_at, last_error, .. } =
        notification;
    let of = model.as_ref().map_or_else(|| id.to_string(), |model| format!("{id} {model}"));
    let next = next_at.map(moment).unwrap_or_default();
    let last = last_error.clone().unwrap_or_default();
    let texts = [event_id, &moment(*created_at), kind, &of, endpoint, state, &attempts.to_string(), &next, &last];
    texts.map(String::clone).to_vec()
}

fn wire(notification: &Notification, paused: &[(String, String)]) -> Value {
    let Notification { event_id, kind, id, model, created_at, endpoint, state, attempts, next_at, .. } = notification;
    json!({
        "id": event_id,
        "kind": kind,
        "sync": id.to_string(),
        "model": model,
        "created_at": created_at,
        "endpoint": endpoint,
        "state": state,
        "attempts": attempts,
        "next_at": next_at,
        "last_status": notification.last_status,
        "last_error": notification.last_error,
        "paused": paused.iter().find(|(name, _)| name == endpoint).map(|(_, why)| why),
    })
}
