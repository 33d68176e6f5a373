//! A project in a temporary folder, and the program run in it as a person would.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value};
use tempfile::TempDir;

/// What the program printed and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The JSON lines of standard output.
    pub fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}"))).collect()
    }

    /// The report of `run --json`: one object for each sync.
    pub fn report(&self) -> Vec<Value> {
        let last = self.json().pop().unwrap_or_else(|| panic!("a report; stderr: {}", self.stderr));
        last["report"]["syncs"].as_array().expect("syncs").clone()
    }
}

/// A project; its folder goes when it is dropped.
pub struct Project {
    folder: TempDir,
}

impl Project {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// One provider `api`, one sync `items` into a model `Item` with the table `api.items`, one connection `acme` without
    /// credentials. `sync` holds the words of the sync after `sync`, `model`; `columns` the model's after `table`.
    pub fn simple(base_url: &str, sync: &str, model: &str) -> Self {
        let project = Self::empty();
        project.write("headwater.yaml", "database: test.duckdb\nconnections:\n  acme: { provider: api }\n");
        project.write(
            "providers/api.yaml",
            &format!(
                "provider: api\nbase_url: {base_url}\nretry: {{ attempts: 3, backoff: {{ base: 1ms, max: 5ms }} }}\n"
            ),
        );
        project.write("integrations/api/syncs/items.yaml", &format!("sync: items\nmodel: Item\n{sync}\n"));
        project.write("integrations/api/models/Item.yaml", &format!("model: Item\ntable: items\n{model}\n"));
        project
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("test.duckdb")
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// The program, to be started in a way of the test's own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.arg("--project").arg(self.path()).args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn headwater(&self, arguments: &[&str]) -> Output {
        self.headwater_with(arguments, &[])
    }

    pub fn headwater_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let output = self.command(arguments).envs(environment.iter().copied()).output().expect("the program runs");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// Starts the program and leaves it running.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs")
    }

    /// Starts the program and leaves it running, its output to be read.
    pub fn spawn_piped(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
    }

    /// A run that must fail with this exit code; gives the report of its one sync.
    pub fn run_fails(&self, code: i32) -> Value {
        let output = self.headwater(&["run", "--json"]);
        assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
        let report = output.report().remove(0);
        assert_eq!(report["state"], "failed");
        report
    }

    /// A run that must succeed; gives the report of its one sync.
    pub fn run(&self) -> Value {
        let output = self.headwater(&["run", "--json"]);
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        output.report().remove(0)
    }

    /// The rows a query gives, as objects.
    pub fn query(&self, sql: &str) -> Vec<Map<String, Value>> {
        let output = self.headwater(&["query", "--json", sql]);
        assert_eq!(output.code, 0, "{sql}: {}", output.stderr);
        output.json().into_iter().map(|row| row.as_object().expect("an object").clone()).collect()
    }

    /// The rows a query gives, read by DuckDB itself in this process: no `headwater` may be at work meanwhile. Tables go by
    /// `schema.table`.
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        let settings = duckdb::Config::default().access_mode(duckdb::AccessMode::ReadOnly).and_then(|it| it.threads(1));
        let database =
            duckdb::Connection::open_with_flags(self.database(), settings.expect("settings")).expect("a database");
        let sql = format!("SELECT CAST(to_json(t) AS VARCHAR) FROM ({sql}) t");
        let mut statement = database.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        rows.map(|row| serde_json::from_str(&row.expect("a row")).expect("JSON")).collect()
    }

    /// The one column a query gives.
    pub fn column(&self, sql: &str) -> Vec<Value> {
        let first = |row: Value| row.as_object().and_then(|row| row.values().next().cloned()).expect("a column");
        self.rows(sql).into_iter().map(first).collect()
    }

    /// The one number a query gives.
    pub fn number(&self, sql: &str) -> i64 {
        let row = self.query(sql).pop().expect("a row");
        row.values().next().and_then(Value::as_i64).unwrap_or_else(|| panic!("a number: {row:?}"))
    }
}
