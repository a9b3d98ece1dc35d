#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod limits;
mod methods;

use super::*;

mod fields;

const GOOD: &str = r#"{
  "source": "urn:test",
  "bridge": { "upstream": "bridge", "timeout": "1500ms" },
  "authentication": { "keys": { "type": "api_key", "header": "X-Api-Key" } },
  "consumers": [{ "name": "alice", "api_keys": [
    { "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }],
  "unmatched": "reject",
  "routes": [{ "name": "orders", "match": { "methods": ["POST"], "path": "/v1/orders/{id}" },
      "authentication": { "any_of": ["keys"] }, "action": "produce",
      "event": { "type": "order" }, "kafka": { "topic": "orders" } }]
}"#;

/// The mistakes in the good document after a change.
fn mistakes(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    match Config::from_json(GOOD.replacen(from, to, 1).as_bytes()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_good_document_is_compiled() {
    let config = Config::from_json(GOOD.as_bytes()).unwrap();
    assert_eq!(config.bridge.timeout, Duration::from_millis(1500));
    assert_eq!(config.bridge.authority, "bridge");
    assert_eq!(config.max_body_bytes, 1_048_576);
}

#[test]
fn each_mistake_is_told_with_its_path() {
    for (from, to, wanted) in [
        (
            "\"urn:test\"",
            "\"a b\"",
            "source: wanted a URI reference, such as https://api.example.com, got \"a b\"",
        ),
        ("\"urn:test\"", "null", "source: wanted a string, got null"),
        (
            "\"urn:test\"",
            "\"urn:%zz\"",
            "source: wanted a URI reference, such as https://api.example.com, got \"urn:%zz\"",
        ),
        (
            "\"order\"",
            "\"or\\ufdd0der\"",
            "routes[0].event.type: wanted text without control characters, got \"or\\u{fdd0}der\"",
        ),
        ("\"source\": \"urn:test\",", "", "source: wanted a string, got nothing (the field is missing)"),
        (
            "\"source\"",
            "\"sauce\": 1, \"source\"",
            "sauce: wanted one of $schema, authentication, bridge, client_address, concurrency_limits, consumers, limit_fields, limits, rate_limits, redaction_key, routes, source, unmatched, got an unknown field",
        ),
        (
            "\"source\"",
            "\"unmatched\": \"pass\", \"source\"",
            "unmatched: wanted this field once, got it repeated",
        ),
        (
            "\"1500ms\"",
            "\"0s\"",
            "bridge.timeout: wanted a duration from 100ms to 5min, such as 10s, got \"0s\"",
        ),
        (
            "\"1500ms\"",
            "\"1500\"",
            "bridge.timeout: wanted a duration from 100ms to 5min, such as 10s, got \"1500\"",
        ),
        (
            "\"upstream\": \"bridge\"",
            "\"upstream\": \"\"",
            "bridge.upstream: wanted a name without white space, got \"\"",
        ),
        (
            "\"topic\": \"orders\"",
            "\"topic\": \"orders\", \"ack\": \"most\"",
            "routes[0].kafka.ack: wanted one of all, leader, none, spooled, got \"most\"",
        ),
        (
            "\"topic\": \"orders\"",
            "\"topic\": \"orders\", \"cluster\": \"eu/1\"",
            "routes[0].kafka.cluster: wanted 1 to 64 of the characters a-z A-Z 0-9 . _ - (leave the field out for the default \
             cluster), got \"eu/1\"",
        ),
        ("\"reject\"", "\"drop\"", "unmatched: wanted one of reject, pass, got \"drop\""),
        (
            "\"api_key\"",
            "\"saml\"",
            "authentication.keys.type: wanted one of api_key, basic, introspection, envoy_jwt_authn, mtls, webhook, jwt, got \"saml\"",
        ),
        (
            "\"X-Api-Key\"",
            "\"X Key\"",
            "authentication.keys.header: wanted the name of a header that has no other use, such as x-api-key, got \"X Key\"",
        ),
        (
            "\"keys\": {",
            "\"anonymous\": { \"type\": \"api_key\", \"header\": \"y\" }, \"keys\": {",
            "authentication.anonymous: wanted another name, got \"anonymous\", which is built in",
        ),
        (
            "[\"keys\"]",
            "[\"kyes\"]",
            "routes[0].authentication.any_of[0]: wanted one of anonymous, keys, got \"kyes\"",
        ),
        (
            "[\"keys\"]",
            "[\"anonymous\", \"keys\"]",
            "routes[0].authentication.any_of[0]: wanted anonymous last, because nothing after it is tried, got \"anonymous\"",
        ),
        ("[\"POST\"]", "[]", "routes[0].match.methods: wanted at least one item, got none"),
        (
            "[\"POST\"]",
            "[\"POST\", \"POST\"]",
            "routes[0].match.methods[1]: wanted each method once, got \"POST\"",
        ),
        (
            "\"/v1/orders/{id}\"",
            "\"v1\"",
            "routes[0].match.path: wanted a path that begins with a slash, got \"v1\"",
        ),
        (
            "\"topic\": \"orders\"",
            "\"topic\": \"or/ders\"",
            "routes[0].kafka.topic: wanted the name of a topic: 1 to 249 letters, digits, '.', '_' and '-', got \"or/ders\"",
        ),
        (
            "\"event\":",
            "\"accept\": { \"formats\": [\"cloudevent\"], \"content_encoding\": \"carry\" }, \"event\":",
            "routes[0].accept.content_encoding: wanted decode or refuse, because accept.formats has no raw, and only raw bodies are carried, got \"carry\"",
        ),
        (
            "\"event\":",
            "\"accept\": { \"read_as\": { \"text/plain\": \"ndjson\" } }, \"event\":",
            "routes[0].accept.read_as[\"text/plain\"]: wanted it only where accept.formats has ndjson, got it where it has not",
        ),
        (
            "\"event\":",
            "\"accept\": { \"formats\": [\"cloudevent\"], \"read_as\": { \"*/*\": \"json\" } }, \"event\":",
            "routes[0].accept.read_as[\"*/*\"]: wanted it only where accept.formats has raw or json_array, got it where it has not",
        ),
        (
            "\"event\":",
            "\"accept\": { \"read_as\": { \"text\": \"json\" } }, \"event\":",
            "routes[0].accept.read_as[\"text\"]: wanted a media type without parameters, such as text/plain, all of a kind, such as text/*, or */*, got \"text\"",
        ),
        (
            "\"event\":",
            "\"accept\": { \"read_as\": { \"application/cloudevents+json\": \"json\" } }, \"event\":",
            "routes[0].accept.read_as[\"application/cloudevents+json\"]: wanted media types that are not CloudEvents', which say how they are read, got \"application/cloudevents+json\"",
        ),
        (
            "\"topic\": \"orders\"",
            "\"topic\": \"o\", \"key\": \"{order}\"",
            "routes[0].kafka.key: wanted a parameter of the route's path (id), got \"{order}\"",
        ),
        (
            "\"topic\": \"orders\"",
            "\"topic\": \"o\", \"key\": \"{header:X-API-Key|sha256}\"",
            "routes[0].kafka.key: wanted headers that carry no credential, got \"x-api-key\"",
        ),
        (
            "\"topic\": \"orders\"",
            "\"topic\": \"o\", \"key\": \"\"",
            "routes[0].kafka.key: wanted a template that is not empty (leave the field out for none), got \"\"",
        ),
        (
            "\"topic\": \"orders\"",
            "\"topic\": \"o\", \"forward_headers\": [{ \"name\": \"x-api-key\" }]",
            "routes[0].kafka.forward_headers[0].name: wanted a header that carries no credential and is neither the connection's nor the record's own, got \"x-api-key\"",
        ),
    ] {
        assert_eq!(mistakes(from, to), [wanted], "{from} -> {to}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_none_twice() {
    let document = r#"{ "source": 1, "unmatched": "reject", "bridge": { "upstream": "b", "timeout": "x" },
        "routes": [ { "name": "a", "match": { "methods": ["get"], "path": 5 }, "action": "produce",
                      "authentication": { "any_of": ["nobody"] }, "event": { "type": "t" }, "kafka": { "topic": "!" } },
                    { "name": "a", "match": { "methods": ["PUT"], "path": "/x" }, "action": "produce",
                      "authentication": { "any_of": ["anonymous"] }, "event": { "type": "t" }, "kafka": { "topic": "t" } },
                    { "name": "b", "match": { "methods": ["GET", "PUT"], "path": "/x" }, "action": "produce",
                      "authentication": { "any_of": ["anonymous"] }, "event": { "type": "t" }, "kafka": { "topic": "t" } } ] }"#;
    let errors = Config::from_json(document.as_bytes()).unwrap_err();
    let mut paths: Vec<&str> = errors.0.iter().map(|error| error.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "bridge.timeout",
            "routes[0].authentication.any_of[0]",
            "routes[0].kafka.topic",
            "routes[0].match.methods[0]",
            "routes[0].match.path",
            "routes[1].name",
            "routes[2].match",
            "source",
        ]
    );
}

#[test]
fn secrets_are_never_shown_not_even_misplaced_ones() {
    let hash = "\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"";
    assert_eq!(
        mistakes(hash, "\"my-plain-key\""),
        ["consumers[0].api_keys[0].sha256: wanted 64 hexadecimal digits, got 12 bytes (not shown)"]
    );
    assert_eq!(
        mistakes(hash, "[\"my-plain-key\"]"),
        ["consumers[0].api_keys[0].sha256: wanted a string, got an array"]
    );
    for misplaced in
        ["[\"my-plain-key\"]", "\"my-plain-key\"", "[{ \"my-plain-key\": 1 }]", "{ \"my-plain-key\": 1 }"]
    {
        let end = GOOD.find("}] }]").unwrap() + 2;
        let start = GOOD.find("[\n    { \"sha256\"").unwrap();
        let document = format!("{}{misplaced}{}", &GOOD[..start], &GOOD[end..]);
        let errors = Config::from_json(document.as_bytes()).unwrap_err().to_string();
        assert!(errors.contains("consumers[0].api_keys") && !errors.contains("my-plain-key"), "{errors}");
    }
    let document = Config::from_json(GOOD.as_bytes()).unwrap();
    assert!(!format!("{document:?}").contains("2bb8"), "{document:?}");
}

#[test]
fn a_key_belongs_to_one_consumer() {
    let key = "{ \"sha256\": \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\" }";
    assert_eq!(
        mistakes(
            "\"consumers\": [",
            &format!("\"consumers\": [{{ \"name\": \"bob\", \"api_keys\": [{key}] }}, ")
        ),
        ["consumers[1].api_keys[0].sha256: wanted a key of its own, got one that consumer \"bob\" has"]
    );
}

/// With eight times as many routes there are 64 times as many pairs of them.
#[cfg(not(target_family = "wasm"))]
#[test]
fn what_a_document_costs_grows_with_its_routes_and_not_with_their_pairs() {
    use std::time::Instant;

    let document = |count: usize| {
        let route = |number: usize| {
            format!(
                r#"{{ "name": "r{number}", "match": {{ "methods": ["POST"], "path": "/p{number}/{{id}}" }},
                  "authentication": {{ "any_of": ["anonymous"] }}, "action": "produce",
                  "event": {{ "type": "t" }}, "kafka": {{ "topic": "t" }} }}"#
            )
        };
        let routes: Vec<_> = (0..count).map(route).collect();
        format!(
            r#"{{ "source": "urn:test", "bridge": {{ "upstream": "bridge" }}, "unmatched": "reject", "routes": [{}] }}"#,
            routes.join(",")
        )
    };
    // The least of several times is what it takes when nothing else runs.
    let time = |document: &str| {
        let once = || {
            let started = Instant::now();
            assert!(Config::with_warnings(document.as_bytes()).is_ok());
            started.elapsed()
        };
        (0..3).map(|_| once()).min().unwrap()
    };
    let (few, many) = (time(&document(400)), time(&document(3_200)));
    assert!(many < few * 24, "{few:?} for 400 routes, {many:?} for 3,200");
}

#[test]
fn what_is_not_a_document_at_all_is_refused() {
    for text in ["", "{", "[]", "null", "1", "\"x\"", "{} {}", "\u{feff}{}", "{\"a\":1,}"] {
        assert!(Config::from_json(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Config::from_json(b"\xff").is_err());
    assert_eq!(
        Config::from_json("\u{feff}{}".as_bytes()).unwrap_err().to_string(),
        "document: wanted a configuration document, got none: it begins with a byte order mark (U+FEFF), which JSON must not have"
    );
    assert!(Config::from_json("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn what_is_legal_and_unwise_is_told_apart() {
    let warnings = |document: &str| {
        let (_, warnings) = Config::with_warnings(document.as_bytes()).unwrap();
        warnings.into_iter().map(|warning| warning.path).collect::<Vec<_>>()
    };
    let wise = GOOD.replace("1500ms", "10s");
    assert_eq!(warnings(&wise), ["routes[0].authorization"]);
    let authorized = r#"["keys"] }, "authorization": { "authenticated": true }"#;
    assert_eq!(warnings(&wise.replace("[\"keys\"] }", authorized)), [""; 0]);
    let unwise = GOOD
        .replace("\"reject\"", "\"pass\"")
        .replace("[\"keys\"]", "[\"anonymous\"]")
        .replace("\"api_keys\": [", "\"api_keys\": []}, { \"name\": \"bob\", \"api_keys\": [");
    assert_eq!(
        warnings(&unwise),
        ["unmatched", "bridge.timeout", "authentication.keys", "consumers[0]", "routes[0].authentication"]
    );
}

#[test]
fn a_route_that_promises_little_is_told_what_follows() {
    for (ack, wanted) in [
        ("all", &[][..]),
        ("leader", &[]),
        ("spooled", &["routes[0].reply.body"]),
        ("none", &["routes[0].kafka.ack", "routes[0].reply.body"]),
    ] {
        let kafka = format!(
            r#""topic": "orders", "ack": "{ack}" }}, "reply": {{ "body": {{ "id": "id", "at": "offset" }}"#
        );
        let authorized = r#"["keys"] }, "authorization": { "authenticated": true }"#;
        let document = GOOD
            .replace("1500ms", "10s")
            .replace("[\"keys\"] }", authorized)
            .replace(r#""topic": "orders""#, &kafka);
        let (_, warnings) = Config::with_warnings(document.as_bytes()).unwrap();
        let paths: Vec<_> = warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert_eq!(paths, wanted, "{ack}");
    }
}

#[test]
fn the_hash_of_nothing_is_no_key() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(
        mistakes(hash, nothing),
        [
            "consumers[0].api_keys[0].sha256: wanted the hash of a key, got that of nothing, which every empty header would match"
        ]
    );
}

#[test]
fn a_header_with_another_use_cannot_carry_keys() {
    for header in
        ["ce-apikey", "Idempotency-Key", "traceparent", "X-Request-Id", "Content-Type", "host", "Origin"]
    {
        let found = mistakes("\"X-Api-Key\"", &format!("\"{header}\""));
        assert_eq!(found.len(), 1, "{header}");
        assert!(
            found[0].starts_with("authentication.keys.header: wanted the name of a header that has no"),
            "{found:?}"
        );
    }
    for header in ["X-Api-Key", "Authorization", "apikey"] {
        assert_eq!(mistakes("\"X-Api-Key\"", &format!("\"{header}\"")), [""; 0], "{header}");
    }
}

#[test]
fn a_route_adds_no_more_attributes_than_readers_take() {
    let event = |count: usize| {
        let extensions: Vec<String> = (0..count).map(|number| format!("\"e{number}\": \"x\"")).collect();
        mistakes(
            "\"type\": \"order\"",
            &format!("\"type\": \"order\", \"extensions\": {{ {} }}", extensions.join(",")),
        )
    };
    assert_eq!(event(64), [""; 0]);
    assert_eq!(event(65), ["routes[0].event.extensions: wanted at most 64 attributes, got 65"]);
}

#[test]
fn claims_are_checked_and_never_shown() {
    let with =
        |claims: &str| mistakes("\"name\": \"alice\"", &format!("\"name\": \"alice\", \"claims\": {claims}"));
    let good = r#"{ "tenant": "acme", "level": -3, "admin": true, "groups": ["a", "b"], "none": [], "https://example.com/x": "y" }"#;
    assert_eq!(with(good), [""; 0]);
    let a_claim = "wanted a string or an integer or true or false or an array";
    let (a_name, a_text) = (
        "wanted a name that a template can have: not empty, no slash at the start, no braces, no | and no control characters",
        "wanted text that is not empty and has no control characters, got another (not shown)",
    );
    for (claims, wanted) in [
        (r#"["sEcReT"]"#, "consumers[0].claims: wanted an object, got an array".to_owned()),
        (r#"{ "a": null }"#, format!("consumers[0].claims.a: {a_claim}, got null")),
        (r#"{ "a": { "b": "sEcReT" } }"#, format!("consumers[0].claims.a: {a_claim}, got an object")),
        (r#"{ "a": 42.5 }"#, format!("consumers[0].claims.a: {a_claim}, got a number")),
        (r#"{ "a": 123456789012345678901 }"#, format!("consumers[0].claims.a: {a_claim}, got a number")),
        (r#"{ "a": ["x", 42] }"#, "consumers[0].claims.a[1]: wanted a string, got a number".to_owned()),
        (r#"{ "a": "" }"#, format!("consumers[0].claims.a: {a_text}")),
        (r#"{ "a": ["sEcReT\n"] }"#, format!("consumers[0].claims.a: {a_text}")),
        (r#"{ "": 1 }"#, format!("consumers[0].claims.: {a_name}, got \"\"")),
        (r#"{ "/a": 1 }"#, format!("consumers[0].claims./a: {a_name}, got \"/a\"")),
        (r#"{ "a|b": 1 }"#, format!("consumers[0].claims.a|b: {a_name}, got \"a|b\"")),
    ] {
        assert_eq!(with(claims), [wanted], "{claims}");
    }
    let many: Vec<String> = (0..65).map(|number| format!("\"c{number}\": 1")).collect();
    assert_eq!(
        with(&format!("{{ {} }}", many.join(","))),
        ["consumers[0].claims: wanted at most 64 claims, got 65"]
    );
    let document =
        GOOD.replace("\"name\": \"alice\"", "\"name\": \"alice\", \"claims\": { \"tenant\": \"sEcReT\" }");
    let config = Config::from_json(document.as_bytes()).unwrap();
    assert!(!format!("{config:?}").contains("sEcReT"));
}

#[test]
fn claims_are_for_routes_that_know_their_callers() {
    assert_eq!(mistakes("\"topic\": \"orders\"", "\"topic\": \"o.{claim:tenant}\""), [""; 0]);
    assert_eq!(
        mistakes("\"topic\": \"orders\"", "\"topic\": \"{claim:tenant}\""),
        [
            "routes[0].kafka.topic: wanted a template that starts with a literal prefix, or an allow-list, got \"{claim:tenant}\""
        ]
    );
    let anonymous = GOOD
        .replace("[\"keys\"]", "[\"anonymous\"]")
        .replace("\"topic\": \"orders\"", "\"topic\": \"o\", \"key\": \"{claim:a|default:b}\"");
    assert_eq!(
        Config::from_json(anonymous.as_bytes()).unwrap_err().to_string(),
        "routes[0].kafka.key: wanted no claim:, because only anonymous callers are let in, who have none, got \"{claim:a|default:b}\""
    );
}

#[test]
fn it_is_told_whose_claims_will_not_do() {
    let warnings = |any_of: &str, claims: &str, topic: &str, key: &str| {
        let other = "\"api_keys\": [{ \"sha256\": \"00b80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\" }]";
        let document = GOOD
            .replace("1500ms", "10s")
            .replace("[\"keys\"]", any_of)
            .replace("\"consumers\": [", &format!("\"consumers\": [{{ \"name\": \"bob\", {other}, \"claims\": {claims} }}, {{ \"name\": \"none\" }}, "))
            .replace("\"topic\": \"orders\"", &format!("\"topic\": \"{topic}\", \"key\": \"{key}\""));
        let (_, warnings) = Config::with_warnings(document.as_bytes()).unwrap();
        let of_claims = warnings.into_iter().filter(|warning| warning.text.contains("claim"));
        of_claims.map(|warning| warning.to_string()).collect::<Vec<_>>()
    };
    let lacking = |who: &str| {
        format!(
            "routes[0]: a template needs the claim tenant, and {who} has none that will do and is answered 400; give it \
             one, or the template a default"
        )
    };
    for (any_of, claims, topic, key, wanted) in [
        ("[\"keys\"]", r#"{ "tenant": "a" }"#, "o.{claim:tenant}", "{claim:tenant}", vec![lacking("consumer alice")]),
        ("[\"keys\"]", r#"{ "tenant": "a" }"#, "o", "{claim:tenant|default:x}", vec![]),
        ("[\"keys\"]", r#"{ "tenant": ["a"] }"#, "o", "{claim:tenant|default:x}", vec![lacking("consumer bob")]),
        ("[\"keys\"]", r#"{ "tenant": ["a"] }"#, "o", "{claim:/tenant/0|default:x}", vec![]),
        (
            "[\"keys\", \"anonymous\"]",
            r#"{ "tenant": "a" }"#,
            "o",
            "{claim:tenant}",
            vec![lacking("consumer alice, an anonymous caller")],
        ),
        (
            "[\"keys\"]",
            "{}",
            "o",
            "{claim:tenant}",
            vec![
                "routes[0]: a template needs the claim tenant, which nobody has who may call; all are answered 400"
                    .to_owned(),
            ],
        ),
        (
            "[\"keys\"]",
            r#"{ "tenant": "A & B" }"#,
            "o.{claim:tenant|default:x}",
            "k",
            vec![
                "routes[0].kafka.topic: the claim tenant of consumer bob cannot be part of the name of a topic, so it is answered 400"
                    .to_owned(),
            ],
        ),
    ] {
        assert_eq!(warnings(any_of, claims, topic, key), wanted, "{any_of} {claims} {topic} {key}");
    }
}
