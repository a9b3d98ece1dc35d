//! What the caller is told once it is known what became of the records.

use std::borrow::Cow;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer, ser};
use wicketgate_envelope::hop::{Ack, Receipt, RecordResult};

use crate::callout::Outcome;
use crate::config::document::ReceiptField;
use crate::reply::{Content, Headers, LocalReply, Problem, Told, UnknownCause, headers, json};

/// What a caller gets for an event that got as far as the route asks.
#[derive(Debug)]
pub struct Success {
    /// The status, 200 to 299.
    pub(crate) status: u16,
    /// Further headers.
    pub(crate) headers: Headers,
    /// The fields of the content, by name.
    pub(crate) fields: Vec<(String, ReceiptField)>,
}

impl Default for Success {
    /// 202 with the whole receipt.
    fn default() -> Self {
        let fields = [
            ("id", ReceiptField::Id),
            ("topic", ReceiptField::Topic),
            ("partition", ReceiptField::Partition),
            ("offset", ReceiptField::Offset),
            ("timestamp", ReceiptField::Timestamp),
            ("ack", ReceiptField::Ack),
        ];
        let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
        Self { status: 202, headers: Vec::new(), fields }
    }
}

impl Success {
    /// Whether an answer with this status has content (RFC 9110, sections 15.3.5 and 15.3.6).
    pub(crate) fn has_content(&self) -> bool {
        !matches!(self.status, 204 | 205)
    }
}

/// The records of a request that have been sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// For each, the id of its event and the topic that it is for.
    pub(crate) records: Vec<(String, String)>,
    /// How far each has to get before it counts as accepted.
    pub(crate) ack: Ack,
    /// Whether the caller expects a list of results.
    pub(crate) batch: bool,
}

/// What became of one record, in the caller's terms.
type Verdict = Result<Accepted, Problem>;

/// A record that got as far as the route asks.
#[derive(Debug)]
pub(crate) struct Accepted {
    receipt: Receipt,
    /// Whether it was there already, and this is the receipt of the first time.
    replayed: bool,
}

/// What became of each record.
pub(crate) fn verdicts(sent: &Sent, outcomes: Vec<Outcome>) -> Vec<Verdict> {
    let verdict = |((event_id, topic), outcome): (&(String, String), Outcome)| {
        verdict(event_id, topic, sent.ack, outcome)
    };
    sent.records.iter().zip(outcomes).map(verdict).collect()
}

/// The answer. A batch of which nothing was acknowledged is answered as one of its events would be alone; one of
/// which a part was is 207.
pub(crate) fn answer(sent: &Sent, verdicts: &[Verdict], success: &Success, request_id: &str) -> LocalReply {
    let acknowledged = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    let accepted = |status| {
        let mut headers = headers("application/json", request_id);
        if status == success.status && !success.has_content() {
            headers.retain(|(name, _)| name != "content-type");
        }
        headers.extend(success.headers.iter().cloned());
        let told = if status == 207 { Told::PartlyAcknowledged } else { Told::Acknowledged };
        LocalReply { status, headers, body: Vec::new(), told }
    };
    let results = || Results {
        problem: None,
        results: verdicts
            .iter()
            .zip(&sent.records)
            .map(|(verdict, (id, _))| one(verdict, success, id))
            .collect(),
    };
    match verdicts {
        [Ok(Accepted { receipt, replayed })] if !sent.batch => {
            let mut reply = accepted(success.status);
            // draft-ietf-httpapi-idempotency-key-header says nothing of how to tell; this is the custom.
            reply.headers.extend(replayed.then(|| header("idempotency-replayed", "true")));
            if success.has_content() {
                reply.body = json(&Shaped { receipt, success, batch: None });
            }
            reply
        }
        [Err(problem)] if !sent.batch => problem.reply(request_id),
        [Err(first), ..] if acknowledged == 0 => {
            // One problem stands for all on the status line; the content tells them apart. That an outcome is unknown
            // comes first, because every other says that nothing was written.
            let unknown = |problem: &&Problem| matches!(problem, Problem::OutcomeUnknown { .. });
            let problem =
                verdicts.iter().filter_map(|verdict| verdict.as_ref().err()).find(unknown).unwrap_or(first);
            let problem_content = Some(problem.content(Some(request_id), None));
            problem.reply_with(request_id, &Results { problem: problem_content, ..results() })
        }
        _ if acknowledged == verdicts.len() && !success.has_content() => accepted(success.status),
        _ => {
            let status = if acknowledged == verdicts.len() { success.status } else { 207 };
            LocalReply { body: json(&results()), ..accepted(status) }
        }
    }
}

