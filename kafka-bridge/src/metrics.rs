//! What metrics of all modules have in common, and their text for Prometheus. Each module creates its own in a registry.
//! Labels come from the code and the configuration, never from a request.

mod snapshot;

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry, Unit};

use snapshot::Snapshots;

/// The media type of [`Exposition::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label value that is part of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label(pub(crate) &'static str);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// The name of a cluster, from the configuration; empty for a record that is for none of the bridge's clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ClusterLabels {
    pub(crate) cluster: Arc<str>,
}

impl ClusterLabels {
    pub(crate) fn new(cluster: &str) -> Self {
        Self { cluster: cluster.into() }
    }
}

/// One metric for each cluster.
pub(crate) type PerCluster<M> = Family<ClusterLabels, M>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    pub(crate) reason: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ProofLabels {
    pub(crate) proof: Label,
}

/// A registry whose metrics have the bridge's prefix.
pub fn registry() -> Registry {
    Registry::with_prefix("kafka_bridge")
}

/// Registers a metric and returns it.
pub(crate) fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a metric whose name ends with a unit, and returns it.
pub(crate) fn register_with_unit<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Unit,
    metric: M,
) -> M {
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

/// The text of all metrics.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
    snapshots: Snapshots,
}

impl Exposition {
    /// Of what is in `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry, snapshots: Snapshots::default() }
    }

    /// The text; of a moment ago if many that were asked for are not read.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn encode(&self) -> Result<Bytes, fmt::Error> {
        self.snapshots.take(|| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
            Ok(text)
        })
    }
}
