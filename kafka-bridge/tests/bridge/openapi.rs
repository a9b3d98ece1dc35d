//! The OpenAPI document, held against what the bridge does.

use crate::common::{Answer, Bridge, EVENT, RECORDS, cluster, event};
use serde_json::{Value, json};

async fn document(bridge: &Bridge) -> Value {
    let answer = bridge.client.get("/openapi.json").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// All references in a value.
fn references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn each_path_of_the_document_is_one_of_the_bridge_and_takes_no_other_method() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let document = document(&bridge).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut names: Vec<_> = paths.keys().map(String::as_str).collect();
    names.sort_unstable();
    // The paths of docs/bridge.md, and nothing else.
    let documentation = include_str!("../../../docs/bridge.md");
    let (_, table) = documentation.split_once("## Paths").unwrap();
    let (table, _) = table.split_once("Every response").unwrap();
    let mut documented: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(route, _)| route.split_once(' ').unwrap().1)
        .collect();
    documented.sort_unstable();
    assert_eq!(names, documented);
    let mut ids = Vec::new();
    for (path, item) in paths {
        let methods = item.as_object().unwrap();
        let concrete = path.replace("{topic}", "t").replace("{cluster}", "default");
        for method in ["get", "post", "put", "delete"] {
            let answer = bridge.client.send(&method.to_uppercase(), &concrete, &[], "").await;
            let status = answer.status.as_u16();
            assert_ne!(status, 404, "{method} {path}");
            assert_eq!(status != 405, methods.contains_key(method), "{method} {path}: {status}");
            if let Some(operation) = methods.get(method) {
                assert!(
                    operation["responses"].get(answer.status.as_str()).is_some(),
                    "{method} {path}: {status}"
                );
                ids.push(operation["operationId"].as_str().unwrap().to_owned());
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), paths.len());
    let mut all = Vec::new();
    references(&document, &mut all);
    for reference in all {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

/// Checks an answer against what the document says of it.
fn check(document: &Value, path: &str, answer: &Answer) {
    let response = &document["paths"][path]["post"]["responses"][answer.status.as_str()];
    for header in response["headers"].as_object().unwrap_or_else(|| panic!("{path}: {answer:?}")).keys() {
        let optional = header == "idempotency-replayed";
        assert!(optional || answer.header(header).is_some(), "{header}: {answer:?}");
    }
    let schema = &response["content"][answer.header("content-type").unwrap()]["schema"];
    assert!(schema.is_object(), "{answer:?}");
    validate(document, schema, &answer.json());
}

fn validate(document: &Value, schema: &Value, instance: &Value) {
    let whole = json!({"components": document["components"], "allOf": [schema]});
    let validator = jsonschema::draft202012::new(&whole).unwrap();
    if let Err(error) = validator.validate(instance) {
        panic!("{error}: {instance}");
    }
}

#[tokio::test]
async fn what_is_taken_and_answered_is_as_the_document_says() {
    let cluster = cluster();
    let bridge =
        Bridge::ready(&cluster, &["--max-record-bytes", "10000", "--idempotency-entries", "10"]).await;
    let document = document(&bridge).await;
    let mut statuses = Vec::new();
    let records = |records: &[String]| format!(r#"{{"records":[{}]}}"#, records.join(","));
    let record = |rest: &str, event: &str| format!(r#"{{"topic":"t"{rest},"event":{event}}}"#);
    let full = r#","key":{"base64":"/w=="},"headers":[["a","b"],["a",{"base64":"/w=="}]],"partition":0,"timestamp":7,
        "mode":"raw","tombstone":true,"ack":"leader","cluster":null"#;
    for body in [
        records(&[record("", &event("1", 1))]),
        records(&[record("", &event("1", 1))]),
        records(&[record("", &event("1", 2))]),
        records(&[record(full, &event("2", 1)), record(r#","key":"k""#, &event("3", 1))]),
        records(&[record("", &event("4", 20_000)), record("", &event("1", 2)), record("", &event("5", 1))]),
        records(&[record("", &event("4", 20_000))]),
    ] {
        validate(
            &document,
            &document["paths"]["/v1/records"]["post"]["requestBody"]["content"][RECORDS]["schema"],
            &serde_json::from_str(&body).unwrap(),
        );
        let answer = bridge.client.records(body).await;
        check(&document, "/v1/records", &answer);
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [202, 202, 422, 202, 207, 413]);
    let answer = bridge.client.records(records(&[record("", "{}")])).await;
    check(&document, "/v1/records", &answer);
    check(&document, "/v1/records", &bridge.client.records("{").await);

    let path = "/v1/topics/{topic}/events";
    let mut statuses = Vec::new();
    for (media_type, body) in [
        (EVENT, event("6", 1)),
        (EVENT, event("6", 1)),
        (EVENT, event("6", 2)),
        (EVENT, event("7", 20_000)),
        (EVENT, "{}".to_owned()),
        ("text/plain", String::new()),
        ("application/cloudevents-batch+json", format!("[{},{{}}]", event("8", 1))),
        ("application/cloudevents-batch+json", format!("[{}]", event("7", 20_000))),
    ] {
        let answer =
            bridge.client.send("POST", "/v1/topics/t/events", &[("content-type", media_type)], body).await;
        check(&document, path, &answer);
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [202, 202, 422, 413, 400, 415, 207, 413]);
    cluster.broker_down(1);
    bridge.client.until_ready(false, std::time::Duration::from_secs(10)).await;
    let ready = bridge.client.get("/readyz").await;
    validate(&document, &json!({"$ref": "#/components/schemas/Problem"}), &ready.json());
    // 503 once an attempt to connect has failed, 504 before.
    for id in ["9", "10"] {
        let answer = bridge.client.records(records(&[record("", &event(id, 1))])).await;
        assert!(matches!(answer.status.as_u16(), 503 | 504), "{answer:?}");
        check(&document, "/v1/records", &answer);
    }
}
