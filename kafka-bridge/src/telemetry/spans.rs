//! The spans themselves, by OpenTelemetry's semantic conventions for HTTP servers and for messaging with Kafka. They hold
//! no keys, values, headers or query strings.

use std::time::SystemTime;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Version};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    FutureExt as _, Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use wicketgate_envelope::trace_context::{TRACEPARENT, TRACESTATE, is_tracestate};

use super::Telemetry;
use crate::delivery::{Observer, Outcome, Then};

/// The longest event id that a span has, in bytes; longer ones are left out.
const LONGEST_ID: usize = 256;

/// How much of the path a span has, in bytes.
const LONGEST_PATH: usize = 256;

/// Says that the head of the request may be anybody's: what it says of traces does not get into records.
#[derive(Clone, Copy, Debug)]
struct UnprovenHead;

/// The span of a request that is being answered.
#[derive(Debug)]
pub struct RequestSpan(Context);

impl RequestSpan {
    /// Answers the request by `answer`; records that are enqueued meanwhile belong to the span.
    pub async fn around<T>(&self, answer: impl Future<Output = T>) -> T {
        answer.with_context(self.0.clone()).await
    }

    /// The request has been answered.
    pub fn answered(self, status: StatusCode) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// What a span has to know of a record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic; a valid name.
    pub topic: &'a str,
    /// The `id` attribute of the event.
    pub event_id: &'a str,
    /// The bytes of the value; `None` is a null value.
    pub value_bytes: Option<usize>,
    /// `traceparent` and `tracestate` of the event, if it has any that are valid.
    pub trace_context: Option<(&'a str, Option<&'a str>)>,
}

/// The span of a record on its way to Kafka. It ends when it is known what became of the record.
#[derive(Clone, Debug)]
pub struct RecordSpan(Context);

impl RecordSpan {
    /// What the record's header `traceparent` is to be, so that consumers go on from this span.
    pub fn traceparent(&self) -> String {
        let span = self.0.span();
        let context = span.span_context();
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
    }

    /// What the record's header `tracestate` is to be, if it is to have one.
    pub fn tracestate(&self) -> Option<String> {
        Some(self.0.span().span_context().trace_state().header()).filter(|state| !state.is_empty())
    }

    fn end(&self, outcome: Outcome) {
        let span = self.0.span();
        match outcome {
            Outcome::Acknowledged { metadata: Some(metadata), .. } => {
                span.set_attribute(KeyValue::new(
                    "messaging.destination.partition.id",
                    metadata.partition.to_string(),
                ));
                span.set_attribute(KeyValue::new("messaging.kafka.offset", metadata.offset));
            }
            Outcome::Acknowledged { metadata: None, .. } => {}
            failed => {
                span.set_attribute(KeyValue::new("error.type", failed.label()));
                span.set_status(Status::error(""));
            }
        }
        span.end();
    }
}

impl Observer for RecordSpan {
    /// The span ends as its caller was answered, whatever Kafka says later.
    fn overdue(&mut self) {
        self.end(Outcome::Unknown);
    }

    fn settled(self: Box<Self>, outcome: Outcome, then: Then) {
        if self.0.span().is_recording() {
            self.end(outcome);
        }
        then();
    }
}

impl Telemetry {
    /// Starts the span of a request that came at `came`; its parent is the one that the request names. `route` is the
    /// template of the path. `head_is_proven` says whether the sender's proof vouches for the head.
    pub fn request(
        &self,
        route: &'static str,
        request: &Request,
        came: SystemTime,
        head_is_proven: bool,
    ) -> RequestSpan {
        let headers = HeaderExtractor(request.headers());
        let named = headers.get(TRACEPARENT).and_then(|parent| remote(parent, headers.get(TRACESTATE)));
        let mut parent = Context::new();
        if let Some(named) = named {
            parent = parent.with_remote_span_context(named);
            if !head_is_proven {
                parent = parent.with_value(UnprovenHead);
            }
        }
        let method = known(request.method());
        let attributes = [
            KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
            KeyValue::new("http.route", route),
            KeyValue::new("url.path", shortened(request.uri().path()).to_owned()),
            KeyValue::new("network.protocol.version", version(request.version())),
        ];
        let name = format!("{} {route}", method.unwrap_or("HTTP"));
        let span = self
            .tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_start_time(came)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, &parent);
        RequestSpan(parent.with_span(span))
    }

    /// Starts the span of a record. If its event belongs to another trace than the request, which is so when a gateway
    /// has put the events of several callers into one call, then the span is in the event's trace, and has a link to the
    /// request's. So it is, in a trace of its own, if nobody vouches for what the request says of traces and the event
    /// says nothing.
    pub fn record(&self, record: &Record<'_>) -> RecordSpan {
        let current = Context::current();
        let request = current.span().span_context().clone();
        let of_event = record.trace_context.and_then(|(parent, state)| remote(parent, state));
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", "send"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", record.topic.to_owned()),
        ];
        match record.value_bytes {
            Some(bytes) => {
                attributes.push(KeyValue::new(
                    "messaging.message.body.size",
                    i64::try_from(bytes).unwrap_or(i64::MAX),
                ));
            }
            None => attributes.push(KeyValue::new("messaging.kafka.message.tombstone", true)),
        }
        if record.event_id.len() <= LONGEST_ID {
            attributes.push(KeyValue::new("cloudevents.event_id", record.event_id.to_owned()));
        }
        let mut builder = self
            .tracer
            .span_builder(format!("send {}", record.topic))
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes);
        let unproven = current.get::<UnprovenHead>().is_some();
        let own = match of_event {
            Some(event) if event.trace_id() != request.trace_id() => {
                Some(Context::new().with_remote_span_context(event))
            }
            // The trace is the event's as well, and all that is handed on of it.
            Some(event) if unproven => {
                let (trace, span, flags) = (event.trace_id(), request.span_id(), event.trace_flags());
                let parent = SpanContext::new(trace, span, flags, false, event.trace_state().clone());
                return self.started(builder, &Context::new().with_remote_span_context(parent));
            }
            None if unproven => Some(Context::new()),
            Some(_) | None => None,
        };
        if own.is_some() && request.is_valid() {
            builder = builder.with_links(vec![Link::new(request, Vec::new(), 0)]);
        }
        self.started(builder, &own.unwrap_or(current))
    }

    fn started(&self, builder: SpanBuilder, parent: &Context) -> RecordSpan {
        let span = builder.start_with_context(&self.tracer, parent);
        RecordSpan(Context::new().with_span(span))
    }
}

/// The start of a path, which is ASCII.
fn shortened(path: &str) -> &str {
    path.get(..LONGEST_PATH).unwrap_or(path)
}

/// The span that an event or a request names, with what can be handed on of the state.
fn remote(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    struct Attributes<'a>(&'a str, Option<&'a str>);
    impl Extractor for Attributes<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            match key {
                TRACEPARENT => Some(self.0),
                TRACESTATE => self.1,
                _ => None,
            }
        }

        fn keys(&self) -> Vec<&str> {
            vec![TRACEPARENT, TRACESTATE]
        }
    }
    let tracestate = tracestate.filter(|state| is_tracestate(state));
    let context = TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &Attributes(traceparent, tracestate));
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}

/// The methods that a span may have as they are, so that no request can make new ones.
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| method == known)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
