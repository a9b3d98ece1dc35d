//! The configuration document as users write it. The JSON Schema is generated from these types, and the doc
//! comments become its descriptions: they are written for the reader of an editor's tooltip.

use std::collections::BTreeMap;

mod accept;
mod authentication;
mod credentials;
mod event;
mod kafka;
mod limits;
mod reply;
mod route;

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

pub use self::accept::*;
pub use self::authentication::*;
pub use self::credentials::*;
pub use self::event::*;
pub use self::kafka::*;
pub use self::limits::*;
pub use self::reply::*;
pub use self::route::*;

/// Configuration of the Wicketgate filter.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Where the JSON Schema of this document is, for editors. The filter ignores it.
    #[serde(default, rename = "$schema")]
    pub schema: Option<String>,
    /// The `source` attribute of every event, a URI reference that names this gateway, such as
    /// `https://api.example.com`.
    pub source: String,
    /// Where kafka-bridge is.
    pub bridge: Bridge,
    /// What a request may cost.
    #[serde(default)]
    pub limits: Limits,
    /// Ways to authenticate, by name. Routes refer to these names. `anonymous` is built in.
    #[serde(default)]
    pub authentication: BTreeMap<String, AuthenticationMethod>,
    /// Who may call.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
    /// Limits on how often, by name. Routes refer to these names.
    #[serde(default)]
    pub rate_limits: BTreeMap<String, RateLimit>,
    /// Limits on how many requests are in flight, by name. Routes refer to these names.
    #[serde(default)]
    pub concurrency_limits: BTreeMap<String, ConcurrencyLimit>,
    /// Which fields tell callers of their limits. Default: `ietf`.
    #[serde(default)]
    pub limit_fields: LimitFields,
    /// Whose address counts where a limit counts by `address`.
    #[serde(default)]
    pub client_address: ClientAddress,
    /// The key of keyed hashes in redaction: 32 to 256 hexadecimal digits. A secret.
    #[serde(default)]
    pub redaction_key: Option<Secret>,
    /// What happens to a request that no route matches: `reject` answers 404 or 405, `pass` lets it go on to
    /// its upstream, unauthenticated.
    pub unmatched: Unmatched,
    /// What requests are taken, from whom, and where they go. For a path that several routes match, the one with
    /// the earlier literal segment wins, whatever their order here.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub routes: Vec<Route>,
}

/// Where kafka-bridge is and how long to wait for it.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Envoy: the name of the cluster that reaches kafka-bridge.
    pub upstream: String,
    /// The `Host` that kafka-bridge is called by. Default: the upstream.
    #[serde(default)]
    pub authority: Option<String>,
    /// How long to wait for kafka-bridge's answer, such as `10s` or `1500ms`; from 100ms to 5min. It must be longer
    /// than kafka-bridge's own delivery timeout, so that the outcome is known whenever it can be.
    #[serde(default = "Bridge::default_timeout")]
    pub timeout: String,
    /// The secret that calls to kafka-bridge are signed with: 32 or more visible ASCII characters, one of those in its
    /// `--hop-secret-file`. Without it calls are not signed, and only a kafka-bridge that is open to all takes them.
    #[serde(default)]
    pub secret: Option<Secret>,
}

impl Bridge {
    fn default_timeout() -> String {
        "10s".to_owned()
    }
}
