#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::*;

/// The time at which tests happen, in seconds.
const NOW: u64 = 1_795_353_386;
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

const DOCUMENT: &str = r#"{
  "source": "urn:test",
  "bridge": { "upstream": "bridge" },
  "limits": { "body_bytes": 200 },
  "authentication": {
    "stripe": { "type": "webhook", "provider": "stripe", "secrets": ["8f742231b10e8888abcd99yyyzzz85a5"] },
    "slack": { "type": "webhook", "provider": "slack", "secrets": ["8f742231b10e8888abcd99yyyzzz85a5"],
      "consumer": "slack-app" },
    "github": { "type": "webhook", "provider": "github", "secrets": ["8f742231b10e8888abcd99yyyzzz85a5"] },
    "partners": { "type": "mtls" },
    "people": { "type": "basic" }
  },
  "consumers": [
    { "name": "slack-app", "groups": ["chat"] },
    { "name": "acme", "certificates": [{ "uri": "spiffe://t/acme" }],
      "passwords": [{ "hash": "$pbkdf2-sha256$i=10000$MDEyMzQ1Njc4OWFiY2RlZg$HASH" }] }
  ],
  "unmatched": "reject",
  "routes": [
    { "name": "stripe", "match": { "methods": ["POST"], "path": "/stripe" },
      "authentication": { "any_of": ["stripe"] }, "action": "produce",
      "event": { "type": "stripe" }, "kafka": { "topic": "stripe" } },
    { "name": "stripe-named", "match": { "methods": ["POST"], "path": "/named" },
      "authentication": { "any_of": ["stripe"] }, "action": "produce",
      "event": { "type": "stripe", "id": "{pointer:/id}-own" }, "kafka": { "topic": "stripe" } },
    { "name": "slack", "match": { "methods": ["POST"], "path": "/slack" },
      "authentication": { "any_of": ["slack"] }, "authorization": { "groups": ["chat"] }, "action": "produce",
      "event": { "type": "slack" }, "kafka": { "topic": "slack" } },
    { "name": "upstream", "match": { "methods": ["POST"], "path": "/upstream" },
      "authentication": { "any_of": ["github"] }, "action": "pass" },
    { "name": "both", "match": { "methods": ["POST"], "path": "/both" },
      "authentication": { "all_of": ["github", "partners"] }, "action": "pass" },
    { "name": "partners", "match": { "methods": ["POST"], "path": "/partners" },
      "authentication": { "any_of": ["partners", "people"] }, "action": "pass" }
  ]
}"#;

fn config() -> Rc<Config> {
    let hash = crate::password::Stored::derive("open sesame", b"0123456789abcdef", 10_000).to_string();
    let document = DOCUMENT.replace("$pbkdf2-sha256$i=10000$MDEyMzQ1Njc4OWFiY2RlZg$HASH", &hash);
    Rc::new(Config::from_json(document.as_bytes()).unwrap())
}

