//! `job`: exports that are started, waited for and read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

fn sync(download: &str, words: &str) -> String {
    format!(
        "job:\n  create: {{ post: /exports, body: {{ json: {{ what: items }} }} }}\n  id: $.export.id\n  \
         poll: {{ request: {{ get: \"/exports/{{{{ job.id }}}}\" }}, every: 20ms, timeout: 2s, status: $.state, done: [ready], failed: [broken] }}\n  \
         download: {download}\n  cancel: {{ delete: \"/exports/{{{{ job.id }}}}\" }}\n{words}"
    )
}

/// Exports that need so many looks until they are ready.
struct Exports {
    started: AtomicU64,
    looks: AtomicU64,
    needs: AtomicU64,
    state: Mutex<&'static str>,
    own: Mutex<String>,
}

fn start(download: &str, words: &str, needs: u64) -> (Api, Project, Arc<Exports>) {
    let exports = Arc::new(Exports {
        started: AtomicU64::new(0),
        looks: AtomicU64::new(0),
        needs: AtomicU64::new(needs),
        state: Mutex::new("ready"),
        own: Mutex::new(String::new()),
    });
    let own = Arc::clone(&exports);
    let api = Api::start(move |request| answer(&own, request));
    *exports.own.lock().expect("a URL") = api.url();
    let project = Project::simple(&api.url(), &sync(download, words), MODEL);
    (api, project, exports)
}

fn answer(exports: &Exports, request: &Request) -> Reply {
    let part =
        |from: u64| (from..from + 3).map(|id| format!("{{\"id\":{id},\"name\":\"n{id}\"}}\n")).collect::<String>();
    let known = |id: &str| id.parse::<u64>().is_ok_and(|id| id == exports.started.load(Ordering::SeqCst));
    match (request.method.as_str(), request.path.split('/').collect::<Vec<_>>().as_slice()) {
        ("POST", _) => {
            exports.looks.store(0, Ordering::SeqCst);
            Reply::json(&json!({ "export": { "id": exports.started.fetch_add(1, Ordering::SeqCst) + 1 } }))
        }
        ("DELETE", _) => Reply::json(&json!({})),
        (_, ["", "exports", id]) if !known(id) => Reply::status(404, "{}"),
        (_, ["", "exports", _]) => match exports.looks.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(202, "{}"),
            looks if looks < exports.needs.load(Ordering::SeqCst) => Reply::json(&json!({ "state": "working" })),
            _ => {
                let url = exports.own.lock().expect("a URL").clone();
                let file = |at: u64| json!({ "url": format!("{url}/files/{at}?signature=0123456789abcdef0123"), "from": 3 * at });
                let state = *exports.state.lock().expect("a state");
                if state == "422" {
                    return Reply::status(422, "{}");
                }
                Reply::json(&json!({ "state": state, "rows": 6, "files": [file(0), file(1)] }))
            }
        },
        (_, ["", "files", at]) => Reply::text("application/x-ndjson", &part(3 * at.parse::<u64>().unwrap_or_default())),
        (_, ["", "parts", "broken"]) => Reply::status(418, "{}"),
        (_, ["", "parts", index]) => {
            let from = request.number("from", 0);
            assert_eq!(from, 3 * index.parse::<usize>().expect("a number"), "the part is its own");
            Reply::text("application/x-ndjson", &part(from as u64))
        }
        (_, ["", "results"]) => {
            let page = request.number("page", 1);
            let rows: Vec<Value> = (0..2).map(|at| json!({ "id": 2 * page + at, "name": "x" })).collect();
            Reply::json(&json!({ "rows": rows, "pages": request.number("of", 0) / 2 }))
        }
        _ => Reply::status(404, "{}"),
    }
}

fn ids(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by id")
}

const PARTS: &str = "{ parts: \"$.files[*].url\" }";
const LINES: &str = "response: { format: ndjson }\ndeletes: { absence: {} }";

#[test]
fn it_is_started_once_waited_for_and_read_in_parts() {
    let (api, project, _exports) = start(PARTS, LINES, 3);
    let report = project.run();
    assert_eq!(
        (&report["added"], &report["pages"], &report["requests"]),
        (&json!(6), &json!(2), &json!(7)),
        "{report}"
    );
    assert_eq!(ids(&project), [0, 1, 2, 3, 4, 5].map(Value::from));
    let asked = api.asked();
    assert_eq!(asked.iter().filter(|line| line.starts_with("POST")).count(), 1);
    // the next run starts another one
    assert_eq!(project.run()["unchanged"], 6);
}

