//! The longest that one request which is taken keeps a worker busy, under a document of the default bounds: while the filter
//! works, its worker does nothing else. docs/configuration.md says what that is.

use std::time::Instant;

use wicketgate_emulator::{Gateway, Kind, Request};

use super::acknowledge;

/// No request costs more instructions than this, under the default bounds.
const MOST: u64 = 1_000_000_000;

/// All that makes work: templates, redaction by a key, and identities; a signed hop; the largest batch.
const DOCUMENT: &str = r#"{
  "source": "urn:example:gateway",
  "bridge": { "upstream": "kafka-bridge", "timeout": "10s", "secret": "secret-0123456789-0123456789-0123456789" },
  "redaction_key": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
  "unmatched": "reject",
  "routes": [
    { "name": "plain", "match": { "methods": ["POST"], "path": "/plain" }, "authentication": { "any_of": ["anonymous"] },
      "action": "produce", "event": { "type": "t" }, "kafka": { "topic": "t" } },
    { "name": "query", "match": { "methods": ["POST"], "path": "/query" }, "authentication": { "any_of": ["anonymous"] },
      "action": "produce", "event": { "type": "t", "query": true }, "kafka": { "topic": "t" },
      "redact": { "query": { "t": "hash", "u": "hash", "v": "mask" } } },
    { "name": "hashed", "match": { "methods": ["POST"], "path": "/hashed" }, "authentication": { "any_of": ["anonymous"] },
      "action": "produce", "event": { "type": "t" }, "kafka": { "topic": "t" },
      "redact": { "body": { "/*": "hash" } } },
    { "name": "masked", "match": { "methods": ["POST"], "path": "/masked" }, "authentication": { "any_of": ["anonymous"] },
      "action": "produce", "event": { "type": "t" }, "kafka": { "topic": "t" },
      "redact": { "body": { "/*/a": "drop", "/*/b/*": "mask", "/*/c": "hash", "/*/*/d": "mask" } } },
    { "name": "batch", "match": { "methods": ["POST"], "path": "/batch" }, "authentication": { "any_of": ["anonymous"] },
      "action": "produce", "accept": { "formats": ["cloudevents_batch", "ndjson", "json_array"], "batch_events": 1000 },
      "event": { "type": "t", "subject": "{pointer:/a|optional}",
        "extensions": { "one": "{pointer:/b/c|default:none}", "two": "{header:user-agent|sha256|default:none}" } },
      "kafka": { "topic": "t", "key": "{pointer:/a|sha256|optional}", "forward_headers": [{ "name": "x-device" }] },
      "redact": { "body": { "/d": "hash", "/e/*": "mask" } } }
  ]
}"#;

/// An array of this so many times, or as often as `limits.body_bytes` allows by default.
fn array(element: &str, count: usize) -> Vec<u8> {
    let room = (1 << 20) - 1;
    format!("[{}]", vec![element; count.min(room / (element.len() + 1))].join(",")).into_bytes()
}

