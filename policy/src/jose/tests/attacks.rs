//! What attackers send, each with the verdict that it gets.

use hmac::Hmac;
use sha2::Sha256;
use std::time::Duration;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use wicketgate_envelope::timestamp::Timestamp;

use super::super::json::MAX_DEPTH;
use super::super::{
    Algorithm, Algorithms, Flaw, Key, KeySet, MAX_KEY_ID_BYTES, MAX_KEYS_TRIED, Malformed, Rejected,
    VerifiedToken, Verifier, claimed_issuer, decode_base64url,
};
use super::mint::{self, base64url, jwk, mac, mint, mint_claims};
use super::{all_algorithms, set_of};

const NOW: i64 = 1_800_000_000_000;
const CLAIMS: &str = r#"{"iss":"https://idp.example/","aud":"orders","exp":1800000060,"sub":"alice"}"#;

fn verifier() -> Verifier {
    Verifier {
        algorithms: all_algorithms(),
        issuer: Some("https://idp.example/".to_owned()),
        audiences: vec!["orders".to_owned()],
        ..Verifier::default()
    }
}

fn verify(token: impl AsRef<[u8]>) -> Result<VerifiedToken, Rejected> {
    verify_with(token, &mint::keys())
}

fn verify_with(token: impl AsRef<[u8]>, keys: &KeySet) -> Result<VerifiedToken, Rejected> {
    verifier().verify(token.as_ref(), keys, Timestamp::from_millis(NOW))
}

/// A token with this header, signed with HS256.
fn with_header(header: &str) -> Result<VerifiedToken, Rejected> {
    verify(mint(Algorithm::Hs256, header, CLAIMS))
}

/// A token with these claims.
fn with_claims(claims: impl AsRef<[u8]>) -> Result<VerifiedToken, Rejected> {
    verify(mint_claims(Algorithm::Hs256, claims))
}

