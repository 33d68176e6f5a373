//! Two lists: everything is read once, and then what changed, from a token that was asked for before, or from the time at which that began.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str =
    "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, version: { path: $.version, type: bigint } }";

/// What changed comes from elsewhere, stands elsewhere, and is paged otherwise.
const SYNC: &str = "request: { get: /items }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: page } }
incremental:
  token:
    start: { request: { get: /start }, from: $.position }
    from: $.token
    expired: { status: 410 }
  changes:
    request: { get: /changes, query: { since: '{{ watermark }}' } }
    response: { records: '$.changes[*].item' }
    pagination: { cursor: { from: $.more, query: at } }
";

const FLAG: &str = "deletes: { flag: { when: \"$[?@.gone == true]\" } }";

/// The same where both lists tell of ids alone.
const DETAIL: &str = "detail: { request: { get: '/items/{{ record.id }}' }, replace: true, on_404: delete }";

/// An API whose items change; each change is one entry of a log.
#[derive(Default)]
struct World {
    /// versions by id
    items: BTreeMap<u64, u64>,
    log: Vec<u64>,
    /// entries that the API has forgotten
    forgotten: usize,
}

impl World {
    fn change(&mut self, id: u64) {
        *self.items.entry(id).or_insert(0) += 1;
        self.log.push(id);
    }

    fn delete(&mut self, id: u64) {
        self.items.remove(&id);
        self.log.push(id);
    }

