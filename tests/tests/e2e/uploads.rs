//! However a body comes in, the same record comes out.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use wicketgate_tests::http_client::{full, pieces, pieces_and_trailers};
use wicketgate_tests::raw_http;

use crate::expect;
use crate::lane::Lane;

/// Cuts `body` into pieces of these lengths, again and again.
fn cut(body: &[u8], lengths: &[usize]) -> Vec<Bytes> {
    let mut rest = body;
    let mut out = Vec::new();
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            return out;
        }
        let (piece, after) = rest.split_at(length.min(rest.len()));
        out.push(Bytes::copy_from_slice(piece));
        rest = after;
    }
    out
}

#[tokio::test]
async fn in_odd_pieces() {
    let lane = Lane::take("pieces").await;
    let body = expect::noise(300_001, 3);
    let mut answers = Vec::new();
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        for lengths in [&[1, 7, 16_384, 3][..], &[65_537], &[99, 1, 40_000, 1]] {
            let request = lane.post(&client, "p").body(pieces(cut(&body, lengths))).unwrap();
            answers.push(client.send(request).await);
        }
    }
    let records = lane.topic.records().await;
    assert_eq!(records.len(), answers.len());
    for (answer, record) in answers.iter().zip(&records) {
        expect::receipt_of(answer, &lane.topic, record);
        assert!(expect::binary_data(record) == body, "300001 bytes differ");
    }
}

#[tokio::test]
async fn over_http2_as_over_http1() {
    let lane = Lane::take("http2").await;
    let body = "{\"two\" : 2}";
    let mut answers = Vec::new();
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        let request =
            lane.post(&client, "2").header("content-type", "application/json").header("x-device", "a7");
        answers.push(client.send(request.body(full(body)).unwrap()).await);
    }
    let records = lane.topic.records().await;
    assert_eq!(records.len(), 2);
    for (answer, record) in answers.iter().zip(&records) {
        expect::receipt_of(answer, &lane.topic, record);
        expect::envelope(record, "2");
        assert_eq!(expect::json_data(record), body.as_bytes());
        assert_eq!(record.header("x-device"), [b"a7"]);
    }
}

#[tokio::test]
async fn over_http2_with_trailers() {
    let lane = Lane::take("trailers").await;
    let client = lane.gateway.http2();
    let trailers = HeaderMap::from_iter([(
        http::header::HeaderName::from_static("x-checksum"),
        HeaderValue::from_static("1"),
    )]);
    let bodies = [expect::noise(200_000, 4), b"x".to_vec(), Vec::new()];
    let mut answers = Vec::new();
    for body in &bodies {
        let body = pieces_and_trailers(cut(body, &[70_000, 1]), trailers.clone());
        answers.push(client.send(lane.post(&client, "t").body(body).unwrap()).await);
    }
    let records = lane.topic.records().await;
    assert_eq!(records.len(), bodies.len());
    for ((answer, record), body) in answers.iter().zip(&records).zip(&bodies) {
        expect::receipt_of(answer, &lane.topic, record);
        match body.as_slice() {
            [] => assert!(record.event().get("data_base64").is_none()),
            body => assert!(expect::binary_data(record) == body, "{} bytes differ", body.len()),
        }
    }
}

#[tokio::test]
async fn over_http1_with_trailers() {
    let lane = Lane::take("http1-trailers").await;
    let request = lane.raw_post("t")
        + "content-type: text/plain\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum\r\n\r\n"
        + "5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nx-checksum: 1\r\n\r\n";
    let answer = raw_http::exchange(lane.gateway.envoy.address(), request).await;
    assert_eq!(raw_http::status(&answer), 202, "{}", String::from_utf8_lossy(&answer));
    assert_eq!(lane.record().await.event()["data"], "hello world");
}

/// As curl sends any body over a megabyte.
#[tokio::test]
async fn after_asking_whether_to_continue() {
    let lane = Lane::take("expect").await;
    let (address, head) = (lane.gateway.envoy.address(), lane.raw_post("c"));
    let body = expect::noise(1_000_000, 5);
    let sent = body.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        write!(stream, "{head}content-length: {}\r\nexpect: 100-continue\r\n\r\n", sent.len()).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(&sent).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    assert_eq!(raw_http::status(&answer.await.unwrap()), 202);
    assert!(expect::binary_data(&lane.record().await) == body, "a million bytes differ");
}
