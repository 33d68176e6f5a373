//! What a server has said of its own budget: how many requests may still go before the stretch ends. Pure: the time is an argument.
//!
//! ```text
//!   nothing said ──remaining, reset──▶ stretch: at most `left` until `until` ──reset passes──▶ `limit` more, until an answer says better
//! ```

use std::time::Duration;

use super::told::Told;

/// Ends of a stretch that are this close are the same one: they are told in whole seconds, and by answers that are as late as they are.
const SLACK: Duration = Duration::from_secs(2);

/// The requests of a connection, counted as its server counts them. Times are since the connection's budget began.
#[derive(Debug, Default)]
pub(super) struct Learned {
    stretch: Option<Stretch>,
    /// the size of a stretch, as the server said it last
    limit: Option<u64>,
    /// requests sent
    sent: u64,
    /// those of them that have no answer yet
    in_flight: u64,
}

#[derive(Debug)]
struct Stretch {
    /// requests that may still be sent
    left: u64,
    /// the least that an answer said was left: right once nothing is in flight
    least: u64,
    /// when it ends; none = no answer has said it yet
    until: Option<Duration>,
    /// when it ends as it was said first
    said: Option<Duration>,
    /// requests sent before it was known
    sent: u64,
}

/// What has to come before a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// this time
    Time(Duration),
    /// an answer to one of the requests in flight
    Answer,
}

impl Learned {
    /// Whether a request may go now; else what it waits for.
    pub fn check(&mut self, now: Duration) -> Result<(), Until> {
        self.pass(now);
        match &self.stretch {
            Some(Stretch { left: 0, until: Some(until), .. }) => Err(Until::Time(*until)),
            // answers that say nothing of it any more
            Some(Stretch { left: 0, until: None, .. }) if self.in_flight == 0 => {
                self.stretch = None;
                Ok(())
            }
            Some(Stretch { left: 0, until: None, .. }) => Err(Until::Answer),
            Some(_) | None => Ok(()),
        }
    }

    /// A request goes; gives its number. One that goes on elsewhere after a redirect has one.
    pub fn goes(&mut self, number: Option<u64>) -> u64 {
        if let Some(stretch) = &mut self.stretch {
            stretch.left = stretch.left.saturating_sub(1);
        }
        number.unwrap_or_else(|| {
            self.in_flight += 1;
            self.sent += 1;
            self.sent - 1
        })
    }

