//! What the caller gets, and how events are named.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::gateway::{self, Gateway, KEY};
use wicketgate_tests::http_client::full;
use wicketgate_tests::kafka;
use wicketgate_tests::topic::Topic;

use crate::expect;
use crate::rig::{Rig, document};

fn route(name: &str, more: &Value) -> Value {
    let mut route = json!({
        "name": name,
        "match": {"methods": ["POST"], "path": format!("/{name}")},
        "authentication": {"any_of": ["keys", "anonymous"]},
        "action": "produce",
        "accept": {"formats": ["raw", "cloudevent", "ndjson"]},
        "event": {"type": "com.example.answered"},
        "kafka": {"topic": "answers"},
    });
    for (field, value) in more.as_object().unwrap() {
        route[field] = value.clone();
    }
    route
}

#[tokio::test]
async fn a_route_shapes_its_successes_and_no_error() {
    let reply = json!({
        "status": 201,
        "headers": {"Cache-Control": "no-store", "x-taken-by": "gate 7"},
        "body": {"receipt": "id", "where": "partition", "number": "offset", "acknowledged_by": "ack"},
    });
    let rig = Rig::start(document(json!([route("shaped", &json!({"reply": reply}))])), &["answers"]).await;
    let answer = rig.send(rig.post_json("/shaped"), "{}").await;
    let record = rig.topic("answers").record().await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (201, "application/json"));
    assert_eq!((answer.header("cache-control"), answer.header("x-taken-by")), ("no-store", "gate 7"));
    let wanted = json!({"receipt": record.event()["id"], "where": 0, "number": 0, "acknowledged_by": "all"});
    assert_eq!(answer.json(), wanted);

    let batch = rig.send(rig.post("/shaped").header("content-type", "application/x-ndjson"), "1\n2\n").await;
    let results = batch.json()["results"].as_array().unwrap().clone();
    assert_eq!((batch.status.as_u16(), batch.header("x-taken-by"), results.len()), (201, "gate 7", 2));
    assert_eq!((&results[1]["status"], &results[1]["number"]), (&json!(201), &json!(2)));

    let denied = rig.send(rig.post_json("/shaped"), "{").await;
    expect::problem(&denied, 400, "bad-request");
    assert_eq!(denied.header("x-taken-by"), "");
}

#[tokio::test]
async fn a_reply_of_nothing_is_nothing() {
    let rig = Rig::start(
        document(json!([
            route("empty", &json!({"reply": {"status": 200, "body": {}}})),
            route("no-content", &json!({"reply": {"status": 204, "headers": {"x-taken-by": "gate 7"}}})),
            route("reset-content", &json!({"reply": {"status": 205}})),
        ])),
        &["answers"],
    )
    .await;
    let answer = rig.send(rig.post_json("/empty"), "{}").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{}"[..]));
    for (path, status, taken_by) in [("/no-content", 204, "gate 7"), ("/reset-content", 205, "")] {
        let answer = rig.send(rig.post_json(path), "{}").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0), "{answer:?}");
        assert_eq!((answer.header("content-type"), answer.header("x-taken-by")), ("", taken_by));
        let batch = rig.send(rig.post(path).header("content-type", "application/x-ndjson"), "1\n2\n").await;
        assert_eq!((batch.status.as_u16(), batch.body.len()), (status, 0), "{batch:?}");
        expect::problem(&rig.send(rig.post_json(path), "{").await, 400, "bad-request");
    }
    assert_eq!(rig.topic("answers").records().await.len(), 7);
}

