//! Projects that compile: `explain` prints the plan of each case in `language/valid/`, and the print is a snapshot.

use std::path::Path;

use crate::language::{NOT_YET, ROOT, compiled, each_case, files_below, is_refused, project, rendered, snapshot};

#[test]
fn every_plan_is_explained() {
    each_case(&Path::new(ROOT).join("valid"), |name, case| {
        let project = project(case);
        let compiled = compiled(&project);
        // a full sync or two without deletes are meant here, and what cannot be run yet is explained all the same
        assert!(!is_refused(&compiled), "{}", rendered(&compiled.diagnostics));
        let output = project.headwater(&["explain"]);
        let told = match compiled.diagnostics.iter().filter(|diagnostic| diagnostic.code == NOT_YET).count() {
            0 => String::new(),
            1 => "1 word in these files cannot be run yet; `headwater check` shows where\n\n".to_owned(),
            many => format!("{many} words in these files cannot be run yet; `headwater check` shows where\n\n"),
        };
        assert_eq!((output.code, output.stderr), (0, told));
        snapshot(&format!("explain-{name}"), case, &output.stdout);
        let lines = project.headwater(&["explain", "--json"]).json();
        let names: Vec<&str> = lines.iter().filter_map(|line| line["sync"].as_str()).collect();
        let planned: Vec<String> =
            compiled.plan.expect("a plan").syncs.iter().map(|sync| sync.id.to_string()).collect();
        assert_eq!(names, planned);
    });
}

/// What the cases must hold between them, as the words that name it.
const WORDS: [&str; 130] = [
    "none: {}",
    "link:",
    "next_url:",
    "cursor:",
    "offset:",
    "page:",
    "relay:",
    "api_key:",
    "basic:",
    "bearer:",
    "absence:",
    "flag:",
    "type: \"boolean\"",
    "type: \"integer\"",
    "type: \"bigint\"",
    "type: \"hugeint\"",
    "type: \"double\"",
    "type: \"decimal(18,2)\"",
    "type: \"varchar\"",
    "type: \"date\"",
    "type: \"time\"",
    "type: \"timestamp\"",
    "type: \"timestamptz\"",
    "type: \"uuid\"",
    "type: \"json\"",
    "type: \"blob\"",
    "type: \"varchar[]\"",
    "type: timestamp",
    "type: date",
    "type: integer",
    "type: text",
    "variants:",
    "json:",
    "form:",
    "text:",
    "graphql:",
    "get:",
    "post:",
    "put:",
    "patch:",
    "delete:",
    "publish:",
    "trusted_origins:",
    "authorization_code:",
    "client_credentials:",
    "jwt_bearer:",
    "jwt:",
    "github_app:",
    "token_request:",
    "oauth1:",
    "sigv4:",
    "pkce:",
    "authorize_params:",
    "refresh_url:",
    "client_auth:",
    "paths:",
    "save:",
    "send:",
    "lifetime:",
    "values:",
    "rows:",
    "list:",
    "changed_only:",
    "concurrency:",
    "on_error:",
    "walk:",
    "bind:",
    "max_depth:",
    "detail:",
    "replace:",
    "batch:",
    "only_changed:",
    "on_404:",
    "job:",
    "poll:",
    "download:",
    "parts:",
    "window:",
    "granularity:",
    "lag:",
    "split:",
    "stop_at_watermark:",
    "client_filter:",
    "token:",
    "expired:",
    "max_age:",
    "feed:",
    "sweep:",
    "webhook:",
    "gone_partitions:",
    "scope:",
    "webhooks:",
    "hmac:",
    "handshake:",
    "respond:",
    "match:",
    "on_webhook:",
    "upsert:",
    "fetch:",
    "run:",
    "outputs:",
    "validate:",
    "raw:",
    "history:",
    "children:",
    "columns_from:",
    "multipart:",
    "ndjson",
    "csv:",
    "xml:",
    "schedule:",
    "cron:",
    "timezone:",
    "auto_start:",
    "errors:",
    "verify:",
    "on_connect:",
    "tls:",
    "notify:",
    "extends:",
    "max_runtime:",
    "max_requests:",
    "max_records:",
    "allow:",
    "steps:",
    "idempotency_key:",
    "synced_first:",
    "output:",
    "exchange:",
    "expect:",
];

#[test]
fn the_cases_hold_every_kind() {
    let texts: Vec<String> = files_below(&Path::new(ROOT).join("valid"))
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a case"))
        .collect();
    let missing: Vec<_> = WORDS.iter().filter(|word| !texts.iter().any(|text| text.contains(*word))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
