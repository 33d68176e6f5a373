//! A project run by the library in this process: it can be told what time it is, and how much it may use.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use headwater::engine::{self, Event};
use headwater::plan::{Budget, Known, compile};
use headwater::scan::Wish;
use headwater::{files, plan};
use serde_json::Value;
use tokio::sync::watch;

use super::Project;

/// How a run is made.
#[derive(Clone, Default)]
pub struct Run {
    pub wish: Wish,
    pub budget: Budget,
}

impl Run {
    pub fn full() -> Self {
        Self { wish: Wish { full: true, ..Wish::default() }, ..Self::default() }
    }

    pub fn accepting() -> Self {
        Self { wish: Wish { accept_deletes: true, ..Wish::default() }, ..Self::default() }
    }

    pub fn requests(max: u64) -> Self {
        Self { budget: Budget { requests: Some(max), ..Budget::default() }, ..Self::default() }
    }

    pub fn records(max: u64) -> Self {
        Self { budget: Budget { records: Some(max), ..Budget::default() }, ..Self::default() }
    }
}

/// A moment: a day begins at midnight UTC.
fn moment(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    DateTime::parse_from_rfc3339(&text).unwrap_or_else(|error| panic!("{text}: {error}")).to_utc()
}

impl Project {
    fn plan(&self) -> plan::Plan {
        let compiled = compile(&files::read_project(self.path()).expect("files"), self.path(), &Known::default());
        let errors: Vec<_> = compiled.diagnostics.iter().filter(|one| one.code.starts_with('E')).collect();
        assert!(errors.is_empty(), "{errors:?}");
        compiled.plan.expect("a plan")
    }

    /// A run at this time, whose clock stands still; gives the report of its one sync.
    pub fn run_at(&self, at: &str, run: Run) -> Value {
        let plan = self.plan();
        let at = moment(at);
        let (_keep, stop) = watch::channel(false);
        let options = engine::Options {
            host: engine::HostOptions::of(&plan, Arc::new(move || at)),
            wish: run.wish,
            allow_destructive: false,
            budget: run.budget,
            observer: Arc::new(|_: Option<&_>, _: Event| {}),
            stop,
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let report = runtime.block_on(engine::run(&plan.syncs, options)).expect("a report");
        serde_json::to_value(&report.syncs[0]).expect("JSON")
    }

    /// The same, and it comes to its end.
    pub fn done_at(&self, at: &str) -> Value {
        let report = self.run_at(at, Run::default());
        assert_eq!(report["state"], "completed", "{report}");
        report
    }

    /// The same, and it fails with this code.
    pub fn fails_at(&self, at: &str, code: &str) -> Value {
        let report = self.run_at(at, Run::default());
        assert_eq!((&report["state"], &report["error"]["code"]), (&"failed".into(), &code.into()), "{report}");
        report
    }
}
