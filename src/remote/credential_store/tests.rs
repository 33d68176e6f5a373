//! The store in temporary folders, with an environment that is an argument.

mod damage;
mod keys;
mod permissions;
mod rotation;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tempfile::TempDir;

use super::store::Step;
use super::*;
use crate::remote::Redactor;

/// Planted wherever a secret can stand; with characters that encodings write in another way.
const PLANTED: &str = "s3cr3t/+\"ü<&> value";

/// A project folder and a home, which has no key yet.
struct Place {
    folder: TempDir,
    variables: BTreeMap<String, OsString>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("project")).expect("a folder");
        let home = folder.path().join("home");
        std::fs::create_dir(&home).expect("a folder");
        Self { variables: [("HOME".to_owned(), home.into_os_string())].into(), folder }
    }

    fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.set(name, value);
        self
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    fn store(&self) -> CredentialStore {
        let variables = self.variables.clone();
        let environment = Arc::new(move |name: &str| variables.get(name).cloned());
        CredentialStore::with_environment(&self.folder.path().join("project"), environment)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("project/.headwater/credentials.json")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("a store")
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("UTF-8")
    }

    /// Puts other bytes into the file, with its permissions.
    fn put(&self, bytes: &[u8]) {
        std::fs::write(self.path(), bytes).expect("written");
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("home/.config/headwater/keys")
    }

    /// The names of the files in the folder of keys.
    fn kept_keys(&self) -> Vec<String> {
        names(&self.keys())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 123_456_789).expect("a time")
}

fn entry(provider: &str) -> Entry {
    let facts = json!({ "account_id": 7, "share": 0.1, "deep": { "b": [1.5e300, null], "a": "ü" } });
    Entry {
        provider: provider.to_owned(),
        auth: Some("oauth".to_owned()),
        facts: facts.as_object().expect("an object").clone(),
        scopes: vec!["read".to_owned()],
        connected_at: time(1_700_000_000),
        updated_at: time(1_700_000_001),
        expires_at: Some(time(1_700_003_600)),
        renewable: true,
        needs_reconnect: None,
        credentials: vec!["client_secret".to_owned()],
    }
}

fn secrets(value: &str) -> Secrets {
    let named = |name: &str| [(name.to_owned(), SecretString::from(value.to_owned()))].into();
    Secrets { credentials: named("client_secret"), token: named("refresh_token") }
}

/// What `read` gives, to be compared.
fn plain(read: Option<(Entry, Secrets)>) -> Option<(Entry, Vec<(String, String)>)> {
    read.map(|(entry, Secrets { credentials, token })| {
        let all = credentials.into_iter().chain(token);
        (entry, all.map(|(name, value)| (name, value.expose_secret().to_owned())).collect())
    })
}

fn expected(provider: &str, value: &str) -> Option<(Entry, Vec<(String, String)>)> {
    let names = ["client_secret", "refresh_token"];
    Some((entry(provider), names.map(|name| (name.to_owned(), value.to_owned())).to_vec()))
}

fn new_key() -> (String, String) {
    let key = Key::generate().expect("random numbers");
    (key.id().to_owned(), key.text().expose_secret().to_owned())
}

#[test]
fn what_is_written_is_read() {
    let place = Place::new();
    let store = place.store();
    assert!(store.entries().expect("no file").is_empty());
    assert!(store.read("acme").expect("no file").is_none());
    assert!(!store.remove("acme").expect("no file") && !store.mark("acme", |_| {}).expect("no file"));
    assert!(!place.path().parent().unwrap().exists(), "nothing is made by looking");

    let written = store.write("acme", &entry("api"), &secrets(PLANTED)).expect("written");
    let key = written.new_key.expect("a key was made");
    assert_eq!(key.parent(), Some(place.keys().as_path()));
    assert_eq!(store.write("main", &entry("other"), &secrets("b")).expect("written"), Written { new_key: None });
    for store in [store.clone(), place.store()] {
        assert_eq!(plain(store.read("acme").expect("read")), expected("api", PLANTED));
        assert_eq!(plain(store.read("main").expect("read")), expected("other", "b"));
        assert!(store.read("acm").expect("read").is_none());
    }
    let entries = store.entries().expect("read");
    assert_eq!(entries, [("acme".to_owned(), entry("api")), ("main".to_owned(), entry("other"))].into());
    // the whole entry is replaced
    store.write("acme", &entry("api"), &Secrets::default()).expect("written");
    assert_eq!(plain(store.read("acme").expect("read")), Some((entry("api"), Vec::new())));
    assert_eq!(
        names(place.path().parent().unwrap()),
        [".gitignore", "credentials.json", "credentials.lock"],
        "and nothing else is left behind"
    );
    assert_eq!(std::fs::read_to_string(place.path().with_file_name(".gitignore")).expect("a file"), "*\n");
}

