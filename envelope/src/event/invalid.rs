//! What can be wrong with an event.

use std::fmt;

use super::MAX_EXTENSIONS;
use crate::json_fault::in_words;
use crate::quote::quote;

/// Something that is not a CloudEvent.
#[derive(Debug)]
pub enum InvalidEvent {
    /// Not JSON; or, from [`super::Attributes`], an attribute is missing, repeated or of the wrong type.
    Json(serde_json::Error),
    /// Not JSON by its first bytes already; the text tells what it is.
    Start(&'static str),
    /// JSON, but not an object.
    NotAnObject,
    /// An attribute is not as CloudEvents has it. `data` and `data_base64` count as attributes here.
    Attribute {
        /// Which one.
        name: String,
        /// What CloudEvents asks for.
        wanted: &'static str,
        /// What is there instead, short.
        got: String,
    },
    /// No attribute can have this name, which is quoted and short.
    Name(String),
    /// `data` and `data_base64` are both there.
    BothData,
    /// More than [`MAX_EXTENSIONS`] extension attributes.
    TooManyExtensions,
}

impl InvalidEvent {
    pub(super) fn new(name: &str, wanted: &'static str, got: impl Into<String>) -> Self {
        // A name is as long as the caller makes it, and may be anything if it is the name that is wrong.
        let legal = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let name = if legal { name.to_owned() } else { quote(name) };
        Self::Attribute { name, wanted, got: got.into() }
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "not a CloudEvent in JSON: {}", in_words(error)),
            Self::Start(fault) => write!(f, "not a CloudEvent in JSON: {fault}"),
            Self::NotAnObject => f.write_str("not a CloudEvent in JSON: wanted an object"),
            Self::Attribute { name, wanted, got } => write!(f, "{name}: wanted {wanted}, got {got}"),
            Self::Name(got) => {
                write!(f, "wanted attribute names of a-z and 0-9 other than \"data\", got {got}")
            }
            Self::BothData => f.write_str("wanted data or data_base64, got both"),
            Self::TooManyExtensions => {
                write!(f, "wanted at most {MAX_EXTENSIONS} extension attributes, got more")
            }
        }
    }
}

impl std::error::Error for InvalidEvent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            _ => None,
        }
    }
}
