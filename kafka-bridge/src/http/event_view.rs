//! What is looked at in an event besides the attributes that decide where it goes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wicketgate_envelope::event::{Extension, ParsedEvent};
use wicketgate_envelope::trace_context::{TRACEPARENT, TRACESTATE, is_traceparent, is_tracestate};

/// Parts of an event that has been found good, or good enough to be written. Attributes of an unexpected type are as
/// good as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EventView<'a> {
    traceparent: Option<Cow<'a, str>>,
    tracestate: Option<Cow<'a, str>>,
}

impl<'a> EventView<'a> {
    /// Of an event in JSON. One that cannot be read has nothing.
    pub(super) fn of_json(json: &'a str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// Of an event that was read whole.
    pub(super) fn of_parsed(event: &ParsedEvent<'a>) -> Self {
        let mut view = Self::default();
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

    fn attribute(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match name {
            TRACEPARENT => &mut self.traceparent,
            TRACESTATE => &mut self.tracestate,
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for EventView<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = EventView<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvent")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventView<'de>, A::Error> {
                let mut view = EventView::default();
                while let Some((name, raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if let Some(slot) = view.attribute(&name.0) {
                        *slot = serde_json::from_str::<Text<'de>>(raw.get()).ok().map(|text| text.0);
                    }
                }
                Ok(view)
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
        assert_eq!(EventView::of_json("[]").trace_context(), None);
    }
}
