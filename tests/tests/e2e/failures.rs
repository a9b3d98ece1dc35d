//! When a part is missing, frozen or killed: no 2xx without a record, and no doubt hidden. Each test has a gateway
//! of its own to break.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::envoy::WORKERS;
use wicketgate_tests::gateway::{Gateway, KEY, document};
use wicketgate_tests::http_client::{Answer, Client, full};
use wicketgate_tests::kafka::{self, Kafka};
use wicketgate_tests::ports::free_port;
use wicketgate_tests::raw_http::Caller;
use wicketgate_tests::topic::{Record, Topic};
use wicketgate_tests::wait::until;

use crate::expect;

const LIMIT: Duration = Duration::from_secs(20);

async fn post(client: &Client, body: &str) -> Answer {
    let request = client.request(Method::POST, "/e2e/lane/1").header("x-api-key", KEY);
    client.send(request.header("content-type", "text/plain").body(full(body.to_owned())).unwrap()).await
}

fn document_for(topic: &Topic<'_>, timeout: &str) -> Value {
    document([("lane", topic.name())], timeout)
}

/// Enough connections of their own for every worker to have taken some, all answered 202.
async fn assert_all_workers_answer(gateway: &Gateway) {
    let before = gateway.envoy.connections_by_worker().await;
    let answered = until(LIMIT, || async {
        for _ in 0..8 {
            expect::accepted(&post(&gateway.http1(), "after").await);
        }
        let after = gateway.envoy.connections_by_worker().await;
        before.iter().zip(&after).all(|(before, after)| after > before).then_some(())
    });
    assert!(answered.await.is_ok(), "not every one of {WORKERS} workers took a connection");
    gateway.envoy.assert_unharmed();
}

fn with_body<'r>(records: &'r [Record], body: &str) -> Vec<&'r Record> {
    records.iter().filter(|record| record.event()["data"] == body).collect()
}

#[tokio::test]
async fn without_a_bridge_it_is_503_and_a_bridge_mends_it() {
    let topic = Topic::create(kafka::shared(), "no-bridge", 1).await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let gateway = Gateway::start_before_bridge(&document_for(&topic, "5s"), address).await;
    for client in [gateway.http1(), gateway.http2()] {
        for _ in 0..4 {
            let answer = post(&client, "lost").await;
            expect::problem(&answer, 503, "bridge-unavailable");
            assert!(
                answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0),
                "{answer:?}"
            );
        }
    }
    topic.assert_empty().await;
    assert!(gateway.upstream.seen().is_empty());

    let bridge = Bridge::launch_at(address, kafka::shared().bootstrap_servers(), &[]).await;
    bridge.wait_for_readiness(StatusCode::OK, LIMIT).await;
    assert_all_workers_answer(&gateway).await;
    assert!(with_body(&topic.records().await, "lost").is_empty());
}

/// `render` writes the cluster that a document names, so that only a configuration of one's own can lack it.
#[tokio::test]
async fn with_a_wrong_name_of_the_cluster_it_is_503_and_the_log_says_what_is_wrong() {
    let topic = Topic::create(kafka::shared(), "no-cluster", 1).await;
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &[]).await;
    let renamed = |configuration: String| {
        let renamed = configuration.replace("- name: kafka-bridge\n", "- name: kafka-bridge-2\n");
        assert_ne!(renamed, configuration);
        renamed.replace("cluster_name: kafka-bridge\n", "cluster_name: kafka-bridge-2\n")
    };
    let gateway = Gateway::start_altered(&document_for(&topic, "5s"), bridge.address(), &renamed).await;
    for client in [gateway.http1(), gateway.http2()] {
        for _ in 0..20 {
            expect::problem(&post(&client, "lost").await, 503, "bridge-unavailable");
        }
    }
    let log = gateway.envoy.process().log();
    let lines =
        log.matches("most likely because it has no cluster of that name; have bridge.upstream be").count();
    assert!((1..=WORKERS as usize).contains(&lines), "{lines} lines\n{}", gateway.log_tails());
    topic.assert_empty().await;
    gateway.envoy.assert_unharmed();
}

