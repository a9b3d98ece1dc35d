//! Requests whose body need not end.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn exchange_of(action: &str) -> Exchange {
    let document = format!(
        r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject", "routes": [
          {{ "name": "r", "match": {{ "methods": ["GET", "POST"], "path": "/chat" }},
            "authentication": {{ "any_of": ["anonymous"] }}, {action},
            "event": {{ "type": "t" }}, "kafka": {{ "topic": "t" }} }}] }}"#
    );
    Exchange::new(Rc::new(Config::from_json(document.as_bytes()).unwrap_or_else(|error| panic!("{error}"))))
}

const WEBSOCKET: [(&str, &str); 4] =
    [(":method", "GET"), (":path", "/chat"), ("connection", "Upgrade"), ("upgrade", "websocket")];
const GRPC: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/chat"), ("content-type", "application/grpc+proto")];

fn start(exchange: &mut Exchange, fields: &[(&str, &str)]) -> Effect {
    step(exchange, Event::Head { head: head(fields, &[]), end_of_stream: false })
}

fn written(event: &serde_json::Value) -> Outcome {
    let id = event["id"].as_str().unwrap().to_owned();
    let receipt = Receipt { id, topic: "t".to_owned(), ..receipt() };
    Outcome::Answered(RecordResult::Acknowledged { receipt, replayed: false })
}

#[test]
fn a_copy_of_the_head_is_made_at_once_and_the_request_goes_on_with_it() {
    for (fields, stream) in [(&WEBSOCKET[..], "upgrade"), (&GRPC, "grpc")] {
        let mut exchange = exchange_of(r#""action": "tee""#);
        let event = dispatched(start(&mut exchange, fields))["event"].clone();
        assert_eq!(
            (&event["wgstream"], event.get("data"), event.get("data_base64")),
            (&stream.into(), None, None)
        );
        // What comes of it meanwhile is held.
        assert_eq!(step(&mut exchange, Event::BodyBuffered { len: 5, end_of_stream: false }), Effect::Wait);
        assert_eq!(
            step(&mut exchange, Event::Outcome { index: 0, outcome: written(&event) }),
            Effect::Resume
        );
        assert_eq!(
            step(&mut exchange, Event::BodyBuffered { len: 9, end_of_stream: false }),
            Effect::Continue
        );
    }
}

#[test]
fn without_a_copy_it_goes_on_only_where_that_is_said() {
    for (on_error, goes_on) in [("deny", false), ("continue", true)] {
        let mut exchange = exchange_of(&format!(r#""action": "tee", "on_error": "{on_error}""#));
        dispatched(start(&mut exchange, &WEBSOCKET));
        let effect = step(
            &mut exchange,
            Event::Outcome { index: 0, outcome: Outcome::Unreachable { retry_after: 1 } },
        );
        assert_eq!(effect == Effect::Resume, goes_on, "{effect:?}");
        // As where there is no room for the copy.
        let mut exchange = exchange_of(&format!(r#""action": "tee", "on_error": "{on_error}""#));
        dispatched(start(&mut exchange, &WEBSOCKET));
        let effect = step(&mut exchange, Event::Saturated);
        assert_eq!(effect == Effect::Continue, goes_on, "{effect:?}");
    }
}

#[test]
fn it_is_refused_at_once_where_all_of_it_would_be_waited_for() {
    for (action, fields) in [
        (r#""action": "produce""#, &WEBSOCKET[..]),
        (r#""action": "tee", "streams": "refuse""#, &WEBSOCKET),
        (r#""action": "tee", "streams": "refuse""#, &GRPC),
    ] {
        let (status, content, _) = replied(start(&mut exchange_of(action), fields));
        assert_eq!(status, 400, "{content}");
        assert!(
            content["detail"].as_str().unwrap().starts_with("request: wanted one that ends"),
            "{content}"
        );
    }
    // A gRPC call with one message ends, and is a body like others.
    assert_eq!(start(&mut exchange_of(r#""action": "produce""#), &GRPC), Effect::Wait);
    let refuse = r#""action": "tee", "streams": "refuse", "on_error": "continue""#;
    assert_eq!(start(&mut exchange_of(refuse), &WEBSOCKET), Effect::Continue);
}
