//! What is counted, and its Prometheus text. Labels come from the code and the configuration, never from a request.

mod cluster;
mod snapshot;

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use cluster::ClusterMetrics;
use cluster::Each;
use snapshot::Snapshots;

use crate::spool;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label value that is part of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name(&'static str);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Name,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpanLabels {
    outcome: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProofLabels {
    proof: Name,
}

/// All that the bridge counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    snapshots: Snapshots,
    requests: Family<RequestLabels, Counter>,
    request_bytes: Counter,
    records: Family<cluster::OutcomeLabels, Counter>,
    late: Family<cluster::OutcomeLabels, Counter>,
    record_bytes: Each<Counter>,
    ack_latency: Family<cluster::OutcomeLabels, Histogram, fn() -> Histogram>,
    ready: Gauge,
    cluster_ready: Each<Gauge>,
    brokers_up: Each<Gauge>,
    queue_records: Each<Gauge>,
    queue_records_limit: Each<Gauge>,
    queue_bytes: Each<Gauge>,
    queue_bytes_limit: Each<Gauge>,
    transmissions: Each<Gauge>,
    retransmissions: Each<Gauge>,
    records_sent: Each<Gauge>,
    batches_sent: Each<Gauge>,
    broker_rtt: Each<Gauge<f64, AtomicU64>>,
    rebuilds: Each<Counter>,
    isolated_attempts: Each<Counter>,
    hop_refusals: Family<ReasonLabels, Counter>,
    body_memory: Family<ProofLabels, Gauge>,
    body_memory_limit: Family<ProofLabels, Gauge>,
    connections: Family<ProofLabels, Gauge>,
    connections_limit: Gauge,
    connections_ended: Family<ReasonLabels, Counter>,
    breaker_cluster_open: Each<Gauge>,
    breaker_topics_open: Each<Gauge>,
    breaker_openings: Family<cluster::ReasonLabels, Counter>,
    breaker_rejected: Each<Counter>,
    beyond_max_topics: Each<Counter>,
    reloads: Family<ResultLabels, Counter>,
    last_reload: Gauge<f64, AtomicU64>,
    idempotency_replays: Counter,
    idempotency_conflicts: Counter,
    idempotency_entries: Gauge,
    idempotency_unjournaled: Counter,
    idempotency_unshared: Counter,
    idempotency_redis_up: Gauge,
    spans: Family<SpanLabels, Counter>,
    /// Of limits that gateways share.
    pub limits: crate::limits::Metrics,
    /// Of records on this machine's disk.
    pub spool: spool::Metrics,
}

