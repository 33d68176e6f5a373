//! Where a run of a sync goes on.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::checkpoint::{Checkpoint, Job, Position, ScanState, Track, VERSION};
use super::{Mark, Pass, Windows, all_at_once};
use crate::plan::{DeletePlan, MarkKind, SyncPlan, limits};

/// What a person wants of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// read everything again
    pub full: bool,
    /// let scans delete more than their guards allow
    pub accept_deletes: bool,
}

/// What of a sync a checkpoint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// all of it: it has no partitions
    Whole,
    /// what its partitions share: lists of what was deleted and of all ids whose requests name no parent
    Shared,
    /// one partition: its records, and the lists of `deletes` whose requests name it
    Partition,
}

impl Part {
    /// Whether the lists of `deletes` are read.
    fn has_deletes(self, plan: &SyncPlan) -> bool {
        self == Self::Whole || plan.deletes_name_parent() == (self == Self::Partition)
    }
}

/// Where a run goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// with every scan that this run makes of the main list and of the feed; those of windows are cut when their turn comes
    pub checkpoint: Checkpoint,
    /// a scan that a run before had begun goes on
    pub resumed: bool,
    /// one of the records does
    pub records_resumed: bool,
    /// why it starts over
    pub restarted: Option<String>,
    /// the records are read in this run
    pub reads: bool,
    /// the list of all ids is read in this run
    pub sweeps: bool,
    /// a run before had begun to read it, or had no time left to
    pub sweep_resumed: bool,
    /// the windows without what has come since they were planned
    pub planned: Windows,
    /// the scan whose seen keys are kept; all others are forgotten
    pub seen: Option<u64>,
    /// exports under way that nobody waits for any more
    pub left: Vec<Job>,
}

/// Decides where a run goes on with a part of a sync. `start` is the first watermark, `id` a fresh number.
pub fn begin(
    plan: &SyncPlan,
    known: Option<Checkpoint>,
    part: Part,
    wish: Wish,
    start: Option<&Mark>,
    id: u64,
    now: DateTime<Utc>,
) -> Begin {
    // what the API has forgotten to tell is found by reading everything, for whatever reason that is done
    let has_forgotten =
        known.as_ref().is_some_and(|known| too_old(plan, known, now).is_some() || is_whole(&known.main));
    let jobs_before: Vec<Job> = known.iter().flat_map(Checkpoint::jobs).cloned().collect();
    let (mut checkpoint, mut restarted) = match known {
        None => (Checkpoint::new(plan.fingerprint), None),
        Some(known) if known.fingerprint != plan.fingerprint => {
            let why = "the request, its paging or its settings have changed";
            let mut changed = over(known, plan.fingerprint);
            // how far the list of deletions is read stays true, and the place in it may be one of another list
            changed.feed.track.scan = None;
            (changed, Some(why.to_owned()))
        }
        Some(known) if wish.full => (over(known, plan.fingerprint), Some("`--full`".to_owned())),
        Some(known) => (Checkpoint { version: VERSION, ..known }, None),
    };
    let too_old = too_old(plan, &checkpoint, now);
    if let Some(why) = too_old {
        checkpoint = over(checkpoint, plan.fingerprint);
        restarted = Some(why);
    }
    if checkpoint.epoch == 0 {
        checkpoint.epoch = id;
    }
    if !wish.accept_deletes {
        let was_whole = is_whole(&checkpoint.main);
        restarted = again_if_guarded(&mut checkpoint).or(restarted);
        if was_whole && checkpoint.main.scan.is_none() {
            // its watermark has moved with its pages, and says nothing of what is gone behind it
            checkpoint.main = Track::default();
        }
    }
    let resumed = checkpoint.scans_mut().next().is_some() || checkpoint.pass.is_some();
    let planned = checkpoint.windows.clone();
    let sweep_resumed = checkpoint.sweep.scan.is_some();
    let records_resumed =
        checkpoint.main.scan.is_some() || !checkpoint.windows.is_complete() || checkpoint.pass.is_some();
    checkpoint.scans_mut().for_each(|scan| *scan = scan.clone().resumed());

    if part == Part::Shared {
        let anew = restarted.is_some();
        checkpoint.pass =
            checkpoint.pass.or_else(|| Some(Pass { epoch: checkpoint.epoch, ..Pass::begin(id, now, anew) }));
    } else if let (Some((incremental, window)), Some(start)) = (plan.windows(), windows_from(plan, &checkpoint, start))
    {
        checkpoint.windows.extend(incremental, window, &start, now, id);
    } else if checkpoint.main.scan.is_none() {
        let since = checkpoint.main.watermark.clone().or_else(|| start.cloned());
        let whole = has_forgotten && since.is_none();
        let scan = first_scan(plan, id, now, (since, checkpoint.token.clone()));
        checkpoint.main.scan = Some(ScanState { whole, ..scan });
    }
    let deletes = part.has_deletes(plan);
    if deletes && matches!(plan.deletes, DeletePlan::Feed(_)) && checkpoint.feed.track.scan.is_none() {
        let since = checkpoint.feed.track.watermark.clone();
        checkpoint.feed.track.scan = Some(ScanState::begin(id, now, since));
    }
    let sweeps = match &plan.deletes {
        DeletePlan::Sweep(sweep) if deletes => {
            let due = |last: DateTime<Utc>| TimeDelta::from_std(sweep.every).is_ok_and(|every| now - last >= every);
            checkpoint.sweep.scan.is_some() || checkpoint.sweep.completed_at.is_none_or(due)
        }
        _ => false,
    };
    if sweeps && checkpoint.sweep.scan.is_none() {
        checkpoint.sweep.scan = Some(ScanState::begin(id, now, None));
    }
    let seen = seen_by(plan, &checkpoint);
    let left = jobs_before.into_iter().filter(|job| !checkpoint.jobs().any(|kept| kept == job)).collect();
    Begin { checkpoint, resumed, records_resumed, restarted, reads: true, sweeps, sweep_resumed, planned, seen, left }
}

