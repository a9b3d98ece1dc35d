//! A single broker that fails. Its data outlive it: that acknowledged records also survive the loss of a broker takes
//! several of them, see `cluster`.

use std::time::{Duration, Instant};

use wicketgate_tests::bridge::Bridge;

use crate::load::{Door, Plan};
use crate::scene::{Scene, blocking, topic, turn};
use crate::single;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "broker-killed").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    kafka.node().kill();
    scene.load.until_unavailable().await;
    blocking(|| {
        kafka.node().start();
        kafka.wait_for_brokers(1);
    });
    scene.fault_is_over();

    scene.close().await.compare(10, "the broker is killed (`kill -9`) and started again", &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_and_started_again() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "broker-restarted").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    blocking(|| {
        kafka.node().stop();
        kafka.node().start();
        kafka.wait_for_brokers(1);
    });
    scene.fault_is_over();

    scene.close().await.compare(20, "the broker is restarted in order", &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen() {
    const FROZEN: Duration = Duration::from_secs(25);
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "broker-frozen").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    let thaw = Instant::now() + FROZEN;
    blocking(|| kafka.node().freeze());
    scene.load.until_unavailable().await;
    tokio::time::sleep_until(thaw.into()).await;
    kafka.node().thaw();
    scene.fault_is_over();

    scene.close().await.compare(30, "the broker is frozen for 25 s", &topic).await;
    bridge.stop_in_order();
}
