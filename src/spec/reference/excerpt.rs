//! Parts of a YAML text, cut out as they are written: whole lines, and above them the keys that lead there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::diagnostic::{Position, Segment};
use crate::spec::yaml::{self, Part};

/// A text whose parts can be cut out.
#[derive(Debug)]
pub(super) struct Excerpts<'t> {
    text: &'t str,
    lines: Vec<&'t str>,
}

/// A key with its value, or an item of a list, that has lines of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    path: Vec<Segment>,
    /// from 0, with the comment above
    pub(super) lines: Range<usize>,
}

impl Entry {
    /// Lines that are shown above it: the keys that lead there.
    pub(super) fn lines_above(&self) -> usize {
        self.path.len().saturating_sub(1)
    }
}

/// The line by which an editor finds the schema says nothing about the language.
const SCHEMA_LINE: &str = "# yaml-language-server:";

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

impl<'t> Excerpts<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, lines: text.lines().collect() }
    }

    /// The whole text.
    pub(super) fn whole(&self) -> String {
        let mut out = String::new();
        for line in self.lines.iter().skip_while(|line| line.starts_with(SCHEMA_LINE) || line.trim().is_empty()) {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// The entry at `path`, or around it where it stands within brackets. `None` for the document as a whole.
    pub(super) fn entry(&self, path: &[Segment]) -> Option<Entry> {
        let bracketed = (0..path.len()).find(|length| self.is_bracketed(&path[..*length]));
        let path = &path[..bracketed.unwrap_or(path.len())];
        let (line, column) = self.begin(path)?;
        let mut end = line + 1;
        let value = yaml::locate(self.text, path, Part::Value);
        // a list may stand in the column of its key
        let items_below = |text: &str| {
            text.starts_with('-')
                && matches!(path.last(), Some(Segment::Key(_)))
                && value.is_some_and(|at| at.line > line + 1)
        };
        while let Some(next) = self.lines.get(end) {
            let (indent, rest) = (indentation(next), next.trim_start());
            let belongs = rest.is_empty()
                || indent > column
                || (indent == column && (rest.starts_with(['}', ']']) || items_below(rest)));
            // whether a comment belongs to what follows is seen below
            if !(belongs || is_comment(next) && indent >= column) {
                break;
            }
            end += 1;
        }
        // what stands at the end and is no part of the value belongs to what follows
        while end > line + 1
            && self
                .lines
                .get(end - 1)
                .is_some_and(|last| last.trim().is_empty() || (is_comment(last) && indentation(last) <= column))
        {
            end -= 1;
        }
        let mut start = line;
        let above = |at: usize| at.checked_sub(1).and_then(|at| self.lines.get(at));
        while above(start)
            .is_some_and(|above| is_comment(above) && indentation(above) == column && !above.starts_with(SCHEMA_LINE))
        {
            start -= 1;
        }
        Some(Entry { path: path.to_vec(), lines: start..end })
    }

    /// Whether the map or list at `path` stands in `{ … }` or `[ … ]`.
    fn is_bracketed(&self, path: &[Segment]) -> bool {
        yaml::locate(self.text, path, Part::Value)
            .and_then(|at| self.rest(at))
            .is_some_and(|rest| rest.starts_with(['{', '[']))
    }

    fn rest(&self, at: Position) -> Option<&'t str> {
        let line = self.lines.get(at.line - 1)?;
        let (offset, _) = line.char_indices().nth(at.column - 1)?;
        line.get(offset..)
    }

    /// Line and column, from 0, where an entry begins: its key, or the `-` of its item.
    fn begin(&self, path: &[Segment]) -> Option<(usize, usize)> {
        match path.last()? {
            Segment::Key(_) => {
                let at = yaml::locate(self.text, path, Part::Key)?;
                Some((at.line - 1, at.column - 1))
            }
            Segment::Index(_) => {
                let at = yaml::locate(self.text, path, Part::Value)?;
                let before: String = self.lines.get(at.line - 1)?.chars().take(at.column - 1).collect();
                Some((at.line - 1, before.rfind('-')?))
            }
        }
    }

    /// Whether the item whose `-` stands there begins with a key and its value on one line, which often names it: `- as: team`.
    fn begins_with_a_line(&self, line: usize, column: usize) -> bool {
        let Some(rest) = self.lines.get(line).and_then(|text| text.get(column + 1..)) else { return false };
        let member = column + 1 + indentation(rest);
        let value = rest.split_once(": ").map(|(_, value)| value.trim_start());
        let below = self.lines[line + 1..].iter().find(|text| !text.trim().is_empty());
        value.is_some_and(|value| !value.is_empty() && !value.starts_with('#'))
            && !rest.trim_start().starts_with(['{', '['])
            && below.is_none_or(|text| indentation(text) <= member)
    }

    /// The lines of the entries and the keys that lead to them, in the order of the text.
    pub(super) fn cut(&self, entries: &[Entry]) -> String {
        let mut kept: BTreeSet<usize> = entries.iter().flat_map(|entry| entry.lines.clone()).collect();
        // items of lists: where the `-` stands, and the lines of the item
        let mut items: BTreeMap<(usize, usize), Range<usize>> = BTreeMap::new();
        for entry in entries {
            for length in 1..entry.path.len() {
                let path = &entry.path[..length];
                let Some((line, column)) = self.begin(path) else { continue };
                match path.last() {
                    Some(Segment::Key(_)) => drop(kept.insert(line)),
                    _ if self.begins_with_a_line(line, column) => drop(kept.insert(line)),
                    _ => {
                        let lines = self.entry(path).map_or(line..line + 1, |item| line..item.lines.end);
                        items.insert((line, column), lines);
                    }
                }
            }
        }
        let mut out = String::new();
        for line in &kept {
            let mut text = self.lines.get(*line).copied().unwrap_or_default().trim_end().to_owned();
            items.retain(|(first, column), lines| {
                if !lines.contains(line) {
                    return true;
                }
                // the line with the `-` is not shown: this one takes it over
                if line != first && text.get(*column..=*column) == Some(" ") {
                    text.replace_range(*column..=*column, "-");
                }
                false
            });
            out.push_str(&text);
            out.push('\n');
        }
        out
    }
}
