//! Every envelope is an event by the JSON Schema that the CloudEvents project publishes. What the other tests find in
//! Kafka is held against it where they read it ([`wicketgate_tests::topic::Record::event`]).

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};
use wicketgate_tests::artefacts;
use wicketgate_tests::cloudevents::{assert_valid, faults, of_binary_record};
use wicketgate_tests::topic::Record;

#[derive(Deserialize)]
struct Vector {
    records: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    event: Value,
    binary: Binary,
}

#[derive(Deserialize)]
struct Binary {
    headers: Vec<(String, String)>,
    value: Value,
}

#[test]
fn every_golden_vector_is_an_event() {
    let folder = artefacts::root().join("envelope/vectors");
    let mut events = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".json") || name.ends_with(".schema.json") {
            continue;
        }
        let vector: Vector = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(!vector.records.is_empty(), "{name}");
        for Golden { event, binary } in vector.records {
            assert_valid(&event);
            let headers = binary.headers.into_iter().map(|(name, value)| (name, Some(value.into_bytes())));
            let record = Record {
                partition: 0,
                offset: 0,
                timestamp: 0,
                key: None,
                // What it holds is nothing that the schema could judge.
                value: (!binary.value.is_null()).then(|| b"x".to_vec()),
                headers: headers.collect(),
            };
            assert_valid(&of_binary_record(&record));
            events += 1;
        }
    }
    assert!(events >= 10, "{events} events in envelope/vectors");
}

#[test]
fn the_schema_tells_an_event_from_what_is_none() {
    let event =
        json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "time": "2026-03-01T09:30:00Z"});
    assert_valid(&event);
    for (member, wrong) in [
        ("id", json!("")),
        ("id", json!(1)),
        ("source", json!("not a uri")),
        ("type", Value::Null),
        ("subject", json!("")),
        ("time", json!("yesterday")),
        ("dataschema", json!("no-scheme")),
        ("datacontenttype", json!(5)),
        ("data_base64", json!({})),
    ] {
        let mut event = event.clone();
        event[member] = wrong;
        assert!(!faults(&event).is_empty(), "{event}");
    }
    for member in ["specversion", "id", "source", "type"] {
        let mut event = event.clone();
        event.as_object_mut().unwrap().remove(member);
        assert!(!faults(&event).is_empty(), "{event}");
    }
}
