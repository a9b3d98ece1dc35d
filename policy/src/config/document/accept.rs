//! What a route takes, and how bodies are read.

use std::collections::BTreeMap;

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// Which bodies are taken, and how they are read.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// How a body may be read. A body that is none of these is answered with 415.
    #[serde(default = "Accept::default_formats")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub formats: Vec<Format>,
    /// Media types that are taken, such as `application/json` or `image/*`. Default: any.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub media_types: Vec<String>,
    /// How bodies that are no CloudEvents are read, by media type, where the type itself does not say it:
    /// `{ "text/plain": "json", "application/x-log": "ndjson", "*/*": "binary" }`. The narrowest range counts; `*/*` also
    /// stands for no media type at all. `formats` has to have what it leads to.
    #[serde(default)]
    pub read_as: BTreeMap<String, ReadAs>,
    /// What happens to a byte order mark before JSON, which JSON must not have and some senders put there. Default:
    /// `refuse`.
    #[serde(default)]
    pub byte_order_mark: ByteOrderMark,
    /// What happens to a body with a `Content-Encoding`. Default: `decode`.
    #[serde(default)]
    pub content_encoding: ContentEncoding,
    /// The largest body after decoding, in bytes. Default: `limits.body_bytes`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 67_108_864)))]
    pub decoded_bytes: Option<u32>,
    /// The most events in a batch.
    #[serde(default = "Accept::default_batch_events")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000)))]
    pub batch_events: u32,
}

impl Accept {
    fn default_formats() -> Vec<Format> {
        vec![Format::Raw, Format::Cloudevent]
    }

    const fn default_batch_events() -> u32 {
        100
    }
}

impl Accept {
    /// Whether it says nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Accept {
    fn default() -> Self {
        Self {
            formats: Self::default_formats(),
            media_types: Vec::new(),
            read_as: BTreeMap::new(),
            byte_order_mark: ByteOrderMark::default(),
            content_encoding: ContentEncoding::default(),
            decoded_bytes: None,
            batch_events: Self::default_batch_events(),
        }
    }
}

/// A way to read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Any body, JSON included, as the data of one event.
    Raw,
    /// A CloudEvent, in binary or structured mode.
    Cloudevent,
    /// Several CloudEvents, in batched mode.
    CloudeventsBatch,
    /// Several events, a JSON value a line.
    Ndjson,
    /// Several events, each an element of a JSON array.
    JsonArray,
}

/// How a body is read, whatever its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// As JSON. The event's `datacontenttype` is then `application/json`, unless the media type is one of JSON itself.
    Json,
    /// As several events, a JSON value a line.
    Ndjson,
    /// Not at all: as bytes.
    Binary,
}

/// What happens to a byte order mark before JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ByteOrderMark {
    /// The body is answered with 400.
    #[default]
    Refuse,
    /// It is passed over, and is not in the event.
    Strip,
}

/// What happens to a body with a `Content-Encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ContentEncoding {
    /// It is decoded (gzip, deflate, br, zstd).
    #[default]
    Decode,
    /// It is carried as it is, whatever its encoding, and the event says so in `wgencoding`. Only raw bodies are: what has to be read (a
    /// CloudEvent, a batch, a body with redacted parts) is answered with 415.
    Carry,
    /// It is answered with 415.
    Refuse,
}
