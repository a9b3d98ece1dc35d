//! What a request may ask for, in bytes and in time, over both versions of HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::common::{Answer, Bridge, EVENT, cluster, count, event};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Interval, interval};

const HEAD: &str =
    "POST /v1/topics/t/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\n";

/// Sends `start` and then each of `pieces` after a pause, and reads until the bridge closes the connection.
async fn dribble(address: SocketAddr, start: &str, pieces: &[&str], pause: Duration) -> String {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    writer.write_all(start.as_bytes()).await.unwrap();
    let pieces: Vec<_> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    let writing = tokio::spawn(async move {
        for piece in pieces {
            tokio::time::sleep(pause).await;
            if writer.write_all(piece.as_bytes()).await.is_err() {
                break;
            }
        }
        // Open until the bridge has had enough.
        std::future::pending::<()>().await;
        drop(writer);
    });
    let mut answer = Vec::new();
    let reading = reader.read_to_end(&mut answer);
    // Whether it is closed or reset, what came before counts.
    let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the bridge waits on");
    writing.abort();
    String::from_utf8(answer).unwrap()
}

fn assert_problem(answer: &str, status: u16, kind: &str, detail: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(
        answer.contains(&format!("urn:wicketgate:problem:{kind}")) && answer.contains(detail),
        "{answer}"
    );
}

/// A body that comes piece by piece, a pause before each, and never ends.
pub struct Endless {
    pieces: Vec<Bytes>,
    pause: Interval,
}

impl Endless {
    pub fn new(pieces: &[&'static str], pause: Duration) -> Self {
        let pieces = pieces.iter().rev().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        Self { pieces, pause: interval(pause) }
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.pause.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        match self.pieces.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Poll::Pending,
        }
    }
}

/// Sends a body over HTTP/2 that never ends.
async fn endless(bridge: &Bridge, body: Endless) -> Answer {
    let stream = TcpStream::connect(bridge.client.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        Request::post("http://bridge/v1/topics/t/events").header("content-type", EVENT).body(body).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), sender.send_request(request));
    let (head, body) = answer.await.expect("the bridge waits on").unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    Answer { status: head.status, version: head.version, headers: head.headers, body }
}

#[tokio::test]
async fn a_head_over_the_limits_is_refused_in_the_bridges_own_words() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-headers", "20", "--max-header-bytes", "4096"]).await;
    let (long, longer) = ("x".repeat(3_000), "x".repeat(4_096));
    for (name, client) in [("HTTP/1.1", bridge.client.clone()), ("HTTP/2", bridge.client.over_http_2())] {
        // With those of the client itself, which are at most three.
        let many: Vec<_> = (0..16).map(|number| format!("x-{number}")).collect();
        let mut headers: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
        headers.push(("content-type", EVENT));
        let path = "/v1/topics/t/events";
        let answer = client.send("POST", path, &headers, event("1", 10)).await;
        assert_eq!(answer.status, 202, "{name}: {answer:?}");
        headers.extend([("x-16", "1"), ("x-16", "2"), ("x-16", "3"), ("x-16", "4")]);
        let answer = client.send("POST", path, &headers, event("2", 10)).await;
        let problem = answer.assert_problem(431, "headers-too-large");
        assert!(
            problem["detail"].as_str().unwrap().contains("at most 20 header fields"),
            "{name}: {problem}"
        );

        let headers = [("content-type", EVENT), ("x-long", long.as_str()), ("x-request-id", "r-7")];
        let answer = client.send("POST", path, &headers, event("1", 10)).await;
        assert_eq!(answer.status, 202, "{name}: {answer:?}");
        let headers = [("content-type", EVENT), ("x-longer", longer.as_str()), ("x-request-id", "r-7")];
        let answer = client.send("POST", path, &headers, event("2", 10)).await;
        let problem = answer.assert_problem(431, "headers-too-large");
        assert!(problem["detail"].as_str().unwrap().contains("at most 4096 bytes"), "{name}: {problem}");
        assert_eq!(problem["request_id"], "r-7", "{name}");
        let target = format!("{path}?{longer}");
        client.send("GET", &target, &[], "").await.assert_problem(431, "headers-too-large");
        client
            .send("GET", &format!("/livez?{longer}"), &[], "")
            .await
            .assert_problem(431, "headers-too-large");
    }
    assert_eq!(count(&cluster, "t"), 4);
}

