//! Actions: `headwater call` against an API that keeps what it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Api, Output, Project, Reply, Request};

/// What the API has, and what it was asked.
#[derive(Default)]
struct Contacts {
    all: Vec<Value>,
    asked: Vec<Request>,
}

/// An API of contacts, and a project with a sync of them.
fn contacts(model: &str) -> (Api, Project, Arc<Mutex<Contacts>>) {
    let contacts = Arc::new(Mutex::new(Contacts::default()));
    let kept = Arc::clone(&contacts);
    let api = Api::start(move |request| {
        let mut contacts = kept.lock().unwrap();
        contacts.asked.push(request.clone());
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/contacts") => {
                let mut contact: Value = serde_json::from_str(&request.body).expect("JSON");
                if contact["email"] == "taken@x.example" {
                    return Reply::status(409, r#"{"message": "there is one"}"#);
                }
                contact["id"] = json!(contacts.all.len() + 1);
                contacts.all.push(contact.clone());
                Reply::status(201, &json!({ "contact": contact }).to_string())
            }
            ("GET", "/contacts") => {
                let (after, email) = (request.number("after", 0), request.param("email"));
                let wanted = contacts.all.iter().filter(|one| email.is_none_or(|email| one["email"] == email));
                let page: Vec<_> = wanted.skip(after).take(2).cloned().collect();
                let next = (page.len() == 2).then_some(after + 2);
                Reply::json(&json!({ "contacts": page, "next": next }))
            }
            ("DELETE", _) => Reply { status: 204, ..Reply::text("text/plain", "") },
            _ => Reply::status(404, "{}"),
        }
    });
    let sync = "request: { get: /contacts }\nresponse: { records: \"$.contacts[*]\" }\n\
                pagination: { cursor: { from: $.next, query: after } }\ndeletes: { absence: {} }";
    let project = Project::simple(&api.url(), sync, model);
    (api, project, contacts)
}

const MODEL: &str = "key: [id]\nhistory: true\ncolumns:\n  id: { path: $.id, type: bigint }\n  email: $.email\n  \
                     born: { path: $.born, type: date }\n";

fn action(project: &Project, name: &str, words: &str) {
    project.write(&format!("integrations/api/actions/{name}.yaml"), format!("action: {name}\n{words}\n"));
}

const CREATE: &str = "input: { type: object, required: [email], properties: { email: { type: string }, born: { type: string, default: \"2000-02-01\" } } }\n\
    request: { post: /contacts, body: { json: { email: \"{{ input.email }}\", born: \"{{ input.born }}\" } } }\n\
    response: { records: $.contact }\noutput: { model: Item }\nsave: true\n\
    errors: [{ status: 409, then: fail, message: there is a contact with this address already }]\n";

fn call(project: &Project, name: &str, input: &Value, more: &[&str]) -> Output {
    let input = input.to_string();
    let mut arguments = vec!["call", name, "--json", "--input", &input];
    arguments.extend(more);
    project.headwater(&arguments)
}

fn answer(project: &Project, name: &str, input: &Value, more: &[&str]) -> Value {
    let output = call(project, name, input, more);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.json().remove(0)
}

fn error(project: &Project, code: i32, name: &str, input: &Value) -> Value {
    let output = call(project, name, input, &[]);
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    output.json().remove(0)["error"].clone()
}

#[test]
fn what_an_action_makes_is_in_the_table_at_once_and_no_sync_tells_it_anew() {
    let (_api, project, contacts) = contacts(MODEL);
    action(&project, "create", CREATE);
    let made = answer(&project, "acme/create", &json!({ "email": "ada@x.example" }), &[]);
    assert_eq!(made["records"], json!([{ "id": 1, "email": "ada@x.example", "born": "2000-02-01" }]));
    assert_eq!((&made["source"], &made["requests"]), (&json!("api"), &json!(1)));
    assert_eq!((&made["saved"]["added"], &made["saved"]["table"]), (&json!(1), &json!("api.items")), "{made}");
    let row = "select id, email, born, _last_action, _change from api.items order by id";
    assert_eq!(
        project.rows(row),
        [
            json!({ "id": 1, "email": "ada@x.example", "born": "2000-02-01", "_last_action": "ADDED", "_change": made["saved"]["change_to"] })
        ]
    );
    let report = project.run();
    assert_eq!(
        (&report["unchanged"], &report["added"], &report["updated"]),
        (&json!(1), &json!(0), &json!(0)),
        "{report}"
    );
    // what the API has changed, and another call then sees, is an update
    contacts.lock().unwrap().all.clear();
    let report = project.run_fails(4);
    assert_eq!(report["error"]["code"], "deletes_guarded");
    let again = answer(&project, "api/create", &json!({ "email": "eve@x.example" }), &[]);
    assert_eq!((&again["records"][0]["id"], &again["saved"]["updated"]), (&json!(1), &json!(1)));
    assert_eq!(project.number("select count(*) from api.items_history"), 2);
}

