//! How records travel from the filter to the bridge, and what comes back.
//!
//! The filter sends `POST /v1/records` with a JSON body:
//!
//! ```json
//! {"records":[{"topic":"orders","key":"42","headers":[["x-device","a7"]],"event":{"specversion":"1.0"}}]}
//! ```
//!
//! `event` becomes the value of the Kafka record, in exactly the bytes that were sent, unless `mode` says
//! otherwise. One call carries one
//! record or many; the answer has one result for each, in the same order:
//!
//! ```json
//! {"results":[{"outcome":"acknowledged","receipt":{"id":"…","topic":"orders","partition":0,"offset":7,"timestamp":"…","ack":"all"}}]}
//! ```

mod limits;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

pub use self::limits::{LimitState, LimitedRequest, MAX_LIMITS, SharedLimit};
use crate::octets::Octets;

/// Where the bridge takes records from the filter.
pub const RECORDS_PATH: &str = "/v1/records";

/// The media type of both request and response.
pub const RECORDS_CONTENT_TYPE: &str = "application/vnd.wicketgate.records+json";

/// A response header that the bridge puts on each of its answers and nobody else does. A 503 or 504 without it
/// was made by the proxy on the way, and says nothing of what Kafka has.
pub const BRIDGE_HEADER: &str = "wicketgate-bridge";

/// The largest call that the bridge takes unless it is told otherwise (`--max-body-bytes`), in bytes.
pub const MAX_CALL_BYTES: u32 = 16 << 20;

/// The most headers that a record has of its own. Those that are made of its event come on top; they have a bound of
/// their own, [`crate::event::MAX_EXTENSIONS`].
pub const MAX_HEADERS: usize = 256;

/// The most bytes that their names and values have together.
pub const MAX_HEADER_BYTES: usize = 256 << 10;

/// What one call carries. [`RecordWriter`] writes it without building it first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `records`")]
pub struct RecordsRequest<'a> {
    /// In the order in which they are produced.
    #[serde(borrow)]
    pub records: Vec<Record<'a>>,
    /// What its requests ask of limits that gateways share, as far as they do; in the order of their records.
    #[serde(default)]
    pub limits: Vec<LimitedRequest>,
}

/// One record for Kafka.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a record, which is an object")]
pub struct Record<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The key; absent means that the record has none, which is not the same as an empty one.
    #[serde(borrow, default)]
    pub key: Option<Octets<'a>>,
    /// Record headers, in order; names may repeat. Of more than [`MAX_HEADERS`] only one more is kept, to tell.
    #[serde(borrow, default, deserialize_with = "headers")]
    pub headers: Vec<(Cow<'a, str>, Octets<'a>)>,
    /// The partition; absent leaves the choice to the key, or to the bridge where there is none.
    #[serde(default)]
    pub partition: Option<i32>,
    /// The record's own timestamp, in milliseconds since 1970-01-01T00:00:00Z; absent leaves it to the bridge.
    #[serde(default)]
    pub timestamp: Option<i64>,
    /// What the value of the record is.
    #[serde(default)]
    pub mode: ValueMode,
    /// Whether the record has a null value, which deletes its key from a compacted topic.
    #[serde(default)]
    pub tombstone: bool,
    /// How far the record has to get before it is acknowledged.
    #[serde(default)]
    pub ack: Ack,
    /// The name of the cluster that it is for; absent is the bridge's default one. [`is_cluster_name`] says what
    /// a name is.
    #[serde(borrow, default)]
    pub cluster: Option<Cow<'a, str>>,
    /// What tells the record from others, besides what its event says.
    #[serde(borrow, default)]
    pub identity: Identity<'a>,
    /// The CloudEvent. [`crate::kafka::message`] makes headers and value of it.
    #[serde(borrow)]
    pub event: &'a RawValue,
}

/// What tells a record from others, besides what its event says. Two records are the same if they have the same name
/// (who sent them, where they go, and the `id` and `source` of the event) and say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Identity<'a> {
    /// Whether records of the same name are the same whatever they say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub id_only: bool,
    /// A fingerprint of what the request said that its event does not; of a whole batch, where `batch` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// The batch whose key the `id` of the event was made of. Such an id is no id that anybody has given, and the key
    /// is good for this one batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<&'a str>,
}

