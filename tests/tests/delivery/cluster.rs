//! Three brokers, three replicas, and two of them needed for an acknowledgement (`min.insync.replicas=2`). What was
//! acknowledged then outlives a broker, not only its process: a killed broker's data play no part until it is back.

use std::sync::OnceLock;
use std::time::Instant;

use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::kafka::{Kafka, Setup};

use crate::load::{Door, Load, Plan, Told};
use crate::scene::{SOME, Scene, blocking, topic, turn};

/// The cluster, with all its brokers running. The caller has its [`turn`].
pub(crate) fn three_brokers() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    blocking(|| {
        let kafka = KAFKA.get_or_init(|| {
            let setup = Setup::brokers(3).property("min.insync.replicas", "2");
            // A dead broker is noticed after 3 s instead of 9 s.
            let setup = setup.property("broker.session.timeout.ms", "3000");
            setup.property("broker.heartbeat.interval.ms", "500").start()
        });
        // A row that failed may have left some of them down or frozen.
        for broker in kafka.brokers() {
            if broker.process().exit_status().is_some() {
                broker.start();
            }
            broker.thaw();
        }
        kafka.wait_for_brokers(3);
        kafka
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broker_is_killed() {
    let _turn = turn().await;
    let kafka = three_brokers();
    let topic = topic(kafka, "one-of-three").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    kafka.brokers()[0].kill();
    // Once the cluster has noticed, all partitions have a leader again. Each lane has its partition.
    each_lane_goes_on(&scene.load).await;
    blocking(|| {
        kafka.brokers()[0].start();
        kafka.wait_for_brokers(3);
    });
    scene.fault_is_over();

    let fault = "three brokers: one is killed, and started again after others took over";
    scene.close().await.compare(100, fault, &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_are_killed() {
    let _turn = turn().await;
    let kafka = three_brokers();
    let topic = topic(kafka, "two-of-three").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    for broker in &kafka.brokers()[1..] {
        broker.kill();
    }
    let given_up = |told: &Told| matches!(told, Told::Unknown(_) | Told::NotWritten(503));
    scene.load.until_told(SOME, "503 or 504", given_up).await;
    let alone = Instant::now();
    scene.load.until_told(SOME, "503 or 504", given_up).await;
    let restarted = Instant::now();
    blocking(|| {
        for broker in &kafka.brokers()[1..] {
            broker.start();
        }
        kafka.wait_for_brokers(3);
    });
    scene.fault_is_over();

    let played = scene.close().await;
    let alone_acknowledged = played.attempts.iter().filter(|attempt| {
        matches!(attempt.told, Told::Acknowledged { .. }) && (alone..restarted).contains(&attempt.answered)
    });
    assert_eq!(alone_acknowledged.count(), 0, "acknowledged by a single replica, and two were wanted");
    let fault = "three brokers: two are killed and started again; two replicas are needed";
    played.compare(101, fault, &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_are_restarted_in_turn() {
    let _turn = turn().await;
    let kafka = three_brokers();
    let topic = topic(kafka, "rolling").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    for broker in kafka.brokers() {
        blocking(|| {
            broker.stop();
            broker.start();
            kafka.wait_for_brokers(3);
            kafka.wait_for_replicas(topic.name());
        });
        each_lane_goes_on(&scene.load).await;
    }
    scene.fault_is_over();

    let fault = "three brokers: each is restarted in order, one after the other";
    scene.close().await.compare(102, fault, &topic).await;
    bridge.stop_in_order();
}

/// Waits until each caller who waits for answers has been acknowledged something more.
pub(crate) async fn each_lane_goes_on(load: &Load) {
    for lane in 0..load.lanes() {
        load.until_lane_acknowledged(lane).await;
    }
}