#[test]
fn errors_say_what_happened_and_whether_something_was_done() {
    let (api, project, contacts) = contacts(MODEL);
    action(&project, "create", CREATE);
    let taken = error(&project, 3, "acme/create", &json!({ "email": "taken@x.example" }));
    assert_eq!((&taken["code"], &taken["status"]), (&json!("error_rule"), &json!(409)), "{taken}");
    assert!(taken["message"].as_str().unwrap().contains("there is a contact with this address already"), "{taken}");
    // nothing is sent that does not fit `input`
    let sent = contacts.lock().unwrap().asked.len();
    let wrong = call(&project, "acme/create", &json!({ "email": 7 }), &[]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("`input.email`: expected text, found the number `7`"), "{}", wrong.stderr);
    let missing = call(&project, "acme/create", &json!({}), &[]);
    assert!(missing.stderr.contains("the key `email` is missing"), "{}", missing.stderr);
    let several = project.headwater(&["call", "create"]);
    assert!(several.stderr.contains("write `api/create`"), "{}", several.stderr);
    let cursor = call(&project, "acme/create", &json!({ "email": "a@x.example" }), &["--cursor", "x"]);
    assert!(cursor.stdout.contains("the action gives no pages"), "{}{}", cursor.stdout, cursor.stderr);
    assert_eq!(contacts.lock().unwrap().asked.len(), sent);

    // an answer that does not fit: the contact is made all the same
    api.becomes(|_| Reply::status(201, r#"{"contact": {"id": "seven", "email": "b@x.example"}}"#));
    let lost = error(&project, 4, "acme/create", &json!({ "email": "b@x.example" }));
    assert_eq!(lost["code"], "invalid_record");
    let message = lost["message"].as_str().unwrap();
    assert!(message.contains("/contacts was done, and what followed failed") && message.contains("`id`"), "{lost}");
    assert!(lost["hint"].as_str().unwrap().contains("before calling it again"), "{lost}");
}

#[test]
fn a_request_that_changes_something_is_sent_again_only_with_a_key() {
    let failures = Arc::new(AtomicUsize::new(0));
    let (seen, keys) = (Arc::clone(&failures), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&keys);
    let api = Api::start(move |request| {
        kept.lock().unwrap().push(request.header("idempotency-key").map(str::to_owned));
        match seen.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::status(500, "{}"),
            _ => Reply::status(201, r#"{"id": 1}"#),
        }
    });
    let project = Project::simple(&api.url(), "request: { get: /x }\nresponse: { records: $ }", MODEL);
    action(&project, "plain", "request: { post: /things }");
    action(&project, "keyed", "request: { post: /things }\nidempotency_key: {}");
    action(
        &project,
        "given",
        "request: { post: /things }\nidempotency_key: { value: \"{{ input.id }}\" }\ninput: { type: object, properties: { id: { type: string } } }",
    );
    action(&project, "put", "request: { put: /things/1 }\nretry: { attempts: 2 }");
    let failed = error(&project, 3, "acme/plain", &json!({}));
    assert_eq!(failures.load(Ordering::SeqCst), 1, "it may have been done");
    assert!(failed["message"].as_str().unwrap().contains("the API may have done it"), "{failed}");

    let again = |name: &str, input: &Value| {
        failures.store(0, Ordering::SeqCst);
        keys.lock().unwrap().clear();
        let output = call(&project, name, input, &[]);
        (output.code, keys.lock().unwrap().clone())
    };
    let (code, sent) = again("acme/keyed", &json!({}));
    assert_eq!((code, sent.len()), (0, 3));
    assert!(sent[0].as_ref().is_some_and(|key| key.len() == 32) && sent.iter().all(|key| *key == sent[0]), "{sent:?}");
    let (_, other) = again("acme/keyed", &json!({}));
    assert_ne!(sent[0], other[0], "each call has a key of its own");
    assert_eq!(again("acme/given", &json!({ "id": "r-1" })), (0, vec![Some("r-1".to_owned()); 3]));
    assert_eq!(again("acme/put", &json!({})), (3, vec![None, None]), "a PUT is the same twice; two attempts");
}

#[test]
fn the_table_answers_first_and_the_api_what_it_lacks() {
    let (_api, project, contacts) = contacts(MODEL);
    let words = "input: { type: object, properties: { email: { type: string }, born: { type: string } } }\n\
        request: { get: /contacts, query: { email: \"{{ input.email }}\" } }\nresponse: { records: \"$.contacts[*]\" }\n";
    action(
        &project,
        "find",
        &format!(
            "{words}output: {{ columns: {{ id: {{ path: $.id, type: bigint }}, email: $.email }} }}\nsynced_first: {{ model: Item, where: {{ email: \"{{{{ input.email }}}}\" }} }}"
        ),
    );
    action(
        &project,
        "born",
        &format!(
            "{words}output: {{ model: Item }}\nsynced_first: {{ model: Item, where: {{ born: \"{{{{ input.born }}}}\" }} }}"
        ),
    );
    contacts
        .lock()
        .unwrap()
        .all
        .extend((1..=3).map(|id| json!({ "id": id, "email": format!("c{id}@x.example"), "born": "1999-12-31" })));
    let email = json!({ "email": "c2@x.example" });
    let found = answer(&project, "acme/find", &email, &[]);
    assert_eq!(
        (&found["source"], &found["records"]),
        (&json!("api"), &json!([{ "id": 2, "email": "c2@x.example" }])),
        "no table yet"
    );
    project.run();
    let asked = contacts.lock().unwrap().asked.len();
    let found = answer(&project, "acme/find", &email, &[]);
    let expected = json!({ "records": [{ "id": 2, "email": "c2@x.example" }], "source": "table", "requests": 0 });
    assert_eq!(found, expected);
    let born = answer(&project, "acme/born", &json!({ "born": "1999-12-31" }), &[]);
    assert_eq!(born["records"].as_array().map(Vec::len), Some(3), "{born}");
    assert_eq!(contacts.lock().unwrap().asked.len(), asked, "without a request");
    // what is no day is nothing that a row could have, and without a value nothing is looked for
    for input in [json!({ "born": "no day", "email": "c1@x.example" }), json!({ "email": "c1@x.example" })] {
        let born = answer(&project, "acme/born", &input, &[]);
        assert_eq!((&born["source"], &born["records"][0]["id"]), (&json!("api"), &json!(1)), "{input}");
    }
    let unknown = answer(&project, "acme/find", &json!({ "email": "nobody@x.example" }), &[]);
    assert_eq!((&unknown["source"], &unknown["records"]), (&json!("api"), &json!([])));
}

#[test]
fn a_call_gives_one_page_and_the_cursor_of_the_next() {
    let (_api, project, contacts) = contacts(MODEL);
    action(
        &project,
        "list",
        "request: { get: /contacts }\nresponse: { records: \"$.contacts[*]\" }\npagination: { cursor: { from: $.next, query: after } }",
    );
    contacts.lock().unwrap().all.extend((1..=5).map(|id| json!({ "id": id, "more": { "x": [id] } })));
    let (mut ids, mut cursor, mut calls) = (Vec::new(), None::<String>, 0);
    loop {
        let more: Vec<&str> = cursor.iter().flat_map(|cursor| ["--cursor", cursor]).collect();
        let page = answer(&project, "acme/list", &json!({}), &more);
        calls += 1;
        ids.extend(page["records"].as_array().unwrap().iter().map(|one| one["more"]["x"][0].clone()));
        cursor = page.get("next_cursor").map(ToString::to_string);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((calls, ids), (3, vec![json!(1), json!(2), json!(3), json!(4), json!(5)]));
    assert!(!project.database().exists(), "nothing of a database is needed");
}

#[test]
fn steps_see_those_before_and_are_left_out_where_their_condition_does_not_hold() {
    let (api, project, contacts) = contacts(MODEL);
    action(
        &project,
        "move",
        "input: { type: object, required: [email], properties: { email: { type: string }, old: { type: integer } } }\n\
         steps:\n  - { as: made, request: { post: /contacts, body: { json: { email: \"{{ input.email }}\" } } } }\n  \
         - { as: gone, when: \"{{ input.old }}\", request: { delete: \"/contacts/{{ input.old }}\" } }\n  \
         - { as: seen, request: { get: /contacts, query: { email: \"{{ steps.made.body.contact.email }}\", was: \"{{ steps.gone.status }}\" } } }\n\
         idempotency_key: { value: k }\nresponse: { records: \"$.contacts[*]\" }\n",
    );
    let lines = || {
        contacts
            .lock()
            .unwrap()
            .asked
            .drain(..)
            .map(|asked| (asked.line(), asked.header("idempotency-key").map(str::to_owned)))
            .collect::<Vec<_>>()
    };
    let moved = answer(&project, "acme/move", &json!({ "email": "a@x.example" }), &[]);
    assert_eq!(moved["records"], json!([{ "id": 1, "email": "a@x.example" }]));
    assert_eq!(lines().len(), 2);
    answer(&project, "acme/move", &json!({ "email": "b@x.example", "old": 1 }), &[]);
    let key = |step: &str| Some(format!("k-{step}"));
    assert_eq!(
        lines(),
        [
            ("POST /contacts {\"email\":\"b@x.example\"}".to_owned(), key("made")),
            ("DELETE /contacts/1".to_owned(), key("gone")),
            ("GET /contacts?email=b%40x.example&was=204".to_owned(), None),
        ]
    );
    // a step that fails says what was done before it
    api.becomes(|request| match request.method.as_str() {
        "POST" => Reply::status(201, r#"{"contact": {"email": "c@x.example"}}"#),
        _ => Reply::status(403, "{}"),
    });
    let failed = error(&project, 3, "acme/move", &json!({ "email": "c@x.example", "old": 2 }));
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.starts_with("POST ") && message.contains("was done, and what followed failed: DELETE "),
        "{failed}"
    );
    assert_eq!((&failed["status"], &failed["code"]), (&json!(403), &json!("http_status")));
}

#[test]
fn a_row_that_is_saved_stays_in_its_partition() {
    let api = Api::start(|request| match request.method.as_str() {
        "PATCH" => Reply::json(&json!({ "id": 1, "email": "new@x.example" })),
        _ => Reply::json(&json!({ "contacts": [{ "id": 1, "email": "old@x.example" }] })),
    });
    let sync = "for_each: [{ as: list, from: { values: [a] } }]\nrequest: { get: \"/lists/{{ parent.list }}\" }\n\
                response: { records: \"$.contacts[*]\" }\ndeletes: { absence: { scope: partition } }";
    let project = Project::simple(&api.url(), sync, MODEL);
    action(&project, "rename", "request: { patch: /contacts/1 }\noutput: { model: Item }\nsave: true");
    project.run();
    let saved = answer(&project, "acme/rename", &json!({}), &[]);
    assert_eq!(saved["saved"]["updated"], 1);
    assert_eq!(project.column("select _partition from api.items"), [json!("a")]);
    api.becomes(|_| Reply::json(&json!({ "contacts": [{ "id": 2 }] })));
    project.headwater(&["run", "--accept-deletes"]);
    assert_eq!(project.column("select id from api.items_live"), [json!(2)], "so its partition tells that it is gone");
}

#[test]
fn variants_are_told_apart() {
    let (_api, project, contacts) = contacts(MODEL);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme:\n    provider: api\n    syncs: { items: { variants: { big: {}, small: {} } } }\n",
    );
    action(&project, "create", CREATE);
    let input = json!({ "email": "ada@x.example" });
    let unclear = error(&project, 2, "acme/create", &input);
    assert!(unclear["hint"].as_str().unwrap().contains("`big`, `small`"), "{unclear}");
    assert!(contacts.lock().unwrap().asked.is_empty(), "nothing was sent");
    answer(&project, "acme/create", &input, &["--variant", "small"]);
    assert_eq!(project.column("select _variant from api.items"), [json!("small")]);
}

#[test]
fn secrets_that_the_server_repeats_are_not_answered() {
    let api = Api::start(|request| {
        Reply::json(&json!({ "id": 1, "echo": request.header("x-key"), "email": request.header("x-key") }))
    });
    let project = Project::simple(&api.url(), "request: { get: /x }\nresponse: { records: $ }", MODEL);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { key: \"${KEY}\" } }\n",
    );
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {}\nauth: {{ key: {{ api_key: {{ header: X-Key, value: \"{{{{ credentials.key }}}}\" }} }} }}\n", api.url()),
    );
    action(&project, "plain", "request: { get: /me }");
    action(&project, "mapped", "request: { get: /me }\noutput: { columns: { email: $.email } }");
    for name in ["acme/plain", "acme/mapped"] {
        let output = project.headwater_with(&["call", name], &[("KEY", "hush-7f3a9c")]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(!output.stdout.contains("hush") && output.stdout.contains("***"), "{}", output.stdout);
    }
}

#[test]
fn people_read_a_table() {
    let (_api, project, contacts) = contacts(MODEL);
    action(&project, "create", CREATE);
    action(
        &project,
        "list",
        "request: { get: /contacts }\nresponse: { records: \"$.contacts[*]\" }\npagination: { cursor: { from: $.next, query: after } }",
    );
    let made = project.headwater(&["call", "api/create", "--input", r#"{"email": "ada@x.example"}"#]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    insta::assert_snapshot!("action_create", format!("{}\n---\n{}", made.stdout, made.stderr));
    contacts.lock().unwrap().all.extend([json!({ "id": 2, "note": "x" }), json!({ "id": 3 })]);
    let listed = project.headwater(&["call", "api/list"]);
    insta::assert_snapshot!("action_list", format!("{}\n---\n{}", listed.stdout, listed.stderr));
}
