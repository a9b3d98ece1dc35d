//! Whether the bridge can produce.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::breaker::{Breaker, Obstacle};
use crate::stats::Stats;

/// What [`Health`] knows, for `/readyz` and for requests. Statistics and errors of a producer that has been
/// replaced are ignored.
#[derive(Debug)]
pub struct Health {
    breaker: Arc<Breaker>,
    generation: AtomicU64,
    metadata_fetched: AtomicBool,
    broker_up: AtomicBool,
    producer_id_assigned: AtomicBool,
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
    /// Kafka does not answer.
    Unanswered,
    /// Records wait, and none is acknowledged.
    Stalled,
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
            Self::Unanswered => "Kafka does not answer",
            Self::Stalled => "Kafka does not acknowledge records",
        }
    }
}

impl Health {
    /// Of a producer that has not started yet.
    pub fn new(breaker: Arc<Breaker>) -> Self {
        Self {
            breaker,
            generation: AtomicU64::default(),
            metadata_fetched: AtomicBool::default(),
            broker_up: AtomicBool::default(),
            producer_id_assigned: AtomicBool::default(),
            outage: AtomicBool::default(),
            stopping: AtomicBool::default(),
        }
    }

    /// Keeps records from waiting for a Kafka that does not take them.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

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
            match self.breaker.obstacle(Instant::now()) {
                Some(Obstacle::Unanswered) => Readiness::Unanswered,
                Some(Obstacle::Stalled) => Readiness::Stalled,
                None => Readiness::Ready,
            }
        }
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

    /// A probe that began at `began` has just ended.
    pub(crate) fn probed(&self, reached: bool, began: Instant) {
        if reached {
            self.metadata_fetched.store(true, Ordering::Release);
            self.breaker.probe_answered(Instant::now());
        } else {
            self.breaker.probe_unanswered(Instant::now(), began);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::breaker::Metrics;
    use prometheus_client::registry::Registry;

    fn health() -> Health {
        let stall = Duration::from_secs(2);
        Health::new(Breaker::new(
            stall,
            Arc::new(Metrics::register(&mut Registry::default())).of_cluster("default"),
        ))
    }

    fn stats(broker: &str, eos: &str) -> Stats {
        serde_json::from_str(&format!(
            r#"{{"brokers":{{"a":{{"state":"{broker}"}}}},"eos":{{"idemp_state":"{eos}"}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn ready_takes_metadata_a_broker_and_a_producer_id() {
        let health = health();
        assert_eq!(health.readiness(), Readiness::Starting);
        health.probed(true, Instant::now());
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
        let health = health();
        assert!(health.all_brokers_down());
        health.statistics(&stats("TRY_CONNECT", "Init"));
        assert!(!health.all_brokers_down());
        health.statistics(&stats("UP", "Init"));
        assert!(health.all_brokers_down());
        assert!(!health.all_brokers_down());
    }

    #[test]
    fn a_cluster_that_does_not_answer_makes_it_unready_and_says_so() {
        let health = health();
        health.probed(true, Instant::now());
        health.statistics(&stats("UP", "Assigned"));
        health.probed(false, Instant::now());
        assert_eq!(health.readiness(), Readiness::Unanswered);
        health.probed(true, Instant::now());
        assert_eq!(health.readiness(), Readiness::Ready);
    }

    #[test]
    fn a_new_producer_starts_without_an_id() {
        let health = health();
        health.probed(true, Instant::now());
        health.statistics(&stats("UP", "Assigned"));
        health.follow(2);
        assert_eq!(health.readiness(), Readiness::NoProducerId);
        assert!(health.follows(2) && !health.follows(1));
    }
}
