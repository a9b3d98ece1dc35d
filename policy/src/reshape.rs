//! From a request to the record that kafka-bridge is asked to produce.

use std::borrow::Cow;
use std::rc::Rc;

use wicketgate_envelope::ENVELOPE_VERSION;
use wicketgate_envelope::data::Data;
use wicketgate_envelope::event::{Event, Extension};
use wicketgate_envelope::hop::{self, Destination};
use wicketgate_envelope::timestamp::Timestamp;

use crate::auth::Principal;
use crate::config::Config;
use crate::head::RequestHead;
use crate::path;
use crate::query::Query;
use crate::reply::Problem;
use crate::route::Route;
use crate::template::{Facts, Template};

/// All that is known of a request before its body.
#[derive(Debug)]
pub struct Admitted {
    /// The route that it takes.
    pub route: Rc<Route>,
    /// Who sent it.
    pub principal: Principal,
    /// The `id` that its event will have.
    pub event_id: String,
    /// The `time` that its event will have.
    pub time: Timestamp,
    /// Its own name, for logs and answers.
    pub request_id: String,
    head: RequestHead,
    content_type: Option<String>,
    key: Option<String>,
    subject: Option<String>,
}

impl Admitted {
    /// Gathers what the event needs of the head.
    ///
    /// # Errors
    /// [`Problem::BadRequest`] or [`Problem::UnsupportedEncoding`], when a header that the event depends on can't be
    /// read.
    pub fn new(
        route: Rc<Route>,
        parameters: &[&str],
        principal: Principal,
        head: RequestHead,
        ids: Ids,
    ) -> Result<Self, Problem> {
        let content_type = content_type(&head)?.map(str::to_owned);
        refuse_content_encoding(&head)?;
        let query = query(&route, &head)?;
        let facts = Facts {
            path_parameters: parameters,
            head: &head,
            query: query.as_ref(),
            consumer: principal.auth_id(),
            json: None,
        };
        let key = fill("key", route.key.as_ref(), &facts)?;
        let subject = fill("subject", route.subject.as_ref(), &facts)?;
        let Ids { event_id, request_id, time } = ids;
        Ok(Self { route, principal, event_id, time, request_id, head, content_type, key, subject })
    }

    /// Writes the record, ready for the call to kafka-bridge.
    ///
    /// # Errors
    /// [`Problem::BadRequest`] when the body is not what its media type says.
    pub fn record(&self, config: &Config, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let data = Data::from_body(self.content_type.as_deref(), body)
            .map_err(|error| Problem::BadRequest(format!("content-type says JSON, but {error}")))?;
        let extensions = self.extensions();
        let event = Event {
            id: &self.event_id,
            source: &config.source,
            type_: &self.route.event_type,
            subject: self.subject.as_deref(),
            time: self.time.into(),
            data_content_type: self.content_type.as_deref().filter(|_| !matches!(data, Data::Absent)),
            data_schema: None,
            extensions: &extensions,
            data,
        };
        let headers = self
            .route
            .forward_headers
            .iter()
            .flat_map(|name| self.head.all(name).map(move |value| (name.as_str(), value)));
        let destination = Destination {
            key: self.key.as_deref().map(str::as_bytes),
            ..Destination::topic(&self.route.topic)
        };
        Ok(hop::write_record(&destination, headers, |out| event.write_json(out)))
    }

    fn extensions(&self) -> Vec<(&'static str, Extension<'_>)> {
        let mut extensions = Vec::with_capacity(12);
        if let Some(key) = &self.key {
            extensions.push(("partitionkey", key.as_str().into()));
        }
        if let Some((traceparent, tracestate)) = trace_context(&self.head) {
            extensions.push(("traceparent", traceparent.into()));
            extensions.extend(tracestate.map(|tracestate| ("tracestate", tracestate.into())));
        }
        extensions.push(("authtype", self.principal.auth_type().into()));
        extensions.extend(self.principal.auth_id().map(|id| ("authid", id.into())));
        extensions.push(("wgversion", Extension::Integer(ENVELOPE_VERSION.cast_signed())));
        extensions.push(("wgroute", self.route.name.as_str().into()));
        extensions.push(("wgmethod", text(self.head.method())));
        // Without the query, which is where secrets end up.
        extensions.push(("wgpath", text(path::without_query(self.head.target()))));
        extensions.extend(self.head.client_address().map(|address| ("wgclientip", address.into())));
        extensions.push(("wgrequestid", self.request_id.as_str().into()));
        extensions
    }
}

/// What names a request and its event.
#[derive(Debug)]
pub struct Ids {
    /// The `id` of the event.
    pub event_id: String,
    /// The name of the request.
    pub request_id: String,
    /// When the request came in.
    pub time: Timestamp,
}

