//! How a body becomes the `data` of an event (CloudEvents JSON Format 1.0.2, section 3.1).

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use crate::{json_fault, media_type};

/// The payload of an event, borrowed from where it was read wherever it stands there as it is.
#[derive(Clone, Debug)]
pub enum Data<'a> {
    /// No payload: the event has neither `data` nor `data_base64`.
    Absent,
    /// A JSON value, carried as `data` in exactly the caller's spelling.
    Json(&'a RawValue),
    /// Text, carried as `data`, a JSON string.
    Text(Cow<'a, str>),
    /// Anything else, carried as `data_base64`.
    Binary(Cow<'a, [u8]>),
}

/// A body that says it is JSON and is not.
#[derive(Debug)]
pub struct InvalidJson {
    source: serde_json::Error,
    fault: String,
}

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is not JSON: {}", self.fault)
    }
}

impl std::error::Error for InvalidJson {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl<'a> Data<'a> {
    /// The bytes that it takes in an event in JSON at the least.
    pub fn len(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Json(raw) => raw.get().len(),
            Self::Text(text) => len_in_json(text),
            Self::Binary(bytes) => bytes.len().div_ceil(3).saturating_mul(4),
        }
    }

    /// Whether there is no payload.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The payload as the bytes that it stands for: JSON as it is spelled, text in UTF-8. `None` is no payload.
    pub fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Absent => None,
            Self::Json(raw) => Some(Cow::Borrowed(raw.get().as_bytes())),
            Self::Text(Cow::Borrowed(text)) => Some(Cow::Borrowed(text.as_bytes())),
            Self::Text(Cow::Owned(text)) => Some(Cow::Owned(text.into_bytes())),
            Self::Binary(bytes) => Some(bytes),
        }
    }

    /// Decides how `body` is carried. An empty body is no payload, whatever its type says. JSON is checked, and
    /// kept byte for byte (white space around the value, which is not part of it, excepted). Text must be UTF-8
    /// by its declaration and in fact, and not mostly control characters, each of which takes six bytes in a string: it is
    /// binary if it would take more than twice its length. What has no type, or any other, is binary.
    ///
    /// # Errors
    /// [`InvalidJson`] when the media type is JSON and the body is not.
    pub fn from_body(media_type: Option<&str>, body: &'a [u8]) -> Result<Self, InvalidJson> {
        let media_type = media_type.unwrap_or_default();
        if body.is_empty() {
            Ok(Self::Absent)
        } else if media_type::is_json(media_type) {
            serde_json::from_slice(body).map(Self::Json).map_err(|source| {
                let fault = json_fault::of_body(body, &source);
                InvalidJson { source, fault }
            })
        } else if let (true, Ok(text)) = (media_type::is_utf8_text(media_type), std::str::from_utf8(body))
            && len_in_json(text) <= text.len().saturating_mul(2)
        {
            Ok(Self::Text(Cow::Borrowed(text)))
        } else {
            Ok(Self::Binary(Cow::Borrowed(body)))
        }
    }
}

/// How long a text is in a JSON string, without the quotes.
pub(crate) fn len_in_json(text: &str) -> usize {
    let len = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(len).sum()
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn json_keeps_its_spelling() {
        let body = br#"{"b":1e400, "a" : 9007199254740993.00,"a":"\u00e9"}"#;
        let Data::Json(raw) = Data::from_body(Some("application/json"), body).unwrap() else { panic!() };
        assert_eq!(raw.get().as_bytes(), body);
    }

    #[test]
    fn text_that_is_mostly_control_characters_is_binary() {
        let form = |body: &[u8]| match Data::from_body(Some("text/plain"), body).unwrap() {
            Data::Text(_) => "text",
            Data::Binary(_) => "binary",
            other => panic!("{other:?}"),
        };
        for (body, wanted) in [
            (&b"\0"[..], "binary"),
            (b"\x01\x02\x03\x04\x05\x06\x07", "binary"),
            (b"abcd\0", "text"),
            (b"abc\0", "binary"),
            (b"\"\"\"\\\\\n\n\r\n\t\t", "text"),
            (b"\x1b[1mbold\x1b[0m text of a terminal", "text"),
        ] {
            assert_eq!(form(body), wanted, "{body:?}");
        }
        for text in ["", "a\"b", "\0\u{1}\u{8}\u{b}\u{c}\u{1f}\u{7f}\u{80}\u{2028}grün\\\t\r\n/"] {
            assert_eq!(len_in_json(text) + 2, serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }

    #[test]
    fn deeply_nested_json_costs_no_stack() {
        let body = [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat();
        assert!(matches!(Data::from_body(Some("application/json"), &body), Ok(Data::Json(_))));
    }

    #[test]
    fn what_says_json_must_be_json() {
        for body in [&b"{"[..], b"{} {}", b"\xff", b"\"\xff\"", b" ", b"NaN", b"\xef\xbb\xbf{}"] {
            assert!(Data::from_body(Some("application/json"), body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_told() {
        let error = Data::from_body(Some("application/json"), b"\xef\xbb\xbf{}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body is not JSON: it begins with a byte order mark (U+FEFF), which JSON must not have"
        );
    }

    #[test]
    fn the_media_type_decides_the_rest() {
        assert!(matches!(Data::from_body(Some("application/json"), b""), Ok(Data::Absent)));
        let text = Data::from_body(Some("text/plain"), "grün".as_bytes());
        assert!(matches!(text, Ok(Data::Text(Cow::Borrowed("grün")))));
        let binary = Data::from_body(Some("text/plain"), b"\xff");
        assert!(matches!(binary, Ok(Data::Binary(Cow::Borrowed(b"\xff")))));
        assert!(matches!(Data::from_body(None, b"{}"), Ok(Data::Binary(Cow::Borrowed(b"{}")))));
    }
}
