//! One loop begins every run: a sync that is idle is an entry in a queue, in the order in which they are due.
//!
//! The database is taken when something is to run and let go when nothing is, so that other commands can use it in between. Whoever has it runs
//! syncs, and nobody else meanwhile: that is how no sync runs twice at once, over processes too.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::{Door, Metrics, Watcher};
use crate::engine::{Error, Event, Host, RunOptions, Session, SyncReport, parents, run_id};
use crate::plan::{Budget, SyncId, SyncPlan, limits};
use crate::scan::{Runs, Wish, due, spread};
use crate::store::{self, Forgotten, Reset};

/// How to serve.
pub struct Options {
    /// who watches
    pub watcher: Watcher,
    /// what counts
    pub metrics: Metrics,
    /// how old the published copy may become while runs follow each other; none where there is none
    pub publish: Option<Duration>,
    /// run what is due now, and end
    pub once: bool,
    /// becomes true when runs should stop between two commits, and the loop with them
    pub stop: watch::Receiver<bool>,
}

/// What somebody wants of the scheduler. Answers come when it is done, not when runs are.
pub enum Command {
    /// how the syncs are
    Status(oneshot::Sender<Vec<SlotStatus>>),
    /// run them as soon as may be, whether they are paused or not; with `true` from the beginning
    Run(Vec<SyncId>, bool, oneshot::Sender<Result<(), Refused>>),
    /// do not run them by themselves until they are resumed (`false`)
    Pause(Vec<SyncId>, bool, oneshot::Sender<Result<(), Refused>>),
    /// stop their runs between two commits
    Cancel(Vec<SyncId>, oneshot::Sender<Result<(), Refused>>),
    /// let them forget where they are, and with `true` their rows; not while one of them runs
    Reset(Vec<SyncId>, bool, oneshot::Sender<Result<Forgotten, Refused>>),
    /// these are the syncs from now on, and of one nothing stays; not while one runs that is none any more
    Replan(Vec<Arc<SyncPlan>>, Option<SyncId>, oneshot::Sender<Result<Forgotten, Refused>>),
}

/// Asks the scheduler; nothing where it has ended.
pub(super) async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).await.ok()?;
    answer.await.ok()
}

/// Why the scheduler does not do something.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// no such sync
    #[error("there is no sync `{0}`")]
    Unknown(SyncId),
    /// it runs
    #[error("`{0}` is running")]
    Running(SyncId),
    /// another process has the database
    #[error("another process works on the database")]
    Busy,
    /// the database cannot be written
    #[error(transparent)]
    Failed(#[from] Error),
}

/// How one sync is.
#[derive(Debug, Clone)]
pub struct SlotStatus {
    /// which sync
    pub id: SyncId,
    /// what it does
    pub state: SlotState,
    /// it does not run by itself
    pub paused: bool,
    /// when it runs next by itself; in the past if it waits for others
    pub due_at: Option<DateTime<Utc>>,
    /// its runs so far
    pub runs: Runs,
}

/// What a sync does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// nothing
    Idle,
    /// it is due, and others run
    Waiting,
    /// it runs
    Running,
}

/// One sync.
struct Slot {
    plan: Arc<SyncPlan>,
    /// the syncs over whose rows it goes: they come first
    parents: Vec<usize>,
    runs: Runs,
    /// a number of its own
    spread: u64,
    paused: bool,
    /// somebody wants it to run, and how
    wanted: Option<Wish>,
    /// when it is in the queue
    due: Option<DateTime<Utc>>,
    /// stops its run
    running: Option<watch::Sender<bool>>,
}

