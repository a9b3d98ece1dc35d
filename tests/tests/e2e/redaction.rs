//! What is redacted is nowhere in Kafka.

use http::Method;
use serde_json::{Value, json};
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::http_client::full;
use wicketgate_tests::topic::Record;

use crate::compressed::gzip;
use crate::expect;
use crate::rig::{Rig, document};

/// Stands, in one spelling or another, wherever something is to be taken out.
const SECRET: &str = "4242-sEcReT";

fn route(value: &str) -> Value {
    json!({
        "name": value,
        "match": {"methods": ["POST"], "path": format!("/{value}")},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "accept": {"formats": ["raw", "cloudevent", "cloudevents_batch", "ndjson"]},
        "event": {"type": "com.example.redacted", "query": true, "subject": "{header:x-masked|default:none}"},
        "kafka": {
            "topic": value,
            "value": value,
            "key": "{pointer:/hashed|default:none}",
            "headers": {"q": "{query:hashed|default:none}"},
            "forward_headers": [{"name": "x-dropped"}, {"name": "x-masked"}, {"name": "x-hashed"}],
        },
        "redact": {
            "headers": {"x-dropped": "drop", "X-Masked": "mask", "x-hashed": "hash"},
            "query": {"dropped": "drop", "masked": "mask", "hashed": "hash"},
            "body": {"/dropped": "drop", "/list/*/masked": "mask", "/hashed": "hash", "/deep/*/1": "mask"},
        },
    })
}

fn assert_nowhere(record: &Record, secrets: &[&str]) {
    let headers = record.headers.iter().flat_map(|(name, value)| [Some(name.as_bytes()), value.as_deref()]);
    for part in headers.chain([record.key.as_deref(), record.value.as_deref()]).flatten() {
        for secret in secrets {
            let found =
                part.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!found, "{secret} is in {}", String::from_utf8_lossy(part));
        }
    }
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_record() {
    let mut document = document(json!(["structured", "binary", "raw"].map(route)));
    document["redaction_key"] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff".into();
    let rig = Rig::start(document, &["structured", "binary", "raw"]).await;
    let body = format!(
        r#"{{"kept" : 1.0, "dropped": "{SECRET}", "dropped": {{"x": "{SECRET}"}}, "dr\u006fpped": "{SECRET}",
        "list": [{{"masked": "{SECRET}", "n": 1}}, {{"masked": ["{SECRET}"]}}, {{"other": true}}], "hashed": "{SECRET}",
        "deep": {{"a": [0, "{SECRET}"], "b": {{"1": "{SECRET}"}}}}}}"#
    );
    let escaped: String =
        SECRET.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
    let event = format!(r#"{{"specversion":"1.0","id":"ID","source":"/a","type":"t","data":{body}}}"#);
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let query = format!(
        "kept=1&dropped={SECRET}&masked={SECRET}&hashed={percent}&m%61sked={percent}&x=1;dropped={SECRET}&masked=+{SECRET}"
    );
    let mut ids = 0..;
    for value in ["structured", "binary", "raw"] {
        for (media_type, encoding, body) in [
            ("application/json", None, body.clone()),
            ("application/problem+json", None, body.replace(SECRET, &escaped)),
            ("application/json", Some("gzip"), body.clone()),
            ("application/x-ndjson", None, body.replace('\n', " ")),
            ("application/cloudevents+json", None, event.clone()),
            ("application/cloudevents-batch+json", None, format!("[{event}]")),
        ] {
            for client in [rig.gateway.http1(), rig.gateway.http2()] {
                let mut request = client.request(Method::POST, &format!("/{value}?{query}"));
                for name in ["x-dropped", "x-masked", "x-hashed"] {
                    request = request.header(name, SECRET);
                }
                request = request.header("x-api-key", KEY).header("content-type", media_type);
                // An event that comes again is not written again.
                let body = body.replace("ID", &format!("redacted-{}", ids.next().unwrap()));
                let sent = match encoding {
                    Some(encoding) => {
                        request = request.header("content-encoding", encoding);
                        gzip(body.as_bytes())
                    }
                    None => body.into_bytes(),
                };
                let answer = client.send(request.body(full(sent)).unwrap()).await;
                assert_eq!(answer.status, 202, "{value} {media_type}: {answer:?}");
            }
        }
        let records = rig.topic(value).records().await;
        assert_eq!(records.len(), 12);
        let hash = String::from_utf8(records[0].key.clone().unwrap()).unwrap();
        assert!(hash.starts_with("hmac-sha256:") && hash.len() == 76, "{hash}");
        for record in &records {
            assert_nowhere(record, &[SECRET, &escaped, &percent, "4242", KEY]);
            // The same value has the same hash, wherever it stood and however it was spelled.
            assert_eq!(record.key.as_deref(), Some(hash.as_bytes()));
            assert_eq!(record.header("x-hashed"), [hash.as_bytes()]);
            assert_eq!(record.header("q"), [hash.as_bytes()]);
            assert_eq!(
                (record.header("x-dropped").len(), record.header("x-masked")),
                (0, vec![&b"[redacted]"[..]])
            );
            let payload =
                if value == "structured" { expect::json_data(record) } else { record.bytes().to_vec() };
            assert!(payload.starts_with(b"{\"kept\" : 1.0"), "{}", String::from_utf8_lossy(&payload));
            let payload: Value = serde_json::from_slice(&payload).unwrap();
            let wanted = json!({
                "kept": 1.0,
                "list": [{"masked": "[redacted]", "n": 1}, {"masked": "[redacted]"}, {"other": true}],
                "hashed": hash,
                "deep": {"a": [0, "[redacted]"], "b": {"1": "[redacted]"}},
            });
            assert_eq!(payload, wanted);
        }
        if value == "structured" {
            let query = records[0].event()["wgquery"].as_str().unwrap().to_owned();
            assert!(query.starts_with("kept=1&masked=%5Bredacted%5D&hashed=hmac-sha256:"), "{query}");
        }
    }
}

