//! The requests in flight at once: fewer after a server had too many, slowly more again (additive increase, multiplicative decrease).

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Places for requests in flight, first come, first served.
///
/// A [`Semaphore`] cannot take back what is in use, so a place that is to go is a debt, which the next one that is left pays.
pub(super) struct Places {
    free: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// places that there are to be, 1 or more
    size: usize,
    /// places that the plan allows
    most: usize,
    /// places in use that go when they are left
    debt: usize,
    /// times that there were made fewer
    generation: u64,
    /// answers since there was made another one, of requests sent since there were made fewer
    successes: usize,
}

/// A place that is taken, until it is dropped.
pub(super) struct Seat<'p> {
    places: &'p Places,
    permit: Option<SemaphorePermit<'p>>,
    generation: u64,
}

impl Places {
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let state = State { size: most, most, debt: 0, generation: 0, successes: 0 };
        Self { free: Semaphore::new(most), state: Mutex::new(state) }
    }

    /// A place, once one is free.
    pub async fn enter(&self) -> Seat<'_> {
        let permit = self.free.acquire().await.expect("the semaphore is never closed");
        Seat { places: self, permit: Some(permit), generation: self.state().generation }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat<'_> {
    /// The request is sent now.
    pub fn begin(&mut self) {
        self.generation = self.places.state().generation;
    }

    /// The server had too many requests: half the places stay. The refusals of all that were in flight then are one.
    pub fn refused(&self) {
        let mut state = self.places.state();
        if state.generation != self.generation {
            return;
        }
        let size = (state.size / 2).max(1);
        let fewer = state.size - size;
        let gone = self.places.free.forget_permits(fewer);
        *state =
            State { size, debt: state.debt + fewer - gone, generation: state.generation + 1, successes: 0, ..*state };
    }

    /// The server had room. As many answers as there are places make one more.
    pub fn succeeded(&self) {
        let mut state = self.places.state();
        if state.size >= state.most || state.generation != self.generation {
            return;
        }
        state.successes += 1;
        if state.successes >= state.size {
            (state.size, state.successes) = (state.size + 1, 0);
            match state.debt.checked_sub(1) {
                Some(debt) => state.debt = debt,
                None => self.places.free.add_permits(1),
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.places.state();
        if let (Some(debt), Some(permit)) = (state.debt.checked_sub(1), self.permit.take()) {
            permit.forget();
            state.debt = debt;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    fn now<'p>(places: &'p Places) -> Option<Seat<'p>> {
        match pin!(places.enter()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(seat) => Some(seat),
            Poll::Pending => None,
        }
    }

    fn all(places: &Places) -> Vec<Seat<'_>> {
        std::iter::from_fn(|| now(places)).collect()
    }

    #[test]
    fn a_burst_of_refusals_halves_once_and_as_many_answers_as_places_make_one_more() {
        let places = Places::new(8);
        let seats = all(&places);
        assert_eq!(seats.len(), 8);
        seats.iter().for_each(Seat::refused);
        drop(seats);
        let seats = all(&places);
        assert_eq!(seats.len(), 4);
        seats.iter().take(3).for_each(Seat::succeeded);
        assert!(now(&places).is_none());
        seats[3].succeeded();
        assert!(now(&places).is_some(), "the fifth");
        drop(seats);
        assert_eq!(all(&places).len(), 5);
    }

    #[test]
    fn one_place_stays_whatever_happens_and_no_more_than_the_plan_allows_come_back() {
        let places = Places::new(5);
        for _ in 0..10 {
            now(&places).expect("a place").refused();
        }
        assert_eq!(all(&places).len(), 1);
        for _ in 0..100 {
            now(&places).expect("a place").succeeded();
        }
        assert_eq!(all(&places).len(), 5);
    }

    #[test]
    fn a_place_in_use_goes_when_it_is_left_and_those_who_wait_come_in_turn() {
        let places = Places::new(4);
        let mut seats = all(&places);
        seats[0].refused();
        let (mut first, mut second) = (Box::pin(places.enter()), Box::pin(places.enter()));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(cx).is_pending() && second.as_mut().poll(cx).is_pending());
        seats.truncate(2);
        assert!(first.as_mut().poll(cx).is_pending(), "two are left, which is as many as there are");
        seats.pop();
        assert!(second.as_mut().poll(cx).is_pending(), "it is not its turn");
        let Poll::Ready(seat) = first.as_mut().poll(cx) else { panic!("its turn") };
        drop(seat);
        // one that has its place and goes away gives it back
        drop(second);
        assert_eq!(all(&places).len(), 1);
    }

    #[derive(Debug, Clone)]
    enum Act {
        Enter,
        Leave,
        Refuse,
        Succeed,
        /// waits for a place and goes away
        GiveUp,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![4 => Just(Act::Enter), 2 => Just(Act::Leave), 1 => Just(Act::Refuse), 4 => Just(Act::Succeed), 1 => Just(Act::GiveUp)]
    }

    proptest! {
        #[test]
        fn no_place_is_lost_or_made_up(most in 1_usize..20, acts in prop::collection::vec(act(), 0..200)) {
            let places = Places::new(most);
            let mut seats: VecDeque<Seat<'_>> = VecDeque::new();
            for act in acts {
                match act {
                    Act::Enter => {
                        let (used, size) = (seats.len(), places.state().size);
                        let seat = now(&places);
                        prop_assert_eq!(seat.is_some(), used < size, "{} of {} in use", used, size);
                        seats.extend(seat);
                    }
                    Act::Leave => drop(seats.pop_front()),
                    Act::Refuse => {
                        if let Some(seat) = seats.pop_front() { seat.refused() }
                    }
                    Act::Succeed => {
                        if let Some(seat) = seats.pop_front() { seat.succeeded() }
                    }
                    Act::GiveUp => {
                        let mut waiting = Box::pin(places.enter());
                        let _ = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                        if !seats.is_empty() { seats.pop_back(); }
                        drop(waiting);
                    }
                }
                let state = places.state();
                prop_assert!((1..=most).contains(&state.size));
                prop_assert_eq!(seats.len() + places.free.available_permits(), state.size + state.debt);
            }
            drop(seats);
            let size = places.state().size;
            prop_assert_eq!(all(&places).len(), size);
        }
    }
}
