//! Requests that wait until an authority has been asked.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::fetch::Response;
use crate::jose::Algorithm;
use crate::jose::testing::{jwk, mint};

fn config() -> Rc<Config> {
    let route = |name: &str, action: &str| {
        format!(
            r#"{{ "name": "{name}", "match": {{ "methods": ["POST"], "path": "/{name}" }},
                 "authentication": {{ "any_of": ["idp"] }}, "authorization": {{ "scopes": ["write"] }}, {action} }}"#
        )
    };
    let records = r#""event": { "type": "t" }, "kafka": { "topic": "t" }"#;
    let document = format!(
        r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "limits": {{ "body_bytes": 10 }},
             "authentication": {{ "idp": {{ "type": "jwt", "issuer": "https://a.example", "audiences": ["orders"],
                "algorithms": ["EdDSA"], "jwks_uri": "https://a.example/keys", "upstream": "a" }} }},
             "unmatched": "reject", "routes": [{}, {}, {}] }}"#,
        route("produce", &format!(r#""action": "produce", {records}"#)),
        route("tee", &format!(r#""action": "tee", "on_error": "continue", {records}"#)),
        route("pass", r#""action": "pass""#),
    );
    Rc::new(Config::from_json(document.as_bytes()).unwrap())
}

fn token(scope: &str) -> String {
    let claims = format!(
        r#"{{"iss": "https://a.example", "aud": "orders", "sub": "u1", "scope": "{scope}", "exp": 1795356986}}"#
    );
    mint(Algorithm::EdDsa, r#"{"alg": "EdDSA", "kid": "k"}"#, claims)
}

/// A gateway with one request, whose host is this test.
struct Waiting {
    exchange: Exchange,
    env: TestEnv,
}

impl Waiting {
    /// Sends the head, which has to wait for the keys.
    fn new(path: &str, scope: &str, end_of_stream: bool) -> Self {
        let authorization = format!("Bearer {}", token(scope));
        let fields =
            [(":method", "POST"), (":path", path), ("authorization", &authorization), ("x-request-id", "r")];
        let mut waiting = Self { exchange: Exchange::new(config()), env: TestEnv::default() };
        let effect = waiting.step(Event::Head { head: head(&fields, &[]), end_of_stream });
        assert!(matches!(effect, Effect::Fetch(_)), "{effect:?}");
        waiting
    }

    fn step(&mut self, event: Event<'_>) -> Effect {
        self.exchange.step(event, &mut self.env)
    }

    fn fetched(&mut self, status: u16) -> Effect {
        let keys = format!(r#"{{"keys": [{}]}}"#, jwk(Algorithm::EdDsa, r#""kid": "k""#));
        let key =
            crate::fetch::FetchKey { method: Rc::from("idp"), subject: crate::fetch::FetchSubject::KeySet };
        let response = Response { status, body: keys.as_bytes() };
        self.env.memory.fetched(&key, Some(response), self.env.now);
        self.step(Event::Fetched)
    }
}

#[test]
fn a_request_goes_on_once_its_caller_is_known() {
    assert_eq!(Waiting::new("/pass", "write", false).fetched(200), Effect::Resume);
    let record = dispatched(Waiting::new("/produce", "write", true).fetched(200));
    assert_eq!(
        (&record["event"]["authtype"], &record["event"]["authid"]),
        (&"app_user".into(), &"u1".into())
    );
}

#[test]
fn a_body_that_comes_meanwhile_is_held_and_not_lost() {
    let mut waiting = Waiting::new("/produce", "write", false);
    assert_eq!(waiting.step(Event::BodyBuffered { len: 2, end_of_stream: false }), Effect::Wait);
    assert_eq!(waiting.step(Event::BodyBuffered { len: 3, end_of_stream: true }), Effect::Wait);
    assert_eq!(waiting.fetched(200), Effect::ReadBody { len: 3 });
    assert_eq!(dispatched(waiting.step(Event::Body(b"abc")))["event"]["data_base64"], "YWJj");

    let mut waiting = Waiting::new("/produce", "write", false);
    waiting.step(Event::BodyBuffered { len: 2, end_of_stream: false });
    assert_eq!(waiting.step(Event::Trailers), Effect::Wait);
    assert_eq!(waiting.fetched(200), Effect::ReadBody { len: 2 });

    let mut waiting = Waiting::new("/produce", "write", false);
    assert_eq!(waiting.fetched(200), Effect::Wait);
    assert_eq!(
        waiting.step(Event::BodyBuffered { len: 2, end_of_stream: true }),
        Effect::ReadBody { len: 2 }
    );

    let mut waiting = Waiting::new("/produce", "write", false);
    waiting.step(Event::BodyBuffered { len: 11, end_of_stream: true });
    assert_eq!(replied(waiting.fetched(200)).0, 413);
    // A tee that goes on without a copy goes on from whichever callback.
    let mut waiting = Waiting::new("/tee", "write", false);
    waiting.step(Event::BodyBuffered { len: 11, end_of_stream: true });
    assert_eq!(waiting.fetched(200), Effect::Resume);
}

#[test]
fn what_is_denied_after_waiting_goes_nowhere() {
    for path in ["/produce", "/tee", "/pass"] {
        assert_eq!(replied(Waiting::new(path, "read", false).fetched(200)).0, 403, "{path}");
        let (status, problem, reply) = replied(Waiting::new(path, "write", false).fetched(503));
        assert_eq!((status, &problem["type"]), (503, &"urn:wicketgate:problem:authority-unavailable".into()));
        assert!(reply.headers.iter().any(|(name, _)| name == "retry-after"));
    }
}

#[test]
fn who_leaves_while_waiting_is_not_answered() {
    let mut waiting = Waiting::new("/produce", "write", false);
    assert_eq!(waiting.step(Event::Closed), Effect::Nothing);
    assert_eq!(waiting.fetched(200), Effect::Nothing);
}

#[test]
fn an_authority_that_answers_and_changes_nothing_is_not_asked_for_ever() {
    let mut waiting = Waiting::new("/pass", "write", false);
    // Called without an answer: the call counts as out until it would have timed out.
    let effects: Vec<Effect> = (0..6).map(|_| waiting.step(Event::Fetched)).collect();
    let asked = effects.iter().filter(|effect| matches!(effect, Effect::Fetch(_))).count();
    assert_eq!(asked, 3, "{effects:?}");
    assert!(matches!(&effects[3], Effect::Reply(reply) if reply.status == 503));
    assert_eq!(effects[4..], [Effect::Nothing, Effect::Nothing]);
}
