//! End to end: the real program loads an API on a loopback port into a DuckDB file, three times: for the first time, with nothing
//! changed, and with one record of a hundred changed.
//!
//! `./dev load --records 2000000 --page-size 1000` prints for each load what it took: wall time, CPU time (user and system, all
//! threads), records per second and per CPU second, and the peak of the resident memory. The API is a process of its own (this
//! program again, with another argument), so that its work is not in the figures. CPU time and memory come from Linux's `/proc`;
//! elsewhere they are left out. What was loaded is checked; how long it took is not.
//!
//! `./dev peers` does the same with other programs beside it (`benches/peers/`), which load the same records from the same API in turn, and
//! prints how the CPU times compare. A machine that is shared with others makes the same work take up to half as long again, so all that
//! goes round a few times, and the medians are compared.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for people at a terminal, outside of headwater"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const USAGE: &str = "\
usage: load [--records N] [--page-size N] [--absence] [--rounds N] [--peers FOLDER]

  --records N     records of about 500 bytes the API has (200000)
  --page-size N   records of one page (1000)
  --absence       the sync deletes what a complete scan does not return (`deletes: absence`)
  --rounds N      how often each load is done, in turns: of more than one the medians are told (1)
  --peers FOLDER  load with others too; FOLDER has their virtual environments of Python";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, records] = arguments.as_slice()
        && word == "serve"
    {
        serve(records.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    match Settings::read(&arguments) {
        Ok(settings) => load(&settings),
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

struct Settings {
    records: u64,
    page_size: u64,
    absence: bool,
    rounds: u64,
    peers: Option<PathBuf>,
}

impl Settings {
    fn read(arguments: &[String]) -> Result<Self, String> {
        // without `--bench` it is `cargo test --all-targets` that calls, and only wants to know whether it works
        let records = if arguments.iter().any(|argument| argument == "--bench") { 200_000 } else { 2_000 };
        let mut settings = Self { records, page_size: 1_000, absence: false, rounds: 1, peers: None };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if word == "--peers" {
                settings.peers = Some(words.next().ok_or("`--peers` needs a folder")?.into());
                continue;
            }
            let mut number = || match words.next().map(|word| word.replace('_', "").parse()) {
                Some(Ok(number)) if number > 0 => Ok(number),
                _ => Err(format!("`{word}` needs a number above zero")),
            };
            match word.as_str() {
                "--records" => settings.records = number()?,
                "--page-size" => settings.page_size = number()?,
                "--rounds" => settings.rounds = number()?,
                "--absence" => settings.absence = true,
                "--bench" | "--test" | "--nocapture" => {}
                _ => return Err(format!("unknown argument `{word}`")),
            }
        }
        Ok(settings)
    }
}

fn load(settings: &Settings) -> ExitCode {
    let bytes = (0..1_000).map(|nth| record_length(1 + nth * settings.records / 1_000)).sum::<usize>() / 1_000;
    let Settings { records, page_size, absence, rounds, .. } = settings;
    println!(
        "{} records of {bytes} bytes in pages of {}, {}; {}",
        grouped(*records),
        grouped(*page_size),
        if *absence { "deletes by absence" } else { "without deletes" },
        machine(),
    );
    if cfg!(debug_assertions) {
        println!("this is a debug build: its figures say nothing");
    }
    println!(
        "\n{:<15} {:>10} {:>7} {:>8} {:>8} {:>10} {:>14} {:>12}",
        "load", "records", "pages", "wall s", "CPU s", "records/s", "records/CPU s", "peak RSS MB"
    );
    let mut all_right = true;
    let mut file_bytes = 0;
    let mut loads: Vec<Load> = Vec::new();
    for _ in 0..*rounds {
        let done = round(settings);
        all_right &= done.all_right;
        file_bytes = done.file_bytes;
        for (at, load) in done.loads.into_iter().enumerate() {
            match loads.get_mut(at) {
                Some(before) => before.runs.extend(load.runs),
                None => loads.push(load),
            }
        }
    }
    if *rounds > 1 {
        println!("\nmedians of {rounds} rounds");
        loads.iter().for_each(|load| println!("{}", load.median().line(&load.name())));
    }
    println!("\nthe DuckDB file has {} MB", grouped(file_bytes / 1_000_000));
    for load in &loads {
        let Some(peer) = load.peer else { continue };
        let own = loads.iter().find(|own| own.what == load.what && own.peer.is_none()).and_then(|own| own.median().cpu);
        if let Some((other, own)) = load.median().cpu.zip(own) {
            let times = other.as_secs_f64() / own.as_secs_f64();
            println!("{}: {} took {times:.1} times the CPU time", load.what, peer.title);
        }
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The runs of one program for one purpose, one of each round.
struct Load {
    what: &'static str,
    /// headwater if none
    peer: Option<&'static Peer>,
    runs: Vec<Run>,
}

impl Load {
    fn name(&self) -> String {
        self.peer.map_or_else(|| self.what.to_owned(), |peer| format!("  {}", peer.name))
    }

    /// The one of them with the median of the CPU times.
    fn median(&self) -> &Run {
        let mut runs: Vec<&Run> = self.runs.iter().collect();
        runs.sort_by_key(|run| run.cpu);
        runs[runs.len() / 2]
    }
}

struct Round {
    loads: Vec<Load>,
    /// all of them did what there was to do
    all_right: bool,
    /// of headwater's file in the end
    file_bytes: u64,
}

/// Each load once, with each of the programs in turn: from an API that knows of no change yet, into files that are not there yet.
fn round(settings: &Settings) -> Round {
    let mut api = Api::start(settings.records);
    let project = write_project(&api.url, settings);
    let records = settings.records;
    let changed = (1..=records).filter(|id| changes(*id)).count() as u64;
    let mut loads = Vec::new();
    let mut all_right = true;
    for (what, counts) in [
        ("first", [records, 0, 0]),
        ("nothing changed", [0, 0, records]),
        ("1 % changed", [0, changed, records - changed]),
    ] {
        if what == "1 % changed" {
            api.change();
        }
        let mut done = |peer: Option<&'static Peer>, run: Run| {
            all_right &= run.is_right(what, counts);
            let load = Load { what, peer, runs: vec![run] };
            println!("{}", load.median().line(&load.name()));
            loads.push(load);
        };
        done(None, headwater(project.path()));
        if let (Some(folder), true) = (&settings.peers, what != "nothing changed") {
            for peer in Peer::ALL {
                done(Some(peer), peer.load(folder, (&api.url, project.path()), settings, what == "1 % changed"));
            }
        }
    }
    let file_bytes = std::fs::metadata(project.path().join("load.duckdb")).expect("the database").len();
    Round { loads, all_right, file_bytes }
}

/// Another program that loads the same records.
struct Peer {
    /// of its script in `benches/peers/`, and of its virtual environment
    name: &'static str,
    title: &'static str,
    /// it reads a file with the records, and no API
    from_file: bool,
}

impl Peer {
    const ALL: [&'static Self; 2] = [
        &Self { name: "dlt", title: "dlt (rest_api, parquet files, merge)", from_file: false },
        &Self { name: "duckdb", title: "DuckDB's read_json of a file, and one MERGE,", from_file: true },
    ];

    fn load(&self, environments: &Path, (url, folder): (&str, &Path), settings: &Settings, changed: bool) -> Run {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        let python = environments.join(self.name).join("bin/python");
        let mut command = Command::new(&python);
        command.arg(scripts.join(format!("{}_load.py", self.name)));
        if self.from_file {
            write_records(&folder.join("records.ndjson"), settings.records, changed);
            command.arg(folder);
        } else {
            command.arg(url).arg(folder).arg(settings.page_size.to_string());
        }
        let out = folder.join("peer.out");
        let (wall, cpu, peak_bytes) = watched(&mut command, &out);
        let text = std::fs::read_to_string(&out).expect("its output");
        let rows = text.lines().last().and_then(|line| line.trim().parse::<u64>().ok());
        // they say how many rows there are, and not what became of them
        let came = if rows == Some(settings.records) { rows } else { None };
        let state = if came.is_some() { "completed" } else { "failed" };
        let updated = if changed { (1..=settings.records).filter(|id| changes(*id)).count() as u64 } else { 0 };
        let added = if changed { 0 } else { settings.records };
        let report = serde_json::json!({
            "state": state, "records": settings.records, "pages": 0, "added": added, "updated": updated,
            "unchanged": settings.records - added - updated, "deleted": 0,
        });
        Run { wall, cpu, peak_bytes, report }
    }
}

/// The records as a file, one a line.
fn write_records(path: &Path, records: u64, changed: bool) {
    let mut file = std::io::BufWriter::new(File::create(path).expect("a file"));
    let mut line = Vec::new();
    for id in 1..=records {
        line.clear();
        write_record(&mut line, id, changed && changes(id));
        line.push(b'\n');
        file.write_all(&line).expect("a file");
    }
    file.flush().expect("a file");
}

fn write_project(url: &str, settings: &Settings) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("headwater.yaml", "database: load.duckdb\nconnections:\n  load: { provider: load }\n");
    write("providers/load.yaml", &format!("provider: load\nbase_url: {url}\n"));
    let mut sync = format!(
        "sync: customers\nmodel: Customer\nrequest:\n  get: /customers\n  query: {{ limit: {} }}\nresponse:\n  records: $.data[*]\n\
         pagination:\n  cursor: {{ from: $.next_cursor, query: cursor }}\n",
        settings.page_size
    );
    if settings.absence {
        sync.push_str("deletes:\n  absence: {}\n");
    }
    write("integrations/load/syncs/customers.yaml", &sync);
    let mut model = "model: Customer\ntable: customers\nkey: [id]\ncolumns:\n".to_owned();
    for (name, column_type) in COLUMNS {
        model.push_str(&format!("  {name}: {{ path: $.{name}, type: \"{column_type}\" }}\n"));
    }
    write("integrations/load/models/Customer.yaml", &model);
    folder
}

/// What one run took and did.
struct Run {
    wall: Duration,
    cpu: Option<Duration>,
    peak_bytes: Option<u64>,
    report: Value,
}

impl Run {
    fn line(&self, name: &str) -> String {
        let records = self.count("records");
        let rate =
            |time: Duration| grouped(records * 1_000 / u64::try_from(time.as_millis()).map_or(1, |time| time.max(1)));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        format!(
            "{name:<15} {:>10} {:>7} {:>8.2} {:>8} {:>10} {:>14} {:>12}",
            grouped(records),
            grouped(self.count("pages")),
            self.wall.as_secs_f64(),
            or_dash(self.cpu.map(|cpu| format!("{:.2}", cpu.as_secs_f64()))),
            rate(self.wall),
            or_dash(self.cpu.map(rate)),
            or_dash(self.peak_bytes.map(|bytes| grouped(bytes / 1_000_000))),
        )
    }

    /// Whether rows were added, updated and left as they were as `expected` says, and none deleted.
    fn is_right(&self, name: &str, expected: [u64; 3]) -> bool {
        let found = ["added", "updated", "unchanged"].map(|what| self.count(what));
        let is_right = self.report["state"] == "completed" && found == expected && self.count("deleted") == 0;
        if !is_right {
            eprintln!("{name}: added, updated, unchanged are {found:?} instead of {expected:?}: {}", self.report);
        }
        is_right
    }

    fn count(&self, what: &str) -> u64 {
        self.report[what].as_u64().unwrap_or_default()
    }
}

/// Runs the program to its end and watches it from outside.
fn headwater(project: &Path) -> Run {
    let out = project.join("out.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("--project").arg(project).args(["run", "--json"]);
    let (wall, cpu, peak_bytes) = watched(&mut command, &out);
    let text = std::fs::read_to_string(&out).expect("its output");
    let last = text.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let report = last.map(|last| last["report"]["syncs"][0].clone()).unwrap_or_default();
    Run { wall, cpu, peak_bytes, report }
}

/// Runs a program to its end, with its output in a file: its wall time, its CPU time, and the most memory that it had.
fn watched(command: &mut Command, out: &Path) -> (Duration, Option<Duration>, Option<u64>) {
    let spent_before = children_cpu();
    let started = Instant::now();
    let output = File::create(out).expect("a file");
    let mut child = command.stdin(Stdio::null()).stdout(output).spawn().expect("the program starts");
    let mut peak_bytes = None;
    while child.try_wait().expect("a child").is_none() {
        // a high-water mark, so looking now and then loses nothing but the last moment
        peak_bytes = peak_resident_bytes(child.id()).or(peak_bytes);
        thread::sleep(Duration::from_millis(5));
    }
    let wall = started.elapsed();
    let cpu = children_cpu().zip(spent_before).map(|(after, before)| after - before);
    (wall, cpu, peak_bytes)
}

/// User and system time of all children that have ended and been waited for: the API is not among them before the end.
fn children_cpu() -> Option<Duration> {
    /// `proc_pid_stat(5)` counts in `USER_HZ`, which is 100 on every architecture.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the name before may have anything in it; behind it `cutime` and `cstime` are the 14th and 15th
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(TICK * (ticks(13)? + ticks(14)?))
}

fn peak_resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, {}", cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The API as a process. It ends when its standard input does, so it does not outlive this one.
struct Api {
    url: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Api {
    fn start(records: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["serve", &records.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the API starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut api = Self { url: String::new(), child, input, output };
        api.url = api.listen();
        api
    }

    /// From now on one record of a hundred is another.
    fn change(&mut self) {
        writeln!(self.input.as_mut().expect("open until the end"), "change").expect("the API lives");
        assert_eq!(self.listen(), "changed");
    }

    fn listen(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the API lives");
        line.trim().to_owned()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.input = None;
        drop(self.child.wait());
    }
}

/// Serves `GET /customers?limit=N&cursor=ID` on a free loopback port until standard input ends.
fn serve(records: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    println!("http://{}", listener.local_addr().expect("bound"));
    let changed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&changed);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let changed = Arc::clone(&seen);
            // a client that goes away is no failure
            thread::spawn(move || answer(&stream, records, &changed).ok());
        }
    });
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        changed.store(true, Ordering::Relaxed);
        println!("changed");
    }
}

