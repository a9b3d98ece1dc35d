//! Two clusters behind one gateway, each a real Kafka: where the records of each route go, and what the one knows of it
//! when the other is gone.

use std::fs;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::json;
use wicketgate_tests::artefacts;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::gateway::{Gateway, KEY, document};
use wicketgate_tests::http_client::{Answer, Client, full};
use wicketgate_tests::kafka::{Kafka, MAX_RECORD_BYTES};
use wicketgate_tests::topic::{Record, Topic, unique_prefix};
use wicketgate_tests::wait::until;

use crate::expect;

const LIMIT: Duration = Duration::from_secs(30);

/// The name of the second cluster; that of the first is `default`.
const EU: &str = r#"cluster="eu""#;
const HOME: &str = r#"cluster="default""#;

async fn post(client: &Client, route: &str, body: &str) -> Answer {
    let request = client.request(Method::POST, &format!("/e2e/{route}/1")).header("x-api-key", KEY);
    client.send(request.header("content-type", "text/plain").body(full(body.to_owned())).unwrap()).await
}

/// A bridge before both clusters.
async fn bridge(home: &Kafka, eu: &Kafka, required: bool) -> Bridge {
    let file = artefacts::run_dir().join(format!("clusters-{required}.toml"));
    let servers = eu.bootstrap_servers();
    fs::write(&file, format!("[clusters.eu]\nbootstrap_servers = \"{servers}\"\nrequired = {required}\n"))
        .unwrap();
    Bridge::start(home.bootstrap_servers(), &["--config", file.to_str().unwrap()]).await
}

/// Waits until `/readyz` has this status and says this, or begins so if it ends in a space; in a 503, that is its `detail`.
async fn until_said(bridge: &Bridge, status: u16, text: &str) {
    let client = Client::http1(bridge.address());
    let said = until(LIMIT, || async {
        let answer = client.try_get("/readyz").await?;
        let body = match answer.status {
            StatusCode::OK => String::from_utf8_lossy(&answer.body).into_owned(),
            _ => answer.json()["detail"].as_str()?.to_owned(),
        };
        let says = if text.ends_with(' ') { body.starts_with(text) } else { body.trim_end() == text };
        (answer.status == status && says).then_some(())
    });
    assert!(said.await.is_ok(), "/readyz is not {status} {text:?}\n{}", bridge.process().log_tail());
}

