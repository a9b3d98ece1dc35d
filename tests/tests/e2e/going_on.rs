//! Requests that go on to their upstream, with a copy in Kafka (`tee`) or without (`pass`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use wicketgate_tests::gateway::{Gateway, KEY};
use wicketgate_tests::http_client::{Answer, full, open, pieces};
use wicketgate_tests::ports::free_port;
use wicketgate_tests::upstream::ANSWER_EARLY;

use crate::compressed::gzip;
use crate::expect;
use crate::rig::{Rig, document};

fn tee(name: &str, on_error: &str, topic: &str) -> Value {
    json!({
        "name": name,
        "match": {"methods": ["POST"], "path": format!("/{name}/{{id}}")},
        "authentication": {"any_of": ["keys"]},
        "action": "tee",
        "on_error": on_error,
        "event": {"type": "com.example.copied", "query": true},
        "kafka": {"topic": topic, "key": "{id}"},
        "redact": {"query": {"token": "mask"}},
    })
}

fn routes() -> Value {
    json!([
        tee("deny", "deny", "copies"),
        tee("continue", "continue", "copies"),
        tee("deny-no-topic", "deny", "not-there"),
        tee("continue-no-topic", "continue", "not-there"),
        {
            "name": "pass",
            "match": {"methods": ["GET", "POST"], "path": "/pass/{id}"},
            "authentication": {"any_of": ["keys"]},
            "action": "pass",
        },
    ])
}

fn assert_from_upstream(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"upstream"[..]), "{answer:?}");
}

#[tokio::test]
async fn a_tee_copies_the_request_and_sends_it_on_unchanged() {
    let rig = Rig::start(document(routes()), &["copies"]).await;
    let noise = expect::noise(700_000, 11);
    let text = b"hello, hello, hello".to_vec();
    let squeezed = gzip(&text);
    let bodies = [
        ("application/octet-stream", None, noise.clone(), noise),
        ("text/plain", Some("gzip"), squeezed, text),
        ("application/json", None, b"{\"a\" : 1.0}".to_vec(), b"{\"a\" : 1.0}".to_vec()),
        ("text/plain", None, Vec::new(), Vec::new()),
    ];
    let path = "/deny/7?q=1&token=s3cr3t";
    let mut sent = Vec::new();
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for (media_type, encoding, body, decoded) in &bodies {
            for whole in [true, false] {
                let mut request = client.request(Method::POST, path).header("x-api-key", KEY);
                request = request.header("content-type", *media_type).header("x-other", "kept");
                if let Some(encoding) = encoding {
                    request = request.header("content-encoding", *encoding);
                }
                let chunks = body.chunks(30_000).map(Bytes::copy_from_slice);
                let in_pieces = if whole { full(body.clone()) } else { pieces(chunks) };
                assert_from_upstream(&client.send(request.body(in_pieces).unwrap()).await);
                sent.push((*media_type, *encoding, body, decoded));
            }
        }
    }
    let (seen, records) = (rig.gateway.upstream.seen(), rig.topic("copies").records().await);
    assert_eq!((seen.len(), records.len()), (sent.len(), sent.len()));
    for (((media_type, encoding, body, decoded), seen), record) in sent.iter().zip(&seen).zip(&records) {
        assert_eq!((&seen.method, seen.path.as_str()), (&Method::POST, path));
        assert!(seen.body == **body, "{} bytes of {media_type} differ", body.len());
        assert_eq!(seen.headers.get("content-type").unwrap(), media_type);
        assert_eq!(seen.headers.get("content-encoding").map(|value| value.to_str().unwrap()), *encoding);
        assert_eq!(seen.headers.get("x-other").unwrap(), "kept");
        assert_eq!(seen.headers.get("x-api-key"), None, "the upstream got the caller's key");

        let event = record.event();
        assert_eq!(record.key.as_deref(), Some(&b"7"[..]));
        assert_eq!((&event["wgroute"], &event["authid"]), (&json!("deny"), &json!("alice")));
        assert_eq!(event["wgquery"], "q=1&token=%5Bredacted%5D");
        assert_eq!(event["wgrequestid"], seen.headers.get("x-request-id").unwrap().to_str().unwrap());
        match (*media_type, decoded.as_slice()) {
            (_, []) => assert_eq!(event.get("data"), None),
            ("application/json", decoded) => assert_eq!(expect::json_data(record), decoded),
            ("text/plain", decoded) => assert_eq!(event["data"], String::from_utf8_lossy(decoded).as_ref()),
            (_, decoded) => assert!(expect::binary_data(record) == decoded),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_copied_is_denied_or_goes_on_as_the_route_says() {
    let rig = Rig::start(document(routes()), &["copies"]).await;
    let large = expect::noise(wicketgate_tests::gateway::MAX_BODY_BYTES + 1, 12);
    let mut passed = Vec::new();
    for (route, media_type, encoding, body, status, kind) in [
        ("deny", "application/json", None, &b"{\"open\":"[..], 400, "bad-request"),
        ("deny", "text/plain", Some("gzip"), b"not gzip", 400, "bad-request"),
        ("deny", "text/plain", Some("compress"), b"?", 415, "unsupported-encoding"),
        ("deny", "text/plain", None, large.as_slice(), 413, "too-large"),
        ("deny-no-topic", "text/plain", None, b"nowhere", 502, "refused"),
    ] {
        for whole in [true, false] {
            let with = |on_error: &str| {
                let path = format!("/{}/1", route.replace("deny", on_error));
                let mut request = rig.post(&path).header("content-type", media_type);
                if let Some(encoding) = encoding {
                    request = request.header("content-encoding", encoding);
                }
                let chunks = body.chunks(30_000).map(Bytes::copy_from_slice);
                request.body(if whole { full(body.to_vec()) } else { pieces(chunks) }).unwrap()
            };
            expect::problem(&rig.client.send(with("deny")).await, status, kind);
            assert_from_upstream(&rig.client.send(with("continue")).await);
            passed.push(body);
        }
    }
    let seen = rig.gateway.upstream.seen();
    assert_eq!(seen.len(), passed.len(), "what is denied does not go on");
    for (seen, body) in seen.iter().zip(passed) {
        assert!(seen.path.starts_with("/continue") && seen.body == body, "{} bytes differ", body.len());
        assert_eq!(seen.headers.get("x-api-key"), None, "the upstream got the caller's key");
    }
    rig.topic("copies").assert_empty().await;
}

#[tokio::test]
async fn without_a_bridge_a_tee_denies_or_goes_on_as_the_route_says() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let gateway = Gateway::start_before_bridge(&document(routes()), nowhere).await;
    let body = expect::noise(300_000, 13);
    let client = gateway.http1();
    let post = |path: &str| {
        let request = client.request(Method::POST, path).header("x-api-key", KEY);
        client.send(request.body(full(body.clone())).unwrap())
    };
    for _ in 0..3 {
        expect::problem(&post("/deny/1").await, 503, "bridge-unavailable");
        assert_from_upstream(&post("/continue/1").await);
    }
    let seen = gateway.upstream.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.path == "/continue/1" && seen.body == body), "300000 bytes differ");
    // Going on is for copies that fail, not for callers that are not let in.
    let unknown = client.request(Method::POST, "/continue/1").body(full("x")).unwrap();
    expect::problem(&client.send(unknown).await, 401, "unauthenticated");
    assert_eq!(gateway.upstream.seen().len(), 3);
    gateway.envoy.assert_unharmed();
}

