//! Runs the real engine over simulated APIs, on a real file, and looks at the table after each run.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use chrono::{DateTime, Utc};
use headwater::engine::{self, Event, HostOptions, Options, Report};
use headwater::plan::{Budget, SyncPlan};
use headwater::scan::Wish;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use super::api::{DAWN, Sim};
use super::case::{Batch, Case, Disturbance, Point};
use super::laws::{self, Table};
use super::reader::Reader;
use super::shape::{Deletes, Incremental, LAG};
use crate::support::Api;

/// Batches that share a database file: rows of other connections cost little, many of them something.
const BATCHES_A_FILE: usize = 20;
/// Seconds by which a watermark may stay behind, because clocks differ.
const CLOCKS_DIFFER: i64 = 300;
/// Runs over APIs at rest that a sync may take until its table is right.
const RUNS_AT_REST: usize = 4;
/// The same where a budget stops the runs.
const RUNS_AT_REST_WITH_BUDGET: usize = 60;

type Sims = Arc<Mutex<HashMap<String, Arc<Mutex<Sim>>>>>;

/// One server and one database file for all cases of a test.
pub struct World {
    runtime: tokio::runtime::Runtime,
    api: Api,
    sims: Sims,
    folder: TempDir,
    database: PathBuf,
    reader: Reader,
    batches: usize,
    cases: usize,
    /// runs made so far, of one sync each
    pub runs: usize,
}

/// A case under way.
struct Subject {
    /// its place in the batch
    place: usize,
    connection: String,
    plan: Arc<SyncPlan>,
    sim: Arc<Mutex<Sim>>,
    moments: Vec<Table>,
    /// pages committed of all runs, and of the scan under way
    pages: (i64, usize),
    /// a scan at rest waits to be accepted
    waits: bool,
    /// it came to the end of a scan at rest
    ended: bool,
    /// it came to the end of a scan that began at rest
    settled: bool,
    /// the engine's clock was past all its records then
    clock_was_late: bool,
}

/// How a run ended; a crash leaves no report.
struct Ended {
    report: Option<Report>,
}

