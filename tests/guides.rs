//! The pages that people read, `docs/language.md` and `docs/guides/`: their YAML is checked, their commands are run, and what they show
//! is what is printed.
//!
//! A YAML block that begins with the name of a file (`# providers/acme.yaml`) is that file if it says its kind (`provider: …`), and
//! otherwise a part of it: the words that it has are instead of those there. Blocks that follow each other without text are one example.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use headwater::demo::{Options, Server};
use headwater::diagnostic::Diagnostic;
use headwater::plan::{Known, Template, compile};
use headwater::{files, spec};
use serde_json::Value;

use crate::language::{files_below, rendered};
use crate::reference::{anchors, links};
use crate::support::Project;

/// The code of what cannot be run yet. A page that shows such a word says so by a link to the list.
const NOT_YET: &str = "E090";
const LIST: &str = "#what-cannot-be-run-yet";

/// The code of a connection that cannot run before somebody has connected it.
const NOT_CONNECTED: &str = "W099";

const LANGUAGE: &str = "language.md";

/// The address in the pages, which is that of `headwater demo --serve`.
const SHOP: &str = "http://127.0.0.1:8765";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(docs().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn guides() -> Vec<String> {
    let names = files_below(&docs().join("guides")).into_iter();
    let guides: Vec<String> = names.map(|path| format!("guides/{}", path.file_name().unwrap().display())).collect();
    assert!(guides.len() >= 5 && guides.iter().all(|name| name.ends_with(".md")), "{guides:?}");
    guides
}

/// A fenced block, and what stands above it.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
    /// the line it begins in
    line: usize,
    /// all text of its section above it
    above: String,
    /// the block before it is of the same example
    joined: bool,
}

impl Block {
    /// The file that a YAML block shows.
    fn file(&self) -> Option<&str> {
        let first = self.text.lines().next()?.strip_prefix("# ")?;
        (self.language == "yaml" && first.ends_with(".yaml")).then_some(first)
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut above, mut joined) = (String::new(), false);
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, above) = (language.to_owned(), above.clone());
                open = Some(Block { language, text: String::new(), line: at + 2, above, joined });
            }
            (Some(_), Some(_)) => {
                blocks.extend(open.take());
                joined = true;
            }
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {
                joined &= line.is_empty();
                if line.starts_with('#') {
                    above.clear();
                }
                above += &format!("{line}\n");
            }
        }
    }
    assert!(open.is_none(), "a block is never closed");
    blocks
}

/// A project as its files, which examples are laid over.
#[derive(Clone, Default)]
struct Files(BTreeMap<String, String>);

impl Files {
    fn lay(&mut self, file: &str, text: &str) {
        let part = spec::yaml::parse(text).unwrap_or_else(|error| panic!("{file}: {error:?}\n{text}"));
        let kind = match file.split('/').collect::<Vec<_>>().as_slice() {
            ["headwater.yaml"] => "database",
            ["providers", _] => "provider",
            ["integrations", _, "syncs", _] => "sync",
            ["integrations", _, "models", _] => "model",
            ["integrations", _, "actions", _] => "action",
            ["integrations", _, "tests", _] => "test",
            _ => panic!("a file of this name stands in no project: {file}"),
        };
        if part.get(kind).is_some() {
            self.0.insert(file.to_owned(), text.to_owned());
            return;
        }
        let whole = self.0.get(file).unwrap_or_else(|| panic!("{file} is shown in part, and was never shown whole"));
        let mut whole = spec::yaml::parse(whole).expect("it was read before");
        let words = whole.as_object_mut().expect("a map");
        words.extend(part.as_object().expect("a map").clone());
        // JSON is YAML
        self.0.insert(file.to_owned(), format!("{whole:#}\n"));
    }

    fn diagnostics(&self) -> Vec<Diagnostic> {
        let project = Project::empty();
        self.write(&project);
        compile(&files::read_project(project.path()).expect("the files are read"), project.path(), &Known::default())
            .diagnostics
    }

    fn write(&self, project: &Project) {
        self.0.iter().for_each(|(name, text)| project.write(name, text));
    }
}

