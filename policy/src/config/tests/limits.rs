#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const GOOD: &str = r#"{
  "source": "urn:test",
  "bridge": { "upstream": "bridge" },
  "limits": { "body_bytes": 1000 },
  "authentication": { "keys": { "type": "api_key", "header": "X-Api-Key" } },
  "consumers": [{ "name": "alice", "api_keys": [
    { "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }],
  "rate_limits": {
    "daily": { "limit": 1000, "period": "1day", "key": ["consumer"],
      "overrides": [{ "consumers": ["alice"], "limit": 5000 }] },
    "bytes": { "limit": 1000, "period": "1m", "cost": "body_bytes", "key": ["claim:tenant", "path:id"] }
  },
  "concurrency_limits": { "flight": { "limit": 10, "key": ["route"], "lease": "1m" } },
  "unmatched": "reject",
  "routes": [{ "name": "orders", "match": { "methods": ["POST"], "path": "/v1/orders/{id}" },
      "limits": ["daily", "bytes", "flight"],
      "authentication": { "any_of": ["keys"] }, "authorization": { "authenticated": true }, "action": "produce",
      "event": { "type": "order" }, "kafka": { "topic": "orders" } }]
}"#;

#[test]
fn each_mistake_in_a_limit_is_told_with_its_path() {
    assert!(Config::from_json(GOOD.as_bytes()).is_ok());
    for (from, to, wanted) in [
        (
            "\"daily\", \"bytes\"",
            "\"dayly\", \"bytes\"",
            "routes[0].limits[0]: wanted one of bytes, daily, flight, got \"dayly\"",
        ),
        (
            "\"daily\", \"bytes\"",
            "\"daily\", \"daily\"",
            "routes[0].limits[1]: wanted each name once, got \"daily\"",
        ),
        (
            "\"1day\"",
            "\"soon\"",
            "rate_limits.daily.period: wanted whole seconds from 1s to 366days, got \"soon\"",
        ),
        (
            "\"1day\"",
            "\"500ms\"",
            "rate_limits.daily.period: wanted whole seconds from 1s to 366days, got \"500ms\"",
        ),
        (
            "\"limit\": 1000, \"period\": \"1day\"",
            "\"limit\": 0, \"period\": \"1day\"",
            "rate_limits.daily.limit: wanted a number from 1 to 1000000000000, got 0",
        ),
        (
            "\"limit\": 1000, \"period\": \"1day\"",
            "\"limit\": 2, \"burst\": 1000, \"period\": \"1day\"",
            "rate_limits.daily.burst: wanted 1 or more, and what the rate brings back within 366days, got 1000",
        ),
        (
            "\"limit\": 5000",
            "\"limit\": 500000000000000",
            "rate_limits.daily.overrides[0].limit: wanted a number from 1 to 1000000000000, got 500000000000000",
        ),
        (
            "\"consumers\": [\"alice\"]",
            "\"consumers\": [\"bob\"]",
            "rate_limits.daily.overrides[0].consumers[0]: wanted the name of a consumer, got \"bob\"",
        ),
        (
            "\"consumers\": [\"alice\"]",
            "\"groups\": []",
            "rate_limits.daily.overrides[0]: wanted consumers or groups, got neither",
        ),
        (
            "[\"consumer\"]",
            "[\"address\"]",
            "rate_limits.daily.overrides: wanted them only where the key has consumer, got a key without it",
        ),
        (
            "[\"consumer\"]",
            "[\"consumer\", \"consumers\"]",
            "rate_limits.daily.key[1]: wanted consumer, address, route, header:<name>, claim:<name> or path:<name>, \
             got \"consumers\"",
        ),
        (
            "[\"consumer\"]",
            "[\"consumer\", \"header:X-API-Key\"]",
            "rate_limits.daily.key[1]: wanted a header that carries no credential (consumer is who has one), got \
             \"header:X-API-Key\"",
        ),
        (
            "[\"consumer\"]",
            "[\"consumer\", \"header:authorization\"]",
            "rate_limits.daily.key[1]: wanted a header that carries no credential (consumer is who has one), got \
             \"header:authorization\"",
        ),
        (
            "\"path:id\"",
            "\"path:tenant\"",
            "routes[0].limits[1]: wanted a limit whose key the path of this route has (path:tenant), got a path without it",
        ),
        (
            "\"cost\": \"body_bytes\"",
            "\"burst\": 999, \"cost\": \"body_bytes\"",
            "routes[0].limits[1]: wanted a limit with a burst of 1000 or more, which one request may cost \
             (limits.body_bytes), got one of 999",
        ),
        (
            "\"cost\": \"body_bytes\"",
            "\"cost\": \"body_bytes\", \"counts\": \"failed_authentications\"",
            "rate_limits.bytes.key: wanted parts that are known of a caller whose credential is wrong, such as address, \
             got consumer or a claim",
        ),
        (
            "\"flight\": {",
            "\"daily\": {",
            "concurrency_limits.daily: wanted a name of its own, got one that a rate limit has",
        ),
        (
            "\"flight\": {",
            "\"a b\": {",
            "concurrency_limits.a b: wanted a name of 1 to 64 of the characters a-z A-Z 0-9 . _ -, got \"a b\"",
        ),
        (
            "\"lease\": \"1m\"",
            "\"lease\": \"2days\"",
            "concurrency_limits.flight.lease: wanted a duration from 1s to 1day, such as 5m, got \"2days\"",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let errors = Config::from_json(GOOD.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(errors.0.iter().any(|error| error.to_string() == wanted), "{wanted}\n{errors}");
    }
}

#[test]
fn bytes_are_not_counted_where_the_gateway_does_not_read_them() {
    let document = GOOD
        .replace("\"produce\"", "\"pass\"")
        .replace(r#""event": { "type": "order" }, "kafka": { "topic": "orders" }"#, r#""redact": {}"#);
    let errors = Config::from_json(document.as_bytes()).unwrap_err();
    let wanted = "routes[0].limits[1]: wanted a limit by body_bytes only where the gateway reads the body: produce or \
                  tee, got it where the action is pass";
    assert_eq!(errors.to_string(), wanted);
}

#[test]
fn what_is_unwise_about_limits_is_told() {
    let warned = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        let (_, warnings) = Config::with_warnings(GOOD.replacen(from, to, 1).as_bytes()).unwrap();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warned("\"urn:test\"", "\"urn:test\""), [""; 0]);
    for (from, to, wanted) in [
        ("[\"daily\", ", "[", "rate_limits.daily: no route uses it"),
        (", \"flight\"]", "]", "concurrency_limits.flight: no route uses it"),
        (
            "[\"claim:tenant\", \"path:id\"]",
            "[\"header:x-tenant\"]",
            "rate_limits.bytes.key: callers choose their own header, and with it their own count; add address or consumer",
        ),
    ] {
        assert!(warned(from, to).iter().any(|warning| warning == wanted), "{wanted}: {:?}", warned(from, to));
    }
}