fn named_set(kid: &str, algorithms: &[Algorithm]) -> KeySet {
    let keys: Vec<String> =
        algorithms.iter().map(|algorithm| jwk(*algorithm, &format!(r#""kid":"{kid}""#))).collect();
    KeySet::from_jwks(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
}

#[test]
fn a_right_token_of_every_algorithm_is_accepted() {
    for algorithm in Algorithm::ALL {
        let token =
            verify(mint_claims(algorithm, CLAIMS)).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!(token.claims.json().get(), CLAIMS);
        assert_eq!((token.subject.as_deref(), token.algorithm), (Some("alice"), algorithm));
        assert_eq!(token.expires, Some(Timestamp::from_millis(1_800_000_060_000)));
        assert!(!format!("{token:?}").contains("alice"));
    }
    // RFC 9864's name of the same algorithm.
    assert!(verify(mint(Algorithm::EdDsa, r#"{"alg":"Ed25519"}"#, CLAIMS)).is_ok());
}

#[test]
fn no_algorithm_stands_in_for_another() {
    for signed in Algorithm::ALL {
        for claimed in Algorithm::ALL.into_iter().filter(|claimed| *claimed != signed) {
            let token = mint(signed, &format!(r#"{{"alg":"{claimed}"}}"#), CLAIMS);
            assert_eq!(verify(token), Err(Rejected::BadSignature), "{signed} as {claimed}");
        }
    }
}

#[test]
fn an_algorithm_that_is_not_pinned_is_refused_although_there_is_a_key() {
    for pinned in Algorithm::ALL {
        let verifier = Verifier { algorithms: Algorithms::from_iter([pinned]), ..verifier() };
        for algorithm in Algorithm::ALL {
            let token = mint_claims(algorithm, CLAIMS);
            let verdict = verifier.verify(token.as_bytes(), &mint::keys(), Timestamp::from_millis(NOW));
            let wanted = if algorithm == pinned { None } else { Some(Rejected::UnsupportedAlgorithm) };
            assert_eq!(verdict.err(), wanted, "{algorithm}, {pinned} pinned");
        }
    }
    let nothing_pinned = Verifier { algorithms: Algorithms::default(), ..verifier() };
    let token = mint_claims(Algorithm::Es256, CLAIMS);
    assert_eq!(
        nothing_pinned.verify(token.as_bytes(), &mint::keys(), Timestamp::from_millis(NOW)),
        Err(Rejected::UnsupportedAlgorithm)
    );
}

#[test]
fn alg_none_in_any_spelling_is_refused_with_and_without_signature() {
    for name in ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256", "rs256", "RSA-OAEP", "HS1", "ES256K"]
    {
        let header = base64url(format!(r#"{{"alg":"{name}"}}"#).as_bytes());
        let signed = format!("{header}.{}", base64url(CLAIMS.as_bytes()));
        for signature in ["", &base64url(&mint::sign(Algorithm::Hs256, signed.as_bytes()))] {
            let verdict = verify(format!("{signed}.{signature}"));
            assert_eq!(verdict, Err(Rejected::UnsupportedAlgorithm), "{name} {signature}");
        }
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":256}"#, r#"{"alg":["HS256"]}"#, r#"{"typ":"JWT"}"#] {
        assert_eq!(with_header(header), Err(Malformed::Parameter("alg").into()), "{header}");
    }
}

/// The public key is public: whoever takes it for a secret lets everybody sign.
#[test]
fn hs256_with_an_rsa_public_key_as_the_secret_is_refused() {
    let jwk = jwk(Algorithm::Rs256, "");
    let modulus = decode_base64url(jwk.split('"').nth(7).unwrap()).unwrap();
    let der =
        [&[0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00][..], &modulus, &[2, 3, 1, 0, 1]].concat();
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", base64url(&der));
    let secrets = [modulus, der, pem.into_bytes(), jwk.clone().into_bytes()];
    for secret in secrets {
        for (header, verdict) in [
            (r#"{"alg":"HS256"}"#, Rejected::UnknownKey { kid: None }),
            (r#"{"alg":"HS256","kid":"a"}"#, Rejected::WrongKey),
            (r#"{"alg":"RS256","kid":"a"}"#, Rejected::BadSignature),
        ] {
            let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(CLAIMS.as_bytes()));
            let token = format!("{signed}.{}", base64url(&mac::<Hmac<Sha256>>(&secret, signed.as_bytes())));
            assert_eq!(verify_with(token, &named_set("a", &[Algorithm::Rs256])), Err(verdict), "{header}");
        }
    }
}

#[test]
fn a_key_for_one_algorithm_is_for_no_other() {
    let set = set_of(&jwk(Algorithm::Rs256, r#""kid":"a","alg":"RS256""#));
    for algorithm in [Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256, Algorithm::Ps512] {
        let token = mint(algorithm, &format!(r#"{{"alg":"{algorithm}","kid":"a"}}"#), CLAIMS);
        assert_eq!(verify_with(token, &set), Err(Rejected::WrongKey), "{algorithm}");
    }
    assert!(verify_with(mint(Algorithm::Rs256, r#"{"alg":"RS256","kid":"a"}"#, CLAIMS), &set).is_ok());
}

#[test]
fn keys_are_found_by_name() {
    let both = [Algorithm::Es256, Algorithm::EdDsa];
    let header = |kid: &str| format!(r#"{{"alg":"ES256"{kid}}}"#);
    let token = |kid: &str| mint(Algorithm::Es256, &header(kid), CLAIMS);
    // Keys of different kinds may share a name.
    assert!(verify_with(token(r#","kid":"a""#), &named_set("a", &both)).is_ok());
    // A token without a name may be of any key of the algorithm.
    assert!(verify_with(token(""), &named_set("a", &both)).is_ok());
    // A key without a name may be of any token.
    assert!(verify_with(token(r#","kid":"a""#), &mint::keys()).is_ok());
    assert_eq!(
        verify_with(token(r#","kid":"b""#), &named_set("a", &both)),
        Err(Rejected::UnknownKey { kid: Some("b".to_owned()) })
    );
    assert_eq!(
        verify_with(token(r#","kid":"a""#), &named_set("a", &[Algorithm::EdDsa])),
        Err(Rejected::WrongKey)
    );
    assert_eq!(
        verify_with(token(""), &named_set("a", &[Algorithm::EdDsa])),
        Err(Rejected::UnknownKey { kid: None })
    );
    assert_eq!(verify_with(token(""), &KeySet::default()), Err(Rejected::UnknownKey { kid: None }));
}

#[test]
fn a_named_key_that_is_there_is_the_only_one_tried() {
    let other = [9; 64];
    let right = Key::secret(None, mint::SECRET, Algorithm::Hs256).unwrap();
    let wrong = Key::secret(Some("a".to_owned()), &other, Algorithm::Hs256).unwrap();
    let set = KeySet::new(vec![right, wrong]);
    let token = mint(Algorithm::Hs256, r#"{"alg":"HS256","kid":"a"}"#, CLAIMS);
    assert_eq!(verify_with(token, &set), Err(Rejected::BadSignature));
}

#[test]
fn only_so_many_keys_are_tried() {
    let set = |others: usize| {
        let secret = |index: usize| {
            let bytes = [u8::try_from(index).unwrap(); 32];
            Key::secret(Some(format!("key {index}")), &bytes, Algorithm::Hs256).unwrap()
        };
        let mut keys: Vec<Key> = (0..others).map(secret).collect();
        keys.push(Key::secret(None, mint::SECRET, Algorithm::Hs256).unwrap());
        KeySet::new(keys)
    };
    let token = mint_claims(Algorithm::Hs256, CLAIMS);
    assert!(verify_with(&token, &set(MAX_KEYS_TRIED - 1)).is_ok());
    assert_eq!(verify_with(&token, &set(MAX_KEYS_TRIED)), Err(Rejected::AmbiguousKey));
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    for kid in ["../../../../dev/null", "' OR 1=1 --", "key; rm -rf /", "http://evil.example/key", "\u{202e}"]
    {
        let verdict = verify_with(
            mint(Algorithm::Es256, &serde_json::json!({"alg": "ES256", "kid": kid}).to_string(), CLAIMS),
            &named_set("a", &[Algorithm::Es256]),
        );
        assert_eq!(verdict, Err(Rejected::UnknownKey { kid: Some(kid.to_owned()) }));
    }
    let longest = "k".repeat(MAX_KEY_ID_BYTES);
    assert!(with_header(&format!(r#"{{"alg":"HS256","kid":"{longest}"}}"#)).is_ok());
    let escapes = [r"a\u0000", r"\n", r"\u007f", r"\u0085", "", &format!("{longest}k")].map(str::to_owned);
    for kid in
        escapes.iter().map(|kid| format!("\"{kid}\"")).chain(["1", "null", "[]", "{}"].map(str::to_owned))
    {
        let verdict = with_header(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#));
        assert_eq!(verdict, Err(Malformed::Parameter("kid").into()), "{kid}");
    }
    let huge = "k".repeat(10 * 1024);
    assert_eq!(with_header(&format!(r#"{{"alg":"HS256","kid":"{huge}"}}"#)), Err(Rejected::TooLarge));
}

#[test]
fn keys_that_a_token_brings_along_are_not_looked_at() {
    let own = jwk(Algorithm::Es256, "");
    let header = |own: &str| {
        format!(
            r#"{{"alg":"ES256","jwk":{own},"jku":"https://evil.example/jwks","x5u":"https://evil.example/x","x5c":["AA=="],"x5t":"AA"}}"#
        )
    };
    let token = mint(Algorithm::Es256, &header(&own), CLAIMS);
    // The signature is by the key in the header, which is not in the set.
    let other = set_of(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    );
    assert_eq!(verify_with(&token, &other), Err(Rejected::BadSignature));
    assert_eq!(verify_with(&token, &KeySet::default()), Err(Rejected::UnknownKey { kid: None }));
    // And they do no harm where the key of the set has signed.
    assert!(verify(&token).is_ok());
}

#[test]
fn extensions_are_refused_known_or_not() {
    for member in [
        r#""crit":["zzz"],"zzz":1"#,
        r#""crit":["zzz"]"#,
        r#""crit":[]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["b64"],"b64":true"#,
        r#""b64":false"#,
        r#""crit":null"#,
        r#""crit":"exp""#,
        r#""\u0063rit":["zzz"]"#,
    ] {
        let verdict = with_header(&format!(r#"{{"alg":"HS256",{member}}}"#));
        assert_eq!(verdict, Err(Rejected::UnsupportedExtension), "{member}");
    }
}

#[test]
fn only_compact_serialisation_of_three_parts_is_a_token() {
    let token = mint_claims(Algorithm::Hs256, CLAIMS);
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{token}") };
    for wrong in [
        String::new(),
        ".".to_owned(),
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}.{signature}.{signature}"),
        format!(r#"{{"payload":"{claims}","protected":"{header}","signature":"{signature}"}}"#),
        format!(
            r#"{{"payload":"{claims}","signatures":[{{"protected":"{header}","signature":"{signature}"}}]}}"#
        ),
    ] {
        assert_eq!(verify(&wrong), Err(Malformed::Parts.into()), "{wrong}");
    }
    assert_eq!(verify(".."), Err(Malformed::Header(Flaw::NotAnObject).into()));
    assert_eq!(verify(format!("{header}.{claims}.")), Err(Rejected::BadSignature));
    // The empty text is no JSON, even if it is signed.
    assert_eq!(with_claims(""), Err(Malformed::Claims(Flaw::NotAnObject).into()));
}

#[test]
fn each_part_has_one_spelling() {
    let token = mint_claims(Algorithm::Hs256, CLAIMS);
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let encodings = [Malformed::HeaderEncoding, Malformed::ClaimsEncoding, Malformed::SignatureEncoding];
    for (index, wanted) in encodings.into_iter().enumerate() {
        let part = &parts[index];
        // The last character has bits that no byte uses, except where the length divides by four.
        let mut last = part.clone().into_bytes();
        *last.last_mut().unwrap() += 1;
        let variants = [
            format!("{part}="),
            format!("{part}=="),
            format!("{part}\n"),
            format!(" {part}"),
            format!("{part}+"),
            format!("{part}/"),
            format!("{part}%3D"),
            format!("{}\u{e9}", &part[..part.len() - 1]),
            part.replacen(&part[4..5], "?", 1),
            part.replacen(&part[4..5], "\0", 1),
        ];
        for variant in variants
            .map(String::into_bytes)
            .into_iter()
            .chain((!part.len().is_multiple_of(4)).then_some(last))
        {
            let mut changed: Vec<Vec<u8>> = parts.iter().map(|part| part.clone().into_bytes()).collect();
            changed[index] = variant.clone();
            // Signed as it is sent, so that nothing but the spelling is wrong.
            if index < 2 {
                let signed = changed[..2].join(&b'.');
                changed[2] = base64url(&mint::sign(Algorithm::Hs256, &signed)).into_bytes();
            }
            let verdict = verify(changed.join(&b'.'));
            assert_eq!(verdict, Err(wanted.into()), "{index} {:?}", String::from_utf8_lossy(&variant));
        }
    }
    assert!(parts.iter().any(|part| !part.len().is_multiple_of(4)));
}

#[test]
fn a_long_token_is_refused_before_anything_is_decoded() {
    let max = verifier().max_bytes;
    assert_eq!(max, 8192);
    assert_eq!(verify("?".repeat(max + 1)), Err(Rejected::TooLarge));
    assert_eq!(verify("?".repeat(max)), Err(Malformed::Parts.into()));
    assert_eq!(verify("x".repeat(1 << 20)), Err(Rejected::TooLarge));
    assert_eq!(claimed_issuer(&vec![b'.'; max + 1], max), Err(Rejected::TooLarge));

    let padded = |length: usize| with_claims(CLAIMS.replace("alice", &"a".repeat(length)));
    assert!(padded(5900).is_ok());
    assert_eq!(padded(6100), Err(Rejected::TooLarge));
}

#[test]
fn a_repeated_member_is_refused_wherever_it_is() {
    for header in [
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"HS256"}"#,
        r#"{"alg":"HS256","x":{"y":1,"y":1}}"#,
    ] {
        assert_eq!(with_header(header), Err(Malformed::Header(Flaw::RepeatedMember).into()), "{header}");
    }
    for member in [
        r#""sub":"a","sub":"b""#,
        r#""exp":1900000000"#,
        r#""iss":"https://evil.example/""#,
        r#""\u0069ss":"https://idp.example/""#,
        r#""realm_access":{"roles":[],"roles":["admin"]}"#,
        r#""a":[[{"b":1,"c":2,"b":3}]]"#,
    ] {
        let claims = CLAIMS.replace(r#","sub":"alice""#, &format!(",{member}"));
        assert_eq!(with_claims(&claims), Err(Malformed::Claims(Flaw::RepeatedMember).into()), "{claims}");
    }
}

#[test]
fn what_is_signed_has_to_be_an_object_in_json() {
    for claims in [
        &b"null"[..],
        b"[]",
        b"\"text\"",
        b"1",
        b"{",
        b"{}}",
        b"{} {}",
        b"{'a':1}",
        b"{\"a\":01}",
        b"{\"a\":NaN}",
    ] {
        let verdict = with_claims(claims);
        assert_eq!(verdict, Err(Malformed::Claims(Flaw::NotAnObject).into()), "{claims:?}");
    }
    // A token in a token is not unpacked.
    let nested = mint_claims(Algorithm::Hs256, CLAIMS);
    let outer = mint(Algorithm::Hs256, r#"{"alg":"HS256","cty":"JWT"}"#, nested);
    assert_eq!(verify(outer), Err(Malformed::Claims(Flaw::NotAnObject).into()));
}

#[test]
fn text_that_is_not_unicode_is_refused() {
    for member in [
        &b"\"a\":\"\xff\""[..],
        b"\"\xc0\xaf\":1",
        b"\"a\":\"\xed\xa0\x80\"",
        br#""a":"\ud800""#,
        br#""\udc00":1"#,
    ] {
        let claims = [CLAIMS.trim_end_matches('}').as_bytes(), b",", member, b"}"].concat();
        assert_eq!(with_claims(&claims), Err(Malformed::Claims(Flaw::NotAnObject).into()), "{member:?}");
    }
    let header = [&b"{\"alg\":\"HS256\",\"x\":\""[..], &[0xff], b"\"}"].concat();
    let signed = format!("{}.{}", base64url(&header), base64url(CLAIMS.as_bytes()));
    let token = format!("{signed}.{}", base64url(&mint::sign(Algorithm::Hs256, signed.as_bytes())));
    assert_eq!(verify(token), Err(Malformed::Header(Flaw::NotAnObject).into()));
    // A byte order mark is none of JSON's white space.
    let marked = format!("\u{feff}{CLAIMS}");
    assert_eq!(with_claims(marked), Err(Malformed::Claims(Flaw::NotAnObject).into()));
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| {
        let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        CLAIMS.replace(r#""alice""#, r#""alice","x":"#).replace(r#""x":"#, &format!(r#""x":{value}"#))
    };
    // The claims themselves are a level.
    assert!(with_claims(nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(with_claims(nested(MAX_DEPTH)), Err(Malformed::Claims(Flaw::TooDeep).into()));
    assert_eq!(with_claims(nested(2500)), Err(Malformed::Claims(Flaw::TooDeep).into()));
    let header = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, r#"{"a":"#.repeat(900), "}".repeat(900));
    assert_eq!(with_header(&header), Err(Malformed::Header(Flaw::TooDeep).into()));
    let verifier = Verifier { max_bytes: 1 << 20, ..verifier() };
    let token = mint_claims(Algorithm::Hs256, nested(100_000));
    assert_eq!(
        verifier.verify(token.as_bytes(), &mint::keys(), Timestamp::from_millis(NOW)),
        Err(Malformed::Claims(Flaw::TooDeep).into())
    );
}

#[test]
fn an_issuer_is_compared_byte_for_byte() {
    for issuer in [
        "https://idp.example",
        "https://idp.example//",
        "https://IDP.example/",
        "https://idp.example/ ",
        "https://idp.example/\u{0}",
        "https://evil.example/",
        "",
    ] {
        let claims = serde_json::json!({"iss": issuer, "aud": "orders", "exp": 1_800_000_060}).to_string();
        assert_eq!(with_claims(claims), Err(Rejected::WrongIssuer), "{issuer}");
    }
    for issuer in ["1", "null", r#"["https://idp.example/"]"#, "{}"] {
        let claims = format!(r#"{{"iss":{issuer},"aud":"orders","exp":1800000060}}"#);
        assert_eq!(with_claims(claims), Err(Rejected::InvalidClaim("iss")), "{issuer}");
    }
    assert_eq!(with_claims(r#"{"aud":"orders","exp":1800000060}"#), Err(Rejected::MissingClaim("iss")));
    // The same text, spelled with escapes.
    assert!(with_claims(r#"{"iss":"https:\/\/idp\u002eexample/","aud":"orders","exp":1800000060}"#).is_ok());
}

#[test]
fn an_audience_has_to_be_among_those_of_the_token() {
    for (audience, verdict) in [
        (r#""orders""#, None),
        (r#"["orders"]"#, None),
        (r#"["payments","orders"]"#, None),
        (r#""payments""#, Some(Rejected::WrongAudience)),
        (r#""orders payments""#, Some(Rejected::WrongAudience)),
        (r#""Orders""#, Some(Rejected::WrongAudience)),
        (r#""""#, Some(Rejected::WrongAudience)),
        ("[]", Some(Rejected::WrongAudience)),
        (r#"["payments"]"#, Some(Rejected::WrongAudience)),
        (r#"["orders",1]"#, Some(Rejected::InvalidClaim("aud"))),
        (r#"[["orders"]]"#, Some(Rejected::InvalidClaim("aud"))),
        ("1", Some(Rejected::InvalidClaim("aud"))),
        ("null", Some(Rejected::InvalidClaim("aud"))),
        ("true", Some(Rejected::InvalidClaim("aud"))),
        (r#"{"orders":true}"#, Some(Rejected::InvalidClaim("aud"))),
    ] {
        let claims = CLAIMS.replace(r#""orders""#, audience);
        assert_eq!(with_claims(claims).err(), verdict, "{audience}");
    }
    let without = CLAIMS.replace(r#""aud":"orders","#, "");
    assert_eq!(with_claims(without), Err(Rejected::MissingClaim("aud")));
}

#[test]
fn a_type_is_compared_as_a_media_type() {
    let verifier = Verifier { token_type: Some("at+jwt".to_owned()), ..verifier() };
    for (member, accepted) in [
        (r#","typ":"at+jwt""#, true),
        (r#","typ":"AT+JWT""#, true),
        (r#","typ":"application/at+jwt""#, true),
        (r#","typ":"Application/At+JWT""#, true),
        (r#","typ":"JWT""#, false),
        (r#","typ":"application/application/at+jwt""#, false),
        (r#","typ":"at+jwt ""#, false),
        (r#","typ":"""#, false),
        ("", false),
    ] {
        let token = mint(Algorithm::Hs256, &format!(r#"{{"alg":"HS256"{member}}}"#), CLAIMS);
        let verdict = verifier.verify(token.as_bytes(), &mint::keys(), Timestamp::from_millis(NOW));
        assert_eq!(verdict.err(), (!accepted).then_some(Rejected::WrongType), "{member}");
    }
    assert_eq!(with_header(r#"{"alg":"HS256","typ":1}"#), Err(Malformed::Parameter("typ").into()));
    assert!(with_header(r#"{"alg":"HS256","typ":"JWT"}"#).is_ok());
}

/// CVE-2022-21449, "psychic signatures", and their relatives.
#[test]
fn an_ecdsa_signature_has_one_form_and_its_numbers_are_in_range() {
    let signed = mint_claims(Algorithm::Es256, CLAIMS).rsplit_once('.').unwrap().0.to_owned();
    let signature = mint::sign(Algorithm::Es256, signed.as_bytes());
    let (r, s) = signature.split_at(32);
    let order = decode_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    let zero = vec![0; 32];
    let der = |number: &[u8]| {
        let sign = if number[0] >= 0x80 { vec![0] } else { Vec::new() };
        [&[2, u8::try_from(number.len() + sign.len()).unwrap()][..], &sign, number].concat()
    };
    let body = [der(r), der(s)].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
    for wrong in [
        [&zero[..], &zero].concat(),
        [r, &zero].concat(),
        [&zero[..], s].concat(),
        [&order[..], &order].concat(),
        [r, &order].concat(),
        [&order[..], s].concat(),
        vec![0xff; 64],
        [s, r].concat(),
        [&[0][..], r, &[0], s].concat(),
        der,
        Vec::new(),
    ] {
        let token = format!("{signed}.{}", base64url(&wrong));
        assert_eq!(verify(token), Err(Rejected::BadSignature), "{wrong:?}");
    }
    // Both s and n - s are right; JWS asks for neither.
    let (low, high) = high_and_low(&signature);
    for right in [low, high] {
        assert!(verify(format!("{signed}.{}", base64url(&right))).is_ok());
    }
}

fn high_and_low(signature: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
    let (r, s) = signature.split_scalars();
    let negated = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
    (signature.to_bytes().to_vec(), negated.to_bytes().to_vec())
}

#[test]
fn an_ed25519_signature_is_verified_strictly() {
    let signed = mint_claims(Algorithm::EdDsa, CLAIMS).rsplit_once('.').unwrap().0.to_owned();
    let signature = mint::sign(Algorithm::EdDsa, signed.as_bytes());
    // The order of the group, added to s: the same number for whoever does not look.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut not_canonical = signature.clone();
    let mut carry = 0;
    for (byte, add) in not_canonical[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    let mut neutral = vec![0; 64];
    neutral[0] = 1;
    // R is the neutral element and s is made with the key, so the equation holds: right for whoever is not strict.
    let small_r = decode_base64url(
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABT3nCfOMJcq45xJXzKKr2wcCfbyPqrO1lEAITrhRAkDg",
    )
    .unwrap();
    for wrong in [not_canonical, neutral, small_r, vec![0; 64], vec![0xff; 64], signature[..63].to_vec()] {
        let token = format!("{signed}.{}", base64url(&wrong));
        assert_eq!(verify(token), Err(Rejected::BadSignature), "{wrong:?}");
    }
}

#[test]
fn an_rsa_signature_is_as_long_as_the_modulus_and_below_it() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        let signed = mint_claims(algorithm, CLAIMS).rsplit_once('.').unwrap().0.to_owned();
        let signature = mint::sign(algorithm, signed.as_bytes());
        let jwk: serde_json::Value = serde_json::from_str(&jwk(algorithm, "")).unwrap();
        let modulus = decode_base64url(jwk["n"].as_str().unwrap()).unwrap();
        let short = signature.iter().skip_while(|byte| **byte == 0).skip(1).copied().collect();
        for wrong in [
            [&[0][..], &signature].concat(),
            [&signature[..], &[0]].concat(),
            short,
            vec![0; 256],
            [&vec![0; 255][..], &[1]].concat(),
            modulus,
            vec![0xff; 256],
            vec![0xff; 1024],
            Vec::new(),
        ] {
            let token = format!("{signed}.{}", base64url(&wrong));
            assert_eq!(verify(token), Err(Rejected::BadSignature), "{algorithm} {}", wrong.len());
        }
    }
}

#[test]
fn a_code_that_is_cut_short_is_wrong() {
    let signed = mint_claims(Algorithm::Hs256, CLAIMS).rsplit_once('.').unwrap().0.to_owned();
    let code = mint::sign(Algorithm::Hs256, signed.as_bytes());
    for length in [0, 1, 16, 31] {
        let token = format!("{signed}.{}", base64url(&code[..length]));
        assert_eq!(verify(token), Err(Rejected::BadSignature), "{length}");
    }
}

#[test]
fn an_issuer_can_be_read_of_a_token_that_nobody_has_verified() {
    let forged = |claims: &str| {
        let token = format!("{}.{}.AAAA", base64url(br#"{"alg":"ES256"}"#), base64url(claims.as_bytes()));
        claimed_issuer(token.as_bytes(), 8192)
    };
    assert_eq!(forged(CLAIMS), Ok(Some("https://idp.example/".to_owned())));
    assert_eq!(forged("{}"), Ok(None));
    assert_eq!(forged(r#"{"iss":1}"#), Err(Rejected::InvalidClaim("iss")));
    assert_eq!(forged(r#"{"iss":"a","iss":"b"}"#), Err(Malformed::Claims(Flaw::RepeatedMember).into()));
    assert_eq!(claimed_issuer(b"opaque", 8192), Err(Malformed::Parts.into()));
}

#[test]
fn a_rejection_says_nothing_of_the_token() {
    let leeway = Duration::ZERO;
    let verifier = Verifier { leeway, ..verifier() };
    let claims = r#"{"iss":"s3cret","aud":"s3cret","exp":"s3cret","sub":"s3cret"}"#;
    let token = mint(Algorithm::Hs256, r#"{"alg":"HS256","typ":"s3cret"}"#, claims);
    let rejected = verifier.verify(token.as_bytes(), &mint::keys(), Timestamp::from_millis(NOW)).unwrap_err();
    assert!(!format!("{rejected} {rejected:?} {}", rejected.code()).contains("s3cret"));
    let keys = mint::keys();
    assert!(!format!("{keys:?}").contains("0123456789abcdef"));
}
