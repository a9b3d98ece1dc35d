//! Requests as other people's senders make them.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const SNS: &[u8] = include_bytes!("requests/sns-text-plain.http");
const CSP: &[u8] = include_bytes!("requests/csp-report.http");
const LINES: &[u8] = include_bytes!("requests/ndjson-gzip-as-application-json.http");
const REMOTE_WRITE: &[u8] = include_bytes!("requests/prometheus-remote-write-snappy.http");
const EMPTY_BATCH: &[u8] = include_bytes!("requests/ce-empty-batch.http");
const BEACON: &[u8] =
    b"POST /b HTTP/1.1\r\nHost: g\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\n{\"page\":\"/\"}";
const UNTYPED: &[u8] = b"POST /b HTTP/1.1\r\nHost: g\r\n\r\n{\"page\":\"/\"}";

/// The head and the body of a request as it is on the wire.
fn request(bytes: &'static [u8]) -> (RequestHead, &'static [u8]) {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let (line, fields) = head.split_once("\r\n").unwrap();
    let [method, target, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let mut head = RequestHead::default();
    head.push(b":method", method.as_bytes());
    head.push(b":path", target.as_bytes());
    for field in fields.split("\r\n") {
        let (name, value) = field.split_once(": ").unwrap();
        let name = if name == "Host" { ":authority" } else { name };
        head.push(name.as_bytes(), value.as_bytes());
    }
    (head, &bytes[end + 4..])
}

/// A route that takes everything that is posted, with this `accept` and this in `kafka`.
fn config(path: &str, accept: &str, kafka: &str) -> Rc<Config> {
    let document = format!(
        r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject", "routes": [
          {{ "name": "r", "match": {{ "methods": ["POST"], "path": "{path}" }},
            "authentication": {{ "any_of": ["anonymous"] }}, "action": "produce", "accept": {accept},
            "event": {{ "type": "t" }}, "kafka": {{ "topic": "t"{kafka} }} }}] }}"#
    );
    Rc::new(Config::from_json(document.as_bytes()).unwrap_or_else(|error| panic!("{error}")))
}

fn send(config: Rc<Config>, bytes: &'static [u8]) -> Effect {
    let mut exchange = Exchange::new(config);
    let (head, body) = request(bytes);
    match step(&mut exchange, Event::Head { head, end_of_stream: false }) {
        Effect::Wait => {
            let event = Event::BodyBuffered { len: body.len(), end_of_stream: true };
            assert_eq!(step(&mut exchange, event), Effect::ReadBody { len: body.len() });
            step(&mut exchange, Event::Body(body))
        }
        effect => effect,
    }
}

/// The events of a request, and the keys of their records.
fn events(effect: Effect) -> Vec<(serde_json::Value, serde_json::Value)> {
    let Effect::Dispatch { records, .. } = effect else { panic!("not dispatched: {effect:?}") };
    let record = |record: &Record| {
        let record: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
        (record["event"].clone(), record["key"].clone())
    };
    records.iter().map(record).collect()
}

