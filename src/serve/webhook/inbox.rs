//! Events out of the inbox, in the order in which they came: connections beside each other, those of one connection one after the other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Webhooks;
use crate::engine::{Arrival, Error, ErrorKind, Event, Observer, Session, waits_for_runs};
use crate::plan::{SyncId, SyncPlan, WebhookAction, limits};
use crate::serve::scheduler::ask;
use crate::serve::{Command, SlotState, SlotStatus};
use crate::store::{self, InboxEvent, Settled};

/// Works off the inbox.
pub struct Inbox {
    work: Arc<Work>,
    stop: watch::Receiver<bool>,
}

struct Work {
    webhooks: Arc<Webhooks>,
    commands: mpsc::Sender<Command>,
    stop: watch::Receiver<bool>,
}

/// An event that is done when these syncs have run.
struct Started {
    number: i64,
    syncs: Vec<SyncId>,
}

/// What came of the events of a connection.
struct LaneEnd {
    connection: String,
    /// its next event is not to be tried before
    wait_until: Option<DateTime<Utc>>,
    started: Vec<Started>,
}

/// What came of an event.
enum Handled {
    Settled(Settled),
    /// it is done when these have run
    Started(Vec<SyncId>),
    /// a run is under way that began before it came
    Blocked,
}

impl Inbox {
    /// Nothing has begun.
    pub fn new(webhooks: Arc<Webhooks>, commands: mpsc::Sender<Command>, stop: watch::Receiver<bool>) -> Self {
        Self { work: Arc::new(Work { webhooks, commands, stop: stop.clone() }), stop }
    }

    /// Works off events as they come, until it is to stop.
    pub async fn run(mut self) {
        let work = Arc::clone(&self.work);
        while work.webhooks.receivers().connections.is_empty() {
            tokio::select! {
                () = work.webhooks.arrived.notified() => {}
                // whoever could stop it has gone
                _ = self.stop.changed() => return,
            }
        }
        let mut lanes: JoinSet<LaneEnd> = JoinSet::new();
        let (mut at_work, mut waits) = (HashSet::new(), HashMap::new());
        let mut started: Vec<Started> = Vec::new();
        let (mut look_at, mut reopened, mut pruned_at) = (Some(work.now()), false, None);
        loop {
            if *self.stop.borrow() {
                break;
            }
            let now = work.now();
            if look_at.is_some_and(|at| at <= now) {
                look_at = match work.look(&mut reopened, &mut pruned_at).await {
                    Ok(backlog) => {
                        let mut next = None;
                        for store::Backlog { connection, due_at } in backlog {
                            let due = due_at.max(waits.get(&connection).copied());
                            if at_work.contains(&connection) {
                                continue;
                            }
                            if let Some(due) = due.filter(|due| *due > now) {
                                next = Some(next.map_or(due, |next: DateTime<Utc>| next.min(due)));
                            } else if lanes.len() < limits::INBOX_LANES_AT_ONCE {
                                waits.remove(&connection);
                                at_work.insert(connection.clone());
                                lanes.spawn(Arc::clone(&work).lane(connection));
                            }
                        }
                        next
                    }
                    Err(_) => Some(now + limits::BUSY_WAIT),
                };
            }
            if !started.is_empty() {
                started = work.ended(started).await;
            }
            // runs are asked after as long as somebody waits for them
            let soon = (!started.is_empty()).then(|| now + limits::BUSY_WAIT);
            let until = look_at.into_iter().chain(soon).min();
            let wait = until.map(|at| (at - work.now()).to_std().unwrap_or_default());
            tokio::select! {
                () = work.webhooks.arrived.notified() => look_at = Some(now),
                Some(end) = lanes.join_next() => {
                    if let Ok(LaneEnd { connection, wait_until, started: more }) = end {
                        at_work.remove(&connection);
                        waits.extend(wait_until.map(|at| (connection, at)));
                        started.extend(more);
                    }
                    look_at = Some(now);
                }
                () = tokio::time::sleep(wait.unwrap_or(limits::INBOX_LOOKED_AT)) => {
                    look_at = Some(look_at.unwrap_or(now));
                }
                _ = self.stop.changed() => {}
            }
        }
        // they stop behind the event they are at
        while lanes.join_next().await.is_some() {}
    }
}

