//! Numbers that look random and are the same for the same seed on every machine.

/// The generator splitmix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// A sequence of its own for each pair of `seed` and `stream`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut outer = Self { state: seed };
        let mixed = outer.next();
        let mut inner = Self { state: mixed ^ stream };
        Self { state: inner.next() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, `end`; 0 when `end` is 0.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        let high = (self.next() >> 32) * u64::from(end);
        u32::try_from(high >> 32).expect("a product of two 32-bit numbers has 32 bits above its lower 32")
    }

    /// A number from `first` to `last`, both included. `first` must not be above `last`.
    pub(super) fn between(&mut self, first: u32, last: u32) -> u32 {
        first + self.below(last - first + 1)
    }

    /// True `percent` times in a hundred.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A position in a list of `length` items, which must not be empty.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let end = u32::try_from(length).unwrap_or(u32::MAX);
        usize::try_from(self.below(end)).expect("an index below a length is a usize")
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// Takes `count` of `candidates`, or all when there are fewer. The rest stays behind.
    pub(super) fn take<T>(&mut self, candidates: &mut Vec<T>, count: usize) -> Vec<T> {
        let count = count.min(candidates.len());
        (0..count).map(|_| candidates.swap_remove(self.index(candidates.len()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Random;

    #[test]
    fn gives_the_published_sequence_of_splitmix64() {
        let mut random = Random { state: 1_234_567 };
        let first = [random.next(), random.next(), random.next()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Random::new(1, 0).next(), Random::new(1, 1).next());
        assert_ne!(Random::new(1, 0).next(), Random::new(2, 0).next());
    }

    proptest! {
        #[test]
        fn stays_within_its_bounds(seed: u64, first in 0_u32..1_000, more in 0_u32..1_000) {
            let number = Random::new(seed, 0).between(first, first + more);
            prop_assert!((first..=first + more).contains(&number));
        }

        #[test]
        fn takes_each_candidate_at_most_once(seed: u64, length in 0_usize..50, count in 0_usize..60) {
            let mut left: Vec<usize> = (0..length).collect();
            let mut all = Random::new(seed, 0).take(&mut left, count);
            prop_assert_eq!(all.len(), count.min(length));
            all.append(&mut left);
            all.sort_unstable();
            prop_assert_eq!(all, (0..length).collect::<Vec<_>>());
        }
    }
}
