//! `ack=spooled`: acknowledged means on the bridge's own disk, and in Kafka later, whatever happens in between.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use wicketgate_tests::artefacts;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::disk::Disk;
use wicketgate_tests::proxy::Traffic;
use wicketgate_tests::wait::until;

use crate::account::Account;
use crate::load::{Door, Plan, Told};
use crate::scene::{Played, SOME, Scene, blocking, topic, turn};
use crate::single;

const DRAIN_LIMIT: Duration = Duration::from_secs(60);

fn spooled(bridge: &Bridge, topic: &str) -> Plan {
    Plan { ack: Some("spooled"), ..Plan::of(Door::Bridge, &[bridge.address()], topic) }
}

/// A folder of one row.
fn folder(label: &str) -> PathBuf {
    artefacts::run_dir().join(label)
}

async fn until_drained(bridge: &Bridge) {
    let drained = until(DRAIN_LIMIT, || async {
        (bridge.count("kafka_bridge_spool_records", "").await == 0).then_some(())
    });
    let left = "the spool is not in Kafka";
    assert!(drained.await.is_ok(), "{left} after {DRAIN_LIMIT:?}\n{}", bridge.process().log_tail());
}

/// What the bridge owes to those who were told 202, and to nobody else.
fn assert_none_waited_for_kafka(played: &Played, account: &Account) {
    assert_eq!((account.acknowledged, account.unknown), (account.sent, 0), "{account:?}, {:?}", played.times);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bridge_is_killed() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "spool-bridge-killed").await;
    let folder = folder("spool-bridge-killed");
    let args = ["--spool-dir", folder.to_str().unwrap()];
    let bridge = Bridge::start(kafka.bootstrap_servers(), &args).await;
    let address = bridge.address();
    let mut scene = Scene::open(spooled(&bridge, topic.name()), &bridge).await;
    // What was drained and not yet noted as drained is drained again.
    scene.may_repeat();

    scene.fault_begins();
    bridge.process().kill();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    scene.fault_is_over();
    let bridge = Bridge::launch_at(address, kafka.bootstrap_servers(), &args).await;

    let played = scene.close().await;
    until_drained(&bridge).await;
    let fault = "`ack=spooled`: the bridge is killed (`kill -9`) and started again";
    played.compare(200, fault, &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_killed() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "spool-broker-killed").await;
    let folder = folder("spool-broker-killed");
    let args = ["--spool-dir", folder.to_str().unwrap()];
    let bridge = Bridge::start(kafka.bootstrap_servers(), &args).await;
    let mut scene = Scene::open(spooled(&bridge, topic.name()), &bridge).await;

    scene.fault_begins();
    kafka.node().kill();
    scene.load.until_acknowledged(4 * SOME).await;
    blocking(|| {
        kafka.node().start();
        kafka.wait_for_brokers(1);
    });
    scene.fault_is_over();

    let played = scene.close().await;
    until_drained(&bridge).await;
    let fault = "`ack=spooled`: the broker is killed and started again";
    let account = played.compare(201, fault, &topic).await;
    assert_none_waited_for_kafka(&played, &account);
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_killed() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "spool-both-killed").await;
    let folder = folder("spool-both-killed");
    let args = ["--spool-dir", folder.to_str().unwrap()];
    let bridge = Bridge::start(kafka.bootstrap_servers(), &args).await;
    let address = bridge.address();
    let mut scene = Scene::open(spooled(&bridge, topic.name()), &bridge).await;
    scene.may_repeat();

    scene.fault_begins();
    kafka.node().kill();
    scene.load.until_acknowledged(2 * SOME).await;
    bridge.process().kill();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    let bridge = Bridge::launch_at(address, kafka.bootstrap_servers(), &args).await;
    scene.load.until_acknowledged(2 * SOME).await;
    blocking(|| {
        kafka.node().start();
        kafka.wait_for_brokers(1);
    });
    scene.fault_is_over();

    let played = scene.close().await;
    until_drained(&bridge).await;
    let fault =
        "`ack=spooled`: the broker is killed, then the bridge; the bridge is started, then the broker";
    played.compare(202, fault, &topic).await;
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_disk_is_full() {
    const DISK_BYTES: u64 = 64 << 20;
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "spool-disk-full").await;
    let disk = blocking(|| Disk::start(DISK_BYTES));
    let folder = disk.path().join("spool");
    let bridge =
        Bridge::launch_on(&disk, kafka.bootstrap_servers(), &["--spool-dir", folder.to_str().unwrap()]).await;
    let mut scene = Scene::open(spooled(&bridge, topic.name()), &bridge).await;

    scene.fault_begins();
    kafka.node().kill();
    blocking(|| disk.fill());
    scene.load.until_told(SOME, "503", |told| *told == Told::NotWritten(503)).await;
    blocking(|| {
        disk.free();
        kafka.node().start();
        kafka.wait_for_brokers(1);
    });
    scene.fault_is_over();

    let played = scene.close().await;
    until_drained(&bridge).await;
    let fault = "`ack=spooled`: the broker is killed and the spool's disk full, until both are mended";
    let account = played.compare(203, fault, &topic).await;
    assert_eq!(account.unknown, 0, "{account:?}");
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_full() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "spool-full").await;
    let folder = folder("spool-full");
    let args = [
        "--spool-dir",
        folder.to_str().unwrap(),
        "--max-record-bytes",
        "100000",
        "--spool-max-bytes",
        "4000000",
        "--spool-segment-bytes",
        "400000",
    ];
    let bridge = Bridge::start(kafka.bootstrap_servers(), &args).await;
    let plan = Plan { data: 20_000, ..spooled(&bridge, topic.name()) };
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    kafka.node().kill();
    scene.load.until_told(SOME, "503", |told| *told == Told::NotWritten(503)).await;
    blocking(|| {
        kafka.node().start();
        kafka.wait_for_brokers(1);
    });
    scene.fault_is_over();

    let played = scene.close().await;
    until_drained(&bridge).await;
    let fault = "`ack=spooled`: the broker is killed until the spool has reached `--spool-max-bytes`";
    let account = played.compare(204, fault, &topic).await;
    assert_eq!(account.unknown, 0, "{account:?}");
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_vanishes() {
    /// A request to a broker is given up after ten seconds, and a new connection takes no more than a moment.
    const STANDS_STILL: Duration = Duration::from_secs(13);
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "spool-broker-vanishes").await;
    let folder = folder("spool-broker-vanishes");
    let args = ["--spool-dir", folder.to_str().unwrap()];
    let bridge = Bridge::start(&kafka.proxy().address().to_string(), &args).await;
    let mut scene = Scene::open(spooled(&bridge, topic.name()), &bridge).await;

    scene.fault_begins();
    kafka.proxy().set(Traffic::Vanishes);
    scene.load.until_acknowledged(SOME).await;
    // What is there when it comes back is another machine, or one that knows of no connection.
    kafka.proxy().lose_connections();
    let drained = bridge.count("kafka_bridge_spool_drained_total", "").await;
    kafka.proxy().set(Traffic::Passes);
    let back = Instant::now();
    scene.fault_is_over();
    let goes_on = until(DRAIN_LIMIT, || async {
        (bridge.count("kafka_bridge_spool_drained_total", "").await > drained).then_some(())
    });
    goes_on.await.unwrap_or_else(|_| panic!("nothing is drained {DRAIN_LIMIT:?} after Kafka is back"));
    let stood_still = back.elapsed();
    assert!(stood_still < STANDS_STILL, "nothing was drained for {stood_still:?} after Kafka was back");

    let played = scene.close().await;
    until_drained(&bridge).await;
    let fault = "`ack=spooled`: the broker vanishes, without a reset, and comes back without its connections";
    let account = played.compare(206, fault, &topic).await;
    assert_none_waited_for_kafka(&played, &account);
    bridge.stop_in_order();
}