#[tokio::test]
async fn a_pass_is_authenticated_and_leaves_no_credential_and_no_record() {
    let rig = Rig::start(document(routes()), &["copies"]).await;
    let body = expect::noise(100_000, 14);
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for (method, body) in [(Method::GET, Vec::new()), (Method::POST, body.clone())] {
            let request = |key: &str| {
                let request = client.request(method.clone(), "/pass/1?x=%2F").header("x-api-key", key);
                request.header("cookie", "a=b").body(full(body.clone())).unwrap()
            };
            expect::problem(&client.send(request("wrong")).await, 401, "unauthenticated");
            assert_from_upstream(&client.send(request(KEY)).await);
            let seen = rig.gateway.upstream.seen().pop().unwrap();
            assert_eq!((&seen.method, seen.path.as_str()), (&method, "/pass/1?x=%2F"));
            assert_eq!(seen.headers.get("x-api-key"), None, "the upstream got the caller's key");
            assert_eq!(seen.headers.get("cookie").unwrap(), "a=b");
            assert!(seen.body == body, "{} bytes differ", body.len());
        }
    }
    assert_eq!(rig.gateway.upstream.seen().len(), 4);
    rig.topic("copies").assert_empty().await;
}

/// One key or event id, many requests: each has a copy of its own, or it would go on in the place of another.
#[tokio::test]
async fn no_request_goes_on_with_the_copy_of_another() {
    let rig = Rig::start(document(routes()), &["copies"]).await;
    let key = ("idempotency-key", "one");
    let event = [("ce-specversion", "1.0"), ("ce-id", "one"), ("ce-source", "/s"), ("ce-type", "t")];
    let requests = [
        ("/deny/1", &[key][..], "a"),
        ("/deny/1", &[key], "a"),
        ("/deny/1?q=2", &[key], "a"),
        ("/deny/1?token=2", &[key], "a"),
        ("/deny/1", &[key, ("x-other", "1")], "a"),
        ("/deny/1", &[key], "b"),
        ("/deny/1", &event, "a"),
        ("/deny/1", &event, "b"),
    ];
    for (path, fields, body) in requests {
        let mut request = rig.post(path).header("content-type", "text/plain");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        assert_from_upstream(&rig.send(request, body.as_bytes().to_vec()).await);
    }
    let (seen, records) = (rig.gateway.upstream.seen(), rig.topic("copies").records().await);
    assert_eq!((seen.len(), records.len()), (requests.len(), requests.len()));
    let ids: std::collections::HashSet<String> =
        records.iter().map(|record| record.event()["id"].to_string()).collect();
    assert_eq!(ids.len(), requests.len());
    for ((seen, record), (_, fields, _)) in seen.iter().zip(&records).zip(requests) {
        let event = record.event();
        assert_eq!(event["wgrequestid"], seen.headers.get("x-request-id").unwrap().to_str().unwrap());
        let own = if fields.len() == 4 { json!("one") } else { Value::Null };
        assert_eq!(event["wgeventid"], own);
    }
}

