use proptest::prelude::*;

use super::*;

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
    decide(&plan(), 1, &answer(status, headers), now(), HIGHEST)
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
    let Decision::GiveUp(reason) = decided(429, &[("retry-after", "901")]) else { panic!("must give up") };
    assert_eq!(reason, GiveUpReason::ComeBack { at: now() + TimeDelta::seconds(901) });
    assert_eq!(reason.to_string(), "the server asks to come back at 1994-11-06 09:04:38 UTC, later than a run waits");
    for endless in ["99999999999999999999999999", "18446744073709551615", "9223372036854775807.5"] {
        let failure = Failure::from_answer(503, |name| (name == "retry-after").then_some(endless));
        let decision = decide(&plan(), 1, &failure, now(), 0);
        assert_eq!(decision, Decision::GiveUp(GiveUpReason::ComeBack { at: DateTime::<Utc>::MAX_UTC }), "{endless}");
    }
}

#[test]
fn attempts_end_and_permanent_failures_end_at_once() {
    let temporary = Failure::Transport { temporary: true };
    assert!(matches!(decide(&plan(), 9, &temporary, now(), 1), Decision::Wait(_)));
    let Decision::GiveUp(reason) = decide(&plan(), 10, &temporary, now(), 1) else { panic!("must give up") };
    assert_eq!(reason.to_string(), "still failing after 10 attempts");
    let permanent = Failure::Transport { temporary: false };
    assert_eq!(decide(&plan(), 1, &permanent, now(), 1), Decision::GiveUp(GiveUpReason::NotRetryable));
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
        },
    );
    prop_oneof![4 => status, 1 => any::<bool>().prop_map(|temporary| Failure::Transport { temporary })]
}

proptest! {
    #[test]
    fn no_wait_is_above_the_bounds_and_attempts_are_bounded(
        failure in any_failure(), attempt in 1_u32..120, attempts in 1_u32..=limits::RETRY_ATTEMPTS_MAX,
        base_ms in 0_u64..100_000, max_ms in 0_u64..1_000_000, random: u64, at in 0_i64..10_000_000_000,
    ) {
        let plan = RetryPlan {
            attempts, backoff_base: Duration::from_millis(base_ms), backoff_max: Duration::from_millis(max_ms), ..plan()
        };
        let now = DateTime::from_timestamp(at, 0).expect("in range");
        match decide(&plan, attempt, &failure, now, random) {
            Decision::Wait(wait) => {
                prop_assert!(attempt < attempts);
                match failure.wait_asked(now) {
                    Some(asked) => prop_assert!(wait == asked && wait <= limits::RETRY_AFTER_MAX),
                    None => prop_assert!(wait <= plan.backoff_max && wait <= plan.backoff_base.saturating_mul(1 << (attempt - 1).min(31))),
                }
            }
            Decision::GiveUp(GiveUpReason::AttemptsUsed { .. }) => prop_assert!(attempt >= attempts),
            Decision::GiveUp(GiveUpReason::ComeBack { at }) => prop_assert!(at > now),
            Decision::GiveUp(GiveUpReason::NotRetryable) => prop_assert!(!failure.is_retryable(&plan)),
        }
    }
}
