//! How many connections there may be, what ends them, and whom strangers' connections cost nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wicketgate_envelope::signature::SIGNATURE_HEADER;

use crate::common::process::{Process, command_with_files};
use crate::common::{Bridge, EVENT, cluster, count, event};
use crate::hop::{SECRET, Secrets, now, sign};

const PATH: &str = "/v1/topics/t/events";

async fn connected(bridge: &Bridge) -> TcpStream {
    TcpStream::connect(bridge.client.address).await.unwrap()
}

/// Waits until the other side has closed a connection, or reset it.
async fn closed(stream: &mut TcpStream) {
    let mut said = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut said));
    let _ = reading.await.expect("the connection is still open");
}

fn signed(number: usize) -> Request<Full<Bytes>> {
    let sent = event(&number.to_string(), 100);
    let signature = sign(SECRET, now(), &format!("nonce-0123456789-{number}"), PATH, &sent);
    let request = Request::post(PATH).header("host", "x").header("content-type", EVENT);
    request.header(SIGNATURE_HEADER, signature).body(Full::from(sent)).unwrap()
}

/// A connection that its caller keeps, over HTTP/1.1.
async fn kept(bridge: &Bridge) -> http1::SendRequest<Full<Bytes>> {
    let (sender, connection) = http1::handshake(TokioIo::new(connected(bridge).await)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(sender: &mut http1::SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> u16 {
    sender.ready().await.expect("the connection was closed");
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    answer.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn idle_connections_leave_files_to_kafka_and_to_callers() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    let process = Process::start_with_files(&["--bootstrap-servers", &servers], 120);
    process.client.until_ready(true, Duration::from_secs(10)).await;
    let mut strangers = Vec::new();
    for _ in 0..200 {
        strangers.push(TcpStream::connect(process.client.address).await.unwrap());
    }
    // ack=leader takes a client of its own, which has no connection yet.
    let answer = process
        .client
        .send("POST", &format!("{PATH}?ack=leader"), &[("content-type", EVENT)], event("1", 10))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(process.client.get("/livez").await.status, 200);
    assert_eq!(count(&cluster, "t"), 1);
    assert!(process.client.metric(r#"kafka_bridge_connections_ended_total{reason="limit"}"#).await > 100);
    let limit = process.client.metric("kafka_bridge_connections_limit").await;
    assert_eq!(limit, 60);
    let open = process.client.metric(r#"kafka_bridge_connections{proof="none"}"#).await;
    assert!(open < limit, "{open}");
}

#[test]
fn more_connections_than_files_are_refused() {
    let flags = ["--embedded-broker", "--listen", "127.0.0.1:0", "--max-connections", "900"];
    let output = command_with_files(&flags, 1024).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("--max-connections 900: the process may open 1024 files, of which it needs 256"),
        "{text}"
    );
}

#[tokio::test]
async fn strangers_put_out_each_other_and_nobody_who_has_shown_a_proof() {
    let cluster = cluster();
    let secrets = Secrets::new("connections", SECRET);
    let flags = ["--max-connections", "8", "--hop-secret-file", secrets.path()];
    let bridge = Bridge::ready(&cluster, &flags).await;
    let mut caller = kept(&bridge).await;
    assert_eq!(send(&mut caller, signed(0)).await, 202);
    let mut strangers = Vec::new();
    for number in 1..40 {
        strangers.push(connected(&bridge).await);
        assert_eq!(send(&mut caller, signed(number)).await, 202);
        // A new caller gets in too.
        assert_eq!(send(&mut kept(&bridge).await, signed(1_000 + number)).await, 202);
        assert_eq!(bridge.client.get("/livez").await.status, 200);
    }
    closed(&mut strangers[0]).await;
    assert!(bridge.client.metric(r#"kafka_bridge_connections_ended_total{reason="limit"}"#).await > 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_over_http_2_too_though_pings_are_answered() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--idle-timeout", "500ms"]).await;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(connected(&bridge).await)).await.unwrap();
    let connection = tokio::spawn(connection);
    for path in ["/livez", PATH] {
        let request = if path == PATH {
            Request::post(format!("http://bridge{path}"))
                .header("content-type", EVENT)
                .body(Full::<Bytes>::from(event("1", 10)))
        } else {
            Request::get(format!("http://bridge{path}")).body(Full::default())
        };
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        assert!(answer.status().is_success());
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
    ended.expect("it stays for ever").unwrap().unwrap();
    drop(sender);
}

#[tokio::test]
async fn answers_that_nobody_reads_end_their_connection() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--body-timeout", "1s"]).await;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).initial_stream_window_size(0);
    let (mut sender, connection) = builder.handshake(TokioIo::new(connected(&bridge).await)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut unread = Vec::new();
    for _ in 0..50 {
        let request = Request::get("http://bridge/metrics").body(Full::<Bytes>::default()).unwrap();
        unread.push(sender.send_request(request).await.unwrap());
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
    let _ = ended.expect("they are kept for ever").unwrap();
    let reason = r#"kafka_bridge_connections_ended_total{reason="answer_not_taken"}"#;
    assert_eq!(bridge.client.metric(reason).await, 1);
}

#[tokio::test]
async fn a_stop_waits_for_no_request_that_nobody_has_made() {
    let cluster = cluster();
    let secrets = Secrets::new("stop", SECRET);
    let flags = ["--shutdown-timeout", "60s", "--hop-secret-file", secrets.path()];
    let bridge = Bridge::ready(&cluster, &flags).await;
    let mut partial = connected(&bridge).await;
    partial.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut body = connected(&bridge).await;
    let stranger = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\n{SIGNATURE_HEADER}: t={},n=0123456789abcdef,v1={}\r\n\
         content-length: 9\r\nexpect: 100-continue\r\n\r\n",
        now(),
        "0".repeat(64)
    );
    body.write_all(stranger.as_bytes()).await.unwrap();
    body.read_exact(&mut [0; 25]).await.unwrap();
    body.write_all(b"x").await.unwrap();
    let mut caller = kept(&bridge).await;
    assert_eq!(send(&mut caller, signed(1)).await, 202);
    // The clients' pool has connections as well.
    assert_eq!(bridge.client.get("/livez").await.status, 200);
    let started = Instant::now();
    let leftover = bridge.stop().await;
    assert!(leftover.is_none(), "{leftover:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    closed(&mut partial).await;
    closed(&mut body).await;
}

#[tokio::test]
async fn a_stop_answers_the_requests_that_were_let_in() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let mut caller = connected(&bridge).await;
    let body = event("1", 100);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {EVENT}\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\n\r\n",
        body.len()
    );
    caller.write_all(head.as_bytes()).await.unwrap();
    caller.read_exact(&mut [0; 25]).await.unwrap();
    let stopping = tokio::spawn(bridge.stop());
    // Longer than strangers are given.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!stopping.is_finished());
    caller.write_all(body.as_bytes()).await.unwrap();
    let mut said = String::new();
    caller.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 202 "), "{said}");
    let leftover = stopping.await.unwrap();
    assert!(leftover.is_none(), "{leftover:?}");
    assert_eq!(count(&cluster, "t"), 1);
}
