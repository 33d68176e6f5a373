//! The daemon for a while: many connections, an API that fails now and then, kills and restarts, and an application that reads along.
//!
//! A few seconds and connections as part of the suite; `HEADWATER_SOAK_MINUTES=10` makes it 500 connections and so many minutes,
//! `HEADWATER_SOAK_SEED=2` other luck.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Api, Daemon, Project, Reply, Request, send, until};

const READER: &str = "reader-0123456789abcdef012345";
const OPERATOR: &str = "operator-0123456789abcdef0123";
const IDS: u64 = 40;

/// How long, how much, and with which luck.
struct Size {
    time: Duration,
    connections: usize,
    /// seconds between two runs of a sync
    every: u64,
    seed: u64,
}

impl Size {
    fn wanted() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<f64>().expect("a number"));
        let seed = number("HEADWATER_SOAK_SEED").unwrap_or(1.0) as u64;
        match number("HEADWATER_SOAK_MINUTES") {
            Some(minutes) => Self { time: Duration::from_secs_f64(minutes * 60.0), connections: 500, every: 20, seed },
            None => Self { time: Duration::from_secs(15), connections: 24, every: 2, seed },
        }
    }

    fn is_long(&self) -> bool {
        self.time > Duration::from_secs(120)
    }
}

/// Luck that can be had again (splitmix64).
struct Luck(AtomicU64);

impl Luck {
    fn below(&self, end: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Item {
    name: String,
    updated_at: String,
    is_gone: bool,
}

/// What the API has: the items of each shop, those that are gone as such.
struct World {
    shops: Vec<Mutex<BTreeMap<u64, Item>>>,
    luck: Luck,
    ticks: AtomicU64,
    fails: AtomicBool,
}

impl World {
    fn new(size: &Size) -> Arc<Self> {
        let shops = (0..size.connections).map(|_| Mutex::default()).collect();
        let (luck, fails) = (Luck(AtomicU64::new(size.seed)), AtomicBool::new(true));
        let world = Self { shops, luck, ticks: AtomicU64::new(0), fails };
        (0..world.shops.len() * 20).for_each(|_| world.change());
        Arc::new(world)
    }

    /// Somewhere an item is made, changed or removed.
    fn change(&self) {
        let shop = &self.shops[self.luck.below(self.shops.len() as u64) as usize];
        let (id, is_gone) = (self.luck.below(IDS), self.luck.below(5) == 0);
        let mut items = shop.lock().expect("not poisoned");
        // later changes of a shop have later times
        let tick = self.ticks.fetch_add(1, Ordering::SeqCst);
        let at = chrono::DateTime::from_timestamp_millis(1_790_000_000_000 + tick.cast_signed()).expect("a time");
        let updated_at = at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        items.insert(id, Item { name: format!("v{tick}"), updated_at, is_gone });
    }

    /// `/<shop>/items`: those that are there, by pages. `/<shop>/notes`: those that changed since, by time.
    fn answer(&self, request: &Request) -> Reply {
        if self.fails.load(Ordering::SeqCst) {
            match self.luck.below(200) {
                0..8 => return Reply::status(500, "{}"),
                8..12 => return Reply::status(429, "{}").with("retry-after", "1"),
                12..16 => return Reply::json(&json!({ "items": [] })).cut_at(3),
                16 => return Reply::json(&json!("no list")),
                17..23 => std::thread::sleep(Duration::from_millis(300)),
                _ => {}
            }
        }
        let mut parts = request.path.trim_start_matches('/').split('/');
        let shop: usize = parts.next().and_then(|shop| shop[1..].parse().ok()).expect("a shop");
        let all = self.shops[shop].lock().expect("not poisoned").clone();
        let item = |(id, item): (&u64, &Item)| json!({ "id": id, "name": item.name, "updated_at": item.updated_at, "gone": item.is_gone });
        if parts.next() == Some("items") {
            let after = request.number("after", 0) as u64;
            let page: Vec<_> = all.range(after..).filter(|(_, item)| !item.is_gone).take(20).collect();
            let next = page.last().filter(|_| page.len() == 20).map(|(id, _)| **id + 1);
            return Reply::json(&json!({ "items": page.into_iter().map(item).collect::<Vec<_>>(), "next": next }));
        }
        // a time may come without its fraction
        let moment = |text: &str| chrono::DateTime::parse_from_rfc3339(text).expect("a time");
        let since = request.param("since").map(moment);
        let is_new = |item: &Item| since.is_none_or(|since| moment(&item.updated_at) >= since);
        let mut changed: Vec<_> = all.iter().filter(|(_, item)| is_new(item)).collect();
        changed.sort_by(|(_, a), (_, b)| a.updated_at.cmp(&b.updated_at));
        Reply::json(&json!({ "items": changed.into_iter().map(item).collect::<Vec<_>>(), "next": null }))
    }

    /// What every copy must have in the end: shop and id with the name.
    fn truth(&self) -> BTreeMap<(String, u64), String> {
        let of = |(shop, items): (usize, &Mutex<BTreeMap<u64, Item>>)| {
            let items = items.lock().expect("not poisoned").clone();
            let live = items.into_iter().filter(|(_, item)| !item.is_gone);
            live.map(move |(id, item)| ((format!("s{shop}"), id), item.name)).collect::<Vec<_>>()
        };
        self.shops.iter().enumerate().flat_map(of).collect()
    }
}

fn sync_of(shop: usize) -> &'static str {
    if shop.is_multiple_of(2) { "items" } else { "notes" }
}

fn project(url: &str, size: &Size) -> Project {
    let project = Project::empty();
    let mut file =
        "database: test.duckdb\napi:\n  keys:\n    reader: { key: \"${READER_KEY}\", scopes: [records] }\n    \
                    operator: { key: \"${OPERATOR_KEY}\", scopes: [syncs, control] }\nconnections:\n"
            .to_owned();
    for shop in 0..size.connections {
        // half of them by lists, half by what changed
        file += &format!(
            "  s{shop}: {{ provider: api, config: {{ shop: s{shop} }}, syncs: {{ {}: {{}} }} }}\n",
            sync_of(shop)
        );
    }
    project.write("headwater.yaml", file);
    let provider = format!(
        "provider: api\nbase_url: \"{url}/{{{{ config.shop }}}}\"\nconfig: {{ type: object, properties: {{ shop: {{ type: string }} }} }}\n"
    );
    project.write("providers/api.yaml", provider);
    let sync = |name: &str, words: &str| {
        let columns = "columns:\n  id: { path: $.id, type: bigint }\n  name: { path: $.name }\n  \
                       updated_at: { path: $.updated_at, type: timestamptz }\n";
        let model = format!("model: Of_{name}\ntable: {name}\nkey: [id]\n{columns}");
        project.write(&format!("integrations/api/models/Of_{name}.yaml"), model);
        let words = format!(
            "sync: {name}\nmodel: Of_{name}\nresponse: {{ records: \"$.items[*]\" }}\nschedule: every {}s\n{words}\n",
            size.every
        );
        project.write(&format!("integrations/api/syncs/{name}.yaml"), words);
    };
    let paged =
        "request: { get: /items }\npagination: { cursor: { from: $.next, query: after } }\ndeletes: { absence: {} }";
    sync("items", paged);
    let since = "request: { get: /notes, query: { since: \"{{ watermark }}\" } }\nincremental: { field: $.updated_at }\n\
                 deletes: { flag: { when: \"$[?@.gone == true]\" } }";
    sync("notes", since);
    project
}

/// An application that knows only the feed.
#[derive(Default)]
struct Reader {
    rows: BTreeMap<(String, u64), String>,
    /// its place in each table
    after: BTreeMap<&'static str, String>,
}

impl Reader {
    /// Reads a page of each table; whether there may be more.
    fn read(&mut self, address: SocketAddr) -> bool {
        ["items", "notes"].map(|table| self.read_of(table, address)).contains(&true)
    }

