//! `POST /v1/topics/{topic}/events`, and the same below `/v1/clusters/{cluster}`: CloudEvents from any client, in each
//! of the HTTP binding's modes.

mod binary;
mod format;
mod options;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeSeed as _;
use serde_json::value::RawValue;
use tokio::time::Instant;
use wicketgate_envelope::event::{Extension as Attribute, ParsedEvent, parse};
use wicketgate_envelope::hop::{self, RecordResult, ValueMode};
use wicketgate_envelope::http_event::Mode;
use wicketgate_envelope::json_fault;
use wicketgate_envelope::kafka::{self, BinaryParts, CONTENT_TYPE, Message};

use crate::clusters::Cluster;
use crate::http::admission::Proof;
use crate::http::at_most::AtMost;
use crate::http::event_view::EventView;
use crate::http::receive::{self, Enqueued, Incoming, Pass};
use crate::http::{Shared, body, request_id, results};
use crate::problem::{Kind, Problem};
use options::Options;

/// Says that the receipt is that of an earlier request with the same event.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The media type of the answer to a batch.
const BATCH_ANSWER: &str = "application/json";

/// Takes events for the default cluster.
pub(super) async fn produce(
    State(shared): State<Arc<Shared>>,
    Extension(proof): Extension<Proof>,
    topic: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let target = topic.map(|Path(topic)| (None, topic));
    take(&shared, proof, target, &uri, &headers, request).await
}

/// Takes events for the cluster that the path names.
pub(super) async fn produce_to_cluster(
    State(shared): State<Arc<Shared>>,
    Extension(proof): Extension<Proof>,
    target: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let target = target.map(|Path((cluster, topic))| (Some(cluster), topic));
    take(&shared, proof, target, &uri, &headers, request).await
}

/// Takes one event, whose answer is its receipt, or a batch, whose answer has a result for each. `target` is the
/// cluster and the topic.
async fn take(
    shared: &Shared,
    proof: Proof,
    target: Result<(Option<String>, String), PathRejection>,
    uri: &Uri,
    headers: &HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let format = format::of(headers)?;
    if format == Mode::Binary && proof == Proof::Signature {
        let detail = "a signature does not cover headers, where binary mode has the event's attributes; use \
                      structured mode, or a token";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let (cluster, topic) = target.map_err(|_| {
        Problem::new(Kind::BadRequest, "path: wanted names that are UTF-8 in percent-encoding")
    })?;
    let cluster = shared
        .clusters
        .get(cluster.as_deref())
        .ok_or_else(|| Problem::new(Kind::NotFound, "the bridge has no cluster of this name"))?;
    if !shared.topics.allows(&cluster.name, &topic) {
        return Err(Problem::new(Kind::Forbidden, "the bridge is not set up to write this topic"));
    }
    let options = Options::from_query(uri)
        .map_err(|detail| Problem::new(Kind::BadRequest, format!("query: {detail}")))?;
    let received = body::take(request, &shared.limits).await?;
    shared.metrics.body_read(received.bytes.len());
    let destination =
        Destination { shared, cluster, topic: &topic, options, request_id: request_id(headers) };
    let taken = Pass::through(shared, |pass| match format {
        Mode::Binary => destination.binary(headers, &received.bytes, pass).map(Taken::One),
        Mode::Structured => destination.structured(&received.bytes, pass).map(Taken::One),
        Mode::Batched => destination.batch(&received.bytes, pass).map(Taken::Many),
    });
    let taken = taken.await?;
    // librdkafka has its own copies.
    drop(received);
    let deadline = Instant::now() + shared.limits.answer_timeout;
    match taken {
        Taken::One((enqueued, id)) => answer(receive::settle(enqueued, deadline).await, id),
        Taken::Many(enqueued) => {
            results::answer(receive::settle_all(enqueued, deadline).await, Vec::new(), BATCH_ANSWER)
        }
    }
}

/// What a request brought, enqueued.
enum Taken {
    /// One event, and its id.
    One((Enqueued, String)),
    /// A batch.
    Many(Vec<Enqueued>),
}

/// Where the events of a request go.
struct Destination<'a> {
    shared: &'a Shared,
    cluster: &'a Cluster,
    topic: &'a str,
    options: Options,
    request_id: Option<Arc<str>>,
}

