//! How much and how often: sizes, rate limits, limits on requests in flight.

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

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
    /// The most that the records of one request may have together, in bytes, on their way to kafka-bridge: events with
    /// their attributes, keys and headers. What the head gives to each event of a batch counts for each. Default: twice the
    /// route's largest body (`accept.decoded_bytes`), and 4 MiB, but no more than kafka-bridge takes in a call if it is not told
    /// otherwise, 16 MiB. More than that takes a larger `--max-body-bytes` there.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 268_435_456)))]
    pub record_bytes: Option<u32>,
}

impl Limits {
    const fn default_body_bytes() -> u32 {
        1_048_576
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: Self::default_body_bytes(), record_bytes: None }
    }
}

/// How often.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many in a period. Quota comes back evenly, not at the end of the period: after `period / limit` there is one
    /// more.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub limit: u64,
    /// The period, in whole seconds from `1s` to `366days`, such as `1m` or `1day`.
    pub period: String,
    /// How many at once, from a caller that has used nothing for a while. In any period there are at most `limit` and
    /// `burst` together. Default: `limit`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub burst: Option<u64>,
    /// What is counted apart: `consumer`, `address`, `route`, `header:<name>`, `claim:<name>`, `path:<name>` (a parameter of
    /// the path), or several of them together. Without any, all requests are counted together. A limit that counts by
    /// neither consumer nor claim is asked before authentication.
    #[serde(default)]
    pub key: Vec<String>,
    /// How many a request counts for. Default: `request`.
    #[serde(default)]
    pub cost: LimitCost,
    /// Which requests are counted. Default: `requests`.
    #[serde(default)]
    pub counts: LimitCounts,
    /// Other limits for some consumers; the first that is for a caller counts. Only for keys with `consumer`.
    #[serde(default)]
    pub overrides: Vec<RateOverride>,
    /// Who shares the counts. Default: `local`.
    #[serde(default)]
    pub scope: LimitScope,
    /// Whether it refuses nothing and only says in metrics what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// What happens to a request that cannot be counted. Default: `deny`.
    #[serde(default)]
    pub on_error: LimitOnError,
    /// How many keys can be counted at a time. A key takes a slot until all its quota is back. Default: 65536, which take
    /// 3 MB of the host's memory at most.
    #[serde(default = "RateLimit::default_slots")]
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 16_777_216)))]
    pub slots: u32,
}

impl RateLimit {
    const fn default_slots() -> u32 {
        65_536
    }
}

/// How many a request counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitCost {
    /// One.
    #[default]
    Request,
    /// As many as its body has bytes, as it was sent.
    BodyBytes,
    /// As many as it brings events.
    Events,
}

/// Which requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitCounts {
    /// All that no limit refuses.
    #[default]
    Requests,
    /// Those with a wrong credential. Once there are too many, right ones are refused as well.
    FailedAuthentications,
}

/// Who shares the counts of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// All workers of this gateway.
    #[default]
    Local,
    /// All gateways whose kafka-bridge has the same Redis (`--limits-redis`). Asked with the request's records, after all local
    /// limits; only where the action is produce or tee.
    Global,
}

/// What happens to a request that a limit cannot count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitOnError {
    /// It goes on.
    Allow,
    /// It is answered with 503.
    #[default]
    Deny,
}

/// Another limit for some consumers.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateOverride {
    /// Names of consumers.
    #[serde(default)]
    pub consumers: Vec<String>,
    /// Names of groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How many in the period.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub limit: u64,
    /// How many at once. Default: its `limit`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub burst: Option<u64>,
}

/// How many requests are in flight.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConcurrencyLimit {
    /// How many at a time.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    pub limit: u32,
    /// What is counted apart; as in `rate_limits`.
    #[serde(default)]
    pub key: Vec<String>,
    /// How long what a worker has in flight is counted after the worker has said so last. It says so whenever a request of
    /// the same key comes or goes; a worker that has died does not. From `1s` to `1day`; longer than requests
    /// take. Default: `5m`.
    #[serde(default = "ConcurrencyLimit::default_lease")]
    pub lease: String,
    /// Whether it refuses nothing and only says in metrics what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// What happens to a request that cannot be counted. Default: `deny`.
    #[serde(default)]
    pub on_error: LimitOnError,
}

impl ConcurrencyLimit {
    fn default_lease() -> String {
        "5m".to_owned()
    }
}

/// Which fields tell callers of their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitFields {
    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), of all limits.
    #[default]
    Ietf,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the limit of which the least is left.
    X,
    /// All of these.
    Both,
    /// None of these.
    None,
}

/// Whose address counts.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientAddress {
    /// How many of the last entries of `X-Forwarded-For` are believed: the one that far from the right is the caller's
    /// address. Default: 0, the address that the host has for the connection. Envoy with `use_remote_address` adds
    /// an entry of its own; there, `xff_num_trusted_hops` of Envoy's does the same, and this stays 0.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 16)))]
    pub trusted_hops: u8,
    /// How many leading bits of an IPv6 address make one caller. Default: 64, because that is the least that one gets.
    #[serde(default = "ClientAddress::default_ipv6_prefix")]
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 128)))]
    pub ipv6_prefix: u8,
}

impl ClientAddress {
    const fn default_ipv6_prefix() -> u8 {
        64
    }
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self { trusted_hops: 0, ipv6_prefix: Self::default_ipv6_prefix() }
    }
}
