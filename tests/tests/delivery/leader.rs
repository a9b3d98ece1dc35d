//! `ack=leader` and `ack=all` told apart by a real Kafka: the leader of a partition is its only replica in sync, and two
//! are needed (`min.insync.replicas=2`), which brokers look at for `acks=all` and not for `acks=1`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::http_client::{Answer, Client, full};
use wicketgate_tests::kafka::Kafka;
use wicketgate_tests::topic::{Record, Topic};
use wicketgate_tests::wait::until;

use crate::account::id_of;
use crate::cluster::three_brokers;
use crate::scene::{blocking, turn};

const LIMIT: Duration = Duration::from_secs(60);

/// Somebody who sends events to one topic, each with an id of its own.
struct Sender<'t> {
    client: Client,
    topic: &'t Topic<'t>,
    next: AtomicUsize,
}

/// What a receipt says, and of which event.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    id: String,
    partition: i64,
    offset: i64,
}

impl<'t> Sender<'t> {
    fn new(bridge: &Bridge, topic: &'t Topic<'t>) -> Self {
        Self { client: Client::http1(bridge.address()), topic, next: AtomicUsize::new(0) }
    }

    async fn send(&self, ack: &str) -> Answer {
        let id = format!("{ack}-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let event = json!({"specversion": "1.0", "id": id, "source": "/delivery", "type": "t"}).to_string();
        let path = format!("/v1/topics/{}/events?ack={ack}", self.topic.name());
        let request = self.client.request(Method::POST, &path);
        let request = request.header("content-type", "application/cloudevents+json").body(full(event));
        self.client.send(request.unwrap()).await
    }

    /// Sends events until one is acknowledged, each another one: the bridge may have found a breaker open.
    async fn acknowledged(&self, ack: &str) -> Place {
        let acknowledged = until(LIMIT, || async {
            let answer = self.send(ack).await;
            if answer.status != 202 {
                assert!(matches!(answer.status.as_u16(), 503 | 504), "{answer:?}");
                return None;
            }
            Some(answer.json())
        });
        let receipt = acknowledged.await.unwrap_or_else(|_| panic!("no {ack} is acknowledged"));
        assert_eq!((&receipt["ack"], &receipt["topic"]), (&json!(ack), &json!(self.topic.name())));
        let number = |name: &str| receipt[name].as_i64().unwrap_or_else(|| panic!("no {name}: {receipt}"));
        let id = receipt["id"].as_str().unwrap().to_owned();
        Place { id, partition: number("partition"), offset: number("offset") }
    }
}

/// Freezes all replicas of a topic's only partition but its leader, until they count as out of sync. What is written
/// from then on is nowhere else: a request for more that a follower made before has had its answer.
fn leave_alone(kafka: &Kafka, topic: &Topic<'_>) -> usize {
    let leader = kafka.leader(topic.name(), None);
    for (place, broker) in kafka.brokers().iter().enumerate() {
        if place != leader {
            broker.freeze();
        }
    }
    kafka.wait_until_alone(topic.name(), leader);
    leader
}

/// What is in the topic, as receipts would say it.
async fn places(topic: &Topic<'_>) -> Vec<Place> {
    let place = |record: &Record| Place {
        id: id_of(record),
        partition: i64::from(record.partition),
        offset: record.offset,
    };
    topic.records().await.iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_alone_acknowledges_for_itself_and_not_for_all() {
    let _turn = turn().await;
    let kafka = three_brokers();
    let topic = Topic::create(kafka, "leader-alone", 1).await;
    blocking(|| kafka.wait_for_replicas(topic.name()));
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let sender = Sender::new(&bridge, &topic);
    // Both producers know the leader before it is alone.
    let mut told = vec![sender.acknowledged("all").await, sender.acknowledged("leader").await];

    blocking(|| leave_alone(kafka, &topic));
    for _ in 0..3 {
        told.push(sender.acknowledged("leader").await);
        let answer = sender.send("all").await;
        assert!(
            matches!(answer.status.as_u16(), 503 | 504),
            "a single replica has acknowledged, and two are needed: {answer:?}"
        );
    }
    for broker in kafka.brokers() {
        broker.thaw();
    }
    blocking(|| kafka.wait_for_replicas(topic.name()));

    told.push(sender.acknowledged("all").await);
    let found = places(&topic).await;
    for place in &told {
        assert!(found.contains(place), "{place:?} was acknowledged, and is not in {found:?}");
    }
    bridge.stop_in_order();
}

/// What only the leader had goes with it, as `docs/bridge.md` says of `ack=leader`; and what all had stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_leader_has_is_lost_with_it() {
    let _turn = turn().await;
    let kafka = three_brokers();
    let topic = Topic::create(kafka, "leader-lost", 1).await;
    blocking(|| kafka.wait_for_replicas(topic.name()));
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let sender = Sender::new(&bridge, &topic);
    let (by_all, by_leader) = (sender.acknowledged("all").await, sender.acknowledged("leader").await);

    let leader = blocking(|| leave_alone(kafka, &topic));
    let lost = sender.acknowledged("leader").await;
    blocking(|| {
        kafka.brokers()[leader].kill();
        for (place, broker) in kafka.brokers().iter().enumerate() {
            if place != leader {
                broker.thaw();
            }
        }
        kafka.leader(topic.name(), Some(leader));
    });
    let after = sender.acknowledged("all").await;
    blocking(|| {
        kafka.brokers()[leader].start();
        kafka.wait_for_brokers(3);
        kafka.wait_for_replicas(topic.name());
    });

    let found = places(&topic).await;
    for kept in [&by_all, &by_leader, &after] {
        assert!(found.contains(kept), "{kept:?} was acknowledged, and is not in {found:?}");
    }
    assert!(
        found.iter().all(|place| place.id != lost.id),
        "{lost:?} was on one broker only, and is in {found:?}"
    );
    assert!(found.iter().any(|place| place.offset == lost.offset), "nothing took its place: {found:?}");
    bridge.stop_in_order();
}
