//! Sets of keys, as issuers publish them and as they should not.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::{
    Algorithm, Discovery, DiscoveryError, Flaw, Key, KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS,
    ShortSecret, Skipped, Unusable,
};
use super::mint::{self, base64url, jwk};

fn set(keys: &[String]) -> Result<KeySet, KeySetError> {
    KeySet::from_jwks(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
}

/// Why the only key of a set is not used.
fn why(key: &str) -> Option<Unusable> {
    match set(&[key.to_owned()]) {
        Ok(_) => None,
        Err(KeySetError::NoUsableKey(skipped)) => Some(skipped[0].why),
        Err(error) => panic!("{key}: {error}"),
    }
}

#[test]
fn keys_of_every_kind_are_read() {
    let kinds = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::EdDsa];
    for algorithm in kinds {
        let further =
            r#""use":"sig","key_ops":["verify"],"kid":"a","x5c":["AA=="],"x5t":"AA","issuer":{"b":1}"#;
        let set = set(&[jwk(algorithm, further)]).unwrap();
        assert_eq!(set.keys()[0].kid(), Some("a"));
        for other in Algorithm::ALL {
            let same_kind = other == algorithm
                || algorithm == Algorithm::Rs256
                    && (other.name().starts_with("RS") || other.name().starts_with("PS"));
            assert_eq!(set.keys()[0].is_for(other), same_kind, "{algorithm} {other}");
        }
    }
}

