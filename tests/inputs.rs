//! Inputs and variants that applications set: over headwater.yaml, without a restart, and for good.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::api::{self, KEY, READER, ask, get, listen, post, sync_of};
use crate::support::{Answer, Api, Daemon, Project, Reply, Request, until};

const INPUT: &str = "input:\n  type: object\n  required: [list]\n  additionalProperties: false\n  \
                     properties: { list: { type: string }, size: { type: integer, default: 10, minimum: 1 } }\n\
                     request: { get: \"/lists/{{ input.list }}\", query: { size: \"{{ input.size }}\" } }";
const ACME: &str = "  acme: { provider: api, syncs: { items: { input: { list: a } } } }\n";

/// Three items for each list, whose names say which.
fn answer(request: &Request) -> Reply {
    let list = request.path.rsplit('/').next().expect("a list").to_owned();
    let item = |id: usize| json!({ "id": id, "name": list });
    Reply::json(&json!({ "items": (0..3).map(item).collect::<Vec<_>>() }))
}

fn project(api: &Api, connections: &str) -> Project {
    api::project(&api.url(), connections, &[("items", INPUT)])
}

fn put(daemon: &Daemon, target: &str, body: &Value) -> Answer {
    ask(daemon, "PUT", &format!("/v1/syncs/{target}"), &body.to_string())
}

fn delete(daemon: &Daemon, target: &str) -> Answer {
    ask(daemon, "DELETE", &format!("/v1/syncs/{target}"), "")
}

fn input(daemon: &Daemon, sync: &str) -> Value {
    get(daemon, &format!("/v1/syncs/{sync}/input"))
}

fn is_idle_after(daemon: &Daemon, id: &str, before: &Value) -> bool {
    let now = sync_of(daemon, id);
    now["state"] == "idle" && now["last_run"]["run_id"] != *before
}

/// Runs a sync to its end.
fn run(daemon: &Daemon, id: &str) {
    let before = sync_of(daemon, id)["last_run"]["run_id"].clone();
    assert_eq!(post(daemon, &format!("/v1/syncs/{id}/run"), "").status, 202);
    until("it has run", || is_idle_after(daemon, id, &before));
    assert_eq!(sync_of(daemon, id)["last_run"]["state"], "completed");
}

fn asked(api: &Api) -> Vec<String> {
    api.requests().iter().map(|request| request.target.clone()).collect()
}

fn file(project: &Project) -> String {
    std::fs::read_to_string(project.path().join("headwater.api.yaml")).unwrap_or_default()
}

/// Code and message of an error, which has a hint.
fn denied(answer: &Answer) -> (u16, String, String) {
    let error = &answer.body["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{name}: {}", answer.body)).to_owned();
    (answer.status, text("code"), format!("{}; {}", text("message"), text("hint")))
}

#[test]
fn an_input_is_set_used_by_the_next_run_and_taken_back() {
    let api = Api::start(answer);
    let project = project(&api, ACME);
    let daemon = listen(&project);
    let first = input(&daemon, "acme/items");
    assert_eq!(first["schema"]["required"], json!(["list"]));
    assert_eq!(first["set"], Value::Null);
    let only = json!({
        "id": "acme/items", "variant": "", "input": { "list": "a", "size": 10 }, "schedule": "manual", "made": false, "set": null,
    });
    assert_eq!(first["variants"], json!([only]));
    run(&daemon, "acme/items");
    let set = put(&daemon, "acme/items/input", &json!({ "list": "b", "size": 2 }));
    assert_eq!((set.status, &set.body), (200, &input(&daemon, "acme/items")));
    assert_eq!(set.body["set"], json!({ "list": "b", "size": 2 }));
    assert_eq!(set.body["variants"][0]["input"], json!({ "list": "b", "size": 2 }));
    run(&daemon, "acme/items");
    // it stands in the place of that of headwater.yaml, and the schema's defaults hold
    assert_eq!(put(&daemon, "acme/items/input", &json!({ "list": "c" })).status, 200);
    run(&daemon, "acme/items");
    assert_eq!(delete(&daemon, "acme/items/input").body["set"], Value::Null);
    run(&daemon, "acme/items");
    assert_eq!(asked(&api), ["/lists/a?size=10", "/lists/b?size=2", "/lists/c?size=10", "/lists/a?size=10"]);
    // what sets nothing is named nowhere
    assert!(file(&project).ends_with("\nconnections: {}\n"), "{}", file(&project));
    daemon.stop();
}

