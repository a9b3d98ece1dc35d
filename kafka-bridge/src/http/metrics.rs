//! What is counted of requests.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Label, ProofLabels, ReasonLabels, register, register_with_unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Label,
    status: u16,
}

/// Counts of requests.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    request_bytes: Counter,
    hop_refusals: Family<ReasonLabels, Counter>,
    body_memory: Family<ProofLabels, Gauge>,
    body_memory_limit: Family<ProofLabels, Gauge>,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            requests: register(
                registry,
                "http_requests",
                "HTTP requests answered, by route and status",
                Family::default(),
            ),
            request_bytes: register_with_unit(
                registry,
                "http_request_body",
                "Bytes of request bodies read",
                Unit::Bytes,
                Counter::default(),
            ),
            hop_refusals: register(
                registry,
                "hop_refusals",
                "Requests that brought no valid proof of who sent them, or whose body did not come to be checked, by what was wrong",
                Family::default(),
            ),
            body_memory: register_with_unit(
                registry,
                "body_memory",
                "Memory of request bodies; proof: none for those whose sender has not shown any yet",
                Unit::Bytes,
                Family::default(),
            ),
            body_memory_limit: register_with_unit(
                registry,
                "body_memory_limit",
                "Most memory that request bodies may take, those without a proof, and all together (any)",
                Unit::Bytes,
                Family::default(),
            ),
        }
    }

    /// Counts an answer. `route` is the template of the route, not the path.
    pub(super) fn request(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: Label(route), status }).inc();
    }

    /// Counts the bytes of a body.
    pub(super) fn body_read(&self, bytes: usize) {
        self.request_bytes.inc_by(bytes as u64);
    }

    /// Counts a request without a valid proof.
    pub(super) fn hop_refused(&self, reason: &'static str) {
        self.hop_refusals.get_or_create(&ReasonLabels { reason: Label(reason) }).inc();
    }

    /// Sets what bodies take and may take, all of them and those without a proof, in KiB.
    pub(super) fn body_memory(&self, [whole, unproven]: [(u32, u32); 2]) {
        let label = |name| ProofLabels { proof: Label(name) };
        let bytes = |kbytes: u32| i64::from(kbytes) * 1024;
        self.body_memory.get_or_create(&label("given")).set(bytes(whole.0.saturating_sub(unproven.0)));
        self.body_memory.get_or_create(&label("none")).set(bytes(unproven.0));
        self.body_memory_limit.get_or_create(&label("any")).set(bytes(whole.1));
        self.body_memory_limit.get_or_create(&label("none")).set(bytes(unproven.1));
    }
}
