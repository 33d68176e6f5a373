//! A file that is not as it was written is refused, and left byte for byte as it is.

use super::*;

/// A store with two entries, sealed with a key of the environment.
fn filled() -> (Place, String) {
    let (id, key) = new_key();
    let place = Place::new().with("HEADWATER_KEY", key);
    place.store().write("acme", &entry("api"), &secrets("a")).expect("written");
    place.store().write("main", &entry("other"), &secrets("b")).expect("written");
    (place, id)
}

/// Every call that looks at all of the file refuses it with one of these codes, and it stays.
fn refused(place: &Place, codes: &[&str]) -> StoreError {
    let before = place.bytes();
    let store = place.store();
    let errors = [
        store.read("acme").map(drop),
        store.read("other").map(drop),
        store.write("acme", &entry("api"), &secrets("c")).map(drop),
        store.write("new", &entry("api"), &secrets("c")).map(drop),
        store.mark("acme", |entry| entry.renewable = false).map(drop),
    ];
    let mut last = None;
    for error in errors {
        let error = error.expect_err("it is refused");
        assert!(codes.contains(&error.code()), "{error}: {codes:?}");
        assert!(error.hint().is_some(), "{error}");
        last = Some(error);
    }
    assert_eq!(place.bytes(), before, "it is left as it is");
    last.expect("five of them")
}

fn edited(place: &Place, edit: impl FnOnce(&mut serde_json::Value)) {
    let mut document = serde_json::from_slice(&place.bytes()).expect("JSON");
    edit(&mut document);
    place.put(format!("{document:#}").as_bytes());
}

#[test]
fn every_flipped_byte_is_refused_or_means_the_same() {
    let (place, _) = filled();
    let (whole, store) = (place.bytes(), place.store());
    let path = place.path();
    let (mut refused, mut harmless) = (0, 0);
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            std::fs::write(&path, &bytes).expect("written");
            let read = store.read("acme").and_then(|acme| Ok((plain(acme), plain(store.read("main")?))));
            match read {
                Err(_) => refused += 1,
                Ok(read) => {
                    let shown = String::from_utf8_lossy(&bytes[at.saturating_sub(20)..(at + 20).min(bytes.len())]);
                    assert_eq!(read, (expected("api", "a"), expected("other", "b")), "byte {at} ^ {flip}: {shown}");
                    harmless += 1;
                }
            }
        }
    }
    assert!(refused > whole.len() * 2 && harmless > 0, "{refused} refused, {harmless} harmless");
}

#[test]
fn every_truncation_is_refused() {
    let (place, _) = filled();
    let whole = place.text();
    let store = place.store();
    for length in 0..whole.trim_end().len() {
        place.put(&whole.as_bytes()[..length]);
        for error in [store.read("acme").map(drop), store.entries().map(drop), store.remove("acme").map(drop)] {
            let error = error.expect_err("it is refused");
            assert_eq!(error.code(), "store_damaged", "{length}: {error}");
        }
    }
    for length in [0, 1, 20, whole.len() / 2, whole.len() - 3] {
        place.put(&whole.as_bytes()[..length]);
        refused(&place, &["store_damaged"]);
    }
    place.put(b"");
    assert!(place.store().entries().expect_err("empty").to_string().ends_with("is damaged: it is empty"));
}

