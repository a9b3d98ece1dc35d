//! The golden vectors of the envelope, from the gateway's side: from the request to the envelope.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use serde::Deserialize;
use serde_json::value::RawValue;
use wicketgate_envelope::event::{Event, Extension, Time};
use wicketgate_envelope::octets::Octets;

use crate::accept::{Accepted, Incoming, accept};
use crate::head::RequestHead;

#[derive(Deserialize)]
struct Vector<'a> {
    accepts: Vec<String>,
    #[serde(borrow)]
    request: Request<'a>,
    gateway: Gateway,
    #[serde(borrow)]
    records: Vec<Golden<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    body: Octets<'a>,
}

#[derive(Deserialize)]
struct Gateway {
    ids: Vec<String>,
    source: String,
    #[serde(rename = "type")]
    type_: String,
    subject: Option<String>,
    time: String,
    extensions: Vec<(String, serde_json::Value)>,
}

#[derive(Deserialize)]
struct Golden<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

impl Gateway {
    fn envelope(&self, index: usize, incoming: &Incoming<'_>) -> String {
        let claimed = incoming.claimed.as_deref();
        let own = self.extensions.iter().map(|(name, value)| {
            let value = match value.as_i64() {
                Some(number) => Extension::Integer(number.try_into().unwrap()),
                None => Extension::from(value.as_str().unwrap()),
            };
            (name.as_str(), value)
        });
        let extensions: Vec<_> = claimed
            .into_iter()
            .flat_map(|claimed| &claimed.extensions)
            .map(|(name, value)| (name.as_ref(), value.clone()))
            .chain(own)
            .collect();
        let mut json = Vec::new();
        Event {
            id: claimed.map_or(&self.ids[index], |claimed| &claimed.id),
            source: claimed.map_or(&self.source, |claimed| &claimed.source),
            type_: claimed.map_or(&self.type_, |claimed| &claimed.type_),
            subject: claimed.map_or(self.subject.as_deref(), |claimed| claimed.subject.as_deref()),
            time: Time::Claimed(claimed.and_then(|claimed| claimed.time.as_deref()).unwrap_or(&self.time)),
            data_content_type: incoming.data_content_type.as_deref(),
            data_schema: claimed.and_then(|claimed| claimed.data_schema.as_deref()),
            extensions: &extensions,
            data: incoming.data.clone(),
        }
        .write_json(&mut json);
        String::from_utf8(json).unwrap()
    }
}

#[test]
fn requests_become_the_envelopes_of_the_golden_vectors() {
    macro_rules! vectors {
        ($($name:literal),* $(,)?) => {
            [$(($name, include_str!(concat!("../../../../envelope/vectors/", $name, ".json")))),*]
        };
    }
    for (name, json) in vectors![
        "binary-body",
        "cloudevent-binary",
        "cloudevent-structured",
        "cloudevents-batch",
        "empty-body",
        "json-array",
        "json-body",
        "ndjson",
        "text-body",
        "untyped-body",
    ] {
        let vector: Vector<'_> = serde_json::from_str(json).unwrap();
        let takes = |form: &str| vector.accepts.iter().any(|accepted| accepted == form);
        let accepted = Accepted {
            raw: takes("raw"),
            cloudevents: takes("cloudevents"),
            cloudevents_batch: takes("cloudevents_batch"),
            ndjson: takes("ndjson"),
            json_array: takes("json_array"),
            ..Accepted::default()
        };
        let mut head = RequestHead::default();
        for (name, value) in &vector.request.headers {
            head.push(name.as_bytes(), value.as_bytes());
        }
        let batch = accept(&accepted, &head, &vector.request.body.0).unwrap();
        let envelopes: Vec<String> = batch
            .events
            .iter()
            .enumerate()
            .map(|(index, event)| vector.gateway.envelope(index, event))
            .collect();
        let golden: Vec<&str> = vector.records.iter().map(|record| record.event.get()).collect();
        assert_eq!(envelopes, golden, "{name}");
    }
}
