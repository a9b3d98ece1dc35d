#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::rc::Rc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::config::Config;
use crate::env::testing::TestEnv;
use crate::exchange::{Effect, Event, Exchange};
use crate::head::RequestHead;

/// What becomes of a request, as text, under a document: its records, or the status and the detail of the problem.
fn outcome(document: &str, request: &str) -> Result<Vec<Value>, (u16, String)> {
    let (head_text, body) = request.split_once("\n\n").unwrap();
    let mut lines = head_text.lines();
    let mut line = lines.next().unwrap().split(' ');
    let mut head = RequestHead::default();
    head.push(b":method", line.next().unwrap().as_bytes());
    head.push(b":path", line.next().unwrap().as_bytes());
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        let name = if name == "Host" { ":authority".to_owned() } else { name.to_ascii_lowercase() };
        head.push(name.as_bytes(), value.as_bytes());
    }
    let mut env = TestEnv::default();
    let mut exchange = Exchange::new(Rc::new(Config::from_json(document.as_bytes()).unwrap()));
    let mut effect = exchange.step(Event::Head { head, end_of_stream: body.is_empty() }, &mut env);
    if effect == Effect::Wait {
        effect = exchange.step(Event::BodyBuffered { len: body.len(), end_of_stream: true }, &mut env);
    }
    if let Effect::ReadBody { .. } = effect {
        effect = exchange.step(Event::Body(body.as_bytes()), &mut env);
    }
    match effect {
        Effect::Dispatch { records, .. } => {
            Ok(records.iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect())
        }
        Effect::Reply(reply) => {
            let content: Value = serde_json::from_slice(&reply.body).unwrap();
            Err((reply.status, content["detail"].as_str().unwrap_or_default().to_owned()))
        }
        other => panic!("{other:?}"),
    }
}

/// A document with one route, `POST /{place}`, for everybody.
fn document(accept: &str, event: &str, kafka: &str) -> String {
    format!(
        r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject", "routes": [
            {{ "name": "all", "match": {{ "methods": ["POST"], "path": "/{{place}}" }},
               "authentication": {{ "any_of": ["anonymous"] }}, "action": "produce", "accept": {accept},
               "event": {{ "type": "t"{event} }}, "kafka": {{ "topic": "t"{kafka} }} }}] }}"#
    )
}

const RAW: &str = r#"{ "formats": ["raw"] }"#;

/// The one record that comes of a JSON body.
fn record(event: &str, kafka: &str, body: &str) -> Result<Value, (u16, String)> {
    let request = format!("POST /here HTTP/1.1\nContent-Type: application/json\n\n{body}");
    let [record] = outcome(&document(RAW, event, kafka), &request)?.try_into().unwrap();
    Ok(record)
}

#[test]
fn what_is_optional_is_left_out_of_every_place() {
    let event = r#", "id": "{pointer:/id|optional}", "subject": "{pointer:/s|optional}",
        "extensions": { "more": "x-{pointer:/e|optional}" }"#;
    let kafka = r#", "key": "k-{pointer:/k|optional}", "partition": "{pointer:/p|optional}",
        "timestamp": "{pointer:/at|optional}", "headers": { "h": "{pointer:/h|optional}", "always": "yes" }"#;
    let full = r#"{"id":"1","s":"s","e":"e","k":"k","p":3,"at":"2026-01-01T00:00:00Z","h":"h"}"#;
    let all = record(event, kafka, full).unwrap();
    assert_eq!(
        [&all["event"]["id"], &all["event"]["subject"], &all["event"]["more"], &all["event"]["partitionkey"]],
        ["1", "s", "x-e", "k-k"]
    );
    assert_eq!((&all["partition"], &all["timestamp"]), (&json!(3), &json!(1_767_225_600_000_u64)));
    assert_eq!(all["headers"].as_array().unwrap().len(), 2);

    for body in ["{}", r#"{"id":null,"s":"","e":null,"k":"","p":null,"at":"","h":null}"#] {
        let none = record(event, kafka, body).unwrap();
        let attributes = none["event"].as_object().unwrap();
        for name in ["subject", "more", "partitionkey"] {
            assert!(!attributes.contains_key(name), "{name} in {none}");
        }
        // The id is a fresh one.
        assert_eq!(attributes["id"].as_str().unwrap().len(), 36, "{none}");
        for name in ["key", "partition", "timestamp"] {
            assert_eq!(none.get(name).unwrap_or(&Value::Null), &Value::Null, "{name} in {none}");
        }
        assert_eq!(none["headers"].as_array().unwrap().len(), 1, "{none}");
    }
}

