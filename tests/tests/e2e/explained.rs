//! `wicketgate explain` against what really happened.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::value::RawValue;
use wicketgate::explain::{ExplainedRecord, ExplainedReply, Explanation, Options, explain};
use wicketgate::message::Message;
use wicketgate_policy::config::Config;
use wicketgate_tests::cloudevents;
use wicketgate_tests::http_client::Answer;
use wicketgate_tests::topic::Record;

/// What only the gateway can know, or what is another each time.
const PASSING: [&str; 4] = ["id", "time", "wgclientip", "wgrequestid"];

/// What an authorisation server says of the token in `envoy/examples/machines.http`.
pub(crate) const TOKEN_IS_ACTIVE: &[u8] =
    br#"{"active": true, "client_id": "warehouse-7", "scope": "stock:write", "aud": "stock"}"#;

/// What `wicketgate explain` says.
pub(crate) fn explanation(document: &str, request: &[u8]) -> Explanation {
    let config = Config::from_json(document.as_bytes()).unwrap();
    let introspection = Some(TOKEN_IS_ACTIVE.to_vec());
    explain(config, Message::parse(request).unwrap(), &Options { introspection, ..Options::default() })
}

/// Panics unless an answer is the one that was explained.
pub(crate) fn assert_answered(explained: &ExplainedReply, answer: &Answer) {
    assert_eq!(explained.status, answer.status.as_u16(), "{answer:?}");
    for (name, value) in &explained.headers {
        if name != "x-request-id" {
            let got: Vec<_> = answer.headers.get_all(name).iter().collect();
            assert_eq!(got, [value.as_str()], "{name}");
        }
    }
    let without_id = |body: &[u8]| {
        let mut content: Value = serde_json::from_slice(body).unwrap_or_default();
        content.as_object_mut().map(|content| content.remove("request_id"));
        content
    };
    let body = explained.body.as_ref().map_or("", |body| body.get());
    assert_eq!(without_id(body.as_bytes()), without_id(&answer.body));
}

/// Panics unless a record is the one that was explained.
pub(crate) fn assert_recorded(explained: &ExplainedRecord, record: &Record) {
    assert_eq!(explained.key.as_ref().map(|key| key.0.as_ref()), record.key.as_deref());
    assert!(explained.partition.is_none_or(|partition| partition == record.partition), "{record:?}");
    assert!(explained.timestamp.is_none_or(|timestamp| timestamp == record.timestamp), "{record:?}");
    let own = explained.headers.iter().map(|(name, value)| (name.clone(), value.0.to_vec()));
    let event = members(explained.event.get());
    let (mut headers, value) = match explained.value {
        "structured" => {
            let content_type = b"application/cloudevents+json; charset=UTF-8".to_vec();
            assert_eq!(lasting(event), lasting(members(std::str::from_utf8(record.bytes()).unwrap())));
            // Read as an event, it is held against CloudEvents' own schema.
            record.event();
            (vec![("content-type".to_owned(), content_type)], None)
        }
        mode => {
            if mode == "binary" {
                cloudevents::assert_valid(&cloudevents::of_binary_record(record));
            }
            (of_the_mode(mode, &event), Some(payload(&event)))
        }
    };
    headers.extend(own);
    if let Some(payload) = value {
        let payload = (!explained.tombstone).then_some(payload);
        assert_eq!(payload.as_deref(), record.value.as_deref(), "{record:?}");
    }
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, Some(value))).collect();
    let lasts = |(name, _): &&(String, Option<Vec<u8>>)| {
        !PASSING.iter().any(|passing| name.strip_prefix("ce_") == Some(passing))
    };
    let sorted = |headers: &[(String, Option<Vec<u8>>)]| {
        let mut headers: Vec<_> = headers.iter().filter(lasts).cloned().collect();
        // The order of attributes says nothing; that of repeated headers does.
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        headers
    };
    assert_eq!(sorted(&headers), sorted(&record.headers));
}

type Members = BTreeMap<String, Box<RawValue>>;

fn members(event: &str) -> Members {
    serde_json::from_str(event).unwrap()
}

/// What lasts of an event, as it is spelled.
fn lasting(event: Members) -> BTreeMap<String, String> {
    let lasts = event.into_iter().filter(|(name, _)| !PASSING.contains(&name.as_str()));
    lasts.map(|(name, value)| (name, value.get().to_owned())).collect()
}

/// The headers that a value without the event's attributes has.
fn of_the_mode(mode: &str, event: &Members) -> Vec<(String, Vec<u8>)> {
    let text =
        |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
    let mut headers = Vec::new();
    for (name, value) in event {
        let value = || text(value).into_bytes();
        match name.as_str() {
            "data" | "data_base64" => {}
            "datacontenttype" => headers.push(("content-type".to_owned(), value())),
            name if mode == "binary" => headers.push((format!("ce_{name}"), value())),
            _ => {}
        }
    }
    headers
}

fn payload(event: &Members) -> Vec<u8> {
    match (event.get("data"), event.get("data_base64")) {
        (None, None) => Vec::new(),
        (None, Some(base64)) => STANDARD.decode(base64.get().trim_matches('"')).unwrap(),
        (Some(data), _) => match serde_json::from_str::<String>(data.get()) {
            Ok(text) if !is_json(event) => text.into_bytes(),
            _ => data.get().as_bytes().to_vec(),
        },
    }
}

fn is_json(event: &Members) -> bool {
    event.get("datacontenttype").is_none_or(|media_type| media_type.get().contains("json"))
}
