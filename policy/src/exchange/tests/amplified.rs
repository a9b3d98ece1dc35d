//! Requests that would become much more than they are.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Two routes for everything that is posted: one that decodes text, and one that copies a header to each line.
fn config(limits: &str) -> Rc<Config> {
    let document = format!(
        r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject"{limits}, "routes": [
          {{ "name": "text", "match": {{ "methods": ["POST"], "path": "/text" }},
            "authentication": {{ "any_of": ["anonymous"] }}, "action": "produce",
            "event": {{ "type": "t" }}, "kafka": {{ "topic": "t" }} }},
          {{ "name": "lines", "match": {{ "methods": ["POST"], "path": "/lines" }},
            "authentication": {{ "any_of": ["anonymous"] }}, "action": "produce",
            "accept": {{ "formats": ["ndjson"], "batch_events": 1000 }},
            "event": {{ "type": "t", "extensions": {{ "page": "{{header:referer|default:none}}" }} }},
            "kafka": {{ "topic": "t", "forward_headers": [{{ "name": "x-large" }}, {{ "name": "x-first", "repeated": "first" }}] }}
          }}] }}"#
    );
    Rc::new(Config::from_json(document.as_bytes()).unwrap_or_else(|error| panic!("{error}")))
}

fn send(config: &Rc<Config>, fields: &[(&str, &str)], body: &[u8]) -> Effect {
    let mut exchange = Exchange::new(Rc::clone(config));
    let event =
        Event::Head { head: head(&[&[(":method", "POST")], fields].concat(), &[]), end_of_stream: false };
    assert_eq!(step(&mut exchange, event), Effect::Wait);
    step(&mut exchange, Event::BodyBuffered { len: body.len(), end_of_stream: true });
    step(&mut exchange, Event::Body(body))
}

fn bytes(effect: &Effect) -> usize {
    let Effect::Dispatch { records, .. } = effect else { panic!("not dispatched: {effect:?}") };
    records.iter().map(|record| record.bytes.len()).sum()
}

/// As a string each of them would take six bytes.
#[test]
fn nothing_but_control_characters_grows_by_no_more_than_base64() {
    // A MiB of NUL, by br.
    const BOMB: &[u8] = &[0x5b, 0xff, 0xff, 0x8f, 0x7f, 0x02, 0x20, 0x1e, 0x0b, 0x04, 0x72, 0xef, 0x1f, 0x00];
    let text = [(":path", "/text"), ("content-type", "text/plain"), ("content-encoding", "br")];
    let effect = send(&config(""), &text, BOMB);
    let got = bytes(&effect);
    assert!((1 << 20..1_400_000 + 600).contains(&got), "{got}");
    let record = dispatched(effect);
    assert!(record["event"]["data_base64"].as_str().unwrap().starts_with("AAAA"));
    assert_eq!(record["event"]["datacontenttype"], "text/plain");
}

#[test]
fn what_every_event_of_a_batch_would_repeat_is_counted_before_any_is_made() {
    let large = "x".repeat(45_000);
    let lines = "{}\n".repeat(1_000);
    for fields in [[("x-large", large.as_str())], [("x-first", large.as_str())]] {
        let fields = [&[(":path", "/lines"), ("content-type", "application/x-ndjson")][..], &fields].concat();
        let (status, content, _) = replied(send(&config(""), &fields, lines.as_bytes()));
        assert_eq!((status, content["type"].as_str().unwrap()), (413, "urn:wicketgate:problem:too-large"));
        assert!(content["detail"].as_str().unwrap().contains("may have 6291456 bytes"), "{content}");
        // The same header is no fault where it is not repeated so often.
        assert!(bytes(&send(&config(""), &fields, &lines.as_bytes()[..300])) > 100 * 45_000);
    }
}

/// What templates make is counted as it is made: no more is made than may be, and one event.
#[test]
fn what_templates_repeat_is_counted_too() {
    let page = "p".repeat(4_000);
    let fields = [(":path", "/lines"), ("content-type", "application/x-ndjson"), ("referer", page.as_str())];
    let lines = "{}\n".repeat(1_000);
    let limit = |bytes: u32| config(&format!(r#", "limits": {{ "record_bytes": {bytes} }}"#));
    let all = bytes(&send(&limit(100_000_000), &fields, lines.as_bytes()));
    assert!(all > 4_000_000, "{all}");
    assert_eq!(bytes(&send(&limit(u32::try_from(all).unwrap()), &fields, lines.as_bytes())), all);
    let (status, ..) = replied(send(&limit(u32::try_from(all).unwrap() - 1), &fields, lines.as_bytes()));
    assert_eq!(status, 413);
    // A body that alone is too much is not made into a record either.
    let text = [(":path", "/text"), ("content-type", "text/plain")];
    assert_eq!(replied(send(&limit(999), &text, "x".repeat(1_000).as_bytes())).0, 413);
}

/// kafka-bridge would refuse it, with an answer that may not arrive while the gateway still sends.
#[test]
fn what_no_call_could_carry_is_refused_before_it_is_sent() {
    let config = |more: &str| config(&format!(r#", "limits": {{ "body_bytes": 33554432{more} }}"#));
    let text = [(":path", "/text"), ("content-type", "text/plain")];
    let body = "x".repeat(17 << 20);
    let (status, content, _) = replied(send(&config(""), &text, body.as_bytes()));
    assert_eq!(status, 413);
    assert!(content["detail"].as_str().unwrap().contains("may have 16711680 bytes"), "{content}");
    assert!(bytes(&send(&config(""), &text, &body.as_bytes()[..15 << 20])) > 15 << 20);
    // A bridge that takes more is told so.
    assert!(bytes(&send(&config(r#", "record_bytes": 33554432"#), &text, body.as_bytes())) > 17 << 20);
}
