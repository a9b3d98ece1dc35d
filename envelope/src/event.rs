//! CloudEvents 1.0.2 in JSON: written by the filter, read by the bridge.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::data::Data;
use crate::timestamp::Timestamp;

/// The only version of CloudEvents that this crate writes and reads.
pub const SPEC_VERSION: &str = "1.0";

/// An event about to be written. All text is borrowed; nothing is copied before [`Event::write_json`].
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Unique together with `source`.
    pub id: &'a str,
    /// The context in which the event happened, a URI reference.
    pub source: &'a str,
    /// What kind of event it is, such as `com.example.order.placed`.
    pub type_: &'a str,
    /// What the event is about, within `source`.
    pub subject: Option<&'a str>,
    /// When the gateway took the request in.
    pub time: Timestamp,
    /// The media type of `data`.
    pub data_content_type: Option<&'a str>,
    /// Extension attributes, in the order in which they are written. Names are lower-case ASCII letters and
    /// digits (CloudEvents 1.0.2, section 3.1.1); [`is_attribute_name`] tells.
    pub extensions: &'a [(&'a str, Extension<'a>)],
    /// The payload.
    pub data: Data<'a>,
}

/// The value of an extension attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A signed 32-bit integer, as CloudEvents has them.
    Integer(i32),
}

impl<'a> From<&'a str> for Extension<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<Cow<'a, str>> for Extension<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

/// Whether `name` may name an attribute: lower-case ASCII letters and digits, 1 to 20 of them.
pub fn is_attribute_name(name: &str) -> bool {
    (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

impl Event<'_> {
    /// Appends the event as a JSON object to `out`, without white space, `data` last.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(512 + self.data_len());
        out.extend_from_slice(br#"{"specversion":""#);
        out.extend_from_slice(SPEC_VERSION.as_bytes());
        out.push(b'"');
        write_text(out, "id", self.id);
        write_text(out, "source", self.source);
        write_text(out, "type", self.type_);
        if let Some(subject) = self.subject {
            write_text(out, "subject", subject);
        }
        write_text(out, "time", &self.time.to_string());
        if let Some(media_type) = self.data_content_type {
            write_text(out, "datacontenttype", media_type);
        }
        for (name, value) in self.extensions {
            match value {
                Extension::Text(text) => write_text(out, name, text),
                Extension::Integer(number) => {
                    write_name(out, name);
                    out.extend_from_slice(number.to_string().as_bytes());
                }
            }
        }
        match self.data {
            Data::Absent => {}
            Data::Json(raw) => {
                write_name(out, "data");
                out.extend_from_slice(raw.get().as_bytes());
            }
            Data::Text(text) => write_text(out, "data", text),
            Data::Binary(bytes) => {
                write_name(out, "data_base64");
                out.push(b'"');
                write_base64(out, bytes);
                out.push(b'"');
            }
        }
        out.push(b'}');
    }

    /// A lower bound of the bytes that `data` needs.
    fn data_len(&self) -> usize {
        match self.data {
            Data::Absent => 0,
            Data::Json(raw) => raw.get().len(),
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len().div_ceil(3).saturating_mul(4),
        }
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn write_text(out: &mut Vec<u8>, name: &str, text: &str) {
    write_name(out, name);
    crate::hop::write_json_string(out, text);
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The room is exactly what padded base64 of these bytes takes, so this cannot fall short.
        let _ = STANDARD.encode_slice(bytes, room);
    }
}

/// The attributes of an event that decide where it goes and what its receipt says; everything else is passed
/// over unread, and stays in the record as it came.
#[derive(Clone, Debug, Deserialize)]
pub struct Attributes<'a> {
    /// Must be [`SPEC_VERSION`].
    #[serde(borrow)]
    pub specversion: Cow<'a, str>,
    /// Unique together with `source`.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The context in which the event happened.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// What kind of event it is.
    #[serde(borrow, rename = "type")]
    pub type_: Cow<'a, str>,
    /// The partitioning extension (CloudEvents extensions, `partitionkey`).
    #[serde(borrow, default)]
    pub partitionkey: Option<Cow<'a, str>>,
}

/// An event that lacks what CloudEvents requires of it.
#[derive(Debug)]
pub enum InvalidEvent {
    /// Not JSON, not an object, or an attribute is missing, repeated or of the wrong type.
    Json(serde_json::Error),
    /// JSON, but not an object.
    NotAnObject,
    /// A version of CloudEvents that this crate does not know.
    SpecVersion(String),
    /// A required attribute is the empty string.
    Empty(&'static str),
}

impl std::fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(error) => write!(f, "not a CloudEvent in JSON: {error}"),
            Self::NotAnObject => f.write_str("not a CloudEvent in JSON: wanted an object"),
            Self::SpecVersion(got) => write!(f, "specversion: wanted \"{SPEC_VERSION}\", got {got:?}"),
            Self::Empty(attribute) => write!(f, "{attribute}: wanted a non-empty string, got \"\""),
        }
    }
}

impl std::error::Error for InvalidEvent {}

impl<'a> Attributes<'a> {
    /// Reads the attributes of an event in JSON and checks those that CloudEvents requires.
    ///
    /// # Errors
    /// [`InvalidEvent`] when CloudEvents 1.0.2, section 3, does not hold.
    pub fn from_json(json: &'a str) -> Result<Self, InvalidEvent> {
        let attributes: Self = serde_json::from_str(json).map_err(InvalidEvent::Json)?;
        // serde reads a struct from an array as well, taking its elements for the fields in order.
        if !json.trim_ascii_start().starts_with('{') {
            return Err(InvalidEvent::NotAnObject);
        }
        if attributes.specversion != SPEC_VERSION {
            return Err(InvalidEvent::SpecVersion(attributes.specversion.into_owned()));
        }
        for (name, value) in
            [("id", &attributes.id), ("source", &attributes.source), ("type", &attributes.type_)]
        {
            if value.is_empty() {
                return Err(InvalidEvent::Empty(name));
            }
        }
        Ok(attributes)
    }
}
