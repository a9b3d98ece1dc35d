//! Which of the HTTP binding's modes a request is in, and the one check of events in binary mode, for gateway and sink
//! alike (CloudEvents HTTP Protocol Binding 1.0.2, section 3). Structured and batched mode have [`crate::event::parse`].

use std::borrow::Cow;

use crate::data::Data;
use crate::event::{ContextBuilder, Extension, InvalidEvent, ParsedEvent};
use crate::http_header;
use crate::media_type;

/// How a request carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Attributes in `ce-` header fields, data in the body.
    Binary,
    /// One event in JSON.
    Structured,
    /// An array of events in JSON, which may be empty.
    Batched,
}

/// A media type of events in a format that is not known, or in another charset than UTF-8. It is never that of data,
/// because the binding keeps these names for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl Mode {
    /// Told by the media type; if that is not of events, then by whether there is a field `ce-specversion`. `None` is no
    /// event.
    ///
    /// # Errors
    /// [`UnknownFormat`], which asks for a 415.
    pub fn of(content_type: Option<&str>, has_specversion: bool) -> Result<Option<Self>, UnknownFormat> {
        const EVENTS: &str = "application/cloudevents";
        let essence = content_type.map(media_type::essence).unwrap_or_default();
        let of_events = essence.get(..EVENTS.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENTS));
        if !of_events {
            return Ok(has_specversion.then_some(Self::Binary));
        }
        let rest = essence.get(EVENTS.len()..).unwrap_or_default();
        if !content_type.is_none_or(media_type::is_utf8) {
            Err(UnknownFormat)
        } else if rest.eq_ignore_ascii_case("+json") {
            Ok(Some(Self::Structured))
        } else if rest.eq_ignore_ascii_case("-batch+json") {
            Ok(Some(Self::Batched))
        } else {
            Err(UnknownFormat)
        }
    }
}

/// Reads attributes from header fields, whose names are in lower case; the body is the data.
///
/// # Errors
/// Which field is wrong, and why. A body that its `content-type` says is JSON and that is not is one, too.
pub fn read_binary<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    content_type: Option<&'a str>,
    body: &'a [u8],
) -> Result<ParsedEvent<'a>, String> {
    let (context, data_content_type) =
        attributes(fields, content_type)?.finish().map_err(|error| told(&error))?;
    let data = Data::from_body(content_type, body)
        .map_err(|error| format!("content-type says JSON, but {error}"))?;
    Ok(ParsedEvent { context, data_content_type, data })
}

fn attributes<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    content_type: Option<&'a str>,
) -> Result<ContextBuilder<'a>, String> {
    let mut context = ContextBuilder::default();
    for (name, value) in fields {
        let Some(name) = name.strip_prefix(http_header::PREFIX.as_bytes()) else { continue };
        let name = String::from_utf8_lossy(name);
        if name == "datacontenttype" {
            return Err("ce-datacontenttype: wanted none, as content-type says it, got one".to_owned());
        }
        let value = http_header::decode(value)
            .map_err(|fault| format!("ce-{}: {fault}", name.get(..40).unwrap_or(&name)))?;
        context.set(name, Extension::Text(value)).map_err(|error| told(&error))?;
    }
    if let Some(content_type) = content_type {
        context.set(Cow::Borrowed("datacontenttype"), content_type.into()).map_err(|error| told(&error))?;
    }
    Ok(context)
}

/// An error by the name of the field that it is about.
fn told(error: &InvalidEvent) -> String {
    match error {
        InvalidEvent::Attribute { name, wanted, got } if name == "datacontenttype" => {
            format!("content-type: wanted {wanted}, got {got}")
        }
        InvalidEvent::Attribute { name, wanted, got } => format!("ce-{name}: wanted {wanted}, got {got}"),
        other => format!("headers: {other}"),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_media_type_comes_first() {
        for both in [false, true] {
            for text in ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=UTF-8"] {
                assert_eq!(Mode::of(Some(text), both), Ok(Some(Mode::Structured)), "{text}");
            }
            let batched = Mode::of(Some("application/cloudevents-batch+json;x=y"), both);
            assert_eq!(batched, Ok(Some(Mode::Batched)));
            for rest in ["+avro", "", "-batch+xml", "-batch", "+json2", "x", "+json; charset=utf-16"] {
                let text = format!("application/cloudevents{rest}");
                assert_eq!(Mode::of(Some(&text), both), Err(UnknownFormat), "{text}");
            }
            for text in
                [None, Some(""), Some("application/json"), Some("application/cloudevent"), Some("nonsense")]
            {
                assert_eq!(Mode::of(text, both), Ok(both.then_some(Mode::Binary)), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_the_name_of_the_field() {
        let least: [(&[u8], &[u8]); 4] =
            [(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"/s"), (b"ce-type", b"t")];
        for (name, value, wanted) in [
            ("ce-id", &b"2"[..], "ce-id: wanted it at most once"),
            ("ce-time", b"noon", "ce-time: wanted a time"),
            ("ce-x", b"%ff", "ce-x: wanted percent-encoded UTF-8"),
            ("ce-x", b"gr\xc3\xbcn", "ce-x: wanted visible ASCII"),
            ("ce-my-ext", b"1", "headers: wanted attribute names"),
            ("ce-data", b"1", "headers: wanted attribute names"),
            ("ce-datacontenttype", b"a/b", "ce-datacontenttype: wanted none"),
        ] {
            let fields = least.into_iter().chain([(name.as_bytes(), value)]);
            let error = read_binary(fields, None, b"").unwrap_err();
            assert!(error.starts_with(wanted), "{name}: {error}");
        }
        for (content_type, body, wanted) in [
            ("json", &b""[..], "content-type: wanted a media type"),
            ("application/json", b"{", "content-type says JSON, but the body is not JSON"),
        ] {
            let error = read_binary(least.into_iter(), Some(content_type), body).unwrap_err();
            assert!(error.starts_with(wanted), "{content_type}: {error}");
        }
        for missing in 0..least.len() {
            let fields = least.into_iter().enumerate().filter(|(index, _)| *index != missing);
            let error = read_binary(fields.map(|(_, field)| field), None, b"").unwrap_err();
            let name = std::str::from_utf8(least[missing].0).unwrap();
            assert!(error.starts_with(&format!("{name}: wanted")), "{error}");
        }
    }

    #[derive(serde::Deserialize)]
    struct Case {
        why: String,
        taken: bool,
        event: String,
        headers: Option<Vec<(String, String)>>,
        body: String,
    }

    /// Gateway and kafka-bridge are held to the same events, each from its own side.
    #[test]
    fn every_mode_takes_the_same_events() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../events/both-ends.json")).unwrap();
        assert!(cases.iter().filter(|case| !case.taken).count() >= 32);
        for Case { why, taken, event, headers, body } in &cases {
            let structured = crate::event::parse(event);
            assert_eq!(structured.is_ok(), *taken, "structured, {why}: {structured:?}");
            let Some(headers) = headers else { continue };
            let content_type =
                headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
            let fields = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let binary = read_binary(fields, content_type, body.as_bytes());
            assert_eq!(binary.is_ok(), *taken, "binary, {why}: {binary:?}");
        }
    }
}
