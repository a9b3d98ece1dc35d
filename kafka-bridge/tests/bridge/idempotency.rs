//! Events that come more than once.

use std::time::{Duration, Instant};

use crate::common::{Answer, Bridge, Cluster, cluster, count, event};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::Value;

async fn remembering(cluster: &Cluster, more: &[&str]) -> Bridge {
    let flags: Vec<&str> = ["--idempotency-entries", "1000"].iter().chain(more).copied().collect();
    Bridge::ready(cluster, &flags).await
}

fn replayed(answer: &Answer) -> bool {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("idempotency-replayed").map(|value| assert_eq!(value, "true")).is_some()
}

async fn results(bridge: &Bridge, status: u16, records: &[String]) -> Vec<Value> {
    let answer = bridge.client.records(format!(r#"{{"records":[{}]}}"#, records.join(","))).await;
    assert_eq!(answer.status, status, "{answer:?}");
    answer.json()["results"].as_array().unwrap().clone()
}

const REPLAYS: &str = "kafka_bridge_idempotency_replays_total";
const CONFLICTS: &str = "kafka_bridge_idempotency_conflicts_total";
const ENTRIES: &str = "kafka_bridge_idempotency_entries";

#[tokio::test]
async fn an_event_that_comes_again_gets_its_first_receipt() {
    let cluster = cluster();
    let bridge = remembering(&cluster, &[]).await;
    let first = bridge.client.event("t", event("1", 10)).await;
    assert!(!replayed(&first));
    for _ in 0..2 {
        let again = bridge.client.event("t", event("1", 10)).await;
        assert!(replayed(&again));
        assert_eq!(again.body, first.body);
    }
    let other = bridge.client.event("t", event("1", 11)).await;
    assert_eq!(other.assert_problem(422, "idempotency-conflict")["event_id"], "1");
    // Another topic, another event.
    assert!(!replayed(&bridge.client.event("u", event("1", 11)).await));
    assert_eq!((count(&cluster, "t"), count(&cluster, "u")), (1, 1));
    for (metric, value) in [(REPLAYS, 2), (CONFLICTS, 1), (ENTRIES, 2)] {
        assert_eq!(bridge.client.metric(metric).await, value, "{metric}");
    }
    assert_eq!(bridge.client.metric(r#"kafka_bridge_records_total{outcome="acknowledged"}"#).await, 2);
}

#[tokio::test]
async fn what_a_gateway_adds_makes_no_other_event_of_it() {
    let cluster = cluster();
    let bridge = remembering(&cluster, &[]).await;
    let record = |caller: &str, request: u32, key: &str, rest: &str| {
        format!(
            r#"{{"topic":"t","key":"{key}","headers":[["x-request-id","{request}"]],"timestamp":{request},"mode":"binary","event":
            {{"specversion":"1.0","id":"1","source":"/gw","type":"order","time":"2026-01-01T00:00:0{request}Z"{caller},
            "wgclientip":"192.0.2.{request}","wgrequestid":"r{request}","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333{request}-01"{rest}}}}}"#
        )
    };
    let (alice, bob) = (r#","authid":"alice""#, r#","authid":"bob""#);
    let data = r#","data":{"n":1}"#;
    let [first] = results(&bridge, 202, &[record(alice, 1, "k", data)]).await.try_into().unwrap();
    assert_eq!((&first["outcome"], first.get("replayed")), (&"acknowledged".into(), None));
    let [again] = results(&bridge, 202, &[record(alice, 2, "k", data)]).await.try_into().unwrap();
    assert_eq!((&again["receipt"], &again["replayed"]), (&first["receipt"], &true.into()));
    // The id of somebody else is not hers.
    for caller in [bob, ""] {
        let [others] = results(&bridge, 202, &[record(caller, 3, "k", data)]).await.try_into().unwrap();
        assert_eq!(others.get("replayed"), None, "{caller}");
    }
    for (key, rest) in [
        ("k2", data),
        ("k", r#","data":{"n":2}"#),
        ("k", ""),
        ("k", r#","data_base64":"AAAA""#),
        ("k", r#","data":{"n":1},"subject":"s""#),
        ("k", r#","data":{"n":1},"datacontenttype":"text/json""#),
    ] {
        let [other] = results(&bridge, 422, &[record(alice, 4, key, rest)]).await.try_into().unwrap();
        assert_eq!(other["outcome"], "conflict", "{key} {rest}");
    }
    assert_eq!(count(&cluster, "t"), 3);
}

#[tokio::test]
async fn of_those_that_come_at_once_one_is_written() {
    let cluster = cluster();
    let bridge = remembering(&cluster, &[]).await;
    assert!(!replayed(&bridge.client.event("t", event("0", 1)).await));
    cluster.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = bridge.client.clone();
            tokio::spawn(async move { client.event("t", event("1", 10)).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(count(&cluster, "t"), 2);
    assert_eq!(bridge.client.metric(REPLAYS).await, 19);
}

#[tokio::test]
async fn in_a_batch_too() {
    let cluster = cluster();
    let bridge = remembering(&cluster, &[]).await;
    let record = |id, size| format!(r#"{{"topic":"t","event":{}}}"#, event(id, size));
    let records = [record("1", 10), record("2", 10), record("1", 10), record("2", 11)];
    let results = results(&bridge, 207, &records).await;
    let outcomes: Vec<_> = results.iter().map(|result| result["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["acknowledged", "acknowledged", "acknowledged", "conflict"]);
    assert_eq!(
        (&results[2]["receipt"], &results[2]["replayed"]),
        (&results[0]["receipt"], &true.into()),
        "{results:?}"
    );
    assert_eq!((results[0].get("replayed"), results[1].get("replayed")), (None, None));
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn what_failed_may_be_tried_again() {
    let cluster = cluster();
    let bridge = remembering(&cluster, &[]).await;
    assert!(!replayed(&bridge.client.event("t", event("0", 1)).await));
    // Once for the batch that it is in, and once for it alone.
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION; 2]);
    bridge.client.event("t", event("1", 10)).await.assert_problem(502, "refused");
    assert_eq!(bridge.client.metric(ENTRIES).await, 1);
    assert!(!replayed(&bridge.client.event("t", event("1", 10)).await));
    assert!(replayed(&bridge.client.event("t", event("1", 10)).await));
    // Nobody learns from a replay that Kafka is there, and it takes no Kafka.
    cluster.broker_down(1);
    assert!(replayed(&bridge.client.event("t", event("1", 10)).await));
    bridge.client.until_ready(false, Duration::from_secs(10)).await;
    assert!(replayed(&bridge.client.event("t", event("1", 10)).await));
    cluster.broker_up(1);
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn whoever_went_away_gets_the_receipt_on_return() {
    let cluster = cluster();
    let bridge = remembering(&cluster, &[]).await;
    assert!(!replayed(&bridge.client.event("t", event("0", 1)).await));
    cluster.broker_round_trip_time(1, Duration::from_secs(1)).unwrap();
    let gone = tokio::spawn({
        let client = bridge.client.clone();
        async move { client.event("t", event("1", 10)).await }
    });
    let started = Instant::now();
    while bridge.client.metric(ENTRIES).await < 2 {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gone.abort();
    assert!(gone.await.is_err());
    assert!(replayed(&bridge.client.event("t", event("1", 10)).await));
    assert!(replayed(&bridge.client.event("t", event("1", 10)).await));
    // Counting takes several round trips.
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn the_memory_is_bounded_in_number_and_in_time_and_can_be_off() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--idempotency-entries", "2"]).await;
    for id in ["1", "2", "3"] {
        assert!(!replayed(&bridge.client.event("t", event(id, 1)).await));
    }
    assert_eq!(bridge.client.metric(ENTRIES).await, 2);
    for (id, known) in [("3", true), ("2", true), ("1", false)] {
        assert_eq!(replayed(&bridge.client.event("t", event(id, 1)).await), known, "{id}");
    }
    let short = remembering(&cluster, &["--idempotency-window", "1ms"]).await;
    let off = Bridge::ready(&cluster, &["--idempotency-entries", "0"]).await;
    for bridge in [short, off] {
        for _ in 0..2 {
            assert!(!replayed(&bridge.client.event("u", event("1", 1)).await));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!((count(&cluster, "t"), count(&cluster, "u")), (4, 4));
}
