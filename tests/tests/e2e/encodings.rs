//! Bodies with a `Content-Encoding`.

use http::request::Builder;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wicketgate_tests::http_client::full;

use crate::compressed::{deflate, fixture, gzip};
use crate::expect;
use crate::rig::{Rig, document};

const DECODED_BYTES: usize = 200_000;

fn route(name: &str, encoding: &str) -> Value {
    json!({
        "name": name,
        "match": {"methods": ["POST"], "path": format!("/{name}")},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "accept": {"formats": ["raw", "ndjson"], "content_encoding": encoding, "decoded_bytes": DECODED_BYTES},
        "event": {"type": "com.example.encoded"},
        "kafka": {"topic": name},
    })
}

fn routes() -> Value {
    json!([route("decode", "decode"), route("carry", "carry"), route("refuse", "refuse")])
}

fn encoded(rig: &Rig, path: &str, encoding: &str) -> Builder {
    rig.post_json(path).header("content-encoding", encoding)
}

#[tokio::test]
async fn what_is_understood_is_decoded() {
    let rig = Rig::start(document(routes()), &["decode", "carry", "refuse"]).await;
    let document = fixture("doc.json");
    let bodies = [
        ("gzip", gzip(&document)),
        ("GZip", fixture("doc.gz")),
        ("x-gzip", [gzip(&document[..100]), gzip(&document[100..])].concat()),
        ("deflate", deflate(&document)),
        ("br", fixture("doc.br")),
        ("zstd", fixture("doc.zst")),
        ("identity", document.clone()),
        ("deflate, gzip", gzip(&deflate(&document))),
    ];
    for (encoding, body) in &bodies {
        let answer = rig.send(encoded(&rig, "/decode", encoding), body.clone()).await;
        assert_eq!(answer.status, 202, "{encoding}: {answer:?}");
    }
    let lines =
        rig.post("/decode").header("content-type", "application/x-ndjson").header("content-encoding", "gzip");
    let answer = rig.send(lines, gzip(b"{\"n\":1}\n{\"n\":2}\n")).await;
    assert_eq!(expect::accepted(&answer)["results"].as_array().unwrap().len(), 2);

    let records = rig.topic("decode").records().await;
    assert_eq!(records.len(), bodies.len() + 2);
    let text = String::from_utf8(document).unwrap();
    for (record, (encoding, _)) in records.iter().zip(&bodies) {
        assert_eq!(String::from_utf8(expect::json_data(record)).unwrap(), text.trim(), "{encoding}");
        assert_eq!(record.event().get("wgencoding"), None);
    }
}

#[tokio::test]
async fn what_is_carried_stays_as_it_came_and_says_so() {
    let rig = Rig::start(document(routes()), &["decode", "carry", "refuse"]).await;
    // Whatever it is: carried is not looked into.
    let bodies = [
        ("gzip", gzip(b"{}")),
        ("br", b"not brotli".to_vec()),
        ("deflate, zstd", vec![0, 255]),
        ("snappy", b"(hello world".to_vec()),
    ];
    for (encoding, body) in &bodies {
        expect::accepted(&rig.send(encoded(&rig, "/carry", encoding), body.clone()).await);
    }
    let records = rig.topic("carry").records().await;
    assert_eq!(records.len(), bodies.len());
    for (record, (encoding, body)) in records.iter().zip(&bodies) {
        assert_eq!(&expect::binary_data(record), body);
        let event = record.event();
        assert_eq!(
            (&event["wgencoding"], &event["datacontenttype"]),
            (&json!(encoding), &json!("application/json"))
        );
    }
    for (path, encoding, accepted) in [
        ("/carry", "no coding", "*"),
        ("/decode", "compress", "gzip, deflate, br, zstd"),
        ("/decode", "gzip, br, gzip", "gzip, deflate, br, zstd"),
        ("/refuse", "gzip", "identity"),
        ("/refuse", "snappy", "identity"),
    ] {
        let answer = rig.send(encoded(&rig, path, encoding), gzip(b"{}")).await;
        expect::problem(&answer, 415, "unsupported-encoding");
        assert_eq!(answer.header("accept-encoding"), accepted, "{answer:?}");
    }
    for topic in ["decode", "refuse"] {
        rig.topic(topic).assert_empty().await;
    }
}

