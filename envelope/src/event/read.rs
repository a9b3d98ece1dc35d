//! Whole events in JSON, read without a tree: attributes are copied only where they are escaped, `data` is left in
//! its own spelling, and no input nests deeper than this code does.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Context, ContextBuilder, Extension, InvalidEvent};
use crate::data::Data;
use crate::json_fault;
use crate::media_type;
use crate::quote::quote;

/// An event that was read, borrowed from its JSON.
#[derive(Clone, Debug)]
pub struct ParsedEvent<'a> {
    /// What the event says of itself.
    pub context: Context<'a>,
    /// The media type of the payload. A JSON value without one is `application/json` (CloudEvents JSON Format 1.0.2,
    /// section 3.1.2), and that is said here.
    pub data_content_type: Option<Cow<'a, str>>,
    /// The payload.
    pub data: Data<'a>,
}

/// Reads an event in JSON (CloudEvents JSON Format 1.0.2) and checks all of it.
///
/// # Errors
/// [`InvalidEvent`] when this is not a CloudEvent.
pub fn parse(json: &str) -> Result<ParsedEvent<'_>, InvalidEvent> {
    if let Some(fault) = json_fault::by_its_start(json.as_bytes()) {
        return Err(InvalidEvent::Start(fault));
    }
    if !json.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<&RawValue>(json).map_err(InvalidEvent::Json)?;
        return Err(InvalidEvent::NotAnObject);
    }
    let mut members = Members::default();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = (&mut members).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Some(invalid) = members.invalid {
        return Err(invalid);
    }
    read.map_err(InvalidEvent::Json)?;
    let (context, data_content_type) = members.context.finish()?;
    let (data, data_content_type) = match (members.data, members.data_base64) {
        (Some(_), Some(_)) => return Err(InvalidEvent::BothData),
        (None, None) => (Data::Absent, data_content_type),
        (None, Some(bytes)) => (Data::Binary(Cow::Owned(bytes)), data_content_type),
        (Some(raw), None) => read_data(raw, data_content_type)?,
    };
    Ok(ParsedEvent { context, data_content_type, data })
}

/// What `data` is, by the media type that the event gives it.
fn read_data<'a>(
    raw: &'a RawValue,
    content_type: Option<Cow<'a, str>>,
) -> Result<(Data<'a>, Option<Cow<'a, str>>), InvalidEvent> {
    let Some(content_type) = content_type else {
        return Ok((Data::Json(raw), Some(Cow::Borrowed("application/json"))));
    };
    if media_type::is_json(&content_type) {
        return Ok((Data::Json(raw), Some(content_type)));
    }
    if !media_type::is_utf8(&content_type) {
        // The string would have to be turned into another charset whenever the event leaves JSON.
        let wanted = "data_base64 where datacontenttype has another charset than UTF-8";
        return Err(InvalidEvent::new("data", wanted, quote(&content_type)));
    }
    match Value::of(raw) {
        Value::Attribute(Extension::Text(text)) => Ok((Data::Text(text), Some(content_type))),
        other => Err(InvalidEvent::new("data", "a string, as datacontenttype is not JSON", other.name())),
    }
}

/// The members of an event, as they come.
#[derive(Default)]
struct Members<'a> {
    context: ContextBuilder<'a>,
    data: Option<&'a RawValue>,
    data_base64: Option<Vec<u8>>,
    /// The names that came with `null`. They count when a name comes for the second time, because readers of JSON
    /// differ in which of the two they believe.
    unset: BTreeSet<Cow<'a, str>>,
    /// Why reading stopped, when it was not for its JSON.
    invalid: Option<InvalidEvent>,
}

