//! Kafka does not take what it is given.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::http_client::{Client, full};
use wicketgate_tests::java::{allow_writing, deny_writing};
use wicketgate_tests::kafka::MAX_RECORD_BYTES;
use wicketgate_tests::proxy::Traffic;
use wicketgate_tests::topic::Topic;
use wicketgate_tests::wait::until;

use crate::account::id_of;
use crate::load::{Attempt, Door, Plan, Told};
use crate::scene::{SOME, Scene, topic, turn};
use crate::single;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_events_are_too_large() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let [topic] = Topic::create_all(kafka, [("too-large", 3, 100_000)]).await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan {
        now_and_then: Some((7, 300_000)),
        ..Plan::of(Door::Bridge, &[bridge.address()], topic.name())
    };
    let scene = Scene::open(plan, &bridge).await;

    scene.load.until_told(SOME / 4, "413", |told| *told == Told::NotWritten(413)).await;

    let account =
        scene.close().await.compare(90, "every seventh event is too large for its topic", &topic).await;
    assert_eq!(account.acknowledged + account.not_written, account.sent, "{account:?}");
    assert_eq!(account.not_written, account.sent / 7, "{account:?}");
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_is_forbidden() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "forbidden").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    scene.fault_begins();
    deny_writing(&topic).await;
    scene.load.until_told(SOME / 4, "502", |told| *told == Told::NotWritten(502)).await;
    allow_writing(&topic).await;
    scene.fault_is_over();

    let fault = "an ACL forbids to write to the topic, and is taken back";
    let account = scene.close().await.compare(91, fault, &topic).await;
    assert_eq!(account.unknown, 0, "{account:?}");
    bridge.stop_in_order();
}

/// The second attempt of the producer is refused, and the first was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_before_writing_was_forbidden_is_not_said_to_be_refused() {
    const LIMIT: Duration = Duration::from_secs(20);
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = Topic::create(kafka, "forbidden-later", 1).await;
    let bridge = Bridge::start(&kafka.proxy().address().to_string(), &["--delivery-timeout", "25s"]).await;
    let direct = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let send_to = |bridge: &Bridge, id: &str| {
        let event = json!({"specversion": "1.0", "id": id, "source": "/delivery", "type": "t"}).to_string();
        let path = format!("/v1/topics/{}/events", topic.name());
        let client = Client::http1(bridge.address());
        let request =
            client.request(Method::POST, &path).header("content-type", "application/cloudevents+json");
        let request = request.body(full(event)).unwrap();
        tokio::spawn(async move { client.send(request).await })
    };
    let send = |id: &str| send_to(&bridge, id);
    assert_eq!(send("before").await.unwrap().status, 202);

    kafka.proxy().set(Traffic::AnswersVanish);
    let sent = send("written");
    let written = until(LIMIT, || async { (topic.records().await.len() == 2).then_some(()) }).await;
    assert!(written.is_ok(), "the record did not reach Kafka");
    deny_writing(&topic).await;
    // The broker takes a moment to go by what it has been told.
    let probes = AtomicUsize::new(0);
    let denied = until(LIMIT, || async {
        // One that comes again would be answered as the first time.
        let probe = format!("probe-{}", probes.fetch_add(1, Ordering::Relaxed));
        (send_to(&direct, &probe).await.unwrap().status == 502).then_some(())
    });
    assert!(denied.await.is_ok(), "the topic can be written to even so");
    kafka.proxy().set(Traffic::Resets);
    tokio::time::sleep(Duration::from_millis(100)).await;
    kafka.proxy().set(Traffic::Passes);

    let answer = sent.await.unwrap();
    assert_eq!(answer.status, 504, "{answer:?}, and Kafka has it");
    // The topic's breaker has opened meanwhile, and lets one through to find out.
    let refused = until(LIMIT, || async { (send("after").await.unwrap().status == 502).then_some(()) });
    assert!(refused.await.is_ok(), "nobody is told that Kafka refuses");
    let mut ids: Vec<String> = topic.records().await.iter().map(id_of).collect();
    ids.retain(|id| !id.starts_with("probe-"));
    assert_eq!(ids, ["before", "written"]);
    direct.stop_in_order();
    bridge.stop_in_order();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_and_made_again() {
    let _turn = turn().await;
    let kafka = single::kafka();
    let topic = topic(kafka, "deleted").await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let plan = Plan::of(Door::Bridge, &[bridge.address()], topic.name());
    let mut scene = Scene::open(plan, &bridge).await;

    let reading = Instant::now();
    let before = topic.records().await;
    scene.fault_begins();
    topic.delete().await;
    scene.load.until_told(SOME / 4, "502", |told| *told == Told::NotWritten(502)).await;
    let made_again = Instant::now();
    let plan = [(topic.name().to_owned(), 3, MAX_RECORD_BYTES)];
    let again = Topic::create_named(kafka, &plan).await.remove(0);
    scene.fault_is_over();
    let played = scene.close().await;

    // What was acknowledged before the deletion and not read by then is gone with the topic.
    let kept: HashSet<String> = before.iter().map(id_of).collect();
    let is_acknowledged = |attempt: &Attempt| matches!(attempt.told, Told::Acknowledged { .. });
    let (old, rest): (Vec<Attempt>, Vec<Attempt>) = played.attempts.iter().cloned().partition(|attempt| {
        kept.contains(&attempt.id) || is_acknowledged(attempt) && attempt.answered < reading
    });
    let new: Vec<Attempt> = rest
        .into_iter()
        .filter(|attempt| !(is_acknowledged(attempt) && attempt.answered < made_again))
        .collect();
    let was = played.settle("before the deletion", &old, &before);
    let is = played.settle("after the deletion", &new, &again.records().await);
    played.tell(92, "the topic is deleted, and made again", &was.and(&is));
    bridge.stop_in_order();
}