#[test]
fn a_route_says_how_bodies_are_read() {
    let key = r#", "key": "{pointer:/id}""#;
    let page = r#", "key": "{pointer:/page}""#;
    for (path, accept, kafka, bytes, wanted) in [
        (
            "/keyed",
            r#"{ "read_as": { "text/plain": "json" } }"#,
            key,
            SNS,
            "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        ),
        ("/keyed", r#"{ "read_as": { "application/csp-report": "json" } }"#, key, CSP, "c1"),
        ("/keyed", r#"{ "read_as": { "application/*": "json", "*/*": "binary" } }"#, key, CSP, "c1"),
        (
            "/b",
            r#"{ "read_as": { "text/plain": "json" }, "media_types": ["text/plain"] }"#,
            page,
            BEACON,
            "/",
        ),
        ("/b", r#"{ "read_as": { "*/*": "json" } }"#, page, UNTYPED, "/"),
    ] {
        let events = events(send(config(path, accept, kafka), bytes));
        let [(event, key)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(
            (key, &event["datacontenttype"]),
            (&wanted.into(), &"application/json".into()),
            "{accept}"
        );
        assert!(event["data"].is_object(), "{event}");
    }
    let lines = r#"{ "formats": ["raw", "ndjson"], "read_as": { "application/json": "ndjson" } }"#;
    assert_eq!(events(send(config("/lines", lines, ""), LINES)).len(), 2);
    let binary = r#"{ "read_as": { "application/csp-report": "json", "*/*": "binary" } }"#;
    let events = events(send(config("/b", binary, ""), BEACON));
    assert_eq!(events[0].0["data_base64"], "eyJwYWdlIjoiLyJ9");
}

/// Neither 415 for an event that says what it is, nor a way around what its attributes are checked for.
#[test]
fn an_event_is_read_as_an_event_however_others_are_read() {
    let accept = r#"{ "formats": ["raw", "cloudevent"], "read_as": { "*/*": "binary" } }"#;
    let event: &[u8] = b"POST /b HTTP/1.1\r\nHost: g\r\nContent-Type: application/cloudevents+json\r\n\r\n\
        {\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/s\",\"type\":\"t\",\"data\":{}}";
    let events = events(send(config("/b", accept, ""), event));
    assert_eq!((&events[0].0["id"], &events[0].0["data"]), (&"7".into(), &serde_json::json!({})));
}

#[test]
fn an_error_says_why_a_body_was_not_looked_into() {
    let key = r#", "key": "{pointer:/id}""#;
    for bytes in [SNS, CSP] {
        let (status, content, _) = replied(send(config("/keyed", "{}", key), bytes));
        let detail = content["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{content}");
        assert!(
            detail.starts_with("key: JSON pointer \"/id\" finds nothing: the body was not looked"),
            "{detail}"
        );
        assert!(detail.contains("accept.read_as"), "{detail}");
    }
    let accept = r#"{ "read_as": { "text/plain": "json" }, "media_types": ["image/png"] }"#;
    let (status, content, _) = replied(send(config("/b", accept, ""), BEACON));
    assert_eq!(
        (status, content["type"].as_str().unwrap()),
        (415, "urn:wicketgate:problem:unsupported-media-type")
    );
    let accept =
        r#"{ "formats": ["raw", "ndjson"], "read_as": { "*/*": "ndjson" }, "media_types": ["a/b"] }"#;
    let (status, content, _) = replied(send(config("/b", accept, ""), UNTYPED));
    assert_eq!(status, 415, "{content}");
}

#[test]
fn what_is_carried_need_not_be_known() {
    let config = config("/api/v1/write", r#"{ "content_encoding": "carry" }"#, "");
    let events = events(send(config, REMOTE_WRITE));
    let event = &events[0].0;
    assert_eq!(
        (&event["wgencoding"], &event["data_base64"]),
        (&"snappy".into(), &"CyhoZWxsbyB3b3JsZA==".into())
    );
    assert_eq!(event["datacontenttype"], "application/x-protobuf");
}

/// CloudEvents has batches of nothing; a request with one is no audited one, though.
#[test]
fn a_batch_of_no_events_is_one_and_no_copy() {
    let accept = r#"{ "formats": ["cloudevents_batch"] }"#;
    let (status, content, _) = replied(send(config("/ce", accept, ""), EMPTY_BATCH));
    assert_eq!((status, content), (202, serde_json::json!({"results": []})));
    let tee = |on_error: &str| {
        let document = format!(
            r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject", "routes": [
              {{ "name": "r", "match": {{ "methods": ["POST"], "path": "/ce" }},
                "authentication": {{ "any_of": ["anonymous"] }}, "action": "tee", "on_error": "{on_error}",
                "accept": {accept}, "event": {{ "type": "t" }}, "kafka": {{ "topic": "t" }} }}] }}"#
        );
        Rc::new(Config::from_json(document.as_bytes()).unwrap())
    };
    let (status, content, _) = replied(send(tee("deny"), EMPTY_BATCH));
    assert_eq!(status, 400, "{content}");
    assert!(content["detail"].as_str().unwrap().starts_with("body: wanted at least one event"), "{content}");
    assert_eq!(send(tee("continue"), EMPTY_BATCH), Effect::Continue);
}
