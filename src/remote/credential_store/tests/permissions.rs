//! What others could have read or written is refused.

#![cfg(unix)]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::remote::credential_store::file::refuse_owner;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
}

#[test]
fn all_files_are_for_their_owner_alone() {
    let place = Place::new();
    let store = place.store();
    let key = store.write("acme", &entry("api"), &secrets("a")).expect("written").new_key.expect("a key");
    store.write("main", &entry("api"), &secrets("a")).expect("written");
    drop(store.lock("acme", Duration::ZERO).expect("a lock"));
    let folder = place.path().parent().expect("a folder").to_owned();
    for folder in [folder.as_path(), &place.keys(), place.keys().parent().expect("a folder")] {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    let mut files: Vec<PathBuf> = names(&folder).into_iter().map(|name| folder.join(name)).collect();
    assert_eq!(files.len(), 4);
    files.push(key);
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_file_that_others_can_use_is_refused() {
    let place = Place::new();
    let store = place.store();
    let key = store.write("acme", &entry("api"), &secrets("a")).expect("written").new_key.expect("a key");
    let folder = place.path().parent().expect("a folder").to_owned();
    let before = place.bytes();
    let table = [
        (place.path(), 0o640, 0o600),
        (place.path(), 0o604, 0o600),
        (place.path(), 0o620, 0o600),
        (key, 0o644, 0o600),
        (folder, 0o770, 0o700),
        (place.keys(), 0o707, 0o700),
    ];
    for (path, wide, narrow) in table {
        chmod(&path, wide);
        for error in [store.read("acme").map(drop), store.write("acme", &entry("api"), &secrets("b")).map(drop)] {
            let error = error.expect_err("it is refused");
            assert_eq!(error.code(), "store_permissions", "{error}");
            assert!(error.to_string().contains(&format!("(mode {wide:o})")), "{error}");
            assert!(error.hint().expect("a hint").contains("`chmod "), "{error}");
        }
        chmod(&path, narrow);
        assert_eq!(plain(store.read("acme").expect("read")), expected("api", "a"));
    }
    assert_eq!(place.bytes(), before);
}

#[test]
fn a_symbolic_link_is_refused() {
    let place = Place::new();
    let store = place.store();
    store.write("acme", &entry("api"), &secrets("a")).expect("written");
    let elsewhere = place.folder.path().join("elsewhere.json");
    std::fs::rename(place.path(), &elsewhere).expect("moved");
    let before = std::fs::read(&elsewhere).expect("a file");
    symlink(&elsewhere, place.path()).expect("a link");
    for error in [
        store.read("acme").map(drop),
        store.entries().map(drop),
        store.write("acme", &entry("api"), &secrets("b")).map(drop),
        store.remove("acme").map(drop),
    ] {
        let error = error.expect_err("it is refused");
        assert_eq!(error.code(), "store_permissions", "{error}");
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    assert_eq!(std::fs::read(&elsewhere).expect("a file"), before);
    assert!(place.path().is_symlink());

    // nor are the locks and the file on its way into place written through one
    std::fs::remove_file(place.path()).expect("removed");
    let victim = place.folder.path().join("victim");
    std::fs::write(&victim, "mine").expect("a file");
    symlink(&victim, place.path().with_extension("json.new")).expect("a link");
    store.write("acme", &entry("api"), &secrets("b")).expect("the link is removed");
    let lock = place.path().with_extension("lock");
    std::fs::remove_file(&lock).expect("removed");
    symlink(&victim, &lock).expect("a link");
    assert_eq!(store.write("acme", &entry("api"), &secrets("b")).expect_err("refused").code(), "store_permissions");
    assert_eq!(std::fs::read_to_string(&victim).expect("a file"), "mine");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let place = Place::new();
    std::fs::create_dir_all(place.path()).expect("a folder in its place");
    assert_eq!(place.store().entries().expect_err("refused").code(), "store_permissions");
}

/// Only root could make a file of somebody else here.
#[test]
fn a_file_of_somebody_else_is_refused() {
    let path = Path::new("credentials.json");
    let error = refuse_owner(path, Some(1000), Some(0)).expect_err("it is refused");
    assert_eq!(error.to_string(), "`credentials.json` belongs to user 1000, not to user 0");
    assert_eq!(error.code(), "store_permissions");
    refuse_owner(path, Some(1000), Some(1000)).expect("the same");
    refuse_owner(path, None, None).expect("a system without owners");
}
