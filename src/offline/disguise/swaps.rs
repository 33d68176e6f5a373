//! Which value becomes which, for one recording.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aho_corasick::{AhoCorasick, MatchKind};
use indexmap::IndexMap;

use super::kind::{Kind, plain_key};
use super::stand_in::Maker;

/// What a recording replaces, beside what keys and shapes tell.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// keys whose values stay
    pub keep: BTreeSet<String>,
    /// keys whose values go
    pub replace: BTreeSet<String>,
    /// what the integration's own files say: a value that stands there stays
    pub said: Vec<String>,
    /// the origins that were asked: URLs there are changed piece by piece, all others as a whole
    pub origins: BTreeSet<String>,
    /// the address of the API, and the one that a test of it has
    pub base: Option<(String, String)>,
    /// secrets, with what stands for them
    pub secrets: Vec<(String, String)>,
}

impl Rules {
    pub(super) fn keeps(&self, key: Option<&str>) -> bool {
        key.is_some_and(|key| self.keep.contains(&plain_key(key)))
    }

    pub(super) fn replaces(&self, key: Option<&str>) -> bool {
        key.is_some_and(|key| self.replace.contains(&plain_key(key)))
    }

    /// Whether a text stands in the integration's files as a word of its own.
    pub(super) fn says(&self, text: &str) -> bool {
        self.said.iter().any(|said| said.match_indices(text).any(|(at, _)| is_whole(said, at, at + text.len())))
    }
}

/// How many values under a key were replaced, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// the key; a name in brackets for what has none
    pub key: String,
    /// what they were
    pub kind: Kind,
    /// how many
    pub count: u64,
}

/// What values become.
pub(super) struct Swaps {
    exact: HashMap<String, String>,
    /// those that are looked for inside of texts, and what they become
    inside: Option<(AhoCorasick, Vec<String>)>,
    secrets: Vec<(String, String)>,
}

/// Characters from which on a value is looked for inside of other texts.
const INSIDE_CHARS_MIN: usize = 4;
/// Bytes up to which it is.
const INSIDE_BYTES_MAX: usize = 400;
/// Bytes from which on a secret is looked for inside of other texts: shorter ones stand there by chance.
pub(in crate::offline) const SURE_SECRET_BYTES_MIN: usize = 8;
/// Times another stand-in is tried before a number is put behind it.
const ATTEMPTS_MAX: u32 = 40;

impl Swaps {
    /// Makes what stands in for each of these texts and numbers; numbers keep their order and how many digits they have.
    pub fn new(
        maker: &Maker,
        found: &IndexMap<String, Kind>,
        numbers: &BTreeSet<u64>,
        kept: &HashSet<String>,
        rules: &Rules,
    ) -> Self {
        let mut exact: HashMap<String, String> = HashMap::new();
        let mut taken: HashSet<String> = found.keys().cloned().chain(kept.iter().cloned()).collect();
        for (old, new) in renumbered(maker, numbers) {
            taken.insert(new.to_string());
            exact.insert(old.to_string(), new.to_string());
        }
        for (text, kind) in found {
            if exact.contains_key(text) {
                continue;
            }
            let mut new = String::new();
            for attempt in 0..=ATTEMPTS_MAX {
                new = maker.of(*kind, text, attempt);
                if attempt == ATTEMPTS_MAX {
                    new = format!("{new}{}", taken.len());
                }
                if !taken.contains(&new) {
                    break;
                }
            }
            taken.insert(new.clone());
            exact.insert(text.clone(), new);
        }
        let parts = parts_of_names(found, &exact, rules);
        for (old, new) in parts {
            exact.entry(old).or_insert(new);
        }
        let is_looked_for = |text: &&String| text.chars().count() >= INSIDE_CHARS_MIN && text.len() <= INSIDE_BYTES_MAX;
        let mut patterns: Vec<(String, String)> =
            exact.iter().filter(|(text, _)| is_looked_for(text)).map(|(old, new)| (old.clone(), new.clone())).collect();
        let lower: Vec<_> = patterns.iter().map(|(old, new)| (old.to_lowercase(), new.clone())).collect();
        let of_machines = |old: &str| old.contains('@') || old.chars().any(|c| c.is_ascii_digit());
        patterns.extend(lower.into_iter().filter(|(old, _)| of_machines(old) && !exact.contains_key(old)));
        patterns.sort();
        patterns.dedup_by(|one, other| one.0 == other.0);
        let searcher =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns.iter().map(|(old, _)| old));
        let inside = searcher.ok().map(|searcher| (searcher, patterns.into_iter().map(|(_, new)| new).collect()));
        Self { exact, inside, secrets: rules.secrets.clone() }
    }

    /// What this very text becomes.
    pub fn exact(&self, text: &str) -> Option<&str> {
        let secret = || self.secrets.iter().find(|(secret, _)| secret == text).map(|(_, stand_in)| stand_in);
        self.exact.get(text).or_else(secret).map(String::as_str)
    }

    /// A text with what stands for the secrets in it. Short ones, which could stand there by chance, stay: see [`Self::exact`].
    pub fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (secret, stand_in) in self.secrets.iter().filter(|(secret, _)| secret.len() >= SURE_SECRET_BYTES_MIN) {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), stand_in);
            }
        }
        text
    }

    /// A text with all that stands in it replaced.
    pub fn inside(&self, text: &str) -> String {
        let text = self.without_secrets(text);
        let Some((searcher, stand_ins)) = &self.inside else { return text };
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        for found in searcher.find_iter(&text).filter(|found| is_whole(&text, found.start(), found.end())) {
            out.push_str(&text[done..found.start()]);
            out.push_str(&stand_ins[found.pattern().as_usize()]);
            done = found.end();
        }
        out.push_str(&text[done..]);
        out
    }
}

