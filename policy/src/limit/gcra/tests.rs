#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_795_353_386 * SECOND;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(START + nanos)
}

fn rate(limit: u64, seconds: u64, burst: u64) -> Rate {
    Rate::new(limit, Duration::from_secs(seconds), burst).unwrap()
}

/// A key, as a table keeps it.
#[derive(Default)]
struct Key(Tat);

impl Key {
    fn take(&mut self, rate: &Rate, now: Timestamp, cost: u64) -> Decision {
        let decision = rate.decide(self.0, now, cost);
        self.0 = decision.write.unwrap_or(self.0);
        decision
    }
}

#[test]
fn a_burst_goes_at_once_and_the_rate_brings_it_back() {
    // Three in a second do not divide: no unit of the burst is lost to rounding.
    let rate = rate(3, 1, 3);
    let mut key = Key::default();
    for left in [2, 1, 0] {
        let decision = key.take(&rate, at(0), 1);
        assert!(decision.allowed);
        assert_eq!((decision.remaining, decision.retry_after), (left, None));
    }
    let denied = key.take(&rate, at(0), 1);
    assert!(!denied.allowed);
    assert_eq!(denied.retry_after, Some(Duration::from_nanos(333_333_334)));
    assert_eq!(denied.next, Duration::from_nanos(333_333_334));
    assert!(!key.take(&rate, at(333_333_333), 1).allowed);
    assert!(key.take(&rate, at(333_333_334), 1).allowed);
}

#[test]
fn what_a_refused_request_is_told_is_when_it_gets_through() {
    let rate = rate(10, 1, 10);
    for cost in 1..=10 {
        let mut key = Key::default();
        assert!(key.take(&rate, at(0), 7).allowed);
        let decision = rate.decide(key.0, at(5), cost);
        let Some(wait) = decision.retry_after else {
            assert!(decision.allowed && cost <= 3, "{cost}");
            continue;
        };
        let then = 5 + u64::try_from(wait.as_nanos()).unwrap();
        assert!(!rate.decide(key.0, at(then - 1), cost).allowed, "{cost}");
        assert!(rate.decide(key.0, at(then), cost).allowed, "{cost}");
    }
}

#[test]
fn what_costs_more_than_a_burst_is_never_let_through_and_not_told_when() {
    let decision = rate(10, 1, 10).decide(Tat::default(), at(0), 11);
    assert_eq!((decision.allowed, decision.retry_after, decision.write), (false, None, None));
}

#[test]
fn nothing_is_spent_by_asking_and_nothing_by_a_refusal() {
    let rate = rate(1, 60, 1);
    let mut key = Key::default();
    assert_eq!(rate.decide(key.0, at(0), 0).write, None);
    assert!(key.take(&rate, at(0), 1).allowed);
    for _ in 0..100 {
        assert_eq!(rate.decide(key.0, at(1), 1).write, None);
    }
    assert!(key.take(&rate, at(60 * SECOND), 1).allowed);
}

#[test]
fn a_clock_that_steps_back_gives_nothing_away_and_locks_nobody_out() {
    let hour = 3_600 * SECOND;
    let rate = rate(10, 1, 10);
    let mut key = Key::default();
    assert!(key.take(&rate, at(hour), 10).allowed);
    // An hour back: the burst is used up, and comes back as it always does.
    let denied = key.take(&rate, at(0), 1);
    assert_eq!(denied.retry_after, Some(Duration::from_millis(100)));
    assert!(key.take(&rate, at(SECOND / 10), 1).allowed);
    assert!(!key.take(&rate, at(SECOND / 10), 1).allowed);
    // And forward again: a burst, and not an hour's worth.
    assert!(key.take(&rate, at(hour), 10).allowed);
    assert!(!key.take(&rate, at(hour), 1).allowed);
}

#[test]
fn a_limit_that_became_smaller_holds_at_once() {
    let mut key = Key::default();
    assert!(key.take(&rate(100, 86_400, 100), at(0), 100).allowed);
    let denied = key.take(&rate(10, 1, 10), at(1), 1);
    assert_eq!(denied.retry_after, Some(Duration::from_millis(100)));
}

