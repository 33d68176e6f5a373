//! What follows an attempt to tell an application something.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::plan::limits;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// nothing: it has arrived
    Delivered,
    /// it is tried again then
    Again(DateTime<Utc>),
    /// it is not tried again
    GivenUp,
    /// nothing is to be sent there any more
    Gone,
}

/// What follows the attempt `attempt`, counted from 1, that was answered with `status`, or not at all. `asked` is how long the endpoint asks
/// to be left alone. `random` is uniform over all `u64`: attempts of many do not come together.
///
/// What may pass is tried again for about a day, what is refused a few times only.
pub fn fate(attempt: u32, status: Option<u16>, asked: Option<Duration>, now: DateTime<Utc>, random: u64) -> Fate {
    let may_pass = match status {
        Some(200..=299) => return Fate::Delivered,
        Some(410) => return Fate::Gone,
        Some(408 | 425 | 429 | 500..=599) | None => true,
        Some(_) => false,
    };
    let nth = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(wait) = limits::NOTIFY_RETRIES.get(nth).filter(|_| may_pass || attempt < limits::NOTIFY_REFUSED_ATTEMPTS)
    else {
        return Fate::GivenUp;
    };
    // up to a fifth longer
    let jitter = wait.mul_f64((random % 1_000) as f64 / 5_000.0);
    let asked = asked.unwrap_or_default().min(limits::NOTIFY_WAIT_MAX);
    Fate::Again(now + (*wait + jitter).max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(attempt: u32, status: Option<u16>, asked: u64, random: u64) -> Option<u64> {
        let now = DateTime::UNIX_EPOCH;
        let asked = (asked > 0).then(|| Duration::from_secs(asked));
        match fate(attempt, status, asked, now, random) {
            Fate::Again(at) => Some((at - now).num_seconds().cast_unsigned()),
            Fate::Delivered | Fate::GivenUp | Fate::Gone => None,
        }
    }

    #[test]
    fn what_may_pass_is_tried_for_a_day_and_what_is_refused_a_few_times() {
        for status in [None, Some(500), Some(503), Some(429), Some(408)] {
            let waits: Vec<_> = (1..=10).map(|attempt| wait(attempt, status, 0, 0)).collect();
            let seconds: u64 = waits.iter().map(|wait| wait.expect("tried again")).sum();
            assert!((20 * 3600..30 * 3600).contains(&seconds), "{seconds}");
            assert_eq!(fate(11, status, None, DateTime::UNIX_EPOCH, 0), Fate::GivenUp);
        }
        for status in [400, 401, 404, 301] {
            assert_eq!([1, 2, 3].map(|attempt| wait(attempt, Some(status), 0, 0)), [Some(2), Some(30), None]);
        }
        assert_eq!(fate(1, Some(204), None, DateTime::UNIX_EPOCH, 0), Fate::Delivered);
        assert_eq!(fate(1, Some(410), None, DateTime::UNIX_EPOCH, 0), Fate::Gone);
        assert_eq!(fate(u32::MAX, None, None, DateTime::UNIX_EPOCH, 0), Fate::GivenUp);
    }

    #[test]
    fn the_wait_is_what_the_endpoint_asks_for_and_never_the_same() {
        assert_eq!(wait(1, Some(429), 90, 0), Some(90));
        assert_eq!(wait(4, Some(429), 90, 0), Some(600), "what is asked for is the least");
        assert_eq!(wait(1, Some(503), u64::MAX, 0), Some(24 * 3600), "not for ever");
        assert_eq!(wait(4, None, 0, 999), Some(719));
    }
}
