#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use wicketgate_envelope::timestamp::Timestamp;

use crate::auth::{Memory, Rejected, Request, Verdict};
use crate::config::Config;
use crate::env::testing::TestEnv;
use crate::fetch::{FetchSubject, Response};
use crate::head::RequestHead;
use crate::jose::Algorithm;
use crate::jose::testing::{jwk, mint};

/// A document with an issuer whose keys are fetched, one whose keys are in it, and keys of the gateway's own.
fn config(any_of: &str) -> Config {
    let inline =
        serde_json::to_string(&format!(r#"{{"keys": [{}]}}"#, jwk(Algorithm::Es256, r#""kid": "b""#)));
    let document = format!(
        r#"{{
  "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject",
  "authentication": {{
    "remote": {{ "type": "jwt", "issuer": "https://a.example", "audiences": ["orders"], "algorithms": ["EdDSA"],
                "jwks_uri": "https://a.example/keys", "upstream": "a", "groups_claim": "/realm/roles" }},
    "inline": {{ "type": "jwt", "issuer": "https://b.example", "algorithms": ["ES256"], "jwks": {},
                "consumer_claim": "azp" }},
    "keys": {{ "type": "api_key", "header": "x-api-key" }}
  }},
  "consumers": [{{ "name": "acme", "scopes": ["all"],
    "api_keys": [{{ "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }}] }}],
  "routes": [{{ "name": "r", "match": {{ "methods": ["GET"], "path": "/" }},
    "authentication": {{ "any_of": {any_of} }}, "action": "pass" }}]
}}"#,
        inline.unwrap()
    );
    Config::from_json(document.as_bytes()).unwrap()
}

const EVERYONE: &str = r#"["remote", "inline", "keys", "anonymous"]"#;

fn keys(kid: &str) -> String {
    format!(r#"{{"keys": [{}]}}"#, jwk(Algorithm::EdDsa, &format!(r#""kid": "{kid}""#)))
}

/// A token that lives for an hour from the time of [`TestEnv`].
fn token(algorithm: Algorithm, kid: &str, claims: &str) -> String {
    let header = format!(r#"{{"alg": "{algorithm}", "kid": "{kid}"}}"#);
    mint(algorithm, &header, format!(r#"{{{claims}, "iat": 1795353386, "exp": 1795356986}}"#))
}

fn token_of_a(kid: &str) -> String {
    let claims = r#""iss": "https://a.example", "aud": "orders", "sub": "u1", "scope": "read write", "realm": {"roles": ["ops"]}"#;
    token(Algorithm::EdDsa, kid, claims)
}

struct Gateway {
    config: Config,
    env: TestEnv,
}

impl Gateway {
    fn new(any_of: &str) -> Self {
        Self { config: config(any_of), env: TestEnv::default() }
    }

    fn check(&mut self, fields: &[(&str, &str)]) -> Verdict {
        let mut head = RequestHead::default();
        fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
        let route = self.config.routes.iter().next().unwrap();
        route.requirement.check(&Request { head: &head, body: None }, &mut self.env)
    }

    fn bearer(&mut self, token: &str) -> Verdict {
        self.check(&[("authorization", &format!("Bearer {token}"))])
    }

    fn answer(&mut self, verdict: Verdict, status: u16, body: &str) {
        let Verdict::Fetch(fetch) = verdict else { panic!("{verdict:?}") };
        assert_eq!((fetch.upstream.as_str(), &fetch.key.subject), ("a", &FetchSubject::KeySet));
        let now = self.env.now;
        self.env.memory.fetched(&fetch.key, Some(Response { status, body: body.as_bytes() }), now);
    }

    fn wait(&mut self, seconds: u64) {
        self.env.now = Timestamp::from_nanos(self.env.now.as_nanos() + seconds * 1_000_000_000);
    }
}

/// Who the caller is, or why nobody.
fn shown(verdict: Verdict) -> String {
    match verdict {
        Verdict::Known(principal) => {
            format!(
                "{}: {} {:?}",
                principal.method,
                principal.auth_id().unwrap_or("nobody"),
                principal.scopes
            )
        }
        Verdict::Denied(denial) => match denial.rejected {
            Some(Rejected::Invalid(reason)) => reason.to_owned(),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn a_token_is_verified_with_keys_that_are_fetched_once() {
    let mut gateway = Gateway::new(EVERYONE);
    let asked = gateway.bearer(&token_of_a("k1"));
    gateway.answer(asked, 200, &keys("k1"));
    let Verdict::Known(principal) = gateway.bearer(&token_of_a("k1")) else { panic!("not known") };
    assert_eq!(
        (&*principal.method, principal.auth_type, principal.auth_id()),
        ("remote", "app_user", Some("u1"))
    );
    assert!(principal.is_in_group("ops") && principal.has_scope("write") && !principal.has_scope("all"));
    assert!(principal.claims().unwrap().json().get().contains("\"sub\""));
}

#[test]
fn a_token_of_one_issuer_is_left_to_the_method_that_knows_it_and_to_no_weaker_one() {
    let mut gateway = Gateway::new(EVERYONE);
    let of_b =
        |azp: &str| token(Algorithm::Es256, "b", &format!(r#""iss": "https://b.example", "azp": "{azp}""#));
    assert_eq!(shown(gateway.bearer(&of_b("acme"))), "inline: acme Some([])");
    assert_eq!(shown(gateway.bearer(&of_b("nobody"))), "the token names no consumer");
    let of_c = token(Algorithm::Es256, "b", r#""iss": "https://c.example""#);
    assert_eq!(shown(gateway.bearer(&of_c)), "wrong_issuer");
    assert_eq!(shown(gateway.bearer("opaque")), "not_a_jwt");
    let both = format!("Bearer {of_c}");
    assert_eq!(shown(gateway.check(&[("authorization", &both), ("x-api-key", "secret")])), "wrong_issuer");
    assert_eq!(shown(gateway.check(&[("x-api-key", "secret")])), "keys: acme None");
    assert_eq!(shown(gateway.check(&[("authorization", "Basic YTpi")])), "anonymous: nobody None");
}

#[test]
fn a_key_that_is_not_known_is_asked_for_and_a_rotation_costs_one_call() {
    let mut gateway = Gateway::new(r#"["remote"]"#);
    let asked = gateway.bearer(&token_of_a("k1"));
    gateway.answer(asked, 200, &keys("k1"));
    assert_eq!(shown(gateway.bearer(&token_of_a("k2"))), "unknown_key", "just asked");
    gateway.wait(10);
    let asked = gateway.bearer(&token_of_a("k2"));
    gateway.answer(asked, 200, &keys("k2"));
    assert!(matches!(gateway.bearer(&token_of_a("k2")), Verdict::Known(_)));
    // What the old key verified is forgotten with it.
    assert_eq!(shown(gateway.bearer(&token_of_a("k1"))), "unknown_key");
}

#[test]
fn a_cached_token_ends_with_its_time_and_a_changed_one_was_never_cached() {
    let mut gateway = Gateway::new(r#"["remote"]"#);
    let asked = gateway.bearer(&token_of_a("k1"));
    gateway.answer(asked, 200, &keys("k1"));
    let good = token_of_a("k1");
    assert!(matches!(gateway.bearer(&good), Verdict::Known(_)));
    let (signed, _) = good.rsplit_once('.').unwrap();
    assert_eq!(shown(gateway.bearer(&format!("{signed}.{}", "A".repeat(86)))), "bad_signature");
    gateway.wait(3_629);
    assert!(matches!(gateway.bearer(&good), Verdict::Known(_)), "within the leeway");
    gateway.wait(1);
    assert_eq!(shown(gateway.bearer(&good)), "expired");
}

#[test]
fn while_the_issuer_is_down_nobody_gets_in_and_it_is_no_fault_of_the_caller() {
    let mut gateway = Gateway::new(EVERYONE);
    let asked = gateway.bearer(&token_of_a("k1"));
    gateway.answer(asked, 503, "");
    assert_eq!(shown(gateway.bearer(&token_of_a("k1"))), "Some(Unavailable)");
    assert_eq!(gateway.env.memory.errands().notes.len(), 1);
}

#[test]
fn a_rejected_token_is_challenged_as_one() {
    let mut gateway = Gateway::new(r#"["inline", "keys"]"#);
    let Verdict::Denied(denial) = gateway.check(&[]) else { panic!() };
    assert_eq!(
        denial.challenge,
        r#"Bearer realm="wicketgate", ApiKey realm="wicketgate", header="x-api-key""#
    );
    let Verdict::Denied(denial) = gateway.bearer("a.b.c") else { panic!() };
    assert!(
        denial.challenge.starts_with(r#"Bearer realm="wicketgate", error="invalid_token", "#),
        "{}",
        denial.challenge
    );
}

#[test]
fn keys_can_be_put_in_place_of_those_that_would_be_fetched() {
    let mut gateway = Gateway::new(r#"["remote"]"#);
    let now = gateway.env.now;
    gateway.env.memory.put_keys("remote", keys("k1").as_bytes(), now).unwrap();
    assert_eq!(shown(gateway.bearer(&token_of_a("k1"))), "remote: u1 Some([\"read\", \"write\"])");
    assert!(Memory::default().put_keys("remote", b"{}", now).is_err());
}
