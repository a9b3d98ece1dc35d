//! The context attributes of an event that somebody else made, put together one by one and checked on the way.

use std::borrow::Cow;

use fluent_uri::{Uri, UriRef};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Extension, InvalidEvent, SPEC_VERSION};
use crate::media_type;
use crate::quote::quote;

/// No event has more extension attributes than this. CloudEvents has no limit of its own; this one keeps the work
/// of looking for repeated names, and the headers of a record in binary mode, within bounds. The gateway takes fewer
/// from a caller, because it adds its own.
pub const MAX_EXTENSIONS: usize = 256;

/// The context attributes of an event, without those that describe its encoding (`specversion`,
/// `datacontenttype`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// Not empty.
    pub id: Cow<'a, str>,
    /// A URI reference (RFC 3986), not empty.
    pub source: Cow<'a, str>,
    /// Not empty.
    pub type_: Cow<'a, str>,
    /// Not empty.
    pub subject: Option<Cow<'a, str>>,
    /// RFC 3339, as it was spelled.
    pub time: Option<Cow<'a, str>>,
    /// An absolute URI (RFC 3986), with or without a fragment.
    pub data_schema: Option<Cow<'a, str>>,
    /// In the order in which they came; no name twice.
    pub extensions: Vec<(Cow<'a, str>, Extension<'a>)>,
}

/// Takes attributes in any order, from whatever encoding they come.
#[derive(Debug, Default)]
pub struct ContextBuilder<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    type_: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    data_schema: Option<Cow<'a, str>>,
    data_content_type: Option<Cow<'a, str>>,
    extensions: Vec<(Cow<'a, str>, Extension<'a>)>,
}

const ONCE: &str = "it at most once";
const NON_EMPTY: &str = "a non-empty string";

impl<'a> ContextBuilder<'a> {
    /// Whether an attribute of this name has been taken.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match name {
            "specversion" => self.specversion.is_some(),
            "id" => self.id.is_some(),
            "source" => self.source.is_some(),
            "type" => self.type_.is_some(),
            "subject" => self.subject.is_some(),
            "time" => self.time.is_some(),
            "dataschema" => self.data_schema.is_some(),
            "datacontenttype" => self.data_content_type.is_some(),
            _ => self.extensions.iter().any(|(known, _)| known == name),
        }
    }

    /// Takes one attribute. What is `null` in JSON is unset and is not to be handed over.
    ///
    /// # Errors
    /// [`InvalidEvent`] when the name is none, comes for the second time, or the value is not what CloudEvents 1.0.2,
    /// section 3, asks of it.
    pub fn set(&mut self, name: Cow<'a, str>, value: Extension<'a>) -> Result<(), InvalidEvent> {
        if self.has(&name) {
            return Err(InvalidEvent::new(&name, ONCE, "it repeated"));
        }
        let (slot, wanted, valid): (_, _, fn(&str) -> bool) = match name.as_ref() {
            "specversion" => (&mut self.specversion, "\"1.0\"", |text| text == SPEC_VERSION),
            "id" => (&mut self.id, NON_EMPTY, is_not_empty),
            "source" => (&mut self.source, "a non-empty URI reference (RFC 3986)", is_uri_reference),
            "type" => (&mut self.type_, NON_EMPTY, is_not_empty),
            "subject" => (&mut self.subject, NON_EMPTY, is_not_empty),
            "time" => (&mut self.time, "a time (RFC 3339)", is_time),
            "dataschema" => (&mut self.data_schema, "an absolute URI (RFC 3986)", is_uri),
            "datacontenttype" => {
                (&mut self.data_content_type, "a media type (RFC 2046)", media_type::is_media_type)
            }
            _ => return self.set_extension(name, value),
        };
        let text = checked_text(&name, wanted, value)?;
        if !valid(&text) {
            return Err(InvalidEvent::new(&name, wanted, quote(&text)));
        }
        *slot = Some(text);
        Ok(())
    }

    fn set_extension(&mut self, name: Cow<'a, str>, value: Extension<'a>) -> Result<(), InvalidEvent> {
        let letters =
            |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if name.is_empty() || name == "data" || !letters(&name) {
            return Err(InvalidEvent::Name(quote(&name)));
        }
        if self.extensions.len() == MAX_EXTENSIONS {
            return Err(InvalidEvent::TooManyExtensions);
        }
        let value = match value {
            // A record key is made of it, and no key is not the same as an empty one.
            value if name == "partitionkey" => {
                let text = checked_text(&name, NON_EMPTY, value)?;
                if text.is_empty() {
                    return Err(InvalidEvent::new(&name, NON_EMPTY, "\"\""));
                }
                Extension::Text(text)
            }
            Extension::Text(_) => Extension::Text(checked_text(&name, "a string", value)?),
            Extension::Integer(_) | Extension::Boolean(_) => value,
        };
        self.extensions.push((name, value));
        Ok(())
    }

    /// All that has been taken: the context, and `datacontenttype`.
    ///
    /// # Errors
    /// [`InvalidEvent`] when a required attribute is missing.
    pub fn finish(self) -> Result<(Context<'a>, Option<Cow<'a, str>>), InvalidEvent> {
        let required = |name: &str, wanted, value: Option<Cow<'a, str>>| {
            value.ok_or_else(|| InvalidEvent::new(name, wanted, "none"))
        };
        required("specversion", "\"1.0\"", self.specversion)?;
        let context = Context {
            id: required("id", NON_EMPTY, self.id)?,
            source: required("source", "a non-empty URI reference (RFC 3986)", self.source)?,
            type_: required("type", NON_EMPTY, self.type_)?,
            subject: self.subject,
            time: self.time,
            data_schema: self.data_schema,
            extensions: self.extensions,
        };
        Ok((context, self.data_content_type))
    }
}