fn hmac(text: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(text);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stripe(time: u64, body: &[u8]) -> (&'static str, String) {
    let signature = hmac(&[format!("{time}.").as_bytes(), body].concat());
    ("stripe-signature", format!("t={time},v1={signature}"))
}

fn slack(body: &[u8]) -> [(&'static str, String); 2] {
    let signature = hmac(&[format!("v0:{NOW}:").as_bytes(), body].concat());
    [("x-slack-request-timestamp", NOW.to_string()), ("x-slack-signature", format!("v0={signature}"))]
}

fn github(body: &[u8]) -> (&'static str, String) {
    ("x-hub-signature-256", format!("sha256={}", hmac(body)))
}

/// What happens to a request whose body comes in one piece after its head.
fn post(path: &str, fields: &[(&str, String)], body: &[u8], env: &mut TestEnv) -> (Effect, Exchange) {
    let mut exchange = Exchange::new(config());
    let mut head = head(&[(":method", "POST"), (":path", path), ("x-request-id", "r1")], &[]);
    fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
    let mut effect = exchange.step(Event::Head { head, end_of_stream: body.is_empty() }, env);
    if effect == Effect::Wait {
        effect = exchange.step(Event::BodyBuffered { len: body.len(), end_of_stream: true }, env);
    }
    if effect == (Effect::ReadBody { len: body.len() }) {
        effect = exchange.step(Event::Body(body), env);
    }
    (effect, exchange)
}

#[test]
fn a_delivery_becomes_a_record_once_its_body_is_signed_for() {
    let body = br#"{"id":"evt_1"}"#;
    let (effect, exchange) = post("/stripe", &[stripe(NOW, body)], body, &mut TestEnv::default());
    let event = &dispatched(effect)["event"];
    assert_eq!((&event["id"], &event["authtype"]), (&"evt_1".into(), &"service_account".into()));
    assert_eq!(event["authid"], "stripe");
    assert_eq!(exchange.principal().unwrap().delivery.as_deref(), Some("evt_1"));
    assert!(!event.to_string().contains(&hmac(b"")[..8]));

    let json = ("content-type", "application/json".to_owned());
    let (effect, _) = post("/named", &[stripe(NOW, body), json], body, &mut TestEnv::default());
    assert_eq!(dispatched(effect)["event"]["id"], "evt_1-own");
    let key = ("idempotency-key", "mine".to_owned());
    let (effect, _) = post("/stripe", &[stripe(NOW, body), key], body, &mut TestEnv::default());
    assert_eq!(dispatched(effect)["event"]["id"], "evt_1");
}

#[test]
fn a_delivery_that_nobody_signed_for_goes_nowhere() {
    let body = br#"{"id":"evt_1"}"#;
    let challenge = Some(r#"Signature realm="wicketgate", header="stripe-signature""#);
    for (fields, status) in [
        (vec![], 401),
        (vec![stripe(NOW, b"another")], 401),
        (vec![stripe(NOW - 301, body)], 401),
        (vec![stripe(NOW + 301, body)], 401),
        (vec![("stripe-signature", "rubbish".to_owned())], 401),
        (vec![github(body)], 401),
        (vec![stripe(NOW, body), stripe(NOW, body)], 400),
    ] {
        let (effect, exchange) = post("/stripe", &fields, body, &mut TestEnv::default());
        let (got, content, reply) = replied(effect);
        assert_eq!(got, status, "{fields:?}: {content}");
        let told = reply
            .headers
            .iter()
            .find(|(name, _)| name == "www-authenticate")
            .map(|(_, value)| value.as_str());
        assert_eq!(told, challenge.filter(|_| status == 401), "{fields:?}");
        assert!(exchange.principal().is_none());
    }
}

#[test]
fn what_can_be_refused_without_the_body_is_not_buffered() {
    for fields in [vec![], vec![stripe(NOW - 301, b"x")], vec![("stripe-signature", "t=1".to_owned())]] {
        let mut exchange = Exchange::new(config());
        let mut head = head(&[(":method", "POST"), (":path", "/stripe")], &[]);
        fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
        let effect = exchange.step(Event::Head { head, end_of_stream: false }, &mut TestEnv::default());
        assert_eq!(replied(effect).0, 401, "{fields:?}");
    }
    let body = vec![b'x'; 201];
    let length = ("content-length", "201".to_owned());
    let (effect, _) = post("/stripe", &[stripe(NOW, &body), length], &body, &mut TestEnv::default());
    assert_eq!(replied(effect).0, 413);
    let (effect, _) = post("/stripe", &[stripe(NOW, &body)], &body, &mut TestEnv::default());
    assert_eq!(replied(effect).0, 413);
}

#[test]
fn the_signature_is_over_the_body_as_it_was_sent() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(br#"{"a":1}"#).unwrap();
    let encoded = gzip.finish().unwrap();
    let fields = |signed: &[u8]| {
        [
            stripe(NOW, signed),
            ("content-encoding", "gzip".to_owned()),
            ("content-type", "application/json".to_owned()),
        ]
    };
    let (effect, _) = post("/stripe", &fields(&encoded), &encoded, &mut TestEnv::default());
    assert_eq!(dispatched(effect)["event"]["data"], serde_json::json!({"a": 1}));
    let (effect, _) = post("/stripe", &fields(br#"{"a":1}"#), &encoded, &mut TestEnv::default());
    assert_eq!(replied(effect).0, 401);
}

#[test]
fn slack_gets_its_challenge_and_nothing_else_happens() {
    let body = br#"{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let (effect, _) = post("/slack", &slack(body), body, &mut TestEnv::default());
    let Effect::Reply(reply) = effect else { panic!("{effect:?}") };
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");
    assert!(reply.headers.contains(&("content-type".into(), "text/plain; charset=utf-8".to_owned())));
    let (effect, _) = post("/slack", &slack(b"another"), body, &mut TestEnv::default());
    assert_eq!(replied(effect).0, 401);
    let body = br#"{"type":"event_callback","event_id":"Ev08"}"#;
    let (effect, _) = post("/slack", &slack(body), body, &mut TestEnv::default());
    let event = &dispatched(effect)["event"];
    assert_eq!((&event["id"], &event["authid"]), (&"Ev08".into(), &"slack-app".into()));
}

#[test]
fn a_signed_request_goes_on_to_its_upstream_without_the_signature() {
    let (effect, exchange) = post("/upstream", &[github(b"x")], b"x", &mut TestEnv::default());
    assert_eq!(effect, Effect::Continue);
    assert_eq!(exchange.head_changes().remove, ["x-hub-signature-256"]);
    let (effect, _) = post("/upstream", &[github(b"x")], b"y", &mut TestEnv::default());
    assert_eq!(replied(effect).0, 401);
    let (effect, _) = post("/upstream", &[github(b"")], b"", &mut TestEnv::default());
    assert_eq!(effect, Effect::Continue);
}

fn acme() -> TestEnv {
    let mut env = TestEnv::default();
    env.properties.insert("connection.mtls".to_owned(), vec![1]);
    env.properties.insert("connection.uri_san_peer_certificate".to_owned(), b"spiffe://t/acme".to_vec());
    env
}

#[test]
fn all_of_wants_the_certificate_and_the_signature() {
    for (mut env, fields, status) in [
        (acme(), vec![github(b"x")], None),
        (acme(), vec![github(b"y")], Some(401)),
        (acme(), vec![], Some(401)),
        (TestEnv::default(), vec![github(b"x")], Some(401)),
    ] {
        let (effect, exchange) = post("/both", &fields, b"x", &mut env);
        match status {
            None => assert_eq!(effect, Effect::Continue),
            Some(status) => assert_eq!(replied(effect).0, status),
        }
        let consumer = exchange.principal().and_then(|principal| principal.auth_id());
        assert_eq!(consumer, Some("acme").filter(|_| status.is_none()));
    }
}

#[test]
fn the_first_credential_that_is_there_decides_a_certificate_included() {
    let basic = |password: &str| {
        use base64::Engine as _;
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("acme:{password}"));
        ("authorization", format!("Basic {credentials}"))
    };
    let mut other = acme();
    other.properties.insert("connection.uri_san_peer_certificate".to_owned(), b"spiffe://t/other".to_vec());
    for (mut env, fields, status) in [
        (acme(), vec![], None),
        (TestEnv::default(), vec![basic("open sesame")], None),
        (TestEnv::default(), vec![basic("wrong")], Some(401)),
        (TestEnv::default(), vec![], Some(401)),
        (other, vec![basic("open sesame")], Some(401)),
    ] {
        let (effect, exchange) = post("/partners", &fields, b"", &mut env);
        match status {
            None => {
                assert_eq!(effect, Effect::Continue);
                let removed = if fields.is_empty() { &[][..] } else { &["authorization"] };
                assert_eq!(exchange.head_changes().remove, removed);
            }
            Some(status) => {
                let (got, _, reply) = replied(effect);
                assert_eq!(got, status);
                let wanted =
                    r#"ClientCertificate realm="wicketgate", Basic realm="wicketgate", charset="UTF-8""#;
                assert!(reply.headers.contains(&("www-authenticate".into(), wanted.to_owned())), "{reply:?}");
            }
        }
    }
}

const TOKENS: &str = r#"{
  "source": "urn:test",
  "bridge": { "upstream": "bridge" },
  "authentication": {
    "server": { "type": "introspection", "endpoint": "https://idp.example.com/introspect", "upstream": "idp",
      "client": { "type": "basic", "id": "gateway", "secret": "s3cr3t" } }
  },
  "unmatched": "reject",
  "routes": [
    { "name": "orders", "match": { "methods": ["POST"], "path": "/orders" },
      "authentication": { "any_of": ["server"] }, "authorization": { "scopes": ["write"] }, "action": "produce",
      "event": { "type": "order" }, "kafka": { "topic": "orders" } }
  ]
}"#;

#[test]
fn a_request_waits_for_what_the_server_says_of_its_token() {
    use crate::fetch::Response;
    let said = |answer: Option<(u16, &str)>| {
        let mut env = TestEnv::default();
        let mut exchange = Exchange::new(Rc::new(Config::from_json(TOKENS.as_bytes()).unwrap()));
        let fields = [(":method", "POST"), (":path", "/orders"), ("authorization", "Bearer t0k3n")];
        let effect = exchange.step(Event::Head { head: head(&fields, &[]), end_of_stream: true }, &mut env);
        let Effect::Fetch(fetch) = effect else { panic!("{effect:?}") };
        let response = answer.map(|(status, body)| Response { status, body: body.as_bytes() });
        let now = env.now;
        env.memory.fetched(&fetch.key, response, now);
        exchange.step(Event::Fetched, &mut env)
    };
    let event = dispatched(said(Some((200, r#"{"active": true, "sub": "alice", "scope": "read write"}"#))));
    assert_eq!(
        (&event["event"]["authid"], &event["event"]["authtype"]),
        (&"alice".into(), &"app_user".into())
    );
    assert!(!event.to_string().contains("t0k3n"));
    for (answer, status, challenge) in [
        (
            Some((200, r#"{"active": true, "sub": "alice", "scope": "read"}"#)),
            403,
            Some("insufficient_scope"),
        ),
        (Some((200, r#"{"active": false}"#)), 401, Some("invalid_token")),
        (Some((200, r#"{"active": "true", "scope": "write"}"#)), 401, Some("invalid_token")),
        (Some((200, "<html>")), 503, None),
        (Some((500, r#"{"active": true, "scope": "write"}"#)), 503, None),
        (None, 503, None),
    ] {
        let (got, _, reply) = replied(said(answer));
        assert_eq!(got, status, "{answer:?}");
        let told = reply.headers.iter().find(|(name, _)| name == "www-authenticate");
        match challenge {
            Some(code) => assert!(told.unwrap().1.contains(&format!("error=\"{code}\"")), "{told:?}"),
            None => assert_eq!(told, None),
        }
    }
}

#[test]
fn a_sender_of_events_is_permitted_to_send_them_and_let_in_by_its_credential_only() {
    let document = DOCUMENT.replace(
        r#""name": "partners", "match": { "methods": ["POST"], "path": "/partners" },"#,
        r#""name": "partners", "match": { "methods": ["POST"], "path": "/partners" },
           "webhook_handshake": { "origins": ["emitter.example.com"], "rate": 120 },"#,
    );
    let hash = crate::password::Stored::derive("open sesame", b"0123456789abcdef", 10_000).to_string();
    let document = document.replace("$pbkdf2-sha256$i=10000$MDEyMzQ1Njc4OWFiY2RlZg$HASH", &hash);
    let config = Rc::new(Config::from_json(document.as_bytes()).unwrap());
    let decide = |fields: &[(&str, &str)]| {
        let event = Event::Head { head: head(fields, &[("x-request-id", b"r1")]), end_of_stream: true };
        match step(&mut Exchange::new(Rc::clone(&config)), event) {
            Effect::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    };
    let options = [(":method", "OPTIONS"), (":path", "/partners")];
    let origin = ("webhook-request-origin", "emitter.example.com");
    let reply = decide(&[&options[..], &[origin]].concat());
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    for (name, value) in [
        ("allow", "POST"),
        ("webhook-allowed-origin", "emitter.example.com"),
        ("webhook-allowed-rate", "120"),
    ] {
        assert!(reply.headers.contains(&(name.into(), value.to_owned())), "{reply:?}");
    }
    let other = ("webhook-request-origin", "other.example.com");
    for fields in [&options[..], &[&options[..], &[other]].concat()] {
        let reply = decide(fields);
        assert_eq!(reply.status, 405);
        assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("webhook-")), "{reply:?}");
    }
    assert_eq!(decide(&[(":method", "OPTIONS"), (":path", "/stripe"), origin]).status, 405);
    assert_eq!(decide(&[(":method", "POST"), (":path", "/partners"), origin]).status, 401);
}
