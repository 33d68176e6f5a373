//! A simulated API: a list of records that changes while it is read, and answers that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::case::{Case, Fault, Op, Point};
use super::pages::Asked;
use super::shape::{Deletes, Incremental, Shape};
use crate::support::{Reply, Request};

/// When the simulated time begins, in seconds since 1970.
pub const DAWN: i64 = 1_714_521_600;

/// A record of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub id: i64,
    pub value: i64,
    /// its value fits the column
    pub fits: bool,
    /// when it changed
    pub at: i64,
    pub created_at: i64,
    /// a tombstone
    pub deleted: bool,
    /// number of its last change, over all records
    pub seq: i64,
}

/// What an answer was, and where it said that the list goes on; none at its end.
pub struct Page {
    position: String,
    next: Option<String>,
    /// the scan may be over, though the list goes on
    may_end: bool,
}

/// What ends the run under way.
pub type Disturb = Arc<dyn Fn() + Send + Sync>;

/// The API of one case.
pub struct Sim {
    pub shape: Shape,
    /// before its paths
    pub prefix: String,
    /// in the order of the list
    pub records: Vec<Record>,
    /// ids that are gone, and when they went
    pub deleted: BTreeMap<i64, (i64, i64)>,
    pub now: i64,
    /// changes so far
    pub seq: i64,
    /// since which change a record is there without a break
    pub alive_since: BTreeMap<i64, i64>,
    /// ids that were gone once, and made anew
    pub came_back: BTreeSet<i64>,
    /// requests so far
    requests: u64,
    ops: Vec<(u8, Op)>,
    faults: BTreeMap<u64, Fault>,
    /// a failure that goes on for so many requests
    failing: Option<(Fault, u8)>,
    /// nothing befalls it any more
    pub quiet: bool,
    /// requests and commits of the run under way
    pub run: (u64, u64),
    /// of which one was for the list
    pub items_asked: bool,
    /// the scan under way began when nothing befell the API any more
    pub scans_at_rest: bool,
    /// where it disturbs the run
    pub disturbs_at: Option<Point>,
    /// disturbs it
    pub disturb: Option<Disturb>,
    /// the run goes on where one before it stopped; none until it says so
    pub resumed: Option<bool>,
    /// the change after which the scan under way began
    pub scan_since: i64,
    /// good answers of the scan under way
    pub pages: Vec<Page>,
    /// good answers of the scan that the one under way is instead of, and after which change that began: until a page of the new one is
    /// committed, a run may go on with the old one
    pub left: Option<(Vec<Page>, i64)>,
    /// pages of it that count again
    pub regained: usize,
    /// records in the answers of the run under way, and what the first one asked for
    pub returned: usize,
    pub asked_since: Option<String>,
    /// what happened, for people
    pub log: Vec<String>,
    /// a law that was seen broken on the way
    pub broken: Option<String>,
}

impl Sim {
    pub fn new(prefix: String, case: &Case) -> Self {
        let mut sim = Self {
            shape: case.shape,
            prefix,
            records: Vec::new(),
            deleted: BTreeMap::new(),
            now: DAWN,
            seq: 0,
            alive_since: BTreeMap::new(),
            came_back: BTreeSet::new(),
            requests: 0,
            ops: case.ops.clone(),
            faults: case.faults.iter().map(|(at, fault)| (u64::from(*at), *fault)).collect(),
            failing: None,
            quiet: false,
            run: (0, 0),
            items_asked: false,
            scans_at_rest: false,
            disturbs_at: None,
            disturb: None,
            resumed: None,
            scan_since: 0,
            pages: Vec::new(),
            left: None,
            regained: 0,
            returned: 0,
            asked_since: None,
            log: Vec::new(),
            broken: None,
        };
        for (id, value, age) in &case.records {
            sim.befall(Op::Put(*id, *value));
            let last = sim.records.iter_mut().find(|record| record.id == i64::from(*id)).expect("put");
            (last.at, last.created_at) = (DAWN - i64::from(*age), DAWN - i64::from(*age));
        }
        sim
    }

    pub fn note(&mut self, line: String) {
        self.log.push(line);
    }

    /// A run says how it begins.
    pub fn starts(&mut self, resumed: bool, restarted: Option<String>) {
        self.note(format!("  starts, resumed: {resumed} {}", restarted.clone().unwrap_or_default()));
        let goes_on = self.pages.last().filter(|page| !page.may_end).and_then(|page| page.next.clone());
        if let Some(next) = goes_on.as_ref().filter(|_| self.shape.is_one_list() && !resumed && restarted.is_none()) {
            self.breaks(format!("a run begins anew, though one before it came as far as `{next}`"));
        }
        self.resumed = Some(resumed);
        if !resumed {
            let left = std::mem::take(&mut self.pages);
            self.left = goes_on.is_some().then_some((left, self.scan_since));
            self.scan_since = self.seq;
            self.scans_at_rest = self.quiet;
        }
    }

