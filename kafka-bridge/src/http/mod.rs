//! The HTTP interface: which path does what, and what every answer has in common.

mod admission;
mod at_most;
mod body;
mod event_view;
mod events;
mod head;
mod metrics;
mod openapi;
mod operations;
mod options;
mod receive;
mod records;
mod results;
mod shortened;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::Value;
use wicketgate_envelope::hop::{BRIDGE_HEADER, RECORDS_PATH};

use crate::body_memory::{BodyMemory, Bounds};
use crate::clusters::Clusters;
use crate::hop::Guard;
use crate::idempotency::Memory;
use crate::limits::SharedLimits;
use crate::metrics::Exposition;
use crate::problem::{Kind, Problem};
use crate::producer;
use crate::server;
use crate::sparse::Sparse;
use crate::spool::Spools;
use crate::telemetry::Telemetry;
use crate::topics::Topics;
pub use metrics::Metrics;
pub use options::Reloadable;

const VERSION: HeaderValue = HeaderValue::from_static(env!("CARGO_PKG_VERSION"));
const EVENTS_PATH: &str = "/v1/topics/{topic}/events";
const CLUSTER_EVENTS_PATH: &str = "/v1/clusters/{cluster}/topics/{topic}/events";

/// What the handlers share.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub struct Shared {
    /// Where records go.
    pub clusters: Arc<Clusters>,
    /// What has been written lately, unless nothing is to be remembered.
    pub idempotency: Option<Arc<Memory>>,
    /// Where records wait that are acknowledged before Kafka has them, if there is such a place.
    pub spools: Option<Arc<Spools>>,
    /// What is counted of requests.
    pub metrics: Arc<Metrics>,
    /// What is counted of records.
    pub records: Arc<producer::Metrics>,
    /// The text of all that is counted.
    pub exposition: Arc<Exposition>,
    /// Limits that gateways share.
    pub shared_limits: Arc<SharedLimits>,
    /// What requests may ask for.
    pub limits: Limits,
    /// Who may ask.
    pub guard: Guard,
    /// Who makes spans, unless none are to be made.
    pub telemetry: Option<Arc<Telemetry>>,
    /// Which topics they may write.
    pub topics: Topics,
}

impl Shared {
    /// It is known what became of a record that was not handed to a producer.
    fn count_record(&self, cluster: Option<&str>, outcome: &'static str) {
        match self.clusters.get(cluster) {
            Some(cluster) => cluster.metrics.record(outcome),
            None => self.records.record_of_no_cluster(outcome),
        }
    }

    /// The same with what else a changed configuration brings.
    pub(crate) fn with(&self, limits: Limits, guard: Guard, topics: Topics) -> Self {
        Self {
            clusters: Arc::clone(&self.clusters),
            idempotency: self.idempotency.clone(),
            spools: self.spools.clone(),
            metrics: Arc::clone(&self.metrics),
            records: Arc::clone(&self.records),
            exposition: Arc::clone(&self.exposition),
            shared_limits: Arc::clone(&self.shared_limits),
            limits,
            guard,
            telemetry: self.telemetry.clone(),
            topics,
        }
    }
}

/// What requests may ask for.
#[derive(Debug)]
pub struct Limits {
    /// Bytes of one body.
    pub body_bytes: usize,
    /// Fields in one head.
    pub headers: usize,
    /// Bytes of one head: target, names, values, and 32 for each field.
    pub header_bytes: usize,
    /// Time for one body to arrive.
    pub body_timeout: Duration,
    /// Time for the next of its bytes to arrive.
    pub body_idle_timeout: Duration,
    /// Records in one call.
    pub records: usize,
    /// Time for one record's answer.
    pub answer_timeout: Duration,
    /// Memory for all bodies together.
    memory: Arc<BodyMemory>,
}

impl Limits {
    /// As configured; with the memory of `before`, if there is one, which holds to this from now on.
    pub fn new(
        options: &Reloadable,
        heads: &server::Reloadable,
        kafka: &producer::Options,
        before: Option<&Self>,
    ) -> Self {
        let bounds = Bounds::new(options.max_body_bytes, kafka.queue_kbytes);
        let memory =
            before.map_or_else(|| Arc::new(BodyMemory::new(bounds)), |before| Arc::clone(&before.memory));
        memory.reconfigure(bounds);
        let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        Self {
            body_bytes: size(options.max_body_bytes),
            headers: size(heads.max_headers),
            header_bytes: size(heads.max_header_bytes),
            body_timeout: heads.body_timeout,
            body_idle_timeout: options.body_idle_timeout,
            records: size(options.max_records),
            answer_timeout: kafka.answer_timeout(),
            memory,
        }
    }
}

