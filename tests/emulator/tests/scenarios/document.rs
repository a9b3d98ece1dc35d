//! The document that scenarios run under.

use wicketgate_emulator::{Gateway, Kind, Request};

/// The key of the consumer `demo`.
pub(crate) const KEY: &str = "demo-key";

pub(crate) const DOCUMENT: &str = r#"{
  "source": "urn:example:gateway",
  "bridge": { "upstream": "kafka-bridge", "timeout": "10s" },
  "limits": { "body_bytes": 65536 },
  "authentication": { "keys": { "type": "api_key", "header": "x-api-key" } },
  "consumers": [
    { "name": "demo", "api_keys": [{ "sha256": "c48a01f49fd0f2cc404bc3cbbc80e91457a3d41bb429a695243de4c61794155c" }] }
  ],
  "unmatched": "pass",
  "routes": [
    {
      "name": "orders",
      "match": { "methods": ["POST"], "path": "/orders/{order}" },
      "authentication": { "any_of": ["keys"] },
      "authorization": { "authenticated": true },
      "action": "produce",
      "event": { "type": "order", "subject": "{order}" },
      "kafka": { "topic": "orders", "key": "{order}" }
    },
    {
      "name": "events",
      "match": { "methods": ["POST"], "path": "/events" },
      "authentication": { "any_of": ["keys"] },
      "authorization": { "authenticated": true },
      "action": "produce",
      "accept": { "formats": ["cloudevents_batch"] },
      "event": { "type": "relayed" },
      "kafka": { "topic": "events" }
    },
    {
      "name": "audited",
      "match": { "methods": ["PUT"], "path": "/accounts/{account}" },
      "authentication": { "any_of": ["keys"] },
      "authorization": { "authenticated": true },
      "action": "tee",
      "on_error": "deny",
      "event": { "type": "change" },
      "kafka": { "topic": "audit", "key": "{account}" }
    },
    {
      "name": "copied",
      "match": { "methods": ["POST"], "path": "/copies" },
      "authentication": { "any_of": ["keys"] },
      "authorization": { "authenticated": true },
      "action": "tee",
      "on_error": "continue",
      "event": { "type": "copy" },
      "kafka": { "topic": "copies" }
    },
    {
      "name": "looked",
      "match": { "methods": ["GET"], "path": "/accounts/{account}" },
      "authentication": { "any_of": ["keys"] },
      "authorization": { "authenticated": true },
      "action": "pass"
    }
  ]
}"#;

pub(crate) fn gateway(kind: Kind) -> Gateway {
    gateway_with_workers(kind, 1)
}

pub(crate) fn gateway_with_workers(kind: Kind, workers: usize) -> Gateway {
    Gateway::with_workers(kind, DOCUMENT, workers).cluster("kafka-bridge")
}

/// A request of the consumer `demo`.
pub(crate) fn keyed(method: &str, path: &str) -> Request {
    Request::new(method, path).header("x-api-key", KEY)
}

/// An order.
pub(crate) fn order(number: u32) -> Request {
    keyed("POST", &format!("/orders/{number}")).header("content-type", "application/json")
}
