//! What is counted, and its Prometheus text. Labels come from the code, never from a request.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::stats::Stats;

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
struct OutcomeLabels {
    outcome: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: Name,
}

type Outcomes<M> = Family<OutcomeLabels, M>;

/// All that the bridge counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_bytes: Counter,
    records: Outcomes<Counter>,
    record_bytes: Counter,
    ack_latency: Family<OutcomeLabels, Histogram, fn() -> Histogram>,
    ready: Gauge,
    brokers_up: Gauge,
    queue_records: Gauge,
    queue_records_limit: Gauge,
    queue_bytes: Gauge,
    queue_bytes_limit: Gauge,
    transmissions: Gauge<i64>,
    retransmissions: Gauge<i64>,
    broker_rtt: Gauge<f64, AtomicU64>,
    rebuilds: Counter,
    isolated_attempts: Counter,
    hop_refusals: Family<ReasonLabels, Counter>,
    idempotency_replays: Counter,
    idempotency_conflicts: Counter,
    idempotency_entries: Gauge,
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
            requests: Family::default(),
            request_bytes: Counter::default(),
            records: Family::default(),
            record_bytes: Counter::default(),
            ack_latency: Family::new_with_constructor(ack_latency_histogram),
            ready: Gauge::default(),
            brokers_up: Gauge::default(),
            queue_records: Gauge::default(),
            queue_records_limit: Gauge::default(),
            queue_bytes: Gauge::default(),
            queue_bytes_limit: Gauge::default(),
            transmissions: Gauge::default(),
            retransmissions: Gauge::default(),
            broker_rtt: Gauge::default(),
            rebuilds: Counter::default(),
            isolated_attempts: Counter::default(),
            hop_refusals: Family::default(),
            idempotency_replays: Counter::default(),
            idempotency_conflicts: Counter::default(),
            idempotency_entries: Gauge::default(),
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
            "Requests that brought no valid proof of who sent them, by what was wrong",
            self.hop_refusals.clone(),
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
    }

    /// A request was answered. `route` is the template of the route, not the path.
    pub fn request(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: Name(route), status }).inc();
    }

    /// A body was read.
    pub fn body_read(&self, bytes: usize) {
        self.request_bytes.inc_by(bytes as u64);
    }

    /// A record was handed to the producer.
    pub fn record_enqueued(&self, value_bytes: usize) {
        self.record_bytes.inc_by(value_bytes as u64);
    }

    /// It is known what became of a record.
    pub fn record(&self, outcome: &'static str) {
        self.records.get_or_create(&OutcomeLabels { outcome: Name(outcome) }).inc();
    }

    /// Kafka, or librdkafka in its place, has answered for a record after `latency`.
    pub fn ack(&self, outcome: &'static str, latency: Duration) {
        self.ack_latency
            .get_or_create(&OutcomeLabels { outcome: Name(outcome) })
            .observe(latency.as_secs_f64());
    }

    /// A producer had to be replaced.
    pub fn producer_rebuilt(&self) {
        self.rebuilds.inc();
    }

    /// A record is produced once more, alone.
    pub fn isolated_attempt(&self) {
        self.isolated_attempts.inc();
    }

    /// A request brought no valid proof.
    pub fn hop_refused(&self, reason: &'static str) {
        self.hop_refusals.get_or_create(&ReasonLabels { reason: Name(reason) }).inc();
    }

    /// An event had come before.
    pub fn idempotency_replay(&self) {
        self.idempotency_replays.inc();
    }

    /// An event has the name of another one.
    pub fn idempotency_conflict(&self) {
        self.idempotency_conflicts.inc();
    }

    /// So many events are remembered.
    pub fn idempotency_entries(&self, count: usize) {
        self.idempotency_entries.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Takes over what librdkafka says of itself.
    pub fn statistics(&self, stats: &Stats) {
        self.brokers_up.set(i64::try_from(stats.brokers_up()).unwrap_or(i64::MAX));
        self.queue_records.set(stats.msg_cnt);
        self.queue_records_limit.set(stats.msg_max);
        self.queue_bytes.set(stats.msg_size);
        self.queue_bytes_limit.set(stats.msg_size_max);
        self.transmissions.set(stats.tx);
        self.retransmissions.set(stats.retries());
        self.broker_rtt.set(stats.slowest_round_trip().as_secs_f64());
    }

    /// The text of all metrics.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn encode(&self, ready: bool) -> Result<String, std::fmt::Error> {
        self.ready.set(i64::from(ready));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