#[test]
fn each_part_can_have_a_request_and_a_result_can_have_pages() {
    let each = "{ each: { of: \"$.files[*]\", request: { get: \"/parts/{{ job.index }}\", query: { from: \"{{ job.part.from }}\" } } } }";
    let (_api, project, _exports) = start(each, LINES, 0);
    assert_eq!(project.run()["added"], 6);

    let pages = "{ request: { get: /results, query: { of: \"{{ response.body.rows }}\" } } }";
    let words = "response: { records: \"$.rows[*]\" }\npagination: { page: { query: page, total_pages: $.pages } }\ndeletes: { absence: {} }";
    let (_api, project, _exports) = start(pages, words, 0);
    let report = project.run();
    assert_eq!((&report["added"], &report["pages"]), (&json!(6), &json!(3)), "{report}");
}

#[test]
fn a_run_that_stops_anywhere_goes_on_with_the_same_job() {
    for most in 1..8 {
        let (api, project, _exports) = start(PARTS, LINES, 2);
        let mut runs = 0;
        loop {
            let report = project.run_at("2024-06-01", Run::requests(most));
            runs += 1;
            if report["state"] == "completed" {
                break;
            }
            assert!(report["state"] == "paused" && runs < 20, "{report}");
        }
        let asked = api.asked();
        assert_eq!(asked.iter().filter(|line| line.starts_with("POST")).count(), 1, "{most}: {asked:?}");
        let files = asked.iter().filter(|line| line.contains("/files/")).count();
        assert_eq!(files, 2, "with {most} requests a run, each part is read once");
        assert_eq!(ids(&project).len(), 6);
        assert_eq!(project.number("select count(*) from api.items where _last_action <> 'ADDED'"), 0);
    }
}

#[test]
fn a_killed_run_finds_its_job_again() {
    let (api, project, exports) = start(PARTS, LINES, u64::MAX);
    let mut child = project.spawn(&["run"]);
    while exports.looks.load(Ordering::SeqCst) < 3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    exports.needs.store(0, Ordering::SeqCst);
    assert_eq!(project.run()["added"], 6);
    assert_eq!(api.asked().iter().filter(|line| line.starts_with("POST")).count(), 1);
}

#[test]
fn a_job_that_the_api_has_forgotten_is_started_again_and_one_that_failed_is_told() {
    let (api, project, exports) = start(PARTS, LINES, 9);
    assert_eq!(project.run_at("2024-06-01", Run::requests(2))["state"], "paused");
    exports.started.fetch_add(1, Ordering::SeqCst);
    exports.needs.store(0, Ordering::SeqCst);
    assert_eq!(project.done_at("2024-06-02")["added"], 6);
    assert_eq!(api.asked().iter().filter(|line| line.starts_with("POST")).count(), 2);

    *exports.state.lock().expect("a state") = "broken";
    let report = project.fails_at("2024-06-03", "job_failed");
    assert!(report["error"]["message"].to_string().contains("broken"), "{report}");
    *exports.state.lock().expect("a state") = "ready";
    assert_eq!(project.done_at("2024-06-04")["unchanged"], 6);
}

#[test]
fn a_job_whose_failure_is_a_status_is_not_asked_for_again() {
    let (api, project, exports) = start(PARTS, LINES, 1);
    *exports.state.lock().expect("a state") = "422";
    project.fails_at("2024-06-01", "http_status");
    *exports.state.lock().expect("a state") = "ready";
    assert_eq!(project.done_at("2024-06-02")["added"], 6);
    assert_eq!(api.asked().iter().filter(|line| line.starts_with("POST")).count(), 2);
}

#[test]
fn a_job_that_takes_too_long_or_is_not_wanted_any_more_is_cancelled() {
    let (api, project, exports) = start(PARTS, LINES, u64::MAX);
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert_eq!(output.report()[0]["error"]["code"], "job_timeout");
    assert!(api.asked().contains(&"DELETE /exports/1".to_owned()));

    // the sync starts over while a job is under way
    assert_eq!(project.run_at("2024-06-01", Run::requests(3))["state"], "paused");
    exports.needs.store(0, Ordering::SeqCst);
    project.run_at("2024-06-02", Run::full());
    let asked = api.asked();
    assert!(asked.contains(&"DELETE /exports/2".to_owned()), "{asked:?}");
    assert_eq!(ids(&project).len(), 6);
}

