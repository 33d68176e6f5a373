//! What runs share: the way to each API, the thread that writes, how many run at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio::sync::{Semaphore, watch};

use super::fetch::Noted;
use super::meter::Meter;
use super::sync::Task;
use super::writer::Writer;
use super::{Clock, Error, Event, Observer, SyncReport};
use crate::plan::{Budget, ConnectionPlan, NotifyPlan, Plan, PublishPlan, SyncPlan, limits};
use crate::remote::{Access, Client, CredentialStore, Keys, Script, Sockets, Tap, TokenObserver};
use crate::scan::Wish;
use crate::store::{self, Store, WaitObserver};

/// Where runs happen.
pub struct HostOptions {
    /// the DuckDB file
    pub database: PathBuf,
    /// keeps the credentials of connections
    pub credential_store: CredentialStore,
    /// the copy to make afterwards
    pub publish: Option<PublishPlan>,
    /// who is told what happens
    pub notify: Arc<[NotifyPlan]>,
    /// keep each request in `headwater.requests`, with its secrets masked
    pub log_requests: bool,
    /// tell whoever watches of each request
    pub tell_requests: bool,
    /// what tells the time
    pub clock: Clock,
    /// the oldest a fetched page may get before it is committed
    pub group_age_max: Duration,
    /// how many bytes of rows wait before they are compared with their table
    pub compare_every: usize,
    /// how many syncs run at once, one or more
    pub at_once: usize,
    /// who watches what is no single run's
    pub observer: Observer,
    /// who is told of each request and its answer, secrets and all
    pub tap: Option<Arc<Tap>>,
}

impl HostOptions {
    /// A host with this database and the credentials of this project folder: nothing is copied, nobody is told.
    pub fn new(database: PathBuf, folder: &Path, clock: Clock) -> Self {
        Self {
            database,
            credential_store: CredentialStore::of_project(folder),
            publish: None,
            notify: Arc::default(),
            log_requests: false,
            tell_requests: false,
            clock,
            group_age_max: limits::GROUP_AGE_MAX,
            compare_every: limits::COMPARED_BYTES_MAX,
            at_once: limits::SYNCS_AT_ONCE,
            observer: Arc::new(|_, _| {}),
            tap: None,
        }
    }

    /// A host for what a project's plan names.
    pub fn of(plan: &Plan, clock: Clock) -> Self {
        let (publish, notify) = (plan.publish.clone(), Arc::clone(&plan.notify));
        Self { publish, notify, ..Self::new(plan.database.clone(), &plan.folder, clock) }
    }
}

/// What one run of one sync is to do.
pub struct RunOptions {
    /// names the run in `headwater.runs`
    pub run_id: String,
    /// when it began
    pub started_at: DateTime<Utc>,
    /// read everything again, delete past the guards
    pub wish: Wish,
    /// let tables lose what their models have no place for: dropped columns, values of another type, rows of another key
    pub allow_destructive: bool,
    /// where it stops, whatever the sync's own words allow
    pub budget: Budget,
    /// who watches
    pub observer: Observer,
    /// becomes true when it should stop between two commits
    pub stop: watch::Receiver<bool>,
}

/// What runs have in place of the network and of the credential store.
pub struct Offline {
    /// answers their requests; [`HostOptions::clock`] is its clock
    pub script: Arc<Script>,
    /// what their one connection gets in with
    pub access: Access,
}

/// Where runs happen, for as long as there may be any: it keeps what is known of the APIs' budgets and the tokens that are good.
pub struct Host {
    options: HostOptions,
    clients: Mutex<Clients>,
    permits: Arc<Semaphore>,
    /// the folder of the DuckDB file
    folder: Arc<Path>,
}

impl Host {
    /// A host that has asked nobody for anything yet.
    pub fn new(options: HostOptions, offline: Option<Offline>) -> Arc<Self> {
        let folder = store::folder_of(&options.database).into();
        let clients = Mutex::new(Clients::new(offline, options.tap.clone()));
        let permits = Arc::new(Semaphore::new(options.at_once));
        Arc::new(Self { options, clients, permits, folder })
    }

    /// Takes the database, making it if there is none. `waiting` is told when another process has the file.
    ///
    /// # Errors
    /// The database cannot be opened, or another process works on it.
    pub async fn open(self: &Arc<Self>, waiting: WaitObserver) -> Result<Session, Error> {
        self.open_with(waiting, Store::open_for_run).await
    }

    /// The same with another way to open the database.
    pub(super) async fn open_with(
        self: &Arc<Self>,
        waiting: WaitObserver,
        open_store: fn(&Path, WaitObserver) -> Result<Store, store::Error>,
    ) -> Result<Session, Error> {
        let (writer, thread) = Writer::start(self.options.database.clone(), waiting, open_store).await?;
        let (notify, now) = (Arc::clone(&self.options.notify), self.now());
        writer.call(move |store| store.tell(notify, now)).await?;
        Ok(Session { host: Arc::clone(self), writer, thread })
    }

    /// How many syncs run at once.
    pub fn at_once(&self) -> usize {
        self.options.at_once
    }

    /// When the database was changed last; none where there is none.
    pub fn database_changed_at(&self) -> Option<SystemTime> {
        store::changed_at(&self.options.database)
    }

