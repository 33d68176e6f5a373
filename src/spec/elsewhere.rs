//! What other tools call the words of this language: for hints alone. A word is only looked up where it is no word itself.

/// A word, as a person would write it here, and what stands for it elsewhere. Where several fit, the first one counts.
const WORDS: &[(&str, &[&str])] = &[
    // requests
    ("get: /path", &["url", "path", "endpoint", "url_path", "method", "http_method"]),
    ("query", &["params", "parameters", "request_parameters", "query_params", "cursor_param", "param"]),
    ("headers", &["request_headers"]),
    ("body", &["json", "data", "payload", "request_body", "request_body_json", "request_body_data"]),
    // the parts of a sync
    ("request", &["requester", "retriever", "endpoint", "url"]),
    ("response: { records: … }", &["record_selector", "data_selector", "records_path", "extractor"]),
    ("records", &["data_selector", "field_path", "record_path", "path", "extractor", "selector"]),
    ("where", &["filter", "record_filter", "condition"]),
    ("pagination", &["paginator", "paginate", "paging"]),
    ("incremental", &["incremental_sync", "replication"]),
    ("for_each", &["partition_router", "iterate", "parents", "partitions", "fan_out"]),
    ("deletes", &["track_deletes", "delete_missing", "deletions", "tombstones"]),
    ("schedule", &["frequency", "runs", "interval", "cron"]),
    ("every", &["interval", "frequency"]),
    ("on_webhook", &["webhook_subscriptions", "webhooks", "subscriptions"]),
    ("input", &["params", "parameters", "metadata"]),
    ("sync", &["name", "stream"]),
    ("provider", &["name"]),
    ("action", &["name"]),
    ("test", &["name"]),
    ("as", &["name", "into", "alias", "partition_field"]),
    ("model", &["name", "output", "schema"]),
    ("model`, whose file says `key", &["primary_key", "unique_key"]),
    ("flag", &["hard_delete", "deleted_flag"]),
    ("absence", &["track_deletes", "delete_missing", "cdc"]),
    ("key", &["primary_key", "primary_keys", "unique_key"]),
    ("each", &["path", "records", "field_path"]),
    ("max_depth", &["depth", "levels"]),
    // incremental
    ("field", &["cursor_field", "cursor_path", "replication_key", "update_key", "cursor"]),
    ("format", &["datetime_format", "cursor_datetime_formats", "time_format", "decoder"]),
    ("start", &["start_datetime", "initial_value", "start_date", "start_value", "since"]),
    ("window: { size: … }", &["step", "slice"]),
    ("size", &["step", "length"]),
    ("window: { granularity: … }", &["cursor_granularity"]),
    ("granularity", &["cursor_granularity", "resolution"]),
    ("lookback", &["lookback_window", "lag", "overlap"]),
    ("stop_at_watermark", &["is_data_feed"]),
    ("client_filter", &["is_client_side_incremental"]),
    ("order", &["row_order", "is_sorted", "sort"]),
    ("max_age", &["api_retention_period", "retention"]),
    ("ascending", &["oldest_first"]),
    ("descending", &["newest_first"]),
    ("timestamp", &["datetime", "time"]),
    ("epoch_s", &["epoch", "unix"]),
    ("ndjson", &["jsonl", "json_lines"]),
    // pagination
    ("cursor", &["header_cursor", "json_cursor", "token"]),
    ("page", &["page_number"]),
    ("link", &["header_link", "link_header"]),
    ("next_url", &["json_link", "next_link"]),
    ("from", &["cursor_path", "cursor_value", "next", "cursor_path_in_response"]),
    // ways in
    ("authorization_code", &["oauth", "oauth2", "oauth2_authorization_code"]),
    ("client_credentials", &["oauth2_client_credentials", "oauth2_cc"]),
    ("api_key", &["apikey"]),
    ("basic", &["http_basic", "basic_auth"]),
    ("bearer", &["bearer_token", "oauth_token"]),
    ("token_request", &["session_token", "login", "two_step"]),
    ("jwt_bearer", &["service_account"]),
    ("sigv4", &["aws", "aws_sigv4", "aws-sigv4"]),
    ("none", &["no_auth", "noauth", "single_page"]),
    ("authorize_url", &["authorization_url", "auth_url", "consent_url"]),
    ("authorize_params", &["authorization_params"]),
    ("token: { url: … }", &["token_url", "token_endpoint", "token_refresh_endpoint", "access_token_url"]),
    ("token: { refresh_url: … }", &["refresh_url"]),
    ("token: { params: … }", &["token_params", "refresh_params"]),
    ("token: { headers: … }", &["token_headers"]),
    ("token: { body: json }", &["body_format"]),
    ("token: { client_auth: basic }", &["token_request_auth_method"]),
    ("token: { paths: … }", &["token_response"]),
    ("url", &["token_url", "token_endpoint", "webhook", "webhook_url", "endpoint"]),
    ("pkce: none", &["disable_pkce"]),
    ("client_certificate", &["certificate", "cert", "client_cert"]),
    ("client_key", &["key", "private_key"]),
    ("authority", &["ca", "ca_certificate"]),
    // providers
    ("title", &["display_name"]),
    ("base_url", &["proxy", "url_base", "host"]),
    ("auth", &["auth_mode", "authenticator", "authentication"]),
    ("config", &["connection_config", "connection_configuration", "connection_specification", "spec", "inputs"]),
    ("rate_limit", &["api_budget", "throttle"]),
    ("quotas", &["rates", "policies", "limits"]),
    ("verify", &["verification", "check", "signature"]),
    ("on_connect", &["post_connection_script"]),
    ("webhooks", &["webhook", "webhook_routing_script"]),
    ("errors", &["response_filters", "error_handler", "rules", "response_actions"]),
    ("status", &["http_codes", "http_code", "status_code", "code"]),
    ("when", &["predicate", "condition", "error_message_contains", "if", "expression"]),
    ("then", &["action", "do"]),
    ("message", &["error_message"]),
    ("retry", &["rate_limited", "backoff"]),
    ("empty", &["ignore", "success"]),
    ("skip", &["ignore"]),
    // jobs
    ("create", &["creation_requester", "submit"]),
    ("poll", &["polling_requester"]),
    ("download", &["download_requester", "result"]),
    ("done", &["completed", "succeeded", "success"]),
    ("failed", &["failure", "error"]),
    ("timeout", &["polling_job_timeout"]),
    // schedules
    ("timezone", &["tz", "time_zone"]),
    ("cron: \"0 6 * * *\"`, or without a map `every 15m", &["every", "interval"]),
    // webhooks
    ("type", &["event", "event_type", "kind"]),
    ("secret", &["secret_key", "signing_key", "signing_secret"]),
    ("signed", &["payload", "signing_string"]),
    ("on", &["events"]),
    // tests
    ("exchange", &["mocks", "requests", "fixtures"]),
    ("runs", &["steps", "run"]),
    ("any", &["random", "unordered"]),
    ("added", &["inserted", "created"]),
    ("updated", &["changed", "modified"]),
    ("deleted", &["removed"]),
];

