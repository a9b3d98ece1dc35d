//! What has to hold of every record that leaves the gateway.

use wicketgate_envelope::event::{self, Event, ParsedEvent, Time};
use wicketgate_envelope::hop::{RecordWriter, RecordsRequest};
use wicketgate_envelope::kafka;
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_policy::reshape::Record;
use wicketgate_policy::topic;

/// Panics unless kafka-bridge could read all of these and make Kafka records of them.
pub fn check_all(records: &[Record]) {
    assert!(!records.is_empty());
    let mut writer = RecordWriter::with_capacity(0);
    records.iter().for_each(|record| writer.push(&record.bytes));
    let body = writer.finish();
    let request: RecordsRequest<'_> = serde_json::from_slice(&body).expect("the bridge cannot read the call");
    assert_eq!(request.records.len(), records.len());
    for (read, record) in request.records.iter().zip(records) {
        assert_eq!(read.topic, record.topic);
        assert_eq!((read.ack, read.cluster.as_deref()), (record.ack, record.cluster.as_deref()));
        assert!(topic::is_legal(&read.topic), "{:?}", read.topic);
        let json = read.event.get();
        let parsed = event::parse(json).unwrap_or_else(|error| panic!("{error} in {json}"));
        assert_eq!(parsed.context.id, record.event_id);
        assert!(read.partition.is_none_or(|partition| partition >= 0));
        assert!(read.timestamp.is_none_or(|timestamp| timestamp >= 0));
        let message = kafka::message(read.mode, read.tombstone, json).expect("no message");
        assert_eq!(message.value.is_none(), read.tombstone);
    }
}

/// Writes an event that was read, and panics unless it then reads the same.
pub fn check_round_trip(parsed: &ParsedEvent<'_>) {
    let context = &parsed.context;
    let extensions: Vec<_> =
        context.extensions.iter().map(|(name, value)| (name.as_ref(), value.clone())).collect();
    let event = Event {
        id: &context.id,
        source: &context.source,
        type_: &context.type_,
        subject: context.subject.as_deref(),
        time: match context.time.as_deref() {
            Some(time) => Time::Claimed(time),
            None => Time::At(Timestamp::from_nanos(0)),
        },
        data_content_type: parsed.data_content_type.as_deref(),
        data_schema: context.data_schema.as_deref(),
        extensions: &extensions,
        data: parsed.data.clone(),
    };
    let mut json = Vec::new();
    event.write_json(&mut json);
    let json = std::str::from_utf8(&json).expect("not UTF-8");
    let again = event::parse(json).unwrap_or_else(|error| panic!("{error} in {json}"));
    let (mut wanted, mut got) = (context.clone(), again.context.clone());
    if wanted.time.is_none() {
        (wanted.time, got.time) = (None, None);
    }
    assert_eq!(wanted, got);
    assert_eq!(parsed.data_content_type, again.data_content_type);
    assert_eq!(parsed.data.clone().into_bytes(), again.data.into_bytes());
}
