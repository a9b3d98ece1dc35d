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

/// The mistakes of the good document with these fields and this redaction.
fn redacted(kafka: &str, event: &str, redact: &str) -> Vec<String> {
    let key = "0011223344556677".repeat(4);
    let document = super::GOOD
        .replace(
            r#""event": { "type": "order" }, "kafka": { "topic": "orders" }"#,
            &format!(
                r#""event": {{ "type": "order"{event} }}, "kafka": {{ "topic": "orders"{kafka} }}, "redact": {redact}"#
            ),
        )
        .replace(r#""source":"#, &format!(r#""redaction_key": "{key}", "source":"#));
    match super::Config::from_json(document.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_tells_events_apart_is_never_masked() {
    for (id, redact, part) in [
        ("{header:x-delivery}", r#"{ "headers": { "X-Delivery": "mask" } }"#, "header x-delivery"),
        ("a-{header:X-DELIVERY}", r#"{ "headers": { "x-delivery": "mask" } }"#, "header x-delivery"),
        ("{query:n}-{query:id}", r#"{ "query": { "ID": "mask" } }"#, "query parameter id"),
        ("{query:id}", r#"{ "query": { "id": "mask" } }"#, "query parameter id"),
        ("{pointer:/id}", r#"{ "body": { "/id": "mask" } }"#, "JSON pointer \"/id\""),
        ("{pointer:/a~1b}", r#"{ "body": { "/a~1b": "mask" } }"#, "JSON pointer \"/a~1b\""),
        ("{pointer:/a/0/id}", r#"{ "body": { "/a/*/id": "mask" } }"#, "JSON pointer \"/a/0/id\""),
        ("{pointer:/a/b}", r#"{ "body": { "/*/*": "mask" } }"#, "JSON pointer \"/a/b\""),
        ("{pointer:/id|or:header:x|optional}", r#"{ "headers": { "x": "mask" } }"#, "header x"),
        ("{header:ce-subject}", r#"{ "headers": { "Ce-Subject": "mask" } }"#, "header ce-subject"),
    ] {
        let wanted = format!(
            "routes[0].event.id: wanted parts that tell events apart once they are redacted, because otherwise they are taken \
             for one event, and all but the first are thrown away, got {part}, which redact masks"
        );
        let event = format!(r#", "id": "{id}""#);
        assert_eq!(redacted("", &event, redact), [wanted], "{id} {redact}");
        // A hash tells as much as what it stands for.
        assert_eq!(redacted("", &event, &redact.replace("mask", "hash")), [""; 0], "{id} {redact}");
    }
    for name in ["idempotency-key", "Idempotency-Key", "IDEMPOTENCY-KEY"] {
        let rule =
            |treatment: &str| redacted("", "", &format!(r#"{{ "headers": {{ "{name}": "{treatment}" }} }}"#));
        assert_eq!(
            rule("mask"),
            [format!(
                "routes[0].redact.headers[\"{name}\"]: wanted hash or drop for this header, because events with one key for \
                 all of them are taken for one event, got \"{name}\""
            )]
        );
        assert_eq!((rule("hash"), rule("drop")), (vec![], vec![]));
    }
    // What no id is made of may be masked.
    let others = r#"{ "headers": { "x-other": "mask" }, "query": { "other": "mask" }, "body": { "/other/*": "mask", "/id/x": "mask" } }"#;
    assert_eq!(redacted("", r#", "id": "{pointer:/id}-{header:x}-{query:id}""#, others), [""; 0]);
}

#[test]
fn what_is_dropped_makes_nothing() {
    let drop = r#"{ "headers": { "X-A": "drop" }, "query": { "a": "drop" }, "body": { "/a": "drop", "/*/c": "drop" } }"#;
    let got = |field: &str, part: &str| {
        vec![format!(
            "routes[0].{field}: wanted parts that are there once the request is redacted, got {part}, which redact drops"
        )]
    };
    for (id, part) in [
        ("{header:x-a}", "header x-a"),
        ("{header:x-a|optional}", "header x-a"),
        ("{query:a|or:header:x-a|optional}", "query parameter a"),
        ("{id}-{pointer:/a/b}", "JSON pointer \"/a/b\""),
        ("{pointer:/b/c}{id}", "JSON pointer \"/b/c\""),
    ] {
        assert_eq!(redacted("", &format!(r#", "id": "{id}""#), drop), got("event.id", part), "{id}");
    }
    assert_eq!(redacted("", r#", "id": "{header:x-a|or:header:x-b}""#, drop), [""; 0]);
    assert_eq!(redacted(r#", "key": "{pointer:/a}""#, "", drop), got("kafka.key", "JSON pointer \"/a\""));
    assert_eq!(
        redacted(r#", "headers": { "h": "{query:a}" }"#, "", drop),
        got("kafka.headers.h", "query parameter a")
    );
    assert_eq!(
        redacted(r#", "key": "{pointer:/a|optional}", "headers": { "h": "{query:a|default:x}" }"#, "", drop),
        [""; 0]
    );
}

#[test]
fn what_has_a_form_is_not_redacted_out_of_it() {
    let mask = r#"{ "headers": { "x-a": "mask" } }"#;
    let hash = r#"{ "headers": { "x-a": "hash" } }"#;
    for (kafka, redact, end) in [
        (
            r#", "key": "{header:x-a}""#,
            mask,
            "have one key, and are put into one partition or replace each other, got header x-a, which redact masks",
        ),
        (r#", "partition": "{header:x-a}""#, mask, "have no number, got header x-a, which redact masks"),
        (r#", "partition": "{header:x-a}""#, hash, "have no number, got header x-a, which redact hashes"),
        (r#", "timestamp": "{header:x-a}""#, hash, "have no time, got header x-a, which redact hashes"),
    ] {
        let found = redacted(kafka, "", redact);
        assert!(found.len() == 1 && found[0].ends_with(end), "{kafka}: {found:?}");
    }
    let found = redacted("", "", r#"{ "headers": { "Ce-PartitionKey": "mask" } }"#);
    assert!(found.len() == 1 && found[0].contains("it tells records apart"), "{found:?}");
    let topic = mistakes(
        r#""kafka": { "topic": "orders" }"#,
        &format!(r#""kafka": {{ "topic": "o.{{header:x-a}}" }}, "redact": {mask}"#),
    );
    assert!(topic.len() == 1 && topic[0].contains("in no topic's name"), "{topic:?}");
}

#[test]
fn an_id_differs_from_event_to_event() {
    let wanted = |got: &str| {
        format!(
            "routes[0].event.id: wanted a part that differs from event to event and has no default (optional leaves the id \
             to the gateway), because events with the same id are taken for one, got {got}"
        )
    };
    let id = |id: &str| with("", &format!(r#", "id": "{id}""#));
    assert_eq!(id("order"), [wanted("a constant")]);
    for text in
        ["{consumer}", "{claim:tenant}-{method}", "{pointer:/id|default:none}", "{header:x|or:consumer}"]
    {
        assert_eq!(id(text), [wanted("none")], "{text}");
    }
    for text in [
        "{id}",
        "{consumer}-{pointer:/id}",
        "{pointer:/id|or:header:x|optional}",
        "{header:t|default:x}-{id}",
    ] {
        assert_eq!(id(text), [""; 0], "{text}");
    }
}

#[test]
fn names_of_the_records_own_headers_are_reserved_in_every_case() {
    for name in ["content-type", "Content-Type", "CONTENT-TYPE", "ce_id", "CE_Id", "Ce_anything"] {
        let wanted =
            "wanted a name that is neither content-type nor begins with ce_, which are the record's own";
        assert_eq!(
            with(&format!(r#", "headers": {{ "{name}": "x" }}"#), ""),
            [format!("routes[0].kafka.headers.{name}: {wanted}, got \"{name}\"")]
        );
        assert_eq!(
            with(&format!(r#", "forward_headers": [{{ "name": "x", "as": "{name}" }}]"#), ""),
            [format!("routes[0].kafka.forward_headers[0].as: {wanted}, got \"{name}\"")]
        );
    }
    assert_eq!(with(r#", "headers": { "Content-Type-Of": "x", "ce": "y" }"#, ""), [""; 0]);
}