/// Encoded or not: an event cannot claim what only the gateway says, nor bring what is to be redacted.
#[tokio::test]
async fn what_is_encoded_gets_past_no_rule() {
    let with = |name: &str, encoding: &str| {
        let mut route = route(name, encoding);
        route["accept"]["formats"] = json!(["raw", "cloudevent", "cloudevents_batch", "ndjson"]);
        route["accept"]["media_types"] = json!(["application/json"]);
        route["redact"] = json!({"headers": {"ce-ssn": "drop"}});
        route
    };
    let routes = json!([with("decode", "decode"), with("carry", "carry")]);
    let rig = Rig::start(document(routes), &["decode", "carry"]).await;
    let event = |more: Value| {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event.to_string()
    };
    let send = async |path: &str, content_type: &str, body: &str| {
        let request = rig.post(path).header("content-type", content_type).header("content-encoding", "gzip");
        rig.send(request, gzip(body.as_bytes())).await
    };
    let structured = "application/cloudevents+json";
    let forged = event(json!({"authid": "admin"}));
    let secret = event(json!({"ssn": "078-05-1120"}));
    expect::problem(&send("/decode", structured, &forged).await, 400, "bad-request");
    for body in [&forged, &secret] {
        expect::problem(&send("/carry", structured, body).await, 415, "unsupported-encoding");
        let batch = send("/carry", "application/cloudevents-batch+json", &format!("[{body}]")).await;
        expect::problem(&batch, 415, "unsupported-encoding");
    }
    let binary = encoded(&rig, "/carry", "gzip")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/s")
        .header("ce-type", "t")
        .header("ce-authid", "admin");
    expect::problem(&rig.send(binary, gzip(b"{}")).await, 415, "unsupported-encoding");
    expect::problem(&send("/carry", "application/x-ndjson", "{}\n{}\n").await, 415, "unsupported-encoding");
    for path in ["/carry", "/decode"] {
        expect::problem(&send(path, "image/png", "x").await, 415, "unsupported-media-type");
    }
    rig.assert_nothing_happened().await;

    expect::accepted(&send("/decode", structured, &secret).await);
    expect::accepted(&send("/carry", "application/json", "{}").await);
    let [decoded] = rig.topic("decode").records().await.try_into().unwrap();
    assert_eq!((decoded.event().get("ssn"), &decoded.event()["id"]), (None, &json!("1")));
    let [carried] = rig.topic("carry").records().await.try_into().unwrap();
    assert_eq!(carried.event()["wgencoding"], "gzip");
}

#[tokio::test]
async fn what_is_cut_off_or_damaged_is_refused() {
    let rig = Rig::start(document(routes()), &["decode", "carry", "refuse"]).await;
    let document = fixture("doc.json");
    let damaged = |mut body: Vec<u8>| {
        let middle = body.len() / 2;
        body[middle] ^= 0x55;
        body
    };
    let cut = |mut body: Vec<u8>| {
        body.pop();
        body
    };
    for (encoding, body) in [
        ("gzip", gzip(&document)),
        ("deflate", deflate(&document)),
        ("br", fixture("doc.br")),
        ("zstd", fixture("doc.zst")),
    ] {
        let longer = [body.as_slice(), b"and more"].concat();
        for (what, body) in [("cut", cut(body.clone())), ("longer", longer), ("text", document.clone())] {
            let content = expect::problem(
                &rig.send(encoded(&rig, "/decode", encoding), body).await,
                400,
                "bad-request",
            );
            assert!(content["detail"].as_str().unwrap().contains(encoding), "{what} {encoding}: {content}");
        }
        // Brotli has no checksum: damage can make other text, which is then no JSON.
        expect::problem(
            &rig.send(encoded(&rig, "/decode", encoding), damaged(body)).await,
            400,
            "bad-request",
        );
    }
    let raw = rig.send(encoded(&rig, "/decode", "deflate"), fixture("doc.raw")).await;
    expect::problem(&raw, 400, "bad-request");
    rig.assert_nothing_happened().await;
}

/// 8 or 64 MiB of zeros behind 53 bytes to 8 KiB: each is refused, and no memory is kept.
#[tokio::test]
async fn bombs_are_refused_and_cost_no_memory() {
    const ROUNDS: usize = 12;
    // What comes and goes while nothing leaks. Of the 240 bombs below each would leave the cap, at the least, behind.
    const ALLOWED_GROWTH: u64 = 24 * 1024 * 1024;
    let rig = Rig::start(document(routes()), &["decode", "carry", "refuse"]).await;
    let zeros = vec![0; 8 * 1024 * 1024];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", deflate(&zeros)),
        ("br", fixture("bomb.br")),
        ("zstd", fixture("bomb.zst")),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ];
    drop(zeros);
    let round = async || {
        let mut callers = JoinSet::new();
        for (encoding, body) in bombs.iter().chain(&bombs).chain(&bombs).chain(&bombs) {
            // Connections of their own, so that every worker gets some.
            let client = rig.gateway.http1();
            let request = encoded(&rig, "/decode", encoding).body(full(body.clone())).unwrap();
            callers.spawn(async move { client.send(request).await });
        }
        for answer in callers.join_all().await {
            expect::problem(&answer, 413, "too-large");
        }
        expect::accepted(&rig.send(encoded(&rig, "/decode", "gzip"), gzip(b"{}")).await);
    };
    // What a worker needs for the first of each kind, it keeps.
    for _ in 0..4 {
        round().await;
    }
    let before = rig.gateway.envoy.process().memory();
    for _ in 0..ROUNDS {
        round().await;
    }
    let after = rig.gateway.envoy.process().memory();
    assert!(after.saturating_sub(before) < ALLOWED_GROWTH, "memory grew from {before} to {after} bytes");

    // A little more than the cap, and the cap itself.
    let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    let over = rig.send(encoded(&rig, "/decode", "gzip"), gzip(text(DECODED_BYTES + 1).as_bytes())).await;
    expect::problem(&over, 413, "too-large");
    expect::accepted(&rig.send(encoded(&rig, "/decode", "gzip"), gzip(text(DECODED_BYTES).as_bytes())).await);
    assert_eq!(rig.topic("decode").records().await.len(), 4 + ROUNDS + 1);
}
