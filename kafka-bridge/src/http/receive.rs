//! From a record to its result: checking, enqueueing, waiting. Shared by all ways in which records come.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Instant as Moment;

use tokio::time::Instant;
use wicketgate_envelope::hop::{
    self, Ack, MAX_HEADER_BYTES, MAX_HEADERS, Receipt, RecordResult, is_cluster_name,
};
use wicketgate_envelope::kafka::Message;
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_envelope::trace_context::{TRACEPARENT, TRACESTATE};

use crate::clusters::Cluster;
use crate::delivery::{Delivery, Observers, Outcome};
use crate::http::Shared;
use crate::http::event_view::EventView;
use crate::http::shortened::shortened;
use crate::idempotency::{Admission, Claim, Identity, Name, Verdict};
use crate::producer::Outgoing;
use crate::sparse::Sparse;
use crate::telemetry::{self, RecordSpan};
use crate::topics;

/// When to try again after "unavailable", in seconds, unless more is known. Short, since a queue drains and a broker
/// is probed within about that time.
const RETRY_AFTER: u32 = 1;

/// Of the lines about records that are not permitted, by cluster, topic and reason.
static NOT_PERMITTED: LazyLock<Sparse> = LazyLock::new(Sparse::default);

/// What is known of a record once it has been enqueued, or not.
#[derive(Debug)]
pub(super) enum Enqueued {
    /// Kafka's answer is still to come.
    Waiting {
        /// The answer.
        delivery: Delivery,
        /// What was asked for.
        ack: Ack,
        /// For the receipt.
        id: String,
        /// For the receipt.
        topic: String,
        /// Whether the answer is to an event that came before.
        replayed: bool,
    },
    /// It was not enqueued.
    Settled(RecordResult),
}

/// The way through the records of a request. Where bridges share what they remember, there are two: the first gathers what
/// to ask, so that all is asked in one go, and the second enqueues, without a pause between two records.
#[derive(Debug)]
pub(super) enum Pass {
    /// Nothing is enqueued; this is what there is to ask about.
    Asking(Vec<Identity>),
    /// These are the answers, in the order of the questions.
    Enqueueing(std::vec::IntoIter<Verdict>),
}

impl Pass {
    /// Goes through the records of a request, by `read`, as often as it takes.
    pub(super) async fn through<T, E>(
        shared: &Shared,
        mut read: impl FnMut(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut verdicts = Vec::new();
        if let Some(memory) = shared.idempotency.as_ref().filter(|memory| memory.is_shared()) {
            let mut pass = Self::Asking(Vec::new());
            read(&mut pass)?;
            if let Self::Asking(identities) = pass {
                verdicts = memory.ask(&identities).await;
            }
        }
        read(&mut Self::Enqueueing(verdicts.into_iter()))
    }

    /// Whether what is found is told and counted.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Enqueueing(_))
    }
}

/// A record that has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    /// The destination, not yet checked.
    pub(super) topic: &'a str,
    /// The key, or none.
    pub(super) key: Option<&'a [u8]>,
    /// The partition, not yet checked, or none.
    pub(super) partition: Option<i32>,
    /// The timestamp in milliseconds since 1970-01-01T00:00:00Z, not yet checked, or none.
    pub(super) timestamp: Option<i64>,
    /// How far it has to get before it is acknowledged.
    pub(super) ack: Ack,
    /// The name of the cluster that it is for, not yet checked; none is the default one.
    pub(super) cluster: Option<&'a str>,
    /// Headers besides those of `message`, not yet checked.
    pub(super) headers: &'a [(&'a str, &'a [u8])],
    /// What tells it from others, besides what its event says.
    pub(super) identity: hop::Identity<'a>,
    /// The `id` attribute of the event.
    pub(super) event_id: &'a str,
    /// What else there is to know of it.
    pub(super) event: &'a EventView<'a>,
    /// The event as headers and value.
    pub(super) message: &'a Message<'a>,
}

