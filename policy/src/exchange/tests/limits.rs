//! Limits, from the head of a request to the fields of its answer.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wicketgate_envelope::hop::SharedLimit;

use super::*;

const DOCUMENT: &str = r#"{
  "source": "urn:test",
  "bridge": { "upstream": "bridge" },
  "limits": { "body_bytes": 100 },
  "authentication": { "keys": { "type": "api_key", "header": "x-api-key" } },
  "consumers": [{ "name": "alice", "api_keys": [
    { "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }],
  "rate_limits": {
    "address": { "limit": 4, "period": "1m", "key": ["address"] },
    "consumer": { "limit": 2, "period": "1m", "key": ["consumer"] },
    "guesses": { "limit": 2, "period": "10m", "key": ["address"], "counts": "failed_authentications" },
    "bytes": { "limit": 100, "period": "1m", "cost": "body_bytes" },
    "events": { "limit": 4, "period": "1m", "cost": "events" },
    "global": { "limit": 10, "period": "1m", "cost": "events", "scope": "global", "key": ["address"] },
    "global-bytes": { "limit": 500, "period": "1m", "cost": "body_bytes", "scope": "global", "on_error": "allow" }
  },
  "concurrency_limits": { "flight": { "limit": 1 } },
  "unmatched": "reject",
  "routes": [
    { "name": "a", "match": { "methods": ["POST"], "path": "/a" }, "limits": ["address", "guesses", "consumer"],
      "authentication": { "any_of": ["keys"] }, "action": "produce",
      "event": { "type": "a" }, "kafka": { "topic": "a" } },
    { "name": "bytes", "match": { "methods": ["POST"], "path": "/bytes" }, "limits": ["bytes"],
      "authentication": { "any_of": ["anonymous"] }, "action": "tee",
      "event": { "type": "a" }, "kafka": { "topic": "a" } },
    { "name": "events", "match": { "methods": ["POST"], "path": "/events" }, "limits": ["events"],
      "authentication": { "any_of": ["anonymous"] }, "action": "produce",
      "accept": { "formats": ["json_array"], "batch_events": 4 },
      "event": { "type": "a" }, "kafka": { "topic": "a" } },
    { "name": "global", "match": { "methods": ["POST"], "path": "/global" },
      "limits": ["events", "global", "global-bytes"],
      "authentication": { "any_of": ["anonymous"] }, "action": "tee",
      "accept": { "formats": ["json_array"], "batch_events": 4 },
      "event": { "type": "a" }, "kafka": { "topic": "a" } },
    { "name": "pass", "match": { "methods": ["GET"], "path": "/pass" }, "limits": ["flight"],
      "authentication": { "any_of": ["anonymous"] }, "action": "pass" },
    { "name": "page", "match": { "methods": ["GET"], "path": "/page" }, "limits": ["address"],
      "authentication": { "any_of": ["anonymous"] }, "action": "pass",
      "cors": { "origins": ["https://a.example"] } }
  ]
}"#;

struct Gateway {
    config: Rc<Config>,
    env: TestEnv,
}

impl Gateway {
    fn new() -> Self {
        Self { config: Rc::new(Config::from_json(DOCUMENT.as_bytes()).unwrap()), env: TestEnv::default() }
    }

    /// The effect of a head, and the exchange that it has begun.
    fn head(&mut self, path: &str, more: &[(&str, &str)], end_of_stream: bool) -> (Effect, Exchange) {
        let method = if path.starts_with("/pa") { "GET" } else { "POST" };
        let mut head = head(&[&[(":method", method), (":path", path)], more].concat(), &[]);
        head.set_client_address("192.0.2.1".to_owned());
        let mut exchange = Exchange::new(Rc::clone(&self.config));
        (exchange.step(Event::Head { head, end_of_stream }, &mut self.env), exchange)
    }

    /// The status of the answer to a request without a body; 0 for none yet.
    fn status(&mut self, path: &str, more: &[(&str, &str)]) -> u16 {
        match self.head(path, more, true).0 {
            Effect::Reply(reply) => reply.status,
            _ => 0,
        }
    }

    /// The status of the answer to a body that comes without its length; 0 for none yet.
    fn chunked(&mut self, path: &str, body: &[u8]) -> u16 {
        let (effect, mut exchange) = self.head(path, &[("content-type", "application/json")], false);
        let effect = match effect {
            Effect::Wait => {
                let event = Event::BodyBuffered { len: body.len(), end_of_stream: true };
                assert_eq!(exchange.step(event, &mut self.env), Effect::ReadBody { len: body.len() });
                exchange.step(Event::Body(body), &mut self.env)
            }
            effect => effect,
        };
        match effect {
            Effect::Reply(reply) => reply.status,
            Effect::Dispatch { .. } | Effect::Continue => 0,
            other => panic!("{other:?}"),
        }
    }
}

impl Gateway {
    /// The exchange of two events whose records are on their way, and what is asked of shared limits.
    fn sent(&mut self) -> (Exchange, Vec<SharedLimit>) {
        let (effect, mut exchange) = self.head("/global", &[("content-type", "application/json")], false);
        assert_eq!(effect, Effect::Wait);
        let event = Event::BodyBuffered { len: 5, end_of_stream: true };
        assert_eq!(exchange.step(event, &mut self.env), Effect::ReadBody { len: 5 });
        match exchange.step(Event::Body(b"[1,2]"), &mut self.env) {
            Effect::Dispatch { mut records, .. } => {
                assert!(records[1].limits.is_empty());
                (exchange, records.remove(0).limits)
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the exchange comes to when limits say this and each of its two records has this outcome.
    fn end(&mut self, exchange: &mut Exchange, states: &[LimitState], result: &RecordResult) -> Effect {
        assert_eq!(exchange.step(Event::Limits(states), &mut self.env), Effect::Nothing);
        let event = |index| Event::Outcome { index, outcome: Outcome::Answered(result.clone()) };
        assert_eq!(exchange.step(event(0), &mut self.env), Effect::Nothing);
        exchange.step(event(1), &mut self.env)
    }
}

fn state(name: &str, allowed: Option<bool>, remaining: u64, retry_after: Option<u64>) -> LimitState {
    LimitState { name: name.to_owned(), allowed, remaining, next: 1_500, retry_after }
}

fn field<'r>(reply: &'r LocalReply, name: &str) -> Option<&'r str> {
    reply.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

const KEY: (&str, &str) = ("x-api-key", "secret");
const WRONG: (&str, &str) = ("x-api-key", "guess");

#[test]
fn a_refusal_says_which_limit_and_until_when() {
    let mut gateway = Gateway::new();
    (0..2).for_each(|_| assert_eq!(gateway.status("/a", &[KEY]), 0));
    let (status, content, reply) = replied(gateway.head("/a", &[KEY], true).0);
    assert_eq!(status, 429);
    assert_eq!(content["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(content["violated-policies"], serde_json::json!(["consumer"]));
    assert_eq!(field(&reply, "retry-after"), Some("30"));
    assert_eq!(field(&reply, "ratelimit"), Some(r#""consumer";r=0;t=30, "address";r=2;t=15"#));
    assert_eq!(field(&reply, "ratelimit-policy"), Some(r#""consumer";q=2;w=60, "address";q=4;w=60"#));
}

#[test]
fn a_limit_by_address_comes_before_authentication_and_before_the_body() {
    let mut gateway = Gateway::new();
    // Without a credential: known only by the address, and not a guess.
    (0..4).for_each(|_| assert_eq!(gateway.status("/a", &[]), 401));
    let (effect, _) = gateway.head("/a", &[KEY, ("content-length", "50")], false);
    assert_eq!(replied(effect).1["violated-policies"], serde_json::json!(["address"]));
}

#[test]
fn guesses_are_answered_with_429_after_as_many_as_are_allowed_and_so_is_the_right_key() {
    let mut gateway = Gateway::new();
    (0..2).for_each(|_| assert_eq!(gateway.status("/a", &[WRONG]), 401));
    for key in [WRONG, KEY] {
        let (effect, _) = gateway.head("/a", &[key], true);
        assert_eq!(replied(effect).1["violated-policies"], serde_json::json!(["guesses"]));
    }
}

#[test]
fn bytes_are_counted_by_their_length_or_when_they_have_come() {
    let mut gateway = Gateway::new();
    let (effect, _) = gateway.head("/bytes", &[("content-length", "60")], false);
    assert_eq!(effect, Effect::Wait);
    let (effect, _) = gateway.head("/bytes", &[("content-length", "41")], false);
    assert_eq!(replied(effect).0, 429);
    assert_eq!(gateway.chunked("/bytes", &[b'x'; 41]), 429);
    assert_eq!(gateway.chunked("/bytes", &[b'1'; 40]), 0);
    assert_eq!(gateway.chunked("/bytes", b"x"), 429);
    // One that is too large is so whatever is left.
    let (effect, _) = Gateway::new().head("/bytes", &[("content-length", "101")], false);
    assert_eq!(replied(effect).0, 413);
}

#[test]
fn a_limit_that_a_request_without_a_copy_would_get_past_is_refused() {
    let copies = r#""action": "tee","#;
    for (limits, wanted) in
        [(r#"["bytes"]"#, true), (r#"["global"]"#, true), (r#"["events"]"#, true), (r#"["address"]"#, false)]
    {
        let document = DOCUMENT.replacen(copies, r#""action": "tee", "on_error": "continue","#, 1).replacen(
            r#""limits": ["bytes"]"#,
            &format!(r#""limits": {limits}"#),
            1,
        );
        let errors = Config::from_json(document.as_bytes()).err().map(|errors| errors.to_string());
        let wanted = wanted
            .then_some("routes[1].limits[0]: wanted a local limit by request where on_error is continue");
        assert_eq!(errors.is_some(), wanted.is_some(), "{limits}: {errors:?}");
        let told = wanted.is_none_or(|wanted| errors.is_some_and(|errors| errors.starts_with(wanted)));
        assert!(told, "{limits}");
    }
}

#[test]
fn the_events_of_a_batch_are_counted_one_by_one() {
    let mut gateway = Gateway::new();
    assert_eq!(gateway.chunked("/events", b"[1,2,3]"), 0);
    assert_eq!(gateway.chunked("/events", b"[1,2]"), 429);
    assert_eq!(gateway.chunked("/events", b"[1]"), 0);
    assert_eq!(gateway.chunked("/events", b"[1]"), 429);
}

#[test]
fn what_is_in_flight_is_so_until_the_request_is_over_however_it_ends() {
    let mut gateway = Gateway::new();
    for end in [&[Event::Closed][..], &[Event::ResponseHead, Event::Closed]] {
        let (effect, mut exchange) = gateway.head("/pass", &[], true);
        assert_eq!(effect, Effect::Continue);
        assert_eq!(gateway.status("/pass", &[]), 429);
        for event in end {
            let event = if matches!(event, Event::Closed) { Event::Closed } else { Event::ResponseHead };
            exchange.step(event, &mut gateway.env);
        }
    }
    assert_eq!(gateway.status("/pass", &[]), 0);
}

#[test]
fn successes_carry_the_fields_and_pages_may_read_them() {
    let mut gateway = Gateway::new();
    let (_, mut exchange) = gateway.head("/page", &[("origin", "https://a.example")], true);
    let Effect::SetResponseHeaders { remove, add } = exchange.step(Event::ResponseHead, &mut gateway.env)
    else {
        panic!("no fields");
    };
    assert_eq!(remove, cors::RESPONSE_FIELDS);
    let value = |name: &str| add.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    assert_eq!(value("ratelimit"), Some(r#""address";r=3;t=15"#));
    assert_eq!(value("access-control-expose-headers"), Some("ratelimit, ratelimit-policy, retry-after"));
    // Without CORS the upstream's own stay.
    let (_, mut exchange) = gateway.head("/pass", &[], true);
    let Effect::SetResponseHeaders { remove, add } = exchange.step(Event::ResponseHead, &mut gateway.env)
    else {
        panic!("no fields");
    };
    assert!(remove.is_empty());
    assert_eq!(add.iter().filter(|(field, _)| field == "ratelimit").count(), 1);
    // And a record's receipt has them as well.
    let (_, mut exchange) = gateway.head("/a", &[KEY], true);
    let outcome = Outcome::Answered(RecordResult::Unavailable { retry_after: 1 });
    let (status, _, reply) = replied(exchange.step(Event::Outcome { index: 0, outcome }, &mut gateway.env));
    assert_eq!((status, field(&reply, "ratelimit").is_some()), (503, true));
}

#[test]
fn limits_that_gateways_share_are_asked_with_the_records_by_what_those_came_to() {
    let mut gateway = Gateway::new();
    let (_, asked) = gateway.sent();
    let [events, bytes] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((events.name.as_str(), events.cost, events.allow_uncounted), ("global", 2, false));
    assert_eq!((bytes.name.as_str(), bytes.cost, bytes.allow_uncounted), ("global-bytes", 5, true));
    assert_eq!((events.limit, events.period, events.burst), (10, 60, 10));
    // Another gateway asks for the same caller by the same key; keys say nothing of the caller.
    assert_eq!(Gateway::new().sent().1, asked);
    assert!(events.key.len() == 32 && events.key.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn a_shared_limit_that_refuses_is_told_and_gives_back_what_local_ones_counted() {
    let mut gateway = Gateway::new();
    for _ in 0..3 {
        let (mut exchange, _) = gateway.sent();
        let states =
            [state("global", Some(false), 1, Some(6_001)), state("global-bytes", Some(true), 400, None)];
        let (status, content, reply) = replied(gateway.end(&mut exchange, &states, &RecordResult::Limited));
        assert_eq!((status, &content["violated-policies"]), (429, &serde_json::json!(["global"])));
        assert_eq!(field(&reply, "retry-after"), Some("7"));
        assert_eq!(
            field(&reply, "ratelimit"),
            Some(r#""global";r=1;t=2, "global-bytes";r=400;t=2, "events";r=4"#)
        );
    }
    assert_eq!(gateway.chunked("/events", b"[1,2,3,4]"), 0);
}

#[test]
fn a_shared_limit_that_cannot_be_counted_is_503_where_it_says_so() {
    let mut gateway = Gateway::new();
    let (mut exchange, _) = gateway.sent();
    let states = [state("global", None, 0, None), state("global-bytes", None, 0, None)];
    let (status, content, _) = replied(gateway.end(&mut exchange, &states, &RecordResult::Limited));
    assert_eq!((status, &content["violated-policies"]), (503, &serde_json::json!(["global"])));
}

#[test]
fn what_is_left_of_a_shared_limit_is_told() {
    let mut gateway = Gateway::new();
    let (mut exchange, _) = gateway.sent();
    let states = [state("global", Some(true), 3, None), state("global-bytes", Some(true), 400, None)];
    let refused = RecordResult::Unavailable { retry_after: 1 };
    let (status, _, reply) = replied(gateway.end(&mut exchange, &states, &refused));
    assert_eq!(status, 503);
    assert_eq!(
        field(&reply, "ratelimit"),
        Some(r#""global";r=3;t=2, "events";r=2;t=15, "global-bytes";r=400;t=2"#)
    );
}
