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

#[test]
fn explicitly_nothing_is_not_everything() {
    let nothing = "wanted at least one item (leave the field out for its default), got none";
    let route = |from: &str, to: &str| mistakes(from, to);
    let before_event = |field: &str| route(r#""event":"#, &format!(r#"{field}, "event":"#));
    for (found, field) in [
        (route(r#""methods":"#, r#""hosts": [], "methods":"#), "match.hosts"),
        (before_event(r#""accept": { "media_types": [] }"#), "accept.media_types"),
        (before_event(r#""accept": { "formats": [] }"#), "accept.formats"),
        (with(r#", "allowed_topics": []"#, ""), "kafka.allowed_topics"),
        (
            before_event(r#""authorization": { "consumers": ["alice"], "groups": [] }"#),
            "authorization.groups",
        ),
    ] {
        assert_eq!(found, [format!("routes[0].{field}: {nothing}")]);
    }
    assert_eq!(
        before_event(r#""cors": { "origins": [] }"#),
        ["routes[0].cors.origins: wanted at least one item, got none"]
    );
    // Lists of nothing that are nothing.
    for (found, field) in [
        (with(r#", "forward_headers": [], "headers": {}"#, r#", "extensions": {}"#), "kafka"),
        (before_event(r#""redact": { "headers": {}, "query": {}, "body": {} }"#), "redact"),
        (before_event(r#""reply": { "body": {}, "headers": {} }"#), "reply"),
        (before_event(r#""cors": { "origins": ["*"], "headers": [], "expose_headers": [] }"#), "cors"),
        (before_event(r#""limits": []"#), "limits"),
    ] {
        assert_eq!(found, [""; 0], "{field}");
    }
}

#[test]
fn null_is_not_the_default() {
    for (found, wanted) in [
        (with(r#", "key": null"#, ""), "routes[0].kafka.key: wanted a string, got null"),
        (with("", r#", "source": null"#), "routes[0].event.source: wanted a string, got null"),
        (
            mistakes(r#""event":"#, r#""authorization": null, "event":"#),
            "routes[0].authorization: wanted an object, got null",
        ),
        (
            mistakes(r#""event":"#, r#""reply": { "body": null }, "event":"#),
            "routes[0].reply.body: wanted an object, got null",
        ),
        (
            mistakes(r#""event":"#, r#""reply": { "status": null }, "event":"#),
            "routes[0].reply.status: wanted an integer, got null",
        ),
        (
            mistakes(r#""upstream": "bridge""#, r#""upstream": "bridge", "secret": null"#),
            "bridge.secret: wanted a string, got null",
        ),
        (
            mistakes(r#""sha256":"#, r#""expires": null, "sha256":"#),
            "consumers[0].api_keys[0].expires: wanted a string, got null",
        ),
        (
            mistakes(r#""methods":"#, r#""hosts": null, "methods":"#),
            "routes[0].match.hosts: wanted an array, got null",
        ),
    ] {
        assert_eq!(found, [wanted]);
    }
    // Here it stands for any value.
    assert_eq!(mistakes(r#""methods":"#, r#""headers": { "x-event": null }, "methods":"#), [""; 0]);
}

#[test]
fn a_reply_without_content_has_no_fields() {
    let reply = |reply: &str| mistakes(r#""event":"#, &format!(r#""reply": {reply}, "event":"#));
    assert_eq!(reply(r#"{ "status": 204 }"#), [""; 0]);
    assert_eq!(reply(r#"{ "status": 205, "headers": { "x-a": "b" } }"#), [""; 0]);
    for status in [204, 205] {
        for body in ["{}", r#"{ "id": "id" }"#] {
            assert_eq!(
                reply(&format!(r#"{{ "status": {status}, "body": {body} }}"#)),
                [format!(
                    "routes[0].reply.body: wanted it only where the answer has content, got it where the status is \
                     {status}, which has no content"
                )]
            );
        }
    }
    assert_eq!(
        reply(r#"{ "headers": { "X-A": "1", "x-a": "2" } }"#),
        [
            "routes[0].reply.headers.x-a: wanted each header once, whatever the case of its letters, got \"x-a\""
        ]
    );
}
