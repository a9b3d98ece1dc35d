//! Gateway configurations around a document.

mod admin;
mod bridge;
mod envoy;

pub use admin::Admin;
pub use bridge::{BridgeAddress, BridgeLink, BridgeTls};
pub use envoy::{EnvoyOptions, HostPort, RenderError, Underscores, envoy, envoy_unchecked};
