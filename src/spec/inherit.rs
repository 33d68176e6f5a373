//! One document over another: maps are merged key by key at every depth, lists and all else are replaced.

use serde_json::{Map, Value};

use super::schema::{Kind, is_choice, schema_at};
use crate::diagnostic::Segment;

/// `own` over `base`, both nodes of documents of `kind` that stand at `path`. Of a choice, and of keys that exclude each other
/// (`x-exclusive` in the schema), what is written last decides: another kind takes the place of the inherited one as a whole.
pub fn inherit(kind: Kind, path: &[Segment], base: &Value, own: &Value) -> Value {
    let mut path = path.to_vec();
    merge(kind, &mut path, base, own)
}

fn merge(kind: Kind, path: &mut Vec<Segment>, base: &Value, own: &Value) -> Value {
    let (Value::Object(below), Value::Object(above)) = (base, own) else { return own.clone() };
    let node = schema_at(kind.schema(), path);
    let exclusive = node.and_then(|node| node.get("x-exclusive")).and_then(Value::as_array);
    let choice = is_choice(node);
    let excluded = |key: &str| {
        if choice {
            return true;
        }
        let groups = exclusive.into_iter().flatten().filter_map(Value::as_array);
        let mut groups = groups.filter(|group| group.iter().any(|name| name == key));
        groups.any(|group| group.iter().filter_map(Value::as_str).any(|name| above.contains_key(name)))
    };
    let mut merged = Map::new();
    for (key, value) in below {
        if above.contains_key(key) || !excluded(key) {
            merged.insert(key.clone(), value.clone());
        }
    }
    for (key, value) in above {
        let value = match below.get(key) {
            Some(inherited) => {
                path.push(Segment::Key(key.clone()));
                let value = merge(kind, path, inherited, value);
                path.pop();
                value
            }
            None => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn provider(base: &Value, own: &Value) -> Value {
        inherit(Kind::Provider, &[], base, own)
    }

    #[test]
    fn maps_are_merged_at_every_depth_and_lists_replaced() {
        let base = json!({
            "provider": "base",
            "headers": { "A": "1", "B": "1" },
            "query": { "filter": { "x": 1, "deep": { "p": 1, "q": 1 } } },
            "rate_limit": { "quotas": ["1 per 1s"], "concurrency": 2 },
            "retry": { "attempts": 3, "backoff": { "base": "1s", "max": "9s" } },
        });
        let own = json!({
            "provider": "own",
            "headers": { "B": "2", "C": "2" },
            "query": { "filter": { "deep": { "q": 2 } }, "y": 2 },
            "rate_limit": { "quotas": ["2 per 1s"] },
            "retry": { "backoff": { "max": "5s" } },
        });
        let expected = json!({
            "provider": "own",
            "headers": { "A": "1", "B": "2", "C": "2" },
            "query": { "filter": { "x": 1, "deep": { "p": 1, "q": 2 } }, "y": 2 },
            "rate_limit": { "quotas": ["2 per 1s"], "concurrency": 2 },
            "retry": { "attempts": 3, "backoff": { "base": "1s", "max": "5s" } },
        });
        assert_eq!(provider(&base, &own), expected);
    }

    #[test]
    fn of_a_choice_another_kind_replaces_and_the_same_kind_merges() {
        let base = json!({
            "pagination": { "cursor": { "from": "$.next", "query": "after" } },
            "auth": { "key": { "api_key": { "header": "X-Key" } }, "user": { "basic": {} } },
        });
        let same = json!({ "pagination": { "cursor": { "has_more": "$.more" } } });
        assert_eq!(
            provider(&base, &same)["pagination"],
            json!({ "cursor": { "from": "$.next", "query": "after", "has_more": "$.more" } })
        );
        let other = json!({ "pagination": { "page": { "query": "page" } } });
        assert_eq!(provider(&base, &other)["pagination"], other["pagination"]);
        let way = json!({ "auth": { "key": { "bearer": {} } } });
        assert_eq!(provider(&base, &way)["auth"], json!({ "key": { "bearer": {} }, "user": { "basic": {} } }));
    }

    #[test]
    fn keys_that_exclude_each_other_are_never_both_there() {
        let base = json!({
            "verify": { "get": "/me", "query": { "a": 1 } },
            "auth": { "key": { "api_key": { "header": "X-Key", "value": "v" } } },
            "pagination": { "cursor": { "from": "$.next", "query": "after" } },
        });
        let own = json!({
            "verify": { "post": "/check" },
            "auth": { "key": { "api_key": { "query": "key" } } },
            "pagination": { "cursor": { "last_record": "$.id" } },
        });
        let expected = json!({
            "verify": { "query": { "a": 1 }, "post": "/check" },
            "auth": { "key": { "api_key": { "value": "v", "query": "key" } } },
            "pagination": { "cursor": { "query": "after", "last_record": "$.id" } },
        });
        assert_eq!(provider(&base, &own), expected);
    }

    /// Key by key: whatever single word the base has is inherited, and whatever single word the own document has wins.
    #[test]
    fn every_word_of_a_provider_is_inherited() {
        let words = Kind::Provider.schema()["properties"].as_object().expect("a map").keys();
        for word in words {
            let (old, new) = (json!({ word: { "x": 1 } }), json!({ word: ["new"] }));
            assert_eq!(provider(&old, &json!({})), old);
            assert_eq!(provider(&old, &new), new);
            assert_eq!(provider(&json!({}), &new), new);
        }
    }
}