/// 250 µs to 10 s: from a broker on the same machine to past the default delivery timeout.
fn ack_latency_histogram() -> Histogram {
    Histogram::new([
        0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("kafka_bridge"),
            snapshots: Snapshots::default(),
            body_memory: Family::default(),
            body_memory_limit: Family::default(),
            requests: Family::default(),
            request_bytes: Counter::default(),
            records: Family::default(),
            late: Family::default(),
            record_bytes: Each::default(),
            ack_latency: Family::new_with_constructor(ack_latency_histogram),
            ready: Gauge::default(),
            cluster_ready: Each::default(),
            brokers_up: Each::default(),
            queue_records: Each::default(),
            queue_records_limit: Each::default(),
            queue_bytes: Each::default(),
            queue_bytes_limit: Each::default(),
            transmissions: Each::default(),
            retransmissions: Each::default(),
            records_sent: Each::default(),
            batches_sent: Each::default(),
            broker_rtt: Each::default(),
            rebuilds: Each::default(),
            isolated_attempts: Each::default(),
            hop_refusals: Family::default(),
            connections: Family::default(),
            connections_limit: Gauge::default(),
            connections_ended: Family::default(),
            breaker_cluster_open: Each::default(),
            breaker_topics_open: Each::default(),
            breaker_openings: Family::default(),
            breaker_rejected: Each::default(),
            beyond_max_topics: Each::default(),
            reloads: Family::default(),
            last_reload: Gauge::default(),
            idempotency_replays: Counter::default(),
            idempotency_conflicts: Counter::default(),
            idempotency_entries: Gauge::default(),
            idempotency_unjournaled: Counter::default(),
            idempotency_unshared: Counter::default(),
            idempotency_redis_up: Gauge::default(),
            spans: Family::default(),
            limits: crate::limits::Metrics::default(),
            spool: spool::Metrics::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("http_requests", "HTTP requests answered, by route and status", self.requests.clone());
        r.register_with_unit(
            "http_request_body",
            "Bytes of request bodies read",
            Unit::Bytes,
            self.request_bytes.clone(),
        );
        r.register(
            "records",
            "Records by what became of them, as far as the bridge ever learned, whether or not a caller still waited",
            self.records.clone(),
        );
        r.register(
            "late_records",
            "Records by what became of them after their callers had been told that nobody knows; they are among the unknown in kafka_bridge_records_total",
            self.late.clone(),
        );
        r.register_with_unit(
            "record_values",
            "Bytes of record values handed to the producer",
            Unit::Bytes,
            self.record_bytes.clone(),
        );
        r.register_with_unit(
            "ack_latency",
            "From handing a record to the producer to Kafka's answer, by outcome; abandoned: the caller no longer waited",
            Unit::Seconds,
            self.ack_latency.clone(),
        );
        r.register("ready", "1 if /readyz answers 200", self.ready.clone());
        r.register("cluster_ready", "1 if the cluster can be written", self.cluster_ready.clone());
        r.register("brokers_up", "Brokers with an open connection", self.brokers_up.clone());
        r.register("queue_records", "Records waiting for Kafka", self.queue_records.clone());
        r.register(
            "queue_records_limit",
            "Most records that may wait for Kafka",
            self.queue_records_limit.clone(),
        );
        r.register_with_unit(
            "queue",
            "Memory of records waiting for Kafka",
            Unit::Bytes,
            self.queue_bytes.clone(),
        );
        r.register_with_unit(
            "queue_limit",
            "Most memory that records waiting for Kafka may take",
            Unit::Bytes,
            self.queue_bytes_limit.clone(),
        );
        r.register(
            "broker_requests_sent",
            "Requests sent to brokers by the present producer",
            self.transmissions.clone(),
        );
        r.register(
            "broker_requests_retried",
            "Requests to brokers that the present producer had to repeat",
            self.retransmissions.clone(),
        );
        r.register(
            "producer_records_sent",
            "Records sent to brokers by the present producer, repetitions included",
            self.records_sent.clone(),
        );
        r.register(
            "producer_batches_sent",
            "Batches in which the present producer sent them",
            self.batches_sent.clone(),
        );
        r.register_with_unit(
            "broker_round_trip",
            "99th percentile of the slowest broker's round trip",
            Unit::Seconds,
            self.broker_rtt.clone(),
        );
        r.register("producer_rebuilds", "Producers replaced after a fatal error", self.rebuilds.clone());
        r.register(
            "isolated_attempts",
            "Records produced once more, alone, after Kafka had refused the batch that they were in",
            self.isolated_attempts.clone(),
        );
        r.register(
            "hop_refusals",
            "Requests that brought no valid proof of who sent them, or whose body did not come to be checked, by what was wrong",
            self.hop_refusals.clone(),
        );
        r.register_with_unit(
            "body_memory",
            "Memory of request bodies; proof: none for those whose sender has not shown any yet",
            Unit::Bytes,
            self.body_memory.clone(),
        );
        r.register_with_unit(
            "body_memory_limit",
            "Most memory that request bodies may take, those without a proof, and all together (any)",
            Unit::Bytes,
            self.body_memory_limit.clone(),
        );
        r.register(
            "connections",
            "Open connections; proof: given once a request on the connection was let in",
            self.connections.clone(),
        );
        r.register("connections_limit", "Most connections at a time", self.connections_limit.clone());
        r.register(
            "connections_ended",
            "Connections that the bridge ended without their consent, by why",
            self.connections_ended.clone(),
        );
        r.register(
            "breaker_cluster_open",
            "1 while Kafka is known not to answer, and no record is handed to it",
            self.breaker_cluster_open.clone(),
        );
        r.register(
            "breaker_topics_open",
            "Topics whose records are known not to be acknowledged, and are not handed to Kafka",
            self.breaker_topics_open.clone(),
        );
        r.register(
            "breaker_openings",
            "How often the breaker of the cluster (unanswered) or of a topic (stalled, failing) opened",
            self.breaker_openings.clone(),
        );
        r.register(
            "breaker_rejected_records",
            "Records answered 503 at once because Kafka was known not to take them",
            self.breaker_rejected.clone(),
        );
        r.register(
            "max_topics_rejected_records",
            "Records answered 503 because they were for further topics than --max-topics",
            self.beyond_max_topics.clone(),
        );
        r.register(
            "config_reloads",
            "Times that the configuration was read anew, by what became of it",
            self.reloads.clone(),
        );
        r.register_with_unit(
            "config_last_reload_success_timestamp",
            "When the configuration that holds was taken over, since 1970-01-01T00:00:00Z",
            Unit::Seconds,
            self.last_reload.clone(),
        );
        r.register(
            "idempotency_replays",
            "Events that had come before, and were answered as the first time and not written again",
            self.idempotency_replays.clone(),
        );
        r.register(
            "idempotency_conflicts",
            "Events with the name of another one that came before, not written",
            self.idempotency_conflicts.clone(),
        );
        r.register("idempotency_entries", "Events remembered", self.idempotency_entries.clone());
        r.register(
            "idempotency_unjournaled",
            "Events acknowledged that a restart will not know of, because the journal could not be written",
            self.idempotency_unjournaled.clone(),
        );
        r.register(
            "idempotency_unshared",
            "Events that Redis could not be asked about, written or answered 503 as it is set",
            self.idempotency_unshared.clone(),
        );
        r.register(
            "idempotency_redis_up",
            "Whether Redis answered the last time that it was asked",
            self.idempotency_redis_up.clone(),
        );
        r.register(
            "spans",
            "Spans for the collector by what became of them; dropped: too many were waiting",
            self.spans.clone(),
        );
        self.limits.register(r);
        self.spool.register(r);
    }

    /// It is known what became of `count` spans.
    pub fn spans(&self, outcome: &'static str, count: u64) {
        self.spans.get_or_create(&SpanLabels { outcome: Name(outcome) }).inc_by(count);
    }

    /// A request was answered. `route` is the template of the route, not the path.
    pub fn request(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: Name(route), status }).inc();
    }

    /// A body was read.
    pub fn body_read(&self, bytes: usize) {
        self.request_bytes.inc_by(bytes as u64);
    }

    /// A request brought no valid proof.
    pub fn hop_refused(&self, reason: &'static str) {
        self.hop_refusals.get_or_create(&ReasonLabels { reason: Name(reason) }).inc();
    }

    /// What bodies take and may take, all of them and those without a proof, in KiB.
    pub fn body_memory(&self, [whole, unproven]: [(u32, u32); 2]) {
        let label = |name| ProofLabels { proof: Name(name) };
        let bytes = |kbytes: u32| i64::from(kbytes) * 1024;
        self.body_memory.get_or_create(&label("given")).set(bytes(whole.0.saturating_sub(unproven.0)));
        self.body_memory.get_or_create(&label("none")).set(bytes(unproven.0));
        self.body_memory_limit.get_or_create(&label("any")).set(bytes(whole.1));
        self.body_memory_limit.get_or_create(&label("none")).set(bytes(unproven.1));
    }

    /// So many connections are open on which a request was let in, and so many others.
    pub fn connections(&self, let_in: usize, strangers: usize) {
        for (proof, count) in [("given", let_in), ("none", strangers)] {
            let gauge = self.connections.get_or_create(&ProofLabels { proof: Name(proof) });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// So many may be open at a time.
    pub fn connections_limit(&self, limit: usize) {
        self.connections_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// The bridge ended a connection.
    pub fn connection_ended(&self, reason: &'static str) {
        self.connections_ended.get_or_create(&ReasonLabels { reason: Name(reason) }).inc();
    }

    /// The configuration was read anew.
    pub fn reload(&self, result: &'static str) {
        self.reloads.get_or_create(&ResultLabels { result: Name(result) }).inc();
    }

    /// A configuration holds from now on.
    pub fn configuration_taken_over(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_reload.set(now.as_secs_f64());
    }

    /// An event had come before.
    pub fn idempotency_replay(&self) {
        self.idempotency_replays.inc();
    }

    /// An event has the name of another one.
    pub fn idempotency_conflict(&self) {
        self.idempotency_conflicts.inc();
    }

    /// So many events could not be written to the journal.
    pub fn idempotency_unjournaled(&self, count: usize) {
        self.idempotency_unjournaled.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// How many events the journal does not have.
    #[cfg(test)]
    pub fn unjournaled(&self) -> usize {
        usize::try_from(self.idempotency_unjournaled.get()).unwrap_or(usize::MAX)
    }

    /// Redis could not be asked about so many events.
    pub fn idempotency_unshared(&self, count: usize) {
        self.idempotency_unshared.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Redis has answered, or has not.
    pub fn idempotency_redis_up(&self, up: bool) {
        self.idempotency_redis_up.set(i64::from(up));
    }

    /// So many events are remembered.
    pub fn idempotency_entries(&self, count: usize) {
        self.idempotency_entries.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The text of all metrics; of a moment ago if many that were asked for are not read.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn encode(&self, ready: bool) -> Result<Bytes, std::fmt::Error> {
        self.snapshots.take(|| {
            self.ready.set(i64::from(ready));
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
            Ok(text)
        })
    }
}
