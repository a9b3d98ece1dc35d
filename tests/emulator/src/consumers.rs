//! Documents with as many consumers as a test wants.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::gateway::{Gateway, Request};

/// A document with this many consumers, each with the key that [`key`] says.
pub fn document(count: usize) -> String {
    let mut consumers = String::new();
    for number in 0..count {
        let comma = if number == 0 { "" } else { ",\n" };
        let _ =
            write!(consumers, r#"{comma}    {{ "name": "consumer-{number}", "api_keys": [{{ "sha256": ""#);
        for byte in Sha256::digest(key(number)) {
            let _ = write!(consumers, "{byte:02x}");
        }
        consumers.push_str(r#"" }] }"#);
    }
    format!(
        r#"{{
  "source": "urn:example:gateway",
  "bridge": {{ "upstream": "kafka-bridge" }},
  "authentication": {{ "keys": {{ "type": "api_key", "header": "x-api-key" }} }},
  "consumers": [
{consumers}
  ],
  "unmatched": "reject",
  "routes": [
    {{
      "name": "accounts",
      "match": {{ "methods": ["GET"], "path": "/accounts" }},
      "authentication": {{ "any_of": ["keys"] }},
      "authorization": {{ "authenticated": true }},
      "action": "pass"
    }}
  ]
}}"#
    )
}

/// The key of a consumer.
pub fn key(number: usize) -> String {
    format!("key-of-{number:09}")
}

/// A request with this key. Says whether it is let in.
pub fn send(gateway: &mut Gateway, key: &str) -> bool {
    let id = gateway.request(Request::new("GET", "/accounts").header("x-api-key", key));
    let is_let_in = gateway.outcome(id).upstream.is_some();
    if is_let_in {
        gateway.upstream_answers(id, 204, &[]);
    }
    is_let_in
}
