//! The database of a daemon: taken by whoever needs it first, and let go of when nobody does, so that other commands can use it in between.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::Watcher;
use crate::engine::{Error, Event, Host, Session};
use crate::store::{Queues, Store};

/// The way to the database.
pub struct Door {
    host: Arc<Host>,
    watcher: Watcher,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    session: Option<Arc<Session>>,
    /// what waited when it was let go of; nobody has changed that in this process since
    queues: Queues,
}

impl Door {
    /// A door that is closed.
    pub fn new(host: Arc<Host>, watcher: Watcher) -> Arc<Self> {
        Arc::new(Self { host, watcher, open: Mutex::default() })
    }

    /// Where runs happen.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The database, to read and write. It stays open while anybody holds what this gives, and until [`Door::close`].
    ///
    /// # Errors
    /// [`Error::Store`]: another process works on it, or it cannot be opened.
    pub async fn session(&self) -> Result<Arc<Session>, Error> {
        let mut open = self.open.lock().await;
        if let Some(session) = &open.session {
            return Ok(Arc::clone(session));
        }
        let watcher = Arc::clone(&self.watcher);
        let waiting = move |holder: &str| watcher(None, None, Event::Locked { holder: holder.to_owned() });
        let session = Arc::new(self.host.open(Box::new(waiting)).await?);
        open.session = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Whether it is open.
    pub async fn is_open(&self) -> bool {
        self.open.lock().await.session.is_some()
    }

    /// How much waits in the database: now if it is open, else when it was let go of.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn queues(&self) -> Result<Queues, Error> {
        let session = {
            let open = self.open.lock().await;
            let Some(session) = &open.session else { return Ok(open.queues) };
            Arc::clone(session)
        };
        session.call(Store::queues).await
    }

    /// Lets go of the database if nobody else holds it; whether it is closed now.
    ///
    /// # Errors
    /// [`Error::Bug`].
    pub async fn close(&self) -> Result<bool, Error> {
        let mut open = self.open.lock().await;
        let Some(session) = open.session.take() else { return Ok(true) };
        match Arc::try_unwrap(session) {
            Err(session) => {
                open.session = Some(session);
                Ok(false)
            }
            Ok(session) => {
                // numbers for people: whatever is wrong is told by who works with it
                open.queues = session.call(Store::queues).await.unwrap_or(open.queues);
                if let Some(why) = session.close().await? {
                    (self.watcher)(None, None, Event::NotPublished { why });
                }
                Ok(true)
            }
        }
    }
}
