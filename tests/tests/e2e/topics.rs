//! The bridge's look at topics when it starts, at a Kafka that makes each topic that is asked for, and that has ACLs.

use std::time::Duration;

use http::StatusCode;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::http_client::Client;
use wicketgate_tests::java::{allow_writing, deny_writing, hide};
use wicketgate_tests::kafka::{MAX_RECORD_BYTES, Setup};
use wicketgate_tests::topic::Topic;
use wicketgate_tests::wait::until;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_required_are_looked_at_and_waited_for() {
    let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let setup = Setup::brokers(1)
        .property("authorizer.class.name", authorizer)
        .property("allow.everyone.if.no.acl.found", "true")
        .property("auto.create.topics.enable", "true");
    let kafka = tokio::task::spawn_blocking(|| setup.start()).await.unwrap();
    let [small, hidden, closed] = Topic::create_all(
        &kafka,
        [("small", 1, 1_000_000), ("hidden", 1, MAX_RECORD_BYTES), ("closed", 1, MAX_RECORD_BYTES)],
    )
    .await;
    hide(&hidden).await;
    // It may still be described.
    deny_writing(&closed).await;
    let required = [small.name(), hidden.name(), closed.name(), "late"].join(",");
    let bridge = Bridge::launch(kafka.bootstrap_servers(), &["--topics", &required]).await;

    let detail = async || {
        let answer = Client::http1(bridge.address()).try_get("/readyz").await?;
        (answer.status == StatusCode::SERVICE_UNAVAILABLE)
            .then(|| answer.json()["detail"].as_str().unwrap().to_owned())
    };
    let wanted = format!("topic {} may not be described; topic late does not exist", hidden.name());
    let told = until(LIMIT, || async { detail().await.filter(|detail| *detail == wanted) }).await;
    assert!(told.is_ok(), "wanted {wanted}, got {:?}\n{}", detail().await, bridge.process().log_tail());
    let consumer: BaseConsumer = kafka.client_config().create().unwrap();
    let metadata = consumer.fetch_metadata(None, LIMIT).unwrap();
    assert!(metadata.topics().iter().all(|topic| topic.name() != "late"), "it was made by looking at it");
    let log = bridge.process().log();
    for wanted in
        ["topic late does not exist; create it", "may not be described; give the bridge's principal an ACL"]
    {
        assert!(log.contains(wanted), "{wanted}\n{log}");
    }

    allow_writing(&hidden).await;
    Topic::create_named(&kafka, &[("late".to_owned(), 1, MAX_RECORD_BYTES)]).await;
    bridge.wait_for_readiness(StatusCode::OK, LIMIT).await;
    let warned =
        until(LIMIT, || async { bridge.process().log().contains("DESCRIBE_CONFIGS").then_some(()) }).await;
    let log = bridge.process().log();
    assert!(warned.is_ok(), "{log}");
    let count = |text: &str| log.matches(text).count();
    // One topic takes less than the bridge, of another nobody may ask, and the rest take as much.
    assert_eq!(
        count("the topic's max.message.bytes is 1000000, less than the bridge's max_record_bytes 8388608"),
        1,
        "{log}"
    );
    assert_eq!((count("the topic's max.message.bytes"), count("DESCRIBE_CONFIGS")), (1, 1), "{log}");
}