#[tokio::test]
async fn a_head_far_over_the_limits_is_refused_before_it_is_read() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-header-bytes", "4096"]).await;
    // Not even the end of the head is waited for.
    let endless = format!("{HEAD}x-long: {}", "x".repeat(40_000));
    let answer = dribble(bridge.client.address, &endless, &[], Duration::ZERO).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let answer = dribble(bridge.client.address, &format!("{HEAD}{many}\r\n"), &[], Duration::ZERO).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let long = "x".repeat(40_000);
    let client = bridge.client.over_http_2();
    let answer = client.send("GET", "/livez", &[("x-long", &long)], "").await;
    assert_eq!((answer.status.as_u16(), answer.version), (431, hyper::Version::HTTP_2));
    // The connection goes on.
    assert_eq!(client.get("/livez").await.status, 200);
}

#[tokio::test]
async fn more_header_fields_may_be_allowed() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-headers", "300"]).await;
    let many: Vec<_> = (0..290).map(|number| format!("x-{number}")).collect();
    let mut headers: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    headers.push(("content-type", EVENT));
    for client in [bridge.client.clone(), bridge.client.over_http_2()] {
        let answer = client.send("POST", "/v1/topics/t/events", &headers, event("1", 10)).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

const PAUSES: [&str; 4] = ["--body-idle-timeout", "500ms", "--body-timeout", "2s"];

#[tokio::test]
async fn a_body_that_does_not_begin_or_go_on_is_not_waited_for() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &PAUSES).await;
    let address = bridge.client.address;
    let long = Duration::from_secs(60);
    let announced = format!("{HEAD}content-length: 99\r\n\r\n");
    let chunked = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
    for (start, detail) in [
        (announced.clone(), "must begin within 500ms"),
        (chunked.clone(), "must begin within 500ms"),
        (format!("{announced}{{"), "must go on within 500ms"),
        (format!("{chunked}1\r\n{{\r\n"), "must go on within 500ms"),
        // The start of a chunk's size is nothing of the body.
        (format!("{chunked}1\r\n{{\r\n9"), "must go on within 500ms"),
    ] {
        let started = Instant::now();
        assert_problem(&dribble(address, &start, &[], long).await, 408, "request-timeout", detail);
        assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
    }
    for (pieces, detail) in [(&[][..], "must begin within 500ms"), (&["{"], "must go on within 500ms")] {
        let answer = endless(&bridge, Endless::new(pieces, Duration::from_millis(1))).await;
        let problem = answer.assert_problem(408, "request-timeout");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
}

#[tokio::test]
async fn a_body_that_trickles_in_has_an_end_as_well() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &PAUSES).await;
    // Often enough for the one limit, and therefore up to the other.
    let (pause, pieces) = (Duration::from_millis(100), ["{"; 100]);
    let start = format!("{HEAD}content-length: 1000\r\n\r\n");
    let answer = dribble(bridge.client.address, &start, &pieces, pause).await;
    assert_problem(&answer, 408, "request-timeout", "whole body must arrive within 2s");
    let problem = endless(&bridge, Endless::new(&pieces, pause)).await.assert_problem(408, "request-timeout");
    assert!(problem["detail"].as_str().unwrap().contains("whole body must arrive within 2s"), "{problem}");
    // Frames with nothing in them are no sign of life.
    let problem =
        endless(&bridge, Endless::new(&[""; 100], pause)).await.assert_problem(408, "request-timeout");
    assert!(problem["detail"].as_str().unwrap().contains("must begin within 500ms"), "{problem}");
}

