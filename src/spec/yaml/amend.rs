//! Changes values of a YAML document in place: what is not changed stays as a person has written it, comments too.

use std::ops::Range;

use serde_json::{Map, Value};

use super::print::{self, WIDTH, entry, flow, lines};
use super::spans::{Entry, Node, Shape, tree};
use crate::diagnostic::Position;

/// Why a document was not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfaithful {
    /// a lowercase fragment
    pub reason: String,
    /// where, if it is one place
    pub position: Option<Position>,
}

/// The text of a document whose value becomes `wanted`, with as little of it changed as can be.
///
/// # Errors
/// The document cannot be read, or something else than its value would change: a comment would be lost, an alias stands there. What comes
/// out is read again and compared with what is wanted.
pub fn amended(text: &str, wanted: &Value) -> Result<String, Unfaithful> {
    let whole = |reason: &str| Unfaithful { reason: reason.to_owned(), position: None };
    let known = super::parse(text).map_err(|_| whole("the document cannot be read"))?;
    if known == *wanted {
        return Ok(text.to_owned());
    }
    let root = tree(text)
        .ok_or_else(|| whole("the document is written in a way in which values cannot be changed in place"))?;
    let mut amendment = Amendment { text, edits: Vec::new() };
    amendment.change(
        &root,
        (&known, wanted),
        Around { from: root.range.start, indent: 0, in_flow: false, is_item: true },
    )?;
    let mut edits = amendment.edits;
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (range, new) in edits {
        let between = text.get(done..range.start).ok_or_else(|| whole("its changes would overlap"))?;
        out.push_str(between);
        out.push_str(&if text.contains("\r\n") { new.replace('\n', "\r\n") } else { new });
        done = range.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    match super::parse(&out) {
        Ok(value) if value == *wanted => Ok(out),
        _ => Err(whole("the document is written in a way in which values cannot be changed in place")),
    }
}

/// What stands around a value.
#[derive(Debug, Clone, Copy)]
struct Around {
    /// behind the `:` or `-` before it; where it begins, in brackets
    from: usize,
    /// columns of the lines it may have of its own
    indent: usize,
    in_flow: bool,
    /// behind a `-`
    is_item: bool,
}

struct Amendment<'t> {
    text: &'t str,
    edits: Vec<(Range<usize>, String)>,
}

