//! What the event says, and what is taken out of it.

use std::collections::BTreeMap;

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

impl Redact {
    /// Whether it says nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Attributes of the event that a request becomes (CloudEvents 1.0.2, section 3.1). Those that an incoming CloudEvent
/// has are kept.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EventAttributes {
    /// The `type` attribute, such as `com.example.order.submitted`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub type_: String,
    /// The `source` attribute. Default: the document's.
    #[serde(default)]
    pub source: Option<String>,
    /// The `subject` attribute; a template, such as `{order_id}`.
    #[serde(default)]
    pub subject: Option<String>,
    /// The `id` attribute; a template, such as `{header:x-github-delivery}`. Default: the value of `Idempotency-Key` if
    /// there is one, else a fresh UUID, version 7.
    #[serde(default)]
    pub id: Option<String>,
    /// What tells an event from one that came before with the same id. Default: `content`.
    #[serde(default)]
    pub identity: Identity,
    /// Further attributes by name; templates.
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
    /// Whether the query of the request is carried, redacted, as `wgquery`.
    #[serde(default)]
    pub query: bool,
}

/// What tells an event from one that came before with the same id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// What it says, what is redacted of it included, and the method, path and query of its request: one that says the
    /// same is answered with the first receipt, and another is refused with 422.
    #[default]
    Content,
    /// Nothing: it is answered with the first receipt whatever it says. For senders whose retries differ, such as Stripe.
    Id,
}

/// What is taken out of the request before it leaves the gateway for Kafka.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Redact {
    /// Header values, by the name of the header. `ce-<name>` is the attribute of that name of an incoming CloudEvent, in
    /// whichever mode it comes.
    #[serde(default)]
    pub headers: BTreeMap<String, Treatment>,
    /// Values of query parameters, by name.
    #[serde(default)]
    pub query: BTreeMap<String, Treatment>,
    /// Parts of a JSON body, by JSON pointer; the token `*` stands for every element of an array and every member of an
    /// object. A body that is not JSON is refused.
    #[serde(default)]
    pub body: BTreeMap<String, Treatment>,
}

/// How something is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// As if it had not been there.
    Drop,
    /// Its value becomes `[redacted]`.
    Mask,
    /// Its value becomes a keyed hash (HMAC-SHA256), the same for the same value. Needs `redaction_key`.
    Hash,
}
