#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use wicketgate_envelope::hop::{Ack, Receipt, RecordResult};

mod limits;
mod methods;

use super::*;
use crate::env::testing::TestEnv;

mod fetching;

const DOCUMENT: &str = r#"{
  "source": "urn:test",
  "bridge": { "upstream": "bridge" },
  "limits": { "body_bytes": 10 },
  "authentication": { "keys": { "type": "api_key", "header": "X-Api-Key" } },
  "consumers": [{ "name": "alice", "api_keys": [
    { "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }],
  "unmatched": "reject",
  "routes": [
    { "name": "orders", "match": { "methods": ["POST"], "path": "/v1/orders/{id}" },
      "authentication": { "any_of": ["keys"] }, "action": "produce",
      "event": { "type": "order", "subject": "o-{id}" },
      "kafka": { "topic": "orders", "key": "{id}", "forward_headers": [{ "name": "X-Device" }] } },
    { "name": "open", "match": { "methods": ["PUT"], "path": "/open" },
      "authentication": { "any_of": ["anonymous"] }, "action": "produce",
      "event": { "type": "open" },
      "kafka": { "topic": "open", "ack": "spooled", "cluster": "eu-1" } }
  ]
}"#;

const ORDER: [(&str, &str); 4] = [
    (":method", "POST"),
    (":path", "/v1/orders/42?x=secret"),
    ("x-api-key", "secret"),
    ("x-request-id", "r1"),
];

fn exchange() -> Exchange {
    Exchange::new(Rc::new(Config::from_json(DOCUMENT.as_bytes()).unwrap()))
}

fn head(fields: &[(&str, &str)], more: &[(&str, &[u8])]) -> RequestHead {
    let mut head = RequestHead::default();
    fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
    more.iter().for_each(|(name, value)| head.push(name.as_bytes(), value));
    head
}

fn step(exchange: &mut Exchange, event: Event<'_>) -> Effect {
    exchange.step(event, &mut TestEnv::default())
}

/// The effect of a head without a body.
fn decide(fields: &[(&str, &str)]) -> Effect {
    step(&mut exchange(), Event::Head { head: head(fields, &[]), end_of_stream: true })
}

fn dispatched(effect: Effect) -> serde_json::Value {
    match effect {
        Effect::Dispatch { records, .. } => {
            let [record] = records.try_into().unwrap();
            serde_json::from_slice(&record.bytes).unwrap()
        }
        other => panic!("not dispatched: {other:?}"),
    }
}

fn replied(effect: Effect) -> (u16, serde_json::Value, LocalReply) {
    match effect {
        Effect::Reply(reply) => (reply.status, serde_json::from_slice(&reply.body).unwrap(), reply),
        other => panic!("not answered: {other:?}"),
    }
}

fn admitted() -> Exchange {
    let mut exchange = exchange();
    let event = Event::Head { head: head(&ORDER, &[]), end_of_stream: false };
    assert_eq!(step(&mut exchange, event), Effect::Wait);
    exchange
}

fn waiting() -> Exchange {
    let mut exchange = exchange();
    dispatched(step(&mut exchange, Event::Head { head: head(&ORDER, &[]), end_of_stream: true }));
    exchange
}

/// The id that each step makes first.
const ID: &str = "01a20366-9c8b-7101-8101-010101010101";

fn receipt() -> Receipt {
    let (id, topic, timestamp) = (ID.to_owned(), "orders".to_owned(), "2026-01-01T00:00:00.000Z".to_owned());
    let (partition, offset, timestamp) = (Some(3), Some(7), Some(timestamp));
    Receipt { id, topic, partition, offset, timestamp, ack: Ack::All }
}

#[test]
fn a_route_says_how_far_its_records_have_to_get_and_to_which_cluster() {
    let open = [(":method", "PUT"), (":path", "/open")];
    for (told, status) in [(Ack::Spooled, 202), (Ack::All, 202), (Ack::Leader, 502), (Ack::None, 502)] {
        let mut exchange = exchange();
        let event = Event::Head { head: head(&open, &[]), end_of_stream: true };
        let effect = step(&mut exchange, event);
        let Effect::Dispatch { records, .. } = &effect else { panic!("{effect:?}") };
        assert_eq!((records[0].ack, records[0].cluster.as_deref()), (Ack::Spooled, Some("eu-1")));
        let record = dispatched(effect);
        assert_eq!((&record["ack"], &record["cluster"]), (&"spooled".into(), &"eu-1".into()));
        let receipt = Receipt {
            id: record["event"]["id"].as_str().unwrap().to_owned(),
            topic: "open".to_owned(),
            partition: None,
            offset: None,
            timestamp: None,
            ack: told,
        };
        let outcome = Outcome::Answered(RecordResult::Acknowledged { receipt, replayed: false });
        let (got, content, _) = replied(step(&mut exchange, Event::Outcome { index: 0, outcome }));
        assert_eq!(got, status, "{told}: {content}");
    }
}

#[test]
fn a_request_becomes_a_record_with_the_body_as_it_came() {
    let mut exchange = exchange();
    let fields = head(
        &[&ORDER[..], &[("Content-Type", "application/json"), ("x-other", "no")]].concat(),
        &[("X-Device", b"a"), ("x-device", b"\xff")],
    );
    assert_eq!(step(&mut exchange, Event::Head { head: fields, end_of_stream: false }), Effect::Wait);
    assert_eq!(step(&mut exchange, Event::BodyBuffered { len: 3, end_of_stream: false }), Effect::Wait);
    assert_eq!(
        step(&mut exchange, Event::BodyBuffered { len: 9, end_of_stream: true }),
        Effect::ReadBody { len: 9 }
    );
    let effect = step(&mut exchange, Event::Body(b"{\"a\":1.0}"));
    let Effect::Dispatch { records, request_id } = &effect else { panic!("{effect:?}") };
    assert_eq!((request_id.as_str(), records[0].topic.as_str()), ("r1", "orders"));
    assert!(records[0].bytes.ends_with(br#""data":{"a":1.0}}}"#));
    let record = dispatched(effect);
    assert_eq!(
        record,
        serde_json::json!({
            "topic": "orders",
            "key": "42",
            "headers": [["x-device", "a"], ["x-device", {"base64": "/w=="}]],
            "identity": {"request": "b326230edd3325f51cd3eed4a60ab82f"},
            "event": {
                "specversion": "1.0",
                "id": "01a20366-9c8b-7101-8101-010101010101",
                "source": "urn:test",
                "type": "order",
                "subject": "o-42",
                "time": "2026-11-22T13:16:26.123Z",
                "datacontenttype": "application/json",
                "partitionkey": "42",
                "authtype": "api_key",
                "authid": "alice",
                "wgversion": 1,
                "wgroute": "orders",
                "wgmethod": "POST",
                "wgpath": "/v1/orders/42",
                "wgrequestid": "r1",
                "data": {"a": 1.0}
            }
        })
    );
    let outcome = Outcome::Answered(RecordResult::Acknowledged { receipt: receipt(), replayed: false });
    let (status, content, _) = replied(step(&mut exchange, Event::Outcome { index: 0, outcome }));
    assert_eq!((status, &content["offset"], &content["ack"]), (202, &7.into(), &"all".into()));
}

/// A document of one `pass` route for the tenant in its path, which a key in a query parameter opens.
const TENANTS: &str = r#"{
  "source": "urn:test",
  "bridge": { "upstream": "bridge" },
  "authentication": { "keys": { "type": "api_key", "query": "key" } },
  "consumers": [
    { "name": "acme", "groups": ["partners"], "scopes": ["write"], "claims": { "tenant": "acme" },
      "api_keys": [{ "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }],
  "unmatched": "reject",
  "routes": [
    { "name": "profile", "match": { "methods": ["PUT"], "path": "/tenants/{tenant}" },
      "authentication": { "any_of": ["keys"] },
      "authorization": { "groups": ["partners"], "request": [{ "part": "{tenant}", "claim": "tenant" }] },
      "action": "pass" },
    { "name": "admin", "match": { "methods": ["PUT"], "path": "/admin" },
      "authentication": { "any_of": ["keys"] }, "authorization": { "scopes": ["write", "admin"] },
      "action": "pass" }
  ]
}"#;

#[test]
fn a_known_caller_does_what_the_route_allows_and_nothing_else() {
    let config = Rc::new(Config::from_json(TENANTS.as_bytes()).unwrap());
    let put = |path: &str| {
        let mut exchange = Exchange::new(Rc::clone(&config));
        let head = head(&[(":method", "PUT"), (":path", path), ("x-request-id", "r")], &[]);
        (step(&mut exchange, Event::Head { head, end_of_stream: true }), exchange)
    };
    let (effect, exchange) = put("/tenants/acme?a=1&key=secret");
    assert_eq!(effect, Effect::Continue);
    assert_eq!(exchange.head_changes().set, [(":path".to_owned(), b"/tenants/acme?a=1".to_vec())]);
    for (path, status) in [
        ("/tenants/globex?key=secret", 403),
        ("/tenants/ACME?key=secret", 403),
        ("/tenants/acme?key=wrong", 401),
        ("/tenants/acme?key=secret&key=secret", 400),
        ("/tenants/acme", 401),
        ("/admin?key=secret", 403),
    ] {
        let (got, content, reply) = replied(put(path).0);
        assert_eq!(got, status, "{path}: {content}");
        let challenge = reply.headers.iter().find(|(name, _)| name == "www-authenticate");
        let wanted = match path {
            "/admin?key=secret" => {
                Some(r#"Bearer realm="wicketgate", error="insufficient_scope", scope="write admin""#)
            }
            _ if status == 401 => Some(r#"ApiKey realm="wicketgate", query="key""#),
            _ => None,
        };
        assert_eq!(challenge.map(|(_, value)| value.as_str()), wanted, "{path}");
    }
}

#[test]
fn a_credential_never_gets_into_the_record() {
    assert!(!dispatched(decide(&ORDER)).to_string().contains("secret"));
}

#[test]
fn no_key_is_no_key_and_no_body_is_no_data() {
    let record =
        dispatched(decide(&[(":method", "PUT"), (":path", "/open"), ("content-type", "application/json")]));
    assert_eq!(record.get("key"), None);
    let event = &record["event"];
    for absent in ["partitionkey", "data", "data_base64", "datacontenttype", "authid"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    assert_eq!(event["authtype"], "unauthenticated");
}

#[test]
fn what_is_denied_by_its_head_is_never_dispatched() {
    let with = |changes: &[(&'static str, &'static str)]| {
        let mut fields = ORDER.to_vec();
        for change in changes {
            match fields.iter_mut().find(|(name, _)| *name == change.0 && name.starts_with(':')) {
                Some(field) => *field = *change,
                None => fields.push(*change),
            }
        }
        fields
    };
    let without_key: Vec<_> = ORDER.into_iter().filter(|(name, _)| *name != "x-api-key").collect();
    for (fields, wanted) in [
        (without_key.clone(), 401),
        ([without_key, vec![("x-api-key", "wrong")]].concat(), 401),
        (with(&[("x-api-key", "secret")]), 400),
        (with(&[(":path", "/v1/orders")]), 404),
        (with(&[(":path", "/v1/orders/42/")]), 404),
        (with(&[(":path", "/v1/x/../orders/42")]), 400),
        (with(&[(":method", "GET")]), 405),
        (with(&[("content-length", "11")]), 413),
        (with(&[("content-length", "99999999999999999999999")]), 413),
        (with(&[("content-length", "-1")]), 400),
        (with(&[("content-length", "1"), ("content-length", "1")]), 400),
        (with(&[("content-encoding", "compress")]), 415),
        (with(&[("content-type", "a/b\u{1}")]), 400),
    ] {
        let (status, content, reply) = replied(decide(&fields));
        assert_eq!(status, wanted, "{fields:?}");
        assert_eq!(content["request_id"], "r1");
        assert!(reply.headers.contains(&("x-request-id".into(), "r1".to_owned())));
    }
}

#[test]
fn a_request_ends_with_its_trailers_too() {
    let mut exchange = admitted();
    step(&mut exchange, Event::BodyBuffered { len: 2, end_of_stream: false });
    assert_eq!(step(&mut exchange, Event::Trailers), Effect::ReadBody { len: 2 });
    assert_eq!(dispatched(step(&mut exchange, Event::Body(b"ab")))["event"]["data_base64"], "YWI=");
    let mut exchange = admitted();
    dispatched(step(&mut exchange, Event::Trailers));
}

#[test]
fn a_body_over_its_limit_is_refused_as_soon_as_that_shows() {
    let mut exchange = admitted();
    assert_eq!(step(&mut exchange, Event::BodyBuffered { len: 10, end_of_stream: false }), Effect::Wait);
    assert_eq!(replied(step(&mut exchange, Event::BodyBuffered { len: 11, end_of_stream: false })).0, 413);
    assert_eq!(step(&mut exchange, Event::BodyBuffered { len: 12, end_of_stream: true }), Effect::Wait);
}

#[test]
fn without_room_for_its_body_a_request_is_told_to_come_back() {
    let mut exchange = admitted();
    step(&mut exchange, Event::BodyBuffered { len: 2, end_of_stream: true });
    let (status, problem, _) = replied(step(&mut exchange, Event::Saturated));
    assert_eq!((status, &problem["type"]), (503, &"urn:wicketgate:problem:unavailable".into()));
}

#[test]
fn every_outcome_has_its_answer() {
    for (outcome, wanted, kind) in [
        (Outcome::Answered(RecordResult::TooLarge), 413, "too-large"),
        (Outcome::Answered(RecordResult::Conflict), 422, "idempotency-conflict"),
        (Outcome::Answered(RecordResult::Refused), 502, "refused"),
        (Outcome::Answered(RecordResult::Invalid { detail: "secret".to_owned() }), 502, "refused"),
        (Outcome::Answered(RecordResult::Unavailable { retry_after: 9 }), 503, "unavailable"),
        (Outcome::Answered(RecordResult::Unknown), 504, "outcome-unknown"),
        (Outcome::Unreachable { retry_after: 10 }, 503, "bridge-unavailable"),
        (Outcome::TimedOut, 504, "outcome-unknown"),
        (Outcome::Broken, 502, "outcome-unknown"),
    ] {
        let (status, content, reply) =
            replied(step(&mut waiting(), Event::Outcome { index: 0, outcome: outcome.clone() }));
        assert_eq!(status, wanted, "{outcome:?}");
        assert_eq!(content["type"], format!("urn:wicketgate:problem:{kind}"));
        assert_eq!(content.get("event_id").is_some(), kind == "outcome-unknown");
        assert!(!String::from_utf8(reply.body).unwrap().contains("secret"));
    }
}

#[test]
fn unmatched_requests_pass_only_where_the_document_says_so() {
    let document = DOCUMENT.replace("\"reject\"", "\"pass\"");
    let mut exchange = Exchange::new(Rc::new(Config::from_json(document.as_bytes()).unwrap()));
    let unmatched = head(&[(":method", "GET"), (":path", "/else")], &[]);
    assert_eq!(step(&mut exchange, Event::Head { head: unmatched, end_of_stream: false }), Effect::Continue);
    assert_eq!(step(&mut exchange, Event::BodyBuffered { len: 99, end_of_stream: false }), Effect::Continue);
    assert_eq!(step(&mut exchange, Event::Trailers), Effect::Continue);

    // What a route is for is never let pass, whatever its spelling.
    for (method, path, wanted) in [
        ("GET", "/v1/orders/42", 405),
        ("HEAD", "/open", 405),
        ("put", "/open", 400),
        ("PUT", "/open/", 404),
        ("PUT", "/OPEN", 404),
        ("POST", "/v1/Orders/42/", 404),
        ("POST", "/v1/%256frders/42", 404),
        ("POST", "/v1%252forders/42", 400),
        ("POST", "/x/%252e%252e/v1/orders/42", 400),
    ] {
        let mut exchange = Exchange::new(Rc::new(Config::from_json(document.as_bytes()).unwrap()));
        let head = head(&[(":method", method), (":path", path)], &[]);
        let (status, _, _) = replied(step(&mut exchange, Event::Head { head, end_of_stream: true }));
        assert_eq!(status, wanted, "{method} {path}");
    }
}

#[test]
fn what_goes_on_unmatched_has_no_credential_and_one_method_and_one_path() {
    let document = DOCUMENT.replace("\"reject\"", "\"pass\"");
    let going_on = |name: &str| {
        let mut exchange = Exchange::new(Rc::new(Config::from_json(document.as_bytes()).unwrap()));
        let head = head(&[(":method", "GET"), (":path", "/else"), (name, "x")], &[]);
        let effect = step(&mut exchange, Event::Head { head, end_of_stream: true });
        (effect, exchange.head_changes().remove.clone())
    };
    for name in ["x-api-key", "x-original-url", "x-original-uri", "x-rewrite-url"] {
        assert_eq!(going_on(name), (Effect::Continue, vec![name.to_owned()]));
    }
    for name in ["authorization", "cookie", "x-else"] {
        assert_eq!(going_on(name), (Effect::Continue, Vec::new()));
    }
    for name in ["x-http-method-override", "X-HTTP-Method", "x-method-override"] {
        let (status, body, _) = replied(going_on(name).0);
        assert_eq!(status, 400, "{body}");
    }
}

#[test]
fn a_request_without_a_usable_name_gets_one() {
    for id in ["", "a b", "grün", &"x".repeat(129)] {
        let mut fields = ORDER.to_vec();
        fields.retain(|(name, _)| *name != "x-request-id");
        fields.push(("x-request-id", id));
        assert_eq!(
            dispatched(decide(&fields))["event"]["wgrequestid"],
            "01a20366-9c8b-7101-8101-010101010101",
            "{id}"
        );
    }
}

#[test]
fn what_is_carried_encoded_gets_past_no_rule() {
    let with = |formats: &str, redact: &str| {
        let accept = format!(
            r#""accept": {{ "formats": [{formats}], "media_types": ["application/json"], "content_encoding": "carry" }},
               "redact": {redact}, "event": {{ "type": "order""#
        );
        Rc::new(
            Config::from_json(DOCUMENT.replace(r#""event": { "type": "order""#, &accept).as_bytes()).unwrap(),
        )
    };
    let send = |config: &Rc<Config>, fields: &[(&str, &str)]| {
        let mut exchange = Exchange::new(Rc::clone(config));
        let fields = [&ORDER[..], &[("content-encoding", "gzip")], fields].concat();
        match step(&mut exchange, Event::Head { head: head(&fields, &[]), end_of_stream: false }) {
            Effect::Wait => {
                step(&mut exchange, Event::BodyBuffered { len: 3, end_of_stream: true });
                step(&mut exchange, Event::Body(b"\x1f\x8b\x08"))
            }
            effect => effect,
        }
    };
    let all = r#""raw", "cloudevent", "cloudevents_batch", "ndjson""#;
    let attributes = r#"{ "headers": { "ce-ssn": "drop" } }"#;
    let json = ("content-type", "application/json");
    let structured = ("content-type", "application/cloudevents+json");
    let batched = ("content-type", "application/cloudevents-batch+json");
    let binary = [json, ("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let lines = ("content-type", "application/x-ndjson");
    let event = "a CloudEvent is read before it is taken";
    let batch = "a batch is taken apart before it is taken";
    for (formats, redact, fields, problem, detail) in [
        (all, attributes, &[structured][..], "unsupported-encoding", event),
        (all, attributes, &binary, "unsupported-encoding", event),
        (all, attributes, &[batched], "unsupported-encoding", batch),
        (all, attributes, &[lines], "unsupported-encoding", batch),
        (r#""raw", "json_array""#, attributes, &[json], "unsupported-encoding", batch),
        (
            all,
            r#"{ "body": { "/a": "drop" } }"#,
            &[json],
            "unsupported-encoding",
            "parts of the body are redacted",
        ),
        (r#""raw""#, "{}", &[structured], "unsupported-media-type", "wanted a body that is no CloudEvent"),
        (r#""raw""#, "{}", &binary, "unsupported-media-type", "wanted a body that is no CloudEvent"),
        (
            r#""raw""#,
            "{}",
            &[("content-type", "image/png")],
            "unsupported-media-type",
            "content-type: wanted application/json",
        ),
        (r#""raw""#, "{}", &[], "unsupported-media-type", "content-type: wanted application/json, got none"),
    ] {
        let (status, content, _) = replied(send(&with(formats, redact), fields));
        let got = (status, content["type"].as_str().unwrap(), content["detail"].as_str().unwrap());
        assert_eq!((got.0, got.1), (415, format!("urn:wicketgate:problem:{problem}").as_str()), "{fields:?}");
        assert!(got.2.contains(detail), "{fields:?}: {}", got.2);
    }
    for (formats, redact) in [(all, attributes), (r#""raw""#, "{}")] {
        let event = &dispatched(send(&with(formats, redact), &[json]))["event"];
        assert_eq!((&event["data_base64"], &event["wgencoding"]), (&"H4sI".into(), &"gzip".into()));
    }
}

#[test]
fn what_a_template_cannot_be_filled_with_is_refused_and_named() {
    let document = DOCUMENT.replace("\"key\": \"{id}\"", "\"key\": \"{query:k}\"");
    let decide = |target: &str| {
        let mut exchange = Exchange::new(Rc::new(Config::from_json(document.as_bytes()).unwrap()));
        let fields = [ORDER[0], (":path", target), ORDER[2]];
        step(&mut exchange, Event::Head { head: head(&fields, &[]), end_of_stream: true })
    };
    assert_eq!(dispatched(decide("/v1/orders/42?k=a+b"))["event"]["partitionkey"], "a b");
    for (target, detail) in [
        ("/v1/orders/42", "key: query parameter k is missing"),
        ("/v1/orders/42?k=1&k=1", "key: query parameter k occurs more than once"),
        ("/v1/orders/42?k=", "key: wanted text, but what the request makes is empty"),
        ("/v1/orders/42?k=1&x=%f", "query: its percent-encoding is broken"),
    ] {
        let (status, problem, _) = replied(decide(target));
        assert_eq!((status, &problem["detail"]), (400, &detail.into()), "{target}");
    }
}

#[test]
fn a_request_for_two_hosts_is_refused() {
    let fields = [&ORDER[..], &[("host", "a"), ("host", "a")]].concat();
    let (status, problem, _) = replied(decide(&fields));
    assert_eq!((status, &problem["detail"]), (400, &"host: wanted at most once, got it repeated".into()));
}

#[cfg(not(target_family = "wasm"))]
mod any_order {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Any {
        Head(bool, bool),
        HeadUnreadable,
        BodyBuffered(usize, bool),
        Trailers,
        Body(Vec<u8>),
        BodyUnreadable,
        Saturated,
        Outcome(Outcome),
        Fetched,
        Closed,
    }

    fn any_event() -> impl Strategy<Value = Any> {
        prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(good, end)| Any::Head(good, end)),
            Just(Any::HeadUnreadable),
            (0..20_usize, any::<bool>()).prop_map(|(len, end)| Any::BodyBuffered(len, end)),
            Just(Any::Trailers),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(Any::Body),
            Just(Any::BodyUnreadable),
            Just(Any::Saturated),
            Just(Any::Outcome(Outcome::Broken)),
            Just(Any::Outcome(Outcome::Answered(RecordResult::Acknowledged {
                receipt: receipt(),
                replayed: false
            }))),
            Just(Any::Fetched),
            Just(Any::Closed),
        ]
    }

    proptest! {
        /// However a host calls: one dispatch and one answer at most, nothing moves on, and 202 only after a record
        /// was sent and acknowledged.
        #[test]
        fn nothing_is_answered_twice_and_nothing_slips_through(events in proptest::collection::vec(any_event(), 0..12)) {
            let mut exchange = exchange();
            let (mut dispatches, mut replies) = (0, 0);
            for event in events {
                let acknowledged =
                    matches!(event, Any::Outcome(Outcome::Answered(RecordResult::Acknowledged { .. })));
                let good = matches!(event, Any::Head(true, _));
                let body;
                let event = match event {
                    Any::Head(good, end_of_stream) => {
                        let fields = if good { head(&ORDER, &[]) } else { RequestHead::default() };
                        Event::Head { head: fields, end_of_stream }
                    }
                    Any::HeadUnreadable => Event::HeadUnreadable,
                    Any::BodyBuffered(len, end_of_stream) => Event::BodyBuffered { len, end_of_stream },
                    Any::Trailers => Event::Trailers,
                    Any::Body(bytes) => { body = bytes; Event::Body(&body) }
                    Any::BodyUnreadable => Event::BodyUnreadable,
                    Any::Saturated => Event::Saturated,
                    Any::Outcome(outcome) => Event::Outcome { index: 0, outcome },
                    Any::Fetched => Event::Fetched,
                    Any::Closed => Event::Closed,
                };
                match step(&mut exchange, event) {
                    Effect::Continue | Effect::Resume | Effect::SetResponseHeaders { .. } => {
                        prop_assert!(false, "a request went on");
                    }
                    Effect::Dispatch { .. } => {
                        prop_assert!(replies == 0);
                        dispatches += 1;
                    }
                    Effect::Reply(reply) => {
                        replies += 1;
                        prop_assert_eq!(reply.status == 202, acknowledged);
                        prop_assert!(reply.status != 202 || dispatches == 1);
                        prop_assert!(!good || reply.status >= 400);
                    }
                    Effect::Fetch(_) => prop_assert!(false, "nobody has to be asked here"),
                    Effect::Wait | Effect::ReadBody { .. } | Effect::Nothing => {}
                }
            }
            prop_assert!(dispatches <= 1 && replies <= 1);
        }
    }
}

mod amplified;
mod foreign;
mod identities;
mod unending;
