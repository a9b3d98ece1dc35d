//! The golden vectors, from the bridge's side: from the envelope to the record.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;
use crate::event::{Event, Extension, Time};
use crate::octets::Octets;

macro_rules! vectors {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../vectors/", $name, ".json")))),*]
    };
}

const VECTORS: [(&str, &str); 10] = vectors![
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
];

#[derive(Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    records: Vec<Golden<'a>>,
}

#[derive(Deserialize)]
struct Golden<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow)]
    binary: GoldenMessage<'a>,
    #[serde(borrow)]
    raw: GoldenMessage<'a>,
}

#[derive(Deserialize)]
struct GoldenMessage<'a> {
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    value: Octets<'a>,
}

fn for_each(check: impl Fn(&str, Golden<'_>)) {
    for (name, json) in VECTORS {
        let vector: Vector<'_> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!vector.records.is_empty(), "{name}");
        for golden in vector.records {
            check(name, golden);
        }
    }
}

fn assert_message(name: &str, message: &Message<'_>, golden: &GoldenMessage<'_>) {
    let headers: Vec<(String, String)> =
        message.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    assert_eq!(headers, golden.headers, "{name}");
    assert_eq!(message.value.as_deref(), Some(&*golden.value.0), "{name}");
}

#[test]
fn records_are_as_the_vectors_have_them() {
    for_each(|name, golden| {
        let event = golden.event.get();
        assert_message(name, &message(ValueMode::Binary, false, event).unwrap(), &golden.binary);
        assert_message(name, &message(ValueMode::Raw, false, event).unwrap(), &golden.raw);
        let structured = message(ValueMode::Structured, false, event).unwrap();
        let content_type = ("content-type".into(), "application/cloudevents+json; charset=UTF-8".into());
        assert_eq!(structured.headers, [content_type], "{name}");
        assert_eq!(structured.value.as_deref(), Some(event.as_bytes()), "{name}");
    });
}

#[test]
fn a_tombstone_keeps_its_headers_and_has_no_value() {
    for_each(|name, golden| {
        let event = golden.event.get();
        let binary = message(ValueMode::Binary, true, event).unwrap();
        let headers: Vec<_> = golden.binary.headers.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(binary.headers.iter().map(|(_, value)| &**value).collect::<Vec<_>>(), headers, "{name}");
        assert_eq!(binary.value, None, "{name}");
        assert_eq!(message(ValueMode::Structured, true, event).unwrap(), binary, "{name}");
        assert_eq!(message(ValueMode::Raw, true, event).unwrap().value, None, "{name}");
    });
}

#[test]
fn what_is_read_is_written_again_to_the_byte() {
    for_each(|name, golden| {
        let event = golden.event.get();
        let ParsedEvent { context, data_content_type, data } = parse(event).unwrap();
        let extensions: Vec<(&str, Extension<'_>)> =
            context.extensions.iter().map(|(name, value)| (name.as_ref(), value.clone())).collect();
        let mut written = Vec::new();
        Event {
            id: &context.id,
            source: &context.source,
            type_: &context.type_,
            subject: context.subject.as_deref(),
            time: Time::Claimed(context.time.as_deref().unwrap()),
            data_content_type: data_content_type.as_deref(),
            data_schema: context.data_schema.as_deref(),
            extensions: &extensions,
            data,
        }
        .write_json(&mut written);
        assert_eq!(String::from_utf8(written).unwrap(), event, "{name}");
    });
}

#[test]
fn json_without_a_media_type_is_said_to_be_json() {
    let event = r#"{"specversion":"1.0","id":"1","source":"/","type":"t","data":[1, 2]}"#;
    let parts = binary_parts(event).unwrap();
    assert_eq!(parts.content_type.as_deref(), Some("application/json"));
    assert_eq!(parts.value, Some(Cow::Borrowed(&b"[1, 2]"[..])));
    assert!(binary_parts(r#"{"specversion":"1.0"}"#).is_err());
}

#[cfg(not(target_family = "wasm"))]
mod native {
    use super::*;

    fn schema() -> jsonschema::Validator {
        let schema = serde_json::from_str(include_str!("../../vectors/cloudevents.schema.json")).unwrap();
        jsonschema::draft7::options().should_validate_formats(true).build(&schema).unwrap()
    }

    #[test]
    fn every_envelope_is_valid_by_the_schema() {
        let schema = schema();
        for_each(|name, golden| {
            let event = serde_json::from_str(golden.event.get()).unwrap();
            schema
                .validate(&event)
                .unwrap_or_else(|error| panic!("{name}: {error}: {}", error.instance_path()));
        });
    }

    #[test]
    fn the_schema_refuses_what_the_reader_refuses() {
        let schema = schema();
        for rest in [
            r#","data":1,"data_base64":"""#,
            r#","data_base64":"e30""#,
            r#","data":{},"datacontenttype":"text/plain""#,
            r#","e":2147483648"#,
            r#","e":1.5"#,
            r#","e":{}"#,
            r#","e":"\u0000""#,
            r#","subject":"""#,
            r#","time":"yesterday""#,
            r#","dataschema":"relative""#,
            r#","datacontenttype":"json""#,
            r#","partitionkey":"""#,
            r#","E":1"#,
        ] {
            let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{rest}}}"#);
            assert!(!schema.is_valid(&serde_json::from_str(&event).unwrap()), "{rest}");
            assert!(parse(&event).is_err(), "{rest}");
        }
    }

    #[test]
    fn no_vector_is_left_out() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".json") && name != "cloudevents.schema.json")
            .collect();
        files.sort();
        let known: Vec<String> = VECTORS.iter().map(|(name, _)| format!("{name}.json")).collect();
        assert_eq!(files, known);
    }
}
