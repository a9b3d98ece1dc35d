//! Requests that would become a larger call than kafka-bridge takes: their callers read a 413, whoever says it, and nothing is
//! written.

use bytes::Bytes;
use serde_json::{Value, json};
use wicketgate_tests::http_client::{full, pieces};

use crate::expect;
use crate::rig::{Rig, document};

const BODY_BYTES: usize = 20 << 20;

/// What kafka-bridge takes unless it is told otherwise.
const MAX_CALL_BYTES: usize = 16 << 20;

fn large(limits: Value) -> Value {
    let route = |name: &str, formats: &[&str]| {
        json!({
            "name": name,
            "match": {"methods": ["POST"], "path": format!("/{name}")},
            "authentication": {"any_of": ["keys"]},
            "action": "produce",
            "accept": {"formats": formats},
            "event": {"type": "com.example.large"},
            "kafka": {"topic": "large"},
        })
    };
    let mut document = document(json!([route("raw", &["raw"]), route("batch", &["json_array"])]));
    document["limits"] = limits;
    document
}

async fn calls(rig: &Rig) -> u64 {
    rig.gateway.envoy.stats().await["cluster.kafka-bridge.upstream_rq_total"]
}

/// A binary body grows by a third in its record, which is base64.
fn body() -> Vec<u8> {
    let body = expect::noise(13 << 20, 21);
    assert!(body.len() < BODY_BYTES && body.len() / 3 * 4 > MAX_CALL_BYTES);
    body
}

#[tokio::test]
async fn the_gateway_says_so_before_anything_is_sent() {
    let rig = Rig::start(large(json!({"body_bytes": BODY_BYTES})), &["large"]).await;
    let body = body();
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for whole in [true, false] {
            let request = client.request(http::Method::POST, "/raw");
            let request = request.header("x-api-key", wicketgate_tests::gateway::KEY);
            let request = request.header("content-type", "application/octet-stream");
            let chunks = body.chunks(100_000).map(Bytes::copy_from_slice);
            let answer = client
                .send(request.body(if whole { full(body.clone()) } else { pieces(chunks) }).unwrap())
                .await;
            let problem = expect::problem(&answer, 413, "too-large");
            assert!(
                problem["detail"].as_str().unwrap().starts_with("What is made of this request"),
                "{problem}"
            );
        }
    }
    assert_eq!(calls(&rig).await, 0, "the bridge was asked");
    rig.topic("large").assert_empty().await;

    // What stays below is taken, in one call.
    let element = "x".repeat(1_000_000);
    let batch = json!(vec![element; 15]).to_string();
    let answer = rig.send(rig.post_json("/batch"), batch).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!((calls(&rig).await, rig.topic("large").records().await.len()), (1, 15));
}

/// A document can allow more than the bridge takes. Then it is the bridge that says so, and its answer is not overtaken by the
/// end of the connection.
#[tokio::test]
async fn or_the_bridge_says_so_and_it_arrives() {
    let limits = json!({"body_bytes": BODY_BYTES, "record_bytes": 64 << 20});
    let rig = Rig::start(large(limits), &["large"]).await;
    let body = body();
    let mut told = Vec::new();
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for _ in 0..8 {
            let request = client.request(http::Method::POST, "/raw");
            let request = request.header("x-api-key", wicketgate_tests::gateway::KEY);
            let request = request.header("content-type", "application/octet-stream");
            told.push(client.send(request.body(full(body.clone())).unwrap()).await);
        }
    }
    for answer in &told {
        let problem = expect::problem(answer, 413, "too-large");
        assert!(problem["detail"].as_str().unwrap().ends_with("larger than Kafka takes."), "{problem}");
    }
    assert_eq!(calls(&rig).await, 16);
    rig.topic("large").assert_empty().await;
}
