//! Gateway configurations around a document.

mod admin;
mod authority;
mod bridge;
mod envoy;

pub use admin::Admin;
pub use authority::Authority;
pub use bridge::{BridgeAddress, BridgeLink, BridgeTls};
pub use envoy::{EnvoyOptions, HostPort, RenderError, Underscores, envoy, envoy_unchecked};
