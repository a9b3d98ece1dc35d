//! A Kafka that keeps its connections and answers nothing. Each test freezes a Kafka of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::task::JoinSet;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::http_client::{Client, full};
use wicketgate_tests::kafka::Kafka;
use wicketgate_tests::topic::Topic;
use wicketgate_tests::wait::until;

const LIMIT: Duration = Duration::from_secs(30);
/// Longer than the delivery timeout, so that all that was handed over has been given up by then.
const FROZEN: Duration = Duration::from_secs(8);

/// One request: its id, when it was sent and answered, and how.
#[derive(Debug)]
struct Sent {
    id: String,
    sent: Instant,
    answered: Instant,
    status: u16,
}

async fn post(client: &Client, topic: &str, id: String) -> Sent {
    let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/e2e","type":"x","data":"{id}"}}"#);
    let request = client.request(Method::POST, &format!("/v1/topics/{topic}/events"));
    let request = request.header("content-type", "application/cloudevents+json").body(full(event)).unwrap();
    let sent = Instant::now();
    let answer = client.send(request).await;
    Sent { id, sent, answered: Instant::now(), status: answer.status.as_u16() }
}

async fn readiness(client: &Client) -> (StatusCode, String) {
    let answer = client.try_get("/readyz").await.unwrap();
    let detail = if answer.status == 200 { "ready".to_owned() } else { answer.json()["detail"].to_string() };
    (answer.status, detail)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_callers_are_turned_away_at_once_and_let_in_again_soon() {
    const CALLERS: usize = 16;
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let topic = Topic::create(&kafka, "frozen-under-load", 3).await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let client = Client::http1(bridge.address());
    let (stop, all) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let answers = |wanted: &dyn Fn(&Sent) -> bool| {
        all.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|sent| wanted(sent)).count()
    };
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, topic) = (Client::http1(bridge.address()), topic.name().to_owned());
        let (stop, all) = (Arc::clone(&stop), Arc::clone(&all));
        callers.spawn(async move {
            for number in 0.. {
                let sent = post(&client, &topic, format!("{caller}/{number}")).await;
                let refused = sent.status != 202;
                all.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                if refused {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
    let loaded = until(LIMIT, || async { (answers(&|sent| sent.status == 202) > 500).then_some(()) });
    assert!(loaded.await.is_ok(), "no load");

    // From when all of it stands still: until then it may go on to acknowledge.
    kafka.node().freeze();
    let frozen = Instant::now();
    let newcomers = AtomicUsize::new(0);
    // A caller that comes anew, since all the others wait.
    let newcomer = until(LIMIT, || async {
        let (client, topic) = (client.clone(), topic.name().to_owned());
        // One that is still in flight would have its copies wait along.
        let asking = post(&client, &topic, format!("new/{}", newcomers.fetch_add(1, Ordering::Relaxed)));
        let sent = tokio::time::timeout(Duration::from_millis(200), asking).await.ok()?;
        (sent.status == 503).then(|| (frozen.elapsed(), sent.answered - sent.sent))
    });
    let (turned_away, took) = newcomer.await.expect("nobody is turned away");
    let unready = until(LIMIT, || async {
        let (status, detail) = readiness(&client).await;
        (status == 503).then(|| (frozen.elapsed(), detail))
    });
    let (unready, why) = unready.await.expect("it stays ready");
    assert!(why.contains("Kafka does not"), "{why}");
    assert_eq!(client.try_get("/livez").await.unwrap().status, 200);
    while frozen.elapsed() < FROZEN {
        assert_eq!(readiness(&client).await.0, 503);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let thawed = Instant::now();
    kafka.node().thaw();
    let mut ready =
        until(LIMIT, || async { (readiness(&client).await.0 == 200).then(|| thawed.elapsed()) }).await;
    let ready = ready.as_mut().expect("not ready again");
    let acknowledged = until(LIMIT, || async {
        (answers(&|sent| sent.status == 202 && sent.sent > thawed) > 500).then(|| thawed.elapsed())
    });
    let acknowledged = acknowledged.await.expect("nothing is acknowledged since it is back");
    stop.store(true, Ordering::Relaxed);
    while callers.join_next().await.is_some() {}

    let mut found: HashMap<String, usize> = HashMap::new();
    for record in topic.records().await {
        *found.entry(record.event()["data"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let all = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
    let mut counts: HashMap<u16, usize> = HashMap::new();
    let mut slowest_503 = Duration::ZERO;
    for sent in &all {
        *counts.entry(sent.status).or_default() += 1;
        let times = found.get(&sent.id).copied().unwrap_or_default();
        match sent.status {
            202 => assert_eq!(times, 1, "{} was acknowledged", sent.id),
            503 => {
                assert_eq!(times, 0, "{} was not to be written", sent.id);
                slowest_503 = slowest_503.max(sent.answered - sent.sent);
            }
            504 => assert!(times <= 1, "{}: {times}", sent.id),
            other => panic!("{}: {other}", sent.id),
        }
    }
    println!(
        "frozen for {FROZEN:?}: 503 after {turned_away:?} (answered in {took:?}; slowest 503 {slowest_503:?}), \
         not ready after {unready:?} ({why}); thawed: ready after {ready:?}, 500 acknowledged after {acknowledged:?}; \
         answers {counts:?}"
    );
    // The stall is 2 s; the rest is for machines under load.
    assert!(turned_away < Duration::from_secs(4), "{turned_away:?}");
    assert!(unready < turned_away + Duration::from_secs(1), "{unready:?} {turned_away:?}");
    assert!(*ready < Duration::from_secs(5), "{ready:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_bridge_is_not_ready_in_front_of_it_and_ready_again_without_a_record() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let bridge = Bridge::start(kafka.bootstrap_servers(), &[]).await;
    let client = Client::http1(bridge.address());
    kafka.node().freeze();
    let frozen = Instant::now();
    let unready = until(LIMIT, || async { (readiness(&client).await.0 == 503).then(|| frozen.elapsed()) });
    let unready = unready.await.expect("it stays ready");
    tokio::time::sleep(FROZEN.saturating_sub(frozen.elapsed())).await;
    assert_eq!(readiness(&client).await.0, 503);
    let thawed = Instant::now();
    kafka.node().thaw();
    let ready = until(LIMIT, || async { (readiness(&client).await.0 == 200).then(|| thawed.elapsed()) });
    let ready = ready.await.expect("not ready again");
    println!("idle: not ready after {unready:?}, ready {ready:?} after the thaw");
    assert!(unready < Duration::from_secs(10), "{unready:?}");
    assert!(ready < Duration::from_secs(5), "{ready:?}");
}