    /// A request is answered, or never will be.
    pub fn landed(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// What the answer to a request says, which counts as in flight until it has landed.
    ///
    /// Of what was left then, the others in flight may have taken their part since. Within a stretch the least that follows from any answer
    /// holds, because answers overtake each other; once nothing is in flight, what the last of them said is all there is.
    pub fn told(&mut self, number: u64, told: &Told, now: Duration) {
        self.pass(now);
        self.limit = told.limit.or(self.limit);
        let Told { remaining: Some(remaining), limit: _, reset, relative } = *told else { return };
        let others = self.in_flight.saturating_sub(1);
        let left = remaining.saturating_sub(others);
        let until = reset.map(|reset| now.saturating_add(reset));
        let fresh = Stretch { left, least: remaining, until, said: until, sent: self.sent };
        if until.is_some_and(|until| until <= now) {
            // it was over when that came, and all that is known of the one that has begun is its size
            let is_told = self.stretch.as_ref().is_some_and(|known| known.until.is_some() || others > 0);
            if !is_told {
                self.begin(others);
            }
            return;
        }
        let Some(known) = &mut self.stretch else {
            self.stretch = until.map(|_| fresh);
            return;
        };
        // sent when the stretch was known: what it says is newer
        let newer = number >= known.sent;
        match (known.said, until) {
            (_, None) => known.lower(left, remaining, others),
            (Some(said), Some(until)) if said.abs_diff(until) <= SLACK => {
                known.until = known.until.max(Some(until));
                known.lower(left, remaining, others);
            }
            (Some(said), Some(until)) if newer || !relative && until > said => self.stretch = Some(fresh),
            // late, and from this stretch or the one before
            (Some(said), Some(until)) if until > said => known.lower(left, remaining, others),
            (None, Some(_)) if newer => self.stretch = Some(fresh),
            (Some(_) | None, Some(_)) => {}
        }
    }

    /// The stretch is over: another one begins, in which those in flight may count.
    fn pass(&mut self, now: Duration) {
        if self.stretch.as_ref().and_then(|stretch| stretch.until).is_some_and(|until| until <= now) {
            self.begin(self.in_flight);
        }
    }

    /// A stretch of which no answer has told yet, and in which so many may count that were sent before.
    fn begin(&mut self, before: u64) {
        self.stretch = self.limit.map(|limit| Stretch {
            left: limit.saturating_sub(before),
            least: limit,
            until: None,
            said: None,
            sent: self.sent,
        });
    }
}

impl Stretch {
    fn lower(&mut self, left: u64, remaining: u64, others: u64) {
        self.least = self.least.min(remaining);
        self.left = if others == 0 { self.least } else { self.left.min(left) };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn says(remaining: u64, reset: Duration) -> Told {
        Told { remaining: Some(remaining), limit: None, reset: Some(reset), relative: false }
    }

    fn go(learned: &mut Learned, now: Duration) -> Option<u64> {
        learned.check(now).ok().map(|()| learned.goes(None))
    }

    #[test]
    fn no_more_go_than_are_left_less_those_in_flight() {
        let mut learned = Learned::default();
        let numbers: Vec<u64> = (0..3).filter_map(|_| go(&mut learned, s(0))).collect();
        learned.told(numbers[0], &says(5, s(60)), s(1));
        learned.landed();
        // two of the five are under way
        assert_eq!((0..9).filter_map(|_| go(&mut learned, s(2))).count(), 3);
        assert_eq!(learned.check(s(2)), Err(Until::Time(s(61))));
        assert_eq!(learned.check(s(61)), Ok(()));
    }

    #[test]
    fn once_nothing_is_in_flight_the_least_that_was_said_is_what_is_left() {
        let mut learned = Learned::default();
        let numbers: Vec<u64> = (0..4).filter_map(|_| go(&mut learned, s(0))).collect();
        // the server had counted all four before it answered the first
        for number in numbers {
            learned.told(number, &says(3, s(60)), s(1));
            learned.landed();
        }
        assert_eq!((0..9).filter_map(|_| go(&mut learned, s(2))).count(), 3);
    }

    #[test]
    fn nothing_left_holds_until_the_reset_and_then_the_limit_counts() {
        let mut learned = Learned::default();
        let number = go(&mut learned, s(0)).expect("the first");
        learned.told(number, &Told { limit: Some(2), ..says(0, s(10)) }, s(0));
        learned.landed();
        assert_eq!(learned.check(s(9)), Err(Until::Time(s(10))));
        let (one, two) = (go(&mut learned, s(10)), go(&mut learned, s(10)));
        assert!(one.is_some() && two.is_some());
        assert_eq!(learned.check(s(10)), Err(Until::Answer));
        learned.told(two.expect("went"), &says(0, s(10)), s(11));
        learned.landed();
        assert_eq!(learned.check(s(12)), Err(Until::Time(s(21))));
    }

    #[test]
    fn answers_that_say_nothing_any_more_hold_nothing_up() {
        let mut learned = Learned::default();
        let number = go(&mut learned, s(0)).expect("the first");
        learned.told(number, &Told { limit: Some(1), ..says(0, s(10)) }, s(0));
        learned.landed();
        let number = go(&mut learned, s(10)).expect("the limit");
        assert_eq!(learned.check(s(10)), Err(Until::Answer));
        learned.told(number, &Told::default(), s(11));
        learned.landed();
        assert_eq!(learned.check(s(11)), Ok(()));
    }

    #[test]
    fn a_stretch_that_was_over_when_it_was_told_of_holds_nothing_up() {
        let mut learned = Learned::default();
        let number = go(&mut learned, s(0)).expect("the first");
        learned.told(number, &says(0, Duration::ZERO), s(1));
        assert_eq!(learned.check(s(1)), Ok(()));
    }

    #[test]
    fn a_server_that_refills_as_it_goes_is_followed() {
        // at most 10 in any 60 seconds, told as if each moment were the end of one stretch: one request each 6 seconds is always fine
        let mut learned = Learned::default();
        for turn in 0..100 {
            let now = s(turn * 6);
            let number = go(&mut learned, now).expect("there is always one left");
            learned.told(number, &says(1, s(60)), now);
            learned.landed();
        }
    }

    /// A server with stretches of one length: of each request when it comes, and when its answer is back.
    struct Server {
        limit: u64,
        length: Duration,
        came: BTreeMap<u128, u64>,
    }

    impl Server {
        /// Counts a request; gives what it answers, or none for a refusal.
        fn comes(&mut self, at: Duration) -> Option<Told> {
            let stretch = at.as_nanos() / self.length.as_nanos();
            let count = self.came.entry(stretch).or_default();
            *count += 1;
            let left = self.limit.checked_sub(*count)?;
            let end = self.length * u32::try_from(stretch + 1).expect("few");
            Some(Told { remaining: Some(left), limit: Some(self.limit), reset: Some(end - at), relative: false })
        }
    }

    proptest! {
        /// Many in flight, each as slow as it likes there and back within a stretch: once an answer has told of the budget, no request that is sent is one
        /// too many.
        #[test]
        fn what_is_sent_is_never_more_than_the_server_said_was_left(
            limit in 1_u64..60,
            length in 2_000_u64..20_000,
            places in 1_usize..12,
            delays in prop::collection::vec((1_u64..900, 1_u64..900), 40..200),
        ) {
            let mut server = Server { limit, length: Duration::from_millis(length), came: BTreeMap::new() };
            let mut learned = Learned::default();
            let (mut now, mut known, mut refused, mut sent) = (Duration::ZERO, false, 0, 0);
            // arrivals and answers to come, by time
            let mut coming: Vec<(Duration, u64, Duration, bool)> = Vec::new();
            let mut answers: Vec<(Duration, u64, Option<Told>, Duration)> = Vec::new();
            let mut delays = delays.into_iter().peekable();
            loop {
                while delays.peek().is_some() && coming.len() + answers.len() < places && learned.check(now).is_ok() {
                    let (there, back) = delays.next().expect("peeked");
                    let number = learned.goes(None);
                    sent += 1;
                    let there = now + Duration::from_millis(there);
                    coming.push((there, number, there + Duration::from_millis(back), known));
                }
                let first_come = coming.iter().enumerate().min_by_key(|(_, one)| one.0).map(|(at, one)| (one.0, at));
                let first_answer = answers.iter().enumerate().min_by_key(|(_, one)| one.0).map(|(at, one)| (one.0, at));
                match (first_come, first_answer) {
                    (Some((time, at)), answer) if answer.is_none_or(|(answered, _)| time <= answered) => {
                        now = time;
                        let (_, number, back, informed) = coming.remove(at);
                        let told = server.comes(now);
                        refused += u64::from(told.is_none() && informed);
                        answers.push((back, number, told, now));
                    }
                    (_, Some((time, at))) => {
                        now = time;
                        let (_, number, told, said_at) = answers.remove(at);
                        if let Some(told) = told {
                            // the end of the stretch is told by the clock
                            let reset = told.reset.map(|reset| (said_at + reset).saturating_sub(now));
                            learned.told(number, &Told { reset, ..told }, now);
                            known = true;
                        }
                        learned.landed();
                    }
                    (_, None) => match learned.check(now) {
                        _ if delays.peek().is_none() => break,
                        Err(Until::Time(until)) => now = until,
                        Err(Until::Answer) => prop_assert!(false, "it waits for an answer, and none will come"),
                        Ok(()) => {}
                    },
                }
            }
            prop_assert_eq!(refused, 0, "of {}", sent);
        }
    }
}
