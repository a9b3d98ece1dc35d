//! From a record to its result: checking, enqueueing, waiting. Shared by all ways in which records come.

use std::sync::Arc;

use tokio::time::Instant;
use wicketgate_envelope::STRUCTURED_CONTENT_TYPE;
use wicketgate_envelope::hop::{Ack, Receipt, RecordResult};

use crate::http::Shared;
use crate::producer::{Delivery, Outcome, Outgoing};

/// When to try again after "unavailable", in seconds. Short, since a queue drains and a broker is probed within
/// about that time.
const RETRY_AFTER: u32 = 1;

/// What is known of a record once it has been enqueued, or not.
#[derive(Debug)]
pub(super) enum Enqueued {
    /// Kafka's answer is still to come.
    Waiting {
        /// The answer.
        delivery: Delivery,
        /// For the receipt.
        id: String,
        /// For the receipt.
        topic: String,
    },
    /// It was not enqueued.
    Settled(RecordResult),
}

/// A record that has been read.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    /// The destination, not yet checked.
    pub(super) topic: &'a str,
    /// The key, or none.
    pub(super) key: Option<&'a [u8]>,
    /// Headers besides `content-type`, not yet checked.
    pub(super) headers: &'a [(&'a str, &'a [u8])],
    /// The `id` attribute of the event.
    pub(super) event_id: &'a str,
    /// The event.
    pub(super) event: &'a [u8],
}

/// Checks a record and enqueues it, without waiting. Records go out in the order of these calls.
pub(super) fn enqueue(shared: &Shared, record: &Incoming<'_>, request_id: Option<&Arc<str>>) -> Enqueued {
    if let Err(detail) = check(record) {
        shared.metrics.record("invalid");
        return Enqueued::Settled(RecordResult::Invalid { detail });
    }
    let mut headers = Vec::with_capacity(record.headers.len() + 1);
    headers.push(("content-type", STRUCTURED_CONTENT_TYPE.as_bytes()));
    headers.extend_from_slice(record.headers);
    let outgoing =
        Outgoing { topic: record.topic, key: record.key, headers: &headers, value: record.event, request_id };
    match shared.producer.enqueue(&outgoing) {
        Ok(delivery) => {
            Enqueued::Waiting { delivery, id: record.event_id.to_owned(), topic: record.topic.to_owned() }
        }
        Err(outcome) => Enqueued::Settled(result(outcome, String::new(), String::new())),
    }
}

/// Waits for Kafka's answer, but not beyond `deadline`.
pub(super) async fn settle(enqueued: Enqueued, deadline: Instant) -> RecordResult {
    match enqueued {
        Enqueued::Settled(result) => result,
        Enqueued::Waiting { delivery, id, topic } => {
            let outcome = match tokio::time::timeout_at(deadline, delivery).await {
                Ok(Ok(outcome)) => outcome,
                // The producer is gone, or it is too slow: either way the record may have been written.
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            };
            result(outcome, id, topic)
        }
    }
}

fn result(outcome: Outcome, id: String, topic: String) -> RecordResult {
    match outcome {
        Outcome::Acknowledged { partition, offset, timestamp } => RecordResult::Acknowledged {
            receipt: Receipt {
                id,
                topic,
                partition,
                offset,
                timestamp: timestamp.to_string(),
                ack: Ack::All,
            },
        },
        Outcome::TooLarge => RecordResult::TooLarge,
        Outcome::Refused => RecordResult::Refused,
        Outcome::Unavailable => RecordResult::Unavailable { retry_after: RETRY_AFTER },
        Outcome::Unknown => RecordResult::Unknown,
    }
}

fn check(record: &Incoming<'_>) -> Result<(), String> {
    if !is_topic_name(record.topic) {
        return Err(format!(
            "topic: wanted 1 to 249 of the characters a-z A-Z 0-9 . _ - and neither \".\" nor \"..\", got {:?}",
            shortened(record.topic)
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

/// The start of a text that came from outside, short enough for an error.
fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Whether Kafka would take `name` as a topic (`org.apache.kafka.common.internals.Topic`).
fn is_topic_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_kafkas() {
        for good in ["a", "orders", "A.b_c-9", "...", &"t".repeat(249)] {
            assert!(is_topic_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a\0", "größe", "a:b", &"t".repeat(250)] {
            assert!(!is_topic_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn errors_name_the_part_and_quote_no_more_than_needed() {
        fn record<'a>(topic: &'a str, headers: &'a [(&'a str, &'a [u8])]) -> Result<(), String> {
            check(&Incoming { topic, key: None, headers, event_id: "1", event: b"{}" })
        }
        assert!(record("t", &[("x", b"")]).is_ok());
        let long = "ä".repeat(300);
        let error = record(&long, &[]).unwrap_err();
        assert!(error.starts_with("topic: ") && error.len() < 400, "{error}");
        for name in ["", "a\0b"] {
            let error = record("t", &[("fine", b"1"), (name, b"2")]).unwrap_err();
            assert!(error.starts_with("headers[1]: "), "{error}");
        }
    }
}
