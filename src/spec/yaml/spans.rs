//! Where each node of a YAML document begins and ends.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// A node of a document.
#[derive(Debug)]
pub(super) struct Node {
    /// its bytes, without what stands around it
    pub range: Range<usize>,
    /// the column of its first character, from 0
    pub column: usize,
    /// what it is
    pub shape: Shape,
}

/// A key with its bytes, and its value.
pub(super) type Entry = (Range<usize>, String, Node);

/// What a node is.
#[derive(Debug)]
pub(super) enum Shape {
    /// text, number and so on; `true` for one in quotes
    Scalar(bool),
    /// it refers to another node
    Alias,
    /// a list
    List {
        /// in brackets
        flow: bool,
        /// its items
        items: Vec<Node>,
    },
    /// a map
    Map {
        /// in brackets
        flow: bool,
        /// its keys and values
        entries: Vec<Entry>,
    },
}

/// The tree of a document; none for what cannot be read so.
pub(super) fn tree(text: &str) -> Option<Node> {
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut reader = Reader { text, offsets, events: Parser::new_from_str(text) };
    loop {
        match reader.next()? {
            (Event::DocumentStart(_), _) => break,
            (Event::StreamStart | Event::Nothing, _) => {}
            _ => return None,
        }
    }
    let (event, span) = reader.next()?;
    reader.node(&event, span, false)
}

struct Reader<'t, E> {
    text: &'t str,
    /// the byte of each character
    offsets: Vec<usize>,
    events: E,
}

impl<'t, E: Iterator<Item = Result<(Event<'t>, Span), saphyr_parser::ScanError>>> Reader<'t, E> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.events.next()?.ok()
    }

    fn bytes(&self, span: Span) -> Option<Range<usize>> {
        Some(*self.offsets.get(span.start.index())?..*self.offsets.get(span.end.index())?)
    }

    fn node(&mut self, event: &Event<'t>, span: Span, in_flow: bool) -> Option<Node> {
        let range = self.bytes(span)?;
        let column = span.start.col();
        let head = self.text.get(range.clone())?;
        match event {
            Event::Alias(_) => Some(Node { range, column, shape: Shape::Alias }),
            Event::Scalar(_, style, ..) => {
                let start = match style {
                    // the content begins behind its head
                    ScalarStyle::Literal | ScalarStyle::Folded => self.text.get(..range.start)?.rfind(['|', '>'])?,
                    ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => range.start,
                };
                let end = range.start + head.trim_end().len();
                let is_quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
                Some(Node { range: start..end.max(start), column, shape: Shape::Scalar(is_quoted) })
            }
            Event::SequenceStart(..) => {
                let flow = head.contains('[');
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            let end =
                                self.end(flow, end, items.last().map_or(range.start, |last: &Node| last.range.end))?;
                            return Some(Node { range: range.start..end, column, shape: Shape::List { flow, items } });
                        }
                        (event, span) => items.push(self.node(&event, span, in_flow || flow)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let flow = head.contains('{');
                if in_flow && !flow {
                    return None;
                }
                let mut entries: Vec<Entry> = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, end) => {
                            let last = entries.last().map_or(range.start, |(_, _, value)| value.range.end);
                            let end = self.end(flow, end, last)?;
                            return Some(Node { range: range.start..end, column, shape: Shape::Map { flow, entries } });
                        }
                        (Event::Scalar(name, ..), span) => {
                            let key = self.bytes(span)?;
                            let trimmed = self.text.get(key.clone())?.trim_end().len();
                            let (event, span) = self.next()?;
                            let value = self.node(&event, span, in_flow || flow)?;
                            entries.push((key.start..key.start + trimmed, name.into_owned(), value));
                        }
                        _ => return None,
                    }
                }
            }
            _ => None,
        }
    }

    /// The end of a collection: its bracket, or its last node.
    fn end(&self, flow: bool, end: Span, last: usize) -> Option<usize> {
        if flow { Some(self.bytes(end)?.start + 1) } else { Some(last) }
    }
}
