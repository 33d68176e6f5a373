//! Who has to come back later.

use std::collections::HashSet;

/// Requests told to come back that are remembered; beyond it all are forgotten.
const WAITING_MAX: usize = 1_024;

/// Turns every n-th request away once; the same request asked again passes, so that a patient client gets through
/// however many of its requests run at once.
#[derive(Debug)]
pub(super) struct Throttle {
    every: u64,
    seen: u64,
    waiting: HashSet<String>,
}

impl Throttle {
    /// None and 0 never turn anything away.
    pub(super) fn new(every: Option<u64>) -> Self {
        Self { every: every.unwrap_or(0), seen: 0, waiting: HashSet::new() }
    }

    /// Whether the request for `target` (path and query) passes.
    pub(super) fn passes(&mut self, target: &str) -> bool {
        if self.every == 0 || self.waiting.remove(target) {
            return true;
        }
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return true;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.clear();
        }
        self.waiting.insert(target.to_owned());
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Throttle, WAITING_MAX};

    #[test]
    fn turns_every_third_request_away_and_lets_it_pass_when_it_comes_back() {
        let mut throttle = Throttle::new(Some(3));
        let answers = ["/a", "/b", "/c", "/c", "/d", "/e", "/f", "/g", "/f"].map(|target| throttle.passes(target));
        assert_eq!(answers, [true, true, false, true, true, true, false, true, true]);
    }

    #[test]
    fn turns_no_request_away_twice_when_others_run_beside_it() {
        let mut throttle = Throttle::new(Some(1));
        assert!(!throttle.passes("/a"));
        assert!(!throttle.passes("/b"));
        assert!(throttle.passes("/b"));
        assert!(throttle.passes("/a"));
    }

    #[test]
    fn never_throttles_when_told_so() {
        for every in [None, Some(0)] {
            let mut throttle = Throttle::new(every);
            assert!((0..1_000).all(|_| throttle.passes("/a")));
        }
    }

    #[test]
    fn remembers_a_bounded_number_of_requests() {
        let mut throttle = Throttle::new(Some(1));
        for number in 0..3 * WAITING_MAX {
            assert!(!throttle.passes(&format!("/{number}")));
            assert!(throttle.waiting.len() <= WAITING_MAX);
        }
    }
}
