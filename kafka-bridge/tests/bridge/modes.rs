//! What a record looks like in each mode, and where it goes when the call says so.

use crate::common::{Bridge, Cluster, Stored, cluster, count, read};
use serde_json::Value;

const ATTRIBUTES: &str = r#""specversion":"1.0","id":"e-1","source":"/s","type":"t","time":"2026-01-02T03:04:05.6789+01:00","subject":"grün","wgroute":"r","n":7,"b":true"#;

/// The record headers that [`ATTRIBUTES`] are in binary mode.
const CE_HEADERS: [(&str, &str); 9] = [
    ("ce_specversion", "1.0"),
    ("ce_id", "e-1"),
    ("ce_source", "/s"),
    ("ce_type", "t"),
    ("ce_subject", "grün"),
    ("ce_time", "2026-01-02T03:04:05.6789+01:00"),
    ("ce_wgroute", "r"),
    ("ce_n", "7"),
    ("ce_b", "true"),
];

async fn result(bridge: &Bridge, record: &str) -> Value {
    let answer = bridge.client.records(format!(r#"{{"records":[{record}]}}"#)).await;
    answer.json()["results"][0].clone()
}

/// The record that the receipt names.
fn stored(cluster: &Cluster, receipt: &Value) -> Stored {
    let topic = receipt["topic"].as_str().unwrap();
    read(cluster, topic, count(cluster, topic))
        .into_iter()
        .find(|stored| receipt["partition"] == stored.partition && receipt["offset"] == stored.offset)
        .unwrap()
}

#[tokio::test]
async fn each_mode_has_its_headers_and_its_value() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    const JSON: &str = "application/json";
    for (data, content_type, bytes) in [
        (r#","data": {"n": 1.50,  "s":"\u00fc"} "#, Some(JSON), &br#"{"n": 1.50,  "s":"\u00fc"}"#[..]),
        (r#","data":null"#, Some(JSON), b"null"),
        (r#","datacontenttype":"text/plain","data":"\u00fc\n""#, Some("text/plain"), "ü\n".as_bytes()),
        (r#","datacontenttype":"image/png","data_base64":"/wA=""#, Some("image/png"), b"\xff\x00"),
        (r#","data_base64":"/wA=""#, None, b"\xff\x00"),
        // No data is an empty value: a null would delete the key from a compacted topic.
        ("", None, b""),
    ] {
        let event = format!("{{{ATTRIBUTES}{data}}}");
        for mode in ["", "structured", "binary", "raw"] {
            let mode_member = if mode.is_empty() { String::new() } else { format!(r#","mode":"{mode}""#) };
            let record = format!(
                r#"{{"topic":"t","key":"k","headers":[["x-own","1"],["ce_id","mine"]]{mode_member},"event":{event}}}"#
            );
            let result = result(&bridge, &record).await;
            assert_eq!(result["outcome"], "acknowledged", "{mode} {data}: {result}");
            assert_eq!(result["receipt"]["id"], "e-1");
            let stored = stored(&cluster, &result["receipt"]);

            let mut headers = Vec::new();
            let value = match mode {
                "binary" | "raw" => {
                    if mode == "binary" {
                        headers.extend(CE_HEADERS);
                    }
                    headers.extend(content_type.map(|content_type| ("content-type", content_type)));
                    bytes
                }
                _ => {
                    headers.push(("content-type", "application/cloudevents+json; charset=UTF-8"));
                    event.as_bytes()
                }
            };
            headers.extend([("x-own", "1"), ("ce_id", "mine")]);
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
            assert_eq!(stored.headers, headers, "{mode} {data}");
            assert_eq!(stored.value.as_deref(), Some(value), "{mode} {data}");
            assert_eq!(stored.key.as_deref(), Some(&b"k"[..]));
        }
    }
}

#[tokio::test]
async fn only_a_tombstone_has_a_null_value() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    for (mode, headers) in [("binary", CE_HEADERS.len() + 1), ("raw", 1)] {
        let record = format!(
            r#"{{"topic":"t","key":"k","mode":"{mode}","tombstone":true,"event":{{{ATTRIBUTES},"data":1}}}}"#
        );
        let result = result(&bridge, &record).await;
        let stored = stored(&cluster, &result["receipt"]);
        assert_eq!((stored.value, stored.headers.len()), (None, headers), "{mode}");
    }
    assert_eq!(count(&cluster, "t"), 2);
    for (rest, wanted) in [
        (r#""key":"k""#, "tombstone: wanted mode binary or raw"),
        (r#""key":"k","mode":"structured""#, "tombstone: wanted mode binary or raw"),
        (r#""mode":"raw""#, "tombstone: wanted a key"),
    ] {
        let record = format!(r#"{{"topic":"t",{rest},"tombstone":true,"event":{{{ATTRIBUTES}}}}}"#);
        let result = result(&bridge, &record).await;
        assert_eq!(result["outcome"], "invalid", "{rest}: {result}");
        assert!(result["detail"].as_str().unwrap().starts_with(wanted), "{rest}: {result}");
    }
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn an_event_that_must_be_taken_apart_is_checked_whole() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    for mode in ["binary", "raw"] {
        let record = format!(r#"{{"topic":"t","mode":"{mode}","event":{{{ATTRIBUTES},"ext":[1]}}}}"#);
        let result = result(&bridge, &record).await;
        assert_eq!(result["outcome"], "invalid", "{result}");
        assert!(result["detail"].as_str().unwrap().starts_with("event: ext: wanted"), "{result}");
    }
    assert_eq!(count(&cluster, "t"), 0);
}

#[tokio::test]
async fn a_record_goes_to_the_partition_and_has_the_time_that_it_names() {
    let cluster = cluster();
    cluster.create_topic("t", 3, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    for partition in [2, 0, 1] {
        let timestamp = 1_700_000_000_000 + i64::from(partition);
        let record = format!(
            r#"{{"topic":"t","key":"same","partition":{partition},"timestamp":{timestamp},"event":{{{ATTRIBUTES}}}}}"#
        );
        let result = result(&bridge, &record).await;
        assert_eq!(result["receipt"]["partition"], partition, "{result}");
        assert_eq!(result["receipt"]["timestamp"], format!("2023-11-14T22:13:20.00{partition}Z"));
        assert_eq!(stored(&cluster, &result["receipt"]).timestamp, timestamp);
    }
    // Whether the bridge knows the topic already or not.
    cluster.create_topic("unseen", 3, 1).unwrap();
    for topic in ["t", "unseen"] {
        for (partition, outcome) in [("3", "refused"), ("2147483647", "refused"), ("-1", "invalid")] {
            let record = format!(r#"{{"topic":"{topic}","partition":{partition},"event":{{{ATTRIBUTES}}}}}"#);
            let result = result(&bridge, &record).await;
            assert_eq!(result["outcome"], outcome, "{topic} {partition}: {result}");
        }
    }
    let result = result(&bridge, &format!(r#"{{"topic":"t","timestamp":0,"event":{{{ATTRIBUTES}}}}}"#)).await;
    assert!(result["detail"].as_str().unwrap().starts_with("timestamp: wanted 1 to "), "{result}");
    assert_eq!((count(&cluster, "t"), count(&cluster, "unseen")), (3, 0));
}

#[tokio::test]
async fn keys_go_where_javas_client_puts_them() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    // Hashes from the tests of Apache Kafka (org.apache.kafka.common.utils.UtilsTest.testMurmur2).
    for (topic, partitions) in [("three", 3), ("twelve", 12)] {
        cluster.create_topic(topic, partitions, 1).unwrap();
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            let record = format!(r#"{{"topic":"{topic}","key":"{key}","event":{{{ATTRIBUTES}}}}}"#);
            let result = result(&bridge, &record).await;
            assert_eq!(result["receipt"]["partition"], (hash & 0x7fff_ffff) % partitions, "{key}: {result}");
        }
    }
}
