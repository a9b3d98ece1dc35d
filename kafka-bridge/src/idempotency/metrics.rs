//! What is counted of events that are remembered.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::register;

/// Counts of events that are remembered.
#[derive(Debug)]
pub struct Metrics {
    replays: Counter,
    conflicts: Counter,
    entries: Gauge,
    unjournaled: Counter,
    unshared: Counter,
    redis_up: Gauge,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            replays: register(
                registry,
                "idempotency_replays",
                "Events that had come before, and were answered as the first time and not written again",
                Counter::default(),
            ),
            conflicts: register(
                registry,
                "idempotency_conflicts",
                "Events with the name of another one that came before, not written",
                Counter::default(),
            ),
            entries: register(registry, "idempotency_entries", "Events remembered", Gauge::default()),
            unjournaled: register(
                registry,
                "idempotency_unjournaled",
                "Events acknowledged that a restart will not know of, because the journal could not be written",
                Counter::default(),
            ),
            unshared: register(
                registry,
                "idempotency_unshared",
                "Events that Redis could not be asked about, written or answered 503 as it is set",
                Counter::default(),
            ),
            redis_up: register(
                registry,
                "idempotency_redis_up",
                "Whether Redis answered the last time that it was asked",
                Gauge::default(),
            ),
        }
    }

    /// Counts an event that had come before.
    pub(super) fn replay(&self) {
        self.replays.inc();
    }

    /// Counts an event with the name of another one.
    pub(super) fn conflict(&self) {
        self.conflicts.inc();
    }

    /// Counts events that could not be written to the journal.
    pub(super) fn unjournaled(&self, count: usize) {
        self.unjournaled.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// How many events the journal does not have.
    #[cfg(test)]
    pub(super) fn unjournaled_so_far(&self) -> usize {
        usize::try_from(self.unjournaled.get()).unwrap_or(usize::MAX)
    }

    /// Counts events that Redis could not be asked about.
    pub(super) fn unshared(&self, count: usize) {
        self.unshared.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Sets whether Redis answers.
    pub(super) fn redis_up(&self, up: bool) {
        self.redis_up.set(i64::from(up));
    }

    /// Sets how many events are remembered.
    pub(super) fn entries(&self, count: usize) {
        self.entries.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