    /// The run is where this case disturbs it.
    pub fn is_disturbed(&mut self) -> bool {
        let here = match self.disturbs_at {
            Some(Point::Request(nth)) => self.run.0 > u64::from(nth),
            Some(Point::Commit(nth)) => self.run.1 > u64::from(nth),
            None => false,
        };
        if here {
            self.disturbs_at = None;
            self.note("  disturbed here".to_owned());
        }
        here
    }

    /// Notes the first law that is seen broken.
    pub fn breaks(&mut self, law: String) {
        self.note(format!("!! {law}"));
        self.broken.get_or_insert(law);
    }

    /// Nothing befalls it from now on; what would have, does now, or before the next scan if it stands still in one.
    pub fn rest(&mut self) {
        self.quiet = true;
        self.failing = None;
        self.come_to_rest();
    }

    fn come_to_rest(&mut self) {
        for (_, op) in std::mem::take(&mut self.ops) {
            self.befall(op);
        }
        for at in 0..self.records.len() {
            if !self.records[at].fits {
                self.befall(Op::Put(self.records[at].id as u8, 1));
            }
        }
        let all: Vec<_> = self.records.iter().map(|record| (record.id, record.value, record.deleted)).collect();
        self.note(format!("at rest at second {}: {all:?}", self.now - DAWN));
    }

    fn befall(&mut self, op: Op) {
        self.seq += 1;
        let (seq, now) = (self.seq, self.now);
        let place = |sim: &Self, id: u8| sim.records.iter().position(|record| record.id == i64::from(id));
        match op {
            Op::Put(id, value) => {
                let id = i64::from(id);
                if self.deleted.remove(&id).is_some() {
                    self.came_back.insert(id);
                }
                match self.records.iter_mut().find(|record| record.id == id) {
                    Some(record) => {
                        if record.deleted {
                            self.alive_since.insert(id, seq);
                        }
                        (record.value, record.fits, record.at) = (i64::from(value), true, now);
                        (record.deleted, record.seq) = (false, seq);
                    }
                    None => {
                        self.alive_since.insert(id, seq);
                        let value = i64::from(value);
                        self.records.push(Record {
                            id,
                            value,
                            fits: true,
                            at: now,
                            created_at: now,
                            deleted: false,
                            seq,
                        });
                    }
                }
            }
            Op::Touch(id) | Op::Break(id) => {
                if let Some(record) = place(self, id).map(|at| &mut self.records[at]).filter(|record| !record.deleted) {
                    (record.at, record.seq) = (now, seq);
                    record.fits &= matches!(op, Op::Touch(_));
                }
            }
            Op::Delete(id) => {
                if let Some(at) = place(self, id).filter(|at| !self.records[*at].deleted) {
                    self.alive_since.remove(&i64::from(id));
                    if self.shape.deletes == Deletes::Flag {
                        let record = &mut self.records[at];
                        (record.deleted, record.fits, record.at, record.seq) = (true, true, now, seq);
                    } else {
                        self.records.remove(at);
                        self.deleted.insert(i64::from(id), (now, seq));
                    }
                }
            }
            Op::Move(id, to) => {
                if let Some(at) = place(self, id) {
                    let record = self.records.remove(at);
                    self.records.insert(usize::from(to).min(self.records.len()), record);
                }
            }
            // a run's clock stands still; the next one's begins well behind
            Op::Pass(seconds) => self.now += i64::from(seconds),
        }
        self.note(format!("  {op:?} at second {}", now - DAWN));
    }

