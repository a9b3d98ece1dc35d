//! The bridge in production mode takes calls from the gateway that has its secret, and from nobody else.

use std::fs;

use http::Method;
use serde_json::json;
use wicketgate_tests::artefacts;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::envoy::WORKERS;
use wicketgate_tests::gateway::{Gateway, KEY, document};
use wicketgate_tests::http_client::{Answer, Client, full};
use wicketgate_tests::kafka;
use wicketgate_tests::topic::Topic;

use crate::expect;

const SECRET: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071";
const OTHER_SECRET: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff";

async fn closed_bridge(allowed: &str) -> Bridge {
    let file = artefacts::root().join(format!("target/e2e/hop-secret-{}", std::process::id()));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let args = ["--mode", "production", "--hop-secret-file", &file, "--allowed-topics", allowed];
    Bridge::start(kafka::shared().bootstrap_servers(), &args).await
}

async fn post(client: &Client) -> Answer {
    let request = client.request(Method::POST, "/e2e/lane/1").header("x-api-key", KEY);
    client.send(request.body(full("signed")).unwrap()).await
}

#[tokio::test]
async fn only_the_gateway_that_has_the_secret_gets_anything_into_kafka() {
    let topic = Topic::create(kafka::shared(), "signed", 1).await;
    let bridge = closed_bridge(topic.name()).await;
    let address = bridge.address();
    let mut document = document([("lane", topic.name())], "10s");

    // Past the gateway, in the bridge's own words.
    let direct = Client::http1(address);
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    for (path, media_type, body) in [
        (
            "/v1/records",
            "application/vnd.wicketgate.records+json",
            json!({"records": [{"topic": topic.name(), "event": event}]}),
        ),
        (&format!("/v1/topics/{}/events", topic.name()), "application/cloudevents+json", event.clone()),
    ] {
        let request = direct.request(Method::POST, path).header("content-type", media_type);
        let answer = direct.send(request.body(full(body.to_string())).unwrap()).await;
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
    }

    // Callers of a gateway without a secret, or with another, are told no more than that the way to the bridge is at fault. As
    // a gateway whose secret is yet to arrive cannot be told from it, they may try again. Whoever runs the two reads in both
    // logs what it is and what mends it.
    let unsigned = Gateway::start_before_bridge(&document, address).await;
    document["bridge"]["secret"] = json!(OTHER_SECRET);
    let wrong = Gateway::start_before_bridge(&document, address).await;
    for (gateway, here, there) in [
        (
            unsigned,
            "kafka-bridge asks for a proof (401); give the document a bridge.secret",
            "reason=\"missing\"",
        ),
        (
            wrong,
            "kafka-bridge does not take the signature (401); have bridge.secret be",
            "reason=\"signature\"",
        ),
    ] {
        for client in [gateway.http1(), gateway.http2()] {
            for _ in 0..20 {
                let answer = post(&client).await;
                expect::problem(&answer, 503, "bridge-unavailable");
                assert_eq!(answer.header("retry-after"), "10", "{answer:?}");
            }
        }
        let lines = gateway.envoy.process().log().matches(here).count();
        assert!((1..=WORKERS as usize).contains(&lines), "{lines} lines\n{}", gateway.log_tails());
        let log = bridge.process().log();
        let line = log.lines().find(|line| line.contains(there)).unwrap_or_else(|| panic!("{there}: {log}"));
        assert!(
            line.contains("refused for want of a good proof") && line.contains("--hop-secret-file"),
            "{line}"
        );
    }
    assert!(topic.records().await.is_empty());

    document["bridge"]["secret"] = json!(SECRET);
    let gateway = Gateway::start(&document, bridge).await;
    for client in [gateway.http1(), gateway.http1(), gateway.http2()] {
        expect::accepted(&post(&client).await);
    }
    assert_eq!(topic.records().await.len(), 3);
    let logs = gateway.envoy.process().log() + &gateway.bridge().process().log();
    assert!(!logs.contains(SECRET) && !logs.contains(OTHER_SECRET), "a secret is in a log");
}
