//! Which parts of the examples are shown: the shortest that together have every word of a section.

use std::collections::{BTreeMap, BTreeSet};

use super::corpus::{Corpus, SHORT_FORM, Use};
use super::excerpt::Entry;
use crate::diagnostic::Segment;

/// A piece of one example, as it is shown.
#[derive(Debug)]
pub(super) struct Block {
    /// of the corpus
    pub(super) example: usize,
    pub(super) text: String,
}

/// Lines of a map that is shown with all its words; of a larger one the words are shown one by one.
const WHOLE_LINES_MAX: usize = 10;
/// What a block costs a reader besides its lines.
const BLOCK_COST: usize = 3;
/// What it costs a reader that a word is shown without those beside it.
const PARTIAL_COST: usize = 3;

struct Candidate<'u> {
    example: usize,
    entry: Entry,
    words: BTreeSet<&'u str>,
    /// what is left out around it
    partial: bool,
}

/// Pieces that show the words in `wanted`, and the words that no example has.
pub(super) fn choose<'w>(
    corpus: &Corpus<'_>,
    uses: &[Use],
    wanted: &BTreeSet<&'w str>,
) -> (Vec<Block>, BTreeSet<&'w str>) {
    let candidates: Vec<Candidate<'_>> = uses.iter().flat_map(|used| candidates(corpus, used)).collect();
    let mut missing = wanted.clone();
    let mut chosen: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    loop {
        let cost = |candidate: &Candidate<'_>| {
            let begun = chosen.get(&candidate.example);
            let shown =
                |line: &usize| begun.is_some_and(|entries| entries.iter().any(|entry| entry.lines.contains(line)));
            let lines = candidate.entry.lines.clone().filter(|line| !shown(line)).count();
            let partial = if candidate.partial { PARTIAL_COST } else { 0 };
            let new = if begun.is_some() { 0 } else { BLOCK_COST + candidate.entry.lines_above() };
            1 + lines + partial + new
        };
        let gain = |candidate: &Candidate<'_>| candidate.words.iter().filter(|word| missing.contains(*word)).count();
        // the most words per line; of equal ones the first
        let best = candidates
            .iter()
            .filter(|candidate| gain(candidate) > 0)
            .reduce(|best, next| if gain(next) * cost(best) > gain(best) * cost(next) { next } else { best });
        let Some(best) = best else { break };
        chosen.entry(best.example).or_default().push(best.entry.clone());
        let words = best.words.clone();
        missing.retain(|word| !words.contains(word));
    }
    let blocks =
        chosen.into_iter().map(|(example, entries)| Block { example, text: corpus.texts[example].1.cut(&entries) });
    (blocks.collect(), missing)
}

/// The use with the fewest lines and words.
pub(super) fn shortest(corpus: &Corpus<'_>, uses: &[Use]) -> Option<Block> {
    let entries = uses.iter().filter_map(|used| Some((used, corpus.texts[used.example].1.entry(&used.path)?)));
    let (used, entry) =
        entries.min_by_key(|(used, entry)| (entry.lines.len() + entry.lines_above(), used.words.len()))?;
    Some(Block { example: used.example, text: corpus.texts[used.example].1.cut(&[entry]) })
}

/// A use as a whole if it is short, and its words one by one.
fn candidates<'u>(corpus: &Corpus<'_>, used: &'u Use) -> Vec<Candidate<'u>> {
    let excerpts = &corpus.texts[used.example].1;
    let mut found = Vec::new();
    if let Some(entry) = excerpts.entry(&used.path).filter(|entry| entry.lines.len() <= WHOLE_LINES_MAX) {
        let words = used.words.iter().map(String::as_str).collect();
        found.push(Candidate { example: used.example, entry, words, partial: false });
    }
    // a short form has no words to be shown one by one
    let words = if used.words.iter().any(|word| word == SHORT_FORM) { &[] } else { used.words.as_slice() };
    for word in words {
        let mut path = used.path.clone();
        path.push(Segment::Key(word.clone()));
        if let Some(entry) = excerpts.entry(&path) {
            found.push(Candidate {
                example: used.example,
                entry,
                words: BTreeSet::from([word.as_str()]),
                partial: true,
            });
        }
    }
    found
}
