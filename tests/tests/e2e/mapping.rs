//! From a request to the parts of a Kafka record: topic, key, partition, timestamp, headers and value.

use http::{HeaderValue, Method};
use serde_json::{Value, json};
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::kafka::MAX_RECORD_BYTES;
use wicketgate_tests::topic::Record;

use crate::expect;
use crate::rig::{Rig, document};

fn route(name: &str, path: &str, kafka: &Value) -> Value {
    json!({
        "name": name,
        "match": {"methods": ["POST", "DELETE"], "path": path},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "event": {"type": "com.example.mapped"},
        "kafka": kafka,
    })
}

fn detail(content: &Value) -> &str {
    content["detail"].as_str().unwrap()
}

fn headers(record: &Record) -> Vec<(&str, &[u8])> {
    let header = |index: usize| {
        let (name, value) = &record.headers[index];
        (name.as_str(), value.as_deref().expect("no header is null"))
    };
    (0..record.headers.len()).map(header).collect()
}

#[tokio::test]
async fn every_part_of_a_record_can_be_made_from_any_part_of_a_request() {
    let mut all = route(
        "all",
        "/all/{id}",
        &json!({
            "topic": "all",
            "key": "{path:id}/{query:q|upper}/{header:X-Tenant|lower}/{consumer}/{method}/{pointer:/a~1b/0}",
            "partition": "{pointer:/partition}",
            "timestamp": "{query:at}",
            "headers": {"constant": "c{{}}", "hash": "{id|sha256}", "default": "{header:x-none|default:none}"},
        }),
    );
    all["event"]["subject"] = "{pointer:/big}".into();
    all["event"]["extensions"] = json!({"tenant": "{header:x-tenant|lower}"});
    let rig = Rig::start_with(document(json!([all])), &[("all", 5, MAX_RECORD_BYTES)]).await;
    let body = r#"{"a/b": ["x\u00e9"], "partition": 3, "big": 12345678901234567890.10}"#;
    let times = [("1772344800250", 1_772_344_800_250), ("2026-03-01T07:00:00.5%2B01:00", 1_772_344_800_500)];
    for (at, _) in times {
        let request = rig.post_json(&format!("/all/%C3%A4?q=x+y%26&at={at}")).header("x-tenant", "ACME");
        assert_eq!(expect::accepted(&rig.send(request, body).await)["partition"], 3);
    }
    let records = rig.topic("all").records().await;
    assert_eq!(records.len(), 2);
    for (record, (_, time)) in records.iter().zip(times) {
        let event = record.event();
        let key = "ä/X Y&/acme/alice/POST/xé";
        assert_eq!(String::from_utf8(record.key.clone().unwrap()).unwrap(), key);
        assert_eq!((record.partition, record.timestamp), (3, time));
        assert_eq!(event["partitionkey"], key);
        assert_eq!(
            (&event["subject"], &event["tenant"]),
            (&json!("12345678901234567890.10"), &json!("acme"))
        );
        // printf %s ä | sha256sum
        let hash = "33e6d73fee82904c8d7afb78de1154d1e8dc2a0edb08120e63df5b9385c2d9cc";
        assert_eq!(record.header("constant"), [b"c{}"]);
        assert_eq!(record.header("default"), [b"none"]);
        assert_eq!(record.header("hash"), [hash.as_bytes()]);
        assert_eq!(headers(record).len(), 4);
    }

    for (request, body, named) in [
        (rig.post_json("/all/1?q=1&at=1"), body, "key: header x-tenant is missing"),
        (rig.post_json("/all/1?at=1").header("x-tenant", "a"), body, "key: query parameter q is missing"),
        (rig.post_json("/all/1?q=1&q=1&at=1").header("x-tenant", "a"), body, "q occurs more than once"),
        (rig.post_json("/all/1?q=%ff&at=1").header("x-tenant", "a"), body, "query: it is not UTF-8"),
        (rig.post_json("/all/1?q=1&at=soon").header("x-tenant", "a"), body, "timestamp: wanted"),
        (rig.post_json("/all/1?q=1&at=-1").header("x-tenant", "a"), body, "timestamp: wanted"),
        (
            rig.post_json("/all/1?q=1&at=1").header("x-tenant", "a").header("x-tenant", "a"),
            body,
            "header x-tenant occurs",
        ),
        (rig.post_json("/all/1?q=1&at=1").header("x-tenant", "a"), r#"{"big":1,"a/b":[null]}"#, "null"),
        (
            rig.post_json("/all/1?q=1&at=1").header("x-tenant", "a"),
            r#"{"big":1,"a/b":["x"],"partition":-1}"#,
            "partition: wanted",
        ),
        (
            rig.post_json("/all/1?q=1&at=1").header("x-tenant", "a"),
            r#"{"big":1,"a/b":["x"],"partition":1.5}"#,
            "partition: wanted",
        ),
        (rig.post_json("/all/1?q=1&at=1").header("x-tenant", "a"), "", "pointer"),
        (
            rig.post("/all/1?q=1&at=1").header("x-tenant", "a").header("content-type", "text/plain"),
            body,
            "pointer",
        ),
    ] {
        let content = expect::problem(&rig.send(request, body).await, 400, "bad-request");
        assert!(detail(&content).contains(named), "{named}: {content}");
    }
    // A partition that the topic does not have is nobody's to make up.
    let request = rig.post_json("/all/1?q=1&at=1772344800250").header("x-tenant", "a");
    let answer = rig.send(request, body.replace("3,", "7,")).await;
    expect::problem(&answer, 502, "refused");
    assert_eq!(rig.topic("all").records().await.len(), 2);
}

#[tokio::test]
async fn a_topic_is_chosen_within_its_bounds_only() {
    let rig = Rig::start(
        document(json!([
            route("prefix", "/prefix/{t}", &json!({"topic": "to.{t}.{header:x-region|lower|default:eu}"})),
            route("list", "/list/{t}", &json!({"topic": "{t}", "allowed_topics": ["to.a.eu", "to.b.eu"]})),
        ])),
        &["to.a.eu", "to.b.eu", "to.a.us"],
    )
    .await;
    for (path, region, topic) in [
        ("/prefix/a", None, "to.a.eu"),
        ("/prefix/a", Some("US"), "to.a.us"),
        ("/prefix/%62", None, "to.b.eu"),
        ("/list/to.a.eu", None, "to.a.eu"),
    ] {
        let mut request = rig.post(path);
        if let Some(region) = region {
            request = request.header("x-region", region);
        }
        let receipt = expect::accepted(&rig.send(request, "x").await);
        assert_eq!(rig.plain(receipt["topic"].as_str().unwrap()), topic, "{path}");
    }
    for path in [
        "/prefix/a%20b",
        "/prefix/%C3%A4",
        "/prefix/a%3Ab",
        "/list/to.a.us",
        "/list/TO.A.EU",
        "/list/__consumer_offsets",
    ] {
        let content = expect::problem(&rig.send(rig.post(path), "x").await, 400, "bad-request");
        assert!(detail(&content).starts_with("topic: "), "{path}: {content}");
        // What it would have been is not told.
        assert!(!detail(&content).contains("consumer_offsets"), "{content}");
    }
    let longest = format!("/prefix/{}", "a".repeat(250));
    expect::problem(&rig.send(rig.post(&longest), "x").await, 400, "bad-request");
    // Within its bounds and not there.
    expect::problem(&rig.send(rig.post("/prefix/c"), "x").await, 502, "refused");
    let counts = [
        rig.topic("to.a.eu").records().await,
        rig.topic("to.b.eu").records().await,
        rig.topic("to.a.us").records().await,
    ];
    assert_eq!(counts.map(|records| records.len()), [2, 1, 1]);
}

#[tokio::test]
async fn the_value_is_the_event_or_its_payload_and_null_only_on_purpose() {
    let modes = [("structured", false), ("binary", false), ("raw", false), ("binary", true), ("raw", true)];
    let name = |(value, tombstone): (&str, bool)| format!("{value}-{tombstone}");
    let routes = modes.map(|mode| {
        let (value, tombstone) = mode;
        let kafka = json!({"topic": name(mode), "value": value, "tombstone": tombstone, "key": "{id}", "headers": {"own": "1"}});
        route(&name(mode), &format!("/{}/{{id}}", name(mode)), &kafka)
    });
    let topics = modes.map(name);
    let rig = Rig::start(document(json!(routes)), &topics.each_ref().map(String::as_str)).await;
    let payloads: [(&str, &[u8]); 4] = [
        ("application/json", b"{\"a\" : 1.0}"),
        ("text/plain; charset=utf-8", "größe".as_bytes()),
        ("application/octet-stream", b"\x00\xff\xfe"),
        ("application/json", b""),
    ];
    for mode in modes {
        let topic = name(mode);
        let path = format!("/{topic}/k");
        for (media_type, payload) in payloads {
            expect::accepted(&rig.send(rig.post(&path).header("content-type", media_type), payload).await);
        }
        let delete = rig.client.request(Method::DELETE, &path).header("x-api-key", KEY);
        expect::accepted(&rig.send(delete, "").await);
        let records = rig.topic(&topic).records().await;
        assert_eq!(records.len(), payloads.len() + 1);
        for (record, (media_type, payload)) in
            records.iter().zip(payloads.into_iter().chain([("", &b""[..])]))
        {
            assert_eq!((record.key.as_deref(), record.header("own")), (Some(&b"k"[..]), vec![&b"1"[..]]));
            let value = match mode {
                ("structured", _) => {
                    assert_eq!(record.event()["wgroute"], topic);
                    continue;
                }
                (_, tombstone) => (!payload.is_empty() || !tombstone).then_some(payload),
            };
            assert_eq!(record.value.as_deref(), value, "{topic} {media_type}");
            let content_type = if payload.is_empty() { vec![] } else { vec![media_type.as_bytes()] };
            assert_eq!(record.header("content-type"), content_type, "{topic}");
            let attributes = headers(record).iter().filter(|(name, _)| name.starts_with("ce_")).count();
            if mode.0 == "raw" {
                assert_eq!(attributes, 0, "{record:?}");
            } else {
                assert!(attributes >= 9, "{record:?}");
                assert_eq!(record.header("ce_partitionkey"), [b"k"]);
                assert_eq!(record.header("ce_wgroute"), [topic.as_bytes()]);
            }
        }
    }
}

#[tokio::test]
async fn forwarded_headers_are_renamed_and_repeated_as_the_route_says() {
    let forward = json!([
        {"name": "x-all"},
        {"name": "X-First", "as": "First", "repeated": "first"},
        {"name": "x-last", "as": "last", "repeated": "last"},
        {"name": "x-refuse", "as": "refuse", "repeated": "refuse"},
    ]);
    let rig = Rig::start(
        document(json!([route(
            "forward",
            "/forward",
            &json!({"topic": "forward", "forward_headers": forward})
        )])),
        &["forward"],
    )
    .await;
    let twice = |name: &str| {
        let odd = HeaderValue::from_bytes(b"\xff \xc3\xa4").unwrap();
        rig.post("/forward").header(name, "one").header("x-unlisted", "no").header(name, odd)
    };
    for name in ["x-all", "x-first", "x-last"] {
        expect::accepted(&rig.send(twice(name), "x").await);
    }
    expect::accepted(&rig.send(rig.post("/forward").header("x-refuse", ""), "x").await);
    let content = expect::problem(&rig.send(twice("x-refuse"), "x").await, 400, "bad-request");
    assert!(detail(&content).starts_with("x-refuse: "), "{content}");

    let odd = &b"\xff \xc3\xa4"[..];
    let records = rig.topic("forward").records().await;
    let forwarded: Vec<_> = records.iter().map(|record| headers(record)[1..].to_vec()).collect();
    assert_eq!(
        forwarded,
        [
            vec![("x-all", &b"one"[..]), ("x-all", odd)],
            vec![("First", b"one")],
            vec![("last", odd)],
            vec![("refuse", b"")],
        ]
    );
}
