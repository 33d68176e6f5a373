//! Another key: whatever happens on the way, the store opens.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn filled(place: &Place) {
    for (name, value) in [("acme", "a"), ("main", "b"), ("third", "c")] {
        place.store().write(name, &entry("api"), &secrets(value)).expect("written");
    }
}

fn opens(place: &Place) {
    for (name, value) in [("acme", "a"), ("main", "b"), ("third", "c")] {
        assert_eq!(plain(place.store().read(name).expect("it opens")), expected("api", value));
    }
}

#[test]
fn a_store_that_is_not_there_has_nothing_to_rotate() {
    let place = Place::new();
    assert_eq!(place.store().rotate().expect("looked"), None);
    assert!(!place.path().parent().unwrap().exists() && place.kept_keys().is_empty());
}

#[test]
fn a_key_of_the_folder_is_replaced_by_a_new_one() {
    let place = Place::new();
    filled(&place);
    let old = place.kept_keys();
    let sealed = place.text();
    let rotated = place.store().rotate().expect("rotated").expect("a store");
    assert_eq!((rotated.entries, rotated.left), (3, None));
    assert_eq!(old, [rotated.from]);
    assert_eq!(place.kept_keys(), [rotated.to.as_str()], "the old key is gone");
    assert_eq!(rotated.new_key, Some(place.keys().join(&rotated.to)));
    opens(&place);
    // each entry was sealed again
    let parts = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("\"sealed\"")).map(str::to_owned).collect()
    };
    assert!(parts(&sealed).iter().zip(parts(&place.text())).all(|(old, new)| *old != new));
    assert!(parts(&sealed).len() == 3 && place.store().entries().expect("read").len() == 3);
}

#[test]
fn a_rotation_that_is_killed_leaves_a_store_that_opens() {
    for last in [Step::KeyMade, Step::Sealed] {
        let place = Place::new();
        filled(&place);
        let before = place.bytes();
        let killed = catch_unwind(AssertUnwindSafe(|| {
            place.store().rotate_by_steps(|step| assert_ne!(step, last, "killed here"))
        }));
        assert!(killed.is_err(), "it got there");
        assert_eq!(place.bytes() == before, last == Step::KeyMade);
        assert_eq!(place.kept_keys().len(), 2);
        opens(&place);
        place.store().rotate().expect("it can be done again").expect("a store");
        opens(&place);
    }
}

#[test]
fn a_rotation_that_fails_leaves_the_old_store_and_no_new_key() {
    let place = Place::new();
    filled(&place);
    let old = place.kept_keys();
    let damaged = place.text().replacen("\"account_id\": 7", "\"account_id\": 8", 1);
    place.put(damaged.as_bytes());
    assert_eq!(place.store().rotate().expect_err("damaged").code(), "store_damaged");
    assert_eq!((place.text(), place.kept_keys()), (damaged, old));
}

#[test]
fn given_keys_are_rotated_by_putting_a_new_one_first() {
    let (old, new) = (new_key(), new_key());
    let file = |place: &Place, text: String| {
        let path = place.folder.path().join("keys.txt");
        std::fs::write(&path, text).expect("a file");
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
        path.into_os_string()
    };
    type Give<'a> = Box<dyn Fn(&Place, &[&str]) -> OsString + 'a>;
    let sources: [(&str, Give<'_>); 3] = [
        ("HEADWATER_KEY", Box::new(|_, keys| keys.join(",").into())),
        ("HEADWATER_KEY_FILE", Box::new(|place, keys| file(place, keys.join("\n")))),
        ("HEADWATER_KEY_COMMAND", Box::new(|_, keys| format!("echo '{}'", keys.join(",")).into())),
    ];
    for (variable, give) in sources {
        let mut place = Place::new();
        place.set(variable, give(&place, &[&old.1]));
        filled(&place);
        let before = place.bytes();
        let error = place.store().rotate().expect_err("there is no new key");
        assert_eq!(error.code(), "same_key");
        assert!(error.to_string().contains(variable), "{error}");
        assert!(error.hint().expect("a hint").contains("put a new key"), "{error}");
        // behind the old one it is of no use either
        place.set(variable, give(&place, &[&old.1, &new.1]));
        assert_eq!(place.store().rotate().expect_err("not the first").code(), "same_key");
        assert_eq!(place.bytes(), before);

        place.set(variable, give(&place, &[&new.1, &old.1]));
        opens(&place);
        let rotated = place.store().rotate().expect("rotated").expect("a store");
        let expected = Rotated { from: old.0.clone(), to: new.0.clone(), entries: 3, new_key: None, left: None };
        assert_eq!(rotated, expected, "{variable}");
        opens(&place);
        place.set(variable, give(&place, &[&new.1]));
        opens(&place);
        place.set(variable, give(&place, &[&old.1]));
        assert_eq!(place.store().read("acme").expect_err("the old key opens nothing").code(), "wrong_key");
        assert!(place.kept_keys().is_empty());
    }
}

#[test]
fn a_write_seals_everything_with_the_first_key() {
    let (old, new) = (new_key(), new_key());
    let mut place = Place::new().with("HEADWATER_KEY", old.1.clone());
    filled(&place);
    place.set("HEADWATER_KEY", format!("{},{}", new.1, old.1));
    assert!(place.store().mark("acme", |_| {}).expect("marked"));
    place.set("HEADWATER_KEY", new.1.clone());
    opens(&place);
    place.set("HEADWATER_KEY", format!("{},{}", old.1, new.1));
    place.store().write("acme", &entry("api"), &secrets("a")).expect("written");
    place.set("HEADWATER_KEY", old.1);
    opens(&place);
}

#[test]
fn readers_are_not_disturbed_by_rotations() {
    let place = Place::new();
    filled(&place);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) || reads == 0 {
                assert_eq!(plain(place.store().read("acme").expect("it opens")), expected("api", "a"));
                reads += 1;
            }
        });
        for _ in 0..20 {
            place.store().rotate().expect("rotated").expect("a store");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().expect("no read failed");
    });
    assert_eq!(place.kept_keys().len(), 1);
}

#[test]
fn a_key_is_discarded_only_if_nothing_is_sealed_with_it() {
    let place = Place::new();
    filled(&place);
    let store = place.store();
    let [id] = place.kept_keys().try_into().expect("one key");
    let path = place.keys().join(&id);
    let key = Key::parse(std::fs::read_to_string(&path).expect("a key").trim()).expect("a key");
    store.discard(&key, Some(&path));
    assert!(path.exists(), "the store needs it");
    // nor if that cannot be told
    let whole = place.bytes();
    place.put(b"{");
    store.discard(&key, Some(&path));
    place.put(&whole);
    opens(&place);
    std::fs::remove_file(place.path()).expect("removed");
    store.discard(&key, Some(&path));
    assert!(!path.exists());
}