impl Amendment<'_> {
    fn change(&mut self, node: &Node, (known, wanted): (&Value, &Value), around: Around) -> Result<(), Unfaithful> {
        if known == wanted {
            return Ok(());
        }
        match (&node.shape, known, wanted) {
            (Shape::Map { flow, entries }, Value::Object(known), Value::Object(wanted))
                if entries.len() == known.len()
                    && !known.is_empty()
                    && known.keys().all(|name| wanted.contains_key(name)) =>
            {
                self.members((node, *flow, entries), (known, wanted), around)
            }
            (Shape::List { flow, items }, Value::Array(known), Value::Array(wanted))
                if items.len() == known.len() && !known.is_empty() && !wanted.is_empty() =>
            {
                self.items((node, *flow, items), (known, wanted), around)
            }
            _ => self.replace(node, wanted, around),
        }
    }

    /// Puts another value in place of a node.
    fn replace(&mut self, node: &Node, wanted: &Value, around: Around) -> Result<(), Unfaithful> {
        if matches!(node.shape, Shape::Alias) {
            return Err(self.unfaithful(node.range.start, "an alias (`*name`) stands there"));
        }
        if around.in_flow {
            self.without_comment(&node.range)?;
            let new = match (&node.shape, wanted) {
                (Shape::Scalar(true), Value::String(text)) => print::quoted(text),
                _ => flow(wanted),
            };
            self.edits.push((node.range.clone(), new));
            return Ok(());
        }
        let replaced = around.from..node.range.end.max(around.from);
        self.without_comment(&replaced)?;
        let open = matches!(wanted, Value::Object(_) | Value::Array(_)) && self.is_block(node);
        let column = self.column(around.from) + 1;
        let mut new = match (&node.shape, wanted) {
            (Shape::Scalar(true), Value::String(text)) => vec![print::quoted(text)],
            _ => lines(wanted, WIDTH.saturating_sub(column), &[], open),
        };
        let is_block = new.len() > 1 || (open && !new.first().is_some_and(|line| line.starts_with(['[', '{'])));
        if is_block {
            new = lines(wanted, WIDTH.saturating_sub(around.indent), &[], open || new.len() > 1);
        }
        let indent = format!("\n{}", " ".repeat(around.indent));
        let begins = if is_block && !around.is_item && !wanted.is_string() { indent.as_str() } else { " " };
        let begins = if around.from == 0 { "" } else { begins };
        self.edits.push((replaced, format!("{begins}{}", new.join(&indent))));
        Ok(())
    }

    /// Changes values of a map, and adds to it.
    fn members(
        &mut self,
        (node, is_flow, entries): (&Node, bool, &[Entry]),
        (known, wanted): (&Map<String, Value>, &Map<String, Value>),
        around: Around,
    ) -> Result<(), Unfaithful> {
        let in_flow = around.in_flow || is_flow;
        for (key, name, value) in entries {
            let (Some(known), Some(wanted)) = (known.get(name), wanted.get(name)) else {
                return Err(self.unfaithful(key.start, "a key is written in a way of its own"));
            };
            let colon = self.text.get(key.end..).and_then(|rest| rest.find(':')).map_or(key.end, |at| key.end + at + 1);
            let from = if in_flow { value.range.start } else { colon };
            let around = Around { from, indent: node.column + 2, in_flow, is_item: false };
            self.change(value, (known, wanted), around)?;
        }
        let added: Vec<_> = wanted.iter().filter(|(name, _)| !known.contains_key(*name)).collect();
        let Some((_, _, last)) = entries.last().filter(|_| !added.is_empty()) else { return Ok(()) };
        if is_flow {
            let new: Vec<_> =
                added.iter().map(|(name, value)| format!("{}: {}", print::key(name), flow(value))).collect();
            let new = format!(", {}", new.join(", "));
            let is_long = self.column(node.range.end) + new.chars().count() > WIDTH;
            if is_long
                && around.is_item
                && !around.in_flow
                && self.edits.iter().all(|(at, _)| at.start < node.range.start)
            {
                return self.opened(node, entries, &added, around);
            }
            self.edits.push((last.range.end..last.range.end, new));
            return Ok(());
        }
        let end = self.line_end(last.range.end);
        let room = WIDTH.saturating_sub(node.column);
        let new: Vec<_> = added.iter().flat_map(|(name, value)| entry(name, value, room, &["expect"])).collect();
        self.edits.push((end..end, self.as_lines(&new, node.column)));
        Ok(())
    }

    /// Writes a map in brackets line by line, because it would be too long for one.
    fn opened(
        &mut self,
        node: &Node,
        entries: &[Entry],
        added: &[(&String, &Value)],
        around: Around,
    ) -> Result<(), Unfaithful> {
        self.without_comment(&node.range)?;
        let mut new = Vec::new();
        for (key, _, value) in entries {
            new.extend(self.text.get(key.start..value.range.end).map(str::to_owned));
        }
        let room = WIDTH.saturating_sub(around.indent);
        new.extend(added.iter().flat_map(|(name, value)| entry(name, value, room, &["expect"])));
        let indent = format!("\n{}", " ".repeat(around.indent));
        self.edits.push((around.from..node.range.end, format!(" {}", new.join(&indent))));
        Ok(())
    }

    /// Changes, adds and takes away items of a list.
    fn items(
        &mut self,
        (node, is_flow, items): (&Node, bool, &[Node]),
        (known, wanted): (&[Value], &[Value]),
        around: Around,
    ) -> Result<(), Unfaithful> {
        let in_flow = around.in_flow || is_flow;
        let pairs = paired(known, wanted);
        let mut before: Option<usize> = None;
        let mut at = 0;
        let mut new: Vec<&Value> = Vec::new();
        for (nth, wanted) in wanted.iter().enumerate() {
            let Some(pair) = pairs.get(nth).copied().flatten() else {
                new.push(wanted);
                continue;
            };
            self.take_away((is_flow, items), at..pair)?;
            self.add((node, is_flow, items), before, &std::mem::take(&mut new), around)?;
            let item = &items[pair];
            let around = Around {
                from: self.behind_dash(items, pair, is_flow),
                indent: node.column + 2,
                in_flow,
                is_item: true,
            };
            self.change(item, (&known[pair], wanted), around)?;
            (before, at) = (Some(pair), pair + 1);
        }
        self.take_away((is_flow, items), at..items.len())?;
        self.add((node, is_flow, items), before, &new, around)
    }

    /// Behind the `-` of an item.
    fn behind_dash(&self, items: &[Node], at: usize, is_flow: bool) -> usize {
        let item = &items[at];
        if is_flow {
            return item.range.start;
        }
        let from = at.checked_sub(1).map_or(0, |before| items[before].range.end);
        let gap = self.text.get(from..item.range.start).unwrap_or_default();
        gap.rfind('-').map_or(item.range.start, |at| from + at + 1)
    }

    fn take_away(&mut self, (is_flow, items): (bool, &[Node]), gone: Range<usize>) -> Result<(), Unfaithful> {
        let (Some(first), Some(last)) = (items.get(gone.start), items.get(gone.end.wrapping_sub(1))) else {
            return Ok(());
        };
        if gone.is_empty() {
            return Ok(());
        }
        let range = match (is_flow, gone.start.checked_sub(1), items.get(gone.end)) {
            (true, Some(before), _) => items[before].range.end..last.range.end,
            (true, None, Some(next)) => first.range.start..next.range.start,
            (true, None, None) => first.range.start..last.range.end,
            // whole lines
            (false, ..) => {
                let dash = self.behind_dash(items, gone.start, false) - 1;
                let begin = self.text.get(..dash).and_then(|text| text.rfind('\n')).unwrap_or(0);
                begin..self.line_end(last.range.end)
            }
        };
        self.without_comment(&range)?;
        self.edits.push((range, String::new()));
        Ok(())
    }

    /// Adds items behind the item `before`, or as the first.
    fn add(
        &mut self,
        (node, is_flow, items): (&Node, bool, &[Node]),
        before: Option<usize>,
        new: &[&Value],
        around: Around,
    ) -> Result<(), Unfaithful> {
        if new.is_empty() {
            return Ok(());
        }
        if is_flow {
            let text = new.iter().map(|value| flow(value)).collect::<Vec<_>>().join(", ");
            let (at, text) = match (before, items.first()) {
                (Some(before), _) => (items[before].range.end, format!(", {text}")),
                (None, Some(first)) => (first.range.start, format!("{text}, ")),
                (None, None) => (node.range.start + 1, text),
            };
            // nothing is left of those that were there
            let is_alone = before.is_none() && self.edits.iter().any(|(range, _)| range.start == at && range.end > at);
            let text = if is_alone { text.trim_end_matches(", ").to_owned() } else { text };
            self.edits.push((at..at, text));
            return Ok(());
        }
        let room = WIDTH.saturating_sub(node.column + 2);
        let lines: Vec<String> = new
            .iter()
            .flat_map(|value| {
                let lines = lines(value, room, &[], false).into_iter().enumerate();
                lines
                    .map(|(at, line)| if at == 0 { format!("- {line}") } else { format!("  {line}") })
                    .collect::<Vec<_>>()
            })
            .collect();
        let at = match before {
            Some(before) => self.line_end(items[before].range.end),
            None => {
                let dash = self.behind_dash(items, 0, false) - 1;
                self.text
                    .get(..dash)
                    .and_then(|text| text.rfind('\n'))
                    .ok_or_else(|| self.unfaithful(around.from, "a list begins there"))?
            }
        };
        self.edits.push((at..at, self.as_lines(&lines, node.column)));
        Ok(())
    }

    fn as_lines(&self, lines: &[String], column: usize) -> String {
        let indent = format!("\n{}", " ".repeat(column));
        lines.iter().map(|line| format!("{indent}{line}")).collect()
    }

    /// Whether a node has lines of its own.
    fn is_block(&self, node: &Node) -> bool {
        matches!(&node.shape, Shape::List { flow: false, .. } | Shape::Map { flow: false, .. })
    }

    /// The end of the line in which this byte stands.
    fn line_end(&self, at: usize) -> usize {
        let line = self.text.get(at..).and_then(|rest| rest.split('\n').next()).unwrap_or_default();
        at + line.trim_end_matches('\r').len()
    }

    fn column(&self, at: usize) -> usize {
        Position::of(self.text, at).column - 1
    }

    /// Nothing that people have said may be lost.
    fn without_comment(&self, range: &Range<usize>) -> Result<(), Unfaithful> {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let begins = |(at, _): &(usize, &str)| *at == 0 || text[..*at].ends_with([' ', '\t', '\n']);
        match text.match_indices('#').find(begins) {
            // a text may have one too, and then nothing is lost, but that is not seen here
            Some((at, _)) => Err(self.unfaithful(range.start + at, "a comment stands there, which would be lost")),
            None => Ok(()),
        }
    }

    fn unfaithful(&self, at: usize, reason: &str) -> Unfaithful {
        Unfaithful { reason: reason.to_owned(), position: Some(Position::of(self.text, at)) }
    }
}

