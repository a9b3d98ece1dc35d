//! How far a record gets before it is acknowledged: what is asked for, and what is told.

use std::time::Duration;

use crate::common::{Answer, Bridge, EVENT, cluster, count, event, read, until};
use serde_json::json;

const PATH: &str = "/v1/topics/t/events";
const ACKNOWLEDGED: &str = r#"kafka_bridge_records_total{outcome="acknowledged"}"#;

async fn ask(bridge: &Bridge, ack: &str, id: &str) -> Answer {
    bridge.client.send("POST", &format!("{PATH}?ack={ack}"), &[("content-type", EVENT)], event(id, 1)).await
}

#[tokio::test]
async fn what_the_bridge_cannot_do_is_refused_and_nothing_is_written() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let json = &[("content-type", EVENT)];
    for (query, status, kind) in [
        ("?ack=spooled", 502, "refused"),
        ("?ack=most", 400, "bad-request"),
        ("?ack=", 400, "bad-request"),
        ("?ack=none&ack=all", 400, "bad-request"),
    ] {
        let answer = bridge.client.send("POST", &format!("{PATH}{query}"), json, event("1", 1)).await;
        answer.assert_problem(status, kind);
    }
    for (rest, status, outcome) in [
        (r#","ack":"spooled""#, 502, "refused"),
        (r#","cluster":"elsewhere""#, 502, "refused"),
        (r#","cluster":"no name""#, 400, "invalid"),
    ] {
        let record = format!(r#"{{"records":[{{"topic":"t"{rest},"event":{}}}]}}"#, event("1", 1));
        let answer = bridge.client.records(record).await;
        assert_eq!(answer.status, status, "{rest}: {answer:?}");
        assert_eq!(answer.json()["results"][0]["outcome"], outcome, "{rest}");
    }
    // The first that is written.
    let answer = bridge.client.send("POST", &format!("{PATH}?ack=all&x=1"), json, event("2", 1)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["offset"]), (202, &0.into()), "{answer:?}");
    assert_eq!(read(&cluster, "t", 1).len(), 1);
}

#[tokio::test]
async fn a_leader_tells_where_a_record_is_and_who_has_it() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    for (id, offset) in [("1", 0), ("2", 1)] {
        let answer = ask(&bridge, "leader", id).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let receipt = answer.json();
        assert_eq!(
            (&receipt["ack"], &receipt["offset"], &receipt["partition"]),
            (&"leader".into(), &offset.into(), &0.into())
        );
        assert!(receipt["timestamp"].is_string(), "{receipt}");
    }
    assert_eq!(read(&cluster, "t", 2).len(), 2);
    assert_eq!(bridge.client.metric(ACKNOWLEDGED).await, 2);
    assert!(bridge.stop().await.is_none());
}

#[tokio::test]
async fn a_stop_waits_for_records_that_only_leaders_acknowledge() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--shutdown-timeout", "300ms"]).await;
    assert_eq!(ask(&bridge, "leader", "1").await.status, 202);
    cluster.broker_round_trip_time(1, Duration::from_secs(30)).unwrap();
    let client = bridge.client.clone();
    let call = tokio::spawn(async move {
        client
            .try_send("POST", "/v1/topics/t/events?ack=leader", &[("content-type", EVENT)], event("2", 1))
            .await
    });
    let both = u64::try_from(event("1", 1).len() * 2).unwrap();
    until(async || bridge.client.metric("kafka_bridge_record_values_bytes_total").await == both).await;
    assert_eq!(bridge.stop().await.records, 1);
    drop(call.await.unwrap());
}

#[tokio::test]
async fn who_asks_for_nothing_does_not_wait_for_kafka_and_is_told_no_place() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &["--queue-records", "2", "--idempotency-entries", "10"]).await;
    cluster.broker_round_trip_time(1, Duration::from_secs(2)).unwrap();
    let nothing = |id: &str| json!({"id": id, "topic": "t", "ack": "none"});
    for id in ["1", "2"] {
        let answer = ask(&bridge, "none", id).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (202, nothing(id)));
    }
    // It has come before, and is under way.
    let answer = ask(&bridge, "none", "1").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, nothing("1")));
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    // None of this has waited for Kafka, whose answer takes longer, and the queue is full.
    assert_eq!(bridge.client.metric(ACKNOWLEDGED).await, 0);
    ask(&bridge, "none", "3").await.assert_problem(503, "unavailable");

    until(async || bridge.client.metric(ACKNOWLEDGED).await == 2).await;
    assert_eq!(
        bridge.client.metric(r#"kafka_bridge_ack_latency_seconds_count{outcome="abandoned"}"#).await,
        0
    );
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    // By now it is known where it is, and all replicas have it.
    let receipt = ask(&bridge, "none", "1").await.json();
    assert_eq!((&receipt["ack"], &receipt["offset"]), (&"all".into(), &0.into()), "{receipt}");
    assert_eq!(read(&cluster, "t", 2).len(), 2);
}

#[tokio::test]
async fn what_cannot_be_written_anyway_is_not_acknowledged_even_so() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    cluster.broker_down(1);
    bridge.client.until_ready(false, Duration::from_secs(10)).await;
    until(async || bridge.client.metric("kafka_bridge_breaker_cluster_open").await == 1).await;
    for ack in ["none", "leader"] {
        ask(&bridge, ack, "1").await.assert_problem(503, "unavailable");
    }
}

/// Copies of an event come at the same time, and no queue takes any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_of_what_is_turned_away_is_not_acknowledged_either() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--idempotency-entries", "10000"]).await;
    cluster.broker_down(1);
    bridge.client.until_ready(false, Duration::from_secs(10)).await;
    let mut asked = 0;
    // One that comes again while it is in the queue is answered by that.
    until(async || {
        asked += 1;
        ask(&bridge, "none", &format!("down-{asked}")).await.status == 503
    })
    .await;
    for round in 0..20 {
        let record =
            |id| format!(r#"{{"topic":"t","ack":"none","event":{}}}"#, event(&format!("{round}-{id}"), 1));
        let records = (0..500).map(record).collect::<Vec<_>>().join(",");
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (client, body) = (bridge.client.clone(), format!(r#"{{"records":[{records}]}}"#));
                tokio::spawn(async move { client.records(body).await })
            })
            .collect();
        for call in calls {
            let answer = call.await.unwrap();
            let body = answer.json();
            let results = body["results"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
            assert_eq!(results.len(), 500);
            for result in results {
                assert_eq!(result["outcome"], "unavailable", "{result}");
            }
        }
    }
}

#[tokio::test]
async fn a_receipt_for_less_is_not_given_to_who_asks_for_more() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--idempotency-entries", "10"]).await;
    assert_eq!(ask(&bridge, "leader", "1").await.status, 202);
    ask(&bridge, "all", "1").await.assert_problem(504, "outcome-unknown");
    let answer = ask(&bridge, "leader", "1").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["ack"]), (202, &"leader".into()));
    assert_eq!(ask(&bridge, "all", "2").await.status, 202);
    let answer = ask(&bridge, "leader", "2").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["ack"]), (202, &"all".into()));
    assert_eq!(count(&cluster, "t"), 2);
}
