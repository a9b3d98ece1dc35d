//! Traces for OpenTelemetry: a span for each request that writes and for each record, sent to a collector over OTLP/HTTP.

mod connector;
mod export;
mod metrics;
mod options;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use metrics::Metrics;
pub use options::Options;
pub use spans::{Record, RecordSpan, RequestSpan};

/// Makes spans and sends them. A collector that is slow or out of reach costs spans, and nothing else.
#[derive(Debug)]
pub struct Telemetry {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// Why spans cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The endpoint is none that the exporter takes.
    #[error("--otlp-endpoint: {0}")]
    Endpoint(#[from] ExporterBuildError),
    /// TLS is not possible.
    #[error("{0}")]
    Tls(String),
}

impl Telemetry {
    /// As configured; `None` if no spans are to be made. Must be called in a tokio runtime, in which spans are then sent.
    ///
    /// # Errors
    /// When spans cannot be sent there.
    pub fn new(options: &Options, metrics: Arc<Metrics>) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = &options.otlp_endpoint else { return Ok(None) };
        if std::env::var("OTEL_SDK_DISABLED").is_ok_and(|disabled| disabled.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let connector = connector::connector(endpoint, options.otlp_ca_file.as_deref());
        let processor = export::processor(endpoint, connector.map_err(TelemetryError::Tls)?, metrics)?;
        let provider =
            SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource()).build();
        let scope = InstrumentationScope::builder("kafka-bridge").with_version(env!("CARGO_PKG_VERSION"));
        Ok(Some(Self { tracer: provider.tracer_with_scope(scope.build()), provider }))
    }

    /// Sends what there still is, for at most `timeout`. Blocks.
    pub fn stop(&self, timeout: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(timeout) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Who makes the spans: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, or else the name of the program.
fn resource() -> Resource {
    const NAME: &str = "kafka-bridge";
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version.clone()).build();
    let named = resource
        .get(&Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if named { resource } else { Resource::builder().with_attribute(version).with_service_name(NAME).build() }
}
