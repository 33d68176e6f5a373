//! What a sync is and remembers, as names and texts.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::words::{count, moment};
use crate::plan::{DeletePlan, Schedule, SyncPlan};
use crate::scan::{Checkpoint, Mark, Position, ScanState, Track};
use crate::store::SyncStatus;

fn fact(name: &str, text: impl Into<String>) -> Value {
    json!({ "name": name, "text": text.into(), "at": null, "late": false })
}

fn when(name: &str, at: DateTime<Utc>, now: DateTime<Utc>) -> Value {
    json!({ "name": name, "text": "", "at": moment(at, now), "late": false })
}

/// What a sync is, and what it has.
pub(super) fn of_sync(plan: &SyncPlan, status: Option<&SyncStatus>, fresh: &Value) -> Vec<Value> {
    let mut facts = vec![fact("Schedule", schedule(&plan.schedule))];
    if fresh.is_null() {
        facts.push(fact("Complete", "never yet"));
    } else {
        facts.push(json!({ "name": "Complete", "text": "", "at": fresh["at"], "late": fresh["stale"] }));
    }
    let Some(status) = status else { return facts };
    facts.push(fact("Rows", count(status.rows_live)));
    facts.push(fact("Deleted rows", count(status.rows_deleted)));
    if !matches!(plan.deletes, DeletePlan::None) {
        let how = match &plan.deletes {
            DeletePlan::Absence { .. } => "what is not returned any more",
            DeletePlan::Flag { .. } => "what says so of itself",
            DeletePlan::Feed(_) => "what a list of deletions names",
            DeletePlan::Sweep(_) => "what a list of all ids lacks",
            DeletePlan::Webhook | DeletePlan::None => "what an event names",
        };
        facts.push(fact("Deletes", how));
    }
    facts.extend(status.watermark.as_ref().map(|mark| fact("Read up to", mark)));
    if status.partitions > 0 {
        let failed = match status.partitions_failed {
            0 => String::new(),
            failed => format!(", {} of them failed", count(failed)),
        };
        facts.push(fact("Partitions", format!("{}{failed}", count(status.partitions))));
    }
    facts
}

fn schedule(plan: &Schedule) -> String {
    match plan {
        Schedule::Manual => "runs when somebody wants it".to_owned(),
        Schedule::Every(every) => format!("every {}", humantime::format_duration(*every)),
        Schedule::Cron(calendar) => calendar.to_string(),
    }
}

/// What a sync remembers between runs.
pub(super) fn of_checkpoint(checkpoint: &Checkpoint, now: DateTime<Utc>) -> Vec<Value> {
    let mut facts = Vec::new();
    of_track("", &checkpoint.main, &mut facts, now);
    if checkpoint.token.is_some() {
        facts.push(fact("Token", "it has one of the API's, and asks what came after it"));
    }
    let windows = &checkpoint.windows;
    if !windows.is_new() {
        let planned = windows.until.as_ref().map(Mark::to_string).unwrap_or_default();
        facts.push(fact("Windows planned up to", planned));
        let (gaps, open) = (count(windows.gaps.len() as u64), count(windows.open.len() as u64));
        facts.push(fact("Still to be read", format!("{gaps} stretches, and {open} windows that are begun")));
        let first = windows.gaps.iter().chain(windows.open.iter().map(|window| &window.range)).map(|range| &range.from);
        facts.extend(first.min().map(|from| fact("The first of them begins at", from.to_string())));
    }
    if checkpoint.feed != crate::scan::Feed::default() {
        of_track("Deletions: ", &checkpoint.feed.track, &mut facts, now);
    }
    if checkpoint.sweep != Track::default() {
        of_track("All ids: ", &checkpoint.sweep, &mut facts, now);
    }
    if let Some(pass) = &checkpoint.pass {
        facts.push(when("Pass over the partitions began", pass.started_at, now));
        facts.push(fact("Records of this pass", count(pass.records)));
    }
    facts
}

fn of_track(list: &str, track: &Track, facts: &mut Vec<Value>, now: DateTime<Utc>) {
    let name = |name: &str| if list.is_empty() { name.to_owned() } else { format!("{list}{}", name.to_lowercase()) };
    facts.extend(track.watermark.as_ref().map(|mark| fact(&name("Watermark"), mark.to_string())));
    facts.extend(track.completed_at.map(|at| when(&name("Last complete scan began"), at, now)));
    let Some(scan) = &track.scan else {
        facts.push(fact(&name("Scan"), "none under way: the next run begins one"));
        return;
    };
    facts.push(when(&name("Scan under way since"), scan.started_at, now));
    facts.push(fact(&name("The next run goes on"), position(scan)));
    facts.push(fact(&name("Read so far"), format!("{} pages, {} records", count(scan.pages), count(scan.records))));
    facts.extend(scan.unproven.as_ref().map(|why| fact(&name("Its end will delete nothing"), why)));
}

fn position(scan: &ScanState) -> String {
    match &scan.position {
        Position::Start => "at the first page".to_owned(),
        Position::Cursor(_) => "behind the cursor that the last page gave".to_owned(),
        Position::Url(_) => "at the address that the last page gave".to_owned(),
        Position::Page(page) => format!("at page {page}"),
        Position::Offset(records) => format!("behind {} records", count(*records)),
        Position::Part(parts) => format!("behind {} parts of the export", count(*parts)),
        Position::End if scan.guarded => {
            "nowhere: a guard holds its deletions back (`headwater run --accept-deletes`)".to_owned()
        }
        Position::End => "at the end: only its deletions are left".to_owned(),
    }
}