#[test]
fn an_entry_is_marked_and_removed() {
    let place = Place::new();
    let store = place.store();
    store.write("acme", &entry("api"), &secrets("a")).expect("written");
    store.write("main", &entry("api"), &secrets("b")).expect("written");
    assert!(store.mark("acme", |entry| entry.needs_reconnect = Some("revoked".to_owned())).expect("marked"));
    let (marked, kept) = store.read("acme").expect("it was sealed again").expect("it is there");
    assert_eq!(marked.needs_reconnect.as_deref(), Some("revoked"));
    assert_eq!(kept.token["refresh_token"].expose_secret(), "a");
    assert!(!store.mark("other", |_| panic!("there is none")).expect("looked"));
    assert!(store.remove("acme").expect("removed"));
    assert!(!store.remove("acme").expect("looked"));
    assert!(store.read("acme").expect("read").is_none());
    assert_eq!(plain(store.read("main").expect("read")), expected("api", "b"));
    // an empty store goes on with its key
    assert!(store.remove("main").expect("removed"));
    assert_eq!(store.write("acme", &entry("api"), &secrets("c")).expect("written"), Written { new_key: None });
    assert_eq!(place.kept_keys().len(), 1);
}

#[test]
fn writers_wait_for_each_other_and_lose_nothing() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let store = place.store();
            scope.spawn(move || {
                for nth in 0..50 {
                    let name = format!("w{writer}-{nth}");
                    store.write(&name, &entry("api"), &secrets(&name)).expect("written");
                }
            });
        }
    });
    let store = place.store();
    assert_eq!(store.entries().expect("read").len(), 100);
    for name in ["w0-0", "w0-49", "w1-0", "w1-49"] {
        assert_eq!(plain(store.read(name).expect("read")), expected("api", name));
    }
    assert_eq!(place.kept_keys().len(), 1, "the two made one key");
}

#[test]
fn a_write_that_was_killed_leaves_the_old_file() {
    let place = Place::new();
    let store = place.store();
    store.write("acme", &entry("api"), &secrets("a")).expect("written");
    let fresh = place.path().with_extension("json.new");
    for left in [&b""[..], b"{ \"format\": \"headwater-cred", &place.bytes()] {
        std::fs::write(&fresh, left).expect("left behind");
        assert_eq!(plain(store.read("acme").expect("it is ignored")), expected("api", "a"));
        store.write("main", &entry("api"), &secrets("b")).expect("it is removed");
        assert!(!fresh.exists());
        assert_eq!(plain(store.read("acme").expect("read")), expected("api", "a"));
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_no_key() {
    let place = Place::new();
    let store = place.store();
    let nested = |levels| {
        let deep = (0..levels).fold(json!(1), |deep, _| json!([deep]));
        Entry { facts: [("deep".to_owned(), deep)].into_iter().collect(), ..entry("api") }
    };
    let mut written = 0;
    for levels in 110..135 {
        let place = Place::new();
        match place.store().write("acme", &nested(levels), &secrets("a")) {
            Ok(_) => {
                assert!(place.store().read("acme").expect("it is read again").is_some());
                written += 1;
            }
            Err(error) => {
                assert_eq!(error.code(), "store_unfit", "{error}");
                assert!(!place.path().exists() && place.kept_keys().is_empty());
            }
        }
    }
    assert!((1..25).contains(&written), "{written}");
    store.write("acme", &entry("api"), &secrets("a")).expect("written");
    let before = place.bytes();
    let large = Entry { scopes: vec!["x".repeat(5 << 20)], ..entry("api") };
    assert_eq!(store.write("main", &large, &secrets("a")).expect_err("too large").code(), "store_too_large");
    assert_eq!(place.bytes(), before);
}

#[test]
fn the_refresh_lock_is_one_at_a_time() {
    let place = Place::new();
    let store = place.store();
    let lock = store.lock("acme", Duration::ZERO).expect("it is free");
    let error = place.store().lock("acme", Duration::from_millis(5)).expect_err("it is taken");
    assert_eq!(error.code(), "store_locked");
    let said = error.to_string();
    assert!(error.is_temporary() && said.contains("`acme`"), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())) && said.contains("5ms"), "{said}");
    // other connections, and the file, are not locked
    let other = store.lock("../../main", Duration::ZERO).expect("it is another one");
    store.write("acme", &entry("api"), &secrets("a")).expect("written");
    drop((lock, other));
    drop(store.lock("acme", Duration::ZERO).expect("it is free again"));
}