#[test]
fn every_command_sees_what_is_set_and_the_file_says_it_as_documented() {
    let api = Api::start(answer);
    let project = project(&api, ACME);
    let daemon = listen(&project);
    assert_eq!(put(&daemon, "acme/items/input", &json!({ "list": "b" })).status, 200);
    let variant = json!({ "input": { "list": "v" }, "schedule": { "cron": "0 6 1 1 *", "timezone": "Europe/Berlin" } });
    let made = put(&daemon, "acme/items/variants/customer-7", &variant);
    assert_eq!((made.status, made.body["variants"].as_array().map(Vec::len)), (200, Some(1)), "{}", made.body);
    assert_eq!(made.body["variants"][0]["schedule"], json!({ "cron": "0 6 1 1 *", "timezone": "Europe/Berlin" }));
    let written = "# headwater writes this file: what applications have set through its API, over headwater.yaml.\n\
                   connections:\n  acme:\n    syncs:\n      items:\n        input:\n          list: b\n        variants:\n          \
                   customer-7:\n            input:\n              list: v\n            schedule:\n              \
                   cron: 0 6 1 1 *\n              timezone: Europe/Berlin\n";
    assert_eq!(file(&project), written);
    // as in headwater.yaml, what the variant does not say the sync says
    assert_eq!(made.body["variants"][0]["input"], json!({ "list": "v", "size": 10 }));
    daemon.stop();
    assert_eq!(project.headwater(&["check"]).code, 0);
    let explained = project.headwater(&["explain", "acme/items@customer-7"]);
    assert!(explained.stdout.contains("acme/items@customer-7"), "{}{}", explained.stdout, explained.stderr);
    assert_eq!(project.headwater(&["run", "--json"]).report().len(), 2);
    let mut asked = asked(&api);
    asked.sort();
    assert_eq!(asked, ["/lists/b?size=10", "/lists/v?size=10"]);
    let rows = project.column("SELECT _variant || ' ' || name FROM api.items WHERE id = 0 ORDER BY 1");
    assert_eq!(rows, [json!(" b"), json!("customer-7 v")]);
    // a person broke it: that is told where it is
    project.write("headwater.api.yaml", written.replace("list: b", "list: 7"));
    let refused = project.headwater(&["run"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("error[E048]") && refused.stderr.contains("headwater.api.yaml:7:"),
        "{}",
        refused.stderr
    );
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let api = Api::start(answer);
    let project = project(
        &api,
        "  acme: { provider: api, syncs: { items: { input: { list: a }, variants: { open: {}, closed: { input: { list: c } } } } } }\n",
    );
    let daemon = listen(&project);
    let wrong = [
        ("acme/items/input", json!({ "size": 1 }), 400, "the key `list` is missing (E048); add `list: …`"),
        ("acme/items/input", json!({}), 400, "the key `list` is missing"),
        (
            "acme/items@open/input",
            json!({ "list": 5 }),
            400,
            "expected text, found the number `5` (E048); put it in quotes",
        ),
        (
            "acme/items@open/input",
            json!({ "list": "x", "sise": 5 }),
            400,
            "`sise` is not a key here (E048); did you mean `size`?",
        ),
        (
            "acme/items/input",
            json!({ "list": "${HOME}" }),
            400,
            "the environment is not read here: `${HOME}` (E046); settings are",
        ),
        ("acme/items/input", json!([1]), 400, "the body is not as it should be"),
        ("acme/itens/input", json!({ "list": "x" }), 404, "there is no sync `acme/itens`; did you mean `acme/items`?"),
        ("api/items/input", json!({ "list": "x" }), 404, "there is no sync `api/items`"),
        (
            "acme/items@opne/input",
            json!({ "list": "x" }),
            404,
            "there is no sync `acme/items@opne`; did you mean `open`?",
        ),
        ("acme/items/variants/Not%20Good", json!({ "input": { "list": "x" } }), 400, "E025"),
        ("acme/items/variants/v", json!({ "input": { "list": 1 } }), 400, "expected text, found the number `1`"),
        (
            "acme/items/variants/v",
            json!({ "input": { "list": "x" }, "schedule": "daily" }),
            400,
            "`daily` is not a schedule (E105); write `every day`",
        ),
        ("acme/items/variants/v", json!({ "inptu": {} }), 400, "unknown field `inptu`"),
        (
            "acme/items/variants/open",
            json!({ "input": { "list": "x" } }),
            409,
            "is in headwater.yaml; set its input with `PUT",
        ),
        ("beta/items/variants/v", json!({}), 404, "there is no sync `beta/items`"),
    ];
    for (target, body, status, says) in wrong {
        let (code, _, text) = denied(&put(&daemon, target, &body));
        assert!(code == status && text.contains(says), "{target} {body}: {code} {text}");
    }
    let deep = (0..70).fold(json!("x"), |inner, _| json!([inner]));
    let refused = put(&daemon, "acme/items/input", &json!({ "list": deep }));
    assert_eq!((refused.status, &refused.body["error"]["code"]), (400, &json!("bad_request")));
    let empty = ask(&daemon, "PUT", "/v1/syncs/acme/items/input", "");
    assert!(denied(&empty).2.contains("the body is empty"));
    for (target, status, says) in [
        ("acme/items/variants/open", 409, "is in headwater.yaml"),
        ("acme/items/variants/v", 404, "there is no sync `acme/items@v`"),
    ] {
        let answer = delete(&daemon, target);
        assert_eq!(answer.status, status);
        assert!(answer.body["error"]["message"].as_str().expect("text").contains(says), "{}", answer.body);
    }
    let (_, _, text) = denied(&delete(&daemon, "acme/items/variants/v?purge=yes"));
    assert!(text.contains("`yes` is not a value of `purge`; it is `true` or `false`"), "{text}");
    assert_eq!(ask(&daemon, "POST", "/v1/syncs/acme/items/variants/v", "").status, 405);
    // nothing of it was kept
    assert_eq!((file(&project).as_str(), api.requests().len()), ("", 0));
    let shown = input(&daemon, "acme/items");
    assert!(shown["variants"].as_array().expect("variants").iter().all(|variant| variant["set"].is_null()));
    // one of headwater.yaml has its input set, and taken back
    let one = put(&daemon, "acme/items@closed/input", &json!({ "size": 3 }));
    assert_eq!(one.body["variants"][0]["input"], json!({ "list": "a", "size": 3 }), "{}", one.body);
    assert_eq!(one.body["variants"].as_array().map(Vec::len), Some(1));
    assert!(file(&project).contains("variant_inputs:\n          closed:\n            size: 3\n"), "{}", file(&project));
    assert_eq!(delete(&daemon, "acme/items@closed/input").body["variants"][0]["input"]["list"], "c");
    daemon.stop();
}

#[test]
fn keys_need_the_scopes() {
    let api = Api::start(answer);
    let project = project(&api, ACME);
    let daemon = listen(&project);
    for (method, target, scope) in [
        ("GET", "/v1/syncs/acme/items/input", "syncs"),
        ("PUT", "/v1/syncs/acme/items/input", "control"),
        ("DELETE", "/v1/syncs/acme/items/input", "control"),
        ("PUT", "/v1/syncs/acme/items/variants/v", "control"),
        ("DELETE", "/v1/syncs/acme/items/variants/v", "control"),
    ] {
        let lacks = api::send(daemon.address(), method, target, Some(READER), "{\"list\": \"x\"}").expect("an answer");
        assert_eq!(lacks.status, 403, "{method} {target}");
        assert!(lacks.body["error"]["message"].as_str().expect("text").contains(&format!("`{scope}`")));
        assert_eq!(api::send(daemon.address(), method, target, None, "").expect("an answer").status, 401);
    }
    assert_eq!(file(&project), "");
    daemon.stop();
}

#[test]
fn a_variant_runs_by_its_schedule_and_goes_with_its_rows() {
    let api = Api::start(answer);
    let project = project(&api, ACME);
    let daemon = listen(&project);
    let ids = || {
        let syncs = get(&daemon, "/v1/syncs?connection=acme");
        syncs["syncs"].as_array().expect("syncs").iter().map(|sync| sync["id"].clone()).collect::<Vec<_>>()
    };
    let rows = |variant: &str| {
        let page = get(&daemon, &format!("/v1/records/api/items?variant={variant}"));
        page["records"].as_array().expect("records").len()
    };
    run(&daemon, "acme/items");
    let v = json!({ "input": { "list": "v" }, "schedule": "every 1s" });
    assert_eq!(put(&daemon, "acme/items/variants/v", &v).status, 200);
    assert_eq!(put(&daemon, "acme/items/variants/w", &json!({ "input": { "size": 4 } })).status, 200);
    assert_eq!(ids(), [json!("acme/items"), json!("acme/items@v"), json!("acme/items@w")]);
    until("it runs by itself, twice", || asked(&api).iter().filter(|target| *target == "/lists/v?size=10").count() > 1);
    until("its rows", || rows("v") == 3);
    run(&daemon, "acme/items@w");
    assert!(asked(&api).contains(&"/lists/a?size=4".to_owned()), "it has the sync's input under its own");
    // made anew: another schedule, and the sync's input
    let anew = put(&daemon, "acme/items/variants/v", &json!({}));
    assert_eq!(
        (&anew.body["variants"][0]["schedule"], &anew.body["variants"][0]["made"]),
        (&json!("manual"), &json!(true))
    );
    assert_eq!(anew.body["variants"][0]["input"]["list"], "a");
    until("it is idle", || sync_of(&daemon, "acme/items@v")["state"] == "idle");
    assert_eq!(sync_of(&daemon, "acme/items@v")["next_run_at"], Value::Null);
    // paused, gone without its rows, and there again as it was
    assert_eq!(post(&daemon, "/v1/syncs/acme/items@w/pause", "").status, 202);
    let gone = delete(&daemon, "acme/items/variants/w");
    assert_eq!((gone.status, &gone.body), (200, &json!({ "syncs": ["acme/items@w"], "removed": [] })));
    assert_eq!((ids().len(), rows("w")), (2, 3));
    assert_eq!(post(&daemon, "/v1/syncs/acme/items@w/run", "").status, 404);
    assert_eq!(put(&daemon, "acme/items/variants/w", &json!({})).status, 200);
    until("it is paused as it was", || sync_of(&daemon, "acme/items@w")["paused"] == true);
    assert_eq!(sync_of(&daemon, "acme/items@w")["rows"], 3);
    // and gone with its rows
    let gone = delete(&daemon, "acme/items/variants/v?purge=true");
    assert_eq!(gone.body["removed"], json!([{ "table": "api.items", "rows": 3 }]));
    assert_eq!((rows("v"), rows("w"), rows("")), (0, 3, 3));
    assert_eq!(delete(&daemon, "acme/items/variants/v?purge=true").status, 404);
    daemon.stop();
    let left = project.column("SELECT count(*) FROM headwater.checkpoints WHERE variant = 'v'");
    assert_eq!(left, [json!(0)]);
}

/// An API that holds its answers for some lists until it is told.
struct Held {
    api: Api,
    held: Arc<AtomicBool>,
}

impl Held {
    fn new(list: &'static str) -> Self {
        let held = Arc::new(AtomicBool::new(false));
        let is_held = Arc::clone(&held);
        let api = Api::start(move |request: &Request| {
            while request.path.ends_with(list) && is_held.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            answer(request)
        });
        Self { api, held }
    }

    fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }
}