#[test]
fn a_refund_gives_back_what_has_not_come_back_by_itself() {
    let rate = rate(10, 10, 10);
    let mut key = Key::default();
    key.take(&rate, at(0), 10);
    let refunded = rate.refund(key.0, at(0), at(0), 4);
    assert_eq!(rate.decide(refunded, at(0), 0).remaining, 4);
    // Three seconds later three units are back; one of the four is left to give.
    let refunded = rate.refund(key.0, at(0), at(3 * SECOND), 4);
    assert_eq!(rate.decide(refunded, at(3 * SECOND), 0).remaining, 4);
    assert_eq!(rate.refund(key.0, at(SECOND), at(0), 4), key.0);
    assert_eq!(rate.refund(key.0, at(0), at(60 * SECOND), 4), key.0);
}

#[test]
fn rates_that_cannot_be_are_refused() {
    let new = |limit, period, burst| Rate::new(limit, Duration::from_millis(period), burst);
    for (rate, wanted) in [
        (new(0, 1_000, 1), RateError::Limit),
        (new(1, 0, 1), RateError::Period),
        (new(1, 999, 1), RateError::Period),
        (new(1, 1_500, 1), RateError::Period),
        (new(1, 367 * 86_400_000, 1), RateError::Period),
        (new(1_000_000_001, 1_000, 1), RateError::TooFast),
        (new(1, 1_000, 0), RateError::Burst),
        (new(1, 86_400_000, 367), RateError::Burst),
        (new(u64::MAX, 1_000, u64::MAX), RateError::TooFast),
        (new(1, 1_000, u64::MAX), RateError::Burst),
    ] {
        assert_eq!(rate, Err(wanted));
    }
    assert!(new(1_000_000_000, 1_000, 1_000_000_000).is_ok());
    assert!(new(366, 366 * 86_400_000, 366).is_ok());
}

