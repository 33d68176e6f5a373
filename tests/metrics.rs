//! `/metrics`: who may read it, what it counts, and that every line is what OpenMetrics allows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::support::{Api, Daemon, Project, Reply, Request, until};

const MODEL: &str = "model: Item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }\n";
const SEES: &str = "sees-0123456789abcdef01234567";
const READS: &str = "reads-0123456789abcdef0123456";
const KEYS: &str = "api:\n  keys:\n    prometheus: { key: \"${SEES}\", scopes: [syncs] }\n    app: { key: \"${READS}\", scopes: [records] }\n";

fn project(url: &str, more: &str, provider: &str) -> Project {
    let project = Project::empty();
    let connections = "connections:\n  good: { provider: api, credentials: { client_id: good, client_secret: s3cret-of-good } }\n  \
                       bad: { provider: api, credentials: { client_id: bad, client_secret: s3cret-of-bad } }\n";
    project.write("headwater.yaml", format!("database: test.duckdb\n{connections}{more}"));
    project
        .write("providers/api.yaml", format!("provider: api\nbase_url: {url}\nretry: {{ attempts: 1 }}\n{provider}"));
    project.write("integrations/api/models/Item.yaml", MODEL);
    let words = "sync: items\nmodel: Item\nrequest: { get: /items }\nresponse: { records: \"$.items[*]\" }\nschedule: every day\n";
    project.write("integrations/api/syncs/items.yaml", words);
    project
}

/// Gives tokens to one of two clients; one page says that it is busy the first time.
fn answers(request: &Request) -> Reply {
    match request.path.as_str() {
        "/token" if request.body.contains("client_id=good") => {
            Reply::json(&json!({ "access_token": "t0ken-of-good", "token_type": "bearer" }))
        }
        "/token" => Reply::status(401, "{\"error\":\"invalid_client\"}"),
        "/hook" => Reply::status(500, ""),
        _ => Reply::json(&json!({ "items": [{ "id": 1 }] })),
    }
}

fn scrape(daemon: &Daemon) -> String {
    let answer = daemon.send("GET", "/metrics", &[], "");
    let kind = answer.headers.get("content-type").map(String::as_str);
    assert_eq!(kind, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), "{}", answer.body);
    answer.body.as_str().expect("a text").to_owned()
}