/// The loop, and what it knows.
pub struct Scheduler {
    options: Options,
    host: Arc<Host>,
    door: Arc<Door>,
    published_at: DateTime<Utc>,
    /// when it began
    since: DateTime<Utc>,
    slots: Vec<Slot>,
    by_id: HashMap<SyncId, usize>,
    queue: BTreeSet<(DateTime<Utc>, usize)>,
    /// by their ids: a place may be another one's when a run ends
    running: JoinSet<(SyncId, SyncReport)>,
    /// the database, while it is known to be as it is here
    session: Option<Arc<Session>>,
    /// the database could not be had; it is asked for again then
    blocked_until: Option<DateTime<Utc>>,
    /// when the database was changed last, as far as is known, and when that was looked at; none = never
    known: Option<(Option<SystemTime>, DateTime<Utc>)>,
    /// there are syncs of which nobody has looked what it says
    unseen: bool,
    /// this loop has looked into the database since this process has it: nobody else can change it meanwhile
    has_looked: bool,
    reports: Vec<SyncReport>,
}

impl Scheduler {
    /// A scheduler of `syncs`; nothing has begun.
    pub fn new(syncs: &[Arc<SyncPlan>], door: Arc<Door>, options: Options) -> Self {
        let host = Arc::clone(door.host());
        let since = host.now();
        let mut new = Self {
            options,
            host,
            door,
            published_at: since,
            since,
            slots: Vec::new(),
            by_id: HashMap::new(),
            queue: BTreeSet::new(),
            running: JoinSet::new(),
            session: None,
            blocked_until: None,
            known: None,
            unseen: false,
            has_looked: false,
            reports: Vec::new(),
        };
        new.place(syncs);
        new
    }

    /// Gives each sync its place. One that has one already keeps what is known of it, and its run, which ends as it began.
    fn place(&mut self, syncs: &[Arc<SyncPlan>]) {
        let mut known: HashMap<SyncId, Slot> = self.slots.drain(..).map(|slot| (slot.plan.id.clone(), slot)).collect();
        let slot = |(plan, parents): (&Arc<SyncPlan>, Vec<usize>)| {
            let fresh = || Slot {
                plan: Arc::clone(plan),
                parents: Vec::new(),
                runs: Runs::default(),
                spread: spread(&plan.id),
                paused: false,
                wanted: None,
                due: None,
                running: None,
            };
            Slot { plan: Arc::clone(plan), parents, due: None, ..known.remove(&plan.id).unwrap_or_else(fresh) }
        };
        self.slots = syncs.iter().zip(parents(syncs)).map(slot).collect();
        self.by_id = self.slots.iter().enumerate().map(|(at, slot)| (slot.plan.id.clone(), at)).collect();
        self.queue.clear();
    }

