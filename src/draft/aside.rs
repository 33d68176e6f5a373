//! The way back from a path to a document: what stands where.

use serde_json::{Map, Value};

use crate::plan::{Path, PathForm, Step};

/// Puts a value where a plain path leads; gives whether that was possible.
pub(super) fn put(root: &mut Value, path: &str, value: Value) -> bool {
    let Some(steps) = steps(path) else { return false };
    let Some(place) = descend(root, &steps) else { return false };
    if place.is_null() {
        *place = value;
        return true;
    }
    // what is there already, by another path that leads into it
    match (place, value) {
        (Value::Object(members), Value::Object(more)) if members.is_empty() => {
            members.extend(more);
            true
        }
        _ => false,
    }
}

/// The members that a path names one after the other; none for any other path.
fn steps(path: &str) -> Option<Vec<Step>> {
    match Path::parse(path).ok()?.form() {
        PathForm::Plain { steps, each: false } => Some(steps.clone()),
        PathForm::Plain { .. } | PathForm::Query(_) => None,
    }
}

fn descend<'v>(root: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps.iter().try_fold(root, |place, step| match step {
        Step::Member(name) => {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            Some(place.as_object_mut()?.entry(name.clone()).or_insert(Value::Null))
        }
        Step::Index(0) => {
            if place.is_null() {
                *place = Value::Array(vec![Value::Null]);
            }
            place.as_array_mut()?.first_mut()
        }
        Step::Index(_) => None,
    })
}

/// An answer whose records stand where `path` leads to; none where nobody can tell how it looks.
pub(super) fn answer(path: &str, records: &[Value]) -> Option<Value> {
    let mut root = Value::Null;
    let (list, inner) = match path.split_once("[*]") {
        Some((list, inner)) => (list, inner),
        // a map of records by names of their own
        None if path.ends_with(".*") => {
            let named = records.iter().enumerate().map(|(at, record)| (format!("r{at}"), record.clone()));
            let map = Value::Object(named.collect());
            return put(&mut root, path.strip_suffix(".*")?, map).then_some(root);
        }
        None => {
            // one record alone
            return match records {
                [record] => put(&mut root, path, record.clone()).then_some(root),
                _ => None,
            };
        }
    };
    if inner.contains('*') {
        return None;
    }
    let wrap = |record: &Value| {
        let mut item = Value::Null;
        put(&mut item, &format!("${inner}"), record.clone()).then_some(item)
    };
    let items: Option<Vec<Value>> = records.iter().map(wrap).collect();
    put(&mut root, list, Value::Array(items?)).then_some(root)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{answer, put};

    #[test]
    fn what_is_put_somewhere_is_found_there() {
        let mut root = Value::Null;
        assert!(put(&mut root, "$.paging['next page'].after", json!("c2")));
        assert!(put(&mut root, "$.paging.total", json!(3)));
        assert!(!put(&mut root, "$.paging.total.x", json!(3)), "a number has no members");
        assert!(!put(&mut root, "$..x", json!(3)));
        assert_eq!(root, json!({ "paging": { "next page": { "after": "c2" }, "total": 3 } }));
    }

    #[test]
    fn answers_have_their_records_where_the_path_leads() {
        let records = [json!({ "id": 1 }), json!({ "id": 2 })];
        let of = |path| answer(path, &records);
        assert_eq!(of("$[*]"), Some(json!([{ "id": 1 }, { "id": 2 }])));
        assert_eq!(of("$.data.list[*]"), Some(json!({ "data": { "list": [{ "id": 1 }, { "id": 2 }] } })));
        assert_eq!(of("$.edges[*].node"), Some(json!({ "edges": [{ "node": { "id": 1 } }, { "node": { "id": 2 } }] })));
        assert_eq!(of("$.*"), Some(json!({ "r0": { "id": 1 }, "r1": { "id": 2 } })));
        assert_eq!(of("$.a[*].b[*]"), None);
        assert_eq!(of("$"), None);
        assert_eq!(answer("$", &records[..1]), Some(json!({ "id": 1 })));
    }
}
