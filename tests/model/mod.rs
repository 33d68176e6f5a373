//! The model test: simulated APIs that change while they are read and fail anywhere, synced by the real engine into a real file, with
//! crashes and stops at any request and commit. When all is quiet, the table is what the API is, and so has whoever read only the changes.
//!
//! Each case has an API of its own; some of them are synced by one run, to share the opening of the file and to disturb one another.
//! Half of the cases are the same each time, the other half is new. `HEADWATER_MODEL_CASES=20000 ./dev test model` makes more of them.

mod api;
mod case;
mod known;
mod laws;
mod pages;
mod reader;
mod shape;
mod world;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use headwater::diagnostic::Severity;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use shape::{Incremental, Shape};
use world::World;

/// APIs that one run syncs.
const BATCH: usize = 16;
/// Cases of all tests together.
const CASES: usize = 2_200;
/// Tests that share the cases.
const TESTS: usize = 2;
/// What each test makes its cases of without `HEADWATER_MODEL_SEED`, half of them; the other half is new each time.
const SEED: u64 = 1;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Two threads, each with a world of its own: while an answer that does not come is waited for, the other works on.
fn hold(of: fn(&Shape) -> bool) {
    let seeds = match number("HEADWATER_MODEL_SEED") {
        Some(seed) => [seed, seed.wrapping_add(1)],
        None => [SEED, u64::from(RandomState::new().hash_one(()) as u32)],
    };
    let cases = number("HEADWATER_MODEL_CASES").map_or(CASES, |cases| usize::try_from(cases).expect("a number"));
    let cases = cases / TESTS / seeds.len();
    thread::scope(|threads| {
        let running = seeds.map(|seed| threads.spawn(move || hold_of_seed(of, cases, seed)));
        for thread in running {
            thread.join().unwrap_or_else(|why| resume_unwind(why));
        }
    });
}

#[expect(clippy::print_stdout, reason = "how many cases there were is told with `--nocapture`")]
fn hold_of_seed(of: fn(&Shape) -> bool, cases: usize, seed: u64) {
    let world = RefCell::new(World::new());
    let began = Instant::now();
    let config = Config {
        cases: u32::try_from(cases / BATCH).expect("a number").max(1),
        max_shrink_iters: 20_000,
        max_shrink_time: 180_000,
        failure_persistence: None,
        ..Config::default()
    };
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
    println!("seed {seed}: {} cases, {} runs of a sync in {:?}", count.borrow(), world.borrow().runs, began.elapsed());
    if let Err(TestError::Fail(why, _)) = outcome {
        panic!(
            "{why}\n\nwith HEADWATER_MODEL_SEED={seed}; the last that was seen to fail, for `tests/model/known.rs`:\n{}",
            told.borrow()
        );
    }
    outcome.expect("no case was turned away");
}

#[test]
fn whole_lists_become_tables() {
    hold(|shape| shape.incremental == Incremental::None);
}

#[test]
fn changes_become_tables() {
    hold(|shape| shape.incremental != Incremental::None);
}

#[test]
fn what_once_failed_does_not() {
    let mut world = World::new();
    for batch in known::batches() {
        if let Err((_, text)) = world.check(&batch) {
            panic!("{text}\n{batch:?}");
        }
    }
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
