//! What the spool counts.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use segment_log::Segments;

use super::Limits;
use super::clock::now_millis;
use super::state::State;
use crate::metrics::{ClusterLabels, Label, PerCluster, register, register_with_unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BoundLabels {
    cluster: Arc<str>,
    bound: Label,
}

/// All that spools count, for each cluster.
#[derive(Debug)]
pub struct Metrics {
    records: PerCluster<Gauge>,
    bytes: PerCluster<Gauge>,
    bytes_limit: PerCluster<Gauge>,
    segments: PerCluster<Gauge>,
    oldest_age: PerCluster<Gauge<f64, AtomicU64>>,
    refused_records: PerCluster<Gauge>,
    refused_bytes: PerCluster<Gauge>,
    damaged: PerCluster<Gauge>,
    refused: PerCluster<Counter>,
    drained: PerCluster<Counter>,
    full: Family<BoundLabels, Counter>,
    sync: Family<ClusterLabels, Histogram, fn() -> Histogram>,
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

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            records: register(
                registry,
                "spool_records",
                "Records on disk that are not in Kafka yet",
                Family::default(),
            ),
            bytes: register_with_unit(
                registry,
                "spool",
                "What the spool takes on disk",
                Unit::Bytes,
                Family::default(),
            ),
            bytes_limit: register_with_unit(
                registry,
                "spool_limit",
                "The most that the spool may take on disk",
                Unit::Bytes,
                Family::default(),
            ),
            segments: register(registry, "spool_segments", "Files of records", Family::default()),
            oldest_age: register_with_unit(
                registry,
                "spool_oldest_age",
                "How long the oldest record that is not in Kafka yet has been on disk",
                Unit::Seconds,
                Family::default(),
            ),
            refused_records: register(
                registry,
                "spool_refused_records",
                "Records on disk that Kafka did not take and that were set aside",
                Family::default(),
            ),
            refused_bytes: register_with_unit(
                registry,
                "spool_refused",
                "What records that Kafka did not take, and that were set aside, take on disk; it is among spool_bytes",
                Unit::Bytes,
                Family::default(),
            ),
            damaged: register(
                registry,
                "spool_damaged",
                "1 if something on disk is not what was written, so that nothing behind it is drained and no record is taken",
                Family::default(),
            ),
            refused: register(
                registry,
                "spool_refused",
                "Records that Kafka did not take and that were set aside",
                Family::default(),
            ),
            drained: register(
                registry,
                "spool_drained",
                "Records that were written to Kafka from disk",
                Family::default(),
            ),
            full: register(
                registry,
                "spool_full",
                "Records that were not taken because the spool was full, by the bound that it had reached",
                Family::default(),
            ),
            sync: register_with_unit(
                registry,
                "spool_sync",
                "How long it takes to write a group of records to disk and sync it",
                Unit::Seconds,
                Family::new_with_constructor(sync_histogram),
            ),
        }
    }

    /// Those of the spool of one cluster.
    pub(super) fn of(&self, cluster: &str) -> Counts {
        let cluster: Arc<str> = cluster.into();
        let labels = ClusterLabels { cluster: Arc::clone(&cluster) };
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

    /// Sets the gauges.
    pub(super) fn state(&self, state: &mut State, segments: &Segments) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.records.set(number(segments.records()));
        self.bytes.set(number(segments.bytes() + state.dead_letters.bytes));
        self.segments.set(number(segments.list.len() as u64));
        self.refused_records.set(number(state.dead_letters.records));
        self.refused_bytes.set(number(state.dead_letters.bytes));
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
        let labels = BoundLabels { cluster: Arc::clone(&self.cluster), bound: Label(bound) };
        self.full.get_or_create(&labels).get()
    }

    pub(super) fn full(&self, bound: &'static str) {
        self.full
            .get_or_create(&BoundLabels { cluster: Arc::clone(&self.cluster), bound: Label(bound) })
            .inc();
    }

    pub(super) fn synced(&self, latency: Duration) {
        self.sync.observe(latency.as_secs_f64());
    }
}
