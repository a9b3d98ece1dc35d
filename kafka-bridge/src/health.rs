//! Whether the bridge can produce.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::stats::Stats;

/// What [`Health`] knows, for `/readyz` and for requests. Statistics and errors of a producer that has been
/// replaced are ignored.
#[derive(Debug, Default)]
pub struct Health {
    generation: AtomicU64,
    metadata_fetched: AtomicBool,
    broker_up: AtomicBool,
    producer_id_assigned: AtomicBool,
    unreachable: AtomicBool,
    outage: AtomicBool,
    stopping: AtomicBool,
}

/// The answer to "can it produce?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// The process is ending.
    Stopping,
    /// Kafka's metadata has not been fetched yet.
    Starting,
    /// No broker is connected.
    NoBroker,
    /// The idempotent producer has no id.
    NoProducerId,
}

impl Readiness {
    /// For people, and without anything that is not theirs to know.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Starting => "starting: the cluster's metadata has not been fetched yet",
            Self::NoBroker => "no broker is connected",
            Self::NoProducerId => "the cluster has not assigned a producer id yet",
        }
    }
}

impl Health {
    /// Whether the bridge can produce.
    pub fn readiness(&self) -> Readiness {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        if is(&self.stopping) {
            Readiness::Stopping
        } else if !is(&self.metadata_fetched) {
            Readiness::Starting
        } else if !is(&self.broker_up) {
            Readiness::NoBroker
        } else if !is(&self.producer_id_assigned) {
            Readiness::NoProducerId
        } else {
            Readiness::Ready
        }
    }

    /// Whether Kafka is known to be out of reach: no broker is connected, and an attempt to connect failed. It
    /// takes both, because brokers close idle connections and librdkafka opens them again when needed.
    pub fn unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Acquire) && !self.broker_up.load(Ordering::Acquire)
    }

    /// Whether some broker was connected when last heard of.
    pub fn broker_up(&self) -> bool {
        self.broker_up.load(Ordering::Acquire)
    }

    /// The process is ending.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// From now on only this producer is listened to.
    pub(crate) fn follow(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
        self.producer_id_assigned.store(false, Ordering::Release);
    }

    pub(crate) fn follows(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    pub(crate) fn statistics(&self, stats: &Stats) {
        let broker_up = stats.brokers_up() > 0;
        self.broker_up.store(broker_up, Ordering::Release);
        if broker_up {
            self.outage.store(false, Ordering::Release);
        }
        self.producer_id_assigned.store(stats.producer_id_assigned(), Ordering::Release);
    }

    /// Returns whether that is news: librdkafka says it at each attempt to connect.
    pub(crate) fn all_brokers_down(&self) -> bool {
        self.broker_up.store(false, Ordering::Release);
        !self.outage.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn probed(&self, reached: bool) {
        if reached {
            self.metadata_fetched.store(true, Ordering::Release);
        }
        self.unreachable.store(!reached, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(broker: &str, eos: &str) -> Stats {
        serde_json::from_str(&format!(
            r#"{{"brokers":{{"a":{{"state":"{broker}"}}}},"eos":{{"idemp_state":"{eos}"}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn ready_takes_metadata_a_broker_and_a_producer_id() {
        let health = Health::default();
        assert_eq!(health.readiness(), Readiness::Starting);
        health.probed(true);
        assert_eq!(health.readiness(), Readiness::NoBroker);
        health.statistics(&stats("UP", "WaitPID"));
        assert_eq!(health.readiness(), Readiness::NoProducerId);
        health.statistics(&stats("UP", "Assigned"));
        assert_eq!(health.readiness(), Readiness::Ready);
        assert!(health.all_brokers_down());
        assert_eq!(health.readiness(), Readiness::NoBroker);
        health.statistics(&stats("UP", "Assigned"));
        health.stop();
        assert_eq!(health.readiness(), Readiness::Stopping);
    }

    #[test]
    fn an_outage_is_news_once() {
        let health = Health::default();
        assert!(health.all_brokers_down());
        health.statistics(&stats("TRY_CONNECT", "Init"));
        assert!(!health.all_brokers_down());
        health.statistics(&stats("UP", "Init"));
        assert!(health.all_brokers_down());
        assert!(!health.all_brokers_down());
    }

    #[test]
    fn an_idle_connection_that_was_closed_is_not_an_outage() {
        let health = Health::default();
        health.probed(true);
        health.statistics(&stats("DOWN", "Assigned"));
        assert!(!health.unreachable());
        health.probed(false);
        assert!(health.unreachable());
        health.statistics(&stats("UP", "Assigned"));
        assert!(!health.unreachable());
    }

    #[test]
    fn a_new_producer_starts_without_an_id() {
        let health = Health::default();
        health.probed(true);
        health.statistics(&stats("UP", "Assigned"));
        health.follow(2);
        assert_eq!(health.readiness(), Readiness::NoProducerId);
        assert!(health.follows(2) && !health.follows(1));
    }
}