#[test]
fn what_a_key_is_not_for_it_is_not_used_for() {
    for (further, wanted) in [
        (r#""use":"enc""#, Unusable::Use),
        (r#""use":"SIG""#, Unusable::Use),
        (r#""use":1"#, Unusable::Malformed("use")),
        (r#""key_ops":["sign"]"#, Unusable::Use),
        (r#""key_ops":["encrypt","wrapKey"]"#, Unusable::Use),
        (r#""key_ops":[]"#, Unusable::Use),
        (r#""key_ops":"verify""#, Unusable::Malformed("key_ops")),
        (r#""use":"sig","key_ops":["encrypt"]"#, Unusable::Use),
        (r#""use":"enc","key_ops":["verify"]"#, Unusable::Use),
        (r#""alg":"RS256""#, Unusable::Algorithm),
        (r#""alg":"ES384""#, Unusable::Algorithm),
        (r#""alg":"HS256""#, Unusable::Algorithm),
        (r#""alg":"none""#, Unusable::Algorithm),
        (r#""alg":"ECDH-ES""#, Unusable::Algorithm),
        (r#""alg":256"#, Unusable::Malformed("alg")),
        (r#""kid":7"#, Unusable::Malformed("kid")),
        (r#""kid":"""#, Unusable::Malformed("kid")),
        (r#""kid":"a\u0000""#, Unusable::Malformed("kid")),
        (r#""d":"AA""#, Unusable::Secret),
        (r#""d":null"#, Unusable::Secret),
    ] {
        assert_eq!(why(&jwk(Algorithm::Es256, further)), Some(wanted), "{further}");
    }
    let long = format!(r#""kid":"{}""#, "k".repeat(257));
    assert_eq!(why(&jwk(Algorithm::Es256, &long)), Some(Unusable::Malformed("kid")));
}

#[test]
fn keys_of_other_types_are_passed_over() {
    for (key, wanted) in [
        (r#"{}"#, Unusable::Malformed("kty")),
        (r#"{"kty":1}"#, Unusable::Malformed("kty")),
        (r#"{"kty":"rsa","n":"AA","e":"AQAB"}"#, Unusable::KeyType),
        (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#, Unusable::KeyType),
        (r#"{"kty":"EC","x":"AA","y":"AA"}"#, Unusable::KeyType),
        (r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#, Unusable::KeyType),
        (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, Unusable::KeyType),
        (r#"{"kty":"RSA","e":"AQAB"}"#, Unusable::Malformed("n")),
        (r#"{"kty":"RSA","n":"AQAB"}"#, Unusable::Malformed("e")),
        (r#"{"kty":"RSA","n":"AQ==","e":"AQAB"}"#, Unusable::Malformed("n")),
        (r#"{"kty":"RSA","n":"A/+A","e":"AQAB"}"#, Unusable::Malformed("n")),
        (r#"{"kty":"RSA","n":["AQAB"],"e":"AQAB"}"#, Unusable::Malformed("n")),
        (r#"{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}"#, Unusable::Malformed("x")),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AQAB"}"#, Unusable::Malformed("x")),
    ] {
        assert_eq!(why(key), Some(wanted), "{key}");
    }
}

/// A published secret is none. Whoever has read the set could sign with it.
#[test]
fn a_published_secret_is_not_used() {
    let secret = format!(r#"{{"kty":"oct","alg":"HS256","kid":"a","k":"{}"}}"#, base64url(mint::SECRET));
    assert_eq!(why(&secret), Some(Unusable::Secret));
    let mixed = set(&[secret, jwk(Algorithm::Es256, r#""kid":"b""#)]).unwrap();
    assert!(!mixed.keys().iter().any(|key| key.is_for(Algorithm::Hs256)));
    assert_eq!(mixed.skipped(), [Skipped { index: 0, kid: Some("a".to_owned()), why: Unusable::Secret }]);
}

#[test]
fn an_rsa_key_has_2048_to_4096_bits_and_an_exponent_that_is_one() {
    let key = |modulus: &[u8], exponent: &[u8]| {
        why(&format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, base64url(modulus), base64url(exponent)))
    };
    let modulus = |bytes: usize, first: u8| {
        let mut modulus = vec![0x5b; bytes];
        modulus[0] = first;
        modulus
    };
    assert_eq!(key(&modulus(256, 0x80), &[1, 0, 1]), None);
    assert_eq!(key(&modulus(512, 0xff), &[1, 0, 1]), None);
    assert_eq!(key(&modulus(256, 0x80), &[3]), None);
    // One octet of zeros too many, as some issuers write it.
    assert_eq!(key(&[&[0][..], &modulus(256, 0x80)].concat(), &[0, 1, 0, 1]), None);
    for (bytes, first) in [(256, 0x7f), (128, 0xff), (1, 0xff), (513, 1), (514, 0xff), (20_000, 0xff)] {
        assert_eq!(key(&modulus(bytes, first), &[1, 0, 1]), Some(Unusable::Size), "{bytes} {first}");
    }
    let mut even = modulus(256, 0x80);
    even[255] = 0x5a;
    assert_eq!(key(&even, &[1, 0, 1]), Some(Unusable::Size));
    assert_eq!(key(&[0; 256], &[1, 0, 1]), Some(Unusable::Size));
    assert_eq!(key(&[], &[1, 0, 1]), Some(Unusable::Size));
    for exponent in
        [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[4, 0, 0, 0, 1], &[0xff; 8], &[0xff; 9], &[0xff; 256]]
    {
        assert_eq!(key(&modulus(256, 0x80), exponent), Some(Unusable::Size), "{exponent:?}");
    }
}

#[test]
fn a_point_is_on_its_curve_and_of_large_order() {
    let ec = |crv: &str, length: usize, x: u8, y: u8| {
        let coordinate = |last: u8| {
            let mut bytes = vec![0; length];
            bytes[length - 1] = last;
            base64url(&bytes)
        };
        why(&format!(r#"{{"kty":"EC","crv":"{crv}","x":"{}","y":"{}"}}"#, coordinate(x), coordinate(y)))
    };
    for (crv, length) in [("P-256", 32), ("P-384", 48), ("P-521", 66)] {
        assert_eq!(ec(crv, length, 0, 0), Some(Unusable::Point), "{crv}");
        assert_eq!(ec(crv, length, 1, 1), Some(Unusable::Point), "{crv}");
        assert_eq!(ec(crv, length - 1, 1, 1), Some(Unusable::Malformed("x")), "{crv}");
        assert_eq!(ec(crv, length + 1, 1, 1), Some(Unusable::Malformed("x")), "{crv}");
    }
    // The neutral element, and one of order 2.
    let minus_one: Vec<u8> = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
    for x in [[&[1][..], &[0; 31]].concat(), minus_one, vec![0; 32], [&[2][..], &[0; 31]].concat()] {
        let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, base64url(&x));
        assert_eq!(why(&key), Some(Unusable::Point), "{x:?}");
    }
}

#[test]
fn keys_that_share_a_name_and_an_algorithm_are_all_left_out() {
    let named = |algorithm, further: &str| jwk(algorithm, &format!(r#""kid":"a"{further}"#));
    let twins =
        [named(Algorithm::Rs256, ""), named(Algorithm::Rs256, ""), jwk(Algorithm::Es256, r#""kid":"b""#)];
    let read = set(&twins).unwrap();
    let skipped: Vec<(usize, Unusable)> =
        read.skipped().iter().map(|skipped| (skipped.index, skipped.why)).collect();
    assert_eq!(skipped, [(0, Unusable::DuplicateKeyId), (1, Unusable::DuplicateKeyId)]);
    assert_eq!(read.keys().len(), 1);
    assert!(matches!(set(&twins[..2]), Err(KeySetError::NoUsableKey(skipped)) if skipped.len() == 2));
    // Nothing is ambiguous about these.
    for pair in [
        [named(Algorithm::Rs256, ""), named(Algorithm::Es256, "")],
        [named(Algorithm::Rs256, r#","alg":"RS256""#), named(Algorithm::Rs256, r#","alg":"PS256""#)],
        [named(Algorithm::Es256, ""), named(Algorithm::Es256, r#","use":"enc""#)],
        [jwk(Algorithm::Es256, ""), jwk(Algorithm::Es256, "")],
    ] {
        assert!(set(&pair).is_ok(), "{pair:?}");
    }
    let secret = |kid: &str| Key::secret(Some(kid.to_owned()), mint::SECRET, Algorithm::Hs256).unwrap();
    assert_eq!(KeySet::new(vec![secret("a"), secret("b"), secret("a")]).keys().len(), 1);
}

#[test]
fn a_set_is_an_object_with_keys_within_bounds() {
    for (text, wanted) in [
        (&b""[..], KeySetError::Json(Flaw::NotAnObject)),
        (b"<html>", KeySetError::Json(Flaw::NotAnObject)),
        (b"[]", KeySetError::Json(Flaw::NotAnObject)),
        (b"\xff", KeySetError::Json(Flaw::NotAnObject)),
        (b"{} ", KeySetError::NoKeys),
        (br#"{"keys":null}"#, KeySetError::NoKeys),
        (br#"{"keys":{}}"#, KeySetError::NoKeys),
        (br#"{"keys":[1]}"#, KeySetError::NoKeys),
        (br#"{"keys":[[]]}"#, KeySetError::NoKeys),
        (br#"{"keys":[]}"#, KeySetError::NoUsableKey(Vec::new())),
        (br#"{"keys":[],"keys":[]}"#, KeySetError::Json(Flaw::RepeatedMember)),
        (br#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#, KeySetError::Json(Flaw::RepeatedMember)),
    ] {
        assert_eq!(KeySet::from_jwks(text), Err(wanted), "{:?}", String::from_utf8_lossy(text));
    }
    let deep = format!(r#"{{"keys":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    assert_eq!(KeySet::from_jwks(deep.as_bytes()), Err(KeySetError::Json(Flaw::TooDeep)));
    let key = jwk(Algorithm::EdDsa, "");
    assert_eq!(set(&vec![key.clone(); MAX_KEYS]).unwrap().keys().len(), MAX_KEYS);
    assert_eq!(set(&vec![key; MAX_KEYS + 1]), Err(KeySetError::TooMany));
    assert_eq!(KeySet::from_jwks(&vec![b' '; MAX_KEY_SET_BYTES + 1]), Err(KeySetError::TooLarge));
}

#[test]
fn the_reasons_are_told_key_by_key() {
    let keys = [jwk(Algorithm::Es256, r#""kid":"a","use":"enc""#), r#"{"kty":"RSA"}"#.to_owned()];
    assert_eq!(
        set(&keys).unwrap_err().to_string(),
        "the key set has no key that can be used: keys[0] (\"a\"): use or key_ops reserve it for something else than \
         verifying; keys[1]: n is missing or malformed"
    );
    let many = vec![r#"{"kty":"RSA"}"#.to_owned(); MAX_KEYS];
    assert!(set(&many).unwrap_err().to_string().ends_with("; and 97 more"));
}

#[test]
fn a_secret_is_at_least_as_long_as_the_hash() {
    for (algorithm, min_bytes) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        let secret = |bytes: usize| Key::secret(None, &vec![1; bytes], algorithm);
        assert!(secret(min_bytes).is_ok() && secret(1000).is_ok());
        assert_eq!(secret(min_bytes - 1), Err(ShortSecret { min_bytes }));
        assert_eq!(secret(0), Err(ShortSecret { min_bytes }));
    }
    assert!(Key::secret(None, &[1; 1000], Algorithm::Rs256).is_err());
}

#[test]
fn sets_are_equal_when_their_keys_are() {
    let one = |further: &str| set(&[jwk(Algorithm::Es256, further)]).unwrap();
    assert_eq!(one(""), one(r#""x5t":"AA""#));
    assert_ne!(one(""), one(r#""kid":"a""#));
    assert_ne!(one(""), one(r#""alg":"ES256""#));
    let secret = |byte: u8| KeySet::new(vec![Key::secret(None, &[byte; 32], Algorithm::Hs256).unwrap()]);
    assert_eq!(secret(1), secret(1));
    assert_ne!(secret(1), secret(2));
    assert_ne!(secret(1), one(""));
}

#[test]
fn a_discovery_document_says_where_the_keys_are() {
    const ISSUER: &str = "https://idp.example/realms/a";
    let parse = |issuer: &str, address: &str| {
        let document =
            serde_json::json!({"issuer": issuer, "jwks_uri": address, "scopes_supported": ["openid"]});
        Discovery::parse(document.to_string().as_bytes(), ISSUER)
    };
    for (address, authority, path) in [
        ("https://idp.example/realms/a/certs", "idp.example", "/realms/a/certs"),
        ("https://keys.example:8443/?v=1", "keys.example:8443", "/?v=1"),
        ("https://keys.example?v=1", "keys.example", "/?v=1"),
        ("https://keys.example", "keys.example", "/"),
        ("https://[2001:db8::1]:8443/a", "[2001:db8::1]:8443", "/a"),
    ] {
        let wanted = Discovery { authority: authority.to_owned(), path: path.to_owned() };
        assert_eq!(parse(ISSUER, address), Ok(wanted), "{address}");
    }
    for address in [
        "",
        "https://",
        "https:///certs",
        "https://:443/certs",
        "http://idp.example/certs",
        "HTTPS://idp.example/certs",
        "file:///etc/passwd",
        "//idp.example/certs",
        "/certs",
        "https://user@idp.example/certs",
        "https://idp.example/certs#a",
        "https://idp.example/a b",
        "https://idp.example/a\r\nx: y",
        "https://idp.example\\@evil.example/",
        "https://idp.exämple/certs",
        &format!("https://idp.example/{}", "a".repeat(2048)),
    ] {
        assert_eq!(parse(ISSUER, address), Err(DiscoveryError::Address), "{address}");
    }
    for issuer in
        ["https://idp.example/realms/a/", "https://idp.example/realms/A", "https://evil.example", ""]
    {
        assert_eq!(parse(issuer, "https://idp.example/certs"), Err(DiscoveryError::WrongIssuer), "{issuer}");
    }
    for (document, wanted) in [
        (r#"{"jwks_uri":"https://idp.example/"}"#, DiscoveryError::WrongIssuer),
        (r#"{"issuer":"https://idp.example/realms/a"}"#, DiscoveryError::Address),
        (r#"{"issuer":"https://idp.example/realms/a","jwks_uri":7}"#, DiscoveryError::Address),
        (
            r#"{"issuer":"a","issuer":"https://idp.example/realms/a"}"#,
            DiscoveryError::Json(Flaw::RepeatedMember),
        ),
        ("not json", DiscoveryError::Json(Flaw::NotAnObject)),
    ] {
        assert_eq!(Discovery::parse(document.as_bytes(), ISSUER), Err(wanted), "{document}");
    }
}