impl Destination<'_> {
    /// An event in header fields and body, which become headers and value of the record.
    fn binary(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        pass: &mut Pass,
    ) -> Result<(Enqueued, String), Problem> {
        let event = binary::read(headers, body, self.options.checks_data)
            .map_err(|error| Problem::new(Kind::BadRequest, error))?;
        let id = event.context.id.clone().into_owned();
        let key = partition_key(&event);
        let view = EventView::of_binary(&event, body);
        let BinaryParts { mut headers, content_type, value } = event.into();
        headers.extend(content_type.map(|content_type| (CONTENT_TYPE.into(), content_type)));
        let enqueued = self.enqueue(&id, &view, key.as_deref(), &Message { headers, value }, pass);
        Ok((enqueued, id))
    }

    /// An event in JSON, which becomes the value of the record as it stands.
    fn structured(&self, body: &[u8], pass: &mut Pass) -> Result<(Enqueued, String), Problem> {
        let text = std::str::from_utf8(body)
            .map_err(|error| Problem::new(Kind::BadRequest, format!("body: not UTF-8: {error}")))?;
        self.event(text, pass).map_err(|error| Problem::new(Kind::BadRequest, format!("body: {error}")))
    }

    /// An array of events in JSON, all enqueued before the first is waited for.
    fn batch(&self, body: &[u8], pass: &mut Pass) -> Result<Vec<Enqueued>, Problem> {
        let events = elements(body, self.shared.limits.records)?;
        let enqueue = |event: &RawValue| match self.event(event.get(), pass) {
            Ok((enqueued, _)) => enqueued,
            Err(error) => {
                if pass.is_last() {
                    self.cluster.metrics.record("invalid");
                }
                Enqueued::Settled(RecordResult::Invalid { detail: format!("event: {error}") })
            }
        };
        Ok(events.into_iter().map(enqueue).collect())
    }

    fn event(&self, json: &str, pass: &mut Pass) -> Result<(Enqueued, String), String> {
        let event = parse(json).map_err(|error| error.to_string())?;
        let message =
            kafka::message(ValueMode::Structured, false, json).map_err(|error| error.to_string())?;
        let view = EventView::of_json(json)?;
        let (id, key) = (event.context.id.clone().into_owned(), partition_key(&event));
        let enqueued = self.enqueue(&id, &view, key.as_deref(), &message, pass);
        Ok((enqueued, id))
    }

    fn enqueue(
        &self,
        id: &str,
        event: &EventView<'_>,
        key: Option<&str>,
        message: &Message<'_>,
        pass: &mut Pass,
    ) -> Enqueued {
        let incoming = Incoming {
            topic: self.topic,
            key: key.map(str::as_bytes),
            partition: None,
            timestamp: None,
            ack: self.options.ack,
            cluster: Some(&self.cluster.name),
            headers: &[],
            identity: hop::Identity::default(),
            event_id: id,
            event,
            message,
        };
        receive::enqueue(self.shared, &incoming, self.request_id.as_ref(), pass)
    }
}

fn partition_key<'a>(event: &ParsedEvent<'a>) -> Option<Cow<'a, str>> {
    event.context.extensions.iter().find_map(|(name, value)| match value {
        Attribute::Text(key) if name == "partitionkey" => Some(key.clone()),
        _ => None,
    })
}

/// The elements of a JSON array, at most so many.
fn elements(body: &[u8], most: usize) -> Result<Vec<&RawValue>, Problem> {
    let mut too_many = false;
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = AtMost::<&RawValue>::new(most, &mut too_many).deserialize(&mut json);
    match read.and_then(|events| json.end().map(|()| events)) {
        Ok(events) => Ok(events),
        Err(_) if too_many => {
            let detail = format!("body: wanted at most {most} events in a batch, got more");
            Err(Problem::new(Kind::TooLarge, detail))
        }
        Err(error) => {
            let detail =
                format!("body: wanted a JSON array of events: {}", json_fault::of_body(body, &error));
            Err(Problem::new(Kind::BadRequest, detail))
        }
    }
}

fn answer(result: RecordResult, id: String) -> Result<Response, Problem> {
    let problem = match result {
        RecordResult::Acknowledged { receipt, replayed } => {
            let mut answer = (StatusCode::ACCEPTED, Json(receipt)).into_response();
            if replayed {
                answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            }
            return Ok(answer);
        }
        RecordResult::Invalid { detail } => Problem::new(Kind::BadRequest, detail),
        RecordResult::TooLarge => {
            Problem::new(Kind::TooLarge, "the record is larger than the topic or the producer takes")
        }
        // Only calls of the filter ask for limits.
        RecordResult::Limited => Problem::new(Kind::QuotaExceeded, "a limit does not let it through"),
        RecordResult::Conflict => Problem::new(
            Kind::IdempotencyConflict,
            "another event with the same source and id came before; this one was not written",
        ),
        RecordResult::Refused => Problem::new(
            Kind::Refused,
            "the topic does not exist, may not be written, or does not allow such a record; or ack=spooled was asked of \
             a bridge without a spool",
        ),
        RecordResult::Unavailable { retry_after } => Problem::unavailable(
            "the bridge has no room for the record or for its topic, or the cluster is out of reach; nothing was written",
            retry_after,
        ),
        RecordResult::Unknown => Problem::new(
            Kind::OutcomeUnknown,
            "the cluster has not confirmed the record in time; it may be written, or may yet be",
        ),
    };
    Err(problem.about_event(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_not_read_beyond_the_limit() {
        assert_eq!(elements(b"[1,{}]", 2).unwrap().len(), 2);
        // What comes after is not even JSON.
        let problem = format!("{:?}", elements(b"[1,2,3,\xff", 2).unwrap_err());
        assert!(problem.contains("TooLarge") && problem.contains("at most 2 events"), "{problem}");
        for bad in [&b"[1,\xff"[..], b"{}", b"[1] x", b""] {
            let problem = format!("{:?}", elements(bad, 2).unwrap_err());
            assert!(problem.contains("BadRequest"), "{problem}");
        }
    }
}