/// Reads the headers of a record, and passes over those that are too many: they would take several times the memory of
/// their text.
fn headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Cow<'de, str>, Octets<'de>)>, D::Error> {
    struct Headers;
    impl<'de> Visitor<'de> for Headers {
        type Value = Vec<(Cow<'de, str>, Octets<'de>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut headers = Vec::new();
            while headers.len() <= MAX_HEADERS {
                let Some((Text(name), value)) = seq.next_element()? else { return Ok(headers) };
                headers.push((name, value));
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(headers)
        }
    }
    deserializer.deserialize_seq(Headers)
}

/// A string that is borrowed where it can be, which `Cow` by itself never is.
#[derive(Deserialize)]
#[serde(expecting = "a string")]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// How an event lies in a Kafka record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueMode {
    /// The value is the whole event in JSON.
    #[default]
    Structured,
    /// The value is `data`; the attributes are record headers `ce_<name>`.
    Binary,
    /// The value is `data`, and the attributes stay behind.
    Raw,
}

/// The answer to one call.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecordsResponse {
    /// One for each record, in the order of the request.
    pub results: Vec<RecordResult>,
    /// What the limits of each request have said, in the order in which the call has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Vec<LimitState>>,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RecordResult {
    /// It got as far as the receipt's `ack` says.
    Acknowledged {
        /// The proof.
        receipt: Receipt,
        /// Whether the event had come before: the receipt is that of the first time, and nothing was written again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
    },
    /// The bridge could not read the record. Nothing was written.
    Invalid {
        /// Which part, and why.
        detail: String,
    },
    /// Larger than the producer or the topic takes. Nothing was written.
    TooLarge,
    /// Another event with the same name has come before. Nothing was written.
    Conflict,
    /// A limit that gateways share does not let its request through. Nothing was written.
    Limited,
    /// Kafka will not take it, now or later: no such topic, no permission. Nothing was written.
    Refused,
    /// The bridge is saturated, or Kafka is known to be down. Nothing was written; a retry is safe.
    Unavailable {
        /// When to try again, in seconds.
        retry_after: u32,
    },
    /// No answer from Kafka in time. The record may be written, or may yet be.
    Unknown,
}

/// What a caller gets for a record that is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The `id` of the event.
    pub id: String,
    /// The topic that it is for.
    pub topic: String,
    /// The partition of the topic. Absent, as are the next two, if Kafka had not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The offset within the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The record's own timestamp, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Who had the record when this receipt was made.
    pub ack: Ack,
}

/// How far a record gets before its receipt is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// All in-sync replicas have it.
    #[default]
    All,
    /// The leader of its partition has it.
    Leader,
    /// The bridge has it in memory, and no more is promised.
    None,
    /// The bridge has it on its disk, synced, and writes it to Kafka when that takes it.
    Spooled,
}

impl Ack {
    /// Whether a receipt with this is good for who asked for `wanted`. A leader alone can lose what a disk keeps, and
    /// what is on a disk is in no topic yet, so neither stands for the other.
    pub const fn satisfies(self, wanted: Self) -> bool {
        match wanted {
            Self::None => true,
            Self::All => matches!(self, Self::All),
            Self::Leader => matches!(self, Self::All | Self::Leader),
            Self::Spooled => matches!(self, Self::All | Self::Spooled),
        }
    }

    /// As it is spelled.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Leader => "leader",
            Self::None => "none",
            Self::Spooled => "spooled",
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Ack {
    type Err = UnknownAck;

    fn from_str(text: &str) -> Result<Self, UnknownAck> {
        let all = [Self::All, Self::Leader, Self::None, Self::Spooled];
        all.into_iter().find(|ack| ack.as_str() == text).ok_or(UnknownAck)
    }
}

/// The text is none of the values of [`Ack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAck;

impl fmt::Display for UnknownAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wanted one of all, leader, none, spooled")
    }
}

impl std::error::Error for UnknownAck {}

/// Whether a cluster can have this name: 1 to 64 of the characters `a-z A-Z 0-9 . _ -`.
pub fn is_cluster_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(legal)
}

/// Writes the body of one call. Records are appended as bytes that [`write_record`] made, so that they can be
/// made where the request is known and gathered where the call is.
#[derive(Debug)]
pub struct RecordWriter {
    body: Vec<u8>,
    count: usize,
}

