//! `POST /v1/topics/{topic}/events`: one CloudEvent in structured mode, from any client.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;
use wicketgate_envelope::event::Attributes;
use wicketgate_envelope::hop::{RecordResult, ValueMode};
use wicketgate_envelope::kafka;

use crate::http::receive::{self, Incoming};
use crate::http::{Shared, body, request_id};
use crate::problem::{Kind, Problem};

const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Takes one event; the answer is its receipt.
pub(super) async fn produce(
    State(shared): State<Arc<Shared>>,
    topic: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    body::require_media_type(request.headers(), CONTENT_TYPE)?;
    let Path(topic) = topic
        .map_err(|_| Problem::new(Kind::BadRequest, "path: the topic is not UTF-8 in percent-encoding"))?;
    if !shared.topics.allows(&topic) {
        return Err(Problem::new(Kind::Forbidden, "the bridge is not set up to write this topic"));
    }
    let request_id = request_id(request.headers());
    let received = body::take(request, &shared.limits).await?;
    shared.metrics.body_read(received.bytes.len());
    let (enqueued, id) = {
        let text = std::str::from_utf8(&received.bytes)
            .map_err(|error| Problem::new(Kind::BadRequest, format!("body: not UTF-8: {error}")))?;
        let attributes = Attributes::from_json(text)
            .map_err(|error| Problem::new(Kind::BadRequest, format!("body: {error}")))?;
        let message = kafka::message(ValueMode::Structured, false, text)
            .map_err(|error| Problem::new(Kind::BadRequest, format!("body: {error}")))?;
        let incoming = Incoming {
            topic: &topic,
            key: attributes.partitionkey.as_ref().map(|key| key.as_bytes()),
            partition: None,
            timestamp: None,
            headers: &[],
            event_id: &attributes.id,
            message: &message,
        };
        (receive::enqueue(&shared, &incoming, request_id.as_ref()), attributes.id.into_owned())
    };
    // librdkafka has its own copy.
    drop(received);
    let deadline = Instant::now() + shared.limits.answer_timeout;
    answer(receive::settle(enqueued, deadline).await, id)
}

fn answer(result: RecordResult, id: String) -> Result<Response, Problem> {
    let problem = match result {
        RecordResult::Acknowledged { receipt } => {
            return Ok((StatusCode::ACCEPTED, Json(receipt)).into_response());
        }
        RecordResult::Invalid { detail } => Problem::new(Kind::BadRequest, detail),
        RecordResult::TooLarge => {
            Problem::new(Kind::TooLarge, "the record is larger than the topic or the producer takes")
        }
        RecordResult::Refused => Problem::new(
            Kind::Refused,
            "the topic does not exist, or may not be written, or does not allow such a record",
        ),
        RecordResult::Unavailable { retry_after } => Problem::unavailable(
            "the bridge is saturated, or the cluster is out of reach; nothing was written",
            retry_after,
        ),
        RecordResult::Unknown => Problem::new(
            Kind::OutcomeUnknown,
            "the cluster has not confirmed the record in time; it may be written, or may yet be",
        ),
    };
    Err(problem.about_event(id))
}
