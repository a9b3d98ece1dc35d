//! What the bridge says when Kafka does not do as it should. Nothing here may ever be a 2xx for a record that Kafka
//! does not have.

use std::time::{Duration, Instant};

use crate::common::{Bridge, cluster, count, event};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[tokio::test]
async fn what_kafka_refuses_is_told_apart_and_not_retried() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    for (error, status, kind, outcome) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 413, "too-large", "too_large"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, 413, "too-large", "too_large"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION, 502, "refused", "refused"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD, 502, "refused", "refused"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 502, "refused", "refused"),
    ] {
        // A topic for each, since librdkafka remembers that it may not write one.
        let topic = format!("t-{}", error as i32);
        let produce = |id: &'static str| bridge.client.event(&topic, event(id, 10));
        assert_eq!(produce("before").await.status, 202);
        // Once for the batch that it is in, and once for it alone.
        cluster.request_errors(RDKafkaApiKey::Produce, &[error, error]);
        let answer = produce("bad").await;
        let problem = answer.assert_problem(status, kind);
        assert_eq!(problem["event_id"], "bad");
        let text = problem.to_string().to_lowercase();
        assert!(
            !text.contains("127.0.0.1") && !text.contains("librdkafka") && !text.contains("broker:"),
            "{text}"
        );

        let hop = format!(r#"{{"records":[{{"topic":"{topic}","event":{}}}]}}"#, event("bad", 10));
        cluster.request_errors(RDKafkaApiKey::Produce, &[error, error]);
        let answer = bridge.client.records(hop).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["results"][0]["outcome"], outcome);
        cluster.clear_request_errors(RDKafkaApiKey::Produce);
        assert_eq!(count(&cluster, &topic), 1);
    }
}

#[tokio::test]
async fn what_a_retry_mends_is_retried() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    assert_eq!(bridge.client.event("t", event("1", 10)).await.status, 202);
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ],
    );
    assert_eq!(bridge.client.event("t", event("2", 10)).await.status, 202);
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_refused_within_the_delivery_timeout() {
    let cluster = cluster();
    cluster.topic_error("gone", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let bridge = Bridge::ready(&cluster, &["--delivery-timeout", "3s"]).await;
    let started = Instant::now();
    bridge.client.event("gone", event("1", 10)).await.assert_problem(502, "refused");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_full_queue_is_told_at_once_and_empties_again() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--queue-records", "10"]).await;
    assert_eq!(bridge.client.event("t", event("first", 10)).await.status, 202);
    cluster.broker_round_trip_time(1, Duration::from_secs(1)).unwrap();
    let record = format!(r#"{{"topic":"t","event":{}}}"#, event("1", 10));
    let body = format!(r#"{{"records":[{}]}}"#, vec![record; 15].join(","));
    let filling = tokio::spawn({
        let client = bridge.client.clone();
        let body = body.clone();
        async move { client.records(body).await }
    });
    let queued = r#"kafka_bridge_records_total{outcome="unavailable"}"#;
    let started = Instant::now();
    while bridge.client.metric(queued).await < 5 {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    let answer = bridge.client.records(body).await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let answer = bridge.client.event("t", event("1", 10)).await;
    answer.assert_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));

    // The call that filled the queue: ten records acknowledged, five not taken, and the first are the first.
    let answer = filling.await.unwrap();
    assert_eq!(answer.status, 207);
    let json = answer.json();
    let outcomes: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["outcome"].as_str().unwrap())
        .collect();
    assert!(outcomes[..10].iter().all(|outcome| *outcome == "acknowledged"), "{outcomes:?}");
    assert!(outcomes[10..].iter().all(|outcome| *outcome == "unavailable"), "{outcomes:?}");
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(bridge.client.event("t", event("last", 10)).await.status, 202);
    assert_eq!(count(&cluster, "t"), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_nothing_is_acknowledged_and_everything_is_answered_in_time() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--delivery-timeout", "1s"]).await;
    let client = bridge.client.clone();
    assert_eq!(client.event("t", event("before", 10)).await.status, 202);

    cluster.broker_down(1);
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let started = Instant::now();
                (client.event("t", event(&format!("down-{n}"), 10)).await, started.elapsed())
            })
        })
        .collect();
    let noticed = client.until_ready(false, Duration::from_secs(2)).await;
    let mut unknown = 0;
    for call in calls {
        let (answer, took) = call.await.unwrap();
        assert!(took < Duration::from_millis(1_900), "{took:?}");
        if answer.status == 504 {
            unknown += 1;
            answer.assert_problem(504, "outcome-unknown");
        } else {
            answer.assert_problem(503, "unavailable");
        }
    }
    // Once it is known that there is no broker, nobody waits for one.
    let down = Instant::now();
    loop {
        let started = Instant::now();
        let answer = client.event("t", event("down", 10)).await;
        if answer.status == 503 {
            assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
            assert_eq!(answer.header("retry-after"), Some("1"));
            break;
        }
        answer.assert_problem(504, "outcome-unknown");
        unknown += 1;
        assert!(
            down.elapsed() < Duration::from_secs(5),
            "callers still wait for a broker that is known to be down"
        );
    }
    assert_eq!(client.get("/livez").await.status, 200);

    cluster.broker_up(1);
    let back = client.until_ready(true, Duration::from_secs(5)).await;
    assert_eq!(client.event("t", event("after", 10)).await.status, 202);
    println!("not ready after {noticed:?}, ready again after {back:?}");
    let stored = count(&cluster, "t");
    assert!((2..=2 + unknown).contains(&stored), "{stored} records, {unknown} of unknown outcome");
}

