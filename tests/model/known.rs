//! Cases that broke a law once, shrunk.

use super::case::Disturbance::{Crash, Stop};
use super::case::Fault::{Cut, NotFound, Nothing, Status500};
use super::case::Op::{Break, Delete, Move, Put, Touch};
use super::case::{Batch, Case, Point};
use super::shape::{Deletes, Incremental, Paging, Shape};

fn shape(paging: Paging, incremental: Incremental, deletes: Deletes, size: usize) -> Shape {
    Shape { paging, incremental, deletes, budget: None, size, allow_empty: false }
}

fn alone(case: Case, runs: usize) -> Batch {
    Batch { cases: vec![Some(case)], runs: vec![None; runs], commits_pages: false, skew: 0 }
}

pub fn batches() -> Vec<Batch> {
    let spent = |shape: Shape, what: &'static str| Shape { budget: Some(what), ..shape };
    let feed_starves = Case {
        shape: spent(shape(Paging::LinkPages, Incremental::Unordered, Deletes::Feed, 1), "max_requests"),
        records: vec![],
        ops: vec![(0, Put(0, 0)), (0, Put(1, 0)), (0, Put(2, 0))],
        faults: vec![],
    };
    let crashed = Case {
        shape: spent(shape(Paging::LinkPages, Incremental::None, Deletes::None, 1), "max_records"),
        records: vec![(0, 0, 0)],
        ops: vec![(4, Put(20, 1)), (7, Put(8, 1)), (12, Put(11, 1))],
        faults: vec![(6, Cut), (6, Status500(3)), (2, NotFound)],
    };
    let beside = Case {
        shape: spent(shape(Paging::LastRecord, Incremental::None, Deletes::Flag, 4), "max_records"),
        records: vec![(4, 0, 1), (10, 0, 2), (5, 1, 1), (8, 3, 2), (8, 1, 3), (4, 3, 3)],
        ops: vec![
            (0, Move(8, 14)),
            (7, Break(17)),
            (5, Put(17, 0)),
            (10, Touch(15)),
            (1, Touch(10)),
            (3, Delete(12)),
            (9, Put(5, 2)),
            (6, Put(16, 3)),
        ],
        faults: vec![(10, Nothing)],
    };
    let changes_behind = Case {
        shape: shape(Paging::LinkKeys, Incremental::Ascending, Deletes::None, 1),
        records: vec![(0, 0, 0)],
        ops: vec![(1, Put(1, 0))],
        faults: vec![],
    };
    let token_starves = Case {
        shape: spent(shape(Paging::LinkPages, Incremental::Token, Deletes::Feed, 1), "max_requests"),
        records: vec![(7, 0, 0), (6, 0, 0), (0, 0, 0)],
        ops: vec![(3, Put(6, 0))],
        faults: vec![],
    };
    let short_of_the_total = Case {
        shape: shape(Paging::OffsetTotal, Incremental::Window, Deletes::None, 1),
        records: vec![(0, 0, 0)],
        ops: vec![],
        faults: vec![(1, Nothing)],
    };
    let moved_and_counted = Case {
        shape: shape(Paging::PageTotal, Incremental::Token, Deletes::None, 1),
        records: vec![(8, 0, 0), (0, 0, 0), (3, 0, 0)],
        ops: vec![(1, Touch(8))],
        faults: vec![],
    };
    let token_of_a_later_answer = Case {
        shape: shape(Paging::Page, Incremental::Token, Deletes::None, 2),
        records: vec![],
        ops: vec![(3, Put(0, 0)), (1, Put(1, 0))],
        faults: vec![(1, Cut)],
    };
    let stopped_in_a_window = Case {
        shape: Shape { allow_empty: true, ..shape(Paging::LastRecord, Incremental::Window, Deletes::AbsenceWindow, 4) },
        records: vec![(2, 2, 0), (10, 3, 3), (7, 2, 3), (7, 1, 1), (2, 2, 3), (8, 1, 1), (8, 2, 1)],
        ops: vec![(7, Delete(8)), (0, Put(11, 2))],
        faults: vec![],
    };
    let emptied_window = Case {
        shape: shape(Paging::None, Incremental::Window, Deletes::AbsenceWindow, 1),
        records: vec![(9, 0, 0)],
        ops: vec![(1, Put(0, 0)), (2, Delete(9))],
        faults: vec![],
    };
    let moved_to_a_later_window = Case {
        shape: shape(Paging::LinkKeys, Incremental::Window, Deletes::AbsenceWindow, 2),
        records: vec![(0, 0, 0)],
        ops: vec![(2, Delete(0)), (9, Put(0, 0))],
        faults: vec![],
    };
    let slipped_twice = Case {
        shape: shape(Paging::PageTotalPages, Incremental::Window, Deletes::Feed, 1),
        records: vec![(10, 0, 3), (3, 0, 0), (4, 0, 2), (7, 0, 0), (2, 0, 0)],
        ops: vec![(0, Put(0, 0)), (5, Put(10, 0)), (9, Put(4, 0))],
        faults: vec![],
    };
    let gone_for_the_end = Case {
        shape: spent(shape(Paging::PageTotalPages, Incremental::ClientFilter, Deletes::None, 1), "max_records"),
        records: vec![(0, 3, 2), (8, 0, 3), (9, 0, 0)],
        ops: vec![(2, Put(2, 2))],
        faults: vec![(3, NotFound), (0, Cut)],
    };
    let short_and_then_moved = Case {
        shape: spent(shape(Paging::PageTotal, Incremental::Window, Deletes::Feed, 4), "max_records"),
        records: vec![(4, 0, 0), (9, 0, 1), (5, 0, 0), (1, 0, 0)],
        ops: vec![(6, Touch(4)), (0, Put(0, 0))],
        faults: vec![(0, NotFound)],
    };
    vec![
        alone(short_and_then_moved, 3),
        alone(slipped_twice, 2),
        Batch {
            runs: vec![Some((0, Point::Request(2), Stop)), Some((0, Point::Commit(0), Crash))],
            ..alone(gone_for_the_end, 2)
        },
        alone(feed_starves, 1),
        Batch {
            cases: vec![Some(crashed), Some(beside)],
            runs: vec![Some((0, Point::Request(3), Crash)), Some((1, Point::Request(3), Crash))],
            commits_pages: true,
            skew: 1,
        },
        alone(changes_behind, 1),
        alone(token_starves, 1),
        alone(short_of_the_total, 2),
        alone(moved_and_counted, 1),
        alone(token_of_a_later_answer, 2),
        alone(emptied_window, 2),
        alone(moved_to_a_later_window, 2),
        Batch { runs: vec![None, Some((0, Point::Commit(0), Stop))], ..alone(stopped_in_a_window, 2) },
    ]
}
