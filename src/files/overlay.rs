//! `headwater.api.yaml`: what the API has set. headwater writes it, and reads it as any other file of the project.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Error, read};
use crate::diagnostic::Source;
use crate::plan::{Input, limits};
use crate::spec::schema::Kind;
use crate::spec::{OverlayConnectionSpec, OverlaySpec, OverlaySyncSpec, VariantSpec, finding, yaml};

/// What the API has set stands here, beside [`super::PROJECT_FILE`].
pub const OVERLAY_FILE: &str = "headwater.api.yaml";

/// The first line of the file.
const FIRST_LINE: &str =
    "# headwater writes this file: what applications have set through its API, over headwater.yaml.\n";

/// What the API has set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overlay(OverlaySpec);

/// A sync of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// the connection's name
    pub connection: String,
    /// the sync's
    pub sync: String,
}

/// The file of a project, if it has one.
///
/// # Errors
/// It cannot be read.
pub fn overlay_input(folder: &Path) -> Result<Option<Input>, Error> {
    let file = folder.join(OVERLAY_FILE);
    if file.is_file() { Ok(Some(as_input(read(&file, folder)?))) } else { Ok(None) }
}

fn as_input(source: Arc<Source>) -> Input {
    Input { source, kind: Kind::Overlay, integration: None, builtin: false, stray: false }
}

