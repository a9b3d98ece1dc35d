//! What is counted for each cluster.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Metrics, Name};
use crate::stats::Stats;

/// The name of a cluster, from the configuration; empty for a record that is for none of the bridge's clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    cluster: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    cluster: Arc<str>,
    outcome: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    cluster: Arc<str>,
    reason: Name,
}

/// One metric for each cluster.
pub(super) type Each<M> = Family<Labels, M>;

/// The metrics of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    all: Arc<Metrics>,
    cluster: Arc<str>,
}

impl Metrics {
    /// Those of the cluster with this name.
    pub fn of_cluster(self: &Arc<Self>, name: &str) -> ClusterMetrics {
        ClusterMetrics { all: Arc::clone(self), cluster: name.into() }
    }

    /// It is known what became of a record that is for none of the clusters.
    pub fn record_of_no_cluster(self: &Arc<Self>, outcome: &'static str) {
        self.of_cluster("").record(outcome);
    }
}

impl ClusterMetrics {
    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    fn of<M: Clone + Default>(&self, family: &Each<M>) -> M {
        family.get_or_create_owned(&Labels { cluster: Arc::clone(&self.cluster) })
    }

    fn outcome(&self, outcome: &'static str) -> OutcomeLabels {
        OutcomeLabels { cluster: Arc::clone(&self.cluster), outcome: Name(outcome) }
    }

    fn gauge(&self, family: &Each<Gauge>, value: i64) {
        self.of(family).set(value);
    }

    /// A record was handed to the producer.
    pub fn record_enqueued(&self, value_bytes: usize) {
        self.of(&self.all.record_bytes).inc_by(value_bytes as u64);
    }

    /// It is known what became of a record.
    pub fn record(&self, outcome: &'static str) {
        self.all.records.get_or_create(&self.outcome(outcome)).inc();
    }

    /// It is known what became of a record whose caller had been told that nobody knows.
    pub fn late(&self, outcome: &'static str) {
        self.all.late.get_or_create(&self.outcome(outcome)).inc();
    }

    /// Kafka, or librdkafka in its place, has answered for a record after `latency`.
    pub fn ack(&self, outcome: &'static str, latency: Duration) {
        self.all.ack_latency.get_or_create(&self.outcome(outcome)).observe(latency.as_secs_f64());
    }

    /// A producer had to be replaced.
    pub fn producer_rebuilt(&self) {
        self.of(&self.all.rebuilds).inc();
    }

    /// A record is produced once more, alone.
    pub fn isolated_attempt(&self) {
        self.of(&self.all.isolated_attempts).inc();
    }

    /// Whether the cluster can be written.
    pub fn ready(&self, ready: bool) {
        self.gauge(&self.all.cluster_ready, i64::from(ready));
    }

    /// Whether the cluster is known not to answer.
    pub fn breaker_cluster_open(&self, open: bool) {
        self.gauge(&self.all.breaker_cluster_open, i64::from(open));
    }

    /// So many more topics, or fewer, are known to take no records.
    pub fn breaker_topics_open(&self, more: i64) {
        self.of(&self.all.breaker_topics_open).inc_by(more);
    }

    /// A breaker opened.
    pub fn breaker_opened(&self, reason: &'static str) {
        let labels = ReasonLabels { cluster: Arc::clone(&self.cluster), reason: Name(reason) };
        self.all.breaker_openings.get_or_create(&labels).inc();
    }

    /// A breaker did not let a record through.
    pub fn breaker_rejected(&self) {
        self.of(&self.all.breaker_rejected).inc();
    }

    /// A record was for a topic beyond those that there may be. Returns whether it was the first.
    pub fn beyond_max_topics(&self) -> bool {
        self.of(&self.all.beyond_max_topics).inc() == 0
    }

    /// Takes over what librdkafka says of itself.
    pub fn statistics(&self, stats: &Stats) {
        let all = &self.all;
        self.gauge(&all.brokers_up, i64::try_from(stats.brokers_up()).unwrap_or(i64::MAX));
        self.gauge(&all.queue_records, stats.msg_cnt);
        self.gauge(&all.queue_records_limit, stats.msg_max);
        self.gauge(&all.queue_bytes, stats.msg_size);
        self.gauge(&all.queue_bytes_limit, stats.msg_size_max);
        self.gauge(&all.transmissions, stats.tx);
        self.gauge(&all.retransmissions, stats.retries());
        self.gauge(&all.records_sent, stats.txmsgs);
        self.gauge(&all.batches_sent, stats.batches());
        self.of(&all.broker_rtt).set(stats.slowest_round_trip().as_secs_f64());
    }
}