#[tokio::test]
async fn an_id_is_the_callers_or_fresh() {
    let from_body = json!({"event": {"type": "t", "id": "{pointer:/id}"}});
    let rig = Rig::start(
        document(json!([
            route("fresh", &json!({})),
            route("delivery", &json!({"event": {"type": "t", "id": "{header:x-delivery}"}})),
            route("body", &from_body),
        ])),
        &["answers"],
    )
    .await;
    let mut wanted = Vec::new();
    let ndjson = |path: &str| rig.post(path).header("content-type", "application/x-ndjson");
    for (request, body, ids) in [
        (rig.post_json("/fresh").header("idempotency-key", "key-1"), "{}", vec!["key-1"]),
        // As a structured field has it.
        (rig.post_json("/fresh").header("Idempotency-Key", "\"key-2\""), "{}", vec!["key-2"]),
        (ndjson("/fresh").header("idempotency-key", "k"), "1\n2", vec!["k-0", "k-1"]),
        (
            rig.post_json("/delivery").header("x-delivery", "d-1").header("idempotency-key", "x"),
            "{}",
            vec!["d-1"],
        ),
        (ndjson("/delivery").header("x-delivery", "e"), "1\n2", vec!["e-0", "e-1"]),
        (rig.post_json("/body"), "{\"id\": 17}", vec!["17"]),
        (ndjson("/body"), "{\"id\": \"a\"}\n{\"id\": \"b\"}", vec!["a", "b"]),
        // An event that comes with an id keeps it.
        (
            rig.post("/fresh")
                .header("content-type", "application/cloudevents+json")
                .header("idempotency-key", "x"),
            r#"{"specversion":"1.0","id":"own","source":"/a","type":"t"}"#,
            vec!["own"],
        ),
    ] {
        let answer = expect::accepted(&rig.send(request, body).await);
        let told: Vec<Value> = match answer["results"].as_array() {
            Some(results) => results.iter().map(|result| result["id"].clone()).collect(),
            None => vec![answer["id"].clone()],
        };
        assert_eq!(told, ids);
        wanted.extend(ids.into_iter().map(Value::from));
    }
    let in_kafka: Vec<Value> =
        rig.topic("answers").records().await.iter().map(|record| record.event()["id"].clone()).collect();
    assert_eq!(in_kafka, wanted);

    for (name, value) in
        [("idempotency-key", ""), ("idempotency-key", "a b"), ("idempotency-key", "\"a"), ("x-other", "")]
    {
        let path = if name == "x-other" { "/delivery" } else { "/fresh" };
        let content = expect::problem(
            &rig.send(rig.post_json(path).header(name, value), "{}").await,
            400,
            "bad-request",
        );
        let field = if name == "x-other" { "x-delivery" } else { name };
        assert!(content["detail"].as_str().unwrap().contains(field), "{content}");
    }
    let long = rig.post_json("/fresh").header("idempotency-key", "k".repeat(256));
    expect::problem(&rig.send(long, "{}").await, 400, "bad-request");
    let twice = rig.post_json("/fresh").header("idempotency-key", "a").header("idempotency-key", "a");
    expect::problem(&rig.send(twice, "{}").await, 400, "bad-request");

    // Fresh ones are unique whichever worker makes them, and sort by time.
    let mut fresh = Vec::new();
    for _ in 0..40 {
        let client = rig.gateway.http1();
        let request =
            client.request(http::Method::POST, "/fresh").body(wicketgate_tests::http_client::full("x"));
        let id = expect::accepted(&client.send(request.unwrap()).await)["id"].as_str().unwrap().to_owned();
        assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
        fresh.push(id);
    }
    assert_eq!(fresh.iter().collect::<BTreeSet<_>>().len(), fresh.len());
    assert!(fresh.iter().map(|id| &id[..13]).is_sorted(), "{fresh:?}");
}

/// What one worker makes, no other makes, now or after a restart; and what is made later sorts behind.
#[tokio::test]
async fn fresh_ids_are_unique_across_workers_and_restarts() {
    const CONNECTIONS: usize = 16;
    const REQUESTS: usize = 25;
    let topic = Topic::create(kafka::shared(), "fresh-ids", 1).await;
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &[]).await;
    let document = gateway::document([("ids", topic.name())], "10s");
    let mut told = BTreeSet::new();
    for start in 1..=3 {
        let gateway = Gateway::start_before_bridge(&document, bridge.address()).await;
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let client = gateway.http1();
            connections.spawn(async move {
                let mut ids = Vec::new();
                for _ in 0..REQUESTS {
                    let request = client.request(Method::POST, "/e2e/ids/1").header("x-api-key", KEY);
                    let answer = client.send(request.body(full("x")).unwrap()).await;
                    ids.push(expect::accepted(&answer)["id"].as_str().unwrap().to_owned());
                }
                ids
            });
        }
        let latest_before = told.last().cloned().unwrap_or_default();
        for ids in connections.join_all().await {
            // A UUID of version 7 begins with the time in milliseconds (RFC 9562, section 5.7).
            assert!(ids.iter().map(|id| &id[..13]).is_sorted(), "{ids:?}");
            for id in ids {
                assert!(id > latest_before, "{id} was made after {latest_before}");
                assert!(told.insert(id.clone()), "start {start}: {id} was made twice");
            }
        }
        let workers = gateway.envoy.connections_by_worker().await;
        assert!(
            workers.len() >= 2 && workers.iter().all(|taken| *taken > 0),
            "a worker had nothing to do: {workers:?}"
        );
    }
    let records = topic.records().await;
    assert_eq!(records.len(), 3 * CONNECTIONS * REQUESTS);
    let in_kafka: BTreeSet<_> =
        records.iter().map(|record| record.event()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(in_kafka, told);
}