#[tokio::test]
async fn a_frozen_bridge_leaves_the_outcome_unknown_and_says_so_in_time() {
    let topic = Topic::create(kafka::shared(), "frozen-bridge", 1).await;
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &[]).await;
    let gateway = Gateway::start(&document_for(&topic, "1s"), bridge).await;
    let client = gateway.http1();
    expect::accepted(&post(&client, "before").await);

    gateway.bridge().process().freeze();
    let start = Instant::now();
    let answer = post(&client, "frozen").await;
    let waited = start.elapsed();
    gateway.bridge().process().thaw();
    let content = expect::problem(&answer, 504, "outcome-unknown");
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(4)).contains(&waited),
        "{waited:?}, and 1 s is configured"
    );

    assert_all_workers_answer(&gateway).await;
    let records = topic.records().await;
    let found = with_body(&records, "frozen");
    assert!(found.len() <= 1, "{found:?}");
    assert!(
        found.iter().all(|record| record.event()["id"] == content["event_id"]),
        "{found:?} for {content}"
    );
    assert!(content["event_id"].as_str().is_some_and(|id| !id.is_empty()), "{content}");
    assert!(gateway.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_bridge_killed_with_requests_in_flight_leaves_their_outcome_unknown() {
    const IN_FLIGHT: usize = 8;
    let topic = Topic::create(kafka::shared(), "killed-bridge", 1).await;
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &[]).await;
    let address = bridge.address();
    let gateway = Gateway::start(&document_for(&topic, "15s"), bridge).await;
    expect::accepted(&post(&gateway.http1(), "before").await);

    // Frozen, so that the requests are surely in flight when it is killed.
    gateway.bridge().process().freeze();
    let client = gateway.http2();
    let requests: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { post(&client, "killed").await })
        })
        .collect();
    let sent = until(LIMIT, || async {
        let stats = gateway.envoy.stats().await;
        // Requests that are ready together share a call, so there may be fewer calls than requests.
        let calls = stats["cluster.kafka-bridge.upstream_rq_active"];
        (stats["http.gateway.downstream_rq_active"] == IN_FLIGHT as u64 && calls > 0).then_some(())
    });
    assert!(sent.await.is_ok(), "the requests did not reach the bridge\n{}", gateway.log_tails());
    gateway.bridge().process().kill();
    for request in requests {
        let answer = request.await.unwrap();
        let content = expect::problem(&answer, 502, "outcome-unknown");
        assert!(content["event_id"].as_str().is_some_and(|id| !id.is_empty()), "{content}");
    }
    expect::problem(&post(&client, "down").await, 503, "bridge-unavailable");

    let bridge = Bridge::launch_at(address, kafka::shared().bootstrap_servers(), &[]).await;
    bridge.wait_for_readiness(StatusCode::OK, LIMIT).await;
    assert_all_workers_answer(&gateway).await;
    assert!(with_body(&topic.records().await, "down").is_empty());
}