/// The examples of a page: YAML blocks that show files.
fn examples(blocks: &[Block]) -> Vec<Vec<&Block>> {
    let mut examples: Vec<Vec<&Block>> = Vec::new();
    for block in blocks {
        if block.file().is_none() {
            continue;
        }
        match examples.last_mut() {
            Some(example) if block.joined => example.push(block),
            _ => examples.push(vec![block]),
        }
    }
    examples
}

/// The first example of the language's page: a small project, which the others of Acme are parts of.
fn small_project() -> Files {
    let text = page(LANGUAGE);
    let blocks = blocks(&text);
    let mut files = Files::default();
    let first = examples(&blocks).swap_remove(0);
    assert_eq!(first.len(), 4, "a project, a provider, a sync and a model");
    first.iter().for_each(|block| files.lay(block.file().unwrap(), &block.text));
    files
}

/// What is wrong with an example, laid over the small project.
fn mistake(page: &str, example: &[&Block]) -> Option<String> {
    let mut files = small_project();
    example.iter().for_each(|block| files.lay(block.file().unwrap(), &block.text));
    // nobody connects the accounts of the examples
    let found = files.diagnostics().into_iter().filter(|found| found.code != NOT_CONNECTED);
    let (not_yet, others): (Vec<_>, Vec<_>) = found.partition(|found| found.code == NOT_YET);
    let (line, says) = (example[0].line, example[0].above.contains(LIST));
    match (others.is_empty(), not_yet.is_empty()) {
        (false, _) => Some(format!("{page}:{line}:\n{}", rendered(&others))),
        (true, false) if !says => Some(format!("{page}:{line}: above it is no link to {LIST}\n{}", rendered(&not_yet))),
        _ => None,
    }
}