/// A string of characters that CloudEvents allows.
fn checked_text<'a>(
    name: &str,
    wanted: &'static str,
    value: Extension<'a>,
) -> Result<Cow<'a, str>, InvalidEvent> {
    match value {
        Extension::Text(text) if text.chars().all(is_allowed) => Ok(text),
        Extension::Text(text) => {
            let wanted = "a string without control characters and noncharacters";
            Err(InvalidEvent::new(name, wanted, quote(&text)))
        }
        Extension::Integer(number) => Err(InvalidEvent::new(name, wanted, format!("the integer {number}"))),
        Extension::Boolean(boolean) => Err(InvalidEvent::new(name, wanted, boolean.to_string())),
    }
}

/// CloudEvents 1.0.2, section 3, "Type System", `String`. Surrogates cannot occur in a `char`.
fn is_allowed(char: char) -> bool {
    let code = u32::from(char);
    !char.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

fn is_not_empty(text: &str) -> bool {
    !text.is_empty()
}

/// Whether `text` may be the `source` of an event: a URI reference (RFC 3986) that is not empty.
pub fn is_uri_reference(text: &str) -> bool {
    !text.is_empty() && UriRef::parse(text).is_ok()
}

fn is_uri(text: &str) -> bool {
    Uri::parse(text).is_ok()
}

fn is_time(text: &str) -> bool {
    OffsetDateTime::parse(text, &Rfc3339).is_ok()
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn set(name: &str, value: &str) -> Result<(), String> {
        let mut builder = ContextBuilder::default();
        builder.set(name.to_owned().into(), value.to_owned().into()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cloudevents_allows_is_taken() {
        for (name, values) in [
            ("source", &["/", "urn:a:b", "https://example.com/a?b#c", "1-555-123-4567", "mailto:a@b"][..]),
            ("subject", &[" ", "grün/✓", "\u{10fffd}"]),
            (
                "time",
                &["2018-04-05T17:31:00Z", "2018-04-05t17:31:00.123456789+05:30", "2016-12-31T23:59:60Z"],
            ),
            ("dataschema", &["https://example.com/schema#v1", "urn:x:y"]),
            ("datacontenttype", &["a/b", "application/json; charset=utf-8"]),
            ("comexampleextension1thatislong", &["", "x"]),
            ("1", &["x"]),
        ] {
            for value in values {
                assert_eq!(set(name, value), Ok(()), "{name} {value}");
            }
        }
    }

    #[test]
    fn what_it_does_not_allow_is_refused() {
        for (name, values) in [
            ("specversion", &["", "1", "1.0.2", "0.3", "1.1", " 1.0"][..]),
            ("id", &["", "\u{0}", "a\nb", "\u{7f}", "\u{85}", "\u{fdd0}", "\u{fffe}", "\u{1ffff}"]),
            ("source", &["", "a b", "http://[", "%", "grün", "a\\b"]),
            ("type", &[""]),
            ("subject", &[""]),
            ("time", &["", "yesterday", "2018-04-05", "2018-04-05T17:31:00", "2018-02-30T00:00:00Z", "0"]),
            ("dataschema", &["", "/relative", "schema.json"]),
            ("datacontenttype", &["", "json", "a/b\u{e9}"]),
            ("partitionkey", &[""]),
            ("", &["x"]),
            ("data", &["x"]),
            ("Upper", &["x"]),
            ("under_score", &["x"]),
            ("comexample-x", &["x"]),
        ] {
            for value in values {
                assert!(set(name, value).is_err(), "{name} {value}");
            }
        }
        assert_eq!(set("time", "noon").unwrap_err(), "time: wanted a time (RFC 3339), got \"noon\"");
        let long = "x".repeat(1_000_000);
        assert!(set("time", &long).unwrap_err().len() < 120);
        assert!(set(&long.to_uppercase(), "x").unwrap_err().len() < 150);
    }

    #[test]
    fn required_attributes_are_required_and_nothing_comes_twice() {
        let all = [("specversion", "1.0"), ("id", "1"), ("source", "/"), ("type", "t")];
        for left_out in 0..all.len() {
            let mut builder = ContextBuilder::default();
            for (index, (name, value)) in all.into_iter().enumerate() {
                if index != left_out {
                    builder.set(name.into(), value.into()).unwrap();
                }
            }
            let error = builder.finish().unwrap_err().to_string();
            assert!(error.starts_with(all[left_out].0) && error.ends_with("got none"), "{error}");
        }
        for name in ["id", "ext"] {
            let mut builder = ContextBuilder::default();
            builder.set(name.into(), "x".into()).unwrap();
            let error = builder.set(name.into(), "x".into()).unwrap_err().to_string();
            assert_eq!(error, format!("{name}: wanted it at most once, got it repeated"));
        }
    }

    #[test]
    fn extensions_are_limited() {
        let mut builder = ContextBuilder::default();
        for number in 0..MAX_EXTENSIONS {
            builder.set(format!("ext{number}").into(), Extension::Boolean(true)).unwrap();
        }
        let error = builder.set("more".into(), Extension::Integer(1)).unwrap_err();
        assert!(matches!(error, InvalidEvent::TooManyExtensions));
    }
}
