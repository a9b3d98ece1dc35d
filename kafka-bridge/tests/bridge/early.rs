//! Answers that are given before a body has come whole arrive all the same, every time.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{Bridge, EVENT, RECORDS, cluster, until};

const MIB: usize = 1 << 20;

/// Sends all of a body before it reads anything; returns what came back.
async fn sent_whole(bridge: &Bridge, path: &str, media_type: &str, framing: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(bridge.client.address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A proxy gives up on what fails here, and never reads the answer.
    if let Err(error) = stream.write_all(body).await {
        return format!("not sent: {error}");
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_not_overtaken_by_a_reset() {
    let cluster = cluster();
    let secrets = std::env::temp_dir().join(format!("bridge-early-{}", std::process::id()));
    std::fs::write(&secrets, "t".repeat(40)).unwrap();
    let open = Bridge::ready(&cluster, &["--max-body-bytes", &MIB.to_string()]).await;
    let closed = Bridge::ready(&cluster, &["--hop-token-file", secrets.to_str().unwrap()]).await;
    let body = vec![b'x'; 4 * MIB];
    let announced = format!("content-length: {}", body.len());
    let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    for (bridge, path, media_type, framing, body, status) in [
        (&open, "/v1/records", RECORDS, &*announced, &body, 413),
        (&open, "/v1/records", RECORDS, "transfer-encoding: chunked", &chunked, 413),
        (&open, "/v1/topics/t/events", EVENT, &*announced, &body, 413),
        (&open, "/v1/records", "text/plain", &*announced, &body, 415),
        (&open, "/v1/clusters/none/topics/t/events", EVENT, &*announced, &body, 404),
        (&open, "/nowhere", EVENT, &*announced, &body, 404),
        (&closed, "/v1/records", RECORDS, &*announced, &body, 401),
    ] {
        for attempt in 0..50 {
            let answer = sent_whole(bridge, path, media_type, framing, body).await;
            let wanted = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&wanted) && answer.ends_with('}'), "{path}, {attempt}: {answer:?}");
        }
    }
    std::fs::remove_file(secrets).unwrap();
}

/// So does a 503 that is given for want of memory, with most of the body unread.
#[tokio::test(flavor = "multi_thread")]
async fn nor_is_a_refusal_for_want_of_memory() {
    let cluster = cluster();
    let bytes = (4 * MIB).to_string();
    let patient = ["--body-idle-timeout", "120s", "--body-timeout", "120s"];
    let small = ["--max-body-bytes", &bytes, "--queue-kbytes", "4096"];
    let bridge = Bridge::ready(&cluster, &[&small[..], &patient].concat()).await;
    let body = vec![b'x'; 4 * MIB];
    let announced = format!("content-length: {}", body.len());
    // One that pauses shortly before its end has all the memory there is.
    let mut holder = TcpStream::connect(bridge.client.address).await.unwrap();
    let head =
        format!("POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {RECORDS}\r\n{announced}\r\n\r\n");
    holder.write_all(head.as_bytes()).await.unwrap();
    holder.write_all(&body[1..]).await.unwrap();
    until(async || bridge.client.metric("kafka_bridge_body_memory_bytes").await > 4_000_000).await;
    for attempt in 0..50 {
        let answer = sent_whole(&bridge, "/v1/records", RECORDS, &announced, &body).await;
        let wanted =
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1") && answer.ends_with('}');
        assert!(wanted, "{attempt}: {answer:?}");
    }
}

/// What is left unread is read for a while, and the connection does not stay for a caller who goes on.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_listened_to_for_long() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-body-bytes", &MIB.to_string()]).await;
    let mut stream = TcpStream::connect(bridge.client.address).await.unwrap();
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {RECORDS}\r\ncontent-length: {}\r\n\r\n",
        1_usize << 40
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (started, mut sent) = (Instant::now(), 0);
    while stream.write_all(&[b'x'; 1024]).await.is_ok() {
        sent += 1;
        assert!(started.elapsed() < Duration::from_secs(15), "it still listens, after {sent} KiB");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() > Duration::from_secs(2), "{:?}", started.elapsed());
}
