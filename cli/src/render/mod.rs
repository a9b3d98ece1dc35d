//! Gateway configurations around a document.

mod envoy;

pub use envoy::{EnvoyOptions, HostPort, RenderError, envoy, envoy_unchecked};