fn answer(mut stream: &TcpStream, records: u64, changed: &AtomicBool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream);
    let (mut request, mut body) = (String::new(), Vec::new());
    loop {
        request.clear();
        while lines.read_line(&mut request)? > 2 {}
        let Some(target) = request.split_whitespace().nth(1) else { return Ok(()) };
        let parameter = |name: &str| {
            let pairs = target.split_once('?').map_or("", |(_, query)| query).split('&');
            pairs.filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name)?.1.parse::<u64>().ok()
        };
        let first = parameter("cursor").unwrap_or(1);
        let last = (first - 1).saturating_add(parameter("limit").unwrap_or(100)).min(records);
        body.clear();
        body.extend_from_slice(b"{\"data\":[");
        for id in first..=last {
            write_record(&mut body, id, changes(id) && changed.load(Ordering::Relaxed));
            body.push(b',');
        }
        if last >= first {
            body.pop();
        }
        body.extend_from_slice(b"],\"next_cursor\":");
        match last < records {
            true => write_number(&mut body, last + 1, 1),
            false => body.extend_from_slice(b"null"),
        }
        body.push(b'}');
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
    }
}

/// The members of a record and the types of their columns.
const COLUMNS: [(&str, &str); 14] = [
    ("id", "bigint"),
    ("name", "varchar"),
    ("email", "varchar"),
    ("status", "varchar"),
    ("is_vip", "boolean"),
    ("manager_id", "bigint"),
    ("amount", "decimal(18,2)"),
    ("balance", "double"),
    ("quantity", "integer"),
    ("tags", "varchar[]"),
    ("address", "json"),
    ("created_at", "timestamptz"),
    ("updated_at", "timestamptz"),
    ("notes", "varchar"),
];

