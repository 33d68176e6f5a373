use std::path::{Path, PathBuf};

use anstyle::AnsiColor;
use serde_json::json;

use super::output::{self, DIM, Failure, bold, count, json_line, visible};
use super::progress::{self, Style};
use super::{Done, project, test};
use crate::engine::{self, ErrorKind};
use crate::files;
use crate::offline::{self, Extent, RecordError, Recording, Replaced, Rules, Spot, Unproven};
use crate::plan::{SyncPlan, limits};
use crate::remote::random_bytes;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One sync of one connection: `connection/sync`.
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// Runs to record, one after the other: with 2, the second asks for what has changed.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=limits::RECORD_RUNS_MAX))]
    runs: u64,
    /// Requests of the sync in each run. Where there is more, the run is paused, and the test says so (`max_requests`).
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=limits::RECORD_PAGES_MAX))]
    pages: u64,
    /// Records to keep of each list in an answer, the first ones and the last, as long as the run asks the same; 0 keeps all.
    #[arg(long, default_value_t = 3, value_name = "N")]
    records: usize,
    /// The file to write, relative to the project (default: `integrations/<provider>/tests/<sync>_recorded.yaml`).
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the file though there is one already.
    #[arg(long)]
    force: bool,
    /// Leave what stands under this key as it is, though it looks personal. Secrets go nevertheless.
    #[arg(long, value_name = "KEY")]
    keep: Vec<String>,
    /// Replace what stands under this key too.
    #[arg(long, value_name = "KEY")]
    replace: Vec<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let chosen = plan.select(std::slice::from_ref(&arguments.selector))?;
    let [sync] = chosen.as_slice() else {
        let named: Vec<String> = chosen.iter().take(limits::LISTED_MAX).map(|sync| format!("`{}`", sync.id)).collect();
        let hint = format!("name one: {}", named.join(", "));
        return Err(Failure::user(format!("`{}` names {} syncs", arguments.selector, chosen.len()), Some(hint)));
    };
    let usual = || {
        Path::new("integrations").join(&sync.id.provider).join("tests").join(format!("{}_recorded.yaml", sync.id.sync))
    };
    let file = arguments.output.clone().unwrap_or_else(usual);
    if folder.join(&file).exists() && !arguments.force {
        let hint = "`--output FILE` names another one, `--force` writes over it".to_owned();
        return Err(Failure::user(format!("there is a file `{}` already", file.display()), Some(hint)));
    }
    let name = file.display().to_string().replace('\\', "/");
    let test = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let inputs = files::read_project(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let syncs = offline::with_parents(&plan.syncs, sync);
    let style = if arguments.json { Style::Lines } else { Style::of_terminal() };
    let (observer, bars) = progress::observer(style.quiet(), &syncs);
    let runs = usize::try_from(arguments.runs).unwrap_or(1);
    let extent = Extent { runs, pages: arguments.pages };
    let made = runtime.block_on(async {
        let tape = offline::live(&syncs, &plan.folder, extent, (engine::system_clock(), observer)).await?;
        let rules = Rules {
            keep: offline::keys(&arguments.keep),
            replace: offline::keys(&arguments.replace),
            ..Rules::default()
        };
        let spot = Spot { folder, inputs: &inputs, file: &name, test: &test, sync, clock: engine::system_clock() };
        let records = Some(arguments.records).filter(|records| *records > 0);
        // nobody ever sees this key again
        let recording = offline::proven(&tape, &spot, (rules, &random_bytes(), records)).await?;
        Ok((tape.answers(), recording))
    });
    bars.end();
    let (answers, recording) = made.map_err(|why| refused(why, sync))?;
    files::write(folder, &file, &recording.text)?;
    let is_read = files::read_project(folder)?.iter().any(|input| input.source.name == name && !input.stray);
    if !is_read {
        let place = usual();
        anstream::eprintln!(
            "no test is read there: its place is `{}`",
            place.with_file_name(format!("{test}.yaml")).display()
        );
    }
    if arguments.json {
        json_line(&wire(&name, &test, answers, &recording, sync))?;
    } else {
        print(&name, answers, &recording, sync);
    }
    Ok(0)
}