    fn answer(&self, request: &Request) -> Reply {
        let item = |id: u64| match self.items.get(&id) {
            Some(version) => json!({ "id": id, "version": version }),
            None => json!({ "id": id, "gone": true }),
        };
        match request.path.as_str() {
            "/start" => Reply::json(&json!({ "position": self.log.len() })),
            "/items" => {
                let after = request.number("page", 0) as u64;
                let page: Vec<u64> = self.items.keys().copied().filter(|id| *id > after).take(2).collect();
                let next = page.last().filter(|last| self.items.keys().any(|id| id > last));
                let items: Vec<Value> = page.iter().map(|id| item(*id)).collect();
                Reply::json(&json!({ "items": items, "next": next }))
            }
            "/changes" => {
                let since = request.number("since", usize::MAX);
                if since < self.forgotten || since > self.log.len() {
                    return Reply::status(410, "{}");
                }
                let at = request.number("at", since);
                let page: Vec<Value> =
                    self.log.iter().skip(at).take(2).map(|id| json!({ "item": item(*id) })).collect();
                if at + 2 < self.log.len() {
                    return Reply::json(&json!({ "changes": page, "more": at + 2, "token": "" }));
                }
                Reply::json(&json!({ "changes": page, "token": self.log.len() }))
            }
            path => match path.strip_prefix("/items/").and_then(|id| self.items.get(&id.parse().ok()?)) {
                Some(version) => {
                    Reply::json(&json!({ "id": path[7..].parse::<u64>().expect("an id"), "version": version }))
                }
                None => Reply::status(404, "{}"),
            },
        }
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// With these items, each once changed.
    fn of(ids: impl IntoIterator<Item = u64>) -> Self {
        let shared = Self::default();
        ids.into_iter().for_each(|id| shared.world().change(id));
        shared
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("not poisoned")
    }

    fn answers(&self) -> impl Fn(&Request) -> Reply + use<> {
        let shared = self.clone();
        move |request| shared.world().answer(request)
    }

    /// What the table must hold.
    fn rows(&self) -> Vec<Value> {
        self.world().items.iter().map(|(id, version)| json!({ "id": id, "version": version })).collect()
    }
}

fn live(project: &Project) -> Vec<Value> {
    project.rows("select id, version from api.items_live order by id")
}

fn start(ids: impl IntoIterator<Item = u64>, words: &str) -> (Shared, Api, Project) {
    let world = Shared::of(ids);
    let api = Api::start(world.answers());
    let project = Project::simple(&api.url(), &format!("{SYNC}{words}"), MODEL);
    (world, api, project)
}

/// The same after a first run.
fn loaded(ids: impl IntoIterator<Item = u64>, words: &str) -> (Shared, Api, Project) {
    let (world, api, project) = start(ids, words);
    project.done_at("2024-06-01");
    assert_eq!(live(&project), world.rows());
    api.asked();
    (world, api, project)
}

#[test]
fn everything_is_read_once_and_then_what_changed_since_the_token() {
    let (world, api, project) = start(1..=5, FLAG);
    let report = project.run();
    assert_eq!(api.asked(), ["GET /start", "GET /items", "GET /items?page=2", "GET /items?page=4"]);
    assert_eq!((&report["added"], live(&project)), (&json!(5), world.rows()));
    assert!(project.headwater(&["explain"]).stdout.contains("has a token"));
    // nothing has happened: the token moves all the same
    project.run();
    assert_eq!(api.asked(), ["GET /changes?since=5"]);
    world.world().change(2);
    world.world().change(7);
    world.world().delete(4);
    let report = project.run();
    assert_eq!(api.asked(), ["GET /changes?since=5", "GET /changes?since=5&at=7"]);
    assert_eq!((&report["added"], &report["updated"], &report["deleted"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(live(&project), world.rows());
    project.run();
    assert_eq!(api.asked(), ["GET /changes?since=8"]);
}

#[test]
fn what_changes_while_everything_is_read_is_told_by_the_first_look_at_the_changes() {
    for words in [FLAG, DETAIL] {
        let (world, api, project) = start(1..=6, words);
        let changing = world.clone();
        api.becomes(move |request| {
            if request.param("page") == Some("4") {
                // what was read, what is on this page, and what is new before the reader
                let mut world = changing.world();
                world.change(1);
                world.delete(2);
                world.change(5);
                world.delete(6);
                world.change(0);
            }
            changing.world().answer(request)
        });
        project.done_at("2024-06-01");
        api.becomes(world.answers());
        project.done_at("2024-06-02");
        assert_eq!(live(&project), world.rows(), "{words}");
    }
}

#[test]
fn a_run_that_stops_before_everything_is_read_goes_on_with_its_token_and_its_page() {
    let (world, api, project) = start(1..=6, FLAG);
    assert_eq!(project.run_at("2024-06-01", Run::requests(1))["state"], "paused");
    assert_eq!(api.asked(), ["GET /start"]);
    world.world().change(1);
    assert_eq!(project.run_at("2024-06-01", Run::requests(1))["state"], "paused");
    world.world().change(2);
    assert!(project.headwater(&["explain"]).stdout.contains("a scan is at page 1"));
    let broken = world.answers();
    api.becomes(
        move |request| if request.param("page") == Some("4") { Reply::status(500, "") } else { broken(request) },
    );
    project.fails_at("2024-06-01", "http_status");
    api.becomes(world.answers());
    assert_eq!(project.done_at("2024-06-01")["resumed"], true);
    let asked = api.asked();
    assert!(!asked.contains(&"GET /start".to_owned()), "{asked:?}");
    assert_eq!(asked.iter().filter(|line| *line == "GET /items").count(), 1);
    project.done_at("2024-06-02");
    assert_eq!(api.asked(), ["GET /changes?since=6"]);
    assert_eq!(live(&project), world.rows());
}

#[test]
fn a_kill_at_any_request_loses_nothing() {
    for words in [FLAG, DETAIL] {
        // everything, then the changes
        for phase in 0..2 {
            for kill_at in 1..8 {
                let (world, api, project) = start(1..=5, words);
                if phase == 1 {
                    project.run();
                    for id in [1, 6, 7] {
                        world.world().change(id);
                    }
                    world.world().delete(3);
                }
                let victim: Arc<Mutex<Option<Child>>> = Arc::default();
                let (count, target, answers) = (AtomicUsize::new(0), Arc::clone(&victim), world.answers());
                api.becomes(move |request| {
                    if count.fetch_add(1, Ordering::SeqCst) + 1 == kill_at {
                        target.lock().expect("not poisoned").as_mut().expect("a child").kill().expect("killed");
                    }
                    answers(request)
                });
                // the first request waits for the child to be there
                let mut held = victim.lock().expect("not poisoned");
                *held = Some(project.spawn(&["run", "--commit-every", "1ms"]));
                drop(held);
                let ended = loop {
                    if let Some(status) =
                        victim.lock().expect("not poisoned").as_mut().expect("a child").try_wait().expect("a status")
                    {
                        break status.success();
                    }
                    std::thread::yield_now();
                };
                world.world().change(2);
                world.world().delete(5);
                api.becomes(world.answers());
                project.run();
                project.run();
                assert_eq!(live(&project), world.rows(), "{words} phase {phase} request {kill_at}");
                let asked = api.asked().iter().filter(|line| *line == "GET /start").count();
                assert_eq!(asked, if phase == 0 && kill_at == 1 { 2 } else { 1 }, "it is remembered before it is used");
                if ended {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_token_that_has_expired_reads_everything_again_and_finds_what_is_gone() {
    let absence = format!("{DETAIL}\ndeletes: {{ absence: {{}} }}");
    for (words, finds) in [(FLAG, true), (&absence, true), (DETAIL, false)] {
        let (world, api, project) = loaded(1..=5, words);
        {
            let mut world = world.world();
            world.change(2);
            world.delete(4);
            world.change(9);
            world.forgotten = world.log.len();
        }
        let output = project.headwater(&["run", "--json"]);
        assert_eq!(output.code, 0, "{}", output.stdout);
        let restarted: Vec<Value> = output.json().iter().map(|line| line["restarted"].clone()).collect();
        assert!(restarted.contains(&json!("the API does not know the token any more")), "{}", output.stdout);
        let lists: Vec<String> = api.asked().into_iter().filter(|line| !line.starts_with("GET /items/")).collect();
        assert_eq!(
            lists,
            ["GET /changes?since=5", "GET /start", "GET /items", "GET /items?page=2", "GET /items?page=5"]
        );
        assert_eq!(output.report()[0]["deleted"], u64::from(finds));
        assert_eq!(live(&project) == world.rows(), finds, "{words}");
        world.world().change(1);
        project.run();
        assert_eq!(api.asked()[0], "GET /changes?since=8");
    }
}

#[test]
fn a_list_of_changes_deletes_nothing_that_it_does_not_name() {
    let (world, api, project) = loaded(1..=300, &format!("{DETAIL}\ndeletes: {{ absence: {{}} }}"));
    world.world().change(1);
    assert_eq!(project.done_at("2024-06-02")["deleted"], 0);
    assert_eq!(api.asked(), ["GET /changes?since=300", "GET /items/1"]);
    // the guard holds for what everything does not return
    (1..=200).for_each(|id| world.world().delete(id));
    let len = world.world().log.len();
    world.world().forgotten = len;
    project.fails_at("2024-06-03", "deletes_guarded");
    assert_eq!(live(&project).len(), 300);
    assert_eq!(project.run_at("2024-06-04", Run::accepting())["deleted"], 200);
    world.world().change(250);
    project.done_at("2024-06-05");
    assert_eq!(live(&project), world.rows());
}

#[test]
fn a_refresh_that_is_stopped_goes_on_and_deletes_at_its_end() {
    let (world, api, project) = loaded(1..=5, FLAG);
    world.world().delete(1);
    world.world().forgotten = 6;
    // the expired token, the new one, the first page
    assert_eq!(project.run_at("2024-06-02", Run::requests(3))["state"], "paused");
    assert_eq!(live(&project).len(), 5);
    assert_eq!(project.done_at("2024-06-03")["deleted"], 1);
    let asked = ["GET /changes?since=5", "GET /start", "GET /items", "GET /items?page=3"];
    assert_eq!(api.asked(), asked);
    project.done_at("2024-06-04");
    assert_eq!(api.asked(), ["GET /changes?since=6"]);
}

#[test]
fn full_reset_and_age_ask_for_another_token() {
    let words = SYNC.replace("incremental:\n", "incremental:\n  max_age: 30d\n");
    let world = Shared::of(1..=3);
    let api = Api::start(world.answers());
    let project = Project::simple(&api.url(), &format!("{words}{FLAG}"), MODEL);
    let whole = ["GET /start", "GET /items", "GET /items?page=2"];
    project.done_at("2024-06-01");
    api.asked();
    project.done_at("2024-07-01");
    assert_eq!(api.asked(), ["GET /changes?since=3"]);
    world.world().items.remove(&1);
    assert_eq!(project.done_at("2024-08-01")["deleted"], 1, "it was forgotten to be told");
    assert_eq!(api.asked(), ["GET /start", "GET /items"]);
    world.world().change(1);
    project.run_at("2024-08-02", Run::full());
    assert_eq!(api.asked(), whole);
    assert_eq!(project.headwater(&["reset", "acme/items", "--yes"]).code, 0);
    project.done_at("2024-08-03");
    assert_eq!(api.asked(), whole);
    project.done_at("2024-08-04");
    assert_eq!(api.asked(), ["GET /changes?since=4"]);
    // other words: another sync
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{words}{DETAIL}\n"));
    project.done_at("2024-08-05");
    assert_eq!(api.asked()[..2], ["GET /start", "GET /items"]);
}

#[test]
fn an_answer_without_a_first_token_fails_and_asks_for_nothing_else() {
    for answer in [json!({}), json!({ "position": null }), json!({ "position": "" })] {
        let (world, api, project) = start(1..=3, FLAG);
        let works = world.answers();
        api.becomes(move |request| if request.path == "/start" { Reply::json(&answer) } else { works(request) });
        let report = project.fails_at("2024-06-01", "token_missing");
        assert!(report["error"]["message"].as_str().expect("a message").contains("`$.position`"), "{report}");
        assert_eq!(api.asked(), ["GET /start"]);
        api.becomes(world.answers());
        project.done_at("2024-06-01");
        assert_eq!(live(&project), world.rows());
    }
}

#[test]
fn a_secret_in_the_first_token_is_not_written_down() {
    let (world, api, project) = start(1..=5, FLAG);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { api_key: s3cr3t-value } }\n",
    );
    project.write(
        "providers/api.yaml",
        format!("provider: api\nbase_url: {}\nauth: {{ key: {{ api_key: {{ header: X-Key }} }} }}\n", api.url()),
    );
    let works = world.answers();
    api.becomes(move |request| match request.path.as_str() {
        "/start" => Reply::json(&json!({ "position": "s3cr3t-value.5" })),
        _ => works(request),
    });
    assert_eq!(project.run_at("2024-06-01", Run::requests(2))["state"], "paused");
    project.done_at("2024-06-01");
    let kept = project.column("select c::varchar from headwater.checkpoints c");
    assert!(!kept[0].to_string().contains("s3cr3t"), "{kept:?}");
    assert_eq!(live(&project), world.rows());
    let asked = api.asked();
    assert_eq!(asked.iter().filter(|line| *line == "GET /items").count(), 2, "{asked:?}");
}

#[test]
fn details_are_asked_for_whatever_changed_though_its_entry_is_as_before() {
    let (world, api, project) = loaded(1..=3, &DETAIL.replace("on_404", "only_changed: true, on_404"));
    for _ in 0..2 {
        world.world().change(2);
        project.done_at("2024-06-02");
        assert!(api.asked().contains(&"GET /items/2".to_owned()));
        assert_eq!(live(&project), world.rows());
    }
}

#[test]
fn the_list_of_changes_has_a_where_of_its_own() {
    let words = SYNC.replace("records: '$.items[*]'", "records: '$.items[*]', where: \"{{ record.id != 1 }}\"");
    let words = words.replace("[*].item'", "[*].item', where: \"{{ record.id != 2 }}\"");
    let world = Shared::of(1..=3);
    let api = Api::start(world.answers());
    let project = Project::simple(&api.url(), &words, MODEL);
    project.run();
    (1..=3).for_each(|id| world.world().change(id));
    project.run();
    assert_eq!(
        project.rows("select id, version from api.items order by id"),
        [json!({ "id": 1, "version": 2 }), json!({ "id": 2, "version": 1 }), json!({ "id": 3, "version": 2 })]
    );
}

#[test]
fn the_last_page_of_everything_gives_the_token_where_none_is_asked_for() {
    let words = "request: { get: /folder }
response: { records: '$.items[*]' }
pagination: { cursor: { from: $.next, query: page } }
incremental:
  token: { from: $.cursor }
  changes:
    request: { get: /folder/continue, query: { cursor: '{{ watermark }}' } }
    response: { records: '$.entries[*]' }
deletes: { absence: {} }";
    let api = Api::start(|request| match (request.path.as_str(), request.param("page")) {
        ("/folder", None) => Reply::json(&json!({ "items": [{ "id": 1 }, { "id": 2 }], "next": 2, "cursor": null })),
        ("/folder", _) => Reply::json(&json!({ "items": [{ "id": 3 }], "cursor": "c1" })),
        _ => Reply::json(&json!({ "entries": [{ "id": 4 }], "cursor": "c2" })),
    });
    let project = Project::simple(&api.url(), words, MODEL);
    (0..3).for_each(|_| assert_eq!(project.run()["deleted"], 0));
    let asked =
        ["GET /folder", "GET /folder?page=2", "GET /folder/continue?cursor=c1", "GET /folder/continue?cursor=c2"];
    assert_eq!(api.asked(), asked);
    assert_eq!(live(&project).len(), 4);
}

/// What was asked, with colons as they are.
fn decoded(api: &Api) -> Vec<String> {
    api.asked().iter().map(|line| line.replace("%3A", ":")).collect()
}

#[test]
fn a_list_that_is_read_by_position_is_read_by_two_runs_before_its_changes() {
    let words = SYNC.replace("cursor: { from: $.next, query: page }", "page: { query: page, size: 2 }");
    let world = Shared::of(1..=3);
    let changing = world.clone();
    let api = Api::start(move |request| match (request.path.as_str(), request.number("page", 0)) {
        ("/items", page) => {
            let mut world = changing.world();
            let ids: Vec<u64> = world.items.keys().copied().skip(page.saturating_sub(1) * 2).take(2).collect();
            let items: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "version": world.items[id] })).collect();
            // the third record slips to the first page once that was read
            if page == 1 && world.log.len() == 3 {
                world.delete(1);
            }
            Reply::json(&json!({ "items": items }))
        }
        _ => changing.world().answer(request),
    });
    let project = Project::simple(&api.url(), &format!("{words}{FLAG}"), MODEL);
    project.done_at("2024-06-01");
    project.done_at("2024-06-02");
    assert_eq!(live(&project), world.rows());
    project.done_at("2024-06-03");
    let asked = api.asked();
    assert_eq!(asked.iter().filter(|line| *line == "GET /start").count(), 2, "{asked:?}");
    assert_eq!(asked.last().expect("requests"), "GET /changes?since=3", "behind the first of the two");
}

const BY_TIME: &str = "request: { get: /all }
response: { records: '$.items[*]' }
incremental:
  field: $.at
  changes:
    request: { get: /changed, query: { since: '{{ watermark }}' } }
    response: { records: '$.items[*]' }
deletes: { flag: { when: \"$[?@.gone == true]\" } }";

#[test]
fn without_a_token_changes_are_read_from_the_time_on_at_which_everything_was() {
    let api = Api::start(|request| {
        Reply::json(&match request.path.as_str() {
            // what the records bear does not count here
            "/all" => json!({ "items": [{ "id": 1, "at": "2024-05-01T00:00:00Z" }, { "id": 2 }] }),
            _ => json!({ "items": [{ "id": 3, "at": "2024-06-02T12:00:00Z" }, { "id": 2, "gone": true }] }),
        })
    });
    let project = Project::simple(&api.url(), BY_TIME, MODEL);
    project.done_at("2024-06-02T10:00:00Z");
    project.done_at("2024-06-03");
    project.done_at("2024-06-04");
    let since = |time: &str| format!("GET /changed?since={time}");
    assert_eq!(decoded(&api), ["GET /all".into(), since("2024-06-02T09:55:00Z"), since("2024-06-02T12:00:00Z")]);
    assert_eq!(project.column("select id from api.items_live order by id"), [1, 3]);
}

#[test]
fn windows_of_changes_begin_where_everything_was_read() {
    let words = BY_TIME
        .replace("since: '{{ watermark }}'", "from: '{{ window.start }}', to: '{{ window.end }}'")
        .replace("field: $.at\n", "field: $.at\n  max_age: 20d\n  lookback: 1h\n  window: { size: 1 day }\n");
    let api = Api::start(|request| {
        let id = if request.path == "/all" { 1 } else { 2 };
        Reply::json(&json!({ "items": [{ "id": id, "at": "2024-06-01T09:30:00Z" }] }))
    });
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2024-06-01T10:00:00Z");
    assert_eq!(api.asked(), ["GET /all"]);
    project.done_at("2024-06-02T10:00:00Z");
    let window = |from: &str, to: &str| format!("GET /changed?from=2024-06-{from}Z&to=2024-06-{to}Z");
    assert_eq!(decoded(&api), [window("01T09:00:00", "01T23:59:59"), window("02T00:00:00", "02T10:00:00")]);
    project.done_at("2024-06-02T12:00:00Z");
    assert_eq!(decoded(&api), [window("02T08:55:00", "02T12:00:00")]);
    assert_eq!(live(&project).len(), 2);
    // the API keeps changes for twenty days; what everything does not return then is gone
    assert_eq!(project.done_at("2024-06-23")["deleted"], 1);
    assert_eq!(api.asked(), ["GET /all"]);
}

/// Partitions `a` and `b`, each with a world of its own.
fn partitioned(worlds: &[(&'static str, Shared)]) -> impl Fn(&Request) -> Reply + use<> {
    let worlds: BTreeMap<&str, Shared> = worlds.iter().cloned().collect();
    move |request| {
        let (of, path) = request.path[1..].split_once('/').expect("a world");
        let inner = Request { path: format!("/{path}"), ..request.clone() };
        worlds.get(of).map_or_else(|| Reply::status(404, ""), |world| world.world().answer(&inner))
    }
}

#[test]
fn each_partition_has_its_own_token_and_its_own_turn() {
    let model = "key: [of, id]\ncolumns: { of: { value: \"{{ parent.of }}\" }, id: { path: $.id, type: bigint }, version: { path: $.version, type: bigint } }";
    let words = ["/items", "/start", "/changes"].into_iter().fold(SYNC.to_owned(), |words, path| {
        words.replace(&format!("get: {path}"), &format!("get: '/{{{{ parent.of }}}}{path}'"))
    });
    let words = format!(
        "for_each: [{{ as: of, from: {{ values: \"{{{{ input.of }}}}\" }} }}]\n{words}deletes: {{ absence: {{ scope: partition }} }}"
    );
    let (a, b) = (Shared::of(1..=3), Shared::of(1..=2));
    let api = Api::start(partitioned(&[("a", a.clone()), ("b", b.clone())]));
    let project = Project::simple(&api.url(), &words, model);
    let of = |names: &[&str]| {
        let connection = json!({ "provider": "api", "syncs": { "items": { "input": { "of": names } } } });
        let yaml = json!({ "database": "test.duckdb", "connections": { "acme": connection } });
        project.write("headwater.yaml", yaml.to_string());
    };
    let sorted = || {
        let mut asked = api.asked();
        asked.sort();
        asked
    };
    of(&["a"]);
    project.done_at("2024-06-01");
    assert_eq!(sorted(), ["GET /a/items", "GET /a/items?page=2", "GET /a/start"]);
    // a new one is read as a whole, while the other is at its changes
    of(&["a", "b"]);
    a.world().change(1);
    b.world().change(1);
    project.done_at("2024-06-02");
    assert_eq!(sorted(), ["GET /a/changes?since=3", "GET /b/items", "GET /b/start"]);
    // one expires, and finds what is gone of its own
    a.world().delete(2);
    a.world().forgotten = 5;
    b.world().delete(1);
    b.world().items.insert(1, 9);
    b.world().change(2);
    project.done_at("2024-06-03");
    let asked = ["GET /a/changes?since=4", "GET /a/items", "GET /a/start"];
    assert_eq!(sorted(), [&asked[..], &["GET /b/changes?since=3"]].concat());
    let live = || project.column("select of || id || ':' || version from api.items_live order by of, id");
    assert_eq!(live(), ["a1:2", "a3:1", "b1:9", "b2:2"]);
    // one that fails keeps its place
    a.world().change(3);
    b.world().change(2);
    let works = partitioned(&[("a", a.clone()), ("b", b.clone())]);
    api.becomes(move |request| if request.path.starts_with("/a") { Reply::status(500, "") } else { works(request) });
    assert_eq!(project.run_at("2024-06-04", Run::default())["state"], "partial");
    sorted();
    api.becomes(partitioned(&[("a", a.clone()), ("b", b.clone())]));
    project.done_at("2024-06-05");
    assert_eq!(sorted(), ["GET /a/changes?since=5", "GET /b/changes?since=6"]);
    assert_eq!(live(), ["a1:2", "a3:2", "b1:9", "b2:3"]);
}
