//! What receiving events and working them off share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore};

use crate::engine::{Delivery, Error, Event, Keys, Received, Reception, Refusal};
use crate::plan::{ConnectionPlan, SyncPlan, limits};
use crate::serve::{Door, Watcher};

/// What receiving and working off share.
pub struct Webhooks {
    pub(super) door: Arc<Door>,
    pub(super) watcher: Watcher,
    receivers: RwLock<Arc<Receivers>>,
    /// deliveries that may be read and checked
    pub(super) room: Semaphore,
    /// something is in the inbox
    pub(super) arrived: Notify,
    keys: Mutex<HashMap<String, (DateTime<Utc>, Keys)>>,
    /// when something was told of a connection last
    told: Mutex<HashMap<String, DateTime<Utc>>>,
}

/// Who receives.
pub(super) struct Receivers {
    pub(super) connections: Vec<Arc<ConnectionPlan>>,
    /// those with `on_webhook`
    pub(super) syncs: Vec<Arc<SyncPlan>>,
}

impl Receivers {
    fn of(syncs: &[Arc<SyncPlan>]) -> Arc<Self> {
        let mut connections: Vec<Arc<ConnectionPlan>> = Vec::new();
        for sync in syncs.iter().filter(|sync| sync.connection.webhooks.is_some()) {
            if !connections.iter().any(|known| known.name == sync.connection.name) {
                connections.push(Arc::clone(&sync.connection));
            }
        }
        let syncs = syncs.iter().filter(|sync| !sync.on_webhook.is_empty()).cloned().collect();
        Arc::new(Self { connections, syncs })
    }
}

impl Webhooks {
    /// For these syncs and their connections.
    pub fn new(syncs: &[Arc<SyncPlan>], door: Arc<Door>, watcher: Watcher) -> Arc<Self> {
        Arc::new(Self {
            door,
            watcher,
            receivers: RwLock::new(Receivers::of(syncs)),
            room: Semaphore::new(limits::WEBHOOKS_AT_ONCE),
            arrived: Notify::new(),
            keys: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// These are the syncs from now on.
    pub(in crate::serve) fn replan(&self, syncs: &[Arc<SyncPlan>]) {
        *self.receivers.write().unwrap_or_else(PoisonError::into_inner) = Receivers::of(syncs);
        // nobody works off what nobody receives
        self.arrived.notify_one();
    }

    /// Who receives.
    pub(super) fn receivers(&self) -> Arc<Receivers> {
        Arc::clone(&self.receivers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What deliveries to a connection are checked with. Blocks: they may be in a file.
    pub(super) fn keys(&self, connection: &ConnectionPlan) -> Result<Keys, Error> {
        let now = self.door.host().now();
        let is_fresh = |at: DateTime<Utc>| (now - at).abs().to_std().is_ok_and(|age| age < limits::WEBHOOK_KEYS_KEPT);
        let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&connection.name).cloned();
        if let Some((_, keys)) = known.filter(|(at, _)| is_fresh(*at)) {
            return Ok(keys);
        }
        let keys = self.door.host().keys(connection)?;
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(connection.name.clone(), (now, keys.clone()));
        Ok(keys)
    }

    /// Reads a delivery to one of these connections. Blocks.
    pub(super) fn examine(&self, for_whom: &[Arc<ConnectionPlan>], delivery: &Delivery) -> Result<Received, Refusal> {
        let reception = Reception {
            keys: &|connection| self.keys(connection),
            tell: &|connection, problem| self.tell(connection, problem),
            now: self.door.host().now(),
        };
        reception.read(for_whom, delivery)
    }

    /// Tells whoever watches; of what anybody can bring about not more than once in a while.
    pub(super) fn tell(&self, connection: &str, problem: String) {
        let now = self.door.host().now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let often = told
            .get(connection)
            .is_some_and(|at| (now - *at).to_std().is_ok_and(|age| age < limits::WEBHOOK_TOLD_EVERY));
        if !often {
            told.insert(connection.to_owned(), now);
            drop(told);
            (self.watcher)(None, None, Event::Webhook { connection: connection.to_owned(), problem });
        }
    }

    pub(super) fn tell_event(&self, connection: &str, number: i64, error: &Error) {
        let problem = format!("event {number} of the inbox: {error}");
        (self.watcher)(None, None, Event::Webhook { connection: connection.to_owned(), problem });
    }
}