#[test]
fn each_window_and_each_partition_has_a_job_of_its_own() {
    let words = "response: { format: ndjson }\nfor_each: [{ as: shop, from: { values: [a, b] } }]";
    let (api, project, _exports) = start(PARTS, words, 0);
    let sync = sync(PARTS, words).replace("what: items", "what: \"{{ parent.shop }}\"");
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{sync}\n"));
    let report = project.run();
    assert_eq!(report["records"], 12, "{report}");
    assert_eq!(api.asked().iter().filter(|line| line.starts_with("POST")).count(), 2);
}

#[test]
fn the_signature_of_a_file_is_not_shown() {
    let (_api, project, exports) = start("{ url: \"$.files[0].url\" }", LINES, 0);
    *exports.own.lock().expect("a URL") = "http://127.0.0.1:1".to_owned();
    let output = project.headwater(&["run", "--json"]);
    assert_ne!(output.code, 0);
    let told = format!("{output:?}");
    assert!(!told.contains("0123456789abcdef0123"), "{told}");
}

/// Exports of files, each a list of ids.
struct Files {
    jobs: AtomicU64,
    files: Mutex<Vec<Vec<u64>>>,
    /// what a look at a job is told
    state: Mutex<&'static str>,
    /// the file that cannot be had, and how
    broken: Mutex<Option<(usize, u16)>>,
}

fn files(download: &str, words: &str, ids: &[&[u64]]) -> (Api, Project, Arc<Files>) {
    let files = Arc::new(Files {
        jobs: AtomicU64::new(0),
        files: Mutex::default(),
        state: Mutex::new("ready"),
        broken: Mutex::default(),
    });
    files.hold(ids);
    let own = Arc::clone(&files);
    let api = Api::start(move |request| own.answer(request));
    let project = Project::simple(&api.url(), &sync(download, words), MODEL);
    (api, project, files)
}

impl Files {
    fn hold(&self, ids: &[&[u64]]) {
        *self.files.lock().expect("files") = ids.iter().map(|ids| ids.to_vec()).collect();
    }

    fn says(&self, state: &'static str) {
        *self.state.lock().expect("a state") = state;
    }

    fn breaks(&self, broken: Option<(usize, u16)>) {
        *self.broken.lock().expect("a number") = broken;
    }

    fn answer(&self, request: &Request) -> Reply {
        let files = self.files.lock().expect("files");
        let state = *self.state.lock().expect("a state");
        match (request.method.as_str(), request.path.split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", _) => Reply::json(&json!({ "export": { "id": self.jobs.fetch_add(1, Ordering::SeqCst) + 1 } })),
            ("DELETE", _) => Reply::json(&json!({})),
            (_, ["", "exports", _]) if state == "422" => Reply::status(422, "{}"),
            (_, ["", "exports", _]) => {
                let host = request.header("host").expect("a host");
                let file =
                    |at| json!({ "url": format!("http://{host}/files/{at}?sig=SIGNATURE{at:03}0123456789abcdef") });
                Reply::json(&json!({ "state": state, "files": (0..files.len()).map(file).collect::<Vec<_>>() }))
            }
            (_, ["", "files", at]) => {
                let at: usize = at.parse().expect("a number");
                match *self.broken.lock().expect("a number") {
                    Some((broken, status)) if broken == at => Reply::status(status, "{}"),
                    _ => {
                        let line = |id: &u64| format!("{{\"id\":{id},\"name\":\"n\"}}\n");
                        Reply::text("application/x-ndjson", &files[at].iter().map(line).collect::<String>())
                    }
                }
            }
            _ => Reply::status(404, "{}"),
        }
    }
}

#[test]
fn a_new_export_is_read_from_its_beginning() {
    for (state, code) in [("broken", "job_failed"), ("working", "job_timeout"), ("422", "http_status")] {
        let (_api, project, files) = files(PARTS, LINES, &[&[1, 2], &[3, 4], &[5, 6]]);
        project.done_at("2024-06-01");
        // the second export breaks behind two of its parts, and then altogether
        files.breaks(Some((2, 418)));
        project.fails_at("2024-06-02", "http_status");
        files.breaks(None);
        files.says(state);
        project.fails_at("2024-06-03", code);
        // the parts of the third are others, and 4 is gone
        files.says("ready");
        files.hold(&[&[5, 6], &[7, 8], &[1, 2, 3]]);
        let report = project.done_at("2024-06-04");
        assert_eq!((&report["deleted"], &report["added"]), (&json!(1), &json!(2)), "{code}: {report}");
        assert_eq!(ids(&project), [1, 2, 3, 5, 6, 7, 8].map(Value::from), "{code}");
    }
}