#[test]
fn what_was_swapped_or_edited_is_refused() {
    type Edit = (&'static str, fn(&mut serde_json::Value));
    let edits: [Edit; 8] = [
        ("sealed parts are swapped", |document| {
            let (acme, main) =
                (document["entries"]["acme"]["sealed"].take(), document["entries"]["main"]["sealed"].take());
            document["entries"]["acme"]["sealed"] = main;
            document["entries"]["main"]["sealed"] = acme;
        }),
        ("entries are swapped", |document| {
            let (acme, main) = (document["entries"]["acme"].take(), document["entries"]["main"].take());
            document["entries"]["acme"] = main;
            document["entries"]["main"] = acme;
        }),
        ("an entry is copied", |document| document["entries"]["copy"] = document["entries"]["acme"].clone()),
        ("a fact is edited", |document| document["entries"]["acme"]["facts"]["account_id"] = 8.into()),
        ("a fact is added", |document| document["entries"]["acme"]["facts"]["host"] = "evil.example".into()),
        ("the provider is edited", |document| document["entries"]["main"]["provider"] = "evil".into()),
        ("a scope goes", |document| document["entries"]["acme"]["scopes"] = json!([])),
        ("a word is added", |document| document["entries"]["acme"]["note"] = "mine".into()),
    ];
    for (what, edit) in edits {
        let (place, _) = filled();
        edited(&place, edit);
        let error = refused(&place, &["store_damaged"]);
        assert!(error.to_string().contains("credentials.json"), "{what}: {error}");
    }
}

#[test]
fn a_file_that_was_only_written_in_another_way_is_read() {
    let (place, _) = filled();
    let mut document: serde_json::Value = serde_json::from_slice(&place.bytes()).expect("JSON");
    document["entries"].as_object_mut().expect("entries").reverse_members();
    let acme = document["entries"]["acme"].as_object_mut().expect("an entry");
    acme.reverse_members();
    acme["facts"].as_object_mut().expect("facts").reverse_members();
    place.put(document.to_string().as_bytes());
    assert_eq!(plain(place.store().read("acme").expect("read")), expected("api", "a"));
}

/// The order of the members of an object means nothing.
trait ReverseMembers {
    fn reverse_members(&mut self);
}

impl ReverseMembers for serde_json::Map<String, serde_json::Value> {
    fn reverse_members(&mut self) {
        let members: Vec<_> = std::mem::take(self).into_iter().collect();
        self.extend(members.into_iter().rev());
    }
}

#[test]
fn two_entries_of_one_name_are_refused() {
    // whichever of the two is the right one
    for (name, other) in [("acme", "main"), ("main", "acme")] {
        let (place, _) = filled();
        place.put(place.text().replace(&format!("\"{name}\": {{"), &format!("\"{other}\": {{")).as_bytes());
        refused(&place, &["store_damaged"]);
    }
}

#[test]
fn a_foreign_file_is_refused_and_not_quoted() {
    let table = [
        ("{}", "store_foreign"),
        ("[]", "store_foreign"),
        (r#"{ "format": "other", "token": "hunter2" }"#, "store_foreign"),
        ("hunter2", "store_damaged"),
        (r#"{ "format": "headwater-credentials", "version": 2, "blob": "hunter2" }"#, "store_foreign"),
        (r#"{ "format": "headwater-credentials", "version": "hunter2" }"#, "store_damaged"),
        (r#"{ "format": "headwater-credentials", "version": 1, "hunter2": 1 }"#, "store_damaged"),
        (r#"{ "format": "headwater-credentials", "version": 1, "key": "hunter2", "entries": {} }"#, "store_damaged"),
        (r#"{ "format": "headwater-credentials", "version": 1, "key": "../../../x", "entries": {} }"#, "store_damaged"),
        (
            r#"{ "format": "headwater-credentials", "version": 1, "key": "k000000000000", "entries": { "a": { "hunter2": 1 } } }"#,
            "store_damaged",
        ),
    ];
    for (text, code) in table {
        let (place, _) = filled();
        place.put(text.as_bytes());
        let error = refused(&place, &[code]);
        let said = format!("{error} {error:?} {:?}", error.hint());
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(place.store().entries().expect_err("refused").code(), code);
        assert_eq!(place.store().remove("acme").expect_err("refused").code(), code);
        assert_eq!(place.store().rotate().expect_err("refused").code(), code);
        assert_eq!(place.text(), text);
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let (place, _) = filled();
    let mut bytes = place.bytes();
    bytes.resize(crate::plan::limits::CREDENTIALS_BYTES_MAX + 1, b' ');
    place.put(&bytes);
    let error = refused(&place, &["store_damaged"]);
    assert!(error.to_string().ends_with("it is larger than 4 MiB"), "{error}");
}