#[test]
fn a_run_ends_with_the_input_it_began_with_and_its_variant_stays_meanwhile() {
    let held = Held::new("/v");
    let project = project(&held.api, ACME);
    let daemon = listen(&project);
    assert_eq!(put(&daemon, "acme/items/variants/v", &json!({ "input": { "list": "v" } })).status, 200);
    held.hold(true);
    assert_eq!(post(&daemon, "/v1/syncs/acme/items@v/run", "").status, 202);
    until("it has asked", || asked(&held.api) == ["/lists/v?size=10"]);
    let running = delete(&daemon, "acme/items/variants/v?purge=true");
    assert_eq!((running.status, &running.body["error"]["code"]), (409, &json!("running")));
    assert!(file(&project).contains("v:"), "it is there as before");
    assert_eq!(put(&daemon, "acme/items@v/input", &json!({ "list": "other" })).status, 200);
    // others come and go before it in the order
    assert_eq!(put(&daemon, "acme/items/variants/u", &json!({})).status, 200);
    assert_eq!(delete(&daemon, "acme/items/variants/u").status, 200);
    assert_eq!(sync_of(&daemon, "acme/items@v")["state"], "running");
    held.hold(false);
    until("it has ended", || sync_of(&daemon, "acme/items@v")["state"] == "idle");
    let names = || {
        let page = get(&daemon, "/v1/records/api/items?variant=v");
        page["records"].as_array().expect("records").iter().map(|row| row["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["v", "v", "v"]);
    run(&daemon, "acme/items@v");
    assert_eq!(names(), ["other", "other", "other"]);
    assert_eq!(delete(&daemon, "acme/items/variants/v?purge=true").status, 200);
    daemon.stop();
}

const INCREMENTAL: &str = "input: { type: object, properties: { list: { type: string } } }\n\
                           request: { get: \"/lists/{{ input.list }}\", query: { since: \"{{ watermark }}\" } }\n\
                           incremental: { field: $.id, type: integer }";

#[test]
fn the_state_means_what_it_means_when_a_person_changes_the_input() {
    let lists =
        |targets: Vec<String>| targets.into_iter().map(|target| target.replace("/lists/", "")).collect::<Vec<_>>();
    let of_person = {
        let api = Api::start(answer);
        let project = api::project(&api.url(), ACME, &[("items", INCREMENTAL)]);
        for list in ["a", "a", "b", "b"] {
            let file = std::fs::read_to_string(project.path().join("headwater.yaml")).expect("a file");
            let (before, rest) = file.split_once("{ list: ").expect("an input");
            project.write("headwater.yaml", format!("{before}{{ list: {list}{}", &rest[1..]));
            assert_eq!(project.headwater_with(&["run"], &[("APP_KEY", KEY), ("READER_KEY", READER)]).code, 0);
        }
        lists(asked(&api))
    };
    let api = Api::start(answer);
    let project = api::project(&api.url(), ACME, &[("items", INCREMENTAL)]);
    let daemon = listen(&project);
    for list in ["a", "a", "b", "b"] {
        assert_eq!(put(&daemon, "acme/items/input", &json!({ "list": list })).status, 200);
        run(&daemon, "acme/items");
    }
    assert_eq!(lists(asked(&api)), of_person);
    // with another input everything is read again, and then what is new
    assert_eq!(of_person, ["a", "a?since=2", "b", "b?since=2"]);
    daemon.stop();
}

#[test]
fn what_a_person_changes_in_other_files_takes_no_effect_by_it() {
    let api = Api::start(answer);
    let project = project(&api, ACME);
    let daemon = listen(&project);
    let headwater = std::fs::read_to_string(project.path().join("headwater.yaml")).expect("a file");
    project.write("headwater.yaml", "database: [half");
    project.write(
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: Item\nrequest: { get: /elsewhere }\nresponse: { records: \"$.items[*]\" }\n",
    );
    assert_eq!(put(&daemon, "acme/items/input", &json!({ "list": "b" })).status, 200);
    assert_eq!(put(&daemon, "acme/items/input", &json!({ "size": 1 })).status, 400);
    run(&daemon, "acme/items");
    assert_eq!(asked(&api), ["/lists/b?size=10"]);
    project.write("headwater.yaml", headwater);
    // what a person takes out of the file itself is not put back
    project.write("headwater.api.yaml", "connections: {}\n");
    assert_eq!(put(&daemon, "acme/items/variants/v", &json!({})).status, 200);
    assert_eq!(input(&daemon, "acme/items")["set"], Value::Null);
    // and what is broken there is told, and left as it is
    project.write("headwater.api.yaml", "connections: [");
    let broken = put(&daemon, "acme/items/input", &json!({ "list": "b" }));
    assert_eq!(broken.status, 500);
    assert!(broken.body["error"]["message"].as_str().expect("text").contains("headwater.api.yaml"), "{}", broken.body);
    assert_eq!(file(&project), "connections: [");
    daemon.stop();
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let api = Api::start(answer);
    let project = project(&api, ACME);
    let mut daemon = listen(&project);
    let address = daemon.address();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || {
                for number in 0..25 {
                    let name = format!("w{writer}-{number}");
                    let (target, body) = (
                        format!("/v1/syncs/acme/items/variants/{name}"),
                        format!("{{\"input\": {{\"list\": \"{name}\"}}}}"),
                    );
                    match api::send(address, "PUT", &target, Some(KEY), &body) {
                        Ok(answer) => {
                            assert_eq!(answer.status, 200, "{}", answer.body);
                            acknowledged.lock().expect("not poisoned").push(name);
                        }
                        Err(_) => return,
                    }
                }
            })
        })
        .collect();
    until("some are there", || acknowledged.lock().expect("not poisoned").len() > 12);
    daemon.signal("-KILL");
    for writer in writers {
        writer.join().expect("it has ended");
    }
    let daemon = listen(&project);
    let shown = input(&daemon, "acme/items");
    let known: Vec<&str> =
        shown["variants"].as_array().expect("variants").iter().filter_map(|one| one["variant"].as_str()).collect();
    let acknowledged = acknowledged.lock().expect("not poisoned");
    for name in acknowledged.iter() {
        assert!(known.contains(&name.as_str()), "{name} is not among {known:?}");
        let of =
            shown["variants"].as_array().expect("variants").iter().find(|one| one["variant"] == **name).expect("it");
        assert_eq!((&of["input"]["list"], &of["made"]), (&json!(name), &json!(true)));
    }
    // those that nobody answered may be there, one for each that asked
    assert!(known.len() <= 1 + acknowledged.len() + 4, "{known:?}");
    run(&daemon, &format!("acme/items@{}", acknowledged[0]));
    daemon.stop();
}

#[test]
fn there_are_at_most_a_hundred_variants_of_a_sync() {
    let api = Api::start(answer);
    let project = project(&api, "  acme: { provider: api, syncs: { items: { input: { list: a }, variants: {} } } }\n");
    let variants: String = (0..100).map(|number| format!("          v{number}: {{}}\n")).collect();
    project.write(
        "headwater.api.yaml",
        format!("connections:\n  acme:\n    syncs:\n      items:\n        variants:\n{variants}"),
    );
    let daemon = listen(&project);
    let (status, code, text) = denied(&put(&daemon, "acme/items/variants/more", &json!({})));
    assert_eq!((status, code.as_str()), (409, "too_many"), "{text}");
    assert_eq!(put(&daemon, "acme/items/variants/v7", &json!({ "input": { "list": "b" } })).status, 200);
    assert_eq!(delete(&daemon, "acme/items/variants/v3").status, 200);
    assert_eq!(put(&daemon, "acme/items/variants/more", &json!({})).status, 200);
    daemon.stop();
}

#[test]
fn a_column_that_an_input_makes_comes_while_others_write_the_table() {
    let held = Arc::new(AtomicBool::new(true));
    let is_held = Arc::clone(&held);
    let api = Api::start(move |request: &Request| {
        let page = request.number("page", 0);
        // the second page of the slow one waits
        while page == 1 && is_held.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let item = |id: usize| json!({ "id": 10 * page + id, "name": "n", "score": id, "tier": "gold" });
        let next = if page == 0 && request.path == "/slow" { json!("1") } else { Value::Null };
        Reply::json(&json!({ "items": (0..2).map(item).collect::<Vec<_>>(), "next": next }))
    });
    let of = |path: &str, fields: &str| {
        format!("{{ provider: api, syncs: {{ items: {{ input: {{ path: {path}, fields: [{fields}] }} }} }} }}")
    };
    let connections =
        format!("  quick: {}\n  slow: {}\n", of("quick", ""), of("slow", "{ name: score, type: integer }"));
    let words = "input: { type: object, properties: { path: { type: string }, fields: { type: array } } }\n\
                 request: { get: \"/{{ input.path }}\" }\npagination: { cursor: { from: $.next, query: page } }\ndeletes: { absence: {} }";
    let project = api::project(&api.url(), &connections, &[("items", words)]);
    project.write(
        "integrations/api/models/Item.yaml",
        "model: Item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }\ncolumns_from:\n  each: \"{{ input.fields }}\"\n  \
         name: \"{{ item.name }}\"\n  path: \"$['{{ item.name }}']\"\n  type: \"{{ item.type | default('varchar') }}\"\n",
    );
    let daemon = listen(&project);
    run(&daemon, "quick/items");
    assert_eq!(post(&daemon, "/v1/syncs/slow/items/run", "").status, 202);
    until("it waits for its second page", || asked(&api).contains(&"/slow?page=1".to_owned()));
    let fields = json!({ "path": "quick", "fields": [{ "name": "tier" }] });
    assert_eq!(put(&daemon, "quick/items/input", &fields).status, 200);
    run(&daemon, "quick/items");
    held.store(false, Ordering::SeqCst);
    until("the slow one has ended", || sync_of(&daemon, "slow/items")["state"] == "idle");
    assert_eq!(sync_of(&daemon, "slow/items")["last_run"]["state"], "completed");
    run(&daemon, "slow/items");
    // what would make the column another one of the same name is refused
    let other = put(&daemon, "quick/items/input", &json!({ "path": "quick", "fields": [{ "name": "score" }] }));
    let (status, _, text) = denied(&other);
    assert!(status == 400 && text.contains("the column `score` of the table `items`"), "{text}");
    daemon.stop();
    let rows = project.rows("SELECT _connection AS c, id, score, tier FROM api.items ORDER BY c, id");
    let row = |c: &str, id: usize, score: Option<usize>, tier: &str| json!({ "c": c, "id": id, "score": score, "tier": tier });
    let quick = [row("quick", 0, Some(0), "gold"), row("quick", 1, Some(1), "gold")];
    assert_eq!(rows[..2], quick);
    assert_eq!((rows.len(), &rows[2]["score"], &rows[5]["id"]), (6, &json!(0), &json!(11)));
}

#[test]
fn events_reach_a_variant_that_was_made_while_the_daemon_ran() {
    let api = Api::start(answer);
    let connections =
        "  acme: { provider: api, credentials: { webhook_secret: \"${HOOK}\" }, syncs: { items: { variants: {} } } }\n";
    let words = format!("{INPUT}\non_webhook: [{{ run: {{}} }}]");
    let project = api::project(&api.url(), connections, &[("items", &words)]);
    let verify = "webhooks: { verify: { token: { header: X-Token, value: \"{{ credentials.webhook_secret }}\" } } }\n";
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {}\nretry: {{ attempts: 1 }}\n{verify}", api.url()),
    );
    let daemon = Daemon::listen(&project, &[("APP_KEY", KEY), ("READER_KEY", READER), ("HOOK", "s3cret-0123456789")]);
    let event = || daemon.send("POST", "/webhooks/api/acme", &[("X-Token", "s3cret-0123456789")], "{\"a\": 1}").status;
    assert_eq!(event(), 404, "it has no syncs, so nobody receives");
    assert_eq!(input(&daemon, "acme/items")["variants"], json!([]));
    assert_eq!(put(&daemon, "acme/items/variants/v", &json!({ "input": { "list": "v" } })).status, 200);
    assert_eq!(event(), 200);
    until("it has run", || asked(&api) == ["/lists/v?size=10"]);
    until("it is idle", || sync_of(&daemon, "acme/items@v")["state"] == "idle");
    assert_eq!(delete(&daemon, "acme/items/variants/v").status, 200);
    assert_eq!(event(), 404);
    daemon.stop();
}

