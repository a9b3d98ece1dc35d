//! `POST /v1/records`: what the filter sends.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use tokio::time::Instant;
use wicketgate_envelope::event::Attributes;
use wicketgate_envelope::hop::{self, RECORDS_CONTENT_TYPE, Record, RecordResult, RecordsRequest, ValueMode};
use wicketgate_envelope::json_fault;
use wicketgate_envelope::kafka::{self, Message};

use crate::http::at_most::AtMost;
use crate::http::event_view::EventView;
use crate::http::receive::{self, Enqueued, Incoming, Pass};
use crate::http::{Limits, Shared, body, request_id, results};
use crate::idempotency::{Batch, Identity};
use crate::limits::{self, Said};
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
    // Before anything else of it is done: what is refused here is neither remembered nor written.
    let said = shared.shared_limits.ask(&call.limits).await;
    let refused = refused(&call, &said);
    let spoilt = spoilt(&shared, &call.records, &refused).await;
    let enqueued = Pass::through(&shared, |pass| {
        let enqueue = |(record, refused): (&Record<'_>, &bool)| match record.identity.batch {
            _ if *refused => limited(&shared, record, pass),
            Some(batch) if spoilt.contains(&batch) => Enqueued::Settled(RecordResult::Conflict),
            _ => enqueue(&shared, record, request_id.as_ref(), pass),
        };
        Ok::<_, Problem>(call.records.iter().zip(&refused).map(enqueue).collect::<Vec<_>>())
    });
    let enqueued = enqueued.await?;
    let deadline = Instant::now() + shared.limits.answer_timeout;
    // librdkafka has its own copies.
    drop(call);
    drop(received);

    let states = said.into_iter().map(|said| said.states).collect();
    results::answer(receive::settle_all(enqueued, deadline).await, states, RECORDS_CONTENT_TYPE)
}

/// Which records belong to a request that a limit refuses.
fn refused(call: &RecordsRequest<'_>, said: &[Said]) -> Vec<bool> {
    let mut refused = vec![false; call.records.len()];
    for (request, _) in call.limits.iter().zip(said).filter(|(_, said)| !said.through) {
        refused.iter_mut().skip(request.first).take(request.count).for_each(|refused| *refused = true);
    }
    refused
}

fn limited(shared: &Shared, record: &Record<'_>, pass: &Pass) -> Enqueued {
    if pass.is_last() {
        shared.count_record(record.cluster.as_deref(), "limited");
    }
    Enqueued::Settled(RecordResult::Limited)
}

/// The keys of batches in a call that have come before with another batch. Nothing of these is written, not even what is
/// new in them. Those that a limit refuses have not come.
async fn spoilt<'a>(shared: &Shared, records: &'a [Record<'a>], refused: &[bool]) -> Vec<&'a str> {
    let Some(memory) = &shared.idempotency else { return Vec::new() };
    let mut batches: Vec<(&str, Identity)> = Vec::new();
    for (record, _) in records.iter().zip(refused).filter(|(_, refused)| !**refused) {
        let hop::Identity { batch: Some(key), request: payload, .. } = record.identity else { continue };
        // The records of a batch stand one after the other.
        if batches.last().is_some_and(|(last, _)| *last == key) {
            continue;
        }
        let view = EventView::of_json(record.event.get()).unwrap_or_default();
        let consumer = (view.consumer(), view.auth_type());
        batches.push((key, Identity::of_batch(&Batch { consumer, key, payload })));
    }
    if batches.is_empty() {
        return Vec::new();
    }
    let identities: Vec<Identity> = batches.iter().map(|(_, identity)| *identity).collect();
    let conflicts = memory.claim_batches(&identities).await;
    batches.iter().zip(conflicts).filter_map(|((key, _), conflict)| conflict.then_some(*key)).collect()
}

fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<RecordsRequest<'a>, Problem> {
    let request = read_call(bytes, limits.records)?;
    if request.records.is_empty() {
        return Err(Problem::new(Kind::BadRequest, "records: wanted at least one"));
    }
    match limits::mistake(&request.limits, request.records.len()) {
        Some(mistake) => Err(Problem::new(Kind::BadRequest, mistake)),
        None => Ok(request),
    }
}

/// Reads a call with at most so many records.
fn read_call(bytes: &[u8], most: usize) -> Result<RecordsRequest<'_>, Problem> {
    let mut too_many = false;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = Call { most, too_many: &mut too_many }.deserialize(&mut json);
    match read.and_then(|request| json.end().map(|()| request)) {
        Ok(request) => Ok(request),
        Err(_) if too_many => {
            let detail = format!("records: wanted at most {most} in one call, got more");
            Err(Problem::new(Kind::TooLarge, detail))
        }
        Err(_) => Err(unreadable(bytes, most)),
    }
}

