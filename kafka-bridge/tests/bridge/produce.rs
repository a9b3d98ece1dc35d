//! What is sent is what Kafka has, and the receipt says where.

use crate::common::{Bridge, RECORDS, cluster, count, event, read};
use serde_json::json;
use wicketgate_envelope::timestamp::Timestamp;

#[tokio::test]
async fn an_event_becomes_a_record_and_the_receipt_says_where() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    // White space, member order, escapes and number formats are the caller's.
    let body = "\n{ \"data\" : {\"n\": 1.50, \"s\":\"\\u00fc\"},\"type\":\"t\",\"source\":\"s\",\"partitionkey\":\"grün\",\"id\":\"e-1\",\"specversion\":\"1.0\" }\n";
    let answer = bridge.client.event("orders", body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("wicketgate-bridge"), Some(crate::common::VERSION));

    let stored = &read(&cluster, "orders", 1)[0];
    assert_eq!(stored.value.as_deref(), Some(body.as_bytes()));
    assert_eq!(stored.key.as_deref(), Some("grün".as_bytes()));
    let content_type = b"application/cloudevents+json; charset=UTF-8".to_vec();
    assert_eq!(stored.headers, [("content-type".to_owned(), content_type)]);
    assert_eq!(
        answer.json(),
        json!({
            "id": "e-1", "topic": "orders", "partition": stored.partition, "offset": stored.offset,
            "timestamp": Timestamp::from_millis(stored.timestamp).to_string(), "ack": "all",
        })
    );
}

#[tokio::test]
async fn keys_and_headers_arrive_as_the_bytes_they_are() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let value = r#"{"specversion":"1.0",  "id":"1","source":"s","type":"t","data":1e2}"#;
    let record = |rest: &str| format!(r#"{{"topic":"t"{rest},"event":{value}}}"#);
    for (rest, key, headers) in [
        ("", None, vec![]),
        (r#","key":"""#, Some(&b""[..]), vec![]),
        (r#","key":{"base64":"/wA="}"#, Some(&b"\xff\x00"[..]), vec![]),
        (
            r#","key":"k","headers":[["b","1"],["a",{"base64":"gIE="}],["b",""]]"#,
            Some(&b"k"[..]),
            vec![("b", &b"1"[..]), ("a", &b"\x80\x81"[..]), ("b", &b""[..])],
        ),
    ] {
        let answer = bridge.client.records(format!(r#"{{"records":[{}]}}"#, record(rest))).await;
        assert_eq!(answer.status, 202, "{rest}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some(RECORDS));
        let receipt = &answer.json()["results"][0]["receipt"];
        let written = count(&cluster, "t");
        let stored = read(&cluster, "t", written);
        let stored = stored
            .iter()
            .find(|stored| receipt["partition"] == stored.partition && receipt["offset"] == stored.offset)
            .unwrap();
        assert_eq!(stored.key.as_deref(), key, "{rest}");
        assert_eq!(stored.value.as_deref(), Some(value.as_bytes()), "{rest}");
        let own: Vec<_> =
            stored.headers.iter().skip(1).map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        assert_eq!(own, headers, "{rest}");
    }
}

#[tokio::test]
async fn the_records_of_a_call_stay_in_order() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let ids: Vec<String> = (0..500).map(|n| format!("e-{n}")).collect();
    let records: Vec<String> =
        ids.iter().map(|id| format!(r#"{{"topic":"t","key":"one","event":{}}}"#, event(id, 100))).collect();
    let answer = bridge.client.records(format!(r#"{{"records":[{}]}}"#, records.join(","))).await;
    assert_eq!(answer.status, 202);
    let json = answer.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), ids.len());
    for (offset, (id, result)) in ids.iter().zip(results).enumerate() {
        assert_eq!(result["receipt"]["id"], *id);
        assert_eq!(result["receipt"]["offset"], offset);
    }
    for (id, stored) in ids.iter().zip(read(&cluster, "t", ids.len())) {
        assert!(String::from_utf8(stored.value.unwrap()).unwrap().contains(&format!(r#""id":"{id}""#)));
    }
}

#[tokio::test]
async fn a_bad_record_does_not_sink_the_others() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-record-bytes", "10000"]).await;
    let records = [
        format!(r#"{{"topic":"t","event":{}}}"#, event("1", 1)),
        format!(r#"{{"topic":"no/topic","event":{}}}"#, event("2", 1)),
        r#"{"topic":"t","event":{"specversion":"1.0","source":"s","type":"t"}}"#.to_owned(),
        format!(r#"{{"topic":"t","event":{}}}"#, event("4", 20_000)),
        format!(r#"{{"topic":"t","headers":[["a\u0000b",""]],"event":{}}}"#, event("5", 1)),
        format!(r#"{{"topic":"t","event":{}}}"#, event("6", 1)),
    ];
    let answer = bridge.client.records(format!(r#"{{"records":[{}]}}"#, records.join(","))).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let json = answer.json();
    let outcomes: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["acknowledged", "invalid", "invalid", "too_large", "invalid", "acknowledged"]);
    for (index, part) in [(1, "topic: "), (2, "event: "), (4, "headers[0]: ")] {
        let detail = json["results"][index]["detail"].as_str().unwrap();
        assert!(detail.starts_with(part), "{detail}");
    }
    assert_eq!(count(&cluster, "t"), 2);
    for (outcome, records) in [("acknowledged", 2), ("invalid", 3), ("too_large", 1)] {
        let name = format!(r#"kafka_bridge_records_total{{outcome="{outcome}"}}"#);
        assert_eq!(bridge.client.metric(&name).await, records, "{outcome}");
    }
}

#[tokio::test]
async fn large_records_pass_up_to_the_limit() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let body = event("big", 3 << 20);
    let answer = bridge.client.event("t", body.clone()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(read(&cluster, "t", 1)[0].value.as_deref(), Some(body.as_bytes()));
    let answer = bridge.client.event("t", event("bigger", 9 << 20)).await;
    assert_eq!(answer.assert_problem(413, "too-large")["event_id"], "bigger");
}
