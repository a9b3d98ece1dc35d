//! Where records go and what they are made of.

use std::collections::BTreeMap;

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// Where the event goes. Templates take `{name}` for a path parameter, `{query:name}`, `{header:name}`, `{claim:name}`,
/// `{consumer}`, `{method}` and `{pointer:/json/pointer}`, with filters: `{header:x-tenant|lower|default:none}`. With
/// `|or:` behind it another source is looked at where nothing is found; with `|optional` the field is left out.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// The topic; a template. One that is not a constant needs a literal prefix or `allowed_topics`, because callers
    /// must not choose freely where they write.
    pub topic: String,
    /// The topics that the template may make.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub allowed_topics: Vec<String>,
    /// The key of the record; a template. Without it the key is the event's `partitionkey`, if it came with one, and
    /// otherwise there is none.
    #[serde(default)]
    pub key: Option<String>,
    /// The partition; a template that makes a number. Default: by the key, as Java clients do it (murmur2).
    #[serde(default)]
    pub partition: Option<String>,
    /// The timestamp of the record; a template that makes an RFC 3339 time, or a number of milliseconds since 1970. Numbers
    /// in other units have a filter that says so: `{pointer:/at|seconds}`, `|micros`, `|nanos`. Default: when the record
    /// is produced.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// The earliest timestamp that is taken, such as `1990-01-01T00:00:00Z`. What is earlier was told in another unit, or by
    /// a clock that is not set, and is answered with 400. Default: `2000-01-01T00:00:00Z`.
    #[serde(default)]
    pub timestamp_earliest: Option<String>,
    /// How far ahead of the gateway's clock a timestamp may be, such as `1h`; at most 3650d. Kafka refuses what is
    /// further ahead than the topic's `message.timestamp.after.max.ms`, which is an hour. Default: `1h`.
    #[serde(default)]
    pub timestamp_ahead: Option<String>,
    /// Record headers by name; templates.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Request headers that become record headers, byte for byte.
    #[serde(default)]
    pub forward_headers: Vec<ForwardHeader>,
    /// What the value of the record is. Default: `structured`.
    #[serde(default)]
    pub value: Value,
    /// Whether an empty body is a tombstone, a record without a value, which deletes the key from a compacted topic. Needs
    /// a `key`, and a `value` that is not `structured`.
    #[serde(default)]
    pub tombstone: bool,
    /// How far a record has to get before the caller gets a receipt. Default: `all`.
    #[serde(default)]
    pub ack: Ack,
    /// The name of the cluster, as the bridge's configuration has it: 1 to 64 of the characters `a-z A-Z 0-9 . _ -`.
    /// Default: the bridge's default cluster.
    #[serde(default)]
    pub cluster: Option<String>,
}

/// A request header that becomes a record header.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ForwardHeader {
    /// The name of the request header.
    pub name: String,
    /// The name of the record header. Default: the same, in lower case.
    #[serde(default, rename = "as")]
    pub rename: Option<String>,
    /// What is done with a header that is repeated. Default: `all`.
    #[serde(default)]
    pub repeated: RepeatedHeader,
}

/// What is done with a header that is repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RepeatedHeader {
    /// As many record headers, in order.
    #[default]
    All,
    /// The first counts.
    First,
    /// The last counts.
    Last,
    /// The request is answered with 400.
    Refuse,
}

/// How far a record has to get before the caller gets a receipt, which says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// All in-sync replicas have it.
    #[default]
    All,
    /// The leader of its partition has it, and may lose it with its disk or its place.
    Leader,
    /// The bridge has it in memory. It may be lost without anybody being told.
    None,
    /// The bridge has it on its disk, and writes it to Kafka when that takes it. Takes a bridge with a spool.
    Spooled,
}

/// What the value of a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// The event, in JSON.
    #[default]
    Structured,
    /// The data of the event; its attributes are record headers, `ce_id` and so on.
    Binary,
    /// The data of the event, and nothing else of it.
    Raw,
}
