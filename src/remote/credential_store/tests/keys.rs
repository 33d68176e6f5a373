//! Where keys come from, and what is said when the right one is not among them.

use super::*;

#[test]
fn the_first_source_that_is_set_counts() {
    let (variable, file, command) = (new_key(), new_key(), new_key());
    let mut place = Place::new();
    let path = place.folder.path().join("keys.txt");
    std::fs::write(&path, format!("# of the test\n\n{}\n", file.1)).expect("a file");
    private(&path);
    let connected = |place: &Place| {
        drop(std::fs::remove_file(place.path()));
        let written = place.store().write("acme", &entry("api"), &secrets("a")).expect("written");
        assert_eq!(plain(place.store().read("acme").expect("read")), expected("api", "a"));
        let document: serde_json::Value = serde_json::from_slice(&place.bytes()).expect("JSON");
        (document["key"].as_str().expect("an id").to_owned(), written.new_key.is_some())
    };
    let (made, is_new) = connected(&place);
    assert!(is_new);
    assert_eq!(place.kept_keys(), [made]);
    place.set("HEADWATER_KEY_COMMAND", format!("echo '{}'", command.1));
    assert_eq!(connected(&place), (command.0, false));
    place.set("HEADWATER_KEY_FILE", &path);
    assert_eq!(connected(&place), (file.0, false));
    place.set("HEADWATER_KEY", variable.1);
    assert_eq!(connected(&place), (variable.0, false));
    assert_eq!(place.kept_keys().len(), 1, "no other key was made");
}

fn private(path: &Path) {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
}

#[test]
fn the_folder_of_keys_is_where_the_system_keeps_settings() {
    let place = Place::new();
    let config = place.folder.path().join("config");
    let place = place.with("XDG_CONFIG_HOME", &config);
    let key = place.store().write("acme", &entry("api"), &secrets("a")).expect("written").new_key.expect("a key");
    assert_eq!(key.parent(), Some(config.join("headwater/keys").as_path()));
    // a relative path does not count
    let place = Place::new().with("XDG_CONFIG_HOME", "config");
    let key = place.store().write("acme", &entry("api"), &secrets("a")).expect("written").new_key.expect("a key");
    assert_eq!(key.parent(), Some(place.keys().as_path()));
    let mut place = Place::new();
    place.variables.clear();
    let error = place.store().write("acme", &entry("api"), &secrets("a")).expect_err("there is no place");
    assert_eq!(error.code(), "no_key");
    assert!(error.to_string().contains("`HEADWATER_KEY` is not set"), "{error}");
}

#[test]
fn a_wrong_key_is_told_with_the_ids() {
    let (needed, other, third) = (new_key(), new_key(), new_key());
    let mut place = Place::new().with("HEADWATER_KEY", needed.1.clone());
    place.store().write("acme", &entry("api"), &secrets("a")).expect("written");
    let before = place.bytes();
    place.set("HEADWATER_KEY", format!("{} , {}", other.1, third.1));
    let store = place.store();
    for error in [
        store.read("acme").map(drop),
        store.write("new", &entry("api"), &secrets("b")).map(drop),
        store.mark("acme", |_| {}).map(drop),
        store.rotate().map(drop),
    ] {
        let error = error.expect_err("the wrong key");
        assert_eq!(error.code(), "wrong_key");
        let path = place.path();
        let (path, n, o, t) = (path.display(), &needed.0, &other.0, &third.0);
        let said = format!("`{path}` is sealed with the key `{n}`; at hand are `{o}`, `{t}` (from `HEADWATER_KEY`)");
        assert_eq!(error.to_string(), said);
        assert!(error.hint().expect("a hint").contains("if it is lost, remove the file"), "{error}");
    }
    assert_eq!(place.bytes(), before);
    // what needs no key is there
    assert_eq!(store.entries().expect("read").len(), 1);
    let status = store.status();
    assert_eq!((status.key.as_deref(), status.connections), (Some(needed.0.as_str()), 1));
    assert_eq!(status.problem.expect("a problem").code(), "wrong_key");
    assert!(store.remove("acme").expect("removed without a key"));
    // nothing is sealed with the key that is lost any more
    store.write("acme", &entry("api"), &secrets("b")).expect("written with the first of the others");
    assert_eq!(store.status().key.as_deref(), Some(other.0.as_str()));
}

#[test]
fn a_key_that_is_not_there_is_told_with_its_place() {
    let place = Place::new();
    let key = place.store().write("acme", &entry("api"), &secrets("a")).expect("written").new_key.expect("a key");
    // the key is in the folder, and another one was given
    let given = place.variables.clone();
    let other = Place { folder: place.folder, variables: given }.with("HEADWATER_KEY", new_key().1);
    let error = other.store().read("acme").expect_err("the wrong key");
    assert_eq!(error.code(), "wrong_key");
    assert!(error.hint().expect("a hint").contains(key.to_str().expect("UTF-8")), "{:?}", error.hint());

    let mut place = other;
    place.variables.remove("HEADWATER_KEY");
    let kept = std::fs::read(&key).expect("a key");
    std::fs::write(&key, new_key().1).expect("another key");
    assert_eq!(place.store().read("acme").expect_err("another key").code(), "bad_key");
    std::fs::write(&key, "hunter2").expect("no key");
    let error = place.store().read("acme").expect_err("no key");
    assert!(error.code() == "bad_key" && !error.to_string().contains("hunter2"), "{error}");
    std::fs::remove_file(&key).expect("lost");
    let error = place.store().read("acme").expect_err("no key");
    assert_eq!(error.code(), "no_key");
    assert!(error.to_string().contains(key.to_str().expect("UTF-8")), "{error}");
    let before = place.bytes();
    assert_eq!(place.store().write("b", &entry("api"), &secrets("b")).expect_err("no key").code(), "no_key");
    assert_eq!(place.bytes(), before);
    assert!(place.kept_keys().is_empty(), "no key is made beside the one that is needed");
    std::fs::write(&key, kept).expect("put back");
    private(&key);
    assert_eq!(plain(place.store().read("acme").expect("read")), expected("api", "a"));
}

