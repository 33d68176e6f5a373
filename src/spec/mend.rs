//! A document with mistakes, mended so far that the rest of it can be checked in the same go. What comes of it never runs.

use serde_json::{Map, Value};

use super::finding::{self, Finding};
use super::schema::{Kind, is_choice, keys, resolve, schema_at};
use crate::diagnostic::Segment;

/// A document that fits its schema, and where it is not what was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Mended {
    /// the document
    pub value: Value,
    /// the nodes that were taken out or made up; a mistake met there is only a consequence
    pub holes: Vec<Vec<Segment>>,
}

/// Mending can uncover another mistake: a map that becomes empty, a list that becomes too short.
const ROUNDS_MAX: usize = 8;
/// Mistakes of form that are mended: many more than are ever told of one file. Each mistake met later is compared with them all.
const MENDED_MAX: usize = 1_000;

/// Takes out what does not fit and makes up what is missing. `None` where that does not come to an end, or is too much.
pub fn mend(kind: Kind, document: &Value) -> Option<Mended> {
    let mut mended = Mended { value: document.clone(), holes: Vec::new() };
    for _ in 0..ROUNDS_MAX {
        let findings = finding::check(kind, &mended.value);
        if findings.is_empty() {
            return Some(mended);
        }
        if mended.holes.len() + findings.len() > MENDED_MAX {
            return None;
        }
        for finding in findings {
            let hole = mend_one(kind, &mut mended.value, finding);
            // beside the kind of a choice: it was probably meant to stand inside it
            if let Some((Segment::Key(key), parent)) = hole.split_last()
                && is_choice(schema_at(kind.schema(), parent))
                && let Some(Value::Object(map)) = node_mut(&mut mended.value, parent)
            {
                let inside = keys(schema_at(kind.schema(), parent))
                    .into_iter()
                    .filter(|chosen| map.contains_key(*chosen))
                    .map(|chosen| [parent, &[Segment::Key(chosen.to_owned()), Segment::Key(key.clone())]].concat());
                mended.holes.extend(inside);
            }
            mended.holes.push(hole);
        }
    }
    None
}

fn mend_one(kind: Kind, document: &mut Value, finding: Finding) -> Vec<Segment> {
    let Finding { mut path, missing, .. } = finding;
    if let Some(name) = missing {
        let container = node_mut(document, &path);
        path.push(Segment::Key(name.clone()));
        if let Some(Value::Object(map)) = container {
            map.insert(name, blank(kind.schema(), schema_at(kind.schema(), &path), 0));
        }
        return path;
    }
    // an item that is taken out of a list would move the others, so the whole list goes
    while matches!(path.last(), Some(Segment::Index(_))) {
        path.pop();
    }
    match path.split_last() {
        Some((Segment::Key(key), parents)) => {
            if let Some(Value::Object(map)) = node_mut(document, parents) {
                map.remove(key);
            }
        }
        _ => *document = Value::Object(Map::new()),
    }
    path
}

fn node_mut<'v>(document: &'v mut Value, path: &[Segment]) -> Option<&'v mut Value> {
    path.iter().try_fold(document, |node, segment| match segment {
        Segment::Key(key) => node.get_mut(key),
        Segment::Index(index) => node.get_mut(index),
    })
}

/// The least that fits a schema.
fn blank(root: &Value, node: Option<&Value>, depth: usize) -> Value {
    const DEPTH_MAX: usize = 16;
    let Some(node) = node.and_then(|node| resolve(root, node)).filter(|_| depth < DEPTH_MAX) else {
        return Value::Object(Map::new());
    };
    let inner = |node: Option<&Value>| blank(root, node, depth + 1);
    if let Some(first) = node.get("enum").and_then(Value::as_array).and_then(|options| options.first()) {
        return first.clone();
    }
    match node.get("type").and_then(Value::as_str) {
        Some("string") => "x".into(),
        Some("integer" | "number") => node.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => false.into(),
        Some("array") if node.get("minItems").is_some() => Value::Array(vec![inner(node.get("items"))]),
        Some("array") => Value::Array(Vec::new()),
        _ => {
            let properties = node.get("properties").and_then(Value::as_object);
            let mut map = Map::new();
            if is_choice(Some(node)) {
                map.extend(
                    properties.into_iter().flatten().take(1).map(|(name, node)| (name.clone(), inner(Some(node)))),
                );
                return Value::Object(map);
            }
            for name in node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                map.insert(name.to_owned(), inner(properties.and_then(|properties| properties.get(name))));
            }
            if map.is_empty() && node.get("minProperties").is_some() {
                map.insert("x".to_owned(), inner(node.get("additionalProperties")));
            }
            Value::Object(map)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_a_document_is_it_is_mended_to_one_that_fits() {
        let documents = [
            json!(null),
            json!([1, 2]),
            json!({}),
            json!({ "model": 1, "key": [[]], "columns": { "a": 7, "b": { "pth": 1 } } }),
            json!({ "sync": "a", "request": [], "response": { "records": [1] }, "pagination": { "type": "cursor", "from": 1 } }),
            json!({ "provider": {}, "auth": { "bearer": {} }, "retry": { "statuses": [1] } }),
            json!({ "connections": { "a": null }, "publish": {} }),
        ];
        for kind in Kind::ALL {
            for document in &documents {
                let mended = mend(kind, document).unwrap_or_else(|| panic!("{kind}: {document}"));
                assert_eq!(finding::check(kind, &mended.value), [], "{kind}: {document}");
                assert!(!mended.holes.is_empty());
            }
        }
    }
}
