//! What is legal in a document and unwise all the same. Nothing here keeps a document from being used.

mod authentication;
mod claims;
mod host;
mod limits;
mod overlap;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Config;
use super::compile::ANONYMOUS;
use super::document::{Accept, Ack, Action, Document, OnError, ReceiptField, Route, Unmatched};

/// Something that is legal and unwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where: a path such as `routes[1].authentication`.
    pub path: String,
    /// Why, and what to do instead.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// kafka-bridge answers within its delivery timeout, which is 5 s unless it is set, and half a second.
const BRIDGE_ANSWERS_WITHIN: Duration = Duration::from_millis(5_500);
/// kafka-bridge takes records of 8 MiB unless it is set, and base64 makes four bytes of three.
const BODY_BYTES_THAT_FIT: u32 = 6 * 1024 * 1024;

/// Looks for what is unwise in a document without mistakes.
pub(super) fn warnings(document: &Document, config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |path: String, text: &str| warnings.push(Warning { path, text: text.to_owned() });
    if document.unmatched == Unmatched::Pass {
        warn(
            "unmatched".to_owned(),
            "requests that no route takes go on to their upstream unauthenticated; reject lets only known ones in",
        );
    }
    if humantime::parse_duration(&document.bridge.timeout)
        .is_ok_and(|timeout| timeout < BRIDGE_ANSWERS_WITHIN)
    {
        warn(
            "bridge.timeout".to_owned(),
            "shorter than kafka-bridge may take to answer (5.5s unless its --delivery-timeout is set); outcomes will be \
             unknown that could have been known",
        );
    }
    if document.limits.body_bytes > BODY_BYTES_THAT_FIT {
        warn(
            "limits.body_bytes".to_owned(),
            "a binary body of this size makes a record larger than the 8 MiB that kafka-bridge takes unless \
             --max-record-bytes is set; the topic's max.message.bytes counts as well",
        );
    }
    for name in document.authentication.keys() {
        if !document.routes.iter().any(|route| route.authentication.names().any(|used| used == name)) {
            warn(format!("authentication.{name}"), "no route uses it");
        }
    }
    host::of_document(document, &mut warn);
    for (index, consumer) in document.consumers.iter().enumerate() {
        if !authentication::can_be_called_by(consumer, document) {
            warn(format!("consumers[{index}]"), "has no credential, so nobody can be this consumer");
        }
    }
    authentication::of_document(document, &mut warn);
    let compiled: BTreeMap<&str, &crate::route::Route> =
        config.routes.iter().map(|route| (route.name.as_str(), &**route)).collect();
    let places = overlap::places(document);
    for (index, route) in document.routes.iter().enumerate() {
        let path = format!("routes[{index}]");
        of_route(route, &path, &mut warn);
        host::of_route(route, &path, &mut warn);
        if redacts_events(route) && document.redaction_key.is_none() && document.bridge.secret.is_none() {
            warn(
                format!("{path}.redact"),
                "two events with the same id that differ only in what is redacted are taken for one, because there is no \
                 key to tell them apart by; set redaction_key or bridge.secret",
            );
        }
        let Some(compiled) = compiled.get(route.name.as_str()) else { continue };
        overlap::of_route(compiled, &config.routes, &places, &path, &mut warn);
        if let Some(plan) = compiled.plan() {
            claims::of_route(document, &route.authentication, plan, &path, &mut warn);
        }
    }
    limits::of_document(document, &mut warn);
    let needs_key = |route| hashes(route) || redacts_events(route);
    if document.redaction_key.is_some() && !document.routes.iter().any(needs_key) {
        warn("redaction_key".to_owned(), "no route needs it");
    }
    warnings
}

fn of_route(route: &Route, path: &str, warn: &mut impl FnMut(String, &str)) {
    let anonymous = route.authentication.names().any(|name| name == ANONYMOUS);
    if anonymous && route.action == Action::Produce {
        warn(format!("{path}.authentication"), "anybody may write to Kafka here");
    }
    if !anonymous && route.authorization.is_none() {
        warn(
            format!("{path}.authorization"),
            "every valid credential opens this route; say who may, or \"authenticated\": true if everybody may",
        );
    }
    if anonymous && route.kafka.as_ref().is_some_and(|kafka| kafka.topic.contains('{')) {
        warn(format!("{path}.kafka.topic"), "anybody may choose among topics here");
    }
    let ack = route.kafka.as_ref().map(|kafka| kafka.ack).unwrap_or_default();
    if ack == Ack::None {
        warn(
            format!("{path}.kafka.ack"),
            "events may be lost when kafka-bridge ends or Kafka does not take them, and nobody is told",
        );
    }
    let place = [ReceiptField::Partition, ReceiptField::Offset, ReceiptField::Timestamp];
    let names_place = route.reply.body.iter().flat_map(BTreeMap::values).any(|field| place.contains(field));
    if matches!(ack, Ack::None | Ack::Spooled) && names_place {
        warn(
            format!("{path}.reply.body"),
            "partition, offset and timestamp are not known when this route answers, and are left out",
        );
    }
    if route.action == Action::Tee && route.accept.formats == Accept::default().formats {
        warn(
            format!("{path}.accept.formats"),
            "who sends a CloudEvent writes the type, the source and the time of its own copy; formats of raw alone keep them \
             the gateway's",
        );
    }
    if route.on_error == Some(OnError::Continue) {
        warn(
            format!("{path}.on_error"),
            "requests go on when their copy is lost, and nobody is told; deny keeps copy and request together",
        );
    }
    if route.cors.as_ref().is_some_and(|cors| cors.origins.iter().any(|origin| origin == "*")) && !anonymous {
        warn(
            format!("{path}.cors.origins"),
            "pages of every origin may call a route that asks for a credential; name the origins that have one",
        );
    }
}

/// Whether something is redacted of events that are told apart.
fn redacts_events(route: &Route) -> bool {
    route.action == Action::Produce && !route.redact.is_default()
}

fn hashes(route: &Route) -> bool {
    let redact = &route.redact;
    let treatments = redact.headers.values().chain(redact.query.values()).chain(redact.body.values());
    treatments.into_iter().any(|treatment| *treatment == super::document::Treatment::Hash)
}
