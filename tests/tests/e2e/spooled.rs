//! `ack=spooled`, and a Kafka that does not take what it is given then.

use std::time::Duration;

use http::{Method, StatusCode};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::json;
use wicketgate_tests::artefacts;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::http_client::{Client, full};
use wicketgate_tests::kafka::{self, MAX_RECORD_BYTES};
use wicketgate_tests::topic::Topic;
use wicketgate_tests::wait::until;

const LIMIT: Duration = Duration::from_secs(30);

/// Has the bridge spool a record.
async fn spool(bridge: &Bridge, topic: &str, key: &str, id: &str) {
    let event = json!({"specversion": "1.0", "id": id, "source": "/e2e", "type": "t"});
    let record = json!({"topic": topic, "key": key, "ack": "spooled", "event": event});
    let body = json!({"records": [record]}).to_string();
    let client = Client::http1(bridge.address());
    let request = client.request(Method::POST, "/v1/records").header("content-type", RECORDS);
    let answer = client.send(request.body(full(body)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

const RECORDS: &str = "application/vnd.wicketgate.records+json";

async fn until_counted(bridge: &Bridge, name: &str, wanted: u64) {
    let counted = until(LIMIT, || async { (bridge.count(name, "").await == wanted).then_some(()) });
    assert!(counted.await.is_ok(), "{name} is not {wanted}\n{}", bridge.process().log_tail());
}

/// Waits until Kafka says that it does not have the topic: until then it may take records for it, which go with it.
async fn until_gone(topic: &Topic<'_>) {
    let (config, name) = (topic.kafka().client_config(), topic.name().to_owned());
    let gone = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create().unwrap();
        wicketgate_tests::wait::until_blocking(LIMIT, || {
            let metadata = consumer.fetch_metadata(Some(&name), LIMIT).ok()?;
            metadata.topics().iter().all(|topic| topic.error().is_some()).then_some(())
        })
    });
    assert!(gone.await.unwrap().is_ok(), "{} is still there", topic.name());
}

#[tokio::test]
async fn a_topic_that_is_deleted_and_made_again_keeps_others_going_and_loses_nothing() {
    const RECORDS: usize = 40;
    let kafka = kafka::shared();
    let gone = Topic::create(kafka, "spooled-deleted", 3).await;
    let other = Topic::create(kafka, "spooled-other", 1).await;
    let folder = artefacts::run_dir().join("spooled-deleted");
    let bridge = Bridge::start(kafka.bootstrap_servers(), &["--spool-dir", folder.to_str().unwrap()]).await;
    spool(&bridge, gone.name(), "a", "before").await;
    until_counted(&bridge, "kafka_bridge_spool_drained_total", 1).await;

    gone.delete().await;
    until_gone(&gone).await;
    for number in 0..RECORDS {
        spool(&bridge, gone.name(), ["a", "b", "c"][number % 3], &format!("{number:02}")).await;
        spool(&bridge, other.name(), "k", &format!("{number:02}")).await;
    }
    // They do not wait for the topic, of which nothing is given up.
    until_counted(&bridge, "kafka_bridge_spool_drained_total", 1 + RECORDS as u64).await;
    assert_eq!(other.records().await.len(), RECORDS);
    assert_eq!(bridge.count("kafka_bridge_spool_refused_total", "").await, 0);

    let plan = [(gone.name().to_owned(), 3, MAX_RECORD_BYTES)];
    let again = Topic::create_named(kafka, &plan).await.remove(0);
    until_counted(&bridge, "kafka_bridge_spool_records", 0).await;
    let records = again.records().await;
    assert_eq!(records.len(), RECORDS, "{records:?}");
    for key in ["a", "b", "c"] {
        let of_key = records.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
        let ids: Vec<String> =
            of_key.map(|record| record.event()["id"].as_str().unwrap().to_owned()).collect();
        assert!(ids.len() >= RECORDS / 3 && ids.is_sorted(), "{key}: {ids:?}");
    }
    assert_eq!(bridge.count("kafka_bridge_spool_refused_total", "").await, 0);
    bridge.stop_in_order();
}