/// A scan of the records before its first page: from this watermark or token on, or of everything.
pub fn first_scan(
    plan: &SyncPlan,
    id: u64,
    now: DateTime<Utc>,
    (since, since_token): (Option<Mark>, Option<Value>),
) -> ScanState {
    let scan = ScanState { since_token, ..ScanState::begin(id, now, since) };
    let by_time = plan.incremental.as_ref().filter(|_| plan.token.is_none() && begins_changes(plan, &scan));
    // a request by the watermark looks back by itself, and the first window begins where it is told to
    let windowed = by_time.filter(|incremental| incremental.window.is_some());
    let late = windowed.and_then(|incremental| TimeDelta::from_std(incremental.lookback).ok()).unwrap_or_default();
    let before = now - limits::CLOCK_SKEW_MAX.max(late);
    let covers = by_time.map(|incremental| match incremental.kind {
        MarkKind::Date => Mark::Date(incremental.clock().today(before)),
        MarkKind::Timestamp | MarkKind::Integer | MarkKind::Text => Mark::Timestamp(before),
    });
    ScanState { covers, ..scan }
}

/// From where windows are planned; none where everything is to be read before. What was planned goes on where it ends, less the lookback.
fn windows_from(plan: &SyncPlan, checkpoint: &Checkpoint, start: Option<&Mark>) -> Option<Mark> {
    match (&plan.changes, &plan.incremental, &checkpoint.windows.until) {
        (Some(_), Some(incremental), Some(until)) => Some(until.asked_from(incremental)),
        (Some(_), _, _) => checkpoint.main.watermark.clone(),
        (None, _, _) => start.cloned(),
    }
}

impl Begin {
    /// For a run with a budget: where the records are half read, the list of deletions is not begun again before they are, and no window is
    /// planned before those that were; and a list of all ids that had to wait comes before the records are read once more. What uses up the
    /// budget of each run would keep the rest from ever being read.
    pub fn spare(&mut self) {
        if !self.planned.is_complete() {
            self.checkpoint.windows = self.planned.clone();
        }
        if self.sweep_resumed && !self.records_resumed {
            self.reads = false;
            (self.checkpoint.main.scan, self.checkpoint.pass) = (None, None);
        }
        let track = &mut self.checkpoint.feed.track;
        if self.records_resumed && track.scan.as_ref().is_some_and(|scan| scan.position == Position::Start) {
            track.scan = None;
        }
    }
}