/// The query, where a template needs it.
fn query(route: &Route, head: &RequestHead) -> Result<Option<Query>, Problem> {
    let needed = [&route.key, &route.subject].into_iter().flatten().any(Template::needs_query);
    let query = path::query(head.target()).filter(|_| needed).map(Query::parse).transpose();
    query.map_err(|error| Problem::BadRequest(format!("query: {error}")))
}

/// Neither a key nor a subject may be empty (CloudEvents 1.0.2, section 3.1.2), and neither is left out because of
/// what a caller sends.
fn fill(what: &str, template: Option<&Template>, facts: &Facts<'_>) -> Result<Option<String>, Problem> {
    let Some(template) = template else { return Ok(None) };
    match template.fill(facts) {
        Ok(text) if text.is_empty() => {
            Err(Problem::BadRequest(format!("the {what} that the request makes is empty")))
        }
        Ok(text) => Ok(Some(text.into_owned())),
        Err(unfillable) => Err(Problem::BadRequest(unfillable.to_string())),
    }
}

fn text(bytes: &[u8]) -> Extension<'_> {
    Extension::Text(String::from_utf8_lossy(bytes))
}

/// The media type of the body: visible ASCII and spaces, once or not at all (RFC 9110, section 8.3).
fn content_type(head: &RequestHead) -> Result<Option<&str>, Problem> {
    let value = head
        .single("content-type")
        .map_err(|repeated| Problem::BadRequest(format!("content-type: {repeated}")))?
        .filter(|value| !value.is_empty());
    let Some(value) = value else { return Ok(None) };
    match std::str::from_utf8(value) {
        Ok(text) if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => Ok(Some(text)),
        _ => Err(Problem::BadRequest("content-type: wanted visible ASCII, got other bytes".to_owned())),
    }
}

fn refuse_content_encoding(head: &RequestHead) -> Result<(), Problem> {
    let identity = |value: &[u8]| value.is_empty() || value.eq_ignore_ascii_case(b"identity");
    if head.all("content-encoding").all(identity) { Ok(()) } else { Err(Problem::UnsupportedEncoding) }
}

/// `traceparent` and `tracestate`, if they are as W3C Trace Context (sections 3.2 and 3.3) has them. What is not is
/// dropped, as section 4.3 says.
fn trace_context(head: &RequestHead) -> Option<(&str, Option<Cow<'_, str>>)> {
    let traceparent = std::str::from_utf8(head.single("traceparent").ok()??).ok()?;
    let mut fields = traceparent.split('-');
    let mut field = |len: usize| {
        fields.next().filter(|text| {
            text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let (version, trace, parent, _flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let not_zero = |text: &str| text.bytes().any(|byte| byte != b'0');
    if version != "00" || fields.next().is_some() || !not_zero(trace) || !not_zero(parent) {
        return None;
    }
    let members: Vec<&str> =
        head.all("tracestate").map(std::str::from_utf8).collect::<Result<_, _>>().unwrap_or_default();
    let tracestate = match members.as_slice() {
        [] => None,
        [one] => Some(Cow::Borrowed(*one)),
        many => Some(Cow::Owned(many.join(","))),
    };
    let legal = |text: &Cow<'_, str>| {
        !text.is_empty() && text.len() <= 512 && text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    };
    Some((traceparent, tracestate.filter(legal)))
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        for (name, value) in fields {
            head.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    #[test]
    fn trace_context_is_kept_whole_or_dropped() {
        assert_eq!(trace_context(&head(&[("traceparent", TRACE)])), Some((TRACE, None)));
        let with_state = head(&[("traceparent", TRACE), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert_eq!(trace_context(&with_state), Some((TRACE, Some(Cow::Borrowed("a=1,b=2")))));
        for wrong in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(trace_context(&head(&[("traceparent", wrong)])), None, "{wrong}");
        }
        assert_eq!(trace_context(&head(&[("traceparent", TRACE), ("traceparent", TRACE)])), None);
        let control = head(&[("traceparent", TRACE), ("tracestate", "a=\u{1}")]);
        assert_eq!(trace_context(&control), Some((TRACE, None)));
    }

    #[test]
    fn a_content_type_that_cannot_be_an_attribute_is_refused() {
        assert_eq!(
            content_type(&head(&[("content-type", "text/plain; charset=utf-8")])).unwrap(),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(content_type(&head(&[])).unwrap(), None);
        assert!(content_type(&head(&[("content-type", "grün")])).is_err());
        assert!(content_type(&head(&[("content-type", "a/b"), ("content-type", "a/b")])).is_err());
    }
}