impl RecordWriter {
    const OPEN: &[u8] = br#"{"records":["#;
    const CLOSE: &[u8] = b"]";

    /// An empty call, with room for `capacity` bytes of records.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut body = Vec::with_capacity(capacity.saturating_add(Self::OPEN.len() + Self::CLOSE.len() + 16));
        body.extend_from_slice(Self::OPEN);
        Self { body, count: 0 }
    }

    /// Appends a record that [`write_record`] made.
    pub fn push(&mut self, record: &[u8]) {
        if self.count > 0 {
            self.body.push(b',');
        }
        self.body.extend_from_slice(record);
        self.count += 1;
    }

    /// How many records the call has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the call has no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished body.
    pub fn finish(self) -> Vec<u8> {
        self.finish_limited(&[])
    }

    /// The finished body, with what its requests ask of limits that gateways share.
    pub fn finish_limited(mut self, limits: &[LimitedRequest]) -> Vec<u8> {
        self.body.extend_from_slice(Self::CLOSE);
        if !limits.is_empty() {
            self.body.extend_from_slice(br#","limits":"#);
            write_json(&mut self.body, &limits);
        }
        self.body.push(b'}');
        self.body
    }
}

/// Where a record goes and how it is written, as far as that is not the same for all.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key. No key is not the same as an empty one.
    pub key: Option<&'a [u8]>,
    /// The partition, where the key is not to decide it.
    pub partition: Option<i32>,
    /// The record's timestamp, in milliseconds since 1970-01-01T00:00:00Z, where it is not the time of producing.
    pub timestamp: Option<i64>,
    /// What the value is.
    pub mode: ValueMode,
    /// Whether the value is null.
    pub tombstone: bool,
    /// How far the record has to get before it is acknowledged.
    pub ack: Ack,
    /// The cluster, where it is not the bridge's default one.
    pub cluster: Option<&'a str>,
    /// What tells the record from others.
    pub identity: Identity<'a>,
}

impl<'a> Destination<'a> {
    /// A topic, and everything else as Kafka and the bridge have it.
    pub fn topic(topic: &'a str) -> Self {
        Self {
            topic,
            key: None,
            partition: None,
            timestamp: None,
            mode: ValueMode::default(),
            tombstone: false,
            ack: Ack::default(),
            cluster: None,
            identity: Identity::default(),
        }
    }
}

/// Writes one record: its destination, its own headers, then the event that `write_event` appends. What is as
/// [`Destination::topic`] has it is left out.
pub fn write_record<'h>(
    destination: &Destination<'_>,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    write_event: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(br#"{"topic":"#);
    write_json_string(&mut out, destination.topic);
    if let Some(key) = destination.key {
        out.extend_from_slice(br#","key":"#);
        write_json(&mut out, &Octets::from(key));
    }
    let mut headers = headers.peekable();
    if headers.peek().is_some() {
        out.extend_from_slice(br#","headers":["#);
        for (index, (name, value)) in headers.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_json(&mut out, &(name, Octets::from(value)));
        }
        out.push(b']');
    }
    if let Some(partition) = destination.partition {
        out.extend_from_slice(br#","partition":"#);
        write_json(&mut out, &partition);
    }
    if let Some(timestamp) = destination.timestamp {
        out.extend_from_slice(br#","timestamp":"#);
        write_json(&mut out, &timestamp);
    }
    if destination.mode != ValueMode::default() {
        out.extend_from_slice(br#","mode":"#);
        write_json(&mut out, &destination.mode);
    }
    if destination.tombstone {
        out.extend_from_slice(br#","tombstone":true"#);
    }
    if destination.ack != Ack::default() {
        out.extend_from_slice(br#","ack":"#);
        write_json(&mut out, &destination.ack);
    }
    if let Some(cluster) = destination.cluster {
        out.extend_from_slice(br#","cluster":"#);
        write_json_string(&mut out, cluster);
    }
    if destination.identity != Identity::default() {
        out.extend_from_slice(br#","identity":"#);
        write_json(&mut out, &destination.identity);
    }
    out.extend_from_slice(br#","event":"#);
    write_event(&mut out);
    out.push(b'}');
    out
}

pub(crate) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    write_json(out, text);
}

fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // A Vec takes every byte, and none of the values written here can fail to serialise: strings, pairs of
    // them, and numbers.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests;
