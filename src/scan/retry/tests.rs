use proptest::prelude::*;

use super::*;
use crate::plan::limits;

fn plan() -> RetryPlan {
    RetryPlan {
        attempts: 10,
        statuses: vec![408, 425, 429, 500, 502, 503, 504],
        backoff_base: Duration::from_secs(1),
        backoff_max: Duration::from_secs(300),
    }
}

fn now() -> DateTime<Utc> {
    http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("the example of RFC 9110, 5.6.7")
}

type Headers = &'static [(&'static str, &'static str)];

fn answer(status: u16, headers: Headers) -> Failure {
    Failure::from_answer(status, |name| headers.iter().find(|(header, _)| *header == name).map(|(_, value)| *value))
}

const HIGHEST: u64 = u64::MAX;

fn decided(status: u16, headers: Headers) -> Decision {
    decided_at(1, &answer(status, headers), HIGHEST)
}

const WAIT_MAX: Duration = Duration::from_secs(900);

fn nth(number: u32) -> Attempt {
    Attempt { number, repeatable: true, wanted: false }
}

fn decided_at(number: u32, failure: &Failure, random: u64) -> Decision {
    decide(&plan(), WAIT_MAX, nth(number), failure, now(), random)
}

fn wait(seconds: u64) -> Decision {
    Decision::Wait(Duration::from_secs(seconds))
}

