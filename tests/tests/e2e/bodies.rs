//! Bodies arrive as they were sent, whatever they are.

use wicketgate_tests::gateway::MAX_BODY_BYTES;
use wicketgate_tests::http_client::{full, pieces};
use wicketgate_tests::raw_http;

use crate::expect;
use crate::lane::{Lane, SMALL_TOPIC_BYTES};

/// JSON that a parser and printer on the way would change: order, repeated names, numbers beyond 64 bits, escapes.
const ODD_JSON: &str = "{\"b\" :1e400,\t\"a\" : 9007199254740993.00, \"a\":123456789012345678901234567890,\r\n  \
    \"esc\":\"\\u00e9\\/\\ud83d\\ude80\", \"raw\":\"é🚀\u{2028}\u{7f}\", \"z\":-0.0 , \"n\":[ ],\"\":null}";

#[tokio::test]
async fn json_is_kept_byte_for_byte() {
    let lane = Lane::take("json").await;
    let client = lane.gateway.http1();
    let bodies = [ODD_JSON, "0.10", " \n[1 , 2]\t ", "\"\\u0000\"", "true", "{}"];
    let mut answers = Vec::new();
    for body in bodies {
        let request = lane
            .post(&client, "42")
            .header("content-type", "application/json; charset=utf-8")
            .body(full(body));
        answers.push(client.send(request.unwrap()).await);
    }
    let records = lane.topic.records().await;
    assert_eq!(records.len(), bodies.len());
    for ((body, answer), record) in bodies.iter().zip(&answers).zip(&records) {
        expect::receipt_of(answer, &lane.topic, record);
        expect::envelope(record, "42");
        // White space around a JSON text is not part of its value.
        let value = body.trim_matches([' ', '\t', '\r', '\n']);
        assert_eq!(String::from_utf8_lossy(&expect::json_data(record)), value);
        assert_eq!(record.event()["datacontenttype"], "application/json; charset=utf-8");
        assert_eq!(record.headers.len(), 1, "{record:?}");
    }
}

#[tokio::test]
async fn text_is_kept() {
    let lane = Lane::take("text").await;
    let client = lane.gateway.http1();
    let body = "zwei Zeilen:\r\n\t\"größer\" \\ 🚀\u{0}\u{1b}";
    let request = lane.post(&client, "t").header("content-type", "text/plain").body(full(body)).unwrap();
    let answer = client.send(request).await;
    // Says text, and is not UTF-8.
    let latin1 = b"gr\xf6\xdfer";
    let request =
        lane.post(&client, "t").header("content-type", "text/plain").body(full(&latin1[..])).unwrap();
    client.send(request).await;

    let [text, other] = lane.topic.records().await.try_into().unwrap();
    expect::receipt_of(&answer, &lane.topic, &text);
    expect::envelope(&text, "t");
    assert_eq!(text.event()["data"], body);
    assert_eq!(text.event()["datacontenttype"], "text/plain");
    assert_eq!(expect::binary_data(&other), latin1);
}

#[tokio::test]
async fn a_megabyte_of_noise_is_kept() {
    let lane = Lane::take("binary").await;
    let body = expect::noise(MAX_BODY_BYTES, 1);
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        let request = lane.post(&client, "big").header("content-type", "application/octet-stream");
        let answer = client.send(request.body(full(body.clone())).unwrap()).await;
        let record = lane.topic.records().await.pop().unwrap();
        expect::receipt_of(&answer, &lane.topic, &record);
        expect::envelope(&record, "big");
        assert!(expect::binary_data(&record) == body, "{MAX_BODY_BYTES} bytes differ");
    }
    assert_eq!(lane.topic.records().await.len(), 2);
}

#[tokio::test]
async fn no_body_is_no_data() {
    let lane = Lane::take("empty").await;
    let mut answers = Vec::new();
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        // With a length of 0, and (in HTTP/2) with an empty last frame.
        for body in [full(""), pieces([])] {
            let request =
                lane.post(&client, "e").header("content-type", "application/json").body(body).unwrap();
            answers.push(client.send(request).await);
        }
    }
    let raw = raw_http::exchange(lane.gateway.envoy.address(), lane.raw_post("e") + "\r\n").await;
    assert_eq!(raw_http::status(&raw), 202, "neither content-length nor transfer-encoding");

    let records = lane.topic.records().await;
    assert_eq!(records.len(), 5);
    for (answer, record) in answers.iter().zip(&records) {
        expect::receipt_of(answer, &lane.topic, record);
    }
    for record in &records {
        expect::envelope(record, "e");
        for absent in ["data", "data_base64", "datacontenttype"] {
            assert!(record.event().get(absent).is_none(), "{absent} in {record:?}");
        }
    }
}

#[tokio::test]
async fn what_says_json_and_is_not_is_refused() {
    let lane = Lane::take("not-json").await;
    let client = lane.gateway.http1();
    for body in ["{\"open\":", "{} {}", "NaN", "\u{feff}{}", " "] {
        let request =
            lane.post(&client, "x").header("content-type", "application/json").body(full(body)).unwrap();
        expect::problem(&client.send(request).await, 400, "bad-request");
    }
    lane.assert_nothing_happened().await;
}

#[tokio::test]
async fn one_byte_more_than_allowed_is_refused() {
    let lane = Lane::take("size").await;
    let gateway = lane.gateway.envoy.address();

    // By its declared length, before any of it is sent.
    let head = format!("{}content-length: {}\r\n\r\n", lane.raw_post("x"), MAX_BODY_BYTES + 1);
    let answer = raw_http::exchange(gateway, head).await;
    assert_eq!(raw_http::status(&answer), 413);
    assert!(String::from_utf8_lossy(&answer).contains("urn:wicketgate:problem:too-large"), "{answer:?}");

    // By what has come, where no length is declared.
    let body = expect::noise(MAX_BODY_BYTES + 1, 2);
    let mut chunked = format!("{}transfer-encoding: chunked\r\n\r\n", lane.raw_post("x")).into_bytes();
    for chunk in body.chunks(60_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    // Without the end of the body: the answer must not wait for it.
    assert_eq!(raw_http::status(&raw_http::exchange(gateway, chunked).await), 413);

    let client = lane.gateway.http2();
    let request = lane.post(&client, "x").body(full(body)).unwrap();
    expect::problem(&client.send(request).await, 413, "too-large");
    lane.assert_nothing_happened().await;
}

/// The gateway allows it, and the topic does not. The producer must not be the worse for it.
#[tokio::test]
async fn more_than_the_topic_takes_is_refused() {
    let lane = Lane::take("small-topic").await;
    let client = lane.gateway.http1();
    for _ in 0..3 {
        let request = lane.post(&client, "big").body(full(expect::noise(SMALL_TOPIC_BYTES, 7))).unwrap();
        expect::problem(&client.send(request).await, 413, "too-large");
        let request =
            lane.post(&client, "small").body(full(expect::noise(SMALL_TOPIC_BYTES / 5, 8))).unwrap();
        expect::accepted(&client.send(request).await);
    }
    let records = lane.topic.records().await;
    assert_eq!(records.len(), 3);
    for record in &records {
        expect::envelope(record, "small");
    }
}
