//! `headwater key`, and what its page says.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use headwater::remote::credential_store::{CredentialStore, Entry, Secrets};
use secrecy::{ExposeSecret, SecretString};

use crate::support::{Output, Project};

const SECRET: &str = "s3cr3t-of-the-connection";

/// A project with a home of its own.
struct Place {
    project: Project,
    key: Option<String>,
}

impl Place {
    fn new() -> Self {
        let project = Project::empty();
        project.write("headwater.yaml", "database: test.duckdb\n");
        Self { project, key: None }
    }

    fn home(&self) -> PathBuf {
        self.project.path().join("home")
    }

    fn variables(&self) -> BTreeMap<String, OsString> {
        let key = self.key.iter().map(|key| ("HEADWATER_KEY".to_owned(), key.into()));
        let home = ("HOME".to_owned(), self.home().into_os_string());
        std::iter::once(home).chain(key).collect()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.project.command(arguments);
        for other in ["XDG_CONFIG_HOME", "HEADWATER_KEY", "HEADWATER_KEY_FILE", "HEADWATER_KEY_COMMAND"] {
            command.env_remove(other);
        }
        let output = command.envs(self.variables()).output().expect("the program runs");
        let output = Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        };
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(!said.contains(SECRET) && !said.contains("panicked"), "{said}");
        output
    }

    fn store(&self) -> CredentialStore {
        let variables = self.variables();
        CredentialStore::with_environment(self.project.path(), Arc::new(move |name| variables.get(name).cloned()))
    }

    fn connect(&self, name: &str) {
        let at = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        let entry = Entry {
            provider: "api".to_owned(),
            auth: None,
            facts: serde_json::Map::new(),
            scopes: Vec::new(),
            connected_at: at,
            updated_at: at,
            expires_at: None,
            renewable: false,
            needs_reconnect: None,
            credentials: vec!["api_key".to_owned()],
        };
        let credentials = [("api_key".to_owned(), SecretString::from(SECRET))].into();
        self.store().write(name, &entry, &Secrets { credentials, ..Secrets::default() }).expect("written");
    }

    fn secret(&self, name: &str) -> String {
        let (_, secrets) = self.store().read(name).expect("it opens").expect("it is there");
        secrets.credentials["api_key"].expose_secret().to_owned()
    }
}

/// A key, which is all of standard output.
fn new_key(place: &Place) -> (String, String) {
    let output = place.run(&["key", "new"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let key = output.stdout.strip_suffix('\n').expect("a line").to_owned();
    assert!(key.len() == 44 && key.ends_with('=') && !key.contains('\n'), "{key}");
    assert!(output.stderr.contains("HEADWATER_KEY_FILE") && !output.stderr.contains(&key), "{}", output.stderr);
    let id = output.stderr.split('`').nth(1).expect("its id").to_owned();
    (id, key)
}

#[test]
fn a_key_of_headwaters_own_is_shown_and_rotated() {
    let place = Place::new();
    let output = place.run(&["key", "status"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("which is not there yet"), "{}", output.stdout);
    assert!(place.run(&["key", "rotate"]).stdout.starts_with("nothing is kept in"));
    assert!(!place.project.path().join(".headwater").exists() && !place.home().exists(), "nothing is made by looking");

    place.connect("acme");
    place.connect("main");
    let before = place.run(&["key", "status", "--json"]).json().remove(0);
    assert_eq!((&before["connections"], &before["error"]), (&2.into(), &serde_json::Value::Null), "{before}");
    let id = before["key"].as_str().expect("an id");
    let output = place.run(&["key", "status"]);
    let keys = place.home().join(".config/headwater/keys");
    for words in ["2 connections", &format!("needs  the key `{id}`"), "everything opens", keys.to_str().expect("UTF-8")]
    {
        assert!(output.stdout.contains(words), "`{words}` in {}", output.stdout);
    }
    let output = place.run(&["key", "rotate"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("2 connections sealed again") && output.stdout.contains(id), "{}", output.stdout);
    assert!(!keys.join(id).exists(), "the old key is removed");
    let rotated = place.run(&["key", "rotate", "--json"]).json().remove(0);
    assert_eq!((&rotated["rotated"], &rotated["connections"]), (&true.into(), &2.into()), "{rotated}");
    assert!(keys.join(rotated["to"].as_str().expect("an id")).exists());
    assert_eq!((place.secret("acme").as_str(), place.secret("main").as_str()), (SECRET, SECRET));
}

#[test]
fn keys_that_are_given_are_rotated_by_their_order() {
    let mut place = Place::new();
    let ((old_id, old), (new_id, new)) = (new_key(&place), new_key(&place));
    place.key = Some(old.clone());
    place.connect("acme");
    let output = place.run(&["key", "rotate"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("hint: put a new key"), "{}", output.stderr);
    place.key = Some(format!("{new},{old}"));
    let rotated = place.run(&["key", "rotate", "--json"]).json().remove(0);
    assert_eq!((&rotated["from"], &rotated["to"]), (&old_id.as_str().into(), &new_id.as_str().into()), "{rotated}");
    place.key = Some(new);
    assert_eq!(place.secret("acme"), SECRET);
    assert!(!place.home().exists(), "headwater keeps no key of its own");

    place.key = Some(old);
    let output = place.run(&["key", "status"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains(&new_id) && output.stderr.contains(&old_id), "{}", output.stderr);
    let output = place.run(&["key", "status", "--json"]);
    let status = output.json().remove(0);
    assert_eq!((output.code, &status["error"]["code"], &status["connections"]), (2, &"wrong_key".into(), &1.into()));
}

#[test]
fn a_store_that_cannot_be_used_is_told_and_left() {
    let place = Place::new();
    place.connect("acme");
    let path = place.project.path().join(".headwater/credentials.json");
    let text = std::fs::read_to_string(&path).expect("a store").replace("\"api\"", "\"apj\"");
    std::fs::write(&path, &text).expect("written");
    for command in ["status", "rotate"] {
        let output = place.run(&["key", command]);
        assert_eq!(output.code, 2);
        assert!(
            output.stderr.contains("is damaged: the entry `acme`") && output.stderr.contains("hint: "),
            "{output:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(&path).expect("a store"), text);
    let output = Project::empty().headwater(&["key", "status"]);
    assert!(output.code == 2 && output.stderr.contains("there is no `headwater.yaml` in"), "{output:?}");
}

/// Each code of the store's errors is in the last table of the page.
#[test]
fn the_page_explains_every_code() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(top.join("src/remote/credential_store/error.rs")).expect("a source");
    let codes =
        source.split("pub fn code(&self)").nth(1).and_then(|rest| rest.split("\n    }\n").next()).expect("codes");
    let codes: BTreeSet<&str> = codes.split('"').skip(1).step_by(2).collect();
    assert!(codes.len() > 10, "the search finds what it looks for: {codes:?}");
    let page = std::fs::read_to_string(top.join("docs/credentials.md")).expect("a page");
    let table = page.split("\n## When it is refused\n").nth(1).expect("the section");
    let first = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let told: BTreeSet<&str> =
        first.flat_map(|cell| cell.split("`, `").map(|code| code.trim_end_matches('`'))).collect();
    assert_eq!(told, codes);
}