#[tokio::test]
async fn it_is_not_ready_before_there_is_a_cluster() {
    // A port that nobody listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = listener.local_addr().unwrap().to_string();
    drop(listener);
    let bridge = Bridge::start(&nowhere, &["--delivery-timeout", "500ms", "--shutdown-timeout", "2s"]).await;
    let answer = bridge.client.get("/readyz").await;
    answer.assert_problem(503, "unavailable");
    assert_eq!(bridge.client.get("/livez").await.status, 200);
    let started = Instant::now();
    let answer = bridge.client.event("t", event("1", 10)).await;
    assert!(answer.status == 503 || answer.status == 504, "{answer:?}");
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_caller_that_leaves_is_counted_with_what_became_of_its_record() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    assert_eq!(bridge.client.event("t", event("first", 10)).await.status, 202);
    cluster.broker_round_trip_time(1, Duration::from_millis(500)).unwrap();
    let body = event("left", 10);
    let mut stream = TcpStream::connect(bridge.client.address).await.unwrap();
    let head = format!(
        "POST /v1/topics/t/events HTTP/1.1\r\nhost: x\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{body}",
        crate::common::EVENT,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let handed_over = "kafka_bridge_record_values_bytes_total";
    let started = Instant::now();
    while bridge.client.metric(handed_over).await
        < u64::try_from(event("first", 10).len() + body.len()).unwrap()
    {
        assert!(started.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let abandoned = r#"kafka_bridge_ack_latency_seconds_count{outcome="abandoned"}"#;
    while bridge.client.metric(abandoned).await < 1 {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "the record of a caller that left is not counted"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bridge.client.metric(r#"kafka_bridge_records_total{outcome="acknowledged"}"#).await, 2);
}

#[tokio::test]
async fn a_producer_that_failed_for_good_is_replaced() {
    let cluster = cluster();
    cluster.request_errors(
        RDKafkaApiKey::InitProducerId,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    let bridge = Bridge::ready(&cluster, &[]).await;
    assert_eq!(bridge.client.metric("kafka_bridge_producer_rebuilds_total").await, 1);
    assert_eq!(bridge.client.event("t", event("1", 10)).await.status, 202);
    assert!(bridge.stop().await.is_none());
}
