//! Where the key comes from: a variable, a file, a command, or the folder of keys that headwater makes itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;

use super::error::StoreError;
use super::key::Key;
use super::{command, file};
use crate::plan::limits;

pub(super) const VARIABLE: &str = "HEADWATER_KEY";
pub(super) const FILE: &str = "HEADWATER_KEY_FILE";
pub(super) const COMMAND: &str = "HEADWATER_KEY_COMMAND";

/// Gives the value of an environment variable, if it is set.
pub type Environment = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The environment of this process.
pub(super) fn process_environment() -> Environment {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the credential store's keys come from the environment"
    )]
    fn variable(name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
    Arc::new(variable)
}

/// Finds keys. Cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    environment: Environment,
    /// what the command has printed: asking a keyring again for each request could ask a person each time
    printed: Arc<Mutex<Option<Vec<Arc<Key>>>>>,
}

/// The keys at hand.
pub(super) enum Keys {
    /// those that a person gave; the first one seals
    Given {
        /// where they came from
        name: String,
        /// at least one
        keys: Vec<Arc<Key>>,
    },
    /// each in a file that has its id for a name
    Folder(PathBuf),
}

impl Source {
    pub(super) fn new(environment: Environment) -> Self {
        Self { environment, printed: Arc::default() }
    }

    /// The keys of the first source that is set.
    ///
    /// # Errors
    /// What is set holds no keys, or there is no place for a folder of keys.
    pub(super) fn keys(&self) -> Result<Keys, StoreError> {
        let variable = |name| (self.environment)(name);
        if let Some(text) = variable(VARIABLE) {
            let text = Zeroizing::new(text.into_string().unwrap_or_default());
            return Ok(Keys::Given { name: format!("`{VARIABLE}`"), keys: list(&text, &format!("`{VARIABLE}`"))? });
        }
        if let Some(path) = variable(FILE) {
            let path = PathBuf::from(path);
            let name = format!("`{}`, which `{FILE}` names", path.display());
            let keys = lines(&path)?;
            return Ok(Keys::Given { name, keys });
        }
        if variable(COMMAND).is_some() {
            return Ok(Keys::Given { name: format!("`{COMMAND}`"), keys: self.printed()? });
        }
        Ok(Keys::Folder(self.folder()?))
    }

    /// Forgets what the command has printed, so that it is run again: its keyring may hold another key by now. Whether there was anything.
    pub(super) fn forget(&self) -> bool {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Where the key of this id is or would be in the folder of keys.
    pub(super) fn in_folder(&self, id: &str) -> Option<PathBuf> {
        self.folder().ok().map(|folder| folder.join(id))
    }

    /// What the command prints. One call at a time runs it.
    fn printed(&self) -> Result<Vec<Arc<Key>>, StoreError> {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = printed.as_ref() {
            return Ok(keys.clone());
        }
        let line = (self.environment)(COMMAND).unwrap_or_default();
        let line = command::first_line(&line, limits::KEY_COMMAND_WAIT_MAX)?;
        let keys = list(&line, &format!("what `{COMMAND}` prints"))?;
        *printed = Some(keys.clone());
        Ok(keys)
    }

    /// `$XDG_CONFIG_HOME` (an absolute path, or it does not count: XDG Base Directory Specification) or `~/.config`.
    fn folder(&self) -> Result<PathBuf, StoreError> {
        let absolute = |name| (self.environment)(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        config.map(|config| config.join("headwater").join("keys")).ok_or_else(|| StoreError::NoKey {
            detail: format!("`{VARIABLE}` is not set, and without `HOME` there is no folder for keys"),
        })
    }
}

impl Keys {
    /// Where they came from, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Given { name, .. } => name.clone(),
            Self::Folder(folder) => format!("`{}`", folder.display()),
        }
    }

    /// Whether the key of this id is among those that a person gave.
    pub(super) fn has(&self, id: &str) -> bool {
        match self {
            Self::Given { keys, .. } => keys.iter().any(|key| key.id() == id),
            Self::Folder(_) => false,
        }
    }