impl<'a> Members<'a> {
    fn take(&mut self, name: Cow<'a, str>, raw: &'a RawValue) -> Result<(), InvalidEvent> {
        if name == "data" {
            return match self.data.replace(raw) {
                None => Ok(()),
                Some(_) => Err(InvalidEvent::new("data", "it at most once", "it repeated")),
            };
        }
        let repeated =
            if name == "data_base64" { self.data_base64.is_some() } else { self.context.has(&name) };
        if repeated || self.unset.contains(&name) {
            return Err(InvalidEvent::new(&name, "it at most once", "it repeated"));
        }
        match (name.as_ref(), Value::of(raw)) {
            (_, Value::Null) => {
                self.unset.insert(name);
                Ok(())
            }
            ("data_base64", Value::Attribute(Extension::Text(text))) => {
                let bytes = STANDARD.decode(text.as_bytes()).map_err(|error| {
                    InvalidEvent::new("data_base64", "padded base64 (RFC 4648, section 4)", error.to_string())
                })?;
                self.data_base64 = Some(bytes);
                Ok(())
            }
            ("data_base64", other) => Err(InvalidEvent::new("data_base64", "a string", other.name())),
            (_, Value::Attribute(value)) => self.context.set(name, value),
            (_, other) => {
                Err(InvalidEvent::new(&name, "a string, a boolean or a 32-bit integer", other.name()))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Members<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Members<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if let Err(invalid) = self.take(name.0, raw) {
                self.invalid = Some(invalid);
                return Err(de::Error::custom("not a CloudEvent"));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(expecting = "a string")]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON value, told by its first character and read as far as an attribute can be.
enum Value<'a> {
    Null,
    Attribute(Extension<'a>),
    /// What no attribute can be; the text names it.
    Other(&'static str),
}

impl<'a> Value<'a> {
    fn of(raw: &'a RawValue) -> Self {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<Text<'a>>(json) {
                Ok(text) => Self::Attribute(Extension::Text(text.0)),
                // The one thing that may be wrong with a string that was read over already.
                Err(_) => Self::Other("a string with an unpaired surrogate"),
            },
            Some(b't') => Self::Attribute(Extension::Boolean(true)),
            Some(b'f') => Self::Attribute(Extension::Boolean(false)),
            Some(b'n') => Self::Null,
            Some(b'[') => Self::Other("an array"),
            Some(b'{') => Self::Other("an object"),
            _ => match json.parse() {
                Ok(number) => Self::Attribute(Extension::Integer(number)),
                Err(_) => Self::Other("a number that is not a 32-bit integer"),
            },
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Attribute(Extension::Text(_)) => "a string",
            Self::Attribute(Extension::Integer(_)) => "a number",
            Self::Attribute(Extension::Boolean(_)) => "a boolean",
            Self::Other(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn event(rest: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{rest}}}"#)
    }

    fn error(json: &str) -> String {
        parse(json).unwrap_err().to_string()
    }

    #[test]
    fn attributes_of_every_type_are_read() {
        let json = event(
            r#","subject":"\u00fc","time":null,"dataschema":"urn:a:b","i":-2147483648,"b":false,"s":"x","n":null"#,
        );
        let parsed = parse(&json).unwrap();
        assert_eq!((&*parsed.context.id, &*parsed.context.source, &*parsed.context.type_), ("1", "/s", "t"));
        assert_eq!((parsed.context.subject.as_deref(), &parsed.context.time), (Some("ü"), &None));
        assert_eq!(parsed.context.data_schema.as_deref(), Some("urn:a:b"));
        assert_eq!(
            parsed.context.extensions,
            [
                ("i".into(), Extension::Integer(i32::MIN)),
                ("b".into(), Extension::Boolean(false)),
                ("s".into(), Extension::Text("x".into()))
            ]
        );
        assert!(matches!(parsed.data, Data::Absent) && parsed.data_content_type.is_none());
    }

    #[test]
    fn data_is_what_its_media_type_says() {
        let json = event(r#","data": {"b" : 1e400, "a":"\udead"} "#);
        let parsed = parse(&json).unwrap();
        let Data::Json(raw) = parsed.data else { panic!() };
        assert_eq!(raw.get(), r#"{"b" : 1e400, "a":"\udead"}"#);
        assert_eq!(parsed.data_content_type.as_deref(), Some("application/json"));

        let json = event(r#","data":"{}","datacontenttype":"application/vnd.x+json""#);
        assert!(matches!(parse(&json).unwrap().data, Data::Json(raw) if raw.get() == "\"{}\""));
        let json = event(r#","data":null"#);
        assert!(matches!(parse(&json).unwrap().data, Data::Json(raw) if raw.get() == "null"));
        let json = event(r#","datacontenttype":"text/plain","data":"\n\u00fc""#);
        assert!(matches!(parse(&json).unwrap().data, Data::Text(text) if text == "\nü"));
        let json = event(r#","datacontenttype":"application/json","data_base64":"e30=""#);
        assert!(matches!(parse(&json).unwrap().data, Data::Binary(bytes) if &*bytes == b"{}"));
        let json = event(r#","data_base64":"""#);
        let parsed = parse(&json).unwrap();
        assert!(matches!(parsed.data, Data::Binary(bytes) if bytes.is_empty()));
        assert_eq!(parsed.data_content_type, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (rest, start) in [
            (r#","data":1,"data_base64":"""#, "wanted data or data_base64, got both"),
            (r#","data":1,"data":1"#, "data: wanted it at most once"),
            (r#","data_base64":"","data_base64":"""#, "data_base64: wanted it at most once"),
            (r#","data_base64":"e30""#, "data_base64: wanted padded base64"),
            (r#","data_base64":"e-0=""#, "data_base64: wanted padded base64"),
            (r#","data_base64":1"#, "data_base64: wanted a string, got a number"),
            (r#","data":{},"datacontenttype":"text/plain""#, "data: wanted a string, as"),
            (r#","data":"","datacontenttype":"text/plain;charset=latin1""#, "data: wanted data_base64 where"),
            (r#","id":"2""#, "id: wanted it at most once, got it repeated"),
            (r#","ext":1,"ext":1"#, "ext: wanted it at most once, got it repeated"),
            (r#","id":null"#, "id: wanted it at most once, got it repeated"),
            (r#","ext":null,"ext":1"#, "ext: wanted it at most once, got it repeated"),
            (r#","time":null,"time":null"#, "time: wanted it at most once, got it repeated"),
            (
                r#","data_base64":null,"data_base64":"""#,
                "data_base64: wanted it at most once, got it repeated",
            ),
            (r#","e":2147483648"#, "e: wanted a string, a boolean or a 32-bit integer, got a number that"),
            (r#","e":1.0"#, "e: wanted a string, a boolean or a 32-bit integer, got a number that"),
            (r#","e":[1]"#, "e: wanted a string, a boolean or a 32-bit integer, got an array"),
            (r#","e":{}"#, "e: wanted a string, a boolean or a 32-bit integer, got an object"),
            (r#","e":"\udead""#, "e: wanted a string, a boolean or a 32-bit integer, got a string with an"),
            (r#","e":"\u0000""#, "e: wanted a string without control characters"),
            (r#","subject":1"#, "subject: wanted a non-empty string, got the integer 1"),
            (r#","time":true"#, "time: wanted a time (RFC 3339), got true"),
            (r#","E":1"#, "wanted attribute names of a-z"),
            (r#","e":nul"#, "not a CloudEvent in JSON: expected ident"),
            (r#"} {"#, "not a CloudEvent in JSON: trailing characters"),
        ] {
            let error = error(&event(rest));
            assert!(error.starts_with(start), "{rest}: {error}");
        }
        for json in ["[]", "1", "\"x\"", "null", " [\"1.0\",\"1\",\"/\",\"t\"]"] {
            assert!(matches!(parse(json), Err(InvalidEvent::NotAnObject)), "{json}");
        }
        assert!(matches!(parse("\u{feff}{}"), Err(InvalidEvent::Start(_))));
        for json in ["", "{", "[", "nul"] {
            assert!(matches!(parse(json), Err(InvalidEvent::Json(_))), "{json}");
        }
        assert_eq!(error("{}"), "specversion: wanted \"1.0\", got none");
        let long = format!("\"{}\"", "x".repeat(1_000_000));
        assert!(error(&format!("{{\"time\":{long}}}")).len() < 120);
        assert!(error(&long).len() < 120);
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert!(matches!(
            parse(&event(&format!(",\"data\":{deep}"))).map(|event| event.data),
            Ok(Data::Json(_))
        ));
        assert!(error(&event(&format!(",\"ext\":{deep}"))).ends_with("got an array"));
        assert!(matches!(parse(&deep), Err(InvalidEvent::NotAnObject)));
    }
}