impl Work {
    fn now(&self) -> DateTime<Utc> {
        self.webhooks.door.host().now()
    }

    /// The connections that have something to do.
    async fn look(
        &self,
        reopened: &mut bool,
        pruned_at: &mut Option<DateTime<Utc>>,
    ) -> Result<Vec<store::Backlog>, Error> {
        let now = self.now();
        let session = self.webhooks.door.session().await?;
        let reopen = !*reopened;
        let is_old = |at: DateTime<Utc>| (now - at).to_std().is_ok_and(|age| age > limits::INBOX_PRUNED_EVERY);
        let prune = pruned_at.is_none_or(is_old);
        let backlog = session.call(move |store| {
            if reopen {
                store.reopen_inbox()?;
            }
            if prune {
                store.prune_inbox(now - limits::INBOX_KEPT)?;
            }
            store.backlog()
        });
        let backlog = backlog.await?;
        *reopened = true;
        if prune {
            *pruned_at = Some(now);
        }
        Ok(backlog)
    }

    /// Notes events whose syncs have run; gives the others.
    async fn ended(&self, started: Vec<Started>) -> Vec<Started> {
        let Some(status) = self.status().await else { return started };
        // one that is wanted and does not run yet waits
        let has_run = |id: &SyncId| status.get(id).is_none_or(|slot| slot.state == SlotState::Idle);
        let (done, rest): (Vec<_>, Vec<_>) = started.into_iter().partition(|event| event.syncs.iter().all(has_run));
        if done.is_empty() {
            return rest;
        }
        let (numbers, now) = (done.iter().map(|event| event.number).collect::<Vec<_>>(), self.now());
        let noted = async {
            let session = self.webhooks.door.session().await?;
            let note = move |store: &mut store::Store| {
                numbers.iter().try_for_each(|number| store.settle(*number, &Settled::Done, now))
            };
            session.call(note).await
        };
        match noted.await {
            Ok(()) => rest,
            Err(_) => rest.into_iter().chain(done).collect(),
        }
    }

    async fn status(&self) -> Option<HashMap<SyncId, SlotStatus>> {
        let slots = ask(&self.commands, Command::Status).await?;
        Some(slots.into_iter().map(|slot| (slot.id.clone(), slot)).collect())
    }

    /// Works off what waits for a connection.
    async fn lane(self: Arc<Self>, connection: String) -> LaneEnd {
        let mut end = LaneEnd { connection, wait_until: None, started: Vec::new() };
        let worked = self.work_off(&mut end).await;
        // what events have changed no run tells
        if let Err(error) = worked.and(self.tell().await) {
            self.webhooks.tell(&end.connection, format!("the inbox cannot be worked off: {error}"));
            end.wait_until = Some(self.later());
        }
        end
    }

    async fn tell(&self) -> Result<(), Error> {
        let now = self.now();
        self.webhooks.door.session().await?.call(move |store| store.tell_rest(now)).await
    }

    fn later(&self) -> DateTime<Utc> {
        self.now() + limits::BUSY_WAIT
    }

    async fn work_off(&self, end: &mut LaneEnd) -> Result<(), Error> {
        let is_own = |sync: &&Arc<SyncPlan>| sync.id.connection == end.connection;
        let syncs: Vec<Arc<SyncPlan>> = self.webhooks.receivers().syncs.iter().filter(is_own).cloned().collect();
        let whole = syncs.iter().flat_map(|sync| &sync.on_webhook).any(|on| on.names("body") || on.names("request"));
        loop {
            let session = self.webhooks.door.session().await?;
            let name = end.connection.clone();
            let events = session.call(move |store| store.waiting_events(&name, whole)).await?;
            if events.is_empty() {
                return Ok(());
            }
            // behind the events: a run that begins now reads what they tell
            let Some(status) = self.status().await else { return Ok(()) };
            for event in events {
                if *self.stop.borrow() {
                    return Ok(());
                }
                if let Some(due) = event.due_at.filter(|due| *due > self.now()) {
                    end.wait_until = Some(due);
                    return Ok(());
                }
                let settled = match self.handle(&session, &syncs, &event, &status).await {
                    Ok(Handled::Settled(settled)) => settled,
                    Ok(Handled::Started(syncs)) => {
                        end.started.push(Started { number: event.number, syncs });
                        Settled::Started
                    }
                    Ok(Handled::Blocked) => {
                        end.wait_until = Some(self.later());
                        return Ok(());
                    }
                    Err(error) if error.is_taken() => return Err(error),
                    Err(error) => self.failed(&end.connection, &event, &error),
                };
                let (number, now) = (event.number, self.now());
                session.call(move |store| store.settle(number, &settled, now)).await?;
            }
        }
    }