/// The scan for which the keys of all rows are noted, because its end tells what is gone.
pub fn seen_by(plan: &SyncPlan, checkpoint: &Checkpoint) -> Option<u64> {
    match &plan.deletes {
        DeletePlan::Absence { .. } if plan.changes.is_some() => {
            checkpoint.main.scan.as_ref().filter(|scan| is_whole_feed(plan, scan)).map(|scan| scan.id)
        }
        DeletePlan::Absence { .. } if all_at_once(plan) => {
            checkpoint.turn.map(|turn| turn.pass).or(checkpoint.pass.as_ref().map(|pass| pass.id))
        }
        DeletePlan::Absence { .. } if !checkpoint.windows.is_complete() => Some(checkpoint.windows.pass),
        DeletePlan::Absence { .. } => checkpoint.main.scan.as_ref().map(|scan| scan.id),
        DeletePlan::None => None,
        // a sweep under way notes what the records' own list returns too, and both may end by what is noted
        DeletePlan::Flag { .. } | DeletePlan::Feed(_) | DeletePlan::Sweep(_) | DeletePlan::Webhook => {
            let whole = checkpoint.main.scan.as_ref().filter(|scan| is_whole_feed(plan, scan));
            checkpoint.sweep.scan.as_ref().or(whole).map(|scan| scan.id)
        }
    }
}

/// A delta feed that is read without a token returns all that lives, and so does a list that is read without a watermark because the last
/// one is older than the API keeps changes. What was not told since is found so.
pub fn is_whole_feed(plan: &SyncPlan, scan: &ScanState) -> bool {
    let is_feed = plan.token.is_some() && scan.since_token.is_none();
    (is_feed || scan.whole || begins_changes(plan, scan)) && !matches!(plan.deletes, DeletePlan::None)
}

/// Whether a scan of the records (of none of their windows) reads everything, before another list tells what changed.
pub fn begins_changes(plan: &SyncPlan, scan: &ScanState) -> bool {
    let is_first = if plan.token.is_some() { scan.since_token.is_none() } else { scan.since.is_none() };
    plan.changes.is_some() && is_first
}

/// Everything is read again. What the list of deletions has told is not: what has come back since would be deleted once more.
fn over(known: Checkpoint, fingerprint: u64) -> Checkpoint {
    Checkpoint { feed: known.feed, ..Checkpoint::new(fingerprint) }
}

/// Whether the scan under way is to find what the API has forgotten to tell.
fn is_whole(main: &Track) -> bool {
    main.scan.as_ref().is_some_and(|scan| scan.whole)
}

/// The API keeps changes only so long, and the last complete scan began before that.
fn too_old(plan: &SyncPlan, checkpoint: &Checkpoint, now: DateTime<Utc>) -> Option<String> {
    let of_field = plan.incremental.as_ref().and_then(|incremental| incremental.max_age);
    let age = of_field.or_else(|| plan.token.as_ref().and_then(|token| token.max_age))?;
    let began = checkpoint.main.completed_at?;
    let is_old = TimeDelta::from_std(age).is_ok_and(|age| now - began > age);
    let text = || {
        let began = began.format("%Y-%m-%d %H:%M UTC");
        format!("the last complete scan began {began}, longer ago than `max_age`, {}", humantime::format_duration(age))
    };
    is_old.then(text)
}

/// A scan that the guard has held back is made again: what it has seen is of another time.
fn again_if_guarded(checkpoint: &mut Checkpoint) -> Option<String> {
    let guarded = |scan: &ScanState| scan.guarded;
    let mut any = false;
    let Checkpoint { main, windows, sweep, pass, .. } = checkpoint;
    any |= pass.take_if(|pass| pass.guarded).is_some();
    for Track { scan, .. } in [main, sweep] {
        if scan.as_ref().is_some_and(guarded) {
            *scan = None;
            any = true;
        }
    }
    let Windows { open, .. } = windows;
    let held: Vec<u64> =
        open.iter().map(|window| &window.scan).filter(|scan| guarded(scan)).map(|scan| scan.id).collect();
    for id in held {
        windows.give_up(id);
        any = true;
    }
    any.then(|| "the last scan would have deleted more than the guard allows, so it is made again".to_owned())
}

#[cfg(test)]
#[path = "begin_tests.rs"]
pub(crate) mod tests;