/// Says why nothing was written.
fn refused(why: Unproven, sync: &SyncPlan) -> Failure {
    let data = |message: String, hint: String| Failure {
        code: output::exit_code(ErrorKind::Data),
        ..Failure::user(format!("nothing was written: {message}"), Some(hint))
    };
    let keep = "a value that was replaced may mean something to the sync: `--keep KEY` leaves it; `--records 0` keeps all records";
    match why {
        Unproven::Record(RecordError::Run(error)) => error.into(),
        Unproven::Record(error) => {
            let code = output::exit_code(ErrorKind::Remote);
            Failure { code, ..Failure::user(format!("nothing was written: {error}"), error.hint()) }
        }
        Unproven::Mistakes(mistakes) => {
            project::print(&mistakes.iter().collect::<Vec<_>>());
            data("the recording is no test".to_owned(), "the mistakes above say where".to_owned())
        }
        Unproven::Differs(run, failures) => {
            for failure in &failures {
                anstream::eprintln!("  {}", failure.what);
                test::print_lines_to_stderr(&failure.lines);
            }
            data(
                format!("run again without a network, run {run} of `{}` does something else", sync.id),
                keep.to_owned(),
            )
        }
        Unproven::Counts(live, again) => {
            data(format!("the run counted {live}, and run again without a network it counts {again}"), keep.to_owned())
        }
        Unproven::Secret => data(
            "a secret would stand in the file".to_owned(),
            "`--replace KEY` replaces what stands under a key".to_owned(),
        ),
        Unproven::TooLong(bytes) => data(
            format!(
                "the test would have {} KiB, and a document has at most {}",
                bytes >> 10,
                limits::DOCUMENT_BYTES_MAX >> 10
            ),
            "ask for smaller pages (`size` of its `pagination`), or for fewer with `--pages`".to_owned(),
        ),
    }
}

fn print(file: &str, answers: usize, recording: &Recording, sync: &SyncPlan) {
    let Recording { text: _, replaced, left, whole } = recording;
    let green = bold(AnsiColor::Green);
    let (answers, s) = (count(answers as u64), if answers == 1 { "" } else { "s" });
    anstream::println!("{green}written{green:#} {file}  {DIM}{answers} answer{s} of {}; it passes{DIM:#}", sync.id);
    if let Some(why) = whole {
        anstream::println!("{DIM}all records were kept: with fewer, {why}{DIM:#}");
    }
    if replaced.is_empty() {
        anstream::println!("nothing was replaced");
    } else {
        let rows: Vec<Vec<String>> = replaced
            .iter()
            .map(|Replaced { key, kind, count: number }| vec![key.clone(), kind.as_str().to_owned(), count(*number)])
            .collect();
        anstream::println!("{}", output::table(&["replaced", "as", "times"], &rows, &[2]));
    }
    let yellow = bold(AnsiColor::Yellow);
    if !left.is_empty() {
        let keys: Vec<String> =
            left.iter().map(|(key, times)| format!("`{}` ({})", visible(key), count(*times))).collect();
        anstream::println!(
            "{yellow}left as it is{yellow:#}: {}, though the key could tell of somebody: the integration's files have the same words, or \
             nothing in it looks like a name",
            keys.join(", ")
        );
    }
    anstream::println!(
        "{yellow}read the file before you share it{yellow:#}: what is personal is told by its key and its form, and both can mislead; \
         `--replace KEY` replaces more, `--keep KEY` less"
    );
}

fn wire(file: &str, test: &str, answers: usize, recording: &Recording, sync: &SyncPlan) -> serde_json::Value {
    let Recording { text: _, replaced, left, whole } = recording;
    let replaced =
        replaced.iter().map(|Replaced { key, kind, count }| json!({ "key": key, "as": kind.as_str(), "times": count }));
    json!({
        "file": file, "test": format!("{}/{test}", sync.id.provider), "sync": sync.id.to_string(), "answers": answers,
        "replaced": replaced.collect::<Vec<_>>(), "left": left.iter().map(|(key, times)| json!({ "key": key, "times": times })).collect::<Vec<_>>(),
        "all_records_because": whole,
    })
}
