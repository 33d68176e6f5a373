//! The one thread that holds the store. Commits of all syncs queue here; the file is let go when nothing comes for a moment.
//!
//! Letting go folds the write-ahead log into the file, and that rewrites the row group that is being filled. Done after each commit it
//! took half the CPU time of a first load and made the file 1.7 times as large, so commits that follow each other quickly share one.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Error;
use crate::plan::limits;
use crate::store::{self, Store};

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// The writer's door. Clones share the thread; it ends when the last is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Opens the database and starts the thread.
    pub(super) async fn start(
        path: PathBuf,
        waiting: store::WaitObserver,
        open_store: fn(&Path, store::WaitObserver) -> Result<Store, store::Error>,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (jobs, queue) = mpsc::channel::<Job>(limits::GROUPS_IN_FLIGHT);
        let (opened, open) = oneshot::channel();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                let mut store = match open_store(&path, waiting) {
                    Ok(store) => store,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                if opened.send(Ok(())).is_err() {
                    return;
                }
                work(&mut store, queue, &runtime);
            })
            .map_err(|error| Error::Bug(format!("no thread for the store: {error}")))?;
        open.await.map_err(|_| lost())??;
        Ok((Self { jobs }, thread))
    }

    /// Runs `job` on the writer's thread.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Store) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |store| drop(done.send(job(store))));
        self.jobs.send(job).await.map_err(|_| lost())?;
        Ok(result.await.map_err(|_| lost())??)
    }
}

/// Runs jobs until no one can send another.
fn work(store: &mut Store, mut queue: mpsc::Receiver<Job>, runtime: &Handle) {
    let mut brief = 0;
    while let Some(job) = queue.blocking_recv() {
        let taken = now();
        job(store);
        while let Some(job) = next(&mut queue, taken, runtime) {
            job(store);
        }
        let follows = taken.elapsed() >= limits::FILE_HELD_MAX;
        brief = if follows && brief < limits::RELEASED_BRIEFLY_MAX { brief + 1 } else { 0 };
        // what is committed is safe in the file's log; the next job attaches again and says what is wrong
        drop(if brief > 0 { store.release_briefly() } else { store.release() });
        if follows {
            // commits follow each other: others that try for the file now and then have to meet it free
            runtime.block_on(async { tokio::time::sleep(limits::FILE_FREE_MIN).await });
        }
    }
}

/// A job that comes soon enough to keep the file for it, which was taken at `taken`. However many wait, the file is let go now and then.
fn next(queue: &mut mpsc::Receiver<Job>, taken: Instant, runtime: &Handle) -> Option<Job> {
    let left = limits::FILE_HELD_MAX.saturating_sub(taken.elapsed());
    if left.is_zero() {
        return None;
    }
    let wait = limits::FILE_HELD_IDLE_MAX.min(left);
    runtime.block_on(async { tokio::time::timeout(wait, queue.recv()).await }).ok().flatten()
}

#[expect(clippy::disallowed_methods, reason = "how long others are kept out of the file is measured by the engine")]
fn now() -> Instant {
    Instant::now()
}

fn lost() -> Error {
    Error::Bug("the store's thread has ended".into())
}