/// Whether what stands there is a word of its own.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let is_word = |c: char| c.is_alphanumeric();
    let inner = text.get(start..end).unwrap_or_default();
    let before = text.get(..start).and_then(|text| text.chars().next_back()).is_some_and(is_word);
    let after = text.get(end..).and_then(|text| text.chars().next()).is_some_and(is_word);
    !((before && inner.starts_with(is_word)) || (after && inner.ends_with(is_word)))
}

/// Numbers of as many digits, in the same order.
fn renumbered(maker: &Maker, numbers: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let mut by_length: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for number in numbers {
        by_length.entry(number.checked_ilog10().unwrap_or(0)).or_default().push(*number);
    }
    let mut new = BTreeMap::new();
    for (digits, all) in by_length {
        let first = 10_u64.saturating_pow(digits);
        let slot = first.saturating_mul(9) / (all.len() as u64).max(1);
        for (nth, old) in all.into_iter().enumerate() {
            let start = first + slot * nth as u64;
            let chance = u64::from(maker.bits(&old.to_string()));
            let mut made =
                start + u64::try_from((u128::from(slot.saturating_sub(1)) * u128::from(chance)) >> 32).unwrap_or(0);
            if numbers.contains(&made) {
                made = (start..start + slot).find(|made| !numbers.contains(made)).unwrap_or(made);
            }
            new.insert(old, made);
        }
    }
    new
}

/// A name of two words stands in two words, each of which may be met alone.
fn parts_of_names(
    found: &IndexMap<String, Kind>,
    exact: &HashMap<String, String>,
    rules: &Rules,
) -> Vec<(String, String)> {
    let mut parts = Vec::new();
    for (text, _) in found.iter().filter(|(_, kind)| **kind == Kind::Name) {
        let Some(new) = exact.get(text) else { continue };
        let words: Vec<&str> = text.split_whitespace().collect();
        let stand_ins: Vec<&str> = new.split_whitespace().collect();
        let (Some(first), Some(last)) = (stand_ins.first(), stand_ins.last()) else { continue };
        if words.len() < 2 || words.len() > 4 {
            continue;
        }
        for (nth, word) in words.iter().enumerate() {
            let new = if nth + 1 == words.len() { last } else { first };
            let is_name = word.chars().count() >= INSIDE_CHARS_MIN && word.chars().all(char::is_alphabetic);
            if is_name && word.starts_with(char::is_uppercase) && !rules.says(word) {
                parts.push(((*word).to_owned(), (*new).to_owned()));
            }
        }
    }
    parts
}
