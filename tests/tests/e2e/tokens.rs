//! Tokens of an issuer whose keys are fetched, and tokens that a server is asked about.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use wicketgate_tests::authority::{Authority, Behaviour, IssuerKey, key_set};
use wicketgate_tests::envoy::WORKERS;
use wicketgate_tests::http_client::{Answer, full};
use wicketgate_tests::kafka::MAX_RECORD_BYTES;
use wicketgate_tests::wait::until;

use crate::expect;
use crate::rig::{Rig, document};

const ISSUER: &str = "https://issuer.example";

/// A rig with three routes for whoever has the scope `write`: records, a copy, and a way to the service behind.
async fn rig(method: Value) -> Rig {
    rig_altered(method, &|configuration| configuration).await
}

/// The same, with an Envoy whose configuration the test changes.
async fn rig_altered(method: Value, alter: &dyn Fn(String) -> String) -> Rig {
    let route = |name: &str, action: &str| {
        let mut route = json!({
            "name": name,
            "match": {"methods": ["POST"], "path": format!("/{name}")},
            "authentication": {"any_of": ["tokens"]},
            "authorization": {"scopes": ["write"]},
            "action": action,
        });
        if action != "pass" {
            route["event"] = json!({"type": "com.example.token"});
            route["kafka"] = json!({"topic": "tokens", "key": "{claim:tenant|optional}"});
        }
        route
    };
    let mut document =
        document(json!([route("produce", "produce"), route("tee", "tee"), route("pass", "pass")]));
    document["authentication"]["tokens"] = method;
    Rig::start_altered(document, &[("tokens", 1, MAX_RECORD_BYTES)], alter).await
}

