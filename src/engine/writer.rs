//! The one thread that holds the store. Commits of all syncs queue here; the file is let go when nothing waits.

use std::path::PathBuf;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

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
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (jobs, mut queue) = mpsc::channel::<Job>(limits::GROUPS_IN_FLIGHT);
        let (opened, open) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                let mut store = match Store::open_for_run(&path, waiting) {
                    Ok(store) => store,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                if opened.send(Ok(())).is_err() {
                    return;
                }
                while let Some(job) = queue.blocking_recv() {
                    job(&mut store);
                    if queue.is_empty() {
                        // what is committed is safe in the file's log; the next job attaches again and says what is wrong
                        drop(store.release());
                    }
                }
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

fn lost() -> Error {
    Error::Bug("the store's thread has ended".into())
}
