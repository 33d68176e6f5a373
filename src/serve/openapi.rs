//! What the API is, for machines: an OpenAPI 3.1 document. A test holds it to the routes, and the tests of the API to what is answered.

use serde_json::{Map, Value, json};

use super::inputs;
use crate::plan::limits;

/// The document.
pub(super) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "headwater",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The records that headwater keeps, as a feed of changes, and its syncs.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "security": [{ "key": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http", "scheme": "bearer",
                    "description": "A key of `api` in headwater.yaml. What it may do, its `scopes` there say.",
                },
            },
            "schemas": both(&both(&schemas(), &schemas_of_calls()), &inputs::schemas()),
        },
    })
}

/// A part of a path.
pub(super) fn at(name: &str, description: &str) -> Value {
    let schema = json!({ "type": "string" });
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

fn paths() -> Value {
    let all = [paths_of_syncs(), paths_of_records(), paths_of_calls(), inputs::paths()];
    all.iter().fold(json!({}), |all, some| both(&all, some))
}

fn paths_of_syncs() -> Value {
    let sync = [
        at("connection", "Name of the connection."),
        at("sync", "Name of the sync: all its variants; `name@variant` for one."),
    ];
    let steer = |id: &str, summary: &str, body: &str, answer: (&str, &str, &str)| {
        let body = json!({ "required": false, "content": of(body) });
        json!({ "parameters": sync, "post": {
            "operationId": id, "summary": summary, "description": "Scope: `control`.", "requestBody": body,
            "responses": responses(answer),
        } })
    };
    let accepted = ("202", "It will be so.", "Accepted");
    json!({
        "/v1/openapi.json": { "get": {
            "operationId": "getOpenapi", "summary": "This document.", "description": "Any key.",
            "responses": responses(("200", "This document.", "Document")),
        } },
        "/v1/syncs": { "get": {
            "operationId": "listSyncs", "summary": "How each sync is.", "description": "Scope: `syncs`.",
            "parameters": [text("connection", "Those of this connection.")],
            "responses": responses(("200", "The syncs.", "Syncs")),
        } },
        "/v1/runs": { "get": {
            "operationId": "listRuns", "summary": "The last runs, the latest first.", "description": "Scope: `syncs`.",
            "parameters": [
                text("connection", "Those of this connection."), text("sync", "Those of syncs of this name."),
                text("variant", "Those of this variant."), number("limit", "So many at most.", limits::API_RUNS, limits::API_RUNS_MAX),
            ],
            "responses": responses(("200", "The runs.", "Runs")),
        } },
        "/v1/requests": { "get": {
            "operationId": "listRequests", "summary": "The last requests of runs, the latest first, where they are kept (`serve --log-requests`).",
            "description": "Scope: `syncs`. Secrets are masked.",
            "parameters": [
                text("run_id", "Those of this run."), text("connection", "Those of this connection."), text("sync", "Those of syncs of this name."),
                number("limit", "So many at most.", limits::API_RECORDS, limits::API_RUNS_MAX),
            ],
            "responses": responses(("200", "The requests.", "Requests")),
        } },
        "/v1/connections": { "get": {
            "operationId": "listConnections", "summary": "Whether each connection can run, as far as is known without asking its API.",
            "description": "Scope: `syncs`.",
            "responses": responses(("200", "The connections.", "Connections")),
        } },
        "/v1/syncs/{connection}/{sync}/run": steer("runSync", "Run it as soon as may be, paused or not.", "RunBody", accepted),
        "/v1/syncs/{connection}/{sync}/pause": steer("pauseSync", "Do not run it by itself; a run under way ends as it will.", "Nothing", accepted),
        "/v1/syncs/{connection}/{sync}/resume": steer("resumeSync", "Run it by itself again.", "Nothing", accepted),
        "/v1/syncs/{connection}/{sync}/cancel": steer("cancelSync", "Stop its run between two commits.", "Nothing", accepted),
        "/v1/syncs/{connection}/{sync}/reset": steer(
            "resetSync", "Let it forget where it is, and with `purge` its rows. Not while it runs.", "ResetBody",
            ("200", "It has forgotten.", "Forgotten"),
        ),
    })
}

fn paths_of_records() -> Value {
    let table = [at("provider", "Schema of the table: the provider's name."), at("table", "Name of the table.")];
    json!({
        "/v1/records/{provider}/{table}": {
            "parameters": table,
            "get": {
                "operationId": "listRecords", "summary": "Rows that changed, each in its latest state, in the order of their changes.",
                "description": "Scope: `records`. Keep `next` of each answer, and give it as `after` of the next request, for ever. `more` says whether \
                                to ask again at once. 410 says that the copy has to be made anew.",
                "parameters": feed(),
                "responses": responses(("200", "A page; it may be empty.", "Records")),
            },
        },
        "/v1/records/{provider}/{table}/counts": {
            "parameters": table,
            "get": {
                "operationId": "countRecords", "summary": "How many rows a table has.", "description": "Scope: `records`.",
                "parameters": [text("connection", "Those of this connection."), text("variant", "Those of this variant.")],
                "responses": responses(("200", "The numbers.", "Counts")),
            },
        },
        "/v1/records/{provider}/{table}/prune": {
            "parameters": table,
            "post": {
                "operationId": "pruneRecords", "summary": "Take deleted rows out of a table, up to a place that all readers have passed.",
                "description": "Scope: `control`. A reader whose place lies before what has gone gets 410.",
                "requestBody": { "required": true, "content": of("PruneBody") },
                "responses": responses(("200", "They have gone.", "Pruned")),
            },
        },
    })
}

fn paths_of_calls() -> Value {
    json!({
        "/v1/actions": { "get": {
            "operationId": "listActions", "summary": "The actions that can be called.", "description": "Scope: `actions`.",
            "parameters": [text("connection", "Those of this connection.")],
            "responses": responses(("200", "The actions.", "Actions")),
        } },
        "/v1/actions/{connection}/{action}": {
            "parameters": [at("connection", "Name of the connection."), at("action", "Name of the action.")],
            "post": {
                "operationId": "callAction", "summary": "Call an action: something is asked of the API, or done there.",
                "description": "Scope: `actions`. What was begun is done to its end, and saved, though the caller has gone.",
                "parameters": [{
                    "name": "Idempotency-Key", "in": "header", "schema": { "type": "string", "maxLength": limits::IDEMPOTENCY_KEY_BYTES_MAX },
                    "description": "The same for each try of one call: the API does it once. For actions with `takes_idempotency_key`.",
                }],
                "requestBody": { "required": false, "content": of("CallBody") },
                "responses": responses(("200", "What the action answers.", "Called")),
            },
        },
        "/v1/query": { "post": {
            "operationId": "query", "summary": "Ask the database in SQL: one statement that only reads.",
            "description": "Scope: `query`. Commits wait while it is answered.",
            "requestBody": { "required": true, "content": of("QueryBody") },
            "responses": responses(("200", "The rows.", "Rows")),
        } },
    })
}

fn feed() -> Value {
    json!([
        {
            "name": "after", "in": "query", "schema": { "type": "string", "pattern": "^[0-9]+(\\.[0-9a-f]+)?$" },
            "description": "What is behind this: `next` of the last answer, or a change number (`_change`). Without it from the beginning.",
        },
        number("limit", "So many rows at most; a page that grows large has fewer.", limits::API_RECORDS, limits::API_RECORDS_MAX),
        {
            "name": "action", "in": "query", "style": "form", "explode": false,
            "schema": { "type": "array", "items": { "enum": ["added", "updated", "deleted"] } },
            "description": "Those whose last action is one of these. What was added and then updated is `updated`.",
        },
        text("connection", "Those of this connection."),
        text("variant", "Those of this variant."),
        {
            "name": "modified_after", "in": "query", "schema": { "type": "string", "format": "date-time" },
            "description": "Those that changed after this.",
        },
        text("ids", "Those with these keys: `1,2`, or a JSON array, of arrays where the key has several columns."),
    ])
}

fn text(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } })
}