impl Overlay {
    /// What stands in the file of a project; nothing where there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not as it should be.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        overlay_input(folder)?.map_or(Ok(Self::default()), |input| Self::of(&input.source))
    }

    /// What stands in the file among those of a project, which is taken out of them.
    ///
    /// # Errors
    /// It is not as it should be.
    pub fn taken_out(files: &mut Vec<Input>) -> Result<Self, Error> {
        let mut taken = files.extract_if(.., |input| input.kind == Kind::Overlay);
        taken.next().map_or(Ok(Self::default()), |input| Self::of(&input.source))
    }

    fn of(source: &Source) -> Result<Self, Error> {
        let broken = |why: String| Error::Overlay(why);
        let value = yaml::parse(&source.text).map_err(|error| broken(error.message))?;
        if let Some(first) = finding::check(Kind::Overlay, &value).into_iter().next() {
            return Err(broken(first.message));
        }
        serde_json::from_value(value).map(Self).map_err(|error| broken(error.to_string()))
    }

    /// The file that says this.
    ///
    /// # Errors
    /// It would be too large, or YAML cannot say it.
    pub fn input(&self) -> Result<Input, Error> {
        let value = serde_json::to_value(&self.0).map_err(|error| Error::Unsayable(error.to_string()))?;
        let text = FIRST_LINE.to_owned() + &yaml::write(&value);
        if text.len() > limits::DOCUMENT_BYTES_MAX {
            return Err(Error::OverlayTooLarge);
        }
        let source = Source::new(OVERLAY_FILE, text);
        // what is read back must be what was meant, to the last digit
        match Self::of(&source) {
            Ok(read) if read == *self => Ok(as_input(Arc::new(source))),
            Ok(_) => Err(Error::Unsayable("it would be read back as something else".to_owned())),
            Err(Error::Overlay(why)) => Err(Error::Unsayable(why)),
            Err(error) => Err(error),
        }
    }

    /// Puts it into the project's folder, whole or not at all; it is on the disk afterwards.
    ///
    /// # Errors
    /// It cannot be written.
    #[expect(clippy::disallowed_methods, reason = "this is the room that writes the API's file of a project")]
    pub fn write(input: &Input, folder: &Path) -> Result<(), Error> {
        let file = folder.join(OVERLAY_FILE);
        let beside = folder.join(format!(".{OVERLAY_FILE}.new"));
        let put = || {
            let mut fresh = std::fs::File::create(&beside)?;
            fresh.write_all(input.source.text.as_bytes())?;
            fresh.sync_all()?;
            std::fs::rename(&beside, &file)?;
            // the name too; other systems have no way to ask for it
            if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
        };
        put().map_err(|error| Error::Unwritable { path: file.display().to_string(), error })
    }

    /// What is set for a sync.
    fn sync(&self, Owner { connection, sync }: &Owner) -> Option<&OverlaySyncSpec> {
        self.0.connections.get(connection)?.syncs.get(sync)
    }

    fn sync_mut(&mut self, Owner { connection, sync }: &Owner) -> &mut OverlaySyncSpec {
        let connection = self.0.connections.entry(connection.clone()).or_default();
        connection.syncs.entry(sync.clone()).or_default()
    }

    /// The input that is set for a sync, or for a variant of it.
    pub fn set_input(&self, owner: &Owner, variant: Option<&str>) -> Option<&Map<String, Value>> {
        let sync = self.sync(owner)?;
        match variant {
            None => sync.input.as_ref(),
            Some(name) => match sync.variants.get(name) {
                Some(variant) => Some(&variant.input),
                None => sync.variant_inputs.get(name),
            },
        }
    }

    /// Whether the API has made this variant.
    pub fn has_made(&self, owner: &Owner, variant: &str) -> bool {
        self.sync(owner).is_some_and(|sync| sync.variants.contains_key(variant))
    }

    /// How many variants of a sync the API has made.
    pub fn made(&self, owner: &Owner) -> usize {
        self.sync(owner).map_or(0, |sync| sync.variants.len())
    }

    /// Sets the input of a sync, or of a variant of it; none is that of the other files again.
    pub fn put_input(&mut self, owner: &Owner, variant: Option<&str>, input: Option<Map<String, Value>>) {
        let sync = self.sync_mut(owner);
        match (variant, input) {
            (None, input) => sync.input = input,
            (Some(name), input) if sync.variants.contains_key(name) => {
                sync.variants.entry(name.to_owned()).and_modify(|variant| variant.input = input.unwrap_or_default());
            }
            (Some(name), Some(input)) => drop(sync.variant_inputs.insert(name.to_owned(), input)),
            (Some(name), None) => drop(sync.variant_inputs.shift_remove(name)),
        }
        self.tidy();
    }

    /// Makes a variant, or makes it anew: `input` and `schedule`, as in headwater.yaml.
    ///
    /// # Errors
    /// Other words, or other kinds of values.
    pub fn put_variant(&mut self, owner: &Owner, variant: &str, words: Map<String, Value>) -> Result<(), String> {
        let made: VariantSpec = serde_json::from_value(Value::Object(words)).map_err(|error| error.to_string())?;
        self.sync_mut(owner).variants.insert(variant.to_owned(), made);
        Ok(())
    }

    /// Takes a variant away that the API has made.
    pub fn remove_variant(&mut self, owner: &Owner, variant: &str) {
        self.sync_mut(owner).variants.shift_remove(variant);
        self.tidy();
    }

    /// What sets nothing is not named.
    fn tidy(&mut self) {
        self.0.connections.retain(|_, OverlayConnectionSpec { syncs }| {
            syncs.retain(|_, sync| *sync != OverlaySyncSpec::default());
            !syncs.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("{value} is no object") };
        map
    }

    fn owner() -> Owner {
        Owner { connection: "acme".into(), sync: "items".into() }
    }

    #[test]
    fn what_is_set_is_written_read_back_and_taken_away() {
        let mut overlay = Overlay::default();
        overlay.put_input(&owner(), None, Some(map(json!({ "folders": ["a", "b"] }))));
        overlay.put_input(&owner(), Some("open"), Some(map(json!({ "folders": ["o"] }))));
        let variant = json!({ "input": { "folders": ["c"] }, "schedule": { "cron": "0 6 * * *" } });
        overlay.put_variant(&owner(), "customer-7", map(variant)).expect("a variant");
        let read = Overlay::of(&overlay.input().expect("a file").source);
        assert_eq!(read.expect("as it was written"), overlay);
        assert_eq!((overlay.made(&owner()), overlay.has_made(&owner(), "open")), (1, false));
        assert_eq!(overlay.set_input(&owner(), Some("customer-7")), Some(&map(json!({ "folders": ["c"] }))));
        overlay.put_input(&owner(), None, None);
        overlay.put_input(&owner(), Some("open"), None);
        overlay.remove_variant(&owner(), "customer-7");
        assert_eq!(overlay, Overlay::default());
        assert!(overlay.put_variant(&owner(), "v", map(json!({ "inptu": {} }))).is_err());
    }

    #[test]
    fn texts_and_numbers_that_yaml_would_take_for_others_come_back_as_they_are() {
        let hard = json!({
            "texts": ["on", "null", "~", "1e3", "0x10", "010", "1_000", "2026-01-01", "*a", "&a", "!t", "# c", " a", "a\n\nb ", "\u{85}\u{2028}", "", "<<", "- x", "a: b", "😀", "\t"],
            "<<": { "on": 1 }, "~": 2, "1": 3, "": 4, "a: b": 5,
            "numbers": [0, -1, u64::MAX, i64::MIN, 1.5, 1.0, 0.1, 1e30, -2.5e-7],
            "more": [null, true, [], {}, [[{}]]],
        });
        let mut overlay = Overlay::default();
        overlay.put_input(&owner(), None, Some(map(hard)));
        let text = overlay.input().map(|input| input.source.text.clone());
        assert_eq!(Overlay::of(&Source::new("x", text.expect("it can be said"))).expect("read"), overlay);
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_refused() {
        let mut overlay = Overlay::default();
        overlay.put_input(&owner(), None, Some(map(json!({ "a": "x".repeat(limits::DOCUMENT_BYTES_MAX) }))));
        assert!(matches!(overlay.input(), Err(Error::OverlayTooLarge)));
        let deep = (0..limits::DOCUMENT_DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
        overlay.put_input(&owner(), None, Some(map(json!({ "a": deep }))));
        assert!(overlay.input().expect_err("too deep").to_string().contains("nested too deeply"));
        // as in every file of a project
        overlay.put_input(&owner(), None, Some(map(json!({ "a": 1e300 }))));
        assert!(overlay.input().expect_err("too large").to_string().contains("the number `1e300` is too large"));
    }
}
