//! Runs as drawings: a strip of how they ended, and bars of what they changed. Templates write the numbers into SVG.

use serde_json::{Value, json};

use super::words::{count, moment};
use crate::plan::limits;
use crate::store::PastRun;

/// The outcomes of runs, the oldest first: each with its class, and a text for who hovers.
pub(super) fn strip<'r>(
    runs: impl DoubleEndedIterator<Item = &'r PastRun>,
    now: chrono::DateTime<chrono::Utc>,
) -> Value {
    let runs: Vec<_> = runs.rev().collect();
    let empty = limits::PAGE_RUNS_DRAWN.saturating_sub(runs.len());
    let mark = |(at, past): (usize, &&PastRun)| {
        let when = past.run.started_at.format("%Y-%m-%d %H:%M UTC");
        // what is no success is lower and higher than the rest: the strip can be read without its colours
        let (y, height) = match past.run.state.as_str() {
            "completed" => (5, 10),
            "failed" | "interrupted" => (0, 20),
            _ => (5, 15),
        };
        json!({ "x": (empty + at) * 6, "y": y, "height": height, "state": past.run.state, "title": format!("{when}: {}", past.run.state) })
    };
    let marks: Vec<Value> = runs.iter().enumerate().map(mark).collect();
    json!({ "width": limits::PAGE_RUNS_DRAWN * 6, "marks": marks, "label": label(&runs, now) })
}

/// `30 runs: 28 completed, 2 failed; the last one completed`
fn label(runs: &[&PastRun], now: chrono::DateTime<chrono::Utc>) -> String {
    let Some(last) = runs.last() else { return "no runs yet".to_owned() };
    let mut states: Vec<(&str, usize)> = Vec::new();
    for run in runs {
        match states.iter_mut().find(|(state, _)| *state == run.run.state) {
            Some((_, number)) => *number += 1,
            None => states.push((&run.run.state, 1)),
        }
    }
    let states: Vec<String> = states.iter().map(|(state, number)| format!("{number} {state}")).collect();
    let far = moment(last.run.started_at, now);
    let far = far["far"].as_str().unwrap_or_default();
    let number = if runs.len() == 1 { "1 run".to_owned() } else { format!("{} runs", runs.len()) };
    format!("{number}: {}; the last {far}, {}", states.join(", "), last.run.state)
}

const BAR: usize = 18;
const HEIGHT: u64 = 120;

/// What runs changed, the oldest first: a stack of rows added, updated and deleted for each.
pub(super) fn bars<'r>(runs: impl DoubleEndedIterator<Item = &'r PastRun>) -> Value {
    let runs: Vec<_> = runs.rev().collect();
    let of = |past: &PastRun| [("added", past.run.added), ("updated", past.run.updated), ("deleted", past.run.deleted)];
    let total = |past: &PastRun| of(past).iter().map(|(_, rows)| rows).sum::<u64>();
    let most = runs.iter().map(|past| total(past)).max().unwrap_or_default();
    let empty = limits::PAGE_RUNS_DRAWN.saturating_sub(runs.len());
    let mut bars = Vec::new();
    for (at, past) in runs.iter().enumerate() {
        let mut top = HEIGHT;
        for (kind, rows) in of(past) {
            if rows == 0 || most == 0 {
                continue;
            }
            // a few among many are still seen
            let height = (u128::from(rows) * u128::from(HEIGHT) / u128::from(most)).max(2);
            let height = u64::try_from(height).unwrap_or(HEIGHT).min(top);
            top -= height;
            let title = format!("{}: {} {kind}", past.run.started_at.format("%Y-%m-%d %H:%M UTC"), count(rows));
            bars.push(json!({ "x": (empty + at) * BAR, "y": top, "height": height, "kind": kind, "title": title }));
        }
    }
    let width = limits::PAGE_RUNS_DRAWN * BAR;
    json!({ "width": width, "height": HEIGHT, "bar": BAR - 4, "most": count(most), "bars": bars, "any": most > 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SyncId;
    use crate::store::RunSummary;

    fn run(minutes: i64, state: &str, counts: [u64; 3]) -> PastRun {
        let [connection, provider, sync, variant] = ["acme", "api", "items", ""].map(str::to_owned);
        let [added, updated, deleted] = counts;
        let run = RunSummary {
            run_id: "r".into(),
            state: state.into(),
            started_at: chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minutes),
            ended_at: None,
            pages: 1,
            records: 1,
            added,
            updated,
            deleted,
            unchanged: 0,
            quarantined: 0,
            error_code: None,
            error: None,
        };
        PastRun { id: SyncId { connection, provider, sync, variant }, run, change_from: None, change_to: None }
    }

    #[test]
    fn a_strip_ends_with_the_last_run_and_says_what_it_shows() {
        let runs = [run(2, "failed", [0; 3]), run(1, "completed", [0; 3]), run(0, "completed", [0; 3])];
        let strip = strip(runs.iter(), chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(5));
        assert_eq!(strip["label"], "3 runs: 2 completed, 1 failed; the last 3 min ago, failed");
        assert_eq!((&strip["marks"][2]["x"], &strip["marks"][2]["state"]), (&json!(29 * 6), &json!("failed")));
        assert_eq!(super::strip([].iter(), chrono::DateTime::UNIX_EPOCH)["label"], "no runs yet");
    }

    #[test]
    fn bars_stand_on_each_other_and_fit() {
        let runs = [run(1, "completed", [1, 0, 0]), run(0, "completed", [u64::MAX / 4, 1, u64::MAX / 4])];
        let bars = bars(runs.iter());
        let all = bars["bars"].as_array().expect("bars");
        let seen: Vec<_> =
            all.iter().map(|bar| (bar["x"].as_u64(), bar["y"].as_u64(), bar["height"].as_u64())).collect();
        let of = |x, y, height| (Some(x), Some(y), Some(height));
        assert_eq!(seen, [of(504, 61, 59), of(504, 59, 2), of(504, 0, 59), of(522, 118, 2)]);
        assert_eq!(super::bars([].iter())["any"], false);
    }
}
