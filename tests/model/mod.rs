//! The model test: simulated APIs that change while they are read and fail anywhere, synced by the real engine into a real file, with
//! crashes and stops at any request and commit. When all is quiet, the table is what the API is, and so has whoever read only the changes.
//!
//! Each case has an API of its own; some of them are synced by one run, to share the opening of the file and to disturb one another.
//! `HEADWATER_MODEL_CASES=20000 ./dev test model` makes more cases than the normal run.

mod api;
mod case;
mod laws;
mod pages;
mod reader;
mod shape;
mod world;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

use headwater::diagnostic::Severity;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};
use shape::{Incremental, Shape};
use world::World;

/// APIs that one run syncs.
const BATCH: usize = 12;
/// Cases of each of the two tests.
const CASES: usize = 96;

fn cases() -> usize {
    std::env::var("HEADWATER_MODEL_CASES").map_or(CASES, |text| text.parse::<usize>().expect("a number") / 2)
}

#[expect(clippy::print_stdout, reason = "how many cases there were is told with `--nocapture`")]
fn holds(of: fn(&Shape) -> bool) {
    let world = RefCell::new(World::new());
    let began = Instant::now();
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/regressions.txt");
    let config = Config {
        cases: u32::try_from(cases() / BATCH).expect("a number").max(1),
        max_shrink_iters: 20_000,
        max_shrink_time: 180_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..Config::default()
    };
    let seed = std::env::var("HEADWATER_MODEL_SEED").map_or(1, |text| text.parse::<u64>().expect("a number"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let (told, count) = (RefCell::new(String::new()), RefCell::new(0));
    // once a case has failed it is shrunk alone, and what is shrunk of the others costs nothing
    let failed = RefCell::new(None);
    let tried: RefCell<HashMap<String, Option<String>>> = RefCell::default();
    let outcome = runner.run(&case::batch(BATCH, of), |batch| {
        let batch = failed.borrow().map_or_else(|| batch.clone(), |at| batch.only(at));
        let name = format!("{batch:?}");
        if let Some(why) = tried.borrow().get(&name) {
            return why.clone().map_or(Ok(()), |why| Err(TestCaseError::fail(why)));
        }
        *count.borrow_mut() += batch.cases.iter().flatten().count();
        let outcome = world.borrow_mut().check(&batch).map_err(|(at, text)| {
            let why = text.lines().next().unwrap_or_default().to_owned();
            *told.borrow_mut() = format!("{text}\n{:?}", batch.only(at));
            failed.borrow_mut().get_or_insert(at);
            why
        });
        if failed.borrow().is_some() {
            tried.borrow_mut().insert(name, outcome.clone().err());
        }
        outcome.map_err(TestCaseError::fail)
    });
    println!("{} cases, {} runs of a sync in {:?}", count.borrow(), world.borrow().runs, began.elapsed());
    if let Err(TestError::Fail(why, _)) = outcome {
        panic!("{why}\n\nthe last that was seen to fail:\n{}", told.borrow());
    }
    outcome.expect("no case was turned away");
}

#[test]
fn whole_lists_become_tables() {
    holds(|shape| shape.incremental == Incremental::None);
}

#[test]
fn changes_become_tables() {
    holds(|shape| shape.incremental != Incremental::None);
}

#[test]
fn the_combinations_are_those_that_check_allows() {
    let mut wrong = String::new();
    for shape in Shape::all() {
        let compiled = shape.compile("one", "http://127.0.0.1:1");
        let errors: Vec<_> = compiled
            .diagnostics
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .map(|one| one.render(false))
            .collect();
        let runs = errors.is_empty() && compiled.plan.is_some();
        if runs != shape.is_legal() {
            writeln!(wrong, "{}{}", shape.sync(), errors.join("\n")).expect("text");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