/// The service behind sees nothing of a request before its copy is in Kafka, and the copy is of the whole body. So it cannot
/// answer early: what it says comes once the upload is over. It can where there is no copy.
#[tokio::test]
async fn an_upload_that_would_be_answered_early_is_held_until_it_is_copied_or_cannot_be() {
    const PART: usize = 200_000;
    let rig = Rig::start(document(routes()), &["copies"]).await;
    let mut copied = 0;
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for (status, on_error) in [("413", "deny"), ("200", "deny"), ("413", "continue")] {
            let upload = || {
                let (sender, pieces) = tokio::sync::mpsc::channel(100);
                let request =
                    client.request(Method::POST, &format!("/{on_error}/1")).header("x-api-key", KEY);
                let request =
                    request.header("content-type", "application/octet-stream").header(ANSWER_EARLY, status);
                let (client, request) = (client.clone(), request.body(open(pieces)).unwrap());
                (sender, tokio::spawn(async move { client.send(request).await }))
            };
            let piece = || Bytes::from(vec![7; PART]);
            let seen_before = rig.gateway.upstream.seen().len();

            // Below the limit.
            let (sender, answer) = upload();
            sender.send(piece()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert!(!answer.is_finished(), "{on_error}: answered before the upload was over");
            assert_eq!(
                rig.gateway.upstream.seen().len(),
                seen_before,
                "the service saw what is not copied yet"
            );
            sender.send(piece()).await.unwrap();
            drop(sender);
            assert_eq!(answer.await.unwrap().status.as_str(), status);
            copied += 1;

            // Above it, the end of the upload is not waited for.
            let (sender, answer) = upload();
            for _ in 0..=wicketgate_tests::gateway::MAX_BODY_BYTES / PART {
                sender.send(piece()).await.unwrap();
            }
            let answer = answer.await.unwrap();
            if on_error == "deny" {
                expect::problem(&answer, 413, "too-large");
                assert_eq!(rig.gateway.upstream.seen().len(), seen_before + 1);
            } else {
                assert_eq!(
                    (answer.status.as_str(), &answer.body[..]),
                    (status, &b"upstream"[..]),
                    "{answer:?}"
                );
                assert_eq!(rig.gateway.upstream.seen().len(), seen_before + 2);
            }
            drop(sender);
        }
    }
    let records = rig.topic("copies").records().await;
    assert_eq!(records.len(), copied);
    assert!(records.iter().all(|record| expect::binary_data(record) == vec![7; 2 * PART]));
}

/// An upload that stops is not held for ever.
#[tokio::test]
async fn an_upload_that_stops_is_given_up_when_nothing_has_moved_for_the_idle_time() {
    const IDLE: Duration = Duration::from_secs(2);
    let rig = Rig::start_altered(document(routes()), &[("copies", 1, 1_000_000)], &|configuration| {
        let altered = configuration.replace("stream_idle_timeout: 120s", "stream_idle_timeout: 2s");
        assert_ne!(altered, configuration);
        altered
    })
    .await;
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for on_error in ["deny", "continue"] {
            let (sender, pieces) = tokio::sync::mpsc::channel(100);
            let request = client.request(Method::POST, &format!("/{on_error}/1")).header("x-api-key", KEY);
            let request = request.header("content-type", "text/plain").body(open(pieces)).unwrap();
            let started = Instant::now();
            let answer = tokio::spawn({
                let client = client.clone();
                async move { client.send(request).await }
            });
            // As long as something comes, it is waited for.
            for _ in 0..3 {
                sender.send(Bytes::from_static(b"half")).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let answer = answer.await.unwrap();
            let waited = started.elapsed();
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..]),
                (408, &b"stream timeout"[..]),
                "{answer:?}"
            );
            let due = Duration::from_secs(2) + IDLE;
            assert!((due - IDLE / 4..due + IDLE).contains(&waited), "{waited:?}");
            drop(sender);
        }
    }
    rig.assert_nothing_happened().await;
}
