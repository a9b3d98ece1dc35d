//! Requests that wait until an authority has been asked.

use wicketgate_emulator::{Costs, Gateway, Kind, Request};

use super::{Scenario, problem};

pub(crate) const SCENARIOS: &[Scenario] =
    &[("keys: three wait for one answer, each by its own connection", each_by_its_own_connection)];

const DOCUMENT: &str = r#"{
  "source": "urn:example:gateway",
  "bridge": { "upstream": "kafka-bridge", "timeout": "10s" },
  "authentication": {
    "login": {
      "type": "jwt", "issuer": "https://login.example.com", "audiences": ["shop-events"], "algorithms": ["EdDSA"],
      "jwks_uri": "https://login.example.com/keys", "upstream": "login"
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