/// The word itself, without the example around it.
fn head(word: &str) -> &str {
    word.split([':', '`']).next().unwrap_or(word)
}

/// What `theirs` is called here, where these words are `known`.
pub(super) fn ours(theirs: &str, known: &[&str]) -> Option<&'static str> {
    let theirs = theirs.to_ascii_lowercase();
    let meant = |(word, names): &&(&str, &[&str])| names.contains(&theirs.as_str()) && known.contains(&head(word));
    WORDS.iter().find(meant).map(|(word, _)| *word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::spec::schema::Kind;

    /// Every key and every choice of a schema.
    fn words(node: &Value, found: &mut BTreeSet<String>) {
        match node {
            Value::Array(items) => items.iter().for_each(|item| words(item, found)),
            Value::Object(map) => {
                let keys = map.get("properties").and_then(Value::as_object);
                found.extend(keys.into_iter().flat_map(|keys| keys.keys().cloned()));
                let choices = map.get("enum").and_then(Value::as_array);
                found.extend(choices.into_iter().flatten().filter_map(|choice| choice.as_str().map(str::to_owned)));
                map.values().for_each(|inner| words(inner, found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_word_is_one_of_the_language() {
        let mut known = BTreeSet::new();
        Kind::ALL.iter().for_each(|kind| words(kind.schema(), &mut known));
        let stale: Vec<_> = WORDS.iter().map(|(word, _)| head(word)).filter(|word| !known.contains(*word)).collect();
        assert!(known.contains("cursor") && stale.is_empty(), "{stale:?}");
        for (word, names) in WORDS {
            assert!(!names.contains(&head(word)) && !names.is_empty(), "{word}");
            assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn a_word_means_what_can_stand_there() {
        assert_eq!(ours("token_url", &["url", "params"]), Some("url"));
        assert_eq!(ours("token_url", &["authorize_url", "token"]), Some("token: { url: … }"));
        assert_eq!(ours("OAuth2", &["bearer", "authorization_code"]), Some("authorization_code"));
        assert_eq!(ours("token_url", &["region"]), None);
        assert_eq!(ours("colour", &["url"]), None);
    }
}
