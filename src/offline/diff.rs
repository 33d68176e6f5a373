//! The difference between what was expected and what is there, for people.

use serde_json::{Map, Value};

use super::value::plain;
use crate::plan::limits;

/// What a line of a difference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// it is as expected, or says something of the others
    Same,
    /// it was expected, and is not there
    Missing,
    /// it is there, and was not expected
    Extra,
}

impl Sign {
    /// The character before the line.
    pub fn mark(self) -> char {
        match self {
            Self::Same => ' ',
            Self::Missing => '-',
            Self::Extra => '+',
        }
    }
}

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// what it says
    pub sign: Sign,
    /// its text
    pub text: String,
}

impl Line {
    pub(super) fn new(sign: Sign, text: impl Into<String>) -> Self {
        Self { sign, text: text.into() }
    }
}

/// The rows of a table that are not as expected, aligned; none if they are. `key` is what tells rows apart; columns that are not written are
/// not compared.
pub(super) fn rows(
    expected: &[Map<String, Value>],
    found: &[Map<String, Value>],
    key: &[String],
    is_same: impl Fn(&str, &Value, &Value) -> bool,
) -> Option<Vec<Line>> {
    let agrees = |expected: &Map<String, Value>, found: &Map<String, Value>| {
        expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| is_same(name, value, found)))
    };
    if expected.len() == found.len() && expected.iter().zip(found).all(|(one, other)| agrees(one, other)) {
        return None;
    }
    let has_key = !key.is_empty() && expected.iter().all(|row| key.iter().all(|name| row.contains_key(name)));
    let belongs = |expected: &Map<String, Value>, found: &Map<String, Value>| {
        let same = |name: &String| found.get(name).is_some_and(|found| is_same(name, &expected[name], found));
        if has_key { key.iter().all(same) } else { agrees(expected, found) }
    };
    let columns = columns(expected, key, has_key);
    let mut lines: Vec<(Sign, Vec<String>)> = vec![(Sign::Same, columns.clone())];
    let cells = |row: &Map<String, Value>| columns.iter().map(|name| cell(row.get(name))).collect::<Vec<_>>();
    let (mut one, mut other) = (0, 0);
    while one < expected.len() || other < found.len() {
        match (expected.get(one), found.get(other)) {
            (Some(wanted), Some(there)) if belongs(wanted, there) => {
                if agrees(wanted, there) {
                    lines.push((Sign::Same, cells(there)));
                } else {
                    lines.push((Sign::Missing, cells(wanted)));
                    lines.push((Sign::Extra, cells(there)));
                }
                (one, other) = (one + 1, other + 1);
            }
            (Some(wanted), Some(there)) if found[other..].iter().any(|later| belongs(wanted, later)) => {
                lines.push((Sign::Extra, cells(there)));
                other += 1;
            }
            (Some(wanted), _) => {
                lines.push((Sign::Missing, cells(wanted)));
                one += 1;
            }
            (None, Some(there)) => {
                lines.push((Sign::Extra, cells(there)));
                other += 1;
            }
            (None, None) => break,
        }
    }
    Some(aligned(&lines))
}

/// The columns to show: those that some row names, those of the key first.
fn columns(expected: &[Map<String, Value>], key: &[String], has_key: bool) -> Vec<String> {
    let mut columns: Vec<String> = if has_key || expected.is_empty() { key.to_vec() } else { Vec::new() };
    for name in expected.iter().flat_map(Map::keys) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    columns
}

fn cell(value: Option<&Value>) -> String {
    value.map(|value| shortened(&plain(value))).unwrap_or_default()
}

/// A text in one line, cut where it is too long to be read.
pub(super) fn shortened(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() <= limits::TEST_VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(limits::TEST_VALUE_CHARS_MAX - 1).chain(['…']).collect()
}

/// Two texts in one line each, cut where they are too long to be read, and so that what they differ in is seen.
pub(super) fn shortened_both(one: &str, other: &str) -> (String, String) {
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    // a part of what is the same shows where it is
    let skipped = (same + SAME_SHOWN).saturating_sub(limits::TEST_VALUE_CHARS_MAX / 2);
    let from = |text: &str| {
        if skipped == 0 || text.chars().count() <= limits::TEST_VALUE_CHARS_MAX {
            return shortened(text);
        }
        shortened(&format!("…{}", text.chars().skip(skipped).collect::<String>()))
    };
    (from(one), from(other))
}

/// Characters before a difference that are shown.
const SAME_SHOWN: usize = 20;

fn aligned(lines: &[(Sign, Vec<String>)]) -> Vec<Line> {
    let columns = lines.first().map_or(0, |(_, cells)| cells.len());
    let width = |at: usize| lines.iter().map(|(_, cells)| cells[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut shown: Vec<Line> = lines
        .iter()
        .take(limits::TEST_LINES_MAX)
        .map(|(sign, cells)| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            Line::new(*sign, cells.collect::<Vec<_>>().join("  ").trim_end())
        })
        .collect();
    if lines.len() > shown.len() {
        shown.push(Line::new(Sign::Same, format!("… and {} more", lines.len() - shown.len())));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows_of(value: &Value) -> Vec<Map<String, Value>> {
        value.as_array().expect("a list").iter().map(|row| row.as_object().expect("a row").clone()).collect()
    }

    fn shown(expected: &Value, found: &Value, key: &[&str]) -> Option<String> {
        let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
        let lines = rows(&rows_of(expected), &rows_of(found), &key, |_, one, other| one == other)?;
        Some(lines.iter().map(|line| format!("{} {}\n", line.sign.mark(), line.text)).collect())
    }

    #[test]
    fn only_what_is_written_is_compared() {
        assert_eq!(shown(&json!([{ "id": 1 }]), &json!([{ "id": 1, "name": "a" }]), &["id"]), None);
        assert_eq!(shown(&json!([]), &json!([]), &["id"]), None);
    }

    #[test]
    fn rows_of_one_key_stand_below_each_other() {
        let expected = json!([{ "id": 1, "name": "a" }, { "id": 2, "name": "b" }, { "id": 4, "name": "d" }]);
        let found = json!([{ "id": 1, "name": "a" }, { "id": 2, "name": "x" }, { "id": 3, "name": "c" }]);
        let expected_text = "  id  name\n  1   a\n- 2   b\n+ 2   x\n- 4   d\n+ 3   c\n";
        assert_eq!(shown(&expected, &found, &["id"]).as_deref(), Some(expected_text));
        let unkeyed = json!([{ "name": "b" }]);
        assert_eq!(
            shown(&unkeyed, &json!([{ "name": "a" }, { "name": "b" }]), &["id"]).as_deref(),
            Some("  name\n+ a\n  b\n")
        );
        assert_eq!(shown(&json!([]), &json!([{ "id": 7, "name": "a" }]), &["id"]).as_deref(), Some("  id\n+ 7\n"));
    }
}