#[test]
fn tokens_and_what_waits_are_counted_and_every_line_is_openmetrics() {
    let api = Api::start(answers);
    let token = format!("auth: {{ a: {{ client_credentials: {{ token: {{ url: {}/token }} }} }} }}\n", api.url());
    let notify = format!("notify: [{{ url: \"{}/hook\", on: [changed] }}]\n", api.url());
    let project = project(&api.url(), &notify, &token);
    let daemon = Daemon::listen(&project, &[]);
    until("both ran, and nobody could be told", || {
        let text = scrape(&daemon);
        ["state=\"completed\"} 1", "state=\"failed\"} 1", "headwater_deliveries{state=\"pending\"} 1"]
            .iter()
            .all(|part| text.contains(part))
    });
    let text = scrape(&daemon);
    for line in [
        r#"headwater_token_refreshes_total{provider="api",outcome="refreshed"} 1"#,
        r#"headwater_token_refreshes_total{provider="api",outcome="failed"} 1"#,
        r#"headwater_inbox_events{state="waiting"} 0"#,
        r#"headwater_deliveries{state="failed"} 0"#,
        r#"headwater_syncs{state="waiting"} 0"#,
        "headwater_behind_seconds 0.0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
    let families = openmetrics(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    assert!(families.len() > 10, "{families:?}");
    let docs =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guides/always-on.md")).expect("the guide");
    for (family, kind) in &families {
        let name = if kind == "counter" { format!("`{family}_total`") } else { format!("`{family}`") };
        assert!(docs.contains(&name), "the guide does not tell of {name}");
    }
    // there may be thousands of connections, and their names are nobody's business
    assert!(!text.contains("good") && !text.contains("s3cret"), "{text}");
    daemon.stop();
}

#[test]
fn numbers_of_a_project_with_keys_need_a_key_that_may_see_syncs() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
    let project = project(&api.url(), KEYS, "");
    let daemon = Daemon::listen(&project, &[("SEES", SEES), ("READS", READS)]);
    let ask = |key: Option<&str>| {
        let bearer = key.map(|key| format!("Bearer {key}"));
        let headers = bearer.as_deref().map(|bearer| ("authorization", bearer));
        daemon.send("GET", "/metrics", headers.as_slice(), "")
    };
    for (key, status, code) in [
        (None, 401, "unauthorized"),
        (Some("nobody's-0123456789abcdef01"), 401, "unauthorized"),
        (Some(READS), 403, "forbidden"),
    ] {
        let answer = ask(key);
        assert_eq!((answer.status, &answer.body["error"]["code"]), (status, &json!(code)), "{key:?}");
        assert!(answer.headers["www-authenticate"].starts_with("Bearer "), "{answer:?}");
        let hint = answer.body["error"]["hint"].as_str().expect("a hint");
        assert!(hint.contains(if status == 401 { "credentials_file" } else { "headwater.yaml" }), "{hint}");
        assert!(!answer.body.to_string().contains("headwater_"), "{answer:?}");
    }
    assert_eq!(ask(Some(SEES)).status, 200);
    assert_eq!(daemon.send("GET", "/healthz", &[], "").status, 200, "this needs none");
    daemon.stop();
}

/// Reads a text as the [specification](https://prometheus.io/docs/specs/om/open_metrics_spec/) says; gives the families with their types.
fn openmetrics(text: &str) -> Result<BTreeMap<String, String>, String> {
    let lines = text.strip_suffix("# EOF\n").ok_or("it has no end")?.lines();
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let (mut series, mut units) = (BTreeSet::new(), BTreeMap::new());
    let mut family = String::new();
    let (mut buckets, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for line in lines {
        let wrong = |why: &str| format!("{why}: `{line}`");
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').ok_or_else(|| wrong("no name"))?;
            let (name, value) = rest.split_once(' ').ok_or_else(|| wrong("no value"))?;
            if name != family {
                if families.contains_key(name) {
                    return Err(wrong("the family is in two pieces"));
                }
                name.clone_into(&mut family);
                families.insert(family.clone(), "unknown".to_owned());
            }
            match word {
                "TYPE" => drop(families.insert(family.clone(), value.to_owned())),
                "UNIT" if name.ends_with(&format!("_{value}")) => drop(units.insert(family.clone(), value)),
                "HELP" => {}
                _ => return Err(wrong("no such line")),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
        let number: f64 = value.parse().map_err(|_| wrong("no number"))?;
        if !series.insert(name) {
            return Err(wrong("it comes twice"));
        }
        let (name, labels) = match name.split_once('{') {
            None => (name, BTreeMap::new()),
            Some((name, labels)) => (name, pairs(labels).ok_or_else(|| wrong("labels"))?),
        };
        let suffix = name.strip_prefix(family.as_str()).ok_or_else(|| wrong("not of the family before it"))?;
        let mut others = labels.clone();
        let le = others.remove("le");
        let key = format!("{family}{others:?}");
        let fits = match families[&family].as_str() {
            "counter" => suffix == "_total" && number >= 0.0,
            "gauge" => suffix.is_empty(),
            "histogram" if suffix == "_bucket" => {
                let before = buckets.insert(key, number).unwrap_or_default();
                number >= before && le.is_some_and(|le| le == "+Inf" || le.parse::<f64>().is_ok())
            }
            "histogram" if suffix == "_count" => counts.insert(key, number).is_none(),
            "histogram" => suffix == "_sum",
            _ => false,
        };
        if !fits {
            return Err(wrong("not of its type"));
        }
    }
    if buckets != counts {
        return Err(format!("the last bucket is no count of all: {buckets:?} {counts:?}"));
    }
    Ok(families)
}

/// `a="b",c="d"}`
fn pairs(labels: &str) -> Option<BTreeMap<String, String>> {
    let inside = labels.strip_suffix('}')?;
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (is_name && !value.contains('"')).then(|| (name.to_owned(), value.to_owned()))
    };
    inside.split(',').map(pair).collect()
}

#[test]
fn what_is_no_openmetrics_is_seen() {
    let whole = "# TYPE a counter\n# HELP a Of something.\na_total{b=\"c\"} 1\n# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n\
                 h_seconds_sum 1.0\nh_seconds_count 2\nh_seconds_bucket{le=\"1.0\"} 1\nh_seconds_bucket{le=\"+Inf\"} 2\n# EOF\n";
    assert_eq!(openmetrics(whole).map(|families| families.len()), Ok(2));
    for (from, to) in [
        ("a_total", "a"),
        ("_total{b=\"c\"} 1", "_total{b=\"c\"} x"),
        ("# EOF\n", ""),
        ("{b=\"c\"}", "{b=c}"),
        ("{le=\"1.0\"} 1", "{le=\"1.0\"} 3"),
        ("count 2", "count 3"),
        ("UNIT h_seconds seconds", "UNIT h_seconds bytes"),
        ("# TYPE h_seconds", "a_total{b=\"c\"} 1\n# TYPE h_seconds"),
    ] {
        assert!(openmetrics(&whole.replacen(from, to, 1)).is_err(), "{from} → {to}");
    }
}