#[test]
fn an_export_that_tells_other_parts_than_before_is_read_again_and_proves_nothing() {
    let (api, project, files) = files(PARTS, LINES, &[&[1, 2], &[3, 4], &[5, 6]]);
    project.done_at("2024-06-01");
    files.breaks(Some((2, 418)));
    project.fails_at("2024-06-02", "http_status");
    files.breaks(None);
    files.hold(&[&[7]]);
    api.asked();
    let report = project.done_at("2024-06-03");
    assert_eq!((&report["deleted"], &report["added"]), (&json!(0), &json!(1)), "{report}");
    assert!(report["deletes_skipped"].to_string().contains("3 parts"), "{report}");
    assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6, 7].map(Value::from));
    assert!(!api.asked().iter().any(|line| line.starts_with("POST")), "the export is the same");

    // more of them are others too
    files.hold(&[&[1], &[2], &[3]]);
    files.breaks(Some((1, 418)));
    project.fails_at("2024-06-04", "http_status");
    files.breaks(None);
    files.hold(&[&[4], &[1], &[2], &[3]]);
    let report = project.done_at("2024-06-05");
    assert_eq!((&report["deleted"], &report["pages"]), (&json!(0), &json!(4)), "{report}");

    // the next one proves it
    assert_eq!(project.done_at("2024-06-06")["deleted"], 3);
    assert_eq!(ids(&project), [1, 2, 3, 4].map(Value::from));
}

#[test]
fn an_export_whose_file_is_gone_is_followed_by_another() {
    let (api, project, files) = files(PARTS, LINES, &[&[1, 2]]);
    files.breaks(Some((0, 404)));
    project.fails_at("2024-06-01", "http_status");
    // it is the old one that has no file any more
    assert_eq!(api.asked().iter().filter(|line| line.starts_with("POST")).count(), 1);
    project.fails_at("2024-06-02", "http_status");
    assert_eq!(api.asked().iter().filter(|line| line.starts_with("POST")).count(), 1);
    files.breaks(None);
    project.done_at("2024-06-03");
    assert_eq!(ids(&project), [1, 2].map(Value::from));
}

#[test]
fn a_run_that_is_stopped_while_a_job_is_started_knows_it() {
    let (asked, is_asked) = mpsc::channel();
    let (answer, may_answer) = mpsc::channel::<()>();
    let (asked, may_answer) = (Mutex::new(asked), Mutex::new(may_answer));
    let api = Api::start(move |request| match request.method.as_str() {
        "POST" => {
            asked.lock().expect("a sender").send(()).expect("a test");
            may_answer.lock().expect("a receiver").recv().expect("a test");
            Reply::json(&json!({ "export": { "id": 7 } }))
        }
        _ if request.path == "/exports/7" => Reply::json(&json!({ "state": "ready", "files": [] })),
        _ => Reply::status(404, "{}"),
    });
    let project = Project::simple(&api.url(), &sync(PARTS, LINES), MODEL);
    let mut child = project.spawn(&["run"]);
    is_asked.recv().expect("it is started");
    let interrupt = std::process::Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
    assert!(interrupt.expect("kill runs").success());
    // the run has time to go, which it must not take
    std::thread::sleep(std::time::Duration::from_millis(300));
    answer.send(()).expect("a server");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    project.run();
    let asked = api.asked();
    assert_eq!(asked.iter().filter(|line| line.starts_with("POST")).count(), 1, "{asked:?}");
}

#[test]
fn no_signature_of_many_files_is_shown_or_kept() {
    let ids: Vec<[u64; 1]> = (0..30).map(|id| [id]).collect();
    let ids: Vec<&[u64]> = ids.iter().map(|ids| &ids[..]).collect();
    let (_api, project, files) = files(PARTS, LINES, &ids);
    for broken in [0, 29] {
        files.breaks(Some((broken, 418)));
        let told = format!("{:?}", project.headwater(&["run", "--json", "--log-requests"]));
        assert!(told.contains("/files/") && !told.contains("SIGNATURE"), "{told}");
    }
    files.breaks(None);
    project.headwater(&["run", "--log-requests"]);
    let urls = project.column("select url from headwater.requests");
    assert_eq!(urls.iter().filter(|url| url.to_string().contains("/files/")).count(), 1 + 30 + 1, "{urls:?}");
    assert!(!urls.iter().any(|url| url.to_string().contains("SIGNATURE")), "{urls:?}");
}

