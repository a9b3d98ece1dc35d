//! What is counted of connections.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{Label, ProofLabels, ReasonLabels, register};

/// Counts of connections.
#[derive(Debug)]
pub struct Metrics {
    open: Family<ProofLabels, Gauge>,
    limit: Gauge,
    ended: Family<ReasonLabels, Counter>,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            open: register(
                registry,
                "connections",
                "Open connections; proof: given once a request on the connection was let in",
                Family::default(),
            ),
            limit: register(registry, "connections_limit", "Most connections at a time", Gauge::default()),
            ended: register(
                registry,
                "connections_ended",
                "Connections that the bridge ended without their consent, by why",
                Family::default(),
            ),
        }
    }

    /// Sets how many connections are open on which a request was let in, and how many others.
    pub(super) fn open(&self, let_in: usize, strangers: usize) {
        for (proof, count) in [("given", let_in), ("none", strangers)] {
            let gauge = self.open.get_or_create(&ProofLabels { proof: Label(proof) });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets how many may be open at a time.
    pub(super) fn limit(&self, limit: usize) {
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Counts a connection that the bridge ended.
    pub(super) fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabels { reason: Label(reason) }).inc();
    }
}
