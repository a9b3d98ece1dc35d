//! Several clusters by name: which of them a record goes to, and what one of them does to the others.

use std::time::{Duration, Instant};

use crate::common::{Bridge, Cluster, EVENT, cluster, count, event};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(15);

/// A table `[clusters.<name>]` for this cluster.
fn table(name: &str, cluster: &Cluster, further: &str) -> String {
    format!("[clusters.{name}]\nbootstrap_servers = \"{}\"\n{further}\n", cluster.bootstrap_servers())
}

async fn send(bridge: &Bridge, path: &str, id: &str) -> crate::common::Answer {
    bridge.client.send("POST", path, &[("content-type", EVENT)], event(id, 10)).await
}

#[tokio::test]
async fn an_event_goes_to_the_cluster_that_its_path_names() {
    let (home, eu) = (cluster(), cluster());
    let tables = table("eu", &eu, "allowed_topics = [\"t\"]");
    // Remembering, so that an event for one cluster is not taken for the same one for another.
    let flags = ["--idempotency-entries", "100"];
    let bridge = Bridge::start_with_clusters(&home.bootstrap_servers(), &flags, &tables).await;
    bridge.client.until_ready(true, WITHIN).await;

    for path in ["/v1/topics/t/events", "/v1/clusters/eu/topics/t/events"] {
        let answer = send(&bridge, path, "1").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("idempotency-replayed")),
            (202, None),
            "{path}: {answer:?}"
        );
    }
    assert_eq!((count(&home, "t"), count(&eu, "t")), (1, 1));
    // The default cluster has a name as well, and is the same one by either.
    let answer = send(&bridge, "/v1/clusters/default/topics/t/events", "1").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("idempotency-replayed")),
        (202, Some("true")),
        "{answer:?}"
    );
    let answer = send(&bridge, "/v1/clusters/default/topics/t/events", "2").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!((count(&home, "t"), count(&eu, "t")), (2, 1));

    let answer = send(&bridge, "/v1/clusters/us/topics/t/events", "3").await;
    let problem = answer.assert_problem(404, "not-found");
    assert_eq!(problem["detail"], "the bridge has no cluster of this name");
    // What the default cluster may be written is its own matter.
    send(&bridge, "/v1/clusters/eu/topics/u/events", "4").await.assert_problem(403, "forbidden");
    assert_eq!(send(&bridge, "/v1/topics/u/events", "5").await.status, 202);
    send(&bridge, "/v1/clusters/%ff/topics/u/events", "6").await.assert_problem(400, "bad-request");

    // One call, three clusters, of which the bridge has two.
    let record = |cluster: Option<&str>| json!({"topic": "t", "cluster": cluster, "event": {"specversion": "1.0", "id": "7", "source": "/s", "type": "t"}});
    let records = json!({"records": [record(Some("eu")), record(Some("us")), record(None)]});
    let answer = bridge.client.records(records.to_string()).await;
    let outcomes: Vec<_> = (0..3).map(|index| answer.json()["results"][index]["outcome"].clone()).collect();
    let wanted = ["acknowledged", "refused", "acknowledged"].map(|outcome| json!(outcome)).to_vec();
    assert_eq!((answer.status.as_u16(), outcomes), (207, wanted));
    assert_eq!((count(&home, "t"), count(&eu, "t")), (3, 2));

    let metric =
        async |labels: &str| bridge.client.metric(&format!("kafka_bridge_records_total{labels}")).await;
    assert_eq!(metric(r#"{cluster="default",outcome="acknowledged"}"#).await, 4);
    assert_eq!(metric(r#"{cluster="eu",outcome="acknowledged"}"#).await, 2);
    assert_eq!(metric(r#"{cluster="",outcome="refused"}"#).await, 1);
    assert_eq!(metric("").await, 7);
}

#[tokio::test]
async fn a_cluster_that_is_down_is_named_and_does_no_harm_to_the_others() {
    let (home, eu, us) = (cluster(), cluster(), cluster());
    let tables = table("eu", &eu, "") + &table("us", &us, "required = false");
    let bridge = Bridge::start_with_clusters(&home.bootstrap_servers(), &[], &tables).await;
    bridge.client.until_ready(true, WITHIN).await;
    let ready = async |text: &str| {
        let started = Instant::now();
        loop {
            let answer = bridge.client.get("/readyz").await;
            let body = match answer.status.as_u16() {
                200 => String::from_utf8(answer.body.to_vec()).unwrap(),
                _ => answer.assert_problem(503, "unavailable")["detail"].as_str().unwrap().to_owned(),
            };
            if body.trim_end() == text {
                return answer.status.as_u16();
            }
            assert!(started.elapsed() < WITHIN, "wanted {text:?}, got {body:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(ready("ready").await, 200);

    us.broker_down(1);
    assert_eq!(ready("ready; cluster us, which is not required: no broker is connected").await, 200);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_cluster_ready{cluster="us"}"#).await, 0);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_cluster_ready{cluster="eu"}"#).await, 1);
    assert_eq!(bridge.client.metric("kafka_bridge_ready").await, 1);
    eu.broker_down(1);
    let text =
        "cluster eu: no broker is connected; cluster us, which is not required: no broker is connected";
    assert_eq!(ready(text).await, 503);
    assert_eq!(bridge.client.metric("kafka_bridge_ready").await, 0);

    // The one that is up takes records as ever.
    for id in 0..10 {
        let answer = send(&bridge, "/v1/topics/t/events", &id.to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    // 504 before it is known that an attempt to connect fails.
    let answer = send(&bridge, "/v1/clusters/eu/topics/down/events", "x").await;
    assert!(matches!(answer.status.as_u16(), 503 | 504), "{answer:?}");
    eu.broker_up(1);
    us.broker_up(1);
    assert_eq!(ready("ready").await, 200);
    assert_eq!(send(&bridge, "/v1/clusters/eu/topics/t/events", "x").await.status, 202);

    let records = json!({"records": [{"topic": "t", "event": {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}}]});
    assert_eq!(bridge.client.records(records.to_string()).await.status, 202);
    assert_eq!((count(&home, "t"), count(&eu, "t")), (11, 1));
    assert!(bridge.stop().await.is_none());
}

#[tokio::test]
async fn the_default_cluster_may_be_one_that_is_not_required() {
    let eu = cluster();
    let flags = ["--required", "false", "--topics", "orders"];
    let bridge = Bridge::start_with_clusters("127.0.0.1:1", &flags, &table("eu", &eu, "")).await;
    bridge.client.until_ready(true, WITHIN).await;
    let text = String::from_utf8(bridge.client.get("/readyz").await.body.to_vec()).unwrap();
    assert!(text.starts_with("ready; cluster default, which is not required: "), "{text}");
    assert_eq!(send(&bridge, "/v1/clusters/eu/topics/t/events", "1").await.status, 202);
    eu.broker_down(1);
    bridge.client.until_ready(false, WITHIN).await;
}