/// Not a test of its own: the process that `a_process_that_dies_lets_go` starts.
#[test]
fn holder_of_a_lock() {
    let Some(folder) = std::env::var_os("HEADWATER_TEST_HOLD") else { return };
    let store = CredentialStore::of_project(Path::new(&folder));
    let _lock = store.lock("acme", Duration::ZERO).expect("it is free");
    println!("held");
    std::io::stdin().read_line(&mut String::new()).expect("killed before");
}

#[test]
fn a_process_that_dies_lets_go() {
    use std::io::{BufRead, BufReader};
    let place = Place::new();
    let store = place.store();
    let mut holder = Command::new(std::env::current_exe().expect("this program"))
        .args(["remote::credential_store::tests::holder_of_a_lock", "--exact", "--nocapture"])
        .env("HEADWATER_TEST_HOLD", place.folder.path().join("project"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = BufReader::new(holder.stdout.take().expect("piped"));
    assert!(output.lines().any(|line| line.expect("a line").ends_with("held")), "it holds the lock");
    let error = store.lock("acme", Duration::ZERO).expect_err("another process has it");
    assert!(error.to_string().contains(&format!("process {}", holder.id())), "{error}");
    holder.kill().and_then(|()| holder.wait()).expect("it is killed");
    drop(store.lock("acme", Duration::from_secs(60)).expect("it went with the process"));
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let (_, key) = new_key();
    let place = Place::new().with("HEADWATER_KEY", key.clone());
    let store = place.store();
    let written = store.write("acme", &entry("api"), &secrets(PLANTED)).expect("written");
    let read = store.read("acme").expect("read");
    let shown = format!("{store:?} {written:?} {read:?} {:?} {:?}", store.status(), store.entries());
    assert!(shown.contains("refresh_token") && shown.contains("client_secret"), "{shown}");
    // and the file has neither in any form that a redactor knows
    for text in [shown, place.text()] {
        let masked = Redactor::new([PLANTED, key.as_str()]).redact(&text).into_owned();
        assert_eq!(masked, text);
        for part in ["s3cr3t", "czNjcjN0", "733363723374"] {
            assert!(!text.contains(part), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_names_and_values_come_back(
        name in "\\PC{0,12}", fact: f64, text in any::<String>(), value in any::<String>(), field in any::<String>(), number: i64,
    ) {
        let place = Place::new();
        let store = place.store();
        let facts = json!({ (text.clone()): fact, "text": text, "number": number });
        let entry = Entry { facts: facts.as_object().unwrap().clone(), needs_reconnect: Some(text), ..entry("api") };
        let secrets = Secrets { token: [(field.clone(), SecretString::from(value.clone()))].into(), ..Secrets::default() };
        store.write(&name, &entry, &secrets).expect("written");
        let read = plain(store.read(&name).expect("read"));
        prop_assert_eq!(read, Some((entry, vec![(field, value)])));
    }
}