#[tokio::test]
async fn a_bridge_that_never_had_a_kafka_promises_nothing() {
    let nowhere = format!("127.0.0.1:{}", free_port());
    let bridge = Bridge::launch(&nowhere, &["--delivery-timeout", "1s"]).await;
    bridge.wait_for_readiness(StatusCode::SERVICE_UNAVAILABLE, LIMIT).await;
    let gateway = Gateway::start(&document([("lane", "nowhere")], "5s"), bridge).await;
    for _ in 0..4 {
        let answer = post(&gateway.http1(), "x").await;
        let kind = if answer.status == 504 { "outcome-unknown" } else { "unavailable" };
        expect::problem(&answer, if answer.status == 504 { 504 } else { 503 }, kind);
    }
    gateway.bridge().wait_for_readiness(StatusCode::SERVICE_UNAVAILABLE, LIMIT).await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_refused() {
    // Ours, because a cluster may be set to create a topic that is asked for.
    let bridge = Bridge::start(kafka::ours().bootstrap_servers(), &[]).await;
    let gateway = Gateway::start(&document([("lane", "wicketgate-e2e-no-such-topic")], "10s"), bridge).await;
    expect::problem(&post(&gateway.http1(), "x").await, 502, "refused");
    gateway.envoy.assert_unharmed();
}

#[tokio::test]
async fn a_frozen_kafka_leaves_the_outcome_unknown_until_it_is_back() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let topic = Topic::create(&kafka, "frozen-kafka", 1).await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &["--delivery-timeout", "1s"]).await;
    let gateway = Gateway::start(&document_for(&topic, "5s"), bridge).await;
    expect::accepted(&post(&gateway.http1(), "before").await);

    kafka.node().freeze();
    let answer = post(&gateway.http1(), "frozen").await;
    let content = expect::problem(&answer, 504, "outcome-unknown");
    kafka.node().thaw();

    let back = until(LIMIT, || async { (post(&gateway.http1(), "after").await.status == 202).then_some(()) });
    assert!(back.await.is_ok(), "no 202 since Kafka is back\n{}", gateway.log_tails());
    assert_all_workers_answer(&gateway).await;
    let records = topic.records().await;
    let found = with_body(&records, "frozen");
    assert!(found.len() <= 1, "{found:?}");
    assert!(
        found.iter().all(|record| record.event()["id"] == content["event_id"]),
        "{found:?} for {content}"
    );
    assert_eq!(with_body(&records, "before").len(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_harms_nobody_and_its_record_is_kept() {
    const LEAVERS: usize = 6;
    let topic = Topic::create(kafka::shared(), "leavers", 1).await;
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &[]).await;
    let gateway = Gateway::start(&document_for(&topic, "10s"), bridge).await;
    let head =
        format!("POST /e2e/lane/1 HTTP/1.1\r\nhost: g\r\nx-api-key: {KEY}\r\ncontent-type: text/plain\r\n");

    // While their bodies are still coming in: there is no event yet, and none may be made of half a body.
    for _ in 0..LEAVERS {
        Caller::send(gateway.envoy.address(), format!("{head}content-length: 10\r\n\r\nhalf").as_bytes())
            .leave();
    }
    // While they wait for the answer.
    gateway.bridge().process().freeze();
    let callers: Vec<_> = (0..LEAVERS)
        .map(|_| {
            Caller::send(gateway.envoy.address(), format!("{head}content-length: 4\r\n\r\nleft").as_bytes())
        })
        .collect();
    // Requests that are ready together share a call, so there may be fewer calls than requests.
    let waiting = until(LIMIT, || async {
        let stats = gateway.envoy.stats().await;
        let calls = stats["cluster.kafka-bridge.upstream_rq_active"];
        (stats["http.gateway.downstream_rq_active"] == LEAVERS as u64 && calls > 0).then_some(())
    });
    assert!(waiting.await.is_ok(), "the requests did not reach the bridge");
    for caller in callers {
        caller.leave();
    }
    let gone = until(LIMIT, || async {
        let stats = gateway.envoy.stats().await;
        (stats["http.gateway.downstream_cx_active"] == 0).then_some(())
    });
    assert!(gone.await.is_ok(), "Envoy did not notice that its callers left");
    gateway.bridge().process().thaw();
    let finished = until(LIMIT, || async {
        (gateway.envoy.stats().await["cluster.kafka-bridge.upstream_rq_active"] == 0).then_some(())
    });
    assert!(finished.await.is_ok(), "calls for callers that left were not finished");

    assert_all_workers_answer(&gateway).await;
    let records = topic.records().await;
    assert_eq!(with_body(&records, "left").len(), LEAVERS);
    assert!(with_body(&records, "half").is_empty());
    assert!(gateway.upstream.seen().is_empty());
}

/// Under load: what was answered 202 is in Kafka, once; what was answered 503 is not; and only what is in doubt was
/// called so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_is_told_to_stop_loses_nothing() {
    const CALLERS: usize = 16;
    const ANSWERS_BEFORE: usize = 200;
    let topic = Topic::create(kafka::shared(), "stopped-bridge", 1).await;
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &[]).await;
    let gateway = Gateway::start(&document_for(&topic, "10s"), bridge).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, acknowledged) = (gateway.http1(), Arc::clone(&acknowledged));
        callers.spawn(async move {
            let mut answers = Vec::new();
            // Until the first that is not 202; the bridge is stopped long before the range ends.
            for number in 0..100_000 {
                let body = format!("{caller}/{number}");
                let answer = post(&client, &body).await;
                let status = answer.status;
                answers.push((body, answer));
                if status != 202 {
                    break;
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            answers
        });
    }
    let loaded =
        until(LIMIT, || async { (acknowledged.load(Ordering::Relaxed) > ANSWERS_BEFORE).then_some(()) });
    assert!(loaded.await.is_ok(), "{acknowledged:?} answers");
    let process = gateway.bridge().process();
    let status = tokio::task::block_in_place(|| process.terminate(LIMIT));
    assert!(status.success(), "{status}\n{}", process.log_tail());

    let records = topic.records().await;
    let mut found: HashMap<String, usize> = HashMap::new();
    for record in &records {
        *found.entry(record.event()["data"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for (body, answer) in callers.join_all().await.into_iter().flatten() {
        let count = found.remove(&body).unwrap_or_default();
        match answer.status.as_u16() {
            202 => assert_eq!(count, 1, "{body} was acknowledged"),
            503 => {
                // By the bridge while it stops, or by the gateway when it has.
                let of_hop = answer.json()["type"] == "urn:wicketgate:problem:bridge-unavailable";
                expect::problem(&answer, 503, if of_hop { "bridge-unavailable" } else { "unavailable" });
                assert_eq!(count, 0, "{body} was not to be written");
            }
            status => {
                expect::problem(&answer, status, "outcome-unknown");
                assert!(count <= 1, "{body}");
            }
        }
    }
    assert!(found.is_empty(), "records that nobody sent: {found:?}");
}
