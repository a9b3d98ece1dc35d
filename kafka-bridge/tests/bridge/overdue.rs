//! Records that Kafka acknowledges only after their callers have been told that nobody knows.

use std::time::{Duration, Instant};

use crate::common::{Answer, Bridge, brokers, cluster, count, event, until};

/// How long the bridge waits, and how long Kafka takes.
const TIMEOUT: &str = "500ms";
const LATE: Duration = Duration::from_millis(2_500);

const REMEMBERS: [&str; 4] = ["--idempotency-entries", "1000", "--delivery-timeout", TIMEOUT];

fn late(outcome: &str) -> String {
    format!(r#"kafka_bridge_late_records_total{{outcome="{outcome}"}}"#)
}

fn replayed(answer: &Answer) -> bool {
    answer.status == 202 && answer.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn the_caller_is_told_in_time_and_a_retry_is_a_replay() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &REMEMBERS).await;
    assert_eq!(bridge.client.event("t", event("before", 10)).await.status, 202);
    cluster.broker_round_trip_time(1, LATE).unwrap();
    let started = Instant::now();
    bridge.client.event("t", event("late", 10)).await.assert_problem(504, "outcome-unknown");
    assert!(started.elapsed() < Duration::from_millis(1_100), "{:?}", started.elapsed());
    // While nobody knows, nobody writes it again.
    bridge.client.event("t", event("late", 10)).await.assert_problem(504, "outcome-unknown");
    until(async || replayed(&bridge.client.event("t", event("late", 10)).await)).await;
    assert!(started.elapsed() >= LATE, "Kafka cannot have said so yet");
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(count(&cluster, "t"), 2);
    // Counted once, and what came of it besides.
    assert_eq!(bridge.client.metric(r#"kafka_bridge_records_total{outcome="acknowledged"}"#).await, 1);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_records_total{outcome="unknown"}"#).await, 1);
    assert_eq!(bridge.client.metric(&late("acknowledged")).await, 1);
    assert!(bridge.stop().await.is_none());
}

#[tokio::test]
async fn a_late_acknowledgement_closes_the_breaker() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &REMEMBERS).await;
    assert_eq!(bridge.client.event("t", event("before", 10)).await.status, 202);
    cluster.broker_round_trip_time(1, LATE).unwrap();
    bridge.client.event("t", event("late", 10)).await.assert_problem(504, "outcome-unknown");
    bridge.client.event("t", event("next", 10)).await.assert_problem(503, "unavailable");
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    until(async || bridge.client.metric(&late("acknowledged")).await == 1).await;
    assert_eq!(bridge.client.event("t", event("next", 10)).await.status, 202);
}

/// One partition is slow, and the other goes on, so that no breaker opens.
#[tokio::test]
async fn what_is_overdue_takes_half_of_the_queue_and_then_costs_its_own_topic_alone() {
    const LIMIT: usize = 10;
    let cluster = brokers(2);
    cluster.create_topic("slow", 2, 1).unwrap();
    cluster.create_topic("good", 1, 1).unwrap();
    for (topic, partition, leader) in [("slow", 0, 1), ("slow", 1, 2), ("good", 0, 2)] {
        cluster.partition_leader(topic, partition, Some(leader)).unwrap();
    }
    let bridge = Bridge::ready(&cluster, &["--delivery-timeout", TIMEOUT, "--queue-records", "20"]).await;
    let to = |topic: &str, partition: i32, count: usize| {
        let records: Vec<String> = (0..count)
            .map(|id| {
                let event = event(&id.to_string(), 10);
                format!(r#"{{"topic":"{topic}","partition":{partition},"event":{event}}}"#)
            })
            .collect();
        let (client, body) = (bridge.client.clone(), format!(r#"{{"records":[{}]}}"#, records.join(",")));
        async move { client.records(body).await.status.as_u16() }
    };
    for (topic, partition) in [("slow", 0), ("slow", 1), ("good", 0)] {
        assert_eq!(to(topic, partition, 1).await, 202, "{topic} {partition}");
    }
    cluster.broker_round_trip_time(1, Duration::from_secs(4)).unwrap();
    let slow = tokio::spawn(to("slow", 0, LIMIT));
    // Less than is needed to be refused.
    for _ in 0..3 {
        assert_eq!(to("slow", 1, 1).await, 202);
    }
    assert_eq!(slow.await.unwrap(), 504);
    assert_eq!(to("slow", 1, 1).await, 503, "there is no end to what may be overdue");
    assert_eq!(to("good", 0, 1).await, 202, "others have nothing to do with it");
    until(async || bridge.client.metric(&late("acknowledged")).await == LIMIT as u64).await;
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(to("slow", 1, 1).await, 202);
    assert_eq!(count(&cluster, "slow"), 1 + LIMIT + 1 + 3 + 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_what_is_overdue() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &REMEMBERS).await;
    assert_eq!(bridge.client.event("t", event("before", 10)).await.status, 202);
    cluster.broker_round_trip_time(1, Duration::from_secs(60)).unwrap();
    bridge.client.event("t", event("late", 10)).await.assert_problem(504, "outcome-unknown");
    let started = Instant::now();
    assert!(bridge.stop().await.is_none(), "its caller has been told");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
