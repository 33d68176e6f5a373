//! Locks over processes: advisory ones of the operating system, which go when the process does.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::error::StoreError;
use super::file::open_lock;

/// Proof that nobody else, in this process or another, has the lock. It is free when this is dropped.
#[derive(Debug)]
pub struct RefreshLock {
    file: File,
}

impl RefreshLock {
    /// Takes the lock that is the file `path`, or waits for it up to `wait`. `what` says in a message what is locked.
    ///
    /// # Errors
    /// [`StoreError::Locked`] after the wait, or the system says no.
    pub(super) fn take(path: &Path, what: &str, wait: Duration) -> Result<Self, StoreError> {
        let mut file = open_lock(path)?;
        let mut waited = Duration::ZERO;
        let mut pause = FIRST;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if waited < wait => {
                    let now = pause.min(wait - waited);
                    sleep(now);
                    waited += now;
                    pause = (pause * 2).min(LONGEST);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Locked { what: what.to_owned(), waited, holder: holder(path) });
                }
                Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", path)(source)),
            }
        }
        // the id is a help for people: without it the lock is as good
        drop(file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())));
        Ok(Self { file })
    }
}

impl Drop for RefreshLock {
    fn drop(&mut self) {
        // closing is not enough: a process that is just being started has the file too, until it runs its own program
        drop(self.file.unlock());
    }
}

const FIRST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "the callers are on blocking threads, and the wait is bounded")]
pub(super) fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

#[expect(clippy::disallowed_methods, reason = "the credential store owns its lock files")]
fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok().and_then(|id| id.trim().parse().ok())
}