fn verdict(event_id: &str, topic: &str, ack: Ack, outcome: Outcome) -> Verdict {
    let unknown = |cause| Problem::OutcomeUnknown { cause, event_id: event_id.to_owned() };
    Err(match outcome {
        Outcome::Answered(RecordResult::Acknowledged { receipt, replayed }) => {
            if receipt.id == event_id && receipt.topic == topic && receipt.ack.satisfies(ack) {
                return Ok(Accepted { receipt, replayed });
            }
            // A receipt for something else proves nothing, and one for less does not prove enough.
            unknown(UnknownCause::Broken)
        }
        Outcome::Answered(RecordResult::TooLarge) => Problem::EventTooLarge,
        // Which limits those were, the exchange knows.
        Outcome::Answered(RecordResult::Limited) => {
            Problem::QuotaExceeded { policies: Vec::new(), retry_after: None }
        }
        Outcome::Answered(RecordResult::Conflict) => Problem::IdempotencyConflict,
        Outcome::Answered(RecordResult::Invalid { .. } | RecordResult::Refused) => Problem::Refused,
        Outcome::Answered(RecordResult::Unavailable { retry_after }) => Problem::Unavailable { retry_after },
        Outcome::Unreachable { retry_after } => Problem::BridgeUnavailable { retry_after },
        Outcome::Answered(RecordResult::Unknown) | Outcome::TimedOut => unknown(UnknownCause::Timeout),
        Outcome::Broken => unknown(UnknownCause::Broken),
    })
}

fn one<'a>(verdict: &'a Verdict, success: &'a Success, event_id: &'a str) -> One<'a> {
    match verdict {
        Ok(Accepted { receipt, replayed }) => {
            One::Receipt(Shaped { receipt, success, batch: Some((success.status, *replayed)) })
        }
        Err(problem) => One::Problem(problem.content(None, Some(event_id))),
    }
}

#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    problem: Option<Content<'a>>,
    results: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum One<'a> {
    Receipt(Shaped<'a>),
    Problem(Content<'a>),
}

/// A receipt as the route shapes it; in a list, with its status and whether it is a replay.
struct Shaped<'a> {
    receipt: &'a Receipt,
    success: &'a Success,
    batch: Option<(u16, bool)>,
}

impl Serialize for Shaped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Receipt { id, topic, partition, offset, timestamp, ack } = self.receipt;
        let mut map = serializer.serialize_map(None)?;
        if let Some((status, replayed)) = self.batch {
            map.serialize_entry("status", &status)?;
            if replayed {
                map.serialize_entry("replayed", &true)?;
            }
        }
        for (name, field) in &self.success.fields {
            match field {
                ReceiptField::Id => map.serialize_entry(name, id),
                ReceiptField::Topic => map.serialize_entry(name, topic),
                ReceiptField::Partition => serialize_known(&mut map, name, partition.as_ref()),
                ReceiptField::Offset => serialize_known(&mut map, name, offset.as_ref()),
                ReceiptField::Timestamp => serialize_known(&mut map, name, timestamp.as_ref()),
                ReceiptField::Ack => map.serialize_entry(name, ack),
            }?;
        }
        map.end()
    }
}

/// What Kafka has not told yet is left out.
fn serialize_known<M: ser::SerializeMap, T: Serialize>(
    map: &mut M,
    name: &str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}

