//! What the bridge says to requests that it does not take.

use std::time::{Duration, Instant};

use crate::common::{Bridge, EVENT, RECORDS, cluster, count, event};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn each_refusal_is_a_problem_that_says_what_was_wrong() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-records", "2"]).await;
    let one = format!(r#"{{"topic":"t","event":{}}}"#, event("1", 1));
    let three = format!(r#"{{"records":[{one},{one},{one}]}}"#);
    for (method, path, content_type, body, status, kind, detail) in [
        ("GET", "/", "", "", 404, "not-found", "no such path"),
        ("POST", "/v1/records/", RECORDS, "{}", 404, "not-found", "no such path"),
        ("GET", "/v1/records", "", "", 405, "method-not-allowed", "Allow"),
        ("DELETE", "/readyz", "", "", 405, "method-not-allowed", "Allow"),
        ("POST", "/v1/records", "", "{}", 415, "unsupported-media-type", "got none"),
        ("POST", "/v1/records", "application/json", "{}", 415, "unsupported-media-type", RECORDS),
        ("POST", "/v1/topics/t/events", "application/json", "{}", 415, "unsupported-media-type", EVENT),
        ("POST", "/v1/records", RECORDS, "{", 400, "bad-request", "EOF"),
        ("POST", "/v1/records", RECORDS, r#"{"records":[]}"#, 400, "bad-request", "records: "),
        ("POST", "/v1/records", RECORDS, r#"{"records":[{"topic":"t"}]}"#, 400, "bad-request", "records[0]"),
        ("POST", "/v1/records", RECORDS, &three, 413, "too-large", "at most 2"),
        ("POST", "/v1/topics/t/events", EVENT, "", 400, "bad-request", "body: "),
        ("POST", "/v1/topics/t/events", EVENT, "{}", 400, "bad-request", "specversion"),
        (
            "POST",
            "/v1/topics/t/events",
            EVENT,
            r#"["1.0","1","s","t"]"#,
            400,
            "bad-request",
            "wanted an object",
        ),
        ("POST", "/v1/topics/%2e%2e/events", EVENT, &event("1", 1), 400, "bad-request", "topic: "),
        ("POST", "/v1/topics/%ff/events", EVENT, &event("1", 1), 400, "bad-request", "path: "),
    ] {
        let headers = [("content-type", content_type), ("x-request-id", "r-7")];
        let headers = if content_type.is_empty() { &headers[1..] } else { &headers[..] };
        let answer = bridge.client.send(method, path, headers, body.to_owned()).await;
        let problem = answer.assert_problem(status, kind);
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{method} {path}: {problem}");
        assert_eq!(problem["request_id"], "r-7", "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}: {answer:?}");
    }
    assert_eq!(count(&cluster, "t"), 0);
}

#[tokio::test]
async fn answers_to_operators_are_marked_too() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = bridge.client.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("wicketgate-bridge"), Some(crate::common::VERSION), "{path}");
    }
    assert_eq!(bridge.client.metric("kafka_bridge_ready").await, 1);
    assert_eq!(bridge.client.metric("kafka_bridge_brokers_up").await, 1);
}

