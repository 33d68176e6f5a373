//! The store itself: one file, read as a whole and replaced as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::document::Document;
use super::entry::{Entry, Secrets};
use super::error::StoreError;
use super::file;
use super::key::Key;
use super::lock::RefreshLock;
use super::source::{Environment, Keys, Source, process_environment, save};
use crate::plan::{hex, limits};

/// The encrypted file beside the project: `<project folder>/.headwater/credentials.json`. Cheap to clone; all calls block.
#[derive(Clone)]
pub struct CredentialStore {
    folder: Arc<Path>,
    path: Arc<Path>,
    source: Source,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// the key that was made for it, where there was none: to be kept by a person
    pub new_key: Option<PathBuf>,
}

/// What came of a change of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// the id of the key before
    pub from: String,
    /// the id of the key now
    pub to: String,
    /// how many entries were sealed again
    pub entries: usize,
    /// the file of the new key, if headwater made it
    pub new_key: Option<PathBuf>,
    /// the file of the key before, if it could not be removed
    pub left: Option<PathBuf>,
}

/// What can be told of the store and its key.
#[derive(Debug)]
pub struct Status {
    /// the file
    pub path: PathBuf,
    /// the id of the key that it is sealed with; none if there is no file
    pub key: Option<String>,
    /// how many connections are kept
    pub connections: usize,
    /// where keys are looked for
    pub source: Option<String>,
    /// why the store cannot be used
    pub problem: Option<StoreError>,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// the new key is durable, and the store still has the old one
    KeyMade,
    /// the store has the new key, and the old one is still there
    Sealed,
}

impl CredentialStore {
    /// The store of the project in `folder`. Nothing is read yet. Keys come from the environment: see `docs/credentials.md`.
    pub fn of_project(folder: &Path) -> Self {
        Self::with_environment(folder, process_environment())
    }

    /// As [`CredentialStore::of_project`], with another environment than that of this process.
    pub fn with_environment(folder: &Path, environment: Environment) -> Self {
        let folder = folder.join(".headwater");
        let path = folder.join("credentials.json");
        Self { folder: folder.into(), path: path.into(), source: Source::new(environment) }
    }

    /// The file, which need not be there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What can be read without a key, by connection; nothing if there is no file. It is not proven to be what was written: only
    /// [`CredentialStore::read`] can tell.
    ///
    /// # Errors
    /// The file is damaged, foreign, or not for its owner alone.
    pub fn entries(&self) -> Result<BTreeMap<String, Entry>, StoreError> {
        let document = self.load()?;
        Ok(document.iter().flat_map(Document::entries).map(|(name, entry)| (name.to_owned(), entry.clone())).collect())
    }

    /// What is kept of a connection, if anything is. All of the file is authenticated.
    ///
    /// # Errors
    /// As [`CredentialStore::entries`], and where the key is not at hand.
    pub fn read(&self, connection: &str) -> Result<Option<(Entry, Secrets)>, StoreError> {
        let Some((document, key)) = self.load_with_key()? else {
            return Ok(None);
        };
        Ok(document.open(&key, &self.path)?.remove(connection))
    }

    /// Keeps a connection, in place of what was kept of it. It is durable when this returns. Where there is neither a file nor a key, a key
    /// is made. Where a person gave a new key before the old one, everything is sealed with the new one.
    ///
    /// # Errors
    /// As [`CredentialStore::read`]; another process writes for too long, or the file cannot be written. Then it is as it was.
    pub fn write(&self, connection: &str, entry: &Entry, secrets: &Secrets) -> Result<Written, StoreError> {
        // a command can take its time: it is not under the lock that it does
        self.source.keys()?;
        let _lock = self.lock_file()?;
        let found = match self.load()? {
            None => None,
            Some(document) => match self.find(&document.key) {
                Ok(found) => Some((document, found)),
                // nothing is sealed with the key that is not there
                Err(_) if document.entries().len() == 0 => None,
                Err(error) => return Err(error),
            },
        };
        let (document, old, new, new_key) = match found {
            Some((document, (keys, old))) => {
                let new = keys.first().map_or_else(|| Arc::clone(&old), Arc::clone);
                (document, old, new, None)
            }
            None => {
                let (key, made) = self.first_key()?;
                (Document::empty(&key), Arc::clone(&key), key, made)
            }
        };
        let written = self.sealed_anew(document, &old, &new).and_then(|mut document| {
            document.put(&new, connection, entry, secrets)?;
            self.save(&document)
        });
        if let Err(error) = written {
            self.discard(&new, new_key.as_deref());
            return Err(error);
        }
        Ok(Written { new_key })
    }

