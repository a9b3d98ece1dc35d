//! What is looked at in an event besides the attributes that decide where it goes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wicketgate_envelope::event::{Extension, ParsedEvent};
use wicketgate_envelope::trace_context::{TRACEPARENT, TRACESTATE, is_traceparent, is_tracestate};

use crate::idempotency::{Content, Data};

/// Parts of an event that has been found good, or good enough to be written. Attributes of an unexpected type are as
/// good as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EventView<'a> {
    source: Option<Cow<'a, str>>,
    type_: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    data_content_type: Option<Cow<'a, str>>,
    data_schema: Option<Cow<'a, str>>,
    auth_id: Option<Cow<'a, str>>,
    auth_type: Option<Cow<'a, str>>,
    data: Data<'a>,
    traceparent: Option<Cow<'a, str>>,
    tracestate: Option<Cow<'a, str>>,
}

impl<'a> EventView<'a> {
    /// Of an event in JSON. One that cannot be read has nothing.
    ///
    /// # Errors
    /// A member that is there twice: what it says would be for each reader of the event to choose, and two events could be
    /// taken for one.
    pub(super) fn of_json(json: &'a str) -> Result<Self, String> {
        let Read { view, fault } = serde_json::from_str(json).unwrap_or_default();
        fault.map_or(Ok(view), Err)
    }

    /// Of an event in binary mode, with the body that is its data.
    pub(super) fn of_binary(event: &ParsedEvent<'a>, body: &'a [u8]) -> Self {
        let context = &event.context;
        let mut view = Self {
            source: Some(context.source.clone()),
            type_: Some(context.type_.clone()),
            subject: context.subject.clone(),
            data_content_type: event.data_content_type.clone(),
            data_schema: context.data_schema.clone(),
            data: Data::Body(body),
            ..Self::default()
        };
        for (name, value) in &event.context.extensions {
            if let (Some(slot), Extension::Text(text)) = (view.attribute(name), value) {
                *slot = Some(text.clone());
            }
        }
        view
    }

    /// `traceparent` and `tracestate`, as far as W3C Trace Context would hand them on.
    pub(super) fn trace_context(&self) -> Option<(&str, Option<&str>)> {
        let traceparent = self.traceparent.as_deref().filter(|text| is_traceparent(text))?;
        Some((traceparent, self.tracestate.as_deref().filter(|text| is_tracestate(text))))
    }

    /// Who sent the event, as far as the gateway found out.
    pub(super) fn consumer(&self) -> Option<&str> {
        self.auth_id.as_deref()
    }

    /// How it found that out.
    pub(super) fn auth_type(&self) -> Option<&str> {
        self.auth_type.as_deref()
    }

    /// The attribute `source`.
    pub(super) fn source(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }

    /// What the event says, in a record with this key, whose value is null or not, and what its request says besides.
    pub(super) fn content<'b>(
        &'b self,
        key: Option<&'b [u8]>,
        tombstone: bool,
        request: Option<&'b str>,
    ) -> Content<'b> {
        Content {
            key,
            type_: self.type_.as_deref(),
            subject: self.subject.as_deref(),
            data_content_type: self.data_content_type.as_deref(),
            data_schema: self.data_schema.as_deref(),
            data: self.data,
            tombstone,
            request,
        }
    }

    fn attribute(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match name {
            "source" => &mut self.source,
            "type" => &mut self.type_,
            "subject" => &mut self.subject,
            "datacontenttype" => &mut self.data_content_type,
            "dataschema" => &mut self.data_schema,
            "authid" => &mut self.auth_id,
            "authtype" => &mut self.auth_type,
            TRACEPARENT => &mut self.traceparent,
            TRACESTATE => &mut self.tracestate,
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
#[serde(expecting = "a string")]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What was read, and what is wrong with it.
#[derive(Default)]
struct Read<'a> {
    view: EventView<'a>,
    fault: Option<String>,
}

impl<'de> Deserialize<'de> for Read<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Read<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvent")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<'de>, A::Error> {
                let mut view = EventView::default();
                // Few enough to be looked through.
                let mut seen = Vec::new();
                let mut fault = None;
                while let Some((Text(name), raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    let json = raw.get();
                    match &*name {
                        "data" => view.data = Data::Json(json),
                        // As good as absent.
                        _ if json == "null" => continue,
                        "data_base64" => view.data = Data::Base64(json),
                        name => {
                            let Some(slot) = view.attribute(name) else { continue };
                            *slot = serde_json::from_str::<Text<'de>>(json).ok().map(|text| text.0);
                        }
                    }
                    if seen.contains(&name) {
                        fault = Some(format!("{name}: wanted it at most once, got it repeated"));
                    } else {
                        seen.push(name);
                    }
                }
                if fault.is_none()
                    && ["data", "data_base64"].iter().all(|name| seen.iter().any(|seen| seen == name))
                {
                    fault = Some("data: wanted it or data_base64, got both".to_owned());
                }
                Ok(Read { view, fault })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_no_trace_context_is_not_handed_on() {
        let trace = |rest: &str| {
            EventView::of_json(&format!(r#"{{"specversion":"1.0",{rest},"data":[{{}}]}}"#))
                .unwrap()
                .trace_context()
                .map(|(parent, state)| (parent.to_owned(), state.map(str::to_owned)))
        };
        let parent = format!(r#""traceparent":"{TRACE}""#);
        assert_eq!(trace(&parent), Some((TRACE.to_owned(), None)));
        let both = format!(r#"{parent},"tracestate":"a=\u0031""#);
        assert_eq!(trace(&both), Some((TRACE.to_owned(), Some("a=1".to_owned()))));
        assert_eq!(trace(&format!(r#"{parent},"tracestate":"""#)), Some((TRACE.to_owned(), None)));
        for none in [r#""traceparent":7"#, r#""traceparent":"00""#, r#""tracestate":"a=1""#, r#""x":1"#] {
            assert_eq!(trace(none), None, "{none}");
        }
        assert_eq!(EventView::of_json("[]").unwrap().trace_context(), None);
    }

    #[test]
    fn what_is_looked_at_is_there_once() {
        let of = |members: &str| EventView::of_json(&format!("{{{members}}}")).map(|_| ());
        for (members, name) in [
            (r#""data":1,"data":1"#, "data"),
            (r#""data":1,"x":1,"d\u0061ta":2"#, "data"),
            (r#""data_base64":"AA==","data_base64":"AA==""#, "data_base64"),
            (r#""authid":"a","authid":"b""#, "authid"),
            (r#""type":"a","type":1"#, "type"),
            (r#""subject":"a","subject":"a""#, "subject"),
        ] {
            assert_eq!(
                of(members),
                Err(format!("{name}: wanted it at most once, got it repeated")),
                "{members}"
            );
        }
        let both = of(r#""data":1,"data_base64":"AA==""#).unwrap_err();
        assert_eq!(both, "data: wanted it or data_base64, got both");
        for good in [r#""data":1,"data_base64":null"#, r#""subject":null,"subject":"a""#, r#""x":1,"x":2"#] {
            assert_eq!(of(good), Ok(()), "{good}");
        }
    }
}