impl World {
    pub fn new() -> Self {
        let sims: Sims = Arc::default();
        let served = Arc::clone(&sims);
        let api = Api::start(move |request| {
            let prefix = request.path.split('/').nth(1).unwrap_or_default().to_owned();
            let sim = served.lock().expect("sims").get(&prefix).cloned();
            let Some(sim) = sim else { return crate::support::Reply::status(503, "{}") };
            let (reply, silent, disturbed) = {
                let mut sim = sim.lock().expect("a sim");
                let (reply, silent) = sim.answer(request);
                let disturbed = sim.is_disturbed().then(|| sim.disturb.clone()).flatten();
                (reply, silent, disturbed)
            };
            disturbed.iter().for_each(|disturb| disturb());
            if silent {
                // longer than the client waits, which is so long that no busy machine makes a late request of one that it gave up
                let (_never, nothing) = mpsc::sync_channel::<()>(0);
                nothing.recv_timeout(Duration::from_millis(2_500)).ok();
            }
            reply
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        // a crash is one of the process: what it wrote is there, on a disk or not
        let folder = ["/dev/shm"].iter().find_map(|folder| tempfile::tempdir_in(folder).ok());
        let folder = folder.unwrap_or_else(|| tempfile::tempdir().expect("a temporary folder"));
        let database = folder.path().join("model0.duckdb");
        let reader = Reader::new();
        let runtime = runtime.expect("a runtime");
        Self { runtime, api, sims, folder, database, reader, batches: 0, cases: 0, runs: 0 }
    }

    /// Runs a batch and checks every law.
    ///
    /// # Errors
    /// The first law that is broken, with all that happened, and the place of the case in the batch.
    pub fn check(&mut self, batch: &Batch) -> Result<(), (usize, String)> {
        let cases: Vec<(usize, &Case)> =
            batch.cases.iter().enumerate().filter_map(|(at, case)| Some((at, case.as_ref()?))).collect();
        if cases.is_empty() {
            return Ok(());
        }
        if self.batches.is_multiple_of(BATCHES_A_FILE) {
            drop(std::fs::remove_file(&self.database));
            self.database = self.folder.path().join(format!("model{}.duckdb", self.batches));
            self.reader.create(&self.database);
        }
        self.batches += 1;
        let mut subjects: Vec<Subject> = cases.iter().map(|(place, case)| self.subject(*place, case)).collect();
        let outcome = self.all_runs(batch, &mut subjects);
        self.sims.lock().expect("sims").clear();
        outcome.map_err(|(at, law)| {
            let subject = &subjects[at];
            let case = batch.cases[subject.place].as_ref().expect("a case");
            let mut text = format!("{law}\n\n{}", case.shape.sync());
            let (size, commits_pages, skew) = (case.shape.size, batch.commits_pages, batch.skew);
            writeln!(text, "page size {size}, each page a commit: {commits_pages}, skew of the clock {skew} s\n")
                .expect("text");
            (subject.place, text + &subject.sim.lock().expect("a sim").log.join("\n") + "\n")
        })
    }

    fn subject(&mut self, place: usize, case: &Case) -> Subject {
        let connection = format!("c{}", self.cases);
        self.cases += 1;
        let sim = Arc::new(Mutex::new(Sim::new(format!("/{connection}"), case)));
        self.sims.lock().expect("sims").insert(connection.clone(), Arc::clone(&sim));
        let plan = case.shape.plan(&connection, &format!("{}/{connection}", self.api.url()));
        let moments = vec![Table::new()];
        Subject {
            place,
            connection,
            plan,
            sim,
            moments,
            pages: (0, 0),
            waits: false,
            ended: false,
            settled: false,
            clock_was_late: false,
        }
    }

    fn all_runs(&mut self, batch: &Batch, subjects: &mut [Subject]) -> Result<(), (usize, String)> {
        for (nth, disturbance) in batch.runs.iter().enumerate() {
            let disturbance =
                disturbance.as_ref().map(|(who, point, how)| (usize::from(*who) % subjects.len(), *point, *how));
            self.run(batch, subjects, nth, disturbance, false)?;
        }
        let budgeted = batch.cases.iter().flatten().any(|case| case.shape.budget.is_some());
        let most = if budgeted { RUNS_AT_REST_WITH_BUDGET } else { RUNS_AT_REST };
        let mut nth = batch.runs.len();
        let rest = nth;
        let mut accept = false;
        while subjects.iter().any(|subject| !subject.settled) {
            if nth - rest == most {
                let at = subjects.iter().position(|subject| !subject.settled).expect("one");
                return Err((at, format!("after {most} runs over an API at rest it has not read it to the end")));
            }
            // who is settled does not run along until the others are
            subjects.sort_by_key(|subject| subject.settled);
            let running = subjects.partition_point(|subject| !subject.settled);
            let unsettled = &mut subjects[..running];
            for subject in unsettled.iter() {
                let mut sim = subject.sim.lock().expect("a sim");
                sim.now = sim.now.max(clock(nth));
                if !sim.quiet {
                    sim.rest();
                }
            }
            let ended = self.run(batch, unsettled, nth, None, accept)?;
            accept = at_rest(unsettled, &ended, nth, batch.skew)?;
            nth += 1;
        }
        for (at, subject) in subjects.iter().enumerate() {
            let law = laws::at_rest(subject.moments.last().expect("a moment"), &subject.sim.lock().expect("a sim"));
            law.map_err(|law| (at, law))?;
        }
        // two of them: the first one's watermark passes what the run before saw while it happened
        for nothing in [nth, nth + 1] {
            for subject in subjects.iter_mut() {
                let sim = subject.sim.lock().expect("a sim");
                let before = clock(nothing) + i64::from(batch.skew) - 600 - CLOCKS_DIFFER;
                subject.clock_was_late = nothing > nth && sim.records.iter().all(|record| record.at <= before);
            }
            self.run(batch, subjects, nothing, None, false)?;
            for (at, subject) in subjects.iter().enumerate() {
                let [.., before, after] = subject.moments.as_slice() else { unreachable!("two runs") };
                let sim = subject.sim.lock().expect("a sim");
                laws::of_a_run_for_nothing(before, after, &sim, subject.clock_was_late).map_err(|law| (at, law))?;
            }
        }
        for (at, subject) in subjects.iter().enumerate() {
            laws::of_readers(&subject.moments).map_err(|law| (at, law))?;
        }
        Ok(())
    }

    /// One run over all APIs, and the laws of one run.
    fn run(
        &mut self,
        batch: &Batch,
        subjects: &mut [Subject],
        nth: usize,
        disturbance: Option<(usize, Point, Disturbance)>,
        accept: bool,
    ) -> Result<Ended, (usize, String)> {
        self.runs += subjects.len();
        let mut began_at = Vec::new();
        for (at, subject) in subjects.iter().enumerate() {
            let mut sim = subject.sim.lock().expect("a sim");
            sim.now = sim.now.max(clock(nth));
            (sim.run, sim.items_asked, sim.resumed) = ((0, 0), false, None);
            (sim.returned, sim.asked_since) = (0, None);
            sim.disturbs_at = disturbance.filter(|(who, ..)| *who == at).map(|(_, point, _)| point);
            let what = disturbance.map(|(who, point, how)| {
                format!(", {how:?} at {point:?}{}", if who == at { "" } else { " of another sync" })
            });
            let now = sim.now - DAWN;
            sim.note(format!("run {nth}{} at second {now}", what.unwrap_or_default()));
            began_at.push(sim.seq);
        }
        let ended = self.engine(batch, subjects, nth, disturbance.map(|(.., how)| how), accept);
        Reader::wait(&self.database);
        let connections: Vec<_> = subjects.iter().map(|subject| subject.connection.as_str()).collect();
        let (mut tables, pages) = self.reader.look(&self.database, &connections);
        for (at, subject) in subjects.iter_mut().enumerate() {
            let after = tables.remove(&subject.connection).unwrap_or_default();
            let mut sim = subject.sim.lock().expect("a sim");
            let report = ended.report.as_ref().map(|report| &report.syncs[at]);
            let error = report
                .and_then(|report| report.error.as_ref())
                .map(|error| format!(" {}: {}", error.code, error.message));
            let live = after.values().filter(|row| row.is_live).count();
            let skipped = report.and_then(|report| report.deletes_skipped.clone()).unwrap_or_default();
            sim.note(format!(
                "  {}{} {live} rows live of {} {skipped}",
                report.map_or("crashed:", |report| report.state),
                error.unwrap_or_default(),
                after.len()
            ));
            if report
                .and_then(|report| report.error.as_ref())
                .is_some_and(|error| error.code == "bug" || error.code == "store")
            {
                sim.breaks("the engine has a bug".to_owned());
            }
            let all = pages.get(&subject.connection).copied().unwrap_or(0);
            let of_run = usize::try_from(all - subject.pages.0).expect("pages only grow");
            // a crash can come before it has begun
            let before_run = if sim.resumed == Some(false) { 0 } else { subject.pages.1 };
            subject.pages = (all, before_run + of_run + std::mem::take(&mut sim.regained));
            if of_run > 0 {
                sim.left = None;
            }
            if report.is_some_and(|report| report.state == "completed") {
                sim.pages.clear();
                subject.pages.1 = 0;
            } else {
                sim.pages.truncate(subject.pages.1);
            }
            let before = subject.moments.last().expect("a moment");
            laws::of_a_run(before, &after, &sim, began_at[at]).map_err(|law| (at, law))?;
            if let Some(law) = sim.broken.clone() {
                return Err((at, law));
            }
            subject.moments.push(after);
        }
        Ok(ended)
    }

    fn engine(
        &self,
        batch: &Batch,
        subjects: &[Subject],
        nth: usize,
        how: Option<Disturbance>,
        accept_deletes: bool,
    ) -> Ended {
        let plans: Vec<_> = subjects.iter().map(|subject| Arc::clone(&subject.plan)).collect();
        let sims: HashMap<_, _> =
            subjects.iter().map(|subject| (subject.connection.clone(), Arc::clone(&subject.sim))).collect();
        let (stop, stopped) = watch::channel(false);
        let crash = Arc::new(Notify::new());
        let disturb = {
            let crash = Arc::clone(&crash);
            Arc::new(move || match how {
                Some(Disturbance::Crash) => crash.notify_one(),
                Some(Disturbance::Stop) => drop(stop.send(true)),
                None => {}
            })
        };
        for subject in subjects {
            subject.sim.lock().expect("a sim").disturb = Some(Arc::clone(&disturb) as super::api::Disturb);
        }
        let observer = Arc::new(move |id: Option<&headwater::plan::SyncId>, event: Event| {
            let Some(sim) = id.and_then(|id| sims.get(&id.connection)) else { return };
            let mut sim = sim.lock().expect("a sim");
            match event {
                Event::Started { resumed, restarted } => sim.starts(resumed, restarted),
                Event::Committed { rows, .. } => {
                    sim.run.1 += 1;
                    sim.note(format!("  commit of {rows} rows"));
                }
                Event::Page { .. }
                | Event::Waiting { .. }
                | Event::Locked { .. }
                | Event::NotPublished { .. }
                | Event::NotTold { .. }
                | Event::Webhook { .. }
                | Event::Token { .. }
                | Event::Request(_)
                | Event::Finished(_) => return,
            }
            if sim.is_disturbed() {
                disturb();
            }
        });
        let now = at(clock(nth) + i64::from(batch.skew));
        let host = HostOptions {
            // at rest nothing comes between two commits
            group_age_max: Duration::from_micros(if batch.commits_pages && nth < batch.runs.len() {
                1
            } else {
                60_000_000
            }),
            // a page at a time, or all of them when they are committed
            compare_every: if (nth + batch.runs.len()).is_multiple_of(2) { 1 } else { usize::MAX },
            ..HostOptions::new(self.database.clone(), self.folder.path(), Arc::new(move || now))
        };
        let options = Options {
            host,
            wish: Wish { full: false, accept_deletes },
            allow_destructive: false,
            budget: Budget::default(),
            observer,
            stop: stopped,
        };
        let report = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = crash.notified() => None,
                report = engine::run(&plans, options) => Some(report.expect("a database that can be opened")),
            }
        });
        Ended { report }
    }
}

