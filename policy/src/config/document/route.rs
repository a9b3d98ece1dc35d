//! Routes: what they match and what becomes of a request.

use std::collections::BTreeMap;

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::{Accept, Authentication, Authorization, EventAttributes, Kafka, Redact, Reply, WebhookHandshake};

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
    /// What those may do. Without it every valid credential opens the route, and `lint` warns.
    #[serde(default)]
    pub authorization: Option<Authorization>,
    /// How often, and how many at once: names of limits. All of them are asked; a request that one refuses is counted by
    /// none.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What is done with them.
    pub action: Action,
    /// `tee` only: what happens to a request whose copy does not get into Kafka. Default: `deny`.
    #[serde(default)]
    pub on_error: Option<OnError>,
    /// `tee` only: what happens to a request whose body need not end, such as one for a WebSocket. Default: `head`. Other
    /// actions than `tee` never wait for one: `produce` refuses it with 400, and `pass` lets it go on.
    #[serde(default)]
    pub streams: Option<Streams>,
    /// Which web pages of other origins may call (CORS). Without it, none.
    #[serde(default)]
    pub cors: Option<Cors>,
    /// Which senders of events may ask whether they may send them here (CloudEvents, HTTP 1.1 Web Hooks, section 4).
    /// Without it, none. It lets nobody in: events have to be authenticated as `authentication` says.
    #[serde(default)]
    pub webhook_handshake: Option<WebhookHandshake>,
    /// Which bodies are taken, and how they are read.
    #[serde(default)]
    pub accept: Accept,
    /// The event that a request becomes. Needed unless the action is `pass`.
    #[serde(default)]
    pub event: Option<EventAttributes>,
    /// Where the event goes. Needed unless the action is `pass`.
    #[serde(default)]
    pub kafka: Option<Kafka>,
    /// What is taken out of the request before it leaves the gateway for Kafka. An upstream gets the request as it is.
    #[serde(default)]
    pub redact: Redact,
    /// `produce` only: what the caller gets for an event that Kafka has.
    #[serde(default)]
    pub reply: Reply,
}

/// Which requests a route takes.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Hosts, such as `api.example.com` or `*.example.com`; the star stands for one label or more. Default: any.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub hosts: Vec<String>,
    /// Methods, in upper case, such as `POST`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub methods: Vec<String>,
    /// A path, such as `/v1/orders/{order_id}`. A segment in braces matches any one segment that is not empty, and
    /// its value can be used by that name.
    pub path: String,
    /// Headers that must be there: with this value, or, where the value is `null`, with any.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
}

/// What is done with the requests of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The request becomes a record in Kafka, and the caller gets its receipt.
    Produce,
    /// A copy of the request becomes a record in Kafka, then the request goes on to its upstream, and the caller gets
    /// the upstream's answer.
    Tee,
    /// The request goes on to its upstream once it is authenticated. Nothing goes to Kafka.
    Pass,
}

/// What happens to a request whose body need not end: an upgrade (WebSocket), CONNECT, or a gRPC call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Its head alone is copied, and it goes on as soon as Kafka has that. The event says so in `wgstream`.
    #[default]
    Head,
    /// It is answered with 400.
    Refuse,
}

/// What happens to a request whose copy does not get into Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes on to its upstream without a copy.
    Continue,
    /// It is answered with the error.
    #[default]
    Deny,
}

/// Which web pages of other origins may call (the Fetch standard's CORS protocol).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins, such as `https://shop.example.com`; or `*` alone, for all.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub origins: Vec<String>,
    /// Request headers that pages may set, beside those that need no permission.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Response headers that pages may read, beside those that need no permission.
    #[serde(default)]
    pub expose_headers: Vec<String>,
    /// How long a browser may remember the answer to a preflight, such as `10m`; at most 24h. Default: the browser's
    /// own.
    #[serde(default)]
    pub max_age: Option<String>,
    /// Whether pages may send cookies and other credentials of the browser's own.
    #[serde(default)]
    pub credentials: bool,
}
