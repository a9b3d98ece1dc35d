//! CloudEvents that callers bring, in the three modes of HTTP, and what is kept of them.

use serde_json::{Value, json};
use wicketgate_tests::topic::Record;

use crate::expect;
use crate::rig::{Rig, document};

fn route(name: &str, value: &str) -> Value {
    json!({
        "name": name,
        "match": {"methods": ["POST"], "path": format!("/{name}")},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "accept": {"formats": ["raw", "cloudevent", "cloudevents_batch"], "batch_events": 4},
        "event": {"type": "com.example.default", "subject": "default", "extensions": {"team": "blue"}},
        "kafka": {"topic": name, "value": value},
    })
}

fn routes() -> Value {
    json!([route("structured", "structured"), route("binary", "binary")])
}

/// The attributes of an event in Kafka, all as text, whichever mode it is in; and its payload.
fn attributes(record: &Record) -> (Value, Vec<u8>) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if record.header("ce_specversion").is_empty() {
        let event = record.event();
        let attributes = event.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with("data_"));
        let attributes = attributes.filter(|(name, _)| *name != "data");
        let attributes = attributes.map(|(name, value)| (name.clone(), Value::from(text(value)))).collect();
        let payload = match (event.get("data"), event.get("data_base64")) {
            (None, None) => Vec::new(),
            (None, Some(_)) => expect::binary_data(record),
            (Some(_), _) => expect::json_data(record),
        };
        return (attributes, payload);
    }
    let attribute = |(name, value): &(String, Option<Vec<u8>>)| {
        let name = match name.as_str() {
            "content-type" => "datacontenttype",
            name => name.strip_prefix("ce_")?,
        };
        Some((name.to_owned(), Value::from(String::from_utf8(value.clone().unwrap()).unwrap())))
    };
    (record.headers.iter().filter_map(attribute).collect(), record.bytes().to_vec())
}

#[tokio::test]
async fn whatever_mode_it_comes_in_an_event_keeps_what_it_says_of_itself() {
    let rig = Rig::start(document(routes()), &["structured", "binary"]).await;
    for route in ["structured", "binary"] {
        let path = format!("/{route}");
        let data = r#"{"amount" : 12.50, "big": 12345678901234567890}"#;
        let structured = format!(
            r#"{{"specversion": "1.0", "id": "s-1", "source": "/partner/a b", "type": "com.partner.issued", "subject": "größe",
                "time": "2026-03-01T09:30:00.1234567+01:00", "dataschema": "https://example.com/schema", "retry": true, "count": -3,
                "partitionkey": "invoice-9", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "data": {data}}}"#
        )
        .replace("/partner/a b", "/partner/a%20b");
        let request = rig.post(&path).header("content-type", "application/cloudevents+json; charset=utf-8");
        let request =
            request.header("traceparent", "00-11111111111111111111111111111111-2222222222222222-01");
        let answer = rig.send(request, structured).await;
        assert_eq!(expect::accepted(&answer)["id"], "s-1");

        let request = rig
            .post_json(&path)
            .header("ce-specversion", "1.0")
            .header("ce-id", "b-1")
            .header("ce-source", "/partner/a%2520b")
            .header("ce-type", "com.partner.issued")
            .header("ce-subject", "gr%C3%B6%C3%9Fe")
            .header("ce-time", "2026-03-01T09:30:00.1234567+01:00")
            .header("ce-dataschema", "https://example.com/schema")
            .header("ce-retry", "true")
            .header("ce-count", "-3")
            .header("ce-partitionkey", "invoice-9")
            .header("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let answer = rig.send(request, data).await;
        assert_eq!(expect::accepted(&answer)["id"], "b-1");

        let [structured, binary] = rig.topic(route).records().await.try_into().unwrap();
        for (record, id) in [(structured, "s-1"), (binary, "b-1")] {
            let (attributes, payload) = attributes(&record);
            assert_eq!(String::from_utf8(payload).unwrap(), data);
            assert_eq!(record.key.as_deref(), Some(&b"invoice-9"[..]));
            for (name, wanted) in [
                ("specversion", "1.0"),
                ("id", id),
                ("source", "/partner/a%20b"),
                ("type", "com.partner.issued"),
                ("subject", "größe"),
                ("time", "2026-03-01T09:30:00.1234567+01:00"),
                ("datacontenttype", "application/json"),
                ("dataschema", "https://example.com/schema"),
                ("retry", "true"),
                ("count", "-3"),
                ("partitionkey", "invoice-9"),
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                ("team", "blue"),
                ("authid", "alice"),
                ("authtype", "api_key"),
                ("wgroute", route),
                ("wgpath", path.as_str()),
                ("wgversion", "1"),
            ] {
                assert_eq!(attributes[name], wanted, "{name} of {id} in {attributes}");
            }
        }
    }
}

