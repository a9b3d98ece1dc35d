//! What is counted of records, and of the producers that write them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{ClusterLabels, Label, PerCluster, register, register_with_unit};
use crate::stats::Stats;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    cluster: Arc<str>,
    outcome: Label,
}

/// 250 µs to 10 s: from a broker on the same machine to past the default delivery timeout.
fn ack_latency_histogram() -> Histogram {
    Histogram::new([
        0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

/// Counts of the records and the producers of all clusters.
#[derive(Debug)]
pub struct Metrics {
    records: Family<OutcomeLabels, Counter>,
    late: Family<OutcomeLabels, Counter>,
    record_bytes: PerCluster<Counter>,
    ack_latency: Family<OutcomeLabels, Histogram, fn() -> Histogram>,
    brokers_up: PerCluster<Gauge>,
    queue_records: PerCluster<Gauge>,
    queue_records_limit: PerCluster<Gauge>,
    queue_bytes: PerCluster<Gauge>,
    queue_bytes_limit: PerCluster<Gauge>,
    transmissions: PerCluster<Gauge>,
    retransmissions: PerCluster<Gauge>,
    records_sent: PerCluster<Gauge>,
    batches_sent: PerCluster<Gauge>,
    broker_rtt: PerCluster<Gauge<f64, AtomicU64>>,
    rebuilds: PerCluster<Counter>,
    isolated_attempts: PerCluster<Counter>,
    beyond_max_topics: PerCluster<Counter>,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            records: register(
                registry,
                "records",
                "Records by final outcome, including those whose caller had disconnected",
                Family::default(),
            ),
            late: register(
                registry,
                "late_records",
                "Records by what became of them after their callers had been told that nobody knows; they are among the unknown in kafka_bridge_records_total",
                Family::default(),
            ),
            record_bytes: register_with_unit(
                registry,
                "record_values",
                "Bytes of record values handed to the producer",
                Unit::Bytes,
                Family::default(),
            ),
            ack_latency: register_with_unit(
                registry,
                "ack_latency",
                "From handing a record to the producer to Kafka's answer, by outcome; abandoned: the caller no longer waited",
                Unit::Seconds,
                Family::new_with_constructor(ack_latency_histogram),
            ),
            brokers_up: register(
                registry,
                "brokers_up",
                "Brokers with an open connection",
                Family::default(),
            ),
            queue_records: register(
                registry,
                "queue_records",
                "Records waiting for Kafka",
                Family::default(),
            ),
            queue_records_limit: register(
                registry,
                "queue_records_limit",
                "Most records that may wait for Kafka",
                Family::default(),
            ),
            queue_bytes: register_with_unit(
                registry,
                "queue",
                "Memory of records waiting for Kafka",
                Unit::Bytes,
                Family::default(),
            ),
            queue_bytes_limit: register_with_unit(
                registry,
                "queue_limit",
                "Most memory that records waiting for Kafka may take",
                Unit::Bytes,
                Family::default(),
            ),
            transmissions: register(
                registry,
                "broker_requests_sent",
                "Requests sent to brokers by the present producer",
                Family::default(),
            ),
            retransmissions: register(
                registry,
                "broker_requests_retried",
                "Requests to brokers that the present producer had to repeat",
                Family::default(),
            ),
            records_sent: register(
                registry,
                "producer_records_sent",
                "Records sent to brokers by the present producer, repetitions included",
                Family::default(),
            ),
            batches_sent: register(
                registry,
                "producer_batches_sent",
                "Batches in which the present producer sent them",
                Family::default(),
            ),
            broker_rtt: register_with_unit(
                registry,
                "broker_round_trip",
                "99th percentile of the slowest broker's round trip",
                Unit::Seconds,
                Family::default(),
            ),
            rebuilds: register(
                registry,
                "producer_rebuilds",
                "Producers replaced after a fatal error",
                Family::default(),
            ),
            isolated_attempts: register(
                registry,
                "isolated_attempts",
                "Records produced once more, alone, after Kafka had refused the batch that they were in",
                Family::default(),
            ),
            beyond_max_topics: register(
                registry,
                "max_topics_rejected_records",
                "Records answered 503 because they were for further topics than --max-topics",
                Family::default(),
            ),
        }
    }

    /// Those of the cluster with this name.
    pub fn of_cluster(self: &Arc<Self>, name: &str) -> ClusterMetrics {
        ClusterMetrics { all: Arc::clone(self), labels: ClusterLabels::new(name) }
    }

    /// Counts the outcome of a record that is for none of the clusters.
    pub fn record_of_no_cluster(self: &Arc<Self>, outcome: &'static str) {
        self.of_cluster("").record(outcome);
    }
}

/// Counts of the records and the producers of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    all: Arc<Metrics>,
    labels: ClusterLabels,
}

impl ClusterMetrics {
    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.labels.cluster
    }

    fn of<M: Clone + Default>(&self, family: &PerCluster<M>) -> M {
        family.get_or_create_owned(&self.labels)
    }

    fn outcome(&self, outcome: &'static str) -> OutcomeLabels {
        OutcomeLabels { cluster: Arc::clone(&self.labels.cluster), outcome: Label(outcome) }
    }

    fn gauge(&self, family: &PerCluster<Gauge>, value: i64) {
        self.of(family).set(value);
    }

    /// Counts a record that was handed to the producer.
    pub fn record_enqueued(&self, value_bytes: usize) {
        self.of(&self.all.record_bytes).inc_by(value_bytes as u64);
    }

    /// Counts the outcome of a record.
    pub fn record(&self, outcome: &'static str) {
        self.all.records.get_or_create(&self.outcome(outcome)).inc();
    }

    /// Counts the outcome of a record whose caller had been answered before it was known.
    pub fn late(&self, outcome: &'static str) {
        self.all.late.get_or_create(&self.outcome(outcome)).inc();
    }

    /// Observes how long the answer of Kafka, or of librdkafka in its place, has taken.
    pub fn ack(&self, outcome: &'static str, latency: Duration) {
        self.all.ack_latency.get_or_create(&self.outcome(outcome)).observe(latency.as_secs_f64());
    }

    /// Counts a producer that had to be replaced.
    pub fn producer_rebuilt(&self) {
        self.of(&self.all.rebuilds).inc();
    }

    /// Counts a record that is produced once more, alone.
    pub fn isolated_attempt(&self) {
        self.of(&self.all.isolated_attempts).inc();
    }

    /// Counts a record for a topic beyond those that there may be. Returns whether it was the first.
    pub fn beyond_max_topics(&self) -> bool {
        self.of(&self.all.beyond_max_topics).inc() == 0
    }

    /// Sets what librdkafka says of itself.
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