/// What was sent to each topic, in order.
async fn bodies(topic: &Topic<'_>) -> Vec<String> {
    let data = |record: &Record| record.event()["data"].as_str().unwrap().to_owned();
    topic.records().await.iter().map(data).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_has_its_cluster_and_neither_knows_when_the_other_is_gone() {
    const AT_ONCE: usize = 20;
    let (home, eu) =
        tokio::join!(tokio::task::spawn_blocking(Kafka::start), tokio::task::spawn_blocking(Kafka::start));
    let (home, eu) = (home.unwrap(), eu.unwrap());
    // The same name in both, so that nothing but the cluster tells them apart.
    let name = format!("{}both", unique_prefix());
    let plan = [(name.clone(), 1, MAX_RECORD_BYTES)];
    let at_home = Topic::create_named(&home, &plan).await.remove(0);
    let in_eu = Topic::create_named(&eu, &plan).await.remove(0);
    let strict = bridge(&home, &eu, true).await;
    let lenient = bridge(&home, &eu, false).await;
    let mut document = document([("home", &*name), ("eu", &*name), ("us", &*name)], "10s");
    document["routes"][1]["kafka"]["cluster"] = json!("eu");
    document["routes"][2]["kafka"]["cluster"] = json!("us");
    let gateway = Gateway::start(&document, lenient).await;
    let (client, lenient) = (gateway.http1(), gateway.bridge());
    until_said(lenient, 200, "ready").await;

    // Side by side, with nothing but the cluster between them.
    let calls: Vec<_> = (0..2 * AT_ONCE)
        .map(|number| {
            let client = client.clone();
            let route = if number % 2 == 0 { "home" } else { "eu" };
            tokio::spawn(async move { post(&client, route, route).await })
        })
        .collect();
    for call in calls {
        expect::accepted(&call.await.unwrap());
    }
    assert_eq!(bodies(&at_home).await, vec!["home"; AT_ONCE]);
    assert_eq!(bodies(&in_eu).await, vec!["eu"; AT_ONCE]);
    expect::problem(&post(&client, "us", "us").await, 502, "refused");
    let acknowledged = async |cluster: &str| {
        let labels = format!(r#"{cluster},outcome="acknowledged""#);
        lenient.count("kafka_bridge_records_total", &labels).await
    };
    assert_eq!((acknowledged(HOME).await, acknowledged(EU).await), (20, 20));

    // The second is killed. The first goes on while that is noticed, and after.
    eu.node().kill();
    let killed = Instant::now();
    let mut sent = AT_ONCE;
    let said = async {
        // Handed over before anybody knows: as slow as an answer gets.
        let answer = post(&client, "eu", "gone").await;
        assert!(matches!(answer.status.as_u16(), 503 | 504), "{answer:?}");
        until_said(lenient, 200, "ready; cluster eu, which is not required: ").await;
        until_said(&strict, 503, "cluster eu: ").await;
        let open = || lenient.count("kafka_bridge_breaker_cluster_open", EU);
        let opened = until(LIMIT, || async { (open().await == 1).then_some(()) });
        assert!(opened.await.is_ok(), "the breaker of a cluster that is gone stays closed");
        expect::problem(&post(&client, "eu", "gone").await, 503, "unavailable");
    };
    let mut said = std::pin::pin!(said);
    let (caller, mut slowest) = (gateway.http1(), Duration::ZERO);
    loop {
        let asked = Instant::now();
        tokio::select! {
            () = &mut said => break,
            answer = post(&caller, "home", "home") => {
                expect::accepted(&answer);
                slowest = slowest.max(asked.elapsed());
                sent += 1;
            }
        }
    }
    println!(
        "the second cluster was gone for {:?}; {} for the first, the slowest in {slowest:?}",
        killed.elapsed(),
        sent - AT_ONCE
    );
    // Less than a record may take that waits for a cluster that is gone.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    let ready = async |cluster: &str| lenient.count("kafka_bridge_cluster_ready", cluster).await;
    assert_eq!((ready(HOME).await, ready(EU).await), (1, 0));
    assert_eq!(
        (lenient.count("kafka_bridge_ready", "").await, strict.count("kafka_bridge_ready", "").await),
        (1, 0)
    );
    assert_eq!(lenient.count("kafka_bridge_breaker_cluster_open", HOME).await, 0);
    let unavailable = async |cluster: &str| {
        let labels = format!(r#"{cluster},outcome="unavailable""#);
        lenient.count("kafka_bridge_records_total", &labels).await
    };
    assert_eq!(unavailable(HOME).await, 0);
    assert!(unavailable(EU).await > 0);

    eu.node().start();
    tokio::task::block_in_place(|| eu.wait_for_brokers(1));
    until_said(&strict, 200, "ready").await;
    until_said(lenient, 200, "ready").await;
    let back = until(LIMIT, || async { (post(&client, "eu", "back").await.status == 202).then_some(()) });
    assert!(back.await.is_ok(), "no 202 since it is back\n{}", gateway.log_tails());

    // The first is frozen, and the second goes on; the default cluster is one that is required.
    home.node().freeze();
    until_said(lenient, 503, "cluster default: ").await;
    for _ in 0..AT_ONCE {
        expect::accepted(&post(&client, "eu", "alone").await);
    }
    assert_eq!((ready(HOME).await, ready(EU).await), (0, 1));
    home.node().thaw();
    until_said(lenient, 200, "ready").await;

    // A request in the moment of the choice may have been written and not counted.
    let found = bodies(&at_home).await;
    assert!(found.len() >= sent && found.iter().all(|body| body == "home"), "{sent} sent: {found:?}");
    let found = bodies(&in_eu).await;
    let with = |body: &str| found.iter().filter(|other| *other == body).count();
    assert_eq!((with("eu"), with("alone"), with("home")), (AT_ONCE, AT_ONCE, 0), "{found:?}");
    assert!(with("back") >= 1, "{found:?}");
    strict.stop_in_order();
    lenient.stop_in_order();
    gateway.envoy.assert_unharmed();
}