/// The record of an id, the same on every machine. No formatting machinery: the API must be faster than its client.
fn write_record(out: &mut Vec<u8>, id: u64, changed: bool) {
    const TAGS: [&str; 4] = ["", r#""vip""#, r#""eu","trial""#, r#""apac","churn-risk","us""#];
    const CITIES: [&str; 4] = ["Zürich", "São Paulo", "Wellington", "Nairobi"];
    const NOTES: [&str; 4] = [
        "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore",
        "magna aliqua ut enim ad minim veniam quis nostrud exercitation ullamco",
        "laboris nisi \\\"ut aliquip\\\" ex ea commodo consequat duis aute irure dolor in reprehenderit in voluptate velit",
        "esse cillum dolore\\neu fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt in culpa",
    ];
    const STATUSES: [&str; 4] = ["active", "inactive", "pending", "closed"];
    let noise = mix(id);
    let one_of = |[a, b, c, d]: [&'static str; 4], shift: u32| match noise >> shift & 3 {
        0 => a,
        1 => b,
        2 => c,
        _ => d,
    };
    let mut text = |text: &str, number: Option<(u64, usize)>| {
        out.extend_from_slice(text.as_bytes());
        if let Some((number, digits)) = number {
            write_number(out, number, digits);
        }
    };
    text("{\"id\":", Some((id, 1)));
    text(",\"name\":\"Customer ", Some((id, 7)));
    text(if changed { " changed" } else { " original" }, None);
    text("\",\"email\":\"user", Some((id, 1)));
    text("@example", Some((noise % 50, 1)));
    text(".com\",\"status\":\"", None);
    text(one_of(STATUSES, 8), None);
    text(if noise.is_multiple_of(7) { "\",\"is_vip\":true" } else { "\",\"is_vip\":false" }, None);
    text(",\"manager_id\":", if noise.is_multiple_of(5) { None } else { Some((noise % 5_000, 1)) });
    text(if noise.is_multiple_of(5) { "null" } else { "" }, None);
    text(",\"amount\":\"", Some((noise % 100_000 + u64::from(changed), 1)));
    text(".", Some((noise % 100, 2)));
    text("\",\"balance\":-", Some((noise % 10_000, 1)));
    text(".", Some((noise % 99, 2)));
    text(",\"quantity\":", Some((noise % 1_000, 1)));
    text(",\"tags\":[", None);
    text(one_of(TAGS, 10), None);
    text("],\"address\":{\"street\":\"", Some((noise % 999 + 1, 1)));
    text(" Main Street\",\"city\":\"", None);
    text(one_of(CITIES, 12), None);
    text("\",\"zip\":\"", Some((noise % 100_000, 5)));
    text("\",\"geo\":{\"lat\":", Some((noise % 90, 1)));
    text(".", Some(((noise >> 16) % 1_000_000, 6)));
    text(",\"lng\":-", Some((noise % 180, 1)));
    text(".", Some(((noise >> 24) % 1_000_000, 6)));
    text("}},\"created_at\":\"2024-", Some((noise % 12 + 1, 2)));
    text("-", Some((noise % 28 + 1, 2)));
    text("T", Some(((noise >> 20) % 24, 2)));
    text(":", Some(((noise >> 28) % 60, 2)));
    text(
        if changed { ":00Z\",\"updated_at\":\"2026-" } else { ":00Z\",\"updated_at\":\"2025-" },
        Some((noise % 12 + 1, 2)),
    );
    text("-", Some((noise % 28 + 1, 2)));
    text("T", Some(((noise >> 32) % 24, 2)));
    text(":", Some(((noise >> 36) % 60, 2)));
    text(":59.250Z\",\"notes\":\"", None);
    text(one_of(NOTES, 14), None);
    text("\"}", None);
}

/// Whether the record of this id is one of those that change.
fn changes(id: u64) -> bool {
    id % 100 == 7
}

fn record_length(id: u64) -> usize {
    let mut out = Vec::new();
    write_record(&mut out, id, false);
    out.len()
}

/// A number with at least so many digits.
fn write_number(out: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut buffer = [b'0'; 20];
    let mut at = buffer.len();
    while number > 0 {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&buffer[at.min(buffer.len() - digits)..]);
}

/// Scatters the bits of a number (the finaliser of `SplitMix64`).
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
