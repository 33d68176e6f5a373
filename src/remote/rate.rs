//! One budget per connection: its quotas, its requests in flight, and the pauses its server asks for.
//!
//! A quota of N per T is kept by a GCRA (governor) with a burst of b = max(1, ⌊N/20⌋) and one further request each T/(N-b+1), rounded up.
//! Any half-open stretch of length T then holds at most b + (N-b) = N requests, while at least 95 % of N can be used. (A burst of N,
//! the usual choice, lets nearly 2N through: N saved up and N earned meanwhile.)

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota as Gcra, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::plan::{Quota, RatePlan, limits};

/// Longer stretches than a century are read as one, so that no sum overflows.
const PER_MAX: Duration = Duration::from_hours(100 * 366 * 24);

/// The shared budget of a connection.
pub(super) struct Rate {
    budget: Budget<MonotonicClock>,
    in_flight: Semaphore,
    /// first come, first served: only one request at a time waits for the budget, the others wait for it
    gate: tokio::sync::Mutex<()>,
}

impl Rate {
    pub fn new(plan: &RatePlan) -> Self {
        Self {
            budget: Budget::new(&plan.quotas, &MonotonicClock),
            in_flight: Semaphore::new(plan.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            gate: tokio::sync::Mutex::new(()),
        }
    }

    /// A place among the requests in flight, until the permit is dropped.
    pub async fn enter(&self) -> SemaphorePermit<'_> {
        self.in_flight.acquire().await.expect("the semaphore is never closed")
    }

    /// Waits until a request may be sent, and counts it as sent.
    pub async fn ready(&self) {
        let _turn = self.gate.lock().await;
        while let Err(wait) = self.budget.take() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Lets no request go for this long, at most [`limits::RETRY_AFTER_MAX`]. A longer pause already asked for stays.
    pub fn hold(&self, wait: Duration) {
        self.budget.hold(wait);
    }
}

type Limiter<C> = RateLimiter<NotKeyed, Arrival, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The quotas and the pause, without any waiting: a decision for now.
struct Budget<C: Clock> {
    clock: C,
    quotas: Vec<(Limiter<C>, Arrival)>,
    hold_until: Mutex<Option<C::Instant>>,
}

impl<C: Clock + Clone> Budget<C> {
    fn new(quotas: &[Quota], clock: &C) -> Self {
        let limiter = |quota: &Quota| {
            let arrival = Arrival::default();
            (RateLimiter::new(gcra(*quota), arrival.clone(), clock.clone()), arrival)
        };
        Self { quotas: quotas.iter().map(limiter).collect(), hold_until: Mutex::new(None), clock: clock.clone() }
    }

    /// Takes one request from every quota, or from none and says how long to wait before asking again.
    fn take(&self) -> Result<(), Duration> {
        // the lock makes the decision over all the quotas one step
        let hold_until = self.hold_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let mut wait = hold_until.map_or(Duration::ZERO, |until| until.duration_since(now).into());
        let mut taken = Vec::with_capacity(self.quotas.len());
        for (limiter, arrival) in &self.quotas {
            let before = arrival.get();
            match limiter.check() {
                Ok(()) => taken.push((arrival, before)),
                Err(until) => wait = wait.max(until.wait_time_from(now)).max(Duration::from_nanos(1)),
            }
        }
        if wait.is_zero() {
            return Ok(());
        }
        for (arrival, before) in taken {
            arrival.set(before);
        }
        Err(wait)
    }

    fn hold(&self, wait: Duration) {
        let until = self.clock.now() + Nanos::from(wait.min(limits::RETRY_AFTER_MAX));
        let mut hold_until = self.hold_until.lock().unwrap_or_else(PoisonError::into_inner);
        *hold_until = Some(hold_until.map_or(until, |earlier| earlier.max(until)));
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

fn gcra(quota: Quota) -> Gcra {
    let requests = quota.requests.max(1);
    let burst = NonZeroU32::new(requests / 20).unwrap_or(NonZeroU32::MIN);
    let steps = u128::from(requests - burst.get() + 1);
    let nanos = quota.per.min(PER_MAX).as_nanos().div_ceil(steps).max(1);
    let interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    Gcra::with_period(interval).expect("the interval is at least 1 ns").allow_burst(burst)
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
            match budget.take() {
                Ok(()) => {
                    at.push(clock.now().as_u64());
                    clock.advance(pauses.next().copied().unwrap_or_default());
                }
                Err(wait) => clock.advance(wait),
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

    #[test]
    fn a_request_that_one_quota_turns_away_costs_the_others_nothing() {
        let day = 24 * HOUR;
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(&[quota(60, Duration::from_secs(60)), quota(1, day)], &clock);
        assert_eq!(budget.take(), Ok(()));
        for _ in 0..100 {
            assert_eq!(budget.take(), Err(day), "the wait is for the slow quota, and asking does not move it");
        }
        clock.advance(day);
        assert_eq!(budget.take(), Ok(()));
    }

    #[test]
    fn a_turned_away_request_is_given_back() {
        let (slow, fast) = (quota(40, 40 * HOUR), quota(1, HOUR));
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(&[slow, fast], &clock);
        assert_eq!(budget.take(), Ok(()));
        // the first quota has a burst of 2, and one more in a bit over an hour: it must still have its second
        assert_eq!(budget.take(), Err(HOUR));
        clock.advance(HOUR);
        assert_eq!(budget.take(), Ok(()));
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
            assert_eq!(budget.take(), Ok(()));
            if let Err(wait) = budget.take() {
                clock.advance(wait);
                assert_eq!(budget.take(), Ok(()), "{quota:?}");
            }
        }
    }

    #[test]
    fn a_hold_stops_all_and_only_ever_grows() {
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(&[], &clock);
        assert_eq!(budget.take(), Ok(()));
        budget.hold(Duration::from_secs(30));
        budget.hold(Duration::from_secs(10));
        assert_eq!(budget.take(), Err(Duration::from_secs(30)));
        clock.advance(Duration::from_secs(29));
        assert_eq!(budget.take(), Err(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(budget.take(), Ok(()));
        budget.hold(Duration::MAX);
        assert_eq!(budget.take(), Err(limits::RETRY_AFTER_MAX));
    }
}