    /// What becomes of an event that failed: what another time may change nothing is not tried again.
    fn failed(&self, connection: &str, event: &InboxEvent, error: &Error) -> Settled {
        let mut text = error.to_string();
        let cut = text.floor_char_boundary(limits::INBOX_ERROR_BYTES_MAX);
        text.truncate(cut);
        let may_pass = matches!(error.kind(), ErrorKind::Remote | ErrorKind::Store | ErrorKind::Bug);
        if may_pass && event.attempts + 1 < limits::INBOX_ATTEMPTS {
            let wait = limits::INBOX_RETRY_WAIT.saturating_mul(1 << event.attempts.min(16));
            return Settled::Again { due_at: self.now() + wait, error: text };
        }
        self.webhooks.tell_event(connection, event.number, error);
        Settled::Failed { error: text }
    }

    async fn handle(
        &self,
        session: &Session,
        syncs: &[Arc<SyncPlan>],
        event: &InboxEvent,
        status: &HashMap<SyncId, SlotStatus>,
    ) -> Result<Handled, Error> {
        let arrival = Arrival::new(event)?;
        let mut fitting = Vec::new();
        for sync in syncs {
            for on in &sync.on_webhook {
                let is_kind = on.kind.is_none() || on.kind == event.kind;
                if is_kind && on.when.as_ref().map_or(Ok(true), |when| arrival.fits(sync, when, session))? {
                    fitting.push((sync, &on.then));
                }
            }
        }
        if fitting.is_empty() {
            return Ok(Handled::Settled(Settled::Ignored));
        }
        let runs_since = |id: &SyncId| {
            let slot = status.get(id).filter(|slot| slot.state == SlotState::Running);
            slot.and_then(|slot| slot.runs.began_at).is_some_and(|began| began <= event.received_at)
        };
        if fitting.iter().any(|(sync, action)| waits_for_runs(sync, action) && runs_since(&sync.id)) {
            return Ok(Handled::Blocked);
        }
        let mut to_run = Vec::new();
        for (sync, action) in fitting {
            match action {
                WebhookAction::Run => {
                    let slot = status.get(&sync.id);
                    // one that began since has read it, or does; a sync that is paused does not run by itself
                    let is_wanted = slot.is_some_and(|slot| {
                        !slot.paused && slot.runs.began_at.is_none_or(|began| began < event.received_at)
                    });
                    if slot.is_some_and(|slot| !slot.paused) && !to_run.contains(&sync.id) {
                        to_run.push(sync.id.clone());
                    }
                    if is_wanted {
                        // many times are one; a scheduler that does not answer has ended
                        drop(ask(&self.commands, |reply| Command::Run(vec![sync.id.clone()], false, reply)).await);
                    }
                }
                action => session.take_in(sync, action, &arrival, self.observer(&sync.id.connection)).await?,
            }
        }
        Ok(if to_run.is_empty() { Handled::Settled(Settled::Done) } else { Handled::Started(to_run) })
    }

    fn observer(&self, connection: &str) -> Observer {
        let (watcher, connection) = (Arc::clone(&self.webhooks.watcher), connection.to_owned());
        Arc::new(move |sync, event| {
            if let Event::Waiting { reason, wait } = event {
                let problem = format!("an event waits {}: {reason}", humantime::format_duration(wait));
                watcher(None, sync, Event::Webhook { connection: connection.clone(), problem });
            }
        })
    }
}