/// Header fields that a route may not add to its answers, because they are the gateway's or the connection's own.
pub(crate) const OWN_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// A header field as answers have it.
pub(crate) fn header(name: &str, value: &str) -> (Cow<'static, str>, String) {
    (Cow::Owned(name.to_ascii_lowercase()), value.to_owned())
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use wicketgate_envelope::hop::Ack;

    use super::*;

    fn acknowledged(id: &str) -> Outcome {
        let (id, topic, timestamp) = (id.to_owned(), "t".to_owned(), "2026-01-01T00:00:00.000Z".to_owned());
        let (partition, offset, timestamp) = (Some(3), Some(7), Some(timestamp));
        let receipt = Receipt { id, topic, partition, offset, timestamp, ack: Ack::All };
        Outcome::Answered(RecordResult::Acknowledged { receipt, replayed: false })
    }

    fn answered(outcomes: Vec<Outcome>, batch: bool, success: &Success) -> (LocalReply, String) {
        let records = (0..outcomes.len()).map(|index| (format!("e{index}"), "t".to_owned())).collect();
        let sent = Sent { records, ack: Ack::All, batch };
        let reply = answer(&sent, &verdicts(&sent, outcomes), success, "r1");
        let text = String::from_utf8(reply.body.clone()).unwrap();
        (reply, text)
    }

    #[test]
    fn one_event_has_its_receipt_or_its_problem() {
        let (reply, text) = answered(vec![acknowledged("e0")], false, &Success::default());
        assert_eq!(reply.status, 202);
        assert_eq!(
            text,
            r#"{"id":"e0","topic":"t","partition":3,"offset":7,"timestamp":"2026-01-01T00:00:00.000Z","ack":"all"}"#
        );
        assert_eq!(answered(vec![Outcome::TimedOut], false, &Success::default()).0.status, 504);
    }

    #[test]
    fn a_replay_is_marked() {
        let Outcome::Answered(RecordResult::Acknowledged { receipt, .. }) = acknowledged("e0") else {
            panic!()
        };
        let again = Outcome::Answered(RecordResult::Acknowledged { receipt, replayed: true });
        let marked = header("Idempotency-Replayed", "true");
        assert!(!answered(vec![acknowledged("e0")], false, &Success::default()).0.headers.contains(&marked));
        assert!(answered(vec![again.clone()], false, &Success::default()).0.headers.contains(&marked));
        let (_, text) = answered(vec![again], true, &Success::default());
        assert!(text.starts_with(r#"{"results":[{"status":202,"replayed":true,"id":"e0","#), "{text}");
    }

    #[test]
    fn a_receipt_for_another_event_is_no_receipt() {
        let (reply, text) = answered(vec![acknowledged("e1")], false, &Success::default());
        assert_eq!(reply.status, 502);
        assert!(text.contains("outcome-unknown") && text.contains("\"event_id\":\"e0\""), "{text}");
    }

    #[test]
    fn a_receipt_for_less_than_was_asked_for_is_no_receipt() {
        for (wanted, told, status) in [
            (Ack::All, Ack::All, 202),
            (Ack::All, Ack::Leader, 502),
            (Ack::All, Ack::Spooled, 502),
            (Ack::All, Ack::None, 502),
            (Ack::Leader, Ack::All, 202),
            (Ack::Leader, Ack::Spooled, 502),
            (Ack::Spooled, Ack::Spooled, 202),
            (Ack::Spooled, Ack::Leader, 502),
            (Ack::None, Ack::None, 202),
        ] {
            let (id, topic) = ("e0".to_owned(), "t".to_owned());
            let receipt = Receipt { id, topic, partition: None, offset: None, timestamp: None, ack: told };
            let outcome = Outcome::Answered(RecordResult::Acknowledged { receipt, replayed: false });
            let sent = Sent { records: vec![("e0".to_owned(), "t".to_owned())], ack: wanted, batch: false };
            let reply = answer(&sent, &verdicts(&sent, vec![outcome]), &Success::default(), "r1");
            let text = String::from_utf8(reply.body).unwrap();
            assert_eq!(reply.status, status, "{told} for {wanted}: {text}");
            if status == 202 {
                // In the bridge's word, and without what nobody knows.
                assert_eq!(text, format!(r#"{{"id":"e0","topic":"t","ack":"{told}"}}"#));
            } else {
                assert!(text.contains("outcome-unknown"), "{text}");
            }
        }
    }

    #[test]
    fn a_route_shapes_its_success_and_nothing_else() {
        let success = Success {
            status: 200,
            headers: vec![header("X-Taken", "yes")],
            fields: vec![("order".to_owned(), ReceiptField::Id), ("at".to_owned(), ReceiptField::Offset)],
        };
        let (reply, text) = answered(vec![acknowledged("e0")], false, &success);
        assert_eq!((reply.status, text.as_str()), (200, r#"{"order":"e0","at":7}"#));
        assert!(reply.headers.contains(&header("x-taken", "yes")));
        let (reply, _) = answered(vec![Outcome::Unreachable { retry_after: 1 }], false, &success);
        assert_eq!(reply.status, 503);
        assert!(!reply.headers.contains(&header("x-taken", "yes")));
    }

    #[test]
    fn content_without_fields_is_not_the_whole_receipt() {
        let success = Success { status: 200, headers: Vec::new(), fields: Vec::new() };
        let (reply, text) = answered(vec![acknowledged("e0")], false, &success);
        assert_eq!((reply.status, text.as_str()), (200, "{}"));
        assert!(reply.headers.contains(&header("content-type", "application/json")));
        let (_, text) = answered(vec![acknowledged("e0")], true, &success);
        assert_eq!(text, r#"{"results":[{"status":200}]}"#);
    }

    #[test]
    fn a_status_without_content_has_none_and_errors_have_theirs() {
        for status in [204, 205] {
            let success = Success { status, headers: vec![header("x-taken", "yes")], ..Success::default() };
            for batch in [false, true] {
                let (reply, text) = answered(vec![acknowledged("e0")], batch, &success);
                assert_eq!((reply.status, text.as_str()), (status, ""));
                assert_eq!(reply.headers, [header("x-request-id", "r1"), header("x-taken", "yes")]);
            }
            let (reply, text) = answered(vec![acknowledged("e0"), Outcome::Broken], true, &success);
            assert!(
                reply.status == 207 && text.contains(&format!(r#"[{{"status":{status},"id":"e0","#)),
                "{text}"
            );
            let (reply, text) = answered(vec![Outcome::Unreachable { retry_after: 1 }], false, &success);
            assert!(reply.status == 503 && text.contains("bridge-unavailable"), "{text}");
            assert!(reply.headers.contains(&header("content-type", "application/problem+json")));
        }
    }

    #[test]
    fn a_batch_is_202_only_if_all_of_it_was_acknowledged() {
        let success = Success::default();
        let (reply, text) = answered(vec![acknowledged("e0")], true, &success);
        assert_eq!(reply.status, 202);
        assert!(text.starts_with(r#"{"results":[{"status":202,"id":"e0","#), "{text}");

        let (reply, text) =
            answered(vec![acknowledged("e0"), Outcome::Broken, acknowledged("e2")], true, &success);
        assert_eq!(reply.status, 207);
        let content: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(content["results"][1]["status"], 502);
        assert_eq!(content["results"][1]["event_id"], "e1");
        assert_eq!(content["results"][2]["id"], "e2");
    }

    #[test]
    fn a_batch_of_which_nothing_was_acknowledged_is_no_success() {
        let unavailable = Outcome::Answered(RecordResult::Unavailable { retry_after: 9 });
        let too_large = Outcome::Answered(RecordResult::TooLarge);
        let (reply, text) = answered(vec![unavailable.clone(), too_large], true, &Success::default());
        assert_eq!(reply.status, 503);
        assert!(reply.headers.contains(&header("retry-after", "9")));
        let content: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&content["status"], &content["request_id"]), (&503.into(), &"r1".into()));
        assert_eq!(content["results"][0]["event_id"], "e0");
        assert_eq!(content["results"][1]["type"], "urn:wicketgate:problem:too-large");
        let (reply, _) = answered(vec![unavailable, Outcome::Broken], true, &Success::default());
        assert_eq!(reply.status, 502);
    }
}