    /// Answers a request; true = not at all.
    pub fn answer(&mut self, request: &Request) -> (Reply, bool) {
        let asked = Asked::read(request);
        let position = asked.position();
        let path = request.path.strip_prefix(&self.prefix).unwrap_or_default();
        let first_of_run = path == "/items" && !self.items_asked;
        self.items_asked |= first_of_run;
        let nth = self.requests;
        self.requests += 1;
        self.run.0 += 1;
        if !self.quiet {
            let (due, later) = std::mem::take(&mut self.ops).into_iter().partition(|(at, _)| u64::from(*at) <= nth);
            self.ops = later;
            due.into_iter().for_each(|(_, op): (u8, Op)| self.befall(op));
        }
        if first_of_run {
            self.asked_since = asked.text("since").map(str::to_owned);
            self.goes_on_at(&position);
        }
        let fault = if self.quiet { None } else { self.fault(nth, &position, first_of_run) };
        let line = format!(
            "{nth}: {}{}",
            request.line().replacen(&self.prefix, "", 1),
            match fault {
                Some(fault) => format!(" -> {fault:?}"),
                None => String::new(),
            }
        );
        self.note(line);
        let good = if path == "/items" { self.page(&asked, fault) } else { Ok(self.other(path, &asked)) };
        let Ok(body) = good else { return (Reply::status(410, "{}"), false) };
        match fault {
            Some(Fault::Status500(_)) => (Reply::status(500, "{}"), false),
            Some(Fault::Status429(_)) => (Reply::status(429, "{}").with("retry-after", "0"), false),
            Some(Fault::Cut) => (body.0.cut_at(5), false),
            Some(Fault::Silence) => (body.0, true),
            Some(Fault::Garbage) => (Reply::text("application/json", "{ \"items\": [ {"), false),
            Some(Fault::NotFound) => {
                // where pages are counted, one that is not there is taken for the one behind the last
                let is_end = self.shape.paging.is_counted();
                self.pages.last_mut().into_iter().for_each(|page| page.may_end |= is_end);
                (Reply::status(404, "{}"), false)
            }
            Some(Fault::Nothing | Fault::Keyless) | None => {
                if path == "/items" {
                    // after a short page; or one with a record that a scan before has covered
                    let may_end = body.2 < self.shape.size || self.shape.incremental == Incremental::StopAtWatermark;
                    self.keep(Page { position, next: body.1, may_end });
                }
                (body.0, false)
            }
        }
    }

    /// A good answer; the same one again, where the client did not get it, is one.
    fn keep(&mut self, page: Page) {
        if self.pages.last().is_some_and(|last| last.position == page.position) {
            self.pages.pop();
        }
        self.pages.push(page);
    }

    /// A run that goes on does so behind the last committed page.
    fn goes_on_at(&mut self, position: &str) {
        // a list that is read to its end may be read once more before anything is deleted
        let last = self.pages.last();
        let expected = last.and_then(|page| page.next.clone()).unwrap_or_default();
        let is_again = position.is_empty() && last.is_some_and(|page| page.may_end);
        if !self.shape.is_one_list() || self.resumed != Some(true) || expected == position || is_again {
            return;
        }
        let is_left =
            |(pages, _): &(Vec<Page>, i64)| pages.last().is_some_and(|last| last.next.as_deref() == Some(position));
        if let Some((pages, since)) = self.left.take_if(|left| self.pages.is_empty() && is_left(left)) {
            (self.regained, self.pages, self.scan_since) = (pages.len(), pages, since);
        } else {
            self.breaks(format!("a run goes on at `{position}`, and not at `{expected}` behind the last commit"));
        }
    }

    fn fault(&mut self, nth: u64, position: &str, first_of_run: bool) -> Option<Fault> {
        if let Some((fault, left)) = self.failing.take() {
            self.failing = (left > 0).then(|| (fault, left - 1));
            return Some(fault);
        }
        // a place is forgotten while no run is under way
        let forgotten = self.faults.range(..=nth).find(|(_, fault)| **fault == Fault::NotFound).map(|(at, _)| *at);
        if let Some(at) = forgotten.filter(|_| first_of_run && !position.is_empty()) {
            self.faults.remove(&at);
            return Some(Fault::NotFound);
        }
        let fault = *self.faults.get(&nth).filter(|fault| **fault != Fault::NotFound)?;
        match fault {
            Fault::Status500(more) | Fault::Status429(more) => {
                self.failing = (more > 0).then(|| (fault, more - 1));
                Some(fault)
            }
            Fault::NotFound => None,
            // an API that says so of a list that may be empty is believed
            Fault::Nothing if self.shape.allow_empty => None,
            Fault::Nothing => {
                // nothing tells an empty window from one that is said to be; and a token that comes with nothing says that all was given
                let told = matches!(self.shape.incremental, Incremental::Window | Incremental::Token);
                let first = position.is_empty() && !told;
                (first || self.shape.paging.tells_total()).then_some(fault)
            }
            // one record more than the API counts would be another lie than this one
            Fault::Keyless => (!self.shape.paging.counts_records()).then_some(fault),
            Fault::Cut | Fault::Silence | Fault::Garbage => Some(fault),
        }
    }
}
