//! Requests that wait until an authority has been asked.

use wicketgate_emulator::{Costs, Gateway, Kind, Request};

use super::{Scenario, problem};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("keys: three wait for one answer, each by its own connection", each_by_its_own_connection),
    ("keys: the issuer answers 503, and there are none", none_at_all),
    ("keys: the issuer answers 503, and old ones are good for some time", old_ones),
    ("keys: the issuer answers 503, and the old ones are too old", too_old),
    ("introspection: the server answers 503", server_fails),
    ("introspection: the token is not good, and asked about again", not_good),
];

const DOCUMENT: &str = r#"{
  "source": "urn:example:gateway",
  "bridge": { "upstream": "kafka-bridge", "timeout": "10s" },
  "authentication": {
    "login": {
      "type": "jwt", "issuer": "https://login.example.com", "audiences": ["shop-events"], "algorithms": ["EdDSA"],
      "jwks_uri": "https://login.example.com/keys", "upstream": "login"
    },
    "server": {
      "type": "introspection", "endpoint": "https://login.example.com/introspect", "upstream": "login",
      "client": { "type": "basic", "id": "gateway", "secret": "an-example-of-a-secret" }
    },
    "partners": { "type": "mtls" }
  },
  "consumers": [{ "name": "alice", "certificates": [{ "uri": "spiffe://a.example/alice" }] }],
  "unmatched": "reject",
  "routes": [
    {
      "name": "both",
      "match": { "methods": ["GET"], "path": "/both" },
      "authentication": { "all_of": ["login", "partners"] },
      "authorization": { "consumers": ["alice"] },
      "action": "pass"
    },
    {
      "name": "tokens",
      "match": { "methods": ["GET"], "path": "/tokens" },
      "authentication": { "any_of": ["login"] },
      "authorization": { "authenticated": true },
      "action": "pass"
    },
    {
      "name": "opaque",
      "match": { "methods": ["GET"], "path": "/opaque" },
      "authentication": { "any_of": ["server"] },
      "authorization": { "authenticated": true },
      "action": "pass"
    }
  ]
}"#;

/// Of `user-7`, until the year 2100.
const TOKEN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImV4YW1wbGUtMSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoic2hvcC1ldmVudHMiLCJzdWIiOiJ1c2VyLTciLCJzY29wZSI6ImV2ZW50czp3cml0ZSIsInRlbmFudCI6ImFjbWUiLCJpYXQiOjE3OTUzNTMzODYsImV4cCI6NDEwMjQ0NDgwMH0.F-H9bbBFeTBRANuSNxUcOCh-M4DvW_IxlBVZ-iUT2DV1OXIPNAvYzAPMdztrgrbWE1csO4K5sQqYtaCPQTw0AQ";
const KEYS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "example-1", "use": "sig", "alg": "EdDSA", "x": "dHEAv7mdFdMQ9GqHXblkK8uxcDIXeygwhBdFXaSf1BQ"}]}"#;

fn each_by_its_own_connection(kind: Kind) -> Costs {
    let mut gateway = Gateway::start(kind, DOCUMENT).cluster("login");
    let request = || Request::new("GET", "/both").header("authorization", &format!("Bearer {TOKEN}"));
    let certified = || {
        let of_alice = b"spiffe://a.example/alice";
        request()
            .property(&["connection", "mtls"], &[1])
            .property(&["connection", "uri_san_peer_certificate"], of_alice)
    };
    let before = gateway.request(request());
    let alice = gateway.request(certified());
    let after = gateway.request(request());
    gateway.turn();
    let callout = gateway.callout();
    gateway.answer(&callout, 200, &[], KEYS);
    assert!(gateway.outcome(alice).upstream.is_some(), "{:?}", gateway.outcome(alice));
    for id in [before, after] {
        assert_eq!(problem(gateway.reply(id)), (401, "unauthenticated"));
        assert_eq!(gateway.outcome(id).upstream, None);
    }
    gateway.upstream_answers(alice, 200, &[]);
    gateway.finish()
}

fn gateway(kind: Kind) -> Gateway {
    Gateway::start(kind, DOCUMENT).cluster("login")
}

fn with_token(path: &str) -> Request {
    Request::new("GET", path).header("authorization", &format!("Bearer {TOKEN}"))
}

/// One whose keys are there, after this many milliseconds.
fn gateway_with_keys(kind: Kind, age: u64) -> Gateway {
    let mut gateway = gateway(kind);
    let first = gateway.request(with_token("/tokens"));
    gateway.turn();
    gateway.answer(&gateway.callout(), 200, &[], KEYS);
    gateway.upstream_answers(first, 204, &[]);
    gateway.advance(age);
    gateway.count_from_here();
    gateway
}

fn none_at_all(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(with_token("/tokens"));
    gateway.turn();
    gateway.answer(&gateway.callout(), 503, &[], "no healthy upstream");
    assert_eq!(problem(gateway.reply(id)), (503, "authority-unavailable"));
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.finish()
}

fn old_ones(kind: Kind) -> Costs {
    // `refresh` is ten minutes, and `stale` an hour.
    let mut gateway = gateway_with_keys(kind, 11 * 60_000);
    let id = gateway.request(with_token("/tokens"));
    assert!(gateway.outcome(id).upstream.is_some(), "the caller does not wait for newer keys");
    gateway.turn();
    gateway.answer(&gateway.callout(), 503, &[], "no healthy upstream");
    gateway.upstream_answers(id, 204, &[]);
    assert!(gateway.logs().iter().any(|line| line.starts_with("warn: ")), "{:?}", gateway.logs());
    gateway.finish()
}

fn too_old(kind: Kind) -> Costs {
    let mut gateway = gateway_with_keys(kind, 71 * 60_000);
    let id = gateway.request(with_token("/tokens"));
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.turn();
    gateway.answer(&gateway.callout(), 503, &[], "no healthy upstream");
    assert_eq!(problem(gateway.reply(id)), (503, "authority-unavailable"));
    gateway.finish()
}

fn server_fails(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(with_token("/opaque"));
    gateway.turn();
    gateway.answer(&gateway.callout(), 503, &[], "no healthy upstream");
    assert_eq!(problem(gateway.reply(id)), (503, "authority-unavailable"));
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.finish()
}

fn not_good(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(with_token("/opaque"));
    gateway.turn();
    gateway.answer(&gateway.callout(), 200, &[("content-type", "application/json")], r#"{"active":false}"#);
    assert_eq!(problem(gateway.reply(id)), (401, "unauthenticated"));
    let again = gateway.request(with_token("/opaque"));
    assert_eq!(problem(gateway.reply(again)), (401, "unauthenticated"));
    gateway.finish()
}
