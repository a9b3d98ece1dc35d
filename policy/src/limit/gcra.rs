//! The generic cell rate algorithm: one point in time for each key says all that it has used.
//!
//! The state is the theoretical arrival time (TAT): when the key would have its whole burst again. Each unit moves it by
//! `period / limit`, and a request is let through while it stays within `burst` units of now. Over any span of time a key
//! gets at most `burst` units and what the rate brings in that span; there are no windows, so there is no edge at
//! which a caller gets twice as much.
//!
//! Clocks step. A TAT that is further ahead than a whole burst cannot come from this clock, and counts as a burst that is used
//! up: nobody gets more for it, and nobody waits longer than a burst takes to come back.

use std::fmt;
use std::time::Duration;

use wicketgate_envelope::timestamp::Timestamp;

/// A point in time in picoseconds since the epoch: the rounding of a billion units a second stays below a thousandth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tat(pub u128);

impl Tat {
    /// The TAT of a key that has used nothing since `now` or before.
    pub fn at(now: Timestamp) -> Self {
        Self(picoseconds(now))
    }

    /// Whether a key with this TAT is as good as one that was never seen.
    pub fn is_past(self, now: Timestamp) -> bool {
        self <= Self::at(now)
    }
}

/// How many units in what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    limit: u64,
    period: Duration,
    burst: u64,
    /// Picoseconds that one unit takes, rounded up.
    interval: u128,
}

/// Why a rate is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateError {
    /// A limit of nothing.
    Limit,
    /// A period that is not a whole number of seconds from one to [`MAX_SPAN`].
    Period,
    /// More than a billion units a second.
    TooFast,
    /// A burst of nothing, or one that takes longer than [`MAX_SPAN`] to come back.
    Burst,
}

/// The longest period, and the longest time in which a whole burst comes back.
pub const MAX_SPAN: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const PICOSECONDS: u128 = 1_000_000_000_000;
const MAX_UNITS_A_SECOND: u128 = 1_000_000_000;

impl Rate {
    /// `limit` units a `period`, and `burst` of them at once.
    ///
    /// # Errors
    /// [`RateError`] when nothing sensible can be counted so.
    pub fn new(limit: u64, period: Duration, burst: u64) -> Result<Self, RateError> {
        if limit == 0 {
            return Err(RateError::Limit);
        }
        if period.as_secs() == 0 || period.subsec_nanos() != 0 || period > MAX_SPAN {
            return Err(RateError::Period);
        }
        if u128::from(limit) > u128::from(period.as_secs()) * MAX_UNITS_A_SECOND {
            return Err(RateError::TooFast);
        }
        let interval = (u128::from(period.as_secs()) * PICOSECONDS).div_ceil(u128::from(limit));
        let most = u128::from(MAX_SPAN.as_secs()) * PICOSECONDS;
        if burst == 0 || interval.checked_mul(u128::from(burst)).is_none_or(|capacity| capacity > most) {
            return Err(RateError::Burst);
        }
        Ok(Self { limit, period, burst, interval })
    }

    /// Units in a period.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Units at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// The time in which a whole burst comes back, in picoseconds.
    pub(super) fn capacity(&self) -> u128 {
        self.interval.saturating_mul(u128::from(self.burst))
    }

    /// Whether `cost` units may be used now by a key with this TAT.
    pub fn decide(&self, tat: Tat, now: Timestamp, cost: u64) -> Decision {
        let now = picoseconds(now);
        let capacity = self.capacity();
        let used = tat.0.saturating_sub(now);
        let stepped = used > capacity;
        let used = used.min(capacity);
        let after = used.saturating_add(self.interval.saturating_mul(u128::from(cost)));
        let allowed = after <= capacity;
        let used = if allowed { after } else { used };
        let free = capacity.saturating_sub(used);
        let remaining = u64::try_from(free / self.interval).unwrap_or(u64::MAX).min(self.burst);
        let next = if remaining >= self.burst { 0 } else { self.interval - free % self.interval };
        let retry_after = (!allowed && cost <= self.burst).then(|| duration(after.saturating_sub(capacity)));
        Decision {
            allowed,
            remaining,
            next: duration(next),
            retry_after,
            write: (allowed && cost > 0 || stepped).then(|| Tat(now.saturating_add(used))),
        }
    }

    /// Gives back what was used at `spent_at` and turned out not to be. What has come back by itself since then is not given
    /// a second time, so a key never gets more than its rate for it.
    pub fn refund(&self, tat: Tat, spent_at: Timestamp, now: Timestamp, cost: u64) -> Tat {
        let (spent_at, now) = (picoseconds(spent_at), picoseconds(now));
        // A clock that has stepped back says nothing about how long ago that was.
        let Some(since) = now.checked_sub(spent_at) else { return tat };
        let spent = self.interval.saturating_mul(u128::from(cost));
        Tat(tat.0.saturating_sub(spent.saturating_sub(since)))
    }
}

/// What a rate says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go on.
    pub allowed: bool,
    /// Units that are left, after this request if it goes on.
    pub remaining: u64,
    /// When there is one more of them; zero if none is missing.
    pub next: Duration,
    /// When the request would be let through; `None` if it is now, or if it costs more than a burst and never is.
    pub retry_after: Option<Duration>,
    /// The TAT to remember, if it is to change.
    pub write: Option<Tat>,
}

fn picoseconds(time: Timestamp) -> u128 {
    u128::from(time.as_nanos()) * 1_000
}

/// Rounded up, so that who waits that long has waited long enough.
fn duration(picoseconds: u128) -> Duration {
    Duration::from_nanos(u64::try_from(picoseconds.div_ceil(1_000)).unwrap_or(u64::MAX))
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "1 or more",
            Self::Period => "whole seconds from 1s to 366days",
            Self::TooFast => "at most a billion units a second",
            Self::Burst => "1 or more, and what the rate brings back within 366days",
        })
    }
}

#[cfg(test)]
mod tests;
