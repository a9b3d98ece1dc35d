//! While Kafka is known not to take records: they are answered at once, nothing is handed over, and the bridge finds
//! out by itself when that is over.

use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::common::{Bridge, Client, Cluster, brokers, cluster, count, event};

const STALL: &[&str] = &["--breaker-stall", "500ms", "--delivery-timeout", "3s"];
const REJECTED: &str = "kafka_bridge_breaker_rejected_records_total";
const HANDED_OVER: &str = "kafka_bridge_record_values_bytes_total";
/// For what takes a moment; a machine under load takes several.
const SOON: Duration = Duration::from_secs(10);

fn openings(reason: &str) -> String {
    format!(r#"kafka_bridge_breaker_openings_total{{reason="{reason}"}}"#)
}

/// Topics with one partition each.
fn create(cluster: &Cluster, topics: &[&str]) {
    for topic in topics {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
}

/// Waits until a metric has at least this value.
async fn until_metric(client: &Client, name: &str, least: u64) {
    let started = Instant::now();
    while client.metric(name).await < least {
        assert!(started.elapsed() < SOON, "{name} is not {least}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends events until one is answered with this status; returns how many it took.
async fn until_status(client: &Client, topic: &str, status: u16) -> usize {
    let started = Instant::now();
    for sent in 1.. {
        let answer = client.event(topic, event(&format!("{topic}-{sent}"), 10)).await;
        if answer.status == status {
            return sent;
        }
        assert!(started.elapsed() < SOON, "no {status}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_come_after_a_stall_are_not_kept_waiting_and_are_not_handed_over() {
    let cluster = cluster();
    create(&cluster, &["t"]);
    let bridge = Bridge::ready(&cluster, STALL).await;
    let client = &bridge.client;
    assert_eq!(client.event("t", event("before", 10)).await.status, 202);

    // It takes everything, and answers late.
    cluster.broker_round_trip_time(1, Duration::from_secs(2)).unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.event("t", event("waits", 10)).await }
    });
    until_metric(client, &openings("stalled"), 1).await;
    let handed_over = client.metric(HANDED_OVER).await;
    let started = Instant::now();
    let answer = client.event("t", event("rejected", 10)).await;
    let took = started.elapsed();
    answer.assert_problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|s| s >= 1)));
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(client.metric(REJECTED).await, 1);
    assert_eq!(client.metric(HANDED_OVER).await, handed_over);
    let problem = client.get("/readyz").await.assert_problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().starts_with("Kafka does not "), "{problem}");
    assert_eq!(client.get("/livez").await.status, 200);

    // The answer to what was waiting closes it, with nothing else sent.
    assert_eq!(waiting.await.unwrap().status, 202);
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    client.until_ready(true, SOON).await;
    assert_eq!(client.event("t", event("after", 10)).await.status, 202);
    assert_eq!(count(&cluster, "t"), 3, "what was rejected was not written");
    assert_eq!(client.metric("kafka_bridge_breaker_topics_open").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_broker_is_down_is_tried_with_one_record_at_a_time_and_harms_no_other() {
    let cluster = brokers(2);
    create(&cluster, &["good", "bad"]);
    cluster.partition_leader("good", 0, Some(1)).unwrap();
    cluster.partition_leader("bad", 0, Some(2)).unwrap();
    let bridge = Bridge::ready(&cluster, &["--breaker-stall", "300ms", "--delivery-timeout", "1s"]).await;
    let client = &bridge.client;
    for topic in ["good", "bad"] {
        assert_eq!(client.event(topic, event("before", 10)).await.status, 202);
    }
    cluster.broker_down(2);
    // The first waits in vain, and others are rejected.
    client.event("bad", event("first", 10)).await.assert_problem(504, "outcome-unknown");
    until_metric(client, &openings("stalled"), 1).await;
    assert_eq!(client.event("good", event("meanwhile", 10)).await.status, 202);
    assert_eq!(client.metric("kafka_bridge_breaker_topics_open").await, 1);
    assert_eq!(client.metric("kafka_bridge_breaker_cluster_open").await, 0);

    // Many at once, until one of them is let through.
    let before = client.metric(HANDED_OVER).await;
    let bytes = u64::try_from(event("x", 10).len()).unwrap();
    let started = Instant::now();
    while client.metric(HANDED_OVER).await == before {
        assert!(started.elapsed() < SOON, "none is let through");
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.event("bad", event("x", 10)).await.status })
            })
            .collect();
        let mut unknown = 0;
        for call in calls {
            let status = call.await.unwrap();
            assert!(status == 503 || status == 504, "{status}");
            unknown += usize::from(status == 504);
        }
        assert!(unknown <= 1, "{unknown} were let through at once");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.metric(HANDED_OVER).await, before + bytes);
    assert_eq!(client.event("good", event("still", 10)).await.status, 202);

    cluster.partition_leader("bad", 0, Some(1)).unwrap();
    until_status(client, "bad", 202).await;
    assert_eq!(client.event("bad", event("next", 10)).await.status, 202);
    client.until_ready(true, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_does_not_stop_the_partitions_of_others() {
    let cluster = brokers(2);
    cluster.create_topic("t", 2, 1).unwrap();
    for (partition, broker) in [(0, 1), (1, 2)] {
        cluster.partition_leader("t", partition, Some(broker)).unwrap();
    }
    let bridge = Bridge::ready(&cluster, STALL).await;
    let client = &bridge.client;
    let send = async |partition: i32| {
        let event = event("1", 10);
        let body = format!(r#"{{"records":[{{"topic":"t","partition":{partition},"event":{event}}}]}}"#);
        client.records(body).await.status
    };
    for partition in [0, 1] {
        assert_eq!(send(partition).await, 202);
    }
    cluster.broker_down(2);
    let started = Instant::now();
    let (stuck, going) = tokio::join!(send(1), async {
        // For longer than a stall.
        while started.elapsed() < Duration::from_millis(1_500) {
            assert_eq!(send(0).await, 202);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(client.get("/readyz").await.status, 200);
    });
    assert_eq!((stuck.as_u16(), going), (504, ()));
    assert_eq!(client.metric(REJECTED).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_open_it_and_one_success_closes_it() {
    let cluster = cluster();
    create(&cluster, &["t"]);
    // With as few repetitions as an idempotent producer may have, records fail long before the delivery timeout.
    let bridge =
        Bridge::ready(&cluster, &["--librdkafka", "retries=1", "--librdkafka", "retry.backoff.ms=1"]).await;
    let client = &bridge.client;
    assert_eq!(client.event("t", event("before", 10)).await.status, 202);
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 400],
    );
    let sent = until_status(client, "t", 503).await;
    assert!(sent > 10, "{sent}");
    assert_eq!(client.metric(&openings("failing")).await, 1);
    assert_eq!(client.metric(&openings("stalled")).await, 0);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    until_status(client, "t", 202).await;
    assert_eq!(client.event("t", event("after", 10)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_bridge_notices_and_recovers_without_a_record() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, STALL).await;
    let client = &bridge.client;
    cluster.broker_round_trip_time(1, Duration::from_secs(20)).unwrap();
    client.until_ready(false, SOON).await;
    let started = Instant::now();
    client.event("t", event("1", 10)).await.assert_problem(503, "unavailable");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(client.metric(&openings("unanswered")).await, 1);
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    // Connections with answers that are still held back are given up.
    cluster.broker_down(1);
    cluster.broker_up(1);
    client.until_ready(true, SOON).await;
    assert_eq!(client.event("t", event("2", 10)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_it_took_to_connect_does_not_keep_it_from_noticing() {
    let cluster = cluster();
    create(&cluster, &["t"]);
    cluster.broker_down(1);
    let bridge = Bridge::start(&cluster.bootstrap_servers(), STALL).await;
    let client = &bridge.client;
    // The first answer comes after this.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.broker_up(1);
    client.until_ready(true, SOON).await;
    // Several questions, so that it is not the second which notices.
    for id in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(client.event("t", event(&id.to_string(), 10)).await.status, 202);
    }
    let before = client.metric(&openings("unanswered")).await;
    cluster.broker_round_trip_time(1, Duration::from_secs(20)).unwrap();
    client.until_ready(false, SOON).await;
    assert_eq!(client.metric(&openings("unanswered")).await, before + 1);
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_cannot_be_connected_to_are_not_waited_for() {
    // Nothing listens here once they are dropped.
    let closed: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let servers: Vec<_> = closed.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    drop(closed);
    let started = Instant::now();
    let bridge = Bridge::start(&servers.join(","), &[]).await;
    until_metric(&bridge.client, &openings("unanswered"), 1).await;
    let noticed = started.elapsed();
    // A question has up to ten.
    assert!(noticed < Duration::from_secs(6), "{noticed:?}");
    let started = Instant::now();
    bridge.client.event("t", event("1", 10)).await.assert_problem(503, "unavailable");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_whether_kafka_answers_brings_no_topic_back() {
    let cluster = cluster();
    create(&cluster, &["gone"]);
    let bridge = Bridge::ready(&cluster, &[]).await;
    let client = &bridge.client;
    assert_eq!(client.event("gone", event("1", 10)).await.status, 202);
    cluster.topic_error("gone", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    // Several probes, and none is a reason not to be ready.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        assert_eq!(client.get("/readyz").await.status, 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_far_away_is_not_taken_for_one_that_does_not_answer() {
    let cluster = cluster();
    create(&cluster, &["t"]);
    // Longer than a broker nearby has for an answer.
    cluster.broker_round_trip_time(1, Duration::from_millis(1_500)).unwrap();
    let flags = &["--breaker-stall", "10s", "--delivery-timeout", "25s"];
    let bridge = Bridge::start(&cluster.bootstrap_servers(), flags).await;
    let client = &bridge.client;
    client.until_ready(true, Duration::from_secs(30)).await;
    // Long enough for several questions, about all topics and about one.
    for round in 0..2 {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5) {
            let answer = client.get("/readyz").await;
            assert_eq!(answer.status, 200, "round {round}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(client.event("t", event("1", 10)).await.status, 202);
    }
    assert_eq!(client.metric(&openings("unanswered")).await, 0);
    assert_eq!(client.metric(REJECTED).await, 0);
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
}