    /// Forgets a connection; whether there was one. It needs no key.
    ///
    /// # Errors
    /// As [`CredentialStore::write`].
    pub fn remove(&self, connection: &str) -> Result<bool, StoreError> {
        if self.load()?.is_none() {
            return Ok(false);
        }
        let _lock = self.lock_file()?;
        let Some(mut document) = self.load()? else {
            return Ok(false);
        };
        let was_there = document.remove(connection);
        if was_there {
            self.save(&document)?;
        }
        Ok(was_there)
    }

    /// Changes what is open of a connection; whether there is one. It is sealed again, because the open part is authenticated too.
    ///
    /// # Errors
    /// As [`CredentialStore::write`].
    pub fn mark(&self, connection: &str, change: impl FnOnce(&mut Entry)) -> Result<bool, StoreError> {
        if self.load()?.is_none() {
            return Ok(false);
        }
        self.source.keys()?;
        let _lock = self.lock_file()?;
        let Some(document) = self.load()? else {
            return Ok(false);
        };
        let (keys, old) = self.find(&document.key)?;
        let Some((mut entry, secrets)) = document.open(&old, &self.path)?.remove(connection) else {
            return Ok(false);
        };
        change(&mut entry);
        let new = keys.first().unwrap_or(&old);
        let mut document = self.sealed_anew(document, &old, new)?;
        document.put(new, connection, &entry, &secrets)?;
        self.save(&document)?;
        Ok(true)
    }

    /// Seals everything with another key: with the first of those that a person gave, else with one that is made now, whose file takes the
    /// place of the old one's. Killed anywhere, the store still opens. `None` if there is no store.
    ///
    /// # Errors
    /// As [`CredentialStore::write`]; [`StoreError::SameKey`] where a person has put no new key before the old one.
    pub fn rotate(&self) -> Result<Option<Rotated>, StoreError> {
        self.rotate_by_steps(|_| {})
    }

    pub(super) fn rotate_by_steps(&self, mut done: impl FnMut(Step)) -> Result<Option<Rotated>, StoreError> {
        if self.load()?.is_none() {
            return Ok(None);
        }
        self.source.forget();
        self.source.keys()?;
        let _lock = self.lock_file()?;
        let Some(document) = self.load()? else {
            return Ok(None);
        };
        let (keys, old) = self.find(&document.key)?;
        let (new, new_key, old_key) = match keys {
            Keys::Given { name, keys } => match keys.into_iter().next().filter(|new| new.id() != old.id()) {
                Some(new) => (new, None, None),
                None => {
                    let (path, key) = (self.path.to_path_buf(), old.id().to_owned());
                    return Err(StoreError::SameKey { path, key, source_name: name });
                }
            },
            Keys::Folder(folder) => {
                let new = Arc::new(Key::generate()?);
                let path = save(&folder, &new)?;
                (new, Some(path), Some(folder.join(old.id())))
            }
        };
        done(Step::KeyMade);
        let sealed = self.sealed_anew(document, &old, &new).and_then(|document| {
            self.save(&document)?;
            Ok(document)
        });
        let document = match sealed {
            Ok(document) => document,
            Err(error) => {
                self.discard(&new, new_key.as_deref());
                return Err(error);
            }
        };
        done(Step::Sealed);
        let left = old_key.filter(|path| file::remove(path).is_err() && path.exists());
        let entries = document.entries().len();
        Ok(Some(Rotated { from: old.id().to_owned(), to: new.id().to_owned(), entries, new_key, left }))
    }

    /// Takes the lock under which the token of a connection is refreshed, by one process and one caller at a time. It is free when it is
    /// dropped, and when the process ends however it ends.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another has it for longer than `wait`.
    pub fn lock(&self, connection: &str, wait: Duration) -> Result<RefreshLock, StoreError> {
        self.make_folder()?;
        // names of connections need not be names of files
        let hash = hex(digest(&SHA256, connection.as_bytes()));
        let name = hash.get(..16).unwrap_or_default();
        let what = format!("the token of connection `{connection}`");
        RefreshLock::take(&self.folder.join(format!("refresh-{name}.lock")), &what, wait)
    }

