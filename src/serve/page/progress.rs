//! What runs have done so far.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::{Clock, Event};
use crate::plan::SyncId;
use crate::serve::Watcher;

/// What runs have done so far: as much as there are syncs that run. Clones are of the same.
#[derive(Clone)]
pub struct Progress {
    running: Arc<Mutex<HashMap<SyncId, Doing>>>,
    clock: Clock,
}

/// What one run has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Doing {
    /// names the run
    pub run_id: String,
    /// it goes on where an earlier one stopped
    pub resumed: bool,
    /// why it starts over
    pub restarted: Option<String>,
    /// pages that have come
    pub pages: u64,
    /// records on them
    pub records: u64,
    /// of how many, if the API says
    pub total: Option<u64>,
    /// rows that are committed
    pub rows: u64,
    /// what it waits for, and until when
    pub waiting: Option<(String, DateTime<Utc>)>,
    /// waits so far
    pub waits: u64,
}

impl Progress {
    /// Nothing runs.
    pub fn new(clock: Clock) -> Self {
        Self { running: Arc::default(), clock }
    }

    /// A watcher that notes what runs do, and tells another one.
    pub fn watching(&self, next: Watcher) -> Watcher {
        let progress = self.clone();
        Arc::new(move |run_id, sync, event| {
            if let (Some(run_id), Some(id)) = (run_id, sync) {
                progress.note(run_id, id, &event);
            }
            next(run_id, sync, event);
        })
    }

    /// What a sync has done in its run; nothing where it does not run.
    pub(super) fn of(&self, id: &SyncId) -> Option<Doing> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn note(&self, run_id: &str, id: &SyncId, event: &Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { resumed, restarted } => {
                let begun = Doing {
                    run_id: run_id.to_owned(),
                    resumed: *resumed,
                    restarted: restarted.clone(),
                    ..Doing::default()
                };
                running.insert(id.clone(), begun);
            }
            Event::Finished(_) => drop(running.remove(id)),
            Event::Page { records, total } => {
                let Some(doing) = running.get_mut(id) else { return };
                doing.pages += 1;
                doing.records += records;
                doing.total = total.or(doing.total);
                doing.waiting = None;
            }
            Event::Waiting { reason, wait } => {
                let Some(doing) = running.get_mut(id) else { return };
                let until = (self.clock)() + TimeDelta::from_std(*wait).unwrap_or_default();
                doing.waits += 1;
                doing.waiting = Some((reason.clone(), until));
            }
            Event::Committed { rows, .. } => {
                let Some(doing) = running.get_mut(id) else { return };
                doing.rows += rows;
            }
            Event::Locked { .. }
            | Event::Webhook { .. }
            | Event::NotPublished { .. }
            | Event::NotTold { .. }
            | Event::Request(_)
            | Event::Token { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_run_is_known_while_it_lasts() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let progress = Progress::new(Arc::new(move || now));
        let watcher = progress.watching(Arc::new(|_, _, _| {}));
        let [connection, provider, sync, variant] = ["acme", "api", "items", ""].map(str::to_owned);
        let id = SyncId { connection, provider, sync, variant };
        let tell = |event| watcher(Some("r1"), Some(&id), event);
        tell(Event::Page { records: 5, total: None });
        assert_eq!(progress.of(&id), None, "it has not begun");
        tell(Event::Started { resumed: true, restarted: None });
        tell(Event::Page { records: 5, total: Some(20) });
        tell(Event::Waiting { reason: "429".into(), wait: Duration::from_secs(3) });
        let seen = progress.of(&id).expect("it runs");
        assert_eq!(seen.waiting, Some(("429".into(), now + TimeDelta::seconds(3))));
        tell(Event::Page { records: 6, total: None });
        tell(Event::Committed { rows: 10, took: Duration::ZERO });
        let seen = progress.of(&id).expect("it runs");
        let counts = (seen.pages, seen.records, seen.total, seen.rows, seen.waits, seen.waiting);
        assert_eq!(counts, (2, 11, Some(20), 10, 1, None));
    }
}
