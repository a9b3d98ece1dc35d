//! What lies between bridge and Kafka fails.

use std::time::Duration;

use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::proxy::Traffic;

use crate::load::{Door, Plan, Told};
use crate::scene::{SOME, Scene, topic, turn};
use crate::single;

async fn cut(number: u32, fault: &str, label: &str, how: Traffic) {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, label).await;
    let bridge = Bridge::start(&kafka.proxy().address().to_string(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    kafka.proxy().set(how);
    scene.load.until_unavailable().await;
    // Longer than what was handed over before may wait.
    scene.load.until_told(1, "504", |told| *told == Told::Unknown(Some(504))).await;
    kafka.proxy().set(Traffic::Passes);
    scene.fault_is_over();

    scene.close().await.compare(number, fault, &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reset() {
    let fault = "the network resets each connection to Kafka";
    cut(60, fault, "network-reset", Traffic::Resets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_vanish() {
    let fault = "the network drops all packets to and from Kafka";
    cut(61, fault, "network-vanishes", Traffic::Vanishes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_vanish() {
    let fault = "the network drops all packets from Kafka, and none to it";
    cut(62, fault, "network-answers", Traffic::AnswersVanish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_lost_in_a_reset() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "network-lost-answers").await;
    let bridge = Bridge::start(&kafka.proxy().address().to_string(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    // What Kafka has written and could not say so is sent again by the producer, and must not be written again.
    scene.fault_begins();
    for _ in 0..5 {
        kafka.proxy().set(Traffic::AnswersVanish);
        tokio::time::sleep(Duration::from_millis(300)).await;
        kafka.proxy().set(Traffic::Resets);
        tokio::time::sleep(Duration::from_millis(50)).await;
        kafka.proxy().set(Traffic::Passes);
        scene.load.until_acknowledged(SOME).await;
    }
    scene.fault_is_over();

    let fault = "the network loses answers of Kafka and resets the connection, five times";
    let account = scene.close().await.compare(63, fault, &topic).await;
    assert_eq!(account.unknown, 0, "the producer did not try again: {account:?}");
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "network-slow").await;
    let bridge = Bridge::start(&kafka.proxy().address().to_string(), &[]).await;
    let plan = Plan { data: 2_000, ..Plan::of(Door::Bridge, &[bridge.address()], topic.name()) };
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    let latency = Duration::from_millis(150);
    kafka.proxy().set(Traffic::Slow { latency, bytes_per_second: 200_000 });
    scene.load.until_acknowledged(2 * SOME).await;
    kafka.proxy().set(Traffic::Passes);
    scene.fault_is_over();

    let fault = "Kafka is 300 ms away and takes 200 kB/s";
    scene.close().await.compare(64, fault, &topic).await;
    bridge.stop_in_order();
}