#[tokio::test]
async fn heads_that_never_end_are_given_up_and_keep_nobody_else_waiting() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--idle-timeout", "1s"]).await;
    let address = bridge.client.address;
    // The connection preface of HTTP/2 with empty settings, and a HEADERS frame that CONTINUATIONs are to follow.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let headers = "\0\0\u{1}\u{1}\0\0\0\0\u{1}\u{2}";
    let slow: Vec<_> = (0..120)
        .map(|number| {
            tokio::spawn(async move {
                let (start, piece) = match number % 3 {
                    0 => (HEAD.to_owned(), "x-a: 1\r\n"),
                    1 => (String::new(), "P"),
                    _ => (format!("{preface}{headers}"), ""),
                };
                let started = Instant::now();
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(start.as_bytes()).await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                let writing = tokio::spawn(async move {
                    while writer.write_all(piece.as_bytes()).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                });
                let mut said = Vec::new();
                let reading = tokio::time::timeout(Duration::from_secs(10), reader.read_to_end(&mut said));
                let _ = reading.await.unwrap_or_else(|_| panic!("kind {} is still waited for", number % 3));
                writing.abort();
                started.elapsed()
            })
        })
        .collect();
    let mut answered = 0;
    while !slow.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(bridge.client.event("t", event("1", 10)).await.status, 202);
        answered += 1;
    }
    assert!(answered > 0);
    for slow in slow {
        let lasted = slow.await.unwrap();
        assert!(lasted >= Duration::from_millis(900), "{lasted:?}");
    }
}

/// Too many headers, or too large ones, are about the record that has them.
#[tokio::test]
async fn the_headers_of_a_record_are_bounded() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let record = |id: &str, headers: &str| {
        format!(r#"{{"topic":"t","headers":[{headers}],"event":{}}}"#, event(id, 10))
    };
    let many = |count: usize| vec![r#"["x","1"]"#; count].join(",");
    let large = format!(r#"["x","{}"]"#, "v".repeat(262_144));
    let records =
        [record("1", &many(200_000)), record("2", &many(256)), record("3", &large), record("4", "")];
    let answer = bridge.client.records(format!(r#"{{"records":[{}]}}"#, records.join(","))).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let json = answer.json();
    let results: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["detail"].as_str().or(result["outcome"].as_str()).unwrap())
        .collect();
    let wanted = [
        "headers: wanted at most 256, got more",
        "acknowledged",
        "headers: wanted at most 262144 bytes of names and values, got 262145",
        "acknowledged",
    ];
    assert_eq!(results, wanted);
    let alone = bridge.client.records(format!(r#"{{"records":[{}]}}"#, record("5", &many(257)))).await;
    assert_eq!(alone.json()["results"][0]["detail"], wanted[0], "{alone:?}");
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_beyond_those_that_there_may_be_are_not_handed_to_librdkafka() {
    const REJECTED: &str = "kafka_bridge_max_topics_rejected_records_total";
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-topics", "2", "--allowed-topics", "named,t*"]).await;
    let client = &bridge.client;
    for topic in ["t1", "t2"] {
        assert_eq!(client.event(topic, event("1", 10)).await.status, 202);
    }
    for ack in ["", "?ack=leader", "?ack=none"] {
        let headers = [("content-type", EVENT)];
        let answer =
            client.send("POST", &format!("/v1/topics/t3/events{ack}"), &headers, event("1", 10)).await;
        answer.assert_problem(503, "unavailable");
    }
    assert_eq!(client.metric(REJECTED).await, 3);
    for topic in ["t1", "t2", "named"] {
        assert_eq!(client.event(topic, event("2", 10)).await.status, 202);
    }
    assert_eq!(client.metric(REJECTED).await, 3);
}
