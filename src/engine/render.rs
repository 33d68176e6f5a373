//! The request for a page: templates filled in, the position put in its place.

use chrono::{DateTime, Utc};
use minijinja::value::Serde;
use minijinja::{Value, context};
use url::Url;

use super::Error;
use crate::plan::{IncrementalPlan, ListPlan, MarkKind, Moment, PageKind, SyncPlan, TimeFormat, Zone};
use crate::remote::{Draft, Request};
use crate::scan::{Mark, Node, Position, ScanState};

/// The variables of all requests of one scan.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    pairs: Vec<(&'static str, Value)>,
}

impl Variables {
    /// `started_at` is when the scan began: a resumed scan asks the same as before.
    pub(super) fn new(plan: &SyncPlan, started_at: DateTime<Utc>) -> Self {
        let moment = |at| Value::from_object(Moment { zone: plan.zone(), ..Moment::utc(at) });
        let pairs = vec![
            ("config", Value::from(Serde(&plan.connection.config))),
            ("input", Value::from(Serde(&plan.input))),
            ("variant", Value::from(plan.id.variant.as_str())),
            ("connection", Value::from_pairs([("name", plan.id.connection.as_str())])),
            ("run", Value::from_pairs([("started_at", moment(started_at))])),
        ];
        Self { pairs }
    }

    /// With the item of the fan-out: the items of all its levels, by their names.
    pub(super) fn with_parent(mut self, parent: Option<&Value>) -> Self {
        self.pairs.extend(parent.map(|parent| ("parent", parent.clone())));
        self
    }

    /// With the place of a walk: what `walk.bind` names.
    pub(super) fn with_walk(mut self, node: Option<&Node>) -> Self {
        self.pairs.extend(node.map(|node| ("walk", Value::from(Serde(&node.bind)))));
        self
    }

    /// With what the scan starts from: the token of a delta feed, or the watermark less the lookback.
    pub(super) fn with_watermark(mut self, plan: &SyncPlan, scan: &ScanState) -> Self {
        let of_field = |incremental: &IncrementalPlan| {
            let since = scan.since.as_ref()?.asked_from(incremental);
            Some(mark_value(incremental.kind, &incremental.format, incremental.clock(), &since))
        };
        let watermark = match (&plan.token, &plan.incremental) {
            (Some(_), _) => scan.since_token.as_ref().map(|token| Value::from(Serde(token))),
            (None, Some(incremental)) => of_field(incremental),
            (None, None) => None,
        };
        self.pairs.push(("watermark", watermark.unwrap_or(Value::UNDEFINED)));
        self
    }

    /// With the watermark of a list of deletions, as its field is written.
    pub(super) fn with_mark(mut self, since: Option<(&Mark, &TimeFormat)>, zone: Zone) -> Self {
        let value = since
            .map(|(mark, format)| mark_value(MarkKind::Timestamp, format, zone, &mark.clone().before_doubled(zone)));
        self.pairs.push(("watermark", value.unwrap_or(Value::UNDEFINED)));
        self
    }

    /// With a window: its first and its last moment.
    pub(super) fn with_window(mut self, plan: &IncrementalPlan, start: &Mark, end: &Mark) -> Self {
        let value = |mark| mark_value(plan.kind, &plan.format, plan.clock(), mark);
        self.pairs.push(("window", Value::from_pairs([("start", value(start)), ("end", value(end))])));
        self
    }

    /// Whether they are those of one partition of several.
    pub(super) fn are_of_partition(&self) -> bool {
        self.pairs.iter().any(|(name, _)| matches!(*name, "parent" | "walk"))
    }

