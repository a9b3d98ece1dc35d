//! What those who run the bridge ask it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::{Shared, openapi};
use crate::metrics;
use crate::problem::Problem;

/// 200 as long as the process answers at all. It does not depend on Kafka: a restart would not mend Kafka.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// 200 if a record could be produced now to each cluster that is required, or spooled where that is enough.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Result<String, Problem> {
    let readiness = shared.clusters.readiness(shared.spools.as_deref());
    if readiness.ready { Ok(readiness.text + "\n") } else { Err(Problem::unavailable(readiness.text, 1)) }
}

/// What all paths take and answer.
pub(super) async fn openapi() -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], openapi::DOCUMENT.as_str()).into_response()
}

/// All metrics, as text for Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    shared.metrics.body_memory(shared.limits.memory.in_use());
    // Which sets what is said of it.
    let _ = shared.clusters.readiness(shared.spools.as_deref());
    let text = shared.exposition.encode().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Problem::unavailable("the metrics cannot be written", 1)
    })?;
    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
