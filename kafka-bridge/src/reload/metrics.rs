//! What is counted of changes of the configuration.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Label, register, register_with_unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: Label,
}

/// Counts of changes of the configuration.
#[derive(Debug)]
pub struct Metrics {
    reloads: Family<ResultLabels, Counter>,
    last_success: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            reloads: register(
                registry,
                "config_reloads",
                "Times that the configuration was read anew, by what became of it",
                Family::default(),
            ),
            last_success: register_with_unit(
                registry,
                "config_last_reload_success_timestamp",
                "When the configuration that holds was taken over, since 1970-01-01T00:00:00Z",
                Unit::Seconds,
                Gauge::default(),
            ),
        }
    }

    /// Counts an attempt to apply a configuration.
    pub(super) fn attempt(&self, result: &'static str) {
        self.reloads.get_or_create(&ResultLabels { result: Label(result) }).inc();
    }

    /// Notes that a configuration holds from now on.
    pub(super) fn applied(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_success.set(now.as_secs_f64());
    }
}