#[test]
fn what_should_be_a_key_is_told_and_not_quoted() {
    let (_, key) = new_key();
    let cut = &key[..40];
    let many = vec![key.as_str(); 17].join(",");
    for text in ["hunter2", "", " ", cut, &format!("{key},"), &format!("{key},{cut}"), &many] {
        let place = Place::new().with("HEADWATER_KEY", text);
        let error = place.store().write("acme", &entry("api"), &secrets("a")).expect_err("no key");
        assert_eq!(error.code(), "bad_key", "{text}");
        let said = format!("{error} {error:?} {:?}", error.hint());
        assert!(said.contains("44 characters") && !said.contains("hunter2") && !said.contains(cut), "{said}");
        assert!(place.kept_keys().is_empty() && !place.path().exists(), "none is made instead");
    }
    let place = Place::new();
    let path = place.folder.path().join("keys.txt");
    let place = place.with("HEADWATER_KEY_FILE", &path);
    assert_eq!(place.store().status().problem.expect("no file").code(), "store_io");
    std::fs::write(&path, format!("{key}\nhunter2\n")).expect("a file");
    private(&path);
    let error = place.store().status().problem.expect("no key");
    assert_eq!(error.to_string(), format!("line 2 of `{}`: this is no key", path.display()));
    std::fs::write(&path, "# none\n").expect("a file");
    assert_eq!(place.store().status().problem.expect("no key").code(), "bad_key");
    std::fs::write(&path, "x".repeat(10_000)).expect("a file");
    assert!(place.store().status().problem.expect("no key").to_string().contains("too large"));
    let place = Place::new().with("HEADWATER_KEY_COMMAND", "echo hunter2");
    let error = place.store().status().problem.expect("no key");
    assert_eq!(error.to_string(), "what `HEADWATER_KEY_COMMAND` prints: this is no key");
}

#[cfg(unix)]
#[test]
fn a_key_file_is_for_its_owner_alone() {
    let place = Place::new();
    let path = place.folder.path().join("keys.txt");
    std::fs::write(&path, new_key().1).expect("a file");
    let place = place.with("HEADWATER_KEY_FILE", &path);
    for mode in [0o644, 0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("it is ours");
        let error = place.store().write("acme", &entry("api"), &secrets("a")).expect_err("others can read it");
        assert_eq!(error.code(), "store_permissions", "{error}");
        assert!(error.hint().expect("a hint").contains("chmod 600"), "{error}");
    }
    private(&path);
    place.store().write("acme", &entry("api"), &secrets("a")).expect("written");
    // secrets are often handed over behind a link
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let place = place.with("HEADWATER_KEY_FILE", &link);
    assert_eq!(plain(place.store().read("acme").expect("read")), expected("api", "a"));
}

/// A command that counts how often it is run and prints what is in a file.
fn counting(place: &Place) -> (PathBuf, PathBuf, String) {
    let (count, key) = (place.folder.path().join("count"), place.folder.path().join("key"));
    let command = format!("echo x >> '{}'; cat '{}'", count.display(), key.display());
    (count, key, command)
}

#[test]
fn a_command_is_run_once_and_again_when_its_key_is_another() {
    let (old, new) = (new_key(), new_key());
    let mut place = Place::new();
    let (count, key, command) = counting(&place);
    place.set("HEADWATER_KEY_COMMAND", command);
    let runs = || std::fs::read_to_string(&count).map_or(0, |text| text.lines().count());
    std::fs::write(&key, &old.1).expect("a file");
    let store = place.store();
    store.write("acme", &entry("api"), &secrets("a")).expect("written");
    for _ in 0..3 {
        store.clone().read("acme").expect("read");
    }
    assert_eq!(runs(), 1);
    // another process changes the key, and what is at hand here is an old one
    std::fs::write(&key, format!("{},{}\n", new.1, old.1)).expect("a file");
    let rotated = place.store().rotate().expect("rotated").expect("a store");
    assert_eq!((rotated.from, rotated.to, rotated.entries, rotated.new_key), (old.0, new.0.clone(), 1, None));
    std::fs::write(&key, &new.1).expect("a file");
    let before = runs();
    assert_eq!(plain(store.read("acme").expect("read")), expected("api", "a"));
    assert_eq!(runs(), before + 1);
    store.write("main", &entry("api"), &secrets("b")).expect("written");
    assert_eq!((store.status().key.as_deref(), runs()), (Some(new.0.as_str()), before + 1));
}
