//! The configuration document as users write it. The JSON Schema is generated from these types, and the doc
//! comments become its descriptions: they are written for the reader of an editor's tooltip.

use std::collections::BTreeMap;

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

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
}

impl Bridge {
    fn default_timeout() -> String {
        "10s".to_owned()
    }
}

/// What a request may cost.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The largest body, in bytes. The gateway's own buffer limit (Envoy: `per_connection_buffer_limit_bytes` of
    /// the listener) must be larger.
    #[serde(default = "Limits::default_body_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 67_108_864)))]
    pub body_bytes: u32,
}

impl Limits {
    const fn default_body_bytes() -> u32 {
        1_048_576
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: Self::default_body_bytes() }
    }
}

/// A way to authenticate.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthenticationMethod {
    /// A key that the consumer sends in a header of its own.
    ApiKey {
        /// The name of the header, such as `x-api-key`.
        header: String,
    },
}

/// Somebody who may call.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// The name under which the consumer's events are known: the `authid` attribute.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub name: String,
    /// The consumer's keys. Several let a key be replaced without an interruption.
    #[serde(default)]
    pub api_keys: Vec<ApiKey>,
}

/// An API key, by its hash.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The SHA-256 of the key, in 64 hexadecimal digits: `printf %s "$KEY" | sha256sum`. Keys should have 128 bits of
    /// entropy or more, because a fast hash does not protect a weak one.
    #[cfg_attr(feature = "schema", schemars(extend("writeOnly" = true)))]
    pub sha256: String,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(not shown)")
    }
}

/// What happens to a request that no route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// 404, or 405 where a route has the path but not the method.
    Reject,
    /// On to the upstream, unauthenticated.
    Pass,
}

/// What requests are taken, from whom, and where they go.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The name of the route, in events and metrics. Unique.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub name: String,
    /// Which requests.
    #[serde(rename = "match")]
    pub matches: Match,
    /// From whom.
    pub authentication: Authentication,
    /// What is done with them.
    pub action: Action,
    /// The event that a request becomes.
    pub event: EventAttributes,
    /// Where the event goes.
    pub kafka: Kafka,
}

/// Which requests a route takes.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Methods, in upper case, such as `POST`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub methods: Vec<String>,
    /// A path, such as `/v1/orders/{order_id}`. A segment in braces matches any one segment that is not empty, and
    /// its value can be used by that name.
    pub path: String,
}

/// From whom a route takes requests.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Authentication {
    /// Names of ways to authenticate, tried in order; `anonymous` lets requests without any credential in. A
    /// credential that is wrong is refused, whatever comes after it.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub any_of: Vec<String>,
}

/// What is done with the requests of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The request becomes a record in Kafka, and the caller gets its receipt.
    Produce,
}

/// Attributes of the event that a request becomes (CloudEvents 1.0.2, section 3.1).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EventAttributes {
    /// The `type` attribute, such as `com.example.order.submitted`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub type_: String,
    /// The `subject` attribute; may use path parameters, such as `{order_id}`.
    #[serde(default)]
    pub subject: Option<String>,
}

/// Where the event goes.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// The topic.
    pub topic: String,
    /// The key of the record; may use path parameters, such as `{order_id}`. Without it the record has no key.
    #[serde(default)]
    pub key: Option<String>,
    /// Request headers that become record headers of the same name, value by value, byte for byte.
    #[serde(default)]
    pub forward_headers: Vec<String>,
}
