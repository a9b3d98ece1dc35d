//! What is counted of readiness.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{ClusterLabels, PerCluster, register};

/// Whether records can be written.
#[derive(Debug)]
pub struct Metrics {
    ready: Gauge,
    cluster_ready: PerCluster<Gauge>,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            ready: register(registry, "ready", "1 if /readyz answers 200", Gauge::default()),
            cluster_ready: register(
                registry,
                "cluster_ready",
                "1 if the cluster can be written",
                Family::default(),
            ),
        }
    }

    pub(super) fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    pub(super) fn cluster_ready(&self, cluster: &str, ready: bool) {
        self.cluster_ready.get_or_create(&ClusterLabels::new(cluster)).set(i64::from(ready));
    }
}