#[test]
fn the_first_that_is_there_goes_to_every_place() {
    let made = r#""{pointer:/a|or:pointer:/b|or:place}""#;
    let event = format!(r#", "id": {made}, "subject": {made}, "extensions": {{ "more": {made} }}"#);
    let kafka = format!(r#", "key": {made}, "headers": {{ "h": {made} }}"#);
    for (body, wanted) in [(r#"{"a":"1","b":"2"}"#, "1"), (r#"{"a":null,"b":2}"#, "2"), ("{}", "here")] {
        let record = record(&event, &kafka, body).unwrap();
        for name in ["id", "subject", "more", "partitionkey"] {
            assert_eq!(record["event"][name], wanted, "{name} in {record}");
        }
    }
    let kafka = r#", "partition": "{pointer:/a|or:pointer:/b}", "timestamp": "{pointer:/c|or:pointer:/d}""#;
    let record = record("", kafka, r#"{"b":7,"d":"2026-01-01T00:00:00Z"}"#).unwrap();
    assert_eq!((&record["partition"], &record["timestamp"]), (&json!(7), &json!(1_767_225_600_000_u64)));
}

/// What the head makes is the same for all events of a batch, so their place in it tells them apart.
#[test]
fn events_of_a_batch_have_ids_of_their_own_wherever_those_come_from() {
    let lines = "{\"id\":\"a\"}\n{}\n{\"id\":\"c\"}\n{}";
    let ids = |id: &str, more: &str| {
        let document = document(r#"{ "formats": ["ndjson"] }"#, &format!(r#", "id": "{id}""#), "");
        let request =
            format!("POST /here HTTP/1.1\nContent-Type: application/x-ndjson\nX-Id: h\n{more}\n{lines}");
        let records = outcome(&document, &request).unwrap();
        records.iter().map(|record| record["event"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let key = "Idempotency-Key: k\n";
    for id in
        ["{pointer:/id|or:header:x-id}", "{pointer:/id|optional}", "{pointer:/id|or:header:nope|optional}"]
    {
        let made = ids(id, key);
        assert_eq!((made[0].as_str(), made[2].as_str()), ("a", "c"), "{id}: {made:?}");
        assert!(made[1] != made[3], "{id}: {made:?}");
    }
}

/// The examples that take other people's events take all of them.
#[test]
fn senders_events_without_what_most_have_are_taken() {
    let github = include_str!("../../../envoy/examples/github-webhook.json");
    let head = "POST /webhooks/github HTTP/1.1\nHost: hooks.example.com\nX-GitHub-Event: ping\n\
                X-GitHub-Delivery: 0b989ba4\nContent-Type: application/json\nX-Hub-Signature-256: sha256=";
    let sign = |body: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(b"demo-webhook-secret").unwrap().chain_update(body);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    for (body, wanted) in [
        (r#"{"repository":{"full_name":"a/b"},"organization":{"login":"a"}}"#, json!("a/b")),
        (r#"{"zen":"Keep it simple.","organization":{"login":"acme-org"}}"#, json!("acme-org")),
        (
            r#"{"installation":{"id":7,"account":{"login":"someone"}},"sender":{"login":"x"}}"#,
            json!("someone"),
        ),
        (r#"{"sender":{"login":"someone"}}"#, json!("someone")),
        (r#"{"zen":"Keep it simple."}"#, Value::Null),
    ] {
        let request = format!("{head}{}\n\n{body}", sign(body));
        let [record] = outcome(github, &request).unwrap().try_into().unwrap();
        let subject = record["event"].get("subject").unwrap_or(&Value::Null);
        let key = record["event"].get("partitionkey").unwrap_or(&Value::Null);
        assert_eq!((subject, key), (&wanted, &wanted), "{body}");
        assert_eq!(record["event"]["id"], "0b989ba4");
    }
    let stripe = include_str!("../../../envoy/examples/stripe-webhook.json");
    let head = "POST /webhooks/stripe HTTP/1.1\nHost: h\nContent-Type: application/json\nStripe-Signature: t=1795353386,v1=";
    for (object, wanted) in [
        (r#"{"id":"pi_1","customer":"cus_1"}"#, json!("pi_1")),
        (r#"{"object":"invoice","customer":"cus_test_1"}"#, json!("cus_test_1")),
        (r#"{"object":"balance"}"#, Value::Null),
    ] {
        let body = format!(r#"{{"id":"evt_1","type":"invoice.upcoming","data":{{"object":{object}}}}}"#);
        let [record] = outcome(stripe, &format!("{head}{}\n\n{body}", sign(&format!("1795353386.{body}"))))
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(record["event"].get("partitionkey").unwrap_or(&Value::Null), &wanted, "{object}");
    }
}

/// The clock of these tests says 2026-11-22T13:16:26.123Z.
#[test]
fn a_time_is_told_in_its_unit_or_refused() {
    let time = |filters: &str, more: &str, body: &str| {
        record("", &format!(r#", "timestamp": "{{pointer:/at{filters}}}"{more}"#), body)
            .map(|record| record["timestamp"].as_u64().unwrap())
    };
    for (filters, body, wanted) in [
        ("|seconds", r#"{"at":1764218400}"#, 1_764_218_400_000),
        ("|seconds", r#"{"at":1764218400.25}"#, 1_764_218_400_250),
        ("|seconds", r#"{"at":"1764218400.25"}"#, 1_764_218_400_250),
        ("|seconds", r#"{"at":"2025-11-27T04:40:00Z"}"#, 1_764_218_400_000),
        ("|millis", r#"{"at":1764218400250.9}"#, 1_764_218_400_250),
        ("|micros", r#"{"at":1764218400250125}"#, 1_764_218_400_250),
        ("|nanos", r#"{"at":1764218400250125001}"#, 1_764_218_400_250),
        ("|seconds|or:pointer:/ms|millis", r#"{"ms":1764218400250}"#, 1_764_218_400_250),
        ("", r#"{"at":1764218400250}"#, 1_764_218_400_250),
    ] {
        assert_eq!(time(filters, "", body), Ok(wanted), "{filters} {body}");
    }
    for (filters, body, wanted) in [
        ("", r#"{"at":1764218400}"#, "this one tells a time if it counts seconds"),
        ("|millis", r#"{"at":1764218400}"#, "got an earlier one (is it in another unit"),
        (
            "|seconds",
            r#"{"at":1764218400250}"#,
            "nor a number of seconds from 1970 to 2554; is it in another unit?",
        ),
        ("|seconds", r#"{"at":12.5}"#, "a clock that is not set"),
        ("|optional", r#"{"at":"1980-01-06T00:00:00Z"}"#, "a clock that is not set"),
        ("|seconds", r#"{"at":true}"#, "nor a number of seconds"),
        ("", r#"{"at":"2026-11-22T14:16:26.124Z"}"#, "no more than 1h ahead"),
    ] {
        let (status, detail) = time(filters, "", body).unwrap_err();
        assert!(
            status == 400 && detail.starts_with("timestamp: ") && detail.contains(wanted),
            "{body}: {detail}"
        );
    }
    // The route says otherwise.
    let more = r#", "timestamp_earliest": "1970-01-01T00:00:00Z", "timestamp_ahead": "2h""#;
    assert_eq!(time("|seconds", more, r#"{"at":12.5}"#), Ok(12_500));
    assert_eq!(time("|millis", more, r#"{"at":"2026-11-22T14:16:26.124Z"}"#), Ok(1_795_356_986_124));
    // Elsewhere a unit makes text of a number.
    let extension = record(r#", "subject": "{pointer:/at|seconds}""#, "", r#"{"at":1764218400}"#).unwrap();
    assert_eq!(extension["event"]["subject"], "2025-11-27T04:40:00Z");
}

/// What the time of a CloudEvent says goes by the same rule where a route makes the record's time of it.
#[test]
fn the_time_of_a_cloud_event_is_no_way_around() {
    let document = document(r#"{ "formats": ["cloudevent"] }"#, "", r#", "timestamp": "{header:ce-time}""#);
    let request = |time: &str| {
        format!(
            "POST /here HTTP/1.1\nce-specversion: 1.0\nce-id: 1\nce-source: s\nce-type: t\nce-time: {time}\n\n"
        )
    };
    assert!(outcome(&document, &request("2026-01-01T00:00:00Z")).is_ok());
    let (status, detail) = outcome(&document, &request("1970-01-01T00:00:12Z")).unwrap_err();
    assert!(status == 400 && detail.contains("got an earlier one"), "{detail}");
}

#[test]
fn a_byte_order_mark_is_told_or_passed_over() {
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    for (formats, media_type, body) in [
        (r#""raw""#, "application/json", r#"{"a":1}"#.to_owned()),
        (r#""ndjson""#, "application/x-ndjson", "{\"a\":1}\n{\"a\":2}".to_owned()),
        (r#""json_array""#, "application/json", r#"[{"a":1}]"#.to_owned()),
        (r#""json_array", "raw""#, "application/json", r#"[{"a":1}]"#.to_owned()),
        (r#""cloudevent""#, "application/cloudevents+json", event.to_owned()),
        (r#""cloudevents_batch""#, "application/cloudevents-batch+json", format!("[{event}]")),
    ] {
        let accept = |more: &str| format!(r#"{{ "formats": [{formats}]{more} }}"#);
        let head = format!("POST /here HTTP/1.1\nContent-Type: {media_type}\n\n");
        let marked = format!("{head}\u{feff}{body}");
        let (status, detail) = outcome(&document(&accept(""), "", ""), &marked).unwrap_err();
        assert!(status == 400 && detail.contains("it begins with a byte order mark (U+FEFF)"), "{detail}");
        let strip = document(&accept(r#", "byte_order_mark": "strip""#), "", "");
        let data = |request: &str| {
            let records = outcome(&strip, request).unwrap();
            records.into_iter().map(|record| record["event"]["data"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(data(&marked), data(&format!("{head}{body}")), "{formats}");
    }
    // What is not read as JSON keeps it.
    let strip = document(r#"{ "formats": ["raw"], "byte_order_mark": "strip" }"#, "", "");
    let text = outcome(&strip, "POST /here HTTP/1.1\nContent-Type: text/plain\n\n\u{feff}{}").unwrap();
    assert_eq!(text[0]["event"]["data"], "\u{feff}{}");
}

#[test]
fn what_is_wrong_with_an_idempotency_key_is_told() {
    let id = |key: &str| {
        let request = format!("POST /here HTTP/1.1\nIdempotency-Key: {key}\n\n");
        outcome(&document(RAW, "", ""), &request)
            .map(|records| records[0]["event"]["id"].as_str().unwrap().to_owned())
    };
    for (key, wanted) in [("k-1", "k-1"), ("\"k-1\"", "k-1"), ("a;b=c", "a;b=c")] {
        assert_eq!(id(key).as_deref(), Ok(wanted));
    }
    for (key, wanted) in [
        ("\"k\";a=1", "got parameters behind it"),
        ("\"k\" ; a", "got parameters behind it"),
        ("\"k\", \"l\"", "wanted one key in quotes and nothing else, got more behind it"),
        ("\"k", "wanted a quote at the end of the key"),
        ("k\"", "without quotes and backslashes in it"),
        ("\"a\\\"b\"", "got more behind it"),
        ("\"\"", "wanted a key, got nothing"),
        ("a b", "without white space"),
        ("grün", "wanted visible ASCII characters, got others"),
        (&"k".repeat(256), "wanted at most 255 characters, got 256"),
    ] {
        let (status, detail) = id(key).unwrap_err();
        assert!(
            status == 400 && detail.starts_with("idempotency-key: ") && detail.contains(wanted),
            "{key}: {detail}"
        );
    }
}
