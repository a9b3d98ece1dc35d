//! Fields of a route that make events and records.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::mistakes;

/// The mistakes of the good document with these fields in `kafka` and in `event`.
fn with(kafka: &str, event: &str) -> Vec<String> {
    mistakes(
        r#""event": { "type": "order" }, "kafka": { "topic": "orders" }"#,
        &format!(r#""event": {{ "type": "order"{event} }}, "kafka": {{ "topic": "orders"{kafka} }}"#),
    )
}

#[test]
fn alternatives_and_optional_parts_go_everywhere_but_into_topics() {
    let text = r#""{pointer:/a|or:header:x|or:id|upper|optional}""#;
    let event = format!(r#", "id": {text}, "subject": {text}, "extensions": {{ "more": {text} }}"#);
    let kafka =
        format!(r#", "key": {text}, "partition": {text}, "timestamp": {text}, "headers": {{ "h": {text} }}"#);
    assert_eq!(with(&kafka, &event), [""; 0]);
    let topic = |topic: &str| mistakes(r#""topic": "orders""#, &format!(r#""topic": "{topic}""#));
    assert_eq!(topic("o.{pointer:/a|or:header:x|default:none}"), [""; 0]);
    assert_eq!(
        topic("o.{header:x|optional}"),
        [
            "routes[0].kafka.topic: wanted no optional part, because every record has a topic (or: has alternatives, \
             default: a text), got \"o.{header:x|optional}\""
        ]
    );
}

#[test]
fn what_would_be_empty_is_left_out_by_saying_so() {
    let wanted = |field: &str, text: &str| {
        format!(
            "routes[0].{field}: wanted a template that makes text in any case (optional instead of an empty default \
             leaves the field out), got \"{text}\""
        )
    };
    for text in ["{header:x|default:}", "{pointer:/a|or:pointer:/b|lower|default:}{query:q|default:}"] {
        for name in ["key", "partition", "timestamp"] {
            let found = with(&format!(r#", "{name}": "{text}""#), "");
            assert_eq!(found, [wanted(&format!("kafka.{name}"), text)]);
        }
        for name in ["id", "subject"] {
            let found = with("", &format!(r#", "{name}": "{text}""#));
            assert_eq!(found, [wanted(&format!("event.{name}"), text)]);
        }
        // These can be there and empty.
        let found = with(
            &format!(r#", "headers": {{ "h": "{text}" }}"#),
            &format!(r#", "extensions": {{ "more": "{text}" }}"#),
        );
        assert_eq!(found, [""; 0]);
    }
    assert_eq!(with(r#", "key": "k{header:x|default:}""#, ""), [""; 0]);
}

#[test]
fn credentials_are_no_alternative_either() {
    assert_eq!(
        with(r#", "key": "{header:x|or:header:X-API-Key|optional}""#, ""),
        ["routes[0].kafka.key: wanted headers that carry no credential, got \"x-api-key\""]
    );
}

#[test]
fn bounds_of_times_are_checked() {
    assert_eq!(with(r#", "timestamp": "{pointer:/at}", "timestamp_ahead": "1day""#, ""), [""; 0]);
    let states = r#", "timestamp": "{pointer:/at|seconds|or:pointer:/t|millis|optional}""#;
    assert_eq!(with(&format!(r#"{states}, "timestamp_earliest": "1970-01-01T00:00:00Z""#), ""), [""; 0]);
    assert_eq!(
        with(r#", "timestamp": "{pointer:/at}", "timestamp_earliest": "2020-01-01T00:00:00Z""#, ""),
        [""; 0]
    );
    let unit = |text: &str| {
        format!(
            "routes[0].kafka.timestamp: wanted a unit (seconds, millis, micros, nanos) behind every source, because \
             timestamp_earliest takes times that are numbers in another unit, got \"{text}\""
        )
    };
    for text in ["{pointer:/at}", "{pointer:/at|seconds|or:pointer:/t}", "{pointer:/at|seconds}{query:t}"] {
        let kafka = format!(r#", "timestamp": "{text}", "timestamp_earliest": "1990-01-01T00:00:00Z""#);
        assert_eq!(with(&kafka, ""), [unit(text)]);
    }
    for (kafka, wanted) in [
        (
            r#", "timestamp": "{pointer:/at}", "timestamp_earliest": "1999""#,
            "routes[0].kafka.timestamp_earliest: wanted a time from 1970 on, such as 1990-01-01T00:00:00Z (RFC 3339), got \"1999\"",
        ),
        (
            r#", "timestamp": "{pointer:/at}", "timestamp_earliest": "1969-12-31T23:59:59Z""#,
            "routes[0].kafka.timestamp_earliest: wanted a time from 1970 on, such as 1990-01-01T00:00:00Z (RFC 3339), got \"1969-12-31T23:59:59Z\"",
        ),
        (
            r#", "timestamp": "{pointer:/at}", "timestamp_ahead": "20years""#,
            "routes[0].kafka.timestamp_ahead: wanted a duration up to 3650d, such as 1h, got \"20years\"",
        ),
        (
            r#", "timestamp_ahead": "1h""#,
            "routes[0].kafka.timestamp_ahead: wanted it only where there is a timestamp, got \"1h\"",
        ),
        (
            r#", "timestamp_earliest": "2020-01-01T00:00:00Z""#,
            "routes[0].kafka.timestamp_earliest: wanted it only where there is a timestamp, got \"2020-01-01T00:00:00Z\"",
        ),
    ] {
        assert_eq!(with(kafka, ""), [wanted], "{kafka}");
    }
}
