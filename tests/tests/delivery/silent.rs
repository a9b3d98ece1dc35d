//! One of three brokers says nothing, and Kafka takes its own time to notice.

use std::time::Duration;

use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::kafka::Setup;

use crate::cluster::each_lane_goes_on;
use crate::load::{Door, Plan};
use crate::scene::{Scene, blocking, topic, turn};

/// What is frozen says nothing for longer than Kafka takes to do without it (`broker.session.timeout.ms`, 9 s if nothing
/// else is said), and than the bridge has for an answer.
const FROZEN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broker_is_frozen_and_another_killed() {
    let _turn = turn().await;
    // One of its own, as the others notice much sooner.
    let kafka = &blocking(|| Setup::brokers(3).property("min.insync.replicas", "2").start());
    let topic = topic(kafka, "silent").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    blocking(|| kafka.brokers()[0].freeze());
    tokio::time::sleep(FROZEN).await;
    each_lane_goes_on(&scene.load).await;
    kafka.brokers()[0].thaw();
    blocking(|| kafka.wait_for_replicas(topic.name()));
    each_lane_goes_on(&scene.load).await;

    kafka.brokers()[1].kill();
    each_lane_goes_on(&scene.load).await;
    blocking(|| {
        kafka.brokers()[1].start();
        kafka.wait_for_brokers(3);
        kafka.wait_for_replicas(topic.name());
    });
    each_lane_goes_on(&scene.load).await;
    scene.fault_is_over();

    let fault = "three brokers with Kafka's default session time-out: one is frozen for 20 s, and then another killed and started again";
    scene.close().await.compare(103, fault, &topic).await;
    bridge.stop_in_order();
}