/// Sends bytes as they are, and reads until the bridge closes or `within` is over.
async fn raw(bridge: &Bridge, request: &[u8], within: Duration) -> String {
    let mut stream = TcpStream::connect(bridge.client.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(within, stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_or_while_it_arrives() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-body-bytes", "1000"]).await;
    let head = format!("POST /v1/topics/t/events HTTP/1.1\r\nhost: x\r\ncontent-type: {EVENT}\r\n");
    let announced = format!("{head}content-length: 1001\r\n\r\n");
    let answer = raw(&bridge, announced.as_bytes(), Duration::from_secs(2)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}{chunk}");
    let answer = raw(&bridge, chunked.as_bytes(), Duration::from_secs(2)).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("urn:wicketgate:problem:too-large"),
        "{answer}"
    );
    // At the limit it is read, whatever the chunks.
    let fits = event("1", 1000 - event("1", 0).len());
    let (first, rest) = fits.split_at(7);
    let chunked = format!(
        "{head}connection: close\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\nt: 1\r\n\r\n",
        rest.len()
    );
    let answer = raw(&bridge, chunked.as_bytes(), Duration::from_secs(5)).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--body-timeout", "300ms"]).await;
    let head = format!(
        "POST /v1/topics/t/events HTTP/1.1\r\nhost: x\r\ncontent-type: {EVENT}\r\ncontent-length: 99\r\n\r\n{{"
    );
    let started = Instant::now();
    let answer = raw(&bridge, head.as_bytes(), Duration::from_secs(5)).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("300ms"), "{answer}");
    assert!((300..2_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn all_bodies_together_have_bounded_memory() {
    let cluster = cluster();
    let bridge = Bridge::ready(
        &cluster,
        &[
            "--max-record-bytes",
            "65536",
            "--queue-kbytes",
            "64",
            "--max-body-bytes",
            "65536",
            "--body-timeout",
            "20s",
        ],
    )
    .await;
    // One caller announces all there is, which takes nothing yet, and then sends all but the last byte.
    let mut slow = TcpStream::connect(bridge.client.address).await.unwrap();
    let head = format!(
        "POST /v1/topics/t/events HTTP/1.1\r\nhost: x\r\ncontent-type: {EVENT}\r\ncontent-length: 65536\r\nexpect: 100-continue\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // "100 Continue" shows that the bridge has begun to read.
    let mut line = [0; 12];
    slow.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100");
    assert_eq!(bridge.client.event("t", event("1", 100)).await.status, 202);
    slow.write_all(&[b' '; 65_535]).await.unwrap();
    let started = Instant::now();
    let answer = loop {
        let answer = bridge.client.event("t", event("1", 100)).await;
        if answer.status != 202 {
            break answer;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "what has arrived takes no memory");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    answer.assert_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(slow);
    let started = Instant::now();
    while bridge.client.event("t", event("1", 100)).await.status != 202 {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "the memory of a caller that left is not given back"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--idle-timeout", "300ms"]).await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "POST /v1/records HTTP/1.1\r\nhost:"] {
        let started = Instant::now();
        raw(&bridge, start.as_bytes(), Duration::from_secs(5)).await;
        assert!((250..2_000).contains(&started.elapsed().as_millis()), "{start:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn http_2_is_spoken_to_those_who_begin_with_it() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let client = bridge.client.over_http_2();
    let calls = (0..50).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { client.event("t", event(&n.to_string(), 20_000)).await })
    });
    for (n, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = call.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.version), (202, hyper::Version::HTTP_2));
        assert_eq!(answer.json()["id"], n.to_string());
    }
    assert_eq!(count(&cluster, "t"), 50);
}

#[tokio::test]
async fn an_event_that_says_something_twice_is_refused() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--idempotency-entries", "100"]).await;
    let sent =
        |members: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{members}}}"#);
    for (members, detail) in [
        (r#""data":1,"data":2"#, "data: wanted it at most once"),
        (r#""authid":"alice","authid":"bob""#, "authid: wanted it at most once"),
        (r#""data":1,"data_base64":"AAAA""#, "or data_base64, got both"),
    ] {
        let problem = bridge.client.event("t", sent(members)).await.assert_problem(400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        let record = format!(r#"{{"records":[{{"topic":"t","event":{}}}]}}"#, sent(members));
        let answer = bridge.client.records(record).await.json();
        assert_eq!(answer["results"][0]["outcome"], "invalid", "{answer}");
        assert!(answer["results"][0]["detail"].as_str().unwrap().contains(detail), "{answer}");
    }
    assert_eq!(bridge.client.event("t", sent(r#""data":2"#)).await.status, 202);
    assert_eq!(count(&cluster, "t"), 1);
}

#[tokio::test]
async fn errors_do_not_send_back_what_is_long() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let long = "a".repeat(3_000);
    let answers = [
        bridge
            .client
            .send(
                "POST",
                &format!("/v1/topics/t/events?ack={long}"),
                &[("content-type", EVENT)],
                event("1", 10),
            )
            .await,
        bridge.client.send("POST", "/v1/topics/t/events", &[("content-type", &long)], event("1", 10)).await,
        bridge.client.send("POST", "/v1/records", &[("content-type", &long)], "{}").await,
    ];
    for answer in answers {
        assert!(answer.status.is_client_error() && answer.body.len() < 600, "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains(&"a".repeat(80)), "{answer:?}");
    }
}