#[test]
fn the_ends_of_time_do_no_harm() {
    let rate = rate(1_000_000_000, 1, 1_000_000_000);
    for now in [0, 1, u64::MAX] {
        for tat in [0, 1, u128::MAX] {
            let decision = rate.decide(Tat(tat), Timestamp::from_nanos(now), u64::MAX);
            assert!(!decision.allowed && decision.remaining <= rate.burst());
            let _ = rate.refund(Tat(tat), Timestamp::from_nanos(now), Timestamp::from_nanos(0), u64::MAX);
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// A leaky bucket in exact fractions: `level` is what is used, in units times the period in nanoseconds.
    #[derive(Clone, Copy)]
    struct Model {
        limit: u128,
        period: u128,
        burst: u128,
        level: u128,
        last: u64,
    }

    impl Model {
        fn new(rate: &Rate) -> Self {
            let period = rate.period().as_nanos();
            Self { limit: rate.limit().into(), period, burst: rate.burst().into(), level: 0, last: 0 }
        }

        fn take(&mut self, now: u64, cost: u64) -> bool {
            self.level = self.level.saturating_sub(u128::from(now - self.last) * self.limit);
            self.last = now;
            let after = self.level + u128::from(cost) * self.period;
            let allowed = after <= self.burst * self.period;
            if allowed {
                self.level = after;
            }
            allowed
        }
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (1..2_000_u64, 1..100_000_u64, 1..500_u64).prop_filter_map("a rate", |(limit, seconds, burst)| {
            Rate::new(limit, Duration::from_secs(seconds), burst).ok()
        })
    }

    proptest! {
        /// Steps are multiples of what one unit takes and a little to both sides, which is where rounding would show.
        #[test]
        fn it_agrees_with_a_leaky_bucket(
            rate in rates(), steps in proptest::collection::vec((0..4_u64, -2..3_i64, 0..4_u64), 1..200)
        ) {
            let mut model = Model::new(&rate);
            let mut key = Key::default();
            let mut now = 0;
            let interval = u64::try_from(rate.period().as_nanos() / u128::from(rate.limit())).unwrap();
            for (units, jitter, cost) in steps {
                now += (units * interval).saturating_add_signed(jitter);
                let got = key.take(&rate, at(now), cost).allowed;
                // The interval is rounded up by less than a picosecond, so after n units it may say no a little longer.
                let mut later = model;
                let wanted = model.take(now, cost);
                prop_assert!(!got || wanted, "more than the model allows");
                if wanted && !got {
                    prop_assert!(!later.take(now - 2.min(now - later.last), cost) , "less than the model allows");
                    model = later;
                }
            }
        }

        #[test]
        fn no_span_of_time_has_more_than_a_burst_and_what_the_rate_brings(
            rate in rates(), steps in proptest::collection::vec((0..3_000_000_000_u64, 1..20_u64), 1..100)
        ) {
            let mut key = Key::default();
            let mut taken: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (step, cost) in steps {
                now += step;
                if key.take(&rate, at(now), cost).allowed {
                    taken.push((now, cost));
                }
                let mut sum = 0_u128;
                for (then, cost) in taken.iter().rev() {
                    sum += u128::from(*cost);
                    let brought = u128::from(now - then) * u128::from(rate.limit()) / rate.period().as_nanos();
                    prop_assert!(sum <= u128::from(rate.burst()) + brought);
                }
            }
        }

        /// Each step of the clock can bring a burst, and nothing else; and nobody waits longer than a burst takes.
        #[test]
        fn a_clock_that_steps_brings_at_most_a_burst_and_locks_nobody_out(
            rate in rates(),
            steps in proptest::collection::vec((0..2_000_000_000_u64, -3_600..3_600_i64, any::<bool>()), 1..100)
        ) {
            let hour = 3_600 * SECOND;
            let (mut key, mut elapsed, mut clock, mut taken, mut forward) = (Key::default(), 0_u64, 24 * hour, 0_u128, 0_u128);
            for (step, jump, jumps) in steps {
                elapsed += step;
                clock += step;
                if jumps {
                    clock = clock.saturating_add_signed(jump * i64::try_from(SECOND).unwrap());
                    forward += u128::from(jump > 0);
                }
                let decision = key.take(&rate, at(clock), 1);
                taken += u128::from(decision.allowed);
                let brought = u128::from(elapsed) * u128::from(rate.limit()) / rate.period().as_nanos();
                prop_assert!(taken <= u128::from(rate.burst()) * (1 + forward) + brought);
                if let Some(wait) = decision.retry_after {
                    let wait = u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(u128::from(wait) * 1_000 <= rate.capacity() + 1_000);
                    let mut later = Key(key.0);
                    prop_assert!(later.take(&rate, at(clock + wait), 1).allowed);
                }
            }
        }

        /// What is given back never lets more through than if it had not been taken.
        #[test]
        fn a_refund_is_never_more_than_was_spent(
            rate in rates(), spent in 1..20_u64,
            before in proptest::collection::vec((0..1_000_000_000_u64, 1..5_u64), 0..20),
            between in proptest::collection::vec((0..1_000_000_000_u64, 1..5_u64), 0..20)
        ) {
            let (mut with, mut without) = (Key::default(), Key::default());
            let mut now = 0;
            for (step, cost) in before {
                now += step;
                with.take(&rate, at(now), cost);
            }
            without.0 = with.0;
            let then = now;
            if with.take(&rate, at(then), spent).allowed {
                for (step, cost) in between {
                    now += step;
                    if with.take(&rate, at(now), cost).allowed {
                        without.take(&rate, at(now), cost);
                    }
                }
                let refunded = rate.refund(with.0, at(then), at(now), spent);
                let effective = |tat: Tat| tat.max(Tat::at(at(now)));
                prop_assert!(effective(refunded) >= effective(without.0));
                if now == then {
                    prop_assert_eq!(effective(refunded), effective(without.0));
                }
            }
        }
    }
}
