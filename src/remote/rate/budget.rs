//! The quotas of a connection, what its server says is left, and the pauses it asks for.
//!
//! A quota of N per T is kept by a GCRA (governor): one request each i, and up to τ too early. Any half-open stretch of length T+J then holds
//! at most (T+J+τ)/i = N requests. (A burst of N, the usual choice, lets nearly 2N through: N saved up and N earned meanwhile.) J allows
//! for the way: where one request takes J longer than those behind it, the server sees those of T+J in a stretch of T. τ lets a request that
//! goes late, because a timer is coarse or nothing was to be asked, be made up for. Together they cost 4 % of the quota.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota as Gcra, RateLimiter};

use super::learned::{Learned, Until};
use super::told::Told;
use crate::plan::{Quota, limits};

/// Longer stretches than a century are read as one, so that no sum overflows.
const PER_MAX: Duration = Duration::from_hours(100 * 366 * 24);

/// J at most, and in parts of the quota's stretch.
const JITTER_MAX: Duration = Duration::from_millis(250);
const JITTER_PER_MILLE: u32 = 25;
/// What can be used of a quota.
const USED_PERCENT: u128 = 96;
/// Cells of governor's that a request is, where so many are told apart by the clock: parts of a request are what τ is counted in.
const CELLS: u32 = 1_000;

type Limiter<C> = RateLimiter<NotKeyed, Arrival, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A decision for now, without any waiting.
pub(super) struct Budget<C: Clock> {
    clock: C,
    began: C::Instant,
    quotas: Vec<Kept<C>>,
    state: Mutex<State>,
}

/// A quota, and how it is kept.
struct Kept<C: Clock> {
    quota: Quota,
    limiter: Limiter<C>,
    arrival: Arrival,
    /// that a request is
    cells: NonZeroU32,
}

impl<C: Clock + Clone> Kept<C> {
    fn new(quota: Quota, clock: &C) -> Self {
        let (arrival, (gcra, cells)) = (Arrival::default(), gcra(quota));
        Self { quota, limiter: RateLimiter::new(gcra, arrival.clone(), clock.clone()), arrival, cells }
    }

    /// Takes one request, or says how long to wait.
    fn take(&self, now: C::Instant) -> Result<(), Duration> {
        match self.limiter.check_n(self.cells).expect("a burst is at least one request") {
            Ok(()) => Ok(()),
            Err(until) => Err(until.wait_time_from(now).max(Duration::from_nanos(1))),
        }
    }
}

/// What the server has a say in. Times are since the budget began.
#[derive(Debug, Default)]
struct State {
    hold_until: Duration,
    learned: Learned,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// this long, and why
    For(Duration, Cause),
    /// an answer to one of those in flight
    ForAnswer,
}

/// Why a request waits. `Display` is a fragment for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::remote) enum Cause {
    /// a quota of the provider's
    #[error("the quota of {} per {} is used up", .0.requests, humantime::format_duration(.0.per))]
    Quota(Quota),
    /// the server says so
    #[error("the server lets no more requests come for now")]
    Server,
}

impl<C: Clock + Clone> Budget<C> {
    pub fn new(quotas: &[Quota], clock: &C) -> Self {
        Self {
            quotas: quotas.iter().map(|quota| Kept::new(*quota, clock)).collect(),
            state: Mutex::default(),
            began: clock.now(),
            clock: clock.clone(),
        }
    }

    /// Takes one request from every quota, or from none and says what to wait for before asking again. `number` names the request from the
    /// first time that it goes; it goes again where a redirect leads it.
    pub fn take(&self, number: &mut Option<u64>) -> Result<(), Wait> {
        // the lock makes the decision over all of them one step
        let mut state = self.state();
        let (now, at) = (self.clock.now(), self.now());
        let mut wait = (state.hold_until.saturating_sub(at), Cause::Server);
        let mut for_answer = false;
        match state.learned.check(at) {
            Ok(()) => {}
            Err(Until::Time(until)) => wait.0 = wait.0.max(until.saturating_sub(at)),
            Err(Until::Answer) => for_answer = true,
        }
        let mut taken = Vec::with_capacity(self.quotas.len());
        for kept in &self.quotas {
            let before = kept.arrival.get();
            match kept.take(now) {
                Ok(()) => taken.push((&kept.arrival, before)),
                Err(time) if time > wait.0 => wait = (time, Cause::Quota(kept.quota)),
                Err(_) => {}
            }
        }
        if wait.0.is_zero() && !for_answer {
            *number = Some(state.learned.goes(*number));
            return Ok(());
        }
        for (arrival, before) in taken {
            arrival.set(before);
        }
        Err(if wait.0.is_zero() { Wait::ForAnswer } else { Wait::For(wait.0, wait.1) })
    }