fn jwt(issuer: &Authority) -> Value {
    json!({
        "type": "jwt", "issuer": ISSUER, "audiences": ["orders"], "algorithms": ["EdDSA"],
        "jwks_uri": format!("{ISSUER}/keys"), "upstream": issuer.upstream(),
        "refresh": "10s", "timeout": "500ms", "leeway": "0s",
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a token that is good, with some of them changed.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "orders", "sub": "user-1", "scope": "read write", "tenant": "acme",
        "iat": now() - 1, "exp": now() + 600,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

async fn post(rig: &Rig, path: &str, token: &str) -> Answer {
    let request = rig.client.request(Method::POST, path).header("authorization", format!("Bearer {token}"));
    rig.client.send(request.body(full("x")).unwrap()).await
}

#[tokio::test]
async fn a_token_opens_and_is_seen_by_nobody_and_its_keys_are_fetched_once_a_worker() {
    let key = IssuerKey::new("k1", 1);
    let issuer = Authority::start(Behaviour::json(&key_set(&[&key])));
    let rig = rig(jwt(&issuer)).await;
    let token = key.token(&claims(&json!({})));
    let all = (0..100).map(|_| async {
        let client = rig.gateway.http1();
        let request =
            client.request(Method::POST, "/produce").header("authorization", format!("bearer {token}"));
        expect::accepted(&client.send(request.body(full("x")).unwrap()).await);
    });
    futures(all).await;
    let asked = issuer.asked();
    assert!((1..=WORKERS as usize).contains(&asked.len()), "asked {} times", asked.len());
    assert!(asked.iter().all(|(path, _)| path == "/keys"));
    assert_eq!(post(&rig, "/pass", &token).await.status, 200);
    assert_eq!(post(&rig, "/tee", &token).await.status, 200);
    for seen in rig.gateway.upstream.seen() {
        assert!(!seen.headers.contains_key("authorization"), "{:?}", seen.headers);
    }
    let records = rig.topic("tokens").records().await;
    assert_eq!(records.len(), 101);
    for record in &records {
        let event = record.event();
        assert_eq!((&event["authtype"], &event["authid"]), (&json!("app_user"), &json!("user-1")));
        assert_eq!(record.key.as_deref(), Some(&b"acme"[..]));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let text = event.to_string();
        assert!(!text.contains(signed) && !text.contains(signature));
    }
}

/// Waits for all of these at once.
async fn futures<F: Future<Output = ()>>(all: impl Iterator<Item = F>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_a_good_token_reaches_nothing() {
    let (key, other) = (IssuerKey::new("k1", 1), IssuerKey::new("k1", 2));
    let issuer = Authority::start(Behaviour::json(&key_set(&[&key])));
    let rig = rig(jwt(&issuer)).await;
    let good = key.token(&claims(&json!({})));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let renamed = key.token_with(&json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"}), &json!({}));
    let renamed = renamed.split_once('.').unwrap().0;
    let with = |member: &Value| {
        let mut header = json!({"alg": "EdDSA", "kid": "k1"});
        header.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        header
    };
    let elsewhere = format!("http://{}.example/keys", issuer.upstream());
    let bad = [
        (
            "altered",
            format!("{signed}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]),
        ),
        ("another's key", other.token(&claims(&json!({})))),
        ("of another header", format!("{renamed}.{payload}.{signature}")),
        ("unsigned", format!("{header}.{payload}.")),
        ("none", key.token_with(&json!({"alg": "none"}), &claims(&json!({})))),
        ("confused", key.token_with(&json!({"alg": "HS256", "kid": "k1"}), &claims(&json!({})))),
        (
            "critical",
            key.token_with(&json!({"alg": "EdDSA", "kid": "k1", "crit": ["x"], "x": 1}), &claims(&json!({}))),
        ),
        // What signs is the key that the token brings along, or one that it says where to fetch.
        ("with a key", other.token_with(&with(&json!({"jwk": other.jwk()})), &claims(&json!({})))),
        ("with an address", other.token_with(&with(&json!({"jku": elsewhere})), &claims(&json!({})))),
        ("with a certificate", other.token_with(&with(&json!({"x5c": ["AA=="]})), &claims(&json!({})))),
        ("unencoded", key.token_with(&with(&json!({"b64": false, "crit": ["b64"]})), &claims(&json!({})))),
        ("encrypted", format!("{header}.AA.AA.AA.AA")),
        ("in JSON", json!({"protected": header, "payload": payload, "signature": signature}).to_string()),
        ("expired", key.token(&claims(&json!({"exp": now() - 1})))),
        ("not yet", key.token(&claims(&json!({"nbf": now() + 60})))),
        ("without an end", key.token(&claims(&json!({"exp": null})))),
        ("of another issuer", key.token(&claims(&json!({"iss": "https://issuer.example/"})))),
        ("for another service", key.token(&claims(&json!({"aud": ["billing"]})))),
        ("opaque", "0123456789".to_owned()),
    ];
    for path in ["/produce", "/tee", "/pass"] {
        for (what, token) in &bad {
            let answer = post(&rig, path, token).await;
            expect::problem(&answer, 401, "unauthenticated");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, "Bearer realm=\"wicketgate\", error=\"invalid_token\"", "{what}");
        }
        let lacking = post(&rig, path, &key.token(&claims(&json!({"scope": "read"})))).await;
        expect::problem(&lacking, 403, "forbidden");
        assert!(lacking.header("www-authenticate").contains("insufficient_scope"), "{lacking:?}");
        let none = rig.client.send(rig.client.request(Method::POST, path).body(full("x")).unwrap()).await;
        expect::problem(&none, 401, "unauthenticated");
        assert_eq!(none.header("www-authenticate"), "Bearer realm=\"wicketgate\"");
        let twice = rig.client.request(Method::POST, path).header("authorization", format!("Bearer {good}"));
        // Envoy joins the two with a comma, which makes neither of them.
        let twice = twice.header("authorization", format!("Bearer {good}"));
        expect::problem(&rig.client.send(twice.body(full("x")).unwrap()).await, 401, "unauthenticated");
    }
    rig.assert_nothing_happened().await;
}

/// Puts Envoy's own filter for tokens before this one. `/tee` is left out of its rules.
fn with_jwt_authn(configuration: &str, keys: &Value) -> String {
    let before = "          - name: wicketgate\n";
    assert!(configuration.contains(before), "{configuration}");
    let filter = format!(
        "          - name: envoy.filters.http.jwt_authn
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                issuer:
                  issuer: {ISSUER}
                  audiences: [orders]
                  local_jwks: {{ inline_string: '{keys}' }}
                  payload_in_metadata: claims
              rules:
              - match: {{ path: /tee }}
              - match: {{ prefix: / }}
                requires: {{ requires_any: {{ requirements: [{{ provider_name: issuer }}, {{ allow_missing: {{}} }}] }} }}
{before}"
    );
    configuration.replacen(before, &filter, 1)
}

#[tokio::test]
async fn what_envoys_own_filter_has_verified_counts_and_nothing_else() {
    let (key, other) = (IssuerKey::new("k1", 1), IssuerKey::new("k1", 2));
    let keys = key_set(&[&key]);
    let method = json!({"type": "envoy_jwt_authn", "payload_in_metadata": "claims"});
    let rig = rig_altered(method, &|configuration| with_jwt_authn(&configuration, &keys)).await;
    let good = key.token(&claims(&json!({})));
    for path in ["/produce", "/pass"] {
        // That filter's own answers.
        assert_eq!(post(&rig, path, &other.token(&claims(&json!({})))).await.status, 401);
        assert_eq!(post(&rig, path, &key.token(&claims(&json!({"exp": now() - 120})))).await.status, 401);
        assert_eq!(post(&rig, path, &key.token(&claims(&json!({"aud": "billing"})))).await.status, 403);
        // This one's.
        let lacking = post(&rig, path, &key.token(&claims(&json!({"scope": "read"})))).await;
        expect::problem(&lacking, 403, "forbidden");
        let none = rig.client.request(Method::POST, path).body(full("x")).unwrap();
        expect::problem(&rig.client.send(none).await, 401, "unauthenticated");
    }
    // A token that nobody has verified is none, however good it looks.
    expect::problem(&post(&rig, "/tee", &good).await, 401, "unauthenticated");
    rig.assert_nothing_happened().await;

    expect::accepted(&post(&rig, "/produce", &good).await);
    assert_eq!(post(&rig, "/pass", &good).await.status, 200);
    let record = rig.topic("tokens").record().await;
    let event = record.event();
    assert_eq!((&event["authtype"], &event["authid"]), (&json!("app_user"), &json!("user-1")));
    assert_eq!(record.key.as_deref(), Some(&b"acme"[..]));
}

#[tokio::test]
async fn an_issuer_that_hangs_lies_or_dies_lets_nobody_in_and_is_asked_again() {
    let key = IssuerKey::new("k1", 1);
    let issuer = Authority::start(Behaviour::Hang);
    let rig = rig(jwt(&issuer)).await;
    let token = key.token(&claims(&json!({})));
    let large = Bytes::from(vec![b' '; 100 << 20]);
    for behaviour in [
        Behaviour::Hang,
        Behaviour::Close,
        Behaviour::Answer(500, Bytes::new()),
        Behaviour::Answer(200, Bytes::from_static(b"<html>")),
        Behaviour::Answer(200, Bytes::from_static(br#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#)),
        Behaviour::Answer(200, large),
    ] {
        issuer.set(behaviour);
        for path in ["/produce", "/tee", "/pass"] {
            let answer = post(&rig, path, &token).await;
            expect::problem(&answer, 503, "authority-unavailable");
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    rig.assert_nothing_happened().await;
    issuer.set(Behaviour::json(&key_set(&[&key])));
    let accepted = until(Duration::from_secs(10), || async {
        (post(&rig, "/produce", &token).await.status == 202).then_some(())
    });
    assert!(accepted.await.is_ok(), "the issuer is well again");
}

#[tokio::test]
async fn keys_are_rotated_refreshed_and_kept_while_the_issuer_is_down() {
    let (old, new) = (IssuerKey::new("old", 1), IssuerKey::new("new", 2));
    let issuer = Authority::start(Behaviour::json(&key_set(&[&old])));
    let rig = rig(jwt(&issuer)).await;
    let (by_old, by_new) = (old.token(&claims(&json!({}))), new.token(&claims(&json!({}))));
    // Each worker has fetched the keys once.
    let all_know = until(Duration::from_secs(10), || async {
        everywhere(&rig, &by_old).await?;
        (issuer.asked().len() == WORKERS as usize).then_some(())
    });
    assert!(all_know.await.is_ok());

    issuer.set(Behaviour::json(&key_set(&[&new])));
    let rotated = until(Duration::from_secs(30), || everywhere(&rig, &by_new));
    assert!(rotated.await.is_ok(), "the new key is asked for");
    expect::problem(&post(&rig, "/produce", &by_old).await, 401, "unauthenticated");

    issuer.set(Behaviour::Close);
    let asked = issuer.asked().len();
    let refreshed = until(Duration::from_secs(30), || async {
        assert_eq!(
            everywhere(&rig, &by_new).await,
            Some(()),
            "keys that are old are used while newer ones are asked for"
        );
        (issuer.asked().len() > asked).then_some(())
    });
    assert!(refreshed.await.is_ok(), "keys that get old are asked for in the background");
    assert_eq!(everywhere(&rig, &by_new).await, Some(()), "and kept while the issuer does not answer");
}

/// Whether a token opens on so many connections that every worker has had one.
async fn everywhere(rig: &Rig, token: &str) -> Option<()> {
    for _ in 0..16 {
        let client = rig.gateway.http1();
        let request =
            client.request(Method::POST, "/produce").header("authorization", format!("Bearer {token}"));
        if client.send(request.body(full("x")).unwrap()).await.status != 202 {
            return None;
        }
    }
    Some(())
}

#[tokio::test]
async fn a_server_is_asked_about_a_token_once_and_its_word_counts() {
    let active =
        json!({"active": true, "sub": "user-1", "scope": "read write", "tenant": "acme", "exp": now() + 600});
    let server = Authority::start(Behaviour::json(&active));
    let rig = rig(json!({
        "type": "introspection", "endpoint": format!("{ISSUER}/introspect"), "upstream": server.upstream(),
        "client": {"type": "basic", "id": "gateway", "secret": "0123456789abcdef"}, "timeout": "500ms",
    }))
    .await;
    for _ in 0..20 {
        expect::accepted(&post(&rig, "/produce", "opaque-1").await);
    }
    let asked = server.asked();
    assert!((1..=WORKERS as usize).contains(&asked.len()), "asked {} times", asked.len());
    let question = String::from_utf8(asked[0].1.to_vec()).unwrap();
    assert!(question.contains("token=opaque-1"), "{question}");
    assert_eq!(rig.topic("tokens").records().await.len(), 20);

    for (token, behaviour, status, kind) in [
        ("t1", Behaviour::json(&json!({"active": false})), 401, "unauthenticated"),
        ("t2", Behaviour::json(&json!({"active": "true"})), 401, "unauthenticated"),
        ("t3", Behaviour::json(&json!({"active": true, "scope": "read"})), 403, "forbidden"),
        (
            "t4",
            Behaviour::json(&json!({"active": true, "scope": "write", "exp": now() - 1})),
            401,
            "unauthenticated",
        ),
        ("t5", Behaviour::Answer(401, Bytes::new()), 503, "authority-unavailable"),
        ("t6", Behaviour::Answer(200, Bytes::from_static(b"yes")), 503, "authority-unavailable"),
        ("t7", Behaviour::Hang, 503, "authority-unavailable"),
        ("t8", Behaviour::Close, 503, "authority-unavailable"),
    ] {
        server.set(behaviour);
        for path in ["/produce", "/tee", "/pass"] {
            let answer = post(&rig, path, token).await;
            expect::problem(&answer, status, kind);
        }
    }
    assert_eq!(rig.topic("tokens").records().await.len(), 20);
    assert!(rig.gateway.upstream.seen().is_empty());
}
