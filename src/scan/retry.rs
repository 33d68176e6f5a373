//! Whether a failed request is tried again, and when. Pure: the time and the random number are arguments.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::plan::RetryPlan;

/// How one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// the server answered with a status that is no success
    Status {
        /// the HTTP status
        status: u16,
        /// `Retry-After`
        retry_after: Option<String>,
        /// `X-RateLimit-Remaining`
        rate_remaining: Option<String>,
        /// `X-RateLimit-Reset`, in seconds since 1970
        rate_reset: Option<String>,
        /// `Date`: the server's clock, against which its other times are read
        date: Option<String>,
        /// how long the headers of the provider's budget (`rate_limit.headers`) say that nothing is left
        used_up_for: Option<Duration>,
        /// how long the body says to wait, where a rule of `errors` finds it there (`wait`)
        told: Option<Duration>,
    },
    /// there was no whole answer
    Transport {
        /// it may work when tried again
        temporary: bool,
        /// the server may have got the request
        sent: bool,
    },
}

/// An attempt that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// counts from 1
    pub number: u32,
    /// the request may be sent again though the server may have done what it asks
    pub repeatable: bool,
    /// a rule of `errors` says that it is tried again
    pub wanted: bool,
}

/// What to do about a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// try again after this long
    Wait(Duration),
    /// the server wants a longer pause than a run makes: nothing of the connection is sent before
    Park(Duration),
    /// the request has failed
    GiveUp(GiveUpReason),
}

/// Why a request is not tried again. `Display` is a fragment for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GiveUpReason {
    /// trying again would change nothing
    #[error("not tried again, it would fail the same way")]
    NotRetryable,
    /// the plan allows no further attempt
    #[error("still failing after {attempts} {}", if *attempts == 1 { "attempt" } else { "attempts" })]
    AttemptsUsed {
        /// attempts made
        attempts: u32,
    },
    /// it changes something, and may have been done
    #[error("not tried again, because the API may have done it")]
    NotRepeatable,
}

impl Failure {
    /// A failure from an answer: its status, and a look-up of headers by lowercase name.
    pub fn from_answer<'a>(status: u16, header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let owned = |name: &str| header(name).map(|value| value.trim().to_owned());
        Self::Status {
            status,
            retry_after: owned("retry-after"),
            rate_remaining: owned("x-ratelimit-remaining"),
            rate_reset: owned("x-ratelimit-reset"),
            date: owned("date"),
            used_up_for: None,
            told: None,
        }
    }

    /// The same, where the body tells how long to wait.
    #[must_use]
    pub fn telling(mut self, wait: Option<Duration>) -> Self {
        if let Self::Status { told, .. } = &mut self {
            *told = wait;
        }
        self
    }

    /// The same, where the headers of the provider's budget say that nothing is left for so long.
    #[must_use]
    pub fn limited(mut self, by_headers: Option<Duration>) -> Self {
        if let Self::Status { used_up_for, .. } = &mut self {
            *used_up_for = by_headers;
        }
        self
    }

    /// How long the server asks to wait, from `now`: `Retry-After` in either form of RFC 9110, 10.2.3, else what the
    /// body tells, else the end of a used-up rate limit (on 403 and 429: what the provider's headers say, or `X-RateLimit-Remaining: 0` with `X-RateLimit-Reset`). `None` when it does
    /// not say, says something unreadable, or names a moment that has passed.
    ///
    /// Such a wait concerns all requests of the account, not only this one.
    pub fn wait_asked(&self, now: DateTime<Utc>) -> Option<Duration> {
        let Self::Status { status, retry_after, rate_reset, date, used_up_for, told, .. } = self else { return None };
        let server_now = date.as_deref().and_then(http_date).unwrap_or(now);
        let until = |at: DateTime<Utc>| at.signed_duration_since(server_now).to_std().ok();
        let wait = match retry_after.as_deref() {
            Some(text) => seconds(text).or_else(|| until(http_date(text)?)),
            None => None,
        };
        let wait = wait.or(*told).or(used_up_for.filter(|_| matches!(status, 403 | 429))).or_else(|| {
            let at = seconds(rate_reset.as_deref().filter(|_| self.is_rate_limit_used_up())?)?;
            until(DateTime::from_timestamp(i64::try_from(at.as_secs()).ok()?, 0)?)
        });
        wait.filter(|wait| !wait.is_zero())
    }

    fn is_rate_limit_used_up(&self) -> bool {
        matches!(self, Self::Status { status: 403 | 429, rate_remaining: Some(left), .. } if left == "0")
    }

    fn is_retryable(&self, plan: &RetryPlan) -> bool {
        match self {
            Self::Transport { temporary, .. } => *temporary,
            Self::Status { status, retry_after, rate_reset, used_up_for, .. } => {
                // 403 is how GitHub and others say "too many": with the time to come back, never without
                let limited = *status == 403 && (retry_after.is_some() || used_up_for.is_some())
                    || self.is_rate_limit_used_up() && rate_reset.is_some();
                plan.statuses.contains(status) || limited
            }
        }
    }

    /// Whether the server surely has not done what was asked: it never got the request, or had no room for it.
    fn is_unprocessed(&self) -> bool {
        match self {
            Self::Transport { sent, .. } => !sent,
            Self::Status { status, retry_after, .. } => *status == 429 || *status == 503 && retry_after.is_some(),
        }
    }
}

/// Decides what follows an attempt that has just failed. `random` is uniform over all `u64`.
///
/// The wait is what the server asks for, else exponential backoff with full jitter: uniform below
/// `min(backoff_max, backoff_base * 2^(attempt - 1))`. A server that asks for more than `wait_max` is not waited for.
pub fn decide(
    plan: &RetryPlan,
    wait_max: Duration,
    attempt: Attempt,
    failure: &Failure,
    now: DateTime<Utc>,
    random: u64,
) -> Decision {
    let Attempt { number, repeatable, wanted } = attempt;
    if !wanted && !failure.is_retryable(plan) {
        return Decision::GiveUp(GiveUpReason::NotRetryable);
    }
    if !repeatable && !failure.is_unprocessed() {
        return Decision::GiveUp(GiveUpReason::NotRepeatable);
    }
    let asked = failure.wait_asked(now);
    if let Some(wait) = asked.filter(|wait| *wait > wait_max) {
        return Decision::Park(wait);
    }
    if number >= plan.attempts {
        return Decision::GiveUp(GiveUpReason::AttemptsUsed { attempts: number });
    }
    Decision::Wait(asked.unwrap_or_else(|| backoff(plan, number, random)))
}

/// The moment so long after another; the last there is where that is later.
pub fn after(wait: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
    let at = TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait));
    at.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn backoff(plan: &RetryPlan, attempt: u32, random: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let ceiling = plan.backoff_base.saturating_mul(1 << doublings).min(plan.backoff_max);
    let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
    let below = (u128::from(nanos) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(below).unwrap_or(nanos))
}

/// Whole seconds; a fraction, which some servers send, is rounded up.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().unwrap_or(u64::MAX);
    Some(Duration::from_secs(whole.saturating_add(u64::from(fraction.bytes().any(|digit| digit != b'0')))))
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text).ok().map(DateTime::<Utc>::from)
}

#[cfg(test)]
mod tests;
