//! What is counted of spans.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::metrics::{Label, register};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Label,
}

/// Counts of spans.
#[derive(Debug)]
pub struct Metrics {
    spans: Family<OutcomeLabels, Counter>,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            spans: register(
                registry,
                "spans",
                "Spans for the collector by what became of them; dropped: too many were waiting",
                Family::default(),
            ),
        }
    }

    /// Counts spans that were exported, failed or dropped.
    pub(super) fn spans(&self, outcome: &'static str, count: u64) {
        self.spans.get_or_create(&OutcomeLabels { outcome: Label(outcome) }).inc_by(count);
    }
}