    /// With one more.
    pub(super) fn and(mut self, given: (&'static str, Value)) -> Self {
        self.pairs.push(given);
        self
    }

    pub(super) fn value(&self) -> Value {
        Value::from_pairs(self.pairs.iter().cloned())
    }

    /// With one variable more.
    pub(super) fn with(&self, name: &'static str, value: Value) -> Value {
        Value::from_pairs(self.pairs.iter().cloned().chain([(name, value)]))
    }
}

/// A mark as the API writes such values.
fn mark_value(kind: MarkKind, format: &TimeFormat, zone: Zone, mark: &Mark) -> Value {
    let format = format.clone();
    match mark {
        Mark::Timestamp(at) => Value::from_object(Moment { at: *at, format, day: kind == MarkKind::Date, zone }),
        Mark::Date(day) => Value::from_object(Moment { at: zone.midnight(*day), format, day: true, zone }),
        Mark::Integer(number) => Value::from(*number),
        Mark::Text(text) => Value::from(text.as_str()),
    }
}

/// The request for the page at the scan's position.
pub(super) fn request(plan: &SyncPlan, list: &ListPlan, variables: &Value, scan: &ScanState) -> Result<Request, Error> {
    let position = match (&list.pagination.kind, &scan.position) {
        (PageKind::Offset { .. }, Position::Offset(at)) => Some(("offset", Value::from(*at))),
        (PageKind::Offset { start, .. }, _) => Some(("offset", Value::from(*start))),
        (PageKind::Page { .. }, Position::Page(number)) => Some(("number", Value::from(*number))),
        (PageKind::Page { start, .. }, _) => Some(("number", Value::from(*start))),
        (_, Position::Cursor(cursor)) => Some(("cursor", Value::from(Serde(cursor)))),
        _ => None,
    };
    let variables = match position {
        Some(position) => context! { page => Value::from_pairs([position]), ..variables.clone() },
        None => variables.clone(),
    };
    let mut draft = Draft::new(&plan.connection.base_url, &list.request, &variables)?;
    match &list.pagination.kind {
        PageKind::None | PageKind::Link { .. } | PageKind::NextUrl { .. } => {}
        PageKind::Cursor { to, replaces_params, .. } => {
            if let Position::Cursor(cursor) = &scan.position {
                if *replaces_params {
                    draft.clear_query();
                }
                if let Some(to) = to {
                    draft.put(to, cursor);
                }
            }
        }
        PageKind::Offset { offset, limit_to, limit, start, .. } => {
            let at = match scan.position {
                Position::Offset(at) => at,
                _ => *start,
            };
            if let Some(offset) = offset {
                draft.put(offset, &at.into());
            }
            if let Some(limit_to) = limit_to {
                draft.put(limit_to, &(*limit).into());
            }
        }
        PageKind::Page { page, start, size, size_to, .. } => {
            let number = match scan.position {
                Position::Page(number) => number,
                _ => *start,
            };
            if let Some(page) = page {
                draft.put(page, &number.into());
            }
            if let (Some(size_to), Some(size)) = (size_to, size) {
                draft.put(size_to, &(*size).into());
            }
        }
        PageKind::Relay { after, first, .. } => {
            if let Some((name, size)) = first {
                draft.variable(name, (*size).into());
            }
            if let Position::Cursor(cursor) = &scan.position {
                draft.variable(after, cursor.clone());
            }
        }
    }
    let url = match &scan.position {
        // the API's own URL already says everything that is no secret
        Position::Url(url) => Some(Url::parse(url).map_err(|_| Error::Url { url: url.clone() })?),
        _ => None,
    };
    Ok(draft.finish(url))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, LazyLock};

    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::diagnostic::Source;
    use crate::plan::{BodyPlan, Input, Known, Template, ValuePlan, compile};
    use crate::remote::HeaderValue;
    use crate::spec::schema::Kind;

    /// A sync that puts the same value everywhere a value can be put, but into secrets.
    static PLAN: LazyLock<SyncPlan> = LazyLock::new(|| {
        let file = |kind, text: &str| Input {
            source: Arc::new(Source::new(format!("{kind:?}.yaml"), text)),
            kind,
            integration: (kind != Kind::Project && kind != Kind::Provider).then(|| "api".to_owned()),
            builtin: false,
            stray: false,
        };
        let sync = "sync: items\nmodel: Item\nrequest:\n  post: \"/x/{{ input.v }}/y-{{ input.v }}?z={{ input.v }}\"\n  \
                    query: { q: \"{{ input.v }}\", r: \"a {{ input.v }}\" }\n  headers: { X-V: \"{{ input.v }}\" }\n  \
                    body: { json: { \"a\": { b: [\"{{ input.v }}\", \"c {{ input.v }}\"] } } }\n\
                    response: { records: \"$.items[*]\" }\ndeletes: { absence: {} }\n";
        let files = [
            file(Kind::Project, "database: x.duckdb\nconnections:\n  acme: { provider: api, config: { v: a/b } }\n"),
            file(Kind::Provider, "provider: api\nbase_url: \"https://api.example:8443/v1/{{ config.v }}\"\n"),
            file(Kind::Sync, sync),
            file(Kind::Model, "model: Item\ntable: items\nkey: [id]\ncolumns: { id: $.id }\n"),
        ];
        let compiled = compile(&files, Path::new("/project"), &Known::default());
        let plan = compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
        SyncPlan::clone(&plan.syncs[0])
    });

    fn rendered(plan: &SyncPlan) -> Result<Request, Error> {
        let at = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        request(plan, &plan.list, &Variables::new(plan, at).value(), &ScanState::begin(1, at, None))
    }

    fn with_value(value: &str) -> SyncPlan {
        SyncPlan { input: json!({ "v": value }), ..PLAN.clone() }
    }

    fn decoded(text: &str) -> String {
        percent_encoding::percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned()
    }

