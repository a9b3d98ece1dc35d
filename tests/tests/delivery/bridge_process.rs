//! The bridge itself is ended, in order and otherwise.

use wicketgate_tests::bridge::Bridge;

use crate::load::{Door, Plan, Told};
use crate::scene::{SOME, Scene, topic, turn};
use crate::single;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "bridge-killed").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let address = bridge.address();
    let mut scene = Scene::open(Plan::of(Door::Bridge, &[address], topic.name()), &bridge).await;

    scene.fault_begins();
    bridge.process().kill();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    scene.fault_is_over();
    let bridge = Bridge::launch_at(address, kafka.bootstrap_servers(), &[]).await;

    scene.close().await.compare(40, "the bridge is killed (`kill -9`) and started again", &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_callers_who_try_again() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "bridge-killed-insisting").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let address = bridge.address();
    let plan = Plan { insist: true, ..Plan::of(Door::Bridge, &[address], topic.name()) };
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    bridge.process().kill();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    scene.fault_is_over();
    let bridge = Bridge::launch_at(address, kafka.bootstrap_servers(), &[]).await;

    let fault = "the same, and callers send again with the same `id` until they are told 202";
    let account = scene.close().await.compare(41, fault, &topic).await;
    assert_eq!((account.acknowledged, account.unknown), (account.sent, 0), "{account:?}");
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_in_order() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "bridge-stopped").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let address = bridge.address();
    let mut scene = Scene::open(Plan::of(Door::Bridge, &[address], topic.name()), &bridge).await;

    scene.fault_begins();
    // Exit code 0: every request and every record had its answer.
    bridge.stop_in_order();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    scene.fault_is_over();
    let bridge = Bridge::launch_at(address, kafka.bootstrap_servers(), &[]).await;

    let played = scene.close().await;
    let account = played.compare(42, "the bridge is stopped (SIGTERM) and started again", &topic).await;
    assert_eq!(account.unknown_arrived, 0, "written, and its caller was not told: {account:?}");
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_bridges_one_topic() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "two-bridges").await;
    let bridges = [
        Bridge::start(kafka.bootstrap_servers(), &[]).await,
        Bridge::start(kafka.bootstrap_servers(), &[]).await,
    ];
    let addresses = [bridges[0].address(), bridges[1].address()];
    let scene = Scene::open(Plan::of(Door::Bridge, &addresses, topic.name()), &bridges[0]).await;

    scene.load.until_acknowledged(SOME).await;

    let account = scene.close().await.compare(50, "two bridges, and no fault", &topic).await;
    assert_eq!((account.acknowledged, account.arrived), (account.sent, account.sent), "{account:?}");
    for bridge in &bridges {
        assert!(bridge.count("kafka_bridge_records_total", r#"outcome="acknowledged""#).await > 0);
        bridge.stop_in_order();
    }
}