/// Each with the status that it is answered with.
fn requests() -> Vec<(&'static str, Request, Vec<u8>, u32)> {
    const JSON: &str = "application/json";
    // A MiB of NUL, by br.
    const BOMB: &[u8] = &[0x5b, 0xff, 0xff, 0x8f, 0x7f, 0x02, 0x20, 0x1e, 0x0b, 0x04, 0x72, 0xef, 0x1f, 0x00];
    let post = |path: &str, media_type: &str| Request::new("POST", path).header("content-type", media_type);
    let device = "d".repeat(2_000);
    let line =
        |size: usize| format!(r#"{{"a":"1","b":{{"c":"x"}},"d":1,"e":[1,2,3],"f":"{}"}}"#, "x".repeat(size));
    let batch = |media_type: &str| {
        post("/batch", media_type).header("x-device", &device).header("idempotency-key", "k")
    };
    let ndjson = vec![line(850); 1_000].join("\n");
    let cloud_event = |number: usize| {
        format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/s","type":"t","subject":"{}","data":{}}}"#,
            "s".repeat(100),
            line(600)
        )
    };
    let cloud_events: Vec<String> = (0..1_000).map(cloud_event).collect();
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let taken = vec![
        (
            "1 MiB of NUL by br, as text",
            post("/plain", "text/plain").header("content-encoding", "br"),
            BOMB.to_vec(),
        ),
        (
            "1 MiB of noise, as binary",
            post("/plain", "application/octet-stream"),
            (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        ),
        (
            "1 MiB of text with escapes",
            post("/plain", "text/plain"),
            "\"\\\n".repeat((1 << 20) / 3).into_bytes(),
        ),
        ("1 MiB of arrays in arrays", post("/plain", JSON), nested(1 << 19)),
        ("1 MiB of arrays in arrays, looked into", post("/hashed", JSON), nested(1 << 19)),
        ("1 MiB of numbers, each hashed", post("/hashed", JSON), array("1", 12_000)),
        ("1 MiB of strings, each hashed", post("/hashed", JSON), array(r#""abcdefgh""#, 12_000)),
        (
            "1 MiB of objects, redacted by four rules",
            post("/masked", JSON),
            array(r#"{"a":1,"b":[1,2],"c":3,"e":{"d":4}}"#, 6_000),
        ),
        (
            "7 KiB of query, each parameter hashed",
            Request::new("POST", &format!("/query?{}", vec!["t=1"; 1_800].join("&"))),
            Vec::new(),
        ),
        (
            "7 KiB of query with semicolons",
            Request::new("POST", &format!("/query?{}", vec!["t"; 3_600].join(";"))),
            Vec::new(),
        ),
        ("1,000 lines", batch("application/x-ndjson"), ndjson.into_bytes()),
        ("1,000 elements", batch(JSON), format!("[{}]", vec![line(850); 1_000].join(",")).into_bytes()),
        (
            "1,000 CloudEvents",
            batch("application/cloudevents-batch+json"),
            format!("[{}]", cloud_events.join(",")).into_bytes(),
        ),
    ];
    let many_lines = |line: &str, count: usize| vec![line; count].join("\n").into_bytes();
    let refused = vec![
        ("1 MiB of numbers, too many to hash", post("/hashed", JSON), array("1", usize::MAX)),
        ("1 MiB of lines, too many", batch("application/x-ndjson"), many_lines("1", 1 << 19)),
        (
            "50 KiB of a header in 1,000 lines",
            post("/batch", "application/x-ndjson").header("x-device", &"d".repeat(50_000)),
            many_lines("{}", 1_000),
        ),
    ];
    let with = |status| move |(name, request, body)| (name, request, body, status);
    taken.into_iter().map(with(202)).chain(refused.into_iter().map(with(413))).collect()
}

#[test]
fn no_request_keeps_a_worker_longer_than_the_documents_say() {
    let mut wrong = Vec::new();
    for (name, request, body, status) in requests() {
        let mut gateway = Gateway::start(Kind::Wasm, DOCUMENT).cluster("kafka-bridge");
        assert!(body.len() <= 1 << 20, "{name}: {}", body.len());
        let started = Instant::now();
        let id = gateway.request_with_body(request, &body);
        gateway.turn();
        let busy = started.elapsed();
        let callouts = gateway.callouts();
        let sent: usize = callouts.iter().map(|callout| callout.body.len()).sum();
        for callout in &callouts {
            acknowledge(&mut gateway, callout);
        }
        let reply = gateway.reply(id);
        if reply.status != status {
            wrong.push(format!("{name}: {} {}", reply.status, reply.body.get(..300).unwrap_or(&reply.body)));
        }
        let fuel = gateway.finish().fuel;
        println!("{name}: {fuel} instructions, {busy:?} until {sent} bytes were sent");
        if fuel > MOST {
            wrong.push(format!("{name}: {fuel} instructions, and {MOST} are allowed"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
