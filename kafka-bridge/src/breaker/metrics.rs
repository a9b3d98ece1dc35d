//! What is counted of breakers.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{ClusterLabels, Label, PerCluster, register};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    cluster: Arc<str>,
    reason: Label,
}

/// Counts of the breakers of all clusters.
#[derive(Debug)]
pub struct Metrics {
    cluster_open: PerCluster<Gauge>,
    topics_open: PerCluster<Gauge>,
    openings: Family<ReasonLabels, Counter>,
    rejected: PerCluster<Counter>,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            cluster_open: register(
                registry,
                "breaker_cluster_open",
                "1 while Kafka is known not to answer, and no record is handed to it",
                Family::default(),
            ),
            topics_open: register(
                registry,
                "breaker_topics_open",
                "Topics whose records are known not to be acknowledged, and are not handed to Kafka",
                Family::default(),
            ),
            openings: register(
                registry,
                "breaker_openings",
                "How often the breaker of the cluster (unanswered) or of a topic (stalled, failing) opened",
                Family::default(),
            ),
            rejected: register(
                registry,
                "breaker_rejected_records",
                "Records answered 503 at once because Kafka was known not to take them",
                Family::default(),
            ),
        }
    }

    /// Those of one cluster.
    pub fn of_cluster(self: &Arc<Self>, cluster: &str) -> ClusterMetrics {
        ClusterMetrics { all: Arc::clone(self), labels: ClusterLabels::new(cluster) }
    }
}

/// Counts of the breakers of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    all: Arc<Metrics>,
    labels: ClusterLabels,
}

impl ClusterMetrics {
    /// The cluster's name.
    pub(super) fn cluster(&self) -> &str {
        &self.labels.cluster
    }

    /// Sets whether the cluster is known not to answer.
    pub(super) fn cluster_open(&self, open: bool) {
        self.all.cluster_open.get_or_create(&self.labels).set(i64::from(open));
    }

    /// Adds to the topics that are known to take no records.
    pub(super) fn topics_open(&self, more: i64) {
        self.all.topics_open.get_or_create(&self.labels).inc_by(more);
    }

    /// Counts a breaker that opened.
    pub(super) fn opened(&self, reason: &'static str) {
        let labels = ReasonLabels { cluster: Arc::clone(&self.labels.cluster), reason: Label(reason) };
        self.all.openings.get_or_create(&labels).inc();
    }

    /// Counts a record that was not let through.
    pub(super) fn rejected(&self) {
        self.all.rejected.get_or_create(&self.labels).inc();
    }
}