    /// The value is in its places, and nothing else has moved.
    fn check(value: &str) {
        let sent = rendered(&with_value(value));
        if matches!(value, "" | "." | "..") {
            assert!(sent.is_err(), "{value:?} goes into a path");
            return;
        }
        let sent = sent.unwrap_or_else(|error| panic!("{value:?}: {error}"));
        let url = &sent.url;
        assert_eq!(url.origin().ascii_serialization(), "https://api.example:8443", "{value:?}");
        assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{value:?}: {url}");
        let segments: Vec<String> = url.path_segments().expect("segments").map(decoded).collect();
        assert_eq!(segments, ["v1", "a/b", "x", value, &format!("y-{value}")], "{url}");
        // what goes over the wire has no character that a server could take for something else
        assert!(url.path().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{url}");
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let pair = |name: &str, value: String| (name.to_owned(), value);
        assert_eq!(
            query,
            [pair("z", value.to_owned()), pair("q", value.to_owned()), pair("r", format!("a {value}"))],
            "{url}"
        );
        let header = match &sent.headers[..] {
            [(name, HeaderValue::Plain(text))] if name == "X-V" => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(header, value);
        let (_, body) = sent.body.expect("a body");
        let body: Json = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body, json!({ "a": { "b": [value, format!("c {value}")] } }));
    }

    #[test]
    fn odd_values_stay_in_their_places() {
        for value in [
            "plain",
            "a/b",
            "/",
            "//evil.example",
            "a?b=c",
            "a&b=c",
            "a#b",
            "me:pw@evil.example",
            ":",
            "a\r\nX-Evil: 1",
            "\t",
            "\0",
            "..",
            ".",
            "",
            "../..",
            "..\\..",
            "\\",
            "\\\\evil.example",
            "%2e%2e",
            "%2E.",
            "%2e%2e%2f",
            "%",
            "%%",
            "%zz",
            "a b",
            "a+b",
            "é",
            "☃",
            "😀",
            "．．",
            "／",
            "\u{202e}",
            "\u{7f}",
            "{{ config.v }}",
            "${HOME}",
            "\"}]",
            "'; drop",
            "http://evil.example/",
        ] {
            check(value);
        }
    }

    proptest! {
        #[test]
        fn any_value_stays_in_its_place(value in prop_oneof![any::<String>(), "[./\\\\%2eE?#&=@: \r\n\u{e9}]{0,8}"]) {
            check(&value);
        }

        /// A form repeats nothing and loses nothing.
        #[test]
        fn any_value_stays_in_its_member_of_a_form(name in "[a-z&= ]{1,5}", value: String, other: i64) {
            let template = |text: &str| ValuePlan::Template(Template::parse(text).expect("parses"));
            let mut plan = with_value(&value);
            plan.input = json!({ "v": value, "path": "p", "list": [value.clone(), other] });
            Arc::make_mut(&mut plan.list).request.path = Template::parse("/x").expect("parses");
            Arc::make_mut(&mut plan.list).request.body = BodyPlan::Form(vec![
                (name.clone(), template("{{ input.v }}")), ("list".to_owned(), template("{{ input.list }}")),
                ("none".to_owned(), template("{{ input.none }}")),
            ]);
            let (_, body) = rendered(&plan).expect("renders").body.expect("a body");
            let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
            let expected = [(name, value.clone()), ("list".to_owned(), value), ("list".to_owned(), other.to_string())];
            prop_assert_eq!(pairs, expected);
        }
    }

    #[test]
    fn what_has_no_value_is_left_out_and_types_stay() {
        let mut plan = PLAN.clone();
        plan.input =
            json!({ "v": "x", "n": 3, "yes": true, "none": null, "list": [1, null, "b"], "map": { "k": 1.5 } });
        let template = |text: &str| ValuePlan::Template(Template::parse(text).expect("parses"));
        let members = |pairs: &[(&str, &str)]| -> Vec<(String, ValuePlan)> {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), template(text))).collect()
        };
        let pairs = [
            ("n", "{{ input.n }}"),
            ("yes", "{{ input.yes }}"),
            ("none", "{{ input.none }}"),
            ("gone", "{{ input.a.b.c }}"),
            ("list", "{{ input.list }}"),
            ("digits", "{{ '123' }}"),
            ("text", "{{ input.n }}!"),
        ];
        Arc::make_mut(&mut plan.list).request.query = members(&pairs);
        Arc::make_mut(&mut plan.list).request.headers = vec![
            ("X-Yes".to_owned(), Template::parse("{{ input.yes }}").expect("parses")),
            ("X-None".to_owned(), Template::parse("{{ input.none }}").expect("parses")),
        ];
        Arc::make_mut(&mut plan.list).request.path = Template::parse("/x").expect("parses");
        Arc::make_mut(&mut plan.list).request.body =
            BodyPlan::Json(ValuePlan::Map(members(&[pairs.as_slice(), &[("map", "{{ input.map }}")]].concat())));
        let sent = rendered(&plan).expect("renders");
        assert_eq!(sent.url.query(), Some("n=3&yes=true&list=1&list=null&list=b&digits=123&text=3%21"));
        assert_eq!(sent.headers.len(), 1);
        assert!(matches!(&sent.headers[0], (name, HeaderValue::Plain(text)) if name == "X-Yes" && text == "true"));
        let (_, body) = sent.body.expect("a body");
        let body: Json = serde_json::from_slice(&body).expect("JSON");
        let expected =
            json!({ "n": 3, "yes": true, "list": [1, null, "b"], "digits": "123", "text": "3!", "map": { "k": 1.5 } });
        assert_eq!(body, expected);
    }
}
