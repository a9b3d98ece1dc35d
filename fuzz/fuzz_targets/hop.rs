//! What goes over the hop to kafka-bridge and comes back is read as it was written, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate_envelope::hop::{
    Destination, Record, RecordResult, RecordWriter, RecordsRequest, RecordsResponse, write_record,
};
use wicketgate_envelope::octets::Octets;
use wicketgate_envelope::signature::Signature;
use wicketgate_policy::callout::{Outcome, Response, outcomes};

fuzz_target!(|input: &[u8]| {
    check_octets(input);
    if let Ok(request) = serde_json::from_slice::<RecordsRequest<'_>>(input) {
        check_request(&request);
    }
    let answer = serde_json::from_slice::<RecordsResponse>(input).ok();
    if let Some(answer) = &answer {
        let json = serde_json::to_vec(answer).expect("an answer");
        let again: RecordsResponse = serde_json::from_slice(&json).expect("the same answer");
        assert_eq!(again.results, answer.results);
    }
    check_outcomes(answer.as_ref(), input);
    if let Ok(text) = std::str::from_utf8(input)
        && let Some(signature) = Signature::parse(text)
    {
        assert_eq!(signature.to_string(), text);
    }
});

fn check_octets(bytes: &[u8]) {
    let json = serde_json::to_string(&Octets::from(bytes)).expect("JSON");
    assert_eq!(serde_json::from_str::<Octets<'_>>(&json).expect("octets").0, bytes);
    if let Ok(octets) = serde_json::from_slice::<Octets<'_>>(bytes) {
        let json = serde_json::to_string(&octets).expect("JSON");
        assert_eq!(serde_json::from_str::<Octets<'_>>(&json).expect("octets"), octets);
    }
}

fn check_request(request: &RecordsRequest<'_>) {
    let mut writer = RecordWriter::with_capacity(0);
    request.records.iter().for_each(|record| writer.push(&write(record)));
    assert_eq!((writer.len(), writer.is_empty()), (request.records.len(), request.records.is_empty()));
    let body = writer.finish();
    let again: RecordsRequest<'_> = serde_json::from_slice(&body).expect("the same call");
    assert_eq!(again.records.len(), request.records.len());
    for (one, other) in again.records.iter().zip(&request.records) {
        let parts = |record: &Record<'_>| {
            (record.topic.to_string(), record.partition, record.timestamp, record.mode, record.tombstone)
        };
        assert_eq!(parts(one), parts(other));
        assert_eq!(
            (&one.key, &one.headers, one.ack, &one.cluster, one.event.get()),
            (&other.key, &other.headers, other.ack, &other.cluster, other.event.get())
        );
    }
}

fn write(record: &Record<'_>) -> Vec<u8> {
    let destination = Destination {
        topic: &record.topic,
        key: record.key.as_ref().map(|key| key.0.as_ref()),
        partition: record.partition,
        timestamp: record.timestamp,
        mode: record.mode,
        tombstone: record.tombstone,
        ack: record.ack,
        cluster: record.cluster.as_deref(),
        identity: record.identity,
    };
    let headers = record.headers.iter().map(|(name, value)| (name.as_ref(), value.0.as_ref()));
    write_record(&destination, headers, |out| out.extend_from_slice(record.event.get().as_bytes()))
}

/// Only kafka-bridge can acknowledge, and only as many records as there are.
fn check_outcomes(answer: Option<&RecordsResponse>, body: &[u8]) {
    let count = answer.map_or(1, |answer| answer.results.len());
    for (status, from_bridge, count) in [
        (200, true, count),
        (207, true, count + 1),
        (503, true, count),
        (413, true, count),
        (200, false, count),
        (503, false, count),
        (504, false, count),
    ] {
        let (outcomes, _) =
            outcomes(Some(Response { status, from_bridge, body, ..Response::default() }), count);
        assert_eq!(outcomes.len(), count);
        let acknowledged = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Answered(RecordResult::Acknowledged { .. })))
            .count();
        let told = answer.filter(|answer| from_bridge && answer.results.len() == count).map_or(0, |answer| {
            let told = |result: &&RecordResult| matches!(result, RecordResult::Acknowledged { .. });
            answer.results.iter().filter(told).count()
        });
        assert_eq!(acknowledged, told);
    }
}
