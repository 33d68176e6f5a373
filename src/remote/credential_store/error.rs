//! What can go wrong with the credential store. No text in here holds a secret or a key: of files it tells places, never content.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::plan::limits;

/// Why the credential store cannot do what was asked. The file is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// the file is not as it was written: torn, edited, or mixed up
    #[error("the credential store `{}` is damaged: {detail}", path.display())]
    Damaged {
        /// the file
        path: PathBuf,
        /// what is wrong with it, without its content
        detail: String,
    },
    /// the file is of another program, or of a newer headwater
    #[error("`{}` is no credential store that this headwater knows: {detail}", path.display())]
    Foreign {
        /// the file
        path: PathBuf,
        /// what it is instead
        detail: String,
        /// what to do
        hint: &'static str,
    },
    /// others could read or replace the file, or it is not where it seems to be
    #[error("`{}` {detail}", path.display())]
    Permissions {
        /// the file or folder
        path: PathBuf,
        /// what is wrong with it
        detail: String,
        /// what to do
        hint: String,
    },
    /// another process works on it
    #[error(
        "{what} is locked by {}; waited {}",
        holder.map_or_else(|| "another process".to_owned(), |id| format!("process {id}")),
        humantime::format_duration(*waited)
    )]
    Locked {
        /// what was to be locked
        what: String,
        /// how long was waited
        waited: Duration,
        /// the process that has it, if it told
        holder: Option<u32>,
    },
    /// there are keys, and none of them is the one that the file needs
    #[error("`{}` is sealed with the key `{needed}`; at hand are {} (from {source_name})", path.display(), ids(at_hand))]
    WrongKey {
        /// the file
        path: PathBuf,
        /// the id of the key that it is sealed with
        needed: String,
        /// the ids of the keys that are there
        at_hand: Vec<String>,
        /// where those came from
        source_name: String,
        /// where the key is that is needed, if it is in the folder of keys
        elsewhere: Option<PathBuf>,
    },
    /// there is no key
    #[error("there is no key: {detail}")]
    NoKey {
        /// what was looked for, and where
        detail: String,
    },
    /// something stands where a key should, and is none
    #[error("{place}: {detail}")]
    BadKey {
        /// the variable or file, and the line
        place: String,
        /// what is wrong with it, without quoting it
        detail: &'static str,
    },
    /// the command that should print the key did not
    #[error("the command in `HEADWATER_KEY_COMMAND` {reason}")]
    KeyCommand {
        /// what it did instead
        reason: String,
    },
    /// the key to change to is the one that is used already
    #[error("`{}` is sealed with the first key of {source_name} (`{key}`) already", path.display())]
    SameKey {
        /// the file
        path: PathBuf,
        /// its id
        key: String,
        /// where it came from
        source_name: String,
    },
    /// more than the store takes
    #[error("the credential store `{}` would be larger than {} MiB", path.display(), limits::CREDENTIALS_BYTES_MAX >> 20)]
    TooLarge {
        /// the file
        path: PathBuf,
    },
    /// an entry that could not be read again
    #[error("connection `{connection}` cannot be kept in the credential store: {detail}")]
    Unfit {
        /// the connection's name
        connection: String,
        /// why not
        detail: &'static str,
    },
    /// the operating system gives no random numbers
    #[error("the operating system gives no random numbers, which keys and seals are made of")]
    Random,
    /// the operating system said no
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Io {
        /// what was tried
        doing: &'static str,
        /// the file or folder
        path: PathBuf,
        /// what the system said
        source: std::io::Error,
    },
}

impl StoreError {
    /// For `map_err`: what was being done, and with what.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Whether the same call may work later, with nothing changed by a person.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// The stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "store_damaged",
            Self::Foreign { .. } => "store_foreign",
            Self::Permissions { .. } => "store_permissions",
            Self::Locked { .. } => "store_locked",
            Self::WrongKey { .. } => "wrong_key",
            Self::NoKey { .. } => "no_key",
            Self::BadKey { .. } => "bad_key",
            Self::KeyCommand { .. } => "key_command",
            Self::SameKey { .. } => "same_key",
            Self::TooLarge { .. } => "store_too_large",
            Self::Unfit { .. } => "store_unfit",
            Self::Random => "no_random_numbers",
            Self::Io { .. } => "store_io",
        }
    }

    /// What to do next, for people.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Damaged { .. } => {
                "it was left as it is: put a backup in its place, or remove it and connect again with `headwater connect`"
            }
            Self::Foreign { hint, .. } => hint,
            Self::Permissions { hint, .. } => return Some(hint.clone()),
            Self::Locked { .. } => "let the other process end, then try again",
            Self::WrongKey { elsewhere: Some(path), .. } => {
                return Some(format!(
                    "that key is in `{}`: give it behind the new one, then `headwater key rotate` seals with the new one",
                    path.display()
                ));
            }
            Self::WrongKey { elsewhere: None, .. } | Self::NoKey { .. } => {
                "give the key by `HEADWATER_KEY`, `HEADWATER_KEY_FILE` or `HEADWATER_KEY_COMMAND`; if it is lost, remove the file and \
                 connect again with `headwater connect`"
            }
            Self::BadKey { .. } => {
                "a key is 32 random bytes in base64 (44 characters, the last is `=`); `headwater key new` makes one"
            }
            Self::KeyCommand { .. } => "try it by hand: its first line must be the key and nothing else",
            Self::SameKey { .. } => {
                "put a new key (`headwater key new`) before the one that is there, and keep that one behind it until this is done"
            }
            Self::TooLarge { .. } => "are there facts in it that need not be kept?",
            Self::Unfit { .. } | Self::Random | Self::Io { .. } => return None,
        };
        Some(text.to_owned())
    }
}

fn ids(ids: &[String]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}
