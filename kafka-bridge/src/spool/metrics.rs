//! What the spool counts.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Limits;
use super::clock::now_millis;
use super::state::State;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name(&'static str);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BoundLabels {
    cluster: Arc<str>,
    bound: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    cluster: Arc<str>,
}

type Each<M> = Family<Labels, M>;

/// All that spools count, for each cluster.
#[derive(Debug)]
pub struct Metrics {
    records: Each<Gauge>,
    bytes: Each<Gauge>,
    bytes_limit: Each<Gauge>,
    segments: Each<Gauge>,
    oldest_age: Each<Gauge<f64, AtomicU64>>,
    refused_records: Each<Gauge>,
    refused_bytes: Each<Gauge>,
    damaged: Each<Gauge>,
    refused: Each<Counter>,
    drained: Each<Counter>,
    full: Family<BoundLabels, Counter>,
    sync: Family<Labels, Histogram, fn() -> Histogram>,
}

/// What one spool counts.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    cluster: Arc<str>,
    records: Gauge,
    bytes: Gauge,
    bytes_limit: Gauge,
    segments: Gauge,
    oldest_age: Gauge<f64, AtomicU64>,
    refused_records: Gauge,
    refused_bytes: Gauge,
    damaged: Gauge,
    refused: Counter,
    drained: Counter,
    full: Family<BoundLabels, Counter>,
    sync: Histogram,
}

/// 100 µs to 5 s: from a disk with a battery behind it to one that is failing.
fn sync_histogram() -> Histogram {
    Histogram::new([
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            records: Each::default(),
            bytes: Each::default(),
            bytes_limit: Each::default(),
            segments: Each::default(),
            oldest_age: Each::default(),
            refused_records: Each::default(),
            refused_bytes: Each::default(),
            damaged: Each::default(),
            refused: Each::default(),
            drained: Each::default(),
            full: Family::default(),
            sync: Family::new_with_constructor(sync_histogram),
        }
    }
}

impl Metrics {
    /// Makes them known.
    pub fn register(&self, r: &mut Registry) {
        r.register("spool_records", "Records on disk that are not in Kafka yet", self.records.clone());
        r.register_with_unit("spool", "What the spool takes on disk", Unit::Bytes, self.bytes.clone());
        r.register_with_unit(
            "spool_limit",
            "The most that the spool may take on disk",
            Unit::Bytes,
            self.bytes_limit.clone(),
        );
        r.register("spool_segments", "Files of records", self.segments.clone());
        r.register_with_unit(
            "spool_oldest_age",
            "How long the oldest record that is not in Kafka yet has been on disk",
            Unit::Seconds,
            self.oldest_age.clone(),
        );
        r.register(
            "spool_refused_records",
            "Records on disk that Kafka did not take and that were set aside",
            self.refused_records.clone(),
        );
        r.register_with_unit(
            "spool_refused",
            "What records that Kafka did not take, and that were set aside, take on disk; it is among spool_bytes",
            Unit::Bytes,
            self.refused_bytes.clone(),
        );
        r.register(
            "spool_damaged",
            "1 if something on disk is not what was written, so that nothing behind it is drained and no record is taken",
            self.damaged.clone(),
        );
        r.register(
            "spool_refused",
            "Records that Kafka did not take and that were set aside",
            self.refused.clone(),
        );
        r.register("spool_drained", "Records that were written to Kafka from disk", self.drained.clone());
        r.register(
            "spool_full",
            "Records that were not taken because the spool was full, by the bound that it had reached",
            self.full.clone(),
        );
        r.register_with_unit(
            "spool_sync",
            "How long it takes to write a group of records to disk and sync it",
            Unit::Seconds,
            self.sync.clone(),
        );
    }

    /// Those of the spool of one cluster.
    pub(super) fn of(&self, cluster: &str) -> Counts {
        let cluster: Arc<str> = cluster.into();
        let labels = Labels { cluster: Arc::clone(&cluster) };
        Counts {
            records: self.records.get_or_create_owned(&labels),
            bytes: self.bytes.get_or_create_owned(&labels),
            bytes_limit: self.bytes_limit.get_or_create_owned(&labels),
            segments: self.segments.get_or_create_owned(&labels),
            oldest_age: self.oldest_age.get_or_create_owned(&labels),
            refused_records: self.refused_records.get_or_create_owned(&labels),
            refused_bytes: self.refused_bytes.get_or_create_owned(&labels),
            damaged: self.damaged.get_or_create_owned(&labels),
            refused: self.refused.get_or_create_owned(&labels),
            drained: self.drained.get_or_create_owned(&labels),
            full: self.full.clone(),
            sync: self.sync.get_or_create_owned(&labels),
            cluster,
        }
    }
}

impl Counts {
    pub(super) fn limits(&self, limits: &Limits) {
        self.bytes_limit.set(i64::try_from(limits.bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn state(&self, state: &mut State) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.records.set(number(state.records()));
        self.bytes.set(number(state.bytes()));
        self.segments.set(number(state.segments.len() as u64));
        self.refused_records.set(number(state.refused.records));
        self.refused_bytes.set(number(state.refused.bytes));
        self.damaged.set(i64::from(state.damaged));
        let age = state.oldest_age(now_millis()).unwrap_or(0);
        self.oldest_age.set(Duration::from_millis(age).as_secs_f64());
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    pub(super) fn drained(&self) {
        self.drained.inc();
    }

    #[cfg(test)]
    pub(super) fn drained_so_far(&self) -> u64 {
        self.drained.get()
    }

    #[cfg(test)]
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.get() == 1
    }

    #[cfg(test)]
    pub(super) fn full_so_far(&self, bound: &'static str) -> u64 {
        let labels = BoundLabels { cluster: Arc::clone(&self.cluster), bound: Name(bound) };
        self.full.get_or_create(&labels).get()
    }

    pub(super) fn full(&self, bound: &'static str) {
        self.full
            .get_or_create(&BoundLabels { cluster: Arc::clone(&self.cluster), bound: Name(bound) })
            .inc();
    }

    pub(super) fn synced(&self, latency: Duration) {
        self.sync.observe(latency.as_secs_f64());
    }
}
