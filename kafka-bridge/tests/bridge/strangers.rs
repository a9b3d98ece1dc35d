//! What those who are not let in can keep from those who are.

use std::time::Duration;

use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wicketgate_envelope::signature::SIGNATURE_HEADER;

use crate::common::{Bridge, EVENT, cluster, event};
use crate::hop::{SECRET, Secrets, now, post, sign};
use crate::limits::Endless;

const PATH: &str = "/v1/topics/t/events";

/// As good as a signature can be that somebody made up.
fn made_up() -> String {
    format!("t={},n=0123456789abcdef,v1={}", now(), "0".repeat(64))
}

/// A call that announces a body, and has sent so much of it.
async fn unfinished(bridge: &Bridge, announced: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(bridge.client.address).await.unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {EVENT}\r\n{SIGNATURE_HEADER}: {}\r\n\
         content-length: {announced}\r\nexpect: 100-continue\r\n\r\n",
        made_up()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The body is being waited for, unless the announcement was too much.
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    if line.starts_with(b"HTTP/1.1 413") {
        return stream;
    }
    assert!(line.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&line));
    stream.read_exact(&mut [0; 13]).await.unwrap();
    stream.write_all("x".repeat(sent).as_bytes()).await.unwrap();
    stream
}

/// What the bridge says until it closes the connection.
async fn answer(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut said));
    // Whether it is closed or reset, what came before counts.
    let _ = reading.await.expect("the bridge waits on");
    String::from_utf8(said).unwrap()
}

async fn signed(bridge: &Bridge, number: usize) -> u16 {
    signed_of(bridge, number, 500).await
}

/// The same with so many bytes in the event.
async fn signed_of(bridge: &Bridge, number: usize, bytes: usize) -> u16 {
    let sent = event(&number.to_string(), bytes);
    let signature = sign(SECRET, now(), &format!("nonce-0123456789-{number}"), PATH, &sent);
    post(bridge, PATH, &[(SIGNATURE_HEADER, &signature)], &sent).await.status.as_u16()
}

#[tokio::test]
async fn announced_bodies_of_strangers_take_nothing_from_signed_callers() {
    let cluster = cluster();
    let secrets = Secrets::new("announced", SECRET);
    let bridge = Bridge::ready(&cluster, &["--hop-secret-file", secrets.path()]).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(unfinished(&bridge, 16 << 20, 0).await);
    }
    for number in 0..5 {
        assert_eq!(signed(&bridge, number).await, 202);
    }
    let started = std::time::Instant::now();
    let said = answer(unfinished(&bridge, (16 << 20) + 1, 0).await).await;
    assert!(said.contains("urn:wicketgate:problem:too-large"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(4), "it was waited for: {:?}", started.elapsed());
}

#[tokio::test]
async fn what_strangers_did_send_makes_room_for_signed_callers() {
    let cluster = cluster();
    let secrets = Secrets::new("sent", SECRET);
    let flags = ["--queue-kbytes", "64", "--max-body-bytes", "16384", "--max-record-bytes", "8000"];
    let bridge =
        Bridge::ready(&cluster, &[&flags[..], &["--hop-secret-file", secrets.path()]].concat()).await;
    // They have 16 KiB together.
    let large = unfinished(&bridge, 16_384, 10_000).await;
    let mut small = Vec::new();
    for _ in 0..4 {
        small.push(unfinished(&bridge, 16_384, 5_000).await);
    }
    let said = answer(large).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("memory"), "{said}");
    for number in 0..20 {
        assert_eq!(signed(&bridge, number).await, 202);
    }
}

#[tokio::test]
async fn many_small_bodies_of_strangers_keep_no_signed_caller_out() {
    let cluster = cluster();
    let secrets = Secrets::new("small", SECRET);
    // 16 KiB for all without a proof, of which each stranger takes one.
    let flags = ["--queue-kbytes", "64", "--max-body-bytes", "16384", "--max-record-bytes", "8000"];
    let bridge =
        Bridge::ready(&cluster, &[&flags[..], &["--hop-secret-file", secrets.path()]].concat()).await;
    let mut strangers = Vec::new();
    for number in 0..4 {
        for _ in 0..20 {
            strangers.push(unfinished(&bridge, 100, 1).await);
        }
        for bytes in [500, 4_000, 7_000] {
            assert_eq!(signed_of(&bridge, number * 10_000 + bytes, bytes).await, 202, "{bytes} bytes");
        }
    }
    let refused = r#"kafka_bridge_hop_refusals_total{reason="no_memory"}"#;
    assert!(bridge.client.metric(refused).await >= 64);
    let taken = bridge.client.metric(r#"kafka_bridge_body_memory_bytes{proof="none"}"#).await;
    let limit = bridge.client.metric(r#"kafka_bridge_body_memory_limit_bytes{proof="none"}"#).await;
    assert!((1..=limit).contains(&taken) && limit == 16 << 10, "{taken} of {limit}");
    // Those that have waited longest went for it.
    let said = answer(strangers.swap_remove(0)).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("memory"), "{said}");
}

#[tokio::test]
async fn the_streams_of_one_connection_share_what_it_may_take() {
    let cluster = cluster();
    let secrets = Secrets::new("streams", SECRET);
    // 8 KiB a connection.
    let flags = ["--queue-kbytes", "64", "--max-body-bytes", "4096", "--max-record-bytes", "2000"];
    let bridge =
        Bridge::ready(&cluster, &[&flags[..], &["--hop-secret-file", secrets.path()]].concat()).await;
    let stream = TcpStream::connect(bridge.client.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let piece: &'static str = Box::leak("x".repeat(3_500).into_boxed_str());
    let call = || {
        let mut sender: http2::SendRequest<Endless> = sender.clone();
        let request = Request::post(format!("http://bridge{PATH}"))
            .header("content-type", EVENT)
            .header(SIGNATURE_HEADER, made_up())
            .body(Endless::new(&[piece], Duration::from_millis(1)))
            .unwrap();
        async move { sender.send_request(request).await.unwrap().status() }
    };
    let first = tokio::select! {
        status = call() => status,
        status = call() => status,
        status = call() => status,
    };
    assert_eq!(first, 503);
    assert_eq!(signed(&bridge, 0).await, 202);
    connection.abort();
}
