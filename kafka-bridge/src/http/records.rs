//! `POST /v1/records`: what the filter sends.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use tokio::time::Instant;
use wicketgate_envelope::event::Attributes;
use wicketgate_envelope::hop::{RECORDS_CONTENT_TYPE, Record, RecordResult, RecordsRequest, ValueMode};
use wicketgate_envelope::kafka::{self, Message};

use crate::http::event_view::EventView;
use crate::http::receive::{self, Enqueued, Incoming, Pass};
use crate::http::{Limits, Shared, body, request_id, results};
use crate::problem::{Kind, Problem};

/// Takes one call with one record or many. All are enqueued, in order and without a pause, before the first is
/// waited for; each has a result of its own.
pub(super) async fn produce(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Problem> {
    body::require_media_type(request.headers(), RECORDS_CONTENT_TYPE)?;
    let request_id = request_id(request.headers());
    let received = body::take(request, &shared.limits).await?;
    shared.metrics.body_read(received.bytes.len());
    let call = decode(&received.bytes, &shared.limits)?;
    let enqueued = Pass::through(&shared, |pass| {
        let records = call.records.iter();
        Ok::<_, Problem>(
            records.map(|record| enqueue(&shared, record, request_id.as_ref(), pass)).collect::<Vec<_>>(),
        )
    });
    let enqueued = enqueued.await?;
    let deadline = Instant::now() + shared.limits.answer_timeout;
    // librdkafka has its own copies.
    drop(call);
    drop(received);

    results::answer(receive::settle_all(enqueued, deadline).await, RECORDS_CONTENT_TYPE)
}

fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<RecordsRequest<'a>, Problem> {
    let request: RecordsRequest<'a> = serde_json::from_slice(bytes).map_err(|_| unreadable(bytes))?;
    match request.records.len() {
        0 => Err(Problem::new(Kind::BadRequest, "records: wanted at least one")),
        count if count > limits.records => Err(Problem::new(
            Kind::TooLarge,
            format!("records: wanted at most {} in one call, got {count}", limits.records),
        )),
        _ => Ok(request),
    }
}

/// Reads once more what cannot be read, to say where.
fn unreadable(bytes: &[u8]) -> Problem {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let detail = match serde_path_to_error::deserialize::<_, RecordsRequest<'_>>(&mut json) {
        Err(error) => format!("{}: {}", error.path(), error.inner()),
        Ok(_) => "trailing characters after the call".to_owned(),
    };
    Problem::new(Kind::BadRequest, detail)
}

fn enqueue(shared: &Shared, record: &Record<'_>, request_id: Option<&Arc<str>>, pass: &mut Pass) -> Enqueued {
    let event = record.event.get();
    let (attributes, message) = match read(record, event) {
        Ok(read) => read,
        Err(detail) => {
            if pass.is_last() {
                shared.count_record(record.cluster.as_deref(), "invalid");
            }
            return Enqueued::Settled(RecordResult::Invalid { detail });
        }
    };
    let headers: Vec<(&str, &[u8])> =
        record.headers.iter().map(|(name, value)| (&**name, &*value.0)).collect();
    let incoming = Incoming {
        topic: &record.topic,
        key: record.key.as_ref().map(|key| &*key.0),
        partition: record.partition,
        timestamp: record.timestamp,
        ack: record.ack,
        cluster: record.cluster.as_deref(),
        headers: &headers,
        event_id: &attributes.id,
        event: &EventView::of_json(event),
        message: &message,
    };
    receive::enqueue(shared, &incoming, request_id, pass)
}

/// Reads the event as far as its record needs it.
fn read<'a>(record: &Record<'_>, event: &'a str) -> Result<(Attributes<'a>, Message<'a>), String> {
    if record.tombstone && record.mode == ValueMode::Structured {
        return Err(
            "tombstone: wanted mode binary or raw with it, got structured, in which the value is the \
                    event and cannot be null"
                .to_owned(),
        );
    }
    if record.tombstone && record.key.is_none() {
        return Err("tombstone: wanted a key, whose older records it deletes, got none".to_owned());
    }
    let attributes = Attributes::from_json(event).map_err(|error| format!("event: {error}"))?;
    let message =
        kafka::message(record.mode, record.tombstone, event).map_err(|error| format!("event: {error}"))?;
    Ok((attributes, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_call_is_told_where() {
        for (body, wanted) in [
            (&b"{"[..], "EOF"),
            (b"{}", "missing field `records`"),
            (
                br#"{"records":[{"topic":"t","event":{}},{"topic":1,"event":{}}]}"#,
                "records[1].topic: invalid type",
            ),
            (br#"{"records":[{"topic":"t"}]}"#, "records[0]: missing field `event`"),
            (br#"{"records":[{"topic":"t","event":{},"kye":"k"}]}"#, "kye"),
            (br#"{"records":[{"topic":"t","event":{},"headers":[["a"]]}]}"#, "records[0].headers[0]"),
            (br#"{"records":[{"topic":"t","event":{},"ack":"most"}]}"#, "records[0].ack: unknown variant"),
            (br#"{"records":[]} x"#, "trailing characters"),
            (b"\xff", "expected value"),
        ] {
            let text = format!("{:?}", unreadable(body));
            assert!(text.contains(wanted), "{}: {text}", String::from_utf8_lossy(body));
        }
    }
}