    fn read_of(&mut self, table: &'static str, address: SocketAddr) -> bool {
        let after = self.after.get(table).map(|after| format!("&after={after}")).unwrap_or_default();
        let key = format!("Bearer {READER}");
        let target = format!("/v1/records/api/{table}?limit=1000{after}");
        let Ok(answer) = send(address, "GET", &target, &[("authorization", &key)], "") else { return true };
        if [429, 503].contains(&answer.status) {
            return true;
        }
        assert_eq!(answer.status, 200, "nothing was purged: {}", answer.body);
        for row in answer.body["records"].as_array().expect("records") {
            let text = |name: &str| row[name].as_str().expect("a text").to_owned();
            let key = (text("_connection"), row["id"].as_u64().expect("an id"));
            if row["_last_action"] == "DELETED" {
                self.rows.remove(&key);
            } else {
                self.rows.insert(key, text("name"));
            }
        }
        self.after.insert(table, answer.body["next"].as_str().expect("a place").to_owned());
        answer.body["more"] == true
    }
}

fn same(copy: &BTreeMap<(String, u64), String>, truth: &BTreeMap<(String, u64), String>, what: &str) {
    let keys: BTreeSet<_> = copy.keys().chain(truth.keys()).collect();
    let other = keys.into_iter().filter(|key| copy.get(key) != truth.get(key));
    let other: Vec<_> = other.map(|key| (key, copy.get(key), truth.get(key))).collect();
    assert!(other.is_empty(), "{what}: {} are not so: {:?}", other.len(), &other[..other.len().min(5)]);
}

/// What a process has in memory, in MiB.
fn memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn start(project: &Project) -> Daemon {
    Daemon::listen(project, &[("READER_KEY", READER), ("OPERATOR_KEY", OPERATOR)])
}

#[test]
fn it_goes_on_for_long_whatever_happens() {
    let size = Size::wanted();
    let world = World::new(&size);
    let answering = Arc::clone(&world);
    let api = Api::start(move |request| answering.answer(request));
    let project = project(&api.url(), &size);
    let (began, mut asked) = (Instant::now(), 0);
    let mut daemon = start(&project);
    let (mut life, mut reader, mut lives) = (Instant::now(), Reader::default(), 1);
    let mut measured: Vec<(Duration, u64)> = Vec::new();
    // the last part is one life, to see how its memory grows
    let restless = size.time.mul_f64(0.6);
    let mut ends_at = Duration::from_secs(4);
    while began.elapsed() < size.time {
        for _ in 0..size.connections.div_ceil(50) {
            world.change();
        }
        if world.luck.below(20) == 0 {
            reader.read(daemon.address());
            // nobody looks at them
            asked += api.asked().len();
            measured.extend(memory(daemon.id()).map(|memory| (life.elapsed(), memory)));
        }
        if began.elapsed() > ends_at && ends_at < restless {
            let longest = if size.is_long() { 60 } else { 5 };
            ends_at = began.elapsed() + Duration::from_secs(2 + world.luck.below(longest));
            let is_killed = world.luck.below(2) == 0;
            let code = daemon.signal(if is_killed { "-KILL" } else { "-TERM" });
            assert_eq!(code, (!is_killed).then_some(0), "{}", daemon.said());
            (daemon, life, lives) = (start(&project), Instant::now(), lives + 1);
            measured.clear();
        }
        std::thread::sleep(Duration::from_millis(25));
    }

    // the API has healed, and nothing changes any more: one run of each, and all agree
    world.fails.store(false, Ordering::SeqCst);
    let (now, key) = (chrono::Utc::now(), format!("Bearer {OPERATOR}"));
    let ask = |daemon: &Daemon, method: &str, target: &str| {
        let mut answer = None;
        until("it has time", || {
            let asked = daemon.send(method, target, &[("authorization", &key)], "");
            let is_busy = [429, 503].contains(&asked.status);
            answer = Some(asked);
            !is_busy
        });
        answer.expect("an answer")
    };
    for shop in 0..size.connections {
        let answer = ask(&daemon, "POST", &format!("/v1/syncs/s{shop}/{}/run", sync_of(shop)));
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let began_to_wait = Instant::now();
    loop {
        let syncs = ask(&daemon, "GET", "/v1/syncs").body;
        let is_done = |sync: &&Value| {
            let run = &sync["last_run"];
            let at = run["started_at"].as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
            run["state"] == "completed" && at.is_some_and(|at| at >= now)
        };
        let syncs = syncs["syncs"].as_array().expect("syncs");
        let left: Vec<&Value> = syncs.iter().filter(|sync| !is_done(sync)).collect();
        if left.is_empty() {
            break;
        }
        assert!(began_to_wait.elapsed() < Duration::from_secs(180), "{} syncs did not run: {}", left.len(), left[0]);
        std::thread::sleep(Duration::from_millis(500));
    }
    while reader.read(daemon.address()) {}
    let said = daemon.stop();
    assert!(!said.contains("panicked"), "{said}");

    let truth = world.truth();
    assert!(truth.len() > size.connections * 5, "{}", truth.len());
    same(&reader.rows, &truth, "who reads the feed has what the API has");
    let all = ["items", "notes"]
        .map(|table| format!("select _connection, id, name from api.{table} where _deleted_at is null"));
    let rows = project.query(&all.join(" union all "));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let table: BTreeMap<(String, u64), String> = rows
        .iter()
        .map(|row| ((text(&row["_connection"]), row["id"].as_u64().expect("an id")), text(&row["name"])))
        .collect();
    same(&table, &truth, "the table has what the API has");

    // every run has an end, and no sync was forgotten
    assert_eq!(project.number("select count(*) from headwater.runs where state = 'running'"), 0);
    let runs = project.number("select count(*) from headwater.runs");
    let fewest =
        project.number("select min(n) from (select count(*) as n from headwater.runs group by connection, sync)");
    let least = size.time.as_secs() / size.every / 4;
    assert!(fewest as u64 >= least, "one sync ran {fewest} times, not {least}");
    let (early, late) = measured.split_at(measured.len() / 2);
    let most = |of: &[(Duration, u64)]| of.iter().map(|(_, memory)| *memory).max().unwrap_or(0);
    eprintln!(
        "soak: {lives} lives, {runs} runs (at least {fewest} of each sync), {asked} requests, {} rows; memory {} MiB, later {} MiB",
        truth.len(),
        most(early),
        most(late)
    );
    assert!(most(late) < 700, "{measured:?}");
    if size.is_long() {
        assert!(most(late) <= most(early) + most(early) / 5 + 20, "memory grows: {measured:?}");
    }
}
