//! Callers who do not wait for their answer.

use std::time::Duration;

use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::proxy::Traffic;
use wicketgate_tests::wait::until;

use crate::load::{Door, Plan, Told};
use crate::scene::{SOME, Scene, topic, turn};
use crate::single;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leave() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "callers-leave").await;
    let bridge = Bridge::start(&kafka.proxy().address().to_string(), &[]).await;
    // Kafka is so far away that they are gone by the time it answers.
    let (latency, patience) = (Duration::from_millis(100), Duration::from_millis(100));
    kafka.proxy().set(Traffic::Slow { latency, bytes_per_second: 10_000_000 });
    let plan =
        Plan { leave_after: Some(patience), ..Plan::of(Door::Bridge, &[bridge.address()], topic.name()) };
    let scene = Scene::open(plan, &bridge).await;

    scene.load.until_told(SOME, "left", |told| *told == Told::Unknown(None)).await;
    let played = scene.close().await;

    let counted = until(Duration::from_secs(20), || async {
        (bridge.count("kafka_bridge_records_total", r#"outcome="acknowledged""#).await
            == topic.records().await.len() as u64)
            .then_some(())
    });
    assert!(counted.await.is_ok(), "the bridge counts other than Kafka\n{}", bridge.process().log_tail());
    assert!(
        bridge.count("kafka_bridge_ack_latency_seconds_count", r#"outcome="abandoned""#).await >= SOME as u64
    );
    let account = played.compare(51, "callers leave before they are answered", &topic).await;
    assert_eq!(account.unknown_arrived, account.unknown, "not written, because its caller left: {account:?}");
    bridge.stop_in_order();
}