#[test]
fn what_cannot_be_written_does_not_hold() {
    let api = Api::start(answer);
    let project = project(&api, ACME);
    let daemon = listen(&project);
    assert_eq!(put(&daemon, "acme/items/variants/v", &json!({ "input": { "list": "v" } })).status, 200);
    let (before, shown) = (file(&project), input(&daemon, "acme/items"));
    // no file can be made where a folder is
    let in_the_way = project.path().join(".headwater.api.yaml.new");
    std::fs::create_dir(&in_the_way).expect("a folder");
    for refused in [
        put(&daemon, "acme/items/input", &json!({ "list": "b" })),
        put(&daemon, "acme/items/variants/w", &json!({})),
        delete(&daemon, "acme/items/variants/v"),
    ] {
        assert_eq!((refused.status, &refused.body["error"]["code"]), (500, &json!("internal")));
        assert!(refused.body["error"]["message"].as_str().expect("text").contains("cannot be written"));
    }
    assert_eq!((file(&project), input(&daemon, "acme/items")), (before, shown));
    // all its variants
    run(&daemon, "acme/items");
    until("the variant has run", || sync_of(&daemon, "acme/items@v")["last_run"]["state"] == "completed");
    let mut asked = asked(&api);
    asked.sort();
    assert_eq!(asked, ["/lists/a?size=10", "/lists/v?size=10"]);
    assert_eq!(post(&daemon, "/v1/syncs/acme/items@w/run", "").status, 404);
    std::fs::remove_dir(in_the_way).expect("it is empty");
    assert_eq!(delete(&daemon, "acme/items/variants/v").status, 200);
    daemon.stop();
}
