//! The way to the collector: a bounded queue, a thread that sends batches, and what became of the spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::Context;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter as ExportSpans, SpanProcessor,
};
use tokio::runtime::Handle;

use super::Metrics;

/// The most spans that wait for the collector, those on their way included, about 2 KiB each.
const MOST_WAITING: usize = 8192;

/// How long a collector has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer of a collector that is read, in bytes. It has a few words about what it did not take.
const LARGEST_ANSWER: usize = 64 << 10;

/// Takes the spans that end, and sends them to `endpoint`, over such connections.
///
/// # Errors
/// When `endpoint` is no URL.
pub(super) fn processor(
    endpoint: &str,
    connector: HttpsConnector<HttpConnector>,
    metrics: Arc<Metrics>,
) -> Result<Bounded, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Hyper::new(connector))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .build()?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let exporter = Counted {
        exporter,
        waiting: Arc::clone(&waiting),
        metrics: Arc::clone(&metrics),
        failing: AtomicBool::new(false),
    };
    let config = BatchConfigBuilder::default().with_max_queue_size(MOST_WAITING).build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    Ok(Bounded { batches, waiting, metrics })
}

/// A queue with a bound, which counts what it has no room for.
#[derive(Debug)]
pub(super) struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            self.batches.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.metrics.spans("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// An exporter that counts, and says once when it begins to fail and once when it no longer does.
#[derive(Debug)]
struct Counted {
    exporter: SpanExporter,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    failing: AtomicBool,
}

impl ExportSpans for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exported = self.exporter.export(batch).await;
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.metrics.spans(if exported.is_ok() { "exported" } else { "failed" }, count as u64);
        let failed_before = self.failing.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "the collector of --otlp-endpoint does not take spans; they are lost until it does");
            }
            Ok(()) if failed_before => tracing::info!("the collector of --otlp-endpoint takes spans again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The HTTP client of the bridge, for a thread that is outside of its runtime.
#[derive(Debug)]
struct Hyper {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Where its connections live.
    runtime: Handle,
}

impl Hyper {
    fn new(connector: HttpsConnector<HttpConnector>) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build(connector), runtime: Handle::current() }
    }
}

#[async_trait]
impl HttpClient for Hyper {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let exchange = async move {
            let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        self.runtime.spawn(async { tokio::time::timeout(ANSWER_TIMEOUT, exchange).await? }).await?
    }
}
