//! Disks that are full.

use std::sync::Arc;

use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::disk::Disk;
use wicketgate_tests::kafka::Setup;
use wicketgate_tests::topic::Topic;

use crate::load::{Door, Plan, Told};
use crate::scene::{SOME, Scene, blocking, turn};

const DISK_BYTES: u64 = 64 << 20;

/// Kafka takes a disk that it cannot write to for broken, and a broker with no other ends itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_broker() {
    let _turn = turn().await;
    let (disk, kafka) = blocking(|| {
        let disk = Arc::new(Disk::start(DISK_BYTES));
        let kafka = Setup::brokers(1).on(Arc::clone(&disk)).start();
        (disk, kafka)
    });
    let topic = Topic::create(&kafka, "disk-full", 3).await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    blocking(|| disk.fill());
    let given_up = |told: &Told| matches!(told, Told::Unknown(_) | Told::NotWritten(503));
    scene.load.until_told(SOME, "503 or 504", given_up).await;
    blocking(|| {
        disk.free();
        kafka.node().kill();
        kafka.node().start();
        kafka.wait_for_brokers(1);
    });
    scene.fault_is_over();

    let fault = "the broker's disk is full; it is freed and the broker started again";
    scene.close().await.compare(70, fault, &topic).await;
    bridge.stop_in_order();
}