    /// What an answer's headers say; it still counts as in flight.
    pub fn told(&self, number: u64, told: &Told) {
        let now = self.now();
        self.state().learned.told(number, told, now);
    }

    /// A request is not in flight any more.
    pub fn landed(&self) {
        self.state().learned.landed();
    }

    /// Lets no request go for this long. A longer pause already asked for stays.
    pub fn hold(&self, wait: Duration) {
        let until = self.now() + wait.min(limits::DURATION_MAX);
        let mut state = self.state();
        state.hold_until = state.hold_until.max(until);
    }

    fn now(&self) -> Duration {
        self.clock.now().duration_since(self.began).into()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quota's theoretical arrival time: governor's state, kept where a request that another quota turns away can be given back.
#[derive(Clone, Default)]
struct Arrival(Arc<Mutex<Option<Nanos>>>);

impl Arrival {
    fn get(&self) -> Option<Nanos> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, arrival: Option<Nanos>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = arrival;
    }
}

impl StateStore for Arrival {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut arrival = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, next) = decide(*arrival)?;
        *arrival = Some(next);
        Ok(answer)
    }
}

/// The quota for governor, and how many of its cells a request is.
fn gcra(quota: Quota) -> (Gcra, NonZeroU32) {
    let (requests, per) = (quota.requests.max(1), quota.per.min(PER_MAX));
    let jitter = (per / 1_000 * JITTER_PER_MILLE).min(JITTER_MAX).as_nanos();
    let spread = (per.as_nanos() * 100).div_ceil(USED_PERCENT).max(1);
    let early = spread - per.as_nanos() - jitter.min(spread - per.as_nanos());
    let interval = spread.div_ceil(u128::from(requests));
    let cells = if interval >= 1_000 * u128::from(CELLS) { CELLS } else { 1 };
    let cell = interval.div_ceil(u128::from(cells));
    let burst = u32::try_from(u128::from(cells) + early / cell).unwrap_or(u32::MAX);
    let cell = Duration::from_nanos(u64::try_from(cell).unwrap_or(u64::MAX));
    let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let quota = Gcra::with_period(cell).expect("the interval is at least 1 ns").allow_burst(at_least_one(burst));
    (quota, at_least_one(cells))
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn quota(requests: u32, per: Duration) -> Quota {
        Quota { requests, per }
    }

    /// Sends as fast as the budget lets it, with pauses of the client's own, and gives the time of each request in nanoseconds.
    fn sent(quotas: &[Quota], pauses: &[Duration], until: Duration) -> Vec<u64> {
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(quotas, &clock);
        let mut at = Vec::new();
        let mut pauses = pauses.iter();
        while clock.now() < Nanos::from(until) && at.len() < 5_000 {
            match budget.take(&mut None) {
                Ok(()) => {
                    at.push(clock.now().as_u64());
                    clock.advance(pauses.next().copied().unwrap_or_default());
                }
                Err(Wait::For(wait, _)) => clock.advance(wait),
                Err(Wait::ForAnswer) => panic!("nobody is asked"),
            }
        }
        at
    }

    fn most_in_any_window(at: &[u64], per: Duration) -> usize {
        let per = u64::try_from(per.as_nanos()).expect("fits");
        (0..at.len()).map(|first| at[first..].partition_point(|time| *time < at[first] + per)).max().unwrap_or(0)
    }

    fn any_quota() -> impl Strategy<Value = Quota> {
        (1_u32..400, 1_000_000_u64..100_000_000_000).prop_map(|(n, nanos)| quota(n, Duration::from_nanos(nanos)))
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_any_quota_allows(
            quotas in prop::collection::vec(any_quota(), 1..4),
            pauses in prop::collection::vec((0_u64..300_000_000_000).prop_map(Duration::from_nanos), 0..60),
        ) {
            let longest = quotas.iter().map(|quota| quota.per).max().expect("at least one");
            let at = sent(&quotas, &pauses, longest * 3 + pauses.iter().sum::<Duration>());
            for quota in &quotas {
                prop_assert!(most_in_any_window(&at, quota.per) <= quota.requests as usize, "{quota:?}");
            }
        }

        #[test]
        fn ninety_five_percent_of_a_quota_can_be_used(quota in any_quota()) {
            let at = sent(&[quota], &[], quota.per * 10);
            prop_assert!(at.len() as u64 * 100 >= u64::from(quota.requests) * 10 * 95, "{} of {quota:?}", at.len());
        }
    }

    fn take<C: Clock + Clone>(budget: &Budget<C>) -> Result<(), Duration> {
        match budget.take(&mut None) {
            Ok(()) => Ok(()),
            Err(Wait::For(wait, _)) => Err(wait),
            Err(Wait::ForAnswer) => panic!("nobody is asked"),
        }
    }

    #[test]
    fn a_request_that_one_quota_turns_away_costs_the_others_nothing() {
        let day = 24 * HOUR;
        let clock = FakeRelativeClock::default();
        let slow = quota(1, day);
        // a day and 4 %, less what may be too early
        let wait = day + JITTER_MAX;
        let budget = Budget::new(&[quota(60, Duration::from_secs(60)), slow], &clock);
        assert_eq!(take(&budget), Ok(()));
        for _ in 0..100 {
            let Err(Wait::For(asked, Cause::Quota(quota))) = budget.take(&mut None) else { panic!("it waits") };
            assert!(
                quota == slow && asked.abs_diff(wait) < Duration::from_secs(100),
                "{asked:?}: asking does not move it"
            );
        }
        clock.advance(wait + Duration::from_secs(100));
        assert_eq!(take(&budget), Ok(()));
    }

    #[test]
    fn a_turned_away_request_is_given_back() {
        let (slow, fast) = (quota(80, 80 * HOUR), quota(1, HOUR));
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(&[slow, fast], &clock);
        assert_eq!(take(&budget), Ok(()));
        // the first quota lets a request go three hours early: it must still have its second
        let wait = take(&budget).expect_err("the fast quota has one an hour");
        assert!(wait.abs_diff(HOUR) < Duration::from_secs(5), "{wait:?}");
        clock.advance(wait);
        assert_eq!(take(&budget), Ok(()));
    }

    #[test]
    fn the_numbers_at_the_edges_hold() {
        for quota in [
            quota(1, Duration::from_nanos(1)),
            quota(0, Duration::ZERO),
            quota(u32::MAX, Duration::from_nanos(1)),
            quota(1, Duration::MAX),
            quota(u32::MAX, Duration::MAX),
        ] {
            let clock = FakeRelativeClock::default();
            let budget = Budget::new(&[quota], &clock);
            assert_eq!(take(&budget), Ok(()));
            if let Err(wait) = take(&budget) {
                clock.advance(wait);
                assert_eq!(take(&budget), Ok(()), "{quota:?}");
            }
        }
    }

    #[test]
    fn a_hold_stops_all_and_only_ever_grows() {
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(&[], &clock);
        assert_eq!(take(&budget), Ok(()));
        budget.hold(Duration::from_secs(30));
        budget.hold(Duration::from_secs(10));
        assert_eq!(take(&budget), Err(Duration::from_secs(30)));
        clock.advance(Duration::from_secs(29));
        assert_eq!(take(&budget), Err(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(take(&budget), Ok(()));
        budget.hold(Duration::MAX);
        assert_eq!(take(&budget), Err(limits::DURATION_MAX));
    }

    #[test]
    fn what_the_server_says_and_the_quotas_hold_at_once() {
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(&[quota(1, Duration::from_secs(100))], &clock);
        let mut number = None;
        assert_eq!(budget.take(&mut number), Ok(()));
        let reset = Some(Duration::from_secs(10));
        budget.told(number.expect("it went"), &Told { remaining: Some(0), reset, ..Told::default() });
        budget.landed();
        let wait = take(&budget).expect_err("of the quota");
        assert!(wait > Duration::from_secs(100));
        let learned = Budget::new(&[], &clock);
        assert_eq!(learned.take(&mut number), Ok(()));
        learned.told(0, &Told { remaining: Some(0), reset, ..Told::default() });
        learned.landed();
        assert_eq!(learned.take(&mut None), Err(Wait::For(Duration::from_secs(10), Cause::Server)));
        clock.advance(Duration::from_secs(10));
        assert_eq!(take(&learned), Ok(()));
    }

    #[test]
    fn what_only_an_answer_can_tell_is_waited_for() {
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(&[], &clock);
        assert_eq!(budget.take(&mut None), Ok(()));
        let told = Told { remaining: Some(0), limit: Some(1), reset: Some(Duration::from_secs(10)), relative: true };
        budget.told(0, &told);
        budget.landed();
        clock.advance(Duration::from_secs(10));
        assert_eq!(budget.take(&mut None), Ok(()));
        assert_eq!(budget.take(&mut None), Err(Wait::ForAnswer));
        budget.landed();
        assert_eq!(budget.take(&mut None), Ok(()));
    }
}