/// Checks a record and, in the last pass, enqueues it, without waiting. Records go out in the order of these calls.
pub(super) fn enqueue(
    shared: &Shared,
    record: &Incoming<'_>,
    request_id: Option<&Arc<str>>,
    pass: &mut Pass,
) -> Enqueued {
    let verdicts = match pass {
        Pass::Enqueueing(verdicts) => verdicts,
        Pass::Asking(identities) => {
            let cluster = check(record).ok().and_then(|()| permit(shared, record).ok());
            identities.extend(cluster.map(|cluster| identity(&cluster.name, record)));
            return Enqueued::Settled(RecordResult::Unknown);
        }
    };
    if let Err(detail) = check(record) {
        shared.count_record(record.cluster, "invalid");
        return Enqueued::Settled(RecordResult::Invalid { detail });
    }
    let cluster = match permit(shared, record) {
        Ok(cluster) => cluster,
        Err(why) => {
            let (topic, cluster, request_id) = (record.topic, record.cluster, request_id.map(|id| &**id));
            if let Some(left_out) = NOT_PERMITTED.take((cluster, topic, why), Moment::now()) {
                tracing::warn!(topic, cluster, request_id, left_out, "{why}");
            }
            shared.count_record(record.cluster, "refused");
            return Enqueued::Settled(RecordResult::Refused);
        }
    };
    let waiting = |delivery, replayed| {
        let (id, topic) = (record.event_id.to_owned(), record.topic.to_owned());
        Enqueued::Waiting { delivery, ack: record.ack, id, topic, replayed }
    };
    let settled = |outcome, replayed| {
        let (id, topic) = (record.event_id.to_owned(), record.topic.to_owned());
        Enqueued::Settled(result(outcome, record.ack, id, topic, replayed))
    };
    let hold = match verdicts.next() {
        None => None,
        Some(Verdict::Ours(hold)) => hold,
        Some(Verdict::Conflict) => return Enqueued::Settled(RecordResult::Conflict),
        Some(Verdict::Written(outcome)) => return settled(outcome, true),
        Some(Verdict::Elsewhere(delivery)) => return waiting(delivery, true),
        Some(Verdict::Unavailable) => {
            shared.count_record(record.cluster, "unavailable");
            return settled(Outcome::Unavailable, false);
        }
    };
    let spool = shared.spools.as_ref().filter(|_| record.ack == Ack::Spooled);
    let spool = spool.and_then(|spools| spools.of(&cluster.name));
    let identity = (spool.is_some() || shared.idempotency.is_some()).then(|| identity(&cluster.name, record));
    let admission = shared
        .idempotency
        .as_ref()
        .zip(identity)
        .map(|(memory, identity)| memory.admit(identity, record.ack, hold, Moment::now()));
    let claim = match admission {
        Some(Admission::New(claim)) => Some(claim),
        None | Some(Admission::Unremembered) => None,
        Some(Admission::Conflict) => return Enqueued::Settled(RecordResult::Conflict),
        Some(Admission::InFlight(delivery)) => return waiting(delivery, true),
        Some(Admission::Written(outcome)) => return settled(outcome, true),
    };
    let mut headers: Vec<(&str, &[u8])> =
        record.message.headers.iter().map(|(name, value)| (&**name, value.as_bytes())).collect();
    headers.extend_from_slice(record.headers);
    let span = shared.telemetry.as_ref().map(|telemetry| telemetry.record(&span_of(record)));
    let trace_context = trace_context(record, span.as_ref());
    headers.extend(trace_context.iter().map(|(name, value)| (*name, value.as_bytes())));
    let outgoing = Outgoing {
        topic: record.topic,
        key: record.key,
        partition: record.partition,
        timestamp: record.timestamp,
        headers: &headers,
        value: record.message.value.as_deref(),
        ack: record.ack,
        request_id,
    };
    let enqueued = match spool {
        Some(spool) => spool.append(&outgoing, identity, claim),
        None => {
            // The record takes its claim along, and may have its answer before this function has gone on.
            let queueing = claim.as_ref().map(Claim::queueing);
            let enqueued = cluster.producer.enqueue(&outgoing, Observers::default().and(span).and(claim));
            if let Some(queueing) = queueing.filter(|_| enqueued.is_ok()) {
                queueing.done();
            }
            enqueued
        }
    };
    match enqueued {
        Ok(delivery) => waiting(delivery, false),
        // What the disk does not take has nothing to do with whether Kafka answers.
        Err(Outcome::Unavailable) if spool.is_none() => {
            let wait = cluster
                .health
                .breaker()
                .wait(record.topic, record.ack, Moment::now())
                .as_millis()
                .div_ceil(1000);
            let retry_after = u32::try_from(wait).unwrap_or(u32::MAX).max(RETRY_AFTER);
            Enqueued::Settled(RecordResult::Unavailable { retry_after })
        }
        Err(outcome) => Enqueued::Settled(result(outcome, record.ack, String::new(), String::new(), false)),
    }
}

