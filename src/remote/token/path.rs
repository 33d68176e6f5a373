//! Paths applied to the answer of a token endpoint. Queries are answered by the crate's own search, which compares numbers as
//! doubles: an id beyond 2^53 in a filter can be taken for its neighbour.

use jsonpath_rust::query::{QueryRef, js_path_process};
use serde_json::Value;

use crate::plan::{Path, PathForm, Step};

/// The first value that the path leads to; `null` is none.
pub(crate) fn first<'v>(path: &Path, root: &'v Value) -> Option<&'v Value> {
    let found = match path.form() {
        PathForm::Plain { steps, each: false } => walk(steps, root),
        PathForm::Plain { steps, each: true } => match walk(steps, root)? {
            Value::Array(items) => items.first(),
            Value::Object(members) => members.values().next(),
            _ => None,
        },
        PathForm::Query(query) => js_path_process(query, root).ok()?.into_iter().next().map(QueryRef::val),
    };
    found.filter(|value| !value.is_null())
}

fn walk<'v>(steps: &[Step], root: &'v Value) -> Option<&'v Value> {
    steps.iter().try_fold(root, |value, step| match step {
        Step::Member(name) => value.as_object()?.get(name),
        Step::Index(index) => {
            let items = value.as_array()?;
            let distance = usize::try_from(index.unsigned_abs()).ok()?;
            if *index < 0 { items.get(items.len().checked_sub(distance)?) } else { items.get(distance) }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_the_first_value_that_is_one() {
        let root =
            json!({ "a": { "b c": [1, 2] }, "no": null, "list": [{ "p": false, "v": 1 }, { "p": true, "v": 2 }] });
        for (path, expected) in [
            ("$.a['b c'][0]", Some(json!(1))),
            ("$.a['b c'][-1]", Some(json!(2))),
            ("$.a['b c'][-3]", None),
            ("$.a['b c'][*]", Some(json!(1))),
            ("$.a[*]", Some(json!([1, 2]))),
            ("$.no", None),
            ("$.a.x", None),
            ("$.a[0]", None),
            ("$.list[?@.p == true].v", Some(json!(2))),
            ("$..v", Some(json!(1))),
        ] {
            assert_eq!(first(&Path::parse(path).unwrap(), &root), expected.as_ref(), "{path}");
        }
    }
}
