//! A token is accepted only if whoever else reads it reads the same, and finds nothing wrong with it.
//!
//! The first line is a header, the rest are claims: they are encoded and signed. An input that begins with a dot is a
//! token itself, from behind the dot.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_fuzz::json::Json;
use wicketgate_fuzz::message::line;
use wicketgate_policy::claims::ClaimPath;
use wicketgate_policy::jose::{Algorithm, Key, KeySet, Rejected, Verifier, claimed_issuer, claims};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: f64 = 1_800_000_000.0;

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let public = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let mut keys = KeySet::from_jwks(public).expect("a set").keys().to_vec();
    keys.push(Key::secret(None, SECRET, Algorithm::Hs256).expect("a secret"));
    KeySet::new(keys)
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier {
    algorithms: [Algorithm::Hs256, Algorithm::EdDsa].into_iter().collect(),
    issuer: Some("idp".to_owned()),
    audiences: vec!["a".to_owned(), "b".to_owned()],
    max_lifetime: Some(Duration::from_secs(3600)),
    ..Verifier::default()
});

fuzz_target!(|input: &[u8]| {
    match input.strip_prefix(b".") {
        Some(token) => check(token),
        None => {
            let (header, payload) = line(input);
            let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
            let mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a secret").chain_update(&signed);
            check(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())).as_bytes());
        }
    }
});

fn check(token: &[u8]) {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let issuer = claimed_issuer(token, VERIFIER.max_bytes);
    match VERIFIER.verify(token, &KEYS, now) {
        Ok(verified) => {
            assert_eq!(issuer, Ok(VERIFIER.issuer.clone()));
            let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
            let [header, payload, _] = parts[..] else { panic!("{} parts", parts.len()) };
            check_header(&read(header));
            let json = read(payload);
            check_claims(&json);
            assert_eq!(Json::parse(verified.claims.json().get().as_bytes()), Some(json));
            assert_eq!(VERIFIER.still_valid(&verified, now), Ok(()));
            let groups = ClaimPath::parse("groups").expect("a name");
            let granted =
                claims::scopes(&verified.claims).len() + claims::texts(&verified.claims, &groups).len();
            assert!(granted <= token.len());
        }
        Err(rejected) => {
            let text = rejected.to_string();
            assert!((1..2000).contains(&text.len()) && !text.contains(char::is_control), "{text}");
            if let Rejected::UnknownKey { kid: Some(kid) } = rejected {
                assert!((1..=256).contains(&kid.len()));
            }
        }
    }
}

fn read(part: &[u8]) -> Json {
    let text = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let json = Json::parse(&text).expect("JSON");
    assert!(!repeats(&json));
    json
}

/// Whether a member of any object is repeated.
fn repeats(json: &Json) -> bool {
    match json {
        Json::Other(_) | Json::Text(_) => false,
        Json::Array(elements) => elements.iter().any(repeats),
        Json::Object(members) => {
            let mut names: Vec<&String> = members.iter().map(|(name, _)| name).collect();
            names.sort();
            names.windows(2).any(|pair| pair[0] == pair[1]) || members.iter().any(|(_, value)| repeats(value))
        }
    }
}

fn member<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    let Json::Object(members) = json else { panic!("an object, not {json:?}") };
    members.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

fn check_header(header: &Json) {
    let algorithms = ["HS256", "EdDSA", "Ed25519"].map(|name| Some(Json::Text(name.to_owned())));
    assert!(algorithms.contains(&member(header, "alg").cloned()));
    assert!(member(header, "crit").is_none() && member(header, "b64").is_none());
}

fn check_claims(claims: &Json) {
    let text = |text: &str| Json::Text(text.to_owned());
    assert_eq!(member(claims, "iss"), Some(&text("idp")));
    let audience = member(claims, "aud").expect("an audience");
    let audiences =
        if let Json::Array(audiences) = audience { &audiences[..] } else { std::slice::from_ref(audience) };
    assert!(audiences.iter().any(|audience| *audience == text("a") || *audience == text("b")));
    let time = |name: &str| match member(claims, name)? {
        Json::Other(number) => Some(number.parse::<f64>().expect("a number")),
        other => panic!("a number, not {other:?}"),
    };
    let expires = time("exp").expect("an end");
    assert!(expires > NOW && expires <= NOW + 3600.0);
    assert!(time("nbf").is_none_or(|begin| begin <= NOW));
    assert!(time("iat").is_none_or(|issued| issued <= NOW && expires - issued <= 3600.0));
}