fn number(name: &str, description: &str, default: usize, max: usize) -> Value {
    let schema = json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default });
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

pub(super) fn of(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

/// The answer that is hoped for, and those that any way may have.
pub(super) fn responses((status, description, schema): (&str, &str, &str)) -> Value {
    let mut all = Map::new();
    all.insert(status.to_owned(), json!({ "description": description, "content": of(schema) }));
    let others = [
        ("400", "Something in the request is not as it should be."),
        ("401", "No key, or a wrong one."),
        ("403", "The key has not the scope."),
        ("404", "There is no such thing."),
        ("405", "It is not asked for in this way."),
        ("409", "Not now: `running`, `shared_table`, `in_file`, `too_many`."),
        ("410", "`feed_ended`: begin again without `after`."),
        ("413", "The body is too large."),
        ("429", "Too many requests with this key; `Retry-After` says how long to wait."),
        ("500", "A mistake in headwater, or of the machine."),
        ("502", "The API behind an action has refused it, or has not answered."),
        ("503", "Not now: `database_busy`, `busy`, `stopping`, `rate_limited`; `Retry-After` says how long to wait."),
        ("504", "It took too long."),
    ];
    for (status, description) in others {
        all.insert(status.to_owned(), json!({ "description": description, "content": of("Error") }));
    }
    Value::Object(all)
}

/// An object that has all of these and nothing else.
pub(super) fn object(properties: &Value) -> Value {
    let required: Vec<String> = properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}

fn list(name: &str, items: &Value) -> Value {
    object(&json!({ (name): { "type": "array", "items": items } }))
}

fn schemas() -> Value {
    let (string, count) = (json!({ "type": "string" }), json!({ "type": "integer", "minimum": 0 }));
    let (maybe, flag) = (json!({ "type": ["string", "null"] }), json!({ "type": "boolean" }));
    let (moment, maybe_moment) = (
        json!({ "type": "string", "format": "date-time" }),
        json!({ "type": ["string", "null"], "format": "date-time" }),
    );
    let change = json!({ "type": ["integer", "null"] });
    let named = json!({ "id": string, "connection": string, "provider": string, "sync": string, "variant": string });
    let run = json!({
        "run_id": string,
        "state": { "enum": ["running", "completed", "paused", "partial", "failed", "interrupted"] },
        "started_at": moment, "ended_at": maybe_moment, "pages": count, "records": count, "added": count, "updated": count,
        "deleted": count, "unchanged": count, "quarantined": count, "error_code": maybe, "error": maybe,
    });
    let sync = json!({
        "state": { "enum": ["idle", "waiting", "running"] }, "paused": flag,
        "next_run_at": { "type": ["string", "null"], "format": "date-time", "description": "When it runs by itself next." },
        "last_run": { "oneOf": [object(&run), { "type": "null" }] },
        "table": maybe, "watermark": maybe, "last_completed_at": maybe_moment, "rows": count, "rows_deleted": count,
        "quarantined": count, "partitions": count, "partitions_failed": count,
    });
    let in_feed = json!({ "change_from": change, "change_to": change, "of": object(&named) });
    let record = json!({
        "type": "object",
        "description": "A row: the columns of its model, and those of headwater.",
        "required": ["_connection", "_variant", "_first_seen_at", "_last_modified_at", "_last_action", "_deleted_at", "_change"],
        "properties": {
            "_connection": string, "_variant": string, "_first_seen_at": moment, "_last_modified_at": moment,
            "_last_action": { "enum": ["ADDED", "UPDATED", "DELETED"] }, "_deleted_at": maybe_moment,
            "_change": { "type": "integer", "minimum": 1 },
        },
    });
    let connection = json!({
        "connection": string, "provider": string, "auth": maybe,
        "state": { "enum": ["ok", "expires", "needs_reconnect", "not_connected", "not_usable"] },
        "reason": maybe, "ends_at": maybe_moment, "connected_at": maybe_moment,
    });
    json!({
        "Document": { "type": "object", "required": ["openapi", "info", "paths"] },
        "Records": object(&json!({
            "records": { "type": "array", "items": record },
            "next": { "type": "string", "description": "What to give as `after` next time. It is always there." },
            "more": { "type": "boolean", "description": "There is more already." },
        })),
        "Syncs": list("syncs", &object(&both(&named, &sync))),
        "Runs": list("runs", &object(&both(&run, &in_feed))),
        "Connections": list("connections", &object(&connection)),
        "Accepted": list("syncs", &string),
        "Forgotten": object(&json!({
            "syncs": { "type": "array", "items": string },
            "removed": { "type": "array", "items": object(&json!({ "table": string, "rows": count })) },
        })),
        "RunBody": body(&json!({ "full": { "type": "boolean", "default": false, "description": "Read everything again." } })),
        "ResetBody": body(&json!({ "purge": { "type": "boolean", "default": false, "description": "Remove the rows too." } })),
        "Nothing": body(&json!({})),
        "Error": object(&json!({ "error": object(&json!({
            "code": { "type": "string", "description": "It does not change." }, "message": string, "hint": maybe,
        })) })),
    })
}

fn schemas_of_calls() -> Value {
    let (string, count, flag) =
        (json!({ "type": "string" }), json!({ "type": "integer", "minimum": 0 }), json!({ "type": "boolean" }));
    let (maybe, change) = (json!({ "type": ["string", "null"] }), json!({ "type": ["integer", "null"] }));
    let headers = json!({ "type": "array", "items": object(&json!({ "name": string, "value": string })) });
    json!({
        "Counts": object(&json!({
            "rows": count, "deleted": count,
            "counts": { "type": "array", "items": object(&json!({
                "connection": string, "variant": string, "rows": count, "deleted": count,
            })) },
        })),
        "Requests": list("requests", &object(&json!({
            "run_id": string,
            "of": object(&json!({ "id": string, "connection": string, "provider": string, "sync": string, "variant": string })),
            "requested_at": { "type": "string", "format": "date-time" }, "method": string, "url": string,
            "status": { "type": ["integer", "null"] }, "duration_ms": count, "waited_ms": count, "bytes": count, "attempt": count, "error": maybe,
            "request_headers": headers, "response_headers": headers,
        }))),
        "Pruned": object(&json!({ "rows": count, "more": flag })),
        "Actions": list("actions", &object(&json!({
            "connection": string, "provider": string, "action": string, "description": maybe, "paged": flag, "takes_idempotency_key": flag,
            "input": { "description": "JSON Schema of `input`; null where it takes anything." },
        }))),
        "Called": called(&string, &count, &change),
        "Rows": object(&json!({
            "columns": { "type": "array", "items": object(&json!({ "name": string, "type": string })) },
            "rows": { "type": "array", "items": { "type": "array" } },
            "more": { "type": "boolean", "description": "There are more rows than `limit`, or than an answer holds." },
        })),
        "PruneBody": {
            "type": "object", "required": ["up_to"], "additionalProperties": false,
            "properties": { "up_to": { "type": "string", "description": "`next` up to which all readers have read." }, "connection": string, "variant": string },
        },
        "CallBody": body(&json!({
            "input": { "type": "object", "description": "What the action's `input` asks for." },
            "cursor": { "description": "The page: `next_cursor` of the call before." },
            "variant": { "type": "string", "description": "Whose rows are meant, where several variants of a sync fill the table." },
        })),
        "QueryBody": {
            "type": "object", "required": ["sql"], "additionalProperties": false,
            "properties": {
                "sql": string,
                "limit": { "type": "integer", "minimum": 1, "maximum": limits::API_RECORDS_MAX, "default": limits::API_RECORDS },
            },
        },
    })
}

/// What an action answers: [`crate::engine::Answer`].
fn called(string: &Value, count: &Value, change: &Value) -> Value {
    let saved = json!({
        "table": string, "added": count, "updated": count, "unchanged": count, "change_from": change, "change_to": change,
    });
    json!({
        "type": "object", "required": ["records", "source", "requests"], "additionalProperties": false,
        "properties": {
            "records": { "type": "array" }, "source": { "enum": ["api", "table"] }, "requests": count,
            "next_cursor": { "description": "What to give as `cursor` for the next page." },
            "saved": object(&saved),
        },
    })
}

pub(super) fn body(properties: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn both(one: &Value, other: &Value) -> Value {
    let members = [one, other].into_iter().filter_map(Value::as_object).flatten();
    Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::super::api;
    use super::*;

    #[test]
    fn every_way_is_in_the_document_with_its_scope_and_nothing_else_is() {
        let document = document();
        let mut written: Vec<(String, String)> = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            let methods = item.as_object().expect("an object").keys().filter(|key| *key != "parameters");
            written.extend(methods.map(|method| (path.clone(), method.clone())));
        }
        let mut built = Vec::new();
        for route in api::all() {
            let scope = route.scope.map_or("Any key.".to_owned(), |scope| format!("Scope: `{}`.", scope.as_str()));
            let told = document["paths"][route.path][route.method]["description"].as_str().unwrap_or_default();
            assert!(told.starts_with(&scope), "{}: {told}", route.path);
            built.push((route.path.to_owned(), route.method.to_owned()));
        }
        written.sort();
        built.sort();
        assert_eq!(written, built);
    }
}
