//! Marked secrets, the ways in which servers write them down, and the search for pieces of them in all that was written.

use std::collections::{BTreeSet, HashSet};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A secret that nothing else looks like, with characters that URLs, JSON, HTML and base64 write in another way.
pub fn mark(name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let (one, other) = (hex(&digest.as_ref()[..4]), hex(&digest.as_ref()[4..18]));
    format!("M4RK{one}/+\"&<>'=%\\{other}")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many ways of writing [`spelled`] knows.
pub const WAYS: usize = 13;

/// A text as servers write it down.
pub fn spelled(way: usize, text: &str) -> String {
    let each = |write: &dyn Fn(u8) -> String| text.bytes().map(write).collect::<String>();
    let json = serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
    match way % WAYS {
        0 => text.to_owned(),
        1 => url::form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        2 => each(&|byte| format!("%{byte:02x}")),
        3 => json,
        4 => json.replace('/', "\\/").replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003E"),
        5 => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
        6 => each(&|byte| format!("&#{byte};")),
        7 => STANDARD.encode(text),
        8 => STANDARD.encode(format!("a:{text}")),
        9 => URL_SAFE.encode(format!("a{text}>")),
        10 => hex(text.as_bytes()),
        11 => hex(text.as_bytes()).to_uppercase(),
        _ => text.as_bytes().chunks(20).map(|line| format!("{}\r\n ", String::from_utf8_lossy(line))).collect(),
    }
}

const PIECE: usize = 12;

/// Pieces of secrets in all spellings: not even a part of one may be seen.
pub struct Pieces {
    known: HashSet<[u8; PIECE]>,
    /// the first three bytes of one
    begins: Vec<bool>,
}

impl Pieces {
    pub fn of(secrets: &BTreeSet<String>) -> Self {
        let mut pieces = Self { known: HashSet::new(), begins: vec![false; 1 << 24] };
        for secret in secrets {
            // of a key in PEM each line counts, but not the words around it
            let lines = secret.lines().filter(|line| !line.starts_with("-----") && line.len() >= PIECE);
            for line in lines {
                (0..WAYS).for_each(|way| pieces.add(spelled(way, line).as_bytes()));
                for before in ["", "a", "ab"] {
                    let whole = STANDARD.encode(format!("{before}{line}"));
                    // what is made of other bytes too is not the secret's own
                    let own = &whole[before.len() * 4 / 3 + 1..(before.len() + line.len()) * 8 / 6];
                    pieces.add(own.as_bytes());
                    pieces.add(own.replace('+', "-").replace('/', "_").as_bytes());
                }
            }
        }
        pieces
    }

    fn add(&mut self, text: &[u8]) {
        for piece in text.windows(PIECE) {
            self.begins[start(piece)] = true;
            self.known.insert(piece.try_into().expect("its width"));
        }
    }

    /// The surroundings of the first piece, as it stands or broken into lines.
    pub fn find(&self, bytes: &[u8]) -> Option<String> {
        // a database folds nothing
        if bytes.len() > 1 << 20 {
            return self.find_in(bytes);
        }
        let folded: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        self.find_in(bytes).or_else(|| self.find_in(&folded))
    }

    fn find_in(&self, bytes: &[u8]) -> Option<String> {
        let is_one = |window: &[u8]| self.begins[start(window)] && self.known.contains(window);
        let at = bytes.windows(PIECE).position(is_one)?;
        let around = &bytes[at.saturating_sub(300)..(at + 200).min(bytes.len())];
        Some(String::from_utf8_lossy(around).into_owned())
    }
}

fn start(window: &[u8]) -> usize {
    usize::from(window[0]) << 16 | usize::from(window[1]) << 8 | usize::from(window[2])
}

/// All that was written, with where.
#[derive(Default)]
pub struct Written(Vec<(String, Vec<u8>)>);

impl Written {
    pub fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    /// All files of a folder but those that a person has written.
    pub fn add_files(&mut self, folder: &std::path::Path, is_own: &dyn Fn(&str) -> bool) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.display().to_string();
            if entry.is_dir() {
                self.add_files(&entry, is_own);
            } else if !is_own(&name) {
                self.add(name, std::fs::read(&entry).expect("a file"));
            }
        }
    }

    /// How often masks stand in it.
    pub fn masks(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.windows(3).filter(|window| window == b"***").count()).sum()
    }

    /// Panics with every place that shows a piece of a secret.
    pub fn shows_none_of(&self, secrets: &BTreeSet<String>) {
        let pieces = Pieces::of(secrets);
        let found: Vec<String> =
            self.0.iter().filter_map(|(place, bytes)| Some(format!("{place}: …{}…", pieces.find(bytes)?))).collect();
        assert!(found.is_empty(), "{} places show a piece of a secret:\n\n{}", found.len(), found.join("\n\n"));
    }
}
