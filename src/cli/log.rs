//! The log of the daemon for machines: one JSON object per event, each with what every line has.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::progress;
use crate::engine::Event;
use crate::plan::SyncId;
use crate::remote::TokenOutcome;

/// An event as a line of the log; none of what has a log of its own.
pub(super) fn record(at: DateTime<Utc>, run_id: Option<&str>, sync: Option<&SyncId>, event: &Event) -> Option<Value> {
    let Some(Value::Object(mut own)) = progress::wire(sync, event) else { return None };
    let mut line = Map::new();
    line.insert("at".into(), at.to_rfc3339_opts(SecondsFormat::Millis, true).into());
    line.insert("level".into(), level(event).into());
    line.insert("event".into(), own.shift_remove("event").unwrap_or_default());
    line.extend(run_id.map(|run_id| ("run_id".to_owned(), run_id.into())));
    if let Some(id) = sync {
        line.insert("connection".into(), id.connection.as_str().into());
        line.extend(own.shift_remove_entry("sync"));
    }
    line.extend(own);
    if let Event::Finished(report) = event {
        line.insert("report".into(), json!(report));
    }
    line.extend(error(event).map(|error| ("error".to_owned(), error)));
    Some(line.into())
}

/// How much it matters, as syslog has it.
fn level(event: &Event) -> &'static str {
    match event {
        Event::Page { .. } | Event::Request(_) => "debug",
        Event::Started { .. } | Event::Committed { .. } => "info",
        Event::Waiting { .. } | Event::Locked { .. } | Event::Webhook { .. } => "warn",
        Event::Token { outcome, .. } => match outcome {
            TokenOutcome::Refreshed => "info",
            TokenOutcome::Failed => "warn",
            TokenOutcome::NeedsReconnect => "error",
        },
        Event::NotPublished { .. } | Event::NotTold { .. } => "error",
        Event::Finished(report) => match report.state {
            "failed" => "error",
            "partial" => "warn",
            _ => "info",
        },
    }
}

/// What went wrong, for those that look for that: a stable name, what happened, what to do.
fn error(event: &Event) -> Option<Value> {
    let of = |code: &str, message: &str, hint: Option<&str>| json!({ "code": code, "message": message, "hint": hint });
    match event {
        Event::Finished(report) => {
            report.error.as_ref().map(|error| of(error.code, &error.message, error.hint.as_deref()))
        }
        Event::Token { why: Some(why), connection, outcome, .. } => Some(match outcome {
            TokenOutcome::NeedsReconnect => {
                of("needs_reconnect", why, Some(&format!("run `headwater connect {connection}`")))
            }
            TokenOutcome::Refreshed | TokenOutcome::Failed => of("no_token", why, None),
        }),
        Event::NotPublished { why } => Some(of("not_published", why, None)),
        Event::NotTold { why, .. } => Some(of("not_told", why, None)),
        Event::Webhook { problem, .. } => Some(of("webhook", problem, None)),
        Event::Token { why: None, .. }
        | Event::Started { .. }
        | Event::Page { .. }
        | Event::Request(_)
        | Event::Waiting { .. }
        | Event::Committed { .. }
        | Event::Locked { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GUIDE: &str = include_str!("../../docs/guides/always-on.md");

    fn events() -> Vec<Event> {
        let token = |outcome, why: Option<&str>| Event::Token {
            connection: "acme".into(),
            provider: "api".into(),
            outcome,
            why: why.map(str::to_owned),
        };
        vec![
            Event::Started { resumed: true, restarted: None },
            Event::Page { records: 1, total: None },
            Event::Waiting { reason: "busy".into(), wait: Duration::from_secs(1) },
            Event::Committed { rows: 1, took: Duration::ZERO },
            Event::Locked { holder: "another".into() },
            token(TokenOutcome::Refreshed, None),
            token(TokenOutcome::Failed, Some("no")),
            token(TokenOutcome::NeedsReconnect, Some("revoked")),
            Event::Webhook { connection: "acme".into(), problem: "unproven".into() },
            Event::NotPublished { why: "full".into() },
            Event::NotTold { endpoint: "app".into(), why: "500".into() },
        ]
    }

    fn id() -> SyncId {
        SyncId { connection: "acme".into(), provider: "api".into(), sync: "items".into(), variant: String::new() }
    }

    #[test]
    fn every_line_has_what_the_guide_says() {
        for event in events() {
            let of_run = matches!(
                event,
                Event::Started { .. } | Event::Page { .. } | Event::Waiting { .. } | Event::Committed { .. }
            );
            let (run, id) = (of_run.then_some("r1"), of_run.then(id));
            let line = record(DateTime::UNIX_EPOCH, run, id.as_ref(), &event).expect("a line");
            let Value::Object(line) = line else { unreachable!("it is an object") };
            let name = line["event"].as_str().expect("a name");
            let row = GUIDE.lines().find(|row| row.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| unreachable!("the guide has no row for {name}"));
            assert!(row.contains(line["level"].as_str().expect("a level")), "{row}: {line:?}");
            let common = ["at", "level", "event", "run_id", "connection", "sync", "error"];
            for key in line.keys().filter(|key| !common.contains(&key.as_str())) {
                assert!(row.contains(&format!("`{key}`")), "{key}: {row}");
            }
            let keys: Vec<&str> = line.keys().map(String::as_str).collect();
            assert_eq!(keys[..3], ["at", "level", "event"]);
            assert_eq!(keys.contains(&"run_id"), of_run, "{keys:?}");
        }
        for key in ["at", "level", "event", "run_id", "connection", "sync", "error"] {
            assert!(GUIDE.contains(&format!("`{key}`")), "the guide tells of {key}");
        }
        assert!(GUIDE.contains("| `finished` |"));
    }

    #[test]
    fn an_error_says_what_to_do() {
        let event = &events()[7];
        let line = record(DateTime::UNIX_EPOCH, None, None, event).expect("a line");
        assert_eq!(line["level"], "error");
        assert_eq!(
            line["error"],
            json!({ "code": "needs_reconnect", "message": "revoked", "hint": "run `headwater connect acme`" })
        );
    }
}
