//! The gateway before the bridge is ended: a real Envoy with the filter that ships.

use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::envoy::Envoy;
use wicketgate_tests::gateway::document;
use wicketgate_tests::upstream::Upstream;

use crate::load::{Door, Plan, Told};
use crate::scene::{Scene, topic, turn};
use crate::single;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "gateway-killed").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let upstream = Upstream::start();
    let document = document([("lane", topic.name())], "10s").to_string();
    let envoy = Envoy::start(&document, bridge.address().into(), upstream.address()).await;
    let address = envoy.address();
    let plan = Plan::of(Door::Gateway, &[address], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    envoy.process().kill();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    scene.fault_is_over();
    let envoy = Envoy::start_at(address, &document, bridge.address().into(), upstream.address()).await;

    scene
        .close()
        .await
        .compare(80, "the gateway (Envoy) is killed (`kill -9`) and started again", &topic)
        .await;
    envoy.assert_unharmed();
    assert!(upstream.seen().is_empty());
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_bridge_is_killed() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "gateway-bridge-killed").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let bridge_address = bridge.address();
    let upstream = Upstream::start();
    let document = document([("lane", topic.name())], "10s").to_string();
    let envoy = Envoy::start(&document, bridge_address.into(), upstream.address()).await;
    let plan = Plan::of(Door::Gateway, &[envoy.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    bridge.process().kill();
    scene.load.until_unavailable().await;
    scene.fault_is_over();
    let bridge = Bridge::launch_at(bridge_address, kafka.bootstrap_servers(), &[]).await;

    let fault = "the bridge behind a gateway is killed (`kill -9`) and started again";
    scene.close().await.compare(81, fault, &topic).await;
    envoy.assert_unharmed();
    bridge.stop_in_order();
}
