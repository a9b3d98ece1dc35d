//! The bridge itself is ended, in order and otherwise.

use std::collections::HashSet;

use wicketgate_tests::artefacts;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::redis::Redis;

use crate::load::{Attempt, Door, Plan, Told};
use crate::scene::{SOME, Scene, blocking, topic, turn};
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

/// Holds against each other what callers were told of events before a bridge was killed, and what they are told when they
/// send them once more.
fn assert_remembered(told: &[(Told, Told)]) {
    assert!(told.len() >= SOME / 4, "only {} events were acknowledged before", told.len());
    for (then, now) in told {
        let Told::Acknowledged { partition, offset, ack, .. } = then else { panic!("{then:?}") };
        let same =
            Told::Acknowledged { partition: *partition, offset: *offset, ack: ack.clone(), replayed: true };
        assert_eq!(*now, same, "first {then:?}");
    }
}

/// The events of which some caller did not learn what became of them.
fn in_doubt(attempts: &[Attempt]) -> usize {
    let doubtful = attempts.iter().filter(|attempt| matches!(attempt.told, Told::Unknown(_)));
    doubtful.map(|attempt| &attempt.id).collect::<HashSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_with_a_journal_under_callers_who_try_again() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "bridge-killed-journal").await;
    let journal = artefacts::run_dir().join("bridge-killed-journal");
    let flags = ["--idempotency-dir", journal.to_str().unwrap()];
    let bridge = Bridge::start(kafka.bootstrap_servers(), &flags).await;
    let address = bridge.address();
    let plan = Plan { insist: true, ..Plan::of(Door::Bridge, &[address], topic.name()) };
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    let before = scene.load.attempts();
    bridge.process().kill();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    scene.fault_is_over();
    let bridge = Bridge::launch_at(address, kafka.bootstrap_servers(), &flags).await;
    // What was acknowledged before is answered by what the journal has.
    assert_remembered(&scene.load.send_again(address, &before).await);

    let fault = "the bridge is killed (`kill -9`) and started again with its `--idempotency-dir`, and callers send again with the same `id` until they are told 202";
    let played = scene.close().await;
    let account = played.compare(43, fault, &topic).await;
    assert_eq!((account.acknowledged, account.unknown), (account.sent, 0), "{account:?}");
    // Only what was in flight.
    assert!(account.duplicates <= in_doubt(&played.attempts), "{account:?}");
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_that_share_a_redis_is_killed() {
    let _turn = turn().await;
    let (kafka, redis) = (single::kafka(), blocking(Redis::start));
    let topic = topic(kafka, "bridge-killed-redis").await;
    // Rows load the machine, and Redis is to be asked, not given up on.
    let url = redis.url();
    let flags = ["--idempotency-redis", &url, "--idempotency-redis-timeout", "5s"];
    let stays = Bridge::start(kafka.bootstrap_servers(), &flags).await;
    let dies = Bridge::start(kafka.bootstrap_servers(), &flags).await;
    let addresses = [stays.address(), dies.address()];
    let plan = Plan { insist: true, ..Plan::of(Door::Bridge, &addresses, topic.name()) };
    let mut scene = Scene::open(plan, &dies).await;

    scene.fault_begins();
    let before = scene.load.attempts();
    dies.process().kill();
    scene.load.until_told(1, "no connection", |told| *told == Told::Unsent).await;
    // The one that is left knows what the other has acknowledged.
    assert_remembered(&scene.load.send_again(addresses[0], &before).await);
    scene.fault_is_over();
    let again = Bridge::launch_at(addresses[1], kafka.bootstrap_servers(), &flags).await;
    assert_remembered(&scene.load.send_again(addresses[1], &before).await);

    let fault = "one of two bridges with a common `--idempotency-redis` is killed (`kill -9`) and started again, and callers send again to the other with the same `id` until they are told 202";
    let played = scene.close().await;
    let account = played.compare(44, fault, &topic).await;
    assert_eq!((account.acknowledged, account.unknown), (account.sent, 0), "{account:?}");
    assert!(account.duplicates <= in_doubt(&played.attempts), "{account:?}");
    stays.stop_in_order();
    again.stop_in_order();
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
