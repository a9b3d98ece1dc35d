//! Any bytes are an event or are not; an event that was read is one in every form that it can be given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate_envelope::event::{self, Attributes, MAX_EXTENSIONS};
use wicketgate_envelope::hop::ValueMode;
use wicketgate_envelope::{http_header, kafka, timestamp};
use wicketgate_fuzz::record::check_round_trip;

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = http_header::decode(input) {
        assert!(text.len() <= input.len());
    }
    let Ok(json) = std::str::from_utf8(input) else { return };
    if let Some(millis) = timestamp::parse_millis(json) {
        assert!(json.len() >= "0000-01-01T00:00:00Z".len(), "{millis}");
    }
    let parsed = event::parse(json);
    let attributes = Attributes::from_json(json);
    for mode in [ValueMode::Structured, ValueMode::Binary, ValueMode::Raw] {
        for tombstone in [false, true] {
            match kafka::message(mode, tombstone, json) {
                Ok(message) => assert_eq!(message.value.is_none(), tombstone),
                Err(_) => assert!(parsed.is_err()),
            }
        }
    }
    match parsed {
        Ok(parsed) => {
            check_round_trip(&parsed);
            let attributes = attributes.expect("what is whole has the attributes that decide where it goes");
            assert_eq!(attributes.id, parsed.context.id);
            let parts = kafka::binary_parts(json).expect("what parses has parts");
            assert!(parts.headers.len() <= MAX_EXTENSIONS + 7);
            let text_is_legal = |text: &str| !text.chars().any(char::is_control);
            for (index, (name, value)) in parts.headers.iter().enumerate() {
                assert!(name.starts_with("ce_") && text_is_legal(value));
                assert!(parts.headers[..index].iter().all(|(earlier, _)| earlier != name), "{name}");
            }
            assert_eq!(parts.value, parsed.data.into_bytes());
        }
        Err(error) => assert!(error.to_string().len() < 400),
    }
});
