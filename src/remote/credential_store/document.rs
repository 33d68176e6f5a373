//! The file's content: which entries there are, what is open of them, and what is sealed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::entry::{Entry, Secrets};
use super::error::StoreError;
use super::key::{Key, is_id};
use super::seal::{seal, unseal};
use crate::plan::limits;

const FORMAT: &str = "headwater-credentials";
const VERSION: u64 = 1;

/// The whole file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: String,
    version: u64,
    /// the id of the key that all entries are sealed with
    pub(super) key: String,
    #[serde(deserialize_with = "distinct")]
    entries: BTreeMap<String, Kept>,
}

/// An entry as it is in the file.
#[derive(Debug, Serialize)]
struct Kept {
    #[serde(flatten)]
    entry: Entry,
    sealed: String,
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `flatten` and `deny_unknown_fields` do not go together
        let mut open = Map::deserialize(deserializer)?;
        let Some(Value::String(sealed)) = open.remove("sealed") else {
            return Err(D::Error::custom("nothing is sealed"));
        };
        let entry = Entry::deserialize(Value::Object(open)).map_err(D::Error::custom)?;
        Ok(Self { entry, sealed })
    }
}

/// Entries by name. Of two with one name, a map would lose the first in silence.
fn distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Kept>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = BTreeMap<String, Kept>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("entries by name")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut entries = BTreeMap::new();
            while let Some((name, kept)) = map.next_entry()? {
                if entries.insert(name, kept).is_some() {
                    return Err(M::Error::custom("two entries have one name"));
                }
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries)
}

impl Document {
    /// A store without entries.
    pub(super) fn empty(key: &Key) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, key: key.id().to_owned(), entries: BTreeMap::new() }
    }

    /// Reads the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and [`StoreError::Foreign`]. Neither quotes what is in the file: in a foreign one it may be secret.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self, StoreError> {
        let damaged = |detail: String| StoreError::Damaged { path: path.to_owned(), detail };
        let at = |error: &serde_json::Error| format!("line {}, column {}", error.line(), error.column());
        let value: Value = serde_json::from_slice(bytes).map_err(|error| {
            damaged(if bytes.is_empty() {
                "it is empty".to_owned()
            } else {
                format!("it is not JSON ({})", at(&error))
            })
        })?;
        let foreign = |detail: String, hint| StoreError::Foreign { path: path.to_owned(), detail, hint };
        if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
            let hint = "move it away, or work in another project folder";
            return Err(foreign(format!("its `format` is not `{FORMAT}`"), hint));
        }
        match value.get("version").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(version) => {
                return Err(foreign(format!("its version is {version}"), "use the headwater that wrote it"));
            }
            None => return Err(damaged("its `version` is no number".to_owned())),
        }
        let document: Self = serde_json::from_slice(bytes)
            .map_err(|error| damaged(format!("it has not the form that it was written in ({})", at(&error))))?;
        if !is_id(&document.key) {
            return Err(damaged("its `key` is no id of a key".to_owned()));
        }
        Ok(document)
    }

    /// What the file is to hold.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub(super) fn bytes(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("names are texts, so it is JSON");
        bytes.push(b'\n');
        if bytes.len() > limits::CREDENTIALS_BYTES_MAX {
            return Err(StoreError::TooLarge { path: path.to_owned() });
        }
        Ok(bytes)
    }

    /// What can be read without a key.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, kept)| (name.as_str(), &kept.entry))
    }

    /// Opens all entries: a file of which a part is damaged is not used at all.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub(super) fn open(&self, key: &Key, path: &Path) -> Result<BTreeMap<String, (Entry, Secrets)>, StoreError> {
        let opened = self.entries.iter().map(|(name, kept)| {
            let secrets = unseal(key, &beside(name, &kept.entry), &kept.sealed).ok_or_else(|| StoreError::Damaged {
                path: path.to_owned(),
                detail: format!("the entry `{}`, or its name, is not as it was sealed", quoted(name)),
            })?;
            Ok((name.clone(), (kept.entry.clone(), secrets)))
        });
        opened.collect()
    }

    /// Puts an entry in the place of the one of this name, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Random`]; [`StoreError::Unfit`] where it could not be read again.
    pub(super) fn put(&mut self, key: &Key, name: &str, entry: &Entry, secrets: &Secrets) -> Result<(), StoreError> {
        let open = beside(name, entry);
        let kept = Kept { entry: entry.clone(), sealed: seal(key, &open, secrets)? };
        // JSON does not hold everything that Rust does (any depth): what is put is read again, as deep as in the file, before it counts
        let alone = Self { entries: [(name.to_owned(), kept)].into(), ..Self::empty(key) };
        let again = serde_json::to_vec(&alone).ok().and_then(|bytes| Self::parse(&bytes, Path::new("")).ok());
        if again.is_none_or(|again| again.open(key, Path::new("")).is_err()) {
            let detail = "its facts are not the same after they were written and read";
            return Err(StoreError::Unfit { connection: name.to_owned(), detail });
        }
        self.entries.extend(alone.entries);
        Ok(())
    }

    /// Whether there was one of this name.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.entries.remove(name).is_some()
    }
}

/// What is authenticated beside the secrets: an array of format, version, name and the entry with its keys in order.
fn beside(name: &str, entry: &Entry) -> String {
    let open = serde_json::to_value(entry).expect("an entry is JSON");
    Value::from(vec![FORMAT.into(), VERSION.into(), name.into(), sorted(open)]).to_string()
}

/// The value with the members of all its objects in order, so that their order in the file does not matter.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> =
                members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

/// A name of a damaged file, which may be anything.
fn quoted(name: &str) -> String {
    name.chars().take(limits::QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect()
}
