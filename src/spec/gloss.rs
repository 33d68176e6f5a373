//! What the words of one document mean, by the descriptions of its schema.

use std::collections::HashSet;

use serde_json::Value;

use super::schema::Kind;
use super::yaml::{self, DOCUMENT_BYTES_MAX, Part};
use crate::diagnostic::Segment;

/// Words that are found in one document: each costs one reading of it.
const WORDS_MAX: usize = 200;
/// Bytes that are read again to find them.
const BYTES_MAX: usize = 8 * DOCUMENT_BYTES_MAX;
/// References that lead from one place of a schema to another.
const REFERENCES_MAX: usize = 16;

/// The words of a document in its order, each once: its line, itself, and what it means. Nothing where the text is no YAML.
pub fn words(kind: Kind, text: &str) -> Vec<(usize, String, String)> {
    let Ok(document) = yaml::parse(text) else { return Vec::new() };
    let most = (BYTES_MAX / text.len().max(1)).clamp(1, WORDS_MAX);
    let mut gloss = Gloss { root: kind.schema(), text, most, known: HashSet::new(), found: Vec::new() };
    gloss.visit(&[kind.schema()], &document, &mut Vec::new());
    gloss.found.sort_by_key(|(line, _, _)| *line);
    gloss.found
}

struct Gloss<'t> {
    root: &'static Value,
    text: &'t str,
    most: usize,
    /// the places of the schema that have been described, by where they are
    known: HashSet<*const Value>,
    found: Vec<(usize, String, String)>,
}

impl Gloss<'_> {
    fn visit(&mut self, schemas: &[&'static Value], value: &Value, path: &mut Vec<Segment>) {
        let mut all = Vec::new();
        schemas.iter().for_each(|schema| self.forms(schema, REFERENCES_MAX, &mut all));
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    path.push(Segment::Key(name.clone()));
                    let words: Vec<_> = all.iter().filter_map(|form| form.get("properties")?.get(name)).collect();
                    if let Some(word) = words.first() {
                        self.note(name, word, path);
                        self.visit(&words, value, path);
                    } else {
                        let others = all.iter().filter_map(|form| form.get("additionalProperties"));
                        let others: Vec<_> = others.filter(|other| other.is_object()).collect();
                        self.visit(&others, value, path);
                    }
                    path.pop();
                }
            }
            Value::Array(items) => {
                let of: Vec<_> = all.iter().filter_map(|form| form.get("items")).collect();
                for (at, item) in items.iter().enumerate() {
                    path.push(Segment::Index(at));
                    self.visit(&of, item, path);
                    path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// What a schema may be: itself, what it refers to, and its alternatives.
    fn forms(&self, schema: &'static Value, left: usize, all: &mut Vec<&'static Value>) {
        let Some(left) = left.checked_sub(1) else { return };
        all.push(schema);
        let below = schema.get("$ref").and_then(Value::as_str).and_then(|at| self.root.pointer(at.strip_prefix('#')?));
        let others = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
        below.into_iter().chain(others).for_each(|schema| self.forms(schema, left, all));
    }

    fn note(&mut self, name: &str, word: &'static Value, path: &[Segment]) {
        let mut forms = Vec::new();
        self.forms(word, REFERENCES_MAX, &mut forms);
        let meaning = forms.iter().find_map(|form| form.get("description")?.as_str());
        let Some(meaning) = meaning.filter(|_| self.found.len() < self.most && self.known.insert(word)) else { return };
        if let Some(at) = yaml::locate(self.text, path, Part::Key) {
            self.found.push((at.line, name.to_owned(), meaning.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_explained_where_it_stands_first() {
        let text = "model: Item\ntable: items\nkey: [id]\ncolumns:\n  id: { path: $.id, type: bigint }\n  name:\n    path: $.name\n";
        let found = words(Kind::Model, text);
        let names: Vec<_> = found.iter().map(|(line, name, _)| (*line, name.as_str())).collect();
        assert_eq!(names, [(1, "model"), (2, "table"), (3, "key"), (4, "columns"), (5, "path"), (5, "type")]);
        assert!(found.iter().all(|(_, _, meaning)| meaning.ends_with('.')), "{found:?}");
        assert_eq!(words(Kind::Model, "a: ["), []);
        // what leads to itself ends
        let deep = "sync: a\nmodel: A\nrequest: { post: /a, body: { json: { a: [{ b: 1 }] } } }\n";
        assert!(words(Kind::Sync, deep).iter().any(|(line, name, _)| (*line, name.as_str()) == (3, "request")));
    }
}