#[tokio::test]
async fn a_body_that_should_be_redacted_and_cannot_be_read_is_refused() {
    let mut document = document(json!([route("raw")]));
    document["redaction_key"] = "00".repeat(32).into();
    let rig = Rig::start(document, &["raw"]).await;
    for (media_type, body, status, kind) in [
        ("text/plain", "{\"dropped\": 1}", 415, "unsupported-media-type"),
        ("application/octet-stream", "{\"dropped\": 1}", 415, "unsupported-media-type"),
        ("", "{\"dropped\": 1}", 415, "unsupported-media-type"),
        ("application/json", "{\"dropped\": 1", 400, "bad-request"),
        ("application/json", "{\"dropped\": 1}{", 400, "bad-request"),
    ] {
        let mut request = rig.post("/raw");
        if !media_type.is_empty() {
            request = request.header("content-type", media_type);
        }
        expect::problem(&rig.send(request, body).await, status, kind);
    }
    rig.assert_nothing_happened().await;
}

/// What a CloudEvent says of itself is redacted whether it says so in header fields or in its body.
#[tokio::test]
async fn attributes_are_redacted_in_every_mode() {
    let mut route = route("structured");
    route["accept"] = json!({"formats": ["cloudevent", "cloudevents_batch"]});
    route["event"] = json!({"type": "com.example.redacted"});
    route["kafka"] = json!({"topic": "structured"});
    route["redact"] = json!({"headers": {
        "ce-subject": "mask", "Ce-Foo": "drop", "ce-user": "hash", "ce-partitionkey": "hash", "ce-time": "drop"}});
    let mut document = document(json!([route]));
    document["redaction_key"] = "00".repeat(32).into();
    let rig = Rig::start(document, &["structured"]).await;
    let said = [
        ("subject", SECRET),
        ("foo", SECRET),
        ("user", SECRET),
        ("partitionkey", SECRET),
        ("time", "2001-01-01T00:00:00Z"),
    ];
    let event = |id: &str| {
        let mut event =
            json!({"specversion": "1.0", "id": id, "source": "/a", "type": "t", "kept": "yes", "data": 1});
        said.iter().for_each(|(name, value)| event[*name] = (*value).into());
        event
    };
    let mut binary = rig
        .post_json("/structured")
        .header("ce-specversion", "1.0")
        .header("ce-id", "b")
        .header("ce-kept", "yes");
    binary = binary.header("ce-source", "/a").header("ce-type", "t");
    // The same text in another spelling.
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (name, value) in said {
        binary = binary.header(format!("ce-{name}"), if name == "user" { &percent } else { value });
    }
    let structured = rig.post("/structured").header("content-type", "application/cloudevents+json");
    let batched = rig.post("/structured").header("content-type", "application/cloudevents-batch+json");
    for (request, body) in [
        (binary, "1".to_owned()),
        (structured, event("s").to_string()),
        (batched, json!([event("c"), event("d")]).to_string()),
    ] {
        let answer = rig.send(request, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let records = rig.topic("structured").records().await;
    assert_eq!(records.len(), 4);
    let hash = String::from_utf8(records[0].key.clone().unwrap()).unwrap();
    assert!(hash.starts_with("hmac-sha256:") && hash.len() == 76, "{hash}");
    for record in &records {
        assert_nowhere(record, &[SECRET, &percent, "4242", "2001"]);
        let event = record.event();
        assert_eq!(record.key.as_deref(), Some(hash.as_bytes()));
        for (name, wanted) in
            [("subject", "[redacted]"), ("user", &hash), ("partitionkey", &hash), ("kept", "yes")]
        {
            assert_eq!(event[name], wanted, "{name} of {event}");
        }
        assert_eq!((event.get("foo"), &event["data"]), (None, &json!(1)));
    }
}