#[tokio::test]
async fn a_batch_of_events_is_a_record_each() {
    let rig = Rig::start(document(routes()), &["structured", "binary"]).await;
    let batch = r#"[
        {"specversion":"1.0","id":"1","source":"/a","type":"t.one","data":{"n": 1.0}},
        {"specversion":"1.0","id":"2","source":"/a","type":"t.two","datacontenttype":"image/png","data_base64":"iVBORw0KGgo="},
        {"specversion":"1.0","id":"3","source":"/a","type":"t.three","partitionkey":"k"}
    ]"#;
    for route in ["structured", "binary"] {
        let request =
            rig.post(&format!("/{route}")).header("content-type", "application/cloudevents-batch+json");
        let answer = rig.send(request, batch).await;
        let results = expect::accepted(&answer)["results"].clone();
        let records = rig.topic(route).records().await;
        let ids: Vec<Value> = results.as_array().unwrap().iter().map(|result| result["id"].clone()).collect();
        assert_eq!((ids, records.len()), (["1", "2", "3"].map(Value::from).into(), 3));
        for (result, record) in results.as_array().unwrap().iter().zip(&records) {
            assert_eq!((&result["status"], &result["offset"]), (&json!(202), &json!(record.offset)));
            assert_eq!(attributes(record).0["id"], result["id"]);
        }
        let (one, payload) = attributes(&records[0]);
        assert_eq!(
            (payload.as_slice(), &one["datacontenttype"]),
            (&b"{\"n\": 1.0}"[..], &json!("application/json"))
        );
        assert_eq!((&one["type"], records[0].key.as_deref()), (&json!("t.one"), None));
        let (two, payload) = attributes(&records[1]);
        assert_eq!(
            (payload.as_slice(), &two["datacontenttype"]),
            (&b"\x89PNG\r\n\x1a\n"[..], &json!("image/png"))
        );
        let (three, payload) = attributes(&records[2]);
        assert_eq!((payload.len(), three.get("datacontenttype")), (0, None));
        assert_eq!(records[2].key.as_deref(), Some(&b"k"[..]));
    }
}

#[tokio::test]
async fn an_event_that_is_wrong_is_refused_and_named() {
    let rig = Rig::start(document(routes()), &["structured", "binary"]).await;
    let event = |more: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/a","type":"t"{more}}}"#);
    let (single, batch) = ("application/cloudevents+json", "application/cloudevents-batch+json");
    for (media_type, body, status, named) in [
        (single, "{".to_owned(), 400, "body"),
        (single, "[]".to_owned(), 400, "body"),
        (
            single,
            r#"{"specversion":"0.3","id":"1","source":"/a","type":"t"}"#.to_owned(),
            400,
            "body.specversion",
        ),
        (single, r#"{"specversion":"1.0","source":"/a","type":"t"}"#.to_owned(), 400, "body.id"),
        (single, r#"{"specversion":"1.0","id":"","source":"/a","type":"t"}"#.to_owned(), 400, "body.id"),
        (
            single,
            r#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#.to_owned(),
            400,
            "body.source",
        ),
        (single, event(r#","id":"2""#), 400, "id"),
        (single, event(r#","time":"yesterday""#), 400, "body.time"),
        (single, event(r#","Big":"x""#), 400, "Big"),
        (single, event(r#","half":"\ud800""#), 400, "half"),
        (single, event(r#","number":1.5"#), 400, "number"),
        (single, event(r#","data":1,"data_base64":"AA==""#), 400, "data"),
        (single, event(r#","data_base64":"A""#), 400, "data_base64"),
        // Only the gateway says who called, and what it saw.
        (single, event(r#","authid":"root""#), 400, "body.authid"),
        (single, event(r#","authtype":"none""#), 400, "body.authtype"),
        (single, event(r#","wgroute":"x""#), 400, "body.wgroute"),
        ("application/cloudevents+json; charset=iso-8859-1", event(""), 415, "content-type"),
        ("application/cloudevents+avro", event(""), 415, "content-type"),
        (batch, event(""), 400, "body"),
        (
            batch,
            format!("[{},{}]", event(""), event(r#","wgclientip":"1.2.3.4""#)),
            400,
            "body[1].wgclientip",
        ),
        (batch, format!("[{},7]", event("")), 400, "body[1]"),
        (batch, format!("[{}]", vec![event(""); 5].join(",")), 413, "4"),
    ] {
        let kind = match status {
            400 => "bad-request",
            413 => "too-large",
            _ => "unsupported-media-type",
        };
        let answer = rig.send(rig.post("/structured").header("content-type", media_type), body.clone()).await;
        let content = expect::problem(&answer, status, kind);
        assert!(content["detail"].as_str().unwrap().contains(named), "{named}: {content} for {body}");
    }
    let binary =
        || rig.post("/binary").header("ce-specversion", "1.0").header("ce-id", "1").header("ce-source", "/a");
    for (request, named) in [
        (rig.post("/binary").header("ce-specversion", "1.0"), "ce-id"),
        (rig.post("/binary").header("ce-specversion", "1.1"), "ce-specversion"),
        (binary(), "ce-type"),
        (binary().header("ce-type", "t").header("ce-type", "t"), "ce-type"),
        (binary().header("ce-type", "%zz"), "ce-type"),
        (binary().header("ce-type", "%ff"), "ce-type"),
        (binary().header("ce-type", "t").header("ce-time", "12:00"), "ce-time"),
        (binary().header("ce-type", "t").header("ce-authid", "root"), "ce-authid"),
        (binary().header("ce-type", "t").header("ce-datacontenttype", "text/plain"), "ce-datacontenttype"),
        (binary().header("ce-type", "t").header("ce-wgpath", "/"), "ce-wgpath"),
    ] {
        let content = expect::problem(&rig.send(request, "x").await, 400, "bad-request");
        assert!(content["detail"].as_str().unwrap().contains(named), "{named}: {content}");
    }
    rig.assert_nothing_happened().await;
}
