//! In which of the HTTP binding's modes a request carries events (CloudEvents HTTP Protocol Binding 1.0.2, section 3).

use axum::http::{HeaderMap, header};
use wicketgate_envelope::media_type;

use crate::http::shortened::shortened;
use crate::problem::{Kind, Problem};

/// How a request carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Attributes in `ce-` header fields, data in the body.
    Binary,
    /// One event in JSON.
    Structured,
    /// An array of events in JSON.
    Batched,
}

/// The part of a media type that says it is an event, or many.
const EVENTS: &str = "application/cloudevents";

impl Format {
    /// Told by `content-type`; if that is not of events, then by `ce-specversion`.
    ///
    /// # Errors
    /// 415 when it is none of the three.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let content_type =
            headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("(not text)"));
        let essence = content_type.map(media_type::essence).unwrap_or_default().to_ascii_lowercase();
        match essence.strip_prefix(EVENTS) {
            Some("+json") => return Ok(Self::Structured),
            Some("-batch+json") => return Ok(Self::Batched),
            // Another format, or another kind of batch. Never data: the binding keeps these names for events.
            Some(rest) if rest.is_empty() || rest.starts_with(['+', '-']) => {}
            _ if headers.contains_key("ce-specversion") => return Ok(Self::Binary),
            _ => {}
        }
        let got = content_type.map_or("neither".to_owned(), |text| format!("{:?}", shortened(text)));
        Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!(
                "content-type: wanted {EVENTS}+json or {EVENTS}-batch+json, or the header ce-specversion, got {got}"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str, specversion: bool) -> Option<Format> {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        if specversion {
            headers.insert("ce-specversion", "1.0".parse().unwrap());
        }
        Format::of(&headers).ok()
    }

    #[test]
    fn what_came_is_told_but_not_all_of_it() {
        let mut headers = HeaderMap::new();
        assert!(format!("{:?}", Format::of(&headers).unwrap_err()).contains("got neither"));
        headers.insert("content-type", "x".repeat(9_000).parse().unwrap());
        let problem = format!("{:?}", Format::of(&headers).unwrap_err());
        assert!(problem.contains(&"x".repeat(80)) && problem.len() < 500, "{problem}");
    }

    #[test]
    fn the_media_type_comes_first() {
        for both in [false, true] {
            for text in ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=UTF-8"] {
                assert_eq!(of(text, both), Some(Format::Structured), "{text}");
            }
            assert_eq!(of("application/cloudevents-batch+json;x=y", both), Some(Format::Batched));
            for text in ["+avro", "", "-batch+xml", "-batch", "+json2"] {
                assert_eq!(of(&format!("application/cloudevents{text}"), both), None, "{text}");
            }
        }
        for text in ["", "application/json", "text/plain", "application/cloudeventsx", "nonsense"] {
            assert_eq!(of(text, true), Some(Format::Binary), "{text}");
            assert_eq!(of(text, false), None, "{text}");
        }
    }
}