#[test]
fn every_example_is_right() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for name in [LANGUAGE.to_owned()].into_iter().chain(guides()) {
        let text = page(&name);
        let blocks = blocks(&text);
        for block in blocks.iter().filter(|block| block.language == "yaml" && block.file().is_none()) {
            wrong
                .push(format!("{name}:{}: YAML begins with the name of its file, `# providers/acme.yaml`", block.line));
        }
        let mut examples = examples(&blocks);
        // those of the shop are run
        examples
            .retain(|example| name == LANGUAGE || example.iter().any(|block| block.file().unwrap().contains("acme")));
        seen += examples.len();
        wrong.extend(examples.iter().filter_map(|example| mistake(&name, example)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen >= 20, "the search finds what it looks for: {seen}");
}

/// The texts that sources give to `not_yet`, word for word.
fn not_yet_in_sources() -> BTreeSet<String> {
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan");
    let mut told = BTreeSet::new();
    for path in files_below(&plan).into_iter().filter(|path| path.file_stem().is_some_and(|stem| stem != "place")) {
        let text = std::fs::read_to_string(&path).expect("a source");
        for (at, _) in text.match_indices("not_yet(") {
            let call = &text[at..];
            let call = &call[..call.find(';').expect("a statement")];
            let last = call.rsplit(", ").next().expect("an argument");
            if let Some(literal) = last.trim_start_matches('"').strip_suffix("\")") {
                told.insert(literal.to_owned());
                continue;
            }
            // several words in a loop: `for (key, is) in [("raw", *raw), …]`, or the list stands some lines above
            assert!(last.contains("{key}"), "{}: this test cannot read `{call}`", path.display());
            let lines: Vec<&str> = text[..at].lines().rev().take(9).collect();
            let words: Vec<String> = lines
                .iter()
                .flat_map(|line| line.split("(\"").skip(1))
                .filter_map(|rest| rest.split_once("\", ").map(|(word, _)| format!("`{word}`")))
                .filter(|word| word[1..word.len() - 1].chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                .collect();
            assert!(words.len() > 1, "{}: this test finds no words above `{call}`", path.display());
            told.extend(words);
        }
    }
    told
}

#[test]
fn the_page_lists_all_that_cannot_be_run_yet() {
    let text = page(LANGUAGE);
    let section = text.split("\n## What cannot be run yet\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let listed: Vec<&str> = cells.skip(1).flat_map(|(_, words)| words.split(", ")).collect();
    let set: BTreeSet<String> = listed.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(set.len(), listed.len(), "a word stands twice: {listed:?}");
    assert_eq!(set, not_yet_in_sources());
}

#[test]
fn the_page_has_every_variable() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/variables.rs");
    let source = std::fs::read_to_string(source).expect("a source");
    let list = source.split("const ALL:").nth(1).and_then(|rest| rest.split(';').nth(1)).expect("the list");
    let mut known: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    known.insert("request");
    let text = page(LANGUAGE);
    let section = text.split("\n### Variables\n").nth(1).expect("the section").split("\n### ").next().unwrap();
    let shown: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name).collect();
    assert_eq!(shown, known);
}

/// Each line of the text blocks under "Filters" is an expression and what it gives.
#[test]
fn filters_give_what_the_page_says() {
    let text = page(LANGUAGE);
    let section = text.split("\n### Filters\n").nth(1).expect("the section").split("\n### ").next().unwrap();
    let blocks = blocks(section);
    let lines = blocks.iter().filter(|block| block.language == "text").flat_map(|block| block.text.lines());
    let (mut seen, mut wrong) = (0, Vec::new());
    for line in lines {
        let (template, wanted) = line.split_once('→').unwrap_or_else(|| panic!("no `→` in: {line}"));
        let value = Template::parse(template.trim()).and_then(|template| template.value(&minijinja::Value::UNDEFINED));
        let given = match value {
            Ok(Some(Value::String(text))) => text,
            Ok(value) => value.unwrap_or_default().to_string(),
            Err(error) => error.to_string(),
        };
        if given != wanted.trim() {
            wrong.push(format!("{line}\n    {given}"));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 20, "the search finds what it looks for: {seen}");
    let names = section.split("All filters: ").nth(1).and_then(|rest| rest.split(". ").next()).expect("the list");
    for name in names.split('`').skip(1).step_by(2) {
        let told = Template::parse(&format!("{{{{ x | {name} }}}}")).err().map(|error| error.to_string());
        assert!(told.is_none_or(|told| !told.contains("there is no filter")), "there is no filter `{name}`");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    let others =
        ["language.md", "index.md", "changes.md", "credentials.md", "api.md", "../README.md", "../SECURITY.md"]
            .map(str::to_owned);
    for name in others.into_iter().chain(guides()) {
        let text = page(&name);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = docs().join(&name).parent().expect("a folder").to_owned();
            let target = if file.is_empty() { docs().join(&name) } else { folder.join(file) };
            let is_there = target.exists()
                && (anchor.is_empty() || anchors(&std::fs::read_to_string(&target).expect("a page")).contains(anchor));
            if !is_there {
                dead.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn the_tests_that_show_what_is_protected_exist() {
    let sources: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| std::fs::read_to_string(path).expect("a source"))
        .collect();
    let page = page("../SECURITY.md");
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next()).collect();
    let named: Vec<&str> = rows.iter().flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 40, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Somebody who does what the pages say, in a folder of their own, with a shop of their own.
struct Reader {
    project: Project,
    server: Server,
    _runtime: tokio::runtime::Runtime,
    /// where the commands are run
    folder: PathBuf,
    environment: Vec<(String, String)>,
    files: Files,
}

impl Reader {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        // the waits of a shop that turns requests away are tested elsewhere
        let options = Options { throttle_every: None, ..Options::default() };
        let server = runtime.block_on(Server::start(options)).expect("a loopback port");
        let project = Project::empty();
        let folder = project.path().to_owned();
        // keys that are made are not for the home of who runs the tests
        let keys = folder.join("keys").display().to_string();
        let environment = vec![("XDG_CONFIG_HOME".to_owned(), keys)];
        Self { project, server, _runtime: runtime, folder, environment, files: Files::default() }
    }

    /// Does all that the page says, from its first line to its last.
    fn follow(&mut self, name: &str) {
        let text = page(name);
        let mut commands = 0;
        for block in blocks(&text) {
            let place = format!("docs/{name}:{}", block.line);
            match block.file() {
                // examples of another project
                Some(file) if file.contains("acme") || block.text.contains("acme") => {}
                None if block.language == "console" && block.text.contains("acme") => {
                    commands += self.exist(&place, &block.text);
                }
                Some(file) => self.write(file, &block.text),
                None if block.language == "console" => commands += self.console(&place, &block.text),
                None => assert!(!block.text.contains("headwater "), "{place}: commands stand in a block of `console`"),
            }
        }
        assert!(commands > 0, "{name} has no commands");
    }

    fn write(&mut self, file: &str, text: &str) {
        self.files.lay(file, text);
        let text = self.files.0[file].replace(SHOP, &self.server.base_url());
        let path = self.folder.join(file);
        assert!(path.parent().unwrap().is_dir(), "nobody has made the folder of {file}");
        std::fs::write(path, text).expect("a file");
    }

    /// Runs the commands of a block and compares what they print.
    fn console(&mut self, place: &str, text: &str) -> usize {
        let text = format!("\n{text}");
        let commands: Vec<&str> = text.split("\n$ ").skip(1).collect();
        for command in &commands {
            let (command, shown) = command.split_once('\n').unwrap_or((command, ""));
            let printed = self.run(place, command);
            if !shown.trim().is_empty() {
                assert!(
                    is_like(&printed, shown),
                    "{place}: `{command}` prints\n{printed}\nand the page shows\n{shown}"
                );
            }
        }
        commands.len()
    }

    /// Sees whether there are such commands, with such options; they are not run.
    fn exist(&self, place: &str, text: &str) -> usize {
        let commands = text.lines().filter_map(|line| line.strip_prefix("$ ")?.split_once("headwater "));
        let commands: Vec<&str> = commands.map(|(_, arguments)| arguments).collect();
        for arguments in &commands {
            // an option that is not known is told of before the help is shown
            let arguments: Vec<&str> = arguments.split(' ').chain(["--help"]).collect();
            let output = self.project.headwater(&arguments);
            assert_eq!(output.code, 0, "{place}: `headwater {}`: {}", arguments.join(" "), output.stderr);
        }
        assert!(!commands.is_empty(), "{place}: no commands");
        commands.len()
    }

    /// What a command prints, as on a terminal.
    fn run(&mut self, place: &str, command: &str) -> String {
        if let Some(folder) = command.strip_prefix("cd ") {
            self.folder = self.folder.join(folder);
            return String::new();
        }
        if let Some((name, value)) = command.strip_prefix("export ").and_then(|rest| rest.split_once('=')) {
            self.environment.push((name.to_owned(), value.to_owned()));
            return String::new();
        }
        if command == "headwater demo --serve" {
            return format!("the sample shop is at {SHOP}; its key is `{}`; Ctrl-C ends it\n", self.server.api_key());
        }
        if let Some(arguments) = command.strip_prefix("curl ") {
            return self.curl(arguments);
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_headwater")).parent().expect("a folder");
        let path = std::env::join_paths(
            std::iter::once(binary.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").expect("a path"))),
        );
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {}", command.replace(SHOP, &self.server.base_url()))])
            .current_dir(&self.folder)
            .env("PATH", path.expect("a path"))
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let code = output.status.code().expect("it ended by itself");
        assert!(code <= 4 && !text.contains("panicked"), "{place}: `{command}` ended with {code}\n{text}");
        let text = text.replace(&self.server.base_url(), SHOP);
        text.lines().filter(|line| !is_progress(line)).map(|line| format!("{line}\n")).collect()
    }

    /// The few words of `curl` that the pages use.
    fn curl(&self, arguments: &str) -> String {
        let method = if arguments.contains("-X POST") { "POST" } else { "GET" };
        let url = arguments.split_whitespace().last().expect("a URL").trim_matches('"');
        let target = url.strip_prefix(SHOP).expect("a URL of the shop");
        let header = arguments.split("-H \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a header");
        let address = self.server.base_url();
        let address = address.strip_prefix("http://").expect("an address");
        let mut stream = TcpStream::connect(address).expect("the shop");
        let close = "Connection: close\r\nContent-Length: 0";
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{header}\r\n{close}\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }
}

/// Lines that a terminal shows as bars, which go away.
fn is_progress(line: &str) -> bool {
    let Some((sync, event)) = line.split_once(": ") else { return false };
    let is_sync = sync.split_once('/').is_some_and(|(connection, _)| !connection.contains(' '));
    let events = ["started", "completed", "failed", "going on where it stopped", "starting over: ", "waiting "];
    is_sync && (event.ends_with(" rows committed") || events.iter().any(|known| event.starts_with(known)))
}

/// Whether a text is what the page shows: `…` stands for anything, in a line or as a line of its own, and times are other times.
fn is_like(printed: &str, shown: &str) -> bool {
    fn lines(printed: &[String], shown: &[String]) -> bool {
        match shown {
            [] => printed.is_empty(),
            [first, rest @ ..] if first == "…" => (0..=printed.len()).any(|skipped| lines(&printed[skipped..], rest)),
            [first, rest @ ..] => printed.first().is_some_and(|line| has(line, first)) && lines(&printed[1..], rest),
        }
    }
    fn has(line: &str, pattern: &str) -> bool {
        let mut pieces = pattern.split('…');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = line.strip_prefix(first) else { return false };
        let pieces: Vec<&str> = pieces.collect();
        let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
        for piece in middle {
            let Some((_, behind)) = rest.split_once(piece) else { return false };
            rest = behind;
        }
        rest.ends_with(last)
    }
    let plain = |text: &str| text.trim().lines().map(|line| without_times(line.trim_end())).collect::<Vec<_>>();
    lines(&plain(printed), &plain(shown))
}

/// The line with `<time>` for each `2026-11-22 01:01:53 UTC`.
fn without_times(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    let is = |word: &str, form: &str| {
        word.len() == form.len()
            && word.chars().zip(form.chars()).all(|(c, of)| if of == '0' { c.is_ascii_digit() } else { c == of })
    };
    for at in 2..words.len() {
        if words[at] == "UTC" && is(words[at - 1], "00:00:00") && is(words[at - 2], "0000-00-00") {
            words[at - 2] = "<time>";
        }
    }
    let words: Vec<&str> = words
        .iter()
        .enumerate()
        .filter(|(at, _)| !(*at > 0 && words[at - 1] == "<time>" || *at > 1 && words[at - 2] == "<time>"))
        .map(|(_, word)| *word)
        .collect();
    words.join(" ")
}

#[test]
fn a_reader_can_do_the_first_sync_and_read_changes() {
    let mut reader = Reader::new();
    reader.follow("guides/first-sync.md");
    reader.follow("guides/reading-changes.md");
    assert!(reader.project.path().join("my-project/warehouse.duckdb").is_file());
}

#[test]
fn a_reader_can_add_a_provider_and_meet_the_guard() {
    let mut reader = Reader::new();
    reader.follow("guides/add-a-provider.md");
    reader.follow("guides/deletes.md");
}

#[test]
fn a_reader_can_connect_an_account() {
    let mut reader = Reader::new();
    reader.follow("guides/connecting.md");
    let store = reader.project.path().join("my-project/.headwater/credentials.json");
    assert!(!std::fs::read_to_string(store).expect("the store").contains("shop-demo-key"));
}

#[test]
fn what_is_shown_is_compared() {
    assert!(is_like("a\nb\nc\n", "a\n…\nc"));
    assert!(is_like("{\"a\":1,\"b\":2}", "{\"a\":1,…}"));
    assert!(is_like("x 2026-11-22 01:01:53 UTC y", "x 2024-01-02 03:04:05 UTC y"));
    assert!(!is_like("x 2026-11-22 01:01:53 UTC y", "x 2024-01-02 03:04:05 UTC z"));
    assert!(!is_like("a\nb", "a"));
    assert!(!is_like("a", "a\nb"));
    assert!(!is_like("250 249", "250 248"));
    assert!(is_progress("demo/orders: 1,100 rows committed") && !is_progress("note: demo/orders: 1 record"));
    assert!(!is_progress("error: demo/orders: failed"));
}
