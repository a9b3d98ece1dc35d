#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::password::{MIN_ITERATIONS, Stored};

const KEYS: &str = r#""keys": { "type": "api_key", "header": "X-Api-Key" }"#;

/// The mistakes in the good document with another method beside its own.
fn of_method(method: &str) -> Vec<String> {
    mistakes(KEYS, &format!(r#"{KEYS}, "m": {method}"#))
}

/// The mistakes in the good document with another member of its consumer.
fn of_consumer(member: &str) -> Vec<String> {
    mistakes(r#""name": "alice","#, &format!(r#""name": "alice", {member},"#))
}

fn webhook(members: &str) -> String {
    format!(r#"{{ "type": "webhook", "secrets": ["0123456789abcdef"], {members} }}"#)
}

#[test]
fn methods_that_are_in_order_are_compiled() {
    let described = r#"{ "header": "X-Signature", "prefix": "v1=", "encoding": "base64", "separator": ",",
        "signed": "{id}.{timestamp}.{body}", "timestamp_prefix": "t=", "id_header": "X-Id" }"#;
    for method in [
        r#"{ "type": "basic" }"#.to_owned(),
        r#"{ "type": "basic", "forward": true }"#.to_owned(),
        r#"{ "type": "mtls" }"#.to_owned(),
        r#"{ "type": "mtls", "trust_forwarded_header": true }"#.to_owned(),
        webhook(r#""provider": "github""#),
        webhook(r#""provider": "stripe", "tolerance": "10m", "consumer": "alice""#),
        webhook(r#""provider": "slack""#),
        webhook(r#""provider": "shopify", "forward": true"#),
        webhook(&format!(r#""provider": "other", "signature": {described}"#)),
        r#"{ "type": "webhook", "provider": "standard_webhooks", "secrets":
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="] }"#
            .to_owned(),
    ] {
        assert_eq!(of_method(&method), [""; 0], "{method}");
    }
}

#[test]
fn each_mistake_in_a_webhook_is_told_with_its_path() {
    let other = |signature: &str| webhook(&format!(r#""provider": "other", "signature": {signature}"#));
    for (method, wanted) in [
        (webhook(r#""provider": "gitlab""#), &["authentication.m.provider: "][..]),
        (webhook(r#""provider": "github", "sekret": 1"#), &["authentication.m"]),
        (webhook(r#""provider": "github", "consumer": "bob""#), &["authentication.m.consumer: wanted the name of a consumer"]),
        (webhook(r#""provider": "github", "tolerance": "5m""#), &["authentication.m.tolerance: wanted it only where the time is signed"]),
        (webhook(r#""provider": "slack", "tolerance": "2h""#), &["authentication.m.tolerance: wanted a duration from 1s to 1h"]),
        (webhook(r#""provider": "slack", "tolerance": "0s""#), &["authentication.m.tolerance: wanted a duration from 1s to 1h"]),
        (webhook(r#""provider": "slack", "signature": { "header": "x-s" }"#), &["authentication.m.signature: wanted it only with the provider other"]),
        (webhook(r#""provider": "other""#), &["authentication.m.signature: wanted where the signature is"]),
        (other(r#"{ "header": "Content-Type" }"#), &["authentication.m.signature.header: wanted the name of a header that has no other use"]),
        (other(r#"{ "header": "x s", "signed": "{body}{id}" }"#), &["authentication.m.signature.header: ", "authentication.m.signature.signed: "]),
        (other(r#"{ "header": "x-s", "timestamp_header": "x-t" }"#), &["authentication.m.signature.signed: wanted {timestamp} once"]),
        (
            r#"{ "type": "webhook", "provider": "github", "secrets": [] }"#.to_owned(),
            &["authentication.m.secrets: wanted at least one item, got none"],
        ),
        (
            r#"{ "type": "webhook", "provider": "github", "secrets": ["short", "0123456789abcdef"] }"#.to_owned(),
            &["authentication.m.secrets[0]: wanted a secret of at least 16 bytes, got 5 bytes (not shown)"],
        ),
        (
            r#"{ "type": "webhook", "provider": "standard_webhooks", "secrets": ["whsec_0123456789abcdef!"] }"#.to_owned(),
            &["authentication.m.secrets[0]: wanted base64"],
        ),
    ] {
        let told = of_method(&method);
        assert_eq!(told.len(), wanted.len(), "{method}: {told:?}");
        for (told, wanted) in told.iter().zip(wanted) {
            assert!(told.starts_with(wanted), "{method}: {told}");
            assert!(!told.contains("0123456789abcdef"), "{told}");
        }
    }
}

#[test]
fn each_mistake_in_a_password_is_told_and_no_hash_is() {
    let hash = Stored::derive("x", b"0123456789abcdef", MIN_ITERATIONS).to_string();
    let passwords = |hashes: &[&str]| {
        let hashes: Vec<String> = hashes.iter().map(|hash| format!(r#"{{ "hash": "{hash}" }}"#)).collect();
        of_consumer(&format!(r#""passwords": [{}]"#, hashes.join(", ")))
    };
    assert_eq!(passwords(&[&hash]), [""; 0]);
    assert_eq!(passwords(&[&hash, &hash]), [""; 0]);
    assert_eq!(
        passwords(&[&hash, &hash, &hash]),
        ["consumers[0].passwords: wanted at most 2 passwords, one and its successor, got 3"]
    );
    assert_eq!(
        passwords(&["hunter2"]),
        [
            "consumers[0].passwords[0].hash: wanted $pbkdf2-sha256$i=ITERATIONS$SALT$HASH, as `wicketgate password` prints it, got 7 bytes (not shown)"
        ]
    );
    let told =
        mistakes(r#""name": "alice","#, &format!(r#""name": "a:b", "passwords": [{{ "hash": "{hash}" }}],"#));
    assert_eq!(
        told,
        [
            "consumers[0].name: wanted a name without a colon, which ends the name of a user (RFC 7617, section 2), got \"a:b\""
        ]
    );
}

#[test]
fn each_mistake_in_a_certificate_is_told_with_its_path() {
    let hash = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";
    let good = [
        r#"{ "uri": "spiffe://t/a" }"#.to_owned(),
        r#"{ "uri": "spiffe://t/b/*" }"#.to_owned(),
        r#"{ "dns": "a.example.com" }"#.to_owned(),
        r#"{ "subject": "CN=a,O=b" }"#.to_owned(),
        format!(r#"{{ "sha256": "{hash}" }}"#),
    ];
    assert_eq!(of_consumer(&format!(r#""certificates": [{}]"#, good.join(", "))), [""; 0]);
    for certificate in &good {
        let told = of_consumer(&format!(r#""certificates": [{certificate}, {certificate}]"#));
        let allowed = certificate.contains('*');
        assert_eq!(told.is_empty(), allowed, "{told:?}");
    }
    for (certificate, wanted) in [
        ("{}", ": wanted one of uri, dns, subject and sha256, got none of them"),
        (
            r#"{ "uri": "a:b", "dns": "a" }"#,
            ": wanted one of uri, dns, subject and sha256, got several of them",
        ),
        (r#"{ "uri": "" }"#, ".uri: wanted a URI"),
        (r#"{ "uri": "https://a/*" }"#, ".uri: wanted spiffe://"),
        (r#"{ "dns": "*.example.com" }"#, ".dns: wanted a DNS name"),
        (r#"{ "subject": "" }"#, ".subject: wanted a subject"),
        (r#"{ "sha256": "468e" }"#, ".sha256: wanted 64 hexadecimal digits"),
        (r#"{ "uri": "a:b", "cn": "a" }"#, ".cn: "),
    ] {
        let told = of_consumer(&format!(r#""certificates": [{certificate}]"#));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(&format!("consumers[0].certificates[0]{wanted}")), "{told:?}");
    }
}

#[test]
fn one_certificate_is_not_that_of_two_consumers() {
    let second = |uri: &str| {
        let second = format!(r#"{{ "name": "bob", "certificates": [{{ "uri": "{uri}" }}] }}"#);
        let first = r#""consumers": [{ "name": "alice", "certificates": [{ "uri": "spiffe://t/a/*" }, { "uri": "spiffe://t/x" }],"#;
        mistakes(
            r#""consumers": [{ "name": "alice","#,
            &format!(r#""consumers": [{second}, {}"#, &first[14..]),
        )
    };
    assert_eq!(second("spiffe://t/b/*"), [""; 0]);
    // One that is given to a consumer as it is counts before the patterns that cover it.
    assert_eq!(second("spiffe://t/a/b"), [""; 0]);
    for uri in ["spiffe://t/a/*", "spiffe://t/a/b/*", "spiffe://t/*"] {
        let wanted = "consumers[1].certificates[0].uri: wanted a pattern of its own, got ";
        assert!(second(uri)[0].starts_with(wanted), "{uri}: {:?}", second(uri));
    }
    assert!(
        second("spiffe://t/x")[0].contains("a certificate of its own, got one that consumer \"bob\" has")
    );
}

#[test]
fn a_consumer_whom_nobody_can_be_is_told() {
    let warned = |consumer: &str, methods: &str| {
        let document = GOOD
            .replacen(r#""consumers": ["#, &format!(r#""consumers": [{consumer}, "#), 1)
            .replacen(KEYS, &format!("{KEYS}{methods}"), 1);
        let (_, warnings) = Config::with_warnings(document.as_bytes()).unwrap();
        warnings.iter().any(|warning| warning.path == "consumers[0]")
    };
    let hash = Stored::derive("x", b"0123456789abcdef", MIN_ITERATIONS).to_string();
    assert!(warned(r#"{ "name": "bob" }"#, ""));
    assert!(!warned(r#"{ "name": "bob", "certificates": [{ "dns": "bob" }] }"#, ""));
    assert!(!warned(&format!(r#"{{ "name": "bob", "passwords": [{{ "hash": "{hash}" }}] }}"#), ""));
    let hook = webhook(r#""provider": "github", "consumer": "bob""#);
    assert!(!warned(r#"{ "name": "bob" }"#, &format!(r#", "m": {hook}"#)));
}

#[test]
fn each_mistake_about_a_token_that_others_check_is_told_and_no_secret_is() {
    let introspection = |members: &str| {
        format!(
            r#"{{ "type": "introspection", "endpoint": "https://idp.example.com/introspect", "upstream": "idp", {members} }}"#
        )
    };
    let client = r#""client": { "type": "basic", "id": "gateway", "secret": "s3cr3t" }"#;
    for method in [
        introspection(client),
        introspection(r#""client": { "type": "body", "id": "gateway", "secret": "s3cr3t" }, "cache": "0s""#),
        introspection(
            r#""client": { "type": "bearer", "token": "a.b-c" }, "header": "x-token", "audiences": ["a"]"#,
        ),
        r#"{ "type": "envoy_jwt_authn", "payload_in_metadata": "claims", "groups_claim": "/a/b" }"#
            .to_owned(),
    ] {
        assert_eq!(of_method(&method), [""; 0], "{method}");
    }
    for (method, wanted) in [
        (introspection(client).replace("https:", "http:"), ".endpoint: wanted an https address"),
        (introspection(client).replace(r#""idp""#, r#""""#), ".upstream: wanted the name of a cluster"),
        (introspection(&format!(r#"{client}, "cache": "11m""#)), ".cache: wanted a duration from 0s to 10m"),
        (
            introspection(&format!(r#"{client}, "timeout": "0s""#)),
            ".timeout: wanted a duration from 100ms to 30s",
        ),
        (
            introspection(&format!(r#"{client}, "header": "a", "query": "b""#)),
            ": wanted exactly one of header, query and cookie",
        ),
        (
            introspection(&format!(r#"{client}, "groups_claim": """#)),
            ".groups_claim: wanted the name of a claim",
        ),
        (
            introspection(&client.replace("s3cr3t", "")),
            ".client.secret: wanted text without control characters, got 0 bytes (not shown)",
        ),
        (
            introspection(r#""client": { "type": "bearer", "token": "s3cr3t s3cr3t" }"#),
            ".client.token: wanted letters, digits",
        ),
        (
            r#"{ "type": "envoy_jwt_authn", "payload_in_metadata": "" }"#.to_owned(),
            ".payload_in_metadata: wanted",
        ),
    ] {
        let told = of_method(&method);
        assert_eq!(told.len(), 1, "{method}: {told:?}");
        assert!(told[0].starts_with(&format!("authentication.m{wanted}")), "{method}: {told:?}");
        assert!(!told[0].contains("s3cr3t"), "{told:?}");
    }
}

#[test]
fn each_mistake_in_a_handshake_is_told() {
    let of = |handshake: &str, methods: &str| {
        let to = format!(r#""webhook_handshake": {handshake}, "match": {{ "methods": [{methods}],"#);
        mistakes(r#""match": { "methods": ["POST"],"#, &to)
    };
    assert_eq!(of(r#"{ "origins": ["emitter.example.com"], "rate": 120 }"#, r#""POST""#), [""; 0]);
    assert_eq!(of(r#"{ "origins": ["*"] }"#, r#""POST""#), [""; 0]);
    for (handshake, methods, wanted) in [
        (
            r#"{ "origins": ["https://a"] }"#,
            r#""POST""#,
            "routes[0].webhook_handshake.origins: wanted names of hosts",
        ),
        (
            r#"{ "origins": ["*", "a"] }"#,
            r#""POST""#,
            "routes[0].webhook_handshake.origins: wanted names of hosts",
        ),
        (
            r#"{ "origins": [] }"#,
            r#""POST""#,
            "routes[0].webhook_handshake.origins: wanted at least one item",
        ),
        (r#"{ "origins": ["a"], "rate": 0 }"#, r#""POST""#, "routes[0].webhook_handshake.rate: wanted"),
        (
            r#"{ "origins": ["a"] }"#,
            r#""PUT""#,
            "routes[0].webhook_handshake: wanted it only where the route takes POST",
        ),
    ] {
        let told = of(handshake, methods);
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{handshake}: {told:?}");
    }
}

#[test]
fn what_is_unwise_about_tokens_and_methods_is_warned_of() {
    let warned = |path: &str, algorithms: &str, members: &str, other: &str| {
        let token = |issuer: &str, algorithms: &str, members: &str| {
            format!(
                r#"{{ "type": "jwt", "issuer": "https://{issuer}.example", "algorithms": {algorithms}, {members} }}"#
            )
        };
        let fetched = r#""audiences": ["a"], "jwks_uri": "https://i.example/keys", "upstream": "i""#;
        let (one, other) = (token("i", algorithms, members), token(other, r#"["RS256"]"#, fetched));
        let document = GOOD.replacen(KEYS, &format!(r#"{KEYS}, "m": {one}, "n": {other}"#), 1).replacen(
            r#"["keys"]"#,
            r#"["keys", "m"]"#,
            1,
        );
        let (_, warnings) = Config::with_warnings(document.as_bytes()).unwrap();
        warnings.iter().filter(|warning| warning.path == path).map(|warning| warning.text.clone()).collect()
    };
    let secret = r#""secrets": ["0123456789abcdef0123456789abcdef"], "audiences": ["a"]"#;
    let keys = r#""jwks_uri": "https://i.example/keys", "upstream": "i""#;
    let bounded = |lifetime: &str| format!(r#"{keys}, "audiences": ["a"], "max_lifetime": "{lifetime}""#);
    let nothing: Vec<String> = Vec::new();
    for (path, algorithms, members, other, wanted) in [
        ("authentication.m.algorithms", r#"["HS256"]"#, secret, "i", Some("shared secret")),
        ("authentication.m.algorithms", r#"["HS256"]"#, secret, "j", None),
        ("authentication.m.audiences", r#"["RS256"]"#, keys, "i", Some("other services")),
        ("authentication.m.audiences", r#"["RS256"]"#, &bounded("1h"), "i", None),
        ("authentication.m.max_lifetime", r#"["RS256"]"#, &bounded("730d"), "i", Some("stolen")),
        ("authentication.m.max_lifetime", r#"["RS256"]"#, &bounded("1h"), "i", None),
        ("authentication.n", r#"["RS256"]"#, &bounded("1h"), "i", Some("no route uses it")),
        ("authentication.m", r#"["RS256"]"#, &bounded("1h"), "i", None),
    ] {
        let told: Vec<String> = warned(path, algorithms, members, other);
        match wanted {
            Some(wanted) => assert!(told.len() == 1 && told[0].contains(wanted), "{path}: {told:?}"),
            None => assert_eq!(told, nothing, "{path}"),
        }
    }
}
