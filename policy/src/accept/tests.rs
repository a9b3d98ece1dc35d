#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const JSON_BODY: (&str, &str) = ("content-type", "application/json");
const BINARY: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];

fn head(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes());
    }
    head
}

fn everything() -> Accepted {
    Accepted { cloudevents_batch: true, ndjson: true, json_array: true, ..Accepted::default() }
}

fn nothing() -> Accepted {
    Accepted { raw: false, cloudevents: false, ..Accepted::default() }
}

fn event(rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{rest}}}"#)
}

fn refused(accepted: &Accepted, fields: &[(&str, &str)], body: &str) -> Refused {
    accept(accepted, &head(fields), body.as_bytes()).unwrap_err()
}

#[track_caller]
fn assert_bad(fields: &[(&str, &str)], body: &str, start: &str) {
    match refused(&everything(), fields, body) {
        Refused::BadRequest(detail) => {
            assert!(detail.starts_with(start), "{detail}");
            assert!(detail.len() < 200, "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_unsupported(accepted: &Accepted, fields: &[(&str, &str)], body: &str, start: &str) {
    match refused(accepted, fields, body) {
        Refused::UnsupportedMediaType(detail) => assert!(detail.starts_with(start), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_head_tells_the_form() {
    let binary = [("ce-specversion", "1.0"), ("content-type", "application/x-ndjson")];
    for (fields, format) in [
        (&[][..], Format::Raw),
        (&[("content-type", "")], Format::Raw),
        (&[("content-type", "text/plain")], Format::Raw),
        (
            &[("content-type", "APPLICATION/CloudEvents+JSON ; charset=\"UTF-8\"")],
            Format::CloudEventStructured,
        ),
        (&[("ce-specversion", "0.3"), STRUCTURED], Format::CloudEventStructured),
        (
            &[("content-type", "application/CLOUDEVENTS-batch+json;charset=us-ascii")],
            Format::CloudEventsBatch,
        ),
        (&binary, Format::CloudEventBinary),
        (&[("CE-SpecVersion", "")], Format::CloudEventBinary),
        (&[("ce-id", "1")], Format::Raw),
        (&[NDJSON], Format::Ndjson),
        (&[("content-type", "Application/JSONL")], Format::Ndjson),
        (&[("content-type", "application/vnd.x+json")], Format::JsonArray),
    ] {
        assert_eq!(everything().format(&head(fields)), Ok(format), "{fields:?}");
    }
    for fields in [&[NDJSON][..], &[JSON_BODY]] {
        assert_eq!(Accepted::default().format(&head(fields)), Ok(Format::Raw), "{fields:?}");
    }
}

#[test]
fn forms_that_are_not_taken_are_unsupported() {
    for content_type in [
        "application/cloudevents",
        "application/cloudevents+avro",
        "application/cloudevents-batch",
        "application/cloudevents-batch+avro",
        "application/cloudeventsx",
        "application/cloudevents+json; charset=utf-16",
    ] {
        let fields = [("content-type", content_type)];
        assert_unsupported(
            &everything(),
            &fields,
            "",
            "content-type: wanted a body that is no CloudEvent or",
        );
    }
    assert_unsupported(&Accepted::default(), &[BATCH], "[]", "content-type: wanted");
    let raw = Accepted { raw: true, ..nothing() };
    assert_unsupported(
        &raw,
        &[STRUCTURED],
        &event(""),
        "content-type: wanted a body that is no CloudEvent, got",
    );
    assert_unsupported(&raw, &BINARY, "", "ce-specversion: wanted a body that is no CloudEvent, got one");
    let ndjson = Accepted { ndjson: true, ..nothing() };
    assert_unsupported(&ndjson, &[JSON_BODY], "1", "content-type: wanted application/x-ndjson, got \"appl");
    assert_unsupported(&ndjson, &[], "1", "content-type: wanted application/x-ndjson, got none");
}

#[test]
fn media_types_are_those_of_the_payload() {
    let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let json = Accepted { media_types: ranges(&["application/json", "image/*"]), ..everything() };
    for fields in [&[JSON_BODY][..], &[("content-type", "Image/PNG; x=y")], &[NDJSON]] {
        assert!(accept(&json, &head(fields), b"[1]").is_ok(), "{fields:?}");
    }
    assert!(accept(&json, &head(&[]), b"").is_ok());
    let wanted = "wanted application/json, image/*, got";
    assert_unsupported(&json, &[], "x", &format!("content-type: {wanted} none"));
    let text = ("content-type", "text/plain");
    assert_unsupported(&json, &[text], "x", &format!("content-type: {wanted} \"text/plain\""));
    assert_unsupported(&json, &[&[text][..], &BINARY].concat(), "x", &format!("content-type: {wanted}"));
    assert_unsupported(&json, &BINARY, "x", &format!("content-type: {wanted} none"));
    let xml = event(r#","datacontenttype":"text/xml","data":"""#);
    assert_unsupported(&json, &[STRUCTURED], &xml, &format!("body.datacontenttype: {wanted} \"text/xml\""));
    let batch = format!("[{},{xml}]", event(r#","data":1"#));
    assert_unsupported(&json, &[BATCH], &batch, &format!("body[1].datacontenttype: {wanted}"));
    let images = Accepted { media_types: ranges(&["image/*"]), ..everything() };
    assert_unsupported(&images, &[NDJSON], "1", "body: wanted image/*");

    for wrong in ["", "*", "*/*", "*/json", "image/p*", "image", "a/b;c=d", "a/b ", "/*", "a*/*"] {
        assert!(wrong.parse::<MediaRange>().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_with_a_single_event_is_named() {
    let binary = |field| [&BINARY[..], &[field]].concat();
    assert_bad(&[STRUCTURED], "", "body: not a CloudEvent in JSON: EOF");
    assert_bad(&[STRUCTURED], "[]", "body: not a CloudEvent in JSON: wanted an object");
    assert_bad(
        &[STRUCTURED],
        &event(r#","time":"noon""#),
        "body.time: wanted a time (RFC 3339), got \"noon\"",
    );
    assert_bad(&[STRUCTURED], "{}", "body.specversion: wanted \"1.0\", got none");
    assert_bad(&[STRUCTURED], &event(r#","data":1,"data_base64":"""#), "body: wanted data or data_base64");
    let utf16 = accept(&everything(), &head(&[STRUCTURED]), b"\xff\xfe{\0").unwrap_err();
    let wide = "body: it is UTF-16 or UTF-32 by its byte order mark, and JSON is UTF-8";
    assert_eq!(utf16, Refused::BadRequest(wide.to_owned()));
    let latin1 = accept(&everything(), &head(&[STRUCTURED]), b"{\"\xe9\"").unwrap_err();
    assert_eq!(latin1, Refused::BadRequest("body: wanted UTF-8, got other bytes".to_owned()));
    assert_bad(&BINARY[..3], "", "ce-type: wanted a non-empty string, got none");
    assert_bad(&[("ce-specversion", "0.3")], "", "ce-specversion: wanted \"1.0\", got \"0.3\"");
    assert_bad(&binary(("ce-id", "2")), "", "ce-id: wanted it at most once, got it repeated");
    assert_bad(&binary(("ce-subject", "%zz")), "", "ce-subject: wanted two hexadecimal digits");
    assert_bad(
        &binary(("ce-subject", "a%00b")),
        "",
        "ce-subject: wanted a string without control characters",
    );
    assert_bad(&binary(("ce-datacontenttype", "a/b")), "", "ce-datacontenttype: wanted none");
    assert_bad(&binary(("content-type", "json")), "", "content-type: wanted a media type");
    assert_bad(&binary(("ce-my-ext", "1")), "", "headers: wanted attribute names");
    assert_bad(&binary(("ce-data", "1")), "", "headers: wanted attribute names");
    assert_bad(&binary(("ce-", "1")), "", "headers: wanted attribute names");
    let long = format!("ce-{}", "x".repeat(9999));
    assert_bad(&[&BINARY[..], &[(&long, "%")]].concat(), "", "ce-xxxx");
    assert_bad(&binary(JSON_BODY), "{", "content-type says JSON, but the body is not JSON");
    assert_bad(&[JSON_BODY], "{", "content-type says JSON, but the body is not JSON");
    assert_bad(&[JSON_BODY, JSON_BODY], "{}", "content-type: wanted at most once");
    for wrong in ["grün", "json", "a/", "a(b)/c", "a/b\t; c=d"] {
        assert_bad(&[("content-type", wrong)], "x", "content-type: wanted a media type, got ");
    }
}

#[test]
fn what_only_the_gateway_says_is_refused_from_others() {
    for name in ["wgroute", "wgversion", "wg", "authtype", "authid", "authclaims"] {
        let structured = event(&format!(r#","{name}":"x""#));
        assert_bad(&[STRUCTURED], &structured, &format!("body.{name}: wanted none, as only the gateway"));
        let batch = format!("[{},{structured}]", event(""));
        assert_bad(&[BATCH], &batch, &format!("body[1].{name}: wanted none"));
        let field = format!("Ce-{name}");
        let binary = [&BINARY[..], &[(&field, "x")]].concat();
        assert_bad(&binary, "", &format!("ce-{name}: wanted none"));
    }
    for name in ["partitionkey", "traceparent", "tracestate", "auth", "xwg"] {
        let structured = event(&format!(r#","{name}":"x""#));
        let head = head(&[STRUCTURED]);
        let batch = accept(&everything(), &head, structured.as_bytes()).unwrap();
        let [Incoming { claimed: Some(claimed), .. }] = batch.events.as_slice() else { panic!() };
        assert_eq!(claimed.extensions, [(name.into(), "x".into())]);
    }
}

#[test]
fn an_event_leaves_room_for_what_the_gateway_adds() {
    let extensions = |count| (0..count).map(|number| format!(",\"e{number}\":1")).collect::<String>();
    let most = event(&extensions(MAX_CLAIMED_EXTENSIONS));
    assert!(accept(&everything(), &head(&[STRUCTURED]), most.as_bytes()).is_ok());
    let more = event(&extensions(MAX_CLAIMED_EXTENSIONS + 1));
    let wanted = "wanted at most 128 extension attributes, got more";
    assert_bad(&[STRUCTURED], &more, &format!("body: {wanted}"));
    assert_bad(&[BATCH], &format!("[{more}]"), &format!("body[0]: {wanted}"));
}

#[test]
fn batches_have_events_and_not_too_many() {
    let two = Accepted { max_events: 2, ..everything() };
    for (fields, empty, full, more) in [
        ([NDJSON], " \r\n\n", "1\n\n 2", "1\n2\n3"),
        ([JSON_BODY], " [ ] ", "[1,2]", "[1,2,3"),
        ([BATCH], "[]", &format!("[{0},{0}]", event("")), "[1,2,3"),
    ] {
        let head = head(&fields);
        if fields == [BATCH] {
            // CloudEvents allows it.
            let batch = accept(&two, &head, empty.as_bytes()).unwrap();
            assert_eq!((batch.events.len(), batch.format.is_batch()), (0, true));
        } else {
            assert_bad(&fields, empty, "body: wanted at least one event");
        }
        let batch = accept(&two, &head, full.as_bytes()).unwrap();
        assert_eq!((batch.events.len(), batch.format.is_batch()), (2, true), "{fields:?}");
        assert_eq!(refused(&two, &fields, more), Refused::TooManyEvents { max: 2 }, "{fields:?}");
    }
    assert_bad(&[NDJSON], "", "body: wanted at least one event");
    assert_bad(&[BATCH], "", "body: wanted a JSON array, got something else");
    assert_bad(&[BATCH], &event(""), "body: wanted a JSON array, got something else");
}

#[test]
fn what_is_wrong_in_a_batch_is_found_by_its_place() {
    let line = "body, line 3: wanted a JSON value, got expected value at column 2";
    assert_bad(&[NDJSON], "1\n\n x\n", line);
    assert_bad(&[NDJSON], "{} {}", "body, line 1: wanted a JSON value, got trailing characters at column 4");
    assert_bad(&[NDJSON], "\u{feff}1", "body, line 1: wanted a JSON value");
    assert_bad(&[JSON_BODY], "[1,}", "body: wanted a JSON array, got expected value at line 1 column 4");
    assert_bad(&[JSON_BODY], "[1] 2", "body: wanted a JSON array, got trailing characters");
    let batch = format!("[{},{}]", event(""), event(r#","subject":7"#));
    assert_bad(&[BATCH], &batch, "body[1].subject: wanted a non-empty string, got the integer 7");
    assert_bad(&[BATCH], "[1]", "body[0]: not a CloudEvent in JSON: wanted an object");
    let long = format!("[\"{}\"]", "x".repeat(100_000));
    assert_bad(&[BATCH], &long, "body[0]: not a CloudEvent");
    let text = accept(&everything(), &head(&[NDJSON]), b"1\n\"\xff\"").unwrap_err();
    assert!(matches!(text, Refused::BadRequest(detail) if detail.starts_with("body, line 2:")));
}

#[test]
fn a_route_for_arrays_takes_one_value_where_it_takes_single_bodies() {
    let fields = [JSON_BODY];
    let head = head(&fields);
    let batch = accept(&everything(), &head, b" {\"a\":[]}").unwrap();
    assert_eq!((batch.format, batch.events.len()), (Format::Raw, 1));
    let arrays = Accepted { json_array: true, ..nothing() };
    let error = refused(&arrays, &fields, "{}");
    assert_eq!(error, Refused::BadRequest("body: wanted a JSON array, got something else".to_owned()));
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    for fields in [[NDJSON], [JSON_BODY]] {
        assert!(accept(&everything(), &head(&fields), deep.as_bytes()).is_ok(), "{fields:?}");
    }
    assert_bad(&[STRUCTURED], &event(&format!(",\"x\":{deep}")), "body.x: wanted a string, a boolean");
    assert_bad(&[BATCH], &deep, "body[0]: not a CloudEvent in JSON: wanted an object");
}

mod both_ends;
#[cfg(not(target_family = "wasm"))]
mod properties;
mod vectors;
