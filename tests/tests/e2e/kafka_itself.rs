//! That the harness reads what is there: without this, "no record arrived" could be a blind reader.

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use wicketgate_tests::java::{console_lines, read_with_java_client};
use wicketgate_tests::kafka;
use wicketgate_tests::topic::Topic;

#[tokio::test]
async fn both_readers_see_the_same_bytes() {
    let topic = Topic::create(kafka::shared(), "self-test", 1).await;
    topic.assert_empty().await;

    let producer: FutureProducer = kafka::shared().client_config().create().unwrap();
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some(&b"\xff\x80"[..]) })
        .insert(Header { key: "a", value: Some(&b""[..]) });
    let full = FutureRecord::to(topic.name())
        .key(b"\xfe".as_slice())
        .payload(b"\x00\xff\n{}".as_slice())
        .headers(headers);
    producer.send(full, None).await.unwrap();
    producer.send(FutureRecord::<[u8], [u8]>::to(topic.name()).payload(b"x"), None).await.unwrap();

    let records = topic.records().await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].key.as_deref(), Some(&b"\xfe"[..]));
    assert_eq!(records[0].bytes(), b"\x00\xff\n{}");
    assert_eq!(records[0].header("a"), [&b"\xff\x80"[..], b""]);
    assert_eq!((records[1].key.as_deref(), records[1].offset), (None, 1));
    let java = read_with_java_client(&topic, 2).await;
    assert_eq!(java, console_lines(&records), "{:?}", String::from_utf8_lossy(&java));
}
