//! What the caller gets.

use std::collections::BTreeMap;

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

impl Reply {
    /// Whether it says nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the caller gets for an event that Kafka has.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The status, 200 to 299. The answer has no content where it is 204 or 205. Default: 202.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 299)))]
    pub status: Option<u16>,
    /// Further headers, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The fields of the content and what is in them; `{}` is content without fields. Default: all of the receipt, each
    /// by its own name.
    #[serde(default)]
    pub body: Option<BTreeMap<String, ReceiptField>>,
}

/// A part of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiptField {
    /// The `id` of the event.
    Id,
    /// The topic.
    Topic,
    /// The partition.
    Partition,
    /// The offset.
    Offset,
    /// The timestamp of the record.
    Timestamp,
    /// Who had the record when the receipt was made.
    Ack,
}