/// A path, what it does, and what the OpenAPI document says of it.
struct Route {
    path: &'static str,
    /// In lower case.
    method: &'static str,
    handler: fn() -> MethodRouter<Arc<Shared>>,
    /// Whether it takes a proof, where one is configured.
    guarded: bool,
    describe: fn() -> Value,
}

/// All of them.
const ROUTES: [Route; 7] = [
    Route {
        path: RECORDS_PATH,
        method: "post",
        handler: || post(records::produce),
        guarded: true,
        describe: openapi::records,
    },
    Route {
        path: EVENTS_PATH,
        method: "post",
        handler: || post(events::produce),
        guarded: true,
        describe: openapi::events,
    },
    Route {
        path: CLUSTER_EVENTS_PATH,
        method: "post",
        handler: || post(events::produce_to_cluster),
        guarded: true,
        describe: openapi::cluster_events,
    },
    Route {
        path: "/livez",
        method: "get",
        handler: || get(operations::live),
        guarded: false,
        describe: openapi::live,
    },
    Route {
        path: "/readyz",
        method: "get",
        handler: || get(operations::ready),
        guarded: false,
        describe: openapi::ready,
    },
    Route {
        path: "/metrics",
        method: "get",
        handler: || get(operations::metrics),
        guarded: false,
        describe: openapi::metrics,
    },
    Route {
        path: "/openapi.json",
        method: "get",
        handler: || get(operations::openapi),
        guarded: false,
        describe: openapi::itself,
    },
];

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Callers and operators.
    Everybody,
    /// Callers alone, where operators have a listener of their own.
    Callers,
    /// Operators alone.
    Operators,
}

/// The routes for these.
pub fn router(shared: Arc<Shared>, audience: Audience) -> Router {
    let proof = || middleware::from_fn_with_state(Arc::clone(&shared), admission::require_proof);
    let is_served = |route: &&Route| match audience {
        Audience::Everybody => true,
        Audience::Callers => route.guarded,
        Audience::Operators => !route.guarded,
    };
    ROUTES
        .iter()
        .filter(is_served)
        .fold(Router::new(), |router, route| {
            let handler = (route.handler)();
            router.route(route.path, if route.guarded { handler.route_layer(proof()) } else { handler })
        })
        .fallback(async || Problem::new(Kind::NotFound, "the bridge has no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(Kind::MethodNotAllowed, "the Allow header names the methods that this path takes")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), finish))
        .with_state(shared)
}

/// Refuses heads that are too large, and finishes each response: gives problems their body, marks it as the bridge's own, counts it.
async fn finish(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let route = route_label(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let request_id = request_id(request.headers());
    let mut response = match head::check(&request, &shared.limits) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let request_id = request_id.as_deref();
        tracing::debug!(route, request_id, ?problem, "answered with a problem");
        if route == RECORDS_PATH {
            warn_of_another_version(response.status().as_u16(), problem.detail(), request_id);
        }
        response = problem.render(response, request_id);
    }
    response.headers_mut().insert(BRIDGE_HEADER, VERSION);
    shared.metrics.request(route, response.status().as_u16());
    response
}

/// Gateways send what their bridge can read. A call that is refused for what it is comes from another release, or was changed
/// on its way.
fn warn_of_another_version(status: u16, detail: &str, request_id: Option<&str>) {
    static REFUSED: LazyLock<Sparse> = LazyLock::new(Sparse::default);
    if !matches!(status, 400 | 403 | 405 | 415 | 431) {
        return;
    }
    if let Some(left_out) = REFUSED.take(status, Instant::now()) {
        let (detail, version) = (shortened::shortened(detail), env!("CARGO_PKG_VERSION"));
        tracing::warn!(
            status,
            detail,
            version,
            request_id,
            left_out,
            "a call of a gateway cannot be read: gateway and bridge have to be of one release, and no proxy between them \
             may change what is sent"
        );
    }
}

/// Metric labels are part of the code, so that no request can make new ones.
fn route_label(matched: Option<&str>) -> &'static str {
    ROUTES.iter().map(|route| route.path).find(|path| Some(*path) == matched).unwrap_or("none")
}

/// The caller's name for the request, if it is one that can be put into a log line as it is.
fn request_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    ((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| id.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_short_and_printable_or_none() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_str(value).unwrap());
            request_id(&headers).map(|id| id.to_string())
        };
        assert_eq!(id("0190-a"), Some("0190-a".to_owned()));
        for bad in ["", "a b", "a\tb", &"x".repeat(129)] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn unknown_paths_share_one_label() {
        assert_eq!(route_label(Some("/v1/topics/{topic}/events")), "/v1/topics/{topic}/events");
        assert_eq!(route_label(Some("/x")), "none");
        assert_eq!(route_label(None), "none");
    }
}