/// The cluster that the record is for, if the bridge is set up to do what the record asks for.
///
/// # Errors
/// What it lacks.
fn permit<'a>(shared: &'a Shared, record: &Incoming<'_>) -> Result<&'a Cluster, &'static str> {
    let cluster = shared.clusters.get(record.cluster).ok_or("the bridge has no cluster of this name")?;
    if !shared.topics.allows(&cluster.name, record.topic) {
        return Err("topic not among those allowed");
    }
    if record.ack == Ack::Spooled && shared.spools.is_none() {
        return Err("ack=spooled takes a spool, and the bridge has none: give it a disk with --spool-dir");
    }
    Ok(cluster)
}

/// What makes the record the same as another.
fn identity(cluster: &str, record: &Incoming<'_>) -> Identity {
    let name = Name {
        consumer: record.event.consumer(),
        source: record.event.source(),
        id: record.event_id,
        cluster,
        topic: record.topic,
        auth_type: record.event.auth_type(),
        batch: record.identity.batch,
    };
    if record.identity.id_only {
        return Identity::of_name(&name);
    }
    let tombstone = record.message.value.is_none();
    Identity::new(&name, &record.event.content(record.key, tombstone, record.identity.request))
}

/// What the record's span has to know of it.
fn span_of<'a>(record: &Incoming<'a>) -> telemetry::Record<'a> {
    telemetry::Record {
        topic: record.topic,
        event_id: record.event_id,
        value_bytes: record.message.value.as_ref().map(|value| value.len()),
        trace_context: record.event.trace_context(),
    }
}

