//! What the tests want of answers and records.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wicketgate_tests::http_client::Answer;
use wicketgate_tests::topic::{Record, Topic};

/// A 202 whose receipt says of the record exactly what Kafka says of it.
pub(crate) fn receipt_of(answer: &Answer, topic: &Topic<'_>, record: &Record) {
    let receipt = accepted(answer);
    let millis = u64::try_from(record.timestamp).unwrap();
    let timestamp = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string();
    let event = record.event();
    let wanted = json!({
        "id": event["id"],
        "topic": topic.name(),
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": timestamp,
        "ack": "all",
    });
    assert_eq!(receipt, wanted);
    assert_eq!(answer.header("x-request-id"), event["wgrequestid"], "{answer:?}");
}

/// The receipt in a 202.
pub(crate) fn accepted(answer: &Answer) -> Value {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_ne!(answer.header("x-request-id"), "", "{answer:?}");
    answer.json()
}

/// The content of a problem, of this status and kind.
pub(crate) fn problem(answer: &Answer, status: u16, kind: &str) -> Value {
    let content = answer.json();
    assert_eq!(
        (answer.status.as_u16(), &content["type"]),
        (status, &json!(format!("urn:wicketgate:problem:{kind}"))),
        "{answer:?}"
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(content["status"], status);
    assert_eq!(content["request_id"], answer.header("x-request-id"));
    for member in ["title", "detail", "request_id"] {
        assert!(content[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {content}");
    }
    content
}

/// What every record of a lane has in common.
pub(crate) fn envelope(record: &Record, id: &str) {
    let event = record.event();
    assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
    assert_eq!(record.headers.first().map(|(name, _)| name.as_str()), Some("content-type"));
    assert_eq!(record.header("content-type"), [b"application/cloudevents+json; charset=UTF-8"]);
    for (attribute, wanted) in [
        ("specversion", "1.0"),
        ("source", "urn:wicketgate:e2e"),
        ("type", "com.example.e2e"),
        ("subject", &format!("thing/{id}")),
        ("partitionkey", id),
        ("authtype", "api_key"),
        ("wgclientip", "127.0.0.1"),
    ] {
        assert_eq!(event[attribute], wanted, "{attribute} of {event}");
    }
    for attribute in ["id", "time", "wgroute", "wgmethod", "wgpath", "wgrequestid"] {
        assert!(event[attribute].as_str().is_some_and(|text| !text.is_empty()), "{attribute} of {event}");
    }
}

/// The bytes of `data` as they stand in the record.
pub(crate) fn json_data(record: &Record) -> Vec<u8> {
    #[derive(Deserialize)]
    struct WithData {
        data: Box<RawValue>,
    }
    let event: WithData = serde_json::from_slice(record.bytes()).unwrap();
    assert!(record.event().get("data_base64").is_none());
    event.data.get().as_bytes().to_vec()
}

/// The bytes that `data_base64` stands for.
pub(crate) fn binary_data(record: &Record) -> Vec<u8> {
    let event = record.event();
    assert!(event.get("data").is_none(), "data and data_base64 exclude each other");
    STANDARD.decode(event["data_base64"].as_str().expect("data_base64 is a string")).unwrap()
}

/// Bytes without a pattern, the same ones for the same seed (an xorshift generator).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}