#[test]
fn the_server_s_own_wait_wins_in_every_form() {
    let not_retryable = Decision::GiveUp(GiveUpReason::NotRetryable);
    let backoff = Decision::Wait(Duration::from_nanos(999_999_999));
    let table: &[(u16, Headers, Decision)] = &[
        (429, &[("retry-after", "120")], wait(120)),
        (503, &[("retry-after", " 7 ")], wait(7)),
        (500, &[("retry-after", "0.65")], wait(1)),
        (503, &[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], wait(60)),
        (503, &[("retry-after", "Sunday, 06-Nov-94 08:50:37 GMT")], wait(60)),
        (503, &[("retry-after", "Sun Nov  6 08:50:37 1994")], wait(60)),
        // the server's clock is ten minutes behind: the wait is between its own two times
        (
            503,
            &[("retry-after", "Sun, 06 Nov 1994 08:41:37 GMT"), ("date", "Sun, 06 Nov 1994 08:39:37 GMT")],
            wait(120),
        ),
        // no use: in the past, zero, unreadable, negative
        (503, &[("retry-after", "Sun, 06 Nov 1994 08:48:37 GMT")], backoff.clone()),
        (503, &[("retry-after", "0")], backoff.clone()),
        (503, &[("retry-after", "soon")], backoff.clone()),
        (503, &[("retry-after", "-5")], backoff.clone()),
        (429, &[], backoff.clone()),
        // used-up rate limits: 784111777 is `now`
        (403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111807")], wait(30)),
        (429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111807")], wait(30)),
        (429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111807"), ("retry-after", "5")], wait(5)),
        (403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111000")], backoff.clone()),
        (429, &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "784111807")], backoff),
        (403, &[("retry-after", "60")], wait(60)),
        (403, &[("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "784111807")], not_retryable.clone()),
        (404, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111807")], not_retryable.clone()),
        (404, &[("retry-after", "5")], not_retryable.clone()),
        (401, &[], not_retryable.clone()),
        (403, &[], not_retryable),
    ];
    for (status, headers, expected) in table {
        assert_eq!(&decided(*status, headers), expected, "{status} {headers:?}");
    }
}

#[test]
fn a_pause_too_long_for_a_run_says_when_to_come_back() {
    assert_eq!(decided(429, &[("retry-after", "900")]), wait(900));
    assert_eq!(decided(429, &[("retry-after", "901")]), Decision::Park(Duration::from_secs(901)));
    assert_eq!(after(Duration::from_secs(901), now()), now() + TimeDelta::seconds(901));
    for endless in ["99999999999999999999999999", "18446744073709551615", "9223372036854775807.5"] {
        let failure = Failure::from_answer(503, |name| (name == "retry-after").then_some(endless));
        let Decision::Park(wait) = decided_at(1, &failure, 0) else { panic!("must park") };
        assert_eq!(after(wait, now()), DateTime::<Utc>::MAX_UTC, "{endless}");
    }
}

#[test]
fn attempts_end_and_permanent_failures_end_at_once() {
    let temporary = Failure::Transport { temporary: true, sent: true };
    assert!(matches!(decided_at(9, &temporary, 1), Decision::Wait(_)));
    let Decision::GiveUp(reason) = decided_at(10, &temporary, 1) else { panic!("must give up") };
    assert_eq!(reason.to_string(), "still failing after 10 attempts");
    let permanent = Failure::Transport { temporary: false, sent: true };
    assert_eq!(decided_at(1, &permanent, 1), Decision::GiveUp(GiveUpReason::NotRetryable));
}

#[test]
fn what_is_not_safe_to_repeat_is_sent_again_only_if_it_was_not_done() {
    let once = |failure: &Failure, wanted| {
        let attempt = Attempt { number: 1, repeatable: false, wanted };
        matches!(decide(&plan(), WAIT_MAX, attempt, failure, now(), 1), Decision::Wait(_))
    };
    assert!(once(&answer(429, &[]), false) && once(&answer(503, &[("retry-after", "1")]), false));
    assert!(!once(&answer(503, &[]), false) && !once(&answer(500, &[]), false) && !once(&answer(500, &[]), true));
    assert!(once(&Failure::Transport { temporary: true, sent: false }, false));
    assert!(!once(&Failure::Transport { temporary: true, sent: true }, false));
}

#[test]
fn a_rule_makes_any_answer_one_that_is_tried_again() {
    for status in [200, 404] {
        let attempt = Attempt { wanted: true, ..nth(1) };
        let decision = decide(&plan(), WAIT_MAX, attempt, &answer(status, &[]), now(), 1);
        assert!(matches!(decision, Decision::Wait(_)), "{status}");
        assert_eq!(decided(status, &[]), Decision::GiveUp(GiveUpReason::NotRetryable), "{status}");
    }
}

#[test]
fn the_headers_of_the_provider_s_budget_say_how_long() {
    let limited = |status, headers| answer(status, headers).limited(Some(Duration::from_secs(40)));
    assert_eq!(decided_at(1, &limited(403, &[]), HIGHEST), wait(40));
    assert_eq!(decided_at(1, &limited(429, &[]), HIGHEST), wait(40));
    assert_eq!(decided_at(1, &limited(429, &[("retry-after", "5")]), HIGHEST), wait(5));
    assert_eq!(limited(500, &[]).wait_asked(now()), None, "a failure of another kind");
}

#[test]
fn the_body_says_how_long_whatever_the_status() {
    let telling = |status, headers, seconds| answer(status, headers).telling(Some(Duration::from_secs(seconds)));
    let wanted = |failure| {
        let attempt = Attempt { wanted: true, ..nth(1) };
        decide(&plan(), WAIT_MAX, attempt, &failure, now(), HIGHEST)
    };
    assert_eq!(wanted(telling(200, &[], 3)), wait(3));
    assert_eq!(wanted(telling(200, &[], 901)), Decision::Park(Duration::from_secs(901)));
    assert_eq!(wanted(telling(429, &[("retry-after", "5")], 3)), wait(5));
    assert_eq!(wanted(telling(429, &[], 3).limited(Some(Duration::from_secs(40)))), wait(3));
    assert_eq!(telling(200, &[], 0).wait_asked(now()), None);
}

#[test]
fn the_ceiling_doubles_up_to_the_maximum() {
    let ceilings: Vec<u128> =
        (1..=10).map(|attempt| backoff(&plan(), attempt, HIGHEST).as_nanos().div_ceil(1_000_000_000)).collect();
    assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(backoff(&plan(), 5, 0), Duration::ZERO);
    assert_eq!(backoff(&plan(), 5, 1 << 63), Duration::from_secs(8));
}

fn header_text() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        any::<u64>().prop_map(|number| Some(number.to_string())),
        (0_u64..4_000_000_000).prop_map(|number| Some(number.to_string())),
        (0_u64..200_000_000_000).prop_map(|s| {
            let at = std::time::UNIX_EPOCH + Duration::from_secs(s);
            Some(httpdate::fmt_http_date(at))
        }),
        Just(Some("0".to_owned())),
        ".{0,12}".prop_map(Some),
    ]
}

fn any_failure() -> impl Strategy<Value = Failure> {
    let status = (100_u16..600, header_text(), header_text(), header_text(), header_text()).prop_map(
        |(status, retry_after, rate_remaining, rate_reset, date)| Failure::Status {
            status,
            retry_after,
            rate_remaining,
            rate_reset,
            date,
            used_up_for: None,
            told: None,
        },
    );
    let seconds = || prop::option::of(any::<u32>().prop_map(|seconds| Duration::from_secs(seconds.into())));
    let limited = (status, seconds(), seconds())
        .prop_map(|(status, by_headers, by_body)| status.limited(by_headers).telling(by_body));
    let transport = any::<(bool, bool)>().prop_map(|(temporary, sent)| Failure::Transport { temporary, sent });
    prop_oneof![4 => limited, 1 => transport]
}

proptest! {
    #[test]
    fn no_wait_is_above_the_bounds_and_attempts_are_bounded(
        failure in any_failure(), attempt in 1_u32..120, attempts in 1_u32..=limits::RETRY_ATTEMPTS_MAX,
        base_ms in 0_u64..100_000, max_ms in 0_u64..1_000_000, random: u64, at in 0_i64..10_000_000_000,
        (repeatable, wanted) in any::<(bool, bool)>(), wait_max in (0_u64..100_000).prop_map(Duration::from_secs),
    ) {
        let plan = RetryPlan {
            attempts, backoff_base: Duration::from_millis(base_ms), backoff_max: Duration::from_millis(max_ms), ..plan()
        };
        let now = DateTime::from_timestamp(at, 0).expect("in range");
        let nth = Attempt { number: attempt, repeatable, wanted };
        match decide(&plan, wait_max, nth, &failure, now, random) {
            Decision::Wait(wait) => {
                prop_assert!(attempt < attempts && (repeatable || failure.is_unprocessed()));
                match failure.wait_asked(now) {
                    Some(asked) => prop_assert!(wait == asked && wait <= wait_max),
                    None => prop_assert!(wait <= plan.backoff_max && wait <= plan.backoff_base.saturating_mul(1 << (attempt - 1).min(31))),
                }
            }
            Decision::GiveUp(GiveUpReason::AttemptsUsed { .. }) => prop_assert!(attempt >= attempts),
            Decision::Park(wait) => prop_assert!(wait > wait_max && after(wait, now) > now),
            Decision::GiveUp(GiveUpReason::NotRepeatable) => prop_assert!(!repeatable),
            Decision::GiveUp(GiveUpReason::NotRetryable) => prop_assert!(!wanted && !failure.is_retryable(&plan)),
        }
    }
}