/// Reads once more what cannot be read, to say where.
fn unreadable(bytes: &[u8], most: usize) -> Problem {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let detail = match (Call { most, too_many: &mut false }).deserialize(tracked) {
        Err(_) if let Some(fault) = json_fault::by_its_start(bytes) => format!("body: {fault}"),
        Err(error) => format!("{}: {}", track.path(), json_fault::in_words(&error)),
        Ok(_) => "trailing characters after the call".to_owned(),
    };
    Problem::new(Kind::BadRequest, detail)
}

/// Reads a [`RecordsRequest`] with at most so many records.
struct Call<'m> {
    most: usize,
    too_many: &'m mut bool,
}

impl<'de> DeserializeSeed<'de> for Call<'_> {
    type Value = RecordsRequest<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Call<'_> {
    type Value = RecordsRequest<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `records`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        const RECORDS: &str = "records";
        const LIMITS: &str = "limits";
        let (mut records, mut limits) = (None, None);
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            if name == LIMITS {
                if limits.is_some() {
                    return Err(A::Error::duplicate_field(LIMITS));
                }
                // No more requests than records, which are as many as are taken.
                limits = Some(map.next_value_seed(AtMost::new(self.most, &mut *self.too_many))?);
                continue;
            }
            if name != RECORDS {
                return Err(A::Error::unknown_field(&name, &[RECORDS, LIMITS]));
            }
            if records.is_some() {
                return Err(A::Error::duplicate_field(RECORDS));
            }
            records = Some(map.next_value_seed(AtMost::new(self.most, &mut *self.too_many))?);
        }
        Ok(RecordsRequest {
            records: records.ok_or_else(|| A::Error::missing_field(RECORDS))?,
            limits: limits.unwrap_or_default(),
        })
    }
}

fn enqueue(shared: &Shared, record: &Record<'_>, request_id: Option<&Arc<str>>, pass: &mut Pass) -> Enqueued {
    let event = record.event.get();
    let (attributes, view, message) = match read(record, event) {
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
        identity: record.identity,
        event_id: &attributes.id,
        event: &view,
        message: &message,
    };
    receive::enqueue(shared, &incoming, request_id, pass)
}

/// Reads the event as far as its record needs it.
fn read<'a>(
    record: &Record<'_>,
    event: &'a str,
) -> Result<(Attributes<'a>, EventView<'a>, Message<'a>), String> {
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
    let view = EventView::of_json(event).map_err(|error| format!("event: {error}"))?;
    let message =
        kafka::message(record.mode, record.tombstone, event).map_err(|error| format!("event: {error}"))?;
    Ok((attributes, view, message))
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
            (b"\xef\xbb\xbf{}", "body: it begins with a byte order mark (U+FEFF)"),
            (
                br#"{"records":[1]}"#,
                "records[0]: invalid type: integer `1`, expected a record, which is an object",
            ),
            (br#"{"records":{}}"#, "records: invalid type: map, expected an array"),
            (
                br#"{"records":[{"topic":"t","event":{},"partition":"1"}]}"#,
                "expected an integer from -2147483648 to 2147483647",
            ),
        ] {
            let text = format!("{:?}", unreadable(body, 10));
            assert!(text.contains(wanted), "{}: {text}", String::from_utf8_lossy(body));
        }
    }
    #[test]
    fn a_call_is_not_read_beyond_the_limit() {
        let record = r#"{"topic":"t","event":{}}"#;
        let call = |records: &str| format!(r#"{{"records":[{records}"#);
        assert_eq!(read_call(call(&format!("{record},{record}]}}")).as_bytes(), 2).unwrap().records.len(), 2);
        // What comes after is no record, and not even JSON.
        let problem = format!(
            "{:?}",
            read_call(call(&format!("{record},{record},{record},x")).as_bytes(), 2).unwrap_err()
        );
        assert!(problem.contains("TooLarge") && problem.contains("at most 2 in one call"), "{problem}");
        for bad in ["1]}", r#"],"records":[]}"#, r#"],"more":1}"#, "]} x"] {
            let problem = format!("{:?}", read_call(call(bad).as_bytes(), 2).unwrap_err());
            assert!(problem.contains("BadRequest"), "{bad}: {problem}");
        }
    }
}
