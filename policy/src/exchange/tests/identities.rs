//! What tells the events of requests apart.

use serde_json::{Value, json};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A document with one route, with this action, and this in it; `secret` is in the document itself.
fn config(action: &str, secret: &str, route: &str, event: &str) -> Rc<Config> {
    let document = format!(
        r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject"{secret},
          "authentication": {{ "keys": {{ "type": "api_key", "header": "X-Api-Key" }} }},
          "consumers": [{{ "name": "alice", "api_keys": [
            {{ "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }}] }}],
          "routes": [{{ "name": "r", "match": {{ "methods": ["POST", "PUT"], "path": "/{{any}}" }},
            "authentication": {{ "any_of": ["keys"] }}, "authorization": {{ "consumers": ["alice"] }},
            "action": "{action}",
            "accept": {{ "formats": ["raw", "cloudevent", "cloudevents_batch", "ndjson"] }}{route},
            "event": {{ "type": "t"{event} }}, "kafka": {{ "topic": "t" }} }}] }}"#
    );
    Rc::new(Config::from_json(document.as_bytes()).unwrap_or_else(|error| panic!("{error}")))
}

const KEY: &str = r#", "redaction_key": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff""#;

/// The records of a request. The ids that are made differ from one call to the next.
fn records(config: &Rc<Config>, fields: &[(&str, &str)], body: &str) -> Vec<Value> {
    let mut exchange = Exchange::new(Rc::clone(config));
    let mut env = TestEnv::default();
    let defaults = [(":method", "POST"), (":path", "/a"), ("x-api-key", "secret")];
    let given = |name: &str| fields.iter().any(|(given, _)| *given == name);
    let fields: Vec<(&str, &str)> =
        defaults.into_iter().filter(|(name, _)| !given(name)).chain(fields.iter().copied()).collect();
    let event = Event::Head { head: head(&fields, &[]), end_of_stream: false };
    let effect = match exchange.step(event, &mut env) {
        Effect::Wait => {
            exchange.step(Event::BodyBuffered { len: body.len(), end_of_stream: true }, &mut env);
            exchange.step(Event::Body(body.as_bytes()), &mut env)
        }
        effect => effect,
    };
    let Effect::Dispatch { records, .. } = effect else { panic!("not dispatched: {effect:?}") };
    records.iter().map(|record| serde_json::from_slice(&record.bytes).unwrap()).collect()
}

fn request_of(config: &Rc<Config>, fields: &[(&str, &str)], body: &str) -> String {
    let records = records(config, fields, body);
    let [record] = records.as_slice() else { panic!("{records:?}") };
    record["identity"]["request"].as_str().unwrap().to_owned()
}

#[test]
fn the_identity_of_an_event_covers_method_path_query_and_what_is_redacted() {
    let redact = r#", "redact": { "query": { "token": "mask" }, "body": { "/ssn": "drop" },
        "headers": { "x-user": "mask", "ce-subject": "mask" } }"#;
    let event = r#", "extensions": { "user": "{header:x-user|default:nobody}" }"#;
    let config = config("produce", KEY, redact, event);
    let (json, key) = (("content-type", "application/json"), ("idempotency-key", "k"));
    let base: Vec<(&str, &str)> = vec![json, key, (":path", "/a?token=1&x=1"), ("x-user", "u")];
    let with = |field: (&'static str, &'static str)| {
        let rest = base.iter().copied().filter(|(name, _)| *name != field.0);
        rest.chain([field]).collect::<Vec<_>>()
    };
    let body = r#"{"ssn":"1","a":1}"#;
    let first = request_of(&config, &base, body);
    // What differs from one attempt to the next, and the id by which a caller tries again that was told one.
    for same in
        [("user-agent", "x"), ("traceparent", "x"), ("x-request-id", "other"), ("idempotency-key", "other")]
    {
        assert_eq!(request_of(&config, &with(same), body), first, "{same:?}");
    }
    for other in [
        (":method", "PUT"),
        (":path", "/b?token=1&x=1"),
        (":path", "/a?token=2&x=1"),
        (":path", "/a"),
        ("x-user", "v"),
    ] {
        assert_ne!(request_of(&config, &with(other), body), first, "{other:?}");
    }
    assert_ne!(request_of(&config, &base, r#"{"ssn":"2","a":1}"#), first);

    let event = |subject: &str| {
        json!({"specversion": "1.0", "id": "i", "source": "/s", "type": "t", "subject": subject, "data": {}})
            .to_string()
    };
    let structured = [("content-type", "application/cloudevents+json")];
    let (one, two) =
        (request_of(&config, &structured, &event("a")), request_of(&config, &structured, &event("b")));
    assert_ne!(one, two);
    let binary = |subject: &'static str| {
        let fields = [
            json,
            ("ce-specversion", "1.0"),
            ("ce-id", "i"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-subject", subject),
        ];
        request_of(&config, &fields, "{}")
    };
    assert_ne!(binary("a"), binary("b"));
}

#[test]
fn without_a_secret_nothing_that_is_redacted_is_in_a_fingerprint() {
    let redact = r#", "redact": { "query": { "token": "mask" }, "body": { "/ssn": "drop" } }"#;
    let json = ("content-type", "application/json");
    let of = |config: &Rc<Config>, path: &'static str, body: &str| {
        request_of(config, &[json, (":path", path)], body)
    };
    let unkeyed = config("produce", "", redact, "");
    let first = of(&unkeyed, "/a?token=1", r#"{"ssn":"1"}"#);
    assert_eq!(of(&unkeyed, "/a?token=2", r#"{"ssn":"2"}"#), first);
    assert_ne!(of(&unkeyed, "/a?token=1&x=1", r#"{"ssn":"1"}"#), first);
    // Nobody who sees it can try what was redacted.
    assert_ne!(of(&config("produce", KEY, redact, ""), "/a?token=1", r#"{"ssn":"1"}"#), first);
}

#[test]
fn ids_made_of_a_batch_s_key_are_a_space_of_their_own_and_about_the_whole_batch() {
    let config = config("produce", "", "", "");
    let send = |key: &'static str, body: &str| {
        records(&config, &[("idempotency-key", key), ("content-type", "application/x-ndjson")], body)
    };
    let identities = |records: &[Value]| -> Vec<(Value, Value)> {
        let identity =
            |record: &Value| (record["identity"]["batch"].clone(), record["identity"]["request"].clone());
        records.iter().map(identity).collect()
    };
    let two = send("k", "1\n2");
    assert_eq!((&two[0]["event"]["id"], &two[1]["event"]["id"]), (&json!("k-0"), &json!("k-1")));
    let (batch, request) = identities(&two)[0].clone();
    assert!(batch.is_string() && request.is_string());
    assert_eq!(identities(&two)[1], (batch.clone(), request.clone()));
    assert_eq!(identities(&send("k", "1\n2")), identities(&two));
    let three = identities(&send("k", "1\n2\n3"));
    assert_eq!(three[2].0, batch);
    assert!(three.iter().all(|(_, other)| *other != request));
    assert_ne!(identities(&send("l", "1\n2"))[0].0, batch);
    // The same spelling, given by a caller.
    let single = records(&config, &[("idempotency-key", "k-1"), ("content-type", "application/json")], "2");
    assert_eq!(single[0]["event"]["id"], "k-1");
    assert_eq!(single[0]["identity"]["batch"], Value::Null);
    // Events that bring their own ids, and events that get fresh ones, are none of the batch's.
    let event = json!([{"specversion": "1.0", "id": "i", "source": "/s", "type": "t"}]).to_string();
    let own = [("idempotency-key", "k"), ("content-type", "application/cloudevents-batch+json")];
    let own = records(&config, &own, &event);
    assert_eq!((&own[0]["event"]["id"], &own[0]["identity"]["batch"]), (&json!("i"), &Value::Null));
    let fresh = records(&config, &[("content-type", "application/x-ndjson")], "1\n2");
    assert_eq!(fresh[1]["identity"]["batch"], Value::Null);
}

/// `Idempotency-Key: k` and `Idempotency-Key: "k"`, which is how a structured field spells the same, are one key in whatever is
/// made of it.
#[test]
fn a_key_is_the_same_in_quotes_and_without() {
    let hash = r#", "redact": { "headers": { "Idempotency-Key": "hash" } }"#;
    let template = r#", "id": "e-{header:idempotency-key}", "subject": "{header:idempotency-key}""#;
    let forward = r#", "extensions": { "sentkey": "{header:idempotency-key}" }"#;
    let own_time = |mut records: Vec<Value>| {
        records.iter_mut().for_each(|record| record["event"]["time"] = Value::Null);
        records
    };
    for (redact, event) in
        [("", ""), (hash, ""), ("", template), (hash, template), (hash, forward), ("", forward)]
    {
        let config = config("produce", KEY, redact, event);
        for (media_type, body) in [("application/json", "{}"), ("application/x-ndjson", "1\n2")] {
            let send = |key: &'static str| {
                own_time(records(&config, &[("idempotency-key", key), ("content-type", media_type)], body))
            };
            let plain = send("k");
            assert_eq!(send("\"k\""), plain, "{redact} {event} {media_type}");
            assert_ne!(send("\"l\"")[0]["event"]["id"], plain[0]["event"]["id"]);
            let id = plain[0]["event"]["id"].as_str().unwrap();
            assert_eq!(
                id.starts_with(if event == template { "e-k" } else { "k" }),
                redact.is_empty(),
                "{id}"
            );
            assert!(!plain[0].to_string().contains("\\\"k"), "{}", plain[0]);
        }
    }
    // Whether it is hashed or not, a key that cannot be read is told to be one, and one that is dropped is not looked at.
    for (treatment, told) in [("hash", true), ("drop", false)] {
        let redact = hash.replace("\"hash\"", &format!("\"{treatment}\""));
        let config = config("produce", KEY, &redact, "");
        let mut exchange = Exchange::new(config);
        let fields =
            [(":method", "POST"), (":path", "/a"), ("x-api-key", "secret"), ("idempotency-key", "\"k")];
        let event = Event::Head { head: head(&fields, &[]), end_of_stream: true };
        let effect = exchange.step(event, &mut TestEnv::default());
        let Effect::Reply(reply) = effect else {
            assert!(!told, "{effect:?}");
            continue;
        };
        let text = String::from_utf8(reply.body).unwrap();
        assert!(
            told && reply.status == 400 && text.contains("idempotency-key: wanted a quote at the end"),
            "{text}"
        );
    }
}

#[test]
fn the_name_of_a_request_can_be_kept_out_of_its_event() {
    for (treatment, wanted) in [("mask", json!("[redacted]")), ("drop", Value::Null)] {
        let redact = format!(r#", "redact": {{ "headers": {{ "X-Request-Id": "{treatment}" }} }}"#);
        let config = config("produce", KEY, &redact, "");
        let fields = [("x-request-id", "s3cr3t"), ("content-type", "application/json")];
        let record = records(&config, &fields, "{}").remove(0);
        assert_eq!(record["event"]["wgrequestid"], wanted, "{treatment}");
        assert!(!record.to_string().contains("s3cr3t"), "{record}");
    }
}

#[test]
fn a_route_can_let_the_id_alone_decide() {
    let config = config("produce", "", "", r#", "id": "{pointer:/id}", "identity": "id""#);
    let json = ("content-type", "application/json");
    for body in [r#"{"id":"evt_1","pending_webhooks":2}"#, r#"{"id":"evt_1","pending_webhooks":1}"#] {
        let records = records(&config, &[json], body);
        assert_eq!(
            (&records[0]["event"]["id"], &records[0]["identity"]),
            (&json!("evt_1"), &json!({"id_only": true}))
        );
    }
}

/// Otherwise a request could go on to its upstream while Kafka has the copy of another.
#[test]
fn no_caller_chooses_the_id_of_a_copy() {
    let redact = r#", "redact": { "body": { "/ssn": "drop" } }"#;
    let config = config("tee", KEY, redact, "");
    let structured = json!({"specversion": "1.0", "id": "i", "source": "/s", "type": "t", "data": {}});
    let json = ("content-type", "application/json");
    // An upstream may read its own key in any way it likes.
    for (fields, body, own) in [
        (vec![json, ("idempotency-key", "k")], "{}".to_owned(), Value::Null),
        (vec![json, ("idempotency-key", "\"a b\"; c=1")], "{}".to_owned(), Value::Null),
        (vec![("content-type", "application/cloudevents+json")], structured.to_string(), json!("i")),
        (
            vec![json, ("ce-specversion", "1.0"), ("ce-id", "i"), ("ce-source", "/s"), ("ce-type", "t")],
            "{}".to_owned(),
            json!("i"),
        ),
        (
            vec![("content-type", "application/cloudevents-batch+json"), ("idempotency-key", "k")],
            json!([structured, structured]).to_string(),
            json!("i"),
        ),
        (
            vec![("content-type", "application/x-ndjson"), ("idempotency-key", "k")],
            "{}\n{}".to_owned(),
            Value::Null,
        ),
    ] {
        let records = records(&config, &fields, &body);
        for (index, record) in records.iter().enumerate() {
            let event = &record["event"];
            // A UUID, version 7.
            let id = event["id"].as_str().unwrap();
            assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{fields:?}: {id}");
            assert!(records.iter().take(index).all(|other| other["event"]["id"] != id), "{fields:?}");
            assert_eq!((&event["wgeventid"], &record["identity"]), (&own, &Value::Null), "{fields:?}");
        }
    }
}
