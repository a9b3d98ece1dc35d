//! Many events in one request.

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::gateway::{self, Gateway, KEY};
use wicketgate_tests::http_client::full;
use wicketgate_tests::kafka::{self, MAX_RECORD_BYTES};
use wicketgate_tests::topic::Topic;

use crate::expect;
use crate::rig::{Rig, document};

const NDJSON: &str = "application/x-ndjson";

fn route(name: &str, formats: &[&str]) -> Value {
    json!({
        "name": name,
        "match": {"methods": ["POST"], "path": format!("/{name}")},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "accept": {"formats": formats, "batch_events": 100},
        "event": {"type": "com.example.batched", "subject": "{pointer:/id|default:none}"},
        "kafka": {"topic": "events", "key": "{pointer:/id|default:none}"},
    })
}

fn routes() -> Value {
    json!([
        route("batch", &["ndjson", "json_array"]),
        route("either", &["raw", "ndjson", "json_array"]),
        route("single", &["raw"]),
    ])
}

#[tokio::test]
async fn each_line_or_element_is_a_record_byte_for_byte_and_in_order() {
    let rig = Rig::start(document(routes()), &["events"]).await;
    let values = [
        r#"{"id": "a", "n" : 1.0}"#,
        r#"{"id": "b", "n": 9007199254740993, "big": 1e400, "esc": "\u00e9"}"#,
        r#"{"id": 3}"#,
        "{}",
        "{\"id\":\"grün\"}",
    ];
    let ids = ["a", "b", "3", "none", "grün"];
    let lines = format!("\n{}\r\n\n", values.join("\r\n"));
    let array = format!(" [{}\n]", values.join(" ,\n"));
    let mut answers = Vec::new();
    for (path, media_type, body) in [
        ("/batch", NDJSON, lines.clone()),
        ("/batch", "application/jsonl; charset=utf-8", values.join("\n")),
        ("/batch", "application/json", array.clone()),
        ("/batch", "application/vnd.example+json", array.clone()),
        ("/either", "application/json", array),
        ("/either", NDJSON, lines),
    ] {
        let answer = rig.send(rig.post(path).header("content-type", media_type), body).await;
        answers.push(expect::accepted(&answer)["results"].as_array().unwrap().clone());
    }
    let records = rig.topic("events").records().await;
    assert_eq!(records.len(), answers.len() * values.len());
    let mut seen = std::collections::BTreeSet::new();
    for (batch, results) in records.chunks(values.len()).zip(&answers) {
        assert_eq!(results.len(), values.len());
        for (((record, result), value), id) in batch.iter().zip(results).zip(values).zip(ids) {
            let event = record.event();
            assert_eq!(String::from_utf8(expect::json_data(record)).unwrap(), value);
            assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
            assert_eq!(
                (&event["subject"], &event["datacontenttype"]),
                (&json!(id), &json!("application/json"))
            );
            assert_eq!((&result["id"], &result["offset"]), (&event["id"], &json!(record.offset)));
            assert!(seen.insert(event["id"].to_string()), "an id twice: {event}");
        }
    }
    // Where both are taken, what is no array is one event.
    let one = rig.send(rig.post_json("/either"), r#"{"id":"one"}"#).await;
    assert_eq!(expect::accepted(&one)["offset"], records.len());
}

#[tokio::test]
async fn one_bad_event_spoils_the_batch() {
    let rig = Rig::start(document(routes()), &["events"]).await;
    let many = |count: usize| vec!["{}"; count];
    for (path, media_type, body, status, named) in [
        ("/batch", NDJSON, String::new(), 400, "empty batch"),
        ("/batch", NDJSON, "\n \r\n".to_owned(), 400, "empty batch"),
        ("/batch", "application/json", "[]".to_owned(), 400, "empty batch"),
        ("/batch", "application/json", "{}".to_owned(), 400, "array"),
        ("/batch", "application/json", "[{}".to_owned(), 400, "body"),
        ("/batch", "application/json", "[{},]".to_owned(), 400, "body"),
        ("/batch", NDJSON, "{}\n{\"open\":\n{}\n".to_owned(), 400, "line 2"),
        ("/batch", NDJSON, "{}\n{}\n{} {}\n".to_owned(), 400, "line 3"),
        ("/batch", NDJSON, "{}\n\n\u{feff}{}".to_owned(), 400, "line 3"),
        ("/batch", NDJSON, "{\"id\":\"a\"}\n{\"id\":[1]}".to_owned(), 400, "event 1"),
        ("/batch", NDJSON, many(101).join("\n"), 413, "100"),
        ("/batch", "application/json", format!("[{}]", many(101).join(",")), 413, "100"),
        ("/batch", "text/plain", "{}".to_owned(), 415, "content-type"),
        ("/single", "application/cloudevents-batch+json", "[]".to_owned(), 415, "content-type"),
    ] {
        let kind = match status {
            400 => "bad-request",
            413 => "too-large",
            _ => "unsupported-media-type",
        };
        let answer = rig.send(rig.post(path).header("content-type", media_type), body.clone()).await;
        let content = expect::problem(&answer, status, kind);
        assert!(content["detail"].as_str().unwrap().contains(named), "{named}: {content} for {body}");
    }
    rig.assert_nothing_happened().await;
    // As many as are allowed.
    let answer = rig.send(rig.post("/batch").header("content-type", NDJSON), many(100).join("\n")).await;
    assert_eq!(expect::accepted(&answer)["results"].as_array().unwrap().len(), 100);
    assert_eq!(rig.topic("events").records().await.len(), 100);
}

/// A route with a topic for each event, and what stands in the way of some of them.
async fn rig_of_many_topics() -> Rig {
    let mut route = route("batch", &["ndjson"]);
    route["kafka"]["topic"] = "to.{pointer:/to}".into();
    let topics = [("to.large", 1, MAX_RECORD_BYTES), ("to.small", 1, SMALL_TOPIC_BYTES)];
    Rig::start_with(document(json!([route])), &topics).await
}

/// What [`rig_of_many_topics`] takes in `to.small`, in bytes.
const SMALL_TOPIC_BYTES: usize = 20_000;

fn line(to: &str, bytes: usize) -> String {
    // Random, because Kafka's limit is on what is compressed.
    let text: String = expect::noise(bytes / 2, 21).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{{\"to\":\"{to}\",\"text\":\"{text}\"}}\n")
}

fn told(results: &Value) -> Vec<(u64, &str)> {
    let told = |result: &Value| {
        assert!(result["id"].is_string() != result["event_id"].is_string(), "{result}");
        result["status"].as_u64().unwrap()
    };
    let kinds = results.as_array().unwrap().iter().map(|result| result["type"].as_str().unwrap_or_default());
    let kinds = kinds.map(|kind| kind.strip_prefix("urn:wicketgate:problem:").unwrap_or(kind));
    results.as_array().unwrap().iter().map(told).zip(kinds).collect()
}

#[tokio::test]
async fn a_batch_of_which_kafka_takes_a_part_is_207() {
    let rig = rig_of_many_topics().await;
    let send = |body: String| rig.send(rig.post("/batch").header("content-type", NDJSON), body);
    let (large, too_large, nowhere) = (line("large", 40_000), line("small", 40_000), line("nowhere", 2));

    let answer = send([large.as_str(), &too_large, &nowhere, &large].concat()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (207, "application/json"),
        "{answer:?}"
    );
    let results = answer.json()["results"].clone();
    assert_eq!(told(&results), [(202, ""), (413, "too-large"), (502, "refused"), (202, "")]);
    let records = rig.topic("to.large").records().await;
    let ids: Vec<_> = records.iter().map(|record| record.event()["id"].clone()).collect();
    assert_eq!(ids, [&results[0], &results[3]].map(|result| result["id"].clone()));

    // Of nothing, the first problem stands for all, and each is told.
    let answer = send([too_large, nowhere].concat()).await;
    let content = expect::problem(&answer, 413, "too-large");
    assert_eq!(told(&content["results"]), [(413, "too-large"), (502, "refused")]);
    rig.topic("to.small").assert_empty().await;
}

/// Kafka refuses all that is in one produce request with it.
#[tokio::test]
async fn what_is_too_large_does_no_harm_to_what_is_beside_it() {
    let rig = rig_of_many_topics().await;
    let send = |body: String| rig.send(rig.post("/batch").header("content-type", NDJSON), body);
    let (small, too_large) = (line("small", 100), line("small", 40_000));
    let answer = send([small.as_str(), &too_large, &small, &small].concat()).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    assert_eq!(told(&answer.json()["results"]), [(202, ""), (413, "too-large"), (202, ""), (202, "")]);
    // Each is small enough, and all of them together are not.
    let answer = send(line("small", 12_000).repeat(10)).await;
    assert_eq!(expect::accepted(&answer)["results"].as_array().unwrap().len(), 10);
    assert_eq!(rig.topic("to.small").records().await.len(), 13);
}

/// Requests of one moment share a call to the bridge. Where the call is larger than it takes, none of them is to blame.
#[tokio::test]
async fn a_call_that_is_too_large_only_because_it_is_shared_harms_nobody() {
    const REQUESTS: usize = 200;
    let topic = Topic::create(kafka::shared(), "shared-call", 1).await;
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &["--max-records", "1"]).await;
    let gateway = Gateway::start(&gateway::document([("shared", topic.name())], "10s"), bridge).await;
    let client = gateway.http2();
    let post =
        || client.request(Method::POST, "/e2e/shared/1").header("x-api-key", KEY).body(full("{}")).unwrap();
    // So that there is one connection, and with it one worker, for those that follow.
    expect::accepted(&client.send(post()).await);
    let mut callers = JoinSet::new();
    for _ in 0..REQUESTS {
        let (client, request) = (client.clone(), post());
        callers.spawn(async move { client.send(request).await });
    }
    for answer in callers.join_all().await {
        expect::accepted(&answer);
    }
    assert_eq!(topic.records().await.len(), REQUESTS + 1);
    let log = gateway.envoy.process().log();
    assert!(log.contains("so each request has one of its own"), "no call was shared\n{log}");
    gateway.envoy.assert_unharmed();
}

/// What is made of a key is nobody else's, and the key is good for one batch.
#[tokio::test]
async fn the_key_of_a_batch_is_good_for_one_batch() {
    let rig = Rig::start(document(routes()), &["events"]).await;
    let send = async |key: &str, media_type: &str, body: &str| {
        let request = rig.post("/batch").header("content-type", media_type).header("idempotency-key", key);
        rig.send(request, body.as_bytes().to_vec()).await
    };
    let two = send("k", NDJSON, "{\"n\":1}\n{\"n\":2}").await;
    assert_eq!(expect::accepted(&two)["results"].as_array().unwrap().len(), 2);
    let again = send("k", NDJSON, "{\"n\":1}\n{\"n\":2}").await;
    assert_eq!(expect::accepted(&again)["results"][1]["offset"], two.json()["results"][1]["offset"]);
    expect::problem(&send("k", NDJSON, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}").await, 422, "idempotency-conflict");
    expect::accepted(&send("k-1", NDJSON, "{\"n\":2}").await);
    assert_eq!(rig.topic("events").records().await.len(), 3);
}
