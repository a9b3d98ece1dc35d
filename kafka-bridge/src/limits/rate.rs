//! A rate in the numbers of the script, and what its replies mean.

use wicketgate_envelope::hop::{LimitState, SharedLimit};

/// Numbers up to here are exact in Lua.
const EXACT: u128 = 1 << 53;
const NANOSECONDS: u128 = 1_000_000_000;
/// The longest period, and the longest time in which a burst comes back, in seconds; as the filter has it.
const MAX_SECONDS: u128 = 366 * 24 * 60 * 60;

/// A rate, in units of which there are `scale` to a nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// The time that one unit takes, rounded up.
    pub(super) interval: u128,
    /// The time of a burst.
    pub(super) capacity: u128,
    /// A thousand where that is exact, else 1.
    pub(super) scale: u128,
}

impl Rate {
    /// `None` for what no filter asks.
    pub(super) fn of(limit: &SharedLimit) -> Option<Self> {
        let (units, burst, period) =
            (u128::from(limit.limit), u128::from(limit.burst), u128::from(limit.period));
        if units == 0 || burst == 0 || period == 0 || period > MAX_SECONDS {
            return None;
        }
        let rate = |scale: u128| {
            let interval = (period * NANOSECONDS * scale).div_ceil(units);
            Some(Self { interval, capacity: interval.checked_mul(burst)?, scale })
        };
        let fine = rate(1_000).filter(|rate| rate.capacity <= EXACT / 2);
        fine.or_else(|| rate(1)).filter(|rate| rate.capacity <= MAX_SECONDS * NANOSECONDS * 2)
    }

    /// What a limit has said, by what is used of it.
    pub(super) fn state(&self, limit: &SharedLimit, allowed: bool, used: u128) -> LimitState {
        let free = self.capacity.saturating_sub(used);
        let remaining = u64::try_from(free / self.interval).unwrap_or(u64::MAX).min(limit.burst);
        let next = if remaining >= limit.burst { 0 } else { self.interval - free % self.interval };
        let cost = self.interval.saturating_mul(u128::from(limit.cost));
        let wait = (!allowed && limit.cost <= limit.burst).then(|| cost.saturating_sub(free));
        LimitState {
            name: limit.name.clone(),
            allowed: Some(allowed),
            remaining,
            next: self.milliseconds(next),
            retry_after: wait.map(|wait| self.milliseconds(wait)),
        }
    }

    fn milliseconds(&self, units: u128) -> u64 {
        u64::try_from(units.div_ceil(1_000_000 * self.scale)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limit: u64, period: u64, burst: u64, cost: u64) -> SharedLimit {
        let (name, key) = ("a".to_owned(), "k".to_owned());
        SharedLimit { name, key, limit, period, burst, cost, dry_run: false, allow_uncounted: false }
    }

    #[test]
    fn numbers_are_as_fine_as_they_can_be_exactly() {
        let rate = |limit| Rate::of(&limit).unwrap();
        assert_eq!(
            rate(limit(3, 1, 3, 1)),
            Rate { interval: 333_333_333_334, capacity: 1_000_000_000_002, scale: 1_000 }
        );
        assert_eq!(
            rate(limit(1_000, 86_400, 1_000, 1)),
            Rate { interval: 86_400_000_000, capacity: 86_400_000_000_000, scale: 1 }
        );
        for wrong in [
            limit(0, 1, 1, 1),
            limit(1, 0, 1, 1),
            limit(1, 1, 0, 1),
            limit(1, u64::MAX, 1, 1),
            limit(1, 1, u64::MAX, 1),
        ] {
            assert_eq!(Rate::of(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_left_follows_from_what_is_used() {
        let ten = limit(10, 1, 10, 4);
        let rate = Rate::of(&ten).unwrap();
        let used = |units: u128| units * rate.interval;
        let state = rate.state(&ten, true, used(4));
        assert_eq!((state.remaining, state.next, state.retry_after), (6, 100, None));
        let state = rate.state(&ten, false, used(7) - rate.interval / 2);
        assert_eq!((state.remaining, state.next, state.retry_after), (3, 50, Some(50)));
        assert_eq!(rate.state(&ten, true, 0).next, 0);
        let never = limit(10, 1, 10, 11);
        assert_eq!(rate.state(&never, false, 0).retry_after, None);
    }
}