    /// What can be told of the store and its key, problems included.
    pub fn status(&self) -> Status {
        let path = self.path.to_path_buf();
        let mut status = Status { path, key: None, connections: 0, source: None, problem: None };
        let mut look = || {
            if let Some(document) = self.load()? {
                status.connections = document.entries().len();
                status.key = Some(document.key);
            }
            status.source = Some(self.source.keys()?.name());
            self.load_with_key()?.map_or(Ok(()), |(document, key)| document.open(&key, &self.path).map(drop))
        };
        status.problem = look().err();
        status
    }

    fn load(&self) -> Result<Option<Document>, StoreError> {
        let bytes = file::read(&self.path, limits::CREDENTIALS_BYTES_MAX, |path| StoreError::Damaged {
            path: path.to_owned(),
            detail: format!("it is larger than {} MiB", limits::CREDENTIALS_BYTES_MAX >> 20),
        })?;
        bytes.map(|bytes| Document::parse(&bytes, &self.path)).transpose()
    }

    /// The file and its key. A rotation between the reading of the one and of the other is no error.
    fn load_with_key(&self) -> Result<Option<(Document, Arc<Key>)>, StoreError> {
        let mut loaded = self.load()?;
        let mut readings = 1;
        while let Some(document) = loaded {
            match self.find(&document.key) {
                Ok((_, key)) => return Ok(Some((document, key))),
                Err(error) => {
                    loaded = self.load()?;
                    readings += 1;
                    let changed = loaded.as_ref().is_none_or(|now| now.key != document.key);
                    if !changed || readings > limits::CREDENTIALS_READS_MAX {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The keys at hand and the one of this id. A command is asked again where what it has printed is without it.
    fn find(&self, id: &str) -> Result<(Keys, Arc<Key>), StoreError> {
        let mut keys = self.source.keys()?;
        if !keys.has(id) && self.source.forget() {
            keys = self.source.keys()?;
        }
        let key = keys.find(id, &self.path, &self.source)?;
        Ok((keys, key))
    }

    /// The key for a store that has none, and its file if it is made now.
    fn first_key(&self) -> Result<(Arc<Key>, Option<PathBuf>), StoreError> {
        match self.source.keys()? {
            Keys::Given { keys, .. } => Ok((keys.into_iter().next().expect("at least one is given"), None)),
            Keys::Folder(folder) => {
                let key = Key::generate()?;
                let path = save(&folder, &key)?;
                Ok((Arc::new(key), Some(path)))
            }
        }
    }

    /// Removes the file of a key that was made in vain: only when it is sure that nothing is sealed with it. A write can fail after its file is
    /// in place, when the folder cannot be synced. A key that stays does no harm.
    pub(super) fn discard(&self, key: &Key, path: Option<&Path>) {
        let Some(path) = path else { return };
        if self.load().is_ok_and(|document| document.is_none_or(|document| document.key != key.id())) {
            drop(file::remove(path));
        }
    }

    /// The same entries, sealed with `new`. All are opened in any case: what is damaged is not carried on.
    fn sealed_anew(&self, document: Document, old: &Key, new: &Key) -> Result<Document, StoreError> {
        let opened = document.open(old, &self.path)?;
        if document.key == new.id() {
            return Ok(document);
        }
        let mut sealed = Document::empty(new);
        for (name, (entry, secrets)) in &opened {
            sealed.put(new, name, entry, secrets)?;
        }
        Ok(sealed)
    }

    fn save(&self, document: &Document) -> Result<(), StoreError> {
        file::replace(&self.path, &document.bytes(&self.path)?)
    }

    fn make_folder(&self) -> Result<(), StoreError> {
        file::make_folder(&self.folder)?;
        let ignore = self.folder.join(".gitignore");
        if !ignore.exists() {
            match file::create(&ignore, b"*\n") {
                // another was faster
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => drop(made?),
            }
        }
        Ok(())
    }

    /// The lock under which the file is read, changed and written.
    fn lock_file(&self) -> Result<RefreshLock, StoreError> {
        self.make_folder()?;
        let what = format!("the credential store `{}`", self.path.display());
        RefreshLock::take(&self.folder.join("credentials.lock"), &what, limits::CREDENTIALS_WAIT_MAX)
    }
}

impl fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialStore").field("path", &self.path).finish_non_exhaustive()
    }
}