    /// Runs what is due and does what is commanded until it is to stop; with `once` until nothing is due. Gives the last reports of runs: of
    /// `once` all of them.
    ///
    /// # Errors
    /// The database cannot be used at all. Runs in progress are over then.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<Vec<SyncReport>, Error> {
        let ended = self.work(&mut commands).await;
        for slot in self.slots.iter().filter_map(|slot| slot.running.as_ref()) {
            slot.send_replace(true);
        }
        while let Some(done) = self.running.join_next().await {
            self.note(done.map_err(|error| Error::Bug(error.to_string()))?);
        }
        let closed = self.close().await;
        ended.and(closed).map(|()| self.reports)
    }

    async fn work(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Error> {
        let mut stop = self.options.stop.clone();
        self.look().await?;
        loop {
            if *stop.borrow() {
                return Ok(());
            }
            // somebody else has run, paused or resumed something, or it was never looked at
            if self.session.is_none() && !self.is_blocked() && !self.is_known() {
                self.look().await?;
            }
            if self.session.as_ref().is_some_and(|session| !session.is_alive()) {
                return Err(Error::Bug("the store's thread has ended".into()));
            }
            self.begin_due().await?;
            self.publish().await;
            if self.running.is_empty() {
                self.close().await?;
                if self.options.once && self.next().is_none_or(|at| at > self.host.now()) {
                    return Ok(());
                }
            }
            let wait = self.wait();
            tokio::select! {
                Some(done) = self.running.join_next() => self.note(done.map_err(|error| Error::Bug(error.to_string()))?),
                Some(command) = commands.recv() => self.command(command).await,
                () = tokio::time::sleep(wait) => {}
                // whoever could stop it has gone: so it goes on
                Ok(()) = stop.changed() => {}
            }
        }
    }

    /// Begins runs as long as one is due and there is room for it.
    async fn begin_due(&mut self) -> Result<(), Error> {
        loop {
            let now = self.host.now();
            if self.running.len() >= self.host.at_once() || self.is_blocked() {
                return Ok(());
            }
            let Some(at) = self.first_due(now) else { return Ok(()) };
            if self.session.is_none() {
                // what others did meanwhile may be what was due
                if self.look().await? {
                    continue;
                }
                return Ok(());
            }
            self.begin(at, now);
        }
    }

    /// The first sync that is due, and of which no other is due or runs that it goes over.
    fn first_due(&self, now: DateTime<Utc>) -> Option<usize> {
        let is_due = |at: usize| self.slots[at].running.is_some() || self.slots[at].due.is_some_and(|due| due <= now);
        let due = self.queue.iter().take_while(|(due, _)| *due <= now).map(|(_, at)| *at);
        due.into_iter().find(|at| !self.slots[*at].parents.iter().any(|parent| is_due(*parent)))
    }

    /// Whether nobody else has changed the database since this loop looked into it. That somebody in this process has it does not say so: who
    /// answers applications opens it too, and others may have had it just before.
    fn is_known(&self) -> bool {
        if self.unseen || self.has_looked {
            return !self.unseen;
        }
        let Some((changed_at, looked_at)) = self.known else { return false };
        let is_fresh = (self.host.now() - looked_at).to_std().is_ok_and(|age| age < limits::DATABASE_KNOWN_FOR);
        is_fresh && changed_at == self.host.database_changed_at()
    }

    fn is_blocked(&self) -> bool {
        self.blocked_until.is_some_and(|until| until > self.host.now())
    }

    /// Takes the database if nobody else has it, and reads what happened in it. Whether it was to be had.
    async fn look(&mut self) -> Result<bool, Error> {
        let session = match self.door.session().await {
            Ok(session) => session,
            Err(error) if error.is_taken() && !self.options.once => {
                if self.blocked_until.is_none() {
                    (self.options.watcher)(None, None, Event::Locked { holder: error.to_string() });
                }
                self.blocked_until = Some(self.host.now() + limits::BUSY_WAIT);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.blocked_until = None;
        let known = session.call(store::Store::scheduled).await?;
        self.session = Some(session);
        (self.unseen, self.has_looked) = (false, true);
        for slot in &mut self.slots {
            slot.paused = false;
        }
        for store::Scheduled { id, runs, paused } in known {
            let Some(at) = self.by_id.get(&id) else { continue };
            let slot = &mut self.slots[*at];
            slot.paused = paused;
            if slot.running.is_none() {
                let micros = |runs: &Runs| runs.began_at.map(|began| began.timestamp_micros());
                // what this process has stopped was cancelled
                let stopped = runs.stopped && micros(&runs) != micros(&slot.runs);
                slot.runs = Runs { parked_until: slot.runs.parked_until, stopped, ..runs };
            }
        }
        for at in 0..self.slots.len() {
            self.enqueue(at);
        }
        Ok(true)
    }

    /// Puts a sync where it belongs in the queue.
    fn enqueue(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if let Some(due) = slot.due.take() {
            self.queue.remove(&(due, at));
        }
        if slot.running.is_some() {
            return;
        }
        let by_itself = || due(&slot.plan.schedule, &slot.runs, slot.spread, self.since);
        slot.due = match slot.wanted {
            Some(_) => Some(DateTime::<Utc>::MIN_UTC),
            None if slot.paused => None,
            None => by_itself(),
        };
        self.queue.extend(slot.due.map(|due| (due, at)));
    }

    fn begin(&mut self, at: usize, now: DateTime<Utc>) {
        let (Some(session), slot) = (&self.session, &mut self.slots[at]) else { return };
        let (stop, stopped) = watch::channel(false);
        let (run_id, watcher) = (run_id(now), Arc::clone(&self.options.watcher));
        let name = run_id.clone();
        let wanted = RunOptions {
            run_id,
            started_at: now,
            wish: slot.wanted.take().unwrap_or_default(),
            allow_destructive: false,
            budget: Budget::default(),
            observer: Arc::new(move |sync, event| watcher(Some(&name), sync, event)),
            stop: stopped,
        };
        let due = slot.due.filter(|due| *due > DateTime::<Utc>::MIN_UTC);
        self.options.metrics.begins(due.and_then(|due| (now - due).to_std().ok()).unwrap_or_default());
        let run = session.run(&slot.plan, wanted);
        let id = slot.plan.id.clone();
        self.running.spawn(async move { (id, run.await) });
        slot.running = Some(stop);
        slot.runs.began_at = Some(now);
        slot.runs.ended_at = None;
        self.enqueue(at);
    }

    /// Notes how a run ended.
    fn note(&mut self, (id, report): (SyncId, SyncReport)) {
        // none goes while it runs
        let Some(at) = self.by_id.get(&id).copied() else { return };
        let (slot, now) = (&mut self.slots[at], self.host.now());
        slot.running = None;
        let took = slot.runs.began_at.and_then(|began| (now - began).to_std().ok()).unwrap_or_default();
        self.options.metrics.ended(&report, took);
        slot.runs.ended_at = Some(now);
        slot.runs.parked_until = report.paused_until;
        slot.runs.stopped = false;
        slot.runs.failures = if report.error.is_some() { slot.runs.failures.saturating_add(1) } else { 0 };
        self.enqueue(at);
        if self.options.once {
            self.reports.push(report);
        }
    }

    async fn command(&mut self, command: Command) {
        // whoever asked may have gone
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Run(ids, full, reply) => drop(reply.send(self.places(&ids).map(|places| {
                for at in places {
                    self.slots[at].wanted = Some(Wish { full, accept_deletes: false });
                    self.enqueue(at);
                }
            }))),
            Command::Cancel(ids, reply) => drop(reply.send(self.places(&ids).map(|places| {
                for at in places {
                    self.slots[at].wanted = None;
                    if let Some(running) = &self.slots[at].running {
                        running.send_replace(true);
                    }
                    self.enqueue(at);
                }
            }))),
            Command::Pause(ids, paused, reply) => drop(reply.send(self.pause(&ids, paused).await)),
            Command::Reset(ids, purge, reply) => drop(reply.send(self.reset(ids, purge).await)),
            Command::Replan(syncs, purge, reply) => drop(reply.send(self.replan(&syncs, purge).await)),
        }
    }

    async fn pause(&mut self, ids: &[SyncId], paused: bool) -> Result<(), Refused> {
        let places = self.places(ids)?;
        let (ids, now) = (ids.to_vec(), self.host.now());
        self.session().await?.call(move |store| store.pause(&ids, paused, now)).await?;
        for at in places {
            self.slots[at].paused = paused;
            self.enqueue(at);
        }
        Ok(())
    }

    /// Nothing begins meanwhile: it is this loop that would begin it.
    async fn reset(&mut self, ids: Vec<SyncId>, purge: bool) -> Result<Forgotten, Refused> {
        let places = self.places(&ids)?;
        if let Some(at) = places.into_iter().find(|at| self.slots[*at].running.is_some()) {
            return Err(Refused::Running(self.slots[at].plan.id.clone()));
        }
        self.forget(ids, purge).await
    }

    async fn forget(&mut self, ids: Vec<SyncId>, purge: bool) -> Result<Forgotten, Refused> {
        let (reset, now) = (Reset { syncs: ids, partition: None, purge }, self.host.now());
        Ok(self.session().await?.call(move |store| store.forget(&reset, now)).await?)
    }

    async fn replan(&mut self, syncs: &[Arc<SyncPlan>], purge: Option<SyncId>) -> Result<Forgotten, Refused> {
        let stays: HashSet<&SyncId> = syncs.iter().map(|sync| &sync.id).collect();
        let goes = |slot: &&Slot| slot.running.is_some() && !stays.contains(&slot.plan.id);
        if let Some(slot) = self.slots.iter().find(goes) {
            return Err(Refused::Running(slot.plan.id.clone()));
        }
        let forgotten = match purge {
            Some(id) => self.forget(vec![id], true).await?,
            None => Forgotten::default(),
        };
        let more = syncs.iter().any(|sync| !self.by_id.contains_key(&sync.id));
        self.place(syncs);
        for at in 0..self.slots.len() {
            self.enqueue(at);
        }
        // one that was there before may have run, or be paused
        self.unseen |= more;
        if more && self.session.take().is_some() {
            // what is wrong with the database is told when something is to run
            drop(self.look().await);
        }
        Ok(forgotten)
    }

    async fn session(&mut self) -> Result<Arc<Session>, Refused> {
        if self.session.is_none() {
            self.look().await?;
        }
        self.session.clone().ok_or(Refused::Busy)
    }

    fn places(&self, ids: &[SyncId]) -> Result<Vec<usize>, Refused> {
        ids.iter().map(|id| self.by_id.get(id).copied().ok_or_else(|| Refused::Unknown(id.clone()))).collect()
    }

    fn status(&self) -> Vec<SlotStatus> {
        let now = self.host.now();
        let of = |slot: &Slot| SlotStatus {
            id: slot.plan.id.clone(),
            state: match (&slot.running, slot.due) {
                (Some(_), _) => SlotState::Running,
                (None, Some(due)) if due <= now => SlotState::Waiting,
                (None, _) => SlotState::Idle,
            },
            paused: slot.paused,
            due_at: slot.due.filter(|due| *due > DateTime::<Utc>::MIN_UTC),
            runs: slot.runs,
        };
        self.slots.iter().map(of).collect()
    }

    /// When the first sync is due.
    fn next(&self) -> Option<DateTime<Utc>> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// How long there is nothing to do, as far as is known: the clock may be set meanwhile, and the database changed.
    fn wait(&self) -> Duration {
        let now = self.host.now();
        // what is due already waits for one that runs
        let first = self.queue.range((now, usize::MAX)..).next().map(|(due, _)| *due);
        let wait = self.blocked_until.or(first).and_then(|due| (due - now).to_std().ok());
        wait.unwrap_or(limits::DATABASE_LOOKED_AT).clamp(Duration::from_millis(1), limits::DATABASE_LOOKED_AT)
    }

    /// Makes the published copy if the last one is old. When the database is let go of, it is made in any case.
    async fn publish(&mut self) {
        let (Some(session), Some(every)) = (&self.session, self.options.publish) else { return };
        let now = self.host.now();
        if (now - self.published_at).to_std().is_ok_and(|age| age >= every) {
            self.published_at = now;
            if let Err(error) = session.publish().await {
                (self.options.watcher)(None, None, Event::NotPublished { why: error.to_string() });
            }
        }
    }

    /// Lets go of the database, unless somebody else reads or writes it just now: then the next time.
    async fn close(&mut self) -> Result<(), Error> {
        if self.session.take().is_some() {
            self.published_at = self.host.now();
        }
        let is_known = self.is_known();
        if self.door.is_open().await && self.door.close().await? {
            self.known = is_known.then(|| (self.host.database_changed_at(), self.host.now()));
            self.has_looked = false;
        }
        Ok(())
    }
}