/// When a run begins.
fn clock(nth: usize) -> i64 {
    DAWN + 600 * i64::try_from(nth).expect("few runs")
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

/// Who is settled now; true = the next run must accept the deletes, because all records of an API are gone.
fn at_rest(subjects: &mut [Subject], ended: &Ended, nth: usize, skew: i8) -> Result<bool, (usize, String)> {
    let report = ended.report.as_ref().expect("nothing disturbs runs at rest");
    let mut accept = false;
    for (at, (subject, report)) in subjects.iter_mut().zip(&report.syncs).enumerate() {
        let sim = subject.sim.lock().expect("a sim");
        if let Some(error) = &report.error {
            // the guard looks at each window, of which one may have lost all its records
            let emptied = sim.records.is_empty() || sim.shape.deletes == Deletes::AbsenceWindow;
            if error.code != "deletes_guarded" || !emptied {
                return Err((at, format!("a run over an API at rest fails: {}", error.message)));
            }
            accept = true;
        }
        // a scan that was begun before may have passed by what changed since; one that waited to be accepted did not
        let late = |lag: i64| sim.records.iter().all(|record| record.at <= clock(nth) + i64::from(skew) - lag);
        // windows keep away from now
        let reaches = sim.shape.incremental != Incremental::Window || late(LAG);
        let ends = report.state == "completed" && (sim.scans_at_rest || subject.waits) && reaches;
        // windows that are read to their end may have been begun before it was at rest, by a run that was stopped or used its budget up
        let planned_before = sim.shape.incremental == Incremental::Window;
        subject.settled |= ends && (!planned_before || subject.ended);
        subject.ended |= ends;
        subject.waits = report.error.is_some();
    }
    Ok(accept)
}
