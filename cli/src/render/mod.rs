//! Gateway configurations around a document.

mod bridge;
mod envoy;

pub use bridge::{BridgeAddress, BridgeLink, BridgeTls};
pub use envoy::{EnvoyOptions, HostPort, RenderError, envoy, envoy_unchecked};