    /// The way to the API of a connection, and what tells the time.
    pub(super) fn client(&self, plan: &SyncPlan) -> (Result<Client, Arc<crate::remote::Error>>, Clock) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        (clients.client(plan, &self.options).map_err(Arc::new), Arc::clone(&self.options.clock))
    }

    /// Waits for the tokens that are being made: nobody may be left with half of one.
    pub(super) async fn settled(&self) {
        let made: Vec<Client> =
            self.clients.lock().unwrap_or_else(PoisonError::into_inner).made.values().cloned().collect();
        for client in made {
            client.settled().await;
        }
    }

    /// The DuckDB file.
    pub(super) fn database(&self) -> &Path {
        &self.options.database
    }

    /// What deliveries to a connection are checked with.
    ///
    /// # Errors
    /// Secrets that are not there.
    pub fn keys(&self, connection: &ConnectionPlan) -> Result<Keys, Error> {
        let HostOptions { credential_store, clock, .. } = &self.options;
        let access = Access::while_connecting(connection, credential_store, Arc::clone(clock)).map_err(Arc::new)?;
        Ok(Keys::of(connection, &access))
    }

    /// What tells the time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.options.clock)()
    }
}

/// The database while runs write it. To be closed.
pub struct Session {
    pub(super) host: Arc<Host>,
    writer: Writer,
    thread: JoinHandle<()>,
}

impl Session {
    /// A run of a sync; it begins when it is awaited, and when fewer than [`HostOptions::at_once`] others run.
    pub fn run(&self, plan: &Arc<SyncPlan>, wanted: RunOptions) -> impl Future<Output = SyncReport> + Send + use<> {
        let RunOptions { run_id, started_at, wish, allow_destructive, budget, observer, stop } = wanted;
        let HostOptions { log_requests, tell_requests, group_age_max, compare_every, .. } = &self.host.options;
        let (client, clock) = self.host.client(plan);
        let task = Task {
            plan: Arc::clone(plan),
            client,
            writer: self.writer.clone(),
            run_id,
            started_at,
            wish,
            allow_destructive,
            meter: Meter::new(plan.budget, budget),
            noted: Noted { kept: *log_requests, told: *tell_requests },
            observer,
            clock,
            stop,
            group_age_max: *group_age_max,
            compare_every: *compare_every,
            folder: Arc::clone(&self.host.folder),
        };
        let permits = Arc::clone(&self.host.permits);
        async move {
            let _held = permits.acquire_owned().await;
            task.run().await
        }
    }

    /// Does `job` between two commits.
    ///
    /// # Errors
    /// Those of the job.
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.writer.call(job).await
    }

    /// Whether the thread that writes is there. It goes by a mistake in headwater alone, and then nothing can be done with the session.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Makes the copy that `publish` asks for, if it does.
    ///
    /// # Errors
    /// The copy cannot be made.
    pub async fn publish(&self) -> Result<(), Error> {
        let Some(publish) = self.host.options.publish.clone() else { return Ok(()) };
        // who only read has nothing new to publish
        let publish =
            move |store: &mut Store| if store.has_news(&publish.path) { store.publish(&publish.path) } else { Ok(()) };
        self.call(publish).await
    }

    /// Lets go of the database, when all runs have ended and the tokens that are being made are there: nobody may be left with half of one.
    /// The copy that `publish` asks for is made before; gives why it could not be.
    ///
    /// # Errors
    /// [`Error::Bug`].
    pub async fn close(self) -> Result<Option<String>, Error> {
        self.host.settled().await;
        let publish_error = self.publish().await.err().map(|error| error.to_string());
        let Self { host: _, writer, thread } = self;
        drop(writer);
        // the thread ends with its last writer, and a task that has one may wait for the very worker that would wait here
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => Ok(publish_error),
            Ok(Err(_)) | Err(_) => Err(Error::Bug("the store's thread panicked".into())),
        }
    }
}

/// One client for each connection that has one. Plans may change meanwhile, connections never do: the API sets inputs and variants alone.
struct Clients {
    made: HashMap<String, Client>,
    sockets: Sockets,
    /// what the one connection gets in with where nothing is sent
    access: Option<Access>,
}

impl Clients {
    fn new(offline: Option<Offline>, tap: Option<Arc<Tap>>) -> Self {
        let (sockets, access) = match offline {
            Some(Offline { script, access }) => (Sockets::scripted(script), Some(access)),
            None => (tap.map_or_else(Sockets::default, Sockets::tapped), None),
        };
        Self { made: HashMap::new(), sockets, access }
    }

    fn client(&mut self, plan: &SyncPlan, options: &HostOptions) -> Result<Client, crate::remote::Error> {
        let Self { made, sockets, access } = self;
        if let Some(client) = made.get(&plan.id.connection) {
            return Ok(client.clone());
        }
        let HostOptions { credential_store, clock, observer, .. } = options;
        // a secret that lacks today may be there at the next run
        let read = || Access::of(&plan.connection, credential_store, Arc::clone(clock));
        let access = access.clone().map_or_else(read, Ok)?.telling(of_tokens(observer));
        let client = Client::sharing(Arc::clone(&plan.connection), access, sockets)?;
        made.insert(plan.id.connection.clone(), client.clone());
        Ok(client)
    }
}

/// Tells whoever watches what the database is waited for.
pub(super) fn waiting(observer: &Observer) -> WaitObserver {
    let observer = Arc::clone(observer);
    Box::new(move |holder| observer(None, Event::Locked { holder: holder.to_owned() }))
}

/// Tells whoever watches of tokens.
fn of_tokens(observer: &Observer) -> TokenObserver {
    let observer = Arc::clone(observer);
    Arc::new(move |connection, outcome, why| {
        let (connection, provider) = (connection.name.clone(), connection.provider.clone());
        observer(None, Event::Token { connection, provider, outcome, why: why.map(str::to_owned) });
    })
}

/// The name of a run: sorts by time and is unique on one machine.
pub fn run_id(started: DateTime<Utc>) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let id = format!("{}-{}", started.format("%Y%m%dT%H%M%S%.3fZ"), std::process::id());
    match RUNS.fetch_add(1, Ordering::Relaxed) {
        0 => id,
        earlier => format!("{id}.{earlier}"),
    }
}