/// The headers by which consumers go on with a trace, unless the record brings its own: with the record's span if it has
/// one, and else with the span that the event names.
fn trace_context<'a>(record: &Incoming<'a>, span: Option<&RecordSpan>) -> Vec<(&'static str, Cow<'a, str>)> {
    let brings = |name: &str| record.headers.iter().any(|(own, _)| *own == name);
    // The state of one trace says nothing about another.
    if brings(TRACEPARENT) {
        return Vec::new();
    }
    let (parent, state) = match span {
        Some(span) => (Some(span.traceparent().into()), span.tracestate().map(Cow::Owned)),
        None => match record.event.trace_context() {
            Some((parent, state)) => (Some(parent.into()), state.map(Cow::Borrowed)),
            None => (None, None),
        },
    };
    let state = state.filter(|_| !brings(TRACESTATE));
    [(TRACEPARENT, parent), (TRACESTATE, state)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Waits for Kafka's answer, but not beyond `deadline`.
pub(super) async fn settle(enqueued: Enqueued, deadline: Instant) -> RecordResult {
    match enqueued {
        Enqueued::Settled(result) => result,
        Enqueued::Waiting { delivery, ack, id, topic, replayed } => {
            let outcome = match tokio::time::timeout_at(deadline, delivery).await {
                Ok(Ok(outcome)) => outcome,
                // The producer is gone, or it is too slow: either way the record may have been written.
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            };
            result(outcome, ack, id, topic, replayed)
        }
    }
}

/// Waits for the answers to all of them, in their order, but not beyond `deadline`.
pub(super) async fn settle_all(enqueued: Vec<Enqueued>, deadline: Instant) -> Vec<RecordResult> {
    let mut results = Vec::with_capacity(enqueued.len());
    for record in enqueued {
        results.push(settle(record, deadline).await);
    }
    results
}

/// What is told of an outcome to who asked for `wanted`.
fn result(outcome: Outcome, wanted: Ack, id: String, topic: String, replayed: bool) -> RecordResult {
    match outcome {
        // It was written for somebody who asked for less. Whether it got as far as this, nobody knows.
        Outcome::Acknowledged { ack, .. } if !ack.satisfies(wanted) => RecordResult::Unknown,
        Outcome::Acknowledged { ack, metadata } => RecordResult::Acknowledged {
            receipt: Receipt {
                id,
                topic,
                partition: metadata.map(|metadata| metadata.partition),
                offset: metadata.map(|metadata| metadata.offset),
                timestamp: metadata.map(|metadata| metadata.timestamp.to_string()),
                ack,
            },
            replayed,
        },
        Outcome::TooLarge => RecordResult::TooLarge,
        Outcome::Refused => RecordResult::Refused,
        Outcome::Unavailable => RecordResult::Unavailable { retry_after: RETRY_AFTER },
        Outcome::Unknown => RecordResult::Unknown,
    }
}

fn check(record: &Incoming<'_>) -> Result<(), String> {
    if !topics::is_name(record.topic) {
        return Err(format!(
            "topic: wanted 1 to 249 of the characters a-z A-Z 0-9 . _ - and neither \".\" nor \"..\", got {:?}",
            shortened(record.topic)
        ));
    }
    if let Some(cluster) = record.cluster.filter(|cluster| !is_cluster_name(cluster)) {
        return Err(format!(
            "cluster: wanted 1 to 64 of the characters a-z A-Z 0-9 . _ -, got {:?}",
            shortened(cluster)
        ));
    }
    if let Some(partition) = record.partition.filter(|partition| *partition < 0) {
        return Err(format!("partition: wanted 0 or more, got {partition}"));
    }
    if let Some(timestamp) = record.timestamp.filter(|timestamp| !is_record_timestamp(*timestamp)) {
        return Err(format!(
            "timestamp: wanted 1 to {} milliseconds since 1970-01-01T00:00:00Z, got {timestamp}",
            Timestamp::from_nanos(u64::MAX).as_millis()
        ));
    }
    if record.headers.len() > MAX_HEADERS {
        return Err(format!("headers: wanted at most {MAX_HEADERS}, got more"));
    }
    let bytes: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        return Err(format!(
            "headers: wanted at most {MAX_HEADER_BYTES} bytes of names and values, got {bytes}"
        ));
    }
    for (index, (name, _)) in record.headers.iter().enumerate() {
        // librdkafka takes names as C strings.
        if name.is_empty() || name.contains('\0') {
            return Err(format!(
                "headers[{index}]: wanted a name that is not empty and has no NUL, got {:?}",
                shortened(name)
            ));
        }
    }
    Ok(())
}

/// Whether a record and its receipt can have this timestamp. librdkafka takes 0 for "now", and RFC 3339 text is made
/// of nanoseconds.
fn is_record_timestamp(millis: i64) -> bool {
    millis > 0 && i64::try_from(Timestamp::from_millis(millis).as_millis()) == Ok(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_part_and_quote_no_more_than_needed() {
        let message = Message { headers: Vec::new(), value: None };
        let incoming = Incoming {
            topic: "t",
            key: None,
            partition: None,
            timestamp: None,
            ack: Ack::All,
            cluster: None,
            identity: hop::Identity::default(),
            headers: &[],
            event_id: "1",
            event: &EventView::default(),
            message: &message,
        };
        let record = |topic: &str, headers: &[(&str, &[u8])]| check(&Incoming { topic, headers, ..incoming });
        assert!(record("t", &[("x", b"")]).is_ok());
        let long = "ä".repeat(300);
        let error = record(&long, &[]).unwrap_err();
        assert!(error.starts_with("topic: ") && error.len() < 400, "{error}");
        for name in ["", "a\0b"] {
            let error = record("t", &[("fine", b"1"), (name, b"2")]).unwrap_err();
            assert!(error.starts_with("headers[1]: "), "{error}");
        }
        let most: Vec<(&str, &[u8])> = vec![("x", b"1"); MAX_HEADERS];
        assert!(record("t", &most).is_ok());
        let error = record("t", &[&most[..], &most[..1]].concat()).unwrap_err();
        assert_eq!(error, "headers: wanted at most 256, got more");
        let large = vec![0; MAX_HEADER_BYTES - 1];
        assert!(record("t", &[("x", &large)]).is_ok());
        let error = record("t", &[("xy", &large)]).unwrap_err();
        assert_eq!(error, "headers: wanted at most 262144 bytes of names and values, got 262145");
        let error = check(&Incoming { cluster: Some("a b"), ..incoming }).unwrap_err();
        assert_eq!(error, "cluster: wanted 1 to 64 of the characters a-z A-Z 0-9 . _ -, got \"a b\"");
        assert!(check(&Incoming { cluster: Some("eu-1"), ..incoming }).is_ok());
        let error = check(&Incoming { partition: Some(-1), ..incoming }).unwrap_err();
        assert_eq!(error, "partition: wanted 0 or more, got -1");
        for timestamp in [i64::MIN, -1, 0, 18_446_744_073_710, i64::MAX] {
            let error = check(&Incoming { timestamp: Some(timestamp), ..incoming }).unwrap_err();
            assert!(error.starts_with("timestamp: wanted 1 to 18446744073709 "), "{error}");
        }
        for timestamp in [1, 18_446_744_073_709] {
            assert_eq!(check(&Incoming { timestamp: Some(timestamp), ..incoming }), Ok(()));
        }
    }
}
