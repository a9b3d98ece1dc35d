//! Topics that have to be there before the bridge is ready.

use std::time::{Duration, Instant};

use crate::common::{Bridge, Cluster, cluster, event};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaRespErr;

const WITHIN: Duration = Duration::from_secs(20);

/// Waits until `/readyz` says this.
async fn standing(bridge: &Bridge, text: &str) {
    let started = Instant::now();
    loop {
        let answer = bridge.client.get("/readyz").await;
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        let said = if answer.status.is_success() {
            body.trim_end().to_owned()
        } else {
            answer.assert_problem(503, "unavailable")["detail"].as_str().unwrap().to_owned()
        };
        if said == text {
            return;
        }
        assert!(started.elapsed() < WITHIN, "wanted {text:?}, got {said:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The topics that a cluster has; asking makes none.
fn topics(cluster: &Cluster) -> Vec<String> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).unwrap();
    let mut names: Vec<_> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_bridge_waits_for_topics_that_are_required_and_does_not_make_them() {
    // This cluster makes each topic that is asked for, unless the question says not to.
    let cluster = cluster();
    let bridge = Bridge::start(&cluster.bootstrap_servers(), &["--topics", "orders,shop"]).await;
    standing(&bridge, "topic orders does not exist; topic shop does not exist").await;
    assert_eq!(bridge.client.metric("kafka_bridge_ready").await, 0);
    assert_eq!(topics(&cluster), Vec::<String>::new());
    cluster.create_topic("orders", 1, 1).unwrap();
    standing(&bridge, "topic shop does not exist").await;
    // Records are not held up by what others need.
    assert_eq!(bridge.client.event("orders", event("1", 10)).await.status, 202);
    cluster.create_topic("shop", 1, 1).unwrap();
    standing(&bridge, "ready").await;
    assert_eq!(topics(&cluster), ["orders", "shop"]);
}

#[tokio::test]
async fn a_topic_that_may_not_be_described_is_told_from_one_that_is_missing() {
    let (home, eu) = (cluster(), cluster());
    eu.topic_error("orders", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let servers = eu.bootstrap_servers();
    let tables = format!("[clusters.eu]\nbootstrap_servers = \"{servers}\"\ntopics = [\"orders\"]");
    let bridge = Bridge::start_with_clusters(&home.bootstrap_servers(), &[], &tables).await;
    standing(&bridge, "cluster eu: topic orders may not be described").await;
    eu.topic_error("orders", RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE).unwrap();
    standing(&bridge, "cluster eu: topic orders cannot be written yet").await;
    eu.topic_error("orders", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    standing(&bridge, "ready").await;
}

#[tokio::test]
async fn topics_that_are_merely_allowed_are_not_waited_for() {
    let cluster = cluster();
    let bridge = Bridge::start(&cluster.bootstrap_servers(), &["--allowed-topics", "orders,shop.*"]).await;
    standing(&bridge, "ready").await;
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_keeps_the_check_waiting() {
    let cluster = cluster();
    cluster.create_topic("orders", 1, 1).unwrap();
    cluster.broker_down(1);
    let bridge = Bridge::start(&cluster.bootstrap_servers(), &["--topics", "orders"]).await;
    standing(&bridge, "starting: the cluster's metadata has not been fetched yet").await;
    cluster.broker_up(1);
    standing(&bridge, "ready").await;
}