#[test]
fn what_is_no_url_shows_no_signature_and_too_many_files_are_an_error() {
    let (api, project, _files) = files(PARTS, LINES, &[]);
    let file = json!({ "url": "https://files.example:99999/x?sig=SIGNATURE0123456789abcdef" });
    let of = |files: Value| {
        move |request: &Request| match request.method.as_str() {
            "POST" => Reply::json(&json!({ "export": { "id": 7 } })),
            _ => Reply::json(&json!({ "state": "ready", "files": files })),
        }
    };
    api.becomes(of(json!([file])));
    let report = project.fails_at("2024-06-01", "bad_url");
    let told = report["error"]["message"].to_string();
    assert!(told.contains("https://files.example:99999/x") && !told.contains("SIGNATURE"), "{told}");

    let many: Vec<Value> = (0..100_001).map(|_| json!({ "url": "x" })).collect();
    api.becomes(of(many.into()));
    let report = project.fails_at("2024-06-02", "too_many_parts");
    assert!(report["error"]["message"].to_string().contains("100000"), "{report}");
}

#[test]
fn a_window_that_is_too_much_for_an_export_is_halved_and_its_export_is_cancelled() {
    // it is known when the export is started, when it is asked for, or by its file
    for at in ["create", "poll", "file"] {
        let jobs = Mutex::new(Vec::<(String, String)>::new());
        let api = Api::start(move |request| {
            let mut jobs = jobs.lock().expect("jobs");
            let is_long = |(from, to): &(String, String)| (&from[..7], &to[..7]) == ("2023-01", "2023-12");
            let full = || Reply::status(413, "{}");
            match (request.method.as_str(), request.path.split('/').collect::<Vec<_>>().as_slice()) {
                ("POST", _) => {
                    let range = ["from", "to"].map(|name| request.param(name).expect("a time").to_owned());
                    let range = (range[0].clone(), range[1].clone());
                    if at == "create" && is_long(&range) {
                        return full();
                    }
                    jobs.push(range);
                    Reply::json(&json!({ "export": { "id": jobs.len() - 1 } }))
                }
                ("DELETE", _) => Reply::json(&json!({})),
                (_, ["", what, id]) => {
                    let id: usize = id.parse().expect("a number");
                    if is_long(&jobs[id]) && (at == "poll") == (*what == "exports") {
                        return full();
                    }
                    let host = request.header("host").expect("a host");
                    match *what {
                        "exports" => Reply::json(
                            &json!({ "state": "ready", "files": [{ "url": format!("http://{host}/files/{id}") }] }),
                        ),
                        _ => {
                            let line = json!({ "id": id, "name": "n", "at": jobs[id].0 });
                            Reply::text("application/x-ndjson", &format!("{line}\n"))
                        }
                    }
                }
                _ => Reply::status(404, "{}"),
            }
        });
        let words = "response: { format: ndjson }\nincremental: { field: $.at, start: \"2023-01-01\", \
                     window: { size: 1 year, split: { when: \"{{ response.status == 413 }}\", min: 1d } } }";
        let sync = sync(PARTS, words).replace(
            "post: /exports,",
            "post: /exports, query: { from: \"{{ window.start }}\", to: \"{{ window.end }}\" },",
        );
        let project = Project::simple(&api.url(), &sync, MODEL);
        let report = project.done_at("2024-06-01");
        assert_eq!(report["records"], 3, "{at}: {report}");
        let asked = api.asked();
        let cancelled = asked.iter().filter(|line| line.starts_with("DELETE")).count();
        assert_eq!(cancelled, usize::from(at != "create"), "{at}: {asked:?}");
    }
}

#[test]
fn an_export_of_a_partition_that_another_pass_does_not_want_is_cancelled() {
    let words = "response: { format: ndjson }\nfor_each: [{ as: shop, from: { values: [a, b] } }]\ndeletes: { absence: { scope: all } }";
    let (api, project, files) = files(PARTS, words, &[&[1], &[2]]);
    let sync = sync(PARTS, words).replace("what: items", "what: \"{{ parent.shop }}\"");
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{sync}\n"));
    files.breaks(Some((1, 418)));
    project.headwater(&["run"]);
    files.breaks(None);
    api.asked();
    project.run();
    let asked = api.asked();
    let of = |method: &str| asked.iter().filter(|line| line.starts_with(method)).count();
    assert_eq!((of("POST"), of("DELETE")), (2, 2), "{asked:?}");
}