    /// The key of this id.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] where others are at hand, [`StoreError::NoKey`] where none is; what should be the key is none.
    pub(super) fn find(&self, id: &str, store: &Path, source: &Source) -> Result<Arc<Key>, StoreError> {
        match self {
            Self::Given { name, keys } => {
                keys.iter().find(|key| key.id() == id).cloned().ok_or_else(|| StoreError::WrongKey {
                    path: store.to_owned(),
                    needed: id.to_owned(),
                    at_hand: keys.iter().map(|key| key.id().to_owned()).collect(),
                    source_name: name.clone(),
                    elsewhere: source.in_folder(id).filter(|path| path.is_file()),
                })
            }
            Self::Folder(folder) => {
                let path = folder.join(id);
                let Some(text) = file::read(&path, limits::KEY_TEXT_BYTES_MAX, too_large)? else {
                    let (store, path) = (store.display(), path.display());
                    let detail = format!("`{store}` needs `{id}`, `{VARIABLE}` is not set, and `{path}` is not there");
                    return Err(StoreError::NoKey { detail });
                };
                let text = Zeroizing::new(text);
                let key = std::str::from_utf8(&text).ok().and_then(|text| Key::parse(text.trim()));
                let bad = |detail| StoreError::BadKey { place: format!("`{}`", path.display()), detail };
                let key = key.ok_or_else(|| bad("its content is no key"))?;
                if key.id() == id { Ok(Arc::new(key)) } else { Err(bad("it holds another key than its name says")) }
            }
        }
    }

    /// The key that seals what is new, if a person chose one.
    pub(super) fn first(&self) -> Option<&Arc<Key>> {
        match self {
            Self::Given { keys, .. } => keys.first(),
            Self::Folder(_) => None,
        }
    }
}

/// Puts a key into the folder of keys, durably. Gives its file.
///
/// # Errors
/// The system says no.
pub(super) fn save(folder: &Path, key: &Key) -> Result<PathBuf, StoreError> {
    file::make_folders(folder)?;
    let path = folder.join(key.id());
    let text = key.text();
    let line = Zeroizing::new(format!("{}\n", text.expose_secret()));
    file::create(&path, line.as_bytes())?;
    file::sync_folder(folder)?;
    Ok(path)
}

/// Keys between commas.
fn list(text: &str, place: &str) -> Result<Vec<Arc<Key>>, StoreError> {
    keys(text.split(',').map(|key| (key, place.to_owned())), place)
}

/// The keys of a file, one a line; empty lines and those that begin with `#` do not count.
fn lines(path: &Path) -> Result<Vec<Arc<Key>>, StoreError> {
    let bytes = Zeroizing::new(file::read_keys(path, limits::KEY_TEXT_BYTES_MAX, too_large)?);
    let place = format!("`{}`", path.display());
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    keys(lines.map(|(at, line)| (line, format!("line {} of {place}", at + 1))), &place)
}

fn keys<'t>(texts: impl Iterator<Item = (&'t str, String)>, place: &str) -> Result<Vec<Arc<Key>>, StoreError> {
    let mut keys = Vec::new();
    for (text, place) in texts {
        let detail = if text.trim().is_empty() { "there is nothing where a key should be" } else { "this is no key" };
        let key = Key::parse(text.trim()).ok_or(StoreError::BadKey { place, detail })?;
        keys.push(Arc::new(key));
        if keys.len() > limits::KEYS_MAX {
            return Err(StoreError::BadKey { place: "the keys".to_owned(), detail: "there are too many" });
        }
    }
    if keys.is_empty() {
        return Err(StoreError::BadKey { place: place.to_owned(), detail: "there is no key" });
    }
    Ok(keys)
}

fn too_large(path: &Path) -> StoreError {
    StoreError::BadKey { place: format!("`{}`", path.display()), detail: "it is too large for a file of keys" }
}
