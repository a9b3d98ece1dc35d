//! Settings of spans.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::connector;
use crate::values::otlp_endpoint;

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// The OpenTelemetry collector that is sent a span for each request and record, over OTLP/HTTP, such as
    /// http://localhost:4318. Without it there are no spans.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = otlp_endpoint)]
    pub otlp_endpoint: Option<String>,

    /// CA certificates (PEM) for an https:// collector; those of the operating system by default.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub otlp_ca_file: Option<PathBuf>,
}

impl Options {
    /// Checks the way to the collector.
    pub(crate) fn check(&self, errors: &mut Vec<String>) {
        let Some(endpoint) = self.otlp_endpoint.as_deref() else { return };
        errors.extend(connector::connector(endpoint, self.otlp_ca_file.as_deref()).err());
    }
}
