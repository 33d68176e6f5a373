//! What a run shows while it works: bars on a terminal, lines in a pipe, JSON for machines.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::{Value, json};

use super::output::count;
use crate::engine::{Event, Observer};
use crate::plan::{SyncId, SyncPlan, limits};

/// How to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Bars,
    Lines,
    Json,
    Quiet,
}

impl Style {
    /// Bars where there is a terminal, and nothing elsewhere.
    pub(super) fn quiet(self) -> Self {
        if self == Self::Bars { Self::Bars } else { Self::Quiet }
    }

    pub(super) fn of_terminal() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }
}

/// The bars of a run; nothing where there are none.
pub(super) struct Bars {
    all: Option<MultiProgress>,
}

impl Bars {
    /// Takes the bars off the terminal.
    pub(super) fn end(&self) {
        if let Some(all) = &self.all {
            // a terminal that is gone needs no cleaning
            drop(all.clear());
        }
    }
}

/// An observer that shows events in this style.
pub(super) fn observer(style: Style, syncs: &[Arc<SyncPlan>]) -> (Observer, Bars) {
    match style {
        Style::Bars => bars(syncs),
        Style::Lines => {
            let show = |sync: Option<&SyncId>, event: Event| {
                if let Some(line) = line(sync, &event) {
                    anstream::eprintln!("{line}");
                }
            };
            (Arc::new(show), Bars { all: None })
        }
        Style::Quiet => (Arc::new(|_, _| {}), Bars { all: None }),
        Style::Json => {
            let print = |sync: Option<&SyncId>, event: Event| {
                if let Some(value) = wire(sync, &event) {
                    // piece by piece it would be looked through for colours
                    let line = value.to_string();
                    anstream::println!("{line}");
                }
            };
            (Arc::new(print), Bars { all: None })
        }
    }
}

fn bars(syncs: &[Arc<SyncPlan>]) -> (Observer, Bars) {
    let all = MultiProgress::new();
    let width = syncs.iter().map(|sync| sync.id.to_string().len()).max().unwrap_or(0);
    let template = format!("{{prefix:{width}}} {{spinner}} {{human_pos:>9}} records {{speed:>11}}  {{msg}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let style = style.with_key("speed", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // a terminal that takes no text shows none
        write!(out, "{:.0}/s", state.per_sec()).ok();
    });
    let (shown, few) = (all.clone(), syncs.len() <= limits::LISTED_MAX);
    let known: Mutex<HashMap<SyncId, ProgressBar>> = Mutex::new(HashMap::new());
    let observer: Observer = Arc::new(move |sync, event| {
        let Some(sync) = sync else {
            if let Event::Locked { holder } | Event::NotPublished { why: holder } = event {
                // the bars go on below the line
                drop(shown.println(&holder));
            }
            return;
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = known.entry(sync.clone()).or_insert_with(|| {
            let bar = shown.add(ProgressBar::no_length().with_style(style.clone()).with_prefix(sync.to_string()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        match event {
            Event::Started { resumed: true, .. } => bar.set_message("going on where it stopped"),
            Event::Started { restarted: Some(why), .. } => bar.set_message(format!("starting over: {why}")),
            Event::Started { .. }
            | Event::Locked { .. }
            | Event::NotPublished { .. }
            | Event::NotTold { .. }
            | Event::Token { .. }
            | Event::Request(_)
            | Event::Webhook { .. } => {}
            Event::Page { records, total } => {
                bar.inc(records);
                bar.set_message(total.map_or_else(String::new, |total| format!("of {}", count(total))));
            }
            Event::Waiting { reason, wait } => bar.set_message(format!("waiting {}: {reason}", short(wait))),
            Event::Committed { .. } => {}
            Event::Finished(report) if few => bar.finish_with_message(report.state),
            // with more bars than a screen has lines, only those at work are of use
            Event::Finished(_) => {
                bar.finish_and_clear();
                shown.remove(bar);
                known.remove(sync);
            }
        }
    });
    (observer, Bars { all: Some(all) })
}

/// A wait, for people.
fn short(wait: Duration) -> String {
    humantime::format_duration(Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))).to_string()
}

/// An event as a line; none where it is not worth one.
pub(super) fn line(sync: Option<&SyncId>, event: &Event) -> Option<String> {
    let name = sync.map_or_else(|| "headwater".to_owned(), ToString::to_string);
    Some(match event {
        Event::Started { resumed: true, .. } => format!("{name}: going on where it stopped"),
        Event::Started { restarted: Some(why), .. } => format!("{name}: starting over: {why}"),
        Event::Started { .. } => format!("{name}: started"),
        Event::Waiting { reason, wait } => format!("{name}: waiting {}: {reason}", short(*wait)),
        Event::Committed { rows, .. } => format!("{name}: {} rows committed", count(*rows)),
        Event::Locked { holder } => format!("{name}: {holder}"),
        Event::Webhook { connection, problem } => format!("{connection}: {problem}"),
        Event::NotPublished { why } => format!("{name}: the copy was not made: {why}"),
        Event::NotTold { endpoint, why } => format!("{endpoint}: {why}"),
        Event::Finished(report) => format!("{name}: {}", report.state),
        // the run that has no token says why
        Event::Page { .. } | Event::Token { .. } | Event::Request(_) => return None,
    })
}

/// An event as `--json` shows it; none of a request, of which the log has more.
pub(super) fn wire(sync: Option<&SyncId>, event: &Event) -> Option<Value> {
    let mut value = match event {
        Event::Request(_) => return None,
        Event::Started { resumed, restarted } => {
            json!({ "event": "started", "resumed": resumed, "restarted": restarted })
        }
        Event::Page { records, total } => json!({ "event": "page", "records": records, "total": total }),
        Event::Waiting { reason, wait } => json!({ "event": "waiting", "reason": reason, "wait_ms": wait.as_millis() }),
        Event::Committed { rows, .. } => json!({ "event": "committed", "rows": rows }),
        Event::Locked { holder } => json!({ "event": "locked", "holder": holder }),
        Event::Token { connection, provider, outcome, why } => {
            let outcome = outcome.as_str();
            json!({ "event": "token", "connection": connection, "provider": provider, "outcome": outcome, "why": why })
        }
        Event::Webhook { connection, problem } => {
            json!({ "event": "webhook", "connection": connection, "problem": problem })
        }
        Event::NotPublished { why } => json!({ "event": "not_published", "why": why }),
        Event::NotTold { endpoint, why } => json!({ "event": "not_told", "endpoint": endpoint, "why": why }),
        Event::Finished(report) => json!({ "event": "finished", "state": report.state }),
    };
    if let (Some(sync), Value::Object(map)) = (sync, &mut value) {
        map.insert("sync".into(), sync.to_string().into());
    }
    Some(value)
}
