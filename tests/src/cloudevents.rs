//! The JSON Schema that the CloudEvents project publishes, and what it says of events.

use std::fs;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonschema::Validator;
use serde_json::{Map, Value};

use crate::artefacts;
use crate::topic::Record;

fn schema() -> &'static Validator {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = fs::read_to_string(artefacts::cloudevents_schema()).expect("the schema can be read");
        let schema = serde_json::from_str(&text).expect("the schema is JSON");
        jsonschema::draft7::options()
            .should_validate_formats(true)
            .build(&schema)
            .expect("it is a JSON Schema")
    })
}

/// What is wrong with an event in JSON, by CloudEvents' own schema.
pub fn faults(event: &Value) -> Vec<String> {
    schema().iter_errors(event).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Panics unless an event in JSON is one by CloudEvents' own schema.
pub fn assert_valid(event: &Value) {
    let faults = faults(event);
    assert!(faults.is_empty(), "not what CloudEvents' JSON Schema wants: {faults:?} in {event}");
}

/// The event of a record in binary mode (CloudEvents Kafka Protocol Binding 1.0.2, section 3.2), in JSON: attributes
/// from headers, data from the value.
pub fn of_binary_record(record: &Record) -> Value {
    let text = |value: &Option<Vec<u8>>| {
        String::from_utf8(value.clone().expect("no attribute is null")).expect("attributes are UTF-8")
    };
    let mut event = Map::new();
    for (name, value) in &record.headers {
        let name = match name.as_str() {
            "content-type" => "datacontenttype",
            name => match name.strip_prefix("ce_") {
                Some(name) => name,
                None => continue,
            },
        };
        let repeated = event.insert(name.to_owned(), text(value).into());
        assert_eq!(repeated, None, "{name} is there once");
    }
    if let Some(value) = &record.value {
        event.insert("data_base64".to_owned(), STANDARD.encode(value).into());
    }
    event.into()
}
