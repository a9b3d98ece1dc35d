//! What is in Kafka is what CloudEvents says it should be: another SDK reads it, in both content modes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wicketgate_tests::cloudevents;
use wicketgate_tests::python::read_with_cloudevents_sdk;
use wicketgate_tests::topic::Record;

use crate::expect;
use crate::rig::{Rig, document};

fn route(value: &str) -> Value {
    json!({
        "name": value,
        "match": {"methods": ["POST"], "path": format!("/{value}/{{id}}")},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "event": {"type": "com.example.read", "subject": "größe 🚀 {id}", "extensions": {"percent": "100%25 {id}"}},
        "kafka": {"topic": value, "value": value, "key": "{id}", "headers": {"x-own": "1"}},
    })
}

fn message(record: &Record) -> Value {
    let encoded = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let headers: Map<String, Value> =
        record.headers.iter().map(|(name, value)| (name.clone(), encoded(value).into())).collect();
    json!({"headers": headers, "key": encoded(&record.key), "value": encoded(&record.value)})
}

#[tokio::test]
async fn pythons_sdk_reads_both_content_modes() {
    let rig =
        Rig::start(document(json!([route("structured"), route("binary")])), &["structured", "binary"]).await;
    let png = b"\x89PNG\r\n\x1a\n\x00";
    let own = r#"{"specversion":"1.0","id":"own","source":"/partner","type":"com.partner.issued","subject":"s","count":-3,
        "time":"2026-03-01T09:30:00.25+01:00","datacontenttype":"application/json","data":{"amount":12.5}}"#;
    // What is sent, and what the SDK should find in each of the modes.
    let cases: [(&str, &[u8], Value, Value); 5] = [
        (
            "application/json",
            b"{\"n\": 1.50, \"s\": \"\\u00e9\"}",
            json!({"n": 1.5, "s": "é"}),
            json!({"n": 1.5, "s": "é"}),
        ),
        ("application/vnd.example+json", b"[1, null]", json!([1, null]), json!([1, null])),
        ("text/plain", "größe".as_bytes(), json!("größe"), json!("größe")),
        ("image/png", png, json!({"bytes": STANDARD.encode(png)}), json!({"bytes": STANDARD.encode(png)})),
        ("application/cloudevents+json", own.as_bytes(), json!({"amount": 12.5}), json!({"amount": 12.5})),
    ];
    for mode in ["structured", "binary"] {
        for (media_type, body, _, _) in &cases {
            let request = rig.post(&format!("/{mode}/%C3%A4-1")).header("content-type", *media_type);
            expect::accepted(&rig.send(request, body.to_vec()).await);
        }
        let records = rig.topic(mode).records().await;
        let events = read_with_cloudevents_sdk(records.iter().map(message).collect()).await;
        assert_eq!((records.len(), events.as_array().unwrap().len()), (cases.len(), cases.len()));
        for record in &records {
            // CloudEvents' own schema has something to say, too.
            match mode {
                "structured" => drop(record.event()),
                _ => cloudevents::assert_valid(&cloudevents::of_binary_record(record)),
            }
        }
        for (event, (media_type, _, structured, binary)) in events.as_array().unwrap().iter().zip(&cases) {
            let attributes = &event["attributes"];
            let is_own = *media_type == "application/cloudevents+json";
            let (type_, subject, content_type) = if is_own {
                ("com.partner.issued", "s", "application/json")
            } else {
                ("com.example.read", "größe 🚀 ä-1", *media_type)
            };
            for (name, wanted) in [
                ("specversion", "1.0"),
                ("type", type_),
                ("subject", subject),
                ("datacontenttype", content_type),
                ("percent", "100%25 ä-1"),
                ("partitionkey", "ä-1"),
                ("authid", "alice"),
                ("wgroute", mode),
                ("wgversion", "1"),
            ] {
                assert_eq!(attributes[name], wanted, "{mode} {media_type} {name}: {event}");
            }
            if is_own {
                assert_eq!((&attributes["id"], &attributes["count"]), (&json!("own"), &json!("-3")));
                assert_eq!(attributes["time"], "2026-03-01T09:30:00.250000+01:00");
            }
            let wanted = if mode == "structured" { structured } else { binary };
            assert_eq!(&event["data"], wanted, "{mode} {media_type}");
        }
    }
}