/// For each item that is wanted the known one in whose place it comes: the same, or one between the same ones.
fn paired(known: &[Value], wanted: &[Value]) -> Vec<Option<usize>> {
    let mut pairs = vec![None; wanted.len()];
    let same = known.iter().zip(wanted).take_while(|(one, other)| one == other).count();
    let left = known.len().min(wanted.len()) - same;
    let after = known.iter().rev().zip(wanted.iter().rev()).take(left).take_while(|(one, other)| one == other).count();
    let (mut one, known_end, wanted_end) = (same, known.len() - after, wanted.len() - after);
    for (nth, pair) in pairs.iter_mut().enumerate() {
        if nth < same {
            *pair = Some(nth);
        } else if nth >= wanted_end {
            *pair = Some(known_end + (nth - wanted_end));
        } else if let Some(at) =
            known.get(one..known_end).and_then(|rest| rest.iter().position(|it| *it == wanted[nth]))
        {
            *pair = Some(one + at);
            one += at + 1;
        } else if known_end > one && wanted.get(nth + 1..wanted_end).is_none_or(|rest| !rest.contains(&known[one])) {
            *pair = Some(one);
            one += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::parse;
    use super::*;

    const TEXT: &str = "# what this is\ntest: rows   # its name\nruns:\n  - exchange: [{ a: 1 }] # one\n    expect:\n      rows: { items: [{ id: 1, name: bell, price: 1.50 }, { id: 2, name: 'cord' }] }\n      counts:\n        added: 3 # why\n      # the end\n  - {}\n  - expect:\n      rows:\n        items:\n          # first\n          - { id: 1 } # one\n          - id: 2\n            name: b\n\n# tail\n";

    fn with(change: impl FnOnce(&mut Value)) -> Result<String, Unfaithful> {
        let mut wanted = parse(TEXT).expect("YAML");
        change(&mut wanted);
        let text = amended(TEXT, &wanted)?;
        assert_eq!(parse(&text).expect("YAML"), wanted);
        Ok(text)
    }

    #[test]
    fn only_what_changes_is_written_anew() {
        let text = with(|value| {
            value["runs"][0]["expect"]["rows"]["items"][0]["name"] = json!("ball");
            value["runs"][0]["expect"]["rows"]["items"][1]["name"] = json!("rope: long");
            value["runs"][0]["expect"]["counts"]["added"] = json!(2);
        });
        let expected = TEXT.replace("bell", "ball").replace("'cord'", "\"rope: long\"").replace("added: 3", "added: 2");
        assert_eq!(text.expect("faithful"), expected);
    }

    #[test]
    fn rows_come_and_go_in_place() {
        let text = with(|value| {
            value["runs"][0]["expect"]["rows"]["items"] = json!([{ "id": 2, "name": "cord" }, { "id": 3 }]);
            let items = value["runs"][2]["expect"]["rows"]["items"].as_array_mut().expect("a list");
            items.insert(1, json!({ "id": 7, "name": "x" }));
            items.push(json!({ "id": 9 }));
        });
        let expected = TEXT
            .replace(
                "{ id: 1, name: bell, price: 1.50 }, { id: 2, name: 'cord' }",
                "{ id: 2, name: 'cord' }, { id: 3 }",
            )
            .replace("# one\n          - id", "# one\n          - { id: 7, name: x }\n          - id")
            .replace("name: b\n", "name: b\n          - { id: 9 }\n");
        assert_eq!(text.expect("faithful"), expected);
    }

    #[test]
    fn words_are_added_behind_the_others() {
        let text = with(|value| {
            value["runs"][0]["expect"]["watermark"] = json!("2024-04-02T00:00:00Z");
            value["runs"][1] = json!({ "expect": { "changes": { "items": [] } } });
        });
        let expected = TEXT
            .replace("added: 3 # why\n", "added: 3 # why\n      watermark: \"2024-04-02T00:00:00Z\"\n")
            .replace("  - {}\n", "  - { expect: { changes: { items: [] } } }\n");
        assert_eq!(text.expect("faithful"), expected);
    }

    #[test]
    fn what_would_lose_a_comment_is_left() {
        let lost = with(|value| value["runs"][2]["expect"]["rows"]["items"] = json!([{ "id": 2, "name": "b" }]));
        let lost = lost.expect_err("a comment stands behind the first");
        assert_eq!(lost.position.map(|at| at.line), Some(15), "{lost:?}");
        let windows =
            amended("a:\r\n  - 1\r\n  - 2 # x\r\nb: 1\r\n", &json!({ "a": [1, 2, 3], "b": 1 })).expect("faithful");
        assert_eq!(windows, "a:\r\n  - 1\r\n  - 2 # x\r\n  - 3\r\nb: 1\r\n");
        let alias = amended("a: &x [1]\nb: *x\n", &json!({ "a": [1], "b": [2] })).expect_err("an alias");
        assert!(alias.reason.contains("alias"), "{alias:?}");
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), (0..3).prop_map(Value::from), "[a-b #:\\n]{0,4}".prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-d]", inner), 0..4).prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_as_wanted_or_as_it_was(known in values(), wanted in values(), open: bool) {
            let open: &[&str] = if open { &["a", "b"] } else { &[] };
            let (known, wanted) = (json!({ "a": known }), json!({ "a": wanted, "z": 1 }));
            let text = format!("# first\n{}# last\n", print::document(&known, open));
            if let Ok(new) = amended(&text, &wanted) {
                prop_assert_eq!(parse(&new).expect("YAML"), wanted);
                prop_assert!(new.starts_with("# first\n") && new.ends_with("# last\n"), "{}", new);
                prop_assert_eq!(amended(&new, &parse(&new).expect("YAML")), Ok(new));
            }
        }
    }
}
