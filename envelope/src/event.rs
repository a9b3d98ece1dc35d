//! CloudEvents 1.0.2 in JSON: written by the filter, read by filter and bridge.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::data::Data;
use crate::timestamp::Timestamp;

mod attributes;
mod context;
mod invalid;
mod read;

pub use attributes::Attributes;
pub use context::{Context, ContextBuilder, MAX_EXTENSIONS, is_uri_reference};
pub use invalid::InvalidEvent;
pub use read::{ParsedEvent, parse};

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
    /// When it happened, or when the gateway took the request in.
    pub time: Time<'a>,
    /// The media type of `data`.
    pub data_content_type: Option<&'a str>,
    /// The schema that `data` adheres to, an absolute URI.
    pub data_schema: Option<&'a str>,
    /// Extension attributes, in the order in which they are written. Names are lower-case ASCII letters and
    /// digits (CloudEvents 1.0.2, section 3.1.1); [`is_attribute_name`] tells.
    pub extensions: &'a [(&'a str, Extension<'a>)],
    /// The payload.
    pub data: Data<'a>,
}

/// The `time` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time<'a> {
    /// The gateway's clock.
    At(Timestamp),
    /// RFC 3339, as the caller spelled it: with its offset, and as precise as it is.
    Claimed(&'a str),
}

impl From<Timestamp> for Time<'_> {
    fn from(time: Timestamp) -> Self {
        Self::At(time)
    }
}

/// The value of an extension attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension<'a> {
    /// A string, and whatever else CloudEvents spells as one in JSON.
    Text(Cow<'a, str>),
    /// A signed 32-bit integer, as CloudEvents has them.
    Integer(i32),
    /// A boolean.
    Boolean(bool),
}

impl<'a> Extension<'a> {
    /// The canonical string (CloudEvents 1.0.2, section 3, "Type System"), which is what a header carries.
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
        }
    }
}

impl<'a> From<&'a str> for Extension<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Extension<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Extension<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

/// Whether `name` may name an attribute that is made here: lower-case ASCII letters and digits, 1 to 20 of them.
/// What others made may be longer, because 20 is a recommendation.
pub fn is_attribute_name(name: &str) -> bool {
    (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

impl Event<'_> {
    /// Appends the event as a JSON object to `out`, without white space, `data` last.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(512 + self.data.len());
        out.extend_from_slice(br#"{"specversion":""#);
        out.extend_from_slice(SPEC_VERSION.as_bytes());
        out.push(b'"');
        write_text(out, "id", self.id);
        write_text(out, "source", self.source);
        write_text(out, "type", self.type_);
        if let Some(subject) = self.subject {
            write_text(out, "subject", subject);
        }
        match self.time {
            Time::At(time) => write_text(out, "time", &time.to_string()),
            Time::Claimed(text) => write_text(out, "time", text),
        }
        if let Some(media_type) = self.data_content_type {
            write_text(out, "datacontenttype", media_type);
        }
        if let Some(schema) = self.data_schema {
            write_text(out, "dataschema", schema);
        }
        for (name, value) in self.extensions {
            match value {
                Extension::Text(text) => write_text(out, name, text),
                Extension::Integer(_) | Extension::Boolean(_) => {
                    write_name(out, name);
                    out.extend_from_slice(value.clone().into_text().as_bytes());
                }
            }
        }
        match &self.data {
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
