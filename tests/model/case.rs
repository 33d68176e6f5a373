//! Made-up cases: what an API is like, what befalls it, and how the runs over it are disturbed.

use proptest::prelude::*;
use proptest::sample::select;

use super::shape::Shape;

/// Something that befalls an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// a record has this value from now on: made if it is not there, back if it was gone
    Put(u8, u8),
    /// a record's time moves and nothing else of it
    Touch(u8),
    Delete(u8),
    /// a record stands elsewhere in the list
    Move(u8, u8),
    /// its value is none that fits
    Break(u8),
    /// seconds pass
    Pass(u8),
}

/// A request that is answered otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// this one and so many more
    Status500(u8),
    /// the same, with `Retry-After: 0`
    Status429(u8),
    /// the body ends too early
    Cut,
    /// no answer comes
    Silence,
    /// no JSON
    Garbage,
    /// a page of nothing, without a next one. Where nothing tells that more should be there only a first page is, and none of a window or
    /// behind a token
    Nothing,
    /// 404 for the next saved place that a run goes on at
    NotFound,
    /// a record without a key stands among the others
    Keyless,
}

/// Where a run is disturbed: at the nth request or commit of one of its syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    Request(u8),
    Commit(u8),
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    Crash,
    Stop,
}

/// An API and what befalls it, counted by the requests made of it.
#[derive(Debug, Clone)]
pub struct Case {
    pub shape: Shape,
    /// id, value, seconds of age
    pub records: Vec<(u8, u8, u8)>,
    pub ops: Vec<(u8, Op)>,
    pub faults: Vec<(u8, Fault)>,
}

/// Several APIs, synced at once by several runs. None is what a case is shrunk to.
#[derive(Debug, Clone)]
pub struct Batch {
    pub cases: Vec<Option<Case>>,
    /// each with who disturbs it
    pub runs: Vec<Option<(u8, Point, Disturbance)>>,
    /// each page is a commit, or the whole scan is one
    pub commits_pages: bool,
    /// seconds that the engine's clock is ahead of the APIs'
    pub skew: i8,
}

impl Batch {
    /// The same with one of its cases.
    pub fn only(&self, at: usize) -> Self {
        Self { cases: self.cases.get(at).cloned().into_iter().collect(), ..self.clone() }
    }
}

const IDS: u8 = 12;

fn op() -> impl Strategy<Value = Op> {
    let id = || 0..IDS;
    prop_oneof![
        6 => (id(), 0..4u8).prop_map(|(id, value)| Op::Put(id, value)),
        2 => id().prop_map(Op::Touch),
        4 => id().prop_map(Op::Delete),
        2 => (id(), 0..IDS).prop_map(|(id, to)| Op::Move(id, to)),
        1 => id().prop_map(Op::Break),
        2 => (1..4u8).prop_map(Op::Pass),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        16 => (0..4u8).prop_map(Fault::Status500),
        8 => (0..4u8).prop_map(Fault::Status429),
        8 => Just(Fault::Cut),
        // each takes as long as the client waits
        1 => Just(Fault::Silence),
        8 => Just(Fault::Garbage),
        12 => Just(Fault::Nothing),
        24 => Just(Fault::NotFound),
        8 => Just(Fault::Keyless),
    ]
}

fn shape(of: impl Fn(&Shape) -> bool) -> impl Strategy<Value = Shape> {
    let shapes: Vec<Shape> =
        Shape::all().into_iter().filter(|shape| shape.budget.is_none() && shape.is_legal() && of(shape)).collect();
    // a budget makes many runs of one
    let budget = prop_oneof![4 => Just(None), 1 => Just(Some("max_requests")), 1 => Just(Some("max_records"))];
    (select(shapes), budget, 1..5usize, any::<bool>()).prop_map(|(shape, budget, size, allow_empty)| Shape {
        budget,
        size,
        allow_empty,
        ..shape
    })
}

fn case(of: impl Fn(&Shape) -> bool) -> impl Strategy<Value = Case> {
    (
        shape(of),
        proptest::collection::vec((0..IDS, 0..4u8, 0..4u8), 0..8),
        proptest::collection::vec((0..10u8, op()), 0..9),
        proptest::collection::vec((0..9u8, fault()), 0..4),
    )
        .prop_map(|(shape, records, ops, faults)| Case { shape, records, ops, faults })
}

/// Batches of about `size` APIs of the shapes that fit.
pub fn batch(size: usize, of: impl Fn(&Shape) -> bool) -> impl Strategy<Value = Batch> {
    let point = prop_oneof![(0..6u8).prop_map(Point::Request), (0..4u8).prop_map(Point::Commit)];
    let how = prop_oneof![3 => Just(Disturbance::Crash), 1 => Just(Disturbance::Stop)];
    let run = proptest::option::weighted(0.85, (any::<u8>(), point, how));
    (
        proptest::collection::vec(proptest::option::weighted(0.95, case(of)), size),
        proptest::collection::vec(run, 1..4),
        proptest::bool::weighted(0.4),
        select(vec![0, 0, -1, 1, 9]),
    )
        .prop_map(|(cases, runs, commits_pages, skew)| Batch { cases, runs, commits_pages, skew })
}
